//! What of RAM a device may touch for a guest: never more than the guest itself may.
//!
//! Below the stack are what the CPU reads (page tables, descriptor tables, the ring-0 stubs) and the pages that the VMM
//! writes: a guest that could have a device write there could leave ring 3. Of the rest a device reads all, because a
//! response may be a constant, and writes what is writable by the image's segments: a device that wrote code would make
//! every page executable that can be written.

use std::ops::Range;

use jiffy_abi::layout::STACK;
use jiffy_snapshots::state::AddressRange;

use super::{GuestMemory, view};

/// The two views that a device has of a guest's RAM.
#[derive(Debug)]
pub struct DeviceMemory {
    readable: GuestMemory,
    writable: GuestMemory,
}

impl DeviceMemory {
    /// No guest is known yet, so nothing may be written.
    pub(super) fn readable_only(base: *mut u8, ram_bytes: u64) -> Self {
        Self::new(base, ram_bytes, &[])
    }

    pub(super) fn new(base: *mut u8, ram_bytes: u64, writable: &[AddressRange]) -> Self {
        Self {
            readable: view(base, std::iter::once(STACK..ram_bytes)),
            writable: view(base, joined(writable, ram_bytes).into_iter()),
        }
    }

    /// Where packets that the guest sends may lie.
    pub fn readable(&self) -> &GuestMemory {
        &self.readable
    }

    /// Where receive buffers and queues may lie: a driver writes the rings, too.
    pub fn writable(&self) -> &GuestMemory {
        &self.writable
    }
}

/// The parts of ascending `ranges` that a device may write, those that touch made one: a buffer may lie across them.
fn joined(ranges: &[AddressRange], ram_bytes: u64) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        let (start, end) = (range.start.max(STACK), range.end.min(ram_bytes));
        if start >= end {
            continue;
        }
        match joined.last_mut() {
            Some(last) if last.end >= start => last.end = last.end.max(end),
            _ => joined.push(start..end),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use jiffy_abi::layout::{PAGE_BYTES, RAM_BYTES_MIN};
    use vm_memory::{Bytes, GuestAddress};

    use super::*;
    use crate::mem::Ram;

    fn range(start: u64, end: u64) -> AddressRange {
        AddressRange { start, end }
    }

    #[test]
    fn ranges_that_touch_are_one_and_none_is_below_the_stack_or_outside_ram() {
        let page = PAGE_BYTES;
        let ranges = [
            range(0, STACK + page),
            range(STACK + page, STACK + 2 * page),
            range(STACK + 3 * page, STACK + 4 * page),
            range(RAM_BYTES_MIN - page, RAM_BYTES_MIN + page),
            range(RAM_BYTES_MIN, RAM_BYTES_MIN + page),
        ];
        let expected = [
            STACK..STACK + 2 * page,
            STACK + 3 * page..STACK + 4 * page,
            RAM_BYTES_MIN - page..RAM_BYTES_MIN,
        ];
        assert_eq!(joined(&ranges, RAM_BYTES_MIN), expected);
    }

    #[test]
    fn a_device_writes_only_what_it_was_let_and_reads_all_from_the_stack_on() {
        let mut ram = Ram::new(RAM_BYTES_MIN).expect("4 MiB");
        let (first, second) = (STACK + PAGE_BYTES, STACK + 4 * PAGE_BYTES);
        let write = |ram: &Ram, at: u64| {
            let memory = ram.device_memory().writable();
            memory.write_slice(&[7; 2], GuestAddress(at)).is_ok()
        };
        assert!(!write(&ram, first), "before it was let");
        ram.let_devices_write(&[
            range(first, first + PAGE_BYTES),
            range(second, RAM_BYTES_MIN),
        ]);
        assert!(write(&ram, first) && write(&ram, first + PAGE_BYTES - 2));
        assert!(write(&ram, second) && write(&ram, RAM_BYTES_MIN - 2));
        for at in [
            first - 1,
            first + PAGE_BYTES - 1,
            second - 1,
            RAM_BYTES_MIN - 1,
        ] {
            assert!(!write(&ram, at), "{at:#x}");
        }
        let mut bytes = [0; 2];
        let mut read = |at| {
            let memory = ram.device_memory().readable();
            memory.read_slice(&mut bytes, GuestAddress(at)).is_ok()
        };
        assert!(read(STACK) && read(second - 1) && read(RAM_BYTES_MIN - 2));
        assert!(!read(STACK - 1) && !read(RAM_BYTES_MIN - 1));
    }
}
