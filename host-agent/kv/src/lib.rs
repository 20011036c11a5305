//! Stores of keys and values: durable before they are acknowledged, linearizable on one host.
//!
//! ```text
//! get, list ──▶ a read transaction, in the caller's thread        sees all that was acknowledged before it began
//! write ──▶ queue ──▶ one writer thread ──▶ one commit for all that wait ──▶ acknowledged together
//!                        └── what has expired, and what is left of removed stores, a bounded part with each commit
//! ```
//!
//! A write is one or more changes of one store, all or none; each may have a condition on the version of its entry. Versions
//! only grow and are given once, also over a deletion. What has expired is not there for anybody from that moment on;
//! it counts for its store until it is collected.
//! Not here: who may use which store (`jiffy-capabilities`), HTTP (the agent), queues, which are made of stores (`jiffy-queue`).
#![forbid(unsafe_code)]

mod error;
mod tables;
mod writer;

use std::{
    fmt,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    task::{Context, Poll, ready},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use jiffy_model::TenantName;
use jiffy_tables::{Open, TableFile};
use redb::{Database, backends::InMemoryBackend};
use tokio::sync::oneshot;

pub use self::error::KvError;
use self::{
    error::Unfit,
    tables::Reader,
    writer::{Job, Writer},
};

/// Bytes of a key.
pub const KEY_BYTES_MAX: usize = 512;
/// Bytes of a value.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Bytes of an entry's metadata.
pub const METADATA_BYTES_MAX: usize = 1 << 10;
/// Changes of one write.
pub const BATCH_MAX: usize = 128;
/// Entries of one page of a list.
pub const PAGE_MAX: usize = 1000;
/// Longest time to live: ten years.
pub const TTL_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// What an entry counts for its store beside key, value and metadata, bytes.
pub const ENTRY_OVERHEAD_BYTES: u64 = 64;
/// Bytes of all writes that wait for the writer.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;
/// What a write or a removal has in memory besides what it is to change, bytes, rounded up.
const JOB_BYTES: usize = 512;

/// Bytes of the file that are kept in memory at most.
const CACHE_BYTES: usize = 64 << 20;

/// What stores may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one store: keys, values, metadata, and [`ENTRY_OVERHEAD_BYTES`] for each entry.
    pub store_bytes_max: u64,
    /// Stores of all tenants.
    pub stores_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            store_bytes_max: 1 << 30,
            stores_max: 10_000,
        }
    }
}

/// Tells the time, milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The host's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
    })
}

/// A store of a tenant. Its text is unique, as that of a function's id is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(String);

impl StoreId {
    /// The store `name` of `tenant`, whose own name has no slash.
    pub fn new(tenant: &TenantName, name: &str) -> Self {
        Self(format!("{tenant}/{name}"))
    }

    fn text(&self) -> &str {
        &self.0
    }

    /// What its tenant calls it.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

/// What is under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its version.
    pub version: u64,
    /// Its value.
    pub value: Vec<u8>,
    /// What was said of it.
    pub metadata: String,
    /// When it expires, milliseconds since 1970.
    pub expires_ms: Option<u64>,
}

/// An entry in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its version.
    pub version: u64,
    /// Bytes of its value.
    pub value_bytes: u32,
    /// What was said of it.
    pub metadata: String,
    /// When it expires, milliseconds since 1970.
    pub expires_ms: Option<u64>,
}

/// A part of a list, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Listed>,
    /// The cursor of the next part, if there may be one. A part may be short, or empty, and not the last.
    pub next: Option<String>,
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug)]
pub struct ListOptions<'a> {
    /// Only keys that begin so.
    pub prefix: &'a str,
    /// Only keys behind this one.
    pub cursor: Option<&'a str>,
    /// At most so many, up to [`PAGE_MAX`].
    pub limit: usize,
}

/// A store, as a list of them has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreInfo {
    /// What its tenant calls it.
    pub name: String,
    /// Its entries, with those that have expired and are not collected yet.
    pub entries: u64,
    /// What they count, bytes.
    pub bytes: u64,
}

/// What has to be so for a change to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// There is no entry.
    Absent,
    /// There is an entry.
    Present,
    /// There is an entry of this version.
    Version(u64),
}

/// What becomes of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is made, or replaced as a whole.
    Put {
        /// Its value.
        value: Vec<u8>,
        /// What is said of it: printable ASCII.
        metadata: String,
        /// When it expires; `None`: never.
        ttl: Option<Duration>,
    },
    /// One is made behind all others that were made so: its key is its version, as [`version_key`] writes it. What its write says of a key
    /// and a condition is not looked at.
    Append {
        /// Its value.
        value: Vec<u8>,
        /// What is said of it: printable ASCII.
        metadata: String,
    },
    /// It is removed, if it is there.
    Delete,
}

/// Characters of a version as a key.
pub const VERSION_KEY_CHARS: usize = 16;

/// A version as a key: hexadecimal digits, so many that keys sort as versions do.
pub fn version_key(version: u64) -> String {
    format!("{version:0VERSION_KEY_CHARS$x}")
}

/// One change of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The entry's key.
    pub key: String,
    /// What has to be so.
    pub condition: Condition,
    /// What becomes of it.
    pub change: Change,
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The version that the entry got, or that its deletion got.
    pub version: u64,
    /// Whether there was an entry before.
    pub existed: bool,
}

/// A write that is under way. If this is dropped before its turn comes, it is not made; once it is in a commit, it is.
#[derive(Debug)]
#[must_use = "a write that nobody waits for is not made"]
pub struct Writing(Result<oneshot::Receiver<Result<Vec<Written>, KvError>>, Option<KvError>>);

impl Writing {
    fn refused(error: KvError) -> Self {
        Self(Err(Some(error)))
    }

    /// Waits in place. Not for tasks of a runtime.
    pub fn wait(self) -> Result<Vec<Written>, KvError> {
        match self.0 {
            Ok(done) => done.blocking_recv().unwrap_or(Err(KvError::Stopped)),
            Err(error) => Err(error.unwrap_or(KvError::Stopped)),
        }
    }
}

impl Future for Writing {
    type Output = Result<Vec<Written>, KvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match &mut self.0 {
            Ok(done) => ready!(Pin::new(done).poll(context)).unwrap_or(Err(KvError::Stopped)),
            Err(error) => Err(error.take().unwrap_or(KvError::Stopped)),
        })
    }
}

/// What reader and writer share.
struct Shared {
    file: TableFile,
    clock: Clock,
    /// The latest time that was seen, so that nothing that has expired comes back.
    seen_ms: AtomicU64,
    limits: Limits,
    queued_bytes: AtomicUsize,
}

impl Shared {
    fn now_ms(&self) -> u64 {
        let now_ms = (self.clock)();
        self.seen_ms.fetch_max(now_ms, SeqCst).max(now_ms)
    }
}

/// All stores of a host.
pub struct Kv {
    shared: Arc<Shared>,
    /// None when it ends.
    queue: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl fmt::Debug for Kv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kv")
            .field("file", &self.shared.file)
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}

impl Kv {
    /// Opens the stores in the file `path`, or makes it, with mode 0600. One process at a time can have it.
    pub fn open(path: &Path, limits: Limits, clock: Clock) -> Result<Self, KvError> {
        Self::new(TableFile::open_cached(path, CACHE_BYTES)?, limits, clock)
    }

    /// Stores that are in memory and end with this.
    pub fn in_memory(limits: Limits, clock: Clock) -> Result<Self, KvError> {
        let open = || Database::builder().create_with_backend(InMemoryBackend::new());
        Self::with_open(Box::new(open), limits, clock)
    }

    /// The stores in what `open` opens.
    pub fn with_open(open: Open, limits: Limits, clock: Clock) -> Result<Self, KvError> {
        Self::new(TableFile::with_open(Path::new("kv"), open)?, limits, clock)
    }

    fn new(file: TableFile, limits: Limits, clock: Clock) -> Result<Self, KvError> {
        tables::prepare(&file)?;
        let shared = Arc::new(Shared {
            file,
            clock,
            seen_ms: AtomicU64::new(0),
            limits,
            queued_bytes: AtomicUsize::new(0),
        });
        let (queue, jobs) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&shared), jobs);
        let thread = thread::Builder::new().name("kv".into());
        let thread = thread.spawn(move || writer.run());
        Ok(Self {
            shared,
            queue: Some(queue),
            writer: Some(thread.map_err(KvError::thread)?),
        })
    }

    /// What is under `key`.
    pub fn get(&self, store: &StoreId, key: &str) -> Result<Option<Entry>, KvError> {
        error::check_key(key)?;
        let now_ms = self.shared.now_ms();
        let file = &self.shared.file;
        file.read(|transaction| match Reader::open(transaction, store)? {
            Some(reader) => Ok(Ok(reader.get(key, now_ms)?)),
            None => Ok(Ok(None)),
        })
    }

    /// A part of a store's entries.
    pub fn list(&self, store: &StoreId, options: ListOptions<'_>) -> Result<Page, KvError> {
        if !(1..=PAGE_MAX).contains(&options.limit) {
            return Err(Unfit::Limit(options.limit).into());
        }
        let long = [Some(options.prefix), options.cursor];
        if let Some(key) = long
            .into_iter()
            .flatten()
            .find(|key| key.len() > KEY_BYTES_MAX)
        {
            return Err(Unfit::Key(key.len()).into());
        }
        let now_ms = self.shared.now_ms();
        let file = &self.shared.file;
        file.read(|transaction| match Reader::open(transaction, store)? {
            Some(reader) => Ok(Ok(reader.list(options, now_ms)?)),
            None => Ok(Ok(Page::default())),
        })
    }

    /// The stores of `tenant`, by name, at most `limit` of them behind `after`.
    pub fn stores(
        &self,
        tenant: &TenantName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoreInfo>, KvError> {
        let file = &self.shared.file;
        file.read(|transaction| Ok(Ok(tables::stores(transaction, tenant, after, limit)?)))
    }

    /// Makes all changes of `writes`, or none. When it is acknowledged it is durable, and whoever reads sees it.
    pub fn write(&self, store: StoreId, writes: Vec<Write>) -> Writing {
        match error::check_writes(&writes) {
            Ok(()) => self.enqueue(store, Some(writes)),
            Err(error) => Writing::refused(error.into()),
        }
    }

    /// Removes a store with all that is in it; `existed` says whether it was there.
    pub fn remove_store(&self, store: StoreId) -> Writing {
        self.enqueue(store, None)
    }

    fn enqueue(&self, store: StoreId, writes: Option<Vec<Write>>) -> Writing {
        let bytes = JOB_BYTES + writes.iter().flatten().map(size_bytes).sum::<usize>();
        let queued = &self.shared.queued_bytes;
        if queued.fetch_add(bytes, SeqCst) + bytes > QUEUE_BYTES_MAX {
            queued.fetch_sub(bytes, SeqCst);
            return Writing::refused(KvError::Busy);
        }
        let (done, receiver) = oneshot::channel();
        let job = Job {
            store,
            writes,
            bytes,
            done,
        };
        match self.queue.as_ref().map(|queue| queue.send(job)) {
            Some(Ok(())) => Writing(Ok(receiver)),
            Some(Err(_)) | None => {
                queued.fetch_sub(bytes, SeqCst);
                Writing::refused(KvError::Stopped)
            }
        }
    }
}

/// What a change has in memory while it waits.
fn size_bytes(write: &Write) -> usize {
    let value_bytes = match &write.change {
        Change::Put {
            value, metadata, ..
        }
        | Change::Append { value, metadata } => value.len() + metadata.len(),
        Change::Delete => 0,
    };
    size_of::<Write>() + write.key.len() + value_bytes
}

/// What was begun is done.
impl Drop for Kv {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A panic was reported when it happened.
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests;
