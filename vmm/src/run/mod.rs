//! The loop that holds a VM together: run the guest until it exits, answer, run on.
//!
//! ```text
//!            READY                bytes of a request
//! Starting ─────────▶ Idle ──────────────────────────▶ Busy
//!                      ▲                                 │
//!                      └─────────────────────────────────┘
//!                        WAIT idle, and all of it is sent
//! ```
//!
//! Bytes of the host reach the guest only once it is ready; `Starting` and `Busy` are timed. A
//! guest's mistake ends the loop as a value, [`VmEnd::Fault`]; only the host's failures are
//! errors.

#[allow(unsafe_code, reason = "setitimer is given a structure by address")]
mod deadline;
mod doorbells;
mod fault;
mod frames;
mod log;
mod log_ring;
mod resume;
mod snapshot;
mod wake;
mod working_set;

pub use snapshot::{CaptureError, Isolation, RESET_PAGES_MAX, RestoreError};

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use jiffy_abi::{
    devices::DeviceId,
    doorbell::{self, Wait},
    resume_page::NetworkIdentity,
};
use jiffy_control::{Backtrace, Event, Exits, GuestFault, Phases, Report, Stats, VmEnd};
use jiffy_snapshots::devices::DeviceState;
use rustix::time::{ClockId, clock_gettime};

use crate::{
    boot::Loaded,
    devices::{
        DeviceError, Effect,
        bus::Bus,
        console::Console,
        nic::{NicDevice, NicError},
        vsock::VsockError,
    },
    kvm::{Exit, InstalledKicker, KvmError, Machine},
    mem::{PageMap, RamError},
};
use deadline::Deadline;
use frames::Network;
use log::Log;
use log_ring::LogRingError;
use resume::Resume;
use snapshot::Baseline;
use wake::Wake;

/// Why a VM cannot go on. All blame the host.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum RunError {
    #[error(transparent)]
    Kvm(#[from] KvmError),
    #[error("cannot set the request stream to non-blocking")]
    Stream(#[source] io::Error),
    #[error("cannot wait for the request stream")]
    Wait(#[source] io::Error),
    #[error("the request stream failed")]
    Host(#[source] io::Error),
    #[error("the NIC's TAP failed: it may be down, or gone")]
    Frames(#[source] io::Error),
    #[error("cannot set the deadline's alarm")]
    Deadline(#[source] io::Error),
    #[error(transparent)]
    Ram(#[from] RamError),
    #[error("cannot put the devices back to the snapshot")]
    Device(#[source] DeviceError),
    #[error("cannot get random bytes from the kernel")]
    Entropy(#[source] io::Error),
}

/// What ends the loop.
#[derive(Debug)]
enum Stop {
    End(VmEnd),
    /// The guest broke a rule of a device or of the ring; where it stood is added at the end.
    Broken(String),
    Error(RunError),
}

impl From<RunError> for Stop {
    fn from(error: RunError) -> Self {
        Self::Error(error)
    }
}

impl From<KvmError> for Stop {
    fn from(error: KvmError) -> Self {
        Self::Error(RunError::Kvm(error))
    }
}

impl From<VsockError> for Stop {
    fn from(error: VsockError) -> Self {
        match error {
            VsockError::Host(error) => Self::Error(RunError::Host(error)),
            guest => Self::Broken(guest.to_string()),
        }
    }
}

impl From<NicError> for Stop {
    fn from(error: NicError) -> Self {
        match error {
            NicError::Host(error) => Self::Error(RunError::Frames(error)),
            guest => Self::Broken(guest.to_string()),
        }
    }
}

impl From<DeviceError> for Stop {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::Vsock(error) => error.into(),
            DeviceError::Nic(error) => error.into(),
            guest => Self::Broken(guest.to_string()),
        }
    }
}

impl From<LogRingError> for Stop {
    fn from(error: LogRingError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// What the guest is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GuestState {
    Starting,
    Idle,
    Busy,
}

/// What comes after a doorbell was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The guest goes on.
    Run,
    /// A request is complete: what is due behind it is done before the VM waits for the next.
    Done,
    /// The guest is idle, and the VM's owner wants something.
    Command,
}

/// Why the loop comes back to the VM's owner.
#[derive(Debug)]
pub enum Turn {
    /// A request was answered, and the VM is ready for the next.
    Done,
    /// The guest is idle, and the descriptor given to [`Prepared::watch`] can be read from.
    Commanded,
    /// The guest came to its end; [`Vm::report`] has the rest.
    Ended(VmEnd),
}

/// A VM that is running.
#[derive(Debug)]
pub struct Vm<F> {
    // Dropped before the machine whose vCPU it names.
    _kicker: InstalledKicker,
    machine: Machine,
    loaded: Loaded,
    bus: Bus,
    stream: UnixStream,
    network: Option<Network>,
    wake: Wake,
    resume: Resume,
    deadline: Deadline,
    log: Log,
    guest: GuestState,
    /// A doorbell that was rung and not answered yet.
    rung: Option<Wait>,
    page_map: PageMap,
    /// What a restored VM goes back to.
    baseline: Option<Baseline>,
    stats: Stats,
    /// When the request in hand, or the guest, began, and what was counted then; its CPU time from when the VM was ready for it.
    began: Instant,
    cpu_ns_before: u64,
    exits_before: Exits,
    bytes_out_before: u64,
    on_event: F,
}

/// A VM that is made and waits to be given a guest: everything that does not depend on which.
#[derive(Debug)]
pub struct Prepared<F>(Vm<F>);

impl<F: FnMut(Event)> Prepared<F> {
    /// Puts the parts around `machine` together. `stream` is the guest's request stream; a request,
    /// and `init`, may take `timeout`; `on_event` gets what the VM has to tell.
    pub fn new(
        machine: Machine,
        stream: UnixStream,
        timeout: Option<Duration>,
        on_event: F,
    ) -> Result<Self, RunError> {
        let page_map = PageMap::open().map_err(RamError::Scan)?;
        let mut prepared = Self::with_page_map(machine, stream, page_map, on_event)?;
        prepared.limit(timeout);
        Ok(prepared)
    }

    /// As [`Prepared::new`], without a time limit, in a process that cannot open its page map itself.
    pub fn with_page_map(
        mut machine: Machine,
        stream: UnixStream,
        page_map: PageMap,
        on_event: F,
    ) -> Result<Self, RunError> {
        stream.set_nonblocking(true).map_err(RunError::Stream)?;
        let wake = Wake::new(&stream).map_err(RunError::Wait)?;
        let resume = Resume::new().map_err(RunError::Entropy)?;
        let deadline = Deadline::new().map_err(RunError::Deadline)?;
        let _kicker = machine.kicker().install();
        // Its first reading looks for the vDSO, by a call that a jail does not allow.
        thread_cpu_time();
        let stats = Stats {
            ram_bytes: machine.ram().bytes(),
            ..Stats::default()
        };
        Ok(Self(Vm {
            _kicker,
            machine,
            loaded: Loaded::default(),
            bus: Bus::default(),
            stream,
            network: None,
            wake,
            resume,
            deadline,
            log: Log::default(),
            guest: GuestState::Starting,
            rung: None,
            page_map,
            baseline: None,
            stats,
            began: Instant::now(),
            cpu_ns_before: 0,
            exits_before: Exits::default(),
            bytes_out_before: 0,
            on_event,
        }))
    }

    /// A request, and `init`, may take `timeout`; `None`: for ever.
    pub fn limit(&mut self, timeout: Option<Duration>) {
        self.0.deadline.limit(timeout);
    }

    /// CPU time of this thread, nanoseconds. What it took until now is no request's.
    pub fn count_cpu_time(&mut self) -> u64 {
        self.0.cpu_ns_before = nanoseconds(thread_cpu_time());
        self.0.cpu_ns_before
    }

    /// Watches `control`, through which the VM's owner says what it wants: while the guest is idle,
    /// [`Vm::turn`] comes back when it can be read from.
    pub fn watch(&mut self, control: BorrowedFd<'_>) {
        self.0.wake.watch(control);
    }

    /// The machine, to give it RAM of another size or content.
    pub fn machine_mut(&mut self) -> &mut Machine {
        &mut self.0.machine
    }

    /// Gives it a console, from which lines come as records of the log.
    pub fn give_console(&mut self) {
        self.0.bus.console = Some(Console::default());
    }

    /// Gives it a NIC, and with it a network: who its guest is, and what takes and gives one frame a call and does not block.
    /// Without that, what the guest sends is dropped, and nothing comes.
    pub fn give_nic(&mut self, network: Option<(NetworkIdentity, OwnedFd)>) {
        self.0.bus.nic = Some(NicDevice::default());
        self.0.network = network.map(|(identity, host)| {
            self.0.wake.watch_frames(host.as_fd());
            Network {
                identity,
                host: host.into(),
                is_stale: true,
            }
        });
    }

    /// The devices that it was given: those that an image loaded for it can have.
    pub fn devices(&self) -> Vec<DeviceId> {
        self.0.bus.ids()
    }

    /// What a snapshot would hold of them.
    pub fn device_states(&self) -> Option<Vec<DeviceState>> {
        self.0.bus.state()
    }

    /// Gives it the image that `loaded` tells of, which is in RAM already. `phases` are those of
    /// the start so far. The time for `init` runs from here.
    pub fn boot(self, loaded: Loaded, phases: Phases) -> Result<Vm<F>, RunError> {
        let Self(mut vm) = self;
        vm.machine.start_at(&loaded)?;
        vm.machine.ram_mut().let_devices_write(&loaded.writable);
        vm.resume.describe(&loaded, vm.machine.ram());
        vm.loaded = loaded;
        vm.stats.phases = phases;
        vm.stats.ram_bytes = vm.machine.ram().bytes();
        vm.began = Instant::now();
        vm.deadline.begin(vm.began).map_err(RunError::Deadline)?;
        vm.write_resume_page(vm.began);
        Ok(vm)
    }
}

impl<F: FnMut(Event)> Vm<F> {
    /// Runs the guest to its end.
    pub fn run(mut self) -> Result<Report, RunError> {
        loop {
            if let Turn::Ended(end) = self.turn()? {
                return self.report(end);
            }
        }
    }

    /// Runs the guest until its owner has something to do or to know.
    pub fn turn(&mut self) -> Result<Turn, RunError> {
        loop {
            match self.step() {
                Ok(None) => {}
                Ok(Some(turn)) => return Ok(turn),
                Err(stop) => {
                    // What the guest logged before its end matters most when it ended badly.
                    let _ = self.tell_console(Console::take_rest);
                    let _ = self.drain_log();
                    if self.guest != GuestState::Idle {
                        self.tell_log_lost();
                    }
                    return self.end_of(stop).map(Turn::Ended);
                }
            }
        }
    }

    /// All that is to say of a VM that came to its end.
    pub fn report(&mut self, end: VmEnd) -> Result<Report, RunError> {
        self.stats.pages_touched = self.pages_touched()?;
        if self.guest == GuestState::Busy {
            self.count_request(Instant::now());
            self.count_request_cpu();
        }
        let stats = self.count_cpu_time();
        Ok(Report { end, stats })
    }

    /// Guest RAM and what is around it.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    fn end_of(&self, stop: Stop) -> Result<VmEnd, RunError> {
        match stop {
            Stop::End(end) => Ok(end),
            Stop::Broken(message) => {
                let backtrace = self.backtrace()?;
                Ok(VmEnd::Fault(GuestFault::Device { message, backtrace }))
            }
            Stop::Error(error) => Err(error),
        }
    }

    /// Serves one request: waits for it, runs the guest until it has answered, and does what is due
    /// behind it. `None`,
    /// or how the VM ended.
    pub fn serve_request(&mut self) -> Result<Option<VmEnd>, RunError> {
        loop {
            match self.turn()? {
                Turn::Done => return Ok(None),
                Turn::Commanded => {} // Nobody gave it a descriptor to watch.
                Turn::Ended(end) => return Ok(Some(end)),
            }
        }
    }

    /// What the VM took so far, the CPU time of this thread brought up to date. Time between two requests is no request's.
    pub fn count_cpu_time(&mut self) -> Stats {
        self.stats.cpu_ns = nanoseconds(thread_cpu_time());
        self.cpu_ns_before = self.stats.cpu_ns;
        self.stats
    }

    /// The same at the end of a request, to which the time since the VM was ready for it belongs.
    fn count_request_cpu(&mut self) {
        self.stats.cpu_ns = nanoseconds(thread_cpu_time());
        self.stats.last_request_cpu_ns = self.stats.cpu_ns.saturating_sub(self.cpu_ns_before);
        self.cpu_ns_before = self.stats.cpu_ns;
    }

    /// What the VM took so far; its CPU time as it was counted last.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Answers the doorbell that was rung, if any, and runs the guest to its next exit; or does
    /// what is due behind a request, and comes back.
    fn step(&mut self) -> Result<Option<Turn>, Stop> {
        let next = match self.rung.take() {
            Some(wait) => self.serve(wait)?,
            None => Next::Run,
        };
        match next {
            Next::Run => self.run_guest().map(|()| None),
            Next::Done => {
                self.after_request()?;
                self.count_request_cpu();
                self.rung = Some(Wait::Idle);
                Ok(Some(Turn::Done))
            }
            Next::Command => {
                self.rung = Some(Wait::Idle);
                Ok(Some(Turn::Commanded))
            }
        }
    }

    /// Runs the guest to its next exit and answers that, unless it is a doorbell.
    fn run_guest(&mut self) -> Result<(), Stop> {
        let exit = self.machine.run()?;
        let exits = &mut self.stats.exits;
        match exit {
            Exit::PortWrite {
                port: doorbell::WAIT,
                byte,
            } => {
                exits.wait += 1;
                let wait = Wait::from_byte(byte)
                    .ok_or_else(|| Stop::Broken(format!("WAIT with the unknown byte {byte}")))?;
                self.rung = Some(wait);
                Ok(())
            }
            Exit::PortWrite {
                port: doorbell::READY,
                ..
            } => {
                exits.ready += 1;
                self.ready()?;
                self.rung = Some(Wait::Idle);
                Ok(())
            }
            Exit::MmioRead(address) => {
                exits.mmio += 1;
                let value = self.bus.read_window(address)?;
                self.machine.answer_mmio(value);
                Ok(())
            }
            Exit::MmioWrite(address, value) => {
                exits.mmio += 1;
                let memory = self.machine.ram().device_memory();
                let effect = self.bus.write_window(memory, address, value)?;
                self.rung = (effect == Effect::Serve).then_some(Wait::Poll);
                Ok(())
            }
            Exit::PortRead(port) => {
                exits.mmio += 1;
                let byte = self.bus.read_port(port)?;
                self.machine.answer_port(byte);
                Ok(())
            }
            Exit::PortWrite { port, byte } if !doorbell::PORTS.contains(&port) => {
                exits.mmio += 1;
                let memory = self.machine.ram().device_memory();
                let effect = self.bus.write_port(memory, port, byte)?;
                self.rung = (effect == Effect::Serve).then_some(Wait::Poll);
                self.tell_console(Console::take_line)
            }
            Exit::Signal => {
                exits.signal += 1;
                self.check_deadline(Instant::now())
            }
            end => {
                exits.other += 1;
                Err(self.end(end)?)
            }
        }
    }

    /// What an exit means after which the guest does not go on.
    fn end(&mut self, exit: Exit) -> Result<Stop, Stop> {
        let end = match exit {
            Exit::PortWrite {
                port: doorbell::EXIT,
                byte,
            } => VmEnd::Exited(byte),
            Exit::PortWrite {
                port: doorbell::FAULT,
                ..
            } => {
                let registers = self.machine.registers()?;
                VmEnd::Fault(fault::decode(
                    self.machine.ram(),
                    &registers,
                    self.loaded.stack_bytes,
                ))
            }
            Exit::Port(port) if self.bus.has_port(port) => {
                let message = format!("the guest accessed port {port:#x} other than as one byte");
                return Ok(Stop::Broken(message));
            }
            Exit::Port(port) => return Ok(DeviceError::NoPort(port).into()),
            Exit::Mmio(address) => {
                let message =
                    format!("the guest accessed {address:#x} other than as a u32 register");
                return Ok(Stop::Broken(message));
            }
            Exit::TripleFault => self.cpu_fault("an exception could not be delivered".into())?,
            Exit::Failed(message) => self.cpu_fault(format!("KVM cannot go on: {message}"))?,
            Exit::MmioRead(_)
            | Exit::MmioWrite(..)
            | Exit::PortRead(_)
            | Exit::PortWrite { .. }
            | Exit::Signal => {
                unreachable!("the caller answers these")
            }
        };
        Ok(Stop::End(end))
    }

    fn cpu_fault(&self, message: String) -> Result<VmEnd, KvmError> {
        let backtrace = self.backtrace()?;
        Ok(VmEnd::Fault(GuestFault::Cpu { message, backtrace }))
    }

    fn count_request(&mut self, now: Instant) {
        self.stats.last_request_ns = nanoseconds(now.saturating_duration_since(self.began));
        self.stats.last_request_exits = self.stats.exits.since(&self.exits_before);
    }

    fn check_deadline(&mut self, now: Instant) -> Result<(), Stop> {
        if !self.deadline.expired(now) {
            return Ok(());
        }
        let timeout = self.deadline.timeout().unwrap_or_default();
        Err(Stop::End(VmEnd::TimedOut {
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            backtrace: self.backtrace()?,
        }))
    }

    fn backtrace(&self) -> Result<Backtrace, KvmError> {
        let registers = self.machine.registers()?;
        Ok(fault::backtrace(
            self.machine.ram(),
            Some(registers.rip),
            registers.rbp,
        ))
    }

    fn write_resume_page(&mut self, now: Instant) {
        let network = self.network_identity();
        self.resume
            .write(self.machine.ram(), now, self.deadline.ends(), network);
    }
}

/// CPU time of this thread, which is the VM's.
fn thread_cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
