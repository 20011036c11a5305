//! What a VM tells, until somebody asks for it.
//!
//! Everything that a VMM says is hostile: what has to come once and comes again ends the VM, and texts are bounded. Not
//! here: waiting for it (`vm`, `wait`).

use jiffy_control::{
    Event, LogRecord, Missing, PacketError, PageRuns, Phases, ProcessUsage, Stats, bound_text,
    error_chain,
};
use jiffy_snapshots::State;
use jiffy_socket::{ControlError, ControlSocket};

use crate::{VmError, error::malformed};

/// Who gets a VM's log records.
pub trait LogSink: Send {
    /// Takes records, oldest first; false if that is more than any VMM sends, and ends the VM.
    fn take(&mut self, records: Vec<LogRecord>) -> bool;
}

impl<F: FnMut(LogRecord) + Send> LogSink for F {
    fn take(&mut self, records: Vec<LogRecord>) -> bool {
        records.into_iter().for_each(self);
        true
    }
}

/// What a VM has told and nobody has asked for yet.
#[derive(Debug)]
pub struct News<L> {
    /// Layers that the jail lacks, and CPU time that the process took until then.
    pub(crate) waiting: Option<(Vec<Missing>, u64)>,
    pub(crate) phases: Option<Phases>,
    pub(crate) captured: Option<Box<State>>,
    pub(crate) done: Option<Stats>,
    pub(crate) working_set: Option<PageRuns>,
    pub(crate) end: Option<VmError>,
    /// What its process took until its end.
    pub(crate) used: Option<ProcessUsage>,
    /// Nothing more will come.
    pub(crate) is_closed: bool,
    pub(crate) logs: L,
}

impl<L: LogSink> News<L> {
    pub(crate) fn new(logs: L) -> Self {
        Self {
            waiting: None,
            phases: None,
            captured: None,
            done: None,
            working_set: None,
            end: None,
            used: None,
            is_closed: false,
            logs,
        }
    }

    /// Takes all that is there to be heard on a socket that does not block, up to the VM's end: true if there was no
    /// more. A socket that is closed is an end too.
    pub fn hear(&mut self, control: &ControlSocket) -> Result<bool, VmError> {
        loop {
            match control.recv::<Event>() {
                Ok(Some(event)) => self.take(event)?,
                Err(error) if error.would_block() => return Ok(true),
                Ok(None) | Err(ControlError::Receive(_)) => {
                    self.is_closed = true;
                    self.end.get_or_insert(VmError::Gone);
                }
                Err(ControlError::Packet(error @ PacketError::Version(_))) => {
                    return Err(VmError::OtherRelease(error));
                }
                Err(error) => return Err(malformed(error_chain(&error))),
            }
            if self.end.is_some() {
                return Ok(false);
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<(), VmError> {
        match event {
            Event::Waiting { missing, cpu_ns } => self.waiting = Some((missing, cpu_ns)),
            Event::Ready(phases) => {
                if self.phases.replace(phases).is_some() {
                    return Err(malformed("it said twice that it is ready"));
                }
            }
            Event::Captured(state) => self.captured = Some(state),
            Event::Done(stats) => self.done = Some(stats),
            Event::WorkingSet(runs) => self.working_set = Some(runs),
            Event::Log(records) => {
                if !self.logs.take(records) {
                    return Err(malformed("it logs without end"));
                }
            }
            Event::Stopped(report) => self.end = Some(VmError::Stopped(Box::new(report.bounded()))),
            Event::Failed { blame, mut message } => {
                bound_text(&mut message);
                self.end = Some(VmError::Failed { blame, message });
            }
            // Behind a report it says nothing new.
            Event::Died(death, usage) => {
                self.used = Some(usage);
                self.end.get_or_insert(VmError::Died(death));
            }
        }
        Ok(())
    }
}
