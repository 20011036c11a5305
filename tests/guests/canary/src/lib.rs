//! Leaves a pattern wherever a request can leave one, and looks for it.
//!
//! ```text
//! f PATTERN(16) HEAP_MIB(1) anything    fill: answers with the pattern, many times
//! p FACTOR(8) PRODUCTS(2 x 8)           probe: answers with one line for each place
//! s NAME                                reads a secret, leaves it in the heap, answers how many bytes it has
//! h URL                                 asks for it with the secret `stripe`, leaves what comes in the heap, answers the status
//! ```
//!
//! A probe must not bring along what it looks for, so it is told the pattern's two words multiplied
//! by an odd factor, and multiplies what it finds. It reads registers first, before the library OS
//! or the compiler has a use for many of them; control words and segments stay as they were.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod registers;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{
    hint::black_box,
    ops::Range,
    ptr,
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

use jiffy_abi::{
    layout::{
        CONTROL_PAGE, IMAGE, LOG_RING, LOG_RING_BYTES, PAGE_BYTES, RESUME_PAGE, STACK, STACK_TOP,
    },
    resume_page::{HEAD_BYTES, ResumePage},
};

use registers::Registers;

/// What is left behind: text, so that it can be logged.
type Pattern = [u8; 16];

const STATIC_BYTES: usize = 64 << 10;
/// Frames of a page each, most of the stack.
const STACK_FRAMES: u32 = 150;
const LOG_LINES: usize = 24;
const RESPONSE_BYTES: usize = 128 << 10;

static STATICS: [AtomicU8; STATIC_BYTES] = [const { AtomicU8::new(0) }; _];

/// Fills, probes, reads a secret or sends one, as the event says.
#[jiffy::function]
pub fn canary(event: &[u8]) -> Result<Vec<u8>, &'static str> {
    let registers = Registers::now();
    match event {
        [b'f', rest @ ..] => {
            let pattern = rest.first_chunk().ok_or("no pattern")?;
            let heap_mib = rest.get(pattern.len()).ok_or("no size")?;
            let response = fill(pattern, usize::from(*heap_mib))?;
            // Last, so that as little as possible runs between this and the next request.
            registers::fill(pattern);
            Ok(response)
        }
        [b'p', rest @ ..] => {
            let words = rest.first_chunk::<24>().ok_or("no key")?.as_chunks().0;
            let [factor, low, high] = [0, 1, 2].map(|word| u64::from_le_bytes(words[word]));
            Ok(probe(&registers, &Key { factor, low, high }).into_bytes())
        }
        [b's', name @ ..] => {
            let name = core::str::from_utf8(name).map_err(|_| "the name is not text")?;
            let secret = jiffy::secret(name).map_err(|error| &*error.to_string().leak())?;
            black_box(secret.as_bytes().to_vec().leak());
            Ok(secret.as_bytes().len().to_string().into_bytes())
        }
        [b'h', url @ ..] => {
            let url = core::str::from_utf8(url).map_err(|_| "the URL is not text")?;
            let request = jiffy::http::get(url).header("authorization", "Bearer none");
            let response = request.secret("stripe").send();
            let response = response.map_err(|error| &*error.to_string().leak())?;
            let status = response.status().to_string().into_bytes();
            black_box(response.into_body().leak());
            Ok(status)
        }
        _ => Err("neither fill nor probe nor secret nor request"),
    }
}

fn fill(pattern: &Pattern, heap_mib: usize) -> Result<Vec<u8>, &'static str> {
    for (byte, value) in STATICS.iter().zip(pattern.iter().cycle()) {
        byte.store(*value, Relaxed);
    }
    for kib in [1, 4, 64, 256, 1024 * heap_mib] {
        let block = pattern.repeat(kib * 1024 / pattern.len());
        // One stays, one is freed with its bytes in it.
        black_box(block.clone().leak());
        black_box(&block);
    }
    deep(pattern, STACK_FRAMES);
    let text = core::str::from_utf8(pattern).map_err(|_| "the pattern is not text")?;
    for _ in 0..LOG_LINES {
        jiffy::log!("{}", text.repeat(64));
    }
    Ok(pattern.repeat(RESPONSE_BYTES / pattern.len()))
}

/// Writes a page of stack, and calls itself.
#[inline(never)]
fn deep(pattern: &Pattern, frames: u32) {
    let mut frame = [*pattern; PAGE_BYTES as usize / 16];
    black_box(&mut frame);
    if frames > 0 {
        deep(pattern, frames - 1);
    }
    black_box(&frame);
}

/// The pattern, so disguised that it is nowhere in memory.
struct Key {
    factor: u64,
    low: u64,
    high: u64,
}

impl Key {
    fn is_low(&self, word: u64) -> bool {
        word.wrapping_mul(self.factor) == self.low
    }

    fn is(&self, low: u64, high: u64) -> bool {
        self.is_low(low) && high.wrapping_mul(self.factor) == self.high
    }
}

fn probe(registers: &Registers, key: &Key) -> String {
    let resume = resume_page();
    let statics = STATICS.as_ptr() as u64;
    let places: [(&str, Range<u64>); 8] = [
        ("resume-page", RESUME_PAGE..RESUME_PAGE + PAGE_BYTES),
        ("control-page", CONTROL_PAGE..CONTROL_PAGE + PAGE_BYTES),
        ("log-ring", LOG_RING..LOG_RING + LOG_RING_BYTES),
        ("stack", STACK..STACK_TOP),
        ("before-statics", IMAGE..statics),
        ("statics", statics..statics + STATIC_BYTES as u64),
        (
            "behind-statics",
            statics + STATIC_BYTES as u64..resume.heap_start,
        ),
        ("heap", resume.heap_start..resume.heap_end),
    ];
    let mut report = registers.report(key);
    for (place, range) in places {
        report += &format!("{place} {}\n", count(range, key));
    }
    report
}

/// How often the pattern is in memory, wherever it begins.
fn count(range: Range<u64>, key: &Key) -> usize {
    let word = |address: u64| {
        let pointer: *const u64 = ptr::with_exposed_provenance(address as usize);
        // SAFETY: all of `range` is mapped readable in every guest. Nothing is made of the word but
        // a comparison, so it does not matter to whom it belongs.
        unsafe { pointer.read_unaligned() }
    };
    let is_here =
        |address: &u64| key.is_low(word(*address)) && key.is(word(*address), word(address + 8));
    (range.start..range.end.saturating_sub(15))
        .filter(is_here)
        .count()
}

fn resume_page() -> ResumePage {
    let pointer: *const [u8; HEAD_BYTES] = ptr::with_exposed_provenance(RESUME_PAGE as usize);
    // SAFETY: the VMM maps the page readable in every guest, and writes it only while none runs.
    let bytes = unsafe { pointer.read_volatile() };
    ResumePage::from_bytes(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_fits_its_pattern_only() {
        let factor = 0x9e37_79b9_7f4a_7c15;
        let key = Key {
            factor,
            low: 7u64.wrapping_mul(factor),
            high: 9u64.wrapping_mul(factor),
        };
        assert!(key.is(7, 9) && key.is_low(7));
        assert!(!key.is(7, 7) && !key.is(9, 9) && !key.is_low(9));
    }
}
