//! From an image to RAM that can run: verify, copy, build the tables the CPU reads.

mod image;
mod page_tables;
mod system_tables;

pub use image::{IMAGE_BYTES_MAX, Image, ImageError, PROGRAM_HEADERS_MAX, Permissions, Segment};
pub use system_tables::{
    CODE_SELECTOR, DATA_SELECTOR, GDT_LIMIT, IDT_LIMIT, TSS_LIMIT, TSS_SELECTOR,
};

use std::io::Cursor;

use jiffy_abi::{
    environment::ENVIRONMENT_BYTES_MAX,
    layout::{
        CONTROL_PAGE, ENVIRONMENT, GDT, IDT, LARGE_PAGE_BYTES, LOG_RING, LOG_RING_BYTES,
        MMIO_VSOCK, MMIO_WINDOW_BYTES, PAGE_BYTES, PAGE_TABLES, PAGE_TABLES_BYTES, RESUME_PAGE,
        RING0_STACK, STACK, STACK_TOP, STUBS, TSS,
    },
};
use jiffy_snapshots::state::AddressRange;
use linux_loader::loader::{KernelLoader, elf::Elf};

use crate::mem::Ram;
use page_tables::{Access, PageTables};

/// Least room behind an image, bytes: what the driver receives into, almost 1 MiB, and a heap.
pub const HEAP_BYTES_MIN: u64 = (1 << 20) + (256 << 10);

/// Why an image cannot be put into RAM.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum LoadError {
    #[error(
        "the image needs at least {needed_bytes} bytes of memory, but the VM has {ram_bytes}: give it more (--memory)"
    )]
    TooSmall { needed_bytes: u64, ram_bytes: u64 },
    #[error("cannot copy the image into RAM")]
    Copy(#[source] linux_loader::loader::Error),
    #[error("the environment has {0} bytes, more than {ENVIRONMENT_BYTES_MAX}: make it smaller")]
    Environment(usize),
    #[error("page tables of {0} bytes do not fit the room the memory map has for them")]
    PageTables(u64),
}

/// What a loaded image has that the vCPU, the guest and its devices must be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Where the guest starts.
    pub entry: u64,
    /// First byte of the heap.
    pub heap_start: u64,
    /// First byte behind the heap: the end of RAM.
    pub heap_end: u64,
    /// The guest may read the time-stamp counter.
    pub precise_clock: bool,
    /// What the guest may write of its stack, its image and its heap: ascending, those that touch made one.
    pub writable: Vec<AddressRange>,
}

/// Copies `image`, which `bytes` decoded to, into `ram` and builds page tables and system tables.
pub fn load(ram: &Ram, image: &Image, bytes: &[u8]) -> Result<Loaded, LoadError> {
    let heap_start = image.end();
    let needed_bytes = heap_start + HEAP_BYTES_MIN;
    if needed_bytes > ram.bytes() {
        return Err(LoadError::TooSmall {
            needed_bytes,
            ram_bytes: ram.bytes(),
        });
    }
    Elf::load(ram.memory(), None, &mut Cursor::new(bytes), None).map_err(LoadError::Copy)?;

    let tables = page_tables(image, ram.bytes());
    let tables = tables.as_bytes();
    let tables_bytes = tables.len() as u64;
    if tables_bytes > PAGE_TABLES_BYTES {
        return Err(LoadError::PageTables(tables_bytes));
    }
    let write = |address, bytes: &[u8]| {
        // The memory map's fixed part is inside every RAM; const asserts of the ABI say so.
        ram.write(address, bytes)
            .unwrap_or_else(|| unreachable!("{address:#x} is in RAM"));
    };
    write(PAGE_TABLES, &tables);
    write(GDT, &system_tables::gdt());
    write(TSS, &system_tables::tss());
    write(IDT, &system_tables::idt());
    write(STUBS, &system_tables::stubs());
    Ok(Loaded {
        entry: image.entry(),
        heap_start,
        heap_end: ram.bytes(),
        precise_clock: image.note().flags & jiffy_abi::note::FLAG_PRECISE_CLOCK != 0,
        writable: writable(image, ram.bytes()),
    })
}

/// The ranges that [`page_tables`] maps writable from the stack on.
fn writable(image: &Image, ram_bytes: u64) -> Vec<AddressRange> {
    let segments = image.segments().iter();
    let segments = segments.filter(|segment| segment.permissions == Permissions::ReadWrite);
    let segments =
        segments.map(|segment| (segment.address, segment.address + segment.mapped_bytes()));
    let all = std::iter::once((STACK, STACK_TOP))
        .chain(segments)
        .chain([(image.end(), ram_bytes)]);
    let mut ranges: Vec<AddressRange> = Vec::new();
    for (start, end) in all {
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => ranges.push(AddressRange { start, end }),
        }
    }
    ranges
}

/// Writes the function's environment, which is empty otherwise.
pub fn set_environment(ram: &Ram, environment: &[u8]) -> Result<(), LoadError> {
    if environment.len() > ENVIRONMENT_BYTES_MAX {
        return Err(LoadError::Environment(environment.len()));
    }
    ram.write(ENVIRONMENT, environment)
        .unwrap_or_else(|| unreachable!("the environment's page is in RAM"));
    Ok(())
}

fn page_tables(image: &Image, ram_bytes: u64) -> PageTables {
    let mut tables = PageTables::new(PAGE_TABLES);
    for page in [GDT, TSS, IDT] {
        tables.map(page, PAGE_BYTES, Access::SystemReadOnly);
    }
    tables.map(STUBS, PAGE_BYTES, Access::SystemExecute);
    tables.map(RING0_STACK, PAGE_BYTES, Access::SystemReadWrite);
    tables.map(RESUME_PAGE, PAGE_BYTES, Access::ReadOnly);
    tables.map(ENVIRONMENT, PAGE_BYTES, Access::ReadOnly);
    tables.map(CONTROL_PAGE, PAGE_BYTES, Access::ReadWrite);
    tables.map(LOG_RING, LOG_RING_BYTES, Access::ReadWrite);
    tables.map(STACK, STACK_TOP - STACK, Access::ReadWrite);
    for segment in image.segments() {
        let access = match segment.permissions {
            Permissions::Read => Access::ReadOnly,
            Permissions::ReadWrite => Access::ReadWrite,
            Permissions::ReadExecute => Access::Execute,
        };
        tables.map(segment.address, segment.mapped_bytes(), access);
    }
    // Large pages from the first boundary behind the image: 4 KiB entries for 32 MiB took half a
    // millisecond to build (DESIGN §5).
    let heap_start = image.end();
    let large = heap_start.next_multiple_of(LARGE_PAGE_BYTES).min(ram_bytes);
    tables.map(heap_start, large - heap_start, Access::ReadWrite);
    tables.map_large(large, ram_bytes - large, Access::ReadWrite);
    tables.map(MMIO_VSOCK, MMIO_WINDOW_BYTES, Access::ReadWrite);
    tables
}
