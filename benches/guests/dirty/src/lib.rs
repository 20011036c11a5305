//! Writes as many pages of 4 KiB as the event, a decimal number, says; for measuring what a written
//! page costs.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{vec, vec::Vec};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

const PAGE_BYTES: usize = 4096;
const PAGES_MAX: usize = 8192;

static PAGES: [AtomicU8; PAGE_BYTES * PAGES_MAX] = [const { AtomicU8::new(0) }; _];

/// Answers with the number of pages it wrote.
#[jiffy::function]
pub fn dirty(event: &[u8]) -> Result<Vec<u8>, &'static str> {
    let text = core::str::from_utf8(event).map_err(|_| "the event is not text")?;
    let pages: usize = text
        .trim()
        .parse()
        .map_err(|_| "the event is not a number")?;
    if pages > PAGES_MAX {
        return Err("more pages than there are");
    }
    for page in 0..pages {
        PAGES[page * PAGE_BYTES].fetch_add(1, Relaxed);
    }
    Ok(vec![b'o', b'k'])
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_are_checked() {
        assert_eq!(jiffy::testing::call!().event("24").run().text(), "ok");
        let refused = jiffy::testing::call!().event("x").run();
        assert!(matches!(refused, jiffy::testing::Outcome::FunctionError(_)));
    }
}
