use std::{cell::RefCell, os::unix::fs::symlink, rc::Rc};

use jiffy_abi::layout::{RAM_BYTES_MAX, RAM_BYTES_STEP};

use super::*;
use crate::{
    RAM_FILE, STATE_FILE,
    disk::fault::{self, Fault},
    testing::{RAM_BYTES, at_every_step, golden_state, names, overwrite, ram},
};

const OLD: &[(u64, u8)] = &[(3, 1), (700, 2)];
const NEW: &[(u64, u8)] = &[(0, 7), (3, 1), (4, 5), (1023, 9)];
const NAME: &str = "hello.snap";

fn root() -> tempfile::TempDir {
    tempfile::tempdir().expect("temporary directory")
}

fn create_with(dir: &Path, pages: &[(u64, u8)]) -> Result<Digest, CreateError> {
    create(dir, &golden_state(), RAM_BYTES, ram(pages))
}

fn verified(dir: &Path) -> Digest {
    Snapshot::verify(dir).expect("a whole snapshot").digest
}

/// What stands after a step failed, or after the process was killed there.
fn check_create(old: Option<&[(u64, u8)]>) {
    at_every_step(|fault, at| {
        let root = root();
        let dir = root.path().join(NAME);
        let old = old.map(|pages| create_with(&dir, pages).expect("created"));
        let (result, taken) = fault::with(fault, at, || create_with(&dir, NEW));
        let place = format!("{fault:?} at step {at} of {taken:?}");

        let now = dir.exists().then(|| verified(&dir));
        let again = create_with(&dir, NEW).expect("a following one succeeds");
        match &result {
            Ok(new) => assert_eq!((now, *new), (Some(again), again), "{place}"),
            Err(error) => {
                assert!(now == old || now == Some(again), "{place}");
                assert_eq!(error.blame(), Blame::Host, "{place}");
            }
        }
        assert_eq!(verified(&dir), again, "{place}");
        assert_eq!(names(root.path()), [NAME], "{place}");
        assert_eq!(names(&dir), [RAM_FILE, STATE_FILE], "{place}");
        taken
    });
}

#[test]
fn a_new_snapshot_is_whole_or_not_there() {
    check_create(None);
}

#[test]
fn a_replaced_snapshot_is_the_old_or_the_new_one() {
    check_create(Some(OLD));
}

/// A failure, other than one to clean up, leaves nothing behind.
#[test]
fn what_fails_leaves_nothing() {
    for step in ["create_file", "set_len", "write", "sync_file", "rename"] {
        let root = root();
        let dir = root.path().join(NAME);
        let create = || create_with(&dir, NEW);
        let (_, steps) = fault::with(Fault::Error, usize::MAX, create);
        fs::remove_dir_all(&dir).expect("created");
        let at = steps.iter().position(|taken| *taken == step);
        let (result, _) = fault::with(Fault::Error, at.expect("a step"), create);
        assert!(result.is_err(), "{step}");
        assert_eq!(names(root.path()), [""; 0], "{step}");
    }
}

/// A power cut keeps what was synced: all of a snapshot is, before it has its name, and the name is
/// before the old one goes.
#[test]
fn everything_is_on_disk_before_it_counts() {
    let root = root();
    let dir = root.path().join(NAME);
    let steps = || fault::with(Fault::Error, usize::MAX, || create_with(&dir, NEW)).1;
    let made = [
        "create_dir",
        "lock",
        "remove_file",
        "remove_file",
        "remove_file",
        "remove_file",
        "create_file",
        "set_len",
        "write",
        "write",
        "write",
        "sync_file",
        "create_file",
        "write",
        "sync_file",
        "sync_dir",
        "rename",
    ];
    assert_eq!(steps(), [&made[..], &["sync_dir"]].concat());
    let replaced = [
        "lock",
        "exchange",
        "sync_dir",
        "remove_file",
        "remove_file",
        "remove_file",
        "remove_file",
        "remove_dir",
    ];
    assert_eq!(steps(), [&made[..], &replaced].concat());
}

#[test]
fn a_working_set_is_the_old_or_the_new_one() {
    let run = |first_page| {
        [PageRun {
            first_page,
            pages: 1,
        }]
    };
    at_every_step(|fault, at| {
        let root = root();
        let dir = root.path().join(NAME);
        let digest = create_with(&dir, OLD).expect("created");
        write_working_set(&dir, &run(1)).expect("written");
        let (result, taken) = fault::with(fault, at, || write_working_set(&dir, &run(2)));
        let place = format!("{fault:?} at step {at} of {taken:?}");

        assert_eq!(verified(&dir), digest, "{place}");
        let snapshot = Snapshot::open(&dir).expect("opens");
        let now = snapshot.working_set();
        assert!(now == run(2) || result.is_err() && now == run(1), "{place}");
        write_working_set(&dir, &run(3)).expect("a following one succeeds");
        assert_eq!(Snapshot::open(&dir).expect("opens").working_set(), run(3));
        assert_eq!(names(&dir), [RAM_FILE, STATE_FILE, WORKING_SET_FILE]);
        taken
    });
}

#[test]
fn a_replaced_snapshot_loses_its_working_set() {
    let root = root();
    let dir = root.path().join(NAME);
    create_with(&dir, OLD).expect("created");
    write_working_set(
        &dir,
        &[PageRun {
            first_page: 1,
            pages: 1,
        }],
    )
    .expect("written");
    create_with(&dir, NEW).expect("replaced");
    assert_eq!(names(&dir), [RAM_FILE, STATE_FILE]);
    assert_eq!(names(root.path()), [NAME]);
}

/// A damaged snapshot, or one of another format, can be replaced: that is the fix its error names.
#[test]
fn what_was_a_snapshot_is_replaced() {
    let root = root();
    let dir = root.path().join(NAME);
    create_with(&dir, OLD).expect("created");
    overwrite(&dir.join(STATE_FILE), b"jiffySNP\x02\0\0\0");
    create_with(&dir, NEW).expect("replaced");
    verified(&dir);
}

#[test]
fn what_is_no_snapshot_is_left_alone() {
    let root = root();
    let path = |name: &str| root.path().join(name);
    fs::create_dir(path("empty")).expect("a directory");
    fs::create_dir(path("other")).expect("a directory");
    fs::write(path("other/file"), b"mine").expect("a file");
    fs::write(path("file"), b"mine").expect("a file");
    create_with(&path("more"), OLD).expect("created");
    fs::write(path("more/notes"), b"mine").expect("a file");
    symlink(path("nowhere"), path("link")).expect("a link");

    create_with(&path("empty"), NEW).expect("there was nothing in it");
    for name in ["other", "file", "more", "link"] {
        let error = create_with(&path(name), NEW).expect_err("something else");
        assert!(
            matches!(error, CreateError::NotASnapshot(_)),
            "{name}: {error}"
        );
        assert_eq!(error.blame(), Blame::Input);
    }
    let all = ["empty", "file", "link", "more", "other"];
    assert_eq!(names(root.path()), all);
    assert_eq!(fs::read(path("file")).expect("a file"), b"mine");
    assert_eq!(names(&path("other")), ["file"]);
    assert_eq!(names(&path("more")), ["notes", RAM_FILE, STATE_FILE]);
    let error = create_with(Path::new("/"), NEW).expect_err("no name");
    assert!(matches!(error, CreateError::Path(_)), "{error}");
    let error = create_with(&path("no/parent"), NEW).expect_err("no parent");
    assert!(matches!(error, CreateError::Directory { .. }), "{error}");
}

/// Whoever comes between, and wherever: readers find a whole snapshot, a second creator either does
/// all of its work or says that it cannot, and neither takes anything from the other.
#[test]
fn two_at_once_do_not_mix() {
    for at in 0..100 {
        let root = root();
        let dir = root.path().join(NAME);
        create_with(&dir, &[(1, 1)]).expect("created");
        let (other_dir, other) = (dir.clone(), Rc::new(RefCell::new(None)));
        let other_result = Rc::clone(&other);
        let come_between = move || {
            verified(&other_dir);
            *other_result.borrow_mut() = Some(create_with(&other_dir, OLD));
            verified(&other_dir);
        };
        let (result, taken) = fault::between(at, come_between, || create_with(&dir, NEW));
        let place = format!("step {at} of {taken:?}");
        let Some(other) = other.take() else {
            assert_eq!(at, taken.len(), "{place}");
            return;
        };
        let now = verified(&dir);
        let results = [result, other];
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            assert!(matches!(error, CreateError::Busy(_)), "{place}: {error}");
        }
        let mut made = results.iter().filter_map(|result| result.as_ref().ok());
        assert!(made.any(|digest| *digest == now), "{place}");
        assert_eq!(names(root.path()), [NAME], "{place}");
    }
    panic!("no end of steps");
}

/// Two at once: the second says so, and the first is not disturbed.
#[test]
fn one_name_is_made_by_one_at_a_time() {
    let root = root();
    let dir = root.path().join(NAME);
    let mut second = None;
    let digest = create(&dir, &golden_state(), RAM_BYTES, |number, page| {
        if number == 5 {
            second = Some(create_with(&dir, OLD));
        }
        ram(NEW)(number, page)
    });
    assert!(
        matches!(second, Some(Err(CreateError::Busy(_)))),
        "{second:?}"
    );
    assert_eq!(verified(&dir), digest.expect("created"));

    let _lock = disk::lock_dir(&dir).expect("a directory").expect("free");
    let error = create_with(&dir, OLD).expect_err("locked");
    assert!(matches!(error, CreateError::Busy(_)), "{error}");
    let error = write_working_set(&dir, &[]).expect_err("locked");
    assert!(matches!(error, WriteWorkingSetError::Busy(_)), "{error}");
    assert_eq!(names(root.path()), [NAME]);
}

/// Readers beside a writer always find one whole snapshot, and never one's state with the other's RAM.
#[test]
fn readers_find_the_old_or_the_new_one() {
    let root = root();
    let dir = root.path().join(NAME);
    let digests = [OLD, NEW].map(|pages| create_with(&dir, pages).expect("created"));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for pages in [OLD, NEW].into_iter().cycle().take(20) {
                create_with(&dir, pages).expect("replaced");
            }
        });
        while !writer.is_finished() {
            assert!(digests.contains(&verified(&dir)));
        }
    });
}

#[test]
fn a_state_or_ram_that_cannot_be_saved_costs_nothing() {
    let root = root();
    let dir = root.path().join(NAME);
    for ram_bytes in [
        0,
        RAM_BYTES - RAM_BYTES_STEP,
        RAM_BYTES_MAX + RAM_BYTES_STEP,
    ] {
        let error = create(&dir, &golden_state(), ram_bytes, |_, _| panic!("not read"));
        assert!(matches!(error, Err(CreateError::State(_))));
    }
    let result = create(&dir, &golden_state(), RAM_BYTES, |number, _| match number {
        9 => Err(io::ErrorKind::Other.into()),
        _ => Ok(()),
    });
    assert!(matches!(result, Err(CreateError::GuestRam { page: 9, .. })));
    assert_eq!(names(root.path()), [""; 0]);
}

#[test]
fn runs_of_pages_longer_than_a_write_are_written() {
    let root = root();
    let dir = root.path().join(NAME);
    let create = || {
        create(&dir, &golden_state(), RAM_BYTES, |number, page| {
            page[0..8].copy_from_slice(&(number + 1).to_le_bytes());
            Ok(())
        })
    };
    let (result, steps) = fault::with(Fault::Error, usize::MAX, create);
    result.expect("created");
    assert_eq!(verified_pages(&dir), 1024);
    let writes = steps.iter().filter(|step| **step == "write").count();
    assert_eq!(writes, 4 + 1, "RAM in pieces of 1 MiB, and the state");
}

fn verified_pages(dir: &Path) -> u64 {
    Snapshot::verify(dir)
        .expect("a whole snapshot")
        .ram_pages_stored
}
