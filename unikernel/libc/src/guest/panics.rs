//! Panics in an image that unwinds: what is told of them, and what is kept of the last one until it is known whether somebody
//! catches it.
//!
//! The hook writes a panic to the log and keeps it; then `std` has the `unwinder` look for who catches it. That changes nothing.
//! If there is nobody, the VM ends while every frame is still there, as in an image that does not unwind: with message, place
//! and the whole backtrace.
//!
//! Not here: who catches (`std`), and the way there (`unwinder`).

use alloc::{
    format,
    string::{String, ToString},
};
use core::{fmt::Display, panic::Location};
use std::thread;

use jiffy_abi::fault::MESSAGE_BYTES_MAX;

use super::{
    one_thread::OneThread,
    stdio::{end_lines, put_error},
    threads::text_of,
    waiting::stack_and_name,
};

/// What `core` says where a panic may not go on: the panic itself was told before, and is what the VM ends with.
const CONSEQUENCES: [&str; 2] = [
    "panic in a function that cannot unwind",
    "panic in a destructor during cleanup",
];

/// A panic.
struct Panic {
    message: String,
    file: String,
    line: u32,
    column: u32,
}

/// The last one of a request, in whichever thread.
static LAST: OneThread<Option<Panic>> = OneThread::new(None);

/// Tells the log of a panic, as `std` would, and keeps it.
pub(super) fn begun(message: &str, location: Option<&Location<'_>>) {
    let place = location.map_or("an unknown place".into(), ToString::to_string);
    put_error(&format!(
        "{} panicked at {place}:\n{message}\n",
        thread_name()
    ));
    let cut = &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX as usize)];
    let before = match CONSEQUENCES.contains(&message) {
        true => LAST.with(Option::take),
        false => None,
    };
    let panic = match before {
        Some(before) => Panic {
            message: format!("{}; then a {cut}", before.message),
            ..before
        },
        None => Panic {
            message: match stack_and_name() {
                Some(_) => format!("{} panicked: {cut}", thread_name()),
                None => cut.into(),
            },
            file: location.map_or("", |at| at.file()).into(),
            line: location.map_or(0, |at| at.line()),
            column: location.map_or(0, |at| at.column()),
        },
    };
    let before = LAST.with(|last| last.replace(panic));
    drop(before);
}

/// Ends the VM if this thread panics, which then nobody catches, and the hook was told.
pub(super) fn end_if_panicking() {
    if thread::panicking() && LAST.with(|last| last.is_some()) {
        end_of_uncaught();
    }
}

/// Ends the VM because nobody catches a panic, or because one goes no further.
pub(super) fn end_of_uncaught() -> ! {
    end_lines();
    match LAST.with(Option::take) {
        Some(panic) => jiffy_rt::aborted_at(&panic.message, &panic.file, panic.line, panic.column),
        // The function's own hook was told, or `resume_unwind` began it, which tells none.
        None => jiffy_rt::aborted("a panic that nobody caught, and of which no hook told jiffy"),
    }
}

/// Keeps no panic any more: what the next request ends with is its own.
pub(super) fn forget() {
    let last = LAST.with(Option::take);
    drop(last);
}

fn thread_name() -> impl Display {
    match stack_and_name() {
        Some((_, name)) => format!("thread '{}'", text_of(&name)),
        None => "thread 'main'".into(),
    }
}
