//! What a VM can boot: an image that is there, or that of a crate, built now.

use std::path::{Path, PathBuf};

use jiffy_abi::ABI_VERSION;

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
