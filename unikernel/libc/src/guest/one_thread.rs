//! A static of the threads, of which one runs at a time.
#![allow(unsafe_code, reason = "what is never shared is said to be shareable")]

use core::cell::UnsafeCell;

/// A value that everything here may change, for a moment each.
pub(crate) struct OneThread<T>(UnsafeCell<T>);

// SAFETY: one thread runs at a time and is never interrupted, and another goes on only where `threads::scheduler` has it
// go on, which none does within `with`. So nothing is ever shared.
unsafe impl<T> Sync for OneThread<T> {}

impl<T> OneThread<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Does `work` with the value. That is code of this crate, comes to no second `with` of the same value, and waits for
    /// nothing.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: one thread runs, and the callers do as the contract says: this is the only reference.
        work(unsafe { &mut *self.0.get() })
    }
}
