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
