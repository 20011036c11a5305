//! The jail around a process that runs a VM: what a guest meets that has taken over its monitor.
//!
//! ```text
//! agent ── exec ──▶ spawner ── enter_outer, once: network, mount, IPC and UTS namespaces, empty root
//!                     └─ fork_shell, for each VM ──▶ shell: PID, mount, IPC and UTS namespaces of its own
//!                                                      └─ close, last: user, capabilities, limits, Landlock, filter
//! ```
//!
//! As root every layer is in force. An ordinary user gets them in a user namespace, without a user
//! of its own for each VM; where user namespaces are refused as well, limits, Landlock and the filter
//! remain. [`JailReport`] says which layers are in force and why the others are not.
//! Not here: cgroups, the spawner's and the shell's protocols.

mod clone;
mod close;
mod namespaces;
mod seccomp;

#[cfg(test)]
mod tests;

pub use clone::{Fork, exit_now, fork_shell, reap};
pub use close::{
    JailConfig, NOFILE_MAX, NPROC_MAX, close, close_descriptor, die_with, keep_only_standard_and,
};
pub use namespaces::{Outer, Privilege, enter_outer};
pub use seccomp::{Condition, Entry, Filter};

use std::{borrow::Cow, fmt, io};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Why a jail cannot be closed, named by the step. Nobody may go on after one of these.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum JailError {
    #[error(
        "a process with more than one thread cannot be jailed or forked: this is a bug of jiffy-vmm"
    )]
    Threads,
    #[error("cannot make namespaces: use a kernel with mount, network, IPC and UTS namespaces")]
    Namespaces(#[source] Errno),
    #[error("cannot make the mounts private: start jiffy where its processes may mount")]
    PrivateMounts(#[source] Errno),
    #[error(
        "cannot mount an empty root over /proc: start jiffy where its processes may mount a tmpfs"
    )]
    MountRoot(#[source] Errno),
    #[error("cannot go into the empty root")]
    EnterRoot(#[source] Errno),
    #[error(
        "cannot make the empty root the root: start jiffy where its processes may call pivot_root"
    )]
    PivotRoot(#[source] Errno),
    #[error("cannot detach the old root")]
    DetachRoot(#[source] Errno),
    #[error("cannot set the jail's host name")]
    Hostname(#[source] Errno),
    #[error("cannot fork a shell: use Linux 5.7 or newer, and allow it clone3 and more processes")]
    Fork(#[source] io::Error),
    #[error("cannot close inherited descriptors: use Linux 5.9 or newer")]
    CloseDescriptors(#[source] io::Error),
    #[error("cannot make a session")]
    Session(#[source] Errno),
    #[error("cannot make a cgroup namespace: use a kernel with CONFIG_CGROUPS")]
    CgroupNamespace(#[source] Errno),
    #[error("cannot limit {limit} to {value}")]
    Limit {
        limit: &'static str,
        value: u64,
        #[source]
        source: Errno,
    },
    #[error(
        "invalid user {uid} and group {gid} for a VM: must be other than 0 and {}",
        u32::MAX
    )]
    Identity { uid: u32, gid: u32 },
    #[error(
        "cannot drop capability {number} from the bounding set: start the spawner with CAP_SETPCAP"
    )]
    BoundingSet {
        number: u32,
        #[source]
        source: Errno,
    },
    #[error("cannot lock the secure bits: start the spawner with CAP_SETPCAP")]
    SecureBits(#[source] Errno),
    #[error("cannot drop supplementary groups: start the spawner with CAP_SETGID")]
    Groups(#[source] Errno),
    #[error("cannot become group {gid}: start the spawner with CAP_SETGID")]
    Group {
        gid: u32,
        #[source]
        source: Errno,
    },
    #[error("cannot become user {uid}: start the spawner with CAP_SETUID")]
    User {
        uid: u32,
        #[source]
        source: Errno,
    },
    #[error("cannot clear the ambient capabilities")]
    AmbientSet(#[source] Errno),
    #[error("cannot drop the capabilities")]
    Capabilities(#[source] Errno),
    #[error("cannot forswear new privileges")]
    NoNewPrivileges(#[source] Errno),
    #[error("cannot restrict the process with Landlock")]
    Landlock(#[from] landlock::RulesetError),
    #[error("cannot make the process undumpable")]
    NotDumpable(#[source] Errno),
    #[error("cannot tie the process to the life of its parent")]
    DeathSignal(#[source] Errno),
    #[error("the spawner ended while this shell was made")]
    Orphan,
    #[error("seccomp.json is not a list of system calls: this is a bug of jiffy-vmm")]
    FilterList(#[source] serde_json::Error),
    #[error("seccomp.json does not compile: this is a bug of jiffy-vmm")]
    FilterCompile(#[source] seccompiler::Error),
    #[error("cannot apply the system call filter: use a kernel with CONFIG_SECCOMP_FILTER")]
    FilterApply(#[source] seccompiler::Error),
}

/// A layer of the jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Layer {
    /// Mount, network, IPC, UTS and PID namespaces.
    Namespaces,
    /// An empty, read-only root directory.
    EmptyRoot,
    /// A cgroup namespace.
    CgroupNamespace,
    /// Resource limits of the process.
    Limits,
    /// A user and a group that no other VM has.
    OwnUser,
    /// No capability, and no way to get one.
    Capabilities,
    /// No privileges from what is executed.
    NoNewPrivileges,
    /// Landlock, allowing nothing.
    Landlock,
    /// No core dump, and no access by other processes of the user.
    NotDumpable,
    /// A signal at the end of the spawner.
    DiesWithParent,
    /// The list of system calls.
    Filter,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespaces => "namespaces",
            Self::EmptyRoot => "empty root",
            Self::CgroupNamespace => "cgroup namespace",
            Self::Limits => "resource limits",
            Self::OwnUser => "own user",
            Self::Capabilities => "no capabilities",
            Self::NoNewPrivileges => "no new privileges",
            Self::Landlock => "Landlock",
            Self::NotDumpable => "not dumpable",
            Self::DiesWithParent => "dies with its parent",
            Self::Filter => "system call filter",
        })
    }
}

/// What became of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It holds.
    InForce,
    /// It holds in part; what is missing and why.
    Reduced(Cow<'static, str>),
    /// It is not there; why.
    Missing(Cow<'static, str>),
}

/// Which layers of a closed jail are in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailReport {
    /// Every layer, in the order in which they were closed.
    pub layers: Vec<(Layer, State)>,
}

impl JailReport {
    /// What became of `layer`.
    pub fn state(&self, layer: Layer) -> Option<&State> {
        let found = self.layers.iter().find(|(found, _)| *found == layer);
        found.map(|(_, state)| state)
    }

    /// The layers that are reduced or missing, each with the reason.
    pub fn gaps(&self) -> impl Iterator<Item = (Layer, &str)> {
        self.layers.iter().filter_map(|(layer, state)| match state {
            State::InForce => None,
            State::Reduced(reason) | State::Missing(reason) => Some((*layer, &**reason)),
        })
    }

    fn push(&mut self, layer: Layer, state: State) {
        self.layers.push((layer, state));
    }
}
