//! Every resume is told what no other was: random numbers, and clocks that never run backwards.
//!
//! The long version, of 1,000,000 resumes, takes some minutes:
//!
//! ```text
//! JIFFY_LONG=1 cargo test --release -p jiffy-tests --test resumes -- --nocapture
//! ```

mod common;

use std::collections::HashSet;

use common::{Folder, Guest, Restored};
use jiffy_client::{CreateSnapshotError, NewSnapshot, VmError};
use jiffy_control::Blame;
use jiffy_vmm::run::{CaptureError, Isolation};

/// What a guest is told at one resume.
#[derive(Clone, Copy, Debug)]
struct Told {
    random: u128,
    wall_ns: u64,
    monotonic_ns: u64,
    generation: u64,
}

impl Told {
    fn ask(vm: &mut Restored) -> Self {
        let answer = vm.ask(b"");
        let (random, numbers) = answer.split_first_chunk().expect("16 bytes");
        let (numbers, _) = numbers.as_chunks();
        let [wall_ns, monotonic_ns, generation] = *numbers else {
            panic!("three numbers")
        };
        Self {
            random: u128::from_le_bytes(*random),
            wall_ns: u64::from_le_bytes(wall_ns),
            monotonic_ns: u64::from_le_bytes(monotonic_ns),
            generation: u64::from_le_bytes(generation),
        }
    }
}

/// A VM and what it was told last.
struct Watched {
    vm: Restored,
    last: Option<Told>,
}

impl Watched {
    fn new(snapshot: &Folder, isolation: Isolation) -> Self {
        let vm = snapshot.restore(isolation);
        Self { vm, last: None }
    }

    /// Asks once more. What it was told before is from before a reset, so it is kept here.
    fn resume(&mut self, snapshot_ns: u64, drawn: &mut HashSet<u128>) {
        let told = Told::ask(&mut self.vm);
        assert!(drawn.insert(told.random), "drawn twice: {told:?}");
        assert!(told.monotonic_ns >= snapshot_ns, "{told:?}");
        if let Some(last) = self.last.replace(told) {
            assert!(told.monotonic_ns >= last.monotonic_ns, "{last:?}, {told:?}");
            assert!(told.generation > last.generation, "{last:?}, {told:?}");
        }
    }
}

/// Restores and resets mixed, in several VMs at a time that take turns, with and without isolation.
#[test]
fn no_two_resumes_are_told_the_same() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let (resumes, vms) = if common::is_long() {
        (1_000_000, 4_000)
    } else if jiffy_tests::is_slow_host() {
        (1_000, 20)
    } else {
        (10_000, 200)
    };
    const AT_A_TIME: usize = 4;
    let snapshot = Guest::of("draw").snapshot();
    let snapshot_ns = snapshot.open().state().run.monotonic_ns;
    let wall_ns_before = wall_ns();
    let mut drawn = HashSet::with_capacity(resumes);
    let (mut resets, mut restores) = (0, 0);
    for _ in 0..vms / AT_A_TIME {
        let isolations = [
            Isolation::Fresh,
            Isolation::Fresh,
            Isolation::Reuse,
            Isolation::Fresh,
        ];
        let mut watched = isolations.map(|isolation| Watched::new(&snapshot, isolation));
        restores += watched.len();
        for turn in 0..resumes / vms {
            for (number, one) in watched.iter_mut().enumerate() {
                one.resume(snapshot_ns, &mut drawn);
                // The one that keeps its state is reset now and then.
                if isolations[number] == Isolation::Reuse && turn % 7 == 0 {
                    one.vm.vm.reset().expect("a reset");
                }
            }
        }
        resets += watched
            .iter()
            .map(|one| one.vm.vm.stats().resets)
            .sum::<u64>();
        let now_ns = wall_ns();
        for one in &watched {
            let told = one.last.expect("it was asked");
            assert!(
                (wall_ns_before..=now_ns).contains(&told.wall_ns),
                "{told:?}"
            );
        }
    }
    println!(
        "{restores} restores, {resets} resets, {} different numbers",
        drawn.len()
    );
    assert_eq!(drawn.len(), resumes);
}

/// `rand`, `uuid` and others draw by `getrandom`, which asks the library OS in an image.
#[test]
fn crates_draw_anew_after_every_resume() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let snapshot = Guest::of("draw").snapshot();
    let mut drawn = HashSet::new();
    for _ in 0..3 {
        let mut vm = snapshot.restore(Isolation::Fresh);
        for _ in 0..20 {
            let told = vm.ask(b"crates");
            assert_eq!(told[32..], 2f64.sqrt().to_le_bytes());
            for random in told[..32].chunks(16) {
                assert!(drawn.insert(random.to_vec()), "drawn twice");
            }
        }
    }
}

fn wall_ns() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    u64::try_from(since.as_nanos()).expect("before 2554")
}

#[test]
fn an_init_that_draws_randomness_is_refused_unless_it_says_so() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let refused = Guest::of("random-init").try_snapshot();
    assert!(
        matches!(refused, Err(CaptureError::RandomInit)),
        "{refused:?}"
    );

    let snapshot = Guest::of("random-init-allowed").snapshot();
    let answers = [0; 4].map(|_| snapshot.restore(Isolation::Fresh).ask(b""));
    let (of_init, of_handler): (HashSet<_>, HashSet<_>) =
        answers.iter().map(|answer| answer.split_at(8)).unzip();
    assert_eq!(of_init.len(), 1, "what init drew is in the snapshot");
    assert_eq!(
        of_handler.len(),
        answers.len(),
        "and what the handler draws is not"
    );
}

/// The same through the program, which leaves nothing behind.
#[test]
fn a_snapshot_whose_init_drew_randomness_is_not_made() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let create = |function: &str| {
        let new = NewSnapshot {
            vmm: jiffy_tests::vmm_path(),
            spawner: jiffy_client::SpawnerOptions::default(),
            image: jiffy_tests::image(function),
            ram_bytes: None,
            environment: vec![],
            timeout: Some(jiffy_tests::vm::TIMEOUT_AMPLE),
            output: folder.path().join(function),
        };
        jiffy_client::create_snapshot(&new, |_| {})
    };
    match create("random-init") {
        Err(CreateSnapshotError::Vm(VmError::Failed {
            blame: Blame::Input,
            message,
        })) => assert!(message.contains("random-init = true"), "{message}"),
        other => panic!("refused: {other:?}"),
    }
    let left = folder.path().read_dir().expect("a folder").count();
    assert_eq!(left, 0, "nothing is left of it");
    create("random-init-allowed").expect("a snapshot");
}
