//! What the end of a VM means for who sent the request.
//! Not here: what it means for who deployed the image (`prepare::failure`).

use jiffy_abi::{frame::ResponseKind, log_ring::TEXT_BYTES_MAX};
use jiffy_console::quantity::Bytes;
use jiffy_control::{Backtrace, Death, GuestFault, Response, VmEnd};
use jiffy_model::{EndsRequest as _, Outcome};

use super::NoAnswer;
use crate::{
    memory,
    pool::RETRY_AFTER,
    prepare::{fault_text, out_of_memory},
    symbols::Innermost,
    vm::VmError,
};

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
