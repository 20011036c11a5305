//! Functions that ask Postgres, end to end: by an agent and by `jiffy run`. What each type and each error comes to:
//! `host-agent/capabilities/src/sql/tests.rs`.

mod agent_common;
mod servers;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

use agent_common::{can_run, retry};
use jiffy_tests::{
    CrateFolder,
    agent::{Agent, Client, Setup},
    jiffy, skip, workspace_root,
};
use serde_json::{Value, json};
use servers::{
    fault_proxy::{End, Fault, FaultProxy, MARK},
    free_ports,
    haproxy::Haproxy,
    postgres::Postgres,
};

/// Where a name of its own leads to loopback on every host.
const LOCALHOST: &str = r#"["localhost"]"#;
/// What happens behind a response is done by then, beside other load.
const SOON: Duration = Duration::from_secs(20);

fn start() -> Option<Postgres> {
    if !can_run() {
        return None;
    }
    match Postgres::start() {
        Ok(postgres) => Some(postgres),
        Err(why) => {
            skip(&format!("SQL with Postgres: {why}"));
            None
        }
    }
}

fn set_url(agent: &Client, url: &str) {
    let set = agent.call("PUT", "/v1/secrets/orders_url", url.as_bytes());
    assert!(matches!(set.status, 200 | 201), "{}", set.text());
}

/// An agent with the function `clerk`.
fn deploy(setup: &Setup, url: &str, more: &Value) -> Agent {
    let agent = setup.start();
    set_url(&agent, url);
    let image = agent.upload("clerk");
    let mut settings = json!({ "grants": { "sql": { "orders": { "url_secret": "orders_url" } } } });
    for (name, value) in more.as_object().expect("settings") {
        settings[name] = value.clone();
    }
    agent.deploy("clerk", &image, settings).expect(201);
    agent
}

fn event(how: &str, statements: &[(&str, Value)]) -> Value {
    let statements: Vec<_> = statements
        .iter()
        .map(|(sql, parameters)| json!({ "sql": sql, "parameters": parameters }))
        .collect();
    json!({ "database": "orders", "how": how, "statements": statements })
}

#[track_caller]
fn ask(agent: &Client, how: &str, statements: &[(&str, Value)]) -> Vec<Value> {
    let event = event(how, statements).to_string();
    let answer = agent.invoke("clerk", event).expect(200).json();
    answer.as_array().expect("a list").clone()
}

#[track_caller]
fn check_error(got: &Value, error: &str, word: &str) {
    let message = got["message"].as_str().expect("a text");
    assert_eq!(got["error"], error, "{message}");
    assert!(message.contains(word), "{message}");
    for secret in ["canary", "ada", "localhost"] {
        assert!(!message.contains(secret), "{message}");
    }
}

fn none() -> Value {
    json!([])
}

/// Statements by themselves, at once, and in transactions; connections are kept, and what is asked at once is made at once.
#[test]
fn functions_of_an_agent_ask_postgres() {
    let Some(postgres) = start() else { return };
    let ca_file = postgres.ca_file();
    let setup = Setup::new(&[
        ("EGRESS__PRIVATE", LOCALHOST),
        ("EGRESS__CA_FILE", &ca_file.to_string_lossy()),
        ("LOG", "debug"),
    ]);
    let page = page();
    let more = json!({ "grants": {
        "sql": { "orders": { "url_secret": "orders_url" } }, "network": { "allow": [page] },
    } });
    let agent = deploy(&setup, &postgres.url("sslmode=require"), &more);
    postgres
        .sql("create table t (id int primary key, name text, made timestamptz, prices numeric[])");
    let insert = "insert into t values ($1, $2, $3, $4)";
    let got = ask(
        &agent,
        "each",
        &[
            (
                insert,
                json!([1, "ä", "2026-02-03T04:05:06.7Z", [1.5, null]]),
            ),
            (insert, json!([2, null, null, null])),
            (insert, json!([1, "again", null, null])),
            ("select * from t order by id", none()),
            (
                "select ssl from pg_stat_ssl where pid = pg_backend_pid()",
                none(),
            ),
        ],
    );
    check_error(&got[2], "Conflict Yes", "SQLSTATE 23505");
    let rows = json!([
        { "id": 1, "name": "ä", "made": "2026-02-03T04:05:06.700Z", "prices": ["1.5", null] },
        { "id": 2, "name": null, "made": null, "prices": null },
    ]);
    assert_eq!(got[3]["rows"], rows);
    assert_eq!(got[4]["rows"], json!([{ "ssl": true }]));
    // At once, with a page of another server.
    let sleep = ("select pg_sleep(1)::text as slept", none());
    let mut joined = event("joined", &[sleep.clone(), sleep.clone(), sleep]);
    joined["url"] = json!(format!("{page}/"));
    let began = std::time::Instant::now();
    let got = agent.invoke("clerk", joined.to_string()).expect(200).json();
    assert_eq!(
        (&got[2]["rows"][0]["slept"], &got[3]["status"]),
        (&json!(""), &json!(204)),
        "{got}"
    );
    let took = began.elapsed();
    assert!(
        took < Duration::from_millis(2500),
        "one behind the other: {took:?}"
    );
    // Transactions.
    let count = || postgres.sql("select count(*) from t");
    ask(&agent, "commit", &[(insert, json!([3, "c", null, null]))]);
    assert_eq!(count(), "3");
    ask(
        &agent,
        "roll_back",
        &[(insert, json!([4, "d", null, null]))],
    );
    assert_eq!(count(), "3");
    // The function dies in the middle of one: its database rolls back, and the next request sees nothing of it.
    let left = event("leave", &[(insert, json!([5, "e", null, null]))]).to_string();
    agent.invoke("clerk", left).expect(500);
    let open = "select count(*) from pg_stat_activity where state like 'idle in transaction%'";
    assert!(retry(SOON, || postgres.sql(open) == "0"));
    let got = ask(&agent, "each", &[(insert, json!([5, "f", null, null]))]);
    assert_eq!(got[0]["error"], "", "{got:?}");
    // 64 requests over 16 connections.
    let askers: Vec<_> = (0..64)
        .map(|_| {
            let agent = agent.clone();
            thread::spawn(move || {
                let sql = "select pg_backend_pid() as pid, pg_sleep(0.02)::text as slept";
                ask(&agent, "each", &[(sql, json!([]))])[0]["rows"][0]["pid"].clone()
            })
        })
        .collect();
    let pids = askers
        .into_iter()
        .map(|asker| asker.join().expect("asked").to_string());
    let pids: std::collections::BTreeSet<_> = pids.collect();
    assert!(
        (1..=16).contains(&pids.len()) && !pids.contains("null"),
        "{pids:?}"
    );
    // What the URL says is in no log.
    let log = setup.log();
    assert!(
        !log.contains("canary") && !log.contains("postgres://"),
        "{log}"
    );
    agent.stop();
}

/// Answers each request that nothing is there.
fn page() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
        }
    });
    format!("http://localhost:{port}")
}

/// What goes wrong ends in the database, too, is told without the URL, and is over when its cause is.
#[test]
fn what_goes_wrong_is_told_and_is_over() {
    let Some(mut postgres) = start() else { return };
    let setup = Setup::new(&[("EGRESS__PRIVATE", LOCALHOST)]);
    let url = postgres.url("sslmode=disable");
    let agent = deploy(&setup, &url, &json!({ "timeout_ms": 1500 }));
    let one = [("select 1 as a", none())];
    assert_eq!(ask(&agent, "each", &one)[0]["rows"], json!([{ "a": 1 }]));
    // One that outlives its request.
    let slow = event("each", &[("select pg_sleep(60)::text as s", none())]);
    agent.invoke("clerk", slow.to_string()).expect(504);
    let sleeping = "select count(*) from pg_stat_activity where query like 'select pg_sleep(60)%' and state = 'active'";
    assert!(retry(SOON, || postgres.sql(sleeping) == "0"));
    let slow = event("commit", &[("select pg_sleep(60)::text as s", none())]);
    agent.invoke("clerk", slow.to_string()).expect(504);
    assert!(retry(SOON, || postgres.sql(sleeping) == "0"));
    // One that outlives its own time.
    let mut slow = event(
        "each",
        &[("select pg_sleep(60)::text as s", none()), one[0].clone()],
    );
    slow["timeout_ms"] = json!(200);
    let got = agent.invoke("clerk", slow.to_string()).expect(200).json();
    check_error(&got[0], "Timeout Maybe", "took longer");
    assert_eq!(got[1]["rows"], json!([{ "a": 1 }]), "{got}");
    // The server ends and comes back.
    postgres.pause();
    check_error(
        &ask(&agent, "each", &one)[0],
        "Failed No",
        "cannot connect to the database",
    );
    postgres.resume();
    assert_eq!(ask(&agent, "each", &one)[0]["rows"], json!([{ "a": 1 }]));
    // Other secrets: noticed when a connection is made, and within 10 s in any case.
    let refused = |url: &str, error: &str, word: &str| {
        set_url(&agent, url);
        let is_refused = || {
            ask(&agent, "each", &one)[0]["message"]
                .as_str()
                .is_some_and(|it| it.contains(word))
        };
        assert!(retry(SOON, is_refused), "{word}");
        check_error(&ask(&agent, "each", &one)[0], error, word);
    };
    refused(
        &url.replace("canary", "canbry"),
        "Failed No",
        "SQLSTATE 28P01",
    );
    refused(
        "postgres://ada:canary@10.0.0.1/x",
        "Denied No",
        "an address that is private",
    );
    refused(
        "postgres://ada:canary@localhost/x?hostaddr=1.1.1.1",
        "Failed No",
        "may not have hostaddr",
    );
    refused(
        &postgres.url("sslmode=require"),
        "Failed No",
        "an authority that is not known",
    );
    set_url(&agent, &url);
    assert!(retry(SOON, || ask(&agent, "each", &one)[0]["error"] == ""));
    let mut other = event("each", &one);
    other["database"] = json!("others");
    let got = agent.invoke("clerk", other.to_string()).expect(200).json();
    check_error(&got[0], "Denied No", "jiffy.toml names");
    agent.call("DELETE", "/v1/secrets/orders_url", b"");
    assert!(retry(SOON, || ask(&agent, "each", &one)[0]["error"]
        == "Failed No"));
    agent.stop();
    // An operator says nothing of loopback.
    let setup = Setup::new(&[]);
    let agent = deploy(&setup, &url, &json!({}));
    check_error(&ask(&agent, "each", &one)[0], "Denied No", "loopback");
    agent.stop();
}

/// Each fault between host and database is an error that says whether the statement was sent, and no row reaches another call.
#[test]
fn every_fault_on_the_way_has_its_error() {
    let Some(postgres) = start() else { return };
    postgres.sql("create table t (name text)");
    let proxy = FaultProxy::start(postgres.port());
    let setup = Setup::new(&[("EGRESS__PRIVATE", LOCALHOST)]);
    let url = postgres.url_by(proxy.port(), "sslmode=disable");
    let agent = deploy(&setup, &url, &json!({ "timeout_ms": 30_000 }));
    let joined = |function: &str, statements: &[(&str, Value)]| {
        let mut event = event("joined", statements);
        event["timeout_ms"] = json!(3000);
        let answer = agent.invoke(function, event.to_string()).expect(200).json();
        answer.as_array().expect("a list").clone()
    };
    let told = "select $1::text as told";
    let own = ["a", "b", "c"].map(|name| (told, json!([name])));
    // What other calls get, beside it and behind it.
    let check_own = |got: &[Value]| {
        for (got, (_, parameters)) in got.iter().zip(&own) {
            assert_eq!(got["rows"], json!([{ "told": parameters[0] }]), "{got}");
        }
    };
    let timeout = Some(("Timeout Maybe", "took longer"));
    let ended = Some(("Failed Maybe", "the connection to the database has ended"));
    let too_much = Some(("Limit Maybe", ""));
    let late = Duration::from_secs(6);
    let runs = [
        (Fault::None, false, None),
        (Fault::Delay(Duration::from_millis(300)), false, None),
        (Fault::SlowBytes(Duration::from_millis(1)), false, None),
        (Fault::Delay(late), true, timeout),
        (Fault::SlowBytes(Duration::from_millis(500)), true, timeout),
        (Fault::Never, true, timeout),
        (Fault::Reset, true, ended),
        (Fault::Changed(|_| vec![], End::Closed), true, ended),
        (
            Fault::Changed(|it| it[..9].into(), End::Closed),
            true,
            ended,
        ),
        (Fault::Changed(|it| it[..9].into(), End::Reset), true, ended),
        // The row says that it is longer than it is.
        (Fault::Changed(|it| said(it, 500), End::Closed), true, ended),
        (
            Fault::Changed(|it| said(it, 500), End::GoesOn),
            true,
            timeout,
        ),
        (
            Fault::Changed(|it| said(it, 1 << 30), End::GoesOn),
            true,
            too_much,
        ),
        (
            Fault::Changed(|it| said(it, u32::MAX), End::GoesOn),
            true,
            too_much,
        ),
        // Shorter.
        (
            Fault::Changed(|it| said(it, 12), End::GoesOn),
            true,
            too_much,
        ),
        (Fault::Changed(|it| said(it, 1), End::GoesOn), true, ended),
        // Its value says so, and there are other values than it says.
        (
            Fault::Changed(|it| put(it, 12, &[0x7f, 0xff, 0xff, 0xff]), End::GoesOn),
            true,
            ended,
        ),
        (
            Fault::Changed(|it| put(it, 10, &[0, 9]), End::GoesOn),
            true,
            ended,
        ),
        (
            Fault::Changed(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".into(), End::GoesOn),
            true,
            too_much,
        ),
        // As if it were the answer to the next statement: the host asks on it itself, to put it in order, and finds out.
        (Fault::Changed(|it| it.repeat(2), End::GoesOn), false, None),
        (
            Fault::Endless(b"2\0\0\0\x04", ROW),
            true,
            Some(("Limit Yes", "rows")),
        ),
        (Fault::Endless(NOTICE, NOTICE), true, too_much),
    ];
    for (fault, leaves_doubt, error) in runs {
        println!("{fault:?}");
        proxy.set(fault, leaves_doubt);
        let struck = proxy.struck();
        let marked = (told, json!([MARK]));
        let mut got = joined("clerk", &[&own[..], &[marked]].concat());
        let of_marked = got.pop().expect("the last");
        match error {
            Some((error, word)) => check_error(&of_marked, error, word),
            None => assert_eq!(of_marked["rows"], json!([{ "told": MARK }]), "{fault:?}"),
        }
        check_own(&got);
        // It went once.
        assert_eq!(proxy.struck() - struck, 1, "{fault:?}");
        check_own(&joined("clerk", &own));
        assert_eq!(proxy.used_in_doubt(), 0, "{fault:?}");
    }
    // While a statement is prepared it does not run: it can be tried again.
    let prepared = format!("select '{MARK}' as told");
    for (fault, error, word) in [
        (Fault::Reset, "Failed No", "has ended"),
        (
            Fault::Changed(|it| it[..3].into(), End::Closed),
            "Failed No",
            "has ended",
        ),
        (Fault::Endless(NOTICE, NOTICE), "Limit No", ""),
        (Fault::Delay(late), "Timeout Maybe", "took longer"),
    ] {
        proxy.set(fault, true);
        let got = joined("clerk", &[(&prepared, none())]);
        check_error(&got[0], error, word);
        check_own(&joined("clerk", &own));
        assert_eq!(proxy.used_in_doubt(), 0, "{fault:?}");
    }
    // A transaction in which one is lost is not committed.
    proxy.set(Fault::Reset, true);
    let insert = "insert into t values ($1)";
    let lost = event(
        "commit",
        &[(insert, json!(["first"])), (insert, json!([MARK]))],
    );
    agent.invoke("clerk", lost.to_string()).expect(500);
    assert_eq!(postgres.sql("select count(*) from t"), "0");
    // All that wait are closed, as by what stands before a database.
    for _ in 0..3 {
        proxy.close_all();
        thread::sleep(Duration::from_millis(100));
        check_own(&joined("clerk", &own));
    }
    // Before a connection stands, nothing was sent.
    let strange = format!("{url}&application_name={MARK}");
    let set = agent.call("PUT", "/v1/secrets/strange_url", strange.as_bytes());
    set.expect(201);
    let image = agent.upload("clerk");
    let grants = json!({ "sql": { "orders": { "url_secret": "strange_url" } } });
    let settings = json!({ "grants": grants, "timeout_ms": 30_000 });
    agent.deploy("strange", &image, settings).expect(201);
    for fault in [
        Fault::Reset,
        Fault::Changed(|_| vec![], End::Closed),
        Fault::Changed(|it| it[..3].into(), End::Reset),
        Fault::Changed(|it| put(it, 1, &[0x7f, 0xff, 0xff, 0xff]), End::GoesOn),
        Fault::Endless(NOTICE, NOTICE),
    ] {
        proxy.set(fault, true);
        let got = joined("strange", &own[..1]);
        check_error(&got[0], "Failed No", "cannot connect to the database");
    }
    proxy.set(Fault::Never, true);
    check_error(
        &joined("strange", &own[..1])[0],
        "Timeout Maybe",
        "took longer",
    );
    proxy.set(Fault::None, false);
    check_own(&joined("strange", &own));
    assert_eq!(proxy.used_in_doubt(), 0);
    agent.stop();
}

/// A row of one value, `x`.
const ROW: &[u8] = b"D\0\0\0\x0b\0\x01\0\0\0\x01x";
/// Says nothing of anything.
const NOTICE: &[u8] = b"N\0\0\0\x17SNOTICE\0C00000\0Mx\0\0";

/// An answer of `BindComplete`, a row and more, whose row says another length.
fn said(answer: &[u8], length: u32) -> Vec<u8> {
    assert_eq!((answer[0], answer[5]), (b'2', b'D'), "{answer:?}");
    put(answer, 6, &length.to_be_bytes())
}

fn put(answer: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut answer = answer.to_vec();
    answer[at..at + bytes.len()].copy_from_slice(bytes);
    answer
}

/// What stands before many databases: it closes what is not used and what takes long, has none behind it for a while, and is replaced.
#[test]
fn functions_ask_postgres_behind_haproxy() {
    let Some(mut postgres) = start() else { return };
    let [port] = free_ports();
    let idle = Duration::from_secs(1);
    let sections = format!(
        "    mode tcp
    timeout client {0}ms
    timeout server {0}ms
listen orders
    bind 127.0.0.1:{port}
    server postgres 127.0.0.1:{1}
",
        idle.as_millis(),
        postgres.port(),
    );
    let Some(mut haproxy) = Haproxy::start(&sections, "SQL through haproxy") else {
        return;
    };
    let ca_file = postgres.ca_file();
    let setup = Setup::new(&[
        ("EGRESS__PRIVATE", LOCALHOST),
        ("EGRESS__CA_FILE", &ca_file.to_string_lossy()),
    ]);
    let agent = deploy(
        &setup,
        &postgres.url_by(port, "sslmode=require"),
        &json!({}),
    );
    let told = |text: &str| {
        let got = ask(
            &agent,
            "each",
            &[("select $1::text as told", json!([text]))],
        );
        assert_eq!(got[0]["rows"], json!([{ "told": text }]), "{got:?}");
    };
    told("first");
    // Closed by it: what finds one so has another, and tells nobody.
    for _ in 0..3 {
        thread::sleep(idle * 2);
        told("closed");
    }
    // In the middle of a statement.
    let got = ask(&agent, "each", &[("select pg_sleep(30)::text", none())]);
    check_error(&got[0], "Failed Maybe", "has ended");
    told("cut");
    // Replaced while it is asked.
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for asker in 0..4 {
            let (is_over, told) = (&is_over, &told);
            scope.spawn(move || {
                while !is_over.load(SeqCst) {
                    told(&format!("asker {asker}"));
                }
            });
        }
        for _ in 0..4 {
            thread::sleep(Duration::from_millis(500));
            haproxy.reload();
        }
        is_over.store(true, SeqCst);
    });
    assert!(retry(SOON, || haproxy.running() == 1), "the old ones stay");
    // No database behind it.
    postgres.pause();
    thread::sleep(idle * 2);
    let got = ask(&agent, "each", &[("select 1 as a", none())]);
    check_error(&got[0], "Failed No", "cannot connect to the database");
    postgres.resume();
    told("resumed");
    agent.stop();
}

/// `jiffy run` reads the same manifest, and has no runtime of its own.
#[test]
fn a_run_asks_postgres_too() {
    let Some(postgres) = start() else { return };
    postgres.sql("create table t (a int)");
    let folder = CrateFolder::new("clerk");
    function(folder.path());
    let secret = folder.path().join("url");
    fs::write(&secret, postgres.url("sslmode=disable")).expect("written");
    let run = |how: &str, arguments: &[&str]| {
        let event = event(
            how,
            &[("insert into t values ($1) returning a", json!([7]))],
        );
        let mut command = jiffy();
        command
            .arg("run")
            .arg(folder.path())
            .args(["--event", &event.to_string()]);
        command.args(["--secret", &format!("orders_url={}", secret.display())]);
        command.args(arguments).env_remove("CARGO_TARGET_DIR");
        command.output().expect("jiffy")
    };
    let allowed = ["--egress-private", "localhost", "--requests", "3"];
    for how in ["each", "joined", "commit", "roll_back"] {
        let output = run(how, &allowed);
        assert!(output.status.success(), "{output:?}");
        let got: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(got[0]["rows"], json!([{ "a": 7 }]), "{output:?}");
    }
    assert!(!run("leave", &allowed).status.success());
    assert_eq!(postgres.sql("select count(*) from t"), "9");
    let output = run("each", &[]);
    let got: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    check_error(&got[0], "Denied No", "loopback");
}

/// `clerk`, with a manifest that grants it a database.
fn function(folder: &Path) {
    let root = workspace_root();
    fs::create_dir(folder.join("src")).expect("a folder");
    fs::copy(
        root.join("tests/guests/clerk/src/lib.rs"),
        folder.join("src/lib.rs"),
    )
    .expect("a copy");
    let cargo =
        fs::read_to_string(root.join("tests/guests/clerk/Cargo.toml")).expect("the manifest");
    let sdk = root.join("unikernel/sdk");
    let cargo = cargo.replace("\"../../../unikernel/sdk\"", &format!("{sdk:?}"));
    fs::write(folder.join("Cargo.toml"), cargo).expect("written");
    let manifest = "[sql.orders]\nurl-secret = \"orders_url\"\n";
    fs::write(folder.join("jiffy.toml"), manifest).expect("written");
}

/// The example, over HTTP.
#[test]
fn the_example_keeps_orders() {
    let Some(postgres) = start() else { return };
    let source = fs::read_to_string(workspace_root().join("examples/orders/src/lib.rs"))
        .expect("the source");
    // The table as its documentation has it.
    let table = source
        .split("```")
        .nth(1)
        .expect("a table")
        .trim_start_matches("sql");
    postgres.sql(&table.replace("//!", ""));
    let setup = Setup::new(&[("EGRESS__PRIVATE", LOCALHOST)]);
    let agent = setup.start();
    set_url(&agent, &postgres.url("sslmode=disable"));
    let image = agent.upload("orders");
    let settings = json!({ "grants": { "sql": { "orders": { "url_secret": "orders_url" } } } });
    agent.deploy("orders", &image, settings).expect(201);
    let ask = |method: &str, path: &str, body: Value| {
        let answer = agent.call(
            method,
            &format!("/fn/orders{path}"),
            body.to_string().as_bytes(),
        );
        let parsed = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        (answer.status, parsed)
    };
    let (status, made) = ask(
        "POST",
        "/orders",
        json!({ "customer": "ada", "cents": 250 }),
    );
    assert_eq!(
        (status, &made["id"], &made["version"]),
        (201, &json!(1), &json!(1)),
        "{made}"
    );
    let changed = json!({ "customer": "ada", "cents": 300, "version": 1 });
    assert_eq!(ask("PUT", "/orders/1", changed.clone()).0, 200);
    assert_eq!(ask("PUT", "/orders/1", changed.clone()).0, 409);
    assert_eq!(ask("PUT", "/orders/2", changed).0, 404);
    ask(
        "POST",
        "/orders",
        json!({ "customer": "eve; drop table orders", "cents": 1 }),
    );
    let (status, listed) = ask("GET", "/orders?customer=ada", Value::Null);
    assert_eq!(
        (status, &listed[0]["cents"], &listed[1]),
        (200, &json!(300), &Value::Null),
        "{listed}"
    );
    let (_, listed) = ask("GET", "/orders?after=1", Value::Null);
    assert_eq!(listed[0]["customer"], "eve; drop table orders", "{listed}");
    assert_eq!(ask("DELETE", "/orders/1", Value::Null).0, 204);
    assert_eq!(ask("GET", "/orders/1", Value::Null).0, 404);
    agent.stop();
}
