//! Why a queue does not do what it is asked.

use jiffy_kv::KvError;
use jiffy_model::{EndsRequest, Outcome};

use crate::{
    CONTENT_TYPE_CHARS_MAX, MESSAGE_BYTES_MAX, MESSAGE_OVERHEAD_BYTES, NewMessage, PAGE_MAX,
};

/// Why a queue does not do what it is asked. Nothing of it is done then, but for what [`QueueError::Unknown`] says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum QueueError {
    #[error(transparent)]
    Invalid(#[from] Unfit),
    #[error(
        "the queue {queue} would have {bytes} bytes: must be at most {bytes_max}, each message with {MESSAGE_OVERHEAD_BYTES} more than it has; remove some, or raise queue.queue_bytes_max"
    )]
    QueueFull {
        queue: String,
        bytes: u64,
        bytes_max: u64,
    },
    #[error("there would be more than {0} queues: remove one, or raise queue.queues_max")]
    TooManyQueues(u64),
    #[error("too much waits to be written: try again later")]
    Busy,
    #[error("the host's disk is full, and nothing was changed: make room and try again")]
    DiskFull,
    #[error("the host cannot read or write its queues: {0}")]
    Storage(String),
    /// It can be durable, and is then there after the file was opened anew.
    #[error("the host does not know whether the change was made: {0}")]
    Unknown(String),
    #[error(
        "the queues have format {found}: must be {known}, or the release that wrote them has to empty them"
    )]
    Format { found: u64, known: u64 },
    #[error("the queues are being closed")]
    Stopped,
}

/// Why something is not what a queue takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Unfit {
    #[error("invalid message of {0} bytes: must be at most {MESSAGE_BYTES_MAX}")]
    Message(usize),
    #[error(
        "invalid content type {0:?}: must be 1 to {CONTENT_TYPE_CHARS_MAX} printable ASCII characters, without spaces around them"
    )]
    ContentType(String),
    #[error("invalid limit {0}: must be 1 to {PAGE_MAX}")]
    Limit(usize),
}

impl From<KvError> for QueueError {
    fn from(error: KvError) -> Self {
        match error {
            KvError::StoreFull {
                store,
                bytes,
                bytes_max,
            } => Self::QueueFull {
                queue: store,
                bytes,
                bytes_max,
            },
            KvError::TooManyStores(max) => Self::TooManyQueues(max),
            KvError::Busy => Self::Busy,
            KvError::DiskFull => Self::DiskFull,
            KvError::Storage(why) => Self::Storage(why),
            KvError::Unknown(why) => Self::Unknown(why),
            KvError::Format { found, known } => Self::Format { found, known },
            KvError::Stopped => Self::Stopped,
            // What is said was checked, and an id is given once.
            KvError::Invalid(_) | KvError::Conflict { .. } => Self::Storage(error.to_string()),
        }
    }
}

impl EndsRequest for QueueError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Invalid(_) => Outcome::InvalidRequest,
            Self::QueueFull { .. } | Self::TooManyQueues(_) | Self::DiskFull => Outcome::Full,
            Self::Busy => Outcome::Overloaded,
            Self::Storage(_) | Self::Unknown(_) | Self::Format { .. } => Outcome::Host,
            Self::Stopped => Outcome::ShuttingDown,
        }
    }
}

pub(crate) fn check_message(message: &NewMessage) -> Result<(), Unfit> {
    let NewMessage { body, content_type } = message;
    if body.len() > MESSAGE_BYTES_MAX {
        return Err(Unfit::Message(body.len()));
    }
    let is_printable = content_type.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let fits = (1..=CONTENT_TYPE_CHARS_MAX).contains(&content_type.len());
    match fits && is_printable && content_type.trim() == content_type {
        true => Ok(()),
        false => {
            let shown = content_type.chars().take(64).collect();
            Err(Unfit::ContentType(shown))
        }
    }
}

pub(crate) fn check_limit(limit: usize) -> Result<(), Unfit> {
    match (1..=PAGE_MAX).contains(&limit) {
        true => Ok(()),
        false => Err(Unfit::Limit(limit)),
    }
}
