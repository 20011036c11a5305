//! Fills as much memory as it is told to, as often: `MIB ROUNDS`. Answers with how many MiB it had at the end.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::vec::Vec;
use core::hint::black_box;

const PIECE_BYTES: usize = 1 << 20;
const PAGE_BYTES: usize = 4096;

/// Fills it.
#[jiffy::function]
pub fn hoarder(event: &[u8]) -> Result<usize, &'static str> {
    let event = core::str::from_utf8(event).map_err(|_| "no text")?;
    let (mib, rounds) = event.split_once(' ').ok_or("not `MIB ROUNDS`")?;
    let number = |text: &str| text.parse::<u8>().map_err(|_| "no number below 256");
    let (mib, rounds) = (number(mib)?, number(rounds)?);
    let mut pieces: Vec<Vec<u8>> = (0..mib)
        .map(|_| black_box(alloc::vec![0; PIECE_BYTES]))
        .collect();
    for round in 1..=rounds {
        for piece in &mut pieces {
            piece.iter_mut().for_each(|byte| *byte = round);
            black_box(&piece);
        }
    }
    let is_full = |piece: &&Vec<u8>| piece.iter().step_by(PAGE_BYTES).all(|byte| *byte == rounds);
    Ok(pieces.iter().filter(is_full).count())
}
