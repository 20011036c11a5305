//! From what a handler returned to a reply, in two steps: [`Returned`] splits a `Result`, and
//! [`Output`] encodes the value. As in `input`, inherent methods win over a trait's.

use alloc::vec::Vec;
use core::fmt::{self, Display};

use serde::Serialize;

use crate::{
    dispatch::Reply,
    error::{error_text, error_type},
    http,
};

/// What a handler returned.
pub struct Returned<R>(pub R);

impl<R> fmt::Debug for Returned<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Returned")
    }
}

impl<T, E> Returned<Result<T, E>> {
    /// The value to encode, or the reply that carries the error.
    pub fn split(self) -> Result<T, Reply>
    where
        E: Display,
    {
        self.0
            .map_err(|error| Reply::function_error(error_type::<E>(), error_text(&error)))
    }
}

/// The way of everything that is not a `Result`.
pub trait SplitPlain {
    /// What the handler returned.
    type Value;

    /// The value to encode.
    fn split(self) -> Result<Self::Value, Reply>;
}

impl<R> SplitPlain for Returned<R> {
    type Value = R;

    fn split(self) -> Result<R, Reply> {
        Ok(self.0)
    }
}

/// Chooses how to encode a value.
pub struct Output<T>(pub T);

impl<T> fmt::Debug for Output<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

impl Output<Vec<u8>> {
    /// These bytes.
    pub fn encode(self) -> Reply {
        Reply::ok(self.0)
    }
}

impl Output<&[u8]> {
    /// A copy of these bytes.
    pub fn encode(self) -> Reply {
        Reply::ok(self.0.to_vec())
    }
}

impl Output<http::Response> {
    /// This response.
    pub fn encode(self) -> Reply {
        self.0.into_reply()
    }
}

/// The way of every other type.
pub trait EncodeJson<T> {
    /// The value as JSON.
    fn encode(self) -> Reply
    where
        T: Serialize;
}

impl<T> EncodeJson<T> for Output<T> {
    fn encode(self) -> Reply
    where
        T: Serialize,
    {
        match serde_json::to_vec(&self.0) {
            Ok(json) => Reply::json(json),
            // A `Serialize` of the author's failed, or a map has keys that are no strings.
            Err(error) => Reply::function_error("SerializeError", error_text(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiffy_abi::frame::{FrameKind, ResponseHead};

    use super::*;

    #[test]
    fn a_reply_says_whether_it_is_json() {
        let check = |reply: Reply, expected: &[(&str, &[u8])]| {
            assert_eq!(reply.kind, FrameKind::Ok);
            let head = ResponseHead::parse(&reply.head).expect("well-formed");
            assert_eq!(head.headers().collect::<Vec<_>>(), expected);
        };
        let json: (&str, &[u8]) = ("content-type", b"application/json");
        check(Output("text").encode(), &[json]);
        check(Output([1.5, 2.0]).encode(), &[json]);
        check(Output(alloc::vec![1_u8]).encode(), &[]);
        check(Output(&b"raw"[..]).encode(), &[]);
    }
}
