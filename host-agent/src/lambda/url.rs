//! URLs of functions: `/url/NAME/…` is what is live, `/url/NAME:ALIAS/…` what an alias leads to.
//!
//! ```text
//! HTTP request ─▶ handler for HTTP ─────────────────────────────────▶ HTTP response
//!            └──▶ event, payload format 2.0 ─▶ any handler ─▶ result ─▶ HTTP response
//! ```
//!
//! A URL says itself who may use it; the agent's token is not asked for where anybody may. Not here: making URLs
//! (`urls`), CORS (`model::Cors` says what may be, `http::cors` says it to browsers).

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::SystemTime,
};

use axum::http::{HeaderValue, header, request::Parts};
use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiffy_abi::frame::ResponseKind;
use jiffy_control::HttpRequest;
use jiffy_model::{Lambda, Outcome};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{LambdaRouter, error::LambdaError};
use crate::{
    http::{
        URLS_PATH,
        bodies::collect,
        cors,
        function::http_response,
        input::decode,
        trace::{RequestId, traceparent_or_amzn},
    },
    model::{Cors, FunctionId, Qualifier, UrlAuth},
    service::InvokeInput,
    vm::Vms,
};

/// Whether a path is of a function's URL.
pub(super) fn is_url(path: &str) -> bool {
    path.starts_with(URLS_PATH)
}

/// Path of a function's URL.
pub(super) fn path_of(name: &FunctionId, qualifier: &str) -> String {
    match qualifier {
        "" => format!("{URLS_PATH}{name}/"),
        alias => format!("{URLS_PATH}{name}:{alias}/"),
    }
}

/// A function, and where in its URL a request goes.
struct Target {
    name: FunctionId,
    qualifier: Qualifier,
    path: String,
}

impl<V: Vms> LambdaRouter<V> {
    /// Answers a request to a function's URL.
    pub(super) async fn answer_url(&self, request: Request) -> Response {
        let id = RequestId::random();
        let (parts, body) = request.into_parts();
        let (answer, cors) = self.url_answer(id, &parts, body).await;
        let mut response = answer.unwrap_or_else(IntoResponse::into_response);
        let headers = response.headers_mut();
        if let Some(cors) = cors {
            cors::say(&cors, &parts.headers, headers);
        }
        headers.insert("x-amzn-requestid", id.header());
        response
    }

    async fn url_answer(
        &self,
        id: RequestId,
        parts: &Parts,
        body: Body,
    ) -> (Result<Response, LambdaError>, Option<Cors>) {
        let found = self.url_of(parts);
        let (target, auth, cors) = match found {
            Ok(found) => found,
            Err(error) => return (Err(error), None),
        };
        if let Some(cors) = &cors
            && cors::is_preflight(&parts.method, &parts.headers)
        {
            return (Ok(cors::answer(cors, &parts.headers)), None);
        }
        let answer = async {
            let is_known = auth == UrlAuth::Anybody || self.signer(parts, None)?.is_some();
            let bytes_max = self.backend.service.config().limits.body_bytes_max as usize;
            let mut intake = self.backend.intake();
            let body = collect(body, bytes_max, &mut intake).await?;
            if !is_known {
                self.signer(parts, Some(&body))?;
            }
            self.call_url(id, parts, target, body.into()).await
        };
        (answer.await, cors)
    }

    fn url_of(&self, parts: &Parts) -> Result<(Target, UrlAuth, Option<Cors>), LambdaError> {
        let missing = || {
            LambdaError::new(
                Outcome::NotFound,
                "no function has this URL: must be one that was created",
            )
        };
        let below = parts.uri.path().strip_prefix(URLS_PATH).unwrap_or_default();
        let (segment, path) = below.split_at(below.find('/').unwrap_or(below.len()));
        let text = decode(segment).ok_or_else(missing)?;
        let (name, alias) = text.split_once(':').unwrap_or((&text, ""));
        let name: FunctionId = name.parse().map_err(|_| missing())?;
        let function = self
            .backend
            .service
            .catalog
            .function(&name)
            .map_err(|_| missing())?;
        let url = function
            .attached
            .urls
            .get(alias)
            .cloned()
            .ok_or_else(missing)?;
        let qualifier = match alias {
            "" => Qualifier::Live,
            alias => Qualifier::Alias(alias.parse().map_err(|_| missing())?),
        };
        let path = if path.is_empty() { "/" } else { path }.to_owned();
        let target = Target {
            name,
            qualifier,
            path,
        };
        Ok((target, url.auth, url.cors))
    }

    async fn call_url(
        &self,
        id: RequestId,
        parts: &Parts,
        target: Target,
        body: Vec<u8>,
    ) -> Result<Response, LambdaError> {
        let Target {
            name,
            qualifier,
            path,
        } = target;
        let version = self
            .backend
            .service
            .resolve(&name, &qualifier)
            .map_err(LambdaError::from)?;
        let query = parts.uri.query().unwrap_or_default();
        let traceparent = traceparent_or_amzn(&parts.headers);
        let client = self.backend.client(parts);
        let address = client.address.to_string();
        let headers = self.backend.headers_for_guest(parts, &client, &traceparent);
        let (http, body) = if version.takes_http {
            let target = match query {
                "" => path,
                query => format!("{path}?{query}"),
            };
            let http = HttpRequest {
                method: parts.method.as_str().to_owned(),
                target,
                headers,
            };
            (Some(http), body)
        } else {
            let mut event = event(parts, &name, &path, headers, &body);
            let context = &mut event["requestContext"];
            context["accountId"] = self
                .backend
                .service
                .config()
                .lambda
                .account_id
                .clone()
                .into();
            context["requestId"] = id.as_str().into();
            context["http"]["sourceIp"] = address.as_str().into();
            (None, event.to_string().into_bytes())
        };
        let input = InvokeInput {
            request_id: Some(id.as_str().to_owned()),
            traceparent: Some(traceparent),
            client_address: Some(address),
            http,
            body,
            version_text: (qualifier == Qualifier::Live).then(|| super::name::LATEST.to_owned()),
            ..InvokeInput::default()
        };
        let invoked = self.backend.service.invoke(&name, &qualifier, input).await;
        // Whoever visits a URL is not the function's author: what went wrong is in the log.
        let broken = || LambdaError::new(Outcome::BadGateway, "Internal Server Error");
        let response = match invoked {
            Ok(invoked) => invoked.response,
            Err(failure) if matches!(failure.why.outcome.lambda(), Lambda::Unhandled(_)) => {
                return Err(broken());
            }
            Err(failure) => return Err(failure.why.into()),
        };
        let response = match response.kind {
            ResponseKind::Http => response,
            ResponseKind::Ok => of_result(response).ok_or_else(broken)?,
            _ => return Err(broken()),
        };
        http_response(response, &parts.method, self.backend.held()).map_err(|_| broken())
    }
}

/// What a handler that knows nothing of HTTP is given: payload format 2.0.
fn event(
    parts: &Parts,
    name: &FunctionId,
    path: &str,
    sent: Vec<(String, Vec<u8>)>,
    body: &[u8],
) -> Value {
    let query = parts.uri.query().unwrap_or_default();
    let host = text_of(parts.headers.get(header::HOST));
    let mut headers = BTreeMap::<String, String>::new();
    let mut cookies = vec![];
    for (name, value) in sent {
        let value = String::from_utf8_lossy(&value);
        if name == header::COOKIE.as_str() {
            cookies.extend(value.split("; ").map(str::to_owned));
            continue;
        }
        match headers.entry(name) {
            Entry::Vacant(place) => drop(place.insert(value.into_owned())),
            Entry::Occupied(mut place) => {
                place.get_mut().push(',');
                place.get_mut().push_str(&value);
            }
        }
    }
    let mut parameters = BTreeMap::<String, String>::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let joined = parameters.entry(name.into_owned()).or_default();
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(&value);
    }
    let now = SystemTime::now();
    let epoch_ms = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    let as_text = str::from_utf8(body);
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": percent_decode_str(path).decode_utf8_lossy(),
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "apiId": name,
            "domainName": host,
            "domainPrefix": name,
            "http": {
                "method": parts.method.as_str(),
                "path": percent_decode_str(path).decode_utf8_lossy(),
                "protocol": format!("{:?}", parts.version),
                "userAgent": text_of(parts.headers.get(header::USER_AGENT)),
            },
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": u64::try_from(epoch_ms).unwrap_or(u64::MAX),
        },
        "isBase64Encoded": as_text.is_err(),
    });
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    if !parameters.is_empty() {
        event["queryStringParameters"] = json!(parameters);
    }
    if !body.is_empty() {
        event["body"] = as_text
            .map_or_else(|_| BASE64.encode(body), Into::into)
            .into();
    }
    event
}

fn text_of(value: Option<&HeaderValue>) -> String {
    value.map_or_else(String::new, |value| {
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    })
}

/// What a function answers that knows of HTTP what an event says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    #[serde(default)]
    headers: BTreeMap<String, Value>,
    #[serde(default)]
    cookies: Vec<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// The HTTP response in a result: a document with `statusCode` says it all, any other JSON is the body. `None` if it is
/// malformed.
fn of_result(result: jiffy_control::Response) -> Option<jiffy_control::Response> {
    let document: Value = serde_json::from_slice(&result.body).ok()?;
    let json = || ("content-type".to_owned(), b"application/json".to_vec());
    if document.get("statusCode").is_none() {
        return Some(jiffy_control::Response {
            kind: ResponseKind::Http,
            status: 200,
            headers: vec![json()],
            ..result
        });
    }
    let answer: Answer = serde_json::from_value(document).ok()?;
    let body = answer.body.unwrap_or_default();
    let body = match answer.is_base64_encoded {
        true => BASE64.decode(body).ok()?,
        false => body.into_bytes(),
    };
    let mut headers = vec![];
    for (name, value) in answer.headers {
        let text = match value {
            Value::String(text) => text,
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return None,
        };
        headers.push((name, text.into_bytes()));
    }
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
    {
        headers.push(json());
    }
    let cookies = answer.cookies.into_iter();
    headers.extend(cookies.map(|cookie| ("set-cookie".to_owned(), cookie.into_bytes())));
    Some(jiffy_control::Response {
        kind: ResponseKind::Http,
        status: answer.status_code,
        headers,
        body,
        ..result
    })
}
