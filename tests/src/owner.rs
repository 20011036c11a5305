//! A shell as its owner has it: told what to do, listened to, its end awaited.
//!
//! What goes wrong is a value and no panic, because a test may want to see it go wrong. Every wait is
//! bounded. Not here: instances as users have them (`vm`).

use std::{
    fmt::Debug,
    fs::File,
    net::Shutdown,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use jiffy_client::{Shell, Spawner, boot_packet, restore_packet};
use jiffy_control::{
    Command, Death, Event, Exchange, Isolation, LogRecord, Missing, Packet, PageRuns, Report,
    Response, Stats,
};
use jiffy_snapshots::Snapshot;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::vm::event;

/// What a shell may take for one event, also beside other load.
pub const EVENT_TIMEOUT: Duration = Duration::from_secs(20);

/// What went wrong, in words.
pub type Broken = String;

/// A shell and what it told by the way.
#[derive(Debug)]
pub struct Owner {
    shell: Shell,
    exchange: Exchange,
    /// What the guest logged.
    pub log: Vec<LogRecord>,
    /// Pages that the guest needed for its first request.
    pub working_set: Option<PageRuns>,
}

impl Owner {
    /// A shell with a VM prepared for `ram_bytes`. Nothing was received from it yet.
    pub fn new(spawner: &Spawner, ram_bytes: u64) -> Result<Self, Broken> {
        let shell = spawner.shell(ram_bytes).map_err(broken)?;
        shell
            .stream
            .set_read_timeout(Some(EVENT_TIMEOUT))
            .map_err(broken)?;
        set_socket_timeout(&shell.control, Timeout::Recv, Some(EVENT_TIMEOUT)).map_err(broken)?;
        Ok(Self {
            shell,
            exchange: Exchange::new().map_err(broken)?,
            log: vec![],
            working_set: None,
        })
    }

    /// The shell.
    pub fn shell(&self) -> &Shell {
        &self.shell
    }

    /// Its process.
    pub fn process_id(&self) -> u32 {
        self.shell.process.id()
    }

    /// Its next event but log records and working sets, which are kept.
    pub fn event(&mut self) -> Result<Event, Broken> {
        loop {
            match self.shell.control.recv().map_err(broken)? {
                Some(Event::Log(records)) => self.log.extend(records),
                Some(Event::WorkingSet(runs)) => self.working_set = Some(runs),
                Some(event) => return Ok(event),
                None => return Err("the control socket was closed".into()),
            }
        }
    }

    /// Waits until the shell waits.
    pub fn waiting(&mut self) -> Result<Vec<Missing>, Broken> {
        match self.event()? {
            Event::Waiting { missing, .. } => Ok(missing),
            other => Err(broken(other)),
        }
    }

    /// Tells it something, with files.
    pub fn tell(&self, command: &Command, files: &[BorrowedFd<'_>]) -> Result<(), Broken> {
        self.send(&Packet::new(command).map_err(broken)?, files)
    }

    fn send(&self, packet: &Packet, files: &[BorrowedFd<'_>]) -> Result<(), Broken> {
        let control = &self.shell.control;
        control.send_with(packet, files).map_err(broken)
    }

    /// Boots an image, until the guest is ready.
    pub fn boot(&mut self, image: &File, ram_bytes: u64, timeout: Duration) -> Result<(), Broken> {
        let packet = boot_packet(ram_bytes, Some(timeout), vec![], &[]).map_err(broken)?;
        self.send(&packet, &[image.as_fd()])?;
        match self.event()? {
            Event::Ready(_) => Ok(()),
            other => Err(broken(other)),
        }
    }

    /// Restores a snapshot; that it worked shows with the first request.
    pub fn restore(&self, snapshot: &Snapshot, isolation: Isolation) -> Result<(), Broken> {
        let packet =
            restore_packet(snapshot, isolation, Some(EVENT_TIMEOUT), &[]).map_err(broken)?;
        self.send(&packet, &[snapshot.ram_file().as_fd()])
    }

    /// Writes a request and leaves it at that.
    pub fn request(&mut self, body: impl Into<Vec<u8>>) -> Result<(), Broken> {
        let mut stream = &self.shell.stream;
        self.exchange
            .write(&mut stream, &event(body))
            .map_err(broken)
    }

    /// Asks, and waits until the VM is ready for the next request.
    pub fn ask(&mut self, body: impl Into<Vec<u8>>) -> Result<Response, Broken> {
        self.request(body)?;
        match self.response() {
            Ok(response) => {
                let done = self.done()?;
                self.settle(&done)?;
                Ok(response)
            }
            // Why there is none comes as an event.
            Err(error) => Err(format!("{error}: {:?}", self.event()?)),
        }
    }

    /// The response to what was asked.
    pub fn response(&mut self) -> Result<Response, Broken> {
        let mut stream = &self.shell.stream;
        self.exchange.read(&mut stream).map_err(broken)
    }

    /// Waits until a command or a request is done.
    pub fn done(&mut self) -> Result<Stats, Broken> {
        match self.event()? {
            Event::Done(stats) => Ok(stats),
            other => Err(broken(other)),
        }
    }

    /// After a response: that nothing of the request is left in the stream of a VM that is done.
    pub fn settle(&mut self, done: &Stats) -> Result<(), Broken> {
        self.exchange.prove_empty(done).map_err(broken)
    }

    /// How the process dies, which the spawner tells.
    pub fn death(&mut self) -> Result<Death, Broken> {
        loop {
            match self.event()? {
                Event::Died(death, _) => return Ok(death),
                Event::Failed { message, .. } => return Err(message),
                _ => {}
            }
        }
    }

    /// How the VM ends, which has to be without harm to its process.
    pub fn report(&mut self) -> Result<Report, Broken> {
        let report = match self.event()? {
            Event::Stopped(report) => report,
            other => return Err(broken(other)),
        };
        self.ended()?;
        Ok(report)
    }

    /// Closes the stream, and waits for the end.
    pub fn finish(mut self) -> Result<Report, Broken> {
        self.shell
            .stream
            .shutdown(Shutdown::Write)
            .map_err(broken)?;
        self.report()
    }

    /// Waits for the end of the process, which has to be its own decision.
    pub fn ended(&mut self) -> Result<(), Broken> {
        match self.death()? {
            Death::Exited(0) => Ok(()),
            death => Err(broken(death)),
        }
    }
}

fn broken(what: impl Debug) -> Broken {
    format!("{what:?}")
}
