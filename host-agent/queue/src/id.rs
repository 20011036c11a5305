//! The id of a message: when it was sent, so that ids sort as messages were sent, and which run of the program gave it.
//!
//! ```text
//! 000648f2a1b3c4d5 9f8e7d6c       microseconds since 1970, a number of the run; hexadecimal
//! ```

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Digits of the time in an id.
const TIME_CHARS: usize = 16;
/// Digits of an id.
pub(crate) const ID_CHARS: usize = TIME_CHARS + 8;
const _: () =
    assert!(TIME_CHARS == size_of::<u64>() * 2 && ID_CHARS == TIME_CHARS + size_of::<u32>() * 2);

/// The id of a message, unique on its host. Ids of one queue sort as the messages were sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageId(String);

/// Why a text is not the id of a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid id {0:?} of a message: must be {ID_CHARS} hexadecimal digits, in lower case")]
pub struct InvalidMessageId(String);

impl MessageId {
    pub(crate) fn new(sent_us: u64, run: u32) -> Self {
        Self(format!("{sent_us:0TIME_CHARS$x}{run:08x}"))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn sent_us(&self) -> u64 {
        // Digits, as many as fit.
        u64::from_str_radix(&self.0[..TIME_CHARS], 16).unwrap_or(0)
    }

    /// When it was sent by the host's clock, milliseconds since 1970; later than that if the clock went back meanwhile.
    pub fn sent_ms(&self) -> u64 {
        self.sent_us() / 1000
    }
}

impl TryFrom<String> for MessageId {
    type Error = InvalidMessageId;

    fn try_from(text: String) -> Result<Self, InvalidMessageId> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match text.len() == ID_CHARS && text.bytes().all(is_digit) {
            true => Ok(Self(text)),
            false => Err(InvalidMessageId(text)),
        }
    }
}

impl FromStr for MessageId {
    type Err = InvalidMessageId;

    fn from_str(text: &str) -> Result<Self, InvalidMessageId> {
        Self::try_from(text.to_owned())
    }
}

impl From<MessageId> for String {
    fn from(id: MessageId) -> Self {
        id.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
