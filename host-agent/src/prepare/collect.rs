//! Removes images and snapshots that no version has, and repeats what failed.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use jiffy_control::error_chain;
use jiffy_snapshots::Digest;
use tokio::task::spawn_blocking;

use super::{Service, lock};
use crate::{registry::RegistryError, vm::Vms};

/// How often it is looked for something to do.
const KEEPER_INTERVAL: Duration = Duration::from_secs(10);
/// Every how many looks garbage is collected although nothing was deployed or deleted: for uploads that grew old.
const COLLECT_EVERY: u64 = 90;
/// Different troubles that are remembered, so as not to be told again.
const TOLD_MAX: usize = 256;
/// Records that are read at once.
const PAGE_LEN: usize = 256;

impl<V: Vms> Service<V> {
    /// Starts the task that tidies up, for as long as the service lives.
    pub(super) fn spawn_keeper(self: &Arc<Self>) {
        let this = Arc::downgrade(self);
        tokio::spawn(async move {
            for look in 1_u64.. {
                let Some(service) = this.upgrade() else {
                    return;
                };
                if look % COLLECT_EVERY == 0 {
                    service.has_garbage.store(true, Relaxed);
                }
                service.tidy().await;
                drop(service);
                tokio::time::sleep(KEEPER_INTERVAL).await;
            }
        });
    }

    /// Does what there is to do; nothing that a build is in the way of.
    pub(super) async fn tidy(self: &Arc<Self>) {
        let this = Arc::clone(self);
        let tidied = spawn_blocking(move || {
            this.follow_stale();
            // Nothing is built now, and nothing begins to be until this is done.
            let Ok(_alone) = this.stored.try_write() else {
                return;
            };
            if !this.has_garbage.swap(false, Relaxed) {
                return;
            }
            match this.collect() {
                Ok(freed_bytes) => tracing::debug!(freed_bytes, "collected garbage"),
                Err(error) => {
                    this.tell_once(error);
                    this.has_garbage.store(true, Relaxed);
                }
            }
        });
        if let Err(error) = tidied.await
            && error.is_panic()
        {
            tracing::error!(%error, "tidying up panicked");
        }
    }

    /// Says what is in the way of collecting garbage, but not at every look again.
    fn tell_once(&self, trouble: String) {
        let mut told = lock(&self.told);
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        if !told.contains(&trouble) {
            tracing::warn!(error = trouble, "cannot collect all garbage");
            told.insert(trouble);
        }
    }

    /// Removes what no version has. Returns the bytes that became free. What cannot be removed is told, and is in
    /// the way of nothing else; an error says that nothing was removed.
    fn collect(&self) -> Result<u64, String> {
        // The registry itself is asked: the directory may be behind it.
        let wanted = self.wanted().map_err(|error| error_chain(&error))?;
        let age = Duration::from_millis(self.config().limits.unused_image_ms_max);
        let images = self
            .images
            .remove_unreferenced(&|digest| wanted.contains(digest), age);
        let snapshots = self.snapshots.gc(&|digest| wanted.contains(digest));
        for error in images.left.iter().chain(&snapshots.left) {
            self.tell_once(error_chain(error));
        }
        Ok(images.freed_bytes + snapshots.freed_bytes)
    }

    /// Digests of all images and snapshots that versions have.
    fn wanted(&self) -> Result<HashSet<Digest>, RegistryError> {
        let mut wanted = HashSet::new();
        let mut after = None;
        loop {
            let functions = self.registry.functions(after.as_ref(), PAGE_LEN)?;
            for function in &functions {
                let mut after = None;
                loop {
                    let versions = self.registry.versions(&function.name, after, PAGE_LEN)?;
                    wanted.extend(
                        versions
                            .iter()
                            .flat_map(|version| [version.image, version.snapshot]),
                    );
                    after = versions.last().map(|version| version.number);
                    if versions.len() < PAGE_LEN {
                        break;
                    }
                }
            }
            after = functions.last().map(|function| function.name.clone());
            if functions.len() < PAGE_LEN {
                return Ok(wanted);
            }
        }
    }
}
