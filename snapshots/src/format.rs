//! The file `state`: a fixed header, then the encoded [`State`].
//!
//! ```text
//! bytes ─▶ Unverified ─▶ Verified ─▶ StateFile
//!    magic, versions   lengths, checksum   decoding, and what the values say
//! ```
//!
//! Each arrow is a function, so nothing is decoded before the checksum was compared. The checksum
//! finds damage, not malice: whoever can write a snapshot can write its checksum.

use jiffy_abi::{
    ABI_VERSION,
    layout::{PAGE_BYTES, RAM_BYTES_MAX, RAM_BYTES_MIN, RAM_BYTES_STEP},
};
use sha2::{Digest as _, Sha256};

use crate::{
    digest::{DIGEST_BYTES, Digest},
    state::{State, StateError},
};

/// First bytes of a state file.
pub const STATE_MAGIC: [u8; 8] = *b"jiffySNP";
/// Version of the format. Every change of a byte's meaning, here or in [`State`], raises it; a device that is new does not,
/// because a state says which devices it is of.
pub const FORMAT_VERSION: u32 = 3;
/// Largest encoded [`State`], bytes.
pub const STATE_BYTES_MAX: u64 = 64 << 10;
/// Largest state file, bytes.
pub const STATE_FILE_BYTES_MAX: u64 = HEADER_BYTES as u64 + STATE_BYTES_MAX;

const FORMAT: usize = STATE_MAGIC.len();
const ABI: usize = FORMAT + 4;
const STATE_BYTES: usize = ABI + 4;
const RAM_BYTES: usize = STATE_BYTES + 8;
const RAM_PAGES_STORED: usize = RAM_BYTES + 8;
const IMAGE_DIGEST: usize = RAM_PAGES_STORED + 8;
const RAM_DIGEST: usize = IMAGE_DIGEST + DIGEST_BYTES;
const CHECKSUM: usize = RAM_DIGEST + DIGEST_BYTES;
/// Bytes of the header.
pub const HEADER_BYTES: usize = CHECKSUM + DIGEST_BYTES;
const _: () = assert!(CHECKSUM == 104 && HEADER_BYTES == 136);

/// Why bytes are not a state file, or a state cannot be one. All blame the bytes, or their maker.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum FormatError {
    #[error(
        "the snapshot's state ends after {found_bytes} of {needed_bytes} bytes: create it again"
    )]
    Truncated { found_bytes: u64, needed_bytes: u64 },
    #[error("the snapshot's state begins with {0:02x?}: it is not a jiffy snapshot")]
    Magic([u8; 8]),
    #[error(
        "the snapshot was made by a newer jiffy (format {0}, this one knows {FORMAT_VERSION}): update jiffy or create it again"
    )]
    NewerFormat(u32),
    #[error(
        "the snapshot has format {0}, and this jiffy knows only {FORMAT_VERSION}: create it again"
    )]
    UnknownFormat(u32),
    #[error(
        "the snapshot is of an image with ABI {0}, and this jiffy runs ABI {ABI_VERSION}: build the image and create the snapshot again"
    )]
    Abi(u32),
    #[error("the snapshot's state has {0} bytes, more than {STATE_BYTES_MAX}: create it again")]
    TooLarge(u64),
    #[error("the snapshot's state has {0} bytes behind its end: create it again")]
    Trailing(u64),
    #[error(
        "the snapshot is of a VM with {0} bytes of RAM, not {RAM_BYTES_MIN} to {RAM_BYTES_MAX} in steps of {RAM_BYTES_STEP}: create it again"
    )]
    RamBytes(u64),
    #[error("the snapshot stores {stored} pages of RAM that has {pages}: create it again")]
    PagesStored { stored: u64, pages: u64 },
    #[error("the snapshot's state is damaged (checksum {computed}, not {stored}): create it again")]
    Checksum { stored: Digest, computed: Digest },
    #[error("the snapshot's state cannot be decoded: create it again")]
    Decode(#[source] postcard::Error),
    #[error("the snapshot's state is not encoded as jiffy encodes it: create it again")]
    NotCanonical,
    #[error("the snapshot's header and state name different images: create it again")]
    ImageDigest,
    #[error("the snapshot's state makes no sense: create it again")]
    State(#[source] StateError),
}

/// What a state file says of RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamSummary {
    /// Length of RAM and of the file `ram`, bytes.
    pub bytes: u64,
    /// Pages that are not all zero.
    pub pages_stored: u64,
    /// SHA-256 over each stored page, ascending: its number (u64, little-endian), its bytes.
    pub digest: Digest,
}

/// A state file's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFile {
    /// The RAM that belongs to the state.
    pub ram: RamSummary,
    /// Everything but RAM.
    pub state: State,
}

impl StateFile {
    /// Whether there can be a state file of `state` with RAM of `ram_bytes`.
    pub fn check(state: &State, ram_bytes: u64) -> Result<(), FormatError> {
        check_ram_bytes(ram_bytes)?;
        state.check(ram_bytes).map_err(FormatError::State)
    }

    /// The file's bytes; the same contents always give the same bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        check_ram(&self.ram)?;
        Self::check(&self.state, self.ram.bytes)?;
        let state = encode(&self.state)?;
        let state_bytes = state.len() as u64;
        if state_bytes > STATE_BYTES_MAX {
            return Err(FormatError::TooLarge(state_bytes));
        }
        let mut file = Vec::with_capacity(HEADER_BYTES + state.len());
        file.extend(STATE_MAGIC);
        file.extend(FORMAT_VERSION.to_le_bytes());
        file.extend(ABI_VERSION.to_le_bytes());
        file.extend(state_bytes.to_le_bytes());
        file.extend(self.ram.bytes.to_le_bytes());
        file.extend(self.ram.pages_stored.to_le_bytes());
        file.extend(self.state.image.digest);
        file.extend(self.ram.digest.0);
        file.extend([0; DIGEST_BYTES]);
        debug_assert_eq!(file.len(), HEADER_BYTES);
        file.extend(state);
        seal(&mut file);
        Ok(file)
    }

    /// Verifies and decodes a file's bytes.
    pub fn from_bytes(file: &[u8]) -> Result<Self, FormatError> {
        Unverified::new(file)?.verify()?.decode()
    }
}

/// Writes the checksum into a state file that is otherwise complete; what is shorter than a header
/// stays as it is. Whoever makes state files by other means, such as a fuzzer, needs this.
pub fn seal(file: &mut [u8]) {
    if file.len() >= HEADER_BYTES {
        let checksum = checksum(file);
        file[CHECKSUM..HEADER_BYTES].copy_from_slice(&checksum.0);
    }
}

/// SHA-256 over the file, its checksum taken as zero. The file has at least a header.
fn checksum(file: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(&file[..CHECKSUM]);
    hash.update([0; DIGEST_BYTES]);
    hash.update(&file[HEADER_BYTES..]);
    Digest(hash.finalize().into())
}

fn encode(state: &State) -> Result<Vec<u8>, FormatError> {
    // Encoding into memory fails only for types that no `State` has.
    postcard::to_stdvec(state).map_err(FormatError::Decode)
}

fn check_ram_bytes(bytes: u64) -> Result<(), FormatError> {
    let allowed = (RAM_BYTES_MIN..=RAM_BYTES_MAX).contains(&bytes);
    if !allowed || !bytes.is_multiple_of(RAM_BYTES_STEP) {
        return Err(FormatError::RamBytes(bytes));
    }
    Ok(())
}

fn check_ram(ram: &RamSummary) -> Result<(), FormatError> {
    check_ram_bytes(ram.bytes)?;
    let (stored, pages) = (ram.pages_stored, ram.bytes / PAGE_BYTES);
    if stored > pages {
        return Err(FormatError::PagesStored { stored, pages });
    }
    Ok(())
}

/// A file with the magic and the versions of this format. Its lengths may be anything.
struct Unverified<'a> {
    file: &'a [u8],
}

/// A file whose lengths are right and whose bytes are those that were written.
struct Verified<'a> {
    ram: RamSummary,
    image_digest: [u8; DIGEST_BYTES],
    state: &'a [u8],
}

impl<'a> Unverified<'a> {
    /// Looks at the versions before the length, so that a file of another format is called that,
    /// however long its header is.
    fn new(file: &'a [u8]) -> Result<Self, FormatError> {
        let magic = field(file, 0)?;
        if magic != STATE_MAGIC {
            return Err(FormatError::Magic(magic));
        }
        match u32::from_le_bytes(field(file, FORMAT)?) {
            FORMAT_VERSION => {}
            newer if newer > FORMAT_VERSION => return Err(FormatError::NewerFormat(newer)),
            unknown => return Err(FormatError::UnknownFormat(unknown)),
        }
        let abi = u32::from_le_bytes(field(file, ABI)?);
        if abi != ABI_VERSION {
            return Err(FormatError::Abi(abi));
        }
        Ok(Self { file })
    }

    fn verify(self) -> Result<Verified<'a>, FormatError> {
        let file = self.file;
        let stored = Digest(field(file, CHECKSUM)?);
        let state_bytes = u64::from_le_bytes(field(file, STATE_BYTES)?);
        if state_bytes > STATE_BYTES_MAX {
            return Err(FormatError::TooLarge(state_bytes));
        }
        let needed_bytes = HEADER_BYTES as u64 + state_bytes;
        let found_bytes = file.len() as u64;
        if found_bytes < needed_bytes {
            return Err(truncated(found_bytes, needed_bytes));
        }
        if found_bytes > needed_bytes {
            return Err(FormatError::Trailing(found_bytes - needed_bytes));
        }
        let ram = RamSummary {
            bytes: u64::from_le_bytes(field(file, RAM_BYTES)?),
            pages_stored: u64::from_le_bytes(field(file, RAM_PAGES_STORED)?),
            digest: Digest(field(file, RAM_DIGEST)?),
        };
        check_ram(&ram)?;
        let computed = checksum(file);
        if computed != stored {
            return Err(FormatError::Checksum { stored, computed });
        }
        Ok(Verified {
            ram,
            image_digest: field(file, IMAGE_DIGEST)?,
            state: &file[HEADER_BYTES..],
        })
    }
}

impl Verified<'_> {
    fn decode(self) -> Result<StateFile, FormatError> {
        let state: State = postcard::from_bytes(self.state).map_err(FormatError::Decode)?;
        // The encoding allows longer forms of a number, and bytes behind the end: one state has one
        // file, or content addresses would not.
        if encode(&state)? != self.state {
            return Err(FormatError::NotCanonical);
        }
        state.check(self.ram.bytes).map_err(FormatError::State)?;
        if state.image.digest != self.image_digest {
            return Err(FormatError::ImageDigest);
        }
        Ok(StateFile {
            ram: self.ram,
            state,
        })
    }
}

/// The field at `offset` of the header.
fn field<const N: usize>(file: &[u8], offset: usize) -> Result<[u8; N], FormatError> {
    let bytes = file.get(offset..).and_then(|rest| rest.first_chunk());
    bytes
        .copied()
        .ok_or_else(|| truncated(file.len() as u64, HEADER_BYTES as u64))
}

fn truncated(found_bytes: u64, needed_bytes: u64) -> FormatError {
    FormatError::Truncated {
        found_bytes,
        needed_bytes,
    }
}

#[cfg(test)]
mod tests;
