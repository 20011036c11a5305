//! How a request ended, told once: the table below, which `docs/outcomes.md` shows.
//!
//! A row is a *kind*, the word that clients see in a problem's type, in usage records and in metrics, or a finer outcome
//! *of* a kind: it has all that the kind has, but for its own name and what else its row says. Everything that depends on
//! how a request ended is derived from here, so that one more outcome is one more line.
//! Not here: the numbers and texts that go with a single end, such as a panic's message.

use std::fmt;

use jiffy_console::Exit;
use serde::{Deserialize, Serialize};

use crate::Blame::{self, Function, Host, Input};

use self::Lambda::{Answer, Exception, Handled, Problem, Unhandled};

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It had a VM: there is a usage record, and it is counted by how it ended.
    Ran,
    /// It was for a function that could run it, but got no VM: it is counted by why.
    Unserved,
    /// It was refused before.
    Refused,
}

/// What a client of Lambda's API is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lambda {
    /// The function's result.
    Answer,
    /// A result with the function's own error, of this type; of the type that the function names, if this is empty.
    Handled(&'static str),
    /// A result with an error of this type, which the platform noticed.
    Unhandled(&'static str),
    /// An exception of the API: HTTP status and name.
    Exception(u16, &'static str),
    /// What a client of any API is told: it was refused before one was chosen.
    Problem,
}

#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    kind: Outcome,
    what: &'static str,
    stage: Stage,
    blame: Option<Blame>,
    /// Zero: nobody is there to be answered.
    status: u16,
    lambda: Lambda,
    exit: Exit,
}

macro_rules! row {
    ($outcome:ident $name:literal $what:literal $stage:ident, $blame:expr, $status:literal, $lambda:expr, $exit:ident) => {
        Row {
            name: $name,
            kind: Outcome::$outcome,
            what: $what,
            stage: Stage::$stage,
            blame: $blame,
            status: $status,
            lambda: $lambda,
            exit: Exit::$exit,
        }
    };
    ($outcome:ident $name:literal $what:literal $stage:ident of $kind:ident $(, $lambda:expr)?) => {
        Row {
            name: $name,
            what: $what,
            stage: Stage::$stage,
            $(lambda: $lambda,)?
            ..Outcome::$kind.row()
        }
    };
}

macro_rules! outcomes {
    ($($stage:ident { $($outcome:ident $name:literal $what:literal
        $(, $blame:expr, $status:literal, $lambda:expr, $exit:ident)?
        $(of $kind:ident $(, $finer:expr)?)?;)* })*) => {
        /// How a request ended. Its text is its name, as it stands in records, labels and types of problems.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "&'static str", try_from = "String")]
        pub enum Outcome {
            $($(#[doc = $what] $outcome,)*)*
        }

        impl Outcome {
            /// Each of them.
            pub const ALL: &[Self] = &[$($(Self::$outcome,)*)*];

            const fn row(self) -> Row {
                match self {
                    $($(Self::$outcome => row!($outcome $name $what $stage
                        $(, $blame, $status, $lambda, $exit)? $(of $kind $(, $finer)?)?),)*)*
                }
            }
        }
    };
}

outcomes! {
    // Outcome          Name                 What it is, and the title of a problem of this kind.
    //   of a kind: what it does not have from that;                          else: blame, HTTP status, Lambda, exit code.
    Ran {
        Ok              "ok"                 "The function answered",              None, 200, Answer, Ok;
        FunctionError   "function-error"     "The function returned an error",     Some(Function), 500, Handled(""), FunctionError;
        BadEvent        "bad-event"          "The function does not take this event", Some(Input), 400, Handled("BadEvent"), BadEvent;
        Panic           "panic"              "The function panicked",              Some(Function), 500, Unhandled("Runtime.Panic"), Panic;
        Fault           "fault"              "The function broke",                 Some(Function), 500, Unhandled("Runtime.Fault"), Fault;
        Timeout         "timeout"            "The function did not answer in time", Some(Function), 504, Unhandled("Sandbox.Timedout"), Timeout;
        OutOfMemory     "out-of-memory"      "The function ran out of memory",     Some(Function), 500, Unhandled("Runtime.OutOfMemory"), OutOfMemory;
        Platform        "platform"           "The platform failed",                Some(Host), 503, Exception(500, "ServiceException"), Host;
        Cancelled       "cancelled"          "The client went before the response", Some(Input), 0, Problem, Host;

        Init            "init"               "`init` returned an error"            of FunctionError;
        Exception       "exception"          "The CPU raised an exception, a stack overflow among them" of Fault;
        Runtime         "runtime"            "The library OS gave up"              of Fault;
        Device          "device"             "A rule of a device or of a doorbell was broken" of Fault;
        Cpu             "cpu"                "The CPU could not go on"             of Fault;
        BadResponse     "bad-response"       "What came back is not one whole response to the request" of Fault;
        Exited          "exited"             "The image ended on purpose, without an answer" of Fault;
        Ended           "ended"              "The image ended, without an answer"  of Fault;
        BadGateway      "bad-gateway"        "The function behind a URL did not answer; why, its log says" of Fault, Exception(502, "BadGatewayException");
        Host            "host"               "This machine or jiffy itself failed" of Platform;
    }
    Unserved {
        Stopped         "stopped"            "The function is stopped",            Some(Host), 429, Exception(429, "TooManyRequestsException"), Host;
        Busy            "busy"               "All instances are busy",             Some(Host), 429, Exception(429, "TooManyRequestsException"), Host;

        QueueFull       "queue-full"         "Too many requests wait for the function" of Busy;
        NoMemory        "memory"             "The host has no memory for another VM" of Busy;
        ShuttingDown    "shutting-down"      "The host is shutting down"           of Platform;
        NoVm            "vm"                 "No VM could be made"                 of Platform;
    }
    Refused {
        InvalidRequest  "invalid-request"    "The request is invalid",             Some(Input), 400, Exception(400, "InvalidParameterValueException"), Usage;
        Unauthorized    "unauthorized"       "The request has no valid token",     Some(Input), 401, Problem, Usage;
        OtherOrigin     "other-origin"       "The request comes from a web page",  Some(Input), 403, Exception(403, "AccessDeniedException"), Usage;
        NotFound        "not-found"          "Nothing has this name",              Some(Input), 404, Exception(404, "ResourceNotFoundException"), Usage;
        MethodNotAllowed "method-not-allowed" "The method is not allowed here",    Some(Input), 405, Exception(405, "MethodNotAllowedException"), Usage;
        RequestTimeout  "request-timeout"    "The request came too slowly",        Some(Input), 408, Exception(408, "RequestTimeoutException"), Host;
        Conflict        "conflict"           "The request conflicts with how things are", Some(Input), 409, Exception(409, "ResourceConflictException"), Usage;
        PreconditionFailed "precondition-failed" "The entry is not as the request wants it", Some(Input), 412, Exception(412, "PreconditionFailedException"), Usage;
        TooLarge        "too-large"          "The body is too large",              Some(Input), 413, Exception(413, "RequestTooLargeException"), Usage;
        TargetTooLong   "target-too-long"    "Path and query are too long",        Some(Input), 414, Exception(414, "UriTooLongException"), Usage;
        UnsupportedMediaType "unsupported-media-type" "The body is of another media type", Some(Input), 415, Problem, Usage;
        OtherHost       "other-host"         "The request is for another host",    Some(Input), 421, Exception(421, "MisdirectedRequestException"), Usage;
        ImageRefused    "image-refused"      "The image cannot be deployed",       Some(Input), 422, Exception(400, "InvalidParameterValueException"), ImageRefused;
        HeadersTooLarge "headers-too-large"  "The headers are too large",          Some(Input), 431, Exception(431, "RequestHeaderFieldsTooLargeException"), Usage;
        NotImplemented  "not-implemented"    "The agent does not do this",         Some(Input), 501, Exception(501, "NotImplementedException"), Host;
        Overloaded      "overloaded"         "The agent has too much to do",       Some(Host), 503, Exception(500, "ServiceException"), Host;
        VersionNotSupported "version-not-supported" "The agent speaks HTTP/1.1",   Some(Input), 505, Problem, Host;
        Full            "full"               "A limit of the agent is reached",    Some(Host), 507, Exception(400, "CodeStorageExceededException"), Host;

        Unframed        "request"            "The request does not fit a frame"    of TooLarge;
        MalformedBody   "malformed-body"     "The body is malformed"               of InvalidRequest, Exception(400, "InvalidRequestContentException");
        StaleRevision   "stale-revision"     "The client has not seen how things are" of Conflict, Exception(412, "PreconditionFailedException");
        UnknownOperation "unknown-operation" "The API has no such operation"       of NotFound, Exception(404, "UnknownOperationException");
        NotProvisioned  "not-provisioned"    "No VMs are kept ready for this"      of NotFound, Exception(404, "ProvisionedConcurrencyConfigNotFoundException");
        NoSignature     "no-signature"       "The request has no signature"        of Unauthorized, Exception(403, "MissingAuthenticationTokenException");
        MalformedSignature "malformed-signature" "The signature is malformed"      of Unauthorized, Exception(403, "IncompleteSignatureException");
        UnknownKey      "unknown-key"        "The agent does not have the key"     of Unauthorized, Exception(403, "UnrecognizedClientException");
        InvalidSignature "invalid-signature" "The signature does not fit the request" of Unauthorized, Exception(403, "InvalidSignatureException");
    }
}

impl Outcome {
    /// In kebab case.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The word for it that clients see: itself, unless it is a finer one of that kind.
    #[must_use]
    pub const fn kind(self) -> Self {
        self.row().kind
    }

    /// What it is, in a few words.
    pub const fn what(self) -> &'static str {
        self.row().what
    }

    /// What its kind is: the title of a problem.
    pub const fn title(self) -> &'static str {
        self.kind().what()
    }

    /// How far the request came.
    pub const fn stage(self) -> Stage {
        self.row().stage
    }

    /// Who is to blame, if it is a failure.
    pub const fn blame(self) -> Option<Blame> {
        self.row().blame
    }

    /// HTTP status of the native API; zero if nobody is there to be answered.
    pub const fn status(self) -> u16 {
        self.row().status
    }

    /// What a client of Lambda's API is told.
    pub const fn lambda(self) -> Lambda {
        self.row().lambda
    }

    /// The exit code of a command.
    pub const fn exit(self) -> Exit {
        self.row().exit
    }

    /// The word for it in usage records and in metrics of requests that had a VM.
    #[must_use]
    pub const fn recorded(self) -> Self {
        match (self.stage(), self.kind().stage()) {
            (Stage::Ran, Stage::Ran) => self.kind(),
            // It had VMs, and each was ended for want of memory: nobody failed.
            _ if matches!(self, Self::NoMemory) => self.kind(),
            _ => Self::Platform,
        }
    }

    /// What usage records are summed by.
    pub fn records() -> impl Iterator<Item = Self> {
        Self::kinds().filter(|&kind| kind == kind.recorded() || kind == Self::NoMemory.recorded())
    }

    /// What types of problems say.
    pub fn problems() -> impl Iterator<Item = Self> {
        Self::kinds().filter(|kind| kind.status() >= 400)
    }

    /// Why a request got no VM.
    pub fn unserved() -> impl Iterator<Item = Self> {
        let all = Self::ALL.iter().copied();
        all.filter(|outcome| outcome.stage() == Stage::Unserved)
    }

    fn kinds() -> impl Iterator<Item = Self> {
        let all = Self::ALL.iter().copied();
        all.filter(|outcome| outcome.kind() == *outcome)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that is not the name of an outcome, such as one of a later release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid outcome {0:?}: must be a name in docs/outcomes.md")]
pub struct UnknownOutcome(pub String);

impl std::str::FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(name: &str) -> Result<Self, UnknownOutcome> {
        let found = Self::ALL.iter().find(|outcome| outcome.name() == name);
        found.copied().ok_or_else(|| UnknownOutcome(name.into()))
    }
}

impl TryFrom<String> for Outcome {
    type Error = UnknownOutcome;

    fn try_from(name: String) -> Result<Self, UnknownOutcome> {
        name.parse()
    }
}

impl From<Outcome> for &'static str {
    fn from(outcome: Outcome) -> Self {
        outcome.name()
    }
}

/// Of a VM that could not be made or went on no longer, by who is to blame for it.
impl From<Blame> for Outcome {
    fn from(blame: Blame) -> Self {
        match blame {
            Blame::Input => Self::ImageRefused,
            Blame::Host | Blame::Bug => Self::Host,
            Blame::Function => Self::Fault,
        }
    }
}

/// An error that ends a request. Its text is the sentence that a client is told.
pub trait EndsRequest: fmt::Display {
    /// How.
    fn outcome(&self) -> Outcome;
}

#[cfg(test)]
mod tests;
