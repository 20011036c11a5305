//! Tells what is to differ in every resume: a random number, both clocks, the generation.
//!
//! ```text
//! RANDOM(16) WALL_NS(8) MONOTONIC_NS(8) GENERATION(8)
//! ```
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::vec::Vec;
use core::ptr;

use jiffy_abi::{
    layout::RESUME_PAGE,
    resume_page::{RESUME_PAGE_BYTES, ResumePage},
};

/// Tells, whatever the event.
#[jiffy::function]
pub fn draw(_event: &[u8]) -> Vec<u8> {
    let mut random = [0; 16];
    jiffy::random::fill(&mut random);
    let page: *const [u8; RESUME_PAGE_BYTES] = ptr::with_exposed_provenance(RESUME_PAGE as usize);
    // SAFETY: the VMM maps the page readable in every guest, and writes it only while none runs.
    let page = unsafe { page.read_volatile() };
    let page = ResumePage::from_bytes(&page);
    let mut answer = random.to_vec();
    for number in [page.wall_ns, page.monotonic_ns, page.generation] {
        answer.extend(number.to_le_bytes());
    }
    answer
}
