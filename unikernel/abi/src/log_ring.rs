//! The log ring: records a guest leaves for the VMM, taken at every doorbell.
//!
//! A record is a header of [`RECORD_HEADER_BYTES`], `level: u8, flags: u8, text_bytes: u16`, and its
//! text, which should be UTF-8. Records follow each other without padding and wrap at the end of
//! the ring. The two counters in the control page count bytes and never wrap.

use crate::layout::LOG_RING_BYTES;

/// Bytes before a record's text.
pub const RECORD_HEADER_BYTES: usize = 4;
/// Longest text of one record, bytes; the library OS cuts longer ones.
pub const TEXT_BYTES_MAX: usize = 4096;
const _: () = assert!(((RECORD_HEADER_BYTES + TEXT_BYTES_MAX) as u64) < LOG_RING_BYTES);

/// Flag of a record whose text was longer than [`TEXT_BYTES_MAX`]: its end is missing.
const FLAG_CUT: u8 = 1;

/// How much a record matters; the numbers of the `log` crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed.
    Error = 1,
    /// Something is odd.
    Warn = 2,
    /// Worth knowing.
    Info = 3,
    /// For the author, while looking for a mistake.
    Debug = 4,
    /// Each step.
    Trace = 5,
}

impl Level {
    /// The level with this number; a number outside 1 to 5 is taken for [`Level::Info`].
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Error,
            2 => Self::Warn,
            4 => Self::Debug,
            5 => Self::Trace,
            _ => Self::Info,
        }
    }
}

/// The header of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Level of the record.
    pub level: Level,
    /// The end of the text is missing, because it was too long.
    pub is_cut: bool,
    /// Bytes of text that follow.
    pub text_bytes: u16,
}

impl RecordHeader {
    /// The header as it stands in the ring.
    pub const fn to_bytes(self) -> [u8; RECORD_HEADER_BYTES] {
        let [low, high] = self.text_bytes.to_le_bytes();
        let flags = if self.is_cut { FLAG_CUT } else { 0 };
        [self.level as u8, flags, low, high]
    }

    /// Decodes a header; `text_bytes` is the guest's word and unchecked.
    pub const fn from_bytes(header: [u8; RECORD_HEADER_BYTES]) -> Self {
        Self {
            level: Level::from_number(header[0]),
            is_cut: header[1] & FLAG_CUT != 0,
            text_bytes: u16::from_le_bytes([header[2], header[3]]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for is_cut in [false, true] {
            let header = RecordHeader {
                level: Level::Warn,
                is_cut,
                text_bytes: 0x1234,
            };
            assert_eq!(header.to_bytes(), [2, u8::from(is_cut), 0x34, 0x12]);
            assert_eq!(RecordHeader::from_bytes(header.to_bytes()), header);
        }
    }
}
