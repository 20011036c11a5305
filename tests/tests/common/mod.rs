//! VMs in this process, so that a test can look at all of one: RAM, registers, device.
//!
//! Requests and responses have to fit the buffers of a Unix socket, because one thread writes the
//! request, runs the VM and reads the response: what arrives together is then the same in every
//! run. Not here: VMs as a user starts them (`jiffy_tests::vm`).
#![allow(dead_code, reason = "each test takes what it needs")]

use std::{
    fs,
    os::{
        fd::OwnedFd,
        unix::{fs::FileExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiffy_abi::{
    devices::DeviceId,
    frame::ResponseKind,
    layout::{PAGE_BYTES, RAM_BYTES_DEFAULT, RESUME_PAGE},
    resume_page::NetworkIdentity,
};
use jiffy_control::{Event, Exchange, LogRecord, Phases, Response, VmEnd};
use jiffy_snapshots::{
    PAGE_LEN, Page, Snapshot, State,
    devices::{DeviceState, VsockState},
    state::{ImageInfo, VcpuState},
};
use jiffy_tests::hostile::Script;
use jiffy_vmm::{
    boot::{self, Image},
    kvm::Machine,
    mem::Ram,
    run::{CaptureError, Isolation, Prepared, RestoreError, Vm},
};
use tempfile::TempDir;

/// Largest body that a socket takes while nobody reads it, with room to spare.
pub(crate) const BODY_BYTES_MAX: usize = 128 << 10;
/// For requests that have no reason to run out of time. Other VMs of the process have to be idle
/// meanwhile: the alarm is the process's.
const TIMEOUT: Duration = Duration::from_secs(20);

type OnEvent = Box<dyn FnMut(Event)>;

/// Parameters of a VM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guest<'a> {
    /// A folder of `examples` or `tests/guests`.
    pub(crate) function: &'a str,
    /// RAM, bytes.
    pub(crate) ram_bytes: u64,
}

impl<'a> Guest<'a> {
    /// `function` with as much RAM as usual.
    pub(crate) fn of(function: &'a str) -> Self {
        Self {
            function,
            ram_bytes: RAM_BYTES_DEFAULT,
        }
    }

    /// A VM that booted and has not run yet, and what its image says of itself.
    pub(crate) fn boot(self) -> (Vm<OnEvent>, UnixStream, ImageInfo, Logs) {
        self.boot_file(&jiffy_tests::image(self.function))
    }

    fn boot_file(self, image: &Path) -> (Vm<OnEvent>, UnixStream, ImageInfo, Logs) {
        let bytes = fs::read(image).expect("an image");
        boot_image(&bytes, self.ram_bytes, &[])
    }

    /// Boots its image of `jiffy build --debug` and takes a snapshot.
    pub(crate) fn debug_snapshot(self) -> Folder {
        let (mut vm, _client, info, _logs) =
            self.boot_file(&jiffy_tests::debug_image(self.function));
        capture(&mut vm, info).expect("a snapshot")
    }

    /// Boots it and takes a snapshot.
    pub(crate) fn try_snapshot(self) -> Result<Folder, CaptureError> {
        let (mut vm, _client, info, _logs) = self.boot();
        capture(&mut vm, info)
    }

    /// Boots it and takes a snapshot.
    pub(crate) fn snapshot(self) -> Folder {
        self.try_snapshot().expect("a snapshot")
    }
}

/// A VM of the image that `bytes` are.
fn boot_image(
    bytes: &[u8],
    ram_bytes: u64,
    devices: &[DeviceId],
) -> (Vm<OnEvent>, UnixStream, ImageInfo, Logs) {
    let image = Image::parse(bytes).expect("an image");
    let ram = Ram::new(ram_bytes).expect("RAM");
    let all = [&[DeviceId::Vsock], devices].concat();
    let loaded = boot::load(&ram, &image, bytes, &all).expect("it fits");
    let (prepared, client, logs) = prepare(ram, devices);
    let vm = prepared.boot(loaded, Phases::default()).expect("a VM");
    let note = image.note();
    let info = ImageInfo {
        function_name: note.function_name().into(),
        function_version: note.function_version().into(),
        flags: note.flags,
        ..ImageInfo::default()
    };
    (vm, client, info, logs)
}

fn capture(vm: &mut Vm<OnEvent>, info: ImageInfo) -> Result<Folder, CaptureError> {
    let state = vm.capture(info)?;
    let ram = vm.machine().ram();
    let folder = Folder::new();
    folder.write(&state, ram.bytes(), |page| ram_page(ram, page));
    Ok(folder)
}

/// A snapshot of a script of the hostile guest, which has to ring `READY`.
pub(crate) fn script_snapshot(script: &Script) -> Folder {
    script_snapshot_given(script, &[])
}

/// The same in a VM that has these devices, too.
pub(crate) fn script_snapshot_given(script: &Script, devices: &[DeviceId]) -> Folder {
    let (mut vm, _client, info, _logs) = boot_image(&script.image(), RAM_BYTES_DEFAULT, devices);
    capture(&mut vm, info).expect("a snapshot")
}

fn prepare(ram: Ram, devices: &[DeviceId]) -> (Prepared<OnEvent>, UnixStream, Logs) {
    let (stream, client) = UnixStream::pair().expect("a pair of sockets");
    client
        .set_read_timeout(Some(TIMEOUT))
        .expect("a limit for reading");
    let logs = Logs::default();
    let kept = logs.clone();
    let on_event = Box::new(move |event: Event| {
        if let Event::Log(records) = event {
            kept.0.lock().expect("not poisoned").extend(records);
        }
    });
    let machine = Machine::new(ram).expect("a machine");
    let prepared = Prepared::new(machine, stream, Some(TIMEOUT), on_event as OnEvent);
    let mut prepared = prepared.expect("a VM");
    for device in devices {
        match device {
            DeviceId::Console => prepared.give_console(),
            DeviceId::Nic => prepared.give_nic(None),
            DeviceId::Vsock => unreachable!("each VM has it"),
        }
    }
    (prepared, client, logs)
}

/// What a guest logged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logs(Arc<Mutex<Vec<LogRecord>>>);

impl Logs {
    /// What came since this was asked last.
    pub(crate) fn take(&self) -> Vec<LogRecord> {
        std::mem::take(&mut self.0.lock().expect("not poisoned"))
    }
}

/// A snapshot on disk, gone with this value.
#[derive(Debug)]
pub(crate) struct Folder {
    folder: TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder }
    }

    /// The snapshot.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("test.snap")
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn open(&self) -> Snapshot {
        Snapshot::open(&self.path()).expect("a snapshot")
    }

    fn write(&self, state: &State, ram_bytes: u64, mut page: impl FnMut(u64) -> Page) {
        let read = |number: u64, buffer: &mut Page| {
            *buffer = page(number);
            Ok(())
        };
        jiffy_snapshots::create(&self.path(), state, ram_bytes, read).expect("a snapshot");
    }

    /// A copy whose state `change` has changed, with the right checksum.
    pub(crate) fn changed(&self, change: impl FnOnce(&mut State)) -> Self {
        let copy = Self::new();
        let snapshot = self.open();
        let mut state = snapshot.state().clone();
        change(&mut state);
        copy.write(&state, snapshot.ram_bytes(), |page| {
            file_page(&snapshot, page)
        });
        copy
    }

    /// Restores it into a VM of its own.
    pub(crate) fn try_restore(&self, isolation: Isolation) -> Result<Restored, RestoreError> {
        self.try_restore_given(isolation, &[])
    }

    /// The same into one that has these devices, too.
    pub(crate) fn try_restore_given(
        &self,
        isolation: Isolation,
        devices: &[DeviceId],
    ) -> Result<Restored, RestoreError> {
        let (snapshot, ram) = self.to_restore();
        let (prepared, client, logs) = prepare(ram, devices);
        let vm = prepared.restore(snapshot, isolation)?;
        Ok(Restored {
            vm,
            client,
            exchange: Exchange::new().expect("random bytes"),
            logs,
        })
    }

    fn to_restore(&self) -> (Snapshot, Ram) {
        let snapshot = self.open();
        let ram = Ram::reserve(snapshot.ram_bytes()).expect("an address range");
        (snapshot, ram)
    }

    /// The same into one that has a NIC with this network, and no other device.
    pub(crate) fn try_restore_networked(
        &self,
        isolation: Isolation,
        network: (NetworkIdentity, OwnedFd),
    ) -> Result<Restored, RestoreError> {
        let (snapshot, ram) = self.to_restore();
        let (mut prepared, client, logs) = prepare(ram, &[]);
        prepared.give_nic(Some(network));
        let vm = prepared.restore(snapshot, isolation)?;
        Ok(Restored {
            vm,
            client,
            exchange: Exchange::new().expect("random bytes"),
            logs,
        })
    }

    /// Restores it into a VM of its own.
    pub(crate) fn restore(&self, isolation: Isolation) -> Restored {
        self.try_restore(isolation).expect("a VM")
    }
}

/// A VM and the client's end of its request stream.
pub(crate) struct Restored {
    pub(crate) vm: Vm<OnEvent>,
    client: UnixStream,
    exchange: Exchange,
    logs: Logs,
}

impl Restored {
    /// Asks, and expects an answer that is no error.
    #[track_caller]
    pub(crate) fn ask(&mut self, body: &[u8]) -> Vec<u8> {
        let response = self.try_ask(body);
        let response = response.unwrap_or_else(|end| panic!("the VM ended: {end:?}"));
        let text = String::from_utf8_lossy(&response.body);
        assert_eq!(response.kind, ResponseKind::Ok, "{text}");
        response.body
    }

    /// Asks; the VM may end instead of answering.
    pub(crate) fn try_ask(&mut self, body: &[u8]) -> Result<Response, VmEnd> {
        assert!(body.len() <= BODY_BYTES_MAX, "nobody reads meanwhile");
        let request = jiffy_tests::vm::event(body);
        // Each request of each VM has the same nonce, so that two VMs that did the same have the same in them.
        self.exchange.reseed([7; 32]);
        let asked = self.exchange.write(&mut self.client, &request);
        asked.expect("room for a request");
        match self.vm.serve_request().expect("a host that works") {
            Some(end) => Err(end),
            None => {
                let response = self.exchange.read(&mut self.client).expect("a response");
                let settled = self.exchange.prove_empty(self.vm.stats());
                settled.expect("nothing is left in the stream");
                Ok(response)
            }
        }
    }

    /// What it logged since this was asked last.
    pub(crate) fn logs(&self) -> Vec<LogRecord> {
        self.logs.take()
    }

    /// All of the VM but RAM: what the guest would go on with.
    pub(crate) fn state(&mut self) -> Everything {
        let devices = self.vm.device_states().expect("nothing to deliver");
        let machine = self.vm.machine_mut();
        let vcpu = machine.save().expect("registers");
        Everything {
            vcpu,
            xsave: without_tracking(machine.xsave_words().expect("an XSAVE area")),
            msrs: without_clocks(machine.msrs().expect("MSRs")),
            devices,
        }
    }

    /// Numbers of the pages that are not as `expected` has them. The resume page is not looked at:
    /// it is meant to differ.
    pub(crate) fn pages_unlike(&self, expected: impl Fn(u64) -> Page) -> Vec<u64> {
        let ram = self.vm.machine().ram();
        (0..ram.bytes() / PAGE_BYTES)
            .filter(|page| *page != RESUME_PAGE / PAGE_BYTES)
            .filter(|page| ram_page(ram, *page) != expected(*page))
            .collect()
    }

    /// How often `word` is in its RAM.
    pub(crate) fn count_of(&self, word: &str) -> usize {
        let pages = self.vm.machine().ram().bytes() / PAGE_BYTES;
        let all: Vec<u8> = (0..pages).flat_map(|page| self.page(page)).collect();
        let all = all.windows(word.len());
        all.filter(|bytes| *bytes == word.as_bytes()).count()
    }

    /// A page of its RAM.
    pub(crate) fn page(&self, number: u64) -> Page {
        ram_page(self.vm.machine().ram(), number)
    }
}

/// Asks a function to leave `word:PLACE` in each of `places`, and looks for it in all of the VM's memory: it is nowhere after the
/// request, and in each place where nothing is reset.
#[track_caller]
pub(crate) fn scatters(snapshot: &Folder, word: &str, places: &[&str]) {
    let event = format!("scatter {word}");
    let mut fresh = snapshot.restore(Isolation::Fresh);
    for _ in 0..3 {
        fresh.try_ask(event.as_bytes()).expect("an answer");
        assert_eq!(fresh.count_of(word), 0);
    }
    let mut reused = snapshot.restore(Isolation::Reuse);
    reused.try_ask(event.as_bytes()).expect("an answer");
    for place in places {
        let found = reused.count_of(&format!("{word}:{place}"));
        assert!(found > 0, "{place} has nothing to be reset");
    }
}

/// The vsock device in a snapshot's state.
pub(crate) fn vsock(state: &mut State) -> &mut VsockState {
    match state.devices.first_mut() {
        Some(DeviceState::Vsock(state)) => state,
        other => panic!("no vsock device first: {other:?}"),
    }
}

/// All state of a VM beside RAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Everything {
    pub(crate) vcpu: VcpuState,
    pub(crate) xsave: Vec<u32>,
    pub(crate) msrs: Vec<(u32, u64)>,
    pub(crate) devices: Vec<DeviceState>,
}

/// MSRs that are clocks: two readings differ whatever the guest does.
const CLOCKS: [(u32, &str); 3] = [
    (0x10, "IA32_TIME_STAMP_COUNTER"),
    (0x4000_0010, "HV_X64_MSR_VP_RUNTIME"),
    (0x4000_0020, "HV_X64_MSR_TIME_REF_COUNT"),
];

/// The words of XSTATE_BV in an XSAVE area. They say of which registers the CPU knows that they have
/// their first values, which it may forget at any interrupt. The registers themselves are all there.
const XSTATE_BV: std::ops::Range<usize> = 128..130;
/// The word of MXCSR_MASK: which bits of MXCSR the CPU has. It writes it when it saves and never reads it, so that it is zero
/// until then where a VMM has set the area, and was seen to be on Intel's.
const MXCSR_MASK: usize = 7;

fn without_tracking(mut xsave: Vec<u32>) -> Vec<u32> {
    xsave[XSTATE_BV].fill(0);
    xsave[MXCSR_MASK] = 0;
    xsave
}

fn without_clocks(msrs: Vec<(u32, u64)>) -> Vec<(u32, u64)> {
    let is_clock = |msr: u32| CLOCKS.iter().any(|(clock, _)| *clock == msr);
    msrs.into_iter()
        .filter(|(msr, _)| !is_clock(*msr))
        .collect()
}

fn ram_page(ram: &Ram, number: u64) -> Page {
    ram.read_array(number * PAGE_BYTES).expect("in RAM")
}

/// A page of a snapshot's RAM.
pub(crate) fn file_page(snapshot: &Snapshot, number: u64) -> Page {
    let mut page = [0; PAGE_LEN];
    snapshot
        .ram_file()
        .read_exact_at(&mut page, number * PAGE_BYTES)
        .expect("in the file");
    page
}

/// Whether the long tests are to run: `JIFFY_LONG=1`.
pub(crate) fn is_long() -> bool {
    std::env::var("JIFFY_LONG").is_ok_and(|value| value == "1")
}

/// The text of a file beside a function's tests.
pub(crate) fn example_file(path: &str) -> Vec<u8> {
    let path: &Path = &jiffy_tests::workspace_root().join("examples").join(path);
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
