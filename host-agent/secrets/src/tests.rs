//! Kept, listed, removed; never in clear in a file; not to be changed or moved; a rotation that is cut off at any step.

use std::{fs, os::unix::fs::PermissionsExt as _};

use jiffy_tables::{TableFileError, testing::Disk};
use redb::ReadableTable as _;

use super::*;

fn tenant(name: &str) -> TenantName {
    name.parse().expect("a name")
}

fn name(name: &str) -> BindingName {
    name.parse().expect("a name")
}

#[test]
fn this_process_leaves_no_core_file() {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
    keep_out_of_core_files().expect("allowed");
    let limit = getrlimit(Resource::Core);
    assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    let behavior = dumpable_behavior().expect("known");
    assert_eq!(behavior, DumpableBehavior::NotDumpable);
}

/// A disk, and a folder with the master key.
struct Bench {
    folder: tempfile::TempDir,
    disk: Disk,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("folder"),
            disk: Disk::default(),
        }
    }

    fn key(&self) -> MasterKeySource {
        MasterKeySource::find(None, None, self.folder.path())
    }

    fn key_text(&self) -> String {
        fs::read_to_string(self.key().path()).expect("a key")
    }

    fn open(&self) -> Result<Secrets, SecretsError> {
        self.open_on(&self.disk)
    }

    fn open_on(&self, disk: &Disk) -> Result<Secrets, SecretsError> {
        Secrets::with_open(disk.open(), self.key())
    }

    /// With a secret of each of two tenants.
    fn with_two(&self) -> Secrets {
        let secrets = self.open().expect("opens");
        for of in ["a", "b"] {
            set(&secrets, of, "k", of);
        }
        secrets
    }

    #[track_caller]
    fn check_two(&self, disk: &Disk) -> Secrets {
        let secrets = self.open_on(disk).expect("opens");
        for of in ["a", "b"] {
            assert_eq!(clear(&secrets, of, "k").as_deref(), Some(of));
        }
        assert_eq!(self.key_text().lines().count(), 1, "a key is left over");
        secrets
    }
}

#[track_caller]
fn set(secrets: &Secrets, of: &str, called: &str, value: &str) -> Written {
    let set = secrets.set(&tenant(of), &name(called), value.as_bytes(), 7);
    set.expect("set")
}

#[track_caller]
fn clear(secrets: &Secrets, of: &str, called: &str) -> Option<String> {
    let value = secrets.resolve(&tenant(of), &name(called));
    let value = value.expect("resolves")?;
    Some(String::from_utf8(value.to_vec()).expect("text"))
}

#[test]
fn a_secret_is_its_tenants_and_what_is_listed_has_no_value() {
    let bench = Bench::new();
    let secrets = bench.open().expect("opens");
    for (of, called, value) in [("a", "k", "one"), ("a", "l", "two"), ("a-b", "k", "three")] {
        assert!(!set(&secrets, of, called, value).existed);
    }
    assert!(set(&secrets, "a", "k", "again").existed);
    drop(secrets);
    let secrets = bench.open().expect("opens again");
    assert_eq!(clear(&secrets, "a", "k").as_deref(), Some("again"));
    assert_eq!(clear(&secrets, "a-b", "k").as_deref(), Some("three"));
    assert_eq!(clear(&secrets, "a-b", "l"), None);
    assert_eq!(clear(&secrets, "b", "k"), None);
    let listed = secrets.list(&tenant("a")).expect("reads");
    let listed: Vec<_> = listed
        .iter()
        .map(|info| (&*info.name, info.version, info.set_ms))
        .collect();
    assert_eq!(listed, [("k", 4, 7), ("l", 2, 7)]);
    assert!(secrets.remove(&tenant("a"), &name("k")).expect("removed"));
    assert!(!secrets.remove(&tenant("a"), &name("k")).expect("nothing"));
    assert_eq!(clear(&secrets, "a", "k"), None);
    assert_eq!(set(&secrets, "a", "k", "new").info.version, 5);
}

#[test]
fn limits_hold_on_both_sides() {
    let secrets = Secrets::in_memory().expect("memory");
    let (a, k) = (tenant("a"), name("k"));
    for (bytes, is_taken) in [
        (0, false),
        (1, true),
        (SECRET_BYTES_MAX, true),
        (SECRET_BYTES_MAX + 1, false),
    ] {
        let set = secrets.set(&a, &k, &vec![1; bytes], 9);
        assert_eq!(set.is_ok(), is_taken, "{bytes}");
    }
    for number in 1..SECRETS_MAX {
        set(&secrets, "a", &number.to_string(), "v");
    }
    let refused = secrets.set(&a, &name("more"), b"v", 9);
    assert!(matches!(refused, Err(SecretsError::TooMany)));
    set(&secrets, "a", "k", "another value");
    set(&secrets, "b", "k", "another tenant's");
    secrets.rotate_key().expect("in memory, too");
    assert_eq!(clear(&secrets, "a", "1").as_deref(), Some("v"));
}

#[test]
fn nothing_is_in_clear_in_a_file_and_nothing_prints_it() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("secrets");
    let key = MasterKeySource::find(None, None, folder.path());
    let canary = "canary-7f3a-in-clear";
    let secrets = Secrets::open(&path, key.clone()).expect("opens");
    set(&secrets, "a", "k", canary);
    secrets.rotate_key().expect("rotated");
    let value = secrets.resolve(&tenant("a"), &name("k"));
    let printed = format!("{secrets:?} {value:?}");
    assert!(!printed.contains(canary), "{printed}");
    drop(secrets);
    for entry in fs::read_dir(folder.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let bytes = fs::read(&path).expect("a file");
        let has = |text: &str| {
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        };
        assert!(!has(canary), "{}", path.display());
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    fs::set_permissions(key.path(), fs::Permissions::from_mode(0o644)).expect("opened");
    let refused = Secrets::open(&path, key).expect_err("others can read it");
    let refused = format!("{:?}", std::error::Error::source(&refused));
    assert!(refused.contains("Exposed"), "{refused}");
}

/// Changes the record of a/k and puts it under a/l, too.
fn edit(secrets: &Secrets, edit: impl Fn(&mut u64, &mut u64, &mut Vec<u8>)) {
    let edited = secrets.file.write::<_, TableFileError>(|transaction| {
        let mut table = transaction.open_table(tables::SECRETS)?;
        for (from, to) in [("k", "l"), ("k", "k")] {
            let record = table.get(("a", from))?.expect("there");
            let (mut version, mut set_ms, sealed) = record.value();
            let mut sealed = sealed.to_vec();
            drop(record);
            edit(&mut version, &mut set_ms, &mut sealed);
            table.insert(("a", to), (version, set_ms, &*sealed))?;
        }
        Ok(Ok(()))
    });
    edited.expect("edited");
}

/// Who can write the file can put nothing in another's place.
#[test]
fn a_secret_that_is_changed_or_moved_does_not_open() {
    type Edit = fn(&mut u64, &mut u64, &mut Vec<u8>);
    let edits: [(&str, bool, Edit); 6] = [
        ("moved", true, |_, _, _| {}),
        ("version", false, |version, _, _| *version += 1),
        ("set_ms", false, |_, set_ms, _| *set_ms += 1),
        ("nonce", false, |_, _, sealed| sealed[0] ^= 1),
        ("value", false, |_, _, sealed| sealed[24] ^= 1),
        ("cut", false, |_, _, sealed| sealed.truncate(5)),
    ];
    for (what, stays, change) in edits {
        let secrets = Bench::new().with_two();
        edit(&secrets, change);
        let resolve = |called| secrets.resolve(&tenant("a"), &name(called));
        let moved = resolve("l").expect_err(what);
        assert!(matches!(&moved, SecretsError::Damaged(name) if name == "l"));
        assert_eq!(resolve("k").is_ok(), stays, "{what}");
        assert_eq!(clear(&secrets, "b", "k").as_deref(), Some("b"), "{what}");
        set(&secrets, "a", "k", "set again");
        assert_eq!(clear(&secrets, "a", "k").as_deref(), Some("set again"));
    }
}

#[test]
fn a_data_key_that_is_moved_does_not_open_and_costs_its_tenant_alone() {
    let bench = Bench::new();
    let secrets = bench.with_two();
    let moved = secrets.file.write::<_, TableFileError>(|transaction| {
        let mut table = transaction.open_table(tables::KEYS)?;
        let wrapped = table.get("b")?.expect("there").value().to_vec();
        table.insert("a", &*wrapped)?;
        Ok(Ok(()))
    });
    moved.expect("moved");
    drop(secrets);
    let secrets = bench.open().expect("for the others");
    secrets.rotate_key().expect("for the others");
    let refused = secrets.resolve(&tenant("a"), &name("k"));
    assert!(matches!(refused, Err(SecretsError::DamagedKey(_))));
    let refused = secrets.set(&tenant("a"), &name("l"), b"v", 1);
    assert!(matches!(refused, Err(SecretsError::DamagedKey(_))));
    assert_eq!(clear(&secrets, "b", "k").as_deref(), Some("b"));
    // As the message says.
    secrets.remove(&tenant("a"), &name("k")).expect("removed");
    set(&secrets, "a", "k", "again");
    assert_eq!(clear(&secrets, "a", "k").as_deref(), Some("again"));
}

#[test]
fn a_master_key_that_is_another_or_not_there_is_told_and_replaced_by_nothing() {
    let bench = Bench::new();
    drop(bench.with_two());
    let (path, right) = (bench.key().path().to_owned(), bench.key_text());
    fs::remove_file(&path).expect("removed");
    assert!(matches!(bench.open(), Err(SecretsError::NoKey { .. })));
    assert!(!path.exists(), "another would hide what is wrong");
    let write = |text: &str| {
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("closed");
    };
    write(&format!("{}\n", "00".repeat(32)));
    assert!(matches!(bench.open(), Err(SecretsError::WrongKey { .. })));
    let three = format!("{right}{right}{right}");
    for bad in ["", "\n", "00", &"g".repeat(64), &three, &right[1..]] {
        write(bad);
        let refused = bench.open().expect_err(bad);
        let is_malformed = matches!(refused, SecretsError::Master(MasterError::Malformed(_)));
        assert!(is_malformed, "{bad:?}");
    }
    write(&right);
    bench.check_two(&bench.disk);
}

/// The disk fails at each step of a rotation, and what was not synced is lost or not; the secrets open with the key file as it was
/// then, and from then on with one key alone.
#[test]
fn a_rotation_that_is_cut_off_is_finished_by_the_next_start() {
    let mut failures = 0;
    for fails_at in 0.. {
        let bench = Bench::new();
        let secrets = bench.with_two();
        let before = bench.key_text();
        bench.disk.fill_after(Some(fails_at));
        let rotated = secrets.rotate_key();
        let during = bench.key_text();
        for loses_unsynced in [false, true] {
            fs::write(bench.key().path(), &during).expect("as it was");
            bench.check_two(&bench.disk.after_crash(loses_unsynced));
        }
        if rotated.is_ok() {
            assert_ne!(before, during);
            break;
        }
        // The same process goes on, too: with what it had, and with what is set now.
        fs::write(bench.key().path(), &during).expect("as it was");
        bench.disk.fill_after(None);
        set(&secrets, "c", "k", "c");
        secrets.rotate_key().expect("room again");
        drop(secrets);
        let secrets = bench.check_two(&bench.disk);
        assert_eq!(clear(&secrets, "c", "k").as_deref(), Some("c"));
        failures += 1;
    }
    assert!(failures > 3, "hardly anything failed: {failures}");
}

/// Killed between its steps: the new key is written, and then it has wrapped all.
#[test]
fn between_its_steps_a_rotation_leaves_keys_that_open_all() {
    for is_wrapped in [false, true] {
        let bench = Bench::new();
        let secrets = bench.with_two();
        let keys = [vec![Key::random().expect("random")], secrets.keys().clone()].concat();
        bench.key().write(&keys).expect("written");
        if is_wrapped {
            assert!(tables::rewrap(&secrets.file, &keys).expect("wrapped"));
        }
        drop(secrets);
        bench.check_two(&bench.disk);
        // By the new key alone, as another start shows.
        bench.check_two(&bench.disk);
    }
}

#[test]
fn a_credential_is_read_and_never_written() {
    let bench = Bench::new();
    let credentials = bench.folder.path().join("credentials");
    fs::create_dir(&credentials).expect("a folder");
    let file = credentials.join("jiffyd.master-key");
    let find = || MasterKeySource::find(None, Some(&credentials), bench.folder.path());
    assert_eq!(find(), bench.key(), "there is no credential yet");
    let (old, new) = ("0a".repeat(32), "0b".repeat(32));
    let write = |text: &str| {
        fs::write(&file, text).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).expect("as systemd does");
    };
    write(&old);
    assert_eq!(find(), MasterKeySource::Credential(file.clone()));
    let other = bench.folder.path().join("other");
    let configured = MasterKeySource::find(Some(&other), Some(&credentials), bench.folder.path());
    assert_eq!(configured, MasterKeySource::File(other));
    let open = || Secrets::with_open(bench.disk.open(), find()).expect("opens");
    let secrets = open();
    set(&secrets, "a", "k", "value");
    let refused = secrets.rotate_key().expect_err("it is systemd's");
    assert!(refused.to_string().contains("restart jiffyd"), "{refused}");
    assert_eq!(clear(&secrets, "a", "k").as_deref(), Some("value"));
    drop(secrets);
    // As the message says.
    for text in [format!("{new}\n{old}\n"), new] {
        write(&text);
        assert_eq!(clear(&open(), "a", "k").as_deref(), Some("value"), "{text}");
        assert_eq!(fs::read_to_string(&file).expect("there"), text);
    }
}
