//! How a request ended of whose VM there is only an error.
//!
//! Not here: how a VM's end or a response becomes an outcome (`jiffy-control`), and what follows from one (`jiffy-model`).

use jiffy_model::{EndsRequest, Outcome};

use crate::{InvokeError, LaunchError};

impl EndsRequest for InvokeError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Request(_) => Outcome::Unframed,
            Self::Response(_) => Outcome::BadResponse,
            Self::Stopped(report) => report.end.outcome(),
            Self::Failed { blame, .. } => Outcome::from(*blame),
            Self::VmmDied(_)
            | Self::Control(_)
            | Self::OtherRelease(_)
            | Self::OutOfTurn(_)
            | Self::Unresponsive(_)
            | Self::Stream(_) => Outcome::Host,
        }
    }
}

impl EndsRequest for LaunchError {
    fn outcome(&self) -> Outcome {
        Outcome::from(self.blame())
    }
}
