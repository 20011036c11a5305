//! Ranges of addresses.

use std::{net::IpAddr, str::FromStr};

/// Addresses with the same first bits; of IPv4 those of the mapped IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: u128,
    bits: u32,
}

/// Why a text is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid range {0:?}: must be an address or a range such as 10.0.0.0/8")]
pub struct InvalidCidr(pub String);

/// What IPv4 addresses begin with when they are mapped (RFC 4291, 2.5.5.2).
const MAPPED_BITS: u32 = 96;

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Cidr {
    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let differs = bits_of(address) ^ self.address;
        differs.leading_zeros() >= self.bits
    }
}

/// `10.0.0.0/8`, `fd00::/8`, or one address.
impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let wrong = || InvalidCidr(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let (bits_max, bits_before) = match address {
            IpAddr::V4(_) => (32, MAPPED_BITS),
            IpAddr::V6(_) => (128, 0),
        };
        let bits = match bits {
            None => bits_max,
            Some(text) => text
                .parse()
                .ok()
                .filter(|bits| *bits <= bits_max)
                .ok_or_else(wrong)?,
        };
        Ok(Self {
            address: bits_of(address),
            bits: bits + bits_before,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_say() {
        let check = |range: &str, inside: &[&str], outside: &[&str]| {
            let range: Cidr = range.parse().expect("a range");
            let holds = |address: &&str| range.contains(address.parse().expect("an address"));
            assert!(
                inside.iter().all(holds) && !outside.iter().any(holds),
                "{range:?}"
            );
        };
        check(
            "10.0.0.0/8",
            &["10.0.0.0", "10.255.255.255", "::ffff:10.1.1.1"],
            &["11.0.0.0", "9.255.255.255", "::a00:0"],
        );
        check("192.0.2.7", &["192.0.2.7"], &["192.0.2.6"]);
        check("0.0.0.0/0", &["1.2.3.4"], &["2001:db8::1"]);
        check("fd00::/8", &["fdff::1"], &["fe80::1", "1.2.3.4"]);
        check("::/0", &["2001:db8::1", "1.2.3.4"], &[]);
        for wrong in [
            "",
            "a",
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0.0/",
            "10.0.0/8",
            "10.0.0.0/-1",
            "1.2.3.4:80",
        ] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }
}
