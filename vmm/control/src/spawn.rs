//! The messages between a spawner, the process that makes shells, and its owner.
//!
//! ```text
//! owner ── SpawnRequest, the shell's ends of two sockets ──▶ spawner ── fork, jail ──▶ shell
//!       ◀── SpawnReply, a descriptor of its process ────────
//! ```

use serde::{Deserialize, Serialize};

use crate::{Blame, Devices, Message};

/// What a spawner is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpawnRequest {
    /// A shell; its end of the control socket comes with this.
    Shell {
        /// RAM that its VM is prepared for, bytes.
        ram_bytes: u64,
        /// What it is made with: the vsock device, whose end of the request stream comes behind that of the control socket.
        devices: Devices,
    },
    /// Another size for the VM of a shell that has no function yet.
    Resize {
        /// The shell's process.
        process_id: u32,
        /// RAM of its VM to be, bytes.
        ram_bytes: u64,
    },
}

impl Message for SpawnRequest {
    const KIND: u8 = 3;
}

/// What a spawner answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpawnReply {
    /// It is ready. Said once, before anything is asked.
    Ready {
        /// Controllers of control groups that are missing on this host, and why.
        missing: Vec<Missing>,
    },
    /// The shell is there; a descriptor of its process comes with this.
    Shell {
        /// Its process.
        process_id: u32,
    },
    /// The size is set.
    Resized,
    /// It cannot be.
    Failed {
        /// Who is to blame for it.
        blame: Blame,
        /// One sentence with the fix.
        message: String,
    },
}

impl Message for SpawnReply {
    const KIND: u8 = 4;
}

/// A layer of the jail that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Its name.
    pub layer: String,
    /// Why, and what to do.
    pub reason: String,
}
