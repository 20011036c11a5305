//! From an image to RAM that can run: verify, copy, build the tables the CPU reads.

mod file;
mod page_tables;
mod system_tables;

pub use jiffy_image::{Image, ImageError, Permissions, Segment};
pub use system_tables::{
    CODE_SELECTOR, DATA_SELECTOR, GDT_LIMIT, IDT_LIMIT, TSS_LIMIT, TSS_SELECTOR,
};

use jiffy_abi::{
    devices::{DeviceId, Place},
    environment::ENVIRONMENT_BYTES_MAX,
    layout::{
        CONTROL_PAGE, ENVIRONMENT, GDT, IDT, LOG_RING, LOG_RING_BYTES, MMIO_WINDOW_BYTES,
        PAGE_BYTES, PAGE_TABLES, PAGE_TABLES_BYTES, RESUME_PAGE, RING0_STACK, STACK, STUBS, TSS,
        page_tables_max,
    },
};
use jiffy_image::{HEAP_BYTES_MIN, PROGRAM_HEADERS_MAX, Source};
use jiffy_snapshots::state::AddressRange;
use linux_loader::loader::{KernelLoader, elf::Elf};

use crate::mem::Ram;
use file::ImageFile;
use page_tables::{Access, PageTables};

// Page tables of every image fit the room that the memory map has for them.
const _: () =
    assert!(page_tables_max(PROGRAM_HEADERS_MAX as u64) * PAGE_BYTES <= PAGE_TABLES_BYTES);

/// Why an image cannot be put into RAM.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum LoadError {
    #[error(
        "the image needs at least {needed_bytes} bytes of memory, but the VM has {ram_bytes}: give it more (--memory)"
    )]
    TooSmall { needed_bytes: u64, ram_bytes: u64 },
    #[error("cannot copy the image into RAM: was its file changed meanwhile?")]
    Copy(#[source] linux_loader::loader::Error),
    #[error("the environment has {0} bytes, more than {ENVIRONMENT_BYTES_MAX}: make it smaller")]
    Environment(usize),
}

/// What a loaded image has that the vCPU, the guest and its devices must be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Where the guest starts.
    pub entry: u64,
    /// Size of the stack, bytes.
    pub stack_bytes: u64,
    /// First byte of the heap.
    pub heap_start: u64,
    /// First byte behind the heap: the end of RAM.
    pub heap_end: u64,
    /// The guest may read the time-stamp counter.
    pub precise_clock: bool,
    /// What the guest may write of its stack, its image and its heap: ascending, those that touch made one.
    pub writable: Vec<AddressRange>,
}

/// Copies the segments of `image`, which was read from `source`, into `ram` and builds page tables and system tables, in
/// which `devices` can be reached and no others.
pub fn load<S: Source + ?Sized>(
    ram: &Ram,
    image: &Image,
    source: &S,
    devices: &[DeviceId],
) -> Result<Loaded, LoadError> {
    let heap_start = image.end();
    let needed_bytes = heap_start + HEAP_BYTES_MIN;
    if needed_bytes > ram.bytes() {
        return Err(LoadError::TooSmall {
            needed_bytes,
            ram_bytes: ram.bytes(),
        });
    }
    let mut file = ImageFile::new(image, source);
    Elf::load(ram.memory(), None, &mut file, None).map_err(LoadError::Copy)?;

    let tables = page_tables(image, ram.bytes(), devices);
    // The image has at most so many segments; see the assertion above.
    assert!(tables.bytes() <= PAGE_TABLES_BYTES, "room for page tables");
    let write = |address, bytes: &[u8]| {
        // The memory map's fixed part is inside every RAM; const asserts of the ABI say so.
        ram.write(address, bytes)
            .unwrap_or_else(|| unreachable!("{address:#x} is in RAM"));
    };
    write(PAGE_TABLES, &tables.as_bytes());
    write(GDT, &system_tables::gdt());
    write(TSS, &system_tables::tss(devices));
    write(IDT, &system_tables::idt());
    write(STUBS, &system_tables::stubs());
    Ok(Loaded {
        entry: image.entry(),
        stack_bytes: image.stack_bytes(),
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
    let all = std::iter::once((STACK, image.stack_top()))
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

fn page_tables(image: &Image, ram_bytes: u64, devices: &[DeviceId]) -> PageTables {
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
    tables.map(STACK, image.stack_bytes(), Access::ReadWrite);
    for segment in image.segments() {
        let access = match segment.permissions {
            Permissions::Read => Access::ReadOnly,
            Permissions::ReadWrite => Access::ReadWrite,
            Permissions::ReadExecute => Access::Execute,
        };
        tables.map(segment.address, segment.mapped_bytes(), access);
    }
    let heap_start = image.end();
    tables.map(heap_start, ram_bytes - heap_start, Access::ReadWrite);
    for device in devices {
        if let Place::Window(start) = device.place() {
            tables.map(start, MMIO_WINDOW_BYTES, Access::ReadWrite);
        }
    }
    tables
}

#[cfg(test)]
mod tests;
