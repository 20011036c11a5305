//! The control socket: packets from a VMM to the one who started it.
//!
//! A packet is a version, u16 little-endian, and an [`Event`] in postcard's encoding. A VMM may have
//! been taken over by its guest, so each packet is hostile: its length and version are checked
//! before it is decoded, and nothing may be left over behind it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    io::{Errno, retry_on_intr},
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair},
};

use crate::Event;

/// Largest packet, bytes, version included.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Version of the packets: every change of [`Event`] raises it. Both ends come from one build today;
/// the agent of tomorrow may meet a VMM of yesterday.
const MESSAGE_VERSION: u16 = 2;
const VERSION_BYTES: usize = 2;

/// Why an event cannot be sent or received.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ControlError {
    #[error("cannot make a control socket")]
    Pair(#[source] Errno),
    #[error("cannot encode an event")]
    Encode(#[source] postcard::Error),
    #[error("an event has {0} bytes, more than the {MESSAGE_BYTES_MAX} of a control packet")]
    TooLarge(usize),
    #[error("cannot send an event")]
    Send(#[source] Errno),
    #[error("cannot receive an event")]
    Receive(#[source] Errno),
    #[error("a control packet has {0} byte, too few for its version")]
    TooShort(usize),
    #[error(
        "its control protocol has version {0}, and this side's has {MESSAGE_VERSION}: install jiffy and jiffy-vmm from one release"
    )]
    Version(u16),
    #[error("a control packet is no event")]
    Decode(#[source] postcard::Error),
    #[error("a control packet goes on for {0} bytes behind its event")]
    Trailing(usize),
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

    /// Sends one event. Blocks while the other end is slow to take them, unless the descriptor is
    /// non-blocking; a closed other end is an error, never a signal.
    pub fn send(&self, event: &Event) -> Result<(), ControlError> {
        let packet = encode(event)?;
        // A packet is taken whole or not at all, so there is no rest to send.
        retry_on_intr(|| send(&self.fd, &packet, SendFlags::NOSIGNAL))
            .map(|_| ())
            .map_err(ControlError::Send)
    }

    /// Receives one event; `None` once the other end is closed and everything was received.
    /// A packet that is refused is gone: the next call looks at the next one.
    pub fn recv(&self) -> Result<Option<Event>, ControlError> {
        let mut packet = vec![0; MESSAGE_BYTES_MAX];
        // With TRUNC the length is the packet's own, even if it was cut.
        let (_, packet_bytes) = retry_on_intr(|| recv(&self.fd, &mut packet[..], RecvFlags::TRUNC))
            .map_err(ControlError::Receive)?;
        if packet_bytes == 0 {
            return Ok(None);
        }
        let packet = packet
            .get(..packet_bytes)
            .ok_or(ControlError::TooLarge(packet_bytes))?;
        decode(packet).map(Some)
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

/// The packet that [`ControlSocket::send`] sends.
pub(crate) fn encode(event: &Event) -> Result<Vec<u8>, ControlError> {
    let packet = MESSAGE_VERSION.to_le_bytes().to_vec();
    let packet = postcard::to_extend(event, packet).map_err(ControlError::Encode)?;
    if packet.len() > MESSAGE_BYTES_MAX {
        return Err(ControlError::TooLarge(packet.len()));
    }
    Ok(packet)
}

fn decode(packet: &[u8]) -> Result<Event, ControlError> {
    let Some((version, event)) = packet.split_first_chunk::<VERSION_BYTES>() else {
        return Err(ControlError::TooShort(packet.len()));
    };
    let version = u16::from_le_bytes(*version);
    if version != MESSAGE_VERSION {
        return Err(ControlError::Version(version));
    }
    let (event, rest) = postcard::take_from_bytes(event).map_err(ControlError::Decode)?;
    if rest.is_empty() {
        Ok(event)
    } else {
        Err(ControlError::Trailing(rest.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Backtrace, Blame, GuestFault, LogRecord, Outcome, Phases, Report, Saved, Stats};

    fn ends() -> (ControlSocket, ControlSocket) {
        ControlSocket::pair().expect("socket pair")
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
        let exception = (any::<u8>(), any::<[u64; 4]>(), any::<bool>(), backtrace()).prop_map(
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
            (any::<[u8; 32]>(), any::<u64>()).prop_map(|(digest, save_ns)| Event::Saved(Saved {
                digest,
                save_ns,
                ..Saved::default()
            })),
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
            prop_assert_eq!(starter.recv().expect("receive"), None);
        }

        #[test]
        fn arbitrary_packets_are_refused_or_decoded(mut packet: Vec<u8>, versioned: bool) {
            if versioned {
                packet.splice(..0, MESSAGE_VERSION.to_le_bytes());
            }
            if let Ok(event) = decode(&packet) {
                // Not the same bytes: postcard also reads numbers that are longer than need be.
                let again = encode(&event).expect("encode");
                prop_assert_eq!(decode(&again).expect("decode"), event);
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
            encode(&event).expect("encode"),
            b"\x02\x00\x01\x01\x03\x02hi"
        );
    }

    #[test]
    fn each_kind_of_bad_packet_is_named_and_the_next_one_is_read() {
        let (vmm, starter) = ends();
        let check = |packet: &[u8]| {
            raw(&vmm, packet);
            starter.recv().expect_err("malformed")
        };
        assert!(matches!(check(&[1]), ControlError::TooShort(1)));
        assert!(matches!(check(&[1, 0, 0]), ControlError::Version(1)));
        assert!(matches!(check(&[2, 0]), ControlError::Decode(_)));
        assert!(matches!(check(&[2, 0, 99]), ControlError::Decode(_)));
        // A list that claims 2^32 entries must not be believed before they are there.
        assert!(matches!(
            check(b"\x02\x00\x01\xff\xff\xff\xff\x0f"),
            ControlError::Decode(_)
        ));
        assert!(matches!(check(&[2, 0, 1, 0, 7]), ControlError::Trailing(1)));
        let long = vec![1; MESSAGE_BYTES_MAX + 1];
        assert!(matches!(check(&long), ControlError::TooLarge(n) if n == MESSAGE_BYTES_MAX + 1));
        vmm.send(&Event::Log(vec![])).expect("send");
        assert_eq!(starter.recv().expect("receive"), Some(Event::Log(vec![])));
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let (vmm, starter) = ends();
        // Version, variant, blame, and three bytes for the length of a text of this size.
        let room = MESSAGE_BYTES_MAX - 2 - 1 - 1 - 3;
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
}
