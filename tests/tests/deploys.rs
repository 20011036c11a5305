//! `jiffy deploy` against an agent, and `jiffy run`, which does the same without one: how an `init` ends, and which
//! settings a function gets.

mod agent_common;

use std::{fs, path::Path, process::Command};

use agent_common::can_run;
use jiffy_console::Exit;
use jiffy_tests::{CrateFolder, agent::Setup, image, jiffy};
use serde_json::Value;

/// What a command said, if it ended as it should.
#[track_caller]
fn ends(command: &mut Command, exit: Exit) -> [String; 2] {
    let output = command.output().expect("jiffy");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = [text(&output.stdout), text(&output.stderr)];
    assert_eq!(
        output.status.code(),
        Some(exit as i32),
        "{command:?}: {said:?}"
    );
    said
}

/// `jiffy VERB TARGET`, and what follows.
fn with(verb: &str, target: &Path, arguments: &[&str]) -> Command {
    let mut command = jiffy();
    command.arg(verb).arg(target).args(arguments);
    command
}

/// What an `init` comes to is told alike by a run and by a deploy.
#[test]
fn each_end_of_an_init_has_its_exit_code() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let function = image("init-ends");
    for (kind, exit, words) in [
        ("error", Exit::FunctionError, &["no init today"][..]),
        ("panic", Exit::Panic, &["no init today", "src/lib.rs:"]),
        ("fault", Exit::Fault, &["stack"]),
        ("timeout", Exit::Timeout, &["not done within 300 ms"]),
        (
            "memory",
            Exit::OutOfMemory,
            &[
                "out of memory",
                "an allocation of 1024.0 MiB failed in a VM of 16.0 MiB",
                "more",
            ],
        ),
    ] {
        let variable = format!("KIND={kind}");
        let settings = ["--timeout", "300ms", "--env", &variable];
        let [_, run] = ends(&mut with("run", &function, &settings), exit);
        let agent_at = ["--name", "ends", "--agent", agent.client.url()];
        let arguments = [&settings[..], &agent_at].concat();
        let [_, deploy] = ends(&mut with("deploy", &function, &arguments), exit);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let snapshot = folder.path().join("snapshot");
        let mut create = jiffy();
        create
            .args(["snapshot", "create"])
            .arg(&function)
            .arg("-o")
            .arg(&snapshot);
        ends(create.args(settings), exit);
        for word in words {
            let is_advice = *word == "more";
            assert!(run.contains(word), "{word}: {run}");
            assert!(is_advice || deploy.contains(word), "{word}: {deploy}");
        }
        if kind == "memory" {
            assert!(deploy.contains("raise the function's memory"), "{deploy}");
        }
    }
    let refused = with(
        "deploy",
        &image("random-init"),
        &["--agent", agent.client.url()],
    );
    let refused = { refused }.output().expect("jiffy");
    assert_eq!(refused.status.code(), Some(Exit::ImageRefused as i32));
    agent.stop();
}

#[test]
fn an_init_that_draws_randomness_is_refused_by_a_run_as_by_a_deploy() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let function = image("random-init");
    let [_, run] = ends(&mut with("run", &function, &[]), Exit::ImageRefused);
    let agent_at = ["--agent", agent.client.url()];
    let [_, deploy] = ends(
        &mut with("deploy", &function, &agent_at),
        Exit::ImageRefused,
    );
    let words = "`init` drew randomness, which every VM restored from the snapshot would share";
    assert!(
        run.contains(words) && run.contains("random-init = true"),
        "{run}"
    );
    assert!(deploy.contains(words), "{deploy}");
    ends(
        &mut with("run", &image("random-init-allowed"), &[]),
        Exit::Ok,
    );
    agent.stop();
}

/// A folder with a crate whose `jiffy.toml` is `manifest`.
fn function(folder: &Path, manifest: &str) {
    let made = folder.join("Cargo.toml").exists();
    if !made {
        let root = jiffy_tests::workspace_root();
        let source = fs::read_to_string(root.join("tests/guests/init-ends/src/lib.rs"));
        fs::create_dir(folder.join("src")).expect("a folder");
        fs::write(folder.join("src/lib.rs"), source.expect("the source")).expect("written");
        let sdk = root.join("unikernel/sdk");
        let cargo = format!(
            "[package]\nname = \"ends\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\njiffy = {{ path = {sdk:?} }}\n"
        );
        fs::write(folder.join("Cargo.toml"), cargo).expect("written");
    }
    fs::write(folder.join("jiffy.toml"), manifest).expect("written");
}

/// Flags, then `jiffy.toml`, then the defaults, for a run as for a deploy; and a request finds nothing of those before.
#[test]
fn a_run_does_as_a_deploy_would() {
    if !can_run() {
        return;
    }
    let folder = CrateFolder::new("ends");
    let run = |arguments: &[&str], exit| {
        let mut command = with("run", folder.path(), arguments);
        ends(command.env_remove("CARGO_TARGET_DIR"), exit)
    };
    function(folder.path(), "");
    let event = ["--event", "A", "--requests", "5"];
    assert_eq!(run(&event, Exit::Ok)[0], "1 none");
    function(
        folder.path(),
        "isolation = \"reuse\"\n[env]\nA = \"of the file\"\n",
    );
    assert_eq!(run(&event, Exit::Ok)[0], "5 of the file");
    let flags = ["--isolation", "fresh", "--env", "A=of the flag"];
    assert_eq!(
        run(&[&event[..], &flags].concat(), Exit::Ok)[0],
        "1 of the flag"
    );
    let unset = [&event[..], &["--unset-env", "A"]].concat();
    assert_eq!(run(&unset, Exit::Ok)[0], "5 none");
    let report = |arguments: &[&str]| -> Value {
        let [out, _] = run(&[arguments, &["-o", "json"]].concat(), Exit::Ok);
        serde_json::from_str(&out).expect("JSON")
    };
    assert_eq!(report(&[])["stats"]["vmm"]["ram_bytes"], 16 << 20);
    function(
        folder.path(),
        "memory = \"32M\"\ntimeout = \"200ms\"\n[env]\nKIND = \"timeout\"\n",
    );
    let [_, said] = run(&[], Exit::Timeout);
    assert!(said.contains("not done within 200 ms"), "{said}");
    let well = ["--unset-env", "KIND"];
    assert_eq!(report(&well)["stats"]["vmm"]["ram_bytes"], 32 << 20);
    function(folder.path(), "memory = 16\n");
    let [_, said] = run(&[], Exit::Usage);
    assert!(
        said.contains("invalid memory 16: give a unit, such as 16M or 16MiB"),
        "{said}"
    );
}

/// What a redeploy does not name stays, and what it changes is told.
#[test]
fn a_redeploy_keeps_settings_and_tells_changes() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let url = agent.client.url();
    let function = image("init-ends");
    let deploy = |arguments: &[&str]| {
        let all = [&["--name", "keeps", "--agent", url][..], arguments].concat();
        let [out, _] = ends(&mut with("deploy", &function, &all), Exit::Ok);
        let lines = out
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.collect::<Vec<_>>()
    };
    let answer = |event: &str| {
        let mut invoke = jiffy();
        invoke.args(["invoke", "keeps", "--agent", url, "--event", event]);
        ends(&mut invoke, Exit::Ok)[0].clone()
    };
    let has = |lines: &[String], line: &str| {
        assert!(
            lines.iter().any(|found| found == line),
            "{line}: {lines:#?}"
        );
    };
    let first = deploy(&["--memory", "64M", "--env", "A=1"]);
    has(&first, &format!("events {url}/v1/functions/keeps/invoke"));
    has(&first, &format!("HTTP {url}/fn/keeps/"));
    assert!(
        !first.iter().any(|line| line.starts_with("changed")),
        "{first:#?}"
    );
    let second = deploy(&[]);
    has(&second, "memory 64.0 MiB");
    assert!(
        !second.iter().any(|line| line.starts_with("changed")),
        "{second:#?}"
    );
    assert_eq!(answer("A"), "1 1");
    let third = deploy(&["--memory", "32M", "--env", "B=2"]);
    has(&third, "changed memory 64.0 MiB -> 32.0 MiB");
    has(&third, "changed env B added");
    assert_eq!((answer("A"), answer("B")), ("1 1".into(), "1 2".into()));
    let fourth = deploy(&["--unset-env", "A"]);
    has(&fourth, "changed env A removed");
    assert_eq!((answer("A"), answer("B")), ("1 none".into(), "1 2".into()));
    let fifth = deploy(&["--reset"]);
    has(&fifth, "changed memory 32.0 MiB -> 16.0 MiB");
    has(&fifth, "changed env B removed");
    assert_eq!(answer("B"), "1 none");
    agent.stop();
}
