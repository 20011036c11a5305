//! What ends the VM because of a thread, and what is said then: a deadlock, a stack that overflowed, a panic.

use alloc::{format, string::String};
use core::{
    fmt::{self, Write},
    panic::Location,
};

use super::{
    stack,
    table::{ALL, State, Thread},
};
use crate::guest::{
    processes::give_up,
    waiting::{self, For, NAME_BYTES},
};

/// So many threads a deadlock is told of.
const TOLD_MAX: usize = 8;
/// What a thread is called that has no name.
const UNNAMED: &str = "<unnamed>";

/// Ends the VM if this thread wrote below its stack.
pub(super) fn check_stack() {
    let here = 0u8;
    let at = (&raw const here).addr();
    let own = waiting::stack_and_name();
    if own.is_some_and(|(bounds, _)| !stack::is_whole(bounds, at)) {
        overflow();
    }
}

/// Who waits for what, for a VM that ends because none goes on.
pub(super) fn deadlock() -> String {
    ALL.with(|all| {
        let mut text = String::from("deadlock: no thread can go on");
        let waiting = all.threads.iter().filter_map(|thread| match thread.state {
            State::Waits(what, _) => Some((thread, what)),
            _ => None,
        });
        for (thread, what) in waiting.clone().take(TOLD_MAX) {
            // A text takes whatever is written.
            let _ = write!(text, "; '{}' waits for ", name(thread));
            let _ = match what {
                For::Address(_, what) => text.write_str(what),
                For::Thread(number) => {
                    let other = all.position(number).and_then(|at| all.threads.get(at));
                    write!(text, "the end of '{}'", other.map_or(UNNAMED, name))
                }
                For::Time => write!(text, "time to pass"),
                For::Host => write!(text, "the host"),
            };
        }
        let more = waiting.count().saturating_sub(TOLD_MAX);
        if more > 0 {
            let _ = write!(text, "; and {more} more wait");
        }
        text
    })
}

/// Says that this thread wrote below its stack. What is in the heap may be written over, and nothing of it is used.
pub(super) fn overflow() -> ! {
    // Whatever follows may be below the stack as well.
    jiffy_rt::set_stack_bottom(0);
    let mut text = Text {
        bytes: [0; TEXT_BYTES],
        len: 0,
    };
    if let Some((stack, name)) = waiting::stack_and_name() {
        // There is room for all of it.
        let _ = write!(
            text,
            "stack overflow: thread '{}' used more than the {} KiB of its stack: give it more with `thread::Builder::stack_size` or `RUST_MIN_STACK`, or look for a recursion without end",
            text_of(&name),
            (stack.top - stack.bottom) >> 10
        );
    }
    give_up(str::from_utf8(&text.bytes[..text.len]).unwrap_or("stack overflow"))
}

const TEXT_BYTES: usize = 256;

/// A text that lies where it is made.
struct Text {
    bytes: [u8; TEXT_BYTES],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let to = self.bytes.get_mut(self.len..self.len + text.len());
        to.ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// Ends the VM because this thread panics. Its name is the short one: whoever asked `std` for the other would have every image
/// pay for threads.
pub(super) fn panicked(message: &str, location: Option<&Location<'_>>) {
    let name = waiting::stack_and_name().map_or([0; NAME_BYTES], |(_, name)| name);
    let message = format!("thread '{}' panicked: {message}", text_of(&name));
    jiffy_rt::panicked(&message, location);
}

fn name(thread: &Thread) -> &str {
    match &thread.own {
        Some(own) => text_of(&own.begun().short_name),
        None => "main",
    }
}

pub(in crate::guest) fn text_of(name: &[u8]) -> &str {
    let name = name.utf8_chunks().next();
    match name.map(|chunk| chunk.valid().trim_end_matches('\0')) {
        None | Some("") => UNNAMED,
        Some(name) => name,
    }
}
