//! Which thread runs: one until it waits, then the one that could go on for the longest time.
//!
//! ```text
//!            pthread_create                 its turn
//!                  └──────────────► Ready ─────────────► (runs)
//!                                    ▲                      │
//!      woken, time over, host answers│                      │ waits
//!                                    └────── Waits ◄────────┤
//!                                                           │ ends
//!                              gone ◄────── Ended ◄─────────┘
//!                      joined, detached
//! ```
//!
//! A thread runs until it waits: nothing takes its turn away, so nothing here needs a lock. If none is ready, the VM waits: for
//! the host, for the earliest time, or, if there is neither, it ends. The thread that runs does so in the request in hand;
//! between requests all stand still, because who waits for a request is the library OS, which lets none go on.
//!
//! [`reschedule`] is the one place where another thread goes on. It is called where nothing is borrowed: what
//! `OneThread::with` is given comes back before.
#![allow(unsafe_code, reason = "a thread goes on where its stack is")]

use alloc::vec::Vec;
use core::{
    ffi::{c_int, c_void},
    mem,
};

use super::{
    context, keys,
    stack::Stack,
    table::{ALL, All, Next, Own, State, Thread, Work},
    telling::{check_stack, deadlock, overflow, panicked},
};
use crate::{
    errno::{self, EDEADLK, EINVAL, ESRCH},
    guest::{
        processes::give_up,
        waiting::{self, Begun, For, NAME_BYTES, Threads},
    },
};

/// How often threads may give way one after the other before time is let pass: clocks stand still while they only do that.
const TURNS_MAX: u32 = 64;
/// How long time is let pass then, nanoseconds.
const PAUSE_NS: u64 = 1000;
static THREADS: Threads = Threads {
    wait,
    wake,
    give_way,
    settle,
};

static OTHERS: jiffy_rt::Others = jiffy_rt::Others {
    stack_overflowed: overflow,
    check_stack,
    sleep_until: |until_ns| {
        while jiffy_rt::monotonic_ns() < until_ns {
            wait(For::Time, Some(until_ns));
        }
    },
    wait_for_host,
    host_has_answered: || {
        ALL.with(|all| all.make_ready(usize::MAX, |what| what == For::Host));
    },
    let_others_go_on,
};

/// Has another thread go on, if this one does not; returns when it is this one's turn.
fn reschedule() {
    check_stack();
    loop {
        match ALL.with(All::next) {
            Next::GoesOn => return,
            Next::Switch { saved, other } => {
                let error = errno::get();
                // SAFETY: `other` is that of a thread that stands still: it is not the one that runs, and `next` made it that.
                // `saved` is in a table that nobody changes before it is written. Nothing is borrowed, as callers see to.
                unsafe { context::switch(saved, other) };
                errno::set(error);
                bury();
                return;
            }
            Next::Idle {
                is_for_host,
                until_ns,
            } => idle(is_for_host, until_ns),
        }
    }
}

/// Gives back what threads had that are gone.
fn bury() {
    while let Some(dead) = ALL.with(All::take_dead) {
        drop(dead);
    }
}

/// Waits with the VM, because no thread can go on.
fn idle(is_for_host: bool, until_ns: Option<u64>) {
    if is_for_host {
        jiffy_rt::wait_for_host(until_ns);
    } else if !jiffy_rt::wait_for_awaited_host(until_ns) {
        match until_ns {
            Some(until_ns) => jiffy_rt::sleep_alone_until(until_ns),
            None => give_up(&deadlock()),
        }
    }
}

fn wait(what: For, until_ns: Option<u64>) -> bool {
    let with_current =
        |work: fn(&mut Thread) -> bool| ALL.with(|all| all.thread(all.current).is_some_and(work));
    with_current(|thread| mem::replace(&mut thread.is_timed_out, false));
    ALL.with(|all| {
        all.turns = 0;
        all.set(all.current, State::Waits(what, until_ns));
    });
    reschedule();
    with_current(|thread| thread.is_timed_out)
}

fn wake(address: usize, count: usize) -> usize {
    let is_it = |what| matches!(what, For::Address(waited, _) if waited == address);
    ALL.with(|all| all.make_ready(count, is_it))
}

fn give_way() {
    let is_time_due = ALL.with(|all| {
        all.turns = all.turns.wrapping_add(1);
        all.turns.is_multiple_of(TURNS_MAX)
    });
    if is_time_due {
        // They may wait for what only time or the host brings.
        jiffy_rt::wait_for_host(Some(jiffy_rt::monotonic_ns() + PAUSE_NS));
    }
    ALL.with(|all| all.set(all.current, State::Ready));
    reschedule();
}

/// Ends when each other thread waits, or when they have given way so often that they will not.
fn settle() {
    for _ in 0..100 * TURNS_MAX {
        if !ALL.with(|all| all.is_other_ready()) {
            return;
        }
        give_way();
    }
}

fn wait_for_host() {
    check_stack();
    if ALL.with(|all| all.is_other_ready()) {
        // So that the host works on it meanwhile.
        jiffy_rt::send_calls();
    }
    wait(For::Host, None);
}

/// As the library OS asks for it: false if no thread would ever go on.
fn let_others_go_on() -> bool {
    let is_any = ALL.with(|all| {
        let current = all.current;
        all.threads.iter().any(|thread| {
            let can = matches!(thread.state, State::Ready | State::Waits(_, Some(_)));
            can && thread.number != current
        })
    });
    if is_any {
        // Until the first of them has run: with a limit, as it may be the only one that does not wait for ever.
        let first_ns = ALL.with(|all| {
            let times = all.threads.iter().filter_map(|thread| match thread.state {
                State::Waits(_, until_ns) => until_ns,
                _ => None,
            });
            times.min()
        });
        match first_ns {
            Some(first_ns) if !ALL.with(|all| all.is_other_ready()) => {
                wait(For::Time, Some(first_ns));
            }
            _ => give_way(),
        }
    }
    is_any
}

/// Begins a thread: its thread pointer. `None` if there is no memory for it, or it would be one of more than there are numbers.
pub(super) fn begin(work: Work, stack_bytes: usize, is_detached: bool) -> Option<usize> {
    if ALL.with(|all| all.threads.is_empty()) {
        ALL.with(All::begin);
        waiting::set_threads(&THREADS);
        jiffy_rt::set_others(&OTHERS);
    }
    let number = ALL.with(|all| all.last.checked_add(1))?;
    ALL.with(|all| all.threads.try_reserve(1)).ok()?;
    let stack = Stack::new(stack_bytes)?;
    let pointer = stack.make_thread_locals();
    // SAFETY: nobody uses the stack yet, and every stack has room for far more than that.
    let saved = unsafe { context::first(stack.top(), entry, pointer) };
    let begun = stack.begun();
    let value = Begun {
        number,
        stack: stack.bounds(),
        short_name: [0; NAME_BYTES],
        at_exit: Vec::new(),
        panicked,
    };
    // SAFETY: there is room for it, which is nobody else's.
    unsafe { begun.write(value) };
    let own = Own {
        _stack: stack,
        pointer,
        work,
        is_detached,
        begun,
    };
    ALL.with(|all| all.push(number, saved, own));
    Some(pointer)
}

/// Where every thread begins.
extern "C" fn entry() -> ! {
    bury();
    let work = ALL.with(|all| {
        let current = all.current;
        let own = all.thread(current).and_then(|thread| thread.own.as_mut());
        own.map(|own| {
            // SAFETY: it is that of the thread that runs, which is this one, and is dropped with it.
            unsafe { waiting::set_begun(own.begun) };
            own.work
        })
    });
    let Some((work, argument)) = work else {
        unreachable!("the thread that runs is one that was begun");
    };
    if let Some(bottom) = waiting::with_begun(|begun| begun.stack.bottom) {
        jiffy_rt::set_stack_bottom(bottom);
    }
    end(work(argument))
}

/// Ends this thread: its destructors run, and who joins it gets `result`.
pub(super) fn end(result: *mut c_void) -> ! {
    while let Some(Some((destroy, value))) = waiting::with_begun(|begun| begun.at_exit.pop()) {
        destroy(value);
    }
    keys::destroy_values();
    ALL.with(|all| {
        let number = all.current;
        all.set(number, State::Ended(result));
        all.make_ready(usize::MAX, |what| what == For::Thread(number));
    });
    loop {
        reschedule();
    }
}

/// Waits until the thread has ended, and gives back what it had: its result, or the number of an error.
pub(super) fn join(pointer: usize) -> Result<*mut c_void, c_int> {
    loop {
        let ended = ALL.with(|all| {
            let at = all.by_pointer(pointer).ok_or(ESRCH)?;
            let thread = &all.threads[at];
            let number = thread.number;
            if number == all.current {
                return Err(EDEADLK);
            }
            if thread.own.as_ref().is_some_and(|own| own.is_detached) {
                return Err(EINVAL);
            }
            match thread.state {
                State::Ended(result) => Ok(Ok((all.threads.remove(at), result))),
                _ => Ok(Err(number)),
            }
        })?;
        match ended {
            Ok((thread, result)) => {
                drop(thread);
                return Ok(result);
            }
            Err(number) => {
                wait(For::Thread(number), None);
            }
        }
    }
}

/// Nobody will join the thread: what it has is given back when it has ended.
pub(super) fn detach(pointer: usize) -> c_int {
    let done = ALL.with(|all| {
        let Some(at) = all.by_pointer(pointer) else {
            return ESRCH;
        };
        match &mut all.threads[at].own {
            Some(own) if !own.is_detached => {
                own.is_detached = true;
                0
            }
            _ => EINVAL,
        }
    });
    bury();
    done
}

/// Names a thread, as far as there is room; false if there is none with this pointer.
pub(super) fn set_name(pointer: usize, name: &[u8]) -> bool {
    ALL.with(|all| {
        let at = all.by_pointer(pointer);
        let own = at.and_then(|at| all.threads[at].own.as_ref());
        own.is_some_and(|own| {
            let bytes = name.len().min(NAME_BYTES - 1);
            // SAFETY: it is there as long as the thread is, and nobody has a reference.
            let short_name = unsafe { &mut (*own.begun).short_name };
            *short_name = [0; NAME_BYTES];
            short_name[..bytes].copy_from_slice(&name[..bytes]);
            true
        })
    })
}

/// The name of a thread, which ends with a zero.
pub(super) fn name(pointer: usize) -> Option<[u8; NAME_BYTES]> {
    ALL.with(|all| {
        let own = all.threads[all.by_pointer(pointer)?].own.as_ref()?;
        Some(own.begun().short_name)
    })
}
