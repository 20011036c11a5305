//! What both routers need of HTTP, so that neither needs the other: what is behind them, bodies, headers, problems, who the client
//! is. Not here: what a request passes before it is routed (`front`).

pub(crate) mod backend;
pub(crate) mod bodies;
pub(crate) mod client_address;
pub(crate) mod cors;
pub(crate) mod function;
pub(crate) mod guard;
pub(crate) mod headers;
pub(crate) mod input;
pub(crate) mod problem;
pub(crate) mod trace;

/// What paths of functions' own sites begin with.
pub(crate) const FUNCTIONS_PATH: &str = "/fn/";
/// What paths of functions' URLs begin with.
pub(crate) const URLS_PATH: &str = "/url/";
/// Where it is said how the agent is.
pub(crate) const HEALTH_PATH: &str = "/v1/health";

/// Whether a path leads to what a function says over HTTP.
pub(crate) fn is_functions(path: &str) -> bool {
    path.starts_with(FUNCTIONS_PATH) || path.starts_with(URLS_PATH)
}
