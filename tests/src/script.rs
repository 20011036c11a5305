//! Scripts of the hostile guest, `tests/guests/hostile`: what it does, one [`Op`] after the other.
//! This file is compiled into the tests, which write scripts, and into the guest, which obeys them.

/// Where the first operation goes in the image: the guest's room begins with this.
pub const OPS_MARK: [u8; 16] = *b"jiffy script ops";
/// Most operations of a script.
pub const OPS_MAX: usize = 2048;
/// Where [`Op::Call`]'s machine code goes in the image: the guest's room begins with this.
pub const CODE_MARK: [u8; 16] = *b"jiffy test code:";
/// Room for machine code, bytes. What is not used returns.
pub const CODE_BYTES_MAX: usize = 256;
/// Bytes of an operation in the image.
pub const OP_BYTES: usize = 32;
/// The code with which the guest exits when it has come to the end of its script.
pub const EXIT_SURVIVED: u8 = 42;

/// How wide an access is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    U8 = 1,
    /// Two bytes.
    U16 = 2,
    /// Four bytes.
    U32 = 4,
    /// Eight bytes.
    U64 = 8,
}

/// One step. Addresses are the guest's own, and nothing is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The end: exits with [`EXIT_SURVIVED`].
    End,
    /// Writes a number.
    Store(Width, u64, u64),
    /// Reads a number and forgets it.
    Load(Width, u64),
    /// Writes a number to a port; `U64` stands for no width.
    Out(Width, u16, u32),
    /// Reads a number from a port and forgets it.
    In(Width, u16),
    /// Fills `len` bytes at `address` with pseudo-random ones.
    Garbage {
        /// The first byte.
        address: u64,
        /// How many.
        len: u64,
        /// Says which.
        seed: u64,
    },
    /// Looks for a request's frame and copies its nonce.
    Nonce {
        /// Where to look.
        from: u64,
        /// How far, bytes.
        len: u64,
        /// Where the nonce goes.
        to: u64,
    },
    /// Calls the machine code.
    Call,
    /// Goes on with the operation of this number.
    Jump(u64),
    /// Fills all registers and goes idle (the first time, rings `READY` instead), and when it is woken writes what is in
    /// them to memory: see [`registers`].
    Registers,
    /// Waits for frames until so many were UDP, and sends those back: see [`echo`].
    Echo(u64),
}

/// Where [`Op::Echo`] finds the queues of a NIC that is up, of [`echo::QUEUE_SIZE`] descriptors each, and its buffers.
pub mod echo {
    /// The receive queue: descriptors, available ring, used ring.
    pub const RX: [u64; 3] = [0x90_0000, 0x90_0800, 0x90_1000];
    /// The transmit queue.
    pub const TX: [u64; 3] = [0x90_2000, 0x90_2800, 0x90_3000];
    /// Entries of a queue.
    pub const QUEUE_SIZE: u16 = 64;
    /// The receive buffers, each offered under the number that it has here.
    pub const BUFFERS: u64 = 0x91_0000;
    /// Size of one, bytes.
    pub const BUFFER_BYTES: u32 = 2048;
    /// How many are offered.
    pub const BUFFERS_COUNT: u16 = 16;
}

/// Where [`Op::Registers`] finds what it puts into registers, and leaves what was in them.
pub mod registers {
    /// The area, four pages in the heap.
    pub const AREA: u64 = 0x8c_0000;
    /// Numbers of u64: general registers in the order rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8 to r15, then [`NAMES`].
    /// The lowest byte of rax is the byte of the doorbell.
    pub const FILL: u64 = AREA + 0x1000;
    /// The XSAVE area that is loaded, of which the legacy region and all that XCR0 enables is taken.
    pub const FILL_XSAVE: u64 = AREA + 0x2000;
    /// As [`FILL`], what was found; behind it XCR0, and [`DEVICE`]'s registers of the device.
    pub const FOUND: u64 = AREA + 0x100;
    /// The XSAVE area that was found.
    pub const FOUND_XSAVE: u64 = AREA + 0x3000;
    /// Room for an XSAVE area, bytes.
    pub const XSAVE_BYTES: usize = 4096;
    /// What is in [`FILL`] and [`FOUND`].
    #[rustfmt::skip]
    pub const NAMES: [&str; 23] = [
        "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
        "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
        "rflags", "ds", "es", "fs", "gs", "fs-base", "gs-base",
    ];
    /// Registers of the device that can be read, as they are in [`FOUND`] behind XCR0.
    #[rustfmt::skip]
    pub const DEVICE: [&str; 10] = [
        "MagicValue", "Version", "DeviceID", "VendorID", "DeviceFeatures",
        "QueueSizeMax", "QueueReady", "Status", "ConfigGeneration", "Config",
    ];
}

impl Op {
    /// The operation as four numbers, as they lie in the image.
    pub const fn to_words(self) -> [u64; 4] {
        match self {
            Self::End => [0, 0, 0, 0],
            Self::Store(width, address, value) => [1 | (width as u64) << 8, address, value, 0],
            Self::Load(width, address) => [2 | (width as u64) << 8, address, 0, 0],
            Self::Out(width, port, value) => {
                [3 | (width as u64) << 8, port as u64, value as u64, 0]
            }
            Self::In(width, port) => [4 | (width as u64) << 8, port as u64, 0, 0],
            Self::Garbage { address, len, seed } => [5, address, len, seed],
            Self::Call => [6, 0, 0, 0],
            Self::Jump(number) => [7, number, 0, 0],
            Self::Registers => [8, 0, 0, 0],
            Self::Echo(count) => [10, count, 0, 0],
            Self::Nonce { from, len, to } => [9, from, len, to],
        }
    }

    /// Decodes what [`Op::to_words`] made; anything else is [`Op::End`].
    #[allow(
        clippy::cast_possible_truncation,
        reason = "ports and what is written to them were made from numbers of these widths"
    )]
    pub const fn from_words(words: [u64; 4]) -> Self {
        let [head, a, b, c] = words;
        let width = match head >> 8 {
            1 => Width::U8,
            2 => Width::U16,
            4 => Width::U32,
            _ => Width::U64,
        };
        match head & 0xff {
            1 => Self::Store(width, a, b),
            2 => Self::Load(width, a),
            3 => Self::Out(width, a as u16, b as u32),
            4 => Self::In(width, a as u16),
            5 => Self::Garbage {
                address: a,
                len: b,
                seed: c,
            },
            6 => Self::Call,
            7 => Self::Jump(a),
            8 => Self::Registers,
            9 => Self::Nonce {
                from: a,
                len: b,
                to: c,
            },
            10 => Self::Echo(a),
            _ => Self::End,
        }
    }
}

/// The next number of a cheap sequence, for [`Op::Garbage`] and for tests that need many bytes.
pub const fn next_random(state: u64) -> u64 {
    // Marsaglia's xorshift; zero would stay zero.
    let mut next = state | (state == 0) as u64;
    next ^= next << 13;
    next ^= next >> 7;
    next ^ next << 17
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let (address, len, seed) = (1, 2, u64::MAX);
        for width in [Width::U8, Width::U16, Width::U32, Width::U64] {
            for op in [
                Op::End,
                Op::Store(width, u64::MAX, 3),
                Op::Load(width, 4),
                Op::Out(width, u16::MAX, u32::MAX),
                Op::In(width, 5),
                Op::Garbage { address, len, seed },
                Op::Call,
                Op::Jump(6),
                Op::Registers,
                Op::Echo(10),
                Op::Nonce {
                    from: 7,
                    len: 8,
                    to: 9,
                },
            ] {
                assert_eq!(Op::from_words(op.to_words()), op);
            }
        }
    }
}
