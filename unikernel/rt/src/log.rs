//! Log lines go to the ring of [`jiffy_abi::log_ring`]; the VMM takes them at the next doorbell.
#![allow(unsafe_code, reason = "the log ring lies at a fixed address")]

use core::{fmt, fmt::Write};

use jiffy_abi::{
    control_page::{LOG_HEAD, LOG_TAIL},
    doorbell::Wait,
    layout::{LOG_RING, LOG_RING_BYTES},
    log_ring::{Level, RECORD_HEADER_BYTES, RecordHeader, TEXT_BYTES_MAX},
};

use crate::{
    doorbell::{CONTROL, control_offset, wait},
    window::Window,
};

const HEAD: usize = control_offset(LOG_HEAD);
const TAIL: usize = control_offset(LOG_TAIL);

// SAFETY: the VMM maps the ring read-write in every guest, and nothing but this window refers to it.
const RING: Window = unsafe { Window::new(LOG_RING, LOG_RING_BYTES) };

/// Writes one record; text beyond [`TEXT_BYTES_MAX`] is cut, and the record says so. If the ring is full, the VMM is asked
/// to empty it, so that nothing is lost.
pub fn log(level: Level, text: fmt::Arguments<'_>) {
    let most_bytes = (RECORD_HEADER_BYTES + TEXT_BYTES_MAX) as u64;
    let mut head: u64 = CONTROL.load(HEAD);
    if head - CONTROL.load::<u64>(TAIL) > LOG_RING_BYTES - most_bytes {
        wait(Wait::Poll);
    }
    let mut record = Record {
        at: head + RECORD_HEADER_BYTES as u64,
        text_bytes: 0,
        is_cut: false,
    };
    // A failing `Display` of the author's ends the text; what came before it still counts.
    let _ = record.write_fmt(text);
    let header = RecordHeader {
        level,
        is_cut: record.is_cut,
        text_bytes: record.text_bytes,
    };
    store(head, &header.to_bytes());
    head += RECORD_HEADER_BYTES as u64 + u64::from(record.text_bytes);
    CONTROL.store(HEAD, head);
}

struct Record {
    at: u64,
    text_bytes: u16,
    is_cut: bool,
}

impl fmt::Write for Record {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = TEXT_BYTES_MAX - usize::from(self.text_bytes);
        let piece = &text[..text.floor_char_boundary(room)];
        store(self.at, piece.as_bytes());
        self.at += piece.len() as u64;
        self.text_bytes += piece.len() as u16; // At most `TEXT_BYTES_MAX` in all.
        if piece.len() < text.len() {
            self.is_cut = true;
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

/// Writes `bytes` where the byte number `at` belongs, around the end of the ring if need be.
fn store(at: u64, bytes: &[u8]) {
    let offset = (at % LOG_RING_BYTES) as usize;
    let until_end = LOG_RING_BYTES as usize - offset;
    let (first, second) = bytes.split_at(bytes.len().min(until_end));
    RING.store_slice(offset, first);
    RING.store_slice(0, second);
}
