//! What is in the file.
//!
//! ```text
//! meta      "format"            -> 1
//!           "version"           -> the last that was given
//!           "store"             -> the last number of a store
//! stores    tenant/name         -> number
//! sums      number              -> entries, bytes
//! entries   (number, key)       -> version u64, expiry u64 (0: never), bytes of value u32, bytes of metadata u16, metadata, value if small
//! values    (number, key)       -> a value that is not small, so that a list does not read it
//! expiry    (ms, number, key)   -> ()
//! removed   number              -> (): a store that is gone and whose entries are not all collected
//! ```

use std::ops::Bound;

use jiffy_model::TenantName;
use jiffy_tables::TableFile;
use redb::{
    Error, ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, WriteTransaction,
};

use crate::{ENTRY_OVERHEAD_BYTES, Entry, KvError, ListOptions, Listed, Page, StoreId, StoreInfo};

const FORMAT: u64 = 1;
/// A value of so many bytes lies with its entry.
const SMALL_BYTES_MAX: usize = 1 << 10;
/// Entries that one part of a list looks at, those that have expired among them.
const SCAN_MAX: usize = 4000;

type Key<'a> = (u64, &'a str);
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const STORES: TableDefinition<'_, &str, u64> = TableDefinition::new("stores");
const SUMS: TableDefinition<'_, u64, (u64, u64)> = TableDefinition::new("sums");
const ENTRIES: TableDefinition<'_, Key<'_>, &[u8]> = TableDefinition::new("entries");
const VALUES: TableDefinition<'_, Key<'_>, &[u8]> = TableDefinition::new("values");
const EXPIRY: TableDefinition<'_, (u64, u64, &str), ()> = TableDefinition::new("expiry");
const REMOVED: TableDefinition<'_, u64, ()> = TableDefinition::new("removed");

/// Makes the tables of a file that has none.
pub(crate) fn prepare(file: &TableFile) -> Result<(), KvError> {
    file.write(|transaction| {
        let mut meta = transaction.open_table(META)?;
        let found = meta.get("format")?.map(|format| format.value());
        match found {
            Some(FORMAT) => {}
            Some(found) => {
                let known = FORMAT;
                return Ok(Err(KvError::Format { found, known }));
            }
            None => drop(meta.insert("format", FORMAT)?),
        }
        drop(meta);
        Tables::open(transaction)?;
        Ok(Ok(()))
    })
}

/// An entry as it lies in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) version: u64,
    expires_ms: u64,
    value_bytes: u32,
    metadata: &'a str,
    /// Empty if the value lies elsewhere.
    value: &'a [u8],
}

impl<'a> Record<'a> {
    pub(crate) fn new(
        version: u64,
        expires_ms: Option<u64>,
        metadata: &'a str,
        value: &'a [u8],
    ) -> Self {
        Self {
            version,
            expires_ms: expires_ms.unwrap_or(0),
            // Lengths were checked.
            value_bytes: u32::try_from(value.len()).unwrap_or(u32::MAX),
            metadata,
            value,
        }
    }

    fn is_small(&self) -> bool {
        self.value_bytes as usize <= SMALL_BYTES_MAX
    }

    fn encode(&self) -> Vec<u8> {
        let metadata_bytes = u16::try_from(self.metadata.len()).unwrap_or(u16::MAX);
        let mut bytes = Vec::with_capacity(32 + self.metadata.len() + SMALL_BYTES_MAX);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&self.expires_ms.to_le_bytes());
        bytes.extend_from_slice(&self.value_bytes.to_le_bytes());
        bytes.extend_from_slice(&metadata_bytes.to_le_bytes());
        bytes.extend_from_slice(self.metadata.as_bytes());
        if self.is_small() {
            bytes.extend_from_slice(self.value);
        }
        bytes
    }

    fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        let read = || {
            let (version, rest) = bytes.split_first_chunk()?;
            let (expires_ms, rest) = rest.split_first_chunk()?;
            let (value_bytes, rest) = rest.split_first_chunk()?;
            let (metadata_bytes, rest) = rest.split_first_chunk()?;
            let metadata_bytes = usize::from(u16::from_le_bytes(*metadata_bytes));
            let (metadata, value) = rest.split_at_checked(metadata_bytes)?;
            Some(Self {
                version: u64::from_le_bytes(*version),
                expires_ms: u64::from_le_bytes(*expires_ms),
                value_bytes: u32::from_le_bytes(*value_bytes),
                metadata: str::from_utf8(metadata).ok()?,
                value,
            })
        };
        read().ok_or_else(|| Error::Corrupted("an entry of a store is malformed".into()))
    }

    fn expires_ms(&self) -> Option<u64> {
        (self.expires_ms > 0).then_some(self.expires_ms)
    }

    fn is_there(&self, now_ms: u64) -> bool {
        self.expires_ms()
            .is_none_or(|expires_ms| now_ms < expires_ms)
    }

    /// What it counts for its store.
    pub(crate) fn cost_bytes(&self, key: &str) -> u64 {
        (key.len() + self.metadata.len()) as u64
            + u64::from(self.value_bytes)
            + ENTRY_OVERHEAD_BYTES
    }
}

/// The last version that was given.
pub(crate) fn last_version(file: &TableFile) -> Result<u64, KvError> {
    file.read(|transaction| {
        let meta = transaction.open_table(META)?;
        Ok(Ok(meta.get("version")?.map_or(0, |last| last.value())))
    })
}

/// When the first of all entries expires; whether there is something of removed stores.
pub(crate) fn next_garbage(file: &TableFile) -> Result<(Option<u64>, bool), KvError> {
    file.read(|transaction| {
        let expiry = transaction.open_table(EXPIRY)?;
        let next_ms = expiry.first()?.map(|(key, _)| key.value().0);
        let removed = transaction.open_table(REMOVED)?;
        Ok(Ok((next_ms, !removed.is_empty()?)))
    })
}

pub(crate) fn stores(
    transaction: &ReadTransaction,
    tenant: &TenantName,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<StoreInfo>, Error> {
    let table = transaction.open_table(STORES)?;
    let sums = transaction.open_table(SUMS)?;
    let prefix = format!("{tenant}/");
    let after = format!("{prefix}{}", after.unwrap_or_default());
    let mut stores = vec![];
    for store in table.range::<&str>((Bound::Excluded(&*after), Bound::Unbounded))? {
        let (id, store) = store?;
        let Some(name) = id
            .value()
            .strip_prefix(&prefix)
            .filter(|_| stores.len() < limit)
        else {
            break;
        };
        let sums = sums.get(store.value())?;
        let (entries, bytes) = sums.map_or((0, 0), |sums| sums.value());
        stores.push(StoreInfo {
            name: name.to_owned(),
            entries,
            bytes,
        });
    }
    Ok(stores)
}

/// A store to read from.
pub(crate) struct Reader {
    store: u64,
    entries: ReadOnlyTable<Key<'static>, &'static [u8]>,
    values: ReadOnlyTable<Key<'static>, &'static [u8]>,
}

impl Reader {
    /// The store; `None` if nothing was ever written to it.
    pub(crate) fn open(transaction: &ReadTransaction, id: &StoreId) -> Result<Option<Self>, Error> {
        let stores = transaction.open_table(STORES)?;
        let Some(store) = stores.get(id.text())? else {
            return Ok(None);
        };
        Ok(Some(Self {
            store: store.value(),
            entries: transaction.open_table(ENTRIES)?,
            values: transaction.open_table(VALUES)?,
        }))
    }

    pub(crate) fn get(&self, key: &str, now_ms: u64) -> Result<Option<Entry>, Error> {
        let Some(found) = self.entries.get((self.store, key))? else {
            return Ok(None);
        };
        let record = Record::decode(found.value())?;
        if !record.is_there(now_ms) {
            return Ok(None);
        }
        let value = if record.is_small() {
            record.value.to_vec()
        } else {
            let value = self.values.get((self.store, key))?;
            let value = value.map(|value| value.value().to_vec());
            value.ok_or_else(|| Error::Corrupted("a value of a store is missing".into()))?
        };
        Ok(Some(Entry {
            version: record.version,
            value,
            metadata: record.metadata.into(),
            expires_ms: record.expires_ms(),
        }))
    }

    pub(crate) fn list(&self, options: ListOptions<'_>, now_ms: u64) -> Result<Page, Error> {
        let ListOptions {
            prefix,
            cursor,
            limit,
        } = options;
        let start = match cursor {
            Some(cursor) if cursor >= prefix => Bound::Excluded((self.store, cursor)),
            _ => Bound::Included((self.store, prefix)),
        };
        let mut page = Page::default();
        let range = self.entries.range::<Key<'_>>((start, Bound::Unbounded))?;
        for (seen, entry) in range.enumerate() {
            let (key, bytes) = entry?;
            let (store, key) = key.value();
            if store != self.store || !key.starts_with(prefix) {
                return Ok(page);
            }
            let record = Record::decode(bytes.value())?;
            if record.is_there(now_ms) {
                page.entries.push(Listed {
                    key: key.into(),
                    version: record.version,
                    value_bytes: record.value_bytes,
                    metadata: record.metadata.into(),
                    expires_ms: record.expires_ms(),
                });
            }
            if page.entries.len() == limit || seen + 1 == SCAN_MAX {
                page.next = Some(key.into());
                break;
            }
        }
        Ok(page)
    }
}

/// What a store has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) store: u64,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// All tables, to be changed.
pub(crate) struct Tables<'a> {
    meta: Table<'a, &'static str, u64>,
    stores: Table<'a, &'static str, u64>,
    sums: Table<'a, u64, (u64, u64)>,
    entries: Table<'a, Key<'static>, &'static [u8]>,
    values: Table<'a, Key<'static>, &'static [u8]>,
    expiry: Table<'a, (u64, u64, &'static str), ()>,
    removed: Table<'a, u64, ()>,
}

impl<'a> Tables<'a> {
    pub(crate) fn open(transaction: &'a WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            stores: transaction.open_table(STORES)?,
            sums: transaction.open_table(SUMS)?,
            entries: transaction.open_table(ENTRIES)?,
            values: transaction.open_table(VALUES)?,
            expiry: transaction.open_table(EXPIRY)?,
            removed: transaction.open_table(REMOVED)?,
        })
    }

    /// One more than the last of `what`.
    fn next(&mut self, what: &'static str) -> Result<u64, Error> {
        let last = self.meta.get(what)?.map_or(0, |last| last.value());
        let next = last.saturating_add(1);
        self.meta.insert(what, next)?;
        Ok(next)
    }

    pub(crate) fn next_version(&mut self) -> Result<u64, Error> {
        self.next("version")
    }

    pub(crate) fn store_count(&self) -> Result<u64, Error> {
        Ok(self.stores.len()?)
    }

    /// The number of a store; `None` if there is none.
    pub(crate) fn store(&self, id: &StoreId) -> Result<Option<u64>, Error> {
        Ok(self.stores.get(id.text())?.map(|store| store.value()))
    }

    /// The number of a store that is new.
    pub(crate) fn new_store(&mut self, id: &StoreId) -> Result<u64, Error> {
        let store = self.next("store")?;
        self.stores.insert(id.text(), store)?;
        Ok(store)
    }

    pub(crate) fn sums(&self, store: u64) -> Result<Sums, Error> {
        let found = self.sums.get(store)?;
        let (entries, bytes) = found.map_or((0, 0), |sums| sums.value());
        Ok(Sums {
            store,
            entries,
            bytes,
        })
    }

    pub(crate) fn set_sums(&mut self, sums: Sums) -> Result<(), Error> {
        self.sums.insert(sums.store, (sums.entries, sums.bytes))?;
        Ok(())
    }

    /// Version of the entry, if it is there, and what lies in the file for it, there or not, bytes.
    pub(crate) fn look(
        &self,
        store: u64,
        key: &str,
        now_ms: u64,
    ) -> Result<(Option<u64>, Option<u64>), Error> {
        let Some(found) = self.entries.get((store, key))? else {
            return Ok((None, None));
        };
        let record = Record::decode(found.value())?;
        let version = record.is_there(now_ms).then_some(record.version);
        Ok((version, Some(record.cost_bytes(key))))
    }

    /// Puts a record in the place of what is there.
    pub(crate) fn put(
        &mut self,
        sums: &mut Sums,
        key: &str,
        record: &Record<'_>,
    ) -> Result<(), Error> {
        self.remove(sums, key)?;
        let store = sums.store;
        self.entries.insert((store, key), &*record.encode())?;
        if !record.is_small() {
            self.values.insert((store, key), record.value)?;
        }
        if let Some(expires_ms) = record.expires_ms() {
            self.expiry.insert((expires_ms, store, key), ())?;
        }
        sums.entries += 1;
        sums.bytes += record.cost_bytes(key);
        Ok(())
    }

    /// Removes all that is there under a key.
    pub(crate) fn remove(&mut self, sums: &mut Sums, key: &str) -> Result<(), Error> {
        let store = sums.store;
        let Some(found) = self.entries.remove((store, key))? else {
            return Ok(());
        };
        let record = Record::decode(found.value())?;
        if !record.is_small() {
            self.values.remove((store, key))?;
        }
        if let Some(expires_ms) = record.expires_ms() {
            self.expiry.remove((expires_ms, store, key))?;
        }
        sums.entries = sums.entries.saturating_sub(1);
        sums.bytes = sums.bytes.saturating_sub(record.cost_bytes(key));
        Ok(())
    }

    /// Has a store gone for everybody; what is in it is collected later.
    pub(crate) fn remove_store(&mut self, id: &StoreId) -> Result<bool, Error> {
        let Some(store) = self.stores.remove(id.text())?.map(|store| store.value()) else {
            return Ok(false);
        };
        self.removed.insert(store, ())?;
        Ok(true)
    }

    /// Removes up to `max` entries that have expired by `now_ms` or are of removed stores, and a store of which nothing is
    /// left: how much.
    pub(crate) fn collect(&mut self, now_ms: u64, max: usize) -> Result<usize, Error> {
        let (mut gone, mut done) = (vec![], 0);
        for expired in self.expiry.range(..=(now_ms, u64::MAX, ""))? {
            let (key, _) = expired?;
            let (expires_ms, store, key) = key.value();
            if gone.len() == max || expires_ms > now_ms {
                break;
            }
            gone.push((store, key.to_owned()));
        }
        let removed = self.removed.first()?.map(|(store, _)| store.value());
        if let Some(removed) = removed {
            let before = gone.len();
            for entry in self.entries.range::<Key<'_>>((removed, "")..)? {
                let (key, _) = entry?;
                let (store, key) = key.value();
                if gone.len() == max || store != removed {
                    break;
                }
                gone.push((store, key.to_owned()));
            }
            if gone.len() == before && before < max {
                self.removed.remove(removed)?;
                self.sums.remove(removed)?;
                done = 1;
            }
        }
        // Each store's sums are read and written once.
        gone.sort_unstable();
        for entries in gone.chunk_by(|one, other| one.0 == other.0) {
            let mut sums = self.sums(entries[0].0)?;
            for (_, key) in entries {
                self.remove(&mut sums, key)?;
            }
            self.set_sums(sums)?;
        }
        Ok(gone.len() + done)
    }
}
