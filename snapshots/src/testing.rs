//! What the tests of this crate share: example states, RAM, and places for them.
#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers are cut to their field's size"
)]

use std::{fs, io, path::Path};

use jiffy_abi::{
    layout::{PAGE_BYTES, RAM_BYTES_MIN, STACK},
    virtio_net, vsock,
};
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

/// Where the numbers of a state come from.
type Next<'a> = &'a mut dyn FnMut() -> u64;

/// The next number, cut to its field's size.
macro_rules! next {
    ($next:ident) => {
        $next() as _
    };
}

/// A state whose every number comes from `next`, in the order of the format.
pub(crate) fn state_from(next: Next<'_>) -> State {
    State {
        image: image_from(next),
        vcpu: vcpu_from(next),
        devices: vec![
            DeviceState::Vsock(vsock_from(next)),
            DeviceState::Console(console_from(next)),
        ],
        run: run_from(next),
        cpu: cpu_from(next),
    }
}

fn image_from(next: Next<'_>) -> ImageInfo {
    ImageInfo {
        digest: std::array::from_fn(|_| next!(next)),
        function_name: format!("hello-{}", next()),
        function_version: format!("1.{}", next()),
        flags: next!(next),
    }
}

fn registers_from(next: Next<'_>) -> Registers {
    Registers {
        rax: next!(next),
        rbx: next!(next),
        rcx: next!(next),
        rdx: next!(next),
        rsi: next!(next),
        rdi: next!(next),
        rsp: next!(next),
        rbp: next!(next),
        r8: next!(next),
        r9: next!(next),
        r10: next!(next),
        r11: next!(next),
        r12: next!(next),
        r13: next!(next),
        r14: next!(next),
        r15: next!(next),
        rip: next!(next),
        rflags: next!(next),
    }
}

fn segments_from(next: Next<'_>) -> Segments {
    let mut segment = || SegmentState {
        base: next!(next),
        limit: next!(next),
        selector: next!(next),
        type_: next!(next),
        present: next!(next),
        dpl: next!(next),
        db: next!(next),
        s: next!(next),
        l: next!(next),
        g: next!(next),
        avl: next!(next),
        unusable: next!(next),
    };
    Segments {
        cs: segment(),
        ds: segment(),
        es: segment(),
        fs: segment(),
        gs: segment(),
        ss: segment(),
        tr: segment(),
        ldt: segment(),
    }
}

fn vcpu_from(next: Next<'_>) -> VcpuState {
    let (regs, segments) = (registers_from(next), segments_from(next));
    let mut table = || TableState {
        base: next!(next),
        limit: next!(next),
    };
    let (gdt, idt) = (table(), table());
    VcpuState {
        regs,
        segments,
        gdt,
        idt,
        cr0: next!(next),
        cr2: next!(next),
        cr3: next!(next),
        cr4: next!(next),
        cr8: next!(next),
        efer: next!(next),
        apic_base: next!(next),
        xcr0: next!(next),
    }
}

fn vsock_from(next: Next<'_>) -> VsockState {
    let transport = transport_from(next, vsock::QUEUES);
    VsockState {
        transport,
        connection: match next() % 3 {
            0 => ConnectionState::Down,
            1 => ConnectionState::Offered,
            _ => ConnectionState::Open,
        },
        tx_count: next!(next),
        forwarded: next!(next),
        peer_buf_alloc: next!(next),
        peer_fwd_cnt: next!(next),
    }
}

fn transport_from(next: Next<'_>, queues: usize) -> TransportState {
    TransportState {
        status: next!(next),
        device_features_sel: next!(next),
        driver_features_sel: next!(next),
        driver_features: next!(next),
        queue_sel: u32::try_from(next() % queues as u64).unwrap_or_default(),
        queues: std::iter::repeat_with(|| QueueState {
            size: 1 << (next() % 7),
            ready: next().is_multiple_of(2),
            next_avail: next!(next),
            next_used: next!(next),
            desc_table: next!(next),
            avail_ring: next!(next),
            used_ring: next!(next),
        })
        .take(queues)
        .collect(),
    }
}

/// A NIC for a state that has none; its numbers come behind those of the rest.
pub(crate) fn nic_from(next: Next<'_>) -> DeviceState {
    DeviceState::Nic(transport_from(next, virtio_net::QUEUES))
}

fn console_from(next: Next<'_>) -> ConsoleState {
    ConsoleState {
        baud_divisor_low: next!(next),
        baud_divisor_high: next!(next),
        interrupt_enable: next!(next),
        interrupt_identification: next!(next),
        line_control: next!(next),
        line_status: next!(next),
        modem_control: next!(next),
        modem_status: next!(next),
        scratch: next!(next),
        fifo: (0..next() % 5).map(|_| next!(next)).collect(),
    }
}

fn run_from(next: Next<'_>) -> RunState {
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
    RunState {
        writable,
        heap_start: heap[0].min(heap[1]),
        heap_end: heap[0].max(heap[1]),
        precise_clock: next().is_multiple_of(2),
        generation: next!(next),
        monotonic_ns: next!(next),
        log_tail: next!(next),
    }
}

fn cpu_from(next: Next<'_>) -> CpuNeeds {
    let vendor = std::array::from_fn(|_| next!(next));
    let words = next() % (CPU_WORDS_MAX as u64 + 1);
    let word = |_| CpuWord {
        function: next!(next),
        index: next!(next),
        register: match next() % 4 {
            0 => CpuRegister::Eax,
            1 => CpuRegister::Ebx,
            2 => CpuRegister::Ecx,
            _ => CpuRegister::Edx,
        },
        bits: next!(next),
    };
    let words = (0..words).map(word).collect();
    CpuNeeds { vendor, words }
}

/// The state of the golden files: small and large numbers, all different, few words.
pub(crate) fn golden_state() -> State {
    let mut state = state_from(&mut golden_numbers());
    state.cpu.words.truncate(3);
    state
}

/// The same in a VM that has a NIC, too.
pub(crate) fn golden_state_with_nic() -> State {
    let mut state = golden_state();
    state.devices.push(nic_from(&mut golden_numbers()));
    state
}

fn golden_numbers() -> impl FnMut() -> u64 {
    let mut number: u64 = 0;
    move || {
        number += 1;
        // An odd factor spreads the bits, so that both short and long encodings are there.
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (number * 7 % 64)
    }
}

/// Any state that can be saved.
pub(crate) fn any_state() -> impl Strategy<Value = State> {
    // Numbers of all lengths: each is cut to a random number of bits.
    let number = (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift);
    prop::collection::vec(number, 64..512).prop_map(|numbers| {
        let mut numbers = numbers.iter().copied().cycle();
        let mut next = || numbers.next().unwrap_or_default();
        let mut state = state_from(&mut next);
        if next().is_multiple_of(2) {
            state.devices.push(nic_from(&mut next));
        }
        state
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
