//! Guests that write garbage into virtqueues: rings, descriptors, and where they are.

mod common;

use std::time::Duration;

use jiffy_abi::{
    doorbell::Wait,
    layout::{
        GDT, IDT, MMIO_VSOCK, PAGE_TABLES, RAM_BYTES_DEFAULT, RESUME_PAGE, RING0_STACK, STACK,
        STUBS, TSS,
    },
    virtio_mmio::{self as mmio, DESC_NEXT, DESC_WRITE},
    vsock::{PACKET_BYTES_MAX, QUEUE_RX, QUEUE_TX, op},
};
use jiffy_control::{GuestFault, VmEnd};
use jiffy_tests::{
    hostile::{ANSWER, ARENA, QUEUE_SIZE, RX, RX_BUFFER, RX_BUFFERS, Rings, Script, TX, packet},
    require_kvm,
    script::Op,
};
use jiffy_vmm::{
    boot::{Image, Permissions, Segment},
    run::Isolation,
};

/// For guests that may well say half of something and then nothing.
const SHORT: Duration = Duration::from_millis(300);

/// A packet that a good driver could send, put where descriptors of deeds can find it.
const GOOD_PACKET: u64 = ARENA + 0x8_0000;
const DESC_INDIRECT: u16 = 4;

#[test]
fn queues_have_to_exist_and_to_be_inside_ram() {
    if !require_kvm() {
        return;
    }
    for number in [3, 4, 0x1_0000, u32::MAX] {
        Script::new()
            .register(mmio::QUEUE_SEL, number)
            .breaks("but there are 3");
    }
    for size in [0, 3, 65, 128, 0x1_0010, u32::MAX] {
        Script::new()
            .features()
            .register(mmio::QUEUE_SIZE, size)
            .breaks("power of two");
    }
    let end = RAM_BYTES_DEFAULT;
    for outside in [end, end - 16, end + 0x1000, MMIO_VSOCK, 1 << 32, !0xfff] {
        for part in 0..3 {
            let mut rings = [RX.desc, RX.avail, RX.used];
            rings[part] = outside;
            let [desc, avail, used] = rings;
            let rings = Rings { desc, avail, used };
            Script::new()
                .features()
                .queue(QUEUE_RX, 64, rings)
                .breaks("not inside RAM");
        }
    }
    // Addresses that are not aligned are not taken.
    let odd = Rings {
        desc: RX.desc + 1,
        avail: RX.avail + 1,
        used: RX.used + 1,
    };
    Script::new().features().queue(QUEUE_RX, 64, odd).ends();
}

/// The device writes where the guest says. If that could be where the CPU's tables and the ring-0
/// stubs are, the guest could leave ring 3.
#[test]
fn the_device_writes_no_memory_that_the_guest_may_not() {
    if !require_kvm() {
        return;
    }
    for system in [GDT, TSS, IDT, STUBS, RING0_STACK, RESUME_PAGE, PAGE_TABLES] {
        let used = Rings { used: system, ..RX };
        Script::new()
            .features()
            .queue(QUEUE_RX, 64, used)
            .breaks("queue");
        let buffer = Script::new().features().queue(QUEUE_TX, 64, TX);
        let buffer = buffer.queue(QUEUE_RX, 64, RX);
        let buffer = buffer
            .desc(RX, 0, system, 4096, DESC_WRITE, 0)
            .avail(RX, 0, 0);
        buffer
            .avail_index(RX, 1)
            .register(mmio::STATUS, 15)
            .breaks("queue");
    }
}

/// The hostile image's segments, as (first byte, whether it may be written), and where its heap begins.
fn segments() -> (Vec<(u64, bool)>, u64) {
    let bytes = Script::new().image();
    let image = Image::parse(&bytes).expect("an image");
    let segment = |segment: &Segment| {
        let writable = segment.permissions == Permissions::ReadWrite;
        (segment.address, writable)
    };
    (image.segments().iter().map(segment).collect(), image.end())
}

/// Rings and receive buffers at `address`, which the device would write.
fn written_at(address: u64) -> [Script; 3] {
    let used = Rings {
        used: address,
        ..RX
    };
    let used_tx = Rings {
        used: address,
        ..TX
    };
    let up = Script::new().features();
    let buffer = up.clone().queue(QUEUE_TX, 64, TX).queue(QUEUE_RX, 64, RX);
    let buffer = buffer
        .desc(RX, 0, address, 4096, DESC_WRITE, 0)
        .avail(RX, 0, 0);
    [
        up.clone().queue(QUEUE_RX, 64, used),
        up.queue(QUEUE_TX, 64, used_tx),
        buffer.avail_index(RX, 1).register(mmio::STATUS, 15),
    ]
}

/// The device writes what the guest may write, and not its code or its constants: else all that can be written could be run.
#[test]
fn the_device_writes_no_code_and_no_constants() {
    if !require_kvm() {
        return;
    }
    let (segments, heap) = segments();
    let read_only: Vec<u64> = segments
        .iter()
        .filter(|(_, writable)| !writable)
        .map(|(at, _)| *at)
        .collect();
    assert!(read_only.len() >= 2, "text and constants: {segments:x?}");
    for address in read_only {
        for script in written_at(address) {
            script.breaks("queue");
        }
        // A buffer that begins where it may be written, and ends where not.
        for script in &written_at(address - 4096)[2..] {
            script.ends();
        }
        // What it only reads may lie there: the packet is no good one, but is answered as any other.
        chain(address, 44, 0, 0).wait(Wait::Poll).ends();
    }
    let writable = segments
        .iter()
        .filter(|(_, writable)| *writable)
        .map(|(at, _)| *at);
    for address in writable.chain([heap.next_multiple_of(4096) + 4096, STACK]) {
        for script in &written_at(address)[2..] {
            script.survives();
        }
    }
}

/// The same after a restore: the snapshot says what the guest may write.
#[test]
fn the_device_of_a_restored_vm_writes_no_code() {
    if !require_kvm() {
        return;
    }
    let (segments, _) = segments();
    for (address, writable) in segments {
        // The host's connection has taken the first of the receive buffers.
        let mut script = Script::connected();
        for number in 1..RX_BUFFERS {
            script = script.desc(RX, number, address, 4096, DESC_WRITE, 0);
        }
        let snapshot = common::script_snapshot(&script.ready());
        let mut vm = snapshot.restore(Isolation::Fresh);
        let page = address / 4096;
        let before = vm.page(page);
        let end = vm.try_ask(b"XEC!").expect_err("it does not answer");
        let is_written = vm.page(page) != before;
        assert_eq!(is_written, writable, "{address:#x}");
        if !writable {
            let device = matches!(&end, VmEnd::Fault(GuestFault::Device { message, .. }) if message.contains("queue 0"));
            assert!(device, "{end:?}");
        }
    }
}

/// A response may be a constant of the image.
#[test]
fn constants_can_be_sent() {
    if !require_kvm() {
        return;
    }
    let (segments, _) = segments();
    for (address, _) in segments {
        let header = packet(op::CREDIT_UPDATE, 0).to_bytes();
        let payload = packet(op::RW, 64).to_bytes();
        // With a request in hand: nothing may be sent without.
        Script::asked()
            .bytes(GOOD_PACKET, &payload)
            .desc(
                TX,
                2,
                GOOD_PACKET,
                u32::try_from(header.len()).expect("44"),
                DESC_NEXT,
                3,
            )
            .desc(TX, 3, address, 64, 0, 0)
            .avail(TX, 1, 2)
            .avail_index(TX, 2)
            .wait(Wait::Poll)
            .survives();
    }
}

/// A script whose transmit queue offers one chain, whose first descriptor is this.
fn chain(address: u64, len_bytes: u32, flags: u16, next: u16) -> Script {
    Script::connected()
        .bytes(GOOD_PACKET, &packet(op::CREDIT_UPDATE, 0).to_bytes())
        .desc(TX, 2, address, len_bytes, flags, next)
        .avail(TX, 1, 2)
        .avail_index(TX, 2)
}

#[test]
fn transmit_chains_of_garbage_end_the_guest() {
    if !require_kvm() {
        return;
    }
    let broken = |script: Script| script.wait(Wait::Poll).breaks("queue 1");
    chain(GOOD_PACKET, 44, 0, 0).wait(Wait::Poll).survives();
    let end = RAM_BYTES_DEFAULT;
    for address in [end, end - 43, MMIO_VSOCK, 1 << 32, u64::MAX, u64::MAX - 43] {
        broken(chain(address, 44, 0, 0));
    }
    broken(chain(GOOD_PACKET, 0, 0, 0));
    broken(chain(GOOD_PACKET, 43, 0, 0));
    broken(chain(GOOD_PACKET, 44, DESC_WRITE, 0));
    // A chain of itself, of two in a ring, of one that is not there, and an indirect one. The
    // packet has no payload, so nothing is said about what the device makes of the rest.
    chain(GOOD_PACKET, 44, DESC_NEXT, 2).wait(Wait::Poll).ends();
    chain(GOOD_PACKET, 44, DESC_NEXT, QUEUE_SIZE)
        .wait(Wait::Poll)
        .ends();
    chain(GOOD_PACKET, 44, DESC_NEXT, u16::MAX)
        .wait(Wait::Poll)
        .ends();
    chain(GOOD_PACKET, 16, DESC_INDIRECT, 0)
        .wait(Wait::Poll)
        .ends();
    let ring = chain(GOOD_PACKET, 44, DESC_NEXT, 3).desc(TX, 3, GOOD_PACKET, 44, DESC_NEXT, 2);
    ring.wait(Wait::Poll).ends();
    // The same with payload, which then has to come from somewhere.
    let with_payload =
        |script: Script, len| script.bytes(GOOD_PACKET, &packet(op::RW, len).to_bytes());
    broken(with_payload(
        chain(GOOD_PACKET, 44, DESC_NEXT, QUEUE_SIZE),
        100,
    ));
    broken(with_payload(
        chain(GOOD_PACKET, 44, DESC_NEXT, u16::MAX),
        100,
    ));
    broken(with_payload(chain(GOOD_PACKET, 44, 0, 0), 100));
    broken(with_payload(chain(GOOD_PACKET, 44, DESC_NEXT, 2), 100));
    for (address, len) in [
        (end - 99, 100),
        (u64::MAX - 99, 100),
        (ARENA, 99),
        (ARENA, 0),
    ] {
        let chain = chain(GOOD_PACKET, 44, DESC_NEXT, 3).desc(TX, 3, address, len, 0, 0);
        broken(with_payload(chain, 100));
    }
    let huge = chain(GOOD_PACKET, 44, DESC_NEXT, 3).desc(TX, 3, ARENA, u32::MAX, 0, 0);
    broken(with_payload(huge.clone(), PACKET_BYTES_MAX + 1));
    broken(with_payload(huge, u32::MAX));
}

#[test]
fn rings_that_contradict_themselves_end_the_guest() {
    if !require_kvm() {
        return;
    }
    let broken = |script: Script, queue: &str| script.wait(Wait::Poll).breaks(queue);
    for ahead in [QUEUE_SIZE + 2, 1000, u16::MAX] {
        broken(Script::connected().avail_index(TX, ahead), "queue 1");
    }
    for ahead in [QUEUE_SIZE + 2, 1000, u16::MAX] {
        // The device looks into this one when it has something to give.
        Script::connected()
            .avail_index(RX, ahead)
            .ready()
            .breaks("queue 0");
    }
    for head in [QUEUE_SIZE, 1000, u16::MAX] {
        broken(chain(GOOD_PACKET, 44, 0, 0).avail(TX, 1, head), "queue 1");
    }
    // The same chain again and again.
    let mut again = chain(GOOD_PACKET, 44, 0, 0);
    for slot in 1..QUEUE_SIZE {
        again = again.avail(TX, slot, 2);
    }
    again
        .avail_index(TX, QUEUE_SIZE)
        .wait(Wait::Poll)
        .survives();
    // An index that runs backwards is one that has run far ahead.
    broken(Script::connected().avail_index(TX, 0), "queue 1");
}

#[test]
fn receive_buffers_of_garbage_end_the_guest() {
    if !require_kvm() {
        return;
    }
    let offered = |address: u64, len: u32, flags: u16| {
        let up = Script::new()
            .features()
            .queue(QUEUE_RX, 64, RX)
            .queue(QUEUE_TX, 64, TX);
        let one = up
            .desc(RX, 0, address, len, flags, 0)
            .avail(RX, 0, 0)
            .avail_index(RX, 1);
        one.register(mmio::STATUS, 15)
    };
    let end = RAM_BYTES_DEFAULT;
    for address in [end, end - 43, 1 << 32, u64::MAX, u64::MAX - 100] {
        offered(address, 4096, DESC_WRITE).breaks("queue 0");
    }
    offered(RX_BUFFER.0, 43, DESC_WRITE).breaks("queue 0");
    offered(RX_BUFFER.0, 0, DESC_WRITE).breaks("queue 0");
    offered(RX_BUFFER.0, 4096, 0).breaks("queue 0");
    offered(RX_BUFFER.0, u32::MAX, DESC_WRITE).breaks("queue 0");
    offered(RX_BUFFER.0, 4096, DESC_WRITE | DESC_NEXT).ends();
    // Room for a header and nothing else: enough for the connection, not for the request.
    let features = Script::new()
        .features()
        .queue(QUEUE_RX, 64, RX)
        .queue(QUEUE_TX, 64, TX);
    let small = features.rx_buffers(44).register(mmio::STATUS, 15);
    small.packet(packet(op::RESPONSE, 0), &[]).ready().ends();
}

#[test]
fn queues_that_lie_over_each_other_only_harm_the_guest() {
    if !require_kvm() {
        return;
    }
    let all_in_one = Rings {
        desc: ARENA,
        avail: ARENA,
        used: ARENA,
    };
    let used_over_avail = Rings {
        used: TX.avail,
        ..TX
    };
    let used_over_desc = Rings {
        used: TX.desc,
        ..TX
    };
    let avail_over_desc = Rings {
        avail: TX.desc,
        ..TX
    };
    for rings in [
        all_in_one,
        used_over_avail,
        used_over_desc,
        avail_over_desc,
        RX,
    ] {
        for number in [QUEUE_RX, QUEUE_TX] {
            let other = if number == QUEUE_RX {
                QUEUE_TX
            } else {
                QUEUE_RX
            };
            let script = Script::new().features().queue(number, 64, rings);
            let script = script
                .queue(other, 64, RX)
                .rx_buffers(4096)
                .register(mmio::STATUS, 15);
            let script = script.packet(packet(op::RESPONSE, 0), &[]).wait(Wait::Poll);
            let script = script
                .packet(packet(op::CREDIT_REQUEST, 0), &[])
                .wait(Wait::Poll);
            script.ready().reply(ANSWER).wait(Wait::Idle).run(SHORT);
        }
    }
    // Receive buffers over the rings, and all of them the same.
    for address in [RX.desc, RX.avail, RX.used, TX.desc, TX.avail, TX.used] {
        let mut script = Script::connected();
        for number in 1..RX_BUFFERS {
            script = script.desc(RX, number, address, 4096, DESC_WRITE, 0);
        }
        script.ready().reply(ANSWER).wait(Wait::Idle).run(SHORT);
    }
}

#[test]
fn random_bytes_in_queues_come_to_a_typed_end() {
    if !require_kvm() {
        return;
    }
    for seed in 1..=24 {
        let garbage = |address, len| Op::Garbage { address, len, seed };
        let script = match seed % 4 {
            0 => Script::new().op(garbage(RX.desc, 0x4000)).up(),
            1 => Script::connected().op(garbage(TX.desc, 0x2000)),
            2 => Script::connected().op(garbage(TX.desc, 0x800)),
            _ => Script::connected().op(garbage(RX.desc, 0x2000)),
        };
        script
            .wait(Wait::Poll)
            .ready()
            .reply(ANSWER)
            .wait(Wait::Idle)
            .run(SHORT);
    }
}
