//! Calls of a guest, and replies to them, as whole values. Not here: how they go over the stream (`exchange`), who
//! replies (`jiffy-client`, `jiffy-capabilities`).

use std::time::Duration;

use jiffy_abi::{
    call::{CallErrorKind, CallHead, ReplyHead, ReplyHeader, ReplyKind, Sent},
    frame::{FrameError, HEADER_BYTES, Tag, write_field},
};

/// Most that the text of an error has, bytes; the rest is cut.
const ERROR_BYTES_MAX: usize = 1024;

/// What a guest asks for in the middle of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Its number among the calls of the request.
    pub id: u32,
    /// Which service; see [`jiffy_abi::call`].
    pub service: u16,
    /// Which of its operations.
    pub operation: u16,
    /// Under which name the function was given what it asks for; often empty.
    pub binding: String,
    /// What it may take, if that is less than what is left of the request's time.
    pub timeout: Option<Duration>,
    /// Its head: [`jiffy_abi::frame::Fields`] has the fields.
    pub head: Vec<u8>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Call {
    /// Takes a call apart whose lengths were checked.
    pub(crate) fn new(head: Vec<u8>, body: Vec<u8>) -> Result<Self, FrameError> {
        let CallHead {
            id,
            service,
            operation,
            binding,
            timeout_ms,
        } = CallHead::parse(&head)?;
        Ok(Self {
            id,
            service,
            operation,
            binding: binding.into(),
            timeout: timeout_ms.map(|timeout_ms| Duration::from_millis(timeout_ms.into())),
            head,
            body,
        })
    }
}

/// What comes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Why there is no result; the body is then a sentence about it.
    pub error: Option<CallErrorKind>,
    /// Whether what was called for has left the host.
    pub sent: Sent,
    /// Fields of the operation, encoded.
    pub fields: Vec<u8>,
    /// The result.
    pub body: Vec<u8>,
}

impl Reply {
    /// A result.
    pub fn ok(body: Vec<u8>) -> Self {
        Self {
            error: None,
            sent: Sent::Yes,
            fields: vec![],
            body,
        }
    }

    /// The same with one field more.
    pub fn field(mut self, tag: Tag, value: &[u8]) -> Result<Self, FrameError> {
        write_field(tag, value, |piece| self.fields.extend_from_slice(piece))?;
        Ok(self)
    }

    /// No result, and why: what is wrong, the value, the rule.
    pub fn error(kind: CallErrorKind, sent: Sent, message: &str) -> Self {
        let message = &message[..message.floor_char_boundary(ERROR_BYTES_MAX)];
        Self {
            error: Some(kind),
            sent,
            fields: vec![],
            body: message.into(),
        }
    }

    /// What comes of a call where nobody takes calls.
    pub fn nobody() -> Self {
        Self::error(CallErrorKind::Unknown, Sent::No, "nobody takes calls here")
    }

    /// Bytes of its frame: a few more than it has.
    pub(crate) fn frame_bytes(&self) -> u64 {
        const FIELDS_BYTES: usize = 8 + 6 + 5; // Call id, error, sent.
        (HEADER_BYTES + FIELDS_BYTES + self.fields.len() + self.body.len()) as u64
    }

    /// Appends its frame to `frames`, or nothing if it does not fit one.
    pub(crate) fn write(
        &self,
        id: u32,
        nonce: u64,
        frames: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        let mut head = Vec::with_capacity(32 + self.fields.len());
        ReplyHead::write(id, self.error, self.sent, |piece| {
            head.extend_from_slice(piece);
        })?;
        head.extend_from_slice(&self.fields);
        let header = ReplyHeader::new(ReplyKind, nonce, head.len(), self.body.len())?;
        frames.extend_from_slice(&header.to_bytes());
        frames.extend_from_slice(&head);
        frames.extend_from_slice(&self.body);
        Ok(())
    }
}
