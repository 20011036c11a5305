//! The resume page: all that a guest learns of the outside besides the bytes it receives.
//!
//! The VMM writes it before every resume; the guest can only read it. Between two resumes nothing
//! in it changes, so time stands still while a function computes.

use crate::{
    ABI_VERSION,
    bytes::{get, put},
    layout::PAGE_BYTES,
};

/// Bytes that the VMM writes: [`ResumePage::to_bytes`], and [`NetworkIdentity::to_bytes`] behind it in a VM that has a NIC.
pub const RESUME_PAGE_BYTES: usize = HEAD_BYTES + NETWORK_BYTES;
/// Bytes of [`ResumePage::to_bytes`].
pub const HEAD_BYTES: usize = RAM_BYTES + 8;
/// Where [`NetworkIdentity::to_bytes`] is.
pub const NETWORK: usize = HEAD_BYTES;
/// Bytes of [`NetworkIdentity::to_bytes`].
pub const NETWORK_BYTES: usize = NAME_SERVERS + 4 * NAME_SERVERS_MAX;
const _: () = assert!(RESUME_PAGE_BYTES as u64 <= PAGE_BYTES && NETWORK.is_multiple_of(8));

const VERSION: usize = 0;
const FLAGS: usize = VERSION + 4;
const GENERATION: usize = FLAGS + 4;
const ENTROPY: usize = GENERATION + 8;
const WALL_NS: usize = ENTROPY + ENTROPY_BYTES;
const MONOTONIC_NS: usize = WALL_NS + 8;
const DEADLINE_NS: usize = MONOTONIC_NS + 8;
const HEAP_START: usize = DEADLINE_NS + 8;
const HEAP_END: usize = HEAP_START + 8;
const RAM_BYTES: usize = HEAP_END + 8;

// Of the network, from its own beginning.
const MAC: usize = 0;
const PREFIX_LEN: usize = MAC + 6;
const IPV4: usize = PREFIX_LEN + 2;
const GATEWAY: usize = IPV4 + 4;
const GATEWAY_MAC: usize = GATEWAY + 4;
const MTU: usize = GATEWAY_MAC + 6;
const IPV6: usize = MTU + 2;
const GATEWAY_IPV6: usize = IPV6 + 16;
const NAME_SERVERS: usize = GATEWAY_IPV6 + 16;

/// Name servers that a guest is told of at most.
pub const NAME_SERVERS_MAX: usize = 2;

/// Fresh random bytes in every resume page.
pub const ENTROPY_BYTES: usize = 32;

/// Set in [`ResumePage::flags`] if the guest may read the time-stamp counter.
pub const FLAG_PRECISE_CLOCK: u32 = 1;
/// Set in [`ResumePage::flags`] if the VM has a NIC. Who it is there, it is told with a request.
pub const FLAG_NIC: u32 = 2;

/// What a guest with a NIC may call itself, and whom it sends its packets to: addresses with their first octet first, and
/// all zero for what there is not. It asks nobody for more, neither by DHCP nor by ARP, so that clones differ from the first
/// packet on. All zero while no request is in hand: what `init` sends goes nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkIdentity {
    /// Ethernet address.
    pub mac: [u8; 6],
    /// IPv4 address.
    pub ipv4: [u8; 4],
    /// Bits of its subnet.
    pub prefix_len: u8,
    /// IPv4 address of the gateway.
    pub gateway: [u8; 4],
    /// Ethernet address of the gateway, to which every frame goes.
    pub gateway_mac: [u8; 6],
    /// Bytes of a packet at most.
    pub mtu: u16,
    /// IPv6 address, of a subnet of its own.
    pub ipv6: [u8; 16],
    /// IPv6 address of the gateway.
    pub gateway_ipv6: [u8; 16],
    /// IPv4 addresses of the servers that names are looked up at.
    pub name_servers: [[u8; 4]; NAME_SERVERS_MAX],
}

impl NetworkIdentity {
    /// As it stands in guest memory, [`NETWORK`] behind [`crate::layout::RESUME_PAGE`].
    pub const fn to_bytes(&self) -> [u8; NETWORK_BYTES] {
        let mut bytes = [0; NETWORK_BYTES];
        put(&mut bytes, MAC, self.mac);
        put(&mut bytes, PREFIX_LEN, [self.prefix_len]);
        put(&mut bytes, IPV4, self.ipv4);
        put(&mut bytes, GATEWAY, self.gateway);
        put(&mut bytes, GATEWAY_MAC, self.gateway_mac);
        put(&mut bytes, MTU, self.mtu.to_le_bytes());
        put(&mut bytes, IPV6, self.ipv6);
        put(&mut bytes, GATEWAY_IPV6, self.gateway_ipv6);
        let [first, second] = self.name_servers;
        put(&mut bytes, NAME_SERVERS, first);
        put(&mut bytes, NAME_SERVERS + 4, second);
        bytes
    }

    /// Decodes what [`NetworkIdentity::to_bytes`] made. The VMM is trusted: there is no error.
    pub const fn from_bytes(bytes: &[u8; NETWORK_BYTES]) -> Self {
        Self {
            mac: get(bytes, MAC),
            prefix_len: bytes[PREFIX_LEN],
            ipv4: get(bytes, IPV4),
            gateway: get(bytes, GATEWAY),
            gateway_mac: get(bytes, GATEWAY_MAC),
            mtu: u16::from_le_bytes(get(bytes, MTU)),
            ipv6: get(bytes, IPV6),
            gateway_ipv6: get(bytes, GATEWAY_IPV6),
            name_servers: [get(bytes, NAME_SERVERS), get(bytes, NAME_SERVERS + 4)],
        }
    }
}

/// The content of the page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResumePage {
    /// [`FLAG_PRECISE_CLOCK`] and [`FLAG_NIC`]; other bits are zero.
    pub flags: u32,
    /// Grows with every resume of this VM; no two resumes of one VM see the same.
    pub generation: u64,
    /// Fresh for every resume of every VM.
    pub entropy: [u8; ENTROPY_BYTES],
    /// Unix time, nanoseconds.
    pub wall_ns: u64,
    /// Nanoseconds on a clock that never runs backwards within a VM.
    pub monotonic_ns: u64,
    /// When the VM is stopped if the request is not answered by then, on the monotonic clock;
    /// zero: never.
    pub deadline_ns: u64,
    /// First byte of the heap.
    pub heap_start: u64,
    /// First byte behind the heap.
    pub heap_end: u64,
    /// All RAM, bytes.
    pub ram_bytes: u64,
}

impl ResumePage {
    /// The page as it stands in guest memory at [`crate::layout::RESUME_PAGE`].
    pub const fn to_bytes(&self) -> [u8; HEAD_BYTES] {
        let mut page = [0; HEAD_BYTES];
        put(&mut page, VERSION, ABI_VERSION.to_le_bytes());
        put(&mut page, FLAGS, self.flags.to_le_bytes());
        put(&mut page, GENERATION, self.generation.to_le_bytes());
        put(&mut page, ENTROPY, self.entropy);
        put(&mut page, WALL_NS, self.wall_ns.to_le_bytes());
        put(&mut page, MONOTONIC_NS, self.monotonic_ns.to_le_bytes());
        put(&mut page, DEADLINE_NS, self.deadline_ns.to_le_bytes());
        put(&mut page, HEAP_START, self.heap_start.to_le_bytes());
        put(&mut page, HEAP_END, self.heap_end.to_le_bytes());
        put(&mut page, RAM_BYTES, self.ram_bytes.to_le_bytes());
        page
    }

    /// Decodes what [`ResumePage::to_bytes`] made. The VMM is trusted: there is no error.
    pub const fn from_bytes(page: &[u8; HEAD_BYTES]) -> Self {
        Self {
            flags: u32::from_le_bytes(get(page, FLAGS)),
            generation: u64::from_le_bytes(get(page, GENERATION)),
            entropy: get(page, ENTROPY),
            wall_ns: u64::from_le_bytes(get(page, WALL_NS)),
            monotonic_ns: u64::from_le_bytes(get(page, MONOTONIC_NS)),
            deadline_ns: u64::from_le_bytes(get(page, DEADLINE_NS)),
            heap_start: u64::from_le_bytes(get(page, HEAP_START)),
            heap_end: u64::from_le_bytes(get(page, HEAP_END)),
            ram_bytes: u64::from_le_bytes(get(page, RAM_BYTES)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let page = ResumePage {
            flags: FLAG_PRECISE_CLOCK,
            generation: 7,
            entropy: [9; ENTROPY_BYTES],
            wall_ns: u64::MAX,
            monotonic_ns: 3,
            deadline_ns: 4,
            heap_start: 5,
            heap_end: 6,
            ram_bytes: 8,
        };
        assert_eq!(ResumePage::from_bytes(&page.to_bytes()), page);
        let network = NetworkIdentity {
            mac: [2, 0, 0, 0, 0, 1],
            ipv4: [10, 0, 0, 2],
            prefix_len: 24,
            gateway: [10, 0, 0, 1],
            gateway_mac: [2, 0, 0, 0, 0, 2],
            mtu: 1400,
            ipv6: [0xfd; 16],
            gateway_ipv6: [0xfe; 16],
            name_servers: [[1, 1, 1, 1], [9, 9, 9, 9]],
        };
        assert_eq!(NetworkIdentity::from_bytes(&network.to_bytes()), network);
    }
}
