//! The id of a message: its place among all that were ever sent on its host.
//!
//! ```text
//! 00000000000001f4       the version of its entry, hexadecimal
//! ```

use std::{fmt, str::FromStr};

use jiffy_kv::{VERSION_KEY_CHARS, version_key};
use serde::{Deserialize, Serialize};

/// The id of a message, unique on its host. Ids sort as messages were sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageId(String);

/// Why a text is not the id of a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid id {0:?} of a message: must be {VERSION_KEY_CHARS} hexadecimal digits, in lower case"
)]
pub struct InvalidMessageId(String);

impl MessageId {
    pub(crate) fn new(version: u64) -> Self {
        Self(version_key(version))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MessageId {
    type Error = InvalidMessageId;

    fn try_from(text: String) -> Result<Self, InvalidMessageId> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match text.len() == VERSION_KEY_CHARS && text.bytes().all(is_digit) {
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
