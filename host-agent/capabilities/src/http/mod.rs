//! Makes HTTP requests for functions: `jiffy::http::get` and the others.
//!
//! ```text
//! call ─ request: taken apart ─ policy: origin, method, secret ─ pool: a connection that waits ──────┬─ secret ─ request ─ reply
//!                                        └─ connect: name → addresses, each checked → TCP → TLS ─────┘
//! ```
//!
//! A redirect is a response: where it leads is asked for by the function, and checked then. What comes compressed stays so.
//! Nothing that a function was sent says where a request goes. No variable of the environment names a proxy.

mod injected;
mod policy;
mod pool;
mod request;

use std::{borrow::Cow, error::Error, sync::Arc};

use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
use jiffy_abi::{
    call::{CallErrorKind, OPERATION_HTTP_REQUEST, SERVICE_HTTP, Sent},
    frame::{HEAD_BYTES_MAX, STATUSES, Tag},
};
use jiffy_client::{CallContext, CallFuture};
use jiffy_control::{Call, Reply};
use jiffy_model::Origin;
use jiffy_secrets::Secrets;
use tokio::sync::Semaphore;

use self::{
    injected::Injector,
    policy::{GrantedSecret, Policy},
    pool::{
        Answer, Connection, IDLE_MAX, IDLE_PER_ORIGIN_MAX, NoAnswer, Pool, ROOM_BYTES_MAX,
        ROOM_PER_VERSION_BYTES_MAX, chain,
    },
    request::Wanted,
};
use crate::{
    Capability, Config, Failure, Operations, Prepared, Version,
    net::{CONNECTIONS_PER_VERSION_MAX, Connector, Driver, Net, Room, Traffic},
    reads::Reads,
    reply, unknown_operation,
};

/// Bytes of a reply's head that are not fields of the response.
const HEAD_BYTES_RESERVED: usize = 64;
/// Headers of a response that are of its connection.
const HEADERS_OF_CONNECTION: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// For all functions.
#[derive(Debug)]
pub(crate) struct Http {
    connector: Arc<Connector>,
    /// Places for connections that wait.
    places: Arc<Semaphore>,
    /// Bytes that all responses may have yet.
    room: Arc<Semaphore>,
    driver: Driver,
    secrets: Arc<Secrets>,
    reads: Reads,
    traffic: Arc<Traffic>,
}

/// For one version.
#[derive(Debug)]
pub(crate) struct HttpOf {
    client: Arc<Client>,
    driver: Driver,
}

/// What makes requests for one version.
#[derive(Debug)]
struct Client {
    policy: Policy,
    connector: Arc<Connector>,
    pool: Arc<Pool>,
    /// Places for connections, so that no version has all there are.
    places: Arc<Semaphore>,
    room: Room,
    injector: Injector,
    traffic: Arc<Traffic>,
}

impl Capability for Http {
    const SERVICE: u16 = SERVICE_HTTP;
    const NAME: &'static str = "http";
    const OPERATIONS: Operations = &[(OPERATION_HTTP_REQUEST, "request")];
    type Prepared = HttpOf;

    fn configure(config: &Config, net: &Net) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self {
            connector: Arc::clone(&net.connector),
            places: Arc::new(Semaphore::new(IDLE_MAX)),
            room: Arc::new(Semaphore::new(ROOM_BYTES_MAX)),
            driver: net.driver.clone(),
            secrets: Arc::clone(&config.secrets),
            reads: Reads::default(),
            traffic: Arc::clone(&net.traffic),
        })
    }

    fn prepare(&self, version: &Version<'_>) -> HttpOf {
        HttpOf {
            client: Arc::new(Client {
                policy: Policy::new(version.grants),
                connector: Arc::clone(&self.connector),
                pool: Pool::new(&self.places),
                places: Arc::new(Semaphore::new(CONNECTIONS_PER_VERSION_MAX)),
                room: Room {
                    own: Semaphore::new(ROOM_PER_VERSION_BYTES_MAX),
                    all: Arc::clone(&self.room),
                },
                injector: Injector {
                    secrets: Arc::clone(&self.secrets),
                    reads: self.reads.clone(),
                    tenant: version.function.tenant(),
                },
                traffic: Arc::clone(&self.traffic),
            }),
            driver: self.driver.clone(),
        }
    }
}

impl Prepared for HttpOf {
    fn about<'a>(&self, call: &'a Call) -> Cow<'a, str> {
        request::about(call).into()
    }

    fn call(&self, call: Call, context: &CallContext<'_>) -> CallFuture {
        if call.operation != OPERATION_HTTP_REQUEST {
            return reply(unknown_operation(Http::NAME, &call));
        }
        let client = Arc::clone(&self.client);
        let traceparent = context.traceparent.map(ToOwned::to_owned);
        self.driver.drive(async move {
            let answered = client.answer(call, traceparent.as_deref()).await;
            let answered = answered.and_then(to_reply);
            answered.unwrap_or_else(Failure::into_reply)
        })
    }
}

impl Client {
    async fn answer(&self, call: Call, traceparent: Option<&str>) -> Result<Answer, Failure> {
        let secret = call.binding.clone();
        let wanted = Wanted::new(call)?;
        let granted = self.policy.check(&wanted, &secret)?;
        let counted = self.traffic.begin(granted.by, wanted.body.len());
        let answered = self.exchange(wanted, granted.secret, traceparent).await;
        match &answered {
            Ok(answer) => counted.answered(answer.status().as_u16(), answer.body().len()),
            Err(failure) => counted.failed(failure),
        }
        answered
    }

    /// Makes a request that was granted.
    async fn exchange(
        &self,
        mut wanted: Wanted,
        mut secret: Option<GrantedSecret<'_>>,
        traceparent: Option<&str>,
    ) -> Result<Answer, Failure> {
        self.connector.egress.check_host(&wanted.origin.host)?;
        let name = HeaderName::from_static("traceparent");
        if let Some(traceparent) = traceparent
            && let Ok(value) = HeaderValue::try_from(traceparent)
        {
            wanted.headers.entry(name).or_insert(value);
        }
        // One that waits may have been closed by its server meanwhile: then nothing was sent, and the next is tried.
        for _ in 0..IDLE_PER_ORIGIN_MAX {
            let Some(connection) = self.pool.take(&wanted.origin) else {
                break;
            };
            self.inject(&mut wanted, &mut secret).await?;
            match self.ask(connection, &wanted).await {
                Err(NoAnswer::NotSent(_)) => {}
                Err(NoAnswer::Failed(failure)) => return Err(failure),
                Ok(answer) => return Ok(answer),
            }
        }
        let stream = self.connector.connect(&wanted.origin, &self.places).await?;
        let connection = Connection::new(stream).await;
        let connection = connection.map_err(|error| not_sent(&wanted.origin, &error))?;
        self.inject(&mut wanted, &mut secret).await?;
        self.ask(connection, &wanted)
            .await
            .map_err(|none| match none {
                NoAnswer::NotSent(error) => not_sent(&wanted.origin, &error),
                NoAnswer::Failed(failure) => failure,
            })
    }

    /// Puts the secret in, if there is one and it is not in yet: nothing of what was checked changes any more.
    async fn inject(
        &self,
        wanted: &mut Wanted,
        secret: &mut Option<GrantedSecret<'_>>,
    ) -> Result<(), Failure> {
        match secret.take() {
            Some(secret) => self.injector.inject(wanted, secret).await,
            None => Ok(()),
        }
    }

    async fn ask(&self, mut connection: Connection, wanted: &Wanted) -> Result<Answer, NoAnswer> {
        let request = wanted.to_request(connection.version());
        let request = request.map_err(NoAnswer::Failed)?;
        let answer = connection.ask(request, &self.room).await?;
        // A server that answers before it has read the body, and does not say that it reads no more, would have it kept here.
        if wanted.body.is_empty() || wanted.body.is_unique() {
            self.pool.keep(&wanted.origin, connection);
        } else {
            connection.end();
        }
        Ok(answer)
    }
}

fn not_sent(origin: &Origin, error: &hyper::Error) -> Failure {
    let message = format!("cannot ask {origin}: {}", chain(error));
    Failure::new(CallErrorKind::Failed, Sent::No, message)
}

/// The reply that a response makes.
fn to_reply(answer: Answer) -> Result<Reply, Failure> {
    let refuse = |kind, message| Failure::new(kind, Sent::Yes, message);
    let (mut head, body) = answer.into_parts();
    let status = head.status.as_u16();
    if !STATUSES.contains(&status) {
        let message = format!("the response has the status {status}: must be 200 to 599");
        return Err(refuse(CallErrorKind::Failed, message));
    }
    remove_headers_of_connection(&mut head.headers);
    let too_large = |_| {
        let message = format!("the response has more than {HEAD_BYTES_MAX} bytes of headers");
        refuse(CallErrorKind::Limit, message)
    };
    let mut reply = Reply::ok(body);
    let fields = head.headers.iter().flat_map(|(name, value)| {
        let name = (Tag::HeaderName, name.as_str().as_bytes());
        [name, (Tag::HeaderValue, value.as_bytes())]
    });
    let status = status.to_le_bytes();
    for (tag, value) in [(Tag::Status, &status[..])].into_iter().chain(fields) {
        reply = reply.field(tag, value).map_err(|_| too_large(()))?;
    }
    match reply.fields.len() + HEAD_BYTES_RESERVED > HEAD_BYTES_MAX as usize {
        true => Err(too_large(())),
        false => Ok(reply),
    }
}

fn remove_headers_of_connection(headers: &mut HeaderMap) {
    let named: Vec<_> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HEADERS_OF_CONNECTION {
        headers.remove(*name);
    }
}

#[cfg(test)]
mod tests;
