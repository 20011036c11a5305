//! Sockets on which each packet is one message: a VMM's control socket and the spawner's.
//!
//! Descriptors travel beside it. A VMM may have been taken over by its guest, so each packet is hostile: its length is
//! checked before it is decoded, and descriptors that nobody asked for are closed. Both ends use this, the VMM and who
//! owns it. Not here: what is in a packet (`jiffy-control`).
#![forbid(unsafe_code)]

use std::{
    cell::RefCell,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use jiffy_control::{DEVICES_MAX, MESSAGE_BYTES_MAX, Message, Packet, PacketError, decode};
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::{Errno, retry_on_intr},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
        send, sendmsg, socketpair,
    },
};

/// Descriptors that travel with one message at most: its own, and one for each device that it gives.
pub const DESCRIPTORS_MAX: usize = 1 + DEVICES_MAX;

thread_local! {
    /// Where packets are received: one for all sockets of a thread, and never zeroed again.
    static PACKET: RefCell<Box<[u8]>> = RefCell::new(vec![0; MESSAGE_BYTES_MAX].into());
}

/// Why a message cannot be sent or received.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ControlError {
    #[error("cannot make a control socket")]
    Pair(#[source] Errno),
    #[error("a message comes with more than {DESCRIPTORS_MAX} descriptors")]
    Descriptors,
    #[error("cannot send a message")]
    Send(#[source] Errno),
    #[error("cannot receive a message")]
    Receive(#[source] Errno),
    #[error(transparent)]
    Packet(#[from] PacketError),
}

impl ControlError {
    /// Whether a non-blocking socket had nothing to receive, or no room to send.
    pub fn would_block(&self) -> bool {
        matches!(self, Self::Send(Errno::AGAIN) | Self::Receive(Errno::AGAIN))
    }
}

/// One end of a control socket.
#[derive(Debug)]
pub struct ControlSocket {
    fd: OwnedFd,
}

impl ControlSocket {
    /// Two connected ends, both closed on `exec`.
    pub fn pair() -> Result<(Self, Self), ControlError> {
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (one, other) =
            socketpair(family, kind, SocketFlags::CLOEXEC, None).map_err(ControlError::Pair)?;
        Ok((Self { fd: one }, Self { fd: other }))
    }

    /// From now on it does not block: what would is an error that [`ControlError::would_block`].
    pub fn set_nonblocking(&self) -> io::Result<()> {
        let flags = fcntl_getfl(&self.fd)?;
        Ok(fcntl_setfl(&self.fd, flags | OFlags::NONBLOCK)?)
    }

    /// Sends one message. Blocks while the other end is slow to take them, unless the descriptor is
    /// non-blocking; a closed other end is an error, never a signal.
    pub fn send<M: Message>(&self, message: &M) -> Result<(), ControlError> {
        let packet = Packet::new(message)?;
        // A packet is taken whole or not at all, so there is no rest to send.
        retry_on_intr(|| send(&self.fd, packet.bytes(), SendFlags::NOSIGNAL))
            .map(|_| ())
            .map_err(ControlError::Send)
    }

    /// Sends a message with descriptors, of which the other end gets duplicates.
    pub fn send_with(
        &self,
        packet: &Packet,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ControlError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let is_refused = descriptors.len() > DESCRIPTORS_MAX
            || (!descriptors.is_empty()
                && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
        if is_refused {
            return Err(ControlError::Descriptors);
        }
        let slices = [IoSlice::new(packet.bytes())];
        retry_on_intr(|| sendmsg(&self.fd, &slices, &mut ancillary, SendFlags::NOSIGNAL))
            .map(|_| ())
            .map_err(ControlError::Send)
    }

    /// Receives one message and closes what descriptors came with it; `None` once the other end is
    /// closed and everything was received.
    /// A packet that is refused is gone: the next call looks at the next one.
    pub fn recv<M: Message>(&self) -> Result<Option<M>, ControlError> {
        Ok(self.recv_with()?.map(|(message, _)| message))
    }

    /// As [`ControlSocket::recv`], with the descriptors, all closed on `exec`.
    pub fn recv_with<M: Message>(&self) -> Result<Option<(M, Vec<OwnedFd>)>, ControlError> {
        PACKET.with_borrow_mut(|buffer| {
            let mut space =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            // With TRUNC the length is the packet's own, even if it was cut.
            let flags = RecvFlags::TRUNC | RecvFlags::CMSG_CLOEXEC;
            let mut receive = || {
                retry_on_intr(|| {
                    let mut slices = [IoSliceMut::new(buffer)];
                    recvmsg(&self.fd, &mut slices, &mut ancillary, flags)
                })
            };
            // An end that is closed before it has read everything is told of once, before what it said:
            // and its last word is why it closed.
            let received = match receive() {
                Err(Errno::CONNRESET) => receive(),
                received => received,
            }
            .map_err(ControlError::Receive)?;
            let mut descriptors = Vec::new();
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    descriptors.extend(rights);
                }
            }
            if received.bytes == 0 {
                return Ok(None);
            }
            if received.flags.contains(ReturnFlags::CTRUNC) {
                return Err(ControlError::Descriptors);
            }
            let packet = buffer
                .get(..received.bytes)
                .ok_or(PacketError::TooLarge(received.bytes))?;
            Ok(Some((decode(packet)?, descriptors)))
        })
    }
}

/// Takes what is already a connected `SOCK_SEQPACKET` socket, such as a VMM's standard output.
impl From<OwnedFd> for ControlSocket {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<ControlSocket> for OwnedFd {
    fn from(socket: ControlSocket) -> Self {
        socket.fd
    }
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for ControlSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Does with `packet` what receiving it does, but for the system call: the memory which that takes is then this process's
/// own.
pub fn rehearse<M: Message>(packet: &Packet) -> Result<M, PacketError> {
    PACKET.with_borrow_mut(|buffer| {
        let len_bytes = packet.bytes().len();
        let received = buffer.get_mut(..len_bytes);
        let received = received.ok_or(PacketError::TooLarge(len_bytes))?;
        received.copy_from_slice(packet.bytes());
        decode(received)
    })
}

#[cfg(test)]
mod tests {
    use jiffy_control::{Blame, Command, Death, Event, ProcessUsage};

    use super::*;

    fn ends() -> (ControlSocket, ControlSocket) {
        ControlSocket::pair().expect("socket pair")
    }

    #[test]
    fn the_last_word_of_who_did_not_listen_is_heard() {
        let (owner, vmm) = ends();
        owner.send(&Command::Stats).expect("send");
        let last = Event::Died(Death::Exited(1), ProcessUsage::default());
        vmm.send(&last).expect("send");
        drop(vmm);
        assert_eq!(owner.recv().expect("a message"), Some(last));
        assert_eq!(owner.recv::<Event>().expect("the end"), None);
    }

    fn raw(vmm: &ControlSocket, packet: &[u8]) {
        send(vmm.as_fd(), packet, SendFlags::empty()).expect("send");
    }

    #[test]
    fn each_kind_of_bad_packet_is_named_and_the_next_one_is_read() {
        let (vmm, starter) = ends();
        let check = |packet: &[u8]| {
            raw(&vmm, packet);
            starter.recv::<Event>().expect_err("malformed")
        };
        let version = Packet::new(&Event::Log(vec![])).expect("encode");
        let of_version = |rest: &[u8]| [&version.bytes()[..2], rest].concat();
        assert!(matches!(
            check(&[1]),
            ControlError::Packet(PacketError::TooShort(1))
        ));
        assert!(matches!(
            check(&[1, 0, 1, 0]),
            ControlError::Packet(PacketError::Version(1))
        ));
        assert!(matches!(
            check(&of_version(&[9, 0])),
            ControlError::Packet(PacketError::Kind { found: 9, .. })
        ));
        assert!(matches!(
            check(&of_version(&[1])),
            ControlError::Packet(PacketError::Decode(_))
        ));
        assert!(matches!(
            check(&of_version(&[1, 99])),
            ControlError::Packet(PacketError::Decode(_))
        ));
        // A list that claims 2^32 entries must not be believed before they are there.
        assert!(matches!(
            check(&of_version(b"\x01\x01\xff\xff\xff\xff\x0f")),
            ControlError::Packet(PacketError::Decode(_))
        ));
        assert!(matches!(
            check(&of_version(&[1, 1, 0, 7])),
            ControlError::Packet(PacketError::Trailing(1))
        ));
        let long = vec![1; MESSAGE_BYTES_MAX + 1];
        assert!(
            matches!(check(&long), ControlError::Packet(PacketError::TooLarge(n)) if n == MESSAGE_BYTES_MAX + 1)
        );
        vmm.send(&Event::Log(vec![])).expect("send");
        assert_eq!(starter.recv().expect("receive"), Some(Event::Log(vec![])));
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let (vmm, starter) = ends();
        // Version, kind, variant, blame, and three bytes for the length of a text of this size.
        let room = MESSAGE_BYTES_MAX - 2 - 1 - 1 - 1 - 3;
        let event = |bytes| Event::Failed {
            blame: Blame::Bug,
            message: "x".repeat(bytes),
        };
        vmm.send(&event(room)).expect("fits");
        assert_eq!(starter.recv().expect("receive"), Some(event(room)));
        assert!(matches!(
            vmm.send(&event(room + 1)),
            Err(ControlError::Packet(PacketError::TooLarge(_)))
        ));
    }

    #[test]
    fn a_closed_end_is_an_error() {
        let (vmm, starter) = ends();
        drop(starter);
        let sent = vmm.send(&Event::Log(vec![]));
        assert!(matches!(sent, Err(ControlError::Send(Errno::PIPE))));
    }

    #[test]
    fn descriptors_travel_and_those_nobody_asked_for_are_closed() {
        let (vmm, starter) = ends();
        let (kept, far) = ends();
        let packet = Packet::new(&Event::Log(vec![])).expect("encode");
        let pass = || vmm.send_with(&packet, &[far.as_fd()]).expect("send");
        pass();
        let (_, fds) = starter
            .recv_with::<Event>()
            .expect("receive")
            .expect("a message");
        assert_eq!(fds.len(), 1);
        pass();
        starter.recv::<Event>().expect("receive");
        drop((far, fds));
        // All duplicates are closed, or this would wait for ever.
        assert_eq!(kept.recv::<Event>().expect("receive"), None);
        let most = [vmm.as_fd(); DESCRIPTORS_MAX];
        vmm.send_with(&packet, &most).expect("send");
        let many = [vmm.as_fd(); DESCRIPTORS_MAX + 1];
        let sent = vmm.send_with(&packet, &many);
        assert!(matches!(sent, Err(ControlError::Descriptors)));
    }
}
