//! Calls a handler on the host as an instance does: same decoding, same encoding, a clock that
//! stands still. Only under `cargo test`; images do not have this module.
//!
//! ```
//! use core::time::Duration;
//!
//! #[jiffy::function]
//! pub fn age(born_unix_s: u64) -> u64 {
//!     jiffy::time::now().unix_seconds() - born_unix_s
//! }
//!
//! # fn main() {
//! let call = jiffy::testing::call!().event("1000").at(Duration::from_secs(1060));
//! assert_eq!(call.run().text(), "60");
//! let why = jiffy::testing::call!().event("soon").run().bad_event();
//! assert!(why.starts_with("event does not parse: expected value"));
//! # }
//! ```

mod functions;
mod kv;
mod queue;
mod redis;
mod sql;

use alloc::{
    borrow::ToOwned,
    boxed::Box,
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, time::Duration};

use jiffy_abi::{
    call::{
        ReplyHead, SERVICE_FUNCTIONS, SERVICE_HOST, SERVICE_HTTP, SERVICE_KV, SERVICE_QUEUE,
        SERVICE_REDIS, SERVICE_SECRET, SERVICE_SQL, Sent,
    },
    frame::{Fields, RequestKind, ResponseHead, ResponseKind, Tag},
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    kv::Store,
    queue::{Message, Queue},
};
#[doc(inline)]
pub use crate::__testing_call as call;
use crate::{
    call::{CallError, HostInfo},
    dispatch::{Function, Reply, dispatch, put_field},
    http, logging,
    platform::{self, World},
};

/// Begins a [`Call`] of this crate's handler; `call!(hello)` one of the crate `hello`, for tests in
/// a crate of their own.
#[doc(hidden)]
#[expect(
    clippy::crate_in_macro_def,
    reason = "the handler is in the crate that is tested"
)]
#[macro_export]
macro_rules! __testing_call {
    () => {
        $crate::testing::Call::new(crate::__jiffy_function)
    };
    ($function:ident) => {
        $crate::testing::Call::new($function::__jiffy_function)
    };
}

/// A request that is being prepared. Without more it is an empty event.
#[derive(Debug)]
#[must_use = "a call calls when it is run"]
pub struct Call {
    function: Function,
    kind: RequestKind,
    head: Vec<u8>,
    body: Vec<u8>,
    stores: BTreeMap<String, Store>,
    queues: BTreeMap<String, Result<Queue, CallError>>,
    secrets: BTreeMap<String, Vec<u8>>,
    http_answers: Vec<HttpAnswer>,
    functions: Named<functions::Answering>,
    sql: Named<sql::Answering>,
    redis: Named<redis::Answering>,
    world: World,
}

/// What an HTTP request of the handler gets: method and URL, the secret that it has to ask for, if that matters, and the answer.
#[derive(Clone, Debug)]
struct HttpAnswer {
    request: String,
    secret: Option<String>,
    answer: Result<http::Response, CallError>,
}

/// What answers for the functions or databases of a test, by their names.
struct Named<T>(BTreeMap<String, T>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> fmt::Debug for Named<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Call {
    /// Begins a call; [`call!`] knows the argument.
    pub fn new(function: Function) -> Self {
        let world = World::now();
        Self {
            function,
            kind: RequestKind::Event,
            head: Vec::new(),
            body: Vec::new(),
            stores: BTreeMap::new(),
            queues: BTreeMap::new(),
            secrets: BTreeMap::new(),
            http_answers: Vec::new(),
            functions: Named::default(),
            sql: Named::default(),
            redis: Named::default(),
            world,
        }
    }

    /// The event: JSON text or raw bytes, as the handler takes it.
    pub fn event(mut self, body: impl AsRef<[u8]>) -> Self {
        self.kind = RequestKind::Event;
        self.body = body.as_ref().to_vec();
        self
    }

    /// An HTTP request in place of an event.
    pub fn http(self, request: http::Request<'_>) -> Self {
        let mut call = self
            .field(Tag::Method, request.method().as_str().as_bytes())
            .field(Tag::Target, request.uri().as_str().as_bytes());
        for (name, value) in request.headers() {
            call = call.field(Tag::HeaderName, name.as_bytes());
            call = call.field(Tag::HeaderValue, value.as_bytes());
        }
        call.kind = RequestKind::Http;
        call.body = request.into_body();
        call
    }

    /// The request's id.
    pub fn request_id(self, id: &str) -> Self {
        self.field(Tag::RequestId, id.as_bytes())
    }

    /// Name and version of the function.
    pub fn function(self, name: &str, version: &str) -> Self {
        self.field(Tag::FunctionName, name.as_bytes())
            .field(Tag::FunctionVersion, version.as_bytes())
    }

    /// The caller's trace context.
    pub fn traceparent(self, traceparent: &str) -> Self {
        self.field(Tag::Traceparent, traceparent.as_bytes())
    }

    /// The IP address of whoever sent the request; otherwise it is not known.
    pub fn client_address(self, address: &str) -> Self {
        self.field(Tag::ClientAddress, address.as_bytes())
    }

    /// What the caller says of itself, JSON.
    pub fn client_context(self, json: &str) -> Self {
        self.field(Tag::ClientContext, json.as_bytes())
    }

    /// Unix time during the call; otherwise when it was begun.
    pub fn at(mut self, unix_time: Duration) -> Self {
        self.world.wall_ns = nanoseconds(unix_time);
        self
    }

    /// Time from the call to its deadline, at least a nanosecond; otherwise it has none.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let deadline_ns = self.world.monotonic_ns.saturating_add(nanoseconds(timeout));
        self.world.deadline_ns = deadline_ns.max(1);
        self
    }

    /// Makes the call's randomness that of a seed; otherwise nobody knows it.
    pub fn seed(mut self, seed: u64) -> Self {
        self.world.rng = ChaCha20Rng::seed_from_u64(seed);
        self
    }

    /// Has [`jiffy::host_info`](crate::host_info) answered with `info`, as often as it is called.
    pub fn host_info(self, info: HostInfo) -> Self {
        self.answers(SERVICE_HOST, Ok(info))
    }

    /// Has [`jiffy::host_info`](crate::host_info) fail so.
    pub fn host_info_fails(self, error: CallError) -> Self {
        self.answers(SERVICE_HOST, Err(error))
    }

    /// Gives the handler a store of keys and values, such as `[("42", "{}")]`, or a [`Store`] that the test looks into afterwards.
    pub fn kv(mut self, name: &str, store: impl Into<Store>) -> Self {
        self.stores.insert(name.to_owned(), store.into());
        self
    }

    /// Gives the handler a queue, a [`Queue`] whose messages the test looks at afterwards.
    pub fn queue(mut self, name: &str, queue: impl Into<Queue>) -> Self {
        self.queues.insert(name.to_owned(), Ok(queue.into()));
        self
    }

    /// Has every message to a queue fail so.
    pub fn queue_fails(mut self, name: &str, error: CallError) -> Self {
        self.queues.insert(name.to_owned(), Err(error));
        self
    }

    /// Gives the handler a secret, such as `"signing"`, to read.
    pub fn secret(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.secrets.insert(name.to_owned(), value.into());
        self
    }

    /// Has an HTTP request of the handler with this method to this URL answered so, as often as it is made; several answers are
    /// given one after the other, and the last one again.
    #[track_caller]
    pub fn http_call(self, method: &str, url: &str, status: u16, body: impl Into<Vec<u8>>) -> Self {
        match http::Response::builder().status(status).body(body) {
            Ok(response) => self.http_call_with(method, url, response),
            Err(error) => panic!("{error}"),
        }
    }

    /// The same with a whole response.
    pub fn http_call_with(self, method: &str, url: &str, response: http::Response) -> Self {
        self.http_answer(method, url, Ok(response))
    }

    /// The same, but it fails so.
    pub fn http_call_fails(self, method: &str, url: &str, error: CallError) -> Self {
        self.http_answer(method, url, Err(error))
    }

    /// Has the answer before this one, such as `.http_call(…).with_secret("stripe")`, given only to a request that asks for this
    /// secret. Others are given whatever it asks for.
    #[track_caller]
    pub fn with_secret(mut self, name: &str) -> Self {
        let Some(answer) = self.http_answers.last_mut() else {
            panic!("`.with_secret({name:?})` has to stand behind an `.http_call(…)`")
        };
        answer.secret = Some(name.to_owned());
        self
    }

    fn http_answer(
        mut self,
        method: &str,
        url: &str,
        answer: Result<http::Response, CallError>,
    ) -> Self {
        let request = format!("{method} {url}");
        self.http_answers.push(HttpAnswer {
            request,
            secret: None,
            answer,
        });
        self
    }

    /// Has another function, which the handler [invokes](crate::functions), answer so.
    pub fn invokes<E: DeserializeOwned, T: Serialize>(
        mut self,
        name: &str,
        answer: impl FnMut(E) -> Result<T, CallError> + 'static,
    ) -> Self {
        let answering = functions::answering(answer);
        self.functions.0.insert(name.to_owned(), answering);
        self
    }

    /// Has a [Redis database](crate::redis) reply so to each command, as its words: with a
    /// [`Value`](crate::redis::Value), or what makes one. An error among them is the server's.
    pub fn redis<V: Into<crate::redis::Value>>(
        mut self,
        name: &str,
        answer: impl FnMut(&[&str]) -> V + 'static,
    ) -> Self {
        let answering = redis::answering(answer);
        self.redis.0.insert(name.to_owned(), answering);
        self
    }

    /// Has every call for a Redis database fail so.
    pub fn redis_fails(mut self, name: &str, error: CallError) -> Self {
        let answering = redis::failing(error);
        self.redis.0.insert(name.to_owned(), answering);
        self
    }

    /// Has a [database](crate::sql) answer a statement and its parameters, a JSON array: with rows, or with how many are changed.
    /// Transactions begin and end without it.
    pub fn sql<T: Serialize>(
        mut self,
        name: &str,
        answer: impl FnMut(&str, &serde_json::Value) -> Result<T, CallError> + 'static,
    ) -> Self {
        let answering = sql::answering(answer);
        self.sql.0.insert(name.to_owned(), answering);
        self
    }

    fn answers(mut self, service: u16, answer: Answer) -> Self {
        let encode = move |_: &platform::Call<'_>| {
            encode(answer.as_ref().map(|info| (info_fields(info), &[][..])))
        };
        self.world.stand_ins.set(service, Box::new(encode));
        self
    }

    /// Calls the handler.
    pub fn run(self) -> Outcome {
        let Self {
            function,
            kind,
            head,
            body,
            stores,
            queues,
            secrets,
            http_answers,
            functions: Named(functions),
            sql: Named(sql),
            redis: Named(redis),
            mut world,
        } = self;
        if !stores.is_empty() {
            world.stand_ins.set(SERVICE_KV, kv::stand_in(stores));
        }
        if !queues.is_empty() {
            let stand_in = queue::stand_in(queues);
            world.stand_ins.set(SERVICE_QUEUE, stand_in);
        }
        if !secrets.is_empty() {
            world
                .stand_ins
                .set(SERVICE_SECRET, secret_stand_in(secrets));
        }
        world
            .stand_ins
            .set(SERVICE_HTTP, http_stand_in(http_answers));
        if !functions.is_empty() {
            let stand_in = functions::stand_in(functions);
            world.stand_ins.set(SERVICE_FUNCTIONS, stand_in);
        }
        if !redis.is_empty() {
            let stand_in = redis::stand_in(redis);
            world.stand_ins.set(SERVICE_REDIS, stand_in);
        }
        if !sql.is_empty() {
            world.stand_ins.set(SERVICE_SQL, sql::stand_in(sql));
        }
        logging::install();
        Outcome::new(platform::within(world, || {
            dispatch(function, kind, &head, &body)
        }))
    }

    #[track_caller]
    fn field(mut self, tag: Tag, value: &[u8]) -> Self {
        if let Err(error) = put_field(&mut self.head, tag, value) {
            panic!("{error}");
        }
        self
    }
}

/// What answers for all secrets of a test.
fn secret_stand_in(secrets: BTreeMap<String, Vec<u8>>) -> platform::StandIn {
    Box::new(move |call| {
        let name = call.binding;
        let Some(value) = secrets.get(name) else {
            let others: Vec<_> = secrets.keys().map(String::as_str).collect();
            panic!(
                "the handler reads the secret {name:?}, of which the test says nothing: add `.secret({name:?}, \"…\")`; it has {}",
                others.join(", ")
            )
        };
        let mut payload = Vec::new();
        let written =
            ReplyHead::write(0, None, Sent::Yes, |piece| payload.extend_from_slice(piece));
        if let Err(error) = written {
            panic!("{error}");
        }
        let head_bytes = payload.len();
        payload.extend_from_slice(value);
        platform::Reply {
            head_bytes,
            payload,
        }
    })
}

/// What [`Call::host_info`] or [`Call::host_info_fails`] was given.
pub(crate) type Answer = Result<HostInfo, CallError>;

/// The fields of a reply to `host_info`.
fn info_fields(info: &HostInfo) -> Vec<u8> {
    let fields = [
        (Tag::Release, &info.release),
        (Tag::FunctionName, &info.function_name),
        (Tag::FunctionVersion, &info.function_version),
        (Tag::RequestId, &info.request_id),
    ];
    let mut encoded = Vec::new();
    for (tag, text) in fields {
        if let Err(error) = put_field(&mut encoded, tag, text.as_bytes()) {
            panic!("{error}");
        }
    }
    encoded
}

impl HttpAnswer {
    /// Whether it is for this request, which asks for this secret, or for none.
    fn is_for(&self, request: &str, secret: &str) -> bool {
        self.request == request && self.secret.as_deref().is_none_or(|it| it == secret)
    }
}

/// A request as a message has it.
fn told(request: &str, secret: &str) -> String {
    match secret {
        "" => request.to_owned(),
        secret => format!("{request} with the secret {secret:?}"),
    }
}

/// What answers HTTP requests; a request that the test says nothing of is the test's mistake.
fn http_stand_in(answers: Vec<HttpAnswer>) -> platform::StandIn {
    let mut given = alloc::vec![false; answers.len()];
    Box::new(move |call| {
        let field = |wanted| {
            let mut fields = Fields::new(call.fields).flatten();
            let value = fields.find_map(|(tag, value)| (tag == wanted).then_some(value));
            String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
        };
        let (method, url) = (field(Tag::Method), field(Tag::Target));
        let request = format!("{method} {url}");
        let is_it = |index: &usize| answers[*index].is_for(&request, call.binding);
        let mut all = (0..answers.len()).filter(is_it);
        let next = all.clone().find(|index| !given[*index]);
        let Some(index) = next.or_else(|| all.next_back()) else {
            let alike = |answer: &&HttpAnswer| {
                let both = answer.request.bytes().zip(request.bytes());
                both.take_while(|(a, b)| a == b).count()
            };
            let nearest = match answers.iter().max_by_key(alike) {
                Some(HttpAnswer {
                    request, secret, ..
                }) => {
                    let nearest = told(request, secret.as_deref().unwrap_or_default());
                    format!("; the nearest that it answers is {nearest}")
                }
                None => String::new(),
            };
            panic!(
                "the handler makes the request {}, of which the test says nothing: add \
                 `.http_call({method:?}, {url:?}, 200, …)`{nearest}",
                told(&request, call.binding)
            )
        };
        given[index] = true;
        let answer = answers[index].answer.as_ref();
        encode(answer.map(|response| match response.fields() {
            Ok(fields) => (fields, response.body()),
            Err(error) => panic!("{error}"),
        }))
    })
}

/// The reply that a host would send, without the call's number, which nobody looks at here: fields and a body.
fn encode(answer: Result<(Vec<u8>, &[u8]), &CallError>) -> platform::Reply {
    let mut payload = Vec::new();
    let (error, sent) = match answer {
        Ok(_) => (None, Sent::Yes),
        Err(error) => (Some(error.kind()), error.sent()),
    };
    let written = ReplyHead::write(0, error, sent, |piece| payload.extend_from_slice(piece));
    if let Err(error) = written {
        panic!("{error}");
    }
    let (fields, body) = match answer {
        Ok((fields, body)) => (fields, body.to_vec()),
        Err(error) => (Vec::new(), error.to_string().into_bytes()),
    };
    payload.extend(fields);
    let head_bytes = payload.len();
    payload.extend(body);
    platform::Reply {
        head_bytes,
        payload,
    }
}

/// How a call ended. A handler's panic is the test's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The handler returned this.
    Ok(Vec<u8>),
    /// The handler returned this response.
    Http(http::Response),
    /// The handler returned an error.
    FunctionError(FunctionError),
    /// The handler was not called: this says why.
    BadEvent(String),
}

/// An error that a handler returned, as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    /// Name of the error's type.
    pub error_type: String,
    /// The error's text.
    pub message: String,
}

/// Each takes one kind of outcome and panics at another, for tests that expect that kind.
impl Outcome {
    /// What the handler returned.
    #[track_caller]
    pub fn ok(self) -> Vec<u8> {
        match self {
            Self::Ok(body) => body,
            other => panic!("expected a value, got {other:?}"),
        }
    }

    /// What the handler returned, as text.
    #[track_caller]
    pub fn text(self) -> String {
        match String::from_utf8(self.ok()) {
            Ok(text) => text,
            Err(error) => panic!("expected text: {error}"),
        }
    }

    /// The response the handler returned.
    #[track_caller]
    pub fn http(self) -> http::Response {
        match self {
            Self::Http(response) => response,
            other => panic!("expected an HTTP response, got {other:?}"),
        }
    }

    /// The error the handler returned.
    #[track_caller]
    pub fn error(self) -> FunctionError {
        match self {
            Self::FunctionError(error) => error,
            other => panic!("expected an error of the function, got {other:?}"),
        }
    }

    /// Why the handler was not called.
    #[track_caller]
    pub fn bad_event(self) -> String {
        match self {
            Self::BadEvent(why) => why,
            other => panic!("expected a bad event, got {other:?}"),
        }
    }

    fn new(reply: Reply) -> Self {
        let Reply { kind, head, body } = reply;
        let head = match ResponseHead::parse(&head) {
            Ok(head) => head,
            Err(error) => panic!("the SDK made a malformed head: {error}"),
        };
        let text = |body: Vec<u8>| String::from_utf8_lossy(&body).into_owned();
        match kind {
            ResponseKind::Ok => Self::Ok(body),
            ResponseKind::FunctionError => Self::FunctionError(FunctionError {
                error_type: head.error_type.to_owned(),
                message: text(body),
            }),
            ResponseKind::BadEvent => Self::BadEvent(text(body)),
            ResponseKind::Http => match http::Response::from_head(&head, body) {
                Ok(response) => Self::Http(response),
                Err(error) => panic!("the SDK made a malformed response: {error}"),
            },
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
