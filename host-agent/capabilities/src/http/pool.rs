//! Connections that are kept. Each version of a function has a pool of its own, so that none that was made under one policy is
//! used under another, and nobody's cookies or certificates meet.
//!
//! A connection over which a secret was sent is kept as any other. The secret is a header of one request, which HTTP/1.1 and 2 both
//! give to no other. A server that takes it for one of the connection, as with NTLM, would answer later requests of the same version
//! as it did that one: each of those could have had the secret too, and no other version's is on it. What was set anew, such
//! a server learns when the connection is closed.
//!
//! HTTP/1.1 is driven by the task of the call that uses it: a connection that waits is driven by nobody, and looked at before
//! it is used. HTTP/2 carries many calls, so it has tasks; they end with the last that uses the connection.

use std::{
    collections::HashMap,
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, Version,
    body::{Bytes, Incoming},
    client::conn::{TrySendError, http1, http2},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiffy_abi::{
    call::{CallErrorKind, Sent},
    frame::{BODY_BYTES_MAX, HEAD_BYTES_MAX},
};
use jiffy_model::Origin;
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinSet, unconstrained},
    time::sleep,
};

use crate::{
    Failure,
    net::{Room, Stream, Taken},
};

/// Idle connections of one version to one origin at most.
pub(super) const IDLE_PER_ORIGIN_MAX: usize = 16;
/// Idle connections of one version at most.
const IDLE_PER_VERSION_MAX: usize = 128;
/// Idle connections of all functions at most.
pub(super) const IDLE_MAX: usize = 1024;
/// How long a connection waits to be used again: shorter than most servers wait.
const IDLE_TIME_MAX: Duration = Duration::from_secs(45);
/// Bytes of all responses together, while they are read; and of those to one version, so that none has all of it.
pub(super) const ROOM_BYTES_MAX: usize = 256 << 20;
pub(super) const ROOM_PER_VERSION_BYTES_MAX: usize = 64 << 20;
/// Headers of a response.
const HEADERS_MAX: usize = 1024;

type Body = Full<Bytes>;

/// What came of a request: the response, with its whole body.
pub(super) type Answer = Response<Vec<u8>>;

/// A connection, ready for a request.
pub(super) enum Connection {
    Http1(Http1),
    Http2(Http2),
}

/// One of HTTP/1.1, and what drives it.
pub(super) struct Http1 {
    send: http1::SendRequest<Body>,
    driver: Box<http1::Connection<TokioIo<Stream>, Body>>,
}

/// One of HTTP/2. A clone is the same one.
#[derive(Clone)]
pub(super) struct Http2 {
    send: http2::SendRequest<Body>,
    tasks: Arc<EndsTasks>,
}

/// What drives a connection of HTTP/2, and what sends the bodies of its requests. A server that reads nothing keeps both for
/// ever, so they are ended.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output: Send + 'static> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let mut tasks = self.0.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            future.await;
        });
    }
}

/// Ends tasks when it is dropped. They have the set that they are in, too, so that alone would not end them.
struct EndsTasks(Tasks);

impl Drop for EndsTasks {
    fn drop(&mut self) {
        self.0.0.lock().abort_all();
    }
}

/// Why a request has no response.
pub(super) enum NoAnswer {
    /// Nothing of it was sent: it can go to another connection.
    NotSent(hyper::Error),
    Failed(Failure),
}

impl Connection {
    /// Greets the server.
    pub(super) async fn new(stream: Stream) -> hyper::Result<Self> {
        if stream.is_http2() {
            let tasks = Tasks::default();
            let mut builder = http2::Builder::new(tasks.clone());
            builder.max_header_list_size(HEAD_BYTES_MAX);
            builder.timer(TokioTimer::new());
            builder.keep_alive_interval(Some(Duration::from_secs(20)));
            let (send, driver) = builder.handshake(TokioIo::new(stream)).await?;
            tasks.execute(driver);
            let tasks = Arc::new(EndsTasks(tasks));
            return Ok(Self::Http2(Http2 { send, tasks }));
        }
        let mut builder = http1::Builder::new();
        builder.max_headers(HEADERS_MAX);
        let (send, driver) = builder.handshake(TokioIo::new(stream)).await?;
        let driver = Box::new(driver);
        Ok(Self::Http1(Http1 { send, driver }))
    }

    pub(super) fn version(&self) -> Version {
        match self {
            Self::Http1(_) => Version::HTTP_11,
            Self::Http2(_) => Version::HTTP_2,
        }
    }

    /// Sends a request and reads the whole response, whose body takes its bytes of `room`.
    pub(super) async fn ask(
        &mut self,
        request: Request<Body>,
        room: &Room,
    ) -> Result<Answer, NoAnswer> {
        match self {
            Self::Http2(Http2 { send, .. }) => {
                if let Err(error) = send.ready().await {
                    return Err(NoAnswer::NotSent(error));
                }
                whole(send.try_send_request(request), room).await
            }
            Self::Http1(Http1 { send, driver }) => {
                let mut asking = pin!(whole(send.try_send_request(request), room));
                let mut is_driven = true;
                poll_fn(|context| {
                    // Whatever it comes to, the request is told.
                    is_driven = is_driven && Pin::new(&mut **driver).poll(context).is_pending();
                    asking.as_mut().poll(context)
                })
                .await
            }
        }
    }

    /// Ends it for all that use it.
    pub(super) fn end(self) {
        if let Self::Http2(Http2 { tasks, .. }) = self {
            tasks.0.0.lock().abort_all();
        }
    }

    /// Whether it can take another request.
    fn is_ready(&mut self) -> bool {
        match self {
            Self::Http2(Http2 { send, .. }) => !send.is_closed(),
            Self::Http1(Http1 { send, driver }) => {
                // Nobody is woken: what happens from now on is seen when it is used again.
                let mut context = Context::from_waker(Waker::noop());
                let look = poll_fn(|context| {
                    Poll::Ready(Pin::new(&mut **driver).poll(context).is_pending())
                });
                // Whatever the task has done in this turn: with tokio's budget spent, nothing would be there to read.
                let is_silent = pin!(unconstrained(look)).poll(&mut context);
                is_silent == Poll::Ready(true) && send.is_ready()
            }
        }
    }
}

async fn whole(
    sending: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Body>>>>,
    room: &Room,
) -> Result<Answer, NoAnswer> {
    let failed = |kind, sent, message| NoAnswer::Failed(Failure::new(kind, sent, message));
    let response = sending
        .await
        .map_err(|mut error| match error.take_message() {
            Some(_) => NoAnswer::NotSent(error.into_error()),
            None => {
                let message = format!("no response: {}", chain(&error.into_error()));
                failed(CallErrorKind::Failed, Sent::Maybe, message)
            }
        })?;
    let (head, body) = response.into_parts();
    let body = read(body, room).await.map_err(NoAnswer::Failed)?;
    Ok(Response::from_parts(head, body))
}

/// Reads a body to its end, within what one may have and what all may have together.
async fn read(mut body: Incoming, room: &Room) -> Result<Vec<u8>, Failure> {
    let refuse = |kind, message| Failure::new(kind, Sent::Yes, message);
    let (mut bytes, mut taken) = (vec![], Taken::default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let message = format!("the response ends too early: {}", chain(&error));
            refuse(CallErrorKind::Failed, message)
        })?;
        let Ok(data) = frame.into_data() else {
            continue; // Trailers.
        };
        if bytes.len() + data.len() > BODY_BYTES_MAX as usize {
            let message = format!("the response has more than {BODY_BYTES_MAX} bytes");
            return Err(refuse(CallErrorKind::Limit, message));
        }
        let more = room.take(&mut taken, data.len());
        more.map_err(|message| refuse(CallErrorKind::Limit, message))?;
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// An error with its causes.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// One that waits.
struct Idle {
    connection: Connection,
    since: Instant,
    /// Its place among all that wait.
    _place: OwnedSemaphorePermit,
}

/// What waits to be used again.
pub(super) struct Pool {
    idle: Mutex<HashMap<Origin, Vec<Idle>>>,
    places: Arc<Semaphore>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool that shares `places` with others.
    pub(super) fn new(places: &Arc<Semaphore>) -> Arc<Self> {
        Arc::new(Self {
            idle: Mutex::default(),
            places: Arc::clone(places),
        })
    }

    /// A connection to `origin` that can be used, the one that was used last.
    pub(super) fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut all = self.idle.lock();
        let waiting = all.get_mut(origin)?;
        while let Some(mut idle) = waiting.pop() {
            if idle.since.elapsed() < IDLE_TIME_MAX && idle.connection.is_ready() {
                if let Connection::Http2(http2) = &idle.connection {
                    let shared = Connection::Http2(http2.clone());
                    waiting.push(idle);
                    return Some(shared);
                }
                return Some(idle.connection);
            }
        }
        None
    }

    /// Keeps a connection that is of further use, if there is a place for it.
    pub(super) fn keep(self: &Arc<Self>, origin: &Origin, mut connection: Connection) {
        if !connection.is_ready() {
            return;
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return;
        };
        let mut all = self.idle.lock();
        let (is_first, count) = (all.is_empty(), all.values().map(Vec::len).sum::<usize>());
        let waiting = all.entry(origin.clone()).or_default();
        let is_http2 = |idle: &Idle| matches!(idle.connection, Connection::Http2(_));
        if matches!(connection, Connection::Http2(_)) {
            waiting.retain(|idle| !is_http2(idle));
        }
        if waiting.len() < IDLE_PER_ORIGIN_MAX && count < IDLE_PER_VERSION_MAX {
            waiting.push(Idle {
                connection,
                since: Instant::now(),
                _place: place,
            });
        }
        drop(all);
        if is_first {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Closes what has waited for too long. Whether anything waits still.
    fn close_old(&self) -> bool {
        let mut all = self.idle.lock();
        let mut old = vec![];
        all.retain(|_, waiting| {
            let is_old = |idle: &mut Idle| idle.since.elapsed() >= IDLE_TIME_MAX;
            old.extend(waiting.extract_if(.., is_old));
            !waiting.is_empty()
        });
        let is_used = !all.is_empty();
        drop(all);
        mem::drop(old);
        is_used
    }
}

/// Closes old connections until none is left or the pool is gone.
async fn sweep(pool: Weak<Pool>) {
    loop {
        sleep(IDLE_TIME_MAX / 4).await;
        if !pool.upgrade().is_some_and(|pool| pool.close_old()) {
            return;
        }
    }
}
