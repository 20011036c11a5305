//! Connections: accepting, limits, and the end of them.
//!
//! ```text
//! accept ─▶ admission ─▶ task ─▶ hyper (connection, wire) ─▶ stack
//!    └── none: 503
//! shutdown ─▶ no more accepts ─▶ requests under way end ─▶ `drain_ms_max` ─▶ what is left is cut off
//! ```
//!
//! A client may be slow in five ways, and each has its end: with its headers (`header_ms_max`: 408), between two requests
//! (`idle_ms_max`: the connection is closed), with its body (`body_ms_max`: 408), and with taking the response
//! ([`UNSENT_TIME_MAX`]: the kernel drops the connection). One that is gone without a word is found by
//! [`SILENT_TIME_MAX`].

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use jiffy_model::Outcome;

use super::{
    Answers,
    admission::{Admission, Refused},
    connection::{self, End, Rules},
    stack,
    wire::{Clock, Shared},
};
use crate::{
    auth::Caller,
    config::Config,
    http::{backend::Backend, problem::Problem},
    metrics::Metrics,
    service::Service,
    vm::Vms,
};
use axum::extract::Request;
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle, set_tcp_user_timeout};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

/// What a client may take to accept a piece of a response before its connection is dropped.
pub const UNSENT_TIME_MAX: Duration = Duration::from_secs(60);
/// A client that has been silent for so long, because it waits for a function or follows a log, is asked whether it is
/// still there.
pub const SILENT_TIME_MAX: Duration = Duration::from_secs(60);
/// What to wait after an accept that failed for want of descriptors or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Refused connections that are told so at once; more are closed without a word.
const REFUSED_TOLD_MAX: usize = 64;
/// Lines about clients that were refused, in a second; more are only counted.
pub(super) const REFUSAL_LINES_PER_S_MAX: u64 = 10;

/// Why the agent serves nothing.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ServeError {
    #[error("cannot listen on {address}: is another jiffyd running, and may you use this port?")]
    Listen {
        address: std::net::SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// Serves `service` where `config` says until `shutdown` is done; then as in [`serve_on`].
pub async fn run<V: Vms>(
    service: Arc<Service<V>>,
    config: &Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let address = config.listen;
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| ServeError::Listen { address, source })?;
    // With port 0 the kernel has chosen one.
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, "listening");
    serve_on(service, listener, shutdown).await;
    Ok(())
}

/// Serves `service` on `listener` until `shutdown` is done. Then accepts no more, lets requests under way end,
/// and returns when they have or when `drain_ms_max` is over.
pub async fn serve_on<V: Vms>(
    service: Arc<Service<V>>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopping) = watch::channel(false);
    let mut server = server(service, stopping);
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => server.take(stream, peer),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                server.admission.spare_descriptors();
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    stop.send_replace(true);
    server.admission.drain();
    let drain_time_max = Duration::from_millis(server.service.config().limits.drain_ms_max);
    let drained = async { while server.tasks.join_next().await.is_some() {} };
    if timeout(drain_time_max, drained).await.is_err() {
        tracing::warn!("requests were still under way when the time to drain was over");
    }
}

/// One that serves `service` until `stopping` says so.
pub(super) fn server<V: Vms>(
    service: Arc<Service<V>>,
    stopping: watch::Receiver<bool>,
) -> Server<V, impl Answers> {
    let metrics = service.metrics();
    metrics.expect_connections(&End::LABELS, &Refused::LABELS);
    Server {
        stack: stack(Backend::new(Arc::clone(&service), stopping)),
        admission: Admission::new(),
        tasks: JoinSet::new(),
        told: Arc::new(Semaphore::new(REFUSED_TOLD_MAX)),
        lines: Arc::default(),
        service,
    }
}

/// What accepts connections.
pub(super) struct Server<V: Vms, S> {
    service: Arc<Service<V>>,
    stack: S,
    admission: Arc<Admission>,
    tasks: JoinSet<()>,
    told: Arc<Semaphore>,
    lines: Arc<Lines>,
}

impl<V: Vms, S: Answers> Server<V, S> {
    /// Serves a connection, or refuses it.
    pub(super) fn take(&mut self, stream: TcpStream, peer: SocketAddr) {
        while self.tasks.try_join_next().is_some() {}
        let config = self.service.config();
        prepare(&stream);
        let permit = match self.admission.admit(peer.ip(), &config) {
            Ok(permit) => permit,
            Err(refused) => return self.refuse(stream, peer, refused, &config),
        };
        let metrics = Arc::clone(self.service.metrics());
        let (lines, clock) = (Arc::clone(&self.lines), self.admission.clock());
        let rules = Rules::new(&config.limits);
        let caller = Caller::new(peer.ip(), permit.entry.is_reserved);
        let stack = self.stack.clone();
        let answer = move |mut request: Request| {
            request.extensions_mut().insert(caller);
            stack.clone().call(request)
        };
        metrics.connection_opened();
        let open = Open(metrics);
        self.tasks.spawn(async move {
            let end = connection::serve(stream, &permit, &rules, answer).await;
            drop(permit);
            open.0.connection_ended(end.as_str());
            if let End::Refused(outcome, detail) = end {
                open.0.problem(outcome);
                lines.refused(clock, peer.ip(), outcome.name(), &detail);
            }
        });
    }

    fn refuse(&mut self, stream: TcpStream, peer: SocketAddr, refused: Refused, config: &Config) {
        let metrics = self.service.metrics();
        metrics.connection_refused(refused.as_str());
        let limits = &config.limits;
        let detail = match refused {
            Refused::Full => format!(
                "all {} connections are in use (limits.connections_max): try again later",
                limits.connections_max
            ),
            Refused::Address => format!(
                "your address has {} connections, as many as it may (limits.connections_per_address_max): close some",
                limits.connections_per_address_max
            ),
        };
        self.lines
            .refused(self.admission.clock(), peer.ip(), refused.as_str(), &detail);
        let Ok(told) = Arc::clone(&self.told).try_acquire_owned() else {
            return;
        };
        self.tasks.spawn(async move {
            connection::refuse(
                &Shared::new(stream),
                Problem::new(Outcome::Overloaded, detail),
            )
            .await;
            drop(told);
        });
    }
}

/// A connection that is counted until it is dropped.
struct Open(Arc<Metrics>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

/// Keeps clients from filling the log.
#[derive(Debug)]
struct Lines {
    /// The second in which lines are counted, and above it how many there were before the last.
    counted: AtomicU64,
}

impl Default for Lines {
    fn default() -> Self {
        // Of a second that does not come.
        Self {
            counted: AtomicU64::new(u64::from(u32::MAX)),
        }
    }
}

impl Lines {
    fn refused(&self, clock: Clock, peer: IpAddr, kind: &str, detail: &str) {
        let second = (clock.now_ms() / 1000) & u64::from(u32::MAX);
        let next = |word: u64| match word & u64::from(u32::MAX) == second {
            true => word + (1 << 32),
            false => second,
        };
        let before = self
            .counted
            .fetch_update(Relaxed, Relaxed, |word| Some(next(word)));
        let lines = before.map_or(0, |word| next(word) >> 32);
        match lines < REFUSAL_LINES_PER_S_MAX {
            true => tracing::info!(%peer, kind, detail, "refused a client"),
            false => tracing::debug!(%peer, kind, detail, "refused a client"),
        }
    }
}

/// Whether an accept failed only because its client is gone again.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

/// Sends small responses at once, and gives up on clients that take nothing or are gone without a word.
fn prepare(stream: &TcpStream) {
    let unsent_ms = u32::try_from(UNSENT_TIME_MAX.as_millis()).unwrap_or(u32::MAX);
    // These can only fail on a connection that is gone, which its task will find.
    let _ = stream.set_nodelay(true);
    let _ = set_tcp_user_timeout(stream, unsent_ms);
    let _ = set_socket_keepalive(stream, true);
    let _ = set_tcp_keepidle(stream, SILENT_TIME_MAX);
}
