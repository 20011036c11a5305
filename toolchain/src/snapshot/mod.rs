//! `jiffy snapshot`: makes snapshots and says what is in them.
//!
//! Not here: the files (`jiffy-snapshots`), and writing guest RAM, which `jiffy-vmm` does.

mod cpu;
mod create;
mod view;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiffy_client::{CreateSnapshotError, LaunchError};
use jiffy_console::{Exit, stdout};
use jiffy_snapshots::{CreateError, Snapshot, VerifyError};
use serde::Serialize;

pub(crate) use self::create::{Options, create};
use self::view::SnapshotView;
use crate::{
    output::{Format, Progress, print_json},
    runnable::{OpenSnapshotError, RunnableError, exit_of_blame, exit_of_open, open_snapshot},
    sdk::SdkError,
    vm_settings::SettingsError,
};

/// Why a command about snapshots failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error(transparent)]
    Runnable(#[from] RunnableError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Vmm(#[from] SdkError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Write(#[from] CreateError),
    #[error(transparent)]
    Save(CreateSnapshotError),
    #[error(transparent)]
    Open(#[from] OpenSnapshotError),
    #[error("the snapshot {path} is not whole")]
    Verify { path: PathBuf, source: VerifyError },
    #[error("cannot print")]
    Print(#[from] io::Error),
}

pub(crate) fn exit_of_verify(error: &VerifyError) -> Exit {
    match error {
        VerifyError::Open(error) => exit_of_open(error),
        other => exit_of_blame(other.blame()),
    }
}

/// Prints what the snapshot in directory `path` says of itself.
pub(crate) fn inspect(path: &Path, format: Format) -> Result<(), SnapshotError> {
    let snapshot = open_snapshot(path)?;
    let view = SnapshotView::new(&snapshot);
    match format {
        Format::Json => print_json(&view)?,
        Format::Text => write!(stdout(), "{view}")?,
    }
    Ok(())
}

/// What `jiffy snapshot verify -o json` prints; a snapshot that is not whole is an error.
#[derive(Serialize)]
struct VerifiedView {
    sha256: String,
    ram_bytes: u64,
    ram_pages_stored: u64,
    working_set_pages: u64,
}

/// Reads and checks every byte of the snapshot in directory `path`.
pub(crate) fn verify(path: &Path, format: Format) -> Result<(), SnapshotError> {
    let shown = path.display();
    let progress = Progress::new(format!("verifying {shown}"));
    let verified = Snapshot::verify(path);
    drop(progress);
    let verified = verified.map_err(|source| SnapshotError::Verify {
        path: path.to_owned(),
        source,
    })?;
    match format {
        Format::Json => print_json(&VerifiedView {
            sha256: verified.digest.to_string(),
            ram_bytes: verified.ram_bytes,
            ram_pages_stored: verified.ram_pages_stored,
            working_set_pages: verified.working_set_pages,
        })?,
        Format::Text => writeln!(
            stdout(),
            "{shown} is whole: {} stored pages of RAM, {} in its working set",
            verified.ram_pages_stored,
            verified.working_set_pages
        )?,
    }
    Ok(())
}

#[cfg(test)]
mod tests;
