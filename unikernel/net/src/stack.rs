//! smoltcp over a wire, and waiting for what it does.
//!
//! A function has one thread that waits for one thing at a time: whatever is asked looks whether it is there, has packets made and
//! read, looks again, and waits for a packet or for the next time at which something is due.
//!
//! The medium is IP and not Ethernet: every frame goes to the gateway, whose address the host told, so that nothing is asked or
//! answered before a packet. Whoever implements [`Wire`] puts the Ethernet header before it.

use alloc::{borrow::ToOwned, vec, vec::Vec};
use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    phy::Device,
    socket::{Socket, dns, tcp, udp},
    time::Instant,
    wire::{DnsQueryType, HardwareAddress, IpAddress, IpCidr},
};

use crate::Error;

/// Bytes that a connection has for what has come, and for what is not acknowledged.
const TCP_BUFFER_BYTES: usize = 32 << 10;
/// Connections that a listener has ready for those who come at once.
const BACKLOG: usize = 16;
/// Bytes and datagrams that a UDP socket has for each direction.
const UDP_BUFFER_BYTES: usize = 16 << 10;
const UDP_DATAGRAMS: usize = 32;
/// How long a connection that the function gave up waits for the other side.
const LAST_WORDS: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(30);
/// Ports that are taken where none is said (RFC 6335, section 6).
const PORTS: core::ops::RangeInclusive<u16> = 49152..=65535;

/// Who the guest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) ipv4: Option<(Ipv4Addr, u8)>,
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<Ipv6Addr>,
    pub(crate) gateway_ipv6: Option<Ipv6Addr>,
    pub(crate) name_servers: Vec<Ipv4Addr>,
}

/// What packets go over, and time.
pub(crate) trait Wire: Device {
    /// Who the guest is now. Packets are addressed accordingly from then on.
    fn identity(&mut self) -> Identity;

    /// A number that nobody can tell beforehand.
    fn random(&mut self) -> u64;

    /// Now.
    fn now(&self) -> Instant;

    /// Sends what was queued and waits for a packet, until `until` at the latest; without a wait if that is now.
    fn wait(&mut self, until: Option<Instant>);
}

/// The stack of a guest.
pub(crate) struct Stack<W> {
    wire: W,
    identity: Identity,
    interface: Interface,
    sockets: SocketSet<'static>,
    /// Connections that the function gave up and that have something to say yet.
    released: Vec<SocketHandle>,
    /// The next one to try.
    port: u16,
}

/// Where a listener's next connections are.
#[derive(Debug)]
pub(crate) struct Listening {
    port: u16,
    backlog: Vec<SocketHandle>,
}

impl Listening {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl<W: Wire> Stack<W> {
    pub(crate) fn new(mut wire: W) -> Self {
        let identity = wire.identity();
        let (interface, port) = interface(&mut wire, &identity);
        Self {
            wire,
            identity,
            interface,
            sockets: SocketSet::new(vec![]),
            released: vec![],
            port,
        }
    }

    /// Begins anew if the guest has another address than before: it was restored, and what was connected is nobody's.
    pub(crate) fn refresh(&mut self) {
        let identity = self.wire.identity();
        if identity == self.identity {
            return;
        }
        (self.interface, self.port) = interface(&mut self.wire, &identity);
        self.identity = identity;
        for (_, socket) in self.sockets.iter_mut() {
            match socket {
                // Not by `abort`, which would tell the other side of a connection that this address never had.
                Socket::Tcp(socket) => *socket = new_tcp(),
                Socket::Udp(socket) => socket.close(),
                _ => {}
            }
        }
    }

    /// Asks `ready` until it has something, for as long as `limit`.
    fn until<T>(
        &mut self,
        limit: Option<Duration>,
        mut ready: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T, Error> {
        let end = limit.map(|limit| self.wire.now() + limit.into());
        loop {
            self.poll();
            if let Some(done) = ready(self) {
                return Ok(done);
            }
            let now = self.wire.now();
            if end.is_some_and(|end| end <= now) {
                return Err(Error::Timeout);
            }
            let due = self.interface.poll_at(now, &self.sockets);
            self.wire.wait([due, end].into_iter().flatten().min());
        }
    }

    fn poll(&mut self) {
        let now = self.wire.now();
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
    }

    fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// `port`, or if that is 0 one that is free: as `is_taken` says of the sockets of a kind.
    fn claim(
        &mut self,
        port: u16,
        is_taken: impl Fn(&Socket<'_>, u16) -> bool,
    ) -> Result<u16, Error> {
        let taken = |stack: &Self, port| {
            stack
                .sockets
                .iter()
                .any(|(_, socket)| is_taken(socket, port))
        };
        if port != 0 {
            return (!taken(self, port)).then_some(port).ok_or(Error::InUse);
        }
        for _ in PORTS {
            let port = self.port;
            self.port = port.checked_add(1).unwrap_or(*PORTS.start());
            if !taken(self, port) {
                return Ok(port);
            }
        }
        Err(Error::InUse)
    }

    pub(crate) fn connect(
        &mut self,
        to: SocketAddr,
        limit: Duration,
    ) -> Result<SocketHandle, Error> {
        let from = self.claim(0, tcp_has)?;
        let mut socket = new_tcp();
        let connect = socket.connect(self.interface.context(), to, from);
        connect.map_err(|_| Error::Unreachable)?;
        let handle = self.sockets.add(socket);
        let connected = self.until(Some(limit), |stack| match stack.tcp(handle).state() {
            tcp::State::SynSent | tcp::State::SynReceived => None,
            tcp::State::Closed => Some(Err(Error::Refused)),
            _ => Some(Ok(handle)),
        });
        connected.flatten().inspect_err(|_| {
            self.tcp(handle).abort();
            self.poll();
            self.sockets.remove(handle);
        })
    }

    pub(crate) fn listen(&mut self, port: u16) -> Result<Listening, Error> {
        let port = self.claim(port, tcp_has)?;
        let mut listening = Listening {
            port,
            backlog: vec![],
        };
        for _ in 0..BACKLOG {
            let handle = self.sockets.add(new_tcp());
            listening.backlog.push(handle);
        }
        self.listen_again(&listening);
        Ok(listening)
    }

    /// Has each socket of a backlog that came to nothing listen.
    fn listen_again(&mut self, listening: &Listening) {
        for handle in &listening.backlog {
            let socket = self.tcp(*handle);
            if !socket.is_open() {
                // The port is not zero and the socket not open, so it listens.
                let _ = socket.listen(listening.port);
            }
        }
    }

    pub(crate) fn accept(
        &mut self,
        listening: &mut Listening,
        limit: Option<Duration>,
    ) -> Result<(SocketHandle, SocketAddr), Error> {
        self.until(limit, |stack| {
            stack.listen_again(listening);
            let accepted = listening.backlog.iter_mut().find_map(|place| {
                let socket: &mut tcp::Socket<'_> = stack.sockets.get_mut(*place);
                let peer = socket.remote_endpoint()?;
                let is_there = socket.may_send() || socket.may_recv();
                is_there.then(|| {
                    (
                        core::mem::replace(place, stack.sockets.add(new_tcp())),
                        peer,
                    )
                })
            });
            let (handle, peer) = accepted?;
            stack.listen_again(listening);
            Some((handle, peer.into()))
        })
    }

    pub(crate) fn stop_listening(&mut self, listening: &mut Listening) {
        for handle in listening.backlog.drain(..) {
            let socket: &mut tcp::Socket<'_> = self.sockets.get_mut(handle);
            socket.abort();
            self.released.push(handle);
        }
        self.poll();
        self.forget_closed();
    }

    pub(crate) fn read(
        &mut self,
        handle: SocketHandle,
        to: &mut [u8],
        limit: Option<Duration>,
    ) -> Result<usize, Error> {
        let mut take = |stack: &mut Self| {
            let socket = stack.tcp(handle);
            match socket.recv_slice(to) {
                Ok(0) => None,
                Ok(bytes) => Some(Ok(bytes)),
                Err(tcp::RecvError::Finished) => Some(Ok(0)),
                Err(tcp::RecvError::InvalidState) => Some(Err(Error::Reset)),
            }
        };
        // What is there already needs no packet; that there is room again is said with the next one.
        if self.tcp(handle).can_recv()
            && let Some(taken) = take(self)
        {
            return taken;
        }
        self.until(limit, take).flatten()
    }

    pub(crate) fn write(
        &mut self,
        handle: SocketHandle,
        from: &[u8],
        limit: Option<Duration>,
    ) -> Result<usize, Error> {
        let written = self.until(limit, |stack| {
            let socket = stack.tcp(handle);
            match socket.send_slice(from) {
                Ok(0) => None,
                Ok(bytes) => Some(Ok(bytes)),
                Err(_) => Some(Err(closed(socket))),
            }
        });
        let written = written.flatten()?;
        // It goes to the device now, and with it out at the next wait.
        self.poll();
        Ok(written)
    }

    pub(crate) fn flush(
        &mut self,
        handle: SocketHandle,
        limit: Option<Duration>,
    ) -> Result<(), Error> {
        let flushed = self.until(limit, |stack| {
            let socket = stack.tcp(handle);
            match (socket.send_queue(), socket.state()) {
                (0, _) => Some(Ok(())),
                (_, tcp::State::Closed) => Some(Err(Error::Reset)),
                _ => None,
            }
        });
        flushed.flatten()
    }

    pub(crate) fn shutdown(&mut self, handle: SocketHandle) {
        self.tcp(handle).close();
        self.poll();
    }

    pub(crate) fn set_nodelay(&mut self, handle: SocketHandle, no_delay: bool) {
        self.tcp(handle).set_nagle_enabled(!no_delay);
    }

    pub(crate) fn ends(&mut self, handle: SocketHandle) -> Option<[SocketAddr; 2]> {
        let socket = self.tcp(handle);
        let (local, peer) = (socket.local_endpoint()?, socket.remote_endpoint()?);
        Some([local.into(), peer.into()])
    }

    /// Closes a connection that nobody has any more; what is to be said to the other side still goes out.
    pub(crate) fn drop_stream(&mut self, handle: SocketHandle) {
        let socket = self.tcp(handle);
        match socket.recv_queue() {
            0 => socket.close(),
            // As Linux does: the other side is not to take it for read.
            _ => socket.abort(),
        }
        // What is left to be acknowledged is nobody's to wait for.
        socket.set_timeout(Some(LAST_WORDS));
        self.released.push(handle);
        self.poll();
        self.forget_closed();
    }

    /// Frees what connections had that have ended, of those that the function gave up.
    fn forget_closed(&mut self) {
        let sockets = &mut self.sockets;
        self.released.retain(|handle| {
            let is_open = sockets.get::<tcp::Socket<'_>>(*handle).is_open();
            if !is_open {
                sockets.remove(*handle);
            }
            is_open
        });
    }

    pub(crate) fn bind_udp(&mut self, port: u16) -> Result<(SocketHandle, u16), Error> {
        let port = self.claim(port, udp_has)?;
        let buffer = || {
            let metadata = vec![udp::PacketMetadata::EMPTY; UDP_DATAGRAMS];
            udp::PacketBuffer::new(metadata, vec![0; UDP_BUFFER_BYTES])
        };
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).map_err(|_| Error::InUse)?;
        Ok((self.sockets.add(socket), port))
    }

    pub(crate) fn send_datagram(
        &mut self,
        handle: SocketHandle,
        datagram: &[u8],
        to: SocketAddr,
    ) -> Result<(), Error> {
        // IPv4 header or the longer one of IPv6, and that of UDP.
        let headers = if to.is_ipv4() { 20 } else { 40 } + 8;
        // In `init` nothing goes anywhere.
        let mtu = self.wire.capabilities().max_transmission_unit;
        let max = mtu.saturating_sub(headers);
        if datagram.len() > max {
            return Err(Error::TooLarge {
                bytes: datagram.len(),
                max,
            });
        }
        let sent = self.until(None, |stack| {
            let socket: &mut udp::Socket<'_> = stack.sockets.get_mut(handle);
            match socket.send_slice(datagram, to) {
                Ok(()) => Some(Ok(())),
                Err(udp::SendError::BufferFull) => None,
                Err(udp::SendError::Unaddressable) if socket.is_open() => {
                    Some(Err(Error::Unreachable))
                }
                Err(udp::SendError::Unaddressable) => Some(Err(Error::Reset)),
            }
        });
        sent.flatten()?;
        self.poll();
        Ok(())
    }

    pub(crate) fn receive_datagram(
        &mut self,
        handle: SocketHandle,
        to: &mut [u8],
        limit: Option<Duration>,
    ) -> Result<(usize, SocketAddr), Error> {
        let received = self.until(limit, |stack| {
            let socket: &mut udp::Socket<'_> = stack.sockets.get_mut(handle);
            if !socket.is_open() {
                return Some(Err(Error::Reset));
            }
            let (datagram, from) = socket.recv().ok()?;
            let len = datagram.len().min(to.len());
            to[..len].copy_from_slice(&datagram[..len]);
            Some(Ok((len, from.endpoint.into())))
        });
        received.flatten()
    }

    pub(crate) fn drop_datagrams(&mut self, handle: SocketHandle) {
        self.poll();
        self.sockets.remove(handle);
    }

    pub(crate) fn lookup(&mut self, name: &str, limit: Duration) -> Result<Vec<IpAddr>, Error> {
        let servers = self.identity.name_servers.iter();
        let servers: Vec<_> = servers.map(|server| IpAddress::Ipv4(*server)).collect();
        let not_found = || Error::NotFound(name.to_owned());
        if servers.is_empty() {
            return Err(not_found());
        }
        let handle = self.sockets.add(dns::Socket::new(&servers, vec![]));
        let socket: &mut dns::Socket<'_> = self.sockets.get_mut(handle);
        let query = socket.start_query(self.interface.context(), name, DnsQueryType::A);
        let found = match query {
            Ok(query) => self.until(Some(limit), |stack| {
                let socket: &mut dns::Socket<'_> = stack.sockets.get_mut(handle);
                match socket.get_query_result(query) {
                    Ok(addresses) => Some(Ok(addresses)),
                    Err(dns::GetQueryResultError::Pending) => None,
                    Err(dns::GetQueryResultError::Failed) => Some(Err(())),
                }
            }),
            Err(_) => Ok(Err(())),
        };
        self.sockets.remove(handle);
        match found {
            Ok(Ok(addresses)) => Ok(addresses.into_iter().map(IpAddr::from).collect()),
            Ok(Err(())) | Err(_) => Err(not_found()),
        }
    }
}

fn tcp_has(socket: &Socket<'_>, port: u16) -> bool {
    let Socket::Tcp(socket) = socket else {
        return false;
    };
    let connected = socket.local_endpoint().map(|endpoint| endpoint.port);
    let listens = socket.is_listening().then(|| socket.listen_endpoint().port);
    connected == Some(port) || listens == Some(port)
}

fn udp_has(socket: &Socket<'_>, port: u16) -> bool {
    matches!(socket, Socket::Udp(socket) if socket.endpoint().port == port)
}

/// What a connection that cannot be written says: it was closed here, or ended there.
fn closed(socket: &tcp::Socket<'_>) -> Error {
    match socket.state() {
        tcp::State::Closed | tcp::State::TimeWait if socket.remote_endpoint().is_none() => {
            Error::Reset
        }
        _ => Error::Closed,
    }
}

fn new_tcp() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; TCP_BUFFER_BYTES]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    // An acknowledgement goes with the answer, or with the next wait: time stands still until then.
    socket.set_ack_delay(None);
    socket
}

/// The interface of a guest that is `identity`, and the first port that is tried.
fn interface<W: Wire>(wire: &mut W, identity: &Identity) -> (Interface, u16) {
    // `init` has no address, and may draw nothing that all clones of its snapshot would have.
    let has_address = identity.ipv4.is_some() || identity.ipv6.is_some();
    let mut random = || if has_address { wire.random() } else { 0 };
    let (seed, ports) = (random(), random());
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let now = wire.now();
    let mut interface = Interface::new(config, wire, now);
    interface.update_ip_addrs(|addresses| {
        let ipv4 = identity
            .ipv4
            .map(|(address, prefix_len)| IpCidr::new(address.into(), prefix_len));
        let ipv6 = identity
            .ipv6
            .map(|address| IpCidr::new(address.into(), 128));
        for address in [ipv4, ipv6].into_iter().flatten() {
            // There is room for one of each kind, which is smoltcp's own number.
            let _ = addresses.push(address);
        }
    });
    // Likewise.
    if let Some(gateway) = identity.gateway {
        let _ = interface.routes_mut().add_default_ipv4_route(gateway);
    }
    if let Some(gateway) = identity.gateway_ipv6 {
        let _ = interface.routes_mut().add_default_ipv6_route(gateway);
    }
    let [low, high, ..] = ports.to_le_bytes();
    let port = PORTS.start() + u16::from_le_bytes([low, high]) % (PORTS.end() - PORTS.start());
    (interface, port)
}

#[cfg(test)]
mod tests;
