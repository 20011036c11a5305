//! Errors as `application/problem+json` (RFC 9457).

use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use jiffy_control::{CUT_MARK, LogRecord};
#[cfg(test)]
use jiffy_model::Blame;
use jiffy_model::{EndsRequest, Outcome, documents::InitLog};
use serde::Serialize;

use super::trace::RequestId;
use crate::{
    pool::RETRY_AFTER,
    service::{BuildError, DeployError, DeployErrorKind, NoAnswer},
    symbols::Frame,
};

/// Marks a problem as the agent's own, with the last word of its type: no function can set it.
const ERROR_HEADER: &str = "jiffy-error";
/// What types of problems begin with.
const TYPE_PREFIX: &str = "urn:jiffy:";

/// Longest text that says what is wrong, bytes.
pub(crate) const DETAIL_BYTES_MAX: usize = 64 << 10;
/// Longest name of an error's type in a function, bytes.
pub(crate) const ERROR_TYPE_BYTES_MAX: usize = 1 << 10;

/// Cuts a text that is longer than `bytes_max`, at a character, and marks it.
pub(crate) fn bounded(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push_str(CUT_MARK);
    }
    text
}

/// What a function says of its error. That may have as many bytes as a response, and a control character has six in JSON.
pub(crate) fn text_of_error(body: &[u8]) -> String {
    // One byte more than is shown, so that a text that is cut is marked.
    let begin = &body[..body.len().min(DETAIL_BYTES_MAX + 1)];
    bounded(
        String::from_utf8_lossy(begin).into_owned(),
        DETAIL_BYTES_MAX,
    )
}

/// A log line of an `init`, as clients see it.
pub(crate) fn init_log(record: LogRecord) -> InitLog {
    InitLog {
        level: record.level_name().into(),
        text: record.text,
    }
}

/// An error for a client.
#[derive(Debug)]
pub(crate) struct Problem(Box<Fields>);

#[derive(Debug)]
struct Fields {
    outcome: Outcome,
    detail: String,
    request_id: Option<RequestId>,
    error_type: Option<String>,
    /// How `init` ended, if that is why an image was refused.
    init: Option<Outcome>,
    retry_after: Option<Duration>,
    logs: Option<Vec<InitLog>>,
    backtrace: Vec<Frame>,
    backtrace_note: Option<String>,
    headers: HeaderMap,
}

/// An error, as in RFC 9457.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Problem"))]
pub(crate) struct Document<'a> {
    /// What it is about.
    #[cfg_attr(test, schemars(extend("enum" = types())))]
    r#type: String,
    /// The same in a few words.
    title: &'static str,
    /// The response's status.
    #[cfg_attr(test, schemars(range(min = 400, max = 599)))]
    status: u16,
    /// One sentence with the fix in it.
    detail: &'a str,
    /// Id of the request, also in the function's log.
    #[cfg_attr(test, schemars(extend("format" = "uuid")))]
    request_id: &'a str,
    /// Name of the error's type in the function.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_type: Option<&'a str>,
    /// How `init` ended, if that is why an image was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("enum" = ends_of_init())))]
    outcome: Option<&'static str>,
    /// What `init` logged, if a deploy failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    logs: Option<&'a [InitLog]>,
    /// Where the function was when it panicked, broke, ran out of memory or of time, innermost first.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    backtrace: &'a [Frame],
    /// Why the backtrace has addresses only: the function broke so often that it has used up the CPU time for names.
    #[serde(skip_serializing_if = "Option::is_none")]
    backtrace_note: Option<&'a str>,
}

/// All types of problems.
#[cfg(test)]
fn types() -> Vec<String> {
    let types = Outcome::problems().map(|kind| format!("{TYPE_PREFIX}{kind}"));
    types.collect()
}

/// How an `init` can end that an image is refused for.
#[cfg(test)]
fn ends_of_init() -> Vec<&'static str> {
    let faults = Outcome::problems().filter(|kind| kind.blame() == Some(Blame::Function));
    faults.map(Outcome::name).collect()
}

impl Problem {
    /// A problem; `detail` is a sentence with the fix in it.
    pub(crate) fn new(outcome: Outcome, detail: impl Into<String>) -> Self {
        Self(Box::new(Fields {
            outcome,
            detail: bounded(detail.into(), DETAIL_BYTES_MAX),
            request_id: None,
            error_type: None,
            init: None,
            // This may be over soon.
            retry_after: (outcome == Outcome::Overloaded).then_some(RETRY_AFTER),
            logs: None,
            backtrace: vec![],
            backtrace_note: None,
            headers: HeaderMap::new(),
        }))
    }

    /// The same, for a request that has an id already.
    pub(crate) fn of_request(mut self, id: RequestId) -> Self {
        self.0.request_id = Some(id);
        self
    }

    /// The same, with the name of the error's type in the function.
    pub(crate) fn with_error_type(mut self, name: String) -> Self {
        let name = Some(name).filter(|name| !name.is_empty());
        self.0.error_type = name.map(|name| bounded(name, ERROR_TYPE_BYTES_MAX));
        self
    }

    /// The same, with these headers.
    pub(crate) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.0.headers.extend(headers);
        self
    }

    /// The same, with where the function broke.
    pub(crate) fn with_backtrace(mut self, backtrace: Vec<Frame>, note: Option<String>) -> Self {
        (self.0.backtrace, self.0.backtrace_note) = (backtrace, note);
        self
    }

    /// What it is about, and what it says.
    pub(crate) fn summary(&self) -> (Outcome, String) {
        (self.0.outcome.kind(), self.0.detail.clone())
    }

    /// The response as it stands on a connection, which ends with it: for what comes before there is a request.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let id = self.0.request_id.unwrap_or_else(RequestId::random);
        let status = self.status();
        let (headers, body) = self.of_request(id).headers_and_body();
        let mut bytes = Vec::with_capacity(512 + body.len());
        let reason = status.canonical_reason().unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {} {reason}\r\ndate: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
            status.as_u16(),
            httpdate::fmt_http_date(SystemTime::now()),
            body.len()
        );
        bytes.extend_from_slice(head.as_bytes());
        for (name, value) in &headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
        bytes
    }

    /// What it is about.
    #[cfg(test)]
    pub(crate) fn outcome(&self) -> Outcome {
        self.0.outcome
    }
}

impl Problem {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.outcome.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn headers_and_body(self) -> (HeaderMap, Vec<u8>) {
        let status = self.status();
        let fields = *self.0;
        let kind = fields.outcome.kind();
        let id = fields.request_id.unwrap_or_else(RequestId::random);
        let document = Document {
            r#type: format!("{TYPE_PREFIX}{kind}"),
            title: kind.what(),
            status: status.as_u16(),
            detail: &fields.detail,
            request_id: id.as_str(),
            error_type: fields.error_type.as_deref(),
            outcome: fields.init.map(|outcome| outcome.kind().name()),
            logs: fields.logs.as_deref(),
            backtrace: &fields.backtrace,
            backtrace_note: fields.backtrace_note.as_deref(),
        };
        let body = serde_json::to_vec(&document).expect("texts and numbers always encode");
        let mut headers = fields.headers;
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert("jiffy-request-id", id.header());
        headers.insert(ERROR_HEADER, HeaderValue::from_static(kind.name()));
        if let Some(after) = fields.retry_after {
            headers.insert(header::RETRY_AFTER, after.as_secs().max(1).into());
        }
        if kind == Outcome::Unauthorized {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"jiffy\""),
            );
        }
        (headers, body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, about) = (self.status(), About(self.0.outcome));
        let (headers, body) = self.headers_and_body();
        let mut response = Response::new(Body::from(body));
        response.extensions_mut().insert(about);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// What an answer of the agent's own is about, in the form of whichever API: an extension of the response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About(pub(crate) Outcome);

impl<E: EndsRequest> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::new(error.outcome(), error.to_string())
    }
}

impl From<DeployError> for Problem {
    fn from(error: DeployError) -> Self {
        let mut problem = Self::new(error.kind.outcome(), error.kind.to_string());
        if let DeployErrorKind::Build(BuildError::Init { outcome, .. }) = error.kind {
            problem.0.init = Some(outcome);
        }
        problem.0.logs = Some(error.logs.into_iter().map(init_log).collect());
        problem
    }
}

impl From<NoAnswer> for Problem {
    fn from(why: NoAnswer) -> Self {
        let mut problem = Self::new(why.outcome, why.to_string());
        problem.0.retry_after = why.retry_after;
        problem
    }
}
