//! Guests that misuse doorbells and ports, the pages they share with the VMM, and the framing of
//! responses.

use std::time::Duration;

use jiffy_abi::{
    control_page::{FAULT, LOG_HEAD, LOG_TAIL},
    doorbell::{self, Wait},
    fault::{FaultRecord, kind},
    frame::{
        BODY_BYTES_MAX, FrameError, FrameHeader, FrameKind, HEAD_BYTES_MAX, RequestKind,
        ResponseKind,
    },
    layout::{
        CONTROL_PAGE, LOG_RING, LOG_RING_BYTES, MMIO_VSOCK, PAGE_BYTES, PAGE_TABLES,
        RAM_BYTES_DEFAULT, STACK_GUARD,
    },
    log_ring::TEXT_BYTES_MAX,
};
use jiffy_client::VmError;
use jiffy_control::{CUT_MARK, GuestFault, LOG_BYTES_MAX, RECORD_COST_BYTES, StreamFault, VmEnd};
use jiffy_tests::{
    hostile::{ARENA, Script},
    is_slow_host, require_kvm,
    script::{Op, Width},
    vm::{TIMEOUT_AMPLE, event},
};

#[test]
fn ports_that_are_no_doorbell_end_the_guest() {
    if !require_kvm() {
        return;
    }
    // PVM and the I/O bitmap make a fault of it, others an exit: both end the guest.
    let ports = [
        0,
        0x20,
        0x3f8,
        0x60,
        0x80,
        0xcf8,
        doorbell::WAIT - 1,
        doorbell::EXIT + 1,
    ];
    for port in ports.into_iter().chain([0x100, 0x7ff, 0xffff]) {
        for script in [
            Script::new().out(port, 0),
            Script::new().op(Op::In(Width::U8, port)),
            Script::new().op(Op::Out(Width::U32, port, 0)),
        ] {
            let outcome = script.ends().report.end;
            assert!(matches!(outcome, VmEnd::Fault(_)), "{port:#x}: {outcome:?}");
        }
    }
}

#[test]
fn doorbells_take_one_byte_and_give_none() {
    if !require_kvm() {
        return;
    }
    for port in doorbell::PORTS {
        for width in [Width::U8, Width::U16, Width::U32] {
            let outcome = Script::new().op(Op::In(width, port)).ends().report.end;
            assert!(
                matches!(outcome, VmEnd::Fault(_)),
                "in {port:#x}: {outcome:?}"
            );
        }
        for width in [Width::U16, Width::U32] {
            let script = Script::new().op(Op::Out(width, port, 0x0101_0101));
            let outcome = script.ends().report.end;
            assert!(
                matches!(outcome, VmEnd::Fault(_)),
                "out {port:#x}: {outcome:?}"
            );
        }
    }
    // String instructions: four bytes at once, and one byte into memory.
    Script::new()
        .code(&[
            0x66, 0xba, 0xe3, 0, 0xb9, 4, 0, 0, 0, 0x48, 0x89, 0xe6, 0xf3, 0x6e, 0xc3,
        ])
        .ends();
    Script::new()
        .code(&[0x66, 0xba, 0xe0, 0, 0x48, 0x89, 0xe7, 0x6c, 0xc3])
        .ends();
}

#[test]
fn unknown_waits_end_the_guest() {
    if !require_kvm() {
        return;
    }
    for byte in [5, 6, 0x7f, 0xff] {
        Script::new()
            .out(doorbell::WAIT, byte)
            .breaks("unknown byte");
        Script::asked()
            .out(doorbell::WAIT, byte)
            .breaks("unknown byte");
    }
}

#[test]
fn readiness_is_said_once_and_requests_are_answered() {
    if !require_kvm() {
        return;
    }
    Script::asked().wait(Wait::Idle).breaks("without answering");
    Script::asked().ready().breaks("without answering");
    // Nobody reads the byte of READY.
    Script::connected().out(doorbell::READY, 0xff).survives();
}

#[test]
fn exit_codes_arrive() {
    if !require_kvm() {
        return;
    }
    for code in [0, 1, 255] {
        for script in [Script::new(), Script::connected(), Script::asked()] {
            let outcome = script.out(doorbell::EXIT, code).ends().report.end;
            assert_eq!(outcome, VmEnd::Exited(code));
        }
    }
}

#[test]
fn a_log_ring_that_contradicts_itself_ends_the_guest() {
    if !require_kvm() {
        return;
    }
    let head = |head: u64| Script::new().op(Op::Store(Width::U64, LOG_HEAD, head));
    for ahead in [LOG_RING_BYTES + 1, 1 << 32, 1 << 63, u64::MAX] {
        head(ahead).wait(Wait::Poll).breaks("ahead of its tail");
    }
    for rest in 1..4 {
        head(rest)
            .wait(Wait::Poll)
            .breaks("a log record of 0 bytes");
    }
    let record = |text_bytes: u64, head_bytes: u64| {
        let header = Script::new().op(Op::Store(Width::U32, LOG_RING, 3 | text_bytes << 16));
        header
            .op(Op::Store(Width::U64, LOG_HEAD, head_bytes))
            .wait(Wait::Poll)
    };
    let longest = TEXT_BYTES_MAX as u64;
    record(longest, longest + 4).survives();
    record(longest + 1, LOG_RING_BYTES).breaks("longer than");
    record(0xffff, LOG_RING_BYTES).breaks("longer than");
    record(5, 8).breaks("longer than");
    // A head that goes back.
    let back = record(0, 4).op(Op::Store(Width::U64, LOG_HEAD, 0));
    back.wait(Wait::Poll).breaks("ahead of its tail");
    // The tail is the VMM's; what the guest makes of its copy is no matter.
    Script::new()
        .op(Op::Store(Width::U64, LOG_TAIL, u64::MAX))
        .wait(Wait::Poll)
        .survives();
}

#[test]
fn whatever_is_in_the_log_ring_arrives_as_text() {
    if !require_kvm() {
        return;
    }
    // Nothing is UTF-8 in here, the level is none, and the ring is full.
    let mut script = Script::new();
    for at in (0..LOG_RING_BYTES).step_by(8) {
        let words = if at % 4096 == 0 {
            0xffff_ffff_0ffc_ffee
        } else {
            u64::MAX
        };
        script = script.op(Op::Store(Width::U64, LOG_RING + at, words));
        if at % 8192 == 8184 {
            script = script
                .op(Op::Store(Width::U64, LOG_HEAD, at + 8))
                .wait(Wait::Poll);
        }
        if script.here() > 1900 {
            break;
        }
    }
    let ending = script.ends();
    let (notice, records) = ending.log.split_last().expect("records");
    assert!(!records.is_empty(), "{ending:?}");
    let told = format!("{} log records were cut at 4 KiB", records.len());
    assert_eq!(notice.text, told);
    for record in records {
        let text = record.text.strip_suffix(CUT_MARK).expect("a mark");
        assert!(text.chars().all(|c| c == '\u{fffd}'), "{text}");
        assert!(text.len() <= TEXT_BYTES_MAX, "{}", text.len());
    }
    // Records of nothing at all, as many as fit, again and again.
    let mut script = Script::new();
    for round in 1..=8 {
        script = script.op(Op::Store(Width::U64, LOG_HEAD, round * LOG_RING_BYTES));
        script = script.wait(Wait::Poll);
    }
    let log = script.ends().log;
    let kept = LOG_BYTES_MAX / RECORD_COST_BYTES;
    assert_eq!(log.len(), kept + 1);
    let told = format!("{} log records (0 B) were dropped: ", 8 * 4096 - kept);
    assert!(log[kept].text.starts_with(&told), "{:?}", log[kept]);
}

#[test]
fn the_shared_page_may_hold_anything() {
    if !require_kvm() {
        return;
    }
    let seeds = if is_slow_host() { 1..2 } else { 1..8 };
    for seed in seeds {
        let len = PAGE_BYTES;
        let garbage = Op::Garbage {
            address: CONTROL_PAGE,
            len,
            seed,
        };
        Script::new()
            .op(garbage)
            .wait(Wait::EventUntil)
            .breaks("ahead of its tail");
        Script::new().op(garbage).out(doorbell::FAULT, 0).ends();
        let before_the_log = Op::Garbage {
            address: CONTROL_PAGE,
            len: 64,
            seed,
        };
        let until = Script::connected()
            .op(before_the_log)
            .wait(Wait::EventUntil);
        until.run(Duration::from_millis(300));
    }
}

#[test]
fn fault_records_of_garbage_are_told_as_far_as_they_go() {
    if !require_kvm() {
        return;
    }
    let fault = |record: FaultRecord| {
        let script = Script::new()
            .bytes(FAULT, &record.to_bytes())
            .out(doorbell::FAULT, 0);
        script.run(TIMEOUT_AMPLE).fault().clone()
    };
    let end = RAM_BYTES_DEFAULT;
    let addresses = [
        0,
        end - 1,
        end,
        MMIO_VSOCK,
        1 << 63,
        u64::MAX,
        u64::MAX - 4095,
    ];
    let sizes = [u32::MAX, 4096, 1];
    for address in addresses {
        for bytes in sizes.into_iter().take(if is_slow_host() { 1 } else { 3 }) {
            let record = |kind| FaultRecord {
                kind,
                line: u32::MAX,
                column: u32::MAX,
                message: address,
                message_bytes: bytes,
                file: address,
                file_bytes: bytes,
                frame_pointer: address,
                requested_bytes: u64::MAX,
            };
            assert!(matches!(
                fault(record(kind::PANIC)),
                GuestFault::Panic { .. }
            ));
            assert!(matches!(fault(record(kind::INIT)), GuestFault::Init { .. }));
            assert!(matches!(
                fault(record(kind::RUNTIME)),
                GuestFault::Runtime { .. }
            ));
            assert!(matches!(fault(record(99)), GuestFault::Device { .. }));
        }
    }
    let oom = fault(FaultRecord {
        kind: kind::OUT_OF_MEMORY,
        requested_bytes: u64::MAX,
        ..FaultRecord::default()
    });
    let told = matches!(
        oom,
        GuestFault::OutOfMemory {
            requested_bytes: u64::MAX,
            ..
        }
    );
    assert!(told, "{oom:?}");
    // Frames of a stack that goes round in circles, and of one that is 4096 deep.
    for step in [0, 16] {
        let mut script = Script::new();
        for at in (ARENA..ARENA + 200 * 16).step_by(16) {
            script = script.op(Op::Store(Width::U64, at, at + step));
            script = script.op(Op::Store(Width::U64, at + 8, at));
        }
        let record = FaultRecord {
            kind: kind::PANIC,
            frame_pointer: ARENA,
            ..FaultRecord::default()
        };
        let script = script
            .bytes(FAULT, &record.to_bytes())
            .out(doorbell::FAULT, 0);
        let ending = script.run(TIMEOUT_AMPLE);
        let GuestFault::Panic { backtrace, .. } = ending.fault() else {
            panic!("{ending:?}");
        };
        let frames = if step == 0 {
            1
        } else {
            jiffy_control::BACKTRACE_FRAMES_MAX
        };
        assert_eq!(backtrace.0.len(), frames);
    }
    // A message that is no text, and one that the guest may not read itself.
    for message in [PAGE_TABLES, STACK_GUARD, MMIO_VSOCK - 4096] {
        fault(FaultRecord {
            kind: kind::PANIC,
            message,
            message_bytes: 4096,
            ..FaultRecord::default()
        });
    }
}

/// What the host makes of a guest that answers with these bytes and goes idle.
#[track_caller]
fn answer(bytes: &[u8]) -> Option<Result<usize, StreamFault>> {
    let ending = Script::asked().reply(bytes).wait(Wait::Idle).ends();
    ending
        .response
        .map(|response| response.map(|response| response.body.len()))
}

fn header(kind: impl FrameKind, head_bytes: u32, body_bytes: u32) -> Vec<u8> {
    let header = FrameHeader {
        kind,
        head_bytes,
        body_bytes,
        nonce: 0,
    };
    header.to_bytes().to_vec()
}

/// What is wrong with these bytes as a frame.
#[track_caller]
fn frame_error(bytes: &[u8]) -> FrameError {
    match answer(bytes).expect("an answer") {
        Err(StreamFault::Frame(error)) => error,
        other => panic!("expected a malformed frame, got {other:?}"),
    }
}

#[test]
fn responses_that_are_no_frames_are_refused() {
    if !require_kvm() {
        return;
    }
    let good = header(ResponseKind::Ok, 0, 0);
    assert_eq!(answer(&good), Some(Ok(0)));
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        frame_error(&bytes)
    };
    assert!(matches!(changed(0, b'x'), FrameError::Magic(_)));
    assert!(matches!(changed(4, 9), FrameError::Version(9)));
    assert!(matches!(changed(6, 77), FrameError::Kind(77)));
    let check = frame_error;
    assert_eq!(
        check(&header(RequestKind::Event, 0, 0)),
        FrameError::Direction
    );
    let head_bytes = HEAD_BYTES_MAX + 1;
    let too_large = FrameError::HeadTooLarge(head_bytes);
    assert_eq!(check(&header(ResponseKind::Ok, head_bytes, 0)), too_large);
    let body_bytes = BODY_BYTES_MAX + 1;
    let too_large = FrameError::BodyTooLarge(body_bytes);
    assert_eq!(check(&header(ResponseKind::Ok, 0, body_bytes)), too_large);
    assert_eq!(
        check(&header(ResponseKind::Ok, u32::MAX, u32::MAX)),
        FrameError::HeadTooLarge(u32::MAX)
    );
    let with_head = |head: &[u8]| {
        let len = u32::try_from(head.len()).expect("short");
        check(&[&header(ResponseKind::Http, len, 0), head].concat())
    };
    with_head(&[9, 0, 1]);
    with_head(&[9, 0, 200, 0, 1]);
    with_head(&[9, 0, 1, 0, 1]);
    with_head(&[7, 0, 1, 0, b'x']);
    with_head(&[7, 0, 1, 0, 0xff, 8, 0, 0, 0]);
}

/// A snapshot of such a guest would have every instance take the reply for its own.
#[test]
fn what_is_sent_before_the_guest_is_ready_ends_it() {
    if !require_kvm() {
        return;
    }
    for wait in [Wait::Received, Wait::Event, Wait::Poll] {
        let script = Script::connected().payload(b"a call, say").wait(wait);
        script.breaks("`init` may not call");
    }
    let script = Script::connected().payload(b"a call, say").ready();
    script.breaks("`init` may not call");
}

#[test]
fn responses_that_do_not_end_where_they_say_are_told_apart() {
    if !require_kvm() {
        return;
    }
    let short = [header(ResponseKind::Ok, 0, 100), b"short".to_vec()].concat();
    let script = Script::asked().reply(&short);
    // More than announced: it would answer the next request.
    let long = [header(ResponseKind::Ok, 0, 4), b"good, and more".to_vec()].concat();
    assert_eq!(answer(&long), Some(Err(StreamFault::Surplus(10))));
    // Less than announced, and then the end.
    script.survives();
    // Less than announced, and then idle: known at once, whatever the deadline.
    let mut vm = script.clone().wait(Wait::Idle).start(TIMEOUT_AMPLE);
    let error = vm.invoke(&event("ask")).expect_err("no response");
    let fault = StreamFault::Incomplete { sent_bytes: 29 };
    assert!(
        matches!(error, VmError::Stream(found) if found == fault),
        "{error:?}"
    );
    assert_eq!(vm.finish().0.end, VmEnd::Finished);
    // Less than announced, and then still busy: the deadline.
    script.code(&[0xeb, 0xfe]).times_out();
}
