//! Sockets of a function that has a NIC.
//!
//! ```no_run
//! use jiffy_net::TcpStream;
//!
//! # fn ask() -> Result<(), jiffy_net::Error> {
//! let mut socket = TcpStream::connect("10.1.2.3:5432")?;
//! socket.write_all(b"PING\r\n")?;
//! let mut answer = [0; 64];
//! let len = socket.read(&mut answer)?;
//! # let _ = &answer[..len];
//! # Ok(())
//! # }
//! ```
//!
//! In an image packets are made and read here, by smoltcp, over the driver in `jiffy-rt`; under `cargo test` the host's own sockets stand
//! in for it. A socket waits as long as it is told, and never longer than its request may take. A VM has its addresses from its host at
//! each resume. Sockets of `init` do not outlive it: what would be in the snapshot is closed when the VM has its own address.
//!
//! ```text
//! tcp, udp, names   what an author has
//! guest             the one stack of an image, over the NIC
//! stack             smoltcp, and waiting: tested over a wire that loses, doubles and reorders
//! host              the same over std
//! ```
//!
//! Not here: TLS; requests, SQL and whatever else the host does for a function (`jiffy`, the SDK).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(not(jiffy_guest))]
extern crate std;

mod error;
#[cfg(jiffy_guest)]
mod guest;
#[cfg(not(jiffy_guest))]
mod host;
mod names;
#[cfg(any(jiffy_guest, test))]
#[cfg_attr(
    test,
    allow(dead_code, reason = "what an image alone has is not all tested here")
)]
mod stack;
mod tcp;
mod udp;

#[cfg(jiffy_guest)]
use guest as system;
#[cfg(not(jiffy_guest))]
use host as system;

pub use self::{
    error::Error,
    names::{Address, lookup},
    tcp::{TcpListener, TcpStream},
    udp::UdpSocket,
};

/// Brings the NIC up, which is otherwise done when it is used first. In `init` it costs the requests nothing. Fails if the function
/// has none.
pub fn prepare() -> Result<(), Error> {
    system::prepare()
}
