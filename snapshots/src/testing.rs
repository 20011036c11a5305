//! What the tests of this crate share: example states, RAM, and places for them.

use std::{fs, io, path::Path};

use jiffy_abi::layout::{PAGE_BYTES, RAM_BYTES_MIN, STACK};
use proptest::prelude::*;

use crate::{
    CPU_WORDS_MAX, CpuNeeds, CpuRegister, CpuWord, Page, State,
    devices::{ConnectionState, ConsoleState, DeviceState, QueueState, TransportState, VsockState},
    disk::fault::Fault,
    state::{
        AddressRange, ImageInfo, Registers, RunState, SegmentState, Segments, TableState, VcpuState,
    },
};

/// The smallest RAM, bytes.
pub(crate) const RAM_BYTES: u64 = RAM_BYTES_MIN;

/// A state whose every number comes from `next`, in the order of the format.
#[expect(
    clippy::cast_possible_truncation,
    reason = "numbers are cut to their field's size"
)]
pub(crate) fn state_from(next: &mut dyn FnMut() -> u64) -> State {
    macro_rules! next {
        () => {
            next() as _
        };
    }
    let image = ImageInfo {
        digest: std::array::from_fn(|_| next!()),
        function_name: format!("hello-{}", next()),
        function_version: format!("1.{}", next()),
        flags: next!(),
    };
    let regs = Registers {
        rax: next!(),
        rbx: next!(),
        rcx: next!(),
        rdx: next!(),
        rsi: next!(),
        rdi: next!(),
        rsp: next!(),
        rbp: next!(),
        r8: next!(),
        r9: next!(),
        r10: next!(),
        r11: next!(),
        r12: next!(),
        r13: next!(),
        r14: next!(),
        r15: next!(),
        rip: next!(),
        rflags: next!(),
    };
    let mut segment = || SegmentState {
        base: next!(),
        limit: next!(),
        selector: next!(),
        type_: next!(),
        present: next!(),
        dpl: next!(),
        db: next!(),
        s: next!(),
        l: next!(),
        g: next!(),
        avl: next!(),
        unusable: next!(),
    };
    let segments = Segments {
        cs: segment(),
        ds: segment(),
        es: segment(),
        fs: segment(),
        gs: segment(),
        ss: segment(),
        tr: segment(),
        ldt: segment(),
    };
    let mut table = || TableState {
        base: next!(),
        limit: next!(),
    };
    let vcpu = VcpuState {
        regs,
        segments,
        gdt: table(),
        idt: table(),
        cr0: next!(),
        cr2: next!(),
        cr3: next!(),
        cr4: next!(),
        cr8: next!(),
        efer: next!(),
        apic_base: next!(),
        xcr0: next!(),
    };
    let transport = TransportState {
        status: next!(),
        device_features_sel: next!(),
        driver_features_sel: next!(),
        driver_features: next!(),
        queue_sel: u32::try_from(next() % 3).unwrap_or_default(),
        queues: std::iter::repeat_with(|| QueueState {
            size: 1 << (next() % 7),
            ready: next().is_multiple_of(2),
            next_avail: next!(),
            next_used: next!(),
            desc_table: next!(),
            avail_ring: next!(),
            used_ring: next!(),
        })
        .take(3)
        .collect(),
    };
    let vsock = VsockState {
        transport,
        connection: match next() % 3 {
            0 => ConnectionState::Down,
            1 => ConnectionState::Offered,
            _ => ConnectionState::Open,
        },
        tx_count: next!(),
        forwarded: next!(),
        peer_buf_alloc: next!(),
        peer_fwd_cnt: next!(),
    };
    let console = ConsoleState {
        baud_divisor_low: next!(),
        baud_divisor_high: next!(),
        interrupt_enable: next!(),
        interrupt_identification: next!(),
        line_control: next!(),
        line_status: next!(),
        modem_control: next!(),
        modem_status: next!(),
        scratch: next!(),
        fifo: (0..next() % 5).map(|_| next!()).collect(),
    };
    let heap = [next() % (RAM_BYTES + 1), next() % (RAM_BYTES + 1)];
    // Ascending, with a page at least between two.
    let mut end = STACK - PAGE_BYTES;
    let mut range = || {
        let start = end + PAGE_BYTES * (1 + next() % 8);
        end = start + PAGE_BYTES * (1 + next() % 8);
        AddressRange { start, end }
    };
    let writable = std::iter::repeat_with(&mut range);
    let writable = writable
        .take(usize::from(heap[0].is_multiple_of(2)) * 3)
        .collect();
    let run = RunState {
        writable,
        heap_start: heap[0].min(heap[1]),
        heap_end: heap[0].max(heap[1]),
        precise_clock: next().is_multiple_of(2),
        generation: next!(),
        monotonic_ns: next!(),
        log_tail: next!(),
    };
    let vendor = std::array::from_fn(|_| next!());
    let words = next() % (CPU_WORDS_MAX as u64 + 1);
    let word = |_| CpuWord {
        function: next!(),
        index: next!(),
        register: match next() % 4 {
            0 => CpuRegister::Eax,
            1 => CpuRegister::Ebx,
            2 => CpuRegister::Ecx,
            _ => CpuRegister::Edx,
        },
        bits: next!(),
    };
    let words = (0..words).map(word).collect();
    State {
        image,
        vcpu,
        devices: vec![DeviceState::Vsock(vsock), DeviceState::Console(console)],
        run,
        cpu: CpuNeeds { vendor, words },
    }
}

/// The state of the golden files: small and large numbers, all different, few words.
pub(crate) fn golden_state() -> State {
    let mut number: u64 = 0;
    let mut state = state_from(&mut || {
        number += 1;
        // An odd factor spreads the bits, so that both short and long encodings are there.
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (number * 7 % 64)
    });
    state.cpu.words.truncate(3);
    state
}

/// Any state that can be saved.
pub(crate) fn any_state() -> impl Strategy<Value = State> {
    // Numbers of all lengths: each is cut to a random number of bits.
    let number = (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift);
    prop::collection::vec(number, 64..512).prop_map(|numbers| {
        let mut numbers = numbers.iter().copied().cycle();
        state_from(&mut || numbers.next().unwrap_or_default())
    })
}

/// Gives RAM with these pages, each filled with its byte; all others are zero.
pub(crate) fn ram(pages: &[(u64, u8)]) -> impl FnMut(u64, &mut Page) -> io::Result<()> + '_ {
    |number, page| {
        let found = pages.iter().find(|(stored, _)| *stored == number);
        page.fill(found.map_or(0, |(_, byte)| *byte));
        Ok(())
    }
}

/// Names in a directory, ascending.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<_> = entries
        .map(|entry| name(entry).into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

/// Runs `work` with each fault at each step, until it has no more steps. `work` starts anew each
/// time, and gives the steps it took.
pub(crate) fn at_every_step(mut work: impl FnMut(Fault, usize) -> Vec<&'static str>) {
    for fault in [Fault::Error, Fault::Kill] {
        let steps_max = 100;
        let is_through = |at: &usize| work(fault, *at).len() <= *at;
        let steps = (0..steps_max).find(is_through).expect("an end");
        assert!(steps > 3, "{steps} steps are too few to be all");
    }
}

/// Writes a file in place of one that may be read-only.
pub(crate) fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).expect("a file");
    fs::write(path, bytes).expect("a new file");
}
