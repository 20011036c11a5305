//! API v1: JSON in and out, errors as problems, all of it described by `openapi.json`.
//!
//! ```text
//! serve ─▶ Front::answer ── limits, host, token ──▶ router ──▶ functions, images, invoke, insight
//!                                      └──▶ lambda, for paths that begin with a date
//! ```
//!
//! Handlers translate: they check what comes in, call one verb of the service, and put what it returns into
//! a client's words. Not here: connections and their timeouts (`serve`).

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderMap, HeaderValue, Version, header, uri::Authority};
use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, delete, get, on, post, put},
};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, watch};
use tower_service::Service as _;

use self::problem::{Kind, Problem};
use crate::{lambda, service::Service, vm::Vms};

mod functions;
mod images;
pub(crate) mod input;
mod insight;
mod invoke;
mod problem;
mod rest;
pub(crate) mod stranger;
pub(crate) mod trace;
mod views;

/// Bytes of path and query at most.
pub const TARGET_BYTES_MAX: usize = 8 << 10;
/// Entries of a list that one response has at most.
pub const LIST_LEN_MAX: usize = 1000;
/// Entries of a list that one response has unless the client says otherwise.
pub const LIST_LEN_DEFAULT: usize = 100;

const HEALTH_PATH: &str = "/v1/health";
const OPENAPI: &str = include_str!("openapi.json");

/// Everything that answers requests. A clone is the same.
pub struct Api<V: Vms> {
    pub(crate) service: Arc<Service<V>>,
    /// True when the agent stops: what would go on for ever ends then.
    stopping: watch::Receiver<bool>,
    /// Places for uploads that have to be in memory as a whole.
    pub(crate) uploads: Arc<Semaphore>,
}

impl<V: Vms> Clone for Api<V> {
    fn clone(&self) -> Self {
        Self {
            service: Arc::clone(&self.service),
            stopping: self.stopping.clone(),
            uploads: Arc::clone(&self.uploads),
        }
    }
}

impl<V: Vms> std::fmt::Debug for Api<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

/// The API with its routes.
#[derive(Debug)]
pub struct Front<V: Vms> {
    api: Api<V>,
    router: Router,
}

impl<V: Vms> Clone for Front<V> {
    fn clone(&self) -> Self {
        Self {
            api: self.api.clone(),
            router: self.router.clone(),
        }
    }
}

impl<V: Vms> Front<V> {
    /// The API of `service`. Streams end when `stopping` becomes true.
    pub fn new(service: Arc<Service<V>>, stopping: watch::Receiver<bool>) -> Self {
        let api = Api {
            service,
            stopping,
            uploads: Arc::new(Semaphore::new(lambda::UPLOADS_MAX)),
        };
        let mut router = Router::new();
        for (path, methods) in routes() {
            router = router.route(path, methods);
        }
        let router = router
            .method_not_allowed_fallback(|| async {
                Problem::new(
                    Kind::MethodNotAllowed,
                    "use a method that the Allow header lists",
                )
            })
            .fallback(|| async {
                Problem::new(
                    Kind::NotFound,
                    "there is nothing at this path: see /openapi.json",
                )
            })
            .with_state(api.clone());
        Self { api, router }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request) -> Response {
        let config = self.api.service.config();
        let request = rest::discard_rest(request, self.api.body_time_max());
        if let Err(problem) = self.api.check_head(&request) {
            return problem.into_response();
        }
        let sender = match &config.token {
            Some(_) => Ok(()),
            None => stranger::check(&request, &config.hosts),
        };
        let path = request.uri().path();
        if lambda::is_path(path) && config.lambda.enabled {
            return match sender {
                Ok(()) => lambda::answer(&self.api, request).await,
                Err(stranger) => lambda::refuse(stranger),
            };
        }
        if let Err(stranger) = sender {
            return Problem::from(stranger).into_response();
        }
        if path != HEALTH_PATH && !self.api.has_token(request.headers()) {
            return unauthorized().into_response();
        }
        match self.router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

fn unauthorized() -> Problem {
    Problem::new(
        Kind::Unauthorized,
        "send the agent's token: Authorization: Bearer TOKEN",
    )
}

/// Whether a request names its host once, as HTTP/1.1 demands (RFC 9112, 3.2): servers that choose different ones
/// of two can be played off against each other.
fn has_host(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => request.version() < Version::HTTP_11,
        (Some(host), None) => {
            let is_host = |host: Authority| !host.as_str().contains('@');
            host.is_empty() || Authority::try_from(host.as_bytes()).is_ok_and(is_host)
        }
        (Some(_), Some(_)) => false,
    }
}

impl<V: Vms> Api<V> {
    /// Limits of what precedes the body, and whose it is.
    fn check_head(&self, request: &Request) -> Result<(), Problem> {
        if !has_host(request) {
            let detail = "send one Host header that is a host, and perhaps a port";
            return Err(Problem::new(Kind::InvalidRequest, detail));
        }
        let uri = request.uri();
        let query_bytes = uri.query().map_or(0, |query| query.len() + 1);
        if uri.path().len() + query_bytes > TARGET_BYTES_MAX {
            let detail = format!("send at most {TARGET_BYTES_MAX} bytes of path and query");
            return Err(Problem::new(Kind::TargetTooLong, detail));
        }
        let line_bytes = |(name, value): (&header::HeaderName, &HeaderValue)| {
            name.as_str().len() + value.len() + ": \r\n".len()
        };
        let header_bytes: usize = request.headers().iter().map(line_bytes).sum();
        let header_bytes_max = self.service.config().limits.header_bytes_max;
        if header_bytes > header_bytes_max as usize {
            let detail = format!("send at most {header_bytes_max} bytes of headers");
            return Err(Problem::new(Kind::HeadersTooLarge, detail));
        }
        Ok(())
    }

    /// Whether the request carries the token, if there is to be one.
    pub(crate) fn has_token(&self, headers: &HeaderMap) -> bool {
        let config = self.service.config();
        let Some(token) = &config.token else {
            return true;
        };
        let sent = headers
            .get(header::AUTHORIZATION)
            .map(HeaderValue::as_bytes);
        let Some((scheme, sent)) = sent.and_then(|sent| sent.split_at_checked(b"Bearer ".len()))
        else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"Bearer ") && sent.ct_eq(token.expose().as_bytes()).into()
    }

    /// What a body may take.
    pub(crate) fn body_time_max(&self) -> Duration {
        Duration::from_millis(self.service.config().limits.body_ms_max)
    }
}

/// Every path with its methods. `openapi.json` describes exactly these; a test holds that.
fn routes<V: Vms>() -> Vec<(&'static str, MethodRouter<Api<V>>)> {
    // TRACE would send a client's secrets back to it.
    let any = MethodFilter::GET
        .or(MethodFilter::HEAD)
        .or(MethodFilter::POST)
        .or(MethodFilter::PUT)
        .or(MethodFilter::PATCH)
        .or(MethodFilter::DELETE)
        .or(MethodFilter::OPTIONS);
    vec![
        (HEALTH_PATH, get(insight::health::<V>)),
        ("/openapi.json", get(openapi)),
        ("/metrics", get(insight::metrics::<V>)),
        ("/v1/images", post(images::upload::<V>)),
        ("/v1/functions", get(functions::list::<V>)),
        (
            "/v1/functions/{name}",
            get(functions::describe::<V>)
                .put(functions::deploy::<V>)
                .delete(functions::remove::<V>),
        ),
        (
            "/v1/functions/{name}/versions",
            get(functions::list_versions::<V>),
        ),
        (
            "/v1/functions/{name}/versions/{version}",
            get(functions::describe_version::<V>).delete(functions::remove_version::<V>),
        ),
        (
            "/v1/functions/{name}/aliases",
            get(functions::list_aliases::<V>),
        ),
        (
            "/v1/functions/{name}/aliases/{alias}",
            get(functions::describe_alias::<V>)
                .put(functions::put_alias::<V>)
                .delete(functions::remove_alias::<V>),
        ),
        (
            "/v1/functions/{name}/rollback",
            post(functions::roll_back::<V>),
        ),
        (
            "/v1/functions/{name}/concurrency",
            put(functions::put_concurrency::<V>).merge(delete(functions::remove_concurrency::<V>)),
        ),
        ("/v1/functions/{name}/invoke", post(invoke::invoke::<V>)),
        ("/v1/functions/{name}/logs", get(insight::logs::<V>)),
        ("/v1/instances", get(insight::instances::<V>)),
        ("/v1/usage", get(insight::usage::<V>)),
        ("/fn/{name}", on(any, invoke::http::<V>)),
        ("/fn/{name}/", on(any, invoke::http::<V>)),
        ("/fn/{name}/{*path}", on(any, invoke::http::<V>)),
    ]
}

/// `GET /openapi.json`
async fn openapi() -> Response {
    json(OPENAPI)
}

fn json(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
pub(crate) mod tests;
