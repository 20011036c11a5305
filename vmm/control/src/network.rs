//! Who a guest with a network is, and whom it sends to: checked where it is made, and again where it comes in.
//!
//! Not here: who gives out addresses, and what a network lets through.

use std::net::{Ipv4Addr, Ipv6Addr};

use jiffy_abi::{
    resume_page::{NAME_SERVERS_MAX, NetworkIdentity},
    virtio_net::{MTU, MTU_MIN},
};
use serde::{Deserialize, Serialize};

/// Bits of a subnet at most: one with two addresses that are not its first and its last.
const PREFIX_LEN_MAX: u8 = 30;

/// What a guest is told of its network. What is received may be anything until [`Network::identity`] has looked at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    mac: [u8; 6],
    ipv4: [u8; 4],
    prefix_len: u8,
    gateway: [u8; 4],
    gateway_mac: [u8; 6],
    mtu: u16,
    ipv6: [u8; 16],
    gateway_ipv6: [u8; 16],
    name_servers: [[u8; 4]; NAME_SERVERS_MAX],
}

/// Why nobody can have such a network. All blame who made it up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum NetworkError {
    #[error("its MTU is {0}: it must be {MTU_MIN} to {MTU}")]
    Mtu(u16),
    #[error(
        "the Ethernet address {} is nobody's own: the lowest bit of its first byte must be 0, and another one 1",
        MacAddress(*.0)
    )]
    Mac([u8; 6]),
    #[error("guest and gateway have one Ethernet address, {}", MacAddress(*.0))]
    SameMac([u8; 6]),
    #[error("its subnet has {0} bits: it must have 1 to {PREFIX_LEN_MAX}")]
    PrefixLen(u8),
    #[error("the address {0} is nobody's own: it is of no host, of all, or of the host itself")]
    Address(Ipv4Addr),
    #[error("the gateway {gateway} is not in the subnet of {address}/{prefix_len}")]
    Gateway {
        gateway: Ipv4Addr,
        address: Ipv4Addr,
        prefix_len: u8,
    },
    #[error("guest and gateway have one address, {0}")]
    SameAddress(Ipv4Addr),
    #[error("of the IPv6 addresses of guest and gateway one is missing, or both are the same")]
    Ipv6,
    #[error(
        "the IPv6 address {0} is nobody's own: it is of no host, of several, or of the host itself"
    )]
    AddressIpv6(Ipv6Addr),
    #[error("the name server {0} cannot be one: it is of no host, of all, or of the host itself")]
    NameServer(Ipv4Addr),
}

impl Network {
    /// The network of `identity`, which is checked.
    pub fn new(identity: &NetworkIdentity) -> Result<Self, NetworkError> {
        let NetworkIdentity {
            mac,
            ipv4,
            prefix_len,
            gateway,
            gateway_mac,
            mtu,
            ipv6,
            gateway_ipv6,
            name_servers,
        } = *identity;
        let network = Self {
            mac,
            ipv4,
            prefix_len,
            gateway,
            gateway_mac,
            mtu,
            ipv6,
            gateway_ipv6,
            name_servers,
        };
        network.check()?;
        Ok(network)
    }

    /// As the guest is told it, once it is found to be a network.
    pub fn identity(&self) -> Result<NetworkIdentity, NetworkError> {
        self.check()?;
        let Self {
            mac,
            ipv4,
            prefix_len,
            gateway,
            gateway_mac,
            mtu,
            ipv6,
            gateway_ipv6,
            name_servers,
        } = *self;
        Ok(NetworkIdentity {
            mac,
            ipv4,
            prefix_len,
            gateway,
            gateway_mac,
            mtu,
            ipv6,
            gateway_ipv6,
            name_servers,
        })
    }

    fn check(&self) -> Result<(), NetworkError> {
        if !(MTU_MIN..=MTU).contains(&self.mtu) {
            return Err(NetworkError::Mtu(self.mtu));
        }
        for mac in [self.mac, self.gateway_mac] {
            let is_group = mac[0] & 1 != 0;
            if is_group || mac == [0; 6] {
                return Err(NetworkError::Mac(mac));
            }
        }
        if self.mac == self.gateway_mac {
            return Err(NetworkError::SameMac(self.mac));
        }
        self.check_ipv4()?;
        self.check_ipv6()?;
        for server in self.name_servers.map(Ipv4Addr::from) {
            // There may be fewer.
            if !server.is_unspecified() && !is_of_one_host(server) {
                return Err(NetworkError::NameServer(server));
            }
        }
        Ok(())
    }

    fn check_ipv4(&self) -> Result<(), NetworkError> {
        let prefix_len = self.prefix_len;
        if !(1..=PREFIX_LEN_MAX).contains(&prefix_len) {
            return Err(NetworkError::PrefixLen(prefix_len));
        }
        let (address, gateway) = (Ipv4Addr::from(self.ipv4), Ipv4Addr::from(self.gateway));
        let hosts = u32::MAX >> prefix_len;
        for own in [address, gateway] {
            let host = own.to_bits() & hosts;
            if !is_of_one_host(own) || host == 0 || host == hosts {
                return Err(NetworkError::Address(own));
            }
        }
        if address.to_bits() & !hosts != gateway.to_bits() & !hosts {
            return Err(NetworkError::Gateway {
                gateway,
                address,
                prefix_len,
            });
        }
        if address == gateway {
            return Err(NetworkError::SameAddress(address));
        }
        Ok(())
    }

    fn check_ipv6(&self) -> Result<(), NetworkError> {
        let both = [self.ipv6, self.gateway_ipv6].map(Ipv6Addr::from);
        let [address, gateway] = both;
        if both.iter().all(Ipv6Addr::is_unspecified) {
            return Ok(());
        }
        if both.iter().any(Ipv6Addr::is_unspecified) || address == gateway {
            return Err(NetworkError::Ipv6);
        }
        match both
            .into_iter()
            .find(|own| own.is_multicast() || own.is_loopback())
        {
            Some(own) => Err(NetworkError::AddressIpv6(own)),
            None => Ok(()),
        }
    }
}

/// Whether an address may be one other machine's.
fn is_of_one_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    // 0.0.0.0/8, 127.0.0.0/8, multicast and what is reserved behind it.
    !matches!(first, 0 | 127 | 224..)
}

/// An Ethernet address as people write it.
struct MacAddress([u8; 6]);

impl std::fmt::Display for MacAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn good() -> NetworkIdentity {
        NetworkIdentity {
            mac: [2, 0x6a, 10, 9, 0, 2],
            ipv4: [10, 9, 0, 2],
            prefix_len: 24,
            gateway: [10, 9, 0, 1],
            gateway_mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            name_servers: [[9, 9, 9, 9], [0; 4]],
            ..NetworkIdentity::default()
        }
    }

    fn refusal(change: impl FnOnce(&mut NetworkIdentity)) -> NetworkError {
        let mut identity = good();
        change(&mut identity);
        Network::new(&identity).expect_err("refused")
    }

    #[test]
    fn a_good_one_is_what_it_was() {
        let network = Network::new(&good()).expect("a network");
        assert_eq!(network.identity(), Ok(good()));
        for change in [
            (|identity| identity.mtu = 1280) as fn(&mut NetworkIdentity),
            |identity| identity.name_servers = [[0; 4]; 2],
            |identity| (identity.prefix_len, identity.gateway) = (30, [10, 9, 0, 1]),
            |identity| (identity.prefix_len, identity.gateway) = (1, [1, 0, 0, 1]),
            |identity| (identity.ipv6, identity.gateway_ipv6) = ([0xfd; 16], [0xfe; 16]),
        ] {
            let mut identity = good();
            change(&mut identity);
            Network::new(&identity).expect("a network");
        }
    }

    #[test]
    fn each_rule_refuses_with_the_value() {
        assert_eq!(refusal(|it| it.mtu = 1279), NetworkError::Mtu(1279));
        assert_eq!(refusal(|it| it.mtu = 1501), NetworkError::Mtu(1501));
        assert_eq!(refusal(|it| it.mtu = 0), NetworkError::Mtu(0));
        assert_eq!(
            refusal(|it| it.mac[0] = 3).to_string(),
            "the Ethernet address 03:6a:0a:09:00:02 is nobody's own: \
             the lowest bit of its first byte must be 0, and another one 1"
        );
        assert_eq!(
            refusal(|it| it.gateway_mac = [0; 6]),
            NetworkError::Mac([0; 6])
        );
        let same = refusal(|it| it.gateway_mac = it.mac);
        assert_eq!(same, NetworkError::SameMac(good().mac));
        for bits in [0, 31, 32, 33, 255] {
            assert_eq!(
                refusal(|it| it.prefix_len = bits),
                NetworkError::PrefixLen(bits)
            );
        }
        for nobodys in [
            [0; 4],
            [127, 0, 0, 1],
            [10, 9, 0, 0],
            [10, 9, 0, 255],
            [224, 0, 0, 1],
            [255; 4],
        ] {
            let expected = NetworkError::Address(nobodys.into());
            assert_eq!(refusal(|it| it.ipv4 = nobodys), expected);
            assert_eq!(refusal(|it| it.gateway = nobodys), expected);
        }
        assert_eq!(
            refusal(|it| it.gateway = [10, 9, 1, 1]).to_string(),
            "the gateway 10.9.1.1 is not in the subnet of 10.9.0.2/24"
        );
        let same = refusal(|it| it.gateway = it.ipv4);
        assert_eq!(same, NetworkError::SameAddress([10, 9, 0, 2].into()));
        assert_eq!(refusal(|it| it.ipv6 = [0xfd; 16]), NetworkError::Ipv6);
        let multicast = refusal(|it| (it.ipv6, it.gateway_ipv6) = ([0xff; 16], [0xfd; 16]));
        assert_eq!(multicast, NetworkError::AddressIpv6([0xff; 16].into()));
        let server = refusal(|it| it.name_servers[1] = [127, 0, 0, 53]);
        assert_eq!(server, NetworkError::NameServer([127, 0, 0, 53].into()));
    }

    proptest! {
        /// Whatever comes in, what is taken is what would be taken of its owner.
        #[test]
        fn what_is_received_is_checked_again(
            prefix_len in 0..40_u8,
            ipv4: [u8; 4],
            gateway: [u8; 4],
            mtu in 1200..1600_u16,
            macs: [[u8; 6]; 2],
        ) {
            let [mac, gateway_mac] = macs;
            let identity = NetworkIdentity { mac, ipv4, prefix_len, gateway, gateway_mac, mtu, ..good() };
            let received = Network {
                mac,
                ipv4,
                prefix_len,
                gateway,
                gateway_mac,
                mtu,
                ipv6: [0; 16],
                gateway_ipv6: [0; 16],
                name_servers: good().name_servers,
            };
            prop_assert_eq!(received.identity().err(), Network::new(&identity).err());
        }
    }
}
