//! A shell's first steps, in the process that was just forked: what it may keep, its VM, its jail.

use std::{
    fs::File,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    panic::{self, AssertUnwindSafe},
};

use jiffy_abi::layout::RAM_BYTES_MAX;
use jiffy_control::{Blame, Event, Missing};
use jiffy_socket::ControlSocket;
use rustix::{
    fs::{Mode, OFlags, openat},
    io::Errno,
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities},
};

use super::{Hooks, Inherited};
use crate::{
    cgroup::Group,
    jail::{self, JailConfig, JailError},
    shell::{Shell, ShellError},
};

/// Addresses that a shell may have mapped beside a VM's RAM and the snapshot's: the program, its heap
/// and its stack.
const OWN_ADDRESSES_BYTES: u64 = 256 << 20;
/// The first to be killed when memory runs out (proc_pid_oom_score_adj(5)).
const OOM_SCORE_ADJ_MAX: &[u8] = b"1000";
/// Exit code of a shell that panicked, as of any Rust program.
const PANIC: i32 = 101;

/// Why a shell does not come to wait. All but [`StartError::Shell`] blame the host.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("cannot put a shell's standard streams away")]
    Streams(#[source] Errno),
    #[error("cannot enter the VM's control group")]
    Join(#[source] Errno),
    #[error("cannot open the shell's page map")]
    PageMap(#[source] std::io::Error),
    #[error(transparent)]
    Jail(#[from] JailError),
    #[error(transparent)]
    Shell(#[from] ShellError),
}

/// What the fork's child does, to its end.
pub(super) fn run(
    inherited: &Inherited,
    hooks: &Hooks,
    group: Option<&Group>,
    user: u32,
    ram_bytes: u64,
    control: OwnedFd,
    stream: OwnedFd,
) -> ! {
    let work = || start(inherited, hooks, group, user, ram_bytes, control, stream);
    // The spawner's frames below are not this process's to unwind, nor its values to drop.
    let code = panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or(PANIC);
    jail::exit_now(code)
}

fn start(
    inherited: &Inherited,
    hooks: &Hooks,
    group: Option<&Group>,
    user: u32,
    ram_bytes: u64,
    control: OwnedFd,
    stream: OwnedFd,
) -> i32 {
    let Ok(owner) = control.try_clone().map(ControlSocket::from) else {
        return 1;
    };
    let sockets = (control, stream);
    match prepare(inherited, hooks, group, user, ram_bytes, sockets, &owner) {
        Ok((shell, missing)) => {
            tell_panics(owner);
            hooks.jailed(shell.control());
            shell.serve(missing).map_or(1, |()| 0)
        }
        // As if its end had come with the spawner's: whoever waits for it sees its sockets close.
        Err(StartError::Jail(JailError::Orphan)) => 1,
        Err(error) => {
            let blame = match &error {
                StartError::Shell(error) => error.blame(),
                _ => Blame::Host,
            };
            let message = jiffy_control::error_chain(&error);
            drop(owner.send(&Event::Failed { blame, message }));
            1
        }
    }
}

fn prepare(
    inherited: &Inherited,
    hooks: &Hooks,
    group: Option<&Group>,
    user: u32,
    ram_bytes: u64,
    (control, stream): (OwnedFd, OwnedFd),
    owner: &ControlSocket,
) -> Result<(Shell, Vec<Missing>), StartError> {
    inherited.program.touch();
    let null = &inherited.null;
    dup2_stdin(null)
        .and_then(|()| dup2_stdout(null))
        .map_err(StartError::Streams)?;
    if !inherited.options.no_jail {
        dup2_stderr(null).map_err(StartError::Streams)?;
    }
    // Before the VM is made, so that the kernel's memory for it is counted.
    for join in group.map_or(&[][..], Group::join_fds) {
        rustix::io::write(join, b"0").map_err(StartError::Join)?;
    }
    let dies_first = die_first(inherited);
    let page_map = open_page_map(inherited).map_err(|error| StartError::PageMap(error.into()))?;
    let host = inherited.host.as_fd().as_raw_fd();
    let keep = [
        control.as_raw_fd(),
        stream.as_raw_fd(),
        owner.as_fd().as_raw_fd(),
        page_map.as_raw_fd(),
        host,
        inherited.spawner.as_raw_fd(),
    ];
    // SAFETY: what owns the others is the spawner's, above the frame of `run`, which never returns.
    unsafe { jail::keep_only_standard_and(&keep) }?;
    let page_map = File::from(page_map);
    let page_map = hooks.page_map(page_map).map_err(StartError::PageMap)?;
    let (control, stream) = (ControlSocket::from(control), UnixStream::from(stream));
    let shell = Shell::new(&inherited.host, ram_bytes, control, stream, page_map)?;
    // Nobody in this process makes another VM.
    // SAFETY: `Inherited` owns it, which this process uses no more for that and never drops.
    unsafe { jail::close_descriptor(host) }?;
    if inherited.options.no_jail {
        jail::die_with(inherited.spawner.as_fd())?;
        // SAFETY: as for the host's.
        unsafe { jail::close_descriptor(inherited.spawner.as_raw_fd()) }?;
        let reason = "it was switched off".into();
        let layer = "jail".into();
        return Ok((shell, vec![Missing { layer, reason }]));
    }
    let unprotected = dies_first.err().map(|error| Missing {
        layer: "order of death".into(),
        reason: format!("cannot write `oom_score_adj`: {error}"),
    });
    let config = JailConfig {
        outer: &inherited.outer,
        parent: inherited.spawner.as_fd(),
        uid_gid: Some((user, user)),
        ram_bytes_max: RAM_BYTES_MAX,
        address_space_bytes: 2 * RAM_BYTES_MAX + OWN_ADDRESSES_BYTES,
        filter: &inherited.filter,
    };
    // SAFETY: `Inherited` owns the parent's descriptor, which nobody looks at after this.
    let report = unsafe { jail::close(&config) }?;
    let missing = report.gaps().map(|(layer, reason)| Missing {
        layer: layer.to_string(),
        reason: reason.into(),
    });
    let missing = missing.chain(unprotected).collect();
    Ok((shell, missing))
}

/// Has the kernel end a VM before any process of the agent's, spawner included, when memory runs out: a VM can be made again, and its
/// request asked again, while all VMs end with the others. The kernel would take the largest, which the agent may be.
fn die_first(inherited: &Inherited) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(&inherited.proc, "self/oom_score_adj", flags, Mode::empty())?;
    rustix::io::write(file, OOM_SCORE_ADJ_MAX).map(drop)
}

/// Opens the page map, and not as root may: who opens it with CAP_SYS_ADMIN reads in it where in the host's memory each page
/// is, from then on and whatever it gives up later (`pagemap_read` in Linux goes by the file's opener).
fn open_page_map(inherited: &Inherited) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let open = || openat(&inherited.proc, "self/pagemap", flags, Mode::empty());
    let held = capabilities(None)?;
    if inherited.options.no_jail || !held.effective.contains(CapabilitySet::SYS_ADMIN) {
        return open();
    }
    let without = CapabilitySets {
        effective: held.effective - CapabilitySet::SYS_ADMIN,
        ..held
    };
    set_capabilities(None, without)?;
    let opened = open();
    // The jail takes what is left for itself, and then all of it away.
    set_capabilities(None, held)?;
    opened
}

/// A panic is a bug of this program: it is said where it is heard.
fn tell_panics(owner: ControlSocket) {
    panic::set_hook(Box::new(move |panic| {
        let (blame, message) = (Blame::Bug, format!("jiffy-vmm: {panic}"));
        drop(owner.send(&Event::Failed { blame, message }));
    }));
}
