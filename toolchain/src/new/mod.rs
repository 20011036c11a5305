//! `jiffy new`: a function crate that builds and whose test passes as it is, or a function in C.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use cargo_metadata::semver::Version;
use jiffy_abi::note;
use jiffy_console::stdout;
use toml::{Table, Value};

use crate::{
    manifest::FILE_NAME,
    registry::{self, RegistryError},
    sdk::{self, SdkError},
};

const LIB: &str = include_str!("lib.rs.template");
const LIB_STD: &str = include_str!("lib-std.rs.template");
const MAIN_C: &str = include_str!("main.c.template");
const GITIGNORE: &str = "/target\n";
/// Where clangd, which many editors ask, finds out where headers are; of this machine alone.
const EDITOR_FLAGS: &str = "compile_flags.txt";

/// What a new function is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Rust.
    #[default]
    Rust,
    /// C.
    C,
    /// C++, without exceptions and run-time types.
    #[value(name = "c++")]
    Cxx,
}

/// Names that would shadow a crate every function needs, or that cargo or Rust keeps for itself.
const RESERVED: [&str; 8] = [
    "alloc",
    "core",
    "jiffy",
    "proc-macro",
    "proc_macro",
    "serde",
    "std",
    "test",
];

/// Why there is no new function crate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NewError {
    #[error("{0} exists: choose a path that does not")]
    Exists(PathBuf),
    #[error("{0} has no last part to name the function after: give it a name with --name")]
    NoName(PathBuf),
    #[error(
        "invalid name {0:?} of a function: must be ASCII letters, digits, `-` and `_`, a letter first; give another with --name"
    )]
    BadName(String),
    #[error("{0:?} is a name Rust or jiffy needs itself: give another with --name")]
    ReservedName(String),
    #[error(transparent)]
    Sdk(#[from] SdkError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot print")]
    Print(#[from] io::Error),
}

/// Makes a function at `path`, named `name` or after the path's last part; of Rust a crate that uses `std`, if that is wanted.
/// It is built with the SDK that is `chosen`, or else as all are.
pub(crate) fn new(
    path: &Path,
    name: Option<&str>,
    chosen: Option<&Path>,
    std: bool,
    kind: Kind,
) -> Result<(), NewError> {
    let name = match (name, path.file_name().and_then(|name| name.to_str())) {
        (Some(name), _) | (None, Some(name)) => check_name(name)?,
        (None, None) => return Err(NewError::NoName(path.into())),
    };
    let named = sdk::named();
    let sdk = sdk::sdk(chosen.or(named.as_deref()))?;
    let version = sdk::version(&sdk)?;
    let write = |path: &Path, content: &str| {
        fs::write(path, content).map_err(|source| NewError::Write {
            path: path.into(),
            source,
        })
    };
    let make = |path: &Path| {
        fs::create_dir_all(path).map_err(|source| NewError::Write {
            path: path.into(),
            source,
        })
    };
    // An empty folder is as good as none.
    if path.exists() && fs::read_dir(path).map_or(true, |mut entries| entries.next().is_some()) {
        return Err(NewError::Exists(path.into()));
    }
    let shown = path.display();
    if kind != Kind::Rust {
        let (lang, source) = match kind {
            Kind::Cxx => ("c++", "main.cc"),
            _ => ("c", "main.c"),
        };
        make(path)?;
        write(&path.join(FILE_NAME), &native_manifest(name, lang))?;
        write(
            &path.join(".gitignore"),
            &format!("{GITIGNORE}/{EDITOR_FLAGS}\n"),
        )?;
        write(&path.join(source), MAIN_C)?;
        let include = sdk.with_file_name("c").join("include");
        write(
            &path.join(EDITOR_FLAGS),
            &format!("-I{}\n", include.display()),
        )?;
        writeln!(
            stdout(),
            "Made the function {name} in {shown}. Next:\n  cd {shown}\n  jiffy run --event '1 2 3.5'"
        )?;
        return Ok(());
    }
    make(&path.join("src"))?;
    write(
        &path.join("Cargo.toml"),
        &manifest(name, &version, is_in_workspace(path), std),
    )?;
    write(&path.join(".gitignore"), GITIGNORE)?;
    let (source, event) = match std {
        true => (LIB_STD, r#"{"text":"to be or not to be"}"#),
        false => (LIB, r#"{"name":"Ada"}"#),
    };
    write(&path.join("src/lib.rs"), source)?;
    registry::link(path, &sdk, chosen.is_some())?.advise();
    writeln!(
        stdout(),
        "Made the function {name} in {shown}. Next:\n  cd {shown}\n  cargo test\n  jiffy run --event '{event}'"
    )?;
    Ok(())
}

/// The `jiffy.toml` of a function in C.
fn native_manifest(name: &str, lang: &str) -> String {
    let string = |text: &str| Value::from(text).to_string();
    format!(
        "name = {}\n\
         \n\
         [function]\n\
         lang = {}\n\
         version = \"0.1.0\"\n",
        string(name),
        string(lang)
    )
}

fn check_name(name: &str) -> Result<&str, NewError> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    let well_formed = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(is_part)
        && name.len() <= note::NAME_BYTES;
    if !well_formed {
        return Err(NewError::BadName(name.into()));
    }
    // Keywords cannot name a crate; cargo would say so, but only later and less clearly.
    if RESERVED.contains(&name) || is_keyword(name) {
        return Err(NewError::ReservedName(name.into()));
    }
    Ok(name)
}

fn is_keyword(name: &str) -> bool {
    const KEYWORDS: &str = " abstract as async await become box break const continue crate do dyn \
                            else enum extern false final fn for gen if impl in let loop macro match \
                            mod move mut override priv pub ref return self Self static struct super \
                            trait true try type typeof unsafe unsized use virtual where while yield ";
    KEYWORDS.split_whitespace().any(|keyword| keyword == name)
}

/// Whether a crate at `path` would be taken for a member of somebody's workspace.
fn is_in_workspace(path: &Path) -> bool {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    absolute
        .ancestors()
        .skip(1)
        .any(|folder| folder.join("Cargo.toml").is_file())
}

fn manifest(name: &str, sdk: &Version, own_workspace: bool, std: bool) -> String {
    let serde = match std {
        true => r#"features = ["derive"]"#,
        false => r#"default-features = false, features = ["alloc", "derive"]"#,
    };
    let string = |text: &str| Value::from(text).to_string();
    let mut manifest = format!(
        "[package]\n\
         name = {}\n\
         version = \"0.1.0\"\n\
         edition = \"2024\"\n\
         \n\
         # Where the registry jiffy is not known, `jiffy sdk` tells cargo where the SDK is.\n\
         [dependencies]\n\
         jiffy = {{ version = {}, registry = \"jiffy\" }}\n\
         serde = {{ version = \"1\", {serde} }}\n",
        string(name),
        string(&sdk.to_string())
    );
    if own_workspace {
        manifest +=
            "\n# A crate of its own, although it lies in another one's folder.\n[workspace]\n";
    }
    debug_assert!(manifest.parse::<Table>().is_ok());
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Lang, Manifest};

    #[test]
    fn names_are_those_cargo_takes() {
        for name in ["hello", "a", "Hello-World_2", &"x".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "2x", "-x", "x y", "é", "../x", &"x".repeat(65)] {
            assert!(
                matches!(check_name(name), Err(NewError::BadName(_))),
                "{name}"
            );
        }
        for name in ["std", "jiffy", "fn", "self"] {
            assert!(
                matches!(check_name(name), Err(NewError::ReservedName(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn a_crate_is_written_once() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("hello");
        new(&path, None, None, false, Kind::Rust).expect("made");
        let manifest = fs::read_to_string(path.join("Cargo.toml")).expect("manifest");
        let manifest: Table = manifest.parse().expect("TOML");
        assert_eq!(manifest["package"]["name"].as_str(), Some("hello"));
        assert!(!manifest.contains_key("workspace"));
        // No path of this machine is in what an author commits.
        let sdk = &manifest["dependencies"]["jiffy"];
        assert_eq!(sdk["version"].as_str(), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(sdk["registry"].as_str(), Some("jiffy"));
        let own = registry::sdk(&path, None).expect("linked");
        assert_eq!(own, sdk::sdk(None).expect("a checkout"));
        assert!(matches!(
            new(&path, None, None, false, Kind::Rust),
            Err(NewError::Exists(_))
        ));
        // A crate in the crate's folder must not take it for its workspace.
        let inner = path.join("inner");
        new(&inner, Some("other"), None, true, Kind::Rust).expect("made");
        let manifest = fs::read_to_string(inner.join("Cargo.toml")).expect("manifest");
        let manifest: Table = manifest.parse().expect("TOML");
        assert_eq!(manifest["package"]["name"].as_str(), Some("other"));
        assert!(manifest.contains_key("workspace"));
    }

    #[test]
    fn a_function_in_c_has_a_manifest_that_says_so() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for (kind, lang, file) in [
            (Kind::C, Lang::C, "main.c"),
            (Kind::Cxx, Lang::Cxx, "main.cc"),
        ] {
            let path = folder.path().join(file.replace('.', "-"));
            new(&path, Some("sums"), None, false, kind).expect("made");
            let manifest = Manifest::of_crate(&path).expect("a manifest");
            assert_eq!(
                manifest.name.map(|name| name.to_string()),
                Some("sums".into())
            );
            assert_eq!(manifest.native.map(|native| native.lang), Some(lang));
            let source = fs::read_to_string(path.join(file)).expect("a source");
            assert!(source.contains("jiffy_handle") && !path.join("Cargo.toml").exists());
            let flags = fs::read_to_string(path.join(EDITOR_FLAGS)).expect("flags");
            let include = flags.trim().strip_prefix("-I").expect("a folder");
            assert!(Path::new(include).join("jiffy.h").is_file(), "{include}");
        }
    }
}
