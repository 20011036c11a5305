use std::{
    io,
    sync::{Arc, Mutex},
};

use std::path::Path;

use redb::{Database, StorageBackend, TableDefinition};

use super::*;
use crate::model::AliasTarget;

fn name(text: &str) -> FunctionName {
    text.parse().expect("name")
}

fn number(number: u64) -> VersionNumber {
    VersionNumber(number.try_into().expect("not zero"))
}

fn new(text: &str) -> NewVersion {
    NewVersion {
        image: Digest::of(text.as_bytes()),
        image_bytes: 7,
        takes_http: false,
        settings: Settings::default(),
        snapshot: Digest::of(&[]),
        snapshot_host: "host".into(),
        lambda: LambdaFacts::default(),
        publish: true,
        expected_changes: None,
    }
}

/// One that is live and not published.
fn draft(text: &str) -> NewVersion {
    NewVersion {
        publish: false,
        ..new(text)
    }
}

fn alias(version: u64, other: Option<(u64, u16)>) -> Alias {
    Alias {
        version: AliasTarget::Version(number(version)),
        other: other.map(|(version, weight)| (number(version), weight)),
        description: String::new(),
    }
}

/// A file in memory that remembers what was synced and fails from its `fails_at`th write on.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<DiskState>>);

#[derive(Debug, Default)]
struct DiskState {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    writes: usize,
    fails_at: Option<usize>,
}

impl Disk {
    fn state<T>(&self, work: impl FnOnce(&mut DiskState) -> T) -> T {
        work(&mut self.0.lock().expect("lock"))
    }

    fn registry(&self, limits: RegistryLimits) -> Result<RedbRegistry, RegistryError> {
        let disk = self.clone();
        let open = move || Database::builder().create_with_backend(disk.clone());
        RedbRegistry::with_open(Path::new("registry"), Box::new(open), limits)
    }

    /// What is there after a crash: all that was written, or only what was synced.
    fn after_crash(&self, loses_unsynced: bool) -> Self {
        let bytes = self.state(|state| match loses_unsynced {
            true => state.synced.clone(),
            false => state.bytes.clone(),
        });
        let state = DiskState {
            synced: bytes.clone(),
            bytes,
            ..DiskState::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl DiskState {
    fn step(&mut self) -> io::Result<()> {
        self.writes += 1;
        match self.fails_at {
            Some(fails_at) if self.writes > fails_at => {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            _ => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state(|state| state.bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.state(|state| {
            let start = usize::try_from(offset).expect("small");
            out.copy_from_slice(&state.bytes[start..start + out.len()]);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state(|state| {
            state.step()?;
            state.bytes.resize(usize::try_from(len).expect("small"), 0);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.state(|state| {
            state.step()?;
            state.synced = state.bytes.clone();
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.state(|state| {
            state.step()?;
            let start = usize::try_from(offset).expect("small");
            state.bytes[start..start + data.len()].copy_from_slice(data);
            Ok(())
        })
    }
}

fn memory(limits: RegistryLimits) -> RedbRegistry {
    Disk::default().registry(limits).expect("registry")
}

#[test]
fn versions_count_up_and_the_last_is_live() {
    let registry = memory(RegistryLimits::default());
    let first = registry.put_version(&name("f"), &new("1"), number(1), 10);
    let first = first.expect("first");
    assert_eq!(
        (
            first.version.number,
            first.function.live,
            first.function.next
        ),
        (number(1), number(1), number(2))
    );
    let second = registry.put_version(&name("f"), &new("2"), number(2), 20);
    let second = second.expect("second");
    assert_eq!(
        (second.function.created_ms, second.function.updated_ms),
        (10, 20)
    );
    assert_eq!(
        registry.function(&name("f")).expect("there"),
        second.function
    );
    let versions = registry.versions(&name("f"), None, 9).expect("versions");
    assert_eq!(versions, [first.version, second.version.clone()]);
    let behind = registry.versions(&name("f"), Some(number(1)), 9);
    assert_eq!(behind.expect("versions"), [second.version]);
    assert_eq!(
        registry.versions(&name("f"), None, 1).expect("one").len(),
        1
    );
}

#[test]
fn a_deploy_that_lost_a_race_changes_nothing() {
    let registry = memory(RegistryLimits::default());
    let put = |expected| registry.put_version(&name("f"), &new("x"), number(expected), 1);
    assert!(matches!(put(2), Err(RegistryError::Changed(_))));
    put(1).expect("first");
    assert!(matches!(put(1), Err(RegistryError::Changed(_))));
    assert_eq!(
        registry
            .versions(&name("f"), None, 9)
            .expect("versions")
            .len(),
        1
    );
}

#[test]
fn functions_are_listed_by_name_and_stay_apart() {
    let registry = memory(RegistryLimits::default());
    for text in ["b", "a", "ab"] {
        registry
            .put_version(&name(text), &new(text), number(1), 1)
            .expect("put");
    }
    let list = |after: Option<&str>, limit| {
        let after = after.map(name);
        let functions = registry.functions(after.as_ref(), limit).expect("list");
        functions
            .into_iter()
            .map(|function| function.name.into())
            .collect::<Vec<String>>()
    };
    assert_eq!(list(None, 9), ["a", "ab", "b"]);
    assert_eq!(list(Some("a"), 1), ["ab"]);
    assert_eq!(list(Some("b"), 9), [""; 0]);
    registry.delete_function(&name("a")).expect("delete");
    assert!(matches!(
        registry.function(&name("a")),
        Err(RegistryError::NoFunction(_))
    ));
    assert_eq!(registry.versions(&name("a"), None, 9).expect("none"), []);
    assert_eq!(
        registry.versions(&name("ab"), None, 9).expect("one").len(),
        1
    );
    registry
        .put_version(&name("a"), &new("again"), number(1), 1)
        .expect("begins anew");
}

#[test]
fn what_requests_are_sent_to_cannot_be_deleted() {
    let registry = memory(RegistryLimits::default());
    let f = name("f");
    for next in 1..=4 {
        registry
            .put_version(&f, &new("x"), number(next), 1)
            .expect("put");
    }
    let stable: AliasName = "stable".parse().expect("alias");
    registry
        .put_alias(&f, &stable, &alias(1, Some((2, 100))), &AliasBefore::Any, 5)
        .expect("alias");
    let delete = |version| registry.delete_version(&f, number(version), false, 6);
    assert!(matches!(delete(1), Err(RegistryError::Aliased { .. })));
    assert!(matches!(delete(2), Err(RegistryError::Aliased { .. })));
    assert!(matches!(delete(4), Err(RegistryError::Live { .. })));
    assert!(matches!(delete(9), Err(RegistryError::NoVersion(..))));
    delete(3).expect("unused");
    assert!(matches!(
        registry.set_live(&f, number(3), 7),
        Err(RegistryError::NoVersion(..))
    ));
    assert_eq!(
        registry
            .set_live(&f, number(1), 7)
            .expect("rolled back")
            .live,
        number(1)
    );
    delete(4).expect("no longer live");
    let to_missing = registry.put_alias(&f, &stable, &alias(1, Some((4, 1))), &AliasBefore::Any, 8);
    assert!(matches!(to_missing, Err(RegistryError::NoVersion(..))));
    let removed = registry.remove_alias(&f, &stable, 8).expect("removed");
    assert!(removed.aliases.is_empty());
    assert!(matches!(
        registry.remove_alias(&f, &stable, 8),
        Err(RegistryError::NoAlias(..))
    ));
    // A number is not given again.
    let put = registry
        .put_version(&f, &new("x"), number(5), 9)
        .expect("put");
    assert_eq!(put.version.number, number(5));
}

#[test]
fn limits_hold_on_both_sides() {
    let registry = memory(RegistryLimits {
        functions_max: 2,
        versions_max: 2,
        aliases_max: 1,
    });
    let (f, g) = (name("f"), name("g"));
    for (function, next) in [(&f, 1), (&g, 1), (&f, 2)] {
        registry
            .put_version(function, &new("x"), number(next), 1)
            .expect("put");
    }
    let full = registry.put_version(&name("h"), &new("x"), number(1), 1);
    assert!(matches!(full, Err(RegistryError::FunctionsFull(2))));
    let full = registry.put_version(&f, &new("x"), number(3), 1);
    let message = full.expect_err("full").to_string();
    assert!(
        message.contains("limits.versions_max") && message.contains("such as 1"),
        "{message}"
    );
    // What is not published is none of them.
    registry
        .put_version(&f, &draft("x"), number(3), 1)
        .expect("room");
    let publish = || registry.publish(&f, &Publication::default(), 1);
    assert!(matches!(publish(), Err(RegistryError::VersionsFull { .. })));
    registry
        .delete_version(&f, number(1), false, 1)
        .expect("unused");
    assert_eq!(publish().expect("room").version.number, number(3));
    let to = alias(2, None);
    registry
        .put_alias(&f, &"a".parse().expect("alias"), &to, &AliasBefore::Any, 1)
        .expect("one alias");
    let full = registry.put_alias(&f, &"b".parse().expect("alias"), &to, &AliasBefore::Any, 1);
    assert!(matches!(full, Err(RegistryError::AliasesFull(_, 1))));
    let full = registry.put_version(&f, &new("x"), number(4), 1);
    let message = full.expect_err("full").to_string();
    assert!(message.contains("alias"), "{message}");
    assert_eq!(registry.function(&f).expect("as before").live, number(3));
    let numbers: Vec<_> = registry.versions(&f, None, 9).expect("versions");
    let numbers: Vec<_> = numbers.iter().map(|version| version.number).collect();
    assert_eq!(numbers, [number(2), number(3)]);
}

/// What is live changes in place until it is published.
#[test]
fn a_live_version_is_replaced_until_it_is_published() {
    let registry = memory(RegistryLimits::default());
    let f = name("f");
    for text in ["1", "2"] {
        let put = registry
            .put_version(&f, &draft(text), number(1), 1)
            .expect("put");
        assert_eq!(
            (put.version.number, put.function.next),
            (number(1), number(1))
        );
    }
    let publication = Publication {
        description: Some("first".into()),
        expected_changes: Some(2),
    };
    let put = registry.publish(&f, &publication, 2).expect("published");
    assert_eq!(
        (put.version.number, put.function.next),
        (number(1), number(2))
    );
    assert_eq!(
        (put.version.image, put.version.description()),
        (Digest::of(b"2"), "first")
    );
    // Once.
    let again = registry
        .publish(&f, &Publication::default(), 3)
        .expect("again");
    assert_eq!(
        (again.version, again.function.next),
        (put.version, number(2))
    );
    let late = NewVersion {
        expected_changes: Some(1),
        ..draft("3")
    };
    let late = registry.put_version(&f, &late, number(2), 3);
    assert!(matches!(late, Err(RegistryError::Changed(_))));
    registry
        .put_version(&f, &draft("3"), number(2), 3)
        .expect("put");
    let one = |version| registry.version(&f, number(version));
    assert!(!one(2).expect("live").published);
    // It is no version yet that something could lead to.
    assert!(matches!(
        registry.set_live(&f, number(2), 4),
        Err(RegistryError::NoVersion(..))
    ));
    let a: AliasName = "a".parse().expect("alias");
    let put = |to: &Alias, before: &AliasBefore| registry.put_alias(&f, &a, to, before, 4);
    let led = put(&alias(2, None), &AliasBefore::Any);
    assert!(matches!(led, Err(RegistryError::NoVersion(..))));
    let (to, other) = (alias(1, None), alias(1, Some((1, 5))));
    put(&to, &AliasBefore::Absent).expect("made");
    assert!(matches!(
        put(&to, &AliasBefore::Absent),
        Err(RegistryError::AliasExists(..))
    ));
    let is = AliasBefore::Is(to);
    put(&other, &is).expect("as it was");
    assert!(matches!(put(&other, &is), Err(RegistryError::Changed(_))));
    registry.remove_alias(&f, &a, 4).expect("removed");
    // A rollback leaves nothing of it, and its number is given to the next.
    assert_eq!(
        registry.set_live(&f, number(1), 5).expect("back").changes,
        4
    );
    assert!(matches!(one(2), Err(RegistryError::NoVersion(..))));
    assert!(matches!(
        registry.delete_version(&f, number(1), false, 6),
        Err(RegistryError::Live { .. })
    ));
    let kept = registry
        .delete_version(&f, number(1), true, 6)
        .expect("goes on");
    assert_eq!((kept.live, kept.next), (number(2), number(2)));
    assert_eq!(one(2).expect("live").image, Digest::of(b"2"));
    // A snapshot that was built for what is there no more.
    let stale = registry.set_snapshot(
        &f,
        number(2),
        Digest::of(b"old"),
        Digest::of(b"new"),
        "host",
    );
    assert!(matches!(stale, Err(RegistryError::Changed(_))));
}

/// Records as the first release wrote them: every version of theirs is a published one.
#[test]
fn a_registry_of_format_1_is_taken_over() {
    const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    const FUNCTIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("functions");
    const VERSIONS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("versions");
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("registry");
    let digest = "ab".repeat(32);
    let settings = r#"{"memory_bytes":16777216,"timeout_ms":3000,"isolation":"fresh","max_concurrency":10,"min_ready":0,"environment":{},"description":"old"}"#;
    let database = Database::create(&path).expect("file");
    let transaction = database.begin_write().expect("transaction");
    {
        let mut meta = transaction.open_table(META).expect("meta");
        meta.insert("format", 1).expect("format");
        let function = r#"{"name":"f","live":2,"next":3,"aliases":{"a":{"version":1,"other":[2,100],"description":""}},"reserved_concurrency":null,"created_ms":1,"updated_ms":2}"#;
        let mut functions = transaction.open_table(FUNCTIONS).expect("functions");
        functions
            .insert("f", function.as_bytes())
            .expect("function");
        let mut versions = transaction.open_table(VERSIONS).expect("versions");
        for number in [1, 2] {
            let version = format!(
                r#"{{"number":{number},"image":"{digest}","image_bytes":7,"settings":{settings},"snapshot":"{digest}","snapshot_host":"host","created_ms":1}}"#
            );
            versions
                .insert(("f", number), version.as_bytes())
                .expect("version");
        }
    }
    transaction.commit().expect("commit");
    drop(database);
    for _ in 0..2 {
        let registry = RedbRegistry::open(&path, RegistryLimits::default()).expect("opens");
        let function = registry.function(&name("f")).expect("there");
        let a = &function.aliases[&"a".parse().expect("alias")];
        assert_eq!(*a, alias(1, Some((2, 100))));
        for version in registry.versions(&name("f"), None, 9).expect("versions") {
            assert!(version.published && version.description() == "old");
        }
        let published = registry.publish(&name("f"), &Publication::default(), 3);
        assert_eq!(published.expect("is").version.number, number(2));
    }
    let database = Database::open(&path).expect("file");
    let transaction = redb::ReadableDatabase::begin_read(&database).expect("transaction");
    let meta = transaction.open_table(META).expect("meta");
    // An earlier release is to leave it alone.
    assert_eq!(meta.get("format").expect("read").expect("there").value(), 2);
}

#[test]
fn the_small_changes_are_kept() {
    let registry = memory(RegistryLimits::default());
    let f = name("f");
    registry
        .put_version(&f, &new("x"), number(1), 1)
        .expect("put");
    let limited = registry
        .set_reserved_concurrency(&f, Some(0), 2)
        .expect("limit");
    assert_eq!(limited.reserved_concurrency, Some(0));
    let digest = Digest::of(b"new");
    let before = Digest::of(&[]);
    registry
        .set_snapshot(&f, number(1), before, digest, "other")
        .expect("snapshot");
    let version = registry.version(&f, number(1)).expect("version");
    assert_eq!(
        (version.snapshot, &*version.snapshot_host),
        (digest, "other")
    );
    let missing = registry.set_snapshot(&f, number(2), before, digest, "other");
    assert!(matches!(missing, Err(RegistryError::NoVersion(..))));
}

#[test]
fn a_file_is_there_again_and_belongs_to_one() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("registry");
    let open = || RedbRegistry::open(&path, RegistryLimits::default());
    // A predecessor was killed while it made the file.
    std::fs::write(path.with_extension("new"), [0; 8192]).expect("write");
    let registry = open().expect("new");
    registry
        .put_version(&name("f"), &new("x"), number(1), 1)
        .expect("put");
    assert!(matches!(open(), Err(RegistryError::InUse)));
    drop(registry);
    let function = open().expect("again").function(&name("f")).expect("there");
    assert_eq!(function.live, number(1));
    std::fs::write(&path, b"not a registry").expect("write");
    assert!(matches!(open(), Err(RegistryError::Storage { .. })));
}

/// The process is killed, or the disk fills up, at each write in turn.
#[test]
fn a_crash_loses_no_acknowledged_deploy_and_leaves_none_half() {
    let mut crashes = 0;
    for fails_at in 0.. {
        let disk = Disk::default();
        drop(disk.registry(RegistryLimits::default()).expect("registry"));
        disk.state(|state| state.fails_at = Some(state.writes + fails_at));
        let mut acknowledged = 0;
        let run = |acknowledged: &mut u64| -> Result<(), RegistryError> {
            let registry = disk.registry(RegistryLimits::default())?;
            for next in 1..=6 {
                registry.put_version(&name("f"), &new("x"), number(next), next)?;
                *acknowledged = next;
            }
            Ok(())
        };
        let result = run(&mut acknowledged);
        for loses_unsynced in [false, true] {
            let after = disk.after_crash(loses_unsynced);
            let registry = after.registry(RegistryLimits::default()).expect("opens");
            let found = match registry.function(&name("f")) {
                Ok(function) => function.live.0.get(),
                Err(RegistryError::NoFunction(_)) => 0,
                Err(error) => panic!("{error}"),
            };
            assert!(
                found == acknowledged || found == acknowledged + 1,
                "{fails_at}"
            );
            let versions = registry.versions(&name("f"), None, 99).expect("versions");
            assert_eq!(
                versions.len() as u64,
                found,
                "a version for each number: {fails_at}"
            );
        }
        if result.is_ok() {
            break;
        }
        crashes += 1;
    }
    assert!(crashes > 20, "only {crashes} crashes were tried");
}

/// A disk that was full and has room again needs no restart.
#[test]
fn a_storage_error_heals() {
    let disk = Disk::default();
    let registry = disk.registry(RegistryLimits::default()).expect("registry");
    registry
        .put_version(&name("f"), &new("x"), number(1), 1)
        .expect("put");
    disk.state(|state| state.fails_at = Some(state.writes));
    for _ in 0..2 {
        let full = registry.put_version(&name("f"), &new("x"), number(2), 2);
        assert!(
            matches!(full, Err(RegistryError::Storage { .. })),
            "{full:?}"
        );
    }
    disk.state(|state| state.fails_at = None);
    assert_eq!(
        registry.function(&name("f")).expect("readable").live,
        number(1)
    );
    registry
        .put_version(&name("f"), &new("x"), number(2), 2)
        .expect("room again");
}
