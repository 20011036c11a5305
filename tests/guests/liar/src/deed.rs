//! What the liar can be told to do, as a byte. This file is compiled into the guest and the tests.

/// Bytes of an id.
pub(crate) const ID_BYTES: usize = 16;
/// Bytes of an event that every deed needs: deed, parameter, id.
pub(crate) const EVENT_BYTES_MIN: usize = 2 + ID_BYTES;

/// One deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Deed {
    /// Answers, and goes idle.
    Honest = 0,
    /// Two answers in one packet.
    TwiceAtOnce = 1,
    /// Two answers, and a doorbell between them.
    TwiceInTurn = 2,
    /// Two answers, and time between them: the parameter in units of 10 µs.
    TwiceLater = 3,
    /// Answers, and sends a few bytes more: as many as the parameter says.
    Noise = 4,
    /// The beginning of an answer: as many bytes as the parameter says, one less than all at most.
    Half = 5,
    /// Answers before it has read more of the request than these bytes.
    Early = 6,
    /// Sends what it kept of the request before, and nothing else.
    Stale = 7,
    /// As `Stale`, and then answers.
    StaleFirst = 8,
    /// Answers, and forges a frame with the nonce that comes after its own.
    Forge = 9,
    /// Goes idle.
    Silent = 10,
    /// Answers, and goes on as if `init` had just ended.
    ReadyAgain = 11,
    /// Makes a call, takes its reply, and answers.
    Call = 12,
    /// Makes a call, and answers while the reply is on its way or there, without taking it.
    CallAndGo = 13,
    /// Makes a call of a service that nobody has, takes its reply, and answers.
    CallUnknown = 14,
    /// Makes a call whose head, or body if the parameter is odd, is announced larger than any may be.
    CallOversized = 15,
    /// Makes 17 calls at once.
    CallTooMany = 16,
    /// Makes calls one after the other until it is ended.
    CallForEver = 17,
    /// Answers, and makes a call.
    CallLate = 18,
    /// Makes two calls of one number.
    CallTwice = 19,
    /// Makes a call with the nonce that comes after its own.
    CallForged = 20,
    /// Makes a call without a number.
    CallNameless = 21,
}

impl Deed {
    /// All of them.
    pub(crate) const ALL: [Self; 22] = [
        Self::Honest,
        Self::TwiceAtOnce,
        Self::TwiceInTurn,
        Self::TwiceLater,
        Self::Noise,
        Self::Half,
        Self::Early,
        Self::Stale,
        Self::StaleFirst,
        Self::Forge,
        Self::Silent,
        Self::ReadyAgain,
        Self::Call,
        Self::CallAndGo,
        Self::CallUnknown,
        Self::CallOversized,
        Self::CallTooMany,
        Self::CallForEver,
        Self::CallLate,
        Self::CallTwice,
        Self::CallForged,
        Self::CallNameless,
    ];

    /// Decodes a byte; what is none is honest.
    pub(crate) fn from_byte(byte: u8) -> Self {
        let found = Self::ALL.into_iter().find(|deed| *deed as u8 == byte);
        found.unwrap_or(Self::Honest)
    }
}
