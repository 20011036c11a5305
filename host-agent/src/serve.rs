//! Connections: accepting, timeouts, limits, and the end of them.
//!
//! ```text
//! accept ─▶ task ─▶ hyper (HTTP/1.1) ─▶ Front::answer
//!    └── waits while `connections_max` are open
//! shutdown ─▶ no more accepts ─▶ requests under way end ─▶ `drain_ms_max` ─▶ what is left is cut off
//! ```
//!
//! A client may be slow in four ways, and each has its end: with its headers or between two requests
//! (`header_ms_max`: the connection is closed), with its body (`body_ms_max`: 408), and with taking the response
//! ([`UNSENT_TIME_MAX`]: the kernel drops the connection). One that is gone without a word is found by
//! [`SILENT_TIME_MAX`].

use std::{convert::Infallible, future::Future, io, pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle, set_tcp_user_timeout};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use crate::{api::Front, config::Config, service::Service, vm::Vms};

/// What a client may take to accept a piece of a response before its connection is dropped.
pub const UNSENT_TIME_MAX: Duration = Duration::from_secs(60);
/// A client that has been silent for so long, because it waits for a function or follows a log, is asked whether it is
/// still there.
pub const SILENT_TIME_MAX: Duration = Duration::from_secs(60);
/// hyper's own limit of a request's head lies this much above ours, bytes, so that a client gets our words
/// and not an empty 431.
const HEAD_MARGIN_BYTES: usize = 32 << 10;
/// What to wait after an accept that failed for want of descriptors or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

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
    let connections_max = service.config().limits.connections_max;
    let room = Arc::new(Semaphore::new(connections_max as usize));
    let front = Front::new(Arc::clone(&service), stopping);
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accepted => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        prepare(&stream);
        let front = front.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let front = front.clone();
            async move { Ok::<_, Infallible>(front.answer(request.map(Body::new)).await) }
        });
        let connection = http(&service.config()).serve_connection(TokioIo::new(stream), answer);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke off");
            }
            drop(place);
        });
    }
    drop(listener);
    stop.send_replace(true);
    let drain_time_max = Duration::from_millis(service.config().limits.drain_ms_max);
    if timeout(drain_time_max, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way when the time to drain was over");
    }
}

fn http(config: &Config) -> http1::Builder {
    let limits = &config.limits;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.header_ms_max))
        .max_buf_size(limits.header_bytes_max as usize + HEAD_MARGIN_BYTES);
    http
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

#[cfg(test)]
pub(crate) mod tests;
