//! Headers between a client and a function, in both directions, and what a response's length means.
//!
//! | header | of a request | of a response |
//! |---|---|---|
//! | of the connection (RFC 9110, 7.6.1), `Content-Length`, `Expect` | the agent's, dropped | the agent's, dropped; a length only where there is no body to contradict it |
//! | `jiffy-*` | dropped | the agent's |
//! | `traceparent`, `tracestate` | dropped unless valid | the function's |
//! | `Authorization` | dropped if it is the agent's token | |
//! | who the client is, see [`super::client_address`] | the agent's | the function's |
//! | `Server-Timing` | | the function's and the agent's |
//! | what speaks for the whole origin, [`SPEAKS_FOR_ORIGIN`] | | dropped: functions share one |
//! | `Date` | | the function's, else the agent's |
//! | all others | the client's | the function's |
//!
//! `docs/http.md` shows this to authors.

use axum::http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{self, HeaderName},
};
use axum::{body::Body, response::Response};

use super::{
    bodies::{Held, counted},
    input::BodyError,
};

/// Headers that only the agent sets begin with this, both of what a function gets and of what it answers.
const OWN_HEADER_PREFIX: &str = "jiffy-";
/// Headers of a response that change how a browser treats all pages of the origin, the other functions' too.
pub(crate) const SPEAKS_FOR_ORIGIN: [&str; 10] = [
    "alt-svc",
    "clear-site-data",
    "expect-ct",
    "nel",
    "public-key-pins",
    "public-key-pins-report-only",
    "report-to",
    "service-worker-allowed",
    "set-login",
    "strict-transport-security",
];

/// Whether a header speaks of one connection and not of the message (RFC 9110, 7.6.1, and what predates it), or of the
/// message's length, which agent and SDK know.
fn is_of_connection(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "content-length"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether a header is of no request that somebody passes on: it is of the connection, or the agent's own.
pub(crate) fn stays_behind(name: &str) -> bool {
    is_of_connection(name) || name.starts_with(OWN_HEADER_PREFIX)
}

/// The headers that `Connection` names as its own; seldom any.
fn nominated<'a>(connections: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    connections
        .filter_map(|value| str::from_utf8(value).ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !matches!(&**name, "" | "close" | "keep-alive"))
        .collect()
}

/// What of a client's headers depends on who asks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pass<'a> {
    /// `Authorization` is the agent's token.
    pub(crate) has_token: bool,
    /// The trace context that the request got: the client's own if that is valid.
    pub(crate) traceparent: &'a str,
    /// The client is a trusted proxy, and knows who the client is.
    pub(crate) is_proxy: bool,
}

/// The headers that a function gets of those that the client sent.
pub(crate) fn for_guest(headers: &HeaderMap, pass: Pass<'_>) -> Vec<(String, Vec<u8>)> {
    let connections = headers.get_all(header::CONNECTION).iter();
    let nominated = nominated(connections.map(HeaderValue::as_bytes));
    let traced = headers.get_all("traceparent").iter();
    let keeps_trace = traced.into_iter().eq([pass.traceparent.as_bytes()].iter());
    let stays_behind = |name: &str| {
        is_of_connection(name)
            || name.starts_with(OWN_HEADER_PREFIX)
            || match name {
                "expect" => true,
                "authorization" => pass.has_token,
                "traceparent" | "tracestate" => !keeps_trace,
                _ => super::client_address::is_about_client(name, pass.is_proxy),
            }
            || nominated.iter().any(|other| other == name)
    };
    headers
        .iter()
        .filter(|(name, _)| !stays_behind(name.as_str()))
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_owned()))
        .collect()
}

/// The headers that a client gets of those that a function sent; `Err` with the name of one that is malformed.
/// A `Content-Length` stays, if it is one: see [`settle_length`].
pub(crate) fn of_function(sent: Vec<(String, Vec<u8>)>) -> Result<HeaderMap, String> {
    let connections = sent
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("connection"));
    let nominated = nominated(connections.map(|(_, value)| &**value));
    let mut headers = HeaderMap::with_capacity(sent.len() + 5);
    for (text, value) in sent {
        let pair = (HeaderName::try_from(&text), HeaderValue::try_from(value));
        let (Ok(name), Ok(value)) = pair else {
            return Err(text);
        };
        let stays_behind = is_of_connection(name.as_str()) && name != header::CONTENT_LENGTH
            || name.as_str().starts_with(OWN_HEADER_PREFIX)
            || SPEAKS_FOR_ORIGIN.contains(&name.as_str())
            || nominated.iter().any(|other| other == name.as_str());
        if !stays_behind {
            headers.append(name, value);
        }
    }
    Ok(headers)
}

/// Adds what the agent knows of a request to what the function said: `Server-Timing` beside its own, all else in place of it.
pub(crate) fn add_facts(headers: &mut HeaderMap, facts: HeaderMap) {
    let mut last = None;
    for (name, value) in facts {
        // A name stands once for all its values.
        last = name.or(last);
        match &last {
            Some(name) if name == "server-timing" => drop(headers.append(name, value)),
            Some(name) => drop(headers.insert(name, value)),
            None => {}
        }
    }
}

/// Makes a function's response say of its length what is true. The function's own `Content-Length` is believed only where
/// no body can contradict it: in a response to `HEAD` (RFC 9110, 8.6 and 9.3.2).
pub(crate) fn settle_length(
    method: &Method,
    status: StatusCode,
    headers: &mut HeaderMap,
    body: Vec<u8>,
    held: Held,
) -> Result<Body, BodyError> {
    let mut claimed = headers.get_all(header::CONTENT_LENGTH).iter();
    let claimed = match (claimed.next(), claimed.next()) {
        (Some(one), None) => one.to_str().ok().and_then(|text| {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u64>().ok().filter(|_| is_number)
        }),
        _ => None,
    };
    headers.remove(header::CONTENT_LENGTH);
    if has_no_content(status) || status == StatusCode::RESET_CONTENT {
        return Ok(Body::empty());
    }
    if *method != Method::HEAD {
        return Ok(Body::from(counted(body, held)?));
    }
    let known = Some(body.len() as u64).filter(|bytes| *bytes > 0);
    if let Some(bytes) = claimed.or(known) {
        headers.insert(header::CONTENT_LENGTH, bytes.into());
    }
    Ok(Body::empty())
}

/// Statuses without content, whatever the headers say (RFC 9110, 15.3.5 and 15.4.5).
fn has_no_content(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The last look at a response, whoever made it: no length where there can be no content (RFC 9110, 8.6), and none that was
/// only guessed from the empty body of a function's answer to `HEAD`.
pub(crate) fn check_length(is_head: bool, is_function: bool, response: &mut Response) {
    if has_no_content(response.status()) {
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::empty();
    } else if is_head && is_function {
        let headers = response.headers_mut();
        if headers
            .get(header::CONTENT_LENGTH)
            .is_some_and(|length| length == "0")
        {
            headers.remove(header::CONTENT_LENGTH);
        }
    }
}

#[cfg(test)]
mod tests;
