//! A `redis-server` with users and certificates of its own, on ports of loopback.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use super::{Server, free_ports};

/// What looks for it finds it wherever it is.
pub(crate) const PASSWORD: &str = "canary-word/51c8";

/// One that runs; it ends with this.
#[derive(Debug)]
pub(crate) struct Redis {
    server: Server,
    /// In clear; TLS.
    ports: [u16; 2],
}

impl Redis {
    /// Starts one, or says that there is none.
    pub(crate) fn start() -> Option<Self> {
        let server = Server::new();
        let path = server.folder.path().display();
        let ports = free_ports();
        let [clear, tls] = ports;
        let configuration = format!(
            "bind 127.0.0.1\nport {clear}\ntls-port {tls}\ntls-auth-clients no\n\
             tls-cert-file {path}/server.pem\ntls-key-file {path}/key.pem\ntls-ca-cert-file {path}/ca.pem\n\
             dir {path}\nlogfile {path}/log\nsave \"\"\ndaemonize no\n\
             user default off\nuser admin on >admin ~* &* +@all\n\
             user canary-user on >{PASSWORD} ~* &* +@all\nuser reader on >reader ~* +get\n"
        );
        server.write("redis.conf", configuration);
        let mut redis = Self { server, ports };
        redis.run()?;
        Some(redis)
    }

    fn run(&mut self) -> Option<()> {
        let mut command = Command::new("redis-server");
        command.arg(self.server.path("redis.conf"));
        let port = self.port();
        let answers = |_: &Server| admin(port, &["PING"]).is_some_and(|line| line == "+PONG");
        self.server.start(command, "commands to Redis", answers)
    }

    /// Ends it and starts it anew, at the same place, empty.
    pub(crate) fn restart(&mut self) {
        self.server.stop();
        self.run().expect("as before");
    }

    /// The first line of what it replies to its administrator.
    pub(crate) fn admin(&self, words: &[&str]) -> Option<String> {
        admin(self.port(), words)
    }

    /// How a function gets there.
    pub(crate) fn url(&self) -> String {
        self.url_by(self.ports[0])
    }

    /// The same by another port, behind which it is.
    pub(crate) fn url_by(&self, port: u16) -> String {
        let password = PASSWORD.replace('/', "%2F");
        format!("redis://canary-user:{password}@localhost:{port}/3")
    }

    /// The port in clear.
    pub(crate) const fn port(&self) -> u16 {
        self.ports[0]
    }

    /// The same with TLS.
    pub(crate) fn tls_url(&self) -> String {
        let clear = format!(":{}/", self.ports[0]);
        let url = self.url().replace("redis://", "rediss://");
        url.replace(&clear, &format!(":{}/", self.ports[1]))
    }

    /// The same for one who may only `GET`.
    pub(crate) fn reader_url(&self) -> String {
        format!("redis://reader:reader@localhost:{}", self.ports[0])
    }

    /// The authority of its certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.server.ca_file()
    }
}

fn admin(port: u16, words: &[&str]) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let mut send = |words: &[&str]| {
        let count = words.len();
        let words: String = words
            .iter()
            .map(|word| format!("${}\r\n{word}\r\n", word.len()))
            .collect();
        stream.write_all(format!("*{count}\r\n{words}").as_bytes())
    };
    send(&["AUTH", "admin", "admin"]).ok()?;
    lines.next()?.ok()?;
    send(words).ok()?;
    lines.next()?.ok()
}
