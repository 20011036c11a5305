//! Tells what is to differ in every resume: a random number, both clocks, the generation.
//!
//! ```text
//! RANDOM(16) WALL_NS(8) MONOTONIC_NS(8) GENERATION(8)
//! ```
//!
//! Or, if the event is `crates`, what crates draw that know nothing of jiffy, and what floats do without `std`:
//!
//! ```text
//! GETRANDOM_0_4(16) GETRANDOM_0_3(16) SQRT_OF_2(8)
//! ```
#![cfg_attr(not(test), no_std)]

use core::ptr;

use jiffy::prelude::*;
use jiffy_abi::{
    layout::RESUME_PAGE,
    resume_page::{HEAD_BYTES, ResumePage},
};

fn of_crates() -> Vec<u8> {
    let mut random = [[0; 16]; 2];
    getrandom::fill(&mut random[0]).expect("it never fails");
    getrandom_before::fill(&mut random[1]).expect("it never fails");
    [&random[0][..], &random[1], &2f64.sqrt().to_le_bytes()].concat()
}

/// Tells.
#[jiffy::function]
pub fn draw(event: &[u8]) -> Vec<u8> {
    if event == b"crates" {
        return of_crates();
    }
    let mut random = [0; 16];
    jiffy::random::fill(&mut random);
    let page: *const [u8; HEAD_BYTES] = ptr::with_exposed_provenance(RESUME_PAGE as usize);
    // SAFETY: the VMM maps the page readable in every guest, and writes it only while none runs.
    let page = unsafe { page.read_volatile() };
    let page = ResumePage::from_bytes(&page);
    let mut answer = random.to_vec();
    for number in [page.wall_ns, page.monotonic_ns, page.generation] {
        answer.extend(number.to_le_bytes());
    }
    answer
}
