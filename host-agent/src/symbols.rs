//! Backtraces of guests, with functions, files and lines.
//!
//! ```text
//! backtrace ─▶ addresses seen already? ─▶ has the function time left? ─▶ `jiffyd symbols` ─▶ frames
//! ```
//!
//! Debug information is a stranger's, so it is read in a process of its own that has little memory and time (`jiffy-symbols`).
//! That process is in no VM's control group: what it takes is charged to the function here, and a function that breaks
//! all the time gets names for no more than [`CPU_MS_PER_MINUTE`]. One process at a time; who cannot wait gets the addresses.

mod budget;
mod memory;

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use jiffy_control::{BACKTRACE_FRAMES_MAX, Backtrace};
use jiffy_snapshots::Digest;
pub use jiffy_symbols::{COMMAND, Frame, Innermost};
use jiffy_symbols::{Limits, Wanted, shorten};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use crate::model::FunctionId;
use budget::Budgets;
use memory::Memory;

/// What a backtrace is to show.
pub const FRAMES_MAX: usize = 32;
/// Symbols and debug information of an image that are looked into at most, bytes; what is beyond is left out.
pub const SYMBOLS_BYTES_MAX: u64 = 64 << 20;
/// What the reading process has.
pub const MEMORY_BYTES_MAX: u64 = 512 << 20;
/// The same, seconds of CPU: it does nothing else, so it ends soon after.
pub const CPU_S_MAX: u64 = 2;
/// CPU time in which the backtraces of one function get names, milliseconds a minute. What one took beyond that is waited for.
pub const CPU_MS_PER_MINUTE: u64 = 500;
/// How long a backtrace waits for those before it.
const TURN_TIME_MAX: Duration = Duration::from_millis(200);

const LIMITS: Limits = Limits {
    symbols_bytes_max: SYMBOLS_BYTES_MAX,
    memory_bytes_max: MEMORY_BYTES_MAX,
    cpu_s_max: CPU_S_MAX,
};

/// Where a guest was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Innermost first.
    pub frames: Vec<Frame>,
    /// Why there are addresses only, if the reason is not the image's; a sentence.
    pub note: Option<String>,
}

/// Reads backtraces.
#[derive(Debug)]
pub struct Symbolizer {
    /// `jiffyd`.
    program: PathBuf,
    turn: Semaphore,
    memory: Mutex<Memory>,
    budgets: Mutex<Budgets>,
}

impl Symbolizer {
    /// With `program`, which is `jiffyd`, to read what is a stranger's.
    pub fn new(program: PathBuf) -> Self {
        Self {
            program,
            turn: Semaphore::new(1),
            memory: Mutex::default(),
            budgets: Mutex::default(),
        }
    }

    /// The frames of a backtrace of `function`, in the image `digest`, which `open` opens; without names if they cannot be
    /// told.
    pub async fn frames(
        &self,
        function: &FunctionId,
        digest: Digest,
        backtrace: &Backtrace,
        innermost: Innermost,
        open: impl Future<Output = Option<File>>,
    ) -> Found {
        let addresses = &backtrace.0[..backtrace.0.len().min(BACKTRACE_FRAMES_MAX)];
        let wanted = Wanted {
            addresses,
            innermost,
        };
        if addresses.is_empty() {
            return Found::default();
        }
        if let Some(frames) = self.remembered(digest, wanted) {
            return named(&frames, innermost);
        }
        let nameless = |note: Option<String>| Found {
            frames: unknown(addresses),
            note,
        };
        let Ok(Ok(_turn)) = timeout(TURN_TIME_MAX, self.turn.acquire()).await else {
            return nameless(None);
        };
        // Whoever had the turn may have read the same.
        if let Some(frames) = self.remembered(digest, wanted) {
            return named(&frames, innermost);
        }
        if let Err(wait) = self.budgets.lock().check(function, Instant::now()) {
            return nameless(Some(spent(wait)));
        }
        let Some(image) = open.await else {
            return nameless(None);
        };
        let (program, addresses) = (self.program.clone(), addresses.to_vec());
        let read = spawn_blocking(move || {
            let addresses = &addresses;
            jiffy_symbols::read(
                &program,
                image,
                Wanted {
                    addresses,
                    innermost,
                },
            )
        });
        let Ok(reading) = read.await else {
            return nameless(None);
        };
        self.budgets
            .lock()
            .charge(function, reading.cpu, Instant::now());
        match reading.names {
            Ok(names) => {
                let calls = wanted.calls().map(|(_, call)| call);
                self.memory.lock().keep(digest, calls.zip(&names.frames));
                named(&names.frames, innermost)
            }
            Err(error) => {
                let error = jiffy_control::error_chain(&error);
                tracing::debug!(%function, image = %digest, %error, "a backtrace has no names");
                nameless(None)
            }
        }
    }

    /// The frames of all addresses, if all are known.
    fn remembered(&self, image: Digest, wanted: Wanted<'_>) -> Option<Vec<Vec<Frame>>> {
        let memory = self.memory.lock();
        let known = wanted
            .calls()
            .map(|(address, call)| memory.get(image, address, call));
        known.collect()
    }
}

fn named(frames: &[Vec<Frame>], innermost: Innermost) -> Found {
    let frames = frames.concat();
    let short = shorten(&frames, innermost).iter().take(FRAMES_MAX);
    Found {
        frames: short.cloned().collect(),
        note: None,
    }
}

fn spent(wait: Duration) -> String {
    format!(
        "no names: this function's backtraces have used up the {CPU_MS_PER_MINUTE} ms of CPU time a minute that they get; there are names again in {} s",
        wait.as_secs() + 1
    )
}

/// Addresses and nothing else.
pub fn unknown(addresses: &[u64]) -> Vec<Frame> {
    let addresses = addresses.iter().take(FRAMES_MAX);
    addresses.copied().map(Frame::unknown).collect()
}

/// `jiffyd symbols`: writes the frames of `addresses` in the image on `input` to `output`.
pub fn run(
    addresses: &[u64],
    innermost: Innermost,
    input: &File,
    output: impl Write,
) -> io::Result<()> {
    jiffy_symbols::serve(
        Wanted {
            addresses,
            innermost,
        },
        LIMITS,
        input,
        output,
    )
}

#[cfg(test)]
mod tests;
