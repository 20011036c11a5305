//! Secrets, end to end: a function reads what it was granted and nothing else; the value is nowhere but in the VM, for as long as the
//! request lasts, or, if the host puts it into a request, nowhere but in its server; people set it, and nobody is told it again.

mod agent_common;
mod servers;

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use agent_common::{can_run, processes_of, retry};
use jiffy_tests::{
    agent::{Answer, Client, Setup, signal},
    jiffy, jiffy_path,
    processes::{CORE_LIMIT, Process},
    workspace_root,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use servers::nginx::Nginx;

/// Of a length that the guest can look for.
const CANARY: &str = "canary-5e3c9a0f!";
const OTHER: &str = "canary-0b7d11e2!";
/// Odd, so that multiplication loses nothing.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// In clear in the registry, as variables are: what looks for the canary would find this.
const VARIABLE: &str = "variable-81f2-in-clear";
/// What is written behind a response is there by then, beside other load.
const SOON: Duration = Duration::from_secs(20);

fn settings(isolation: &str) -> Value {
    json!({
        "isolation": isolation,
        "max_concurrency": 1,
        "environment": { "WHERE": VARIABLE },
        "grants": { "secrets": {
            "signing": {},
            "stripe": { "hosts": ["api.stripe.com"], "header": "authorization" },
        } },
    })
}

fn set(agent: &Client, name: &str, value: &str) -> Answer {
    agent.call("PUT", &format!("/v1/secrets/{name}"), value.as_bytes())
}

/// Looks for the canary in all of the VM without naming it: places, and how often it is there.
fn probe(agent: &Client, function: &str) -> String {
    let (words, _) = CANARY.as_bytes().as_chunks();
    let products = words
        .iter()
        .map(|word| u64::from_le_bytes(*word).wrapping_mul(FACTOR));
    let words = [FACTOR].into_iter().chain(products);
    let event: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    let event = [b"p".to_vec(), event].concat();
    agent.invoke(function, event).expect(200).text()
}

fn has(bytes: &[u8], text: &str) -> bool {
    let mut windows = bytes.windows(text.len());
    windows.any(|window| window == text.as_bytes())
}

/// Files below `folder` that have `text` in them.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(files_with(&path, text)),
            false => {
                // What is gone meanwhile has nothing.
                let bytes = fs::read(&path).unwrap_or_default();
                found.extend(has(&bytes, text).then(|| path.display().to_string()));
            }
        }
    }
    found
}

/// That no value is in what the agent says, writes or starts.
#[track_caller]
fn check_nowhere(setup: &Setup, agent: &Client, traces: &[u32]) {
    for canary in [CANARY, OTHER] {
        assert_eq!(files_with(&setup.data(), canary), [""; 0]);
        assert!(!has(setup.log().as_bytes(), canary), "the agent's log");
        for path in [
            "/metrics",
            "/v1/secrets",
            "/v1/usage",
            "/v1/instances",
            "/v1/functions/canary",
            "/v1/functions/canary/versions",
            "/v1/functions/canary/logs",
        ] {
            let answer = agent.get(path).expect(200);
            assert!(!has(&answer.body, canary), "{path}");
        }
        for process in traces {
            for file in ["environ", "cmdline"] {
                let path = format!("/proc/{process}/{file}");
                let bytes = fs::read(&path).unwrap_or_default();
                assert!(!has(&bytes, canary), "{path}");
            }
        }
    }
}

#[test]
fn a_secret_is_found_nowhere() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[("LOG", "trace")]);
    let agent = setup.start();
    set(&agent, "signing", CANARY).expect(201);
    set(&agent, "stripe", OTHER).expect(201);
    let image = agent.upload("canary");
    agent
        .deploy("canary", &image, settings("fresh"))
        .expect(201);
    for _ in 0..3 {
        let read = agent.invoke("canary", "ssigning").expect(200);
        assert_eq!(read.text(), CANARY.len().to_string());
    }
    assert!(retry(SOON, || setup.data().join("logs/canary").is_dir()));
    let traces = setup.traces();
    let mut processes = [traces.vms, traces.spawners].concat();
    let shells = processes_of(&agent.instances());
    assert!(!shells.is_empty() && shells.iter().all(|shell| processes.contains(shell)));
    processes.push(agent.process_id());
    check_nowhere(&setup, &agent, &processes);
    // The other way round, and with another master key.
    set(&agent, "signing", OTHER).expect(200);
    agent
        .call("POST", "/v1/secrets:rotate-key", b"")
        .expect(204);
    agent.invoke("canary", "ssigning").expect(200);
    check_nowhere(&setup, &agent, &processes);
    let log = setup.log();
    for line in [
        "a secret is set secret=signing",
        "the master key of secrets is another",
    ] {
        assert!(log.contains(line), "{line} is not in the log");
    }
    let found = files_with(&setup.data(), VARIABLE);
    assert!(!found.is_empty(), "the test looks at the wrong place");
    agent.stop();
    assert_eq!(files_with(&setup.data(), CANARY), [""; 0]);
}

#[test]
fn a_secret_is_gone_from_the_vm_with_its_request() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    set(&agent, "signing", CANARY).expect(201);
    let image = agent.upload("canary");
    for (isolation, stays) in [("fresh", false), ("reuse", true)] {
        agent
            .deploy(isolation, &image, settings(isolation))
            .expect(201);
        let before = probe(&agent, isolation);
        agent.invoke(isolation, "ssigning").expect(200);
        let after = probe(&agent, isolation);
        // Without a reset the probe finds it, so it would here.
        assert_eq!(before != after, stays, "{isolation}: {before}\n{after}");
        let place = |text: &str| text.lines().any(|line| line == "heap 0");
        assert!(place(&before) && place(&after) != stays, "{after}");
    }
    agent.stop();
}

#[test]
fn a_function_reads_what_it_was_granted_and_no_more() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    for name in ["stripe", "other"] {
        set(&agent, name, "value").expect(201);
    }
    let image = agent.upload("canary");
    agent
        .deploy("canary", &image, settings("fresh"))
        .expect(201);
    let refusal = |name: &str| {
        let answer = agent.invoke("canary", format!("s{name}")).expect(500);
        answer.json()["detail"].as_str().expect("a text").to_owned()
    };
    let why = refusal("stripe");
    assert!(
        why.contains("the host puts it into the header authorization"),
        "{why}"
    );
    let (other, nothing) = (refusal("other"), refusal("nothing"));
    assert_eq!(other.replace("other", "nothing"), nothing);
    let why = refusal("signing");
    assert!(why.contains("`jiffy secret set signing`"), "{why}");
    // As it says; no deploy is needed.
    set(&agent, "signing", "value").expect(201);
    assert_eq!(agent.invoke("canary", "ssigning").expect(200).text(), "5");
    agent.kill();
    let agent = setup.start();
    assert_eq!(agent.invoke("canary", "ssigning").expect(200).text(), "5");
    agent.call("DELETE", "/v1/secrets/signing", b"").expect(204);
    refusal_after(&agent);
    agent.stop();
}

/// With isolation `reuse`, so that the VM would keep what it once had.
#[test]
fn a_secret_in_a_request_is_in_its_server_alone() {
    if !can_run() {
        return;
    }
    let Some(nginx) = Nginx::start() else { return };
    let ca_file = nginx.ca_file();
    let setup = Setup::new(&[
        ("LOG", "trace"),
        ("EGRESS__PRIVATE", r#"["localhost"]"#),
        ("EGRESS__CA_FILE", &ca_file.to_string_lossy()),
    ]);
    let agent = setup.start();
    let image = agent.upload("canary");
    let origins = [nginx.https(), nginx.https_1(), nginx.http()];
    let stripe =
        json!({ "hosts": ["localhost"], "header": "authorization", "format": "Bearer {}" });
    let mut settings = settings("reuse");
    settings["grants"] =
        json!({ "network": { "allow": origins }, "secrets": { "stripe": stripe } });
    agent.deploy("canary", &image, settings).expect(201);
    let url = |origin: &str| format!("{origin}/seen");
    let ask = |origin: &str| agent.invoke("canary", format!("h{}", url(origin)));
    let refusal = |origin: &str| ask(origin).expect(500).text();
    let unset = refusal(&origins[0]);
    assert!(unset.contains("`jiffy secret set stripe`"), "{unset}");
    set(&agent, "stripe", &format!("{CANARY}\r\n")).expect(201);
    let unfit = refusal(&origins[1]);
    assert!(unfit.contains("printable ASCII"), "{unfit}");
    set(&agent, "stripe", CANARY).expect(200);
    // Not in clear, also if it is granted.
    let clear = refusal(&origins[2]);
    assert!(clear.contains("is not for"), "{clear}");
    let before = probe(&agent, "canary");
    for origin in &origins[..2] {
        for _ in 0..3 {
            assert_eq!(ask(origin).expect(200).text(), "200");
        }
    }
    let after = probe(&agent, "canary");
    assert_eq!(before, after, "it was in the VM");
    let expected = ["2.0", "1.1"].map(|version| format!("HTTP/{version} Bearer {CANARY}"));
    let [http2, http1] = expected.map(|line| vec![line; 3]);
    assert_eq!(nginx.seen(6), [http2, http1].concat());
    let mut processes = processes_of(&agent.instances());
    processes.push(agent.process_id());
    check_nowhere(&setup, &agent, &processes);
    let log = setup.log();
    assert!(log.contains("a secret is set secret=stripe"), "{log}");
    // What is set anew is in the next request.
    set(&agent, "stripe", OTHER).expect(200);
    ask(&origins[0]).expect(200);
    assert_eq!(nginx.seen(7)[6], format!("HTTP/2.0 Bearer {OTHER}"));
    agent.stop();
    check_stopped(&setup);
}

/// Of agent and VMs, whoever starts them lets core files be written, also if the host asks no limit, as it does if a program takes them.
#[test]
fn a_secret_is_in_no_core_file() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    // What is found of one that may write it; a host may give it to a program.
    let mut dies = Command::new("sh");
    dies.args(["-c", "ulimit -c unlimited; kill -SEGV $$"]);
    let dies = dies.env("VALUE", CANARY).current_dir(folder.path());
    assert_eq!(dies.status().expect("sh").signal(), Some(libc::SIGSEGV));
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("a pattern");
    if !pattern.starts_with(['|', '/']) {
        let found = files_with(folder.path(), CANARY);
        assert_eq!(found.len(), 1, "the test looks at the wrong place");
        fs::remove_file(&found[0]).expect("a file");
    }
    let check = || {
        let entries = fs::read_dir(folder.path()).expect("a folder");
        let entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        assert!(entries.is_empty(), "{entries:?}");
    };
    for fatal in [Signal::ABORT, Signal::SEGV] {
        let setup = Setup::new(&[]);
        let agent = setup.start_with_core_files(folder.path());
        set(&agent, "signing", CANARY).expect(201);
        let image = agent.upload("canary");
        agent
            .deploy("canary", &image, settings("reuse"))
            .expect(201);
        agent.invoke("canary", "ssigning").expect(200);
        let vm = Process(processes_of(&agent.instances())[0]);
        assert!(vm.has_in_memory(CANARY), "the test looks at the wrong VM");
        let traces = setup.traces();
        let spare = traces.vms.iter().filter(|it| **it != vm.0);
        let spare: Vec<_> = spare.copied().map(Process).collect();
        assert!(!spare.is_empty(), "no shell waits for work");
        let own = Process(agent.process_id());
        let spawners: Vec<_> = traces.spawners.iter().copied().map(Process).collect();
        for process in [&vm, &own].into_iter().chain(&spare).chain(&spawners) {
            assert_eq!(process.core_limit(), CORE_LIMIT, "{process:?}");
        }
        let shells = || [&vm].into_iter().chain(&spare);
        shells().for_each(Process::check_unreadable_by_its_user);
        if !shells().chain([&own]).all(Process::lift_core_limit) {
            println!("limits stay: what holds without them is not tried");
        }
        // They meet a fault of their own when they go on: a signal from outside is nothing to the first process of a namespace.
        shells().for_each(Process::break_code);
        assert!(retry(SOON, || {
            agent.call("POST", "/v1/functions/canary/invoke", b"ssigning");
            !vm.lives() && spare.iter().any(|it| !it.lives())
        }));
        check();
        // The first SIGSEGV finds the handler of the standard library, which makes way for the second.
        let dies = |process: &Process| {
            let ends = || signal(process.0, fatal).is_err() || !process.lives();
            assert!(retry(SOON, ends), "{process:?}");
        };
        spawners.iter().for_each(dies);
        assert!(retry(SOON, || {
            let answer = agent.call("POST", "/v1/functions/canary/invoke", b"ssigning");
            answer.status == 200
        }));
        dies(&own);
        let status = agent.wait();
        assert!(
            !status.core_dumped() && status.signal().is_some(),
            "{status}"
        );
        check();
        check_stopped(&setup);
    }
}

fn check_stopped(setup: &Setup) {
    for canary in [CANARY, OTHER] {
        assert_eq!(files_with(&setup.data(), canary), [""; 0]);
        assert!(!has(setup.log().as_bytes(), canary), "the agent's log");
    }
}

fn refusal_after(agent: &Client) {
    let answer = agent.invoke("canary", "ssigning").expect(500);
    assert!(
        answer.text().contains("granted and not set"),
        "{}",
        answer.text()
    );
}

/// An agent whose master key is not the right one says so, and does not start as if there were no secrets.
#[test]
fn an_agent_with_another_master_key_does_not_start() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    set(&agent, "signing", "value").expect(201);
    agent.stop();
    let key = setup.data().join("master-key");
    let right = fs::read(&key).expect("a key");
    fs::write(&key, "00".repeat(32)).expect("written");
    let status = setup.command().status().expect("jiffyd");
    let log = setup.log();
    assert!(
        !status.success() && log.contains("put back the one"),
        "{log}"
    );
    fs::write(&key, right).expect("written");
    setup.start().stop();
}

/// `jiffy run` gives a function the secrets of its command line, as far as the crate's `jiffy.toml` grants them.
#[test]
fn a_run_has_the_secrets_of_its_command_line() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("value");
    fs::write(&file, "12345\n").expect("written");
    let run = |name: &str| {
        let mut run = jiffy();
        run.arg("run")
            .arg(workspace_root().join("tests/guests/canary"))
            .args(["--event", &format!("s{name}"), "-o", "json"])
            .arg("--secret")
            .arg(format!("{name}={}", file.display()));
        let output = run.output().expect("jiffy");
        let document = serde_json::from_slice::<Value>(&output.stdout);
        document.unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    assert_eq!(run("signing")["response"]["body"], "5");
    for name in ["stripe", "other"] {
        let refused = run(name);
        assert_eq!(refused["outcome"], "function_error", "{refused}");
    }
}

/// What the command line sets, lists and removes.
#[test]
fn the_command_line_sets_lists_and_removes() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let secret = |arguments: &[&str], input: &str| {
        let mut command = jiffy();
        let child = command
            .arg("secret")
            .args(arguments)
            .args(["--agent", agent.url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("jiffy");
        let mut stdin = child.stdin.take().expect("piped");
        // It may end without reading.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).expect("text");
        assert!(!said.contains(CANARY), "{said}");
        (output.status.code().expect("an exit code"), said)
    };
    let (code, said) = secret(&["set", "signing"], &format!("{CANARY}\n"));
    assert!(code == 0 && said.contains("version 1"), "{said}");
    assert!(
        said.contains("the newline at its end is left out"),
        "{said}"
    );
    let (code, said) = secret(&["set", "signing"], CANARY);
    assert!(code == 0 && !said.contains("newline"), "{said}");
    let image = agent.upload("canary");
    agent
        .deploy("canary", &image, settings("fresh"))
        .expect(201);
    let bytes = || agent.invoke("canary", "ssigning").expect(200).text();
    assert_eq!(bytes(), CANARY.len().to_string());
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), "12\n3\n\n").expect("written");
    let path = file.path().to_str().expect("text");
    assert_eq!(secret(&["set", "signing", "--file", path], "").0, 0);
    assert_eq!(bytes(), "5");
    for (arguments, input, why) in [
        (&["set", "signing"][..], "", "invalid secret of no bytes"),
        (&["set", "a b"], "v", "invalid name"),
        (&["rm", "signing"], "", "--yes"),
        (
            &["rm", "nothing", "--yes"],
            "",
            "no secret nothing: must be one that was set",
        ),
    ] {
        let (code, said) = secret(arguments, input);
        assert!(code == 2 && said.contains(why), "{arguments:?}: {said}");
    }
    assert_eq!(secret(&["rotate-key"], "").0, 0);
    let (_, list) = secret(&["ls"], "");
    assert!(list.contains("signing") && list.contains('3'), "{list}");
    assert_eq!(secret(&["rm", "signing", "--yes"], "").0, 0);
    let (_, list) = secret(&["ls", "-o", "json"], "");
    assert_eq!(
        serde_json::from_str::<Value>(&list).expect("JSON"),
        json!({ "secrets": [] })
    );
    agent.stop();
}

/// What is typed is not shown, and Ctrl-C sets nothing.
#[test]
fn a_terminal_does_not_show_what_is_typed() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    for (typed, code) in [(format!("{CANARY}\n"), 0), (format!("{CANARY}\u{3}"), 2)] {
        let line = format!(
            "{} secret set signing --agent {}",
            jiffy_path().display(),
            agent.url()
        );
        let script = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut script = script.expect("script, of Debian's bsdutils");
        let mut terminal = script.stdout.take().expect("piped");
        let mut shown = vec![];
        while !has(&shown, "which is not shown: ") {
            let mut byte = [0];
            terminal.read_exact(&mut byte).expect("a prompt");
            shown.extend(byte);
        }
        let mut keyboard = script.stdin.take().expect("piped");
        keyboard.write_all(typed.as_bytes()).expect("typed");
        terminal.read_to_end(&mut shown).expect("it ends");
        let status = script.wait().expect("it ends");
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert_eq!(status.code(), Some(code), "{shown}");
        assert!(!shown.contains(&CANARY[..8]), "{shown}");
        assert_eq!(shown.contains("version 1"), code == 0, "{shown}");
    }
    let list = agent.get("/v1/secrets").expect(200).json();
    assert_eq!(list["secrets"][0]["version"], 1, "{list}");
    agent.stop();
}

/// A deploy says which variables look like secrets, and the way out.
#[test]
fn a_deploy_warns_of_variables_that_look_like_secrets() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let mut deploy = jiffy();
    let deploy = deploy
        .arg("deploy")
        .arg(jiffy_tests::image("hello"))
        .args(["--agent", agent.url()])
        .args(["--env", "STRIPE_API_KEY=1", "--env", "GREETING=Hi"])
        .args(["--env", "PUBLIC_KEY=1", "--unset-env", "TOKEN"]);
    let output = deploy.output().expect("jiffy");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("looks like a secret").count(), 1, "{said}");
    assert!(said.contains("`jiffy secret set stripe_api_key`"), "{said}");
    agent.stop();
}
