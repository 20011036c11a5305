//! Guest RAM: one private mapping from guest physical address zero, anonymous or of a snapshot.
//!
//! The guest writes it behind Rust's back, so it is only ever read and written by copy, through
//! `vm-memory`, which checks every address; no reference points into it.

mod device;
mod own;
mod private_pages;
mod reservation;

pub use device::DeviceMemory;
pub use own::{Program, forgo_huge_pages, touch_stack};
pub use private_pages::PageMap;

use std::{fs::File, io, ops::Range, os::fd::AsRawFd};

use jiffy_abi::layout::{PAGE_BYTES, RAM_BYTES_MAX, RAM_BYTES_MIN, RAM_BYTES_STEP};
use jiffy_snapshots::state::AddressRange;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

/// The type that devices and queues take.
pub type GuestMemory = GuestMemoryMmap<()>;

/// Why there is no RAM.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum RamError {
    #[error(
        "a VM of {0} bytes cannot be: RAM is from {RAM_BYTES_MIN} to {RAM_BYTES_MAX} bytes, in steps of {RAM_BYTES_STEP}"
    )]
    Size(u64),
    #[error("cannot map {bytes} bytes of guest RAM: free some memory, or give the VM less")]
    Map {
        bytes: u64,
        #[source]
        source: io::Error,
    },
    #[error("this process has made more VMs than it has address ranges for: start another one")]
    Reserve,
    #[error("cannot map the snapshot's RAM file")]
    MapFile(#[source] io::Error),
    #[error("cannot bring in the working set")]
    Populate(#[source] io::Error),
    #[error("cannot list the pages that were written")]
    Scan(#[source] io::Error),
    #[error("cannot drop the pages that were written")]
    Drop(#[source] io::Error),
}

/// RAM of one VM.
#[derive(Debug)]
pub struct Ram {
    /// Refers to the range without owning it; see `Drop`.
    memory: GuestMemory,
    /// The parts of it that devices may touch, likewise.
    device_memory: DeviceMemory,
    base: *mut u8,
    bytes: u64,
    mapped: bool,
    huge_pages_possible: bool,
}

/// What the kernel is told of pages of RAM.
#[derive(Clone, Copy, Debug)]
enum Advice {
    /// They are touched in no order.
    Random,
    /// They are to be private now.
    Populate,
    /// They are to be as mapped again.
    Drop,
}

impl Advice {
    fn number(self) -> libc::c_int {
        match self {
            Self::Random => libc::MADV_RANDOM,
            Self::Populate => libc::MADV_POPULATE_WRITE,
            Self::Drop => libc::MADV_DONTNEED,
        }
    }
}

impl Ram {
    /// Maps `bytes` of zeroed RAM; pages cost nothing until they are touched.
    pub fn new(bytes: u64) -> Result<Self, RamError> {
        let mut ram = Self::reserve(bytes)?;
        ram.map_zeroed()?;
        Ok(ram)
    }

    /// Maps zeroed pages over all of it, which cost nothing until they are touched.
    pub fn map_zeroed(&mut self) -> Result<(), RamError> {
        let bytes = self.bytes;
        self.map(libc::MAP_ANONYMOUS, -1)
            .map_err(|source| RamError::Map { bytes, source })
    }

    /// An address range for `bytes` of RAM, in which nothing is mapped yet: KVM can be told of it,
    /// and [`Ram::map_over`] or [`Ram::map_zeroed`] has to come before anything else.
    pub fn reserve(bytes: u64) -> Result<Self, RamError> {
        let allowed = (RAM_BYTES_MIN..=RAM_BYTES_MAX).contains(&bytes);
        if !allowed || !bytes.is_multiple_of(RAM_BYTES_STEP) {
            return Err(RamError::Size(bytes));
        }
        let address = reservation::take().and_then(|address| usize::try_from(address).ok());
        let base: *mut u8 =
            std::ptr::with_exposed_provenance_mut(address.ok_or(RamError::Reserve)?);
        Ok(Self {
            memory: view(base, std::iter::once(0..bytes)),
            device_memory: DeviceMemory::readable_only(base, bytes),
            base,
            bytes,
            mapped: false,
            huge_pages_possible: own::huge_pages_possible(),
        })
    }

    /// Maps the whole range, of the file or anonymous.
    fn map(&mut self, kind: libc::c_int, fd: libc::c_int) -> io::Result<()> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let fixed = if self.mapped {
            libc::MAP_FIXED
        } else {
            libc::MAP_FIXED_NOREPLACE
        };
        let flags = libc::MAP_PRIVATE | libc::MAP_NORESERVE | fixed | kind;
        let base = self.base.cast();
        // SAFETY: the range is this value's alone: what is replaced is its own earlier mapping, to
        // which no reference exists, because RAM is only read and written by copy.
        let mapped = unsafe { libc::mmap(base, self.len(), protection, flags, fd, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        if self.huge_pages_possible {
            // Where they are the rule, as in stock Debian, the first byte written would cost 2 MiB of zeros. A
            // kernel that was built without them refuses, and has none to avoid.
            // SAFETY: exactly the range that was mapped above.
            unsafe { libc::madvise(base, self.len(), libc::MADV_NOHUGEPAGE) };
        }
        self.mapped = true;
        Ok(())
    }

    /// Size, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All of it.
    pub fn memory(&self) -> &GuestMemory {
        assert!(self.mapped, "RAM is used before a guest was put into it");
        &self.memory
    }

    /// The memory as devices take it.
    pub fn device_memory(&self) -> &DeviceMemory {
        assert!(self.mapped, "RAM is used before a guest was put into it");
        &self.device_memory
    }

    /// Lets devices write `ranges`, which the guest itself may write, and nothing else: whole pages, ascending. What lies
    /// below the stack or outside RAM is left out. Before this is called they may write nowhere.
    pub fn let_devices_write(&mut self, ranges: &[AddressRange]) {
        self.device_memory = DeviceMemory::new(self.base, self.bytes, ranges);
    }

    /// Host address of guest physical address zero; valid as long as `self`.
    pub fn host_address(&self) -> *mut u8 {
        self.base
    }

    /// Reads a little-endian number; `None` outside RAM.
    pub fn read_u64(&self, address: u64) -> Option<u64> {
        self.read_array(address).map(u64::from_le_bytes)
    }

    /// Reads `N` bytes; `None` if any is outside RAM.
    pub fn read_array<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.memory()
            .read_slice(&mut bytes, GuestAddress(address))
            .ok()?;
        Some(bytes)
    }

    /// Reads `len_bytes` bytes; `None` if any is outside RAM. The caller bounds the length.
    pub fn read_vec(&self, address: u64, len_bytes: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len_bytes];
        self.memory()
            .read_slice(&mut bytes, GuestAddress(address))
            .ok()?;
        Some(bytes)
    }

    /// Writes `bytes`; `None` if any of the range is outside RAM.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Option<()> {
        self.memory().write_slice(bytes, GuestAddress(address)).ok()
    }

    /// Pages that have been touched, by the guest or by the VMM; `None` if the kernel does not say.
    pub fn pages_touched(&self) -> Option<u64> {
        Some(self.touched()?.iter().map(|page| u64::from(page & 1)).sum())
    }

    /// A byte for each page, whose lowest bit says whether it has been touched.
    pub fn touched(&self) -> Option<Vec<u8>> {
        let mut touched = vec![0u8; usize::try_from(self.bytes / PAGE_BYTES).ok()?];
        let base = self.host_address().cast();
        // SAFETY: the range is this VM's mapping, and `touched` has a byte for each of its pages.
        let result = unsafe { libc::mincore(base, self.len(), touched.as_mut_ptr()) };
        (result == 0).then_some(touched)
    }

    /// Maps `file`, the RAM of a snapshot, copy-on-write over the whole of RAM, which KVM already
    /// has: what was there before is gone, and the guest's stores never reach the file. That the file is as long
    /// as RAM has been looked at when it became a `Snapshot`: a page past its end would raise SIGBUS when touched.
    pub fn map_over(&mut self, file: &File) -> Result<(), RamError> {
        self.map(0, file.as_raw_fd()).map_err(RamError::MapFile)?;
        // The file is mostly holes: reading around every first touch would fill the page cache with
        // zeros, up to all of RAM. What is no hole, its owner has brought in. Advice that is not taken
        // costs time only.
        let _ = self.advise(0..self.bytes / PAGE_BYTES, Advice::Random);
        Ok(())
    }

    /// Makes the pages `first..first + pages` private now, in one call and without a fault each.
    pub fn populate(&self, first_page: u64, pages: u64) -> Result<(), RamError> {
        let end_page = first_page.saturating_add(pages);
        if end_page > self.bytes / PAGE_BYTES {
            return Ok(()); // A working set that does not fit costs time, never correctness.
        }
        self.advise(first_page..end_page, Advice::Populate)
            .map_err(RamError::Populate)
    }

    /// Forgets every private page: RAM equals the file again, at a fault for each page to come.
    pub fn drop_private(&self) -> Result<(), RamError> {
        self.drop_pages(0..self.bytes / PAGE_BYTES)
    }

    /// Drops `pages`, which are what [`Ram::map_zeroed`] or the file has from then on.
    pub fn drop_pages(&self, pages: Range<u64>) -> Result<(), RamError> {
        self.advise(pages, Advice::Drop).map_err(RamError::Drop)
    }

    fn advise(&self, pages: Range<u64>, advice: Advice) -> io::Result<()> {
        if pages.start > pages.end || pages.end > self.bytes / PAGE_BYTES {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let offset = usize::try_from(pages.start * PAGE_BYTES).map_err(io::Error::other)?;
        let len =
            usize::try_from((pages.end - pages.start) * PAGE_BYTES).map_err(io::Error::other)?;
        let start = self.host_address().wrapping_add(offset).cast();
        // SAFETY: the pages are inside RAM, as was just seen, and each advice keeps the mapping as it is; RAM is
        // read and written by address only, so its content may change.
        match unsafe { libc::madvise(start, len, advice.number()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Calls `run` with each run of pages that were written since [`Ram::map_over`], as page
    /// numbers, in ascending order.
    pub fn private_pages(
        &self,
        map: &mut PageMap,
        mut run: impl FnMut(Range<u64>),
    ) -> Result<(), RamError> {
        let base = self.host_address() as u64;
        map.private_runs(base..base + self.bytes, |addresses| {
            run((addresses.start - base) / PAGE_BYTES..(addresses.end - base) / PAGE_BYTES);
        })
        .map_err(RamError::Scan)
    }

    fn len(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or_default() // It was made from a `usize`.
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        if self.mapped {
            // SAFETY: exactly the range that `map` mapped; the VM that knew of it is gone, because
            // a `Machine` drops its descriptors first, and `memory` does not own it.
            let unmapped = unsafe { libc::munmap(self.base.cast(), self.len()) };
            debug_assert_eq!(unmapped, 0);
        }
        reservation::give_back(self.base as u64);
    }
}

/// A snapshot's RAM, to copy from.
#[derive(Debug)]
pub struct BaseRam {
    base: *const u8,
    len: usize,
}

impl BaseRam {
    /// Maps `file`, as long as `ram`, for reading.
    pub fn map(file: &File, ram: &Ram) -> Result<Self, RamError> {
        let len = ram.len();
        let fd = file.as_raw_fd();
        let null = std::ptr::null_mut();
        // SAFETY: without a hint the kernel picks a free range, so nothing live is replaced.
        let base = unsafe { libc::mmap(null, len, libc::PROT_READ, libc::MAP_SHARED, fd, 0) };
        if base == libc::MAP_FAILED {
            return Err(RamError::MapFile(io::Error::last_os_error()));
        }
        // As in `Ram::map_over`. What is read counts as this VM's memory: in a VM that wrote most of its RAM, reading ahead
        // is evicted before it is used, by the reading itself, and a reset took seconds instead of milliseconds.
        // SAFETY: exactly the range that was mapped above; nothing but the order of reading changes.
        unsafe { libc::madvise(base, len, libc::MADV_RANDOM) };
        Ok(Self {
            base: base.cast_const().cast(),
            len,
        })
    }

    /// Copies `pages` back into `ram`.
    pub fn copy_back(&self, ram: &Ram, pages: Range<u64>) {
        let offset = |page: u64| usize::try_from(page * PAGE_BYTES).unwrap_or(usize::MAX);
        let (start, end) = (offset(pages.start), offset(pages.end));
        assert!(
            start <= end && end <= self.len && end <= ram.len(),
            "pages of a scan of this RAM"
        );
        let (from, to) = (
            self.base.wrapping_add(start),
            ram.host_address().wrapping_add(start),
        );
        // SAFETY: both ranges were just checked to lie inside their mappings, which are distinct;
        // the guest does not run, and no reference points into its RAM.
        unsafe { std::ptr::copy_nonoverlapping(from, to, end - start) };
    }
}

impl Drop for BaseRam {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `map` obtained, owned by `self` alone.
        let unmapped = unsafe { libc::munmap(self.base.cast_mut().cast(), self.len) };
        debug_assert_eq!(unmapped, 0);
    }
}

/// These ranges of guest physical addresses, of RAM whose first byte is at `base`: pages inside RAM, ascending.
fn view(base: *mut u8, ranges: impl Iterator<Item = Range<u64>>) -> GuestMemory {
    let region = |range: Range<u64>| {
        let offset = usize::try_from(range.start).ok()?;
        let len = usize::try_from(range.end - range.start).ok()?;
        let start = base.wrapping_add(offset);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_NORESERVE;
        // SAFETY: the range is one `Ram`'s alone, which lends views only while it is mapped; raw
        // regions do not own it.
        let region = unsafe { MmapRegion::build_raw(start, len, protection, flags) }.ok()?;
        GuestRegionMmap::new(region, GuestAddress(range.start))
    };
    let regions: Option<Vec<_>> = ranges.map(region).collect();
    match regions {
        Some(regions) if regions.is_empty() => GuestMemoryMmap::new(),
        // The base is aligned, and no range is empty or wraps.
        regions => regions
            .and_then(|regions| GuestMemoryMmap::from_regions(regions).ok())
            .unwrap_or_else(|| unreachable!("ranges of pages inside RAM")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_on_both_sides() {
        assert!(Ram::new(RAM_BYTES_MIN).is_ok());
        assert!(Ram::new(RAM_BYTES_MIN - RAM_BYTES_STEP).is_err());
        assert!(Ram::new(RAM_BYTES_MAX).is_ok());
        assert!(Ram::new(RAM_BYTES_MAX + RAM_BYTES_STEP).is_err());
        assert!(Ram::new(RAM_BYTES_MIN + 4096).is_err());
    }

    #[test]
    fn nothing_is_read_or_written_beyond_the_end() {
        let ram = Ram::new(RAM_BYTES_MIN).expect("4 MiB");
        assert_eq!(ram.read_u64(RAM_BYTES_MIN - 8), Some(0));
        assert_eq!(ram.read_u64(RAM_BYTES_MIN - 7), None);
        assert_eq!(ram.read_u64(u64::MAX), None);
        assert!(ram.write(RAM_BYTES_MIN - 1, &[1]).is_some());
        assert!(ram.write(RAM_BYTES_MIN - 1, &[1, 2]).is_none());
    }

    #[test]
    fn address_ranges_are_given_back() {
        for _ in 0..20_000 {
            Ram::reserve(RAM_BYTES_MIN).expect("more VMs one after the other than ranges");
        }
    }

    #[test]
    fn touched_pages_are_counted() {
        let ram = Ram::new(RAM_BYTES_MIN).expect("4 MiB");
        assert_eq!(ram.pages_touched(), Some(0));
        ram.write(4095, &[1, 1]).expect("inside");
        assert_eq!(ram.pages_touched(), Some(2));
    }
}
