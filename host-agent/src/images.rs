//! Images on disk, each under the SHA-256 of its bytes.
//!
//! Not here: which images are wanted (`catalog`); what makes a file an image (`jiffy-image`); whether one boots (`vm`); the
//! directory they are in, and its collection (`jiffy_snapshots::FileStore`).

mod note;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiffy_image::ReadError;
use jiffy_model::{EndsRequest, Outcome};
use jiffy_snapshots::{Collected, Digest, FileStore, NewFile, StoreError, why};
use sha2::{Digest as _, Sha256};
use tokio::{fs as async_fs, io::AsyncWriteExt, task::spawn_blocking};

pub use note::ImageNote;

/// Why there is no such image, or none was stored.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ImageError {
    #[error("no image {0}: must be one that was uploaded")]
    NotFound(Digest),
    #[error("the image has more than {0} bytes: make it smaller or raise image_bytes_max")]
    TooLarge(u64),
    #[error(transparent)]
    NotAnImage(#[from] jiffy_image::ImageError),
    #[error(transparent)]
    Store(StoreError),
    #[error("cannot use the images at {path}: {}", why(source))]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl From<StoreError> for ImageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(digest) => Self::NotFound(digest),
            error => Self::Store(error),
        }
    }
}

impl EndsRequest for ImageError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::NotFound(_) => Outcome::NotFound,
            Self::TooLarge(_) => Outcome::TooLarge,
            Self::NotAnImage(_) => Outcome::ImageRefused,
            Self::Store(_) | Self::File { .. } => Outcome::Platform,
        }
    }
}

/// An image that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredImage {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its size, bytes.
    pub bytes: u64,
    /// What it says of itself.
    pub note: ImageNote,
}

/// The images. A clone is the same store.
#[derive(Clone, Debug)]
pub struct Images {
    store: Arc<FileStore>,
}

impl Images {
    /// The images in directory `root`, which is made if its parent is there, and closed to other users. Uploads that
    /// a killed agent left are removed.
    pub fn new(root: impl Into<PathBuf>) -> Result<Self, ImageError> {
        let store = FileStore::new(root)?;
        for error in store.gc(&|_| true, Duration::ZERO).left {
            // It takes room and stands in nobody's way.
            tracing::warn!(%error, "cannot remove what is left of an upload");
        }
        Ok(Self {
            store: Arc::new(store),
        })
    }

    /// Begins an upload of at most `bytes_max`.
    pub async fn upload(&self, bytes_max: u64) -> Result<Upload, ImageError> {
        let store = Arc::clone(&self.store);
        let begun = spawn_blocking(move || {
            let new = store.create()?;
            let file = new.file().try_clone();
            let file = file.map_err(at(new.path()))?;
            Ok::<_, ImageError>((new, async_fs::File::from_std(file)))
        });
        let (new, file) = begun.await.map_err(lost)??;
        Ok(Upload {
            images: self.clone(),
            new,
            file,
            hash: Sha256::new(),
            bytes: 0,
            bytes_max,
        })
    }

    /// Opens an image for reading, and says its size in bytes. Blocks for a moment.
    pub fn open(&self, digest: &Digest) -> Result<(File, u64), ImageError> {
        self.sized(digest, self.store.open(digest)?)
    }

    /// As [`Images::open`], if it is not damaged: reads all of it.
    pub fn open_whole(&self, digest: &Digest) -> Result<(File, u64), ImageError> {
        self.sized(digest, self.store.open_whole(digest)?)
    }

    fn sized(&self, digest: &Digest, file: File) -> Result<(File, u64), ImageError> {
        let metadata = file.metadata().map_err(at(&self.store.path(digest)))?;
        Ok((file, metadata.len()))
    }

    /// Removes the images that `keep` refuses and that were uploaded longer ago than `older_than`. What cannot be
    /// removed holds up nothing else. Who has one open keeps it. Blocks.
    pub fn remove_unreferenced(
        &self,
        keep: &dyn Fn(&Digest) -> bool,
        older_than: Duration,
    ) -> Collected {
        self.store.gc(keep, older_than)
    }
}

/// An image that is being uploaded. Dropped before [`Upload::finish`], it leaves nothing.
#[derive(Debug)]
pub struct Upload {
    images: Images,
    new: NewFile,
    file: async_fs::File,
    hash: Sha256,
    bytes: u64,
    bytes_max: u64,
}

impl Upload {
    /// Takes the next piece.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), ImageError> {
        self.bytes += piece.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(ImageError::TooLarge(self.bytes_max));
        }
        self.hash.update(piece);
        let written = self.file.write_all(piece).await;
        written.map_err(at(self.new.path()))
    }

    /// Checks that it is an image and stores it, durable when this returns.
    pub async fn finish(mut self) -> Result<StoredImage, ImageError> {
        let flushed = self.file.flush().await;
        flushed.map_err(at(self.new.path()))?;
        let digest = Digest(self.hash.finalize().into());
        let (images, new) = (self.images, self.new);
        let publish = move || {
            let note = ImageNote::read(new.file()).map_err(|error| match error {
                ReadError::Image(refused) => ImageError::NotAnImage(refused),
                ReadError::Read(source) => at(new.path())(source),
            })?;
            images.store.publish(new, &digest)?;
            Ok::<_, ImageError>(note)
        };
        Ok(StoredImage {
            digest,
            bytes: self.bytes,
            note: spawn_blocking(publish).await.map_err(lost)??,
        })
    }
}

/// Only if the runtime ends, or there is a bug.
fn lost(panicked: tokio::task::JoinError) -> ImageError {
    at(Path::new("images"))(io::Error::other(panicked))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ImageError + use<> {
    let path = path.to_owned();
    |source| ImageError::File { path, source }
}

#[cfg(test)]
pub(crate) mod tests;
