//! What a log costs, counted in one way wherever something hostile is counted: in the VMM, which takes it from a guest,
//! and in whoever takes it from a VMM. And how it is told what is lost.

use std::fmt::{self, Display};

use jiffy_abi::log_ring::{Level, TEXT_BYTES_MAX};
use serde::{Deserialize, Serialize};

use crate::{LogRecord, LogSource};

/// What a record is charged besides its text, bytes: what it takes in a vector, and what an allocator adds to the
/// shortest text. Without it, empty records were free and had no end.
pub const RECORD_COST_BYTES: usize = 64;
const _: () = assert!(RECORD_COST_BYTES >= size_of::<LogRecord>() + 32);
/// Bytes of log that one request, or `init`, may write, [`RECORD_COST_BYTES`] for each record among them; the rest is
/// counted and dropped.
pub const LOG_BYTES_MAX: usize = 1 << 20;
/// Stands behind a text that was cut.
pub const CUT_MARK: &str = "… (cut)";
/// Longest text of a record, bytes, with the mark of one that was cut.
pub const RECORD_TEXT_BYTES_MAX: usize = TEXT_BYTES_MAX + CUT_MARK.len();

impl LogRecord {
    /// A record of a function's.
    pub fn new(level: Level, text: impl Into<String>) -> Self {
        Self {
            level: level as u8,
            text: text.into(),
            source: LogSource::Function,
        }
    }

    /// A record that the platform writes.
    pub fn of_platform(level: Level, text: impl Into<String>) -> Self {
        Self {
            source: LogSource::Platform,
            ..Self::new(level, text)
        }
    }

    /// What it is charged, bytes.
    pub fn charge(&self) -> usize {
        RECORD_COST_BYTES + self.text.len()
    }
}

/// What records are charged together, bytes.
pub fn charge(records: &[LogRecord]) -> usize {
    records.iter().map(LogRecord::charge).sum()
}

/// Cuts a text that is longer than a record may be, at a character, and marks it. Whether it was.
pub fn cut(text: &mut String) -> bool {
    let is_cut = text.len() > RECORD_TEXT_BYTES_MAX
        || (text.len() > TEXT_BYTES_MAX && !text.ends_with(CUT_MARK));
    if is_cut {
        cut_and_mark(text);
    }
    is_cut
}

/// Marks a text as cut, and cuts it if it is too long.
pub fn cut_and_mark(text: &mut String) {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text.push_str(CUT_MARK);
}

/// The newest records that are charged `bytes_max` or less together, behind a line about those that are left out.
pub fn newest(mut records: Vec<LogRecord>, bytes_max: usize) -> Vec<LogRecord> {
    let mut room_bytes = bytes_max;
    let fits = |record: &&LogRecord| {
        let is_room = room_bytes.checked_sub(record.charge());
        room_bytes = is_room.unwrap_or_default();
        is_room.is_some()
    };
    let kept = records.iter().rev().take_while(fits).count();
    let left_out = records.len() - kept;
    if left_out > 0 {
        let text = format!("earlier log records are left out here: {left_out}");
        records.splice(..left_out, [LogRecord::of_platform(Level::Warn, text)]);
    }
    records
}

/// Log that did not arrive as it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLoss {
    /// Records that were dropped.
    pub records: u64,
    /// Bytes of their texts.
    pub bytes: u64,
    /// Records that were cut at [`TEXT_BYTES_MAX`].
    pub cut: u64,
}

impl LogLoss {
    /// Whether nothing is lost.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Counts a record that is dropped.
    pub fn count(&mut self, record: &LogRecord) {
        self.records += 1;
        self.bytes += record.text.len() as u64;
    }

    /// What was lost since `before`, an earlier count of the same VM.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            records: self.records.saturating_sub(before.records),
            bytes: self.bytes.saturating_sub(before.bytes),
            cut: self.cut.saturating_sub(before.cut),
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            records: self.records.saturating_add(other.records),
            bytes: self.bytes.saturating_add(other.bytes),
            cut: self.cut.saturating_add(other.cut),
        }
    }

    /// The record that tells whoever reads the log; `None` if there is nothing to tell. `why` is the rule by which
    /// records were dropped.
    pub fn notice(&self, why: &str) -> Option<LogRecord> {
        let Self { records, cut, .. } = *self;
        let dropped = (records > 0).then(|| format!("{} dropped: {why}", Dropped(self)));
        let was = if cut == 1 { "was" } else { "were" };
        let cut = (cut > 0)
            .then(|| format!("{} {was} cut at {} KiB", Records(cut), TEXT_BYTES_MAX >> 10));
        let texts: Vec<_> = dropped.into_iter().chain(cut).collect();
        (!texts.is_empty()).then(|| LogRecord::of_platform(Level::Warn, texts.join("; ")))
    }
}

/// `3 log records (1.2 kB) were`.
struct Dropped<'a>(&'a LogLoss);

impl Display for Dropped<'_> {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogLoss { records, bytes, .. } = *self.0;
        write!(f, "{} ", Records(records))?;
        match bytes {
            0..1000 => write!(f, "({bytes} B)")?,
            1000..1_000_000 => write!(f, "({:.1} kB)", bytes as f64 / 1e3)?,
            _ => write!(f, "({:.1} MB)", bytes as f64 / 1e6)?,
        }
        f.write_str(if records == 1 { " was" } else { " were" })
    }
}

struct Records(u64);

impl Display for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 log record"),
            many => write!(f, "{many} log records"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_never_free() {
        let empty = LogRecord::new(Level::Info, "");
        assert_eq!(empty.charge(), 64);
        assert_eq!(charge(&[empty, LogRecord::new(Level::Info, "abc")]), 131);
    }

    #[test]
    fn long_texts_are_cut_at_a_character_once() {
        let check = |text: &str, expected_len: Option<usize>| {
            let mut kept = text.to_owned();
            assert_eq!(cut(&mut kept), expected_len.is_some());
            match expected_len {
                Some(len) => {
                    assert_eq!((kept.len(), &kept[len..]), (len + CUT_MARK.len(), CUT_MARK));
                    let once = kept.clone();
                    assert!(!cut(&mut kept) && kept == once);
                }
                None => assert_eq!(kept, text),
            }
        };
        check("", None);
        check(&"x".repeat(TEXT_BYTES_MAX), None);
        check(&"x".repeat(TEXT_BYTES_MAX + 1), Some(TEXT_BYTES_MAX));
        check(
            &format!("x{}", "ü".repeat(TEXT_BYTES_MAX)),
            Some(TEXT_BYTES_MAX - 1),
        );
    }

    #[test]
    fn what_is_lost_is_told_in_a_sentence() {
        let check = |loss: LogLoss, expected: Option<&str>| {
            let notice = loss.notice("because");
            assert_eq!(notice.as_ref().map(|record| &*record.text), expected);
        };
        let loss = |records, bytes, cut| LogLoss {
            records,
            bytes,
            cut,
        };
        check(loss(0, 0, 0), None);
        check(
            loss(1, 0, 0),
            Some("1 log record (0 B) was dropped: because"),
        );
        check(loss(0, 0, 1), Some("1 log record was cut at 4 KiB"));
        check(
            loss(2345, 1_234_567, 3),
            Some(
                "2345 log records (1.2 MB) were dropped: because; 3 log records were cut at 4 KiB",
            ),
        );
        assert_eq!(loss(5, 6, 7).since(&loss(1, 2, 3)), loss(4, 4, 4));
        assert_eq!(loss(5, 6, 7).and(&loss(1, 2, 3)), loss(6, 8, 10));
    }

    #[test]
    fn the_newest_records_stay() {
        let record = |number: usize| LogRecord::new(Level::Info, format!("{number:06}"));
        let records: Vec<_> = (0..10).map(record).collect();
        assert_eq!(newest(records.clone(), 700), records);
        let kept = newest(records.clone(), 699);
        assert_eq!(kept[0].text, "earlier log records are left out here: 1");
        assert_eq!(kept[1..], records[1..]);
        assert_eq!(newest(records.clone(), 69).len(), 1);
        assert_eq!(newest(vec![], 0), []);
    }
}
