//! The file `working-set`: which pages of RAM requests need, so that a restore can have them ready.
//!
//! A wrong one costs time and never correctness: who reads a snapshot may take any error here for
//! an empty working set. Not here: who records it, and who populates the pages.

use jiffy_abi::layout::{PAGE_BYTES, RAM_BYTES_MAX};
use sha2::{Digest as _, Sha256};

use crate::digest::{DIGEST_BYTES, Digest};

/// First bytes of a working-set file.
pub const WORKING_SET_MAGIC: [u8; 8] = *b"jiffyWKS";
/// Version of the file.
pub const WORKING_SET_VERSION: u32 = 1;
/// Runs a working set has at most.
pub const WORKING_SET_RUNS_MAX: u32 = 16 << 10;
/// Largest working-set file, bytes.
pub const WORKING_SET_FILE_BYTES_MAX: u64 =
    HEADER_BYTES as u64 + WORKING_SET_RUNS_MAX as u64 * RUN_BYTES as u64;

const VERSION: usize = WORKING_SET_MAGIC.len();
const COUNT: usize = VERSION + 4;
const CHECKSUM: usize = COUNT + 4;
const HEADER_BYTES: usize = CHECKSUM + DIGEST_BYTES;
const RUN_BYTES: usize = 8;
const _: () = assert!(HEADER_BYTES == 48 && RAM_BYTES_MAX / PAGE_BYTES <= u32::MAX as u64);

/// Pages that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRun {
    /// Number of the first page; page 0 is at guest physical address 0.
    pub first_page: u32,
    /// How many pages, at least one.
    pub pages: u32,
}

impl PageRun {
    /// Number of the page behind the last one.
    pub const fn end(&self) -> u64 {
        self.first_page as u64 + self.pages as u64
    }
}

/// Why bytes are not a working set, or runs cannot be one. All blame the bytes, or their maker.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum WorkingSetError {
    #[error("the working set has {found_bytes} bytes where {needed_bytes} belong: remove it")]
    Length { found_bytes: u64, needed_bytes: u64 },
    #[error("the working set begins with {0:02x?}: remove it")]
    Magic([u8; 8]),
    #[error(
        "the working set has version {0}, and this jiffy knows {WORKING_SET_VERSION}: remove it"
    )]
    Version(u32),
    #[error("the working set has {0} runs of pages, more than {WORKING_SET_RUNS_MAX}: remove it")]
    TooManyRuns(u64),
    #[error("the working set is damaged (checksum {computed}, not {stored}): remove it")]
    Checksum { stored: Digest, computed: Digest },
    #[error(
        "run {0} of the working set is empty, or does not come after the one before: remove it"
    )]
    Order(usize),
    #[error("the working set ends at page {end}, and RAM has {ram_pages}: remove it")]
    OutsideRam { end: u64, ram_pages: u64 },
    #[error("the working set is not a file that can be read: remove it")]
    Read(#[source] std::io::Error),
}

/// The bytes of a working-set file for RAM of `ram_bytes`.
pub fn encode_working_set(runs: &[PageRun], ram_bytes: u64) -> Result<Vec<u8>, WorkingSetError> {
    let count = u32::try_from(runs.len()).unwrap_or(u32::MAX);
    if count > WORKING_SET_RUNS_MAX {
        return Err(WorkingSetError::TooManyRuns(runs.len() as u64));
    }
    check_runs(runs, ram_bytes)?;
    let mut file = Vec::with_capacity(HEADER_BYTES + RUN_BYTES * runs.len());
    file.extend(WORKING_SET_MAGIC);
    file.extend(WORKING_SET_VERSION.to_le_bytes());
    file.extend(count.to_le_bytes());
    file.extend([0; DIGEST_BYTES]);
    for run in runs {
        file.extend(run.first_page.to_le_bytes());
        file.extend(run.pages.to_le_bytes());
    }
    seal_working_set(&mut file);
    Ok(file)
}

/// Verifies and decodes a working-set file for RAM of `ram_bytes`.
pub fn decode_working_set(file: &[u8], ram_bytes: u64) -> Result<Vec<PageRun>, WorkingSetError> {
    let magic = field(file, 0)?;
    if magic != WORKING_SET_MAGIC {
        return Err(WorkingSetError::Magic(magic));
    }
    let version = u32::from_le_bytes(field(file, VERSION)?);
    if version != WORKING_SET_VERSION {
        return Err(WorkingSetError::Version(version));
    }
    let count = u32::from_le_bytes(field(file, COUNT)?);
    if count > WORKING_SET_RUNS_MAX {
        return Err(WorkingSetError::TooManyRuns(count.into()));
    }
    let stored = Digest(field(file, CHECKSUM)?);
    let needed_bytes = HEADER_BYTES + count as usize * RUN_BYTES; // At most 2^14 runs.
    if file.len() != needed_bytes {
        return Err(length(file, needed_bytes));
    }
    let computed = checksum(file);
    if computed != stored {
        return Err(WorkingSetError::Checksum { stored, computed });
    }
    let (runs, _) = file[HEADER_BYTES..].as_chunks::<RUN_BYTES>();
    let runs: Vec<_> = runs.iter().map(decode_run).collect();
    check_runs(&runs, ram_bytes)?;
    Ok(runs)
}

/// Writes the checksum into a working-set file that is otherwise complete; what is shorter than a
/// header stays as it is.
pub fn seal_working_set(file: &mut [u8]) {
    if file.len() >= HEADER_BYTES {
        let checksum = checksum(file);
        file[CHECKSUM..HEADER_BYTES].copy_from_slice(&checksum.0);
    }
}

fn decode_run(run: &[u8; RUN_BYTES]) -> PageRun {
    let [a, b, c, d, e, f, g, h] = *run;
    PageRun {
        first_page: u32::from_le_bytes([a, b, c, d]),
        pages: u32::from_le_bytes([e, f, g, h]),
    }
}

/// Runs are not empty, ascend, do not overlap, and end within RAM.
pub(crate) fn check_runs(runs: &[PageRun], ram_bytes: u64) -> Result<(), WorkingSetError> {
    let mut end = 0;
    for (index, run) in runs.iter().enumerate() {
        if run.pages == 0 || u64::from(run.first_page) < end {
            return Err(WorkingSetError::Order(index));
        }
        end = run.end();
    }
    let ram_pages = ram_bytes / PAGE_BYTES;
    if end > ram_pages {
        return Err(WorkingSetError::OutsideRam { end, ram_pages });
    }
    Ok(())
}

/// SHA-256 over the file, its checksum taken as zero. The file has at least a header.
fn checksum(file: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(&file[..CHECKSUM]);
    hash.update([0; DIGEST_BYTES]);
    hash.update(&file[HEADER_BYTES..]);
    Digest(hash.finalize().into())
}

/// The field at `offset` of the header.
fn field<const N: usize>(file: &[u8], offset: usize) -> Result<[u8; N], WorkingSetError> {
    let bytes = file.get(offset..).and_then(|rest| rest.first_chunk());
    bytes.copied().ok_or_else(|| length(file, HEADER_BYTES))
}

fn length(file: &[u8], needed_bytes: usize) -> WorkingSetError {
    WorkingSetError::Length {
        found_bytes: file.len() as u64,
        needed_bytes: needed_bytes as u64,
    }
}

#[cfg(test)]
pub(crate) mod tests;
