//! Outputs that are closed or full: no program panics, and what its exit code says of the work stays true.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use jiffy_console::Exit;
use jiffy_tests::{
    CrateFolder, agent::within, bench_path, image, jiffy, jiffyd_path, require_kvm, vmm_path,
    workspace_root,
};
use rustix::process::{Pid, Signal, kill_process};

const START_TIME_MAX: Duration = Duration::from_secs(30);

/// What a program's output is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// A pipe whose reader is gone.
    Closed,
    /// A disk without room.
    Full,
    /// It is read, to its end.
    Read,
}

impl Output {
    fn stdio(self) -> Stdio {
        match self {
            Self::Closed => {
                let (reader, writer) = io::pipe().expect("a pipe");
                drop(reader);
                writer.into()
            }
            Self::Full => {
                let full = File::options().write(true).open("/dev/full");
                full.expect("/dev/full").into()
            }
            Self::Read => Stdio::piped(),
        }
    }
}

const OUTPUTS: [Output; 3] = [Output::Closed, Output::Full, Output::Read];

/// Runs a command whose work ends with `work`, with each combination of outputs. It prints something on standard output
/// if `prints`.
#[track_caller]
fn check(command: &mut Command, work: Exit, prints: bool) {
    for stdout in OUTPUTS {
        for stderr in OUTPUTS {
            command.stdin(Stdio::null());
            command.stdout(stdout.stdio()).stderr(stderr.stdio());
            let ended = command.output().expect("a program");
            let is_told = stdout == Output::Full && prints;
            let expected = match work {
                Exit::Ok if is_told => Exit::Host,
                work => work,
            };
            let said = String::from_utf8_lossy(&ended.stderr);
            let how = format!("{command:?}, stdout {stdout:?}, stderr {stderr:?}: {said}");
            assert_eq!(ended.status.code(), Some(expected as i32), "{how}");
            assert!(!said.contains("panicked"), "{how}");
            if stderr == Output::Read {
                let told = said.contains("cannot write to standard output: No space left");
                assert_eq!(told, is_told, "{how}");
            }
        }
    }
}

/// `jiffy run` or `jiffy-vmm` of an image with an event.
fn run(mut program: Command, image: &Path, event: &str) -> Command {
    program.arg(image).args(["--event", event]);
    program
}

fn jiffy_run() -> Command {
    let mut command = jiffy();
    command.arg("run");
    command
}

#[test]
fn a_run_ends_as_the_function_did() {
    if !require_kvm() {
        return;
    }
    let faults = image("faults");
    for (event, exit) in [
        (r#"{"kind":"error"}"#, Exit::FunctionError),
        ("{", Exit::BadEvent),
        (r#"{"kind":"panic"}"#, Exit::Panic),
    ] {
        check(&mut run(jiffy_run(), &faults, event), exit, false);
        check(
            &mut run(Command::new(vmm_path()), &faults, event),
            exit,
            false,
        );
        let mut json = run(jiffy_run(), &faults, event);
        check(json.args(["-o", "json"]), exit, true);
    }
    // It logs, and prints where the time went.
    let hello = image("hello");
    let event = r#"{"name":"Ada"}"#;
    check(
        run(jiffy_run(), &hello, event).arg("--stats"),
        Exit::Ok,
        true,
    );
    check(
        &mut run(Command::new(vmm_path()), &hello, event),
        Exit::Ok,
        true,
    );
    // More than any buffer holds.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let large = folder.path().join("large");
    fs::write(&large, vec![b'x'; 1 << 20]).expect("written");
    let mut echo = jiffy_run();
    echo.arg(image("echo")).arg("--event-file").arg(&large);
    check(&mut echo, Exit::Ok, true);
}

#[test]
fn what_only_prints_ends_well_unless_the_output_is_full() {
    let hello = image("hello");
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["run", "--help"],
        &["completions", "bash"],
    ] {
        check(jiffy().args(arguments), Exit::Ok, true);
    }
    for format in ["text", "json"] {
        check(
            jiffy().arg("inspect").arg(&hello).args(["-o", format]),
            Exit::Ok,
            true,
        );
    }
    check(jiffy().arg("frobnicate"), Exit::Usage, false);
    check(
        jiffy().args(["inspect", "/nonexistent"]),
        Exit::ImageRefused,
        false,
    );
    check(Command::new(vmm_path()).arg("--help"), Exit::Ok, true);
    for argument in ["--help", "--print-config"] {
        check(Command::new(jiffyd_path()).arg(argument), Exit::Ok, true);
    }
    // With 1, as always: what it says is of its own.
    let nonsense = ["--config", "/nonexistent"];
    check(
        Command::new(jiffyd_path()).args(nonsense),
        Exit::FunctionError,
        false,
    );
    let report = workspace_root().join("tests/data/bench-report.json");
    let mut bench = Command::new(bench_path());
    bench
        .arg("ab")
        .args([&report, &report])
        .arg("--")
        .args([&report, &report]);
    check(&mut bench, Exit::Ok, true);
    check(Command::new(bench_path()).arg("--help"), Exit::Ok, true);
}

#[test]
fn a_crate_is_built_whoever_reads_what_cargo_says() {
    let folder = CrateFolder::new("quiet");
    let function = folder.path();
    let beside = function.parent().expect("a folder");
    fs::remove_dir(function).expect("it is empty");
    jiffy_tests::check(jiffy().args(["new", "quiet"]).current_dir(beside));
    let source = function.join("src/lib.rs");
    let good = fs::read_to_string(&source).expect("the source");
    let build = |source_text: &str, exit| {
        for stderr in OUTPUTS {
            fs::write(&source, source_text).expect("written");
            let mut command = jiffy();
            command
                .env_remove("CARGO_TARGET_DIR")
                .arg("build")
                .arg(function);
            let ended = command
                .stdout(Stdio::null())
                .stderr(stderr.stdio())
                .status();
            assert_eq!(
                ended.expect("jiffy").code(),
                Some(exit as i32),
                "{stderr:?}"
            );
        }
    };
    build(&format!("{good}\nfn unused() {{}}\n"), Exit::Ok);
    build(
        &format!("{good}\nfn broken() -> u32 {{ \"text\" }}\n"),
        Exit::Build,
    );
}

/// On which port a process listens, as the kernel has it.
fn listening(process: u32) -> Option<u16> {
    let links = fs::read_dir(format!("/proc/{process}/fd")).ok()?.flatten();
    let own: BTreeSet<_> = links.flat_map(|it| fs::read_link(it.path())).collect();
    let table = fs::read_to_string(format!("/proc/{process}/net/tcp")).ok()?;
    table.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (address, state, inode) = (words.nth(1)?, words.nth(1)?, words.nth(5)?);
        let is_own = own.contains(Path::new(&format!("socket:[{inode}]")));
        let (_, port) = address
            .split_once(':')
            .filter(|_| is_own && state == "0A")?;
        u16::from_str_radix(port, 16).ok()
    })
}

/// What an agent logs goes nowhere, so that it cannot say where it listens; it serves on and ends well.
#[test]
fn an_agent_without_anybody_who_reads_its_log_serves_on() {
    if !require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    for stderr in [Output::Closed, Output::Full] {
        let mut agent = Command::new(jiffyd_path())
            .args([
                "--listen",
                "127.0.0.1:0",
                "--log",
                "debug",
                "--allow-missing-cgroups",
                "--data-dir",
            ])
            .arg(folder.path().join("data"))
            .stdin(Stdio::null())
            .stderr(stderr.stdio())
            .spawn()
            .expect("jiffyd");
        let port = within(START_TIME_MAX, || {
            assert!(agent.try_wait().expect("a child").is_none(), "it ended");
            listening(agent.id())
        });
        let url = format!("http://127.0.0.1:{}/v1/health", port.expect("it listens"));
        ureq::get(&url).call().expect("an answer");
        let id = i32::try_from(agent.id()).expect("an id");
        kill_process(Pid::from_raw(id).expect("an id"), Signal::TERM).expect("a signal");
        let status = agent.wait().expect("an end");
        assert_eq!(status.code(), Some(0), "{stderr:?}");
    }
}

/// The table of README.md is the one that the programs have.
#[test]
fn the_readme_has_the_exit_codes_that_there_are() {
    let readme = fs::read_to_string(workspace_root().join("README.md")).expect("README.md");
    let rows: Vec<(u8, &str)> = readme
        .lines()
        .filter_map(|line| {
            let (code, meaning) = line
                .strip_prefix("| ")?
                .strip_suffix(" |")?
                .split_once(" | ")?;
            Some((code.parse().ok()?, meaning))
        })
        .collect();
    let all: Vec<(u8, &str)> = Exit::ALL
        .iter()
        .map(|exit| (*exit as u8, exit.meaning()))
        .collect();
    assert_eq!(rows, all);
    let help: PathBuf = vmm_path();
    let help = Command::new(help)
        .arg("--help")
        .output()
        .expect("jiffy-vmm")
        .stdout;
    let help = String::from_utf8(help).expect("text");
    assert!(
        help.contains(&Exit::table(Exit::Host).to_string()),
        "{help}"
    );
}
