//! The messages of the control socket, from the one who holds a shell to the shell.
//!
//! ```text
//! Waiting ── Boot ─────▶ Ready ──┬── requests ── Done, Done, …
//!        └── Restore ────────────┘      Capture ── Captured     (booted, before its first request)
//!                                       Stats ── Done      Reset ── Done      Stop ── Stopped
//! ```
//!
//! A command is taken while the guest is idle; one that is out of turn ends the VM.

use jiffy_model::Isolation;
use serde::{Deserialize, Serialize};

use crate::{Devices, Message};

/// Pages of a working set, as (first page, pages).
pub type PageRuns = Vec<(u64, u64)>;

/// What a shell is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Boots the image in the file that comes with this.
    Boot {
        /// RAM of the VM, bytes.
        ram_bytes: u64,
        /// What `init` and each request may take, milliseconds; `None`: for ever.
        timeout_ms: Option<u64>,
        /// The function's environment, encoded as `jiffy_abi::environment` says; may be empty.
        #[serde(with = "serde_bytes")]
        environment: Vec<u8>,
        /// What the VM is given besides the vsock device; their descriptors come behind the image's.
        devices: Devices,
    },
    /// Restores the snapshot whose RAM file comes with this.
    Restore {
        /// The snapshot's state file.
        #[serde(with = "serde_bytes")]
        state: Vec<u8>,
        /// Pages worth having from the start; may be empty.
        working_set: PageRuns,
        /// What a request finds of those before it.
        isolation: Isolation,
        /// What each request may take, milliseconds; `None`: for ever.
        timeout_ms: Option<u64>,
        /// What the VM is given besides the vsock device, which is what the snapshot has; their descriptors come behind
        /// the RAM file's.
        devices: Devices,
    },
    /// Writes all of RAM to the file that comes with this, and tells the rest.
    Capture,
    /// Puts a restored VM back to its snapshot.
    Reset,
    /// Tells what the VM took so far.
    Stats,
    /// Ends the VM.
    Stop,
}

impl Message for Command {
    const KIND: u8 = 2;
}
