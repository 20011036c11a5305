//! What a command line says of a VM's network.

use std::{net::Ipv4Addr, os::fd::OwnedFd};

use clap::Args;
use jiffy_abi::{
    resume_page::{NAME_SERVERS_MAX, NetworkIdentity},
    virtio_net::MTU,
};
use jiffy_control::Network;

use crate::{Tap, TapError};

/// A guest's Ethernet address begins with this and ends with its IPv4 address: of no maker, and of one machine.
const MAC_PREFIX: [u8; 2] = [0x02, 0x6a];

/// The network of a VM, if it is to have one.
#[derive(Args, Clone, Debug, Default)]
pub struct NetworkOptions {
    /// Give the VM a NIC on this TAP, one that is there: `ip tuntap add NAME mode tap`. The function then sends and gets packets
    /// while it has a request, and nothing here filters them.
    #[arg(long, value_name = "NAME", requires = "address", requires = "gateway")]
    tap: Option<String>,
    /// Address of the VM and bits of its subnet, such as 10.9.0.2/24.
    #[arg(long, value_name = "IP/BITS", requires = "tap", value_parser = parse_subnet)]
    address: Option<(Ipv4Addr, u8)>,
    /// Address that the VM sends to whatever is not in its subnet: mostly that of the TAP.
    #[arg(long, value_name = "IP", requires = "tap")]
    gateway: Option<Ipv4Addr>,
    /// Ethernet address that the VM sends every packet to. Default: the TAP's.
    #[arg(long, value_name = "MAC", requires = "tap", value_parser = parse_mac)]
    gateway_mac: Option<[u8; 6]>,
    /// A server that the VM looks up names at; may be given twice.
    #[arg(long = "name-server", value_name = "IP", requires = "tap")]
    name_servers: Vec<Ipv4Addr>,
}

/// Why there is no such network.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum NetworkError {
    #[error(transparent)]
    Tap(#[from] TapError),
    #[error("the VM cannot have this network")]
    Network(#[from] jiffy_control::NetworkError),
    #[error("{0} name servers, more than {NAME_SERVERS_MAX}")]
    NameServers(usize),
}

impl NetworkError {
    /// Whether the command line is wrong, and not the host.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Network(_) | Self::NameServers(_) | Self::Tap(TapError::Name(_)) => true,
            Self::Tap(_) => false,
        }
    }
}

impl NetworkOptions {
    /// Opens the TAP: who the guest is, and the descriptor; `None` if no network is wanted.
    pub fn open(&self) -> Result<Option<(Network, OwnedFd)>, NetworkError> {
        let (Some(tap), Some((address, prefix_len)), Some(gateway)) =
            (&self.tap, self.address, self.gateway)
        else {
            return Ok(None); // The command line demands all or none.
        };
        let mut name_servers = [[0; 4]; NAME_SERVERS_MAX];
        let count = self.name_servers.len();
        let room = name_servers.get_mut(..count);
        let room = room.ok_or(NetworkError::NameServers(count))?;
        for (room, server) in room.iter_mut().zip(&self.name_servers) {
            *room = server.octets();
        }
        let Tap { fd, mac } = Tap::open(tap)?;
        let ipv4 = address.octets();
        let [first, second] = MAC_PREFIX;
        let [a, b, c, d] = ipv4;
        let network = Network::new(&NetworkIdentity {
            mac: [first, second, a, b, c, d],
            ipv4,
            prefix_len,
            gateway: gateway.octets(),
            gateway_mac: self.gateway_mac.unwrap_or(mac),
            mtu: MTU,
            name_servers,
            ..NetworkIdentity::default()
        })?;
        Ok(Some((network, fd)))
    }
}

fn parse_subnet(text: &str) -> Result<(Ipv4Addr, u8), String> {
    let parts = text.split_once('/');
    let parsed =
        parts.and_then(|(address, bits)| Some((address.parse().ok()?, bits.parse().ok()?)));
    parsed.ok_or_else(|| "it must be an IPv4 address and bits, such as 10.9.0.2/24".into())
}

fn parse_mac(text: &str) -> Result<[u8; 6], String> {
    let byte = |part: &str| match part.len() {
        2 if !part.starts_with('+') => u8::from_str_radix(part, 16).ok(),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
    let mac = bytes.and_then(|bytes| bytes.try_into().ok());
    mac.ok_or_else(|| "it must be an Ethernet address, such as 02:00:00:00:00:01".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        network: NetworkOptions,
    }

    fn parse(arguments: &str) -> Result<NetworkOptions, clap::Error> {
        let arguments = ["jiffy"].into_iter().chain(arguments.split_whitespace());
        Ok(Cli::try_parse_from(arguments)?.network)
    }

    #[test]
    fn a_network_is_whole_or_not_there() {
        assert!(parse("").expect("none").open().expect("none").is_none());
        for part in [
            "--tap t",
            "--tap t --address 10.9.0.2/24",
            "--tap t --gateway 10.9.0.1",
            "--address 10.9.0.2/24",
            "--gateway 10.9.0.1",
            "--name-server 9.9.9.9",
            "--gateway-mac 02:00:00:00:00:01",
        ] {
            parse(part).expect_err(part);
        }
        parse("--tap t --address 10.9.0.2/24 --gateway 10.9.0.1").expect("all");
    }

    #[test]
    fn addresses_are_told_from_other_texts() {
        assert_eq!(parse_subnet("10.9.0.2/24"), Ok(([10, 9, 0, 2].into(), 24)));
        for bad in [
            "10.9.0.2",
            "10.9.0/24",
            "10.9.0.2/",
            "10.9.0.2/256",
            "x/24",
            "",
            "::1/64",
        ] {
            parse_subnet(bad).expect_err(bad);
        }
        assert_eq!(parse_mac("02:6A:00:00:ff:01"), Ok([2, 0x6a, 0, 0, 0xff, 1]));
        for bad in [
            "02:6a:00:00:ff",
            "02:6a:00:00:ff:01:02",
            "2:6a:0:0:ff:1",
            "+2:6a:00:00:ff:01",
            "",
        ] {
            parse_mac(bad).expect_err(bad);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_before_a_vm_is_made() {
        let options = parse("--tap jiffy-none --address 10.9.0.2/24 --gateway 10.9.0.1");
        let error = options.expect("a command").open().expect_err("no TAP");
        assert!(!error.is_usage());
        let text = error.to_string();
        assert!(
            text.starts_with("there is no network interface jiffy-none: make it with"),
            "{text}"
        );
        let servers = "--name-server 9.9.9.9 --name-server 1.1.1.1 --name-server 8.8.8.8";
        let all = format!("--tap t --address 10.9.0.2/24 --gateway 10.9.0.1 {servers}");
        let error = parse(&all).expect("a command").open().expect_err("three");
        assert!(error.is_usage());
        assert_eq!(error.to_string(), "3 name servers, more than 2");
    }
}
