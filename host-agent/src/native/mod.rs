//! API v1: JSON in and out, errors as problems, all of it described by `openapi.json`.
//!
//! Handlers translate: they check what comes in, call one verb of the service, and put what it returns into
//! a client's words. Not here: what a request passes before (`front`), and what there is at which path (`endpoints`).

mod data;
mod endpoints;
mod functions;
mod images;
mod insight;
mod invoke;
mod kv;
mod openapi;
mod queue;
mod secrets;
mod views;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::header,
    response::{IntoResponse, Response},
};
use jiffy_model::Outcome;

use self::endpoints::endpoints;
use crate::{
    auth::{Caller, Scope},
    http::{
        FUNCTIONS_PATH, backend::Backend, cors, guard::Guard, input::check_no_query,
        problem::Problem,
    },
    model::Cors,
    vm::Vms,
};

/// Entries of a list that one response has at most.
pub const LIST_LEN_MAX: usize = 1000;
/// Entries of a list that one response has unless the client says otherwise.
pub const LIST_LEN_DEFAULT: usize = 100;

/// All endpoints. Whoever may not use one is told so, and who may use none learns not even what there is.
pub(crate) fn router<V: Vms>(backend: Backend<V>) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints::<V>() {
        let (scope, takes_query) = (endpoint.scope, endpoint.takes_query);
        let guard = Guard(move |request: &Request| {
            refusal(request, scope).or_else(|| {
                let checked = check_no_query(request).err().filter(|_| !takes_query);
                checked.map(IntoResponse::into_response)
            })
        });
        router = router.route(endpoint.path, endpoint.route.route_layer(guard));
    }
    router
        .method_not_allowed_fallback(async |request| {
            let detail = "use a method that the Allow header lists";
            nothing(&request, Outcome::MethodNotAllowed, detail)
        })
        .fallback(async |request| {
            let detail = "nothing is at this path: must be one that /openapi.json has";
            nothing(&request, Outcome::NotFound, detail)
        })
        .with_state(backend)
}

/// What a request gets that needs `scope` and may not have it.
fn refusal(request: &Request, scope: Scope) -> Option<Response> {
    let caller = request.extensions().get::<Caller>();
    if caller.is_some_and(|caller| caller.principal.may(scope)) {
        return None;
    }
    let is_preflight = cors::is_preflight(request.method(), request.headers());
    if request.uri().path().starts_with(FUNCTIONS_PATH) && is_preflight {
        return Some(cors::answer(&Cors::of_anybody(), request.headers()));
    }
    let detail = "send the agent's token: Authorization: Bearer TOKEN";
    Some(Problem::new(Outcome::Unauthorized, detail).into_response())
}

fn nothing(request: &Request, outcome: Outcome, detail: &str) -> Response {
    refusal(request, Scope::Read).unwrap_or_else(|| Problem::new(outcome, detail).into_response())
}

fn json(body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

#[cfg(test)]
pub(crate) mod tests;
