//! What is in a folder, a name at a time.

use alloc::{boxed::Box, vec::Vec};
use core::{
    ffi::{c_char, c_int, c_long},
    ptr,
};

use super::{by_path, done, with, with_open};
use crate::{
    errno::{EBADF, fail},
    files::{Entry, Fallible, Kind, Path},
};

/// `struct dirent` of x86-64.
#[repr(C)]
pub(crate) struct dirent {
    number: u64,
    /// Where the next one is.
    next: i64,
    bytes: u16,
    kind: u8,
    name: [u8; 256],
}

/// A folder that is read: what was in it when it was opened.
pub(crate) struct Dir {
    descriptor: c_int,
    entries: Vec<Entry>,
    next: usize,
    entry: dirent,
}

const DT_CHR: u8 = 2;
const DT_DIR: u8 = 4;
const DT_REG: u8 = 8;

fn entries(descriptor: c_int) -> Fallible<Vec<Entry>> {
    let folder = with_open(descriptor, |open| Ok(open.folder()?.to_vec()))?;
    let path = Path::new(b"/", &folder)?;
    let mut entries = with(|state| state.tree.list(&path))?;
    for name in [&b".."[..], b"."] {
        let kind = Kind::Folder;
        let name = name.to_vec();
        entries.insert(
            0,
            Entry {
                name,
                kind,
                number: 1,
            },
        );
    }
    Ok(entries)
}

/// Reads the folder that a descriptor stands for, which belongs to what comes back.
#[unsafe(no_mangle)]
extern "C" fn fdopendir(descriptor: c_int) -> *mut Dir {
    match entries(descriptor) {
        Ok(entries) => Box::into_raw(Box::new(Dir {
            descriptor,
            entries,
            next: 0,
            entry: dirent {
                number: 0,
                next: 0,
                bytes: 0,
                kind: 0,
                name: [0; 256],
            },
        })),
        Err(error) => {
            fail(error);
            ptr::null_mut()
        }
    }
}

/// Opens a folder and reads it.
#[unsafe(no_mangle)]
unsafe extern "C" fn opendir(text: *const c_char) -> *mut Dir {
    // SAFETY: the caller has a text there.
    let descriptor = unsafe { by_path::open_folder(text) };
    if descriptor < 0 {
        return ptr::null_mut();
    }
    fdopendir(descriptor)
}

/// The next name, or null behind the last.
#[unsafe(no_mangle)]
unsafe extern "C" fn readdir64(dir: *mut Dir) -> *mut dirent {
    // SAFETY: it came from `fdopendir`, and nobody has a reference.
    let dir = unsafe { &mut *dir };
    let Some(entry) = dir.entries.get(dir.next) else {
        return ptr::null_mut();
    };
    dir.next += 1;
    let to = &mut dir.entry;
    to.number = entry.number;
    to.next = dir.next as i64;
    to.bytes = size_of::<dirent>() as u16;
    to.kind = match entry.kind {
        Kind::File => DT_REG,
        Kind::Folder => DT_DIR,
        Kind::Device => DT_CHR,
    };
    // A name has 255 bytes at most.
    let bytes = entry.name.len().min(to.name.len() - 1);
    to.name[..bytes].copy_from_slice(&entry.name[..bytes]);
    to.name[bytes] = 0;
    to
}

/// As `readdir64`: the two are one on x86-64.
#[unsafe(no_mangle)]
unsafe extern "C" fn readdir(dir: *mut Dir) -> *mut dirent {
    // SAFETY: as the caller's.
    unsafe { readdir64(dir) }
}

/// From the beginning again, with what is there now.
#[unsafe(no_mangle)]
unsafe extern "C" fn rewinddir(dir: *mut Dir) {
    // SAFETY: as in `readdir64`.
    let dir = unsafe { &mut *dir };
    dir.next = 0;
    if let Ok(entries) = entries(dir.descriptor) {
        dir.entries = entries;
    }
}

/// Where the next name is.
#[unsafe(no_mangle)]
unsafe extern "C" fn telldir(dir: *const Dir) -> c_long {
    // SAFETY: as in `readdir64`.
    unsafe { (*dir).next as c_long }
}

/// The descriptor of a folder that is read.
#[unsafe(no_mangle)]
unsafe extern "C" fn dirfd(dir: *const Dir) -> c_int {
    // SAFETY: as in `readdir64`.
    unsafe { (*dir).descriptor }
}

/// Reads no more, and closes the descriptor.
#[unsafe(no_mangle)]
unsafe extern "C" fn closedir(dir: *mut Dir) -> c_int {
    if dir.is_null() {
        return fail(EBADF);
    }
    // SAFETY: it came from `fdopendir`, and the caller gives it up.
    let dir = unsafe { Box::from_raw(dir) };
    done(with(|state| state.descriptors.close(dir.descriptor)))
}
