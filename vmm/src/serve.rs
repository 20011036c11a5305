//! Serves one VM to whoever holds the other ends of standard input and output.

use std::{
    fs,
    io::{self, Read},
    os::{fd::AsFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use jiffy_control::{Blame, ControlSocket, Event, Phases, Report};
use jiffy_vmm::{
    boot::{self, IMAGE_BYTES_MAX, Image, ImageError, LoadError},
    kvm::{KvmError, Machine},
    mem::{Ram, RamError},
    run::{RunError, Vm},
};

use crate::ServeOptions;

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
    #[error("cannot take over the request stream on standard input")]
    Stream(#[source] io::Error),
}

impl ServeError {
    fn blame(&self) -> Blame {
        match self {
            Self::Read { .. } | Self::Image(_) | Self::Ram(RamError::Size(_)) => Blame::Input,
            Self::Load(LoadError::TooSmall { .. }) => Blame::Input,
            Self::Load(LoadError::Copy(_) | LoadError::PageTables(_)) => Blame::Bug,
            Self::Ram(_) | Self::Kvm(_) | Self::Run(_) | Self::Stream(_) => Blame::Host,
        }
    }
}

pub(crate) fn serve(options: &ServeOptions) -> ExitCode {
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
    let tell = |event: Event| control.send(&event);
    let (last, code) = match run(options, |event| drop(tell(event))) {
        Ok(report) => (Event::Stopped(report), ExitCode::SUCCESS),
        Err(error) => {
            let blame = error.blame();
            (
                Event::Failed {
                    blame,
                    message: jiffy_control::error_chain(&error),
                },
                ExitCode::FAILURE,
            )
        }
    };
    if let Err(error) = tell(last) {
        eprintln!(
            "jiffy-vmm: cannot tell how the VM ended ({error}); `serve` is for programs, use `jiffy-vmm IMAGE`"
        );
        return ExitCode::FAILURE;
    }
    code
}

fn run(options: &ServeOptions, on_event: impl FnMut(Event)) -> Result<Report, ServeError> {
    let start = Instant::now();
    let mut phases = Phases::default();
    let mut lap = lap_timer(start);

    let bytes = read_image(&options.image)?;
    let image = Image::parse(&bytes)?;
    phases.image_ns = lap();
    let ram = Ram::new(options.memory)?;
    let loaded = boot::load(&ram, &image, &bytes)?;
    drop(bytes);
    phases.load_ns = lap();
    let machine = Machine::new(ram)?;
    phases.kvm_ns = lap();

    let stream = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(ServeError::Stream)?;
    let timeout = options.timeout_ms.map(Duration::from_millis);
    let vm = Vm::new(
        machine,
        &loaded,
        UnixStream::from(stream),
        timeout,
        phases,
        on_event,
    )?;
    Ok(vm.run()?)
}

/// A function that tells the nanoseconds since it was called last.
fn lap_timer(mut last: Instant) -> impl FnMut() -> u64 {
    move || {
        let now = Instant::now();
        let lap = now.duration_since(last);
        last = now;
        u64::try_from(lap.as_nanos()).unwrap_or(u64::MAX)
    }
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
