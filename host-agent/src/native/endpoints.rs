//! Every endpoint of API v1: where it is, who may use it, what answers. `openapi.json` describes exactly these; tests hold that.

use axum::{
    handler::Handler,
    http::Method,
    routing::{MethodFilter, MethodRouter, on},
};

use super::{functions, images, insight, invoke, openapi};
use crate::{
    auth::Scope::{self, Deploy, Invoke, Public, Read},
    http::{HEALTH_PATH, backend::Backend},
    vm::Vms,
};

/// What becomes of a path's query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Query {
    /// The handler reads it, and refuses what it does not know; or it is a function's, or nobody's that minds.
    Taken,
    /// There are no parameters, so one that is sent is a mistake.
    Refused,
}

/// One method of one path.
pub(super) struct Endpoint<V: Vms> {
    pub(super) path: &'static str,
    pub(super) scope: Scope,
    pub(super) query: Query,
    pub(super) route: MethodRouter<Backend<V>>,
}

/// Methods of a function's own site. TRACE would send a client's secrets back to it.
const SITE_METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];
const SITE_PATHS: [&str; 3] = ["/fn/{name}", "/fn/{name}/", "/fn/{name}/{*path}"];

fn endpoint<V: Vms, T: 'static>(
    method: Method,
    path: &'static str,
    scope: Scope,
    query: Query,
    handler: impl Handler<T, Backend<V>>,
) -> Endpoint<V> {
    let method = MethodFilter::try_from(method).expect("a method of RFC 9110");
    Endpoint {
        path,
        scope,
        query,
        route: on(method, handler),
    }
}

/// All of them.
#[rustfmt::skip]
pub(super) fn endpoints<V: Vms>() -> Vec<Endpoint<V>> {
    use Query::{Refused, Taken};
    const FUNCTION: &str = "/v1/functions/{name}";
    const VERSION: &str = "/v1/functions/{name}/versions/{version}";
    const ALIAS: &str = "/v1/functions/{name}/aliases/{alias}";
    const CONCURRENCY: &str = "/v1/functions/{name}/concurrency";
    let (get, put, post, delete) = (Method::GET, Method::PUT, Method::POST, Method::DELETE);
    let mut all = vec![
        endpoint(get.clone(), HEALTH_PATH, Public, Taken, insight::health::<V>),
        endpoint(get.clone(), "/openapi.json", Read, Taken, openapi),
        endpoint(get.clone(), "/metrics", Read, Taken, insight::metrics::<V>),
        endpoint(post.clone(), "/v1/images", Deploy, Refused, images::upload::<V>),
        endpoint(get.clone(), "/v1/functions", Read, Taken, functions::list::<V>),
        endpoint(get.clone(), FUNCTION, Read, Refused, functions::describe::<V>),
        endpoint(put.clone(), FUNCTION, Deploy, Refused, functions::deploy::<V>),
        endpoint(delete.clone(), FUNCTION, Deploy, Refused, functions::remove::<V>),
        endpoint(get.clone(), "/v1/functions/{name}/versions", Read, Taken, functions::list_versions::<V>),
        endpoint(get.clone(), VERSION, Read, Refused, functions::describe_version::<V>),
        endpoint(delete.clone(), VERSION, Deploy, Refused, functions::remove_version::<V>),
        endpoint(get.clone(), "/v1/functions/{name}/aliases", Read, Refused, functions::list_aliases::<V>),
        endpoint(get.clone(), ALIAS, Read, Refused, functions::describe_alias::<V>),
        endpoint(put.clone(), ALIAS, Deploy, Refused, functions::put_alias::<V>),
        endpoint(delete.clone(), ALIAS, Deploy, Refused, functions::remove_alias::<V>),
        endpoint(post.clone(), "/v1/functions/{name}/rollback", Deploy, Refused, functions::roll_back::<V>),
        endpoint(put, CONCURRENCY, Deploy, Refused, functions::put_concurrency::<V>),
        endpoint(delete, CONCURRENCY, Deploy, Refused, functions::remove_concurrency::<V>),
        endpoint(post, "/v1/functions/{name}/invoke", Invoke, Taken, invoke::invoke::<V>),
        endpoint(get.clone(), "/v1/functions/{name}/logs", Read, Taken, insight::logs::<V>),
        endpoint(get.clone(), "/v1/instances", Read, Refused, insight::instances::<V>),
        endpoint(get, "/v1/usage", Read, Taken, insight::usage::<V>),
    ];
    for path in SITE_PATHS {
        for method in SITE_METHODS {
            all.push(endpoint(method, path, Invoke, Taken, invoke::http::<V>));
        }
    }
    all
}
