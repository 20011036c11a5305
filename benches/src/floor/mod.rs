//! The floor: what the kernel and the CPU take for the same work, in bare KVM ioctls and bare sockets.
//!
//! A guest of a dozen bytes writes as many pages as the function under measure does and exits. What jiffy takes above
//! this is jiffy's own. `process` is the floor as a process of its own: this program, started again.

mod process;
mod vm;

pub use process::{ECHO, Echo, RESTORE, Waiting, be_echo, be_waiting};
pub use vm::{Exits, Resets, Vm, ram_file};

/// Of a page.
pub const PAGE_BYTES: usize = 4096;
