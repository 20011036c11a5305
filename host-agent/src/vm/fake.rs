//! VMs in memory, for tests: an echo function whose events say what is to go wrong.
//!
//! ```text
//! !sleep 50     responds after 50 ms, with an empty body       !panic message     the guest panics
//! !env NAME     responds with a variable of the environment    !fault             the guest faults
//! !log text     logs a line and responds with the text         !oom               an allocation fails
//! !count        responds with how many requests this VM got    !timeout           the request was not done in time
//!               since it was restored or reset                 !exit 3            the image ends with a code
//! !context      responds with version and client context
//! !error text   the handler returns an error                   !die               the process dies
//! !bad          the event is none of the handler's             !malformed         the response is none
//! !squeezed-after-calls  the same to a request that has made calls
//! !squeezed     the kernel ends the process for want of memory, as often as `Behaviour::squeezes` says; then it is echoed
//! !die-settling responds, and dies before the next request     !hang-settling     responds, and is never ready again
//! ```
//!
//! A request over HTTP with the header `x-answer: STATUS` gets an HTTP response of that status with the body of the request, and
//! a header for each `x-answer-header: NAME=VALUE`. One with the body `!headers` gets the headers that came, a line each.
//!
//! `!client` responds with the client's address. Anything else is echoed. Not here: processes, KVM, or anything that takes time but on request.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Read,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use jiffy_abi::{frame::ResponseKind, log_ring::Level};
use jiffy_control::{
    Backtrace, Blame, Death, GuestFault, LogRecord, Report, Request, Response, VmEnd,
};
use jiffy_snapshots::{Digest, RamSummary, Snapshot, State, StateFile, Store};
use parking_lot::Mutex;

use super::{OpenSnapshot, Settled, VmError, VmInstance, Vms};
use crate::model::{Isolation, Settings};

/// Bytes of an image that the fake reads at most: those of a test.
const IMAGE_BYTES_MAX: u64 = 1 << 20;

/// What takes how long, and what fails. Changed at any time with [`FakeVms::behave`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Behaviour {
    /// Time to make a shell.
    pub(crate) shell_delay: Duration,
    /// Time of every request.
    pub(crate) invoke_delay: Duration,
    /// Time to be ready again.
    pub(crate) settle_delay: Duration,
    /// Time to build a snapshot.
    pub(crate) build_delay: Duration,
    /// Shells from now on that cannot be made.
    pub(crate) shells_failing: u32,
    /// Restores from now on that fail.
    pub(crate) restores_failing: u32,
    /// Requests `!squeezed` from now on in which the VM is ended for want of memory.
    pub(crate) squeezes: u32,
    /// Pages that an instance says it touched.
    pub(crate) pages_touched: u64,
}

/// How many there are, and were.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Shells that wait.
    pub(crate) shells: AtomicUsize,
    /// Shells that are being made.
    pub(crate) shells_making: AtomicUsize,
    /// Instances.
    pub(crate) instances: AtomicUsize,
    /// Most instances at any time.
    pub(crate) instances_peak: AtomicUsize,
    /// Most shells in the making at any time.
    pub(crate) shells_making_peak: AtomicUsize,
    /// Shells ever made.
    pub(crate) shells_made: AtomicUsize,
    /// Restores ever done.
    pub(crate) restores: AtomicUsize,
    /// Requests that an instance was given while it was not ready for one: a fault of the caller.
    pub(crate) misuses: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shared {
    counts: Counts,
    behaviour: Mutex<Behaviour>,
    /// Environments of what was built, by digest of the snapshot: a snapshot has them in its RAM.
    environments: Mutex<HashMap<Digest, BTreeMap<String, String>>>,
    next_process_id: AtomicU32,
}

/// VMs in memory. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeVms {
    shared: Arc<Shared>,
}

/// One more of something as long as it lives.
#[derive(Debug)]
struct Counted {
    shared: Arc<Shared>,
    which: fn(&Counts) -> &AtomicUsize,
}

impl Counted {
    fn new(shared: &Arc<Shared>, which: fn(&Counts) -> &AtomicUsize) -> (Self, usize) {
        let now = which(&shared.counts).fetch_add(1, Relaxed) + 1;
        let shared = Arc::clone(shared);
        (Self { shared, which }, now)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.which)(&self.shared.counts).fetch_sub(1, Relaxed);
    }
}

/// A shell.
#[derive(Debug)]
pub(crate) struct FakeShell {
    process_id: u32,
    _counted: Counted,
}

/// A VM.
#[derive(Debug)]
pub(crate) struct FakeInstance {
    shared: Arc<Shared>,
    snapshot: Arc<OpenSnapshot>,
    process_id: u32,
    state: InstanceState,
    settled: Settled,
    requests: u64,
    dies_settling: bool,
    hangs_settling: bool,
    _counted: Counted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InstanceState {
    Ready,
    Responded,
    Broken,
}

async fn take(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// Takes one from `left`, if there is one.
fn take_one(left: &mut u32) -> bool {
    let is_left = *left > 0;
    *left = left.saturating_sub(1);
    is_left
}

impl FakeVms {
    /// VMs that take no time and do not fail.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Changes what takes how long, and what fails.
    pub(crate) fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.behaviour.lock());
    }

    /// How many there are.
    pub(crate) fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    fn behaviour(&self) -> Behaviour {
        self.shared.behaviour.lock().clone()
    }
}

/// A snapshot without a file system: of an image with this content and these settings.
///
/// # Panics
/// If the host cannot make files in memory.
pub(crate) fn snapshot(image: &[u8], settings: &Settings) -> Arc<OpenSnapshot> {
    let memory = |name| {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        File::from(rustix::fs::memfd_create(name, flags).expect("a file in memory"))
    };
    let file = StateFile {
        ram: RamSummary {
            bytes: settings.memory_bytes,
            pages_stored: 0,
            digest: Digest::of(&[]),
        },
        state: state(image),
    };
    let (state_file, ram) = (memory("state"), memory("ram"));
    let bytes = file.to_bytes().expect("a state that is allowed");
    std::os::unix::fs::FileExt::write_all_at(&state_file, &bytes, 0).expect("write to memory");
    ram.set_len(settings.memory_bytes).expect("size of memory");
    Arc::new(OpenSnapshot {
        snapshot: Snapshot::from_files(&state_file, ram).expect("the snapshot just made"),
        function: "fake".parse().expect("a name"),
        isolation: settings.isolation,
        timeout_ms: settings.timeout_ms,
        grants: settings.grants.clone(),
        calls: OnceLock::new(),
    })
}

fn state(image: &[u8]) -> State {
    let mut state = State::default();
    state.image.digest = Digest::of(image).0;
    state.image.function_name = "fake".into();
    state
}

fn record(level: Level, text: impl Into<String>) -> LogRecord {
    LogRecord::new(level, text)
}

impl Vms for FakeVms {
    type Shell = FakeShell;
    type Instance = FakeInstance;

    async fn shell(&self, _ram_bytes: u64) -> Result<FakeShell, VmError> {
        let counts = &self.shared.counts;
        let (_making, making) = Counted::new(&self.shared, |counts| &counts.shells_making);
        counts.shells_making_peak.fetch_max(making, Relaxed);
        take(self.behaviour().shell_delay).await;
        if take_one(&mut self.shared.behaviour.lock().shells_failing) {
            return Err(VmError::Host("no shell, as the test wants it".into()));
        }
        counts.shells_made.fetch_add(1, Relaxed);
        Ok(FakeShell {
            process_id: 1000 + self.shared.next_process_id.fetch_add(1, Relaxed),
            _counted: Counted::new(&self.shared, |counts| &counts.shells).0,
        })
    }

    fn restore(
        &self,
        shell: FakeShell,
        snapshot: &Arc<OpenSnapshot>,
    ) -> Result<FakeInstance, VmError> {
        if take_one(&mut self.shared.behaviour.lock().restores_failing) {
            return Err(VmError::Host("no restore, as the test wants it".into()));
        }
        let counts = &self.shared.counts;
        counts.restores.fetch_add(1, Relaxed);
        let (counted, instances) = Counted::new(&self.shared, |counts| &counts.instances);
        counts.instances_peak.fetch_max(instances, Relaxed);
        Ok(FakeInstance {
            shared: Arc::clone(&self.shared),
            snapshot: Arc::clone(snapshot),
            process_id: shell.process_id,
            state: InstanceState::Ready,
            settled: Settled::default(),
            requests: 0,
            dies_settling: false,
            hangs_settling: false,
            _counted: counted,
        })
    }

    /// An image that begins with `!init` has an `init` that fails with the rest; one that begins with
    /// `!refuse` is refused as none. All others build, and log the line `init`.
    async fn build(
        &self,
        image: File,
        settings: &Settings,
        store: &Path,
    ) -> (Result<Digest, VmError>, Vec<LogRecord>) {
        take(self.behaviour().build_delay).await;
        let logs = vec![record(Level::Info, "init")];
        let mut bytes = vec![];
        if let Err(error) = image.take(IMAGE_BYTES_MAX).read_to_end(&mut bytes) {
            return (Err(VmError::Host(error.to_string())), logs);
        }
        if let Some(message) = bytes.strip_prefix(b"!init") {
            let message = String::from_utf8_lossy(message).trim().to_owned();
            return (Err(stopped(fault(GuestFault::Init { message }))), logs);
        }
        if bytes.starts_with(b"!refuse") {
            let message = "the image is none, as the test wants it".into();
            let blame = Blame::Input;
            return (Err(VmError::Failed { blame, message }), vec![]);
        }
        // The environment is in a real snapshot's RAM, so it is in the digest.
        let mut state = state(&bytes);
        let environment = format!("{:?}", settings.environment);
        state.run.generation = u64::from_le_bytes(
            *Digest::of(environment.as_bytes())
                .0
                .first_chunk()
                .unwrap_or(&[0; 8]),
        );
        let put = Store::new(store)
            .and_then(|store| store.put(&state, settings.memory_bytes, |_, _| Ok(())));
        if let Ok(digest) = &put {
            self.shared
                .environments
                .lock()
                .insert(*digest, settings.environment.clone());
        }
        (put.map_err(|error| VmError::Host(error.to_string())), logs)
    }
}

fn fault(fault: GuestFault) -> VmEnd {
    VmEnd::Fault(fault)
}

fn stopped(end: VmEnd) -> VmError {
    VmError::Stopped(Box::new(Report {
        end,
        stats: jiffy_control::Stats::default(),
    }))
}

impl VmInstance for FakeInstance {
    fn process_id(&self) -> u32 {
        self.process_id
    }

    async fn invoke(&mut self, request: &Request) -> Result<Response, VmError> {
        if self.state != InstanceState::Ready {
            self.shared.counts.misuses.fetch_add(1, Relaxed);
        }
        // Who stops waiting for the response leaves a VM in the middle of a request.
        self.state = InstanceState::Broken;
        self.requests += 1;
        let invoke_delay = self.shared.behaviour.lock().invoke_delay;
        take(invoke_delay).await;
        let response = self.respond(request).await?;
        let stats = &mut self.settled.stats;
        stats.requests += 1;
        stats.requests_done += 1;
        stats.bytes_in += request.body.len() as u64;
        stats.bytes_out += response.body.len() as u64;
        self.state = InstanceState::Responded;
        Ok(response)
    }

    fn kill(&mut self) {
        self.state = InstanceState::Broken;
    }

    async fn settle(&mut self) -> Result<Settled, VmError> {
        let behaviour = self.shared.behaviour.lock().clone();
        take(behaviour.settle_delay).await;
        if self.hangs_settling {
            std::future::pending::<()>().await;
        }
        if self.dies_settling {
            return Err(VmError::Died(Death::Killed(9)));
        }
        if self.state == InstanceState::Responded {
            self.state = InstanceState::Ready;
        }
        let stats = &mut self.settled.stats;
        stats.pages_touched = behaviour.pages_touched;
        stats.ram_bytes = self.snapshot.snapshot.ram_bytes();
        if self.snapshot.isolation == Isolation::Fresh {
            self.requests = 0;
            stats.resets += 1;
        }
        let is_first = self.settled.stats.requests == 1;
        let records = is_first && self.snapshot.snapshot.working_set().is_empty();
        Ok(Settled {
            stats: self.settled.stats,
            logs: std::mem::take(&mut self.settled.logs),
            log_lost: std::mem::take(&mut self.settled.log_lost),
            called: self.settled.called,
            calls: std::mem::take(&mut self.settled.calls),
            working_set: records.then(|| vec![(1, 2)]),
            fault: None,
            gone: None,
        })
    }
}

/// What a request over HTTP wants to be answered.
fn http_answer(request: &Request) -> Option<Response> {
    let headers = &request.http.as_ref()?.headers;
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    if request.body == b"!headers" {
        let lines = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}\n", text(value)));
        let body = lines.collect::<String>().into_bytes();
        return Some(Response {
            body,
            ..http_response(200, vec![])
        });
    }
    let status = headers.iter().find(|(name, _)| name == "x-answer")?;
    let wanted = headers.iter().filter(|(name, _)| name == "x-answer-header");
    let pair = |(_, value): &(String, Vec<u8>)| {
        let (name, value) = text(value)
            .split_once('=')
            .map(|(a, b)| (a.into(), b.into()))?;
        Some((name, value))
    };
    Some(Response {
        body: request.body.clone(),
        ..http_response(
            text(&status.1).parse().unwrap_or(0),
            wanted.filter_map(pair).collect(),
        )
    })
}

fn http_response(status: u16, headers: Vec<(String, Vec<u8>)>) -> Response {
    Response {
        kind: ResponseKind::Http,
        status,
        error_type: String::new(),
        headers,
        body: vec![],
    }
}

impl FakeInstance {
    async fn respond(&mut self, request: &Request) -> Result<Response, VmError> {
        if let Some(response) = http_answer(request) {
            return Ok(response);
        }
        // Lambda's API takes events in JSON only.
        let event = String::from_utf8_lossy(&request.body);
        let event = serde_json::from_str(&event).unwrap_or(event);
        // Lambda's API takes JSON only.
        let event = event.trim_matches('"');
        let (word, rest) = event.split_once(' ').unwrap_or((event, ""));
        let backtrace = Backtrace::default;
        let body = match word {
            "!sleep" => {
                take(Duration::from_millis(rest.parse().unwrap_or(0))).await;
                vec![]
            }
            "!client" => request
                .client_address
                .clone()
                .unwrap_or_default()
                .into_bytes(),
            "!count" => self.requests.to_string().into_bytes(),
            "!env" => self.variable(rest).into_bytes(),
            "!context" => {
                let context = [
                    Some(&request.function_version),
                    request.client_context.as_ref(),
                ];
                let texts: Vec<_> = context.into_iter().flatten().map(String::as_str).collect();
                texts.join(" ").into_bytes()
            }
            "!log" => {
                self.settled.logs.push(record(Level::Info, rest));
                rest.into()
            }
            "!error" => return Ok(failure(ResponseKind::FunctionError, rest)),
            "!bad" => return Ok(failure(ResponseKind::BadEvent, "the event is not JSON")),
            "!panic" => {
                self.settled.logs.push(record(Level::Error, rest));
                return Err(stopped(fault(GuestFault::Panic {
                    message: rest.into(),
                    file: "src/lib.rs".into(),
                    line: 1,
                    column: 1,
                    backtrace: backtrace(),
                })));
            }
            "!fault" => {
                let message = "a port that is no doorbell".into();
                let backtrace = backtrace();
                return Err(stopped(fault(GuestFault::Device { message, backtrace })));
            }
            "!oom" => {
                return Err(stopped(fault(GuestFault::OutOfMemory {
                    requested_bytes: 1 << 30,
                    ram_bytes: self.snapshot.snapshot.ram_bytes(),
                    backtrace: backtrace(),
                })));
            }
            "!timeout" => {
                let timeout_ms = self.snapshot.timeout_ms;
                let backtrace = backtrace();
                return Err(stopped(VmEnd::TimedOut {
                    timeout_ms,
                    backtrace,
                }));
            }
            "!exit" => return Err(stopped(VmEnd::Exited(rest.parse().unwrap_or(0)))),
            "!die" => return Err(VmError::Died(Death::Killed(9))),
            "!squeezed" if take_one(&mut self.shared.behaviour.lock().squeezes) => {
                self.settled
                    .logs
                    .push(record(Level::Info, "of a VM that was ended"));
                self.settled.stats.last_request_cpu_ns = 7000;
                return Err(VmError::Died(Death::Squeezed));
            }
            "!squeezed-after-calls" => {
                let call = LogRecord::of_platform(Level::Debug, "CALL kv.get");
                self.settled.calls.push(call);
                return Err(VmError::SqueezedAfterCalls);
            }
            "!malformed" => return Err(VmError::Malformed("the magic is none".into())),
            "!die-settling" => {
                self.dies_settling = true;
                vec![]
            }
            "!hang-settling" => {
                self.hangs_settling = true;
                vec![]
            }
            _ => request.body.clone(),
        };
        Ok(success(request, body))
    }

    fn variable(&self, name: &str) -> String {
        let environments = self.shared.environments.lock();
        let environment = environments.get(&self.snapshot.snapshot.digest());
        environment
            .and_then(|variables| variables.get(name).cloned())
            .unwrap_or_default()
    }
}

/// Over HTTP, the response says in its headers what was asked.
fn success(request: &Request, body: Vec<u8>) -> Response {
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let (kind, status, headers) = match &request.http {
        None => (ResponseKind::Ok, 0, vec![]),
        Some(http) => {
            let headers = vec![
                header("x-method", &http.method),
                header("x-target", &http.target),
            ];
            (ResponseKind::Http, 200, headers)
        }
    };
    Response {
        kind,
        status,
        error_type: String::new(),
        headers,
        body,
    }
}

fn failure(kind: ResponseKind, text: &str) -> Response {
    Response {
        kind,
        status: 0,
        error_type: "FakeError".into(),
        headers: vec![],
        body: text.into(),
    }
}
