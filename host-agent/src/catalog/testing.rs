//! Entries and files of earlier releases, for tests here and elsewhere.

use std::path::Path;

use redb::{Database, TableDefinition};

use super::*;

/// A function with a live version, both of this generation.
pub(crate) fn entry(function: &str, generation: u64) -> Entry {
    let mut entry = Entry::new(function.parse().expect("name"), 0);
    let new = NewVersion {
        image: jiffy_snapshots::Digest::of(b"image"),
        image_bytes: 1,
        takes_http: false,
        settings: Default::default(),
        lambda: Default::default(),
        publish: true,
        expected_next: VersionNumber::FIRST,
        expected_changes: None,
    };
    let put = entry.put_version(&new, Limits::default(), 0);
    put.expect("a version");
    entry.function.generation = Generation(generation);
    for version in entry.versions.values_mut() {
        Arc::make_mut(version).generation = Generation(generation);
    }
    entry
}

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const FUNCTIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("functions");
const VERSIONS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("versions");

/// A registry as earlier releases wrote it.
pub(crate) fn write_registry(path: &Path, format: u64, function: &str, versions: &[&str]) {
    let database = Database::create(path).expect("file");
    let transaction = database.begin_write().expect("transaction");
    {
        let mut meta = transaction.open_table(META).expect("meta");
        meta.insert("format", format).expect("format");
        let mut functions = transaction.open_table(FUNCTIONS).expect("functions");
        functions
            .insert("f", function.as_bytes())
            .expect("function");
        let mut table = transaction.open_table(VERSIONS).expect("versions");
        for (number, version) in (1..).zip(versions) {
            table
                .insert(("f", number), version.as_bytes())
                .expect("version");
        }
    }
    transaction.commit().expect("commit");
}
