//! x86-64 page tables, identity-mapped, built in host memory and copied to the guest once.
//!
//! Accessed and dirty bits are set from the beginning, so that the CPU never writes a table and no
//! clone of the guest ever copies a page of them.
//! Source: Intel SDM volume 3, section 4.5 (4-level paging).
#![allow(
    clippy::cast_possible_truncation,
    reason = "the VMM runs on x86-64 only, where `usize` has 64 bits"
)]

use jiffy_abi::layout::{LARGE_PAGE_BYTES, PAGE_BYTES};

const ENTRIES: usize = 512;
const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED_DIRTY: u64 = 1 << 5 | 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Who may do what with a page. There is no way to say "writable and executable".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
    Execute,
    SystemReadOnly,
    SystemReadWrite,
    SystemExecute,
}

impl Access {
    const fn bits(self) -> u64 {
        match self {
            Self::ReadOnly => USER | NO_EXECUTE,
            Self::ReadWrite => USER | WRITABLE | NO_EXECUTE,
            Self::Execute => USER,
            Self::SystemReadOnly => NO_EXECUTE,
            Self::SystemReadWrite => WRITABLE | NO_EXECUTE,
            Self::SystemExecute => 0,
        }
    }
}

/// The tables of one guest; the first is the root.
#[derive(Debug)]
pub(super) struct PageTables {
    base: u64,
    tables: Vec<[u64; ENTRIES]>,
}

impl PageTables {
    /// Empty tables that will lie at `base` in the guest.
    pub(super) fn new(base: u64) -> Self {
        Self {
            base,
            tables: vec![[0; ENTRIES]],
        }
    }

    /// Maps `len_bytes` at `address`, both multiples of a page: with large pages wherever a whole one
    /// lies in the range, so that tables grow with the number of ranges and not with their sizes.
    pub(super) fn map(&mut self, address: u64, len_bytes: u64, access: Access) {
        let (mut page, end) = (address, address + len_bytes);
        while page < end {
            let is_large = page.is_multiple_of(LARGE_PAGE_BYTES) && end - page >= LARGE_PAGE_BYTES;
            let (level, bytes, size) = if is_large {
                (1, LARGE_PAGE_BYTES, LARGE)
            } else {
                (0, PAGE_BYTES, 0)
            };
            let table = self.table(page, level + 1);
            self.tables[table][index(page, level)] =
                page | access.bits() | PRESENT | ACCESSED_DIRTY | size;
            page += bytes;
        }
    }

    /// Number of the table that `lowest` levels of tables hang below, on the way to `address`.
    fn table(&mut self, address: u64, lowest: u32) -> usize {
        let mut table = 0;
        for level in (lowest..4).rev() {
            let entry = self.tables[table][index(address, level)];
            table = if entry == 0 {
                let next = self.tables.len();
                let next_address = self.base + next as u64 * PAGE_BYTES;
                self.tables[table][index(address, level)] =
                    next_address | PRESENT | WRITABLE | USER | ACCESSED_DIRTY;
                self.tables.push([0; ENTRIES]);
                next
            } else {
                (((entry & ADDRESS) - self.base) / PAGE_BYTES) as usize
            };
        }
        table
    }

    /// The tables as they lie in guest memory.
    pub(super) fn as_bytes(&self) -> Vec<u8> {
        self.tables
            .as_flattened()
            .iter()
            .flat_map(|entry| entry.to_le_bytes())
            .collect()
    }

    /// Bytes that the tables take.
    pub(super) fn bytes(&self) -> u64 {
        self.tables.len() as u64 * PAGE_BYTES
    }

    #[cfg(test)]
    pub(super) fn walk(&self, address: u64) -> Option<(u64, u64)> {
        let mut table = 0;
        for level in (0..4).rev() {
            let entry = self.tables[table][index(address, level)];
            if entry & PRESENT == 0 {
                return None;
            }
            if level == 0 || entry & LARGE != 0 {
                let mask = if level == 0 {
                    PAGE_BYTES - 1
                } else {
                    LARGE_PAGE_BYTES - 1
                };
                return Some((entry & ADDRESS & !mask | address & mask, entry & !ADDRESS));
            }
            table = (((entry & ADDRESS) - self.base) / PAGE_BYTES) as usize;
        }
        None
    }
}

/// Index into the table of `level` (0: page table, 3: root) for `address`.
const fn index(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * level)) as usize % ENTRIES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mapped_is_found_and_nothing_else() {
        let mut tables = PageTables::new(0x1_0000);
        tables.map(0x1000, 0x2000, Access::ReadOnly);
        tables.map(0x1f_f000, 0x40_2000, Access::ReadWrite);
        tables.map(0xd000_0000, 0x1000, Access::Execute);
        let ad = PRESENT | ACCESSED_DIRTY;
        assert_eq!(tables.walk(0xfff), None);
        assert_eq!(tables.walk(0x2fff), Some((0x2fff, ad | USER | NO_EXECUTE)));
        assert_eq!(tables.walk(0x3000), None);
        let large = ad | LARGE | USER | WRITABLE | NO_EXECUTE;
        let small = large & !LARGE;
        assert_eq!(tables.walk(0x1f_efff), None);
        assert_eq!(tables.walk(0x1f_f000), Some((0x1f_f000, small)));
        assert_eq!(tables.walk(0x20_0000), Some((0x20_0000, large)));
        assert_eq!(tables.walk(0x5f_ffff), Some((0x5f_ffff, large)));
        assert_eq!(tables.walk(0x60_0fff), Some((0x60_0fff, small)));
        assert_eq!(tables.walk(0x60_1000), None);
        assert_eq!(tables.walk(0xd000_0abc), Some((0xd000_0abc, ad | USER)));
    }

    #[test]
    fn no_access_is_both_writable_and_executable() {
        use Access::*;
        for access in [
            ReadOnly,
            ReadWrite,
            Execute,
            SystemReadOnly,
            SystemReadWrite,
            SystemExecute,
        ] {
            assert!(access.bits() & WRITABLE == 0 || access.bits() & NO_EXECUTE != 0);
        }
    }
}
