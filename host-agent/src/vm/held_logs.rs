//! What VMs have logged for requests that are not done: bounded for one, and for all together.
//!
//! A VMM bounds what it sends, and may have been taken over; many that keep their bounds are still too much. What is
//! beyond the memory for all is dropped and counted, so that a request never fails for the log of another.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use jiffy_client::LogSink;
use jiffy_control::{
    LOG_BYTES_MAX, LogLoss, LogRecord, RECORD_COST_BYTES, RECORD_TEXT_BYTES_MAX, charge,
};

/// What the logs of all requests in flight may be charged together, bytes.
pub const HELD_LOG_BYTES_MAX: usize = 64 << 20;
/// What one request's log may be charged: all that a VMM takes of a guest, and its notice that there was more.
const REQUEST_LOG_BYTES_MAX: usize = LOG_BYTES_MAX + RECORD_COST_BYTES + RECORD_TEXT_BYTES_MAX;

/// What all are charged.
#[derive(Debug, Default)]
pub(super) struct LogBudget {
    held_bytes: AtomicUsize,
}

/// The log of one VM's request.
#[derive(Debug)]
pub(super) struct HeldLogs {
    budget: Arc<LogBudget>,
    records: Vec<LogRecord>,
    /// What `records` are charged, bytes.
    held_bytes: usize,
    /// What came in all, bytes.
    came_bytes: usize,
    lost: LogLoss,
}

impl HeldLogs {
    pub(super) fn new(budget: &Arc<LogBudget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            records: vec![],
            held_bytes: 0,
            came_bytes: 0,
            lost: LogLoss::default(),
        }
    }

    /// What came, with a notice if not all of it could be held, and what is lost. Ready for the next request then.
    pub(super) fn release(&mut self) -> (Vec<LogRecord>, LogLoss) {
        let mut records = std::mem::take(&mut self.records);
        let held_bytes = std::mem::take(&mut self.held_bytes);
        if held_bytes > 0 {
            self.budget.held_bytes.fetch_sub(held_bytes, Relaxed);
        }
        self.came_bytes = 0;
        let lost = std::mem::take(&mut self.lost);
        if !lost.is_none() {
            let why = format!(
                "the logs of all requests that run have {} MiB already",
                HELD_LOG_BYTES_MAX >> 20
            );
            records.extend(lost.notice(&why));
        }
        (records, lost)
    }
}

impl LogSink for HeldLogs {
    fn take(&mut self, records: Vec<LogRecord>) -> bool {
        let bytes = charge(&records);
        self.came_bytes = self.came_bytes.saturating_add(bytes);
        if self.came_bytes > REQUEST_LOG_BYTES_MAX {
            return false;
        }
        let before = self.budget.held_bytes.fetch_add(bytes, Relaxed);
        if before.saturating_add(bytes) > HELD_LOG_BYTES_MAX {
            self.budget.held_bytes.fetch_sub(bytes, Relaxed);
            records.iter().for_each(|record| self.lost.count(record));
            return true;
        }
        self.held_bytes += bytes;
        self.records.extend(records);
        true
    }
}

impl Drop for HeldLogs {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use jiffy_abi::log_ring::Level;

    use super::*;

    fn records(count: usize, text_bytes: usize) -> Vec<LogRecord> {
        vec![LogRecord::new(Level::Info, "x".repeat(text_bytes)); count]
    }

    #[test]
    fn empty_records_have_an_end() {
        let budget = Arc::default();
        let mut logs = HeldLogs::new(&budget);
        let mut came = 0;
        while logs.take(records(256, 0)) {
            came += 256;
        }
        let fits = REQUEST_LOG_BYTES_MAX / RECORD_COST_BYTES;
        assert!((fits - 256..=fits).contains(&came), "{came}");
        // What is really held: a vector that may have doubled, and no text.
        assert!(logs.records.capacity() * size_of::<LogRecord>() <= 2 << 20);
        assert_eq!(logs.release().0.len(), came);
        assert!(logs.take(records(256, 0)), "the next request begins anew");
    }

    #[test]
    fn all_together_are_bounded_and_give_back() {
        let budget = Arc::default();
        let mut all: Vec<HeldLogs> = (0..200).map(|_| HeldLogs::new(&budget)).collect();
        for logs in &mut all {
            (0..16).for_each(|_| assert!(logs.take(records(15, 4096))));
        }
        let held = budget.held_bytes.load(Relaxed);
        assert!(
            held <= HELD_LOG_BYTES_MAX && held > HELD_LOG_BYTES_MAX - (1 << 20),
            "{held}"
        );
        let mut first = all.remove(0);
        assert_eq!(first.release().1, LogLoss::default());
        let mut last = all.pop().expect("there");
        let (kept, lost) = last.release();
        assert_eq!((kept.len(), lost.records), (1, 240));
        let told = "240 log records (983.0 kB) were dropped: the logs of all requests that run have 64 MiB already";
        assert_eq!(kept[0].text, told);
        drop((all, first, last));
        assert_eq!(budget.held_bytes.load(Relaxed), 0);
    }
}
