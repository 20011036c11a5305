//! What others count, read at the moment of a scrape.

use std::sync::atomic::{AtomicU64, Ordering};

use jiffy_capabilities::Outbound;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::pool::PoolStats;

/// What is true at the moment of a scrape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Functions that are deployed.
    pub functions: usize,
    /// Logs of functions on disk, bytes.
    pub log_bytes: u64,
    /// Bodies of requests and responses in memory, bytes.
    pub body_bytes: u64,
    /// Shells, VMs and who waits for them.
    pub pool: PoolStats,
    /// Requests that functions have made, by origin.
    pub outbound: Vec<Outbound>,
}

type Value = fn(&Gauges) -> u64;

/// A metric for each field.
#[derive(Debug)]
pub(super) struct Shown {
    gauges: Vec<(Gauge<u64, AtomicU64>, Value)>,
    counters: Vec<(Counter, Value)>,
    outbound: ByOrigin,
}

type OriginLabel = (&'static str, String);

/// What functions ask of others: at most as many origins as `jiffy-capabilities` tells apart.
#[derive(Debug, Default)]
struct ByOrigin {
    requests: Family<[OriginLabel; 2], Counter>,
    sent: Family<[OriginLabel; 1], Counter>,
    received: Family<[OriginLabel; 1], Counter>,
    seconds: Family<[OriginLabel; 1], Counter<f64, AtomicU64>>,
}

#[rustfmt::skip]
const GAUGES: [(&str, &str, Value); 8] = [
    ("functions", "Functions that are deployed", |all| all.functions as u64),
    ("shells_ready", "Shells that wait for a function", |all| all.pool.shells_ready as u64),
    ("shells_making", "Shells that are being made", |all| all.pool.shells_making as u64),
    ("vms_starting", "VMs that wait for a shell", |all| all.pool.vms_starting as u64),
    ("vms_busy", "VMs that have a request", |all| all.pool.vms_busy as u64),
    ("vms_settling", "VMs that are being made ready for the next request", |all| all.pool.vms_settling as u64),
    ("vms_idle", "VMs that wait for a request", |all| all.pool.vms_idle as u64),
    ("requests_waiting", "Requests that wait for a VM", |all| all.pool.requests_waiting as u64),
];

#[rustfmt::skip]
const GAUGES_BYTES: [(&str, &str, Value); 4] = [
    ("bodies", "Bodies of requests and responses in memory", |all| all.body_bytes),
    ("memory_charged", "Memory that VMs are charged", |all| all.pool.memory_charged_bytes),
    ("memory_budget", "Memory that VMs may be charged", |all| all.pool.memory_bytes_max),
    ("function_logs", "Logs of functions on disk", |all| all.log_bytes),
];

#[rustfmt::skip]
const COUNTERS: [(&str, &str, Value); 5] = [
    ("vms_started", "VMs that were started", |all| all.pool.vms_started),
    ("vms_evicted", "VMs that were ended to make room for others", |all| all.pool.vms_evicted),
    ("vms_squeezed", "VMs that the kernel ended because memory ran out for all together", |all| all.pool.vms_squeezed),
    ("vms_expired", "VMs that were ended because nobody asked for them", |all| all.pool.vms_expired),
    ("shells_failed", "Shells that could not be made", |all| all.pool.shells_failed),
];

impl Shown {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let mut shown = Self {
            gauges: vec![],
            counters: vec![],
            outbound: ByOrigin::register(registry),
        };
        for (name, help, value) in GAUGES {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            shown.gauges.push((gauge, value));
        }
        for (name, help, value) in GAUGES_BYTES {
            let gauge = Gauge::default();
            registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
            shown.gauges.push((gauge, value));
        }
        for (name, help, value) in COUNTERS {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            shown.counters.push((counter, value));
        }
        shown
    }

    pub(super) fn set(&self, gauges: &Gauges) {
        for (gauge, value) in &self.gauges {
            gauge.set(value(gauges));
        }
        for (counter, value) in &self.counters {
            raise(counter, value(gauges));
        }
        for outbound in &gauges.outbound {
            self.outbound.set(outbound);
        }
    }
}

/// Of two scrapes at once the later count stays: a counter never goes back.
fn raise(counter: &Counter, value: u64) {
    counter.inner().fetch_max(value, Ordering::Relaxed);
}

impl ByOrigin {
    fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        registry.register(
            "outbound_requests",
            "HTTP requests of functions that were granted, by the origin of the grant and how they ended",
            all.requests.clone(),
        );
        registry.register_with_unit(
            "outbound_request_body",
            "Size of HTTP requests of functions",
            Unit::Bytes,
            all.sent.clone(),
        );
        registry.register_with_unit(
            "outbound_response_body",
            "Size of responses to HTTP requests of functions",
            Unit::Bytes,
            all.received.clone(),
        );
        registry.register_with_unit(
            "outbound_request",
            "Time from HTTP requests of functions to their results, all together",
            Unit::Seconds,
            all.seconds.clone(),
        );
        all
    }

    fn set(&self, outbound: &Outbound) {
        let origin = || ("origin", outbound.origin.clone());
        for (result, count) in outbound.results {
            let labels = [origin(), ("result", result.to_owned())];
            raise(&self.requests.get_or_create(&labels), count);
        }
        let label = [origin()];
        raise(&self.sent.get_or_create(&label), outbound.sent_bytes);
        raise(
            &self.received.get_or_create(&label),
            outbound.received_bytes,
        );
        // Positive doubles are in the order of their bits.
        let bits = outbound.time.as_secs_f64().to_bits();
        let seconds = self.seconds.get_or_create(&label);
        seconds.inner().fetch_max(bits, Ordering::Relaxed);
    }
}
