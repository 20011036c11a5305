//! The front room: what every request passes before a router sees it, as layers around two routers that only translate.
//!
//! ```text
//! listener ─▶ admission ─▶ connection, wire ─▶ stack:
//!   conclude       what is true of every response: its length, the end of a connection of the reserve, the count of problems
//!   authenticate   who it is, in the request's extensions: an `auth::Caller`
//!   reserve        with no connection left, only health, metrics and what operators ask
//!   unread         what nobody reads of a body is thrown away
//!   head           limits of what precedes the body
//!   origin_guard   without a token: this host's names only, and no web page
//!     native       API v1, and functions' own sites
//!     lambda       Lambda's API, functions' URLs, code
//! ```
//!
//! Not here: what a principal may do, which the endpoint says; what both routers need of HTTP (`http`).

mod admission;
mod connection;
mod head;
mod listener;
mod origin_guard;
mod refusal;
mod unread;
mod wire;

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, Method, header},
    response::{IntoResponse, Response},
};
use jiffy_model::{EndsRequest, Outcome};
use tower::{Service, ServiceBuilder, layer::layer_fn, service_fn};

use self::refusal::Refusal;
#[doc(hidden)]
pub use self::{connection::serve_alone, wire::Socket};
pub use self::{
    head::TARGET_BYTES_MAX,
    listener::{SILENT_TIME_MAX, ServeError, UNSENT_TIME_MAX, run, serve_on},
};
use crate::{
    auth::{Caller, Principal, authenticate},
    config::Config,
    http::{
        HEALTH_PATH,
        backend::Backend,
        guard::Guard,
        headers::check_length,
        is_functions,
        problem::{About, Problem},
    },
    lambda::{self, LambdaRouter},
    metrics::Metrics,
    native,
    vm::Vms,
};

/// A service of the front room: never an error of its own, and a clone is the same.
trait Answers:
    Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S> Answers for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

/// What the layers look at.
struct Front<V: Vms> {
    backend: Backend<V>,
    native: Router,
    lambda: LambdaRouter<V>,
}

impl<V: Vms> Front<V> {
    fn config(&self) -> Arc<Config> {
        self.backend.service.config()
    }

    fn is_lambdas(&self, request: &Request) -> bool {
        self.config().lambda.enabled && lambda::takes(request.uri().path())
    }

    /// What a request gets that passes no further, in the form of the API that its path is of.
    fn refuse(&self, request: &Request, refused: impl EndsRequest) -> Response {
        match self.is_lambdas(request) {
            true => lambda::refuse(refused),
            false => Problem::from(refused).into_response(),
        }
    }

    async fn route(&self, request: Request) -> Result<Response, Infallible> {
        match self.is_lambdas(&request) {
            // Its future is large, and a layer that passes on a future moves it.
            true => Ok(Box::pin(self.lambda.answer(request)).await),
            false => self.native.clone().call(request).await,
        }
    }
}

/// All that a request passes, and the routers behind it. A request carries its [`Caller`].
fn stack<V: Vms>(backend: Backend<V>) -> impl Answers {
    let front = Arc::new(Front {
        native: native::router(backend.clone()),
        lambda: LambdaRouter::new(backend.clone()),
        backend,
    });
    // The same for each layer, so that a clone of the stack costs little.
    let [metrics, tokens, reserved, times, limits, hosts] =
        std::array::from_fn(|_| Arc::clone(&front));
    ServiceBuilder::new()
        .layer(layer_fn(move |inner| {
            conclude(inner, Arc::clone(metrics.backend.service.metrics()))
        }))
        .map_request(move |request| authenticate(request, &tokens.config()))
        .layer(Guard(move |request: &Request| {
            let refused = reserve(request).err()?;
            Some(reserved.refuse(request, refused))
        }))
        .map_request(move |request| unread::discard(request, times.backend.body_time_max()))
        .layer(Guard(move |request: &Request| {
            let header_bytes_max = limits.config().limits.header_bytes_max;
            let refused = head::check(request, header_bytes_max).err()?;
            Some(limits.refuse(request, refused))
        }))
        .layer(Guard(move |request: &Request| {
            let config = hosts.config();
            if config.token.is_some() {
                return None;
            }
            let refused = origin_guard::check(request, &config.hosts).err()?;
            Some(hosts.refuse(request, refused))
        }))
        .service(service_fn(move |request: Request| {
            let front = Arc::clone(&front);
            async move { front.route(request).await }
        }))
}

/// Refuses what the reserve of connections is not for: all but health, metrics, and what operators ask.
fn reserve(request: &Request) -> Result<(), Refusal> {
    let Some(caller) = request.extensions().get::<Caller>() else {
        return Ok(());
    };
    let path = request.uri().path();
    let is_of_function =
        is_functions(path) || path.ends_with("/invoke") || path.ends_with("/invocations");
    let is_operators = !is_of_function && caller.principal != Principal::Visitor;
    if !caller.is_reserved || path == HEALTH_PATH || is_operators {
        return Ok(());
    }
    let detail = "all connections are in use (limits.connections_max): try again later";
    Err(Refusal::new(Outcome::Overloaded, detail))
}

/// The last look at each response.
fn conclude(mut inner: impl Answers, metrics: Arc<Metrics>) -> impl Answers {
    service_fn(move |request: Request| {
        let is_head = request.method() == Method::HEAD;
        let is_function = is_functions(request.uri().path());
        let caller = request.extensions().get::<Caller>();
        let is_reserved = caller.is_some_and(|caller| caller.is_reserved);
        let (answer, metrics) = (inner.call(request), Arc::clone(&metrics));
        async move {
            let mut response = answer.await?;
            if is_reserved {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            check_length(is_head, is_function, &mut response);
            if response.status().as_u16() >= 400
                && let Some(About(outcome)) = response.extensions().get()
            {
                metrics.problem(*outcome);
            }
            Ok(response)
        }
    })
}

#[cfg(test)]
pub(crate) mod tests;
