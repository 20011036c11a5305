//! What a process can still do in the jail, and that it can do it without.
//!
//! A jail is for good and for processes with one thread, so each test runs this executable again.
//! There `acts` finds the part that the environment names and plays it before the test harness has
//! made threads: spawner, then shell, then one act.

mod acts;

use std::{
    env,
    fs::{self, OpenOptions, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::*;
use acts::{BROKEN, End, FIRST_USER, KILLED_BY_FILTER, ORDINARY_USER, PART, REFUSED};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Tester,
    OrdinaryUser,
    /// An ordinary user whom the kernel refuses a user namespace.
    RefusedUser,
}

const EVERYBODY: [Who; 3] = [Who::Tester, Who::OrdinaryUser, Who::RefusedUser];

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this is root. If not, it says why the test is not run; with `JIFFY_REQUIRE_KVM=1` it fails.
fn require_root(what: &str) -> bool {
    let required = env::var("JIFFY_REQUIRE_KVM").is_ok_and(|value| value == "1");
    assert!(
        is_root() || !required,
        "{what}, and JIFFY_REQUIRE_KVM=1 demands root"
    );
    if !is_root() {
        eprintln!("skipped: {what}");
    }
    is_root()
}

fn has_kvm(who: Who) -> bool {
    if who != Who::Tester && is_root() {
        return false; // The device is root's here.
    }
    let opened = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    let required = env::var("JIFFY_REQUIRE_KVM").is_ok_and(|value| value == "1");
    assert!(opened.is_ok() || !required, "/dev/kvm: {opened:?}");
    if opened.is_err() {
        eprintln!("skipped what needs KVM: /dev/kvm cannot be opened");
    }
    opened.is_ok()
}

/// The lines that the spawner, or the shell, printed.
fn play_as(who: Who, part: &str) -> Vec<String> {
    let own = env::current_exe().expect("a path");
    let is_another = who == Who::OrdinaryUser && is_root();
    // Another user may have no way into the folder that this was built in.
    let public = is_another.then(|| public_copy(&own));
    let program = public.as_ref().map_or(own, |(_, copy)| copy.clone());
    let mut command = Command::new(program);
    command.env(PART, part).stdin(Stdio::null());
    if is_another {
        command.uid(ORDINARY_USER).gid(ORDINARY_USER);
    }
    if who == Who::RefusedUser && is_root() {
        command.env(REFUSED, "1");
    }
    let output = command.output().expect("run this executable again");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    eprint!("{stderr}");
    assert_ne!(output.status.code(), Some(BROKEN), "{part}: {stderr}");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    stdout.lines().map(str::to_owned).collect()
}

/// A copy of a program that everybody may execute, gone with the folder.
fn public_copy(program: &Path) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copy = folder.path().join("program");
    fs::copy(program, &copy).expect("a copy");
    for path in [folder.path(), &copy] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("a mode");
    }
    (folder, copy)
}

fn end_of(who: Who, jail: &str, act: &str) -> String {
    let lines = play_as(who, &format!("{jail}/{act}"));
    let end = lines.last().cloned().unwrap_or_default();
    assert_ne!(end, format!("{:?}", End::Refused(BROKEN)), "{jail}/{act}");
    end
}

fn report_of(who: Who) -> JailReport {
    let lines = play_as(who, "full/report");
    serde_json::from_str(&lines[0]).expect("a report")
}

const LAYERS: usize = 11;

const ACTS: [&str; 14] = [
    "open a file",
    "open a file beneath a descriptor",
    "send to the network",
    "trace",
    "fork",
    "execute",
    "make memory executable",
    "mount",
    "become root",
    "make a VM",
    "signal the spawner",
    "signal its group",
    "call an ioctl",
    "map more than allowed",
];

fn acts(who: Who) -> impl Iterator<Item = &'static str> {
    let has_kvm = has_kvm(who);
    ACTS.into_iter()
        .filter(move |act| has_kvm || *act != "make a VM")
}

/// The same list that the jail refuses: so the tests are known to bite.
#[test]
fn without_the_jail_all_of_it_succeeds() {
    if !require_root("only root may mount and change its user") {
        return;
    }
    for act in acts(Who::Tester) {
        assert_eq!(end_of(Who::Tester, "free", act), "Done", "{act}");
    }
}

#[test]
fn the_full_jail_kills_whoever_tries() {
    for who in EVERYBODY {
        for act in acts(who) {
            let expected = match act {
                "map more than allowed" => End::Refused(libc::ENOMEM),
                _ => KILLED_BY_FILTER,
            };
            assert_eq!(end_of(who, "full", act), format!("{expected:?}"), "{act}");
        }
        assert_eq!(end_of(who, "full", "nothing"), "Done");
        let written = end_of(who, "full", "write more than allowed");
        // The first process of a PID namespace is spared the signal.
        let ends = [End::Refused(libc::EFBIG), End::Killed(libc::SIGXFSZ)];
        assert!(
            ends.iter().any(|end| written == format!("{end:?}")),
            "{written}"
        );
    }
}

/// What the other layers refuse on their own, should the filter have a hole.
#[test]
fn each_layer_beneath_the_filter_holds() {
    if !require_root("an ordinary user has fewer layers") {
        return;
    }
    for act in acts(Who::Tester) {
        let expected = match act {
            "open a file" | "execute" | "open a file beneath a descriptor" => {
                End::Refused(libc::EACCES)
            }
            "send to the network" => End::Refused(libc::ENETUNREACH),
            "trace" | "signal the spawner" => End::Refused(libc::ESRCH),
            "fork" => End::Refused(libc::EAGAIN),
            "mount" | "become root" => End::Refused(libc::EPERM),
            "map more than allowed" => End::Refused(libc::ENOMEM),
            // Only the filter, and of a signal to its group nobody else gets any.
            "make memory executable" | "make a VM" | "call an ioctl" | "signal its group" => {
                End::Done
            }
            _ => panic!("{act} has no expected end"),
        };
        let end = end_of(Who::Tester, "unfiltered", act);
        assert_eq!(end, format!("{expected:?}"), "{act}");
    }
}

#[test]
fn root_gets_every_layer_and_a_user_is_told_what_is_reduced() {
    if is_root() {
        let report = report_of(Who::Tester);
        let gaps: Vec<_> = report
            .gaps()
            .filter(|(layer, _)| *layer != Layer::Landlock)
            .collect();
        assert_eq!(gaps, [], "{report:?}");
    }
    let user = report_of(Who::OrdinaryUser);
    eprintln!("an ordinary user: {:#?}", user.gaps().collect::<Vec<_>>());
    let missing =
        |report: &JailReport, layer| matches!(report.state(layer), Some(State::Missing(_)));
    let reduced =
        |report: &JailReport, layer| matches!(report.state(layer), Some(State::Reduced(_)));
    assert!(missing(&user, Layer::OwnUser), "{user:?}");
    assert!(reduced(&user, Layer::Limits), "{user:?}");
    if is_root() {
        let refused = report_of(Who::RefusedUser);
        assert!(missing(&refused, Layer::Namespaces), "{refused:?}");
        assert!(missing(&refused, Layer::EmptyRoot), "{refused:?}");
        assert!(reduced(&refused, Layer::Capabilities), "{refused:?}");
    }
    for who in EVERYBODY {
        let report = report_of(who);
        assert_eq!(report.layers.len(), LAYERS, "{report:?}");
        assert_eq!(report.state(Layer::Filter), Some(&State::InForce));
    }
}

/// What the kernel says of a shell, not what the report does.
#[test]
fn the_kernel_agrees_with_the_report() {
    if !require_root("an ordinary user has fewer layers") {
        return;
    }
    let status = play_as(Who::Tester, "full/be looked at");
    let field = |name: &str| -> Vec<&str> {
        let mut lines = status.iter().filter_map(|line| line.strip_prefix(name));
        lines.next().expect("a field").split_whitespace().collect()
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!(
        (field("NoNewPrivs:"), field("Seccomp:")),
        (vec!["1"], vec!["2"])
    );
    assert!(field("Groups:").is_empty());
    for ids in [field("Uid:"), field("Gid:")] {
        let number = |id: &&str| id.parse::<u32>().expect("a number");
        assert!(
            ids.len() == 4 && ids.iter().map(number).all(|id| id > FIRST_USER),
            "{ids:?}"
        );
    }
    assert_eq!(
        field("NSpid:").last(),
        Some(&"1"),
        "first of its own PID namespace"
    );
    assert_eq!(field("Threads:"), ["1"]);
}

/// The limit of processes leaves room for the thread that KVM makes in the shell's name.
#[test]
fn a_vm_runs_in_the_jail() {
    if !has_kvm(Who::Tester) {
        return;
    }
    for jail in ["free", "unfiltered", "full"] {
        assert_eq!(end_of(Who::Tester, jail, "run a VM"), "Done", "{jail}");
    }
    let alone = end_of(Who::Tester, "unfiltered", "run a VM without its worker");
    eprintln!("with room for the shell alone: {alone}");
}

/// The pipe that this reads from is the shell's too, so it ends only when the shell has.
#[test]
fn a_shell_does_not_outlive_its_spawner() {
    for who in EVERYBODY {
        let began = Instant::now();
        play_as(who, "full/outlive");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn no_entry_of_the_list_is_covered_by_another() {
    assert_eq!(play_as(Who::Tester, "entries/all"), ["[]"]);
}

#[test]
fn a_process_with_threads_is_refused() {
    let thread = std::thread::spawn(|| {
        assert!(matches!(enter_outer(), Err(JailError::Threads)));
    });
    thread.join().expect("refused");
}

#[test]
#[ignore = "a measurement"]
fn what_a_shell_costs() {
    play_as(Who::Tester, "time/all");
    play_as(Who::OrdinaryUser, "time/all");
}

/// What the threat model says there is to try is what the list has.
#[test]
fn the_threat_model_counts_as_the_list_does() {
    // Of the build: the tests also run where there is no checkout.
    let document = include_str!("../../../docs/threat-model.md");
    let entries = Filter::entries().expect("the list");
    let changes = |entry: &&Entry| {
        let names = entry.args.iter().map(|argument| &argument.comment);
        names
            .into_iter()
            .any(|name| name.starts_with("KVM_") && !name.starts_with("KVM_GET_"))
    };
    let ioctls = entries.iter().filter(changes).count();
    let sentences = [
        format!("death for all but {} entries", entries.len()),
        format!(
            "{} entries and {ioctls} KVM ioctls that change anything",
            entries.len()
        ),
    ];
    for sentence in sentences {
        assert!(
            document.contains(&sentence),
            "{sentence:?} is not in the threat model"
        );
    }
    // Nor any other number of them.
    assert_eq!(document.matches(" entries").count(), 2);
}
