//! The API as an SDK sees it, over a port. `tests/clients` has the SDKs themselves.

mod attached;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};

use super::{code::tests::zip_of, *};
use crate::{
    front::tests::{Answer, Server},
    images::tests::{image, image_with},
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

/// Sends an event as JSON; an empty one is none.
async fn invoke(server: &Server, name: &str, headers: &[(&str, &str)], event: &str) -> Answer {
    let target = format!("{FUNCTIONS}/{name}/invocations");
    let event = match event {
        "" => String::new(),
        event => json!(event).to_string(),
    };
    server
        .send("POST", &target, headers, event.as_bytes())
        .await
}

/// The zip file that `create` sends.
fn zip(name: &str) -> Vec<u8> {
    let zip = zip_of(&[("bootstrap", &image(name))]);
    BASE64.decode(zip).expect("base64")
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
    for path in [
        "/2015-03-31/functions",
        "/2017-10-31/functions/f/x",
        "/2018-10-31/layers",
    ] {
        assert!(is_path(path), "{path}");
    }
    for path in [
        "",
        "/",
        "/v1/functions",
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
        // Only here a published version is not in the ARN.
        ("FunctionArn", json!(arn)),
        ("Version", json!("1")),
        ("MemorySize", json!(130)),
        ("Timeout", json!(7)),
        (
            "Environment",
            json!({ "Variables": { "A": jiffy_model::HIDDEN_VALUE } }),
        ),
        ("Description", json!("text")),
        ("State", json!("Active")),
        ("LastUpdateStatus", json!("Successful")),
        ("CodeSize", json!(zip("f").len())),
        (
            "CodeSha256",
            json!(BASE64.encode(jiffy_snapshots::Digest::of(&zip("f")).0)),
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
    // Whoever says which one is meant finds that in the ARN.
    for (query, qualifier) in [("?Qualifier=$LATEST", "$LATEST"), ("?Qualifier=1", "1")] {
        let got = server.get(&format!("{target}{query}")).await.document();
        let found = &got["Configuration"]["FunctionArn"];
        assert_eq!(*found, format!("{arn}:{qualifier}"));
    }
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
    assert_eq!(updated.document()["Version"], "2");
    assert_eq!(updated.document()["Timeout"], 9);

    let published = server
        .send("POST", &format!("{target}/versions"), &[], b"")
        .await;
    assert_eq!(
        (published.status, &published.document()["Version"]),
        (201, &json!("2"))
    );
    let versions = server.get(&format!("{target}/versions")).await.document();
    let numbers: Vec<_> = versions["Versions"]
        .as_array()
        .expect("list")
        .iter()
        .map(|version| version["Version"].as_str().expect("text").to_owned())
        .collect();
    assert_eq!(numbers, ["$LATEST", "1", "2"]);
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
async fn aliases_and_concurrency_have_lambdas_shapes() {
    let server = Server::start().await;
    create(&server, "f", json!({ "Publish": true })).await;
    let code = json!({ "ZipFile": zip_of(&[("x", &image("f"))]), "Publish": true });
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
        json!({ "FunctionVersion": "latest" }),
        json!({ "RoutingConfig": { "AdditionalVersionWeights": { "$LATEST": 0.5 } } }),
        json!({ "RoutingConfig": { "AdditionalVersionWeights": { "1": 1.5 } } }),
        json!({ "RoutingConfig": { "AdditionalVersionWeights": { "1": 0.0001 } } }),
        json!({ "RoutingConfig": { "AdditionalVersionWeights": { "2": 0.5 } } }),
        json!({ "FunctionVersion": "$LATEST", "RoutingConfig": { "AdditionalVersionWeights": { "1": 0.5 } } }),
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
    for reserved in [-1_i64, 1 << 40] {
        let reserved = json!({ "ReservedConcurrentExecutions": reserved });
        check(
            &server.json("PUT", put, reserved).await,
            400,
            "InvalidParameterValueException",
        );
    }
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
        // `$LATEST` only.
        assert_eq!(
            versions.document()["Versions"].as_array().map(Vec::len),
            Some(1)
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
        &server.get("/2015-03-31/other").await,
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
    check(
        &server.get("/2018-10-31/layers").await,
        501,
        "NotImplementedException",
    );
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

async fn update(server: &Server, what: &str, document: Value) -> Value {
    let target = format!("{FUNCTIONS}/f/{what}");
    let answer = server.json("PUT", &target, document).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.document()
}

async fn published(server: &Server) -> Vec<String> {
    let list = server
        .get(&format!("{FUNCTIONS}/f/versions?MaxItems=50"))
        .await;
    let list = list.document();
    let versions = list["Versions"].as_array().expect("list").iter();
    let texts = versions.map(|version| version["Version"].as_str().expect("text").to_owned());
    texts.collect()
}

/// A change of the configuration is of `$LATEST` only, however many there are.
#[tokio::test]
async fn a_published_version_outlives_any_number_of_changes() {
    let server = Server::start().await;
    create(
        &server,
        "f",
        json!({ "Publish": true, "Environment": { "Variables": { "N": "first" } } }),
    )
    .await;
    for number in 0..70 {
        let updated = update(
            &server,
            "configuration",
            json!({
                "Environment": { "Variables": { "N": number.to_string() } },
            }),
        );
        assert_eq!(updated.await["Version"], "$LATEST");
    }
    assert_eq!(published(&server).await, ["$LATEST", "1"]);
    let env = async |name: &str| invoke(&server, name, &[], "!env N").await.text().to_owned();
    assert_eq!((&*env("f").await, &*env("f:1").await), ("69", "first"));
    // Its number is not given before it is published.
    check(
        &invoke(&server, "f:2", &[], "x").await,
        404,
        "ResourceNotFoundException",
    );
}

#[tokio::test]
async fn beyond_the_limit_publishing_is_refused_and_says_what_to_delete() {
    let server = Server::with(|config| config.settings.limits.versions_max = 2).await;
    create(&server, "f", json!({ "Publish": true })).await;
    let alias = json!({ "Name": "a", "FunctionVersion": "1" });
    server
        .json("POST", &format!("{FUNCTIONS}/f/aliases"), alias)
        .await;
    let publish = async || {
        server
            .send("POST", &format!("{FUNCTIONS}/f/versions"), &[], b"")
            .await
    };
    update(&server, "configuration", json!({ "Timeout": 5 })).await;
    assert_eq!(publish().await.document()["Version"], "2");
    update(&server, "configuration", json!({ "Timeout": 6 })).await;
    for refused in [
        publish().await,
        server
            .json(
                "PUT",
                &format!("{FUNCTIONS}/f/code"),
                json!({
                    "ZipFile": zip_of(&[("x", &image("other"))]), "Publish": true,
                }),
            )
            .await,
    ] {
        check(&refused, 400, "CodeStorageExceededException");
        let message = refused.document()["Message"]
            .as_str()
            .expect("text")
            .to_owned();
        assert!(
            message.contains("limits.versions_max") && message.contains("such as 2"),
            "{message}"
        );
    }
    assert_eq!(published(&server).await, ["$LATEST", "1", "2"]);
    server
        .send("DELETE", &format!("{FUNCTIONS}/f?Qualifier=2"), &[], b"")
        .await;
    assert_eq!(publish().await.document()["Version"], "3");
    assert_eq!(published(&server).await, ["$LATEST", "1", "3"]);
}

/// It is what `$LATEST` is made of, too, and that stays.
#[tokio::test]
async fn the_version_that_latest_equals_can_be_deleted() {
    let server = Server::start().await;
    create(&server, "f", json!({ "Publish": true })).await;
    let target = format!("{FUNCTIONS}/f?Qualifier=1");
    assert_eq!(server.send("DELETE", &target, &[], b"").await.status, 204);
    assert_eq!(published(&server).await, ["$LATEST"]);
    assert_eq!(invoke(&server, "f", &[], "x").await.status, 200);
    let publish = server
        .send("POST", &format!("{FUNCTIONS}/f/versions"), &[], b"")
        .await;
    assert_eq!(publish.document()["Version"], "2");
}

#[tokio::test]
async fn an_update_that_changes_nothing_does_nothing() {
    let server = Server::start().await;
    let created = create(
        &server,
        "f",
        json!({ "Publish": true, "Description": "text" }),
    )
    .await
    .document();
    let get = async || {
        server
            .get(&format!("{FUNCTIONS}/f/configuration"))
            .await
            .document()
    };
    let before = get().await;
    let same = json!({ "ZipFile": zip_of(&[("bootstrap", &image("f"))]) });
    assert_eq!(update(&server, "code", same.clone()).await, before);
    let mut published = same;
    published["Publish"] = json!(true);
    // Only CreateFunction leaves a published version out of the ARN.
    let mut version = created;
    version["FunctionArn"] = json!("arn:aws:lambda:us-east-1:000000000000:function:f:1");
    assert_eq!(update(&server, "code", published).await, version);
    assert_eq!(
        update(&server, "configuration", json!({ "Description": "text" })).await,
        before
    );
    assert_eq!(get().await, before);
    // The same image in another zip file is other code.
    let other = json!({ "ZipFile": zip_of(&[("another-name", &image("f"))]) });
    assert_ne!(
        update(&server, "code", other).await["CodeSha256"],
        before["CodeSha256"]
    );
    assert_ne!(get().await["RevisionId"], before["RevisionId"]);
}

#[tokio::test]
async fn what_is_harmless_is_kept_and_given_back() {
    let server = Server::start().await;
    let role = "arn:aws:iam::123456789012:role/service-role/mine";
    let kept = json!({
        "Role": role, "Handler": "my.handler", "Runtime": "provided.al2",
        "LoggingConfig": { "LogFormat": "Text", "LogGroup": "/mine" },
        "SnapStart": { "ApplyOn": "PublishedVersions" },
        "VpcConfig": { "SubnetIds": [], "SecurityGroupIds": [] }, "Layers": [], "KMSKeyArn": "",
    });
    create(&server, "f", kept).await;
    let check_kept = async |handler: &str| {
        let found = server.get(&format!("{FUNCTIONS}/f")).await.document();
        let found = &found["Configuration"];
        assert_eq!(
            (&found["Role"], &found["Runtime"]),
            (&json!(role), &json!("provided.al2"))
        );
        assert_eq!(found["Handler"], handler);
        assert_eq!(found["LoggingConfig"]["LogGroup"], "/mine");
        assert_eq!(found["SnapStart"]["ApplyOn"], "PublishedVersions");
    };
    check_kept("my.handler").await;
    update(&server, "configuration", json!({ "Handler": "other" })).await;
    check_kept("other").await;
    // API v1 says nothing of them.
    let code = json!({ "ZipFile": zip_of(&[("x", &image("f"))]) });
    update(&server, "code", code).await;
    check_kept("other").await;
    for refused in [
        json!({ "Role": "me" }),
        json!({ "Runtime": "python3.13" }),
        json!({ "Handler": "a b" }),
        json!({ "Architectures": ["arm64"] }),
        json!({ "VpcConfig": { "SubnetIds": ["subnet-1"] } }),
        json!({ "Nonsense": 1 }),
    ] {
        let name = refused
            .as_object()
            .expect("fields")
            .keys()
            .next()
            .expect("one")
            .clone();
        let answer = create(&server, "g", refused).await;
        check(&answer, 400, "InvalidParameterValueException");
        assert!(answer.text().contains(&name), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_version_keeps_the_description_it_was_published_with() {
    let server = Server::start().await;
    create(&server, "f", json!({ "Description": "of the function" })).await;
    let publish = json!({ "Description": "of the version" });
    let version = server
        .json("POST", &format!("{FUNCTIONS}/f/versions"), publish)
        .await;
    assert_eq!(version.document()["Description"], "of the version");
    let of = async |query: &str| {
        let target = format!("{FUNCTIONS}/f/configuration{query}");
        server.get(&target).await.document()["Description"].clone()
    };
    assert_eq!(of("?Qualifier=1").await, "of the version");
    assert_eq!(of("").await, "of the function");
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

#[tokio::test]
async fn aliases_have_lambdas_rules() {
    let server = Server::start().await;
    create(
        &server,
        "f",
        json!({ "Publish": true, "Environment": { "Variables": { "N": "1" } } }),
    )
    .await;
    update(
        &server,
        "configuration",
        json!({ "Environment": { "Variables": { "N": "2" } } }),
    )
    .await;
    let target = format!("{FUNCTIONS}/f/aliases");
    let make = async |document: Value| server.json("POST", &target, document).await;
    // A name that API v1 has for the live version, and the longest.
    let long = "a".repeat(128);
    for name in ["live", &long] {
        let made = make(json!({ "Name": name, "FunctionVersion": "1" })).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let answer = invoke(&server, &format!("f:{name}"), &[], "!env N").await;
        assert_eq!((answer.status, answer.text()), (200, "1"));
    }
    let latest = make(json!({ "Name": "next", "FunctionVersion": "$LATEST" })).await;
    assert_eq!(latest.document()["FunctionVersion"], "$LATEST");
    assert_eq!(invoke(&server, "f:next", &[], "!env N").await.text(), "2");
    let found = server
        .get(&format!("{FUNCTIONS}/f?Qualifier=next"))
        .await
        .document();
    assert_eq!(found["Configuration"]["Version"], "$LATEST");
    for (name, version) in [
        ("12", "1"),
        (&*"a".repeat(129), "1"),
        ("b", "2"),
        ("b", "one"),
    ] {
        let refused = make(json!({ "Name": name, "FunctionVersion": version })).await;
        assert!(
            [400, 404].contains(&refused.status),
            "{name} {version}: {}",
            refused.text()
        );
    }
    let gone = format!("{target}/nobody");
    assert_eq!(server.send("DELETE", &gone, &[], b"").await.status, 204);
}

/// Two have read the same revision; one of them changes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_changes_of_one_revision_one_is_refused() {
    let server = Server::start().await;
    create(&server, "f", json!({ "Publish": true })).await;
    let alias = format!("{FUNCTIONS}/f/aliases");
    server
        .json(
            "POST",
            &alias,
            json!({ "Name": "a", "FunctionVersion": "1" }),
        )
        .await;
    let (configuration, alias) = (format!("{FUNCTIONS}/f/configuration"), format!("{alias}/a"));
    for target in [&configuration, &alias] {
        for round in 0..10 {
            let revision = server.get(target).await.document()["RevisionId"].clone();
            let change = async |client: u32| {
                let document =
                    json!({ "Description": format!("{round} {client}"), "RevisionId": revision });
                server.json("PUT", target, document).await.status
            };
            let (one, two) = tokio::join!(change(1), change(2));
            let mut statuses = [one, two];
            statuses.sort_unstable();
            assert!(matches!(statuses, [200, 409 | 412]), "{statuses:?}");
        }
    }
}

/// Pages are full, none is empty, and nothing comes twice.
#[tokio::test]
async fn lists_come_in_pages_of_the_length_that_is_asked_for() {
    let server = Server::start().await;
    for name in ["a", "f", "z"] {
        create(&server, name, json!({ "Publish": true })).await;
    }
    update(&server, "configuration", json!({ "Timeout": 5 })).await;
    server
        .send("POST", &format!("{FUNCTIONS}/f/versions"), &[], b"")
        .await;
    for alias in ["a", "b", "c", "d"] {
        let alias = json!({ "Name": alias, "FunctionVersion": "1" });
        server
            .json("POST", &format!("{FUNCTIONS}/f/aliases"), alias)
            .await;
    }
    for (path, key, name, wanted) in [
        ("?", "Functions", "FunctionName", &["a", "f", "z"][..]),
        (
            "?FunctionVersion=ALL&",
            "Functions",
            "Version",
            &["$LATEST", "1", "$LATEST", "1", "2", "$LATEST", "1"],
        ),
        (
            "/f/versions?",
            "Versions",
            "Version",
            &["$LATEST", "1", "2"],
        ),
        ("/f/aliases?", "Aliases", "Name", &["a", "b", "c", "d"]),
    ] {
        for len in 1..=wanted.len() + 1 {
            let (mut found, mut marker) = (vec![], String::new());
            loop {
                let target = format!("{FUNCTIONS}{path}MaxItems={len}&Marker={marker}");
                let page = server.get(&target).await.document();
                let entries = page[key].as_array().expect("list");
                found.extend(
                    entries
                        .iter()
                        .map(|entry| entry[name].as_str().expect("text").to_owned()),
                );
                match page.get("NextMarker") {
                    Some(next) => {
                        assert_eq!(entries.len(), len, "{target}");
                        marker = next.as_str().expect("text").into();
                    }
                    None => {
                        assert!((1..=len).contains(&entries.len()), "{target}");
                        break;
                    }
                }
            }
            assert_eq!(found, wanted, "{path} in pages of {len}");
        }
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
