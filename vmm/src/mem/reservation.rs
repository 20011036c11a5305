//! Where guest RAM lies in the VMM's own address space.
//!
//! KVM is told of the range when the VM is made, but nothing is mapped there until the guest is
//! known: mapping a snapshot over an old mapping makes KVM walk every page of the slot, which took
//! 70 µs for 1 GiB, and mapping it into a hole does not (`docs/perf/restore.md`). The kernel fills
//! the address space from the top, so a range far below is never handed out for anything else; and
//! mapping it refuses to replace anything, should that be wrong.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Lowest address of any range: 16 TiB.
const LOWEST: u64 = 1 << 44;
/// Distance between two ranges: more than the largest RAM, so that unmapped space surrounds each.
const STRIDE: u64 = 4 << 30;
/// Ranges a process has; they are not used twice. Together they end below 64 TiB.
const RANGES: u64 = 12_000;
/// The first range is any of so many, so that its address cannot be guessed.
const FIRST_RANGES: u64 = 4096;

const _: () = {
    assert!(STRIDE > jiffy_abi::layout::RAM_BYTES_MAX);
    assert!(LOWEST + RANGES * STRIDE < 1 << 46);
};

/// The address of a range that nobody else has; `None` if there is no more.
pub(super) fn take() -> Option<u64> {
    static NEXT: OnceLock<AtomicU64> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU64::new(first_range()));
    let number = next.fetch_add(1, Relaxed);
    (number < RANGES).then(|| LOWEST + number * STRIDE)
}

fn first_range() -> u64 {
    let mut random = [0; 8];
    // Without randomness, which a running kernel always has, the address is only easier to guess.
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    u64::from_le_bytes(random) % FIRST_RANGES
}
