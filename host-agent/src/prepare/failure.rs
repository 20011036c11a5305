//! Why an image has no snapshot: what the end of its VM means for who deployed it.
//! Not here: what it means for who sent a request (`invoke::failure`).

use jiffy_console::quantity::Bytes;
use jiffy_control::{GuestFault, VmEnd, error_chain};
use jiffy_model::{EndsRequest, Outcome};
use jiffy_snapshots::Digest;

use crate::{images::ImageError, vm::VmError};

/// Why an image has no snapshot.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum BuildError {
    #[error("no image {0}: must be one that was uploaded")]
    NoImage(Digest),
    /// The image was refused. The text says why.
    #[error("{0}")]
    Image(String),
    /// Its `init` was not done. The text says why and what helps.
    #[error("{text}")]
    Init { outcome: Outcome, text: String },
    /// The host could not build it.
    #[error("{0}")]
    Host(String),
}

impl EndsRequest for BuildError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::NoImage(_) => Outcome::NotFound,
            Self::Image(_) | Self::Init { .. } => Outcome::ImageRefused,
            Self::Host(_) => Outcome::Platform,
        }
    }
}

impl From<ImageError> for BuildError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::NotFound(digest) => Self::NoImage(digest),
            ImageError::NotAnImage(_) => Self::Image(error_chain(&error)),
            ImageError::TooLarge(_) | ImageError::Store(_) | ImageError::File { .. } => {
                Self::Host(error_chain(&error))
            }
        }
    }
}

/// Why an image has no snapshot.
pub(super) fn of_build(error: &VmError) -> BuildError {
    match (error, error.outcome()) {
        (VmError::Stopped(report), outcome) => BuildError::Init {
            outcome,
            text: of_init(&report.end),
        },
        (VmError::Stream(fault), _) => BuildError::Image(fault.to_string()),
        (error, Outcome::ImageRefused | Outcome::BadResponse) => {
            BuildError::Image(error.to_string())
        }
        (error, _) => BuildError::Host(error.to_string()),
    }
}

/// How an `init` ended that was not done, and what helps.
fn of_init(end: &VmEnd) -> String {
    match end {
        VmEnd::TimedOut { timeout_ms, .. } => format!(
            "`init` was not done within {timeout_ms} ms: make it faster or raise the timeout"
        ),
        VmEnd::Fault(GuestFault::Init { message }) => format!("`init` failed: {message}"),
        VmEnd::Fault(fault @ (GuestFault::Panic { .. } | GuestFault::OutOfMemory { .. })) => {
            format!("`init` {}", fault_text(fault))
        }
        VmEnd::Fault(fault) => format!("`init` broke: {}", fault_text(fault)),
        VmEnd::Exited(code) => format!("`init` ended the VM with code {code}"),
        VmEnd::Finished => "the image ended before its `init` was done".into(),
    }
}

/// What is missing, and what helps.
pub(crate) fn out_of_memory(requested_bytes: u64, ram_bytes: u64) -> String {
    format!(
        "ran out of memory: an allocation of {} failed in a VM of {}; raise the function's memory",
        Bytes(requested_bytes),
        Bytes(ram_bytes)
    )
}

/// What a guest did, or what happened to it.
pub(crate) fn fault_text(fault: &GuestFault) -> String {
    match fault {
        GuestFault::Exception {
            stack_overflow: Some(0),
            ..
        } => "the stack of a thread overflowed: give it more with `thread::Builder::stack_size` or `RUST_MIN_STACK`, or look for a recursion without end".into(),
        GuestFault::Exception {
            stack_overflow: Some(bytes),
            ..
        } => format!(
            "the stack overflowed: its {} KiB are used up. Set a larger one, `bytes = \"8M\"` under [stack] in jiffy.toml, and build again, or look for a recursion without end",
            bytes >> 10
        ),
        GuestFault::Exception {
            vector,
            address,
            rip,
            ..
        } => match vector {
            14 => format!(
                "memory at {address:#x} was touched that it may not touch, by the code at {rip:#x}"
            ),
            vector => format!("the CPU raised exception {vector} at {rip:#x}"),
        },
        GuestFault::Panic {
            message,
            file,
            line,
            column,
            ..
        } => match file.is_empty() {
            true => format!("panicked: {message}"),
            false => format!("panicked at {file}:{line}:{column}: {message}"),
        },
        GuestFault::OutOfMemory {
            requested_bytes,
            ram_bytes,
            ..
        } => out_of_memory(*requested_bytes, *ram_bytes),
        GuestFault::Init { message }
        | GuestFault::Runtime { message }
        | GuestFault::Device { message, .. }
        | GuestFault::Cpu { message, .. } => message.clone(),
    }
}
