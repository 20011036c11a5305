//! The engine: its rules one by one, against a model at random, on a disk that fills up, and killed (`crash`).

mod crash;
mod model;

use std::sync::Mutex;

use jiffy_tables::testing::Disk;

use super::*;

/// A clock that stands until it is moved.
#[derive(Clone)]
struct Hands(Arc<AtomicU64>);

impl Hands {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_000_000)))
    }

    fn clock(&self) -> Clock {
        let hands = Arc::clone(&self.0);
        Arc::new(move || hands.load(SeqCst))
    }

    fn forward(&self, ms: u64) {
        self.0.fetch_add(ms, SeqCst);
    }
}

fn id(name: &str) -> StoreId {
    StoreId::new(&TenantName::default(), name)
}

fn put(key: &str, value: &[u8]) -> Write {
    Write {
        key: key.into(),
        condition: Condition::None,
        change: Change::Put {
            value: value.into(),
            metadata: String::new(),
            ttl: None,
        },
    }
}

fn delete(key: &str) -> Write {
    Write {
        key: key.into(),
        condition: Condition::None,
        change: Change::Delete,
    }
}

impl Write {
    fn when(self, condition: Condition) -> Self {
        Self { condition, ..self }
    }

    fn expires(mut self, after_ms: u64) -> Self {
        if let Change::Put { ttl, .. } = &mut self.change {
            *ttl = Some(Duration::from_millis(after_ms));
        }
        self
    }

    fn says(mut self, text: &str) -> Self {
        if let Change::Put { metadata, .. } = &mut self.change {
            *metadata = text.into();
        }
        self
    }
}

fn memory() -> (Kv, Hands) {
    let hands = Hands::new();
    let kv = Kv::in_memory(Limits::default(), hands.clock()).expect("memory");
    (kv, hands)
}

/// Makes one change: its version.
fn one(kv: &Kv, store: &str, write: Write) -> Result<u64, KvError> {
    kv.write(id(store), vec![write])
        .wait()
        .map(|written| written[0].version)
}

fn value(kv: &Kv, store: &str, key: &str) -> Option<String> {
    let entry = kv.get(&id(store), key).expect("reads");
    entry.map(|entry| String::from_utf8(entry.value).expect("text"))
}

fn keys(kv: &Kv, store: &str, prefix: &str) -> Vec<String> {
    let (mut keys, mut cursor) = (vec![], None);
    loop {
        let options = ListOptions {
            prefix,
            cursor: cursor.as_deref(),
            limit: 2,
        };
        let page = kv.list(&id(store), options).expect("reads");
        assert!(page.entries.len() <= 2);
        keys.extend(page.entries.into_iter().map(|entry| entry.key));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return keys,
        }
    }
}

#[test]
fn what_is_put_is_there_until_it_is_deleted() {
    let (kv, _) = memory();
    assert_eq!(value(&kv, "cart", "a"), None);
    let large = vec![b'x'; VALUE_BYTES_MAX];
    for (key, bytes) in [("a", &b"1"[..]), ("ü/ /", b""), ("large", &large)] {
        let version = one(&kv, "cart", put(key, bytes).says("m")).expect("put");
        let entry = kv.get(&id("cart"), key).expect("reads").expect("there");
        let expected = Entry {
            version,
            value: bytes.into(),
            metadata: "m".into(),
            expires_ms: None,
        };
        assert_eq!(entry, expected, "{key}");
        assert_eq!(value(&kv, "other", key), None);
    }
    assert_eq!(keys(&kv, "cart", ""), ["a", "large", "ü/ /"]);
    // A small value in the place of a large one, and the other way round.
    one(&kv, "cart", put("large", b"small")).expect("put");
    one(&kv, "cart", put("a", &large)).expect("put");
    assert_eq!(value(&kv, "cart", "large").as_deref(), Some("small"));
    assert_eq!(
        value(&kv, "cart", "a").map(|value| value.len()),
        Some(VALUE_BYTES_MAX)
    );
    for existed in [true, false] {
        let written = kv.write(id("cart"), vec![delete("a")]).wait();
        assert_eq!(written.expect("deleted")[0].existed, existed);
        assert_eq!(value(&kv, "cart", "a"), None);
    }
}

#[test]
fn a_condition_that_does_not_hold_is_a_conflict_and_versions_never_come_again() {
    let (kv, hands) = memory();
    let conflict = |write: Write, found: Option<u64>| match one(&kv, "s", write) {
        Err(KvError::Conflict { found: is, .. }) => assert_eq!(is, found),
        other => panic!("expected a conflict, got {other:?}"),
    };
    conflict(put("k", b"1").when(Condition::Present), None);
    conflict(delete("k").when(Condition::Version(1)), None);
    let first = one(&kv, "s", put("k", b"1").when(Condition::Absent)).expect("absent");
    conflict(put("k", b"2").when(Condition::Absent), Some(first));
    conflict(
        put("k", b"2").when(Condition::Version(first + 1)),
        Some(first),
    );
    let second = one(&kv, "s", put("k", b"2").when(Condition::Version(first)));
    let second = second.expect("the version");
    conflict(delete("k").when(Condition::Version(first)), Some(second));
    one(&kv, "s", delete("k").when(Condition::Version(second))).expect("the version");
    let third = one(&kv, "s", put("k", b"1").expires(10)).expect("put");
    assert!(third > second && second > first);
    hands.forward(10);
    conflict(put("k", b"1").when(Condition::Version(third)), None);
    let fourth = one(&kv, "s", put("k", b"1").when(Condition::Absent)).expect("it expired");
    assert!(fourth > third);
    let message = one(&kv, "s", delete("k").when(Condition::Version(7))).expect_err("conflict");
    let expected = format!("the entry \"k\" has version {fourth}: must have version 7");
    assert_eq!(message.to_string(), expected);
}

#[test]
fn a_batch_is_made_whole_or_not_at_all() {
    let (kv, _) = memory();
    one(&kv, "s", put("a", b"1")).expect("put");
    let batch = vec![
        put("a", b"2"),
        put("b", b"2"),
        delete("c").when(Condition::Present),
    ];
    let error = kv.write(id("s"), batch.clone()).wait().expect_err("no c");
    assert!(matches!(error, KvError::Conflict { key, .. } if key == "c"));
    assert_eq!(value(&kv, "s", "a").as_deref(), Some("1"));
    assert_eq!(value(&kv, "s", "b"), None);
    one(&kv, "s", put("c", b"1")).expect("put");
    let written = kv.write(id("s"), batch).wait().expect("all hold");
    let existed: Vec<_> = written.iter().map(|written| written.existed).collect();
    assert_eq!(existed, [true, false, true]);
    assert_eq!(keys(&kv, "s", ""), ["a", "b"]);
}

#[test]
fn what_expires_is_gone_at_once_for_everybody_and_collected_later() {
    let (kv, hands) = memory();
    let written = kv.write(
        id("s"),
        vec![
            put("short", b"1").expires(100),
            put("long", b"1").expires(200),
            put("ever", b"1"),
        ],
    );
    written.wait().expect("put");
    hands.forward(99);
    assert_eq!(keys(&kv, "s", ""), ["ever", "long", "short"]);
    hands.forward(1);
    assert_eq!(value(&kv, "s", "short"), None);
    assert_eq!(keys(&kv, "s", ""), ["ever", "long"]);
    // A clock that goes back brings nothing back.
    hands.0.fetch_sub(50, SeqCst);
    assert_eq!(value(&kv, "s", "short"), None);
    hands.forward(50);
    // Without a time to live, it has none any more.
    one(&kv, "s", put("long", b"2")).expect("put");
    hands.forward(1000);
    assert_eq!(keys(&kv, "s", ""), ["ever", "long"]);
    one(&kv, "s", put("new", b"1")).expect("put");
    let stores = kv.stores(&TenantName::default(), None, 9).expect("reads");
    assert_eq!(
        stores[0].entries, 3,
        "what has expired is collected with a write"
    );
    let entry_bytes = |key: &str| key.len() as u64 + 1 + ENTRY_OVERHEAD_BYTES;
    let bytes = entry_bytes("ever") + entry_bytes("long") + entry_bytes("new");
    assert_eq!(stores[0].bytes, bytes);
}

#[test]
fn a_list_has_a_prefix_and_goes_on_behind_its_cursor() {
    let (kv, hands) = memory();
    for key in ["a", "b/1", "b/2", "b/3", "b0", "c"] {
        let written = one(&kv, "s", put(key, b"1").says(key));
        written.expect("put");
        one(&kv, "t", put(key, b"1")).expect("put");
    }
    assert_eq!(keys(&kv, "s", "b/"), ["b/1", "b/2", "b/3"]);
    assert_eq!(keys(&kv, "s", "d"), [""; 0]);
    assert_eq!(keys(&kv, "s", ""), ["a", "b/1", "b/2", "b/3", "b0", "c"]);
    let options = ListOptions {
        prefix: "b",
        cursor: Some("a"),
        limit: 1,
    };
    let page = kv.list(&id("s"), options).expect("reads");
    let [entry] = &page.entries[..] else {
        panic!("one entry: {page:?}");
    };
    assert_eq!(
        (&*entry.key, &*entry.metadata, entry.value_bytes),
        ("b/1", "b/1", 1)
    );
    // Many that have expired make short parts, and the list still ends.
    for part in 0..40 {
        let batch = (0..BATCH_MAX).map(|n| put(&format!("x{part:02}{n:03}"), b"").expires(5));
        kv.write(id("x"), batch.collect()).wait().expect("put");
    }
    one(&kv, "x", put("y", b"1")).expect("put");
    hands.forward(5);
    assert_eq!(keys(&kv, "x", ""), ["y"]);
}

#[test]
fn each_limit_holds_at_its_edge() {
    let (kv, _) = memory();
    let refused = |write: Write, text: &str| {
        let error = one(&kv, "s", write).expect_err("beyond");
        assert_eq!(error.to_string(), text);
    };
    let long = "k".repeat(KEY_BYTES_MAX);
    one(&kv, "s", put(&long, b"1")).expect("the longest key");
    let longer = format!("{long}k");
    refused(
        put(&longer, b""),
        "invalid key of 513 bytes: must be 1 to 512, UTF-8",
    );
    refused(
        delete(""),
        "invalid key of 0 bytes: must be 1 to 512, UTF-8",
    );
    assert!(kv.get(&id("s"), "").is_err() && kv.get(&id("s"), &longer).is_err());
    let large = vec![0; VALUE_BYTES_MAX + 1];
    refused(
        put("k", &large),
        "invalid value of 1048577 bytes: must be at most 1048576",
    );
    let text = "m".repeat(METADATA_BYTES_MAX);
    one(&kv, "s", put("k", b"").says(&text)).expect("the longest metadata");
    for metadata in [&*format!("{text}m"), "a\n", "ü", " a", "a "] {
        let error = one(&kv, "s", put("k", b"").says(metadata)).expect_err("beyond");
        assert!(
            error.to_string().starts_with("invalid metadata "),
            "{error}"
        );
    }
    refused(
        put("k", b"").expires(0),
        "invalid time to live 0 ms: must be 1 to 315360000000",
    );
    let batch = |len: usize| (0..len).map(|n| put(&n.to_string(), b"")).collect();
    kv.write(id("s"), batch(BATCH_MAX))
        .wait()
        .expect("the largest");
    for len in [0, BATCH_MAX + 1] {
        let error = kv.write(id("s"), batch(len)).wait().expect_err("beyond");
        assert_eq!(error, Unfit::Batch(len).into());
    }
    let twice = kv.write(id("s"), vec![put("k", b"1"), delete("k")]).wait();
    assert_eq!(twice, Err(Unfit::Twice("k".into()).into()));
    for limit in [0, PAGE_MAX + 1] {
        let options = ListOptions {
            prefix: "",
            cursor: None,
            limit,
        };
        assert_eq!(kv.list(&id("s"), options), Err(Unfit::Limit(limit).into()));
    }
}

#[test]
fn what_nobody_waits_for_when_its_turn_comes_is_not_made() {
    let (kv, _) = memory();
    let (_sender, jobs) = mpsc::channel();
    let mut writer = Writer::new(Arc::clone(&kv.shared), jobs);
    let (gone, waits) = (oneshot::channel(), oneshot::channel());
    drop(gone.1);
    kv.shared.queued_bytes.fetch_add(3, SeqCst);
    let job = |key, bytes, done| Job {
        store: id("s"),
        writes: Some(vec![put(key, b"1")]),
        bytes,
        done,
    };
    writer.commit(vec![job("gone", 1, gone.0), job("waits", 2, waits.0)]);
    let written = waits.1.blocking_recv().expect("an outcome");
    assert!(!written.expect("written")[0].existed);
    assert_eq!(keys(&kv, "s", ""), ["waits"]);
    assert_eq!(kv.shared.queued_bytes.load(SeqCst), 0);
}

#[test]
fn a_store_has_a_budget_and_there_are_so_many() {
    let limits = Limits {
        store_bytes_max: 1000,
        stores_max: 2,
    };
    let kv = Kv::in_memory(limits, system_clock()).expect("memory");
    let fits = vec![7; 1000 - 64 - 1];
    one(&kv, "s", put("a", &fits)).expect("as much as fits");
    let full = KvError::StoreFull {
        store: "s".into(),
        bytes: 1065,
        bytes_max: 1000,
    };
    assert_eq!(one(&kv, "s", put("b", b"")), Err(full));
    // What makes room counts, also within a batch.
    let batch = vec![put("b", b"2"), put("a", b"1")];
    kv.write(id("s"), batch)
        .wait()
        .expect("smaller than before");
    one(&kv, "t", put("a", &fits)).expect("a budget of its own");
    assert_eq!(one(&kv, "u", put("a", b"")), Err(KvError::TooManyStores(2)));
    one(&kv, "u", delete("a")).expect("nothing to delete makes no store");
    let removed = kv.remove_store(id("t")).wait().expect("removed");
    assert!(removed[0].existed);
    one(&kv, "u", put("a", b"")).expect("room again");
}

#[test]
fn a_removed_store_is_gone_at_once_and_begins_anew() {
    let (kv, _) = memory();
    for part in 0..20 {
        let batch = (0..BATCH_MAX).map(|n| put(&format!("{part}-{n}"), &[1; 2000]).expires(99));
        kv.write(id("s"), batch.collect()).wait().expect("put");
    }
    kv.remove_store(id("s")).wait().expect("removed");
    assert_eq!(keys(&kv, "s", ""), [""; 0]);
    one(&kv, "s", put("new", b"1")).expect("put");
    assert_eq!(keys(&kv, "s", ""), ["new"]);
    let removed = kv.remove_store(id("none")).wait().expect("nothing");
    assert!(!removed[0].existed);
    // What was in it is collected by commits without a job.
    for _ in 0..100 {
        if tables::next_garbage(&kv.shared.file) == Ok((None, false)) {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(tables::next_garbage(&kv.shared.file), Ok((None, false)));
    assert_eq!(keys(&kv, "s", ""), ["new"]);
}

#[test]
fn stores_are_of_their_tenant() {
    let (kv, _) = memory();
    let tenant = |name: &str| name.parse::<TenantName>().expect("a name");
    let store = |of: &str, name: &str| StoreId::new(&tenant(of), name);
    for (of, name) in [("a", "x"), ("a", "y"), ("a-b", "x"), ("b", "x")] {
        let value = format!("{of}{name}");
        let written = kv.write(store(of, name), vec![put("k", value.as_bytes())]);
        written.wait().expect("put");
    }
    let names = |of: &str, after: Option<&str>, limit| {
        let stores = kv.stores(&tenant(of), after, limit).expect("reads");
        stores
            .into_iter()
            .map(|store| store.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names("a", None, 9), ["x", "y"]);
    assert_eq!(names("a", None, 1), ["x"]);
    assert_eq!(names("a", Some("x"), 9), ["y"]);
    assert_eq!(names("a-b", None, 9), ["x"]);
    assert_eq!(names("c", None, 9), [""; 0]);
    let entry = kv
        .get(&store("a", "x"), "k")
        .expect("reads")
        .expect("there");
    assert_eq!(entry.value, b"ax");
}

#[test]
fn what_is_appended_is_behind_all_that_was() {
    let (kv, _) = memory();
    let append = |text: &str| Write {
        key: String::new(),
        condition: Condition::None,
        change: Change::Append {
            value: text.into(),
            metadata: "m".into(),
        },
    };
    let list = || {
        let options = ListOptions {
            prefix: "",
            cursor: None,
            limit: 9,
        };
        let page = kv.list(&id("q"), options).expect("reads");
        let keys = page.entries.into_iter().map(|entry| entry.key);
        keys.collect::<Vec<_>>()
    };
    let mut keys = vec![];
    for (number, text) in ["one", "two", "three"].into_iter().enumerate() {
        let written = kv.write(id("q"), vec![append(text)]).wait().expect("made");
        assert!(!written[0].existed);
        keys.push(version_key(written[0].version));
        assert!(keys.is_sorted() && list() == keys, "{keys:?}");
        let entry = kv
            .get(&id("q"), &keys[number])
            .expect("reads")
            .expect("there");
        assert_eq!((&*entry.value, &*entry.metadata), (text.as_bytes(), "m"));
    }
    // Also when none of them is left.
    kv.remove_store(id("q")).wait().expect("removed");
    let both = kv
        .write(id("q"), vec![append("four"), append("five")])
        .wait();
    let both = both
        .expect("made")
        .into_iter()
        .map(|it| version_key(it.version));
    let both: Vec<_> = both.collect();
    assert!(
        both.is_sorted() && both[0] > keys[2] && list() == both,
        "{both:?}"
    );
    let large = vec![0; VALUE_BYTES_MAX + 1];
    let refused = kv.write(
        id("q"),
        vec![Write {
            change: Change::Append {
                value: large,
                metadata: String::new(),
            },
            ..append("")
        }],
    );
    assert!(matches!(
        refused.wait(),
        Err(KvError::Invalid(Unfit::Value(_)))
    ));
}

/// Each of many threads counts up one number by compare-and-set: none is lost.
#[test]
fn compare_and_set_loses_no_update() {
    const THREADS: u64 = 8;
    const EACH: u64 = 50;
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("kv");
    let kv = Kv::open(&path, Limits::default(), system_clock()).expect("opens");
    one(&kv, "s", put("n", b"0")).expect("put");
    let conflicts = Mutex::new(0);
    let count = || {
        let mut done = 0;
        while done < EACH {
            let entry = kv.get(&id("s"), "n").expect("reads").expect("there");
            let number: u64 = str::from_utf8(&entry.value)
                .expect("text")
                .parse()
                .expect("number");
            let next = put("n", (number + 1).to_string().as_bytes());
            match one(&kv, "s", next.when(Condition::Version(entry.version))) {
                Ok(version) => {
                    done += 1;
                    // What is acknowledged is seen by all reads that begin now.
                    let seen = kv.get(&id("s"), "n").expect("reads").expect("there");
                    assert!(seen.version >= version);
                }
                Err(KvError::Conflict { .. }) => *conflicts.lock().expect("lock") += 1,
                Err(error) => panic!("{error}"),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(count);
        }
    });
    let end = (THREADS * EACH).to_string();
    assert_eq!(value(&kv, "s", "n"), Some(end.clone()));
    assert!(
        *conflicts.lock().expect("lock") > 0,
        "nobody was beside another"
    );
    drop(kv);
    let kv = Kv::open(&path, Limits::default(), system_clock()).expect("opens again");
    assert_eq!(value(&kv, "s", "n"), Some(end));
}

/// Whatever step of the disk fails, a change is there whole or not at all, what was acknowledged stays, and it goes on when
/// there is room again, after a crash too.
#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    for fails_at in 0.. {
        let disk = Disk::default();
        let open = |disk: &Disk| Kv::with_open(disk.open(), Limits::default(), system_clock());
        let kv = open(&disk).expect("opens");
        one(&kv, "s", put("old", b"1")).expect("put");
        disk.fill_after(Some(fails_at));
        let batch = vec![put("a", &[7; 5000]), put("b", b"1"), put("old", b"2")];
        let outcome = kv.write(id("s"), batch).wait();
        let has_failed = outcome.is_err();
        let check = |kv: &Kv| {
            let (new, old) = (
                keys(kv, "s", "") == ["a", "b", "old"],
                keys(kv, "s", "") == ["old"],
            );
            assert!(new || old, "half of a batch, fails_at {fails_at}");
            let second = value(kv, "s", "old").as_deref() == Some("2");
            assert_eq!(new, second);
            match &outcome {
                Ok(_) => assert!(new, "acknowledged and lost, fails_at {fails_at}"),
                Err(KvError::DiskFull) => assert!(old, "an error, and done, fails_at {fails_at}"),
                Err(KvError::Unknown(_)) => {}
                Err(error) => panic!("{error}"),
            }
        };
        for loses_unsynced in [true, false] {
            check(&open(&disk.after_crash(loses_unsynced)).expect("opens after a crash"));
        }
        disk.fill_after(None);
        check(&kv);
        one(&kv, "s", put("c", b"1")).expect("room again");
        if !has_failed {
            assert!(fails_at > 5, "hardly anything failed");
            break;
        }
    }
}
