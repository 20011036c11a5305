//! `jiffy bench`: becomes `jiffy-bench`, a program of its own, because it links the VMM.
//!
//! Not here: measuring, and the options (`jiffy-benches`).

use std::{
    convert::Infallible, ffi::OsString, io, os::unix::process::CommandExt, path::PathBuf,
    process::Command,
};

use crate::sdk::find_program;

const PROGRAM: &str = "jiffy-bench";

/// Why nothing is measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error(
        "no {PROGRAM}: must be beside jiffy or on PATH; ./scripts/quickstart or `cargo build --release` in a jiffy checkout makes it"
    )]
    NotThere,
    #[error("cannot start {}: is it executable?", path.display())]
    Start { path: PathBuf, source: io::Error },
}

/// Goes on as `jiffy-bench` with `arguments`; only a failure comes back.
pub(crate) fn bench(arguments: &[OsString]) -> Result<Infallible, BenchError> {
    let path = find_program(PROGRAM).ok_or(BenchError::NotThere)?;
    let source = Command::new(&path).args(arguments).exec();
    Err(BenchError::Start { path, source })
}
