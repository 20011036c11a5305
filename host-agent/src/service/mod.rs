//! The verbs of the agent: deploy, describe, invoke, delete and the rest. APIs only translate them.
//!
//! ```text
//! deploy    image ─▶ vms.build ─▶ snapshot durable ─▶ registry transaction ─▶ directory        visible from here on
//! invoke    directory ─▶ open snapshot ─▶ pool lease ─▶ VM ─▶ response ── after it ─▶ logs, usage, working set
//! ```
//!
//! The directory mirrors the registry in memory, so invoking and reading never touch the disk. A change goes to the
//! registry first and is then read back into the directory; whoever sees it there finds it again after a crash.
//! Not here: HTTP (`api`, `lambda`); which VM a request gets (`pool`).

#[path = "../catalog/attach.rs"]
mod attach;
#[path = "../catalog/change.rs"]
mod change;
#[path = "../prepare/collect.rs"]
mod collect;
#[path = "../prepare/damage.rs"]
mod damage;
mod deploy;
#[path = "../catalog/directory.rs"]
mod directory;
#[path = "../invoke/failure.rs"]
mod failure;
#[path = "../prepare/host.rs"]
mod host;
#[path = "../invoke/run.rs"]
mod invoke;
#[path = "../prepare/open.rs"]
mod open;
mod outcome;

use std::{
    collections::HashSet,
    fmt, fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiffy_control::error_chain;
use jiffy_snapshots::{Digest, PrivateDirError, Store, StoreError, private_dir};
use tokio::{
    sync::{RwLock as AsyncRwLock, Semaphore},
    task::spawn_blocking,
    time::{Instant, sleep},
};

use self::directory::{Directory, Entry};
pub use self::{
    attach::Readiness,
    deploy::{Mode, Plan},
    host::HostIdentity,
    outcome::{
        ChangeError, DeployError, DeployErrorKind, DeployOutcome, Health, HttpEvent, InvokeFacts,
        InvokeFailure, InvokeInput, Invoked, LOG_TAIL_BYTES_MAX, NoAnswer, Timings, UnpackHttp,
    },
};
use crate::{
    config::Config,
    images::{ImageError, Images, Upload},
    logs::Logs,
    metrics::Metrics,
    model::{Function, FunctionName, Version, VersionNumber},
    observe::{Observer, ObserverError},
    pool::{Pool, PoolConfig},
    registry::{RedbRegistry, Registry, RegistryError, RegistryLimits},
    symbols::Symbolizer,
    usage::Usage,
    vm::Vms,
};

/// How often it is looked whether deploys have ended, when the agent stops.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum StartError {
    #[error("cannot use the data directory")]
    DataDir(#[source] PrivateDirError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Images(#[from] ImageError),
    #[error(transparent)]
    Snapshots(#[from] StoreError),
    #[error(transparent)]
    Observer(#[from] ObserverError),
}

/// What a service is made of.
pub struct Parts<V> {
    /// Makes VMs.
    pub vms: Arc<V>,
    /// What the pool may use.
    pub pool: PoolConfig,
    /// The configuration.
    pub config: Config,
    /// What snapshots of this host are made with.
    pub host: HostIdentity,
    /// What is deployed.
    pub registry: Arc<dyn Registry>,
    /// What names functions, files and lines of a backtrace.
    pub symbolizer: Option<Symbolizer>,
}

impl<V> fmt::Debug for Parts<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("config", &self.config)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// The agent without its APIs.
pub struct Service<V: Vms> {
    config: RwLock<Arc<Config>>,
    vms: Arc<V>,
    pool: Arc<Pool<V>>,
    host: HostIdentity,
    registry: Arc<dyn Registry>,
    symbolizer: Option<Symbolizer>,
    directory: Directory,
    /// Held while the registry is changed and the directory follows, so that both change in one order.
    changes: Mutex<()>,
    images: Images,
    snapshots: Store,
    snapshots_dir: PathBuf,
    /// Read-locked while something is built that no version has yet; the collector of garbage takes it for itself.
    stored: Arc<AsyncRwLock<()>>,
    builds: Semaphore,
    /// Held while a snapshot is looked at for damage, and a while longer.
    checks: Arc<Semaphore>,
    /// Functions that are being deployed.
    deploying: Mutex<HashSet<FunctionName>>,
    /// Functions of which the directory may not be what the registry has.
    stale: Mutex<HashSet<FunctionName>>,
    has_garbage: AtomicBool,
    /// What was said to be in the way of collecting it.
    told: Mutex<HashSet<String>>,
    rebuilding: AtomicUsize,
    is_stopping: AtomicBool,
    observer: Observer,
}

impl<V: Vms> fmt::Debug for Service<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("config", &self.config())
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

/// Opens the registry in the data directory of `config`, which is made if its parent is there.
pub fn open_registry(config: &Config) -> Result<Arc<dyn Registry>, StartError> {
    let data_dir = &config.data_dir;
    // Environments of functions are in the registry and in snapshots, and may hold secrets.
    if let Some(mode) = private_dir(data_dir).map_err(StartError::DataDir)? {
        tracing::warn!(
            path = %data_dir.display(),
            mode = format!("{mode:04o}"),
            "others could enter the data directory: it is closed to them now, but what they have read they know"
        );
    }
    let limits = RegistryLimits {
        functions_max: config.limits.functions_max,
        versions_max: config.limits.versions_max,
        aliases_max: config.limits.aliases_max,
    };
    Ok(Arc::new(RedbRegistry::open(
        &data_dir.join("registry"),
        limits,
    )?))
}

impl<V: Vms> Service<V> {
    /// Starts a service: reads the registry, begins to make shells, to rebuild the snapshots of another host and to
    /// collect garbage. Needs a tokio runtime to be called in. Blocks for a moment.
    pub fn start(parts: Parts<V>) -> Result<Arc<Self>, StartError> {
        let config = parts.config;
        let snapshots_dir = config.data_dir.join("snapshots");
        let open_max = config.limits.open_snapshots_max as usize;
        let service = Arc::new(Self {
            pool: Pool::new(Arc::clone(&parts.vms), parts.pool),
            vms: parts.vms,
            host: parts.host,
            directory: Directory::read(&*parts.registry, open_max)?,
            registry: parts.registry,
            symbolizer: parts.symbolizer,
            changes: Mutex::new(()),
            images: Images::new(config.data_dir.join("images"))?,
            snapshots: Store::new(&snapshots_dir)?,
            snapshots_dir,
            stored: Arc::default(),
            builds: Semaphore::new(config.limits.builds_max as usize),
            checks: Arc::new(Semaphore::new(1)),
            deploying: Mutex::default(),
            stale: Mutex::default(),
            // What a killed agent left.
            has_garbage: AtomicBool::new(true),
            told: Mutex::default(),
            rebuilding: AtomicUsize::new(0),
            is_stopping: AtomicBool::new(false),
            observer: Observer::open(
                &config.data_dir,
                (&config.logs).into(),
                (&config.usage).into(),
            )?,
            config: RwLock::new(Arc::new(config)),
        });
        service.spawn_rebuilds();
        service.spawn_keeper();
        Ok(service)
    }

    /// The configuration as it is now; limits and secrets may change with a reload.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes another configuration. Returns the keys that take effect only at the next start.
    pub fn reload(&self, mut config: Config) -> Vec<&'static str> {
        let mut now = self.config.write().unwrap_or_else(PoisonError::into_inner);
        let mut needs_restart = now.needs_restart(&config);
        self.directory
            .set_open_max(config.limits.open_snapshots_max as usize);
        // It goes on listening where it does, and beyond loopback not without a token.
        config.settings.listen = now.listen;
        if config.token.is_none() && !now.listen.ip().is_loopback() {
            config.token.clone_from(&now.token);
            needs_restart.push("token_file");
        }
        *now = Arc::new(config);
        needs_restart
    }

    /// The VMs.
    pub fn pool(&self) -> &Arc<Pool<V>> {
        &self.pool
    }

    /// Logs of functions.
    pub fn logs(&self) -> &Arc<Logs> {
        self.observer.logs()
    }

    /// What requests took.
    pub fn usage(&self) -> &Arc<Usage> {
        self.observer.usage()
    }

    /// What is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        self.observer.metrics()
    }

    /// Waits until logs and usage of all that happened before are on disk. Blocks.
    pub fn flush(&self) {
        self.observer.flush();
    }

    /// How the agent is.
    pub fn health(&self) -> Health {
        Health {
            functions: self.directory.len(),
            rebuilding: self.rebuilding.load(Relaxed),
            stopping: self.is_stopping.load(Relaxed),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// Begins an upload: `write` its pieces, then `finish`.
    pub async fn upload(&self) -> Result<Upload, ImageError> {
        let bytes_max = self.config().limits.image_bytes_max;
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

    /// As [`Service::image`], if it is not damaged.
    pub(super) async fn image_whole(&self, digest: &Digest) -> Result<(fs::File, u64), ImageError> {
        let (images, digest) = (self.images.clone(), *digest);
        let opened = spawn_blocking(move || images.open_whole(&digest)).await;
        opened.unwrap_or(Err(ImageError::NotFound(digest)))
    }

    /// A function.
    pub fn function(&self, name: &FunctionName) -> Result<Function, ChangeError> {
        Ok(self.entry(name)?.function.clone())
    }

    /// Up to `limit` functions behind `after`, by name.
    pub fn functions(&self, after: Option<&FunctionName>, limit: usize) -> Vec<Function> {
        let entries = self.directory.list(after, limit);
        entries.iter().map(|entry| entry.function.clone()).collect()
    }

    /// How many functions there are, and how many bytes their versions' images have.
    pub fn code_size(&self) -> (usize, u64) {
        let entries = self.directory.list(None, usize::MAX);
        let versions = entries.iter().flat_map(|entry| entry.versions.values());
        let bytes = versions.map(|slot| slot.version.image_bytes).sum();
        (entries.len(), bytes)
    }

    /// VMs that functions have for themselves, together.
    pub fn reserved_concurrency(&self) -> u64 {
        let entries = self.directory.list(None, usize::MAX);
        let reserved = entries
            .iter()
            .filter_map(|entry| entry.function.reserved_concurrency);
        reserved.map(u64::from).sum()
    }

    /// A version.
    pub fn version(
        &self,
        name: &FunctionName,
        version: VersionNumber,
    ) -> Result<Version, ChangeError> {
        let entry = self.entry(name)?;
        let slot = entry.versions.get(&version);
        let slot = slot.ok_or_else(|| RegistryError::NoVersion(name.clone(), version))?;
        Ok(slot.version.clone())
    }

    /// Up to `limit` versions behind `after`, ascending.
    pub fn versions(
        &self,
        name: &FunctionName,
        after: Option<VersionNumber>,
        limit: usize,
    ) -> Result<Vec<Version>, ChangeError> {
        let entry = self.entry(name)?;
        let slots = entry.versions.values();
        let behind = slots.filter(|slot| after.is_none_or(|after| slot.version.number > after));
        Ok(behind
            .take(limit)
            .map(|slot| slot.version.clone())
            .collect())
    }

    /// Refuses new requests and deploys, and waits up to `limit` for those under way. Then logs and usage are on disk.
    pub async fn drain(&self, limit: Duration) {
        self.is_stopping.store(true, Relaxed);
        let deadline = Instant::now() + limit;
        let busy = self.pool.drain(deadline).await;
        if busy > 0 {
            tracing::warn!(busy, "requests were not done in time and are ended");
        }
        while !lock(&self.deploying).is_empty() && Instant::now() < deadline {
            sleep(DRAIN_POLL).await;
        }
    }

    fn entry(&self, name: &FunctionName) -> Result<Arc<Entry>, RegistryError> {
        let entry = self.directory.get(name);
        entry.ok_or_else(|| RegistryError::NoFunction(name.clone()))
    }

    fn snapshots_dir(&self) -> &Path {
        &self.snapshots_dir
    }
}

/// Why a snapshot cannot be used now.
#[derive(Clone, Debug)]
struct OpenFailure {
    at: Instant,
    text: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// What to say of a task of ours that panicked or was ended.
fn task_lost(error: &tokio::task::JoinError) -> String {
    format!("a task of the agent was lost: {}", error_chain(error))
}

#[cfg(test)]
mod tests;
