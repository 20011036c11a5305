//! The API as an SDK sees it, over a port. `tests/clients` has the SDKs themselves.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};

use super::{code::tests::zip_of, *};
use crate::{
    images::tests::image,
    serve::tests::{Answer, Server},
};

const FUNCTIONS: &str = "/2015-03-31/functions";

async fn create(server: &Server, name: &str, more: Value) -> Answer {
    let mut document = json!({
        "FunctionName": name,
        "Role": "arn:aws:iam::000000000000:role/any",
        "Runtime": "provided.al2023",
        "Handler": "bootstrap",
        "Code": { "ZipFile": zip_of(&[("bootstrap", &image(name))]) },
    });
    for (key, value) in more.as_object().expect("fields") {
        document[key] = value.clone();
    }
    server.json("POST", FUNCTIONS, document).await
}

async fn invoke(server: &Server, name: &str, headers: &[(&str, &str)], event: &str) -> Answer {
    let target = format!("{FUNCTIONS}/{name}/invocations");
    server
        .send("POST", &target, headers, event.as_bytes())
        .await
}

/// Checks status and name of an exception.
fn check(answer: &Answer, status: u16, name: &str) {
    let found = answer.header("x-amzn-errortype");
    assert_eq!(
        (answer.status, found),
        (status, Some(name)),
        "{}",
        answer.text()
    );
    let document = answer.document();
    assert!(document["Message"].is_string() && document["message"].is_string());
    assert_eq!(
        document["Type"],
        if status < 500 { "User" } else { "Service" }
    );
    assert!(answer.header("x-amzn-requestid").is_some());
}

#[test]
fn paths_of_this_api_begin_with_a_date() {
    for path in ["/2015-03-31/functions", "/2017-10-31/functions/f/x"] {
        assert!(is_path(path), "{path}");
    }
    for path in [
        "",
        "/",
        "/v1/functions",
        "/2015-03-31",
        "/2015x03-31/functions",
        "/é15-03-31/functions",
    ] {
        assert!(!is_path(path), "{path}");
    }
}

#[tokio::test]
async fn a_function_is_created_read_updated_and_deleted() {
    let server = Server::start().await;
    let settings = json!({
        "MemorySize": 129, "Timeout": 7, "Environment": { "Variables": { "A": "b" } },
        "Description": "text", "Publish": true,
    });
    let created = create(&server, "f", settings).await;
    assert_eq!(created.status, 201, "{}", created.text());
    let created = created.document();
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
    for (key, value) in [
        ("FunctionName", json!("f")),
        ("FunctionArn", json!(format!("{arn}:1"))),
        ("Version", json!("1")),
        ("MemorySize", json!(130)),
        ("Timeout", json!(7)),
        (
            "Environment",
            json!({ "Variables": { "A": crate::model::HIDDEN_VALUE } }),
        ),
        ("Description", json!("text")),
        ("State", json!("Active")),
        ("LastUpdateStatus", json!("Successful")),
        ("CodeSize", json!(image("f").len())),
        (
            "CodeSha256",
            json!(BASE64.encode(jiffy_snapshots::Digest::of(&image("f")).0)),
        ),
        ("PackageType", json!("Zip")),
    ] {
        assert_eq!(created[key], value, "{key}");
    }
    let modified = created["LastModified"].as_str().expect("text");
    assert!(
        modified.len() == 28 && modified.ends_with("+0000"),
        "{modified}"
    );
    check(
        &create(&server, "f", json!({})).await,
        409,
        "ResourceConflictException",
    );

    let target = format!("{FUNCTIONS}/f");
    let got = server.get(&target).await.document();
    assert_eq!(got["Configuration"]["FunctionArn"], arn);
    assert_eq!(got["Configuration"]["Version"], "$LATEST");
    let revision = got["Configuration"]["RevisionId"].clone();

    let configuration = format!("{target}/configuration");
    let stale = json!({ "Timeout": 9, "RevisionId": "another" });
    let refused = server.json("PUT", &configuration, stale).await;
    check(&refused, 412, "PreconditionFailedException");
    let update = json!({ "Timeout": 9, "RevisionId": revision });
    let updated = server.json("PUT", &configuration, update).await.document();
    assert_eq!(
        (&updated["Timeout"], &updated["MemorySize"]),
        (&json!(9), &json!(130))
    );
    let code = json!({ "ZipFile": zip_of(&[("x", &image("other"))]), "Publish": true });
    let updated = server.json("PUT", &format!("{target}/code"), code).await;
    assert_eq!(updated.document()["Version"], "3");
    assert_eq!(updated.document()["Timeout"], 9);

    let published = server
        .send("POST", &format!("{target}/versions"), &[], b"")
        .await;
    assert_eq!(
        (published.status, &published.document()["Version"]),
        (201, &json!("3"))
    );
    let versions = server.get(&format!("{target}/versions")).await.document();
    let numbers: Vec<_> = versions["Versions"]
        .as_array()
        .expect("list")
        .iter()
        .map(|version| version["Version"].as_str().expect("text").to_owned())
        .collect();
    assert_eq!(numbers, ["$LATEST", "1", "2", "3"]);
    let list = server
        .get(&format!("{FUNCTIONS}/?MaxItems=10"))
        .await
        .document();
    assert_eq!(list["Functions"][0]["FunctionName"], "f");

    let latest = format!("{target}?Qualifier=$LATEST");
    let refused = server.send("DELETE", &latest, &[], b"").await;
    check(&refused, 400, "InvalidParameterValueException");
    let one = format!("{target}?Qualifier=1");
    assert_eq!(server.send("DELETE", &one, &[], b"").await.status, 204);
    assert_eq!(server.send("DELETE", &target, &[], b"").await.status, 204);
    check(&server.get(&target).await, 404, "ResourceNotFoundException");
}

#[tokio::test]
async fn requests_have_results_and_functions_errors_are_results() {
    let server = Server::start().await;
    create(&server, "f", json!({})).await;
    let answer = invoke(&server, "f", &[], "event").await;
    assert_eq!((answer.status, answer.text()), (200, "event"));
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
async fn aliases_and_concurrency_have_lambdas_shapes() {
    let server = Server::start().await;
    create(&server, "f", json!({})).await;
    let code = json!({ "ZipFile": zip_of(&[("x", &image("f"))]) });
    server
        .json("PUT", &format!("{FUNCTIONS}/f/code"), code)
        .await;
    let target = format!("{FUNCTIONS}/f/aliases");
    let wanted = json!({
        "Name": "prod", "FunctionVersion": "1",
        "RoutingConfig": { "AdditionalVersionWeights": { "2": 0.25 } },
    });
    let created = server.json("POST", &target, wanted.clone()).await;
    assert_eq!(created.status, 201);
    let alias = created.document();
    assert_eq!(
        alias["AliasArn"],
        "arn:aws:lambda:us-east-1:000000000000:function:f:prod"
    );
    assert_eq!(
        alias["RoutingConfig"]["AdditionalVersionWeights"]["2"],
        0.25
    );
    let again = server.json("POST", &target, wanted).await;
    check(&again, 409, "ResourceConflictException");

    let prod = format!("{target}/prod");
    let update = json!({ "FunctionVersion": "2", "RoutingConfig": {} });
    let updated = server.json("PUT", &prod, update).await.document();
    assert_eq!(
        (&updated["FunctionVersion"], &updated["RoutingConfig"]),
        (&json!("2"), &Value::Null)
    );
    assert_ne!(updated["RevisionId"], alias["RevisionId"]);
    assert_eq!(server.get(&prod).await.document(), updated);
    let list = server.get(&target).await.document();
    assert_eq!(list["Aliases"], json!([updated]));
    let answer = invoke(&server, "f:prod", &[], "x").await;
    assert_eq!(answer.header("x-amz-executed-version"), Some("2"));
    for wrong in [
        json!({ "FunctionVersion": "$LATEST" }),
        json!({ "RoutingConfig": { "AdditionalVersionWeights": { "1": 1.5 } } }),
        json!({ "RoutingConfig": { "AdditionalVersionWeights": { "1": 0.1, "2": 0.1 } } }),
    ] {
        let refused = server.json("PUT", &prod, wrong).await;
        check(&refused, 400, "InvalidParameterValueException");
    }
    assert_eq!(server.send("DELETE", &prod, &[], b"").await.status, 204);
    check(&server.get(&prod).await, 404, "ResourceNotFoundException");

    let put = "/2017-10-31/functions/f/concurrency";
    let get = "/2019-09-30/functions/f/concurrency";
    let reserved = json!({ "ReservedConcurrentExecutions": 0 });
    assert_eq!(
        server.json("PUT", put, reserved.clone()).await.document(),
        reserved
    );
    assert_eq!(server.get(get).await.document(), reserved);
    let throttled = invoke(&server, "f", &[], "x").await;
    check(&throttled, 429, "TooManyRequestsException");
    let reason = "ReservedFunctionConcurrentInvocationLimitExceeded";
    assert_eq!(throttled.document()["Reason"], reason);
    assert_eq!(throttled.header("retry-after"), None);
    assert_eq!(server.send("DELETE", put, &[], b"").await.status, 204);
    assert_eq!(server.get(get).await.document(), json!({}));
}

/// Each of them asks whether there is such a function before it unpacks the image; one creates it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_creates_at_once_one_gets_201_and_the_others_409() {
    let server = Server::start().await;
    for round in 0..5 {
        let name = format!("f{round}");
        let create = || create(&server, &name, json!({}));
        let (one, two, three, four) = tokio::join!(create(), create(), create(), create());
        let mut answers = [one, two, three, four];
        answers.sort_by_key(|answer| answer.status);
        assert_eq!(answers[0].status, 201, "{}", answers[0].text());
        for refused in &answers[1..] {
            check(refused, 409, "ResourceConflictException");
        }
        let versions = server.get(&format!("{FUNCTIONS}/{name}/versions")).await;
        // `$LATEST` and the one.
        assert_eq!(
            versions.document()["Versions"].as_array().map(Vec::len),
            Some(2)
        );
    }
}

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
async fn what_is_no_operation_or_no_document_is_refused_by_name() {
    let server = Server::with(|config| config.settings.limits.image_bytes_max = 8192).await;
    let put = server.send("PATCH", FUNCTIONS, &[], b"").await;
    check(&put, 405, "MethodNotAllowedException");
    check(
        &server.get("/2015-03-31/functions/f/other").await,
        404,
        "UnknownOperationException",
    );
    check(
        &server.get("/2015-01-01/functions").await,
        404,
        "UnknownOperationException",
    );
    let no_json = server.send("POST", FUNCTIONS, &[], b"{").await;
    check(&no_json, 400, "InvalidRequestContentException");
    let invalid = "InvalidParameterValueException";
    let zero = json!({ "Timeout": 0 });
    check(&create(&server, "f", zero).await, 400, invalid);
    check(
        &create(&server, "f", json!({ "Code": {} })).await,
        400,
        invalid,
    );
    check(&create(&server, "a b", json!({})).await, 400, invalid);
    for zip in ["%", "", &*zip_of(&[]), &*zip_of(&[("x", b"no image")])] {
        let wrong = json!({ "Code": { "ZipFile": zip } });
        check(&create(&server, "f", wrong).await, 400, invalid);
    }
    let bomb = zip_of(&[("x", &vec![0; 8193])]);
    let wrong = json!({ "Code": { "ZipFile": bomb } });
    check(
        &create(&server, "f", wrong).await,
        413,
        "RequestTooLargeException",
    );
    let long = vec![b' '; 200_000];
    let answer = server.send("POST", FUNCTIONS, &[], &long).await;
    check(&answer, 413, "RequestTooLargeException");
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
