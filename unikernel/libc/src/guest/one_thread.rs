//! A static of the guest's one thread.
#![allow(unsafe_code, reason = "what is never shared is said to be shareable")]

use core::cell::UnsafeCell;

/// A value that everything here may change, for a moment each.
pub(crate) struct OneThread<T>(UnsafeCell<T>);

// SAFETY: a guest has exactly one thread and is never interrupted, so nothing is ever shared.
unsafe impl<T> Sync for OneThread<T> {}

impl<T> OneThread<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Does `work` with the value. That is code of this crate, and comes to no second `with` of the same value.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: there is one thread, and the callers do as the contract says: this is the only reference.
        work(unsafe { &mut *self.0.get() })
    }
}
