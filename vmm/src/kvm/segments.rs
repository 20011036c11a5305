//! The data segment registers of this thread: DS, ES, FS and GS.
//!
//! In VMX and SVM a vCPU has segment registers of its own. The PVM backend leaves these four to the thread (seen on Linux
//! 6.18): a guest begins with the thread's selectors, and what it loads into them is the thread's when it exits, whatever
//! `KVM_GET_SREGS` tells and `KVM_SET_SREGS` is told. A thread of a 64-bit process has null selectors, so that is what a
//! guest begins with there, and where a reset puts them back to. Bases are the vCPU's everywhere.
//! Source: Intel SDM volume 3, section 3.4 (segment registers), volume 2, WRFSBASE.

use std::arch::asm;

use super::KvmError;

/// In `AT_HWCAP2`: user mode may use RDFSBASE and WRFSBASE (asm/hwcap2.h of x86).
const HWCAP2_FSGSBASE: u64 = 1 << 1;

/// Loads null selectors into those of this thread's data segment registers that hold others. Costs four register reads
/// if none does.
pub(super) fn clear() -> Result<(), KvmError> {
    if selectors() == [0; 4] {
        return Ok(());
    }
    // SAFETY: it asks for a number that the kernel put on the stack at the start of the program.
    let features = unsafe { libc::getauxval(libc::AT_HWCAP2) };
    if features & HWCAP2_FSGSBASE == 0 {
        return Err(KvmError::Segments);
    }
    // SAFETY: user mode may load null selectors, and in 64-bit mode nothing is addressed through DS and ES. On some CPUs
    // loading FS or GS clears its base: FS's, which thread-local storage is found by, is put back before anything can use it,
    // and was looked at to be allowed; a signal handler that comes between uses none (`kick`). GS has no use in this program.
    unsafe {
        asm!(
            "rdfsbase {base}",
            "mov ds, {null:x}",
            "mov es, {null:x}",
            "mov gs, {null:x}",
            "mov fs, {null:x}",
            "wrfsbase {base}",
            base = out(reg) _,
            null = in(reg) 0,
            options(nomem, nostack, preserves_flags),
        );
    }
    Ok(())
}

fn selectors() -> [u16; 4] {
    let (ds, es, fs, gs);
    // SAFETY: reads four registers.
    unsafe {
        asm!(
            "mov {ds:x}, ds",
            "mov {es:x}, es",
            "mov {fs:x}, fs",
            "mov {gs:x}, gs",
            ds = out(reg) ds,
            es = out(reg) es,
            fs = out(reg) fs,
            gs = out(reg) gs,
            options(nomem, nostack, preserves_flags),
        );
    }
    [ds, es, fs, gs]
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static KEPT: Cell<u64> = const { Cell::new(7) };
    }

    /// As a guest on PVM may leave them, and thread-local storage is still there afterwards.
    #[test]
    fn selectors_are_cleared_and_the_thread_keeps_its_storage() {
        KEPT.set(0x5eed);
        let user_data: u16 = 0x2b;
        // SAFETY: as in `clear`; the selector is that of flat ring-3 data, which Linux has in every GDT.
        unsafe {
            asm!(
                "rdfsbase {base}",
                "mov ds, {data:x}",
                "mov es, {data:x}",
                "mov gs, {data:x}",
                "mov fs, {data:x}",
                "wrfsbase {base}",
                base = out(reg) _,
                data = in(reg) user_data,
                options(nomem, nostack, preserves_flags),
            );
        }
        assert_eq!(selectors(), [user_data; 4]);
        clear().expect("FSGSBASE");
        assert_eq!(selectors(), [0; 4]);
        assert_eq!(KEPT.get(), 0x5eed);
    }
}
