//! Numbers of what is open: the lowest that is free, from 3 on, as programs expect. 0, 1 and 2 are always open.

use alloc::{rc::Rc, vec::Vec};
use core::{cell::RefCell, ffi::c_int};

use super::{Fallible, open::Open};
use crate::errno::{EBADF, EMFILE};

/// The first number that is given.
const FIRST: usize = 3;
/// Open at once at most, 0, 1 and 2 with them: as `ulimit -n` has it on most systems.
pub(crate) const OPEN_MAX: usize = 1024;

/// What is open, which two numbers may share after `dup`.
pub(crate) type SharedOpen = Rc<RefCell<Open>>;

#[derive(Debug)]
pub(crate) struct Descriptors(Vec<Option<SharedOpen>>);

impl Descriptors {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn get(&self, descriptor: c_int) -> Fallible<SharedOpen> {
        let place = usize::try_from(descriptor).ok();
        let place = place.and_then(|number| number.checked_sub(FIRST));
        let open = place.and_then(|place| self.0.get(place)?.as_ref());
        open.map(Rc::clone).ok_or(EBADF)
    }

    /// Gives it the lowest free number that is at least `lowest`.
    pub(crate) fn put(&mut self, open: SharedOpen, lowest: c_int) -> Fallible<c_int> {
        let lowest = usize::try_from(lowest).unwrap_or(0).saturating_sub(FIRST);
        let mut place = lowest;
        while self.0.get(place).is_some_and(Option::is_some) {
            place += 1;
        }
        self.set(place, open)
    }

    /// Gives it this number, which what had it loses; `EBADF` for 0, 1 and 2, which are the log.
    pub(crate) fn put_at(&mut self, open: SharedOpen, descriptor: c_int) -> Fallible<c_int> {
        let place = usize::try_from(descriptor).map_err(|_| EBADF)?;
        self.set(place.checked_sub(FIRST).ok_or(EBADF)?, open)
    }

    fn set(&mut self, place: usize, open: SharedOpen) -> Fallible<c_int> {
        if place >= OPEN_MAX - FIRST {
            return Err(EMFILE);
        }
        if place >= self.0.len() {
            self.0.resize(place + 1, None);
        }
        self.0[place] = Some(open);
        c_int::try_from(place + FIRST).map_err(|_| EMFILE)
    }

    pub(crate) fn close(&mut self, descriptor: c_int) -> Fallible<()> {
        self.get(descriptor)?;
        if let Ok(number) = usize::try_from(descriptor) {
            self.0[number - FIRST] = None;
        }
        Ok(())
    }
}
