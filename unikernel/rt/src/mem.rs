//! The six functions that compiled Rust calls by their C names; nothing else supplies them in an
//! image. In assembly, because the compiler would turn a loop in Rust back into a call of itself.
//!
//! Up to 16 bytes: two overlapping loads, then two stores. Up to [`REP_BYTES_MIN`]: 16 bytes a
//! turn. Above: `rep movsb`/`rep stosb`, which the CPU runs in cache lines.
#![allow(unsafe_code, reason = "memory functions work on addresses")]

use core::arch::naked_asm;

/// From here on the start-up cost of a `rep` instruction is worth it.
const REP_BYTES_MIN: usize = 512;

/// Copies `rdx` bytes from `rsi` to `rdi`; overlapping is fine if `rdi` is below `rsi`.
#[unsafe(naked)]
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "cmp rdx, 16",
        "jb 3f",
        "cmp rdx, {rep}",
        "jae 8f",
        // The last 16 bytes are loaded first and stored last, over what the loop left.
        "movups xmm0, [rsi + rdx - 16]",
        "lea rcx, [rdi + rdx - 16]",
        "2:",
        "movups xmm1, [rsi]",
        "movups [rdi], xmm1",
        "add rsi, 16",
        "add rdi, 16",
        "cmp rdi, rcx",
        "jb 2b",
        "movups [rcx], xmm0",
        "ret",
        "3:",
        "cmp edx, 8",
        "jb 4f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "ret",
        "4:",
        "cmp edx, 4",
        "jb 5f",
        "mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "ret",
        "5:",
        "cmp edx, 2",
        "jb 6f",
        "movzx ecx, word ptr [rsi]",
        "movzx r8d, byte ptr [rsi + rdx - 1]",
        "mov [rdi], cx",
        "mov [rdi + rdx - 1], r8b",
        "ret",
        "6:",
        "test edx, edx",
        "jz 7f",
        "movzx ecx, byte ptr [rsi]",
        "mov [rdi], cl",
        "7:",
        "ret",
        "8:",
        "mov rcx, rdx",
        "rep movsb",
        "ret",
        rep = const REP_BYTES_MIN,
    )
}

#[unsafe(naked)]
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    naked_asm!(
        // Only if `to` lies inside `from..from + bytes` must the copy begin at the end.
        "mov rax, rdi",
        "sub rax, rsi",
        "cmp rax, rdx",
        "jae {memcpy}",
        "cmp rdx, 16",
        "jb {memcpy}", // All its loads come before its stores.
        "mov rax, rdi",
        "movups xmm0, [rsi]",
        "2:",
        "movups xmm1, [rsi + rdx - 16]",
        "movups [rdi + rdx - 16], xmm1",
        "sub rdx, 16",
        "cmp rdx, 16",
        "ja 2b",
        "movups [rdi], xmm0",
        "ret",
        memcpy = sym memcpy,
    )
}

#[unsafe(naked)]
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memset(to: *mut u8, byte: i32, bytes: usize) -> *mut u8 {
    naked_asm!(
        "mov r8, rdi",
        "movzx eax, sil",
        "cmp rdx, 16",
        "jb 3f",
        "cmp rdx, {rep}",
        "jae 5f",
        "mov rcx, 0x0101010101010101",
        "imul rax, rcx",
        "movq xmm0, rax",
        "punpcklqdq xmm0, xmm0",
        "lea rcx, [rdi + rdx - 16]",
        "2:",
        "movups [rdi], xmm0",
        "add rdi, 16",
        "cmp rdi, rcx",
        "jb 2b",
        "movups [rcx], xmm0",
        "mov rax, r8",
        "ret",
        "3:",
        "test edx, edx",
        "jz 4f",
        "mov [rdi], al",
        "inc rdi",
        "dec edx",
        "jmp 3b",
        "4:",
        "mov rax, r8",
        "ret",
        "5:",
        "mov rcx, rdx",
        "rep stosb",
        "mov rax, r8",
        "ret",
        rep = const REP_BYTES_MIN,
    )
}

#[unsafe(naked)]
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, bytes: usize) -> i32 {
    naked_asm!(
        "xor ecx, ecx",
        "2:",
        "lea r8, [rcx + 8]",
        "cmp r8, rdx",
        "ja 4f",
        "mov rax, [rdi + rcx]",
        "mov r9, [rsi + rcx]",
        "mov rcx, r8",
        "cmp rax, r9",
        "je 2b",
        // As big-endian numbers the eight bytes compare like texts.
        "bswap rax",
        "bswap r9",
        "cmp rax, r9",
        "sbb eax, eax",
        "or eax, 1",
        "ret",
        "4:",
        "cmp rcx, rdx",
        "jae 5f",
        "movzx eax, byte ptr [rdi + rcx]",
        "movzx r9d, byte ptr [rsi + rcx]",
        "inc rcx",
        "sub eax, r9d",
        "jz 4b",
        "ret",
        "5:",
        "xor eax, eax",
        "ret",
    )
}

#[unsafe(naked)]
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, bytes: usize) -> i32 {
    naked_asm!("jmp {memcmp}", memcmp = sym memcmp)
}

#[unsafe(naked)]
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strlen(text: *const u8) -> usize {
    naked_asm!(
        "xor eax, eax",
        "2:",
        "cmp byte ptr [rdi + rax], 0",
        "je 3f",
        "inc rax",
        "jmp 2b",
        "3:",
        "ret",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{vec, vec::Vec};

    const LENGTHS: [usize; 22] = [
        0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 100, 511, 512, 513, 1000, 1030,
    ];

    fn pattern(len: usize) -> Vec<u8> {
        (0..len)
            .map(|index| (index * 31 + index / 256) as u8)
            .collect()
    }

    /// Every distance of overlap around every length at which the code takes another way.
    #[test]
    fn copies_equal_those_of_core() {
        for len in LENGTHS {
            for distance in (0..40).chain([len, len.saturating_sub(1), len + 1]) {
                for backward in [false, true] {
                    let (from, to) = if backward {
                        (0, distance)
                    } else {
                        (distance, 0)
                    };
                    let mut ours = pattern(len + distance + 8);
                    let mut theirs = ours.clone();
                    theirs.copy_within(from..from + len, to);
                    let base = ours.as_mut_ptr();
                    // SAFETY: offset and length lie inside the vector.
                    let source = unsafe { base.add(from) };
                    // SAFETY: as above.
                    let target = unsafe { base.add(to) };
                    // SAFETY: both ranges lie inside the vector; overlapping is what is tested.
                    assert_eq!(unsafe { memmove(target, source, len) }, target);
                    assert_eq!(ours, theirs, "{len} bytes from {from} to {to}");
                }
            }
            let (from, mut to) = (pattern(len), vec![0xee; len + 1]);
            // SAFETY: both vectors have `len` bytes.
            unsafe { memcpy(to.as_mut_ptr(), from.as_ptr(), len) };
            assert_eq!((&to[..len], to[len]), (&from[..], 0xee));
        }
    }

    #[test]
    fn sets_every_byte_and_no_other() {
        for len in LENGTHS {
            let mut bytes = vec![1; len + 2];
            // SAFETY: the range lies inside the vector.
            let start = unsafe { bytes.as_mut_ptr().add(1) };
            // SAFETY: as above.
            assert_eq!(unsafe { memset(start, 0x1a5, len) }, start);
            assert!(bytes[1..=len].iter().all(|byte| *byte == 0xa5));
            assert_eq!((bytes[0], bytes[len + 1]), (1, 1));
        }
    }

    #[test]
    fn compares_like_slices() {
        for len in LENGTHS {
            let one = pattern(len);
            // SAFETY: both have `len` bytes.
            assert_eq!(unsafe { bcmp(one.as_ptr(), one.clone().as_ptr(), len) }, 0);
            for differs in 0..len.min(70) {
                for step in [1, 0x80, 0xff] {
                    let mut other = one.clone();
                    other[differs] = other[differs].wrapping_add(step);
                    // SAFETY: both have `len` bytes.
                    let sign = unsafe { memcmp(one.as_ptr(), other.as_ptr(), len) };
                    assert_eq!(sign.cmp(&0), one.cmp(&other), "{len} bytes, byte {differs}");
                }
            }
        }
    }

    #[test]
    fn counts_until_zero() {
        // SAFETY: the texts end with a zero.
        assert_eq!(unsafe { strlen(b"four\0five".as_ptr()) }, 4);
        // SAFETY: as above.
        assert_eq!(unsafe { strlen(c"".as_ptr().cast()) }, 0);
    }
}
