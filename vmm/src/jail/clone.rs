//! Forks a shell into namespaces of its own.
//!
//! No `exec`: the shell goes on with what the spawner has prepared, which saves more than half a
//! millisecond. The price is that all shells of a spawner share its address space layout and what it
//! drew at random, so the spawner keeps no secrets, and a shell draws its own.
//! Sources of numbers: Linux `include/uapi/linux/sched.h`.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use jiffy_control::ProcessUsage;
use rustix::process::Pid;

use super::{JailError, Outer, Privilege};

/// Linux 5.7; libc has it as an `int`, into which it does not fit.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Which side of the fork this is.
#[derive(Debug)]
pub enum Fork {
    /// The shell. It has a copy of all that the spawner had, and should begin with
    /// [`super::keep_only_standard_and`].
    Child,
    /// The spawner.
    Parent {
        /// The shell, in the spawner's numbers.
        pid: Pid,
        /// Readable once the shell has ended.
        pidfd: OwnedFd,
    },
}

/// Forks a shell: in PID, mount, IPC and UTS namespaces of its own, as far as `outer` could make
/// any, and in the v2 cgroup that `cgroup`, a descriptor of its directory, names.
pub fn fork_shell(outer: &Outer, cgroup: Option<BorrowedFd<'_>>) -> Result<Fork, JailError> {
    check_single_thread()?;
    let mut flags = flag(libc::CLONE_PIDFD);
    if outer.privilege() != Privilege::None {
        flags |= flag(libc::CLONE_NEWPID) | flag(libc::CLONE_NEWNS);
        flags |= flag(libc::CLONE_NEWIPC) | flag(libc::CLONE_NEWUTS);
    }
    let mut cgroup_fd = 0;
    if let Some(cgroup) = cgroup {
        flags |= CLONE_INTO_CGROUP;
        cgroup_fd = u64::from(cgroup.as_raw_fd().unsigned_abs()); // It is open, so not negative.
    }
    let mut pidfd: RawFd = -1;
    let arguments = libc::clone_args {
        flags,
        pidfd: (&raw mut pidfd).expose_provenance() as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup_fd,
    };
    let bytes = size_of::<libc::clone_args>();
    // SAFETY: without CLONE_VM the child runs on a copy of everything, and it is whole: this was just
    // seen to be the only thread, so none is missing from the copy that held a lock or was half-way
    // through a change. The arguments and `pidfd` outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, bytes) };
    match i32::try_from(result).ok().filter(|result| *result >= 0) {
        None => Err(JailError::Fork(io::Error::last_os_error())),
        Some(0) => Ok(Fork::Child),
        Some(pid) => {
            let pid = Pid::from_raw(pid).unwrap_or_else(|| unreachable!("not zero"));
            // SAFETY: the kernel has just opened it for this process, and nobody else knows of it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Fork::Parent { pid, pidfd })
        }
    }
}

/// Waits for `pid`, a child of this process, and takes its end from the kernel: its status as of wait(2), and what it took.
pub fn reap(pid: Pid) -> io::Result<(libc::c_int, ProcessUsage)> {
    let mut status = 0;
    // SAFETY: all of it are numbers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        let pid = pid.as_raw_nonzero().get();
        // SAFETY: the kernel writes a number and one `rusage`, which outlive the call.
        if unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } >= 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let nanoseconds = |time: libc::timeval| {
        let (seconds, microseconds) = (time.tv_sec.unsigned_abs(), time.tv_usec.unsigned_abs());
        seconds * 1_000_000_000 + microseconds * 1000
    };
    let usage = ProcessUsage {
        cpu_ns: nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime),
        memory_bytes_max: usage.ru_maxrss.unsigned_abs() * 1024,
    };
    Ok((status, usage))
}

/// Ends this process, a shell, without what a program does at its end: its values and handlers are
/// copies of the spawner's, and the filter allows none of the calls.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: the call ends the process and touches nothing of it.
    unsafe { libc::_exit(code) }
}

fn flag(flag: libc::c_int) -> u64 {
    u64::from(flag.unsigned_abs())
}

/// Refuses a process that has more than one thread.
pub(super) fn check_single_thread() -> Result<(), JailError> {
    // Unsharing one's threads does nothing at all, or is refused because there are others. Unlike
    // /proc/self/task it works in an empty root, and at the price of a system call before each fork.
    // SAFETY: no resource is unshared by this flag, whatever the outcome.
    match unsafe { libc::unshare(libc::CLONE_THREAD) } {
        0 => Ok(()),
        _ => Err(JailError::Threads),
    }
}
