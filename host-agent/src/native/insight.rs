//! What happens and happened: health, metrics, instances, usage, logs.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use jiffy_model::Outcome;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        watch,
    },
    task::spawn_blocking,
};

use super::views::InstanceView;
use crate::{
    http::{
        backend::Backend,
        input::{Parameters, Segments},
        problem::Problem,
    },
    logs::{LogLine, LogQuery, LogsError, READ_LINES_MAX},
    metrics::{Exposition, Gauges},
    model::FunctionId,
    service::Health,
    usage::FunctionUsage,
    vm::Vms,
};

const JSON_LINES: &str = "application/jsonl";
/// Log lines of one response unless the client says otherwise.
const LOG_LINES_DEFAULT: usize = 1000;

/// `GET /v1/health`
pub(super) async fn health<V: Vms>(State(backend): State<Backend<V>>) -> Json<Health> {
    Json(backend.service.health())
}

/// `GET /metrics`
pub(super) async fn metrics<V: Vms>(
    State(backend): State<Backend<V>>,
    headers: HeaderMap,
) -> Response {
    let accept = headers.get(header::ACCEPT);
    let exposition = Exposition::from_accept(accept.and_then(|accept| accept.to_str().ok()));
    let gauges = Gauges {
        functions: backend.service.health().functions,
        log_bytes: backend.service.logs().total_bytes(),
        body_bytes: backend.bodies.held_bytes(),
        pool: backend.service.pool().stats(),
        outbound: backend.service.pool().vms().outbound(),
    };
    let text = backend.service.metrics().encode(&gauges, exposition);
    typed(exposition.content_type(), text)
}

fn typed(content_type: &'static str, body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, content_type)], body.into()).into_response()
}

/// All VMs.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct InstanceList {
    /// In no order.
    instances: Vec<InstanceView>,
}

/// `GET /v1/instances`
pub(super) async fn instances<V: Vms>(State(backend): State<Backend<V>>) -> Json<InstanceList> {
    let instances = backend.service.pool().instances();
    Json(InstanceList {
        instances: instances.into_iter().map(InstanceView::from).collect(),
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageParameters {
    function: Option<FunctionId>,
    #[serde(default)]
    since: u64,
}

/// What requests took.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct UsageList {
    /// By function.
    usage: Vec<FunctionUsage>,
}

/// `GET /v1/usage`
pub(super) async fn usage<V: Vms>(
    State(backend): State<Backend<V>>,
    Parameters(wanted): Parameters<UsageParameters>,
) -> Json<UsageList> {
    let usage = backend.service.usage();
    let usage = usage.summary(wanted.function.as_ref(), wanted.since);
    Json(UsageList { usage })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogParameters {
    since: Option<u64>,
    until: Option<u64>,
    request_id: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    follow: bool,
}

/// `GET /v1/functions/{name}/logs`
pub(super) async fn logs<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(name): Segments<FunctionId>,
    Parameters(wanted): Parameters<LogParameters>,
) -> Result<Response, Problem> {
    let limit = wanted.limit.unwrap_or(LOG_LINES_DEFAULT);
    if !(1..=READ_LINES_MAX).contains(&limit) {
        let detail = format!("invalid limit {limit}: must be 1 to {READ_LINES_MAX}");
        return Err(Problem::new(Outcome::InvalidRequest, detail));
    }
    backend.catalog().function(&name)?;
    let query = LogQuery {
        since_ms: wanted.since,
        until_ms: wanted.until,
        request_id: wanted.request_id,
        limit,
    };
    let logs = Arc::clone(backend.service.logs());
    let read = {
        let query = query.clone();
        move || {
            if wanted.follow {
                let (lines, receiver) = logs.read_and_follow(&name, &query)?;
                Ok((lines, Some(receiver)))
            } else {
                Ok((logs.read(&name, &query)?, None))
            }
        }
    };
    let read: Result<_, LogsError> = spawn_blocking(read)
        .await
        .map_err(|_| Problem::new(Outcome::Platform, "the logs could not be read: try again"))?;
    let (lines, receiver) = read?;
    let mut text = Vec::new();
    for line in &lines {
        append(&mut text, &Line::Logged(line));
    }
    let Some(receiver) = receiver else {
        return Ok(typed(JSON_LINES, text));
    };
    let first = stream::once(async { Ok::<_, std::convert::Infallible>(Bytes::from(text)) });
    let rest = follow(receiver, query, backend.stopping.clone()).map(Ok);
    Ok(typed(JSON_LINES, Body::from_stream(first.chain(rest))))
}

fn append(text: &mut Vec<u8>, line: &Line<'_>) {
    serde_json::to_writer(&mut *text, line).expect("texts and numbers always encode");
    text.push(b'\n');
}

/// One line of a log, or how many lines a follower missed.
#[derive(Serialize)]
#[serde(untagged)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "LogLine"))]
pub(super) enum Line<'a> {
    /// One line.
    Logged(&'a LogLine),
    /// Some lines are not in a followed log.
    Missed {
        /// How many.
        missed: u64,
    },
}

/// The lines from now on, until the function is deleted or the agent stops.
fn follow(
    receiver: Receiver<Arc<LogLine>>,
    query: LogQuery,
    stopping: watch::Receiver<bool>,
) -> impl stream::Stream<Item = Bytes> {
    stream::unfold(
        (receiver, query, stopping),
        |(mut receiver, query, mut stopping)| async move {
            loop {
                let received = tokio::select! {
                    _ = stopping.wait_for(|stopping| *stopping) => return None,
                    received = receiver.recv() => received,
                };
                let mut text = Vec::new();
                match received {
                    Ok(line) if query.wants(&line) => append(&mut text, &Line::Logged(&line)),
                    Ok(_) => continue,
                    Err(RecvError::Lagged(missed)) => append(&mut text, &Line::Missed { missed }),
                    Err(RecvError::Closed) => return None,
                }
                return Some((Bytes::from(text), (receiver, query, stopping)));
            }
        },
    )
}
