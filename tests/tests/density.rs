//! What a further VM of a snapshot costs: they share its pages, and each has only what it wrote.
//!
//! With `JIFFY_LONG=1` a thousand VMs are measured, all-in: what `MemAvailable` lost, so memory of
//! the kernel and of this process too. Nothing else should run meanwhile:
//!
//! ```text
//! JIFFY_LONG=1 cargo test --release -p jiffy-tests --test density -- --nocapture
//! ```

mod common;

use std::{fs, net::Shutdown, os::fd::AsFd, path::Path, time::Instant};

use common::Guest;
use jiffy_client::{Shell, Spawner, SpawnerOptions, restore_packet};
use jiffy_control::{Death, Event, Exchange, Isolation, Report, VmEnd};
use jiffy_snapshots::Snapshot;
use jiffy_tests::vm::TIMEOUT_AMPLE;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a further VM of `hello` may cost, KiB.
const VM_KIB_MAX: u64 = 1024;
/// Descriptors that this process has for each VM, with room to spare.
const FILES_PER_VM: u64 = 4;

/// A VM as its owner keeps it, but without a thread for each: those would be measured too.
struct Instance {
    shell: Shell,
}

impl Instance {
    fn spawn(spawner: &Spawner, snapshot: &Snapshot) -> Self {
        let shell = spawner.shell(snapshot.ram_bytes()).expect("a shell");
        shell
            .stream
            .set_read_timeout(Some(TIMEOUT_AMPLE))
            .expect("a limit for reading");
        let packet = restore_packet(snapshot, Isolation::Fresh, Some(TIMEOUT_AMPLE), &[]);
        let packet = packet.expect("a command");
        shell
            .control
            .send_with(&packet, &[snapshot.ram_file().as_fd()])
            .expect("a shell that listens");
        let mut instance = Self { shell };
        instance.ask();
        instance
    }

    fn ask(&mut self) {
        let question = jiffy_tests::vm::event(br#"{"name":"Ada"}"#);
        let mut exchange = Exchange::new().expect("random bytes");
        let asked = exchange.write(&mut self.shell.stream, &question);
        asked.expect("room for a request");
        let response = exchange.read(&mut self.shell.stream).expect("a response");
        let body = response.body;
        assert!(body.starts_with(br#"{"greeting":"Hello, Ada!"#), "{body:?}");
    }

    fn finish(self) -> Report {
        self.shell
            .stream
            .shutdown(Shutdown::Both)
            .expect("an open stream");
        let report = loop {
            match self.shell.control.recv::<Event>().expect("an event") {
                Some(Event::Stopped(report)) => break report,
                Some(_) => {}
                None => panic!("the VMM ended without a report"),
            }
        };
        // The spawner says when the process is gone.
        while let Some(event) = self.shell.control.recv::<Event>().expect("an event") {
            assert!(
                matches!(event, Event::Died(Death::Exited(0), _)),
                "{event:?}"
            );
        }
        report
    }
}

/// The number behind `name` in a file of `/proc`, KiB.
fn kib(file: impl AsRef<Path>, name: &str) -> u64 {
    let text = fs::read_to_string(file).expect("a file of /proc");
    let number = text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?.strip_prefix(':')?;
        rest.trim().strip_suffix("kB")?.trim().parse().ok()
    });
    number.unwrap_or_else(|| panic!("no {name} in {text}"))
}

fn allow_files(vms: u64) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = FILES_PER_VM * vms + 256;
    let is_enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= wanted);
    if !is_enough(limit.current) {
        assert!(
            is_enough(limit.maximum),
            "raise the hard limit of open files to {wanted}"
        );
        let current = Some(wanted);
        setrlimit(Resource::Nofile, Rlimit { current, ..limit })
            .expect("a limit below the hard one");
    }
}

/// Each VM keeps what it has while the others run, and all of them still answer at the end.
fn fill(spawner: &Spawner, snapshot: &Snapshot, vms: usize) -> Vec<Instance> {
    let mut all = vec![];
    all.resize_with(vms, || Instance::spawn(spawner, snapshot));
    all
}

fn spawner() -> Spawner {
    let options = SpawnerOptions::default();
    Spawner::start(&jiffy_tests::vmm_path(), &options).expect("a spawner")
}

fn end(mut vms: Vec<Instance>) {
    vms.iter_mut().for_each(Instance::ask);
    for vm in vms {
        let report = vm.finish();
        assert_eq!(report.end, VmEnd::Finished);
        assert_eq!((report.stats.requests_done, report.stats.resets), (2, 2));
    }
}

/// Beside other load only what is a VM's own can be told from what is not: its share of memory that
/// is mapped, without the kernel's.
#[test]
fn vms_of_one_snapshot_share_its_pages() {
    const VMS: usize = 20;
    if !jiffy_tests::require_kvm() {
        return;
    }
    let folder = Guest::of("hello").snapshot();
    let (spawner, snapshot) = (spawner(), folder.open());
    let vms = fill(&spawner, &snapshot, VMS);
    let share = |vm: &Instance| {
        let process = vm.shell.process_id();
        kib(format!("/proc/{process}/smaps_rollup"), "Pss")
    };
    let shares: Vec<_> = vms.iter().map(share).collect();
    println!("proportional share of each, KiB: {shares:?}");
    assert!(shares.iter().all(|kib| *kib <= VM_KIB_MAX), "{shares:?}");
    end(vms);
}

#[test]
fn a_thousand_vms_cost_a_mebibyte_each_at_most() {
    const VMS: usize = 1000;
    if !common::is_long() {
        println!("skipped: JIFFY_LONG=1 runs it");
        return;
    }
    if !jiffy_tests::require_kvm() {
        return;
    }
    allow_files(VMS as u64);
    let folder = Guest::of("hello").snapshot();
    let (spawner, snapshot) = (spawner(), folder.open());
    // What all of them share is there before the first measurement.
    let first = fill(&spawner, &snapshot, 1);
    let before_kib = kib("/proc/meminfo", "MemAvailable");
    let began = Instant::now();
    let vms = fill(&spawner, &snapshot, VMS);
    let took = began.elapsed();
    let after_kib = kib("/proc/meminfo", "MemAvailable");
    let each_kib = before_kib.saturating_sub(after_kib) / VMS as u64;
    println!("{VMS} VMs in {took:?}: {each_kib} KiB each ({before_kib} KiB, then {after_kib} KiB)");
    end(vms);
    end(first);
    assert!(each_kib <= VM_KIB_MAX, "{each_kib} KiB for each VM");
}
