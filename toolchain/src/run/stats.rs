//! What a run took: seen from here, and from the VMM.

use std::fmt;

use jiffy_control::{NetworkStats, Phases, Stats};
use serde::Serialize;

use crate::output::{Bytes, Nanoseconds, Table};

/// Times that only the one who started the VMM knows.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct HostTimes {
    /// Of an image: how the snapshot was made that serves the requests.
    pub(super) boot: Option<BootTimes>,
    /// From before the first VMM process was made until a request could be sent.
    pub(super) start_ns: u64,
    /// From before the last request was written to its response.
    pub(super) last_request_ns: u64,
    /// Calls of the last request.
    pub(super) last_request_calls: u32,
    /// Time in which one call of it or more had no reply.
    pub(super) last_request_calls_ns: u64,
    /// All requests that got a response; `None`: none did.
    pub(super) round_trips: Option<RoundTrips>,
}

/// How an image became a snapshot.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct BootTimes {
    image_ns: u64,
    load_ns: u64,
    kvm_ns: u64,
    init_ns: u64,
}

impl BootTimes {
    pub(super) fn new(phases: &Phases) -> Self {
        Self {
            image_ns: phases.image_ns,
            load_ns: phases.load_ns,
            kvm_ns: phases.kvm_ns,
            init_ns: phases.init_ns,
        }
    }

    fn total_ns(&self) -> u64 {
        [self.image_ns, self.load_ns, self.kvm_ns, self.init_ns]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

/// Round trips: each from before a request was written to its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RoundTrips {
    count: usize,
    p50_ns: u64,
    p90_ns: u64,
    p99_ns: u64,
    max_ns: u64,
}

impl RoundTrips {
    /// Of `times_ns`, which are sorted; percentiles are times that were measured (nearest rank).
    pub(crate) fn of(times_ns: &mut [u64]) -> Option<Self> {
        times_ns.sort_unstable();
        let times_ns = &*times_ns;
        let percentile = |percent: usize| {
            let rank = (times_ns.len() * percent).div_ceil(100);
            times_ns.get(rank.checked_sub(1)?).copied()
        };
        Some(Self {
            count: times_ns.len(),
            p50_ns: percentile(50)?,
            p90_ns: percentile(90)?,
            p99_ns: percentile(99)?,
            max_ns: percentile(100)?,
        })
    }

    /// Median, 90th and 99th percentile, largest.
    pub(crate) fn figures_ns(&self) -> [u64; 4] {
        [self.p50_ns, self.p90_ns, self.p99_ns, self.max_ns]
    }
}

/// What `--stats` prints.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct StatsView {
    host: HostTimes,
    /// The part of the start that is no phase of a VM: processes, `exec`, command lines.
    process_ns: u64,
    vmm: Stats,
}

impl StatsView {
    pub(super) fn new(host: HostTimes, vmm: Stats) -> Self {
        let phases = vmm.phases;
        let boot_ns = host.boot.map_or(0, |boot| boot.total_ns());
        let known_ns = [
            phases.image_ns,
            phases.load_ns,
            phases.kvm_ns,
            phases.init_ns,
            phases.restore_ns,
        ]
        .into_iter()
        .fold(boot_ns, u64::saturating_add);
        Self {
            host,
            process_ns: host.start_ns.saturating_sub(known_ns),
            vmm,
        }
    }
}

impl fmt::Display for StatsView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats {
            exits,
            last_request_exits: last,
            phases,
            ..
        } = self.vmm;
        let mut times = Table::new(&["phase", "time"]);
        let mut row = |what: &str, ns| times.row(&[&what, &Nanoseconds(ns)]);
        row("process", self.process_ns);
        if let Some(boot) = self.host.boot {
            row("image read and verified", boot.image_ns);
            row("image loaded", boot.load_ns);
            row("VM and vCPU made", boot.kvm_ns);
            row("guest boot and init", boot.init_ns);
        }
        if phases.restore_ns > 0 {
            row("snapshot read and verified", phases.image_ns);
            row("VM and vCPU made", phases.kvm_ns);
            row("snapshot restored", phases.restore_ns);
        } else {
            row("image read and verified", phases.image_ns);
            row("image loaded", phases.load_ns);
            row("VM and vCPU made", phases.kvm_ns);
            row("guest boot and init", phases.init_ns);
        }
        row("start, all of it", self.host.start_ns);
        row("last request, in the VM", self.vmm.last_request_ns);
        row("last request, CPU", self.vmm.last_request_cpu_ns);
        if self.host.last_request_calls > 0 {
            row("last request, in calls", self.host.last_request_calls_ns);
        }
        row("last request, from here", self.host.last_request_ns);
        if self.vmm.resets > 0 {
            row("last reset, after the response", self.vmm.last_reset_ns);
        }
        let mut round_trips = Table::new(&["round trips from here", "time"]);
        // One of them stands above.
        let several = self.host.round_trips.filter(|trips| trips.count > 1);
        if let Some(trips) = several {
            for (what, ns) in [
                ("p50", trips.p50_ns),
                ("p90", trips.p90_ns),
                ("p99", trips.p99_ns),
                ("max", trips.max_ns),
            ] {
                round_trips.row(&[&what, &Nanoseconds(ns)]);
            }
        }
        let mut exit_table = Table::new(&["exits", "all", "last request"]);
        for (what, all, last) in [
            ("wait", exits.wait, last.wait),
            ("ready", exits.ready, last.ready),
            ("device register", exits.mmio, last.mmio),
            ("signal", exits.signal, last.signal),
            ("other", exits.other, last.other),
            ("together", exits.total(), last.total()),
        ] {
            exit_table.row(&[&what, &all, &last]);
        }
        let mut amounts = Table::new(&["amount", ""]);
        amounts.row(&[&"requests", &self.vmm.requests]);
        if self.host.last_request_calls > 0 {
            amounts.row(&[&"calls of the last request", &self.host.last_request_calls]);
        }
        amounts.row(&[&"pages touched", &self.vmm.pages_touched]);
        if self.vmm.resets > 0 {
            amounts.row(&[&"resets", &self.vmm.resets]);
            amounts.row(&[&"pages of the last reset", &self.vmm.last_reset_pages]);
        }
        amounts.row(&[&"RAM", &Bytes(self.vmm.ram_bytes)]);
        amounts.row(&[&"bytes in", &Bytes(self.vmm.bytes_in)]);
        amounts.row(&[&"bytes out", &Bytes(self.vmm.bytes_out)]);
        if self.vmm.network != NetworkStats::default() {
            let network = self.vmm.network;
            amounts.row(&[&"frames in", &network.frames_in]);
            amounts.row(&[&"bytes of these", &Bytes(network.bytes_in)]);
            amounts.row(&[&"frames for the guest dropped", &network.dropped_in]);
            amounts.row(&[&"frames out", &network.frames_out]);
            amounts.row(&[&"bytes of these", &Bytes(network.bytes_out)]);
            amounts.row(&[&"frames of the guest dropped", &network.dropped_out]);
        }
        let lost = self.vmm.log_lost;
        if lost.records > 0 {
            amounts.row(&[&"log records dropped", &lost.records]);
            amounts.row(&[&"text of these", &Bytes(lost.bytes)]);
        }
        if lost.cut > 0 {
            amounts.row(&[&"log records cut", &lost.cut]);
        }
        write!(f, "{times}")?;
        if several.is_some() {
            write!(f, "{round_trips}")?;
        }
        write!(f, "{exit_table}{amounts}")
    }
}

#[cfg(test)]
mod tests {
    use jiffy_control::{Exits, Phases};

    use super::*;

    #[test]
    fn all_that_was_measured_is_shown() {
        let phases = Phases {
            image_ns: 1000,
            load_ns: 2000,
            kvm_ns: 3000,
            init_ns: 4000,
            ..Phases::default()
        };
        let exits = Exits {
            wait: 7,
            ..Exits::default()
        };
        let vmm = Stats {
            phases,
            exits,
            pages_touched: 33,
            network: NetworkStats {
                frames_in: 5,
                dropped_out: 6,
                ..NetworkStats::default()
            },
            ..Stats::default()
        };
        let stats = StatsView::new(
            HostTimes {
                boot: None,
                start_ns: 15_000,
                last_request_ns: 6000,
                last_request_calls: 2,
                last_request_calls_ns: 4000,
                round_trips: RoundTrips::of(&mut [6000]),
            },
            vmm,
        );
        assert_eq!(stats.process_ns, 5000);
        let lines = lines(&stats);
        for expected in [
            "process 5.0 µs",
            "guest boot and init 4.0 µs",
            "wait 7 0",
            "last request, in calls 4.0 µs",
            "calls of the last request 2",
            "together 7 0",
            "pages touched 33",
            "frames in 5",
            "frames of the guest dropped 6",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{lines:#?}");
        }
        for restored in ["p50", "reset", "restored"] {
            assert!(
                !lines.iter().any(|line| line.contains(restored)),
                "{lines:#?}"
            );
        }
    }

    #[test]
    fn a_restored_vm_shows_restore_resets_and_round_trips() {
        let phases = Phases {
            image_ns: 1000,
            kvm_ns: 3000,
            restore_ns: 2000,
            ..Phases::default()
        };
        let vmm = Stats {
            phases,
            resets: 3,
            last_reset_pages: 24,
            last_reset_ns: 7000,
            ..Stats::default()
        };
        let host = HostTimes {
            round_trips: RoundTrips::of(&mut [3000, 1000, 2000]),
            ..HostTimes::default()
        };
        let lines = lines(&StatsView::new(host, vmm));
        for expected in [
            "snapshot read and verified 1.0 µs",
            "snapshot restored 2.0 µs",
            "last reset, after the response 7.0 µs",
            "p50 2.0 µs",
            "max 3.0 µs",
            "resets 3",
            "pages of the last reset 24",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{lines:#?}");
        }
        assert!(
            !lines
                .iter()
                .any(|line| line.contains("calls") || line.contains("frames")),
            "{lines:#?}"
        );
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        assert_eq!(RoundTrips::of(&mut []), None);
        let check = |count: u64, expected: [u64; 4]| {
            let mut times: Vec<_> = (1..=count).rev().collect();
            let trips = RoundTrips::of(&mut times).expect("times");
            let found = [trips.p50_ns, trips.p90_ns, trips.p99_ns, trips.max_ns];
            assert_eq!(found, expected, "{count}");
        };
        check(1, [1, 1, 1, 1]);
        check(2, [1, 2, 2, 2]);
        check(10, [5, 9, 10, 10]);
        check(100, [50, 90, 99, 100]);
        check(1000, [500, 900, 990, 1000]);
    }

    /// What is printed, blanks made one.
    fn lines(stats: &StatsView) -> Vec<String> {
        stats
            .to_string()
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }
}
