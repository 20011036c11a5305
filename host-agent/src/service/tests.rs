mod crash;
mod damage;
mod deploys;
mod hosts;

use std::{fs, sync::atomic::AtomicU32};

use jiffy_abi::frame::ResponseKind;
use jiffy_model::Outcome;
use jiffy_snapshots::{Digest, Store};
use tempfile::TempDir;

use super::*;
use crate::{
    config::FileConfig,
    logs::LogQuery,
    model::{Alias, AliasName, InvalidValue, Qualifier, Settings},
    pool::Start,
    vm::fake::FakeVms,
};

/// A service over a data directory, with VMs in memory.
pub(super) struct Bench {
    pub(super) service: Arc<Service<FakeVms>>,
    pub(super) vms: FakeVms,
    pub(super) folder: Arc<TempDir>,
}

pub(super) fn config(folder: &TempDir) -> Config {
    let settings = FileConfig {
        data_dir: folder.path().join("data"),
        ..FileConfig::default()
    };
    Config::new(settings).expect("valid")
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::in_folder(Arc::new(tempfile::tempdir().expect("folder")), "host")
    }

    pub(super) fn in_folder(folder: Arc<TempDir>, host: &str) -> Self {
        let registry = open_registry(&config(&folder)).expect("registry");
        Self::with_registry(folder, host, registry)
    }

    pub(super) fn with_registry(
        folder: Arc<TempDir>,
        host: &str,
        registry: Arc<dyn Registry>,
    ) -> Self {
        let vms = FakeVms::new();
        let service = Service::start(Parts {
            vms: Arc::new(vms.clone()),
            pool: PoolConfig {
                memory_bytes_max: 1 << 40,
                ..PoolConfig::default()
            },
            config: config(&folder),
            host: HostIdentity::named(host),
            registry,
            kv: Arc::new(
                Kv::in_memory(jiffy_kv::Limits::default(), system_clock()).expect("memory"),
            ),
            queues: Arc::new(
                jiffy_queue::FileQueues::in_memory(jiffy_queue::Limits::default(), system_clock())
                    .expect("memory"),
            ),
            secrets: Arc::new(jiffy_secrets::Secrets::in_memory().expect("memory")),
            invoker: Invoker::default(),
            symbolizer: None,
        });
        Self {
            service: service.expect("service"),
            vms,
            folder,
        }
    }

    /// Ends the service as a kill would, and starts another on what it left.
    pub(super) async fn again(self, host: &str) -> Self {
        let folder = Arc::clone(&self.folder);
        self.end().await;
        Self::in_folder(folder, host)
    }

    /// Ends the service as a kill would: its files can be opened by another.
    pub(super) async fn end(self) {
        let Self {
            service, folder, ..
        } = self;
        let gone = (
            Arc::downgrade(&service.prepare),
            Arc::downgrade(&service.catalog),
            Arc::downgrade(&service),
        );
        drop(service);
        // Tasks in the background hold them for a moment.
        while gone.0.strong_count() + gone.1.strong_count() + gone.2.strong_count() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        // Whoever let go of them last may be closing their files still.
        while open_registry(&config(&folder)).is_err() {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Puts any bytes among the images: the fake builds them.
    pub(super) fn image(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let name = digest.to_string();
        let shard = self.folder.path().join("data/images").join(&name[..2]);
        fs::create_dir_all(&shard).expect("shard");
        fs::write(shard.join(name), bytes).expect("image");
        digest
    }

    pub(super) async fn deploy(
        &self,
        function: &str,
        image: &[u8],
    ) -> Result<DeployOutcome, DeployError> {
        self.deploy_with(function, image, Settings::default()).await
    }

    async fn deploy_with(
        &self,
        function: &str,
        image: &[u8],
        settings: Settings,
    ) -> Result<DeployOutcome, DeployError> {
        let digest = self.image(image);
        self.service.deploy(&name(function), digest, settings).await
    }

    pub(super) async fn ask(&self, function: &str, event: &str) -> Result<Invoked, InvokeFailure> {
        self.ask_version(function, "live", event).await
    }

    async fn ask_version(
        &self,
        function: &str,
        qualifier: &str,
        event: &str,
    ) -> Result<Invoked, InvokeFailure> {
        let input = InvokeInput {
            body: event.into(),
            wants_log_tail: true,
            ..InvokeInput::default()
        };
        let qualifier: Qualifier = qualifier.parse().expect("qualifier");
        self.service
            .invoke(&name(function), &qualifier, input)
            .await
    }

    async fn failure(&self, function: &str, event: &str) -> NoAnswer {
        self.ask(function, event).await.expect_err("a failure").why
    }

    /// Has garbage collected until so many snapshots are left. The service's own keeper may be at it, and then it is not done
    /// twice, or something is still being built.
    #[track_caller]
    fn check_left(&self, snapshots: usize) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let end = Instant::now() + Duration::from_secs(20);
            while self.snapshots() != snapshots && Instant::now() < end {
                self.service.tidy().await;
                sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(self.snapshots(), snapshots, "left for {caller}");
        }
    }

    fn snapshots(&self) -> usize {
        self.store().list().expect("snapshots").len()
    }

    /// The snapshots on disk.
    fn store(&self) -> Store {
        Store::new(self.folder.path().join("data/snapshots")).expect("store")
    }

    /// The snapshot of a version on this host.
    fn snapshot(&self, function: &str, version: &Version) -> Digest {
        let snapshot = self.service.prepare.snapshot(&name(function), version);
        snapshot.expect("a snapshot")
    }
}

pub(super) fn name(text: &str) -> FunctionId {
    text.parse().expect("name")
}

pub(super) fn number(number: u64) -> VersionNumber {
    VersionNumber(number.try_into().expect("not zero"))
}

#[tokio::test]
async fn what_is_deployed_answers() {
    let bench = Bench::new();
    let deployed = bench.deploy("f", b"one").await.expect("deployed");
    assert!(deployed.created);
    assert_eq!(deployed.version.number, number(1));
    assert_eq!(deployed.logs[0].text, "init");
    let cold = bench.ask("f", "hello").await.expect("answer");
    assert_eq!(cold.response.body, b"hello");
    assert_eq!(
        (cold.facts.version, cold.facts.start),
        (Some(number(1)), Some(Start::Cold))
    );
    assert_eq!(cold.facts.request_id.len(), 36);
    let fresh = bench.ask("f", "!log said").await.expect("answer");
    assert_eq!(fresh.facts.start, Some(Start::Fresh));
    let tail = fresh.facts.log_tail.expect("asked for");
    assert!(tail.starts_with("said\nREPORT RequestId: "), "{tail}");
    let again = bench.deploy("f", b"two").await.expect("deployed");
    assert!(!again.created);
    assert_eq!(again.function.live, number(2));
    let answer = bench.ask("f", "x").await.expect("answer");
    assert_eq!(answer.facts.version, Some(number(2)));
    assert_eq!(
        bench
            .service
            .catalog
            .versions(&name("f"), None, 9)
            .expect("versions")
            .len(),
        2
    );
}

#[tokio::test]
async fn each_end_of_a_request_is_told_apart() {
    let bench = Bench::new();
    bench.deploy("f", b"one").await.expect("deployed");
    let kinds = ["!error no", "!bad", "fine"].map(|event| bench.ask("f", event));
    let mut found = vec![];
    for kind in kinds {
        found.push(kind.await.expect("answer").response.kind);
    }
    assert_eq!(
        found,
        [
            ResponseKind::FunctionError,
            ResponseKind::BadEvent,
            ResponseKind::Ok
        ]
    );
    let panic = bench.failure("f", "!panic oh").await;
    assert_eq!(panic, NoAnswer::new(Outcome::Panic, "oh"));
    assert_eq!(bench.failure("f", "!fault").await.outcome, Outcome::Device);
    assert_eq!(bench.failure("f", "!exit 3").await.outcome, Outcome::Exited);
    assert_eq!(
        bench.failure("f", "!malformed").await.outcome,
        Outcome::BadResponse
    );
    let timeout = bench.failure("f", "!timeout").await;
    assert_eq!(timeout.outcome, Outcome::Timeout);
    assert!(timeout.text.contains("within 3000 ms"), "{timeout}");
    assert_eq!(
        bench.failure("f", "!oom").await.outcome,
        Outcome::OutOfMemory
    );
    assert_eq!(bench.failure("f", "!die").await.outcome, Outcome::Host);
    assert_eq!(bench.failure("g", "x").await.outcome, Outcome::NotFound);
    let missing = bench
        .ask_version("f", "7", "x")
        .await
        .expect_err("no version");
    assert_eq!(missing.why.outcome, Outcome::NotFound);
    let missing = bench
        .ask_version("f", "beta", "x")
        .await
        .expect_err("no alias");
    assert_eq!(missing.why.outcome, Outcome::NotFound);
    // A broken VM costs its request, and no other.
    assert!(bench.ask("f", "fine").await.is_ok());
    bench.service.flush();
    let usage = bench.service.usage().summary(Some(&name("f")), 0);
    assert_eq!(usage[0].sums.requests, 11);
}

/// Nothing remains of the times before: no log, no record.
#[tokio::test]
async fn a_request_whose_vm_was_ended_for_want_of_memory_is_given_to_another() {
    let bench = Bench::new();
    bench.deploy("f", b"one").await.expect("deployed");
    bench.vms.behave(|behaviour| behaviour.squeezes = 3);
    let invoked = bench.ask("f", "!squeezed").await.expect("a response");
    assert_eq!(invoked.response.body, b"!squeezed");
    let tail = invoked.facts.log_tail.expect("asked for");
    assert!(!tail.contains("of a VM that was ended"), "{tail}");
    assert_eq!(bench.service.pool().stats().vms_squeezed, 3);
    let requests = || {
        bench.service.flush();
        let usage = bench.service.usage().summary(Some(&name("f")), 0);
        (usage[0].sums.requests, usage[0].sums.cpu_us)
    };
    let (asked, cpu_us) = requests();
    assert!(asked == 1 && cpu_us >= 3 * 7, "{cpu_us}");
    // It ends at some time, and blames nobody.
    bench.vms.behave(|behaviour| behaviour.squeezes = u32::MAX);
    let failure = bench.failure("f", "!squeezed").await;
    assert!(
        failure.outcome == Outcome::NoMemory && failure.text.contains("ran out of memory"),
        "{failure:?}"
    );
    // What was computed for nothing is paid for all the same.
    assert_eq!(requests(), (2, cpu_us + 6 * 7));
}

#[tokio::test]
async fn a_request_that_made_calls_is_not_repeated_and_the_pool_starts_fewer() {
    let bench = Bench::new();
    bench.deploy("f", b"one").await.expect("deployed");
    let failure = bench.failure("f", "!squeezed-after-calls").await;
    assert!(
        failure.outcome == Outcome::Host && failure.text.contains("made twice"),
        "{failure:?}"
    );
    assert_eq!(bench.service.pool().stats().vms_squeezed, 1);
    bench.service.flush();
    let usage = bench.service.usage().summary(Some(&name("f")), 0);
    assert_eq!(usage[0].sums.requests, 1);
    // Whoever repeats it has to know what was done.
    let log = bench.service.logs().read(&name("f"), &LogQuery::default());
    let log = log.expect("read");
    assert!(
        log[1].text == "CALL kv.get" && log[2].text.contains("made twice"),
        "{log:?}"
    );
}

#[tokio::test]
async fn a_request_that_no_frame_holds_costs_no_vm() {
    let bench = Bench::new();
    bench.deploy("f", b"one").await.expect("deployed");
    let ask = |http| {
        let input = InvokeInput {
            http: Some(http),
            ..InvokeInput::default()
        };
        let service = Arc::clone(&bench.service);
        async move { service.invoke(&name("f"), &Qualifier::Live, input).await }
    };
    let long = jiffy_control::HttpRequest {
        target: "/".repeat(1 << 16),
        ..Default::default()
    };
    let many = jiffy_control::HttpRequest {
        headers: vec![("x".into(), vec![0; 1000]); 66],
        ..Default::default()
    };
    for http in [long, many] {
        let failure = ask(http).await.expect_err("too large");
        assert_eq!(failure.why.outcome, Outcome::Unframed);
    }
    assert_eq!(bench.vms.counts().restores.load(Relaxed), 0);
}

#[tokio::test]
async fn reserved_concurrency_of_none_stops_a_function() {
    let bench = Bench::new();
    bench.deploy("f", b"one").await.expect("deployed");
    bench.ask("f", "x").await.expect("answer");
    let f = name("f");
    let set = |limit| bench.service.catalog.set_reserved_concurrency(&f, limit);
    set(Some(0)).await.expect("stopped");
    assert_eq!(bench.failure("f", "x").await.outcome, Outcome::Stopped);
    assert!(set(Some(10_001)).await.is_err());
    set(None).await.expect("lifted");
    bench.ask("f", "x").await.expect("answer");
}

#[tokio::test]
async fn everything_is_there_again_after_a_restart() {
    let bench = Bench::new();
    let deployed = bench.deploy("f", b"one").await.expect("deployed");
    let bench = bench.again("host").await;
    assert_eq!(
        bench.service.catalog.function(&name("f")).expect("f"),
        deployed.function
    );
    bench.ask("f", "x").await.expect("answer");
    assert_eq!(bench.service.health().rebuilding, 0);
}

#[tokio::test]
async fn the_first_request_leaves_a_working_set() {
    let bench = Bench::new();
    let deployed = bench.deploy("f", b"one").await.expect("deployed");
    bench.ask("f", "x").await.expect("answer");
    let digest = bench.snapshot("f", &deployed.version);
    let file = bench.store().path(&digest);
    let file = file.join(jiffy_snapshots::WORKING_SET_FILE);
    let entry = bench.service.catalog.entry(&name("f")).expect("entry");
    let prepare = &bench.service.prepare;
    let slot = prepare.slot(&entry, &entry.versions[&number(1)]);
    let has_it = async || {
        let opened = prepare.deployed(&slot).await.expect("open");
        !opened.snapshot.snapshot.working_set().is_empty()
    };
    for _ in 0..1000 {
        if file.exists() && has_it().await {
            return;
        }
        sleep(Duration::from_millis(2)).await;
    }
    panic!("no working set");
}

#[tokio::test]
async fn min_ready_vms_wait_before_anybody_asks() {
    let bench = Bench::new();
    let settings = Settings {
        min_ready: 2,
        ..Settings::default()
    };
    bench
        .deploy_with("f", b"one", settings.clone())
        .await
        .expect("deployed");
    let wait = async |instances| {
        for _ in 0..1000 {
            if bench.vms.counts().instances.load(Relaxed) == instances {
                return;
            }
            sleep(Duration::from_millis(2)).await;
        }
        panic!("not {instances} instances");
    };
    wait(2).await;
    assert_eq!(
        bench.ask("f", "x").await.expect("answer").facts.start,
        Some(Start::Fresh)
    );
    // Those of the old version go.
    bench
        .deploy_with("f", b"two", settings)
        .await
        .expect("deployed");
    wait(2).await;
    bench.deploy("f", b"six").await.expect("deployed");
    wait(0).await;
}

#[tokio::test]
async fn a_client_that_goes_is_counted() {
    let bench = Bench::new();
    bench.deploy("f", b"one").await.expect("deployed");
    let asked = bench.ask("f", "!sleep 10000");
    assert!(
        tokio::time::timeout(Duration::from_millis(50), asked)
            .await
            .is_err()
    );
    // Counted when its VM has ended, and has told what it took until then.
    let counted = async {
        loop {
            bench.service.flush();
            let text = bench
                .service
                .metrics()
                .encode(&Default::default(), crate::metrics::Exposition::OpenMetrics);
            if text.contains("cancelled") {
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    let counted = tokio::time::timeout(Duration::from_secs(10), counted).await;
    counted.expect("it is counted");
    bench.ask("f", "x").await.expect("answer");
}

#[tokio::test]
async fn a_stopping_agent_ends_what_it_began() {
    let bench = Bench::new();
    bench.deploy("f", b"one").await.expect("deployed");
    let begun = AtomicU32::new(0);
    let drain = async {
        while begun.load(Relaxed) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(20)).await;
        bench.service.drain(Duration::from_secs(5)).await;
    };
    let ask = async {
        begun.store(1, Relaxed);
        bench.ask("f", "!sleep 100").await
    };
    let (answer, ()) = tokio::join!(ask, drain);
    answer.expect("it was begun before");
    assert_eq!(bench.failure("f", "x").await.outcome, Outcome::ShuttingDown);
    assert!(matches!(
        bench.deploy("f", b"two").await.expect_err("stopping").kind,
        DeployErrorKind::Build(BuildError::Host(_))
    ));
    assert!(bench.service.health().stopping);
}

/// The socket stays where it is until the next start, so its guard does, too.
#[tokio::test]
async fn a_reload_takes_no_token_away_from_a_socket_that_is_open_to_all() {
    let bench = Bench::new();
    let open = |token: Option<&str>| {
        let mut config = config(&bench.folder);
        config.settings.listen = ([0, 0, 0, 0], 7070).into();
        config.token = token.map(|token| token.to_owned().into());
        config
    };
    bench
        .service
        .config
        .write()
        .clone_from(&Arc::new(open(Some("secret"))));
    let needs_restart = bench.service.reload(config(&bench.folder));
    assert_eq!(needs_restart, ["listen", "token_file"]);
    let now = bench.service.config();
    assert_eq!(
        now.token.as_ref().map(|token| token.expose()),
        Some("secret")
    );
    assert_eq!(bench.service.reload(open(Some("other"))), [""; 0]);
    let now = bench.service.config();
    assert_eq!(
        now.token.as_ref().map(|token| token.expose()),
        Some("other")
    );
}

/// Fewer snapshots are closed with the next one that is opened, and more stay open with it; both without a restart.
#[tokio::test]
async fn a_reload_changes_how_many_snapshots_are_open() {
    let bench = Bench::new();
    let with_max = |open_snapshots_max: u32| {
        let mut config = config(&bench.folder);
        config.settings.limits.open_snapshots_max = open_snapshots_max;
        config
    };
    let deploy = async |name: &str| {
        let deployed = bench.deploy(name, name.as_bytes()).await;
        deployed.expect("deployed");
        bench.service.prepare.open_snapshots()
    };
    for number in 0..8 {
        assert_eq!(deploy(&format!("early-{number}")).await, number + 1);
    }
    assert_eq!(bench.service.reload(with_max(4)), [""; 0]);
    for number in 0..8 {
        assert!(deploy(&format!("fewer-{number}")).await <= 4, "{number}");
    }
    // One that was closed is opened again by who asks.
    bench.ask("early-0", "x").await.expect("answer");
    assert!(bench.service.prepare.open_snapshots() <= 4);
    assert_eq!(bench.service.reload(with_max(100)), [""; 0]);
    let before = bench.service.prepare.open_snapshots();
    for number in 0..8 {
        let open = deploy(&format!("more-{number}")).await;
        assert_eq!(open, before + number + 1);
    }
}
