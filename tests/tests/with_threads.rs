//! Functions that begin threads: they take turns, wait for each other, for time and for the host, and end; what outlives a
//! request; deadlocks, stacks that overflow, memory that runs out; and crates that live on threads.

mod common;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use common::{Folder, Guest, Restored};
use jiffy_abi::frame::Tag;
use jiffy_client::{
    CallContext, CallFuture, Calls, Instance, NewSnapshot, Spawner, SpawnerOptions, create_snapshot,
};
use jiffy_console::Exit;
use jiffy_control::{Call, GuestFault, Reply, Request, VmEnd};
use jiffy_snapshots::Snapshot;
use jiffy_tests::{
    image, require_kvm,
    vm::{Ending, TIMEOUT_AMPLE, Vm, event},
    vmm_path,
};
use jiffy_vmm::run::Isolation;

fn snapshot() -> Folder {
    Guest::of("with-threads").snapshot()
}

#[track_caller]
fn ask(vm: &mut Restored, deed: &str) -> String {
    String::from_utf8(vm.ask(deed.as_bytes())).expect("text")
}

fn ending(deed: &str) -> Ending {
    Vm::start(&image("with-threads"), None, TIMEOUT_AMPLE).ending(&event(deed))
}

/// What a deed answers, in every request.
const ANSWERS: [(&str, &str); 26] = [
    ("joined 10", "10 445 40"),
    ("scoped", "[13, 2, 1] 1"),
    (
        "locals",
        "a thread-local of first, a thread-local of second",
    ),
    ("ping-pong 200", "200 Err(RecvError)"),
    ("queue 50", "2450"),
    ("readers", "1 3"),
    ("barrier", "4 1"),
    ("once", "1"),
    ("park", "true"),
    ("in-time", "Ok(1) Err(Disconnected) true true true"),
    ("spinner", "over"),
    ("many 100", "100 1"),
    ("deep", "1000"),
    ("stacks", "true true"),
    ("rayon", "333283335000 true 1 2 1"),
    ("rayon", "333283335000 true 1 2 1"),
    ("tokio", "10 true 1 2 early true"),
    ("tokio-blocking", "Some(\"tokio-rt-worker\")"),
    ("crossbeam", "190"),
    ("parking-lot", "13 true"),
    (
        "c-locks",
        "[16, 110, 0, 110, 0, 0, 0, 16, 0, -1, 0, 0, 16, 0, 0, 1] 2",
    ),
    ("rounding", "true [true, true] true"),
    ("c-threads", "[0, 0, 0, 9, 3, 0, 0, 22, 3, 1, 0, 3] 14"),
    ("joined 3", "3 123 40"),
    ("one-after-the-other 1000", "done"),
    ("nothing", "no deed \"nothing\""),
];

/// All in one VM after the other: fresh ones, and one that keeps what the requests before left.
#[test]
fn threads_take_turns() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    for isolation in [Isolation::Fresh, Isolation::Reuse] {
        let mut vm = snapshot.restore(isolation);
        for (deed, answer) in ANSWERS {
            assert_eq!(ask(&mut vm, deed), answer, "{deed} in {isolation:?}");
        }
    }
}

#[test]
fn two_that_sleep_at_once_sleep_as_long_as_one() {
    if !require_kvm() {
        return;
    }
    let mut vm = snapshot().restore(Isolation::Fresh);
    let slept_ms = ask(&mut vm, "sleepers");
    let slept_ms: u64 = slept_ms.parse().expect("a number");
    assert!(slept_ms >= 50, "{slept_ms}");
    // One wait for both, and the request's end.
    assert_eq!(vm.vm.stats().last_request_exits.total(), 2);
}

/// Whatever a request did with threads, nothing of it is left; and in `reuse` what ended gives its memory back.
#[test]
fn what_threads_had_is_given_back() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    let mut vm = snapshot.restore(Isolation::Fresh);
    let fresh = vm.state();
    let opened = snapshot.open();
    for deed in [
        "joined 10",
        "locals",
        "leave-behind",
        "of-init 3",
        "tokio",
        "rayon",
    ] {
        ask(&mut vm, deed);
        let changed = vm.pages_unlike(|page| common::file_page(&opened, page));
        assert!(changed.is_empty(), "{deed}: pages {changed:?}");
        assert_eq!(vm.state(), fresh, "{deed}");
    }
    let mut vm = snapshot.restore(Isolation::Reuse);
    // As many as there are buffers that a request arrives in.
    for _ in 0..16 {
        ask(&mut vm, "one-after-the-other 10");
    }
    let pages = |vm: &Restored| vm.pages_unlike(|page| common::file_page(&opened, page));
    let before = pages(&vm);
    ask(&mut vm, "one-after-the-other 1000");
    assert_eq!(pages(&vm), before);
}

/// A thread that `init` began is in the snapshot, waits there, and goes on when a request waits for it.
#[test]
fn a_thread_of_init_goes_on_in_requests() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    let mut vm = snapshot.restore(Isolation::Fresh);
    for _ in 0..3 {
        assert_eq!(ask(&mut vm, "of-init 3"), "3");
    }
    let mut vm = snapshot.restore(Isolation::Reuse);
    assert_eq!(ask(&mut vm, "of-init 3"), "3");
    assert_eq!(ask(&mut vm, "of-init 4"), "7");
    // It printed before the snapshot was taken.
    assert!(vm.logs().is_empty());
}

/// One that is left behind stands still between requests, and goes on when one waits; in `fresh` it is gone.
#[test]
fn a_thread_that_outlives_its_request_goes_on_in_waits_alone() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    let mut vm = snapshot.restore(Isolation::Fresh);
    assert_eq!(ask(&mut vm, "leave-behind"), "0 true");
    assert_eq!(ask(&mut vm, "counted"), "0");
    let mut vm = snapshot.restore(Isolation::Reuse);
    assert_eq!(ask(&mut vm, "leave-behind"), "0 true");
    let counted = ask(&mut vm, "counted");
    thread::sleep(Duration::from_millis(20));
    assert_eq!(ask(&mut vm, "counted"), counted);
    ask(&mut vm, "sleepers");
    assert_ne!(ask(&mut vm, "counted"), counted);
}

#[test]
fn no_two_threads_have_the_same_hash_keys() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    let mut keys = HashSet::new();
    for _ in 0..2 {
        let mut vm = snapshot.restore(Isolation::Fresh);
        for _ in 0..10 {
            let told = ask(&mut vm, "keys");
            for key in told.split(' ') {
                assert!(keys.insert(key.to_owned()), "drawn twice: {told}");
            }
        }
    }
}

#[test]
fn endings_name_the_thread() {
    if !require_kvm() {
        return;
    }
    for (deed, parts) in [
        ("panic", &["thread 'worker 1' panicked: a thread has 3"][..]),
        (
            "deadlock",
            &[
                "deadlock: no thread can go on; 'main' waits for the end of 'one'",
                "; 'of init' waits for a lock, a condition, a channel",
                "; 'one' waits for a lock",
                "; 'other' waits for a lock",
            ],
        ),
        (
            "never",
            &["deadlock: no thread can go on; 'main' waits for"],
        ),
        (
            "overflow",
            &["stack overflow: thread 'deep' used more than the 128 KiB"],
        ),
        (
            "boxes",
            &["stack overflow: thread 'boxes' used more than the 128 KiB"],
        ),
    ] {
        let ending = ending(deed);
        let GuestFault::Panic { message, file, .. } = ending.fault() else {
            panic!("{deed}: {ending:?}");
        };
        for part in parts {
            assert!(message.contains(part), "{deed}: {message}");
        }
        assert_eq!(ending.report.end.outcome().exit(), Exit::Panic);
        if deed == "panic" {
            assert!(file.ends_with("src/endings.rs"), "{file}");
        }
    }
    let endless = ending("endless");
    assert!(
        matches!(
            endless.fault(),
            GuestFault::Exception {
                stack_overflow: Some(0),
                ..
            }
        ),
        "{endless:?}"
    );
}

/// Tells a guest what it asks for, once as many have asked as its event says: `calls 12`.
#[derive(Debug, Default)]
struct Host {
    /// How many calls each request has made.
    made: Arc<Mutex<HashMap<String, usize>>>,
    waiting: Arc<Mutex<Vec<Waker>>>,
}

impl Calls for Host {
    fn name(&self, call: &Call) -> String {
        format!("host.{}", call.operation)
    }

    fn call(&self, _call: Call, context: &CallContext<'_>) -> CallFuture {
        let id = context.request.request_id.clone();
        let fields = [
            (Tag::Release, "1"),
            (Tag::FunctionName, "with-threads"),
            (Tag::FunctionVersion, "1"),
            (Tag::RequestId, &id),
        ];
        let reply = fields.iter().fold(Reply::ok(vec![]), |reply, (tag, text)| {
            reply.field(*tag, text.as_bytes()).expect("a short field")
        });
        let event = String::from_utf8_lossy(&context.request.body);
        let count = event.strip_prefix("calls ");
        let count: usize = count.map_or(1, |count| count.parse().expect("a number"));
        let (made, waiting) = (Arc::clone(&self.made), Arc::clone(&self.waiting));
        *made
            .lock()
            .expect("not poisoned")
            .entry(id.clone())
            .or_default() += 1;
        Box::pin(std::future::poll_fn(move |context| {
            let mut waiting = waiting.lock().expect("not poisoned");
            if made.lock().expect("not poisoned")[&id] < count {
                waiting.push(context.waker().clone());
                return Poll::Pending;
            }
            for waker in waiting.drain(..) {
                waker.wake();
            }
            Poll::Ready(reply.clone())
        }))
    }
}

/// Calls of several threads are under way at once, each gets its own answer, and none takes that of another request.
#[test]
fn threads_call_their_host_side_by_side() {
    if !require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let new = NewSnapshot {
        vmm: vmm_path(),
        spawner: SpawnerOptions::default(),
        image: image("with-threads"),
        ram_bytes: None,
        environment: vec![],
        timeout: Some(TIMEOUT_AMPLE),
        output: folder.path().join("with-threads.snap"),
    };
    create_snapshot(&new, |_| {}).expect("a snapshot");
    let spawner = Spawner::start(&vmm_path(), &SpawnerOptions::default()).expect("a spawner");
    let snapshot = Snapshot::open(&new.output).expect("a snapshot");
    for isolation in [
        jiffy_control::Isolation::Fresh,
        jiffy_control::Isolation::Reuse,
    ] {
        let limit = Some(TIMEOUT_AMPLE);
        let vm = Instance::restore(&spawner, &snapshot, isolation, limit, &[], |_| {});
        let mut vm = vm.expect("an instance");
        vm.serve_calls(Arc::new(Host::default()));
        let mut ask = |number: u32, deed: &str| {
            let request = Request {
                request_id: format!("request-{number}"),
                body: deed.into(),
                ..Request::default()
            };
            let response = vm.invoke(&request).expect("a response");
            vm.settle().expect("nothing is left");
            String::from_utf8(response.body).expect("text")
        };
        for number in 0..5 {
            // None is answered before all are there.
            assert_eq!(ask(number, "calls 12"), "12 true");
            assert_eq!(ask(number, "tokio-calls"), "true true");
            assert_eq!(ask(number, "future"), "Ok(7) Ok(8) true Ok(())");
        }
        assert_eq!(ask(10, "late-call"), "started");
        let late = match isolation {
            jiffy_control::Isolation::Fresh => "started",
            jiffy_control::Isolation::Reuse => {
                // It goes on in this one's wait, which makes calls of its own.
                assert_eq!(ask(11, "calls 3"), "3 true");
                "Invalid Maybe: the request in which this call was made has its answer: wait for its result before"
            }
        };
        assert_eq!(ask(12, "late-call"), late);
        assert_eq!(vm.finish().expect("an end").end, VmEnd::Finished);
    }
}
