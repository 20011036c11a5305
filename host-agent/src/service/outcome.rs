//! What the verbs return, and why they do not.

use std::{fmt, time::Duration};

use jiffy_control::{HttpRequest, LogRecord, Response};
use jiffy_model::{EndsRequest, Outcome};
use jiffy_snapshots::Digest;

use crate::{
    images::ImageError,
    model::{Function, FunctionName, InvalidValue, Settings, Version, VersionNumber},
    pool::Start,
    registry::RegistryError,
    symbols::Frame,
};

/// Bytes of a log's tail at most, as in Lambda's API.
pub const LOG_TAIL_BYTES_MAX: usize = 4096;

/// What a deploy made.
#[derive(Clone, Debug)]
pub struct DeployOutcome {
    /// The function as it is now.
    pub function: Function,
    /// The version that was made, or is there already; it is live.
    pub version: Version,
    /// Whether the function is new.
    pub created: bool,
    /// The settings that were live before, if it is not.
    pub before: Option<Settings>,
    /// What `init` logged.
    pub logs: Vec<LogRecord>,
}

/// Why a deploy changed nothing.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct DeployError {
    /// What went wrong.
    pub kind: DeployErrorKind,
    /// What `init` logged before.
    pub logs: Vec<LogRecord>,
}

/// What went wrong with a deploy.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum DeployErrorKind {
    #[error("there is no image {0}: upload it first")]
    NoImage(Digest),
    #[error(transparent)]
    Invalid(#[from] InvalidValue),
    #[error("another deploy of {0} is under way: try again when it is done")]
    UnderWay(FunctionName),
    /// The image was refused. The text says why.
    #[error("{0}")]
    Image(String),
    /// Its `init` was not done. The text says why and what helps.
    #[error("{text}")]
    Init { outcome: Outcome, text: String },
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The host could not build it.
    #[error("{0}")]
    Host(String),
}

impl EndsRequest for DeployErrorKind {
    fn outcome(&self) -> Outcome {
        match self {
            Self::NoImage(_) => Outcome::NotFound,
            Self::Invalid(_) => Outcome::InvalidRequest,
            Self::UnderWay(_) => Outcome::Conflict,
            Self::Image(_) | Self::Init { .. } => Outcome::ImageRefused,
            Self::Change(error) => error.outcome(),
            Self::Host(_) => Outcome::Platform,
        }
    }
}

impl From<DeployErrorKind> for DeployError {
    fn from(kind: DeployErrorKind) -> Self {
        let logs = vec![];
        Self { kind, logs }
    }
}

impl From<ImageError> for DeployErrorKind {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::NotFound(digest) => Self::NoImage(digest),
            ImageError::NotAnImage(_) => Self::Image(jiffy_control::error_chain(&error)),
            ImageError::TooLarge(_) | ImageError::Store(_) | ImageError::File { .. } => {
                Self::Host(jiffy_control::error_chain(&error))
            }
        }
    }
}

/// Why a change, or a read, was refused.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ChangeError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Invalid(#[from] InvalidValue),
    #[error("function {0} exists already: update it, or choose another name")]
    Exists(FunctionName),
    #[error("{0} has no version before the live one: deploy another first")]
    NoEarlierVersion(FunctionName),
    #[error("the agent cannot do this now: {0}")]
    Platform(String),
}

impl EndsRequest for ChangeError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Registry(error) => match error {
                RegistryError::NoFunction(_)
                | RegistryError::NoVersion(..)
                | RegistryError::NoAlias(..)
                | RegistryError::NoUrl(_) => Outcome::NotFound,
                RegistryError::Invalid(_) => Outcome::InvalidRequest,
                RegistryError::Changed(_)
                | RegistryError::AliasExists(..)
                | RegistryError::UrlExists(_)
                | RegistryError::Live { .. }
                | RegistryError::Aliased { .. } => Outcome::Conflict,
                RegistryError::FunctionsFull(_)
                | RegistryError::VersionsFull { .. }
                | RegistryError::AliasesFull(..) => Outcome::Full,
                RegistryError::InUse
                | RegistryError::Storage { .. }
                | RegistryError::Damaged(_)
                | RegistryError::Format { .. } => Outcome::Platform,
            },
            Self::Invalid(_) => Outcome::InvalidRequest,
            Self::Exists(_) | Self::NoEarlierVersion(_) => Outcome::Conflict,
            Self::Platform(_) => Outcome::Platform,
        }
    }
}

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

/// How the agent is.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Health {
    /// Functions that are deployed.
    pub functions: usize,
    /// Versions whose snapshots wait to be made again.
    pub rebuilding: usize,
    /// Whether the agent is draining.
    pub stopping: bool,
    /// Version of the agent.
    pub version: &'static str,
}
