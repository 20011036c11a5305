//! What is left to do when a VM has settled: its record, its log, and what was learnt for the next.

use std::sync::Arc;

use jiffy_abi::log_ring::Level;
use jiffy_control::{INDENT, LogRecord, Untrusted};
use jiffy_model::Outcome;
use tokio::sync::oneshot;

use super::{Invocation, LOG_TAIL_BYTES_MAX, NoAnswer};
use crate::{
    pool::{Deployed, Start},
    prepare::Slot,
    usage::UsageRecord,
    vm::{Settled, VmError, Vms},
};

/// Stands where the beginning of a log's tail was left out.
const ELLIPSIS: &str = "…";
/// What is left to do when a VM has settled.
pub(super) struct After<V: Vms> {
    pub(super) invocation: Arc<Invocation<V>>,
    pub(super) slot: Arc<Slot>,
    pub(super) deployed: Arc<Deployed>,
    pub(super) record: UsageRecord,
    /// Why there is no answer, or none that the caller wanted.
    pub(super) failure: Option<String>,
    /// Its VM ended with it.
    pub(super) is_end: bool,
    pub(super) tail: Option<oneshot::Sender<String>>,
}

impl<V: Vms> After<V> {
    pub(super) fn settled(
        mut self,
        settled: Result<Settled, VmError>,
        stopped: Option<jiffy_control::Stats>,
    ) {
        let settled = settled.unwrap_or_else(|error| {
            let function = &self.record.function;
            tracing::debug!(%function, %error, "a VM did not settle");
            Settled::default()
        });
        if let Some(gone) = &settled.gone {
            let function = &self.record.function;
            tracing::debug!(%function, %gone, "a VM ended after its response");
        }
        let is_end = self.is_end || settled.gone.is_some();
        let stats = stopped.unwrap_or(settled.stats);
        let is_cold = self.record.restore_us > 0 || self.record.start == Start::Cold;
        self.record = match is_end {
            true => self.record.measured_at_end(&stats),
            false => self.record.measured(&stats),
        };
        self.record = self.record.with_calls(&settled.called);
        let memory_bytes = self.record.memory_bytes;
        self.record.memory_touched_bytes = self.record.memory_touched_bytes.min(memory_bytes);
        let (by_vmm, by_agent) = (stats.last_request_log_lost, settled.log_lost);
        self.record.log_lost = by_vmm.and(&by_agent);
        if !self.record.log_lost.is_none() {
            self.invocation
                .observer
                .metrics()
                .log_lost(&by_vmm, &by_agent);
        }
        if is_cold && stats.phases.restore_ns > 0 {
            self.record.restore_us = stats.phases.restore_ns / 1000;
        }
        let mut logs = settled.logs;
        if let Some(fault) = settled.fault {
            // Its caller has an answer, which was the function's own; what else it sent reaches nobody.
            self.record.outcome = Outcome::Fault;
            self.failure = Some(NoAnswer::new(Outcome::BadResponse, fault.to_string()).to_string());
        }
        if let Some(text) = self.failure.take() {
            logs.push(LogRecord::of_platform(Level::Error, text));
        }
        if let Some(tail) = self.tail.take() {
            // Who asked may have gone.
            let _ = tail.send(log_tail(&logs, &self.record));
        }
        // Behind what the function logged, and in no tail: there is little room.
        logs.extend(settled.calls);
        if let Some(runs) = settled.working_set {
            let prepare = &self.invocation.prepare;
            prepare.keep_working_set(&self.slot, &self.deployed, runs);
        }
        self.invocation.observer.invoked(self.record, logs);
    }
}

/// The end of a request's log, no longer than allowed, and whole characters. Each line at the margin begins a record,
/// and one that begins with `REPORT` is the agent's: a guest can forge neither.
fn log_tail(logs: &[LogRecord], record: &UsageRecord) -> String {
    let report = record.report_line();
    let mut room_bytes = LOG_TAIL_BYTES_MAX.saturating_sub(report.len() + 1);
    let mut newest = vec![];
    for log in logs.iter().rev() {
        let indent = if log.text.starts_with("REPORT") {
            INDENT
        } else {
            ""
        };
        let text = format!("{indent}{}\n", Untrusted(&log.text));
        if text.len() > room_bytes {
            // Its end, marked: what is behind its indentation must not begin the tail.
            if let Some(room_bytes) = room_bytes.checked_sub(ELLIPSIS.len()) {
                let start = text.ceil_char_boundary(text.len() - room_bytes);
                newest.push(format!("{ELLIPSIS}{}", &text[start..]));
            }
            break;
        }
        room_bytes -= text.len();
        newest.push(text);
    }
    let mut tail: String = newest.into_iter().rev().collect();
    tail.push_str(&report);
    tail.push('\n');
    tail
}

#[cfg(test)]
mod tests;
