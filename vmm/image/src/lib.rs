//! Reads images: the one reader of the VMM, of the tools and of the agent, so that what one of them refuses none of them
//! takes, in the same words.
//!
//! ```text
//! source    where the bytes are: in memory, or in a file of which only the needed ones are read
//! elf       the ELF header and the program headers, within limits
//! image     Image: everything that a VMM relies on, verified
//! sections  the names of parts, for people and for symbols; a VMM does without
//! ```
//!
//! The file is hostile. Not here: opening it (`jiffy-files`); loading it (`jiffy-vmm`); symbols (`jiffy-symbols`).
#![forbid(unsafe_code)]

mod elf;
mod image;
mod sections;
mod source;

use std::io;

use jiffy_abi::{ABI_VERSION, layout::RAM_BYTES_MAX};

pub use elf::{Elf, LoadHeader};
pub use image::{HEAP_BYTES_MIN, Image, Permissions, Segment};
pub use sections::{SECTION_NAME_BYTES_MAX, SECTIONS_MAX, Section, sections};
pub use source::Source;

/// Largest image file, bytes, symbols included.
pub const IMAGE_BYTES_MAX: u64 = 256 << 20;
/// Most program headers; the linker scripts make five, and six.
pub const PROGRAM_HEADERS_MAX: usize = 16;
/// Bytes of all thread-locals at most; those of std take some hundred.
pub const TLS_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a segment of notes at most; jiffy's own takes 156.
pub const NOTES_BYTES_MAX: u64 = 64 << 10;

/// Why a file is not an image that a VMM can run. All blame the file.
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
    #[error(
        "the thread-locals at {address:#x} with {bytes} bytes are not one block of at most {TLS_BYTES_MAX} bytes, inside a segment and aligned to at most a page: link the image with `jiffy build`"
    )]
    ThreadLocal { address: u64, bytes: u64 },
    #[error("the ELF file has {0} program headers, more than {PROGRAM_HEADERS_MAX}")]
    TooManyHeaders(usize),
    #[error(
        "no jiffy note: this ELF file is not an image of a function; build one with `jiffy build`"
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
        "the segment at {address:#x} with {bytes} bytes does not fit between {first:#x} and {RAM_BYTES_MAX:#x}, on page boundaries and at its physical address"
    )]
    Placement {
        address: u64,
        bytes: u64,
        first: u64,
    },
    #[error("the segments at {first:#x} and {second:#x} overlap or share a page")]
    Overlap { first: u64, second: u64 },
    #[error("the entry point {0:#x} is not in an executable segment")]
    Entry(u64),
    #[error(
        "the image needs at least {needed_bytes} bytes of memory, more than the {RAM_BYTES_MAX} of the largest VM: give it less static data"
    )]
    TooLarge { needed_bytes: u64 },
}

/// Why an image was not read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ReadError {
    #[error("cannot read the image")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            ImageError::Truncated.into()
        } else {
            Self::Read(error)
        }
    }
}

/// Says where a number of bytes is that cannot be: outside the file.
fn truncated<T>(part: Option<T>) -> Result<T, ImageError> {
    part.ok_or(ImageError::Truncated)
}
