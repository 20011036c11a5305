//! The registry in memory: what requests and readers look at, and never the disk.
//!
//! Not here: what this host has of a version (`prepare`).

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use parking_lot::RwLock;

use super::{
    Entry,
    registry::{Changes, Update},
};
use crate::model::{FunctionId, Generation};

/// A function before and after a change; `None` if there is none.
#[derive(Debug)]
pub struct Followed {
    /// Its name.
    pub name: FunctionId,
    /// As it was.
    pub before: Option<Arc<Entry>>,
    /// As it is.
    pub after: Option<Arc<Entry>>,
}

/// All functions.
#[derive(Debug, Default)]
pub(super) struct Directory(RwLock<BTreeMap<FunctionId, Arc<Entry>>>);

impl Directory {
    pub(super) fn get(&self, name: &FunctionId) -> Option<Arc<Entry>> {
        let entries = self.0.read();
        entries.get(name).cloned()
    }

    /// Up to `limit` entries behind `after`.
    pub(super) fn list(&self, after: Option<&FunctionId>, limit: usize) -> Vec<Arc<Entry>> {
        let entries = self.0.read();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = entries.range((start, Bound::Unbounded)).take(limit);
        behind.map(|(_, entry)| Arc::clone(entry)).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.read().len()
    }

    /// Takes over what the registry says of a function, unless that is older than what is here.
    pub(super) fn take(&self, Update { name, entry: after }: Update) -> Option<Followed> {
        let generation = |entry: &Option<Arc<Entry>>| {
            let entry = entry.as_ref();
            entry.map_or(Generation::NONE, |entry| entry.function.generation)
        };
        let mut entries = self.0.write();
        let before = entries.get(&name).cloned();
        match &after {
            Some(_) if generation(&after) <= generation(&before) => return None,
            Some(entry) => entries.insert(name.clone(), Arc::clone(entry)),
            None => entries.remove(&name),
        };
        Some(Followed {
            name,
            before,
            after,
        })
    }

    /// Takes over what has changed.
    pub(super) fn take_all(&self, changes: Changes) -> Vec<Followed> {
        let mut updates = changes.updates;
        if changes.is_all {
            let there: BTreeSet<_> = updates.iter().map(|update| update.name.clone()).collect();
            let entries = self.0.read();
            let gone = entries.keys().filter(|name| !there.contains(name));
            let gone = gone.map(|name| Update {
                name: name.clone(),
                entry: None,
            });
            updates.extend(gone);
        }
        let taken = updates.into_iter().filter_map(|update| self.take(update));
        taken.collect()
    }
}
