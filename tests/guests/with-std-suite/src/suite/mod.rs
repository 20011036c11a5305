//! Tests of what `std` promises, in modules named like its own. Each is a function that panics if the promise does not hold.
//!
//! Not here: processes, sockets, and what nobody but a kernel has.
#![allow(
    clippy::all,
    clippy::disallowed_methods,
    reason = "what is asked is what one would not write otherwise"
)]

mod any;
mod ascii;
mod atomics;
mod binary_heap;
mod btree;
mod cells;
mod chars;
mod env;
mod ffi;
mod floats;
mod floats_text;
mod fmt;
mod fs;
mod hash_map;
mod integers;
mod io;
mod iter;
mod linked_list;
mod memory;
mod mpsc;
mod net;
mod ops;
mod panics;
mod path;
mod rc;
mod slices;
mod string;
mod sync;
mod text;
mod thread;
mod thread_local;
mod time;
mod vec;
mod vec_deque;

/// All of them: modules, and the names of their tests.
pub(crate) const MODULES: &[(&str, &[(&str, fn())])] = &[
    ("any", any::TESTS),
    ("ascii", ascii::TESTS),
    ("atomics", atomics::TESTS),
    ("binary_heap", binary_heap::TESTS),
    ("btree", btree::TESTS),
    ("cells", cells::TESTS),
    ("chars", chars::TESTS),
    ("env", env::TESTS),
    ("ffi", ffi::TESTS),
    ("floats", floats::TESTS),
    ("floats_text", floats_text::TESTS),
    ("fmt", fmt::TESTS),
    ("fs", fs::TESTS),
    ("hash_map", hash_map::TESTS),
    ("integers", integers::TESTS),
    ("io", io::TESTS),
    ("iter", iter::TESTS),
    ("linked_list", linked_list::TESTS),
    ("memory", memory::TESTS),
    ("mpsc", mpsc::TESTS),
    ("net", net::TESTS),
    ("ops", ops::TESTS),
    ("panics", panics::TESTS),
    ("path", path::TESTS),
    ("rc", rc::TESTS),
    ("slices", slices::TESTS),
    ("string", string::TESTS),
    ("sync", sync::TESTS),
    ("text", text::TESTS),
    ("thread", thread::TESTS),
    ("thread_local", thread_local::TESTS),
    ("time", time::TESTS),
    ("vec", vec::TESTS),
    ("vec_deque", vec_deque::TESTS),
];

const PANICS_END_THE_VM: &str = "a panic ends the VM: images have no unwinder";
const NO_LINKS: &str = "/tmp has no links";
pub(crate) const TURNS: &str = "threads take turns: one that spins keeps the others from going on";

/// What a VM does not do, and why.
pub(crate) const LEFT_OUT: &[(&str, &str)] = &[
    ("fs::hard_links_share_a_file", NO_LINKS),
    ("fs::symbolic_links_are_followed", NO_LINKS),
    ("panics::are_caught", PANICS_END_THE_VM),
    ("panics::run_destructors", PANICS_END_THE_VM),
    ("panics::poison_a_mutex", PANICS_END_THE_VM),
    ("panics::poison_a_rwlock", PANICS_END_THE_VM),
    ("panics::of_threads_are_told_by_join", PANICS_END_THE_VM),
    (
        "panics::are_resumed_with_what_they_carry",
        PANICS_END_THE_VM,
    ),
    ("thread::spins_until_another_is_done", TURNS),
];

/// Why a test is not run in a VM, if it is not.
pub(crate) fn why_left_out(name: &str) -> Option<&'static str> {
    let found = LEFT_OUT.iter().find(|(left_out, _)| *left_out == name);
    found.map(|(_, why)| *why)
}

/// What random steps begin with: the same in each run.
pub(crate) const SEED: u64 = 0x6a69_6666_7931_9507;

/// Random numbers of [`SEED`]: SplitMix64.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(SEED)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One that is less than `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// What counts how many of its kind are dropped.
struct Dropped<'a>(&'a std::cell::Cell<usize>);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}
