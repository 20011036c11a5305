//! Hosts and origins: one by itself, and patterns of them.
//!
//! A host is written in one way only: a name as DNS has it, without a dot at its end, or an address in its usual form. What
//! some resolvers take for an address besides that, such as `0x7f.1`, `127.1` or `2130706433`, is no host.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::InvalidGrant;

/// Bytes of a host's name at most: DNS's.
pub const HOST_BYTES_MAX: usize = 253;
/// Bytes of one label of it.
const LABEL_BYTES_MAX: usize = 63;

/// One host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name, in lower case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// A host; `*.example.com` stands for all names below `example.com`, `*` for all names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(inline, example = "api.stripe.com")
)]
pub enum HostPattern {
    /// `*`: every name, and no address.
    AnyName,
    /// `*.example.com`: every name that ends so, and not `example.com`.
    Below(String),
    /// This one.
    Is(Host),
}

/// How one speaks with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Scheme {
    Http,
    Https,
    Tcp,
}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// What is spoken.
    pub scheme: Scheme,
    /// With whom.
    pub host: Host,
    /// At which port.
    pub port: u16,
}

/// `https://HOST`, `http://HOST` or `tcp://HOST:PORT`; `*.example.com` stands for all names below `example.com`, `*` for all
/// names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(inline, example = "https://api.example.com")
)]
pub struct OriginPattern {
    /// What is spoken.
    pub scheme: Scheme,
    /// With whom.
    pub host: HostPattern,
    /// At which port.
    pub port: u16,
}

/// Whether it is a name of DNS in lower case. One whose last label begins with a digit is none: every top-level domain
/// begins with a letter, and every way to write an address of IPv4 ends in a number.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_of_label = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
        };
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(is_of_label)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= HOST_BYTES_MAX
        && text.split('.').all(is_label)
        && !last.starts_with(|first: char| first.is_ascii_digit())
}

impl FromStr for Host {
    type Err = InvalidGrant;

    fn from_str(text: &str) -> Result<Self, InvalidGrant> {
        let inner = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let address = match inner {
            Some(inner) => inner.parse::<Ipv6Addr>().map(IpAddr::V6),
            None => text.parse::<Ipv4Addr>().map(IpAddr::V4),
        };
        match address {
            Ok(address) => Ok(Self::Address(address)),
            Err(_) if is_host_name(text) => Ok(Self::Name(text.into())),
            Err(_) => Err(InvalidGrant::Host(text.into())),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl FromStr for HostPattern {
    type Err = InvalidGrant;

    fn from_str(text: &str) -> Result<Self, InvalidGrant> {
        match text.strip_prefix("*.") {
            _ if text == "*" => Ok(Self::AnyName),
            // All names below a top-level domain are no author's to name.
            Some(name) if is_host_name(name) && name.contains('.') => Ok(Self::Below(name.into())),
            Some(_) => Err(InvalidGrant::Host(text.into())),
            None => text.parse().map(Self::Is),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyName => f.write_str("*"),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Is(host) => host.fmt(f),
        }
    }
}

impl HostPattern {
    /// Whether `host` is one of them.
    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::AnyName, Host::Name(_)) => true,
            (Self::Below(above), Host::Name(name)) => name
                .strip_suffix(above.as_str())
                .is_some_and(|below| below.len() > 1 && below.ends_with('.')),
            (Self::AnyName | Self::Below(_), Host::Address(_)) => false,
            (Self::Is(it), host) => it == host,
        }
    }
}

impl Scheme {
    /// As an address spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
        }
    }

    /// The port that need not be written.
    pub const fn port(self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::Tcp => None,
        }
    }
}

/// Takes `SCHEME://HOST:PORT` apart; the port may be left out if the scheme has one.
fn parse<H: FromStr<Err = InvalidGrant>>(text: &str) -> Result<(Scheme, H, u16), InvalidGrant> {
    let not = || InvalidGrant::Origin(text.into());
    let (scheme, rest) = text.split_once("://").ok_or_else(not)?;
    let schemes = [Scheme::Http, Scheme::Https, Scheme::Tcp];
    let scheme = schemes.into_iter().find(|known| known.name() == scheme);
    let scheme = scheme.ok_or_else(not)?;
    // What is in brackets has colons of its own.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let port = match port {
        None => scheme.port(),
        Some(port) => Some(port)
            .filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0'))
            .and_then(|port| port.parse().ok()),
    };
    if host.contains(['/', '?', '#', '@', '\\']) {
        return Err(not());
    }
    Ok((scheme, host.parse()?, port.ok_or_else(not)?))
}

fn write(
    f: &mut fmt::Formatter<'_>,
    scheme: Scheme,
    host: &dyn fmt::Display,
    port: u16,
) -> fmt::Result {
    match scheme.port() == Some(port) {
        true => write!(f, "{}://{host}", scheme.name()),
        false => write!(f, "{}://{host}:{port}", scheme.name()),
    }
}

macro_rules! origins {
    ($($name:ident)+) => {$(
        impl FromStr for $name {
            type Err = InvalidGrant;

            fn from_str(text: &str) -> Result<Self, InvalidGrant> {
                let (scheme, host, port) = parse(text)?;
                Ok(Self { scheme, host, port })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(f, self.scheme, &self.host, self.port)
            }
        }
    )+};
}
origins!(Origin OriginPattern);

impl OriginPattern {
    /// Whether `origin` is one of them.
    pub fn matches(&self, origin: &Origin) -> bool {
        self.scheme == origin.scheme && self.port == origin.port && self.host.matches(&origin.host)
    }
}

macro_rules! texts {
    ($($name:ident)+) => {$(
        impl TryFrom<String> for $name {
            type Error = InvalidGrant;

            fn try_from(text: String) -> Result<Self, InvalidGrant> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(it: $name) -> Self {
                it.to_string()
            }
        }
    )+};
}
texts!(HostPattern OriginPattern);
