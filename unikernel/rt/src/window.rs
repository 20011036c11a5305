//! A range of memory that someone else reads or writes too: the VMM's pages, device registers,
//! virtqueues. Accesses stay inside the range; those of words are volatile.
#![allow(unsafe_code, reason = "registers lie at fixed addresses")]

use core::ptr;

/// Words that any bit pattern is a value of.
pub(crate) trait Word: Copy {}
impl Word for u8 {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}

/// A range of addresses, accessed by offset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    base: usize,
    len_bytes: usize,
}

impl Window {
    /// The range of `len_bytes` at `base`.
    ///
    /// # Safety
    /// The range is mapped as long as the window is used, and no Rust reference to it exists
    /// while the window is accessed.
    pub(crate) const unsafe fn new(base: u64, len_bytes: u64) -> Self {
        Self {
            base: base as usize,
            len_bytes: len_bytes as usize,
        }
    }

    /// Address of the byte at `offset`.
    pub(crate) const fn address(&self, offset: usize) -> u64 {
        assert!(offset < self.len_bytes);
        (self.base + offset) as u64
    }

    fn pointer<T: Word>(&self, offset: usize) -> *mut T {
        assert!(offset + size_of::<T>() <= self.len_bytes);
        let address = self.base + offset;
        debug_assert!(address.is_multiple_of(align_of::<T>()));
        ptr::with_exposed_provenance_mut(address)
    }

    /// Reads the word at `offset`.
    #[inline]
    pub(crate) fn load<T: Word>(&self, offset: usize) -> T {
        // SAFETY: `pointer` checked the bounds, `new`'s caller vouches for the range, and every bit
        // pattern is a `T`. Offsets are those of aligned fields.
        unsafe { self.pointer::<T>(offset).read_volatile() }
    }

    /// Writes the word at `offset`.
    #[inline]
    pub(crate) fn store<T: Word>(&self, offset: usize, value: T) {
        // SAFETY: as for `load`; what is stored is the reader's to judge.
        unsafe { self.pointer::<T>(offset).write_volatile(value) }
    }

    /// Writes `bytes` at `offset`.
    pub(crate) fn store_slice(&self, offset: usize, bytes: &[u8]) {
        assert!(offset <= self.len_bytes && bytes.len() <= self.len_bytes - offset);
        let to = ptr::with_exposed_provenance_mut::<u8>(self.base + offset);
        // SAFETY: the bounds were checked just above, and no reference to the range exists, so
        // `bytes` lies elsewhere.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }

    /// Reads `N` bytes at `offset`.
    pub(crate) fn load_array<const N: usize>(&self, offset: usize) -> [u8; N] {
        assert!(offset <= self.len_bytes && N <= self.len_bytes - offset);
        let from = ptr::with_exposed_provenance::<[u8; N]>(self.base + offset);
        // What the VMM writes changes only at a doorbell, which clobbers memory; a volatile read of
        // an array would be one of each byte.
        // SAFETY: the bounds were checked just above; an array of bytes has no alignment.
        unsafe { from.read() }
    }
}
