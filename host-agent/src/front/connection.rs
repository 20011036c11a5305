//! One connection, from its first byte to its end.
//!
//! ```text
//! hyper ◀── Wire ◀── socket          what it cannot parse is answered here, in the agent's words
//!   └── request ──▶ answer           while it is answered, the socket is looked at: is the client there still?
//! clock                              too slow a head: 408; idle for too long: closed
//! others                             a stop, a newcomer: ends where nobody loses anything
//! ```
//!
//! A client that sends no more after its request may still read (RFC 9112, 9.6): only TCP's reset says that it does not. A
//! closed socket resets when something comes, so the client is sent an interim response, which those that read
//! discard (RFC 9110, 15.2.1).

use std::{
    convert::Infallible,
    future::poll_fn,
    io::{self, IoSlice},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Version, header},
    response::Response,
};
use hyper::{
    Request,
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use jiffy_model::Outcome;
use tokio::{
    io::ReadBuf,
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};

use super::{
    admission::{Entry, Permit, Wish},
    refusal,
    wire::{Phase, Shared, Socket, Wire},
};
use crate::{config::Limits, http::problem::Problem};

/// hyper's own limit of a request's head lies this much above ours, bytes, so that a client gets our words.
const HEAD_MARGIN_BYTES: usize = 32 << 10;
/// Bytes of the shortest header: a name, a colon, an end of line.
const HEADER_BYTES_MIN: usize = 4;
/// What an interim response is: it may be sent at any time and means nothing to who did not wait for it.
const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// How often a connection whose client sends no more is looked at.
const GONE_CHECK: Duration = Duration::from_millis(50);
/// What a client gets to take a refusal, and what is read of it meanwhile, so that the kernel does not reset the connection.
const LINGER_TIME_MAX: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1 << 20;
/// Time for the head of a request on a connection of the reserve.
const RESERVED_HEADER_TIME_MAX: Duration = Duration::from_secs(2);

/// Limits of a connection.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    header_time_max: Duration,
    idle_time_max: Duration,
    header_bytes_max: u32,
    keep_alive: HeaderValue,
}

impl Rules {
    pub(super) fn new(limits: &Limits) -> Self {
        let idle_s = limits.idle_ms_max / 1000;
        Self {
            header_time_max: Duration::from_millis(limits.header_ms_max),
            idle_time_max: Duration::from_millis(limits.idle_ms_max),
            header_bytes_max: limits.header_bytes_max,
            // For clients that take care not to use a connection in the moment in which it is closed.
            keep_alive: HeaderValue::try_from(format!("timeout={idle_s}"))
                .expect("digits are a header's value"),
        }
    }

    fn http(&self, headers_max: Option<usize>) -> http1::Builder {
        let mut http = http1::Builder::new();
        http.half_close(true)
            .header_read_timeout(None)
            .max_buf_size(self.buffer_bytes_max());
        // Without it a hundred have room on the stack, and with it none: for those alone that send more.
        if let Some(headers_max) = headers_max {
            http.max_headers(headers_max);
        }
        http
    }

    fn buffer_bytes_max(&self) -> usize {
        self.header_bytes_max as usize + HEAD_MARGIN_BYTES
    }
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// Client or agent have closed it as they may.
    Closed,
    /// It broke off, or the client was gone before it had its answer.
    Broken,
    /// It was idle for too long.
    Idle,
    /// It was idle, and another one has its permit.
    MadeRoom,
    /// The client was told why.
    Refused(Outcome, String),
}

impl End {
    /// As it stands in labels.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::Idle => "idle",
            Self::MadeRoom => "made-room",
            Self::Refused(..) => "refused",
        }
    }

    /// All that [`End::as_str`] gives.
    pub(super) const LABELS: [&'static str; 5] =
        ["closed", "broken", "idle", "made-room", "refused"];
}

/// Serves a connection to its end.
pub(super) async fn serve<S: Socket, F>(
    socket: S,
    permit: &Permit,
    rules: &Rules,
    answer: impl Fn(Request<Body>) -> F + Clone,
) -> End
where
    F: Future<Output = Result<Response, Infallible>> + Send + 'static,
{
    let entry = &permit.entry;
    let socket = Arc::new(Shared::new(socket));
    let (mut before, mut headers_max, mut is_draining) = (Bytes::new(), None, false);
    loop {
        let wire = Wire::new(Arc::clone(&socket), Arc::clone(entry), before);
        let keep_alive = rules.keep_alive.clone();
        let (answer, entry_of_request) = (answer.clone(), Arc::clone(entry));
        let service = service_fn(move |request: Request<Incoming>| {
            entry_of_request
                .state
                .began(request.version() == Version::HTTP_11);
            let request_connection = request.headers().get(header::CONNECTION).cloned();
            let response = answer(request.map(Body::new));
            let entry = Arc::clone(&entry_of_request);
            let keep_alive = stays_open(request_connection.as_ref()).then(|| keep_alive.clone());
            async move {
                let mut response = response.await?;
                if let Some(keep_alive) = keep_alive
                    && stays_open(response.headers().get(header::CONNECTION))
                {
                    response.headers_mut().insert("keep-alive", keep_alive);
                }
                entry.state.answers();
                Ok::<_, Infallible>(response.map(|body| Answered { body, entry }))
            }
        });
        let http = rules.http(headers_max);
        let mut connection = http.serve_connection(TokioIo::new(wire), service);
        let mut driver = Driver {
            socket: &socket,
            permit,
            rules,
            armed_ms: 0,
            timer: None,
            watch: Watch::Open,
        };
        let stop = poll_fn(|context| {
            loop {
                if let Poll::Ready(done) = Pin::new(&mut connection).poll(context) {
                    return Poll::Ready(Stop::Done(done));
                }
                match driver.poll(context) {
                    Poll::Ready(Stop::Drain) => {
                        is_draining = true;
                        Pin::new(&mut connection).graceful_shutdown();
                    }
                    stop => return stop,
                }
            }
        });
        let stop = stop.await;
        let parts = connection.into_parts();
        let (wire, read) = (parts.io.into_inner(), parts.read_buf);
        let error = match stop {
            Stop::Done(Ok(())) => return End::Closed,
            Stop::Done(Err(error)) => error,
            Stop::Gone | Stop::Drain => return End::Broken,
            Stop::Idle if read.is_empty() => return End::Idle,
            // The beginning of a request that came in one piece with the one before: hyper has it, and waits for the rest.
            Stop::Idle => {
                let detail = format!(
                    "the rest of the request's headers did not come within {} ms (limits.idle_ms_max)",
                    rules.idle_time_max.as_millis()
                );
                return refuse(&socket, Problem::new(Outcome::RequestTimeout, detail)).await;
            }
            Stop::MakeRoom if read.is_empty() => return End::MadeRoom,
            Stop::MakeRoom => {
                let detail = "the request's headers come slowly, and others need the connection (limits.connections_max): try again later";
                refuse(&socket, Problem::new(Outcome::Overloaded, detail)).await;
                return End::MadeRoom;
            }
            Stop::Slow if read.is_empty() => return End::Closed,
            Stop::Slow => {
                let detail = format!(
                    "the request's headers did not come within {} ms (limits.header_ms_max)",
                    rules.header_time_max.as_millis()
                );
                return refuse(&socket, Problem::new(Outcome::RequestTimeout, detail)).await;
            }
        };
        // Too many for the stack, perhaps, and not too large: once more with room for all that fit.
        if error.is_parse_too_large()
            && headers_max.is_none()
            && read.len() < rules.buffer_bytes_max()
        {
            headers_max = Some(rules.buffer_bytes_max() / HEADER_BYTES_MIN);
            before = read;
            if is_draining {
                entry.ask_to_drain();
            }
            continue;
        }
        if wire.took_back() || error.is_parse() {
            let problem = refusal::of_parse(&error, &read, rules.header_bytes_max);
            return refuse(&socket, problem).await;
        }
        if error.is_incomplete_message() && !read.is_empty() {
            let detail = "the request broke off within its headers: send all of them";
            return refuse(&socket, Problem::new(Outcome::InvalidRequest, detail)).await;
        }
        tracing::debug!(%error, "a connection broke off");
        return End::Broken;
    }
}

/// Sends a refusal and ends the connection such that the client can read it.
pub(super) async fn refuse<S: Socket>(socket: &Shared<S>, problem: Problem) -> End {
    let (outcome, detail) = problem.summary();
    let bytes = problem.into_bytes();
    let said = async {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let written = poll_fn(|context| {
                let mut socket = socket.lock();
                Pin::new(&mut *socket).poll_write_vectored(context, &[IoSlice::new(rest)])
            });
            rest = &rest[written.await?..];
        }
        poll_fn(|context| Pin::new(&mut *socket.lock()).poll_shutdown(context)).await?;
        let mut buffer = [0; 4096];
        let mut read_bytes = 0;
        while read_bytes < LINGER_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut buffer);
            poll_fn(|context| Pin::new(&mut *socket.lock()).poll_read(context, &mut buffer))
                .await?;
            match buffer.filled().len() {
                0 => break,
                bytes => read_bytes += bytes,
            }
        }
        Ok::<_, io::Error>(())
    };
    // Who takes nothing has chosen so.
    let _ = timeout(LINGER_TIME_MAX, said).await;
    End::Refused(outcome, detail)
}

/// Why hyper is not polled any more.
enum Stop {
    Done(hyper::Result<()>),
    Drain,
    Gone,
    Slow,
    Idle,
    MakeRoom,
}

/// What is known of the client while its request is answered.
enum Watch {
    /// It may send more.
    Open,
    /// It sends no more. Whether it is gone is looked at when this is over.
    HalfClosed(Pin<Box<Sleep>>),
}

/// What is looked at beside hyper.
struct Driver<'a, S> {
    socket: &'a Shared<S>,
    permit: &'a Permit,
    rules: &'a Rules,
    /// When the timer fires, on the server's clock.
    armed_ms: u64,
    timer: Option<Pin<Box<Sleep>>>,
    watch: Watch,
}

impl<S: Socket> Driver<'_, S> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Stop> {
        let entry = &self.permit.entry;
        let (phase, since_ms) = entry.state.phase();
        match entry.take_wish(context.waker()) {
            Wish::Nothing => {}
            Wish::Drain => return Poll::Ready(Stop::Drain),
            Wish::MakeRoom if self.may_make_room(phase) => return Poll::Ready(Stop::MakeRoom),
            Wish::MakeRoom => self.permit.stays(),
        }
        if phase != Phase::Busy {
            self.watch = Watch::Open;
        } else if self.poll_client(context).is_ready() {
            return Poll::Ready(Stop::Gone);
        }
        self.poll_clock(context, phase, since_ms)
    }

    /// Whether nobody loses anything if the connection ends now.
    fn may_make_room(&self, phase: Phase) -> bool {
        self.permit.entry.is_slow() || (phase.is_quiet() && !self.socket.lock().has_unread())
    }

    /// Ready when the client is gone.
    fn poll_client(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Watch::Open = self.watch {
            let end = self.socket.lock().poll_end(context);
            match ready!(end) {
                Err(_) => return Poll::Ready(()),
                // The next request, or more of this one.
                Ok(false) => return Poll::Pending,
                Ok(true) => {
                    if self.permit.entry.state.takes_interim() {
                        let written = Pin::new(&mut *self.socket.lock())
                            .poll_write_vectored(context, &[IoSlice::new(INTERIM)]);
                        if let Poll::Ready(Err(_)) = written {
                            return Poll::Ready(());
                        }
                    }
                    self.watch = Watch::HalfClosed(Box::pin(sleep(GONE_CHECK)));
                }
            }
        }
        if let Watch::HalfClosed(timer) = &mut self.watch {
            while timer.as_mut().poll(context).is_ready() {
                if self.socket.lock().is_gone() {
                    return Poll::Ready(());
                }
                timer.as_mut().reset(Instant::now() + GONE_CHECK);
            }
        }
        Poll::Pending
    }

    /// Ready when the client has taken too long. The timer is set again only when it fires or a head begins, so that
    /// a request costs no timer.
    fn poll_clock(&mut self, context: &mut Context<'_>, phase: Phase, since_ms: u64) -> Poll<Stop> {
        let clock = self.permit.entry.state.clock();
        let limit = match phase {
            Phase::Busy => None,
            Phase::Idle => Some(self.rules.idle_time_max),
            Phase::New | Phase::Head if self.permit.entry.is_reserved => {
                Some(self.rules.header_time_max.min(RESERVED_HEADER_TIME_MAX))
            }
            Phase::New | Phase::Head => Some(self.rules.header_time_max),
        };
        let due_ms = limit.map(|limit| since_ms + millis(limit));
        loop {
            // Of a busy one nothing is due: it is looked at again some time.
            let now_ms = clock.now_ms();
            let wake_ms = match due_ms {
                Some(due_ms) if due_ms > now_ms => due_ms,
                // What has come already and is only not read yet is not lost.
                Some(_) if phase.is_quiet() && self.socket.lock().has_unread() => now_ms + 1,
                Some(_) if phase == Phase::Idle => return Poll::Ready(Stop::Idle),
                Some(_) => return Poll::Ready(Stop::Slow),
                None => now_ms + millis(self.rules.idle_time_max),
            };
            match &mut self.timer {
                Some(timer) => {
                    if wake_ms < self.armed_ms {
                        timer.as_mut().reset(clock.at(wake_ms));
                        self.armed_ms = wake_ms;
                    }
                    ready!(timer.as_mut().poll(context));
                    self.armed_ms = u64::MAX;
                }
                None => {
                    self.timer = Some(Box::pin(sleep_until(clock.at(wake_ms))));
                    self.armed_ms = wake_ms;
                }
            }
        }
    }
}

/// Whether a message with this `Connection` leaves its connection open.
fn stays_open(connection: Option<&HeaderValue>) -> bool {
    !connection.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A response's body; where it ends, the connection waits for the next request.
struct Answered {
    body: Body,
    entry: Arc<Entry>,
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.entry.state.enter(Phase::Idle);
    }
}

/// Serves a connection of which nothing is known but its bytes: for tests and fuzzers, which have no port.
#[doc(hidden)]
pub async fn serve_alone<S: Socket, F>(
    socket: S,
    limits: &Limits,
    answer: impl Fn(Request<Body>) -> F + Clone,
) -> &'static str
where
    F: Future<Output = Result<Response, Infallible>> + Send + 'static,
{
    let admission = super::admission::Admission::new();
    let settings = crate::config::FileConfig {
        limits: limits.clone(),
        ..Default::default()
    };
    let Ok(config) = crate::config::Config::new(settings) else {
        return "no-config";
    };
    let loopback = IpAddr::from([127, 0, 0, 1]);
    match admission.admit(loopback, &config) {
        Ok(permit) => serve(socket, &permit, &Rules::new(limits), answer)
            .await
            .as_str(),
        Err(refused) => refused.as_str(),
    }
}
