//! How a command that runs a function ends, for scripts to tell the outcomes apart.

use jiffy_abi::frame::FrameKind;

use crate::{Blame, GuestFault, InvokeError, LaunchError, Outcome, Response};

/// The exit codes of `jiffy run` and `jiffy-vmm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RunExit {
    /// The function answered.
    Answered = 0,
    /// The handler returned an error.
    FunctionError = 1,
    /// The command was used wrongly.
    Usage = 2,
    /// The handler refused the event.
    BadEvent = 3,
    /// The function panicked.
    Panic = 4,
    /// The guest faulted or broke a rule.
    Fault = 5,
    /// `init` or the request was not done in time.
    TimedOut = 6,
    /// The guest ran out of memory.
    OutOfMemory = 7,
    /// The image, or an argument, was refused.
    Refused = 8,
    /// The host, or jiffy itself, failed.
    Platform = 9,
}

impl From<RunExit> for std::process::ExitCode {
    fn from(exit: RunExit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<&Response> for RunExit {
    fn from(response: &Response) -> Self {
        match response.kind {
            FrameKind::FunctionError => Self::FunctionError,
            FrameKind::BadEvent => Self::BadEvent,
            FrameKind::Ok | FrameKind::HttpResponse | FrameKind::Event | FrameKind::HttpRequest => {
                Self::Answered
            }
        }
    }
}

/// Of a VM that came to its end without the response that was waited for: none of them is success.
impl From<&Outcome> for RunExit {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Finished | Outcome::Exited(_) => Self::Fault,
            Outcome::TimedOut { .. } => Self::TimedOut,
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

impl From<&InvokeError> for RunExit {
    fn from(error: &InvokeError) -> Self {
        match error {
            InvokeError::Request(_) => Self::Usage,
            InvokeError::Response(_) => Self::Fault,
            InvokeError::Stopped(report) => Self::from(&report.outcome),
            InvokeError::Failed {
                blame: Blame::Input,
                ..
            } => Self::Refused,
            InvokeError::Failed { .. }
            | InvokeError::VmmDied(_)
            | InvokeError::Control(_)
            | InvokeError::OtherRelease(_)
            | InvokeError::OutOfTurn(_)
            | InvokeError::Unresponsive(_)
            | InvokeError::Stream(_) => Self::Platform,
        }
    }
}

impl From<&LaunchError> for RunExit {
    fn from(error: &LaunchError) -> Self {
        match error.blame() {
            Blame::Input => Self::Refused,
            Blame::Host | Blame::Bug => Self::Platform,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Report, Stats};

    #[test]
    fn no_end_without_a_response_is_success() {
        for outcome in [Outcome::Finished, Outcome::Exited(0)] {
            assert_eq!(RunExit::from(&outcome), RunExit::Fault);
            let stopped = InvokeError::Stopped(Box::new(Report {
                outcome,
                stats: Stats::default(),
            }));
            assert_eq!(RunExit::from(&stopped), RunExit::Fault);
        }
    }
}
