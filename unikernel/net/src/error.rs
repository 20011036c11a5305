//! Why a socket does not do what it was asked for.

use alloc::string::String;
use core::fmt;

/// What came in the way of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The function has no NIC: `[network.nic]` in jiffy.toml, or `jiffy run --tap`.
    NoNic,
    /// Nobody listens there.
    Refused,
    /// The other side ended the connection in the middle, or it was one of `init`.
    Reset,
    /// It was not done in time.
    Timeout,
    /// This is neither an address with a port, nor a name with one.
    Address(String),
    /// No name server knows the name, or none answers.
    NotFound(String),
    /// There is no way to this address.
    Unreachable,
    /// The port is used by another socket of this function, or no port is free.
    InUse,
    /// The socket was closed for writing.
    Closed,
    /// A datagram is larger than what fits into one packet.
    TooLarge {
        /// Bytes that it has.
        bytes: usize,
        /// Bytes that it may have.
        max: usize,
    },
    /// Anything else that the host's sockets say, under `cargo test`.
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNic => f.write_str("the function has no NIC: give it one with [network.nic] in jiffy.toml, or by jiffy run --tap"),
            Self::Refused => f.write_str("the connection was refused: nobody listens there"),
            Self::Reset => f.write_str("the connection was reset"),
            Self::Timeout => f.write_str("the time for it is over"),
            Self::Address(text) => write!(f, "invalid address {text:?}: must be an IP address or a name, and a port, as in 10.0.0.1:80"),
            Self::NotFound(name) => write!(f, "no address of {name:?} was found"),
            Self::Unreachable => f.write_str("there is no way to this address"),
            Self::InUse => f.write_str("the port is in use, or none is free"),
            Self::Closed => f.write_str("the socket was closed for writing"),
            Self::TooLarge { bytes, max } => write!(f, "invalid datagram of {bytes} bytes: must have at most {max}"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for Error {}

impl embedded_io::Error for Error {
    fn kind(&self) -> embedded_io::ErrorKind {
        use embedded_io::ErrorKind;
        match self {
            Self::NoNic | Self::Unreachable => ErrorKind::AddrNotAvailable,
            Self::Refused => ErrorKind::ConnectionRefused,
            Self::Reset => ErrorKind::ConnectionReset,
            Self::Timeout => ErrorKind::TimedOut,
            Self::Address(_) | Self::TooLarge { .. } => ErrorKind::InvalidInput,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::InUse => ErrorKind::AddrInUse,
            Self::Closed => ErrorKind::BrokenPipe,
            Self::Other(_) => ErrorKind::Other,
        }
    }
}
