//! What a deploy keeps of the version before, and what it tells of its changes.

use super::*;

#[tokio::test]
async fn a_deploy_keeps_what_it_does_not_name() {
    let server = Server::start_trusted().await;
    let first = json!({
        "memory_bytes": 64 << 20, "timeout_ms": 500, "isolation": "reuse", "max_concurrency": 3, "min_ready": 0,
        "environment": { "A": "1", "B": "2" }, "description": "d",
    });
    let made = deploy_with(&server, "f", first).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.document().get("changes"), None);
    let settings = |document: &Value| {
        [
            "memory_bytes",
            "timeout_ms",
            "isolation",
            "max_concurrency",
            "environment",
            "description",
        ]
        .map(|key| document[key].clone())
    };
    // Without a word all stays.
    let again = deploy_with(&server, "f", json!({})).await.document();
    assert_eq!(settings(&again), settings(&made.document()));
    assert_eq!(
        (&again["version"], &again["changes"]),
        (&json!(2), &json!({}))
    );
    // One word changes one thing.
    let changed = json!({ "memory_bytes": 32 << 20, "description": "" });
    let changed = deploy_with(&server, "f", changed).await.document();
    let changes = json!({
        "memory_bytes": { "from": 64 << 20, "to": 32 << 20 }, "description": { "from": "d", "to": "" },
    });
    assert_eq!(changed["changes"], changes);
    assert_eq!(
        (&changed["timeout_ms"], &changed["environment"]["A"]),
        (&json!(500), &json!("1"))
    );
    // What a function may ask for is a setting, too; with all that it has of another name.
    let granted = json!({ "grants": { "kv": { "cart": {} } } });
    let granted = deploy_with(&server, "f", granted).await.document();
    assert_eq!(granted["grants"], json!({ "kv": { "cart": {} } }));
    let changes = json!({ "grants": { "from": {}, "to": { "kv": { "cart": {} } } } });
    assert_eq!(granted["changes"], changes);
    let wrong = json!({ "grants": { "network": { "allow": ["ftp://a"] } } });
    let wrong = deploy_with(&server, "f", wrong).await;
    assert!(wrong.status == 400 && wrong.text().contains("invalid origin"));
    let half = json!({ "grants": { "secrets": { "a": { "header": "b" } } } });
    let half = deploy_with(&server, "f", half).await;
    assert!(half.status == 400 && half.text().contains("invalid secret a"));
    // Single variables, and all of them.
    let some = json!({ "environment_changes": { "A": null, "B": "3", "C": "4" } });
    let some = deploy_with(&server, "f", some).await.document();
    assert_eq!(some["environment"], json!({ "B": "3", "C": "4" }));
    let changes = json!({ "environment": { "added": ["C"], "changed": ["B"], "removed": ["A"] } });
    assert_eq!(some["changes"], changes);
    let all = json!({ "environment": { "D": "5" }, "environment_changes": { "E": "6" } });
    let all = deploy_with(&server, "f", all).await.document();
    assert_eq!(all["environment"], json!({ "D": "5", "E": "6" }));
    // What goes over a limit changes nothing.
    let bad = deploy_with(&server, "f", json!({ "min_ready": 4 })).await;
    assert_eq!((bad.status, &*bad.problem()), (400, "invalid-request"));
    // It is the live version that is kept, whichever that is.
    let back = server.json("POST", "/v1/functions/f/rollback", json!({ "version": 1 }));
    assert_eq!(back.await.status, 200);
    let kept = deploy_with(&server, "f", json!({})).await.document();
    assert_eq!(settings(&kept), settings(&made.document()));
    // And on demand nothing is.
    let reset = deploy_with(&server, "f", json!({ "reset": true, "timeout_ms": 7 })).await;
    let reset = reset.document();
    let default = crate::model::Settings::default();
    assert_eq!(reset["memory_bytes"], default.memory_bytes);
    assert_eq!(
        (&reset["timeout_ms"], &reset["environment"]),
        (&json!(7), &json!({}))
    );
    assert_eq!(reset["grants"], json!({}));
}
