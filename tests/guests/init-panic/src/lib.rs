//! A function whose init panics.
#![cfg_attr(not(test), no_std)]

/// Panics.
#[jiffy::init]
fn setup() -> u32 {
    panic!("no init today")
}

/// Is never reached.
#[jiffy::function]
pub fn answer(_event: &[u8], state: &u32) -> u32 {
    *state
}
