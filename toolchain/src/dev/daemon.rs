//! An agent of our own, as a child process.

use std::{
    env,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::DevError;
use crate::client::Agent;

/// The program, and the variable that names another.
const PROGRAM: &str = "jiffyd";
const PROGRAM_VARIABLE: &str = "JIFFYD";
/// The agent's own variable for what it logs.
const LOG_VARIABLE: &str = "JIFFYD_LOG";
/// What it logs here unless that variable says otherwise: there are other things to read.
const LOG_DEFAULT: &str = "warn";
/// How long it may take to answer. Snapshots are made again in the background.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// How long it may take to end: requests under way have 30 seconds, and what follows is short.
const STOP_TIME_MAX: Duration = Duration::from_secs(45);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const CONNECT_TIME_MAX: Duration = Duration::from_millis(500);

/// A running agent. Dropping it ends it, and so does the end of this process.
#[derive(Debug)]
pub(super) struct Daemon {
    /// With the pipe that is its standard input: the agent stops when that is closed.
    child: Child,
}

impl Daemon {
    /// Starts an agent on `listen` with its store in `data_dir`.
    pub(super) fn start(listen: SocketAddr, data_dir: &Path, vmm: &Path) -> Result<Self, DevError> {
        // Or whoever is there already would be taken for ours.
        if TcpStream::connect_timeout(&listen, CONNECT_TIME_MAX).is_ok() {
            return Err(DevError::Occupied(listen));
        }
        let program = program()?;
        let mut command = Command::new(&program);
        command
            .arg("--listen")
            .arg(listen.to_string())
            .arg("--data-dir")
            .arg(data_dir)
            .arg("--vmm")
            .arg(vmm)
            // As `jiffy run`: what a developer's machine lacks is told and does not stop them.
            .arg("--allow-missing-cgroups")
            // The pipe's other end is ours alone, so the agent sees our end even if we are killed.
            .arg("--stop-at-end-of-input")
            .stdin(Stdio::piped());
        if env::var_os(LOG_VARIABLE).is_none() {
            command.args(["--log", LOG_DEFAULT]);
        }
        let child = command.spawn();
        let child = child.map_err(|source| DevError::Start { program, source })?;
        Ok(Self { child })
    }

    /// Waits until the agent answers; false if `stop` comes first.
    pub(super) fn wait_ready(
        &mut self,
        agent: &Agent,
        stop: &AtomicBool,
    ) -> Result<bool, DevError> {
        let deadline = Instant::now() + START_TIME_MAX;
        loop {
            if stop.load(Relaxed) {
                return Ok(false);
            }
            self.check(stop)?;
            match agent.get::<Value>("/v1/health") {
                Ok(_) => return Ok(true),
                Err(error) if Instant::now() > deadline => return Err(DevError::NotReady(error)),
                Err(_) => thread::sleep(LOOK_AGAIN),
            }
        }
    }

    /// An error if the agent ended, unless that was wanted.
    pub(super) fn check(&mut self, stop: &AtomicBool) -> Result<(), DevError> {
        match self.child.try_wait().map_err(DevError::Wait)? {
            Some(status) if !stop.load(Relaxed) => Err(DevError::Ended(status)),
            _ => Ok(()),
        }
    }

    /// Asks the agent to end, and waits until it has: requests under way get their answer.
    pub(super) fn stop(&mut self) -> Result<ExitStatus, DevError> {
        let deadline = Instant::now() + STOP_TIME_MAX;
        // Its process id is its own only until it was waited for.
        if let Some(status) = self.child.try_wait().map_err(DevError::Wait)? {
            return Ok(status);
        }
        self.signal(Signal::TERM);
        loop {
            if let Some(status) = self.child.try_wait().map_err(DevError::Wait)? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                // Its VMs die with it.
                self.child.kill().map_err(DevError::Wait)?;
                return self.child.wait().map_err(DevError::Wait);
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            let _ = kill_process(id, signal); // It may have ended by itself.
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.stop();
        }
    }
}

/// What `JIFFYD` names, or `jiffyd` beside this program or on `PATH`.
fn program() -> Result<PathBuf, DevError> {
    if let Some(path) = env::var_os(PROGRAM_VARIABLE).map(PathBuf::from) {
        return match path.is_file() {
            true => Ok(path),
            false => Err(DevError::ProgramNotThere(path)),
        };
    }
    let found = crate::sdk::find_program(PROGRAM);
    found.ok_or(DevError::NoProgram)
}
