//! Things in one directory, each under its digest, whatever they are.
//!
//! ```text
//! root/3f/3f9a…      a thing: hexadecimal digest, below its first two digits
//! root/tmp/…         things in the making, or being removed, or left behind by a killed process
//! ```
//!
//! What has a digest for a name is whole. What lies about and is not the store's is named and stays, and stands in
//! nobody else's way. Not here: what a thing is (`Kind`), nor which are wanted.

use std::{
    fs, io,
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::StoreError;
use crate::{Digest, disk, private_dir, staging::parent};

pub(crate) const TEMPORARY: &str = "tmp";
/// Times that a thing is begun anew: a collector is rare, and has to come within microseconds to be in the way once.
const BEGIN_MAX: usize = 16;

/// What is on a shelf.
pub(super) trait Kind {
    /// Whether what is at `path` is a thing of this kind, or a part of one: nothing else is ever removed.
    fn is_ours(path: &Path) -> io::Result<bool>;

    /// Removes a thing, unless a living process works on it. Returns the bytes that it had on disk.
    fn remove(path: PathBuf) -> io::Result<u64>;
}

/// What a collection did.
#[derive(Debug, Default)]
pub struct Collected {
    /// Bytes that became free on disk.
    pub freed_bytes: u64,
    /// What could not be removed, or is not ours to remove. It stood in nobody else's way.
    pub left: Vec<StoreError>,
}

/// The directory.
#[derive(Debug)]
pub(super) struct Shelf<K> {
    pub(super) root: PathBuf,
    /// Held while a thing gets its name or loses it, so that one that is put again is not removed for the age it had
    /// before.
    names: Mutex<()>,
    kind: PhantomData<K>,
}

impl<K: Kind> Shelf<K> {
    /// The shelf in directory `root`, which is made if its parent is there, and closed to other users.
    pub(super) fn new(root: PathBuf) -> Result<Self, StoreError> {
        private_dir(&root)?;
        let made =
            disk::create_dir(&root.join(TEMPORARY)).and_then(|()| disk::sync_dir(parent(&root)));
        made.map_err(at(&root))?;
        // It may have been there, and open.
        private_dir(&root.join(TEMPORARY))?;
        Ok(Self {
            root,
            names: Mutex::default(),
            kind: PhantomData,
        })
    }

    /// Where the thing with this digest is, or would be.
    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join(&name[..2]).join(name)
    }

    /// Begins a thing under a name that nobody else uses. `begin` makes and locks it, and returns none if a collector came
    /// between the two and took it for one that was left behind: then it begins anew.
    pub(super) fn begin<T>(
        &self,
        begin: impl Fn(PathBuf) -> Result<Option<T>, StoreError>,
    ) -> Result<T, StoreError> {
        for _ in 0..BEGIN_MAX {
            if let Some(begun) = begin(self.temporary()?)? {
                return Ok(begun);
            }
        }
        Err(at(&self.root)(io::ErrorKind::WouldBlock.into()))
    }

    /// A name that nobody else uses.
    fn temporary(&self) -> Result<PathBuf, StoreError> {
        let temporary = self.root.join(TEMPORARY);
        let number = disk::unique().map_err(at(&temporary))?;
        Ok(temporary.join(format!("{number:016x}")))
    }

    /// Makes the directory that a thing will have its name in.
    pub(super) fn make_room(&self, path: &Path) -> Result<(), StoreError> {
        let shard = parent(path);
        // Synced even if it was there: who made it may have been killed before they could.
        disk::create_dir(shard)
            .and_then(|()| disk::sync_dir(&self.root))
            .map_err(at(shard))
    }

    pub(super) fn names(&self) -> MutexGuard<'_, ()> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digests of all things, ascending, without what is in a directory that cannot be read.
    pub(super) fn list(&self, unread: &mut Vec<StoreError>) -> Vec<Digest> {
        let mut digests = vec![];
        for shard in names_in(&self.root, unread) {
            // What has no digest for a name is not ours, wherever it lies.
            let names = match shard == TEMPORARY {
                true => vec![],
                false => names_in(&self.root.join(&shard), unread),
            };
            let here = names.iter().filter(|name| name.starts_with(&shard));
            digests.extend(here.filter_map(|name| name.parse::<Digest>().ok()));
        }
        digests.sort_unstable();
        digests
    }

    /// Removes the things that `keep` refuses and that are older than `older_than`, and what killed processes left
    /// behind. What cannot be removed holds up nothing else. Who has a removed thing open keeps it.
    pub(super) fn collect(
        &self,
        keep: &dyn Fn(&Digest) -> bool,
        older_than: Duration,
    ) -> Collected {
        let mut collected = Collected::default();
        let digests = self.list(&mut collected.left);
        for digest in digests.iter().filter(|digest| !keep(digest)) {
            if let Err(error) = self.put_aside(&self.path(digest), older_than) {
                collected.left.push(error);
            }
        }
        let temporary = self.root.join(TEMPORARY);
        for name in names_in(&temporary, &mut collected.left) {
            match Self::remove(temporary.join(name)) {
                Ok(freed_bytes) => collected.freed_bytes += freed_bytes,
                Err(error) => collected.left.push(error),
            }
        }
        collected
    }

    /// Takes a thing its name away, if it is old enough; what is none keeps it.
    fn put_aside(&self, path: &Path, older_than: Duration) -> Result<(), StoreError> {
        let aside = self.temporary()?;
        let _names = self.names();
        let moved = match K::is_ours(path) {
            Ok(true) => is_older(path, older_than).and_then(|is_old| match is_old {
                true => disk::rename(path, &aside),
                false => Ok(()),
            }),
            Ok(false) => return Err(StoreError::Stranger(path.to_owned())),
            Err(error) => Err(error),
        };
        absent_is_fine(moved).map_err(remove_at(path))
    }

    /// Removes what a killed process or a collection left, unless a living one works on it. Returns the bytes it had.
    fn remove(path: PathBuf) -> Result<u64, StoreError> {
        match K::is_ours(&path) {
            Ok(true) => K::remove(path.clone()).map_err(remove_at(&path)),
            Ok(false) => Err(StoreError::Stranger(path)),
            Err(error) => absent_is_fine(Err(error)).map_err(remove_at(&path)),
        }
    }
}

/// Everything is older than nothing, whatever the clock says.
fn is_older(path: &Path, older_than: Duration) -> io::Result<bool> {
    let modified = fs::symlink_metadata(path)?.modified()?;
    Ok(older_than.is_zero() || modified.elapsed().is_ok_and(|age| age >= older_than))
}

/// By another collector.
fn absent_is_fine<T: Default>(result: io::Result<T>) -> io::Result<T> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        result => result,
    }
}

/// Names in a directory; none if it is not one. Those that are not UTF-8 are not ours.
fn names_in(dir: &Path, unread: &mut Vec<StoreError>) -> Vec<String> {
    let read = || {
        let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names
            .filter_map(io::Result::transpose)
            .collect::<io::Result<_>>()
    };
    match read() {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => vec![],
        Err(error) => {
            unread.push(at(dir)(error));
            vec![]
        }
    }
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    |source| StoreError::Directory { path, source }
}

fn remove_at(path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    |source| StoreError::Remove { path, source }
}
