//! What a guest says never steers a terminal and never looks like what somebody else says, wherever it is shown.

mod agent_common;

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use agent_common::{can_run, retry};
use jiffy_control::is_deceptive;
use jiffy_tests::{agent::Setup, image, jiffy, require_kvm, vmm_path};
use serde_json::{Value, json};

/// Everything that was ever tried on a terminal, and lines that want to be records.
const EVIL: &str = "A\u{1b}[2J\u{1b}]0;pwned\u{7}\u{1b}]52;c;cHduZWQ=\u{7} B\u{9b}31m C\r\n1970-01-01T00:00:00.001Z forged\n\
    REPORT RequestId: forged\n[info] forged D \u{1b}[8m hidden E\u{202e} gnp.exe F\u{2028}REPORT G\u{2066}H\u{feff}I\u{7f}J\u{200b}K\u{ad}L\u{85}M";
/// What happens in the background has happened by then, beside other load.
const SOON: Duration = Duration::from_secs(20);

/// All that a program prints, checked.
fn shown(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let text = String::from_utf8([output.stdout, b"\n".to_vec(), output.stderr].concat());
    let text = text.expect("text");
    is_harmless(&text);
    text
}

/// That nothing in it steers a terminal.
fn steers_nothing(text: &str) {
    let is_bad = |character: char| is_deceptive(character) && !matches!(character, '\n' | '\t');
    let bad = text.chars().find(|character| is_bad(*character));
    assert_eq!(bad, None, "{text}");
}

/// Nor passes for a record of somebody else's.
fn is_harmless(text: &str) {
    steers_nothing(text);
    for line in text.lines() {
        let begins = ["1970", "REPORT RequestId: forged", "[info] forged"];
        assert!(
            !begins.iter().any(|begin| line.starts_with(begin)),
            "{text}"
        );
    }
}

#[test]
fn runs_show_what_guests_say_and_obey_none_of_it() {
    if !require_kvm() {
        return;
    }
    let image = image("talker");
    for what in ["log", "fail", "panic"] {
        let event = format!("{what} {EVIL}");
        let run = shown(jiffy().arg("run").arg(&image).args(["--event", &event]));
        let direct = shown(
            Command::new(vmm_path())
                .arg(&image)
                .args(["--event", &event]),
        );
        for text in [run, direct] {
            assert!(
                text.contains("\\u{1b}[2J") && text.contains("gnp.exe"),
                "{what}: {text}"
            );
        }
    }
    // Data stays as it is.
    let event = format!("fail {EVIL}");
    let run = jiffy()
        .args(["run", "-o", "json"])
        .arg(&image)
        .args(["--event", &event])
        .output();
    let run: Value = serde_json::from_slice(&run.expect("it starts").stdout).expect("JSON");
    assert_eq!(run["error"]["message"], EVIL);
}

#[test]
fn an_agent_s_logs_and_problems_are_shown_and_not_obeyed() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let image = agent.upload("talker");
    agent.deploy("f", &image, json!({})).expect(201);
    let client = |arguments: &[&str]| shown(jiffy().args(arguments).args(["--agent", agent.url()]));
    for (what, status) in [("log", 200), ("fail", 500), ("panic", 500)] {
        agent.invoke("f", format!("{what} {EVIL}")).expect(status);
        let said = client(&["invoke", "f", "--event", &format!("{what} {EVIL}")]);
        assert!(
            what == "log" || said.contains("\\u{1b}[2J"),
            "{what}: {said}"
        );
    }
    let is_there = || client(&["logs", "f"]).matches("gnp.exe").count() >= 6;
    assert!(retry(SOON, is_there), "{}", client(&["logs", "f"]));
    // Data stays as it is.
    let log = agent.get("/v1/functions/f/logs").expect(200).text();
    let mut lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    assert!(lines.any(|line| line["text"] == EVIL), "{log}");
    // Every failure has its sentence in the log.
    assert!(log.contains("panicked: A"), "{log}");

    let path = "/2015-03-31/functions/f/invocations";
    // Lambda's API takes JSON only, in which the guest is no expert.
    let digits: String = EVIL.bytes().map(|byte| format!("{byte:02x}")).collect();
    let event = format!("\"hex {digits}\"");
    let headers = [("x-amz-log-type", "Tail")];
    let answer = agent
        .send("POST", path, &headers, event.as_bytes())
        .expect("an answer");
    let tail = answer
        .header("x-amz-log-result")
        .expect("a tail")
        .to_owned();
    let tail = base64(&tail);
    is_harmless(&tail);
    let reports = tail
        .lines()
        .filter(|line| line.starts_with("REPORT "))
        .count();
    assert_eq!(reports, 1, "{tail}");

    let refused = json!({ "environment": { "INIT": "3" } });
    let refused = agent.deploy("g", &image, refused);
    assert!(refused.status >= 400, "{}", refused.text());
    is_harmless(&setup.log());
}

/// `REPORT` and `CALL` are the platform's: a record of a function's that reads so is told apart, as data and on a terminal.
#[test]
fn a_record_that_reads_as_the_platforms_is_told_apart() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    agent
        .deploy("f", &agent.upload("talker"), json!({}))
        .expect(201);
    let forged = [
        "REPORT RequestId: 0\tDuration: 1.000 ms",
        "CALL kv.get cart\tDuration: 0.100 ms\tOutcome: ok",
        "= REPORT RequestId: 0",
        "\u{8}\u{8}= REPORT RequestId: 0",
    ];
    for text in forged {
        agent.invoke("f", format!("log {text}")).expect(200);
    }
    let logs = |arguments: &[&str]| {
        let mut logs = jiffy();
        logs.args(["logs", "f", "--agent", agent.url()]);
        String::from_utf8(logs.args(arguments).output().expect("it starts").stdout).expect("text")
    };
    let data = || -> Vec<Value> {
        let text = logs(&["-o", "json"]);
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("JSON")
    };
    let of_platform = |lines: &[Value]| {
        lines
            .iter()
            .filter(|line| line["source"] == "platform")
            .count()
    };
    assert!(
        retry(SOON, || of_platform(&data()) == forged.len()),
        "{:?}",
        data()
    );
    let (data, text) = (data(), logs(&[]));
    let shown: Vec<_> = text.lines().filter(|line| line.starts_with("20")).collect();
    assert_eq!(data.len(), shown.len(), "{text}");
    for (line, shown) in data.iter().zip(shown) {
        let said = line["text"].as_str().expect("text");
        let is_forged = forged.contains(&said);
        assert_eq!(line["source"] == "function", is_forged, "{line}");
        // Behind time, request and level.
        let mark = &shown[24 + 1 + 8 + 1 + 5 + 1..][..2];
        assert_eq!(mark == "= ", !is_forged, "{shown}");
        assert!(
            is_forged || said.starts_with("REPORT RequestId: "),
            "{said}"
        );
    }
}

/// What `command` prints on a terminal of its own.
fn on_a_terminal(command: &Command) -> String {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words: Vec<_> = words
        .map(|word| format!("'{}'", word.to_str().expect("text")))
        .collect();
    let mut script = Command::new("script");
    script.args(["-qec", &words.join(" "), "/dev/null"]);
    for (name, value) in command.get_envs() {
        script.env(name, value.expect("a value"));
    }
    let output = script.stdin(Stdio::null()).output();
    let output = output.expect("script, of Debian's bsdutils");
    let text = String::from_utf8(output.stdout).expect("text");
    text.replace("\r\n", "\n")
}

/// A body is data, but on a terminal it is text of a stranger, which stands alone and has lines; all that is said about a request is as ever.
#[test]
fn what_a_terminal_shows_is_spelled_out_and_what_a_pipe_gets_is_not() {
    if !require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let event = |what: &str| {
        let path = folder.path().join(what.trim().replace('/', "-"));
        std::fs::write(&path, format!("{what}{EVIL}")).expect("a file");
        path
    };
    let run = |function: &str, what: &str| {
        let image = image(function);
        let mut run = jiffy();
        run.arg("run")
            .arg(&image)
            .arg("--event-file")
            .arg(event(what));
        let mut direct = Command::new(vmm_path());
        direct.arg(&image).arg("--event-file").arg(event(what));
        [run, direct]
    };
    for mut command in run("echo", "body") {
        let shown = on_a_terminal(&command);
        steers_nothing(&shown);
        assert!(
            shown.contains("bodyA\\u{1b}[2J") && shown.contains("gnp.exe"),
            "{shown}"
        );
        let piped = command.output().expect("it starts").stdout;
        assert_eq!(
            String::from_utf8(piped).as_deref(),
            Ok(&*format!("body{EVIL}"))
        );
    }
    for what in ["log ", "fail ", "panic "] {
        for command in run("talker", what) {
            let shown = on_a_terminal(&command);
            is_harmless(&shown);
            assert!(shown.contains("\\u{1b}[2J"), "{what}: {shown}");
        }
    }
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let checks = [
        ("echo", "body", steers_nothing as fn(&str)),
        ("talker", "fail ", is_harmless),
    ];
    for (function, what, check) in checks {
        agent
            .deploy(function, &agent.upload(function), json!({}))
            .expect(201);
        let mut invoke = jiffy();
        invoke.args(["invoke", function, "--agent", agent.url(), "--event-file"]);
        invoke.arg(event(what));
        let shown = on_a_terminal(&invoke);
        check(&shown);
        assert!(shown.contains("\\u{1b}[2J"), "{what}: {shown}");
    }
}

/// Decodes it; a tail is short.
fn base64(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text
        .bytes()
        .filter_map(|byte| ALPHABET.iter().position(|digit| *digit == byte));
    let digits: Vec<u32> = digits
        .map(|digit| u32::try_from(digit).expect("below 64"))
        .collect();
    let bytes = digits.chunks(4).flat_map(|chunk| {
        let word = chunk.iter().fold(0, |word, digit| word << 6 | digit) << (6 * (4 - chunk.len()));
        word.to_be_bytes()[1..chunk.len()].to_vec()
    });
    String::from_utf8(bytes.collect()).expect("text")
}
