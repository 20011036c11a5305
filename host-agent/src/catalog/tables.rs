//! The tables of a transaction that writes, and the rules that hold between their records.
//! Not here: transactions (`file`), the bytes of a record (`records`).

use std::{error::Error, path::PathBuf};

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::{
    RegistryError,
    records::{decode, encode},
};
use crate::model::{Function, FunctionName, Version, VersionNumber};

pub(super) const FORMAT: u64 = 2;
const FORMAT_BEFORE: u64 = 1;
const FORMAT_KEY: &str = "format";
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const FUNCTIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("functions");
pub(super) const VERSIONS: TableDefinition<'_, (&str, u64), &[u8]> =
    TableDefinition::new("versions");

/// The tables of a transaction that writes.
pub(super) struct Tables<'a> {
    pub(super) format: u64,
    pub(super) functions: Table<'a, &'static str, &'static [u8]>,
    versions: Table<'a, (&'static str, u64), &'static [u8]>,
}

impl<'a> Tables<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, RegistryError> {
        let mut meta = transaction.open_table(META).map_err(storage)?;
        let format = meta.get(FORMAT_KEY).map_err(storage)?;
        let format = match format.map(|format| format.value()) {
            Some(format) if format != FORMAT_BEFORE => format,
            _ => {
                meta.insert(FORMAT_KEY, FORMAT).map_err(storage)?;
                FORMAT
            }
        };
        Ok(Self {
            format,
            functions: transaction.open_table(FUNCTIONS).map_err(storage)?,
            versions: transaction.open_table(VERSIONS).map_err(storage)?,
        })
    }

    pub(super) fn function(&self, name: &FunctionName) -> Result<Option<Function>, RegistryError> {
        let record = self.functions.get(name.as_ref()).map_err(storage)?;
        record
            .map(|record| decode(record.value(), name.as_ref()))
            .transpose()
    }

    pub(super) fn put_function(&mut self, function: &Function) -> Result<(), RegistryError> {
        let name = function.name.as_ref();
        let record = encode(function, name)?;
        self.functions
            .insert(name, record.as_slice())
            .map_err(storage)?;
        Ok(())
    }

    pub(super) fn version(
        &self,
        name: &FunctionName,
        number: VersionNumber,
    ) -> Result<Version, RegistryError> {
        let record = self.versions.get(key(name, number)).map_err(storage)?;
        let record = record.ok_or_else(|| RegistryError::NoVersion(name.clone(), number))?;
        decode(record.value(), name.as_ref())
    }

    pub(super) fn put_version(
        &mut self,
        name: &FunctionName,
        version: &Version,
    ) -> Result<(), RegistryError> {
        let record = encode(version, name.as_ref())?;
        self.versions
            .insert(key(name, version.number), record.as_slice())
            .map_err(storage)?;
        Ok(())
    }

    pub(super) fn remove_version(
        &mut self,
        name: &FunctionName,
        number: VersionNumber,
    ) -> Result<(), RegistryError> {
        let removed = self.versions.remove(key(name, number)).map_err(storage)?;
        match removed {
            Some(_) => Ok(()),
            None => Err(RegistryError::NoVersion(name.clone(), number)),
        }
    }

    pub(super) fn numbers(&self, name: &FunctionName) -> Result<Vec<VersionNumber>, RegistryError> {
        let range = (name.as_ref(), 0)..=(name.as_ref(), u64::MAX);
        let entries = self.versions.range(range).map_err(storage)?;
        entries
            .map(|entry| number(entry.map_err(storage)?.0.value()))
            .collect()
    }

    /// Refuses to publish one more version than there may be.
    pub(super) fn check_room(
        &self,
        function: &Function,
        versions_max: u64,
    ) -> Result<(), RegistryError> {
        let numbers = self.numbers(&function.name)?;
        let published = numbers.into_iter().filter(|number| *number < function.next);
        let published: Vec<_> = published.collect();
        if (published.len() as u64) < versions_max {
            return Ok(());
        }
        let mut unused = published.into_iter();
        Err(RegistryError::VersionsFull {
            function: function.name.clone(),
            versions_max,
            oldest_unused: unused.find(|number| check_unused(function, *number).is_ok()),
        })
    }

    /// A published version.
    pub(super) fn published(
        &self,
        function: &Function,
        number: VersionNumber,
    ) -> Result<Version, RegistryError> {
        let version = self.version(&function.name, number)?;
        match version.published {
            true => Ok(version),
            false => Err(RegistryError::NoVersion(function.name.clone(), number)),
        }
    }
}

/// Refuses a version that requests may be sent to without naming it.
pub(super) fn check_unused(
    function: &Function,
    version: VersionNumber,
) -> Result<(), RegistryError> {
    if function.live == version {
        return Err(RegistryError::Live {
            function: function.name.clone(),
            version,
        });
    }
    check_unaliased(function, version)
}

pub(super) fn check_unaliased(
    function: &Function,
    version: VersionNumber,
) -> Result<(), RegistryError> {
    match function.aliases.iter().find(|(_, to)| to.names(version)) {
        Some((alias, _)) => Err(RegistryError::Aliased {
            function: function.name.clone(),
            version,
            alias: alias.clone(),
        }),
        None => Ok(()),
    }
}

/// The number behind `number`.
pub(super) fn behind(
    name: &FunctionName,
    number: VersionNumber,
) -> Result<VersionNumber, RegistryError> {
    let behind = number.0.checked_add(1).map(VersionNumber);
    behind.ok_or_else(|| RegistryError::Changed(name.clone()))
}

pub(super) fn key(name: &FunctionName, number: VersionNumber) -> (&str, u64) {
    (name.as_ref(), number.0.get())
}

fn number((name, number): (&str, u64)) -> Result<VersionNumber, RegistryError> {
    let number = number.try_into().map(VersionNumber);
    number.map_err(|_| RegistryError::Damaged(name.into()))
}

/// An error of `redb`; the registry adds its path.
pub(super) fn storage(error: impl Into<redb::Error>) -> RegistryError {
    let source: Box<dyn Error + Send + Sync> = match error.into() {
        redb::Error::Io(error) => Box::new(error),
        error => Box::new(error),
    };
    RegistryError::Storage {
        path: PathBuf::new(),
        source,
    }
}
