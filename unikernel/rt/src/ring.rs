//! The driver's side of one split virtqueue (VIRTIO 1.2, section 2.7), polled.
//!
//! No flags, no events, no notifications: the VMM looks at every queue at every doorbell.
//! Descriptors are grouped in chains of a fixed length, so that a chain's number says where it is.
#![allow(unsafe_code, reason = "the device reads the rings by address")]

use core::sync::atomic::{Ordering::AcqRel, compiler_fence};

use jiffy_abi::virtio_mmio::{DESC_NEXT, DESC_WRITE};

use crate::window::Window;

const DESC_BYTES: usize = 16;
const USED_ELEMENT_BYTES: usize = 8;

/// Where the three parts of a queue of `size` descriptors lie, from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The descriptor table is at zero, the available ring here.
    pub(crate) avail: usize,
    /// The used ring.
    pub(crate) used: usize,
    /// Bytes of all three.
    pub(crate) bytes: usize,
}

impl Layout {
    pub(crate) const fn new(size: u16) -> Self {
        let size = size as usize;
        let avail = size * DESC_BYTES;
        let used = (avail + 6 + 2 * size).next_multiple_of(4);
        Self {
            avail,
            used,
            bytes: (used + 6 + USED_ELEMENT_BYTES * size).next_multiple_of(16),
        }
    }
}

/// One piece of a chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffer {
    pub(crate) address: u64,
    pub(crate) len_bytes: u32,
}

/// A queue, its memory zeroed before the first use.
#[derive(Debug)]
pub(crate) struct Ring {
    memory: Window,
    layout: Layout,
    size: u16,
    /// Descriptors of one chain.
    chain_len: u16,
    /// Chains ever made available.
    available: u16,
    /// Chains ever seen used.
    seen: u16,
}

impl Ring {
    pub(crate) const fn new(memory: Window, size: u16, chain_len: u16) -> Self {
        let layout = Layout::new(size);
        Self {
            memory,
            layout,
            size,
            chain_len,
            available: 0,
            seen: 0,
        }
    }

    /// Chains the queue has room for.
    pub(crate) const fn chains(&self) -> u16 {
        self.size / self.chain_len
    }

    /// Chains that the device has.
    pub(crate) const fn in_flight(&self) -> u16 {
        self.available.wrapping_sub(self.seen)
    }

    /// Addresses of descriptor table, available ring and used ring.
    pub(crate) const fn addresses(&self) -> [u64; 3] {
        [
            self.memory.address(0),
            self.memory.address(self.layout.avail),
            self.memory.address(self.layout.used),
        ]
    }

    /// Gives chain number `chain`, made of `buffers`, to the device.
    pub(crate) fn offer(&mut self, chain: u16, buffers: &[Buffer], device_writes: bool) {
        let head = chain * self.chain_len;
        let write = if device_writes { DESC_WRITE } else { 0 };
        for (number, buffer) in (0u16..).zip(buffers) {
            let index = head + number;
            let more = usize::from(number) + 1 < buffers.len();
            let desc = usize::from(index) * DESC_BYTES;
            self.memory.store(desc, buffer.address);
            self.memory.store(desc + 8, buffer.len_bytes);
            self.memory
                .store(desc + 12, write | if more { DESC_NEXT } else { 0 });
            self.memory
                .store(desc + 14, if more { index + 1 } else { 0 });
        }
        let slot = usize::from(self.available % self.size);
        self.memory.store(self.layout.avail + 4 + 2 * slot, head);
        self.available = self.available.wrapping_add(1);
        // The device looks only when the guest has stopped, so order among these stores is enough.
        compiler_fence(AcqRel);
        self.memory.store(self.layout.avail + 2, self.available);
    }

    /// The next chain that the device is done with and the bytes it wrote, if there is one.
    pub(crate) fn take(&mut self) -> Option<(u16, u32)> {
        if self.memory.load::<u16>(self.layout.used + 2) == self.seen {
            return None;
        }
        let slot = usize::from(self.seen % self.size);
        let element = self.layout.used + 4 + USED_ELEMENT_BYTES * slot;
        let head = self.memory.load::<u32>(element) as u16; // The VMM returns what it was given.
        let written_bytes = self.memory.load(element + 4);
        self.seen = self.seen.wrapping_add(1);
        Some((head / self.chain_len, written_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;

    fn memory() -> Window {
        let memory = Box::leak(Box::new([0u64; 512]));
        let base = (&raw mut *memory).expose_provenance() as u64;
        // SAFETY: the memory is leaked, so it is valid for ever, and the only reference is gone.
        unsafe { Window::new(base, 4096) }
    }

    /// Does as a device that uses the oldest available chain would.
    fn use_one(ring: &Ring, number: u16, written_bytes: u32) {
        let slot = usize::from(number % ring.size);
        let head: u16 = ring.memory.load(ring.layout.avail + 4 + 2 * slot);
        ring.memory
            .store(ring.layout.used + 4 + 8 * slot, u32::from(head));
        ring.memory
            .store(ring.layout.used + 8 + 8 * slot, written_bytes);
        ring.memory
            .store(ring.layout.used + 2, number.wrapping_add(1));
    }

    #[test]
    fn chains_come_back_in_order_over_the_wrap_of_the_indices() {
        let mut ring = Ring::new(memory(), 8, 2);
        assert_eq!(ring.chains(), 4);
        // The interpreter would take minutes to reach the wrap.
        let rounds = if cfg!(miri) { 100 } else { 70_000u32 };
        for round in 0..rounds {
            let number = round as u16;
            let chain = number % 4;
            let buffer = Buffer {
                address: u64::from(round),
                len_bytes: 9,
            };
            ring.offer(chain, &[buffer, buffer], false);
            assert_eq!(ring.take(), None);
            use_one(&ring, number, round);
            assert_eq!(ring.take(), Some((chain, round)));
            assert_eq!(ring.in_flight(), 0);
        }
    }

    #[test]
    fn a_chain_is_linked_and_flagged() {
        let mut ring = Ring::new(memory(), 4, 2);
        let first = Buffer {
            address: 0x1234,
            len_bytes: 44,
        };
        let second = Buffer {
            address: 0x5678,
            len_bytes: 7,
        };
        ring.offer(1, &[first, second], true);
        let flags = |desc: usize| ring.memory.load::<u16>(desc * DESC_BYTES + 12);
        assert_eq!((flags(2), flags(3)), (DESC_WRITE | DESC_NEXT, DESC_WRITE));
        assert_eq!(ring.memory.load::<u16>(2 * DESC_BYTES + 14), 3);
        assert_eq!(ring.memory.load::<u64>(3 * DESC_BYTES), 0x5678);
        assert_eq!(ring.memory.load::<u16>(ring.layout.avail + 4), 2);
        assert_eq!(ring.in_flight(), 1);
    }
}
