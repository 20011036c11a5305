//! Where guest RAM lies in the VMM's own address space.
//!
//! KVM is told of the range when the VM is made, but nothing is mapped there until the guest is
//! known: mapping a snapshot over an old mapping makes KVM walk every page of the slot, which took
//! 70 µs for 1 GiB, and mapping it into a hole does not (`docs/perf/restore.md`). The kernel fills
//! the address space from the top, so a range far below is never handed out for anything else; and
//! mapping it refuses to replace anything, should that be wrong.

use std::sync::{Mutex, PoisonError};

/// Lowest address of any range: 16 TiB.
const LOWEST: u64 = 1 << 44;
/// Distance between two ranges: more than the largest RAM, so that unmapped space surrounds each.
const STRIDE: u64 = 4 << 30;
/// Ranges a process has at a time. Together they end below 64 TiB.
const RANGES: u64 = 12_000;
/// The first range is any of so many, so that its address cannot be guessed.
const FIRST_RANGES: u64 = 4096;

const _: () = {
    assert!(STRIDE > jiffy_abi::layout::RAM_BYTES_MAX);
    assert!(LOWEST + RANGES * STRIDE < 1 << 46);
};

/// Which ranges are free.
struct Ranges {
    /// The next one that was never taken; `None` until the first is.
    next: Option<u64>,
    returned: Vec<u64>,
}

static RANGES_FREE: Mutex<Ranges> = Mutex::new(Ranges {
    next: None,
    returned: Vec::new(),
});

/// The address of a range that nobody else has; `None` if there is no more.
pub(super) fn take() -> Option<u64> {
    let mut free = RANGES_FREE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(address) = free.returned.pop() {
        return Some(address);
    }
    let number = free.next.unwrap_or_else(first_range);
    free.next = Some(number + 1);
    (number < RANGES).then(|| LOWEST + number * STRIDE)
}

/// Gives back what [`take`] gave; nothing is mapped there any more.
pub(super) fn give_back(address: u64) {
    let mut free = RANGES_FREE.lock().unwrap_or_else(PoisonError::into_inner);
    free.returned.push(address);
}

fn first_range() -> u64 {
    let mut random = [0; 8];
    // Without randomness, which a running kernel always has, the address is only easier to guess.
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    u64::from_le_bytes(random) % FIRST_RANGES
}
