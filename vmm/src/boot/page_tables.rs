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

    /// Maps `len_bytes` at `address`, both multiples of a page, with small pages.
    pub(super) fn map(&mut self, address: u64, len_bytes: u64, access: Access) {
        for page in (address..address + len_bytes).step_by(PAGE_BYTES as usize) {
            let table = self.table(page, 1);
            self.tables[table][index(page, 0)] = page | access.bits() | PRESENT | ACCESSED_DIRTY;
        }
    }

    /// Maps `len_bytes` at `address`, both multiples of a large page, with large pages.
    pub(super) fn map_large(&mut self, address: u64, len_bytes: u64, access: Access) {
        for page in (address..address + len_bytes).step_by(LARGE_PAGE_BYTES as usize) {
            let table = self.table(page, 2);
            self.tables[table][index(page, 1)] =
                page | access.bits() | PRESENT | ACCESSED_DIRTY | LARGE;
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

    #[cfg(test)]
    fn walk(&self, address: u64) -> Option<(u64, u64)> {
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
        tables.map_large(0x20_0000, 0x40_0000, Access::ReadWrite);
        tables.map(0xd000_0000, 0x1000, Access::Execute);
        let ad = PRESENT | ACCESSED_DIRTY;
        assert_eq!(tables.walk(0xfff), None);
        assert_eq!(tables.walk(0x2fff), Some((0x2fff, ad | USER | NO_EXECUTE)));
        assert_eq!(tables.walk(0x3000), None);
        let large = ad | LARGE | USER | WRITABLE | NO_EXECUTE;
        assert_eq!(tables.walk(0x5f_ffff), Some((0x5f_ffff, large)));
        assert_eq!(tables.walk(0x60_0000), None);
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
