//! A snapshot in the making: a directory under a temporary name, locked by who makes it.
//!
//! ```text
//! mkdir, lock ─▶ ram, state: write, sync ─▶ sync the directory ─▶ rename or exchange ─▶ sync the parent
//! ```
//!
//! The lock ends with the process, so what a killed one left behind can be told from what a living
//! one still needs. Whoever changes a directory of a snapshot holds its lock.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{
    Blame, RAM_FILE, STATE_FILE, WORKING_SET_FILE,
    digest::Digest,
    disk,
    format::{FormatError, StateFile},
    ram::{Page, RamError, write_ram},
    state::State,
    why,
};

/// Where a working set is written before it gets its name.
pub(crate) const WORKING_SET_TEMPORARY: &str = ".working-set.tmp";
/// Everything that is ever in a snapshot's directory. Nothing else is ever removed from one.
const FILES: [&str; 4] = [
    STATE_FILE,
    RAM_FILE,
    WORKING_SET_FILE,
    WORKING_SET_TEMPORARY,
];
/// Unit of `st_blocks`, bytes, whatever the file system's own is.
pub(crate) const BLOCK_BYTES: u64 = 512;

/// Why a snapshot was not written. The first three blame what was asked for, the others the host.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum CreateError {
    #[error("the state cannot be saved")]
    State(#[source] FormatError),
    #[error("{0} names no directory that a snapshot could be in: give it a name")]
    Path(PathBuf),
    #[error("{0} is there and is not a snapshot: remove it or choose another name")]
    NotASnapshot(PathBuf),
    #[error("another process works on {0}: try again when it is done")]
    Busy(PathBuf),
    #[error("{0} belongs to another user: remove it or choose another name")]
    Foreign(PathBuf),
    #[error("cannot read page {page} of guest RAM")]
    GuestRam {
        page: u64,
        #[source]
        source: io::Error,
    },
    #[error("cannot use the directory {path}: {}", why(source))]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {path}: {}", why(source))]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot give the snapshot its name {to}: {}", why(source))]
    Publish {
        to: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl CreateError {
    /// Who is to blame for it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::State(_) | Self::Path(_) | Self::NotASnapshot(_) => Blame::Input,
            Self::Busy(_)
            | Self::Foreign(_)
            | Self::GuestRam { .. }
            | Self::Directory { .. }
            | Self::Write { .. }
            | Self::Publish { .. } => Blame::Host,
        }
    }
}

/// The directory. What has not been published when this drops is removed.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    lock: Option<File>,
}

impl Staging {
    /// Makes the directory `path`, or takes over what a killed process left there.
    pub(crate) fn new(path: PathBuf) -> Result<Self, CreateError> {
        disk::create_dir(&path).map_err(directory(&path))?;
        let lock = disk::lock_dir(&path).map_err(directory(&path))?;
        let lock = lock.ok_or_else(|| CreateError::Busy(path.clone()))?;
        // In a folder for everybody, someone may have made it so that we write into theirs.
        if !disk::is_mine(&lock).map_err(directory(&path))? {
            return Err(CreateError::Foreign(path));
        }
        let staging = Self {
            path: path.clone(),
            lock: Some(lock),
        };
        remove_files(&path).map_err(directory(&path))?;
        Ok(staging)
    }

    /// What a killed process left at `path`; none if a living one works on it.
    pub(crate) fn take_over(path: PathBuf) -> io::Result<Option<Self>> {
        let lock = disk::lock_dir(&path)?;
        Ok(lock.map(|lock| Self {
            path,
            lock: Some(lock),
        }))
    }

    /// Writes the whole snapshot, so that not even a power cut takes it away again. For `read` see
    /// [`crate::create()`].
    pub(crate) fn write(
        &self,
        state: &State,
        ram_bytes: u64,
        read: impl FnMut(u64, &mut Page) -> io::Result<()>,
    ) -> Result<Digest, CreateError> {
        let wrong = |file| {
            let path = self.path.join(file);
            move |source| CreateError::Write { path, source }
        };
        // Before a page is read: a state that cannot be saved should cost nothing.
        StateFile::check(state, ram_bytes).map_err(CreateError::State)?;

        let file = disk::create_file(&self.path.join(RAM_FILE)).map_err(wrong(RAM_FILE))?;
        let ram = write_ram(&file, ram_bytes, read).map_err(|error| match error {
            RamError::Read { page, source } => CreateError::GuestRam { page, source },
            RamError::Write(source) => wrong(RAM_FILE)(source),
        })?;
        disk::sync_file(&file).map_err(wrong(RAM_FILE))?;

        let state = state.clone();
        let bytes = StateFile { ram, state }
            .to_bytes()
            .map_err(CreateError::State)?;
        let file = disk::create_file(&self.path.join(STATE_FILE)).map_err(wrong(STATE_FILE))?;
        disk::write_all_at(&file, &bytes, 0).map_err(wrong(STATE_FILE))?;
        disk::sync_file(&file).map_err(wrong(STATE_FILE))?;
        disk::sync_dir(&self.path).map_err(directory(&self.path))?;
        Ok(Digest::of(&bytes))
    }

    /// Gives the snapshot its name, which nothing or an empty directory has. If something else has
    /// it, the snapshot comes back.
    pub(crate) fn publish(mut self, to: &Path) -> Result<Option<Self>, CreateError> {
        match disk::rename(&self.path, to) {
            Ok(()) => {}
            Err(error) if is_taken(&error) => return Ok(Some(self)),
            Err(error) => return Err(publish(to)(error)),
        }
        // The temporary name is free, and may be another's from now on.
        self.lock = None;
        disk::sync_dir(parent(to)).map_err(publish(to))?;
        Ok(None)
    }

    /// Gives the snapshot the name of another one, in one step, and removes that one.
    pub(crate) fn replace(mut self, old: &Path) -> Result<(), CreateError> {
        let lock = disk::lock_dir(old).map_err(directory(old))?;
        let lock = lock.ok_or_else(|| CreateError::Busy(old.to_owned()))?;
        disk::exchange(&self.path, old).map_err(publish(old))?;
        // Now the old one has our temporary name. With its lock it is ours to remove, and is when
        // `self` drops.
        self.lock = Some(lock);
        disk::sync_dir(parent(old)).map_err(|error| {
            // The exchange may not outlast a power cut, so the old one stays. The next one to use
            // the temporary name removes it.
            self.lock = None;
            publish(old)(error)
        })
    }

    /// Bytes that the files take on disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let blocks =
            |name| fs::symlink_metadata(self.path.join(name)).map_or(0, |file| file.blocks());
        FILES.into_iter().map(blocks).sum::<u64>() * BLOCK_BYTES
    }

    /// Removes the directory.
    pub(crate) fn remove(mut self) -> io::Result<()> {
        let result = remove(&self.path);
        self.lock = None;
        result
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // If this fails, the next one to use the temporary name, or `Store::gc`, does it.
            let _ = remove(&self.path);
        }
    }
}

/// Whether a directory holds nothing but a snapshot, of whatever format, and may be replaced by one.
pub(crate) fn is_snapshot(dir: &Path) -> io::Result<bool> {
    Ok(holds_only_ours(dir)? && fs::symlink_metadata(dir.join(STATE_FILE)).is_ok())
}

/// Whether it is a directory in which nothing is but what a snapshot, or a part of one, has.
pub(crate) fn holds_only_ours(dir: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(dir)?.is_dir() {
        return Ok(false);
    }
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if !FILES.iter().any(|file| name == OsStr::new(file)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The directory in which `path` has its name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

fn remove(dir: &Path) -> io::Result<()> {
    remove_files(dir)?;
    disk::remove_dir(dir)
}

fn remove_files(dir: &Path) -> io::Result<()> {
    FILES
        .into_iter()
        .try_for_each(|file| disk::remove_file(&dir.join(file)))
}

fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    matches!(
        error.kind(),
        AlreadyExists | DirectoryNotEmpty | NotADirectory
    )
}

pub(crate) fn directory(path: &Path) -> impl FnOnce(io::Error) -> CreateError {
    let path = path.to_owned();
    |source| CreateError::Directory { path, source }
}

fn publish(to: &Path) -> impl FnOnce(io::Error) -> CreateError {
    let to = to.to_owned();
    |source| CreateError::Publish { to, source }
}
