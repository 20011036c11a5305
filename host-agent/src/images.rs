//! Images on disk, each under the SHA-256 of its bytes.
//!
//! ```text
//! root/3f/3f9a…     an image: its digest, below the first two digits; whole and never changed
//! root/tmp/…        uploads, until they are complete
//! ```
//!
//! Not here: which images are wanted (`registry`); what makes a file an image (`jiffy-image`); whether one boots (`vm`).

mod note;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use jiffy_image::ReadError;
use jiffy_model::{EndsRequest, Outcome};
use jiffy_snapshots::{Digest, PrivateDirError, private_dir, why};
use sha2::{Digest as _, Sha256};
use tokio::{fs as async_fs, io::AsyncWriteExt, task::spawn_blocking};

pub use note::ImageNote;

const TEMPORARY: &str = "tmp";
/// The agent alone reads and writes images.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// Why there is no such image, or none was stored.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ImageError {
    #[error("there is no image {0}: upload it first")]
    NotFound(Digest),
    #[error("the image has more than {0} bytes: make it smaller or raise image_bytes_max")]
    TooLarge(u64),
    #[error(transparent)]
    NotAnImage(#[from] jiffy_image::ImageError),
    #[error(transparent)]
    Private(#[from] PrivateDirError),
    #[error("{0} is not an image and stays: remove it if it is not wanted")]
    Stranger(PathBuf),
    #[error("cannot use the images at {path}: {}", why(source))]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl EndsRequest for ImageError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::NotFound(_) => Outcome::NotFound,
            Self::TooLarge(_) => Outcome::TooLarge,
            Self::NotAnImage(_) => Outcome::ImageRefused,
            Self::Directory { .. } | Self::Private(_) | Self::Stranger(_) => Outcome::Platform,
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

/// What [`Images::remove_unreferenced`] did.
#[derive(Debug, Default)]
pub struct Removed {
    /// Bytes that the removed images had.
    pub freed_bytes: u64,
    /// What could not be removed, or is not ours to remove.
    pub left: Vec<ImageError>,
}

/// The images. A clone is the same store.
#[derive(Clone, Debug)]
pub struct Images {
    root: Arc<Path>,
    /// Held while an image gets its name or loses it, so that one that is uploaded again is not removed
    /// for the age it had before.
    names: Arc<Mutex<()>>,
}

impl Images {
    /// The images in directory `root`, which is made if its parent is there, and closed to other users. Uploads that
    /// a killed agent left are removed, so no other agent may use the directory.
    pub fn new(root: impl Into<PathBuf>) -> Result<Self, ImageError> {
        let root = root.into();
        let temporary = root.join(TEMPORARY);
        private_dir(&root)?;
        private_dir(&temporary)?;
        sync_dir(root.parent().unwrap_or(Path::new("/"))).map_err(at(&root))?;
        for entry in fs::read_dir(&temporary).map_err(at(&temporary))? {
            let path = entry.map_err(at(&temporary))?.path();
            if let Err(error) = fs::remove_file(&path) {
                // It takes room and stands in nobody's way.
                tracing::warn!(path = %path.display(), %error, "cannot remove what is left of an upload");
            }
        }
        Ok(Self {
            root: root.into(),
            names: Arc::default(),
        })
    }

    /// Begins an upload of at most `bytes_max`.
    pub async fn upload(&self, bytes_max: u64) -> Result<Upload, ImageError> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let path = self.root.join(TEMPORARY).join(name);
        let file = async_fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(FILE_MODE)
            .open(&path)
            .await
            .map_err(at(&path))?;
        Ok(Upload {
            images: self.clone(),
            temporary: Temporary(path),
            file,
            hash: Sha256::new(),
            bytes: 0,
            bytes_max,
        })
    }

    /// Opens an image for reading, and says its size in bytes. Blocks for a moment.
    pub fn open(&self, digest: &Digest) -> Result<(File, u64), ImageError> {
        let path = self.path(digest);
        let opened = File::open(&path).and_then(|file| {
            let bytes = file.metadata()?.len();
            Ok((file, bytes))
        });
        match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ImageError::NotFound(*digest))
            }
            opened => opened.map_err(at(&path)),
        }
    }

    /// Removes the images that `keep` refuses and that were uploaded longer ago than `older_than`. What cannot be
    /// removed holds up nothing else. Who has one open keeps it. Blocks.
    pub fn remove_unreferenced(
        &self,
        keep: &dyn Fn(&Digest) -> bool,
        older_than: Duration,
    ) -> Removed {
        let mut removed = Removed::default();
        let Some(before) = SystemTime::now().checked_sub(older_than) else {
            return removed;
        };
        let digests = self.list(&mut removed.left);
        for digest in digests.iter().filter(|digest| !keep(digest)) {
            match self.remove_if_older(&self.path(digest), before) {
                Ok(freed_bytes) => removed.freed_bytes += freed_bytes,
                Err(error) => removed.left.push(error),
            }
        }
        removed
    }

    fn remove_if_older(&self, path: &Path, before: SystemTime) -> Result<u64, ImageError> {
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            metadata => metadata.map_err(at(path))?,
        };
        if !metadata.is_file() {
            return Err(ImageError::Stranger(path.to_owned()));
        }
        if metadata.modified().map_err(at(path))? > before {
            return Ok(0);
        }
        fs::remove_file(path).map_err(at(path))?;
        Ok(metadata.len())
    }

    /// All images but those in a directory that cannot be read.
    fn list(&self, unread: &mut Vec<ImageError>) -> Vec<Digest> {
        let mut digests = vec![];
        for shard in paths_in(&self.root, unread) {
            // What has no digest for a name is not ours, wherever it lies.
            let names = paths_in(&shard, unread).into_iter();
            let names = names.filter_map(|path| path.file_name()?.to_str()?.parse::<Digest>().ok());
            digests.extend(names.filter(|digest| self.path(digest).starts_with(&shard)));
        }
        digests
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join(&name[..2]).join(name)
    }

    /// Gives a complete and synced file its name.
    fn publish(&self, temporary: &Path, digest: &Digest) -> io::Result<()> {
        let path = self.path(digest);
        let shard = path.parent().unwrap_or(&self.root);
        match fs::DirBuilder::new().mode(DIR_MODE).create(shard) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        sync_dir(&self.root)?;
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is there is replaced by the same bytes: it is young again.
        fs::rename(temporary, &path)?;
        sync_dir(shard)
    }
}

/// An image that is being uploaded. Dropped before [`Upload::finish`], it leaves nothing.
#[derive(Debug)]
pub struct Upload {
    images: Images,
    temporary: Temporary,
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
        self.file
            .write_all(piece)
            .await
            .map_err(at(&self.temporary.0))
    }

    /// Checks that it is an image and stores it, durable when this returns.
    pub async fn finish(mut self) -> Result<StoredImage, ImageError> {
        let wrong = at(&self.temporary.0);
        let synced = async {
            self.file.flush().await?;
            self.file.sync_all().await
        };
        synced.await.map_err(wrong)?;
        let digest = Digest(self.hash.finalize().into());
        let (images, temporary) = (self.images, self.temporary);
        let wrong = at(&temporary.0);
        let publish = move || {
            let file = File::open(&temporary.0).map_err(at(&temporary.0))?;
            let note = ImageNote::read(&file).map_err(|error| match error {
                ReadError::Image(refused) => ImageError::NotAnImage(refused),
                ReadError::Read(source) => at(&temporary.0)(source),
            })?;
            let published = images.publish(&temporary.0, &digest);
            published.map_err(at(&images.path(&digest)))?;
            Ok::<_, ImageError>(note)
        };
        let note = match spawn_blocking(publish).await {
            Ok(published) => published?,
            Err(panicked) => return Err(wrong(io::Error::other(panicked))),
        };
        Ok(StoredImage {
            digest,
            bytes: self.bytes,
            note,
        })
    }
}

/// A file that goes when this is dropped, if it still has the name.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It has another name by now, or the next start of the agent removes it.
        let _ = fs::remove_file(&self.0);
    }
}

/// What is in a directory; nothing if it is not one.
fn paths_in(directory: &Path, unread: &mut Vec<ImageError>) -> Vec<PathBuf> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return vec![],
        Err(error) => {
            unread.push(at(directory)(error));
            return vec![];
        }
    };
    let mut paths = vec![];
    for entry in entries {
        match entry {
            Ok(entry) => paths.push(entry.path()),
            Err(error) => unread.push(at(directory)(error)),
        }
    }
    paths
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ImageError + use<> {
    let path = path.to_owned();
    |source| ImageError::Directory { path, source }
}

#[cfg(test)]
pub(crate) mod tests;
