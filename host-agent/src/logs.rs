//! What functions log: JSON lines per function, bounded in size and rate, kept over restarts.
//!
//! ```text
//! <dir>/<function>/0000000000000007.jsonl     {"ts_ms":…,"request_id":"…","version":3,"level":"info","source":"function","text":"…"}
//! ```
//!
//! Everything here may wait for the disk. The way of a request goes through [`crate::observe`],
//! which never does.
//! Not here: files and their rotation (`journal`); streaming to a client (`api`).

mod rate;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

pub use jiffy_abi::log_ring::Level;
use jiffy_console::quantity::bytes_or_text;
use jiffy_control::{LogLoss, LogSource, cut, error_chain};
use jiffy_model::{EndsRequest, Outcome};
use jiffy_snapshots::{PrivateDirError, private_dir, why};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use self::rate::Rate;
use crate::{
    journal::{Journal, JournalError, JournalLimits, Segment},
    model::{FunctionId, VersionNumber},
};

/// Lines that one call of [`Logs::read`] returns at most.
pub const READ_LINES_MAX: usize = 10_000;
/// Bytes of lines, encoded, that one call of [`Logs::read`] returns at most; the line that passes it is the last.
pub const READ_BYTES_MAX: usize = 8 << 20;
/// Lines that a follower may be behind before it misses some.
pub const FOLLOWER_LINES_MAX: usize = 256;
/// Functions that are followed at once, at most.
pub const FOLLOWED_FUNCTIONS_MAX: usize = 64;
/// Files that are kept open between two writes.
const OPEN_FILES_MAX: usize = 64;
/// Bytes of a line besides its text, about; what a line is charged before it is encoded.
const LINE_OVERHEAD_BYTES: usize = 96;
/// Bytes of encoded lines of one function after which they are written and their memory is given back.
const BUFFER_BYTES_MAX: usize = 256 << 10;

/// How much is kept. The rate has room for the `REPORT` lines of a busy function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogLimits {
    /// Bytes of a file.
    #[serde(deserialize_with = "bytes_or_text")]
    pub file_bytes_max: u64,
    /// Bytes of a function's files.
    #[serde(deserialize_with = "bytes_or_text")]
    pub function_bytes_max: u64,
    /// Bytes of all functions' files.
    #[serde(deserialize_with = "bytes_or_text")]
    pub host_bytes_max: u64,
    /// Bytes a second that a function may log; what is more is dropped and counted.
    #[serde(deserialize_with = "bytes_or_text")]
    pub function_bytes_per_s_max: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            file_bytes_max: 4 << 20,
            function_bytes_max: 32 << 20,
            host_bytes_max: 1 << 30,
            function_bytes_per_s_max: 4 << 20,
        }
    }
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "LoggedLine"))]
pub struct LogLine {
    /// When it was taken from the VM, milliseconds since 1970.
    pub ts_ms: u64,
    /// The request it belongs to; left out if it is a deploy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("format" = "uuid")))]
    pub request_id: Option<String>,
    /// The version that logged it.
    pub version: VersionNumber,
    /// How much it matters.
    #[serde(with = "level_text")]
    #[cfg_attr(test, schemars(with = "jiffy_model::schema::Level"))]
    pub level: Level,
    /// Whose words it is: a line of the platform's, as `REPORT` is one, cannot be forged. Left out by releases before this one.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "jiffy_model::schema::LogSource"))]
    pub source: LogSource,
    /// What it says.
    pub text: String,
}

/// A level as its name in lower case.
mod level_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use jiffy_control::LEVEL_NAMES;

    use super::Level;

    pub(super) fn serialize<S: Serializer>(level: &Level, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(LEVEL_NAMES[*level as usize - 1])
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Level, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        let mut numbered = (1..).zip(LEVEL_NAMES);
        let found = numbered.find(|(_, name)| *name == text);
        let (number, _) = found.ok_or_else(|| D::Error::custom("no level"))?;
        Ok(Level::from_number(number))
    }
}

/// Which lines are wanted. The default: the newest ones, all requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// Only lines from then on, milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Only lines before then, milliseconds since 1970.
    pub until_ms: Option<u64>,
    /// Only lines of this request.
    pub request_id: Option<String>,
    /// The newest so many; more than [`READ_LINES_MAX`] are taken for that.
    pub limit: usize,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self {
            since_ms: None,
            until_ms: None,
            request_id: None,
            limit: READ_LINES_MAX,
        }
    }
}

impl LogQuery {
    /// Whether the line is wanted; the limit is not looked at. For those who follow.
    pub fn wants(&self, line: &LogLine) -> bool {
        self.since_ms.is_none_or(|since_ms| line.ts_ms >= since_ms)
            && self.until_ms.is_none_or(|until_ms| line.ts_ms < until_ms)
            && (self.request_id.is_none() || self.request_id == line.request_id)
    }
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum LogsError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Private(#[from] PrivateDirError),
    #[error("cannot list or remove the logs in {}: {}", path.display(), why(source))]
    List { path: PathBuf, source: io::Error },
    #[error("{FOLLOWED_FUNCTIONS_MAX} functions are followed already: try again when one is not")]
    TooManyFollowed,
}

impl EndsRequest for LogsError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::TooManyFollowed => Outcome::Busy,
            Self::Journal(_) | Self::List { .. } | Self::Private(_) => Outcome::Platform,
        }
    }
}

/// Lines that were not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Above the rate of their function.
    pub rate_lines: u64,
    /// The disk would not take them.
    pub disk_lines: u64,
    /// Kept, but without their end: they were too long.
    pub cut_lines: u64,
}

/// Whether a line may be dropped for the rate of its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is the function's own.
    IfRoom,
    /// It is the platform's, and there is one for each request.
    Always,
}

/// The logs of all functions.
#[derive(Debug)]
pub struct Logs {
    directory: PathBuf,
    limits: LogLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    functions: HashMap<FunctionId, FunctionLog>,
    followers: HashMap<FunctionId, broadcast::Sender<Arc<LogLine>>>,
    /// Bytes of all files.
    total_bytes: u64,
}

#[derive(Debug)]
struct FunctionLog {
    journal: Journal,
    rate: Rate,
    /// Dropped above the rate, and not yet told in the log.
    untold: LogLoss,
    /// Encoded lines that are not yet written, and their number.
    buffer: Vec<u8>,
    buffer_lines: u64,
}

impl Logs {
    /// Opens the logs in `directory`, which is made if it is not there.
    pub fn open(directory: &Path, limits: LogLimits) -> Result<Self, LogsError> {
        let list = |source| LogsError::List {
            path: directory.to_owned(),
            source,
        };
        private_dir(directory)?;
        let logs = Self {
            directory: directory.to_owned(),
            limits,
            state: Mutex::default(),
        };
        let mut state = State::default();
        for entry in fs::read_dir(directory).map_err(list)? {
            let entry = entry.map_err(list)?;
            let name = entry.file_name();
            // What is not a directory, or has no function's name, is not ours.
            if entry.file_type().is_ok_and(|kind| kind.is_dir())
                && let Some(Ok(function)) = name.to_str().map(str::parse::<FunctionId>)
            {
                let log = logs.open_function(&function)?;
                state.total_bytes += log.journal.total_bytes();
                state.functions.insert(function, log);
            }
        }
        *logs.state.lock() = state;
        Ok(logs)
    }

    fn open_function(&self, function: &FunctionId) -> Result<FunctionLog, JournalError> {
        let limits = JournalLimits {
            file_bytes_max: self.limits.file_bytes_max,
            total_bytes_max: self.limits.function_bytes_max,
        };
        Ok(FunctionLog {
            journal: Journal::open(&self.directory.join(function.as_ref()), limits)?,
            rate: Rate::new(self.limits.function_bytes_per_s_max),
            untold: LogLoss::default(),
            buffer: vec![],
            buffer_lines: 0,
        })
    }

    /// As [`Logs::write_all`], of lines that functions wrote.
    pub fn write(
        &self,
        lines: impl IntoIterator<Item = (FunctionId, LogLine)>,
        now: Instant,
    ) -> Dropped {
        let lines = lines.into_iter();
        self.write_all(
            lines.map(|(function, line)| (function, line, Keep::IfRoom)),
            now,
        )
    }

    /// Appends lines, in order, and gives them to those who follow. A line that cannot be kept is
    /// counted, and what is dropped for its rate is told in the log as soon as there is room. `now`
    /// is what the rate is measured by.
    pub fn write_all(
        &self,
        lines: impl IntoIterator<Item = (FunctionId, LogLine, Keep)>,
        now: Instant,
    ) -> Dropped {
        let mut dropped = Dropped::default();
        let mut written: Vec<FunctionId> = vec![];
        let state = &mut *self.state.lock();
        for (function, mut line, keep) in lines {
            if !state.functions.contains_key(&function) {
                match self.open_function(&function) {
                    Ok(log) => drop(state.functions.insert(function.clone(), log)),
                    Err(error) => {
                        tracing::warn!(%function, error = %error_chain(&error), "a log line is lost");
                        dropped.disk_lines += 1;
                        continue;
                    }
                }
            }
            let Some(log) = state.functions.get_mut(&function) else {
                continue; // It is there since the step above.
            };
            let had_lines = log.buffer_lines > 0;
            let is_cut = cut(&mut line.text);
            let kept = log.take(line, keep, now);
            match kept.is_empty() {
                true => dropped.rate_lines += 1,
                false => dropped.cut_lines += u64::from(is_cut),
            }
            let kept_is_empty = kept.is_empty();
            let is_full = log.buffer.len() >= BUFFER_BYTES_MAX;
            if let Some(followers) = state.followers.get(&function) {
                for line in kept {
                    // An error says that nobody follows any more; `sweep` removes it.
                    let _ = followers.send(Arc::new(line));
                }
            }
            if is_full {
                dropped.disk_lines += state.write_buffer(&function);
            } else if !had_lines && !kept_is_empty {
                written.push(function);
            }
        }
        for written in written.chunks(OPEN_FILES_MAX) {
            for function in written {
                dropped.disk_lines += state.write_buffer(function);
            }
            state.sweep(self.limits.host_bytes_max);
        }
        dropped
    }

    /// The newest lines that are wanted, oldest first.
    pub fn read(&self, function: &FunctionId, query: &LogQuery) -> Result<Vec<LogLine>, LogsError> {
        let segments = self.state.lock().segments(function);
        read_segments(&segments, query)
    }

    /// Every line from now on. A follower that is more than [`FOLLOWER_LINES_MAX`] behind misses
    /// some, and its receiver says how many.
    pub fn follow(
        &self,
        function: &FunctionId,
    ) -> Result<broadcast::Receiver<Arc<LogLine>>, LogsError> {
        self.state.lock().follow(function)
    }

    /// What is there and every line after it: none twice, none missed.
    pub fn read_and_follow(
        &self,
        function: &FunctionId,
        query: &LogQuery,
    ) -> Result<(Vec<LogLine>, broadcast::Receiver<Arc<LogLine>>), LogsError> {
        let (segments, receiver) = {
            let mut state = self.state.lock();
            let receiver = state.follow(function)?;
            (state.segments(function), receiver)
        };
        Ok((read_segments(&segments, query)?, receiver))
    }

    /// Removes the logs of a function; those who follow it see the end.
    pub fn remove(&self, function: &FunctionId) -> Result<(), LogsError> {
        let state = &mut *self.state.lock();
        state.followers.remove(function);
        if let Some(log) = state.functions.remove(function) {
            state.total_bytes -= log.journal.total_bytes();
        }
        let path = self.directory.join(function.as_ref());
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(LogsError::List { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Bytes of all files.
    pub fn total_bytes(&self) -> u64 {
        self.state.lock().total_bytes
    }
}

impl FunctionLog {
    /// Puts `line` into the buffer. Returns what went in: nothing if it is above the rate, and a
    /// line about lost ones before it if there were some.
    fn take(&mut self, line: LogLine, keep: Keep, now: Instant) -> Vec<LogLine> {
        let is_admitted = self.rate.admit(line.text.len() + LINE_OVERHEAD_BYTES, now);
        if !is_admitted && keep == Keep::IfRoom {
            self.untold.records += 1;
            self.untold.bytes += line.text.len() as u64;
            return vec![];
        }
        let mut kept = vec![];
        let untold = std::mem::take(&mut self.untold);
        if !untold.is_none() {
            let why = format!(
                "the function logs more than {} bytes a second",
                self.rate.bytes_per_s_max
            );
            kept.extend(untold.notice(&why).map(|notice| LogLine {
                ts_ms: line.ts_ms,
                request_id: None,
                version: line.version,
                level: Level::Warn,
                source: notice.source,
                text: notice.text,
            }));
        }
        kept.push(line);
        for line in &kept {
            // Neither the line nor a vector can refuse to be written.
            if serde_json::to_writer(&mut self.buffer, line).is_ok() {
                self.buffer.push(b'\n');
                self.buffer_lines += 1;
            }
        }
        kept
    }
}

impl State {
    /// Writes what is buffered for a function. Returns the number of lines that were lost.
    fn write_buffer(&mut self, function: &FunctionId) -> u64 {
        let Some(log) = self.functions.get_mut(function) else {
            return 0;
        };
        if log.buffer.is_empty() {
            return 0;
        }
        let buffer = std::mem::take(&mut log.buffer);
        let lines = std::mem::take(&mut log.buffer_lines);
        let appended = log.journal.append(&buffer);
        let trimmed = log.journal.trim();
        if appended.is_ok() {
            self.total_bytes += buffer.len() as u64;
        }
        self.total_bytes -= *trimmed.as_ref().unwrap_or(&0);
        let errors = [appended.as_ref().err(), trimmed.as_ref().err()];
        for error in errors.into_iter().flatten() {
            tracing::warn!(%function, error = %error_chain(error), "cannot keep a log");
        }
        if appended.is_err() { lines } else { 0 }
    }

    /// Keeps the bounds that hold for all functions together.
    fn sweep(&mut self, host_bytes_max: u64) {
        self.followers
            .retain(|_, followers| followers.receiver_count() > 0);
        let open_files = self
            .functions
            .values()
            .filter(|log| log.journal.is_file_open());
        if open_files.count() > OPEN_FILES_MAX {
            // All at once: simpler than to know which was used last, and opening costs little.
            for log in self.functions.values_mut() {
                log.journal.close_file();
            }
        }
        while self.total_bytes > host_bytes_max {
            let logs = self.functions.values_mut();
            let Some(largest) = logs.max_by_key(|log| log.journal.total_bytes()) else {
                return;
            };
            match largest.journal.remove_oldest() {
                Ok(bytes) if bytes > 0 => self.total_bytes -= bytes,
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(error = %error_chain(&error), "cannot remove old logs");
                    return;
                }
            }
        }
    }

    fn segments(&self, function: &FunctionId) -> Vec<Segment> {
        let log = self.functions.get(function);
        log.map(|log| log.journal.segments()).unwrap_or_default()
    }

    fn follow(
        &mut self,
        function: &FunctionId,
    ) -> Result<broadcast::Receiver<Arc<LogLine>>, LogsError> {
        if let Some(followers) = self.followers.get(function) {
            return Ok(followers.subscribe());
        }
        self.followers
            .retain(|_, followers| followers.receiver_count() > 0);
        if self.followers.len() >= FOLLOWED_FUNCTIONS_MAX {
            return Err(LogsError::TooManyFollowed);
        }
        let (sender, receiver) = broadcast::channel(FOLLOWER_LINES_MAX);
        self.followers.insert(function.clone(), sender);
        Ok(receiver)
    }
}

/// Reads backwards, so that the newest lines cost nothing of the older ones.
fn read_segments(segments: &[Segment], query: &LogQuery) -> Result<Vec<LogLine>, LogsError> {
    let limit = query.limit.min(READ_LINES_MAX);
    let mut found: Vec<LogLine> = vec![];
    let mut found_bytes = 0;
    'segments: for segment in segments.iter().rev() {
        let bytes = segment.read()?;
        // What does not decode was torn or zeroed by a power cut.
        let lines = bytes
            .rsplit(|byte| *byte == b'\n')
            .filter_map(|line| Some((serde_json::from_slice::<LogLine>(line).ok()?, line.len())));
        let mut is_newest = true;
        for (line, line_bytes) in lines {
            if found.len() >= limit || found_bytes >= READ_BYTES_MAX {
                break 'segments;
            }
            // Lines are almost in the order of time, files are: behind this one all are older.
            let is_before = query.since_ms.is_some_and(|since_ms| line.ts_ms < since_ms);
            if is_newest && is_before {
                break 'segments;
            }
            is_newest = false;
            if query.wants(&line) {
                // As it is sent: a control character has six bytes, and no line is free.
                found_bytes += line_bytes;
                found.push(line);
            }
        }
    }
    found.reverse();
    Ok(found)
}

#[cfg(test)]
mod tests;
