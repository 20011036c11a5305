//! A server over a loopback port with VMs in memory, and what slow, rude and many clients get.

mod clients;
mod refusals;
mod semantics;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use jiffy_capabilities::Invoker;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::sleep,
};

use super::*;
use crate::{
    config::{Config, FileConfig},
    pool::PoolConfig,
    service::{HostIdentity, Parts, Service, open_registry},
    vm::fake::FakeVms,
};

/// The agent with VMs in memory.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    /// A header that each request has, with the end of its line.
    authorization: String,
    _folder: TempDir,
}

/// A service with VMs in memory, and its folder.
fn service_with(edit: impl FnOnce(&mut Config)) -> (Arc<Service<FakeVms>>, TempDir) {
    let folder = tempfile::tempdir().expect("folder");
    let mut config = Config::new(FileConfig {
        data_dir: folder.path().join("data"),
        ..FileConfig::default()
    })
    .expect("valid");
    edit(&mut config);
    let service = Service::start(Parts {
        vms: Arc::new(FakeVms::new()),
        pool: PoolConfig {
            memory_bytes_max: 1 << 40,
            queue_len_max: 1,
            ..PoolConfig::default()
        },
        registry: open_registry(&config).expect("registry"),
        host: HostIdentity::named("host"),
        kv: Arc::new(
            jiffy_kv::Kv::in_memory(jiffy_kv::Limits::default(), jiffy_kv::system_clock())
                .expect("memory"),
        ),
        queues: Arc::new(
            jiffy_queue::FileQueues::in_memory(
                jiffy_queue::Limits::default(),
                jiffy_kv::system_clock(),
            )
            .expect("memory"),
        ),
        secrets: Arc::new(jiffy_secrets::Secrets::in_memory().expect("memory")),
        invoker: Invoker::default(),
        symbolizer: None,
        config,
    });
    (service.expect("service"), folder)
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// One with a token, which each request has: it shows the values of environments.
    pub(crate) async fn start_trusted() -> Self {
        let token = "0123456789abcdef0123456789abcdef";
        let mut server = Self::with(|config| config.token = Some(token.to_owned().into())).await;
        server.authorization = format!("authorization: Bearer {token}\r\n");
        server
    }

    pub(crate) async fn with(edit: impl FnOnce(&mut Config)) -> Self {
        let (service, folder) = service_with(edit);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let (stop, stopped) = oneshot::channel();
        let serving = serve_on(service, listener, async {
            let _ = stopped.await;
        });
        Self {
            address,
            stop: Some(stop),
            task: tokio::spawn(serving),
            authorization: String::new(),
            _folder: folder,
        }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connection")
    }

    /// Sends bytes as they are and reads until the server closes the connection.
    pub(crate) async fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        stream.write_all(request).await.expect("sent");
        read_to_end(&mut stream).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request = format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n{}",
            body.len(),
            self.authorization
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let request = [request.as_bytes(), body].concat();
        Answer::parse(&self.raw(&request).await)
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], b"").await
    }

    pub(crate) async fn json(&self, method: &str, target: &str, document: Value) -> Answer {
        let headers = [("content-type", "application/json")];
        let body = document.to_string();
        self.send(method, target, &headers, body.as_bytes()).await
    }

    /// Ends the server and waits for that.
    pub(crate) async fn stop(mut self) {
        let _ = self.stop.take().expect("once").send(());
        self.task.await.expect("the server ends");
    }
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = vec![];
    // A connection that is reset has said what it had to.
    let _ = stream.read_to_end(&mut read).await;
    read
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = bytes.split_at(end.expect("a response"));
        let head = String::from_utf8(head.to_vec()).expect("text");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let headers = lines.filter_map(|line| line.split_once(": "));
        Self {
            status: status.expect("status").parse().expect("number"),
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: body[4..].to_vec(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn document(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(&self.body));
        })
    }

    /// Checks that this is a problem and returns its type without the prefix.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let document = self.document();
        assert_eq!(document["status"], self.status);
        let id = document["request_id"].as_str().expect("request id");
        assert_eq!(self.header("jiffy-request-id"), Some(id));
        let kind = document["type"].as_str().expect("type");
        kind.strip_prefix("urn:jiffy:").expect("prefix").to_owned()
    }
}

const HEALTH: &[u8] = b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Reads one response of a connection that stays open.
async fn read_some(stream: &mut TcpStream) -> String {
    let mut buffer = vec![0; 4096];
    let read = stream.read(&mut buffer).await.expect("read");
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(HEALTH).await.expect("sent");
        assert!(read_some(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn slow_headers_are_told_so_and_silent_connections_are_closed() {
    let server = Server::with(|config| config.settings.limits.header_ms_max = 100).await;
    let began = Instant::now();
    let answer = Answer::parse(&server.raw(b"GET /v1/health HT").await);
    assert_eq!(
        (answer.status, &*answer.problem()),
        (408, "request-timeout")
    );
    assert!(server.raw(b"").await.is_empty());
    let took = began.elapsed();
    assert!(Duration::from_millis(200) <= took && took < Duration::from_secs(10));
}

#[tokio::test]
async fn a_slow_body_gets_408() {
    let began = Instant::now();
    let server = Server::with(|config| config.settings.limits.body_ms_max = 100).await;
    for (method, target) in [
        ("POST", "/v1/functions/f/invoke"),
        ("POST", "/v1/images"),
        ("PUT", "/v1/functions/f"),
    ] {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n123"
        );
        let answer = Answer::parse(&server.raw(request.as_bytes()).await);
        assert_eq!(
            (answer.status, &*answer.problem()),
            (408, "request-timeout")
        );
    }
    // What never comes is waited for as long again, before the connection is closed.
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn an_idle_connection_makes_room_for_another() {
    let server = Server::with(|config| config.settings.limits.connections_max = 1).await;
    let mut first = server.connect().await;
    first.write_all(HEALTH).await.expect("sent");
    assert!(read_some(&mut first).await.starts_with("HTTP/1.1 200"));
    let mut second = server.connect().await;
    second.write_all(HEALTH).await.expect("sent");
    assert!(read_some(&mut second).await.starts_with("HTTP/1.1 200"));
    assert!(read_to_end(&mut first).await.is_empty());
}

#[tokio::test]
async fn a_request_names_its_host_once() {
    let server = Server::start().await;
    for (status, head) in [
        (200, "HTTP/1.1\r\nhost: localhost:7070"),
        (421, "HTTP/1.1\r\nhost:"),
        (200, "HTTP/1.0"),
        (400, "HTTP/1.1"),
        (400, "HTTP/1.1\r\nhost: localhost\r\nhost: localhost"),
        (400, "HTTP/1.0\r\nhost: localhost\r\nhost: b"),
        (400, "HTTP/1.1\r\nhost: a b"),
        (400, "HTTP/1.1\r\nhost: a@localhost"),
    ] {
        let request = format!("GET /v1/health {head}\r\nconnection: close\r\n\r\n");
        let answer = Answer::parse(&server.raw(request.as_bytes()).await);
        assert_eq!(answer.status, status, "{head}");
    }
}

#[tokio::test]
async fn heads_are_limited() {
    let server = Server::with(|config| config.settings.limits.header_bytes_max = 8192).await;
    let long = format!("/v1/functions?after={}", "a".repeat(9000));
    let answer = server.get(&long).await;
    assert_eq!(
        (answer.status, &*answer.problem()),
        (414, "target-too-long")
    );
    let value = "a".repeat(9000);
    let headers = [("x-long", &*value)];
    let answer = server.send("GET", "/v1/health", &headers, b"").await;
    assert_eq!(
        (answer.status, &*answer.problem()),
        (431, "headers-too-large")
    );
    // Far beyond the limit it is refused before all of it was read.
    let value = "a".repeat(100_000);
    let request = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {value}\r\n\r\n");
    let answer = Answer::parse(&server.raw(request.as_bytes()).await);
    assert_eq!(
        (answer.status, &*answer.problem()),
        (431, "headers-too-large")
    );
}

#[tokio::test]
async fn a_stop_lets_requests_under_way_end() {
    let server = Server::start().await;
    crate::native::tests::deploy(&server, "slow").await;
    let mut idle = server.connect().await;
    let mut busy = server.connect().await;
    let request =
        b"POST /v1/functions/slow/invoke HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n!sleep 300";
    busy.write_all(request).await.expect("sent");
    sleep(Duration::from_millis(100)).await;
    let address = server.address;
    let stopping = tokio::spawn(server.stop());
    assert_eq!(Answer::parse(&read_to_end(&mut busy).await).status, 200);
    stopping.await.expect("stopped");
    assert!(read_to_end(&mut idle).await.is_empty());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_stop_cuts_off_what_does_not_end() {
    let server = Server::with(|config| config.settings.limits.drain_ms_max = 100).await;
    crate::native::tests::deploy(&server, "slow").await;
    let mut busy = server.connect().await;
    let request =
        b"POST /v1/functions/slow/invoke HTTP/1.1\r\nhost: localhost\r\ncontent-length: 12\r\n\r\n!sleep 60000";
    busy.write_all(request).await.expect("sent");
    sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(10));
}
