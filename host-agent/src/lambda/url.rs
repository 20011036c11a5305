//! URLs of functions: `/url/NAME/…` is what is live, `/url/NAME:ALIAS/…` what an alias leads to.
//!
//! ```text
//! HTTP request ─▶ handler for HTTP ─────────────────────────────────▶ HTTP response
//!            └──▶ event, payload format 2.0 ─▶ any handler ─▶ result ─▶ HTTP response
//! ```
//!
//! A URL says itself who may use it; the agent's token is not asked for where anybody may. Not here: making URLs
//! (`urls`), CORS (`model::Cors` says what may be, `api::cors` says it to browsers).

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

use super::{authenticate, error::LambdaError};
use crate::{
    http::{
        bodies::collect,
        cors,
        input::decode,
        trace::{RequestId, traceparent_or_amzn},
    },
    model::{Cors, FunctionName, Qualifier, UrlAuth},
    native::{Api, invoke::http_response},
    service::InvokeInput,
    vm::Vms,
};

const PREFIX: &str = "/url/";

/// Whether a path is of a function's URL.
pub(crate) fn is_url(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// Path of a function's URL.
pub(super) fn path_of(name: &FunctionName, qualifier: &str) -> String {
    match qualifier {
        "" => format!("{PREFIX}{name}/"),
        alias => format!("{PREFIX}{name}:{alias}/"),
    }
}

/// Answers a request to a function's URL.
pub(crate) async fn answer_url<V: Vms>(api: &Api<V>, request: Request) -> Response {
    let id = RequestId::random();
    let (parts, body) = request.into_parts();
    let (answer, cors) = respond(api, id, &parts, body).await;
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    let headers = response.headers_mut();
    if let Some(cors) = cors {
        cors::say(&cors, &parts.headers, headers);
    }
    headers.insert("x-amzn-requestid", id.header());
    response
}

async fn respond<V: Vms>(
    api: &Api<V>,
    id: RequestId,
    parts: &Parts,
    body: Body,
) -> (Result<Response, LambdaError>, Option<Cors>) {
    let found = find(api, parts);
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
        let is_known = auth == UrlAuth::Anybody || authenticate(api, parts, None)?;
        let bytes_max = api.service.config().limits.body_bytes_max as usize;
        let mut intake = api.intake();
        let body = collect(body, bytes_max, &mut intake).await?;
        if !is_known {
            authenticate(api, parts, Some(&body))?;
        }
        call(api, id, parts, target, body.into()).await
    };
    (answer.await, cors)
}

/// A function, and where in its URL a request goes.
struct Target {
    name: FunctionName,
    qualifier: Qualifier,
    path: String,
}

fn find<V: Vms>(
    api: &Api<V>,
    parts: &Parts,
) -> Result<(Target, UrlAuth, Option<Cors>), LambdaError> {
    let missing = || LambdaError::new(Outcome::NotFound, "there is no such URL of a function");
    let below = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let (segment, path) = below.split_at(below.find('/').unwrap_or(below.len()));
    let text = decode(segment).ok_or_else(missing)?;
    let (name, alias) = text.split_once(':').unwrap_or((&text, ""));
    let name: FunctionName = name.parse().map_err(|_| missing())?;
    let function = api.service.function(&name).map_err(|_| missing())?;
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

async fn call<V: Vms>(
    api: &Api<V>,
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
    let version = api
        .service
        .resolve(&name, &qualifier)
        .map_err(LambdaError::from)?;
    let query = parts.uri.query().unwrap_or_default();
    let traceparent = traceparent_or_amzn(&parts.headers);
    let client = api.client(parts);
    let address = client.address.to_string();
    let headers = api.headers_for_guest(parts, &client, &traceparent);
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
        context["accountId"] = api.service.config().lambda.account_id.clone().into();
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
    let invoked = api.service.invoke(&name, &qualifier, input).await;
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
    http_response(response, &parts.method, api.held()).map_err(|_| broken())
}

/// What a handler that knows nothing of HTTP is given: payload format 2.0.
fn event(
    parts: &Parts,
    name: &FunctionName,
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
