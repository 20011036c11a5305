//! Where the master key is: a file of one line, 64 hexadecimal digits; of two during a rotation, the new key first.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use jiffy_snapshots::{SecretError, read_credential, read_secret, why};
use zeroize::Zeroizing;

use crate::cipher::{KEY_BYTES, Key};

/// Name of systemd's credential with the key: `LoadCredential=jiffyd.master-key:FILE`.
const CREDENTIAL: &str = "jiffyd.master-key";
/// Name of the file in the data directory, if it is said nowhere else.
const FILE_NAME: &str = "master-key";
const FILE_BYTES_MAX: u64 = 1024;
const FILE_MODE: u32 = 0o600;
/// The current key, and the one before.
const KEYS_MAX: usize = 2;

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum MasterError {
    #[error("cannot take the master key from its file")]
    Read(#[from] SecretError),
    #[error("cannot write the master key to {path}: {}", why(source))]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "invalid master key in {0}: must be 64 hexadecimal digits in a line, such as `openssl rand -hex 32` prints"
    )]
    Malformed(PathBuf),
    #[error(
        "the master key {0} is a credential of systemd, which jiffyd does not write: put a new key in a line above the one that is there, \
         restart jiffyd, which wraps all by the first, and then take the second line away"
    )]
    Credential(PathBuf),
}

/// Where the master key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterKeySource {
    /// A file, which is made at the first start, its owner's alone, and written by a rotation.
    File(PathBuf),
    /// A credential of systemd, which is only read.
    Credential(PathBuf),
}

impl MasterKeySource {
    /// Where that of the agent in `data_dir` is: where `configured` says, in the credential of systemd if there is one in
    /// `credentials_dir`, or else in the data directory.
    pub fn find(
        configured: Option<&Path>,
        credentials_dir: Option<&Path>,
        data_dir: &Path,
    ) -> Self {
        let credential = credentials_dir.map(|dir| dir.join(CREDENTIAL));
        match (configured, credential.filter(|path| path.exists())) {
            (Some(path), _) => Self::File(path.to_owned()),
            (None, Some(path)) => Self::Credential(path),
            (None, None) => Self::File(data_dir.join(FILE_NAME)),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Credential(path) => path,
        }
    }

    pub(crate) const fn is_written(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// The keys in it, the current one first; `None` if it is not there. A file that others can read is refused.
    pub(crate) fn read(&self) -> Result<Option<Vec<Key>>, MasterError> {
        let text = match self {
            Self::File(path) => read_secret(path, FILE_BYTES_MAX),
            Self::Credential(path) => read_credential(path, FILE_BYTES_MAX),
        };
        let text = match text {
            Err(SecretError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            text => Zeroizing::new(text?),
        };
        let keys: Option<Vec<_>> = text.lines().map(|line| parse(line.trim())).collect();
        let keys = keys.filter(|keys| (1..=KEYS_MAX).contains(&keys.len()));
        let malformed = || MasterError::Malformed(self.path().to_owned());
        keys.map(Some).ok_or_else(malformed)
    }

    /// Replaces what is in it, durable when this returns.
    pub(crate) fn write(&self, keys: &[Key]) -> Result<(), MasterError> {
        let path = match self {
            Self::File(path) => path,
            Self::Credential(path) => return Err(MasterError::Credential(path.clone())),
        };
        // With room for all of it, so that no part is left where it was moved from.
        let mut text = Zeroizing::new(String::with_capacity(keys.len() * (2 * KEY_BYTES + 1)));
        for key in keys {
            for byte in key.bytes() {
                let _ = write!(text, "{byte:02x}"); // Writing to a String cannot fail.
            }
            text.push('\n');
        }
        replace(path, text.as_bytes()).map_err(|source| MasterError::Write {
            path: path.clone(),
            source,
        })
    }
}

fn parse(line: &str) -> Option<Key> {
    let (digits, rest) = line.as_bytes().as_chunks();
    if digits.len() != KEY_BYTES || !rest.is_empty() {
        return None;
    }
    let mut key: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::default();
    for (byte, [high, low]) in key.iter_mut().zip(digits) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    }
    Some(key.into())
}

/// Readers see what was there or what is, and nothing between, also after a crash.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    // A name that nobody else gives.
    let mut name = OsString::from(".jiffy-new-");
    name.push(path.file_name().unwrap_or_default());
    let temporary = path.with_file_name(name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(FILE_MODE);
    let mut file = options.open(&temporary)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
