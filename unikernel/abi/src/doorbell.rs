//! Doorbells: the port writes with which a guest hands its one thread to the VMM.
//!
//! A doorbell is a one-byte `out`, and the byte says what is wanted, so that a small request
//! touches no page only to wait. Every doorbell clobbers all vector and floating-point state, so
//! that a snapshot needs none of it. Ports fit an 8-bit immediate, so that a fault stub is short.

/// All queues are the VMM's; wake the guest as the byte, a [`Wait`], says.
pub const WAIT: u16 = 0xe0;
/// `init` is done and the guest is idle: the snapshot point. Otherwise like an idle [`WAIT`].
pub const READY: u16 = 0xe1;
/// From a ring-0 stub: an exception. From ring 3: the guest gives up, for the reason in
/// [`crate::fault::FaultRecord`].
pub const FAULT: u16 = 0xe2;
/// The image ends on purpose; the byte is its exit code.
pub const EXIT: u16 = 0xe3;

/// The doorbells, lowest and highest port. The I/O bitmap opens these, the ports of the devices that the VM was given
/// ([`crate::devices`]), and no other.
pub const PORTS: core::ops::RangeInclusive<u16> = WAIT..=EXIT;

/// What a guest waits for: the byte of a [`WAIT`] doorbell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Bytes of a request in hand, or room to send.
    Event,
    /// As [`Wait::Event`], but not beyond the time in the control page.
    EventUntil,
    /// The next request: none is in hand.
    Idle,
    /// Nothing: the queues and the log ring are serviced and the guest runs on.
    Poll,
    /// Bytes of the host, for a request in hand; that there is room to send again wakes nobody.
    Received,
}

impl Wait {
    /// The byte to write to [`WAIT`].
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Event => 0,
            Self::EventUntil => 1,
            Self::Idle => 2,
            Self::Poll => 3,
            Self::Received => 4,
        }
    }

    /// Decodes a guest's byte; `None` if it means nothing.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Event,
            1 => Self::EventUntil,
            2 => Self::Idle,
            3 => Self::Poll,
            4 => Self::Received,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (byte, wait) in [
            (0, Wait::Event),
            (1, Wait::EventUntil),
            (2, Wait::Idle),
            (3, Wait::Poll),
            (4, Wait::Received),
        ] {
            assert_eq!((wait.to_byte(), Wait::from_byte(byte)), (byte, Some(wait)));
        }
        assert_eq!(Wait::from_byte(5), None);
    }
}
