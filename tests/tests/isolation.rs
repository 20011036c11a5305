//! No byte of a request survives it: what the guest can see, and what the host can.

mod common;

use common::{Everything, Folder, Guest, Restored, file_page};
use jiffy_vmm::run::{Isolation, RESET_PAGES_MAX};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

/// What is left behind, or not.
const PATTERN: &[u8; 16] = b"canary-7f3a9c0e!";
/// Odd, so that multiplication loses nothing.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Leaves the pattern in every place, in this much more of the heap, and in the rest of the event.
fn fill(heap_mib: u8) -> Vec<u8> {
    let mut event = [&b"f"[..], PATTERN, &[heap_mib]].concat();
    event.extend(PATTERN.repeat(6000));
    event
}

/// Looks for it without naming it.
fn probe() -> Vec<u8> {
    let (words, _) = PATTERN.as_chunks();
    let products = words
        .iter()
        .map(|word| u64::from_le_bytes(*word).wrapping_mul(FACTOR));
    let mut event = b"p".to_vec();
    event.extend(
        [FACTOR]
            .into_iter()
            .chain(products)
            .flat_map(u64::to_le_bytes),
    );
    event
}

/// A probe's lines, as (place, what is there).
fn report(vm: &mut Restored) -> Vec<(String, String)> {
    let text = String::from_utf8(vm.ask(&probe())).expect("text");
    let line = |line: &str| {
        let (place, found) = line.split_once(' ').expect("two words");
        (place.to_owned(), found.to_owned())
    };
    text.lines().map(line).collect()
}

/// Nothing but the resume page differs from the snapshot, and nothing at all from `fresh`.
#[track_caller]
fn assert_pristine(vm: &mut Restored, snapshot: &Folder, fresh: &Everything) {
    let snapshot = snapshot.open();
    let unlike = vm.pages_unlike(|page| file_page(&snapshot, page));
    assert_eq!(unlike, [0u64; 0], "pages unlike the snapshot's");
    assert_eq!(&vm.state(), fresh);
    assert_eq!(&fresh.vcpu, &snapshot.state().vcpu);
    assert_eq!(&fresh.devices, &snapshot.state().devices);
}

#[test]
fn a_guest_finds_nothing_of_the_request_before() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let snapshot = Guest::of("canary").snapshot();
    let expected = report(&mut snapshot.restore(Isolation::Fresh));
    println!("a fresh VM: {expected:?}");
    let mut vm = snapshot.restore(Isolation::Fresh);
    for _ in 0..3 {
        let response = vm.ask(&fill(4));
        assert!(response.starts_with(PATTERN), "it was filled");
        assert_eq!(vm.logs().len(), 24);
        assert_eq!(report(&mut vm), expected);
    }
    for place in [
        "xmm",
        "ymm-upper",
        "st",
        "stack",
        "statics",
        "heap",
        "log-ring",
    ] {
        assert!(expected.contains(&(place.into(), "0".into())), "{place}");
    }
}

/// The test above would notice: without a reset the same probe finds the pattern in every place.
#[test]
fn without_a_reset_the_guest_finds_it_everywhere() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let snapshot = Guest::of("canary").snapshot();
    let fresh = report(&mut snapshot.restore(Isolation::Reuse));
    let mut vm = snapshot.restore(Isolation::Reuse);
    vm.ask(&fill(4));
    let found = report(&mut vm);
    println!("a used VM: {found:?}");
    // No request writes a byte string to these.
    let untouched = ["resume-page", "control-page", "behind-statics"];
    for ((place, before), (_, after)) in fresh.iter().zip(&found) {
        assert!(
            before != after || untouched.contains(&place.as_str()),
            "{place}: {after}"
        );
    }
}

#[test]
fn after_a_reset_all_of_the_vm_is_the_snapshots() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let snapshot = Guest::of("canary").snapshot();
    let fresh = snapshot.restore(Isolation::Fresh).state();
    println!("{} MSRs", fresh.msrs.len());
    let mut vm = snapshot.restore(Isolation::Fresh);
    assert_pristine(&mut vm, &snapshot, &fresh);
    for _ in 0..3 {
        vm.ask(&fill(4));
        assert_pristine(&mut vm, &snapshot, &fresh);
    }
}

/// As above, and each comparison would notice.
#[test]
fn without_a_reset_each_part_of_the_vm_differs() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let snapshot = Guest::of("canary").snapshot();
    let fresh = snapshot.restore(Isolation::Reuse).state();
    let mut vm = snapshot.restore(Isolation::Reuse);
    vm.ask(&fill(4));
    let used = vm.state();
    assert_ne!(used.vcpu.regs, fresh.vcpu.regs);
    assert_ne!(used.vcpu.segments.fs.base, fresh.vcpu.segments.fs.base);
    assert_ne!(used.vcpu.segments.gs.base, fresh.vcpu.segments.gs.base);
    assert_ne!(used.xsave, fresh.xsave);
    assert_ne!(used.devices, fresh.devices);
    let file = snapshot.open();
    assert!(vm.pages_unlike(|page| file_page(&file, page)).len() > 1000);
    vm.vm.reset().expect("a reset");
    assert_pristine(&mut vm, &snapshot, &fresh);
}

/// A request that writes more than a reset copies back: then all of it is dropped.
#[test]
fn a_request_beyond_what_is_copied_back_leaves_nothing_either() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let guest = Guest {
        ram_bytes: 64 << 20,
        ..Guest::of("canary")
    };
    let snapshot = guest.snapshot();
    let expected = report(&mut snapshot.restore(Isolation::Fresh));
    let fresh = snapshot.restore(Isolation::Fresh).state();
    let mut vm = snapshot.restore(Isolation::Fresh);
    for heap_mib in [24, 1, 24] {
        vm.ask(&fill(heap_mib));
        let is_dropped = vm.vm.stats().last_reset_pages > RESET_PAGES_MAX;
        assert_eq!(is_dropped, heap_mib == 24);
        assert_pristine(&mut vm, &snapshot, &fresh);
        assert_eq!(report(&mut vm), expected);
    }
}

/// An event for `scribble`.
#[derive(Clone, Debug)]
struct Scribble {
    seed: u64,
    steps: u32,
    response_bytes: u32,
    padding: Vec<u8>,
}

impl Scribble {
    fn strategy() -> impl Strategy<Value = Self> {
        let padding_bytes = prop_oneof![
            4 => 0..2000usize,
            1 => 0..common::BODY_BYTES_MAX - 16,
        ];
        let response_bytes = prop_oneof![4 => 0..4000u32, 1 => 0..200u32 << 10];
        (
            any::<u64>(),
            0..60u32,
            response_bytes,
            padding_bytes,
            any::<u8>(),
        )
            .prop_map(|(seed, steps, response_bytes, padding_bytes, byte)| Self {
                seed,
                steps,
                response_bytes,
                padding: vec![byte; padding_bytes],
            })
    }

    fn event(&self) -> Vec<u8> {
        let mut event = self.seed.to_le_bytes().to_vec();
        event.extend(self.steps.to_le_bytes());
        event.extend(self.response_bytes.to_le_bytes());
        event.extend(&self.padding);
        event
    }
}

/// *Reset then run* equals *restore then run*: whatever a request did, the next one runs as on a VM
/// of its own, and leaves the same behind, bit for bit.
#[test]
fn reset_then_run_equals_restore_then_run() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let snapshot = Guest::of("scribble").snapshot();
    let fresh = snapshot.restore(Isolation::Fresh).state();
    let requests = prop::collection::vec(Scribble::strategy(), 1..6);
    // A process has address ranges for some 7,900 VMs; see `mem::reservation`.
    let cases = match (common::is_long(), jiffy_tests::is_slow_host()) {
        (true, _) => 1000,
        (false, false) => 24,
        (false, true) => 3,
    };
    let check = |requests: Vec<Scribble>| {
        // Reset by hand, so that there is a moment to look at what a request left.
        let mut reset = snapshot.restore(Isolation::Reuse);
        for request in requests {
            let mut restored = snapshot.restore(Isolation::Reuse);
            let event = request.event();
            prop_assert_eq!(reset.ask(&event), restored.ask(&event));
            prop_assert_eq!(reset.logs(), restored.logs());
            let after = reset.state();
            prop_assert_eq!(&after, &restored.state());
            prop_assert_ne!(&after, &fresh);
            let unlike = reset.pages_unlike(|page| restored.page(page));
            prop_assert_eq!(unlike, [0u64; 0]);
            reset.vm.reset().expect("a reset");
            assert_pristine(&mut reset, &snapshot, &fresh);
        }
        Ok(())
    };
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&requests, check)
        .expect("no difference");
}

/// The property above would notice: without a reset the second of two equal requests is answered
/// otherwise.
#[test]
fn without_a_reset_a_second_request_is_answered_otherwise() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let event = Scribble {
        seed: 7,
        steps: 20,
        response_bytes: 64,
        padding: vec![],
    };
    let snapshot = Guest::of("scribble").snapshot();
    let mut vm = snapshot.restore(Isolation::Reuse);
    assert_ne!(vm.ask(&event.event()), vm.ask(&event.event()));
    let mut vm = snapshot.restore(Isolation::Fresh);
    assert_eq!(vm.ask(&event.event()), vm.ask(&event.event()));
}
