//! Packets on the control socket: a VMM may have been taken over by its guest.
#![no_main]

use std::os::fd::OwnedFd;

use jiffy_control::{ControlSocket, MESSAGE_BYTES_MAX};
use libfuzzer_sys::fuzz_target;
use rustix::net::{SendFlags, send};

fuzz_target!(|bytes: &[u8]| {
    // An empty packet cannot be told from a closed socket, and larger ones are cut by the fuzzer.
    if bytes.is_empty() || bytes.len() > MESSAGE_BYTES_MAX {
        return;
    }
    let (vmm, host) = ControlSocket::pair().expect("a pair of sockets");
    let vmm = OwnedFd::from(vmm);
    send(&vmm, bytes, SendFlags::NOSIGNAL).expect("room for one packet");
    if let Ok(event) = host.recv() {
        let event = event.expect("the socket is open");
        // What was understood can be said again, and means the same.
        let (again, other) = ControlSocket::pair().expect("a pair of sockets");
        if again.send(&event).is_ok() {
            assert_eq!(other.recv().expect("our own packet"), Some(event));
        }
    }
});
