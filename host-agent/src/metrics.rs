//! Counters, histograms and gauges for Prometheus and whoever speaks its formats.
//!
//! Series are bounded: latency is by kind of start only, counters by function for the first
//! [`FUNCTION_LABELS_MAX`] functions and together under `(other)` beyond.
//! Not here: what one request took (`usage`).

mod exposition;
mod gauges;

use std::{collections::HashSet, sync::atomic::AtomicU64};

use jiffy_control::LogLoss;
use jiffy_model::Outcome;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use self::gauges::Shown;
pub use self::{exposition::Exposition, gauges::Gauges};
use crate::{logs::Dropped, model::FunctionId, pool::Start, usage::UsageRecord};

/// Functions with series of their own.
pub const FUNCTION_LABELS_MAX: usize = 4096;
/// What the others are counted under; no function can have this name.
const OTHER: &str = "(other)";

/// Upper ends of the buckets of all latencies, seconds: fine where starts are, up to a minute.
const LATENCY_BUCKETS_S: [f64; 26] = [
    50e-6, 75e-6, 100e-6, 150e-6, 200e-6, 300e-6, 500e-6, 700e-6, 1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3,
    7.5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

type ByStart = Family<StartLabel, Histogram, fn() -> Histogram>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StartLabel {
    start: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FunctionOutcome {
    function: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FunctionReason {
    function: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabel {
    version: &'static str,
}

/// All metrics of the agent.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<FunctionOutcome, Counter>,
    refused: Family<FunctionReason, Counter>,
    deploys: Family<OutcomeLabel, Counter>,
    wall: ByStart,
    queue: ByStart,
    run: ByStart,
    restore: Histogram,
    reset: Histogram,
    cpu: Counter<f64, AtomicU64>,
    pages_written: Counter,
    exits: Counter,
    received: Counter,
    sent: Counter,
    log_lines_dropped: Family<Reason, Counter>,
    log_lines_cut: Counter,
    usage_records_dropped: Family<Reason, Counter>,
    connections: Gauge,
    connections_ended: Family<Reason, Counter>,
    connections_refused: Family<Reason, Counter>,
    problems: Family<TypeLabel, Counter>,
    shown: Shown,
    /// Functions with series of their own.
    functions: Mutex<HashSet<FunctionId>>,
}

fn histogram() -> Histogram {
    Histogram::new(LATENCY_BUCKETS_S)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that start at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("jiffy");
        let by_start = || ByStart::new_with_constructor(histogram);
        let metrics = Self {
            requests: Family::default(),
            refused: Family::default(),
            deploys: Family::default(),
            wall: by_start(),
            queue: by_start(),
            run: by_start(),
            restore: histogram(),
            reset: histogram(),
            cpu: Counter::default(),
            pages_written: Counter::default(),
            exits: Counter::default(),
            received: Counter::default(),
            sent: Counter::default(),
            log_lines_dropped: Family::default(),
            log_lines_cut: Counter::default(),
            usage_records_dropped: Family::default(),
            connections: Gauge::default(),
            connections_ended: Family::default(),
            connections_refused: Family::default(),
            problems: Family::default(),
            shown: Shown::register(&mut registry),
            functions: Mutex::default(),
            registry,
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        // The library ends each text with a full stop.
        registry.register(
            "requests",
            "Requests that had a VM, by how they ended",
            self.requests.clone(),
        );
        registry.register(
            "requests_refused",
            "Requests that got no VM",
            self.refused.clone(),
        );
        registry.register("deploys", "Deploys", self.deploys.clone());
        let seconds = [
            (
                "request_duration",
                "Time from the arrival of a request to the end of its response",
                &self.wall,
            ),
            (
                "request_queue",
                "Time that a request waited for a VM",
                &self.queue,
            ),
            (
                "request_run",
                "Time from the hand-over of a request to a VM to the end of its response",
                &self.run,
            ),
        ];
        for (name, help, family) in seconds {
            registry.register_with_unit(name, help, Unit::Seconds, family.clone());
        }
        registry.register_with_unit(
            "restore",
            "Time to hand a shell a snapshot",
            Unit::Seconds,
            self.restore.clone(),
        );
        registry.register_with_unit(
            "reset",
            "Time to reset a VM after a request",
            Unit::Seconds,
            self.reset.clone(),
        );
        registry.register_with_unit(
            "vm_cpu",
            "CPU time that VMs took for requests",
            Unit::Seconds,
            self.cpu.clone(),
        );
        registry.register(
            "vm_pages_written",
            "Pages that resets found written",
            self.pages_written.clone(),
        );
        registry.register("vm_exits", "Exits of VMs for requests", self.exits.clone());
        registry.register_with_unit(
            "request_body",
            "Size of requests",
            Unit::Bytes,
            self.received.clone(),
        );
        registry.register_with_unit(
            "response_body",
            "Size of responses",
            Unit::Bytes,
            self.sent.clone(),
        );
        registry.register(
            "log_lines_dropped",
            "Log lines that were not kept",
            self.log_lines_dropped.clone(),
        );
        registry.register(
            "log_lines_cut",
            "Log lines that were too long and lost their end",
            self.log_lines_cut.clone(),
        );
        registry.register(
            "usage_records_dropped",
            "Usage records that were not kept",
            self.usage_records_dropped.clone(),
        );
        registry.register(
            "connections",
            "Connections that are open",
            self.connections.clone(),
        );
        registry.register(
            "connections_ended",
            "Connections that were served, by how they ended",
            self.connections_ended.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections that got no place",
            self.connections_refused.clone(),
        );
        registry.register(
            "problems",
            "Answers of the agent's own that say what went wrong, by type",
            self.problems.clone(),
        );
        let build = Family::<BuildLabel, Gauge>::default();
        build
            .get_or_create(&BuildLabel {
                version: env!("CARGO_PKG_VERSION"),
            })
            .set(1);
        registry.register("build", "The agent that runs", build);
        // Series that exist from the start can be alerted on.
        for start in [Start::Cold, Start::Fresh, Start::Warm] {
            for family in [&self.wall, &self.queue, &self.run] {
                drop(family.get_or_create(&StartLabel {
                    start: start.as_str(),
                }));
            }
        }
        for is_ok in [true, false] {
            drop(self.deploys.get_or_create(&outcome_of(is_ok)));
        }
        for reason in [
            DROPPED_REQUEST,
            DROPPED_MEMORY,
            DROPPED_RATE,
            DROPPED_DISK,
            DROPPED_QUEUE,
        ] {
            drop(self.log_lines_dropped.get_or_create(&Reason { reason }));
        }
        for r#type in Outcome::problems().map(Outcome::name) {
            drop(self.problems.get_or_create(&TypeLabel { r#type }));
        }
        for reason in [DROPPED_DISK, DROPPED_QUEUE] {
            drop(self.usage_records_dropped.get_or_create(&Reason { reason }));
        }
        self
    }

    /// Shows how connections may end and be refused before one is.
    pub(crate) fn expect_connections(&self, ends: &[&'static str], refusals: &[&'static str]) {
        for &reason in ends {
            drop(self.connections_ended.get_or_create(&Reason { reason }));
        }
        for &reason in refusals {
            drop(self.connections_refused.get_or_create(&Reason { reason }));
        }
    }

    /// Counts a request that had a VM.
    pub fn invoked(&self, record: &UsageRecord) {
        let function = self.label(&record.function);
        let outcome = record.outcome.name();
        self.requests
            .get_or_create(&FunctionOutcome { function, outcome })
            .inc();
        let start = StartLabel {
            start: record.start.as_str(),
        };
        self.wall
            .get_or_create(&start)
            .observe(seconds(record.wall_us));
        self.queue
            .get_or_create(&start)
            .observe(seconds(record.queue_us));
        self.run
            .get_or_create(&start)
            .observe(seconds(record.run_us));
        if record.start == Start::Cold {
            self.restore.observe(seconds(record.restore_us));
        }
        if record.reset_us > 0 {
            self.reset.observe(seconds(record.reset_us));
        }
        self.cpu.inc_by(seconds(record.cpu_us));
        self.pages_written.inc_by(record.pages_written);
        self.exits.inc_by(record.exits);
        self.received.inc_by(record.bytes_in);
        self.sent.inc_by(record.bytes_out);
    }

    /// Counts a request that got no VM, by why. Cheap enough for the way of a request.
    pub fn unserved(&self, function: &FunctionId, why: Outcome) {
        let (function, reason) = (self.label(function), why.name());
        self.refused
            .get_or_create(&FunctionReason { function, reason })
            .inc();
    }

    /// A connection has a place.
    pub(crate) fn connection_opened(&self) {
        self.connections.inc();
    }

    /// It has it no more.
    pub(crate) fn connection_closed(&self) {
        self.connections.dec();
    }

    /// Counts how a connection ended.
    pub(crate) fn connection_ended(&self, reason: &'static str) {
        self.connections_ended
            .get_or_create(&Reason { reason })
            .inc();
    }

    /// Counts a connection that got no place.
    pub(crate) fn connection_refused(&self, reason: &'static str) {
        self.connections_refused
            .get_or_create(&Reason { reason })
            .inc();
    }

    /// Counts an answer of the agent's own that says what went wrong.
    pub(crate) fn problem(&self, outcome: Outcome) {
        let r#type = outcome.kind().name();
        self.problems.get_or_create(&TypeLabel { r#type }).inc();
    }

    /// Counts a deploy.
    pub fn deployed(&self, is_ok: bool) {
        self.deploys.get_or_create(&outcome_of(is_ok)).inc();
    }

    /// Counts what of a request's log was lost before it came here: by its VMM, which bounds the log of a request, and
    /// by the agent, which bounds those of all.
    pub(crate) fn log_lost(&self, by_vmm: &LogLoss, by_agent: &LogLoss) {
        for (reason, lost) in [(DROPPED_REQUEST, by_vmm), (DROPPED_MEMORY, by_agent)] {
            self.log_lines_dropped
                .get_or_create(&Reason { reason })
                .inc_by(lost.records);
        }
        self.log_lines_cut.inc_by(by_vmm.and(by_agent).cut);
    }

    pub(crate) fn log_lines_dropped(&self, dropped: Dropped) {
        for (reason, lines) in [
            (DROPPED_RATE, dropped.rate_lines),
            (DROPPED_DISK, dropped.disk_lines),
        ] {
            self.log_lines_dropped
                .get_or_create(&Reason { reason })
                .inc_by(lines);
        }
        self.log_lines_cut.inc_by(dropped.cut_lines);
    }

    pub(crate) fn log_lines_dropped_in_queue(&self, lines: u64) {
        let reason = DROPPED_QUEUE;
        self.log_lines_dropped
            .get_or_create(&Reason { reason })
            .inc_by(lines);
    }

    pub(crate) fn usage_record_dropped_in_queue(&self) {
        let reason = DROPPED_QUEUE;
        self.usage_records_dropped
            .get_or_create(&Reason { reason })
            .inc();
    }

    pub(crate) fn usage_records_dropped_by_disk(&self, records: u64) {
        let reason = DROPPED_DISK;
        self.usage_records_dropped
            .get_or_create(&Reason { reason })
            .inc_by(records);
    }

    /// Removes the series of a function that is deleted, and lets another have its place.
    pub fn forget(&self, function: &FunctionId) {
        if !self.functions.lock().remove(function) {
            return;
        }
        for outcome in Outcome::records().map(Outcome::name) {
            let function = function.to_string();
            self.requests.remove(&FunctionOutcome { function, outcome });
        }
        for reason in Outcome::unserved().map(Outcome::name) {
            let function = function.to_string();
            self.refused.remove(&FunctionReason { function, reason });
        }
    }

    /// Everything as text, with `gauges` as they are now.
    pub fn encode(&self, gauges: &Gauges, exposition: Exposition) -> String {
        self.shown.set(gauges);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        match exposition {
            Exposition::OpenMetrics => text,
            Exposition::Prometheus => exposition::to_prometheus(&text),
        }
    }

    fn label(&self, function: &FunctionId) -> String {
        let mut functions = self.functions.lock();
        if functions.contains(function) {
            return function.to_string();
        }
        if functions.len() >= FUNCTION_LABELS_MAX {
            return OTHER.to_owned();
        }
        functions.insert(function.clone());
        function.to_string()
    }
}

/// Beyond what one request may log.
const DROPPED_REQUEST: &str = "request";
/// Beyond what the agent holds for all requests that run.
const DROPPED_MEMORY: &str = "memory";
const DROPPED_RATE: &str = "rate";
const DROPPED_DISK: &str = "disk";
const DROPPED_QUEUE: &str = "queue";

fn outcome_of(is_ok: bool) -> OutcomeLabel {
    let outcome = if is_ok { "ok" } else { "error" };
    OutcomeLabel { outcome }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "2^53 microseconds are 285 years"
)]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests;
