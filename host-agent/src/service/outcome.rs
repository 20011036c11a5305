//! What the verbs return, and why they do not.

use std::time::Duration;

use jiffy_control::{HttpRequest, LogRecord, Response};
use jiffy_snapshots::Digest;

use crate::{
    images::ImageError,
    model::{AliasName, Function, FunctionName, InvalidValue, Settings, Version, VersionNumber},
    pool::Start,
    registry::RegistryError,
    symbols::Frame,
    usage,
};

use super::failure;

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
    Init {
        outcome: usage::Outcome,
        text: String,
    },
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The host could not build it.
    #[error("{0}")]
    Host(String),
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
            ImageError::TooLarge(_)
            | ImageError::Directory { .. }
            | ImageError::Private(_)
            | ImageError::Stranger(_) => Self::Host(jiffy_control::error_chain(&error)),
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

/// What a client needs to know of a [`ChangeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeErrorKind {
    /// There is no such thing.
    NotFound,
    /// The request is wrong.
    Invalid,
    /// It does not go together with what is there.
    Conflict,
    /// A limit of functions, versions or aliases.
    Full,
    /// Not the client's fault.
    Platform,
}

impl ChangeError {
    /// Its kind.
    pub fn kind(&self) -> ChangeErrorKind {
        match self {
            Self::Registry(error) => match error {
                RegistryError::NoFunction(_)
                | RegistryError::NoVersion(..)
                | RegistryError::NoAlias(..)
                | RegistryError::NoUrl(_) => ChangeErrorKind::NotFound,
                RegistryError::Invalid(_) => ChangeErrorKind::Invalid,
                RegistryError::Changed(_)
                | RegistryError::AliasExists(..)
                | RegistryError::UrlExists(_)
                | RegistryError::Live { .. }
                | RegistryError::Aliased { .. } => ChangeErrorKind::Conflict,
                RegistryError::FunctionsFull(_)
                | RegistryError::VersionsFull { .. }
                | RegistryError::AliasesFull(..) => ChangeErrorKind::Full,
                RegistryError::InUse
                | RegistryError::Storage { .. }
                | RegistryError::Damaged(_)
                | RegistryError::Format { .. } => ChangeErrorKind::Platform,
            },
            Self::Invalid(_) => ChangeErrorKind::Invalid,
            Self::Exists(_) | Self::NoEarlierVersion(_) => ChangeErrorKind::Conflict,
            Self::Platform(_) => ChangeErrorKind::Platform,
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
#[error("{kind}")]
pub struct InvokeFailure {
    /// What went wrong.
    pub kind: InvokeFailureKind,
    /// What is known.
    pub facts: Box<InvokeFacts>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum InvokeFailureKind {
    #[error("there is no function {0}: deploy it first")]
    NoFunction(FunctionName),
    #[error("{0} has no version {1}: choose one that `versions` lists")]
    NoVersion(FunctionName, VersionNumber),
    #[error("{0} has no alias {1}: set it first")]
    NoAlias(FunctionName, AliasName),
    #[error("the request is too large: {0}")]
    TooLarge(String),
    /// Its reserved concurrency is 0.
    #[error("{0} is stopped, its reserved concurrency is 0: raise or remove that and try again")]
    Stopped(FunctionName),
    #[error("{reason}: try again in {} s", retry_after.as_secs().max(1))]
    Busy {
        reason: String,
        retry_after: Duration,
    },
    #[error("the function panicked: {message}")]
    Panic {
        message: String,
        file: String,
        line: u32,
        column: u32,
    },
    #[error("the function broke: {0}")]
    Fault(String),
    #[error(
        "the function did not answer within {timeout_ms} ms: make it faster or raise its timeout"
    )]
    Timeout { timeout_ms: u64 },
    #[error("the function {}", failure::out_of_memory(*requested_bytes, *ram_bytes))]
    OutOfMemory {
        requested_bytes: u64,
        ram_bytes: u64,
    },
    /// Not the function's fault.
    #[error("the platform failed: {0}")]
    Platform(String),
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

impl InvokeFailureKind {
    /// Whether the function is the cause.
    pub fn is_functions(&self) -> bool {
        matches!(
            self,
            Self::Panic { .. } | Self::Fault(_) | Self::Timeout { .. } | Self::OutOfMemory { .. }
        )
    }
}
