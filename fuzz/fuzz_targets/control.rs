//! Packets on a control socket: a VMM may have been taken over by its guest, and a shell or the
//! spawner trusts no more than its owner does.
#![no_main]

use std::os::fd::OwnedFd;

use jiffy_control::{
    Command, Event, Given, MESSAGE_BYTES_MAX, Message, Packet, SpawnReply, SpawnRequest, decode,
};
use jiffy_socket::ControlSocket;
use libfuzzer_sys::fuzz_target;
use rustix::net::{SendFlags, send};

fuzz_target!(|bytes: &[u8]| {
    // An empty packet cannot be told from a closed socket, and larger ones are cut by the fuzzer.
    if bytes.is_empty() || bytes.len() > MESSAGE_BYTES_MAX {
        return;
    }
    check::<Event>(bytes);
    check::<Command>(bytes);
    check::<SpawnRequest>(bytes);
    // A list of devices, with as many descriptors as a byte says: each goes to one device, or the list is refused.
    if let Ok(Command::Boot { devices, .. } | Command::Restore { devices, .. }) = decode(bytes) {
        let came: Vec<u8> = (0..bytes[bytes.len() - 1] % 8).collect();
        if let Ok(paired) = devices.pair(came.clone()) {
            assert!(paired.is_sorted_by_key(Given::id));
            let given: Vec<u8> = paired
                .iter()
                .filter_map(|given| given.descriptor().copied())
                .collect();
            assert_eq!(given, came);
        }
    }
    check::<SpawnReply>(bytes);
});

fn check<M: Message + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let (sender, receiver) = ControlSocket::pair().expect("a pair of sockets");
    let sender = OwnedFd::from(sender);
    send(&sender, bytes, SendFlags::NOSIGNAL).expect("room for one packet");
    if let Ok(message) = receiver.recv::<M>() {
        let message = message.expect("the socket is open");
        // What was understood can be said again, and means the same.
        let (again, other) = ControlSocket::pair().expect("a pair of sockets");
        if let Ok(packet) = Packet::new(&message) {
            again.send_with(&packet, &[]).expect("room for one packet");
            assert_eq!(other.recv().expect("our own packet"), Some(message));
        }
    }
}
