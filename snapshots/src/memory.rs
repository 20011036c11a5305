//! A snapshot's RAM on a file system that lives in memory.
//!
//! RAM is mostly holes. On tmpfs the first access to a hole through a mapping takes a page of the file system, whoever
//! only reads too, and where none is left it raises SIGBUS: a full tmpfs would kill VMs. So what is stored of the RAM is
//! copied into a sealed file of the kernel's own, whose holes no limit of a file system holds for.
//! Not here: file systems on disks, on which reading a hole takes nothing; their files are mapped as they are.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::FileExt},
};

use rustix::{
    fs::{
        AtFlags, MemfdFlags, SealFlags, StatxFlags, fcntl_add_seals, fstatfs, memfd_create, statx,
    },
    io::Errno,
};

use super::snapshot::next_data;
use crate::ram::{PAGE_LEN, Page};

/// Name of the copy, as `/proc` shows it.
const NAME: &str = "jiffy-snapshot-ram";
/// Pages that are copied at once.
const PAGES_PER_COPY: usize = 256;
// Linux include/uapi/linux/magic.h.
const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58f6;
const OVERLAYFS_MAGIC: u64 = 0x794c_7630;

/// Whether accesses to holes of `file` may take room that can be missing.
pub(crate) fn holes_take_room(file: &File) -> io::Result<bool> {
    // Its type is of another width on other systems.
    let magic = u64::try_from(fstatfs(file)?.f_type).unwrap_or_default();
    Ok(match magic {
        TMPFS_MAGIC | RAMFS_MAGIC => true,
        // Its files are another file system's, which it does not name. One with direct reads has blocks of its own;
        // for one without, the copy is what the doubt costs.
        OVERLAYFS_MAGIC => !reads_directly(file)?,
        _ => false,
    })
}

fn reads_directly(file: &File) -> io::Result<bool> {
    let asked = StatxFlags::DIOALIGN;
    match statx(file, "", AtFlags::EMPTY_PATH, asked) {
        Ok(found) => Ok(StatxFlags::from_bits_retain(found.stx_mask).contains(asked)),
        Err(Errno::NOSYS | Errno::INVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Copies what is stored of `ram`, `ram_bytes` long, holes left holes. Nobody can change the copy.
pub(crate) fn copy(ram: &File, ram_bytes: u64) -> io::Result<File> {
    let copy = memfd_create(NAME, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let copy = File::from(copy);
    copy.set_len(ram_bytes)?;
    let mut buffer = vec![0; PAGES_PER_COPY * PAGE_LEN];
    let mut offset = 0;
    while offset < ram_bytes {
        let Some(data) = next_data(ram, offset)?.filter(|data| *data < ram_bytes) else {
            break;
        };
        let rest = usize::try_from(ram_bytes - data).unwrap_or(usize::MAX);
        let piece_bytes = rest.min(buffer.len());
        let piece = &mut buffer[..piece_bytes];
        ram.read_exact_at(piece, data)?;
        let (pages, _): (&[Page], _) = piece.as_chunks();
        for (at, page) in (data..).step_by(PAGE_LEN).zip(pages) {
            if page != &[0; PAGE_LEN] {
                copy.write_all_at(page, at)?;
            }
        }
        offset = data + piece_bytes as u64;
    }
    // A shell gets it as it is: it must not be able to change what its neighbours run on.
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(copy.as_fd(), seals)?;
    Ok(copy)
}
