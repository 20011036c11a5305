//! Queues: messages that are sent, looked at and removed.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use jiffy_abi::call::CONTENT_TYPE_DEFAULT;
use jiffy_model::{
    BindingName, Outcome, TenantName,
    documents::{MessageDocument, MessageList, MessageSent, QueueDocument, QueueList},
};
use jiffy_queue::{MESSAGE_BYTES_MAX, Message, MessageId, NewMessage, QueueId};
use serde::Deserialize;

use super::data::{Wanted, limit, one, page, read, removed_or_not_found};
use crate::{
    http::{
        backend::Backend,
        bodies::{collect, counted},
        input::{Parameters, Segments},
        problem::Problem,
    },
    vm::Vms,
};

/// Of what type a message is.
const CONTENT_TYPE: HeaderName = HeaderName::from_static("jiffy-content-type");
/// When it was sent, milliseconds since 1970.
const SENT_MS: HeaderName = HeaderName::from_static("jiffy-sent-ms");

/// Which part of a queue is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    cursor: Option<MessageId>,
    limit: Option<usize>,
}

fn queue_id(name: &BindingName) -> QueueId {
    QueueId::new(&TenantName::default(), name.as_ref())
}

/// `GET /v1/queues`
pub(super) async fn queues<V: Vms>(
    State(backend): State<Backend<V>>,
    Parameters(wanted): Parameters<Wanted>,
) -> Result<Json<QueueList>, Problem> {
    let queues = Arc::clone(&backend.service.queues);
    let find = move |tenant: &_, after: Option<&_>, limit| queues.queues(tenant, after, limit);
    let (found, next) = page(wanted, find, |queue| &queue.name).await?;
    let queues = found.into_iter().map(|queue| QueueDocument {
        name: queue.name,
        messages: queue.messages,
        bytes: queue.bytes,
    });
    Ok(Json(QueueList {
        queues: queues.collect(),
        next,
    }))
}

/// `DELETE /v1/queues/{queue}`
pub(super) async fn remove_queue<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(queue): Segments<BindingName>,
) -> Result<StatusCode, Problem> {
    let queues = &backend.service.queues;
    let existed = queues.remove_queue(queue_id(&queue)).await?;
    removed_or_not_found(existed, || {
        format!("no queue {queue}: must be one that something was sent to")
    })
}

/// `GET /v1/queues/{queue}/messages`
pub(super) async fn list<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(queue): Segments<BindingName>,
    Parameters(part): Parameters<Part>,
) -> Result<Json<MessageList>, Problem> {
    let limit = limit(part.limit)?;
    let queues = Arc::clone(&backend.service.queues);
    let page = read(move || queues.list(&queue_id(&queue), part.cursor.as_ref(), limit)).await?;
    let messages = page.messages.into_iter().map(|message| MessageDocument {
        sent_ms: message.sent_ms,
        id: message.id.into(),
        bytes: message.body_bytes.into(),
        content_type: message.content_type,
    });
    Ok(Json(MessageList {
        messages: messages.collect(),
        next: page.next.map(String::from),
    }))
}

/// `POST /v1/queues/{queue}/messages`
pub(super) async fn send<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(queue): Segments<BindingName>,
    request: Request,
) -> Result<(StatusCode, Json<MessageSent>), Problem> {
    let (parts, body) = request.into_parts();
    let content_type = one(&parts.headers, &header::CONTENT_TYPE)?;
    let content_type = content_type.unwrap_or(CONTENT_TYPE_DEFAULT).to_owned();
    let mut intake = backend.intake();
    let body = collect(body, MESSAGE_BYTES_MAX, &mut intake).await?.into();
    let message = NewMessage { body, content_type };
    let id = backend.service.queues.send(queue_id(&queue), message);
    let id = id.await?.into();
    Ok((StatusCode::CREATED, Json(MessageSent { id })))
}

/// `GET /v1/queues/{queue}/messages/{message}`
pub(super) async fn get<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments((queue, id)): Segments<(BindingName, MessageId)>,
) -> Result<Response, Problem> {
    let queues = Arc::clone(&backend.service.queues);
    let (of, wanted) = (queue_id(&queue), id.clone());
    let Some(message) = read(move || queues.get(&of, &wanted)).await? else {
        return Err(Problem::new(Outcome::NotFound, no_message(&queue, &id)));
    };
    let Message {
        body,
        sent_ms,
        content_type,
    } = message;
    let mut response = Response::new(counted(body, backend.held())?.into());
    let headers = response.headers_mut();
    // What is in a queue is nobody's page.
    let bytes = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, bytes);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    headers.insert(SENT_MS, sent_ms.into());
    if let Ok(content_type) = HeaderValue::try_from(content_type) {
        headers.insert(CONTENT_TYPE, content_type);
    }
    Ok(response)
}

/// `DELETE /v1/queues/{queue}/messages/{message}`
pub(super) async fn remove<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments((queue, id)): Segments<(BindingName, MessageId)>,
) -> Result<StatusCode, Problem> {
    let queues = &backend.service.queues;
    let existed = queues.remove(queue_id(&queue), &id).await?;
    removed_or_not_found(existed, || no_message(&queue, &id))
}

fn no_message(queue: &BindingName, id: &MessageId) -> String {
    format!("the queue {queue} has no message {id}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::MESSAGE_BYTES_MAX;
    use crate::front::tests::Server;

    const PATH: &str = "/v1/queues/emails/messages";

    #[tokio::test]
    async fn a_message_is_sent_seen_and_removed() {
        let server = Server::start().await;
        let nothing = server.get(PATH).await.document();
        assert_eq!(nothing, json!({ "messages": [], "next": null }));
        let text = [("content-type", "text/html; charset=utf-8")];
        let mut ids = vec![];
        for (headers, body) in [(&text[..], &b"<script>"[..]), (&[], b"\xff")] {
            let sent = server.send("POST", PATH, headers, body).await;
            assert_eq!(sent.status, 201, "{}", sent.text());
            ids.push(sent.document()["id"].as_str().expect("an id").to_owned());
        }
        let list = server.get(PATH).await.document();
        let messages = list["messages"].as_array().expect("a list");
        let seen: Vec<_> = messages.iter().map(|message| &message["id"]).collect();
        assert_eq!(seen, ids.iter().collect::<Vec<_>>());
        assert_eq!(messages[0]["bytes"], 8);
        assert_eq!(messages[0]["content_type"], "text/html; charset=utf-8");
        assert_eq!(messages[1]["content_type"], "application/octet-stream");
        let first = format!("{PATH}/{}", ids[0]);
        let got = server.get(&first).await;
        assert_eq!((got.status, got.text()), (200, "<script>"));
        for (name, value) in [
            ("content-type", "application/octet-stream"),
            ("x-content-type-options", "nosniff"),
            ("jiffy-content-type", "text/html; charset=utf-8"),
            ("jiffy-sent-ms", &messages[0]["sent_ms"].to_string()),
        ] {
            assert_eq!(got.header(name), Some(value));
        }
        for status in [204, 404] {
            let removed = server.send("DELETE", &first, &[], b"").await;
            assert_eq!(removed.status, status, "{}", removed.text());
        }
        let gone = server.get(&first).await;
        assert_eq!((gone.status, &*gone.problem()), (404, "not-found"));
        let left = server.get(PATH).await.document();
        assert_eq!(left["messages"].as_array().map(Vec::len), Some(1));
    }

    #[tokio::test]
    async fn messages_and_queues_are_listed_in_parts() {
        let server = Server::start().await;
        for queue in ["a", "b", "a", "a"] {
            let path = format!("/v1/queues/{queue}/messages");
            let sent = server.send("POST", &path, &[], b"m").await;
            assert_eq!(sent.status, 201, "{}", sent.text());
        }
        let first = server.get("/v1/queues/a/messages?limit=2").await;
        let first = first.document();
        assert_eq!(first["messages"].as_array().map(Vec::len), Some(2));
        let cursor = first["next"].as_str().expect("more");
        let rest = format!("/v1/queues/a/messages?cursor={cursor}");
        let rest = server.get(&rest).await.document();
        assert_eq!(rest["messages"].as_array().map(Vec::len), Some(1));
        assert_eq!(rest["next"], json!(null));
        let queues = server.get("/v1/queues?limit=1").await.document();
        assert_eq!(
            (&queues["queues"][0]["name"], &queues["next"]),
            (&json!("a"), &json!("a"))
        );
        assert_eq!(queues["queues"][0]["messages"], 3);
        let after = server.get("/v1/queues?after=a").await.document();
        assert_eq!(
            (&after["queues"][0]["name"], &after["next"]),
            (&json!("b"), &json!(null))
        );
        for status in [204, 404] {
            let removed = server.send("DELETE", "/v1/queues/a", &[], b"").await;
            assert_eq!(removed.status, status, "{}", removed.text());
        }
        let left = server.get("/v1/queues").await.document();
        assert_eq!(left["queues"].as_array().map(Vec::len), Some(1));
    }

    #[tokio::test]
    async fn what_is_no_call_is_refused_by_name() {
        let server = Server::start().await;
        let long = "t".repeat(256);
        for (method, target, headers, status) in [
            ("GET", "/v1/queues/a%20b/messages", &[][..], 400),
            ("GET", "/v1/queues/q/messages?limit=0", &[], 400),
            ("GET", "/v1/queues/q/messages?limit=1001", &[], 400),
            ("GET", "/v1/queues/q/messages?cursor=7", &[], 400),
            ("GET", "/v1/queues/q/messages?other=1", &[], 400),
            ("GET", "/v1/queues/q/messages/7", &[], 400),
            ("DELETE", "/v1/queues/q/messages/7", &[], 400),
            ("GET", "/v1/queues/q/messages/", &[], 404),
            ("GET", "/v1/queues?limit=0", &[], 400),
            ("GET", "/v1/queues/q", &[], 405),
            ("PUT", "/v1/queues/q/messages", &[], 405),
            ("POST", "/v1/queues/q/messages?delay=1s", &[], 400),
            (
                "POST",
                "/v1/queues/q/messages",
                &[("content-type", &*long)],
                400,
            ),
            (
                "POST",
                "/v1/queues/q/messages",
                &[("content-type", "a"), ("content-type", "b")],
                400,
            ),
        ] {
            let answer = server.send(method, target, headers, b"").await;
            assert_eq!(
                answer.status,
                status,
                "{method} {target} {headers:?} {}",
                answer.text()
            );
        }
        let large = vec![b'x'; MESSAGE_BYTES_MAX + 1];
        let answer = server.send("POST", PATH, &[], &large).await;
        assert_eq!((answer.status, &*answer.problem()), (413, "too-large"));
        let answer = server.send("POST", PATH, &[], &large[1..]).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
}
