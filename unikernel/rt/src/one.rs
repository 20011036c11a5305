//! A value that lives as long as the guest does, and that whoever needs it gets for a moment.
#![allow(
    unsafe_code,
    reason = "a handler that is called from within reaches the value too"
)]

use core::ptr;

use crate::heap::Global;

/// Where the way to a value is kept, once there is one.
#[derive(Debug)]
pub(crate) struct One<T: 'static>(Global<*mut T>);

/// A way to the value. It gives a reference for as long as [`Handle::with`] takes and no longer, because a handler that
/// has a request in hand makes calls.
#[derive(Debug)]
pub(crate) struct Handle<T>(*mut T);

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

impl<T> One<T> {
    pub(crate) const fn new() -> Self {
        Self(Global::new(ptr::null_mut()))
    }

    /// Keeps the way to `value`.
    pub(crate) fn set(&self, value: &'static mut T) -> Handle<T> {
        let value = ptr::from_mut(value);
        // SAFETY: the guest's one thread is here, and nobody has a reference to what the static holds.
        unsafe { *self.0.get() = value };
        Handle(value)
    }

    /// The way to the value, if there is one yet.
    pub(crate) fn get(&self) -> Option<Handle<T>> {
        // SAFETY: the guest's one thread is here, and so not in `set`.
        let value = unsafe { *self.0.get() };
        (!value.is_null()).then_some(Handle(value))
    }
}

impl<T> Handle<T> {
    /// Does `work`, which is code of this crate that calls none of a function's and comes to no second `with`.
    pub(crate) fn with<R>(self, work: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: `set` got the pointer from a reference that lives for ever and was given up for it. There is one
        // thread, and the callers, all in this crate, do no more with the reference than the contract says: no other
        // reference to the value exists meanwhile.
        work(unsafe { &mut *self.0 })
    }
}
