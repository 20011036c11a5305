//! How a VM that was not started, or did not respond, becomes an exit code.
//!
//! Not here: the codes and what they mean (`jiffy_console::Exit`), nor how a VM's end becomes one (`jiffy-control`).

use jiffy_console::Exit;
use jiffy_control::Blame;

use crate::{InvokeError, LaunchError};

impl From<&InvokeError> for Exit {
    fn from(error: &InvokeError) -> Self {
        match error {
            InvokeError::Request(_) => Self::Usage,
            InvokeError::Response(_) => Self::Fault,
            InvokeError::Stopped(report) => Self::from(&report.outcome),
            InvokeError::Failed {
                blame: Blame::Input,
                ..
            } => Self::ImageRefused,
            InvokeError::Failed { .. }
            | InvokeError::VmmDied(_)
            | InvokeError::Control(_)
            | InvokeError::OtherRelease(_)
            | InvokeError::OutOfTurn(_)
            | InvokeError::Unresponsive(_)
            | InvokeError::Stream(_) => Self::Host,
        }
    }
}

impl From<&LaunchError> for Exit {
    fn from(error: &LaunchError) -> Self {
        match error.blame() {
            Blame::Input => Self::ImageRefused,
            Blame::Host | Blame::Bug => Self::Host,
        }
    }
}
