//! Writes the files of a new function, all of them or none, and none in the place of another.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::NewError;
use crate::registry::{self, Link, RegistryError};

/// Files to be made in a folder: by path in it, their content.
#[derive(Debug, Default)]
pub(super) struct Files(Vec<(&'static str, String)>);

/// What was made, and goes again unless it is kept.
#[derive(Debug, Default)]
pub(super) struct Made(Vec<PathBuf>);

impl Files {
    pub(super) fn add(&mut self, path: &'static str, content: impl Into<String>) {
        self.0.push((path, content.into()));
    }

    /// Whether something is in the place of one of them, or where one of their folders is to be.
    pub(super) fn check(&self, folder: &Path) -> Result<(), NewError> {
        for (file, _) in &self.0 {
            let path = folder.join(file);
            // A link that leads nowhere is in the way, too.
            if path.symlink_metadata().is_ok() {
                return Err(NewError::InTheWay(path));
            }
            for within in Path::new(file).ancestors().skip(1) {
                let within = folder.join(within);
                if within.symlink_metadata().is_ok() && !within.is_dir() {
                    return Err(NewError::InTheWay(within));
                }
            }
        }
        Ok(())
    }

    /// Makes them, and the folders that they are in.
    pub(super) fn write(&self, folder: &Path, made: &mut Made) -> Result<(), NewError> {
        for (file, content) in &self.0 {
            let path = folder.join(file);
            let error = |source: io::Error| match source.kind() {
                io::ErrorKind::AlreadyExists => NewError::InTheWay(path.clone()),
                _ => NewError::Write {
                    path: path.clone(),
                    source,
                },
            };
            made.folders(path.parent().unwrap_or(folder))
                .map_err(error)?;
            let mut file = fs::File::create_new(&path).map_err(error)?;
            made.0.push(path.clone());
            file.write_all(content.as_bytes()).map_err(error)?;
        }
        Ok(())
    }
}

impl Made {
    /// Makes a folder and those above it that are not there.
    pub(super) fn folders(&mut self, folder: &Path) -> io::Result<()> {
        let missing = folder.ancestors().take_while(|folder| {
            // A relative path ends with nothing, which is where we are.
            !folder.as_os_str().is_empty() && !folder.is_dir()
        });
        let missing: Vec<_> = missing.map(PathBuf::from).collect();
        for folder in missing.into_iter().rev() {
            fs::create_dir(&folder)?;
            self.0.push(folder);
        }
        Ok(())
    }

    /// Something else that goes unless all is kept.
    pub(super) fn add(&mut self, path: PathBuf) {
        self.0.push(path);
    }

    /// Tells cargo where the SDK is for the crate in `folder`.
    pub(super) fn link(
        &mut self,
        folder: &Path,
        sdk: &Path,
        is_chosen: bool,
    ) -> Result<Link, RegistryError> {
        let is_new = |path: &PathBuf| path.symlink_metadata().is_err();
        let written = registry::paths(folder);
        self.0.extend(written.into_iter().filter(is_new));
        registry::link(folder, sdk, is_chosen)
    }

    /// It stays.
    pub(super) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // The last first. What somebody else put into a folder meanwhile keeps it.
        for path in self.0.iter().rev() {
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        let mut files = Files::default();
        files.add("a", "1");
        files.add("b/c", "2");
        files
    }

    #[test]
    fn all_are_made_or_none() {
        let temporary = tempfile::tempdir().expect("temporary folder");
        let folder = temporary.path().join("new/folder");
        let mut made = Made::default();
        files().check(&folder).expect("nothing is there");
        files().write(&folder, &mut made).expect("written");
        assert_eq!(fs::read(folder.join("b/c")).expect("read"), b"2");
        drop(made);
        assert!(!temporary.path().join("new").exists());
        let mut made = Made::default();
        files().write(&folder, &mut made).expect("written");
        made.keep();
        assert!(folder.join("a").exists());
        // What was there before stays, whatever happens.
        fs::remove_file(folder.join("a")).expect("removed");
        let mut made = Made::default();
        let refused = files().write(&folder, &mut made).expect_err("in the way");
        assert!(matches!(refused, NewError::InTheWay(path) if path.ends_with("b/c")));
        drop(made);
        assert_eq!(fs::read(folder.join("b/c")).expect("read"), b"2");
        assert!(!folder.join("a").exists());
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let temporary = tempfile::tempdir().expect("temporary folder");
        let folder = temporary.path();
        let in_the_way = || match files().check(folder) {
            Err(NewError::InTheWay(path)) => path.strip_prefix(folder).expect("within").to_owned(),
            other => panic!("{other:?}"),
        };
        files().check(folder).expect("empty");
        fs::write(folder.join("other"), "").expect("written");
        fs::create_dir(folder.join("b")).expect("folder");
        files().check(folder).expect("nothing is in the way");
        fs::write(folder.join("b/c"), "").expect("written");
        assert_eq!(in_the_way(), Path::new("b/c"));
        fs::remove_dir_all(folder.join("b")).expect("removed");
        fs::write(folder.join("b"), "").expect("written");
        assert_eq!(in_the_way(), Path::new("b"));
        std::os::unix::fs::symlink("nowhere", folder.join("a")).expect("a link");
        assert_eq!(in_the_way(), Path::new("a"));
    }
}
