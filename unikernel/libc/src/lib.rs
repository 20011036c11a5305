//! The C symbols that the `std` of x86_64-unknown-linux-gnu calls, on jiffy's library OS, so that a function can use `std`.
//!
//! ```text
//! start         what is ready before anything of the function runs: environment, initialisers, the panic hook
//! errno         error numbers and their texts
//! memory        malloc and its family, and anonymous mmap, on the library OS's allocator
//! strings       bytes and texts
//! stdio         descriptors 0, 1 and 2: what is written is the function's log, line by line
//! time          clocks and sleep
//! environment   getenv, environ, setenv
//! random        getrandom
//! files         files in memory: what jiffy.toml gives, and /tmp
//! threads       threads that take turns: begin, end, switch, keys, locks
//! waiting       how a thread waits, with and without others
//! processes     exit and abort; sysconf; no other process, and no signals
//! sockets       none
//! syscall       the system calls that std makes by number
//! math          what libm has
//! unwinding     nothing, where a panic ends the VM
//! unwinder      where it can be caught: how frames are left
//! panics        and what is told and kept of it
//!
//! texts         what C does with texts
//! classes       isalpha and its like
//! numbers       strtol, strtod, abs, div
//! sorting       qsort, bsearch
//! calendar      gmtime, mktime, strftime
//! format        printf and scanf
//! math_of_c     what of <math.h> std does not call, and long double
//! streams       FILE, and where is printed to
//! jumps         setjmp, longjmp
//! fortify       what compilers put around C to find its mistakes
//! runtime       assert, the locale, rand, wide characters
//! cxx           new and delete, for C++ without exceptions
//! ```
//!
//! What nothing calls is in no image: the linker leaves it out.
//!
//! Every symbol keeps the contract of its man page as far as a function has what it speaks of. What a function never has
//! (processes, signals, sockets) fails with `ENOSYS`. Nothing crashes, and nothing says that it was done when it was not.
//! Where no failure can be told, as in a wait that
//! nobody ends, the VM ends and says why.
//!
//! Symbols exist only in images, under `cfg(jiffy_guest)`; what needs no machine is also compiled for the host, where its
//! tests run.
//!
//! # Why this and not another
//!
//! What others wrote stands on system calls: `c-scape` and `origin` make Linux's own, `relibc` those of Redox, and both are
//! built with unstable Rust. Here is no kernel that could be called, and what `std` needs is mostly a line each. `libm`, the
//! mathematics of musl in Rust, needs nothing below it and is taken. `gimli` reads the tables of frames, for images that
//! are to catch panics. `unwinding`, which stands on it too, brings a backtrace, and with that all of `std` that names frames:
//! 290 KiB of each image.
//!
//! Not here: the allocator, clocks, entropy, the log, thread-locals and the end of a VM (`jiffy-rt`).
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(
    not(jiffy_guest),
    allow(unused, reason = "on the host, tests use some of what is here")
)]
#![allow(
    non_camel_case_types,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "C's names, and C's numbers: a guest is x86-64, so sizes have 64 bits"
)]

extern crate alloc;
#[cfg(any(jiffy_guest, test))]
extern crate std;

mod calendar;
mod classes;
mod errno;
mod files;
mod format;
mod lines;
mod math;
mod math_of_c;
mod numbers;
mod sorting;
mod strings;
mod texts;
mod time_units;

/// What exists in images only.
#[cfg(jiffy_guest)]
mod guest {
    pub(crate) mod absent;
    pub(crate) mod cxx;
    pub(crate) mod environment;
    pub(crate) mod files;
    pub(crate) mod fortify;
    pub(crate) mod jumps;
    pub(crate) mod memory;
    pub(crate) mod one_thread;
    #[cfg(feature = "unwind")]
    pub(crate) mod panics;
    pub(crate) mod processes;
    pub(crate) mod random;
    pub(crate) mod runtime;
    pub(crate) mod sockets;
    pub(crate) mod start;
    pub(crate) mod stdio;
    pub(crate) mod streams;
    pub(crate) mod syscall;
    pub(crate) mod threads;
    pub(crate) mod time;
    #[cfg(feature = "unwind")]
    pub(crate) mod unwinder;
    pub(crate) mod unwinding;
    pub(crate) mod waiting;
}

#[cfg(jiffy_guest)]
pub use guest::{
    files::embed,
    start::{end_of_init, end_of_request, start},
};
