//! How a thread waits, and how whoever waits is woken.
//!
//! A function that begins no thread has only the one: then nobody is woken, and who waits without an end ends the VM. What
//! switches between threads is behind a pointer that `pthread_create` sets, so that it is in no image without that.
#![allow(unsafe_code, reason = "a thread's own is found by an address")]

use alloc::vec::Vec;
use core::{
    ffi::{c_int, c_void},
    hint,
    panic::Location,
    ptr,
};

use super::{one_thread::OneThread, processes::give_up};

/// Why a VM ends in which a function with one thread waits for another.
const DEADLOCK: &str = "deadlock: the function waits for a lock, a channel or a thread, and its one thread is the only one that could end that";

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// To be woken by this address, which is of what the text says.
    Address(usize, &'static str),
    /// That the thread of this number ends.
    Thread(c_int),
    /// That time passes.
    Time,
    /// Replies of the host.
    Host,
}

/// What has several threads.
pub(crate) struct Threads {
    /// Has others go on until what is waited for is there, or until this time on the monotonic clock: whether it was the time.
    /// Whoever waits looks again: it may return earlier.
    pub(crate) wait: fn(For, Option<u64>) -> bool,
    /// Wakes so many of those that wait for this address, the longest first: how many.
    pub(crate) wake: fn(usize, usize) -> usize,
    /// Has those go on that can.
    pub(crate) give_way: fn(),
    /// Has all go on until each waits.
    pub(crate) settle: fn(),
}

static THREADS: OneThread<Option<&'static Threads>> = OneThread::new(None);

/// From here on there are several threads.
pub(crate) fn set_threads(threads: &'static Threads) {
    // Unknown to the compiler, which would see that there is no other value, and call what it points to wherever it is asked
    // for: then it would be in every image.
    let threads = hint::black_box(threads);
    THREADS.with(|all| *all = Some(threads));
}

/// What has several threads, if there were ever more than one.
pub(crate) fn threads() -> Option<&'static Threads> {
    THREADS.with(|threads| *threads)
}

/// Waits: whether the time is what ended it. Whoever waits looks again, because it may return earlier. With one thread, and
/// without an end, the VM ends.
pub(crate) fn wait(what: For, until_ns: Option<u64>) -> bool {
    match (threads(), until_ns) {
        (Some(threads), _) => (threads.wait)(what, until_ns),
        (None, _) if jiffy_rt::wait_for_awaited_host(until_ns) => is_over(until_ns),
        (None, Some(until_ns)) => {
            jiffy_rt::sleep_until(until_ns);
            true
        }
        (None, None) => give_up(DEADLOCK),
    }
}

/// Wakes so many of those that wait for this address: how many.
pub(crate) fn wake(address: usize, count: usize) -> usize {
    threads().map_or(0, |threads| (threads.wake)(address, count))
}

/// Whether it is this time on the monotonic clock; never if there is none.
pub(crate) fn is_over(until_ns: Option<u64>) -> bool {
    until_ns.is_some_and(|until_ns| until_ns <= jiffy_rt::monotonic_ns())
}

/// Bytes of a short name, as Linux has it, with its zero.
pub(crate) const NAME_BYTES: usize = 16;

/// Where a stack is.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Where the zone below it begins, which is to stay as it is.
    pub(crate) zone: usize,
    pub(crate) bottom: usize,
    pub(crate) top: usize,
}

/// Called with its argument when a thread ends.
pub(crate) type AtExit = (extern "C" fn(*mut c_void), *mut c_void);

/// What a thread that the function began has, and that of `init` and the requests has not. It lies above the thread's stack,
/// where nothing is written by one that overflows.
pub(crate) struct Begun {
    pub(crate) number: c_int,
    pub(crate) stack: Bounds,
    /// Its name as far as an operating system would have it, and a zero.
    pub(crate) short_name: [u8; NAME_BYTES],
    /// Destructors of thread-locals.
    pub(crate) at_exit: Vec<AtExit>,
    /// Ends the VM because it panics, and says which thread it is.
    #[cfg_attr(
        feature = "unwind",
        allow(dead_code, reason = "a panic then ends a VM later")
    )]
    pub(crate) panicked: fn(&str, Option<&Location<'_>>),
}

/// Where [`Begun`] is among the words of a thread; the table of `pthread_getspecific` is in another.
const BEGUN: usize = 1;

/// Makes this thread one that the function began.
///
/// # Safety
///
/// It is this thread's own, lives as long, and nobody else changes it while this one runs.
pub(crate) unsafe fn set_begun(begun: *mut Begun) {
    jiffy_rt::set_thread_word::<BEGUN>(begun.expose_provenance());
}

/// What is known of this thread; null if it is that of `init` or the requests.
fn begun() -> *mut Begun {
    ptr::with_exposed_provenance_mut(jiffy_rt::thread_word::<BEGUN>())
}

/// Where the stack of this thread is, and its short name; `None` if it is that of `init` or the requests. Copied, because
/// who allocates within [`with_begun`] may be found to be below its stack.
pub(crate) fn stack_and_name() -> Option<(Bounds, [u8; NAME_BYTES])> {
    let begun = begun();
    if begun.is_null() {
        return None;
    }
    // SAFETY: as in `with_begun`, but for the reference.
    let stack = unsafe { (*begun).stack };
    // SAFETY: as above.
    let name = unsafe { (*begun).short_name };
    Some((stack, name))
}

/// Does `work`, which waits for nothing, with what is known of this thread; `None` if it is that of `init` or the requests.
pub(crate) fn with_begun<R>(work: impl FnOnce(&mut Begun) -> R) -> Option<R> {
    // SAFETY: it is null, or what `set_begun` was given, which lives as long as the thread. This is the thread, it comes
    // here from this crate alone, and none of it holds the reference where others go on.
    unsafe { begun().as_mut() }.map(work)
}
