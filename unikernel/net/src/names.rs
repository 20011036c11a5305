//! Addresses as an author writes them, and names that stand for some.

use alloc::{borrow::ToOwned, string::String, vec, vec::Vec};
use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use crate::{Error, system};

/// How long a name is looked up.
const LOOKUP: Duration = Duration::from_secs(10);

/// Addresses of `name`, which may be one itself. Asks the name servers that the host told of, for IPv4 addresses.
///
/// ```
/// assert_eq!(jiffy_net::lookup("10.1.2.3")?, [core::net::IpAddr::from([10, 1, 2, 3])]);
/// # Ok::<(), jiffy_net::Error>(())
/// ```
pub fn lookup(name: &str) -> Result<Vec<IpAddr>, Error> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    if name == "localhost" {
        return Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }
    system::lookup(name, LOOKUP)
}

/// What can be connected to: an address with a port, or a text of one, `10.0.0.1:80`, `[fd00::1]:80` or `name:80`.
pub trait Address {
    /// The addresses, of which the first that answers is taken.
    fn addresses(&self) -> Result<Vec<SocketAddr>, Error>;
}

impl Address for SocketAddr {
    fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        Ok(vec![*self])
    }
}

impl Address for (IpAddr, u16) {
    fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        Ok(vec![(*self).into()])
    }
}

impl Address for (&str, u16) {
    fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        let (name, port) = *self;
        // An IPv6 address may stand in brackets, as in a text with a port.
        let bare = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        let addresses = match bare {
            Some(bare) => match bare.parse::<Ipv6Addr>() {
                Ok(address) => vec![address.into()],
                Err(_) => return Err(Error::Address(name.to_owned())),
            },
            None => lookup(name)?,
        };
        Ok(addresses
            .into_iter()
            .map(|address| SocketAddr::new(address, port))
            .collect())
    }
}

impl Address for str {
    fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        if let Ok(address) = self.parse() {
            return Ok(vec![address]);
        }
        let invalid = || Error::Address(self.to_owned());
        let (name, port) = self.rsplit_once(':').ok_or_else(invalid)?;
        let port = port.parse().map_err(|_| invalid())?;
        if name.is_empty() || name.contains(':') {
            return Err(invalid());
        }
        (name, port).addresses()
    }
}

impl Address for String {
    fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        self.as_str().addresses()
    }
}

impl<A: Address + ?Sized> Address for &A {
    fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        A::addresses(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_what_is_none_is_told() {
        let v4 = SocketAddr::from(([10, 0, 0, 1], 80));
        assert_eq!("10.0.0.1:80".addresses(), Ok(vec![v4]));
        assert_eq!(("10.0.0.1", 80).addresses(), Ok(vec![v4]));
        assert_eq!(v4.addresses(), Ok(vec![v4]));
        let v6 = SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 1], 80));
        assert_eq!("[fd00::1]:80".addresses(), Ok(vec![v6]));
        assert_eq!(("[fd00::1]", 80).addresses(), Ok(vec![v6]));
        assert_eq!(("fd00::1", 80).addresses(), Ok(vec![v6]));
        for wrong in [
            "",
            ":80",
            "10.0.0.1",
            "10.0.0.1:",
            "10.0.0.1:65536",
            "fd00::1:80",
            "[::1:80",
            "a:b",
        ] {
            assert_eq!(
                wrong.addresses(),
                Err(Error::Address(wrong.into())),
                "{wrong}"
            );
        }
    }
}
