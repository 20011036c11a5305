//! The guest's memory map: every guest physical address, each derived from the last.
//!
//! Memory is identity-mapped, so a guest physical address is also the guest's virtual address.
//!
//! ```text
//! 0x0000_0000  page 0                 unmapped: null pointers fault
//! 0x0000_1000  GDT                    ring 0, read-only
//! 0x0000_2000  TSS + I/O bitmap       ring 0, read-only
//! 0x0000_3000  IDT                    ring 0, read-only
//! 0x0000_4000  fault stubs            ring 0, read-only, executable
//! 0x0000_5000  ring-0 stack           ring 0, written only by a fault
//! 0x0000_8000  resume page            guest reads, VMM writes
//! 0x0000_9000  control page           guest writes, VMM reads
//! 0x0000_a000  log ring, 16 KiB       guest writes, VMM reads
//! 0x0000_e000  environment            guest reads, VMM writes once, at load
//! 0x0001_0000  page tables, 192 KiB   unmapped: written once, at load
//! 0x0004_0000  guard page             unmapped: stack overflow faults
//! 0x0004_1000  stack, 768 KiB         grows down from 0x0010_1000, or as much higher as the image's
//!                                     note asks for a larger one
//! 0x0010_1000  image                  hot data, text, read-only data, data, bss: each as its
//!                                     segment says; higher if the stack is larger
//! image end    heap                   to the end of RAM; the driver receives into its end
//! 0xd000_0000  virtio-mmio windows    no RAM behind: every access exits
//! ```
//!
//! Stack, image and everything below them lie close together, so that few page tables serve a small
//! image: each one that a request walks costs a restored VM some microseconds. What every request
//! writes, the top of the stack and the image's hot data, begins a block of eight pages, because a
//! KVM that shadows page tables maps the writable pages at the beginning of such a block all with
//! the first fault in it.

/// Size of a page, bytes.
pub const PAGE_BYTES: u64 = 4096;
/// Size of a large page, bytes; the heap is mapped with them wherever it is aligned.
pub const LARGE_PAGE_BYTES: u64 = 2 << 20;

/// Global descriptor table.
pub const GDT: u64 = PAGE_BYTES;
/// Task state segment, its I/O permission bitmap behind it.
pub const TSS: u64 = GDT + PAGE_BYTES;
/// Interrupt descriptor table.
pub const IDT: u64 = TSS + PAGE_BYTES;
/// One stub per exception vector, [`STUB_BYTES`] apart.
pub const STUBS: u64 = IDT + PAGE_BYTES;
/// Distance between two stubs, bytes.
pub const STUB_BYTES: u64 = 16;
/// Exception vectors that have a gate and a stub.
pub const VECTORS: u64 = 32;
/// The page of the stack on which the CPU pushes an exception frame.
pub const RING0_STACK: u64 = STUBS + PAGE_BYTES;
/// First address above the ring-0 stack.
pub const RING0_STACK_TOP: u64 = RING0_STACK + PAGE_BYTES;

/// The page the VMM writes before every resume; see [`crate::resume_page`].
pub const RESUME_PAGE: u64 = 0x8000;
/// The page the guest writes for the VMM; see [`crate::control_page`].
pub const CONTROL_PAGE: u64 = RESUME_PAGE + PAGE_BYTES;
/// The log ring; see [`crate::log_ring`].
pub const LOG_RING: u64 = CONTROL_PAGE + PAGE_BYTES;
/// Size of the log ring, bytes.
pub const LOG_RING_BYTES: u64 = 16 << 10;
/// The function's environment, one page; see [`crate::environment`].
pub const ENVIRONMENT: u64 = LOG_RING + LOG_RING_BYTES;

/// Where the page tables begin; the root table is the first page.
pub const PAGE_TABLES: u64 = 0x1_0000;
/// Room for page tables, bytes. It holds those of every image: whatever lies in a whole large page is mapped with one, so
/// a range of any size needs a table of small pages for its beginning and one for its end.
pub const PAGE_TABLES_BYTES: u64 = 192 << 10;
/// Page tables that a memory map of `ranges` image segments needs at most.
pub const fn page_tables_max(ranges: u64) -> u64 {
    // The root, the table below it, and a directory for each of the four GiB below the end of the MMIO windows.
    let upper = 1 + 1 + 4;
    // The pages below the stack, where the stack ends, the MMIO windows. The heap begins where the last segment ends.
    let fixed = 3;
    upper + fixed + 2 * ranges
}

/// The unmapped page below the stack.
pub const STACK_GUARD: u64 = PAGE_TABLES + PAGE_TABLES_BYTES;
/// Lowest stack address.
pub const STACK: u64 = STACK_GUARD + PAGE_BYTES;
/// Initial stack pointer of an image that asks for no larger stack: first address above the stack.
pub const STACK_TOP: u64 = IMAGE;
/// Size of the stack of an image that asks for no larger one, bytes.
pub const STACK_BYTES_DEFAULT: u64 = STACK_TOP - STACK;
/// Largest stack, bytes.
pub const STACK_BYTES_MAX: u64 = 1 << 30;
/// A stack is a multiple of this, bytes: its top then begins a block of eight pages, whatever its size is.
pub const STACK_BYTES_STEP: u64 = 64 << 10;

/// Where images are linked. The linker script of `jiffy-rt` says the same number.
pub const IMAGE: u64 = 0x10_1000;

/// Smallest RAM of a VM, bytes: the fixed part below the image, the image, and some heap.
pub const RAM_BYTES_MIN: u64 = 4 << 20;
/// Default RAM of a VM, bytes.
pub const RAM_BYTES_DEFAULT: u64 = 16 << 20;
/// Largest RAM of a VM, bytes: RAM ends below the MMIO windows.
pub const RAM_BYTES_MAX: u64 = 3 << 30;
/// RAM is a multiple of this, bytes, so that large pages cover the end of the heap.
pub const RAM_BYTES_STEP: u64 = LARGE_PAGE_BYTES;

/// The first window of virtio-mmio registers, the vsock device's; [`crate::devices`] has the others.
pub const MMIO_VSOCK: u64 = 0xd000_0000;
/// Size of one device's window, bytes.
pub const MMIO_WINDOW_BYTES: u64 = PAGE_BYTES;

const _: () = {
    assert!(RING0_STACK_TOP <= RESUME_PAGE);
    assert!(ENVIRONMENT + PAGE_BYTES <= PAGE_TABLES);
    assert!(PAGE_TABLES + PAGE_TABLES_BYTES <= STACK_GUARD);
    // `page_tables_max` counts four GiB, and one table for all windows.
    assert!(MMIO_VSOCK + LARGE_PAGE_BYTES <= 4 << 30);
    assert!(MMIO_VSOCK.is_multiple_of(LARGE_PAGE_BYTES));
    assert!(VECTORS * STUB_BYTES <= PAGE_BYTES);
    assert!(STACK_TOP.is_multiple_of(PAGE_BYTES) && STACK < STACK_TOP);
    assert!(STACK_BYTES_DEFAULT.is_multiple_of(STACK_BYTES_STEP));
    assert!(STACK_BYTES_MAX.is_multiple_of(STACK_BYTES_STEP));
    assert!(STACK_BYTES_STEP.is_multiple_of(8 * PAGE_BYTES));
    assert!(STACK + STACK_BYTES_MAX < RAM_BYTES_MAX);
    assert!((STACK_TOP - PAGE_BYTES).is_multiple_of(8 * PAGE_BYTES) && STACK_TOP == IMAGE);
    assert!(IMAGE < RAM_BYTES_MIN && RAM_BYTES_MAX <= MMIO_VSOCK);
    assert!(RAM_BYTES_MIN.is_multiple_of(RAM_BYTES_STEP));
    assert!(RAM_BYTES_MAX.is_multiple_of(RAM_BYTES_STEP));
    assert!(LOG_RING_BYTES.is_power_of_two());
};
