//! A VM as its owner has it: its process is started, its image booted or its snapshot restored, it is asked, captured
//! and ended.
//!
//! ```text
//! spawner   the process that makes shells
//! vm        what is said to a VM, as futures           news   what it told
//! calls     what a guest asks for meanwhile        scope  what calls of a request keep for later ones
//! spans     what its calls were, for its log
//! wait      how one waits for it: in the calling thread, or as a runtime does
//! instance  a VM for who waits in the calling thread   launch, capture   how it is started, and made a snapshot of
//! ```
//!
//! Not here: the messages (`jiffy-control`), the sockets that carry them (`jiffy-socket`), KVM (`jiffy-vmm`).
#![forbid(unsafe_code)]

mod calls;
mod capture;
mod error;
mod instance;
mod launch;
mod news;
mod outcome;
mod scope;
mod spans;
mod spawner;
mod vm;
mod wait;

pub use calls::{CallContext, CallFuture, Calls, CallsInHand, Outgoing, Waiting};
pub use capture::{
    CreateSnapshotError, Created, NewSnapshot, capture_snapshot, create_snapshot, page_reader,
};
pub use error::VmError;
pub use instance::Instance;
pub use launch::{Device, Launch, LaunchError, NicEnd, Source, boot_packet, restore_packet};
pub use news::{LogSink, News};
pub use scope::Scope;
pub use spans::{CallSpan, NAME_BYTES_MAX, SPANS_MAX};
pub use spawner::{Shell, ShellProcess, SpawnError, Spawner, SpawnerOptions};
pub use vm::{Captured, GRACE, Vm};
pub use wait::{Sockets, Step, write_some};
