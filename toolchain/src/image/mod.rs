//! What an image says of itself, for people and programs: its note, its segments, its sections.
//!
//! Not here: reading and verifying it (`jiffy-image`, as the VMM and the agent do); loading it (`jiffy-vmm`).

use std::{
    io,
    path::{Path, PathBuf},
};

use jiffy_abi::{ABI_VERSION, layout::RAM_BYTES_STEP, note};
pub(crate) use jiffy_image::ImageError as Refused;
use jiffy_image::{Elf, IMAGE_BYTES_MAX, LoadHeader, ReadError, Source, sections};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Why a file is no image that could run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Refused(#[from] Refused),
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
    /// Size of the stack that it asks for.
    pub(crate) stack_bytes: Option<u64>,
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

/// Reads the file at `path`, which is one and not too large to be an image.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    jiffy_files::read(path, IMAGE_BYTES_MAX).map_err(|source| {
        match jiffy_files::Refused::of(&source) {
            // As everybody says it.
            Some(jiffy_files::Refused::TooLarge { bytes, .. }) => {
                Refused::FileTooLarge(bytes).into()
            }
            _ => ImageError::Read {
                path: path.into(),
                source,
            },
        }
    })
}

/// Reads what is loaded of the file at `path`, however large the rest of it is.
pub(crate) fn read_stripped(path: &Path) -> Result<Vec<u8>, ImageError> {
    let error = |source| ImageError::Read {
        path: path.into(),
        source,
    };
    let file = jiffy_files::open(path).map_err(error)?;
    stripped(&file).map_err(|problem| match problem {
        ReadError::Read(source) => error(source),
        ReadError::Image(refused) => refused.into(),
    })
}

impl Image {
    /// The facts of an image whose bytes are `file`: one that a VMM takes, or one of another ABI, which may be laid out
    /// otherwise.
    pub(crate) fn parse(file: &[u8]) -> Result<Self, ImageError> {
        let (abi_version, image) = match jiffy_image::Image::parse(file) {
            Ok(image) => (ABI_VERSION, Some(image)),
            Err(Refused::AbiVersion(found)) => (found, None),
            Err(refused) => return Err(refused.into()),
        };
        let elf = Elf::read(file).map_err(|error| match error {
            ReadError::Image(refused) => refused,
            // Memory cannot fail to be read, except where there is none.
            ReadError::Read(_) => Refused::Truncated,
        })?;
        let mut segments: Vec<_> = elf
            .load_headers()
            .map(|header| Segment::new(&header))
            .collect();
        segments.sort_by_key(|segment| segment.address);
        let end = segments.iter().map(Segment::end).max().unwrap_or_default();
        let ram_bytes_min = image.as_ref().map_or_else(
            || {
                end.checked_next_multiple_of(RAM_BYTES_STEP)
                    .unwrap_or(u64::MAX)
            },
            jiffy_image::Image::ram_bytes_min,
        );
        let note = image.as_ref().map(jiffy_image::Image::note);
        // A VMM takes an image whose section table is damaged: it does without.
        let found = sections(&elf, file).unwrap_or_default();
        Ok(Self {
            abi_version,
            abi_is_supported: image.is_some(),
            sdk_version: note.map(|note| note.sdk_version().into()),
            function_name: note.map(|note| note.function_name().into()),
            function_version: note.map(|note| note.function_version().into()),
            flags: note.map(|note| flags(note.flags)).unwrap_or_default(),
            stack_bytes: image.as_ref().map(jiffy_image::Image::stack_bytes),
            entry: elf.entry(),
            sections: named(&found, &segments),
            has_symbols: found.iter().any(|section| section.name == ".debug_line"),
            file_bytes: file.len() as u64,
            loaded_bytes: sum(&segments, |segment| segment.file_bytes),
            stripped_bytes: elf.needed_bytes(),
            memory_bytes: sum(&segments, |segment| segment.memory_bytes),
            ram_bytes_min,
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
    fn new(header: &LoadHeader) -> Self {
        let [read, write, execute] = header.permissions;
        Self {
            address: header.address,
            permissions: permissions(read, write, execute),
            file_bytes: header.file_bytes,
            memory_bytes: header.bytes,
        }
    }

    fn end(&self) -> u64 {
        self.address.saturating_add(self.memory_bytes)
    }
}

/// Sizes in a file of another ABI may be anything.
fn sum(segments: &[Segment], of: impl Fn(&Segment) -> u64) -> u64 {
    segments.iter().map(of).fold(0, u64::saturating_add)
}

/// `file` without what is not loaded: symbols, debug information, and the section table that names
/// them. Program headers are all that a VMM reads.
pub(crate) fn stripped<S: Source + ?Sized>(file: &S) -> Result<Vec<u8>, ReadError> {
    let needed_bytes = Elf::read(file)?.needed_bytes();
    if needed_bytes > IMAGE_BYTES_MAX {
        return Err(Refused::FileTooLarge(needed_bytes).into());
    }
    let mut stripped = file.read_vec_at(0, needed_bytes)?;
    // e_shoff, then e_shentsize, e_shnum and e_shstrndx; the header was read, so it is there.
    stripped[0x28..0x30].fill(0);
    stripped[0x3a..0x40].fill(0);
    Ok(stripped)
}

/// What is loaded, by name. A section may be called writable although its segment is not, so the
/// segment's permissions are shown: constants with addresses in them are such.
fn named(sections: &[jiffy_image::Section], segments: &[Segment]) -> Vec<Section> {
    let loaded = sections
        .iter()
        .filter(|section| section.is_loaded && section.bytes > 0);
    let named = loaded.filter_map(|section| {
        let address = section.address;
        let holds = |segment: &&Segment| (segment.address..segment.end()).contains(&address);
        let segment = segments.iter().find(holds)?;
        Some(Section {
            name: section.name.clone(),
            address,
            permissions: segment.permissions.clone(),
            bytes: section.bytes,
        })
    });
    named.collect()
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
        (note::FLAG_HTTP, "http"),
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
