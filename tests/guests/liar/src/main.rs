//! An image that does with its request stream what each request tells it to: answers well, twice, by
//! half, before it has read all, with what it kept of another request. A driver of its own, because
//! the library OS would do none of it.
//!
//! An event is a deed, a parameter, the id of who asks (16 bytes), and anything; a good answer is the
//! id. The tests that send events compile `deed.rs` too.
#![cfg_attr(jiffy_guest, no_std, no_main)]

#[cfg(jiffy_guest)]
#[path = "deed.rs"]
#[allow(dead_code, reason = "the tests' half of it is not needed here")]
mod deed;
#[cfg(jiffy_guest)]
mod guest;

#[cfg(not(jiffy_guest))]
fn main() {}
