//! Turns what a broken guest left behind into a [`GuestFault`].
//!
//! Registers and memory are the guest's word: every address is checked, every length bounded.

use jiffy_abi::{
    control_page,
    fault::{FILE_BYTES_MAX, FaultRecord, MESSAGE_BYTES_MAX, kind},
    layout::{PAGE_BYTES, RING0_STACK, RING0_STACK_TOP, STACK, STACK_GUARD, VECTORS},
};
use jiffy_control::{BACKTRACE_FRAMES_MAX, Backtrace, GuestFault};

use crate::{kvm::Registers, mem::Ram};

/// The vector of a page fault.
const PAGE_FAULT: u8 = 14;
/// The bit of its error code that says that something was written.
const PAGE_FAULT_WRITE: u64 = 2;
/// What a function may write below its stack pointer, by the ABI of x86-64.
const RED_ZONE_BYTES: u64 = 128;

/// Whether the CPU pushes an error code for `vector` (Intel SDM volume 3, section 6.13).
const fn has_error_code(vector: u8) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30)
}

/// What the `FAULT` doorbell means: an exception if a ring-0 stub rang it, else what the guest says. The guest's stack has
/// `stack_bytes`.
pub(super) fn decode(ram: &Ram, registers: &Registers, stack_bytes: u64) -> GuestFault {
    if registers.ring == 0 {
        exception(ram, registers, stack_bytes)
    } else {
        given_up(ram, registers)
    }
}

/// Reads the frame that the CPU and the stub pushed: vector, error code if the vector has one,
/// `rip`, `cs`, `rflags`, `rsp`, `ss`.
fn exception(ram: &Ram, registers: &Registers, stack_bytes: u64) -> GuestFault {
    let on_stack = (RING0_STACK..RING0_STACK_TOP).contains(&registers.rsp);
    let word = |index: u64| ram.read_u64(registers.rsp + 8 * index);
    let vector = word(0).filter(|vector| on_stack && *vector < VECTORS);
    let vector = vector.and_then(|vector| u8::try_from(vector).ok());
    let Some(vector) = vector else {
        // Only our own stubs run in ring 0, but what they left is nevertheless checked.
        let message = format!("an exception left no frame at {:#x}", registers.rsp);
        return GuestFault::Cpu {
            message,
            backtrace: Backtrace::default(),
        };
    };
    let (error_code, frame) = if has_error_code(vector) {
        (word(1), 2)
    } else {
        (Some(0), 1)
    };
    let rip = word(frame).unwrap_or_default();
    let rsp = word(frame + 3).unwrap_or_default();
    let page_fault = vector == PAGE_FAULT;
    let address = if page_fault { registers.cr2 } else { 0 };
    let overflow = if !page_fault {
        None
    } else if (STACK_GUARD..STACK_GUARD + PAGE_BYTES).contains(&address) {
        Some(stack_bytes)
    } else {
        let is_write = error_code.is_some_and(|code| code & PAGE_FAULT_WRITE != 0);
        (is_write && is_at_stack(address, rsp, stack_bytes)).then_some(0)
    };
    GuestFault::Exception {
        vector,
        error_code: error_code.unwrap_or_default(),
        address,
        rip,
        rsp,
        stack_overflow: overflow,
        backtrace: backtrace(ram, Some(rip), registers.rbp),
    }
}

/// Whether `address` is what a function writes whose stack pointer is `rsp`, on another stack than the first: that of a thread
/// of the function's own ran through all that lies below it, down to what cannot be written.
fn is_at_stack(address: u64, rsp: u64, stack_bytes: u64) -> bool {
    let is_first = (STACK..=STACK + stack_bytes).contains(&rsp);
    let reach = rsp.saturating_sub(RED_ZONE_BYTES)..rsp.saturating_add(PAGE_BYTES);
    !is_first && reach.contains(&address)
}

fn given_up(ram: &Ram, registers: &Registers) -> GuestFault {
    let record = ram.read_array(control_page::FAULT);
    let record = FaultRecord::from_bytes(&record.unwrap_or([0; _])); // It is inside every RAM.
    let message = || {
        text(
            ram,
            record.message,
            record.message_bytes.min(MESSAGE_BYTES_MAX),
        )
    };
    let backtrace = || backtrace(ram, None, record.frame_pointer);
    match record.kind {
        kind::PANIC => GuestFault::Panic {
            message: message(),
            file: text(ram, record.file, record.file_bytes.min(FILE_BYTES_MAX)),
            line: record.line,
            column: record.column,
            backtrace: backtrace(),
        },
        kind::OUT_OF_MEMORY => GuestFault::OutOfMemory {
            requested_bytes: record.requested_bytes,
            ram_bytes: ram.bytes(),
            backtrace: backtrace(),
        },
        kind::INIT => GuestFault::Init { message: message() },
        kind::RUNTIME => GuestFault::Runtime { message: message() },
        other => GuestFault::Device {
            message: format!("the guest gave up for the unknown reason {other}"),
            backtrace: self::backtrace(ram, Some(registers.rip), registers.rbp),
        },
    }
}

fn text(ram: &Ram, address: u64, bytes: u32) -> String {
    match ram.read_vec(address, bytes as usize) {
        Some(text) => String::from_utf8_lossy(&text).into_owned(),
        None => format!("(a text at {address:#x}, which is not in RAM)"),
    }
}

/// Follows the frame pointers from `rbp`; `rip` is where the guest stood, if known.
///
/// Frames of a sane stack lie above each other, so the walk ends where they do not.
pub(super) fn backtrace(ram: &Ram, rip: Option<u64>, rbp: u64) -> Backtrace {
    let mut addresses: Vec<u64> = rip.into_iter().collect();
    let mut frame = rbp;
    while addresses.len() < BACKTRACE_FRAMES_MAX {
        let Some(return_address) = frame.checked_add(8).and_then(|at| ram.read_u64(at)) else {
            break;
        };
        let Some(next) = ram
            .read_u64(frame)
            .filter(|_| frame != 0 && return_address != 0)
        else {
            break;
        };
        addresses.push(return_address);
        if next <= frame {
            break;
        }
        frame = next;
    }
    Backtrace(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiffy_abi::layout::{RAM_BYTES_MIN, STACK_BYTES_DEFAULT};

    fn ram() -> Ram {
        Ram::new(RAM_BYTES_MIN).expect("4 MiB")
    }

    fn push(ram: &Ram, at: u64, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        ram.write(at, &bytes).expect("in RAM");
    }

    #[test]
    fn a_page_fault_in_the_guard_page_is_a_stack_overflow() {
        let ram = ram();
        let rsp = RING0_STACK_TOP - 56;
        push(
            &ram,
            rsp,
            &[14, 6, 0x20_1234, 0x33, 0x3002, STACK_GUARD + 8, 0x2b],
        );
        let registers = Registers {
            rsp,
            cr2: STACK_GUARD + 8,
            ring: 0,
            ..Default::default()
        };
        let fault = decode(&ram, &registers, STACK_BYTES_DEFAULT);
        let GuestFault::Exception {
            vector: 14,
            error_code: 6,
            rip: 0x20_1234,
            stack_overflow,
            ..
        } = fault
        else {
            panic!("{fault:?}")
        };
        assert_eq!(stack_overflow, Some(STACK_BYTES_DEFAULT));
    }

    #[test]
    fn a_write_at_the_pointer_of_another_stack_is_an_overflow_of_that() {
        let ram = ram();
        let overflow = |code: u64, address: u64, stack: u64| {
            let rsp = RING0_STACK_TOP - 56;
            push(&ram, rsp, &[14, code, 0x20_1234, 0x33, 0x3002, stack, 0x2b]);
            let registers = Registers {
                rsp,
                cr2: address,
                ring: 0,
                ..Default::default()
            };
            let GuestFault::Exception { stack_overflow, .. } =
                decode(&ram, &registers, STACK_BYTES_DEFAULT)
            else {
                panic!("an exception");
            };
            stack_overflow
        };
        let stack = 0x16_c000;
        for address in [stack - 8, stack - 128, stack, stack + 4095] {
            assert_eq!(overflow(7, address, stack), Some(0), "{address:#x}");
        }
        for address in [stack - 129, stack + 4096, 0, u64::MAX] {
            assert_eq!(overflow(7, address, stack), None, "{address:#x}");
        }
        // What is read, and what is done on the first stack, is something else.
        assert_eq!(overflow(5, stack, stack), None);
        assert_eq!(overflow(7, STACK + 4096, STACK + 4096), None);
    }

    #[test]
    fn whatever_a_guest_writes_is_decoded() {
        let ram = ram();
        for kind in 0..6 {
            let record = FaultRecord {
                kind,
                message: u64::MAX - 1,
                message_bytes: u32::MAX,
                file: RAM_BYTES_MIN - 1,
                file_bytes: u32::MAX,
                frame_pointer: u64::MAX - 7,
                ..FaultRecord::default()
            };
            ram.write(control_page::FAULT, &record.to_bytes())
                .expect("in RAM");
            decode(
                &ram,
                &Registers {
                    ring: 3,
                    rbp: u64::MAX,
                    ..Default::default()
                },
                STACK_BYTES_DEFAULT,
            );
        }
        for rsp in [0, RING0_STACK_TOP - 8, RAM_BYTES_MIN, u64::MAX] {
            decode(
                &ram,
                &Registers {
                    rsp,
                    ring: 0,
                    ..Default::default()
                },
                STACK_BYTES_DEFAULT,
            );
        }
    }

    #[test]
    fn a_loop_of_frames_ends() {
        let ram = ram();
        push(&ram, 0x1000, &[0x2000, 1]);
        push(&ram, 0x2000, &[0x1000, 2]);
        assert_eq!(backtrace(&ram, Some(9), 0x1000), Backtrace(vec![9, 1, 2]));
        push(&ram, 0x2000, &[0x2000, 2]);
        assert_eq!(backtrace(&ram, None, 0x1000), Backtrace(vec![1, 2]));
    }
}
