//! Calls of guests, end to end: each request gets the replies to its own, at one exit for all that go out together; what
//! is not answered in time, and what nobody waits for, ends in a typed outcome. Guests that misuse calls: `request_stream`.

mod agent_common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use agent_common::{can_run, is_long};
use jiffy_abi::{call::SERVICE_HOST, environment::write_variable, frame::Tag};
use jiffy_client::{
    CallContext, CallFuture, Calls, Instance, NewSnapshot, Spawner, SpawnerOptions, VmError,
    create_snapshot,
};
use jiffy_control::{Call, Isolation, Reply, Request, Response, VmEnd};
use jiffy_snapshots::Snapshot;
use jiffy_tests::{
    agent::Setup, image, is_slow_host, jiffy, require_kvm, vm::TIMEOUT_AMPLE, vmm_path,
};
use serde_json::json;
use tempfile::TempDir;

/// Requests of the random test, and those of the long one.
const REQUESTS: u32 = 3000;
const REQUESTS_LONG: u32 = 1_000_000;

/// A snapshot of `caller`, and what makes shells for it.
struct Caller {
    spawner: Spawner,
    snapshot: Snapshot,
    folder: TempDir,
}

impl Caller {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let new = new_snapshot(&folder, vec![]);
        create_snapshot(&new, |_| {}).expect("a snapshot");
        Self {
            spawner: Spawner::start(&vmm_path(), &SpawnerOptions::default()).expect("a spawner"),
            snapshot: Snapshot::open(&new.output).expect("a snapshot"),
            folder,
        }
    }

    fn start(&self, isolation: Isolation, timeout: Duration, calls: Arc<dyn Calls>) -> Instance {
        let (spawner, snapshot) = (&self.spawner, &self.snapshot);
        let instance = Instance::restore(spawner, snapshot, isolation, Some(timeout), &[], |_| {});
        let mut instance = instance.expect("an instance");
        instance.serve_calls(calls);
        instance
    }
}

fn new_snapshot(folder: &TempDir, environment: Vec<u8>) -> NewSnapshot {
    NewSnapshot {
        vmm: vmm_path(),
        spawner: SpawnerOptions::default(),
        image: image("caller"),
        ram_bytes: None,
        environment,
        timeout: Some(TIMEOUT_AMPLE),
        output: folder.path().join("caller.snap"),
    }
}

/// Tells a guest what it asks for, some calls at once and the others a while later from a thread of its own; counts those
/// that are there.
#[derive(Debug, Default)]
struct Host {
    alive: Arc<AtomicU32>,
    /// At most so long, microseconds; never, if that is the largest number.
    delay_us_max: u64,
}

/// A call that is there.
struct Alive(Arc<AtomicU32>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Calls for Host {
    fn name(&self, call: &Call) -> String {
        format!("host.{} {}", call.operation, call.binding)
    }

    fn call(&self, call: Call, context: &CallContext<'_>) -> CallFuture {
        assert_eq!(call.service, SERVICE_HOST);
        self.alive.fetch_add(1, SeqCst);
        let alive = Alive(Arc::clone(&self.alive));
        let request = context.request;
        let fields = [
            (Tag::Release, "1"),
            (Tag::FunctionName, "caller"),
            (Tag::FunctionVersion, &request.function_version),
            (Tag::RequestId, &request.request_id),
        ];
        let reply = fields
            .into_iter()
            .fold(Reply::ok(vec![]), |reply, (tag, text)| {
                reply.field(tag, text.as_bytes()).expect("a short field")
            });
        let delay_us = match self.delay_us_max {
            0 => 0,
            u64::MAX => u64::MAX,
            max => fastrand::u64(..max).saturating_sub(max / 2),
        };
        let mut begun = false;
        let done = Arc::new(AtomicU32::new(0));
        Box::pin(std::future::poll_fn(move |context| {
            let _alive = &alive;
            match delay_us {
                0 => return std::task::Poll::Ready(reply.clone()),
                u64::MAX => return std::task::Poll::Pending,
                _ if done.load(SeqCst) > 0 => return std::task::Poll::Ready(reply.clone()),
                _ => {}
            }
            // It is polled once with a waker that wakes nobody, and then with one that does.
            let (waker, done) = (context.waker().clone(), Arc::clone(&done));
            let rest = Duration::from_micros(if begun { delay_us } else { 0 });
            if begun {
                thread::spawn(move || {
                    thread::sleep(rest);
                    done.store(1, SeqCst);
                    waker.wake();
                });
            }
            begun = true;
            std::task::Poll::Pending
        }))
    }
}

fn request(number: u32, steps: &str) -> Request {
    Request {
        request_id: format!("request-{number}"),
        function_version: "7".into(),
        body: steps.into(),
        ..Request::default()
    }
}

/// Steps at random, and how many answers there are of them.
fn steps(random: &mut fastrand::Rng) -> (String, u32) {
    let (mut steps, mut answers) = (String::new(), 0);
    for _ in 0..random.u32(..5) {
        let number = random.u32(1..=16);
        match random.u8(..7) {
            0 | 1 => {
                steps += &format!("{number} ");
                answers += number;
            }
            5 => {
                // Together with others that nobody waits for.
                let number = number * 3;
                steps += &format!("f1 a{number} ");
                answers += number;
            }
            6 => {
                steps += &format!("w{number} ");
                answers += 1;
            }
            2 => {
                let number = number.min(5);
                steps += &format!("s{number} ");
                answers += number;
            }
            3 => steps += &format!("f{number} "),
            _ => steps += &format!("c{} ", number * 500),
        }
    }
    (steps, answers)
}

fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

/// A fresh VM for each request, and one for all; calls answered at once and later.
#[test]
fn calls_at_random_get_the_replies_of_their_own_request() {
    if !require_kvm() {
        return;
    }
    let requests = match (is_long(), is_slow_host()) {
        (true, _) => REQUESTS_LONG,
        (false, false) => REQUESTS,
        (false, true) => REQUESTS / 10,
    };
    let caller = Caller::new();
    let mut random = fastrand::Rng::with_seed(0x6a69_6666_7900_0012);
    for isolation in [Isolation::Fresh, Isolation::Reuse] {
        for delay_us_max in [0, 200] {
            let host = Arc::new(Host {
                delay_us_max,
                ..Host::default()
            });
            let alive = Arc::clone(&host.alive);
            let mut vm = caller.start(isolation, TIMEOUT_AMPLE, host);
            // Those that are waited for take their time.
            let share = if delay_us_max == 0 {
                2 * requests / 5
            } else {
                requests / 10
            };
            for number in 0..share {
                let (steps, answers) = steps(&mut random);
                let response = vm.invoke(&request(number, &steps)).expect("a response");
                assert_eq!(
                    text(&response),
                    answers.to_string(),
                    "{steps} in {isolation:?}"
                );
                vm.settle().expect("nothing is left");
                assert_eq!(alive.load(SeqCst), 0, "{steps}");
            }
            assert_eq!(vm.finish().expect("an end").end, VmEnd::Finished);
        }
    }
}

/// One call costs one exit, and so do sixteen that go out together; without one, a request costs what it always did.
#[test]
fn a_call_is_one_exit_and_so_are_sixteen_at_once() {
    if !require_kvm() {
        return;
    }
    let caller = Caller::new();
    for (steps, exits) in [
        ("", 1),
        ("s1", 2),
        ("1", 2),
        ("16", 2),
        ("a1", 2),
        ("a16", 2),
        ("f3 a13", 2),
        ("a16 a16", 3),
        ("s3", 4),
        ("f1", 2),
        ("f16", 2),
        ("16 c1000 16", 3),
        ("17", 3),
    ] {
        let mut vm = caller.start(Isolation::Fresh, TIMEOUT_AMPLE, Arc::new(Host::default()));
        for number in 0..3 {
            vm.invoke(&request(number, steps)).expect("a response");
            vm.settle().expect("nothing is left");
        }
        let stats = vm.finish().expect("an end").stats;
        assert_eq!(
            stats.last_request_exits.total(),
            exits,
            "{steps}: {stats:?}"
        );
    }
}

/// A time limit of its own is an error that the guest gets; that of the request ends the VM, and with it every call.
#[test]
fn a_call_that_hangs_has_its_own_time_and_never_more_than_its_request() {
    if !require_kvm() {
        return;
    }
    let caller = Caller::new();
    let host = || {
        Arc::new(Host {
            delay_us_max: u64::MAX,
            ..Host::default()
        })
    };
    let mut vm = caller.start(Isolation::Fresh, TIMEOUT_AMPLE, host());
    let began = Instant::now();
    let response = vm.invoke(&request(1, "t30")).expect("a response");
    assert_eq!(
        text(&response),
        "Timeout Maybe: the call took longer than it may"
    );
    assert!((30..10_000).contains(&began.elapsed().as_millis()));
    vm.settle().expect("nothing is left");
    let host = host();
    let alive = Arc::clone(&host.alive);
    let mut vm = caller.start(Isolation::Fresh, Duration::from_millis(300), host);
    match vm.invoke(&request(1, "f16 t60000")) {
        Err(VmError::Stopped(report)) => {
            assert!(
                matches!(report.end, VmEnd::TimedOut { .. }),
                "{:?}",
                report.end
            );
        }
        other => panic!("expected a timeout, got {other:?}"),
    }
    assert_eq!(alive.load(SeqCst), 0, "no call outlives its request");
}

#[test]
fn more_calls_than_a_request_may_make_are_an_error_of_the_last() {
    if !require_kvm() {
        return;
    }
    let caller = Caller::new();
    let mut vm = caller.start(Isolation::Reuse, TIMEOUT_AMPLE, Arc::new(Host::default()));
    for number in 0..2 {
        let response = vm.invoke(&request(number, "999 s1")).expect("a response");
        assert_eq!(text(&response), "1000");
        vm.settle().expect("nothing is left");
        let response = vm.invoke(&request(number, "1000 s1")).expect("a response");
        assert_eq!(text(&response), "Limit No: a request may make 1000 calls");
        vm.settle().expect("nothing is left");
    }
}

#[test]
fn init_may_not_call() {
    if !require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut environment = vec![];
    write_variable("INIT", "1", |piece| environment.extend_from_slice(piece));
    let error = create_snapshot(&new_snapshot(&folder, environment), |_| {}).expect_err("it calls");
    let why = format!("{error:?}");
    assert!(why.contains("Denied No: `init` may not call"), "{why}");
}

/// Without `jiffy`, nobody takes calls: they are refused at once, all that go out together too.
#[test]
fn a_vmm_on_its_own_refuses_calls() {
    if !require_kvm() {
        return;
    }
    for steps in ["s1", "16", "40"] {
        let mut vmm = std::process::Command::new(vmm_path());
        let output = vmm.arg(image("caller")).args(["--event", steps]).output();
        let output = output.expect("jiffy-vmm");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("Unknown No: nobody takes calls here"),
            "{steps}: {said}"
        );
        assert_eq!(output.status.code(), Some(1), "{steps}: {said}");
    }
}

/// Through the agent, and through `jiffy run` of an image and of a snapshot, by the same capability.
#[test]
fn an_agent_and_a_run_make_the_same_calls() {
    if !can_run() {
        return;
    }
    let (of_a_run, of_an_agent) = if is_slow_host() { (5, 20) } else { (50, 300) };
    let caller = Caller::new();
    let snapshot = caller.folder.path().join("caller.snap");
    let image = image("caller");
    let targets = [
        vec![image.as_os_str()],
        vec!["--snapshot".as_ref(), snapshot.as_os_str()],
    ];
    for target in targets {
        let mut run = jiffy();
        run.arg("run").args(target);
        let output = run
            .args(["--event", "16 s3 c100 f2 5", "--requests"])
            .arg(of_a_run.to_string())
            .output();
        let output = output.expect("jiffy");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.trim(), "24", "{output:?}");
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let image = agent.upload("caller");
    let mut random = fastrand::Rng::with_seed(7);
    for isolation in ["fresh", "reuse"] {
        agent
            .deploy(isolation, &image, json!({ "isolation": isolation }))
            .expect(201);
        for _ in 0..of_an_agent {
            let (steps, answers) = steps(&mut random);
            let answer = agent.invoke(isolation, &steps).expect(200);
            assert_eq!(answer.text(), answers.to_string(), "{steps}");
        }
    }
    agent.stop();
}
