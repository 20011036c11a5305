//! Removes images and snapshots that no version has.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use jiffy_control::error_chain;

use super::{Key, Preparation};
use crate::vm::Vms;

/// Different troubles that are remembered, so as not to be told again.
const TOLD_MAX: usize = 256;

impl<V: Vms> Preparation<V> {
    /// Something may be left over: it is to be looked for.
    pub(crate) fn has_garbage(&self) {
        self.has_garbage.store(true, Relaxed);
    }

    /// Removes what there is to remove, of images only those that are older than `image_age`; nothing while something is
    /// built. Blocks.
    pub(crate) fn tidy(self: &Arc<Self>, image_age: Duration) {
        // Nothing is built now, and nothing begins to be until this is done.
        let Ok(_alone) = self.stored.try_write() else {
            return;
        };
        // By guess nothing is removed.
        if self.catalog.is_behind() || !self.has_garbage.swap(false, Relaxed) {
            return;
        }
        let freed_bytes = self.collect(image_age);
        tracing::debug!(freed_bytes, "collected garbage");
    }

    /// Says what is in the way of collecting garbage, but not at every look again.
    fn tell_once(&self, trouble: String) {
        let mut told = self.told.lock();
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        if !told.contains(&trouble) {
            tracing::warn!(error = trouble, "cannot collect all garbage");
            told.insert(trouble);
        }
    }

    /// Removes what no version has. Returns the bytes that became free. What cannot be removed is told, and is in
    /// the way of nothing else.
    fn collect(&self, image_age: Duration) -> u64 {
        let (mut images, mut keys) = (HashSet::new(), HashSet::new());
        for entry in self.catalog.list(None, usize::MAX) {
            for version in entry.versions.values() {
                images.insert(version.image);
                keys.insert(Key::new(
                    &entry.function.name,
                    &version.image,
                    &version.settings,
                ));
            }
        }
        self.slots.retain(|name, number| {
            let entry = self.catalog.get(name);
            entry.is_some_and(|entry| entry.versions.contains_key(&number))
        });
        if let Err(error) = self.known.retain(|key, _| keys.contains(key)) {
            self.tell_once(error_chain(&error));
        }
        let mut wanted = self.known.snapshots();
        wanted.extend(self.slots.snapshots());
        let images = self
            .images
            .remove_unreferenced(&|digest| images.contains(digest), image_age);
        let snapshots = self.snapshots.gc(&|digest| wanted.contains(digest));
        for error in images.left.iter().chain(&snapshots.left) {
            self.tell_once(error_chain(error));
        }
        images.freed_bytes + snapshots.freed_bytes
    }
}
