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

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, request::Parts};
use axum::{
    Json,
    body::Bytes,
    extract::Request,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;
use tokio::sync::Semaphore;

pub use self::{
    code::{CodeError, ENTRIES_MAX, ENTRY_NAME},
    download::DOWNLOAD_S_MAX,
};
use self::{
    download::Downloads,
    error::LambdaError,
    operations::{Found, Operation, Support, Verb, find},
};
use jiffy_model::{EndsRequest, Outcome};

use crate::{
    auth::{Caller, Principal, signer},
    catalog::Catalog,
    http::{
        backend::Backend,
        bodies::collect,
        input::{BodyError, DOCUMENT_BYTES_MAX},
        trace::RequestId,
    },
    service::Service,
    vm::Vms,
};

/// Uploads that are in memory at once; more wait. Unlike API v1's they are one JSON document each.
pub const UPLOADS_MAX: usize = 4;

/// This API. A clone is the same.
pub(crate) struct LambdaRouter<V: Vms> {
    backend: Backend<V>,
    /// Permits for uploads, which have to be in memory as a whole.
    uploads: Arc<Semaphore>,
    /// Signs addresses of functions' code.
    downloads: Downloads,
}

impl<V: Vms> Clone for LambdaRouter<V> {
    fn clone(&self) -> Self {
        Self {
            backend: self.backend.clone(),
            uploads: Arc::clone(&self.uploads),
            downloads: self.downloads.clone(),
        }
    }
}

/// A request whose body is here and whose sender is known.
struct Call<'a, V: Vms> {
    lambda: &'a LambdaRouter<V>,
    id: RequestId,
    parts: Parts,
    body: Bytes,
}

type Answer = Result<Response, LambdaError>;

/// A part of a list, and where the next part begins.
fn page_of(name: &str, entries: impl Serialize, next_marker: Option<String>) -> Answer {
    let mut document = json!({ (name): entries });
    if let Some(marker) = next_marker {
        document["NextMarker"] = marker.into();
    }
    ok(document)
}

/// Whether a path is of this API: each begins with the date of an API version.
pub(crate) fn is_path(path: &str) -> bool {
    let date = path.split('/').nth(1).unwrap_or_default();
    date.len() == "2015-03-31".len()
        && date.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// Whether a path is answered here: an operation's, a function's URL, or the address of a function's code.
pub(crate) fn takes(path: &str) -> bool {
    is_path(path) || url::is_url(path) || download::is_download(path)
}

/// What a request of this API gets that is not to be looked at.
pub(crate) fn refuse(error: impl EndsRequest) -> Response {
    with_id(RequestId::random(), Err(error.into()))
}

fn with_id(id: RequestId, answer: Answer) -> Response {
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    response
        .headers_mut()
        .insert("x-amzn-requestid", id.header());
    response
}

impl<V: Vms> LambdaRouter<V> {
    pub(crate) fn new(backend: Backend<V>) -> Self {
        Self {
            backend,
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            downloads: Downloads::new(),
        }
    }

    /// Answers a request to a path that is taken here.
    pub(crate) async fn answer(&self, request: Request) -> Response {
        let path = request.uri().path();
        if url::is_url(path) {
            return self.answer_url(request).await;
        }
        let id = RequestId::random();
        if download::is_download(path) {
            return with_id(id, self.download(&request.into_parts().0).await);
        }
        with_id(id, self.respond(id, request).await)
    }

    async fn respond(&self, id: RequestId, request: Request) -> Answer {
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
        let limits = &self.backend.service.config().limits;
        let bytes_max = if is_upload {
            // Base64 and the other fields.
            usize::try_from(limits.image_bytes_max / 3 * 4).unwrap_or(usize::MAX)
                + DOCUMENT_BYTES_MAX
        } else if is_event {
            limits.body_bytes_max as usize
        } else {
            DOCUMENT_BYTES_MAX
        };
        let signer = self.signer(&parts, None)?;
        let time_max = self.backend.body_time_max();
        let permit = tokio::time::timeout(time_max, async {
            match is_upload {
                true => self.uploads.acquire().await.ok(),
                false => None,
            }
        });
        let _permit = permit.await.map_err(|_| BodyError::Slow(time_max))?;
        let mut intake = match is_upload {
            // Their permits are their limit.
            true => self.backend.intake_of_upload(),
            false => self.backend.intake(),
        };
        let body = collect(body, bytes_max, &mut intake).await?;
        if signer.is_none() {
            self.signer(&parts, Some(&body))?;
        }
        let call = Call {
            lambda: self,
            id,
            parts,
            body,
        };
        call.dispatch(found).await
    }

    /// Who sent a request; without its body `None` if only that can say.
    fn signer(&self, parts: &Parts, body: Option<&[u8]>) -> Result<Option<Principal>, LambdaError> {
        let caller = parts.extensions.get::<Caller>();
        let principal = caller.map_or(Principal::Visitor, |caller| caller.principal);
        Ok(signer(
            principal,
            parts,
            body,
            &self.backend.service.config(),
        )?)
    }
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

    fn service(&self) -> &Arc<Service<V>> {
        &self.lambda.backend.service
    }

    fn catalog(&self) -> &Arc<Catalog> {
        &self.service().catalog
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.parts.headers.get(name).map(HeaderValue::as_bytes)
    }

    /// The name by which the client reaches the agent.
    fn host(&self) -> String {
        let host = self.header("host");
        let host = host.and_then(|host| str::from_utf8(host).ok());
        host.map_or_else(|| self.service().config().listen.to_string(), Into::into)
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

fn ok(document: impl Serialize) -> Answer {
    Ok(Json(document).into_response())
}

fn created(document: impl Serialize) -> Answer {
    Ok((StatusCode::CREATED, Json(document)).into_response())
}

fn no_content() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[cfg(test)]
mod tests;
