//! Where an image's bytes are.

use std::{fs::File, io, os::unix::fs::FileExt};

/// Bytes that can be read at any place.
pub trait Source {
    /// How many there are.
    fn bytes(&self) -> io::Result<u64>;

    /// Fills `to` from `offset` on; `UnexpectedEof` if there are fewer.
    fn read_exact_at(&self, to: &mut [u8], offset: u64) -> io::Result<()>;

    /// The `bytes` from `offset` on. The caller bounds them; none that are not there are made room for.
    fn read_vec_at(&self, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let end = offset.checked_add(bytes);
        if end.is_none_or(|end| self.bytes().is_ok_and(|len| end > len)) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut read = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        self.read_exact_at(&mut read, offset)?;
        Ok(read)
    }
}

impl Source for [u8] {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_exact_at(&self, to: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(to.len())?));
        let from = range.and_then(|range| self.get(range));
        to.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Source for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, to: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, to, offset)
    }
}
