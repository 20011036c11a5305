//! What a VM can start from: an image that is there, or that of a crate, built now; or a snapshot.

use std::{
    io,
    path::{Path, PathBuf},
};

use jiffy_abi::ABI_VERSION;
use jiffy_console::Exit;
use jiffy_snapshots::{Blame, OpenError, Snapshot};

use crate::{
    build::{self, BuildError},
    image::{self, Image, ImageError},
};

/// An image that was checked.
#[derive(Debug)]
pub(crate) struct Runnable {
    pub(crate) path: PathBuf,
    /// Its bytes.
    pub(crate) file: Vec<u8>,
    pub(crate) image: Image,
}

/// Why there is nothing to boot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunnableError {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("cannot run {path}")]
    Image { path: PathBuf, source: ImageError },
    #[error(
        "cannot run {path}: it is of ABI {found}, but this jiffy runs ABI {ABI_VERSION}; build it anew with `jiffy build`"
    )]
    Abi { path: PathBuf, found: u32 },
}

/// Whether `path` is to be taken for an image; anything else is for a crate.
pub(crate) fn is_image(path: &Path) -> bool {
    path.is_file() && path.file_name().is_some_and(|name| name != "Cargo.toml")
}

impl Runnable {
    /// The image at `path`, or that of the crate there.
    pub(crate) fn find(path: &Path) -> Result<Self, RunnableError> {
        let path = if is_image(path) {
            path.to_owned()
        } else {
            build::build(&build::Options {
                path: path.into(),
                ..Default::default()
            })?
            .path
        };
        let error = |source| RunnableError::Image {
            path: path.clone(),
            source,
        };
        let file = image::read(&path).map_err(error)?;
        let image = Image::parse(&file).map_err(error)?;
        if !image.abi_is_supported {
            let found = image.abi_version;
            return Err(RunnableError::Abi { path, found });
        }
        Ok(Self { path, file, image })
    }
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the snapshot {path}")]
pub(crate) struct OpenSnapshotError {
    path: PathBuf,
    source: OpenError,
}

impl OpenSnapshotError {
    pub(crate) fn exit(&self) -> Exit {
        exit_of_open(&self.source)
    }
}

pub(crate) fn exit_of_open(error: &OpenError) -> Exit {
    let is_no_directory = |error: &io::Error| {
        let kind = error.kind();
        [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&kind)
    };
    match error {
        // What was named is no snapshot; the machine is well.
        OpenError::Directory { source, .. } if is_no_directory(source) => Exit::ImageRefused,
        other => exit_of_blame(other.blame()),
    }
}

pub(crate) fn exit_of_blame(blame: Blame) -> Exit {
    match blame {
        Blame::Input => Exit::ImageRefused,
        Blame::Host => Exit::Host,
    }
}

/// Opens the snapshot in directory `path`.
pub(crate) fn open_snapshot(path: &Path) -> Result<Snapshot, OpenSnapshotError> {
    Snapshot::open(path).map_err(|source| OpenSnapshotError {
        path: path.to_owned(),
        source,
    })
}
