//! In an image: the one stack, over the NIC's driver.

use alloc::vec::Vec;
use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use jiffy_abi::{resume_page::NetworkIdentity, virtio_net::ETHERNET_HEADER_BYTES};
use jiffy_rt::nic::{self, Frame, Nic, Sender};
use smoltcp::{
    iface::SocketHandle,
    phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken},
    time::Instant,
};
use spin::Mutex;

use crate::{
    Error,
    stack::{Identity, Listening, Stack, Wire},
};

const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TYPE_IPV6: [u8; 2] = [0x86, 0xdd];

/// A guest has one thread, or several that take turns nowhere below: nobody ever waits for this lock.
static STACK: Mutex<Option<Stack<Ethernet>>> = Mutex::new(None);

/// Does `work` with the stack, as it is for who the guest is now.
fn with<T>(work: impl FnOnce(&mut Stack<Ethernet>) -> Result<T, Error>) -> Result<T, Error> {
    let mut stack = STACK.lock();
    if stack.is_none() {
        *stack = Nic::open().map(|nic| Stack::new(Ethernet::new(nic)));
    }
    let stack = stack.as_mut().ok_or(Error::NoNic)?;
    stack.refresh();
    work(stack)
}

pub(crate) fn prepare() -> Result<(), Error> {
    with(|_| Ok(()))
}

pub(crate) fn lookup(name: &str, limit: Duration) -> Result<Vec<IpAddr>, Error> {
    with(|stack| stack.lookup(name, limit))
}

#[derive(Debug)]
pub(crate) struct Stream(SocketHandle);

impl Stream {
    pub(crate) fn connect(to: SocketAddr, limit: Duration) -> Result<Self, Error> {
        with(|stack| stack.connect(to, limit)).map(Self)
    }

    pub(crate) fn read(&mut self, to: &mut [u8], limit: Option<Duration>) -> Result<usize, Error> {
        with(|stack| stack.read(self.0, to, limit))
    }

    pub(crate) fn write(&mut self, from: &[u8], limit: Option<Duration>) -> Result<usize, Error> {
        with(|stack| stack.write(self.0, from, limit))
    }

    pub(crate) fn flush(&mut self, limit: Option<Duration>) -> Result<(), Error> {
        with(|stack| stack.flush(self.0, limit))
    }

    pub(crate) fn shutdown(&mut self) -> Result<(), Error> {
        with(|stack| {
            stack.shutdown(self.0);
            Ok(())
        })
    }

    pub(crate) fn set_nodelay(&mut self, no_delay: bool) -> Result<(), Error> {
        with(|stack| {
            stack.set_nodelay(self.0, no_delay);
            Ok(())
        })
    }

    pub(crate) fn peer(&self) -> Result<SocketAddr, Error> {
        self.ends().map(|[_, peer]| peer)
    }

    pub(crate) fn local(&self) -> Result<SocketAddr, Error> {
        self.ends().map(|[local, _]| local)
    }

    fn ends(&self) -> Result<[SocketAddr; 2], Error> {
        with(|stack| stack.ends(self.0).ok_or(Error::Reset))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // There is a stack, as there is a stream.
        let _ = with(|stack| {
            stack.drop_stream(self.0);
            Ok(())
        });
    }
}

#[derive(Debug)]
pub(crate) struct Listener(Listening);

impl Listener {
    pub(crate) fn bind(port: u16) -> Result<Self, Error> {
        with(|stack| stack.listen(port)).map(Self)
    }

    pub(crate) fn accept(
        &mut self,
        limit: Option<Duration>,
    ) -> Result<(Stream, SocketAddr), Error> {
        let (handle, peer) = with(|stack| stack.accept(&mut self.0, limit))?;
        Ok((Stream(handle), peer))
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // As of a stream.
        let _ = with(|stack| {
            stack.stop_listening(&mut self.0);
            Ok(())
        });
    }
}

#[derive(Debug)]
pub(crate) struct Datagrams {
    handle: SocketHandle,
    port: u16,
}

impl Datagrams {
    pub(crate) fn bind(port: u16) -> Result<Self, Error> {
        let (handle, port) = with(|stack| stack.bind_udp(port))?;
        Ok(Self { handle, port })
    }

    pub(crate) fn send(&mut self, datagram: &[u8], to: SocketAddr) -> Result<(), Error> {
        with(|stack| stack.send_datagram(self.handle, datagram, to))
    }

    pub(crate) fn receive(
        &mut self,
        to: &mut [u8],
        limit: Option<Duration>,
    ) -> Result<(usize, SocketAddr), Error> {
        with(|stack| stack.receive_datagram(self.handle, to, limit))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        // As of a stream.
        let _ = with(|stack| {
            stack.drop_datagrams(self.handle);
            Ok(())
        });
    }
}

/// The NIC as a wire for IP: each frame goes to the gateway.
#[derive(Debug)]
struct Ethernet {
    nic: Nic,
    mtu: usize,
    /// What each frame begins with, but for its type.
    header: [u8; ETHERNET_HEADER_BYTES - 2],
}

impl Ethernet {
    fn new(nic: Nic) -> Self {
        let mut wire = Self {
            nic,
            mtu: 0,
            header: [0; _],
        };
        wire.follow(&nic::network());
        wire
    }

    fn follow(&mut self, network: &NetworkIdentity) {
        self.mtu = network.mtu.into();
        self.header[..6].copy_from_slice(&network.gateway_mac);
        self.header[6..].copy_from_slice(&network.mac);
    }
}

impl Wire for Ethernet {
    fn identity(&mut self) -> Identity {
        let network = nic::network();
        self.follow(&network);
        let some_v4 = |address: [u8; 4]| (address != [0; 4]).then(|| Ipv4Addr::from(address));
        let some_v6 = |address: [u8; 16]| (address != [0; 16]).then(|| Ipv6Addr::from(address));
        let servers = network.name_servers.into_iter();
        Identity {
            ipv4: some_v4(network.ipv4).map(|address| (address, network.prefix_len)),
            gateway: some_v4(network.gateway),
            ipv6: some_v6(network.ipv6),
            gateway_ipv6: some_v6(network.gateway_ipv6),
            name_servers: servers.filter_map(some_v4).collect(),
        }
    }

    fn random(&mut self) -> u64 {
        let mut bytes = [0; 8];
        jiffy_rt::fill_random(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn now(&self) -> Instant {
        let us = jiffy_rt::monotonic_ns() / 1000;
        Instant::from_micros(i64::try_from(us).unwrap_or(i64::MAX))
    }

    fn wait(&mut self, until: Option<Instant>) {
        let until = until.map(|until| u64::try_from(until.total_micros()).unwrap_or_default());
        // A microsecond later, because the clock is cut to whole ones: a wait that ends early would be waited again.
        match until.map(|until_us| (until_us + 1) * 1000) {
            Some(until_ns) if until_ns <= jiffy_rt::monotonic_ns() => nic::exchange_frames(),
            until_ns => nic::wait_for_frame(until_ns),
        }
    }
}

impl Device for Ethernet {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, ToSend<'_>)> {
        // An answer has to have room before what it answers is taken.
        if !self.nic.tx.has_room() {
            return None;
        }
        let frame = self.nic.rx.receive()?;
        let header = &self.header;
        let sender = &mut self.nic.tx;
        Some((Received(frame), ToSend { sender, header }))
    }

    fn transmit(&mut self, _now: Instant) -> Option<ToSend<'_>> {
        let header = &self.header;
        let sender = &mut self.nic.tx;
        sender.has_room().then_some(ToSend { sender, header })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

/// A frame that has come.
struct Received<'a>(Frame<'a>);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        let packet = match self.0.bytes().split_at_checked(ETHERNET_HEADER_BYTES) {
            Some((header, packet))
                if header.ends_with(&TYPE_IPV4) || header.ends_with(&TYPE_IPV6) =>
            {
                packet
            }
            // An empty packet is malformed, and dropped.
            _ => &[],
        };
        read(packet)
    }
}

/// Room for a frame.
struct ToSend<'a> {
    sender: &'a mut Sender,
    header: &'a [u8; ETHERNET_HEADER_BYTES - 2],
}

impl TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let Self { sender, header } = self;
        let sent = sender.send(ETHERNET_HEADER_BYTES + len, |frame| {
            let (head, packet) = frame.split_at_mut(ETHERNET_HEADER_BYTES);
            let written = write(packet);
            head[..header.len()].copy_from_slice(header);
            let is_v6 = packet.first().is_some_and(|first| first >> 4 == 6);
            head[header.len()..].copy_from_slice(if is_v6 { &TYPE_IPV6 } else { &TYPE_IPV4 });
            written
        });
        sent.unwrap_or_else(|| {
            unreachable!("room was looked for, and a packet is no longer than the MTU")
        })
    }
}
