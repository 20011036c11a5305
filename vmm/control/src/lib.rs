//! What a `jiffy-vmm` process and the one who started it say to each other.
//!
//! A served VMM has two sockets: its standard input is the request stream (`SOCK_STREAM`, framed as
//! [`jiffy_abi::frame`] says and passed through to the guest unread), its standard output the
//! control socket (`SOCK_SEQPACKET`), on which each packet is one [`Event`].
//! Not here: KVM. The agent and the tools use this crate without linking any of it.
#![forbid(unsafe_code)]

mod create;
mod event;
mod exit_code;
mod instance;
mod launch;
mod process;
mod request;
mod socket;

#[cfg(test)]
mod testing;

pub use create::{CreateSnapshotError, Created, NewSnapshot, create_snapshot};
pub use event::{
    BACKTRACE_FRAMES_MAX, Backtrace, Blame, Event, Exits, GuestFault, LogRecord, Outcome, Phases,
    Report, Saved, Stats,
};
pub use exit_code::RunExit;
pub use instance::{Instance, InvokeError};
pub use launch::{Isolation, Launch, LaunchError, Source};
pub use request::{
    HttpRequest, Request, RequestError, Response, ResponseError, read_response, write_request,
};
pub use socket::{ControlError, ControlSocket, MESSAGE_BYTES_MAX};

/// An error and its sources in one line, as commands print it.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        // A transparent error says what its source says.
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        source = error.source();
    }
    text
}
