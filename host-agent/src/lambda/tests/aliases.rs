//! Aliases, reserved concurrency, and revisions that two change.

use super::*;

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
