//! Verifies an image: everything about an ELF file that jiffy relies on, before any of it is used.

use jiffy_abi::{
    ABI_VERSION,
    layout::{IMAGE, PAGE_BYTES, RAM_BYTES_MAX},
    note::{self, Note, NoteError},
};
use object::{
    LittleEndian as LE,
    elf::{
        EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PF_R, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD,
        PT_NOTE, PT_TLS, ProgramHeader64,
    },
    read::elf::{FileHeader, ProgramHeader},
};

/// Largest image file, bytes, symbols included.
pub const IMAGE_BYTES_MAX: u64 = 256 << 20;
/// Most program headers; the linker script makes four.
pub const PROGRAM_HEADERS_MAX: usize = 16;

/// Why a file is not an image that this VMM can run. All blame the file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ImageError {
    #[error("the image has {0} bytes, more than {IMAGE_BYTES_MAX}: build it with --strip")]
    FileTooLarge(u64),
    #[error("not an ELF file: pass an image that `jiffy build` made")]
    NotElf,
    #[error("the ELF file is truncated or its headers are damaged: build it again")]
    Truncated,
    #[error(
        "the ELF file is for machine {0}, not for x86-64: build it with `jiffy build` on this host"
    )]
    Machine(u16),
    #[error(
        "the ELF file is dynamic or position-independent: link it statically with `jiffy build`"
    )]
    Dynamic,
    #[error("the ELF file is of type {0}, not an executable: pass what `jiffy build` made")]
    NotExecutable(u16),
    #[error("the ELF file has thread-local storage, which a guest has not: use plain statics")]
    ThreadLocal,
    #[error("the ELF file has {0} program headers, more than {PROGRAM_HEADERS_MAX}")]
    TooManyHeaders(usize),
    #[error(
        "no jiffy note: this ELF file is no function image, build the function with `jiffy build`"
    )]
    NoNote,
    #[error(
        "the image was built for ABI version {0}, but this VMM speaks {ABI_VERSION}: build it again with the matching `jiffy`"
    )]
    AbiVersion(u32),
    #[error("the image's jiffy note is damaged: build it again")]
    NoteDamaged,
    #[error("the image has no segment to load")]
    NoSegments,
    #[error("the segment at {address:#x} is writable and executable, which no image may have")]
    WritableExecutable { address: u64 },
    #[error("the segment at {address:#x} cannot be read, which every segment must be")]
    Unreadable { address: u64 },
    #[error(
        "the segment at {address:#x} with {bytes} bytes does not fit between {IMAGE:#x} and {RAM_BYTES_MAX:#x}, on page boundaries and at its physical address"
    )]
    Placement { address: u64, bytes: u64 },
    #[error("the segments at {first:#x} and {second:#x} overlap or share a page")]
    Overlap { first: u64, second: u64 },
    #[error("the entry point {0:#x} is not in an executable segment")]
    Entry(u64),
}

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
}

type Header = FileHeader64<LE>;
type ProgramHeaders<'a> = &'a [ProgramHeader64<LE>];

impl Image {
    /// Verifies `file`, the whole of an ELF file.
    pub fn parse(file: &[u8]) -> Result<Self, ImageError> {
        if file.len() as u64 > IMAGE_BYTES_MAX {
            return Err(ImageError::FileTooLarge(file.len() as u64));
        }
        if !file.starts_with(b"\x7fELF") {
            return Err(ImageError::NotElf);
        }
        let header = Header::parse(file).map_err(|_| ImageError::Truncated)?;
        let machine = header.e_machine(LE);
        if header.is_big_endian() || machine != EM_X86_64 {
            return Err(ImageError::Machine(machine.0));
        }
        let headers = header
            .program_headers(LE, file)
            .map_err(|_| ImageError::Truncated)?;
        if headers.len() > PROGRAM_HEADERS_MAX {
            return Err(ImageError::TooManyHeaders(headers.len()));
        }
        let has = |kind| headers.iter().any(|header| header.p_type(LE) == kind);
        match header.e_type(LE) {
            ET_DYN => return Err(ImageError::Dynamic),
            _ if has(PT_DYNAMIC) || has(PT_INTERP) => return Err(ImageError::Dynamic),
            ET_EXEC => {}
            other => return Err(ImageError::NotExecutable(other.0)),
        }
        if has(PT_TLS) {
            return Err(ImageError::ThreadLocal);
        }
        let note = find_note(headers, file)?;
        let segments = segments(headers, file)?;
        let entry = header.e_entry(LE);
        let executable = segments.iter().any(|segment| {
            segment.permissions == Permissions::ReadExecute
                && entry
                    .checked_sub(segment.address)
                    .is_some_and(|at| at < segment.file_bytes)
        });
        if !executable {
            return Err(ImageError::Entry(entry));
        }
        Ok(Self {
            entry,
            segments,
            note,
        })
    }

    /// Bytes of a file, from its first on, that [`Image::parse`] and loading look at, as `head`, its
    /// beginning, says. Symbols lie behind. What is wrong with the headers is `parse`'s to say.
    pub fn file_bytes(head: &[u8]) -> u64 {
        let len_bytes = head.len() as u64;
        let headers = Header::parse(head).and_then(|header| header.program_headers(LE, head));
        let used = headers.unwrap_or_default().iter().filter(|header| {
            let kind = header.p_type(LE);
            kind == PT_LOAD || kind == PT_NOTE
        });
        used.map(|header| header.p_offset(LE).saturating_add(header.p_filesz(LE)))
            .fold(len_bytes, u64::max)
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

fn find_note(headers: ProgramHeaders<'_>, file: &[u8]) -> Result<Note, ImageError> {
    for header in headers.iter().filter(|header| header.p_type(LE) == PT_NOTE) {
        let notes = header.notes(LE, file).map_err(|_| ImageError::Truncated)?;
        let Some(mut notes) = notes else { continue };
        while let Some(found) = notes.next().map_err(|_| ImageError::NoteDamaged)? {
            if found.name_bytes() != note::NAME || found.n_type(LE).0 != note::TYPE {
                continue;
            }
            return Note::from_desc(found.desc()).map_err(|error| match error {
                NoteError::AbiVersion(version) => ImageError::AbiVersion(version),
                NoteError::Length(_) | NoteError::Text => ImageError::NoteDamaged,
            });
        }
    }
    Err(ImageError::NoNote)
}

fn segments(headers: ProgramHeaders<'_>, file: &[u8]) -> Result<Vec<Segment>, ImageError> {
    let mut segments: Vec<Segment> = Vec::new();
    for header in headers {
        if header.p_type(LE) != PT_LOAD || header.p_memsz(LE).max(header.p_filesz(LE)) == 0 {
            continue;
        }
        segments.push(segment(header, file)?);
    }
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

fn segment(header: &ProgramHeader64<LE>, file: &[u8]) -> Result<Segment, ImageError> {
    let (address, bytes, file_bytes) =
        (header.p_vaddr(LE), header.p_memsz(LE), header.p_filesz(LE));
    let in_file = header.p_offset(LE).checked_add(file_bytes);
    if in_file.is_none_or(|end| end > file.len() as u64) || file_bytes > bytes {
        return Err(ImageError::Truncated);
    }
    let end = address.checked_add(bytes);
    let fits = address >= IMAGE && end.is_some_and(|end| end <= RAM_BYTES_MAX);
    if !fits || !address.is_multiple_of(PAGE_BYTES) || header.p_paddr(LE) != address {
        return Err(ImageError::Placement { address, bytes });
    }
    let flags = header.p_flags(LE);
    let permissions = match [PF_R, PF_W, PF_X].map(|flag| flags.contains(flag)) {
        [false, ..] => return Err(ImageError::Unreadable { address }),
        [true, true, true] => return Err(ImageError::WritableExecutable { address }),
        [true, true, false] => Permissions::ReadWrite,
        [true, false, true] => Permissions::ReadExecute,
        [true, false, false] => Permissions::Read,
    };
    Ok(Segment {
        address,
        bytes,
        file_bytes,
        permissions,
    })
}

#[cfg(test)]
mod tests;
