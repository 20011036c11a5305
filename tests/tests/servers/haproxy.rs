//! haproxy, which stands before the servers of many: it speaks TLS for them, closes what nobody uses, says 503 when they are gone, and is
//! replaced by a new process when its configuration changes.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use jiffy_tests::{agent::within, skip};
use tempfile::TempDir;

use super::certificates::certificates;

const START_TIME_MAX: Duration = Duration::from_secs(20);

/// One that runs; it ends with this.
#[derive(Debug)]
pub(crate) struct Haproxy {
    folder: TempDir,
    /// The last one takes connections; those before it have some left.
    processes: Vec<Child>,
}

impl Haproxy {
    /// Starts one with these sections, in which `@cert` is a certificate for localhost, or says that there is none. `what` is not tested then.
    pub(crate) fn start(sections: &str, what: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        certificates(folder.path());
        let path = |name: &str| folder.path().join(name);
        let pem = ["server.pem", "key.pem"].map(|name| fs::read_to_string(path(name)));
        let pem = pem.map(|text| text.expect("a file")).concat();
        fs::write(path("both.pem"), pem).expect("written");
        let configuration = format!(
            "global
    stats socket {} mode 600 level admin expose-fd listeners
    nbthread 2
defaults
    timeout connect 2s
    retries 1
{}
",
            path("socket").display(),
            sections.replace("@cert", &path("both.pem").display().to_string()),
        );
        fs::write(path("haproxy.cfg"), configuration).expect("written");
        let mut haproxy = Self {
            folder,
            processes: vec![],
        };
        if haproxy.spawn(&[]).is_err() {
            skip(&format!("{what}: install haproxy"));
            return None;
        }
        haproxy.await_start();
        Some(haproxy)
    }

    fn spawn(&mut self, arguments: &[String]) -> std::io::Result<()> {
        let mut options = fs::File::options();
        let log = options.create(true).append(true).open(self.path("log"));
        let log = log.expect("a file");
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(self.path("haproxy.cfg"));
        command.args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(log);
        self.processes.push(command.spawn()?);
        Ok(())
    }

    fn await_start(&mut self) {
        let own = self.processes.last().expect("one").id();
        let is_there = || (self.fact("Pid")? == u64::from(own)).then_some(());
        let log = || fs::read_to_string(self.path("log"));
        assert!(within(START_TIME_MAX, is_there).is_some(), "{:?}", log());
    }

    /// Has a new process take over: the one before takes no more connections, and ends when it has none.
    pub(crate) fn reload(&mut self) {
        let before = self.processes.last().expect("one").id().to_string();
        let socket = self.path("socket").display().to_string();
        let arguments = ["-x", &socket, "-sf", &before].map(str::to_owned);
        self.spawn(&arguments).expect("as before");
        self.await_start();
    }

    /// How many processes still have connections.
    pub(crate) fn running(&mut self) -> usize {
        let lives = |it: &mut Child| it.try_wait().expect("a child").is_none();
        self.processes
            .iter_mut()
            .map(lives)
            .filter(|it| *it)
            .count()
    }

    /// A number of `show info`, of the last process.
    pub(crate) fn fact(&self, name: &str) -> Option<u64> {
        let mut socket = UnixStream::connect(self.path("socket")).ok()?;
        socket.write_all(b"show info\n").ok()?;
        let mut text = String::new();
        socket.read_to_string(&mut text).ok()?;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value?.parse().ok()
    }

    /// The authority of its certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
