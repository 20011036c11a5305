//! How a request ended of whose VM there is only an error.
//!
//! Not here: how a VM's end or a response becomes an outcome (`jiffy-control`), and what follows from one (`jiffy-model`).

use jiffy_control::Death;
use jiffy_model::{EndsRequest, Outcome};

use crate::{LaunchError, VmError};

impl EndsRequest for VmError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Request(_) => Outcome::Unframed,
            // A VMM does that only if its guest has taken it over.
            Self::Stream(_) | Self::Malformed(_) => Outcome::BadResponse,
            Self::Stopped(report) => report.end.outcome(),
            Self::Failed { blame, .. } => Outcome::from(*blame),
            Self::Undelivered(end) => end.outcome(),
            Self::Died(Death::Squeezed) => Outcome::NoMemory,
            Self::Died(_)
            | Self::Gone
            | Self::OtherRelease(_)
            | Self::Unresponsive(_)
            // Not as one that got no VM: who is told so asks again, and some of it is done.
            | Self::SqueezedAfterCalls
            | Self::Host(_) => Outcome::Host,
        }
    }
}

impl EndsRequest for LaunchError {
    fn outcome(&self) -> Outcome {
        Outcome::from(self.blame())
    }
}
