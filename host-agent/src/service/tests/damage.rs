//! A snapshot whose RAM is damaged while it is open.

use std::os::unix::fs::FileExt;

use jiffy_model::Outcome;
use jiffy_snapshots::{RAM_FILE, Snapshot};

use super::*;

/// The blame is the platform's, and the next request finds it healed; a function's own fault stays its own.
#[tokio::test]
async fn damage_on_disk_is_found_and_mended() {
    let bench = Bench::new();
    let deployed = bench.deploy("f", b"image").await.expect("deployed");
    let kind = bench.failure("f", "!fault").await;
    assert_eq!(kind.outcome, Outcome::Device, "{kind}");

    bench.deploy("g", b"other").await.expect("deployed");
    let version = bench
        .service
        .catalog
        .version(&name("g"), VersionNumber::FIRST);
    let digest = bench.snapshot("g", &version.expect("a version"));
    let path = bench.store().path(&digest);
    let in_memory = Snapshot::open(&path).expect("whole").ram_is_copied();
    let ram = fs::OpenOptions::new().write(true).open(path.join(RAM_FILE));
    let ram = ram.expect("root, or the owner with a way around the mode");
    ram.write_all_at(b"damaged", 4096 * 7).expect("written");
    assert!(Snapshot::verify(&path).is_err(), "the test damages nothing");

    let kind = bench.failure("g", "!fault").await;
    if in_memory {
        // What it runs on is a copy, which the damage does not reach: the fault is its own.
        assert_eq!(kind.outcome, Outcome::Device, "{kind}");
        return;
    }
    assert!(
        kind.outcome == Outcome::Platform && kind.text.contains("damaged"),
        "{kind:?}"
    );
    let answered = bench.ask("g", "text").await.expect("healed");
    assert_eq!(answered.response.body, b"text");
    let now = bench
        .service
        .catalog
        .version(&name("g"), VersionNumber::FIRST);
    let path = bench
        .store()
        .path(&bench.snapshot("g", &now.expect("a version")));
    Snapshot::verify(&path).expect("whole again");
    // It is not looked at again so soon, and what fails now is the function's.
    let kind = bench.failure("g", "!fault").await;
    assert_eq!(kind.outcome, Outcome::Device, "{kind}");
    drop(deployed);
}
