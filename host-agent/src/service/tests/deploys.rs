//! What is deployed, changed and deleted: which version serves, and what is left behind.

use jiffy_model::{EndsRequest as _, Outcome};

use super::*;
use crate::model::AliasTarget;

fn plan(image: Digest, publish: bool) -> Plan {
    Plan {
        image,
        settings: Settings::default(),
        lambda: None,
        publish,
        expected_changes: None,
    }
}

impl Bench {
    /// Makes `image` live and does not publish it.
    async fn update(&self, function: &str, image: &[u8]) -> Result<DeployOutcome, DeployError> {
        let plan = plan(self.image(image), false);
        self.service
            .deploy_as(Mode::Put, &name(function), plan)
            .await
    }
}

/// It has a snapshot of its own, which is what requests run on, also after a restart; VMs of what it replaced go.
#[tokio::test]
async fn a_live_version_that_is_not_published_serves_and_is_replaced() {
    let bench = Bench::new();
    bench.deploy("f", b"one").await.expect("deployed");
    for image in [b"two", b"six"] {
        let updated = bench.update("f", image).await.expect("updated");
        assert_eq!(
            (updated.version.number, updated.version.published),
            (number(2), false)
        );
        // It would be warm if it were the VM of what was live before.
        for start in [Start::Cold, Start::Fresh] {
            let answer = bench.ask("f", "x").await.expect("answer");
            assert_eq!(
                (answer.facts.version, answer.facts.start),
                (Some(number(2)), Some(start))
            );
        }
    }
    // Its number names nothing yet; what was published is there.
    let missing = bench
        .ask_version("f", "2", "x")
        .await
        .expect_err("not published");
    assert_eq!(missing.why.outcome, Outcome::NotFound);
    bench.ask_version("f", "1", "x").await.expect("answer");
    bench.check_left(2).await;
    let bench = bench.again("host").await;
    assert_eq!(
        bench.ask("f", "x").await.expect("answer").facts.start,
        Some(Start::Cold)
    );
    // Publishing builds nothing and ends no VM.
    bench
        .service
        .catalog
        .publish(&name("f"), Default::default())
        .await
        .expect("published");
    let answer = bench.ask_version("f", "2", "x").await.expect("answer");
    assert_eq!(answer.facts.start, Some(Start::Fresh));
    // A rollback leaves nothing of one that is not.
    bench.update("f", b"ten").await.expect("updated");
    bench
        .service
        .rollback(&name("f"), None)
        .await
        .expect("to 2");
    let function = bench.service.catalog.function(&name("f")).expect("there");
    assert_eq!((function.live, function.next), (number(2), number(3)));
    bench.check_left(2).await;
    // On another host it is built again like any other.
    bench.update("f", b"ten").await.expect("updated");
    let bench = bench.again("other host").await;
    let answer = bench.ask("f", "x").await.expect("answer");
    assert_eq!(answer.facts.version, Some(number(3)));
}

/// A rollback came between: the deploy was of something that is live no more.
#[tokio::test]
async fn a_deploy_of_what_was_changed_meanwhile_is_refused() {
    let bench = Bench::new();
    bench.deploy("f", b"one").await.expect("deployed");
    bench.deploy("f", b"two").await.expect("deployed");
    bench
        .vms
        .behave(|behaviour| behaviour.build_delay = Duration::from_millis(50));
    let roll_back = async {
        sleep(Duration::from_millis(10)).await;
        bench.service.rollback(&name("f"), None).await
    };
    let (deployed, rolled_back) = tokio::join!(bench.deploy("f", b"six"), roll_back);
    rolled_back.expect("rolled back");
    let DeployErrorKind::Change(refused) = deployed.expect_err("refused").kind else {
        panic!("another error");
    };
    assert_eq!(refused.outcome(), Outcome::Conflict);
}

#[tokio::test]
async fn a_failed_deploy_leaves_the_old_version_serving() {
    let bench = Bench::new();
    bench.deploy("f", b"one").await.expect("deployed");
    let refused = bench.deploy("f", b"!refuse").await.expect_err("refused");
    assert!(
        matches!(refused.kind, DeployErrorKind::Build(BuildError::Image(_))),
        "{refused}"
    );
    let failed = bench
        .deploy("f", b"!init no database")
        .await
        .expect_err("init");
    assert!(failed.to_string().contains("no database"), "{failed}");
    assert_eq!(failed.logs[0].text, "init");
    let (f, none) = (name("f"), Digest::of(b"none"));
    let missing = bench.service.deploy(&f, none, Settings::default());
    let missing = missing.await.expect_err("missing").kind;
    assert!(matches!(
        missing,
        DeployErrorKind::Build(BuildError::NoImage(_))
    ));
    let settings = Settings {
        timeout_ms: 0,
        ..Settings::default()
    };
    let invalid = bench
        .deploy_with("f", b"two", settings)
        .await
        .expect_err("invalid")
        .kind;
    assert!(matches!(
        invalid,
        DeployErrorKind::Invalid(InvalidValue::Timeout(0))
    ));
    let answer = bench.ask("f", "x").await.expect("answer");
    assert_eq!(answer.facts.version, Some(number(1)));
    assert_eq!(
        bench.service.catalog.function(&name("f")).expect("f").next,
        number(2)
    );
    // A function whose first deploy failed is none.
    bench.deploy("g", b"!init").await.expect_err("init");
    assert!(bench.service.catalog.function(&name("g")).is_err());
}

#[tokio::test]
async fn one_deploy_of_a_function_at_a_time() {
    let bench = Bench::new();
    bench
        .vms
        .behave(|behaviour| behaviour.build_delay = Duration::from_millis(50));
    let (one, two, other) = tokio::join!(
        bench.deploy("f", b"one"),
        bench.deploy("f", b"two"),
        bench.deploy("g", b"one"),
    );
    let lost = [one, two]
        .into_iter()
        .filter_map(Result::err)
        .collect::<Vec<_>>();
    assert!(matches!(
        &lost[..],
        [DeployError {
            kind: DeployErrorKind::UnderWay(_),
            ..
        }]
    ));
    other.expect("another function");
    bench.deploy("f", b"three").await.expect("when it is done");
}

/// Each client believed that there is no such function; one of them makes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_creates_at_once_one_wins() {
    let bench = Arc::new(Bench::new());
    for round in 0..20_u64 {
        let delay = Duration::from_millis(round % 3);
        bench.vms.behave(|behaviour| behaviour.build_delay = delay);
        let function = format!("f{round}");
        let create = |client: u32| {
            let (bench, name) = (Arc::clone(&bench), name(&function));
            tokio::spawn(async move {
                let image = bench.image(&client.to_le_bytes());
                let plan = plan(image, true);
                bench.service.deploy_as(Mode::Create, &name, plan).await
            })
        };
        let (mut won, mut lost) = (0, 0);
        for create in [0, 1, 2, 3].map(create) {
            match create.await.expect("no panic") {
                Ok(outcome) => {
                    assert!(outcome.created && outcome.version.number == number(1));
                    won += 1;
                }
                Err(DeployError {
                    kind:
                        DeployErrorKind::UnderWay(_) | DeployErrorKind::Change(ChangeError::Exists(_)),
                    ..
                }) => lost += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((won, lost), (1, 3));
        let versions = bench.service.catalog.versions(&name(&function), None, 9);
        assert_eq!(versions.expect("there").len(), 1);
    }
}

#[tokio::test]
async fn a_function_deleted_while_it_is_deployed_stays_deleted() {
    let bench = Bench::new();
    bench.deploy("f", b"one").await.expect("deployed");
    bench
        .vms
        .behave(|behaviour| behaviour.build_delay = Duration::from_millis(50));
    let delete = async {
        sleep(Duration::from_millis(10)).await;
        bench.service.catalog.delete_function(&name("f")).await
    };
    let (deployed, deleted) = tokio::join!(bench.deploy("f", b"two"), delete);
    deleted.expect("deleted");
    let conflict = deployed.expect_err("conflict").kind;
    let DeployErrorKind::Change(change) = conflict else {
        panic!("{conflict}");
    };
    assert_eq!(change.outcome(), Outcome::Conflict);
    assert!(bench.service.catalog.function(&name("f")).is_err());
}

#[tokio::test]
async fn rollback_and_aliases_lead_where_they_say() {
    let bench = Bench::new();
    for image in [b"one", b"two", b"six"] {
        bench.deploy("f", image).await.expect("deployed");
    }
    let f = name("f");
    let live = |function: Function| function.live;
    let service = &bench.service;
    assert_eq!(
        service.rollback(&f, None).await.map(live).expect("to 2"),
        number(2)
    );
    assert_eq!(
        service
            .rollback(&f, Some(number(3)))
            .await
            .map(live)
            .expect("to 3"),
        number(3)
    );
    let missing = service
        .rollback(&f, Some(number(9)))
        .await
        .expect_err("no version");
    assert_eq!(missing.outcome(), Outcome::NotFound);
    service.rollback(&f, Some(number(1))).await.expect("to 1");
    let none = service.rollback(&f, None).await.expect_err("none before");
    assert_eq!(none.outcome(), Outcome::Conflict);
    let beta: AliasName = "beta".parse().expect("alias");
    let to = |per_mille| Alias {
        version: AliasTarget::Version(number(2)),
        other: Some((number(3), per_mille)),
        description: String::new(),
    };
    let invalid = service
        .catalog
        .put_alias(&f, &beta, to(1001))
        .await
        .expect_err("weight");
    assert_eq!(invalid.outcome(), Outcome::InvalidRequest);
    service
        .catalog
        .put_alias(&f, &beta, to(500))
        .await
        .expect("alias");
    let mut counts = [0; 4];
    for _ in 0..200 {
        let answer = bench.ask_version("f", "beta", "x").await.expect("answer");
        counts[usize::try_from(answer.facts.version.expect("version").0.get()).expect("small")] +=
            1;
    }
    assert_eq!(counts[1], 0);
    // A fair coin is outside these bounds once in 10^9 runs.
    assert!((57..=143).contains(&counts[2]), "{counts:?}");
    let kept = service
        .catalog
        .delete_version(&f, number(3), false)
        .await
        .expect_err("aliased");
    assert_eq!(kept.outcome(), Outcome::Conflict);
    service
        .catalog
        .remove_alias(&f, &beta)
        .await
        .expect("removed");
    service
        .catalog
        .delete_version(&f, number(3), false)
        .await
        .expect("deleted");
    assert!(bench.ask_version("f", "3", "x").await.is_err());
    assert!(bench.ask_version("f", "2", "x").await.is_ok());
}

#[tokio::test]
async fn a_deleted_function_leaves_nothing() {
    let bench = Bench::new();
    bench.deploy("f", b"one").await.expect("deployed");
    bench.deploy("g", b"two").await.expect("deployed");
    bench.ask("f", "x").await.expect("answer");
    assert_eq!(bench.snapshots(), 2);
    bench
        .service
        .catalog
        .delete_function(&name("f"))
        .await
        .expect("deleted");
    assert_eq!(bench.failure("f", "x").await.outcome, Outcome::NotFound);
    bench.check_left(1).await;
    bench.ask("g", "x").await.expect("not touched");
    let again = bench.deploy("f", b"one").await.expect("deployed");
    assert_eq!(again.version.number, number(1));
    bench.ask("f", "x").await.expect("answer");
}

#[tokio::test]
async fn garbage_is_left_alone_while_something_is_built() {
    let bench = Bench::new();
    bench.deploy("f", b"one").await.expect("deployed");
    bench
        .service
        .catalog
        .delete_function(&name("f"))
        .await
        .expect("deleted");
    bench
        .vms
        .behave(|behaviour| behaviour.build_delay = Duration::from_millis(100));
    let tidy = async {
        sleep(Duration::from_millis(30)).await;
        bench.service.tidy().await;
        bench.snapshots()
    };
    let (deployed, snapshots) = tokio::join!(bench.deploy("g", b"two"), tidy);
    deployed.expect("deployed");
    assert_eq!(snapshots, 1);
    bench.check_left(1).await;
    bench.ask("g", "x").await.expect("answer");
}

#[tokio::test]
async fn snapshots_follow_the_host() {
    let bench = Bench::new();
    bench.deploy("f", b"one").await.expect("deployed");
    bench.deploy("f", b"two").await.expect("deployed");
    bench.deploy("g", b"!init").await.expect_err("never there");
    let bench = bench.again("other host").await;
    bench.ask("f", "x").await.expect("waits for its rebuild");
    while bench.service.health().rebuilding > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    for version in [1, 2] {
        let version = bench
            .service
            .catalog
            .version(&name("f"), number(version))
            .expect("there");
        bench.snapshot("f", &version);
    }
    bench.ask_version("f", "1", "x").await.expect("answer");
}

#[tokio::test]
async fn a_damaged_or_lost_snapshot_is_built_again() {
    let bench = Bench::new();
    let deployed = bench.deploy("f", b"one").await.expect("deployed");
    let path = bench.store().path(&bench.snapshot("f", &deployed.version));
    let bench = bench.again("host").await;
    fs::write(path.join(jiffy_snapshots::STATE_FILE), b"damaged").expect("write");
    bench.ask("f", "x").await.expect("built again");
    let bench = bench.again("host").await;
    fs::remove_dir_all(&path).expect("remove");
    bench.ask("f", "x").await.expect("built again");
    // What cannot be built again says so, and nothing else suffers.
    let image = deployed.version.image.to_string();
    let bench = bench.again("host").await;
    fs::remove_dir_all(&path).expect("remove");
    fs::remove_file(
        bench
            .folder
            .path()
            .join("data/images")
            .join(&image[..2])
            .join(&image),
    )
    .expect("remove");
    assert_eq!(bench.failure("f", "x").await.outcome, Outcome::Platform);
    bench.deploy("g", b"two").await.expect("deployed");
    bench.ask("g", "x").await.expect("answer");
}
