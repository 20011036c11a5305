//! Where one thread stops and another goes on.
//!
//! A thread that stands still has on its stack what a function keeps for its caller: six registers, the control words of
//! SSE and x87, and `fs`, by which thread-locals are found. Everything else is lost at a call, and at a doorbell anyway.
#![allow(unsafe_code, reason = "stacks are switched in assembly")]

use core::arch::naked_asm;

/// What lies at the saved stack pointer, from there upwards.
#[repr(C)]
struct Frame {
    mxcsr: u32,
    x87: u32,
    fs: usize,
    /// `r15`, `r14`, `r13`, `r12`, `rbx`, `rbp`.
    registers: [usize; 6],
    goes_on_at: usize,
    /// Where `goes_on_at` would return to: zero ends a backtrace.
    returns_to: usize,
}

/// As the processor has them at its start: all exceptions masked, rounding to nearest.
const MXCSR: u32 = 0x1f80;
const X87: u32 = 0x37f;

/// Puts on a new stack what makes it go on at `entry` with this thread pointer: the saved stack pointer.
///
/// # Safety
///
/// `top` is the upper end of a stack, aligned to 16, that nobody else uses and that holds a frame and more.
pub(super) unsafe fn first(top: *mut u8, entry: extern "C" fn() -> !, fs: usize) -> *mut u8 {
    let frame = top.wrapping_sub(size_of::<Frame>()).cast::<Frame>();
    let value = Frame {
        mxcsr: MXCSR,
        x87: X87,
        fs,
        registers: [0; 6],
        goes_on_at: entry as usize,
        returns_to: 0,
    };
    // SAFETY: the stack has room for it, says the caller, and it is aligned: its size is a multiple of eight.
    unsafe { frame.write(value) };
    frame.cast()
}

/// Stops here, leaves the stack pointer in `saved`, and goes on where `other` was saved; returns when somebody switches back.
///
/// # Safety
///
/// `other` was left by this function, or made by [`first`], and was not gone on with since; its stack is that of no thread
/// that runs. `saved` may be written. The caller has no reference to what another thread may change.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn switch(saved: *mut *mut u8, other: *mut u8) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "rdfsbase rax",
        "push rax",
        "sub rsp, 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 8",
        "pop rax",
        "wrfsbase rax",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}
