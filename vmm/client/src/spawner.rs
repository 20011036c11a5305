//! The process that makes shells, and what is said to it.
//!
//! ```text
//! agent ── SpawnRequest, the shell's ends of two sockets ──▶ spawner ── fork, jail ──▶ shell
//!       ◀── SpawnReply, a descriptor of its process ────────
//! ```
//!
//! The spawner is the parent of all shells: it holds the host's doors that they must not have, gives
//! each its control group, tells over a shell's own control socket how it ended, and ends them all
//! when its socket is closed, however its owner died.
//! Not here: the spawner itself (`jiffy-vmm`).

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use jiffy_abi::devices::DeviceId;
use jiffy_control::{Blame, Devices, Missing, Packet, SpawnReply, SpawnRequest};
use jiffy_socket::{ControlError, ControlSocket};
use rustix::process::{Signal, pidfd_send_signal};

use crate::wait::wait_readable;

/// What a spawner may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// What it may take to end its shells and itself.
const END_TIMEOUT: Duration = Duration::from_secs(5);
const END_POLL: Duration = Duration::from_millis(1);

/// How shells are jailed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpawnerOptions {
    /// No jail at all: for debugging.
    pub no_jail: bool,
    /// No control groups.
    pub no_cgroups: bool,
    /// RAM at which a VM may use one whole CPU, bytes; less RAM, less CPU. `None`: the default.
    pub cpu_full_ram_bytes: Option<u64>,
}

/// Why there is no shell.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum SpawnError {
    #[error("cannot start {}: is jiffy-vmm installed and executable?", path.display())]
    Start { path: PathBuf, source: io::Error },
    #[error("cannot make a request stream")]
    Stream(#[source] io::Error),
    #[error("cannot talk to the spawner")]
    Control(#[from] ControlError),
    #[error("the spawner ended: its standard error says why")]
    Ended,
    #[error("the spawner did not answer within {0:?}")]
    Unresponsive(Duration),
    #[error("the spawner answered something else than was asked")]
    OutOfTurn,
    /// What it said. Its message is the whole sentence.
    #[error("{message}")]
    Failed { blame: Blame, message: String },
}

/// A spawner. Dropping it ends it and all of its shells.
#[derive(Debug)]
pub struct Spawner {
    process: Child,
    /// `None` once it is to end. One question is asked at a time.
    socket: Mutex<Option<ControlSocket>>,
    missing: Vec<Missing>,
}

/// A shell: a VM in a jailed process, which waits for a command.
#[derive(Debug)]
pub struct Shell {
    /// Its process.
    pub process: ShellProcess,
    /// Where commands go and events come from.
    pub control: ControlSocket,
    /// Where requests go and responses come from.
    pub stream: UnixStream,
}

/// The process of a shell. Dropping it kills the process.
#[derive(Debug)]
pub struct ShellProcess {
    id: u32,
    fd: OwnedFd,
}

impl SpawnerOptions {
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["spawner".into()];
        if self.no_jail {
            arguments.push("--no-jail".into());
        }
        if self.no_cgroups {
            arguments.push("--no-cgroups".into());
        }
        if let Some(bytes) = self.cpu_full_ram_bytes {
            arguments.push(format!("--cpu-full-ram={bytes}").into());
        }
        arguments
    }
}

impl Spawner {
    /// Starts `vmm` as a spawner and waits until it is ready.
    pub fn start(vmm: &Path, options: &SpawnerOptions) -> Result<Self, SpawnError> {
        let mut command = Command::new(vmm);
        command.args(options.arguments());
        Self::start_command(command)
    }

    /// Starts a program that is a spawner on its standard input, with an environment that is empty.
    pub fn start_command(mut command: Command) -> Result<Self, SpawnError> {
        let (socket, far) = ControlSocket::pair()?;
        let process = command
            // What it needs it gets as an argument; its shells inherit nothing.
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(far)))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|source| SpawnError::Start {
                path: command.get_program().into(),
                source,
            })?;
        drop(command); // With it goes our copy of the far end.
        let mut spawner = Self {
            process,
            socket: Mutex::new(None),
            missing: vec![],
        };
        let (reply, _) = answer(&socket)?;
        spawner.socket = Mutex::new(Some(socket));
        match reply {
            SpawnReply::Ready { missing } => spawner.missing = missing,
            reply => return Err(unexpected(reply)),
        }
        Ok(spawner)
    }

    /// Layers of the jail that are missing on this host.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// Its process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Makes a shell, whose first event says when it waits.
    pub fn shell(&self, ram_bytes: u64) -> Result<Shell, SpawnError> {
        let (control, far_control) = ControlSocket::pair()?;
        let (stream, far_stream) = UnixStream::pair().map_err(SpawnError::Stream)?;
        let far_ends = [far_control.as_fd(), far_stream.as_fd()];
        let devices = Devices::new(&[DeviceId::Vsock]);
        match self.ask(&SpawnRequest::Shell { ram_bytes, devices }, &far_ends)? {
            (SpawnReply::Shell { process_id }, mut fds) => Ok(Shell {
                process: ShellProcess::new(process_id, fds.pop().ok_or(SpawnError::OutOfTurn)?),
                control,
                stream,
            }),
            (reply, _) => Err(unexpected(reply)),
        }
    }

    /// Tells that `shell`, which has no function yet, is to have a VM of another size.
    pub fn resize(&self, shell: &ShellProcess, ram_bytes: u64) -> Result<(), SpawnError> {
        let process_id = shell.id;
        match self.ask(
            &SpawnRequest::Resize {
                process_id,
                ram_bytes,
            },
            &[],
        )? {
            (SpawnReply::Resized, _) => Ok(()),
            (reply, _) => Err(unexpected(reply)),
        }
    }

    fn ask(
        &self,
        request: &SpawnRequest,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(SpawnReply, Vec<OwnedFd>), SpawnError> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = socket.as_ref().ok_or(SpawnError::Ended)?;
        let packet = Packet::new(request).map_err(ControlError::from)?;
        socket.send_with(&packet, descriptors)?;
        answer(socket)
    }
}

fn answer(socket: &ControlSocket) -> Result<(SpawnReply, Vec<OwnedFd>), SpawnError> {
    if !wait_readable(socket.as_fd(), ANSWER_TIMEOUT) {
        return Err(SpawnError::Unresponsive(ANSWER_TIMEOUT));
    }
    socket.recv_with()?.ok_or(SpawnError::Ended)
}

fn unexpected(reply: SpawnReply) -> SpawnError {
    match reply {
        SpawnReply::Failed { blame, message } => SpawnError::Failed { blame, message },
        SpawnReply::Ready { .. } | SpawnReply::Shell { .. } | SpawnReply::Resized => {
            SpawnError::OutOfTurn
        }
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // It ends when nobody holds the other end of its socket; first it ends its shells and
        // removes their control groups.
        *self
            .socket
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner) = None;
        let until = Instant::now() + END_TIMEOUT;
        while Instant::now() < until {
            match self.process.try_wait() {
                Ok(None) => thread::sleep(END_POLL),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Shell {
    /// Its process.
    pub fn process_id(&self) -> u32 {
        self.process.id
    }
}

impl ShellProcess {
    /// The process `id`, of which `fd` is a descriptor.
    pub(crate) fn new(id: u32, fd: OwnedFd) -> Self {
        Self { id, fd }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Kills it. It may be gone already.
    pub fn kill(&self) {
        let _ = pidfd_send_signal(&self.fd, Signal::KILL);
    }
}

/// Can be read from once the process has ended.
impl AsFd for ShellProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for ShellProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
