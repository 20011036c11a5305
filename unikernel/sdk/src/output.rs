//! From what a handler returned to a reply, in two steps: [`Returned`] splits a `Result`, and
//! [`Output`] encodes the value, [`Raised`] the error. As in `input`, inherent methods win over a trait's.

use alloc::vec::Vec;
use core::{
    convert::Infallible,
    fmt::{self, Display},
};

use serde::Serialize;

use crate::{
    dispatch::Reply,
    error::{Error, error_text, error_type},
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
    /// The value to encode, or the error.
    pub fn split(self) -> Result<T, Raised<E>> {
        self.0.map_err(Raised)
    }
}

/// The way of everything that is not a `Result`.
pub trait SplitPlain {
    /// What the handler returned.
    type Value;

    /// The value to encode.
    fn split(self) -> Result<Self::Value, Raised<Infallible>>;
}

impl<R> SplitPlain for Returned<R> {
    type Value = R;

    fn split(self) -> Result<R, Raised<Infallible>> {
        Ok(self.0)
    }
}

/// An error that a handler returned.
pub struct Raised<E>(E);

impl<E> fmt::Debug for Raised<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Raised")
    }
}

impl Raised<Error> {
    /// The reply with what the error keeps of the one it was made of.
    pub fn reply(self) -> Reply {
        Reply::function_error(self.0.error_type(), error_text(&self.0))
    }
}

/// The way of every other error.
pub trait RaiseText<E> {
    /// The reply with the error's text and the name of its type.
    fn reply(self) -> Reply
    where
        E: Display;
}

impl<E> RaiseText<E> for Raised<E> {
    fn reply(self) -> Reply
    where
        E: Display,
    {
        Reply::function_error(error_type::<E>(), error_text(&self.0))
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
    use jiffy_abi::frame::{ResponseHead, ResponseKind};

    use super::*;

    #[test]
    fn a_reply_says_whether_it_is_json() {
        let check = |reply: Reply, expected: &[(&str, &[u8])]| {
            assert_eq!(reply.kind, ResponseKind::Ok);
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
