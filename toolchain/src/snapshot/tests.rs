use std::fs;

use jiffy_snapshots::{
    CpuNeeds, PageRun, State,
    state::{ImageInfo, RunState},
    write_working_set,
};

use super::*;

const RAM_BYTES: u64 = jiffy_abi::layout::RAM_BYTES_MIN;
const PAGES: u64 = RAM_BYTES / 4096;

/// A snapshot in a folder of its own; three pages of it are not zero.
fn snapshot() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hello.snap");
    let state = State {
        image: ImageInfo {
            function_name: "hello".into(),
            function_version: "1.2.3\x1b".into(),
            flags: jiffy_abi::note::FLAG_RANDOM_INIT,
            ..ImageInfo::default()
        },
        run: RunState {
            heap_start: 0x1000,
            heap_end: 0x3000,
            ..RunState::default()
        },
        cpu: CpuNeeds {
            vendor: *b"GenuineIntel",
            words: vec![],
        },
        ..State::default()
    };
    let read = |number, page: &mut [u8; 4096]| {
        if (5..8).contains(&number) {
            page.fill(7);
        }
        Ok(())
    };
    jiffy_snapshots::create(&path, &state, RAM_BYTES, read).expect("a snapshot");
    (folder, path)
}

fn view(path: &Path) -> SnapshotView {
    SnapshotView::new(&open_snapshot(path).expect("opens"))
}

#[test]
fn inspect_tells_what_is_in_it() {
    let (_folder, path) = snapshot();
    let text = view(&path).to_string();
    let zero = PAGES - 3;
    for expected in [
        "hello 1.2.3\\u{1b}\n",
        "flags: random-init\n",
        &format!("3 pages stored (12.0 KiB), {zero} zero, heap 8.0 KiB\n"),
        "no working set yet",
        "CPU: x86-64 of GenuineIntel",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
    let json = serde_json::to_value(view(&path)).expect("JSON");
    assert_eq!(json["format_version"], jiffy_snapshots::FORMAT_VERSION);
    assert_eq!(json["abi_version"], jiffy_abi::ABI_VERSION);
    assert_eq!(json["ram_pages_stored"], 3);
    assert_eq!(json["ram_pages_zero"], zero);
    assert_eq!(json["working_set"]["pages"], 0);

    let run = |first_page, pages| PageRun { first_page, pages };
    write_working_set(&path, &[run(1, 2), run(5, 1)]).expect("written");
    let text = view(&path).to_string();
    assert!(text.contains("working set: 3 pages in 2 runs"), "{text}");
    verify(&path, Format::Text).expect("whole");
}

#[test]
fn a_damaged_working_set_is_told_and_does_no_harm() {
    let (_folder, path) = snapshot();
    fs::write(path.join("working-set"), b"nonsense").expect("written");
    let text = view(&path).to_string();
    assert!(text.contains("no working set: "), "{text}");
    let error = verify(&path, Format::Json).expect_err("not whole");
    assert!(matches!(error, SnapshotError::Verify { .. }), "{error:?}");
}

#[test]
fn each_bad_snapshot_is_refused_in_one_sentence() {
    let (folder, path) = snapshot();
    let missing = folder.path().join("missing");
    let error = open_snapshot(&missing).expect_err("no such directory");
    assert_eq!(error.exit(), Exit::ImageRefused);
    let error = open_snapshot(&path.join("state")).expect_err("a file");
    assert_eq!(error.exit(), Exit::ImageRefused);
    let error = open_snapshot(folder.path()).expect_err("another directory");
    assert_eq!(error.exit(), Exit::ImageRefused);
    let text = crate::output::chain(&error);
    assert!(text.contains("no file state: create it again"), "{text}");

    let ram = path.join("ram");
    let mut bytes = fs::read(&ram).expect("RAM");
    bytes[5 * 4096] ^= 1;
    fs::remove_file(&ram).expect("read-only, so made anew");
    fs::write(&ram, bytes).expect("written");
    assert!(open_snapshot(&path).is_ok(), "only verify reads RAM");
    match verify(&path, Format::Text).expect_err("damaged") {
        SnapshotError::Verify { source, .. } => {
            assert_eq!(exit_of_verify(&source), Exit::ImageRefused);
        }
        other => panic!("{other:?}"),
    }
}
