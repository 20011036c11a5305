//! What is left when somebody dies: the owner of a spawner, the spawner, a shell. And what a shell
//! costs while it waits.

use std::{
    collections::BTreeSet,
    fs,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use jiffy_abi::layout::RAM_BYTES_DEFAULT;
use jiffy_client::{Spawner, SpawnerOptions};
use jiffy_control::Death;
use jiffy_tests::owner::Owner;
use rustix::process::{Pid, Signal, kill_process};

/// What is left of the dead is gone by then.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// What may pass until a process that was just started has come so far, beside other load.
const STARTED_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(2);
/// How long a spawner that has nothing to do is watched.
const WATCHED: Duration = Duration::from_millis(300);
/// Private memory of a shell that waits.
const IDLE_KIB_MAX: u64 = 512;
/// Shells whose start is timed.
const TIMED_SHELLS: usize = 100;
/// Half of the shells are ready by then on a quiet host; the test allows a busy one.
const READY_P50_MAX: Duration = Duration::from_millis(5);
const READY_P50_BUSY_MAX: Duration = Duration::from_millis(50);

fn can_run() -> bool {
    jiffy_tests::require_root("only root has all that has to be cleaned up")
        && jiffy_tests::require_kvm()
}

fn spawner() -> Spawner {
    let options = SpawnerOptions::default();
    Spawner::start(&jiffy_tests::vmm_path(), &options).expect("a spawner")
}

fn waiting(spawner: &Spawner) -> Owner {
    let mut owner = Owner::new(spawner, RAM_BYTES_DEFAULT).expect("a shell");
    owner.waiting().expect("a shell");
    owner
}

fn kill(process: u32) {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), Signal::KILL).expect("it lives");
}

/// Whether `is_so` comes true in time.
fn within(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < limit {
        if is_so() {
            return true;
        }
        thread::sleep(POLL);
    }
    is_so()
}

/// Whether there is such a process; a zombie, whose parent has not looked, is none.
fn lives(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" Z"))
    })
}

fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let list = fs::read_to_string(path).unwrap_or_default();
    let numbers = list.split_whitespace();
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// The directories of the control groups, of jiffy's making, that a process is in.
fn groups(process: u32) -> Vec<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{process}/cgroup")).expect("it lives");
    let places = text.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let tops = match controllers {
            "" => vec![String::new(), "unified".into()],
            names => names.split(',').map(str::to_owned).collect(),
        };
        let path = path.trim_start_matches('/').to_owned();
        tops.into_iter()
            .map(move |top| Path::new("/sys/fs/cgroup").join(top).join(&path))
    });
    places
        .filter(|place| place.is_dir() && place.to_string_lossy().contains("jiffy-"))
        .collect()
}

fn is_of_one_vm(group: &Path) -> bool {
    let name = group.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with("vm-"))
}

/// What is mounted where this process is.
fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mounts").expect("mounts");
    text.lines().map(str::to_owned).collect()
}

/// Files that are no directory's any more but mapped, sockets and the like are the kernel's to free:
/// what could stay is a name.
fn names(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

#[test]
fn killing_the_owner_leaves_nothing_behind() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let before = mounts();
    let mut owner = jiffy_tests::jiffy();
    owner.arg("run").arg(jiffy_tests::image("faults"));
    owner.args(["--event", r#"{"kind":"spin"}"#, "--timeout", "60s"]);
    owner
        .env("TMPDIR", folder.path())
        .current_dir(folder.path());
    owner.stdout(Stdio::null()).stderr(Stdio::null());
    let mut owner = owner.spawn().expect("jiffy");
    let (mut spawner, mut shell) = (0, 0);
    let started = within(STARTED_WITHIN, || {
        spawner = children(owner.id()).first().copied().unwrap_or_default();
        shell = children(spawner).first().copied().unwrap_or_default();
        // The thread is KVM's, which comes with the guest's first step.
        shell != 0 && is_jailed(shell)
    });
    assert!(started, "no shell came to be");
    let groups = groups(shell);
    println!(
        "owner {}, spawner {spawner}, shell {shell}, {groups:?}",
        owner.id()
    );
    owner.kill().expect("it lives");
    let began = Instant::now();
    let gone = within(GONE_WITHIN, || {
        !lives(spawner) && !lives(shell) && groups.iter().all(|group| !group.exists())
    });
    println!("gone after {:?}", began.elapsed());
    owner.wait().expect("it was killed");
    assert!(
        gone,
        "spawner: {}, shell: {}, {groups:?}",
        lives(spawner),
        lives(shell)
    );
    assert!(
        groups
            .iter()
            .all(|group| group.parent().is_some_and(|own| !own.exists()))
    );
    assert!(mounts().is_subset(&before), "{:?}", mounts());
    assert_eq!(names(folder.path()), BTreeSet::new());
}

/// Whether a process has applied its filter, the last step of its jail.
fn is_jailed(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status"));
    status.is_ok_and(|status| status.lines().any(|line| line == "Seccomp:\t2"))
}

#[test]
fn killing_the_spawner_ends_its_shells_and_the_next_one_sweeps() {
    if !can_run() {
        return;
    }
    let first = spawner();
    let owners: Vec<_> = (0..3).map(|_| waiting(&first)).collect();
    let shells: Vec<_> = owners.iter().map(Owner::process_id).collect();
    let groups: Vec<_> = shells.iter().flat_map(|shell| groups(*shell)).collect();
    kill(first.process_id());
    let gone = within(GONE_WITHIN, || !shells.iter().any(|shell| lives(*shell)));
    assert!(gone, "shells outlive their spawner");
    // Nobody was there to remove them. Another test's spawner may have come first.
    let left = groups.iter().filter(|group| group.exists()).count();
    println!("{left} of {} groups left", groups.len());
    let _second = spawner();
    let left: Vec<_> = groups.iter().filter(|group| group.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The kernel's signal at a parent's end comes only to those who have asked for it by then.
#[test]
fn killing_the_spawner_ends_shells_that_are_still_being_made() {
    if !can_run() {
        return;
    }
    for _ in 0..10 {
        let spawner = spawner();
        let new = |_| Owner::new(&spawner, RAM_BYTES_DEFAULT).expect("a shell");
        let owners: Vec<_> = (0..8).map(new).collect();
        kill(spawner.process_id());
        let lives = |owner: &Owner| lives(owner.process_id());
        let gone = within(GONE_WITHIN, || !owners.iter().any(lives));
        assert!(gone, "shells outlive their spawner");
    }
}

#[test]
fn the_end_of_a_shell_is_told_and_its_groups_go_with_it() {
    if !can_run() {
        return;
    }
    let spawner = spawner();
    let (mut dying, living) = (waiting(&spawner), waiting(&spawner));
    let (theirs, others) = (groups(dying.process_id()), groups(living.process_id()));
    if !spawner.missing().is_empty() {
        eprintln!("fewer groups here: {:?}", spawner.missing());
    }
    kill(dying.process_id());
    assert_eq!(dying.death().expect("a word"), Death::Killed(9));
    // It is told first, then they are removed, all but those for CPU time, which are not one VM's.
    let own: Vec<_> = theirs.iter().filter(|group| is_of_one_vm(group)).collect();
    assert!(!own.is_empty() || !spawner.missing().is_empty());
    let gone = within(GONE_WITHIN, || own.iter().all(|group| !group.exists()));
    assert!(gone, "{theirs:?}");
    assert!(others.iter().all(|group| group.exists()), "{others:?}");
    let poll = rustix::event::PollFlags::IN;
    let mut fds = [rustix::event::PollFd::from_borrowed_fd(
        dying.shell().process.as_fd(),
        poll,
    )];
    let ended = rustix::event::poll(&mut fds, None).expect("a descriptor");
    assert_eq!(ended, 1, "the descriptor of the process says so too");
}

/// The kernel tells of an end for as long as anybody has a descriptor of the process, so a spawner that
/// only closed its own would be woken without end.
#[test]
fn a_spawner_sleeps_while_somebody_holds_on_to_a_dead_shell() {
    if !can_run() {
        return;
    }
    let spawner = spawner();
    let mut dead = waiting(&spawner);
    kill(dead.process_id());
    assert_eq!(dead.death().expect("a word"), Death::Killed(9));
    let gone = within(GONE_WITHIN, || !lives(dead.process_id()));
    assert!(gone, "the shell was not reaped");
    let before = cpu_time(spawner.process_id());
    thread::sleep(WATCHED);
    let took = cpu_time(spawner.process_id()) - before;
    assert!(took < WATCHED / 10, "{took:?} of CPU time in {WATCHED:?}");
}

/// What a process of one thread has computed so far.
fn cpu_time(process: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{process}/schedstat")).expect("it lives");
    let nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}

/// The number behind `name` in a file of `/proc`, KiB.
fn kib(text: &str, name: &str) -> u64 {
    let number = text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?.strip_prefix(':')?;
        rest.trim().strip_suffix("kB")?.trim().parse().ok()
    });
    number.unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn an_idle_shell_has_little_memory_of_its_own() {
    if !can_run() {
        return;
    }
    let spawner = spawner();
    let owners: Vec<_> = (0..5).map(|_| waiting(&spawner)).collect();
    let private = |owner: &Owner| {
        let path = format!("/proc/{}/smaps_rollup", owner.process_id());
        let text = fs::read_to_string(path).expect("root may look");
        kib(&text, "Private_Clean") + kib(&text, "Private_Dirty")
    };
    let all: Vec<_> = owners.iter().map(private).collect();
    println!("private memory of idle shells, KiB: {all:?}");
    assert!(all.iter().all(|kib| *kib <= IDLE_KIB_MAX), "{all:?}");
}

#[test]
fn a_shell_is_ready_soon() {
    if !can_run() {
        return;
    }
    let spawner = spawner();
    let mut times: Vec<_> = (0..TIMED_SHELLS)
        .map(|_| {
            let began = Instant::now();
            let _owner = waiting(&spawner);
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    let (p50, p99) = (times[TIMED_SHELLS / 2], times[TIMED_SHELLS * 99 / 100]);
    println!("a shell is ready after p50 {p50:?}, p99 {p99:?} (wanted: p50 {READY_P50_MAX:?})");
    let is_long = std::env::var("JIFFY_LONG").is_ok_and(|value| value == "1");
    let limit = if is_long {
        READY_P50_MAX
    } else {
        READY_P50_BUSY_MAX
    };
    assert!(p50 <= limit, "{p50:?}");
}

/// Two spawners of one host, as two agents or two users of `jiffy run` have: no shell of the one has the
/// user of a shell of the other.
#[test]
fn every_shell_of_the_host_has_a_user_of_its_own() {
    if !can_run() {
        return;
    }
    let spawners = [spawner(), spawner()];
    let owners: Vec<_> = spawners
        .iter()
        .flat_map(|spawner| [waiting(spawner), waiting(spawner)])
        .collect();
    let users: BTreeSet<_> = owners
        .iter()
        .map(|owner| {
            let status = fs::read_to_string(format!("/proc/{}/status", owner.process_id()));
            let status = status.expect("it lives");
            let line = status.lines().find(|line| line.starts_with("Uid:"));
            line.expect("a user").to_owned()
        })
        .collect();
    println!("{users:?}");
    assert_eq!(users.len(), owners.len());
}

/// `jiffy-vmm` that is started by hand says what it is for, and leaves nothing.
#[test]
fn a_spawner_without_an_owner_ends() {
    if !can_run() {
        return;
    }
    let mut command = Command::new(jiffy_tests::vmm_path());
    let output = command.arg("spawner").stdin(Stdio::null()).output();
    let output = output.expect("jiffy-vmm");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("this command is for programs"), "{text}");
}
