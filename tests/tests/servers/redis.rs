//! A `redis-server` with users and certificates of its own, on ports of loopback.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use jiffy_tests::{agent::within, skip};
use tempfile::TempDir;

use super::{certificates::certificates, free_ports};

const START_TIME_MAX: Duration = Duration::from_secs(20);
/// What looks for it finds it wherever it is.
pub(crate) const PASSWORD: &str = "canary-word/51c8";

/// One that runs; it ends with this.
#[derive(Debug)]
pub(crate) struct Redis {
    folder: TempDir,
    process: Child,
    /// In clear; TLS.
    ports: [u16; 2],
}

impl Redis {
    /// Starts one, or says that there is none.
    pub(crate) fn start() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().display().to_string();
        let ports = free_ports();
        let [clear, tls] = ports;
        certificates(folder.path());
        let configuration = format!(
            "bind 127.0.0.1\nport {clear}\ntls-port {tls}\ntls-auth-clients no\n\
             tls-cert-file {path}/server.pem\ntls-key-file {path}/key.pem\ntls-ca-cert-file {path}/ca.pem\n\
             dir {path}\nlogfile {path}/log\nsave \"\"\ndaemonize no\n\
             user default off\nuser admin on >admin ~* &* +@all\n\
             user canary-user on >{PASSWORD} ~* &* +@all\nuser reader on >reader ~* +get\n"
        );
        fs::write(folder.path().join("redis.conf"), configuration).expect("written");
        let Some(process) = spawn(&folder) else {
            skip("commands to Redis: install redis-server");
            return None;
        };
        let redis = Self {
            folder,
            process,
            ports,
        };
        redis.await_start();
        Some(redis)
    }

    fn await_start(&self) {
        let answers = || (self.admin(&["PING"])? == "+PONG").then_some(());
        let log = || fs::read_to_string(self.folder.path().join("log"));
        assert!(within(START_TIME_MAX, answers).is_some(), "{:?}", log());
    }

    /// Ends it and starts it anew, at the same place, empty.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.process = spawn(&self.folder).expect("as before");
        self.await_start();
    }

    fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The first line of what it replies to its administrator.
    pub(crate) fn admin(&self, words: &[&str]) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[0])).ok()?;
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
        self.folder.path().join("ca.pem")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(folder: &TempDir) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.arg(folder.path().join("redis.conf"));
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
    quiet.stderr(Stdio::null()).spawn().ok()
}
