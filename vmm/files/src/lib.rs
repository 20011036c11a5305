//! Opens the files that somebody names, on a command line or in a setting: regular ones only, read up to a limit.
//!
//! A named pipe without a writer would keep an `open` for ever, a device never ends, and a sparse file of terabytes
//! takes a byte to make. So a file is opened without waiting, looked at once it is open, when nobody can exchange it
//! any more, and never read further than its caller can use.
//! Not here: files that jiffy makes itself; standard input, which is whatever it is.
#![forbid(unsafe_code)]

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use rustix::fs::{FileType, Mode, OFlags, fstat};

/// Why a file is not read although it is there. Travels in an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Refused {
    #[error("it is {0}, not a regular file")]
    NotRegular(&'static str),
    #[error("it has {bytes} bytes: at most {bytes_max} are read")]
    TooLarge { bytes: u64, bytes_max: u64 },
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        let kind = match refused {
            Refused::NotRegular(_) => io::ErrorKind::InvalidInput,
            Refused::TooLarge { .. } => io::ErrorKind::FileTooLarge,
        };
        Self::new(kind, refused)
    }
}

impl Refused {
    /// Why, if that is what `error` says.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

/// Opens a regular file for reading, without waiting for anybody.
pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
    // Without NOCTTY a terminal that is named could become this process's own.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path.as_ref(), flags, Mode::empty())?;
    let kind = match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => return Ok(file.into()),
        FileType::Directory => "a directory",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Symlink | FileType::Unknown => "of an unknown kind",
    };
    Err(Refused::NotRegular(kind).into())
}

/// Opens a regular file of at most `bytes_max` bytes, and says how many it has.
pub fn open_up_to(path: impl AsRef<Path>, bytes_max: u64) -> io::Result<(File, u64)> {
    let file = open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > bytes_max {
        return Err(Refused::TooLarge { bytes, bytes_max }.into());
    }
    Ok((file, bytes))
}

/// Reads a regular file of at most `bytes_max` bytes. One that is longer is refused before a byte of it is held.
pub fn read(path: impl AsRef<Path>, bytes_max: u64) -> io::Result<Vec<u8>> {
    let (file, _) = open_up_to(path, bytes_max)?;
    let mut content = vec![];
    // It may grow meanwhile, and one of /proc says that it has no bytes.
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut content)?;
    let bytes = content.len() as u64;
    if bytes > bytes_max {
        return Err(Refused::TooLarge { bytes, bytes_max }.into());
    }
    Ok(content)
}

/// As [`read`], of a file that is text.
pub fn read_text(path: impl AsRef<Path>, bytes_max: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, bytes_max)?);
    text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests;
