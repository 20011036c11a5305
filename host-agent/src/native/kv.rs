//! Stores of keys and values: entries with ETags, lists, stores.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiffy_console::quantity::parse_time;
use jiffy_kv::{
    Change, Condition, Entry, KvError, ListOptions, StoreId, VALUE_BYTES_MAX, Write, Written,
};
use jiffy_model::{
    BindingName, Outcome, TenantName,
    documents::{KvEntry, KvList, KvStore, KvStoreList, KvWritten},
};
use serde::Deserialize;

use super::data::{Wanted, invalid, limit, one, page, read, removed_or_not_found};
use crate::{
    http::{
        backend::Backend,
        bodies::{collect, counted},
        input::{Parameters, Segments},
        problem::Problem,
    },
    vm::Vms,
};

/// What was said of an entry.
const METADATA: HeaderName = HeaderName::from_static("jiffy-metadata");
/// When an entry expires, milliseconds since 1970.
const EXPIRES_MS: HeaderName = HeaderName::from_static("jiffy-expires-ms");

/// Which part of a list is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    #[serde(default)]
    prefix: String,
    cursor: Option<String>,
    limit: Option<usize>,
}

/// How a value is put.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Put {
    ttl: Option<String>,
}

fn store_id(name: &BindingName) -> StoreId {
    StoreId::new(&TenantName::default(), name.as_ref())
}

/// `GET /v1/kv`
pub(super) async fn stores<V: Vms>(
    State(backend): State<Backend<V>>,
    Parameters(wanted): Parameters<Wanted>,
) -> Result<Json<KvStoreList>, Problem> {
    let kv = Arc::clone(&backend.service.kv);
    let find = move |tenant: &_, after: Option<&_>, limit| kv.stores(tenant, after, limit);
    let (found, next) = page(wanted, find, |store| &store.name).await?;
    let stores = found.into_iter().map(|store| KvStore {
        name: store.name,
        entries: store.entries,
        bytes: store.bytes,
    });
    Ok(Json(KvStoreList {
        stores: stores.collect(),
        next,
    }))
}

/// `GET /v1/kv/{store}`
pub(super) async fn list<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(store): Segments<BindingName>,
    Parameters(part): Parameters<Part>,
) -> Result<Json<KvList>, Problem> {
    let limit = limit(part.limit)?;
    let kv = Arc::clone(&backend.service.kv);
    let page = read(move || {
        let options = ListOptions {
            prefix: &part.prefix,
            cursor: part.cursor.as_deref(),
            limit,
        };
        kv.list(&store_id(&store), options)
    });
    let page = page.await?;
    let entries = page.entries.into_iter().map(|entry| KvEntry {
        key: entry.key,
        version: entry.version,
        bytes: entry.value_bytes.into(),
        metadata: entry.metadata,
        expires_ms: entry.expires_ms,
    });
    Ok(Json(KvList {
        entries: entries.collect(),
        next: page.next,
    }))
}

/// `DELETE /v1/kv/{store}`
pub(super) async fn remove_store<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(store): Segments<BindingName>,
) -> Result<StatusCode, Problem> {
    let removed = backend.service.kv.remove_store(store_id(&store)).await?;
    removed_or_not_found(existed(&removed), || {
        format!("no store {store}: must be one that something was put into")
    })
}

/// `GET /v1/kv/{store}/{key}`
pub(super) async fn get<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments((store, key)): Segments<(BindingName, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let known = one(&headers, &header::IF_NONE_MATCH)?
        .map(version_of)
        .transpose()?;
    let (id, wanted) = (store_id(&store), key.clone());
    let kv = Arc::clone(&backend.service.kv);
    let Some(entry) = read(move || kv.get(&id, &wanted)).await? else {
        return Err(Problem::new(Outcome::NotFound, no_entry(&store, &key)));
    };
    let Entry {
        version,
        value,
        metadata,
        expires_ms,
    } = entry;
    let is_known = match known {
        Some(Tag::Any) => true,
        Some(Tag::Version(known)) => known == version,
        None => false,
    };
    let (status, body) = match is_known {
        true => (StatusCode::NOT_MODIFIED, Body::empty()),
        false => (StatusCode::OK, counted(value, backend.held())?.into()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag(version));
    // What is in a store is nobody's page.
    let bytes = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, bytes);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    if let Some(expires_ms) = expires_ms {
        headers.insert(EXPIRES_MS, expires_ms.into());
    }
    if let (false, Ok(metadata)) = (metadata.is_empty(), HeaderValue::try_from(metadata)) {
        headers.insert(METADATA, metadata);
    }
    Ok(response)
}

/// `PUT /v1/kv/{store}/{key}`
pub(super) async fn put<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments((store, key)): Segments<(BindingName, String)>,
    Parameters(Put { ttl }): Parameters<Put>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let condition = condition(&parts.headers)?;
    let metadata = one(&parts.headers, &METADATA)?.unwrap_or_default().into();
    let ttl = ttl.as_deref().map(time_to_live).transpose()?;
    let mut intake = backend.intake();
    let value = collect(body, VALUE_BYTES_MAX, &mut intake).await?.into();
    let change = Change::Put {
        value,
        metadata,
        ttl,
    };
    let written = write(&backend, &store, key, condition, change).await?;
    let Some(Written { version, existed }) = written.first().copied() else {
        return Err(Problem::new(Outcome::Host, "the change came to nothing"));
    };
    let status = match existed {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    let headers = [(header::ETAG, etag(version))];
    Ok((status, headers, Json(KvWritten { version })).into_response())
}

/// `DELETE /v1/kv/{store}/{key}`
pub(super) async fn remove<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments((store, key)): Segments<(BindingName, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let condition = condition(&headers)?;
    let removed = write(&backend, &store, key.clone(), condition, Change::Delete).await?;
    removed_or_not_found(existed(&removed), || no_entry(&store, &key))
}

async fn write<V: Vms>(
    backend: &Backend<V>,
    store: &BindingName,
    key: String,
    condition: Condition,
    change: Change,
) -> Result<Vec<Written>, KvError> {
    let write = Write {
        key,
        condition,
        change,
    };
    backend.service.kv.write(store_id(store), vec![write]).await
}

fn existed(removed: &[Written]) -> bool {
    removed.first().is_some_and(|removed| removed.existed)
}

fn no_entry(store: &BindingName, key: &str) -> String {
    format!("the store {store} has no entry {key:?}")
}

/// What a condition names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Any,
    Version(u64),
}

fn etag(version: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("digits and quotes")
}

fn version_of(text: &str) -> Result<Tag, Problem> {
    if text == "*" {
        return Ok(Tag::Any);
    }
    let quoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let version = quoted.and_then(|digits| digits.parse().ok());
    // One text for each version: +7 and 007 are none.
    let version = version.filter(|version| etag(*version).as_bytes() == text.as_bytes());
    version.map(Tag::Version).ok_or_else(|| {
        invalid(format!(
            "invalid ETag {text:?}: must be one that the agent gave, such as \"7\", or *"
        ))
    })
}

fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    let wanted = one(headers, &header::IF_MATCH)?
        .map(version_of)
        .transpose()?;
    let unwanted = one(headers, &header::IF_NONE_MATCH)?
        .map(version_of)
        .transpose()?;
    match (wanted, unwanted) {
        (None, None) => Ok(Condition::None),
        (Some(Tag::Any), None) => Ok(Condition::Present),
        (Some(Tag::Version(version)), None) => Ok(Condition::Version(version)),
        (None, Some(Tag::Any)) => Ok(Condition::Absent),
        (None, Some(Tag::Version(_))) => {
            Err(invalid("invalid If-None-Match: must be * with a change"))
        }
        (Some(_), Some(_)) => Err(invalid("use If-Match or If-None-Match, not both")),
    }
}

fn time_to_live(text: &str) -> Result<Duration, Problem> {
    parse_time(text).map_err(|rule| invalid(format!("invalid ttl {text:?}: {rule}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::front::tests::Server;

    const PATH: &str = "/v1/kv/cart/42";

    #[tokio::test]
    async fn an_entry_is_put_got_and_removed_by_its_etag() {
        let server = Server::start().await;
        let none = server.get(PATH).await;
        assert_eq!((none.status, &*none.problem()), (404, "not-found"));
        let headers = [("if-none-match", "*"), ("jiffy-metadata", "text/plain")];
        let put = server.send("PUT", PATH, &headers, b"one").await;
        assert_eq!(put.status, 201, "{}", put.text());
        let first = put.header("etag").expect("an etag").to_owned();
        assert_eq!(
            put.document()["version"].to_string(),
            first.trim_matches('"')
        );
        let again = server.send("PUT", PATH, &headers, b"two").await;
        assert_eq!(
            (again.status, &*again.problem()),
            (412, "precondition-failed")
        );
        let got = server.get(PATH).await;
        assert_eq!(
            (got.status, got.text(), got.header("etag")),
            (200, "one", Some(&*first))
        );
        assert_eq!(got.header("jiffy-metadata"), Some("text/plain"));
        assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
        let known = server
            .send("GET", PATH, &[("if-none-match", &first)], b"")
            .await;
        assert_eq!((known.status, known.text()), (304, ""));
        let matching = [("if-match", &*first)];
        let target = format!("{PATH}?ttl=1h");
        let second = server.send("PUT", &target, &matching, b"two").await;
        assert_eq!(second.status, 200, "{}", second.text());
        let got = server.get(PATH).await;
        assert!(got.header("jiffy-expires-ms").is_some() && got.header("jiffy-metadata").is_none());
        for no_tag in ["", "7", "\"+7\"", "\"007\"", "\"7"] {
            let refused = server
                .send("DELETE", PATH, &[("if-match", no_tag)], b"")
                .await;
            assert_eq!(refused.status, 400, "{no_tag}: {}", refused.text());
        }
        let late = server.send("DELETE", PATH, &matching, b"").await;
        assert_eq!(late.status, 412, "{}", late.text());
        let current = [("if-match", got.header("etag").expect("an etag"))];
        assert_eq!(server.send("DELETE", PATH, &current, b"").await.status, 204);
        assert_eq!(server.send("DELETE", PATH, &[], b"").await.status, 404);
    }

    #[tokio::test]
    async fn entries_and_stores_are_listed_in_parts() {
        let server = Server::start().await;
        for path in ["cart/a%2Fb", "cart/a/c", "cart/%C3%BC", "other/x"] {
            let put = server
                .send("PUT", &format!("/v1/kv/{path}"), &[], b"12")
                .await;
            assert_eq!(put.status, 201, "{}", put.text());
        }
        let list = server.get("/v1/kv/cart?prefix=a/&limit=1").await.document();
        assert_eq!(
            (&list["entries"][0]["key"], &list["next"]),
            (&json!("a/b"), &json!("a/b"))
        );
        assert_eq!(list["entries"][0]["bytes"], 2);
        let rest = server.get("/v1/kv/cart?cursor=a/b").await.document();
        let keys: Vec<_> = rest["entries"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| &entry["key"])
            .collect();
        assert_eq!(
            (keys, &rest["next"]),
            (vec![&json!("a/c"), &json!("ü")], &json!(null))
        );
        let stores = server.get("/v1/kv?limit=1").await.document();
        assert_eq!(
            (&stores["stores"][0]["name"], &stores["next"]),
            (&json!("cart"), &json!("cart"))
        );
        assert_eq!(stores["stores"][0]["entries"], 3);
        assert_eq!(
            server.send("DELETE", "/v1/kv/cart", &[], b"").await.status,
            204
        );
        assert_eq!(
            server.send("DELETE", "/v1/kv/cart", &[], b"").await.status,
            404
        );
        let stores = server.get("/v1/kv").await.document();
        assert_eq!(
            (&stores["stores"][0]["name"], &stores["next"]),
            (&json!("other"), &json!(null))
        );
    }

    #[tokio::test]
    async fn what_is_no_call_is_refused_by_name() {
        let server = Server::start().await;
        let long = format!("/v1/kv/s/{}", "k".repeat(513));
        for (method, target, headers, status) in [
            ("GET", "/v1/kv/a%20b/k", &[][..], 400),
            ("GET", &*long, &[], 400),
            ("GET", "/v1/kv/s/%ff", &[], 400),
            ("GET", "/v1/kv/s?limit=0", &[], 400),
            ("GET", "/v1/kv/s?limit=1001", &[], 400),
            ("GET", "/v1/kv/s?other=1", &[], 400),
            ("GET", "/v1/kv/s/", &[], 404),
            ("GET", "/v1/kv/s/k", &[("if-none-match", "7")], 400),
            ("PUT", "/v1/kv/s/k?ttl=7", &[], 400),
            ("PUT", "/v1/kv/s/k?ttl=0s", &[], 400),
            ("PUT", "/v1/kv/s/k?ttl=99years", &[], 400),
            ("PUT", "/v1/kv/s/k", &[("if-match", "W/\"7\"")], 400),
            ("PUT", "/v1/kv/s/k", &[("if-match", "*")], 412),
            ("PUT", "/v1/kv/s/k", &[("if-none-match", "\"7\"")], 400),
            (
                "PUT",
                "/v1/kv/s/k",
                &[("if-match", "*"), ("if-none-match", "*")],
                400,
            ),
            ("DELETE", "/v1/kv/s/k?ttl=1s", &[], 400),
            ("POST", "/v1/kv/s/k", &[], 405),
        ] {
            let answer = server.send(method, target, headers, b"").await;
            assert_eq!(
                answer.status,
                status,
                "{method} {target} {headers:?} {}",
                answer.text()
            );
        }
        let large = vec![b'x'; super::VALUE_BYTES_MAX + 1];
        let answer = server.send("PUT", PATH, &[], &large).await;
        assert_eq!((answer.status, &*answer.problem()), (413, "too-large"));
    }
}
