//! Invoke: what a function is told, and what it answers.

use super::*;

#[tokio::test]
async fn requests_have_results_and_functions_errors_are_results() {
    let server = Server::start().await;
    create(&server, "f", json!({ "Publish": true })).await;
    let answer = invoke(&server, "f", &[], "event").await;
    assert_eq!((answer.status, answer.text()), (200, "\"event\""));
    assert_eq!(answer.header("x-amz-executed-version"), Some("$LATEST"));
    assert_eq!(answer.header("x-amz-function-error"), None);
    assert_eq!(invoke(&server, "f", &[], "").await.text(), "{}");
    let arn = "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af%3A1";
    let answer = invoke(&server, arn, &[], "event").await;
    assert_eq!(answer.header("x-amz-executed-version"), Some("1"));

    let answer = invoke(
        &server,
        "f",
        &[("X-Amz-Log-Type", "Tail")],
        "!log some text",
    )
    .await;
    let tail = answer.header("x-amz-log-result").expect("log");
    let tail = String::from_utf8(BASE64.decode(tail).expect("base64")).expect("text");
    assert!(tail.contains("some text"), "{tail}");

    for (event, kind, name) in [
        ("!error text", "Handled", None),
        ("!bad", "Handled", Some("BadEvent")),
        ("!panic message", "Unhandled", Some("Runtime.Panic")),
        ("!oom", "Unhandled", Some("Runtime.OutOfMemory")),
        ("!timeout", "Unhandled", Some("Sandbox.Timedout")),
        ("!fault", "Unhandled", Some("Runtime.Fault")),
    ] {
        let answer = invoke(&server, "f", &[], event).await;
        assert_eq!(answer.status, 200, "{event}: {}", answer.text());
        assert_eq!(answer.header("x-amz-function-error"), Some(kind), "{event}");
        let document = answer.document();
        assert!(document["errorMessage"].is_string());
        if let Some(name) = name {
            assert_eq!(document["errorType"], name, "{event}");
        }
    }
    check(
        &invoke(&server, "f", &[], "!die").await,
        500,
        "ServiceException",
    );
    check(
        &invoke(&server, "g", &[], "").await,
        404,
        "ResourceNotFoundException",
    );

    let kind = |kind| [("X-Amz-Invocation-Type", kind)];
    assert_eq!(invoke(&server, "f", &kind("DryRun"), "").await.status, 204);
    let dry = invoke(&server, "f:9", &kind("DryRun"), "").await;
    check(&dry, 404, "ResourceNotFoundException");
    for other in ["Event", "Other"] {
        let refused = invoke(&server, "f", &kind(other), "").await;
        check(&refused, 400, "InvalidParameterValueException");
    }
}

#[tokio::test]
async fn a_payload_that_is_not_json_never_reaches_a_function() {
    let server = Server::start().await;
    create(&server, "f", json!({})).await;
    let target = format!("{FUNCTIONS}/f/invocations");
    for payload in ["event", "{", "{} {}", "\u{0}"] {
        let refused = server.send("POST", &target, &[], payload.as_bytes()).await;
        check(&refused, 400, "InvalidRequestContentException");
    }
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for payload in ["1", " null ", "\"text\"", &deep] {
        let answer = server.send("POST", &target, &[], payload.as_bytes()).await;
        assert_eq!((answer.status, answer.text()), (200, payload));
    }
}

/// Through Invoke, as through the gateways that call it: the event is unpacked, and the answer packed alike.
#[tokio::test]
async fn a_handler_for_http_is_given_the_request_that_is_in_the_event() {
    let server = Server::start().await;
    let zip = zip_of(&[("x", &image_with(jiffy_abi::note::FLAG_HTTP, "f"))]);
    create(&server, "f", json!({ "Code": { "ZipFile": zip } })).await;
    create(&server, "g", json!({})).await;
    let send = async |name: &str, event: &Value| {
        let target = format!("{FUNCTIONS}/{name}/invocations");
        server
            .send("POST", &target, &[], event.to_string().as_bytes())
            .await
            .document()
    };
    let event = json!({
        "version": "2.0", "rawPath": "/a", "rawQueryString": "b=c", "body": "dGV4dA==", "isBase64Encoded": true,
        "headers": {}, "requestContext": { "http": { "method": "PATCH" } },
    });
    let wanted = json!({
        "statusCode": 200, "body": "text", "isBase64Encoded": false,
        "headers": { "x-method": "PATCH", "x-target": "/a?b=c" },
    });
    assert_eq!(send("f", &event).await, wanted);
    let event = json!({
        "httpMethod": "GET", "path": "/a", "queryStringParameters": { "b": "c" },
        "requestContext": {}, "body": null,
    });
    let answer = send("f", &event).await;
    assert_eq!(
        answer["multiValueHeaders"],
        json!({ "x-method": ["GET"], "x-target": ["/a?b=c"] })
    );
    // A handler for events gets it as it is.
    assert_eq!(send("g", &event).await, event);
}

#[tokio::test]
async fn a_function_is_told_what_lambda_tells() {
    let server = Server::start().await;
    create(&server, "f", json!({ "Publish": true })).await;
    let told = async |name: &str, context: &str| {
        let headers = [("x-amz-client-context", context)];
        invoke(&server, name, &headers, "!context").await
    };
    let context = r#"{"client":{"app_title":"t"}}"#;
    let encoded = BASE64.encode(context);
    for (name, version) in [("f", "$LATEST"), ("f:1", "1")] {
        let answer = told(name, &encoded).await;
        assert_eq!(answer.text(), format!("{version} {context}"));
    }
    let long = BASE64.encode(format!("\"{}\"", "x".repeat(3000)));
    for wrong in ["%", &BASE64.encode("no json"), &long] {
        check(
            &told("f", wrong).await,
            400,
            "InvalidRequestContentException",
        );
    }
    let tenant = [("x-amz-tenant-id", "t")];
    check(
        &invoke(&server, "f", &tenant, "x").await,
        400,
        "InvalidParameterValueException",
    );
}
