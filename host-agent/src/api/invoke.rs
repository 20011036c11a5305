//! Requests to functions: the hot path.
//!
//! ```text
//! POST /v1/functions/{name}/invoke   body ─▶ event ─▶ what the handler returned ─▶ body
//! ANY  /fn/{name}/…                  HTTP request ─▶ HTTP response
//! ```

use std::{fmt::Write as _, mem::take};

use axum::http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{self, HeaderName},
    request::Parts,
};
use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use jiffy_abi::frame::FrameKind;
use jiffy_control::HttpRequest;
use serde::Deserialize;

use super::{
    Api,
    input::{Parameters, Segments, collect},
    problem::{Kind, Problem},
    trace::{RequestId, traceparent},
};
use crate::{
    model::{FunctionName, InvalidValue, Qualifier},
    pool::Start,
    service::{InvokeFacts, InvokeFailure, InvokeInput, Invoked},
    vm::Vms,
};

/// Headers that speak of one connection and not of the message (RFC 9110, 7.6.1), and the length, which the
/// agent and the SDK set themselves.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// Headers that only the agent sets begin with this, both of what a function gets and of what it answers.
const OWN_HEADER_PREFIX: &str = "jiffy-";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct InvokeParameters {
    qualifier: String,
}

/// What the client asked for: what the handler returned, or its HTTP response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Output,
    Http,
}

/// `POST /v1/functions/{name}/invoke`
pub(super) async fn invoke<V: Vms>(
    State(api): State<Api<V>>,
    Segments(name): Segments<FunctionName>,
    Parameters(parameters): Parameters<InvokeParameters>,
    request: Request,
) -> Result<Response, Problem> {
    let id = RequestId::random();
    let answer = async {
        let qualifier: Qualifier = parameters.qualifier.parse().map_err(invalid)?;
        let (parts, body) = request.into_parts();
        let input = api.input(id, &parts, None, body).await?;
        let invoked = api.service.invoke(&name, &qualifier, input).await;
        finish(id, invoked, Wanted::Output)
    };
    answer.await.map_err(|problem| problem.of_request(id))
}

/// `/fn/{name}` and all below it.
pub(super) async fn http<V: Vms>(
    State(api): State<Api<V>>,
    request: Request,
) -> Result<Response, Problem> {
    let id = RequestId::random();
    let answer = async {
        let (parts, body) = request.into_parts();
        let (name, target) = function_and_target(&parts)?;
        let http = HttpRequest {
            method: parts.method.as_str().to_owned(),
            target,
            headers: headers_for_guest(&parts.headers, api.service.config().token.is_some()),
        };
        let input = api.input(id, &parts, Some(http), body).await?;
        let invoked = api.service.invoke(&name, &Qualifier::Live, input).await;
        finish(id, invoked, Wanted::Http)
    };
    answer.await.map_err(|problem| problem.of_request(id))
}

impl<V: Vms> Api<V> {
    async fn input(
        &self,
        id: RequestId,
        parts: &Parts,
        http: Option<HttpRequest>,
        body: Body,
    ) -> Result<InvokeInput, Problem> {
        let config = self.service.config();
        let bytes_max = config.limits.body_bytes_max as usize;
        let body = collect(body, bytes_max, self.body_time_max()).await?;
        Ok(InvokeInput {
            request_id: Some(id.as_str().to_owned()),
            traceparent: Some(traceparent(&parts.headers)),
            http,
            body: body.into(), // Without a copy if the body came in one piece.
            wants_log_tail: false,
        })
    }
}

/// Name and target of `/fn/{name}{target}`. The target stays as the client wrote it.
fn function_and_target(parts: &Parts) -> Result<(FunctionName, String), Problem> {
    let below = parts.uri.path().strip_prefix("/fn/").unwrap_or_default();
    let (name, path) = below.split_at(below.find('/').unwrap_or(below.len()));
    let name = super::input::decode(name).unwrap_or_default();
    let name = FunctionName::try_from(name).map_err(invalid)?;
    let mut target = String::with_capacity(parts.uri.path().len() + 1);
    target.push_str(if path.is_empty() { "/" } else { path });
    if let Some(query) = parts.uri.query() {
        target.push('?');
        target.push_str(query);
    }
    Ok((name, target))
}

fn invalid(error: InvalidValue) -> Problem {
    Problem::new(Kind::InvalidRequest, error.to_string())
}

/// The headers that a function gets: neither those of the connection, nor the agent's own, nor its token.
fn headers_for_guest(headers: &HeaderMap, has_token: bool) -> Vec<(String, Vec<u8>)> {
    let stays_behind = |name: &HeaderName| {
        HOP_BY_HOP.contains(name)
            || is_named_by_connection(headers, name)
            || name.as_str().starts_with(OWN_HEADER_PREFIX)
            || (has_token && name == header::AUTHORIZATION)
    };
    headers
        .iter()
        .filter(|(name, _)| !stays_behind(name))
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_owned()))
        .collect()
}

/// Whether `Connection` names this header as one of its own.
fn is_named_by_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case(name.as_str()))
}

fn finish(
    id: RequestId,
    invoked: Result<Invoked, InvokeFailure>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    match invoked {
        Ok(invoked) => {
            let facts = fact_headers(&invoked.facts);
            match respond(invoked.response, wanted) {
                Ok(mut response) => {
                    response.headers_mut().extend(facts);
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
            let backtrace = match wanted {
                Wanted::Output => take(&mut failure.facts.backtrace),
                // Whoever visits a function's site is not its author.
                Wanted::Http => vec![],
            };
            let problem = Problem::from(failure).with_headers(facts);
            Err(problem.with_backtrace(backtrace))
        }
    }
}

fn respond(response: jiffy_control::Response, wanted: Wanted) -> Result<Response, Problem> {
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    match response.kind {
        FrameKind::Ok => {
            let is_json = is_json(&response);
            let mut answer = Response::new(Body::from(response.body));
            let content_type = if is_json { JSON } else { OCTET_STREAM };
            answer
                .headers_mut()
                .insert(header::CONTENT_TYPE, content_type);
            Ok(answer)
        }
        FrameKind::HttpResponse => {
            let answer = http_response(response)?;
            Ok(match wanted {
                Wanted::Http => answer,
                Wanted::Output => output_of_http(answer),
            })
        }
        FrameKind::FunctionError => Err(Problem::new(Kind::FunctionError, text(&response.body))
            .with_error_type(response.error_type)),
        FrameKind::BadEvent => Err(Problem::new(Kind::BadEvent, text(&response.body))),
        // `read_response` gives none of these.
        FrameKind::Event | FrameKind::HttpRequest => Err(Problem::new(
            Kind::Platform,
            "the VM answered with a request",
        )),
    }
}

/// Whether a handler's value says that it is JSON. Another type is not believed: only a handler for HTTP chooses what
/// its body is taken for.
fn is_json(response: &jiffy_control::Response) -> bool {
    let mut headers = response.headers.iter();
    headers.any(|(name, value)| name == "content-type" && value == JSON.as_bytes())
}

/// A function's HTTP response. It comes from a guest: status and headers are checked.
fn http_response(response: jiffy_control::Response) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(response.status)
        .ok()
        .filter(|status| (200..600).contains(&status.as_u16()))
        .ok_or_else(|| {
            let detail = format!(
                "the function answered with HTTP status {}: it has to be 200 to 599",
                response.status
            );
            Problem::new(Kind::FunctionError, detail)
        })?;
    let mut headers = HeaderMap::with_capacity(response.headers.len() + 4);
    for (name, value) in response.headers {
        let pair = (HeaderName::try_from(&name), HeaderValue::try_from(value));
        let (Ok(name), Ok(value)) = pair else {
            let detail = format!("the function answered with a malformed header {name:?}: mend it");
            return Err(Problem::new(Kind::FunctionError, detail));
        };
        headers.append(name, value);
    }
    let connection = headers.remove(header::CONNECTION);
    if let Some(value) = &connection {
        let named = value.to_str().unwrap_or_default().split(',');
        named.for_each(|name| {
            headers.remove(name.trim());
        });
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    let own = |name: &&HeaderName| name.as_str().starts_with(OWN_HEADER_PREFIX);
    let forged: Vec<_> = headers.keys().filter(own).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
    let bodiless = matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    );
    let body = if bodiless {
        Body::empty()
    } else {
        Body::from(response.body)
    };
    let mut answer = (status, body).into_response();
    *answer.headers_mut() = headers;
    Ok(answer)
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
