//! Which pages a request needs: those that it writes, and those that it reads of text and data.
//!
//! What is written is private afterwards and found as such. What is read leaves a trace only where the CPU, or KVM for it, sets the
//! accessed bit of a page that has none: the bits are cleared before the first request of a VM that is to tell its working set, and looked
//! at after it. Heap that is mapped with large pages has one bit for 512 pages and is left out.
//!
//! Pages to be read are worth a copy only where KVM shadows page tables: with one fault it maps the pages of a block of eight from its
//! first on, as long as they are this process's own (`FNAME(pte_prefetch)` in Linux `arch/x86/kvm/mmu/paging_tmpl.h`, `kvm_prefetch_pages`
//! in `virt/kvm/kvm_main.c`). A fault takes 22 µs on the development host, a copy 0.5 µs: docs/perf/restore.md.
//! Not here: who keeps a working set (`jiffy-snapshots`).

use std::{collections::BTreeSet, ops::Range};

use jiffy_abi::layout::{PAGE_BYTES, PAGE_TABLES, PAGE_TABLES_BYTES};
use jiffy_snapshots::state::AddressRange;

use crate::mem::Ram;

/// Pages that KVM looks at with one fault.
const BLOCK_PAGES: u64 = 8;
/// Pages brought in only because they are read, at most: half a MiB that is the VM's own.
const READ_PAGES_MAX: usize = 128;
const PRESENT: u64 = 1;
const ACCESSED: u64 = 1 << 5;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const ENTRY_BYTES: usize = 8;
const TABLE_BYTES: usize = 4096;
const _: () = assert!(TABLE_BYTES as u64 == PAGE_BYTES);

/// Clears the accessed bit of each small page that the guest's page tables map.
pub(super) fn forget_reads(ram: &Ram) {
    for_each_table(ram, |address, entries| {
        let mut table = Vec::with_capacity(entries.len() * ENTRY_BYTES);
        for entry in entries {
            let cleared = page_of(*entry).map_or(*entry, |_| entry & !ACCESSED);
            table.extend(cleared.to_le_bytes());
        }
        if entries.iter().any(|entry| page_of(*entry).is_some()) {
            // It was read from there.
            let _ = ram.write(address, &table);
        }
    });
}

/// Whether `page` holds page tables, which a guest cannot write.
pub(super) fn is_table(page: u64) -> bool {
    (PAGE_TABLES..PAGE_TABLES + PAGE_TABLES_BYTES).contains(&(page * PAGE_BYTES))
}

/// What a restore should make ready: `written`, what was read since [`forget_reads`] in the same blocks or beside each other, and what
/// lies before it in its block.
pub(super) fn runs(ram: &Ram, written: &[Range<u64>]) -> Vec<(u64, u64)> {
    let (mut mapped, mut read) = (vec![], vec![]);
    for_each_table(ram, |_, entries| {
        for entry in entries {
            let page = page_of(*entry);
            mapped.extend(page);
            read.extend(page.filter(|_| entry & ACCESSED != 0));
        }
    });
    mapped.sort_unstable();
    runs_of(written, &read, |page| mapped.binary_search(&page).is_ok())
}

fn runs_of(
    written: &[Range<u64>],
    read: &[u64],
    is_mapped: impl Fn(u64) -> bool,
) -> Vec<(u64, u64)> {
    let mut pages: BTreeSet<u64> = written.iter().cloned().flatten().collect();
    let needed: BTreeSet<u64> = pages.iter().chain(read).copied().collect();
    let block_of = |page: u64| page - page % BLOCK_PAGES;
    let blocks: BTreeSet<u64> = read.iter().map(|page| block_of(*page)).collect();
    let mut room = READ_PAGES_MAX;
    for block in blocks {
        let mut in_block = needed.range(block..block + BLOCK_PAGES);
        // Alone it is a fault, with a copy or without.
        let (Some(_), Some(last)) = (in_block.next(), in_block.next_back()) else {
            continue;
        };
        let from_first = block..last + 1;
        let more = from_first.clone().filter(|page| !pages.contains(page));
        let more: Vec<_> = more.collect();
        if more.len() <= room && from_first.clone().all(&is_mapped) {
            room -= more.len();
            pages.extend(more);
        }
    }
    let mut runs: Vec<(u64, u64)> = vec![];
    for page in pages {
        match runs.last_mut() {
            Some((first, pages)) if *first + *pages == page => *pages += 1,
            _ => runs.push((page, 1)),
        }
    }
    runs
}

/// Of `pages`, those that somebody may have written: the guest, in the ranges where it may, or the VMM, below the page
/// tables.
pub(super) fn writable(pages: &Range<u64>, ranges: &[AddressRange]) -> u64 {
    let shared = |range: Range<u64>| {
        let (start, end) = (pages.start.max(range.start), pages.end.min(range.end));
        end.saturating_sub(start)
    };
    let guests = ranges.iter();
    let guests = guests.map(|range| shared(range.start / PAGE_BYTES..range.end / PAGE_BYTES));
    guests.sum::<u64>() + shared(0..PAGE_TABLES / PAGE_BYTES)
}

/// Calls `table` with each page of the room for page tables, and its entries.
fn for_each_table(ram: &Ram, mut table: impl FnMut(u64, &[u64])) {
    let mut address = PAGE_TABLES;
    while let Some(bytes) = ram.read_array::<TABLE_BYTES>(address) {
        let (entries, _) = bytes.as_chunks::<ENTRY_BYTES>();
        let entries: Vec<_> = entries
            .iter()
            .map(|entry| u64::from_le_bytes(*entry))
            .collect();
        table(address, &entries);
        address += PAGE_BYTES;
        if address >= PAGE_TABLES + PAGE_TABLES_BYTES {
            break;
        }
    }
}

/// The small page that an entry maps; none if it maps a large one, nothing, or leads to another table.
fn page_of(entry: u64) -> Option<u64> {
    let page = (entry & ADDRESS) / PAGE_BYTES;
    (entry & (PRESENT | LARGE) == PRESENT && !is_table(page)).then_some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_beside_others_is_brought_in_and_what_is_alone_is_not() {
        let check = |written: &[Range<u64>], read: &[u64], runs: &[(u64, u64)]| {
            assert_eq!(runs_of(written, read, |page| page >= 0x100), runs);
        };
        let written = [0x100..0x104, 0x200..0x201];
        // From the block's first page on, because KVM goes no further than to one that is not there.
        check(
            &written,
            &[0x105, 0x108, 0x112, 0x110, 0x103, 0x201],
            &[(0x100, 6), (0x110, 3), (0x200, 2)],
        );
        check(&written, &[], &[(0x100, 4), (0x200, 1)]);
        // Page 0 is not there, so KVM maps one page of the first block at a time.
        check(std::slice::from_ref(&(5..6)), &[6, 7], &[(5, 1)]);
    }

    #[test]
    fn what_is_read_has_a_limit() {
        let many: Vec<_> = (0x1000..0x2000).collect();
        let runs = runs_of(std::slice::from_ref(&(0x10..0x20)), &many, |_| true);
        assert_eq!(runs, [(0x10, 0x10), (0x1000, READ_PAGES_MAX as u64)]);
    }

    #[test]
    fn only_pages_that_can_be_written_count_as_written() {
        let range = |start, end| AddressRange { start, end };
        let ranges = [range(0x4_1000, 0x10_4000), range(0x12_0000, 0x100_0000)];
        assert_eq!(writable(&(8..9), &ranges), 1, "the resume page");
        assert_eq!(writable(&(0x102..0x106), &ranges), 2);
        assert_eq!(writable(&(0x104..0x120), &ranges), 0, "text");
        assert_eq!(writable(&(0x11f..0x122), &ranges), 2);
    }
}
