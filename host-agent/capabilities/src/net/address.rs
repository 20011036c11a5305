//! Which addresses are of the public Internet. All others lead into the host, into its network, or to what a cloud tells its
//! machines, and only the operator says which of them functions may reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of one kind, of IPv4: the range as in a CIDR.
type Range4 = ([u8; 4], u32, &'static str);
/// The same of IPv6: the first two groups of 16 bits, how many bits, the kind.
type Range6 = ([u16; 2], u32, &'static str);

/// What is not public of IPv4, and what a cloud has at a public one. The first that fits is told.
const NOT_PUBLIC_4: &[Range4] = &[
    ([169, 254, 169, 254], 32, METADATA),
    ([169, 254, 170, 2], 32, METADATA),
    ([100, 100, 100, 200], 32, METADATA),
    ([192, 0, 0, 192], 32, METADATA),
    ([168, 63, 129, 16], 32, METADATA),
    ([0, 0, 0, 0], 8, UNSPECIFIED),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "shared by a carrier"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "reserved"),
    ([192, 0, 2, 0], 24, "for documentation"),
    ([192, 88, 99, 0], 24, "of a relay"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "for benchmarks"),
    ([198, 51, 100, 0], 24, "for documentation"),
    ([203, 0, 113, 0], 24, "for documentation"),
    ([224, 0, 0, 0], 4, MULTICAST),
    ([240, 0, 0, 0], 4, "reserved"),
];

/// What is not public of IPv6 within 2000::/3, outside of which nothing is.
const NOT_PUBLIC_6: &[Range6] = &[
    ([0x2001, 0x0db8], 32, "for documentation"),
    ([0x2001, 0], 23, "reserved"),
    ([0x2002, 0], 16, EMBEDS),
    ([0x3fff, 0], 20, "for documentation"),
];

const METADATA: &str = "of a cloud's metadata service";
const UNSPECIFIED: &str = "unspecified";
const MULTICAST: &str = "multicast";
/// Another address is in it, which nobody would look at.
const EMBEDS: &str = "one of IPv4 within one of IPv6";

/// What an address is, if it is not public.
pub(crate) fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => not_public_4(address),
        IpAddr::V6(address) => not_public_6(address),
    }
}

/// Whether even an operator cannot allow an address: nobody has it.
pub(crate) fn is_nobodys(address: IpAddr) -> bool {
    matches!(not_public(address), Some(UNSPECIFIED | MULTICAST | EMBEDS))
}

fn not_public_4(address: Ipv4Addr) -> Option<&'static str> {
    let is_in = |(range, bits, _): &&Range4| {
        let differs = u32::from_be_bytes(*range) ^ address.to_bits();
        differs.leading_zeros() >= *bits
    };
    NOT_PUBLIC_4.iter().find(is_in).map(|(_, _, kind)| *kind)
}

fn not_public_6(address: Ipv6Addr) -> Option<&'static str> {
    let groups = address.segments();
    let is_in = |([first, second], bits, _): &&Range6| {
        let range = u32::from(*first) << 16 | u32::from(*second);
        let found = u32::from(groups[0]) << 16 | u32::from(groups[1]);
        (range ^ found).leading_zeros() >= *bits
    };
    match groups {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(UNSPECIFIED),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        // Mapped, compatible, translated, and by NAT64.
        [0, 0, 0, 0, 0 | 0xffff, 0 | 0xffff, ..] | [0x64, 0xff9b, ..] => Some(EMBEDS),
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254] => Some(METADATA),
        [0xff00..=0xffff, ..] => Some(MULTICAST),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfc00..=0xfdff, ..] => Some("private"),
        [0x2000..=0x3fff, ..] => NOT_PUBLIC_6.iter().find(is_in).map(|(_, _, kind)| *kind),
        _ => Some("reserved"),
    }
}
