//! The function's environment, as its deploy said.
#![allow(unsafe_code, reason = "the boot information lies at a fixed address")]

use jiffy_abi::{environment::ENVIRONMENT_PAGE_BYTES, layout::ENVIRONMENT};

/// The page with the environment, as [`jiffy_abi::environment`] describes it.
pub fn environment() -> &'static [u8; ENVIRONMENT_PAGE_BYTES] {
    let page: *const [u8; ENVIRONMENT_PAGE_BYTES] =
        core::ptr::with_exposed_provenance(ENVIRONMENT as usize);
    // SAFETY: the VMM writes the page before the guest starts and nobody after that: it is mapped
    // read-only, and devices are not lent it.
    unsafe { &*page }
}
