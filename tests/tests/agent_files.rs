//! What another user of the host can read of an agent and of snapshots: nothing. With a real one, `nobody`.

mod agent_common;

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use agent_common::can_run;
use jiffy_tests::agent::Setup;
use rustix::process::Signal;
use serde_json::json;

const NOBODY: &str = "65534";
const SECRET: &str = "env-5a1b-secret-of-the-function";

/// Whether a file or directory can be opened by another user.
fn is_open_to_others(path: &Path) -> bool {
    let read = Command::new("setpriv")
        .args([
            "--reuid",
            NOBODY,
            "--regid",
            NOBODY,
            "--clear-groups",
            "--inh-caps=-all",
            "head",
            "-c",
            "1",
        ])
        .arg(path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .expect("setpriv and head");
    let said = String::from_utf8_lossy(&read.stderr);
    // A directory opens, and cannot be read as a file.
    read.status.success() || said.contains("Is a directory")
}

fn all_below(path: &Path, found: &mut Vec<PathBuf>) {
    found.push(path.to_owned());
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a directory") {
            all_below(&entry.expect("an entry").path(), found);
        }
    }
}

/// Another user opens nothing, and would not if it were let into the folder: what is made is made with its mode.
fn check_closed(folder: &Path) {
    let mut all = vec![];
    all_below(folder, &mut all);
    for path in &all {
        assert!(!is_open_to_others(path), "{}", path.display());
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            // What is written under another name first is gone when it has its own.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => panic!("{}: {error}", path.display()),
        };
        assert_eq!(
            metadata.mode() & 0o077,
            0,
            "{}: {:o}",
            path.display(),
            metadata.mode()
        );
    }
    assert!(all.len() > 5, "{all:?}");
}

/// Whether a file below the folder has the text in it: that there is something to protect.
fn holds(folder: &Path, text: &str) -> bool {
    let mut all = vec![];
    all_below(folder, &mut all);
    let files = all.iter().filter(|path| path.is_file());
    let mut read = files.map(|path| fs::read(path).expect("root reads all"));
    read.any(|bytes| {
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    })
}

/// With a umask of 0 and a folder that everybody may enter: as of a package or a mistake.
#[test]
fn another_user_reads_nothing_of_an_agent() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]).with_open_folders();
    let agent = setup.start();
    let image = agent.client.upload("hello");
    let settings = json!({ "environment": { "PASSWORD": SECRET } });
    agent.client.deploy("hello", &image, settings).expect(201);
    agent
        .client
        .invoke("hello", r#"{"name":"Ada"}"#)
        .expect(200);
    let described = agent.client.get("/v1/functions/hello").expect(200);
    assert!(!described.text().contains(SECRET), "{}", described.text());
    let found = jiffy_tests::agent::within(std::time::Duration::from_secs(10), || {
        // Logs, usage and working set are written behind the response.
        let has_logs = setup.data_dir().join("logs/hello").is_dir();
        has_logs.then(|| check_closed(&setup.data_dir()))
    });
    assert!(found.is_some(), "no logs");
    assert!(
        holds(&setup.data_dir(), SECRET),
        "the test looks at the wrong place"
    );
    assert!(agent.stop().success(), "{}", setup.log());
    check_closed(&setup.data_dir());
    let log = setup.log();
    assert!(
        log.contains("others could enter the data directory"),
        "{log}"
    );
}

/// What the agent's own user may not, in its data directory, is told by its path, and for what it is: no disk is full.
#[test]
fn what_the_agent_may_not_is_named() {
    if !can_run() {
        return;
    }
    // Who may use KVM, and is not root, who may everything.
    let group = fs::metadata("/dev/kvm").expect("KVM").gid();
    let user: u32 = NOBODY.parse().expect("a number");
    let setup = Setup::new(&[]).of_user(user, group);
    let close = |name: &str| {
        let path = setup.data_dir().join(name);
        let mode = fs::metadata(&path).expect("made before").permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("closed");
        (path, mode)
    };
    let check = |said: &str, path: &Path| {
        let named = said.contains(path.to_str().expect("text"));
        assert!(named && said.contains("this user may not"), "{said}");
        assert!(!said.contains("full"), "{said}");
    };
    let agent = setup.start();
    agent.get("/v1/health").expect(200);
    // While it runs: it goes on, and who asked for it is told.
    let (path, mode) = close("images");
    let image = fs::read(jiffy_tests::image("hello")).expect("an image");
    let refused = agent.client.call("POST", "/v1/images", &image).expect(503);
    check(&refused.text(), &path);
    fs::set_permissions(&path, mode).expect("opened");
    agent.client.upload("hello");
    assert!(agent.stop().success(), "{}", setup.log());
    for name in ["images", "logs", "registry"] {
        let (path, mode) = close(name);
        let status = setup.command().status().expect("jiffyd");
        assert!(!status.success(), "{name}");
        check(&setup.log(), &path);
        fs::set_permissions(&path, mode).expect("opened");
    }
    let agent = setup.start();
    agent.get("/v1/health").expect(200);
}

/// With a umask of 0: whatever folders it makes on the way to its store, or for an ephemeral one, are the developer's alone.
#[test]
fn another_user_reads_nothing_of_jiffy_dev() {
    if !can_run() {
        return;
    }
    let function = tempfile::tempdir().expect("a folder");
    fs::write(function.path().join("Cargo.toml"), "[package]\n").expect("a manifest");
    for is_ephemeral in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("open");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        drop(listener);
        let mut dev = Command::new("sh");
        dev.args(["-c", "umask 0; exec \"$@\"", "sh"])
            .arg(jiffy_tests::jiffy_path())
            .arg("dev")
            .arg(function.path())
            .args(["--listen", &address])
            .args(is_ephemeral.then_some("--ephemeral"))
            .env("JIFFYD", jiffy_tests::jiffyd_path())
            .env("JIFFY_VMM", jiffy_tests::vmm_path())
            .env("XDG_STATE_HOME", folder.path().join("state"))
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut dev = dev.spawn().expect("jiffy");
        let said = BufReader::new(dev.stderr.take().expect("piped"));
        let mut lines = said.lines().map_while(Result::ok);
        let is_up = lines.any(|line| line.contains("waiting for a change"));
        assert!(is_up, "jiffy dev ended");
        let mut made = fs::read_dir(folder.path()).expect("a folder");
        let made = made.next().expect("a store").expect("an entry").path();
        check_closed(&made);
        let name = made.file_name().expect("a name").to_string_lossy();
        assert_eq!(name.starts_with("jiffy-dev-"), is_ephemeral, "{name}");
        jiffy_tests::agent::signal(dev.id(), Signal::TERM).expect("it lives");
        lines.for_each(drop);
        assert!(dev.wait().expect("a child").success());
    }
}

#[test]
fn the_data_directory_of_another_user_is_refused() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    fs::create_dir(setup.data_dir()).expect("a directory");
    std::os::unix::fs::chown(setup.data_dir(), Some(65534), None).expect("given away");
    let status = setup.command().status().expect("jiffyd");
    let said = setup.log();
    assert!(!status.success(), "{said}");
    assert!(
        said.contains("belongs to user 65534") && said.contains("chown"),
        "{said}"
    );
}

#[test]
fn another_user_reads_nothing_of_a_snapshot() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("open");
    let (snapshot, jiffy) = (folder.path().join("hello.snap"), jiffy_tests::jiffy_path());
    let made = Command::new("sh")
        .args(["-c", "umask 0; exec \"$@\"", "sh"])
        .arg(jiffy)
        .args(["snapshot", "create"])
        .arg(jiffy_tests::image("hello"))
        .arg("-o")
        .arg(&snapshot)
        .env("JIFFY_VMM", jiffy_tests::vmm_path())
        .output()
        .expect("jiffy");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    for path in [&snapshot, &snapshot.join("state"), &snapshot.join("ram")] {
        assert!(!is_open_to_others(path), "{}", path.display());
        let mode = fs::metadata(path).expect("metadata").mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
}
