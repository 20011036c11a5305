//! The registry `jiffy`, of which a function's Cargo.toml asks the SDK: `jiffy = { version = "0.1.0", registry = "jiffy" }`.
//!
//! There is no such registry. Cargo is told to take the SDK of this machine in its place: by `--config` when jiffy calls it, and
//! for all else that calls it by `.cargo/jiffy-sdk.toml`, which lies beside the lock file, belongs to this machine alone, and is
//! included by `.cargo/config.toml`, which the author commits. Where nobody has told it, cargo says that it does not know the
//! registry. It never looks for the name on crates.io, where anybody may have it.
//! Not here: which crates ask (`build::package`); where SDKs are (`sdk`).

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use jiffy_console::stderr;
use toml::{Table, Value};

use crate::{
    output::Untrusted,
    sdk::{self, SdkError},
};

/// Where it would be. No name below `.invalid` leads anywhere.
pub(crate) const INDEX: &str = "sparse+https://jiffy.invalid/";
/// What is written for this machine, beside cargo's configuration.
const FILE_NAME: &str = "jiffy-sdk.toml";
/// How it begins if it is jiffy's own SDK, or that of `JIFFY_SDK`.
const USUAL: &str =
    "# Written by `jiffy`: where the SDK is on this machine. Not for git; changes are lost.\n";
/// And if it is another, which stays until `jiffy sdk` is told otherwise.
const CHOSEN: &str = "# Written by `jiffy`: the SDK that --sdk named. Not for git; `jiffy sdk` goes back to jiffy's own.\n";
/// What cargo's configuration says so that it is read.
const INCLUDE: &str = r#"include = [{ path = "jiffy-sdk.toml", optional = true }]"#;
/// Bytes of a configuration at most.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why cargo cannot be told where the SDK is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error(transparent)]
    Sdk(#[from] SdkError),
    #[error("the path {0} is not UTF-8, which cargo's configuration needs: move the SDK")]
    NotUtf8(PathBuf),
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
}

/// Whether cargo's configuration beside a lock file reads what is written for this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Whole,
    /// There is none.
    NoConfig(PathBuf),
    /// It is the author's, and lacks [`INCLUDE`].
    NotIncluded(PathBuf),
}

impl Link {
    /// What the author has to do, if something is to be done.
    pub(crate) fn advice(&self) -> Option<String> {
        match self {
            Self::Whole => None,
            Self::NoConfig(_) => Some(
                "cargo does not find the SDK by itself here, for tests and editors: `jiffy sdk` tells it where".into(),
            ),
            Self::NotIncluded(path) => Some(format!(
                "cargo does not find the SDK by itself here, for tests and editors: write {INCLUDE} at the top of {}",
                path.display()
            )),
        }
    }

    /// The same on standard error.
    pub(crate) fn advise(&self) {
        if let Some(advice) = self.advice() {
            let _ = writeln!(stderr(), "note: {}", Untrusted(&advice));
        }
    }
}

/// What cargo has to know of this, as its configuration has it: dotted keys and texts.
fn settings(sdk: &Path) -> Result<[(&'static str, &str); 5], RegistryError> {
    let sdk = sdk
        .to_str()
        .ok_or_else(|| RegistryError::NotUtf8(sdk.into()))?;
    Ok([
        ("registries.jiffy.index", INDEX),
        // A folder in which cargo looks for crates and finds none, so that it asks nobody for one.
        ("source.jiffy.registry", INDEX),
        ("source.jiffy.replace-with", "jiffy-sdk"),
        ("source.jiffy-sdk.directory", sdk),
        ("patch.jiffy.jiffy.path", sdk),
    ])
}

fn line((key, value): &(&str, &str)) -> String {
    format!("{key} = {}", Value::from(*value))
}

/// What cargo is called with so that a Cargo.toml may name the registry; it finds nothing there yet.
pub(crate) fn name_arguments() -> [String; 2] {
    ["--config".into(), line(&("registries.jiffy.index", INDEX))]
}

/// What cargo is called with so that it takes `sdk`, whatever its configuration says.
pub(crate) fn arguments(sdk: &Path) -> Result<Vec<String>, RegistryError> {
    let settings = settings(sdk)?;
    let arguments = settings.iter().flat_map(|it| ["--config".into(), line(it)]);
    Ok(arguments.collect())
}

/// The SDK for the crates whose lock file is in `root`: what `named` says, which is `JIFFY_SDK`, or what `jiffy sdk` was told
/// there, or jiffy's own.
pub(crate) fn sdk(root: &Path, named: Option<&Path>) -> Result<PathBuf, SdkError> {
    match (named, chosen(root)) {
        (None, Some(chosen)) => Ok(chosen),
        (named, _) => sdk::sdk(named),
    }
}

/// The SDK that `--sdk` named for `root`, if it is still there.
fn chosen(root: &Path) -> Option<PathBuf> {
    let text = jiffy_files::read_text(root.join(".cargo").join(FILE_NAME), FILE_BYTES_MAX).ok()?;
    let table: Table = text.strip_prefix(CHOSEN)?.parse().ok()?;
    let path = table
        .get("patch")?
        .get("jiffy")?
        .get("jiffy")?
        .get("path")?
        .as_str()?;
    sdk::sdk(Some(Path::new(path))).ok()
}

/// What [`link`] may make in `root`, the folder first.
pub(crate) fn paths(root: &Path) -> [PathBuf; 4] {
    ["", "config.toml", ".gitignore", FILE_NAME].map(|name| root.join(".cargo").join(name))
}

/// Writes down for the crates whose lock file is in `root` where the SDK is, and has cargo's configuration read it if there is
/// none yet: an author's is left as it is.
pub(crate) fn link(root: &Path, sdk: &Path, is_chosen: bool) -> Result<Link, RegistryError> {
    let folder = root.join(".cargo");
    let text = text(sdk, is_chosen)?;
    let error = |path: &Path| {
        let path = path.to_owned();
        |source| RegistryError::Write { path, source }
    };
    fs::create_dir_all(&folder).map_err(error(&folder))?;
    if let Link::NoConfig(path) = state(root) {
        let config =
            format!("# What `jiffy` says here of where its SDK is, on each machine.\n{INCLUDE}\n");
        write_new(&path, &config).map_err(error(&path))?;
    }
    let ignored = folder.join(".gitignore");
    write_new(&ignored, &format!("/{FILE_NAME}\n")).map_err(error(&ignored))?;
    let path = folder.join(FILE_NAME);
    write_whole(&path, &text).map_err(error(&path))?;
    Ok(state(root))
}

/// Keeps what is written down current, where it is read; a choice is left as it is. For a build, which does without.
pub(crate) fn keep_current(root: &Path, sdk: &Path) -> Link {
    let link = state(root);
    if link == Link::Whole && chosen(root).is_none() {
        let path = root.join(".cargo").join(FILE_NAME);
        let written = text(sdk, false).map(|text| write_whole(&path, &text));
        if let Ok(Err(error)) = written {
            let _ = writeln!(
                stderr(),
                "warning: cannot write {}, by which cargo finds the SDK for tests and editors: {error}",
                Untrusted(&path.display().to_string())
            );
        }
    }
    link
}

/// Whether what is written down for `root` is read.
fn state(root: &Path) -> Link {
    let folder = root.join(".cargo");
    // Cargo prefers the old name.
    let configs = ["config", "config.toml"].map(|name| folder.join(name));
    let Some(config) = configs.iter().find(|path| path.exists()) else {
        return Link::NoConfig(folder.join("config.toml"));
    };
    let text = jiffy_files::read_text(config, FILE_BYTES_MAX).unwrap_or_default();
    match includes_it(&text) {
        true => Link::Whole,
        false => Link::NotIncluded(config.clone()),
    }
}

/// Whether a configuration includes the file beside it.
fn includes_it(config: &str) -> bool {
    let is_it = |path: Option<&Value>| {
        let path = path.and_then(Value::as_str).unwrap_or_default();
        path.strip_prefix("./").unwrap_or(path) == FILE_NAME
    };
    let table: Table = config.parse().unwrap_or_default();
    match table.get("include") {
        Some(Value::Array(included)) => included
            .iter()
            .any(|one| is_it(Some(one.get("path").unwrap_or(one)))),
        one => is_it(one),
    }
}

fn text(sdk: &Path, is_chosen: bool) -> Result<String, RegistryError> {
    let mut text = String::from(if is_chosen { CHOSEN } else { USUAL });
    for setting in settings(sdk)? {
        text += &line(&setting);
        text.push('\n');
    }
    Ok(text)
}

/// Writes a file unless there is one.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    match fs::File::create_new(path) {
        Ok(mut file) => file.write_all(text.as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes a file all at once, unless it is as it should be: a cargo that runs meanwhile reads the old one or the new one.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let mut temporary = tempfile::Builder::new()
        .permissions(mode)
        .tempfile_in(folder)?;
    temporary.write_all(text.as_bytes())?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with two SDKs, as far as it matters here.
    fn two_sdks() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().expect("temporary folder");
        let sdk = |name: &str| {
            let sdk = folder.path().join(name);
            fs::create_dir_all(&sdk).expect("folder");
            fs::write(sdk.join("Cargo.toml"), "").expect("written");
            sdk.canonicalize().expect("a path")
        };
        let (one, other) = (sdk("one"), sdk("o\"ther"));
        (folder, one, other)
    }

    fn written(root: &Path) -> Table {
        let text = fs::read_to_string(root.join(".cargo").join(FILE_NAME)).expect("read");
        text.parse().expect("TOML")
    }

    #[test]
    fn a_crate_is_linked_by_a_file_that_git_ignores() {
        let (folder, one, other) = two_sdks();
        let root = folder.path().join("f");
        fs::create_dir(&root).expect("folder");
        assert!(matches!(keep_current(&root, &one), Link::NoConfig(_)));
        assert!(!root.join(".cargo").exists(), "a build makes no folder");
        assert_eq!(link(&root, &one, false).expect("linked"), Link::Whole);
        let config = fs::read_to_string(root.join(".cargo/config.toml")).expect("read");
        assert!(includes_it(&config), "{config}");
        let ignored = fs::read_to_string(root.join(".cargo/.gitignore")).expect("read");
        assert_eq!(ignored, "/jiffy-sdk.toml\n");
        let path = |table: &Table| table["patch"]["jiffy"]["jiffy"]["path"].clone();
        assert_eq!(path(&written(&root)).as_str(), one.to_str());
        assert_eq!(
            written(&root)["registries"]["jiffy"]["index"].as_str(),
            Some(INDEX)
        );
        // A build by another jiffy.
        assert_eq!(keep_current(&root, &other), Link::Whole);
        assert_eq!(path(&written(&root)).as_str(), other.to_str());
        let left = fs::read_dir(root.join(".cargo")).expect("list").count();
        assert_eq!(left, 3, "no temporary file stays");
    }

    #[test]
    fn what_was_chosen_stays_while_it_is_there() {
        let (folder, one, other) = two_sdks();
        let root = folder.path();
        assert_eq!(chosen(root), None);
        link(root, &other, true).expect("linked");
        assert_eq!(sdk(root, None).expect("there"), other);
        keep_current(root, &one);
        assert_eq!(sdk(root, None).expect("there"), other);
        assert_eq!(sdk(root, Some(&one)).expect("there"), one, "JIFFY_SDK wins");
        link(root, &one, false).expect("linked");
        assert_eq!(chosen(root), None);
        link(root, &other, true).expect("linked");
        fs::remove_dir_all(&other).expect("removed");
        let own = sdk::sdk(None).expect("this is a checkout");
        assert_eq!(sdk(root, None).expect("there"), own);
        keep_current(root, &own);
        let path = written(root)["patch"]["jiffy"]["jiffy"]["path"].clone();
        assert_eq!(path.as_str(), own.to_str());
    }

    #[test]
    fn an_authors_configuration_is_left_as_it_is() {
        let (folder, one, _) = two_sdks();
        for name in ["config", "config.toml"] {
            let root = folder.path().join(name);
            let config = root.join(".cargo").join(name);
            fs::create_dir_all(root.join(".cargo")).expect("folder");
            let text = "[net]\nretry = 1 # Mine.\n";
            fs::write(&config, text).expect("written");
            let link = link(&root, &one, false).expect("linked");
            assert_eq!(link, Link::NotIncluded(config.clone()));
            assert_eq!(keep_current(&root, &one), link);
            let advice = link.advice().expect("something to do");
            assert!(advice.contains(INCLUDE), "{advice}");
            assert_eq!(fs::read_to_string(&config).expect("read"), text);
            fs::write(&config, format!("{INCLUDE}\n{text}")).expect("written");
            assert_eq!(state(&root), Link::Whole);
        }
    }

    #[test]
    fn an_include_is_found_however_it_is_written() {
        for (config, expected) in [
            (INCLUDE, true),
            ("include = \"jiffy-sdk.toml\"", true),
            ("include = [\"./jiffy-sdk.toml\"]", true),
            (
                "include = [\"a.toml\", { path = \"jiffy-sdk.toml\" }]",
                true,
            ),
            ("include = [\"sub/jiffy-sdk.toml\"]", false),
            ("include = 1", false),
            ("include = [1, {}]", false),
            ("# include = \"jiffy-sdk.toml\"", false),
            ("not TOML", false),
            ("", false),
        ] {
            assert_eq!(includes_it(config), expected, "{config}");
        }
    }

    #[test]
    fn what_cargo_is_called_with_is_what_is_written() {
        let (_folder, _, sdk) = two_sdks();
        let arguments = arguments(&sdk).expect("UTF-8");
        let lines: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let lines: String = lines
            .chunks(2)
            .map(|pair| format!("{}\n", pair[1]))
            .collect();
        let text = text(&sdk, false).expect("UTF-8");
        assert_eq!(text.strip_prefix(USUAL), Some(&*lines));
        assert_eq!(&arguments[..2], name_arguments());
        assert!(text.parse::<Table>().is_ok(), "{text}");
    }
}
