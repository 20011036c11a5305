//! The variable arguments of a C function.
//!
//! Stable Rust cannot define a function with `...`, but it can be called with a `va_list`, which in the System V ABI of x86-64 is
//! the structure below: [`VaList`] reads it as the compiler's `va_arg` would. A function with `...` is a few instructions that
//! make one of its registers and go on in the function with `va_list` ([`with_list`]). Nothing here depends on what the compiler
//! does with C's ABI beyond `extern "C"`, and no C compiler is needed to build an image.
#![allow(unsafe_code, reason = "arguments are where the ABI puts them")]

use core::ffi::c_void;

/// Bytes of the registers that a function saves: six of integers, eight of floats.
const INTEGERS_BYTES: u32 = 6 * 8;
const FLOATS_BYTES: u32 = INTEGERS_BYTES + 8 * 16;

/// `va_list`: how far the saved registers were read, and where more arguments lie on the stack.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct VaList {
    integers: u32,
    floats: u32,
    stack: *const u8,
    saved: *const u8,
}

impl VaList {
    /// A list of what lies in memory, as it would on the stack.
    #[cfg(test)]
    pub(crate) fn on_stack(stack: *const u8) -> Self {
        Self {
            integers: INTEGERS_BYTES,
            floats: FLOATS_BYTES,
            stack,
            saved: core::ptr::null(),
        }
    }

    /// The next argument, an integer or an address.
    ///
    /// # Safety
    ///
    /// There is one, here and in the others.
    pub(crate) unsafe fn integer(&mut self) -> u64 {
        let place = if self.integers < INTEGERS_BYTES {
            let place = self.saved.wrapping_add(self.integers as usize);
            self.integers += 8;
            place
        } else {
            self.next_on_stack(8)
        };
        // SAFETY: says the caller; both areas are aligned to 8.
        unsafe { place.cast::<u64>().read() }
    }

    /// The next argument, an address.
    ///
    /// # Safety
    ///
    /// As [`Self::integer`].
    pub(crate) unsafe fn address<T>(&mut self) -> *mut T {
        // SAFETY: says the caller.
        core::ptr::with_exposed_provenance_mut(unsafe { self.integer() } as usize)
    }

    /// The next argument, a `double`.
    ///
    /// # Safety
    ///
    /// As [`Self::integer`].
    pub(crate) unsafe fn double(&mut self) -> f64 {
        let place = if self.floats < FLOATS_BYTES {
            let place = self.saved.wrapping_add(self.floats as usize);
            self.floats += 16;
            place
        } else {
            self.next_on_stack(8)
        };
        // SAFETY: says the caller; both areas are aligned to 8.
        unsafe { place.cast::<f64>().read() }
    }

    /// The next argument, a `long double`, which is always on the stack: as a double.
    ///
    /// # Safety
    ///
    /// As [`Self::integer`].
    pub(crate) unsafe fn long_double(&mut self) -> f64 {
        let misaligned = self.stack.addr() % 16;
        if misaligned != 0 {
            self.stack = self.stack.wrapping_add(16 - misaligned);
        }
        let place = self.next_on_stack(16);
        // SAFETY: says the caller.
        let mantissa = unsafe { place.cast::<u64>().read() };
        // SAFETY: as above.
        let exponent = unsafe { place.wrapping_add(8).cast::<u16>().read() };
        from_extended(mantissa, exponent)
    }

    fn next_on_stack(&mut self, bytes: usize) -> *const u8 {
        let place = self.stack;
        self.stack = place.wrapping_add(bytes);
        place
    }
}

/// A number of 80 bits as a double.
pub(crate) fn from_extended(mantissa: u64, sign_and_exponent: u16) -> f64 {
    const EXPONENT_MAX: u16 = 0x7fff;
    let exponent = sign_and_exponent & EXPONENT_MAX;
    let size = if exponent == EXPONENT_MAX {
        if mantissa << 1 == 0 {
            f64::INFINITY
        } else {
            f64::NAN
        }
    } else {
        crate::numbers::scaled(
            mantissa,
            i64::from(exponent.max(1)) - 16383 - 63,
            crate::numbers::Kind::Double,
        )
    };
    if sign_and_exponent & !EXPONENT_MAX == 0 {
        size
    } else {
        -size
    }
}

/// A C function with variable arguments after `$named` ones: it saves the registers that may hold some, makes a `va_list` of
/// them, and calls `$to` with the named ones and that.
///
/// The frame is one with a frame pointer, for backtraces; behind it lie the saved registers (176 bytes), the `va_list` (24), and
/// 8 that keep the stack aligned. `al` says whether any float is in a register, as the ABI has it.
macro_rules! with_list {
    ($($(#[$doc:meta])* $name:ident[$named:literal $register:literal] => $to:path;)+) => {
        $(
            $(#[$doc])*
            #[unsafe(naked)]
            #[cfg_attr(jiffy_guest, unsafe(no_mangle))]
            pub(crate) unsafe extern "C" fn $name() {
                core::arch::naked_asm!(
                    "push rbp",
                    "mov rbp, rsp",
                    "sub rsp, 208",
                    "mov [rsp], rdi",
                    "mov [rsp + 8], rsi",
                    "mov [rsp + 16], rdx",
                    "mov [rsp + 24], rcx",
                    "mov [rsp + 32], r8",
                    "mov [rsp + 40], r9",
                    "test al, al",
                    "je 2f",
                    "movaps [rsp + 48], xmm0",
                    "movaps [rsp + 64], xmm1",
                    "movaps [rsp + 80], xmm2",
                    "movaps [rsp + 96], xmm3",
                    "movaps [rsp + 112], xmm4",
                    "movaps [rsp + 128], xmm5",
                    "movaps [rsp + 144], xmm6",
                    "movaps [rsp + 160], xmm7",
                    "2:",
                    "mov dword ptr [rsp + 176], {integers}",
                    "mov dword ptr [rsp + 180], 48",
                    "lea rax, [rbp + 16]",
                    "mov [rsp + 184], rax",
                    "mov [rsp + 192], rsp",
                    concat!("lea ", $register, ", [rsp + 176]"),
                    "call {to}",
                    "leave",
                    "ret",
                    integers = const $named * 8,
                    to = sym $to,
                )
            }
        )+
    };
}
pub(crate) use with_list;

/// Where a `va_list` is: an array of one in C, and so passed by address.
pub(crate) type List = *mut VaList;
const _: () = assert!(size_of::<VaList>() == 24 && size_of::<*mut c_void>() == 8);
