//! Where the other parts of jiffy are: the SDK that functions are built with, and the VMM program.

use std::{
    env,
    path::{Path, PathBuf},
};

use cargo_metadata::semver::Version;
use toml::{Table, Value};

/// Bytes of a Cargo.toml at most.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// Why a part of jiffy was not found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SdkError {
    #[error("no SDK at {0}: must be the folder unikernel/sdk of a jiffy checkout")]
    NotThere(PathBuf),
    #[error(
        "no SDK at {0}, where this jiffy was built: must be there, or named by --sdk or JIFFY_SDK"
    )]
    CheckoutGone(PathBuf),
    #[error(
        "the SDK at {0} has no version: its Cargo.toml, or that of its workspace, must be as in a jiffy checkout"
    )]
    NoVersion(PathBuf),
    #[error(
        "no jiffy-vmm: must be beside jiffy, on PATH or named by JIFFY_VMM; `cargo build --release` in a jiffy checkout makes it"
    )]
    NoVmm,
    #[error("invalid JIFFY_VMM {0}: must be the path of a file")]
    VmmNotThere(PathBuf),
}

/// The SDK that `given` names, or the one of the checkout this program was built from.
pub(crate) fn sdk(given: Option<&Path>) -> Result<PathBuf, SdkError> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../unikernel/sdk");
    let path = given.unwrap_or(&checkout);
    match path.canonicalize() {
        Ok(path) if path.join("Cargo.toml").is_file() => Ok(path),
        _ if given.is_some() => Err(SdkError::NotThere(path.into())),
        _ => Err(SdkError::CheckoutGone(path.into())),
    }
}

/// What `JIFFY_SDK` names.
pub(crate) fn named() -> Option<PathBuf> {
    env::var_os("JIFFY_SDK").map(PathBuf::from)
}

/// The version of the SDK at `sdk`: of its Cargo.toml, or of the workspace that it takes its version from.
pub(crate) fn version(sdk: &Path) -> Result<Version, SdkError> {
    let found = match get(sdk, "package", "version") {
        Some(Value::String(version)) => Some(version),
        Some(Value::Table(_)) => sdk.ancestors().skip(1).find_map(|folder| {
            let package = get(folder, "workspace", "package")?;
            package.get("version")?.as_str().map(String::from)
        }),
        _ => None,
    };
    found
        .and_then(|version| version.parse().ok())
        .ok_or_else(|| SdkError::NoVersion(sdk.into()))
}

/// A value of the Cargo.toml in a folder.
fn get(folder: &Path, table: &str, key: &str) -> Option<Value> {
    let text = jiffy_files::read_text(folder.join("Cargo.toml"), MANIFEST_BYTES_MAX).ok()?;
    let manifest: Table = text.parse().ok()?;
    manifest.get(table)?.get(key).cloned()
}

/// The VMM program: what `JIFFY_VMM` names, or `jiffy-vmm` beside this program or on `PATH`.
pub(crate) fn vmm() -> Result<PathBuf, SdkError> {
    if let Some(path) = env::var_os("JIFFY_VMM").map(PathBuf::from) {
        return if path.is_file() {
            Ok(path)
        } else {
            Err(SdkError::VmmNotThere(path))
        };
    }
    find_program("jiffy-vmm").ok_or(SdkError::NoVmm)
}

/// The program `name` beside this one or on `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let beside = env::current_exe()
        .ok()
        .and_then(|me| Some(me.parent()?.to_owned()));
    let path = env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_its_manifest_or_of_its_workspace() {
        let own = version(&sdk(None).expect("this is a checkout")).expect("a version");
        assert_eq!(own.to_string(), env!("CARGO_PKG_VERSION"));
        let folder = tempfile::tempdir().expect("temporary folder");
        let inner = folder.path().join("unikernel/sdk");
        std::fs::create_dir_all(&inner).expect("folder");
        let write = |folder: &Path, text: &str| {
            std::fs::write(folder.join("Cargo.toml"), text).expect("written");
        };
        write(&inner, "[package]\nversion = \"1.2.3-rc.1\"\n");
        assert_eq!(
            version(&inner).expect("a version").to_string(),
            "1.2.3-rc.1"
        );
        write(&inner, "[package]\nversion.workspace = true\n");
        assert!(matches!(version(&inner), Err(SdkError::NoVersion(_))));
        write(folder.path(), "[workspace.package]\nversion = \"2.0.0\"\n");
        assert_eq!(version(&inner).expect("a version").to_string(), "2.0.0");
        write(folder.path(), "[workspace.package]\nversion = \"two\"\n");
        assert!(matches!(version(&inner), Err(SdkError::NoVersion(_))));
    }

    #[test]
    fn the_sdk_is_the_checkouts_unless_named() {
        assert!(
            sdk(None)
                .expect("this is a checkout")
                .ends_with("unikernel/sdk")
        );
        let nowhere = sdk(Some(Path::new("/nonexistent")));
        assert!(matches!(nowhere, Err(SdkError::NotThere(_))));
    }
}
