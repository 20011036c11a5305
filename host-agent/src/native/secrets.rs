//! Secrets: which there are, never what they are.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{StatusCode, request::Parts},
};
use jiffy_kv::system_clock;
use jiffy_model::{
    BindingName, Outcome, TenantName,
    documents::{SecretDocument, SecretList},
};
use jiffy_secrets::{Clear, SECRET_BYTES_MAX, SecretInfo, Secrets, SecretsError};
use tokio::task::spawn_blocking;

use crate::{
    auth::Caller,
    http::{backend::Backend, bodies::collect, input::Segments, problem::Problem},
    vm::Vms,
};

fn document(info: SecretInfo) -> SecretDocument {
    SecretDocument {
        name: info.name,
        version: info.version,
        set_ms: info.set_ms,
    }
}

/// Works with the secrets, on a thread that may wait for the disk.
async fn with<V: Vms, T: Send + 'static>(
    backend: &Backend<V>,
    work: impl FnOnce(&Secrets) -> Result<T, SecretsError> + Send + 'static,
) -> Result<T, Problem> {
    let secrets = Arc::clone(&backend.service.secrets);
    let done = spawn_blocking(move || work(&secrets)).await;
    Ok(done.map_err(|error| Problem::new(Outcome::Host, error.to_string()))??)
}

/// Who changes something.
fn who<V: Vms>(
    backend: &Backend<V>,
    parts: &Parts,
) -> impl Fn(Option<&BindingName>, &'static str) + use<V> {
    let caller = parts.extensions.get::<Caller>();
    let principal = caller.map(|caller| caller.principal);
    let client = backend.client(parts).address;
    // Tells the agent's log what was changed. Right behind the change, on the same thread: whoever asked for it may have left. A
    // value is in none of its fields.
    move |secret, what| {
        let secret = secret.map(tracing::field::display);
        tracing::info!(secret, ?principal, %client, "{what}");
    }
}

/// `GET /v1/secrets`
pub(super) async fn list<V: Vms>(
    State(backend): State<Backend<V>>,
) -> Result<Json<SecretList>, Problem> {
    let listed = with(&backend, |secrets| secrets.list(&TenantName::default())).await?;
    let secrets = listed.into_iter().map(document).collect();
    Ok(Json(SecretList { secrets }))
}

/// `PUT /v1/secrets/{secret}`
pub(super) async fn put<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(name): Segments<BindingName>,
    request: Request,
) -> Result<(StatusCode, Json<SecretDocument>), Problem> {
    let (parts, body) = request.into_parts();
    let mut intake = backend.intake();
    let value = collect(body, SECRET_BYTES_MAX, &mut intake).await?;
    let value = Clear::from(Vec::from(value));
    let audit = who(&backend, &parts);
    let set = with(&backend, move |secrets| {
        let set = secrets.set(&TenantName::default(), &name, &value, system_clock()())?;
        audit(Some(&name), "a secret is set");
        Ok(set)
    });
    let set = set.await?;
    let status = match set.existed {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    Ok((status, Json(document(set.info))))
}

/// `DELETE /v1/secrets/{secret}`
pub(super) async fn remove<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(name): Segments<BindingName>,
    parts: Parts,
) -> Result<StatusCode, Problem> {
    let audit = who(&backend, &parts);
    let of = name.clone();
    let removed = with(&backend, move |secrets| {
        let removed = secrets.remove(&TenantName::default(), &of)?;
        if removed {
            audit(Some(&of), "a secret is removed");
        }
        Ok(removed)
    });
    if !removed.await? {
        let detail = format!("no secret {name}: must be one that was set");
        return Err(Problem::new(Outcome::NotFound, detail));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/secrets:rotate-key`
pub(super) async fn rotate_key<V: Vms>(
    State(backend): State<Backend<V>>,
    parts: Parts,
) -> Result<StatusCode, Problem> {
    let audit = who(&backend, &parts);
    let rotated = with(&backend, move |secrets| {
        secrets.rotate_key()?;
        audit(None, "the master key of secrets is another");
        Ok(())
    });
    rotated.await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::front::tests::Server;

    const PATH: &str = "/v1/secrets/signing";

    #[tokio::test]
    async fn secrets_are_set_listed_and_removed_and_never_told() {
        let server = Server::start().await;
        let put = server.send("PUT", PATH, &[], b"canary-value").await;
        assert_eq!(put.status, 201, "{}", put.text());
        let again = server.send("PUT", PATH, &[], b"canary-other\n").await;
        assert_eq!(again.status, 200, "{}", again.text());
        let rotated = server
            .send("POST", "/v1/secrets:rotate-key", &[], b"")
            .await;
        assert_eq!(rotated.status, 204, "{}", rotated.text());
        let list = server.get("/v1/secrets").await;
        let document = list.document();
        let [secret] = &document["secrets"].as_array().expect("a list")[..] else {
            panic!("{}", list.text());
        };
        assert_eq!(
            (&secret["name"], &secret["version"]),
            (&json!("signing"), &json!(2))
        );
        assert!(secret["set_ms"].as_u64() > Some(0), "{secret}");
        for answer in [&put, &again, &list] {
            assert!(!answer.text().contains("canary"), "{}", answer.text());
        }
        // There is no way to read one.
        assert_eq!(server.get(PATH).await.status, 405);
        assert_eq!(server.send("DELETE", PATH, &[], b"").await.status, 204);
        let gone = server.send("DELETE", PATH, &[], b"").await;
        assert_eq!((gone.status, &*gone.problem()), (404, "not-found"));
    }

    #[tokio::test]
    async fn what_is_no_secret_is_refused_by_name() {
        let server = Server::start().await;
        let large = vec![b'x'; super::SECRET_BYTES_MAX + 1];
        for (target, body, status, problem) in [
            (PATH, &b""[..], 400, "invalid-request"),
            (PATH, &large, 413, "too-large"),
            ("/v1/secrets/a%20b", b"v", 400, "invalid-request"),
            ("/v1/secrets/a?b=c", b"v", 400, "invalid-request"),
        ] {
            let answer = server.send("PUT", target, &[], body).await;
            assert_eq!((answer.status, &*answer.problem()), (status, problem));
        }
        let list = server.get("/v1/secrets").await.document();
        assert_eq!(list, json!({ "secrets": [] }));
    }
}
