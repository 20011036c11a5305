//! Other threads: `jiffy-libc` has them in images with `std`, and says here how they go on while one waits.
//!
//! A function that begins no thread sets nothing, and nothing of this is in its image but the question.
#![allow(unsafe_code, reason = "a static is set when the first thread begins")]

use core::{
    hint, ptr,
    sync::atomic::{AtomicPtr, Ordering::Relaxed},
};

/// What is asked of whoever has the threads.
#[derive(Debug)]
pub struct Others {
    /// Ends the VM, because this thread is below its stack and what it would overwrite is needed.
    pub stack_overflowed: fn() -> !,
    /// Ends the VM if this thread wrote below its stack: asked before something leaves the VM.
    pub check_stack: fn(),
    /// Sleeps until this time on the monotonic clock, while others go on.
    pub sleep_until: fn(u64),
    /// Returns when replies may have come, while others go on.
    pub wait_for_host: fn(),
    /// Replies have come, and whoever waits for the host may look.
    pub host_has_answered: fn(),
    /// Has others go on, and waits for the first that can if none can at once; false if none ever can.
    pub let_others_go_on: fn() -> bool,
}

static OTHERS: AtomicPtr<Others> = AtomicPtr::new(ptr::null_mut());

/// From here on, there are threads.
pub fn set_others(others: &'static Others) {
    // Unknown to the compiler, so that nobody but who begins threads has what it points to in the image.
    let others = hint::black_box(others);
    OTHERS.store(ptr::from_ref(others).cast_mut(), Relaxed);
}

/// How other threads go on, if there are threads.
pub(crate) fn others() -> Option<&'static Others> {
    // SAFETY: it is null, or was made of a reference that lives for ever and through which nobody writes.
    unsafe { OTHERS.load(Relaxed).as_ref() }
}
