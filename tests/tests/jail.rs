//! A VMM that was taken over: what it tries from inside its jail, and what its owner sees of that.
//!
//! The same list without the jail succeeds, so the tests are known to bite. What each layer beneath
//! the filter refuses on its own is tested beside the jail (`vmm/src/jail/tests.rs`).
#![expect(
    clippy::print_stdout,
    reason = "a test's harness catches what is printed so, and nothing else"
)]

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::PermissionsExt,
    },
    process,
};

use jiffy_abi::layout::RAM_BYTES_DEFAULT;
use jiffy_client::{NewSnapshot, Spawner, SpawnerOptions, create_snapshot};
use jiffy_control::{Command, Death, Devices, Event, Isolation};
use jiffy_snapshots::Snapshot;
use jiffy_tests::owner::Owner;
use jiffy_vmm::jail::Filter;
use rustix::fs::{MemfdFlags, memfd_create};
use tempfile::TempDir;

/// What came of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It succeeded.
    Done,
    /// The kernel refused it with this error, and the shell goes on.
    Refused(i32),
    /// The process died of it, as its spawner says.
    Died(Death),
}

const KILLED: End = End::Died(Death::Jail);

const fn fault(signal: i32) -> End {
    End::Died(Death::Killed(signal))
}

/// An act, what comes of it in the jail, and what without.
const ACTS: &[(&str, End, End)] = &[
    ("open a host file", KILLED, End::Done),
    ("open a file of /proc", KILLED, End::Done),
    ("make an Internet socket", KILLED, End::Done),
    ("make a Unix socket", KILLED, End::Done),
    ("trace another", KILLED, End::Done),
    ("fork", KILLED, End::Done),
    // The program takes the process over and ends it.
    ("execute", KILLED, End::Died(Death::Exited(0))),
    ("map executable memory", KILLED, End::Done),
    ("make memory executable", KILLED, End::Done),
    ("mount", KILLED, End::Done),
    ("become root", KILLED, End::Done),
    ("make another VM", KILLED, End::Done),
    ("ask KVM for its version", KILLED, End::Done),
    ("signal another", KILLED, End::Done),
    ("read another's memory", KILLED, End::Done),
    ("take another's RAM file", KILLED, End::Done),
    (
        "map more addresses than allowed",
        End::Refused(libc::ENOMEM),
        End::Done,
    ),
    // There is a page map, and nothing of the host's memory is in it.
    (
        "read page frame numbers",
        End::Refused(libc::ENODATA),
        End::Done,
    ),
    // A fault is told as what it is, and not as the jail's doing.
    (
        "touch what is not mapped",
        fault(libc::SIGSEGV),
        fault(libc::SIGSEGV),
    ),
    (
        "touch a file behind its end",
        fault(libc::SIGBUS),
        fault(libc::SIGBUS),
    ),
    // The first process of a PID namespace is spared the signal that comes with it.
    (
        "write past the file limit",
        End::Refused(libc::EFBIG),
        End::Done,
    ),
];

/// Whether these tests can run; as another user there are fewer layers (`jail_user.rs`).
fn can_run() -> bool {
    jiffy_tests::require_root("only root gets the whole jail") && jiffy_tests::require_kvm()
}

fn obeying(no_jail: bool) -> Spawner {
    let mut command = process::Command::new(jiffy_tests::hostile_vmm_path());
    command.arg("--obey").args(no_jail.then_some("--no-jail"));
    Spawner::start_command(command).expect("a spawner")
}

/// A shell that did what it was ordered to.
fn ordered(spawner: &Spawner, act: &str, files: &[BorrowedFd<'_>]) -> Owner {
    let owner = Owner::new(spawner, RAM_BYTES_DEFAULT).expect("a shell");
    let order = Command::Boot {
        ram_bytes: 0,
        timeout_ms: None,
        environment: act.into(),
        devices: Devices::default(),
    };
    owner.tell(&order, files).expect("a shell that listens");
    owner
}

fn end_of(spawner: &Spawner, act: &str, files: &[BorrowedFd<'_>]) -> End {
    let mut owner = ordered(spawner, act, files);
    match owner.event().expect("an event") {
        Event::Died(death, _) => End::Died(death),
        // One that lives on has told what came of it, and goes on as any shell.
        Event::Waiting { .. } => match owner.log[0].text.as_str() {
            "done" => End::Done,
            text => End::Refused(text["error ".len()..].parse().expect("a number")),
        },
        other => panic!("{other:?}"),
    }
}

fn snapshot() -> (TempDir, Snapshot) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let new = NewSnapshot {
        vmm: jiffy_tests::vmm_path(),
        spawner: SpawnerOptions::default(),
        image: jiffy_tests::image("hello"),
        ram_bytes: None,
        environment: vec![],
        timeout: None,
        output: folder.path().join("hello.snap"),
    };
    create_snapshot(&new, |_| {}).expect("a snapshot");
    let snapshot = Snapshot::open(&new.output).expect("a snapshot");
    (folder, snapshot)
}

/// Another VM of the same spawner, with a snapshot's RAM file.
fn victim(spawner: &Spawner, snapshot: &Snapshot) -> Owner {
    let mut victim = ordered(spawner, "nothing", &[]);
    victim.waiting().expect("a shell");
    let restored = victim.restore(snapshot, Isolation::Fresh);
    restored.expect("a shell that listens");
    victim.ask(br#"{"name":"Ada"}"#).expect("a response");
    victim
}

fn try_all(no_jail: bool) {
    let (_folder, snapshot) = snapshot();
    let spawner = obeying(no_jail);
    let mut victim = victim(&spawner, &snapshot);
    let process = victim.process_id();
    let kvm = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    let kvm = kvm.expect("it was opened before");
    let file = memfd_create("file", MemfdFlags::CLOEXEC).expect("a file");
    for (act, jailed, free) in ACTS {
        let expected = if no_jail { free } else { jailed };
        let files = if act.contains("KVM") || act.contains("VM") {
            [kvm.as_fd()]
        } else {
            [file.as_fd()]
        };
        let act = match *act {
            "trace another"
            | "signal another"
            | "read another's memory"
            | "take another's RAM file" => &format!("{act}={process}"),
            act => act,
        };
        let end = end_of(&spawner, act, &files);
        println!("{act}: {end:?}");
        assert_eq!(end, *expected, "{act}");
    }
    // Whatever it was, nobody else noticed.
    let response = victim.ask(br#"{"name":"Ada"}"#);
    response.expect("the neighbour still answers");
    victim.finish().expect("a report");
}

#[test]
fn whatever_a_jailed_vmm_tries_is_refused_or_kills_it() {
    if can_run() {
        try_all(false);
    }
}

#[test]
fn without_the_jail_the_same_succeeds() {
    if can_run() {
        try_all(true);
    }
}

/// One more than its control group allows, and it alone is killed: the owner sees of what.
#[test]
fn a_vmm_that_eats_memory_dies_of_that() {
    const EATEN: u64 = 2 * RAM_BYTES_DEFAULT;
    if !can_run() {
        return;
    }
    let act = format!("eat memory={EATEN}");
    let jailed = obeying(false);
    if let Some(missing) = jailed
        .missing()
        .iter()
        .find(|one| one.layer.contains("memory"))
    {
        jiffy_tests::skip(&format!("{missing:?}"));
        return;
    }
    let (_folder, snapshot) = snapshot();
    let mut victim = victim(&jailed, &snapshot);
    let mut owner = ordered(&jailed, &act, &[]);
    let Event::Died(Death::OutOfMemory, usage) = owner.event().expect("an event") else {
        panic!("it lives on memory that it may not have");
    };
    // What it took is known all the same: the memory that it might have had, and the time to fault it in.
    assert!(usage.memory_bytes_max > RAM_BYTES_DEFAULT / 2, "{usage:?}");
    assert!(usage.cpu_ns > 500_000, "{usage:?}");
    victim.ask(br#"{"name":"Ada"}"#).expect("a response");
    assert_eq!(end_of(&obeying(true), &act, &[]), End::Done);
}

/// Every number is tried, or a tenth on a slow host, and one of the 32-bit calls of 64-bit programs (x32).
#[test]
fn a_system_call_that_is_not_listed_kills() {
    const NUMBERS: u64 = 480; // Linux 6.18 has none above 470.
    const X32_WRITE: u64 = 1 << 30 | 1;
    // Since Linux 6.14 no filter is asked about these two, which do nothing for who is not at a probe.
    const PROBES: [u64; 2] = [335, 336];
    // It may go on anywhere.
    const SIGRETURN: u64 = libc::SYS_rt_sigreturn.unsigned_abs();
    if !can_run() {
        return;
    }
    let spawner = obeying(false);
    let expected: BTreeSet<u64> = Filter::entries()
        .expect("the list")
        .iter()
        // With an argument of -1 those with conditions are forbidden too, except a mask that allows it.
        .filter(|entry| entry.args.is_empty())
        .map(|entry| number_of(&entry.syscall))
        .filter(|number| *number != SIGRETURN)
        .collect();
    let step = if jiffy_tests::is_slow_host() { 10 } else { 1 };
    let survived: BTreeSet<u64> = (0..NUMBERS)
        .filter(|number| number.is_multiple_of(step) || expected.contains(number))
        .chain([X32_WRITE])
        .filter(|number| !PROBES.contains(number) && *number != SIGRETURN)
        .filter(|number| survives(&spawner, *number))
        .collect();
    assert_eq!(survived, expected);
}

/// Whether the filter does not kill a shell that makes this call.
fn survives(spawner: &Spawner, number: u64) -> bool {
    end_of(spawner, &format!("make a system call={number}"), &[]) != KILLED
}

fn number_of(syscall: &str) -> u64 {
    let number = match syscall {
        "recvmsg" => libc::SYS_recvmsg,
        "read" => libc::SYS_read,
        "write" => libc::SYS_write,
        "epoll_wait" => libc::SYS_epoll_wait,
        "epoll_ctl" => libc::SYS_epoll_ctl,
        "munmap" => libc::SYS_munmap,
        "mincore" => libc::SYS_mincore,
        "brk" => libc::SYS_brk,
        "mremap" => libc::SYS_mremap,
        "rt_sigreturn" => libc::SYS_rt_sigreturn,
        "clock_gettime" => libc::SYS_clock_gettime,
        "pread64" => libc::SYS_pread64,
        "pwrite64" => libc::SYS_pwrite64,
        "close" => libc::SYS_close,
        "exit_group" => libc::SYS_exit_group,
        other => panic!("give the number of {other} here"),
    };
    number.unsigned_abs()
}

/// A shell has what is its own and nothing that leads elsewhere, before and with a function.
/// What the program that starts a spawner left open is not the spawner's, and so no shell's.
#[test]
fn a_spawner_has_nothing_that_its_starter_left_open() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let left_open = folder.path().join("secret");
    fs::write(&left_open, "secret").expect("a file");
    let starter = folder.path().join("starter");
    let (vmm, secret) = (jiffy_tests::vmm_path(), left_open.display());
    let script = format!(
        "#!/bin/sh\nexec '{}' \"$@\" 7<'{secret}' 8<'{secret}'\n",
        vmm.display()
    );
    fs::write(&starter, script).expect("a script");
    fs::set_permissions(&starter, fs::Permissions::from_mode(0o755)).expect("a script");
    let spawner = Spawner::start(&starter, &SpawnerOptions::default()).expect("a spawner");
    let found = descriptors(spawner.process_id());
    let secret = secret.to_string();
    assert!(!found.is_empty() && !found.contains(&secret), "{found:?}");
}

#[test]
fn a_shell_has_no_descriptor_of_anybody_else() {
    if !can_run() {
        return;
    }
    let (_folder, snapshot) = snapshot();
    let spawner = Spawner::start(&jiffy_tests::vmm_path(), &SpawnerOptions::default());
    let spawner = spawner.expect("a spawner");
    // Many shells: what an earlier one leaves open in the spawner, a later one would inherit.
    let mut owners: Vec<_> = (0..4)
        .map(|_| Owner::new(&spawner, snapshot.ram_bytes()).expect("a shell"))
        .collect();
    for owner in &mut owners {
        owner.waiting().expect("a shell");
        let process = owner.process_id();
        let found = descriptors(process);
        println!("{found:?}");
        let is_own = |target: &str| {
            target == "/dev/null"
                || target.starts_with("socket:")
                || target == "anon_inode:[eventpoll]"
                || target == "anon_inode:kvm-vm"
                || target.starts_with("anon_inode:kvm-vcpu")
                || target.ends_with("/pagemap")
        };
        assert!(found.iter().all(|target| is_own(target)), "{found:?}");
        // Its own end of the request stream and of the control socket, the latter twice: a panic has one.
        let sockets = found.iter().filter(|one| one.starts_with("socket:"));
        assert_eq!(sockets.count(), 3, "{found:?}");
        let machines = found.iter().filter(|one| one.contains("kvm"));
        assert_eq!(machines.count(), 2, "{found:?}");
        owner.restore(&snapshot, Isolation::Fresh).expect("restore");
        owner.ask(br#"{"name":"Ada"}"#).expect("a response");
        let with_function = descriptors(process);
        let new: Vec<_> = with_function.iter().filter(|one| !is_own(one)).collect();
        assert!(
            new.iter().all(|target| target.ends_with("/ram")) && new.len() <= 2,
            "{with_function:?}"
        );
    }
    for owner in owners {
        owner.finish().expect("a report");
    }
}

/// What the descriptors of a process lead to.
fn descriptors(process: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).expect("root may look");
    let target = |entry: std::io::Result<fs::DirEntry>| {
        let target = fs::read_link(entry.expect("an entry").path()).expect("a link");
        target.display().to_string()
    };
    entries.map(target).collect()
}

/// The RAM file comes read-only, so that no VM can change what others start from.
#[test]
fn a_vm_cannot_write_its_snapshot() {
    if !can_run() {
        return;
    }
    let (_folder, snapshot) = snapshot();
    let flags = rustix::fs::fcntl_getfl(snapshot.ram_file()).expect("flags");
    let mode = flags & rustix::fs::OFlags::ACCMODE;
    assert_eq!(mode, rustix::fs::OFlags::RDONLY);
}
