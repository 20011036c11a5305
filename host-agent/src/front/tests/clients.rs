//! Clients that are many, idle, gone, half gone or none of HTTP.

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};

use super::*;

const SLEEP: &str = "POST /v1/functions/f/invoke HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n!sleep 300";

async fn server_with_function(edit: impl FnOnce(&mut Config)) -> Server {
    let server = Server::with(edit).await;
    crate::native::tests::deploy(&server, "f").await;
    server
}

/// A metric without labels, or with those that are written.
async fn metric(server: &Server, name: &str) -> f64 {
    let metrics = server.get("/metrics").await;
    let line = metrics
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing"))
        .parse()
        .expect("a number")
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if is_so().await {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}");
}

/// RFC 9112, 9.6: who sends no more may still read.
#[tokio::test]
async fn a_client_that_sends_no_more_gets_its_answer() {
    let server = server_with_function(|_| {}).await;
    for request in [
        SLEEP.to_owned(),
        SLEEP.replace("HTTP/1.1", "HTTP/1.0"),
        "GET /v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
    ] {
        let mut stream = server.connect().await;
        stream.write_all(request.as_bytes()).await.expect("sent");
        stream.shutdown().await.expect("half closed");
        let read = read_to_end(&mut stream).await;
        let text = String::from_utf8_lossy(&read);
        // Who sends no more is asked by an interim response whether it reads.
        let text = text
            .strip_prefix("HTTP/1.1 100 Continue\r\n\r\n")
            .unwrap_or(&text);
        assert!(text.starts_with("HTTP/1."), "{request}: {text}");
        assert!(text[8..].starts_with(" 200 OK\r\n"), "{request}: {text}");
    }
    let answered = "jiffy_requests_total{function=\"f\",outcome=\"ok\"}";
    eventually("both were answered", async || {
        metric(&server, answered).await == 2.0
    })
    .await;
}

/// The end of what it sends comes while the answer is made, or with the last byte of a body in pieces.
#[tokio::test]
async fn when_a_client_sends_no_more_does_not_matter() {
    let server = server_with_function(|_| {}).await;
    for pause_ms in [0, 5, 50, 150] {
        let mut stream = server.connect().await;
        let (head, last) = SLEEP.split_at(SLEEP.len() - 1);
        stream.write_all(head.as_bytes()).await.expect("sent");
        sleep(Duration::from_millis(5)).await;
        stream.write_all(last.as_bytes()).await.expect("sent");
        sleep(Duration::from_millis(pause_ms)).await;
        stream.shutdown().await.expect("half closed");
        let read = read_to_end(&mut stream).await;
        assert!(
            String::from_utf8_lossy(&read).contains("HTTP/1.1 200 "),
            "{pause_ms}"
        );
    }
}

#[tokio::test]
async fn a_client_that_is_gone_ends_its_request() {
    let server = server_with_function(|_| {}).await;
    let request = SLEEP
        .replace("content-length: 10", "content-length: 12")
        .replace("300", "60000");
    for is_reset in [true, false] {
        let before = metric(&server, "jiffy_connections_ended_total{reason=\"broken\"}").await;
        let mut stream = server.connect().await;
        stream.write_all(request.as_bytes()).await.expect("sent");
        sleep(Duration::from_millis(50)).await;
        if is_reset {
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("linger");
        }
        drop(stream);
        eventually("its request goes on", async || {
            metric(&server, "jiffy_vms_busy").await == 0.0
                && metric(&server, "jiffy_connections_ended_total{reason=\"broken\"}").await
                    > before
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_no_request_is_answered_as_everything_is() {
    let server = Server::start().await;
    let long = |bytes: usize| "a".repeat(bytes);
    for (status, kind, sent) in [
        (400, "invalid-request", "GET\r\n\r\n".to_owned()),
        (
            400,
            "invalid-request",
            "GET / HTTP/1.1\r\na b: c\r\n\r\n".to_owned(),
        ),
        (
            400,
            "invalid-request",
            "GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n".to_owned(),
        ),
        (
            400,
            "invalid-request",
            "GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(),
        ),
        (
            400,
            "invalid-request",
            "GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
        ),
        (
            400,
            "invalid-request",
            "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n".to_owned(),
        ),
        (
            400,
            "invalid-request",
            "GET /\0 HTTP/1.1\r\n\r\n".to_owned(),
        ),
        (
            505,
            "version-not-supported",
            "GET / HTTP/2.0\r\nhost: localhost\r\n\r\n".to_owned(),
        ),
        (
            505,
            "version-not-supported",
            "GET / HTTP/1.2\r\nhost: localhost\r\n\r\n".to_owned(),
        ),
        (
            505,
            "version-not-supported",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        ),
        (
            414,
            "target-too-long",
            format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", long(9000)),
        ),
        (
            414,
            "target-too-long",
            format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", long(65_600)),
        ),
        (414, "target-too-long", format!("GET /{}", long(200_000))),
        (
            431,
            "headers-too-large",
            format!(
                "GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
                long(70_000)
            ),
        ),
        (
            431,
            "headers-too-large",
            format!(
                "GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
                long(200_000)
            ),
        ),
        (
            431,
            "headers-too-large",
            format!(
                "GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n",
                "a:b\r\n".repeat(30_000)
            ),
        ),
    ] {
        let before = metric(&server, &format!("jiffy_problems_total{{type=\"{kind}\"}}")).await;
        let mut stream = server.connect().await;
        // Who is refused early may find the connection closed before all is sent.
        let _ = stream.write_all(sent.as_bytes()).await;
        let _ = stream.shutdown().await;
        let answer = Answer::parse(&read_to_end(&mut stream).await);
        let what: String = sent.chars().take(60).collect();
        assert_eq!(
            (answer.status, &*answer.problem()),
            (status, kind),
            "{what:?}"
        );
        assert_eq!(answer.header("jiffy-error"), Some(kind), "{what:?}");
        if status == 431 {
            assert!(answer.text().contains("65536 bytes"), "{}", answer.text());
        }
        let after = metric(&server, &format!("jiffy_problems_total{{type=\"{kind}\"}}")).await;
        assert!(after > before, "{what:?}");
    }
    assert_eq!(server.get("/v1/health").await.status, 200);
}

/// A refusal stands behind the answers to the requests before it, and cannot be mistaken for one of a function's.
#[tokio::test]
async fn a_refusal_comes_after_the_answers_before_it() {
    let server = server_with_function(|_| {}).await;
    let one =
        "POST /fn/f/ HTTP/1.1\r\nhost: localhost\r\nx-answer: 400\r\ncontent-length: 0\r\n\r\n";
    let sent = format!("{one}{one}GET / HTTP/1.1\r\na b: c\r\n\r\n");
    let read = server.raw(sent.as_bytes()).await;
    let text = String::from_utf8_lossy(&read);
    let answers: Vec<_> = text.split("HTTP/1.1 400 Bad Request\r\n").skip(1).collect();
    assert_eq!(answers.len(), 3, "{text}");
    assert!(
        answers[..2]
            .iter()
            .all(|answer| answer.contains("jiffy-start: ")),
        "{text}"
    );
    assert!(
        answers[2].contains("jiffy-error: invalid-request"),
        "{text}"
    );
}

#[tokio::test]
async fn a_request_has_as_many_headers_as_fit() {
    let server = server_with_function(|_| {}).await;
    for headers in [99, 101, 1000, 3000] {
        let lines: String = (0..headers)
            .map(|index| format!("x-{index}: v\r\n"))
            .collect();
        // Twice on one connection, and what comes behind many is served as ever.
        let one = format!("GET /v1/health HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n");
        let last = "GET /v1/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let read = server.raw(format!("{one}{one}{last}").as_bytes()).await;
        let text = String::from_utf8_lossy(&read);
        assert_eq!(
            text.matches("HTTP/1.1 200 OK").count(),
            3,
            "{headers}: {text}"
        );
    }
    let lines: String = (0..1000).map(|index| format!("x-{index}: v\r\n")).collect();
    let request = format!(
        "POST /fn/f/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 8\r\n{lines}\r\n!headers"
    );
    let answer = Answer::parse(&server.raw(request.as_bytes()).await);
    assert_eq!(answer.text().matches(": v\n").count(), 1000);
}

#[tokio::test]
async fn an_idle_connection_outlives_the_limit_of_headers() {
    let server = Server::with(|config| {
        config.settings.limits.header_ms_max = 200;
        config.settings.limits.idle_ms_max = 1500;
    })
    .await;
    let mut stream = server.connect().await;
    for pause_ms in [0, 600, 600, 1000] {
        sleep(Duration::from_millis(pause_ms)).await;
        stream.write_all(HEALTH).await.expect("open");
        let read = read_some(&mut stream).await;
        assert!(read.starts_with("HTTP/1.1 200"), "{pause_ms}: {read}");
        assert!(read.contains("\r\nkeep-alive: timeout=1\r\n"), "{read}");
    }
    let began = Instant::now();
    assert!(read_to_end(&mut stream).await.is_empty());
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(1200) && took < Duration::from_millis(3000),
        "{took:?}"
    );
    // A further request's head has the limit of a first one, from its first byte.
    let mut stream = server.connect().await;
    stream.write_all(HEALTH).await.expect("sent");
    read_some(&mut stream).await;
    sleep(Duration::from_millis(400)).await;
    let began = Instant::now();
    stream.write_all(b"GET /v1/health HT").await.expect("open");
    let answer = Answer::parse(&read_to_end(&mut stream).await);
    assert_eq!(
        (answer.status, &*answer.problem()),
        (408, "request-timeout")
    );
    assert!(began.elapsed() < Duration::from_millis(1200));
}

/// Requests to a function that come in one piece wait for each other and not for the next one: what is busy has no limit of idle
/// connections, and what is between two requests has none of heads.
#[tokio::test]
async fn requests_in_one_piece_are_answered_in_turn_and_none_is_idle() {
    let server = server_with_function(|config| {
        config.settings.limits.header_ms_max = 100;
        config.settings.limits.idle_ms_max = 400;
    })
    .await;
    let one = |event: &str| {
        let bytes = event.len();
        format!("POST /fn/f/ HTTP/1.1\r\nhost: localhost\r\ncontent-length: {bytes}\r\n\r\n{event}")
    };
    let mut stream = server.connect().await;
    let all = ["!sleep 600", "first", "!sleep 600", "second"].map(one);
    stream
        .write_all(all.concat().as_bytes())
        .await
        .expect("sent");
    let mut read = String::new();
    while !read.ends_with("second") {
        let some = read_some(&mut stream).await;
        assert!(!some.is_empty(), "{read}");
        read.push_str(&some);
    }
    assert_eq!(read.matches("HTTP/1.1 200 OK").count(), 4, "{read}");
    let at = |text: &str| read.find(text).expect("it is there");
    assert!(at("\r\n\r\nfirst") < at("\r\n\r\nsecond"));

    // Between two requests a connection has more time than a head, and an answer again after it.
    sleep(Duration::from_millis(250)).await;
    stream
        .write_all(one("third").as_bytes())
        .await
        .expect("open");
    let third = read_some(&mut stream).await;
    assert!(third.ends_with("third"), "{third}");

    // What came of a next request is not passed over in silence.
    let half = format!("{}POST /fn/f/ HT", one("fourth"));
    stream.write_all(half.as_bytes()).await.expect("open");
    let rest = read_to_end(&mut stream).await;
    let rest = String::from_utf8_lossy(&rest);
    let (fourth, refused) = rest.split_once("fourth").expect("an answer");
    assert!(fourth.starts_with("HTTP/1.1 200 OK"), "{rest}");
    let refused = Answer::parse(refused.as_bytes());
    assert_eq!(
        (refused.status, &*refused.problem()),
        (408, "request-timeout")
    );
}

/// Requests that come at the moment at which their connection would be closed: what was not closed yet is answered.
#[tokio::test]
async fn no_reuse_is_lost_at_the_edge() {
    const IDLE_MS: u64 = 400;
    let server = Server::with(|config| config.settings.limits.idle_ms_max = IDLE_MS).await;
    let (mut answered, mut closed) = (0, 0);
    for round in 0..6 {
        let mut streams = vec![];
        for _ in 0..20 {
            let mut stream = server.connect().await;
            stream.write_all(HEALTH).await.expect("sent");
            read_some(&mut stream).await;
            streams.push((stream, Instant::now()));
        }
        let reuses = streams
            .into_iter()
            .enumerate()
            .map(|(index, (mut stream, idle_since))| {
                let after = Duration::from_millis(IDLE_MS - 20 + index as u64 * 2)
                    + Duration::from_micros(round * 300);
                tokio::spawn(async move {
                    sleep((idle_since + after).saturating_duration_since(Instant::now())).await;
                    let mut byte = [0];
                    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
                    // It was closed before: a client sees that and takes another.
                    if recv(&stream, &mut byte[..], flags) != Err(Errno::AGAIN) {
                        return None;
                    }
                    stream.write_all(HEALTH).await.ok()?;
                    Some(read_some(&mut stream).await.starts_with("HTTP/1.1 200"))
                })
            });
        for reuse in reuses.collect::<Vec<_>>() {
            match reuse.await.expect("no panic") {
                Some(true) => answered += 1,
                Some(false) => panic!("a request was lost"),
                None => closed += 1,
            }
        }
    }
    assert!(
        answered > 0 && closed > 0,
        "{answered} answered, {closed} closed: not the edge"
    );
}

/// Ten thousand that ask nothing keep nobody out, and each of them could have been a request's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_idle_connections_keep_nobody_out() {
    const IDLE: u32 = 4000;
    let server = server_with_function(|config| config.settings.limits.connections_max = IDLE).await;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = rustix::process::Rlimit {
        current: limit.maximum,
        ..limit
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, wanted).expect("allowed");
    let mut idle = vec![];
    for index in 0..IDLE {
        let mut stream = server.connect().await;
        if index % 2 == 0 {
            stream.write_all(HEALTH).await.expect("sent");
        }
        idle.push(stream);
    }
    eventually("they are not all open", async || {
        metric(&server, "jiffy_connections").await >= f64::from(IDLE - 64)
    })
    .await;
    for _ in 0..50 {
        let began = Instant::now();
        assert_eq!(server.get("/v1/health").await.status, 200);
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(server.send("POST", "/fn/f/", &[], b"x").await.text(), "x");
    }
    assert!(
        metric(
            &server,
            "jiffy_connections_ended_total{reason=\"made-room\"}"
        )
        .await
            > 0.0
    );
    assert_eq!(
        metric(&server, "jiffy_connections_refused_total{reason=\"full\"}").await,
        0.0
    );
}

/// Where all places are taken by such as do something, health, metrics and operators have the reserve.
#[tokio::test]
async fn the_reserve_is_for_health_metrics_and_operators() {
    let token = "0123456789abcdef0123456789abcdef";
    let server = Server::with(|config| {
        config.token = Some(token.to_owned().into());
        config.settings.limits.connections_max = 3;
        config.settings.limits.connections_reserved = 2;
    })
    .await;
    let mut slow = vec![];
    for _ in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /v1/health HT").await.expect("sent");
        slow.push(stream);
        sleep(Duration::from_millis(20)).await;
    }
    // Some that ask nothing are in the reserve, too.
    let _silent = [server.connect().await, server.connect().await];
    sleep(Duration::from_millis(50)).await;
    let bearer = format!("Bearer {token}");
    let operator = [("authorization", bearer.as_str())];
    for _ in 0..5 {
        let health = server.get("/v1/health").await;
        assert_eq!(
            (health.status, health.header("connection")),
            (200, Some("close"))
        );
        assert_eq!(
            server.send("GET", "/metrics", &operator, b"").await.status,
            200
        );
        assert_eq!(
            server
                .send("GET", "/v1/functions", &operator, b"")
                .await
                .status,
            200
        );
        for (method, target) in [("GET", "/fn/f/"), ("POST", "/v1/functions/f/invoke")] {
            let refused = server.send(method, target, &operator, b"").await;
            assert_eq!(
                (refused.status, &*refused.problem()),
                (503, "overloaded"),
                "{target}"
            );
            assert_eq!(refused.header("retry-after"), Some("1"));
        }
        let stranger = server.get("/v1/functions").await;
        assert_eq!((stranger.status, &*stranger.problem()), (503, "overloaded"));
    }
}

#[tokio::test]
async fn without_a_place_a_client_is_told_so() {
    let server = Server::with(|config| {
        config.settings.limits.connections_max = 1;
        config.settings.limits.connections_reserved = 0;
    })
    .await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /v1/health HT").await.expect("sent");
    sleep(Duration::from_millis(50)).await;
    let answer = server.get("/v1/health").await;
    assert_eq!((answer.status, &*answer.problem()), (503, "overloaded"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(
        answer.text().contains("limits.connections_max"),
        "{}",
        answer.text()
    );
    drop(slow);
    eventually("the place stays taken", async || {
        server.get("/v1/health").await.status == 200
    })
    .await;
    assert!(metric(&server, "jiffy_connections_refused_total{reason=\"full\"}").await >= 1.0);
}

/// 200 clients that hold back the last byte of a large body hold no more than all bodies may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_do_not_end_have_a_limit_together() {
    const BUDGET: u64 = 64 << 20;
    const BODY: usize = 6 << 20;
    let server = server_with_function(|config| {
        config.settings.limits.bodies_bytes_max = BUDGET;
        config.settings.limits.body_ms_max = 4000;
    })
    .await;
    let address = server.address;
    let clients = (0..200).map(|_| {
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("connection");
            let head = format!(
                "POST /fn/f/ HTTP/1.1\r\nhost: localhost\r\ncontent-length: {BODY}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.expect("sent");
            let body = vec![b'x'; 64 << 10];
            let mut left = BODY - 1;
            while left > 0 {
                let bytes = left.min(body.len());
                if stream.write_all(&body[..bytes]).await.is_err() {
                    break;
                }
                left -= bytes;
            }
            Answer::parse(&read_to_end(&mut stream).await)
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut peak = 0.0_f64;
    for _ in 0..20 {
        sleep(Duration::from_millis(50)).await;
        peak = peak.max(metric(&server, "jiffy_bodies_bytes").await);
    }
    assert!(peak > 0.0 && peak <= BUDGET as f64, "{peak}");
    let mut statuses = std::collections::BTreeMap::<u16, u32>::new();
    for client in clients {
        let answer = client.await.expect("no panic");
        if answer.status == 503 {
            assert_eq!(answer.problem(), "overloaded");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        *statuses.entry(answer.status).or_default() += 1;
    }
    assert!(statuses[&503] > 150 && statuses[&408] > 0, "{statuses:?}");
    eventually("some is still held", async || {
        metric(&server, "jiffy_bodies_bytes").await == 0.0
    })
    .await;
    assert_eq!(server.send("POST", "/fn/f/", &[], b"x").await.text(), "x");
}

/// Who takes its response slowly is not idle, though all of it is made: nobody gets its place, and it gets all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_gets_all_of_its_response() {
    const BODY: usize = 15 << 20;
    let server = server_with_function(|config| {
        config.settings.limits.body_bytes_max = 16 << 20;
        config.settings.limits.connections_max = 1;
        config.settings.limits.connections_reserved = 0;
        config.settings.limits.idle_ms_max = 500;
    })
    .await;
    let mut stream = server.connect().await;
    let head = format!(
        "POST /fn/f/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {BODY}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&vec![b'x'; BODY]).await.expect("sent");
    // Longer than an idle connection has, while others want its place.
    for _ in 0..8 {
        sleep(Duration::from_millis(100)).await;
        assert_eq!(server.get("/v1/health").await.status, 503);
    }
    let answer = Answer::parse(&read_to_end(&mut stream).await);
    assert_eq!((answer.status, answer.body.len()), (200, BODY));
}

/// Whichever API it came through, a result counts among all bodies until its client has taken it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_counts_until_it_is_taken() {
    const BODY: usize = 15 << 20;
    let server = server_with_function(|config| {
        config.settings.limits.body_bytes_max = 16 << 20;
    })
    .await;
    for (number, path) in [
        "/v1/functions/f/invoke",
        "/fn/f/",
        "/2015-03-31/functions/f/invocations",
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = server.connect().await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {BODY}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        let body = [&b"\""[..], &vec![b'x'; BODY - 2], b"\""].concat();
        stream.write_all(&body).await.expect("sent");
        let answered = format!(
            "jiffy_requests_total{{function=\"f\",outcome=\"ok\"}} {}",
            number + 1
        );
        eventually("it is not answered", async || {
            server.get("/metrics").await.text().contains(&answered)
        })
        .await;
        // The request's own is given back by now.
        sleep(Duration::from_millis(200)).await;
        let held = metric(&server, "jiffy_bodies_bytes").await;
        assert_eq!(held, BODY as f64, "{path}");
        let answer = Answer::parse(&read_to_end(&mut stream).await);
        assert_eq!((answer.status, answer.body.len()), (200, BODY), "{path}");
        eventually("some is still held", async || {
            metric(&server, "jiffy_bodies_bytes").await == 0.0
        })
        .await;
    }
}

/// A crowd of slow clients has the places for a second, not for as long as a head may take.
#[tokio::test]
async fn slow_heads_make_room_for_others() {
    let server = server_with_function(|config| {
        config.settings.limits.connections_max = 3;
        config.settings.limits.connections_reserved = 0;
    })
    .await;
    let mut slow = vec![];
    for _ in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /v1/health HT").await.expect("sent");
        slow.push(stream);
    }
    sleep(Duration::from_millis(50)).await;
    assert_eq!(server.get("/v1/health").await.status, 503);
    sleep(Duration::from_millis(1200)).await;
    assert_eq!(server.send("POST", "/fn/f/", &[], b"x").await.text(), "x");
    let told = Answer::parse(&read_to_end(&mut slow[0]).await);
    assert_eq!((told.status, &*told.problem()), (503, "overloaded"));
}
