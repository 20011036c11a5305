//! Why a store does not do what it is asked.

use std::io;

use jiffy_model::{EndsRequest, Outcome};
use jiffy_tables::TableFileError;

use crate::{
    BATCH_MAX, Change, Condition, KEY_BYTES_MAX, METADATA_BYTES_MAX, PAGE_MAX, TTL_MAX,
    VALUE_BYTES_MAX, Write,
};

/// Why a store does not do what it is asked. Nothing of it is done then, but for what [`KvError::Unknown`] says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum KvError {
    #[error(transparent)]
    Invalid(#[from] Unfit),
    #[error("{}", conflict(.key, *.wanted, *.found))]
    Conflict {
        key: String,
        wanted: Condition,
        found: Option<u64>,
    },
    #[error(
        "the store {store} would have {bytes} bytes: must be at most {bytes_max}, each entry with 64 more than it has; remove some, or raise kv.store_bytes_max"
    )]
    StoreFull {
        store: String,
        bytes: u64,
        bytes_max: u64,
    },
    #[error("there would be more than {0} stores: remove one, or raise kv.stores_max")]
    TooManyStores(u64),
    #[error("too much waits to be written: try again later")]
    Busy,
    #[error("the host's disk is full, and nothing was changed: make room and try again")]
    DiskFull,
    #[error("the host cannot read or write its stores: {0}")]
    Storage(String),
    /// It can be durable, and is then there after the file was opened anew.
    #[error("the host does not know whether the change was made: {0}")]
    Unknown(String),
    #[error(
        "the stores have format {found}: must be {known}, or the release that wrote them has to export them"
    )]
    Format { found: u64, known: u64 },
    #[error("the stores are being closed")]
    Stopped,
}

/// Why a call is not one that a store takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("invalid key of {0} bytes: must be 1 to {KEY_BYTES_MAX}, UTF-8")]
    Key(usize),
    #[error("invalid value of {0} bytes: must be at most {VALUE_BYTES_MAX}")]
    Value(usize),
    #[error(
        "invalid metadata {0:?}: must be at most {METADATA_BYTES_MAX} printable ASCII characters, without spaces around them"
    )]
    Metadata(String),
    #[error("invalid time to live {0} ms: must be 1 to {max}", max = TTL_MAX.as_millis())]
    Ttl(u128),
    #[error("invalid batch of {0} changes or more: must have 1 to {BATCH_MAX}")]
    Batch(usize),
    #[error("the key {0:?} is twice in a batch: change it once")]
    Twice(String),
    #[error("invalid limit {0}: must be 1 to {PAGE_MAX}")]
    Limit(usize),
}

fn conflict(key: &str, wanted: Condition, found: Option<u64>) -> String {
    let found = match found {
        Some(version) => format!("has version {version}"),
        None => "is not there".into(),
    };
    let rule = match wanted {
        Condition::None => "anything will do".into(),
        Condition::Absent => "must not be there".into(),
        Condition::Present => "must be there".into(),
        Condition::Version(version) => format!("must have version {version}"),
    };
    format!("the entry {key:?} {found}: {rule}")
}

impl KvError {
    pub(crate) fn thread(error: io::Error) -> Self {
        Self::Storage(format!("no thread can be started: {error}"))
    }
}

impl EndsRequest for KvError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Invalid(_) => Outcome::InvalidRequest,
            Self::Conflict { .. } => Outcome::PreconditionFailed,
            Self::StoreFull { .. } | Self::TooManyStores(_) | Self::DiskFull => Outcome::Full,
            Self::Busy => Outcome::Overloaded,
            Self::Storage(_) | Self::Unknown(_) | Self::Format { .. } => Outcome::Host,
            Self::Stopped => Outcome::ShuttingDown,
        }
    }
}

impl From<TableFileError> for KvError {
    fn from(error: TableFileError) -> Self {
        match error.is_full() {
            true => Self::DiskFull,
            false => Self::Storage(error.to_string()),
        }
    }
}

pub(crate) fn check_key(key: &str) -> Result<(), Unfit> {
    match (1..=KEY_BYTES_MAX).contains(&key.len()) {
        true => Ok(()),
        false => Err(Unfit::Key(key.len())),
    }
}

pub(crate) fn check_writes(writes: &[Write]) -> Result<(), Unfit> {
    if !(1..=BATCH_MAX).contains(&writes.len()) {
        return Err(Unfit::Batch(writes.len()));
    }
    writes.iter().try_for_each(check_write)?;
    let named = |write: &&Write| !matches!(write.change, Change::Append { .. });
    let mut keys: Vec<_> = writes
        .iter()
        .filter(named)
        .map(|write| &write.key)
        .collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Unfit::Twice(pair[0].clone())),
        None => Ok(()),
    }
}

fn check_write(write: &Write) -> Result<(), Unfit> {
    let (value, metadata, ttl) = match &write.change {
        Change::Put {
            value,
            metadata,
            ttl,
        } => (value, metadata, ttl),
        Change::Append { value, metadata } => (value, metadata, &None),
        Change::Delete => return check_key(&write.key),
    };
    if !matches!(write.change, Change::Append { .. }) {
        check_key(&write.key)?;
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(Unfit::Value(value.len()));
    }
    let is_printable = metadata.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if metadata.len() > METADATA_BYTES_MAX || !is_printable || metadata.trim() != metadata {
        let shown = metadata.chars().take(64).collect();
        return Err(Unfit::Metadata(shown));
    }
    match ttl {
        Some(ttl) if ttl.as_millis() == 0 || *ttl > TTL_MAX => Err(Unfit::Ttl(ttl.as_millis())),
        _ => Ok(()),
    }
}
