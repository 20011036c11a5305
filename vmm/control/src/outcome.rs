//! What the end of a VM, a response, or the lack of one means for the request: which [`Outcome`].
//!
//! Not here: what follows from an outcome, such as its exit code (`jiffy_model::Outcome`).

use jiffy_abi::frame::ResponseKind;
use jiffy_model::Outcome;

use crate::{GuestFault, Response, VmEnd};

impl Response {
    /// How the request ended that it answers.
    pub fn outcome(&self) -> Outcome {
        match self.kind {
            ResponseKind::Ok | ResponseKind::Http => Outcome::Ok,
            ResponseKind::FunctionError => Outcome::FunctionError,
            ResponseKind::BadEvent => Outcome::BadEvent,
        }
    }
}

impl VmEnd {
    /// How a request, or `init`, ended that was to be done in the VM: never with success.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Finished => Outcome::Ended,
            Self::Exited(_) => Outcome::Exited,
            Self::TimedOut { .. } => Outcome::Timeout,
            Self::Fault(fault) => match fault {
                GuestFault::Exception { .. } => Outcome::Exception,
                GuestFault::Panic { .. } => Outcome::Panic,
                GuestFault::OutOfMemory { .. } => Outcome::OutOfMemory,
                GuestFault::Init { .. } => Outcome::Init,
                GuestFault::Runtime { .. } => Outcome::Runtime,
                GuestFault::Device { .. } => Outcome::Device,
                GuestFault::Cpu { .. } => Outcome::Cpu,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use jiffy_console::Exit;

    use super::*;

    #[test]
    fn no_end_without_a_response_is_success() {
        for end in [VmEnd::Finished, VmEnd::Exited(0)] {
            assert_eq!(end.outcome().exit(), Exit::Fault);
        }
    }
}
