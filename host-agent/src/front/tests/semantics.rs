//! What HTTP/1.1 says of a message's length and of the headers of its connection, at the socket: method × status × header.

use super::*;

/// What a function answers, and what a client has to get.
struct Row {
    section: &'static str,
    method: &'static str,
    status: u16,
    headers: &'static [&'static str],
    body: &'static str,
    /// Of the response: its `Content-Length`.
    length: Option<&'static str>,
    /// Its content.
    content: &'static str,
}

const ROWS: &[Row] = &[
    row(
        "RFC 9110, 8.6",
        "GET",
        200,
        &[],
        "hello",
        Some("5"),
        "hello",
    ),
    row("RFC 9110, 8.6", "GET", 200, &[], "", Some("0"), ""),
    row(
        "RFC 9112, 6.3",
        "GET",
        200,
        &["content-length=99"],
        "hello",
        Some("5"),
        "hello",
    ),
    row(
        "RFC 9112, 6.3",
        "GET",
        200,
        &["content-length=1"],
        "hello",
        Some("5"),
        "hello",
    ),
    row(
        "RFC 9112, 6.3",
        "POST",
        201,
        &["content-length=-1"],
        "hello",
        Some("5"),
        "hello",
    ),
    row(
        "RFC 9112, 6.1",
        "GET",
        200,
        &["transfer-encoding=chunked"],
        "hello",
        Some("5"),
        "hello",
    ),
    row(
        "RFC 9112, 6.1",
        "GET",
        200,
        &["transfer-encoding=gzip, chunked", "content-length=3"],
        "hello",
        Some("5"),
        "hello",
    ),
    row(
        "RFC 9112, 6.1",
        "HEAD",
        200,
        &["transfer-encoding=chunked"],
        "hello",
        Some("5"),
        "",
    ),
    row("RFC 9110, 9.3.2", "HEAD", 200, &[], "hello", Some("5"), ""),
    row(
        "RFC 9110, 9.3.2",
        "HEAD",
        200,
        &["content-length=1234"],
        "",
        Some("1234"),
        "",
    ),
    row("RFC 9110, 8.6", "HEAD", 200, &[], "", None, ""),
    row(
        "RFC 9110, 8.6",
        "HEAD",
        200,
        &["content-length=1", "content-length=2"],
        "",
        None,
        "",
    ),
    row(
        "RFC 9110, 8.6",
        "HEAD",
        200,
        &["content-length=+1"],
        "",
        None,
        "",
    ),
    row("RFC 9110, 8.6", "HEAD", 404, &[], "hello", Some("5"), ""),
    row("RFC 9110, 8.6", "GET", 204, &[], "hello", None, ""),
    row(
        "RFC 9110, 8.6",
        "GET",
        204,
        &["content-length=0"],
        "",
        None,
        "",
    ),
    row("RFC 9110, 8.6", "HEAD", 204, &[], "", None, ""),
    row(
        "RFC 9110, 8.6",
        "HEAD",
        204,
        &["content-length=0"],
        "",
        None,
        "",
    ),
    row(
        "RFC 9110, 8.6",
        "OPTIONS",
        204,
        &["content-length=5"],
        "hello",
        None,
        "",
    ),
    row("RFC 9110, 15.3.6", "GET", 205, &[], "hello", Some("0"), ""),
    row(
        "RFC 9110, 15.3.6",
        "POST",
        205,
        &["content-length=5"],
        "hello",
        Some("0"),
        "",
    ),
    row(
        "RFC 9110, 15.3.6",
        "HEAD",
        205,
        &["content-length=5"],
        "",
        None,
        "",
    ),
    row("RFC 9110, 15.4.5", "GET", 304, &[], "hello", None, ""),
    row(
        "RFC 9110, 15.4.5",
        "GET",
        304,
        &["content-length=5"],
        "",
        None,
        "",
    ),
    row(
        "RFC 9110, 15.4.5",
        "HEAD",
        304,
        &["content-length=5"],
        "",
        None,
        "",
    ),
    row(
        "RFC 9110, 15.3.7",
        "GET",
        206,
        &["content-range=bytes 0-4/9"],
        "hello",
        Some("5"),
        "hello",
    ),
    row(
        "RFC 9110, 15",
        "DELETE",
        599,
        &[],
        "hello",
        Some("5"),
        "hello",
    ),
];

const fn row(
    section: &'static str,
    method: &'static str,
    status: u16,
    headers: &'static [&'static str],
    body: &'static str,
    length: Option<&'static str>,
    content: &'static str,
) -> Row {
    Row {
        section,
        method,
        status,
        headers,
        body,
        length,
        content,
    }
}

#[tokio::test]
async fn a_functions_length_is_what_the_client_gets() {
    let server = Server::start().await;
    crate::native::tests::deploy(&server, "f").await;
    for row in ROWS {
        let Row {
            section,
            method,
            status,
            headers,
            body,
            length,
            content,
        } = row;
        let what = format!("{section}: {method} {status} {headers:?} {body:?}");
        let mut pairs = vec![("x-answer", status.to_string())];
        pairs.extend(
            headers
                .iter()
                .map(|header| ("x-answer-header", header.to_string())),
        );
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answer = server.send(method, "/fn/f/", &pairs, body.as_bytes()).await;
        assert_eq!(answer.status, *status, "{what}");
        assert_eq!(answer.header("content-length"), *length, "{what}");
        assert_eq!(answer.header("transfer-encoding"), None, "{what}");
        assert_eq!(answer.text(), *content, "{what}");
    }
}

/// The next response on a connection begins where the last one ended, whatever a function said of it.
#[tokio::test]
async fn no_function_shifts_the_next_response() {
    let server = Server::start().await;
    crate::native::tests::deploy(&server, "f").await;
    for row in ROWS {
        let Row {
            method,
            status,
            headers,
            body,
            ..
        } = row;
        let mut stream = server.connect().await;
        let lines: String = headers
            .iter()
            .map(|header| format!("x-answer-header: {header}\r\n"))
            .collect();
        let first = format!(
            "{method} /fn/f/ HTTP/1.1\r\nhost: localhost\r\nx-answer: {status}\r\n{lines}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let second = "POST /fn/f/ HTTP/1.1\r\nhost: localhost\r\nx-answer: 299\r\ncontent-length: 4\r\nconnection: close\r\n\r\nlast";
        stream
            .write_all(format!("{first}{second}").as_bytes())
            .await
            .expect("sent");
        let read = read_to_end(&mut stream).await;
        let text = String::from_utf8_lossy(&read);
        let (_, rest) = text.split_once("\r\n\r\n").expect("a head");
        let content = row.content;
        let rest = rest
            .strip_prefix(content)
            .unwrap_or_else(|| panic!("{}: {text}", row.section));
        assert!(rest.starts_with("HTTP/1.1 299 "), "{}: {text}", row.section);
        assert!(rest.ends_with("\r\n\r\nlast"), "{}: {text}", row.section);
    }
}

#[tokio::test]
async fn the_agents_own_answers_have_true_lengths_too() {
    let server = Server::start().await;
    crate::native::tests::deploy(&server, "f").await;
    // RFC 9110, 9.3.2: as the answer to GET, without its content.
    let got = server.get("/openapi.json").await;
    let head = server.send("HEAD", "/openapi.json", &[], b"").await;
    assert_eq!(head.header("content-length"), got.header("content-length"));
    assert_eq!((head.status, head.text()), (200, ""));
    // RFC 9110, 8.6.
    let deleted = server.send("DELETE", "/v1/functions/f", &[], b"").await;
    assert_eq!(
        (deleted.status, deleted.header("content-length")),
        (204, None)
    );
    // RFC 9110, 9.3.6: nothing here is a tunnel. 9.3.8: nothing sends a request back.
    let connect = server
        .raw(b"CONNECT localhost:80 HTTP/1.1\r\nhost: localhost:80\r\nconnection: close\r\n\r\n");
    let connect = Answer::parse(&connect.await);
    assert_eq!(
        (connect.status, &*connect.problem()),
        (501, "not-implemented")
    );
    let trace = server.send("TRACE", "/fn/f/", &[], b"").await;
    assert_eq!(
        (trace.status, &*trace.problem()),
        (405, "method-not-allowed")
    );
}

/// RFC 9112, 6.1: a coding that the agent does not know must not be handed on as if it were content.
#[tokio::test]
async fn a_coded_body_is_refused() {
    let server = Server::start().await;
    crate::native::tests::deploy(&server, "f").await;
    for (status, kind, lines) in [
        (
            501,
            "not-implemented",
            "transfer-encoding: gzip, chunked\r\n",
        ),
        (
            501,
            "not-implemented",
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
        ),
        (
            501,
            "not-implemented",
            "transfer-encoding: identity, chunked\r\n",
        ),
        (
            400,
            "invalid-request",
            "transfer-encoding: chunked, chunked\r\n",
        ),
        (
            400,
            "invalid-request",
            "transfer-encoding: chunked, gzip\r\n",
        ),
    ] {
        let request = format!(
            "POST /fn/f/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{lines}\r\n4\r\nbody\r\n0\r\n\r\n"
        );
        let answer = Answer::parse(&server.raw(request.as_bytes()).await);
        assert_eq!(
            (answer.status, &*answer.problem()),
            (status, kind),
            "{lines}"
        );
        assert_eq!(answer.header("jiffy-error"), Some(kind), "{lines}");
    }
    let request = "POST /fn/f/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: Chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    let answer = Answer::parse(&server.raw(request.as_bytes()).await);
    assert_eq!((answer.status, answer.text()), (200, "body"));
}

/// What a client says of its connection does not reach a function, and what it says of who it is neither.
#[tokio::test]
async fn a_function_gets_what_is_the_messages_and_who_sent_it() {
    let server = Server::start().await;
    crate::native::tests::deploy(&server, "f").await;
    let hostile = [
        ("proxy-connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("trailer", "x-later"),
        ("upgrade", "h2c"),
        ("x-forwarded-for", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("x-kept", "1"),
    ];
    let answer = server.send("POST", "/fn/f/", &hostile, b"!headers").await;
    let lines: Vec<_> = answer.text().lines().collect();
    assert_eq!(
        lines,
        [
            "host: localhost",
            "x-kept: 1",
            "forwarded: for=127.0.0.1;proto=http;host=localhost",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-proto: http",
        ]
    );
}

#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    let server = Server::with(|config| {
        config.proxies = vec!["127.0.0.0/8".parse().expect("a range")];
    })
    .await;
    crate::native::tests::deploy(&server, "f").await;
    let said = [
        ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=6.6.6.6"),
        ("x-request-start", "t=1"),
    ];
    let answer = server.send("POST", "/fn/f/", &said, b"!headers").await;
    for line in [
        "x-forwarded-for: 203.0.113.9, 127.0.0.1",
        "forwarded: for=203.0.113.9;proto=https;host=localhost",
        "x-forwarded-proto: https",
        "x-request-start: t=1",
    ] {
        assert!(
            answer.text().lines().any(|found| found == line),
            "{line}: {}",
            answer.text()
        );
    }
    assert!(!answer.text().contains("6.6.6.6"), "{}", answer.text());
    // Its context says the same, whichever way the request came.
    let lambda = "/2015-03-31/functions/f/invocations";
    for target in ["/v1/functions/f/invoke", "/fn/f/", lambda] {
        let answer = server.send("POST", target, &said, b"\"!client\"").await;
        assert_eq!(answer.text(), "203.0.113.9", "{target}");
    }
}

#[tokio::test]
async fn a_bearer_token_may_stand_behind_several_spaces() {
    let token = "0123456789abcdef0123456789abcdef";
    let server = Server::with(|config| config.token = Some(token.to_owned().into())).await;
    let status = |value: String| {
        let server = &server;
        async move {
            let headers = [("authorization", value.as_str())];
            server
                .send("GET", "/v1/functions", &headers, b"")
                .await
                .status
        }
    };
    for scheme in ["Bearer ", "bearer   ", "BEARER  "] {
        assert_eq!(status(format!("{scheme}{token}")).await, 200, "{scheme:?}");
    }
    for wrong in ["Bearer", "Bearer\t", "Basic ", "Bearerx "] {
        assert_eq!(status(format!("{wrong}{token}")).await, 401, "{wrong:?}");
    }
    let twice = [
        ("authorization", "Bearer x"),
        ("authorization", &format!("Bearer {token}")),
    ];
    assert_eq!(
        server
            .send("GET", "/v1/functions", &twice, b"")
            .await
            .status,
        401
    );
}

/// Fetch, 3.3.5: a preflight carries no credentials, and what it is answered is not the function's content.
#[tokio::test]
async fn a_preflight_to_a_function_needs_no_token_and_runs_nothing() {
    let token = "0123456789abcdef0123456789abcdef";
    let server = Server::with(|config| config.token = Some(token.to_owned().into())).await;
    let asks = [
        ("origin", "https://shop.example"),
        ("access-control-request-method", "PUT"),
        (
            "access-control-request-headers",
            "authorization,content-type",
        ),
    ];
    // Nothing of this name is deployed: nobody looked.
    let answer = server.send("OPTIONS", "/fn/none/", &asks, b"").await;
    assert_eq!((answer.status, answer.text()), (204, ""));
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "PUT"),
        ("access-control-allow-headers", "authorization,content-type"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_eq!(
        server
            .send("OPTIONS", "/fn/none/", &asks[..1], b"")
            .await
            .status,
        401
    );
    assert_eq!(
        server.send("GET", "/fn/none/", &asks, b"").await.status,
        401
    );
    assert_eq!(
        server
            .send("OPTIONS", "/v1/functions", &asks, b"")
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn parameters_that_a_path_has_not_are_refused() {
    let server = Server::start().await;
    crate::native::tests::deploy(&server, "f").await;
    for (method, target) in [
        ("POST", "/v1/functions/f/invoke?qualifier="),
        (
            "POST",
            "/v1/functions/f/invoke?qualifier=live&qualifier=live",
        ),
        ("POST", "/v1/functions/f/invoke?x=1"),
        ("GET", "/v1/functions/f?qualifier=live"),
        ("GET", "/v1/functions/f/aliases?limit=1"),
        ("GET", "/v1/functions?limit=1&limit=1"),
        ("GET", "/v1/instances?x"),
        ("DELETE", "/v1/functions/f?force=true"),
    ] {
        let answer = server.send(method, target, &[], b"{}").await;
        assert_eq!(
            (answer.status, &*answer.problem()),
            (400, "invalid-request"),
            "{method} {target}"
        );
    }
    for target in [
        "/v1/functions/f?",
        "/v1/functions?limit=1",
        "/v1/health?cache=no",
    ] {
        assert_eq!(server.get(target).await.status, 200, "{target}");
    }
}
