//! Under `cargo test`: the host's own sockets.

use alloc::{borrow::ToOwned, string::ToString, vec::Vec};
use core::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
    thread,
    time::Instant,
};

use crate::Error;

/// Between two looks for a connection: std's listener has no time limit.
const ACCEPT_EVERY: Duration = Duration::from_millis(5);

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => Self::Reset,
            ErrorKind::BrokenPipe => Self::Closed,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Self::Timeout,
            ErrorKind::AddrInUse => Self::InUse,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Self::Unreachable,
            _ => Self::Other(error.to_string()),
        }
    }
}

pub(crate) fn prepare() -> Result<(), Error> {
    Ok(())
}

pub(crate) fn lookup(name: &str, _limit: Duration) -> Result<Vec<IpAddr>, Error> {
    let found = (name, 0).to_socket_addrs();
    let found = found.map_err(|_| Error::NotFound(name.to_owned()))?;
    Ok(found.map(|address| address.ip()).collect())
}

#[derive(Debug)]
pub(crate) struct Stream(TcpStream);

impl Stream {
    pub(crate) fn connect(to: SocketAddr, limit: Duration) -> Result<Self, Error> {
        Ok(Self(TcpStream::connect_timeout(&to, limit)?))
    }

    pub(crate) fn read(&mut self, to: &mut [u8], limit: Option<Duration>) -> Result<usize, Error> {
        self.0.set_read_timeout(limit)?;
        Ok(self.0.read(to)?)
    }

    pub(crate) fn write(&mut self, from: &[u8], limit: Option<Duration>) -> Result<usize, Error> {
        self.0.set_write_timeout(limit)?;
        Ok(self.0.write(from)?)
    }

    pub(crate) fn flush(&mut self, _limit: Option<Duration>) -> Result<(), Error> {
        Ok(self.0.flush()?)
    }

    pub(crate) fn shutdown(&mut self) -> Result<(), Error> {
        Ok(self.0.shutdown(Shutdown::Write)?)
    }

    pub(crate) fn set_nodelay(&mut self, no_delay: bool) -> Result<(), Error> {
        Ok(self.0.set_nodelay(no_delay)?)
    }

    pub(crate) fn peer(&self) -> Result<SocketAddr, Error> {
        Ok(self.0.peer_addr()?)
    }

    pub(crate) fn local(&self) -> Result<SocketAddr, Error> {
        Ok(self.0.local_addr()?)
    }
}

#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    port: u16,
}

impl Listener {
    pub(crate) fn bind(port: u16) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    pub(crate) fn accept(
        &mut self,
        limit: Option<Duration>,
    ) -> Result<(Stream, SocketAddr), Error> {
        let end = limit.map(|limit| Instant::now() + limit);
        self.listener.set_nonblocking(end.is_some())?;
        loop {
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(false)?;
                    return Ok((Stream(stream), peer));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if end.is_some_and(|end| Instant::now() >= end) {
                        return Err(Error::Timeout);
                    }
                    thread::sleep(ACCEPT_EVERY);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

#[derive(Debug)]
pub(crate) struct Datagrams {
    socket: UdpSocket,
    port: u16,
}

impl Datagrams {
    pub(crate) fn bind(port: u16) -> Result<Self, Error> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        let port = socket.local_addr()?.port();
        Ok(Self { socket, port })
    }

    pub(crate) fn send(&mut self, datagram: &[u8], to: SocketAddr) -> Result<(), Error> {
        self.socket.send_to(datagram, to)?;
        Ok(())
    }

    pub(crate) fn receive(
        &mut self,
        to: &mut [u8],
        limit: Option<Duration>,
    ) -> Result<(usize, SocketAddr), Error> {
        self.socket.set_read_timeout(limit)?;
        Ok(self.socket.recv_from(to)?)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}
