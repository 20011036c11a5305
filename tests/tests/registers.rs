//! *Reset then run* equals *restore then run* in every register that ring 3 can read, as a guest sees them itself, and in
//! all that the device shows: what KVM tells of a vCPU is not what a guest has on every backend.
//! Not here: RAM, and what KVM tells (`isolation.rs`).

mod common;

use common::{Folder, Restored, script_snapshot};
use jiffy_abi::doorbell::Wait;
use jiffy_tests::{
    hostile::{ANSWER, Script},
    require_kvm,
    script::{
        Op,
        registers::{AREA, DEVICE, FILL, FILL_XSAVE, FOUND, FOUND_XSAVE, NAMES, XSAVE_BYTES},
    },
};
use jiffy_vmm::run::Isolation;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

/// Flags that ring 3 may set and that stop nothing: CF, PF, AF, ZF, SF, DF, OF, AC, ID.
const FLAGS: u64 = 0x8d5 | 1 << 10 | 1 << 18 | 1 << 21;
/// Selectors that ring 3 may load on every backend: null ones, flat data, 64-bit code.
const SELECTORS: [u64; 6] = [0, 1, 2, 3, 0x2b, 0x33];
/// Offsets in an XSAVE area: control words, MXCSR, and where the registers begin (Intel SDM volume 1, tables 10-2 and 13-1).
const FCW: usize = 0;
const MXCSR: usize = 24;
const ST0: usize = 32;
const RESERVED: usize = 416;
const XSTATE_BV: std::ops::Range<usize> = 512..520;
const EXTENDED: usize = 576;

/// What is left in registers.
#[derive(Clone, Debug)]
struct Fill {
    numbers: [u64; 16],
    flags: u64,
    selectors: [u64; 4],
    bases: [u64; 2],
    fcw: u16,
    mxcsr: u32,
    vectors: u64,
}

impl Fill {
    fn strategy() -> impl Strategy<Value = Self> {
        (
            any::<[u64; 16]>(),
            any::<u64>(),
            prop::array::uniform4(prop::sample::select(&SELECTORS[..])),
            any::<[u64; 2]>(),
            any::<u16>(),
            any::<u32>(),
            any::<u64>(),
        )
            .prop_map(
                |(numbers, flags, selectors, bases, fcw, mxcsr, vectors)| Self {
                    numbers,
                    flags: flags & FLAGS | 2,
                    selectors,
                    bases: bases.map(|base| base & ((1 << 46) - 1)),
                    // All exceptions stay masked.
                    fcw: fcw & 0x0f00 | 0x7f,
                    mxcsr: mxcsr & 0xe07f | 0x1f80,
                    vectors: vectors | 1 << 63,
                },
            )
    }

    /// Everything is another than in any fresh VM.
    fn loud() -> Self {
        Self {
            numbers: std::array::from_fn(|number| 0xa5a5_0000_5a5a_0000 + ((number as u64) << 4)),
            flags: FLAGS | 2,
            // Neither null nor the flat data that a vCPU starts with.
            selectors: [0x33; 4],
            bases: [0x1234_5000, 0x5432_1000],
            fcw: 0x0f7f,
            mxcsr: 0xff80,
            vectors: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// A guest that leaves it in its registers after each of `requests`.
    fn script(&self, requests: usize) -> Script {
        let mut numbers = self.numbers;
        numbers[0] = numbers[0] & !0xff | u64::from(Wait::Idle.to_byte());
        let all = numbers
            .into_iter()
            .chain([self.flags])
            .chain(self.selectors)
            .chain(self.bases);
        let all: Vec<u8> = all.flat_map(u64::to_le_bytes).collect();
        let mut xsave = vec![0; XSAVE_BYTES];
        for (number, word) in xsave.chunks_mut(8).enumerate() {
            let value = self.vectors.wrapping_mul(number as u64 | 1);
            word.copy_from_slice(&value.to_le_bytes());
        }
        xsave[..ST0].fill(0);
        xsave[FCW..][..2].copy_from_slice(&self.fcw.to_le_bytes());
        xsave[4] = 0xff; // All x87 registers have something in them.
        xsave[MXCSR..][..4].copy_from_slice(&self.mxcsr.to_le_bytes());
        xsave[RESERVED..EXTENDED].fill(0);
        let mut script = Script::connected()
            .bytes(FILL, &all)
            .bytes(FILL_XSAVE, &xsave)
            .op(Op::Registers);
        for _ in 0..requests {
            script = script.reply(ANSWER).op(Op::Registers);
        }
        script
    }
}

/// What the guest found when it was woken last, each with its name.
fn found(vm: &Restored) -> Vec<(String, u64)> {
    let ram = vm.vm.machine().ram();
    let names = NAMES.iter().chain(&["xcr0"]).chain(&DEVICE);
    let numbers = names.zip((FOUND..).step_by(8));
    let numbers = numbers.map(|(name, at)| (name.to_string(), ram.read_u64(at).expect("in RAM")));
    let words = (0..XSAVE_BYTES).step_by(8);
    // Which registers the CPU knows to have their first values: it may forget that at any interrupt.
    let words = words.filter(|at| !XSTATE_BV.contains(at));
    let words = words.map(|at| {
        let word = ram.read_u64(FOUND_XSAVE + at as u64);
        (format!("xsave+{at:#x}"), word.expect("in RAM"))
    });
    numbers.chain(words).collect()
}

/// The first request of a VM restored from `snapshot`.
fn fresh(snapshot: &Folder) -> Vec<(String, u64)> {
    let mut vm = snapshot.restore(Isolation::Reuse);
    vm.ask(b"");
    found(&vm)
}

fn differing(one: &[(String, u64)], other: &[(String, u64)]) -> Vec<(String, u64, u64)> {
    let pairs = one.iter().zip(other);
    let pairs = pairs.filter(|(one, other)| one != other);
    pairs
        .map(|(one, other)| (one.0.clone(), one.1, other.1))
        .collect()
}

/// Whatever a request left in them, the next finds what it would on a VM of its own.
#[test]
fn no_register_survives_a_reset() {
    if !require_kvm() {
        return;
    }
    let cases = match (common::is_long(), jiffy_tests::is_slow_host()) {
        (true, _) => 500,
        (false, false) => 12,
        (false, true) => 2,
    };
    let check = |fill: Fill| {
        let snapshot = script_snapshot(&fill.script(3));
        let fresh = fresh(&snapshot);
        let mut vm = snapshot.restore(Isolation::Reuse);
        for _ in 0..3 {
            vm.ask(b"");
            let here = found(&vm);
            prop_assert_eq!(differing(&fresh, &here), vec![]);
            vm.vm.reset().expect("a reset");
        }
        Ok(())
    };
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 50,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    check(Fill::loud()).expect("no difference");
    runner.run(&Fill::strategy(), check).expect("no difference");
}

/// The property above would notice: without a reset every one of them is what the request before left.
#[test]
fn without_a_reset_every_register_is_what_was_left() {
    if !require_kvm() {
        return;
    }
    let fill = Fill::loud();
    let snapshot = script_snapshot(&fill.script(3));
    let fresh = fresh(&snapshot);
    let mut vm = snapshot.restore(Isolation::Reuse);
    vm.ask(b"");
    vm.ask(b"");
    let used = found(&vm);
    let differing = differing(&fresh, &used);
    let differs = |name: &str| differing.iter().any(|(other, ..)| other == name);
    for name in NAMES.iter().chain(&["DeviceFeatures", "QueueReady"]) {
        assert!(differs(name), "{name}");
    }
    let xsave = differing
        .iter()
        .filter(|(name, ..)| name.starts_with("xsave"));
    // Eight x87 registers of two words (the second has six bytes that are none), 16 XMM.
    let xsave = xsave.count();
    println!("{xsave} words of vector state");
    assert!(xsave >= 2 * 8 + 2 * 16, "{xsave}");
    let xcr0 = fresh[NAMES.len()].1;
    for (bit, at) in [(2, EXTENDED), (5, 1088), (6, 1152), (7, 1664)] {
        let here = differs(&format!("xsave+{at:#x}"));
        assert!(xcr0 & 1 << bit == 0 || here, "state component {bit}");
    }
    assert_eq!(AREA % 4096, 0);
}
