//! The agent without its APIs: what is deployed, what this host has of it, and requests; and from its start to its end.
//!
//! ```text
//! deploy    prepare: built, snapshot durable ─▶ catalog: durable ─▶ in memory      visible from here on
//! invoke    catalog: a version ─▶ prepare: its snapshot ─▶ pool: a VM ─▶ response ── after it ─▶ logs, usage, working set
//! change    catalog ─▶ prepare follows
//! ```
//!
//! Here are only the verbs that need more than one of them. Not here: HTTP (`api`, `lambda`); changes of what is deployed
//! (`catalog`); snapshots (`prepare`); requests (`invoke`).

mod deploy;

use std::{
    collections::HashSet,
    fmt,
    path::Path,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use jiffy_capabilities::Invoker;
use jiffy_control::error_chain;
use jiffy_kv::{Kv, KvError, system_clock};
use jiffy_queue::{FileQueues, QueueError, Queues};
use jiffy_secrets::{MasterKeySource, Secrets, SecretsError};
use jiffy_snapshots::{PrivateDirError, private_dir};
use parking_lot::{Mutex, RwLock};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

pub use self::deploy::{DeployError, DeployErrorKind, DeployOutcome, Mode, Plan};
pub use crate::{
    catalog::{AliasBefore, ChangeError, Publication},
    invoke::{
        HttpEvent, InvokeFacts, InvokeFailure, InvokeInput, Invoked, LOG_TAIL_BYTES_MAX, NoAnswer,
        Timings, UnpackHttp,
    },
    prepare::{BuildError, HostIdentity, Readiness},
};
use crate::{
    catalog::{Catalog, Limits, RedbRegistry, Registry, RegistryError},
    config::Config,
    images::{ImageError, Upload},
    invoke::Invocation,
    logs::Logs,
    metrics::Metrics,
    model::{Function, FunctionId, Qualifier, Version, VersionNumber},
    observe::{Observer, ObserverError},
    pool::{Pool, PoolConfig},
    prepare::{Preparation, PrepareError},
    symbols::Symbolizer,
    usage::Usage,
    vm::Vms,
};

/// How often it is looked whether deploys have ended, when the agent stops.
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// How often it is looked for something to tidy up.
const KEEPER_INTERVAL: Duration = Duration::from_secs(10);
/// Every how many looks garbage is collected although nothing was deployed or deleted: for uploads that grew old.
const COLLECT_EVERY: u64 = 90;

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum StartError {
    #[error("cannot use the data directory")]
    DataDir(#[source] PrivateDirError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
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
    /// What keeps what is deployed.
    pub registry: Arc<dyn Registry>,
    /// The stores of keys and values.
    pub kv: Arc<Kv>,
    /// The queues.
    pub queues: Arc<dyn Queues>,
    /// The secrets.
    pub secrets: Arc<Secrets>,
    /// What functions invoke others by: the service answers.
    pub invoker: Invoker,
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
    /// What is deployed.
    pub catalog: Arc<Catalog>,
    /// What this host has of it.
    pub prepare: Arc<Preparation<V>>,
    /// The stores of keys and values.
    pub kv: Arc<Kv>,
    /// The queues.
    pub queues: Arc<dyn Queues>,
    /// The secrets.
    pub secrets: Arc<Secrets>,
    invocation: Arc<Invocation<V>>,
    pool: Arc<Pool<V>>,
    observer: Arc<Observer>,
    config: RwLock<Arc<Config>>,
    /// Functions that are being deployed.
    deploying: Mutex<HashSet<FunctionId>>,
    is_stopping: AtomicBool,
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
    Ok(Arc::new(RedbRegistry::open(&data_dir.join("registry"))?))
}

/// Opens the stores of keys and values in the data directory of `config`, which is there already.
pub fn open_kv(config: &Config) -> Result<Arc<Kv>, KvError> {
    let limits = jiffy_kv::Limits {
        store_bytes_max: config.kv.store_bytes_max,
        stores_max: config.kv.stores_max,
    };
    let path = config.data_dir.join("kv");
    Kv::open(&path, limits, system_clock()).map(Arc::new)
}

/// Opens the queues in the data directory of `config`, which is there already.
pub fn open_queues(config: &Config) -> Result<Arc<dyn Queues>, QueueError> {
    let limits = jiffy_queue::Limits {
        queue_bytes_max: config.queue.queue_bytes_max,
        queues_max: config.queue.queues_max,
    };
    let path = config.data_dir.join("queues");
    Ok(Arc::new(FileQueues::open(&path, limits, system_clock())?))
}

/// Opens the secrets in the data directory of `config`, which is there already. `credentials_dir` is that of systemd.
pub fn open_secrets(
    config: &Config,
    credentials_dir: Option<&Path>,
) -> Result<Arc<Secrets>, SecretsError> {
    let data_dir = &config.data_dir;
    let configured = config.secrets.master_key_file.as_deref();
    let key = MasterKeySource::find(configured, credentials_dir, data_dir);
    Secrets::open(&data_dir.join("secrets"), key).map(Arc::new)
}

impl<V: Vms> Service<V> {
    /// Starts a service: reads the registry, begins to make shells, to rebuild the snapshots of another host and to
    /// collect garbage. Needs a tokio runtime to be called in. Blocks for a moment.
    pub fn start(parts: Parts<V>) -> Result<Arc<Self>, StartError> {
        let config = parts.config;
        let observer = Arc::new(Observer::open(&config.data_dir, config.logs, config.usage)?);
        let limits = Limits {
            functions_max: config.limits.functions_max,
            versions_max: config.limits.versions_max,
            aliases_max: config.limits.aliases_max,
        };
        let catalog = Catalog::new(parts.registry, limits)?;
        let pool = Pool::new(Arc::clone(&parts.vms), parts.pool);
        let prepare = Preparation::new(
            &config,
            &parts.host,
            parts.vms,
            Arc::clone(&pool),
            Arc::clone(&catalog),
            Arc::clone(&observer),
        )?;
        let invocation = Arc::new(Invocation {
            catalog: Arc::clone(&catalog),
            prepare: Arc::clone(&prepare),
            pool: Arc::clone(&pool),
            observer: Arc::clone(&observer),
            symbolizer: parts.symbolizer,
        });
        let answering: Weak<Invocation<V>> = Arc::downgrade(&invocation);
        parts.invoker.set(answering);
        let follower = Arc::downgrade(&prepare);
        catalog.followed_by(Box::new(move |followed| {
            if let Some(prepare) = follower.upgrade() {
                prepare.follow(&followed);
            }
        }));
        prepare.begin();
        let service = Arc::new(Self {
            catalog,
            prepare,
            kv: parts.kv,
            queues: parts.queues,
            secrets: parts.secrets,
            invocation,
            pool,
            observer,
            config: RwLock::new(Arc::new(config)),
            deploying: Mutex::default(),
            is_stopping: AtomicBool::new(false),
        });
        service.spawn_keeper();
        Ok(service)
    }

    /// Starts the task that tidies up, for as long as the service lives.
    fn spawn_keeper(self: &Arc<Self>) {
        let this = Arc::downgrade(self);
        tokio::spawn(async move {
            for look in 1_u64.. {
                let Some(service) = this.upgrade() else {
                    return;
                };
                if look % COLLECT_EVERY == 0 {
                    service.prepare.has_garbage();
                }
                service.tidy().await;
                drop(service);
                sleep(KEEPER_INTERVAL).await;
            }
        });
    }

    /// Catches up with the registry if it could not be read, and collects garbage.
    async fn tidy(self: &Arc<Self>) {
        let this = Arc::clone(self);
        let age = Duration::from_millis(self.config().limits.unused_image_ms_max);
        let tidied = spawn_blocking(move || {
            if let Err(error) = this.catalog.follow() {
                tracing::warn!(error = %error_chain(&error), "cannot read back a change; trying again");
            }
            this.prepare.tidy(age);
        });
        if let Err(error) = tidied.await
            && error.is_panic()
        {
            tracing::error!(%error, "tidying up panicked");
        }
    }

    /// The configuration as it is now; limits and secrets may change with a reload.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read())
    }

    /// Takes another configuration. Returns the keys that take effect only at the next start.
    pub fn reload(&self, mut config: Config) -> Vec<String> {
        let mut now = self.config.write();
        let mut needs_restart = now.needs_restart(&config);
        self.prepare.reload(&config);
        // It goes on listening where it does, and beyond loopback not without a token.
        config.settings.listen = now.listen;
        if config.token.is_none() && !now.listen.ip().is_loopback() {
            config.token.clone_from(&now.token);
            needs_restart.push("token_file".into());
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
            functions: self.catalog.len(),
            rebuilding: self.prepare.rebuilding(),
            stopping: self.is_stopping.load(Relaxed),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// Begins an upload: `write` its pieces, then `finish`.
    pub async fn upload(&self) -> Result<Upload, ImageError> {
        let bytes_max = self.config().limits.image_bytes_max;
        self.prepare.upload(bytes_max).await
    }

    /// Sends a request to a function.
    pub async fn invoke(
        &self,
        name: &FunctionId,
        qualifier: &Qualifier,
        input: InvokeInput,
    ) -> Result<Invoked, InvokeFailure> {
        self.invocation.invoke(name, qualifier, input).await
    }

    /// The version that `qualifier` leads to; for a weighted alias its main one.
    pub fn resolve(&self, name: &FunctionId, qualifier: &Qualifier) -> Result<Version, NoAnswer> {
        self.invocation.resolve(name, qualifier)
    }

    /// Makes `to` live, or the version before the live one. Its snapshot is opened first, and rebuilt if it has to be.
    pub async fn rollback(
        &self,
        name: &FunctionId,
        to: Option<VersionNumber>,
    ) -> Result<Function, ChangeError> {
        let entry = self.catalog.entry(name)?;
        let earlier = entry.versions.range(..entry.function.live);
        let to = to.or_else(|| earlier.map(|(number, _)| *number).next_back());
        let to = to.ok_or_else(|| ChangeError::NoEarlierVersion(name.clone()))?;
        let slot = self.prepare.slot(&entry, entry.published(to)?);
        let opened = self.prepare.deployed(&slot).await;
        opened.map_err(|failure| ChangeError::Platform(failure.text))?;
        self.catalog.set_live(name, to).await
    }

    /// Refuses new requests and deploys, and waits up to `limit` for those under way. Then logs and usage are on disk.
    pub async fn drain(&self, limit: Duration) {
        self.is_stopping.store(true, Relaxed);
        let deadline = Instant::now() + limit;
        let busy = self.pool.drain(deadline).await;
        if busy > 0 {
            tracing::warn!(busy, "requests were not done in time and are ended");
        }
        while !self.deploying.lock().is_empty() && Instant::now() < deadline {
            sleep(DRAIN_POLL).await;
        }
    }
}

/// How the agent is.
#[derive(Clone, Debug, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Health {
    /// Functions that are deployed.
    pub functions: usize,
    /// Versions whose snapshots wait to be made again.
    pub rebuilding: usize,
    /// Whether the agent stops: it takes no more requests and ends those that it has.
    pub stopping: bool,
    /// Version of the agent.
    pub version: &'static str,
}

#[cfg(test)]
mod tests;
