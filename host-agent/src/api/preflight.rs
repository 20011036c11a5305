//! What a browser asks before it sends a page's request to another origin (Fetch, 3.3): a preflight, which carries no
//! credentials, so that an agent with a token would refuse it and the request would never come.
//!
//! Such an agent answers it itself and allows what is asked: the request that follows has to carry the token, which no browser adds
//! of its own accord, and whether a page may read the answer the function says in that answer. The function does not run.
//! An agent without a token hands preflights to the function, as any other request of a page that may reach it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::{body::Body, extract::Request, response::Response};

/// Seconds for which a browser need not ask again.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("600");
const VARY: HeaderValue = HeaderValue::from_static(
    "origin, access-control-request-method, access-control-request-headers",
);

/// The answer to a preflight; `None` if it is none.
pub(super) fn answer(request: &Request) -> Option<Response> {
    let headers = request.headers();
    let (origin, method) = asked(request.method(), headers)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allowed = response.headers_mut();
    let mut allow =
        |name: HeaderName, value: &HeaderValue| drop(allowed.insert(name, value.clone()));
    allow(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    allow(header::ACCESS_CONTROL_ALLOW_METHODS, method);
    if let Some(names) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        allow(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    allow(header::ACCESS_CONTROL_MAX_AGE, &MAX_AGE_S);
    allow(header::VARY, &VARY);
    Some(response)
}

/// Origin and method of a preflight.
fn asked<'a>(
    method: &Method,
    headers: &'a HeaderMap,
) -> Option<(&'a HeaderValue, &'a HeaderValue)> {
    let origin = headers.get(header::ORIGIN)?;
    let wanted = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    (*method == Method::OPTIONS).then_some((origin, wanted))
}
