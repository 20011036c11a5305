//! Time, as the resume page tells it: it stands still until the next resume.
#![allow(unsafe_code, reason = "the resume page lies at a fixed address")]

use jiffy_abi::{
    layout::{PAGE_BYTES, RESUME_PAGE},
    resume_page::ResumePage,
};

use crate::{doorbell, window::Window};

/// The resume page as it is now.
pub(crate) fn resume_page() -> ResumePage {
    // SAFETY: the VMM maps the resume page readable in every guest, and nothing else refers to it.
    let page = unsafe { Window::new(RESUME_PAGE, PAGE_BYTES) };
    ResumePage::from_bytes(&page.load_array(0))
}

/// Unix time at the last resume, nanoseconds.
pub fn wall_ns() -> u64 {
    resume_page().wall_ns
}

/// Monotonic time at the last resume, nanoseconds.
pub fn monotonic_ns() -> u64 {
    resume_page().monotonic_ns
}

/// When the VM is stopped if the request in hand is not answered, on the monotonic clock,
/// nanoseconds; zero: never.
pub fn deadline_ns() -> u64 {
    resume_page().deadline_ns
}

/// RAM of the VM, bytes.
#[cfg(feature = "std")]
pub fn ram_bytes() -> u64 {
    resume_page().heap_end
}

/// Number of the last resume of this VM; it only grows.
pub fn generation() -> u64 {
    resume_page().generation
}

/// Sleeps until `wake_ns` on the monotonic clock; other threads, if there are some, go on meanwhile.
pub fn sleep_until(wake_ns: u64) {
    #[cfg(feature = "std")]
    if let Some(others) = crate::others::others() {
        return (others.sleep_until)(wake_ns);
    }
    alone_until(wake_ns);
}

/// Sleeps until `wake_ns` on the monotonic clock, and all threads with it.
#[cfg(feature = "std")]
pub fn sleep_alone_until(wake_ns: u64) {
    alone_until(wake_ns);
}

#[inline(always)]
fn alone_until(wake_ns: u64) {
    while monotonic_ns() < wake_ns {
        doorbell::wait_until(wake_ns);
    }
}
