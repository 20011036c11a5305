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
//! guest's mistake ends the loop as a value, [`Outcome::Fault`]; only the host's failures are
//! errors.

mod deadline;
mod fault;
mod log_ring;
mod resume;
mod wake;

use std::{
    io,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use jiffy_abi::doorbell::{self, Wait};
use jiffy_control::{
    Backtrace, Event, Exits, GuestFault, LogRecord, Outcome, Phases, Report, Stats,
};

use crate::{
    boot::Loaded,
    devices::vsock::{Sent, Vsock, VsockError},
    kvm::{Exit, Kicker, KvmError, Machine},
};
use deadline::Deadline;
use log_ring::{LogRing, LogRingError};
use resume::Resume;
use wake::{Readiness, Wake};

/// Bytes of log that one request, or `init`, may write; the rest is counted and dropped.
pub const LOG_BYTES_MAX: u64 = 1 << 20;
/// Bytes of log records that travel in one event.
const LOG_BATCH_BYTES: usize = 16 << 10;

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
    #[error("cannot set the deadline's alarm")]
    Deadline(#[source] io::Error),
    #[error("cannot get random bytes from the kernel")]
    Entropy(#[source] io::Error),
}

/// What ends the loop.
#[derive(Debug)]
enum Stop {
    Outcome(Outcome),
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

impl From<LogRingError> for Stop {
    fn from(error: LogRingError) -> Self {
        Self::Broken(error.to_string())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Idle,
    Busy,
}

/// A VM that is running.
#[derive(Debug)]
pub struct Vm<F> {
    machine: Machine,
    vsock: Vsock,
    stream: UnixStream,
    wake: Wake,
    resume: Resume,
    deadline: Deadline,
    log_ring: LogRing,
    /// Bytes of log since the request, or `init`, began.
    log_bytes: u64,
    state: State,
    /// A doorbell that was rung and not answered yet.
    rung: Option<Wait>,
    stats: Stats,
    /// When the request in hand, or the guest, began, and what was counted then.
    began: Instant,
    exits_before: Exits,
    bytes_out_before: u64,
    on_event: F,
}

impl<F: FnMut(Event)> Vm<F> {
    /// A VM with `loaded` in `machine`, whose request stream is `stream`. A request, and `init`,
    /// may take `timeout`. `phases` are those of the start so far; `on_event` gets
    /// [`Event::Ready`] and [`Event::Log`].
    pub fn new(
        mut machine: Machine,
        loaded: &Loaded,
        stream: UnixStream,
        timeout: Option<Duration>,
        phases: Phases,
        on_event: F,
    ) -> Result<Self, RunError> {
        stream.set_nonblocking(true).map_err(RunError::Stream)?;
        let wake = Wake::new(&stream).map_err(RunError::Wait)?;
        let resume = Resume::new(loaded, machine.ram()).map_err(RunError::Entropy)?;
        machine.kicker().install();
        let deadline = Deadline::new(timeout).map_err(RunError::Deadline)?;
        machine.start_at(loaded)?;
        let stats = Stats {
            phases,
            ram_bytes: machine.ram().bytes(),
            ..Stats::default()
        };
        Ok(Self {
            machine,
            vsock: Vsock::new(),
            stream,
            wake,
            resume,
            deadline,
            log_ring: LogRing::default(),
            log_bytes: 0,
            state: State::Starting,
            rung: None,
            stats,
            began: Instant::now(),
            exits_before: Exits::default(),
            bytes_out_before: 0,
            on_event,
        })
    }

    /// Runs the guest to its end.
    pub fn run(mut self) -> Result<Report, RunError> {
        let stop = self.run_until_stop();
        // What the guest logged before its end matters most when it ended badly.
        let _ = self.drain_log();
        let outcome = match stop {
            Stop::Outcome(outcome) => outcome,
            Stop::Broken(message) => {
                let backtrace = self.backtrace()?;
                Outcome::Fault(GuestFault::Device { message, backtrace })
            }
            Stop::Error(error) => return Err(error),
        };
        self.stats.pages_touched = self.machine.ram().pages_touched().unwrap_or_default();
        Ok(Report {
            outcome,
            stats: self.stats,
        })
    }

    fn run_until_stop(&mut self) -> Stop {
        if let Err(stop) = self.start() {
            return stop;
        }
        loop {
            if let Err(stop) = self.step() {
                return stop;
            }
        }
    }

    fn start(&mut self) -> Result<(), Stop> {
        self.began = Instant::now();
        self.deadline
            .begin(self.began)
            .map_err(RunError::Deadline)?;
        self.write_resume_page(self.began);
        Ok(())
    }

    /// Answers the doorbell that was rung, if any, and runs the guest to its next exit.
    fn step(&mut self) -> Result<(), Stop> {
        if let Some(wait) = self.rung.take() {
            self.serve(wait)?;
        }
        self.run_guest()
    }

    /// Runs the guest to its next exit and answers that, unless it is a doorbell.
    fn run_guest(&mut self) -> Result<(), Stop> {
        let exit = self.machine.run()?;
        let exits = &mut self.stats.exits;
        match exit {
            Exit::Doorbell {
                port: doorbell::WAIT,
                byte,
            } => {
                exits.wait += 1;
                let wait = Wait::from_byte(byte)
                    .ok_or_else(|| Stop::Broken(format!("WAIT with the unknown byte {byte}")))?;
                self.rung = Some(wait);
                Ok(())
            }
            Exit::Doorbell {
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
                let value = self.vsock.read(address)?;
                self.machine.answer_mmio(value);
                Ok(())
            }
            Exit::MmioWrite(address, value) => {
                exits.mmio += 1;
                let notified = self
                    .vsock
                    .write(self.machine.ram().memory(), address, value)?;
                self.rung = notified.then_some(Wait::Poll);
                Ok(())
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
    fn end(&self, exit: Exit) -> Result<Stop, Stop> {
        let outcome = match exit {
            Exit::Doorbell {
                port: doorbell::EXIT,
                byte,
            } => Outcome::Exited(byte),
            Exit::Doorbell {
                port: doorbell::FAULT,
                ..
            } => {
                let registers = self.machine.registers()?;
                Outcome::Fault(fault::decode(self.machine.ram(), &registers))
            }
            Exit::Doorbell { port, .. } | Exit::Port(port) => {
                let message = format!("the guest used port {port:#x}, which is no doorbell");
                return Ok(Stop::Broken(message));
            }
            Exit::Mmio(address) => {
                let message =
                    format!("the guest accessed {address:#x} other than as a u32 register");
                return Ok(Stop::Broken(message));
            }
            Exit::TripleFault => self.cpu_fault("an exception could not be delivered".into())?,
            Exit::Failed(message) => self.cpu_fault(format!("KVM cannot go on: {message}"))?,
            Exit::MmioRead(_) | Exit::MmioWrite(..) | Exit::Signal => {
                unreachable!("the caller answers these")
            }
        };
        Ok(Stop::Outcome(outcome))
    }

    fn cpu_fault(&self, message: String) -> Result<Outcome, KvmError> {
        let backtrace = self.backtrace()?;
        Ok(Outcome::Fault(GuestFault::Cpu { message, backtrace }))
    }

    fn ready(&mut self) -> Result<(), Stop> {
        if !self.vsock.is_open() && self.state == State::Starting {
            // Its answer to the host's connection may be in the transmit queue only now.
            self.transmit()?;
            if !self.vsock.is_open() {
                let message = "the guest was ready before it accepted the request stream";
                return Err(Stop::Broken(message.into()));
            }
        }
        if self.state == State::Starting {
            self.deadline.end();
            self.drain_log()?;
            self.state = State::Idle;
            self.stats.phases.init_ns = nanoseconds(self.began.elapsed());
            (self.on_event)(Event::Ready(self.stats.phases));
        }
        Ok(())
    }

    /// Answers a doorbell: services the queues, waits as the guest wishes, writes the resume page.
    fn serve(&mut self, wait: Wait) -> Result<(), Stop> {
        self.drain_log()?;
        let mut sent = self.transmit()?;
        let own = self
            .vsock
            .receive(self.machine.ram().memory(), None::<&mut UnixStream>)?;
        let until = match wait {
            Wait::EventUntil => self.wake_time(),
            _ => None,
        };
        let mut now = Instant::now();
        loop {
            if wait == Wait::Idle && !sent.blocked && self.state == State::Busy {
                self.request_done(now)?;
            }
            let answered = match wait {
                Wait::Poll => true,
                Wait::Event => own.packets > 0 || sent.packets > 0,
                Wait::EventUntil => {
                    own.packets > 0 || sent.packets > 0 || until.is_none_or(|until| until <= now)
                }
                Wait::Idle => own.packets > 0,
            };
            if answered {
                break;
            }
            let deliver = self.state == State::Busy || (wait == Wait::Idle && !sent.blocked);
            let want = Readiness {
                readable: deliver && self.vsock.can_receive(self.machine.ram().memory())?,
                writable: sent.blocked,
                gone: false,
            };
            let limit = [self.deadline.ends(), until].into_iter().flatten().min();
            let timeout = limit.map(|limit| limit.saturating_duration_since(now));
            let ready = self.wake.wait(want, timeout).map_err(RunError::Wait)?;
            now = Instant::now();
            self.check_deadline(now)?;
            if ready.writable {
                sent = self.transmit()?;
            }
            if want.readable && (ready.readable || ready.gone) {
                if self.receive(now)? {
                    break;
                }
            } else if ready.gone {
                return Err(Stop::Outcome(Outcome::Finished));
            }
        }
        self.write_resume_page(now);
        Ok(())
    }

    /// When the guest wants to be woken at the latest.
    fn wake_time(&self) -> Option<Instant> {
        let wake_ns = self
            .machine
            .ram()
            .read_u64(jiffy_abi::control_page::WAKE_NS)?;
        self.resume.instant(wake_ns)
    }

    /// Gives the guest what the host has; true if there was anything.
    fn receive(&mut self, now: Instant) -> Result<bool, Stop> {
        let memory = self.machine.ram().memory();
        let received = self.vsock.receive(memory, Some(&mut self.stream))?;
        self.stats.bytes_in += received.bytes;
        if received.closed {
            return Err(Stop::Outcome(Outcome::Finished));
        }
        if received.bytes > 0 && self.state == State::Idle {
            self.state = State::Busy;
            self.stats.requests += 1;
            self.began = now;
            self.exits_before = self.stats.exits;
            self.bytes_out_before = self.stats.bytes_out;
            self.log_bytes = 0;
            self.deadline.begin(now).map_err(RunError::Deadline)?;
        }
        Ok(received.packets > 0)
    }

    fn transmit(&mut self) -> Result<Sent, Stop> {
        let sent = self
            .vsock
            .transmit(self.machine.ram().memory(), &mut self.stream)?;
        self.stats.bytes_out += sent.bytes;
        if sent.closed {
            return Err(Stop::Outcome(Outcome::Finished));
        }
        Ok(sent)
    }

    fn request_done(&mut self, now: Instant) -> Result<(), Stop> {
        if self.stats.bytes_out == self.bytes_out_before {
            return Err(Stop::Broken(
                "the guest went idle without answering its request".into(),
            ));
        }
        self.state = State::Idle;
        self.deadline.end();
        self.stats.last_request_ns = nanoseconds(now.saturating_duration_since(self.began));
        self.stats.last_request_exits = self.stats.exits.since(&self.exits_before);
        Ok(())
    }

    fn check_deadline(&mut self, now: Instant) -> Result<(), Stop> {
        if !self.deadline.expired(now).map_err(RunError::Deadline)? {
            return Ok(());
        }
        let timeout = self.deadline.timeout().unwrap_or_default();
        Err(Stop::Outcome(Outcome::TimedOut {
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            backtrace: self.backtrace()?,
        }))
    }

    fn drain_log(&mut self) -> Result<(), LogRingError> {
        let (mut batch, mut batch_bytes) = (Vec::new(), 0);
        let (log_bytes, dropped) = (&mut self.log_bytes, &mut self.stats.log_bytes_dropped);
        let on_event = &mut self.on_event;
        let result = self
            .log_ring
            .drain(self.machine.ram(), |record: LogRecord| {
                let bytes = record.text.len();
                *log_bytes += bytes as u64;
                if *log_bytes > LOG_BYTES_MAX {
                    *dropped += bytes as u64;
                    return;
                }
                batch_bytes += bytes;
                batch.push(record);
                if batch_bytes >= LOG_BATCH_BYTES {
                    batch_bytes = 0;
                    on_event(Event::Log(std::mem::take(&mut batch)));
                }
            });
        if !batch.is_empty() {
            on_event(Event::Log(batch));
        }
        result
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
        self.resume
            .write(self.machine.ram(), now, self.deadline.ends());
    }
}

impl<F> Drop for Vm<F> {
    fn drop(&mut self) {
        Kicker::uninstall();
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
