//! What a server replies.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use jiffy_abi::redis::{Scan, Token, token};
use serde::Deserialize;

use crate::call::{CallError, CallErrorKind, Sent};

/// A reply. What it is said to be is its own business and the server's, so each accessor may fail, with an error that says what
/// there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Value {
    /// Nothing: there is no such key, or a condition did not hold.
    #[default]
    Nil,
    /// A number.
    Int(i64),
    /// Bytes, which may be a text; also a status, such as `OK`.
    Bytes(Vec<u8>),
    /// Several replies.
    Array(Vec<Value>),
    /// An error's text. Only within an array, as a script may reply; a reply that is an error is the call's.
    Error(String),
}

impl Value {
    /// Whether there is nothing.
    pub const fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// It, unless there is nothing.
    pub fn option(&self) -> Option<&Self> {
        (!self.is_nil()).then_some(self)
    }

    /// The bytes.
    pub fn bytes(&self) -> Result<&[u8], CallError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(self.is_not("bytes")),
        }
    }

    /// The bytes, without a copy.
    pub fn into_bytes(self) -> Result<Vec<u8>, CallError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(other.is_not("bytes")),
        }
    }

    /// The bytes as text, in UTF-8.
    pub fn text(&self) -> Result<&str, CallError> {
        str::from_utf8(self.bytes()?).map_err(|_| self.is_not("text in UTF-8"))
    }

    /// The number, also one that is kept as text, as those are that `INCR` counts.
    pub fn int(&self) -> Result<i64, CallError> {
        match self {
            Self::Int(int) => Ok(*int),
            _ => self.parsed().ok_or_else(|| self.is_not("a whole number")),
        }
    }

    /// The number, which Redis sends as text if it is not a whole one.
    pub fn float(&self) -> Result<f64, CallError> {
        self.parsed().ok_or_else(|| self.is_not("a number"))
    }

    fn parsed<T: core::str::FromStr>(&self) -> Option<T> {
        match self {
            Self::Int(int) => format!("{int}").parse().ok(),
            Self::Bytes(bytes) => str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// The replies in it.
    pub fn array(&self) -> Result<&[Self], CallError> {
        match self {
            Self::Array(values) => Ok(values),
            _ => Err(self.is_not("an array")),
        }
    }

    /// The bytes as JSON; it may borrow from them.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, CallError> {
        let parsed = serde_json::from_slice(self.bytes()?);
        parsed.map_err(|error| {
            wrong(&format!(
                "the reply of Redis is not the JSON wanted: {error}"
            ))
        })
    }

    fn is_not(&self, wanted: &str) -> CallError {
        let is = match self {
            Self::Nil => "nil".to_owned(),
            Self::Int(int) => format!("the number {int}"),
            Self::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Self::Array(values) => format!("an array of {}", values.len()),
            Self::Error(text) => format!("the error {text:?}"),
        };
        wrong(&format!("the reply of Redis is {is}: must be {wanted}"))
    }

    /// The reply as it travels; `None` if it is not one, or too large.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        // Behind this it is whole, and within the limits of depth and number.
        let end = Scan::new().advance(bytes).ok()??;
        let (value, rest) = Self::take(bytes)?;
        (rest.is_empty() && end == bytes.len()).then_some(value)
    }

    fn take(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (token, used) = token(bytes).ok()??;
        let mut rest = bytes.get(used..)?;
        let value = match token {
            Token::Nil => Self::Nil,
            Token::Int(int) => Self::Int(int),
            Token::Status(bytes) | Token::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            Token::Error(text) => Self::Error(String::from_utf8_lossy(text).into_owned()),
            Token::Array(count) => {
                let mut values = Vec::with_capacity(count);
                for _ in 0..count {
                    let (value, behind) = Self::take(rest)?;
                    values.push(value);
                    rest = behind;
                }
                Self::Array(values)
            }
        };
        Some((value, rest))
    }

    /// Appends the reply to `bytes` as it travels.
    #[cfg(not(jiffy_guest))]
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Nil => bytes.extend_from_slice(b"$-1\r\n"),
            Self::Int(int) => bytes.extend_from_slice(format!(":{int}\r\n").as_bytes()),
            Self::Error(text) => bytes.extend_from_slice(format!("-{text}\r\n").as_bytes()),
            Self::Bytes(value) => {
                bytes.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
                bytes.extend_from_slice(value);
                bytes.extend_from_slice(b"\r\n");
            }
            Self::Array(values) => {
                bytes.extend_from_slice(format!("*{}\r\n", values.len()).as_bytes());
                values.iter().for_each(|value| value.encode(bytes));
            }
        }
    }
}

fn wrong(message: &str) -> CallError {
    CallError::new(CallErrorKind::Failed, Sent::Yes, message)
}

macro_rules! from {
    ($($from:ty, $value:ident => $to:expr;)+) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $to
            }
        }
    )+};
}

from! {
    (), _nothing => Self::Nil;
    i32, int => Self::Int(int.into());
    u32, int => Self::Int(int.into());
    i64, int => Self::Int(int);
    &str, text => Self::Bytes(text.into());
    String, text => Self::Bytes(text.into());
    &[u8], bytes => Self::Bytes(bytes.into());
    Vec<u8>, bytes => Self::Bytes(bytes);
    Vec<Value>, values => Self::Array(values);
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, T::into)
    }
}
