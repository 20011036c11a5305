//! Closes the jail of a shell, the last step before it waits for commands.
//!
//! ```text
//! session, cgroup namespace ─ limits ─ groups, group, user ─ capabilities ─ no new privileges
//!   ─ Landlock ─ not dumpable ─ death signal ─ filter
//! ```
//!
//! Each step needs what a later one takes away. The death signal and "not dumpable" come after the
//! change of user, which resets both; the filter forbids all the others.
//! Not here: the bounding set and the secure bits, which the spawner gave up for all (`namespaces`).

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
};

use landlock::{ABI, Access, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr, Scope};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{
        DumpableBehavior, Gid, Resource, Rlimit, Signal, Uid, getrlimit, set_dumpable_behavior,
        set_parent_process_death_signal, setrlimit, setsid,
    },
    thread::{
        CapabilitySet, CapabilitySets, UnshareFlags, clear_ambient_capability_set,
        set_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
        set_thread_res_uid,
    },
};

use super::{Filter, JailError, JailReport, Layer, Outer, Privilege, State, namespaces::unshare};

/// Numbers of descriptors that a shell may have open: it holds about a dozen.
pub const NOFILE_MAX: u64 = 32;
/// Processes and threads of a shell's own user. One is the shell. Current kernels make the other at the
/// first `KVM_RUN`, in the shell's name, to recover huge pages: with 1 here `KVM_RUN` fails with `EAGAIN`
/// (seen on 6.18). Where KVM makes none, only the filter and the cgroup refuse a fork.
pub const NPROC_MAX: u64 = 2;
/// The newest ABI of Landlock that the crate knows: whatever of it the kernel has is handled.
const LANDLOCK_ABI: ABI = ABI::V9;
const INVALID_ID: u32 = u32::MAX;

/// What differs from shell to shell.
#[derive(Clone, Copy, Debug)]
pub struct JailConfig<'a> {
    /// The jail that the spawner entered.
    pub outer: &'a Outer,
    /// A descriptor of the spawner's process (`pidfd_open`), with whose end this one is to end. It is closed.
    pub parent: BorrowedFd<'a>,
    /// User and group of this shell; used as root only. No other live process may have the user, or
    /// they count against one limit of processes; a shell that has ended counts until it is waited for.
    pub uid_gid: Option<(u32, u32)>,
    /// Size of the largest file that the shell may write: a VM's RAM, bytes.
    pub ram_bytes_max: u64,
    /// Addresses that the shell may have mapped in all, bytes: the VM's RAM, the same again for
    /// the snapshot's, and the program.
    pub address_space_bytes: u64,
    /// The filter, compiled by the spawner.
    pub filter: &'a Filter,
}

/// Closes every descriptor but 0, 1, 2 and those in `keep`. For a shell just forked, whose copies of
/// the spawner's descriptors nobody will use, and for a program that begins.
///
/// # Safety
///
/// No value that owns a descriptor which is closed here is used or dropped afterwards in this process: it must have
/// been forgotten, since its number may be another's by then.
pub unsafe fn keep_only_standard_and(keep: &[RawFd]) -> Result<(), JailError> {
    const FIRST_AFTER_STANDARD: u32 = 3;
    let mut keep: Vec<u32> = keep
        .iter()
        .filter_map(|fd| u32::try_from(*fd).ok())
        .filter(|fd| *fd >= FIRST_AFTER_STANDARD)
        .collect();
    keep.sort_unstable();
    let mut first = FIRST_AFTER_STANDARD;
    for fd in keep {
        if first < fd {
            // SAFETY: the caller promises it for all that is not kept.
            unsafe { close_range(first, fd - 1) }?;
        }
        first = fd + 1;
    }
    // SAFETY: as above.
    unsafe { close_range(first, u32::MAX) }
}

/// Closes one descriptor of a shell just forked.
///
/// # Safety
///
/// The descriptor's owner in the spawner's values is neither used nor dropped in this process.
pub unsafe fn close_descriptor(fd: RawFd) -> Result<(), JailError> {
    match u32::try_from(fd) {
        // SAFETY: the caller promises it.
        Ok(fd) => unsafe { close_range(fd, fd) },
        Err(_) => Ok(()), // It was never open.
    }
}

/// # Safety
///
/// As of [`keep_only_standard_and`].
unsafe fn close_range(first: u32, last: u32) -> Result<(), JailError> {
    // SAFETY: no memory is passed; that nobody uses what is closed is the caller's promise.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(JailError::CloseDescriptors(io::Error::last_os_error())),
    }
}

/// Closes the jail of this process, which [`super::fork_shell`] made. After it only the system calls
/// of the filter's list remain; after an error the process must end.
///
/// # Safety
///
/// What owns [`JailConfig::parent`], which is closed here, is neither used nor dropped afterwards in this process.
pub unsafe fn close(config: &JailConfig<'_>) -> Result<JailReport, JailError> {
    // SAFETY: the caller promises it.
    let mut report = unsafe { restrict(config) }?;
    forget_fault_handlers();
    config.filter.apply()?;
    report.push(Layer::Filter, State::InForce);
    Ok(report)
}

/// Has a fault of this process end it with its own signal. The standard library's handler, which tells a stack that is full
/// from other faults, makes system calls that the filter forbids, so that the fault was told as an attack.
fn forget_fault_handlers() {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: no handler is set, and nobody in this program relies on the one that goes. It cannot fail for these.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Everything but the filter.
///
/// # Safety
///
/// As of [`close`].
pub(super) unsafe fn restrict(config: &JailConfig<'_>) -> Result<JailReport, JailError> {
    let privilege = config.outer.privilege();
    let mut report = config.outer.report().clone();
    // Out of the spawner's process group, which a signal could name, and away from its terminal.
    match setsid() {
        Ok(_) => {}
        // It leads a group already, as it does if it was not forked.
        Err(Errno::PERM) => {}
        Err(error) => return Err(JailError::Session(error)),
    }
    report.push(Layer::CgroupNamespace, cgroup_namespace(privilege)?);
    report.push(Layer::Limits, limits(config)?);
    report.push(Layer::OwnUser, own_user(config)?);
    report.push(Layer::Capabilities, drop_capabilities(privilege)?);
    set_no_new_privs(true).map_err(JailError::NoNewPrivileges)?;
    report.push(Layer::NoNewPrivileges, State::InForce);
    report.push(Layer::Landlock, landlock()?);
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(JailError::NotDumpable)?;
    report.push(Layer::NotDumpable, State::InForce);
    die_with(config.parent)?;
    // SAFETY: the caller promises it.
    unsafe { close_descriptor(config.parent.as_raw_fd()) }?;
    report.push(Layer::DiesWithParent, State::InForce);
    Ok(report)
}

/// Ties this process to the life of its parent, of which `parent` is a descriptor. The kernel sends the signal when the
/// parent ends, so a parent that ended before it was asked for has to be looked for; in a PID namespace of its own a
/// process cannot see that from its parent's number.
pub fn die_with(parent: BorrowedFd<'_>) -> Result<(), JailError> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(JailError::DeathSignal)?;
    let mut ended = [PollFd::from_borrowed_fd(parent, PollFlags::IN)];
    match poll(&mut ended, Some(&Timespec::default())) {
        Ok(0) => Ok(()),
        Ok(_) => Err(JailError::Orphan),
        Err(error) => Err(JailError::DeathSignal(error)),
    }
}

fn cgroup_namespace(privilege: Privilege) -> Result<State, JailError> {
    if privilege == Privilege::None {
        return Ok(State::Missing("there are no namespaces".into()));
    }
    unshare(UnshareFlags::NEWCGROUP).map_err(JailError::CgroupNamespace)?;
    Ok(State::InForce)
}

fn limits(config: &JailConfig<'_>) -> Result<State, JailError> {
    let own_user = effective_identity(config).is_some();
    let limits = [
        ("open files", Resource::Nofile, NOFILE_MAX),
        ("the size of files", Resource::Fsize, config.ram_bytes_max),
        ("core dumps", Resource::Core, 0),
        ("locked memory", Resource::Memlock, 0),
        ("message queues", Resource::Msgqueue, 0),
        ("address space", Resource::As, config.address_space_bytes),
    ];
    for (limit, resource, value) in limits {
        set_limit(limit, resource, value)?;
    }
    if !own_user {
        return Ok(State::Reduced(
            "the number of processes is not limited, because all shells of one user are counted together".into(),
        ));
    }
    set_limit("processes", Resource::Nproc, NPROC_MAX)?;
    Ok(State::InForce)
}

/// Sets both limits, or leaves them lower than that.
fn set_limit(limit: &'static str, resource: Resource, value: u64) -> Result<(), JailError> {
    let value = getrlimit(resource)
        .maximum
        .map_or(value, |maximum| maximum.min(value));
    let new = Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    setrlimit(resource, new).map_err(|source| JailError::Limit {
        limit,
        value,
        source,
    })
}

/// The identity that the shell will take: only root can give one.
fn effective_identity(config: &JailConfig<'_>) -> Option<(u32, u32)> {
    let root = config.outer.privilege() == Privilege::Root;
    config.uid_gid.filter(|_| root)
}

fn own_user(config: &JailConfig<'_>) -> Result<State, JailError> {
    let Some((uid, gid)) = effective_identity(config) else {
        let reason = match config.outer.privilege() {
            Privilege::Root => "no user was given for it: give the agent a range of users",
            _ => "it runs as the agent's user, because only root can give it another",
        };
        return Ok(State::Missing(reason.into()));
    };
    if [0, INVALID_ID].contains(&uid) || [0, INVALID_ID].contains(&gid) {
        return Err(JailError::Identity { uid, gid });
    }
    // A process has one thread here, so the thread's identity is the process's.
    set_thread_groups(&[]).map_err(JailError::Groups)?;
    let group = Gid::from_raw(gid);
    set_thread_res_gid(group, group, group).map_err(|source| JailError::Group { gid, source })?;
    let user = Uid::from_raw(uid);
    set_thread_res_uid(user, user, user).map_err(|source| JailError::User { uid, source })?;
    Ok(State::InForce)
}

fn drop_capabilities(privilege: Privilege) -> Result<State, JailError> {
    clear_ambient_capability_set().map_err(JailError::AmbientSet)?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(JailError::Capabilities)?;
    Ok(match privilege {
        Privilege::None => State::Reduced(
            "none is held, but only root could also empty the bounding set; \"no new privileges\" holds instead".into(),
        ),
        _ => State::InForce,
    })
}

/// Handles all that the kernel's Landlock knows and allows none of it. Descriptors that are open keep
/// the rights they were opened with.
fn landlock() -> Result<State, JailError> {
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK_ABI))?
        .handle_access(AccessNet::from_all(LANDLOCK_ABI))?
        .scope(Scope::from_all(LANDLOCK_ABI))?
        .create()?
        .restrict_self()?;
    Ok(match status.landlock {
        LandlockStatus::NotImplemented => {
            State::Missing("the kernel was built without it (CONFIG_SECURITY_LANDLOCK)".into())
        }
        LandlockStatus::NotEnabled => {
            State::Missing("it is switched off: add landlock to the kernel's lsm= list".into())
        }
        // From the first ABI on it restricts files. What later ones add (TCP, signals, abstract
        // sockets), the filter and the namespaces refuse too; `jiffy doctor` tells the ABI.
        LandlockStatus::Available { .. } => State::InForce,
    })
}
