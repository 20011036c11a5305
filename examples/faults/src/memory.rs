//! Faults of memory: too much heap, too much stack, and much that is still allowed.

use alloc::{vec, vec::Vec};
use core::hint::black_box;

use crate::Report;

const PIECE_BYTES: usize = 1 << 20;
const PIECES: usize = 100;

/// Allocates until there is no more.
pub(crate) fn take_all() -> ! {
    let mut taken = Vec::new();
    loop {
        taken.push(black_box(vec![1_u8; PIECE_BYTES]));
    }
}

/// Calls itself until the stack is full.
#[expect(unconditional_recursion, reason = "that is the fault")]
#[inline(never)]
pub(crate) fn recurse(depth: u64) -> u64 {
    // What is used after the call keeps it from becoming a loop.
    let room = black_box([depth; 32]);
    recurse(depth + 1) + room[31]
}

/// Takes 100 MiB in pieces, fills them, checks them, and frees them in another order.
pub(crate) fn allocate() -> Report {
    let filling = |piece: usize| (piece % 251) as u8;
    let mut pieces: Vec<_> = (0..PIECES)
        .map(|piece| black_box(vec![filling(piece); PIECE_BYTES]))
        .collect();
    for (index, piece) in pieces.iter().enumerate() {
        assert!(
            piece.iter().all(|byte| *byte == filling(index)),
            "piece {index} changed"
        );
    }
    while pieces.len() > 1 {
        pieces.swap_remove(pieces.len() / 2);
    }
    Report::AllocatedBytes(PIECES * PIECE_BYTES)
}
