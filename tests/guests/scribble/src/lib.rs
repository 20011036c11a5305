//! Writes, allocates and logs at places that its event's seed says, and answers with a digest of
//! what it found there before. It asks neither clock nor randomness, so what it leaves behind
//! depends on nothing but what it was given and what was there.
//!
//! ```text
//! SEED(8) STEPS(4) RESPONSE_BYTES(4) anything
//! ```
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{vec, vec::Vec};
use core::{
    arch::asm,
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

const STATIC_WORDS: usize = 32 << 10;
const RESPONSE_BYTES_MAX: usize = 1 << 20;
/// All of the heap that one event leaks, bytes.
const LEAK_BYTES_MAX: usize = 4 << 20;
const FRAMES_MAX: u64 = 100;

static WORDS: [AtomicU64; STATIC_WORDS] = [const { AtomicU64::new(0) }; _];
/// Changed by every event, so that a second one on the same VM is told from a first.
static EVENTS: AtomicU64 = AtomicU64::new(0);

/// Marsaglia's xorshift64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Scribbles.
#[jiffy::function]
pub fn scribble(event: &[u8]) -> Result<Vec<u8>, &'static str> {
    let ([seed, sizes], rest) =
        event
            .split_first_chunk::<16>()
            .ok_or("too short")
            .map(|(head, rest)| {
                let (words, _) = head.as_chunks::<8>();
                ([words[0], words[1]].map(u64::from_le_bytes), rest)
            })?;
    let (steps, response_bytes) = (sizes & 0xffff_ffff, (sizes >> 32) as usize);
    if response_bytes > RESPONSE_BYTES_MAX {
        return Err("too large a response");
    }
    let mut numbers = Numbers(seed | 1);
    let mut digest = EVENTS.fetch_add(1, Relaxed);
    for byte in rest {
        digest = mix(digest, u64::from(*byte));
    }
    let mut leaked_bytes = 0;
    for _ in 0..steps {
        digest = mix(digest, step(&mut numbers, &mut leaked_bytes));
    }
    let mut response = digest.to_le_bytes().to_vec();
    response.resize_with(response_bytes.max(8), || numbers.next() as u8);
    Ok(response)
}

fn step(numbers: &mut Numbers, leaked_bytes: &mut usize) -> u64 {
    match numbers.next() % 8 {
        0..3 => WORDS[numbers.below(STATIC_WORDS)].swap(numbers.next(), Relaxed),
        3 => {
            let bytes = 1 + numbers.below(256 << 10);
            let mut block = vec![0u8; bytes];
            for _ in 0..16 {
                block[numbers.below(bytes)] = numbers.next() as u8;
            }
            if numbers.next().is_multiple_of(4) && *leaked_bytes + bytes <= LEAK_BYTES_MAX {
                *leaked_bytes += bytes;
                black_box(block.leak()).as_ptr() as u64
            } else {
                black_box(&block).as_ptr() as u64
            }
        }
        4 => deep(numbers, FRAMES_MAX),
        5 => {
            jiffy::log!("{:0width$x}", numbers.next(), width = numbers.below(200));
            0
        }
        6 => unsettle(numbers.next()),
        _ => {
            let few = 1 + numbers.below(64);
            let blocks: Vec<Vec<u8>> = (0..few).map(|n| vec![n as u8; 1 + 37 * n]).collect();
            black_box(&blocks).len() as u64
        }
    }
}

/// Goes some way down the stack and writes there.
#[inline(never)]
fn deep(numbers: &mut Numbers, frames_max: u64) -> u64 {
    let mut frame = [0u64; 256];
    frame[numbers.below(256)] = numbers.next();
    black_box(&mut frame);
    let found = match frames_max {
        0 => 0,
        _ if numbers.next().is_multiple_of(8) => 1,
        _ => deep(numbers, frames_max - 1),
    };
    found ^ black_box(&frame)[7]
}

/// Changes registers that no function gives back, and tells what was in one of them.
fn unsettle(value: u64) -> u64 {
    /// All exceptions masked; the two bits of rounding are the value's.
    const MXCSR: u32 = 0x1f80;
    let mxcsr = MXCSR | (value as u32 & 3) << 13;
    let before: u64;
    // SAFETY: nothing is addressed through `fs`, no exception is unmasked, and integer code, which
    // is all that there is, does not depend on how the others round.
    unsafe {
        asm!(
            "rdfsbase {before}",
            "wrfsbase {base}",
            "ldmxcsr [{mxcsr}]",
            "movq xmm15, {value}",
            before = out(reg) before,
            base = in(reg) value >> 18,
            mxcsr = in(reg) &mxcsr,
            value = in(reg) value,
            out("xmm15") _,
            options(nostack, readonly, preserves_flags),
        );
    }
    before
}

fn mix(digest: u64, word: u64) -> u64 {
    (digest ^ word)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(23)
}
