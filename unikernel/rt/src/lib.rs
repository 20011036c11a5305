//! The library OS of a jiffy guest: what is linked below the SDK into every image.
//!
//! A guest is one thread in ring 3 that is never interrupted. It polls its virtqueues, and when it
//! has nothing to do it rings a doorbell and the VMM decides what happens next. While the guest
//! runs, the VMM does not; so nothing here needs a lock. A function with `std` may have more threads,
//! which take turns: another goes on only where `others` is asked, and nothing is borrowed there.
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
pub mod nic;
#[cfg(jiffy_guest)]
mod one;
#[cfg(all(jiffy_guest, feature = "std"))]
mod others;
#[cfg(jiffy_guest)]
mod serve;
#[cfg(all(jiffy_guest, feature = "std"))]
mod tls;
#[cfg(jiffy_guest)]
mod virtio;
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

#[cfg(all(jiffy_guest, feature = "std"))]
pub use self::{
    call::{send_calls, wait_for_awaited_host, wait_for_host},
    clock::{ram_bytes, sleep_alone_until},
    entropy::fill_hash_keys,
    heap::heap_bytes,
    last_words::{
        aborted, aborted_at, end_if_allocation_failed, end_if_out_of_memory, out_of_memory,
        panicked,
    },
    others::{Others, set_others},
    tls::{
        THREAD_LOCALS_ALIGN_BYTES, make_thread_locals, set_stack_bottom, set_thread_word,
        thread_locals_bytes, thread_pointer, thread_word,
    },
};

#[cfg(test)]
mod tests {
    use std::{format, string::String, vec::Vec};

    const SCRIPTS: [&str; 2] = [include_str!("../image.ld"), include_str!("../image-std.ld")];

    #[test]
    fn images_are_linked_where_the_memory_map_has_them() {
        let address = format!("  . = {:#x};\n", jiffy_abi::layout::IMAGE);
        for script in SCRIPTS {
            assert!(script.contains(&address), "a script has no line{address}");
        }
    }

    /// The script of an image with `std` has all that the other one has, but for what it discards and three orders.
    #[test]
    fn scripts_differ_in_what_std_needs() {
        let lines = |script: &str| -> Vec<String> {
            let code = script.split_once("SECTIONS").expect("sections").1;
            code.lines().map(|line| line.trim().into()).collect()
        };
        let [plain, std] = SCRIPTS.map(lines);
        let missing: Vec<&String> = plain.iter().filter(|line| !std.contains(line)).collect();
        assert_eq!(
            missing,
            ["*(.init_array .init_array.*) *(.fini_array .fini_array.*)"]
        );
    }
}
