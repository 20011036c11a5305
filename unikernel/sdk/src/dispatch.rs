//! The way of a request through a function: head decoded, handler called, reply within limits.
//! The same on the host and in a guest. Not here: the stream (`jiffy-rt`).

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use jiffy_abi::frame::{
    BODY_BYTES_MAX, FrameError, RequestHead, RequestKind, ResponseHeader, ResponseKind, Tag,
    write_field,
};

use crate::Context;

/// Head of a response whose body is JSON: the header `content-type: application/json`, encoded, because
/// encoding it anew costs each response an allocation more.
const JSON_HEAD: &[u8] = b"\x07\0\x0c\0content-type\x08\0\x10\0application/json";

/// What `#[jiffy::function]` makes of a handler.
pub(crate) type Function = fn(&Invocation<'_>) -> Reply;

/// One request on its way to a handler.
#[derive(Debug)]
pub struct Invocation<'a> {
    pub(crate) kind: RequestKind,
    pub(crate) head: RequestHead<'a>,
    pub(crate) body: &'a [u8],
    context: Context<'a>,
}

impl<'a> Invocation<'a> {
    /// The context to lend to a handler.
    pub fn context(&self) -> &Context<'a> {
        &self.context
    }
}

/// A response, encoded but for its frame header.
#[derive(Debug)]
pub struct Reply {
    pub(crate) kind: ResponseKind,
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn ok(body: Vec<u8>) -> Self {
        Self {
            kind: ResponseKind::Ok,
            head: Vec::new(),
            body,
        }
    }

    /// As [`Reply::ok`], and the caller is told that it is JSON.
    pub(crate) fn json(body: Vec<u8>) -> Self {
        Self {
            head: JSON_HEAD.to_vec(),
            ..Self::ok(body)
        }
    }

    pub(crate) fn bad_event(why: String) -> Self {
        Self {
            kind: ResponseKind::BadEvent,
            head: Vec::new(),
            body: why.into_bytes(),
        }
    }

    pub(crate) fn function_error(error_type: &str, message: String) -> Self {
        let mut head = Vec::new();
        // A type's name that does not fit a field is left out: the text counts more.
        let _ = put_field(&mut head, Tag::ErrorType, error_type.as_bytes());
        Self {
            kind: ResponseKind::FunctionError,
            head,
            body: message.into_bytes(),
        }
    }

    /// The reply, or the author's error that it does not fit a frame.
    fn within_limits(self) -> Self {
        match ResponseHeader::new(self.kind, 0, self.head.len(), self.body.len()) {
            Ok(_) => self,
            Err(error) => too_large(error),
        }
    }
}

/// A response beyond the limits of a frame, as an error of the function.
pub(crate) fn too_large(error: FrameError) -> Reply {
    let message = match error {
        FrameError::BodyTooLarge(bytes) => {
            format!("the response has {bytes} bytes: return at most {BODY_BYTES_MAX}")
        }
        _ => "the response's headers are too large: return fewer or shorter ones".to_owned(),
    };
    Reply::function_error("ResponseTooLarge", message)
}

/// Appends one field to a head.
pub(crate) fn put_field(head: &mut Vec<u8>, tag: Tag, value: &[u8]) -> Result<(), FrameError> {
    write_field(tag, value, |piece| head.extend_from_slice(piece))
}

/// Answers one request.
pub(crate) fn dispatch(function: Function, kind: RequestKind, head: &[u8], body: &[u8]) -> Reply {
    // The agent makes heads, so this is its bug; naming the field would cost every image 3 KiB.
    let Ok(head) = RequestHead::parse(head) else {
        return Reply::bad_event("the request's head is malformed: update the agent".into());
    };
    let context = Context::new(&head);
    function(&Invocation {
        kind,
        head,
        body,
        context,
    })
    .within_limits()
}
