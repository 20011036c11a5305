//! What the operator of a host says of where its functions may connect to: section `[egress]` of `jiffyd.toml`.

use std::{net::IpAddr, path::PathBuf, str::FromStr};

use jiffy_abi::call::{CallErrorKind, Sent};
use jiffy_model::{Cidr, Host, HostPattern};

use super::address;
use crate::Failure;

/// What an operator says of all functions together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// Hosts that functions may reach at all, if their authors say so; all, if it is empty.
    pub hosts: Vec<HostPattern>,
    /// What is not of the public Internet and may be reached all the same.
    pub private: Vec<Private>,
    /// Certificates of authorities beside those of the system, PEM.
    pub ca_file: Option<PathBuf>,
}

/// Addresses that are not public, and that functions may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Private {
    /// These addresses.
    Range(Cidr),
    /// Whatever addresses this host has.
    Host(Host),
}

impl FromStr for Private {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(range) = text.parse() {
            return Ok(Self::Range(range));
        }
        text.parse().map(Self::Host).map_err(|_| {
            format!(
                "invalid {text:?}: must be an address, a range such as 10.0.0.0/8, or a host's name"
            )
        })
    }
}

impl Egress {
    /// Whether functions may reach `host` at all.
    pub(crate) fn check_host(&self, host: &Host) -> Result<(), Failure> {
        match self.hosts.is_empty() || self.hosts.iter().any(|it| it.matches(host)) {
            true => Ok(()),
            false => Err(denied(format!(
                "{host} is not among the hosts that this agent's operator lets functions reach"
            ))),
        }
    }

    /// Whether a connection to `host` may go to `address`.
    pub(crate) fn check(&self, host: &Host, address: IpAddr) -> Result<(), Failure> {
        match address::not_public(address) {
            Some(kind) => self.check_private(host, address, kind),
            None => Ok(()),
        }
    }

    /// Whether a connection to `host` that goes to `address` from `own` may be used: the host has public addresses too, and
    /// behind those are what listens on it and no firewall. The system connects to an address of its own from that address.
    pub(crate) fn check_own(
        &self,
        host: &Host,
        own: IpAddr,
        address: IpAddr,
    ) -> Result<(), Failure> {
        match own == address {
            true => self.check_private(host, address, "of this very host"),
            false => Ok(()),
        }
    }

    fn check_private(&self, host: &Host, address: IpAddr, kind: &str) -> Result<(), Failure> {
        let is_allowed = self.private.iter().any(|private| match private {
            Private::Range(range) => range.contains(address),
            Private::Host(it) => it == host,
        });
        match is_allowed && !address::is_nobodys(address) {
            true => Ok(()),
            // The address is not told: what a network's own name servers say is not for functions.
            false => Err(denied(format!(
                "{host} has an address that is {kind}: functions reach only public ones and those that the operator allows"
            ))),
        }
    }
}

fn denied(message: String) -> Failure {
    Failure::new(CallErrorKind::Denied, Sent::No, message)
}
