//! What an image says of itself: its note, its segments, its sections.
//!
//! The file is hostile. `object` bounds-checks every offset; what is checked here besides is what
//! a VMM refuses, so that `jiffy inspect` names it without one.
//! Not here: loading it (`jiffy-vmm`, which trusts none of this).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiffy_abi::{
    ABI_VERSION,
    layout::{IMAGE, LARGE_PAGE_BYTES, PAGE_BYTES, RAM_BYTES_MAX, RAM_BYTES_MIN, RAM_BYTES_STEP},
    note::{self, Note, NoteError},
};
use object::{
    Endianness, Object as _, ObjectSection as _,
    elf::{
        EM_X86_64, ET_EXEC, FileHeader64, PF_R, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD,
        ProgramHeader64, SHF_ALLOC,
    },
    read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _},
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Largest file that is looked at, bytes: RAM and as much again for symbols.
const FILE_BYTES_MAX: u64 = 2 * RAM_BYTES_MAX;

/// Why a file is no image that could run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the file has {0} bytes, more than the {FILE_BYTES_MAX} of any image")]
    TooLarge(u64),
    #[error("the file is no 64-bit ELF file: build an image with `jiffy build`")]
    NotElf(#[source] object::Error),
    #[error("the file is damaged")]
    Damaged(#[source] object::Error),
    #[error("the file is for machine {0}, not x86-64: build an image with `jiffy build`")]
    Machine(u16),
    #[error("the file is ELF type {0}, not a static executable: build an image with `jiffy build`")]
    NotStatic(u16),
    #[error("the file is linked dynamically: build an image with `jiffy build`")]
    Dynamic,
    #[error("the file has no jiffy note, so it is no image: build one with `jiffy build`")]
    NoNote,
    #[error("the jiffy note has {0} bytes, not {DESC}", DESC = note::DESC_BYTES)]
    NoteLength(usize),
    #[error("the jiffy note has a text that is not UTF-8")]
    NoteText,
    #[error("the image has no segment to load")]
    NoSegments,
    #[error("the file ends before the segment at {0:#x} does: it was cut")]
    Truncated(u64),
    #[error("the segment at {0:#x} has more bytes in the file than in memory")]
    SegmentSize(u64),
    #[error("the segment at {0:#x} does not begin on a page")]
    SegmentAlignment(u64),
    #[error("the segment at {0:#x} is both writable and executable")]
    WritableText(u64),
    #[error("the segment at {address:#x} is not between {IMAGE:#x} and {RAM_BYTES_MAX:#x}")]
    SegmentRange { address: u64 },
    #[error("the segment at {0:#x} overlaps or precedes the one before it")]
    Overlap(u64),
    #[error("the entry point {0:#x} is not in an executable segment")]
    Entry(u64),
}

/// An image's facts, as `jiffy inspect -o json` prints them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Image {
    /// ABI it was linked for; all below `flags` is there only if this jiffy knows that ABI.
    pub(crate) abi_version: u32,
    /// Whether this jiffy runs images of that ABI.
    pub(crate) abi_is_supported: bool,
    pub(crate) sdk_version: Option<String>,
    pub(crate) function_name: Option<String>,
    pub(crate) function_version: Option<String>,
    pub(crate) flags: Vec<&'static str>,
    pub(crate) entry: u64,
    pub(crate) segments: Vec<Segment>,
    pub(crate) sections: Vec<Section>,
    pub(crate) has_symbols: bool,
    pub(crate) file_bytes: u64,
    /// Bytes that are copied from the file to memory.
    pub(crate) loaded_bytes: u64,
    /// Bytes that `jiffy build --strip` would leave of the file.
    pub(crate) stripped_bytes: u64,
    /// Bytes in memory, zeroed ones included.
    pub(crate) memory_bytes: u64,
    /// Smallest RAM in which it starts: the image's end and one large page of heap.
    pub(crate) ram_bytes_min: u64,
    pub(crate) sha256: String,
}

/// A part of an image that is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Segment {
    pub(crate) address: u64,
    /// `r-x` and so on.
    pub(crate) permissions: String,
    pub(crate) file_bytes: u64,
    pub(crate) memory_bytes: u64,
}

/// A part of a segment with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) address: u64,
    pub(crate) permissions: String,
    pub(crate) bytes: u64,
}

type Elf<'a> = ElfFile64<'a, Endianness>;
type ProgramHeader = ProgramHeader64<Endianness>;

/// Reads the file at `path`, with its size checked first.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    let error = |source| ImageError::Read {
        path: path.into(),
        source,
    };
    let metadata = fs::metadata(path).map_err(error)?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(ImageError::TooLarge(metadata.len()));
    }
    fs::read(path).map_err(error)
}

impl Image {
    /// The facts of an image whose bytes are `file`.
    pub(crate) fn parse(file: &[u8]) -> Result<Self, ImageError> {
        let elf = Elf::parse(file).map_err(ImageError::NotElf)?;
        let endian = elf.endian();
        let header = elf.elf_header();
        if header.e_machine(endian) != EM_X86_64 || endian != Endianness::Little {
            return Err(ImageError::Machine(header.e_machine(endian).0));
        }
        let headers = elf.elf_program_headers();
        if headers
            .iter()
            .any(|header| matches!(header.p_type(endian), PT_INTERP | PT_DYNAMIC))
        {
            return Err(ImageError::Dynamic);
        }
        if header.e_type(endian) != ET_EXEC {
            return Err(ImageError::NotStatic(header.e_type(endian).0));
        }
        let note = find_note(headers, endian, file)?;
        let (abi_version, note) = match Note::from_desc(note) {
            Ok(note) => (ABI_VERSION, Some(note)),
            Err(NoteError::AbiVersion(found)) => (found, None),
            Err(NoteError::Length(bytes)) => return Err(ImageError::NoteLength(bytes)),
            Err(NoteError::Text) => return Err(ImageError::NoteText),
        };
        let entry = header.e_entry(endian);
        // An image of another ABI may be laid out otherwise.
        let segments = loaded(headers, endian, file)?;
        let image_end = match note {
            Some(_) => check_layout(&segments, entry)?,
            None => segments.iter().map(Segment::end).max().unwrap_or_default(),
        };
        let text = |field: fn(&Note) -> &str| note.as_ref().map(|note| field(note).to_owned());
        Ok(Self {
            abi_version,
            abi_is_supported: note.is_some(),
            sdk_version: text(Note::sdk_version),
            function_name: text(Note::function_name),
            function_version: text(Note::function_version),
            flags: note.map(|note| flags(note.flags)).unwrap_or_default(),
            entry,
            sections: sections(&elf, &segments)?,
            has_symbols: elf.section_by_name(".debug_line").is_some(),
            file_bytes: file.len() as u64,
            loaded_bytes: segments.iter().map(|segment| segment.file_bytes).sum(),
            stripped_bytes: stripped_len(&elf) as u64,
            memory_bytes: segments.iter().map(|segment| segment.memory_bytes).sum(),
            ram_bytes_min: image_end
                .saturating_add(LARGE_PAGE_BYTES)
                .checked_next_multiple_of(RAM_BYTES_STEP)
                .unwrap_or(u64::MAX)
                .max(RAM_BYTES_MIN),
            segments,
            sha256: sha256(file),
        })
    }

    /// Name and version of the function, for a heading.
    pub(crate) fn title(&self) -> String {
        match (&self.function_name, &self.function_version) {
            (Some(name), Some(version)) => format!("{name} {version}"),
            _ => format!("image of ABI {}", self.abi_version),
        }
    }
}

impl Segment {
    fn end(&self) -> u64 {
        self.address.saturating_add(self.memory_bytes)
    }
}

/// `file` without what is not loaded: symbols, debug information, and the section table that names
/// them. Program headers are all that a VMM reads.
pub(crate) fn stripped(file: &[u8]) -> Result<Vec<u8>, ImageError> {
    let elf = Elf::parse(file).map_err(ImageError::NotElf)?;
    let mut stripped = file[..stripped_len(&elf)].to_vec();
    // e_shoff, then e_shentsize, e_shnum and e_shstrndx; the header was parsed, so it is there.
    stripped[0x28..0x30].fill(0);
    stripped[0x3a..0x40].fill(0);
    Ok(stripped)
}

fn stripped_len(elf: &Elf<'_>) -> usize {
    let endian = elf.endian();
    let header = elf.elf_header();
    let headers_end = header.e_phoff(endian).saturating_add(
        u64::from(header.e_phentsize(endian)) * elf.elf_program_headers().len() as u64,
    );
    let end = elf
        .elf_program_headers()
        .iter()
        .map(|header| {
            header
                .p_offset(endian)
                .saturating_add(header.p_filesz(endian))
        })
        .fold(headers_end, u64::max)
        .max(size_of::<FileHeader64<Endianness>>() as u64);
    let file_len = elf.data().len();
    usize::try_from(end).unwrap_or(usize::MAX).min(file_len)
}

fn find_note<'a>(
    headers: &[ProgramHeader],
    endian: Endianness,
    file: &'a [u8],
) -> Result<&'a [u8], ImageError> {
    let name = note::NAME.strip_suffix(b"\0").unwrap_or(&note::NAME);
    for header in headers {
        let Some(mut notes) = header.notes(endian, file).map_err(ImageError::Damaged)? else {
            continue;
        };
        while let Some(found) = notes.next().map_err(ImageError::Damaged)? {
            if found.name() == name && found.n_type(endian).0 == note::TYPE {
                return Ok(found.desc());
            }
        }
    }
    Err(ImageError::NoNote)
}

fn loaded(
    headers: &[ProgramHeader],
    endian: Endianness,
    file: &[u8],
) -> Result<Vec<Segment>, ImageError> {
    let load = headers
        .iter()
        .filter(|header| header.p_type(endian) == PT_LOAD);
    load.map(|header| {
        let flags = header.p_flags(endian);
        let data = header.data(endian, file);
        let data = data.map_err(|()| ImageError::Truncated(header.p_vaddr(endian)))?;
        Ok(Segment {
            address: header.p_vaddr(endian),
            permissions: permissions(
                flags.contains(PF_R),
                flags.contains(PF_W),
                flags.contains(PF_X),
            ),
            file_bytes: data.len() as u64,
            memory_bytes: header.p_memsz(endian),
        })
    })
    .collect()
}

/// Checks what a VMM would refuse, and returns the image's end.
fn check_layout(segments: &[Segment], entry: u64) -> Result<u64, ImageError> {
    let mut end = IMAGE;
    for segment in segments {
        let address = segment.address;
        if segment.file_bytes > segment.memory_bytes {
            return Err(ImageError::SegmentSize(address));
        }
        if !address.is_multiple_of(PAGE_BYTES) {
            return Err(ImageError::SegmentAlignment(address));
        }
        if segment.permissions.ends_with("wx") {
            return Err(ImageError::WritableText(address));
        }
        if address < IMAGE || segment.end() > RAM_BYTES_MAX {
            return Err(ImageError::SegmentRange { address });
        }
        if address < end {
            return Err(ImageError::Overlap(address));
        }
        // Below the largest RAM, so this cannot overflow.
        end = segment.end().next_multiple_of(PAGE_BYTES);
    }
    if segments.is_empty() {
        return Err(ImageError::NoSegments);
    }
    let holds_entry = |segment: &Segment| {
        segment.permissions.ends_with('x') && (segment.address..segment.end()).contains(&entry)
    };
    if segments.iter().any(holds_entry) {
        Ok(end)
    } else {
        Err(ImageError::Entry(entry))
    }
}

/// What is loaded, by name. A section may be called writable although its segment is not, so the
/// segment's permissions are shown: constants with addresses in them are such.
fn sections(elf: &Elf<'_>, segments: &[Segment]) -> Result<Vec<Section>, ImageError> {
    let mut sections = vec![];
    for section in elf.sections() {
        let object::SectionFlags::Elf { sh_flags, .. } = section.flags() else {
            continue;
        };
        let address = section.address();
        let holds = |segment: &&Segment| (segment.address..segment.end()).contains(&address);
        let Some(segment) = segments.iter().find(holds) else {
            continue;
        };
        if !sh_flags.contains(SHF_ALLOC) || section.size() == 0 {
            continue;
        }
        let name = section.name_bytes().map_err(ImageError::Damaged)?;
        sections.push(Section {
            name: String::from_utf8_lossy(name).into_owned(),
            address,
            permissions: segment.permissions.clone(),
            bytes: section.size(),
        });
    }
    Ok(sections)
}

fn permissions(read: bool, write: bool, execute: bool) -> String {
    [(read, 'r'), (write, 'w'), (execute, 'x')]
        .map(|(has, letter)| if has { letter } else { '-' })
        .iter()
        .collect()
}

/// The names of `note::FLAG_*`, as `[package.metadata.jiffy]` has them.
pub(crate) fn flags(flags: u32) -> Vec<&'static str> {
    [
        (note::FLAG_PRECISE_CLOCK, "precise-clock"),
        (note::FLAG_RANDOM_INIT, "random-init"),
    ]
    .into_iter()
    .filter_map(|(flag, name)| (flags & flag != 0).then_some(name))
    .collect()
}

fn sha256(file: &[u8]) -> String {
    Sha256::digest(file)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests;
