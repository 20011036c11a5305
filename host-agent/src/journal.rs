//! Lines kept in numbered files of one directory, the oldest removed when they are too many.
//!
//! ```text
//! 0000000000000001.jsonl   0000000000000002.jsonl   0000000000000003.jsonl ◀── append
//! removed first                                     begun when the one before it was full
//! ```
//!
//! A line is whole once its line feed is in the file. After a crash, opening cuts what follows the
//! last line feed; a write that fails half-way, as on a full disk, is cut off at once. Nothing is
//! synced, so a power cut may take the last seconds, and may leave lines that do not decode:
//! readers skip those.
//! Not here: what a line says (`logs`, `usage`).

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use jiffy_snapshots::{PrivateDirError, private_dir, why};

const SUFFIX: &str = ".jsonl";
/// What is read at once while the last line feed of a file is looked for, bytes.
const REPAIR_CHUNK_BYTES: u64 = 64 << 10;

/// Why lines cannot be kept or read. All blame the host.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Its directory cannot be kept from others.
    #[error(transparent)]
    Private(#[from] PrivateDirError),
    /// What was tried with a file.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What could not be done with a file or directory of a journal.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {}", path.display(), why(source))]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Turns an error into one that says what was tried, and where.
fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| {
        JournalError::File(FileError {
            action,
            path,
            source,
        })
    }
}

/// How much a journal keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLimits {
    /// Bytes of a file, unless a single append is larger.
    pub file_bytes_max: u64,
    /// Bytes of all files, but for the newest, which is always kept.
    pub total_bytes_max: u64,
}

/// A place between two lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Number of the file.
    pub file: u64,
    /// Bytes before it in that file.
    pub bytes: u64,
}

/// Lines that can be read while others are appended.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Number of the file.
    pub number: u64,
    /// Bytes of whole lines.
    pub bytes: u64,
    path: PathBuf,
}

impl Segment {
    /// All its bytes. A segment that was removed since is empty.
    pub fn read(&self) -> Result<Vec<u8>, JournalError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(failed("open", &self.path)(error)),
        };
        let mut bytes = vec![];
        file.take(self.bytes)
            .read_to_end(&mut bytes)
            .map_err(failed("read", &self.path))?;
        Ok(bytes)
    }
}

#[derive(Debug)]
struct Numbered {
    number: u64,
    bytes: u64,
}

/// Lines in numbered files. One value per directory.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    limits: JournalLimits,
    /// Oldest first.
    files: VecDeque<Numbered>,
    total_bytes: u64,
    /// The newest file, if it is open.
    current: Option<File>,
    /// Whether the newest file ends in something that could not be cut off.
    is_torn: bool,
}

impl Journal {
    /// Opens the journal in `directory`, which is made if it is not there, and cuts off a line that
    /// a crash tore.
    pub fn open(directory: &Path, limits: JournalLimits) -> Result<Self, JournalError> {
        private_dir(directory)?;
        let list = || -> io::Result<Vec<Numbered>> {
            let mut files = vec![];
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                // A directory or a pipe of such a name is not ours.
                if let Some(number) = number(&entry.file_name().to_string_lossy())
                    && metadata.is_file()
                {
                    let bytes = metadata.len();
                    files.push(Numbered { number, bytes });
                }
            }
            Ok(files)
        };
        let mut files = list().map_err(failed("list", directory))?;
        files.sort_by_key(|file| file.number);
        if let Some(newest) = files.last_mut() {
            let path = path(directory, newest.number);
            newest.bytes = cut_torn_line(&path).map_err(failed("repair", &path))?;
        }
        Ok(Self {
            directory: directory.to_owned(),
            limits,
            total_bytes: files.iter().map(|file| file.bytes).sum(),
            files: files.into(),
            current: None,
            is_torn: false,
        })
    }

    /// Appends lines, each with its line feed: all of them or, after an error, none.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), JournalError> {
        debug_assert!(lines.ends_with(b"\n"));
        let added_bytes = lines.len() as u64;
        let is_full = |file: &Numbered| {
            file.bytes > 0 && file.bytes + added_bytes > self.limits.file_bytes_max
        };
        if self.is_torn || self.files.back().is_none_or(is_full) {
            self.begin(self.position().file + 1);
        }
        let Some(newest) = self.files.back_mut() else {
            return Ok(()); // `begin` has made one.
        };
        let path = path(&self.directory, newest.number);
        let mut file = match self.current.take() {
            Some(file) => file,
            None => OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(&path)
                .map_err(failed("open", &path))?,
        };
        if let Err(error) = file.write_all(lines) {
            self.is_torn = file.set_len(newest.bytes).is_err();
            return Err(failed("append to", &path)(error));
        }
        newest.bytes += added_bytes;
        self.total_bytes += added_bytes;
        self.current = Some(file);
        Ok(())
    }

    /// Ends the newest file: the next append begins the one with this number, or a later one.
    pub fn begin(&mut self, number: u64) {
        let number = number.max(self.position().file + 1);
        self.files.push_back(Numbered { number, bytes: 0 });
        self.current = None;
        self.is_torn = false;
    }

    /// Where the next line will be, as long as it fits the newest file.
    pub fn position(&self) -> Position {
        self.files
            .back()
            .map_or(Position::default(), |file| Position {
                file: file.number,
                bytes: file.bytes,
            })
    }

    /// Whether [`Journal::trim`] would remove something.
    pub fn is_over(&self) -> bool {
        self.total_bytes > self.limits.total_bytes_max && self.files.len() > 1
    }

    /// Removes the oldest files that are too many. Returns the bytes that went.
    pub fn trim(&mut self) -> Result<u64, JournalError> {
        let mut removed_bytes = 0;
        while self.is_over() {
            removed_bytes += self.remove_oldest()?;
        }
        Ok(removed_bytes)
    }

    /// Removes the oldest file, even if it is the only one. Returns the bytes that went.
    pub fn remove_oldest(&mut self) -> Result<u64, JournalError> {
        let Some(oldest) = self.files.front() else {
            return Ok(0);
        };
        if self.files.len() == 1 {
            // Another takes its place, so that no number is ever given twice.
            self.begin(0);
            return self.remove_oldest();
        }
        let path = path(&self.directory, oldest.number);
        match fs::remove_file(&path) {
            // A file that was begun and never written is not there.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &path)(error));
            }
            _ => {}
        }
        let bytes = oldest.bytes;
        self.files.pop_front();
        self.total_bytes -= bytes;
        Ok(bytes)
    }

    /// Bytes of all files.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// What is in it now, oldest first.
    pub fn segments(&self) -> Vec<Segment> {
        let segment = |file: &Numbered| Segment {
            number: file.number,
            bytes: file.bytes,
            path: path(&self.directory, file.number),
        };
        self.files.iter().map(segment).collect()
    }

    /// Whether it holds a descriptor.
    pub fn is_file_open(&self) -> bool {
        self.current.is_some()
    }

    /// Gives its descriptor back; the next append opens the file again.
    pub fn close_file(&mut self) {
        self.current = None;
    }
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016}{SUFFIX}"))
}

fn number(file_name: &str) -> Option<u64> {
    file_name.strip_suffix(SUFFIX)?.parse().ok()
}

/// Cuts off what follows the last line feed. Returns the bytes that are left.
fn cut_torn_line(path: &Path) -> io::Result<u64> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let file_bytes = file.seek(SeekFrom::End(0))?;
    let mut end = file_bytes;
    let whole_bytes = loop {
        if end == 0 {
            break 0;
        }
        let start = end.saturating_sub(REPAIR_CHUNK_BYTES);
        let mut chunk = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
        file.read_exact_at(&mut chunk, start)?;
        if let Some(index) = chunk.iter().rposition(|byte| *byte == b'\n') {
            break start + index as u64 + 1;
        }
        end = start;
    };
    if whole_bytes < file_bytes {
        file.set_len(whole_bytes)?;
    }
    Ok(whole_bytes)
}

#[cfg(test)]
mod tests;
