//! The last words of a guest: what it says when it cannot go on.
#![allow(
    unsafe_code,
    reason = "the frame pointer is read in assembly, and a static is written while the guest ends"
)]

use core::{
    arch::asm,
    fmt,
    fmt::Write,
    panic::Location,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use jiffy_abi::fault::{FaultRecord, MESSAGE_BYTES_MAX, kind};

use crate::{
    doorbell,
    heap::{self, Global},
};

/// Gives up with a message.
pub(crate) fn give_up(kind: u32, message: &str) -> ! {
    doorbell::fault(FaultRecord {
        kind,
        message: message.as_ptr() as u64,
        message_bytes: message.len() as u32, // Cut by the VMM if too long.
        frame_pointer: frame_pointer(),
        ..FaultRecord::default()
    })
}

/// Gives up because the function, or a library of it, aborts at a line of a file; the column is zero if it is not known.
#[cfg(feature = "std")]
pub fn aborted_at(why: &str, file: &str, line: u32, column: u32) -> ! {
    doorbell::fault(FaultRecord {
        kind: kind::PANIC,
        line,
        column,
        message: why.as_ptr() as u64,
        message_bytes: why.len() as u32, // Both are cut by the VMM if too long.
        file: file.as_ptr() as u64,
        file_bytes: file.len() as u32,
        frame_pointer: frame_pointer(),
        ..FaultRecord::default()
    })
}

/// Gives up because `requested_bytes` could not be had.
#[cfg_attr(
    not(feature = "std"),
    allow(unreachable_pub, reason = "jiffy-libc, which has std, calls it too")
)]
#[cfg_attr(feature = "std", inline(never))]
pub fn out_of_memory(requested_bytes: u64) -> ! {
    doorbell::fault(FaultRecord {
        kind: kind::OUT_OF_MEMORY,
        requested_bytes,
        frame_pointer: frame_pointer(),
        ..FaultRecord::default()
    })
}

/// The text of the panic that is being reported. Static, because the stack may be what ran out.
struct Message {
    text: [u8; MESSAGE_BYTES_MAX as usize],
    bytes: usize,
}

static MESSAGE: Global<Message> = Global::new(Message {
    text: [0; MESSAGE_BYTES_MAX as usize],
    bytes: 0,
});

impl fmt::Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.text.len() - self.bytes;
        let piece = &text[..text.floor_char_boundary(room)];
        self.text[self.bytes..][..piece.len()].copy_from_slice(piece.as_bytes());
        self.bytes += piece.len();
        if piece.len() < text.len() {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

#[cfg(not(feature = "std"))]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    end_of_panic(info.message(), info.location())
}

/// Gives up because of a panic, which `std` told its hook of.
#[cfg(feature = "std")]
pub fn panicked(message: &str, location: Option<&Location<'_>>) -> ! {
    end_of_panic(message, location)
}

/// Gives up because the function, or a library of it, aborts. `why` is what it said last.
#[cfg(feature = "std")]
pub fn aborted(why: &str) -> ! {
    give_up(kind::PANIC, why)
}

/// Gives up if `why` is what `std` says when the allocation that failed last was not to fail.
#[cfg(feature = "std")]
pub fn end_if_out_of_memory(why: &str) {
    let failed_bytes = heap::failed_bytes();
    let bytes = why.strip_prefix("memory allocation of ");
    let bytes = bytes.and_then(|rest| rest.strip_suffix(" bytes failed"));
    if failed_bytes != 0 && bytes.and_then(|bytes| bytes.parse().ok()) == Some(failed_bytes) {
        out_of_memory(failed_bytes);
    }
}

/// Gives up if an allocation has failed, of which `header_bytes` were not the function's.
#[cfg(feature = "std")]
#[inline(never)]
pub fn end_if_allocation_failed(header_bytes: u64) {
    if let Some(bytes) = heap::failed_bytes().checked_sub(header_bytes) {
        out_of_memory(bytes);
    }
}

#[inline(always)]
fn end_of_panic(what: impl fmt::Display, location: Option<&Location<'_>>) -> ! {
    static PANICKING: AtomicBool = AtomicBool::new(false);
    if PANICKING.swap(true, Relaxed) {
        give_up(kind::PANIC, "panicked while formatting a panic message");
    }
    let pointer = MESSAGE.get();
    // SAFETY: the guest's one thread is here for the first and only time, as `PANICKING` shows.
    let message = unsafe { &mut *pointer };
    let _ = write!(message, "{what}"); // A message too long is cut.

    // `alloc` turns a failed allocation into this panic and gives no other sign.
    let failed_bytes = heap::failed_bytes();
    let oom = failed_bytes != 0 && message.text.starts_with(b"memory allocation of ");
    let (file, line, column) =
        location.map_or(("", 0, 0), |at| (at.file(), at.line(), at.column()));
    doorbell::fault(FaultRecord {
        kind: if oom {
            kind::OUT_OF_MEMORY
        } else {
            kind::PANIC
        },
        line,
        column,
        message: message.text.as_ptr() as u64,
        message_bytes: message.bytes as u32, // At most `MESSAGE_BYTES_MAX`.
        file: file.as_ptr() as u64,
        file_bytes: file.len() as u32, // A source file's name; cut by the VMM if too long.
        frame_pointer: frame_pointer(),
        requested_bytes: if oom { failed_bytes } else { 0 },
    })
}

fn frame_pointer() -> u64 {
    let frame_pointer: u64;
    // SAFETY: reads one register; images are built with frame pointers.
    unsafe { asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack, preserves_flags)) }
    frame_pointer
}

/// `core` and `alloc` come compiled for unwinding and name these two; with `panic=abort` neither
/// is ever called. `std` has the first, and `jiffy-libc` the other.
#[cfg(not(feature = "std"))]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[cfg(not(feature = "std"))]
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    give_up(kind::RUNTIME, "unwinding in an image that cannot unwind")
}
