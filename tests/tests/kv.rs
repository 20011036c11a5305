//! Stores of keys and values, end to end: functions and clients see the same, of many requests at once none is lost, what was
//! acknowledged survives a kill of the agent, and nobody reaches a store that is not granted.

mod agent_common;

use std::{fs, process::Stdio, thread};

use agent_common::can_run;
use jiffy_tests::{
    agent::{Client, Setup},
    jiffy, workspace_root,
};
use serde_json::{Value, json};

const STORE: &str = "/v1/kv/sessions";

fn granted(stores: &[&str]) -> Value {
    let stores: serde_json::Map<_, _> = stores
        .iter()
        .map(|name| ((*name).into(), json!({})))
        .collect();
    json!({ "grants": { "kv": stores } })
}

/// Begins a session: its cookie.
fn log_in(agent: &Client, function: &str) -> String {
    let answer = agent
        .call("POST", &format!("/fn/{function}/login"), b"ada")
        .expect(201);
    let cookie = answer.header("set-cookie").expect("a cookie");
    cookie.split(';').next().expect("one").to_owned()
}

fn visit(agent: &Client, function: &str, cookie: &str) -> (u16, String) {
    let path = format!("/fn/{function}/");
    let answer = agent.send("GET", &path, &[("cookie", cookie)], b"");
    let answer = answer.expect("an answer");
    (answer.status, answer.text())
}

#[test]
fn functions_and_clients_share_a_store_that_survives_a_kill() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let image = agent.upload("sessions");
    for name in ["one", "other"] {
        agent
            .deploy(name, &image, granted(&["sessions"]))
            .expect(201);
    }
    let cookie = log_in(&agent, "one");
    assert_eq!(
        visit(&agent, "other", &cookie),
        (200, "ada, visit 1\n".into())
    );
    let id = cookie.trim_start_matches("session=");
    let entry = agent.get(&format!("{STORE}/{id}")).expect(200);
    assert_eq!(entry.json(), json!({ "user": "ada", "visits": 1 }));
    assert!(entry.header("jiffy-expires-ms").is_some());
    // Each visit is a compare-and-set; those that lose try again.
    let ok: usize = thread::scope(|scope| {
        let visits = (0..4).map(|_| {
            scope.spawn(|| {
                let answers = (0..10).map(|_| visit(&agent, "one", &cookie).0);
                answers.filter(|status| *status == 200).count()
            })
        });
        let visits: Vec<_> = visits.collect();
        visits
            .into_iter()
            .map(|visits| visits.join().expect("answers"))
            .sum()
    });
    let visits = agent.get(&format!("{STORE}/{id}")).expect(200).json()["visits"].clone();
    assert_eq!(visits, json!(ok + 1), "an update is lost");
    agent.kill();
    let agent = setup.start();
    let text = format!("ada, visit {}\n", ok + 2);
    assert_eq!(visit(&agent, "one", &cookie), (200, text));
    agent
        .call("DELETE", &format!("{STORE}/{id}"), b"")
        .expect(204);
    assert_eq!(visit(&agent, "one", &cookie).0, 401);
    agent.stop();
}

#[test]
fn a_store_that_is_not_granted_is_refused() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let image = agent.upload("sessions");
    for (name, stores) in [("none", &[][..]), ("others", &["session", "Sessions"])] {
        agent.deploy(name, &image, granted(stores)).expect(201);
        let answer = agent
            .call("POST", &format!("/fn/{name}/login"), b"ada")
            .expect(500);
        assert!(
            answer.text().contains("must be one that jiffy.toml names"),
            "{}",
            answer.text()
        );
    }
    agent.get(STORE).expect(200);
    assert_eq!(agent.get("/v1/kv").expect(200).json()["stores"], json!([]));
    agent.stop();
}

/// `jiffy run` takes the grants of the crate's `jiffy.toml`, and keeps stores only if it is told where.
#[test]
fn a_run_has_the_stores_of_its_manifest() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("kv");
    let run = |arguments: &[&str]| {
        let mut run = jiffy();
        let output = run
            .arg("run")
            .arg(workspace_root().join("examples/sessions"))
            .args(arguments)
            .args(["-o", "json"])
            .output();
        let output = output.expect("jiffy");
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        document["response"].clone()
    };
    let file = file.to_str().expect("text");
    let login = run(&["--http", "POST /login", "--event", "ada", "--kv-file", file]);
    let headers = login["headers"].to_string();
    let (_, id) = headers.split_once("session=").expect("a cookie");
    let cookie = format!("cookie: session={}", &id[..32]);
    let visit = ["--http", "GET /", "--header", &cookie];
    let kept = run(&[&visit[..], &["--kv-file", file]].concat());
    assert_eq!(kept["body"], "ada, visit 1\n", "{kept}");
    assert_eq!(run(&visit)["status"], 401);
}

/// What the command line puts, lists, exports and imports.
#[test]
fn the_command_line_reads_and_writes_stores() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let kv = |arguments: &[&str]| {
        let mut kv = jiffy();
        let output = kv
            .arg("kv")
            .args(arguments)
            .args(["--agent", agent.url()])
            .stdin(Stdio::null())
            .output();
        let output = output.expect("jiffy");
        let code = output.status.code().expect("an exit code");
        (
            code,
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let ok = |arguments: &[&str]| {
        let (code, said, error) = kv(arguments);
        assert_eq!(code, 0, "{arguments:?}: {error}");
        said
    };
    let put = ok(&[
        "put",
        "cart",
        "a/ü?",
        "one",
        "--ttl",
        "1h",
        "--metadata",
        "text/plain",
    ]);
    let version = put.trim().trim_start_matches("version ").to_owned();
    assert_eq!(ok(&["get", "cart", "a/ü?"]), "one");
    assert_eq!(kv(&["put", "cart", "a/ü?", "two", "--if-absent"]).0, 2);
    ok(&["put", "cart", "a/ü?", "two", "--if-version", &version]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bytes = folder.path().join("bytes");
    fs::write(&bytes, b"\xff\x00").expect("written");
    ok(&[
        "put",
        "cart",
        "b",
        "--file",
        bytes.to_str().expect("text"),
        "--ttl",
        "1h",
    ]);
    let large = folder.path().join("large");
    fs::write(&large, vec![b'x'; (1 << 20) + 1]).expect("written");
    let large = large.to_str().expect("text");
    let (code, _, error) = kv(&["put", "cart", "b", "--file", large]);
    let expected = "the value has more than 1048576 bytes: send a smaller one";
    assert!(code == 2 && error.contains(expected), "{error}");
    assert!(ok(&["ls", "cart", "--prefix", "a"]).contains("a/ü?"));
    assert!(ok(&["ls"]).contains("cart"));
    let exported = ok(&["export", "cart"]);
    let lines = folder.path().join("lines");
    fs::write(&lines, &exported).expect("written");
    ok(&["rm", "cart", "--yes"]);
    assert_eq!(ok(&["export", "cart"]), "");
    ok(&["import", "cart", lines.to_str().expect("text")]);
    let again = ok(&["export", "cart"]);
    let without_versions = |lines: &str| -> Vec<Value> {
        let document = |line: &str| {
            let mut document: Value = serde_json::from_str(line).expect("JSON");
            for field in ["version", "expires_ms"] {
                document.as_object_mut().expect("an object").remove(field);
            }
            document
        };
        lines.lines().map(document).collect()
    };
    assert_eq!(without_versions(&again), without_versions(&exported));
    ok(&["rm", "cart", "b"]);
    let (code, _, error) = kv(&["get", "cart", "b"]);
    assert_eq!(code, 2, "{error}");
    assert!(
        error.contains("the store cart has no entry \"b\""),
        "{error}"
    );
    let (code, _, error) = kv(&["rm", "cart"]);
    assert_eq!(code, 2, "{error}");
    agent.stop();
}
