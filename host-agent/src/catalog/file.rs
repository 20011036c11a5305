//! The registry in one file, with `redb`.
//!
//! ```text
//! meta       "format"         -> 3
//!            "generation"     -> of the last change
//!            "deleted"        -> of the last deletion: who has seen less asks for everything
//! functions  name             -> Function, JSON
//! versions   (name, number)   -> Version, JSON
//! ```
//!
//! Records are JSON, so that a release can add fields that the one before lacks. Formats 1 and 2 had no generations, and the
//! snapshots of a host among its versions: they are taken over when the file is opened, and their snapshots are made again.
//! What the file was before is kept beside it, as `registry-format-2`: the release that wrote it can have it back.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiffy_tables::TableFile;
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;

use super::{
    Entry,
    registry::{Change, Changes, Registry, RegistryError, Update},
};
use crate::model::{Function, FunctionId, Generation, Version, VersionNumber};

const FORMAT: u64 = 3;
/// Formats that are taken over.
const FORMATS_BEFORE: [u64; 2] = [1, 2];
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const FUNCTIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("functions");
const VERSIONS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("versions");
const FORMAT_KEY: &str = "format";
const GENERATION_KEY: &str = "generation";
const DELETED_KEY: &str = "deleted";

/// A registry in one file.
#[derive(Debug)]
pub struct RedbRegistry {
    file: TableFile,
    last: watch::Sender<Generation>,
}

impl RedbRegistry {
    /// Opens the registry in `path`, or makes it. One process at a time can have it.
    pub fn open(path: &Path) -> Result<Self, RegistryError> {
        Self::new(TableFile::open(path)?)
    }

    /// The registry that `open` opens, which messages call `path`.
    #[cfg(test)]
    pub(super) fn with_open(path: &Path, open: jiffy_tables::Open) -> Result<Self, RegistryError> {
        Self::new(TableFile::with_open(path, open)?)
    }

    fn new(file: TableFile) -> Result<Self, RegistryError> {
        let generation = file.write(|transaction| {
            let mut tables = Tables::open(transaction)?;
            match tables.meta(FORMAT_KEY)? {
                Some(FORMAT) => {}
                Some(before) if FORMATS_BEFORE.contains(&before) => {
                    let kept = kept_path(file.path(), before);
                    if let Err(error) = tables.take_over(file.path(), &kept)? {
                        return Ok(Err(error));
                    }
                    tracing::info!(
                        format = before,
                        kept = %kept.display(),
                        "took over the registry of an earlier release, and kept it as it was"
                    );
                }
                Some(found) => {
                    let known = FORMAT;
                    return Ok(Err(RegistryError::Format { found, known }));
                }
                None => tables.set_meta(FORMAT_KEY, FORMAT)?,
            }
            Ok(Ok(tables.generation()?))
        })?;
        let last = watch::Sender::new(generation);
        Ok(Self { file, last })
    }
}

impl Registry for RedbRegistry {
    fn apply(&self, change: Change) -> Result<(Generation, Update), RegistryError> {
        let Change { name, from, mut to } = change;
        let generation = self.file.write(|transaction| {
            let mut tables = Tables::open(transaction)?;
            let found = match tables.function(&name)? {
                Ok(found) => found.map_or(Generation::NONE, |function| function.generation),
                Err(error) => return Ok(Err(error)),
            };
            if found != from {
                return Ok(Err(RegistryError::Changed(name.clone())));
            }
            let generation = Generation(tables.generation()?.0 + 1);
            tables.set_meta(GENERATION_KEY, generation.0)?;
            let stays = |number: u64| {
                let mut numbers = to.iter().flat_map(|entry| entry.versions.keys());
                numbers.any(|kept| kept.0.get() == number)
            };
            let range = (name.as_ref(), 0)..=(name.as_ref(), u64::MAX);
            tables
                .versions
                .retain_in(range, |(_, number), _| stays(number))?;
            match &mut to {
                Some(entry) => tables.put(entry, generation)?,
                None => {
                    tables.functions.remove(name.as_ref())?;
                    tables.set_meta(DELETED_KEY, generation.0)?;
                }
            }
            Ok(Ok(generation))
        })?;
        self.last.send_replace(generation);
        let entry = to.map(Arc::new);
        Ok((generation, Update { name, entry }))
    }

    fn changes(&self, after: Generation) -> Result<Changes, RegistryError> {
        self.file.read(|transaction| {
            let meta = transaction.open_table(META)?;
            let of = |key| Ok::<_, redb::Error>(meta.get(key)?.map_or(0, |value| value.value()));
            let (generation, deleted) = (Generation(of(GENERATION_KEY)?), of(DELETED_KEY)?);
            let is_all = after.0 < deleted.max(1);
            let mut updates = vec![];
            if generation > after {
                let functions = transaction.open_table(FUNCTIONS)?;
                let versions = transaction.open_table(VERSIONS)?;
                for record in functions.iter()? {
                    let (name, record) = record?;
                    let Some(function) = decode::<Function>(record.value()) else {
                        return Ok(Err(RegistryError::Damaged(name.value().into())));
                    };
                    if !is_all && function.generation <= after {
                        continue;
                    }
                    match read_entry(function, &versions)? {
                        Ok(entry) => updates.push(Update {
                            name: entry.function.name.clone(),
                            entry: Some(Arc::new(entry)),
                        }),
                        Err(error) => return Ok(Err(error)),
                    }
                }
            }
            Ok(Ok(Changes {
                generation,
                is_all,
                updates,
            }))
        })
    }

    fn watch(&self) -> watch::Receiver<Generation> {
        self.last.subscribe()
    }
}

/// The tables of a transaction that writes.
struct Tables<'a> {
    meta: Table<'a, &'static str, u64>,
    functions: Table<'a, &'static str, &'static [u8]>,
    versions: Table<'a, (&'static str, u64), &'static [u8]>,
}

impl<'a> Tables<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            functions: transaction.open_table(FUNCTIONS)?,
            versions: transaction.open_table(VERSIONS)?,
        })
    }

    fn meta(&self, key: &str) -> Result<Option<u64>, redb::Error> {
        Ok(self.meta.get(key)?.map(|value| value.value()))
    }

    fn set_meta(&mut self, key: &str, value: u64) -> Result<(), redb::Error> {
        self.meta.insert(key, value)?;
        Ok(())
    }

    fn generation(&self) -> Result<Generation, redb::Error> {
        Ok(Generation(self.meta(GENERATION_KEY)?.unwrap_or(0)))
    }

    fn function(
        &self,
        name: &FunctionId,
    ) -> Result<Result<Option<Function>, RegistryError>, redb::Error> {
        let Some(record) = self.functions.get(name.as_ref())? else {
            return Ok(Ok(None));
        };
        let function = decode(record.value()).map(Some);
        Ok(function.ok_or_else(|| RegistryError::Damaged(name.to_string())))
    }

    /// Writes the function and its versions that have no generation yet, all with this one.
    fn put(&mut self, entry: &mut Entry, generation: Generation) -> Result<(), redb::Error> {
        let Entry { function, versions } = entry;
        function.generation = generation;
        let name = function.name.as_ref();
        for (number, version) in versions {
            if version.generation != Generation::NONE {
                continue;
            }
            Arc::make_mut(version).generation = generation;
            let record = encode(&**version)?;
            self.versions.insert((name, number.0.get()), &*record)?;
        }
        self.functions.insert(name, &*encode(function)?)?;
        Ok(())
    }

    /// Gives all records of an earlier format a generation, and what else they lack. If each can be read, the file at `path`, of
    /// which nothing is changed yet, is copied to `kept` first.
    fn take_over(
        &mut self,
        path: &Path,
        kept: &Path,
    ) -> Result<Result<(), RegistryError>, redb::Error> {
        let mut entries = vec![];
        for record in self.functions.iter()? {
            let (name, record) = record?;
            let Some(function) = decode::<Function>(record.value()) else {
                return Ok(Err(RegistryError::Damaged(name.value().into())));
            };
            match read_entry(function, &self.versions)? {
                Ok(entry) => entries.push(entry),
                Err(error) => return Ok(Err(error)),
            }
        }
        if let Err(source) = keep(path, kept) {
            let path = kept.to_owned();
            return Ok(Err(RegistryError::Keep { path, source }));
        }
        for (generation, entry) in (1..).map(Generation).zip(&mut entries) {
            self.put(entry, generation)?;
            self.set_meta(GENERATION_KEY, generation.0)?;
        }
        self.set_meta(FORMAT_KEY, FORMAT)?;
        Ok(Ok(()))
    }
}

/// Where the registry at `path` is kept as it was in an earlier format.
fn kept_path(path: &Path, format: u64) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!("-format-{format}"));
    path.with_file_name(name)
}

/// Copies a file, with its mode; the copy has its name when it is whole, and is durable when this returns.
fn keep(path: &Path, kept: &Path) -> io::Result<()> {
    let mut name = OsString::from(".jiffy-new-");
    name.push(kept.file_name().unwrap_or_default());
    let temporary = kept.with_file_name(name);
    let copied = fs::copy(path, &temporary)
        .and_then(|_| File::open(&temporary)?.sync_all())
        .and_then(|()| fs::rename(&temporary, kept));
    if let Err(error) = copied {
        // What is left of it only takes room, and the next start writes over it.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    let parent = kept
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn read_entry(
    function: Function,
    table: &impl ReadableTable<(&'static str, u64), &'static [u8]>,
) -> Result<Result<Entry, RegistryError>, redb::Error> {
    let mut versions = std::collections::BTreeMap::<VersionNumber, Arc<Version>>::new();
    let name = function.name.as_ref();
    for record in table.range((name, 0)..=(name, u64::MAX))? {
        let Some(version) = decode::<Version>(record?.1.value()) else {
            return Ok(Err(RegistryError::Damaged(name.into())));
        };
        versions.insert(version.number, Arc::new(version));
    }
    Ok(Ok(Entry { function, versions }))
}

fn encode(record: &impl Serialize) -> Result<Vec<u8>, redb::Error> {
    // Only a mistake of ours: the records have no keys but texts and numbers.
    serde_json::to_vec(record).map_err(|error| redb::Error::Io(error.into()))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}
