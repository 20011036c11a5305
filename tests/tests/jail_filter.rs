//! The list of system calls is minimal: whichever entry is taken away, a VM that does what VMs do
//! breaks.
//!
//! Everything that a shell legitimately does is in [`scenarios`]; an entry that none of them needs has
//! no place in the list.

use std::{
    fs::File,
    os::fd::AsFd,
    process,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use jiffy_abi::layout::RAM_BYTES_DEFAULT;
use jiffy_client::{NewSnapshot, Spawner, SpawnerOptions, create_snapshot, page_reader};
use jiffy_control::{Command, Event, GuestFault, Isolation, VmEnd};
use jiffy_snapshots::{PageRun, Snapshot};
use jiffy_tests::{
    owner::{Broken, Owner},
    vm::TIMEOUT_AMPLE,
};
use jiffy_vmm::{
    jail::{Entry, Filter},
    run::RESET_PAGES_MAX,
};
use rustix::fs::{MemfdFlags, memfd_create};
use tempfile::TempDir;

const NAME: &str = r#"{"name":"Ada"}"#;
/// More than a reset copies back, and with it more than a Unix socket takes at once.
const BIG_BODY_BYTES: usize = 10 << 20;
/// RAM for such bodies.
const BIG_RAM_BYTES: u64 = 64 << 20;
/// RAM for much static data.
const LARGE_RAM_BYTES: u64 = 88 << 20;
/// Pages of a working set without neighbours, and the first of them, which is in the data.
const SCATTERED_PAGES: u32 = 8000;
const FIRST_SCATTERED_PAGE: u32 = 1024;
/// RAM of a VM that hardly touches it.
const HUGE_RAM_BYTES: u64 = 1 << 30;
const TIMEOUT_SHORT: Duration = Duration::from_millis(20);
/// Spawners that are tried at a time: one for each CPU of a small host.
const THREADS: usize = 2;
/// How often an entry may be done without before it counts as not needed: what is called only when
/// one side is late is not called every time.
const ATTEMPTS: usize = 5;
/// XCR0 with x87 and SSE alone: a CPU without AVX.
const XCR0_SSE: u64 = 3;

/// What the scenarios start from, made by a VMM with the whole list.
struct Materials {
    restorable: Snapshot,
    /// The same, of a CPU without AVX; `None` if KVM shows none to guests here, as PVM does.
    old_cpu: Option<Snapshot>,
    echo: Snapshot,
    /// Without a working set, and with a large one.
    large: [Snapshot; 2],
    _folder: TempDir,
}

impl Materials {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let snapshot = |function: &str, ram_bytes| {
            let output = folder.path().join(format!("{function}.snap"));
            let new = NewSnapshot {
                vmm: jiffy_tests::vmm_path(),
                spawner: SpawnerOptions::default(),
                image: jiffy_tests::image(function),
                ram_bytes: Some(ram_bytes),
                environment: vec![],
                timeout: None,
                output: output.clone(),
            };
            create_snapshot(&new, |_| {}).expect("a snapshot");
            Snapshot::open(&output).expect("a snapshot")
        };
        let hello = snapshot("hello", RAM_BYTES_DEFAULT);
        let mut state = hello.state().clone();
        let has_avx = state.vcpu.xcr0 > XCR0_SSE;
        let old_cpu = has_avx.then(|| {
            state.vcpu.xcr0 = XCR0_SSE;
            let path = folder.path().join("old-cpu.snap");
            let pages = page_reader(hello.ram_file());
            jiffy_snapshots::create(&path, &state, hello.ram_bytes(), pages).expect("a snapshot");
            Snapshot::open(&path).expect("a snapshot")
        });
        let working_set = vec![PageRun {
            first_page: 0,
            pages: 1,
        }];
        let scattered = (0..SCATTERED_PAGES).map(|number| PageRun {
            first_page: FIRST_SCATTERED_PAGE + 2 * number,
            pages: 1,
        });
        let scattered = scattered.collect();
        Self {
            restorable: hello.with_page_runs(working_set),
            old_cpu,
            echo: snapshot("echo", BIG_RAM_BYTES),
            large: [
                snapshot("large-data", LARGE_RAM_BYTES),
                snapshot("large-data", LARGE_RAM_BYTES).with_page_runs(scattered),
            ],
            _folder: folder,
        }
    }
}

type Scenario = fn(&Spawner, &Materials) -> Result<(), Broken>;

/// The quick ones first: the first that breaks is enough.
fn scenarios() -> [(&'static str, Scenario); 8] {
    [
        ("boot", boot),
        ("restore", restore),
        ("old CPU", old_cpu),
        ("fault", fault),
        ("resize", resize),
        ("deadline", deadline),
        ("big bodies", big_bodies),
        ("scattered", scattered),
    ]
}

/// An image, opened anew: a descriptor that is sent shares where it stands.
fn image(function: &str) -> Result<File, Broken> {
    File::open(jiffy_tests::image(function)).map_err(|error| error.to_string())
}

/// Boots, is captured, tells what it took, answers, is told to stop.
fn boot(spawner: &Spawner, _: &Materials) -> Result<(), Broken> {
    let mut owner = Owner::new(spawner, RAM_BYTES_DEFAULT)?;
    owner.waiting()?;
    owner.boot(&image("hello")?, RAM_BYTES_DEFAULT, TIMEOUT_AMPLE)?;
    let ram = memfd_create("ram", MemfdFlags::CLOEXEC).map_err(|error| error.to_string())?;
    owner.tell(&Command::Capture, &[ram.as_fd()])?;
    match owner.event()? {
        Event::Captured(_) => {}
        other => return Err(format!("{other:?}")),
    }
    owner.ask(NAME)?;
    owner.tell(&Command::Stats, &[])?;
    owner.done()?;
    owner.tell(&Command::Stop, &[])?;
    owner.ended()
}

/// Restores, with a working set, answers, is reset when told to, ends with its stream.
fn restore(spawner: &Spawner, materials: &Materials) -> Result<(), Broken> {
    for isolation in [Isolation::Fresh, Isolation::Reuse] {
        let mut owner = Owner::new(spawner, RAM_BYTES_DEFAULT)?;
        owner.waiting()?;
        owner.restore(&materials.restorable, isolation)?;
        owner.ask(NAME)?;
        owner.ask(NAME)?;
        owner.tell(&Command::Reset, &[])?;
        owner.done()?;
        let report = owner.finish()?;
        if report.end != VmEnd::Finished {
            return Err(format!("{report:?}"));
        }
    }
    Ok(())
}

fn old_cpu(spawner: &Spawner, materials: &Materials) -> Result<(), Broken> {
    let Some(snapshot) = &materials.old_cpu else {
        return Ok(());
    };
    let mut owner = Owner::new(spawner, RAM_BYTES_DEFAULT)?;
    owner.waiting()?;
    owner.restore(snapshot, Isolation::Fresh)?;
    owner.ask(NAME)?;
    owner.finish().map(drop)
}

/// A guest that faults is looked at.
fn fault(spawner: &Spawner, _: &Materials) -> Result<(), Broken> {
    let mut owner = Owner::new(spawner, RAM_BYTES_DEFAULT)?;
    owner.waiting()?;
    owner.boot(&image("faults")?, RAM_BYTES_DEFAULT, TIMEOUT_AMPLE)?;
    owner.request(r#"{"kind":"null-read"}"#)?;
    match owner.report()?.end {
        VmEnd::Fault(GuestFault::Exception { .. }) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// A guest that wrote every second page, and does so again: the list of them, when it comes and when it is made, is longer
/// than the memory that the shell has at hand.
fn scattered(spawner: &Spawner, materials: &Materials) -> Result<(), Broken> {
    for snapshot in &materials.large {
        let mut owner = Owner::new(spawner, LARGE_RAM_BYTES)?;
        owner.waiting()?;
        owner.restore(snapshot, Isolation::Fresh)?;
        owner.ask("scattered")?;
        owner.finish()?;
    }
    Ok(())
}

/// A shell gets a VM of another size than it was made with, and counts its pages. The list of pages is too long for the
/// memory that the shell has at hand.
fn resize(spawner: &Spawner, _: &Materials) -> Result<(), Broken> {
    let mut owner = Owner::new(spawner, RAM_BYTES_DEFAULT)?;
    owner.waiting()?;
    spawner
        .resize(&owner.shell().process, HUGE_RAM_BYTES)
        .map_err(|error| error.to_string())?;
    owner.boot(&image("thumbnail")?, HUGE_RAM_BYTES, TIMEOUT_AMPLE)?;
    owner.finish().map(drop)
}

/// A guest that computes for ever is stopped by the alarm.
fn deadline(spawner: &Spawner, _: &Materials) -> Result<(), Broken> {
    let mut owner = Owner::new(spawner, RAM_BYTES_DEFAULT)?;
    owner.waiting()?;
    owner.boot(&image("faults")?, RAM_BYTES_DEFAULT, TIMEOUT_SHORT)?;
    owner.request(r#"{"kind":"spin"}"#)?;
    match owner.report()?.end {
        VmEnd::TimedOut { .. } => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// A body that fits no socket, whose answer is not read at once, and which touches more pages than
/// are copied back.
fn big_bodies(spawner: &Spawner, materials: &Materials) -> Result<(), Broken> {
    let mut owner = Owner::new(spawner, BIG_RAM_BYTES)?;
    owner.waiting()?;
    owner.restore(&materials.echo, Isolation::Fresh)?;
    let body = vec![7; BIG_BODY_BYTES];
    owner.request(body.clone())?;
    thread::sleep(Duration::from_millis(20));
    if owner.response()?.body != body {
        return Err("another body came back".into());
    }
    let stats = owner.done()?;
    if stats.last_reset_pages <= RESET_PAGES_MAX {
        return Err(format!("{stats:?}"));
    }
    owner.finish().map(drop)
}

fn spawner(arguments: &[String]) -> Result<Spawner, Broken> {
    let mut command = process::Command::new(jiffy_tests::hostile_vmm_path());
    command.args(arguments);
    Spawner::start_command(command).map_err(|error| error.to_string())
}

/// The first scenario that breaks with these arguments, and how.
fn first_broken(materials: &Materials, arguments: &[String]) -> Option<(&'static str, Broken)> {
    let broken = |name, error| Some((name, error));
    let newer = match spawner(arguments) {
        Ok(spawner) => spawner,
        Err(error) => return broken("start", error),
    };
    for (name, scenario) in scenarios() {
        if let Err(error) = scenario(&newer, materials) {
            return broken(name, error);
        }
    }
    let mut older = arguments.to_vec();
    older.push("--old-page-map".into());
    match spawner(&older).and_then(|older| restore(&older, materials)) {
        Ok(()) => None,
        Err(error) => broken("restore on a kernel before 6.7", error),
    }
}

#[test]
fn every_entry_of_the_list_is_needed() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    jiffy_tests::hostile_vmm_path();
    let materials = Materials::new();
    assert_eq!(first_broken(&materials, &[]), None, "with the whole list");
    let entries = Filter::entries().expect("the list");
    let (next, unneeded) = (AtomicUsize::new(0), Mutex::new(vec![]));
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((index, entry)) = nth(&entries, next.fetch_add(1, Relaxed)) {
                    let without = [format!("--without={index}")];
                    let cannot_be_reached = materials.old_cpu.is_none() && is_set_xcrs(entry);
                    let attempts = if cannot_be_reached { 1 } else { ATTEMPTS };
                    let broken = (0..attempts).find_map(|_| first_broken(&materials, &without));
                    println!("{} ({}): {broken:?}", entry.syscall, entry.comment);
                    if broken.is_none() && !cannot_be_reached {
                        let mut unneeded = unneeded.lock().expect("not poisoned");
                        unneeded.push(format!("{}: {}", entry.syscall, entry.comment));
                    }
                }
            });
        }
    });
    println!("{} entries in {:?}", entries.len(), began.elapsed());
    let unneeded = unneeded.into_inner().expect("not poisoned");
    assert_eq!(unneeded, Vec::<String>::new());
}

/// Only a VM on a CPU with AVX, with a snapshot of one without, makes this call.
fn is_set_xcrs(entry: &Entry) -> bool {
    entry.args.iter().any(|arg| arg.comment == "KVM_SET_XCRS")
}

fn nth<T>(all: &[T], index: usize) -> Option<(usize, &T)> {
    all.get(index).map(|entry| (index, entry))
}
