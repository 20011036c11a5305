//! Counters, histograms and gauges for Prometheus and whoever speaks its formats.
//!
//! Series are bounded: latency is by kind of start only, counters by function for the first
//! [`FUNCTION_LABELS_MAX`] functions and together under `(other)` beyond; so is what functions ask of others by origin, of which
//! `jiffy-capabilities` tells `ORIGINS_MAX` apart.
//! Not here: what one request took (`usage`).

mod exposition;
mod gauges;

use std::{borrow::Cow, collections::HashSet, sync::atomic::AtomicU64};

use jiffy_control::LogLoss;
use jiffy_model::Outcome;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::text,
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

type ByStart = Family<Label, Histogram, fn() -> Histogram>;
type Label = [(&'static str, &'static str); 1];
type FunctionLabel = (&'static str, Cow<'static, str>);

fn histogram() -> Histogram {
    Histogram::new(LATENCY_BUCKETS_S)
}

fn by_start() -> ByStart {
    ByStart::new_with_constructor(histogram)
}

macro_rules! metrics {
    ($($field:ident: $type:ty = $new:expr, $name:literal $(in $unit:ident)?, $help:literal;)*) => {
        /// All metrics of the agent.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $($field: $type,)*
            shown: Shown,
            /// Functions with series of their own.
            functions: Mutex<HashSet<FunctionId>>,
        }

        impl Metrics {
            fn registered() -> Self {
                let mut registry = Registry::with_prefix("jiffy");
                let shown = Shown::register(&mut registry);
                // The library ends each text with a full stop.
                $(let $field: $type = $new;
                register!(registry, $name $(in $unit)?, $help, $field.clone());)*
                Self {
                    registry,
                    $($field,)*
                    shown,
                    functions: Mutex::default(),
                }
            }
        }
    };
}

macro_rules! register {
    ($registry:ident, $name:literal, $help:literal, $metric:expr) => {
        $registry.register($name, $help, $metric)
    };
    ($registry:ident, $name:literal in $unit:ident, $help:literal, $metric:expr) => {
        $registry.register_with_unit($name, $help, Unit::$unit, $metric)
    };
}

metrics! {
    requests: Family<[FunctionLabel; 2], Counter> = Family::default(), "requests", "Requests that had a VM, by how they ended";
    refused: Family<[FunctionLabel; 2], Counter> = Family::default(), "requests_refused", "Requests that got no VM";
    deploys: Family<Label, Counter> = Family::default(), "deploys", "Deploys";
    wall: ByStart = by_start(), "request_duration" in Seconds, "Time from the arrival of a request to the end of its response";
    queue: ByStart = by_start(), "request_queue" in Seconds, "Time that a request waited for a VM";
    run: ByStart = by_start(), "request_run" in Seconds, "Time from the hand-over of a request to a VM to the end of its response";
    restore: Histogram = histogram(), "restore" in Seconds, "Time to hand a shell a snapshot";
    reset: Histogram = histogram(), "reset" in Seconds, "Time to reset a VM after a request";
    cpu: Counter<f64, AtomicU64> = Counter::default(), "vm_cpu" in Seconds, "CPU time that VMs took for requests";
    pages_written: Counter = Counter::default(), "vm_pages_written", "Pages that resets found written";
    exits: Counter = Counter::default(), "vm_exits", "Exits of VMs for requests";
    received: Counter = Counter::default(), "request_body" in Bytes, "Size of requests";
    sent: Counter = Counter::default(), "response_body" in Bytes, "Size of responses";
    log_lines_dropped: Family<Label, Counter> = Family::default(), "log_lines_dropped", "Log lines that were not kept";
    log_lines_cut: Counter = Counter::default(), "log_lines_cut", "Log lines that were too long and lost their end";
    usage_records_dropped: Family<Label, Counter> = Family::default(), "usage_records_dropped", "Usage records that were not kept";
    connections: Gauge = Gauge::default(), "connections", "Connections that are open";
    connections_ended: Family<Label, Counter> = Family::default(), "connections_ended", "Connections that were served, by how they ended";
    connections_refused: Family<Label, Counter> = Family::default(), "connections_refused", "Connections that got no place";
    problems: Family<Label, Counter> = Family::default(), "problems", "Answers of the agent's own that say what went wrong, by type, in API v1 and in Lambda's";
    build: Family<Label, Gauge> = Family::default(), "build", "The agent that runs";
}

/// Counts under one label.
fn count(family: &Family<Label, Counter>, label: Label, by: u64) {
    family.get_or_create(&label).inc_by(by);
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that start at zero.
    pub fn new() -> Self {
        let metrics = Self::registered();
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        metrics.build.get_or_create(&build).set(1);
        // Series that exist from the start can be alerted on.
        for start in [Start::Cold, Start::Fresh, Start::Warm] {
            for family in [&metrics.wall, &metrics.queue, &metrics.run] {
                drop(family.get_or_create(&[("start", start.as_str())]));
            }
        }
        for is_ok in [true, false] {
            count(&metrics.deploys, outcome_of(is_ok), 0);
        }
        for reason in [
            DROPPED_REQUEST,
            DROPPED_MEMORY,
            DROPPED_RATE,
            DROPPED_DISK,
            DROPPED_QUEUE,
        ] {
            count(&metrics.log_lines_dropped, because(reason), 0);
        }
        for name in Outcome::problems().map(Outcome::name) {
            count(&metrics.problems, [("type", name)], 0);
        }
        for reason in [DROPPED_DISK, DROPPED_QUEUE] {
            count(&metrics.usage_records_dropped, because(reason), 0);
        }
        metrics
    }

    /// Shows how connections may end and be refused before one is.
    pub(crate) fn expect_connections(&self, ends: &[&'static str], refusals: &[&'static str]) {
        for &reason in ends {
            count(&self.connections_ended, because(reason), 0);
        }
        for &reason in refusals {
            count(&self.connections_refused, because(reason), 0);
        }
    }

    /// Counts a request that had a VM.
    pub fn invoked(&self, record: &UsageRecord) {
        let labels = self.labels(&record.function, "outcome", record.outcome);
        self.requests.get_or_create(&labels).inc();
        let start = [("start", record.start.as_str())];
        for (family, us) in [
            (&self.wall, record.wall_us),
            (&self.queue, record.queue_us),
            (&self.run, record.run_us),
        ] {
            family.get_or_create(&start).observe(seconds(us));
        }
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
        let labels = self.labels(function, "reason", why);
        self.refused.get_or_create(&labels).inc();
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
        count(&self.connections_ended, because(reason), 1);
    }

    /// Counts a connection that got no place.
    pub(crate) fn connection_refused(&self, reason: &'static str) {
        count(&self.connections_refused, because(reason), 1);
    }

    /// Counts an answer of the agent's own that says what went wrong.
    pub(crate) fn problem(&self, outcome: Outcome) {
        count(&self.problems, [("type", outcome.kind().name())], 1);
    }

    /// Counts a deploy.
    pub fn deployed(&self, is_ok: bool) {
        count(&self.deploys, outcome_of(is_ok), 1);
    }

    /// Counts what of a request's log was lost before it came here: by its VMM, which bounds the log of a request, and
    /// by the agent, which bounds those of all.
    pub(crate) fn log_lost(&self, by_vmm: &LogLoss, by_agent: &LogLoss) {
        let dropped = &self.log_lines_dropped;
        count(dropped, because(DROPPED_REQUEST), by_vmm.records);
        count(dropped, because(DROPPED_MEMORY), by_agent.records);
        self.log_lines_cut.inc_by(by_vmm.and(by_agent).cut);
    }

    pub(crate) fn log_lines_dropped(&self, lines: Dropped) {
        let dropped = &self.log_lines_dropped;
        count(dropped, because(DROPPED_RATE), lines.rate_lines);
        count(dropped, because(DROPPED_DISK), lines.disk_lines);
        self.log_lines_cut.inc_by(lines.cut_lines);
    }

    pub(crate) fn log_lines_dropped_in_queue(&self, lines: u64) {
        count(&self.log_lines_dropped, because(DROPPED_QUEUE), lines);
    }

    pub(crate) fn usage_record_dropped_in_queue(&self) {
        count(&self.usage_records_dropped, because(DROPPED_QUEUE), 1);
    }

    pub(crate) fn usage_records_dropped_by_disk(&self, records: u64) {
        count(&self.usage_records_dropped, because(DROPPED_DISK), records);
    }

    /// Removes the series of a function that is deleted, and lets another have its place.
    pub fn forget(&self, function: &FunctionId) {
        if !self.functions.lock().remove(function) {
            return;
        }
        let ends = Outcome::records().map(|end| (&self.requests, "outcome", end));
        let refusals = Outcome::unserved().map(|why| (&self.refused, "reason", why));
        for (family, key, outcome) in ends.chain(refusals) {
            family.remove(&function_labels(function.to_string(), key, outcome));
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

    fn labels(
        &self,
        function: &FunctionId,
        key: &'static str,
        outcome: Outcome,
    ) -> [FunctionLabel; 2] {
        let mut functions = self.functions.lock();
        let is_full = functions.len() >= FUNCTION_LABELS_MAX && !functions.contains(function);
        let name = match is_full {
            true => OTHER.to_owned(),
            false => function.to_string(),
        };
        if !is_full && !functions.contains(function) {
            functions.insert(function.clone());
        }
        function_labels(name, key, outcome)
    }
}

fn function_labels(function: String, key: &'static str, outcome: Outcome) -> [FunctionLabel; 2] {
    [("function", function.into()), (key, outcome.name().into())]
}

/// Beyond what one request may log.
const DROPPED_REQUEST: &str = "request";
/// Beyond what the agent holds for all requests that run.
const DROPPED_MEMORY: &str = "memory";
const DROPPED_RATE: &str = "rate";
const DROPPED_DISK: &str = "disk";
const DROPPED_QUEUE: &str = "queue";

fn because(reason: &'static str) -> Label {
    [("reason", reason)]
}

fn outcome_of(is_ok: bool) -> Label {
    [("outcome", if is_ok { "ok" } else { "error" })]
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
