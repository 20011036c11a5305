//! HTTP in events: what API Gateway, a load balancer or a function URL would send, and what a function answers.
//!
//! ```text
//! event ─▶ unpack ─▶ HTTP request ─▶ handler for HTTP ─▶ HTTP response ─▶ pack ─▶ result      Invoke of a handler for HTTP
//! ```
//!
//! Payload format 2.0 is that of function URLs and HTTP APIs; 1.0 that of REST APIs and, nearly, of load balancers.
//! Events and answers are strangers': what is not of a format is left as it is. Not here: whether a function takes HTTP.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiffy_control::{HttpRequest, Response};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{http::headers::stays_behind, service::HttpEvent};

/// Payload format 1.0, as [`HttpEvent`] has it.
pub(super) const FORMAT_1: u8 = 1;
/// Payload format 2.0.
pub(super) const FORMAT_2: u8 = 2;

const COOKIE: &str = "cookie";
const SET_COOKIE: &str = "set-cookie";
/// What no path has in it; some events have paths that were decoded.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?');
/// The same for a query that is taken as it is.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');
/// Names and values of a query that were decoded.
const PARAMETER: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// An event of either format. Everything else that it has is for functions that look at the event themselves.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow, default)]
    version: Option<Cow<'a, str>>,
    request_context: RequestContext<'a>,
    #[serde(borrow, default)]
    raw_path: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    raw_query_string: Option<Cow<'a, str>>,
    #[serde(default)]
    cookies: Option<Vec<String>>,
    #[serde(borrow, default)]
    http_method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    path: Option<Cow<'a, str>>,
    #[serde(default)]
    query_string_parameters: Option<BTreeMap<String, Option<String>>>,
    #[serde(default)]
    multi_value_query_string_parameters: Option<BTreeMap<String, Vec<String>>>,
    #[serde(default)]
    headers: Option<BTreeMap<String, Option<String>>>,
    #[serde(default)]
    multi_value_headers: Option<BTreeMap<String, Vec<String>>>,
    #[serde(borrow, default)]
    body: Option<Cow<'a, str>>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
}

#[derive(Deserialize)]
struct RequestContext<'a> {
    #[serde(borrow, default)]
    http: Option<Http<'a>>,
    /// Of a load balancer, which leaves queries as they came.
    #[serde(default)]
    elb: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Http<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
}

/// The HTTP request that is in an event; `None` if it is none, or is malformed.
pub(super) fn unpack(event: &[u8]) -> Option<HttpEvent> {
    let event: Event<'_> = serde_json::from_slice(event).ok()?;
    let is_2 = event.version.as_deref() == Some("2.0");
    let (method, target, format) = match (&event.request_context.http, &event.http_method) {
        (Some(http), _) if is_2 => {
            let path = event.raw_path.as_deref().unwrap_or_default();
            let query = event.raw_query_string.as_deref().unwrap_or_default();
            let query = utf8_percent_encode(query, QUERY).to_string();
            (http.method.to_string(), target(path, &query), FORMAT_2)
        }
        (_, Some(method)) => {
            let path = event.path.as_deref().unwrap_or_default();
            (
                method.to_string(),
                target(path, &event.query_of_1()),
                FORMAT_1,
            )
        }
        _ => return None,
    };
    let headers = event.headers();
    let body = match (event.body, event.is_base64_encoded) {
        (None, _) => vec![],
        (Some(body), Some(true)) => BASE64.decode(body.as_bytes()).ok()?,
        (Some(body), _) => body.into_owned().into_bytes(),
    };
    let http = HttpRequest {
        method,
        target,
        headers,
    };
    Some(HttpEvent { http, body, format })
}

fn target(path: &str, query: &str) -> String {
    let path = match path {
        "" => "/",
        path => path,
    };
    let path = utf8_percent_encode(path, PATH);
    match query {
        "" => path.to_string(),
        query => format!("{path}?{query}"),
    }
}

impl Event<'_> {
    fn query_of_1(&self) -> String {
        let is_decoded = self.request_context.elb.is_none();
        let set = if is_decoded { PARAMETER } else { QUERY };
        let encode = |text: &str| utf8_percent_encode(text, set).to_string();
        let mut pairs = vec![];
        let mut add = |name: &str, value: &str| {
            pairs.push(format!("{}={}", encode(name), encode(value)));
        };
        if let Some(lists) = &self.multi_value_query_string_parameters {
            for (name, values) in lists {
                values.iter().for_each(|value| add(name, value));
            }
        } else {
            for (name, value) in self.query_string_parameters.iter().flatten() {
                add(name, value.as_deref().unwrap_or_default());
            }
        }
        pairs.join("&")
    }

    /// Neither those of a connection nor the agent's own.
    fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let mut headers = vec![];
        let mut add = |name: &str, value: &str| {
            let name = name.to_ascii_lowercase();
            if !stays_behind(&name) {
                headers.push((name, value.as_bytes().to_owned()));
            }
        };
        // Where there are both, the one has the last value of each of the other.
        if let Some(lists) = self
            .multi_value_headers
            .as_ref()
            .filter(|lists| !lists.is_empty())
        {
            for (name, values) in lists {
                values.iter().for_each(|value| add(name, value));
            }
        } else {
            for (name, value) in self.headers.iter().flatten() {
                add(name, value.as_deref().unwrap_or_default());
            }
        }
        if let Some(cookies) = self.cookies.as_ref().filter(|cookies| !cookies.is_empty()) {
            add(COOKIE, &cookies.join("; "));
        }
        headers
    }
}

/// What a handler for HTTP returned, as a function for API Gateway would say it: in the format of the event, or in 2.0
/// if that had none.
pub(super) fn pack(response: &Response, format: Option<u8>) -> Vec<u8> {
    let mut lists = BTreeMap::<String, Vec<Cow<'_, str>>>::new();
    for (name, value) in &response.headers {
        let values = lists.entry(name.to_ascii_lowercase()).or_default();
        values.push(String::from_utf8_lossy(value));
    }
    let text = str::from_utf8(&response.body);
    let mut document = json!({
        "statusCode": response.status,
        "isBase64Encoded": text.is_err(),
        "body": text.map_or_else(|_| BASE64.encode(&response.body), Into::into),
    });
    if format == Some(FORMAT_1) {
        let last = lists.iter().map(|(name, values)| (name, values.last()));
        let headers: BTreeMap<_, _> = last.collect();
        document["headers"] = json!(headers);
        document["multiValueHeaders"] = json!(lists);
    } else {
        if let Some(cookies) = lists.remove(SET_COOKIE) {
            document["cookies"] = json!(cookies);
        }
        let joined = lists
            .into_iter()
            .map(|(name, values)| (name, Value::from(values.join(","))));
        document["headers"] = Value::Object(joined.collect());
    }
    document.to_string().into_bytes()
}

#[cfg(test)]
mod tests;
