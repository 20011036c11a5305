//! Verifies an image: everything about an ELF file that jiffy relies on, before any of it is used.

use jiffy_abi::{
    layout::{IMAGE, PAGE_BYTES, RAM_BYTES_MAX, RAM_BYTES_MIN, RAM_BYTES_STEP, STACK},
    note::{self, Note},
};

use crate::{
    Elf, IMAGE_BYTES_MAX, ImageError, LoadHeader, ReadError, Source, TLS_BYTES_MAX, elf::TlsHeader,
};

/// Least room behind an image, bytes: what the driver receives into, almost 1 MiB, and a heap.
pub const HEAP_BYTES_MIN: u64 = (1 << 20) + (256 << 10);

/// What a segment may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permissions {
    /// Constants.
    Read,
    /// Data.
    ReadWrite,
    /// Code.
    ReadExecute,
}

/// One loadable segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First byte, on a page boundary.
    pub address: u64,
    /// Bytes in memory; those that the file does not have are zero.
    pub bytes: u64,
    /// Where its bytes are in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub file_bytes: u64,
    /// What it may be used for.
    pub permissions: Permissions,
}

impl Segment {
    /// Bytes in memory, up to the next page boundary.
    pub const fn mapped_bytes(&self) -> u64 {
        self.bytes.next_multiple_of(PAGE_BYTES) // At most RAM_BYTES_MAX.
    }

    const fn end(&self) -> u64 {
        self.address + self.mapped_bytes()
    }
}

/// A verified image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    entry: u64,
    segments: Vec<Segment>,
    note: Note,
    needed_bytes: u64,
    stack_bytes: u64,
}

impl Image {
    /// Reads and verifies what a VMM relies on: headers and notes, a few pages of the file.
    pub fn read<S: Source + ?Sized>(source: &S) -> Result<Self, ReadError> {
        let file_bytes = source.bytes()?;
        if file_bytes > IMAGE_BYTES_MAX {
            return Err(ImageError::FileTooLarge(file_bytes).into());
        }
        let elf = Elf::read(source)?;
        let note = elf.note(source)?;
        let stack_bytes = note::stack_bytes(note.flags).ok_or(ImageError::NoteDamaged)?;
        let (entry, segments) = (elf.entry(), segments(&elf, STACK + stack_bytes)?);
        check_tls(elf.tls_headers(), &segments)?;
        let executable = segments.iter().any(|segment| {
            segment.permissions == Permissions::ReadExecute
                && entry
                    .checked_sub(segment.address)
                    .is_some_and(|at| at < segment.file_bytes)
        });
        if !executable {
            return Err(ImageError::Entry(entry).into());
        }
        let image = Self {
            entry,
            segments,
            note,
            needed_bytes: elf.needed_bytes(),
            stack_bytes,
        };
        if image.ram_bytes_min() > RAM_BYTES_MAX {
            let needed_bytes = image.end() + HEAP_BYTES_MIN;
            return Err(ImageError::TooLarge { needed_bytes }.into());
        }
        Ok(image)
    }

    /// As [`Image::read`], of a file that is in memory.
    pub fn parse(file: &[u8]) -> Result<Self, ImageError> {
        Self::read(file).map_err(|error| match error {
            ReadError::Image(error) => error,
            // Memory cannot fail to be read, except where there is none.
            ReadError::Read(_) => ImageError::Truncated,
        })
    }

    /// Size of the stack that it asks for, bytes.
    pub fn stack_bytes(&self) -> u64 {
        self.stack_bytes
    }

    /// First address above its stack; its segments are there or higher.
    pub fn stack_top(&self) -> u64 {
        STACK + self.stack_bytes
    }

    /// Bytes of the file, from its first on, that reading and loading look at. Symbols lie behind.
    pub fn needed_bytes(&self) -> u64 {
        self.needed_bytes
    }

    /// The smallest RAM in which it starts, bytes: up to its end, and room for a heap.
    pub fn ram_bytes_min(&self) -> u64 {
        let bytes = self.end() + HEAP_BYTES_MIN; // At most RAM_BYTES_MAX and a little.
        bytes.next_multiple_of(RAM_BYTES_STEP).max(RAM_BYTES_MIN)
    }

    /// Where the guest starts.
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// The loadable segments, by ascending address, none sharing a page.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// What the image says of itself.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// First page boundary behind the last segment.
    pub fn end(&self) -> u64 {
        self.segments.last().map_or(IMAGE, Segment::end)
    }
}

/// Nobody but the guest looks at thread-locals, and it relies on more than this; what makes no sense is refused here all the
/// same, as it says that something else linked the image.
fn check_tls(
    mut headers: impl Iterator<Item = TlsHeader>,
    segments: &[Segment],
) -> Result<(), ImageError> {
    let Some(header) = headers.next() else {
        return Ok(());
    };
    let TlsHeader {
        address,
        bytes,
        file_bytes,
        align,
    } = header;
    let is_in = |segment: &Segment| {
        let offset = address.checked_sub(segment.address);
        let end = offset.and_then(|offset| offset.checked_add(file_bytes));
        end.is_some_and(|end| end <= segment.bytes)
    };
    let fits = file_bytes <= bytes && bytes <= TLS_BYTES_MAX;
    let is_aligned =
        align.is_power_of_two() && align <= PAGE_BYTES && address.is_multiple_of(align);
    if !fits || !is_aligned || !segments.iter().any(is_in) || headers.next().is_some() {
        return Err(ImageError::ThreadLocal { address, bytes });
    }
    Ok(())
}

fn segments(elf: &Elf, first: u64) -> Result<Vec<Segment>, ImageError> {
    let load = elf.load_headers();
    let segments = load.map(|header| segment(&header, first, elf.file_bytes()));
    let mut segments = segments.collect::<Result<Vec<_>, _>>()?;
    segments.sort_by_key(|segment| segment.address);
    for pair in segments.windows(2) {
        if pair[0].end() > pair[1].address {
            return Err(ImageError::Overlap {
                first: pair[0].address,
                second: pair[1].address,
            });
        }
    }
    if segments.is_empty() {
        Err(ImageError::NoSegments)
    } else {
        Ok(segments)
    }
}

fn segment(header: &LoadHeader, first: u64, in_all: u64) -> Result<Segment, ImageError> {
    let LoadHeader {
        address,
        bytes,
        offset,
        file_bytes,
        ..
    } = *header;
    let in_file = offset.checked_add(file_bytes);
    if in_file.is_none_or(|end| end > in_all) || file_bytes > bytes {
        return Err(ImageError::Truncated);
    }
    let end = address.checked_add(bytes);
    let fits = address >= first && end.is_some_and(|end| end <= RAM_BYTES_MAX);
    if !fits || !address.is_multiple_of(PAGE_BYTES) || header.physical != address {
        return Err(ImageError::Placement {
            address,
            bytes,
            first,
        });
    }
    let permissions = match header.permissions {
        [false, ..] => return Err(ImageError::Unreadable { address }),
        [true, true, true] => return Err(ImageError::WritableExecutable { address }),
        [true, true, false] => Permissions::ReadWrite,
        [true, false, true] => Permissions::ReadExecute,
        [true, false, false] => Permissions::Read,
    };
    Ok(Segment {
        address,
        bytes,
        offset,
        file_bytes,
        permissions,
    })
}

#[cfg(test)]
mod tests;
