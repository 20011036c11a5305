//! Kills between the steps of a deploy, and a registry that fails: whatever was acknowledged is there afterwards.

use std::sync::atomic::AtomicU8;

use super::{super::*, *};
use jiffy_tables::TableFileError;
use tokio::sync::watch;

use crate::{
    catalog::{Change, Changes, Update},
    model::Generation,
};

const NEVER: u8 = 0;
/// The commit fails, and nothing is durable.
const BEFORE: u8 = 1;
/// The commit is durable, and fails all the same.
const AFTER: u8 = 2;
/// Nothing can be read any more, the commit included.
const DEAD: u8 = 3;

/// A registry that fails as it is told.
#[derive(Debug)]
struct Flaky {
    inner: Arc<dyn Registry>,
    fails: AtomicU8,
}

fn broken() -> RegistryError {
    RegistryError::File(TableFileError::Storage {
        path: "registry".into(),
        source: "as the test wants it".into(),
    })
}

impl Registry for Flaky {
    fn apply(&self, change: Change) -> Result<(Generation, Update), RegistryError> {
        match self.fails.load(Relaxed) {
            BEFORE => Err(broken()),
            AFTER | DEAD => self.inner.apply(change).and_then(|_| Err(broken())),
            _ => self.inner.apply(change),
        }
    }

    fn changes(&self, after: Generation) -> Result<Changes, RegistryError> {
        match self.fails.load(Relaxed) {
            DEAD => Err(broken()),
            _ => self.inner.changes(after),
        }
    }

    /// What was not acknowledged is not told of either.
    fn watch(&self) -> watch::Receiver<Generation> {
        watch::Sender::new(Generation::NONE).subscribe()
    }
}

fn flaky() -> (Bench, Arc<Flaky>) {
    let folder = Arc::new(tempfile::tempdir().expect("folder"));
    let registry = Arc::new(Flaky {
        inner: open_registry(&config(&folder)).expect("registry"),
        fails: AtomicU8::new(NEVER),
    });
    let bench = Bench::with_registry(folder, "host", Arc::clone(&registry) as Arc<dyn Registry>);
    (bench, registry)
}

/// The live version, as requests and readers see it; both have to see the same, and it has to be whole.
async fn live(bench: &Bench) -> u64 {
    let function = bench.service.catalog.function(&name("f")).expect("there");
    let answer = bench.ask("f", "x").await.expect("the live version answers");
    assert_eq!(answer.facts.version, Some(function.live));
    let versions = bench
        .service
        .catalog
        .versions(&name("f"), None, 99)
        .expect("versions");
    assert_eq!(
        versions.last().map(|version| version.number),
        Some(function.live)
    );
    function.live.0.get()
}

#[tokio::test]
async fn a_failed_commit_leaves_the_old_version_serving() {
    let (bench, registry) = flaky();
    bench.deploy("f", b"one").await.expect("deployed");
    registry.fails.store(BEFORE, Relaxed);
    bench
        .deploy("f", b"two")
        .await
        .expect_err("the disk is full");
    assert_eq!(live(&bench).await, 1);
    registry.fails.store(NEVER, Relaxed);
    let put = bench.deploy("f", b"two").await.expect("room again");
    assert_eq!(put.version.number, number(2));
    assert_eq!(live(&bench).await, 2);
}

#[tokio::test]
async fn a_commit_that_is_durable_although_it_failed_is_seen() {
    let (bench, registry) = flaky();
    bench.deploy("f", b"one").await.expect("deployed");
    registry.fails.store(AFTER, Relaxed);
    bench
        .deploy("f", b"two")
        .await
        .expect_err("not acknowledged");
    registry.fails.store(NEVER, Relaxed);
    assert_eq!(live(&bench).await, 2);
    bench.service.tidy().await;
    assert_eq!(live(&bench).await, 2);
    bench.deploy("f", b"six").await.expect("no conflict");
}

/// Not even read back: the old version serves, no garbage is collected, and the keeper catches up.
#[tokio::test]
async fn a_dead_registry_is_caught_up_with() {
    let (bench, registry) = flaky();
    bench.deploy("f", b"one").await.expect("deployed");
    registry.fails.store(DEAD, Relaxed);
    bench
        .deploy("f", b"two")
        .await
        .expect_err("not acknowledged");
    assert_eq!(live(&bench).await, 1);
    bench.service.tidy().await;
    assert_eq!(bench.snapshots(), 2, "nothing is removed by guess");
    registry.fails.store(NEVER, Relaxed);
    bench.service.tidy().await;
    assert_eq!(live(&bench).await, 2);
    assert_eq!(bench.snapshots(), 2);
}

/// A deploy that is cut off at any time, by the end of the whole runtime as in a crash, is there whole or not at all.
#[test]
fn a_kill_at_any_time_loses_no_acknowledged_deploy() {
    let folder = Arc::new(tempfile::tempdir().expect("folder"));
    let runtime = || tokio::runtime::Runtime::new().expect("runtime");
    let mut acknowledged = 0;
    for round in 0..30_u64 {
        let runtime = runtime();
        runtime.block_on(async {
            let bench = Bench::in_folder(Arc::clone(&folder), "host");
            if round > 0 && bench.service.catalog.function(&name("f")).is_ok() {
                let live = live(&bench).await;
                assert!(live >= acknowledged, "{live} of {acknowledged}");
                acknowledged = live;
            } else {
                assert_eq!(acknowledged, 0);
            }
            let image = format!("image {round}");
            let deploy = bench.deploy("f", image.as_bytes());
            let killed_after = Duration::from_micros(round * 1500);
            if let Ok(deployed) = tokio::time::timeout(killed_after, deploy).await {
                acknowledged = deployed.expect("deployed").version.number.0.get();
            }
        });
        // Tasks end where they wait; what runs on a thread ends by itself, as a write that the kernel has does.
        runtime.shutdown_timeout(Duration::from_secs(10));
    }
    assert!(acknowledged > 0, "no deploy took less than 45 ms");
    runtime().block_on(async {
        let bench = Bench::in_folder(Arc::clone(&folder), "host");
        assert!(live(&bench).await >= acknowledged);
        let versions = bench.service.catalog.versions(&name("f"), None, 99);
        let kept = versions.expect("versions").len();
        bench.check_left(kept).await;
    });
}
