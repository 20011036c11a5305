//! Backtraces of guests, with functions, files and lines.
//!
//! ```text
//! backtrace ─▶ seen already? ─▶ `jiffyd symbols`: image on standard input, addresses as arguments ─▶ frames, JSON
//! ```
//!
//! Debug information is a stranger's. No byte of it can make safe Rust write where it may not, but it can nest until a
//! stack overflows and expand until memory ends, so it is read in a process of its own that has little of each. One
//! at a time; who cannot wait gets the addresses.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Write},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiffy_control::{BACKTRACE_FRAMES_MAX, Backtrace, is_deceptive};
use jiffy_snapshots::Digest;
pub use jiffy_symbols::{Frame, Innermost};
use jiffy_symbols::{Symbols, shorten};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use crate::images::ImageNote;

/// What a backtrace is to show.
pub const FRAMES_MAX: usize = 32;
/// Bytes of an image that is looked into at most; its symbols are most of it.
pub const IMAGE_BYTES_MAX: u64 = 64 << 20;
/// What the reading process has.
pub const MEMORY_BYTES_MAX: u64 = 512 << 20;
/// The same, seconds of CPU: it does nothing else, so it ends soon after.
pub const CPU_S_MAX: u64 = 2;
/// Bytes of frames that are taken from it at most.
const FRAMES_BYTES_MAX: u64 = 256 << 10;
/// Characters of a function's or a file's name that are shown.
const NAME_CHARS_MAX: usize = 256;
/// How long a backtrace waits for those before it.
const TURN_TIME_MAX: Duration = Duration::from_millis(200);
/// Backtraces that are remembered: a function mostly breaks where it broke before.
const REMEMBERED_MAX: usize = 256;
/// Name of the subcommand.
pub const COMMAND: &str = "symbols";

/// A backtrace that was read once.
#[derive(Debug)]
struct Remembered {
    image: Digest,
    addresses: Vec<u64>,
    frames: Arc<[Frame]>,
}

/// Reads backtraces.
#[derive(Debug)]
pub struct Symbolizer {
    /// `jiffyd`.
    program: PathBuf,
    turn: Semaphore,
    remembered: Mutex<VecDeque<Remembered>>,
}

/// Why there are only addresses.
#[derive(Debug, thiserror::Error)]
enum SymbolsError {
    #[error("cannot start a process")]
    Start(#[source] io::Error),
    #[error("the process ended early: is the image's debug information damaged?")]
    Ended,
    #[error("the process said what is no list of frames")]
    Frames(#[source] serde_json::Error),
}

impl Symbolizer {
    /// With `program`, which is `jiffyd`, to read what is a stranger's.
    pub fn new(program: PathBuf) -> Self {
        Self {
            program,
            turn: Semaphore::new(1),
            remembered: Mutex::default(),
        }
    }

    /// The frames of a backtrace in the image `digest`, which `open` opens; without names if they cannot be told.
    pub async fn frames(
        &self,
        digest: Digest,
        backtrace: &Backtrace,
        innermost: Innermost,
        open: impl Future<Output = Option<File>>,
    ) -> Arc<[Frame]> {
        let addresses = &backtrace.0[..backtrace.0.len().min(BACKTRACE_FRAMES_MAX)];
        if addresses.is_empty() {
            return [].into();
        }
        if let Some(frames) = self.remembered(&digest, addresses) {
            return frames;
        }
        let read = async {
            let _turn = timeout(TURN_TIME_MAX, self.turn.acquire())
                .await
                .ok()?
                .ok()?;
            let image = open.await?;
            let command = self.command(addresses, innermost, image);
            let read = spawn_blocking(move || read_frames(command)).await.ok()?;
            read.inspect_err(|error| {
                let error = jiffy_control::error_chain(error);
                tracing::debug!(image = %digest, %error, "a backtrace has no names");
            })
            .ok()
        };
        match read.await {
            Some(frames) => self.remember(digest, addresses, frames.into()),
            None => unknown(addresses),
        }
    }

    fn command(&self, addresses: &[u64], innermost: Innermost, image: File) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(COMMAND);
        if innermost == Innermost::Return {
            command.arg("--returns");
        }
        command
            .args(addresses.iter().map(u64::to_string))
            .env_clear()
            .stdin(image)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command
    }

    fn remembered(&self, image: &Digest, addresses: &[u64]) -> Option<Arc<[Frame]>> {
        let remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let found = remembered
            .iter()
            .find(|one| one.image == *image && one.addresses == addresses);
        found.map(|one| Arc::clone(&one.frames))
    }

    fn remember(&self, image: Digest, addresses: &[u64], frames: Arc<[Frame]>) -> Arc<[Frame]> {
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.pop_front();
        }
        remembered.push_back(Remembered {
            image,
            addresses: addresses.to_vec(),
            frames: Arc::clone(&frames),
        });
        frames
    }
}

/// Addresses and nothing else.
pub fn unknown(addresses: &[u64]) -> Arc<[Frame]> {
    let addresses = addresses.iter().take(FRAMES_MAX);
    addresses.copied().map(Frame::unknown).collect()
}

/// Blocks for as long as the process lives.
fn read_frames(mut command: Command) -> Result<Vec<Frame>, SymbolsError> {
    let mut process = command.spawn().map_err(SymbolsError::Start)?;
    let mut said = vec![];
    let read = process.stdout.take().map(|output| {
        let read = output.take(FRAMES_BYTES_MAX).read_to_end(&mut said);
        read.is_ok()
    });
    // It may have more to say than is wanted.
    let _ = process.kill();
    let _ = process.wait();
    if read != Some(true) || said.is_empty() {
        return Err(SymbolsError::Ended);
    }
    serde_json::from_slice(&said).map_err(SymbolsError::Frames)
}

/// `jiffyd symbols`: writes the frames of `addresses` in the image on `input` to `output`. Gives away first what it
/// does not need.
pub fn run(
    addresses: &[u64],
    innermost: Innermost,
    input: File,
    mut output: impl Write,
) -> io::Result<()> {
    let limits = [
        (Resource::As, MEMORY_BYTES_MAX),
        (Resource::Cpu, CPU_S_MAX),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
    ];
    for (resource, maximum) in limits {
        let maximum = Some(maximum);
        let current = maximum;
        setrlimit(resource, Rlimit { current, maximum })?;
    }
    let note = ImageNote::read(&input).map_err(io::Error::other)?;
    io::Seek::rewind(&mut &input)?;
    let mut image = vec![];
    input.take(IMAGE_BYTES_MAX).read_to_end(&mut image)?;
    let frames = frames_of(&image, &note.function_name, addresses, innermost);
    serde_json::to_writer(&mut output, &frames)?;
    output.flush()
}

fn frames_of(image: &[u8], package: &str, addresses: &[u64], innermost: Innermost) -> Vec<Frame> {
    let frames = Symbols::of(image, package).frames(addresses, innermost);
    let short = shorten(&frames, innermost).iter().take(FRAMES_MAX).cloned();
    let readable = |text: String| -> String {
        let chars = text.chars().take(NAME_CHARS_MAX);
        chars
            .map(|char| if is_deceptive(char) { '?' } else { char })
            .collect()
    };
    short
        .map(|mut frame| {
            frame.function = frame.function.map(readable);
            frame.file = frame.file.map(readable);
            frame
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(program: &str) -> Arc<[Frame]> {
        let symbolizer = Symbolizer::new(program.into());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let image = tempfile::tempfile().expect("a file");
        runtime.expect("a runtime").block_on(symbolizer.frames(
            Digest::of(b"image"),
            &Backtrace(vec![0x20_0000, 0x20_1000]),
            Innermost::Return,
            async { Some(image) },
        ))
    }

    #[test]
    fn without_a_reader_addresses_stay() {
        for program in ["/does/not/exist", "/bin/false", "/bin/echo"] {
            let addresses: Vec<_> = check(program).iter().map(|frame| frame.address).collect();
            assert_eq!(addresses, [0x20_0000, 0x20_1000], "{program}");
        }
    }

    #[test]
    fn what_was_read_once_is_remembered_up_to_a_limit() {
        let symbolizer = Symbolizer::new(PathBuf::new());
        let image = Digest::of(b"image");
        for address in 0..=REMEMBERED_MAX as u64 {
            symbolizer.remember(image, &[address], unknown(&[address]));
        }
        assert!(symbolizer.remembered(&image, &[0]).is_none());
        let last = symbolizer.remembered(&image, &[REMEMBERED_MAX as u64]);
        assert_eq!(last.expect("remembered")[0].address, REMEMBERED_MAX as u64);
        assert!(symbolizer.remembered(&Digest::of(b"other"), &[1]).is_none());
    }

    /// This test's own program has symbols.
    #[test]
    fn names_are_short_and_of_one_line() {
        let image = std::fs::read(std::env::current_exe().expect("a program")).expect("read");
        let symbols = 0..2 * FRAMES_MAX as u64;
        let addresses: Vec<_> = symbols.map(|number| 0x10_0000 + number * 1000).collect();
        let frames = frames_of(&image, "", &addresses, Innermost::Instruction);
        assert_eq!(frames.len(), FRAMES_MAX);
        let texts = frames
            .iter()
            .flat_map(|frame| [&frame.function, &frame.file]);
        for text in texts.flatten() {
            assert!(text.chars().count() <= NAME_CHARS_MAX && !text.contains(is_deceptive));
        }
    }
}
