//! Writes a snapshot to a directory of the caller's choice, and a working set beside it.
//!
//! Whatever fails, and wherever the process is killed: afterwards the directory is as it was, or is
//! the whole new snapshot. What a killed process left is removed by the next [`create`] of that name.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    Blame, Digest, OpenError, PageRun, Snapshot, State, WORKING_SET_FILE, WorkingSetError, disk,
    ram::Page,
    staging::{CreateError, Staging, WORKING_SET_TEMPORARY, directory, is_snapshot, parent},
    why,
    working_set::encode_working_set,
};

/// Writes a snapshot to the directory `dir`, whose parent is there. One that has this name is
/// replaced in one step; anything else is left alone.
///
/// `read` is called once for each page of RAM, ascending, with its number and a buffer of zeros.
pub fn create(
    dir: &Path,
    state: &State,
    ram_bytes: u64,
    read: impl FnMut(u64, &mut Page) -> io::Result<()>,
) -> Result<Digest, CreateError> {
    let staging = Staging::new(temporary(dir)?)?;
    // Looked at before RAM is written, so that a wrong name costs no time.
    check_name(dir)?;
    let digest = staging.write(state, ram_bytes, read)?;
    if let Some(staging) = staging.publish(dir)? {
        staging.replace(dir)?;
    }
    Ok(digest)
}

/// Refuses a name that something has which is neither a snapshot nor an empty directory.
fn check_name(dir: &Path) -> Result<(), CreateError> {
    let is_dir = match fs::symlink_metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata.map_err(directory(dir))?.is_dir(),
    };
    let is_empty = is_dir && {
        let mut entries = fs::read_dir(dir).map_err(directory(dir))?;
        entries.next().is_none()
    };
    if is_empty || is_snapshot(dir).map_err(directory(dir))? {
        return Ok(());
    }
    Err(CreateError::NotASnapshot(dir.to_owned()))
}

/// The name under which a snapshot for `dir` is made.
fn temporary(dir: &Path) -> Result<PathBuf, CreateError> {
    let name = dir.file_name();
    let name = name.ok_or_else(|| CreateError::Path(dir.to_owned()))?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".tmp");
    Ok(parent(dir).join(temporary))
}

/// Why a working set was not written. The first two blame the snapshot and the runs, the others the
/// host.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum WriteWorkingSetError {
    #[error(transparent)]
    Snapshot(#[from] OpenError),
    #[error(transparent)]
    Runs(#[from] WorkingSetError),
    #[error("another process works on {0}: try again when it is done")]
    Busy(PathBuf),
    #[error("cannot write a working set in {path}: {}", why(source))]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl WriteWorkingSetError {
    /// Who is to blame for it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Snapshot(error) => error.blame(),
            Self::Runs(_) => Blame::Input,
            Self::Busy(_) | Self::Write { .. } => Blame::Host,
        }
    }
}

/// Puts a working set beside the snapshot in `dir`, in one step, in place of the one it has.
pub fn write_working_set(dir: &Path, runs: &[PageRun]) -> Result<(), WriteWorkingSetError> {
    let dir = fs::canonicalize(dir).map_err(|source| OpenError::Directory {
        path: dir.to_owned(),
        source,
    })?;
    let failed = |source| WriteWorkingSetError::Write {
        path: dir.clone(),
        source,
    };
    let lock = disk::lock_dir(&dir).map_err(failed)?;
    let _lock = lock.ok_or_else(|| WriteWorkingSetError::Busy(dir.clone()))?;
    let bytes = encode_working_set(runs, Snapshot::open(&dir)?.ram_bytes())?;
    replace_working_set(&dir, &bytes).map_err(failed)
}

fn replace_working_set(dir: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(WORKING_SET_TEMPORARY);
    disk::remove_file(&temporary)?; // A killed process may have left one.
    let file = disk::create_file(&temporary)?;
    disk::write_all_at(&file, bytes, 0)?;
    disk::sync_file(&file)?;
    disk::rename(&temporary, &dir.join(WORKING_SET_FILE))?;
    disk::sync_dir(dir)
}

#[cfg(test)]
mod tests;
