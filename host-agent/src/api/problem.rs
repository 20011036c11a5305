//! Errors as `application/problem+json` (RFC 9457).

use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use jiffy_control::{CUT_MARK, LogRecord};
use serde::Serialize;

use super::{stranger::Stranger, trace::RequestId};
use crate::{
    pool::RETRY_AFTER,
    service::{
        ChangeError, ChangeErrorKind, DeployError, DeployErrorKind, InvokeFailure,
        InvokeFailureKind,
    },
    symbols::Frame,
    usage::Outcome,
};

/// Marks a problem as the agent's own, with the last word of its type: no function can set it.
const ERROR_HEADER: &str = "jiffy-error";
/// What types of problems begin with.
const TYPE_PREFIX: &str = "urn:jiffy:";

/// What a problem is about. Its type is `urn:jiffy:` and the kind in kebab case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    InvalidRequest,
    Unauthorized,
    OtherOrigin,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    Conflict,
    TooLarge,
    TargetTooLong,
    UnsupportedMediaType,
    OtherHost,
    ImageRefused,
    Stopped,
    Busy,
    HeadersTooLarge,
    Full,
    NotImplemented,
    VersionNotSupported,
    Overloaded,
    FunctionError,
    BadEvent,
    Panic,
    Fault,
    Timeout,
    OutOfMemory,
    Platform,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 26] = [
        Self::InvalidRequest,
        Self::Unauthorized,
        Self::OtherOrigin,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Conflict,
        Self::TooLarge,
        Self::TargetTooLong,
        Self::UnsupportedMediaType,
        Self::OtherHost,
        Self::ImageRefused,
        Self::Stopped,
        Self::Busy,
        Self::HeadersTooLarge,
        Self::Full,
        Self::NotImplemented,
        Self::VersionNotSupported,
        Self::Overloaded,
        Self::FunctionError,
        Self::BadEvent,
        Self::Panic,
        Self::Fault,
        Self::Timeout,
        Self::OutOfMemory,
        Self::Platform,
    ];

    /// Status, type and title.
    pub(crate) const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidRequest => (
                S::BAD_REQUEST,
                "urn:jiffy:invalid-request",
                "The request is invalid",
            ),
            Self::Unauthorized => (
                S::UNAUTHORIZED,
                "urn:jiffy:unauthorized",
                "The request has no valid token",
            ),
            Self::OtherOrigin => (
                S::FORBIDDEN,
                "urn:jiffy:other-origin",
                "The request comes from a web page",
            ),
            Self::NotFound => (S::NOT_FOUND, "urn:jiffy:not-found", "Nothing has this name"),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "urn:jiffy:method-not-allowed",
                "The method is not allowed here",
            ),
            Self::RequestTimeout => (
                S::REQUEST_TIMEOUT,
                "urn:jiffy:request-timeout",
                "The request came too slowly",
            ),
            Self::Conflict => (
                S::CONFLICT,
                "urn:jiffy:conflict",
                "The request conflicts with how things are",
            ),
            Self::TooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "urn:jiffy:too-large",
                "The body is too large",
            ),
            Self::TargetTooLong => (
                S::URI_TOO_LONG,
                "urn:jiffy:target-too-long",
                "Path and query are too long",
            ),
            Self::UnsupportedMediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "urn:jiffy:unsupported-media-type",
                "The body is of another media type",
            ),
            Self::OtherHost => (
                S::MISDIRECTED_REQUEST,
                "urn:jiffy:other-host",
                "The request is for another host",
            ),
            Self::ImageRefused => (
                S::UNPROCESSABLE_ENTITY,
                "urn:jiffy:image-refused",
                "The image cannot be deployed",
            ),
            Self::Stopped => (
                S::TOO_MANY_REQUESTS,
                "urn:jiffy:stopped",
                "The function is stopped",
            ),
            Self::Busy => (
                S::TOO_MANY_REQUESTS,
                "urn:jiffy:busy",
                "All instances are busy",
            ),
            Self::HeadersTooLarge => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "urn:jiffy:headers-too-large",
                "The headers are too large",
            ),
            Self::Full => (
                S::INSUFFICIENT_STORAGE,
                "urn:jiffy:full",
                "A limit of the agent is reached",
            ),
            Self::NotImplemented => (
                S::NOT_IMPLEMENTED,
                "urn:jiffy:not-implemented",
                "The agent does not do this",
            ),
            Self::VersionNotSupported => (
                S::HTTP_VERSION_NOT_SUPPORTED,
                "urn:jiffy:version-not-supported",
                "The agent speaks HTTP/1.1",
            ),
            Self::Overloaded => (
                S::SERVICE_UNAVAILABLE,
                "urn:jiffy:overloaded",
                "The agent has too much to do",
            ),
            Self::FunctionError => (
                S::INTERNAL_SERVER_ERROR,
                "urn:jiffy:function-error",
                "The function returned an error",
            ),
            Self::BadEvent => (
                S::BAD_REQUEST,
                "urn:jiffy:bad-event",
                "The function does not take this event",
            ),
            Self::Panic => (
                S::INTERNAL_SERVER_ERROR,
                "urn:jiffy:panic",
                "The function panicked",
            ),
            Self::Fault => (
                S::INTERNAL_SERVER_ERROR,
                "urn:jiffy:fault",
                "The function broke",
            ),
            Self::Timeout => (
                S::GATEWAY_TIMEOUT,
                "urn:jiffy:timeout",
                "The function did not answer in time",
            ),
            Self::OutOfMemory => (
                S::INTERNAL_SERVER_ERROR,
                "urn:jiffy:out-of-memory",
                "The function ran out of memory",
            ),
            Self::Platform => (
                S::SERVICE_UNAVAILABLE,
                "urn:jiffy:platform",
                "The platform failed",
            ),
        }
    }
}

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

/// A log line, as clients see it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LogLine {
    level: &'static str,
    text: String,
}

impl From<LogRecord> for LogLine {
    fn from(record: LogRecord) -> Self {
        use jiffy_abi::log_ring::Level;
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        };
        Self {
            level,
            text: record.text,
        }
    }
}

/// The last word of a problem's type.
pub(crate) fn word(r#type: &'static str) -> &'static str {
    r#type.strip_prefix(TYPE_PREFIX).unwrap_or(r#type)
}

/// An error for a client.
#[derive(Debug)]
pub(crate) struct Problem(Box<Fields>);

#[derive(Debug)]
struct Fields {
    kind: Kind,
    detail: String,
    request_id: Option<RequestId>,
    error_type: Option<String>,
    outcome: Option<Outcome>,
    retry_after: Option<Duration>,
    logs: Option<Vec<LogLine>>,
    backtrace: Vec<Frame>,
    backtrace_note: Option<String>,
    headers: HeaderMap,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logs: Option<&'a [LogLine]>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    backtrace: &'a [Frame],
    #[serde(skip_serializing_if = "Option::is_none")]
    backtrace_note: Option<&'a str>,
}

impl Problem {
    /// A problem; `detail` is a sentence with the fix in it.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self(Box::new(Fields {
            kind,
            detail: bounded(detail.into(), DETAIL_BYTES_MAX),
            request_id: None,
            error_type: None,
            outcome: None,
            retry_after: None,
            logs: None,
            backtrace: vec![],
            backtrace_note: None,
            headers: HeaderMap::new(),
        }))
    }

    /// A problem of having too much to do, which may be over soon.
    pub(crate) fn overloaded(detail: impl Into<String>) -> Self {
        let mut problem = Self::new(Kind::Overloaded, detail);
        problem.0.retry_after = Some(RETRY_AFTER);
        problem
    }

    /// The same, for a request that has an id already.
    pub(super) fn of_request(mut self, id: RequestId) -> Self {
        self.0.request_id = Some(id);
        self
    }

    /// The same, with the name of the error's type in the function.
    pub(super) fn with_error_type(mut self, name: String) -> Self {
        let name = Some(name).filter(|name| !name.is_empty());
        self.0.error_type = name.map(|name| bounded(name, ERROR_TYPE_BYTES_MAX));
        self
    }

    /// The same, with these headers.
    pub(super) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.0.headers.extend(headers);
        self
    }

    /// The same, with where the function broke.
    pub(super) fn with_backtrace(mut self, backtrace: Vec<Frame>, note: Option<String>) -> Self {
        (self.0.backtrace, self.0.backtrace_note) = (backtrace, note);
        self
    }

    /// The last word of its type, and what it says.
    pub(crate) fn summary(&self) -> (&'static str, String) {
        (word(self.0.kind.parts().1), self.0.detail.clone())
    }

    /// The response as it stands on a connection, which ends with it: for what comes before there is a request.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let (kind, request_id) = (self.0.kind, self.0.request_id);
        let id = request_id.unwrap_or_else(RequestId::random);
        let (status, ..) = kind.parts();
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
    pub(super) fn kind(&self) -> Kind {
        self.0.kind
    }
}

impl Problem {
    fn headers_and_body(self) -> (HeaderMap, Vec<u8>) {
        let fields = *self.0;
        let (status, r#type, title) = fields.kind.parts();
        let id = fields.request_id.unwrap_or_else(RequestId::random);
        let document = Document {
            r#type,
            title,
            status: status.as_u16(),
            detail: &fields.detail,
            request_id: id.as_str(),
            error_type: fields.error_type.as_deref(),
            outcome: fields.outcome.map(Outcome::as_str),
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
        headers.insert(ERROR_HEADER, HeaderValue::from_static(word(r#type)));
        if let Some(after) = fields.retry_after {
            headers.insert(header::RETRY_AFTER, after.as_secs().max(1).into());
        }
        if fields.kind == Kind::Unauthorized {
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
        let (status, ..) = self.0.kind.parts();
        let (headers, body) = self.headers_and_body();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// The last word of the type of the problem with these headers, if it is one.
pub(super) fn kind_of(headers: &HeaderMap) -> Option<&'static str> {
    let sent = headers.get(ERROR_HEADER)?;
    let words = Kind::ALL.iter().map(|kind| word(kind.parts().1));
    words.into_iter().find(|word| sent == word)
}

impl From<Stranger> for Problem {
    fn from(stranger: Stranger) -> Self {
        let kind = match stranger {
            Stranger::Host(_) => Kind::OtherHost,
            Stranger::Origin(_) | Stranger::Page => Kind::OtherOrigin,
        };
        Self::new(kind, stranger.to_string())
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let kind = match error.kind() {
            ChangeErrorKind::NotFound => Kind::NotFound,
            ChangeErrorKind::Invalid => Kind::InvalidRequest,
            ChangeErrorKind::Conflict => Kind::Conflict,
            ChangeErrorKind::Full => Kind::Full,
            ChangeErrorKind::Platform => Kind::Platform,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<DeployError> for Problem {
    fn from(error: DeployError) -> Self {
        let detail = error.kind.to_string();
        let mut problem = match error.kind {
            DeployErrorKind::NoImage(_) => Self::new(Kind::NotFound, detail),
            DeployErrorKind::Invalid(_) => Self::new(Kind::InvalidRequest, detail),
            DeployErrorKind::UnderWay(_) => Self::new(Kind::Conflict, detail),
            DeployErrorKind::Image(_) => Self::new(Kind::ImageRefused, detail),
            DeployErrorKind::Init { outcome, .. } => {
                let mut problem = Self::new(Kind::ImageRefused, detail);
                problem.0.outcome = Some(outcome);
                problem
            }
            DeployErrorKind::Change(error) => error.into(),
            DeployErrorKind::Host(_) => Self::new(Kind::Platform, detail),
        };
        problem.0.logs = Some(error.logs.into_iter().map(LogLine::from).collect());
        problem
    }
}

impl From<InvokeFailure> for Problem {
    fn from(failure: InvokeFailure) -> Self {
        let detail = failure.kind.to_string();
        let kind = match &failure.kind {
            InvokeFailureKind::NoFunction(_)
            | InvokeFailureKind::NoVersion(..)
            | InvokeFailureKind::NoAlias(..) => Kind::NotFound,
            InvokeFailureKind::TooLarge(_) => Kind::TooLarge,
            InvokeFailureKind::Stopped(_) => Kind::Stopped,
            InvokeFailureKind::Busy { .. } => Kind::Busy,
            InvokeFailureKind::Panic { .. } => Kind::Panic,
            InvokeFailureKind::Fault(_) => Kind::Fault,
            InvokeFailureKind::Timeout { .. } => Kind::Timeout,
            InvokeFailureKind::OutOfMemory { .. } => Kind::OutOfMemory,
            InvokeFailureKind::Platform(_) => Kind::Platform,
        };
        let mut problem = Self::new(kind, detail);
        if let InvokeFailureKind::Busy { retry_after, .. } = failure.kind {
            problem.0.retry_after = Some(retry_after);
        }
        problem
    }
}
