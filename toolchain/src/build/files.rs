//! `[files]` of jiffy.toml: files of the crate that its image has, each at a path of its own.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// Files at most, and bytes of all of them: they are in each VM's memory.
const FILES_MAX: usize = 10_000;
const FILES_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a name, and of a path, as Linux has them.
const NAME_BYTES_MAX: usize = 255;
const PATH_BYTES_MAX: usize = 4095;
/// Folders in folders: more of them are a link that leads back.
const DEPTH_MAX: usize = 64;
/// What a function has there already.
const TAKEN: [&str; 2] = ["/tmp", "/dev"];

/// Why files cannot be linked in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    #[error(
        "invalid path {0:?} under [files] in jiffy.toml: must begin with / and have no empty, `.` or `..` part, and no name of more than {NAME_BYTES_MAX} bytes"
    )]
    Path(String),
    #[error(
        "invalid path {0:?} under [files] in jiffy.toml: must not be in /tmp or /dev, which a function has already"
    )]
    Taken(String),
    #[error(
        "invalid source {from:?} of {path:?} under [files] in jiffy.toml: must be a file or a folder in the folder of jiffy.toml"
    )]
    Outside { path: String, from: PathBuf },
    #[error("cannot read {path}, which [files] in jiffy.toml names or has in a folder")]
    Read { path: PathBuf, source: io::Error },
    #[error("{0} is neither a file nor a folder, so [files] in jiffy.toml cannot have it")]
    Special(PathBuf),
    #[error("the name {0} is not UTF-8, which a path under [files] in jiffy.toml must be")]
    NotUtf8(PathBuf),
    #[error("{0:?} comes twice from [files] in jiffy.toml")]
    Twice(String),
    #[error(
        "more than {FILES_MAX} files come from [files] in jiffy.toml: take folders out, or pack them into one"
    )]
    TooMany,
    #[error(
        "more than {} MiB come from [files] in jiffy.toml: they would be in the memory of each VM", FILES_BYTES_MAX >> 20
    )]
    TooLarge,
    #[error(
        "{0:?}, from [files] in jiffy.toml, is below more than {DEPTH_MAX} folders: does a link lead back?"
    )]
    TooDeep(String),
    #[error(
        "jiffy.toml has [files], and {0} does not use std, so nothing could open them: take `#![no_std]` out, or use include_bytes!"
    )]
    NoStd(String),
}

/// Where a file is in the function, and where it comes from.
pub(crate) type Files = BTreeMap<String, PathBuf>;

/// The files that `said` names, with those of folders, in the crate whose folder is `root`.
pub(super) fn find(root: &Path, said: &BTreeMap<String, PathBuf>) -> Result<Files, FilesError> {
    let mut found = Found {
        root: canonical(root)?,
        files: Files::new(),
        bytes: 0,
    };
    for (path, source) in said {
        check(path)?;
        let outside = || FilesError::Outside {
            path: path.clone(),
            from: source.clone(),
        };
        let is_within =
            |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if !source.components().all(is_within) {
            return Err(outside());
        }
        let place = canonical(&root.join(source))?;
        if !place.starts_with(&found.root) {
            return Err(outside());
        }
        found.add(path.trim_end_matches('/'), &place)?;
    }
    Ok(found.files)
}

fn canonical(path: &Path) -> Result<PathBuf, FilesError> {
    path.canonicalize().map_err(|source| FilesError::Read {
        path: path.into(),
        source,
    })
}

/// Whether a path can be one in a function.
fn check(path: &str) -> Result<(), FilesError> {
    let is_name = |name: &str| {
        !matches!(name, "" | "." | "..") && name.len() <= NAME_BYTES_MAX && !name.contains('\0')
    };
    let names = path.strip_prefix('/').map(|names| names.split('/'));
    let is_path = path.len() <= PATH_BYTES_MAX && names.is_some_and(|mut names| names.all(is_name));
    // A folder may give the whole tree.
    if path != "/" && !is_path {
        return Err(FilesError::Path(path.into()));
    }
    for taken in TAKEN {
        let rest = path.strip_prefix(taken);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Err(FilesError::Taken(path.into()));
        }
    }
    Ok(())
}

struct Found {
    root: PathBuf,
    files: Files,
    bytes: u64,
}

impl Found {
    /// Adds a file, or all that is in a folder. Links are followed within the crate.
    fn add(&mut self, path: &str, place: &Path) -> Result<(), FilesError> {
        if path.matches('/').count() > DEPTH_MAX {
            return Err(FilesError::TooDeep(path.into()));
        }
        let read = |source| FilesError::Read {
            path: place.into(),
            source,
        };
        let metadata = fs::metadata(place).map_err(read)?;
        if metadata.is_file() {
            check(path)?;
            self.bytes = self.bytes.saturating_add(metadata.len());
            return match self.files.insert(path.into(), place.into()) {
                Some(_) => Err(FilesError::Twice(path.into())),
                None if self.files.len() > FILES_MAX => Err(FilesError::TooMany),
                None if self.bytes > FILES_BYTES_MAX => Err(FilesError::TooLarge),
                None => Ok(()),
            };
        }
        if !metadata.is_dir() {
            return Err(FilesError::Special(place.into()));
        }
        for entry in fs::read_dir(place).map_err(read)? {
            let entry = entry.map_err(read)?;
            let name = entry.file_name();
            let name = name
                .to_str()
                .ok_or_else(|| FilesError::NotUtf8(entry.path()))?;
            let below = canonical(&entry.path())?;
            if !below.starts_with(&self.root) {
                return Err(FilesError::Outside {
                    path: format!("{path}/{name}"),
                    from: entry.path(),
                });
            }
            self.add(&format!("{path}/{name}"), &below)?;
        }
        Ok(())
    }
}

/// What the wrapper says of them: the path of each, and its bytes.
pub(super) fn table(files: &Files) -> Result<String, FilesError> {
    let mut text = String::from("static FILES: &[(&str, &[u8])] = &[\n");
    for (path, place) in files {
        let place = place
            .to_str()
            .ok_or_else(|| FilesError::NotUtf8(place.clone()))?;
        text += &format!("    ({path:?}, include_bytes!({place:?})),\n");
    }
    text += "];\n";
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn said(of: &[(&str, &str)]) -> BTreeMap<String, PathBuf> {
        let owned = |(path, source): &(&str, &str)| ((*path).to_owned(), source.into());
        of.iter().map(owned).collect()
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("temporary folder");
        let place = folder.path().join("f/data/sub");
        fs::create_dir_all(&place).expect("made");
        fs::write(place.join("b.txt"), "b").expect("written");
        fs::write(folder.path().join("f/data/a.txt"), "a").expect("written");
        fs::write(folder.path().join("secret"), "s").expect("written");
        folder
    }

    #[test]
    fn folders_are_taken_with_all_that_is_in_them() {
        let folder = folder();
        let root = folder.path().join("f");
        let found = find(
            &root,
            &said(&[("/app", "data"), ("/b", "./data/sub/b.txt")]),
        );
        let found = found.expect("good");
        let paths: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(paths, ["/app/a.txt", "/app/sub/b.txt", "/b"]);
        let table = table(&found).expect("text");
        assert!(
            table.contains("(\"/app/a.txt\", include_bytes!(\""),
            "{table}"
        );
        let found = find(&root, &said(&[("/", "data")])).expect("good");
        assert!(found.contains_key("/a.txt") && found.contains_key("/sub/b.txt"));
        // A link within the crate is what it leads to.
        symlink("data/a.txt", root.join("link")).expect("linked");
        let found = find(&root, &said(&[("/x", "link")])).expect("good");
        assert!(found["/x"].ends_with("data/a.txt"));
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        let folder = folder();
        let root = folder.path().join("f");
        symlink(folder.path().join("secret"), root.join("data/out")).expect("linked");
        let refused = |of: &[(&str, &str)]| find(&root, &said(of)).expect_err("refused");
        for path in ["app", "", "/a//b", "/a/../b", "/a/", "/.", "/a\0b"] {
            let error = refused(&[(path, "data/a.txt")]);
            assert!(matches!(error, FilesError::Path(_)), "{path:?}: {error}");
        }
        for path in ["/tmp", "/tmp/a", "/dev/null"] {
            let error = refused(&[(path, "data/a.txt")]);
            assert!(matches!(error, FilesError::Taken(_)), "{path:?}: {error}");
        }
        for source in ["../secret", "/etc/passwd", "data/out", "data"] {
            let error = refused(&[("/a", source)]);
            assert!(
                matches!(error, FilesError::Outside { .. }),
                "{source}: {error}"
            );
        }
        fs::remove_file(root.join("data/out")).expect("there");
        assert!(matches!(
            refused(&[("/a", "none")]),
            FilesError::Read { .. }
        ));
        let twice = refused(&[("/a/a.txt", "data/a.txt"), ("/a", "data")]);
        assert!(matches!(twice, FilesError::Twice(_)), "{twice}");
        assert!(matches!(
            refused(&[("/", "data/a.txt")]),
            FilesError::Path(_)
        ));
        symlink(".", root.join("data/loop")).expect("linked");
        assert!(matches!(refused(&[("/a", "data")]), FilesError::TooDeep(_)));
        fs::remove_file(root.join("data/loop")).expect("there");
        let large = fs::File::create(root.join("data/large")).expect("made");
        large.set_len(FILES_BYTES_MAX).expect("sparse");
        assert!(matches!(refused(&[("/a", "data")]), FilesError::TooLarge));
        fs::remove_file(root.join("data/large")).expect("there");
        let made = std::process::Command::new("mkfifo")
            .arg(root.join("data/pipe"))
            .status();
        assert!(made.expect("mkfifo").success());
        assert!(matches!(refused(&[("/a", "data")]), FilesError::Special(_)));
    }
}
