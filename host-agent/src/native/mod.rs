//! API v1: JSON in and out, errors as problems, all of it described by `openapi.json`.
//!
//! ```text
//! serve ─▶ Front::answer ── limits, host, token ──▶ router ──▶ functions, images, invoke, insight
//!                                      └──▶ lambda, for paths that begin with a date
//! ```
//!
//! Handlers translate: they check what comes in, call one verb of the service, and put what it returns into
//! a client's words. Not here: connections and their timeouts (`serve`).

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::http::{HeaderMap, HeaderValue, Method, Version, header, uri::Authority};
use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::from_fn,
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, delete, get, on, post, put},
};
use jiffy_model::Outcome;
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, watch};
use tower_service::Service as _;

use crate::{
    front::{origin_guard, too_large, unread::discard_rest},
    http::{
        bodies::{Budget, Held, Intake},
        client_address::Peer,
        cors,
        headers::check_length,
        input,
        problem::{self, Problem},
    },
    lambda,
    model::Cors,
    service::Service,
    vm::Vms,
};

mod functions;
mod images;
mod insight;
pub(crate) mod invoke;
mod views;

/// Who sent a request, as its connection knows it.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// The connection has a place of the reserve.
    pub is_reserved: bool,
}

/// Bytes of path and query at most.
pub const TARGET_BYTES_MAX: usize = 8 << 10;
/// Entries of a list that one response has at most.
pub const LIST_LEN_MAX: usize = 1000;
/// Entries of a list that one response has unless the client says otherwise.
pub const LIST_LEN_DEFAULT: usize = 100;

/// What paths of functions' own sites begin with.
const FUNCTIONS_PATH: &str = "/fn/";
const HEALTH_PATH: &str = "/v1/health";
const OPENAPI: &str = include_str!("openapi.json");

/// Everything that answers requests. A clone is the same.
pub struct Api<V: Vms> {
    pub(crate) service: Arc<Service<V>>,
    /// True when the agent stops: what would go on for ever ends then.
    stopping: watch::Receiver<bool>,
    /// Places for uploads that have to be in memory as a whole.
    pub(crate) uploads: Arc<Semaphore>,
    /// Signs addresses of functions' code.
    pub(crate) downloads: lambda::Downloads,
    /// What all bodies have together.
    bodies: Arc<Budget>,
    host_memory_bytes: u64,
}

impl<V: Vms> Clone for Api<V> {
    fn clone(&self) -> Self {
        Self {
            service: Arc::clone(&self.service),
            stopping: self.stopping.clone(),
            uploads: Arc::clone(&self.uploads),
            downloads: self.downloads.clone(),
            bodies: Arc::clone(&self.bodies),
            host_memory_bytes: self.host_memory_bytes,
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
            downloads: lambda::Downloads::new(),
            bodies: Arc::default(),
            host_memory_bytes: crate::memory::available_bytes(),
        };
        let mut router = Router::new();
        for (path, query, methods) in routes() {
            router = router.route(
                path,
                match query {
                    Query::Taken => methods,
                    Query::Refused => methods.route_layer(from_fn(input::refuse_query)),
                },
            );
        }
        let router = router
            .method_not_allowed_fallback(|| async {
                Problem::new(
                    Outcome::MethodNotAllowed,
                    "use a method that the Allow header lists",
                )
            })
            .fallback(|| async {
                Problem::new(
                    Outcome::NotFound,
                    "there is nothing at this path: see /openapi.json",
                )
            })
            .with_state(api.clone());
        Self { api, router }
    }

    /// Answers one request.
    pub async fn answer(&self, mut request: Request, sender: Sender) -> Response {
        request.extensions_mut().insert(Peer(sender.peer));
        let is_head = request.method() == Method::HEAD;
        let is_function = is_functions(request.uri().path());
        let is_everybodys = sender.is_reserved && !self.is_operators(&request);
        let mut response = match is_everybodys {
            false => self.route(request).await,
            true => {
                let detail = "all connections are in use (limits.connections_max): try again later";
                Problem::new(Outcome::Overloaded, detail).into_response()
            }
        };
        if sender.is_reserved {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        check_length(is_head, is_function, &mut response);
        if response.status().as_u16() >= 400
            && let Some(outcome) = problem::outcome_of(response.headers())
        {
            self.api.service.metrics().problem(outcome);
        }
        response
    }

    /// Whether a request is what the reserve of connections is for: health, metrics, and what operators ask.
    fn is_operators(&self, request: &Request) -> bool {
        let path = request.uri().path();
        let is_of_function =
            is_functions(path) || path.ends_with("/invoke") || path.ends_with("/invocations");
        path == HEALTH_PATH || (!is_of_function && self.api.has_token(request.headers()))
    }

    async fn route(&self, request: Request) -> Response {
        let config = self.api.service.config();
        let request = discard_rest(request, self.api.body_time_max());
        if let Err(problem) = self.api.check_head(&request) {
            return problem.into_response();
        }
        let sender = match &config.token {
            Some(_) => Ok(()),
            None => origin_guard::check(&request, &config.hosts),
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
        if config.lambda.enabled {
            // These say themselves who may use them.
            if lambda::is_url(path) {
                return lambda::answer_url(&self.api, request).await;
            }
            if lambda::is_download(path) {
                return lambda::answer_download(&self.api, request).await;
            }
        }
        if path != HEALTH_PATH && !self.api.has_token(request.headers()) {
            let is_preflight = cors::is_preflight(request.method(), request.headers());
            return match path.starts_with(FUNCTIONS_PATH) && is_preflight {
                true => cors::answer(&Cors::of_anybody(), request.headers()),
                false => unauthorized().into_response(),
            };
        }
        match self.router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Whether a path leads to what a function says over HTTP.
fn is_functions(path: &str) -> bool {
    path.starts_with(FUNCTIONS_PATH) || lambda::is_url(path)
}

fn unauthorized() -> Problem {
    Problem::new(
        Outcome::Unauthorized,
        "send the agent's token: Authorization: Bearer TOKEN",
    )
}

/// Refuses a body that is coded otherwise than in chunks: nobody would decode it (RFC 9112, 6.1).
fn check_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers
        .get_all(header::TRANSFER_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty());
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if is_chunked(only) => Ok(()),
        (Some(first), Some(second)) if is_chunked(first) && is_chunked(second) => {
            let detail = "the body is chunked twice: must be once";
            Err(Problem::new(Outcome::InvalidRequest, detail))
        }
        (Some(first), _) => {
            let coding = String::from_utf8_lossy(first);
            let detail = format!("transfer coding {coding:?} is not known: must be chunked alone");
            Err(Problem::new(Outcome::NotImplemented, detail))
        }
    }
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
            return Err(Problem::new(Outcome::InvalidRequest, detail));
        }
        let uri = request.uri();
        let query_bytes = uri.query().map_or(0, |query| query.len() + 1);
        if uri.path().len() + query_bytes > TARGET_BYTES_MAX {
            let detail = format!("send at most {TARGET_BYTES_MAX} bytes of path and query");
            return Err(Problem::new(Outcome::TargetTooLong, detail));
        }
        let line_bytes = |(name, value): (&header::HeaderName, &HeaderValue)| {
            name.as_str().len() + value.len() + ": \r\n".len()
        };
        let header_bytes: usize = request.headers().iter().map(line_bytes).sum();
        let header_bytes_max = self.service.config().limits.header_bytes_max;
        if header_bytes > header_bytes_max as usize {
            let detail = too_large(header_bytes_max);
            return Err(Problem::new(Outcome::HeadersTooLarge, detail));
        }
        check_coding(request.headers())?;
        if request.method() == Method::CONNECT {
            let detail = "CONNECT is not implemented: the agent does not act as a proxy";
            return Err(Problem::new(Outcome::NotImplemented, detail));
        }
        Ok(())
    }

    /// Whether the request carries the token, if there is to be one.
    pub(crate) fn has_token(&self, headers: &HeaderMap) -> bool {
        let config = self.service.config();
        let Some(token) = &config.token else {
            return true;
        };
        let mut sent = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(sent), None) = (sent.next(), sent.next()) else {
            return false;
        };
        let sent = sent.as_bytes();
        let Some((scheme, sent)) = sent.split_at_checked(b"Bearer".len()) else {
            return false;
        };
        // The scheme in any case, one space or more (RFC 9110, 11.4).
        let credentials = sent.trim_ascii_start();
        scheme.eq_ignore_ascii_case(b"Bearer")
            && sent.first() == Some(&b' ')
            && credentials.ct_eq(token.expose().as_bytes()).into()
    }

    /// How a body is taken in.
    pub(crate) fn intake(&self) -> Intake {
        Intake {
            time_max: self.body_time_max(),
            held: self.held(),
        }
    }

    /// How a body is taken in that has a place of its own.
    pub(crate) fn intake_of_upload(&self) -> Intake {
        Intake {
            time_max: self.body_time_max(),
            held: Held::new(&Arc::default(), u64::MAX),
        }
    }

    /// Nothing yet of what all bodies may have together.
    pub(crate) fn held(&self) -> Held {
        let bytes_max = self
            .service
            .config()
            .limits
            .bodies_bytes_max(self.host_memory_bytes);
        Held::new(&self.bodies, bytes_max)
    }

    /// What a body may take.
    pub(crate) fn body_time_max(&self) -> Duration {
        Duration::from_millis(self.service.config().limits.body_ms_max)
    }
}

/// What becomes of a path's query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Query {
    /// The handler reads it, and refuses what it does not know; or it is a function's, or nobody's that minds.
    Taken,
    /// There are no parameters, so one that is sent is a mistake.
    Refused,
}

/// Every path with its methods. `openapi.json` describes exactly these; a test holds that.
fn routes<V: Vms>() -> Vec<(&'static str, Query, MethodRouter<Api<V>>)> {
    // TRACE would send a client's secrets back to it.
    let any = MethodFilter::GET
        .or(MethodFilter::HEAD)
        .or(MethodFilter::POST)
        .or(MethodFilter::PUT)
        .or(MethodFilter::PATCH)
        .or(MethodFilter::DELETE)
        .or(MethodFilter::OPTIONS);
    vec![
        (HEALTH_PATH, Query::Taken, get(insight::health::<V>)),
        ("/openapi.json", Query::Taken, get(openapi)),
        ("/metrics", Query::Taken, get(insight::metrics::<V>)),
        ("/v1/images", Query::Refused, post(images::upload::<V>)),
        ("/v1/functions", Query::Taken, get(functions::list::<V>)),
        (
            "/v1/functions/{name}",
            Query::Refused,
            get(functions::describe::<V>)
                .put(functions::deploy::<V>)
                .delete(functions::remove::<V>),
        ),
        (
            "/v1/functions/{name}/versions",
            Query::Taken,
            get(functions::list_versions::<V>),
        ),
        (
            "/v1/functions/{name}/versions/{version}",
            Query::Refused,
            get(functions::describe_version::<V>).delete(functions::remove_version::<V>),
        ),
        (
            "/v1/functions/{name}/aliases",
            Query::Refused,
            get(functions::list_aliases::<V>),
        ),
        (
            "/v1/functions/{name}/aliases/{alias}",
            Query::Refused,
            get(functions::describe_alias::<V>)
                .put(functions::put_alias::<V>)
                .delete(functions::remove_alias::<V>),
        ),
        (
            "/v1/functions/{name}/rollback",
            Query::Refused,
            post(functions::roll_back::<V>),
        ),
        (
            "/v1/functions/{name}/concurrency",
            Query::Refused,
            put(functions::put_concurrency::<V>).merge(delete(functions::remove_concurrency::<V>)),
        ),
        (
            "/v1/functions/{name}/invoke",
            Query::Taken,
            post(invoke::invoke::<V>),
        ),
        (
            "/v1/functions/{name}/logs",
            Query::Taken,
            get(insight::logs::<V>),
        ),
        (
            "/v1/instances",
            Query::Refused,
            get(insight::instances::<V>),
        ),
        ("/v1/usage", Query::Taken, get(insight::usage::<V>)),
        ("/fn/{name}", Query::Taken, on(any, invoke::http::<V>)),
        ("/fn/{name}/", Query::Taken, on(any, invoke::http::<V>)),
        (
            "/fn/{name}/{*path}",
            Query::Taken,
            on(any, invoke::http::<V>),
        ),
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
