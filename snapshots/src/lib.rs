//! Snapshots on disk: what is in one, how it is written so that no crash leaves a half, and how it
//! is read so that no byte is believed before it is checked.
//!
//! ```text
//! hello.snap/state         header, State         verified whole by `Snapshot::open`
//! hello.snap/ram           guest RAM, sparse     mapped by the VMM; read whole by `Snapshot::verify`
//! hello.snap/working-set   pages worth having    optional, and never needed
//! ```
//!
//! `docs/snapshot-format.md` has the bytes. Not here: KVM, mappings, guest memory: `jiffy-vmm`.
#![forbid(unsafe_code)]

pub mod devices;
pub mod state;

mod cpu;
mod create;
mod digest;
mod disk;
mod format;
mod memory;
mod private;
mod ram;
mod snapshot;
mod staging;
mod store;
mod why;
mod working_set;

#[cfg(test)]
mod testing;

pub use cpu::{CPU_WORDS_MAX, CpuNeeds, CpuRegister, CpuWord};
pub use create::{WriteWorkingSetError, create, write_working_set};
pub use digest::{DIGEST_BYTES, Digest, DigestError};
pub use format::{
    FORMAT_VERSION, FormatError, HEADER_BYTES, RamSummary, STATE_BYTES_MAX, STATE_FILE_BYTES_MAX,
    STATE_MAGIC, StateFile, seal,
};
pub use private::{PrivateDirError, SecretError, private_dir, read_credential, read_secret};
pub use ram::{PAGE_LEN, Page};
pub use snapshot::{OpenError, Snapshot, Verified, VerifyError};
pub use staging::CreateError;
pub use state::{State, StateError};
pub use store::{Collected, FileStore, NewFile, Store, StoreError};
pub use why::{why, why_of};
pub use working_set::{
    PageRun, WORKING_SET_FILE_BYTES_MAX, WORKING_SET_MAGIC, WORKING_SET_RUNS_MAX,
    WORKING_SET_VERSION, WorkingSetError, decode_working_set, encode_working_set, seal_working_set,
};

/// Name of the file with header and state.
pub const STATE_FILE: &str = "state";
/// Name of the file with guest RAM.
pub const RAM_FILE: &str = "ram";
/// Name of the file with the working set.
pub const WORKING_SET_FILE: &str = "working-set";

/// Who is to blame for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The snapshot, or an argument.
    Input,
    /// The machine: files, disk, permissions.
    Host,
}
