//! Host calls: what a guest that has a request in hand asks its host for, on the stream of that request.
//!
//! ```text
//! guest → host   Call    call id, service, operation, binding, time limit, fields of the operation; body
//! host → guest   Reply   call id, error, whether anything was sent, fields of the operation; body
//! ```
//!
//! Calls and replies are frames ([`crate::frame`]) under the nonce of the request. The calls of a request are numbered from
//! 0 as they are sent; their replies come in any order, one for each. The response ends all of them: no call comes behind
//! it, and it comes behind all replies that the host has begun to write. A guest without a request, or in `init`, sends nothing.
//! Not here: what services do (`jiffy-capabilities`).

use crate::frame::{
    FrameError, FrameHeader, FrameKind, Headers, RequestKind, ResponseKind, Tag, headers, text,
    walk, write_field,
};
use crate::numbered::numbered;

/// Calls of one request that may have no reply yet.
pub const IN_FLIGHT_MAX: u32 = 16;
/// Calls of one request.
pub const CALLS_MAX: u32 = 1000;
/// What all calls of one request may have together, bytes of their frames; and so may all replies.
pub const CALL_BYTES_MAX: u64 = 64 << 20;

/// The service that tells what runs the function.
pub const SERVICE_HOST: u16 = 1;
/// Of [`SERVICE_HOST`]: release of jiffy, name and version of the function, id of the request.
pub const OPERATION_HOST_INFO: u16 = 1;
/// The service that keeps keys and values; the binding is the store. See [`crate::kv`].
pub const SERVICE_KV: u16 = 16;
/// Of [`SERVICE_KV`]: what is under a key (field: key). The reply has version, metadata and expiry, and the value as its body;
/// without a version, there is none.
pub const OPERATION_KV_GET: u16 = 1;
/// Of [`SERVICE_KV`]: puts a value, the body (fields: key, metadata, time to live, conditions). The reply's body is what was
/// [`written`](crate::kv::Written).
pub const OPERATION_KV_PUT: u16 = 2;
/// Of [`SERVICE_KV`]: removes an entry (fields: key, conditions). The reply's body is what was written.
pub const OPERATION_KV_DELETE: u16 = 3;
/// Of [`SERVICE_KV`]: a part of a list (fields: prefix, cursor, count). The reply's body is items, each with key, version, bytes of
/// the value, metadata and expiry; its field is the cursor of the next part, if there may be one.
pub const OPERATION_KV_LIST: u16 = 4;
/// Of [`SERVICE_KV`]: several changes, all or none. The body is items, each with the fields and the body of a put or a delete,
/// and which of them it is. The reply's body is what was written, one after the other.
pub const OPERATION_KV_BATCH: u16 = 5;
/// The service that has secrets; the binding is the secret.
pub const SERVICE_SECRET: u16 = 17;
/// Of [`SERVICE_SECRET`]: reads a secret, which is the reply's body.
pub const OPERATION_SECRET_READ: u16 = 1;
/// The service that makes HTTP requests.
pub const SERVICE_HTTP: u16 = 2;
/// Of [`SERVICE_HTTP`]: one request. Fields: method, target (the whole URL), headers; the binding is the secret to put into
/// it. The reply has status and headers, and the body.
pub const OPERATION_HTTP_REQUEST: u16 = 1;
/// The service that asks SQL databases; the binding is the database.
pub const SERVICE_SQL: u16 = 3;
/// Of [`SERVICE_SQL`]: runs a statement (fields: statement, transaction if it is of one); the body is its parameters, a JSON array, or
/// nothing. The reply's body is its rows, a JSON array of objects.
pub const OPERATION_SQL_QUERY: u16 = 1;
/// Of [`SERVICE_SQL`]: runs a statement, whose rows nobody wants. The reply's field is how many rows were changed.
pub const OPERATION_SQL_EXECUTE: u16 = 2;
/// Of [`SERVICE_SQL`]: begins a transaction (fields: isolation, read only). The reply's field is its number.
pub const OPERATION_SQL_BEGIN: u16 = 3;
/// Of [`SERVICE_SQL`]: commits a transaction (field: transaction).
pub const OPERATION_SQL_COMMIT: u16 = 4;
/// Of [`SERVICE_SQL`]: rolls a transaction back (field: transaction). One that is open when its request ends is rolled back, too.
pub const OPERATION_SQL_ROLLBACK: u16 = 5;

/// The service that sends commands to Redis databases; the binding is the database. See [`crate::redis`].
pub const SERVICE_REDIS: u16 = 4;
/// Of [`SERVICE_REDIS`]: one command, the body. The reply's body is the server's, unless that is an error.
pub const OPERATION_REDIS_COMMAND: u16 = 1;
/// Of [`SERVICE_REDIS`]: several commands, the body, with nobody's between them. The reply's body is an array of the server's replies.
pub const OPERATION_REDIS_ATOMIC: u16 = 2;

/// The service that has other functions answer; the binding is the function's name.
pub const SERVICE_FUNCTIONS: u16 = 18;
/// Of [`SERVICE_FUNCTIONS`]: sends an event, the body. The reply's body is what the function returned.
pub const OPERATION_INVOKE: u16 = 1;

/// The service that keeps messages; the binding is the queue.
pub const SERVICE_QUEUE: u16 = 19;
/// Of [`SERVICE_QUEUE`]: puts a message, the body, behind all others (field: content type). The reply's body is its id.
pub const OPERATION_QUEUE_SEND: u16 = 1;
/// The content type of a message of which nobody says one.
pub const CONTENT_TYPE_DEFAULT: &str = "application/octet-stream";

/// A call, the only thing besides a response that a guest sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallKind;

/// A reply, the only thing besides a request that a host sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyKind;

/// What a guest may send while it has a request in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentKind {
    /// A call.
    Call,
    /// The response.
    Response(ResponseKind),
}

const CALL: u16 = 5;
const REPLY: u16 = 3;
// Kinds of one direction share their numbers.
const _: () = assert!(CALL > ResponseKind::Http as u16 && REPLY > RequestKind::Http as u16);

impl FrameKind for CallKind {
    const MAGIC: [u8; 4] = ResponseKind::MAGIC;

    fn number(self) -> u16 {
        CALL
    }

    fn from_number(number: u16) -> Option<Self> {
        (number == CALL).then_some(Self)
    }
}

impl FrameKind for ReplyKind {
    const MAGIC: [u8; 4] = RequestKind::MAGIC;

    fn number(self) -> u16 {
        REPLY
    }

    fn from_number(number: u16) -> Option<Self> {
        (number == REPLY).then_some(Self)
    }
}

impl FrameKind for SentKind {
    const MAGIC: [u8; 4] = ResponseKind::MAGIC;

    fn number(self) -> u16 {
        match self {
            Self::Call => CALL,
            Self::Response(kind) => kind.number(),
        }
    }

    fn from_number(number: u16) -> Option<Self> {
        match number {
            CALL => Some(Self::Call),
            _ => ResponseKind::from_number(number).map(Self::Response),
        }
    }
}

/// The header of a call.
pub type CallHeader = FrameHeader<CallKind>;
/// The header of a reply.
pub type ReplyHeader = FrameHeader<ReplyKind>;
/// The header of what a guest sends.
pub type SentHeader = FrameHeader<SentKind>;

numbered! {
    /// Why a call has no result.
    pub enum CallErrorKind {
        /// The function may not do this.
        Denied = 1,
        /// Whoever runs the function has no such service or operation.
        Unknown = 2,
        /// The call is not one that the operation takes.
        Invalid = 3,
        /// There was no result in time.
        Timeout = 4,
        /// A limit of calls is reached.
        Limit = 5,
        /// It was tried and did not work.
        Failed = 6,
        /// Somebody else was quicker: what it was to change is not as it was, or is there already.
        Conflict = 7,
    }
}

impl CallErrorKind {
    /// In kebab case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
            Self::Timeout => "timeout",
            Self::Limit => "limit",
            Self::Failed => "failed",
            Self::Conflict => "conflict",
        }
    }
}

/// Whether what was called for has left the host: whether it can be tried again without being done twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Sent {
    /// Nothing has.
    No = 0,
    /// Nobody knows.
    #[default]
    Maybe = 1,
    /// It has.
    Yes = 2,
}

/// A call's head, decoded.
#[derive(Clone, Debug)]
pub struct CallHead<'a> {
    /// Its number among the calls of its request, from 0.
    pub id: u32,
    /// Which service.
    pub service: u16,
    /// Which of the service's operations.
    pub operation: u16,
    /// Which of the things that the function was given under a name, such as a store; empty if the operation is of none.
    pub binding: &'a str,
    /// What it may take, milliseconds; it never takes longer than its request may.
    pub timeout_ms: Option<u32>,
}

impl<'a> CallHead<'a> {
    /// Decodes the head of a call.
    pub fn parse(head: &'a [u8]) -> Result<Self, FrameError> {
        let (mut id, mut service, mut operation) = (None, None, None);
        let (mut binding, mut timeout_ms) = ("", None);
        walk(head, |tag, value| {
            match tag {
                Tag::CallId => id = Some(u32::from_le_bytes(number(tag, value)?)),
                Tag::Service => service = Some(u16::from_le_bytes(number(tag, value)?)),
                Tag::Operation => operation = Some(u16::from_le_bytes(number(tag, value)?)),
                Tag::Binding => binding = text(tag, value)?,
                Tag::TimeoutMs => timeout_ms = Some(u32::from_le_bytes(number(tag, value)?)),
                _ => {}
            }
            Ok(())
        })?;
        Ok(Self {
            id: id.ok_or(FrameError::FieldMissing(Tag::CallId))?,
            service: service.ok_or(FrameError::FieldMissing(Tag::Service))?,
            operation: operation.ok_or(FrameError::FieldMissing(Tag::Operation))?,
            binding,
            timeout_ms,
        })
    }

    /// Writes the fields that every call has to `sink`; those of the operation follow.
    pub fn write(&self, mut sink: impl FnMut(&[u8])) -> Result<(), FrameError> {
        write_field(Tag::CallId, &self.id.to_le_bytes(), &mut sink)?;
        write_field(Tag::Service, &self.service.to_le_bytes(), &mut sink)?;
        write_field(Tag::Operation, &self.operation.to_le_bytes(), &mut sink)?;
        if !self.binding.is_empty() {
            write_field(Tag::Binding, self.binding.as_bytes(), &mut sink)?;
        }
        match self.timeout_ms {
            Some(timeout_ms) => write_field(Tag::TimeoutMs, &timeout_ms.to_le_bytes(), sink),
            None => Ok(()),
        }
    }
}

/// A reply's head, decoded.
#[derive(Clone, Debug)]
pub struct ReplyHead<'a> {
    /// The call's number.
    pub id: u32,
    /// Why there is no result; the body is then a sentence about it.
    pub error: Option<CallErrorKind>,
    /// Whether what was called for has left the host.
    pub sent: Sent,
    head: &'a [u8],
}

impl<'a> ReplyHead<'a> {
    /// Decodes the head of a reply. An error of a kind that is not known here is one that did not work.
    pub fn parse(head: &'a [u8]) -> Result<Self, FrameError> {
        let (mut id, mut error, mut sent) = (None, None, Sent::Maybe);
        walk(head, |tag, value| {
            match tag {
                Tag::CallId => id = Some(u32::from_le_bytes(number(tag, value)?)),
                Tag::CallError => {
                    let number = u16::from_le_bytes(number(tag, value)?);
                    let known = CallErrorKind::known(number);
                    error = Some(known.unwrap_or(CallErrorKind::Failed));
                }
                Tag::Sent => {
                    sent = match number(tag, value)? {
                        [0] => Sent::No,
                        [2] => Sent::Yes,
                        [_] => Sent::Maybe,
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(Self {
            id: id.ok_or(FrameError::FieldMissing(Tag::CallId))?,
            error,
            sent,
            head,
        })
    }

    /// Writes the fields that every reply has to `sink`; those of the operation follow.
    pub fn write(
        id: u32,
        error: Option<CallErrorKind>,
        sent: Sent,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<(), FrameError> {
        write_field(Tag::CallId, &id.to_le_bytes(), &mut sink)?;
        if let Some(error) = error {
            write_field(Tag::CallError, &(error as u16).to_le_bytes(), &mut sink)?;
        }
        write_field(Tag::Sent, &[sent as u8], sink)
    }

    /// The HTTP headers.
    pub fn headers(&self) -> Headers<'a> {
        headers(self.head)
    }
}

fn number<const N: usize>(tag: Tag, value: &[u8]) -> Result<[u8; N], FrameError> {
    value.try_into().map_err(|_| FrameError::FieldValue(tag))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::frame::{HEADER_BYTES, RequestHeader, ResponseHeader};
    use std::{vec, vec::Vec};

    fn head_of(head: &CallHead<'_>) -> Vec<u8> {
        let mut bytes = vec![];
        head.write(|piece| bytes.extend_from_slice(piece))
            .expect("short fields");
        bytes
    }

    #[test]
    fn a_call_is_read_back() {
        for (binding, timeout_ms) in [("", None), ("cart", Some(0)), ("ü", Some(u32::MAX))] {
            let head = CallHead {
                id: 7,
                service: 0xffff,
                operation: 2,
                binding,
                timeout_ms,
            };
            let bytes = head_of(&head);
            let read = CallHead::parse(&bytes).expect("well-formed");
            assert_eq!(
                (read.id, read.service, read.operation),
                (7, 0xffff, 2),
                "{bytes:?}"
            );
            assert_eq!((read.binding, read.timeout_ms), (binding, timeout_ms));
            for end in 0..bytes.len() {
                let cut = CallHead::parse(&bytes[..end]);
                // What every call has comes first, so that only what may be missing can be cut away unseen.
                assert!(cut.is_err() || end >= 20, "cut at {end}: {cut:?}");
            }
        }
    }

    #[test]
    fn a_reply_is_read_back_and_unknown_errors_are_failures() {
        for error in CallErrorKind::ALL.iter().copied().map(Some).chain([None]) {
            for sent in [Sent::No, Sent::Maybe, Sent::Yes] {
                let mut bytes = vec![];
                ReplyHead::write(9, error, sent, |piece| bytes.extend_from_slice(piece))
                    .expect("short fields");
                let read = ReplyHead::parse(&bytes).expect("well-formed");
                assert_eq!((read.id, read.error, read.sent), (9, error, sent));
            }
        }
        let mut later = vec![];
        for (tag, value) in [
            (Tag::CallId, &[1, 0, 0, 0][..]),
            (Tag::CallError, &[99, 0]),
            (Tag::Sent, &[77]),
        ] {
            write_field(tag, value, |piece| later.extend_from_slice(piece)).expect("short");
        }
        let read = ReplyHead::parse(&later).expect("well-formed");
        assert_eq!(
            (read.error, read.sent),
            (Some(CallErrorKind::Failed), Sent::Maybe)
        );
    }

    #[test]
    fn a_field_of_another_length_is_named() {
        for (tag, value) in [
            (Tag::CallId, &[1][..]),
            (Tag::Service, &[1, 2, 3]),
            (Tag::Operation, &[]),
            (Tag::TimeoutMs, &[1, 2]),
            (Tag::Binding, b"\xff"),
        ] {
            let mut head = vec![];
            write_field(tag, value, |piece| head.extend_from_slice(piece)).expect("short");
            assert_eq!(
                CallHead::parse(&head).expect_err("malformed"),
                FrameError::FieldValue(tag)
            );
        }
        let missing = CallHead::parse(&[]).expect_err("nothing there");
        assert_eq!(missing, FrameError::FieldMissing(Tag::CallId));
    }

    /// Neither end takes the one for the other.
    #[test]
    fn a_call_is_no_response_and_a_reply_no_request() {
        let call = CallHeader::new(CallKind, 3, 4, 5)
            .expect("small")
            .to_bytes();
        assert_eq!(
            SentHeader::from_bytes(&call).map(|header| header.kind),
            Ok(SentKind::Call)
        );
        assert_eq!(ResponseHeader::from_bytes(&call), Err(FrameError::Kind(5)));
        assert_eq!(RequestHeader::from_bytes(&call), Err(FrameError::Direction));
        let reply = ReplyHeader::new(ReplyKind, 3, 4, 5)
            .expect("small")
            .to_bytes();
        assert_eq!(RequestHeader::from_bytes(&reply), Err(FrameError::Kind(3)));
        assert_eq!(SentHeader::from_bytes(&reply), Err(FrameError::Direction));
        let golden = *b"jfRQ\x02\x00\x03\x00\x04\x00\x00\x00\x05\x00\x00\x00\x03\0\0\0\0\0\0\0";
        assert_eq!(reply[..], golden[..HEADER_BYTES]);
        let response = ResponseHeader::new(ResponseKind::Http, 3, 0, 0).expect("empty");
        let sent = SentHeader::from_bytes(&response.to_bytes()).map(|header| header.kind);
        assert_eq!(sent, Ok(SentKind::Response(ResponseKind::Http)));
    }
}
