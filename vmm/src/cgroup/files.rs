//! Files and directories of a cgroup file system, always relative to an open directory.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::fs::{AtFlags, Mode, OFlags, fstat, mkdirat, openat, unlinkat};

/// The files that are read hold a few dozen short lines; a list of processes is cut off here.
const READ_BYTES_MAX: u64 = 64 * 1024;

pub(super) fn write(dir: BorrowedFd<'_>, path: &str, value: &str) -> io::Result<()> {
    let mut file = File::from(open_to_write(dir, path)?);
    // One call: the kernel takes each write as a whole value.
    file.write_all(value.as_bytes())
}

pub(super) fn open_to_write(dir: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(openat(dir, path, flags, Mode::empty())?)
}

pub(super) fn read(dir: BorrowedFd<'_>, path: &str) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = File::from(openat(dir, path, flags, Mode::empty())?);
    let mut text = String::new();
    file.take(READ_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

pub(super) fn open_dir(dir: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(openat(dir, path, flags, Mode::empty())?)
}

pub(super) fn make_dir(dir: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    Ok(mkdirat(dir, path, Mode::from_raw_mode(0o755))?)
}

/// Removes the directory; one that is gone already is as good.
pub(super) fn remove_dir(dir: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    match unlinkat(dir, path, AtFlags::REMOVEDIR) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether two descriptors name the same file.
pub(super) fn is_same(one: impl AsFd, other: impl AsFd) -> io::Result<bool> {
    let (one, other) = (fstat(one)?, fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}
