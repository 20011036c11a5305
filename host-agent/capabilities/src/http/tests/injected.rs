//! What a server gets of a secret, and what it never gets.

use std::convert::Infallible;

use hyper::{HeaderMap, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiffy_model::BindingName;
use tokio::net::TcpListener;

use super::{
    servers::{Certificates, NAME},
    *,
};

const KEY: &str = "sk_test_4eC39HqLyjWDarjtT1zdp7dc";

/// A server over TLS that keeps the headers it was sent, and answers with the first `authorization` among them.
struct Server {
    certificates: Certificates,
    port: u16,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Server {
    async fn start(protocols: &[&[u8]]) -> Self {
        let certificates = Certificates::new();
        let acceptor = certificates.acceptor(protocols);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Mutex::new(vec![]));
        let all = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&all));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
                        let headers = request.headers().clone();
                        let first = headers.get("authorization").map(HeaderValue::as_bytes);
                        let first = first.unwrap_or_default().to_vec();
                        seen.lock().expect("nobody panicked").push(headers);
                        ready(Ok::<_, Infallible>(hyper::Response::new(
                            http_body_util::Full::<hyper::body::Bytes>::from(first),
                        )))
                    });
                    let io = TokioIo::new(stream);
                    // A client that leaves ends it.
                    let _ = match is_http2 {
                        true => {
                            let builder = conn::http2::Builder::new(TokioExecutor::new());
                            builder.serve_connection(io, service).await
                        }
                        false => {
                            let builder = conn::http1::Builder::new();
                            builder.serve_connection(io, service).await
                        }
                    };
                });
            }
        });
        Self {
            certificates,
            port,
            seen,
        }
    }

    fn origin(&self, host: &str) -> String {
        format!("https://{host}:{}", self.port)
    }

    /// A client of a version whose author grants `stripe` for this server, and whatever else there is for a connection.
    fn client(&self, egress_of: impl FnOnce(Egress) -> Egress) -> Client {
        let mut grants = Grants::default();
        let allow = [NAME, "other.example"].map(|host| self.origin(host));
        grants.network.allow = allow
            .iter()
            .map(|it| it.parse().expect("an origin"))
            .collect();
        let stripe = jiffy_model::SecretGrant {
            hosts: [NAME, "other.example"]
                .map(|it| it.parse().expect("a host"))
                .into(),
            header: Some("authorization".parse().expect("a header")),
            format: Some("Bearer {}".parse().expect("a format")),
        };
        grants.secrets.insert(name("stripe"), stripe);
        let ca_file = self.certificates.folder.path().join("ca.pem");
        let names = Names::new(&[
            (NAME, &[&["127.0.0.1"]]),
            ("other.example", &[&["127.0.0.1"]]),
        ]);
        client_of(
            &grants,
            egress_of(egress(&["127.0.0.1"], Some(&ca_file))),
            names,
        )
    }

    fn ask(&self, host: &str, secret: &str, headers: &[(&str, &[u8])]) -> Call {
        Call {
            binding: secret.into(),
            ..request(
                "POST",
                &format!("{}/v1/charges", self.origin(host)),
                headers,
            )
        }
    }

    fn seen(&self) -> Vec<HeaderMap> {
        std::mem::take(&mut self.seen.lock().expect("nobody panicked"))
    }
}

fn name(text: &str) -> BindingName {
    text.parse().expect("a name")
}

fn set(client: &Client, of: &str, value: &[u8]) {
    let of: TenantName = of.parse().expect("a name");
    let secrets = &client.injector.secrets;
    secrets.set(&of, &name("stripe"), value, 1).expect("set");
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    let values = headers.get_all(name).iter();
    values.map(HeaderValue::as_bytes).collect()
}

#[tokio::test]
async fn a_secret_is_in_its_header_once() {
    for protocol in [&b"h2"[..], b"http/1.1"] {
        let server = Server::start(&[protocol]).await;
        let client = server.client(|egress| egress);
        let ask = async |secret: &str, headers: &[(&str, &[u8])]| {
            let answer = client.answer(server.ask(NAME, secret, headers), None).await;
            answer.map(to_reply).expect("an answer").expect("a reply");
            let [seen] = &server.seen()[..] else {
                panic!("one request")
            };
            seen.clone()
        };
        set(&client, "default", KEY.as_bytes());
        let expected = format!("Bearer {KEY}");
        let mine = [
            ("Authorization", &b"Bearer mine"[..]),
            ("authorization", b"other"),
            ("x-mine", b"1"),
        ];
        let seen = ask("stripe", &mine).await;
        assert_eq!(values(&seen, "authorization"), [expected.as_bytes()]);
        assert_eq!(values(&seen, "x-mine"), [b"1"]);
        // On the same connection, one that does not ask for it has what it says itself.
        assert!(values(&ask("", &[]).await, "authorization").is_empty());
        let seen = ask("", &mine).await;
        assert_eq!(
            values(&seen, "authorization"),
            [&b"Bearer mine"[..], b"other"]
        );
        set(&client, "default", b"another");
        let seen = ask("stripe", &[]).await;
        assert_eq!(values(&seen, "authorization"), [b"Bearer another"]);
    }
}

/// The sentence says which secret and what to do, and never the value.
#[tokio::test]
async fn what_is_no_header_is_not_sent() {
    let server = Server::start(&[]).await;
    let client = server.client(|egress| egress);
    let refusal = async || {
        let asked = server.ask(NAME, "stripe", &[]);
        let failure = client.answer(asked, None).await.expect_err("refused");
        let kind = (failure.kind, failure.sent);
        assert_eq!(kind, (CallErrorKind::Failed, Sent::No));
        assert!(server.seen().is_empty());
        let fix = "`jiffy secret set stripe`";
        assert!(failure.message.contains(fix), "{}", failure.message);
        failure.message
    };
    set(&client, "other", KEY.as_bytes());
    assert!(refusal().await.contains("granted and not set"));
    for wrong in [
        "k3y\n",
        "k3y\r",
        "k3y\r\nx-injected: 1",
        "k3\0y",
        "k3y\u{7f}",
        "k3y\t",
        " k3y",
        "k3y ",
        "k3\u{fc}y",
        "\n",
    ] {
        set(&client, "default", wrong.as_bytes());
        let message = refusal().await;
        assert!(message.contains("printable ASCII"), "{message}");
        assert!(!message.contains("k3"), "{message}");
    }
    set(&client, "default", b"k3\xff");
    refusal().await;
    set(&client, "default", b"k 3y");
    let answer = client.answer(server.ask(NAME, "stripe", &[]), None).await;
    assert_eq!(answer.expect("an answer").body(), b"Bearer k 3y");
}

/// Whatever forbids a connection is told first, as if there were no secret; this one is not set, which nobody learns so.
#[tokio::test]
async fn a_connection_is_checked_before_a_secret_is_read() {
    let server = Server::start(&[]).await;
    let check = async |client: Client, host: &str, kind, word: &str| {
        let asked = server.ask(host, "stripe", &[]);
        let failure = client.answer(asked, None).await.expect_err(word);
        assert_eq!((failure.kind, failure.sent), (kind, Sent::No));
        assert!(failure.message.contains(word), "{}", failure.message);
        assert!(server.seen().is_empty());
    };
    let listed = |egress| Egress {
        hosts: vec!["*.example.org".parse().expect("a pattern")],
        ..egress
    };
    let public = |egress| Egress {
        private: vec![],
        ..egress
    };
    let wary = |egress| Egress {
        ca_file: None,
        ..egress
    };
    let (denied, failed) = (CallErrorKind::Denied, CallErrorKind::Failed);
    check(server.client(listed), NAME, denied, "operator").await;
    check(server.client(public), NAME, denied, "loopback").await;
    check(server.client(wary), NAME, failed, "certificate").await;
    let trusting = server.client(|egress| egress);
    check(trusting, "other.example", failed, "certificate").await;
}

#[tokio::test]
async fn nothing_prints_a_request_with_its_secret() {
    let server = Server::start(&[]).await;
    let client = server.client(|egress| egress);
    set(&client, "default", KEY.as_bytes());
    let mut wanted = Wanted::new(server.ask(NAME, "stripe", &[])).expect("a request");
    let mut granted = client.policy.check(&wanted, "stripe").expect("granted");
    client
        .inject(&mut wanted, &mut granted.secret)
        .await
        .expect("it is set");
    let request = wanted.to_request(hyper::Version::HTTP_2).expect("whole");
    for printed in [
        format!("{wanted:?}"),
        format!("{request:?}"),
        format!("{client:?}"),
    ] {
        assert!(!printed.contains(KEY), "{printed}");
    }
    assert!(request.headers()["authorization"].is_sensitive());
}
