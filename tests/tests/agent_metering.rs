//! What a request is charged: CPU time of its VM, whatever became of it.
//! Figures are compared with each other, so that no load on the host makes a difference.

mod agent_common;

use std::{fs, io::Write, net::TcpStream, thread, time::Duration};

use agent_common::can_run;
use jiffy_tests::agent::{Agent, Setup, invoke_path, signal, within};
use rustix::{net::sockopt::set_socket_linger, process::Signal};
use serde_json::{Value, json};

/// What happens in the background has happened by then, beside other load.
const SOON: Duration = Duration::from_secs(20);
const TIMEOUT_MS: u64 = 1000;
/// More than any VM does within its time.
const ENDLESS: &str = "100000000";
/// CPU time that a VM takes in which nothing computes, at most: restore, reset, and a page fault for each page.
const IDLE_US_MAX: u64 = 100_000;

/// The record of the request that is asked next.
fn record_of(setup: &Setup, ask: impl FnOnce()) -> Value {
    let path = setup.data().join("usage/0000000000000001.jsonl");
    let read = || -> Vec<Value> {
        let records = fs::read_to_string(&path).unwrap_or_default();
        let whole = records.lines().map(serde_json::from_str);
        whole.filter_map(Result::ok).collect()
    };
    let before = read().len();
    ask();
    let record = within(SOON, || read().into_iter().nth(before));
    record.expect("a record")
}

fn number(record: &Value, name: &str) -> u64 {
    record[name].as_u64().expect("a number")
}

fn metered(functions: &[(&str, Value)]) -> Option<(Setup, Agent)> {
    if !can_run() {
        return None;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let image = agent.upload("teller");
    for (name, settings) in functions {
        agent.deploy(name, &image, settings.clone()).expect(201);
    }
    Some((setup, agent))
}

/// Asks, and is gone before the answer.
fn leave(agent: &Agent, function: &str, event: &str, after: Duration) {
    let address = agent.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("an agent");
    let path = invoke_path(function);
    let bytes = event.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {bytes}\r\n\r\n{event}"
    );
    stream.write_all(request.as_bytes()).expect("room");
    thread::sleep(after);
    // So that closing is no half-close, after which the answer would still be wanted.
    set_socket_linger(&stream, Some(Duration::ZERO)).expect("a socket");
}

/// One that waits is charged next to nothing, one that computes nearly all, and neither less because it ends badly.
#[test]
fn cpu_time_is_charged_however_a_request_ends() {
    let settings = |isolation| json!({ "timeout_ms": TIMEOUT_MS, "isolation": isolation });
    let functions = [("fresh", settings("fresh")), ("reuse", settings("reuse"))];
    let Some((setup, agent)) = metered(&functions) else {
        return;
    };
    let mut all_us = 0;
    for (function, _) in functions {
        // Calibrates: what so many rounds cost here, when nothing else is charged.
        let rounds = "50";
        for (waits, computes, outcome) in [
            ("sleep 300".into(), format!("work {rounds}"), "ok"),
            (
                format!("sleep {ENDLESS}"),
                format!("work {ENDLESS}"),
                "timeout",
            ),
            (
                "break sleep 300".into(),
                format!("break work {rounds}"),
                "panic",
            ),
        ] {
            let [waited, computed] = [&waits, &computes].map(|event| {
                let record = record_of(&setup, || drop(agent.invoke(function, event)));
                assert_eq!(record["outcome"], outcome, "{event}: {record}");
                assert!(number(&record, "exits") > 0, "{event}: {record}");
                assert!(
                    function == "reuse" && outcome == "ok" || number(&record, "pages_written") > 0,
                    "{event}: {record}"
                );
                let cpu_us = number(&record, "cpu_us");
                all_us += cpu_us;
                (cpu_us, number(&record, "run_us"))
            });
            let ((waited_us, waited_run_us), (computed_us, _)) = (waited, computed);
            assert!(waited_run_us >= 300_000, "it waited: {waited_run_us}");
            assert!(
                waited_us > 0 && waited_us < IDLE_US_MAX,
                "{waits}: {waited_us}"
            );
            // 50 million rounds of a multiplication take 50 ms on the fastest CPU; beside other load, a deadline leaves less.
            let least_us = if outcome == "timeout" {
                2 * waited_us
            } else {
                20_000
            };
            assert!(
                computed_us > least_us && computed_us > 2 * waited_us,
                "{computes}: {computed_us}, {waits}: {waited_us}"
            );
        }
    }
    let metrics = agent.get("/metrics").expect(200).text();
    let seconds: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("jiffy_vm_cpu_seconds_total"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    let recorded = Duration::from_micros(all_us).as_secs_f64();
    assert!((seconds - recorded).abs() < 0.001, "{seconds}, {recorded}");
}

/// A VM that is killed is charged too, from what the kernel counted: by a signal, or because its client left.
#[test]
fn a_killed_vm_is_charged() {
    let settings = json!({ "timeout_ms": 60_000, "max_concurrency": 1 });
    let Some((setup, agent)) = metered(&[("f", settings)]) else {
        return;
    };
    let busy = || {
        let instances = agent.instances();
        let busy = instances.iter().find(|vm| vm["state"] == "busy")?;
        u32::try_from(busy["process_id"].as_u64()?).ok()
    };
    let mut charged = Vec::new();
    for event in [format!("sleep {ENDLESS}"), format!("work {ENDLESS}")] {
        let record = record_of(&setup, || {
            thread::scope(|scope| {
                let request = scope.spawn(|| agent.invoke("f", &event));
                let process = within(SOON, busy).expect("a busy VM");
                thread::sleep(Duration::from_millis(700));
                signal(process, Signal::KILL).expect("it lives");
                request.join().expect("no panic").expect(503);
            });
        });
        assert_eq!(record["outcome"], "platform");
        assert!(number(&record, "memory_touched_bytes") > 0, "{record}");
        charged.push(number(&record, "cpu_us"));
    }
    let [waited_us, computed_us] = charged[..] else {
        unreachable!("two")
    };
    assert!(waited_us > 0 && waited_us < IDLE_US_MAX, "{waited_us}");
    assert!(
        computed_us > 2 * waited_us && computed_us > 20_000,
        "{computed_us}, {waited_us}"
    );

    // A client that leaves has its VM ended, and pays for it.
    let record = record_of(&setup, || {
        let event = format!("work {ENDLESS}");
        leave(&agent, "f", &event, Duration::from_millis(700));
    });
    assert_eq!(record["outcome"], "cancelled");
    assert!(number(&record, "cpu_us") > 20_000, "{record}");
}
