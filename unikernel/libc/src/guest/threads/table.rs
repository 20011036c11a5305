//! The threads there are, and what each does: who is next, who is woken, who is gone. A table and no more: nothing here switches.
#![allow(unsafe_code, reason = "what is known of a thread lies above its stack")]

use alloc::vec::Vec;
use core::{
    ffi::{c_int, c_void},
    ptr,
};

use super::stack::Stack;
use crate::guest::{
    one_thread::OneThread,
    waiting::{Begun, For},
};

/// The number of the thread of `init` and the requests.
const MAIN: c_int = 1;

/// What a thread begins with.
pub(super) type Work = (extern "C" fn(*mut c_void) -> *mut c_void, *mut c_void);

pub(super) enum State {
    Ready,
    Waits(For, Option<u64>),
    Ended(*mut c_void),
}

pub(super) struct Thread {
    pub(super) number: c_int,
    pub(super) state: State,
    /// When it came into this state, counted in changes of states.
    pub(super) since: u64,
    /// Whether time is what ended its last wait.
    pub(super) is_timed_out: bool,
    /// Where its stack is, if it stands still.
    pub(super) saved: *mut u8,
    /// What it has that the thread of `init` and the requests has not.
    pub(super) own: Option<Own>,
}

pub(super) struct Own {
    /// Given back with this.
    pub(super) _stack: Stack,
    /// The thread pointer, which is what `pthread_t` is.
    pub(super) pointer: usize,
    pub(super) work: Work,
    pub(super) is_detached: bool,
    pub(super) begun: *mut Begun,
}

impl Own {
    /// What is known of the thread, for a moment.
    pub(super) fn begun(&self) -> &Begun {
        // SAFETY: it is made when the thread is begun and dropped with it. Who changes it does so for a moment, and not in this
        // one.
        unsafe { &*self.begun }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // SAFETY: it was made when the thread was begun, which does not run any more.
        unsafe { self.begun.drop_in_place() };
    }
}

pub(super) struct All {
    /// Ascending by number; the first is that of `init` and the requests, and is always there.
    pub(super) threads: Vec<Thread>,
    /// The number of the one that runs.
    pub(super) current: c_int,
    /// Numbers given.
    pub(super) last: c_int,
    pub(super) changes: u64,
    pub(super) turns: u32,
}

pub(super) static ALL: OneThread<All> = OneThread::new(All {
    threads: Vec::new(),
    current: MAIN,
    last: MAIN,
    changes: 0,
    turns: 0,
});

/// What happens next.
pub(super) enum Next {
    GoesOn,
    Switch {
        saved: *mut *mut u8,
        other: *mut u8,
    },
    /// None is ready: the first of these ends the wait.
    Idle {
        is_for_host: bool,
        until_ns: Option<u64>,
    },
}

impl All {
    /// Makes the thread that is there the first of all.
    pub(super) fn begin(&mut self) {
        self.threads.push(Thread {
            number: MAIN,
            state: State::Ready,
            since: 0,
            is_timed_out: false,
            saved: ptr::null_mut(),
            own: None,
        });
    }

    /// A thread more, which is ready.
    pub(super) fn push(&mut self, number: c_int, saved: *mut u8, own: Own) {
        self.last = number;
        self.changes += 1;
        self.threads.push(Thread {
            number,
            state: State::Ready,
            since: self.changes,
            is_timed_out: false,
            saved,
            own: Some(own),
        });
    }

    pub(super) fn position(&self, number: c_int) -> Option<usize> {
        let found = self
            .threads
            .binary_search_by_key(&number, |thread| thread.number);
        found.ok()
    }

    pub(super) fn thread(&mut self, number: c_int) -> Option<&mut Thread> {
        let at = self.position(number)?;
        self.threads.get_mut(at)
    }

    pub(super) fn by_pointer(&self, pointer: usize) -> Option<usize> {
        let is = |thread: &Thread| {
            thread
                .own
                .as_ref()
                .is_some_and(|own| own.pointer == pointer)
        };
        self.threads.iter().position(is)
    }

    pub(super) fn set(&mut self, number: c_int, state: State) {
        self.changes += 1;
        let since = self.changes;
        if let Some(thread) = self.thread(number) {
            thread.state = state;
            thread.since = since;
        }
    }

    /// Makes so many ready of those that wait for what `is_it` says, the longest first: how many.
    pub(super) fn make_ready(&mut self, count: usize, is_it: impl Fn(For) -> bool) -> usize {
        for woken in 0..count {
            let waiting = self.threads.iter().filter(|thread| match thread.state {
                State::Waits(what, _) => is_it(what),
                _ => false,
            });
            let Some(first) = waiting.min_by_key(|thread| thread.since) else {
                return woken;
            };
            self.set(first.number, State::Ready);
        }
        count
    }

    /// Makes those ready whose time is over, the earliest first.
    fn end_times(&mut self, now_ns: u64) {
        loop {
            let over = self.threads.iter().filter_map(|thread| match thread.state {
                State::Waits(_, Some(until_ns)) if until_ns <= now_ns => {
                    Some((until_ns, thread.number))
                }
                _ => None,
            });
            let Some((_, number)) = over.min() else {
                return;
            };
            self.set(number, State::Ready);
            if let Some(thread) = self.thread(number) {
                thread.is_timed_out = true;
            }
        }
    }

    pub(super) fn is_other_ready(&self) -> bool {
        let mut others = self
            .threads
            .iter()
            .filter(|thread| thread.number != self.current);
        others.any(|thread| matches!(thread.state, State::Ready))
    }

    /// Who goes on.
    pub(super) fn next(&mut self) -> Next {
        self.end_times(jiffy_rt::monotonic_ns());
        let ready = self
            .threads
            .iter()
            .filter(|thread| matches!(thread.state, State::Ready));
        let Some(next) = ready.min_by_key(|thread| thread.since) else {
            let waits = self.threads.iter().filter_map(|thread| match thread.state {
                State::Waits(what, until_ns) => Some((what, until_ns)),
                _ => None,
            });
            return Next::Idle {
                is_for_host: waits.clone().any(|(what, _)| what == For::Host),
                until_ns: waits.filter_map(|(_, until_ns)| until_ns).min(),
            };
        };
        let (number, other) = (next.number, next.saved);
        if number == self.current {
            return Next::GoesOn;
        }
        let current = self.current;
        let Some(stops) = self.thread(current) else {
            unreachable!("the thread that runs is there");
        };
        let saved = &raw mut stops.saved;
        self.current = number;
        Next::Switch { saved, other }
    }

    /// Takes out those that have ended and that nobody will join, but not the one that runs.
    pub(super) fn take_dead(&mut self) -> Option<Thread> {
        let at = self.threads.iter().position(|thread| {
            let is_detached = thread.own.as_ref().is_some_and(|own| own.is_detached);
            matches!(thread.state, State::Ended(_)) && is_detached && thread.number != self.current
        })?;
        Some(self.threads.remove(at))
    }
}
