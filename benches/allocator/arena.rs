//! The memory a heap lives in: shared first, then a copy-on-write view of what was shared, as a
//! guest's RAM is after a restore. So pages can be counted the way a restored instance pays for
//! them: each page written for the first time is one fault and one copy.

use std::{
    ffi::c_void,
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::FileExt},
    ptr,
};

use rustix::{
    fs::MemfdFlags,
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

pub(crate) const PAGE_BYTES: usize = 4096;

/// Pages of a memory file, mapped. The mapping never moves, so pointers in it stay good.
pub(crate) struct Arena {
    base: *mut c_void,
    len_bytes: usize,
    file: File,
}

impl Arena {
    /// `len_bytes` zero bytes, mapped shared.
    pub(crate) fn new(len_bytes: usize) -> io::Result<Self> {
        let file = File::from(rustix::fs::memfd_create("arena", MemfdFlags::CLOEXEC)?);
        file.set_len(len_bytes as u64)?;
        let (rw, shared) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a null hint without FIXED makes the kernel pick a free range, so no live mapping
        // is replaced.
        let base = unsafe { mmap(ptr::null_mut(), len_bytes, rw, shared, file.as_fd(), 0) }?;
        Ok(Self {
            base,
            len_bytes,
            file,
        })
    }

    /// First byte of the arena, page-aligned.
    pub(crate) fn start(&self) -> *mut u8 {
        self.base.cast()
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// The snapshot point: what was written until now stays, what is written from now on is a
    /// private copy of its page.
    pub(crate) fn freeze(&mut self) -> io::Result<()> {
        let rw = ProtFlags::READ | ProtFlags::WRITE;
        let private = MapFlags::PRIVATE | MapFlags::FIXED;
        // SAFETY: replaces exactly this arena's own mapping with one of the same file and length,
        // so every byte keeps its address and its value. Nobody holds a reference into it: heaps
        // are used through raw pointers between two calls only.
        unsafe { mmap(self.base, self.len_bytes, rw, private, self.file.as_fd(), 0) }?;
        Ok(())
    }

    /// Pages written since [`Arena::freeze`].
    pub(crate) fn private_pages(&self) -> io::Result<usize> {
        const PRESENT: u64 = 1 << 63;
        const OF_FILE: u64 = 1 << 61;
        let mut entries = vec![0; self.len_bytes / PAGE_BYTES * 8];
        let offset = self.base as u64 / PAGE_BYTES as u64 * 8;
        File::open("/proc/self/pagemap")?.read_exact_at(&mut entries, offset)?;
        let (entries, _) = entries.as_chunks::<8>();
        let is_private = |entry: u64| entry & PRESENT != 0 && entry & OF_FILE == 0;
        Ok(entries
            .iter()
            .filter(|entry| is_private(u64::from_le_bytes(**entry)))
            .count())
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: exactly the range `new` obtained; heaps in it are dropped by their owner first.
        let unmapped = unsafe { munmap(self.base, self.len_bytes) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}
