//! An image that obeys a script of bad deeds. The tests write the script into the linked image, so
//! that there is one image for all of them and each deed stands beside what is expected of it.
//!
//! It stands on the library OS for its entry and for what compiled code calls, and drives devices
//! and doorbells itself.
#![cfg_attr(jiffy_guest, no_std, no_main)]

#[cfg(jiffy_guest)]
mod guest;
#[cfg(jiffy_guest)]
mod registers;
#[cfg(jiffy_guest)]
#[allow(dead_code, reason = "the tests' half of it is not needed here")]
#[path = "../../../src/script.rs"]
mod script;

#[cfg(not(jiffy_guest))]
fn main() {
    eprintln!("hostile is a guest: the tests build it as an image");
}
