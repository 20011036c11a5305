//! How a VM is to be started, and the first command that it gets.
//!
//! Not here: what is said to it then (`vm`).

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiffy_abi::devices::DeviceId;
use jiffy_control::{Blame, Command, Devices, Isolation, Network, Packet, PacketError};
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
    pub devices: Vec<Device>,
}

/// A device that a VM is given besides the vsock device.
#[derive(Clone, Debug)]
pub enum Device {
    /// A serial port, whose lines go to the log.
    Console,
    /// A NIC; without a network, as a VM has it that is to be captured, what it sends is dropped and nothing comes.
    Nic(Option<NicEnd>),
}

/// What is at the other end of a NIC.
#[derive(Clone, Debug)]
pub struct NicEnd {
    /// Who the guest is, and whom it sends to.
    pub network: Network,
    /// Takes and gives one frame a call and does not block: a TAP without a header of its own (`IFF_NO_PI`, `O_NONBLOCK`).
    pub tap: Arc<OwnedFd>,
}

impl Device {
    /// Which it is.
    pub fn id(&self) -> DeviceId {
        match self {
            Self::Console => DeviceId::Console,
            Self::Nic(_) => DeviceId::Nic,
        }
    }

    /// The same as a VM has it that is to be captured: with no network.
    #[must_use]
    pub fn without_network(&self) -> Self {
        match self {
            Self::Console => Self::Console,
            Self::Nic(_) => Self::Nic(None),
        }
    }

    /// What has to travel with the command that gives it.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Nic(Some(end)) => Some(end.tap.as_fd()),
            Self::Nic(None) | Self::Console => None,
        }
    }
}

/// The list of these devices, as it stands in a command. A VM has one of each kind at most, whose descriptors have to travel in
/// the order of their numbers.
fn list(devices: &[Device]) -> Devices {
    let ids: Vec<_> = devices.iter().map(Device::id).collect();
    let list = Devices::new(&ids);
    let network = devices.iter().find_map(|device| match device {
        Device::Nic(Some(end)) => Some(end.network),
        Device::Nic(None) | Device::Console => None,
    });
    match network {
        Some(network) => list.with_network(network),
        None => list,
    }
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

/// The command that boots an image, whose file has to travel with it, and behind that what the devices need.
pub fn boot_packet(
    ram_bytes: u64,
    timeout: Option<Duration>,
    environment: Vec<u8>,
    devices: &[Device],
) -> Result<Packet, PacketError> {
    Packet::new(&Command::Boot {
        ram_bytes,
        timeout_ms: timeout.map(timeout_ms),
        environment,
        devices: list(devices),
    })
}

/// The command that restores `snapshot`, whose RAM file has to travel with it, and behind that what the devices need.
pub fn restore_packet(
    snapshot: &Snapshot,
    isolation: Isolation,
    timeout: Option<Duration>,
    devices: &[Device],
) -> Result<Packet, PacketError> {
    let packet = |working_set: &[PageRun]| {
        let run = |run: &PageRun| (run.first_page.into(), run.pages.into());
        Packet::new(&Command::Restore {
            state: snapshot.state_bytes().to_vec(),
            working_set: working_set.iter().map(run).collect(),
            isolation,
            timeout_ms: timeout.map(timeout_ms),
            devices: list(devices),
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
