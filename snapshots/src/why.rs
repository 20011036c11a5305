//! What an error of the file system means, in words that say what to do.
//!
//! One table for all messages about files: a full disk, a used-up quota, a missing permission and a read-only file
//! system have nothing in common but the call that failed. Not here: what was tried and where, which the message has.

use std::{error::Error, io};

/// What to do about `error`. The system's own words follow as its source.
pub fn why(error: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::PermissionDenied => {
            "this user may not: look at the owner and the mode of it and of the directories above"
        }
        Kind::ReadOnlyFilesystem => {
            "the file system is read-only: mount it writable, or choose another place"
        }
        Kind::StorageFull => "the disk is full: free some space on it",
        Kind::QuotaExceeded => "the disk quota is used up: free some space or raise the quota",
        Kind::NotFound => "it is not there: look at the path",
        Kind::NotADirectory => "something on the way there is not a directory: look at the path",
        Kind::IsADirectory => "it is a directory, where a file belongs",
        Kind::DirectoryNotEmpty => "the directory holds something else, too: look what is in it",
        Kind::AlreadyExists => "something has this name already: look what it is",
        Kind::FileTooLarge => "the file would be larger than allowed: raise `ulimit -f`",
        Kind::OutOfMemory => "there is no memory left",
        _ => match error
            .raw_os_error()
            .map(rustix::io::Errno::from_raw_os_error)
        {
            Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
                "too many files are open: raise `ulimit -n`"
            }
            Some(rustix::io::Errno::IO) => "the disk failed: the kernel's log says more",
            Some(rustix::io::Errno::PERM) => {
                "this user may not: look at the owner and the mode of it and of the directories above"
            }
            _ => "it failed",
        },
    }
}

/// As [`why`], of the first error of the file system among `error` and its sources.
pub fn why_of(error: &(dyn Error + 'static)) -> &'static str {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return why(io);
        }
        next = error.source();
    }
    "it failed"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_words() {
        use rustix::io::Errno;
        let all = [
            Errno::ACCESS,
            Errno::ROFS,
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::NOENT,
            Errno::MFILE,
            Errno::IO,
            Errno::FBIG,
        ];
        let texts: Vec<_> = all.iter().map(|errno| why(&(*errno).into())).collect();
        for (at, text) in texts.iter().enumerate() {
            assert!(!texts[..at].contains(text), "{text}");
            assert_ne!(*text, "it failed");
        }
        assert!(why(&Errno::NOSPC.into()).contains("full"));
        assert!(!why(&Errno::ACCESS.into()).contains("full"));
        assert_eq!(why(&Errno::PERM.into()), why(&Errno::ACCESS.into()));
        assert_eq!(why(&io::Error::other("x")), "it failed");
    }
}
