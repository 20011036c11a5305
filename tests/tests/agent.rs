//! The agent as its users have it: a process, HTTP, and jailed VMs.

mod agent_common;

use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    thread,
    time::{Duration, Instant},
};

use agent_common::{can_run, processes_of, retry};
use jiffy_tests::agent::{Setup, mounts, signal, tree, within};
use rustix::process::Signal;
use serde_json::{Value, json};

/// What is left of a killed agent is gone by then.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// What happens in the background has happened by then, beside other load.
const SOON: Duration = Duration::from_secs(20);
/// Rounds, in millions, that take a VM some hundred milliseconds at least.
const LONG_WORK: &str = "work 300";

/// `teller` in every version of a function says which it is.
fn marked(mark: &str) -> Value {
    json!({ "environment": { "MARK": mark } })
}

#[test]
fn a_function_is_deployed_invoked_rolled_back_aliased_and_deleted() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let image = agent.upload("teller");
    let first = agent.deploy("f", &image, marked("one")).expect(201).json();
    assert_eq!(
        (&first["version"], &first["image"]),
        (&json!(1), &json!(image))
    );
    let ask = |qualifier: &str| {
        let path = match qualifier {
            "" => "/v1/functions/f/invoke".to_owned(),
            qualifier => format!("/v1/functions/f/invoke?qualifier={qualifier}"),
        };
        let answer = agent.call("POST", &path, b"env MARK").expect(200);
        (
            answer.text(),
            answer.header("jiffy-version").expect("there").to_owned(),
        )
    };
    let is = |qualifier: &str, mark: &str, version: &str| {
        assert_eq!(ask(qualifier), (mark.into(), version.into()), "{qualifier}");
    };
    is("", "one", "1");
    agent.deploy("f", &image, marked("two")).expect(200);
    is("", "two", "2");
    is("1", "one", "1");
    let alias = "/v1/functions/f/aliases/stable";
    let change = |method: &str, path: &str, body: Value| {
        let answer = agent.send_json(method, path, &body).expect("an answer");
        answer.expect(200).json()
    };
    change("PUT", alias, json!({"version":1}));
    is("stable", "one", "1");
    let split = json!({"version":1,"other":{"version":2,"per_mille":500}});
    change("PUT", alias, split);
    let asked: Vec<_> = (0..40).map(|_| ask("stable").1).collect();
    assert!(
        asked.contains(&"1".into()) && asked.contains(&"2".into()),
        "{asked:?}"
    );
    let rolled = change("POST", "/v1/functions/f/rollback", json!({}));
    assert_eq!(rolled["live"], json!(1));
    is("", "one", "1");
    assert_eq!(
        agent
            .call("DELETE", "/v1/functions/f/versions/1", b"")
            .problem(),
        "conflict"
    );
    agent.call("DELETE", alias, b"").expect(204);
    agent
        .call("DELETE", "/v1/functions/f/versions/2", b"")
        .expect(204);
    let gone = agent.call("POST", "/v1/functions/f/invoke?qualifier=2", b"count");
    assert_eq!(gone.expect(404).problem(), "not-found");
    agent.call("DELETE", "/v1/functions/f", b"").expect(204);
    assert_eq!(
        agent.invoke("f", "count").expect(404).problem(),
        "not-found"
    );
    let left = within(SOON, || agent.instances().is_empty().then_some(()));
    assert!(left.is_some(), "{:?}", agent.instances());
}

#[test]
fn every_outcome_is_told_from_the_others() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let settings = json!({ "timeout_ms": 2000, "memory_bytes": 32 << 20 });
    agent
        .deploy("faults", &agent.upload("faults"), settings)
        .expect(201);
    let cases = [
        ("error", 500, "function-error"),
        ("panic", 500, "panic"),
        ("null-read", 500, "fault"),
        ("stack-overflow", 500, "fault"),
        ("bad-port", 500, "fault"),
        ("exit", 500, "fault"),
        ("spin", 504, "timeout"),
        ("oom", 500, "out-of-memory"),
        ("no such kind", 400, "bad-event"),
    ];
    for (kind, status, problem) in cases {
        let answer = agent.invoke("faults", json!({ "kind": kind }).to_string());
        assert_eq!(
            (answer.status, &*answer.problem()),
            (status, problem),
            "{kind}: {}",
            answer.text()
        );
        let body = answer.json();
        assert_eq!(
            body["request_id"].as_str(),
            answer.header("jiffy-request-id"),
            "{kind}"
        );
        if kind == "panic" {
            assert!(
                answer.text().contains("a panic was asked for"),
                "{}",
                answer.text()
            );
        }
        // The next request finds nothing of it.
        agent.invoke("faults", r#"{"kind":"random"}"#).expect(200);
    }
    assert_eq!(
        agent.invoke("nobody", "").expect(404).problem(),
        "not-found"
    );
    let large = vec![0; (6 << 20) + 1];
    assert_eq!(
        agent.invoke("faults", large).expect(413).problem(),
        "too-large"
    );
    let outcomes = within(SOON, || {
        let usage = agent.get("/v1/usage?function=faults").expect(200).json();
        let outcomes = usage["usage"][0]["outcomes"].clone();
        (outcomes["ok"] == json!(cases.len())).then_some(outcomes)
    });
    let outcomes = outcomes.expect("a sum of all");
    assert_eq!(
        (&outcomes["fault"], &outcomes["timeout"]),
        (&json!(4), &json!(1)),
        "{outcomes}"
    );
}

/// A VM that dies in the middle of a request costs that request, and nobody else anything.
#[test]
fn a_killed_vm_fails_its_own_request_only() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let settings = json!({ "timeout_ms": 20_000 });
    agent
        .deploy("f", &agent.upload("teller"), settings)
        .expect(201);
    let client = agent.client.clone();
    let running = thread::spawn(move || client.invoke("f", "work 100000"));
    let busy = within(SOON, || {
        let instances = agent.instances();
        let busy = instances.iter().find(|vm| vm["state"] == "busy")?;
        busy["process_id"].as_u64().filter(|process| *process > 0)
    });
    let process = u32::try_from(busy.expect("a busy VM")).expect("a process");
    assert!(setup.traces().vms.contains(&process));
    assert_eq!(agent.invoke("f", "count").expect(200).text(), "1");
    signal(process, Signal::KILL).expect("it lives");
    let answer = running.join().expect("no panic");
    assert_eq!(
        (answer.status, &*answer.problem()),
        (503, "platform"),
        "{}",
        answer.text()
    );
    assert_eq!(agent.invoke("f", "count").expect(200).text(), "1");
}

/// Nor one that dies while nobody uses it.
#[test]
fn a_vm_that_dies_while_it_is_idle_costs_nobody_a_request() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    agent
        .deploy("f", &agent.upload("teller"), json!({}))
        .expect(201);
    for _ in 0..10 {
        agent.invoke("f", "count").expect(200);
        let idle = within(SOON, || {
            let instances = agent.instances();
            let is_idle = instances.iter().all(|vm| vm["state"] == "idle");
            is_idle.then(|| processes_of(&instances))
        });
        for process in idle.expect("it settles") {
            signal(process, Signal::KILL).expect("it lives");
            assert!(retry(SOON, || !setup.traces().vms.contains(&process)));
        }
    }
    agent.invoke("f", "count").expect(200);
    let usage = agent.get("/v1/usage?function=f").expect(200).json();
    assert_eq!(
        usage["usage"][0]["outcomes"]["platform"],
        Value::Null,
        "{usage}"
    );
}

/// With the spawner all VMs and shells die. The agent starts another, and nobody notices.
#[test]
fn a_killed_spawner_is_replaced() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[("POOL__SHELLS_MIN", "4")]);
    let agent = setup.start();
    agent
        .deploy("f", &agent.upload("teller"), json!({}))
        .expect(201);
    agent.invoke("f", "count").expect(200);
    // One that is just forked looks like its spawner.
    let alone = || {
        let traces = setup.traces();
        (traces.spawners.len() == 1).then_some(traces)
    };
    let before = within(SOON, alone).expect("one spawner");
    let spawner = before.spawners[0];
    signal(spawner, Signal::KILL).expect("it lives");
    let dead = retry(SOON, || {
        let alive = setup.traces();
        !alive.spawners.contains(&spawner) && !before.vms.iter().any(|vm| alive.vms.contains(vm))
    });
    assert!(dead, "{:?}", setup.traces());
    (0..20).for_each(|_| drop(agent.invoke("f", "count").expect(200)));
    let after =
        within(SOON, alone).unwrap_or_else(|| panic!("{:?}: {}", setup.traces(), setup.log()));
    assert_ne!(after.spawners, before.spawners);
}

#[test]
fn a_failed_deploy_leaves_the_old_version_and_says_why() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let good = agent.upload("teller");
    agent.deploy("f", &good, marked("good")).expect(201);
    let refused = agent
        .deploy("f", &agent.upload("init-panic"), json!({}))
        .expect(422);
    assert_eq!(refused.problem(), "image-refused");
    assert!(
        refused.text().contains("no init today"),
        "{}",
        refused.text()
    );
    assert!(refused.json()["logs"].is_array(), "{}", refused.text());
    let failed = agent
        .deploy("f", &agent.upload("init-error"), json!({}))
        .expect(422);
    assert_eq!(failed.problem(), "image-refused");
    // An image that is one in name only.
    let mut damaged = fs::read(jiffy_tests::image("teller")).expect("an image");
    damaged.truncate(8 << 10);
    let answer = agent.call("POST", "/v1/images", &damaged);
    match answer.status {
        201 => {
            let digest = answer.json()["digest"]
                .as_str()
                .expect("a digest")
                .to_owned();
            let refused = agent.deploy("f", &digest, json!({})).expect(422);
            assert_eq!(refused.problem(), "image-refused");
        }
        status => assert_eq!((status, &*answer.problem()), (422, "image-refused")),
    }
    let nothing = agent.deploy("f", &"0".repeat(64), json!({}));
    assert_eq!(nothing.expect(404).problem(), "not-found");
    let answer = agent.invoke("f", "env MARK").expect(200);
    assert_eq!(
        (&*answer.text(), answer.header("jiffy-version")),
        ("good", Some("1"))
    );
    assert_eq!(
        agent.get("/v1/functions/f").expect(200).json()["live"],
        json!(1)
    );
    // What the failed ones left is nobody's: a deploy after them leaves one snapshot more, and no half one.
    agent.deploy("f", &good, marked("better")).expect(200);
    assert_eq!(agent.invoke("f", "env MARK").expect(200).text(), "better");
}

#[test]
fn what_is_said_of_a_function_and_of_a_request_reaches_it() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let image = agent.upload("teller");
    let environment = json!({ "GREETING": "größer = \"besser\"", "EMPTY": "" });
    // One VM, also on a host where a request comes before the last one's VM is reset.
    let settings = json!({ "environment": environment, "max_concurrency": 1 });
    agent.deploy("fresh", &image, settings).expect(201);
    let tell = |function: &str, event: &str| agent.invoke(function, event).expect(200).text();
    assert_eq!(tell("fresh", "env GREETING"), "größer = \"besser\"");
    assert_eq!(tell("fresh", "env EMPTY"), "");
    assert_eq!(tell("fresh", "env PATH"), "(none)");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let path = "/v1/functions/fresh/invoke";
    let sent = agent.send("POST", path, &[("traceparent", trace)], b"trace");
    assert_eq!(sent.expect("an answer").text(), trace);
    assert_eq!(tell("fresh", "trace").len(), trace.len());
    let answer = agent.invoke("fresh", "request").expect(200);
    let id = answer.header("jiffy-request-id").expect("there");
    assert_eq!(answer.text(), format!("{id} fresh 1"));
    // Isolation is what the author chose.
    agent
        .deploy(
            "reuse",
            &image,
            json!({ "isolation": "reuse", "max_concurrency": 1 }),
        )
        .expect(201);
    let counts = |function: &str| -> Vec<_> { (0..3).map(|_| tell(function, "count")).collect() };
    assert_eq!(counts("fresh"), ["1", "1", "1"]);
    assert_eq!(counts("reuse"), ["1", "2", "3"]);
    let starts = |function: &str| {
        let answer = agent.invoke(function, "count").expect(200);
        assert!(
            answer
                .header("server-timing")
                .expect("there")
                .starts_with("queue;dur=")
        );
        answer.header("jiffy-start").expect("there").to_owned()
    };
    assert_eq!((&*starts("fresh"), &*starts("reuse")), ("fresh", "warm"));
    let instances = agent.instances();
    let of = |name: &str| instances.iter().filter(|vm| vm["function"] == name).count();
    assert_eq!((of("fresh"), of("reuse")), (1, 1), "{instances:?}");
    let known = processes_of(&instances);
    let vms = setup.traces().vms;
    assert!(
        known.iter().all(|process| vms.contains(process)),
        "{known:?} {vms:?}"
    );
}

#[test]
fn http_is_routed_to_functions() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    agent
        .deploy("hook", &agent.upload("webhook"), json!({}))
        .expect(201);
    agent
        .deploy("http", &agent.upload("http"), json!({}))
        .expect(201);
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let send = |body: &str| {
        let headers = [
            ("x-hub-signature-256", signature),
            ("x-github-event", "ping"),
        ];
        let sent = agent.send("POST", "/fn/hook/hooks", &headers, body.as_bytes());
        sent.expect("an answer")
    };
    let accepted = send("Hello, World!").expect(202);
    assert_eq!(
        (accepted.header("x-event"), &*accepted.text()),
        (Some("ping"), "accepted\n")
    );
    send("Hello, world!").expect(401);
    agent.get("/fn/hook/hooks").expect(405);
    let headers = [("x-mine", "1"), ("te", "trailers")];
    let path = "/fn/http/a/b%20c?d=e%2Ff&g";
    let answer = agent
        .send("PUT", path, &headers, b"body")
        .expect("an answer")
        .expect(201);
    assert_eq!(answer.header("x-target"), Some("/a/b%20c?d=e%2Ff&g"));
    assert_eq!(answer.header("x-method"), Some("PUT"));
    assert_eq!(
        (answer.header("x-mine"), answer.header("te")),
        (Some("1"), None)
    );
    assert_eq!(answer.text(), "body");
    assert_eq!(
        agent.get("/fn/http").expect(201).header("x-target"),
        Some("/")
    );
    assert_eq!(agent.get("/fn/nobody/x").expect(404).problem(), "not-found");
}

#[test]
fn logs_and_usage_are_kept_and_followed() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    agent
        .deploy("f", &agent.upload("teller"), json!({}))
        .expect(201);
    agent.invoke("f", "log before").expect(200);
    let mut lines = agent.follow("/v1/functions/f/logs?follow=true");
    let answer = agent.invoke("f", "log after").expect(200);
    let id = answer.header("jiffy-request-id").expect("there");
    let mut followed = vec![];
    while !followed.iter().any(|line: &Value| line["text"] == "after") {
        followed.push(lines.next().expect("the log goes on"));
    }
    assert!(
        followed.iter().any(|line| line["text"] == "before"),
        "{followed:?}"
    );
    let mine = within(SOON, || {
        let log = agent
            .get(&format!("/v1/functions/f/logs?request_id={id}"))
            .expect(200)
            .text();
        let lines: Vec<Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        (lines.len() >= 2).then_some(lines)
    });
    let mine = mine.expect("the log of a request");
    assert_eq!(mine[0]["text"], "after");
    let report = mine[1]["text"].as_str().expect("a text");
    assert!(
        report.starts_with("REPORT") && report.contains(id),
        "{report}"
    );
    let metrics = agent.get("/metrics").expect(200).text();
    assert!(
        metrics.contains("# HELP jiffy_requests_total ") && metrics.contains("\"f\""),
        "{metrics}"
    );
    // Followers end with the agent, which does not wait for them.
    assert!(agent.stop().success(), "{}", setup.log());
    assert!(lines.all(|line| line["text"] != "never"));
    let agent = setup.start();
    let log = agent.get("/v1/functions/f/logs").expect(200).text();
    assert!(
        log.contains("\"before\"") && log.contains("\"after\""),
        "{log}"
    );
    let usage = agent.get("/v1/usage?function=f").expect(200).json();
    let sums = &usage["usage"][0];
    assert_eq!(
        (&sums["requests"], &sums["outcomes"]["ok"]),
        (&json!(2), &json!(2)),
        "{usage}"
    );
    assert!(
        sums["run_us"].as_u64() > Some(0) && sums["exits"].as_u64() > Some(0),
        "{usage}"
    );
}

#[test]
fn a_restart_keeps_everything_and_another_vmm_rebuilds_snapshots() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let image = agent.upload("teller");
    agent.deploy("f", &image, marked("one")).expect(201);
    agent.deploy("f", &image, marked("two")).expect(200);
    let change = |method: &str, path: &str, body: Value| {
        let answer = agent.send_json(method, path, &body).expect("an answer");
        answer.expect(200)
    };
    change("PUT", "/v1/functions/f/aliases/old", json!({"version":1}));
    change("PUT", "/v1/functions/f/concurrency", json!({"reserved":3}));
    let kept = ["/v1/functions/f", "/v1/functions/f/versions"];
    let before = kept.map(|path| agent.get(path).expect(200).json());
    assert!(agent.stop().success(), "{}", setup.log());
    let agent = setup.start();
    assert_eq!(kept.map(|path| agent.get(path).expect(200).json()), before);
    assert_eq!(agent.invoke("f", "env MARK").expect(200).text(), "two");
    let old = "/v1/functions/f/invoke?qualifier=old";
    assert_eq!(
        agent.call("POST", old, b"env MARK").expect(200).text(),
        "one"
    );
    assert!(!setup.log().contains("again"), "{}", setup.log());
    agent.stop();
    // What is behind the end of an ELF file changes only its digest.
    let vmm = fs::OpenOptions::new().append(true).open(setup.vmm());
    vmm.expect("a file").write_all(b"another").expect("room");
    let agent = setup.start();
    assert_eq!(agent.invoke("f", "env MARK").expect(200).text(), "two");
    let rebuilt = within(SOON, || {
        let health = agent.get("/v1/health").expect(200).json();
        (health["rebuilding"] == 0).then_some(())
    });
    assert!(
        rebuilt.is_some() && setup.log().contains("built a snapshot again"),
        "{}",
        setup.log()
    );
    assert_eq!(
        agent.call("POST", old, b"env MARK").expect(200).text(),
        "one"
    );
}

#[test]
fn beyond_loopback_a_token_is_needed() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new(&[]);
    let mut command = setup.command();
    let status = command
        .env("JIFFYD_LISTEN", "0.0.0.0:0")
        .status()
        .expect("jiffyd");
    assert!(
        !status.success() && setup.log().contains("token"),
        "{}",
        setup.log()
    );
    let token = "0123456789abcdef0123456789abcdef";
    let file = setup.vmm().with_file_name("token");
    fs::write(&file, token).expect("a file");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("a mode");
    setup
        .settings
        .push(("TOKEN_FILE", file.display().to_string()));
    let agent = setup.start();
    assert_eq!(
        agent.get("/v1/functions").expect(401).problem(),
        "unauthorized"
    );
    agent.get("/v1/health").expect(200);
    let bearer = format!("Bearer {token}");
    let sent = agent.send("GET", "/v1/functions", &[("authorization", &bearer)], b"");
    sent.expect("an answer").expect(200);
    let other = bearer.replace('0', "1");
    let sent = agent.send("GET", "/v1/functions", &[("authorization", &other)], b"");
    sent.expect("an answer").expect(401);
}

#[test]
fn a_graceful_stop_lets_a_request_end_and_leaves_nothing() {
    if !can_run() {
        return;
    }
    let mounts_before = mounts();
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let settings = json!({ "timeout_ms": 60_000 });
    agent
        .deploy("f", &agent.upload("teller"), settings)
        .expect(201);
    let traces = setup.traces();
    let client = agent.client.clone();
    let running = thread::spawn(move || client.invoke("f", LONG_WORK));
    let busy = retry(SOON, || {
        agent.instances().iter().any(|vm| vm["state"] == "busy")
    });
    assert!(busy, "{:?}", agent.instances());
    agent.terminate();
    let answer = running.join().expect("no panic").expect(200);
    assert!(answer.text().starts_with("300 "), "{}", answer.text());
    assert!(agent.wait().success(), "{}", setup.log());
    let gone = retry(GONE_WITHIN, || {
        setup.traces().is_empty() && traces.groups().is_empty()
    });
    assert!(gone, "{:?} {:?}", setup.traces(), traces.groups());
    assert!(mounts().is_subset(&mounts_before));
}

#[test]
fn killing_the_agent_leaves_no_process_and_loses_no_deploy() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let mut image = String::new();
    let (mut acknowledged, mut slowest) = (0, Duration::ZERO);
    for round in 0..3_u64 {
        let agent = setup.start();
        if round == 0 {
            image = agent.upload("teller");
        } else {
            let live = agent.get("/v1/functions/f").expect(200).json()["live"].as_u64();
            assert!(
                live >= Some(acknowledged),
                "{live:?} after {acknowledged} was acknowledged"
            );
            assert_eq!(
                agent.invoke("f", "env MARK").expect(200).text(),
                (round - 1).to_string()
            );
        }
        let answer = agent.deploy("f", &image, marked(&round.to_string()));
        acknowledged = answer.json()["version"].as_u64().expect("a version");
        let client = agent.client.clone();
        let running = thread::spawn(move || {
            client.send("POST", "/v1/functions/f/invoke", &[], LONG_WORK.as_bytes())
        });
        assert!(retry(SOON, || agent
            .instances()
            .iter()
            .any(|vm| vm["state"] == "busy")));
        let traces = setup.traces();
        assert!(
            !traces.groups().is_empty() || setup.log().contains("missing"),
            "{traces:?}"
        );
        agent.kill();
        let began = Instant::now();
        let gone = retry(GONE_WITHIN, || {
            setup.traces().is_empty() && traces.groups().is_empty()
        });
        slowest = slowest.max(began.elapsed());
        assert!(gone, "{:?} {:?}", setup.traces(), traces.groups());
        assert!(running.join().expect("no panic").is_err());
    }
    println!("gone after {slowest:?} at most");
    let agent = setup.start();
    // Three snapshots, and nothing half-written beside them.
    let tidy = retry(SOON, || {
        let half = |directory: &str| tree(&setup.data().join(directory).join("tmp"));
        half("snapshots").is_empty() && half("images").is_empty()
    });
    assert!(tidy, "{}", tree(&setup.data()));
    assert_eq!(agent.invoke("f", "env MARK").expect(200).text(), "2");
}
