//! A registry: durable records of functions, to which changes are applied and whose changes are watched.
//!
//! ```text
//! apply    the records of one function as they are to be, if they are still at the generation they were read at
//! changes  what has a higher generation than the caller has seen
//! watch    wakes whoever has to ask for changes that others applied
//! ```
//!
//! It knows no rules: which change is allowed, `entry` decides on records in memory. So a registry is no more than
//! compare-and-set and a watch, which a file has ([`super::RedbRegistry`]) and a replicated store has too.
//! Calls block; callers in async code spawn them.

use std::{fmt, io, path::PathBuf, sync::Arc};

use jiffy_snapshots::why;
use jiffy_tables::TableFileError;
use tokio::sync::watch;

use super::Entry;
use crate::model::{FunctionId, Generation};

/// All records of a function as they are to be.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its name.
    pub name: FunctionId,
    /// The generation of the function that this follows from; [`Generation::NONE`]: there is none.
    pub from: Generation,
    /// The records; of the versions those without a generation are new. `None`: it is deleted.
    pub to: Option<Entry>,
}

/// All records of a function as they are.
#[derive(Clone, Debug)]
pub struct Update {
    /// Its name.
    pub name: FunctionId,
    /// The records; `None`: it was deleted.
    pub entry: Option<Arc<Entry>>,
}

/// What has changed.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The generation of the last change.
    pub generation: Generation,
    /// The updates are of all functions: one that is not among them is not there.
    pub is_all: bool,
    /// Each function that has changed.
    pub updates: Vec<Update>,
}

/// Why the registry did not do it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum RegistryError {
    /// It is not at the generation that the change follows from.
    #[error("{0} was changed meanwhile: look at it and try again")]
    Changed(FunctionId),
    #[error(transparent)]
    File(#[from] TableFileError),
    #[error("the registry's record of {0} is damaged: restore the registry from a copy")]
    Damaged(String),
    #[error(
        "the registry has format {found}, and this jiffyd knows {known}: use the release that wrote it"
    )]
    Format { found: u64, known: u64 },
    #[error(
        "cannot keep the registry of an earlier release as {path}, and takes it over only then: {}",
        why(source)
    )]
    Keep {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Durable records of functions.
pub trait Registry: fmt::Debug + Send + Sync + 'static {
    /// Applies a change, whole or not at all: it is durable when this returns, with its generation in the function's and in
    /// each new record. After a [`RegistryError::File`] it is not known whether it is, until [`Registry::changes`] says it.
    fn apply(&self, change: Change) -> Result<(Generation, Update), RegistryError>;

    /// The functions that changed after `after`.
    fn changes(&self, after: Generation) -> Result<Changes, RegistryError>;

    /// The generation of the last change that was applied, by whomever.
    fn watch(&self) -> watch::Receiver<Generation>;
}
