//! Serves one VM to whoever holds the other ends of standard input and output, or makes a snapshot
//! of one.

use std::{
    fs,
    io::{self, Read},
    os::{fd::AsFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use jiffy_control::{Blame, ControlSocket, Event, Phases, Report, Saved};
use jiffy_snapshots::{CreateError, OpenError, Snapshot, state::ImageInfo};
use jiffy_vmm::{
    boot::{self, IMAGE_BYTES_MAX, Image, ImageError, LoadError, Loaded},
    kvm::{KvmError, Machine},
    mem::{Ram, RamError},
    run::{CaptureError, Isolation, Prepared, RestoreError, RunError, Vm},
};
use sha2::{Digest, Sha256};

use crate::{ServeOptions, SnapshotOptions};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("cannot read the image {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Ram(#[from] RamError),
    #[error(transparent)]
    Kvm(#[from] KvmError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error("cannot take over the request stream on standard input")]
    Stream(#[source] io::Error),
}

impl ServeError {
    fn blame(&self) -> Blame {
        match self {
            Self::Read { .. } | Self::Image(_) | Self::Ram(RamError::Size(_)) => Blame::Input,
            Self::Load(LoadError::TooSmall { .. } | LoadError::Environment(_)) => Blame::Input,
            Self::Load(LoadError::Copy(_) | LoadError::PageTables(_)) => Blame::Bug,
            Self::Open(error) => blame(error.blame()),
            Self::Create(error) => blame(error.blame()),
            Self::Restore(
                RestoreError::Cpu(_)
                | RestoreError::Device(_)
                | RestoreError::NotListening
                | RestoreError::RamBytes { .. }
                | RestoreError::Kvm(KvmError::NotRing3)
                | RestoreError::Ram(RamError::FileLength { .. }),
            ) => Blame::Input,
            Self::Capture(
                CaptureError::Ended(_) | CaptureError::RandomInit | CaptureError::NotIdle,
            ) => Blame::Input,
            Self::Restore(_) | Self::Capture(CaptureError::Run(_)) => Blame::Host,
            Self::Ram(_) | Self::Kvm(_) | Self::Run(_) | Self::Stream(_) => Blame::Host,
        }
    }
}

fn blame(blame: jiffy_snapshots::Blame) -> Blame {
    match blame {
        jiffy_snapshots::Blame::Input => Blame::Input,
        jiffy_snapshots::Blame::Host => Blame::Host,
    }
}

/// Runs a VM for the one who holds the request stream.
pub(crate) fn serve(options: &ServeOptions) -> ExitCode {
    with_control(|on_event| {
        let stream = io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(ServeError::Stream)?;
        let stream = UnixStream::from(stream);
        let timeout = options.limits.timeout();
        let vm = match (&options.snapshot, &options.image) {
            (Some(snapshot), _) => restore(snapshot, options, stream, timeout, on_event)?,
            (None, Some(image)) => {
                let started = start(image, options.limits.memory)?;
                let Started {
                    machine,
                    loaded,
                    phases,
                    ..
                } = started;
                Prepared::new(machine, stream, timeout, on_event)?.boot(loaded, phases)?
            }
            (None, None) => unreachable!("clap demands one of them"),
        };
        Ok(Event::Stopped(vm.run()?))
    })
}

/// Boots an image, runs its `init`, and writes what there is then as a snapshot.
pub(crate) fn snapshot(options: &SnapshotOptions) -> ExitCode {
    with_control(|on_event| {
        // The guest accepts a request stream, on which no request will ever come.
        let (stream, _client) = UnixStream::pair().map_err(ServeError::Stream)?;
        let Started {
            machine,
            loaded,
            phases,
            image,
        } = start(&options.image, options.limits.memory)?;
        let timeout = options.limits.timeout();
        let mut vm = Prepared::new(machine, stream, timeout, on_event)?.boot(loaded, phases)?;
        let state = match vm.capture(image) {
            // How `init` went wrong is told as it is of a VM that serves.
            Err(CaptureError::Ended(outcome)) => {
                let stats = *vm.stats();
                return Ok(Event::Stopped(Report { outcome, stats }));
            }
            state => state?,
        };
        let began = Instant::now();
        let ram = vm.machine().ram();
        let touched = ram.touched();
        let read = |number, page: &mut [u8; 4096]| read_page(ram, touched.as_deref(), number, page);
        let digest = jiffy_snapshots::create(&options.output, &state, ram.bytes(), read)?;
        let snapshot = Snapshot::open(&options.output)?;
        Ok(Event::Saved(Saved {
            digest: digest.0,
            ram_bytes: snapshot.ram_bytes(),
            ram_pages_stored: snapshot.ram_pages_stored(),
            save_ns: nanoseconds(began.elapsed()),
        }))
    })
}

/// Runs `work`, whose result is the last event; its errors are told as one.
fn with_control(work: impl FnOnce(&mut dyn FnMut(Event)) -> Result<Event, ServeError>) -> ExitCode {
    let control = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map(ControlSocket::from);
    let control = match control {
        Ok(control) => control,
        Err(error) => {
            eprintln!("jiffy-vmm: cannot take over the control socket: {error}");
            return ExitCode::FAILURE;
        }
    };
    // An event that nobody takes is no reason to stop a guest: it ends with its request stream.
    let mut on_event = |event: Event| drop(control.send(&event));
    let (last, code) = match work(&mut on_event) {
        Ok(last) => (last, ExitCode::SUCCESS),
        Err(error) => {
            let (blame, message) = (error.blame(), jiffy_control::error_chain(&error));
            (Event::Failed { blame, message }, ExitCode::FAILURE)
        }
    };
    if let Err(error) = control.send(&last) {
        eprintln!(
            "jiffy-vmm: cannot tell how the VM ended ({error}); this command is for programs, use `jiffy` or `jiffy-vmm IMAGE`"
        );
        return ExitCode::FAILURE;
    }
    code
}

struct Started {
    machine: Machine,
    loaded: Loaded,
    phases: Phases,
    image: ImageInfo,
}

/// Makes a machine with the image in it, not yet running.
fn start(path: &Path, memory_bytes: u64) -> Result<Started, ServeError> {
    let mut lap = lap_timer();
    let mut phases = Phases::default();
    let bytes = read_image(path)?;
    let image = Image::parse(&bytes)?;
    phases.image_ns = lap();
    let ram = Ram::new(memory_bytes)?;
    let loaded = boot::load(&ram, &image, &bytes)?;
    phases.load_ns = lap();
    let machine = Machine::new(ram)?;
    phases.kvm_ns = lap();
    let note = image.note();
    let image = ImageInfo {
        digest: Sha256::digest(&bytes).into(),
        function_name: note.function_name().into(),
        function_version: note.function_version().into(),
        flags: note.flags,
    };
    Ok(Started {
        machine,
        loaded,
        phases,
        image,
    })
}

fn restore<F: FnMut(Event)>(
    path: &Path,
    options: &ServeOptions,
    stream: UnixStream,
    timeout: Option<Duration>,
    on_event: F,
) -> Result<Vm<F>, ServeError> {
    let mut lap = lap_timer();
    let mut phases = Phases::default();
    let snapshot = Snapshot::open(path)?;
    phases.image_ns = lap();
    let machine = Machine::new(Ram::reserve(snapshot.ram_bytes())?)?;
    let prepared = Prepared::new(machine, stream, timeout, on_event)?;
    phases.kvm_ns = lap();
    let isolation = if options.reuse {
        Isolation::Reuse
    } else {
        Isolation::Fresh
    };
    let mut vm = prepared.restore(&snapshot, isolation)?;
    phases.restore_ns = lap();
    vm.ready_after(phases);
    Ok(vm)
}

/// A function that tells the nanoseconds since it was called last.
fn lap_timer() -> impl FnMut() -> u64 {
    let mut last = Instant::now();
    move || {
        let now = Instant::now();
        let lap = now.duration_since(last);
        last = now;
        nanoseconds(lap)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn read_image(path: &Path) -> Result<Vec<u8>, ServeError> {
    let failed = |source| ServeError::Read {
        path: path.to_owned(),
        source,
    };
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // One byte more than allowed, so that `Image::parse` sees that there are too many.
    file.take(IMAGE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

/// Reads a page for a snapshot; one that was never touched is not even looked at.
fn read_page(
    ram: &Ram,
    touched: Option<&[u8]>,
    number: u64,
    page: &mut [u8; 4096],
) -> io::Result<()> {
    let index = usize::try_from(number).map_err(io::Error::other)?;
    if touched.is_none_or(|touched| touched.get(index).is_none_or(|touched| touched & 1 != 0)) {
        let found = ram.read_array(number * 4096);
        *page = found.ok_or(io::ErrorKind::UnexpectedEof)?;
    }
    Ok(())
}
