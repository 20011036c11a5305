//! How a VM is to be started, and the first command that it gets.
//!
//! Not here: what is said to it then (`vm`).

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiffy_abi::devices::DeviceId;
use jiffy_control::{Blame, Command, Devices, Isolation, Packet, PacketError};
use jiffy_snapshots::{OpenError, PageRun, Snapshot};

use crate::{SpawnError, SpawnerOptions};

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
    /// What it is given besides the vsock device, which each VM has; a snapshot has to be of a VM with the same.
    pub devices: Vec<DeviceId>,
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
    #[error("cannot use a shell's sockets")]
    Sockets(#[source] io::Error),
}

impl LaunchError {
    /// Who is to blame for it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Image { .. } => Blame::Input,
            Self::Snapshot(error) => match error.blame() {
                jiffy_snapshots::Blame::Input => Blame::Input,
                jiffy_snapshots::Blame::Host => Blame::Host,
            },
            Self::Spawn(SpawnError::Failed { blame, .. }) => *blame,
            Self::Spawn(_) | Self::Command(_) | Self::Sockets(_) => Blame::Host,
        }
    }
}

/// The command that boots an image, whose file has to travel with it.
pub fn boot_packet(
    ram_bytes: u64,
    timeout: Option<Duration>,
    environment: Vec<u8>,
    devices: &[DeviceId],
) -> Result<Packet, PacketError> {
    Packet::new(&Command::Boot {
        ram_bytes,
        timeout_ms: timeout.map(timeout_ms),
        environment,
        devices: Devices::new(devices),
    })
}

/// The command that restores `snapshot`, whose RAM file has to travel with it.
pub fn restore_packet(
    snapshot: &Snapshot,
    isolation: Isolation,
    timeout: Option<Duration>,
    devices: &[DeviceId],
) -> Result<Packet, PacketError> {
    let packet = |working_set: &[PageRun]| {
        let run = |run: &PageRun| (run.first_page.into(), run.pages.into());
        Packet::new(&Command::Restore {
            state: snapshot.state_bytes().to_vec(),
            working_set: working_set.iter().map(run).collect(),
            isolation,
            timeout_ms: timeout.map(timeout_ms),
            devices: Devices::new(devices),
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

pub(crate) fn open_image(path: &Path) -> Result<File, LaunchError> {
    jiffy_files::open(path).map_err(|source| LaunchError::Image {
        path: path.to_owned(),
        source,
    })
}
