//! C's files: the tree of `crate::files`, by path and by descriptor.
//!
//! ```text
//! by_path        open, stat, mkdir, unlink, rename, …, and the current folder
//! by_descriptor  read, write, seek, truncate, dup, fcntl, … of what is open
//! folders        opendir, readdir
//! stat           struct stat
//! ```
//!
//! What a function opens nothing with is not in its image: `read`, `write` and `close`, which every function has for the log,
//! find their way here by an address that the first `open` leaves (`stdio::Beyond`).
#![allow(unsafe_code, reason = "C's texts are addresses")]

mod by_descriptor;
mod by_path;
mod folders;
mod stat;

use alloc::rc::Rc;
use core::{
    cell::RefCell,
    ffi::{CStr, c_char, c_int},
};

use super::{one_thread::OneThread, stdio, time::now_ns};
use crate::{
    errno::{EBADF, EFAULT, fail},
    files::{Descriptors, Embedded, Fallible, Open, Options, Path, SharedOpen, Tree},
};

/// The part of the heap that `/tmp` may have.
const TMP_PART: u64 = 2;
/// Paths are seen from the current folder, and not from a descriptor's.
const AT_FDCWD: c_int = -100;
/// Rights that nothing has when it is made, as most systems have it.
const UMASK: u32 = 0o022;

/// What `jiffy build` linked in, sorted by path.
static EMBEDDED: OneThread<Embedded> = OneThread::new(&[]);
static STATE: OneThread<Option<State>> = OneThread::new(None);

struct State {
    tree: Tree,
    descriptors: Descriptors,
}

impl State {
    /// What stands for 0, 1 or 2, so that it can have another number too.
    fn standard(&mut self, descriptor: c_int) -> Fallible<SharedOpen> {
        let name: &[u8] = match descriptor {
            0 => b"/dev/stdin",
            1 => b"/dev/stdout",
            _ => b"/dev/stderr",
        };
        let options = Options {
            reads: descriptor == 0,
            writes: descriptor != 0,
            ..Options::default()
        };
        let path = Path::new(b"/", name)?;
        let open = self.tree.open(&path, options, 0, now())?;
        Ok(Rc::new(RefCell::new(open)))
    }
}

/// Says what was linked in, before anything is opened.
pub fn embed(files: Embedded) {
    EMBEDDED.with(|embedded| *embedded = files);
}

/// Does `work` with all files, which are made for the first who asks.
fn with<R>(work: impl FnOnce(&mut State) -> R) -> R {
    STATE.with(|state| {
        let state = state.get_or_insert_with(|| {
            stdio::go_beyond(&by_descriptor::BEYOND);
            let embedded = EMBEDDED.with(|embedded| *embedded);
            State {
                tree: Tree::new(embedded, jiffy_rt::heap_bytes() / TMP_PART),
                descriptors: Descriptors::new(),
            }
        });
        work(state)
    })
}

/// Does `work` with the current folder. Every panic of `std` asks for it, so it is told without files being made.
fn with_current<R>(work: impl FnOnce(&[u8]) -> R) -> R {
    STATE.with(|state| match state {
        Some(state) => work(state.tree.current()),
        None => work(b"/"),
    })
}

/// Does `work` with what a descriptor stands for.
fn with_open<R>(descriptor: c_int, work: impl FnOnce(&mut Open) -> Fallible<R>) -> Fallible<R> {
    let open = with(|state| state.descriptors.get(descriptor))?;
    let mut open = open.try_borrow_mut().map_err(|_| EBADF)?;
    work(&mut open)
}

/// Gives something open a descriptor.
fn put(state: &mut State, open: Open) -> Fallible<c_int> {
    state.descriptors.put(Rc::new(RefCell::new(open)), 0)
}

/// The path that a text names, seen from the folder of a descriptor.
///
/// # Safety
///
/// `text` is a text, or null.
unsafe fn path(state: &State, folder: c_int, text: *const c_char) -> Fallible<Path> {
    if text.is_null() {
        return Err(EFAULT);
    }
    // SAFETY: says the caller.
    let text = unsafe { CStr::from_ptr(text) }.to_bytes();
    if folder == AT_FDCWD || text.first() == Some(&b'/') {
        return Path::new(state.tree.current(), text);
    }
    let open = state.descriptors.get(folder)?;
    let open = open.try_borrow().map_err(|_| EBADF)?;
    Path::new(open.folder()?, text)
}

/// Wall time, as files have it.
fn now() -> u64 {
    now_ns(0).unwrap_or_default()
}

/// What C returns: zero, or -1 and `errno`.
fn done(result: Fallible<()>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => fail(error),
    }
}

/// The same with a number.
fn number<T: TryInto<i64>>(result: Fallible<T>) -> i64 {
    match result.and_then(|number| number.try_into().map_err(|_| crate::errno::EOVERFLOW)) {
        Ok(number) => number,
        Err(error) => fail(error).into(),
    }
}
