//! The ELF header and the program headers: the first look at a file, which need not be of this ABI.

use jiffy_abi::note::{self, Note, NoteError};
use object::{
    LittleEndian as LE,
    elf::{
        EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PF_R, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD,
        PT_NOTE, PT_TLS, ProgramHeader64,
    },
    pod::slice_from_all_bytes,
    read::elf::{FileHeader as _, NoteIterator, ProgramHeader as _},
};

use crate::{ImageError, NOTES_BYTES_MAX, PROGRAM_HEADERS_MAX, ReadError, Source, truncated};

type Header = FileHeader64<LE>;
type ProgramHeader = ProgramHeader64<LE>;

/// Bytes of the ELF header.
pub(crate) const HEADER_BYTES: usize = size_of::<Header>();
const PROGRAM_HEADER_BYTES: usize = size_of::<ProgramHeader>();

/// A static executable for x86-64, its program headers within limits. Whether it is an image of this ABI is not known.
#[derive(Clone, Debug)]
pub struct Elf {
    header: Header,
    headers: Vec<ProgramHeader>,
    file_bytes: u64,
}

/// A program header of something to load, as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadHeader {
    /// Where it goes.
    pub address: u64,
    /// Where it would go if memory were not identity-mapped.
    pub physical: u64,
    /// Bytes in memory.
    pub bytes: u64,
    /// Where it is in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub file_bytes: u64,
    /// It may be read, written, executed.
    pub permissions: [bool; 3],
}

/// A program header of thread-locals, as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TlsHeader {
    /// Where their first bytes are.
    pub(crate) address: u64,
    /// Bytes of a block of them.
    pub(crate) bytes: u64,
    /// Bytes that are not zero at first.
    pub(crate) file_bytes: u64,
    /// What a block is aligned to, bytes.
    pub(crate) align: u64,
}

impl Elf {
    /// Reads the headers of `source`, which may be of any size, and nothing else of it.
    pub fn read<S: Source + ?Sized>(source: &S) -> Result<Self, ReadError> {
        let file_bytes = source.bytes()?;
        let mut bytes = [0; HEADER_BYTES];
        let there =
            usize::try_from(file_bytes).map_or(HEADER_BYTES, |there| there.min(HEADER_BYTES));
        source.read_exact_at(&mut bytes[..there], 0)?;
        if !bytes.starts_with(b"\x7fELF") {
            return Err(ImageError::NotElf.into());
        }
        if there < HEADER_BYTES {
            return Err(ImageError::Truncated.into());
        }
        let header = Header::parse(&bytes[..]).map_err(|_| ImageError::Truncated)?;
        let headers = program_headers(header, source)?;
        let elf = Self {
            header: *header,
            headers,
            file_bytes,
        };
        elf.check()?;
        Ok(elf)
    }

    fn check(&self) -> Result<(), ImageError> {
        let machine = self.header.e_machine(LE);
        if self.header.is_big_endian() || machine != EM_X86_64 {
            return Err(ImageError::Machine(machine.0));
        }
        let has = |kind| self.headers.iter().any(|header| header.p_type(LE) == kind);
        match self.header.e_type(LE) {
            ET_DYN => return Err(ImageError::Dynamic),
            _ if has(PT_DYNAMIC) || has(PT_INTERP) => return Err(ImageError::Dynamic),
            ET_EXEC => {}
            other => return Err(ImageError::NotExecutable(other.0)),
        }
        Ok(())
    }

    /// Where the guest starts.
    pub fn entry(&self) -> u64 {
        self.header.e_entry(LE)
    }

    /// Bytes of the file.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Bytes of the file, from its first on, that program headers speak of. Symbols lie behind.
    pub fn needed_bytes(&self) -> u64 {
        let table = self
            .header
            .e_phoff(LE)
            .saturating_add((self.headers.len() * PROGRAM_HEADER_BYTES) as u64);
        let ends = self
            .headers
            .iter()
            .map(|header| header.p_offset(LE).saturating_add(header.p_filesz(LE)));
        let needed = ends.fold(table.max(HEADER_BYTES as u64), u64::max);
        needed.min(self.file_bytes)
    }

    /// What is to be loaded, in the file's order; what has no bytes is left out.
    pub fn load_headers(&self) -> impl Iterator<Item = LoadHeader> {
        let load = self
            .headers
            .iter()
            .filter(|header| header.p_type(LE) == PT_LOAD);
        let load = load.map(|header| LoadHeader {
            address: header.p_vaddr(LE),
            physical: header.p_paddr(LE),
            bytes: header.p_memsz(LE),
            offset: header.p_offset(LE),
            file_bytes: header.p_filesz(LE),
            permissions: [PF_R, PF_W, PF_X].map(|flag| header.p_flags(LE).contains(flag)),
        });
        load.filter(|load| load.bytes.max(load.file_bytes) > 0)
    }

    /// What thread-locals begin as, in the file's order: a guest copies it, a VMM does not.
    pub(crate) fn tls_headers(&self) -> impl Iterator<Item = TlsHeader> {
        let tls = self
            .headers
            .iter()
            .filter(|header| header.p_type(LE) == PT_TLS);
        tls.map(|header| TlsHeader {
            address: header.p_vaddr(LE),
            bytes: header.p_memsz(LE),
            file_bytes: header.p_filesz(LE),
            align: header.p_align(LE),
        })
    }

    /// What the image says of itself; an error if it is of another ABI, or says nothing.
    pub fn note<S: Source + ?Sized>(&self, source: &S) -> Result<Note, ReadError> {
        for header in self
            .headers
            .iter()
            .filter(|header| header.p_type(LE) == PT_NOTE)
        {
            if header.p_filesz(LE) > NOTES_BYTES_MAX {
                return Err(ImageError::NoteDamaged.into());
            }
            let bytes = source.read_vec_at(header.p_offset(LE), header.p_filesz(LE))?;
            let notes = NoteIterator::<Header>::new(LE, header.p_align(LE), &bytes);
            let mut notes = notes.map_err(|_| ImageError::NoteDamaged)?;
            while let Some(found) = notes.next().map_err(|_| ImageError::NoteDamaged)? {
                if found.name_bytes() != note::NAME || found.n_type(LE).0 != note::TYPE {
                    continue;
                }
                let note = Note::from_desc(found.desc()).map_err(|error| match error {
                    NoteError::AbiVersion(version) => ImageError::AbiVersion(version),
                    NoteError::Length(_) | NoteError::Text => ImageError::NoteDamaged,
                });
                return Ok(note?);
            }
        }
        Err(ImageError::NoNote.into())
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }
}

fn program_headers<S: Source + ?Sized>(
    header: &Header,
    source: &S,
) -> Result<Vec<ProgramHeader>, ReadError> {
    // 0xffff, which says that the number is elsewhere, is too many as well.
    let count = usize::from(header.e_phnum(LE));
    if count > PROGRAM_HEADERS_MAX {
        return Err(ImageError::TooManyHeaders(count).into());
    }
    if count == 0 {
        return Ok(vec![]);
    }
    if usize::from(header.e_phentsize(LE)) != PROGRAM_HEADER_BYTES {
        return Err(ImageError::Truncated.into());
    }
    let bytes = source.read_vec_at(header.e_phoff(LE), (count * PROGRAM_HEADER_BYTES) as u64)?;
    let headers = truncated(slice_from_all_bytes::<ProgramHeader>(&bytes).ok())?;
    Ok(headers.to_vec())
}
