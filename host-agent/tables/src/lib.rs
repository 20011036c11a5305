//! A file of tables, with `redb`, that one process has and that heals.
//!
//! After an I/O error `redb` takes no more work until it is opened anew, and only that tells whether a
//! failed commit is durable. So the file is closed after any error and opened by the next call:
//! a disk that was full needs room again, not a restart.
//! One writes at a time, and others read meanwhile what was durable before.
//! Not here: what is in the tables (the agent's `catalog::file` and `prepare::known`; `jiffy-kv`).
#![forbid(unsafe_code)]

#[cfg(feature = "testing")]
pub mod testing;

use std::{
    error::Error,
    ffi::OsString,
    fmt,
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use jiffy_snapshots::why_of;
use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase, WriteTransaction};

/// Bytes of a file that are kept in memory at most, of one whose owner has in memory what is asked often.
const CACHE_BYTES: usize = 8 << 20;
/// The agent alone reads and writes it.
const FILE_MODE: u32 = 0o600;

/// Opens the tables.
pub type Open = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// Why tables cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum TableFileError {
    #[error("another process uses {0}: stop it, or choose another file or data_dir")]
    InUse(PathBuf),
    /// Whether a change is durable is not known until the file is read again.
    #[error("cannot read or write {path}: {}", why_of(&**source))]
    Storage {
        path: PathBuf,
        source: Box<dyn Error + Send + Sync>,
    },
}

impl TableFileError {
    /// Whether the disk has no room.
    pub fn is_full(&self) -> bool {
        match self {
            Self::InUse(_) => false,
            Self::Storage { source, .. } => is_full(&**source),
        }
    }
}

/// Whether an error, or one that it comes from, is that there is no room.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>();
    let is_this = io.is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    });
    is_this || error.source().is_some_and(is_full)
}

/// Tables in one file.
pub struct TableFile {
    path: PathBuf,
    open: Open,
    /// None after an error. Whoever works with it only reads this.
    database: RwLock<Option<Database>>,
    /// It has to be opened anew before it is used again.
    is_broken: AtomicBool,
}

/// A use of the tables, which breaks them unless it ends well; a panic does not.
struct Use<'a> {
    is_broken: &'a AtomicBool,
    ended_well: bool,
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        if !self.ended_well {
            self.is_broken.store(true, SeqCst);
        }
    }
}

impl fmt::Debug for TableFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl TableFile {
    /// Opens the file `path`, or makes it, with mode 0600. One process at a time can have it.
    pub fn open(path: &Path) -> Result<Self, TableFileError> {
        Self::open_cached(path, CACHE_BYTES)
    }

    /// The same, with at most `cache_bytes` of it in memory.
    pub fn open_cached(path: &Path, cache_bytes: usize) -> Result<Self, TableFileError> {
        if !path.exists() {
            create(path)?;
        }
        let file = path.to_owned();
        let open = move || Database::builder().set_cache_size(cache_bytes).open(&file);
        let opened = Self::with_open(path, Box::new(open))?;
        // Not before it is known to be one of ours.
        close_to_others(path).map_err(|error| unusable(path, error))?;
        Ok(opened)
    }

    /// The tables that `open` opens, in a file that messages call `path`.
    pub fn with_open(path: &Path, open: Open) -> Result<Self, TableFileError> {
        let file = Self {
            path: path.to_owned(),
            open,
            database: RwLock::new(None),
            is_broken: AtomicBool::new(false),
        };
        file.with(|_| Ok(()))?;
        Ok(file)
    }

    /// What messages call it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One transaction, durable when this returns; an error of either kind undoes it.
    pub fn write<T, E: From<TableFileError>>(
        &self,
        work: impl FnOnce(&mut WriteTransaction) -> Result<Result<T, E>, redb::Error>,
    ) -> Result<T, E> {
        self.with(|database| {
            // `Durability::Immediate` is the default.
            let mut transaction = database.begin_write()?;
            let result = work(&mut transaction)?;
            if result.is_ok() {
                transaction.commit()?;
            }
            Ok(result)
        })?
    }

    /// Reads what was durable when it began.
    pub fn read<T, E: From<TableFileError>>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<Result<T, E>, redb::Error>,
    ) -> Result<T, E> {
        self.with(|database| work(&database.begin_read()?))?
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, TableFileError> {
        loop {
            let kept = self.database.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(database) = &*kept
                && !self.is_broken.load(SeqCst)
            {
                let mut this = Use {
                    is_broken: &self.is_broken,
                    ended_well: false,
                };
                let result = work(database);
                this.ended_well = result.is_ok();
                return result.map_err(|error| unusable(&self.path, error));
            }
            drop(kept);
            self.open_anew()?;
        }
    }

    /// Opens the file if it is closed or broken, when nobody uses it any more.
    fn open_anew(&self) -> Result<(), TableFileError> {
        let mut kept = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if self.is_broken.swap(false, SeqCst) {
            *kept = None;
        }
        if kept.is_none() {
            let opened = (self.open)().map_err(|error| match error {
                DatabaseError::DatabaseAlreadyOpen => TableFileError::InUse(self.path.clone()),
                error => unusable(&self.path, error),
            })?;
            *kept = Some(opened);
        }
        Ok(())
    }
}

fn unusable(path: &Path, error: impl Into<redb::Error>) -> TableFileError {
    TableFileError::Storage {
        path: path.to_owned(),
        source: match error.into() {
            redb::Error::Io(error) => Box::new(error),
            error => Box::new(error),
        },
    }
}

/// Secrets of functions may be in it: older releases made it readable for everybody.
fn close_to_others(path: &Path) -> io::Result<()> {
    let permissions = fs::metadata(path)?.permissions();
    if permissions.mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(FILE_MODE))
}

/// Makes a file without tables. It gets its name when it is complete, because `redb` does not open a file whose
/// maker was killed half-way.
fn create(path: &Path) -> Result<(), TableFileError> {
    // A name that nobody else gives.
    let mut name = OsString::from(".jiffy-new-");
    name.push(path.file_name().unwrap_or_default());
    let temporary = path.with_file_name(name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.map_err(|error| unusable(&temporary, error))?,
    }
    // With its mode from the first moment, which `redb` does not set.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&temporary)
        .map_err(|error| unusable(&temporary, error))?;
    let made = Database::builder().create_file(file);
    drop(made.map_err(|error| unusable(&temporary, redb::Error::from(error)))?);
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let named = fs::rename(&temporary, path);
    named
        .and_then(|()| File::open(parent)?.sync_all())
        .map_err(|error| unusable(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_others_stay_as_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let [tables, other, neighbour] =
            ["app.db", "data.json", "app.new"].map(|name| folder.path().join(name));
        for file in [&other, &neighbour] {
            fs::write(file, "theirs").expect("a file");
            fs::set_permissions(file, Permissions::from_mode(0o644)).expect("a mode");
        }
        drop(TableFile::open(&tables).expect("made"));
        let mode = |file: &Path| fs::metadata(file).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&tables), FILE_MODE);
        TableFile::open(&other).expect_err("no tables");
        for file in [&other, &neighbour] {
            assert_eq!(
                (fs::read(file).expect("there"), mode(file)),
                (b"theirs".to_vec(), 0o644)
            );
        }
    }
}
