//! Why a VM does not do what its owner wants.

use std::time::Duration;

use jiffy_abi::frame::FrameError;
use jiffy_control::{Blame, Death, PacketError, Report, StreamFault, error_chain};

/// Why there is no VM, snapshot or response. After any of them but [`VmError::Request`] the VM is of no more use.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum VmError {
    /// The guest came to an end; the report says how.
    #[error("the VM stopped before it responded")]
    Stopped(Box<Report>),
    /// What the VMM said. Its message is the whole sentence.
    #[error("{message}")]
    Failed { blame: Blame, message: String },
    /// The process is gone without a word: killed, out of its memory limit, or shot by its jail.
    #[error("the VM's process ended: {0}")]
    Died(Death),
    /// As [`VmError::Died`], and the spawner is gone too, or it would have said how.
    #[error("the VM's process ended: nobody is there to say how")]
    Gone,
    /// Another VM would make its calls again, and what they are for may be done.
    #[error(
        "memory ran out for all VMs together after the request had made calls: it is not repeated, lest they are made twice"
    )]
    SqueezedAfterCalls,
    /// It came to its end before it took the whole request: no handler has begun, and another VM can have it.
    #[error(transparent)]
    Undelivered(Box<VmError>),
    #[error("the VM did not answer within {0:?}")]
    Unresponsive(Duration),
    #[error("the VMM broke the protocol of its control socket: {0}")]
    Malformed(String),
    #[error("jiffy-vmm is of another release than this program: {0}")]
    OtherRelease(PacketError),
    #[error("the guest broke the rules of its request stream: {0}")]
    Stream(StreamFault),
    #[error("the request does not fit a frame: {0}")]
    Request(FrameError),
    /// The host could not do it.
    #[error("the host cannot run VMs: {0}")]
    Host(String),
}

impl VmError {
    /// An error of the host, with its sources.
    pub fn host(error: impl std::error::Error) -> Self {
        Self::Host(error_chain(&error))
    }

    /// Whether the VM was ended because all VMs together, or the host, had no memory left: it took no more than it may.
    pub fn is_squeeze(&self) -> bool {
        match self {
            Self::Died(death) => *death == Death::Squeezed,
            Self::SqueezedAfterCalls => true,
            Self::Undelivered(end) => end.is_squeeze(),
            _ => false,
        }
    }

    /// Whether the process ended without a word of the VMM.
    pub fn is_death(&self) -> bool {
        matches!(self, Self::Died(_) | Self::Gone)
    }
}

pub(crate) fn malformed(what: impl ToString) -> VmError {
    VmError::Malformed(what.to_string())
}
