//! The pool with VMs in memory. Time is tokio's and stands still unless everybody waits.

use std::sync::atomic::Ordering::Relaxed;

use jiffy_control::Request;
use tokio::{task::JoinHandle, time::sleep};

use super::*;
use crate::{
    model::Isolation,
    vm::fake::{self, Counts, FakeVms},
};

struct Fixture {
    vms: FakeVms,
    pool: Arc<Pool<FakeVms>>,
}

fn config() -> PoolConfig {
    PoolConfig {
        shells_min: 2,
        shells_max: 8,
        queue_ms_max: 1000,
        keep_alive_ms: 60_000,
        memory_bytes_max: 2 << 30,
        ..PoolConfig::default()
    }
}

fn settings() -> Settings {
    Settings::default()
}

fn deployed(name: &str, settings: Settings) -> Arc<Deployed> {
    deployed_as(name, VersionNumber::FIRST, settings, None)
}

fn deployed_as(
    name: &str,
    version: VersionNumber,
    settings: Settings,
    reserved: Option<u32>,
) -> Arc<Deployed> {
    let image = format!("{name} {version}");
    Arc::new(Deployed {
        function: name.parse().expect("a name"),
        version,
        snapshot: fake::snapshot(image.as_bytes(), &settings),
        settings,
        reserved_concurrency: reserved,
    })
}

fn event(body: &str) -> Request {
    Request {
        body: body.into(),
        ..Request::default()
    }
}

impl Fixture {
    fn new(config: PoolConfig) -> Self {
        let vms = FakeVms::new();
        let pool = Pool::new(Arc::new(vms.clone()), config);
        Self { vms, pool }
    }

    /// One request from its beginning to its end.
    async fn request(
        &self,
        deployed: &Arc<Deployed>,
        body: &str,
    ) -> Result<(Start, String), Refused> {
        let mut lease = self.pool.acquire(deployed).await?;
        let response = lease.invoke(&event(body)).await?;
        let start = lease.start;
        lease.finish();
        Ok((start, String::from_utf8_lossy(&response.body).into_owned()))
    }

    fn spawn(
        &self,
        deployed: &Arc<Deployed>,
        body: &str,
    ) -> JoinHandle<Result<(Start, String), Refused>> {
        let this = Self {
            vms: self.vms.clone(),
            pool: Arc::clone(&self.pool),
        };
        let (deployed, body) = (Arc::clone(deployed), body.to_owned());
        tokio::spawn(async move { this.request(&deployed, &body).await })
    }

    /// Lets everything that is under way come to rest.
    async fn rest(&self) {
        sleep(Duration::from_millis(1)).await;
    }

    fn count(&self, which: fn(&Counts) -> &std::sync::atomic::AtomicUsize) -> usize {
        which(self.vms.counts()).load(Relaxed)
    }

    fn instances(&self) -> usize {
        self.count(|counts| &counts.instances)
    }

    /// The pool and the VMs agree, nothing is busy, and nobody used a VM that was not ready.
    async fn check_at_rest(&self) {
        self.rest().await;
        let stats = self.pool.stats();
        assert_eq!(
            (stats.vms_busy, stats.vms_settling, stats.vms_starting),
            (0, 0, 0),
            "{stats:?}"
        );
        assert_eq!(stats.requests_waiting, 0);
        assert_eq!(stats.vms_idle, self.instances());
        assert_eq!(stats.shells_ready, self.count(|counts| &counts.shells));
        assert_eq!(self.count(|counts| &counts.misuses), 0);
        let state = self.pool.state.lock();
        assert_eq!((state.idle.len(), state.waiters.len()), (stats.vms_idle, 0));
    }

    /// After this, nothing is left of anything.
    async fn check_drains(&self) {
        assert_eq!(
            self.pool
                .drain(Instant::now() + Duration::from_secs(60))
                .await,
            0
        );
        self.check_at_rest().await;
        assert_eq!(
            (self.instances(), self.count(|counts| &counts.shells)),
            (0, 0)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_request_is_cold_and_the_next_are_fresh() {
    let fixture = Fixture::new(config());
    fixture.rest().await;
    assert_eq!(fixture.count(|counts| &counts.shells), 2);
    let hello = deployed("hello", settings());
    let first = fixture.request(&hello, "!count").await.expect("a response");
    assert_eq!(first, (Start::Cold, "1".into()));
    fixture.rest().await;
    let second = fixture.request(&hello, "!count").await.expect("a response");
    assert_eq!(second, (Start::Fresh, "1".into()));
    fixture.check_at_rest().await;
    assert_eq!(
        (fixture.instances(), fixture.count(|counts| &counts.shells)),
        (1, 2)
    );
    fixture.check_drains().await;
}

#[tokio::test(start_paused = true)]
async fn with_isolation_reuse_requests_are_warm() {
    let fixture = Fixture::new(config());
    let hello = deployed(
        "hello",
        Settings {
            isolation: Isolation::Reuse,
            ..settings()
        },
    );
    for (start, count) in [(Start::Cold, "1"), (Start::Warm, "2"), (Start::Warm, "3")] {
        let got = fixture.request(&hello, "!count").await.expect("a response");
        assert_eq!(got, (start, count.into()));
        fixture.rest().await;
    }
}

#[tokio::test(start_paused = true)]
async fn sixteen_clients_share_ten_vms() {
    let fixture = Fixture::new(config());
    fixture.vms.behave(|behaviour| {
        behaviour.invoke_delay = Duration::from_millis(3);
        behaviour.settle_delay = Duration::from_millis(1);
        behaviour.shell_delay = Duration::from_millis(1);
    });
    let hello = deployed("hello", settings());
    let client = |number: usize| {
        let hello = Arc::clone(&hello);
        let fixture = Fixture {
            vms: fixture.vms.clone(),
            pool: Arc::clone(&fixture.pool),
        };
        tokio::spawn(async move {
            for request in 0..50 {
                let body = format!("{number} {request}");
                let (_, answer) = fixture.request(&hello, &body).await.expect("a response");
                assert_eq!(answer, body);
            }
        })
    };
    let clients: Vec<_> = (0..16).map(client).collect();
    for client in clients {
        client.await.expect("no panic");
    }
    fixture.rest().await;
    fixture.check_at_rest().await;
    assert_eq!(fixture.count(|counts| &counts.instances_peak), 10);
    assert_eq!(fixture.count(|counts| &counts.restores), 10);
    fixture.check_drains().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_leave_nothing_behind() {
    let fixture = Fixture::new(PoolConfig {
        shells_making_max: 3,
        ..config()
    });
    let functions: Vec<_> = (0..4)
        .map(|at| {
            deployed(
                &format!("f{at}"),
                Settings {
                    max_concurrency: 3,
                    ..settings()
                },
            )
        })
        .collect();
    let client = |number: usize| {
        let functions = functions.clone();
        let fixture = Fixture {
            vms: fixture.vms.clone(),
            pool: Arc::clone(&fixture.pool),
        };
        tokio::spawn(async move {
            for request in 0..300_usize {
                let deployed = &functions[(number + request) % functions.len()];
                match (number * 31 + request) % 13 {
                    0 => drop(fixture.request(deployed, "!die").await),
                    1 => drop(fixture.request(deployed, "!die-settling").await),
                    2 => drop(
                        timeout(
                            Duration::from_micros(300),
                            fixture.request(deployed, "!sleep 1"),
                        )
                        .await,
                    ),
                    3 => drop(fixture.pool.acquire(deployed).await),
                    4 if request % 5 == 0 => fixture.pool.forget(&deployed.function, None),
                    _ => {
                        let body = format!("{number} {request}");
                        let got = fixture.request(deployed, &body).await.expect("a response");
                        assert_eq!(got.1, body);
                    }
                }
            }
        })
    };
    let clients: Vec<_> = (0..16).map(client).collect();
    for client in clients {
        client.await.expect("no panic");
    }
    assert!(fixture.count(|counts| &counts.shells_making_peak) <= 3);
    assert_eq!(
        fixture
            .pool
            .drain(Instant::now() + Duration::from_secs(10))
            .await,
        0
    );
    for _ in 0..200 {
        if fixture.instances() + fixture.count(|counts| &counts.shells) == 0 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        (fixture.instances(), fixture.count(|counts| &counts.shells)),
        (0, 0)
    );
    assert_eq!(fixture.count(|counts| &counts.misuses), 0);
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_queue_and_its_time_are_refused() {
    let fixture = Fixture::new(PoolConfig {
        queue_len_max: 2,
        ..config()
    });
    let hello = deployed(
        "hello",
        Settings {
            max_concurrency: 1,
            ..settings()
        },
    );
    let running = fixture.spawn(&hello, "!sleep 5000");
    fixture.rest().await;
    let waiting = [fixture.spawn(&hello, "1"), fixture.spawn(&hello, "2")];
    fixture.rest().await;
    let full = fixture.request(&hello, "3").await;
    assert!(matches!(full, Err(Refused::QueueFull)), "{full:?}");
    let began = Instant::now();
    for request in waiting {
        let refused = request.await.expect("no panic");
        assert!(matches!(refused, Err(Refused::Busy { .. })), "{refused:?}");
    }
    assert!(began.elapsed() < Duration::from_millis(1001));
    running.await.expect("no panic").expect("a response");
    fixture.request(&hello, "4").await.expect("free again");
    fixture.check_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_how_long() {
    let fixture = Fixture::new(config());
    let hello = deployed(
        "hello",
        Settings {
            max_concurrency: 1,
            ..settings()
        },
    );
    let running = fixture.spawn(&hello, "!sleep 100");
    fixture.rest().await;
    let lease = fixture.pool.acquire(&hello).await.expect("a VM");
    assert_eq!(lease.start, Start::Fresh);
    assert!(
        (98..=101).contains(&lease.queue.as_millis()),
        "{:?}",
        lease.queue
    );
    running.await.expect("no panic").expect("a response");
}

#[tokio::test(start_paused = true)]
async fn forgotten_vms_end_busy_ones_after_their_request() {
    let fixture = Fixture::new(config());
    let hello = deployed("hello", settings());
    let busy = fixture.spawn(&hello, "!sleep 100");
    fixture.request(&hello, "idle").await.expect("a response");
    fixture.rest().await;
    assert_eq!(fixture.instances(), 2);
    fixture.pool.forget(&hello.function, Some(hello.version));
    fixture.rest().await;
    assert_eq!(fixture.instances(), 1);
    busy.await.expect("no panic").expect("a response");
    fixture.check_at_rest().await;
    assert_eq!(fixture.instances(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_snapshot_of_a_version_replaces_its_vms() {
    let fixture = Fixture::new(config());
    let old = deployed("hello", settings());
    fixture.request(&old, "").await.expect("a response");
    fixture.rest().await;
    let new = Arc::new(Deployed {
        function: old.function.clone(),
        version: old.version,
        settings: settings(),
        reserved_concurrency: None,
        snapshot: fake::snapshot(b"another", &settings()),
    });
    let (start, _) = fixture.request(&new, "").await.expect("a response");
    assert_eq!(start, Start::Cold);
    fixture.check_at_rest().await;
    assert_eq!(fixture.instances(), 1);
}

#[tokio::test(start_paused = true)]
async fn draining_serves_what_is_there_and_refuses_the_rest() {
    let fixture = Fixture::new(config());
    let hello = deployed(
        "hello",
        Settings {
            max_concurrency: 1,
            ..settings()
        },
    );
    let running = fixture.spawn(&hello, "!sleep 300");
    fixture.rest().await;
    let (served, late) = (
        fixture.spawn(&hello, "!sleep 300"),
        fixture.spawn(&hello, "late"),
    );
    fixture.rest().await;
    let began = Instant::now();
    let drained = fixture.pool.drain(began + Duration::from_millis(500));
    let (busy, refused) = tokio::join!(drained, async {
        fixture.rest().await;
        fixture.request(&hello, "new").await
    });
    assert!(matches!(refused, Err(Refused::ShuttingDown)), "{refused:?}");
    assert_eq!((busy, began.elapsed().as_millis()), (1, 500));
    running.await.expect("no panic").expect("a response");
    served.await.expect("no panic").expect("a response");
    let late = late.await.expect("no panic");
    assert!(matches!(late, Err(Refused::ShuttingDown)), "{late:?}");
    fixture.check_at_rest().await;
    assert_eq!(
        (fixture.instances(), fixture.count(|counts| &counts.shells)),
        (0, 0)
    );
}

/// As when the limit of the agent's control group is changed.
#[tokio::test(start_paused = true)]
async fn memory_that_becomes_less_ends_idle_vms() {
    let overhead = 1 << 20;
    let fixture = Fixture::new(PoolConfig {
        vm_overhead_bytes: overhead,
        ram_charged_per_mille: 0,
        memory_bytes_max: (8 + 3) * overhead,
        ..config()
    });
    let functions: Vec<_> = (0..3)
        .map(|at| deployed(&format!("f{at}"), settings()))
        .collect();
    for function in &functions {
        fixture.request(function, "").await.expect("a response");
        fixture.rest().await;
    }
    assert_eq!(fixture.instances(), 3);
    fixture.pool.set_memory((8 + 1) * overhead);
    fixture.rest().await;
    assert_eq!(fixture.instances(), 1);
    assert_eq!(fixture.pool.stats().memory_bytes_max, overhead);
    fixture.pool.set_memory((8 + 3) * overhead);
    for function in &functions {
        fixture.request(function, "").await.expect("a response");
        fixture.rest().await;
    }
    assert_eq!(fixture.instances(), 3);
}

/// Until a function's first request is done, nobody knows how much of its RAM it writes: it may be all.
#[tokio::test(start_paused = true)]
async fn vms_of_which_nothing_is_known_fit_into_memory_with_all_of_their_ram() {
    let fixture = Fixture::new(PoolConfig {
        memory_bytes_max: 225 << 20,
        ..config()
    });
    let settings = Settings {
        memory_bytes: 64 << 20,
        ..settings()
    };
    let function = deployed("f", settings.clone());
    let requests: Vec<_> = (0..10)
        .map(|_| fixture.spawn(&function, "!sleep 100"))
        .collect();
    fixture.rest().await;
    assert!(
        (1..=3).contains(&fixture.instances()),
        "{}",
        fixture.instances()
    );
    for request in requests {
        request.await.expect("no panic").expect("a response");
    }
    fixture.rest().await;
    // One that is larger than all there is runs by itself.
    let large = Settings {
        memory_bytes: 1 << 30,
        ..settings
    };
    let large = deployed("large", large);
    fixture.request(&large, "").await.expect("a response");
}

#[tokio::test(start_paused = true)]
async fn memory_goes_to_who_asks_and_is_refused_when_all_is_busy() {
    let overhead = 1 << 20;
    let fixture = Fixture::new(PoolConfig {
        vm_overhead_bytes: overhead,
        ram_charged_per_mille: 0,
        memory_bytes_max: (8 + 3) * overhead,
        ..config()
    });
    let functions: Vec<_> = (0..5)
        .map(|at| deployed(&format!("f{at}"), settings()))
        .collect();
    for function in &functions {
        fixture.request(function, "").await.expect("a response");
        fixture.rest().await;
        assert!(fixture.instances() <= 3);
    }
    let (start, _) = fixture
        .request(&functions[4], "")
        .await
        .expect("a response");
    assert_eq!(start, Start::Fresh);
    let (start, _) = fixture
        .request(&functions[0], "")
        .await
        .expect("a response");
    assert_eq!(start, Start::Cold);
    fixture.rest().await;
    let busy: Vec<_> = (0..3)
        .map(|at| fixture.spawn(&functions[at], "!sleep 3000"))
        .collect();
    fixture.rest().await;
    let began = Instant::now();
    let refused = fixture.request(&functions[3], "").await;
    assert!(matches!(refused, Err(Refused::Memory)), "{refused:?}");
    assert!(began.elapsed() <= Duration::from_millis(1001));
    for request in busy {
        request.await.expect("no panic").expect("a response");
    }
    fixture
        .request(&functions[3], "")
        .await
        .expect("memory is free again");
    fixture.check_at_rest().await;
    assert_eq!(fixture.instances(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_vm_is_charged_what_it_was_seen_to_write() {
    let fixture = Fixture::new(PoolConfig {
        vm_overhead_bytes: 1000,
        ..config()
    });
    fixture.vms.behave(|behaviour| behaviour.pages_touched = 7);
    let hello = deployed("hello", settings());
    fixture.request(&hello, "").await.expect("a response");
    fixture.rest().await;
    assert_eq!(
        fixture.pool.stats().memory_charged_bytes,
        1000 + 7 * PAGE_BYTES
    );
    let instances = fixture.pool.instances();
    assert_eq!(instances.len(), 1);
    assert_eq!(
        (instances[0].state, instances[0].requests),
        (InstanceState::Idle, 1)
    );
    assert!(instances[0].process_id >= 1000);
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_dies_costs_its_request_and_no_other() {
    let fixture = Fixture::new(config());
    let hello = deployed(
        "hello",
        Settings {
            max_concurrency: 1,
            ..settings()
        },
    );
    for body in ["!die", "!panic no", "!timeout", "!malformed", "!exit 3"] {
        let failed = fixture.request(&hello, body).await;
        assert!(matches!(failed, Err(Refused::Vm(_))), "{failed:?}");
        let (start, answer) = fixture.request(&hello, "next").await.expect("a response");
        assert_eq!((start, answer), (Start::Cold, "next".into()));
        fixture.rest().await;
    }
    fixture.check_at_rest().await;
    fixture.check_drains().await;
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_dies_or_hangs_while_it_settles_is_replaced() {
    let fixture = Fixture::new(PoolConfig {
        settle_ms_max: 500,
        ..config()
    });
    let hello = deployed(
        "hello",
        Settings {
            max_concurrency: 1,
            ..settings()
        },
    );
    for body in ["!die-settling", "!hang-settling"] {
        fixture.request(&hello, body).await.expect("a response");
        let (start, _) = fixture.request(&hello, "next").await.expect("a response");
        assert_eq!(start, Start::Cold);
        fixture.rest().await;
        fixture.pool.forget(&hello.function, None);
        fixture.rest().await;
    }
    fixture.check_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn what_settled_is_told_once_however_the_request_ends() {
    let fixture = Fixture::new(config());
    let hello = deployed("hello", settings());
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let lease = async || {
        let mut lease = fixture.pool.acquire(&hello).await.expect("a VM");
        let sender = sender.clone();
        lease.on_settled(Box::new(move |settled| drop(sender.send(settled))));
        lease
    };
    let mut responded = lease().await;
    responded
        .invoke(&event("!log hello"))
        .await
        .expect("a response");
    let twice = responded.invoke(&event("again")).await;
    assert!(matches!(twice, Err(VmError::Host(_))));
    responded.finish();
    let settled = told.recv().await.expect("told").expect("settled");
    assert_eq!(
        (settled.logs[0].text.as_str(), settled.stats.requests),
        ("hello", 1)
    );
    assert!(settled.working_set.is_some());

    let mut panicked = lease().await;
    panicked
        .invoke(&event("!panic oh"))
        .await
        .expect_err("a panic");
    drop(panicked);
    let settled = told.recv().await.expect("told").expect("logs");
    assert_eq!(settled.logs[0].text, "oh");

    let mut cancelled = lease().await;
    drop(
        timeout(
            Duration::from_millis(1),
            cancelled.invoke(&event("!sleep 10")),
        )
        .await,
    );
    drop(cancelled);
    // What it took until then is told.
    let settled = told.recv().await.expect("told").expect("what it took");
    assert!(settled.stats.ram_bytes > 0, "{settled:?}");

    drop(lease().await);
    fixture.check_at_rest().await;
    assert!(told.try_recv().is_err(), "told of a request that never was");
    fixture.check_drains().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_leaves_nothing_in_any_state() {
    let fixture = Fixture::new(PoolConfig {
        shells_min: 0,
        ..config()
    });
    let delay = Duration::from_millis(10);
    fixture.vms.behave(|behaviour| {
        behaviour.shell_delay = delay;
        behaviour.invoke_delay = delay;
        behaviour.settle_delay = delay;
    });
    let hello = deployed(
        "hello",
        Settings {
            max_concurrency: 1,
            ..settings()
        },
    );
    // While the shell is made, while the request runs, while another runs, while that one settles, with the lease.
    for cancelled_after_ms in 0..60 {
        let first = fixture.spawn(&hello, "first");
        let second = fixture.spawn(&hello, "second");
        sleep(Duration::from_millis(cancelled_after_ms)).await;
        first.abort();
        if cancelled_after_ms % 2 == 0 {
            second.abort();
        }
        drop((first.await, second.await));
        sleep(3 * delay).await;
        fixture.check_at_rest().await;
        if cancelled_after_ms % 3 == 0 {
            fixture.pool.forget(&hello.function, None);
        }
    }
    assert!(fixture.instances() <= 1);
    drop(
        fixture
            .pool
            .acquire(&hello)
            .await
            .expect("a VM that is not used"),
    );
    let (start, _) = fixture.request(&hello, "").await.expect("a response");
    assert_eq!(start, Start::Fresh);
    sleep(3 * delay).await;
    fixture.check_drains().await;
}

#[tokio::test(start_paused = true)]
async fn shells_and_restores_that_fail_are_told_to_the_request() {
    let fixture = Fixture::new(PoolConfig {
        shells_min: 0,
        ..config()
    });
    let hello = deployed("hello", settings());
    fixture.vms.behave(|behaviour| behaviour.shells_failing = 1);
    let failed = fixture.request(&hello, "").await;
    assert!(
        matches!(failed, Err(Refused::Vm(VmError::Host(_)))),
        "{failed:?}"
    );
    fixture
        .vms
        .behave(|behaviour| behaviour.restores_failing = 1);
    let failed = fixture.request(&hello, "").await;
    assert!(
        matches!(failed, Err(Refused::Vm(VmError::Host(_)))),
        "{failed:?}"
    );
    fixture.request(&hello, "").await.expect("the third time");
    fixture.check_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_shell_that_is_never_made_refuses_the_request() {
    let fixture = Fixture::new(PoolConfig {
        shells_min: 0,
        shell_ms_max: 500,
        ..config()
    });
    fixture
        .vms
        .behave(|behaviour| behaviour.shell_delay = Duration::from_secs(3600));
    let refused = fixture.request(&deployed("hello", settings()), "").await;
    assert!(
        matches!(refused, Err(Refused::Vm(VmError::Unresponsive(_)))),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn idle_vms_expire_and_ready_ones_are_kept() {
    let fixture = Fixture::new(PoolConfig {
        keep_alive_ms: 1000,
        ..config()
    });
    let ready = deployed(
        "ready",
        Settings {
            min_ready: 2,
            ..settings()
        },
    );
    let hello = deployed("hello", settings());
    fixture.pool.keep_ready(&ready, ready.settings.min_ready);
    fixture.request(&hello, "").await.expect("a response");
    fixture.rest().await;
    assert_eq!(fixture.instances(), 3);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.instances(), 2);
    let (start, _) = fixture.request(&ready, "").await.expect("a response");
    assert_eq!(start, Start::Fresh);
    drop(fixture.request(&ready, "!die").await);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(fixture.instances(), 2);
    fixture.pool.forget(&ready.function, None);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.instances(), 0);
    fixture.check_drains().await;
}

#[tokio::test(start_paused = true)]
async fn a_reserved_limit_counts_all_versions() {
    let fixture = Fixture::new(config());
    let first = deployed_as("hello", VersionNumber::FIRST, settings(), Some(1));
    let second = deployed_as("hello", "2".parse().expect("a number"), settings(), Some(1));
    fixture.request(&first, "").await.expect("a response");
    fixture.rest().await;
    let (start, _) = fixture
        .request(&second, "")
        .await
        .expect("the idle one makes room");
    assert_eq!(start, Start::Cold);
    fixture.rest().await;
    let running = fixture.spawn(&first, "!sleep 100");
    let waiting = fixture.spawn(&second, "");
    running.await.expect("no panic").expect("a response");
    waiting.await.expect("no panic").expect("a response");
    fixture.check_at_rest().await;
    assert_eq!(fixture.instances(), 1);
}

#[tokio::test(start_paused = true)]
async fn shells_fit_the_ram_of_the_function() {
    let fixture = Fixture::new(config());
    fixture.rest().await;
    let large = deployed(
        "large",
        Settings {
            memory_bytes: 64 << 20,
            ..settings()
        },
    );
    fixture.request(&large, "").await.expect("a response");
    fixture.rest().await;
    let state = fixture.pool.state.lock();
    assert!(
        state
            .shells
            .iter()
            .any(|(ram_bytes, _)| *ram_bytes == 64 << 20)
    );
}

/// What the pool itself costs a request; the figures are for a release build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_request_is_cheap() {
    let fixture = Fixture::new(config());
    let hello = deployed("hello", settings());
    let requests = 20_000_u32;
    let mut acquiring = Duration::ZERO;
    let request = event("x");
    let began = std::time::Instant::now();
    for _ in 0..requests {
        let before = std::time::Instant::now();
        let mut lease = fixture.pool.acquire(&hello).await.expect("a VM");
        acquiring += before.elapsed();
        lease.invoke(&request).await.expect("a response");
        lease.finish();
    }
    println!(
        "acquire {:?}, the whole {:?} a request",
        acquiring / requests,
        began.elapsed() / requests
    );
    // A hundred times what it takes, so that only a task, a channel or a quadratic search trips it.
    assert!(acquiring / requests < Duration::from_micros(200));
}

/// One request after the other never needs a second VM, though each comes while the VM of the last one settles.
#[tokio::test(start_paused = true)]
async fn one_after_the_other_use_one_vm() {
    let fixture = Fixture::new(PoolConfig {
        settle_wait_us: 5000,
        ..config()
    });
    let hello = deployed("hello", settings());
    fixture
        .vms
        .behave(|behaviour| behaviour.settle_delay = Duration::from_millis(1));
    fixture.rest().await;
    let mut starts = vec![];
    for _ in 0..20 {
        starts.push(fixture.request(&hello, "x").await.expect("a VM").0);
    }
    assert_eq!(starts[0], Start::Cold);
    assert!(
        starts[1..].iter().all(|start| *start == Start::Fresh),
        "{starts:?}"
    );
    assert_eq!(fixture.instances(), 1);
    // One that takes longer is not waited for.
    fixture
        .vms
        .behave(|behaviour| behaviour.settle_delay = Duration::from_millis(50));
    fixture.request(&hello, "x").await.expect("a VM");
    let (start, _) = fixture.request(&hello, "x").await.expect("a VM");
    assert_eq!(start, Start::Cold);
}
