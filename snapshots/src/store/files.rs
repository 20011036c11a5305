//! Many files in one directory, each under the digest of its bytes: the images of an agent.
//!
//! ```text
//! create, lock ─▶ write ─▶ sync ─▶ rename ─▶ sync the parent
//! ```
//!
//! Not here: what is in a file.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Collected, StoreError,
    shelf::{Kind, Shelf, at},
};
use crate::{
    Digest, disk,
    staging::{BLOCK_BYTES, parent},
};

#[derive(Debug)]
struct Files;

impl Kind for Files {
    fn is_ours(path: &Path) -> io::Result<bool> {
        Ok(fs::symlink_metadata(path)?.is_file())
    }

    fn remove(path: PathBuf) -> io::Result<u64> {
        let Some(file) = disk::lock_file(&path)? else {
            return Ok(0);
        };
        disk::remove_file(&path)?;
        Ok(file.metadata()?.blocks() * BLOCK_BYTES)
    }
}

/// A store of files.
#[derive(Debug)]
pub struct FileStore {
    shelf: Shelf<Files>,
}

/// A file that is being written. Dropped before [`FileStore::publish`], it leaves nothing.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    /// Locked, so that no collector takes it for one that was left behind.
    file: File,
}

impl FileStore {
    /// The store in directory `root`, which is made if its parent is there, and closed to other users.
    pub fn new(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let shelf = Shelf::new(root.into())?;
        Ok(Self { shelf })
    }

    /// Where the file with this digest is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.shelf.path(digest)
    }

    /// Begins a file.
    pub fn create(&self) -> Result<NewFile, StoreError> {
        self.shelf.begin(|path| {
            let file = disk::create_file(&path).map_err(at(&path))?;
            let new = NewFile { path, file };
            let is_ours = disk::lock(&new.file, &new.path).map_err(at(&new.path))?;
            Ok(is_ours.then_some(new))
        })
    }

    /// Gives a file that is complete its name; durable when this returns. One that has it is replaced by the same bytes:
    /// it is young again, and whole if it was damaged.
    pub fn publish(&self, new: NewFile, digest: &Digest) -> Result<(), StoreError> {
        let path = self.path(digest);
        disk::sync_file(&new.file).map_err(at(&new.path))?;
        self.shelf.make_room(&path)?;
        let _names = self.shelf.names();
        disk::rename(&new.path, &path)
            .and_then(|()| disk::sync_dir(parent(&path)))
            .map_err(at(&path))
    }

    /// Opens a file for reading.
    pub fn open(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::NotFound(*digest),
            _ => at(&path)(error),
        })
    }

    /// As [`FileStore::open`], if its bytes are those that its name says: a file that was damaged on disk is told.
    pub fn open_whole(&self, digest: &Digest) -> Result<File, StoreError> {
        let file = self.open(digest)?;
        let found = Digest::of_file(&file).map_err(at(&self.path(digest)))?;
        match found == *digest {
            true => Ok(file),
            false => Err(StoreError::WrongDigest {
                expected: *digest,
                found,
            }),
        }
    }

    /// The digests of all files, ascending.
    pub fn list(&self) -> Result<Vec<Digest>, StoreError> {
        let mut unread = vec![];
        let digests = self.shelf.list(&mut unread);
        unread.pop().map_or(Ok(digests), Err)
    }

    /// Removes the files that `keep` refuses and that were published longer ago than `older_than`, and what killed
    /// processes left behind. What cannot be removed holds up nothing else. Who has a removed file open keeps it.
    pub fn gc(&self, keep: &dyn Fn(&Digest) -> bool, older_than: Duration) -> Collected {
        self.shelf.collect(keep, older_than)
    }
}

impl NewFile {
    /// Its name until it has one.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, to be written and read.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // It has another name by now; or if this fails, the next collection does it.
        let _ = disk::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests;
