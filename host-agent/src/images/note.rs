//! What an image says of itself, read from its ELF note.
//!
//! Enough to refuse what is no image at the upload and to tell its name; the VMM checks the rest.

use std::{fs::File, io};

use jiffy_abi::note::{self, Note, NoteError};
use object::{
    Endianness, ReadCache,
    elf::FileHeader64,
    read::elf::{FileHeader as _, ProgramHeader as _},
};

/// A segment of notes with more bytes is not read.
const NOTES_BYTES_MAX: u64 = 64 << 10;

/// What an image says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageNote {
    /// Name of the function's package.
    pub function_name: String,
    /// Version of the function's package.
    pub function_version: String,
    /// Version of the SDK.
    pub sdk_version: String,
}

/// Why a file is no image. Blames the file, but for the last.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum NoteProblem {
    #[error("it is no ELF file for 64 bits, or a damaged one")]
    NotElf,
    #[error("it has no jiffy note")]
    NoNote,
    #[error("it was linked for version {0} of the ABI, and this is {ABI}: build it again", ABI = jiffy_abi::ABI_VERSION)]
    AbiVersion(u32),
    #[error("its jiffy note is damaged")]
    Damaged,
    #[error("it cannot be read")]
    Read(#[from] io::Error),
}

impl ImageNote {
    /// Reads the note of an image.
    pub fn read(file: File) -> Result<Self, NoteProblem> {
        let file_bytes = file.metadata()?.len();
        if file_bytes == 0 {
            return Err(NoteProblem::NotElf);
        }
        // Reads the ranges that are asked for, and holds them.
        let data = ReadCache::new(file);
        let damaged = |_| NoteProblem::NotElf;
        let header = FileHeader64::<Endianness>::parse(&data).map_err(damaged)?;
        let endian = header.endian().map_err(damaged)?;
        let headers = header.program_headers(endian, &data).map_err(damaged)?;
        let name = note::NAME.strip_suffix(b"\0").unwrap_or(&note::NAME);
        for header in headers {
            if header.p_filesz(endian) > NOTES_BYTES_MAX {
                continue;
            }
            let Some(mut notes) = header.notes(endian, &data).map_err(damaged)? else {
                continue;
            };
            while let Some(found) = notes.next().map_err(damaged)? {
                if found.name() == name && found.n_type(endian).0 == note::TYPE {
                    return Self::decode(found.desc());
                }
            }
        }
        Err(NoteProblem::NoNote)
    }

    fn decode(desc: &[u8]) -> Result<Self, NoteProblem> {
        let note = Note::from_desc(desc).map_err(|error| match error {
            NoteError::AbiVersion(version) => NoteProblem::AbiVersion(version),
            NoteError::Length(_) | NoteError::Text => NoteProblem::Damaged,
        })?;
        Ok(Self {
            function_name: note.function_name().into(),
            function_version: note.function_version().into(),
            sdk_version: note.sdk_version().into(),
        })
    }
}
