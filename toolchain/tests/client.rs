//! The client verbs against an agent on loopback: what each one asks, prints and exits with.

mod support;

use std::{fs, path::Path};

use jiffy_abi::{layout::IMAGE, note::Note};
use serde_json::{Value, json};
use support::{Agent, Asked, Reply, ask, jiffy, jiffy_with, lines};

/// The only request there was.
fn only(asked: &[Asked]) -> &Asked {
    assert_eq!(asked.len(), 1);
    &asked[0]
}

fn function(name: &str) -> Value {
    json!({
        "name": name, "live": 2, "reserved_concurrency": null, "created_ms": 0, "updated_ms": 1000,
        "aliases": { "prod": { "version": 1, "other": { "version": 2, "per_mille": 250 }, "description": "for all" } },
    })
}

fn version(number: u64) -> Value {
    json!({
        "function": "hello", "version": number, "image": "ab".repeat(32), "image_bytes": 2048, "snapshot": "cd".repeat(32),
        "created_ms": 0, "memory_bytes": 16 << 20, "timeout_ms": 3000, "isolation": "fresh", "max_concurrency": 10,
        "min_ready": 0, "environment": { "KEY": "secret" }, "description": "greets\nyou",
        "grants": { "network": { "allow": ["https://api.example.com"], "methods": ["GET"] }, "kv": { "cart": {} } },
    })
}

/// An image that is well-formed and does nothing.
fn image() -> Vec<u8> {
    let note = Note::new(0, "0.1.0", "hello", "1.2.3").to_bytes();
    let note_len = note.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    let (kind, machine) = (2_u16, 62_u16);
    file.extend(kind.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for number in [IMAGE, 64, 0] {
        file.extend(number.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for number in [64_u16, 56, 2, 64, 0, 0] {
        file.extend(number.to_le_bytes());
    }
    let note_at = 64 + 2 * 56;
    for (kind, flags, numbers) in [
        (4_u32, 4_u32, [note_at, 0, 0, note_len, note_len, 4]),
        (1, 5, [note_at + note_len, IMAGE, IMAGE, 16, 16, 1]),
    ] {
        file.extend(kind.to_le_bytes());
        file.extend(flags.to_le_bytes());
        numbers
            .iter()
            .for_each(|number| file.extend(number.to_le_bytes()));
    }
    file.extend(note);
    file.extend([0x90; 16]);
    file
}

#[test]
fn deploy_uploads_and_makes_a_version() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("hello.elf");
    fs::write(&path, image()).expect("written");
    let path = path.to_str().expect("UTF-8");
    let uploaded = json!({ "digest": "ab".repeat(32), "bytes": 1 });
    let mut deployed = version(3);
    deployed["logs"] = json!([{ "level": "info", "text": "in init" }]);
    deployed["changes"] = json!({
        "memory_bytes": { "from": 64 << 20, "to": 16 << 20 }, "timeout_ms": { "from": 500, "to": 3000 },
        "description": { "from": "", "to": "greets\nyou" },
        "environment": { "added": ["KEY"], "changed": [], "removed": ["OLD"] },
    });
    let replies = || vec![Reply::json(&uploaded), Reply::json(&deployed)];

    let (asked, ended) = ask(replies(), &["deploy", path]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(asked[0].line, "POST /v1/images");
    assert_eq!(asked[0].body, image());
    assert_eq!(asked[1].line, "PUT /v1/functions/hello");
    assert_eq!(asked[1].header("content-type"), Some("application/json"));
    assert_eq!(asked[1].json(), json!({ "image": "ab".repeat(32) }));
    let out = lines(&ended.stdout);
    assert_eq!(out[0], "hello: version 3 is live");
    for expected in [
        "changed memory 64.0 MiB -> 16.0 MiB",
        "changed timeout 500ms -> 3s",
        "changed description none -> greets you",
        "changed env KEY added",
        "changed env OLD removed",
        "memory 16.0 MiB",
        "timeout 3s",
        "environment KEY (values: -o json)",
        "description greets you",
    ] {
        assert!(out.iter().any(|line| line == expected), "{out:#?}");
    }
    for path in ["/v1/functions/hello/invoke", "/fn/hello/"] {
        assert!(
            out.iter()
                .any(|line| line.contains("http://127.0.0.1:") && line.ends_with(path)),
            "{out:#?}"
        );
    }
    assert_eq!(ended.stderr, "[info] in init\n");

    let flags = [
        "--name",
        "you",
        "--memory",
        "32MiB",
        "--timeout",
        "500ms",
        "--isolation",
        "reuse",
        "--max-concurrency",
        "7",
        "--min-ready",
        "1",
        "--env",
        "A=1",
        "--env",
        "B=x=y",
        "--unset-env",
        "C",
        "--reset",
        "--description",
        "d",
        "-o",
        "json",
    ];
    let (asked, ended) = ask(replies(), &[&["deploy", path], &flags[..]].concat());
    assert_eq!(asked[1].line, "PUT /v1/functions/you");
    let expected = json!({
        "image": "ab".repeat(32), "memory_bytes": 32 << 20, "timeout_ms": 500, "isolation": "reuse", "max_concurrency": 7,
        "min_ready": 1, "environment_changes": { "A": "1", "B": "x=y", "C": null }, "description": "d", "reset": true,
    });
    assert_eq!(asked[1].json(), expected);
    let printed: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(printed, deployed);

    let refused = Reply::problem(422, "image-refused", "init failed: no \u{1b}[2J");
    let (_, ended) = ask(vec![Reply::json(&uploaded), refused], &["deploy", path]);
    assert_eq!((ended.code, &*ended.stdout), (8, ""));
    assert_eq!(
        ended.stderr,
        "[info] in init\nerror: init failed: no \\u{1b}[2J\n"
    );
}

#[test]
fn invoke_sends_an_event_and_prints_what_comes() {
    let reply = || {
        Reply::new(200, "Hello, Ada!")
            .header("jiffy-request-id", "r-1")
            .header("jiffy-start", "cold")
            .header("jiffy-version", "3")
            .header(
                "server-timing",
                "queue;dur=0.100, restore;dur=0.200, run;dur=0.300",
            )
    };
    let (asked, ended) = ask(
        vec![reply()],
        &["invoke", "hello", "--event", "{}", "--stats"],
    );
    let asked = only(&asked);
    assert_eq!(
        (&*asked.line, &asked.body[..]),
        ("POST /v1/functions/hello/invoke", &b"{}"[..])
    );
    assert_eq!((ended.code, &*ended.stdout), (0, "Hello, Ada!"));
    let stats = lines(&ended.stderr);
    for expected in ["id r-1", "version 3", "start cold", "restore 0.200 ms"] {
        assert!(stats.iter().any(|line| line == expected), "{stats:#?}");
    }
    let (asked, ended) = ask(vec![reply()], &["invoke", "hello:prod", "-o", "json"]);
    let asked = only(&asked);
    assert_eq!(asked.line, "POST /v1/functions/hello/invoke?qualifier=prod");
    assert_eq!(asked.header("content-length"), Some("0"));
    let printed: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(printed["outcome"], "ok");
    assert_eq!(printed["response"]["body"], "Hello, Ada!");
    assert_eq!(printed["stats"]["start"], "cold");
    assert_eq!(printed["stats"]["timings_ms"]["run"], 0.3);
}

#[test]
fn each_outcome_has_its_exit_code() {
    let check = |status, kind: &str, code, said: &str| {
        let reply = Reply::problem(status, kind, "why");
        let (_, ended) = ask(vec![reply.clone()], &["invoke", "hello"]);
        assert_eq!((ended.code, &*ended.stdout), (code, ""), "{kind}");
        assert_eq!(ended.stderr, format!("{said}\n"));
        let (_, ended) = ask(vec![reply], &["invoke", "hello", "-o", "json"]);
        let printed: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        assert_eq!(printed["exit_code"], ended.code);
        assert_eq!(printed["error"]["kind"], kind.replace('-', "_"));
        assert_eq!(printed["error"]["message"], "why");
    };
    check(500, "function-error", 1, "function error (NoName): why");
    check(404, "not-found", 2, "why");
    check(401, "unauthorized", 2, "why");
    check(400, "bad-event", 3, "bad event: why");
    check(500, "panic", 4, "why");
    check(500, "fault", 5, "why");
    check(504, "timeout", 6, "why");
    check(500, "out-of-memory", 7, "why");
    check(429, "busy", 9, "why");
    check(503, "platform", 9, "why");
    check(418, "of-a-later-release", 9, "why");
    check(421, "other-host", 2, "why");
}

/// As `jiffy run` shows it; names are the guest's and cannot move the cursor.
#[test]
fn a_failed_invocation_says_where_the_function_was() {
    let body = serde_json::json!({
        "type": "urn:jiffy:panic", "detail": "why", "backtrace": [
            { "address": 2_097_152, "function": "f::a\u{1b}[2J", "file": "src/lib.rs", "line": 7 },
            { "address": 2_101_248, "function": null, "file": null, "line": null },
        ],
    });
    let reply = Reply::new(500, body.to_string())
        .header("content-type", "application/problem+json")
        .header("jiffy-error", "panic");
    let (_, ended) = ask(vec![reply.clone()], &["invoke", "hello"]);
    let expected = "why\n  at f::a\\u{1b}[2J (src/lib.rs:7)\n  by 0x201000\n";
    assert_eq!((ended.code, &*ended.stderr), (4, expected));
    let (_, ended) = ask(vec![reply], &["invoke", "hello", "-o", "json"]);
    let printed: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(printed["error"]["backtrace"], body["backtrace"]);
}

#[test]
fn an_http_request_reaches_the_function_as_it_is() {
    let reply = Reply::new(500, "body").header("x-own", "1");
    let arguments = [
        "invoke",
        "hello",
        "--http",
        "GET /a%20b?c=d",
        "--header",
        "X-One: 1",
        "--header",
        "x-one: 2",
        "--event",
        "e",
    ];
    let (asked, ended) = ask(vec![reply], &arguments);
    let asked = only(&asked);
    assert_eq!(
        (&*asked.line, &asked.body[..]),
        ("GET /fn/hello/a%20b?c=d", &b"e"[..])
    );
    let ones: Vec<_> = asked
        .headers
        .iter()
        .filter(|(name, _)| name == "x-one")
        .collect();
    assert_eq!(ones.len(), 2);
    // The function's own status is no failure of the command.
    assert_eq!((ended.code, &*ended.stdout), (0, "body"));
    assert_eq!(ended.stderr, "HTTP status 500\n");
    // A problem that a function sends is its response; the agent's own is a failure.
    let own = Reply::problem(500, "panic", "why");
    let forged = Reply::new(500, r#"{"type":"urn:jiffy:panic","request_id":"r-1"}"#)
        .header("content-type", "application/problem+json")
        .header("jiffy-request-id", "r-1");
    let arguments = ["invoke", "hello", "--http", "DELETE /"];
    assert_eq!(ask(vec![own], &arguments).1.code, 4);
    let (asked, ended) = ask(vec![forged], &arguments);
    assert_eq!(only(&asked).line, "DELETE /fn/hello/");
    assert_eq!(ended.code, 0);
    let ended = jiffy(
        "http://127.0.0.1:1",
        &["invoke", "hello:3", "--http", "GET /"],
        None,
    );
    assert_eq!(ended.code, 2);
    let ended = jiffy(
        "http://127.0.0.1:1",
        &["invoke", "hello", "--http", "TRACE /"],
        None,
    );
    assert_eq!(ended.code, 2);
}

#[test]
fn ls_takes_all_pages() {
    let pages = || {
        vec![
            Reply::json(&json!({ "functions": [function("a")], "next": "a" })),
            Reply::json(&json!({ "functions": [function("b")], "next": null })),
        ]
    };
    let (asked, ended) = ask(pages(), &["ls"]);
    assert_eq!(asked[0].line, "GET /v1/functions?limit=1000");
    assert_eq!(asked[1].line, "GET /v1/functions?limit=1000&after=a");
    let expected = [
        "function live aliases changed",
        "a 2 prod 1970-01-01T00:00:01.000Z",
        "b 2 prod 1970-01-01T00:00:01.000Z",
    ];
    assert_eq!(lines(&ended.stdout), expected);
    let (_, ended) = ask(pages(), &["ls", "-o", "json"]);
    let printed: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(
        printed,
        json!({ "functions": [function("a"), function("b")] })
    );
    let (_, ended) = ask(
        vec![Reply::json(&json!({ "functions": [], "next": null }))],
        &["ls"],
    );
    assert_eq!((ended.code, &*ended.stdout), (0, ""));
}

#[test]
fn describe_and_versions_show_what_is_deployed() {
    let mut description = function("hello");
    description["live_version"] = version(2);
    let (asked, ended) = ask(vec![Reply::json(&description)], &["describe", "hello"]);
    assert_eq!(only(&asked).line, "GET /v1/functions/hello");
    let out = lines(&ended.stdout);
    for expected in [
        "hello",
        "alias prod -> 1=750 2=250",
        "version 2, live",
        "isolation fresh",
        "may reach https://api.example.com (GET)",
        "may reach store cart",
    ] {
        assert!(out.iter().any(|line| line == expected), "{out:#?}");
    }
    assert!(!ended.stdout.contains("secret"));
    let list = json!({ "versions": [version(1), version(2)], "next": null });
    let (asked, ended) = ask(vec![Reply::json(&list)], &["versions", "hello"]);
    assert_eq!(
        only(&asked).line,
        "GET /v1/functions/hello/versions?limit=1000"
    );
    let expected = "2 1970-01-01T00:00:00.000Z abababababab 2.0 KiB 16.0 MiB fresh";
    assert_eq!(lines(&ended.stdout)[2], expected);
}

#[test]
fn aliases_are_listed_set_and_removed() {
    let list = json!({ "aliases": function("hello")["aliases"] });
    let (asked, ended) = ask(vec![Reply::json(&list)], &["alias", "ls", "hello"]);
    assert_eq!(only(&asked).line, "GET /v1/functions/hello/aliases");
    assert_eq!(lines(&ended.stdout)[1], "prod 1=750 2=250 for all");

    let set =
        json!({ "version": 3, "other": { "version": 4, "per_mille": 100 }, "description": "" });
    let arguments = ["alias", "set", "hello", "prod", "3", "4=100"];
    let (asked, ended) = ask(vec![Reply::json(&set)], &arguments);
    assert_eq!(only(&asked).line, "PUT /v1/functions/hello/aliases/prod");
    assert_eq!(only(&asked).json(), set);
    assert_eq!(ended.stdout, "hello:prod -> 3=900 4=100\n");

    let (asked, ended) = ask(vec![Reply::new(204, "")], &["alias", "rm", "hello", "prod"]);
    assert_eq!(only(&asked).line, "DELETE /v1/functions/hello/aliases/prod");
    assert_eq!((ended.code, &*ended.stdout), (0, "hello:prod is deleted\n"));
}

#[test]
fn rollback_names_a_version_or_none() {
    let check = |arguments: &[&str], body: Value| {
        let (asked, ended) = ask(vec![Reply::json(&function("hello"))], arguments);
        assert_eq!(only(&asked).line, "POST /v1/functions/hello/rollback");
        assert_eq!(only(&asked).json(), body);
        assert_eq!(ended.stdout, "hello: version 2 is live\n");
    };
    check(&["rollback", "hello"], json!({}));
    check(&["rollback", "hello", "2"], json!({ "version": 2 }));
}

#[test]
fn nothing_is_deleted_unasked() {
    let (asked, ended) = ask(vec![Reply::new(204, "")], &["rm", "hello", "--yes"]);
    assert_eq!(only(&asked).line, "DELETE /v1/functions/hello");
    assert_eq!(ended.stdout, "hello is deleted\n");
    let (asked, _) = ask(vec![Reply::new(204, "")], &["rm", "hello:3", "-y"]);
    assert_eq!(only(&asked).line, "DELETE /v1/functions/hello/versions/3");
    let ended = jiffy("http://127.0.0.1:1", &["rm", "hello"], None);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("say --yes"), "{ended:?}");
}

#[test]
fn logs_are_lines_for_people_or_json() {
    let log =
        "{\"ts_ms\":5,\"request_id\":\"r-1\",\"version\":1,\"level\":\"info\",\"text\":\"hi\"}\n";
    let arguments = [
        "logs",
        "hello",
        "--since",
        "1970-01-01T00:00:01Z",
        "--request-id",
        "r-1",
        "--limit",
        "5",
    ];
    let (asked, ended) = ask(vec![Reply::new(200, log)], &arguments);
    let expected = "GET /v1/functions/hello/logs?follow=false&since=1000&limit=5&request_id=r%2D1";
    assert_eq!(only(&asked).line, expected);
    assert_eq!(
        lines(&ended.stdout),
        ["1970-01-01T00:00:00.005Z r-1 info hi"]
    );
    let (asked, ended) = ask(
        vec![Reply::new(200, log)],
        &["logs", "hello", "-f", "-o", "json"],
    );
    assert_eq!(
        only(&asked).line,
        "GET /v1/functions/hello/logs?follow=true"
    );
    let line: Value = serde_json::from_str(&ended.stdout).expect("one line of JSON");
    assert_eq!(line["text"], "hi");
}

#[test]
fn top_and_usage_sum_up() {
    let usage = json!({ "usage": [{
        "function": "hello", "requests": 4, "outcomes": { "ok": 3, "panic": 1 }, "starts": { "cold": 1, "fresh": 3 },
        "wall_us": 4000, "run_us": 2000, "cpu_us": 1000, "bytes_in": 10, "bytes_out": 2048, "memory_mib_us": 1_024_000_000,
    }] });
    let arguments = ["usage", "hello", "--since", "1970-01-01T00:00:01Z"];
    let (asked, ended) = ask(vec![Reply::json(&usage)], &arguments);
    assert_eq!(only(&asked).line, "GET /v1/usage?since=1000&function=hello");
    let expected = "hello 4 1 1 3 0 1.00 ms 500.0 µs 1.00 ms 10 B 2.0 KiB 1.000";
    assert_eq!(lines(&ended.stdout)[1], expected);

    let instances = json!({ "instances": [{ "function": "hello", "state": "busy", "memory_charged_bytes": 1024 }] });
    let replies = vec![
        Reply::json(&json!({ "functions": 1, "version": "0.1.0", "stopping": false })),
        Reply::new(
            200,
            "jiffy_shells_ready 8\njiffy_memory_charged_bytes 1024\n",
        ),
        Reply::json(&instances),
        Reply::json(&usage),
    ];
    let (asked, ended) = ask(replies, &["top"]);
    assert_eq!(asked[1].line, "GET /metrics");
    let out = lines(&ended.stdout);
    assert!(
        out[0].contains("1 VMs and 8 shells, ? requests wait, memory 1.0 KiB of ?"),
        "{out:#?}"
    );
    assert_eq!(out[3], "hello 1 1 1.0 KiB 4 1 - 1.00 ms");
}

#[test]
fn the_token_goes_along_and_is_never_shown() {
    let home = tempfile::tempdir().expect("temporary folder");
    let folder = home.path().join(".config/jiffy");
    fs::create_dir_all(&folder).expect("folder");
    write_secret(&folder.join("token"), "top-secret\n");
    let agent = Agent::new(vec![Reply::problem(
        401,
        "unauthorized",
        "send the agent's token",
    )]);
    let ended = jiffy(&agent.url, &["ls"], Some(home.path()));
    let asked = agent.asked();
    assert_eq!(
        only(&asked).header("authorization"),
        Some("Bearer top-secret")
    );
    assert_eq!(ended.code, 2);
    assert!(!ended.stderr.contains("top-secret"));
    let file = home.path().join("other");
    write_secret(&file, "of-a-file");
    let agent = Agent::new(vec![Reply::json(&json!({ "functions": [] }))]);
    let file = file.to_str().expect("UTF-8");
    let ended = jiffy(&agent.url, &["ls", "--token-file", file], Some(home.path()));
    assert_eq!(ended.code, 0);
    assert_eq!(
        only(&agent.asked()).header("authorization"),
        Some("Bearer of-a-file")
    );
}

#[test]
fn an_agent_that_is_not_there_is_told_with_what_to_do() {
    // Nobody listens there. A port that was free a moment ago may be another test's by now.
    let ended = jiffy("http://127.0.0.1:1", &["ls"], None);
    assert_eq!(ended.code, 9);
    assert!(
        ended.stderr.contains("start one with `jiffy dev`"),
        "{ended:?}"
    );
    // Somebody else is there.
    for reply in [
        Reply::new(404, "<html>"),
        Reply::new(302, "").header("location", "/"),
    ] {
        let (_, ended) = ask(vec![reply], &["ls"]);
        assert_eq!(ended.code, 9);
        assert!(ended.stderr.contains("is not an agent"), "{ended:?}");
    }
    let (_, ended) = ask(vec![Reply::new(200, "<html>")], &["ls"]);
    assert_eq!(ended.code, 9);
    let ended = jiffy("https://example.com", &["ls"], None);
    assert_eq!(ended.code, 2);
}

/// A file that its owner alone can read: no other is taken for one with a token.
fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(path, mode).expect("mode");
}

/// Kubernetes sets such variables for a Service that is called `jiffy`. They are not ours.
#[test]
fn variables_of_a_service_of_our_name_are_passed_over() {
    let agent = Agent::new(vec![Reply::json(&json!({ "functions": [] }))]);
    let ended = jiffy_with(
        &agent.url,
        &["ls"],
        None,
        &[
            ("JIFFY_PORT", "tcp://10.96.0.1:80"),
            ("JIFFY_SERVICE_HOST", "10.96.0.1"),
            ("JIFFY_SERVICE_PORT", "80"),
            ("JIFFY_PORT_80_TCP", "tcp://10.96.0.1:80"),
            ("JIFFY_AGENT_PORT", "tcp://10.96.0.1:80"),
            ("JIFFY_AGENT_SERVICE_HOST", "10.96.0.1"),
        ],
    );
    assert_eq!(ended.code, 0, "{ended:?}");
}
