//! Connections that are refused: whom the limit of an address is for, what its clients are told, and what the log says.

use std::{net::IpAddr, sync::Mutex};

use tokio::sync::watch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::front::listener::{self, REFUSAL_LINES_PER_S_MAX};

/// What the agent logs on this thread, at the level that operators have.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn new() -> (Self, DefaultGuard) {
        let log = Self::default();
        let lines = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(lines))
    }

    /// Its lines about clients that were refused.
    fn refusals(&self) -> Vec<String> {
        let bytes = self.0.lock().expect("no panic").clone();
        let text = String::from_utf8(bytes).expect("text");
        let lines = text
            .lines()
            .filter(|line| line.contains("refused a client"));
        lines.map(str::to_owned).collect()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::io::Write::write(&mut *self.0.lock().expect("no panic"), bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Loopback has no limit: the listener is told that connections come from elsewhere.
#[tokio::test]
async fn an_address_with_too_many_connections_is_told_so() {
    let (log, _guard) = Log::new();
    let (service, _folder) = service_with(|config| {
        config.settings.limits.connections_per_address_max = 2;
    });
    let (_stop, stopping) = watch::channel(false);
    let mut server = listener::server(service, stopping);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let address = listener.local_addr().expect("address");
    let mut connect = async |peer: &str| {
        let client = TcpStream::connect(address).await.expect("connection");
        let (stream, _) = listener.accept().await.expect("accepted");
        let peer: IpAddr = peer.parse().expect("address");
        server.take(stream, (peer, 7).into());
        client
    };
    let is_healthy = async |stream: &mut TcpStream| {
        stream.write_all(HEALTH).await.expect("sent");
        read_some(stream).await.starts_with("HTTP/1.1 200")
    };
    let (mut first, mut second) = (connect("203.0.113.7").await, connect("203.0.113.7").await);
    assert!(is_healthy(&mut first).await && is_healthy(&mut second).await);

    let mut third = connect("203.0.113.7").await;
    third.write_all(HEALTH).await.expect("sent");
    third.shutdown().await.expect("half closed");
    let refused = Answer::parse(&read_to_end(&mut third).await);
    assert_eq!((refused.status, &*refused.problem()), (503, "overloaded"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("connection"), Some("close"));
    let told =
        "your address has 2 connections, as many as it may (limits.connections_per_address_max)";
    assert!(refused.text().contains(told), "{}", refused.text());
    let counted = "jiffy_connections_refused_total{reason=\"address\"} 1\n";
    let mut reader = connect("127.0.0.1").await;
    let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    reader.write_all(request).await.expect("sent");
    let metrics = Answer::parse(&read_to_end(&mut reader).await);
    assert!(metrics.text().contains(counted), "{}", metrics.text());
    // It is written before the client is told.
    let lines = log.refusals();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let has = |part: &str| lines[0].contains(part);
    assert!(
        has("peer=203.0.113.7") && has("address") && has(told),
        "{lines:?}"
    );

    // Neither another one nor this machine is concerned; and who closes one may open one.
    let mut others = vec![];
    for peer in ["203.0.113.8", "127.0.0.1", "127.0.0.1", "127.0.0.1"] {
        let mut other = connect(peer).await;
        assert!(is_healthy(&mut other).await, "{peer}");
        others.push(other);
    }
    drop(first);
    for _ in 0..200 {
        let mut again = connect("203.0.113.7").await;
        again.write_all(HEALTH).await.expect("sent");
        if read_some(&mut again).await.starts_with("HTTP/1.1 200") {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("the place stays taken");
}

/// Clients that are refused do not fill the log: in each second some have a line, and the others are counted.
#[tokio::test]
async fn refusals_have_so_many_lines_a_second() {
    const LINES_MAX: usize = 10;
    const _: () = assert!(LINES_MAX as u64 == REFUSAL_LINES_PER_S_MAX);
    const CLIENTS: usize = 3 * LINES_MAX;
    let (log, _guard) = Log::new();
    let server = Server::start().await;
    // Two seconds at most, if a second begins meanwhile.
    for _ in 0..CLIENTS {
        let answer = Answer::parse(&server.raw(b"GET / HTTP/2.0\r\n\r\n").await);
        assert_eq!(answer.status, 505);
    }
    // A line is written when its client has gone.
    let counted = async |clients: usize| {
        let line = format!("jiffy_problems_total{{type=\"version-not-supported\"}} {clients}\n");
        for _ in 0..200 {
            if server.get("/metrics").await.text().contains(&line) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("no {line}");
    };
    counted(CLIENTS).await;
    let lines = log.refusals();
    assert!(
        (LINES_MAX..=2 * LINES_MAX).contains(&lines.len()),
        "{lines:?}"
    );
    assert!(lines[0].contains("peer=127.0.0.1") && lines[0].contains("version-not-supported"));
    assert!(lines[0].contains("send one of these"), "{lines:?}");
    // A second that begins has its own lines.
    sleep(Duration::from_millis(1001)).await;
    server.raw(b"GET / HTTP/2.0\r\n\r\n").await;
    counted(CLIENTS + 1).await;
    assert_eq!(log.refusals().len(), lines.len() + 1);
}
