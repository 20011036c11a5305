//! Many snapshots in one directory, each under its digest.
//!
//! ```text
//! root/3f/3f9a…      a snapshot: hexadecimal digest, below its first two digits
//! root/tmp/…         snapshots in the making, or being removed, or left behind by a killed process
//! ```
//!
//! What has a digest for a name is whole and never changes, but for its working set.
//! Not here: which snapshots are wanted, which the agent knows.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    Blame, CreateError, Digest, OpenError, PrivateDirError, Snapshot, State, disk, private_dir,
    ram::Page,
    staging::{Staging, directory, holds_only_ours, is_snapshot, parent},
    why,
};

const TEMPORARY: &str = "tmp";

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum StoreError {
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("there is no snapshot {0} in the store: create it again")]
    NotFound(Digest),
    #[error("the store's snapshot {expected} is {found}: create it again")]
    WrongDigest { expected: Digest, found: Digest },
    #[error(transparent)]
    Private(#[from] PrivateDirError),
    #[error("cannot use the snapshot store at {path}: {}", why(source))]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot remove the snapshot at {path}: {}", why(source))]
    Remove {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} is not a snapshot and stays: remove it if it is not wanted")]
    Stranger(PathBuf),
}

impl StoreError {
    /// Who has to mend it.
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

/// What [`Store::gc`] did.
#[derive(Debug, Default)]
pub struct Collected {
    /// Bytes that became free on disk.
    pub freed_bytes: u64,
    /// What could not be removed, or is not ours to remove. It stood in nobody else's way.
    pub left: Vec<StoreError>,
}

/// A store.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store in directory `root`, which is made if its parent is there, and closed to other users.
    pub fn new(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        private_dir(&root)?;
        let made =
            disk::create_dir(&root.join(TEMPORARY)).and_then(|()| disk::sync_dir(parent(&root)));
        made.map_err(at(&root))?;
        Ok(Self { root })
    }

    /// Where the snapshot `digest` is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join(&name[..2]).join(name)
    }

    /// Writes a snapshot into the store; for `read` see [`crate::create()`]. One that is there already
    /// stays as it is, unless it is damaged.
    pub fn put(
        &self,
        state: &State,
        ram_bytes: u64,
        read: impl FnMut(u64, &mut Page) -> io::Result<()>,
    ) -> Result<Digest, StoreError> {
        let staging = match Staging::new(self.temporary()?) {
            // A collector took it for one that was left behind, just before it was locked.
            Err(CreateError::Busy(_)) => Staging::new(self.temporary()?)?,
            staging => staging?,
        };
        let digest = staging.write(state, ram_bytes, read)?;
        let path = self.path(&digest);
        let shard = parent(&path);
        // Synced even if it was there: who made it may have been killed before they could.
        disk::create_dir(shard)
            .and_then(|()| disk::sync_dir(&self.root))
            .map_err(at(shard))?;
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
        let digests = self.list_readable(&mut unread);
        unread.pop().map_or(Ok(digests), Err)
    }

    /// As [`Store::list`], without what is in a directory that cannot be read.
    fn list_readable(&self, unread: &mut Vec<StoreError>) -> Vec<Digest> {
        let mut digests = vec![];
        let shards = names(&self.root).map_err(at(&self.root));
        let shards = shards.unwrap_or_else(|error| {
            unread.push(error);
            vec![]
        });
        for shard in shards.into_iter().filter(|shard| shard != TEMPORARY) {
            let path = self.root.join(&shard);
            let names = match names(&path) {
                Ok(names) => names,
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => continue,
                Err(error) => {
                    unread.push(at(&path)(error));
                    continue;
                }
            };
            let here = names.iter().filter(|name| name.starts_with(&shard));
            digests.extend(here.filter_map(|name| name.parse::<Digest>().ok()));
        }
        digests.sort_unstable();
        digests
    }

    /// Removes the snapshots that `keep` refuses, and what killed processes left behind. What cannot be removed
    /// holds up nothing else.
    ///
    /// `keep` has to know every digest that a [`Store::put`] beside this call returns. Who has a
    /// removed snapshot open keeps it until they close it.
    pub fn gc(&self, keep: &dyn Fn(&Digest) -> bool) -> Collected {
        let mut collected = Collected::default();
        let digests = self.list_readable(&mut collected.left);
        for digest in digests.iter().filter(|digest| !keep(digest)) {
            if let Err(error) = self.put_aside(&self.path(digest)) {
                collected.left.push(error);
            }
        }
        let temporary = self.root.join(TEMPORARY);
        let names = names(&temporary).map_err(at(&temporary));
        let names = names.unwrap_or_else(|error| {
            collected.left.push(error);
            vec![]
        });
        for name in names {
            match remove_left_over(temporary.join(name)) {
                Ok(freed_bytes) => collected.freed_bytes += freed_bytes,
                Err(error) => collected.left.push(error),
            }
        }
        collected
    }

    /// Takes a snapshot its name away; what is none keeps it.
    fn put_aside(&self, path: &Path) -> Result<(), StoreError> {
        let aside = self.temporary()?;
        let moved = match holds_only_ours(path) {
            Ok(true) => disk::rename(path, &aside),
            Ok(false) => return Err(StoreError::Stranger(path.to_owned())),
            Err(error) => Err(error),
        };
        match moved {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()), // By another collector.
            moved => moved.map_err(remove_at(path)),
        }
    }

    /// A name that nobody else uses.
    fn temporary(&self) -> Result<PathBuf, StoreError> {
        let temporary = self.root.join(TEMPORARY);
        let number = disk::unique().map_err(at(&temporary))?;
        Ok(temporary.join(format!("{number:016x}")))
    }
}

/// Removes what a killed process or a collection left, unless a living one works on it. Returns the bytes it had.
fn remove_left_over(path: PathBuf) -> Result<u64, StoreError> {
    match holds_only_ours(&path) {
        Ok(true) => {}
        Ok(false) => return Err(StoreError::Stranger(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(remove_at(&path)(error)),
    }
    let Some(left) = Staging::take_over(path.clone()).map_err(remove_at(&path))? else {
        return Ok(0);
    };
    let freed_bytes = left.disk_bytes();
    left.remove().map_err(remove_at(&path))?;
    Ok(freed_bytes)
}

/// Names in a directory; those that are not UTF-8 are not ours.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
    names.filter_map(io::Result::transpose).collect()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    |source| StoreError::Directory { path, source }
}

fn remove_at(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    |source| StoreError::Remove { path, source }
}

#[cfg(test)]
mod tests;
