//! Commands that functions send to Redis, end to end: against a real server, by an agent and by `jiffy run`. What hostile servers
//! do: `host-agent/capabilities/src/redis/tests`.

mod agent_common;
mod servers;

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use agent_common::can_run;
use jiffy_tests::{
    agent::{Agent, Client, Setup},
    jiffy, workspace_root,
};
use serde_json::{Value, json};
use servers::{
    fault_proxy::{End, Fault, FaultProxy, MARK},
    redis::{PASSWORD, Redis},
};

/// Where a name of its own leads to loopback on every host.
const LOCALHOST: (&str, &str) = ("EGRESS__PRIVATE", r#"["localhost"]"#);

fn settings() -> Value {
    json!({ "grants": { "redis": {
        "cache": { "url_secret": "cache_url" },
        "reader": { "url_secret": "reader_url" },
    } } })
}

/// An agent with `commander` and the secrets of these URLs.
fn agent(setup: &Setup, urls: &[(&str, &str)]) -> Agent {
    let agent = setup.start();
    for (name, url) in urls {
        set(&agent, name, url);
    }
    let image = agent.upload("commander");
    agent.deploy("commander", &image, settings()).expect(201);
    agent
}

fn set(agent: &Client, name: &str, url: &str) {
    let answer = agent.call("PUT", &format!("/v1/secrets/{name}"), url.as_bytes());
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
}

/// A command of words.
fn one(command: &str) -> Value {
    json!({ "command": command.split(' ').collect::<Vec<_>>() })
}

fn together(commands: &[&str]) -> Value {
    let commands = commands.iter().map(|it| it.split(' ').collect::<Vec<_>>());
    json!({ "atomic": commands.collect::<Vec<_>>() })
}

fn parsed(answer: &[u8]) -> Vec<Value> {
    let parsed = serde_json::from_slice(answer);
    parsed.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(answer)))
}

/// What comes of what `commander` is told to do at once.
#[track_caller]
fn ask(agent: &Client, wanted: &[Value]) -> Vec<Value> {
    let wanted = json!(wanted).to_string();
    parsed(&agent.invoke("commander", wanted).expect(200).body)
}

/// The same of one after the other, each of which has to have a value.
#[track_caller]
fn values(agent: &Client, wanted: &[Value]) -> Vec<String> {
    let value = |wanted: &Value| {
        let got = ask(agent, std::slice::from_ref(wanted)).remove(0);
        assert_eq!(got["error"], "", "{wanted}: {got}");
        got["value"].as_str().expect("a text").to_owned()
    };
    wanted.iter().map(value).collect()
}

/// That nothing is told of where the server is and as whom one speaks with it.
#[track_caller]
fn check_error(got: &Value, error: &str, word: &str) {
    let message = got["message"].as_str().expect("a text");
    assert_eq!(got["error"], error, "{message}");
    assert!(message.contains(word), "{message}");
    for secret in ["canary", "localhost", "127.0.0.1"] {
        assert!(!message.contains(secret), "{message}");
    }
}

#[test]
fn functions_of_an_agent_send_commands() {
    if !can_run() {
        return;
    }
    let Some(redis) = Redis::start() else { return };
    let ca_file = redis.ca_file();
    let setup = Setup::new(&[LOCALHOST, ("EGRESS__CA_FILE", &ca_file.to_string_lossy())]);
    let agent = agent(
        &setup,
        &[
            ("cache_url", &redis.url()),
            ("reader_url", &redis.reader_url()),
        ],
    );
    for url in [redis.url(), redis.tls_url()] {
        set(&agent, "cache_url", &url);
        // Connections are kept with their version: the next one reads the secret anew.
        let image = agent.upload("commander");
        agent
            .deploy("commander", &image, json!({ "grants": {} }))
            .expect(200);
        agent.deploy("commander", &image, settings()).expect(200);
        let got = values(
            &agent,
            &[
                one("FLUSHDB"),
                one("GET k"),
                one("SET k v EX 60"),
                one("GET k"),
                one("SET k other NX"),
                one("INCR n"),
                one("RPUSH l a b c"),
                one("LRANGE l 0 -1"),
                one("ZADD z 1.5 m"),
                one("ZSCORE z m"),
                together(&["INCR n", "LPOP l", "GET none"]),
                json!({ "command": ["EVAL", "return {1, {'a', false}, {err='ERR no'}}", "0"] }),
                one("XADD s 1-1 f v"),
                one("XREAD COUNT 1 STREAMS s 0"),
                one("DEL k n l z"),
            ],
        );
        let expected = [
            "OK",
            "nil",
            "OK",
            "v",
            "nil",
            "1",
            "3",
            "[a b c]",
            "1",
            "1.5",
            "[2 a nil]",
            "[1 [a nil] error ERR no]",
            "1-1",
            "[[s [[1-1 [f v]]]]]",
            "4",
        ];
        assert_eq!(got, expected, "{url}");
    }
    // Into the database that the URL names, and with what may be any bytes.
    let large = "\u{1f980}\r\n\0".repeat(100_000);
    values(&agent, &[json!({ "command": ["SET", "large", large] })]);
    assert_eq!(
        values(&agent, &[one("GET large"), one("STRLEN large")]),
        [large, "700000".into()]
    );
    assert_eq!(redis.admin(&["EXISTS", "large"]).as_deref(), Some(":0"));
    let got = ask(
        &agent,
        &[
            one("LPUSH large a"),
            together(&["SET a 1", "LPUSH large a"]),
            together(&["SET never 1", "SET"]),
            one("SET"),
            json!({ "database": "reader", "command": ["GET", "k"] }),
            json!({ "database": "reader", "command": ["SET", "k", "v"] }),
            json!({ "database": "other", "command": ["GET", "k"] }),
        ],
    );
    check_error(&got[0], "Failed Yes", "LPUSH: WRONGTYPE Operation against");
    check_error(&got[1], "Failed Yes", "command 2 (LPUSH): WRONGTYPE");
    check_error(&got[2], "Failed Yes", "none of them is made");
    check_error(&got[3], "Failed Yes", "SET: ERR wrong number of arguments");
    assert_eq!(got[4]["value"], "nil");
    check_error(&got[5], "Denied Yes", "NOPERM the server's access list");
    check_error(&got[6], "Denied No", "\"other\"");
    assert_eq!(
        values(&agent, &[one("EXISTS a"), one("EXISTS never")]),
        ["1", "0"]
    );
    agent.stop();
}

/// Each gets its own values, whoever asks at the same time.
#[test]
fn many_requests_at_once_get_their_own_values() {
    if !can_run() {
        return;
    }
    let Some(redis) = Redis::start() else { return };
    let setup = Setup::new(&[LOCALHOST]);
    let agent = agent(&setup, &[("cache_url", &redis.url())]);
    let client: &Client = &agent;
    thread::scope(|scope| {
        for request in 0..64 {
            scope.spawn(move || {
                for round in 0..5 {
                    let key = |index: usize| format!("k-{request}-{index}");
                    let value = |index: usize| format!("v-{request}-{round}-{index}");
                    let sets: Vec<_> = (0..16)
                        .map(|index| match index % 2 {
                            0 => one(&format!("SET {} {}", key(index), value(index))),
                            _ => {
                                together(&[&format!("SET {} {}", key(index), value(index)), "PING"])
                            }
                        })
                        .collect();
                    ask(client, &sets);
                    let gets: Vec<_> = (0..16)
                        .map(|index| one(&format!("GET {}", key(index))))
                        .collect();
                    for (index, got) in ask(client, &gets).iter().enumerate() {
                        assert_eq!(got["value"], value(index), "{got}");
                    }
                }
            });
        }
    });
    agent.stop();
}

/// A call that ends in the middle leaves nothing for the next; a server that was restarted is found again.
#[test]
fn what_ends_in_the_middle_harms_no_other_call() {
    if !can_run() {
        return;
    }
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let setup = Setup::new(&[LOCALHOST]);
    let agent = agent(&setup, &[("cache_url", &redis.url())]);
    let image = agent.upload("commander");
    let mut hasty = settings();
    hasty["timeout_ms"] = json!(300);
    agent.deploy("hasty", &image, hasty).expect(201);
    for round in 0..3 {
        let sets = [1, 2, 3].map(|index| one(&format!("SET k-{index} v-{round}-{index}")));
        values(&agent, &sets);
        values(&agent, &[one("GET k-1")]);
        agent
            .invoke("hasty", json!([one("GET k-1")]).to_string())
            .expect(200);
        // It takes commands from now on, and replies to none for a while.
        let paused = redis.admin(&["CLIENT", "PAUSE", "1500", "ALL"]);
        assert_eq!(paused.as_deref(), Some("+OK"));
        let began = Instant::now();
        let wanted = json!({ "command": ["GET", "k-1"], "timeout_ms": 200 });
        let late = ask(&agent, &[wanted.clone(), wanted.clone(), wanted]);
        for got in &late {
            check_error(got, "Timeout Maybe", "took longer");
        }
        agent
            .invoke("hasty", json!([one("GET k-1"), one("GET k-2")]).to_string())
            .expect(504);
        assert!(
            began.elapsed() < Duration::from_millis(1400),
            "{:?}",
            began.elapsed()
        );
        for index in [2, 3, 1] {
            let got = values(&agent, &[one(&format!("GET k-{index}"))]);
            assert_eq!(got, [format!("v-{round}-{index}")]);
            let got = agent.invoke("hasty", json!([one(&format!("GET k-{index}"))]).to_string());
            assert_eq!(
                parsed(&got.expect(200).body)[0]["value"],
                format!("v-{round}-{index}")
            );
        }
        redis.restart();
        assert_eq!(
            values(&agent, &[one("GET k-1"), one("PING")]),
            ["nil", "PONG"]
        );
    }
    agent.stop();
}

/// Each fault between host and server is an error that says whether the command was sent, and no reply reaches another call.
#[test]
fn every_fault_on_the_way_has_its_error() {
    if !can_run() {
        return;
    }
    let Some(redis) = Redis::start() else { return };
    let proxy = FaultProxy::start(redis.port());
    let setup = Setup::new(&[LOCALHOST]);
    let strange = format!("redis://{MARK}:{MARK}@localhost:{}", proxy.port());
    let agent = agent(
        &setup,
        &[
            ("cache_url", &redis.url_by(proxy.port())),
            ("reader_url", &strange),
        ],
    );
    let image = agent.upload("commander");
    let mut patient = settings();
    patient["timeout_ms"] = json!(30_000);
    agent.deploy("commander", &image, patient).expect(200);
    let marked = format!("k-{MARK}");
    let get = |key: &str| json!({ "command": ["GET", key], "timeout_ms": 3000 });
    let own: Vec<_> = (0..8).map(|index| format!("k-{index}")).collect();
    for key in own.iter().chain([&marked]) {
        let set = one(&format!("SET {key} {}", key.replace("k-", "v-")));
        assert_eq!(values(&agent, &[set]), ["OK"]);
    }
    // What other calls get, beside it and behind it.
    let check_own = |got: &[Value]| {
        for (got, key) in got.iter().zip(&own) {
            assert_eq!(got["value"], key.replace("k-", "v-"), "{got}");
        }
    };
    let timeout = Some(("Timeout Maybe", "took longer"));
    let never_whole = Some(("Failed Maybe", "before its reply was whole"));
    let cut = Some(("Failed Yes", "before its reply was whole"));
    let broken = Some(("Failed Yes", "the connection broke"));
    let malformed = Some(("Failed Yes", "malformed"));
    let late = Duration::from_secs(6);
    let faults = [
        (Fault::None, false, None),
        (Fault::Delay(Duration::from_millis(300)), false, None),
        (Fault::SlowBytes(Duration::from_millis(1)), false, None),
        (Fault::Delay(late), true, timeout),
        (Fault::SlowBytes(Duration::from_secs(1)), true, timeout),
        (Fault::Never, true, timeout),
        (
            Fault::Reset,
            true,
            Some(("Failed Maybe", "the connection broke")),
        ),
        (Fault::Changed(|_| vec![], End::Closed), true, never_whole),
        (Fault::Changed(|it| it[..6].into(), End::Closed), true, cut),
        (
            Fault::Changed(|it| it[..6].into(), End::Reset),
            true,
            broken,
        ),
        // It says that it is longer than it is.
        (
            Fault::Changed(|it| said(it, b"$80"), End::Closed),
            true,
            cut,
        ),
        (
            Fault::Changed(|it| said(it, b"$80"), End::GoesOn),
            true,
            timeout,
        ),
        (
            Fault::Changed(|it| said(it, b"$536870912"), End::GoesOn),
            true,
            Some(("Limit Yes", "")),
        ),
        // Shorter.
        (
            Fault::Changed(|it| said(it, b"$3"), End::GoesOn),
            true,
            malformed,
        ),
        (
            Fault::Changed(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".into(), End::GoesOn),
            true,
            malformed,
        ),
        // As if it were the reply to the next call.
        (Fault::Changed(|it| it.repeat(2), End::GoesOn), true, None),
        (
            Fault::Changed(|_| b"*2147483647\r\n".into(), End::GoesOn),
            true,
            Some(("Limit Yes", "")),
        ),
        (Fault::Endless(b"+", b"and more"), true, malformed),
        (
            Fault::Endless(b"*1\r\n", b"*1\r\n"),
            true,
            Some(("Limit Yes", "")),
        ),
    ];
    for (fault, leaves_doubt, error) in faults {
        println!("{fault:?}");
        proxy.set(fault, leaves_doubt);
        let struck = proxy.struck();
        let mut wanted: Vec<_> = own.iter().map(|key| get(key)).collect();
        wanted.push(get(&marked));
        let mut got = ask(&agent, &wanted);
        let of_marked = got.pop().expect("the last");
        match error {
            Some((error, word)) => check_error(&of_marked, error, word),
            None => assert_eq!(of_marked["value"], format!("v-{MARK}"), "{fault:?}"),
        }
        check_own(&got);
        // It went once.
        assert_eq!(proxy.struck() - struck, 1, "{fault:?}");
        check_own(&ask(&agent, &wanted[..8]));
        assert_eq!(proxy.used_in_doubt(), 0, "{fault:?}");
    }
    // What is made together: none of it, if it did not get there.
    let add = together(&[&format!("INCR n-{MARK}"), "INCR n"]);
    for (fault, error, word) in [
        (Fault::Reset, "Failed Maybe", "the connection broke"),
        (
            Fault::Changed(|it| it[..9].into(), End::Closed),
            "Failed Yes",
            "before its reply was whole",
        ),
    ] {
        proxy.set(fault, true);
        check_error(&ask(&agent, std::slice::from_ref(&add))[0], error, word);
        check_own(&ask(
            &agent,
            &own.iter().map(|key| get(key)).collect::<Vec<_>>(),
        ));
    }
    assert_eq!(values(&agent, &[one("GET n")]), ["1"]);
    // All that wait are closed, as by a server that nobody has asked for long.
    for _ in 0..3 {
        proxy.close_all();
        thread::sleep(Duration::from_millis(100));
        check_own(&ask(
            &agent,
            &own.iter().map(|key| get(key)).collect::<Vec<_>>(),
        ));
    }
    // Before a connection stands, nothing was sent.
    let reader = json!({ "database": "reader", "command": ["GET", "k"], "timeout_ms": 3000 });
    let reader = std::slice::from_ref(&reader);
    for fault in [
        Fault::Reset,
        Fault::Changed(|_| vec![], End::Closed),
        Fault::Changed(|it| it[..3].into(), End::Reset),
        Fault::Changed(|_| b"$80\r\n+OK\r\n".into(), End::Closed),
        Fault::Endless(b"+", b"and more"),
    ] {
        proxy.set(fault, true);
        let got = &ask(&agent, reader)[0];
        check_error(got, "Failed No", "does not take the connection");
    }
    proxy.set(Fault::Never, true);
    check_error(&ask(&agent, reader)[0], "Timeout Maybe", "took longer");
    assert_eq!(proxy.used_in_doubt(), 0);
    agent.stop();
}

/// A reply of bytes that says another length.
fn said(reply: &[u8], length: &[u8]) -> Vec<u8> {
    let end = reply.iter().position(|it| *it == b'\r');
    [length, &reply[end.expect("a length")..]].concat()
}

/// Where the server is, and as whom one speaks with it, no function learns and no log says; neither does it reach what its operator
/// does not allow.
#[test]
fn what_a_function_may_not_do_is_refused_without_a_word_of_the_server() {
    if !can_run() {
        return;
    }
    let Some(redis) = Redis::start() else { return };
    let setup = Setup::new(&[("LOG", "debug"), LOCALHOST]);
    let agent = agent(&setup, &[("cache_url", &redis.url())]);
    for (command, word) in [
        (
            "AUTH canary",
            "AUTH may not be sent: it changes the connection",
        ),
        ("CLIENT LIST", "it changes the connection"),
        ("SELECT 0", "it changes the connection"),
        ("SUBSCRIBE c", "it changes the connection"),
        ("BLPOP k 0", "it waits in the server"),
        ("XREAD BLOCK 0 STREAMS s $", "it waits in the server"),
        ("MULTI", "for an `atomic`"),
        ("CONFIG GET *", "it administers the server"),
        ("SHUTDOWN", "it administers the server"),
        ("FLUSHALL", "other databases"),
        ("NEVERHEARD 1", "not among the commands of data"),
    ] {
        check_error(&ask(&agent, &[one(command)])[0], "Denied No", word);
    }
    let reader = json!({ "database": "reader", "command": ["GET", "k"] });
    let reader = std::slice::from_ref(&reader);
    let unset = &ask(&agent, reader)[0];
    check_error(unset, "Failed No", "`jiffy secret set reader_url`");
    // Another password: connections that stand go on, those that are made anew have it.
    assert_eq!(values(&agent, &[one("SET k v")]), ["OK"]);
    redis.admin(&[
        "ACL",
        "SETUSER",
        "canary-user",
        "resetpass",
        ">canary-other",
    ]);
    assert_eq!(values(&agent, &[one("GET k")]), ["v"]);
    redis.admin(&["CLIENT", "KILL", "USER", "canary-user"]);
    let got = &ask(&agent, &[one("GET k")])[0];
    check_error(
        got,
        "Failed No",
        "the server of [redis.cache] does not take the connection",
    );
    let (log, url) = (setup.log(), redis.url());
    assert!(
        log.contains("WRONGPASS") && !log.contains(PASSWORD),
        "{log}"
    );
    let other = url.replace(&PASSWORD.replace('/', "%2F"), "canary-other");
    set(&agent, "cache_url", &other);
    assert_eq!(values(&agent, &[one("GET k")]), ["v"]);
    // What is no URL, a server that is not there, and one whose authority nobody knows.
    let elsewhere = "cannot connect to the server of [redis.reader]";
    for (url, word) in [
        ("http://canary", "reader_url is no URL of a Redis database"),
        ("redis://canary:canary@localhost:1", elsewhere),
        ("rediss://canary:canary@localhost:1", elsewhere),
        (&redis.tls_url(), elsewhere),
    ] {
        set(&agent, "reader_url", url);
        check_error(&ask(&agent, reader)[0], "Failed No", word);
    }
    agent.stop();
    assert!(!setup.log().contains("canary"), "{}", setup.log());
}

#[test]
fn a_private_address_is_the_operators_to_allow() {
    if !can_run() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    listener.set_nonblocking(true).expect("set");
    let (name, address) = (
        format!("redis://localhost:{port}"),
        format!("redis://127.0.0.1:{port}"),
    );
    let setup = Setup::new(&[]);
    let agent = agent(&setup, &[("cache_url", &name), ("reader_url", &address)]);
    let reader = json!({ "database": "reader", "command": ["GET", "k"] });
    for got in ask(&agent, &[one("GET k"), reader]) {
        check_error(
            &got,
            "Denied No",
            "this host's operator does not let functions reach",
        );
    }
    assert!(listener.accept().is_err(), "somebody has connected");
    agent.stop();
}

/// `jiffy run` has it too, by the crate's manifest and the secrets of its command line.
#[test]
fn a_run_sends_commands() {
    if !can_run() {
        return;
    }
    let Some(redis) = Redis::start() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("url");
    fs::write(&file, redis.url()).expect("written");
    let run = |arguments: &[&str]| {
        let mut run = jiffy();
        let wanted = json!([one("INCR n"), together(&["INCR m", "GET m"])]).to_string();
        run.arg("run")
            .arg(workspace_root().join("tests/guests/commander"))
            .args(["--event", &wanted, "--requests", "3"])
            .arg("--secret")
            .arg(format!("cache_url={}", file.display()));
        let output = run.args(arguments).output().expect("jiffy");
        assert!(output.status.success(), "{output:?}");
        parsed(&output.stdout)
    };
    let got = run(&["--egress-private", "localhost"]);
    assert_eq!(got[0]["value"], "3", "{got:?}");
    assert_eq!(got[1]["value"], "[3 3]", "{got:?}");
    check_error(&run(&[])[0], "Denied No", "operator");
}

/// The example: the first asks its slow server, those behind it the cache; without the cache all ask the server.
#[test]
fn the_example_keeps_pages_of_a_slow_server() {
    if !can_run() {
        return;
    }
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!(
        "http://localhost:{}",
        listener.local_addr().expect("an address").port()
    );
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 1024]);
            count.fetch_add(1, SeqCst);
            thread::sleep(Duration::from_millis(300));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nslow news");
        }
    });
    let setup = Setup::new(&[LOCALHOST]);
    let agent = setup.start();
    set(&agent, "cache_url", &redis.url());
    let image = agent.upload("cached");
    let settings = json!({
        "grants": { "redis": { "cache": { "url_secret": "cache_url" } }, "network": { "allow": [origin] } },
        "environment": { "ORIGIN": origin },
    });
    agent.deploy("cached", &image, settings).expect(201);
    let page = || {
        agent
            .invoke("cached", r#"{"page":"news"}"#)
            .expect(200)
            .json()
    };
    for times in 0..4 {
        let expected = json!({ "text": "slow news", "is_cached": times > 0 });
        assert_eq!(page(), expected);
    }
    assert_eq!(asked.load(SeqCst), 1);
    // An empty cache is filled anew.
    redis.restart();
    assert_eq!(
        (page()["is_cached"].clone(), page()["is_cached"].clone()),
        (json!(false), json!(true))
    );
    drop(redis);
    let page = page();
    assert_eq!(
        (&page["text"], &page["is_cached"]),
        (&json!("slow news"), &json!(false))
    );
    assert_eq!(asked.load(SeqCst), 3);
    agent.stop();
}
