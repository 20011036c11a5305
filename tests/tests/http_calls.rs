//! HTTP requests that functions make, end to end: against nginx, through a proxy that breaks what it passes on, by an agent
//! and by `jiffy run`. What each spelling of a place comes to: `host-agent/capabilities/src/http/tests`.

mod agent_common;
mod http_calls {
    pub(crate) mod stripe;
}
mod servers;

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use agent_common::{can_run, metric, retry};
use http_calls::stripe::{DECLINED, LOST, Stripe};
use jiffy_tests::{
    CrateFolder,
    agent::{Client, Setup, within},
    jiffy, workspace_root,
};
use serde_json::{Value, json};
use servers::{
    fault_proxy::{End, Fault, FaultProxy, MARK},
    free_ports,
    haproxy::Haproxy,
    nginx::Nginx,
};

/// Where a name of its own leads to loopback on every host.
const LOCALHOST: &str = r#"["localhost"]"#;

/// What happens in the background has happened by then, beside other load.
const SOON: Duration = Duration::from_secs(20);

fn get(url: &str) -> Value {
    json!({ "method": "GET", "url": url })
}

/// The results of `fetcher` for these requests.
fn fetched(answer: &[u8]) -> Vec<Value> {
    let parsed = serde_json::from_slice(answer);
    parsed.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(answer)))
}

#[track_caller]
fn check_error(result: &Value, error: &str, word: &str) {
    let message = result["message"].as_str().expect("a text");
    assert_eq!(result["error"], error, "{message}");
    assert!(message.contains(word), "{message}");
}

/// In clear, and by TLS with HTTP/1.1 and 2, at once and one after the other; connections are kept over requests.
#[test]
fn functions_of_an_agent_ask_nginx() {
    if !can_run() {
        return;
    }
    let Some(nginx) = Nginx::start() else { return };
    let ca_file = nginx.ca_file();
    let setup = Setup::new(&[
        ("EGRESS__PRIVATE", LOCALHOST),
        ("EGRESS__CA_FILE", &ca_file.to_string_lossy()),
    ]);
    let agent = setup.start();
    let image = agent.upload("fetcher");
    let allow = [nginx.http(), nginx.https(), nginx.https_1()];
    let grants = json!({ "network": { "allow": allow, "methods": ["GET", "POST"] } });
    agent
        .deploy("fetcher", &image, json!({ "grants": grants }))
        .expect(201);
    let urls = allow.each_ref().map(|origin| format!("{origin}/told?a=b"));
    let mut traces = vec![];
    for _ in 0..10 {
        let wanted = json!([
            get(&urls[0]), get(&urls[1]), get(&urls[2]),
            { "method": "POST", "url": urls[1], "headers": [["x-mine", "1"]], "body": "some" },
        ]);
        let path = "/v1/functions/fetcher/invoke";
        let trace = (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        );
        let answer = agent.send("POST", path, &[trace], wanted.to_string().as_bytes());
        let results = fetched(&answer.expect("an answer").expect(200).body);
        let told: Vec<_> = results
            .iter()
            .map(|result| result["body"].as_str().expect("a text"))
            .collect();
        let expected = [
            ("GET HTTP/1.1", "", 0),
            ("GET HTTP/2.0", "", 1),
            ("GET HTTP/1.1", "", 2),
            ("POST HTTP/2.0", "1", 1),
        ];
        for ((told, result), (line, mine, origin)) in told.iter().zip(&results).zip(expected) {
            assert_eq!(result["status"], 200, "{result}");
            let host = allow[origin].split_once("://").expect("an origin").1;
            let line = format!(
                "{line} {host} /told?a=b mine={mine} trace=00-0af7651916cd43dd8448eb211c80319c-"
            );
            assert!(told.starts_with(&line), "{told} {line}");
            let trace = told.rsplit_once("trace=").expect("a trace").1.trim_end();
            traces.push((trace.to_owned(), allow[origin].clone()));
        }
    }
    // Each call is a span of its own within its request's, and a line in the log.
    let log = within(SOON, || {
        let text = agent
            .get("/v1/functions/fetcher/logs?limit=1000")
            .expect(200)
            .text();
        (text.matches("REPORT ").count() == 10).then_some(text)
    });
    let log = log.expect("a REPORT for each request");
    for (trace, origin) in &traces {
        let mut calls = log.lines().filter(|line| line.contains(trace.as_str()));
        let call = calls.next().expect("a line of the call");
        assert!(
            call.contains(r#""level":"debug""#) && call.contains("\\tOutcome: ok\\t"),
            "{call}"
        );
        assert!(call.contains(&format!(" {origin}\\tDuration: ")), "{call}");
        assert_eq!(calls.next(), None, "{trace}");
    }
    // Forty requests: one connection for each of two, and one for all of HTTP/2; some more where one had not come back yet.
    let connections = nginx.connections();
    assert!((3..=15).contains(&connections), "{connections}");
    let [refused, away] = &fetched(
        &agent
            .invoke(
                "fetcher",
                json!([
                    { "method": "DELETE", "url": urls[0] }, get(&format!("{}/away", allow[0])),
                ])
                .to_string(),
            )
            .expect(200)
            .body,
    )[..] else {
        panic!("two results")
    };
    check_error(refused, "Denied No", "the method DELETE is not granted");
    assert_eq!(away["status"], 302);
    let place = away["headers"]
        .as_array()
        .expect("headers")
        .iter()
        .find(|header| header[0] == "location");
    let place = place.expect("a place")[1].as_str().expect("a text");
    check_error(
        &fetched(
            &agent
                .invoke("fetcher", json!([get(place)]).to_string())
                .expect(200)
                .body,
        )[0],
        "Denied No",
        "is not granted",
    );
    // As they were granted; what was not is counted for nobody.
    for (origin, result, count) in [
        (0, "2xx", 10),
        (0, "3xx", 1),
        (0, "denied", 0),
        (1, "2xx", 20),
        (2, "2xx", 10),
    ] {
        let name = format!(
            "jiffy_outbound_requests_total{{origin=\"{}\",result=\"{result}\"}}",
            allow[origin]
        );
        assert_eq!(metric(&agent, &name), count, "{name}");
    }
    let sent = format!(
        "jiffy_outbound_request_body_bytes_total{{origin=\"{}\"}}",
        allow[1]
    );
    assert_eq!(metric(&agent, &sent), 10 * "some".len() as u64);
    agent.stop();
}

/// What an operator does not allow, no author can grant; and what an author does not grant is not there.
#[test]
fn an_agent_refuses_what_leads_into_its_host() {
    if !can_run() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    listener.set_nonblocking(true).expect("set");
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let image = agent.upload("fetcher");
    let (own, metadata) = (agent.url().to_owned(), "http://169.254.169.254");
    let (name, address) = (
        format!("http://localhost:{port}"),
        format!("http://127.0.0.1:{port}"),
    );
    let allow = [&*own, &name, &address, metadata];
    let grants = json!({ "network": { "allow": allow } });
    agent
        .deploy("generous", &image, json!({ "grants": grants }))
        .expect(201);
    agent.deploy("silent", &image, json!({})).expect(201);
    let wanted: Vec<_> = allow
        .iter()
        .map(|origin| get(&format!("{origin}/")))
        .collect();
    let wanted = json!(wanted).to_string();
    let results = fetched(&agent.invoke("generous", &wanted).expect(200).body);
    for (result, word) in results
        .iter()
        .zip(["loopback", "loopback", "loopback", "metadata"])
    {
        check_error(result, "Denied No", word);
    }
    for result in fetched(&agent.invoke("silent", &wanted).expect(200).body) {
        check_error(&result, "Denied No", "is not granted");
    }
    // What is granted is a version's: the next one has other grants.
    agent
        .deploy("generous", &image, json!({ "grants": {} }))
        .expect(200);
    for result in fetched(&agent.invoke("generous", &wanted).expect(200).body) {
        check_error(&result, "Denied No", "is not granted");
    }
    assert!(listener.accept().is_err(), "somebody has connected");
    agent.stop();
}

/// Each fault is an error that says whether the request was sent, and no reply reaches another request.
#[test]
fn every_fault_on_the_way_has_its_error() {
    if !can_run() {
        return;
    }
    let Some(nginx) = Nginx::start() else { return };
    let setup = Setup::new(&[("EGRESS__PRIVATE", LOCALHOST)]);
    let agent = setup.start();
    let image = agent.upload("fetcher");
    let faults = [
        (Fault::None, None),
        (Fault::Delay(Duration::from_millis(300)), None),
        (Fault::SlowBytes(Duration::from_millis(1)), None),
        (Fault::Reset, Some(("Failed Maybe", "no response"))),
        (
            Fault::Changed(|it| it[..30].to_vec(), End::Closed),
            Some(("Failed Maybe", "no response")),
        ),
        (
            Fault::Changed(|it| it[..30].to_vec(), End::Reset),
            Some(("Failed Maybe", "no response")),
        ),
        (
            Fault::Changed(|it| it[..body_at(it) + 5].to_vec(), End::Closed),
            Some(("Failed Yes", "ends too early")),
        ),
        (
            Fault::Changed(|it| it[..body_at(it) + 5].to_vec(), End::Reset),
            Some(("Failed Yes", "ends too early")),
        ),
        // More than its length says, as if it were the answer to the next request.
        (Fault::Changed(|it| it.repeat(2), End::GoesOn), None),
        (
            Fault::Changed(longer_than_it_is, End::Closed),
            Some(("Failed Yes", "ends too early")),
        ),
        (
            Fault::Changed(longer_than_it_is, End::GoesOn),
            Some(("Timeout Maybe", "took longer")),
        ),
        (
            Fault::Endless(b"HTTP/1.1 200 OK\r\n", b"x-more: and more\r\n"),
            Some(("Failed Maybe", "no response")),
        ),
        (
            Fault::Endless(b"HTTP/1.1 200 OK\r\n\r\n", b"and more"),
            Some(("Limit Yes", "more than")),
        ),
        (Fault::Never, Some(("Timeout Maybe", "took longer"))),
    ];
    let proxies: Vec<_> = faults
        .iter()
        .map(|(fault, error)| {
            let proxy = FaultProxy::start(nginx.port());
            let leaves_doubt = error.is_some() || matches!(fault, Fault::Changed(..));
            proxy.set(*fault, leaves_doubt);
            proxy
        })
        .collect();
    let allow: Vec<_> = proxies.iter().map(FaultProxy::origin).collect();
    let settings = json!({ "grants": { "network": { "allow": allow } }, "timeout_ms": 30_000 });
    agent.deploy("fetcher", &image, settings).expect(201);
    let ask = |path: &str| {
        let wanted: Vec<_> = allow.iter().enumerate().map(|(index, origin)| {
            json!({ "method": "GET", "url": format!("{origin}/told?{path}-{index}"), "timeout_ms": 3000 })
        }).collect();
        fetched(
            &agent
                .invoke("fetcher", json!(wanted).to_string())
                .expect(200)
                .body,
        )
    };
    let check_told = |result: &Value, path: &str, fault: &Fault| {
        let told = result["body"].as_str().expect("a text");
        assert!(
            told.contains(&format!(" /told?{path} ")),
            "{fault:?}: {result}"
        );
    };
    for round in 0..3 {
        let path = format!("{MARK}-{round}");
        for (index, (result, (fault, error))) in ask(&path).iter().zip(&faults).enumerate() {
            match error {
                Some((error, word)) => check_error(result, error, word),
                None => check_told(result, &format!("{path}-{index}"), fault),
            }
        }
        // The next ones work.
        let path = format!("next-{round}");
        for (index, (result, (fault, _))) in ask(&path).iter().zip(&faults).enumerate() {
            check_told(result, &format!("{path}-{index}"), fault);
        }
    }
    for (proxy, (fault, _)) in proxies.iter().zip(&faults) {
        assert_eq!((proxy.struck(), proxy.used_in_doubt()), (3, 0), "{fault:?}");
    }
    agent.stop();
}

/// Where the body of an answer begins.
fn body_at(answer: &[u8]) -> usize {
    let head = answer.windows(4).position(|it| it == b"\r\n\r\n");
    head.expect("a head") + 4
}

fn longer_than_it_is(answer: &[u8]) -> Vec<u8> {
    let bytes = answer.len() - body_at(answer);
    let answer = String::from_utf8_lossy(answer);
    let told = format!("Content-Length: {bytes}");
    assert!(answer.contains(&told), "{answer}");
    let longer = answer.replace(&told, &format!("Content-Length: {}", bytes + 100));
    longer.into_bytes()
}

/// With TLS for HTTP/2 and for HTTP/1.1, and in clear: it closes what is not used, has no server any more, and is replaced.
#[test]
fn functions_ask_what_is_behind_haproxy() {
    if !can_run() {
        return;
    }
    let Some(nginx) = Nginx::start() else { return };
    let ports: [u16; 3] = free_ports();
    let [http2, http1, clear] = ports;
    let idle = Duration::from_millis(300);
    let sections = format!(
        "    mode http
    timeout client 10s
    timeout server 10s
    timeout http-keep-alive {}ms
frontend all
    bind 127.0.0.1:{http2} ssl crt @cert alpn h2,http/1.1
    bind 127.0.0.1:{http1} ssl crt @cert alpn http/1.1
    bind 127.0.0.1:{clear}
    use_backend gone if {{ path /gone }}
    default_backend told
backend told
    server nginx 127.0.0.1:{}
backend gone
    server gone 127.0.0.1:1
",
        idle.as_millis(),
        nginx.port(),
    );
    let Some(mut haproxy) = Haproxy::start(&sections, "HTTP requests through haproxy") else {
        return;
    };
    let ca_file = haproxy.ca_file();
    let setup = Setup::new(&[
        ("EGRESS__PRIVATE", LOCALHOST),
        ("EGRESS__CA_FILE", &ca_file.to_string_lossy()),
    ]);
    let agent = setup.start();
    let image = agent.upload("fetcher");
    let allow = [
        format!("https://localhost:{http2}"),
        format!("https://localhost:{http1}"),
        format!("http://localhost:{clear}"),
    ];
    let settings = json!({ "grants": { "network": { "allow": allow } }, "timeout_ms": 30_000 });
    agent.deploy("fetcher", &image, settings).expect(201);
    let ask_by = |client: &Client, paths: [String; 3]| {
        let urls = allow
            .iter()
            .zip(paths)
            .map(|(origin, path)| get(&format!("{origin}{path}")));
        let wanted: Vec<_> = urls.collect();
        let wanted = json!(wanted).to_string();
        fetched(&client.invoke("fetcher", wanted).expect(200).body)
    };
    let ask = |path: &str| ask_by(&agent, [(); 3].map(|()| path.to_owned()));
    let is_told = |result: &Value, path: &str| {
        let told = result["body"].as_str().expect("a text");
        result["status"] == 200 && told.contains(&format!(" {path} "))
    };
    // Kept while they are used.
    let before = haproxy.fact("CumConns").expect("a number");
    for round in 0..20 {
        let path = format!("/told?kept-{round}");
        for result in ask(&path) {
            assert!(is_told(&result, &path), "{result}");
        }
    }
    // Beside its own socket, which asking it takes.
    let made = haproxy.fact("CumConns").expect("a number") - before;
    assert!((3..=20).contains(&made), "{made}");
    // Closed by it when they are not: what finds one so has another, and tells nobody.
    for round in 0..5 {
        let path = format!("/told?closed-{round}");
        thread::sleep(idle * 3);
        for result in ask(&path) {
            assert!(is_told(&result, &path), "{result}");
        }
    }
    // It answers for a server that is not there.
    for result in ask("/gone") {
        assert_eq!(result["status"], 503, "{result}");
    }
    // Replaced while it is asked, again and again: nothing that may be asked twice is lost.
    let is_over = AtomicBool::new(false);
    let (ask_by, is_told) = (&ask_by, &is_told);
    let (asked, again) = thread::scope(|scope| {
        let is_over = &is_over;
        let askers: Vec<_> = (0..4)
            .map(|asker| {
                let client: Client = Client::clone(&agent);
                scope.spawn(move || {
                    let (mut asked, mut again) = (0, 0);
                    while !is_over.load(SeqCst) {
                        let paths = [0, 1, 2].map(|place| format!("/told?{asker}-{asked}-{place}"));
                        let mut results = ask_by(&client, paths.clone());
                        if results.iter().any(|result| result["error"] != "") {
                            for result in results.iter().filter(|it| it["error"] != "") {
                                let error = result["error"].as_str().expect("a text");
                                assert!(["Failed No", "Failed Maybe"].contains(&error), "{result}");
                            }
                            again += 1;
                            results = ask_by(&client, paths.clone());
                        }
                        for (result, path) in results.iter().zip(&paths) {
                            assert!(is_told(result, path), "{result}");
                        }
                        asked += 1;
                    }
                    (asked, again)
                })
            })
            .collect();
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(500));
            haproxy.reload();
        }
        is_over.store(true, SeqCst);
        let sums = askers.into_iter().map(|it| it.join().expect("it asked"));
        sums.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    });
    println!("{asked} asked, {again} asked again");
    assert!(asked >= 20, "{asked}");
    assert!(retry(SOON, || haproxy.running() == 1), "the old ones stay");
    // Its server ends: 503 is a response, and a connection to haproxy is kept.
    drop(nginx);
    for result in ask("/told") {
        assert_eq!(result["status"], 503, "{result}");
    }
    agent.stop();
}

/// A server that says nothing sees its connection closed when the request has had its time.
#[test]
fn a_request_that_ends_takes_its_connections_along() {
    if !can_run() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!(
        "http://localhost:{}",
        listener.local_addr().expect("an address").port()
    );
    let hung = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let began = Instant::now();
        let mut all = vec![];
        stream.read_to_end(&mut all).expect("its end");
        began.elapsed()
    });
    let setup = Setup::new(&[("EGRESS__PRIVATE", LOCALHOST)]);
    let agent = setup.start();
    let image = agent.upload("fetcher");
    let settings = json!({ "grants": { "network": { "allow": [origin] } }, "timeout_ms": 500 });
    agent.deploy("fetcher", &image, settings).expect(201);
    agent
        .invoke("fetcher", json!([get(&format!("{origin}/"))]).to_string())
        .expect(504);
    let after = hung.join().expect("a server").as_millis();
    assert!((300..5000).contains(&after), "{after}");
    agent.stop();
}

/// `jiffy run` reads the same manifest. No variable that names a proxy changes where a request goes.
#[test]
fn a_run_asks_by_the_manifest_and_by_no_proxy() {
    if !can_run() {
        return;
    }
    let Some(nginx) = Nginx::start() else { return };
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    proxy.set_nonblocking(true).expect("set");
    let url = format!("http://{}", proxy.local_addr().expect("an address"));
    let folder = CrateFolder::new("fetcher");
    function(folder.path(), &nginx.https());
    // Cargo, unlike functions, would ask the proxy: it gets what it needs before there is one, and asks nobody then.
    let mut build = jiffy();
    build
        .arg("build")
        .arg(folder.path())
        .env_remove("CARGO_TARGET_DIR");
    let built = build.output().expect("jiffy");
    assert!(built.status.success(), "{built:?}");
    let run = |arguments: &[&str]| {
        let mut command = jiffy();
        for name in [
            "http_proxy",
            "HTTP_PROXY",
            "https_proxy",
            "HTTPS_PROXY",
            "all_proxy",
            "ALL_PROXY",
        ] {
            command.env(name, &url);
        }
        let wanted = json!([
            get(&format!("{}/told", nginx.https())),
            get("https://example.com/"),
            { "method": "GET", "url": format!("{}/seen", nginx.https()), "secret": "stripe" },
        ]);
        command.arg("run").arg(folder.path()).args([
            "--event",
            &wanted.to_string(),
            "--requests",
            "3",
        ]);
        let output = command
            .args(arguments)
            .env("CARGO_NET_OFFLINE", "true")
            .env_remove("CARGO_TARGET_DIR")
            .output()
            .expect("jiffy");
        assert!(output.status.success(), "{output:?}");
        fetched(&output.stdout)
    };
    let ca_file = nginx.ca_file();
    let key = folder.path().join("key");
    fs::write(&key, "k3y\n").expect("written");
    let secret = format!("stripe={}", key.display());
    let allowed = [
        "--egress-private",
        "localhost",
        "--egress-ca-file",
        &ca_file.to_string_lossy(),
    ];
    let results = run(&[&allowed[..], &["--secret", &secret]].concat());
    assert_eq!(results[2]["status"], 200, "{results:?}");
    assert_eq!(nginx.seen(3), ["HTTP/2.0 Bearer k3y"; 3]);
    assert!(
        results[0]["body"]
            .as_str()
            .expect("a text")
            .starts_with("GET HTTP/2.0 "),
        "{results:?}"
    );
    check_error(
        &results[1],
        "Denied No",
        "https://example.com is not granted",
    );
    let without = run(&allowed);
    check_error(&without[2], "Failed No", "`jiffy run --secret stripe=FILE`");
    check_error(&run(&[])[0], "Denied No", "loopback");
    check_error(&run(&allowed[..2])[0], "Failed No", "certificate");
    assert!(proxy.accept().is_err(), "somebody asked the proxy");
}

/// `fetcher`, with a manifest that grants `origin`.
fn function(folder: &Path, origin: &str) {
    let root = workspace_root();
    fs::create_dir(folder.join("src")).expect("a folder");
    let source = root.join("tests/guests/fetcher/src/lib.rs");
    fs::copy(source, folder.join("src/lib.rs")).expect("a copy");
    let cargo =
        fs::read_to_string(root.join("tests/guests/fetcher/Cargo.toml")).expect("the manifest");
    let sdk = root.join("unikernel/sdk");
    let cargo = cargo.replace("\"../../../unikernel/sdk\"", &format!("{sdk:?}"));
    fs::write(folder.join("Cargo.toml"), cargo).expect("written");
    let secret = r#"{ hosts = ["localhost"], header = "authorization", format = "Bearer {}" }"#;
    let manifest = format!("[network]\nallow = [{origin:?}]\n[secrets]\nstripe = {secret}\n");
    fs::write(folder.join("jiffy.toml"), manifest).expect("written");
}

/// The example: three shops, of which one is slow and one has nothing.
#[test]
fn the_example_asks_three_shops_at_once() {
    if !can_run() {
        return;
    }
    let shop = |answer: &'static str, delay: Duration| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let _ = stream.read(&mut [0; 1024]);
                thread::sleep(delay);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        format!("http://localhost:{port}")
    };
    let wait = Duration::from_millis(200);
    let shops = [
        shop(
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"cents\":95}",
            wait,
        ),
        shop(
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            wait,
        ),
        shop(
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"cents\":80}",
            Duration::from_secs(3),
        ),
    ];
    let setup = Setup::new(&[("EGRESS__PRIVATE", LOCALHOST)]);
    let agent = setup.start();
    let image = agent.upload("quotes");
    let settings = json!({ "grants": { "network": { "allow": shops } }, "environment": { "SHOPS": shops.join(" ") } });
    agent.deploy("quotes", &image, settings).expect(201);
    let began = Instant::now();
    let quote = agent
        .invoke("quotes", r#"{"article":"pen-7"}"#)
        .expect(200)
        .json();
    assert_eq!(
        (&quote["shop"], &quote["cents"]),
        (&json!(shops[0]), &json!(95)),
        "{quote}"
    );
    let silent = quote["silent"].as_array().expect("a list");
    assert_eq!(silent[0], format!("{}: status 404", shops[1]));
    assert!(
        silent[1].as_str().expect("a text").contains("took longer"),
        "{quote}"
    );
    assert!(
        began.elapsed() < Duration::from_millis(2500),
        "one after the other: {:?}",
        began.elapsed()
    );
    agent.stop();
}

/// The example: a charge by a key that the function never has, made once, also if its answer is lost.
#[test]
fn the_example_charges_an_order_once() {
    const KEY: &str = "sk_test_4eC39HqLyjWDarjtT1zdp7dc";
    if !can_run() {
        return;
    }
    let stripe = Stripe::start(KEY);
    let ca_file = stripe.ca_file();
    let setup = Setup::new(&[
        ("EGRESS__PRIVATE", LOCALHOST),
        ("EGRESS__CA_FILE", &ca_file.to_string_lossy()),
    ]);
    let agent = setup.start();
    let set_key = |key: &str| agent.call("PUT", "/v1/secrets/stripe", key.as_bytes());
    let image = agent.upload("payment");
    let secret =
        json!({ "hosts": ["localhost"], "header": "authorization", "format": "Bearer {}" });
    let settings = json!({
        "grants": { "network": { "allow": [stripe.origin()], "methods": ["POST"] }, "secrets": { "stripe": secret } },
        "environment": { "STRIPE": stripe.origin() },
        "timeout_ms": 30_000,
    });
    agent.deploy("payment", &image, settings).expect(201);
    let pay = |order: &str, method: &str| {
        let order = json!({ "order": order, "cents": 1999, "currency": "eur", "method": method });
        agent.invoke("payment", order.to_string())
    };
    let refusal = |order: &str, method: &str| {
        let problem = pay(order, method).expect(500).json();
        assert!(!problem.to_string().contains(KEY), "{problem}");
        problem["error_type"].as_str().expect("a type").to_owned()
    };
    // Nothing is sent without a key, and nothing is charged by a wrong one.
    assert_eq!(refusal("A-1", "pm_card_visa"), "NotCharged");
    assert_eq!(stripe.look(|books| books.keys.len()), 0);
    set_key("sk_test_wrong").expect(201);
    assert_eq!(refusal("A-1", "pm_card_visa"), "Broken");
    set_key(KEY).expect(200);
    let paid = |order: &str, method: &str| {
        let paid = pay(order, method).expect(200).json();
        paid["payment"].as_str().expect("a text").to_owned()
    };
    // The same order twice; another one.
    assert_eq!(paid("A-1", "pm_card_visa"), "pi_1");
    assert_eq!(paid("A-1", "pm_card_visa"), "pi_1");
    assert_eq!(paid("A-2", "pm_card_visa"), "pi_2");
    assert_eq!(refusal("A-3", DECLINED), "Declined");
    // Charged, and nobody was told; it is not charged again.
    assert_eq!(refusal("A-4", LOST), "Unknown");
    assert_eq!(paid("A-4", LOST), "pi_3");
    let (keys, charges) = stripe.look(|books| (books.keys.clone(), books.charges.clone()));
    assert_eq!(keys[0], ["Bearer sk_test_wrong"]);
    assert_eq!(keys[1..], vec![[format!("Bearer {KEY}")]; 6]);
    let mut orders: Vec<_> = charges.keys().map(String::as_str).collect();
    orders.sort_unstable();
    assert_eq!(orders, ["order-A-1", "order-A-2", "order-A-4"]);
    let form = "amount=1999&currency=eur&payment_method=pm_card_visa&confirm=true";
    assert!(charges["order-A-1"].1.starts_with(form), "{charges:?}");
    agent.stop();
}
