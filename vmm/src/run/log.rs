//! What a guest says, told to the VM's owner: records of its ring and lines of its console, together
//! within what a request, or `init`, may log; and at its end, what was lost.
//! Not here: how records lie in the ring (`log_ring`).

use jiffy_abi::log_ring::Level;
use jiffy_control::{Event, LOG_BYTES_MAX, LogLoss, LogRecord, RECORD_COST_BYTES, cut};

use super::{
    Stop, Vm,
    log_ring::{LogRing, LogRingError},
};
use crate::devices::console::Console;

/// What the log records that travel in one event are charged together, bytes.
const BATCH_BYTES: usize = 16 << 10;

/// The ring, and what of it was told.
#[derive(Debug, Default)]
pub(super) struct Log {
    ring: LogRing,
    budget: Budget,
}

/// What the request in hand, or `init`, has logged.
#[derive(Debug, Default)]
struct Budget {
    charged_bytes: usize,
    /// Log that was lost before it began.
    lost_before: LogLoss,
}

impl Budget {
    /// `record`, if there is room for it; counted as lost if not.
    fn admit(&mut self, record: LogRecord, is_cut: bool, lost: &mut LogLoss) -> Option<LogRecord> {
        self.charged_bytes = self.charged_bytes.saturating_add(record.charge());
        if self.charged_bytes > LOG_BYTES_MAX {
            lost.count(&record);
            return None;
        }
        lost.cut += u64::from(is_cut);
        Some(record)
    }
}

impl Log {
    /// A request begins; `lost` is what was lost of the log so far.
    pub(super) fn begin(&mut self, lost: LogLoss) {
        self.budget = Budget {
            charged_bytes: 0,
            lost_before: lost,
        };
    }

    /// Bytes ever taken from the ring.
    pub(super) fn tail(&self) -> u64 {
        self.ring.tail()
    }

    /// Reads on where `tail` bytes were taken from the ring.
    pub(super) fn go_on_from(&mut self, tail: u64) {
        self.ring = LogRing::at(tail);
    }
}

impl<F: FnMut(Event)> Vm<F> {
    /// Tells what is in the ring.
    pub(super) fn drain_log(&mut self) -> Result<(), LogRingError> {
        let (mut batch, mut batch_bytes) = (Vec::new(), 0);
        let Log { ring, budget } = &mut self.log;
        let (lost, on_event) = (&mut self.stats.log_lost, &mut self.on_event);
        let result = ring.drain(self.machine.ram(), |record, is_cut| {
            let Some(record) = budget.admit(record, is_cut, lost) else {
                return;
            };
            batch_bytes += record.charge();
            batch.push(record);
            if batch_bytes >= BATCH_BYTES {
                batch_bytes = 0;
                on_event(Event::Log(std::mem::take(&mut batch)));
            }
        });
        if !batch.is_empty() {
            on_event(Event::Log(batch));
        }
        result
    }

    /// Tells what `take` finds said on the console, if there is one, behind the records that are in the ring already.
    pub(super) fn tell_console(
        &mut self,
        take: impl FnOnce(&mut Console) -> Option<String>,
    ) -> Result<(), Stop> {
        let Some(mut text) = self.bus.console.as_mut().and_then(take) else {
            return Ok(());
        };
        self.drain_log()?;
        let is_cut = cut(&mut text);
        let record = LogRecord::new(Level::Info, text);
        let lost = &mut self.stats.log_lost;
        if let Some(record) = self.log.budget.admit(record, is_cut, lost) {
            (self.on_event)(Event::Log(vec![record]));
        }
        Ok(())
    }

    /// Says at the end of a request, or of `init`, what of its log is lost.
    pub(super) fn tell_log_lost(&mut self) {
        let lost = self.stats.log_lost.since(&self.log.budget.lost_before);
        self.stats.last_request_log_lost = lost;
        if lost.is_none() {
            return;
        }
        let why = format!(
            "a request may log {} MiB, of which each record takes {RECORD_COST_BYTES} bytes besides its text",
            LOG_BYTES_MAX >> 20
        );
        if let Some(notice) = lost.notice(&why) {
            (self.on_event)(Event::Log(vec![notice]));
        }
    }
}
