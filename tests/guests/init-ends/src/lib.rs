//! A function whose init ends as its environment says.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::vec::Vec;
use core::hint::black_box;

/// Ends as `KIND` says; without, all is well.
#[jiffy::init]
fn setup() -> Result<u32, &'static str> {
    match jiffy::env::var("KIND") {
        Some("error") => Err("no init today"),
        Some("panic") => panic!("no init today"),
        Some("fault") => Ok(overflow(1)),
        Some("timeout") => loop {
            core::hint::spin_loop();
        },
        Some("memory") => {
            let room: Vec<u8> = Vec::with_capacity(black_box(1 << 30));
            Ok(black_box(room).len() as u32)
        }
        _ => Ok(0),
    }
}

/// Uses up the stack.
#[expect(unconditional_recursion, reason = "it is what this is for")]
fn overflow(depth: u32) -> u32 {
    black_box(overflow(black_box(depth + 1)) + 1)
}

/// How often it was called since init, then the value of the variable that the event names.
#[jiffy::function]
pub fn answer(event: &[u8], _state: &u32) -> Vec<u8> {
    use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

    static CALLS: AtomicU32 = AtomicU32::new(0);
    let calls = CALLS.fetch_add(1, Relaxed) + 1;
    let name = str::from_utf8(event).unwrap_or_default();
    let value = jiffy::env::var(name).unwrap_or("none");
    alloc::format!("{calls} {value}").into_bytes()
}
