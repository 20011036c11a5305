//! Which pages of a copy-on-write mapping have become private: those that were written.
//!
//! `PAGEMAP_SCAN` (Linux 6.7) lists them in one call; before that, `/proc/self/pagemap` is read and
//! looked through. A page that is not private was never written and equals the file.
//! Source of numbers: Linux `include/uapi/linux/fs.h`, `Documentation/admin-guide/mm/pagemap.rst`.

use std::{
    fs::File,
    io,
    ops::Range,
    os::{fd::AsRawFd, unix::fs::FileExt},
};

use jiffy_abi::layout::PAGE_BYTES;

const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;

/// `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg`.
#[repr(C)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const _: () = assert!(size_of::<ScanArguments>() == 96 && size_of::<PageRegion>() == 24);
/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::c_ulong = 3 << 30 | 96 << 16 | 0x66 << 8 | 16;

/// Runs of pages that one scan returns; more runs take more scans.
const REGIONS_MAX: usize = 64;

/// A way to ask the kernel, with the buffers for its answer.
pub struct PageMap {
    file: File,
    method: Method,
}

enum Method {
    Scan(Box<[PageRegion; REGIONS_MAX]>),
    Entries(Vec<u8>),
}

impl std::fmt::Debug for PageMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let method = match self.method {
            Method::Scan(_) => "PAGEMAP_SCAN",
            Method::Entries(_) => "pagemap entries",
        };
        f.debug_struct("PageMap")
            .field("method", &method)
            .finish_non_exhaustive()
    }
}

impl PageMap {
    /// The page map of this process, read in the quickest way that its kernel has.
    pub fn open() -> io::Result<Self> {
        Self::from_file(File::open("/proc/self/pagemap")?)
    }

    /// The same of a `pagemap` that was opened by this process.
    pub fn from_file(file: File) -> io::Result<Self> {
        let mut map = Self {
            file,
            method: Method::Scan(Box::new([PageRegion::default(); _])),
        };
        // An empty range is a question about the call alone.
        if map.private_runs(0..0, |_| {}).is_err() {
            map.method = Method::Entries(Vec::new());
        }
        Ok(map)
    }

    /// As [`PageMap::from_file`], but as if the kernel had no `PAGEMAP_SCAN`.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn from_old_file(file: File) -> Self {
        Self {
            file,
            method: Method::Entries(Vec::new()),
        }
    }

    /// Calls `run` with each run of private pages in `addresses`, a range of whole pages of a
    /// private file mapping, in ascending order. Runs are ranges of addresses.
    pub fn private_runs(
        &mut self,
        addresses: Range<u64>,
        mut run: impl FnMut(Range<u64>),
    ) -> io::Result<()> {
        match &mut self.method {
            Method::Scan(regions) => scan(&self.file, regions, addresses, &mut run),
            Method::Entries(entries) => read_entries(&self.file, entries, addresses, &mut run),
        }
    }
}

fn scan(
    file: &File,
    regions: &mut [PageRegion; REGIONS_MAX],
    addresses: Range<u64>,
    run: &mut dyn FnMut(Range<u64>),
) -> io::Result<()> {
    let mut start = addresses.start;
    loop {
        let mut arguments = ScanArguments {
            size: size_of::<ScanArguments>() as u64,
            flags: 0,
            start,
            end: addresses.end,
            walk_end: 0,
            regions: regions.as_mut_ptr() as u64,
            regions_len: REGIONS_MAX as u64,
            max_pages: 0,
            // Not of the file, and present or swapped out: written.
            category_inverted: PAGE_IS_FILE,
            category_mask: PAGE_IS_FILE,
            category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            return_mask: 0,
        };
        // SAFETY: the arguments name `regions` and its length, and both outlive the call, which
        // writes no more than that.
        let found = unsafe { libc::ioctl(file.as_raw_fd(), PAGEMAP_SCAN, &raw mut arguments) };
        let Ok(found) = usize::try_from(found) else {
            return Err(io::Error::last_os_error());
        };
        for region in &regions[..found] {
            run(region.start..region.end);
        }
        if arguments.walk_end >= addresses.end || found == 0 {
            return Ok(());
        }
        start = arguments.walk_end;
    }
}

const ENTRY_BYTES: usize = 8;
const ENTRY_IS_FILE: u64 = 1 << 61;
const ENTRY_IS_PRESENT_OR_SWAPPED: u64 = 1 << 63 | 1 << 62;

fn read_entries(
    file: &File,
    entries: &mut Vec<u8>,
    addresses: Range<u64>,
    run: &mut dyn FnMut(Range<u64>),
) -> io::Result<()> {
    let pages = (addresses.end - addresses.start) / PAGE_BYTES;
    let bytes = usize::try_from(pages * ENTRY_BYTES as u64).map_err(io::Error::other)?;
    entries.resize(bytes, 0);
    file.read_exact_at(entries, addresses.start / PAGE_BYTES * ENTRY_BYTES as u64)?;
    let mut begun = None;
    let (words, _) = entries.as_chunks::<ENTRY_BYTES>();
    for (page, word) in (addresses.start..addresses.end).step_by(4096).zip(words) {
        let entry = u64::from_le_bytes(*word);
        let private = entry & ENTRY_IS_PRESENT_OR_SWAPPED != 0 && entry & ENTRY_IS_FILE == 0;
        match (begun, private) {
            (None, true) => begun = Some(page),
            (Some(start), false) => {
                run(start..page);
                begun = None;
            }
            _ => {}
        }
    }
    if let Some(start) = begun {
        run(start..addresses.end);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::Ram;
    use jiffy_abi::layout::RAM_BYTES_MIN;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Both ways find exactly the pages that were written, and pages that were only read never.
        #[test]
        fn written_pages_are_found(
            written in prop::collection::btree_set(0u64..1024, 0..700),
            read in prop::collection::btree_set(0u64..1024, 0..64),
        ) {
            let file = tempfile::tempfile().expect("temporary file");
            file.set_len(RAM_BYTES_MIN).expect("resize");
            let mut ram = Ram::new(RAM_BYTES_MIN).expect("4 MiB");
            ram.map_over(&file).expect("map");
            for page in &read {
                ram.read_u64(page * PAGE_BYTES).expect("in RAM");
            }
            for page in &written {
                ram.write(page * PAGE_BYTES + 7, &[1]).expect("in RAM");
            }
            let base = ram.host_address() as u64;
            let old = PageMap::from_old_file(File::open("/proc/self/pagemap").expect("open"));
            for mut map in [PageMap::open().expect("open"), old] {
                let mut found = std::collections::BTreeSet::new();
                map.private_runs(base..base + RAM_BYTES_MIN, |run| {
                    found.extend((run.start..run.end).step_by(4096).map(|at| (at - base) / 4096));
                })
                .expect("scan");
                prop_assert_eq!(&found, &written);
            }
        }
    }
}
