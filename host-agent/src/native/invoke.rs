//! Requests to functions: the hot path.
//!
//! ```text
//! POST /v1/functions/{name}/invoke   body ─▶ event ─▶ what the handler returned ─▶ body
//! ANY  /fn/{name}/…                  HTTP request ─▶ HTTP response
//! ```

use std::{fmt::Write as _, mem::take};

use axum::http::{HeaderMap, HeaderValue, Method, header, request::Parts};
use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use jiffy_abi::frame::ResponseKind;
use jiffy_control::HttpRequest;
use jiffy_model::Outcome;
use serde::Deserialize;

use crate::{
    http::{
        backend::Backend,
        bodies::{Held, Intake, collect, counted},
        client_address::Client,
        function::http_response,
        headers::add_facts,
        input::{Parameters, Segments, decode},
        problem::{Problem, text_of_error},
        trace::{RequestId, traceparent},
    },
    model::{FunctionId, Qualifier},
    pool::Start,
    service::{InvokeFacts, InvokeFailure, InvokeInput, Invoked},
    vm::Vms,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct InvokeParameters {
    qualifier: Option<String>,
}

/// What the client asked for: what the handler returned, or its HTTP response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted<'a> {
    Output,
    /// For a request with this method.
    Http(&'a Method),
}

/// `POST /v1/functions/{name}/invoke`
pub(super) async fn invoke<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(name): Segments<FunctionId>,
    Parameters(parameters): Parameters<InvokeParameters>,
    request: Request,
) -> Result<Response, Problem> {
    let id = RequestId::random();
    let answer = async {
        let qualifier = match &parameters.qualifier {
            None => Qualifier::Live,
            Some(text) => text.parse()?,
        };
        let (parts, body) = request.into_parts();
        let mut intake = backend.intake();
        let body = backend.body(body, &mut intake).await?;
        let input = input(
            id,
            traceparent(&parts.headers),
            backend.client(&parts),
            None,
            body,
        );
        let invoked = backend.service.invoke(&name, &qualifier, input).await;
        backend.finish(id, invoked, Wanted::Output)
    };
    answer.await.map_err(|problem| problem.of_request(id))
}

/// `/fn/{name}` and all below it.
pub(super) async fn http<V: Vms>(
    State(backend): State<Backend<V>>,
    request: Request,
) -> Result<Response, Problem> {
    let id = RequestId::random();
    let answer = async {
        let (parts, body) = request.into_parts();
        let (name, target) = function_and_target(&parts)?;
        let mut intake = backend.intake();
        let body = backend.body(body, &mut intake).await?;
        let traceparent = traceparent(&parts.headers);
        let client = backend.client(&parts);
        let http = HttpRequest {
            method: parts.method.as_str().to_owned(),
            target,
            headers: backend.headers_for_guest(&parts, &client, &traceparent),
        };
        let input = input(id, traceparent, client, Some(http), body);
        let invoked = backend.service.invoke(&name, &Qualifier::Live, input).await;
        backend.finish(id, invoked, Wanted::Http(&parts.method))
    };
    answer.await.map_err(|problem| problem.of_request(id))
}

impl<V: Vms> Backend<V> {
    async fn body(&self, body: Body, intake: &mut Intake) -> Result<Vec<u8>, Problem> {
        let bytes_max = self.service.config().limits.body_bytes_max as usize;
        // Without a copy if the body came in one piece.
        Ok(collect(body, bytes_max, intake).await?.into())
    }
}

fn input(
    id: RequestId,
    traceparent: String,
    client: Client,
    http: Option<HttpRequest>,
    body: Vec<u8>,
) -> InvokeInput {
    InvokeInput {
        request_id: Some(id.as_str().to_owned()),
        traceparent: Some(traceparent),
        client_address: Some(client.address.to_string()),
        http,
        body,
        wants_log_tail: false,
        ..InvokeInput::default()
    }
}

/// Name and target of `/fn/{name}{target}`. The target stays as the client wrote it.
fn function_and_target(parts: &Parts) -> Result<(FunctionId, String), Problem> {
    let below = parts.uri.path().strip_prefix("/fn/").unwrap_or_default();
    let (name, path) = below.split_at(below.find('/').unwrap_or(below.len()));
    let name = decode(name).unwrap_or_default();
    let name = FunctionId::try_from(name)?;
    let mut target = String::with_capacity(parts.uri.path().len() + 1);
    target.push_str(if path.is_empty() { "/" } else { path });
    if let Some(query) = parts.uri.query() {
        target.push('?');
        target.push_str(query);
    }
    Ok((name, target))
}

impl<V: Vms> Backend<V> {
    fn finish(
        &self,
        id: RequestId,
        invoked: Result<Invoked, InvokeFailure>,
        wanted: Wanted<'_>,
    ) -> Result<Response, Problem> {
        match invoked {
            Ok(invoked) => {
                let facts = fact_headers(&invoked.facts);
                match respond(invoked.response, wanted, self.held()) {
                    Ok(mut response) => {
                        add_facts(response.headers_mut(), facts);
                        response
                            .headers_mut()
                            .insert("jiffy-request-id", id.header());
                        Ok(response)
                    }
                    Err(problem) => Err(problem.with_headers(facts)),
                }
            }
            Err(mut failure) => {
                let facts = fact_headers(&failure.facts);
                let (backtrace, note) = match wanted {
                    Wanted::Output => {
                        let InvokeFacts {
                            backtrace,
                            backtrace_note,
                            ..
                        } = &mut *failure.facts;
                        (take(backtrace), backtrace_note.take())
                    }
                    // Whoever visits a function's site is not its author.
                    Wanted::Http(_) => (vec![], None),
                };
                let problem = Problem::from(failure.why).with_headers(facts);
                Err(problem.with_backtrace(backtrace, note))
            }
        }
    }
}

fn respond(
    response: jiffy_control::Response,
    wanted: Wanted<'_>,
    held: Held,
) -> Result<Response, Problem> {
    match response.kind {
        ResponseKind::Ok => {
            let content_type = if is_json(&response) {
                JSON
            } else {
                OCTET_STREAM
            };
            let mut answer = Response::new(Body::from(counted(response.body, held)?));
            answer
                .headers_mut()
                .insert(header::CONTENT_TYPE, content_type);
            Ok(answer)
        }
        ResponseKind::Http => match wanted {
            Wanted::Http(method) => http_response(response, method, held),
            Wanted::Output => http_response(response, &Method::POST, held).map(output_of_http),
        },
        ResponseKind::FunctionError => {
            let problem = Problem::new(Outcome::FunctionError, text_of_error(&response.body));
            Err(problem.with_error_type(response.error_type))
        }
        ResponseKind::BadEvent => Err(Problem::new(
            Outcome::BadEvent,
            text_of_error(&response.body),
        )),
    }
}

/// Whether a handler's value says that it is JSON. Another type is not believed: only a handler for HTTP chooses what
/// its body is taken for.
fn is_json(response: &jiffy_control::Response) -> bool {
    let mut headers = response.headers.iter();
    headers.any(|(name, value)| name == "content-type" && value == JSON.as_bytes())
}

/// A handler for HTTP that was given an event: its body is what it returned. Its status is none of this request's,
/// which a client could not tell from one of the agent's.
fn output_of_http(answer: Response) -> Response {
    let (parts, body) = answer.into_parts();
    let mut output = Response::new(body);
    let headers = output.headers_mut();
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    headers.insert(
        header::CONTENT_TYPE,
        content_type.cloned().unwrap_or(OCTET_STREAM),
    );
    headers.insert("jiffy-http-status", parts.status.as_u16().into());
    output
}

/// `jiffy-start`, `jiffy-version` and `Server-Timing`.
fn fact_headers(facts: &InvokeFacts) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    if let Some(start) = facts.start {
        let text = match start {
            Start::Cold => "cold",
            Start::Fresh => "fresh",
            Start::Warm => "warm",
        };
        headers.insert("jiffy-start", HeaderValue::from_static(text));
        let millis = |time: std::time::Duration| time.as_secs_f64() * 1e3;
        let timings = &facts.timings;
        let mut text = String::with_capacity(64);
        let _ = write!(
            text,
            "queue;dur={:.3}, restore;dur={:.3}, run;dur={:.3}",
            millis(timings.queue),
            millis(timings.restore),
            millis(timings.run)
        );
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert("server-timing", value);
        }
    }
    if let Some(version) = facts.version {
        headers.insert("jiffy-version", version.0.get().into());
    }
    headers
}

#[cfg(test)]
mod tests;
