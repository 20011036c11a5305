use std::fs;

use super::{shelf::TEMPORARY, *};
use crate::{
    PageRun, RAM_FILE, STATE_FILE,
    disk::fault,
    testing::{RAM_BYTES, at_every_step, golden_state, names, overwrite, ram},
    write_working_set,
};

const ONE: &[(u64, u8)] = &[(3, 1), (700, 2)];
const OTHER: &[(u64, u8)] = &[(3, 1), (700, 3)];

fn store() -> (tempfile::TempDir, Store) {
    let root = tempfile::tempdir().expect("temporary directory");
    let store = Store::new(root.path().join("store")).expect("a store");
    (root, store)
}

fn put(store: &Store, pages: &[(u64, u8)]) -> Result<Digest, StoreError> {
    store.put(&golden_state(), RAM_BYTES, ram(pages))
}

fn is_whole(store: &Store, digest: &Digest) -> bool {
    Snapshot::verify(&store.path(digest)).is_ok_and(|found| found.digest == *digest)
}

/// Every name in the store is that of a whole snapshot.
fn check_store(store: &Store, place: &str) -> Vec<Digest> {
    let digests = store.list().expect("a list");
    for digest in &digests {
        assert!(is_whole(store, digest), "{place}");
    }
    digests
}

fn collect(store: &Store, keep: &dyn Fn(&Digest) -> bool) -> u64 {
    let Collected { freed_bytes, left } = store.gc(keep);
    assert!(left.is_empty(), "{left:?}");
    freed_bytes
}

fn left_over(store: &Store) -> Vec<String> {
    names(&store.shelf.root.join(TEMPORARY))
}

#[test]
fn what_is_put_is_found_by_its_digest() {
    let (_root, store) = store();
    assert_eq!(store.list().expect("a list"), []);
    let one = put(&store, ONE).expect("put");
    let other = put(&store, OTHER).expect("put");
    assert_ne!(one, other);
    let mut both = [one, other];
    both.sort();
    assert_eq!(check_store(&store, ""), both);
    let snapshot = store.open(&one).expect("opens");
    assert_eq!((snapshot.digest(), snapshot.ram_pages_stored()), (one, 2));
    let name = one.to_string();
    assert!(store.path(&one).ends_with(format!("{}/{name}", &name[..2])));
    let error = store.open(&Digest::of(b"")).expect_err("not there");
    assert!(matches!(error, StoreError::NotFound(_)), "{error}");
    assert_eq!(left_over(&store), [""; 0]);
    // It is still all there for the next one to open the store.
    let again = Store::new(store.shelf.root.clone()).expect("a store");
    assert_eq!(again.list().expect("a list"), both);
}

#[test]
fn what_is_there_stays_as_it_is() {
    let (_root, store) = store();
    let one = put(&store, ONE).expect("put");
    write_working_set(
        &store.path(&one),
        &[PageRun {
            first_page: 1,
            pages: 1,
        }],
    )
    .expect("written");
    assert_eq!(put(&store, ONE).expect("put again"), one);
    assert_eq!(store.open(&one).expect("opens").working_set().len(), 1);
    assert_eq!(left_over(&store), [""; 0]);
}

#[test]
fn what_is_damaged_is_replaced() {
    let (_root, store) = store();
    let one = put(&store, ONE).expect("put");
    for file in [STATE_FILE, RAM_FILE] {
        overwrite(&store.path(&one).join(file), b"damaged");
        assert!(store.open(&one).is_err());
        assert_eq!(put(&store, ONE).expect("put again"), one);
        assert!(is_whole(&store, &one));
    }
    assert_eq!(left_over(&store), [""; 0]);
}

#[test]
fn a_snapshot_under_another_digest_is_refused() {
    let (_root, store) = store();
    let [one, other] = [ONE, OTHER].map(|pages| put(&store, pages).expect("put"));
    let state = fs::read(store.path(&other).join(STATE_FILE)).expect("a state");
    overwrite(&store.path(&one).join(STATE_FILE), &state);
    let error = store.open(&one).expect_err("another");
    let is_expected = matches!(error, StoreError::WrongDigest { expected, found } if (expected, found) == (one, other));
    assert!(is_expected, "{error}");
}

#[test]
fn what_is_not_kept_is_removed() {
    let (_root, store) = store();
    let [one, other] = [ONE, OTHER].map(|pages| put(&store, pages).expect("put"));
    assert_eq!(collect(&store, &|_| true), 0);
    assert_eq!(check_store(&store, "").len(), 2);

    let snapshot = store.open(&other).expect("opens");
    let freed_bytes = collect(&store, &|digest| *digest == one);
    assert!(
        (8192..=64 << 10).contains(&freed_bytes),
        "{freed_bytes} bytes"
    );
    assert_eq!(check_store(&store, ""), [one]);
    assert_eq!(left_over(&store), [""; 0]);
    // Who has it open keeps it.
    let mut page = [0; 4096];
    std::os::unix::fs::FileExt::read_exact_at(snapshot.ram_file(), &mut page, 700 * 4096)
        .expect("still there");
    assert_eq!(page, [3; 4096]);
}

/// A collector beside one who puts takes nothing from them.
#[test]
fn what_is_being_put_is_not_removed() {
    let (_root, store) = store();
    let digest = store.put(&golden_state(), RAM_BYTES, |number, page| {
        if number == 900 {
            assert_eq!(collect(&store, &|_| false), 0);
        }
        ram(ONE)(number, page)
    });
    assert!(is_whole(&store, &digest.expect("put")));
}

#[test]
fn a_collector_may_come_at_any_step_of_a_put() {
    for at in 0..100 {
        let (_root, store) = store();
        let other = Store::new(store.shelf.root.clone()).expect("a store");
        let collect = move || {
            collect(&other, &|_| true);
        };
        let (result, taken) = fault::between(at, collect, || put(&store, ONE));
        let place = format!("step {at} of {taken:?}");
        let one = result.unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(check_store(&store, &place), [one], "{place}");
        assert_eq!(left_over(&store), [""; 0], "{place}");
        if at >= taken.len() {
            return;
        }
    }
    panic!("no end of steps");
}

/// Names that are no digests are not ours: they are neither listed nor removed.
#[test]
fn strangers_are_left_alone() {
    let (_root, store) = store();
    let one = put(&store, ONE).expect("put");
    let name = one.to_string();
    let elsewhere = store.shelf.root.join("zz");
    fs::create_dir(&elsewhere).expect("a directory");
    fs::create_dir(elsewhere.join(&name)).expect("a directory");
    fs::write(store.shelf.root.join("file"), b"mine").expect("a file");
    assert_eq!(store.list().expect("a list"), [one]);
    collect(&store, &|_| false);
    assert_eq!(store.list().expect("a list"), []);
    assert_eq!(names(&elsewhere), [name]);
}

/// Whatever lies about in the store's directories, what is garbage goes.
#[test]
fn a_stranger_stops_no_collection() {
    let (_root, store) = store();
    let [one, other] = [ONE, OTHER].map(|pages| put(&store, pages).expect("put"));
    let temporary = store.shelf.root.join(TEMPORARY);
    let shard = store.path(&one).parent().expect("a shard").to_owned();
    let mut name = one.to_string();
    name.replace_range(2.., &"0".repeat(62));
    let strangers = [
        temporary.join("0-a-file"),
        shard.join("notes"),
        shard.join(&name),
        store.shelf.root.join("00"),
    ];
    for path in &strangers {
        fs::write(path, b"mine").expect("a file");
    }
    let directory = temporary.join("0-a-directory");
    fs::create_dir(&directory).expect("a directory");
    fs::write(directory.join("mine"), b"mine").expect("a file");
    fs::write(directory.join(STATE_FILE), b"mine").expect("a file");

    let Collected { freed_bytes, left } = store.gc(&|digest| *digest == one);
    assert!(freed_bytes > 0);
    assert!(!store.path(&other).exists() && is_whole(&store, &one));
    // Those that were in the way are named, and nothing was done to them.
    let named = |path: &Path| {
        left.iter()
            .any(|error| error.to_string().contains(path.to_str().expect("UTF-8")))
    };
    for path in [&strangers[0], &strangers[2], &directory] {
        assert!(named(path), "{path:?}: {left:?}");
    }
    assert_eq!(left.len(), 3, "{left:?}");
    for path in &strangers {
        assert_eq!(fs::read(path).expect("still there"), b"mine");
    }
    assert_eq!(names(&directory).len(), 2);
}

#[test]
fn a_put_is_whole_or_not_there() {
    for before in [&[][..], &[OTHER], &[ONE], &[ONE, OTHER]] {
        at_every_step(|fault, at| {
            let (_root, store) = store();
            let count = before.len();
            for pages in before {
                put(&store, pages).expect("put");
            }
            let (result, taken) = fault::with(fault, at, || put(&store, ONE));
            let place = format!("{fault:?} at step {at} of {taken:?}");
            let digests = check_store(&store, &place);
            assert!(
                digests.len() == count || digests.len() == count + 1,
                "{place}"
            );
            if let Ok(digest) = result {
                assert!(digests.contains(&digest), "{place}");
            }
            let one = put(&store, ONE).expect("a following one succeeds");
            assert!(is_whole(&store, &one), "{place}");
            collect(&store, &|_| true);
            assert_eq!(left_over(&store), [""; 0], "{place}");
            taken
        });
    }
}

#[test]
fn a_collection_can_stop_anywhere() {
    at_every_step(|fault, at| {
        let (_root, store) = store();
        let [one, other] = [ONE, OTHER].map(|pages| put(&store, pages).expect("put"));
        let keep = |digest: &Digest| *digest == one;
        let (_, taken) = fault::with(fault, at, || store.gc(&keep));
        let place = format!("{fault:?} at step {at} of {taken:?}");
        let digests = check_store(&store, &place);
        assert!(digests.contains(&one), "{place}");
        let freed_bytes = collect(&store, &keep);
        assert!(freed_bytes > 0 || !digests.contains(&other), "{place}");
        assert_eq!(check_store(&store, &place), [one], "{place}");
        assert_eq!(left_over(&store), [""; 0], "{place}");
        taken
    });
}
