//! Logs that are too much: what they cost the agent, and who is told what is lost.

mod agent_common;

use std::{thread, time::Duration};

use agent_common::{can_run, metric};
use jiffy_tests::{
    agent::{Agent, Setup, within},
    image, jiffy, require_kvm,
};
use serde_json::{Value, json};

/// What happens in the background has happened by then, beside other load.
const SOON: Duration = Duration::from_secs(20);
/// Records that a guest leaves at the cost of 1 MiB of its own.
const RECORDS: usize = 1 << 18;
/// Those that one request may log if they are empty.
const RECORDS_KEPT: usize = (1 << 20) / 64;

/// The lines of a function's log once there are so many REPORTs.
fn log(agent: &Agent, function: &str, reports: usize) -> Vec<Value> {
    let lines = within(SOON, || {
        let path = format!("/v1/functions/{function}/logs?limit=10000");
        let text = agent.get(&path).expect(200).text();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let is_report = |line: &&Value| text_of(line).starts_with("REPORT ");
        (lines.iter().filter(is_report).count() >= reports).then_some(lines)
    });
    lines.expect("a REPORT for each request")
}

fn text_of(line: &Value) -> &str {
    line["text"].as_str().expect("a text")
}

#[test]
fn empty_records_cost_the_agent_little_and_it_gives_that_back() {
    if !can_run() {
        return;
    }
    const CLIENTS: usize = 12;
    const ROUNDS: usize = 4;
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let settings = json!({ "max_concurrency": CLIENTS, "timeout_ms": 20_000 });
    agent
        .deploy("f", &agent.upload("talker"), settings)
        .expect(201);
    agent.invoke("f", "log first").expect(200);
    let before_kib = agent.resident_kib();
    let most_kib = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let event = format!("records {RECORDS}");
                    let ask = |_| {
                        agent.invoke("f", &event).expect(200);
                        agent.resident_kib()
                    };
                    (0..ROUNDS).map(ask).max()
                })
            })
            .collect();
        clients
            .into_iter()
            .filter_map(|client| client.join().expect("a client"))
            .max()
    });
    let grown_mib = most_kib.expect("asked").saturating_sub(before_kib) >> 10;
    // Two for each request, and as much again for those that wait to be written. It was 693.
    assert!(grown_mib <= 96, "{grown_mib} MiB");
    let given_back = within(SOON, || {
        let left_mib = agent.resident_kib().saturating_sub(before_kib) >> 10;
        (left_mib <= 48).then_some(left_mib)
    });
    assert!(
        given_back.is_some(),
        "{} KiB, {before_kib} before",
        agent.resident_kib()
    );
    // Each request has its REPORT, whatever it logged.
    let lines = within(SOON, || {
        let usage = agent.get("/v1/usage?function=f").expect(200).json();
        let requests = usage["usage"][0]["requests"].as_u64();
        (requests == Some((CLIENTS * ROUNDS) as u64 + 1)).then_some(())
    });
    assert!(lines.is_some());
}

#[test]
fn what_a_request_loses_is_told_in_log_report_and_metrics() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let image = agent.upload("talker");
    let settings = json!({ "timeout_ms": 20_000 });
    agent.deploy("many", &image, settings.clone()).expect(201);
    agent
        .invoke("many", format!("records {RECORDS}"))
        .expect(200);
    let lines = log(&agent, "many", 1);
    let [.., notice, report] = &lines[..] else {
        panic!("{lines:?}");
    };
    let lost = RECORDS - RECORDS_KEPT;
    let told = format!("{lost} log records (0 B) were dropped: a request may log 1 MiB");
    assert!(text_of(notice).starts_with(&told), "{notice}");
    assert_eq!(notice["level"], "warn");
    let told = format!("\tLog Dropped: {lost} records, 0 bytes");
    assert!(text_of(report).ends_with(&told), "{report}");
    let dropped = metric(&agent, "jiffy_log_lines_dropped_total{reason=\"request\"}");
    assert_eq!(dropped, lost as u64);

    agent.deploy("long", &image, settings).expect(201);
    agent.invoke("long", "record 9000").expect(200);
    let lines = log(&agent, "long", 1);
    let [long, notice, report] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(text_of(long), format!("{}… (cut)", "ü".repeat(2048)));
    assert_eq!(text_of(notice), "1 log record was cut at 4 KiB");
    assert!(
        text_of(report).ends_with("\tLog Cut: 1 records"),
        "{report}"
    );
    assert_eq!(metric(&agent, "jiffy_log_lines_cut_total"), 1);

    // The tail has the end of the log, and the REPORT at its own.
    let headers = [("x-amz-log-type", "Tail")];
    let path = "/2015-03-31/functions/many/invocations";
    let event = format!("\"records {RECORDS}\"");
    let answer = agent
        .send("POST", path, &headers, event.as_bytes())
        .expect("an answer");
    assert!(
        answer
            .header("x-amz-log-result")
            .is_some_and(|tail| tail.len() > 400)
    );
}

#[test]
fn a_failed_deploy_tells_the_newest_of_its_log() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let settings = json!({ "environment": { "INIT": "30000" } });
    let refused = agent.deploy("f", &agent.upload("talker"), settings);
    assert!(refused.status >= 400, "{}", refused.text());
    assert!(refused.text().len() < 128 << 10, "{}", refused.text().len());
    let document = refused.json();
    let logs = document["logs"].as_array().expect("logs");
    let texts: Vec<_> = logs.iter().map(text_of).collect();
    assert!(
        texts[0].starts_with("earlier log records are left out here: "),
        "{texts:?}"
    );
    let notice = texts.last().expect("a notice");
    assert!(
        notice.contains(" were dropped: a request may log 1 MiB"),
        "{notice}"
    );
}

#[test]
fn a_run_tells_what_it_did_not_show() {
    if !require_kvm() {
        return;
    }
    let run = |event: &str, stats: &[&str]| {
        let mut command = jiffy();
        command
            .arg("run")
            .arg(image("talker"))
            .args(["--event", event])
            .args(stats);
        let output = command.output().expect("it starts");
        assert!(output.status.success());
        String::from_utf8(output.stderr).expect("text")
    };
    let said = run(&format!("records {RECORDS}"), &["--stats"]);
    let lost = RECORDS - RECORDS_KEPT;
    assert!(
        said.contains(&format!("[warn] {lost} log records (0 B) were dropped: ")),
        "{said}"
    );
    let row = said
        .lines()
        .find(|line| line.contains("log records dropped"));
    assert!(
        row.is_some_and(|row| row.ends_with(&lost.to_string())),
        "{row:?}"
    );
    let said = run("record 9000", &["--stats"]);
    assert!(
        said.contains("ü… (cut)\n[warn] 1 log record was cut at 4 KiB\n"),
        "{said}"
    );
    assert!(said.contains("log records cut"), "{said}");
}

/// Whoever reads the log of a request that went wrong finds a sentence about it before its REPORT.
#[test]
fn each_way_to_fail_has_its_sentence_in_the_log() {
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
        (
            "error",
            "the function returned an error, AskedFor: an error was asked for: ",
        ),
        (
            "no such kind",
            "the function refused the event: event does not parse: unknown variant",
        ),
        ("panic", "the function panicked: a panic was asked for"),
        ("null-read", "the function broke: memory at 0x0 was touched"),
        ("stack-overflow", "the function broke: the stack overflowed"),
        ("exit", "the function broke: it ended the VM with code"),
        ("spin", "the function did not answer within 2000 ms"),
        ("oom", "the function ran out of memory: an allocation of "),
    ];
    for (kind, _) in cases {
        agent.invoke("faults", json!({ "kind": kind }).to_string());
    }
    let lines = log(&agent, "faults", cases.len());
    for (kind, sentence) in cases {
        let found = lines
            .iter()
            .position(|line| text_of(line).starts_with(sentence));
        let found = found.unwrap_or_else(|| panic!("{kind}: no {sentence:?} in {lines:#?}"));
        assert_eq!(lines[found]["level"], "error", "{kind}");
        let report = &lines[found + 1];
        assert!(text_of(report).starts_with("REPORT "), "{kind}: {report}");
        assert_eq!(report["request_id"], lines[found]["request_id"], "{kind}");
    }
}
