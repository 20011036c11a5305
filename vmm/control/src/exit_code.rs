//! How a VM's end, or a response, becomes an exit code.
//!
//! Not here: the codes and what they mean (`jiffy_console::Exit`).

use jiffy_abi::frame::ResponseKind;
use jiffy_console::Exit;

use crate::{GuestFault, Outcome, Response};

impl From<&Response> for Exit {
    fn from(response: &Response) -> Self {
        match response.kind {
            ResponseKind::FunctionError => Self::FunctionError,
            ResponseKind::BadEvent => Self::BadEvent,
            ResponseKind::Ok | ResponseKind::Http => Self::Ok,
        }
    }
}

/// Of a VM that came to its end without the response that was waited for: none of them is success.
impl From<&Outcome> for Exit {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Finished | Outcome::Exited(_) => Self::Fault,
            Outcome::TimedOut { .. } => Self::Timeout,
            Outcome::Fault(fault) => match fault {
                GuestFault::Panic { .. } => Self::Panic,
                GuestFault::OutOfMemory { .. } => Self::OutOfMemory,
                GuestFault::Init { .. } => Self::FunctionError,
                GuestFault::Exception { .. }
                | GuestFault::Runtime { .. }
                | GuestFault::Device { .. }
                | GuestFault::Cpu { .. } => Self::Fault,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_end_without_a_response_is_success() {
        for outcome in [Outcome::Finished, Outcome::Exited(0)] {
            assert_eq!(Exit::from(&outcome), Exit::Fault);
        }
    }
}
