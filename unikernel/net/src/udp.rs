//! Datagrams.

use core::{net::SocketAddr, time::Duration};

use crate::{Address, Error, system};

/// Sends datagrams, and waits for those that come to its port.
#[derive(Debug)]
pub struct UdpSocket(system::Datagrams);

impl UdpSocket {
    /// A socket at `port` of all the function's addresses; 0: at one that is free.
    pub fn bind(port: u16) -> Result<Self, Error> {
        system::Datagrams::bind(port).map(Self)
    }

    /// Sends `datagram`, which goes out when the function next waits. Nobody says whether it comes anywhere.
    pub fn send_to(&mut self, datagram: &[u8], to: impl Address) -> Result<(), Error> {
        let addresses = to.addresses()?;
        let to = addresses.first().ok_or(Error::Unreachable)?;
        self.0.send(datagram, *to)
    }

    /// Waits for a datagram: how long it is, and whose. What does not fit into `to` is lost.
    pub fn recv_from(&mut self, to: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        self.0.receive(to, None)
    }

    /// As [`UdpSocket::recv_from`], for as long as `limit`.
    pub fn recv_from_timeout(
        &mut self,
        to: &mut [u8],
        limit: Duration,
    ) -> Result<(usize, SocketAddr), Error> {
        self.0.receive(to, Some(limit))
    }

    /// Where it waits.
    pub fn port(&self) -> u16 {
        self.0.port()
    }
}
