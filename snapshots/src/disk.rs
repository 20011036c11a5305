//! Every change this crate makes on disk, one function each.
//!
//! Tests make the n-th of them fail, or stop there as a killed process would: see [`fault`]. Reading
//! is not here, for nothing is lost by it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use rustix::{
    fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags, flock, open, renameat_with},
    io::Errno,
    process::geteuid,
    rand::{GetRandomFlags, getrandom},
};

/// Mode of all files: nobody writes what is published, and nobody else reads it, for what `init` was given,
/// such as secrets in its environment, is in RAM.
const FILE_MODE: u32 = 0o400;
/// Mode of all directories, for the same reason.
const DIR_MODE: u32 = 0o700;

/// Makes a directory that is the caller's alone; one that is there already is fine.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    fault::step("create_dir")?;
    match fs::DirBuilder::new().mode(DIR_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Makes a file that nobody but the caller can write, not even its owner later, and that only the owner reads.
pub(crate) fn create_file(path: &Path) -> io::Result<File> {
    fault::step("create_file")?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
}

/// Sets the length of a file.
pub(crate) fn set_len(file: &File, len_bytes: u64) -> io::Result<()> {
    fault::step("set_len")?;
    file.set_len(len_bytes)
}

/// Writes all of `bytes` at `offset`.
pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    fault::step("write").inspect_err(|_| {
        // Who is killed while writing has written a part. (Outside tests no step fails.)
        let _ = file.write_all_at(&bytes[..bytes.len() / 2], offset);
    })?;
    file.write_all_at(bytes, offset)
}

/// Waits until a file's contents and length are on disk.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    fault::step("sync_file")?;
    file.sync_all()
}

/// Waits until the names in a directory are on disk.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    fault::step("sync_dir")?;
    File::open(path)?.sync_all()
}

/// Gives a file or directory another name, and that name's file or empty directory an end.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fault::step("rename")?;
    fs::rename(from, to)
}

/// Exchanges the names of two directories in one step.
pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    fault::step("exchange")?;
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?;
    Ok(())
}

/// Removes a file; none is fine.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    fault::step("remove_file")?;
    absent_is_fine(fs::remove_file(path))
}

/// Removes an empty directory; none is fine.
pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    fault::step("remove_dir")?;
    absent_is_fine(fs::remove_dir(path))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Opens a directory.
pub(crate) fn open_dir(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
    Ok(File::from(open(path, flags, Mode::empty())?))
}

/// Whether `path` names what was opened itself, not only a link to it.
pub(crate) fn is_at(opened: &File, path: &Path) -> io::Result<bool> {
    let opened = opened.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((opened.dev(), opened.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Locks the directory at `path` until the file is dropped or the process ends; none if someone
/// else has the lock, or took the directory away.
pub(crate) fn lock_dir(path: &Path) -> io::Result<Option<File>> {
    let directory = match open_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        directory => directory?,
    };
    Ok(lock(&directory, path)?.then_some(directory))
}

/// As [`lock_dir`], of a file.
pub(crate) fn lock_file(path: &Path) -> io::Result<Option<File>> {
    match open(
        path,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    ) {
        Err(Errno::NOENT) => Ok(None),
        file => {
            let file = file?.into();
            Ok(lock(&file, path)?.then_some(file))
        }
    }
}

/// Locks what was opened at `path` until it is closed or the process ends. Not if someone else has the lock, or took
/// the name away.
pub(crate) fn lock(opened: &File, path: &Path) -> io::Result<bool> {
    fault::step("lock")?;
    match flock(opened, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(false),
        locked => locked?,
    }
    // The lock is on what was opened, not on its name: before it was ours the name may have gone to another.
    is_at(opened, path)
}

/// Whether this user made the open directory.
pub(crate) fn is_mine(directory: &File) -> io::Result<bool> {
    Ok(directory.metadata()?.uid() == geteuid().as_raw())
}

/// A number that nobody else has.
pub(crate) fn unique() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(not(test))]
mod fault {
    /// Outside tests nothing fails on purpose.
    pub(super) const fn step(_: &'static str) -> std::io::Result<()> {
        Ok(())
    }
}

/// Failures on purpose, per thread.
#[cfg(test)]
pub(crate) mod fault {
    use std::{cell::RefCell, io};

    /// How the chosen step fails.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Fault {
        /// With an error; steps after it work.
        Error,
        /// As if the process were killed: neither it nor any step after it does anything.
        Kill,
    }

    struct Plan {
        action: Action,
        at: usize,
        taken: Vec<&'static str>,
    }

    enum Action {
        Fail(Fault),
        Run(Box<dyn FnMut()>),
    }

    thread_local! {
        static PLAN: RefCell<Option<Plan>> = const { RefCell::new(None) };
    }

    /// Runs `work` with a fault at step `at`, counted from zero; gives the steps that were begun.
    pub(crate) fn with<T>(
        fault: Fault,
        at: usize,
        work: impl FnOnce() -> T,
    ) -> (T, Vec<&'static str>) {
        planned(Action::Fail(fault), at, work)
    }

    /// Runs `work`, and `other` before its step `at`, as another process might that comes between.
    pub(crate) fn between<T>(
        at: usize,
        other: impl FnMut() + 'static,
        work: impl FnOnce() -> T,
    ) -> (T, Vec<&'static str>) {
        planned(Action::Run(Box::new(other)), at, work)
    }

    fn planned<T>(action: Action, at: usize, work: impl FnOnce() -> T) -> (T, Vec<&'static str>) {
        let taken = vec![];
        PLAN.set(Some(Plan { action, at, taken }));
        let result = work();
        let plan = PLAN.take();
        (result, plan.map(|plan| plan.taken).unwrap_or_default())
    }

    pub(super) fn step(name: &'static str) -> io::Result<()> {
        // Taken out, so that the steps of what runs in between are not counted.
        let Some(mut plan) = PLAN.take() else {
            return Ok(());
        };
        let number = plan.taken.len();
        plan.taken.push(name);
        let fails = match &mut plan.action {
            Action::Fail(Fault::Error) => number == plan.at,
            Action::Fail(Fault::Kill) => number >= plan.at,
            Action::Run(other) => {
                if number == plan.at {
                    other();
                }
                false
            }
        };
        PLAN.set(Some(plan));
        if fails {
            return Err(io::Error::other(format!("step {number}, {name}, fails")));
        }
        Ok(())
    }
}
