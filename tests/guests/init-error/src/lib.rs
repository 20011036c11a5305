//! A function whose init returns an error, after a line of log.
#![cfg_attr(not(test), no_std)]

/// Fails.
#[jiffy::init]
fn setup() -> Result<u32, &'static str> {
    jiffy::log!("before the error");
    Err("the table is missing")
}

/// Is never reached.
#[jiffy::function]
pub fn answer(_event: &[u8], state: &u32) -> u32 {
    *state
}
