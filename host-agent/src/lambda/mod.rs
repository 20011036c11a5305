//! The API of AWS Lambda, as far as its SDKs need it to deploy and invoke functions by changing their endpoint.
//!
//! | here | in Lambda |
//! |---|---|
//! | the live version | `$LATEST` |
//! | every deploy makes a numbered version | `PublishVersion` makes one; here it returns the live one's number |
//! | the image | the only entry of the zip file, or its `bootstrap` |
//!
//! Requests are authenticated with Signature Version 4 if there are keys, and take the agent's token as well. Not here:
//! asynchronous invocations, layers, event sources, tags, policies.

mod aliases;
mod code;
mod error;
mod functions;
mod invoke;
mod name;
mod shapes;
mod sigv4;

use std::time::SystemTime;

use axum::http::{HeaderValue, Method, StatusCode, header, request::Parts};
use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::{IntoResponse, Response},
};
use serde::Serialize;

pub use self::{
    code::{CodeError, ENTRIES_MAX, ENTRY_NAME},
    sigv4::{CLOCK_SKEW_MAX, SIGNED_HEADERS_MAX, SignatureError},
};
use self::{
    error::{Exception, LambdaError},
    sigv4::{precheck, verify},
};
use crate::{
    api::{
        Api,
        bodies::collect,
        input::{BodyError, DOCUMENT_BYTES_MAX},
        stranger::Stranger,
        trace::RequestId,
    },
    vm::Vms,
};

/// The service's name in a signature.
const SERVICE: &str = "lambda";
/// Uploads that are in memory at once; more wait. Unlike API v1's they are one JSON document each.
pub const UPLOADS_MAX: usize = 4;

/// A request whose body is here and whose sender is known.
struct Call<'a, V: Vms> {
    api: &'a Api<V>,
    id: RequestId,
    parts: Parts,
    body: Bytes,
}

type Answer = Result<Response, LambdaError>;

/// Whether a path is of this API: each begins with the date of an API version.
pub(crate) fn is_path(path: &str) -> bool {
    let mut segments = path.split('/').skip(1);
    let (Some(date), Some("functions")) = (segments.next(), segments.next()) else {
        return false;
    };
    date.len() == "2015-03-31".len()
        && date.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// Answers a request of this API.
pub(crate) async fn answer<V: Vms>(api: &Api<V>, request: Request) -> Response {
    let id = RequestId::random();
    with_id(id, respond(api, id, request).await)
}

/// What a request of this API gets that is not to be looked at.
pub(crate) fn refuse(stranger: Stranger) -> Response {
    with_id(RequestId::random(), Err(stranger.into()))
}

fn with_id(id: RequestId, answer: Answer) -> Response {
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    response
        .headers_mut()
        .insert("x-amzn-requestid", id.header());
    response
}

async fn respond<V: Vms>(api: &Api<V>, id: RequestId, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let mut segments = path
        .split('/')
        .skip(1)
        .filter(|segment| !segment.is_empty());
    let date = segments.next().unwrap_or_default();
    let segments: Vec<_> = segments.skip(1).collect();
    let is_upload = matches!(
        (&parts.method, &segments[..]),
        (&Method::POST, []) | (&Method::PUT, [_, "code"])
    );
    let limits = &api.service.config().limits;
    let bytes_max = match &segments[..] {
        // Base64 and the other fields.
        _ if is_upload => {
            usize::try_from(limits.image_bytes_max / 3 * 4).unwrap_or(usize::MAX)
                + DOCUMENT_BYTES_MAX
        }
        [_, "invocations"] => limits.body_bytes_max as usize,
        _ => DOCUMENT_BYTES_MAX,
    };
    let is_known = authenticate(api, &parts, None)?;
    let time_max = api.body_time_max();
    let place = tokio::time::timeout(time_max, async {
        match is_upload {
            true => api.uploads.acquire().await.ok(),
            false => None,
        }
    });
    let _place = place.await.map_err(|_| BodyError::Slow(time_max))?;
    let mut intake = match is_upload {
        // Their places are their limit.
        true => api.intake_of_upload(),
        false => api.intake(),
    };
    let body = collect(body, bytes_max, &mut intake).await?;
    if !is_known {
        authenticate(api, &parts, Some(&body))?;
    }
    let call = Call {
        api,
        id,
        parts,
        body,
    };
    call.dispatch(date, &segments).await
}

/// Either the agent's token or a signature by one of its keys; nothing if there are neither. Without the body, which a
/// signature covers, it is only known who certainly may not, and whether the body matters at all.
fn authenticate<V: Vms>(
    api: &Api<V>,
    parts: &Parts,
    body: Option<&[u8]>,
) -> Result<bool, LambdaError> {
    let config = api.service.config();
    let keys = &config.lambda_keys;
    let wants_token = config.token.is_some() || keys.is_empty();
    if wants_token && api.has_token(&parts.headers) {
        return Ok(true);
    }
    if keys.is_empty() {
        return Err(SignatureError::Missing.into());
    }
    let now = SystemTime::now();
    match body {
        None => precheck(parts, keys, SERVICE, now)?,
        Some(body) => verify(parts, body, keys, SERVICE, now)?,
    }
    Ok(body.is_some())
}

impl<V: Vms> Call<'_, V> {
    /// One line per operation. `segments` are those behind `/DATE/functions`.
    async fn dispatch(self, date: &str, segments: &[&str]) -> Answer {
        let method = self.parts.method.clone();
        let known = match (date, segments) {
            ("2015-03-31", []) => match method {
                Method::POST => return self.create_function().await,
                Method::GET => return self.list_functions(),
                _ => true,
            },
            ("2015-03-31", [name]) => match method {
                Method::GET => return self.get_function(name),
                Method::DELETE => return self.delete_function(name).await,
                _ => true,
            },
            ("2015-03-31", [name, "invocations"]) => match method {
                Method::POST => return self.invoke(name).await,
                _ => true,
            },
            ("2015-03-31", [name, "code"]) => match method {
                Method::PUT => return self.update_code(name).await,
                _ => true,
            },
            ("2015-03-31", [name, "configuration"]) => match method {
                Method::GET => return self.get_configuration(name),
                Method::PUT => return self.update_configuration(name).await,
                _ => true,
            },
            ("2015-03-31", [name, "versions"]) => match method {
                Method::POST => return self.publish_version(name),
                Method::GET => return self.list_versions(name),
                _ => true,
            },
            ("2015-03-31", [name, "aliases"]) => match method {
                Method::POST => return self.create_alias(name).await,
                Method::GET => return self.list_aliases(name),
                _ => true,
            },
            ("2015-03-31", [name, "aliases", alias]) => match method {
                Method::GET => return self.get_alias(name, alias),
                Method::PUT => return self.update_alias(name, alias).await,
                Method::DELETE => return self.delete_alias(name, alias).await,
                _ => true,
            },
            ("2017-10-31", [name, "concurrency"]) => match method {
                Method::PUT => return self.put_concurrency(name).await,
                Method::DELETE => return self.delete_concurrency(name).await,
                _ => true,
            },
            ("2019-09-30", [name, "concurrency"]) => match method {
                Method::GET => return self.get_concurrency(name),
                _ => true,
            },
            _ => false,
        };
        let what = format!("{method} {}", self.parts.uri.path());
        Err(if known {
            let message = format!("{what} is no operation: use another method");
            LambdaError::new(Exception::MethodNotAllowed, message)
        } else {
            let message = format!("{what} is no operation that this agent has");
            LambdaError::new(Exception::UnknownOperation, message)
        })
    }

    /// The body as a JSON document; an empty one is `{}`.
    fn document<'de, T: serde::Deserialize<'de>>(&'de self) -> Result<T, LambdaError> {
        let body = match &self.body[..] {
            b"" => b"{}",
            body => body,
        };
        serde_json::from_slice(body).map_err(|error| {
            let message = format!("the body is not what this operation takes: {error}");
            LambdaError::new(Exception::InvalidRequestContent, message)
        })
    }
}

fn json(status: StatusCode, document: &impl Serialize) -> Response {
    let body = serde_json::to_vec(document).expect("texts and numbers always encode");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests;
