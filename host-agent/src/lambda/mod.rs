//! The API of AWS Lambda, as far as its SDKs need it to deploy and invoke functions by changing their endpoint.
//!
//! | here | in Lambda |
//! |---|---|
//! | the live version | `$LATEST` |
//! | a live version that is not published | what updates of code and configuration make |
//! | a published version | what `PublishVersion` makes, and a deploy through API v1 |
//! | the image | the only entry of the zip file, or its `bootstrap` |
//!
//! Requests are authenticated with Signature Version 4 if there are keys, and take the agent's token as well.
//! `docs/lambda.md` says what is here of each operation. Not here: asynchronous invocations, layers, event sources,
//! policies.

mod aliases;
mod code;
mod download;
mod error;
mod functions;
mod invoke;
mod members;
mod name;
mod operations;
mod provisioned;
mod proxy;
mod shapes;
mod tags;
mod url;
mod urls;
mod versions;

use std::time::SystemTime;

use axum::http::{HeaderValue, StatusCode, header, request::Parts};
use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::{IntoResponse, Response},
};
use serde::Serialize;

pub use self::{
    code::{CodeError, ENTRIES_MAX, ENTRY_NAME},
    download::DOWNLOAD_S_MAX,
};
pub(crate) use self::{
    download::{Downloads, answer_download, is_download},
    url::{answer_url, is_url},
};
use self::{
    error::LambdaError,
    operations::{Found, Operation, Support, Verb, find},
};
use jiffy_model::Outcome;

pub use crate::auth::sigv4::{CLOCK_SKEW_MAX, SIGNED_HEADERS_MAX, SignatureError};
use crate::{
    auth::sigv4::{Scope, precheck, verify},
    front::origin_guard::Stranger,
    http::{
        bodies::collect,
        input::{BodyError, DOCUMENT_BYTES_MAX},
        trace::RequestId,
    },
    native::Api,
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
    let date = path.split('/').nth(1).unwrap_or_default();
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
    let query = parts.uri.query().unwrap_or_default();
    let found = find(&parts.method, &path, query);
    let (is_upload, is_event) = match &found {
        Found::Operation(operation, _) => match operation.support {
            Support::Here(Verb::CreateFunction | Verb::UpdateFunctionCode) => (true, false),
            Support::Here(Verb::Invoke) => (false, true),
            _ => (false, false),
        },
        Found::OtherMethod | Found::Nothing => (false, false),
    };
    let limits = &api.service.config().limits;
    let bytes_max = if is_upload {
        // Base64 and the other fields.
        usize::try_from(limits.image_bytes_max / 3 * 4).unwrap_or(usize::MAX) + DOCUMENT_BYTES_MAX
    } else if is_event {
        limits.body_bytes_max as usize
    } else {
        DOCUMENT_BYTES_MAX
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
    call.dispatch(found).await
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
    let scope = Scope {
        region: &config.lambda.region,
        service: SERVICE,
    };
    match body {
        None => precheck(parts, keys, scope, now)?,
        Some(body) => verify(parts, body, keys, scope, now)?,
    }
    Ok(body.is_some())
}

impl<V: Vms> Call<'_, V> {
    async fn dispatch(self, found: Found<'_>) -> Answer {
        let what = format!("{} {}", self.parts.method, self.parts.uri.path());
        let (operation, open) = match found {
            Found::Operation(operation, open) => (operation, open),
            Found::OtherMethod => {
                let message = format!("{what} is not an operation: use another method");
                return Err(LambdaError::new(Outcome::MethodNotAllowed, message));
            }
            Found::Nothing => {
                let message = format!("{what} is not an operation of this API");
                return Err(LambdaError::new(Outcome::UnknownOperation, message));
            }
        };
        let Operation { name, support, .. } = operation;
        match support {
            Support::Here(verb) => self.call(*verb, &open).await,
            Support::Later(why) | Support::Never(why) => {
                let message = format!("this agent does not have {name}: {why}");
                Err(LambdaError::new(Outcome::NotImplemented, message))
            }
        }
    }

    /// One line per operation. `open` are the segments that its path leaves open.
    async fn call(self, verb: Verb, open: &[&str]) -> Answer {
        let query = self.parts.uri.query().unwrap_or_default();
        members::check_query(verb, query)?;
        members::check_headers(verb, &self.parts.headers)?;
        if verb != Verb::Invoke {
            members::check_body(verb, self.body_or_empty())?;
        }
        let name = open.first().copied().unwrap_or_default();
        let inner = open.get(1).copied().unwrap_or_default();
        match verb {
            Verb::CreateFunction => self.create_function().await,
            Verb::ListFunctions => self.list_functions(),
            Verb::GetFunction => self.get_function(name),
            Verb::DeleteFunction => self.delete_function(name).await,
            Verb::Invoke => self.invoke(name).await,
            Verb::UpdateFunctionCode => self.update_code(name).await,
            Verb::GetFunctionConfiguration => self.get_configuration(name),
            Verb::UpdateFunctionConfiguration => self.update_configuration(name).await,
            Verb::PublishVersion => self.publish_version(name).await,
            Verb::ListVersionsByFunction => self.list_versions(name),
            Verb::CreateAlias => self.create_alias(name).await,
            Verb::ListAliases => self.list_aliases(name),
            Verb::GetAlias => self.get_alias(name, inner),
            Verb::UpdateAlias => self.update_alias(name, inner).await,
            Verb::DeleteAlias => self.delete_alias(name, inner).await,
            Verb::PutFunctionConcurrency => self.put_concurrency(name).await,
            Verb::DeleteFunctionConcurrency => self.delete_concurrency(name).await,
            Verb::GetFunctionConcurrency => self.get_concurrency(name),
            Verb::CreateFunctionUrlConfig => self.create_url(name).await,
            Verb::UpdateFunctionUrlConfig => self.update_url(name).await,
            Verb::DeleteFunctionUrlConfig => self.delete_url(name).await,
            Verb::GetFunctionUrlConfig => self.get_url(name),
            Verb::ListFunctionUrlConfigs => self.list_urls(name),
            Verb::TagResource => self.tag(name).await,
            Verb::UntagResource => self.untag(name).await,
            Verb::ListTags => self.list_tags(name),
            Verb::GetAccountSettings => self.account_settings(),
            Verb::PutProvisionedConcurrencyConfig => self.put_provisioned(name).await,
            Verb::DeleteProvisionedConcurrencyConfig => self.delete_provisioned(name).await,
            Verb::GetProvisionedConcurrencyConfig => self.get_provisioned(name),
            Verb::ListProvisionedConcurrencyConfigs => self.list_provisioned(name),
        }
    }

    fn body_or_empty(&self) -> &[u8] {
        match &self.body[..] {
            b"" => b"{}",
            body => body,
        }
    }

    /// The body as a JSON document; an empty one is `{}`.
    fn document<'de, T: serde::Deserialize<'de>>(&'de self) -> Result<T, LambdaError> {
        serde_json::from_slice(self.body_or_empty()).map_err(|error| {
            let message = format!("the body is not what this operation takes: {error}");
            LambdaError::new(Outcome::MalformedBody, message)
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
