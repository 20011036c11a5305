//! Which snapshot this host has for which version: what it was made from, and with what.
//!
//! ```text
//! prepared  key -> snapshot, host      JSON; a key is a digest of all that a snapshot depends on but for the host
//! ```
//!
//! A version on which every host agrees names no snapshot: each host makes its own, and knows it here. What is lost here costs
//! building it again and nothing else, so a file that cannot be read is made anew.
//! Not here: snapshots themselves (`jiffy_snapshots::Store`).

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::Path,
};

use jiffy_snapshots::Digest;
use jiffy_tables::{TableFile, TableFileError};
use parking_lot::Mutex;
use redb::{ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::model::{FunctionId, Settings};

const PREPARED: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("prepared");

/// What a snapshot depends on but for the host: the image, and of the settings what `init` can see. Versions of one function
/// that agree on it have one snapshot. Those of two functions never do: what one owner deploys changes nothing of another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(Digest);

impl Key {
    pub(crate) fn new(function: &FunctionId, image: &Digest, settings: &Settings) -> Self {
        let mut text = format!("{function}\0{image}\0{}\0", settings.memory_bytes);
        for (name, value) in &settings.environment {
            // Neither may contain a zero.
            text.extend([name.as_str(), "=", value, "\0"]);
        }
        Self(Digest::of(text.as_bytes()))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    snapshot: Digest,
    host: String,
}

/// What this host has.
#[derive(Debug)]
pub(super) struct Known {
    file: TableFile,
    host: String,
    records: Mutex<HashMap<Key, Record>>,
}

impl Known {
    /// Reads what is known at `path`, for the host with this identity.
    pub(super) fn open(path: &Path, host: String) -> Result<Self, TableFileError> {
        let opened = TableFile::open(path).and_then(|file| Ok((read(&file)?, file)));
        let (records, file) = match opened {
            Ok(opened) => opened,
            Err(error) if !is_damage(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "what is known of snapshots is lost: building them again");
                // If it cannot be removed, it cannot be opened anew either, and that says why.
                drop(fs::remove_file(path));
                (HashMap::new(), TableFile::open(path)?)
            }
        };
        Ok(Self {
            file,
            host,
            records: Mutex::new(records),
        })
    }

    /// The snapshot of this host.
    pub(super) fn get(&self, key: &Key) -> Option<Digest> {
        let records = self.records.lock();
        let record = records.get(key).filter(|record| record.host == self.host);
        record.map(|record| record.snapshot)
    }

    /// Has a snapshot known from now on, durable when this returns.
    pub(super) fn set(&self, key: Key, snapshot: Digest) -> Result<(), TableFileError> {
        let host = self.host.clone();
        let record = Record { snapshot, host };
        self.file.write::<_, TableFileError>(|transaction| {
            let text = serde_json::to_vec(&record).unwrap_or_default();
            transaction.open_table(PREPARED)?.insert(key.0.0, &*text)?;
            Ok(Ok(()))
        })?;
        self.records.lock().insert(key, record);
        Ok(())
    }

    /// Forgets what `keeps` refuses. If that cannot be made durable, it is known again after a restart.
    pub(super) fn retain(
        &self,
        keeps: impl Fn(&Key, &Digest) -> bool,
    ) -> Result<(), TableFileError> {
        let mut gone = HashSet::new();
        self.records.lock().retain(|key, record| {
            let is_kept = keeps(key, &record.snapshot);
            if !is_kept {
                gone.insert(key.0.0);
            }
            is_kept
        });
        if gone.is_empty() {
            return Ok(());
        }
        self.file.write(|transaction| {
            let mut table = transaction.open_table(PREPARED)?;
            table.retain(|key, _| !gone.contains(&key))?;
            Ok(Ok(()))
        })
    }

    /// All snapshots that are known, those of other hosts too.
    pub(super) fn snapshots(&self) -> HashSet<Digest> {
        let records = self.records.lock();
        records.values().map(|record| record.snapshot).collect()
    }
}

fn read(file: &TableFile) -> Result<HashMap<Key, Record>, TableFileError> {
    file.write(|transaction| {
        let table = transaction.open_table(PREPARED)?;
        let mut records = HashMap::new();
        for record in table.iter()? {
            let (key, text) = record?;
            // What is damaged is not known.
            if let Ok(record) = serde_json::from_slice(text.value()) {
                records.insert(Key(Digest(key.value())), record);
            }
        }
        Ok(Ok(records))
    })
}

/// Whether the file has not what a file of tables has, and the disk is well.
fn is_damage(error: &TableFileError) -> bool {
    let TableFileError::Storage { source, .. } = error else {
        return false;
    };
    let damaged = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];
    source
        .downcast_ref::<io::Error>()
        .is_none_or(|error| damaged.contains(&error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(function: &str, change: impl Fn(&mut Settings)) -> Key {
        let mut settings = Settings::default();
        change(&mut settings);
        let function = function.parse().expect("name");
        Key::new(&function, &Digest::of(b"image"), &settings)
    }

    #[test]
    fn a_key_is_what_init_can_see() {
        let plain = key("f", |_| {});
        // What a VM is told of, and who pays for it, is no part of a snapshot.
        let other = key("f", |settings| {
            settings.timeout_ms = 1;
            settings.max_concurrency = 1;
            settings.description = "d".into();
        });
        assert_eq!(plain, other);
        let set = |text: &'static [(&str, &str)]| {
            key("f", move |settings| {
                let text = text
                    .iter()
                    .map(|(name, value)| ((*name).into(), (*value).into()));
                settings.environment = text.collect();
            })
        };
        let different = [
            plain,
            key("g", |_| {}),
            key("f", |settings| settings.memory_bytes *= 2),
            set(&[("A", "")]),
            set(&[("A", "B=C")]),
            set(&[("A", ""), ("B", "C")]),
            set(&[("B", "C")]),
        ];
        let distinct: HashSet<_> = different.iter().collect();
        assert_eq!(distinct.len(), different.len());
    }

    #[test]
    fn what_is_known_is_known_again_on_the_same_host() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("prepared");
        let open = |host: &str| Known::open(&path, host.into()).expect("opens");
        let (f, g) = (key("f", |_| {}), key("g", |_| {}));
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let known = open("host");
        assert_eq!(known.get(&f), None);
        known.set(f, one).expect("set");
        known.set(g, two).expect("set");
        assert_eq!(known.get(&f), Some(one));
        drop(known);
        assert_eq!(open("other").get(&f), None);
        let known = open("host");
        assert_eq!(known.get(&f), Some(one));
        assert_eq!(known.snapshots(), HashSet::from([one, two]));
        known.retain(|key, _| *key == g).expect("retained");
        drop(known);
        let known = open("host");
        assert_eq!((known.get(&f), known.get(&g)), (None, Some(two)));
        drop(known);
        // Nothing but time is lost with it.
        fs::write(&path, b"not a file of tables").expect("write");
        assert_eq!(open("host").get(&g), None);
        open("host").set(g, two).expect("set");
        assert_eq!(open("host").get(&g), Some(two));
    }
}
