//! The messages of the control socket, from the VMM to the one who started it.

use jiffy_abi::log_ring::Level;
use jiffy_model::Blame;
use jiffy_snapshots::State;
use serde::{Deserialize, Serialize};

use crate::{LogLoss, Message, Missing, cut};

// Linux arch/x86/include/uapi/asm/signal.h.
const SIGBUS: i32 = 7;
const SIGSEGV: i32 = 11;

/// Frames a backtrace holds at most.
pub const BACKTRACE_FRAMES_MAX: usize = 32;

/// One message of a VMM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The guest's `init` is done: it waits for requests.
    Ready(Phases),
    /// Log records, oldest first.
    Log(Vec<LogRecord>),
    /// Pages that a restored VM wrote until its first response, as (first page, pages), ascending:
    /// worth having at the next restore.
    WorkingSet(Vec<(u64, u64)>),
    /// The VM is gone. The last event.
    Stopped(Report),
    /// The VM could not be made or went on no longer. The last event.
    Failed {
        /// Who is to blame for it.
        blame: Blame,
        /// One sentence with the fix.
        message: String,
    },
    /// A shell has closed its jail and waits for a command.
    Waiting {
        /// Layers of the jail that are missing or reduced on this host, and why.
        missing: Vec<Missing>,
        /// CPU time that its process took until now, nanoseconds: no request is to pay for that.
        cpu_ns: u64,
    },
    /// A request is answered, and the VM is ready for the next: pristine again, if it is to be.
    Done(Stats),
    /// The VM was captured: RAM is in the file that came with the command, and this is the rest.
    Captured(Box<State>),
    /// The process is gone, and what it took. The spawner says this, not the VMM.
    Died(Death, ProcessUsage),
}

impl Message for Event {
    const KIND: u8 = 1;
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Death {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// By SIGSYS: it did what its jail forbids.
    Jail,
    /// By the kernel, because its control group was out of memory.
    OutOfMemory,
    /// By the kernel, because a group above its own, or the host, was out of memory: it took no more than it may.
    Squeezed,
}

/// What the kernel counted of a process until its end (getrusage(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessUsage {
    /// CPU time, the guest's and the kernel's for it included, nanoseconds.
    pub cpu_ns: u64,
    /// Memory that it had at most at a time, bytes: what it read of a snapshot and its program included.
    pub memory_bytes_max: u64,
}

impl std::fmt::Display for Death {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "it exited with code {code}"),
            Self::Killed(SIGBUS) => {
                f.write_str("it was killed because a page of its memory or of its snapshot's RAM could not be had (SIGBUS)")
            }
            Self::Killed(SIGSEGV) => f.write_str("it was killed for an access to memory that it does not have (SIGSEGV)"),
            Self::Killed(signal) => write!(f, "signal {signal} killed it"),
            Self::Jail => f.write_str("its jail killed it for a forbidden system call"),
            Self::OutOfMemory => f.write_str("it was killed at its control group's memory limit"),
            Self::Squeezed => f.write_str(
                "it was killed because all VMs together, or the host, ran out of memory: give them more, or run fewer at a time",
            ),
        }
    }
}

/// What levels are called, by their numbers from 1.
pub const LEVEL_NAMES: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Whose words a record is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// The function's, as all is that comes from its VM.
    #[default]
    Function,
    /// The platform's, about a request.
    Platform,
}

/// One record of a log: of the guest's ring, or what the platform says of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// [`Level`] as its number, 1 (error) to 5 (trace).
    pub level: u8,
    /// The text; what was not UTF-8 in it is replaced.
    pub text: String,
    /// Whose words they are. It is not sent: a VM, and whoever took it over, speaks for its function only.
    #[serde(skip)]
    pub source: LogSource,
}

impl LogRecord {
    /// The level; an unknown number is taken for [`Level::Info`].
    pub fn level(&self) -> Level {
        Level::from_number(self.level)
    }

    /// What the level is called.
    pub fn level_name(&self) -> &'static str {
        LEVEL_NAMES[self.level() as usize - 1]
    }
}

/// How a VM ended, and what it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How it ended.
    pub end: VmEnd,
    /// What it took.
    pub stats: Stats,
}

impl Report {
    /// The report as an honest VMM sends it: one that was taken over can fill a packet with a text or a backtrace.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        match &mut self.end {
            VmEnd::Finished | VmEnd::Exited(_) => {}
            VmEnd::TimedOut { backtrace, .. } => backtrace.bound(),
            VmEnd::Fault(fault) => fault.bound(),
        }
        self
    }
}

/// Cuts the text of a report to what it may have.
pub fn bound_text(text: &mut String) {
    cut(text);
}

impl Backtrace {
    fn bound(&mut self) {
        self.0.truncate(BACKTRACE_FRAMES_MAX);
    }
}

impl GuestFault {
    fn bound(&mut self) {
        match self {
            Self::Exception { backtrace, .. } | Self::OutOfMemory { backtrace, .. } => {
                backtrace.bound();
            }
            Self::Panic {
                message,
                file,
                backtrace,
                ..
            } => {
                bound_text(message);
                bound_text(file);
                backtrace.bound();
            }
            Self::Init { message } | Self::Runtime { message } => bound_text(message),
            Self::Device { message, backtrace } | Self::Cpu { message, backtrace } => {
                bound_text(message);
                backtrace.bound();
            }
        }
    }
}

/// How a VM ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VmEnd {
    /// The request stream was closed and the guest was idle.
    Finished,
    /// The image ended on purpose with this code.
    Exited(u8),
    /// The guest broke a rule or gave up.
    Fault(GuestFault),
    /// A request, or `init`, was not done in time.
    TimedOut {
        /// The limit, milliseconds.
        timeout_ms: u64,
        /// Where the guest was.
        backtrace: Backtrace,
    },
}

/// Return addresses in the guest, innermost first; the first is where it stood.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backtrace(pub Vec<u64>);

/// What a guest did wrong, or why it gave up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestFault {
    /// The CPU raised an exception.
    Exception {
        /// Vector, 0 to 31.
        vector: u8,
        /// Error code; zero for vectors without one.
        error_code: u64,
        /// For a page fault: the address that was touched (`cr2`).
        address: u64,
        /// Instruction pointer.
        rip: u64,
        /// Stack pointer.
        rsp: u64,
        /// The address is in the guard page below the stack, which has this many bytes; or, if that is zero, where another
        /// stack of the function's own ran out.
        stack_overflow: Option<u64>,
        /// Where the guest was.
        backtrace: Backtrace,
    },
    /// The function or a library of it panicked.
    Panic {
        /// The message.
        message: String,
        /// Source file, empty if unknown.
        file: String,
        /// Line, zero if unknown.
        line: u32,
        /// Column, zero if unknown.
        column: u32,
        /// Where the guest was.
        backtrace: Backtrace,
    },
    /// An allocation failed.
    OutOfMemory {
        /// Bytes that were asked for.
        requested_bytes: u64,
        /// RAM of the VM, bytes.
        ram_bytes: u64,
        /// Where the guest was.
        backtrace: Backtrace,
    },
    /// `init` returned an error.
    Init {
        /// Its text.
        message: String,
    },
    /// The library OS met something that cannot be.
    Runtime {
        /// What it met.
        message: String,
    },
    /// The guest rang a port that is no doorbell, or touched a device register that does not exist,
    /// or left a device in a state the specification forbids.
    Device {
        /// What it did.
        message: String,
        /// Where the guest was.
        backtrace: Backtrace,
    },
    /// The CPU could not deliver an exception (a triple fault), or KVM could not go on.
    Cpu {
        /// What KVM said.
        message: String,
        /// Where the guest was.
        backtrace: Backtrace,
    },
}

/// Exits to the VMM, by what asked for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exits {
    /// `WAIT` doorbells.
    pub wait: u64,
    /// `READY` doorbells.
    pub ready: u64,
    /// Accesses to device registers.
    pub mmio: u64,
    /// Signals: the deadline's timer.
    pub signal: u64,
    /// Anything else: faults, ends.
    pub other: u64,
}

impl Exits {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.wait + self.ready + self.mmio + self.signal + self.other
    }

    /// Those since `before`, an earlier count of the same VM.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            wait: self.wait - before.wait,
            ready: self.ready - before.ready,
            mmio: self.mmio - before.mmio,
            signal: self.signal - before.signal,
            other: self.other - before.other,
        }
    }
}

/// Where the time of a start went, nanoseconds, in this order. The time before them (`exec`, the
/// command line) is known only to who started the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// Image, or the snapshot's state, read and verified.
    pub image_ns: u64,
    /// RAM mapped, image copied, page and system tables built.
    pub load_ns: u64,
    /// VM and vCPU made and configured.
    pub kvm_ns: u64,
    /// First `KVM_RUN` to `READY`; zero for a restored VM.
    pub init_ns: u64,
    /// Snapshot mapped, working set brought in, vCPU and device set; zero for a VM that boots.
    pub restore_ns: u64,
}

/// What went through a NIC. Bytes are those of whole frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStats {
    /// Frames that the guest was given.
    pub frames_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Frames of the host that no guest was given: they waited from before its request, or had a length that none has.
    pub dropped_in: u64,
    /// Frames of the guest that the host took.
    pub frames_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Frames of the guest that nobody took: the host's side was full, no request was in hand, or there was no network.
    pub dropped_out: u64,
}

/// What a VM took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// All exits.
    pub exits: Exits,
    /// Exits of the last request: from the resume that gave it to the guest to the idle `WAIT`
    /// after its response, that one included.
    pub last_request_exits: Exits,
    /// Requests that were begun.
    pub requests: u64,
    /// Requests that were answered.
    pub requests_done: u64,
    /// Time of the last request in the VM, nanoseconds: as for `last_request_exits`.
    pub last_request_ns: u64,
    /// CPU time that the VMM's thread, which is the vCPU's, took for the last request, nanoseconds (`CLOCK_THREAD_CPUTIME_ID`):
    /// from when the VM was ready for it until it was ready again, or ended, so that restore and reset are in it. Time that
    /// the guest waits is not.
    pub last_request_cpu_ns: u64,
    /// Bytes that went into the guest's stream.
    pub bytes_in: u64,
    /// Bytes that came out of the guest's stream.
    pub bytes_out: u64,
    /// What went through the NIC; all zero without one.
    pub network: NetworkStats,
    /// Resets to the snapshot.
    pub resets: u64,
    /// Pages that the last reset found written.
    pub last_reset_pages: u64,
    /// Time of the last reset, nanoseconds; it runs after the response was handed over.
    pub last_reset_ns: u64,
    /// Pages of guest RAM that were touched since the VM was made; of a restored VM, that are its own, because they were written
    /// or brought in with the working set: the rest is the page cache's.
    pub pages_touched: u64,
    /// RAM of the VM, bytes.
    pub ram_bytes: u64,
    /// Log that was dropped or cut because it was too much.
    pub log_lost: LogLoss,
    /// That of the last request, or of `init`.
    pub last_request_log_lost: LogLoss,
    /// CPU time of the VMM's thread since its process was made, nanoseconds, the guest's included.
    pub cpu_ns: u64,
    /// Where the time of the start went.
    pub phases: Phases,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RECORD_TEXT_BYTES_MAX;

    #[test]
    fn what_a_vmm_says_of_its_end_is_bounded() {
        let long = || "ü".repeat(60 << 10);
        let backtrace = || Backtrace(vec![1; 1000]);
        let report = |fault| Report {
            end: VmEnd::Fault(fault),
            stats: Stats::default(),
        };
        let panic = report(GuestFault::Panic {
            message: long(),
            file: long(),
            line: 1,
            column: 1,
            backtrace: backtrace(),
        });
        let VmEnd::Fault(GuestFault::Panic {
            message,
            file,
            backtrace: frames,
            ..
        }) = panic.bounded().end
        else {
            panic!("another end");
        };
        assert!(message.len() <= RECORD_TEXT_BYTES_MAX && file.len() <= RECORD_TEXT_BYTES_MAX);
        assert_eq!(frames.0.len(), BACKTRACE_FRAMES_MAX);
        let init = report(GuestFault::Init { message: long() });
        assert!(format!("{:?}", init.bounded()).len() < 8 << 10);
        let device = GuestFault::Device {
            message: "short".into(),
            backtrace: Backtrace(vec![1, 2]),
        };
        assert_eq!(report(device.clone()).bounded(), report(device));
    }
}
