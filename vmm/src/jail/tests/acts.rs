//! The parts of spawner and shell, and the acts.

use std::{
    env,
    fs::File,
    io::{self, PipeReader, PipeWriter, Read, Write},
    net::UdpSocket,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{fs::FileExt, process::CommandExt},
    },
    process::Command,
    ptr,
    time::{Duration, Instant},
};

use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use rustix::{
    fs::{Mode, OFlags, openat},
    process::{Pid, Resource, Rlimit, setrlimit},
};

use super::super::*;

pub(super) const PART: &str = "JIFFY_JAIL_TEST_PART";
pub(super) const REFUSED: &str = "JIFFY_JAIL_TEST_REFUSED";
/// First of the users that shells get here: one each, as they count against one limit of processes.
pub(super) const FIRST_USER: u32 = 70_000;
pub(super) const ORDINARY_USER: u32 = 65_534;
const RAM_BYTES: u64 = 64 << 20;
const ADDRESS_SPACE_BYTES: u64 = 1 << 36;
/// Exit code of a process that could not be set up as a test needs it; below are error numbers.
pub(super) const BROKEN: i32 = 250;

/// How an act ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Refused(i32),
    Killed(i32),
}

pub(super) const KILLED_BY_FILTER: End = End::Killed(libc::SIGSYS);

/// The C library calls it before `main`, while there is one thread.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = play_part;

extern "C" fn play_part() {
    let Ok(part) = env::var(PART) else { return };
    let code = match spawner(&part) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{part}: {error:?}");
            BROKEN
        }
    };
    exit(code);
}

fn exit(code: i32) -> ! {
    // SAFETY: it ends the process and does nothing else.
    unsafe { libc::_exit(code) }
}

type Failure = Box<dyn std::error::Error>;

/// What a shell has from before its jail was closed.
struct Inherited {
    /// The spawner, as it is called outside the jail.
    spawner: i32,
    spawner_fd: OwnedFd,
    proc_directory: OwnedFd,
    kvm: Option<Kvm>,
    file: File,
    vm: Option<(VmFd, VcpuFd)>,
    /// The shell says that its jail is closed.
    closed: (PipeReader, PipeWriter),
    /// Nothing is ever written here.
    silent: (PipeReader, PipeWriter),
}

fn spawner(part: &str) -> Result<(), Failure> {
    let (jail, act) = part.split_once('/').ok_or("a part is jail/act")?;
    let mut inherited = Inherited {
        spawner: i32::try_from(std::process::id())?,
        spawner_fd: itself()?,
        proc_directory: File::open("/proc")?.into(),
        kvm: Kvm::new().ok(),
        file: rustix::fs::memfd_create("file", rustix::fs::MemfdFlags::empty())?.into(),
        vm: None,
        closed: io::pipe()?,
        silent: io::pipe()?,
    };
    match jail {
        "entries" => return entries(),
        "time" => return time(),
        _ => {}
    }
    if env::var_os(REFUSED).is_some() {
        // Who has changed its root gets no user namespace.
        rustix::process::chroot("/usr")?;
        let user = rustix::process::Uid::from_raw(ORDINARY_USER);
        rustix::thread::set_thread_res_uid(user, user, user)?;
    }
    let filter = Filter::compile()?;
    let outer = if jail == "free" {
        None
    } else {
        Some(enter_outer()?)
    };
    let Some(pid) = fork(outer.as_ref())? else {
        let report = shell(jail, outer.as_ref(), &filter, &mut inherited, act);
        let report = report.unwrap_or_else(|error| {
            eprintln!("{part}: {error:?}");
            exit(BROKEN)
        });
        exit(match play(act, &mut inherited, &report) {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap_or(BROKEN),
        });
    };
    if act == "outlive" {
        // Until then only the end of its control socket would tell it.
        inherited.closed.0.read_exact(&mut [0])?;
        // SAFETY: it sends a signal, and to this process.
        unsafe { libc::kill(inherited.spawner, libc::SIGKILL) };
    }
    if act == "be looked at" {
        inherited.closed.0.read_exact(&mut [0])?;
        look_at(pid, &inherited.proc_directory)?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    }
    println!("{:?}", wait(pid)?);
    Ok(())
}

/// Prints what the kernel says of a shell. `/proc` is where it was, though not by that name.
fn look_at(shell: Pid, proc_directory: &OwnedFd) -> Result<(), Failure> {
    let path = format!("{}/status", shell.as_raw_nonzero());
    let status = openat(proc_directory, path, OFlags::RDONLY, Mode::empty())?;
    print!("{}", io::read_to_string(File::from(status))?);
    Ok(())
}

/// Forks a shell, or without a jail a plain child.
fn fork(outer: Option<&Outer>) -> Result<Option<Pid>, Failure> {
    if let Some(outer) = outer {
        return Ok(match fork_shell(outer, None)? {
            Fork::Child => None,
            Fork::Parent { pid, .. } => Some(pid),
        });
    }
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error().into()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

fn wait(pid: Pid) -> Result<End, Failure> {
    let (_, status) = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?
        .ok_or("it has not ended")?;
    Ok(match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => End::Done,
        (Some(error), _) => End::Refused(error),
        (_, signal) => End::Killed(signal.unwrap_or_default()),
    })
}

fn shell(
    jail: &str,
    outer: Option<&Outer>,
    filter: &Filter,
    inherited: &mut Inherited,
    act: &str,
) -> Result<JailReport, Failure> {
    let mut keep = vec![
        inherited.proc_directory.as_raw_fd(),
        inherited.file.as_raw_fd(),
    ];
    for (reader, writer) in [&inherited.closed, &inherited.silent] {
        keep.extend([reader.as_raw_fd(), writer.as_raw_fd()]);
    }
    keep.extend(inherited.kvm.as_ref().map(AsRawFd::as_raw_fd));
    keep.push(inherited.spawner_fd.as_raw_fd());
    // SAFETY: what owns the others belongs to frames that this process never goes back to.
    unsafe { keep_only_standard_and(&keep) }?;
    if act.starts_with("run a VM") {
        let vm = inherited.kvm.as_ref().ok_or("no KVM")?.create_vm()?;
        let vcpu = vm.create_vcpu(0)?;
        inherited.vm = Some((vm, vcpu));
    }
    let Some(outer) = outer else {
        // Nothing of the host is to change even without the jail.
        if rustix::process::geteuid().is_root() {
            use rustix::mount::{MountPropagationFlags, mount_change};
            namespaces::unshare(rustix::thread::UnshareFlags::NEWNS)?;
            mount_change(
                "/",
                MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
            )?;
        }
        return Ok(JailReport::default());
    };
    let config = JailConfig {
        outer,
        parent: inherited.spawner_fd.as_fd(),
        uid_gid: Some(own_user(inherited.spawner)?),
        ram_bytes_max: RAM_BYTES,
        address_space_bytes: ADDRESS_SPACE_BYTES,
        filter,
    };
    Ok(match jail {
        // SAFETY: the process ends after its act, without a look at the parent.
        "unfiltered" => unsafe { close::restrict(&config) }?,
        // SAFETY: as above.
        "full" => unsafe { close(&config) }?,
        _ => return Err("no such jail".into()),
    })
}

/// A descriptor of this process.
fn itself() -> io::Result<OwnedFd> {
    use rustix::process::{PidfdFlags, getpid, pidfd_open};
    Ok(pidfd_open(getpid(), PidfdFlags::empty())?)
}

/// The user of the one shell that this spawner has at a time.
fn own_user(spawner: i32) -> Result<(u32, u32), Failure> {
    let user = FIRST_USER + u32::try_from(spawner)?;
    Ok((user, user))
}

fn os(result: impl Into<i64>) -> io::Result<()> {
    match result.into() {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Maps anonymous memory and unmaps it.
fn map(bytes: usize, protection: i32) -> io::Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: the kernel picks a free range.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: exactly the range just mapped, which nobody else knows of.
    os(unsafe { libc::munmap(mapped, bytes) })
}

/// What somebody would do who has taken the shell over.
fn play(act: &str, inherited: &mut Inherited, report: &JailReport) -> io::Result<()> {
    match act {
        "nothing" => Ok(()),
        "report" => {
            let json = serde_json::to_string(report)?;
            jiffy_console::stdout().write_all(format!("{json}\n").as_bytes())
        }
        "open a file" => File::open("/etc/passwd").map(drop),
        "open a file beneath a descriptor" => {
            let flags = OFlags::RDONLY;
            openat(&inherited.proc_directory, "self/mem", flags, Mode::empty())?;
            Ok(())
        }
        "send to the network" => UdpSocket::bind(("127.0.0.1", 0))?
            .send_to(b"hello", ("127.0.0.1", 9))
            .map(drop),
        "trace" => {
            let (request, null) = (libc::PTRACE_SEIZE, ptr::null_mut::<libc::c_void>());
            // SAFETY: no memory is passed.
            os(unsafe { libc::ptrace(request, inherited.spawner, null, null) })
        }
        "fork" => fork_as_often_as_is_allowed(),
        "execute" => Err(Command::new("/bin/true").exec()),
        "make memory executable" => map(4096, libc::PROT_READ | libc::PROT_EXEC),
        "mount" => {
            use rustix::mount::{MountFlags, mount};
            mount("none", "/", "tmpfs", MountFlags::empty(), None)?;
            Ok(())
        }
        // SAFETY: it changes who this process is, and nothing in memory.
        "become root" => os(unsafe { libc::syscall(libc::SYS_setresuid, 0, 0, 0) }),
        "make a VM" => match &inherited.kvm {
            Some(kvm) => Ok(kvm.create_vm().map(drop)?),
            None => Err(io::ErrorKind::NotFound.into()),
        },
        // SAFETY: it sends nothing, and asks whether it could.
        "signal the spawner" => os(unsafe { libc::kill(inherited.spawner, 0) }),
        // SAFETY: as above.
        "signal its group" => os(unsafe { libc::kill(0, 0) }),
        "call an ioctl" => rustix::io::ioctl_fionread(io::stdin()).map(drop).or(Ok(())),
        "map more than allowed" => map(1 << 37, libc::PROT_READ),
        "write more than allowed" => inherited.file.write_all_at(&[0], RAM_BYTES),
        "outlive" | "be looked at" => {
            inherited.closed.1.write_all(&[0])?;
            inherited.silent.0.read_exact(&mut [0])
        }
        "run a VM" => run_vm(inherited),
        "run a VM without its worker" => {
            let one = Some(1);
            let limit = Rlimit {
                current: one,
                maximum: one,
            };
            setrlimit(Resource::Nproc, limit)?;
            run_vm(inherited)
        }
        _ => exit(BROKEN),
    }
}

/// Enters `KVM_RUN`, which then comes back at once with `EINTR`.
fn run_vm(inherited: &mut Inherited) -> io::Result<()> {
    let (_, vcpu) = inherited.vm.as_mut().expect("a VM");
    vcpu.set_kvm_immediate_exit(1);
    match vcpu.run() {
        Err(error) if error.errno() == libc::EINTR => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => exit(BROKEN),
    }
}

fn fork_as_often_as_is_allowed() -> io::Result<()> {
    const CHILDREN: u64 = NPROC_MAX;
    for _ in 0..CHILDREN {
        // SAFETY: this process has one thread.
        match unsafe { libc::fork() } {
            -1 => return Err(io::Error::last_os_error()),
            0 => {
                std::thread::sleep(Duration::from_millis(500));
                exit(0)
            }
            _ => {}
        }
    }
    Ok(())
}

/// Tries every entry of the list with and without it, and says which made no difference.
fn entries() -> Result<(), Failure> {
    let whole = Filter::compile()?;
    let mut wrong = Vec::new();
    for (index, entry) in Filter::entries()?.iter().enumerate() {
        let with = try_entry(entry, &whole)?;
        let without = try_entry(entry, &Filter::compile_without(index)?)?;
        if with == KILLED_BY_FILTER || without != KILLED_BY_FILTER {
            wrong.push(format!("{}: {with:?}, {without:?}", entry.comment));
        }
    }
    println!("{wrong:?}");
    Ok(())
}

/// Makes the entry's call, with arguments that it can do nothing with.
fn try_entry(entry: &Entry, filter: &Filter) -> Result<End, Failure> {
    let number = seccomp::number(&entry.syscall).ok_or("no such call")?;
    let mut arguments = [-1i64; 6];
    for condition in &entry.args {
        let value = if condition.op == "eq" {
            condition.val
        } else {
            0
        };
        arguments[usize::from(condition.index)] = i64::try_from(value)?;
    }
    let [a, b, c, d, e, f] = arguments;
    let Some(pid) = fork(None)? else {
        if filter.apply().is_err() {
            exit(BROKEN);
        }
        // SAFETY: no address is valid and no descriptor is open, so the kernel refuses it; only
        // `rt_sigreturn` goes wrong, in a process that has nothing left to do.
        unsafe { libc::syscall(number, a, b, c, d, e, f) };
        exit(0);
    };
    wait(pid)
}

/// Prints what a shell costs: fork to end, and closing alone.
fn time() -> Result<(), Failure> {
    const SHELLS: usize = 300;
    let user = own_user(i32::try_from(std::process::id())?)?;
    let filter = Filter::compile()?;
    let spawner = itself()?;
    let entering = Instant::now();
    let outer = enter_outer()?;
    eprintln!("entering {:?}", entering.elapsed());
    let mut all = Vec::new();
    let (mut reader, mut writer) = io::pipe()?;
    let mut closing = Vec::new();
    for _ in 0..SHELLS {
        let began = Instant::now();
        let Some(pid) = fork(Some(&outer))? else {
            let config = JailConfig {
                outer: &outer,
                parent: spawner.as_fd(),
                uid_gid: Some(user),
                ram_bytes_max: RAM_BYTES,
                address_space_bytes: ADDRESS_SPACE_BYTES,
                filter: &filter,
            };
            let began = Instant::now();
            // SAFETY: as above; the process ends here.
            unsafe { keep_only_standard_and(&[writer.as_raw_fd(), spawner.as_raw_fd()]) }?;
            // SAFETY: as above.
            unsafe { close(&config) }?;
            writer.write_all(&began.elapsed().as_nanos().to_le_bytes())?;
            exit(0);
        };
        let mut bytes = [0; 16];
        reader.read_exact(&mut bytes)?;
        all.push(began.elapsed());
        closing.push(Duration::from_nanos(u64::try_from(u128::from_le_bytes(
            bytes,
        ))?));
        wait(pid)?;
    }
    for (name, times) in [("fork to closed", &mut all), ("closing", &mut closing)] {
        times.sort_unstable();
        eprintln!(
            "{name}: p50 {:?}, p99 {:?}",
            times[SHELLS / 2],
            times[SHELLS * 99 / 100]
        );
    }
    Ok(())
}
