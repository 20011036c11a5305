//! Parts of an image by name. A VMM does without them and `--strip` takes them away, so whatever is wrong with them is
//! no reason to refuse an image: then it has none.

use object::{
    LittleEndian as LE, U32,
    elf::{SHF_ALLOC, SHF_COMPRESSED, SHT_NOBITS, SectionHeader64},
    pod::slice_from_all_bytes,
    read::elf::{FileHeader as _, SectionHeader as _},
};

use crate::{Elf, ImageError, ReadError, Source, truncated};

type Header = SectionHeader64<LE>;

/// Most sections that are looked at; what `jiffy build` links has about twenty.
pub const SECTIONS_MAX: usize = 1024;
/// Longest name of a section, bytes.
pub const SECTION_NAME_BYTES_MAX: usize = 128;
/// Bytes of all names together at most.
const NAMES_BYTES_MAX: u64 = 64 << 10;

/// A part of the file with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name; what is not UTF-8 in it is replaced.
    pub name: String,
    /// Where it is in memory, if it is loaded.
    pub address: u64,
    /// Bytes in memory; in the file as well, unless `is_zero`.
    pub bytes: u64,
    /// Where it is in the file.
    pub offset: u64,
    /// It is loaded.
    pub is_loaded: bool,
    /// It has no bytes in the file, and zeros in memory.
    pub is_zero: bool,
    /// Its bytes in the file are compressed.
    pub is_compressed: bool,
    /// Number of the section it refers to, the names of its symbols, say.
    pub link: usize,
}

/// The sections of `source`, which [`Elf::read`] took, in the file's order and with the file's numbers; none if it was stripped.
pub fn sections<S: Source + ?Sized>(elf: &Elf, source: &S) -> Result<Vec<Section>, ReadError> {
    let header = elf.header();
    let count = usize::from(header.e_shnum(LE));
    if header.e_shoff(LE) == 0 || count == 0 {
        return Ok(vec![]);
    }
    if count > SECTIONS_MAX || usize::from(header.e_shentsize(LE)) != size_of::<Header>() {
        return Err(ImageError::Truncated.into());
    }
    let table = source.read_vec_at(header.e_shoff(LE), (count * size_of::<Header>()) as u64)?;
    let headers = truncated(slice_from_all_bytes::<Header>(&table).ok())?;
    let names = truncated(headers.get(usize::from(header.e_shstrndx(LE).0)))?;
    let names = source.read_vec_at(names.sh_offset(LE), names.sh_size(LE).min(NAMES_BYTES_MAX))?;
    let section = |header: &Header| {
        let flags = header.sh_flags(LE);
        Section {
            name: name(&names, header.sh_name),
            address: header.sh_addr(LE),
            bytes: header.sh_size(LE),
            offset: header.sh_offset(LE),
            is_loaded: flags.contains(SHF_ALLOC),
            is_zero: header.sh_type(LE) == SHT_NOBITS,
            is_compressed: flags.contains(SHF_COMPRESSED),
            link: header.sh_link(LE) as usize,
        }
    };
    Ok(headers.iter().map(section).collect())
}

impl Section {
    /// Its bytes in the file, as they are there; `None` if that are more than `bytes_max`, or are not there.
    pub fn data<S: Source + ?Sized>(&self, source: &S, bytes_max: u64) -> Option<Vec<u8>> {
        let is_in_file = !self.is_zero && !self.is_compressed && self.bytes <= bytes_max;
        is_in_file
            .then(|| source.read_vec_at(self.offset, self.bytes).ok())
            .flatten()
    }
}

fn name(names: &[u8], at: U32<LE>) -> String {
    let rest = names.get(at.get(LE) as usize..).unwrap_or_default();
    let rest = &rest[..rest.len().min(SECTION_NAME_BYTES_MAX)];
    let end = rest
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(rest.len());
    String::from_utf8_lossy(&rest[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_limit() {
        assert_eq!(name(b"\0.text\0.data\0", U32::new(LE, 1)), ".text");
        assert_eq!(name(b"\0.text\0.data\0", U32::new(LE, 3)), "ext");
        assert_eq!(name(b"\0.text", U32::new(LE, 1)), ".text");
        assert_eq!(name(b"\0.text", U32::new(LE, u32::MAX)), "");
        let long = [b"\0".as_slice(), &[b'x'; 1000]].concat();
        assert_eq!(name(&long, U32::new(LE, 1)).len(), SECTION_NAME_BYTES_MAX);
    }
}
