//! Every endpoint of API v1: where it is, who may use it, what answers, and what `openapi.json` says of it.

use axum::{
    handler::Handler,
    http::Method,
    routing::{MethodFilter, MethodRouter, on},
};

use super::{
    functions, images, insight, invoke, kv,
    openapi::{
        Answer::{self, Done, Json, Named, Site},
        Sent, openapi,
    },
    queue, secrets,
};
use crate::{
    auth::Scope::{self, Data, Deploy, Invoke, Public, Read},
    http::{HEALTH_PATH, backend::Backend},
    vm::Vms,
};

/// One method of one path.
#[cfg_attr(not(test), expect(dead_code, reason = "`openapi.json` is made of it"))]
pub(super) struct Endpoint<V: Vms> {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) scope: Scope,
    pub(super) route: MethodRouter<Backend<V>>,
    pub(super) id: String,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    /// Parameters of query and header, by their names in the frame.
    pub(super) query: &'static [&'static str],
    /// Whether a query is let through. If not, there are no parameters, so one that is sent is a mistake.
    pub(super) takes_query: bool,
    pub(super) sent: Sent,
    pub(super) answers: &'static [Answer],
    /// Problems beside those that follow from scope, path and body, or in place of them.
    pub(super) problems: &'static [(u16, &'static str)],
}

impl<V: Vms> Endpoint<V> {
    fn new<T: 'static>(
        method: Method,
        path: &'static str,
        scope: Scope,
        handler: impl Handler<T, Backend<V>>,
    ) -> Self {
        let filter = MethodFilter::try_from(method.clone()).expect("a method of RFC 9110");
        Self {
            method,
            path,
            scope,
            route: on(filter, handler),
            id: String::new(),
            tag: "",
            summary: "",
            query: &[],
            takes_query: false,
            sent: Sent::Nothing,
            answers: &[],
            problems: &[],
        }
    }

    /// Its name in generated clients, and the part of the API that it belongs to.
    fn called(mut self, id: impl Into<String>, tag: &'static str) -> Self {
        (self.id, self.tag) = (id.into(), tag);
        self
    }

    fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// The handler reads these parameters, and refuses what it does not know.
    fn query(mut self, parameters: &'static [&'static str]) -> Self {
        self.query = parameters;
        self.any_query()
    }

    /// The handler reads these headers, and no query.
    fn headers(mut self, parameters: &'static [&'static str]) -> Self {
        self.query = parameters;
        self
    }

    /// The query is a function's, or nobody's that minds.
    fn any_query(mut self) -> Self {
        self.takes_query = true;
        self
    }

    fn sent(mut self, sent: Sent) -> Self {
        self.sent = sent;
        self
    }

    fn answers(mut self, answers: &'static [Answer]) -> Self {
        self.answers = answers;
        self
    }

    fn problems(mut self, problems: &'static [(u16, &'static str)]) -> Self {
        self.problems = problems;
        self
    }
}

macro_rules! methods {
    ($($name:ident $method:ident),*) => {
        $(fn $name<V: Vms, T: 'static>(
            path: &'static str,
            scope: Scope,
            handler: impl Handler<T, Backend<V>>,
        ) -> Endpoint<V> {
            Endpoint::new(Method::$method, path, scope, handler)
        })*
    };
}
methods!(get GET, put PUT, post POST, delete DELETE);

/// Methods of a function's own site, and whether a body comes with them. TRACE would send a client's secrets back to it.
const SITE_METHODS: [(Method, Sent); 7] = [
    (Method::GET, Sent::Nothing),
    (Method::HEAD, Sent::Nothing),
    (Method::POST, Sent::Anything),
    (Method::PUT, Sent::Anything),
    (Method::PATCH, Sent::Anything),
    (Method::DELETE, Sent::Nothing),
    (Method::OPTIONS, Sent::Nothing),
];
const SITE_PATHS: [(&str, &str); 3] = [
    ("/fn/{name}", ""),
    ("/fn/{name}/", "_root"),
    ("/fn/{name}/{*path}", "_path"),
];

/// All of them.
pub(super) fn endpoints<V: Vms>() -> Vec<Endpoint<V>> {
    const FUNCTION: &str = "/v1/functions/{name}";
    const VERSION: &str = "/v1/functions/{name}/versions/{version}";
    const ALIAS: &str = "/v1/functions/{name}/aliases/{alias}";
    const VERSIONS: &str = "/v1/functions/{name}/versions";
    const ALIASES: &str = "/v1/functions/{name}/aliases";
    const ROLLBACK: &str = "/v1/functions/{name}/rollback";
    const CONCURRENCY: &str = "/v1/functions/{name}/concurrency";
    const INVOKE: &str = "/v1/functions/{name}/invoke";
    const LOGS: &str = "/v1/functions/{name}/logs";
    let mut all = vec![
        get(HEALTH_PATH, Public, insight::health::<V>)
            .called("health", "agent")
            .summary("How the agent is.")
            .any_query()
            .answers(&[Json(200, "It runs.", "Health")]),
        get("/openapi.json", Read, openapi)
            .called("openapi", "agent")
            .summary("This document.")
            .any_query()
            .answers(&[Named("Document")]),
        get("/metrics", Read, insight::metrics::<V>)
            .called("metrics", "agent")
            .summary(
                "Metrics in Prometheus' text format, or in OpenMetrics if `Accept` names that.",
            )
            .any_query()
            .answers(&[Named("Metrics")]),
        post("/v1/images", Deploy, images::upload::<V>)
            .called("upload_image", "functions")
            .summary("Uploads an image that `jiffy build` made.")
            .sent(Sent::Bytes(true))
            .answers(&[Json(201, "It is stored.", "Image")])
            .problems(&[(422, "ImageRefused")]),
        get("/v1/functions", Read, functions::list::<V>)
            .called("list_functions", "functions")
            .summary("Functions by name.")
            .query(&["AfterName", "Limit"])
            .answers(&[Json(200, "A part of the list.", "FunctionList")]),
        get(FUNCTION, Read, functions::describe::<V>)
            .called("describe_function", "functions")
            .summary("A function and its live version.")
            .answers(&[Json(200, "The function.", "FunctionDescription")]),
        put(FUNCTION, Deploy, functions::deploy::<V>)
            .called("deploy_function", "functions")
            .summary(
                "Deploys an image: makes a version of it and makes that live. What is left out \
                 stays as the live version has it; a new function, or `reset`, begins with the \
                 defaults. The old version goes on serving if this fails.",
            )
            .sent(Sent::Json("Deploy", true))
            .answers(&[
                Json(200, "A new version of the function.", "Deployed"),
                Json(201, "The function is new.", "Deployed"),
            ])
            .problems(&[(422, "ImageRefused")]),
        delete(FUNCTION, Deploy, functions::remove::<V>)
            .called("delete_function", "functions")
            .summary("Deletes a function with all its versions.")
            .answers(&[Done]),
        get(VERSIONS, Read, functions::list_versions::<V>)
            .called("list_versions", "versions")
            .summary("Versions, ascending.")
            .query(&["AfterVersion", "Limit"])
            .answers(&[Json(200, "A part of the list.", "VersionList")]),
        get(VERSION, Read, functions::describe_version::<V>)
            .called("describe_version", "versions")
            .summary("A version.")
            .answers(&[Json(200, "The version.", "Version")]),
        delete(VERSION, Deploy, functions::remove_version::<V>)
            .called("delete_version", "versions")
            .summary("Deletes a version that is neither live nor an alias's.")
            .answers(&[Done]),
        get(ALIASES, Read, functions::list_aliases::<V>)
            .called("list_aliases", "aliases")
            .summary("Aliases.")
            .answers(&[Json(200, "The aliases.", "AliasList")]),
        get(ALIAS, Read, functions::describe_alias::<V>)
            .called("describe_alias", "aliases")
            .summary("An alias.")
            .answers(&[Json(200, "The alias.", "Alias")]),
        put(ALIAS, Deploy, functions::put_alias::<V>)
            .called("put_alias", "aliases")
            .summary("Sets an alias.")
            .sent(Sent::Json("Alias", true))
            .answers(&[Json(200, "It is set.", "Alias")]),
        delete(ALIAS, Deploy, functions::remove_alias::<V>)
            .called("delete_alias", "aliases")
            .summary("Removes an alias.")
            .answers(&[Done]),
        post(ROLLBACK, Deploy, functions::roll_back::<V>)
            .called("roll_back", "versions")
            .summary("Makes an earlier version live again.")
            .sent(Sent::Json("Rollback", false))
            .answers(&[Json(200, "The function as it is now.", "Function")]),
        put(CONCURRENCY, Deploy, functions::put_concurrency::<V>)
            .called("put_concurrency", "functions")
            .summary("Limits the VMs of all versions together.")
            .sent(Sent::Json("Concurrency", true))
            .answers(&[Json(200, "It is limited.", "Concurrency")]),
        delete(CONCURRENCY, Deploy, functions::remove_concurrency::<V>)
            .called("delete_concurrency", "functions")
            .summary("Lifts the limit.")
            .answers(&[Done]),
        post(INVOKE, Invoke, invoke::invoke::<V>)
            .called("invoke", "invoke")
            .summary(
                "Hands the body to the function as its event and returns what its handler \
                 returns.",
            )
            .query(&["Qualifier"])
            .sent(Sent::Bytes(false))
            .answers(&[Named("Invoked")])
            .problems(&[
                (400, "InvokeRefused"),
                (429, "Busy"),
                (500, "FunctionFailed"),
                (504, "FunctionTimeout"),
            ]),
        get(LOGS, Read, insight::logs::<V>)
            .called("logs", "insight")
            .summary("The newest lines of a function's log, oldest first.")
            .query(&[
                "LinesSince",
                "LinesUntil",
                "LinesOf",
                "LinesLimit",
                "Follow",
            ])
            .answers(&[Named("LogLines")])
            .problems(&[(429, "Busy"), (503, "Platform")]),
        get("/v1/instances", Read, insight::instances::<V>)
            .called("list_instances", "insight")
            .summary("All VMs, in no order.")
            .answers(&[Json(200, "The VMs.", "InstanceList")]),
        get("/v1/usage", Read, insight::usage::<V>)
            .called("usage", "insight")
            .summary("What requests took, by function.")
            .query(&["UsageOf", "UsageSince"])
            .answers(&[Json(200, "Sums by function.", "UsageList")]),
    ];
    all.extend(stores());
    all.extend(queues());
    all.extend(secrets());
    for (path, suffix) in SITE_PATHS {
        for (method, sent) in SITE_METHODS {
            let id = format!("http_{}{suffix}", method.as_str().to_ascii_lowercase());
            let endpoint = Endpoint::new(method, path, Invoke, invoke::http::<V>);
            all.push(
                endpoint
                    .called(id, "invoke")
                    .summary("Hands the HTTP request to the function.")
                    .any_query()
                    .sent(sent)
                    .answers(&[Site]),
            );
        }
    }
    all
}

/// Those of stores of keys and values.
fn stores<V: Vms>() -> Vec<Endpoint<V>> {
    const STORE: &str = "/v1/kv/{store}";
    const ENTRY: &str = "/v1/kv/{store}/{*key}";
    vec![
        get("/v1/kv", Data, kv::stores::<V>)
            .called("list_stores", "kv")
            .summary("Stores of keys and values by name.")
            .query(&["AfterStore", "Limit"])
            .answers(&[Json(200, "A part of the list.", "KvStoreList")]),
        get(STORE, Data, kv::list::<V>)
            .called("list_entries", "kv")
            .summary("Entries of a store by key, without their values.")
            .query(&["KvPrefix", "KvCursor", "Limit"])
            .answers(&[Json(200, "A part of the list.", "KvList")]),
        delete(STORE, Data, kv::remove_store::<V>)
            .called("delete_store", "kv")
            .summary("Deletes a store with all that is in it.")
            .answers(&[Done])
            .problems(&[(507, "Full")]),
        get(ENTRY, Data, kv::get::<V>)
            .called("get_entry", "kv")
            .summary("A value. With `If-None-Match`, only if it is another than that.")
            .headers(&["KvKnown"])
            .answers(&[Named("KvValue")])
            .problems(&[(304, "NotModified")]),
        put(ENTRY, Data, kv::put::<V>)
            .called("put_entry", "kv")
            .summary("Puts a value, in the place of what is there. With `If-Match` or `If-None-Match: *`, only if that holds.")
            .query(&["KvTtl", "KvMetadata", "KvIfMatch", "KvIfNoneMatch"])
            .sent(Sent::Bytes(false))
            .answers(&[
                Json(200, "It replaced another.", "KvWritten"),
                Json(201, "It is new.", "KvWritten"),
            ])
            .problems(&[(412, "PreconditionFailed"), (507, "Full")]),
        delete(ENTRY, Data, kv::remove::<V>)
            .called("delete_entry", "kv")
            .summary("Deletes an entry. With `If-Match`, only if that holds.")
            .headers(&["KvIfMatch"])
            .answers(&[Done])
            .problems(&[(412, "PreconditionFailed"), (507, "Full")]),
    ]
}

/// Those of queues.
fn queues<V: Vms>() -> Vec<Endpoint<V>> {
    const MESSAGES: &str = "/v1/queues/{queue}/messages";
    const MESSAGE: &str = "/v1/queues/{queue}/messages/{message}";
    vec![
        get("/v1/queues", Data, queue::queues::<V>)
            .called("list_queues", "queues")
            .summary("Queues by name.")
            .query(&["AfterQueue", "Limit"])
            .answers(&[Json(200, "A part of the list.", "QueueList")]),
        delete("/v1/queues/{queue}", Data, queue::remove_queue::<V>)
            .called("delete_queue", "queues")
            .summary("Deletes a queue with all that is in it.")
            .answers(&[Done])
            .problems(&[(507, "Full")]),
        get(MESSAGES, Data, queue::list::<V>)
            .called("list_messages", "queues")
            .summary("Messages of a queue, oldest first, without their bodies.")
            .query(&["MessageCursor", "Limit"])
            .answers(&[Json(200, "A part of the list.", "MessageList")]),
        post(MESSAGES, Data, queue::send::<V>)
            .called("send_message", "queues")
            .summary("Sends a message: the body as it is, at most 262144 bytes, and its content type. It is kept until it is deleted.")
            .sent(Sent::Anything)
            .answers(&[Json(201, "It is durable.", "MessageSent")])
            .problems(&[(507, "Full")]),
        get(MESSAGE, Data, queue::get::<V>)
            .called("get_message", "queues")
            .summary("The body of a message.")
            .answers(&[Named("MessageBody")]),
        delete(MESSAGE, Data, queue::remove::<V>)
            .called("delete_message", "queues")
            .summary("Deletes a message.")
            .answers(&[Done])
            .problems(&[(507, "Full")]),
    ]
}

/// Those of secrets.
fn secrets<V: Vms>() -> Vec<Endpoint<V>> {
    const SECRET: &str = "/v1/secrets/{secret}";
    vec![
        get("/v1/secrets", Scope::Secrets, secrets::list::<V>)
            .called("list_secrets", "secrets")
            .summary("Secrets by name, all of them, without their values.")
            .answers(&[Json(200, "The secrets.", "SecretList")]),
        put(SECRET, Scope::Secrets, secrets::put::<V>)
            .called("put_secret", "secrets")
            .summary("Sets a secret to the body as it is, 1 to 65536 bytes. Nothing tells its value again, but to functions that may have it.")
            .sent(Sent::Bytes(true))
            .answers(&[
                Json(200, "It replaced another.", "Secret"),
                Json(201, "It is new.", "Secret"),
            ])
            .problems(&[(507, "Full")]),
        delete(SECRET, Scope::Secrets, secrets::remove::<V>)
            .called("delete_secret", "secrets")
            .summary("Deletes a secret.")
            .answers(&[Done])
            .problems(&[(507, "Full")]),
        post("/v1/secrets:rotate-key", Scope::Secrets, secrets::rotate_key::<V>)
            .called("rotate_secrets_key", "secrets")
            .summary("Makes a new master key, by which all secrets are encrypted from then on. A key that is a credential of systemd is not the agent's to change.")
            .answers(&[Done])
            .problems(&[(409, "Conflict"), (507, "Full")]),
    ]
}
