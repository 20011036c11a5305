//! Takes records out of the guest's log ring.
//!
//! The counters and every record are the guest's word: they are read once, checked, and a ring that
//! contradicts itself ends the guest.

use jiffy_abi::{
    control_page::{LOG_HEAD, LOG_TAIL},
    layout::{LOG_RING, LOG_RING_BYTES},
    log_ring::{RECORD_HEADER_BYTES, RecordHeader, TEXT_BYTES_MAX},
};
use jiffy_control::{LogRecord, cut, cut_and_mark};

use crate::mem::Ram;

/// What is wrong with a ring. All blame the guest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LogRingError {
    #[error(
        "the log ring's head is {ahead_bytes} bytes ahead of its tail, more than its {LOG_RING_BYTES}"
    )]
    Head { ahead_bytes: u64 },
    #[error("a log record of {0} bytes is longer than {TEXT_BYTES_MAX} or than what was written")]
    Record(u16),
}

/// The reading side.
#[derive(Debug, Default)]
pub(super) struct LogRing {
    /// Bytes ever taken. The guest's copy is written, never read.
    tail: u64,
}

impl LogRing {
    /// A reader that has taken `tail` bytes.
    pub(super) fn at(tail: u64) -> Self {
        Self { tail }
    }

    /// Bytes ever taken.
    pub(super) fn tail(&self) -> u64 {
        self.tail
    }

    /// Calls `sink` with each record the guest wrote since the last time, and whether its text was cut: by the guest, or
    /// here because it is longer with what replaces its bytes that are not UTF-8.
    pub(super) fn drain(
        &mut self,
        ram: &Ram,
        mut sink: impl FnMut(LogRecord, bool),
    ) -> Result<(), LogRingError> {
        let Some(head) = ram.read_u64(LOG_HEAD) else {
            return Ok(());
        }; // It is inside every RAM.
        if head == self.tail {
            return Ok(());
        }
        let ahead_bytes = head.wrapping_sub(self.tail);
        if ahead_bytes > LOG_RING_BYTES {
            return Err(LogRingError::Head { ahead_bytes });
        }
        while self.tail != head {
            let header = self
                .take(ram, RECORD_HEADER_BYTES, head)
                .ok_or(LogRingError::Record(0))?;
            let [a, b, c, d] = *header.as_slice() else {
                return Err(LogRingError::Record(0));
            };
            let header = RecordHeader::from_bytes([a, b, c, d]);
            let text_bytes = usize::from(header.text_bytes);
            let too_long = LogRingError::Record(header.text_bytes);
            if text_bytes > TEXT_BYTES_MAX {
                return Err(too_long);
            }
            let text = self.take(ram, text_bytes, head).ok_or(too_long)?;
            let mut text = String::from_utf8_lossy(&text).into_owned();
            if header.is_cut {
                cut_and_mark(&mut text);
            }
            let is_cut = header.is_cut | cut(&mut text);
            sink(LogRecord::new(header.level, text), is_cut);
        }
        ram.write(LOG_TAIL, &self.tail.to_le_bytes());
        Ok(())
    }

    /// The next `len` bytes, around the end of the ring if need be; `None` beyond `head`.
    fn take(&mut self, ram: &Ram, len: usize, head: u64) -> Option<Vec<u8>> {
        if len as u64 > head.wrapping_sub(self.tail) {
            return None;
        }
        let offset = self.tail % LOG_RING_BYTES;
        let until_end = usize::try_from(LOG_RING_BYTES - offset).ok()?;
        let mut bytes = ram.read_vec(LOG_RING + offset, len.min(until_end))?;
        bytes.extend(ram.read_vec(LOG_RING, len - bytes.len())?);
        self.tail = self.tail.wrapping_add(len as u64);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiffy_abi::{layout::RAM_BYTES_MIN, log_ring::Level};
    use jiffy_control::CUT_MARK;

    fn ram() -> Ram {
        Ram::new(RAM_BYTES_MIN).expect("4 MiB")
    }

    fn put(ram: &Ram, at: u64, bytes: &[u8]) {
        for (index, byte) in (at..).zip(bytes) {
            ram.write(LOG_RING + index % LOG_RING_BYTES, &[*byte])
                .expect("in RAM");
        }
    }

    fn drain(ring: &mut LogRing, ram: &Ram) -> Result<Vec<LogRecord>, LogRingError> {
        let mut records = vec![];
        ring.drain(ram, |record, _| records.push(record))
            .map(|()| records)
    }

    #[test]
    fn records_come_out_in_order_around_the_end_of_the_ring() {
        let (ram, mut ring, mut head) = (ram(), LogRing::default(), 0);
        for number in 0..5000u32 {
            let text = format!("record {number}");
            let header = RecordHeader {
                level: Level::Warn,
                is_cut: false,
                text_bytes: u16::try_from(text.len()).expect("short"),
            };
            put(&ram, head, &header.to_bytes());
            put(&ram, head + 4, text.as_bytes());
            head += 4 + text.len() as u64;
            ram.write(LOG_HEAD, &head.to_le_bytes()).expect("in RAM");
            let records = drain(&mut ring, &ram).expect("well-formed");
            assert_eq!(records, [LogRecord::new(Level::Warn, text)]);
            assert_eq!(ram.read_u64(LOG_TAIL), Some(head));
        }
    }

    #[test]
    fn a_cut_text_is_marked_and_told() {
        let check = |flags: u8, text: &[u8], expected: &str| {
            let ram = ram();
            let [low, high] = u16::try_from(text.len()).expect("short").to_le_bytes();
            put(&ram, 0, &[3, flags, low, high]);
            put(&ram, 4, text);
            let head = 4 + text.len() as u64;
            ram.write(LOG_HEAD, &head.to_le_bytes()).expect("in RAM");
            let mut found = vec![];
            let drained =
                LogRing::default().drain(&ram, |record, is_cut| found.push((record.text, is_cut)));
            drained.expect("well-formed");
            assert_eq!(found, [(expected.to_owned(), expected.ends_with(CUT_MARK))]);
        };
        check(0, b"whole", "whole");
        check(1, b"the begin", "the begin… (cut)");
        check(0xfe, b"flags of tomorrow", "flags of tomorrow");
        let long = "x".repeat(TEXT_BYTES_MAX);
        check(0, long.as_bytes(), &long);
        check(1, long.as_bytes(), &format!("{long}… (cut)"));
        // Each of these bytes is replaced by three.
        let replaced = "\u{fffd}".repeat(TEXT_BYTES_MAX / 3);
        check(0, &[0xff; TEXT_BYTES_MAX], &format!("{replaced}… (cut)"));
    }

    #[test]
    fn a_ring_that_contradicts_itself_is_refused() {
        let check = |head: u64, header: [u8; 4]| {
            let ram = ram();
            put(&ram, 0, &header);
            ram.write(LOG_HEAD, &head.to_le_bytes()).expect("in RAM");
            drain(&mut LogRing::default(), &ram).expect_err("malformed")
        };
        let ahead_bytes = LOG_RING_BYTES + 1;
        assert_eq!(
            check(ahead_bytes, [0; 4]),
            LogRingError::Head { ahead_bytes }
        );
        assert_eq!(
            check(u64::MAX, [0; 4]),
            LogRingError::Head {
                ahead_bytes: u64::MAX
            }
        );
        assert_eq!(check(3, [3, 0, 0, 0]), LogRingError::Record(0));
        assert_eq!(check(8, [3, 0, 5, 0]), LogRingError::Record(5));
        assert_eq!(check(16384, [3, 0, 1, 0x10]), LogRingError::Record(4097));
    }
}
