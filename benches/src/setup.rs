//! What suites begin with: programs, images, a function with its snapshot, and shells that wait for it.
//!
//! Not here: a clock that anybody relies on but the one of [`Function::hand_over`] and [`request`].

use std::{
    env,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use jiffy_client::{NewSnapshot, Shell, Spawner, SpawnerOptions, create_snapshot, restore_packet};
use jiffy_control::{Event, Exchange, Isolation, Phases, Request, Stats};
use jiffy_snapshots::{PageRun, Snapshot};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

use crate::{
    sides,
    suites::{Fallible, Run},
};

/// What a VM may take for `init` or a request.
pub const LIMIT: Duration = Duration::from_secs(10);
/// RAM of VMs where it is not what varies.
pub const RAM_BYTES: u64 = 16 << 20;
/// What `hello` is asked, by every suite and by its neighbours.
pub const HELLO_EVENT: &[u8] = br#"{"name":"Ada"}"#;
/// What it answers.
pub const HELLO_ANSWER: &[u8] = br#"{"greeting":"Hello, Ada!"}"#;
/// Functions under measure: name of the image, and the folder of the crate.
const FUNCTIONS: [(&str, &str); 4] = [
    ("hello.elf", "examples/hello"),
    ("dirty.elf", "benches/guests/dirty"),
    ("calls.elf", "benches/guests/calls"),
    ("hello-std.elf", "benches/guests/hello-std"),
];

/// The folder of `jiffy`, `jiffy-vmm` and `jiffyd`: where this program is, or one that `PATH` names.
pub fn programs() -> Fallible<PathBuf> {
    let own = env::current_exe()?.parent().map(Path::to_owned);
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = own.into_iter().chain(env::split_paths(&path));
    let all = ["jiffy", "jiffy-vmm", "jiffyd"];
    let mut complete = folders.filter(|folder| all.iter().all(|name| folder.join(name).is_file()));
    complete.next().ok_or_else(|| {
        "jiffy, jiffy-vmm and jiffyd are not beside jiffy-bench: run ./scripts/quickstart or `cargo build --release`"
            .into()
    })
}

/// Images of the functions under measure: `hello`, `dirty`, `calls`, and `hello` with `std`.
#[derive(Debug)]
pub struct Images {
    folder: PathBuf,
    /// Where they are built, if they are; gone with this value.
    _made: Option<TempDir>,
}

impl Images {
    /// Those in `folder`, which has a `hello.elf`, a `dirty.elf`, a `calls.elf` and a `hello-std.elf`.
    pub fn in_folder(folder: &Path) -> Fallible<Self> {
        for (name, source) in FUNCTIONS {
            if !folder.join(name).is_file() {
                let folder = folder.display();
                return Err(format!("no {name} in {folder}: must be an image; `jiffy build {source} -o {folder}/{name}` makes it").into());
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            _made: None,
        })
    }

    /// Builds them from the checkout that this program was built from.
    pub fn build(programs: &Path) -> Fallible<Self> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let made = tempfile::tempdir()?;
        for (name, source) in FUNCTIONS {
            let source = checkout.join(source);
            if !source.join("Cargo.toml").is_file() {
                return Err(format!("no {}, from where jiffy-bench was built: must be there, or a folder with images be named by --images", source.display()).into());
            }
            let mut build = Command::new(programs.join("jiffy"));
            build.arg("build").arg(&source);
            build.arg("-o").arg(made.path().join(name));
            let output = build.stdin(Stdio::null()).output()?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(format!(
                    "`jiffy build {}` failed, repeat it to see why: {}",
                    source.display(),
                    said.lines().next_back().unwrap_or_default()
                )
                .into());
            }
        }
        Ok(Self {
            folder: made.path().to_owned(),
            _made: Some(made),
        })
    }

    /// The image of `hello`.
    pub fn hello(&self) -> PathBuf {
        self.folder.join(FUNCTIONS[0].0)
    }

    /// The image of the function that writes as many pages as its event says.
    pub fn dirty(&self) -> PathBuf {
        self.folder.join(FUNCTIONS[1].0)
    }

    /// The image of the function that calls its host as often as its event says.
    pub fn calls(&self) -> PathBuf {
        self.folder.join(FUNCTIONS[2].0)
    }

    /// The image of `hello` with `std`.
    pub fn hello_std(&self) -> PathBuf {
        self.folder.join(FUNCTIONS[3].0)
    }
}

/// A function with its snapshot and working set, one event for it, and what makes shells for it.
#[derive(Debug)]
pub struct Function {
    /// Makes its shells, jailed.
    pub spawner: Spawner,
    /// With its working set.
    pub snapshot: Snapshot,
    /// Where the snapshot is; with this value it is deleted.
    pub directory: TempDir,
    /// Pages that one request writes.
    pub pages: usize,
    event: Vec<u8>,
}

impl Function {
    /// `hello`, with [`RAM_BYTES`] of RAM.
    pub fn hello(run: &Run) -> Fallible<Self> {
        Self::new(run, &run.hello, RAM_BYTES, HELLO_EVENT)
    }

    /// Makes a snapshot of `image` and records the working set of `event`.
    pub fn new(run: &Run, image: &Path, ram_bytes: u64, event: &[u8]) -> Fallible<Self> {
        let vmm = run.programs.join("jiffy-vmm");
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("function.snap");
        let new = NewSnapshot {
            vmm: vmm.clone(),
            spawner: SpawnerOptions::default(),
            image: image.to_owned(),
            ram_bytes: Some(ram_bytes),
            environment: vec![],
            timeout: Some(LIMIT),
            output: path.clone(),
        };
        create_snapshot(&new, |_| {})?;
        let mut function = Self {
            spawner: Spawner::start(&vmm, &SpawnerOptions::default())?,
            snapshot: Snapshot::open(&path)?,
            directory,
            pages: 0,
            event: event.to_owned(),
        };
        let (runs, pages) = function.record()?;
        function.pages = usize::try_from(pages)?;
        jiffy_snapshots::write_working_set(&path, &runs)?;
        function.snapshot = Snapshot::open(&path)?;
        Ok(function)
    }

    /// The snapshot's directory.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("function.snap")
    }

    /// RAM of its VMs, bytes.
    pub fn ram_bytes(&self) -> usize {
        usize::try_from(self.snapshot.ram_bytes()).unwrap_or(usize::MAX)
    }

    /// A request with its event.
    pub fn request(&self) -> Request {
        Request {
            body: self.event.clone(),
            ..Request::default()
        }
    }

    /// From now on shells are made on the far side: a vCPU that runs where it was not made costs this host 100 µs, and the
    /// floor's runs where it was made.
    pub fn make_far(&self) {
        sides::far(self.spawner.process_id());
    }

    /// Makes a shell and waits until it waits.
    pub fn shell(&self) -> Fallible<Shell> {
        waiting(&self.spawner, self.snapshot.ram_bytes())
    }

    /// Hands a shell the snapshot and a request; from there until the response is read.
    pub fn hand_over(&self, shell: &Shell, isolation: Isolation) -> Fallible<Duration> {
        let request = self.request();
        let packet = restore_packet(&self.snapshot, isolation, Some(LIMIT), &[])?;
        let mut exchange = Exchange::new()?;
        let began = Instant::now();
        let file = [self.snapshot.ram_file().as_fd()];
        shell.control.send_with(&packet, &file)?;
        exchange.write(&mut &shell.stream, &request)?;
        let response = exchange.read(&mut &shell.stream)?;
        let took = began.elapsed();
        if response.kind != jiffy_abi::frame::ResponseKind::Ok {
            return Err(format!("the function failed: {}", text(&response.body)).into());
        }
        Ok(took)
    }

    /// A VM that has answered its first request and is ready for the next.
    pub fn instance(&self, isolation: Isolation) -> Fallible<Shell> {
        let shell = self.shell()?;
        self.hand_over(&shell, isolation)?;
        done(&shell)?;
        Ok(shell)
    }

    /// The pages that one request needs, and how many it writes.
    fn record(&self) -> Fallible<(Vec<PageRun>, u64)> {
        let shell = self.shell()?;
        self.hand_over(&shell, Isolation::Fresh)?;
        let runs = loop {
            if let Event::WorkingSet(runs) = event(&shell)? {
                break runs;
            }
        };
        let run = |(first_page, pages): (u64, u64)| {
            Some(PageRun {
                first_page: first_page.try_into().ok()?,
                pages: pages.try_into().ok()?,
            })
        };
        let runs: Option<Vec<_>> = runs.into_iter().map(run).collect();
        let runs = runs.ok_or("the VMM told a working set beyond all RAM")?;
        Ok((runs, done(&shell)?.last_reset_pages))
    }
}

/// Makes a shell and waits until it waits.
pub fn waiting(spawner: &Spawner, ram_bytes: u64) -> Fallible<Shell> {
    let shell = spawner.shell(ram_bytes)?;
    match event(&shell)? {
        Event::Waiting { .. } => Ok(shell),
        other => Err(format!("instead of waiting a shell said {other:?}").into()),
    }
}

/// From `request` written to its response read, by a VM that waits for one.
pub fn request(shell: &Shell, request: &Request) -> Fallible<Duration> {
    let mut exchange = Exchange::new()?;
    let began = Instant::now();
    exchange.write(&mut &shell.stream, request)?;
    let response = exchange.read(&mut &shell.stream)?;
    let took = began.elapsed();
    if response.kind != jiffy_abi::frame::ResponseKind::Ok {
        return Err(format!("the function failed: {}", text(&response.body)).into());
    }
    Ok(took)
}

/// Waits until a VM has settled after its response: until it is pristine again, if it is to be.
pub fn done(shell: &Shell) -> Fallible<Stats> {
    loop {
        match event(shell)? {
            Event::Done(stats) => return Ok(stats),
            Event::Stopped(report) => {
                return Err(format!("the VM ended: {:?}", report.end).into());
            }
            Event::Died(death, _) => return Err(format!("the VM's process ended: {death}").into()),
            _ => {}
        }
    }
}

/// Waits until the image that a shell was told to boot has run its `init`.
pub fn ready(shell: &Shell) -> Fallible<Phases> {
    loop {
        match event(shell)? {
            Event::Ready(phases) => return Ok(phases),
            Event::Waiting { .. } | Event::Log(_) => {}
            other => return Err(format!("instead of READY a VM said {other:?}").into()),
        }
    }
}

/// Ends a shell and waits until its process is gone, so that its end is not in the next measurement.
pub fn end(shell: Shell) {
    shell.process.kill();
    let limit = Timespec::try_from(LIMIT).ok();
    let fd = shell.process.as_fd();
    // Whatever it says: there is no more to do about it.
    let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], limit.as_ref());
}

fn event(shell: &Shell) -> Fallible<Event> {
    match shell.control.recv()? {
        Some(Event::Failed { message, .. }) => Err(message.into()),
        Some(event) => Ok(event),
        None => Err("jiffy-vmm ended without a word: see its standard error".into()),
    }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
