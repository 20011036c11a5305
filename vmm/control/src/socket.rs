//! Sockets on which each packet is one message: a VMM's control socket and the spawner's.
//!
//! A packet is a version, u16 little-endian, the kind of its message, u8, and the message in
//! postcard's encoding; descriptors travel beside it. A VMM may have been taken over by its guest, so
//! each packet is hostile: length, version and kind are checked before it is decoded, nothing may be
//! left over behind it, and descriptors that nobody asked for are closed.

use std::{
    cell::RefCell,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use rustix::{
    io::{Errno, retry_on_intr},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
        send, sendmsg, socketpair,
    },
};
use serde::{Serialize, de::DeserializeOwned};

/// Largest packet, bytes, version and kind included: a snapshot's state with its working set fits.
pub const MESSAGE_BYTES_MAX: usize = 128 << 10;
/// Descriptors that travel with one message at most.
pub const DESCRIPTORS_MAX: usize = 2;
/// Version of the packets: every change of a message raises it. Both ends come from one build today;
/// the agent of tomorrow may meet a VMM of yesterday.
pub(crate) const MESSAGE_VERSION: u16 = 4;
const HEADER_BYTES: usize = 3;

thread_local! {
    /// Where packets are received: one for all sockets of a thread, and never zeroed again.
    static PACKET: RefCell<Box<[u8]>> = RefCell::new(vec![0; MESSAGE_BYTES_MAX].into());
}

/// Something that is sent as one packet.
pub trait Message: Serialize + DeserializeOwned {
    /// Tells its packets from those of other messages.
    const KIND: u8;
}

/// Why a message cannot be sent or received.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ControlError {
    #[error("cannot make a control socket")]
    Pair(#[source] Errno),
    #[error("cannot encode a message")]
    Encode(#[source] postcard::Error),
    #[error("a message has {0} bytes, more than the {MESSAGE_BYTES_MAX} of a control packet")]
    TooLarge(usize),
    #[error("a message comes with more than {DESCRIPTORS_MAX} descriptors")]
    Descriptors,
    #[error("cannot send a message")]
    Send(#[source] Errno),
    #[error("cannot receive a message")]
    Receive(#[source] Errno),
    #[error("a control packet has {0} bytes, too few for its version and kind")]
    TooShort(usize),
    #[error(
        "its control protocol has version {0}, and this side's has {MESSAGE_VERSION}: install jiffy and jiffy-vmm from one release"
    )]
    Version(u16),
    #[error("a control packet is of kind {found}, not {expected}")]
    Kind { found: u8, expected: u8 },
    #[error("a control packet is no message")]
    Decode(#[source] postcard::Error),
    #[error("a control packet goes on for {0} bytes behind its message")]
    Trailing(usize),
}

impl ControlError {
    /// Whether a non-blocking socket had nothing to receive, or no room to send.
    pub fn would_block(&self) -> bool {
        matches!(self, Self::Send(Errno::AGAIN) | Self::Receive(Errno::AGAIN))
    }
}

/// A message that is encoded, to be sent once or often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet(Vec<u8>);

impl Packet {
    /// Encodes a message.
    pub fn new<M: Message>(message: &M) -> Result<Self, ControlError> {
        let mut packet = MESSAGE_VERSION.to_le_bytes().to_vec();
        packet.push(M::KIND);
        let packet = postcard::to_extend(message, packet).map_err(ControlError::Encode)?;
        if packet.len() > MESSAGE_BYTES_MAX {
            return Err(ControlError::TooLarge(packet.len()));
        }
        Ok(Self(packet))
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
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

    /// Sends one message. Blocks while the other end is slow to take them, unless the descriptor is
    /// non-blocking; a closed other end is an error, never a signal.
    pub fn send<M: Message>(&self, message: &M) -> Result<(), ControlError> {
        let packet = Packet::new(message)?;
        // A packet is taken whole or not at all, so there is no rest to send.
        retry_on_intr(|| send(&self.fd, &packet.0, SendFlags::NOSIGNAL))
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
        let slices = [IoSlice::new(&packet.0)];
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
                .ok_or(ControlError::TooLarge(received.bytes))?;
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
pub fn rehearse<M: Message>(packet: &Packet) -> Result<M, ControlError> {
    PACKET.with_borrow_mut(|buffer| {
        let len_bytes = packet.0.len();
        let received = buffer.get_mut(..len_bytes);
        let received = received.ok_or(ControlError::TooLarge(len_bytes))?;
        received.copy_from_slice(&packet.0);
        decode(received)
    })
}

fn decode<M: Message>(packet: &[u8]) -> Result<M, ControlError> {
    let Some((header, message)) = packet.split_first_chunk::<HEADER_BYTES>() else {
        return Err(ControlError::TooShort(packet.len()));
    };
    let [low, high, found] = *header;
    let version = u16::from_le_bytes([low, high]);
    if version != MESSAGE_VERSION {
        return Err(ControlError::Version(version));
    }
    if found != M::KIND {
        let expected = M::KIND;
        return Err(ControlError::Kind { found, expected });
    }
    let (message, rest) = postcard::take_from_bytes(message).map_err(ControlError::Decode)?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(ControlError::Trailing(rest.len()))
    }
}

#[cfg(test)]
mod tests {
    use jiffy_snapshots::State;
    use proptest::prelude::*;

    use super::*;
    use crate::{Backtrace, Blame, Event, GuestFault, LogRecord, Outcome, Phases, Report, Stats};

    fn ends() -> (ControlSocket, ControlSocket) {
        ControlSocket::pair().expect("socket pair")
    }

    #[test]
    fn the_last_word_of_who_did_not_listen_is_heard() {
        let (owner, vmm) = ends();
        owner.send(&crate::Command::Stats).expect("send");
        let last = Event::Died(crate::Death::Exited(1), crate::ProcessUsage::default());
        vmm.send(&last).expect("send");
        drop(vmm);
        assert_eq!(owner.recv().expect("a message"), Some(last));
        assert_eq!(owner.recv::<Event>().expect("the end"), None);
    }

    fn raw(vmm: &ControlSocket, packet: &[u8]) {
        send(vmm.as_fd(), packet, SendFlags::empty()).expect("send");
    }

    fn backtrace() -> impl Strategy<Value = Backtrace> {
        prop::collection::vec(any::<u64>(), 0..=crate::event::BACKTRACE_FRAMES_MAX)
            .prop_map(Backtrace)
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        let panic = (
            any::<String>(),
            any::<String>(),
            any::<(u32, u32)>(),
            backtrace(),
        )
            .prop_map(|(message, file, (line, column), backtrace)| {
                Outcome::Fault(GuestFault::Panic {
                    message,
                    file,
                    line,
                    column,
                    backtrace,
                })
            });
        let exception = (
            any::<u8>(),
            any::<[u64; 4]>(),
            any::<Option<u64>>(),
            backtrace(),
        )
            .prop_map(
                |(vector, [error_code, address, rip, rsp], stack_overflow, backtrace)| {
                    Outcome::Fault(GuestFault::Exception {
                        vector,
                        error_code,
                        address,
                        rip,
                        rsp,
                        stack_overflow,
                        backtrace,
                    })
                },
            );
        let timed_out =
            (any::<u64>(), backtrace()).prop_map(|(timeout_ms, backtrace)| Outcome::TimedOut {
                timeout_ms,
                backtrace,
            });
        prop_oneof![
            Just(Outcome::Finished),
            any::<u8>().prop_map(Outcome::Exited),
            panic,
            exception,
            timed_out,
        ]
    }

    fn event() -> impl Strategy<Value = Event> {
        let record =
            (any::<u8>(), any::<String>()).prop_map(|(level, text)| LogRecord { level, text });
        let report = (outcome(), any::<u64>()).prop_map(|(outcome, bytes_out)| {
            Event::Stopped(Report {
                outcome,
                stats: Stats {
                    bytes_out,
                    ..Stats::default()
                },
            })
        });
        prop_oneof![
            any::<u64>().prop_map(|init_ns| Event::Ready(Phases {
                init_ns,
                ..Phases::default()
            })),
            prop::collection::vec(record, 0..20).prop_map(Event::Log),
            report,
            prop::collection::vec(any::<(u64, u64)>(), 0..20).prop_map(Event::WorkingSet),
            any::<u64>().prop_map(|cpu_ns| Event::Done(Stats {
                cpu_ns,
                ..Stats::default()
            })),
            any::<u64>().prop_map(|rip| {
                let mut state = Box::new(State::default());
                state.vcpu.regs.rip = rip;
                Event::Captured(state)
            }),
            any::<String>().prop_map(|message| Event::Failed {
                blame: Blame::Host,
                message
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_sent_is_received(events in prop::collection::vec(event(), 0..4)) {
            let (vmm, starter) = ends();
            for event in &events {
                vmm.send(event).expect("send");
            }
            drop(vmm);
            for event in events {
                prop_assert_eq!(starter.recv().expect("receive"), Some(event));
            }
            prop_assert_eq!(starter.recv::<Event>().expect("receive"), None);
        }

        #[test]
        fn arbitrary_packets_are_refused_or_decoded(mut packet: Vec<u8>, versioned: bool) {
            if versioned {
                let [low, high] = MESSAGE_VERSION.to_le_bytes();
                packet.splice(..0, [low, high, Event::KIND]);
            }
            if let Ok(event) = decode::<Event>(&packet) {
                // Not the same bytes: postcard also reads numbers that are longer than need be.
                let again = Packet::new(&event).expect("encode");
                prop_assert_eq!(decode::<Event>(again.bytes()).expect("decode"), event);
            }
        }
    }

    #[test]
    fn golden_packet() {
        let event = Event::Log(vec![LogRecord {
            level: 3,
            text: "hi".into(),
        }]);
        assert_eq!(
            Packet::new(&event).expect("encode").bytes(),
            b"\x04\x00\x01\x01\x01\x03\x02hi"
        );
    }

    #[test]
    fn each_kind_of_bad_packet_is_named_and_the_next_one_is_read() {
        let (vmm, starter) = ends();
        let check = |packet: &[u8]| {
            raw(&vmm, packet);
            starter.recv::<Event>().expect_err("malformed")
        };
        assert!(matches!(check(&[1]), ControlError::TooShort(1)));
        assert!(matches!(check(&[1, 0, 1, 0]), ControlError::Version(1)));
        assert!(matches!(
            check(&[4, 0, 9, 0]),
            ControlError::Kind { found: 9, .. }
        ));
        assert!(matches!(check(&[4, 0, 1]), ControlError::Decode(_)));
        assert!(matches!(check(&[4, 0, 1, 99]), ControlError::Decode(_)));
        // A list that claims 2^32 entries must not be believed before they are there.
        assert!(matches!(
            check(b"\x04\x00\x01\x01\xff\xff\xff\xff\x0f"),
            ControlError::Decode(_)
        ));
        assert!(matches!(
            check(&[4, 0, 1, 1, 0, 7]),
            ControlError::Trailing(1)
        ));
        let long = vec![1; MESSAGE_BYTES_MAX + 1];
        assert!(matches!(check(&long), ControlError::TooLarge(n) if n == MESSAGE_BYTES_MAX + 1));
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
            Err(ControlError::TooLarge(_))
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
        let many = [vmm.as_fd(), vmm.as_fd(), vmm.as_fd()];
        let sent = vmm.send_with(&packet, &many);
        assert!(matches!(sent, Err(ControlError::Descriptors)));
    }
}
