//! What is deployed belongs to no host: it is taken over from an earlier release, and two hosts can have it at once.

use super::*;
use crate::catalog::testing::write_registry;

/// A data directory as format 2 left it: the registry says which snapshot of which host a version had. The image survives and the
/// function answers from a snapshot that is made of it again; the old one is nobody's.
#[tokio::test]
async fn a_data_directory_of_an_earlier_release_goes_on() {
    let folder = Arc::new(tempfile::tempdir().expect("folder"));
    // Made by this release, and then said to be of the one before.
    let bench = Bench::in_folder(Arc::clone(&folder), "host");
    let deployed = bench.deploy("f", b"one").await.expect("deployed");
    let old = bench.deploy("old", b"other").await.expect("deployed");
    let (image, kept) = (
        deployed.version.image,
        bench.snapshot("f", &deployed.version),
    );
    let nobodys = bench.snapshot("old", &old.version);
    let data = folder.path().join("data");
    bench.end().await;
    fs::remove_file(data.join("registry")).expect("registry");
    fs::remove_file(data.join("prepared")).expect("prepared");
    let settings = serde_json::to_string(&Settings::default()).expect("settings");
    let function = r#"{"name":"f","live":1,"next":2,"changes":1,"aliases":{},"attached":{},"reserved_concurrency":null,"created_ms":1,"updated_ms":2}"#;
    let version = format!(
        r#"{{"number":1,"published":true,"image":"{image}","image_bytes":3,"takes_http":false,"settings":{settings},"lambda":{{}},"snapshot":"{nobodys}","snapshot_host":"host","created_ms":1}}"#
    );
    write_registry(&data.join("registry"), 2, function, &[&version]);
    let bench = Bench::in_folder(folder, "host");
    let answer = bench.ask("f", "hello").await.expect("answer");
    assert_eq!(answer.response.body, b"hello");
    while bench.service.health().rebuilding > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let version = bench.service.catalog.version(&name("f"), number(1));
    // The fake makes the same snapshot of the same image.
    assert_eq!(bench.snapshot("f", &version.expect("there")), kept);
    bench.check_left(1).await;
    assert_eq!(bench.store().list().expect("snapshots"), [kept]);
    bench.deploy("f", b"two").await.expect("deployed");
    assert_eq!(
        bench.ask("f", "x").await.expect("answer").facts.version,
        Some(number(2))
    );
}

/// Two agents, each with files of its own, and one registry: what one deploys the other serves, from its own snapshot.
#[tokio::test]
async fn two_hosts_serve_what_one_deployed() {
    let folder = || Arc::new(tempfile::tempdir().expect("folder"));
    let (first, second) = (folder(), folder());
    let registry = open_registry(&config(&first)).expect("registry");
    let here = Bench::with_registry(first, "first host", Arc::clone(&registry));
    fs::create_dir_all(second.path().join("data")).expect("folder");
    let there = Bench::with_registry(second, "second host", registry);
    for (image, live) in [(b"one", 1), (b"two", 2)] {
        there.image(image);
        here.deploy("f", image).await.expect("deployed");
        let answered = async {
            loop {
                if let Ok(answer) = there.ask("f", "x").await
                    && answer.facts.version == Some(number(live))
                {
                    return;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        let answered = tokio::time::timeout(Duration::from_secs(5), answered).await;
        answered.expect("the other host serves it");
        assert_eq!(there.snapshots(), usize::try_from(live).expect("small"));
    }
    // A change of the other one is followed too, and its VMs end.
    let f = name("f");
    let deleted = there.service.catalog.delete_function(&f).await;
    deleted.expect("deleted");
    let gone = async {
        while here.ask("f", "x").await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone)
        .await
        .expect("it is gone");
}
