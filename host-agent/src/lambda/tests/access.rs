//! Who may ask, and when it is found out.

use super::*;

/// Uploads are in memory, and few at once: nobody takes their places who does not even claim to have a key.
#[tokio::test]
async fn who_has_no_key_is_refused_before_the_body() {
    let no_key = "AWS4-HMAC-SHA256 Credential=AKIA2/20260101/us-east-1/lambda/aws4_request, \
                  SignedHeaders=host;x-amz-date, Signature=0";
    for keys in [
        vec![("AKIA1".to_owned(), "secret".to_owned().into())],
        vec![],
    ] {
        let server = Server::with(|config| {
            config.lambda_keys = keys;
            config.token = Some("0123456789abcdef0123456789abcdef".to_owned().into());
        })
        .await;
        for authorization in ["", no_key, "Bearer wrong"] {
            let request = format!(
                "POST {FUNCTIONS} HTTP/1.1\r\nhost: localhost\r\nauthorization: {authorization}\r\n\
                 expect: 100-continue\r\nconnection: close\r\ncontent-length: 1000000\r\n\r\n"
            );
            let refused = server.raw(request.as_bytes());
            let refused = tokio::time::timeout(std::time::Duration::from_secs(5), refused);
            let answer = Answer::parse(&refused.await.expect("at once"));
            assert_eq!(answer.status, 403, "{authorization:?}");
        }
    }
}

/// As in API v1, see there; the errors have the form that an SDK reads.
#[tokio::test]
async fn without_a_token_only_loopback_is_answered() {
    let server = Server::start().await;
    for (headers, status, name) in [
        ("host: rebound.example", 421, "MisdirectedRequestException"),
        (
            "host: localhost\r\norigin: https://evil.example",
            403,
            "AccessDeniedException",
        ),
    ] {
        let request = format!("GET {FUNCTIONS} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n\r\n");
        let answer = Answer::parse(&server.raw(request.as_bytes()).await);
        check(&answer, status, name);
    }
}

#[tokio::test]
async fn with_keys_a_signature_or_the_token_is_needed() {
    let token = "0123456789abcdef0123456789abcdef";
    let server = Server::with(|config| {
        config.lambda_keys = vec![("AKID".into(), "secret".to_owned().into())];
        config.token = Some(token.to_owned().into());
    })
    .await;
    let missing = "MissingAuthenticationTokenException";
    check(&server.get(FUNCTIONS).await, 403, missing);
    let wrong = [("authorization", "Bearer other")];
    let answer = server.send("GET", FUNCTIONS, &wrong, b"").await;
    check(&answer, 403, "IncompleteSignatureException");
    let right = format!("Bearer {token}");
    let headers = [("authorization", &*right)];
    assert_eq!(
        server.send("GET", FUNCTIONS, &headers, b"").await.status,
        200
    );
}

#[tokio::test]
async fn with_keys_and_no_token_a_signature_is_needed() {
    let server = Server::with(|config| {
        config.lambda_keys = vec![("AKID".into(), "secret".to_owned().into())];
    })
    .await;
    check(
        &server.get(FUNCTIONS).await,
        403,
        "MissingAuthenticationTokenException",
    );
}

#[tokio::test]
async fn without_keys_the_token_is_needed() {
    let token = "0123456789abcdef0123456789abcdef";
    let server = Server::with(|config| config.token = Some(token.to_owned().into())).await;
    check(
        &server.get(FUNCTIONS).await,
        403,
        "MissingAuthenticationTokenException",
    );
}

#[tokio::test]
async fn a_disabled_api_is_not_there() {
    let server = Server::with(|config| config.settings.lambda.enabled = false).await;
    assert_eq!(server.get(FUNCTIONS).await.problem(), "not-found");
}

/// What is refused before a router sees it has the form that an SDK reads, as all that this API refuses.
#[tokio::test]
async fn what_is_refused_early_has_the_form_of_this_api() {
    let server = Server::with(|config| config.settings.limits.header_bytes_max = 8192).await;
    let long = "a".repeat(9000);
    let invalid = "InvalidParameterValueException";
    for (status, name, head) in [
        (400, invalid, " HTTP/1.1".to_owned()),
        (
            400,
            invalid,
            " HTTP/1.1\r\nhost: localhost\r\nhost: localhost".to_owned(),
        ),
        (
            414,
            "UriTooLongException",
            format!("?Marker={long} HTTP/1.1\r\nhost: localhost"),
        ),
        (
            431,
            "RequestHeaderFieldsTooLargeException",
            format!(" HTTP/1.1\r\nhost: localhost\r\nx-long: {long}"),
        ),
        (
            501,
            "NotImplementedException",
            " HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip, chunked".to_owned(),
        ),
    ] {
        let body = if status == 501 {
            "4\r\nbody\r\n0\r\n\r\n"
        } else {
            ""
        };
        for path in [FUNCTIONS, "/url/f/", "/code/0"] {
            let request = format!("POST {path}{head}\r\nconnection: close\r\n\r\n{body}");
            let answer = Answer::parse(&server.raw(request.as_bytes()).await);
            check(&answer, status, name);
            assert_eq!(answer.header("jiffy-error"), None, "{path}");
        }
        // Any other path is of API v1, and so is each if this one is off.
        let request = format!("POST /v1/functions{head}\r\nconnection: close\r\n\r\n{body}");
        let answer = Answer::parse(&server.raw(request.as_bytes()).await);
        assert_eq!(answer.status, status);
        answer.problem();
    }
    let server = Server::with(|config| config.settings.lambda.enabled = false).await;
    let request = format!("GET {FUNCTIONS} HTTP/1.1\r\nconnection: close\r\n\r\n");
    let answer = Answer::parse(&server.raw(request.as_bytes()).await);
    assert_eq!(
        (answer.status, &*answer.problem()),
        (400, "invalid-request")
    );
}

/// Without a connection left, the reserve takes no invocations: an SDK is told to come again.
#[tokio::test]
async fn the_reserve_refuses_in_the_form_of_this_api() {
    let token = "0123456789abcdef0123456789abcdef";
    let server = Server::with(|config| {
        config.token = Some(token.to_owned().into());
        config.settings.limits.connections_max = 1;
        config.settings.limits.connections_reserved = 2;
    })
    .await;
    let mut slow = server.connect().await;
    tokio::io::AsyncWriteExt::write_all(&mut slow, b"GET /v1/health HT")
        .await
        .expect("sent");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let bearer = format!("Bearer {token}");
    for headers in [&[("authorization", &*bearer)][..], &[]] {
        let refused = invoke(&server, "f", headers, "event").await;
        check(&refused, 500, "ServiceException");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert!(refused.text().contains("limits.connections_max"));
    }
}

/// An operator who counts what went wrong need not know by which API it was asked for.
#[tokio::test]
async fn what_is_refused_is_counted_by_its_type() {
    let server = Server::start().await;
    let counted = async |kind: &str| {
        let name = format!("jiffy_problems_total{{type=\"{kind}\"}} ");
        let metrics = server.get("/metrics").await;
        let mut lines = metrics.text().lines();
        let count = lines.find_map(|line| line.strip_prefix(&name)?.parse().ok());
        count.unwrap_or_else(|| panic!("{name} is missing"))
    };
    for (kind, status, target) in [
        ("not-found", 404, format!("{FUNCTIONS}/nobody")),
        ("not-found", 404, "/url/nobody/".to_owned()),
        ("other-origin", 403, "/code/0".to_owned()),
        ("not-found", 404, "/v1/functions/nobody".to_owned()),
        ("invalid-request", 400, format!("{FUNCTIONS}?MaxItems=x")),
        (
            "target-too-long",
            414,
            format!("{FUNCTIONS}?Marker={}", "a".repeat(9000)),
        ),
    ] {
        let before: u64 = counted(kind).await;
        assert_eq!(server.get(&target).await.status, status, "{target}");
        assert_eq!(counted(kind).await, before + 1, "{target}");
    }
}
