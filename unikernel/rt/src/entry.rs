//! The first instruction of a guest.
#![allow(
    unsafe_code,
    reason = "the entry point and the stack are set in assembly"
)]

use core::arch::naked_asm;

use crate::{clock, heap, vsock};

unsafe extern "Rust" {
    /// `jiffy::image!` defines it in the wrapper crate.
    fn __jiffy_main() -> !;
}

/// Where the VMM starts the vCPU: ring 3, `rsp` at the top of the stack, all else zero.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text._start")]
unsafe extern "C" fn _start() -> ! {
    // `call` leaves the stack as the ABI wants it; the zero in `rbp` ends every backtrace.
    naked_asm!("xor ebp, ebp", "call {start}", "ud2", start = sym start)
}

// Nothing here catches a panic: one that unwinds finds so before it does, and every frame is there to be told.
extern "C-unwind" fn start() -> ! {
    let page = clock::resume_page();
    heap::claim(page.heap_start, vsock::rx_buffers(page.heap_end));
    #[cfg(feature = "std")]
    crate::tls::begin();
    // SAFETY: `jiffy::image!` in the wrapper crate defines it with this signature.
    unsafe { __jiffy_main() }
}
