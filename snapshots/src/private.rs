//! Directories that are their owner's alone, whatever the umask and whatever was there; and files with secrets, which
//! are read only if they are.
//!
//! Not here: files that are written; each is made with its mode, so that there is no moment in which others can open it.

use std::{
    fs::{DirBuilder, File, Metadata, Permissions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, open},
    process::{getegid, geteuid},
};

use crate::{disk, why};

/// The owner alone may list, enter and change it.
const DIR_MODE: u32 = 0o700;
/// What others could do in a directory.
const OTHERS: u32 = 0o077;

/// Why a directory cannot be kept from others. All blame the host.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum PrivateDirError {
    #[error("cannot make the directory {path}: {}", why(source))]
    Make {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot look at the directory {path}: {}", why(source))]
    Look {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "the directory {path} belongs to user {owner}, who could read and change what user {user} puts there: choose another, or `chown {user} {path}`"
    )]
    Foreign {
        path: PathBuf,
        owner: u32,
        user: u32,
    },
    #[error(
        "others may enter the directory {path} (mode {mode:04o}), and it cannot be closed to them: `chmod 700 {path}`"
    )]
    Open {
        path: PathBuf,
        mode: u32,
        #[source]
        source: io::Error,
    },
}

/// Makes the directory `path` with mode 0700, or, if it is there, sees that it is this user's and closes it to others.
/// Says which mode it had if others could enter it. Its parent has to be there.
pub fn private_dir(path: &Path) -> Result<Option<u32>, PrivateDirError> {
    let look = |source| PrivateDirError::Look {
        path: path.to_owned(),
        source,
    };
    match DirBuilder::new().mode(DIR_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(|source| PrivateDirError::Make {
            path: path.to_owned(),
            source,
        })?,
    }
    // Looked at and changed by its descriptor: the name may be given to another meanwhile.
    let directory = disk::open_dir(path).map_err(look)?;
    let metadata = directory.metadata().map_err(look)?;
    let user = geteuid().as_raw();
    if metadata.uid() != user {
        return Err(PrivateDirError::Foreign {
            path: path.to_owned(),
            owner: metadata.uid(),
            user,
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(None);
    }
    let closed = directory.set_permissions(Permissions::from_mode(mode & !OTHERS));
    closed.map_err(|source| PrivateDirError::Open {
        path: path.to_owned(),
        mode,
        source,
    })?;
    Ok(Some(mode))
}

/// Why a file with a secret is not read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum SecretError {
    #[error("cannot read {path}: {}", why(source))]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} has more than {1} bytes: is it the right file?")]
    TooLarge(PathBuf, u64),
    #[error(
        "others may read or change {path} (mode {mode:04o}): `chmod 600 {path}`, and put a new secret into it"
    )]
    Exposed { path: PathBuf, mode: u32 },
}

/// Reads a file with a secret, of at most `bytes_max`, unless others may read or change it. Its group may read it if
/// that is the group of this process.
pub fn read_secret(path: &Path, bytes_max: u64) -> Result<String, SecretError> {
    read_if(path, bytes_max, |metadata| {
        let is_our_group = metadata.gid() == getegid().as_raw();
        if is_our_group { 0o037 } else { OTHERS }
    })
}

/// The same of a credential of systemd, whose list of who may read it shows as rights of its group.
pub fn read_credential(path: &Path, bytes_max: u64) -> Result<String, SecretError> {
    read_if(path, bytes_max, |_| 0o037)
}

/// Reads a file unless its mode has some of what is `forbidden`.
fn read_if(
    path: &Path,
    bytes_max: u64,
    forbidden: impl FnOnce(&Metadata) -> u32,
) -> Result<String, SecretError> {
    let wrong = |source| SecretError::Read {
        path: path.to_owned(),
        source,
    };
    // A pipe or a terminal of this name is not waited for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open(path, flags, Mode::empty()).map_err(io::Error::from);
    let file = File::from(file.map_err(wrong)?);
    // Of what was opened, not of what has its name now.
    let metadata = file.metadata().map_err(wrong)?;
    if !metadata.is_file() {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
        return Err(wrong(error));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & forbidden(&metadata) != 0 {
        return Err(SecretError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    let limited = file.take(bytes_max + 1).read_to_string(&mut text);
    limited.map_err(wrong)?;
    if text.len() as u64 > bytes_max {
        return Err(SecretError::TooLarge(path.to_owned(), bytes_max));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).expect("metadata").mode() & 0o777
    }

    #[test]
    fn a_directory_is_made_or_closed_to_others() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("made");
        assert_eq!(private_dir(&path).expect("made"), None);
        assert_eq!(mode_of(&path), 0o700);
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("opened");
        assert_eq!(private_dir(&path).expect("closed"), Some(0o755));
        assert_eq!(mode_of(&path), 0o700);
        assert_eq!(private_dir(&path).expect("closed already"), None);
    }

    #[test]
    fn what_is_somebody_elses_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("theirs");
        fs::create_dir(&path).expect("made");
        if std::os::unix::fs::chown(&path, Some(65534), None).is_err() {
            assert!(!geteuid().is_root(), "root may give a directory away");
            return;
        }
        let refused = private_dir(&path).expect_err("not ours");
        assert!(matches!(
            refused,
            PrivateDirError::Foreign { owner: 65534, .. }
        ));
        assert!(refused.to_string().contains("chown"), "{refused}");
    }

    #[test]
    fn what_is_no_directory_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("file");
        fs::write(&path, "").expect("written");
        for path in [path, folder.path().join("no/where")] {
            let error = private_dir(&path).expect_err("no directory").to_string();
            assert!(error.contains(path.to_str().expect("UTF-8")), "{error}");
        }
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("secret");
        fs::write(&path, "0123456789").expect("written");
        for (mode, is_taken) in [
            (0o600, true),
            (0o400, true),
            (0o640, true), // Of this process's own group.
            (0o644, false),
            (0o604, false),
            (0o602, false),
            (0o620, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("mode");
            match read_secret(&path, 10) {
                Ok(text) => assert!(is_taken && text == "0123456789", "{mode:o}"),
                Err(SecretError::Exposed { mode: found, .. }) => {
                    assert!(!is_taken && found == mode, "{mode:o}");
                }
                Err(error) => panic!("{mode:o}: {error}"),
            }
        }
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("mode");
        if std::os::unix::fs::chown(&path, None, Some(65534)).is_ok() {
            let refused = read_secret(&path, 10).expect_err("another group");
            assert!(refused.to_string().contains("chmod 600"), "{refused}");
            read_credential(&path, 10).expect("as systemd makes it");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("mode");
        assert!(matches!(
            read_secret(&path, 9),
            Err(SecretError::TooLarge(_, 9))
        ));
    }
}
