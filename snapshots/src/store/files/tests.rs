use std::os::unix::fs::FileExt;

use super::*;
use crate::{
    disk::fault,
    store::shelf::TEMPORARY,
    testing::{at_every_step, names, overwrite},
};

const OLD: Duration = Duration::ZERO;

fn store() -> (tempfile::TempDir, FileStore) {
    let root = tempfile::tempdir().expect("temporary directory");
    let store = FileStore::new(root.path().join("files")).expect("a store");
    (root, store)
}

fn put(store: &FileStore, bytes: &[u8]) -> Result<Digest, StoreError> {
    let digest = Digest::of(bytes);
    let new = store.create()?;
    disk::write_all_at(new.file(), bytes, 0).map_err(at(&new.path))?;
    store.publish(new, &digest)?;
    Ok(digest)
}

/// Every name in the store is that of a whole file.
fn check_store(store: &FileStore, place: &str) -> Vec<Digest> {
    let digests = store.list().expect("a list");
    for digest in &digests {
        store
            .open_whole(digest)
            .unwrap_or_else(|error| panic!("{place}: {error}"));
    }
    digests
}

fn left_over(store: &FileStore) -> Vec<String> {
    names(&store.shelf.root.join(TEMPORARY))
}

#[test]
fn a_file_is_there_whole_or_not_at_all() {
    at_every_step(|fault, at| {
        let (_root, store) = store();
        let other = put(&store, b"other").expect("put");
        let (result, taken) = fault::with(fault, at, || put(&store, b"one"));
        let place = format!("{fault:?} at step {at} of {taken:?}");
        let digests = check_store(&store, &place);
        assert!(digests.contains(&other), "{place}");
        if let Ok(digest) = result {
            assert!(digests.contains(&digest), "{place}");
        }
        let one = put(&store, b"one").expect("a following one succeeds");
        assert!(check_store(&store, &place).contains(&one), "{place}");
        store.gc(&|_| true, OLD);
        assert_eq!(left_over(&store), [""; 0], "{place}");
        taken
    });
}

#[test]
fn a_collection_can_stop_anywhere() {
    at_every_step(|fault, at| {
        let (_root, store) = store();
        let [one, two, three] =
            [&b"one"[..], b"two", b"three"].map(|bytes| put(&store, bytes).expect("put"));
        let keep = |digest: &Digest| *digest == one;
        let (_, taken) = fault::with(fault, at, || store.gc(&keep, OLD));
        let place = format!("{fault:?} at step {at} of {taken:?}");
        let digests = check_store(&store, &place);
        assert!(digests.contains(&one), "{place}");
        let Collected { freed_bytes, left } = store.gc(&keep, OLD);
        assert!(left.is_empty(), "{place}: {left:?}");
        let was_there = digests.contains(&two) || digests.contains(&three);
        assert!(freed_bytes > 0 || !was_there, "{place}");
        assert_eq!(check_store(&store, &place), [one], "{place}");
        assert_eq!(left_over(&store), [""; 0], "{place}");
        taken
    });
}

#[test]
fn a_collector_may_come_at_any_step_of_a_put() {
    for step in 0..100 {
        let (_root, store) = store();
        let other = FileStore::new(store.shelf.root.clone()).expect("a store");
        let collect = move || {
            let Collected { left, .. } = other.gc(&|_| true, OLD);
            assert!(left.is_empty(), "{left:?}");
        };
        let (result, taken) = fault::between(step, collect, || put(&store, b"one"));
        let place = format!("step {step} of {taken:?}");
        let one = result.unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(check_store(&store, &place), [one], "{place}");
        assert_eq!(left_over(&store), [""; 0], "{place}");
        if step >= taken.len() {
            return;
        }
    }
    panic!("no end of steps");
}

#[test]
fn what_is_young_or_being_written_stays() {
    let (_root, store) = store();
    let one = put(&store, b"one").expect("put");
    let begun = store.create().expect("begun");
    begun.file().write_all_at(b"beg", 0).expect("written");
    store.gc(&|_| false, Duration::from_secs(3600));
    assert_eq!(check_store(&store, ""), [one]);
    store.gc(&|_| false, OLD);
    assert_eq!(check_store(&store, ""), []);
    assert_eq!(left_over(&store).len(), 1);
    store
        .publish(begun, &Digest::of(b"beg"))
        .expect("published");
    assert_eq!(check_store(&store, ""), [Digest::of(b"beg")]);
}

#[test]
fn a_file_that_was_damaged_is_told_and_put_again() {
    let (_root, store) = store();
    let one = put(&store, b"one").expect("put");
    overwrite(&store.path(&one), b"two");
    let damaged = store.open_whole(&one).expect_err("damaged");
    assert!(matches!(damaged, StoreError::WrongDigest { expected, .. } if expected == one));
    assert_eq!(put(&store, b"one").expect("put again"), one);
    assert_eq!(check_store(&store, ""), [one]);
    let missing = store.open(&Digest::of(b"")).expect_err("missing");
    assert!(matches!(missing, StoreError::NotFound(_)));
}
