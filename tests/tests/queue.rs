//! Queues, end to end: what functions and clients send is seen in the order in which it was sent, survives a kill of the agent,
//! and nobody sends to a queue that is not granted.

mod agent_common;

use std::{fs, thread};

use agent_common::can_run;
use jiffy_tests::{
    agent::{Client, Setup},
    jiffy, workspace_root,
};
use serde_json::{Value, json};

const MESSAGES: &str = "/v1/queues/emails/messages";

fn granted(queues: &[&str]) -> Value {
    let queues: serde_json::Map<_, _> = queues
        .iter()
        .map(|name| ((*name).into(), json!({})))
        .collect();
    json!({ "grants": { "queue": queues } })
}

/// Has the function `name` send: the ids.
fn send(agent: &Client, name: &str, event: &Value) -> Vec<Value> {
    let answer = agent.invoke(name, event.to_string()).expect(200);
    answer.json().as_array().expect("ids").clone()
}

/// All messages of the queue, oldest first.
fn messages(agent: &Client) -> Vec<Value> {
    let list = agent
        .get(&format!("{MESSAGES}?limit=1000"))
        .expect(200)
        .json();
    list["messages"].as_array().expect("a list").clone()
}

fn ids(messages: &[Value]) -> Vec<Value> {
    let ids = messages.iter().map(|message| message["id"].clone());
    ids.collect()
}

#[test]
fn what_functions_and_clients_send_is_in_order_and_survives_a_kill() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let image = agent.upload("sender");
    for name in ["one", "other"] {
        agent.deploy(name, &image, granted(&["emails"])).expect(201);
    }
    let event = json!({ "queue": "emails", "texts": ["a", "ü"], "bytes": 200_000 });
    let mut sent = send(&agent, "one", &event);
    let posted = agent.call("POST", MESSAGES, b"by a client").expect(201);
    sent.push(posted.json()["id"].clone());
    sent.extend(send(
        &agent,
        "other",
        &json!({ "queue": "emails", "texts": ["z"] }),
    ));
    let found = messages(&agent);
    assert_eq!(ids(&found), sent);
    let types: Vec<_> = found
        .iter()
        .map(|message| message["content_type"].as_str().expect("text"))
        .collect();
    let (json_type, bytes) = ("application/json", "application/octet-stream");
    assert_eq!(types, [json_type, json_type, "image/png", bytes, json_type]);
    assert_eq!(found[2]["bytes"], 200_000);
    // Many at once: each is there once, and those of a request in the order of its calls.
    let all: Vec<Vec<Value>> = thread::scope(|scope| {
        let senders = (0..4).map(|number| {
            let texts: Vec<_> = (0..10).map(|text| format!("{number}/{text}")).collect();
            let event = json!({ "queue": "emails", "texts": texts });
            let agent = &agent;
            scope.spawn(move || send(agent, "one", &event))
        });
        let senders: Vec<_> = senders.collect();
        let sent = senders.into_iter().map(|sender| sender.join());
        sent.map(|ids| ids.expect("ids")).collect()
    });
    agent.kill();
    let agent = setup.start();
    let found = messages(&agent);
    let mut seen = ids(&found);
    let mut later = seen.split_off(sent.len());
    assert_eq!(seen, sent);
    for of_one in &all {
        let found: Vec<_> = later.iter().filter(|id| of_one.contains(id)).collect();
        assert_eq!(found, of_one.iter().collect::<Vec<_>>());
    }
    later.retain(|id| !all.iter().any(|of_one| of_one.contains(id)));
    assert_eq!(later, [Value::Null; 0]);
    // What is sent now comes behind all that.
    let last = send(
        &agent,
        "one",
        &json!({ "queue": "emails", "texts": ["last"] }),
    );
    assert_eq!(ids(&messages(&agent)).last(), last.last());
    let first = format!("{MESSAGES}/{}", sent[1].as_str().expect("text"));
    assert_eq!(agent.get(&first).expect(200).text(), "\"ü\"");
    agent.call("DELETE", &first, b"").expect(204);
    agent.get(&first).expect(404);
    agent.call("DELETE", "/v1/queues/emails", b"").expect(204);
    assert!(messages(&agent).is_empty());
    agent.stop();
}

#[test]
fn a_queue_that_is_not_granted_is_refused() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let image = agent.upload("sender");
    let event = json!({ "queue": "emails", "texts": ["a"] }).to_string();
    for (name, queues) in [("none", &[][..]), ("others", &["email", "Emails"])] {
        agent.deploy(name, &image, granted(queues)).expect(201);
        let answer = agent.invoke(name, &event).expect(500);
        let text = answer.text();
        assert!(
            text.contains("must be one that jiffy.toml names, as [queue.NAME]"),
            "{text}"
        );
    }
    let queues = agent.get("/v1/queues").expect(200).json();
    assert_eq!(queues["queues"], json!([]));
    agent.stop();
}

/// The operator's limits hold for functions and clients, and say what to do.
#[test]
fn a_queue_that_is_full_takes_no_more() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[("QUEUE__QUEUE_BYTES_MAX", "300KiB")]);
    let agent = setup.start();
    let image = agent.upload("sender");
    agent.deploy("f", &image, granted(&["emails"])).expect(201);
    send(&agent, "f", &json!({ "queue": "emails", "bytes": 200_000 }));
    let event = json!({ "queue": "emails", "bytes": 200_000 }).to_string();
    let refused = agent.invoke("f", &event).expect(500);
    let posted = agent.call("POST", MESSAGES, &[0; 200_000]).expect(507);
    for text in [refused.text(), posted.text()] {
        assert!(text.contains("the queue emails would have "), "{text}");
        assert!(text.contains("raise queue.queue_bytes_max"), "{text}");
    }
    let id = messages(&agent)[0]["id"].as_str().expect("text").to_owned();
    agent
        .call("DELETE", &format!("{MESSAGES}/{id}"), b"")
        .expect(204);
    agent.invoke("f", &event).expect(200);
    agent.stop();
}

/// `jiffy run` takes the grants of the crate's `jiffy.toml`; its queues end with it.
#[test]
fn a_run_has_the_queues_of_its_manifest() {
    if !can_run() {
        return;
    }
    let run = |queue: &str| {
        let event = json!({ "queue": queue, "texts": ["a", "b"] }).to_string();
        let mut run = jiffy();
        let output = run
            .arg("run")
            .arg(workspace_root().join("tests/guests/sender"))
            .args(["--event", &event, "-o", "json"])
            .output();
        let output = output.expect("jiffy");
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        document
    };
    let sent = run("emails");
    let body = sent["response"]["body"].as_str().expect("text");
    let ids: Vec<String> = serde_json::from_str(body).expect("ids");
    assert!(ids.len() == 2 && ids[0] < ids[1], "{sent}");
    let refused = run("other").to_string();
    assert!(refused.contains("as [queue.NAME]"), "{refused}");
}

/// What the command line sends, lists, shows and removes.
#[test]
fn the_command_line_sends_and_looks_at_messages() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let queue = |arguments: &[&str]| {
        let mut queue = jiffy();
        let output = queue
            .arg("queue")
            .args(arguments)
            .args(["--agent", agent.url()])
            .output();
        let output = output.expect("jiffy");
        let code = output.status.code().expect("an exit code");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (code, text(output.stdout), text(output.stderr))
    };
    let ok = |arguments: &[&str]| {
        let (code, said, error) = queue(arguments);
        assert_eq!(code, 0, "{arguments:?}: {error}");
        said
    };
    let (code, said, error) = queue(&["ls"]);
    assert_eq!((code, &*said), (0, ""), "{error}");
    assert!(error.contains("no queues"), "{error}");
    let typed = ["--content-type", "application/json"];
    let first = ok(&[&["send", "emails", r#"{"to":"ada"}"#], &typed[..]].concat());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bytes = folder.path().join("bytes");
    fs::write(&bytes, b"\xff\x00").expect("written");
    let bytes = bytes.to_str().expect("text");
    let second = ok(&["send", "emails", "--file", bytes, "-o", "json"]);
    let second: Value = serde_json::from_str(&second).expect("JSON");
    let second = second["id"].as_str().expect("an id");
    let first = first.trim();
    assert!(ok(&["ls"]).contains("emails"));
    let listed = ok(&["peek", "emails"]);
    let (one, two) = (listed.find(first), listed.find(second));
    assert!(one.is_some() && one < two, "{listed}");
    assert!(listed.contains("application/json"), "{listed}");
    assert!(!ok(&["peek", "emails", "--limit", "1"]).contains(second));
    assert_eq!(ok(&["peek", "emails", first]), r#"{"to":"ada"}"#);
    let shown: Value =
        serde_json::from_str(&ok(&["peek", "emails", second, "-o", "json"])).expect("JSON");
    assert_eq!(shown["body_base64"], "/wA=");
    ok(&["rm", "emails", first]);
    let (code, _, error) = queue(&["rm", "emails", first]);
    assert_eq!(code, 2, "{error}");
    let expected = format!("the queue emails has no message {first}");
    assert!(error.contains(&expected), "{error}");
    let large = folder.path().join("large");
    fs::write(&large, vec![b'x'; (256 << 10) + 1]).expect("written");
    let large = large.to_str().expect("text");
    let (code, _, error) = queue(&["send", "emails", "--file", large]);
    let expected = "the message has more than 262144 bytes: send a smaller one";
    assert!(code == 2 && error.contains(expected), "{error}");
    for arguments in [&["rm", "emails"][..], &["peek", "emails", "7"]] {
        let (code, _, error) = queue(arguments);
        assert_eq!(code, 2, "{arguments:?}: {error}");
    }
    ok(&["rm", "emails", "--yes"]);
    assert_eq!(ok(&["peek", "emails"]), "");
    agent.stop();
}
