//! The client verbs where nobody reads what they print, or where the agent hangs up.

#![allow(dead_code, reason = "`support` is for the tests of all verbs")]

mod support;

use std::{
    io,
    net::TcpListener,
    process::{Command, Stdio},
    thread,
};

use serde_json::json;
use support::{Agent, Reply, jiffy};

fn closed() -> Stdio {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// The exit code of `jiffy` with both outputs closed, against an agent with one reply.
fn unread(reply: Reply, arguments: &[&str]) -> Option<i32> {
    let agent = Agent::new(vec![reply]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_jiffy"));
    command.args(arguments).args(["--agent", &agent.url]);
    command
        .stdin(Stdio::null())
        .stdout(closed())
        .stderr(closed());
    let status = command.env_remove("JIFFY_TOKEN").status().expect("jiffy");
    agent.asked();
    status.code()
}

#[test]
fn a_closed_output_does_not_change_the_exit_code() {
    let problem = |kind: &str| Reply::problem(500, kind, "why");
    for (kind, code) in [("not-found", 2), ("panic", 4), ("timeout", 6), ("busy", 9)] {
        for format in ["text", "json"] {
            let code_found = unread(problem(kind), &["invoke", "hello", "-o", format]);
            assert_eq!(code_found, Some(code), "{kind} {format}");
        }
        assert_eq!(unread(problem(kind), &["ls"]), Some(code), "{kind}");
    }
    let answer = Reply::new(200, vec![b'x'; 1 << 20]);
    assert_eq!(unread(answer, &["invoke", "hello", "--stats"]), Some(0));
    let none = Reply::json(&json!({ "functions": [] }));
    assert_eq!(unread(none, &["ls"]), Some(0));
    // Would go on for ever if it did not notice.
    let line = "{\"ts_ms\":5,\"level\":\"info\",\"text\":\"hi\"}\n";
    let log = Reply::new(200, line.repeat(10_000));
    assert_eq!(unread(log, &["logs", "hello", "-f"]), Some(0));
}

/// A broken pipe to the agent is none of the output's: it was taken for one, and the command for done.
#[test]
fn an_agent_that_hangs_up_is_no_success() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let event = folder.path().join("event");
    std::fs::write(&event, vec![b'x'; 16 << 20]).expect("written");
    let event = event.to_str().expect("UTF-8");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        while let Ok((connection, _)) = listener.accept() {
            drop(connection);
        }
    });
    for _ in 0..5 {
        let ended = jiffy(&url, &["invoke", "hello", "--event-file", event], None);
        assert_eq!(ended.code, 9, "{ended:?}");
        assert!(
            ended.stderr.contains("the connection to the agent"),
            "{ended:?}"
        );
    }
}
