//! A VM as its owner has it: its process is started, its image booted or its snapshot restored, it is asked, captured
//! and ended.
//!
//! Not here: the messages (`jiffy-control`), the sockets that carry them (`jiffy-socket`), KVM (`jiffy-vmm`).
#![forbid(unsafe_code)]

mod create;
mod instance;
mod launch;
mod outcome;
mod pump;
mod spawner;

#[cfg(test)]
mod testing;

pub use create::{
    CreateSnapshotError, Created, NewSnapshot, RAM_FILE_NAME, capture_snapshot, create_snapshot,
    page_reader,
};
pub use instance::{Instance, InvokeError};
pub use launch::{Launch, LaunchError, Source, boot_packet, restore_packet};
pub use spawner::{Shell, ShellProcess, SpawnError, Spawner, SpawnerOptions};
