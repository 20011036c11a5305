//! What a `jiffy-vmm` process and the one who started it say to each other.
//!
//! A shell has two sockets: its standard input is the request stream (`SOCK_STREAM`, framed as
//! [`jiffy_abi::frame`] says and passed through to the guest unread), its standard output the
//! control socket (`SOCK_SEQPACKET`): [`Command`]s to it, [`Event`]s from it. Shells are made by the
//! spawner, a process of its own, on a [`SpawnRequest`].
//! Messages and what is to be kept about them, used by both ends. Not here: I/O: sockets (`jiffy-socket`), processes and
//! VMs as their owner has them (`jiffy-client`), KVM.
#![forbid(unsafe_code)]

mod call;
mod command;
mod devices;
mod event;
mod exchange;
mod log;
mod network;
mod outcome;
mod packet;
mod request;
mod spawn;
mod terminal;

pub use call::{Call, Reply};
pub use command::{Command, PageRuns};
pub use devices::{Devices, DevicesError, Given};
pub use event::{
    BACKTRACE_FRAMES_MAX, Backtrace, Death, Event, Exits, GuestFault, LEVEL_NAMES, LogRecord,
    LogSource, NetworkStats, Phases, ProcessUsage, Report, Stats, VmEnd, bound_text,
};
pub use exchange::{Called, Exchange, Frame, RequestError, ResponseError, StreamFault};
pub use jiffy_abi::devices::DEVICES_MAX;
pub use jiffy_model::{Blame, Isolation, Outcome, TIMEOUT_MS_DEFAULT, environment_page};
pub use log::{
    CUT_MARK, LOG_BYTES_MAX, LogLoss, RECORD_COST_BYTES, RECORD_TEXT_BYTES_MAX, charge, cut,
    cut_and_mark, newest,
};
pub use network::{Network, NetworkError};
pub use packet::{MESSAGE_BYTES_MAX, Message, Packet, PacketError, decode};
pub use request::{HttpRequest, Request, Response};
pub use spawn::{Missing, SpawnReply, SpawnRequest};
pub use terminal::{INDENT, Line, Untrusted, is_deceptive, write_body};

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
