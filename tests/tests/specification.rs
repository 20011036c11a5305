//! SPECIFICATION.md and docs/faults.md name what there is: each promise, limit and fault once, and files, tests, limits and settings
//! that exist.
//! Not here: whether a test holds what its row promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use jiffy_tests::workspace_root;

/// The rows of all tables, without headings and rulers.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let mut rows = vec![];
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_heading = lines.peek().is_some_and(|next| next.starts_with("|---"));
        let Some(row) = line.strip_prefix("| ") else {
            continue;
        };
        if !is_heading {
            let row = row.strip_suffix(" |").expect("a row ends with a bar");
            rows.push(row.split(" | ").collect());
        }
    }
    rows
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Whether it is the path of a file or folder of ours: commands and URLs are not.
fn is_path(word: &str) -> bool {
    !word.starts_with(['.', '/']) && !word.contains(' ') && word.contains('/')
}

/// Every file of the workspace, relative to its root.
fn files(root: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = entry.path();
            let name = entry.file_name();
            let is_output = name == "target" || name.to_string_lossy().starts_with('.');
            match entry.file_type().expect("a type").is_dir() {
                true if is_output => {}
                true => folders.push(path),
                false => drop(found.insert(path.strip_prefix(root).expect("within").to_owned())),
            }
        }
    }
    found
}

/// Whether `name` fits `pattern`, in which a star stands for any text.
fn fits(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((begin, end)) => {
            name.len() >= pattern.len() - 1 && name.starts_with(begin) && name.ends_with(end)
        }
    }
}

/// What `rows` name and is not there; empty if all is.
fn untrue(rows: &[Vec<&str>], sources: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let mut wrong = vec![];
    let mut seen = BTreeSet::new();
    for row in rows {
        let name = row[0];
        if !seen.insert(name) {
            wrong.push(format!("twice: {name}"));
        }
        let mut here: Vec<&String> = vec![];
        for word in row[1..].iter().flat_map(|cell| quoted(cell)) {
            let exists = if is_path(word) {
                let path = |path: &Path| path.to_str().is_some_and(|path| fits(path, word));
                let under = |file: &Path| file.ancestors().any(path);
                let found = sources.iter().filter(|(file, _)| under(file));
                here = found.map(|(_, text)| text).collect();
                !here.is_empty()
            } else if let Some(key) = setting(word) {
                sources
                    .values()
                    .any(|text| text.contains(&format!("pub {key}:")))
            } else if let Some((_, limit)) = word.rsplit_once("::") {
                let (begin, _) = limit.split_once('*').unwrap_or((limit, ""));
                let end = if limit.contains('*') { "" } else { ":" };
                let is_limit = |text: &String| {
                    text.contains(&format!("const {begin}{end}"))
                        || text.contains(&format!("pub {begin}{end}"))
                };
                sources.values().any(is_limit)
            } else if word.contains('_') && !word.contains(['=', '.', '-']) {
                // A test of the file before it.
                here.iter().any(|text| {
                    // In Rust or in Python.
                    let functions = ["fn ", "def "];
                    let functions = functions.iter().flat_map(|word| text.split(word).skip(1));
                    functions
                        .filter_map(|text| text.split_once('('))
                        .any(|(name, _)| fits(name, word))
                })
            } else {
                true
            };
            if !exists {
                wrong.push(format!("not there: {word}, of {name}"));
            }
        }
    }
    wrong
}

/// The key in `limits.KEY` and `pool.KEY`.
fn setting(word: &str) -> Option<&str> {
    let sections = ["limits.", "pool."];
    sections
        .iter()
        .find_map(|section| word.strip_prefix(section))
}

/// All files, those in Rust and Python with their texts.
fn sources(root: &Path) -> BTreeMap<PathBuf, String> {
    let files = files(root).into_iter().map(|file| {
        let is_text = file
            .extension()
            .is_some_and(|end| end == "rs" || end == "py");
        let text = match is_text {
            true => fs::read_to_string(root.join(&file)).expect("a text"),
            false => String::new(),
        };
        (file, text)
    });
    files.collect()
}

#[test]
fn all_that_is_named_is_there_and_nothing_twice() {
    let root = workspace_root();
    let sources = sources(&root);
    for page in ["SPECIFICATION.md", "docs/faults.md"] {
        let text = fs::read_to_string(root.join(page)).expect(page);
        let rows = rows(&text);
        assert!(rows.len() > 100, "{page}: {}", rows.len());
        assert_eq!(untrue(&rows, &sources), Vec::<String>::new(), "{page}");
    }
}

/// Each fault has what holds it, and the commits that mended it, by seven digits.
#[test]
fn faults_are_held_and_mended() {
    let text = fs::read_to_string(workspace_root().join("docs/faults.md")).expect("docs/faults.md");
    for row in rows(&text) {
        let [fault, held, mended] = row[..] else {
            panic!("has other columns: {row:?}");
        };
        assert!(quoted(held).next().is_some(), "held by nothing: {fault}");
        let mut commits = quoted(mended).peekable();
        assert!(commits.peek().is_some(), "mended by nothing: {fault}");
        let is_commit = |word: &str| word.len() == 7 && word.bytes().all(is_hex);
        assert!(commits.all(is_commit), "no commits: {mended}, of {fault}");
    }
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[test]
fn what_is_not_there_is_found() {
    let text = "| promise | held by |\n|---|---|\n\
        | one | `a/b.rs` `a_test`, `a/*.rs` `a_*` |\n| two | 3 | `limits.key_max`, `room::LIMIT` |\n\
        | one | `a/c.rs` |\n| three | `a/b.rs` `no_test`, `a/b.py` `a_python`, `no_python` |\n| four | `limits.none`, `room::NONE` |\n";
    let source = "pub key_max: u32,\nconst LIMIT: u32 = 1;\nfn a_test() {}\n";
    let sources = BTreeMap::from([
        (PathBuf::from("a/b.rs"), source.to_owned()),
        (PathBuf::from("a/b.py"), "def a_python(self):\n".to_owned()),
    ]);
    let found = [
        "twice: one",
        "not there: a/c.rs, of one",
        "not there: no_test, of three",
        "not there: no_python, of three",
        "not there: limits.none, of four",
        "not there: room::NONE, of four",
    ];
    assert_eq!(untrue(&rows(text), &sources), found);
}

/// Where a new thing goes is told by paths, and a moved file would leave them behind.
#[test]
fn contributors_are_sent_to_files_that_are_there() {
    let root = workspace_root();
    let text = fs::read_to_string(root.join("CONTRIBUTING.md")).expect("CONTRIBUTING.md");
    // `NAME.rs` is what is to be made, and `target` may be elsewhere.
    let named: BTreeSet<_> = quoted(&text)
        .map(|word| word.split(' ').next().unwrap_or_default())
        .filter(|word| is_path(word) && !word.contains("NAME") && !word.starts_with("target/"))
        .collect();
    assert!(named.len() > 30, "{named:?}");
    let gone: Vec<_> = named
        .iter()
        .filter(|path| !root.join(path).exists())
        .collect();
    assert!(gone.is_empty(), "not there: {gone:?}");
}
