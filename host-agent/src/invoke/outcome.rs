//! What a request is, and how it ends.

use std::{fmt, time::Duration};

use jiffy_control::{HttpRequest, Response};
use jiffy_model::{EndsRequest as _, Outcome};

use crate::{catalog::ChangeError, model::VersionNumber, pool::Start, symbols::Frame};

/// Bytes of a log's tail at most, as in Lambda's API.
pub const LOG_TAIL_BYTES_MAX: usize = 4096;

/// An HTTP request that was in an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpEvent {
    /// The request, but for its body.
    pub http: HttpRequest,
    /// The body.
    pub body: Vec<u8>,
    /// In which form it was in the event: whoever unpacked it knows its meaning.
    pub format: u8,
}

/// Takes an HTTP request out of an event; `None` if there is none in it.
pub type UnpackHttp = fn(&[u8]) -> Option<HttpEvent>;

/// A request to a function.
#[derive(Clone, Debug, Default)]
pub struct InvokeInput {
    /// Its id, if the caller chose one; else it gets a random UUID.
    pub request_id: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// IP address of whoever sent it.
    pub client_address: Option<String>,
    /// What the caller says of itself, JSON.
    pub client_context: Option<String>,
    /// What came over HTTP; `None`: the body is an event.
    pub http: Option<HttpRequest>,
    /// The event, or the HTTP body.
    pub body: Vec<u8>,
    /// Unpacks an HTTP request that is in the event, for a handler that takes such.
    pub unpack_http: Option<UnpackHttp>,
    /// What the function is told of its version, in place of the number.
    pub version_text: Option<String>,
    /// Wait for the VM to settle and return the end of the request's log.
    pub wants_log_tail: bool,
}

/// What a function answered: its result, its own error, or that the event is not what it takes
/// (`response.kind`).
#[derive(Debug)]
pub struct Invoked {
    /// The response.
    pub response: Response,
    /// Facts of the request.
    pub facts: InvokeFacts,
}

/// What is known of a request, answered or not.
#[derive(Clone, Debug, Default)]
pub struct InvokeFacts {
    /// Its id.
    pub request_id: String,
    /// The version it went to, once that was chosen.
    pub version: Option<VersionNumber>,
    /// In which form an HTTP request was in its event, if one was unpacked.
    pub http_format: Option<u8>,
    /// What it was granted, milliseconds; zero if it got no VM.
    pub timeout_ms: u64,
    /// How its VM was started, if it had one.
    pub start: Option<Start>,
    /// Where its time went.
    pub timings: Timings,
    /// The last bytes of its log, if asked for: at most [`LOG_TAIL_BYTES_MAX`].
    pub log_tail: Option<String>,
    /// Where the function was when it broke, innermost first; empty unless it did.
    pub backtrace: Vec<Frame>,
    /// Why that is addresses only; a sentence.
    pub backtrace_note: Option<String>,
}

/// Where a request's time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Waiting for a VM.
    pub queue: Duration,
    /// Handing the snapshot to a shell; zero unless the start was cold. The restore itself is a part of `run`.
    pub restore: Duration,
    /// From the request's first byte to the response's last one.
    pub run: Duration,
}

/// A request without a function's answer.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct InvokeFailure {
    /// What went wrong.
    pub why: NoAnswer,
    /// What is known.
    pub facts: Box<InvokeFacts>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAnswer {
    /// How the request ended.
    pub outcome: Outcome,
    /// A sentence with the fix; of a function that broke and of a platform that failed, how.
    pub text: String,
    /// When the client may try again, if that is known.
    pub retry_after: Option<Duration>,
}

impl NoAnswer {
    /// An end with nothing else to be told.
    pub fn new(outcome: Outcome, text: impl Into<String>) -> Self {
        Self {
            outcome,
            text: text.into(),
            retry_after: None,
        }
    }
}

impl From<ChangeError> for NoAnswer {
    fn from(error: ChangeError) -> Self {
        Self::new(error.outcome(), error.to_string())
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            outcome,
            text,
            retry_after,
        } = self;
        match outcome.kind() {
            Outcome::Panic => write!(f, "the function panicked: {text}")?,
            Outcome::Fault => write!(f, "the function broke: {text}")?,
            Outcome::Platform => write!(f, "the platform failed: {text}")?,
            _ => f.write_str(text)?,
        }
        match retry_after {
            Some(after) => write!(f, ": try again in {} s", after.as_secs().max(1)),
            None => Ok(()),
        }
    }
}
