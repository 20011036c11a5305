//! Secrets of tenants, encrypted at rest.
//!
//! ```text
//! master key, a file of its own ── wraps ──▶ a data key for each tenant ── encrypts ──▶ its secrets
//! ```
//!
//! Each by XChaCha20-Poly1305 under a nonce of its own, with whose and what it is as associated data, so that nothing can be
//! put in another's place. A rotation makes a new master key, which wraps the data keys anew; secrets stay as they are:
//!
//! ```text
//! key file   old ──▶ new, old ───────────────▶ new       each written beside it, synced, renamed
//! data keys  by old         ──▶ by new                   one commit
//! ```
//!
//! so that at each point the keys in the file open all there is, and the next start goes on. What is decrypted is wiped when it
//! is dropped; what is lost of it in buffers on the way stays in memory, which is in no core file ([`keep_out_of_core_files`]).
//! Not here: who may use which secret (`jiffy-capabilities`), HTTP (the agent).
#![forbid(unsafe_code)]

mod cipher;
mod core_files;
mod error;
mod master;
mod tables;

use std::{
    fmt,
    ops::Deref,
    path::Path,
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard},
};

use jiffy_model::{BindingName, TenantName};
use jiffy_tables::TableFile;
use redb::{Database, backends::InMemoryBackend};
use zeroize::Zeroizing;

use self::{
    cipher::Key,
    tables::{Reader, Writer},
};
pub use self::{
    core_files::keep_out_of_core_files,
    error::SecretsError,
    master::{MasterError, MasterKeySource},
};

/// Bytes of a secret.
pub const SECRET_BYTES_MAX: usize = 64 << 10;
/// Secrets of a tenant.
pub const SECRETS_MAX: usize = 1000;

/// A secret in clear. It is never printed, and wiped when it is dropped.
#[derive(Clone)]
pub struct Clear(Zeroizing<Vec<u8>>);

impl From<Vec<u8>> for Clear {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl AsRef<[u8]> for Clear {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for Clear {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Clear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A secret, as a list of them has it: never its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretInfo {
    /// What its tenant calls it.
    pub name: String,
    /// Its version: versions only grow, and are given once.
    pub version: u64,
    /// When it was set, milliseconds since 1970.
    pub set_ms: u64,
}

/// A secret that was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What it is now.
    pub info: SecretInfo,
    /// Whether there was one before.
    pub existed: bool,
}

/// All secrets of a host.
pub struct Secrets {
    file: TableFile,
    /// The current one first; behind it the one before, as long as data keys may be wrapped by that. Who wraps or opens a data key
    /// holds it for as long.
    keys: RwLock<Vec<Key>>,
    /// Where `keys` are kept; held by a rotation.
    source: Mutex<Option<MasterKeySource>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Secrets {
    /// Opens the secrets in the file `path`, or makes it, with mode 0600. One process at a time can have it.
    pub fn open(path: &Path, master_key: MasterKeySource) -> Result<Self, SecretsError> {
        Self::new(TableFile::open(path)?, path, master_key)
    }

    /// Secrets that are in memory and end with this.
    pub fn in_memory() -> Result<Self, SecretsError> {
        let open = || Database::builder().create_with_backend(InMemoryBackend::new());
        let file = TableFile::with_open(Path::new("secrets"), Box::new(open))?;
        tables::prepare(&file)?;
        Ok(Self {
            file,
            keys: RwLock::new(vec![Key::random()?]),
            source: Mutex::new(None),
        })
    }

    /// The secrets in what `open` opens.
    #[cfg(test)]
    fn with_open(
        open: jiffy_tables::Open,
        master_key: MasterKeySource,
    ) -> Result<Self, SecretsError> {
        let path = Path::new("secrets");
        Self::new(TableFile::with_open(path, open)?, path, master_key)
    }

    fn new(file: TableFile, path: &Path, source: MasterKeySource) -> Result<Self, SecretsError> {
        let is_new = tables::prepare(&file)?;
        let keys = match source.read()? {
            Some(keys) => keys,
            // Another would open nothing, and hide what is wrong.
            None if !is_new => {
                return Err(SecretsError::NoKey {
                    key: source.path().to_owned(),
                    secrets: path.to_owned(),
                });
            }
            None => {
                let keys = vec![Key::random()?];
                source.write(&keys)?;
                keys
            }
        };
        if !tables::rewrap(&file, &keys)? {
            return Err(SecretsError::WrongKey {
                key: source.path().to_owned(),
                secrets: path.to_owned(),
            });
        }
        let this = Self {
            file,
            keys: RwLock::new(keys),
            source: Mutex::new(None),
        };
        // Of a rotation that was cut off.
        this.finish_rotation(Some(&source))?;
        *this.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
        Ok(this)
    }

    fn keys(&self) -> RwLockReadGuard<'_, Vec<Key>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_keys(&self, keys: Vec<Key>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Sets a secret, durable when this returns.
    pub fn set(
        &self,
        tenant: &TenantName,
        name: &BindingName,
        value: &[u8],
        now_ms: u64,
    ) -> Result<Written, SecretsError> {
        if !(1..=SECRET_BYTES_MAX).contains(&value.len()) {
            return Err(SecretsError::Bytes(value.len()));
        }
        let keys = self.keys();
        let fresh = Key::random()?;
        self.file.write(|transaction| {
            let mut writer = Writer::open(transaction)?;
            let data_key = match writer.data_key(tenant, &keys)? {
                Ok(Some(key)) => key,
                Ok(None) => match writer.add_data_key(tenant, &keys, &fresh)? {
                    Ok(()) => fresh,
                    Err(error) => return Ok(Err(error)),
                },
                Err(error) => return Ok(Err(error)),
            };
            writer.set(tenant, name, &data_key, value, now_ms)
        })
    }

    /// The secret `name` of `tenant`, if there is one.
    pub fn resolve(
        &self,
        tenant: &TenantName,
        name: &BindingName,
    ) -> Result<Option<Clear>, SecretsError> {
        let keys = self.keys();
        self.file
            .read(|transaction| Reader::open(transaction)?.resolve(tenant, name, &keys))
    }

    /// The secrets of `tenant`, by name.
    pub fn list(&self, tenant: &TenantName) -> Result<Vec<SecretInfo>, SecretsError> {
        self.file
            .read(|transaction| Ok(Ok(Reader::open(transaction)?.list(tenant)?)))
    }

    /// Removes a secret; whether it was there. With a tenant's last one its data key goes, too.
    pub fn remove(&self, tenant: &TenantName, name: &BindingName) -> Result<bool, SecretsError> {
        self.file
            .write(|transaction| Ok(Ok(Writer::open(transaction)?.remove(tenant, name)?)))
    }

    /// Makes a new master key, and wraps all data keys by it. Cut off at any time, the next rotation or the next start goes on.
    pub fn rotate_key(&self) -> Result<(), SecretsError> {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        // What one that was cut off has left: the file has room for two keys.
        self.finish_rotation(source.as_ref())?;
        let old = self.keys().clone();
        let keys = [vec![Key::random()?], old].concat();
        if let Some(source) = &*source {
            source.write(&keys)?;
        }
        self.set_keys(keys);
        self.finish_rotation(source.as_ref())
    }

    /// Wraps what is left by the first key, and forgets the others.
    fn finish_rotation(&self, source: Option<&MasterKeySource>) -> Result<(), SecretsError> {
        let keys = self.keys().clone();
        if keys.len() == 1 {
            return Ok(());
        }
        tables::rewrap(&self.file, &keys)?;
        let current = keys[..1].to_vec();
        if let Some(source) = source.filter(|source| source.is_written()) {
            source.write(&current)?;
        }
        self.set_keys(current);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
