//! Functions that invoke others, end to end: they are answered, within limits, and what they wait for ends with them.

mod agent_common;

use std::time::Duration;

use agent_common::can_run;
use jiffy_tests::agent::{Client, Setup, within};
use serde_json::{Value, json};

fn granted(names: &[&str]) -> Value {
    json!({ "grants": { "invoke": { "allow": names } } })
}

fn ask(agent: &Client, function: &str, names: &[&str]) -> (u16, String) {
    let event = json!(names).to_string();
    let path = format!("/v1/functions/{function}/invoke");
    let answer = agent.call("POST", &path, event.as_bytes());
    (answer.status, answer.text())
}

#[test]
fn functions_are_answered_by_those_they_may_invoke() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let image = agent.upload("invoker");
    for (name, allowed) in [
        ("first", &["second", "first", "nobody"][..]),
        ("second", &["first"]),
        ("third", &[]),
    ] {
        agent.deploy(name, &image, granted(allowed)).expect(201);
    }
    assert_eq!(
        ask(&agent, "first", &["second", "first"]),
        (200, "2".into())
    );
    let refused = [
        ("third", &["second"][..], "may not invoke \"second\""),
        ("first", &["third"], "may not invoke \"third\""),
        ("first", &["second", "third"], "second has failed"),
        ("first", &["nobody"], "nobody has not answered"),
        (
            "first",
            &["first"; 8],
            "too many functions wait for one another",
        ),
    ];
    for (function, names, why) in refused {
        let (status, text) = ask(&agent, function, names);
        let problem: Value = serde_json::from_str(&text).expect("a problem");
        let detail = problem["detail"].as_str().expect("a sentence");
        assert!(status == 500 && detail.contains(why), "{status} {text}");
    }
    assert_eq!(ask(&agent, "first", &["first"; 7]), (200, "7".into()));
    // One for each name that somebody was asked for, whatever came of it; the last of each chain asks nobody.
    let metered = || {
        let usage = agent.get("/v1/usage?function=third").expect(200).json();
        let usage = &usage["usage"][0];
        let is_metered = usage["calls"] == 1
            && usage["call_bytes"].as_u64() > Some(24)
            && usage["reply_bytes"].as_u64() > Some(24)
            && usage["calls_us"].as_u64() > Some(0);
        is_metered.then_some(())
    };
    within(Duration::from_secs(20), metered).expect("calls in its usage");
    agent.stop();
}

#[test]
fn what_a_function_waits_for_ends_with_it() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let image = agent.upload("invoker");
    let mut hasty = granted(&["patient"]);
    hasty["timeout_ms"] = json!(300);
    agent.deploy("hasty", &image, hasty).expect(201);
    let patient = json!({ "timeout_ms": 60_000 });
    agent.deploy("patient", &image, patient).expect(201);
    let (status, text) = ask(&agent, "hasty", &["patient", "wait"]);
    assert_eq!(status, 504, "{text}");
    let ended = || {
        let instances = agent.get("/v1/instances").expect(200).json();
        let instances = instances["instances"].as_array().expect("a list");
        let is_busy = |instance: &Value| instance["state"] == "busy";
        (!instances.iter().any(is_busy)).then_some(())
    };
    within(Duration::from_secs(5), ended).expect("the VM of the other ends too");
    let log = || {
        let log = agent.get("/v1/functions/patient/logs").text();
        log.contains("the caller left").then_some(())
    };
    within(Duration::from_secs(20), log).expect("a line in its log");
    agent.stop();
}
