//! Has much static data, and uses all of it.
#![cfg_attr(not(test), no_std)]

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

const PAGE_BYTES: usize = 4096;
/// Static data, pages: 85 MiB.
const PAGES: usize = 85 << 8;

/// As one, because the compiler looks at each atomic byte of a static by itself, which took it half a minute.
struct Page {
    first: AtomicU8,
    _rest: [u8; PAGE_BYTES - 1],
}

static DATA: [Page; PAGES] = [const {
    Page {
        first: AtomicU8::new(0),
        _rest: [0; PAGE_BYTES - 1],
    }
}; PAGES];

/// Adds one to a byte of each MiB and of the last page, or of every second page if the event says so; returns the sum of
/// these bytes.
#[jiffy::function]
pub fn count(event: &[u8]) -> u64 {
    let step = if event == b"scattered" { 2 } else { 256 };
    let pages = DATA.iter().step_by(step).chain(DATA.last());
    pages
        .map(|page| u64::from(page.first.fetch_add(1, Relaxed)) + 1)
        .sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_mebibyte_is_counted() {
        assert_eq!(jiffy::testing::call!().event("").run().text(), "86");
    }
}
