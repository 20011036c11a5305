//! Every register that ring 3 can write and a call does not: vectors, x87, control words, flags,
//! segments. General registers are the compiler's; the host compares those.

use alloc::{format, string::String};
use core::arch::{asm, x86_64::__cpuid};

use crate::{Key, Pattern};

/// Rounding towards zero, denormals flushed; all exceptions stay masked.
const MXCSR: u32 = 0x1f80 | 0xe000;
/// Rounding towards zero, all exceptions masked.
const FCW: u16 = 0x0f7f;
/// The flag that tells that CPUID is there; nothing depends on it.
const RFLAGS_ID: u64 = 1 << 21;
/// Bits of a base address, so that it is canonical.
const BASE_BITS: u64 = (1 << 46) - 1;
/// In `ecx` of CPUID leaf 1.
const OSXSAVE: u32 = 1 << 27;
const AVX: u32 = 1 << 28;
/// In `ebx` of CPUID leaf 7.
const AVX512F_BW: u32 = 1 << 16 | 1 << 30;
/// In XCR0: SSE and AVX; masks, upper halves and upper registers too.
const XCR0_AVX: u32 = 0b110;
const XCR0_AVX512: u32 = 0b1110_0110;

/// Offsets in what `fxsave64` stores (Intel SDM volume 1, table 10-2).
const FXSAVE_FCW: usize = 0;
const FXSAVE_MXCSR: usize = 24;
const FXSAVE_ST: usize = 32;
const FXSAVE_XMM: usize = 160;

#[repr(C, align(64))]
struct Area([u8; 512]);
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Block([u8; 64]);

/// The registers as they are at one moment.
pub(crate) struct Registers {
    legacy: Area,
    ymm: Area,
    zmm: [Block; 32],
    opmask: [u64; 8],
    fs_base: u64,
    gs_base: u64,
    rflags: u64,
    selectors: [u16; 4],
}

impl Registers {
    #[inline(always)]
    pub(crate) fn now() -> Self {
        let mut legacy = Area([0; 512]);
        let mut ymm = Area([0; 512]);
        let (fs_base, gs_base, rflags): (u64, u64, u64);
        let (ds, es, fs, gs): (u16, u16, u16, u16);
        // SAFETY: stores 512 bytes at an aligned address.
        unsafe { asm!("fxsave64 [{}]", in(reg) &mut legacy, options(nostack, preserves_flags)) };
        if has_avx() {
            // SAFETY: stores 16 registers of 32 bytes, which the CPU has and has enabled.
            unsafe {
                asm!(
                    ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                    "vmovdqu [{area} + 32 * \\i], ymm\\i",
                    ".endr",
                    area = in(reg) &mut ymm,
                    options(nostack, preserves_flags),
                );
            }
        }
        let mut zmm = [Block([0; 64]); 32];
        let mut opmask = [0u64; 8];
        if has_avx512() {
            // SAFETY: stores 32 registers of 64 bytes and 8 of 8, which the CPU has and has enabled.
            unsafe {
                asm!(
                    ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                    "vmovdqu64 [{area} + 64 * \\i], zmm\\i",
                    ".endr",
                    ".irp i, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
                    "vmovdqu64 [{area} + 64 * \\i], zmm\\i",
                    ".endr",
                    ".irp i, 0, 1, 2, 3, 4, 5, 6, 7",
                    "kmovq [{opmask} + 8 * \\i], k\\i",
                    ".endr",
                    area = in(reg) &mut zmm,
                    opmask = in(reg) &mut opmask,
                    options(nostack, preserves_flags),
                );
            }
        }
        // SAFETY: reads registers; the VMM enables the instructions in every guest.
        unsafe {
            asm!(
                "rdfsbase {fs_base}",
                "rdgsbase {gs_base}",
                "pushfq",
                "pop {rflags}",
                "mov {ds:x}, ds",
                "mov {es:x}, es",
                "mov {fs:x}, fs",
                "mov {gs:x}, gs",
                fs_base = out(reg) fs_base,
                gs_base = out(reg) gs_base,
                rflags = out(reg) rflags,
                ds = out(reg) ds,
                es = out(reg) es,
                fs = out(reg) fs,
                gs = out(reg) gs,
                options(preserves_flags),
            );
        }
        Self {
            legacy,
            ymm,
            zmm,
            opmask,
            fs_base,
            gs_base,
            rflags,
            selectors: [ds, es, fs, gs],
        }
    }

    /// One line for each: how many have the pattern, or what the control words are. Registers that
    /// the CPU has not, or that are not enabled, have no line.
    pub(crate) fn report(&self, key: &Key) -> String {
        let full = |bytes: &[u8], at: usize| key.is(word(bytes, at), word(bytes, at + 8));
        let xmm = (0..16).filter(|number| full(&self.legacy.0, FXSAVE_XMM + 16 * number));
        let st = (0..8).filter(|number| key.is_low(word(&self.legacy.0, FXSAVE_ST + 16 * number)));
        let mut report = format!(
            "xmm {}\nst {}\nfcw {:#x}\nmxcsr {:#x}\nfs-base {:#x}\ngs-base {:#x}\nid-flag {}\nselectors {:x?}\n",
            xmm.count(),
            st.count(),
            word(&self.legacy.0, FXSAVE_FCW) & 0xffff,
            word(&self.legacy.0, FXSAVE_MXCSR) & 0xffff_ffff,
            self.fs_base,
            self.gs_base,
            u8::from(self.rflags & RFLAGS_ID != 0),
            self.selectors,
        );
        if has_avx() {
            let upper = (0..16).filter(|number| full(&self.ymm.0, 32 * number + 16));
            report += &format!("ymm-upper {}\n", upper.count());
        }
        if has_avx512() {
            let (low, high) = self.zmm.split_at(16);
            let upper = low.iter().filter(|block| full(&block.0, 32));
            let whole = high.iter().filter(|block| full(&block.0, 0));
            let opmask = self.opmask.iter().filter(|word| key.is_low(**word));
            let (upper, whole, opmask) = (upper.count(), whole.count(), opmask.count());
            report += &format!("zmm-upper {upper}\nzmm-high {whole}\nk {opmask}\n");
        }
        report
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(core::array::from_fn(|index| bytes[at + index]))
}

/// Puts the pattern into every register, and other values than usual into the control words. Rust
/// does not allow for the latter; a guest that means harm does not ask.
#[inline(always)]
pub(crate) fn fill(pattern: &Pattern) {
    let block = [*pattern; 4];
    // An extended double whose mantissa is the pattern's first half.
    let mut extended = [0; 10];
    extended[..8].copy_from_slice(&pattern[..8]);
    extended[8..].copy_from_slice(&0x3fffu16.to_le_bytes());
    let base = u64::from_le_bytes(*pattern.first_chunk().unwrap_or(&[0; 8])) & BASE_BITS;

    // SAFETY: null selectors, flat data and 64-bit code may be loaded in ring 3, and in 64-bit mode
    // nothing is addressed through these four; a guest has no thread-local storage at `fs`.
    unsafe {
        asm!(
            "mov ds, {data:x}",
            "mov es, {code:x}",
            "mov fs, {null:x}",
            "mov gs, {data:x}",
            "wrfsbase {base}",
            "wrgsbase {base}",
            data = in(reg) 0x2b,
            code = in(reg) 0x33,
            null = in(reg) 1,
            base = in(reg) base,
            options(nomem, nostack, preserves_flags),
        );
    }
    // SAFETY: the flag changes nothing; the control words keep every exception masked, and integer
    // code, which is all that follows, does not depend on how they round.
    unsafe {
        asm!(
            "pushfq",
            "or qword ptr [rsp], {id}",
            "popfq",
            "fninit",
            "fldcw [{fcw}]",
            "ldmxcsr [{mxcsr}]",
            id = const RFLAGS_ID,
            fcw = in(reg) &FCW,
            mxcsr = in(reg) &MXCSR,
        );
    }
    // SAFETY: loads eight values that raise nothing, into registers that are declared.
    unsafe {
        asm!(
            "fld tbyte ptr [{extended}]",
            "fld tbyte ptr [{extended}]",
            "fld tbyte ptr [{extended}]",
            "fld tbyte ptr [{extended}]",
            "fld tbyte ptr [{extended}]",
            "fld tbyte ptr [{extended}]",
            "fld tbyte ptr [{extended}]",
            "fld tbyte ptr [{extended}]",
            extended = in(reg) &extended,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            options(nostack, readonly),
        );
    }
    // SAFETY: reads `block`, as much as the registers are wide that the CPU has and has enabled,
    // and changes registers that are declared.
    unsafe {
        asm!(
            "test {avx512:e}, {avx512:e}",
            "jz 2f",
            ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "vmovdqu64 zmm\\i, [{block}]",
            ".endr",
            ".irp i, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
            "vmovdqu64 zmm\\i, [{block}]",
            ".endr",
            ".irp i, 0, 1, 2, 3, 4, 5, 6, 7",
            "kmovq k\\i, [{block}]",
            ".endr",
            "jmp 4f",
            "2:",
            "test {avx:e}, {avx:e}",
            "jz 3f",
            ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "vmovdqu ymm\\i, [{block}]",
            ".endr",
            "jmp 4f",
            "3:",
            ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "movdqu xmm\\i, [{block}]",
            ".endr",
            "4:",
            avx512 = in(reg) u32::from(has_avx512()),
            avx = in(reg) u32::from(has_avx()),
            block = in(reg) &block,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            options(nostack, readonly),
        );
    }
}

/// Whether the CPU has AVX, and XCR0 allows it.
fn has_avx() -> bool {
    let features = __cpuid(1).ecx;
    features & OSXSAVE != 0 && features & AVX != 0 && xcr0() & XCR0_AVX == XCR0_AVX
}

/// Whether the CPU has AVX-512 with 64-bit masks, and XCR0 allows it. KVM's own idea of XCR0 is not
/// what counts: not every backend gives a guest one of its own.
fn has_avx512() -> bool {
    let is_there = || __cpuid(7).ebx & AVX512F_BW == AVX512F_BW;
    has_avx() && is_there() && xcr0() & XCR0_AVX512 == XCR0_AVX512
}

/// The CPU has to have OSXSAVE.
fn xcr0() -> u32 {
    let low: u32;
    // SAFETY: reads a register; the callers have seen OSXSAVE.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") _,
             options(nomem, nostack, preserves_flags));
    }
    low
}
