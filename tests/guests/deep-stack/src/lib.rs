//! Recurses as deep as its event says, on a stack of 8 MiB.
#![cfg_attr(not(test), no_std)]

use core::hint::black_box;

/// Bytes of stack that one call takes, and a little more.
const FRAME_BYTES: u32 = 1024;

#[inline(never)]
fn descend(depth: u32) -> u32 {
    let frame = black_box([1_u8; FRAME_BYTES as usize]);
    match depth {
        0 => 0,
        _ => descend(depth - 1) + u32::from(frame[depth as usize % frame.len()]),
    }
}

/// Returns the number of KiB that it took, or more, which is the event.
#[jiffy::function]
pub fn kib(depth: u32) -> u32 {
    descend(depth)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_comes_back() {
        assert_eq!(jiffy::testing::call!().event("3").run().text(), "3");
    }
}
