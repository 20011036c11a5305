//! What this host has ready for what is deployed: snapshots, and VMs that wait although nobody asks.
//!
//! ```text
//! image, settings ─▶ build ─▶ snapshot durable ─▶ known ─▶ opened, in a slot ─▶ VMs kept ready
//!                      ▲                             │
//!                      └── another host's, damaged, lost     garbage: what no version of the catalog leads to
//! ```
//!
//! All of it can be made again from the catalog and the images.
//! Not here: what is deployed (`catalog`), requests (`invoke`), which VMs there are (`pool`).

mod collect;
mod damage;
mod failure;
mod host;
mod known;
mod open;
mod ready;
mod slots;
mod working_set;

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use jiffy_control::LogRecord;
use jiffy_snapshots::{Digest, Store, StoreError};
use jiffy_tables::TableFileError;
use parking_lot::Mutex;
use tokio::{
    sync::{AcquireError, RwLock as AsyncRwLock, RwLockReadGuard, Semaphore, SemaphorePermit},
    task::spawn_blocking,
};

pub use self::{failure::BuildError, host::HostIdentity, ready::Readiness};
pub(crate) use self::{
    failure::{fault_text, out_of_memory},
    known::Key,
    slots::Slot,
};
use self::{known::Known, slots::Slots};
use crate::{
    catalog::{Catalog, Entry},
    config::Config,
    images::{ImageError, Images, Upload},
    model::{FunctionId, Settings, Version},
    observe::Observer,
    pool::Pool,
    vm::{OpenSnapshot, Vms},
};

/// Why this host cannot keep what it prepares.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum PrepareError {
    #[error(transparent)]
    Images(#[from] ImageError),
    #[error(transparent)]
    Snapshots(#[from] StoreError),
    #[error(transparent)]
    Known(#[from] TableFileError),
}

/// What this host has ready.
pub struct Preparation<V: Vms> {
    vms: Arc<V>,
    pool: Arc<Pool<V>>,
    catalog: Arc<Catalog>,
    observer: Arc<Observer>,
    images: Images,
    snapshots: Store,
    snapshots_dir: PathBuf,
    known: Known,
    slots: Slots,
    /// Read-locked while something is built that no version has yet; the collector of garbage takes it for itself.
    stored: AsyncRwLock<()>,
    builds: Semaphore,
    /// Held while a snapshot is looked at for damage, and a while longer.
    checks: Arc<Semaphore>,
    has_garbage: AtomicBool,
    /// What was said to be in the way of collecting it.
    told: Mutex<HashSet<String>>,
    rebuilding: AtomicUsize,
}

impl<V: Vms> std::fmt::Debug for Preparation<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Preparation")
            .field("images", &self.images)
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

/// What a build holds as long as what it makes may be taken for garbage.
pub(crate) type Building<'a> = (SemaphorePermit<'a>, RwLockReadGuard<'a, ()>);

impl<V: Vms> Preparation<V> {
    /// What is ready below the data directory of `config`. Blocks for a moment.
    pub(crate) fn new(
        config: &Config,
        host: &HostIdentity,
        vms: Arc<V>,
        pool: Arc<Pool<V>>,
        catalog: Arc<Catalog>,
        observer: Arc<Observer>,
    ) -> Result<Arc<Self>, PrepareError> {
        let snapshots_dir = config.data_dir.join("snapshots");
        Ok(Arc::new(Self {
            vms,
            pool,
            catalog,
            observer,
            images: Images::new(config.data_dir.join("images"))?,
            snapshots: Store::new(&snapshots_dir)?,
            snapshots_dir,
            known: Known::open(&config.data_dir.join("prepared"), host.as_str().into())?,
            slots: Slots::new(config.limits.open_snapshots_max as usize),
            stored: AsyncRwLock::default(),
            builds: Semaphore::new(config.limits.builds_max as usize),
            checks: Arc::new(Semaphore::new(1)),
            // What a killed agent left.
            has_garbage: AtomicBool::new(true),
            told: Mutex::default(),
            rebuilding: AtomicUsize::new(0),
        }))
    }

    /// Takes another configuration.
    pub(crate) fn reload(&self, config: &Config) {
        self.slots
            .set_open_max(config.limits.open_snapshots_max as usize);
    }

    /// Snapshots that are open.
    #[cfg(test)]
    pub(crate) fn open_snapshots(&self) -> usize {
        self.slots.snapshots().len()
    }

    /// Versions whose snapshots wait to be made again.
    pub fn rebuilding(&self) -> usize {
        self.rebuilding.load(Relaxed)
    }

    /// The snapshot that this host has of a version, if it has one.
    pub fn snapshot(&self, function: &FunctionId, version: &Version) -> Option<Digest> {
        let key = Key::new(function, &version.image, &version.settings);
        self.known.get(&key)
    }

    /// Begins an upload of at most `bytes_max`: `write` its pieces, then `finish`.
    pub async fn upload(&self, bytes_max: u64) -> Result<Upload, ImageError> {
        let upload = self.images.upload(bytes_max).await;
        self.has_garbage.store(true, Relaxed); // Unless a version gets it.
        upload
    }

    /// Opens an image for reading, with its size in bytes.
    pub async fn image(&self, digest: &Digest) -> Result<(fs::File, u64), ImageError> {
        let (images, digest) = (self.images.clone(), *digest);
        let opened = spawn_blocking(move || images.open(&digest)).await;
        opened.unwrap_or(Err(ImageError::NotFound(digest)))
    }

    /// As [`Preparation::image`], if it is not damaged.
    async fn image_whole(&self, digest: &Digest) -> Result<fs::File, ImageError> {
        let (images, digest) = (self.images.clone(), *digest);
        let opened = spawn_blocking(move || images.open_whole(&digest)).await;
        Ok(opened.unwrap_or(Err(ImageError::NotFound(digest)))?.0)
    }

    /// Waits for its turn to build. Until the result is dropped, nothing is taken for garbage.
    pub(crate) async fn begin_build(&self) -> Result<Building<'_>, AcquireError> {
        let building = (self.builds.acquire().await?, self.stored.read().await);
        self.has_garbage.store(true, Relaxed);
        Ok(building)
    }

    /// Makes a snapshot of an image with these settings, has it known, and opens it. What `init` logged is returned with errors
    /// too.
    pub(crate) async fn build(
        self: &Arc<Self>,
        function: &FunctionId,
        image: &Digest,
        settings: &Settings,
        _building: &Building<'_>,
    ) -> (Result<Arc<OpenSnapshot>, BuildError>, Vec<LogRecord>) {
        let file = match self.image_whole(image).await {
            Ok(file) => file,
            Err(error) => return (Err(error.into()), vec![]),
        };
        let building = self.vms.build(file, settings, &self.snapshots_dir);
        let (built, logs) = building.await;
        let key = Key::new(function, image, settings);
        let keep = async {
            let digest = built.map_err(|error| failure::of_build(&error))?;
            let host = |text| BuildError::Host(text);
            let snapshot = self.open_snapshot(digest, function, settings).await;
            let snapshot = snapshot.map_err(|error| host(jiffy_control::error_chain(&error)))?;
            let this = Arc::clone(self);
            let known = spawn_blocking(move || this.known.set(key, digest)).await;
            known
                .map_err(|lost| host(open::task_lost(&lost)))?
                .map_err(|error| host(jiffy_control::error_chain(&error)))?;
            Ok(snapshot)
        };
        (keep.await, logs)
    }

    /// Uses a snapshot that was built for a version, once the catalog has it.
    pub(crate) fn adopt(&self, entry: &Entry, snapshot: Arc<OpenSnapshot>) {
        if let Some(live) = entry.live() {
            let slot = self.slots.of(entry, live);
            let deployed = self.use_snapshot(&slot, snapshot);
            self.keep_ready(&slot, &deployed);
        }
    }
}
