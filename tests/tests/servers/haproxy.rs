//! haproxy, which stands before the servers of many: it speaks TLS for them, closes what nobody uses, says 503 when they are gone, and is
//! replaced by a new process when its configuration changes.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command},
};

use super::Server;

/// One that runs; it ends with this.
#[derive(Debug)]
pub(crate) struct Haproxy(Server);

impl Haproxy {
    /// Starts one with these sections, in which `@cert` is a certificate for localhost, or says that there is none. `what` is not tested then.
    pub(crate) fn start(sections: &str, what: &str) -> Option<Self> {
        let server = Server::new();
        let pem = ["server.pem", "key.pem"].map(|name| fs::read_to_string(server.path(name)));
        let pem = pem.map(|text| text.expect("a file")).concat();
        let pem = server.write("both.pem", pem);
        let configuration = format!(
            "global
    stats socket {} mode 600 level admin expose-fd listeners
    nbthread 2
defaults
    timeout connect 2s
    retries 1
{}
",
            server.path("socket").display(),
            sections.replace("@cert", &pem.display().to_string()),
        );
        server.write("haproxy.cfg", configuration);
        let mut haproxy = Self(server);
        haproxy.run(&[], what)?;
        Some(haproxy)
    }

    fn run(&mut self, arguments: &[&str], what: &str) -> Option<()> {
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(self.0.path("haproxy.cfg"));
        command.args(arguments);
        self.0.start(command, what, |server| {
            let own = server.processes.last().expect("one").id();
            fact(server, "Pid") == Some(u64::from(own))
        })
    }

    /// Has a new process take over: the one before takes no more connections, and ends when it has none.
    pub(crate) fn reload(&mut self) {
        let before = self.0.processes.last().expect("one").id().to_string();
        let socket = self.0.path("socket").display().to_string();
        let arguments = ["-x", &socket, "-sf", &before];
        self.run(&arguments, "a new process").expect("as before");
    }

    /// How many processes still have connections.
    pub(crate) fn running(&mut self) -> usize {
        let lives = |it: &mut Child| it.try_wait().expect("a child").is_none();
        self.0
            .processes
            .iter_mut()
            .map(lives)
            .filter(|it| *it)
            .count()
    }

    /// A number of `show info`, of the last process.
    pub(crate) fn fact(&self, name: &str) -> Option<u64> {
        fact(&self.0, name)
    }

    /// The authority of its certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.0.ca_file()
    }
}

fn fact(server: &Server, name: &str) -> Option<u64> {
    let mut socket = UnixStream::connect(server.path("socket")).ok()?;
    socket.write_all(b"show info\n").ok()?;
    let mut text = String::new();
    socket.read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value?.parse().ok()
}
