//! `jiffy build`: function crate -> wrapper crate -> cargo -> image; of C, sources -> objects first.
//!
//! ```text
//! package   what cargo says of the function's package, and its [package.metadata.jiffy]
//! dependency where it has the SDK from
//! files     the files that jiffy.toml has linked in
//! no_std    whether the function does without std
//! wrapper   the generated crate that links function, SDK and library OS into one program
//! native    C and C++: the objects that are linked instead of the function's crate
//! cargo     the build itself, with flags that reach the image and nothing else
//! said      what the compiler says meanwhile, and what of it is told in other words
//! uses_std  which dependency brings std into a function without
//! sources   the folders that a build reads
//! ```

mod cargo;
mod dependency;
mod files;
mod native;
mod no_std;
mod package;
mod said;
mod sources;
mod uses_std;
mod wrapper;

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiffy_console::stdout;
use serde::Serialize;

pub(crate) use self::{
    cargo::{CargoError, cargo_program},
    files::FilesError,
    native::{NativeError, compiler_version},
    package::PackageError,
    sources::{Sources, sources},
    wrapper::WrapperError,
};
use crate::{
    image::{self, Image, ImageError},
    inspect::print_sizes,
    manifest::{Features, Manifest, ManifestError, Panic},
    output::{Format, Line, Nanoseconds, Untrusted, nanoseconds, print_json},
};

/// How an image is compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Profile {
    /// Small and fast.
    #[default]
    Release,
    /// Quick to build, with overflow checks and debug assertions.
    Debug,
}

/// What is to be built.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// The function's crate, or the folder of one in C: its folder, or any folder or file in it.
    pub(crate) path: PathBuf,
    /// Where the image goes; `None`: `target/jiffy/<package>.elf`.
    pub(crate) output: Option<PathBuf>,
    pub(crate) profile: Profile,
    /// Beside those that its `jiffy.toml` names.
    pub(crate) features: Features,
    /// Leave out symbols and debug information.
    pub(crate) strip: bool,
}

/// An image that was built.
#[derive(Debug, Serialize)]
pub(crate) struct Built {
    pub(crate) package: String,
    pub(crate) version: String,
    pub(crate) path: PathBuf,
    pub(crate) profile: Profile,
    /// The function uses `std`, or a C library.
    pub(crate) std: bool,
    /// Its panics can be caught.
    pub(crate) unwinds: bool,
    /// What it is written in.
    pub(crate) lang: &'static str,
    #[serde(rename = "elapsed_ns", serialize_with = "as_nanoseconds")]
    pub(crate) elapsed: Duration,
    pub(crate) image: Image,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Wrapper(#[from] WrapperError),
    #[error(transparent)]
    Native(#[from] NativeError),
    #[error(transparent)]
    Cargo(#[from] CargoError),
    #[error("what cargo built cannot be used")]
    Image(#[from] ImageError),
    #[error("cannot write the image {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot print")]
    Print(#[from] io::Error),
}

/// The folder of the crate at `path`, which may also lie in one of its folders.
pub(crate) fn crate_folder(path: &Path) -> Result<PathBuf, PackageError> {
    if let Some(folder) = package::find_native(path) {
        return Ok(folder);
    }
    let mut manifest = package::find_manifest(path)?;
    manifest.pop();
    Ok(manifest)
}

/// Builds an image. What cargo has to say goes to standard error; standard output stays untouched.
pub(crate) fn build(options: &Options) -> Result<Built, BuildError> {
    let start = Instant::now();
    let package = package::find(&options.path, &options.features)?;
    let files = files::find(&package.root, &Manifest::of_crate(&package.root)?.files)?;
    if !files.is_empty() && !package.std {
        return Err(FilesError::NoStd(package.name).into());
    }
    let objects = match &package.native {
        Some(native) => native::compile(&package, native, options.profile)?,
        None => native::Objects::default(),
    };
    let wrapper = wrapper::generate(&package, objects, &files)?;
    let program = cargo::build(&package, &wrapper, options.profile)?;
    let file = if options.strip {
        image::read_stripped(&program)?
    } else {
        image::read(&program)?
    };
    let image = Image::parse(&file)?;
    let path = match &options.output {
        Some(path) => path.clone(),
        None => package.jiffy_dir().join(format!("{}.elf", package.name)),
    };
    publish(&path, &file).map_err(|source| BuildError::Write {
        path: path.clone(),
        source,
    })?;
    Ok(Built {
        package: package.name,
        version: package.version,
        path,
        profile: options.profile,
        std: package.std,
        unwinds: package.panic == Panic::Unwind,
        lang: package
            .native
            .as_ref()
            .map_or("Rust", |native| native.lang.name()),
        elapsed: start.elapsed(),
        image,
    })
}

/// Builds an image and prints its facts.
pub(crate) fn build_and_print(options: &Options, format: Format) -> Result<(), BuildError> {
    let built = build(options)?;
    match format {
        Format::Json => print_json(&built)?,
        Format::Text => {
            let mut out = stdout();
            let path = shortened(&built.path);
            let title = built.image.title();
            let time = Nanoseconds(nanoseconds(built.elapsed));
            let kind = match (built.lang, built.std, built.unwinds) {
                ("Rust", true, true) => ", std, unwinds".into(),
                ("Rust", true, false) => ", std".into(),
                ("Rust", false, _) => String::new(),
                (lang, ..) => format!(", {lang}"),
            };
            writeln!(
                out,
                "{}{kind} -> {} in {time}",
                Line(&title),
                path.display()
            )?;
            print_sizes(&mut out, &built.image)?;
        }
    }
    Ok(())
}

/// Tells cargo where the SDK is for the crate or workspace at `path`, and prints that: `chosen`, or what a build would take.
pub(crate) fn tell_cargo(path: &Path, chosen: Option<&Path>) -> Result<(), BuildError> {
    let linked = dependency::link(path, chosen)?;
    let mut out = stdout();
    writeln!(
        out,
        "jiffy {}: {}, for {}",
        linked.version,
        Untrusted(&linked.sdk.display().to_string()),
        Untrusted(&linked.root.display().to_string())
    )?;
    linked.link.advise();
    Ok(())
}

/// Puts a file in its place all at once: a reader sees the old image or the new one.
fn publish(path: &Path, file: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    // Not a secret: anyone who may read the folder may read the image.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let mut temporary = tempfile::Builder::new()
        .permissions(mode)
        .tempfile_in(folder)?;
    temporary.write_all(file)?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn shortened(path: &Path) -> &Path {
    std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok())
        .unwrap_or(path)
}

fn as_nanoseconds<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(nanoseconds(*time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishing_replaces_and_makes_folders() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a/b.elf");
        for content in [&b"first"[..], b"second"] {
            publish(&path, content).expect("published");
            assert_eq!(fs::read(&path).expect("read"), content);
        }
        let left: Vec<_> = fs::read_dir(folder.path().join("a"))
            .expect("list")
            .collect();
        assert_eq!(left.len(), 1, "no temporary file stays");
    }
}
