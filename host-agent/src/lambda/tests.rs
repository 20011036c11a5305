//! The API as an SDK sees it, over a port. `tests/clients` has the SDKs themselves.

mod access;
mod aliases;
mod attached;
mod functions;
mod invoke;
mod versions;

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

async fn update(server: &Server, what: &str, document: Value) -> Value {
    let target = format!("{FUNCTIONS}/f/{what}");
    let answer = server.json("PUT", &target, document).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.document()
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
    let aliases = ["a", "b", "c", "d"];
    for alias in aliases {
        let url = json!({ "AuthType": "NONE" });
        let target = format!("/2021-10-31/functions/f/url?Qualifier={alias}");
        assert_eq!(server.json("POST", &target, url).await.status, 201);
    }
    let url = json!({ "AuthType": "AWS_IAM" });
    server
        .json("POST", "/2021-10-31/functions/f/url", url)
        .await;
    let ready = "/2019-09-30/functions/f/provisioned-concurrency";
    for qualifier in aliases.into_iter().chain(["1", "2"]) {
        let vms = json!({ "ProvisionedConcurrentExecutions": 1 });
        let target = format!("{ready}?Qualifier={qualifier}");
        assert_eq!(server.json("PUT", &target, vms).await.status, 202);
    }
    let ready = format!("{ready}?List=ALL&");
    for (path, key, name, wanted) in [
        (
            "/2021-10-31/functions/f/urls?",
            "FunctionUrlConfigs",
            "FunctionArn",
            &["f", "a", "b", "c", "d"][..],
        ),
        (
            &ready,
            "ProvisionedConcurrencyConfigs",
            "FunctionArn",
            &["1", "2", "a", "b", "c", "d"],
        ),
        ("?", "Functions", "FunctionName", &["a", "f", "z"]),
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
                let within = if path.starts_with("/20") {
                    ""
                } else {
                    FUNCTIONS
                };
                let target = format!("{within}{path}MaxItems={len}&Marker={marker}");
                let page = server.get(&target).await.document();
                let entries = page[key].as_array().expect("list");
                found.extend(
                    entries
                        .iter()
                        .map(|entry| entry[name].as_str().expect("text"))
                        // What an ARN ends with.
                        .map(|text| text.rsplit(':').next().unwrap_or(text).to_owned()),
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
