//! Guests that misuse the vsock device: its registers, its steps, its packets.

use std::time::Duration;

use jiffy_abi::{
    doorbell::Wait,
    layout::MMIO_VSOCK,
    virtio_mmio as mmio,
    vsock::{PacketHeader, op},
};
use jiffy_tests::{
    hostile::{ANSWER, QUEUE_SIZE, RX, Script, TX, packet},
    require_kvm,
    script::{Op, Width, next_random},
};

/// For guests that may well say half of something and then nothing.
const SHORT: Duration = Duration::from_millis(300);

#[test]
fn registers_that_do_not_exist_end_the_guest() {
    if !require_kvm() {
        return;
    }
    let load = |register| Script::new().op(Op::Load(Width::U32, MMIO_VSOCK + register));
    let store = |register| Script::new().register(register, 1);
    for register in [
        0x018, 0x02c, 0x060, 0x07c, 0x108, 0x200, 0xffc, 0x001, 0x0fe,
    ] {
        load(register).breaks("which there is not");
    }
    for register in [
        mmio::MAGIC_VALUE,
        mmio::DEVICE_ID,
        mmio::CONFIG,
        0x064,
        0xffc,
        0x071,
    ] {
        store(register).breaks("which there is not");
    }
    for register in [
        mmio::QUEUE_DESC_LOW,
        mmio::QUEUE_NOTIFY,
        mmio::DRIVER_FEATURES,
    ] {
        load(register).breaks("which there is not");
    }
}

#[test]
fn registers_are_only_four_bytes_wide() {
    if !require_kvm() {
        return;
    }
    for width in [Width::U8, Width::U16, Width::U64] {
        for register in [mmio::MAGIC_VALUE, mmio::STATUS, mmio::CONFIG, 0xff8] {
            let address = MMIO_VSOCK + register;
            Script::new()
                .op(Op::Load(width, address))
                .breaks("other than as a u32");
            Script::new()
                .op(Op::Store(width, address, 1))
                .breaks("other than as a u32");
        }
    }
    // movups [rax], xmm0; rep movsb from the device; lock xadd on it.
    let at = |code: &[u8]| [&[0x48, 0xb8][..], &MMIO_VSOCK.to_le_bytes(), code].concat();
    Script::new().code(&at(&[0x0f, 0x11, 0x00, 0xc3])).ends();
    let copy = [
        0x48, 0x89, 0xc6, 0x48, 0x89, 0xe7, 0xb9, 1, 0, 0, 0, 0xf3, 0xa4, 0xc3,
    ];
    Script::new().code(&at(&copy)).ends();
    Script::new()
        .code(&at(&[0xf0, 0x0f, 0xc1, 0x08, 0xc3]))
        .ends();
    // The last two bytes of the window and two beyond it.
    Script::new()
        .op(Op::Load(Width::U32, MMIO_VSOCK + 0xffe))
        .ends();
}

#[test]
fn steps_of_the_bring_up_cannot_be_skipped() {
    if !require_kvm() {
        return;
    }
    for status in [4, 8, 12, 2, 5, 7, 9, 13, 14] {
        Script::new()
            .register(mmio::STATUS, status)
            .breaks("before the steps");
    }
    // The features were never taken.
    Script::new()
        .register(mmio::STATUS, 15)
        .breaks("before the steps");
    Script::new()
        .register(mmio::STATUS, 3)
        .register(mmio::DRIVER_FEATURES_SEL, 1)
        .register(mmio::DRIVER_FEATURES, u32::MAX)
        .register(mmio::STATUS, 11)
        .register(mmio::STATUS, 15)
        .breaks("before the steps");
    // Ready without a device, and with a device but without queues.
    Script::new().ready().breaks("before it accepted");
    Script::new()
        .features()
        .register(mmio::STATUS, 15)
        .ready()
        .breaks("before it accepted");
    Script::new().up().ready().breaks("before it accepted");
    // Resets as such are allowed, also twice; bits without a meaning are without one.
    Script::new()
        .register(mmio::STATUS, 0)
        .register(mmio::STATUS, 0)
        .survives();
    Script::new()
        .register(mmio::STATUS, 0x80)
        .register(mmio::STATUS, 0xffff_ff00)
        .survives();
}

#[test]
fn a_device_in_use_cannot_be_reset_or_changed() {
    if !require_kvm() {
        return;
    }
    for script in [Script::connected(), Script::asked(), Script::new().up()] {
        script
            .clone()
            .register(mmio::STATUS, 0)
            .breaks("reset the device");
        script
            .clone()
            .register(mmio::QUEUE_DESC_LOW, 0)
            .breaks("after it was in use");
        script
            .register(mmio::QUEUE_SIZE, 16)
            .breaks("after it was in use");
    }
}

#[test]
fn packets_to_others_are_refused_and_the_stream_goes_on() {
    if !require_kvm() {
        return;
    }
    let good = packet(op::CREDIT_UPDATE, 0);
    let stray = [
        PacketHeader { src_cid: 2, ..good },
        PacketHeader {
            src_cid: u64::MAX,
            ..good
        },
        PacketHeader { dst_cid: 3, ..good },
        PacketHeader { dst_cid: 0, ..good },
        PacketHeader {
            src_port: 2,
            ..good
        },
        PacketHeader {
            dst_port: u32::MAX,
            ..good
        },
        PacketHeader {
            socket_type: 2,
            ..good
        },
        PacketHeader { op: 0, ..good },
        PacketHeader { op: 8, ..good },
        PacketHeader {
            op: u16::MAX,
            ..good
        },
        PacketHeader {
            op: op::REQUEST,
            ..good
        },
        PacketHeader {
            op: op::RESPONSE,
            ..good
        },
        PacketHeader {
            op: op::RST,
            dst_port: 7,
            ..good
        },
        PacketHeader {
            flags: u32::MAX,
            ..good
        },
    ];
    let mut script = Script::connected();
    for header in stray {
        script = script.packet(header, &[]);
    }
    let ending = script
        .wait(Wait::Poll)
        .ready()
        .reply(ANSWER)
        .wait(Wait::Idle)
        .ends();
    let response = ending.response.expect("answered").expect("well-formed");
    assert_eq!(response.body, b"ok");
}

#[test]
fn a_flood_of_packets_to_others_is_bounded() {
    if !require_kvm() {
        return;
    }
    // Far more resets than there are buffers or than the device keeps.
    let stray = PacketHeader {
        dst_port: 9,
        ..packet(op::RW, 0)
    };
    let mut script = Script::connected();
    for _ in 0..30 {
        script = script.packet(stray, &[]);
    }
    for index in (QUEUE_SIZE..u16::MAX)
        .step_by(usize::from(QUEUE_SIZE))
        .take(100)
    {
        script = script.avail_index(TX, index).wait(Wait::Poll);
    }
    script.ends();
}

#[test]
fn closing_the_stream_ends_the_guest() {
    if !require_kvm() {
        return;
    }
    for op in [op::RST, op::SHUTDOWN] {
        let close = |script: Script| script.packet(packet(op, 0), &[]);
        close(Script::connected())
            .wait(Wait::Poll)
            .breaks("closed the request stream");
        close(Script::asked())
            .wait(Wait::Idle)
            .breaks("closed the request stream");
    }
    // Payload on a stream that is not open yet is refused.
    let early = Script::new().up().reply(ANSWER).wait(Wait::Poll);
    early
        .packet(packet(op::RESPONSE, 0), &[])
        .ready()
        .survives();
}

/// Idle, but without room for a request: nothing could ever wake this guest.
#[test]
fn a_guest_that_cannot_take_a_request_ends() {
    if !require_kvm() {
        return;
    }
    let update = |buf_alloc, fwd_cnt| PacketHeader {
        buf_alloc,
        fwd_cnt,
        ..packet(op::CREDIT_UPDATE, 0)
    };
    Script::connected()
        .packet(update(0, 0), &[])
        .ready()
        .breaks("");
    Script::connected()
        .packet(update(100, 1000), &[])
        .ready()
        .breaks("");
    let none = Script::connected().register(mmio::QUEUE_SEL, 0);
    none.register(mmio::QUEUE_READY, 0).ready().breaks("");
    Script::connected().avail_index(RX, 1).ready().breaks("");
    Script::connected()
        .register(mmio::STATUS, 11)
        .ready()
        .breaks("");
}

#[test]
fn credit_that_lies_only_harms_the_guest() {
    if !require_kvm() {
        return;
    }
    for (buf_alloc, fwd_cnt) in [(u32::MAX, 0), (u32::MAX, u32::MAX), (64, 0), (1, 0)] {
        let lie = PacketHeader {
            buf_alloc,
            fwd_cnt,
            ..packet(op::CREDIT_UPDATE, 0)
        };
        let script = Script::connected().packet(lie, &[]).ready();
        let ending = script.reply(ANSWER).wait(Wait::Idle).ends();
        assert!(
            ending.response.is_some(),
            "{buf_alloc} {fwd_cnt}: {ending:?}"
        );
    }
}

/// The guest answers its own request with packets whose answers wake it again, for ever, outside
/// of any request's time.
#[test]
fn a_guest_cannot_keep_itself_awake() {
    if !require_kvm() {
        return;
    }
    let stray = PacketHeader {
        dst_port: 9,
        ..packet(op::RW, 0)
    };
    let spin = [0xeb, 0xfe];
    // At READY, and behind a response: a spin that nobody asked for.
    Script::connected()
        .packet(stray, &[])
        .ready()
        .code(&spin)
        .ends();
    Script::asked()
        .reply(ANSWER)
        .packet(stray, &[])
        .wait(Wait::Idle)
        .code(&spin)
        .ends();
    // And a ping-pong with the device.
    let answered = Script::asked()
        .reply(ANSWER)
        .packet(stray, &[])
        .wait(Wait::Idle);
    let begin = answered.here();
    answered
        .packet(stray, &[])
        .wait(Wait::Idle)
        .op(Op::Jump(begin))
        .ends();
}

#[test]
fn random_packets_come_to_a_typed_end() {
    if !require_kvm() {
        return;
    }
    let mut state = 1;
    let mut random = |below: u64| {
        state = next_random(state);
        (state >> 16) % below
    };
    for _ in 0..12 {
        let mut script = Script::connected();
        for _ in 0..8 {
            let narrow = |value: u64| u32::try_from(value & 0xffff_ffff).expect("32 bits");
            let header = PacketHeader {
                dst_port: narrow(random(2)),
                op: u16::try_from(random(8)).expect("small"),
                buf_alloc: narrow(random(1 << 32)),
                fwd_cnt: narrow(random(1 << 32)),
                ..packet(op::RW, narrow(random(64)))
            };
            script = script.packet(header, &[7; 40]).wait(Wait::Poll);
        }
        script.ready().reply(ANSWER).wait(Wait::Idle).run(SHORT);
    }
}

#[test]
fn random_register_accesses_come_to_a_typed_end() {
    if !require_kvm() {
        return;
    }
    const REGISTERS: [u64; 16] = [
        mmio::DEVICE_FEATURES_SEL,
        mmio::DRIVER_FEATURES,
        mmio::DRIVER_FEATURES_SEL,
        mmio::QUEUE_SEL,
        mmio::QUEUE_SIZE,
        mmio::QUEUE_READY,
        mmio::QUEUE_NOTIFY,
        mmio::STATUS,
        mmio::QUEUE_DESC_LOW,
        mmio::QUEUE_DESC_HIGH,
        mmio::QUEUE_DRIVER_LOW,
        mmio::QUEUE_DRIVER_HIGH,
        mmio::QUEUE_DEVICE_LOW,
        mmio::QUEUE_DEVICE_HIGH,
        mmio::STATUS,
        mmio::QUEUE_SEL,
    ];
    const VALUES: [u32; 8] = [0, 1, 2, 3, 11, 15, 64, 0x80_0000];
    let mut state = 3;
    for _ in 0..24 {
        let mut script = if state % 2 == 0 {
            Script::new()
        } else {
            Script::new().features()
        };
        for _ in 0..64 {
            state = next_random(state);
            let [register, value, ..] = state.to_le_bytes().map(usize::from);
            script = script.register(REGISTERS[register % 16], VALUES[value % 8]);
        }
        script.wait(Wait::Poll).ready().ends();
    }
}
