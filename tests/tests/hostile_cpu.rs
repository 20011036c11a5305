//! Guests that do with the CPU and with memory what a guest may not. Each ends in a typed fault
//! that says where, and the VMM lives to tell it.

use jiffy_abi::{
    control_page,
    doorbell::Wait,
    layout::{
        CONTROL_PAGE, GDT, IDT, LOG_RING, MMIO_VSOCK, PAGE_BYTES, PAGE_TABLES, RAM_BYTES_DEFAULT,
        RESUME_PAGE, RING0_STACK, STACK_GUARD, STUBS, TSS,
    },
};
use jiffy_control::{GuestFault, VmEnd};
use jiffy_tests::{
    hostile::{self, ARENA, Script},
    require_kvm,
    script::{Op, Width},
    vm::TIMEOUT_AMPLE,
};

const PAGE_FAULT: u8 = 14;
const SPIN: [u8; 2] = [0xeb, 0xfe];

/// `mov rax, imm64` and then `more`.
fn with_rax(value: u64, more: &[u8]) -> Vec<u8> {
    [&[0x48, 0xb8][..], &value.to_le_bytes(), more].concat()
}

#[test]
fn a_guest_that_does_nothing_wrong_comes_to_its_end() {
    if !require_kvm() {
        return;
    }
    Script::new().survives();
    Script::connected().survives();
    Script::asked().survives();
    Script::asked()
        .op(Op::Store(Width::U64, CONTROL_PAGE, 1))
        .op(Op::Store(Width::U64, LOG_RING, 1))
        .op(Op::Load(Width::U64, RESUME_PAGE))
        .op(Op::Load(Width::U64, RAM_BYTES_DEFAULT - 8))
        .code(&[0x90, 0xc3])
        .survives();
}

#[test]
fn memory_that_is_not_the_guests_faults_at_its_address() {
    if !require_kvm() {
        return;
    }
    let check = |op: Op, address: u64| {
        assert_eq!(
            Script::new().op(op).excepts(),
            (PAGE_FAULT, address),
            "{op:x?}"
        );
    };
    let system = [GDT, TSS, IDT, STUBS, RING0_STACK, PAGE_TABLES];
    let unmapped = [
        0,
        8,
        STACK_GUARD,
        RAM_BYTES_DEFAULT,
        MMIO_VSOCK + PAGE_BYTES,
        0xfee0_0000,
    ];
    for address in system.into_iter().chain(unmapped) {
        check(Op::Load(Width::U64, address), address);
        check(Op::Store(Width::U64, address, 0), address);
    }
    for address in [RESUME_PAGE, hostile::entry()] {
        check(Op::Store(Width::U8, address, 0), address);
    }
    // Half of it is memory, half is not.
    let beyond = Script::new().op(Op::Load(Width::U64, RAM_BYTES_DEFAULT - 4));
    assert_eq!(beyond.excepts(), (PAGE_FAULT, RAM_BYTES_DEFAULT));
    // The upper half of the address space belongs to nobody here; between the halves is nothing.
    for address in [
        0xffff_8000_0000_0000,
        0xffff_ffff_8000_0000,
        u64::MAX - 7,
        1 << 63,
    ] {
        Script::new().op(Op::Load(Width::U64, address)).excepts();
        Script::new()
            .op(Op::Store(Width::U64, address, 0))
            .excepts();
    }
}

#[test]
fn code_is_only_where_the_image_says() {
    if !require_kvm() {
        return;
    }
    let jump = |address| Script::new().code(&with_rax(address, &[0xff, 0xe0])); // jmp rax
    for address in [
        0,
        1,
        ARENA,
        STUBS,
        RESUME_PAGE,
        CONTROL_PAGE,
        MMIO_VSOCK,
        PAGE_TABLES,
    ] {
        assert_eq!(
            jump(address).excepts(),
            (PAGE_FAULT, address),
            "{address:#x}"
        );
    }
    jump(1 << 63).excepts();
    // Code that was just written is data.
    let written = Script::new().op(Op::Store(Width::U8, ARENA, 0xc3));
    assert_eq!(
        written.code(&with_rax(ARENA, &[0xff, 0xe0])).excepts().0,
        PAGE_FAULT
    );
}

#[test]
fn privileged_instructions_fault() {
    if !require_kvm() {
        return;
    }
    let instructions: &[(&str, &[u8])] = &[
        ("hlt", &[0xf4]),
        ("lgdt", &[0x0f, 0x01, 0x14, 0x24]),
        ("lidt", &[0x0f, 0x01, 0x1c, 0x24]),
        ("lldt", &[0x0f, 0x00, 0xd0]),
        ("ltr", &[0x0f, 0x00, 0xd8]),
        ("mov cr3, rax", &[0x0f, 0x22, 0xd8]),
        ("mov cr0, rax", &[0x0f, 0x22, 0xc0]),
        ("mov cr4, rax", &[0x0f, 0x22, 0xe0]),
        ("mov rax, cr3", &[0x0f, 0x20, 0xd8]),
        ("mov dr7, rax", &[0x0f, 0x23, 0xf8]),
        ("clts", &[0x0f, 0x06]),
        ("lmsw", &[0x0f, 0x01, 0xf0]),
        ("invlpg", &[0x0f, 0x01, 0x38]),
        ("invd", &[0x0f, 0x08]),
        ("wbinvd", &[0x0f, 0x09]),
        ("wrmsr", &[0x0f, 0x30]),
        ("rdmsr", &[0x0f, 0x32]),
        ("rdpmc", &[0x0f, 0x33]),
        ("xsetbv", &[0x0f, 0x01, 0xd1]),
        ("swapgs", &[0x0f, 0x01, 0xf8]),
        ("sysret", &[0x48, 0x0f, 0x07]),
        ("vmlaunch", &[0x0f, 0x01, 0xc2]),
        ("vmrun", &[0x0f, 0x01, 0xd8]),
        ("ud2", &[0x0f, 0x0b]),
        ("a return to ring 0", &[0x6a, 0x08, 0x6a, 0x00, 0x48, 0xcb]),
        (
            "an iret to ring 0",
            &[0x6a, 0x10, 0x54, 0x9c, 0x6a, 0x08, 0x6a, 0x00, 0x48, 0xcf],
        ),
        (
            "a stack segment of ring 0",
            &[0xb8, 0x10, 0, 0, 0, 0x8e, 0xd0],
        ),
        (
            "a data segment of ring 0",
            &[0xb8, 0x10, 0, 0, 0, 0x8e, 0xd8],
        ),
    ];
    for (name, code) in instructions {
        let ending = Script::new().code(code).run(TIMEOUT_AMPLE);
        let excepted = matches!(
            ending.report.end,
            VmEnd::Fault(GuestFault::Exception { .. })
        );
        assert!(excepted, "{name}: {:?}", ending.report.end);
    }
}

/// Backends differ in what these do: some are calls to the hypervisor, some change only the guest.
#[test]
fn instructions_with_a_meaning_elsewhere_come_to_a_typed_end() {
    if !require_kvm() {
        return;
    }
    let instructions: &[&[u8]] = &[
        &[0xcd, 0x80],                                              // int 0x80
        &[0xcd, 0x0e],                                              // int 14
        &[0xcd, 0x20],                                              // int 32, beyond the IDT
        &[0xcc],                                                    // int3
        &[0xf1],                                                    // icebp
        &[0x0f, 0x05],                                              // syscall
        &[0x0f, 0x34],                                              // sysenter
        &[0x0f, 0x01, 0xc1],                                        // vmcall
        &[0x0f, 0x01, 0xd9],                                        // vmmcall
        &[0x0f, 0x01, 0xd4],                                        // vmfunc
        &[0x0f, 0x01, 0xc8],                                        // monitor
        &[0x0f, 0x01, 0xc9],                                        // mwait
        &[0x0f, 0xa2],                                              // cpuid
        &[0x0f, 0x31],                                              // rdtsc
        &[0x0f, 0x01, 0xf9],                                        // rdtscp
        &[0xfa],                                                    // cli
        &[0xfb],                                                    // sti
        &[0x0f, 0x01, 0xe0],                                        // smsw
        &[0x0f, 0x01, 0x04, 0x24],                                  // sgdt
        &[0x31, 0xc9, 0x0f, 0x01, 0xd0],                            // xgetbv
        &[0x31, 0xc0, 0x8e, 0xd8],                                  // mov ds, 0
        &[0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0x90],          // single step
        &[0x9c, 0x81, 0x0c, 0x24, 0, 0x40, 0, 0, 0x9d, 0x0f, 0x0b], // nested task, then a fault
        &[
            0x9c, 0x81, 0x0c, 0x24, 0, 0, 4, 0, 0x9d, 0x8b, 0x44, 0x24, 1,
        ], // alignment check
        &[
            0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xf3, 0x48, 0x0f, 0xae, 0xd0,
        ], // wrfsbase
    ];
    for code in instructions {
        // A debug exception may come only behind the code; then the script goes on to its end.
        Script::new().code(&[code, &[0xc3][..]].concat()).ends();
    }
}

#[test]
fn a_guest_without_a_stack_faults_like_any_other() {
    if !require_kvm() {
        return;
    }
    // xor esp, esp; push rax: below address zero.
    Script::new().code(&[0x31, 0xe4, 0x50]).excepts();
    // mov rsp, rax; push rax: not canonical, read-only, the ring-0 stack's own page, a device.
    for rsp in [
        1 << 63,
        RESUME_PAGE + 8,
        RING0_STACK + PAGE_BYTES,
        MMIO_VSOCK,
    ] {
        let script = Script::new().code(&with_rax(rsp, &[0x48, 0x89, 0xc4, 0x50]));
        script.excepts();
        // And a fault while the stack is unusable.
        Script::new()
            .code(&with_rax(rsp, &[0x48, 0x89, 0xc4, 0x0f, 0x0b]))
            .excepts();
    }
    let guard = Script::new().code(&with_rax(STACK_GUARD + 64, &[0x48, 0x89, 0xc4, 0x50]));
    let ending = guard.run(TIMEOUT_AMPLE);
    let overflow = matches!(
        ending.fault(),
        GuestFault::Exception {
            stack_overflow: Some(_),
            ..
        }
    );
    assert!(overflow, "{:?}", ending.report.end);
}

#[test]
fn a_guest_that_never_stops_is_stopped() {
    if !require_kvm() {
        return;
    }
    Script::new().code(&SPIN).times_out();
    Script::connected().code(&SPIN).times_out();
    Script::asked().code(&SPIN).times_out();
    // cli; jmp $: with IOPL 3 it is allowed where IOPL counts. What must not be is no end.
    Script::asked().code(&[0xfa, 0xeb, 0xfe]).ends();
    Script::asked().code(&[0x0f, 0xa2, 0xeb, 0xfc]).times_out(); // cpuid; jmp
    let polls = Script::asked();
    let begin = polls.here();
    polls.wait(Wait::Poll).op(Op::Jump(begin)).times_out();
    let waits_for_the_past = Script::asked().op(Op::Store(Width::U64, control_page::WAKE_NS, 0));
    let begin = waits_for_the_past.here();
    waits_for_the_past
        .wait(Wait::EventUntil)
        .op(Op::Jump(begin))
        .times_out();
}

#[test]
fn a_guest_that_waits_for_ever_is_stopped() {
    if !require_kvm() {
        return;
    }
    for script in [Script::new(), Script::connected(), Script::asked()] {
        script
            .clone()
            .wait(Wait::Event)
            .wait(Wait::Event)
            .times_out();
        let until = script.op(Op::Store(Width::U64, control_page::WAKE_NS, u64::MAX));
        until
            .wait(Wait::EventUntil)
            .wait(Wait::EventUntil)
            .times_out();
    }
    Script::new().wait(Wait::Idle).times_out();
}
