use std::{
    io,
    sync::{Arc, Mutex},
};

use std::path::Path;

use redb::{Database, StorageBackend};

use super::*;

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
        settings: Settings::default(),
        snapshot: Digest::of(&[]),
        snapshot_host: "host".into(),
    }
}

fn alias(version: u64, other: Option<(u64, u16)>) -> Alias {
    Alias {
        version: number(version),
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
        .put_alias(&f, &stable, &alias(1, Some((2, 100))), 5)
        .expect("alias");
    let delete = |version| registry.delete_version(&f, number(version), 6);
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
    let to_missing = registry.put_alias(&f, &stable, &alias(1, Some((4, 1))), 8);
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
    let third = registry
        .put_version(&f, &new("x"), number(3), 1)
        .expect("makes room");
    assert_eq!(third.removed, [number(1)]);
    let to = alias(2, None);
    registry
        .put_alias(&f, &"a".parse().expect("alias"), &to, 1)
        .expect("one alias");
    let full = registry.put_alias(&f, &"b".parse().expect("alias"), &to, 1);
    assert!(matches!(full, Err(RegistryError::AliasesFull(_, 1))));
    // Version 2 is the alias's and 3 goes: it is no longer live by then.
    let fourth = registry
        .put_version(&f, &new("x"), number(4), 1)
        .expect("makes room");
    assert_eq!(fourth.removed, [number(3)]);
    registry
        .put_alias(&f, &"a".parse().expect("alias"), &alias(2, Some((4, 1))), 1)
        .expect("both");
    let full = registry.put_version(&f, &new("x"), number(5), 1);
    assert!(matches!(full, Err(RegistryError::VersionsFull(_, 2))));
    assert_eq!(registry.function(&f).expect("as before").live, number(4));
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
    registry
        .set_snapshot(&f, number(1), digest, "other")
        .expect("snapshot");
    let version = registry.version(&f, number(1)).expect("version");
    assert_eq!(
        (version.snapshot, &*version.snapshot_host),
        (digest, "other")
    );
    let missing = registry.set_snapshot(&f, number(2), digest, "other");
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
