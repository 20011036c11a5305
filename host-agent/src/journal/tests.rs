use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const LIMITS: JournalLimits = JournalLimits {
    file_bytes_max: 100,
    total_bytes_max: 300,
};

fn open(directory: &TempDir) -> Journal {
    Journal::open(directory.path(), LIMITS).expect("open")
}

/// What is in it, oldest first.
fn text(journal: &Journal) -> String {
    let read = |segment: &Segment| segment.read().expect("read");
    let bytes = journal.segments().iter().flat_map(read).collect();
    String::from_utf8(bytes).expect("UTF-8")
}

/// Bytes of the files as the directory has them, oldest first.
fn sizes(directory: &TempDir) -> Vec<u64> {
    let entries = fs::read_dir(directory.path()).expect("list");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
    files.sort();
    let size = |path: &PathBuf| fs::metadata(path).expect("metadata").len();
    files.iter().map(size).collect()
}

#[test]
fn files_are_begun_when_full_and_removed_when_too_many() {
    let directory = TempDir::new().expect("directory");
    let mut journal = open(&directory);
    let line = |number: u32| format!("{number:049}\n");
    for number in 0..6 {
        journal.append(line(number).as_bytes()).expect("append");
    }
    assert_eq!(sizes(&directory), [100, 100, 100]);
    assert!(!journal.is_over(), "at its limit");
    journal.append(b"x\n").expect("append");
    assert!(journal.is_over());
    assert_eq!(journal.trim().expect("trim"), 100);
    assert_eq!(sizes(&directory), [100, 100, 2]);
    assert_eq!(journal.total_bytes(), 202);
    let position = Position { file: 4, bytes: 2 };
    assert_eq!(journal.position(), position);
    let expected: String = (2..6).map(line).chain(["x\n".to_owned()]).collect();
    assert_eq!(text(&journal), expected);
    // The same after a restart.
    let journal = open(&directory);
    assert_eq!(text(&journal), expected);
    assert_eq!(journal.position(), position);
}

#[test]
fn a_line_larger_than_a_file_gets_its_own() {
    let directory = TempDir::new().expect("directory");
    let mut journal = open(&directory);
    let large = format!("{}\n", "y".repeat(400));
    for line in ["a\n", &large, "b\n"] {
        journal.append(line.as_bytes()).expect("append");
    }
    assert_eq!(sizes(&directory), [2, 401, 2]);
    assert_eq!(journal.trim().expect("trim"), 403);
    assert_eq!(text(&journal), "b\n");
}

#[test]
fn a_line_that_a_crash_tore_is_cut_off() {
    let long = "z".repeat(200_000); // Longer than what is read at once.
    for torn in ["", "{\"half", &long] {
        for whole in ["", "one\n", "one\ntwo\n"] {
            let directory = TempDir::new().expect("directory");
            fs::write(path(directory.path(), 7), format!("{whole}{torn}")).expect("write");
            let mut journal = open(&directory);
            assert_eq!(journal.position().file, 7);
            assert_eq!(text(&journal), whole);
            journal.append(b"next\n").expect("append");
            assert_eq!(text(&journal), format!("{whole}next\n"));
        }
    }
}

#[test]
fn the_only_file_can_be_removed_and_its_number_is_not_used_again() {
    let directory = TempDir::new().expect("directory");
    let mut journal = open(&directory);
    assert_eq!(journal.remove_oldest().expect("remove"), 0);
    journal.append(b"one\n").expect("append");
    assert_eq!(journal.remove_oldest().expect("remove"), 4);
    assert_eq!(sizes(&directory), [0; 0]);
    journal.append(b"two\n").expect("append");
    assert_eq!(journal.position(), Position { file: 2, bytes: 4 });
    assert_eq!(text(&journal), "two\n");
}

/// `/dev/full` takes no byte: what a full disk does.
#[test]
fn an_append_that_fails_leaves_nothing_and_the_next_works() {
    let directory = TempDir::new().expect("directory");
    let mut journal = open(&directory);
    journal.append(b"one\n").expect("append");
    let full = OpenOptions::new().append(true).open("/dev/full");
    journal.current = Some(full.expect("/dev/full"));
    journal.append(b"lost\n").expect_err("no space");
    assert_eq!(journal.position(), Position { file: 1, bytes: 4 });
    journal.append(b"two\n").expect("append");
    assert_eq!(text(&journal), "one\ntwo\n");
    // The device cannot be cut either, so what follows is in a file of its own.
    assert_eq!(journal.position(), Position { file: 2, bytes: 4 });
}

#[test]
fn other_files_are_left_alone() {
    let directory = TempDir::new().expect("directory");
    for name in ["notes.txt", "x.jsonl", "-1.jsonl"] {
        fs::write(directory.path().join(name), "mine").expect("write");
    }
    let journal = open(&directory);
    assert_eq!(journal.segments().len(), 0);
    assert_eq!(sizes(&directory), [4, 4, 4]);
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let directory = TempDir::new().expect("directory");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("write");
    let error = Journal::open(&file.join("logs"), LIMITS).expect_err("no directory");
    assert!(error.to_string().contains("file/logs"), "{error}");
}

proptest! {
    /// Whatever is appended, and however often the journal is opened again: what is left is the end
    /// of what was appended, in order, within the limits.
    #[test]
    fn the_newest_lines_are_kept(lengths in prop::collection::vec((1usize..90, any::<bool>()), 1..60)) {
        let directory = TempDir::new().expect("directory");
        let mut journal = open(&directory);
        let mut all = String::new();
        for (index, (length, reopen)) in lengths.into_iter().enumerate() {
            let line = format!("{index:0length$}\n");
            journal.append(line.as_bytes()).expect("append");
            all.push_str(&line);
            journal.trim().expect("trim");
            if reopen {
                journal = open(&directory);
            }
            let kept = text(&journal);
            prop_assert!(all.ends_with(&kept));
            prop_assert_eq!(journal.total_bytes(), kept.len() as u64);
            prop_assert!(kept.len() as u64 <= LIMITS.total_bytes_max);
            prop_assert!(all.len() == kept.len() || kept.len() >= 200, "more went than had to");
        }
    }
}
