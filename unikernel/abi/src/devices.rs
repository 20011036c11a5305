//! Which devices there are, and where a guest finds each: one table, from which drivers, page tables, the I/O bitmap and
//! the VMM's bus take their addresses.
//!
//! A VM has the vsock device and whatever else its owner gives it; what it was not given is not there: its window is not
//! mapped, its ports stay closed. Not here: registers ([`crate::virtio_mmio`]).

use crate::{
    doorbell,
    layout::{LARGE_PAGE_BYTES, MMIO_VSOCK, MMIO_WINDOW_BYTES},
};

/// A device. Its number stands for it in snapshots and in messages, and is never another device's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum DeviceId {
    /// The request stream.
    Vsock = 0,
    /// A 16550 serial port that only speaks.
    Console = 1,
    /// A network interface.
    Nic = 2,
}

/// Where a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A window of virtio-mmio registers, [`MMIO_WINDOW_BYTES`] from this guest physical address on, all accessed as u32.
    Window(u64),
    /// Ports, all accessed as one byte.
    Ports {
        /// The lowest.
        first: u16,
        /// The highest.
        last: u16,
    },
}

/// The first port of the console: the PC's COM1.
pub const CONSOLE_PORT: u16 = 0x3f8;

/// All devices, in ascending order of their numbers, which is the order on the bus and in snapshots.
pub const TABLE: [(DeviceId, Place); 3] = [
    (DeviceId::Vsock, Place::Window(MMIO_VSOCK)),
    (
        DeviceId::Console,
        Place::Ports {
            first: CONSOLE_PORT,
            last: CONSOLE_PORT + 7,
        },
    ),
    (DeviceId::Nic, Place::Window(MMIO_VSOCK + MMIO_WINDOW_BYTES)),
];

/// Devices that a VM has at most.
pub const DEVICES_MAX: usize = TABLE.len();

/// The highest port that can be open to a guest.
pub const PORT_LAST: u16 = {
    let (mut last, mut index) = (*doorbell::PORTS.end(), 0);
    while index < TABLE.len() {
        if let Place::Ports { last: other, .. } = TABLE[index].1
            && other > last
        {
            last = other;
        }
        index += 1;
    }
    last
};

const _: () = assert!(is_sound(&TABLE));

impl DeviceId {
    /// Its number.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The device of this number, if there is one.
    pub const fn from_number(number: u32) -> Option<Self> {
        let mut index = 0;
        while index < TABLE.len() {
            if TABLE[index].0.number() == number {
                return Some(TABLE[index].0);
            }
            index += 1;
        }
        None
    }

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vsock => "vsock device",
            Self::Console => "console",
            Self::Nic => "NIC",
        }
    }

    /// Where it is.
    pub const fn place(self) -> Place {
        // `is_sound` says that each is in its row.
        TABLE[self as usize].1
    }
}

/// The device in whose window `address` lies, and how far from its beginning.
pub const fn at_address(address: u64) -> Option<(DeviceId, u64)> {
    let mut index = 0;
    while index < TABLE.len() {
        if let (id, Place::Window(start)) = TABLE[index]
            && address >= start
            && address - start < MMIO_WINDOW_BYTES
        {
            return Some((id, address - start));
        }
        index += 1;
    }
    None
}

/// The device that `port` belongs to, and how far it is from its first.
pub const fn at_port(port: u16) -> Option<(DeviceId, u64)> {
    let mut index = 0;
    while index < TABLE.len() {
        if let (id, Place::Ports { first, last }) = TABLE[index]
            && port >= first
            && port <= last
        {
            return Some((id, (port - first) as u64));
        }
        index += 1;
    }
    None
}

/// Whether each device is in its own row, all windows share the page table that [`crate::layout::page_tables_max`] counts
/// for them, and no two places overlap, the doorbells' ports among them.
const fn is_sound(table: &[(DeviceId, Place)]) -> bool {
    let doorbells = Place::Ports {
        first: *doorbell::PORTS.start(),
        last: *doorbell::PORTS.end(),
    };
    let mut index = 0;
    while index < table.len() {
        let (id, place) = table[index];
        let is_inside = match place {
            Place::Window(start) => {
                start.is_multiple_of(MMIO_WINDOW_BYTES)
                    && start / LARGE_PAGE_BYTES == MMIO_VSOCK / LARGE_PAGE_BYTES
            }
            Place::Ports { first, last } => first <= last,
        };
        if id.number() as usize != index || !is_inside || overlap(place, doorbells) {
            return false;
        }
        let mut other = 0;
        while other < index {
            if overlap(place, table[other].1) {
                return false;
            }
            other += 1;
        }
        index += 1;
    }
    true
}

const fn overlap(one: Place, other: Place) -> bool {
    match (one, other) {
        (Place::Window(one), Place::Window(other)) => {
            one < other + MMIO_WINDOW_BYTES && other < one + MMIO_WINDOW_BYTES
        }
        (
            Place::Ports { first, last },
            Place::Ports {
                first: other_first,
                last: other_last,
            },
        ) => first <= other_last && other_first <= last,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ports(first: u16, last: u16) -> Place {
        Place::Ports { first, last }
    }

    #[test]
    fn a_table_whose_places_overlap_or_are_out_of_order_does_not_compile() {
        let check = |vsock: Place, console: Place| {
            is_sound(&[(DeviceId::Vsock, vsock), (DeviceId::Console, console)])
        };
        let (window, page) = (Place::Window, MMIO_WINDOW_BYTES);
        assert!(check(window(MMIO_VSOCK), window(MMIO_VSOCK + page)));
        assert!(!check(window(MMIO_VSOCK), window(MMIO_VSOCK)));
        assert!(
            !check(window(MMIO_VSOCK + page / 2), ports(1, 1)),
            "not a page"
        );
        assert!(!check(window(MMIO_VSOCK - page), ports(1, 1)), "before");
        let end = MMIO_VSOCK + LARGE_PAGE_BYTES;
        assert!(check(window(end - page), ports(1, 1)));
        assert!(!check(window(end), ports(1, 1)), "behind");
        assert!(check(ports(0, 7), ports(8, 8)));
        assert!(!check(ports(0, 7), ports(7, 8)));
        assert!(!check(ports(2, 1), ports(7, 8)), "upside down");
        for doorbell in doorbell::PORTS {
            assert!(!check(ports(doorbell, doorbell), ports(1, 1)));
        }
        assert!(check(
            ports(*doorbell::PORTS.end() + 1, 0x100),
            ports(0, *doorbell::PORTS.start() - 1)
        ));
        let swapped = [
            (DeviceId::Console, ports(1, 1)),
            (DeviceId::Vsock, ports(2, 2)),
        ];
        assert!(!is_sound(&swapped));
    }

    #[test]
    fn a_place_is_found_from_its_first_to_its_last_byte_and_no_further() {
        let vsock = |offset| Some((DeviceId::Vsock, offset));
        assert_eq!(at_address(MMIO_VSOCK), vsock(0));
        assert_eq!(at_address(MMIO_VSOCK + 0xfff), vsock(0xfff));
        assert_eq!(at_address(MMIO_VSOCK + 0x1004), Some((DeviceId::Nic, 4)));
        let outside = [MMIO_VSOCK - 1, MMIO_VSOCK + 0x2000, 0x3f8, 0, u64::MAX];
        assert_eq!(outside.map(at_address), [None; 5]);
        let console = |offset| Some((DeviceId::Console, offset));
        assert_eq!([0x3f8, 0x3ff].map(at_port), [console(0), console(7)]);
        let outside = [0x3f7, 0x400, 0, doorbell::WAIT, u16::MAX];
        assert_eq!(outside.map(at_port), [None; 5]);
        assert_eq!(PORT_LAST, 0x3ff);
    }

    #[test]
    fn numbers_are_what_they_always_were() {
        let numbers = [DeviceId::Vsock, DeviceId::Console, DeviceId::Nic].map(DeviceId::number);
        assert_eq!(numbers, [0, 1, 2]);
        for (id, place) in TABLE {
            assert_eq!(DeviceId::from_number(id.number()), Some(id));
            assert_eq!(id.place(), place);
        }
        assert_eq!(DeviceId::from_number(numbers[2] + 1), None);
    }
}
