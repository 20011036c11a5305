//! `setjmp` and `longjmp`: the registers that a function keeps for its caller, stored and put back.
//!
//! Not unwinding: frames that a jump leaves are forgotten. Rust's may be among them only if they have nothing to drop.
#![allow(unsafe_code, reason = "registers are changed in assembly")]

use core::{arch::naked_asm, ffi::c_int};

/// Stores registers, stack and return address in a `jmp_buf`, of which it needs 64 bytes. Zero; if a jump comes here, what that
/// says.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _setjmp(_to: *mut u64) -> c_int {
    naked_asm!(
        "mov [rdi], rbx",
        "mov [rdi + 8], rbp",
        "mov [rdi + 16], r12",
        "mov [rdi + 24], r13",
        "mov [rdi + 32], r14",
        "mov [rdi + 40], r15",
        "lea rdx, [rsp + 8]",
        "mov [rdi + 48], rdx",
        "mov rdx, [rsp]",
        "mov [rdi + 56], rdx",
        "xor eax, eax",
        "ret",
    )
}

/// Goes back to where a `jmp_buf` was stored, which returns `value` there, or 1 if that is 0.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn longjmp(_from: *const u64, _value: c_int) -> ! {
    naked_asm!(
        "mov eax, esi",
        "cmp eax, 1",
        "adc eax, 0",
        "mov rbx, [rdi]",
        "mov rbp, [rdi + 8]",
        "mov r12, [rdi + 16]",
        "mov r13, [rdi + 24]",
        "mov r14, [rdi + 32]",
        "mov r15, [rdi + 40]",
        "mov rsp, [rdi + 48]",
        "jmp qword ptr [rdi + 56]",
    )
}

/// The same under other names: there are no signals whose mask would be stored too.
macro_rules! same {
    ($($name:ident = $of:ident)+) => {
        $(
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name() {
                naked_asm!("jmp {of}", of = sym $of)
            }
        )+
    };
}

same! {
    setjmp = _setjmp
    __sigsetjmp = _setjmp
    sigsetjmp = _setjmp
    _longjmp = longjmp
    siglongjmp = longjmp
    __longjmp_chk = longjmp
}
