//! Ringing the doorbells of [`jiffy_abi::doorbell`].
#![allow(unsafe_code, reason = "a doorbell is a port")]

use core::arch::asm;

use jiffy_abi::{
    control_page,
    doorbell::{self, Wait},
    fault::FaultRecord,
};

use crate::window::Window;

// SAFETY: the VMM maps the control page read-write in every guest, and nothing but windows refers
// to it.
pub(crate) const CONTROL: Window = unsafe {
    Window::new(
        jiffy_abi::layout::CONTROL_PAGE,
        jiffy_abi::layout::PAGE_BYTES,
    )
};

/// Offset in the control page of the field at `address`.
pub(crate) const fn control_offset(address: u64) -> usize {
    (address - jiffy_abi::layout::CONTROL_PAGE) as usize
}

fn ring(port: u16, byte: u8) {
    // SAFETY: the port is a doorbell, which the I/O bitmap opens. The VMM may change all memory
    // that it shares and, by contract, clobbers vector state: `clobber_abi` and the missing
    // `nomem` say both.
    unsafe { asm!("out dx, al", in("dx") port, in("al") byte, clobber_abi("sysv64")) }
}

/// Waits as `wait` says.
pub(crate) fn wait(wait: Wait) {
    ring(doorbell::WAIT, wait.to_byte());
}

/// Waits for an event until `wake_ns` on the monotonic clock.
pub(crate) fn wait_until(wake_ns: u64) {
    CONTROL.store(control_offset(control_page::WAKE_NS), wake_ns);
    wait(Wait::EventUntil);
}

/// Says that `init` is done; returns when there is a request.
pub(crate) fn ready() {
    ring(doorbell::READY, 0);
}

/// Gives up for the reason in `record`.
pub(crate) fn fault(record: FaultRecord) -> ! {
    CONTROL.store_slice(control_offset(control_page::FAULT), &record.to_bytes());
    loop {
        ring(doorbell::FAULT, 0);
    }
}

/// Ends the VM with `code`.
pub fn exit(code: u8) -> ! {
    loop {
        ring(doorbell::EXIT, code);
    }
}
