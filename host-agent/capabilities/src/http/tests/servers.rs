//! What servers do. Each is on loopback, under the name `server.example`.

use std::{
    pin::Pin,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::*;

pub(super) const NAME: &str = "server.example";

/// A server that answers the n-th connection so; it counts them.
struct Server {
    port: u16,
    connections: Arc<AtomicU32>,
}

/// What a server does with a connection.
type Act = fn(TcpStream, u32) -> Pin<Box<dyn Future<Output = ()> + Send>>;

impl Server {
    async fn start(act: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let connections = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, SeqCst);
                tokio::spawn(act(stream, number));
            }
        });
        Self { port, connections }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{NAME}:{}{path}", self.port)
    }

    fn client(&self) -> Client {
        let names = Names::new(&[(NAME, &[&["127.0.0.1"]])]);
        let allow = format!("http://{NAME}:{}", self.port);
        client(&[&allow], egress(&["127.0.0.1"], None), names)
    }

    fn connections(&self) -> u32 {
        self.connections.load(SeqCst)
    }
}

/// Reads a request's head; `None` if the connection ends first.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// Answers every request of a connection with these bytes.
async fn answer_all(mut stream: TcpStream, bytes: &str) {
    while head(&mut stream).await.is_some() {
        stream.write_all(bytes.as_bytes()).await.expect("written");
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_connection_is_used_again_and_a_closed_one_costs_nothing() {
    let kept = Server::start(|stream, _| Box::pin(answer_all(stream, OK))).await;
    let client = kept.client();
    for _ in 0..5 {
        let answer = client
            .answer(request("GET", &kept.url("/"), &[]), None)
            .await;
        assert_eq!(answer.expect("an answer").body(), b"ok");
    }
    assert_eq!(kept.connections(), 1);
    // Another version of the same function, or another function, has its own.
    let other = kept.client();
    other
        .answer(request("GET", &kept.url("/"), &[]), None)
        .await
        .expect("an answer");
    assert_eq!(kept.connections(), 2);
    // This one closes without a word after each answer.
    let closes = Server::start(|mut stream, _| {
        Box::pin(async move {
            head(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.expect("written");
        })
    })
    .await;
    let client = closes.client();
    for _ in 0..5 {
        let answer = client
            .answer(request("POST", &closes.url("/"), &[]), None)
            .await;
        assert_eq!(answer.expect("an answer").body(), b"ok");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(closes.connections(), 5);
}

#[tokio::test]
async fn several_calls_at_once_have_a_connection_each() {
    let server = Server::start(|stream, _| Box::pin(answer_all(stream, OK))).await;
    let client = server.client();
    let url = server.url("/");
    for _ in 0..3 {
        let calls = (0..16).map(|_| client.answer(request("GET", &url, &[]), None));
        for answer in futures_util::future::join_all(calls).await {
            answer.expect("an answer");
        }
    }
    assert!(server.connections() <= 16, "{}", server.connections());
}

/// What is sent is what was asked for, and no more than that.
#[tokio::test]
async fn a_request_is_sent_as_it_was_asked_for() {
    let server = Server::start(|mut stream, _| {
        Box::pin(async move {
            let head = head(&mut stream).await.expect("a request");
            stream.read_exact(&mut [0; 4]).await.expect("its body");
            let answer = format!("HTTP/1.1 203 Fine\r\nconnection: close, x-mine\r\nx-mine: 1\r\nx-more: 2\r\nx-more: 3\r\n\r\n{head}");
            stream.write_all(answer.as_bytes()).await.expect("written");
        })
    })
    .await;
    let client = server.client();
    let call = Call {
        body: b"body".to_vec(),
        ..request(
            "PUT",
            &server.url("?a=%20b"),
            &[("x-a", b"1"), ("x-a", b"\xff")],
        )
    };
    let answer = client
        .answer(call, Some("00-1-2-3"))
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 203);
    let seen = String::from_utf8_lossy(answer.body()).into_owned();
    let host = format!("host: {NAME}:{}\r\n", server.port);
    for line in [
        "PUT /?a=%20b HTTP/1.1\r\n",
        &host,
        "x-a: 1\r\n",
        "traceparent: 00-1-2-3\r\n",
        "content-length: 4\r\n",
    ] {
        assert!(seen.contains(line), "{line}: {seen}");
    }
    assert_eq!(seen.lines().count(), 7, "{seen}");
    let reply = to_reply(answer).expect("a reply");
    let fields: Vec<_> = jiffy_abi::frame::Fields::new(&reply.fields)
        .map(|field| field.expect("a field"))
        .collect();
    let expected = [
        (Tag::Status, &203_u16.to_le_bytes()[..]),
        (Tag::HeaderName, b"x-more"),
        (Tag::HeaderValue, b"2"),
        (Tag::HeaderName, b"x-more"),
        (Tag::HeaderValue, b"3"),
    ];
    assert_eq!(fields, expected);
}

/// Where it leads is the function's to ask for, and then it is checked.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Server::start(|stream, _| {
        let redirect = "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest/\r\ncontent-length: 0\r\n\r\n";
        Box::pin(answer_all(stream, redirect))
    })
    .await;
    let client = server.client();
    let answer = client
        .answer(request("GET", &server.url("/"), &[]), None)
        .await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 302);
    let location = answer.headers()["location"]
        .to_str()
        .expect("text")
        .to_owned();
    let failure = client.answer(request("GET", &location, &[]), None).await;
    assert_eq!(failure.expect_err("denied").kind, CallErrorKind::Denied);
    // What was not granted is not counted, or a function could name the counters.
    assert_eq!(client.counted(), [("3xx", 1)]);
}

/// What breaks, and whether it may have been done.
#[tokio::test]
async fn every_fault_has_its_error() {
    const FAILED: CallErrorKind = CallErrorKind::Failed;
    let cases: [(&str, CallErrorKind, Sent, &str); 9] = [
        ("", FAILED, Sent::Maybe, "no response"),
        (
            "SSH-2.0-OpenSSH_9.2\r\n",
            FAILED,
            Sent::Maybe,
            "no response",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-le",
            FAILED,
            Sent::Maybe,
            "no response",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
            FAILED,
            Sent::Yes,
            "ends too early",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            FAILED,
            Sent::Maybe,
            "no response",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
            FAILED,
            Sent::Yes,
            "ends too early",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            FAILED,
            Sent::Yes,
            "ends too early",
        ),
        (
            "HTTP/1.1 99 Low\r\n\r\n",
            FAILED,
            Sent::Maybe,
            "no response",
        ),
        (
            "HTTP/1.1 200 OK\r\nco ntent: a\r\n\r\n",
            FAILED,
            Sent::Maybe,
            "no response",
        ),
    ];
    for (bytes, kind, sent, word) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            head(&mut stream).await;
            stream.write_all(bytes.as_bytes()).await.expect("written");
        });
        let server = Server {
            port,
            connections: Arc::default(),
        };
        let answer = server
            .client()
            .answer(request("GET", &server.url("/"), &[]), None)
            .await;
        let failure = answer.expect_err(bytes);
        assert_eq!(
            (failure.kind, failure.sent),
            (kind, sent),
            "{bytes:?}: {}",
            failure.message
        );
        assert!(
            failure.message.contains(word),
            "{bytes:?}: {}",
            failure.message
        );
        serving.await.expect("served");
    }
    // Nobody listens there. A port that was free a moment ago may be another test's by now.
    let nobody = Server {
        port: 1,
        connections: Arc::default(),
    };
    let failure = nobody
        .client()
        .answer(request("GET", &nobody.url("/"), &[]), None)
        .await;
    let failure = failure.expect_err("nobody listens");
    assert_eq!(
        (failure.kind, failure.sent),
        (FAILED, Sent::No),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn what_is_too_large_is_not_kept() {
    let server = Server::start(|mut stream, number| {
        Box::pin(async move {
            head(&mut stream).await;
            if number == 0 {
                let many = format!("x: {}\r\n", "a".repeat(1000)).repeat(70);
                let answer = format!("HTTP/1.1 200 OK\r\n{many}content-length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
                return;
            }
            // It says nothing of its length, and does not end.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'a'; 1 << 16]).await.is_ok() {}
        })
    })
    .await;
    let client = server.client();
    for word in ["bytes of headers", "more than 16777216 bytes"] {
        let answer = client
            .answer(request("GET", &server.url("/"), &[]), None)
            .await;
        let failure = answer.and_then(to_reply).expect_err(word);
        assert_eq!(
            (failure.kind, failure.sent),
            (CallErrorKind::Limit, Sent::Yes)
        );
        assert!(failure.message.contains(word), "{}", failure.message);
    }
}

/// What all share has an end, which is an error and no wait; and no function has all of it.
#[tokio::test]
async fn what_is_shared_is_limited() {
    const PART: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no";
    let server = Server::start(|stream, _| Box::pin(answer_all(stream, OK))).await;
    let slow = Server::start(|stream, _| Box::pin(answer_all(stream, PART))).await;
    let client = server.client();
    let ask = async || {
        let answer = client
            .answer(request("GET", &server.url("/"), &[]), None)
            .await;
        answer.map_err(|failure| (failure.kind, failure.sent, failure.message))
    };
    let check = |result: Result<Answer, (CallErrorKind, Sent, String)>, sent, word: &str| {
        let (kind, was_sent, message) = result.expect_err(word);
        assert_eq!((kind, was_sent), (CallErrorKind::Limit, sent), "{message}");
        assert!(message.contains(word), "{message}");
    };
    let places = &client.connector.places;
    let all = places.try_acquire_many(32).expect("all are free");
    check(ask().await, Sent::No, "connections");
    drop(all);
    let own = client.places.try_acquire_many(16).expect("all are free");
    check(ask().await, Sent::No, "this function has");
    drop(own);
    ask().await.expect("an answer");
    assert_eq!(places.available_permits(), 31, "one is kept");
    let own = client
        .room
        .own
        .try_acquire_many(64 << 20)
        .expect("all is free");
    check(ask().await, Sent::Yes, "the responses to this function");
    assert_eq!(client.room.all.available_permits(), 32 << 20);
    drop(own);
    let all = client
        .room
        .all
        .try_acquire_many(32 << 20)
        .expect("all is free");
    check(ask().await, Sent::Yes, "the responses to all functions");
    drop(all);
    ask().await.expect("an answer");
    // What a call holds is free again when it is dropped.
    let client = slow.client();
    let call = client.answer(request("GET", &slow.url("/"), &[]), None);
    assert!(timeout(Duration::from_millis(100), call).await.is_err());
    assert_eq!(client.connector.places.available_permits(), 32);
    assert_eq!(client.room.own.available_permits(), 64 << 20);
}

/// A call that nobody waits for any more takes its connection with it.
#[tokio::test]
async fn a_call_that_is_dropped_closes_its_connection() {
    let (closed, mut is_closed) = tokio::sync::mpsc::channel(1);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
            .await
            .expect("written");
        // One byte at a time, and never all.
        while stream.write_all(b"a").await.is_ok()
            && stream.read(&mut [0]).await.is_ok_and(|read| read > 0)
        {}
        closed.send(()).await.expect("somebody waits");
    });
    let server = Server {
        port,
        connections: Arc::default(),
    };
    let client = server.client();
    let call = client.answer(request("GET", &server.url("/"), &[]), None);
    assert!(timeout(Duration::from_millis(100), call).await.is_err());
    assert_eq!(client.counted(), [("aborted", 1)]);
    timeout(Duration::from_secs(10), is_closed.recv())
        .await
        .expect("closed")
        .expect("told");
}

/// An authority of our own, and a certificate of it for `server.example`.
pub(super) struct Certificates {
    pub(super) folder: tempfile::TempDir,
    server: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Certificates {
    pub(super) fn new() -> Self {
        let mut authority = CertificateParams::new(vec![]).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().expect("a key");
        let certificate = authority
            .self_signed(&authority_key)
            .expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("written");
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new(vec![NAME.to_owned()]).expect("parameters");
        let server = server.signed_by(&key, &issuer).expect("a certificate");
        Self {
            folder,
            server: server.der().clone(),
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }

    pub(super) fn acceptor(&self, protocols: &[&[u8]]) -> TlsAcceptor {
        let builder =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .expect("versions");
        let mut config = builder
            .with_no_client_auth()
            .with_single_cert(vec![self.server.clone()], self.key.clone_key())
            .expect("a certificate");
        config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    async fn serve(&self, protocols: &[&[u8]]) -> u16 {
        let acceptor = self.acceptor(protocols);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    serve_http(stream).await;
                });
            }
        });
        port
    }
}

/// Tells the version and the authority of each request.
async fn serve_http(stream: tokio_rustls::server::TlsStream<TcpStream>) {
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = hyper::service::service_fn(
        |request: hyper::Request<hyper::body::Incoming>| async move {
            let host = request
                .headers()
                .get("host")
                .map(|host| host.to_str().unwrap_or("?").to_owned());
            let authority = request.uri().authority().map(ToString::to_string);
            let told = format!(
                "{:?} {}",
                request.version(),
                authority.or(host).unwrap_or_default()
            );
            Ok::<_, std::convert::Infallible>(hyper::Response::new(told))
        },
    );
    let io = hyper_util::rt::TokioIo::new(stream);
    if is_http2 {
        let executor = hyper_util::rt::TokioExecutor::new();
        let _ = hyper::server::conn::http2::Builder::new(executor)
            .serve_connection(io, service)
            .await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(io, service)
            .await;
    }
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_certificate_names() {
    let certificates = Certificates::new();
    let ca_file = certificates.folder.path().join("ca.pem");
    for (protocols, version) in [
        (&[&b"h2"[..], b"http/1.1"][..], "HTTP/2.0"),
        (&[b"http/1.1"], "HTTP/1.1"),
        (&[], "HTTP/1.1"),
    ] {
        let port = certificates.serve(protocols).await;
        let names = || {
            Names::new(&[
                (NAME, &[&["127.0.0.1"]]),
                ("other.example", &[&["127.0.0.1"]]),
            ])
        };
        let allow = [
            "https://server.example",
            "https://other.example",
            "https://127.0.0.1",
        ];
        let allow = allow.map(|origin| format!("{origin}:{port}"));
        let allow: Vec<_> = allow.iter().map(String::as_str).collect();
        let trusting = client(&allow, egress(&["127.0.0.1"], Some(&ca_file)), names());
        let url = format!("https://{NAME}:{port}/");
        // Several at once, which HTTP/2 has on one connection.
        for _ in 0..3 {
            let calls = (0..8).map(|_| trusting.answer(request("GET", &url, &[]), None));
            for answer in futures_util::future::join_all(calls).await {
                let answer = answer.expect("an answer");
                assert_eq!(answer.body(), format!("{version} {NAME}:{port}").as_bytes());
            }
        }
        for url in [
            format!("https://other.example:{port}/"),
            format!("https://127.0.0.1:{port}/"),
        ] {
            let failure = trusting
                .answer(request("GET", &url, &[]), None)
                .await
                .expect_err(&url);
            assert_eq!(
                (failure.kind, failure.sent),
                (CallErrorKind::Failed, Sent::No)
            );
            assert!(
                failure.message.contains("certificate"),
                "{}",
                failure.message
            );
        }
        let wary = client(&allow, egress(&["127.0.0.1"], None), names());
        let failure = wary
            .answer(request("GET", &url, &[]), None)
            .await
            .expect_err("unknown authority");
        assert!(
            failure.sent == Sent::No && failure.message.contains("certificate"),
            "{}",
            failure.message
        );
    }
    let wrong = certificates.folder.path().join("none.pem");
    std::fs::write(&wrong, "no certificate").expect("written");
    for file in [&wrong, &certificates.folder.path().join("missing.pem")] {
        let error = Tls::new(Some(file))
            .expect_err("no certificate")
            .to_string();
        assert!(error.contains(&*file.to_string_lossy()), "{error}");
    }
}

/// Frames of HTTP/2 (RFC 9113): a window of 0 for bodies, an acknowledgement, and a response of status 200 to the first request.
const ANSWER_UNREAD: &[u8] = &[
    0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, // SETTINGS
    0, 0, 0, 4, 1, 0, 0, 0, 0, // SETTINGS, ACK
    0, 0, 1, 1, 5, 0, 0, 0, 1,
    0x88, // HEADERS, END_STREAM and END_HEADERS: `:status: 200` of the static table
];

/// A server of HTTP/2 that answers and takes nothing of the body holds neither the body nor the connection; nor does one that
/// nobody uses any more.
#[tokio::test]
async fn what_an_http2_server_does_not_read_is_not_kept() {
    let certificates = Certificates::new();
    let ca_file = certificates.folder.path().join("ca.pem");
    let acceptor = certificates.acceptor(&[b"h2"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = acceptor.accept(stream).await.expect("TLS");
            tokio::spawn(async move {
                // The preface, and what comes with it.
                let mut bytes = vec![0; 1 << 16];
                let read = stream.read(&mut bytes).await.expect("a preface");
                assert!(read > 0);
                sleep(Duration::from_millis(50)).await;
                stream.write_all(ANSWER_UNREAD).await.expect("written");
                while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    let names = Names::new(&[(NAME, &[&["127.0.0.1"]])]);
    let allow = format!("https://{NAME}:{port}");
    let client = client(&[&allow], egress(&["127.0.0.1"], Some(&ca_file)), names);
    let places = Arc::clone(&client.connector.places);
    let all_free = async || {
        let free = async {
            while places.available_permits() < 32 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), free)
            .await
            .expect("closed");
    };
    let post = Call {
        body: vec![b'x'; 1 << 20],
        ..request("POST", &format!("{allow}/"), &[])
    };
    let answer = client.answer(post, None).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    all_free().await;
    // One without a body is kept, and ends with the version.
    let get = request("GET", &format!("{allow}/"), &[]);
    client.answer(get, None).await.expect("an answer");
    assert_eq!(places.available_permits(), 31);
    drop(client);
    all_free().await;
}

/// The first address is of nobody here: the next one is tried.
#[tokio::test]
async fn another_address_is_tried_if_one_fails() {
    let server = Server::start(|stream, _| Box::pin(answer_all(stream, OK))).await;
    let names = Names::new(&[(NAME, &[&["::1", "127.0.0.2", "127.0.0.1"]])]);
    let allow = format!("http://{NAME}:{}", server.port);
    let client = client(&[&allow], egress(&["127.0.0.0/8", "::1"], None), names);
    client
        .answer(request("GET", &server.url("/"), &[]), None)
        .await
        .expect("an answer");
}

/// `jiffy run` has no runtime: a call gets one, and ends with whoever made it.
#[test]
fn a_caller_without_a_runtime_is_answered_too() {
    let (port, stop) = std::sync::mpsc::channel();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let server = Server::start(|stream, _| Box::pin(answer_all(stream, OK))).await;
            port.send(server.port).expect("somebody waits");
            while is_done.try_recv().is_err() {
                sleep(Duration::from_millis(1)).await;
            }
        });
    });
    let port = stop.recv().expect("a port");
    let mut grants = Grants::default();
    grants.network.allow = vec![
        format!("http://127.0.0.1:{port}")
            .parse()
            .expect("an origin"),
    ];
    let kv = jiffy_kv::Kv::in_memory(jiffy_kv::Limits::default(), jiffy_kv::system_clock());
    let config = Config {
        invoker: crate::Invoker::default(),
        kv: Arc::new(kv.expect("memory")),
        queues: crate::tests::queues(),
        secrets: Arc::new(jiffy_secrets::Secrets::in_memory().expect("memory")),
        egress: egress(&["127.0.0.1"], None),
        release: "1".into(),
    };
    let net = Net::new(config.egress.clone()).expect("no file to read");
    let http = Http::configure(&config, &net).expect("configured");
    let prepared = Capability::prepare(
        &http,
        &Version {
            function: &"f".parse().expect("a name"),
            function_name: "f",
            grants: &grants,
        },
    );
    let asked = jiffy_control::Request::default();
    let context = CallContext {
        request: &asked,
        traceparent: None,
        scope: &jiffy_client::Scope::default(),
        deadline: None,
    };
    let call = || {
        prepared.call(
            request("GET", &format!("http://127.0.0.1:{port}/"), &[]),
            &context,
        )
    };
    let waiting = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    drop(call());
    let reply = {
        let future = call();
        waiting.block_on(future)
    };
    assert_eq!((reply.error, &*reply.body), (None, &b"ok"[..]));
    done.send(()).expect("it serves");
    serving.join().expect("served");
}
