//! What surrounds the agent: who may reach it, what it says of memory, and who started it.

mod agent_common;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use agent_common::{can_run, retry};
use jiffy_tests::{
    agent::{Setup, signal, within},
    jiffy, jiffyd_path,
};
use rustix::process::Signal;
use serde_json::{Value, json};

/// What happens in the background has happened by then, beside other load.
const SOON: Duration = Duration::from_secs(20);
const PAGE_BYTES: u64 = 4096;

/// A page of any site can have its name lead to 127.0.0.1, or send requests there openly.
#[test]
fn no_page_of_another_site_reaches_an_agent_without_a_token() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[("HOSTS", "[\"jiffy.internal\"]")]);
    let agent = setup.start();
    let lambda = "/2015-03-31/functions";
    for path in ["/v1/functions", lambda] {
        let status = |headers: &[(&str, &str)]| {
            let sent = agent.send("GET", path, headers, b"");
            sent.expect("an answer").status
        };
        assert_eq!(status(&[]), 200);
        assert_eq!(status(&[("host", "rebound.example:7070")]), 421);
        assert_eq!(status(&[("host", "jiffy.internal")]), 200);
        assert_eq!(status(&[("origin", "https://evil.example")]), 403);
        assert_eq!(status(&[("origin", "http://localhost:3000")]), 403);
        assert_eq!(status(&[("sec-fetch-site", "same-origin")]), 403);
    }
}

/// A Service of Kubernetes that is called `jiffyd` gives each container of its namespace variables that look like the agent's own.
#[test]
fn variables_of_a_service_of_our_name_are_warned_of() {
    if !can_run() {
        return;
    }
    let of_kubernetes = [
        ("PORT", "tcp://10.96.0.1:7070"),
        ("SERVICE_HOST", "10.96.0.1"),
        ("SERVICE_PORT", "7070"),
        ("PORT_7070_TCP", "tcp://10.96.0.1:7070"),
        ("PORT_7070_TCP_PROTO", "tcp"),
        ("PORT_7070_TCP_PORT", "7070"),
        ("PORT_7070_TCP_ADDR", "10.96.0.1"),
    ];
    let setup = Setup::new(&of_kubernetes);
    let agent = setup.start();
    agent.get("/v1/health").expect(200);
    let log = setup.log();
    let warned = log
        .lines()
        .filter(|line| line.contains("WARN") && line.contains("passed over"));
    let is_word = |byte: char| byte.is_ascii_alphanumeric() || byte == '_';
    let words = warned.flat_map(|line| line.split(|byte| !is_word(byte)));
    let named: Vec<_> = words.filter(|word| word.starts_with("JIFFYD_")).collect();
    for (name, _) in of_kubernetes {
        let count = named.iter().filter(|word| word[7..] == *name).count();
        assert_eq!(count, 1, "JIFFYD_{name}: {log}");
    }
}

/// SIGHUP: what can be taken over is, the rest is named, and a configuration that is wrong changes nothing.
#[test]
fn a_hangup_has_the_configuration_read_again() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (file, token) = (
        folder.path().join("jiffyd.toml"),
        folder.path().join("token"),
    );
    let write = |path: &Path, text: &str| {
        fs::write(path, text).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("closed");
    };
    let (one, other) = ("1".repeat(32), "2".repeat(32));
    let configure = |more: &str| write(&file, &format!("token_file = {token:?}\n{more}\n"));
    write(&token, &one);
    configure("");
    let setup = Setup::new(&[("CONFIG", file.to_str().expect("text"))]);
    let agent = setup.start();
    let status = |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer)];
        let answer = agent.send("GET", "/v1/functions", &headers, b"");
        answer.expect("an answer").status
    };
    assert_eq!((status(&one), status(&other)), (200, 401));
    let hang_up = |said: &str| {
        let before = setup.log().len();
        signal(agent.process_id(), Signal::HUP).expect("it lives");
        let line = within(SOON, || {
            let log = setup.log();
            let line = log[before..].lines().find(|line| line.contains(said));
            line.map(str::to_owned)
        });
        line.unwrap_or_else(|| panic!("no {said:?} in {}", setup.log()))
    };
    write(&token, &other);
    assert_eq!(
        (status(&one), status(&other)),
        (200, 401),
        "before the signal"
    );
    hang_up("reloaded");
    assert_eq!((status(&one), status(&other)), (401, 200));

    configure("[limits]\nbody_bytes_max = 10\n[pool]\nshells_min = 1");
    let line = hang_up("reloaded, but for what needs a restart");
    assert!(
        line.contains("pool.shells_min") && !line.contains("limits"),
        "{line}"
    );
    let bearer = format!("Bearer {other}");
    let large = [0; 11];
    let headers = [("authorization", &*bearer)];
    let answer = agent.send("POST", "/v1/functions/f/invoke", &headers, &large);
    assert_eq!(answer.expect("an answer").problem(), "too-large");

    write(&token, &one);
    configure("no such key = 1");
    let line = hang_up("the configuration stays as it was");
    assert!(line.contains("jiffyd.toml"), "{line}");
    assert_eq!((status(&one), status(&other)), (401, 200));
    assert!(agent.stop().success());
}

/// What the program that starts the agent left open is not the agent's, and so neither its spawner's nor its symbolizer's.
#[test]
fn the_agent_has_nothing_that_its_starter_left_open() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let secret = setup.data_dir().with_file_name("secret");
    fs::write(&secret, "secret").expect("a file");
    let agent = setup.start_with_open(&secret, 9);
    agent.get("/v1/health").expect(200);
    let folder = format!("/proc/{}/fd", agent.process_id());
    let open = fs::read_dir(folder).expect("an agent");
    let open = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let open: Vec<_> = open.collect();
    assert!(open.len() > 3 && !open.contains(&secret), "{open:?}");
}

/// In each isolation the record has what the VM wrote, and the line that a person reads is never zero.
#[test]
fn the_report_says_how_much_memory_was_used() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let image = agent.upload("teller");
    for isolation in ["fresh", "reuse"] {
        let settings = json!({ "isolation": isolation, "max_concurrency": 1 });
        agent.deploy(isolation, &image, settings).expect(201);
        (0..3).for_each(|_| drop(agent.invoke(isolation, "count").expect(200)));
        let reported = within(SOON, || {
            let path = format!("/v1/functions/{isolation}/logs");
            let log = agent.get(&path).expect(200).text();
            (log.matches("REPORT").count() == 3).then_some(log)
        });
        let log = reported.expect("three reports");
        assert_eq!(log.matches("Max Memory Used: 1 MB").count(), 3, "{log}");
        let usage = setup.data().join("usage/0000000000000001.jsonl");
        let records = fs::read_to_string(usage).expect("records");
        let touched: Vec<u64> = records
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .filter(|record| record["function"] == isolation)
            .filter_map(|record| record["memory_touched_bytes"].as_u64())
            .collect();
        let is_sane = |bytes: &u64| (4 * PAGE_BYTES..1 << 20).contains(bytes);
        assert!(
            touched.len() == 3 && touched.iter().all(is_sane),
            "{touched:?}"
        );
    }
}

/// In the log for whoever deployed it, and in the problem for whoever invoked it; a site's visitors see none of it.
#[test]
fn a_function_that_breaks_says_where() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let settings = json!({ "timeout_ms": 2000, "memory_bytes": 32 << 20 });
    agent
        .deploy("faults", &agent.upload("faults"), settings)
        .expect(201);
    let ask = |path: &str, kind: &str| {
        let event = json!({ "kind": kind }).to_string();
        let answer = agent.call("POST", path, event.as_bytes());
        assert_eq!(answer.header("jiffy-error"), Some(&*answer.problem()));
        answer
    };
    for kind in ["panic", "null-read", "stack-overflow", "spin", "oom"] {
        let began = Instant::now();
        let problem = ask("/v1/functions/faults/invoke", kind).json();
        let frames = problem["backtrace"].as_array().expect("a backtrace");
        let is_ours = |frame: &Value| {
            let text = |field: &str| frame[field].as_str().unwrap_or_default().to_owned();
            text("function").contains("faults::")
                && text("file").starts_with("src/")
                && frame["line"].is_u64()
        };
        assert!(frames.iter().any(is_ours), "{kind}: {problem}");
        println!(
            "{kind}: {} frames after {:?}",
            frames.len(),
            began.elapsed()
        );
    }
    let began = Instant::now();
    ask("/v1/functions/faults/invoke", "panic");
    println!("known: {:?}", began.elapsed());
    let visited = ask("/fn/faults/", "panic").json();
    assert_eq!(visited["backtrace"], Value::Null);
    let log = within(SOON, || {
        let log = agent.get("/v1/functions/faults/logs").expect(200).text();
        (log.matches("REPORT").count() == 7).then_some(log)
    });
    let log = log.expect("a log of all");
    assert!(
        log.contains("\\n  at faults::") && log.contains(" (src/"),
        "{log}"
    );
    // Debug information of a stranger may be anything, and an address is an address then.
    let mut damaged = fs::read(jiffy_tests::image("faults")).expect("an image");
    let debug_info = damaged.len() / 3..damaged.len() / 3 * 2;
    damaged[debug_info]
        .iter_mut()
        .for_each(|byte| *byte ^= 0x55);
    let uploaded = agent
        .call("POST", "/v1/images", &damaged)
        .expect(201)
        .json();
    let digest = uploaded["digest"].as_str().expect("a digest");
    agent.deploy("damaged", digest, json!({})).expect(201);
    let problem = ask("/v1/functions/damaged/invoke", "panic").json();
    let frames = problem["backtrace"].as_array().expect("a backtrace");
    assert!(!frames.is_empty() && frames.iter().all(|frame| frame["address"].is_u64()));
    agent.get("/v1/health").expect(200);
}

/// `jiffy dev` has no chance to stop its agent when it is killed; the agent notices by itself.
#[test]
fn an_agent_ends_with_the_jiffy_dev_that_started_it() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    // What is in it does not matter: the agent runs before anything is built.
    let function = tempfile::tempdir().expect("a temporary folder");
    fs::write(function.path().join("Cargo.toml"), "[package]\n").expect("a manifest");
    let address = free_address();
    let mut dev = jiffy()
        .arg("dev")
        .arg(function.path())
        .args(["--ephemeral", "--listen", &address.to_string()])
        .env("JIFFYD", jiffyd_path())
        .env("JIFFY_VMM", setup.vmm())
        .env("TMPDIR", setup.vmm().parent().expect("a folder"))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("jiffy");
    let mut said = BufReader::new(dev.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("waiting for a change") {
        line.clear();
        let read = said.read_line(&mut line).expect("a line");
        assert!(read > 0, "jiffy dev ended");
    }
    assert!(TcpStream::connect(address).is_ok());
    assert!(!setup.traces().is_empty());
    signal(dev.id(), Signal::KILL).expect("it lives");
    dev.wait().expect("a child");
    assert!(retry(SOON, || TcpStream::connect(address).is_err()));
    assert!(
        retry(SOON, || setup.traces().is_empty()),
        "{:?}",
        setup.traces()
    );
    // Its agent had the other end of this pipe, too.
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("text");
    assert!(!rest.contains("panicked"), "{rest}");
}

#[test]
fn the_end_of_input_is_a_graceful_stop() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let mut command = setup.command();
    command.arg("--stop-at-end-of-input").stdin(Stdio::piped());
    let mut process = command.spawn().expect("jiffyd");
    let log = within(SOON, || {
        let log = setup.log();
        log.contains("listening").then_some(log)
    });
    assert!(process.try_wait().expect("a child").is_none(), "{log:?}");
    drop(process.stdin.take());
    let status = within(SOON, || process.try_wait().expect("a child"));
    assert!(
        status.is_some_and(|status| status.success()),
        "{}",
        setup.log()
    );
    assert!(setup.log().contains("stopped"), "{}", setup.log());
    assert!(retry(SOON, || setup.traces().is_empty()));
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// A handler that returns a value says that it is JSON; in its numbers no digit changes on the way.
#[test]
fn values_are_json_and_keep_every_digit() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    for name in ["probe", "teller"] {
        agent
            .deploy(name, &agent.upload(name), json!({}))
            .expect(201);
    }
    let mut state = 7_u64;
    // Knuth's generator, as in MMIX.
    let bits = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        state
    });
    let numbers = bits.map(f64::from_bits).filter(|number| number.is_finite());
    let numbers: Vec<f64> = numbers
        .take(20_000)
        .chain([117.633_311_394_000_17])
        .collect();
    // Both as text: a parser here would make up for one there.
    let event = json!({ "doubles": numbers }).to_string();
    let answer = agent.invoke("probe", &event).expect(200);
    assert_eq!(answer.text(), event);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let answer = agent.invoke("teller", "count").expect(200);
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some("application/octet-stream"));
}
