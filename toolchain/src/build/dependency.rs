//! How a package depends on the SDK: by its path, or by its version, of the registry `jiffy`.

use std::path::{Path, PathBuf};

use cargo_metadata::{
    Dependency, DependencyKind, Metadata, Package as CargoPackage, semver::Version,
};

use super::package::{PackageError, find_manifest, find_native, read};
use crate::{
    registry::{self, Link},
    sdk,
};

/// Name of the SDK's package.
const SDK: &str = "jiffy";
/// How cargo names crates.io.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What takes the place of the registry for the packages of a workspace.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) sdk: PathBuf,
    /// What cargo is called with so that it takes it.
    pub(super) arguments: Vec<String>,
}

fn asks_registry(dependency: &Dependency) -> bool {
    let is_ours = |registry: &String| registry == registry::INDEX;
    dependency.name == SDK && dependency.registry.as_ref().is_some_and(is_ours)
}

/// The packages of a workspace that take the SDK from the registry, each with the dependency that says so.
fn asking(metadata: &Metadata) -> impl Iterator<Item = (&CargoPackage, &Dependency)> {
    metadata.packages.iter().flat_map(|package| {
        let dependencies = package.dependencies.iter();
        let asking = dependencies.filter(|dependency| asks_registry(dependency));
        asking.map(move |dependency| (package, dependency))
    })
}

/// What takes the place of the registry in this workspace, if one of its packages asks for it. A patch that nobody asks for would
/// have cargo warn, and write into the lock file.
pub(super) fn registered(metadata: &Metadata) -> Result<Option<Registered>, PackageError> {
    if asking(metadata).next().is_none() {
        return Ok(None);
    }
    let root = metadata.workspace_root.as_std_path();
    let sdk = registry::sdk(root, sdk::named().as_deref())?;
    let arguments = registry::arguments(&sdk)?;
    Ok(Some(Registered { sdk, arguments }))
}

/// The SDK that `package` is built with.
pub(super) fn sdk(
    package: &CargoPackage,
    registered: Option<&Registered>,
) -> Result<PathBuf, PackageError> {
    let name = || package.name.to_string();
    let dependency = package
        .dependencies
        .iter()
        .find(|dependency| dependency.name == SDK && dependency.kind == DependencyKind::Normal)
        .ok_or_else(|| PackageError::NoSdk(name()))?;
    if let Some(path) = &dependency.path {
        return Ok(path.clone().into());
    }
    match registered {
        Some(Registered { sdk, .. }) if asks_registry(dependency) => {
            check_version(package, dependency, sdk)?;
            Ok(sdk.clone())
        }
        _ => {
            let source = dependency
                .source
                .as_ref()
                .map_or("", |source| &*source.repr);
            Err(PackageError::SdkElsewhere {
                package: name(),
                from: source.replace(CRATES_IO, "crates.io"),
            })
        }
    }
}

fn check_version(
    package: &CargoPackage,
    dependency: &Dependency,
    sdk: &Path,
) -> Result<(), PackageError> {
    let installed = sdk::version(sdk)?;
    if dependency.req.matches(&installed) {
        return Ok(());
    }
    Err(PackageError::SdkVersion {
        package: package.name.to_string(),
        asked: dependency.req.clone(),
        installed,
        path: sdk.into(),
    })
}

/// Where cargo was told that the SDK is.
#[derive(Debug)]
pub(super) struct Linked {
    pub(super) sdk: PathBuf,
    pub(super) version: Version,
    /// The folder of the lock file, where it was written down.
    pub(super) root: PathBuf,
    pub(super) link: Link,
}

/// Tells cargo where the SDK is for the crate or workspace at `path`: `chosen`, or what a build would take.
pub(super) fn link(path: &Path, chosen: Option<&Path>) -> Result<Linked, PackageError> {
    if find_native(path).is_some() {
        return Err(PackageError::NotAsked(path.into()));
    }
    let metadata = read(&find_manifest(path)?)?;
    let root = metadata.workspace_root.clone().into_std_path_buf();
    let named = sdk::named();
    let sdk = sdk::sdk(chosen.or(named.as_deref()))?;
    let mut asking = asking(&metadata).peekable();
    if asking.peek().is_none() {
        return Err(PackageError::NotAsked(root));
    }
    for (package, dependency) in asking {
        check_version(package, dependency, &sdk)?;
    }
    let link = registry::link(&root, &sdk, chosen.is_some())?;
    Ok(Linked {
        version: sdk::version(&sdk)?,
        sdk,
        root,
        link,
    })
}
