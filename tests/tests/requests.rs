//! Requests and responses through real VMs: every size, many of them, and all that goes with them.

use std::collections::BTreeSet;

use jiffy_abi::{
    frame::{BODY_BYTES_MAX, FrameError, HEADER_BYTES, ResponseKind},
    log_ring::Level,
    vsock::PACKET_BYTES_MAX,
};
use jiffy_client::VmError;
use jiffy_control::{HttpRequest, Request, VmEnd};
use jiffy_tests::{
    image, is_slow_host, require_kvm,
    script::next_random,
    vm::{TIMEOUT_AMPLE, Vm, event},
};

/// Bytes that no two sizes or seeds share.
fn random_bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ len as u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = next_random(state);
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Sends bodies of these sizes through one VM of `echo` and compares every byte.
#[track_caller]
fn echo(sizes: impl IntoIterator<Item = usize>) {
    let mut vm = Vm::start(&image("echo"), Some(64), TIMEOUT_AMPLE);
    for (seed, size) in (1..).zip(sizes) {
        let sent = random_bytes(size, seed);
        let got = vm.ask(sent.clone());
        assert_eq!(got.kind, ResponseKind::Ok, "{size} bytes");
        // Not `assert_eq!`: nobody wants to see 16 MiB.
        assert!(got.body == sent, "{size} bytes came back changed");
    }
    assert_eq!(vm.finish().0.end, VmEnd::Finished);
}

#[test]
fn small_bodies_come_back() {
    if !require_kvm() {
        return;
    }
    echo((0..64).chain([100, 511, 512, 513, 1000, 4095, 4096, 4097]));
}

#[test]
fn bodies_around_the_borders_of_packets_and_buffers_come_back() {
    if !require_kvm() {
        return;
    }
    let packet = PACKET_BYTES_MAX as usize;
    let around = |size: usize, by: usize| size - by..=size + by;
    let staging = 1900..2300; // The first packet of a response is put together in one page.
    let one_packet = around(packet - 44 - HEADER_BYTES, 2).chain(around(packet - 44, 2));
    let packets = around(packet, 2).chain(around(2 * packet, 50).step_by(7));
    let all_buffers = around(16 * (packet - 44), 20).step_by(4);
    echo(
        staging
            .step_by(3)
            .chain(one_packet)
            .chain(packets)
            .chain(all_buffers),
    );
}

#[test]
fn large_bodies_come_back() {
    if !require_kvm() {
        return;
    }
    let (mib, max) = (1 << 20, BODY_BYTES_MAX as usize);
    let sizes = [
        mib - 1,
        mib,
        mib + 1,
        0,
        max,
        1,
        3 * mib + 17,
        max - 1,
        max - 4096,
        max,
    ];
    let count = if is_slow_host() { 6 } else { sizes.len() };
    echo(sizes.into_iter().take(count));
}

#[test]
fn random_sizes_come_back() {
    if !require_kvm() {
        return;
    }
    let mut state = 7;
    let sizes = (0..120).map(|_| {
        state = next_random(state);
        // As likely below a kilobyte as above a megabyte.
        usize::try_from((state >> 32) % (1 << (10 + state % 12))).expect("small")
    });
    echo(sizes.collect::<Vec<_>>());
}

#[test]
fn a_body_beyond_the_limit_is_refused_and_the_next_one_is_not() {
    if !require_kvm() {
        return;
    }
    let mut vm = Vm::start(&image("echo"), Some(64), TIMEOUT_AMPLE);
    let too_large = BODY_BYTES_MAX + 1;
    let error = vm
        .invoke(&event(vec![1; too_large as usize]))
        .expect_err("too large");
    let refused = matches!(
        error,
        VmError::Request(FrameError::BodyTooLarge(bytes)) if bytes == too_large
    );
    assert!(refused, "{error:?}");
    assert_eq!(vm.ask("still there").body, b"still there");
    assert_eq!(vm.finish().0.end, VmEnd::Finished);
}

/// The largest body does not fit the smallest VM: a typed end, and no other.
#[test]
fn a_body_that_does_not_fit_memory_is_out_of_memory() {
    if !require_kvm() {
        return;
    }
    let vm = Vm::start(&image("echo"), Some(8), TIMEOUT_AMPLE);
    let ending = vm.ending(&event(vec![1; BODY_BYTES_MAX as usize]));
    let fault = ending.fault();
    let out_of_memory = matches!(
        fault,
        jiffy_control::GuestFault::OutOfMemory { requested_bytes, ram_bytes: 0x80_0000, .. }
            if *requested_bytes > 0
    );
    assert!(out_of_memory, "{fault:?}");
}

#[test]
fn ten_thousand_requests_through_one_vm() {
    if !require_kvm() {
        return;
    }
    let requests = if is_slow_host() { 1_000 } else { 10_000 };
    let mut vm = Vm::start(&image("echo"), None, TIMEOUT_AMPLE);
    let mut bytes = 0;
    for seed in 0..requests {
        let size = usize::try_from(next_random(seed) % 3000).expect("small");
        let sent = random_bytes(size, seed);
        assert!(
            vm.ask(sent.clone()).body == sent,
            "request {seed} of {size} bytes"
        );
        bytes += (HEADER_BYTES + size) as u64;
    }
    let stats = vm.finish().0.stats;
    assert_eq!(stats.requests, requests);
    assert_eq!((stats.bytes_in, stats.bytes_out), (bytes, bytes));
    // One exit each, and nothing that grows with their number: the start has its own few.
    assert!(stats.exits.total() < requests + 100, "{:?}", stats.exits);
}

#[test]
fn a_small_request_costs_one_exit() {
    if !require_kvm() {
        return;
    }
    for (name, body) in [
        ("echo", "a small request"),
        ("hello", r#"{"name":"Ada"}"#),
        ("probe", r#""context""#),
    ] {
        let mut vm = Vm::start(&image(name), None, TIMEOUT_AMPLE);
        for _ in 0..5 {
            vm.ask(body);
        }
        let stats = vm.finish().0.stats;
        assert_eq!(stats.last_request_exits.total(), 1, "{name}: {stats:?}");
        assert_eq!(stats.last_request_exits.wait, 1, "{name}: {stats:?}");
    }
}

#[test]
fn a_hundred_mib_are_allocated_and_freed_again_and_again() {
    if !require_kvm() {
        return;
    }
    let mut vm = Vm::start(&image("faults"), Some(128), TIMEOUT_AMPLE);
    for _ in 0..3 {
        let answer = vm.ask(r#"{"kind":"allocate"}"#);
        assert_eq!(answer.body, br#"{"allocated-bytes":104857600}"#);
    }
    assert_eq!(vm.finish().0.end, VmEnd::Finished);
}

#[test]
fn http_goes_through_whole() {
    if !require_kvm() {
        return;
    }
    let headers: Vec<(String, Vec<u8>)> = vec![
        ("x-one".into(), b"1".to_vec()),
        ("X-Two".into(), "größer".into()),
        ("x-one".into(), b"again".to_vec()),
        ("x-long".into(), vec![b'v'; 20_000]),
    ];
    let request = |method: &str, target: &str, body: Vec<u8>| Request {
        http: Some(HttpRequest {
            method: method.into(),
            target: target.into(),
            headers: headers.clone(),
        }),
        body,
        ..Request::default()
    };
    let mut vm = Vm::start(&image("http"), None, TIMEOUT_AMPLE);
    for (method, target, body) in [
        ("GET", "/", vec![]),
        ("POST", "/a/b?c=d&e=%20", random_bytes(100_000, 1)),
        ("BREW", "/pot", b"coffee".to_vec()),
    ] {
        let answer = vm
            .invoke(&request(method, target, body.clone()))
            .expect("an answer");
        assert_eq!((answer.kind, answer.status), (ResponseKind::Http, 201));
        assert!(answer.body == body);
        let values = |wanted: &str| {
            let headers = answer.headers.iter();
            let same = headers.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            same.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        assert_eq!(values("x-method"), [method.as_bytes()]);
        assert_eq!(values("x-target"), [target.as_bytes()]);
        assert_eq!(values("x-one"), [b"1".to_vec(), b"again".to_vec()]);
        assert_eq!(values("x-two"), ["größer".as_bytes()]);
        assert_eq!(values("x-long"), [vec![b'v'; 20_000]]);
    }
    // An event reaches such a handler as a POST of its body.
    let answer = vm.ask("an event");
    assert_eq!((answer.kind, answer.status), (ResponseKind::Http, 201));
    assert_eq!(answer.body, b"an event");
    assert_eq!(vm.finish().0.end, VmEnd::Finished);
}

#[test]
fn the_context_arrives() {
    if !require_kvm() {
        return;
    }
    let mut vm = Vm::start(&image("probe"), None, TIMEOUT_AMPLE);
    let request = Request {
        request_id: "r-42".into(),
        function_name: "größer".into(),
        function_version: "7".into(),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        ..event(r#""context""#)
    };
    let answer = vm.invoke(&request).expect("an answer").body;
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
    let context = &answer["context"];
    assert_eq!(context["id"], "r-42");
    assert_eq!(context["name"], "größer");
    assert_eq!(context["version"], "7");
    assert_eq!(
        context["traceparent"],
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    );
    let remaining_ms = u128::from(context["remaining_ms"].as_u64().expect("a deadline"));
    assert!(
        (1..=TIMEOUT_AMPLE.as_millis()).contains(&remaining_ms),
        "{remaining_ms}"
    );
    // What was not sent is not there.
    let answer = vm.ask(r#""context""#).body;
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(answer["context"]["id"], "");
    assert_eq!(answer["context"]["traceparent"], serde_json::Value::Null);
}

#[test]
fn what_init_left_is_kept_between_requests() {
    if !require_kvm() {
        return;
    }
    let mut vm = Vm::start(&image("probe"), None, TIMEOUT_AMPLE);
    for number in 1..=3 {
        let answer = vm.ask(r#""request""#).body;
        assert_eq!(
            answer,
            format!(r#"{{"request":[{number},1]}}"#).into_bytes()
        );
    }
}

#[test]
fn log_lines_arrive_in_order_and_complete() {
    if !require_kvm() {
        return;
    }
    const LINES: usize = 10_000;
    let mut vm = Vm::start(&image("probe"), None, TIMEOUT_AMPLE);
    let answer = vm.ask(format!(r#"{{"log":{LINES}}}"#)).body;
    assert_eq!(answer, format!(r#"{{"logged":{LINES}}}"#).into_bytes());
    let (report, log) = vm.finish();
    assert!(report.stats.log_lost.is_none());
    let mut expected = vec![(Level::Info, "init".to_owned())];
    expected.extend((0..LINES).map(|line| (Level::Info, format!("line {line}"))));
    expected.push((Level::Error, "an error".into()));
    expected.push((Level::Warn, "größer".into()));
    expected.push((Level::Info, format!("{:>40}", "wide")));
    let got: Vec<_> = log
        .into_iter()
        .map(|record| (record.level(), record.text))
        .collect();
    assert!(
        got == expected,
        "{} records, {:?}",
        got.len(),
        got.iter().zip(&expected).find(|(a, b)| a != b)
    );
}

#[test]
fn a_flood_of_log_is_cut_and_counted() {
    if !require_kvm() {
        return;
    }
    let mut vm = Vm::start(&image("faults"), None, TIMEOUT_AMPLE);
    let answer = vm.ask(r#"{"kind":"log-flood"}"#).body;
    assert_eq!(answer, br#"{"logged-lines":20000}"#);
    let (report, mut log) = vm.finish();
    let lost = report.stats.log_lost;
    let notice = log.pop().expect("a notice").text;
    let expected = format!("{} log records (", lost.records);
    assert!(notice.starts_with(&expected), "{notice}");
    assert_eq!(log.len() as u64 + lost.records, 20_000);
    let arrived: usize = log.iter().map(|record| record.text.len()).sum();
    let dropped = lost.bytes;
    let sent: usize = (0..20_000)
        .map(|line| format!("line {line} of a flood that goes on and on until somebody says stop"))
        .map(|line| line.len())
        .sum();
    assert_eq!(arrived as u64 + dropped, sent as u64);
    assert!(
        dropped > 0 && arrived > 1 << 19,
        "{arrived} arrived, {dropped} dropped"
    );
    // What arrived is the beginning, without a gap.
    let first = |text: &str| {
        text.split(' ')
            .nth(1)
            .and_then(|number| number.parse().ok())
    };
    let numbers: Vec<Option<usize>> = log.iter().map(|record| first(&record.text)).collect();
    assert!(
        numbers
            .iter()
            .zip(0..)
            .all(|(got, expected)| *got == Some(expected))
    );
}

#[test]
fn no_two_vms_and_no_two_requests_draw_the_same() {
    if !require_kvm() {
        return;
    }
    let mut drawn = BTreeSet::new();
    for _ in 0..3 {
        let mut vm = Vm::start(&image("faults"), None, TIMEOUT_AMPLE);
        for _ in 0..10 {
            let answer = vm.ask(r#"{"kind":"random"}"#).body;
            let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
            let numbers = answer["random"].as_array().expect("two numbers").clone();
            drawn.extend(
                numbers
                    .iter()
                    .map(|number| number.as_u64().expect("a number")),
            );
        }
    }
    assert_eq!(drawn.len(), 3 * 10 * 2);
}

#[test]
fn time_stands_still_while_a_function_computes_and_moves_between_requests() {
    if !require_kvm() {
        return;
    }
    let mut vm = Vm::start(&image("faults"), None, TIMEOUT_AMPLE);
    let mut clock = || {
        let answer = vm.ask(r#"{"kind":"clock"}"#).body;
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
        let before_and_after = answer["clock-ns"].as_array().expect("two times").clone();
        assert_eq!(before_and_after[0], before_and_after[1]);
        before_and_after[0].as_u64().expect("a time")
    };
    let first = clock();
    assert!(clock() > first);
}
