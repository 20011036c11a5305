//! The library OS of a jiffy guest: what is linked below the SDK into every image.
//!
//! A guest is one thread in ring 3 that is never interrupted. It polls its virtqueues, and when it
//! has nothing to do it rings a doorbell and the VMM decides what happens next. While the guest
//! runs, the VMM does not; so nothing here needs a lock.
//!
//! [`serve`] is the life of a guest; the rest is what it stands on. Everything that touches the
//! machine exists only in images, under `cfg(jiffy_guest)`; the rest is also compiled for the host,
//! where its tests run.
//! Not here: events, JSON, HTTP, handlers (`jiffy`, the SDK).
#![no_std]
#![deny(unsafe_code)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "a guest is x86-64, so `usize` is 64 bits; what becomes a `u32` is below 4 GiB, as all of its RAM is"
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(jiffy_guest)]
mod call;
#[cfg(jiffy_guest)]
mod clock;
#[cfg(jiffy_guest)]
mod doorbell;
#[cfg(jiffy_guest)]
mod entropy;
#[cfg(jiffy_guest)]
mod entry;
#[cfg(jiffy_guest)]
mod environment;
#[cfg(jiffy_guest)]
mod heap;
#[cfg(jiffy_guest)]
mod last_words;
#[cfg(jiffy_guest)]
mod log;
#[cfg(jiffy_guest)]
mod one;
#[cfg(jiffy_guest)]
mod serve;
#[cfg(jiffy_guest)]
mod vsock;

#[cfg(any(jiffy_guest, test))]
mod assembler;
#[cfg(any(jiffy_guest, test))]
mod mem;
#[cfg(any(jiffy_guest, test))]
#[cfg_attr(
    test,
    allow(
        dead_code,
        unreachable_pub,
        reason = "who takes all of it is only in images"
    )
)]
mod replies;
#[cfg(any(jiffy_guest, test))]
#[cfg_attr(
    test,
    allow(dead_code, reason = "the driver that uses all of it is only in images")
)]
mod ring;
#[cfg(any(jiffy_guest, test))]
#[cfg_attr(
    test,
    allow(dead_code, reason = "the driver that uses all of it is only in images")
)]
mod window;

#[cfg(jiffy_guest)]
pub use self::{
    call::{Call, NoCall, start_call, take_reply, wait_any, wait_reply},
    clock::{deadline_ns, generation, monotonic_ns, sleep_until, wall_ns},
    doorbell::exit,
    entropy::fill_random,
    environment::environment,
    log::log,
    replies::Reply,
    serve::{Request, Response, serve},
};

#[cfg(test)]
mod tests {
    use std::format;

    #[test]
    fn images_are_linked_where_the_memory_map_has_them() {
        let script = include_str!("../image.ld");
        let address = format!("  . = {:#x};\n", jiffy_abi::layout::IMAGE);
        assert!(script.contains(&address), "image.ld has no line{address}");
    }
}
