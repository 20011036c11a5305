//! RAM as pages: what is written of it, and its digest.

use std::{fs::File, io};

use jiffy_abi::layout::PAGE_BYTES;
use sha2::{Digest as _, Sha256};

use crate::{digest::Digest, disk, format::RamSummary};

/// Bytes of a page, as a length.
pub const PAGE_LEN: usize = 4096;
const _: () = assert!(PAGE_LEN as u64 == PAGE_BYTES);

/// One page of guest RAM.
pub type Page = [u8; PAGE_LEN];

const ZERO: Page = [0; PAGE_LEN];
/// Pages that are written at once at most.
const PAGES_PER_WRITE: usize = 256;

/// Digest and number of the pages that are not all zero.
#[derive(Clone, Default)]
pub(crate) struct RamHash {
    hash: Sha256,
    pages_stored: u64,
}

impl RamHash {
    /// Takes the next page, in ascending order; true if it is to be stored.
    pub(crate) fn add(&mut self, number: u64, page: &Page) -> bool {
        if page == &ZERO {
            return false;
        }
        self.hash.update(number.to_le_bytes());
        self.hash.update(page);
        self.pages_stored += 1;
        true
    }

    pub(crate) fn finish(self, bytes: u64) -> RamSummary {
        RamSummary {
            bytes,
            pages_stored: self.pages_stored,
            digest: Digest(self.hash.finalize().into()),
        }
    }
}

/// Why RAM was not written.
pub(crate) enum RamError {
    Read { page: u64, source: io::Error },
    Write(io::Error),
}

/// Writes `bytes` of RAM to an empty `file`; pages that are all zero become holes.
///
/// `read` is asked for each page once, ascending, and gets a buffer of zeros.
pub(crate) fn write_ram(
    file: &File,
    bytes: u64,
    mut read: impl FnMut(u64, &mut Page) -> io::Result<()>,
) -> Result<RamSummary, RamError> {
    disk::set_len(file, bytes).map_err(RamError::Write)?;
    let mut hash = RamHash::default();
    let mut page = Box::new(ZERO);
    let mut run = Vec::with_capacity(PAGES_PER_WRITE * PAGE_LEN);
    for number in 0..bytes / PAGE_BYTES {
        page.fill(0);
        read(number, &mut page).map_err(|source| RamError::Read {
            page: number,
            source,
        })?;
        let is_stored = hash.add(number, &page);
        if !run.is_empty() && (!is_stored || run.len() == PAGES_PER_WRITE * PAGE_LEN) {
            let offset = number * PAGE_BYTES - run.len() as u64;
            disk::write_all_at(file, &run, offset).map_err(RamError::Write)?;
            run.clear();
        }
        if is_stored {
            run.extend_from_slice(&*page);
        }
    }
    if !run.is_empty() {
        let offset = bytes - run.len() as u64;
        disk::write_all_at(file, &run, offset).map_err(RamError::Write)?;
    }
    Ok(hash.finish(bytes))
}
