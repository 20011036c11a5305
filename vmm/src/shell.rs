//! A shell: a VM that is made before anybody knows for what, and what becomes of it.
//!
//! ```text
//!            Boot                           requests
//! Waiting ─────────▶ booted ── Capture ──▶ ───────────▶ Stopped
//!    │      Restore                         requests
//!    └─────────────▶ restored ────────────▶ ───────────▶ Stopped
//! ```
//!
//! Everything that does not depend on the function is done before a shell waits: the VM, its memory
//! slot, its vCPU and the jail. Not here: processes (`spawner`), the jail (`jail`).

use std::{
    fs::File,
    hint::black_box,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::FileExt, net::UnixStream},
    },
    rc::Rc,
    time::{Duration, Instant},
};

use jiffy_abi::layout::PAGE_BYTES;
use jiffy_control::{
    Blame, Command, Devices, DevicesError, Event, Given, Isolation, Missing, Packet, PageRuns,
    Phases,
};
use jiffy_image::ReadError;
use jiffy_snapshots::{
    DIGEST_BYTES, Digest, OpenError, Page, PageRun, RamSummary, Snapshot, State, StateFile,
    state::ImageInfo,
};
use jiffy_socket::{ControlError, ControlSocket, rehearse};

use crate::{
    boot::{self, Image, ImageError, LoadError},
    kvm::{Host, KvmError, VcpuTarget},
    mem::{PageMap, Ram, RamError, touch_stack},
    run::{CaptureError, Prepared, RestoreError, RunError, Turn, Vm},
};

/// Pages of a captured VM that are dropped together.
const DROPPED_PAGES: usize = 256;
/// Runs of pages in the working set of a small function.
const REHEARSED_RUNS: usize = 4;

/// Why a shell, or its VM, came to an end that is no guest's.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ShellError {
    #[error("cannot read the image")]
    Read(#[source] io::Error),
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
    #[error("cannot write the VM's RAM to the file for it")]
    Write(#[source] io::Error),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("the command {0} is out of turn")]
    OutOfTurn(&'static str),
    #[error("a command came without its file")]
    NoFile,
    #[error("a command gives devices that cannot be taken")]
    Devices(#[from] DevicesError),
    #[error("a command gives a {0}, which each VM has already")]
    Twice(&'static str),
}

impl From<ReadError> for ShellError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Read(error) => Self::Read(error),
            ReadError::Image(error) => Self::Image(error),
        }
    }
}

impl ShellError {
    /// Who is to blame for it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Read(_) | Self::Image(_) | Self::Ram(RamError::Size(_)) => Blame::Input,
            Self::Load(_) => Blame::Input,
            Self::Open(error) => match error.blame() {
                jiffy_snapshots::Blame::Input => Blame::Input,
                jiffy_snapshots::Blame::Host => Blame::Host,
            },
            Self::Restore(
                RestoreError::Cpu(_)
                | RestoreError::Device(_)
                | RestoreError::NotListening
                | RestoreError::RamBytes { .. }
                | RestoreError::Kvm(KvmError::NotRing3),
            ) => Blame::Input,
            Self::Capture(
                CaptureError::Ended(_) | CaptureError::RandomInit | CaptureError::NotIdle,
            ) => Blame::Input,
            Self::Capture(CaptureError::Late) | Self::OutOfTurn(_) => Blame::Bug,
            Self::NoFile | Self::Devices(_) | Self::Twice(_) => Blame::Bug,
            Self::Write(_) | Self::Control(_) => Blame::Host,
            Self::Restore(_) | Self::Capture(CaptureError::Run(_)) => Blame::Host,
            Self::Ram(_) | Self::Kvm(_) | Self::Run(_) => Blame::Host,
        }
    }
}

/// Tells events; one that nobody takes is no reason to stop a guest, which ends with its streams.
type Tell = Box<dyn FnMut(Event)>;

/// A shell that waits for its first command.
pub struct Shell {
    prepared: Prepared<Tell>,
    control: Rc<ControlSocket>,
    made_ns: u64,
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").finish_non_exhaustive()
    }
}

/// A VM that has a function.
struct Running {
    vm: Vm<Tell>,
    /// What was booted, until it may no longer be captured.
    image: Option<ImageInfo>,
}

impl Shell {
    /// Makes a VM prepared for `ram_bytes` of RAM. `control` and `stream` are the shell's ends;
    /// `page_map` is of this process.
    pub fn new(
        host: &Host,
        ram_bytes: u64,
        control: ControlSocket,
        stream: UnixStream,
        page_map: PageMap,
    ) -> Result<Self, ShellError> {
        let mut lap = lap_timer();
        let machine = host.machine(Ram::reserve(ram_bytes)?)?;
        let control = Rc::new(control);
        let tell: Tell = {
            let control = Rc::clone(&control);
            Box::new(move |event| drop(control.send(&event)))
        };
        let mut prepared = Prepared::with_page_map(machine, stream, page_map, tell)?;
        prepared.watch(control.as_fd());
        Ok(Self {
            prepared,
            control,
            made_ns: lap(),
        })
    }

    /// Its end of the control socket.
    pub fn control(&self) -> &ControlSocket {
        &self.control
    }

    /// Waits for commands and does them, until the VM ends or its owner goes. What goes wrong is
    /// told as the last event, and returned. `missing` are the layers that its jail lacks.
    pub fn serve(mut self, missing: Vec<Missing>) -> Result<(), ShellError> {
        let control = Rc::clone(&self.control);
        // Behind the jail: the thread that this makes has the jail's user and groups.
        if let Err(error) = self.prepared.machine_mut().warm_up() {
            return Self::fail(&control, error.into());
        }
        touch_stack();
        self.rehearse();
        // If the owner is gone, receiving says so.
        let cpu_ns = self.prepared.count_cpu_time();
        drop(control.send(&Event::Waiting { missing, cpu_ns }));
        let result = self.serve_commands();
        match result {
            Ok(()) => Ok(()),
            Err(error) => Self::fail(&control, error),
        }
    }

    /// Takes in a command as the one that will come: malloc has then taken the pages for it, and copied those that it shared
    /// with the spawner, at a fault of 3.5 µs each. It is no more than faster afterwards.
    fn rehearse(&mut self) {
        let devices = self.prepared.device_states();
        let machine = self.prepared.machine_mut();
        let state = State {
            cpu: machine.cpu().clone(),
            devices: devices.unwrap_or_default(),
            ..State::default()
        };
        let ram = RamSummary {
            bytes: machine.ram().bytes(),
            pages_stored: 0,
            digest: Digest([0; DIGEST_BYTES]),
        };
        let Ok(state) = (StateFile { ram, state }).to_bytes() else {
            return;
        };
        let restore = Command::Restore {
            state,
            working_set: vec![(0, 1); REHEARSED_RUNS],
            isolation: Isolation::Fresh,
            timeout_ms: None,
            devices: Devices::default(),
        };
        let received = Packet::new(&restore).and_then(|packet| rehearse(&packet));
        if let Ok(Command::Restore {
            state, working_set, ..
        }) = received
        {
            let taken = (
                StateFile::from_bytes(&state),
                page_runs(working_set),
                VcpuTarget::default(),
            );
            drop(black_box(taken));
        }
    }

    fn fail(control: &ControlSocket, error: ShellError) -> Result<(), ShellError> {
        let (blame, message) = (error.blame(), jiffy_control::error_chain(&error));
        drop(control.send(&Event::Failed { blame, message }));
        Err(error)
    }

    fn serve_commands(mut self) -> Result<(), ShellError> {
        let control = Rc::clone(&self.control);
        let Some((command, files)) = control.recv_with()? else {
            return Ok(());
        };
        match command {
            Command::Boot {
                ram_bytes,
                timeout_ms,
                environment,
                devices,
            } => {
                let file = self.take(files, &devices)?;
                self.boot(&file, ram_bytes, limit(timeout_ms), &environment)?
                    .serve(&control)
            }
            Command::Restore {
                state,
                working_set,
                isolation,
                timeout_ms,
                devices,
            } => {
                let file = self.take(files, &devices)?;
                let snapshot = Snapshot::from_parts(state, file)?;
                let snapshot = match page_runs(working_set) {
                    Some(runs) => snapshot.with_page_runs(runs),
                    None => snapshot,
                };
                self.restore(snapshot, isolation, limit(timeout_ms))?
                    .serve(&control)
            }
            Command::Stop => Ok(()),
            Command::Capture => Err(ShellError::OutOfTurn("Capture")),
            Command::Reset => Err(ShellError::OutOfTurn("Reset")),
            Command::Stats => Err(ShellError::OutOfTurn("Stats")),
        }
    }

    /// A command's own file; what comes behind it goes to the devices, which the VM has from here on.
    fn take(&mut self, files: Vec<OwnedFd>, devices: &Devices) -> Result<File, ShellError> {
        let mut files = files.into_iter();
        let file = files.next().ok_or(ShellError::NoFile)?;
        for given in devices.pair(files.collect())? {
            match given {
                Given::Console => self.prepared.give_console(),
                Given::Nic(network) => self.prepared.give_nic(network),
                // It came when this was made.
                Given::Vsock(_) => return Err(ShellError::Twice(given.id().name())),
            }
        }
        Ok(file.into())
    }

    fn boot(
        mut self,
        image: &File,
        ram_bytes: u64,
        timeout: Option<Duration>,
        environment: &[u8],
    ) -> Result<Running, ShellError> {
        let mut lap = lap_timer();
        let mut phases = Phases {
            kvm_ns: self.made_ns,
            ..Phases::default()
        };
        let file = image;
        let image = Image::read(file)?;
        phases.image_ns = lap();
        self.size(ram_bytes)?;
        let devices = self.prepared.devices();
        let machine = self.prepared.machine_mut();
        machine.ram_mut().map_zeroed()?;
        let loaded = boot::load(machine.ram(), &image, file, &devices)?;
        boot::set_environment(machine.ram(), environment)?;
        phases.load_ns = lap();
        let note = image.note();
        let image = ImageInfo {
            function_name: note.function_name().into(),
            function_version: note.function_version().into(),
            flags: note.flags,
            // Who has the file knows its digest.
            ..ImageInfo::default()
        };
        self.prepared.limit(timeout);
        Ok(Running {
            vm: self.prepared.boot(loaded, phases)?,
            image: Some(image),
        })
    }

    fn restore(
        mut self,
        snapshot: Snapshot,
        isolation: Isolation,
        timeout: Option<Duration>,
    ) -> Result<Running, ShellError> {
        let began = Instant::now();
        self.size(snapshot.ram_bytes())?;
        self.prepared.limit(timeout);
        let mut vm = self.prepared.restore(snapshot, isolation)?;
        vm.set_phases(Phases {
            kvm_ns: self.made_ns,
            restore_ns: nanoseconds(began.elapsed()),
            ..Phases::default()
        });
        Ok(Running { vm, image: None })
    }

    /// Gives the VM RAM of this size, if it was prepared for another.
    fn size(&mut self, ram_bytes: u64) -> Result<(), ShellError> {
        let machine = self.prepared.machine_mut();
        if machine.ram().bytes() != ram_bytes {
            machine.replace_ram(Ram::reserve(ram_bytes)?)?;
        }
        Ok(())
    }
}

impl Running {
    fn serve(mut self, control: &ControlSocket) -> Result<(), ShellError> {
        loop {
            let event = match self.vm.turn()? {
                Turn::Done => Event::Done(*self.vm.stats()),
                Turn::Commanded => match control.recv_with()? {
                    Some((Command::Stop, _)) | None => return Ok(()),
                    Some((command, files)) => self.command(&command, files)?,
                },
                Turn::Ended(end) => {
                    let report = self.vm.report(end)?;
                    drop(control.send(&Event::Stopped(report)));
                    return Ok(());
                }
            };
            drop(control.send(&event));
        }
    }

    fn command(&mut self, command: &Command, files: Vec<OwnedFd>) -> Result<Event, ShellError> {
        match command {
            Command::Stats => {}
            Command::Reset => self.vm.reset()?,
            Command::Capture => {
                let image = self.image.take().ok_or(ShellError::OutOfTurn("Capture"))?;
                let file = files.into_iter().next().ok_or(ShellError::NoFile)?;
                let state = self.vm.capture(image)?;
                hand_over(self.vm.machine_mut().ram_mut(), &File::from(file))?;
                return Ok(Event::Captured(Box::new(state)));
            }
            Command::Boot { .. } => return Err(ShellError::OutOfTurn("Boot")),
            Command::Restore { .. } => return Err(ShellError::OutOfTurn("Restore")),
            Command::Stop => unreachable!("the caller ends then"),
        }
        Ok(Event::Done(self.vm.count_cpu_time()))
    }
}

fn limit(timeout_ms: Option<u64>) -> Option<Duration> {
    timeout_ms.map(Duration::from_millis)
}

/// A working set as the snapshot takes it; `None` if it cannot be one.
fn page_runs(runs: PageRuns) -> Option<Vec<PageRun>> {
    let run = |(first_page, pages)| {
        Some(PageRun {
            first_page: u32::try_from(first_page).ok()?,
            pages: u32::try_from(pages).ok()?,
        })
    };
    runs.into_iter().map(run).collect()
}

/// Writes the pages that were touched, and puts the file in the place of RAM; the other pages are zero, as they are in the
/// file. A page that is written is dropped: both would count against the VM's memory, and a VM that uses more than half
/// of it could never be captured.
fn hand_over(ram: &mut Ram, file: &File) -> Result<(), ShellError> {
    let touched = ram.touched();
    let is_touched = |page: u64| match (&touched, usize::try_from(page)) {
        (Some(touched), Ok(index)) => touched.get(index).is_none_or(|page| page & 1 != 0),
        _ => true,
    };
    let pages = ram.bytes() / PAGE_BYTES;
    for first in (0..pages).step_by(DROPPED_PAGES) {
        let block = first..pages.min(first + DROPPED_PAGES as u64);
        let mut was_written = false;
        for number in block.clone().filter(|page| is_touched(*page)) {
            let page: Option<Page> = ram.read_array(number * PAGE_BYTES);
            let page =
                page.ok_or_else(|| ShellError::Write(io::ErrorKind::UnexpectedEof.into()))?;
            if page.iter().any(|byte| *byte != 0) {
                let written = file.write_all_at(&page, number * PAGE_BYTES);
                written.map_err(ShellError::Write)?;
            }
            was_written = true;
        }
        if was_written {
            ram.drop_pages(block)?;
        }
    }
    Ok(ram.map_over(file)?)
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
