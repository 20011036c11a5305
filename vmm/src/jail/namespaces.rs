//! The outer jail, which the spawner enters once and every shell inherits.
//!
//! A network namespace costs 340 µs to make, and at times 7 ms, while mount, PID, IPC, UTS and cgroup
//! namespaces cost 2 to 20 µs each. So all shells share one network namespace, in which there is
//! nothing, not even a loopback device that is up; the others each shell gets anew (`clone`, `close`).

use std::{ffi::CStr, fs, io};

use rustix::{
    io::Errno,
    mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_move, unmount,
    },
    process::{chdir, chroot, getegid, geteuid, pivot_root},
    system::sethostname,
    thread::{
        CapabilitiesSecureBits, CapabilitySet, UnshareFlags, remove_capability_from_bounding_set,
        set_capabilities_secure_bits, unshare_unsafe,
    },
};

use super::{JailError, JailReport, Layer, State, clone::check_single_thread};

/// Host name that the spawner and all shells see.
const HOSTNAME: &[u8] = b"jiffy";
/// A directory that every host has, to mount the empty root on. What was in it is not needed after.
const MOUNT_POINT: &str = "/proc";
/// One page and the root directory itself, which nobody may even look into.
const ROOT_OPTIONS: &CStr = c"size=4k,nr_inodes=1,mode=0";

/// With what right the namespaces were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// Root's: each shell can get a user of its own.
    Root,
    /// That of a user namespace, in which the spawner's user is the only one there is.
    UserNamespace,
    /// None: there are no namespaces.
    None,
}

/// The outer jail of this process; shells are forked from it.
#[derive(Clone, Debug)]
pub struct Outer {
    privilege: Privilege,
    report: JailReport,
}

impl Outer {
    /// No outer jail at all: for debugging.
    pub fn none() -> Self {
        Self {
            privilege: Privilege::None,
            report: JailReport::default(),
        }
    }

    /// With what right it was made.
    pub fn privilege(&self) -> Privilege {
        self.privilege
    }

    /// The layers so far.
    pub fn report(&self) -> &JailReport {
        &self.report
    }
}

/// Puts this process, which must have one thread, into new namespaces with an empty root. Whatever
/// it is to open from the old root has to be open already. An ordinary user gets a user namespace
/// first; where those are refused the process stays where it is, and the report says so.
pub fn enter_outer() -> Result<Outer, JailError> {
    check_single_thread()?;
    let mut report = JailReport::default();
    let privilege = match make_namespaces()? {
        Ok(privilege) => {
            report.push(Layer::Namespaces, State::InForce);
            privilege
        }
        Err(refused) => {
            let reason = format!("{refused}: start jiffy as root, or allow user namespaces");
            report.push(Layer::Namespaces, State::Missing(reason.clone().into()));
            report.push(Layer::EmptyRoot, State::Missing(reason.into()));
            Privilege::None
        }
    };
    if privilege != Privilege::None {
        empty_root()?;
        report.push(Layer::EmptyRoot, State::InForce);
        sethostname(HOSTNAME).map_err(JailError::Hostname)?;
        forswear_capabilities()?;
    }
    Ok(Outer { privilege, report })
}

/// Why an ordinary user gets no namespaces. None of these is the end: the other layers hold.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the kernel refuses this user a user namespace ({0})")]
    User(Errno),
    #[error("the kernel refuses to map this user into its namespace ({0})")]
    Map(io::Error),
    #[error("the kernel refuses namespaces inside a user namespace ({0})")]
    Others(Errno),
}

fn make_namespaces() -> Result<Result<Privilege, Refused>, JailError> {
    let outer =
        UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    match unshare(outer) {
        Ok(()) => return Ok(Ok(Privilege::Root)),
        Err(Errno::PERM) => {}
        Err(error) => return Err(JailError::Namespaces(error)),
    }
    Ok(unshare_user()
        .and_then(|()| unshare(outer).map_err(Refused::Others))
        .map(|()| Privilege::UserNamespace))
}

/// A user namespace in which this user is itself. When the mapping is refused, as by AppArmor, the
/// namespace is there already; nothing is lost by that, since files are checked against the host's ids.
fn unshare_user() -> Result<(), Refused> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    unshare(UnshareFlags::NEWUSER).map_err(Refused::User)?;
    // Without this an unprivileged process may not write `gid_map`: dropping a group could open
    // a file that is closed to the group.
    fs::write("/proc/self/setgroups", "deny").map_err(Refused::Map)?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).map_err(Refused::Map)?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).map_err(Refused::Map)
}

pub(super) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: only `FILES`, which no caller passes, could take descriptors away from another thread.
    unsafe { unshare_unsafe(flags) }
}

/// Gives up every way to gain a capability, for this process and its shells. The spawner keeps those that
/// it holds, with which it makes shells; nobody here executes anything, which could bring others. Done
/// once, since for each shell it would be more than forty system calls.
fn forswear_capabilities() -> Result<(), JailError> {
    for number in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            // Behind the last capability that this kernel has.
            Err(Errno::INVAL) if number > 0 => break,
            Err(source) => return Err(JailError::BoundingSet { number, source }),
        }
    }
    // User 0 is as any other, and no change of user brings or keeps a capability.
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    set_capabilities_secure_bits(bits).map_err(JailError::SecureBits)
}

fn empty_root() -> Result<(), JailError> {
    // Or what is mounted here would show on the host.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(JailError::PrivateMounts)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", MOUNT_POINT, "tmpfs", flags, ROOT_OPTIONS).map_err(JailError::MountRoot)?;
    chdir(MOUNT_POINT).map_err(JailError::EnterRoot)?;
    match pivot_root(".", ".") {
        // The old root now lies over the new one, where this process stands.
        Ok(()) => unmount(".", UnmountFlags::DETACH).map_err(JailError::DetachRoot)?,
        // A root in an initramfs cannot be swapped out; it can be covered and left. Without
        // capabilities and without a descriptor of a directory outside nobody comes back.
        Err(Errno::INVAL) => {
            mount_move(".", "/").map_err(JailError::PivotRoot)?;
            chroot(".").map_err(JailError::PivotRoot)?;
        }
        Err(error) => return Err(JailError::PivotRoot(error)),
    }
    chdir("/").map_err(JailError::EnterRoot)
}
