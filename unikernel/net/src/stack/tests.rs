//! Two stacks, each the other's peer, over a wire that loses, doubles and reorders packets.

use alloc::{
    collections::VecDeque,
    rc::Rc,
    string::{String, ToString},
};
use core::cell::RefCell;

use proptest::prelude::*;
use smoltcp::phy::{DeviceCapabilities, Medium, RxToken, TxToken};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(600);

/// What both ends share.
struct World {
    /// Packets on their way to each end.
    to: [VecDeque<Vec<u8>>; 2],
    now: Instant,
    faults: Faults,
    random: u64,
    /// Packets that were sent.
    sent: u64,
}

/// Of 256 packets, how many are lost, doubled, and overtaken.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    lost: u8,
    doubled: u8,
    overtaken: u8,
}

impl World {
    fn random(&mut self) -> u64 {
        // Knuth's MMIX generator.
        self.random = self
            .random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        self.random >> 24
    }

    fn send(&mut self, to: usize, packet: Vec<u8>) {
        self.sent += 1;
        let [lost, doubled, overtaken] = [(); 3].map(|()| (self.random() & 0xff) as u8);
        if lost < self.faults.lost {
            return;
        }
        let copies = 1 + usize::from(doubled < self.faults.doubled);
        for _ in 0..copies {
            let queue = &mut self.to[to];
            let at = match overtaken < self.faults.overtaken {
                true => queue.len().saturating_sub(2),
                false => queue.len(),
            };
            queue.insert(at, packet.clone());
        }
    }
}

/// One end; `other` is polled whenever this one waits.
struct End {
    world: Rc<RefCell<World>>,
    side: usize,
    mtu: usize,
    last_octet: u8,
    /// What the other end does meanwhile.
    other: Option<Rc<RefCell<Other>>>,
}

/// A stack that answers by itself: it listens at ports 7 and 9, echoes at the first, counts at the second.
struct Other {
    stack: Stack<End>,
    connections: Vec<SocketHandle>,
    listening: Listening,
    datagrams: SocketHandle,
}

impl Other {
    fn turn(&mut self) {
        self.stack.poll();
        if let Ok((handle, _)) = self.stack.accept(&mut self.listening, Some(Duration::ZERO)) {
            self.connections.push(handle);
        }
        for handle in &self.connections {
            let socket = self.stack.tcp(*handle);
            if socket.can_recv() && socket.can_send() {
                let room = socket.send_capacity() - socket.send_queue();
                let mut bytes = vec![0; room];
                let len = socket.recv_slice(&mut bytes).expect("can be read");
                let sent = socket.send_slice(&bytes[..len]).expect("can be sent");
                assert_eq!(sent, len);
            }
            if !socket.may_recv() {
                socket.close();
            }
        }
        let socket: &mut udp::Socket<'_> = self.stack.sockets.get_mut(self.datagrams);
        while let Ok((datagram, from)) = socket.recv() {
            let datagram = datagram.to_owned();
            socket.send_slice(&datagram, from.endpoint).expect("room");
        }
        self.stack.poll();
    }
}

impl Wire for End {
    fn identity(&mut self) -> Identity {
        Identity {
            ipv4: Some(([10, 0, 0, self.last_octet].into(), 24)),
            gateway: None,
            ipv6: Some(Ipv6Addr::new(
                0xfd00,
                0,
                0,
                0,
                0,
                0,
                0,
                self.last_octet.into(),
            )),
            gateway_ipv6: Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 99)),
            name_servers: vec![],
        }
    }

    fn random(&mut self) -> u64 {
        self.world.borrow_mut().random()
    }

    fn now(&self) -> Instant {
        self.world.borrow().now
    }

    fn wait(&mut self, until: Option<Instant>) {
        if let Some(other) = &self.other {
            other.borrow_mut().turn();
        }
        let mut world = self.world.borrow_mut();
        if world.to[self.side].is_empty() {
            // As a VM's clock does: time is there when something is due.
            let soon = world.now + smoltcp::time::Duration::from_millis(5);
            world.now = until.map_or(soon, |until| until.min(soon)).max(world.now);
        }
    }
}

struct Packet(Vec<u8>);

impl RxToken for Packet {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Room(Rc<RefCell<World>>, usize);

impl TxToken for Room {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let written = write(&mut packet);
        self.0.borrow_mut().send(self.1, packet);
        written
    }
}

impl Device for End {
    type RxToken<'a> = Packet;
    type TxToken<'a> = Room;

    fn receive(&mut self, _now: Instant) -> Option<(Packet, Room)> {
        let packet = self.world.borrow_mut().to[self.side].pop_front()?;
        Some((Packet(packet), Room(Rc::clone(&self.world), 1 - self.side)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Room> {
        Some(Room(Rc::clone(&self.world), 1 - self.side))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

/// A stack whose peer echoes at 10.0.0.2:7.
fn pair(faults: Faults, mtu: usize, random: u64) -> (Stack<End>, Rc<RefCell<World>>) {
    let world = World {
        to: Default::default(),
        now: Instant::from_secs(1),
        faults,
        random,
        sent: 0,
    };
    let world = Rc::new(RefCell::new(world));
    let end = |side, last_octet, other| End {
        world: Rc::clone(&world),
        side,
        mtu,
        last_octet,
        other,
    };
    let mut stack = Stack::new(end(1, 2, None));
    let listening = stack.listen(7).expect("a free port");
    let (datagrams, _) = stack.bind_udp(7).expect("a port of its own kind");
    let other = Other {
        stack,
        connections: vec![],
        listening,
        datagrams,
    };
    let other = Some(Rc::new(RefCell::new(other)));
    (Stack::new(end(0, 1, other)), world)
}

fn at(port: u16) -> SocketAddr {
    ([10, 0, 0, 2], port).into()
}

/// Writes and reads in turns, as a function with one thread has to.
fn echo(stack: &mut Stack<End>, handle: SocketHandle, bytes: &[u8]) -> Vec<u8> {
    let (mut written, mut read) = (0, vec![]);
    while read.len() < bytes.len() {
        if written < bytes.len() {
            let part = bytes[written..].len().min(16 << 10);
            written += stack
                .write(handle, &bytes[written..written + part], Some(TIMEOUT))
                .expect("room");
        }
        let mut part = vec![0; 16 << 10];
        let len = stack
            .read(handle, &mut part, Some(TIMEOUT))
            .expect("an echo");
        assert_ne!(len, 0, "closed after {} bytes", read.len());
        read.extend_from_slice(&part[..len]);
    }
    read
}

#[test]
fn a_connection_is_made_used_and_closed() {
    let (mut stack, world) = pair(Faults::default(), 1500, 1);
    for to in [
        at(7),
        (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2), 7).into(),
    ] {
        let handle = stack.connect(to, TIMEOUT).expect("a listener");
        let [local, peer] = stack.ends(handle).expect("connected");
        assert!(PORTS.contains(&local.port()) && peer == to);
        assert_eq!(echo(&mut stack, handle, b"hello"), b"hello");
        stack.flush(handle, Some(TIMEOUT)).expect("acknowledged");
        stack.shutdown(handle);
        assert_eq!(
            stack.write(handle, b"more", Some(TIMEOUT)),
            Err(Error::Closed)
        );
        assert_eq!(
            stack.read(handle, &mut [0; 8], Some(TIMEOUT)),
            Ok(0),
            "it closes, too"
        );
        stack.drop_stream(handle);
    }
    let before = world.borrow().sent;
    assert!(before < 40, "{before} packets for two short connections");
}

#[test]
fn who_does_not_listen_refuses_and_who_is_not_there_takes_the_time() {
    let (mut stack, world) = pair(Faults::default(), 1500, 2);
    assert_eq!(stack.connect(at(70), TIMEOUT), Err(Error::Refused));
    let nobody = ([10, 0, 0, 77], 7).into();
    let began = world.borrow().now;
    let limit = Duration::from_secs(3);
    assert_eq!(stack.connect(nobody, limit), Err(Error::Timeout));
    let took = world.borrow().now - began;
    assert!(
        took >= limit.into() && took < smoltcp::time::Duration::from_secs(5),
        "{took}"
    );
    // There is no gateway for IPv4.
    let elsewhere = ([192, 168, 1, 1], 7).into();
    assert!(matches!(
        stack.connect(elsewhere, limit),
        Err(Error::Timeout | Error::Unreachable)
    ));
    assert_eq!(stack.sockets.iter().count(), 0, "nothing is left of them");
    let handle = stack.connect(at(7), TIMEOUT).expect("a listener");
    assert_eq!(
        stack.read(handle, &mut [0; 8], Some(limit)),
        Err(Error::Timeout)
    );
}

#[test]
fn datagrams_come_back_and_too_large_ones_do_not_go() {
    let (mut stack, _world) = pair(Faults::default(), 1500, 3);
    let (handle, port) = stack.bind_udp(0).expect("a free port");
    assert_eq!(stack.bind_udp(port), Err(Error::InUse));
    let mut answer = [0; 2000];
    for len in [0, 1, 1472] {
        let datagram = vec![7; len];
        stack.send_datagram(handle, &datagram, at(7)).expect("sent");
        let (got, from) = stack
            .receive_datagram(handle, &mut answer, Some(TIMEOUT))
            .expect("an echo");
        assert_eq!((&answer[..got], from), (&*datagram, at(7)));
    }
    let too_large = stack.send_datagram(handle, &[0; 1473], at(7));
    assert_eq!(
        too_large,
        Err(Error::TooLarge {
            bytes: 1473,
            max: 1472
        })
    );
    stack.send_datagram(handle, &[7; 100], at(7)).expect("sent");
    let cut = stack.receive_datagram(handle, &mut answer[..10], Some(TIMEOUT));
    assert_eq!(cut, Ok((10, at(7))));
    stack.wire.mtu = 0;
    let nowhere = stack.send_datagram(handle, b"x", at(7));
    assert_eq!(nowhere, Err(Error::TooLarge { bytes: 1, max: 0 }));
    stack.drop_datagrams(handle);
    assert!(stack.bind_udp(port).is_ok(), "the port is free again");
}

#[test]
fn many_connections_are_made_at_once_and_leave_nothing() {
    let (mut stack, _world) = pair(Faults::default(), 1500, 4);
    let handles: Vec<_> = (0..100)
        .map(|_| stack.connect(at(7), TIMEOUT).expect("a listener"))
        .collect();
    for (number, handle) in handles.iter().enumerate() {
        let text = number.to_string();
        assert_eq!(echo(&mut stack, *handle, text.as_bytes()), text.as_bytes());
    }
    for handle in handles {
        stack.drop_stream(handle);
    }
    let (waiting, _) = stack.bind_udp(0).expect("a port");
    let _ = stack.receive_datagram(waiting, &mut [0], Some(Duration::from_secs(90)));
    stack.forget_closed();
    assert_eq!(stack.sockets.iter().count(), 1, "what was dropped is gone");
}

#[test]
fn whoever_has_another_address_has_no_connection_of_the_first() {
    let (mut stack, world) = pair(Faults::default(), 1500, 5);
    let handle = stack.connect(at(7), TIMEOUT).expect("a listener");
    let (datagrams, _) = stack.bind_udp(53).expect("a port");
    let first_port = stack.ends(handle).expect("connected")[0].port();
    stack.wire.last_octet = 3;
    world.borrow_mut().random ^= 0xabcd_ef01_2345_6789;
    let before = world.borrow().sent;
    stack.refresh();
    assert_eq!(
        stack.write(handle, b"still there?", Some(TIMEOUT)),
        Err(Error::Reset)
    );
    assert_eq!(
        stack.read(handle, &mut [0], Some(TIMEOUT)),
        Err(Error::Reset)
    );
    assert_eq!(
        stack.receive_datagram(datagrams, &mut [0], Some(TIMEOUT)),
        Err(Error::Reset)
    );
    assert_eq!(world.borrow().sent, before, "and nobody is told of it");
    let handle = stack.connect(at(7), TIMEOUT).expect("a listener");
    let [local, _] = stack.ends(handle).expect("connected");
    assert_eq!(local.ip(), IpAddr::from([10, 0, 0, 3]));
    assert_ne!(local.port(), first_port, "nor is the port the next one");
    assert_eq!(echo(&mut stack, handle, b"hello"), b"hello");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// A megabyte comes back byte for byte, whatever the wire does to a part of the packets.
    #[test]
    fn nothing_is_lost_over_a_bad_wire(
        lost in 0_u8..25, doubled in 0_u8..40, overtaken in 0_u8..60, mtu in prop_oneof![Just(1500_usize), 1280..1500_usize, 100..1280_usize],
        random in any::<u64>(),
    ) {
        let faults = Faults { lost, doubled, overtaken };
        let (mut stack, _world) = pair(faults, mtu, random);
        let handle = stack.connect(at(7), TIMEOUT).expect("a listener");
        let bytes: Vec<u8> = (0..1_u32 << 18).flat_map(|word| word.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
        let back = echo(&mut stack, handle, &bytes);
        prop_assert!(back == bytes, "{}", difference(&bytes, &back));
    }
}

fn difference(one: &[u8], other: &[u8]) -> String {
    let at = one.iter().zip(other).position(|(one, other)| one != other);
    alloc::format!(
        "{} and {} bytes, apart from {at:?} on",
        one.len(),
        other.len()
    )
}
