//! The interpreter.

use core::arch::{asm, global_asm};

use jiffy_abi::{
    doorbell::{self, Wait},
    note::{NOTE_BYTES, Note},
    virtio_net::HEADER_BYTES,
};

// Linked for its entry, its panic handler and what compiled code calls.
use jiffy_rt as _;

use crate::script::{
    CODE_BYTES_MAX, EXIT_SURVIVED, OP_BYTES, OPS_MARK, OPS_MAX, Op, Width, echo, next_random,
};

#[repr(C, align(4))]
struct ImageNote([u8; NOTE_BYTES]);

#[used]
#[unsafe(link_section = ".note.jiffy")]
static NOTE: ImageNote = ImageNote(Note::new(0, "0.1.0", "hostile", "0.1.0").to_bytes());

/// The room for the script.
#[repr(C, align(8))]
struct Ops([u8; OP_BYTES * OPS_MAX]);

#[used]
static OPS: Ops = {
    let mut room = [0; OP_BYTES * OPS_MAX];
    let mut index = 0;
    while index < OPS_MARK.len() {
        room[index] = OPS_MARK[index];
        index += 1;
    }
    Ops(room)
};

// The room for machine code begins with `CODE_MARK`; a test of the host's side finds it or fails.
global_asm!(
    ".section .text.hostile_code, \"ax\"",
    ".global hostile_code",
    "hostile_code:",
    ".ascii \"jiffy test code:\"",
    ".fill {rest}, 1, 0xc3",
    rest = const CODE_BYTES_MAX - 16,
);

unsafe extern "C" {
    fn hostile_code();
}

#[unsafe(no_mangle)]
fn __jiffy_main() -> ! {
    let mut number = 0;
    let mut frames = Frames::default();
    loop {
        let op = op(number);
        number += 1;
        match op {
            Op::End => loop {
                out(
                    Width::U8,
                    jiffy_abi::doorbell::EXIT,
                    u32::from(EXIT_SURVIVED),
                );
            },
            Op::Jump(to) => number = to as usize,
            Op::Store(width, address, value) => store(width, address, value),
            Op::Load(width, address) => load(width, address),
            Op::Out(width, port, value) => out(width, port, value),
            Op::In(width, port) => read_port(width, port),
            Op::Garbage { address, len, seed } => garbage(address, len, seed),
            Op::Nonce { from, len, to } => copy_nonce(from, len, to),
            // SAFETY: the code is the test's; what it breaks, it is meant to break.
            Op::Call => unsafe { hostile_code() },
            Op::Registers => crate::registers::registers(),
            Op::Echo(count) => frames.echo(count),
        }
    }
}

fn op(number: usize) -> Op {
    if number >= OPS_MAX {
        return Op::End;
    }
    let ops: *const [u64; 4] = (&raw const OPS).cast();
    // SAFETY: inside `OPS`, which is aligned for numbers. Volatile, because what the compiler sees
    // in it is not what the tests put there.
    Op::from_words(unsafe { ops.add(number).read_volatile() })
}

fn store(width: Width, address: u64, value: u64) {
    // SAFETY: where a deed writes is its own business. In assembly, so that each is one access of
    // just this width, which the compiler knows nothing about.
    unsafe {
        match width {
            Width::U8 => asm!("mov [{}], {}", in(reg) address, in(reg_byte) value as u8),
            Width::U16 => asm!("mov [{}], {:x}", in(reg) address, in(reg) value),
            Width::U32 => asm!("mov [{}], {:e}", in(reg) address, in(reg) value),
            Width::U64 => asm!("mov [{}], {}", in(reg) address, in(reg) value),
        }
    }
}

fn load(width: Width, address: u64) {
    // SAFETY: as for `store`.
    unsafe {
        match width {
            Width::U8 => asm!("mov {}, [{}]", out(reg_byte) _, in(reg) address),
            Width::U16 => asm!("mov {:x}, [{}]", out(reg) _, in(reg) address),
            Width::U32 => asm!("mov {:e}, [{}]", out(reg) _, in(reg) address),
            Width::U64 => asm!("mov {}, [{}]", out(reg) _, in(reg) address),
        }
    }
}

fn out(width: Width, port: u16, value: u32) {
    // SAFETY: what a port does is the VMM's business; doorbells clobber what a call does.
    unsafe {
        match width {
            Width::U8 => asm!("out dx, al", in("dx") port, in("eax") value, clobber_abi("sysv64")),
            Width::U16 => asm!("out dx, ax", in("dx") port, in("eax") value, clobber_abi("sysv64")),
            _ => asm!("out dx, eax", in("dx") port, in("eax") value, clobber_abi("sysv64")),
        }
    }
}

fn read_port(width: Width, port: u16) {
    // SAFETY: as for `out`.
    unsafe {
        match width {
            Width::U8 => asm!("in al, dx", in("dx") port, out("al") _, clobber_abi("sysv64")),
            Width::U16 => asm!("in ax, dx", in("dx") port, out("ax") _, clobber_abi("sysv64")),
            _ => asm!("in eax, dx", in("dx") port, out("eax") _, clobber_abi("sysv64")),
        }
    }
}

fn garbage(address: u64, len: u64, seed: u64) {
    let mut state = seed;
    for offset in 0..len {
        state = next_random(state);
        store(Width::U8, address + offset, state);
    }
}

/// If there is no request, nothing is copied.
fn copy_nonce(from: u64, len: u64, to: u64) {
    for at in from..from + len - 24 {
        if read::<[u8; 4]>(at) == *b"jfRQ" {
            return store(Width::U64, to, u64::from_le_bytes(read(at + 16)));
        }
    }
}

/// How far the rings of the NIC are.
#[derive(Default)]
struct Frames {
    received: u16,
    sent: u16,
    /// Buffers that were offered again.
    again: u16,
}

impl Frames {
    /// Sends what is UDP over IPv4 back to where it came from. A checksum does not change when what it is of changes places.
    fn echo(&mut self, count: u64) {
        // What the script sent itself is behind it.
        self.sent = read(echo::TX[1] + 2);
        let mut echoed = 0;
        while echoed < count {
            while read::<u16>(echo::RX[2] + 2) == self.received {
                out(Width::U8, doorbell::WAIT, u32::from(Wait::Event.to_byte()));
            }
            let used = echo::RX[2] + 4 + 8 * u64::from(self.received % echo::QUEUE_SIZE);
            self.received = self.received.wrapping_add(1);
            let (buffer, len) = (read::<u32>(used), read::<u32>(used + 4));
            let at = echo::BUFFERS + u64::from(buffer) * u64::from(echo::BUFFER_BYTES);
            let frame = at + HEADER_BYTES as u64;
            let is_udp = read::<[u8; 2]>(frame + 12) == [8, 0] && read::<u8>(frame + 23) == 17;
            if is_udp {
                swap::<6>(frame, frame + 6);
                swap::<4>(frame + 26, frame + 30);
                swap::<2>(frame + 34, frame + 36);
                let slot = u64::from(self.sent % echo::QUEUE_SIZE);
                store(Width::U64, echo::TX[0] + 16 * slot, at);
                store(Width::U64, echo::TX[0] + 16 * slot + 8, u64::from(len));
                store(Width::U16, echo::TX[1] + 4 + 2 * slot, slot);
                self.sent = self.sent.wrapping_add(1);
                store(Width::U16, echo::TX[1] + 2, u64::from(self.sent));
                // Its buffer is not offered again before it is sent, which is at the next doorbell.
                echoed += 1;
            } else {
                let offered = echo::BUFFERS_COUNT.wrapping_add(self.again);
                self.again = self.again.wrapping_add(1);
                let slot = u64::from(offered % echo::QUEUE_SIZE);
                store(Width::U16, echo::RX[1] + 4 + 2 * slot, u64::from(buffer));
                store(
                    Width::U16,
                    echo::RX[1] + 2,
                    u64::from(offered.wrapping_add(1)),
                );
            }
        }
    }
}

fn swap<const BYTES: usize>(one: u64, other: u64) {
    for at in 0..BYTES as u64 {
        let (low, high) = (read::<u8>(one + at), read::<u8>(other + at));
        store(Width::U8, one + at, u64::from(high));
        store(Width::U8, other + at, u64::from(low));
    }
}

fn read<T>(address: u64) -> T {
    let pointer = core::ptr::with_exposed_provenance::<T>(address as usize);
    // SAFETY: the script's own receive buffers, read as bytes, which have no alignment.
    unsafe { pointer.read_volatile() }
}
