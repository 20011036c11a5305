//! What users bring from an earlier release: a data directory, snapshots, images and a configuration. Those in
//! `tests/fixtures` were made by it.

mod agent_common;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use agent_common::{can_run, retry};
use jiffy_console::Exit;
use jiffy_tests::{
    agent::{Agent, Client, Setup},
    check, jiffy, require_kvm, workspace_root,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What is not asked for by a request may take so long on a busy host.
const SOON: Duration = Duration::from_secs(60);

/// The image of `teller` in the data directory.
const TELLER: &str = "images/ed/ed9972166c74aca6b001bbb2472bc8ea7639b070ead091281544284e804e2e54";
/// The image of `web`.
const WEB: &str = "images/43/4375654deaadedb15d45f864a9868428b5150b9eb5567281849d5a290e3d0f93";
/// The snapshot of version 2 of `teller`.
const SNAPSHOT: &str =
    "snapshots/60/604a5b42d49ee9fbe7418a9bff3f214a585af6513fb30ca4a12e48b870c88968";

fn fixture(name: &str) -> PathBuf {
    workspace_root().join("tests/fixtures/50ce170").join(name)
}

/// Puts the data directory into `folder`, where it belongs to who runs this.
fn unpack(folder: &Path) {
    check(
        Command::new("tar")
            .arg("-xzpf")
            .arg(fixture("data.tar.gz"))
            .args(["--no-same-owner", "-C"])
            .arg(folder),
    );
}

/// A folder with the data directory, and that.
fn unpacked() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    unpack(folder.path());
    let data = folder.path().join("data");
    (folder, data)
}

fn setup() -> Setup {
    let setup = Setup::new(&[]);
    let data = setup.data_dir();
    unpack(data.parent().expect("it is in a folder"));
    setup
}

/// What the agent of the earlier release answered when it was asked last.
fn expected() -> Value {
    let text = fs::read_to_string(fixture("expected.json")).expect("the fixture");
    serde_json::from_str(&text).expect("JSON")
}

/// All that `old` says `new` says, but for the digests of snapshots; it may say more.
#[track_caller]
fn assert_says(new: &Value, old: &Value, place: &str) {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            for (key, old) in old.iter().filter(|(key, _)| *key != "snapshot") {
                let new = new
                    .get(key)
                    .unwrap_or_else(|| panic!("{place} has no {key}"));
                assert_says(new, old, &format!("{place} {key}"));
            }
        }
        (Value::Array(new), Value::Array(old)) => {
            assert_eq!(new.len(), old.len(), "{place}");
            for (new, old) in new.iter().zip(old) {
                assert_says(new, old, place);
            }
        }
        (new, old) => assert_eq!(new, old, "{place}"),
    }
}

/// What is deployed is what was, and every version answers, with the environment that it has.
#[track_caller]
fn assert_all_is_there(agent: &Client) {
    for (path, old) in expected().as_object().expect("an object") {
        if path != "/v1/usage" {
            assert_says(&agent.get(path).expect(200).json(), old, path);
        }
    }
    let list = agent.get("/v1/functions").expect(200).json();
    assert_eq!(list["functions"].as_array().expect("a list").len(), 2);
    let ask = |qualifier: &str| {
        let path = format!("/v1/functions/teller/invoke?qualifier={qualifier}");
        agent
            .call("POST", &path, b"env GREETING")
            .expect(200)
            .text()
    };
    for (qualifier, greeting) in [
        ("live", "hallo"),
        ("1", "hello"),
        ("2", "hallo"),
        ("3", "bonjour"),
        ("next", "bonjour"),
    ] {
        assert_eq!(ask(qualifier), greeting, "{qualifier}");
    }
    // 750 of 1,000 requests go to version 1, the others to version 2.
    let answers: BTreeSet<_> = (0..60).map(|_| ask("stable")).collect();
    assert_eq!(answers, ["hallo", "hello"].map(String::from).into());
    let web = agent.get("/fn/web/a%20path?q").expect(201);
    assert_eq!(web.header("x-target"), Some("/a%20path?q"));
    assert_eq!(web.header("jiffy-version"), Some("3"));
    agent.invoke("gone", "{}").expect(404);

    // What Lambda's API attached.
    let of = |path: &str| agent.get(path).expect(200).json();
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:web";
    assert_eq!(of(&format!("/2017-03-31/tags/{arn}"))["Tags"]["team"], "a");
    assert_eq!(of("/2021-10-31/functions/web/url")["AuthType"], "NONE");
    let concurrency = of("/2019-09-30/functions/web/concurrency");
    assert_eq!(concurrency["ReservedConcurrentExecutions"], 7);
    agent.get("/url/web/").expect(201);
}

fn log_of(agent: &Client) -> String {
    agent.get("/v1/functions/teller/logs").expect(200).text()
}

fn requests_of(agent: &Client, function: &str) -> u64 {
    let usage = agent.get("/v1/usage").expect(200).json();
    let mut all = usage["usage"].as_array().expect("a list").iter();
    let used = all.find(|used| used["function"] == function);
    used.and_then(|used| used["requests"].as_u64()).unwrap_or(0)
}

/// Waits until no version waits for its snapshot.
#[track_caller]
fn await_snapshots(agent: &Client) {
    let is_done = || agent.get("/v1/health").expect(200).json()["rebuilding"] == 0;
    assert!(retry(SOON, is_done));
}

fn start(setup: &Setup) -> Agent {
    let agent = setup.start();
    await_snapshots(&agent);
    agent
}

/// Nothing of a function is lost, nor of its log and its usage; the next start finds the same, and what came to it.
#[test]
fn a_data_directory_of_an_earlier_release_is_taken_over() {
    if !can_run() {
        return;
    }
    let setup = setup();
    let agent = start(&setup);
    let usage = agent.get("/v1/usage").expect(200).json();
    assert_says(&usage, &expected()["/v1/usage"], "usage");
    assert!(log_of(&agent).contains(r#""text":"from version 1""#));
    assert_all_is_there(&agent);
    let log = setup.log();
    assert!(
        log.contains("took over the registry") && log.contains("registry-format-2"),
        "{log}"
    );
    assert!(!log.contains("ERROR") && !log.contains("damaged"), "{log}");

    // It goes on from there.
    let image = TELLER.rsplit_once('/').expect("a path").1;
    let environment = json!({ "environment": { "GREETING": "ciao" } });
    let deployed = agent.deploy("teller", image, environment).expect(200);
    assert_eq!(deployed.json()["version"], 4);
    agent.deploy("gone", image, json!({})).expect(201);
    // The snapshots of before are removed.
    let old = setup.data_dir().join(SNAPSHOT);
    assert!(retry(SOON, || !old.exists()));
    let asked = requests_of(&agent, "teller");
    assert!(asked > 60, "{asked}");
    assert!(agent.stop().success());

    let agent = setup.start();
    assert!(!setup.log().contains("took over"), "{}", setup.log());
    assert_eq!(agent.invoke("teller", "env GREETING").text(), "ciao");
    assert!(requests_of(&agent, "teller") >= asked);
    assert!(log_of(&agent).contains(r#""text":"from version 1""#));
    assert!(agent.stop().success());
}

/// What the earlier release wrote stays beside what was made of it; put back, it is what it was, for whichever release.
#[test]
fn a_registry_that_was_taken_over_can_be_put_back() {
    if !can_run() {
        return;
    }
    let setup = setup();
    let agent = start(&setup);
    agent
        .call("DELETE", "/v1/functions/teller", b"")
        .expect(204);
    assert!(agent.stop().success());
    let [kept, registry] =
        ["registry-format-2", "registry"].map(|name| setup.data_dir().join(name));
    assert_eq!(
        fs::metadata(&kept).expect("kept").permissions().mode() & 0o777,
        0o600
    );
    fs::rename(&kept, &registry).expect("put back");
    let agent = start(&setup);
    assert!(kept.exists());
    assert_all_is_there(&agent);
    assert!(agent.stop().success());
}

/// It is told in a sentence and by the exit code, and the directory is left to the release that wrote it.
#[test]
fn a_registry_that_cannot_be_kept_is_not_taken_over() {
    let setup = setup();
    let data = setup.data_dir();
    let in_the_way = data.join("registry-format-2");
    fs::create_dir(&in_the_way).expect("a directory");
    let names = || -> BTreeSet<_> {
        let entries = fs::read_dir(&data).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names.collect()
    };
    let before = names();
    let status = setup.command().status().expect("jiffyd");
    assert_eq!(status.code(), Some(1));
    let log = setup.log();
    let why = format!(
        "cannot keep the registry of an earlier release as {}",
        in_the_way.display()
    );
    assert!(log.contains(&why), "{log}");
    assert_eq!(names(), before);
    fs::remove_dir(&in_the_way).expect("it is empty");
    if !can_run() {
        return;
    }
    let agent = start(&setup);
    assert_all_is_there(&agent);
    assert!(agent.stop().success());
}

/// Each command that reads snapshots says what to do.
#[test]
fn a_snapshot_of_an_earlier_release_is_refused() {
    if !require_kvm() {
        return;
    }
    let (_folder, data) = unpacked();
    let snapshot = data.join(SNAPSHOT);
    for arguments in [
        &["run", "--event", "env GREETING", "--snapshot"][..],
        &["snapshot", "inspect"],
        &["snapshot", "verify"],
    ] {
        let output = jiffy().args(arguments).arg(&snapshot).output();
        let output = output.expect("jiffy");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(Exit::ImageRefused as i32),
            "{arguments:?}: {said}"
        );
        let why = "the snapshot has format 2, and this jiffy knows only 3: create it again";
        assert!(said.contains(why), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// Images stay: their ABI is the same. What answers is what was built then.
#[test]
fn an_image_of_an_earlier_release_runs() {
    if !require_kvm() {
        return;
    }
    let (folder, data) = unpacked();
    let answer = |arguments: &[&str], path: &Path| {
        let output = jiffy().args(arguments).arg(path).output().expect("jiffy");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).expect("text")
    };
    let (teller, web) = (data.join(TELLER), data.join(WEB));
    let ask = ["run", "--env", "GREETING=hi", "--event", "env GREETING"];
    assert_eq!(answer(&ask, &teller).trim_end(), "hi");
    assert!(answer(&["inspect"], &web).contains("flags: http"));
    let snapshot = folder.path().join("made.again");
    let create = ["snapshot", "create", "--env", "GREETING=snap", "-o"];
    let output = jiffy().args(create).arg(&snapshot).arg(&teller).output();
    assert!(output.expect("jiffy").status.success());
    let ask = ["run", "--event", "env GREETING", "--snapshot"];
    assert_eq!(answer(&ask, &snapshot).trim_end(), "snap");
}

/// Every key of then says what it said.
#[test]
fn a_configuration_of_an_earlier_release_is_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str| folder.path().join(name);
    fs::copy(fixture("jiffyd.toml"), file("jiffyd.toml")).expect("a file");
    for (name, text) in [
        ("token", "0123456789abcdef0123456789abcdef\n"),
        ("keys", "AKIDEXAMPLE:secretsecretsecret\n"),
    ] {
        fs::write(file(name), text).expect("a file");
        fs::set_permissions(file(name), fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    let output = Command::new(jiffy_tests::jiffyd_path())
        .args(["--config", "jiffyd.toml", "--print-config"])
        .current_dir(folder.path())
        .output()
        .expect("jiffyd");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let now = String::from_utf8(output.stdout).expect("text");
    let then = fs::read_to_string(fixture("jiffyd.effective.toml")).expect("the fixture");
    let (now, then) = (keys(&now), keys(&then));
    assert!(then.len() > 40, "{then:?}");
    let missing: Vec<_> = then.difference(&now).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Keys with their values, each with its section.
fn keys(text: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut keys = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.starts_with('[') {
            true => section = line,
            false => drop(keys.insert(format!("{section} {line}"))),
        }
    }
    keys
}
