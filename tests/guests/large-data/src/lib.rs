//! Has much static data, and uses all of it.
#![cfg_attr(not(test), no_std)]

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Static data, bytes.
pub const DATA_BYTES: usize = 85 << 20;
const MIB: usize = 1 << 20;

static DATA: [AtomicU8; DATA_BYTES] = [const { AtomicU8::new(0) }; DATA_BYTES];

/// Adds one to a byte of each MiB and to the last, or of every second page if the event says so; returns the sum of these
/// bytes.
#[jiffy::function]
pub fn count(event: &[u8]) -> u64 {
    let step = if event == b"scattered" { 8192 } else { MIB };
    let bytes = DATA.iter().step_by(step).chain(DATA.last());
    bytes
        .map(|byte| u64::from(byte.fetch_add(1, Relaxed)) + 1)
        .sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_mebibyte_is_counted() {
        assert_eq!(jiffy::testing::call!().event("").run().text(), "86");
    }
}
