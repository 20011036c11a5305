//! One TAP, which is there already: whoever runs VMs with a TAP of an operator's needs no more rights than that one's owner.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, netdevice::name_to_index, socket_with},
};

const DEVICE: &str = "/dev/net/tun";
/// `IFNAMSIZ` of Linux include/uapi/linux/if.h: the byte that ends the name included.
const NAME_BYTES: usize = 16;
/// Where the kernel's `struct ifreq` has what it is about, and its size.
const REQUEST_BYTES: usize = NAME_BYTES + 24;
/// Where a `struct sockaddr` in it has the Ethernet address.
const ADDRESS_AT: usize = NAME_BYTES + 2;

/// Why a TAP cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum TapError {
    #[error(
        "invalid TAP name {0:?}: it must have 1 to 15 bytes, with no blank, no slash and no zero in them"
    )]
    Name(String),
    #[error(
        "there is no network interface {0}: make it with `ip tuntap add {0} mode tap user USER`"
    )]
    Missing(String),
    #[error(
        "cannot open {DEVICE}, through which TAPs are used: load the module with `modprobe tun`"
    )]
    Device(#[source] Errno),
    #[error(
        "no right to use the TAP {0}: run this as root, or as the user that it was made for with `ip tuntap add {0} mode tap user USER`"
    )]
    Rights(String),
    #[error("another process uses the TAP {0}: make one for each VM")]
    Busy(String),
    #[error(
        "the network interface {0} is no TAP, or one with several queues: make one with `ip tuntap add NAME mode tap`"
    )]
    Kind(String),
    #[error("the TAP {0} is down, so nothing can be sent: set it up with `ip link set {0} up`")]
    Down(String),
    #[error("cannot use the TAP {name}")]
    Os { name: String, source: Errno },
}

/// A TAP that this process has: one frame a call, no header before it, never blocking.
#[derive(Debug)]
pub struct Tap {
    /// Through which frames go.
    pub fd: OwnedFd,
    /// Ethernet address of the host's end.
    pub mac: [u8; 6],
}

impl Tap {
    /// Takes the TAP of this name, which nobody else may have.
    pub fn open(name: &str) -> Result<Self, TapError> {
        let mut request = request(name)?;
        let os = |source| TapError::Os {
            name: name.into(),
            source,
        };
        // Whoever may would make one of this name otherwise, which nobody gave an address.
        let kind = (AddressFamily::INET, SocketType::DGRAM);
        let socket = socket_with(kind.0, kind.1, SocketFlags::CLOEXEC, None).map_err(os)?;
        name_to_index(&socket, name).map_err(|_| TapError::Missing(name.into()))?;

        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = open(DEVICE, flags, Mode::empty()).map_err(TapError::Device)?;
        let wanted = libc::IFF_TAP | libc::IFF_NO_PI;
        let wanted = u16::try_from(wanted).unwrap_or_default(); // 0x1002.
        request[NAME_BYTES..NAME_BYTES + 2].copy_from_slice(&wanted.to_ne_bytes());
        ioctl(&fd, libc::TUNSETIFF, &mut request).map_err(|error| match error {
            Errno::PERM | Errno::ACCESS => TapError::Rights(name.into()),
            Errno::BUSY => TapError::Busy(name.into()),
            Errno::INVAL => TapError::Kind(name.into()),
            other => os(other),
        })?;
        ioctl(&socket, libc::SIOCGIFFLAGS, &mut request).map_err(os)?;
        let flags = u16::from_ne_bytes([request[NAME_BYTES], request[NAME_BYTES + 1]]);
        if i32::from(flags) & libc::IFF_UP == 0 {
            return Err(TapError::Down(name.into()));
        }
        ioctl(&socket, libc::SIOCGIFHWADDR, &mut request).map_err(os)?;
        let mut mac = [0; 6];
        mac.copy_from_slice(&request[ADDRESS_AT..ADDRESS_AT + 6]);
        Ok(Self { fd, mac })
    }
}

/// A `struct ifreq` with this name.
fn request(name: &str) -> Result<[u8; REQUEST_BYTES], TapError> {
    let is_bad = |byte: u8| byte.is_ascii_whitespace() || [0, b'/'].contains(&byte);
    let is_name = (1..NAME_BYTES).contains(&name.len()) && !name.bytes().any(is_bad);
    // The kernel makes a name of a pattern.
    if !is_name || name.contains('%') {
        return Err(TapError::Name(name.into()));
    }
    let mut request = [0; REQUEST_BYTES];
    request[..name.len()].copy_from_slice(name.as_bytes());
    Ok(request)
}

/// Asks about the interface that `request` names.
fn ioctl(
    fd: &OwnedFd,
    number: libc::Ioctl,
    request: &mut [u8; REQUEST_BYTES],
) -> Result<(), Errno> {
    // SAFETY: each of the numbers used here takes a `struct ifreq` by address, which is as long as `request` on 64-bit Linux and
    // may hold any bytes; the kernel keeps no address of it.
    match unsafe { libc::ioctl(fd.as_raw_fd(), number, request.as_mut_ptr()) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_the_kernel_sees_them() {
        for name in ["", "sixteen-bytes-xx", "a b", "a/b", "tap%d", "a\0", "a\n"] {
            let found = Tap::open(name);
            assert!(matches!(found, Err(TapError::Name(_))), "{name:?}");
        }
        assert_eq!(request("tap0").expect("a name")[..5], *b"tap0\0");
        request("fifteen-bytes-x").expect("the longest");
    }

    /// Nothing is made that was not there.
    #[test]
    fn an_interface_that_is_not_there_is_missing() {
        for _ in 0..2 {
            let found = Tap::open("jiffy-none");
            assert!(matches!(found, Err(TapError::Missing(_))), "{found:?}");
        }
    }

    #[test]
    fn another_interface_is_not_taken() {
        let found = Tap::open("lo").expect_err("no TAP");
        let is_told = matches!(
            found,
            TapError::Kind(_) | TapError::Rights(_) | TapError::Device(_)
        );
        assert!(is_told, "{found:?}");
    }
}
