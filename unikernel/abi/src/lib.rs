//! Numbers and layouts that a guest and the virtual machine monitor (VMM) share, told once.
//!
//! Everything here is a value: no pointer is followed, nothing is allocated, nothing is unsafe.
//! What a guest wrote is decoded with the functions here and nowhere else.
//! Not here: reading or writing guest memory (`jiffy-rt` on the one side, `jiffy-vmm` on the other).
#![no_std]
#![forbid(unsafe_code)]

pub mod call;
pub mod control_page;
pub mod devices;
pub mod doorbell;
pub mod environment;
pub mod fault;
pub mod frame;
pub mod kv;
pub mod layout;
pub mod log_ring;
pub mod note;
pub mod redis;
pub mod resume_page;
pub mod virtio_mmio;
pub mod virtio_net;
pub mod vsock;

mod bytes;
mod numbered;

/// Version of everything in this crate. An image carries the one it was linked with in its ELF
/// note, and a VMM refuses every other: a guest and its VMM must agree on each byte.
pub const ABI_VERSION: u32 = 2;
