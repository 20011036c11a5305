//! Functions: their code and configuration.

use super::*;

/// The zip file that `create` sends.
fn zip(name: &str) -> Vec<u8> {
    let zip = zip_of(&[("bootstrap", &image(name))]);
    BASE64.decode(zip).expect("base64")
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
