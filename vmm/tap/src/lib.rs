//! The host's side of a NIC: a TAP that an operator made, opened by its name, and who the guest behind it is, as a command line
//! says it.
//!
//! ```text
//! open       TAP by name -> descriptor and Ethernet address
//! options    --tap, --address, --gateway … -> NIC's end
//! ```
//! Not here: making TAPs, addresses and routes of the host, and what may pass (`ip`, `nft`); frames (`jiffy-vmm`).
#![deny(unsafe_code)]

#[allow(
    unsafe_code,
    reason = "ioctls of TAPs are given a structure by address"
)]
mod open;
mod options;

pub use open::{Tap, TapError};
pub use options::{NetworkError, NetworkOptions};
