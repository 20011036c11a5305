//! Whether sources changed: by looking, a few times a second. That costs a millisecond for a crate, needs no
//! limits of the kernel's to be raised, and works on every file system.

use std::{
    fs::{self, Metadata},
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use crate::build::Sources;

/// Files that are looked at; what lies behind them is not seen to change.
const FILES_MAX: usize = 20_000;
/// Folders below a package's that are looked into.
const DEPTH_MAX: usize = 32;

/// What the sources look like: equal if nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    pub(super) fn of(sources: &Sources) -> Self {
        let mut look = Look {
            hasher: DefaultHasher::new(),
            files_left: FILES_MAX,
            target_dir: &sources.target_dir,
        };
        for file in &sources.files {
            look.file(file, fs::metadata(file).ok().as_ref());
        }
        for folder in &sources.folders {
            look.folder(folder, DEPTH_MAX);
        }
        Self(look.hasher.finish())
    }
}

struct Look<'a> {
    hasher: DefaultHasher,
    files_left: usize,
    target_dir: &'a Path,
}

impl Look<'_> {
    fn file(&mut self, path: &Path, metadata: Option<&Metadata>) {
        let modified = metadata.and_then(|metadata| metadata.modified().ok());
        let len_bytes = metadata.map(Metadata::len);
        (path, modified, len_bytes).hash(&mut self.hasher);
        self.files_left = self.files_left.saturating_sub(1);
    }

    fn folder(&mut self, path: &Path, depth_left: usize) {
        // What cannot be read is not there; the build will say so.
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        // A folder lists its files in any order.
        paths.sort_unstable();
        for path in paths {
            if self.files_left == 0 {
                return;
            }
            let name = path.file_name().and_then(|name| name.to_str());
            // Version control, editors' swap files and builds' output.
            let is_hidden = name.is_some_and(|name| name.starts_with('.') || name.ends_with('~'));
            if is_hidden || path == self.target_dir {
                continue;
            }
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {
                    let is_output = name == Some("target");
                    if !is_output && depth_left > 0 {
                        self.folder(&path, depth_left - 1);
                    }
                }
                // A link counts as what it leads to, but no folder is looked into through one: it may be a ring.
                Ok(metadata) if metadata.is_symlink() => {
                    self.file(&path, fs::metadata(&path).ok().as_ref());
                }
                metadata => self.file(&path, metadata.ok().as_ref()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn sources_change_and_output_does_not() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        let write = |path: &str, content: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("in the folder")).expect("folder");
            fs::write(path, content).expect("written");
        };
        write("src/lib.rs", "a");
        let sources = Sources {
            folders: vec![root.into()],
            files: vec![root.join("../Cargo.lock")],
            target_dir: root.join("out"),
        };
        let mut last = Fingerprint::of(&sources);
        let mut changes = |is_expected: bool, what: &str| {
            let now = Fingerprint::of(&sources);
            assert_eq!(now != last, is_expected, "{what}");
            last = now;
        };
        changes(false, "nothing");
        write("src/lib.rs", "ab");
        changes(true, "a longer file");
        write("src/more/data.bin", "");
        changes(true, "a new file");
        fs::remove_file(root.join("src/more/data.bin")).expect("removed");
        changes(true, "one less");
        for output in [
            "target/x",
            "out/x",
            ".git/x",
            "src/.lib.rs.swp",
            "src/lib.rs~",
        ] {
            write(output, "x");
            changes(false, output);
        }
        symlink(root, root.join("ring")).expect("a link");
        changes(true, "a link");
        changes(false, "a ring ends");
    }
}
