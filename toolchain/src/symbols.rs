//! Names for a guest's addresses, from its image. An image may be a stranger's, so this program reads its symbols in a
//! process of its own, which has little memory and time (`jiffy-symbols`).

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiffy_symbols::{Frame, Innermost, Limits, Wanted, readable};

/// What reading an image's symbols may take: as much debug information as the largest image has.
const LIMITS: Limits = Limits {
    symbols_bytes_max: jiffy_image::IMAGE_BYTES_MAX,
    memory_bytes_max: 2 << 30,
    cpu_s_max: 4,
};
/// This program, whatever became of its file.
const OWN_PATH: &str = "/proc/self/exe";

const STRIPPED: &str =
    "the image has no symbols: build it without --strip to see functions and lines";
const SNAPSHOT: &str = "a snapshot has no symbols: run its image to see functions and lines";
const UNREAD: &str = "the image's symbols cannot be read within a few seconds and 2 GiB: they are too large, or damaged";

/// Where names are looked for.
#[derive(Clone, Debug)]
pub(crate) struct Symbols {
    /// `None`: a snapshot was run.
    image: Option<PathBuf>,
    /// Name of the function's package.
    package: String,
}

impl Symbols {
    /// In the image at `path`.
    pub(crate) fn of_image(path: &Path, package: &str) -> Self {
        Self {
            image: Some(path.into()),
            package: package.into(),
        }
    }

    /// Nowhere.
    pub(crate) fn of_snapshot(package: &str) -> Self {
        Self {
            image: None,
            package: package.into(),
        }
    }

    /// A source file as its author calls it.
    pub(crate) fn readable(&self, file: &str) -> String {
        readable(file, &self.package)
    }

    /// The functions at `addresses`, innermost first, and what to do if there are addresses only.
    pub(crate) fn frames(
        &self,
        addresses: &[u64],
        innermost: Innermost,
    ) -> (Vec<Frame>, Option<&'static str>) {
        if addresses.is_empty() {
            return (vec![], None);
        }
        let unknown = || addresses.iter().copied().map(Frame::unknown).collect();
        let Some(path) = &self.image else {
            return (unknown(), Some(SNAPSHOT));
        };
        let Ok(image) = jiffy_files::open(path) else {
            return (unknown(), Some(UNREAD));
        };
        let wanted = Wanted {
            addresses,
            innermost,
        };
        match jiffy_symbols::read(OWN_PATH.as_ref(), image, wanted).names {
            Ok(names) => {
                let hint = (!names.has_symbols).then_some(STRIPPED);
                (names.frames.concat(), hint)
            }
            Err(_) => (unknown(), Some(UNREAD)),
        }
    }
}

/// `jiffy symbols`: the process that reads.
pub(crate) fn serve(addresses: &[u64], innermost: Innermost, output: impl Write) -> io::Result<()> {
    use std::os::fd::AsFd as _;

    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let wanted = Wanted {
        addresses,
        innermost,
    };
    jiffy_symbols::serve(wanted, LIMITS, &input, output)
}
