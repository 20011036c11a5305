//! The floor in a process of its own: this program, started again with one of two hidden subcommands.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::Vm;
use crate::sides;

/// This program, even if it was built anew since it started.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Subcommand that is [`be_waiting`]; RAM in bytes and the guest's pages follow.
pub const RESTORE: &str = "floor-restore";
/// Subcommand that is [`be_echo`].
pub const ECHO: &str = "floor-echo";

/// A child of ours and the socket to it.
#[derive(Debug)]
struct Process {
    process: Child,
    socket: UnixStream,
}

impl Process {
    fn start(arguments: &[&str]) -> io::Result<Self> {
        let (socket, far) = UnixStream::pair()?;
        let process = Command::new(OWN_PROGRAM)
            .args(arguments)
            .stdin(Stdio::from(OwnedFd::from(far)))
            .spawn()?;
        sides::far(process.id());
        let mut started = Self { process, socket };
        started.socket.read_exact(&mut [0])?;
        Ok(started)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It is our own child, and it may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A process that has its VM, vCPU and slot, and waits for a memory file: what a shell is to jiffy.
#[derive(Debug)]
pub struct Waiting(Process);

impl Waiting {
    /// Starts one and waits until it waits.
    pub fn start(ram_bytes: usize, pages: usize) -> io::Result<Self> {
        let (ram_bytes, pages) = (ram_bytes.to_string(), pages.to_string());
        Process::start(&[RESTORE, &ram_bytes, &pages]).map(Self)
    }

    /// Hands it `file`; from there until it says that its guest has run to the first exit.
    pub fn hand_over(&mut self, file: &File) -> io::Result<Duration> {
        let socket = &mut self.0.socket;
        let began = Instant::now();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let file = [file.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&file));
        let slices = [IoSlice::new(&[1])];
        sendmsg(&*socket, &slices, &mut ancillary, SendFlags::empty())?;
        socket.read_exact(&mut [0])?;
        Ok(began.elapsed())
    }
}

/// A process that sends back each byte it gets.
#[derive(Debug)]
pub struct Echo(Process);

impl Echo {
    /// Starts one.
    pub fn start() -> io::Result<Self> {
        Process::start(&[ECHO]).map(Self)
    }

    /// A byte there and back.
    pub fn round_trip(&mut self) -> io::Result<Duration> {
        let began = Instant::now();
        self.0.socket.write_all(&[1])?;
        self.0.socket.read_exact(&mut [0])?;
        Ok(began.elapsed())
    }
}

/// Waits for a memory file on standard input, and answers there once its VM has run.
pub fn be_waiting(ram_bytes: usize, pages: usize) -> io::Result<()> {
    let mut socket = standard_input()?;
    let mut vm = Vm::new(ram_bytes, pages)?;
    socket.write_all(&[1])?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut slices = [IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(&socket, &mut slices, &mut ancillary, flags)?;
    let file = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    // None: whoever started this is gone, or needs it no longer.
    if let Some(file) = file {
        vm.restore(&file.into())?;
        socket.write_all(&[1])?;
    }
    Ok(())
}

/// Sends back what comes on standard input, until it ends.
pub fn be_echo() -> io::Result<()> {
    let mut socket = standard_input()?;
    socket.write_all(&[1])?;
    let mut byte = [0];
    while socket.read(&mut byte)? > 0 {
        socket.write_all(&byte)?;
    }
    Ok(())
}

fn standard_input() -> io::Result<UnixStream> {
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}
