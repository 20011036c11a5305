//! Randomness: ChaCha20 keyed by the resume page, and keyed anew after every resume.
//!
//! Clones of one snapshot are resumed with different pages, so they never share a number drawn
//! after the resume.
#![allow(unsafe_code, reason = "the resume page lies at a fixed address")]

use core::{num::NonZeroI32, slice};

use jiffy_abi::{control_page::RANDOM_DRAWN, resume_page::ENTROPY_BYTES};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::{
    call::SERVER,
    clock,
    doorbell::{CONTROL, control_offset},
    heap::Global,
};

struct Keyed {
    generation: u64,
    rng: ChaCha20Rng,
}

static STATE: Global<Option<Keyed>> = Global::new(None);

/// `init` is over, and the snapshot is taken next. Forgets what `init` drew from: only what it made of it is in the snapshot.
#[cfg(feature = "std")]
pub(crate) fn forget() {
    // SAFETY: as in `draw`.
    unsafe { *STATE.get() = None };
}

/// Fills `bytes` with unpredictable ones, which may become known later: `std` keys hash tables with them. `init` may do
/// so; a table that it makes has the same keys in every clone of its snapshot.
#[cfg(feature = "std")]
pub fn fill_hash_keys(bytes: &mut [u8]) {
    draw(bytes);
}

/// Fills `bytes` with unpredictable ones. What `init` draws would be the same in every clone of its snapshot, so the VMM is told; after
/// that nothing is written. Whether it is `init` that draws is seen by what every image has: a flag of its own would be in
/// those, too, that draw nothing.
pub fn fill_random(bytes: &mut [u8]) {
    let server = SERVER.get();
    if !server.is_some_and(|server| server.with(|server| server.has_begun())) {
        CONTROL.store(control_offset(RANDOM_DRAWN), 1u64);
    }
    draw(bytes);
}

/// What the crate `getrandom` (0.3 and later) asks in an image, and through it `rand`, `uuid` and others: `jiffy build` sets its
/// cfg for an own backend, because without `std` there is no system call that it could make. Never fails.
///
/// # Safety
///
/// So many bytes are there, which are the caller's own.
#[unsafe(no_mangle)]
unsafe fn __getrandom_v03_custom(to: *mut u8, bytes: usize) -> Result<(), NonZeroI32> {
    // SAFETY: says the caller. They may never have been written, so they are before anybody looks at them.
    unsafe { to.write_bytes(0, bytes) };
    // SAFETY: as above.
    fill_random(unsafe { slice::from_raw_parts_mut(to, bytes) });
    Ok(())
}

#[inline(always)]
fn draw(bytes: &mut [u8]) {
    let page = clock::resume_page();
    let entropy: [u8; ENTROPY_BYTES] = page.entropy;
    let pointer = STATE.get();
    // SAFETY: a guest has one thread, and nothing below comes back here, so this is the only
    // reference to the state.
    let state = unsafe { &mut *pointer };
    let keyed = match state {
        Some(keyed) if keyed.generation == page.generation => keyed,
        _ => state.insert(Keyed {
            generation: page.generation,
            rng: ChaCha20Rng::from_seed(entropy),
        }),
    };
    keyed.rng.fill_bytes(bytes);
}
