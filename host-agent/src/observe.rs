//! The way from a request to logs, usage and metrics: one bounded queue, one thread.
//!
//! ```text
//! request ── try_send ──▶ queue ──▶ thread ──▶ metrics, usage, logs ──▶ disk, followers
//! ```
//!
//! A request only puts a struct into the queue. It never waits, neither for the disk nor for a lock that is held
//! while the disk is written; of what does not fit the log is dropped, counted and told, and the record of the request, with its
//! `REPORT`, is kept aside, so that a disk that stalls costs no request its record for seconds more. The thread sleeps
//! between two batches instead of waiting for the first message of the next, so that a busy agent
//! pays for no wake-up per request, and an idle one for none at all.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use jiffy_control::{LogLoss, LogRecord, charge, error_chain};
use parking_lot::Mutex;

use crate::{
    logs::{Keep, Level, LogLimits, LogLine, Logs, LogsError},
    metrics::Metrics,
    model::{FunctionId, VersionNumber},
    usage::{Usage, UsageError, UsageLimits, UsageRecord},
};

/// Messages that wait at most. At 10,000 requests a second, 200 come between two batches.
const QUEUE_MESSAGES_MAX: usize = 8192;
/// What the log records that wait are charged at most, bytes.
const QUEUE_LOG_BYTES_MAX: usize = 32 << 20;
/// Records of requests that are kept aside while the queue is full at most: about 30 MB. What comes then is dropped and counted.
const ASIDE_MAX: usize = 1 << 16;
/// Messages that are taken at once.
const BATCH_MESSAGES_MAX: usize = 1024;
/// What the log records are charged after which a batch ends, bytes.
const BATCH_LOG_BYTES_MAX: usize = 4 << 20;
/// Time between two batches: what a line may be late.
const BATCH_INTERVAL: Duration = Duration::from_millis(20);
/// Time between two checkpoints of sums, while there is something to write.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// Why nothing can be observed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ObserverError {
    #[error(transparent)]
    Logs(#[from] LogsError),
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error("cannot start the thread that writes logs")]
    Thread(#[source] std::io::Error),
}

/// Logs, usage and metrics, and the one way into them. Dropping it writes what is in the queue.
#[derive(Debug)]
pub struct Observer {
    sender: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    logs: Arc<Logs>,
    usage: Arc<Usage>,
    metrics: Arc<Metrics>,
    /// What the log records in the queue are charged, bytes.
    queued_log_bytes: AtomicUsize,
    /// Requests that the queue had no room for, and what is told of their logs. Looked at once a round, so the last may be as
    /// late as a checkpoint.
    aside: Mutex<Vec<(UsageRecord, Vec<LogRecord>)>>,
}

#[derive(Debug)]
enum Message {
    Invoked(Box<UsageRecord>, Vec<LogRecord>),
    Logged(Box<Written>),
    Forget(FunctionId),
    Flush(mpsc::Sender<()>),
}

/// What a request or a deploy wrote. Lines are made of it one after another: a record takes little of its own, and a
/// line repeats what is said here.
#[derive(Debug)]
struct Written {
    ts_ms: u64,
    function: FunctionId,
    version: VersionNumber,
    request_id: Option<String>,
    records: Vec<LogRecord>,
    /// Of a request.
    report: Option<String>,
}

impl Observer {
    /// Opens `logs` and `usage` below `directory` and starts the thread.
    pub fn open(
        directory: &Path,
        log_limits: LogLimits,
        usage_limits: UsageLimits,
    ) -> Result<Self, ObserverError> {
        let shared = Arc::new(Shared {
            logs: Arc::new(Logs::open(&directory.join("logs"), log_limits)?),
            usage: Arc::new(Usage::open(&directory.join("usage"), usage_limits)?),
            metrics: Arc::new(Metrics::new()),
            queued_log_bytes: AtomicUsize::new(0),
            aside: Mutex::default(),
        });
        let (sender, receiver) = mpsc::sync_channel(QUEUE_MESSAGES_MAX);
        let thread = thread::Builder::new().name("observe".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(&receiver)
        });
        Ok(Self {
            sender: Some(sender),
            thread: Some(thread.map_err(ObserverError::Thread)?),
            shared,
        })
    }

    /// Takes what a request took and logged. Never waits.
    pub fn invoked(&self, record: UsageRecord, logs: Vec<LogRecord>) {
        let logs = self.admit(logs);
        if let Some(Message::Invoked(record, logs)) =
            self.try_send(Message::Invoked(Box::new(record), logs))
            && !self.shared.keep_aside(*record, &logs)
        {
            self.shared.metrics.usage_record_dropped_in_queue();
        }
    }

    /// Takes what a deploy logged. Never waits.
    pub fn logged(&self, function: FunctionId, version: VersionNumber, logs: Vec<LogRecord>) {
        let records = self.admit(logs);
        if records.is_empty() {
            return;
        }
        let ts_ms = now_ms();
        let logged = Written {
            ts_ms,
            function,
            version,
            request_id: None,
            records,
            report: None,
        };
        drop(self.try_send(Message::Logged(Box::new(logged))));
    }

    /// Removes logs and series of a function that was deleted; its usage stays. Waits for room in the
    /// queue, so it has no place on a request's way.
    pub fn forget(&self, function: FunctionId) {
        if let Some(sender) = &self.sender {
            // It fails only if the thread is gone, and nothing is kept then.
            let _ = sender.send(Message::Forget(function));
        }
    }

    /// Waits until all that was taken before is written, and the sums of usage too.
    pub fn flush(&self) {
        let (done, wait) = mpsc::channel();
        if let Some(sender) = &self.sender
            && sender.send(Message::Flush(done)).is_ok()
        {
            let _ = wait.recv();
        }
    }

    /// The logs, to be read.
    pub fn logs(&self) -> &Arc<Logs> {
        &self.shared.logs
    }

    /// The usage, to be read.
    pub fn usage(&self) -> &Arc<Usage> {
        &self.shared.usage
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// Charges the queue for the records, or drops them and has the log say so.
    fn admit(&self, logs: Vec<LogRecord>) -> Vec<LogRecord> {
        let bytes = charge(&logs);
        let queued = &self.shared.queued_log_bytes;
        if bytes == 0 || queued.fetch_add(bytes, Ordering::Relaxed) + bytes <= QUEUE_LOG_BYTES_MAX {
            return logs;
        }
        self.shared
            .metrics
            .log_lines_dropped_in_queue(logs.len() as u64);
        let mut lost = LogLoss::default();
        logs.iter().for_each(|record| lost.count(record));
        let why = format!(
            "{} MiB of log wait to be written already",
            QUEUE_LOG_BYTES_MAX >> 20
        );
        let notice = Vec::from_iter(lost.notice(&why));
        // It takes little, and there is one for each message at most.
        queued.fetch_sub(bytes - charge(&notice).min(bytes), Ordering::Relaxed);
        notice
    }

    /// Gives the message back if there is no room. Its logs are counted as lost then.
    fn try_send(&self, message: Message) -> Option<Message> {
        let Some(sender) = &self.sender else {
            return Some(message); // Only while it is dropped.
        };
        let message = match sender.try_send(message) {
            Ok(()) => return None,
            Err(mpsc::TrySendError::Full(message) | mpsc::TrySendError::Disconnected(message)) => {
                message
            }
        };
        if let Some(logs) = message.logs() {
            let queued = &self.shared.queued_log_bytes;
            queued.fetch_sub(charge(logs), Ordering::Relaxed);
            self.shared
                .metrics
                .log_lines_dropped_in_queue(logs.len() as u64);
        }
        Some(message)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.sender = None; // The thread ends when the queue is empty.
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes logs panicked");
        }
    }
}

impl Message {
    fn logs(&self) -> Option<&[LogRecord]> {
        match self {
            Self::Invoked(_, logs) => Some(logs),
            Self::Logged(logged) => Some(&logged.records),
            Self::Forget(_) | Self::Flush(_) => None,
        }
    }
}

/// What waits to be written.
#[derive(Debug, Default)]
struct Batch {
    records: Vec<UsageRecord>,
    written: Vec<Written>,
    messages: usize,
    log_bytes: usize,
}

impl Shared {
    /// Keeps a record for which the queue has no room, and has the log say that the request's own log is lost. False: there is no
    /// room for that either.
    fn keep_aside(&self, record: UsageRecord, logs: &[LogRecord]) -> bool {
        let mut aside = self.aside.lock();
        if aside.len() >= ASIDE_MAX {
            return false;
        }
        let mut lost = LogLoss::default();
        logs.iter().for_each(|record| lost.count(record));
        let notice = lost.notice("too much waits to be written already");
        aside.push((record, Vec::from_iter(notice)));
        true
    }

    /// Takes what was kept aside. Whether there was something.
    fn take_aside(&self, batch: &mut Batch) -> bool {
        let aside = std::mem::take(&mut *self.aside.lock());
        let is_some = !aside.is_empty();
        for (record, notice) in aside {
            self.metrics.invoked(&record);
            batch.messages += 1;
            batch.invoked(record, notice);
            if batch.messages >= BATCH_MESSAGES_MAX {
                self.write(batch);
            }
        }
        self.write(batch);
        is_some
    }

    fn run(&self, receiver: &Receiver<Message>) {
        let mut batch = Batch::default();
        let mut checkpoint_due: Option<Instant> = None;
        loop {
            let next = match checkpoint_due {
                Some(due) => receiver.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(message) => {
                    let messages = std::iter::once(message)
                        .chain(receiver.try_iter().take(QUEUE_MESSAGES_MAX));
                    if self.take(messages, &mut batch) {
                        checkpoint_due.get_or_insert_with(|| Instant::now() + CHECKPOINT_INTERVAL);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.take_aside(&mut batch);
                    return self.checkpoint();
                }
            }
            self.take_aside(&mut batch);
            if checkpoint_due.is_some_and(|due| due <= Instant::now()) {
                self.checkpoint();
                checkpoint_due = None;
            }
        }
    }

    /// Writes messages in batches until there are none. Returns whether usage was added.
    fn take(&self, messages: impl Iterator<Item = Message>, batch: &mut Batch) -> bool {
        let mut has_usage = false;
        for message in messages {
            batch.messages += 1;
            let log_bytes = message.logs().map_or(0, charge);
            batch.log_bytes += log_bytes;
            self.queued_log_bytes
                .fetch_sub(log_bytes, Ordering::Relaxed);
            match message {
                Message::Invoked(record, logs) => {
                    has_usage = true;
                    self.metrics.invoked(&record);
                    batch.invoked(*record, logs);
                }
                Message::Logged(logged) => batch.written.push(*logged),
                Message::Forget(function) => {
                    self.write(batch);
                    self.metrics.forget(&function);
                    if let Err(error) = self.logs.remove(&function) {
                        tracing::warn!(%function, error = %error_chain(&error), "logs of a deleted function stay");
                    }
                }
                Message::Flush(done) => {
                    self.write(batch);
                    has_usage |= self.take_aside(batch);
                    self.checkpoint();
                    let _ = done.send(()); // Whoever asked may be gone.
                }
            }
            if batch.messages >= BATCH_MESSAGES_MAX || batch.log_bytes >= BATCH_LOG_BYTES_MAX {
                self.write(batch);
            }
        }
        self.write(batch);
        thread::sleep(BATCH_INTERVAL);
        has_usage
    }

    fn write(&self, batch: &mut Batch) {
        if let Err(error) = self.usage.write(&batch.records) {
            tracing::warn!(error = %error_chain(&error), "usage is not kept");
            let lost = batch.records.len() as u64;
            self.metrics.usage_records_dropped_by_disk(lost);
        }
        batch.records.clear();
        if !batch.written.is_empty() {
            let lines = batch.written.drain(..).flat_map(Written::into_lines);
            let dropped = self.logs.write_all(lines, Instant::now());
            self.metrics.log_lines_dropped(dropped);
        }
        (batch.messages, batch.log_bytes) = (0, 0);
    }

    fn checkpoint(&self) {
        if let Err(error) = self.usage.checkpoint() {
            tracing::warn!(error = %error_chain(&error), "the sums of usage are not written");
        }
    }
}

impl Batch {
    fn invoked(&mut self, record: UsageRecord, records: Vec<LogRecord>) {
        self.written.push(Written {
            ts_ms: now_ms(),
            function: record.function.clone(),
            version: record.version,
            request_id: Some(record.request_id.clone()),
            records,
            report: Some(record.report_line()),
        });
        self.records.push(record);
    }
}

impl Written {
    fn into_lines(self) -> impl Iterator<Item = (FunctionId, LogLine, Keep)> {
        let Self {
            ts_ms,
            function,
            version,
            request_id,
            records,
            report,
        } = self;
        let records = records.into_iter().map(|record| (record, Keep::IfRoom));
        let report = report.map(|text| (LogRecord::of_platform(Level::Info, text), Keep::Always));
        records.chain(report).map(move |(record, keep)| {
            let line = LogLine {
                ts_ms,
                request_id: request_id.clone(),
                version,
                level: record.level(),
                source: record.source,
                text: record.text,
            };
            (function.clone(), line, keep)
        })
    }
}

pub(crate) fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests;
