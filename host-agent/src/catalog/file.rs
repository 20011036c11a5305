//! The registry in one file, with `redb`.
//!
//! ```text
//! meta       "format"         -> 2
//! functions  name             -> Function, JSON
//! versions   (name, number)   -> Version, JSON
//! ```
//!
//! Format 1 had published versions only; its records are read as such, and a release that knows only it must not take a
//! live version that is replaced by every change for one that stays.
//!
//! After an I/O error `redb` takes no more work until it is opened anew, and only that tells whether a
//! failed commit is durable. So the file is closed after any storage error and opened by the next call:
//! a disk that was full needs room again, not a restart.

use std::{
    fmt,
    fs::{self, File, OpenOptions, Permissions},
    io,
    ops::Bound,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use jiffy_snapshots::Digest;
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTableMetadata, StorageError,
};

use super::{
    AliasBefore, NewVersion, Publication, Put, Registry, RegistryError, RegistryLimits,
    records::decode,
    tables::{
        FORMAT, FUNCTIONS, Tables, VERSIONS, behind, check_unaliased, check_unused, key, storage,
    },
};
use crate::model::{Alias, AliasName, AliasTarget, Function, FunctionName, Version, VersionNumber};

/// Bytes of the file that are kept in memory at most; the directory answers what is asked often.
const CACHE_BYTES: usize = 8 << 20;

/// The agent alone reads and writes it.
const FILE_MODE: u32 = 0o600;

type Open = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// A registry in one file.
pub struct RedbRegistry {
    path: PathBuf,
    open: Open,
    /// None after a storage error.
    database: Mutex<Option<Database>>,
    limits: RegistryLimits,
}

impl fmt::Debug for RedbRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbRegistry")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl RedbRegistry {
    /// Opens the registry in `path`, or makes it. One process at a time can have it.
    pub fn open(path: &Path, limits: RegistryLimits) -> Result<Self, RegistryError> {
        if !path.exists() {
            create(path, limits)?;
        }
        close_to_others(path).map_err(|error| unusable(path, error))?;
        let file = path.to_owned();
        let open = move || Database::builder().set_cache_size(CACHE_BYTES).open(&file);
        Self::with_open(path, Box::new(open), limits)
    }

    /// The registry that `open` opens, which messages call `path`.
    pub(super) fn with_open(
        path: &Path,
        open: Open,
        limits: RegistryLimits,
    ) -> Result<Self, RegistryError> {
        let registry = Self {
            path: path.to_owned(),
            open,
            database: Mutex::new(None),
            limits,
        };
        registry.write(|tables| {
            let found = tables.format;
            if found == FORMAT {
                Ok(())
            } else {
                Err(RegistryError::Format {
                    found,
                    known: FORMAT,
                })
            }
        })?;
        Ok(registry)
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        // A panic under the lock leaves `None`, from which the next call recovers.
        let mut kept = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let database = match kept.take() {
            Some(database) => database,
            None => (self.open)().map_err(|error| match error {
                DatabaseError::DatabaseAlreadyOpen => RegistryError::InUse,
                error => self.named(storage(error)),
            })?,
        };
        let result = work(&database).map_err(|error| self.named(error));
        if !matches!(result, Err(RegistryError::Storage { .. })) {
            *kept = Some(database);
        }
        result
    }

    /// A storage error with the path of this registry.
    fn named(&self, error: RegistryError) -> RegistryError {
        match error {
            RegistryError::Storage { source, .. } => RegistryError::Storage {
                path: self.path.clone(),
                source,
            },
            error => error,
        }
    }

    /// One transaction, durable when this returns; an error of `work` undoes it.
    fn write<T>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        self.with(|database| {
            // `Durability::Immediate` is the default.
            let transaction = database.begin_write().map_err(storage)?;
            let result = work(&mut Tables::open(&transaction)?)?;
            transaction.commit().map_err(storage)?;
            Ok(result)
        })
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        self.with(|database| work(&database.begin_read().map_err(storage)?))
    }

    /// Changes a function's record. `change` sees the record and the versions.
    fn change(
        &self,
        name: &FunctionName,
        now_ms: u64,
        change: impl FnOnce(&mut Function, &mut Tables<'_>) -> Result<(), RegistryError>,
    ) -> Result<Function, RegistryError> {
        self.write(|tables| {
            let mut function = tables
                .function(name)?
                .ok_or_else(|| RegistryError::NoFunction(name.clone()))?;
            change(&mut function, tables)?;
            function.updated_ms = now_ms;
            tables.put_function(&function)?;
            Ok(function)
        })
    }
}

impl Registry for RedbRegistry {
    fn put_version(
        &self,
        name: &FunctionName,
        new: &NewVersion,
        expected_next: VersionNumber,
        now_ms: u64,
    ) -> Result<Put, RegistryError> {
        self.write(|tables| {
            let before = tables.function(name)?;
            let (next, changes) = before.as_ref().map_or((VersionNumber::FIRST, 0), |before| {
                (before.next, before.changes)
            });
            if next != expected_next || new.expected_changes.is_some_and(|wanted| wanted != changes)
            {
                return Err(RegistryError::Changed(name.clone()));
            }
            let functions = tables.functions.len().map_err(storage)?;
            if before.is_none() && functions >= self.limits.functions_max {
                return Err(RegistryError::FunctionsFull(self.limits.functions_max));
            }
            let mut function = before.unwrap_or_else(|| Function {
                name: name.clone(),
                live: next,
                next,
                changes,
                aliases: Default::default(),
                attached: Default::default(),
                reserved_concurrency: None,
                created_ms: now_ms,
                updated_ms: now_ms,
            });
            if new.publish {
                tables.check_room(&function, self.limits.versions_max)?;
                function.next = behind(name, next)?;
            }
            function.live = next;
            function.changes = changes.saturating_add(1);
            function.updated_ms = now_ms;
            let version = Version {
                number: next,
                published: new.publish,
                description: None,
                image: new.image,
                image_bytes: new.image_bytes,
                takes_http: new.takes_http,
                settings: new.settings.clone(),
                lambda: new.lambda.clone(),
                snapshot: new.snapshot,
                snapshot_host: new.snapshot_host.clone(),
                created_ms: now_ms,
            };
            tables.put_version(name, &version)?;
            tables.put_function(&function)?;
            Ok(Put { function, version })
        })
    }

    fn publish(
        &self,
        name: &FunctionName,
        publication: &Publication,
        now_ms: u64,
    ) -> Result<Put, RegistryError> {
        self.write(|tables| {
            let function = tables.function(name)?;
            let mut function = function.ok_or_else(|| RegistryError::NoFunction(name.clone()))?;
            let wanted = publication.expected_changes;
            if wanted.is_some_and(|wanted| wanted != function.changes) {
                return Err(RegistryError::Changed(name.clone()));
            }
            let mut version = tables.version(name, function.live)?;
            if !version.published {
                tables.check_room(&function, self.limits.versions_max)?;
                version.published = true;
                version.description.clone_from(&publication.description);
                function.next = behind(name, version.number)?;
                function.updated_ms = now_ms;
                tables.put_version(name, &version)?;
                tables.put_function(&function)?;
            }
            Ok(Put { function, version })
        })
    }

    fn set_live(
        &self,
        name: &FunctionName,
        version: VersionNumber,
        now_ms: u64,
    ) -> Result<Function, RegistryError> {
        self.change(name, now_ms, |function, tables| {
            let version = tables.published(function, version)?.number;
            if function.live == version {
                return Ok(());
            }
            if function.live == function.next {
                tables.remove_version(name, function.live)?;
            }
            function.live = version;
            function.changes = function.changes.saturating_add(1);
            Ok(())
        })
    }

    fn put_alias(
        &self,
        name: &FunctionName,
        alias: &AliasName,
        to: &Alias,
        before: &AliasBefore,
        now_ms: u64,
    ) -> Result<Function, RegistryError> {
        self.change(name, now_ms, |function, tables| {
            match (before, function.aliases.get(alias)) {
                (AliasBefore::Any, _) | (AliasBefore::Absent, None) => {}
                (AliasBefore::Absent, Some(_)) => {
                    return Err(RegistryError::AliasExists(name.clone(), alias.clone()));
                }
                (AliasBefore::Is(wanted), Some(found)) if wanted == found => {}
                (AliasBefore::Is(_), Some(_)) => {
                    return Err(RegistryError::Changed(name.clone()));
                }
                (AliasBefore::Is(_), None) => {
                    return Err(RegistryError::NoAlias(name.clone(), alias.clone()));
                }
            }
            if let AliasTarget::Version(version) = to.version {
                tables.published(function, version)?;
            }
            if let Some((other, _)) = to.other {
                tables.published(function, other)?;
            }
            function.aliases.insert(alias.clone(), to.clone());
            if function.aliases.len() > self.limits.aliases_max {
                let max = self.limits.aliases_max;
                return Err(RegistryError::AliasesFull(name.clone(), max));
            }
            Ok(())
        })
    }

    fn remove_alias(
        &self,
        name: &FunctionName,
        alias: &AliasName,
        now_ms: u64,
    ) -> Result<Function, RegistryError> {
        self.change(name, now_ms, |function, _| {
            function.attached.forget(alias.as_ref());
            match function.aliases.remove(alias) {
                Some(_) => Ok(()),
                None => Err(RegistryError::NoAlias(name.clone(), alias.clone())),
            }
        })
    }

    fn set_reserved_concurrency(
        &self,
        name: &FunctionName,
        limit: Option<u32>,
        now_ms: u64,
    ) -> Result<Function, RegistryError> {
        self.change(name, now_ms, |function, _| {
            function.reserved_concurrency = limit;
            Ok(())
        })
    }

    fn edit(
        &self,
        name: &FunctionName,
        edit: &dyn Fn(&mut Function) -> Result<(), RegistryError>,
        now_ms: u64,
    ) -> Result<Function, RegistryError> {
        self.change(name, now_ms, |function, _| edit(function))
    }

    fn set_snapshot(
        &self,
        name: &FunctionName,
        version: VersionNumber,
        before: Digest,
        snapshot: Digest,
        host: &str,
    ) -> Result<Version, RegistryError> {
        self.write(|tables| {
            let version = tables.version(name, version)?;
            if version.snapshot != before {
                return Err(RegistryError::Changed(name.clone()));
            }
            let version = Version {
                snapshot,
                snapshot_host: host.into(),
                ..version
            };
            tables.put_version(name, &version)?;
            Ok(version)
        })
    }

    fn delete_function(&self, name: &FunctionName) -> Result<(), RegistryError> {
        self.write(|tables| {
            let removed = tables.functions.remove(name.as_ref()).map_err(storage)?;
            if removed.is_none() {
                return Err(RegistryError::NoFunction(name.clone()));
            }
            drop(removed);
            for number in tables.numbers(name)? {
                tables.remove_version(name, number)?;
            }
            Ok(())
        })
    }

    fn delete_version(
        &self,
        name: &FunctionName,
        version: VersionNumber,
        keeps_live: bool,
        now_ms: u64,
    ) -> Result<Function, RegistryError> {
        self.change(name, now_ms, |function, tables| {
            match check_unused(function, version) {
                Err(RegistryError::Live { .. }) if keeps_live => {
                    let mut live = tables.published(function, version)?;
                    check_unaliased(function, version)?;
                    live.number = function.next;
                    live.published = false;
                    live.description = None;
                    function.live = live.number;
                    tables.put_version(name, &live)?;
                }
                checked => checked?,
            }
            function.attached.forget(&version.to_string());
            tables.remove_version(name, version)
        })
    }

    fn function(&self, name: &FunctionName) -> Result<Function, RegistryError> {
        self.read(|transaction| {
            let table = transaction.open_table(FUNCTIONS).map_err(storage)?;
            let record = table.get(name.as_ref()).map_err(storage)?;
            let record = record.ok_or_else(|| RegistryError::NoFunction(name.clone()))?;
            decode(record.value(), name.as_ref())
        })
    }

    fn functions(
        &self,
        after: Option<&FunctionName>,
        limit: usize,
    ) -> Result<Vec<Function>, RegistryError> {
        self.read(|transaction| {
            let table = transaction.open_table(FUNCTIONS).map_err(storage)?;
            let start = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_ref()));
            let range: (Bound<&str>, Bound<&str>) = (start, Bound::Unbounded);
            let entries = table.range::<&str>(range).map_err(storage)?.take(limit);
            entries
                .map(|entry| {
                    let (name, record) = entry.map_err(storage)?;
                    decode(record.value(), name.value())
                })
                .collect()
        })
    }

    fn version(
        &self,
        name: &FunctionName,
        version: VersionNumber,
    ) -> Result<Version, RegistryError> {
        self.read(|transaction| {
            let table = transaction.open_table(VERSIONS).map_err(storage)?;
            let record = table.get(key(name, version)).map_err(storage)?;
            let record = record.ok_or_else(|| RegistryError::NoVersion(name.clone(), version))?;
            decode(record.value(), name.as_ref())
        })
    }

    fn versions(
        &self,
        name: &FunctionName,
        after: Option<VersionNumber>,
        limit: usize,
    ) -> Result<Vec<Version>, RegistryError> {
        self.read(|transaction| {
            let table = transaction.open_table(VERSIONS).map_err(storage)?;
            let start = (name.as_ref(), after.map_or(0, |after| after.0.get()));
            let end = Bound::Included((name.as_ref(), u64::MAX));
            let range = (Bound::Excluded(start), end);
            let entries = table.range::<(&str, u64)>(range).map_err(storage)?;
            entries
                .take(limit)
                .map(|entry| decode(entry.map_err(storage)?.1.value(), name.as_ref()))
                .collect()
        })
    }
}

fn unusable(path: &Path, error: io::Error) -> RegistryError {
    RegistryError::Storage {
        path: path.to_owned(),
        source: Box::new(error),
    }
}

/// Environments of functions are in it, and may hold secrets: older releases made it readable for everybody.
fn close_to_others(path: &Path) -> io::Result<()> {
    let permissions = fs::metadata(path)?.permissions();
    if permissions.mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(FILE_MODE))
}

/// Makes an empty registry. It gets its name when it is complete, because `redb` does not open a file whose
/// maker was killed half-way.
fn create(path: &Path, limits: RegistryLimits) -> Result<(), RegistryError> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.map_err(|error| unusable(&temporary, error))?,
    }
    let file = temporary.clone();
    let create = move || {
        // With its mode from the first moment, which `redb` does not set.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&file)
            .map_err(|error| DatabaseError::Storage(StorageError::Io(error)))?;
        Database::builder().create_file(file)
    };
    drop(RedbRegistry::with_open(
        &temporary,
        Box::new(create),
        limits,
    )?);
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let named = fs::rename(&temporary, path);
    named
        .and_then(|()| File::open(parent)?.sync_all())
        .map_err(|error| unusable(path, error))
}
