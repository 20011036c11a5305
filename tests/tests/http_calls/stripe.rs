//! What of Stripe a payment meets: over TLS, with a key, and charges that it knows again by their idempotency key.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;

use crate::servers::certificates::certificates;

/// The payment method whose charge is made, and whose answer is lost the first time.
pub(crate) const LOST: &str = "pm_lost";
/// The one that is declined.
pub(crate) const DECLINED: &str = "pm_declined";

/// One that listens on loopback, until the test ends.
#[derive(Debug)]
pub(crate) struct Stripe {
    folder: TempDir,
    port: u16,
    books: Arc<Mutex<Books>>,
}

/// What it was asked for, and what it has charged.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// The `authorization` of each request, as often as it is there.
    pub(crate) keys: Vec<Vec<String>>,
    /// Charges by idempotency key: number and form.
    pub(crate) charges: HashMap<String, (usize, String)>,
}

type Stream = StreamOwned<ServerConnection, TcpStream>;

impl Stripe {
    /// One that knows this key.
    pub(crate) fn start(key: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        certificates(folder.path());
        let path = |name: &str| folder.path().join(name);
        let certificate = CertificateDer::from_pem_file(path("server.pem")).expect("a file");
        let private = PrivateKeyDer::from_pem_file(path("key.pem")).expect("a file");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], private)
            .expect("a certificate");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let books = Arc::<Mutex<Books>>::default();
        let all = Arc::clone(&books);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (books, config) = (Arc::clone(&all), Arc::clone(&config));
                thread::spawn(move || {
                    let tls = ServerConnection::new(config).expect("a configuration");
                    // A client that leaves ends it, and so does one that speaks no TLS.
                    let _ = serve(StreamOwned::new(tls, stream), key, &books);
                });
            }
        });
        Self {
            folder,
            port,
            books,
        }
    }

    pub(crate) fn origin(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The authority of its certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Looks into the books.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Books) -> T) -> T {
        look(&mut self.books.lock().expect("nobody panicked"))
    }
}

fn serve(mut stream: Stream, key: &str, books: &Mutex<Books>) -> io::Result<()> {
    loop {
        let mut head = vec![];
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let header = |name: &str| -> Vec<String> {
            let headers = head
                .lines()
                .skip(1)
                .filter_map(|line| line.split_once(": "));
            let found = headers.filter(|(it, _)| it.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_owned()).collect()
        };
        let length = header("content-length")
            .concat()
            .parse()
            .unwrap_or_default();
        let mut form = vec![0; length];
        stream.read_exact(&mut form)?;
        let form = String::from_utf8_lossy(&form).into_owned();
        let keys = header("authorization");
        let is_known = keys == [format!("Bearer {key}")];
        let answer = {
            let mut books = books.lock().expect("nobody panicked");
            books.keys.push(keys);
            let is_post = head.starts_with("POST /v1/payment_intents HTTP/1.1\r\n");
            match is_known && is_post {
                true => charge(&mut books, header("idempotency-key").concat(), form),
                false => Some((401, r#"{"error":{"message":"Invalid API Key"}}"#.into())),
            }
        };
        let Some((status, body)) = answer else {
            return Ok(());
        };
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status} -\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
        stream.flush()?;
    }
}

/// Status and body; `None`: the charge is made and the connection ends.
fn charge(books: &mut Books, key: String, form: String) -> Option<(u16, String)> {
    let is_by = |method: &str| form.contains(&format!("payment_method={method}&"));
    if is_by(DECLINED) {
        let why = r#"{"error":{"code":"card_declined","message":"Your card was declined."}}"#;
        return Some((402, why.into()));
    }
    let is_lost = is_by(LOST) && !books.charges.contains_key(&key);
    let number = books.charges.len() + 1;
    let (number, _) = books.charges.entry(key).or_insert((number, form));
    let paid = format!(r#"{{"id":"pi_{number}","status":"succeeded"}}"#);
    (!is_lost).then_some((200, paid))
}
