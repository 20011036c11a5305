//! The control page: what a guest tells the VMM when the byte of a doorbell is too little.
//!
//! The guest writes it and may write anything: the VMM copies a field once and checks the copy.
//! A request that neither sleeps nor logs does not touch it.
//!
//! ```text
//! offset  0  wake-up time   u64, for Wait::EventUntil
//!         8  randomness     u64, not zero once init has drawn any
//!        64  log ring head  u64, bytes ever written to the ring (guest)
//!        72  log ring tail  u64, bytes ever taken from it (VMM)
//!       128  FaultRecord    why the guest gives up
//! ```

use crate::{
    fault::FAULT_RECORD_BYTES,
    layout::{CONTROL_PAGE, PAGE_BYTES},
};

/// Address of the time at which [`crate::doorbell::Wait::EventUntil`] ends at the latest:
/// nanoseconds on the resume page's monotonic clock, u64.
pub const WAKE_NS: u64 = CONTROL_PAGE;
/// Address of the mark that `init` drew randomness, u64: every clone of a snapshot taken after that
/// would share what was drawn.
pub const RANDOM_DRAWN: u64 = WAKE_NS + 8;
/// Address of the count of bytes ever written to the log ring, u64.
pub const LOG_HEAD: u64 = CONTROL_PAGE + 64;
/// Address of the count of bytes ever taken from the log ring, u64.
pub const LOG_TAIL: u64 = LOG_HEAD + 8;
/// Address of the [`crate::fault::FaultRecord`].
pub const FAULT: u64 = CONTROL_PAGE + 128;

const _: () = {
    assert!(RANDOM_DRAWN + 8 <= LOG_HEAD && LOG_TAIL + 8 <= FAULT);
    assert!(FAULT + FAULT_RECORD_BYTES as u64 <= CONTROL_PAGE + PAGE_BYTES);
};
