//! Reads a snapshot.
//!
//! Opening verifies and decodes the state and looks at the length of RAM, which takes no longer for
//! more RAM. [`Snapshot::verify`] reads every byte. Not here: writing (`create`, `store`).

use std::{
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::{Path, PathBuf},
};

use jiffy_abi::layout::PAGE_BYTES;
use rustix::{
    fs::{Mode, OFlags, SeekFrom, openat, seek},
    io::Errno,
};

use crate::{
    Blame, RAM_FILE, STATE_FILE, WORKING_SET_FILE,
    digest::Digest,
    disk,
    format::{FormatError, STATE_FILE_BYTES_MAX, StateFile},
    memory,
    ram::{PAGE_LEN, Page, RamHash},
    state::State,
    why,
    working_set::{
        PageRun, WORKING_SET_FILE_BYTES_MAX, WorkingSetError, check_runs, decode_working_set,
    },
};

/// Times a snapshot is opened at most, if it is replaced each time while it is being opened.
const ATTEMPTS_MAX: u32 = 16;
/// Pages of RAM that are read at once at most, to verify them.
const PAGES_PER_READ: usize = 256;

/// Why a snapshot cannot be opened. The first four blame the snapshot, the others the host.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum OpenError {
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error("the snapshot has no file {0}: create it again")]
    Missing(&'static str),
    #[error("the snapshot's {0} is not a regular file: create it again")]
    NotAFile(&'static str),
    #[error("the snapshot's RAM has {found_bytes} bytes, not {expected_bytes}: create it again")]
    RamLength {
        found_bytes: u64,
        expected_bytes: u64,
    },
    #[error("cannot open the snapshot {path}: {}", why(source))]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read the snapshot's {file}: {}", why(source))]
    Read {
        file: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(
        "cannot copy the snapshot's RAM into memory, as its file system needs: {}",
        why(source)
    )]
    Copy {
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    /// Who is to blame for it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Format(_) | Self::Missing(_) | Self::NotAFile(_) | Self::RamLength { .. } => {
                Blame::Input
            }
            Self::Directory { .. } | Self::Read { .. } | Self::Copy { .. } => Blame::Host,
        }
    }
}

/// Why a snapshot is not whole. All but what [`OpenError`] blames the host for blame the snapshot.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum VerifyError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "the snapshot's RAM has {found} pages that are not zero, not {expected}: create it again"
    )]
    PagesStored { found: u64, expected: u64 },
    #[error("the snapshot's RAM is damaged (digest {found}, not {expected}): create it again")]
    RamDigest { found: Digest, expected: Digest },
    #[error(transparent)]
    WorkingSet(WorkingSetError),
}

impl VerifyError {
    /// Who is to blame for it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Open(error) => error.blame(),
            Self::PagesStored { .. } | Self::RamDigest { .. } | Self::WorkingSet(_) => Blame::Input,
        }
    }
}

/// A snapshot whose state was verified and decoded.
#[derive(Debug)]
pub struct Snapshot {
    contents: StateFile,
    state_bytes: Vec<u8>,
    ram: File,
    ram_is_copied: bool,
    working_set: Vec<PageRun>,
    working_set_problem: Option<WorkingSetError>,
}

/// What [`Snapshot::verify`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The snapshot's digest.
    pub digest: Digest,
    /// Length of RAM, bytes.
    pub ram_bytes: u64,
    /// Pages that are not all zero.
    pub ram_pages_stored: u64,
    /// Pages of the working set, zero if there is none.
    pub working_set_pages: u64,
}

impl Snapshot {
    /// Opens the snapshot in directory `dir` without reading its RAM.
    ///
    /// A snapshot that is being replaced is opened as it was or as it will be, never mixed.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        for _ in 1..ATTEMPTS_MAX {
            let directory = disk::open_dir(dir).map_err(directory_at(dir))?;
            if let Some(snapshot) = Self::open_unless_replaced(&directory, dir)? {
                return Ok(snapshot);
            }
        }
        Self::open_in(&disk::open_dir(dir).map_err(directory_at(dir))?)
    }

    /// None if a file is missing because `directory` was `dir`, was replaced, and is being removed.
    fn open_unless_replaced(directory: &File, dir: &Path) -> Result<Option<Self>, OpenError> {
        match Self::open_in(directory) {
            Err(OpenError::Missing(_)) if !disk::is_at(directory, dir).unwrap_or(true) => Ok(None),
            snapshot => snapshot.map(Some),
        }
    }

    fn open_in(directory: &File) -> Result<Self, OpenError> {
        let state = open_file(directory, STATE_FILE)?;
        let ram = open_file(directory, RAM_FILE)?;
        let snapshot = Self::from_files(&state, ram)?.out_of_memory_file_system()?;
        Ok(match open_file(directory, WORKING_SET_FILE) {
            Err(OpenError::Missing(_)) => snapshot,
            Ok(file) => snapshot.with_working_set(&file),
            Err(OpenError::Read { source, .. }) => {
                snapshot.without_working_set(WorkingSetError::Read(source))
            }
            Err(_) => snapshot
                .without_working_set(WorkingSetError::Read(io::ErrorKind::InvalidInput.into())),
        })
    }

    /// The same with a copy of its RAM, if it lies where a VM that reads it may find no room (`memory`).
    fn out_of_memory_file_system(self) -> Result<Self, OpenError> {
        let takes_room = memory::holes_take_room(&self.ram);
        let takes_room = takes_room.map_err(|source| OpenError::Read {
            file: RAM_FILE,
            source,
        })?;
        if !takes_room {
            return Ok(self);
        }
        let ram = memory::copy(&self.ram, self.ram_bytes());
        let ram = ram.map_err(|source| OpenError::Copy { source })?;
        Ok(Self {
            ram,
            ram_is_copied: true,
            ..self
        })
    }

    /// A snapshot from files that someone else opened; `state` is read from where it stands.
    pub fn from_files(state: &File, ram: File) -> Result<Self, OpenError> {
        let bytes =
            read_bounded(state, STATE_FILE_BYTES_MAX).map_err(|source| OpenError::Read {
                file: STATE_FILE,
                source,
            })?;
        Self::from_parts(bytes, ram)
    }

    /// A snapshot from the bytes of its state file and from its RAM file.
    pub fn from_parts(state: Vec<u8>, ram: File) -> Result<Self, OpenError> {
        let contents = StateFile::from_bytes(&state)?;
        let metadata = ram.metadata().map_err(|source| OpenError::Read {
            file: RAM_FILE,
            source,
        })?;
        if !metadata.is_file() {
            return Err(OpenError::NotAFile(RAM_FILE));
        }
        // A page past the end would map without complaint and raise SIGBUS when touched. Nobody
        // changes the length of a published file, so looking once is enough.
        if metadata.len() != contents.ram.bytes {
            return Err(OpenError::RamLength {
                found_bytes: metadata.len(),
                expected_bytes: contents.ram.bytes,
            });
        }
        Ok(Self {
            contents,
            state_bytes: state,
            ram,
            ram_is_copied: false,
            working_set: vec![],
            working_set_problem: None,
        })
    }

    /// The same with the working set in `file`, or with none if that is not one.
    #[must_use]
    pub fn with_working_set(self, file: &File) -> Self {
        let runs = read_bounded(file, WORKING_SET_FILE_BYTES_MAX)
            .map_err(WorkingSetError::Read)
            .and_then(|bytes| decode_working_set(&bytes, self.ram_bytes()));
        match runs {
            Ok(working_set) => Self {
                working_set,
                working_set_problem: None,
                ..self
            },
            Err(problem) => self.without_working_set(problem),
        }
    }

    fn without_working_set(self, problem: WorkingSetError) -> Self {
        Self {
            working_set: vec![],
            working_set_problem: Some(problem),
            ..self
        }
    }

    /// The same with a working set that someone else read or recorded, or with none if it does not
    /// lie in RAM.
    #[must_use]
    pub fn with_page_runs(self, runs: Vec<PageRun>) -> Self {
        match check_runs(&runs, self.ram_bytes()) {
            Ok(()) => Self {
                working_set: runs,
                working_set_problem: None,
                ..self
            },
            Err(problem) => self.without_working_set(problem),
        }
    }

    /// The bytes of its state file, as [`Snapshot::from_parts`] takes them.
    pub fn state_bytes(&self) -> &[u8] {
        &self.state_bytes
    }

    /// Everything but RAM.
    pub fn state(&self) -> &State {
        &self.contents.state
    }

    /// The file `ram` or a copy, [`Snapshot::ram_bytes`] long, to be mapped privately from its first byte.
    pub fn ram_file(&self) -> &File {
        &self.ram
    }

    /// Whether its RAM was copied into memory when it was opened, so that nothing which happens to the file reaches it.
    pub fn ram_is_copied(&self) -> bool {
        self.ram_is_copied
    }

    /// What a VM goes on from: the state, the file `ram`, which is as long as the state says, and the working set.
    pub fn into_parts(self) -> (State, File, Vec<PageRun>) {
        (self.contents.state, self.ram, self.working_set)
    }

    /// Length of RAM, bytes.
    pub fn ram_bytes(&self) -> u64 {
        self.contents.ram.bytes
    }

    /// Pages of RAM that are not all zero.
    pub fn ram_pages_stored(&self) -> u64 {
        self.contents.ram.pages_stored
    }

    /// The snapshot's identity: SHA-256 of its state file, in which that of RAM is.
    /// Computed anew each time: who only restores the snapshot has no use for it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.state_bytes)
    }

    /// Pages that requests write, ascending; empty if that is not known.
    pub fn working_set(&self) -> &[PageRun] {
        &self.working_set
    }

    /// Why there is no working set although there is a file for one.
    pub fn working_set_problem(&self) -> Option<&WorkingSetError> {
        self.working_set_problem.as_ref()
    }

    /// Reads and checks every byte of the snapshot in directory `dir`.
    pub fn verify(dir: &Path) -> Result<Verified, VerifyError> {
        let snapshot = Self::open(dir)?;
        snapshot.verify_ram()?;
        if let Some(problem) = snapshot.working_set_problem {
            return Err(VerifyError::WorkingSet(problem));
        }
        let pages = snapshot.working_set.iter().map(|run| u64::from(run.pages));
        Ok(Verified {
            digest: snapshot.digest(),
            ram_bytes: snapshot.contents.ram.bytes,
            ram_pages_stored: snapshot.contents.ram.pages_stored,
            working_set_pages: pages.sum(),
        })
    }

    /// Reads and checks every byte of RAM, as who runs on this snapshot sees it now.
    pub fn verify_ram(&self) -> Result<(), VerifyError> {
        let wrong = |source| OpenError::Read {
            file: RAM_FILE,
            source,
        };
        let ram_bytes = self.ram_bytes();
        let found_bytes = self.ram.metadata().map_err(wrong)?.len();
        if found_bytes != ram_bytes {
            return Err(VerifyError::Open(OpenError::RamLength {
                found_bytes,
                expected_bytes: ram_bytes,
            }));
        }
        let mut hash = RamHash::default();
        let mut buffer = vec![0; PAGES_PER_READ * PAGE_LEN];
        let mut offset = 0;
        while offset < ram_bytes {
            let data = next_data(&self.ram, offset).map_err(wrong)?;
            let Some(data) = data.filter(|data| *data < ram_bytes) else {
                break;
            };
            let rest = usize::try_from(ram_bytes - data).unwrap_or(usize::MAX);
            let piece_bytes = rest.min(buffer.len());
            let piece = &mut buffer[..piece_bytes];
            self.ram.read_exact_at(piece, data).map_err(wrong)?;
            let (pages, _): (&[Page], _) = piece.as_chunks();
            for (number, page) in (data / PAGE_BYTES..).zip(pages) {
                hash.add(number, page);
            }
            offset = data + piece_bytes as u64;
        }
        let (found, expected) = (hash.finish(ram_bytes), self.contents.ram);
        if found.pages_stored != expected.pages_stored {
            return Err(VerifyError::PagesStored {
                found: found.pages_stored,
                expected: expected.pages_stored,
            });
        }
        if found.digest != expected.digest {
            return Err(VerifyError::RamDigest {
                found: found.digest,
                expected: expected.digest,
            });
        }
        Ok(())
    }
}

/// Offset of the first page at or behind `offset`, a page's, that may have other bytes than zero.
pub(crate) fn next_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    match seek(file, SeekFrom::Data(offset)) {
        Ok(data) => Ok(Some(data / PAGE_BYTES * PAGE_BYTES)), // Blocks may be smaller than pages.
        Err(Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens a regular file of a snapshot, and never waits for or follows what only looks like one.
fn open_file(directory: &File, file: &'static str) -> Result<File, OpenError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened: OwnedFd = match openat(directory, file, flags, Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Err(OpenError::Missing(file)),
        Err(Errno::LOOP) => return Err(OpenError::NotAFile(file)),
        Err(error) => {
            return Err(OpenError::Read {
                file,
                source: error.into(),
            });
        }
    };
    let opened = File::from(opened);
    let metadata = opened
        .metadata()
        .map_err(|source| OpenError::Read { file, source })?;
    if !metadata.is_file() {
        return Err(OpenError::NotAFile(file));
    }
    Ok(opened)
}

fn directory_at(dir: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = dir.to_owned();
    |source| OpenError::Directory { path, source }
}

/// Reads to the end, but no more than one byte beyond `bytes_max`, which no decoder takes.
fn read_bounded(file: &File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
