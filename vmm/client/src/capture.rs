//! Makes a snapshot with a VM of its own.
//!
//! ```text
//! Boot ── Ready: `init` is done ── Capture ── Captured: RAM is in our file ── written, durable
//! ```
//!
//! The VM fills a file in memory and knows of no other: what is written where is decided here.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::PathBuf,
    time::{Duration, Instant},
};

use jiffy_abi::layout::RAM_BYTES_DEFAULT;
use jiffy_control::{LogRecord, Phases};
use jiffy_snapshots::{
    CreateError, DIGEST_BYTES, Digest, OpenError, PAGE_LEN, Page, RamSummary, Snapshot, StateFile,
};

use crate::{
    Captured, Instance, Launch, LaunchError, Source, SpawnerOptions, VmError, launch::open_image,
};

/// Pages that are read at once.
const READ_PAGES: usize = 64;

/// A snapshot that is to be made.
#[derive(Clone, Debug)]
pub struct NewSnapshot {
    /// The `jiffy-vmm` program.
    pub vmm: PathBuf,
    /// How it is jailed.
    pub spawner: SpawnerOptions,
    /// The image.
    pub image: PathBuf,
    /// RAM of the VM, bytes; `None`: the default.
    pub ram_bytes: Option<u64>,
    /// How long `init` may take; `None`: no limit.
    pub timeout: Option<Duration>,
    /// The function's environment, as [`jiffy_control::environment_page`] makes it; may be empty.
    pub environment: Vec<u8>,
    /// The directory that is made; a snapshot that has this name is replaced.
    pub output: PathBuf,
}

/// A snapshot that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// Where the time until `READY` went.
    pub phases: Phases,
    /// Its identity.
    pub digest: Digest,
    /// RAM of the VM, bytes.
    pub ram_bytes: u64,
    /// Pages of RAM that are stored; the rest is zero.
    pub ram_pages_stored: u64,
    /// Time to write it and make it durable, nanoseconds.
    pub save_ns: u64,
}

/// Why a snapshot was not made. What has its name is then as it was.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum CreateSnapshotError {
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Vm(#[from] VmError),
    #[error("cannot write a temporary file for the VM's RAM")]
    Temporary(#[source] io::Error),
    #[error(transparent)]
    Write(#[from] CreateError),
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Boots an image, runs its `init` and writes what there is then as a snapshot. `on_log` gets the
/// log records of `init`, in order.
pub fn create_snapshot(
    new: &NewSnapshot,
    on_log: impl FnMut(LogRecord) + Send + 'static,
) -> Result<Created, CreateSnapshotError> {
    let ram_bytes = new.ram_bytes.unwrap_or(RAM_BYTES_DEFAULT);
    let launch = Launch {
        vmm: new.vmm.clone(),
        spawner: new.spawner.clone(),
        source: Source::Image {
            path: new.image.clone(),
            ram_bytes: Some(ram_bytes),
        },
        timeout: new.timeout,
        devices: vec![],
    };
    let digest =
        Digest::of_file(&open_image(&new.image)?).map_err(|source| LaunchError::Image {
            path: new.image.clone(),
            source,
        })?;
    let mut instance = Instance::spawn_with(&launch, &new.environment, on_log)?;
    let (phases, Captured { mut state, ram }) = instance.capture(ram_bytes)?;
    // The VM's word is not taken for what it was made of.
    state.image.digest = digest.0;
    drop(instance);
    let began = Instant::now();
    let digest = jiffy_snapshots::create(&new.output, &state, ram_bytes, page_reader(&ram))?;
    let snapshot = Snapshot::open(&new.output)?;
    Ok(Created {
        phases,
        digest,
        ram_bytes: snapshot.ram_bytes(),
        ram_pages_stored: snapshot.ram_pages_stored(),
        save_ns: u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX),
    })
}

/// Boots the image of `launch`, whose VMs have `ram_bytes` of RAM, runs its `init` and keeps what there is
/// then in a temporary file without a name: when this process ends, however that may be, nothing of it is
/// left. The rest is as in [`create_snapshot`].
pub fn capture_snapshot(
    launch: &Launch,
    environment: &[u8],
    ram_bytes: u64,
    on_log: impl FnMut(LogRecord) + Send + 'static,
) -> Result<(Phases, Snapshot), CreateSnapshotError> {
    let mut instance = Instance::spawn_with(launch, environment, on_log)?;
    let (phases, Captured { state, ram }) = instance.capture(ram_bytes)?;
    drop(instance);
    // Nobody verifies it: it was never out of this process's hands.
    let summary = RamSummary {
        bytes: ram_bytes,
        pages_stored: 0,
        digest: Digest([0; DIGEST_BYTES]),
    };
    let file = StateFile {
        ram: summary,
        state: *state,
    };
    let state = file.to_bytes().map_err(OpenError::from)?;
    let ram = on_disk(&ram, ram_bytes).map_err(CreateSnapshotError::Temporary)?;
    Ok((phases, Snapshot::from_parts(state, ram)?))
}

/// A copy of RAM in a file without a name, which can only be read from, as one of the store. A file in memory will not
/// do: what a VM touches of its holes stays charged to the VM beside its own copy.
fn on_disk(ram: &File, ram_bytes: u64) -> io::Result<File> {
    let file = tempfile::tempfile()?;
    file.set_len(ram_bytes)?;
    let mut read = page_reader(ram);
    let mut page = [0; PAGE_LEN];
    for number in 0..ram_bytes / PAGE_LEN as u64 {
        read(number, &mut page)?;
        if page != [0; PAGE_LEN] {
            file.write_all_at(&page, number * PAGE_LEN as u64)?;
        }
    }
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Reads a file of RAM as [`jiffy_snapshots::create()`] wants it: each page once, ascending.
pub fn page_reader(ram: &File) -> impl FnMut(u64, &mut Page) -> io::Result<()> + '_ {
    let mut buffer = vec![0; READ_PAGES * PAGE_LEN];
    let mut have = 0..0;
    move |number, page| {
        if !have.contains(&number) {
            let offset = number * PAGE_LEN as u64;
            let mut bytes = 0;
            while bytes < buffer.len() {
                match ram.read_at(&mut buffer[bytes..], offset + bytes as u64)? {
                    0 => break,
                    read => bytes += read,
                }
            }
            if bytes < PAGE_LEN {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            have = number..number + (bytes / PAGE_LEN) as u64;
        }
        let start = usize::try_from(number - have.start).map_err(io::Error::other)? * PAGE_LEN;
        page.copy_from_slice(&buffer[start..start + PAGE_LEN]);
        Ok(())
    }
}
