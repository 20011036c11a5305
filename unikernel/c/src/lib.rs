//! The function crate of every function in C: its handler calls `jiffy_handle`, and what `include/jiffy.h` declares is here, on
//! the SDK.
//!
//! `jiffy build` compiles the author's sources and links them with this as it links a Rust author's crate. It exists only in
//! images, under `cfg(jiffy_guest)`.
//! Not here: the C library (`jiffy-libc`), compiling (`toolchain/src/build/native.rs`).
#![no_std]
#![deny(unsafe_code)]
#![allow(
    non_camel_case_types,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "C's names and numbers, on x86-64"
)]

extern crate alloc;

#[cfg(jiffy_guest)]
mod calls;
#[cfg(jiffy_guest)]
mod handler;
#[cfg(jiffy_guest)]
mod texts;

#[cfg(jiffy_guest)]
pub use handler::*;
