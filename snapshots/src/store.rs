//! Many snapshots in one directory, each under its digest.
//!
//! What has a digest for a name is whole and never changes, but for its working set.
//! Not here: which snapshots are wanted, which the agent knows; the directory and its collection (`shelf`), which
//! files share (`files`).

mod files;
mod shelf;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use self::shelf::{Kind, Shelf};
pub use self::{
    files::{FileStore, NewFile},
    shelf::Collected,
};
use crate::{
    Blame, CreateError, Digest, OpenError, PrivateDirError, Snapshot, State,
    ram::Page,
    staging::{Staging, directory, holds_only_ours, is_snapshot},
    why,
};

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum StoreError {
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("no snapshot {0} in the store: must be one that was created")]
    NotFound(Digest),
    #[error("what the store has as {expected} is {found}: create it again")]
    WrongDigest { expected: Digest, found: Digest },
    #[error(transparent)]
    Private(#[from] PrivateDirError),
    #[error("cannot use the store at {path}: {}", why(source))]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot remove {path} from its store: {}", why(source))]
    Remove {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} is not of its store and stays: remove it if it is not wanted")]
    Stranger(PathBuf),
}

impl StoreError {
    /// Who is to blame for it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Create(error) => error.blame(),
            Self::Open(error) => error.blame(),
            Self::NotFound(_) | Self::WrongDigest { .. } => Blame::Input,
            Self::Private(_) | Self::Directory { .. } | Self::Remove { .. } | Self::Stranger(_) => {
                Blame::Host
            }
        }
    }
}

#[derive(Debug)]
struct Snapshots;

impl Kind for Snapshots {
    fn is_ours(path: &Path) -> io::Result<bool> {
        holds_only_ours(path)
    }

    fn remove(path: PathBuf) -> io::Result<u64> {
        let Some(left) = Staging::take_over(path)? else {
            return Ok(0);
        };
        let freed_bytes = left.disk_bytes();
        left.remove()?;
        Ok(freed_bytes)
    }
}

/// A store.
#[derive(Debug)]
pub struct Store {
    shelf: Shelf<Snapshots>,
}

impl Store {
    /// The store in directory `root`, which is made if its parent is there, and closed to other users.
    pub fn new(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let shelf = Shelf::new(root.into())?;
        Ok(Self { shelf })
    }

    /// Where the snapshot `digest` is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.shelf.path(digest)
    }

    /// Writes a snapshot into the store; for `read` see [`crate::create()`]. One that is there already
    /// stays as it is, unless it is damaged.
    pub fn put(
        &self,
        state: &State,
        ram_bytes: u64,
        read: impl FnMut(u64, &mut Page) -> io::Result<()>,
    ) -> Result<Digest, StoreError> {
        let staging = self.shelf.begin(|path| match Staging::new(path) {
            Err(CreateError::Busy(_)) => Ok(None),
            staging => Ok(Some(staging?)),
        })?;
        let digest = staging.write(state, ram_bytes, read)?;
        let path = self.path(&digest);
        self.shelf.make_room(&path)?;
        let Some(staging) = staging.publish(&path)? else {
            return Ok(digest);
        };
        if Snapshot::verify(&path).is_ok_and(|there| there.digest == digest) {
            return Ok(digest);
        }
        if !is_snapshot(&path).map_err(directory(&path))? {
            return Err(CreateError::NotASnapshot(path).into());
        }
        staging.replace(&path)?;
        Ok(digest)
    }

    /// Opens a snapshot, as [`Snapshot::open`] does.
    pub fn open(&self, digest: &Digest) -> Result<Snapshot, StoreError> {
        let path = self.path(digest);
        let snapshot = match Snapshot::open(&path) {
            Err(OpenError::Directory { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                return Err(StoreError::NotFound(*digest));
            }
            snapshot => snapshot?,
        };
        let found = snapshot.digest();
        if found != *digest {
            return Err(StoreError::WrongDigest {
                expected: *digest,
                found,
            });
        }
        Ok(snapshot)
    }

    /// The digests of all snapshots, ascending.
    pub fn list(&self) -> Result<Vec<Digest>, StoreError> {
        let mut unread = vec![];
        let digests = self.shelf.list(&mut unread);
        unread.pop().map_or(Ok(digests), Err)
    }

    /// Removes the snapshots that `keep` refuses, and what killed processes left behind. What cannot be removed
    /// holds up nothing else.
    ///
    /// `keep` has to know every digest that a [`Store::put`] beside this call returns. Who has a
    /// removed snapshot open keeps it until they close it.
    pub fn gc(&self, keep: &dyn Fn(&Digest) -> bool) -> Collected {
        self.shelf.collect(keep, Duration::ZERO)
    }
}

#[cfg(test)]
mod tests;
