//! The catalog over a registry in a file in memory: rules, races, crashes, and files of earlier releases.

mod shared;

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use jiffy_model::{EndsRequest as _, Outcome};
use jiffy_snapshots::Digest;
use jiffy_tables::testing::Disk;
use redb::{Database, ReadableDatabase};

use super::{
    testing::{META, write_registry},
    *,
};
use crate::model::{Alias, AliasName, AliasTarget, LambdaFacts, Settings};

fn name(text: &str) -> FunctionId {
    text.parse().expect("name")
}

fn number(number: u64) -> VersionNumber {
    VersionNumber(number.try_into().expect("not zero"))
}

fn new(text: &str, expected_next: u64) -> NewVersion {
    NewVersion {
        image: Digest::of(text.as_bytes()),
        image_bytes: 7,
        takes_http: false,
        settings: Settings::default(),
        lambda: LambdaFacts::default(),
        publish: true,
        expected_next: number(expected_next),
        expected_changes: None,
    }
}

/// One that is live and not published.
fn draft(text: &str, expected_next: u64) -> NewVersion {
    NewVersion {
        publish: false,
        ..new(text, expected_next)
    }
}

fn alias(version: u64, other: Option<(u64, u16)>) -> Alias {
    Alias {
        version: AliasTarget::Version(number(version)),
        other: other.map(|(version, weight)| (number(version), weight)),
        description: String::new(),
    }
}

fn registry_on(disk: &Disk) -> Result<RedbRegistry, RegistryError> {
    RedbRegistry::with_open(Path::new("registry"), disk.open())
}

fn catalog_on(disk: &Disk, limits: Limits) -> Result<Arc<Catalog>, RegistryError> {
    Catalog::new(Arc::new(registry_on(disk)?), limits)
}

fn memory(limits: Limits) -> Arc<Catalog> {
    catalog_on(&Disk::default(), limits).expect("catalog")
}

async fn put(catalog: &Arc<Catalog>, function: &str, version: NewVersion) -> Put {
    let function = name(function);
    let put = catalog.put_version(&function, version);
    put.await.expect("put")
}

#[tokio::test]
async fn versions_count_up_and_the_last_is_live() {
    let catalog = memory(Limits::default());
    let f = name("f");
    let first = put(&catalog, "f", new("1", 1)).await;
    assert_eq!(
        (
            first.version.number,
            first.function.live,
            first.function.next
        ),
        (number(1), number(1), number(2))
    );
    let second = put(&catalog, "f", new("2", 2)).await;
    assert_eq!(second.function.created_ms, first.function.created_ms);
    assert_eq!(catalog.function(&f).expect("there"), second.function);
    let versions = catalog.versions(&f, None, 9).expect("versions");
    assert_eq!(versions, [first.version, second.version.clone()]);
    let behind = catalog.versions(&f, Some(number(1)), 9);
    assert_eq!(behind.expect("versions"), [second.version]);
    assert_eq!(catalog.versions(&f, None, 1).expect("one").len(), 1);
}

#[tokio::test]
async fn a_deploy_that_lost_a_race_changes_nothing() {
    let catalog = memory(Limits::default());
    let f = name("f");
    let put = |expected| catalog.put_version(&f, new("x", expected));
    assert!(matches!(put(2).await, Err(ChangeError::Changed(_))));
    put(1).await.expect("first");
    assert!(matches!(put(1).await, Err(ChangeError::Changed(_))));
    assert_eq!(catalog.versions(&f, None, 9).expect("versions").len(), 1);
}

#[tokio::test]
async fn functions_are_listed_by_name_and_stay_apart() {
    let catalog = memory(Limits::default());
    for text in ["b", "a", "ab"] {
        put(&catalog, text, new(text, 1)).await;
    }
    let list = |after: Option<&str>, limit| {
        let after = after.map(name);
        let functions = catalog.functions(after.as_ref(), limit).into_iter();
        let names = functions.map(|function| function.name.to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(list(None, 9), ["a", "ab", "b"]);
    assert_eq!(list(Some("a"), 1), ["ab"]);
    assert_eq!(list(Some("b"), 9), [""; 0]);
    catalog.delete_function(&name("a")).await.expect("delete");
    assert!(matches!(
        catalog.function(&name("a")),
        Err(ChangeError::NoFunction(_))
    ));
    assert_eq!(
        catalog.versions(&name("ab"), None, 9).expect("one").len(),
        1
    );
    let again = put(&catalog, "a", new("again", 1)).await;
    assert_eq!(again.version.number, number(1), "it begins anew");
}

#[tokio::test]
async fn what_requests_are_sent_to_cannot_be_deleted() {
    let catalog = memory(Limits::default());
    let f = name("f");
    for next in 1..=4 {
        put(&catalog, "f", new("x", next)).await;
    }
    let stable: AliasName = "stable".parse().expect("alias");
    let led = catalog.put_alias(&f, &stable, alias(1, Some((2, 100))));
    led.await.expect("alias");
    let delete = |version| catalog.delete_version(&f, number(version), false);
    assert!(matches!(delete(1).await, Err(ChangeError::Aliased { .. })));
    assert!(matches!(delete(2).await, Err(ChangeError::Aliased { .. })));
    assert!(matches!(delete(4).await, Err(ChangeError::Live { .. })));
    assert!(matches!(delete(9).await, Err(ChangeError::NoVersion(..))));
    delete(3).await.expect("unused");
    assert!(matches!(
        catalog.set_live(&f, number(3)).await,
        Err(ChangeError::NoVersion(..))
    ));
    let live = catalog.set_live(&f, number(1)).await.expect("rolled back");
    assert_eq!(live.live, number(1));
    delete(4).await.expect("no longer live");
    let to_missing = catalog.put_alias(&f, &stable, alias(1, Some((4, 1))));
    assert!(matches!(to_missing.await, Err(ChangeError::NoVersion(..))));
    let removed = catalog.remove_alias(&f, &stable).await.expect("removed");
    assert!(removed.aliases.is_empty());
    assert!(matches!(
        catalog.remove_alias(&f, &stable).await,
        Err(ChangeError::NoAlias(..))
    ));
    // A number is not given again.
    let put = put(&catalog, "f", new("x", 5)).await;
    assert_eq!(put.version.number, number(5));
}

#[tokio::test]
async fn limits_hold_on_both_sides() {
    let catalog = memory(Limits {
        functions_max: 2,
        versions_max: 2,
        aliases_max: 1,
    });
    let f = name("f");
    for (function, next) in [("f", 1), ("g", 1), ("f", 2)] {
        put(&catalog, function, new("x", next)).await;
    }
    let full = catalog.put_version(&name("h"), new("x", 1)).await;
    assert!(matches!(full, Err(ChangeError::FunctionsFull(2))));
    let full = catalog.put_version(&f, new("x", 3)).await;
    let message = full.expect_err("full").to_string();
    assert!(
        message.contains("limits.versions_max") && message.contains("such as 1"),
        "{message}"
    );
    // What is not published is none of them.
    put(&catalog, "f", draft("x", 3)).await;
    let publish = || catalog.publish(&f, Publication::default());
    let full = publish().await;
    assert!(matches!(full, Err(ChangeError::VersionsFull { .. })));
    let deleted = catalog.delete_version(&f, number(1), false);
    deleted.await.expect("unused");
    assert_eq!(publish().await.expect("room").version.number, number(3));
    let put_alias = async |alias_name: &str| {
        let alias_name = alias_name.parse().expect("alias");
        catalog.put_alias(&f, &alias_name, alias(2, None)).await
    };
    put_alias("a").await.expect("one alias");
    let full = put_alias("b").await;
    assert!(matches!(full, Err(ChangeError::AliasesFull(_, 1))));
    let full = catalog.put_version(&f, new("x", 4)).await;
    let message = full.expect_err("full").to_string();
    assert!(message.contains("alias"), "{message}");
    assert_eq!(catalog.function(&f).expect("as before").live, number(3));
    let versions = catalog.versions(&f, None, 9).expect("versions");
    let numbers: Vec<_> = versions.iter().map(|version| version.number).collect();
    assert_eq!(numbers, [number(2), number(3)]);
}

/// What is live changes in place until it is published.
#[tokio::test]
async fn a_live_version_is_replaced_until_it_is_published() {
    let catalog = memory(Limits::default());
    let f = name("f");
    for text in ["1", "2"] {
        let put = put(&catalog, "f", draft(text, 1)).await;
        assert_eq!(
            (put.version.number, put.function.next),
            (number(1), number(1))
        );
    }
    let publication = Publication {
        description: Some("first".into()),
        expected_changes: Some(2),
    };
    let published = catalog.publish(&f, publication).await.expect("published");
    assert_eq!(
        (published.version.number, published.function.next),
        (number(1), number(2))
    );
    assert_eq!(
        (published.version.image, published.version.description()),
        (Digest::of(b"2"), "first")
    );
    // Once: again it changes nothing, not even a generation.
    let again = catalog.publish(&f, Publication::default());
    assert_eq!(again.await.expect("again"), published);
    let late = NewVersion {
        expected_changes: Some(1),
        ..draft("3", 2)
    };
    let late = catalog.put_version(&f, late).await;
    assert!(matches!(late, Err(ChangeError::Changed(_))));
    put(&catalog, "f", draft("3", 2)).await;
    let one = |version| catalog.version(&f, number(version));
    assert!(!one(2).expect("live").published);
    // It is no version yet that something could lead to.
    assert!(matches!(
        catalog.set_live(&f, number(2)).await,
        Err(ChangeError::NoVersion(..))
    ));
    let a: AliasName = "a".parse().expect("alias");
    let set =
        |to: &Alias, before: &AliasBefore| catalog.change_alias(&f, &a, to.clone(), before.clone());
    let led = set(&alias(2, None), &AliasBefore::Any).await;
    assert!(matches!(led, Err(ChangeError::NoVersion(..))));
    let (to, other) = (alias(1, None), alias(1, Some((1, 5))));
    set(&to, &AliasBefore::Absent).await.expect("made");
    assert!(matches!(
        set(&to, &AliasBefore::Absent).await,
        Err(ChangeError::AliasExists(..))
    ));
    let is = AliasBefore::Is(to);
    set(&other, &is).await.expect("as it was");
    assert!(matches!(
        set(&other, &is).await,
        Err(ChangeError::Changed(_))
    ));
    catalog.remove_alias(&f, &a).await.expect("removed");
    // A rollback leaves nothing of it, and its number is given to the next.
    let back = catalog.set_live(&f, number(1)).await.expect("back");
    assert_eq!(back.changes, 4);
    assert!(matches!(one(2), Err(ChangeError::NoVersion(..))));
    assert!(matches!(
        catalog.delete_version(&f, number(1), false).await,
        Err(ChangeError::Live { .. })
    ));
    let kept = catalog.delete_version(&f, number(1), true).await;
    let kept = kept.expect("goes on");
    assert_eq!((kept.live, kept.next), (number(2), number(2)));
    assert_eq!(one(2).expect("live").image, Digest::of(b"2"));
}

#[tokio::test]
async fn the_small_changes_are_kept() {
    let disk = Disk::default();
    let catalog = catalog_on(&disk, Limits::default()).expect("catalog");
    let f = name("f");
    put(&catalog, "f", new("x", 1)).await;
    let limited = catalog.set_reserved_concurrency(&f, Some(0)).await;
    assert_eq!(limited.expect("limit").reserved_concurrency, Some(0));
    let tagged = catalog.tag(&f, [("a".into(), "b".into())].into(), vec![]);
    let tagged = tagged.await.expect("tag");
    drop(catalog);
    let again = catalog_on(&disk, Limits::default()).expect("catalog");
    assert_eq!(again.function(&f).expect("there"), tagged);
}

/// Each change has a generation higher than all before it, which its records carry; records that did not change keep theirs.
#[tokio::test]
async fn generations_only_grow() {
    let disk = Disk::default();
    let catalog = catalog_on(&disk, Limits::default()).expect("catalog");
    let f = name("f");
    let first = put(&catalog, "f", new("1", 1)).await;
    let second = put(&catalog, "f", new("2", 2)).await;
    assert_eq!(first.version.generation, first.function.generation);
    assert!(second.version.generation > first.version.generation);
    let other = put(&catalog, "g", new("1", 1)).await;
    assert!(other.function.generation > second.function.generation);
    let limited = catalog.set_reserved_concurrency(&f, Some(1)).await;
    let limited = limited.expect("limited").generation;
    assert!(limited > other.function.generation);
    let version = catalog.version(&f, number(1)).expect("there");
    assert_eq!(version.generation, first.version.generation);
    catalog.delete_function(&f).await.expect("deleted");
    drop(catalog);
    // Not even a restart, or a deletion, gives one twice.
    let catalog = catalog_on(&disk, Limits::default()).expect("catalog");
    let again = put(&catalog, "f", new("1", 1)).await;
    assert!(again.function.generation.0 > limited.0 + 1);
    assert_eq!(again.version.generation, again.function.generation);
}

fn format_of(path: &Path) -> u64 {
    let database = Database::open(path).expect("file");
    let transaction = database.begin_read().expect("transaction");
    let meta = transaction.open_table(META).expect("meta");
    meta.get("format").expect("read").expect("there").value()
}

const DIGEST: &str = "abababababababababababababababababababababababababababababababab";
const SETTINGS: &str = r#"{"memory_bytes":16777216,"timeout_ms":3000,"isolation":"fresh","max_concurrency":10,"min_ready":0,"environment":{},"description":"old"}"#;

const FUNCTION: &str = r#"{"name":"f","live":2,"next":3,"aliases":{"a":{"version":1,"other":[2,100],"description":""}},"reserved_concurrency":null,"created_ms":1,"updated_ms":2}"#;

/// Records as the first release wrote them: every version of theirs is a published one.
#[tokio::test]
async fn a_registry_of_format_1_is_taken_over() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("registry");
    let versions = [1, 2].map(|number| {
        format!(
            r#"{{"number":{number},"image":"{DIGEST}","image_bytes":7,"settings":{SETTINGS},"snapshot":"{DIGEST}","snapshot_host":"host","created_ms":1}}"#
        )
    });
    write_registry(&path, 1, FUNCTION, &versions.each_ref().map(String::as_str));
    for _ in 0..2 {
        let registry = RedbRegistry::open(&path).expect("opens");
        let catalog = Catalog::new(Arc::new(registry), Limits::default()).expect("catalog");
        let function = catalog.function(&name("f")).expect("there");
        let a = &function.aliases[&"a".parse().expect("alias")];
        assert_eq!(*a, alias(1, Some((2, 100))));
        for version in catalog.versions(&name("f"), None, 9).expect("versions") {
            assert!(version.published && version.description() == "old");
        }
        let published = catalog.publish(&name("f"), Publication::default()).await;
        let published = published.expect("is");
        assert_eq!(published.version.number, number(2));
    }
    // An earlier release is to leave it alone.
    assert_eq!(format_of(&path), 3);
}

/// As a release of format 2 left it: one published version, a live one that is not, tags, a URL and a reserved concurrency.
/// What was of a host is gone, the rest is as it was, and every record has a generation.
#[tokio::test]
async fn a_registry_of_format_2_is_taken_over() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("registry");
    let function = r#"{"name":"f","live":2,"next":2,"changes":5,"aliases":{"a":{"version":1,"other":null,"description":"d"}},"attached":{"tags":{"k":"v"},"urls":{"":{"auth":"NONE","cors":null,"created_ms":3,"updated_ms":4}},"ready":{"1":{"vms":1,"updated_ms":5}}},"reserved_concurrency":7,"created_ms":1,"updated_ms":2}"#;
    let version = |number: u64, published: bool, description: &str| {
        format!(
            r#"{{"number":{number},"published":{published},{description}"image":"{DIGEST}","image_bytes":7,"takes_http":true,"settings":{SETTINGS},"lambda":{{"role":"r","snap_start":false}},"snapshot":"{DIGEST}","snapshot_host":"host","created_ms":9}}"#
        )
    };
    let versions = [
        version(1, true, r#""description":"first","#),
        version(2, false, ""),
    ];
    write_registry(&path, 2, function, &versions.each_ref().map(String::as_str));
    let open = || {
        let registry = RedbRegistry::open(&path).expect("opens");
        Catalog::new(Arc::new(registry), Limits::default()).expect("catalog")
    };
    let catalog = open();
    let f = catalog.function(&name("f")).expect("there");
    assert_eq!((f.live, f.next, f.changes), (number(2), number(2), 5));
    assert_eq!((f.reserved_concurrency, f.updated_ms), (Some(7), 2));
    assert_eq!(f.attached.tags["k"], "v");
    assert_eq!(f.attached.urls[""].created_ms, 3);
    assert_eq!(f.attached.ready["1"].vms, 1);
    assert!(f.generation > Generation::NONE);
    let versions = catalog.versions(&name("f"), None, 9).expect("versions");
    assert_eq!(
        versions.iter().map(|v| v.published).collect::<Vec<_>>(),
        [true, false]
    );
    assert_eq!(versions[0].description(), "first");
    assert_eq!(versions[1].lambda.role.as_deref(), Some("r"));
    assert!(
        versions
            .iter()
            .all(|v| v.takes_http && v.generation == f.generation)
    );
    // What the earlier release wrote is there for it, for its owner alone.
    let kept = path.with_file_name("registry-format-2");
    assert_eq!(format_of(&kept), 2);
    let mode = std::fs::metadata(&kept).expect("kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // It goes on from there, and the next start finds what this one has.
    let published = catalog.publish(&name("f"), Publication::default()).await;
    let published = published.expect("published");
    assert!(published.function.generation > f.generation);
    drop(catalog);
    assert_eq!(format_of(&path), 3);
    assert_eq!(
        open().function(&name("f")).expect("there"),
        published.function
    );
}

/// A damaged record leaves the file to the release that wrote it, and a format of the future is not touched.
#[test]
fn what_cannot_be_taken_over_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("registry");
    write_registry(&path, 2, "no record", &[]);
    let damaged = RedbRegistry::open(&path).expect_err("damaged");
    assert!(matches!(damaged, RegistryError::Damaged(name) if name == "f"));
    assert_eq!(format_of(&path), 2);
    let kept = path.with_file_name("registry-format-2");
    assert!(!kept.exists());
    // Nor is anything taken over that cannot be kept.
    let path = folder.path().join("unkept");
    write_registry(&path, 2, FUNCTION, &[]);
    std::fs::create_dir(path.with_file_name("unkept-format-2")).expect("folder");
    let unkept = RedbRegistry::open(&path).expect_err("not kept");
    assert!(matches!(unkept, RegistryError::Keep { .. }), "{unkept}");
    assert_eq!(format_of(&path), 2);
    let path = folder.path().join("future");
    write_registry(&path, 4, "unknown", &[]);
    let future = RedbRegistry::open(&path).expect_err("of the future");
    assert!(matches!(
        future,
        RegistryError::Format { found: 4, known: 3 }
    ));
    assert_eq!(format_of(&path), 4);
}

#[tokio::test]
async fn a_file_is_there_again_and_belongs_to_one() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("registry");
    let open = || -> Result<Arc<Catalog>, RegistryError> {
        Catalog::new(Arc::new(RedbRegistry::open(&path)?), Limits::default())
    };
    // A predecessor was killed while it made the file.
    std::fs::write(path.with_file_name(".jiffy-new-registry"), [0; 8192]).expect("write");
    let catalog = open().expect("new");
    put(&catalog, "f", new("x", 1)).await;
    let second = jiffy_control::error_chain(&open().expect_err("it is in use"));
    assert_eq!(
        second,
        format!(
            "another process uses {}: stop it, or choose another file or data_dir",
            path.display()
        )
    );
    drop(catalog);
    let function = open().expect("again").function(&name("f")).expect("there");
    assert_eq!(function.live, number(1));
    std::fs::write(&path, b"not a registry").expect("write");
    assert!(matches!(open(), Err(RegistryError::File(_))));
}

/// The process is killed, or the disk fills up, at each write in turn.
#[tokio::test]
async fn a_crash_loses_no_acknowledged_deploy_and_leaves_none_half() {
    let mut crashes = 0;
    for fails_at in 0.. {
        let disk = Disk::default();
        drop(registry_on(&disk).expect("registry"));
        disk.fill_after(Some(fails_at));
        let mut acknowledged = 0;
        let mut is_done = false;
        if let Ok(catalog) = catalog_on(&disk, Limits::default()) {
            is_done = true;
            for next in 1..=6 {
                let put = catalog.put_version(&name("f"), new("x", next)).await;
                if put.is_err() {
                    is_done = false;
                    break;
                }
                acknowledged = next;
            }
        }
        for loses_unsynced in [false, true] {
            let after = disk.after_crash(loses_unsynced);
            let catalog = catalog_on(&after, Limits::default()).expect("opens");
            let entry = catalog.get(&name("f"));
            let found = entry
                .as_ref()
                .map_or(0, |entry| entry.function.live.0.get());
            assert!(
                found == acknowledged || found == acknowledged + 1,
                "{fails_at}"
            );
            let versions = entry.map_or(0, |entry| entry.versions.len());
            assert_eq!(
                versions as u64, found,
                "a version for each number: {fails_at}"
            );
        }
        if is_done {
            break;
        }
        crashes += 1;
    }
    assert!(crashes > 20, "only {crashes} crashes were tried");
}

/// A disk that was full and has room again needs no restart, and nothing that was acknowledged is lost from memory.
#[tokio::test]
async fn a_storage_error_heals() {
    let disk = Disk::default();
    let catalog = catalog_on(&disk, Limits::default()).expect("catalog");
    let f = name("f");
    put(&catalog, "f", new("x", 1)).await;
    disk.fill_after(Some(0));
    for _ in 0..2 {
        let full = catalog.put_version(&f, new("x", 2)).await;
        let full = full.expect_err("full");
        assert_eq!(full.outcome(), Outcome::Platform, "{full}");
        assert_eq!(catalog.function(&f).expect("readable").live, number(1));
    }
    disk.fill_after(None);
    put(&catalog, "f", new("x", 2)).await;
}
