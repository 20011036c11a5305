use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::PathBuf,
};

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, mknodat};

use super::*;
use crate::{
    create,
    testing::{RAM_BYTES, any_state, golden_state, names, overwrite, ram},
    write_working_set,
};

const PAGES: &[(u64, u8)] = &[(0, 1), (1, 2), (500, 3), (1023, 4)];

/// A snapshot; its directory lives as long as the first value.
fn snapshot() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().expect("temporary directory");
    let dir = root.path().join("hello.snap");
    create(&dir, &golden_state(), RAM_BYTES, ram(PAGES)).expect("created");
    (root, dir)
}

fn open_error(dir: &Path) -> OpenError {
    Snapshot::open(dir).expect_err("no snapshot")
}

#[test]
fn what_was_created_is_opened() {
    let (_root, dir) = snapshot();
    assert_eq!(names(&dir), [RAM_FILE, STATE_FILE]);
    let snapshot = Snapshot::open(&dir).expect("opens");
    assert_eq!(snapshot.state(), &golden_state());
    assert_eq!(snapshot.ram_bytes(), RAM_BYTES);
    assert_eq!(snapshot.ram_pages_stored(), 4);
    assert!(snapshot.working_set().is_empty() && snapshot.working_set_problem().is_none());
    let state = fs::read(dir.join(STATE_FILE)).expect("a state");
    assert_eq!(snapshot.digest(), Digest::of(&state));

    let expected = Verified {
        digest: snapshot.digest(),
        ram_bytes: RAM_BYTES,
        ram_pages_stored: 4,
        working_set_pages: 0,
    };
    assert_eq!(Snapshot::verify(&dir).expect("verifies"), expected);
}

/// The digest of RAM is as documented, and the file is RAM as it stands, zero pages absent.
#[test]
fn ram_is_sparse_and_its_digest_spelled_out() {
    let (_root, dir) = snapshot();
    let bytes = fs::read(dir.join(RAM_FILE)).expect("RAM");
    let mut expected = vec![0; 4 << 20];
    let mut hashed = vec![];
    for (number, byte) in PAGES {
        let start = usize::try_from(*number).expect("small") * PAGE_LEN;
        expected[start..start + PAGE_LEN].fill(*byte);
        hashed.extend(number.to_le_bytes());
        hashed.extend([*byte; PAGE_LEN]);
    }
    assert_eq!(bytes, expected);
    let state = fs::read(dir.join(STATE_FILE)).expect("a state");
    assert_eq!(state[72..104], Digest::of(&hashed).0);

    let metadata = fs::metadata(dir.join(RAM_FILE)).expect("RAM");
    let disk_bytes = metadata.blocks() * 512;
    assert!(disk_bytes <= 128 << 10, "{disk_bytes} bytes on disk");
    assert_eq!(metadata.mode() & 0o377, 0, "its owner alone may read it");
}

#[test]
fn a_link_to_a_snapshot_is_one() {
    let (root, dir) = snapshot();
    let link = root.path().join("latest");
    symlink(&dir, &link).expect("a link");
    assert!(Snapshot::verify(&link).is_ok());
    let runs = [PageRun {
        first_page: 7,
        pages: 2,
    }];
    write_working_set(&link, &runs).expect("written");
    assert_eq!(Snapshot::open(&dir).expect("opens").working_set(), runs);
}

#[test]
fn what_is_missing_is_named() {
    let (root, dir) = snapshot();
    let nowhere = root.path().join("nowhere");
    let error = open_error(&nowhere);
    assert!(matches!(error, OpenError::Directory { .. }), "{error}");
    assert_eq!(error.blame(), Blame::Host);
    for file in [RAM_FILE, STATE_FILE] {
        let (_root, dir) = snapshot();
        fs::remove_file(dir.join(file)).expect("a file");
        let error = open_error(&dir);
        assert!(matches!(error, OpenError::Missing(missing) if missing == file));
        assert_eq!(error.blame(), Blame::Input);
    }
    drop(dir);
}

/// Files are opened in the directory that had the name when opening began, never in two.
#[test]
fn a_snapshot_that_is_replaced_while_it_is_opened_is_not_missing() {
    let (_root, dir) = snapshot();
    let directory = disk::open_dir(&dir).expect("a directory");
    let opened = Snapshot::open_unless_replaced(&directory, &dir);
    assert!(matches!(opened, Ok(Some(_))), "{opened:?}");
    create(&dir, &golden_state(), RAM_BYTES, ram(&[])).expect("replaced");
    let opened = Snapshot::open_unless_replaced(&directory, &dir);
    assert!(matches!(opened, Ok(None)), "{opened:?}");
}

/// Neither a link nor a pipe leads anywhere, or holds anyone up.
#[test]
fn only_regular_files_are_opened() {
    for file in [RAM_FILE, STATE_FILE, WORKING_SET_FILE] {
        let (root, dir) = snapshot();
        let check = || {
            let error = match Snapshot::open(&dir) {
                Err(OpenError::NotAFile(name)) => name,
                Err(error) => panic!("{error}"),
                Ok(snapshot) => {
                    assert!(snapshot.working_set_problem().is_some());
                    WORKING_SET_FILE
                }
            };
            assert_eq!(error, file);
        };
        let path = dir.join(file);
        let elsewhere = root.path().join("elsewhere");
        fs::rename(&path, &elsewhere)
            .or_else(|_| fs::write(&elsewhere, b""))
            .expect("a file elsewhere");
        symlink(&elsewhere, &path).expect("a link");
        check();
        fs::remove_file(&path).expect("a link");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
        check();
        fs::remove_file(&path).expect("a pipe");
        fs::create_dir(&path).expect("a directory");
        check();
    }
}

#[test]
fn a_damaged_state_is_not_opened() {
    let (_root, dir) = snapshot();
    let path = dir.join(STATE_FILE);
    let good = fs::read(&path).expect("a state");
    let check = |bytes: &[u8], is_expected: fn(&FormatError) -> bool| {
        overwrite(&path, bytes);
        let error = open_error(&dir);
        let OpenError::Format(error) = error else {
            panic!("{error}");
        };
        assert!(is_expected(&error), "{error}");
    };
    check(&[], |error| matches!(error, FormatError::Truncated { .. }));
    let mut bad = good.clone();
    bad[200] ^= 1;
    check(&bad, |error| matches!(error, FormatError::Checksum { .. }));
    // However large the file is, no more than a state can have is read of it.
    let mut large = good.clone();
    large.resize(10 << 20, 0);
    check(
        &large,
        |error| matches!(error, FormatError::Trailing(bytes) if *bytes < 100 << 10),
    );
}

#[test]
fn ram_of_another_length_is_not_opened() {
    let (_root, dir) = snapshot();
    let path = dir.join(RAM_FILE);
    let good = fs::read(&path).expect("RAM");
    overwrite(&path, &good[1..]);
    let error = open_error(&dir);
    assert!(matches!(error, OpenError::RamLength { .. }), "{error}");
    overwrite(&path, &[&good[..], &[0]].concat());
    let error = open_error(&dir);
    assert!(matches!(error, OpenError::RamLength { .. }), "{error}");
    overwrite(&path, &good);
    assert!(Snapshot::verify(&dir).is_ok());
}

/// Opening does not read RAM, so it cannot find this; verifying does.
#[test]
fn every_damaged_byte_of_ram_is_found_by_verify() {
    let (_root, dir) = snapshot();
    let path = dir.join(RAM_FILE);
    let good = fs::read(&path).expect("RAM");
    for (offset, byte) in [
        (0, 0),
        (4095, 9),
        (8192, 1),
        (500 * 4096, 9),
        (good.len() - 1, 9),
    ] {
        let mut bad = good.clone();
        bad[offset] = byte;
        overwrite(&path, &bad);
        assert!(Snapshot::open(&dir).is_ok());
        let error = Snapshot::verify(&dir).expect_err("damaged");
        let is_expected = match offset {
            8192 => matches!(
                error,
                VerifyError::PagesStored {
                    found: 5,
                    expected: 4
                }
            ),
            _ => matches!(error, VerifyError::RamDigest { .. }),
        };
        assert!(is_expected, "byte {offset}: {error}");
        assert_eq!(error.blame(), Blame::Input);
    }
    // The same pages elsewhere.
    let mut bad = good.clone();
    bad.copy_within(500 * 4096..501 * 4096, 501 * 4096);
    bad[500 * 4096..501 * 4096].fill(0);
    overwrite(&path, &bad);
    let error = Snapshot::verify(&dir).expect_err("moved");
    assert!(matches!(error, VerifyError::RamDigest { .. }), "{error}");
}

#[test]
fn a_wrong_working_set_is_none() {
    let (_root, dir) = snapshot();
    let runs = [
        PageRun {
            first_page: 1,
            pages: 2,
        },
        PageRun {
            first_page: 1023,
            pages: 1,
        },
    ];
    write_working_set(&dir, &runs).expect("written");
    let snapshot = Snapshot::open(&dir).expect("opens");
    assert_eq!(snapshot.working_set(), runs);
    assert_eq!(Snapshot::verify(&dir).expect("whole").working_set_pages, 3);

    let path = dir.join(WORKING_SET_FILE);
    let mut bytes = fs::read(&path).expect("a working set");
    bytes[50] ^= 1;
    overwrite(&path, &bytes);
    let snapshot = Snapshot::open(&dir).expect("opens all the same");
    assert!(snapshot.working_set().is_empty());
    let problem = snapshot.working_set_problem();
    assert!(matches!(problem, Some(WorkingSetError::Checksum { .. })));
    let error = Snapshot::verify(&dir).expect_err("damaged");
    assert!(matches!(error, VerifyError::WorkingSet(_)), "{error}");

    // Replacing it mends it; what cannot be one is not written.
    write_working_set(&dir, &runs[1..]).expect("written");
    assert_eq!(
        Snapshot::open(&dir).expect("opens").working_set(),
        &runs[1..]
    );
    let outside = [PageRun {
        first_page: 1023,
        pages: 2,
    }];
    let error = write_working_set(&dir, &outside).expect_err("outside RAM");
    assert_eq!(error.blame(), Blame::Input);
    assert_eq!(names(&dir), [RAM_FILE, STATE_FILE, WORKING_SET_FILE]);
}

/// A jailed VMM gets its files from outside.
#[test]
fn files_that_someone_else_opened_will_do() {
    let (_root, dir) = snapshot();
    let file = |name| File::open(dir.join(name)).expect("a file");
    let snapshot = Snapshot::from_files(&file(STATE_FILE), file(RAM_FILE)).expect("opens");
    assert_eq!(
        snapshot.digest(),
        Snapshot::open(&dir).expect("opens").digest()
    );
    let error = Snapshot::from_files(&file(STATE_FILE), file(STATE_FILE)).expect_err("not RAM");
    assert!(matches!(error, OpenError::RamLength { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_state_and_any_ram_come_back(
        state in any_state(),
        pages in prop::collection::vec((0..1024_u64, 0..4_u8), 0..600),
    ) {
        let root = tempfile::tempdir().expect("temporary directory");
        let dir = root.path().join("any.snap");
        let digest = create(&dir, &state, RAM_BYTES, ram(&pages)).expect("created");
        prop_assert_eq!(Snapshot::verify(&dir).expect("verifies").digest, digest);
        let snapshot = Snapshot::open(&dir).expect("opens");
        prop_assert_eq!(snapshot.state(), &state);
        let mut read = ram(&pages);
        for number in 0..1024 {
            let (mut expected, mut found) = ([0; PAGE_LEN], [0; PAGE_LEN]);
            read(number, &mut expected).expect("RAM");
            let offset = number * PAGE_BYTES;
            snapshot.ram_file().read_exact_at(&mut found, offset).expect("RAM");
            prop_assert_eq!(found, expected, "page {}", number);
        }
    }
}
