//! The one that writes: all that waits goes into one commit, which is durable before any of it is acknowledged.
//!
//! ```text
//! gather ──▶ begin ──▶ each job: check all its changes, then make them, or none ──▶ commit ──▶ acknowledge
//!                                                                             └─ fails ──▶ opened anew: was it durable?
//! ```

use std::{
    sync::{
        Arc,
        atomic::Ordering::SeqCst,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use jiffy_tables::TableFileError;
use redb::Error;
use tokio::sync::oneshot;

use crate::{
    Change, Condition, KvError, Limits, Shared, StoreId, Write, Written,
    tables::{self, Record, Sums, Tables},
    version_key,
};

/// Bytes of changes after which a commit takes no more.
const COMMIT_BYTES_MAX: usize = 16 << 20;
/// Jobs of one commit.
const COMMIT_JOBS_MAX: usize = 1024;
/// Entries that one commit collects.
const COLLECT_MAX: usize = 1024;
/// How often it is looked for something to collect when nobody writes.
const COLLECT_INTERVAL: Duration = Duration::from_secs(1);

/// What waits to be written.
pub(crate) struct Job {
    pub(crate) store: StoreId,
    /// `None`: the store is to be removed.
    pub(crate) writes: Option<Vec<Write>>,
    pub(crate) bytes: usize,
    pub(crate) done: oneshot::Sender<Outcome>,
}

type Outcome = Result<Vec<Written>, KvError>;

/// Why a transaction is not committed.
enum NoCommit {
    Unchanged,
    File(TableFileError),
}

impl From<TableFileError> for NoCommit {
    fn from(error: TableFileError) -> Self {
        Self::File(error)
    }
}

/// What a transaction came to.
#[derive(Default)]
struct Group {
    outcomes: Vec<Outcome>,
    collected: usize,
    /// The last version that it gave.
    version: Option<u64>,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    jobs: Receiver<Job>,
    /// There is more to collect than one commit does.
    is_behind: bool,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, jobs: Receiver<Job>) -> Self {
        Self {
            shared,
            jobs,
            is_behind: false,
        }
    }

    /// Writes until nobody can send jobs any more, and all that were sent are done.
    pub(crate) fn run(mut self) {
        loop {
            let wait = match self.is_behind {
                true => Duration::ZERO,
                false => COLLECT_INTERVAL,
            };
            match self.jobs.recv_timeout(wait) {
                Ok(first) => {
                    let jobs = self.gather(first);
                    self.commit(jobs);
                }
                Err(RecvTimeoutError::Timeout) => self.collect(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// `first` and what else waits.
    fn gather(&self, first: Job) -> Vec<Job> {
        let mut bytes = first.bytes;
        let mut jobs = vec![first];
        while bytes < COMMIT_BYTES_MAX && jobs.len() < COMMIT_JOBS_MAX {
            let Ok(job) = self.jobs.try_recv() else {
                break;
            };
            bytes += job.bytes;
            jobs.push(job);
        }
        jobs
    }

    fn collect(&mut self) {
        self.is_behind = false;
        let now_ms = self.shared.now_ms();
        match tables::next_garbage(&self.shared.file) {
            Ok((next_ms, has_removed)) => {
                if has_removed || next_ms.is_some_and(|next_ms| next_ms <= now_ms) {
                    self.commit(vec![]);
                }
            }
            Err(error) => tracing::warn!(%error, "cannot look for expired entries; trying again"),
        }
    }

    pub(crate) fn commit(&mut self, jobs: Vec<Job>) {
        let (mut work, mut waiting) = (vec![], vec![]);
        let bytes = jobs.iter().map(|job| job.bytes).sum();
        // Who waits no more may have asked again meanwhile, and would find it undone or done twice.
        for job in jobs.into_iter().filter(|job| !job.done.is_closed()) {
            work.push((job.store, job.writes));
            waiting.push(job.done);
        }
        let now_ms = self.shared.now_ms();
        let limits = self.shared.limits;
        let mut group = Group::default();
        let committed = self.shared.file.write(|transaction| {
            // After a kill, a file without it is read as a whole before it is opened.
            transaction.set_quick_repair(true);
            group = apply(&mut Tables::open(transaction)?, &work, now_ms, limits)?;
            match group.version.is_none() && group.collected == 0 {
                true => Ok(Err(NoCommit::Unchanged)),
                false => Ok(Ok(())),
            }
        });
        self.is_behind = committed.is_ok() && group.collected >= COLLECT_MAX;
        if let Err(NoCommit::File(error)) = committed
            && let Err(error) = self.after_failure(error.into(), group.version)
        {
            tracing::warn!(%error, "cannot write to the stores");
            group.outcomes = vec![Err(error); waiting.len()];
        }
        // They are in memory until here.
        self.shared.queued_bytes.fetch_sub(bytes, SeqCst);
        for (done, outcome) in waiting.into_iter().zip(group.outcomes) {
            // Nobody may wait any more.
            let _ = done.send(outcome);
        }
    }

    /// Whether a commit that failed is durable: the file, opened anew, tells.
    fn after_failure(&self, error: KvError, version: Option<u64>) -> Result<(), KvError> {
        let Some(version) = version else {
            return Err(error); // It did not come to a commit.
        };
        match tables::last_version(&self.shared.file) {
            Ok(last) if last < version => Err(error),
            Ok(_) => Ok(()),
            Err(again) => Err(KvError::Unknown(again.to_string())),
        }
    }
}

fn apply(
    tables: &mut Tables<'_>,
    work: &[(StoreId, Option<Vec<Write>>)],
    now_ms: u64,
    limits: Limits,
) -> Result<Group, Error> {
    let mut group = Group {
        // First, so that what has expired does not count any more.
        collected: tables.collect(now_ms, COLLECT_MAX)?,
        ..Group::default()
    };
    for (store, writes) in work {
        let outcome = match writes {
            Some(writes) => write(tables, store, writes, now_ms, limits)?,
            None => remove_store(tables, store)?,
        };
        let last = outcome.iter().flatten().last();
        group.version = last.map(|written| written.version).or(group.version);
        group.outcomes.push(outcome);
    }
    Ok(group)
}

fn remove_store(tables: &mut Tables<'_>, store: &StoreId) -> Result<Outcome, Error> {
    let existed = tables.remove_store(store)?;
    let version = tables.next_version()?;
    Ok(Ok(vec![Written { version, existed }]))
}

/// Makes all changes, or none.
fn write(
    tables: &mut Tables<'_>,
    id: &StoreId,
    writes: &[Write],
    now_ms: u64,
    limits: Limits,
) -> Result<Outcome, Error> {
    let store = tables.store(id)?;
    let puts = |write: &Write| !matches!(write.change, Change::Delete);
    let is_new = store.is_none() && writes.iter().any(puts);
    if is_new && tables.store_count()? >= limits.stores_max {
        return Ok(Err(KvError::TooManyStores(limits.stores_max)));
    }
    let mut sums = match store {
        Some(store) => tables.sums(store)?,
        None => Sums::default(),
    };
    let existed = match check(tables, id, sums, writes, now_ms, limits)? {
        Ok(existed) => existed,
        Err(error) => return Ok(Err(error)),
    };
    if is_new {
        sums.store = tables.new_store(id)?;
    }
    let mut written = Vec::with_capacity(writes.len());
    for (write, existed) in writes.iter().zip(existed) {
        let version = tables.next_version()?;
        match &write.change {
            Change::Put {
                value,
                metadata,
                ttl,
            } => {
                let expires_ms = ttl.map(|ttl| {
                    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
                    now_ms.saturating_add(ttl_ms)
                });
                let record = Record::new(version, expires_ms, metadata, value);
                tables.put(&mut sums, &write.key, &record)?;
            }
            Change::Append { value, metadata } => {
                let record = Record::new(version, None, metadata, value);
                tables.put(&mut sums, &version_key(version), &record)?;
            }
            Change::Delete => tables.remove(&mut sums, &write.key)?,
        }
        written.push(Written { version, existed });
    }
    if is_new || store.is_some() {
        tables.set_sums(sums)?;
    }
    Ok(Ok(written))
}

/// Whether all changes can be made: for each whether its entry is there.
fn check(
    tables: &Tables<'_>,
    id: &StoreId,
    sums: Sums,
    writes: &[Write],
    now_ms: u64,
    limits: Limits,
) -> Result<Result<Vec<bool>, KvError>, Error> {
    let mut existed = Vec::with_capacity(writes.len());
    let mut bytes = sums.bytes;
    for write in writes {
        if let Change::Append { value, metadata } = &write.change {
            // Nobody has its version yet.
            let record = Record::new(0, None, metadata, value);
            bytes = bytes.saturating_add(record.cost_bytes(&version_key(0)));
            existed.push(false);
            continue;
        }
        let (found, cost_bytes) = tables.look(sums.store, &write.key, now_ms)?;
        let holds = match write.condition {
            Condition::None => true,
            Condition::Absent => found.is_none(),
            Condition::Present => found.is_some(),
            Condition::Version(version) => found == Some(version),
        };
        if !holds {
            return Ok(Err(KvError::Conflict {
                key: write.key.clone(),
                wanted: write.condition,
                found,
            }));
        }
        existed.push(found.is_some());
        bytes = bytes.saturating_sub(cost_bytes.unwrap_or(0));
        if let Change::Put {
            value, metadata, ..
        } = &write.change
        {
            bytes =
                bytes.saturating_add(Record::new(0, None, metadata, value).cost_bytes(&write.key));
        }
    }
    // What makes room is taken also where the limit was lowered below what there is.
    if bytes > sums.bytes && bytes > limits.store_bytes_max {
        return Ok(Err(KvError::StoreFull {
            store: id.name().into(),
            bytes,
            bytes_max: limits.store_bytes_max,
        }));
    }
    Ok(Ok(existed))
}
