//! Open snapshots: from the store if they are of this host, else built again from their images.

use std::{
    fs::File,
    num::NonZeroU64,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use jiffy_control::error_chain;
use jiffy_snapshots::{Blame, Digest, Snapshot, StoreError};
use rustix::fs::{Advice, SeekFrom, fadvise, seek};
use tokio::{task::spawn_blocking, time::Instant};

use super::{
    ChangeError, OpenFailure, Service,
    directory::{Entry, Slot},
    failure, task_lost,
};
use crate::{
    model::{FunctionName, Settings},
    pool::Deployed,
    registry::RegistryError,
    vm::{OpenSnapshot, Vms},
};

/// How long a failure to open or rebuild a snapshot answers all who ask.
const FAILURE_KEPT: Duration = Duration::from_secs(5);
/// Runs of pages that are read ahead of one snapshot at most.
const RAM_EXTENTS_MAX: usize = 4096;

impl<V: Vms> Service<V> {
    /// What requests to a version run on. Waits while its snapshot is opened or rebuilt.
    pub(super) async fn deployed(
        self: &Arc<Self>,
        name: &FunctionName,
        slot: &Arc<Slot>,
    ) -> Result<Arc<Deployed>, OpenFailure> {
        if let Some(deployed) = self.directory.opened(slot) {
            return Ok(deployed);
        }
        // In a task of its own: a rebuild is to be done although who asked first has gone.
        let (this, name, slot) = (Arc::clone(self), name.clone(), Arc::clone(slot));
        let opening = tokio::spawn(async move { this.open_once(&name, &slot).await });
        opening
            .await
            .unwrap_or_else(|lost| Err(fail(task_lost(&lost))))
    }

    async fn open_once(
        self: &Arc<Self>,
        name: &FunctionName,
        slot: &Slot,
    ) -> Result<Arc<Deployed>, OpenFailure> {
        let mut last_failure = slot.opening.lock().await;
        if let Some(deployed) = self.directory.opened(slot) {
            return Ok(deployed);
        }
        if let Some(failure) = &*last_failure
            && failure.at.elapsed() < FAILURE_KEPT
        {
            return Err(failure.clone());
        }
        let opened = self.open_or_rebuild(name, slot).await;
        let opened = opened.map_err(fail);
        *last_failure = opened.as_ref().err().cloned();
        opened
    }

    async fn open_or_rebuild(
        self: &Arc<Self>,
        name: &FunctionName,
        slot: &Slot,
    ) -> Result<Arc<Deployed>, String> {
        let version = &slot.version;
        if version.snapshot_host == self.host.as_str() && !slot.is_damaged() {
            match self
                .open_snapshot(version.snapshot, &version.settings)
                .await
            {
                Ok(snapshot) => return Ok(self.directory.keep_open(name, slot, snapshot)),
                Err(error) if error.blame() == Blame::Host => return Err(error_chain(&error)),
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::warn!(function = %name, version = %version.number, %error, "building a damaged snapshot again");
                }
            }
        }
        self.rebuild(name, slot).await
    }

    /// Opens a snapshot in the store.
    pub(super) async fn open_snapshot(
        self: &Arc<Self>,
        digest: Digest,
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
            isolation: settings.isolation,
            timeout_ms: settings.timeout_ms,
        }))
    }

    async fn rebuild(
        self: &Arc<Self>,
        name: &FunctionName,
        slot: &Slot,
    ) -> Result<Arc<Deployed>, String> {
        let version = slot.version.clone();
        let (number, before) = (version.number, version.snapshot);
        let _permit = self
            .builds
            .acquire()
            .await
            .map_err(|error| error.to_string())?;
        let _stored = self.stored.read().await;
        let image = self.image_whole(&version.image).await;
        let (image, _) = image.map_err(|error| error_chain(&error))?;
        let began = Instant::now();
        let built = self
            .vms
            .build(image, &version.settings, self.snapshots_dir());
        let (built, logs) = built.await;
        self.observer.logged(name.clone(), number, logs);
        let digest = built.map_err(|error| {
            let why = failure::of_build(&error);
            format!("version {number} of {name} has no snapshot for this host: {why}")
        })?;
        let snapshot = self.open_snapshot(digest, &version.settings).await;
        let snapshot = snapshot.map_err(|error| error_chain(&error))?;
        let (function, host) = (name.clone(), self.host.as_str().to_owned());
        let changed = self
            .change(name, move |registry| {
                registry.set_snapshot(&function, number, before, digest, &host)
            })
            .await;
        match changed {
            Ok(_) => {}
            // It was deleted or replaced meanwhile; who asked before is still served.
            Err(ChangeError::Registry(
                RegistryError::NoVersion(..)
                | RegistryError::NoFunction(_)
                | RegistryError::Changed(_),
            )) => {}
            Err(error) => return Err(error_chain(&error)),
        }
        tracing::info!(function = %name, version = %number, ms = began.elapsed().as_millis(), "built a snapshot again");
        slot.set_damaged(false);
        self.has_garbage.store(true, Relaxed);
        // VMs of the old snapshot, if it was damaged, are of no more use.
        self.pool.forget(name, Some(number));
        // The change made a new slot. Who waits for this one finds it open too.
        if let Some(entry) = self.directory.get(name)
            && let Some(now) = entry.versions.get(&number)
            && now.version.snapshot == digest
        {
            let deployed = self.directory.keep_open(name, now, Arc::clone(&snapshot));
            self.keep_ready(&entry, &deployed);
        }
        Ok(self.directory.keep_open(name, slot, snapshot))
    }

    /// Rebuilds in the background what was made on another host, live versions first.
    pub(super) fn spawn_rebuilds(self: &Arc<Self>) {
        let mut wanted = vec![];
        for entry in self.directory.list(None, usize::MAX) {
            for slot in entry.versions.values() {
                let is_foreign = slot.version.snapshot_host != self.host.as_str();
                let is_led_to = entry.leads_to(slot.version.number);
                if is_foreign {
                    wanted.push((!is_led_to, entry.function.name.clone(), Arc::clone(slot)));
                } else if entry.ready(slot.version.number) > 0 {
                    self.spawn_keep_ready(&entry.function.name, slot);
                }
            }
        }
        wanted.sort_by_key(|(is_later, ..)| *is_later);
        self.rebuilding.store(wanted.len(), Relaxed);
        if !wanted.is_empty() {
            tracing::info!(
                versions = wanted.len(),
                "snapshots are of another host; building them again"
            );
        }
        let this = Arc::downgrade(self);
        tokio::spawn(async move {
            for (_, name, slot) in wanted {
                let Some(this) = this.upgrade() else {
                    return;
                };
                if let Err(failure) = this.deployed(&name, &slot).await {
                    tracing::warn!(function = %name, error = %failure.text, "cannot build a snapshot again");
                }
                this.rebuilding.fetch_sub(1, Relaxed);
            }
        });
    }

    /// Keeps VMs of a version ready, once its snapshot is open.
    pub(super) fn spawn_keep_ready(self: &Arc<Self>, name: &FunctionName, slot: &Arc<Slot>) {
        let (this, name, slot) = (Arc::clone(self), name.clone(), Arc::clone(slot));
        tokio::runtime::Handle::current().spawn(async move {
            match this.deployed(&name, &slot).await {
                Ok(deployed) => {
                    if let Some(entry) = this.directory.get(&name) {
                        this.keep_ready(&entry, &deployed);
                    }
                }
                Err(failure) => {
                    tracing::warn!(function = %name, error = %failure.text, "cannot keep VMs ready");
                }
            }
        });
    }

    fn keep_ready(&self, entry: &Entry, deployed: &Arc<Deployed>) {
        let ready = entry.ready(deployed.version);
        let slot = entry.versions.get(&deployed.version);
        let is_current =
            slot.is_some_and(|slot| slot.version.snapshot == deployed.snapshot.snapshot.digest());
        if is_current {
            self.pool.keep_ready(deployed, ready);
        }
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
