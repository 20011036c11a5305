//! Tags, URLs, VMs that are kept ready, code, and the account.

use std::io::{Cursor, Read};

use super::*;

const HTTP: u32 = jiffy_abi::note::FLAG_HTTP;

async fn with_http(server: &Server) {
    let zip = zip_of(&[("x", &image_with(HTTP, "f"))]);
    let created = create(server, "f", json!({ "Code": { "ZipFile": zip } })).await;
    assert_eq!(created.status, 201, "{}", created.text());
}

#[tokio::test]
async fn tags_are_kept() {
    let server = Server::start().await;
    create(&server, "f", json!({ "Tags": { "a": "1" } })).await;
    let target = "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af";
    let tags = async || server.get(target).await.document()["Tags"].clone();
    assert_eq!(tags().await, json!({ "a": "1" }));
    let add = json!({ "Tags": { "b": "2", "c": "", "a b": "3" } });
    assert_eq!(server.json("POST", target, add).await.status, 204);
    let remove = format!("{target}?tagKeys=a&tagKeys=a%20b&tagKeys=none");
    assert_eq!(server.send("DELETE", &remove, &[], b"").await.status, 204);
    assert_eq!(tags().await, json!({ "b": "2", "c": "" }));
    let found = server.get(&format!("{FUNCTIONS}/f")).await.document();
    assert_eq!(found["Tags"], json!({ "b": "2", "c": "" }));
    let many: serde_json::Map<_, _> = (0..49).map(|n| (n.to_string(), json!(""))).collect();
    for wrong in [
        json!({ "": "x" }),
        json!({ "k": "x".repeat(257) }),
        json!(many),
    ] {
        let refused = server.json("POST", target, json!({ "Tags": wrong })).await;
        check(&refused, 400, "InvalidParameterValueException");
    }
    assert_eq!(tags().await, json!({ "b": "2", "c": "" }));
    let nobody = target.strip_suffix('f').expect("its name");
    check(
        &server.get(&format!("{nobody}g")).await,
        404,
        "ResourceNotFoundException",
    );
}

#[tokio::test]
async fn a_url_is_configured_and_answers() {
    let server = Server::start().await;
    with_http(&server).await;
    let target = "/2021-10-31/functions/f/url";
    check(&server.get(target).await, 404, "ResourceNotFoundException");
    let missing = server.send("GET", "/url/f/", &[], b"").await;
    check(&missing, 404, "ResourceNotFoundException");
    let cors =
        json!({ "AllowOrigins": ["http://localhost:3000"], "AllowMethods": ["GET"], "MaxAge": 5 });
    let wanted = json!({ "AuthType": "NONE", "Cors": cors });
    let created = server.json("POST", target, wanted.clone()).await;
    assert_eq!(created.status, 201, "{}", created.text());
    let url = created.document();
    assert_eq!(url["FunctionUrl"], "http://localhost/url/f/");
    assert_eq!(
        (&url["AuthType"], &url["InvokeMode"]),
        (&json!("NONE"), &json!("BUFFERED"))
    );
    // No member that was not sent: tools that compare would find a difference.
    assert_eq!(url["Cors"], cors);
    check(
        &server.json("POST", target, wanted).await,
        409,
        "ResourceConflictException",
    );
    let other = json!({ "AuthType": "MAYBE" });
    check(
        &server.json("PUT", target, other).await,
        400,
        "InvalidParameterValueException",
    );
    // Only the answer to the creation does not say when the URL was changed.
    assert_eq!(url.get("LastModifiedTime"), None);
    let mut url = url;
    url["LastModifiedTime"] = url["CreationTime"].clone();
    assert_eq!(server.get(target).await.document(), url);
    let list = server.get("/2021-10-31/functions/f/urls").await.document();
    assert_eq!(list["FunctionUrlConfigs"], json!([url]));

    let page = [("origin", "http://localhost:3000")];
    let answer = server.send("PUT", "/url/f/a%20b?c=d", &page, b"text").await;
    assert_eq!((answer.status, answer.text()), (200, "text"));
    assert_eq!(
        (answer.header("x-method"), answer.header("x-target")),
        (Some("PUT"), Some("/a%20b?c=d"))
    );
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("http://localhost:3000")
    );
    let ask = [page[0], ("access-control-request-method", "GET")];
    let preflight = server.send("OPTIONS", "/url/f/", &ask, b"").await;
    assert_eq!(
        (preflight.status, preflight.header("x-method")),
        (204, None)
    );
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        Some("GET")
    );
    assert_eq!(preflight.header("access-control-max-age"), Some("5"));
    let other = [("origin", "http://localhost:4000"), ask[1]];
    let refused = server.send("OPTIONS", "/url/f/", &other, b"").await;
    assert_eq!(refused.header("access-control-allow-origin"), None);

    let update = json!({ "AuthType": "AWS_IAM" });
    let updated = server.json("PUT", target, update).await.document();
    assert_eq!(
        (&updated["AuthType"], &updated["Cors"]),
        (&json!("AWS_IAM"), &url["Cors"])
    );
    for credentials in [false, true] {
        let cors = json!({ "AllowCredentials": credentials, "AllowOrigins": ["*"] });
        let update = json!({ "Cors": cors });
        let updated = server.json("PUT", target, update).await.document();
        assert_eq!(updated["Cors"], cors);
    }
    for (wrong, name) in [
        (json!({ "InvokeMode": "RESPONSE_STREAM" }), "InvokeMode"),
        (
            json!({ "Cors": { "AllowMethods": ["TRACE"] } }),
            "AllowMethods",
        ),
        (json!({ "Cors": { "MaxAge": 90_000 } }), "MaxAge"),
        (json!({ "Cors": { "Other": 1 } }), "Cors.Other"),
    ] {
        let refused = server.json("PUT", target, wrong).await;
        check(&refused, 400, "InvalidParameterValueException");
        assert!(refused.text().contains(name), "{}", refused.text());
    }
    // What broke is for the author to know.
    for event in ["!panic secret", "!error secret", "!timeout"] {
        let answer = server.send("POST", "/url/f/", &[], event.as_bytes()).await;
        check(&answer, 502, "BadGatewayException");
        assert!(!answer.text().contains("secret"));
    }
    assert_eq!(server.send("DELETE", target, &[], b"").await.status, 204);
    check(
        &server.get("/url/f/").await,
        404,
        "ResourceNotFoundException",
    );
}

/// A handler that takes no HTTP gets an event of payload format 2.0, and what it returns is taken for one's answer.
#[tokio::test]
async fn a_url_of_any_handler_speaks_payload_format_2() {
    let server = Server::start().await;
    create(&server, "f", json!({ "Publish": true })).await;
    let alias = json!({ "Name": "a", "FunctionVersion": "1" });
    server
        .json("POST", &format!("{FUNCTIONS}/f/aliases"), alias)
        .await;
    let made = server
        .json(
            "POST",
            "/2021-10-31/functions/f/url?Qualifier=a",
            json!({ "AuthType": "NONE" }),
        )
        .await;
    assert_eq!(made.document()["FunctionUrl"], "http://localhost/url/f:a/");
    let headers = [
        ("cookie", "a=1; b=2"),
        ("x-two", "1"),
        ("x-two", "2"),
        ("jiffy-start", "forged"),
    ];
    // The fake echoes its event.
    let answer = server
        .send("POST", "/url/f:a/p%20q?k=v&k=w%26", &headers, b"\xff")
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let event = answer.document();
    assert_eq!(
        (&event["version"], &event["rawPath"]),
        (&json!("2.0"), &json!("/p q"))
    );
    assert_eq!(event["rawQueryString"], "k=v&k=w%26");
    assert_eq!(event["queryStringParameters"], json!({ "k": "v,w&" }));
    assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
    assert_eq!(
        (&event["headers"]["x-two"], &event["headers"]["jiffy-start"]),
        (&json!("1,2"), &Value::Null)
    );
    assert_eq!(
        (&event["body"], &event["isBase64Encoded"]),
        (&json!("/w=="), &json!(true))
    );
    let http = &event["requestContext"]["http"];
    assert_eq!(
        (&http["method"], &http["sourceIp"]),
        (&json!("POST"), &json!("127.0.0.1"))
    );
    // The alias has gone, and its URL with it.
    server
        .send("DELETE", &format!("{FUNCTIONS}/f/aliases/a"), &[], b"")
        .await;
    check(
        &server.get("/url/f:a/").await,
        404,
        "ResourceNotFoundException",
    );
}

#[tokio::test]
async fn a_url_says_who_may_use_it() {
    let token = "0123456789abcdef0123456789abcdef";
    let server = Server::with(|config| config.token = Some(token.to_owned().into())).await;
    let bearer = format!("Bearer {token}");
    let known = [("authorization", &*bearer)];
    let zip = zip_of(&[("x", &image_with(HTTP, "f"))]);
    let document = json!({ "FunctionName": "f", "Role": "arn:aws:iam::000000000000:role/any", "Code": { "ZipFile": zip } });
    server
        .send("POST", FUNCTIONS, &known, document.to_string().as_bytes())
        .await;
    let target = "/2021-10-31/functions/f/url";
    let put = async |method: &str, auth: &str| {
        let document = json!({ "AuthType": auth }).to_string();
        server
            .send(method, target, &known, document.as_bytes())
            .await
    };
    put("POST", "NONE").await;
    assert_eq!(server.get("/url/f/").await.status, 200);
    put("PUT", "AWS_IAM").await;
    check(
        &server.get("/url/f/").await,
        403,
        "MissingAuthenticationTokenException",
    );
    assert_eq!(server.send("GET", "/url/f/", &known, b"").await.status, 200);
}

#[tokio::test]
async fn provisioned_vms_are_ready_before_anybody_asks() {
    let server = Server::start().await;
    create(&server, "f", json!({ "Publish": true })).await;
    server
        .json(
            "POST",
            &format!("{FUNCTIONS}/f/aliases"),
            json!({ "Name": "a", "FunctionVersion": "1" }),
        )
        .await;
    let target = "/2019-09-30/functions/f/provisioned-concurrency";
    let of = |qualifier: &str| format!("{target}?Qualifier={qualifier}");
    let put = async |qualifier: &str, vms: u32| {
        let wanted = json!({ "ProvisionedConcurrentExecutions": vms });
        server.json("PUT", &of(qualifier), wanted).await
    };
    check(
        &server.get(&of("1")).await,
        404,
        "ProvisionedConcurrencyConfigNotFoundException",
    );
    for (qualifier, vms, status) in [
        ("$LATEST", 1, 400),
        ("1", 0, 400),
        ("1", 1001, 400),
        ("2", 1, 404),
        ("b", 1, 404),
    ] {
        let refused = put(qualifier, vms).await;
        assert_eq!(
            refused.status,
            status,
            "{qualifier} {vms}: {}",
            refused.text()
        );
    }
    let asked = put("a", 2).await;
    assert_eq!(
        (
            asked.status,
            &asked.document()["RequestedProvisionedConcurrentExecutions"]
        ),
        (202, &json!(2))
    );
    let ready = async || {
        for _ in 0..1000 {
            let found = server.get(&of("a")).await.document();
            match found["Status"].as_str() {
                Some("READY") => return found,
                Some("IN_PROGRESS") => {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("not ready");
    };
    let found = ready().await;
    assert_eq!(found["AllocatedProvisionedConcurrentExecutions"], 2);
    assert_eq!(found["AvailableProvisionedConcurrentExecutions"], 2);
    let instances = server.get("/v1/instances").await.document();
    assert_eq!(instances["instances"].as_array().map(Vec::len), Some(2));
    let list = server.get(&format!("{target}?List=ALL")).await.document();
    let configs = list["ProvisionedConcurrencyConfigs"]
        .as_array()
        .expect("list");
    assert_eq!((configs.len(), &configs[0]["Status"]), (1, &json!("READY")));
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:f:a";
    assert_eq!(configs[0]["FunctionArn"], arn);
    assert_eq!(server.send("DELETE", &of("a"), &[], b"").await.status, 204);
    check(
        &server.get(&of("a")).await,
        404,
        "ProvisionedConcurrencyConfigNotFoundException",
    );
}

#[tokio::test]
async fn code_can_be_downloaded_until_its_address_expires() {
    let server = Server::with(|config| {
        config.token = Some("0123456789abcdef0123456789abcdef".to_owned().into())
    })
    .await;
    let known = [("authorization", "Bearer 0123456789abcdef0123456789abcdef")];
    let zip = zip_of(&[("x", &image("f"))]);
    let document = json!({ "FunctionName": "f", "Role": "arn:aws:iam::000000000000:role/any", "Code": { "ZipFile": zip } });
    server
        .send("POST", FUNCTIONS, &known, document.to_string().as_bytes())
        .await;
    let found = server
        .send("GET", &format!("{FUNCTIONS}/f"), &known, b"")
        .await
        .document();
    let location = found["Code"]["Location"].as_str().expect("text");
    let path = location
        .strip_prefix("http://localhost")
        .expect("this agent")
        .to_owned();
    let answer = server.get(&path).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/zip"))
    );
    let mut archive = zip::ZipArchive::new(Cursor::new(&answer.body)).expect("zip");
    let mut entry = archive.by_name("bootstrap").expect("entry");
    assert_eq!(entry.unix_mode().map(|mode| mode & 0o777), Some(0o755));
    let mut bytes = vec![];
    entry.read_to_end(&mut bytes).expect("read");
    assert_eq!(bytes, image("f"));
    let (before, signature) = path.rsplit_once('=').expect("signature");
    let later = path.replace("Expires=", "Expires=1");
    let forged = format!("{before}={}", "0".repeat(signature.len()));
    for wrong in [
        &*later,
        &*forged,
        before,
        path.split('?').next().expect("path"),
        "/code/x",
    ] {
        check(&server.get(wrong).await, 403, "AccessDeniedException");
    }
}

#[tokio::test]
async fn the_account_says_what_there_is() {
    let server = Server::start().await;
    create(&server, "f", json!({})).await;
    let put = json!({ "ReservedConcurrentExecutions": 100 });
    server
        .json("PUT", "/2017-10-31/functions/f/concurrency", put)
        .await;
    let found = server.get("/2016-08-19/account-settings").await.document();
    assert_eq!(found["AccountUsage"]["FunctionCount"], 1);
    assert_eq!(found["AccountUsage"]["TotalCodeSize"], image("f").len());
    let limit = &found["AccountLimit"];
    assert_eq!(limit["ConcurrentExecutions"], 10_000);
    assert_eq!(limit["UnreservedConcurrentExecutions"], 9900);
}
