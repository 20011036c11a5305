//! API v1 as its clients see it, over a port.

mod deploys;

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::{endpoints::endpoints, *};
use crate::{
    front::tests::{Answer, Server},
    http::HEALTH_PATH,
    images::tests::image,
    vm::fake::FakeVms,
};

/// Uploads an image and deploys it; returns what the deploy answered.
pub(crate) async fn deploy(server: &Server, name: &str) -> Answer {
    deploy_with(server, name, json!({})).await
}

async fn deploy_with(server: &Server, name: &str, mut settings: Value) -> Answer {
    let uploaded = server.send("POST", "/v1/images", &[], &image(name)).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    settings["image"] = uploaded.document()["digest"].clone();
    let target = format!("/v1/functions/{name}");
    server.json("PUT", &target, settings).await
}

async fn invoke(server: &Server, name: &str, event: &str) -> Answer {
    let target = format!("/v1/functions/{name}/invoke");
    server.send("POST", &target, &[], event.as_bytes()).await
}

fn openapi() -> Value {
    openapi::document::document(&endpoints::<FakeVms>())
}

/// What is checked in is what the table of endpoints says; `JIFFY_UPDATE=1` writes it anew.
#[test]
fn openapi_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/native/openapi.json");
    let text = format!("{:#}\n", openapi());
    if std::env::var_os("JIFFY_UPDATE").is_some() {
        std::fs::write(path, &text).expect("written");
    }
    let checked_in = std::fs::read_to_string(path).expect("checked in");
    assert!(
        checked_in == text,
        "openapi.json is old: run this test with JIFFY_UPDATE=1"
    );
}

#[tokio::test]
async fn openapi_describes_exactly_the_routes() {
    let document = openapi();
    let described = document["paths"].as_object().expect("paths");
    let routed: BTreeSet<_> = endpoints::<FakeVms>()
        .into_iter()
        .map(|endpoint| endpoint.path.replace("{*", "{"))
        .collect();
    assert_eq!(described.keys().cloned().collect::<BTreeSet<_>>(), routed);
    let server = Server::start().await;
    for (path, item) in described {
        let target = path
            .replace("{name}", "f")
            .replace("{version}", "1")
            .replace("{alias}", "a")
            .replace("{path}", "p")
            .replace("{store}", "s")
            .replace("{key}", "k")
            .replace("{queue}", "q")
            .replace("{message}", "000648f2a1b3c4d50f8e7d6c")
            .replace("{secret}", "s");
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
            let is_described = item.get(method.to_ascii_lowercase()).is_some();
            let answer = server.send(method, &target, &[], b"").await;
            assert_eq!(answer.status != 405, is_described, "{method} {path}");
            if !is_described {
                assert_eq!(answer.problem(), "method-not-allowed");
                let allow = answer.header("allow").expect("allow");
                assert!(!allow.is_empty() && !allow.split(',').any(|one| one == method));
            }
        }
    }
}

/// Each endpoint asks for its scope, and who has none learns nothing of what there is.
#[tokio::test]
async fn a_visitor_has_what_is_public_and_no_more() {
    let token = "0123456789abcdef0123456789abcdef";
    let server = Server::with(|config| config.token = Some(token.to_owned().into())).await;
    let mut public = vec![];
    for (path, item) in openapi()["paths"].as_object().expect("paths") {
        let target = path.replace(['{', '}'], "");
        for method in item.as_object().expect("methods").keys() {
            let answer = server.send(&method.to_uppercase(), &target, &[], b"").await;
            match answer.status {
                401 => assert_eq!(answer.header("jiffy-error"), Some("unauthorized")),
                200 => public.push(target.clone()),
                other if method != "parameters" => panic!("{method} {path}: {other}"),
                _ => {}
            }
        }
        let other = server.send("TRACE", &target, &[], b"").await;
        assert_eq!(other.status, 401, "{path}");
    }
    assert_eq!(public, [HEALTH_PATH]);
    assert_eq!(server.get("/v1/nothing").await.problem(), "unauthorized");
    let scopes = endpoints::<FakeVms>().into_iter();
    let public = scopes.filter(|endpoint| endpoint.scope == Scope::Public);
    assert_eq!(
        public.map(|endpoint| endpoint.path).collect::<Vec<_>>(),
        [HEALTH_PATH]
    );
}

#[test]
fn every_reference_of_openapi_leads_somewhere() {
    let document = openapi();
    let mut references = vec![];
    collect_references(&document, &mut references);
    assert!(references.len() > 100);
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("in this document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

fn collect_references(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "$ref" => references.push(text.clone()),
                    value => collect_references(value, references),
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                collect_references(value, references);
            }
        }
        _ => {}
    }
}

/// What the schemas cannot have from constants, because those are of other crates or it is in the frame.
#[test]
fn openapi_has_the_limits() {
    let document = openapi();
    let (schemas, parameters) = (
        &document["components"]["schemas"],
        &document["components"]["parameters"],
    );
    assert_eq!(schemas["Level"]["enum"], json!(jiffy_control::LEVEL_NAMES));
    assert_eq!(
        schemas["MessageId"]["maxLength"],
        jiffy_kv::VERSION_KEY_CHARS
    );
    let secrets = &schemas["SecretList"]["properties"]["secrets"];
    assert_eq!(secrets["maxItems"], jiffy_secrets::SECRETS_MAX);
    let limit = &parameters["Limit"]["schema"];
    assert_eq!(limit["maximum"], LIST_LEN_MAX);
    assert_eq!(limit["default"], LIST_LEN_DEFAULT);
    let lines = &parameters["LinesLimit"]["schema"];
    assert_eq!(lines["maximum"], crate::logs::READ_LINES_MAX);
}

#[tokio::test]
async fn a_function_lives_from_deploy_to_delete() {
    let server = Server::start().await;
    let first = deploy(&server, "hello").await;
    assert_eq!(first.status, 201, "{}", first.text());
    assert_eq!(first.document()["version"], 1);
    let settings = json!({ "memory_bytes": 32 << 20, "environment": { "A": "b" } });
    let second = deploy_with(&server, "hello", settings).await;
    assert_eq!(second.status, 200);
    assert_eq!(second.document()["memory_bytes"], 32 << 20);

    let described = server.get("/v1/functions/hello").await.document();
    assert_eq!(described["live"], 2);
    assert_eq!(
        described["live_version"]["environment"]["A"],
        jiffy_model::HIDDEN_VALUE
    );
    let list = server.get("/v1/functions").await.document();
    assert_eq!(list["functions"][0]["name"], "hello");
    assert_eq!(list["next"], Value::Null);

    let page = server.get("/v1/functions/hello/versions?limit=1").await;
    assert_eq!(page.document()["next"], 1);
    let page = server.get("/v1/functions/hello/versions?after=1").await;
    assert_eq!(page.document()["versions"][0]["version"], 2);

    let alias = json!({ "version": 1, "other": { "version": 2, "per_mille": 1000 } });
    let target = "/v1/functions/hello/aliases/prod";
    let put = server.json("PUT", target, alias).await;
    assert_eq!((put.status, &put.document()["version"]), (200, &json!(1)));
    let invoked = server
        .send(
            "POST",
            "/v1/functions/hello/invoke?qualifier=prod",
            &[],
            b"x",
        )
        .await;
    assert_eq!(invoked.header("jiffy-version"), Some("2"));
    let conflict = server
        .send("DELETE", "/v1/functions/hello/versions/1", &[], b"")
        .await;
    assert_eq!((conflict.status, &*conflict.problem()), (409, "conflict"));
    assert_eq!(server.send("DELETE", target, &[], b"").await.status, 204);
    assert_eq!(server.get(target).await.problem(), "not-found");

    let target = "/v1/functions/hello/rollback";
    let rolled_back = server.send("POST", target, &[], b"").await;
    assert_eq!(rolled_back.document()["live"], 1);
    let forth = server.json("POST", target, json!({ "version": 2 })).await;
    assert_eq!(forth.document()["live"], 2);

    let target = "/v1/functions/hello/concurrency";
    let put = server.json("PUT", target, json!({ "reserved": 0 })).await;
    assert_eq!(put.document()["reserved"], 0);
    let stopped = invoke(&server, "hello", "x").await;
    assert_eq!((stopped.status, &*stopped.problem()), (429, "stopped"));
    assert!(stopped.text().contains("reserved concurrency is 0"));
    assert_eq!(stopped.header("retry-after"), None);
    let metrics = server.get("/metrics").await;
    let counted = r#"jiffy_requests_refused_total{function="hello",reason="stopped"} 1"#;
    assert!(metrics.text().contains(counted));
    assert_eq!(server.send("DELETE", target, &[], b"").await.status, 204);

    let target = "/v1/functions/hello";
    assert_eq!(server.send("DELETE", target, &[], b"").await.status, 204);
    assert_eq!(server.get(target).await.problem(), "not-found");
    assert_eq!(invoke(&server, "hello", "x").await.problem(), "not-found");
}

#[tokio::test]
async fn a_request_says_how_it_ran() {
    let server = Server::start().await;
    deploy(&server, "hello").await;
    for start in ["cold", "fresh"] {
        let answer = invoke(&server, "hello", "some event").await;
        assert_eq!((answer.status, answer.text()), (200, "some event"));
        assert_eq!(answer.header("jiffy-start"), Some(start));
        assert_eq!(answer.header("jiffy-version"), Some("1"));
        let id = answer.header("jiffy-request-id").expect("id");
        id.parse::<uuid::Uuid>().expect("uuid");
        let timing = answer.header("server-timing").expect("timing");
        for name in ["queue;dur=", "restore;dur=", "run;dur="] {
            assert!(timing.contains(name), "{timing}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await; // It settles.
    }
}

#[tokio::test]
async fn every_outcome_has_its_status_and_its_type() {
    let server = Server::start().await;
    deploy(&server, "f").await;
    for (event, status, kind) in [
        ("!error text", 500, "function-error"),
        ("!bad", 400, "bad-event"),
        ("!panic message", 500, "panic"),
        ("!fault", 500, "fault"),
        ("!timeout", 504, "timeout"),
        ("!oom", 500, "out-of-memory"),
        ("!exit 3", 500, "fault"),
        ("!die", 503, "platform"),
        ("!malformed", 500, "fault"),
    ] {
        let answer = invoke(&server, "f", event).await;
        assert_eq!(
            (answer.status, &*answer.problem()),
            (status, kind),
            "{event}"
        );
        assert_eq!(answer.header("jiffy-version"), Some("1"));
    }
}

#[tokio::test]
async fn functions_answer_http() {
    let server = Server::start().await;
    deploy(&server, "f").await;
    for (target, seen) in [
        ("/fn/f", "/"),
        ("/fn/f/", "/"),
        ("/fn/f/a%2Fb/c?d=e&f", "/a%2Fb/c?d=e&f"),
    ] {
        let answer = server.send("PATCH", target, &[], b"body").await;
        assert_eq!((answer.status, answer.text()), (200, "body"), "{target}");
        assert_eq!(answer.header("x-method"), Some("PATCH"));
        assert_eq!(answer.header("x-target"), Some(seen));
        assert!(answer.header("jiffy-request-id").is_some());
    }
    let head = server.send("HEAD", "/fn/f", &[], b"").await;
    assert_eq!((head.status, head.text()), (200, ""));
    assert_eq!(server.get("/fn/none/x").await.problem(), "not-found");
    assert_eq!(server.get("/fn/%20").await.problem(), "invalid-request");
}

#[tokio::test]
async fn what_is_no_valid_request_is_refused_by_name() {
    let server = Server::start().await;
    deploy(&server, "f").await;
    let check = async |method: &str, target: &str, status: u16, kind: &str| {
        let answer = server.send(method, target, &[], b"").await;
        assert_eq!(
            (answer.status, &*answer.problem()),
            (status, kind),
            "{target}"
        );
    };
    check("GET", "/v1/nothing", 404, "not-found").await;
    check("GET", "/v1/functions/none", 404, "not-found").await;
    check("GET", "/v1/functions/a%20b", 400, "invalid-request").await;
    check("GET", "/v1/functions/%ff", 400, "invalid-request").await;
    check("GET", "/v1/functions?limit=0", 400, "invalid-request").await;
    check("GET", "/v1/functions?limit=1001", 400, "invalid-request").await;
    check("GET", "/v1/functions?limit=x", 400, "invalid-request").await;
    check("GET", "/v1/functions?other=1", 400, "invalid-request").await;
    check("GET", "/v1/functions/f/versions/0", 400, "invalid-request").await;
    check("GET", "/v1/functions/f/versions/9", 404, "not-found").await;
    check("GET", "/v1/functions/f/aliases/1", 400, "invalid-request").await;
    check(
        "GET",
        "/v1/functions/f/logs?limit=0",
        400,
        "invalid-request",
    )
    .await;
    check("PUT", "/v1/functions/f", 415, "unsupported-media-type").await;
    check(
        "POST",
        "/v1/functions/f/invoke?qualifier=0",
        400,
        "invalid-request",
    )
    .await;
    check(
        "POST",
        "/v1/functions/f/invoke?qualifier=7",
        404,
        "not-found",
    )
    .await;
    check("POST", "/v1/images", 422, "image-refused").await;

    let nothing = "0".repeat(64);
    for (document, kind) in [
        (json!({ "image": nothing }), "not-found"),
        (json!({ "image": "x" }), "invalid-request"),
        (json!({ "image": nothing, "other": 1 }), "invalid-request"),
        (
            json!({ "image": nothing, "timeout_ms": 0 }),
            "invalid-request",
        ),
        (json!([]), "invalid-request"),
    ] {
        let answer = server.json("PUT", "/v1/functions/f", document).await;
        assert_eq!(answer.problem(), kind, "{}", answer.text());
    }
    let alias = json!({ "version": 9 });
    let answer = server.json("PUT", "/v1/functions/f/aliases/a", alias);
    assert_eq!(answer.await.problem(), "not-found");
}

#[tokio::test]
async fn bodies_are_limited_whether_they_say_their_length_or_not() {
    let server = Server::with(|config| {
        config.settings.limits.body_bytes_max = 1000;
        config.settings.limits.image_bytes_max = 4096;
    })
    .await;
    deploy(&server, "f").await;
    for (target, bytes) in [("/v1/functions/f/invoke", 1001), ("/v1/images", 4097)] {
        let answer = server.send("POST", target, &[], &vec![b'x'; bytes]).await;
        assert_eq!((answer.status, &*answer.problem()), (413, "too-large"));
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let chunk = [format!("{bytes:x}\r\n").as_bytes(), &vec![b'x'; bytes]].concat();
        let request = [head.as_bytes(), &chunk, b"\r\n0\r\n\r\n"].concat();
        let answer = Answer::parse(&server.raw(&request).await);
        assert_eq!((answer.status, &*answer.problem()), (413, "too-large"));
    }
    let largest = "x".repeat(1000);
    assert_eq!(invoke(&server, "f", &largest).await.text(), largest);
}

#[tokio::test]
async fn a_token_guards_everything_but_health() {
    let token = "0123456789abcdef0123456789abcdef";
    let server = Server::with(|config| config.token = Some(token.to_owned().into())).await;
    assert_eq!(server.get("/v1/health").await.status, 200);
    let right = format!("Bearer {token}");
    let lower = format!("bearer {token}");
    for (target, authorization, is_let_in) in [
        ("/v1/functions", None, false),
        ("/v1/functions", Some("Bearer "), false),
        ("/v1/functions", Some("Bearer 0123"), false),
        ("/v1/functions", Some(token), false),
        ("/openapi.json", None, false),
        ("/metrics", None, false),
        ("/fn/f/", None, false),
        ("/nothing", None, false),
        ("/v1/functions", Some(&right), true),
        ("/v1/functions", Some(&lower), true),
    ] {
        let headers: Vec<_> = authorization
            .iter()
            .map(|a| ("authorization", *a))
            .collect();
        let answer = server.send("GET", target, &headers, b"").await;
        assert_eq!(
            answer.status == 200,
            is_let_in,
            "{target} {authorization:?}"
        );
        if !is_let_in {
            assert_eq!((answer.status, &*answer.problem()), (401, "unauthorized"));
            assert!(answer.header("www-authenticate").is_some());
        }
    }
}

/// Browsers on this machine reach the agent as well, for any page.
#[tokio::test]
async fn without_a_token_only_loopback_is_answered() {
    let server = Server::with(|config| config.settings.hosts = vec!["jiffy.internal".into()]).await;
    for path in ["/v1/health", "/v1/functions", "/fn/f/", "/metrics"] {
        let request =
            |headers| format!("GET {path} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n\r\n");
        for (headers, status, kind) in [
            ("host: rebound.example:7070", 421, "other-host"),
            (
                "host: localhost\r\norigin: https://evil.example",
                403,
                "other-origin",
            ),
        ] {
            let answer = Answer::parse(&server.raw(request(headers).as_bytes()).await);
            assert_eq!(
                (answer.status, &*answer.problem()),
                (status, kind),
                "{path}"
            );
            assert!(answer.text().contains("token_file"), "{}", answer.text());
        }
        for headers in [
            "host: jiffy.internal",
            "host: [::1]\r\nsec-fetch-site: none",
        ] {
            let answer = Answer::parse(&server.raw(request(headers).as_bytes()).await);
            assert!(![403, 421].contains(&answer.status), "{path} {headers}");
        }
    }
}

#[tokio::test]
async fn with_a_token_any_host_is_answered() {
    let token = "0123456789abcdef0123456789abcdef";
    let server = Server::with(|config| config.token = Some(token.to_owned().into())).await;
    let request = format!(
        "GET /v1/functions HTTP/1.1\r\nhost: jiffy.example\r\norigin: https://any.example\r\n\
         authorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(
        Answer::parse(&server.raw(request.as_bytes()).await).status,
        200
    );
}

#[tokio::test]
async fn only_the_agents_own_problems_are_marked() {
    let server = Server::start().await;
    deploy(&server, "f").await;
    let panicked = server.send("POST", "/fn/f/", &[], b"!panic message").await;
    assert_eq!(panicked.header("jiffy-error"), Some("panic"));
    let missing = server.get("/fn/none/").await;
    assert_eq!(missing.header("jiffy-error"), Some("not-found"));
    let answered = server.send("POST", "/fn/f/", &[], b"body").await;
    assert_eq!(
        (answered.status, answered.header("jiffy-error")),
        (200, None)
    );
}

#[tokio::test]
async fn logs_are_read_and_followed_to_the_end() {
    let server = Server::start().await;
    deploy(&server, "f").await;
    let mut following = server.connect().await;
    tokio::io::AsyncWriteExt::write_all(
        &mut following,
        b"GET /v1/functions/f/logs?follow=true HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    )
    .await
    .expect("sent");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let answer = invoke(&server, "f", "!log some text").await;
    let id = answer.header("jiffy-request-id").expect("id").to_owned();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let read = server
        .get(&format!("/v1/functions/f/logs?request_id={id}"))
        .await;
    assert_eq!(read.header("content-type"), Some("application/jsonl"));
    let first = read.text().lines().next().expect("a line");
    let line: Value = serde_json::from_str(first).expect("JSON");
    assert_eq!(
        (&line["text"], &line["level"]),
        (&json!("some text"), &json!("info"))
    );
    let report = read.text().lines().nth(1).expect("another");
    assert!(report.contains("REPORT"), "{report}");

    let usage = server.get("/v1/usage?function=f").await.document();
    assert_eq!(usage["usage"][0]["requests"], 1, "{usage}");
    let instances = server.get("/v1/instances").await.document();
    assert_eq!(instances["instances"][0]["state"], "idle", "{instances}");
    let metrics = server.get("/metrics").await;
    let content_type = metrics.header("content-type").expect("type");
    assert!(content_type.starts_with("text/plain"), "{content_type}");
    assert!(metrics.text().contains("# HELP jiffy_requests_total "));

    server.stop().await;
    let followed = crate::front::tests::read_to_end(&mut following).await;
    let followed = String::from_utf8(followed).expect("text");
    assert!(followed.contains("some text") && followed.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn a_failed_deploy_says_why_and_changes_nothing() {
    let server = Server::start().await;
    deploy(&server, "f").await;
    let settings = json!({ "max_concurrency": 1, "min_ready": 2 });
    let refused = deploy_with(&server, "f", settings).await;
    assert_eq!(
        (refused.status, &*refused.problem()),
        (400, "invalid-request")
    );
    assert_eq!(server.get("/v1/functions/f").await.document()["live"], 1);
}

/// The others come while it is deployed, and conflict, or after it, and make versions.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_deploys_at_once_one_creates_the_function() {
    let server = Server::start().await;
    let uploaded = server.send("POST", "/v1/images", &[], &image("f")).await;
    let document = json!({ "image": uploaded.document()["digest"] });
    for round in 0..5 {
        let target = format!("/v1/functions/f{round}");
        let put = || server.json("PUT", &target, document.clone());
        let (one, two, three, four) = tokio::join!(put(), put(), put(), put());
        let mut statuses = [one.status, two.status, three.status, four.status];
        statuses.sort_unstable();
        let created = statuses.iter().filter(|status| **status == 201);
        assert_eq!(created.count(), 1, "{statuses:?}");
        assert!(
            statuses
                .iter()
                .all(|status| [200, 201, 409].contains(status))
        );
    }
}

#[tokio::test]
async fn a_full_queue_answers_429_at_once() {
    let server = Server::start().await;
    deploy_with(&server, "f", json!({ "max_concurrency": 1 })).await;
    let slow = || invoke(&server, "f", "!sleep 300");
    let (one, two, three, four) = tokio::join!(slow(), slow(), slow(), slow());
    let mut statuses = [one.status, two.status, three.status, four.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 429, 429]);
}

/// Without a token anybody on the machine can ask, so names are all that is told; with one, values are.
#[tokio::test]
async fn values_of_an_environment_are_shown_only_with_a_token() {
    const SECRET: &str = "a value that is nobody's business";
    let token = "t".repeat(32);
    for is_guarded in [false, true] {
        let server = Server::with(|config| {
            config.token = is_guarded.then(|| token.clone().into());
        })
        .await;
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", &*authorization)];
        let upload = server
            .send("POST", "/v1/images", &headers, &image("f"))
            .await;
        let digest = upload.document()["digest"].clone();
        let wanted = json!({ "image": digest, "environment": { "NAME": SECRET } });
        let json_headers = [headers[0], ("content-type", "application/json")];
        let body = wanted.to_string();
        let deployed = server
            .send("PUT", "/v1/functions/f", &json_headers, body.as_bytes())
            .await;
        assert_eq!(deployed.status, 201, "{}", deployed.text());
        let mut answers = vec![deployed];
        for path in [
            "/v1/functions/f",
            "/v1/functions/f/versions",
            "/v1/functions/f/versions/1",
            "/2015-03-31/functions",
            "/2015-03-31/functions/f",
            "/2015-03-31/functions/f/configuration",
            "/2015-03-31/functions/f/versions",
        ] {
            answers.push(server.send("GET", path, &headers, b"").await);
        }
        for answer in answers {
            assert!(answer.status < 300, "{}", answer.text());
            assert!(answer.text().contains("NAME"), "{}", answer.text());
            assert_eq!(
                answer.text().contains(SECRET),
                is_guarded,
                "{}",
                answer.text()
            );
        }
        // What stands for a value is not taken for one.
        let wanted =
            json!({ "image": digest, "environment": { "NAME": jiffy_model::HIDDEN_VALUE } });
        let body = wanted.to_string();
        let refused = server
            .send("PUT", "/v1/functions/f", &json_headers, body.as_bytes())
            .await;
        assert_eq!(refused.status, 400, "{}", refused.text());
    }
}
