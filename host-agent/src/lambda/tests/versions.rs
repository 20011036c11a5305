//! Versions: what is published, and what of it stays.

use super::*;

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
