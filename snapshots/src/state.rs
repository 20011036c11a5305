//! What a snapshot holds beside RAM: plain values, each field as the VMM's side names it.
//!
//! The order of fields and of variants is the format: see `docs/snapshot-format.md`. Vector and
//! floating-point state is not in it, because doorbells clobber it by contract.
//! Not here: the devices ([`crate::devices`]); whether registers and addresses make a VM that runs, which the VMM decides.

use jiffy_abi::{
    layout::{PAGE_BYTES, STACK},
    note::{NAME_BYTES, VERSION_BYTES},
};
use serde::{Deserialize, Serialize};

use crate::{
    cpu::{CPU_WORDS_MAX, CpuNeeds},
    devices::{self, DeviceState, DeviceStateError},
};

/// Most ranges of memory that a device may write: the stack, the heap, and an image's segments between them.
pub const WRITABLE_RANGES_MAX: usize = 18;

/// Everything but RAM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What the snapshot was made of.
    pub image: ImageInfo,
    /// The one vCPU.
    pub vcpu: VcpuState,
    /// The devices, in ascending order of their numbers.
    pub devices: Vec<DeviceState>,
    /// What the VMM itself keeps of a guest.
    pub run: RunState,
    /// What the CPU must be able to do.
    pub cpu: CpuNeeds,
}

/// The image a snapshot was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// SHA-256 of the image file.
    pub digest: [u8; 32],
    /// Name of the function's package, at most [`NAME_BYTES`].
    pub function_name: String,
    /// Version of the function's package, at most [`VERSION_BYTES`].
    pub function_version: String,
    /// `jiffy_abi::note::FLAG_*`.
    pub flags: u32,
}

/// Registers of the vCPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "names of registers")]
pub struct VcpuState {
    pub regs: Registers,
    pub segments: Segments,
    pub gdt: TableState,
    pub idt: TableState,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub cr8: u64,
    pub efer: u64,
    pub apic_base: u64,
    pub xcr0: u64,
}

/// General registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "names of registers")]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rsp: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
}

/// Segment registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "names of registers")]
pub struct Segments {
    pub cs: SegmentState,
    pub ds: SegmentState,
    pub es: SegmentState,
    pub fs: SegmentState,
    pub gs: SegmentState,
    pub ss: SegmentState,
    pub tr: SegmentState,
    pub ldt: SegmentState,
}

/// A segment register with its hidden part; fields are those of `struct kvm_segment`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "names of a descriptor's fields")]
pub struct SegmentState {
    pub base: u64,
    pub limit: u32,
    pub selector: u16,
    pub type_: u8,
    pub present: u8,
    pub dpl: u8,
    pub db: u8,
    pub s: u8,
    pub l: u8,
    pub g: u8,
    pub avl: u8,
    pub unusable: u8,
}

/// Where a descriptor table lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableState {
    /// First byte.
    pub base: u64,
    /// Last byte, counted from the first.
    pub limit: u16,
}

/// What the VMM itself keeps of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunState {
    /// The memory that the guest may write, and therefore a device for it: stack, writable segments, heap. Whole
    /// pages, ascending, neither overlapping nor touching, at most [`WRITABLE_RANGES_MAX`].
    pub writable: Vec<AddressRange>,
    /// First byte of the heap.
    pub heap_start: u64,
    /// First byte behind the heap.
    pub heap_end: u64,
    /// The guest may read the time-stamp counter.
    pub precise_clock: bool,
    /// The last generation the guest was told.
    pub generation: u64,
    /// The last time the guest was told, nanoseconds on its monotonic clock.
    pub monotonic_ns: u64,
    /// Bytes of log ever taken from the guest.
    pub log_tail: u64,
}

/// A range of guest physical addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRange {
    /// First byte.
    pub start: u64,
    /// First byte behind it.
    pub end: u64,
}

/// What a state says that no VM can be. All blame the state's maker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum StateError {
    #[error("its function's name has {0} bytes, more than {NAME_BYTES}")]
    NameTooLong(usize),
    #[error("its function's version has {0} bytes, more than {VERSION_BYTES}")]
    VersionTooLong(usize),
    #[error("its heap from {start:#x} to {end:#x} does not fit into {ram_bytes:#x} bytes of RAM")]
    Heap {
        start: u64,
        end: u64,
        ram_bytes: u64,
    },
    #[error(transparent)]
    Device(#[from] DeviceStateError),
    #[error("it lists {0} ranges of writable memory, more than {WRITABLE_RANGES_MAX}")]
    TooManyRanges(usize),
    #[error(
        "its writable memory from {start:#x} to {end:#x} is not whole pages between {STACK:#x} and the end of RAM, in ascending order"
    )]
    Writable { start: u64, end: u64 },
    #[error("it lists {0} CPUID words, more than {CPU_WORDS_MAX}")]
    TooManyCpuWords(usize),
}

impl State {
    /// Checks what can be checked without a VM. Holds for every state that is written or read.
    pub fn check(&self, ram_bytes: u64) -> Result<(), StateError> {
        if self.image.function_name.len() > NAME_BYTES {
            return Err(StateError::NameTooLong(self.image.function_name.len()));
        }
        if self.image.function_version.len() > VERSION_BYTES {
            let len_bytes = self.image.function_version.len();
            return Err(StateError::VersionTooLong(len_bytes));
        }
        let (start, end) = (self.run.heap_start, self.run.heap_end);
        if start > end || end > ram_bytes {
            return Err(StateError::Heap {
                start,
                end,
                ram_bytes,
            });
        }
        self.check_writable(ram_bytes)?;
        devices::check(&self.devices)?;
        if self.cpu.words.len() > CPU_WORDS_MAX {
            return Err(StateError::TooManyCpuWords(self.cpu.words.len()));
        }
        Ok(())
    }

    fn check_writable(&self, ram_bytes: u64) -> Result<(), StateError> {
        let ranges = &self.run.writable;
        if ranges.len() > WRITABLE_RANGES_MAX {
            return Err(StateError::TooManyRanges(ranges.len()));
        }
        let mut free = STACK;
        for &AddressRange { start, end } in ranges {
            let pages = start.is_multiple_of(PAGE_BYTES) && end.is_multiple_of(PAGE_BYTES);
            if !pages || start < free || start >= end || end > ram_bytes {
                return Err(StateError::Writable { start, end });
            }
            free = end + PAGE_BYTES; // Those that touch would have been one.
        }
        Ok(())
    }
}
