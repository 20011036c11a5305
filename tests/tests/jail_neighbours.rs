//! A VM that eats memory, CPU or log output hurts only itself: what its neighbour's requests take.
//!
//! With `JIFFY_LONG=1` the neighbour's p99 may at most double; nothing else should run meanwhile:
//!
//! ```text
//! JIFFY_LONG=1 cargo test --release -p jiffy-tests --test jail_neighbours -- --nocapture
//! ```

use std::{
    fs::File,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use jiffy_abi::layout::RAM_BYTES_DEFAULT;
use jiffy_client::{NewSnapshot, Spawner, SpawnerOptions, create_snapshot};
use jiffy_control::{GuestFault, Isolation, VmEnd};
use jiffy_snapshots::Snapshot;
use jiffy_tests::{
    owner::{Broken, Owner},
    vm::TIMEOUT_AMPLE,
};

/// How much longer the slowest percent may take beside an eater on a quiet host.
const P99_TIMES_MAX: f64 = 2.0;
/// The same on a host that does other things too.
const P99_BUSY_MAX: Duration = Duration::from_millis(500);
const REQUESTS_LONG: usize = 5000;
const REQUESTS_SHORT: usize = 500;
/// For the eater to have begun.
const SETTLE: Duration = Duration::from_millis(100);

fn is_long() -> bool {
    std::env::var("JIFFY_LONG").is_ok_and(|value| value == "1")
}

/// What an eater does once; it is repeated while the neighbour is measured.
type Eat = fn(&Spawner, &Path) -> Result<(), Broken>;

fn eaters() -> [(&'static str, Eat); 3] {
    [("CPU", eat_cpu), ("memory", eat_memory), ("log", eat_log)]
}

fn faults(spawner: &Spawner, image: &Path, timeout: Duration) -> Result<Owner, Broken> {
    let mut owner = Owner::new(spawner, RAM_BYTES_DEFAULT)?;
    owner.waiting()?;
    let image = File::open(image).map_err(|error| error.to_string())?;
    owner.boot(&image, RAM_BYTES_DEFAULT, timeout)?;
    Ok(owner)
}

/// Computes until its deadline.
fn eat_cpu(spawner: &Spawner, image: &Path) -> Result<(), Broken> {
    let mut owner = faults(spawner, image, Duration::from_secs(1))?;
    owner.request(r#"{"kind":"spin"}"#)?;
    match owner.report()?.end {
        VmEnd::TimedOut { .. } => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// Fills all memory that its VM has.
fn eat_memory(spawner: &Spawner, image: &Path) -> Result<(), Broken> {
    let mut owner = faults(spawner, image, TIMEOUT_AMPLE)?;
    owner.request(r#"{"kind":"oom"}"#)?;
    match owner.report()?.end {
        VmEnd::Fault(GuestFault::OutOfMemory { .. }) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// Logs more than is kept, many times.
fn eat_log(spawner: &Spawner, image: &Path) -> Result<(), Broken> {
    const TIMES: usize = 50;
    let mut owner = faults(spawner, image, TIMEOUT_AMPLE)?;
    for _ in 0..TIMES {
        owner.request(r#"{"kind":"log-flood"}"#)?;
        // A shell whose log nobody reads waits for that, so it is read before the response.
        let done = owner.done()?;
        owner.response()?;
        owner.settle(&done)?;
        owner.log.clear();
    }
    owner.finish().map(drop)
}

/// What requests of the neighbour take, sorted.
fn measure(neighbour: &mut Owner, requests: usize) -> Vec<Duration> {
    let mut times: Vec<_> = (0..requests)
        .map(|_| {
            let began = Instant::now();
            neighbour.request(r#"{"name":"Ada"}"#).expect("room");
            let response = neighbour.response().expect("a response");
            let took = began.elapsed();
            assert!(response.body.starts_with(br#"{"greeting":"Hello, Ada!"#));
            let done = neighbour.done().expect("a reset");
            neighbour.settle(&done).expect("nothing is left");
            took
        })
        .collect();
    times.sort_unstable();
    times
}

fn p99(times: &[Duration]) -> Duration {
    times[times.len() * 99 / 100]
}

#[test]
fn a_vm_that_eats_hurts_only_itself() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let new = NewSnapshot {
        vmm: jiffy_tests::vmm_path(),
        spawner: SpawnerOptions::default(),
        image: jiffy_tests::image("hello"),
        ram_bytes: None,
        environment: vec![],
        timeout: None,
        output: folder.path().join("hello.snap"),
    };
    create_snapshot(&new, |_| {}).expect("a snapshot");
    let snapshot = Snapshot::open(&new.output).expect("a snapshot");
    let image = jiffy_tests::image("faults");
    let spawner = Spawner::start(&jiffy_tests::vmm_path(), &SpawnerOptions::default());
    let spawner = spawner.expect("a spawner");
    let mut neighbour = Owner::new(&spawner, snapshot.ram_bytes()).expect("a shell");
    neighbour.waiting().expect("a shell");
    let restored = neighbour.restore(&snapshot, Isolation::Fresh);
    restored.expect("a shell that listens");
    let requests = if is_long() {
        REQUESTS_LONG
    } else {
        REQUESTS_SHORT
    };
    measure(&mut neighbour, requests / 10);
    for (what, eat) in eaters() {
        let alone = measure(&mut neighbour, requests);
        let (is_over, meals) = (AtomicBool::new(false), AtomicU64::new(0));
        let beside = thread::scope(|scope| {
            let eater = scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    eat(&spawner, &image).expect("an end as expected");
                    meals.fetch_add(1, Relaxed);
                }
            });
            thread::sleep(SETTLE);
            let beside = measure(&mut neighbour, requests);
            is_over.store(true, Relaxed);
            eater.join().expect("an eater");
            beside
        });
        let (before, after) = (p99(&alone), p99(&beside));
        let times = after.as_secs_f64() / before.as_secs_f64();
        println!(
            "{what}: p50 {:?} -> {:?}, p99 {before:?} -> {after:?} ({times:.2} times), {} meals",
            alone[requests / 2],
            beside[requests / 2],
            meals.load(Relaxed),
        );
        assert!(meals.load(Relaxed) > 0, "{what}: nobody ate");
        if is_long() {
            assert!(times <= P99_TIMES_MAX, "{what}: {times:.2} times");
        } else {
            assert!(after <= P99_BUSY_MAX, "{what}: {after:?}");
        }
    }
    neighbour.finish().expect("a report");
}
