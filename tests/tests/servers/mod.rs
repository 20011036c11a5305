//! Servers that tests start on ports of loopback, and what stands between them and functions. Each ends with its value.
#![allow(dead_code, reason = "each test takes what it needs")]

pub(crate) mod certificates;
pub(crate) mod fault_proxy;
pub(crate) mod haproxy;
pub(crate) mod nginx;
pub(crate) mod postgres;
pub(crate) mod redis;

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use jiffy_tests::{agent::within, skip};
use tempfile::TempDir;

use self::certificates::certificates;

const START_TIME_MAX: Duration = Duration::from_secs(20);

/// A server in a folder of its own, where certificates are; what runs of it ends with this.
#[derive(Debug)]
struct Server {
    folder: TempDir,
    /// More than one if the last has taken over from those before.
    processes: Vec<Child>,
}

impl Server {
    /// One that does not run yet.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        certificates(folder.path());
        Self {
            folder,
            processes: vec![],
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: String) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("written");
        path
    }

    /// The authority of its certificate.
    fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Starts a process and waits until it is there; its errors are in `log`. Without such a program it says that `what` is not tested.
    fn start(
        &mut self,
        mut command: Command,
        what: &str,
        is_there: impl Fn(&Self) -> bool,
    ) -> Option<()> {
        let mut options = fs::File::options();
        let log = options.create(true).append(true).open(self.path("log"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let Ok(process) = command.stderr(log.expect("a file")).spawn() else {
            let program = command.get_program().display();
            skip(&format!("{what}: install {program}"));
            return None;
        };
        self.processes.push(process);
        let is_there = within(START_TIME_MAX, || is_there(self).then_some(()));
        let log = || fs::read_to_string(self.path("log"));
        assert!(is_there.is_some(), "{:?}", log());
        is_there
    }

    fn stop(&mut self) {
        for mut process in self.processes.drain(..) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Free a moment ago, which is as much as one can know of ports that another process is to have.
pub(crate) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let free = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    free.map(|it| it.local_addr().expect("an address").port())
}
