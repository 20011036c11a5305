//! How a VM is started: a shell, and the first command that it gets.
//!
//! Not here: what is said to it then (`instance`, `create`).

use std::{fs::File, io, os::fd::AsFd, path::PathBuf, time::Duration};

use jiffy_abi::layout::RAM_BYTES_DEFAULT;
use jiffy_control::{Blame, Command, Isolation, Packet, PacketError};
use jiffy_snapshots::{OpenError, PageRun, Snapshot};

use crate::{Shell, SpawnError, Spawner, SpawnerOptions};

/// How to start a VM that serves requests.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The `jiffy-vmm` program.
    pub vmm: PathBuf,
    /// How it is jailed.
    pub spawner: SpawnerOptions,
    /// What the VM begins with.
    pub source: Source,
    /// How long `init` and each request may take; `None`: no limit.
    pub timeout: Option<Duration>,
}

/// What a VM begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An image, which boots.
    Image {
        /// The image.
        path: PathBuf,
        /// RAM of the VM, bytes; `None`: the default.
        ram_bytes: Option<u64>,
    },
    /// A snapshot, which is restored.
    Snapshot {
        /// Its directory.
        path: PathBuf,
        /// What a request finds of those before it.
        isolation: Isolation,
    },
}

/// Why a VM was not started.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum LaunchError {
    #[error("cannot read the image {}", path.display())]
    Image { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Snapshot(#[from] OpenError),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("cannot tell the shell what to run")]
    Command(#[from] PacketError),
    #[error("cannot set a time limit for the request stream")]
    Stream(#[source] io::Error),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl LaunchError {
    /// Who has to mend it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Image { .. } => Blame::Input,
            Self::Snapshot(error) => match error.blame() {
                jiffy_snapshots::Blame::Input => Blame::Input,
                jiffy_snapshots::Blame::Host => Blame::Host,
            },
            Self::Spawn(SpawnError::Failed { blame, .. }) => *blame,
            Self::Spawn(_) | Self::Command(_) | Self::Stream(_) | Self::Thread(_) => Blame::Host,
        }
    }
}

/// The command that boots an image, whose file has to travel with it.
pub fn boot_packet(
    ram_bytes: u64,
    timeout: Option<Duration>,
    environment: Vec<u8>,
) -> Result<Packet, PacketError> {
    Packet::new(&Command::Boot {
        ram_bytes,
        timeout_ms: timeout.map(timeout_ms),
        environment,
    })
}

/// The command that restores `snapshot`, whose RAM file has to travel with it.
pub fn restore_packet(
    snapshot: &Snapshot,
    isolation: Isolation,
    timeout: Option<Duration>,
) -> Result<Packet, PacketError> {
    let packet = |working_set: &[PageRun]| {
        let run = |run: &PageRun| (run.first_page.into(), run.pages.into());
        Packet::new(&Command::Restore {
            state: snapshot.state_bytes().to_vec(),
            working_set: working_set.iter().map(run).collect(),
            isolation,
            timeout_ms: timeout.map(timeout_ms),
        })
    };
    match packet(snapshot.working_set()) {
        // Without one the restore is slower, and nothing else.
        Err(PacketError::TooLarge(_)) => packet(&[]),
        packet => packet,
    }
}

/// Milliseconds of a limit, rounded up, so that one below a millisecond does not become none.
fn timeout_ms(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

impl Launch {
    /// Starts a spawner and a shell, and tells it what to run; an image with this environment.
    pub(crate) fn start(&self, environment: &[u8]) -> Result<(Spawner, Shell), LaunchError> {
        match &self.source {
            Source::Image { path, ram_bytes } => {
                let image = open_image(path)?;
                let ram_bytes = ram_bytes.unwrap_or(RAM_BYTES_DEFAULT);
                let packet = boot_packet(ram_bytes, self.timeout, environment.to_vec())?;
                let spawner = Spawner::start(&self.vmm, &self.spawner)?;
                let shell = shell_with(&spawner, ram_bytes, &packet, &image)?;
                Ok((spawner, shell))
            }
            Source::Snapshot { path, isolation } => {
                let snapshot = Snapshot::open(path)?;
                let spawner = Spawner::start(&self.vmm, &self.spawner)?;
                let shell = restore(&spawner, &snapshot, *isolation, self.timeout)?;
                Ok((spawner, shell))
            }
        }
    }
}

/// A shell that was told to restore `snapshot`.
pub(crate) fn restore(
    spawner: &Spawner,
    snapshot: &Snapshot,
    isolation: Isolation,
    timeout: Option<Duration>,
) -> Result<Shell, LaunchError> {
    let packet = restore_packet(snapshot, isolation, timeout)?;
    shell_with(spawner, snapshot.ram_bytes(), &packet, snapshot.ram_file())
}

fn shell_with(
    spawner: &Spawner,
    ram_bytes: u64,
    packet: &Packet,
    file: &File,
) -> Result<Shell, LaunchError> {
    let shell = spawner.shell(ram_bytes)?;
    // A shell that is gone already has said why.
    let _ = shell.control.send_with(packet, &[file.as_fd()]);
    Ok(shell)
}

pub(crate) fn open_image(path: &PathBuf) -> Result<File, LaunchError> {
    jiffy_files::open(path).map_err(|source| LaunchError::Image {
        path: path.clone(),
        source,
    })
}
