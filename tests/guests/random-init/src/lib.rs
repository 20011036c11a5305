//! Draws randomness in its init: what every VM restored from its snapshot would share.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::vec::Vec;

/// Draws.
#[jiffy::init]
fn setup() -> u64 {
    jiffy::random::u64()
}

/// Answers with what init drew and with another draw.
#[jiffy::function]
pub fn random(_event: &[u8], drawn: &u64) -> Vec<u8> {
    [*drawn, jiffy::random::u64()]
        .map(u64::to_le_bytes)
        .concat()
}
