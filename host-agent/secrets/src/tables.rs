//! What is in the file.
//!
//! ```text
//! meta      "format"        -> 1
//!           "version"       -> the last that was given
//! keys      tenant          -> its data key, sealed by the master key
//! secrets   (tenant, name)  -> version, when it was set, value sealed by the data key
//! ```

use jiffy_model::{BindingName, TenantName};
use jiffy_tables::TableFile;
use redb::{
    Error, ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata as _, Table,
    TableDefinition, WriteTransaction,
};
use zeroize::Zeroizing;

use crate::{
    Clear, SECRETS_MAX, SecretInfo, SecretsError, Written,
    cipher::{KEY_BYTES, Key},
};

const FORMAT: u64 = 1;

type SecretKey<'a> = (&'a str, &'a str);
type SecretRecord<'a> = (u64, u64, &'a [u8]);
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(crate) const KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("keys");
pub(crate) const SECRETS: TableDefinition<'_, SecretKey<'_>, SecretRecord<'_>> =
    TableDefinition::new("secrets");

/// Makes the tables of a file that has none. Whether there is no data key yet.
pub(crate) fn prepare(file: &TableFile) -> Result<bool, SecretsError> {
    file.write(|transaction| {
        let mut meta = transaction.open_table(META)?;
        let found = meta.get("format")?.map(|format| format.value());
        match found {
            Some(FORMAT) => {}
            Some(found) => {
                return Ok(Err(SecretsError::Format {
                    path: file.path().to_owned(),
                    found,
                    known: FORMAT,
                }));
            }
            None => drop(meta.insert("format", FORMAT)?),
        }
        drop(meta);
        Ok(Ok(Writer::open(transaction)?.keys.is_empty()?))
    })
}

/// Wraps all data keys by the first of `keys`, whichever of them has wrapped it so far. Those that none of them opens are
/// damaged and stay as they are; false if that is all there are, so that the keys are wrong.
pub(crate) fn rewrap(file: &TableFile, keys: &[Key]) -> Result<bool, SecretsError> {
    file.write(|transaction| {
        let mut table = transaction.open_table(KEYS)?;
        let mut all = vec![];
        for entry in table.iter()? {
            let (tenant, wrapped) = entry?;
            all.push((tenant.value().to_owned(), wrapped.value().to_vec()));
        }
        let mut is_opened = all.is_empty();
        for (tenant, wrapped) in all {
            let Some((index, data_key)) = unwrap(keys, &tenant, &wrapped) else {
                continue;
            };
            is_opened = true;
            if index == 0 {
                continue;
            }
            match keys[0].seal(&of_data_key(&tenant), data_key.bytes()) {
                Ok(wrapped) => drop(table.insert(&*tenant, &*wrapped)?),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(is_opened))
    })
}

/// The data key, and which of `keys` has wrapped it.
fn unwrap(keys: &[Key], tenant: &str, wrapped: &[u8]) -> Option<(usize, Key)> {
    let what = of_data_key(tenant);
    let mut opened = keys.iter().map(|key| key.open(&what, wrapped)).enumerate();
    let (index, bytes) = opened.find_map(|(index, bytes)| Some((index, bytes?)))?;
    let mut key: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::default();
    let place: &mut [u8] = &mut *key;
    if bytes.len() != place.len() {
        return None;
    }
    place.copy_from_slice(&bytes);
    Some((index, key.into()))
}

/// What a data key opens as. A name has no slash and no space.
fn of_data_key(tenant: &str) -> String {
    format!("jiffy data key {tenant}")
}

/// What a secret opens as.
fn of_secret((tenant, name): SecretKey<'_>, version: u64, set_ms: u64) -> String {
    format!("jiffy secret {tenant}/{name} {version} {set_ms}")
}

type DataKey = Result<Option<Key>, SecretsError>;

fn data_key(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    tenant: &TenantName,
    keys: &[Key],
) -> Result<DataKey, Error> {
    let Some(wrapped) = table.get(tenant.as_ref())? else {
        return Ok(Ok(None));
    };
    let opened = unwrap(keys, tenant.as_ref(), wrapped.value());
    let damaged = || SecretsError::DamagedKey(tenant.clone());
    Ok(opened.map(|(_, key)| Some(key)).ok_or_else(damaged))
}

fn list(
    table: &impl ReadableTable<SecretKey<'static>, SecretRecord<'static>>,
    tenant: &TenantName,
) -> Result<Vec<SecretInfo>, Error> {
    let mut found = vec![];
    for secret in table.range((tenant.as_ref(), "")..)? {
        let (key, record) = secret?;
        let ((of, name), (version, set_ms, _)) = (key.value(), record.value());
        if of != tenant.as_ref() {
            break;
        }
        found.push(SecretInfo {
            name: name.to_owned(),
            version,
            set_ms,
        });
    }
    Ok(found)
}

/// The tables as a reader has them.
pub(crate) struct Reader {
    keys: ReadOnlyTable<&'static str, &'static [u8]>,
    secrets: ReadOnlyTable<SecretKey<'static>, SecretRecord<'static>>,
}

impl Reader {
    pub(crate) fn open(transaction: &ReadTransaction) -> Result<Self, Error> {
        Ok(Self {
            keys: transaction.open_table(KEYS)?,
            secrets: transaction.open_table(SECRETS)?,
        })
    }

    pub(crate) fn list(&self, tenant: &TenantName) -> Result<Vec<SecretInfo>, Error> {
        list(&self.secrets, tenant)
    }

    pub(crate) fn resolve(
        &self,
        tenant: &TenantName,
        name: &BindingName,
        keys: &[Key],
    ) -> Result<Result<Option<Clear>, SecretsError>, Error> {
        let key = (tenant.as_ref(), name.as_ref());
        let Some(record) = self.secrets.get(key)? else {
            return Ok(Ok(None));
        };
        let (version, set_ms, sealed) = record.value();
        let data_key = match data_key(&self.keys, tenant, keys)? {
            Ok(Some(key)) => key,
            Ok(None) => return Ok(Err(SecretsError::DamagedKey(tenant.clone()))),
            Err(error) => return Ok(Err(error)),
        };
        let opened = data_key.open(&of_secret(key, version, set_ms), sealed);
        let damaged = || SecretsError::Damaged(name.to_string());
        Ok(opened.map(Some).ok_or_else(damaged))
    }
}

/// The tables as a writer has them.
pub(crate) struct Writer<'t> {
    meta: Table<'t, &'static str, u64>,
    keys: Table<'t, &'static str, &'static [u8]>,
    secrets: Table<'t, SecretKey<'static>, SecretRecord<'static>>,
}

impl<'t> Writer<'t> {
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            keys: transaction.open_table(KEYS)?,
            secrets: transaction.open_table(SECRETS)?,
        })
    }

    pub(crate) fn data_key(&self, tenant: &TenantName, keys: &[Key]) -> Result<DataKey, Error> {
        data_key(&self.keys, tenant, keys)
    }

    /// Gives `tenant`, which has none, a data key.
    pub(crate) fn add_data_key(
        &mut self,
        tenant: &TenantName,
        keys: &[Key],
        data_key: &Key,
    ) -> Result<Result<(), SecretsError>, Error> {
        let what = of_data_key(tenant.as_ref());
        let wrapped = match keys[0].seal(&what, data_key.bytes()) {
            Ok(wrapped) => wrapped,
            Err(error) => return Ok(Err(error)),
        };
        self.keys.insert(tenant.as_ref(), &*wrapped)?;
        Ok(Ok(()))
    }

    pub(crate) fn set(
        &mut self,
        tenant: &TenantName,
        name: &BindingName,
        data_key: &Key,
        value: &[u8],
        set_ms: u64,
    ) -> Result<Result<Written, SecretsError>, Error> {
        let key = (tenant.as_ref(), name.as_ref());
        let existed = self.secrets.get(key)?.is_some();
        if !existed && list(&self.secrets, tenant)?.len() >= SECRETS_MAX {
            return Ok(Err(SecretsError::TooMany));
        }
        let version = 1 + self.meta.get("version")?.map_or(0, |last| last.value());
        let sealed = match data_key.seal(&of_secret(key, version, set_ms), value) {
            Ok(sealed) => sealed,
            Err(error) => return Ok(Err(error)),
        };
        self.meta.insert("version", version)?;
        self.secrets.insert(key, (version, set_ms, &*sealed))?;
        let info = SecretInfo {
            name: name.to_string(),
            version,
            set_ms,
        };
        Ok(Ok(Written { info, existed }))
    }

    pub(crate) fn remove(
        &mut self,
        tenant: &TenantName,
        name: &BindingName,
    ) -> Result<bool, Error> {
        let key = (tenant.as_ref(), name.as_ref());
        let existed = self.secrets.remove(key)?.is_some();
        if list(&self.secrets, tenant)?.is_empty() {
            self.keys.remove(tenant.as_ref())?;
        }
        Ok(existed)
    }
}
