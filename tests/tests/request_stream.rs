//! Guests that misuse the request stream: whatever they send, withhold and interleave, no caller gets
//! a byte that is not its own.

#[path = "../guests/liar/src/deed.rs"]
#[allow(dead_code, reason = "the guest's half of it is not needed here")]
mod deed;

use std::{
    io::Write,
    ops::Range,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use deed::{Deed, EVENT_BYTES_MIN};
use jiffy_abi::frame::{FrameError, Tag};
use jiffy_client::{Instance, NewSnapshot, Spawner, SpawnerOptions, VmError, create_snapshot};
use jiffy_control::{Isolation, Request, StreamFault};
use jiffy_snapshots::Snapshot;
use jiffy_tests::{
    agent::Setup,
    hostile::raw_image,
    is_slow_host, require_kvm, require_root,
    vm::{TIMEOUT_AMPLE, event},
    vmm_path,
};
use serde_json::json;
use tempfile::TempDir;

/// Requests of the property test, and those of the long one, and how many callers share those.
const REQUESTS: u32 = 3000;
const REQUESTS_LONG: u32 = 1_000_000;
const CALLERS_LONG: u32 = 4;
/// After so many, a long test says how far it is.
const PROGRESS_REQUESTS: u32 = 20_000;
const SEED: u64 = 0x6a69_6666_7900_0011;
/// Larger than the liar's receive buffers and the socket together hold.
const LARGE_BODY_BYTES: usize = 600 << 10;
/// Of the liar's answer: header and id.
const ANSWER_BYTES: u64 = 24 + 16;
/// Of the liar's calls: header, number, service, operation.
const CALL_BYTES: u64 = 24 + 8 + 6 + 6;

/// The liar, its snapshot, and what makes shells for it.
struct Liar {
    spawner: Spawner,
    snapshot: Snapshot,
    _folder: TempDir,
}

impl Liar {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let new = NewSnapshot {
            vmm: vmm_path(),
            spawner: SpawnerOptions::default(),
            image: liar_image(),
            ram_bytes: None,
            environment: vec![],
            timeout: Some(TIMEOUT_AMPLE),
            output: folder.path().join("liar.snap"),
        };
        create_snapshot(&new, |_| {}).expect("a snapshot");
        Self {
            spawner: Spawner::start(&vmm_path(), &SpawnerOptions::default()).expect("a spawner"),
            snapshot: Snapshot::open(&new.output).expect("a snapshot"),
            _folder: folder,
        }
    }

    fn start(&self, isolation: Isolation) -> Instance {
        let timeout = Some(TIMEOUT_AMPLE);
        Instance::restore(
            &self.spawner,
            &self.snapshot,
            isolation,
            timeout,
            &[],
            |_| {},
        )
        .expect("an instance")
    }
}

fn liar_image() -> PathBuf {
    raw_image("liar")
}

/// An event, and the answer that it is to have.
fn ask(deed: Deed, parameter: u8, number: u64, body_bytes: usize) -> (Request, Vec<u8>) {
    let id = format!("{number:016x}").into_bytes();
    let mut body = vec![deed as u8, parameter];
    body.extend(&id);
    body.resize(body.len().max(body_bytes), b'.');
    assert!(body.len() >= EVENT_BYTES_MIN);
    (event(body), id)
}

/// How a request and what came behind it went.
fn serve(vm: &mut Instance, request: &Request) -> (Option<Vec<u8>>, Result<(), VmError>) {
    match vm.invoke(request) {
        Ok(response) => (Some(response.body), vm.settle()),
        Err(error) => (None, Err(error)),
    }
}

/// Each deed alone: what the caller gets, and that the VM is ended where something was left.
#[test]
fn each_lie_ends_the_vm_that_tells_it() {
    if !require_kvm() {
        return;
    }
    let liar = Liar::new();
    let own = Some(format!("{:016x}", 7).into_bytes());
    for isolation in [Isolation::Fresh, Isolation::Reuse] {
        let told = |deed, parameter, body_bytes| {
            let mut vm = liar.start(isolation);
            let (request, _) = ask(deed, parameter, 7, body_bytes);
            serve(&mut vm, &request)
        };
        let fault = |deed, parameter, body_bytes| match told(deed, parameter, body_bytes) {
            (_, Err(VmError::Stream(fault))) => fault,
            other => panic!("{deed:?} in {isolation:?}: {other:?}"),
        };
        for deed in [Deed::Honest, Deed::ReadyAgain] {
            let (answer, settled) = told(deed, 0, 0);
            assert!(answer == own && settled.is_ok(), "{deed:?}: {settled:?}");
        }
        for deed in [Deed::TwiceAtOnce, Deed::TwiceInTurn, Deed::Forge] {
            assert_eq!(fault(deed, 0, 0), StreamFault::Surplus(ANSWER_BYTES));
        }
        for later in [1, 100] {
            let found = fault(Deed::TwiceLater, later, 0);
            assert_eq!(found, StreamFault::Surplus(ANSWER_BYTES));
        }
        assert_eq!(fault(Deed::Noise, 5, 0), StreamFault::Surplus(5));
        let sent_bytes = 30;
        assert_eq!(
            fault(Deed::Half, 30, 0),
            StreamFault::Incomplete { sent_bytes }
        );
        for deed in [Deed::Stale, Deed::StaleFirst] {
            assert_eq!(fault(deed, 0, 0), StreamFault::Nonce);
        }
        // The rest is taken for a request by whoever is in the VM next, and that is nobody's caller.
        let (_, early) = told(Deed::Early, 0, LARGE_BODY_BYTES);
        let is_guest = matches!(early, Err(VmError::Stream(_) | VmError::Stopped(_)));
        assert!(is_guest, "{early:?}");
        calls_are_refused(&told, &fault, own.as_deref());
        let (answer, silent) = told(Deed::Silent, 0, 0);
        assert!(answer.is_none() && matches!(silent, Err(VmError::Stopped(_))));
    }
}

type Told = (Option<Vec<u8>>, Result<(), VmError>);

/// What a guest may not call, and what it may.
fn calls_are_refused(
    told: &impl Fn(Deed, u8, usize) -> Told,
    fault: &impl Fn(Deed, u8, usize) -> StreamFault,
    own: Option<&[u8]>,
) {
    for deed in [Deed::Call, Deed::CallUnknown] {
        let (answer, settled) = told(deed, 0, 0);
        assert!(
            answer.as_deref() == own && settled.is_ok(),
            "{deed:?}: {settled:?}"
        );
    }
    // A reply that comes before the answer is left in the stream: it is missed there, or, if the owner is late, the
    // guest has run on it by then and what it answered is too much. One that would come behind it is not written any more.
    let refused = (0..50).any(|_| match told(Deed::CallAndGo, 255, 0) {
        (_, Err(VmError::Stream(StreamFault::Unread(bytes)))) => bytes > 24 + 8,
        (None, Err(VmError::Stream(StreamFault::Surplus(bytes)))) => bytes > 0,
        (answer, Ok(())) if answer.as_deref() == own => false,
        other => panic!("{other:?}"),
    });
    assert!(refused, "no reply was left");
    let head = StreamFault::Frame(FrameError::HeadTooLarge(u32::MAX));
    assert_eq!(fault(Deed::CallOversized, 0, 0), head);
    let body = StreamFault::Frame(FrameError::BodyTooLarge(u32::MAX));
    assert_eq!(fault(Deed::CallOversized, 1, 0), body);
    assert_eq!(fault(Deed::CallTooMany, 0, 0), StreamFault::CallsInFlight);
    assert_eq!(fault(Deed::CallForEver, 0, 0), StreamFault::Calls);
    let late = StreamFault::Surplus(CALL_BYTES);
    assert_eq!(fault(Deed::CallLate, 0, 0), late);
    let (found, expected) = (0, 1);
    let twice = StreamFault::CallId { found, expected };
    assert_eq!(fault(Deed::CallTwice, 0, 0), twice);
    assert_eq!(fault(Deed::CallForged, 0, 0), StreamFault::Nonce);
    let nameless = StreamFault::Call(FrameError::FieldMissing(Tag::CallId));
    assert_eq!(fault(Deed::CallNameless, 0, 0), nameless);
}

/// Deeds at random, good ones most of the time; one VM after the other for each of the callers, who ask at once.
#[test]
fn no_caller_gets_a_byte_that_is_not_its_own() {
    if !require_kvm() {
        return;
    }
    let is_long = std::env::var("JIFFY_LONG").is_ok_and(|value| value == "1");
    let (requests, callers) = match (is_long, is_slow_host()) {
        (true, _) => (REQUESTS_LONG, CALLERS_LONG),
        (false, false) => (REQUESTS, 2),
        (false, true) => (REQUESTS / 10, 2),
    };
    let liar = Liar::new();
    let progress = Progress::of(requests);
    thread::scope(|scope| {
        for caller in 0..callers {
            let isolation = [Isolation::Fresh, Isolation::Reuse][caller as usize % 2];
            let (liar, progress) = (&liar, &progress);
            scope.spawn(move || misuse(liar, caller, isolation, requests / callers, progress));
        }
    });
}

/// Tells how far a long test is, past the harness, which keeps what is printed until the end.
struct Progress {
    all: u32,
    done: AtomicU32,
    began: Instant,
}

impl Progress {
    fn of(all: u32) -> Self {
        Self {
            all,
            done: AtomicU32::new(0),
            began: Instant::now(),
        }
    }

    fn step(&self) {
        let done = self.done.fetch_add(1, Relaxed) + 1;
        if done.is_multiple_of(PROGRESS_REQUESTS) {
            let (all, seconds) = (self.all, self.began.elapsed().as_secs());
            writeln!(
                jiffy_console::stderr(),
                "{done} of {all} requests, {seconds} s"
            )
            .expect("standard error");
        }
    }
}

fn misuse(liar: &Liar, caller: u32, isolation: Isolation, requests: u32, progress: &Progress) {
    let mut random = fastrand::Rng::with_seed(SEED + u64::from(caller));
    let (mut honest, mut ended) = (0, 0);
    let mut vm = liar.start(isolation);
    // What the guest may have left in its own memory, where requests share it.
    let mut is_clean = true;
    for number in 0..requests {
        let deed = match random.u8(..4) {
            0 => Deed::ALL[random.usize(..Deed::ALL.len())],
            _ => Deed::Honest,
        };
        let sizes: Range<usize> = match random.u8(..20) {
            0 => 100 << 10..LARGE_BODY_BYTES,
            _ => 0..3000,
        };
        let size = random.usize(sizes);
        // No two requests of the test have the same.
        let id = u64::from(caller) << 32 | u64::from(number);
        let (request, own) = ask(deed, random.u8(..), id, size);
        let (answer, settled) = serve(&mut vm, &request);
        if let Some(answer) = answer {
            assert_eq!(answer, own, "{deed:?} of {size} bytes in {isolation:?}");
        }
        let is_good = matches!(
            deed,
            Deed::Honest | Deed::ReadyAgain | Deed::Call | Deed::CallUnknown
        );
        if is_good && (is_clean || isolation == Isolation::Fresh) {
            assert!(settled.is_ok(), "{deed:?} in {isolation:?}: {settled:?}");
            honest += 1;
        }
        is_clean &= deed != Deed::Early;
        // What was not read of a small request lies in the guest's own memory and not on the way.
        // A reply that comes only behind the answer is not written any more.
        let may_settle = is_good || matches!(deed, Deed::Early | Deed::CallAndGo);
        match settled {
            Ok(()) => assert!(may_settle, "{deed:?} of {size} bytes in {isolation:?}"),
            Err(_) => {
                ended += 1;
                vm = liar.start(isolation);
                is_clean = true;
            }
        }
        progress.step();
    }
    assert!(honest > requests / 4 && ended > requests / 50);
}

/// The same through the agent, where the callers are strangers to each other.
#[test]
fn the_agent_gives_no_caller_what_another_was_answered() {
    if !require_root("only root gets the whole jail") || !require_kvm() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let uploaded = agent.send(
        "POST",
        "/v1/images",
        &[("content-type", "application/octet-stream")],
        &std::fs::read(liar_image()).expect("an image"),
    );
    let image = uploaded.expect("an answer").expect(201).json();
    let image = image["digest"].as_str().expect("a digest").to_owned();
    for isolation in ["fresh", "reuse"] {
        let settings = json!({ "isolation": isolation, "max_concurrency": 1 });
        agent.deploy(isolation, &image, settings).expect(201);
        let mut number = 0;
        let sizes = [100 << 10, 0];
        for deed in Deed::ALL {
            for body_bytes in sizes.into_iter().take(if is_slow_host() { 1 } else { 2 }) {
                for path in [
                    format!("/v1/functions/{isolation}/invoke"),
                    format!("/fn/{isolation}/"),
                ] {
                    let mut send = |deed, body_bytes| {
                        number += 1;
                        let (request, own) = ask(deed, 3, number, body_bytes);
                        let answer = agent.send("POST", &path, &[], &request.body);
                        let answer = answer.expect("an answer");
                        if answer.status == 200 {
                            assert_eq!(answer.body, own, "{deed:?} {path}");
                        }
                        answer.status
                    };
                    send(deed, body_bytes);
                    for _ in 0..3 {
                        let status = send(Deed::Honest, 0);
                        // With reuse, what an early answer left unread in the guest's own memory is its business.
                        let is_own = isolation == "reuse" && deed == Deed::Early;
                        assert!(status == 200 || is_own, "after {deed:?} {path}: {status}");
                    }
                }
            }
        }
    }
    // What was left is the function's fault, in its log and its usage.
    let logged = || {
        let log = agent.get("/v1/functions/fresh/logs").text();
        log.contains("beyond its response").then_some(())
    };
    jiffy_tests::agent::within(Duration::from_secs(20), logged).expect("a line in the log");
}
