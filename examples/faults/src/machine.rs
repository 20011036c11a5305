//! Faults of the machine.

use alloc::boxed::Box;
use core::{arch::asm, hint::black_box};

/// An address that no VM maps: 64 TiB.
pub(crate) const WILD: u64 = 1 << 46;
/// An address that no x86-64 CPU with four levels of page tables can map.
pub(crate) const NON_CANONICAL: u64 = 1 << 63;

/// The port of power-on self-test codes: no doorbell.
pub(crate) const PORT_POST: u16 = 0x80;
/// The doorbell with which an image ends on purpose.
pub(crate) const PORT_EXIT: u16 = 0xe3;
/// The code with which this one does.
pub(crate) const EXIT_CODE: u8 = 7;

/// The instruction `ret`.
const RET: u8 = 0xc3;

/// Divides by zero.
pub(crate) fn divide() {
    // SAFETY: changes only registers that are declared, and raises #DE.
    unsafe {
        asm!(
            "div {zero:e}",
            zero = in(reg) 0,
            inout("eax") 1 => _,
            inout("edx") 0 => _,
            options(nomem, nostack),
        );
    }
}

/// Executes what is no instruction.
pub(crate) fn ud2() {
    // SAFETY: raises #UD and changes nothing.
    unsafe { asm!("ud2", options(nomem, nostack)) };
}

/// Stops at a breakpoint nobody set.
pub(crate) fn int3() {
    // SAFETY: raises #BP and changes nothing.
    unsafe { asm!("int3", options(nomem, nostack)) };
}

/// Reads a byte.
pub(crate) fn read(address: u64) {
    // SAFETY: reads one byte, of which nothing is made, or faults.
    unsafe {
        asm!("mov {byte}, [{address}]", address = in(reg) address, byte = out(reg_byte) _,
             options(nostack, readonly));
    }
}

/// Writes a byte.
pub(crate) fn write(address: u64) {
    // SAFETY: none of the callers' addresses is memory that Rust may write, so this faults; if it
    // does not, the VMM is broken and the program with it.
    unsafe { asm!("mov byte ptr [{address}], 0", address = in(reg) address, options(nostack)) };
}

/// Calls code on the stack.
pub(crate) fn exec_stack() {
    let code = black_box([RET; 16]);
    call(code.as_ptr());
}

/// Calls code in the heap.
pub(crate) fn exec_heap() {
    let code = black_box(Box::new([RET; 16]));
    call(code.as_ptr());
}

fn call(code: *const u8) {
    // SAFETY: the code, if the CPU runs it, is `ret`; the clobbers are those of any call.
    unsafe { asm!("call {code}", code = in(reg) code, clobber_abi("C")) };
}

/// Divides by zero with the SIMD exception for it unmasked.
pub(crate) fn simd() {
    const MASK_ALL: u32 = 0x1f80;
    const MASK_DIVIDE: u32 = 0x0200;
    let (unmasked, masked) = (MASK_ALL & !MASK_DIVIDE, MASK_ALL);
    // SAFETY: raises #XM; should it not, the control register is put back as Rust expects it.
    unsafe {
        asm!(
            "ldmxcsr [{unmasked}]",
            "divss {dividend}, {zero}",
            "ldmxcsr [{masked}]",
            unmasked = in(reg) &unmasked,
            masked = in(reg) &masked,
            dividend = inout(xmm_reg) 1.0_f32 => _,
            zero = in(xmm_reg) 0.0_f32,
            options(nostack, readonly),
        );
    }
}

/// Never comes back.
pub(crate) fn spin() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Writes a byte to a port.
pub(crate) fn out<const PORT: u16>(byte: u8) {
    // SAFETY: changes no memory; a port that is no doorbell ends the VM, and so does the exit
    // doorbell. No others are used.
    unsafe { asm!("out dx, al", in("dx") PORT, in("al") byte, options(nomem, nostack)) };
}

/// Reads the time-stamp counter, which the VMM may forbid.
pub(crate) fn rdtsc() -> u64 {
    // SAFETY: every x86-64 CPU has the instruction; where it is forbidden it faults.
    unsafe { core::arch::x86_64::_rdtsc() }
}
