//! Where the other parts of jiffy are: the SDK that new functions name, and the VMM program.

use std::{
    env,
    path::{Path, PathBuf},
};

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
