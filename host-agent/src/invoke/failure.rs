//! What the end of a VM means: for who sent the request, and for who deployed the image.

use jiffy_abi::{frame::ResponseKind, log_ring::TEXT_BYTES_MAX};
use jiffy_console::quantity::Bytes;
use jiffy_control::{Backtrace, Death, GuestFault, Response, VmEnd};
use jiffy_model::{EndsRequest as _, Outcome};

use super::{DeployErrorKind, NoAnswer};
use crate::{memory, pool::RETRY_AFTER, symbols::Innermost, vm::VmError};

/// Why a request has no answer.
pub(super) fn of_request(error: &VmError) -> NoAnswer {
    let text = match error {
        VmError::Undelivered(end) => return of_request(end),
        VmError::Stopped(report) => of_end(&report.end),
        VmError::Request(error) => format!("the request is too large: {error}"),
        VmError::Died(Death::Squeezed) => {
            return NoAnswer {
                outcome: Outcome::NoMemory,
                // Which control group that is, the agent's own log says: whoever asks may be a stranger.
                text: format!(
                    "all VMs together ran out of memory, and the one with this request was ended for it; the agent and its VMs have {}, which its operator can raise",
                    Bytes(memory::available_bytes())
                ),
                retry_after: Some(RETRY_AFTER),
            };
        }
        VmError::Stream(fault) => fault.to_string(),
        error => error.to_string(),
    };
    let outcome = match error.outcome() {
        // Neither is for a VM that was restored to do: not the caller's fault, nor the function's.
        Outcome::ImageRefused | Outcome::Ended => Outcome::Host,
        outcome => outcome,
    };
    NoAnswer::new(outcome, text)
}

fn of_end(end: &VmEnd) -> String {
    match end {
        VmEnd::TimedOut { timeout_ms, .. } => format!(
            "the function did not answer within {timeout_ms} ms: make it faster or raise its timeout"
        ),
        VmEnd::Fault(GuestFault::Panic { message, .. }) => message.clone(),
        VmEnd::Fault(GuestFault::OutOfMemory {
            requested_bytes,
            ram_bytes,
            ..
        }) => format!(
            "the function {}",
            out_of_memory(*requested_bytes, *ram_bytes)
        ),
        VmEnd::Fault(fault) => fault_text(fault),
        VmEnd::Exited(code) => format!("it ended the VM with code {code}"),
        VmEnd::Finished => "the VM ended too early".into(),
    }
}

/// Where the guest was when its VM ended, if it was at fault.
pub(super) fn backtrace(error: &VmError) -> Option<(&Backtrace, Innermost)> {
    let VmError::Stopped(report) = error else {
        return None;
    };
    match &report.end {
        VmEnd::TimedOut { backtrace, .. }
        | VmEnd::Fault(
            GuestFault::Exception { backtrace, .. }
            | GuestFault::Device { backtrace, .. }
            | GuestFault::Cpu { backtrace, .. },
        ) => Some((backtrace, Innermost::Instruction)),
        VmEnd::Fault(
            GuestFault::Panic { backtrace, .. } | GuestFault::OutOfMemory { backtrace, .. },
        ) => Some((backtrace, Innermost::Return)),
        VmEnd::Fault(GuestFault::Init { .. } | GuestFault::Runtime { .. })
        | VmEnd::Exited(_)
        | VmEnd::Finished => None,
    }
}

/// Why an image has no snapshot.
pub(super) fn of_build(error: &VmError) -> DeployErrorKind {
    match (error, error.outcome()) {
        (VmError::Stopped(report), outcome) => DeployErrorKind::Init {
            outcome,
            text: of_init(&report.end),
        },
        (VmError::Stream(fault), _) => DeployErrorKind::Image(fault.to_string()),
        (error, Outcome::ImageRefused | Outcome::BadResponse) => {
            DeployErrorKind::Image(error.to_string())
        }
        (error, _) => DeployErrorKind::Host(error.to_string()),
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
