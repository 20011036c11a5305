//! Every endpoint of API v1: where it is, who may use it, what answers, and what `openapi.json` says of it.

use axum::{
    handler::Handler,
    http::Method,
    routing::{MethodFilter, MethodRouter, on},
};

use super::{
    functions, images, insight, invoke,
    openapi::{
        Answer::{Done, Json, Named},
        Operation, Sent, of_site, openapi,
    },
};
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
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) scope: Scope,
    pub(super) query: Query,
    pub(super) route: MethodRouter<Backend<V>>,
    pub(super) operation: Operation,
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
const SITE_PATHS: [(&str, &str); 3] = [
    ("/fn/{name}", ""),
    ("/fn/{name}/", "_root"),
    ("/fn/{name}/{*path}", "_path"),
];

fn endpoint<V: Vms, T: 'static>(
    method: Method,
    path: &'static str,
    scope: Scope,
    query: Query,
    handler: impl Handler<T, Backend<V>>,
    operation: Operation,
) -> Endpoint<V> {
    let filter = MethodFilter::try_from(method.clone()).expect("a method of RFC 9110");
    Endpoint {
        method,
        path,
        scope,
        query,
        route: on(filter, handler),
        operation,
    }
}

/// All of them.
pub(super) fn endpoints<V: Vms>() -> Vec<Endpoint<V>> {
    const FUNCTION: &str = "/v1/functions/{name}";
    const VERSION: &str = "/v1/functions/{name}/versions/{version}";
    const ALIAS: &str = "/v1/functions/{name}/aliases/{alias}";
    const CONCURRENCY: &str = "/v1/functions/{name}/concurrency";
    let mut all = vec![
        endpoint(
            Method::GET,
            HEALTH_PATH,
            Public,
            Query::Taken,
            insight::health::<V>,
            Operation {
                id: "health".into(),
                tag: "agent",
                summary: "How the agent is.",
                query: &[],
                sent: Sent::Nothing,
                answers: &[Json(200, "It runs.", "Health")],
                problems: &[],
            },
        ),
        endpoint(
            Method::GET,
            "/openapi.json",
            Read,
            Query::Taken,
            openapi::<V>,
            Operation {
                id: "openapi".into(),
                tag: "agent",
                summary: "This document.",
                query: &[],
                sent: Sent::Nothing,
                answers: &[Named("Document")],
                problems: &[],
            },
        ),
        endpoint(
            Method::GET,
            "/metrics",
            Read,
            Query::Taken,
            insight::metrics::<V>,
            Operation {
                id: "metrics".into(),
                tag: "agent",
                summary: "Metrics in Prometheus' text format, or in OpenMetrics if `Accept` names that.",
                query: &[],
                sent: Sent::Nothing,
                answers: &[Named("Metrics")],
                problems: &[],
            },
        ),
        endpoint(
            Method::POST,
            "/v1/images",
            Deploy,
            Query::Refused,
            images::upload::<V>,
            Operation {
                id: "upload_image".into(),
                tag: "functions",
                summary: "Uploads an image that `jiffy build` made.",
                query: &[],
                sent: Sent::Bytes(true),
                answers: &[Json(201, "It is stored.", "Image")],
                problems: &[(422, "ImageRefused")],
            },
        ),
        endpoint(
            Method::GET,
            "/v1/functions",
            Read,
            Query::Taken,
            functions::list::<V>,
            Operation {
                id: "list_functions".into(),
                tag: "functions",
                summary: "Functions by name.",
                query: &["AfterName", "Limit"],
                sent: Sent::Nothing,
                answers: &[Json(200, "A part of the list.", "FunctionList")],
                problems: &[],
            },
        ),
        endpoint(
            Method::GET,
            FUNCTION,
            Read,
            Query::Refused,
            functions::describe::<V>,
            Operation {
                id: "describe_function".into(),
                tag: "functions",
                summary: "A function and its live version.",
                query: &[],
                sent: Sent::Nothing,
                answers: &[Json(200, "The function.", "FunctionDescription")],
                problems: &[],
            },
        ),
        endpoint(
            Method::PUT,
            FUNCTION,
            Deploy,
            Query::Refused,
            functions::deploy::<V>,
            Operation {
                id: "deploy_function".into(),
                tag: "functions",
                summary: "Deploys an image: makes a version of it and makes that live. What is left out stays as the live version has it; a new function, or `reset`, begins with the defaults. The old version goes on serving if this fails.",
                query: &[],
                sent: Sent::Json("Deploy", true),
                answers: &[
                    Json(200, "A new version of the function.", "Deployed"),
                    Json(201, "The function is new.", "Deployed"),
                ],
                problems: &[(422, "ImageRefused")],
            },
        ),
        endpoint(
            Method::DELETE,
            FUNCTION,
            Deploy,
            Query::Refused,
            functions::remove::<V>,
            Operation {
                id: "delete_function".into(),
                tag: "functions",
                summary: "Deletes a function with all its versions.",
                query: &[],
                sent: Sent::Nothing,
                answers: &[Done],
                problems: &[],
            },
        ),
        endpoint(
            Method::GET,
            "/v1/functions/{name}/versions",
            Read,
            Query::Taken,
            functions::list_versions::<V>,
            Operation {
                id: "list_versions".into(),
                tag: "versions",
                summary: "Versions, ascending.",
                query: &["AfterVersion", "Limit"],
                sent: Sent::Nothing,
                answers: &[Json(200, "A part of the list.", "VersionList")],
                problems: &[],
            },
        ),
        endpoint(
            Method::GET,
            VERSION,
            Read,
            Query::Refused,
            functions::describe_version::<V>,
            Operation {
                id: "describe_version".into(),
                tag: "versions",
                summary: "A version.",
                query: &[],
                sent: Sent::Nothing,
                answers: &[Json(200, "The version.", "Version")],
                problems: &[],
            },
        ),
        endpoint(
            Method::DELETE,
            VERSION,
            Deploy,
            Query::Refused,
            functions::remove_version::<V>,
            Operation {
                id: "delete_version".into(),
                tag: "versions",
                summary: "Deletes a version that is neither live nor an alias's.",
                query: &[],
                sent: Sent::Nothing,
                answers: &[Done],
                problems: &[],
            },
        ),
        endpoint(
            Method::GET,
            "/v1/functions/{name}/aliases",
            Read,
            Query::Refused,
            functions::list_aliases::<V>,
            Operation {
                id: "list_aliases".into(),
                tag: "aliases",
                summary: "Aliases.",
                query: &[],
                sent: Sent::Nothing,
                answers: &[Json(200, "The aliases.", "AliasList")],
                problems: &[],
            },
        ),
        endpoint(
            Method::GET,
            ALIAS,
            Read,
            Query::Refused,
            functions::describe_alias::<V>,
            Operation {
                id: "describe_alias".into(),
                tag: "aliases",
                summary: "An alias.",
                query: &[],
                sent: Sent::Nothing,
                answers: &[Json(200, "The alias.", "Alias")],
                problems: &[],
            },
        ),
        endpoint(
            Method::PUT,
            ALIAS,
            Deploy,
            Query::Refused,
            functions::put_alias::<V>,
            Operation {
                id: "put_alias".into(),
                tag: "aliases",
                summary: "Sets an alias.",
                query: &[],
                sent: Sent::Json("Alias", true),
                answers: &[Json(200, "It is set.", "Alias")],
                problems: &[],
            },
        ),
        endpoint(
            Method::DELETE,
            ALIAS,
            Deploy,
            Query::Refused,
            functions::remove_alias::<V>,
            Operation {
                id: "delete_alias".into(),
                tag: "aliases",
                summary: "Removes an alias.",
                query: &[],
                sent: Sent::Nothing,
                answers: &[Done],
                problems: &[],
            },
        ),
        endpoint(
            Method::POST,
            "/v1/functions/{name}/rollback",
            Deploy,
            Query::Refused,
            functions::roll_back::<V>,
            Operation {
                id: "roll_back".into(),
                tag: "versions",
                summary: "Makes an earlier version live again.",
                query: &[],
                sent: Sent::Json("Rollback", false),
                answers: &[Json(200, "The function as it is now.", "Function")],
                problems: &[],
            },
        ),
        endpoint(
            Method::PUT,
            CONCURRENCY,
            Deploy,
            Query::Refused,
            functions::put_concurrency::<V>,
            Operation {
                id: "put_concurrency".into(),
                tag: "functions",
                summary: "Limits the VMs of all versions together.",
                query: &[],
                sent: Sent::Json("Concurrency", true),
                answers: &[Json(200, "It is limited.", "Concurrency")],
                problems: &[],
            },
        ),
        endpoint(
            Method::DELETE,
            CONCURRENCY,
            Deploy,
            Query::Refused,
            functions::remove_concurrency::<V>,
            Operation {
                id: "delete_concurrency".into(),
                tag: "functions",
                summary: "Lifts the limit.",
                query: &[],
                sent: Sent::Nothing,
                answers: &[Done],
                problems: &[],
            },
        ),
        endpoint(
            Method::POST,
            "/v1/functions/{name}/invoke",
            Invoke,
            Query::Taken,
            invoke::invoke::<V>,
            Operation {
                id: "invoke".into(),
                tag: "invoke",
                summary: "Hands the body to the function as its event and returns what its handler returns.",
                query: &["Qualifier"],
                sent: Sent::Bytes(false),
                answers: &[Named("Invoked")],
                problems: &[
                    (400, "InvokeRefused"),
                    (429, "Busy"),
                    (500, "FunctionFailed"),
                    (504, "FunctionTimeout"),
                ],
            },
        ),
        endpoint(
            Method::GET,
            "/v1/functions/{name}/logs",
            Read,
            Query::Taken,
            insight::logs::<V>,
            Operation {
                id: "logs".into(),
                tag: "insight",
                summary: "The newest lines of a function's log, oldest first.",
                query: &[
                    "LinesSince",
                    "LinesUntil",
                    "LinesOf",
                    "LinesLimit",
                    "Follow",
                ],
                sent: Sent::Nothing,
                answers: &[Named("LogLines")],
                problems: &[(429, "Busy"), (503, "Platform")],
            },
        ),
        endpoint(
            Method::GET,
            "/v1/instances",
            Read,
            Query::Refused,
            insight::instances::<V>,
            Operation {
                id: "list_instances".into(),
                tag: "insight",
                summary: "All VMs, in no order.",
                query: &[],
                sent: Sent::Nothing,
                answers: &[Json(200, "The VMs.", "InstanceList")],
                problems: &[],
            },
        ),
        endpoint(
            Method::GET,
            "/v1/usage",
            Read,
            Query::Taken,
            insight::usage::<V>,
            Operation {
                id: "usage".into(),
                tag: "insight",
                summary: "What requests took, by function.",
                query: &["UsageOf", "UsageSince"],
                sent: Sent::Nothing,
                answers: &[Json(200, "Sums by function.", "UsageList")],
                problems: &[],
            },
        ),
    ];
    for (path, suffix) in SITE_PATHS {
        for method in SITE_METHODS {
            let operation = of_site(&method, suffix);
            let handler = invoke::http::<V>;
            all.push(endpoint(
                method,
                path,
                Invoke,
                Query::Taken,
                handler,
                operation,
            ));
        }
    }
    all
}
