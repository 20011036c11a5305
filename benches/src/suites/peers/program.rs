//! A command that reads an event from its standard input and writes an answer to its standard output.
//!
//! Not here: what the command is (`local`, `spec`).

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    os::fd::{AsFd, BorrowedFd},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

use super::Contender;
use crate::{samples::Samples, suites::Fallible};

/// What is read while looking for the answer.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
const READ_BYTES: usize = 16 << 10;
/// What is repeated of a command's complaints, from their end.
const COMPLAINT_BYTES_MAX: u64 = 300;

/// What becomes of a command that has answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterAnswer {
    /// It ends by itself.
    #[default]
    Wait,
    /// It is killed.
    Kill,
}

/// Why a command gave no sample.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    #[error("cannot start {0}: is it installed, and may you run it?")]
    Start(String, #[source] io::Error),
    #[error("cannot send the event to {0}")]
    Send(String, #[source] io::Error),
    #[error("cannot read the answer of {0}")]
    Read(String, #[source] io::Error),
    #[error("{program} did not answer within {timeout:?} and was ended{complaint}")]
    Timeout {
        program: String,
        timeout: Duration,
        complaint: String,
    },
    #[error("{program} ended without the answer {expected:?}{complaint}")]
    NoAnswer {
        program: String,
        expected: String,
        complaint: String,
    },
    #[error(
        "{program} wrote {OUTPUT_BYTES_MAX} bytes without the answer {expected:?}: let it write less"
    )]
    TooMuch { program: String, expected: String },
    #[error(
        "{program} answered but did not end within {timeout:?} and was ended: let it end, or say after_answer = \"kill\" in its description"
    )]
    Lingers { program: String, timeout: Duration },
    #[error("cannot keep what commands complain about: set TMPDIR to a directory with room")]
    Complaints(#[source] io::Error),
}

/// A command, started anew for each event.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) command: Vec<String>,
    pub(super) event: Vec<u8>,
    /// What marks the answer in its output.
    pub(super) answer: String,
    pub(super) timeout: Duration,
    pub(super) after_answer: AfterAnswer,
    /// Its standard error, of the last time.
    complaints: File,
}

impl Program {
    /// The command is not tried.
    pub(super) fn new(
        command: Vec<String>,
        event: &[u8],
        answer: &str,
        timeout: Duration,
    ) -> Result<Self, ProgramError> {
        Ok(Self {
            command,
            event: event.to_vec(),
            answer: answer.to_owned(),
            timeout,
            after_answer: AfterAnswer::Wait,
            complaints: tempfile::tempfile().map_err(ProgramError::Complaints)?,
        })
    }

    /// Starts it; from just before that until its answer is read.
    pub(super) fn answer(&mut self) -> Result<Duration, ProgramError> {
        let (name, arguments) = self.command.split_first().unwrap_or_else(|| {
            // Both who make commands have at least a name in them.
            unreachable!("a command without a name")
        });
        let complaints = self.complaints.set_len(0);
        let complaints = complaints.and_then(|()| {
            self.complaints.rewind()?;
            self.complaints.try_clone()
        });
        let mut command = Command::new(name);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints.map_err(ProgramError::Complaints)?);

        let start = Instant::now();
        let child = command.spawn();
        let mut running = Running(child.map_err(|error| ProgramError::Start(name.clone(), error))?);
        running
            .send(&self.event)
            .map_err(|error| ProgramError::Send(name.clone(), error))?;
        let end = start + self.timeout;
        // Held until it has ended: it may have more to say than the answer.
        let mut output = running.0.stdout.take();
        let found = match &mut output {
            Some(output) => self.find_answer(output, end)?,
            None => None,
        };
        let Some(answered) = found else {
            return Err(ProgramError::NoAnswer {
                program: name.clone(),
                expected: self.answer.clone(),
                complaint: self.complaint(),
            });
        };

        if self.after_answer == AfterAnswer::Wait {
            let has_ended = running.wait(answered + self.timeout);
            if !has_ended.map_err(|error| ProgramError::Read(name.clone(), error))? {
                return Err(ProgramError::Lingers {
                    program: name.clone(),
                    timeout: self.timeout,
                });
            }
        }
        Ok(answered - start)
    }

    /// When the answer was read; `None` if the output ended before.
    fn find_answer(
        &self,
        output: &mut ChildStdout,
        end: Instant,
    ) -> Result<Option<Instant>, ProgramError> {
        let program = || self.command.first().cloned().unwrap_or_default();
        let marker = self.answer.as_bytes();
        let mut text = vec![];
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let is_readable = readable(output.as_fd(), end)
                .map_err(|error| ProgramError::Read(program(), error))?;
            if !is_readable {
                return Err(ProgramError::Timeout {
                    program: program(),
                    timeout: self.timeout,
                    complaint: self.complaint(),
                });
            }
            let got = output
                .read(&mut buffer)
                .map_err(|error| ProgramError::Read(program(), error))?;
            let now = Instant::now();
            if got == 0 {
                return Ok(None);
            }
            // Only what is new can complete the marker.
            let from = text.len().saturating_sub(marker.len());
            text.extend_from_slice(&buffer[..got]);
            let mut windows = text[from..].windows(marker.len());
            if windows.any(|window| window == marker) {
                return Ok(Some(now));
            }
            if text.len() > OUTPUT_BYTES_MAX {
                return Err(ProgramError::TooMuch {
                    program: program(),
                    expected: self.answer.clone(),
                });
            }
        }
    }

    /// `: ` and the last it wrote to standard error, spelled out, or nothing.
    fn complaint(&self) -> String {
        let read = || {
            let mut file = self.complaints.try_clone()?;
            let len = file.metadata()?.len();
            file.seek(io::SeekFrom::Start(len.saturating_sub(COMPLAINT_BYTES_MAX)))?;
            let mut bytes = vec![];
            file.take(COMPLAINT_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok::<_, io::Error>(bytes)
        };
        let bytes = read().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        match one_line(&text).as_str() {
            "" => String::new(),
            text => format!(": {text}"),
        }
    }
}

impl Contender for Program {
    fn cold(&mut self, samples: &mut Samples) -> Fallible<()> {
        samples.push(self.answer()?);
        Ok(())
    }
}

/// A child that does not outlive this value.
#[derive(Debug)]
pub(super) struct Running(pub(super) Child);

impl Running {
    /// Writes `event`, which a pipe takes without waiting, and closes.
    fn send(&mut self, event: &[u8]) -> io::Result<()> {
        let Some(mut stdin) = self.0.stdin.take() else {
            return Ok(());
        };
        match stdin.write_all(event) {
            // It does not ask, or has ended already; the answer says more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    }

    /// Whether it has ended by `end`.
    fn wait(&mut self, end: Instant) -> io::Result<bool> {
        let pidfd = pidfd_open(Pid::from_child(&self.0), PidfdFlags::empty())?;
        if !readable(pidfd.as_fd(), end)? {
            return Ok(false);
        }
        self.0.wait()?;
        Ok(true)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.0.try_wait() {
            return;
        }
        // First its own, while it still says whose they are. The number of one that ends meanwhile could only come back to
        // another process after all others were given out.
        let all = descendants(Pid::from_child(&self.0));
        let _ = self.0.kill();
        for process in all {
            let _ = kill_process(process, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// Processes that `parent` started, and those that they did. Empty where the kernel does not tell.
fn descendants(parent: Pid) -> Vec<Pid> {
    let mut all = vec![parent];
    let mut next = 0;
    while let Some(process) = all.get(next) {
        let process = process.as_raw_nonzero();
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace();
        all.extend(children.filter_map(|child| Pid::from_raw(child.parse().ok()?)));
        next += 1;
    }
    all.split_off(1)
}

/// What a stranger writes, fit for a line on a terminal.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let mut line = words.join(" ");
    line.retain(|char| !char.is_control());
    line
}

/// Whether `file` can be read, or has ended, by `end`.
pub(super) fn readable(file: BorrowedFd<'_>, end: Instant) -> io::Result<bool> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // A timeout is a minute at most.
        let left = Timespec::try_from(left).unwrap_or_default();
        match poll(
            &mut [PollFd::from_borrowed_fd(file, PollFlags::IN)],
            Some(&left),
        ) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
