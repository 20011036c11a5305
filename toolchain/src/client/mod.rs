//! The client verbs: what a user asks of an agent, over its API.
//!
//! ```text
//! agent      where the agent is; requests, documents, problems        (token: who we are)
//! name       names that a command line may hold, checked before they are sent
//! view       what the agent answers, as far as it is shown
//! deploy     crate or image -> upload -> version
//! invoke     event or HTTP request -> response, outcome, exit code
//! functions  ls, describe, versions, alias, rollback, rm
//! kv         stores of keys and values, by entry and as a whole
//! queue      messages, sent and looked at
//! secret     secrets, whose values come in and not out
//! logs       lines of a function's log, followed or not
//! insight    top, usage                                               (metrics: gauges of a scrape)
//! ```
//! With `-o json` the agent's own document is printed, so that a field that is new is there at once.

mod agent;
mod deploy;
mod functions;
mod insight;
mod invoke;
mod kv;
mod logs;
mod metrics;
mod name;
mod queue;
mod secret;
mod token;
mod view;

use std::{
    fmt, io,
    io::{IsTerminal as _, Write},
    path::PathBuf,
};

use jiffy_console::{Exit, stderr};
use jiffy_model::{Outcome, Qualifier, documents::InitLog};
use jiffy_snapshots::SecretError;
use jiffy_symbols::Frame;
use serde::Deserialize;

pub(crate) use self::{
    agent::{Agent, Endpoint, URL_DEFAULT},
    deploy::{DeployOptions, deploy, deploy_once},
    functions::{
        AliasTarget, Removal, alias_list, alias_remove, alias_set, describe, list, remove,
        rollback, versions,
    },
    insight::{TopOptions, top, usage},
    invoke::{InvokeOptions, invoke},
    kv::{
        EntryRef, If, KvPut, kv_export, kv_get, kv_import, kv_list, kv_put, kv_remove,
        kv_remove_store, kv_stores,
    },
    logs::{LogOptions, follow, logs, now_ms},
    name::{FunctionRef, Since},
    queue::{
        ToSend, queue_get, queue_list, queue_peek, queue_remove, queue_remove_message, queue_send,
    },
    secret::{secret_list, secret_remove, secret_rotate_key, secret_set},
    token::user_folder,
};
use crate::{
    input::InputError,
    manifest::ManifestError,
    output::{Line, Untrusted},
    run::EventError,
    runnable::RunnableError,
    secret_value::SecretValueError,
};

/// Why a client verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("invalid agent address {0:?}: must be http://HOST:PORT")]
    Url(String),
    #[error(
        "{0} is an address for TLS, which jiffy does not speak: use http:// on this machine or through a tunnel"
    )]
    Https(String),
    #[error("cannot take a token from its file")]
    TokenFile(#[from] SecretError),
    #[error("{0} holds no token: put the agent's token there, printable and in one line")]
    Token(PathBuf),
    #[error(
        "no agent answers at {agent}: start one with `jiffy dev` or `jiffyd`, or name another with --agent or JIFFY_AGENT"
    )]
    Unreachable {
        agent: String,
        source: Box<ureq::Error>,
    },
    #[error("the connection to the agent at {agent} failed: look at its log, and try again")]
    Transfer {
        agent: String,
        source: Box<ureq::Error>,
    },
    #[error("this HTTP request cannot be sent")]
    Request { source: Box<ureq::Error> },
    #[error("an agent takes no {0} requests: use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS")]
    Method(String),
    #[error(
        "what answers at {agent} is not an agent (HTTP status {status}): name another with --agent or JIFFY_AGENT"
    )]
    NotAnAgent { agent: String, status: u16 },
    #[error(
        "the agent at {agent} answered in a way this jiffy does not know: use the same release of both"
    )]
    Document {
        agent: String,
        source: serde_json::Error,
    },
    #[error("the agent at {agent} answered with more than {bytes_max} bytes: ask for less")]
    TooMuch { agent: String, bytes_max: u64 },
    #[error("cannot encode the request: this is a bug of jiffy's")]
    Encode(#[source] serde_json::Error),
    #[error("{0}")]
    Problem(Box<Problem>),
    #[error("an HTTP request always goes to the live version: leave out `:{0}`, or send an event")]
    QualifiedHttp(Qualifier),
    #[error("{0} would be deleted for good: say --yes if that is what you want")]
    Unconfirmed(String),
    #[error("cannot read {file}")]
    Import { file: PathBuf, source: io::Error },
    #[error("invalid line {number} of the import: {why}")]
    ImportLine { number: u64, why: String },
    #[error("nothing is deleted")]
    Declined,
    #[error(
        "the shares of an alias's versions do not add up to 1000: name one version, or two as in `3 4=100`"
    )]
    Shares,
    #[error("the image has no name: give the function one with --name")]
    NoName,
    #[error(
        "invalid name {0:?} of a function: must be at most 64 letters, digits, - and _; give another with --name"
    )]
    BadName(String),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Runnable(#[from] RunnableError),
    #[error(transparent)]
    Event(#[from] EventError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    SecretValue(#[from] SecretValueError),
    #[error("cannot print")]
    Print(#[from] io::Error),
}

impl ClientError {
    /// The exit code; `None` for a runnable, which has codes of its own.
    pub(crate) fn exit(&self) -> Option<Exit> {
        match self {
            Self::Problem(problem) => Some(problem.exit()),
            Self::Url(_)
            | Self::Https(_)
            | Self::TokenFile(_)
            | Self::Token(_)
            | Self::Request { .. }
            | Self::Method(_)
            | Self::QualifiedHttp(_)
            | Self::Unconfirmed(_)
            | Self::Declined
            | Self::Shares
            | Self::NoName
            | Self::BadName(_)
            | Self::Manifest(_)
            | Self::Import { .. }
            | Self::ImportLine { .. }
            | Self::SecretValue(_)
            | Self::Event(_)
            | Self::Input(_) => Some(Exit::Usage),
            Self::Unreachable { .. }
            | Self::Transfer { .. }
            | Self::NotAnAgent { .. }
            | Self::Document { .. }
            | Self::TooMuch { .. }
            | Self::Encode(_)
            | Self::Print(_) => Some(Exit::Host),
            Self::Runnable(_) => None,
        }
    }
}

/// What the agent says is wrong (RFC 9457). All texts are a stranger's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// Its type; behind `urn:jiffy:` once it is known for the agent's own.
    #[serde(rename = "type")]
    kind: String,
    detail: String,
    /// Name of the error's type in the function; empty if it has none.
    error_type: String,
    /// How `init` ended, if that is why an image was refused.
    outcome: String,
    /// What `init` logged.
    logs: Vec<InitLog>,
    /// Where the function was when it broke, innermost first.
    backtrace: Vec<Frame>,
    /// Why that is addresses only.
    backtrace_note: Option<String>,
}

impl Problem {
    /// Where the function was, a line for each frame. All of it is the guest's text.
    fn print_backtrace(&self) -> io::Result<()> {
        for (number, frame) in self.backtrace.iter().enumerate() {
            let lead = if number == 0 { "at" } else { "by" };
            writeln!(stderr(), "  {lead} {}", Line(&frame.to_string()))?;
        }
        if let Some(note) = &self.backtrace_note {
            writeln!(stderr(), "  ({})", Line(note))?;
        }
        Ok(())
    }

    /// What `init` logged before it went wrong.
    pub(crate) fn print_logs(&self) {
        view::print_init_logs(&self.logs);
    }

    /// Whether it is of this kind.
    fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }

    fn exit(&self) -> Exit {
        let end = match &*self.outcome {
            "" => &self.kind,
            outcome => outcome,
        };
        // An agent of a later release may have more of them.
        end.parse::<Outcome>().map_or(Exit::Host, Outcome::exit)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.kind, &*self.error_type) {
            ("function-error", "") => write!(f, "function error: ")?,
            ("function-error", name) => write!(f, "function error ({}): ", Line(name))?,
            ("bad-event", _) => write!(f, "bad event: ")?,
            _ => {}
        }
        match &*self.detail {
            "" => write!(f, "the agent says only that this is {:?}", self.kind),
            detail => write!(f, "{}", Untrusted(detail)),
        }
    }
}

/// Asks on the terminal whether something may be deleted. Without one, nobody can be asked.
fn confirm(what: &str) -> Result<(), ClientError> {
    if !io::stdin().is_terminal() || !stderr().is_terminal() {
        return Err(ClientError::Unconfirmed(what.into()));
    }
    write!(stderr(), "Delete {what} for good? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(ClientError::Declined),
    }
}
