//! Why a guest gave up: the record it leaves in the control page before the `FAULT` doorbell.

use crate::bytes::{get, put};

/// Bytes of a [`FaultRecord`].
pub const FAULT_RECORD_BYTES: usize = 56;
/// Longest message the VMM takes from a guest, bytes; the rest is cut.
pub const MESSAGE_BYTES_MAX: u32 = 4096;
/// Longest source file name the VMM takes from a guest, bytes; the rest is cut.
pub const FILE_BYTES_MAX: u32 = 512;

/// Kinds of giving up, as numbers.
pub mod kind {
    /// The function or one of its libraries panicked.
    pub const PANIC: u32 = 1;
    /// An allocation failed.
    pub const OUT_OF_MEMORY: u32 = 2;
    /// `init` returned an error.
    pub const INIT: u32 = 3;
    /// The library OS found something that cannot be, such as a broken virtqueue.
    pub const RUNTIME: u32 = 4;
}

/// What the guest says, by address: guest memory holds the texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultRecord {
    /// One of [`kind`]; a guest may write any number.
    pub kind: u32,
    /// Line in the source file, zero if unknown.
    pub line: u32,
    /// Column in the source file, zero if unknown.
    pub column: u32,
    /// Bytes of the message, which should be UTF-8.
    pub message_bytes: u32,
    /// Guest address of the message.
    pub message: u64,
    /// Guest address of the source file's name.
    pub file: u64,
    /// Bytes of the source file's name, which should be UTF-8.
    pub file_bytes: u32,
    /// Frame pointer to start a backtrace from; zero if unknown.
    pub frame_pointer: u64,
    /// For [`kind::OUT_OF_MEMORY`]: bytes asked for.
    pub requested_bytes: u64,
}

impl FaultRecord {
    /// The record as it stands in guest memory at [`crate::control_page::FAULT`].
    pub const fn to_bytes(self) -> [u8; FAULT_RECORD_BYTES] {
        let mut record = [0; FAULT_RECORD_BYTES];
        put(&mut record, 0, self.kind.to_le_bytes());
        put(&mut record, 4, self.line.to_le_bytes());
        put(&mut record, 8, self.column.to_le_bytes());
        put(&mut record, 12, self.message_bytes.to_le_bytes());
        put(&mut record, 16, self.message.to_le_bytes());
        put(&mut record, 24, self.file.to_le_bytes());
        put(&mut record, 32, self.file_bytes.to_le_bytes());
        put(&mut record, 40, self.frame_pointer.to_le_bytes());
        put(&mut record, 48, self.requested_bytes.to_le_bytes());
        record
    }

    /// Decodes a record; its numbers and addresses are the guest's word and unchecked.
    pub const fn from_bytes(record: &[u8; FAULT_RECORD_BYTES]) -> Self {
        Self {
            kind: u32::from_le_bytes(get(record, 0)),
            line: u32::from_le_bytes(get(record, 4)),
            column: u32::from_le_bytes(get(record, 8)),
            message_bytes: u32::from_le_bytes(get(record, 12)),
            message: u64::from_le_bytes(get(record, 16)),
            file: u64::from_le_bytes(get(record, 24)),
            file_bytes: u32::from_le_bytes(get(record, 32)),
            frame_pointer: u64::from_le_bytes(get(record, 40)),
            requested_bytes: u64::from_le_bytes(get(record, 48)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let record = FaultRecord {
            kind: kind::OUT_OF_MEMORY,
            line: 1,
            column: 2,
            message_bytes: 3,
            message: 4,
            file: 5,
            file_bytes: 6,
            frame_pointer: 7,
            requested_bytes: 8,
        };
        assert_eq!(FaultRecord::from_bytes(&record.to_bytes()), record);
    }
}
