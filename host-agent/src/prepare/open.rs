//! Open snapshots: from the store if they are of this host, else built again from their images.

use std::{
    fs::File,
    num::NonZeroU64,
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::Duration,
};

use jiffy_control::error_chain;
use jiffy_snapshots::{Blame, Digest, Snapshot, StoreError};
use rustix::fs::{Advice, SeekFrom, fadvise, seek};
use tokio::{
    task::{JoinError, spawn_blocking},
    time::Instant,
};

use super::{
    Preparation,
    slots::{OpenFailure, Slot},
};
use crate::{
    catalog::Entry,
    model::{FunctionId, Settings, Version},
    pool::Deployed,
    vm::{OpenSnapshot, Vms},
};

/// How long a failure to open or rebuild a snapshot answers all who ask.
const FAILURE_KEPT: Duration = Duration::from_secs(5);
/// Runs of pages that are read ahead of one snapshot at most.
const RAM_EXTENTS_MAX: usize = 4096;

impl<V: Vms> Preparation<V> {
    /// What this host has of a version of `entry`.
    pub(crate) fn slot(&self, entry: &Entry, version: &Arc<Version>) -> Arc<Slot> {
        self.slots.of(entry, version)
    }

    /// What requests to a version run on. Waits while its snapshot is opened or rebuilt.
    pub(crate) async fn deployed(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
    ) -> Result<Arc<Deployed>, OpenFailure> {
        if let Some(deployed) = self.slots.opened(slot) {
            return Ok(deployed);
        }
        // In a task of its own: a rebuild is to be done although who asked first has gone.
        let (this, slot) = (Arc::clone(self), Arc::clone(slot));
        let opening = tokio::spawn(async move { this.open_once(&slot).await });
        opening
            .await
            .unwrap_or_else(|lost| Err(fail(task_lost(&lost))))
    }

    async fn open_once(self: &Arc<Self>, slot: &Slot) -> Result<Arc<Deployed>, OpenFailure> {
        let mut last_failure = slot.opening.lock().await;
        if let Some(deployed) = self.slots.opened(slot) {
            return Ok(deployed);
        }
        if let Some(failure) = &*last_failure
            && failure.at.elapsed() < FAILURE_KEPT
        {
            return Err(failure.clone());
        }
        let opened = self.open_or_rebuild(slot).await.map_err(fail);
        *last_failure = opened.as_ref().err().cloned();
        opened
    }

    async fn open_or_rebuild(self: &Arc<Self>, slot: &Slot) -> Result<Arc<Deployed>, String> {
        let (name, number) = (&slot.function, slot.version.number);
        if let Some(known) = self.known.get(&slot.key) {
            match self
                .open_snapshot(known, name, &slot.version.settings)
                .await
            {
                Ok(snapshot) => return Ok(self.use_snapshot(slot, snapshot)),
                Err(error) if error.blame() == Blame::Host => return Err(error_chain(&error)),
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::warn!(function = %name, version = %number, %error, "building a damaged snapshot again");
                }
            }
        }
        self.rebuild(slot).await
    }

    /// Runs a version on this snapshot from now on. VMs of another one that it ran on are of no more use.
    pub(super) fn use_snapshot(&self, slot: &Slot, snapshot: Arc<OpenSnapshot>) -> Arc<Deployed> {
        let (deployed, before) = self.slots.keep_open(slot, snapshot);
        let digest = |deployed: &Deployed| deployed.snapshot.snapshot.digest();
        if before.is_some_and(|before| digest(&before) != digest(&deployed)) {
            self.pool.forget(&slot.function, Some(slot.version.number));
        }
        deployed
    }

    /// Opens a snapshot in the store.
    pub(super) async fn open_snapshot(
        self: &Arc<Self>,
        digest: Digest,
        function: &FunctionId,
        settings: &Settings,
    ) -> Result<Arc<OpenSnapshot>, StoreError> {
        let this = Arc::clone(self);
        let opened: Result<Snapshot, StoreError> = match spawn_blocking(move || {
            let snapshot = this.snapshots.open(&digest)?;
            bring_in(snapshot.ram_file());
            Ok(snapshot)
        })
        .await
        {
            Ok(opened) => opened,
            // Only if the runtime ends, and nobody is served then.
            Err(_) => Err(StoreError::NotFound(digest)),
        };
        Ok(Arc::new(OpenSnapshot {
            snapshot: opened?,
            function: function.clone(),
            isolation: settings.isolation,
            timeout_ms: settings.timeout_ms,
            grants: settings.grants.clone(),
            calls: OnceLock::new(),
        }))
    }

    async fn rebuild(self: &Arc<Self>, slot: &Slot) -> Result<Arc<Deployed>, String> {
        let (name, version) = (&slot.function, &slot.version);
        let number = version.number;
        let building = self.begin_build().await;
        let building = building.map_err(|error| error.to_string())?;
        let began = Instant::now();
        let (built, logs) = self
            .build(name, &version.image, &version.settings, &building)
            .await;
        self.observer.logged(name.clone(), number, logs);
        let snapshot = built.map_err(|why| {
            format!("version {number} of {name} has no snapshot for this host: {why}")
        })?;
        tracing::info!(function = %name, version = %number, ms = began.elapsed().as_millis(), "built a snapshot again");
        slot.set_damaged(false);
        self.has_garbage.store(true, Relaxed);
        // VMs of the old snapshot, if it was damaged, are of no more use.
        self.pool.forget(name, Some(number));
        let deployed = self.use_snapshot(slot, snapshot);
        self.keep_ready(slot, &deployed);
        Ok(deployed)
    }
}

/// Has the kernel read what is in a snapshot's RAM file and no hole: VMs touch it page by page, each of which would else
/// wait for the disk. Where that cannot be done, they do.
fn bring_in(ram: &File) {
    let mut at = 0;
    for _ in 0..RAM_EXTENTS_MAX {
        let Ok(start) = seek(ram, SeekFrom::Data(at)) else {
            return; // Only a hole is left.
        };
        let Ok(end) = seek(ram, SeekFrom::Hole(start)) else {
            return;
        };
        let Some(len) = NonZeroU64::new(end.saturating_sub(start)) else {
            return;
        };
        if fadvise(ram, start, Some(len), Advice::WillNeed).is_err() {
            return;
        }
        at = end;
    }
}

fn fail(text: String) -> OpenFailure {
    let at = Instant::now();
    OpenFailure { at, text }
}

/// What to say of a task of ours that panicked or was ended.
pub(super) fn task_lost(error: &JoinError) -> String {
    format!("a task of the agent was lost: {}", error_chain(error))
}
