//! On the host: std, and within a test's call a world whose clock stands still, as a guest's does.

use std::{
    boxed::Box,
    cell::{Cell, RefCell},
    collections::{BTreeMap, hash_map::RandomState},
    eprintln, fmt,
    hash::BuildHasher,
    sync::LazyLock,
    task::Waker,
    thread,
    time::{Duration, Instant, SystemTime},
    vec::Vec,
};

use jiffy_abi::{
    call::{
        CallErrorKind, SERVICE_FUNCTIONS, SERVICE_HOST, SERVICE_HTTP, SERVICE_KV, SERVICE_QUEUE,
        SERVICE_REDIS, SERVICE_SECRET, SERVICE_SQL, Sent,
    },
    log_ring::Level,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::{call::CallError, state::INIT_CALLS};

/// A call as it is to be made.
#[derive(Debug)]
#[expect(dead_code, reason = "what is called so far takes none of the rest")]
pub(crate) struct Call<'a> {
    pub(crate) service: u16,
    pub(crate) operation: u16,
    pub(crate) binding: &'a str,
    pub(crate) timeout_ms: Option<u32>,
    pub(crate) fields: &'a [u8],
    pub(crate) body: Vec<u8>,
}

/// A reply to a call: head and body, encoded.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) head_bytes: usize,
    pub(crate) payload: Vec<u8>,
}

/// What answers the calls of one service in a test.
pub(crate) type StandIn = Box<dyn FnMut(&Call<'_>) -> Reply>;

/// What answers the calls of a handler in a test.
#[derive(Default)]
pub(crate) struct StandIns {
    services: BTreeMap<u16, StandIn>,
    /// To the calls that were made, by their number, until they are waited for.
    replies: Vec<Option<Reply>>,
}

impl StandIns {
    /// Has `stand_in` answer the calls of `service`.
    pub(crate) fn set(&mut self, service: u16, stand_in: StandIn) {
        self.services.insert(service, stand_in);
    }
}

impl fmt::Debug for StandIns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.services.keys()).finish()
    }
}

/// What a guest would read from its resume page, and who answers its calls.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) stand_ins: StandIns,
    pub(crate) wall_ns: u64,
    pub(crate) monotonic_ns: u64,
    pub(crate) deadline_ns: u64,
    pub(crate) rng: ChaCha20Rng,
}

impl World {
    /// The world as it is: the host's clocks, no deadline, a seed nobody knows.
    pub(crate) fn now() -> Self {
        Self {
            stand_ins: StandIns::default(),
            wall_ns: host_wall_ns(),
            monotonic_ns: host_monotonic_ns(),
            deadline_ns: 0,
            rng: ChaCha20Rng::from_seed(random_seed()),
        }
    }
}

std::thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    static IN_INIT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `job` in `world`, on this thread.
pub(crate) fn within<T>(world: World, job: impl FnOnce() -> T) -> T {
    /// Puts the world before this one back, also if `job` panics.
    struct Before(Option<World>);
    impl Drop for Before {
        fn drop(&mut self) {
            WORLD.replace(self.0.take());
        }
    }
    let _before = Before(WORLD.replace(Some(world)));
    job()
}

/// Runs `init`, whose calls are refused: it may be in the middle of a request here, and is in none in a VM.
pub(crate) fn within_init<T>(init: impl FnOnce() -> T) -> T {
    /// Is no more in `init`, also if that panics.
    struct After;
    impl Drop for After {
        fn drop(&mut self) {
            IN_INIT.set(false);
        }
    }
    IN_INIT.set(true);
    let _after = After;
    init()
}

fn in_world<T>(read: impl FnOnce(&mut World) -> T) -> Option<T> {
    WORLD.with_borrow_mut(|world| world.as_mut().map(read))
}

pub(crate) fn wall_ns() -> u64 {
    in_world(|world| world.wall_ns).unwrap_or_else(host_wall_ns)
}

pub(crate) fn monotonic_ns() -> u64 {
    in_world(|world| world.monotonic_ns).unwrap_or_else(host_monotonic_ns)
}

pub(crate) fn deadline_ns() -> u64 {
    in_world(|world| world.deadline_ns).unwrap_or(0)
}

/// In a world, time moves on and nobody waits.
pub(crate) fn sleep_until(wake_ns: u64) {
    let slept_ns = wake_ns.saturating_sub(monotonic_ns());
    let moved = in_world(|world| {
        world.monotonic_ns = world.monotonic_ns.saturating_add(slept_ns);
        world.wall_ns = world.wall_ns.saturating_add(slept_ns);
    });
    if moved.is_none() {
        thread::sleep(Duration::from_nanos(slept_ns));
    }
}

pub(crate) fn fill_random(bytes: &mut [u8]) {
    if in_world(|world| world.rng.fill_bytes(bytes)).is_none() {
        ChaCha20Rng::from_seed(random_seed()).fill_bytes(bytes);
    }
}

/// Has the test's stand-in answer a call: its number.
pub(crate) fn start_call(call: Call<'_>) -> Result<u32, CallError> {
    if IN_INIT.get() {
        return Err(CallError::new(CallErrorKind::Denied, Sent::No, INIT_CALLS));
    }
    let service = call.service;
    // Taken out meanwhile: it may look at the world.
    let stand_in = in_world(|world| world.stand_ins.services.remove(&service));
    let name = match service {
        SERVICE_HOST => "host_info",
        SERVICE_HTTP => "http_call",
        SERVICE_KV => "kv",
        SERVICE_QUEUE => "queue",
        SERVICE_REDIS => "redis",
        SERVICE_SECRET => "secret",
        SERVICE_FUNCTIONS => "invokes",
        SERVICE_SQL => "sql",
        _ => "a service",
    };
    let Some(stand_in) = stand_in else {
        panic!("the handler calls {name} outside of `call!()`: nobody is there to answer")
    };
    let Some(mut stand_in) = stand_in else {
        panic!("the handler calls {name}, of which the test says nothing: add `.{name}(…)`")
    };
    let reply = stand_in(&call);
    let id = in_world(|world| {
        let StandIns { services, replies } = &mut world.stand_ins;
        services.insert(service, stand_in);
        replies.push(Some(reply));
        replies.len() - 1
    });
    Ok(id.and_then(|id| u32::try_from(id).ok()).unwrap_or_default())
}

/// The reply to a call that was started in this world: it is there at once.
pub(crate) fn take_reply(id: u32, _: &Waker) -> Option<Reply> {
    Some(wait_reply(id))
}

/// No reply is under way, as each is there at once.
pub(crate) fn wait_any() -> bool {
    false
}

/// The reply to a call that was started in this world.
pub(crate) fn wait_reply(id: u32) -> Reply {
    let reply = in_world(|world| world.stand_ins.replies.get_mut(id as usize)?.take());
    match reply.flatten() {
        Some(reply) => reply,
        None => panic!("a call is waited for in another request than made it"),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a test's harness catches what is printed so, and nothing else"
)]
pub(crate) fn log(level: Level, text: fmt::Arguments<'_>) {
    eprintln!("[{level:?}] {text}");
}

/// The value of a variable of this process.
pub(crate) fn variable(name: &str) -> Option<&'static str> {
    // Kept for ever, as a guest's is: a test reads a few.
    std::env::var(name).ok().map(|value| &*value.leak())
}

fn host_wall_ns() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    nanoseconds(since_epoch)
}

fn host_monotonic_ns() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    nanoseconds(START.elapsed())
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// std asks the operating system for the keys of a `RandomState`. Good enough for tests, which is
/// all that runs here.
fn random_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    for (index, word) in seed.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&RandomState::new().hash_one(index).to_le_bytes());
    }
    seed
}
