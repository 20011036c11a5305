//! Which dependency brings `std` into a function without, who depends on it, and what asks for its `std`.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::{self, Display},
    path::Path,
};

use cargo_metadata::{
    Dependency, DependencyKind, Metadata, Node, NodeDep, Package, PackageId, TargetKind,
};

/// Features of it that are named at most, if it has none that is likely to be the reason.
const FEATURES_MAX: usize = 8;
/// Those that are.
const LIKELY: [&str; 2] = ["default", "std"];

/// A dependency that uses `std`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsesStd {
    /// Its name and version.
    package: String,
    /// From the function to it, by name.
    path: Vec<String>,
    /// Those of it that are switched on.
    features: Vec<String>,
    /// What has switched on the one that asks for `std`, as far as that is known.
    reason: Option<String>,
}

impl Display for UsesStd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is {}, by {}", self.package, self.path.join(" -> "))?;
        match &*self.features {
            [] => return write!(f, ", which has no feature on that could be left out"),
            features => write!(f, ", with the features {}", features.join(", "))?,
        }
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// The dependency that Rust calls `library`, of the package in the folder `root`; `None` if it is not found.
pub(super) fn find(metadata: &Metadata, root: &Path, library: &str) -> Option<UsesStd> {
    let resolve = metadata.resolve.as_ref()?;
    let nodes: BTreeMap<&PackageId, &Node> =
        resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let manifest = root.join("Cargo.toml");
    let start = metadata
        .packages
        .iter()
        .find(|package| package.manifest_path == manifest)?;
    // The shortest way, without what runs in the compiler alone.
    let mut came_from: BTreeMap<&PackageId, Option<&PackageId>> = [(&start.id, None)].into();
    let mut left = VecDeque::from([&start.id]);
    while let Some(id) = left.pop_front() {
        let package = metadata.packages.iter().find(|package| package.id == *id)?;
        if library_of(package).as_deref() == Some(library) {
            let mut path = vec![id];
            while let Some(Some(before)) = came_from.get(path[path.len() - 1]) {
                path.push(before);
            }
            path.reverse();
            return Some(described(metadata, nodes.get(id)?, &path));
        }
        let node = nodes.get(id)?;
        for dependency in node.deps.iter().filter(|dependency| is_linked(dependency)) {
            let other = &dependency.pkg;
            let package = metadata.packages.iter().find(|one| one.id == *other);
            let is_library = package.is_some_and(|package| library_of(package).is_some());
            if is_library && !came_from.contains_key(other) {
                came_from.insert(other, Some(id));
                left.push_back(other);
            }
        }
    }
    None
}

fn is_linked(dependency: &NodeDep) -> bool {
    let mut kinds = dependency.dep_kinds.iter();
    kinds.any(|info| info.kind == DependencyKind::Normal)
}

/// What Rust calls the library of a package, if it has one that is linked.
fn library_of(package: &Package) -> Option<String> {
    let library = package.targets.iter().find(|target| {
        target.kind.contains(&TargetKind::Lib) || target.kind.contains(&TargetKind::RLib)
    });
    library.map(|library| library.name.replace('-', "_"))
}

fn described(metadata: &Metadata, node: &Node, path: &[&PackageId]) -> UsesStd {
    let package = &metadata[&node.id];
    let name = |id: &&PackageId| metadata[*id].name.to_string();
    let features: Vec<String> = node.features.iter().map(ToString::to_string).collect();
    let parent = path.len().checked_sub(2).map(|index| path[index]);
    let reason = parent.and_then(|parent| {
        let nodes = &metadata.resolve.as_ref()?.nodes;
        let parent_node = nodes.iter().find(|node| node.id == *parent)?;
        reason(&metadata[parent], parent_node, &package.name, &features)
    });
    let is_likely = |feature: &&String| LIKELY.contains(&feature.as_str());
    let mut shown: Vec<String> = features.iter().filter(is_likely).cloned().collect();
    if shown.is_empty() {
        shown = features.into_iter().take(FEATURES_MAX).collect();
    }
    UsesStd {
        package: format!("{} {}", package.name, package.version),
        path: path.iter().map(name).collect(),
        features: shown,
        reason,
    }
}

/// Why `name` has these features, as far as its dependent says.
fn reason(parent: &Package, node: &Node, name: &str, features: &[String]) -> Option<String> {
    let dependency = parent
        .dependencies
        .iter()
        .find(|dependency| dependency.name == name && dependency.kind == DependencyKind::Normal)?;
    // As features of the dependent call it.
    let called = dependency.rename.as_deref().unwrap_or(name);
    let has_std = features.iter().any(|feature| feature == "std");
    let by_feature = node.features.iter().find(|feature| {
        let asks = parent.features.get(&***feature).into_iter().flatten();
        let mut asks = asks.filter_map(|asked| asked.split_once('/'));
        asks.any(|(whom, what)| whom.trim_end_matches('?') == called && (what == "std" || !has_std))
    });
    if let Some(feature) = by_feature {
        return Some(format!(
            "feature `{feature}` of {} asks for that",
            parent.name
        ));
    }
    let Dependency {
        features: asked,
        uses_default_features,
        ..
    } = dependency;
    if asked.iter().any(|feature| feature == "std") {
        return Some(format!("{} asks for its `std`", parent.name));
    }
    let has_default = features.iter().any(|feature| feature == "default");
    (*uses_default_features && has_default).then(|| {
        format!(
            "{} takes it without `default-features = false`",
            parent.name
        )
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use cargo_metadata::MetadataCommand;

    use super::*;

    /// What is found in a function `t` on `mid` on `low`, of which these are the dependencies and features.
    fn check(t: &str, mid: &str, low: &str) -> Option<UsesStd> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path().canonicalize().expect("a path");
        for (name, rest) in [("t", t), ("mid", mid), ("low-level", low)] {
            let package = root.join(name);
            fs::create_dir_all(package.join("src")).expect("folder");
            fs::write(package.join("src/lib.rs"), "").expect("written");
            let manifest = format!(
                "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{rest}\n[workspace]\n"
            );
            fs::write(package.join("Cargo.toml"), manifest).expect("written");
        }
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("t/Cargo.toml"))
            .other_options(["--offline".into()])
            .exec()
            .expect("metadata");
        find(&metadata, &root.join("t"), "low_level")
    }

    const T: &str = "[dependencies]\nmid = { path = \"../mid\" }";
    const LOW: &str = "[features]\ndefault = [\"std\"]\nstd = []";

    fn told(mid: &str, low: &str) -> String {
        check(T, mid, low).expect("found").to_string()
    }

    #[test]
    fn path_and_features_are_told_with_who_asks_for_them() {
        let low = "[dependencies]\nlow-level = { path = \"../low-level\"";
        let begin = "it is low-level 0.1.0, by t -> mid -> low-level";
        assert_eq!(
            told(&format!("{low} }}"), LOW),
            format!(
                "{begin}, with the features default, std: mid takes it without `default-features = false`"
            )
        );
        let without = format!("{low}, default-features = false");
        assert_eq!(
            told(&format!("{without}, features = [\"std\"] }}"), LOW),
            format!("{begin}, with the features std: mid asks for its `std`")
        );
        let by_feature =
            format!("{without} }}\n[features]\ndefault = [\"x\"]\nx = [\"low-level/std\"]");
        assert_eq!(
            told(&by_feature, LOW),
            format!("{begin}, with the features std: feature `x` of mid asks for that")
        );
        assert_eq!(
            told(&format!("{without} }}"), LOW),
            format!("{begin}, which has no feature on that could be left out")
        );
    }

    #[test]
    fn other_features_are_named_if_none_is_called_std() {
        let mid = "[dependencies]\nlow-level = { path = \"../low-level\", features = [\"fast\"] }";
        let low = "[features]\ndefault = [\"std\", \"fast\"]\nstd = []\nfast = []";
        assert!(told(mid, low).contains(", with the features default, std: "));
        let low = "[features]\nfast = []";
        assert!(told(mid, low).ends_with(", with the features fast"));
    }

    #[test]
    fn who_only_builds_or_tests_does_not_count() {
        for kind in ["dev-dependencies", "build-dependencies"] {
            let mid = format!("[{kind}]\nlow-level = {{ path = \"../low-level\" }}");
            assert_eq!(check(T, &mid, LOW), None, "{kind}");
        }
        let itself = check("[lib]\nname = \"low_level\"", "", "").expect("found");
        assert!(
            itself.to_string().starts_with("it is t 0.1.0, by t,"),
            "{itself}"
        );
    }
}
