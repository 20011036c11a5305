//! Goes wrong in every way there is: `{"kind":"null-read"}` reads from address zero.
//!
//! What the language would not let happen, or would leave undefined, is done in assembly, so that
//! the compiler neither prevents it nor assumes that it cannot be. Every fault is the VMM's to
//! catch; should one not happen, the answer is `"survived"`.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod machine;
mod memory;

use alloc::string::String;
use core::{fmt, hint::black_box};

use serde::{Deserialize, Serialize};

/// What to do.
#[derive(Clone, Copy, Deserialize)]
pub struct Event {
    kind: Kind,
}

/// The ways to go wrong, and a few that look so but are allowed.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Error,
    Panic,
    PanicFormatted,
    Oom,
    StackOverflow,
    Divide,
    Ud2,
    Int3,
    NullRead,
    NullWrite,
    WildRead,
    WildWrite,
    WriteText,
    ExecStack,
    ExecHeap,
    Gp,
    Simd,
    Spin,
    BadPort,
    Exit,
    LogFlood,
    Allocate,
    Rdtsc,
    Random,
    Clock,
}

/// What is left to tell.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// What should have ended the VM did not.
    Survived,
    /// So many lines were logged.
    LoggedLines(u32),
    /// So many bytes were allocated at a time, filled, checked and freed.
    AllocatedBytes(usize),
    /// The time-stamp counter.
    Ticks(u64),
    /// Two random numbers.
    Random([u64; 2]),
    /// Unix time in nanoseconds before and after a while of computing.
    ClockNs([u128; 2]),
}

/// The error that is returned when one is asked for.
#[derive(Debug)]
pub struct AskedFor(String);

impl fmt::Display for AskedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an error was asked for: {}", self.0)
    }
}

/// Does what the event says.
#[jiffy::function]
pub fn faults(Event { kind }: Event, context: &jiffy::Context) -> Result<Report, AskedFor> {
    match kind {
        Kind::Error => return Err(AskedFor(context.request_id().into())),
        Kind::Panic => panic!("a panic was asked for"),
        Kind::PanicFormatted => panic!("{} panic was asked for by {:?}", 1, context.request_id()),
        Kind::Oom => memory::take_all(),
        Kind::StackOverflow => {
            black_box(memory::recurse(0));
        }
        Kind::Divide => machine::divide(),
        Kind::Ud2 => machine::ud2(),
        Kind::Int3 => machine::int3(),
        Kind::NullRead => machine::read(0),
        Kind::NullWrite => machine::write(0),
        Kind::WildRead => machine::read(machine::WILD),
        Kind::WildWrite => machine::write(machine::WILD),
        Kind::WriteText => machine::write(machine::read as *const () as u64),
        Kind::ExecStack => machine::exec_stack(),
        Kind::ExecHeap => machine::exec_heap(),
        Kind::Gp => machine::read(machine::NON_CANONICAL),
        Kind::Simd => machine::simd(),
        Kind::Spin => machine::spin(),
        Kind::BadPort => machine::out::<{ machine::PORT_POST }>(0),
        Kind::Exit => machine::out::<{ machine::PORT_EXIT }>(machine::EXIT_CODE),
        Kind::LogFlood => return Ok(log_flood()),
        Kind::Allocate => return Ok(memory::allocate()),
        Kind::Rdtsc => return Ok(Report::Ticks(machine::rdtsc())),
        Kind::Random => return Ok(Report::Random([jiffy::random::u64(), jiffy::random::u64()])),
        Kind::Clock => return Ok(clock()),
    }
    Ok(Report::Survived)
}

/// Logs far more than the log ring holds.
fn log_flood() -> Report {
    const LINES: u32 = 20_000;
    for line in 0..LINES {
        jiffy::log!("line {line} of a flood that goes on and on until somebody says stop");
    }
    Report::LoggedLines(LINES)
}

/// Reads the clock, computes for some milliseconds, reads it again.
fn clock() -> Report {
    let now_ns = || jiffy::time::now().since_unix_epoch().as_nanos();
    let before_ns = now_ns();
    let mut number = 1_u64;
    for _ in 0..10_000_000 {
        number = black_box(
            number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1),
        );
    }
    black_box(number);
    Report::ClockNs([before_ns, now_ns()])
}

#[cfg(test)]
mod tests;
