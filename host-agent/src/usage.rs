//! What each request took: a record per request, and sums per function.
//!
//! ```text
//! <dir>/0000000000000042.jsonl   one line per request, rotated
//! <dir>/sums.jsonl               sums per function and minute or hour, and how far in the lines they go
//! ```
//!
//! Sums outlive the records they were made of. They are in memory, and a checkpoint of them is
//! written now and then, and before a file of records is removed; after a crash the
//! records behind the checkpoint are added again. So a request is summed once as long as its line
//! is in a file; a power cut may take the last seconds of lines.
//! Everything here may wait for the disk. The way of a request goes through [`crate::observe`].
//! Not here: histograms (`metrics`).

mod sums;

use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiffy_console::quantity::bytes_or_text;
use jiffy_control::{Called, LogLoss, Stats, error_chain};
use jiffy_model::Outcome;
use jiffy_snapshots::why;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use self::sums::{Bucket, Timeline};
pub use self::sums::{FunctionUsage, Sums};
use crate::{
    journal::{Journal, JournalError, JournalLimits, Position},
    model::{FunctionId, VersionNumber},
    pool::Start,
};

/// Version of the checkpoint's format.
const FORMAT: u32 = 1;
const CHECKPOINT_NAME: &str = "sums.jsonl";
const CHECKPOINT_NEW_NAME: &str = "sums.jsonl.new";
const PAGE_BYTES: u64 = 4096;
const MIB: u64 = 1 << 20;

/// What one request took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// When it came, milliseconds since 1970.
    pub ts_ms: u64,
    /// Its id.
    pub request_id: String,
    /// The function.
    pub function: FunctionId,
    /// The version it went to.
    pub version: VersionNumber,
    /// How it came to its VM.
    pub start: Start,
    /// How it ended.
    pub outcome: Outcome,
    /// Time it waited for a VM, microseconds.
    pub queue_us: u64,
    /// Time the VMM took to restore the snapshot, a part of `run_us`, microseconds; 0 unless the start was cold.
    pub restore_us: u64,
    /// Time from its hand-over to the VM to the end of the response, microseconds.
    pub run_us: u64,
    /// Time from its arrival to the end of the response, microseconds.
    pub wall_us: u64,
    /// CPU time of the VM, microseconds: of the thread that runs its vCPU, from when the VM was ready for the request until it
    /// was ready again, so that a cold start's restore and the reset are in it; of a VM that ended, until then. A handler that
    /// waits takes none.
    pub cpu_us: u64,
    /// Time that the reset after it took, microseconds.
    pub reset_us: u64,
    /// Pages that the reset found written; of a VM that ended, that it had written.
    pub pages_written: u64,
    /// Exits of the VM for it; 0 if its process was killed, which leaves nobody to say.
    pub exits: u64,
    /// Bytes of the request.
    pub bytes_in: u64,
    /// Bytes of the response.
    pub bytes_out: u64,
    /// Calls that it made to its host.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub calls: u64,
    /// Bytes of its calls.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub call_bytes: u64,
    /// Bytes of the replies to them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reply_bytes: u64,
    /// Time in which one call or more had no reply, microseconds: the function waited, or computed beside them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub calls_us: u64,
    /// RAM of the VM, bytes.
    pub memory_bytes: u64,
    /// RAM that the VM wrote since it was made, bytes; if its process was killed, the most memory that had, up to the VM's RAM.
    pub memory_touched_bytes: u64,
    /// What of its log was dropped or cut before it was written.
    #[serde(default, skip_serializing_if = "LogLoss::is_none")]
    pub log_lost: LogLoss,
}

impl UsageRecord {
    /// The record with what its calls came to.
    #[must_use]
    pub fn with_calls(mut self, called: &Called) -> Self {
        self.calls = called.calls.into();
        (self.call_bytes, self.reply_bytes) = (called.call_bytes, called.reply_bytes);
        self.calls_us = called.calls_us;
        self
    }

    /// The record with what the VM counted for its last request. Its CPU time is on top of what VMs before it took for the same one.
    #[must_use]
    pub fn measured(mut self, stats: &Stats) -> Self {
        self.cpu_us = self.cpu_us.saturating_add(stats.last_request_cpu_ns / 1000);
        self.reset_us = stats.last_reset_ns / 1000;
        self.pages_written = stats.last_reset_pages;
        self.exits = stats.last_request_exits.total();
        self.memory_touched_bytes = stats.pages_touched.saturating_mul(PAGE_BYTES);
        self
    }

    /// The record with what the VM counted for its last request, in which it ended: nothing was reset after that.
    #[must_use]
    pub fn measured_at_end(mut self, stats: &Stats) -> Self {
        self = self.measured(stats);
        self.reset_us = 0;
        self.pages_written = stats.pages_touched;
        self
    }

    /// The line that a function's log gets. It begins as Lambda's does, so that tools which read
    /// that one find what they look for.
    pub fn report_line(&self) -> String {
        let ms = |us: u64| Ms(us);
        let mut text = String::with_capacity(256);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "REPORT RequestId: {}\tDuration: {} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {} MB\t\
             Start: {}\tOutcome: {}\tQueue: {} ms\tRestore: {} ms\tReset: {} ms\tPages: {}\tExits: {}",
            self.request_id,
            ms(self.run_us),
            self.run_us.div_ceil(1000),
            self.memory_bytes.div_ceil(MIB),
            // A VM that was asked has written something, even if it did not live to say how much.
            self.memory_touched_bytes.div_ceil(MIB).max(1),
            self.start.as_str(),
            self.outcome,
            ms(self.queue_us),
            ms(self.restore_us),
            ms(self.reset_us),
            self.pages_written,
            self.exits,
        );
        if self.calls > 0 {
            let _ = write!(
                text,
                "\tCalls: {}\tCalls Duration: {} ms\tCall Bytes: {}\tReply Bytes: {}",
                self.calls,
                ms(self.calls_us),
                self.call_bytes,
                self.reply_bytes
            );
        }
        let LogLoss {
            records,
            bytes,
            cut,
        } = self.log_lost;
        if records > 0 {
            let _ = write!(text, "\tLog Dropped: {records} records, {bytes} bytes");
        }
        if cut > 0 {
            let _ = write!(text, "\tLog Cut: {cut} records");
        }
        text
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Microseconds, written as milliseconds with three places.
struct Ms(u64);

impl std::fmt::Display for Ms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UsageLimits {
    /// Bytes of a file of records.
    #[serde(deserialize_with = "bytes_or_text")]
    pub file_bytes_max: u64,
    /// Bytes of all files of records. A record has about 400.
    #[serde(deserialize_with = "bytes_or_text")]
    pub total_bytes_max: u64,
    /// Sums in memory and in the checkpoint, at most: one per function and minute of the last two
    /// hours, one per function and hour before. The oldest hours go first. A sum has about 400 bytes.
    pub sums_max: usize,
}

impl Default for UsageLimits {
    fn default() -> Self {
        Self {
            file_bytes_max: 16 << 20,
            total_bytes_max: 256 << 20,
            sums_max: 1 << 16,
        }
    }
}

/// Why usage cannot be kept or read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum UsageError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("cannot write the sums of usage to {}: {}", path.display(), why(source))]
    Checkpoint { path: PathBuf, source: io::Error },
    #[error("cannot read the sums of usage in {}: {}", path.display(), why(source))]
    ReadCheckpoint { path: PathBuf, source: io::Error },
}

/// First line of a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    /// Records before this place are in the sums.
    file: u64,
    bytes: u64,
    /// Lines that follow: a checkpoint that has fewer is none.
    sums: usize,
}

/// Usage of all functions.
#[derive(Debug)]
pub struct Usage {
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    journal: Journal,
    timeline: Timeline,
    /// Whether the last checkpoint lacks something.
    is_dirty: bool,
    buffer: Vec<u8>,
}

impl Usage {
    /// Opens the usage in `directory`, which is made if it is not there.
    pub fn open(directory: &Path, limits: UsageLimits) -> Result<Self, UsageError> {
        let journal_limits = JournalLimits {
            file_bytes_max: limits.file_bytes_max,
            total_bytes_max: limits.total_bytes_max,
        };
        let mut journal = Journal::open(directory, journal_limits)?;
        let mut timeline = Timeline::new(limits.sums_max);
        let mut covered = Position::default();
        let mut is_dirty = false;
        if let Some((position, buckets)) = read_checkpoint(directory)? {
            covered = position;
            for bucket in buckets {
                timeline.restore(bucket);
            }
        }
        for segment in journal.segments() {
            if segment.number < covered.file {
                continue;
            }
            let bytes = segment.read()?;
            let skipped = if segment.number == covered.file {
                usize::try_from(covered.bytes).unwrap_or(usize::MAX)
            } else {
                0
            };
            let lines = bytes.get(skipped..).unwrap_or_default();
            for line in lines.split(|byte| *byte == b'\n') {
                if let Ok(record) = serde_json::from_slice(line) {
                    timeline.add(&record);
                    is_dirty = true;
                }
            }
        }
        if journal.position() < covered {
            // A power cut took lines that are summed. New ones must not stand where those did.
            journal.begin(covered.file + 1);
        }
        let state = State {
            journal,
            timeline,
            is_dirty,
            buffer: vec![],
        };
        Ok(Self {
            directory: directory.to_owned(),
            state: Mutex::new(state),
        })
    }

    /// Keeps records and sums them. After an error they are summed all the same, but a restart forgets
    /// them unless a checkpoint was written.
    pub fn write(&self, records: &[UsageRecord]) -> Result<(), UsageError> {
        if records.is_empty() {
            return Ok(());
        }
        let state = &mut *self.state.lock();
        state.buffer.clear();
        state.is_dirty = true;
        for record in records {
            state.timeline.add(record);
            // Neither the record nor a vector can refuse to be written.
            if serde_json::to_writer(&mut state.buffer, record).is_ok() {
                state.buffer.push(b'\n');
            }
        }
        state.journal.append(&state.buffer)?;
        if state.journal.is_over() {
            // The disk's bound holds even if the sums cannot be written: they are still in memory.
            if let Err(error) = self.checkpoint_locked(state) {
                tracing::warn!(error = %error_chain(&error), "the sums of usage are not written");
            }
            state.journal.trim()?;
        }
        Ok(())
    }

    /// What functions used since `since_ms`, milliseconds since 1970, by name; of one function, if
    /// one is named. Sums are kept by the minute for two hours and by the hour before: the answer
    /// begins where the one that holds `since_ms` does.
    pub fn summary(&self, function: Option<&FunctionId>, since_ms: u64) -> Vec<FunctionUsage> {
        self.state.lock().timeline.summary(function, since_ms)
    }

    /// Writes the sums to disk, unless nothing was added since the last time.
    pub fn checkpoint(&self) -> Result<(), UsageError> {
        let state = &mut *self.state.lock();
        if state.is_dirty {
            self.checkpoint_locked(state)?;
        }
        Ok(())
    }

    fn checkpoint_locked(&self, state: &mut State) -> Result<(), UsageError> {
        let position = state.journal.position();
        let new = self.directory.join(CHECKPOINT_NEW_NAME);
        let write = || -> io::Result<()> {
            let header = Header {
                format: FORMAT,
                file: position.file,
                bytes: position.bytes,
                sums: state.timeline.len(),
            };
            let mut text = serde_json::to_vec(&header)?;
            text.push(b'\n');
            for bucket in state.timeline.buckets() {
                serde_json::to_writer(&mut text, &bucket)?;
                text.push(b'\n');
            }
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, self.directory.join(CHECKPOINT_NAME))?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|source| UsageError::Checkpoint { path: new, source })?;
        state.is_dirty = false;
        Ok(())
    }
}

/// The checkpoint, if there is a whole one. One that does not decode is as good as none: what is
/// left of the records is summed again.
fn read_checkpoint(directory: &Path) -> Result<Option<(Position, Vec<Bucket>)>, UsageError> {
    let path = directory.join(CHECKPOINT_NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(UsageError::ReadCheckpoint { path, source }),
    };
    let mut lines = text.split(|byte| *byte == b'\n');
    let header = lines
        .next()
        .and_then(|line| serde_json::from_slice::<Header>(line).ok());
    let buckets: Vec<Bucket> = lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    match header {
        Some(header) if header.format == FORMAT && header.sums == buckets.len() => {
            let position = Position {
                file: header.file,
                bytes: header.bytes,
            };
            Ok(Some((position, buckets)))
        }
        _ => {
            tracing::warn!(path = %path.display(), "the sums of usage do not decode: they are made again of the records that are left");
            Ok(None)
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A record for tests of this crate.

    use jiffy_model::Outcome;

    use super::UsageRecord;
    use crate::{model::VersionNumber, pool::Start};

    /// A request that `function` answered.
    pub(crate) fn record(function: &str, ts_ms: u64) -> UsageRecord {
        UsageRecord {
            ts_ms,
            request_id: format!("request-{ts_ms}"),
            function: function.parse().expect("name"),
            version: VersionNumber::FIRST,
            start: Start::Fresh,
            outcome: Outcome::Ok,
            queue_us: 5,
            restore_us: 0,
            run_us: 1234,
            wall_us: 1300,
            cpu_us: 40,
            reset_us: 12,
            pages_written: 24,
            exits: 1,
            bytes_in: 100,
            bytes_out: 200,
            memory_bytes: 16 << 20,
            memory_touched_bytes: 24 * 4096,
            calls: 0,
            call_bytes: 0,
            reply_bytes: 0,
            calls_us: 0,
            log_lost: super::LogLoss::default(),
        }
    }
}

#[cfg(test)]
mod tests;
