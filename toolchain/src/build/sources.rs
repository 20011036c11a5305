//! Where the sources of a function lie, so that somebody can look whether they changed.

use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use super::{
    cargo::TARGET,
    dependency::registered,
    package::{PackageError, find_manifest, find_native, native_target_dir, read, read_with},
};

/// Files and folders that a build reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    /// The function's package, and all it depends on that lies on this machine.
    pub(crate) folders: Vec<PathBuf>,
    /// Manifest and lock file of the workspace.
    pub(crate) files: Vec<PathBuf>,
    /// Where builds write: nobody's source.
    pub(crate) target_dir: PathBuf,
}

/// The sources of the function's package at `path`.
pub(crate) fn sources(path: &Path) -> Result<Sources, PackageError> {
    if let Some(root) = find_native(path) {
        return Ok(Sources {
            files: vec![],
            target_dir: native_target_dir(&root),
            folders: vec![root],
        });
    }
    let manifest = find_manifest(path)?;
    let mut options = vec!["--filter-platform".into(), TARGET.into()];
    let registered = registered(&read(&manifest)?)?;
    options.extend(registered.map_or(vec![], |registered| registered.arguments));
    let metadata = read_with(&manifest, &mut MetadataCommand::new(), &options)?;
    Ok(interpret(&manifest, &metadata))
}

/// Walks the graph of dependencies from the function's package: other members of its workspace do not count.
fn interpret(manifest: &Path, metadata: &Metadata) -> Sources {
    let root = &metadata.workspace_root;
    let mut sources = Sources {
        folders: vec![],
        files: vec![
            root.join("Cargo.toml").into(),
            root.join("Cargo.lock").into(),
        ],
        target_dir: metadata.target_directory.clone().into(),
    };
    let is_root = |package: &&cargo_metadata::Package| package.manifest_path == manifest;
    let nodes = metadata.resolve.as_ref().map(|resolve| &resolve.nodes);
    let mut left: Vec<_> = metadata
        .packages
        .iter()
        .filter(is_root)
        .map(|package| &package.id)
        .collect();
    let mut seen = std::collections::HashSet::new();
    while let Some(id) = left.pop() {
        if !seen.insert(id) {
            continue;
        }
        let package = metadata.packages.iter().find(|package| package.id == *id);
        // What is from a registry never changes, and nothing below it is local.
        let Some(package) = package.filter(|package| package.source.is_none()) else {
            continue;
        };
        sources
            .folders
            .extend(package.manifest_path.parent().map(PathBuf::from));
        let node = nodes.and_then(|nodes| nodes.iter().find(|node| node.id == *id));
        let needed = node
            .iter()
            .flat_map(|node| &node.deps)
            .filter(|dependency| {
                let mut kinds = dependency.dep_kinds.iter();
                kinds.any(|info| info.kind != DependencyKind::Development)
            });
        left.extend(needed.map(|dependency| &dependency.pkg));
    }
    sources.folders.sort();
    sources
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn local_dependencies_are_sources_and_neighbours_are_not() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path().canonicalize().expect("a path");
        let package = |name: &str, dependencies: &str| {
            let path = root.join(name);
            fs::create_dir_all(path.join("src")).expect("folder");
            fs::write(path.join("src/lib.rs"), "").expect("written");
            let manifest =
                format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n{dependencies}");
            fs::write(path.join("Cargo.toml"), manifest).expect("written");
        };
        let workspace = "[workspace]\nresolver = \"3\"\nmembers = [\"f\", \"g\"]\n";
        fs::write(root.join("Cargo.toml"), workspace).expect("written");
        package(
            "f",
            "[dependencies]\na = { path = \"../a\" }\n[dev-dependencies]\ng = { path = \"../g\" }\n",
        );
        package("a", "[dependencies]\nb = { path = \"../b\" }\n");
        package("b", "");
        package("g", "");
        let found = sources(&root.join("f/src")).expect("sources");
        let expected: Vec<PathBuf> = ["a", "b", "f"].map(|name| root.join(name)).into();
        assert_eq!(found.folders, expected);
        assert!(found.files.contains(&root.join("Cargo.lock")));
        // Unless whoever runs the tests says where everything is to be built.
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        assert_eq!(found.target_dir, target.unwrap_or(root.join("target")));
    }

    #[test]
    fn all_of_its_folder_is_a_source_of_a_function_in_c() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path().canonicalize().expect("a path");
        fs::write(root.join("jiffy.toml"), "[function]\nlang = \"c\"\n").expect("written");
        let found = sources(&root).expect("sources");
        assert_eq!(found.folders, [root]);
        assert!(found.files.is_empty() && found.target_dir.is_absolute());
    }
}
