//! What the end of a VM means: for who sent the request, and for who deployed the image.

use jiffy_abi::{frame::ResponseKind, log_ring::TEXT_BYTES_MAX};
use jiffy_console::quantity::Bytes;
use jiffy_control::{Backtrace, Blame, GuestFault, Outcome, Report, Response};

use super::{DeployErrorKind, InvokeFailureKind};
use crate::{memory, pool::RETRY_AFTER, symbols::Innermost, usage, vm::VmError};

/// Why a request has no answer.
pub(super) fn of_request(error: &VmError) -> InvokeFailureKind {
    match error {
        VmError::Stopped(report) => of_report(report),
        VmError::Undelivered(end) => of_request(end),
        VmError::Squeezed => InvokeFailureKind::Busy {
            reason: format!(
                // Which control group that is, the agent's own log says: whoever asks may be a stranger.
                "all VMs together ran out of memory, and the one with this request was ended for it; the agent and its VMs have {}, which its operator can raise",
                Bytes(memory::available_bytes())
            ),
            retry_after: RETRY_AFTER,
        },
        VmError::Failed { .. } | VmError::Died(_) | VmError::Unresponsive(_) | VmError::Host(_) => {
            InvokeFailureKind::Platform(error.to_string())
        }
        VmError::Malformed(_) | VmError::Stream(_) => InvokeFailureKind::Fault(error.to_string()),
        VmError::Request(text) => InvokeFailureKind::TooLarge(text.clone()),
    }
}

fn of_report(report: &Report) -> InvokeFailureKind {
    match &report.outcome {
        Outcome::TimedOut { timeout_ms, .. } => InvokeFailureKind::Timeout {
            timeout_ms: *timeout_ms,
        },
        Outcome::Fault(GuestFault::Panic {
            message,
            file,
            line,
            column,
            ..
        }) => InvokeFailureKind::Panic {
            message: message.clone(),
            file: file.clone(),
            line: *line,
            column: *column,
        },
        Outcome::Fault(GuestFault::OutOfMemory {
            requested_bytes,
            ram_bytes,
            ..
        }) => InvokeFailureKind::OutOfMemory {
            requested_bytes: *requested_bytes,
            ram_bytes: *ram_bytes,
        },
        Outcome::Fault(fault) => InvokeFailureKind::Fault(fault_text(fault)),
        Outcome::Exited(code) => {
            InvokeFailureKind::Fault(format!("it ended the VM with code {code}"))
        }
        Outcome::Finished => InvokeFailureKind::Platform("the VM ended too early".into()),
    }
}

/// Where the guest was when its VM ended, if it was at fault.
pub(super) fn backtrace(error: &VmError) -> Option<(&Backtrace, Innermost)> {
    let VmError::Stopped(report) = error else {
        return None;
    };
    match &report.outcome {
        Outcome::TimedOut { backtrace, .. }
        | Outcome::Fault(
            GuestFault::Exception { backtrace, .. }
            | GuestFault::Device { backtrace, .. }
            | GuestFault::Cpu { backtrace, .. },
        ) => Some((backtrace, Innermost::Instruction)),
        Outcome::Fault(
            GuestFault::Panic { backtrace, .. } | GuestFault::OutOfMemory { backtrace, .. },
        ) => Some((backtrace, Innermost::Return)),
        Outcome::Fault(GuestFault::Init { .. } | GuestFault::Runtime { .. })
        | Outcome::Exited(_)
        | Outcome::Finished => None,
    }
}

/// Why an image has no snapshot.
pub(super) fn of_build(error: &VmError) -> DeployErrorKind {
    match error {
        VmError::Stopped(report) => of_init(&report.outcome),
        VmError::Failed {
            blame: Blame::Input,
            message,
        } => DeployErrorKind::Image(message.clone()),
        VmError::Malformed(_) | VmError::Stream(_) => DeployErrorKind::Image(error.to_string()),
        VmError::Failed { .. }
        | VmError::Died(_)
        | VmError::Squeezed
        | VmError::Undelivered(_)
        | VmError::Unresponsive(_)
        | VmError::Request(_)
        | VmError::Host(_) => DeployErrorKind::Host(error.to_string()),
    }
}

/// What a log says of a response that is an error. Its text may have 16 MiB, and a line of a log has little.
pub(super) fn sentence(response: &Response) -> Option<String> {
    let body = response.body.get(..TEXT_BYTES_MAX);
    let text = String::from_utf8_lossy(body.unwrap_or(&response.body));
    match response.kind {
        ResponseKind::FunctionError if response.error_type.is_empty() => {
            Some(format!("the function returned an error: {text}"))
        }
        ResponseKind::FunctionError => Some(format!(
            "the function returned an error, {}: {text}",
            response.error_type
        )),
        ResponseKind::BadEvent => Some(format!("the function refused the event: {text}")),
        ResponseKind::Ok | ResponseKind::Http => None,
    }
}

/// How an `init` ended that was not done.
fn of_init(end: &Outcome) -> DeployErrorKind {
    let (outcome, text) = match end {
        Outcome::TimedOut { timeout_ms, .. } => (
            usage::Outcome::Timeout,
            format!(
                "`init` was not done within {timeout_ms} ms: make it faster or raise the timeout"
            ),
        ),
        Outcome::Fault(fault) => match fault {
            GuestFault::Init { message } => (
                usage::Outcome::FunctionError,
                format!("`init` failed: {message}"),
            ),
            GuestFault::Panic { .. } => (
                usage::Outcome::Panic,
                format!("`init` {}", fault_text(fault)),
            ),
            GuestFault::OutOfMemory {
                requested_bytes,
                ram_bytes,
                ..
            } => (
                usage::Outcome::OutOfMemory,
                format!("`init` {}", out_of_memory(*requested_bytes, *ram_bytes)),
            ),
            GuestFault::Exception { .. }
            | GuestFault::Runtime { .. }
            | GuestFault::Device { .. }
            | GuestFault::Cpu { .. } => (
                usage::Outcome::Fault,
                format!("`init` broke: {}", fault_text(fault)),
            ),
        },
        Outcome::Exited(code) => (
            usage::Outcome::Fault,
            format!("`init` ended the VM with code {code}"),
        ),
        Outcome::Finished => (
            usage::Outcome::Fault,
            "the image ended before its `init` was done".into(),
        ),
    };
    DeployErrorKind::Init { outcome, text }
}

/// What is missing, and what helps.
pub(super) fn out_of_memory(requested_bytes: u64, ram_bytes: u64) -> String {
    format!(
        "ran out of memory: an allocation of {} failed in a VM of {}; raise the function's memory",
        Bytes(requested_bytes),
        Bytes(ram_bytes)
    )
}

fn fault_text(fault: &GuestFault) -> String {
    match fault {
        GuestFault::Exception {
            stack_overflow: Some(bytes),
            ..
        } => format!(
            "the stack overflowed: its {} KiB are used up. Set a larger one, `stack = \"8M\"` under [package.metadata.jiffy] in Cargo.toml, and build again, or look for a recursion without end",
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

/// How a request without an answer is counted.
pub(super) fn outcome(kind: &InvokeFailureKind) -> usage::Outcome {
    match kind {
        InvokeFailureKind::Panic { .. } => usage::Outcome::Panic,
        InvokeFailureKind::Fault(_) => usage::Outcome::Fault,
        InvokeFailureKind::Timeout { .. } => usage::Outcome::Timeout,
        InvokeFailureKind::OutOfMemory { .. } => usage::Outcome::OutOfMemory,
        InvokeFailureKind::NoFunction(_)
        | InvokeFailureKind::NoVersion(..)
        | InvokeFailureKind::NoAlias(..)
        | InvokeFailureKind::TooLarge(_)
        | InvokeFailureKind::Stopped(_)
        | InvokeFailureKind::Busy { .. }
        | InvokeFailureKind::Platform(_) => usage::Outcome::Platform,
    }
}
