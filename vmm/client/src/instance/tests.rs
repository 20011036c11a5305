mod fake;

use std::{io::Write, os::fd::AsFd, sync::mpsc::channel};

use jiffy_abi::{
    frame::{HEADER_BYTES, RequestHeader, ResponseHeader, ResponseKind},
    log_ring::Level,
};
use jiffy_control::{Blame, Death, Event, ProcessUsage, VmEnd};
use rustix::net::{SendFlags, send};

use super::*;
use fake::{Fake, failed, finished, ready};

#[test]
fn a_life_with_one_response() {
    let script = |mut fake: Fake| {
        fake.send(&Event::Waiting {
            missing: vec![],
            cpu_ns: 0,
        });
        fake.send(&ready());
        let request = fake.take(HEADER_BYTES); // The header of an empty request.
        fake.send(&Event::Log(vec![LogRecord::new(Level::Info, "hi")]));
        fake.stream.write_all(&ok(&request, b"ok")).expect("write");
        fake.send(&done(1, 26));
        fake.wait_closed();
        fake.send(&finished());
        fake.send(&Event::Died(Death::Exited(0), ProcessUsage::default()));
    };
    let (sender, logs) = channel();
    let mut instance = Fake::instance_with(script, move |log| sender.send(log).expect("send"));
    assert_eq!(instance.wait_ready().expect("ready").init_ns, 5);
    let response = instance.invoke(&Request::default()).expect("response");
    assert_eq!(response.body, b"ok");
    let report = instance.finish().expect("report");
    assert_eq!(report.end, VmEnd::Finished);
    let texts: Vec<_> = logs.iter().map(|log| log.text).collect();
    assert_eq!(texts, ["hi"]);
}

#[test]
fn each_untimely_end_is_named() {
    let invoke = |events: &[Event]| {
        let events = events.to_vec();
        let script = move |fake: Fake| events.iter().for_each(|event| fake.send(event));
        Fake::instance(script)
            .invoke(&Request::default())
            .expect_err("no response")
    };
    let died = || Event::Died(Death::Exited(3), ProcessUsage::default());
    let error = invoke(&[died()]);
    assert!(matches!(error, VmError::Died(Death::Exited(3))));
    let error = invoke(&[ready(), died()]);
    assert!(matches!(error, VmError::Died(Death::Exited(3))));
    // Not even the spawner is there to say how.
    let error = invoke(&[ready()]);
    assert!(matches!(error, VmError::Gone), "{error:?}");
    let error = invoke(&[ready(), finished(), died()]);
    assert!(matches!(error, VmError::Stopped(_)), "{error:?}");
    let error = invoke(&[failed()]);
    assert!(matches!(&error, VmError::Failed { blame: Blame::Host, message } if message == "no"));
    let error = invoke(&[ready(), failed()]);
    assert!(matches!(error, VmError::Failed { .. }), "{error:?}");
    let error = invoke(&[ready(), ready()]);
    assert!(matches!(error, VmError::Malformed(_)), "{error:?}");
}

#[test]
fn what_is_no_event_or_no_response_is_named() {
    let error = Fake::instance(|fake| raw(&fake, b"x"))
        .invoke(&Request::default())
        .expect_err("no event");
    assert!(matches!(error, VmError::Malformed(_)), "{error:?}");
    let script = |mut fake: Fake| {
        fake.send(&ready());
        fake.take(HEADER_BYTES); // Or the request may find nobody.
        fake.stream
            .write_all(b"HTTP/1.1 200 OK, as one says")
            .expect("write");
    };
    let error = Fake::instance(script)
        .invoke(&Request::default())
        .expect_err("no response");
    assert!(matches!(error, VmError::Stream(_)), "{error:?}");
}

#[test]
fn a_vmm_of_another_release_is_named() {
    let error = Fake::instance(|fake| raw(&fake, &[1, 0, 0, 0]))
        .wait_ready()
        .expect_err("another version");
    assert!(matches!(error, VmError::OtherRelease(_)), "{error:?}");
    let text = jiffy_control::error_chain(&error);
    assert!(text.contains("install jiffy and jiffy-vmm"), "{text}");
}

#[test]
fn a_working_set_comes_at_any_time_and_once() {
    const WAIT: Duration = Duration::from_secs(60);
    let runs = || Event::WorkingSet(vec![(1, 2), (5, 1)]);
    for events in [[runs(), ready()], [ready(), runs()]] {
        let mut instance = Fake::instance(move |mut fake| {
            events.iter().for_each(|event| fake.send(event));
            fake.wait_closed();
            fake.send(&finished());
        });
        instance.wait_ready().expect("ready");
        assert_eq!(instance.working_set(WAIT), Some(vec![(1, 2), (5, 1)]));
        assert_eq!(instance.working_set(Duration::ZERO), None);
        assert_eq!(instance.finish().expect("report").end, VmEnd::Finished);
    }
    // A VMM that ends without one is not waited for.
    let mut instance = Fake::instance(|fake| fake.send(&ready()));
    instance.wait_ready().expect("ready");
    assert_eq!(instance.working_set(WAIT), None);
}

#[test]
fn a_missing_vmm_is_named() {
    let image = tempfile::NamedTempFile::new().expect("temporary file");
    let launch = Launch {
        vmm: "/nonexistent/vmm".into(),
        spawner: crate::SpawnerOptions::default(),
        source: Source::Image {
            path: image.path().into(),
            ram_bytes: None,
        },
        timeout: None,
        devices: vec![],
    };
    let error = Instance::spawn(&launch, |_| {})
        .expect_err("no such file")
        .to_string();
    assert!(error.contains("/nonexistent/vmm"), "{error}");
}

/// The response to an empty request.
fn ok(request: &[u8], body: &[u8]) -> Vec<u8> {
    let request = RequestHeader::from_bytes(request.first_chunk().expect("a header"));
    let nonce = request.expect("a header").nonce;
    let header = ResponseHeader::new(ResponseKind::Ok, nonce, 0, body.len()).expect("small");
    [&header.to_bytes()[..], body].concat()
}

/// This many empty requests are done, and this was sent for them.
fn done(requests_done: u64, bytes_out: u64) -> Event {
    Event::Done(Stats {
        requests_done,
        bytes_in: requests_done * HEADER_BYTES as u64,
        bytes_out,
        ..Stats::default()
    })
}

#[test]
fn a_vm_is_asked_again_only_if_nothing_is_left_in_its_stream() {
    let script = |requests: u64, surplus: &'static [u8]| {
        move |mut fake: Fake| {
            fake.send(&ready());
            for number in 1..=requests {
                let request = fake.take(HEADER_BYTES);
                fake.stream.write_all(&ok(&request, b"ok")).expect("write");
                fake.stream.write_all(surplus).expect("write");
                fake.send(&done(number, number * (26 + surplus.len() as u64)));
            }
            fake.wait_closed();
            fake.send(&finished());
        }
    };
    let ask = |instance: &mut Instance| instance.invoke(&Request::default());
    let mut good = Fake::instance(script(2, b""));
    ask(&mut good).expect("the first");
    ask(&mut good).expect("the second");
    good.finish().expect("a report");
    let mut bad = Fake::instance(script(1, b"more"));
    // It is found at once if it comes with the response, and else when the VM is done.
    let first = ask(&mut bad).map(|_| ());
    let found = first.and_then(|()| bad.settle()).expect_err("a surplus");
    assert!(
        matches!(found, VmError::Stream(StreamFault::Surplus(4))),
        "{found:?}"
    );
    assert!(matches!(ask(&mut bad), Err(VmError::Stream(_))));
    bad.finish().expect("the report of a VM that is well");
}

#[test]
fn half_of_a_response_fails_when_the_vm_is_done_and_not_at_the_deadline() {
    let script = |mut fake: Fake| {
        fake.send(&ready());
        let request = fake.take(HEADER_BYTES);
        fake.stream
            .write_all(&ok(&request, b"ok")[..25])
            .expect("write");
        fake.send(&done(1, 25));
        fake.wait_closed();
        fake.send(&finished());
    };
    let mut instance = Fake::instance_of(script, None, |_| {});
    let error = instance
        .invoke(&Request::default())
        .expect_err("half of it");
    let fault = StreamFault::Incomplete { sent_bytes: 25 };
    assert!(
        matches!(error, VmError::Stream(found) if found == fault),
        "{error:?}"
    );
    instance.finish().expect("a report");
}

/// Neither a request nor a log that is larger than a socket's buffer makes one side wait for the other: the VMM tells its log
/// first, takes the request piece by piece, and answers with as much.
#[test]
fn what_does_not_fit_a_socket_goes_over_piece_by_piece_while_the_log_is_heard() {
    const BODY_BYTES: usize = 4 << 20;
    let record = || LogRecord::new(Level::Info, "x".repeat(1000));
    let script = move |mut fake: Fake| {
        fake.send(&ready());
        // The owner writes by now, and there is no room for all of it.
        let request = fake.take(HEADER_BYTES);
        for _ in 0..20 {
            fake.send(&Event::Log(vec![record(); 50]));
        }
        let body = fake.take(BODY_BYTES);
        fake.stream.write_all(&ok(&request, &body)).expect("write");
        fake.send(&Event::Done(Stats {
            requests_done: 1,
            bytes_in: (HEADER_BYTES + BODY_BYTES) as u64,
            bytes_out: (HEADER_BYTES + BODY_BYTES) as u64,
            ..Stats::default()
        }));
        fake.wait_closed();
        fake.send(&finished());
    };
    let (sender, logs) = channel();
    let timeout = Some(Duration::from_secs(60));
    let mut instance =
        Fake::instance_of(script, timeout, move |log| sender.send(log).expect("send"));
    let request = Request {
        body: (0..=250).cycle().take(BODY_BYTES).collect(),
        ..Request::default()
    };
    let response = instance.invoke(&request).expect("response");
    assert!(response.body == request.body);
    instance.finish().expect("a report");
    assert_eq!(logs.iter().count(), 1000);
}

/// A VMM that says nothing is given up when its own deadline is over and the grace with it.
#[test]
fn a_vmm_that_is_silent_is_given_up() {
    let began = std::time::Instant::now();
    let (end, ended) = channel::<()>();
    let mut instance = Fake::instance(move |_fake| {
        let _ = ended.recv();
    });
    let error = instance.wait_ready().expect_err("silence");
    drop(end);
    let limit = Duration::from_millis(100) + GRACE;
    assert!(
        matches!(error, VmError::Unresponsive(told) if told == limit),
        "{error:?}"
    );
    assert!(began.elapsed() >= limit);
}

fn raw(fake: &Fake, packet: &[u8]) {
    send(fake.control.as_fd(), packet, SendFlags::empty()).expect("send");
}
