//! Neighbours that start a native binary: as it is, in bubblewrap, and in a container of crun.

use std::{
    env,
    fs::{self, DirBuilder},
    io::Write,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::geteuid;
use serde_json::json;

use super::{
    Candidate, Contender, FORK_EXEC, Workshop,
    apart::{self, Apart},
    program::{Program, one_line},
};
use crate::{
    report::Level,
    setup::{HELLO_ANSWER, HELLO_EVENT},
    suites::Fallible,
};

const HELLO_SOURCE: &str = include_str!("../../../peers/hello.c");
/// What a start may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// Who a container's process is: nobody.
const NOBODY: u32 = 65_534;

pub(super) fn candidates(workshop: &Workshop) -> Vec<Candidate> {
    let hello = compile(workshop.made.path()).map_err(|error| error.to_string());
    let of = |make: fn(&Workshop, &Path) -> Fallible<Box<dyn Contender>>| {
        let hello = hello.as_ref().map_err(String::as_str)?;
        make(workshop, hello)
    };
    vec![
        Candidate::new(
            FORK_EXEC,
            Level::Process,
            false,
            "none: a process of the same user",
            of(fork_exec),
        ),
        Candidate::new(
            "bwrap",
            Level::Process,
            true,
            "a container: namespaces and an empty root; no seccomp filter, no control group; the host's kernel",
            of(bwrap),
        ),
        Candidate::new(
            "crun",
            Level::Process,
            true,
            "a container: namespaces, a root and a user of its own, no capabilities; no seccomp filter, no control group; the host's kernel",
            of(crun),
        ),
    ]
}

/// The program that does what `hello` does, linked statically: nothing starts faster.
fn compile(folder: &Path) -> Fallible<PathBuf> {
    let hello = folder.join("hello");
    let compiler = Command::new("cc")
        .args(["-static", "-O2", "-x", "c", "-", "-o"])
        .arg(&hello)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut compiler =
        compiler.map_err(|error| format!("cannot start cc: {error}; run ./scripts/peers"))?;
    if let Some(mut stdin) = compiler.stdin.take() {
        stdin.write_all(HELLO_SOURCE.as_bytes())?;
    }
    let done = compiler.wait_with_output()?;
    if done.status.success() {
        return Ok(hello);
    }
    let complaint = String::from_utf8_lossy(&done.stderr);
    let complaint = one_line(&complaint);
    Err(format!("cc cannot link a static program, run ./scripts/peers: {complaint}").into())
}

fn fork_exec(_: &Workshop, hello: &Path) -> Fallible<Box<dyn Contender>> {
    Ok(Box::new(program([text(hello)?])?))
}

fn bwrap(_: &Workshop, hello: &Path) -> Fallible<Box<dyn Contender>> {
    let hello = text(hello)?;
    Ok(Box::new(program([
        find("bwrap")?.as_str(),
        "--unshare-all",
        "--die-with-parent",
        "--ro-bind",
        hello,
        "/hello",
        "/hello",
    ])?))
}

fn crun(workshop: &Workshop, hello: &Path) -> Fallible<Box<dyn Contender>> {
    let crun = find("crun")?;
    if !geteuid().is_root() {
        return Err("crun is measured with the rights to make a container: run as root".into());
    }
    let bundle = workshop.made.path().join("bundle");
    for folder in ["proc", "dev"] {
        // Others may look inside: the container's user is another one.
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o755);
        builder.create(bundle.join("rootfs").join(folder))?;
    }
    fs::copy(hello, bundle.join("rootfs/hello"))?;
    fs::write(bundle.join("config.json"), container().to_string())?;
    let program = program([
        crun.as_str(),
        "--root",
        text(&workshop.made.path().join("containers"))?,
        "--cgroup-manager=disabled",
        "run",
        "--bundle",
        text(&bundle)?,
        // One at a time.
        "jiffy-peer",
    ])?;
    Ok(if apart::is_hybrid() {
        Box::new(Apart::new(program)?)
    } else {
        Box::new(program)
    })
}

/// As little as makes a container. What users of crun have besides, a seccomp filter and control groups, makes it slower.
fn container() -> serde_json::Value {
    let namespaces = ["pid", "network", "ipc", "uts", "mount"];
    let namespaces = namespaces.map(|kind| json!({ "type": kind }));
    json!({
        "ociVersion": "1.0.0",
        "process": {
            "terminal": false,
            "user": { "uid": NOBODY, "gid": NOBODY },
            "args": ["/hello"],
            "cwd": "/",
            "capabilities": {},
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": { "namespaces": namespaces }
    })
}

/// `command`, asked what `hello` is asked.
pub(super) fn program<'a>(command: impl IntoIterator<Item = &'a str>) -> Fallible<Program> {
    let command = command.into_iter().map(str::to_owned).collect();
    let answer = str::from_utf8(HELLO_ANSWER)?;
    Ok(Program::new(command, HELLO_EVENT, answer, TIMEOUT)?)
}

/// Where in `PATH` a program is, so that looking for it is not measured.
fn find(name: &str) -> Fallible<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut all = env::split_paths(&path).map(|folder| folder.join(name));
    let found = all.find(|program| program.is_file());
    let found = found.ok_or_else(|| format!("{name} is not installed: run ./scripts/peers"))?;
    Ok(text(&found)?.to_owned())
}

/// A path as an argument.
pub(super) fn text(path: &Path) -> Fallible<&str> {
    let text = path.to_str();
    text.ok_or_else(|| format!("{path:?} is no UTF-8: move it").into())
}
