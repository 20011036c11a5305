//! From a request to the first argument of a handler.
//!
//! The glue of `#[jiffy::function]` calls `decode` on an [`Event`] of the argument's type. Inherent
//! methods win over a trait's, so raw bytes and HTTP requests are found before JSON is, and type
//! aliases work because nobody looks at names.

use alloc::{format, vec::Vec};
use core::{fmt, marker::PhantomData};

use jiffy_abi::note::FLAG_HTTP;
use serde::Deserialize;

use crate::{
    dispatch::{Invocation, Reply},
    http,
};

/// Chooses how to decode the event of type `T`.
pub struct Event<T>(PhantomData<fn() -> T>);

impl<T> Event<T> {
    /// The only value.
    #[expect(
        clippy::new_without_default,
        reason = "only the macro's expansion makes one"
    )]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> fmt::Debug for Event<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Event")
    }
}

impl<'a> Event<&'a [u8]> {
    /// The body as it came.
    pub fn decode(self, call: &'a Invocation<'_>) -> Result<&'a [u8], Reply> {
        Ok(call.body)
    }
}

impl Event<Vec<u8>> {
    /// A copy of the body.
    pub fn decode(self, call: &Invocation<'_>) -> Result<Vec<u8>, Reply> {
        Ok(call.body.to_vec())
    }
}

impl<'a> Event<http::Request<'a>> {
    /// The HTTP request.
    pub fn decode(self, call: &'a Invocation<'_>) -> Result<http::Request<'a>, Reply> {
        http::Request::from_frame(call.kind, &call.head, call.body)
            .map_err(|error| Reply::bad_event(format!("request does not parse: {error}")))
    }
}

impl Event<http::Request<'_>> {
    /// What the image says of its handler.
    pub const NOTE_FLAGS: u32 = FLAG_HTTP;
}

/// What the image of a handler for anything else says of it.
pub trait PlainNoteFlags {
    /// Nothing.
    const NOTE_FLAGS: u32 = 0;
}

impl<T> PlainNoteFlags for Event<T> {}

/// The way of every other type.
pub trait DecodeJson<T> {
    /// The body as JSON.
    fn decode<'a>(self, call: &'a Invocation<'_>) -> Result<T, Reply>
    where
        T: Deserialize<'a>;
}

impl<T> DecodeJson<T> for Event<T> {
    fn decode<'a>(self, call: &'a Invocation<'_>) -> Result<T, Reply>
    where
        T: Deserialize<'a>,
    {
        let json = if call.body.is_empty() {
            b"null"
        } else {
            call.body
        };
        serde_json::from_slice(json)
            .map_err(|error| Reply::bad_event(format!("event does not parse: {error}")))
    }
}
