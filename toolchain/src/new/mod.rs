//! `jiffy new`: a function crate that builds and whose test passes as it is, or a function in C.
//!
//! It is made all at once, in a folder of its own or in one that is there, and nothing that is there changes.

mod files;

use std::{
    env, fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use cargo_metadata::semver::Version;
use jiffy_abi::note;
use jiffy_console::{stderr, stdout};
use toml::{Table, Value};

use self::files::{Files, Made};
use crate::{
    manifest::{FILE_NAME, Manifest},
    output::Untrusted,
    registry::RegistryError,
    sdk::{self, SdkError},
};

const LIB: &str = include_str!("lib.rs.template");
const LIB_STD: &str = include_str!("lib-std.rs.template");
const LIB_HTTP: &str = include_str!("lib-http.rs.template");
const LIB_EVENTS: &str = include_str!("lib-events.rs.template");
const MAIN_C: &str = include_str!("main.c.template");
/// What builds make.
const TARGET: &str = "/target";
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

/// What a new function in Rust does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Template {
    /// Takes an event of one shape.
    #[default]
    Event,
    /// Takes events of several kinds.
    Events,
    /// Answers HTTP requests.
    Http,
}

impl Template {
    /// The source, and what `jiffy run` is called with to try it.
    fn source(self, std: bool) -> (String, &'static str) {
        match (self, std) {
            (Self::Event, false) => (LIB.into(), r#"--event '{"name":"Ada"}'"#),
            (Self::Event, true) => (LIB_STD.into(), r#"--event '{"text":"to be or not to be"}'"#),
            (Self::Events, std) => (
                for_std(LIB_EVENTS, std),
                r#"--event '{"kind":"paid","order":7,"cents":1250}'"#,
            ),
            (Self::Http, std) => (for_std(LIB_HTTP, std), "--http 'GET /greet?name=Ada'"),
        }
    }
}

/// A source without what one without `std` begins with, if it is to use `std`.
fn for_std(source: &str, std: bool) -> String {
    const BEGINS: &str = "#![cfg_attr(not(test), no_std)]\n";
    const ENDS: &str = "use alloc::";
    let parts = source.split_once(BEGINS).and_then(|(before, rest)| {
        let (_, rest) = rest.split_once(ENDS)?;
        let (_, after) = rest.split_once("\n\n")?;
        Some(format!("{before}\n{after}"))
    });
    match parts {
        Some(parts) if std => parts,
        _ => source.into(),
    }
}

/// What is to be made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Where.
    pub(crate) path: PathBuf,
    /// What it is called, if not as the path's last part.
    pub(crate) name: Option<String>,
    /// The SDK, if it is not the usual one.
    pub(crate) sdk: Option<PathBuf>,
    /// A function in Rust uses `std`.
    pub(crate) std: bool,
    pub(crate) template: Template,
    pub(crate) kind: Kind,
}

/// Why there is no new function crate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NewError {
    #[error("{0} is there and not empty: choose another path, or say `jiffy new .` in it")]
    NotEmpty(PathBuf),
    #[error(
        "{} has a crate already: write `jiffy = {{ version = \"{version}\", registry = \"jiffy\" }}` under [dependencies] of its Cargo.toml, put `#[jiffy::function]` on a public function of src/lib.rs, and run `jiffy sdk`",
        .folder.display()
    )]
    IsCrate { folder: PathBuf, version: Version },
    #[error("{0} is in the way: it stays as it is, and nothing was made")]
    InTheWay(PathBuf),
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

/// Makes a function.
pub(crate) fn new(options: &Options) -> Result<(), NewError> {
    let path = &*options.path;
    // `.` has a name, too.
    let whole = path.canonicalize().unwrap_or_else(|_| path.into());
    let name = options.name.as_deref();
    let name = match name.or(whole.file_name().and_then(|name| name.to_str())) {
        Some(name) => check_name(name)?,
        None => return Err(NewError::NoName(path.into())),
    };
    let is_here = env::current_dir().is_ok_and(|here| here == whole);
    let is_empty = || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    let named = sdk::named();
    let sdk = sdk::sdk(options.sdk.as_deref().or(named.as_deref()))?;
    let version = sdk::version(&sdk)?;
    if path.join("Cargo.toml").exists() {
        let folder = path.into();
        return Err(NewError::IsCrate { folder, version });
    }
    if path.exists() && !is_here && !is_empty() {
        return Err(NewError::NotEmpty(path.into()));
    }
    let (files, ignored, run) = match options.kind {
        Kind::Rust => {
            if Manifest::is_native(path) {
                return Err(NewError::InTheWay(path.join(FILE_NAME)));
            }
            rust(name, &version, is_in_workspace(&whole), options)
        }
        Kind::C => native(name, "c", "main.c", &sdk),
        Kind::Cxx => native(name, "c++", "main.cc", &sdk),
    };
    files.check(path)?;
    let mut made = Made::default();
    files.write(path, &mut made)?;
    let gitignore = path.join(".gitignore");
    let forgotten = ignore(&gitignore, &ignored, &mut made)?;
    if options.kind == Kind::Rust {
        made.link(path, &sdk, options.sdk.is_some())?.advise();
    }
    made.keep();
    if !forgotten.is_empty() {
        let lines = forgotten.join(" and ");
        let _ = writeln!(stderr(), "note: add {lines} to its .gitignore");
    }
    let mut out = stdout();
    if is_here {
        writeln!(out, "Made the function {name} in this folder. Next:")?;
    } else {
        let shown = path.display().to_string();
        let shown = Untrusted(&shown);
        writeln!(
            out,
            "Made the function {name} in {shown}. Next:\n  cd {shown}"
        )?;
    }
    if options.kind == Kind::Rust {
        writeln!(out, "  cargo test")?;
    }
    writeln!(out, "  jiffy run {run}")?;
    Ok(())
}

/// Has git ignore what is nobody's source; the lines that an author's file lacks for it, which is left as it is.
fn ignore<'a>(path: &Path, ignored: &[&'a str], made: &mut Made) -> Result<Vec<&'a str>, NewError> {
    let error = |source| NewError::Write {
        path: path.into(),
        source,
    };
    if path.symlink_metadata().is_err() {
        made.add(path.into());
        let lines = ignored.iter().map(|line| format!("{line}\n"));
        fs::write(path, lines.collect::<String>()).map_err(error)?;
        return Ok(vec![]);
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    let is_there = |line: &&str| {
        let mut lines = text.lines().map(|line| line.trim().trim_matches('/'));
        lines.any(|there| there == line.trim_matches('/'))
    };
    let forgotten = ignored.iter().filter(|line| !is_there(line));
    Ok(forgotten.copied().collect())
}

/// Files of a function in Rust, what git is to ignore, and what `jiffy run` is called with.
fn rust(
    name: &str,
    sdk: &Version,
    own_workspace: bool,
    options: &Options,
) -> (Files, Vec<&'static str>, &'static str) {
    let (source, run) = options.template.source(options.std);
    let mut files = Files::default();
    // HTTP is a shape of its own.
    let serde = (options.template != Template::Http).then_some(options.std);
    files.add("Cargo.toml", manifest(name, sdk, own_workspace, serde));
    files.add("src/lib.rs", source);
    (files, vec![TARGET], run)
}

/// The same of a function in C.
fn native(
    name: &str,
    lang: &str,
    source: &'static str,
    sdk: &Path,
) -> (Files, Vec<&'static str>, &'static str) {
    let include = sdk.with_file_name("c").join("include");
    let mut files = Files::default();
    files.add(FILE_NAME, native_manifest(name, lang));
    files.add(source, MAIN_C);
    files.add(EDITOR_FLAGS, format!("-I{}\n", include.display()));
    (
        files,
        vec![TARGET, "/compile_flags.txt"],
        "--event '1 2 3.5'",
    )
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

/// Whether a crate at `path`, which is whole, would be taken for a member of somebody's workspace.
fn is_in_workspace(path: &Path) -> bool {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    absolute
        .ancestors()
        .skip(1)
        .any(|folder| folder.join("Cargo.toml").is_file())
}

/// The Cargo.toml; with serde, if somebody says whether that has `std`.
fn manifest(name: &str, sdk: &Version, own_workspace: bool, serde: Option<bool>) -> String {
    let string = |text: &str| Value::from(text).to_string();
    let mut manifest = format!(
        "[package]\n\
         name = {}\n\
         version = \"0.1.0\"\n\
         edition = \"2024\"\n\
         \n\
         # Where the registry jiffy is not known, `jiffy sdk` tells cargo where the SDK is.\n\
         [dependencies]\n\
         jiffy = {{ version = {}, registry = \"jiffy\" }}\n",
        string(name),
        string(&sdk.to_string())
    );
    if let Some(std) = serde {
        let features = match std {
            true => r#"features = ["derive"]"#,
            false => r#"default-features = false, features = ["alloc", "derive"]"#,
        };
        manifest += &format!("serde = {{ version = \"1\", {features} }}\n");
    }
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
    use crate::{
        manifest::{Lang, Manifest},
        registry,
    };

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
        let options = Options {
            path: path.clone(),
            ..Options::default()
        };
        new(&options).expect("made");
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
        let again = new(&options).expect_err("it is there").to_string();
        assert!(
            again.contains("registry = \"jiffy\"") && again.contains("jiffy sdk"),
            "{again}"
        );
        // A crate in the crate's folder must not take it for its workspace.
        let inner = path.join("inner");
        let options = Options {
            path: inner.clone(),
            name: Some("other".into()),
            std: true,
            ..Options::default()
        };
        new(&options).expect("made");
        let manifest = fs::read_to_string(inner.join("Cargo.toml")).expect("manifest");
        let manifest: Table = manifest.parse().expect("TOML");
        assert_eq!(manifest["package"]["name"].as_str(), Some("other"));
        assert!(manifest.contains_key("workspace"));
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("hello");
        fs::create_dir(&path).expect("folder");
        let options = Options {
            path: path.clone(),
            ..Options::default()
        };
        // Somewhere else than where one is, it has to be empty.
        fs::write(path.join("README.md"), "mine").expect("written");
        assert!(matches!(new(&options), Err(NewError::NotEmpty(_))));
        assert_eq!(fs::read_dir(&path).expect("list").count(), 1);
        fs::remove_file(path.join("README.md")).expect("removed");
        let elsewhere = Options {
            sdk: Some("/nonexistent".into()),
            ..options.clone()
        };
        assert!(matches!(new(&elsewhere), Err(NewError::Sdk(_))));
        assert_eq!(fs::read_dir(&path).expect("list").count(), 0);
        new(&options).expect("an empty folder is as good as none");
    }

    #[test]
    fn an_authors_list_of_what_git_ignores_stays() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join(".gitignore");
        let lacks = |text: &str| {
            fs::write(&path, text).expect("written");
            let lines = ignore(&path, &["/target", "/x"], &mut Made::default());
            assert_eq!(fs::read_to_string(&path).expect("read"), text);
            lines.expect("read")
        };
        assert_eq!(lacks(""), ["/target", "/x"]);
        assert_eq!(lacks("target/\n"), ["/x"]);
        assert!(lacks("/x\n  target\n").is_empty());
        fs::remove_file(&path).expect("removed");
        let mut made = Made::default();
        ignore(&path, &["/target"], &mut made).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("read"), "/target\n");
        drop(made);
        assert!(!path.exists());
    }

    #[test]
    fn with_std_nothing_is_said_of_alloc() {
        for template in [Template::Event, Template::Events, Template::Http] {
            let (source, run) = template.source(true);
            assert!(
                !source.contains("alloc") && !source.contains("no_std"),
                "{source}"
            );
            assert!(!source.contains("\n\n\n"), "{source}");
            assert!(source.contains(run), "its first line says how to try it");
            let (source, run) = template.source(false);
            assert!(
                source.contains("use alloc::") && source.contains("no_std"),
                "{source}"
            );
            assert!(source.contains(run), "its first line says how to try it");
        }
    }

    #[test]
    fn a_function_in_c_has_a_manifest_that_says_so() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for (kind, lang, file) in [
            (Kind::C, Lang::C, "main.c"),
            (Kind::Cxx, Lang::Cxx, "main.cc"),
        ] {
            let path = folder.path().join(file.replace('.', "-"));
            let options = Options {
                path: path.clone(),
                name: Some("sums".into()),
                kind,
                ..Options::default()
            };
            new(&options).expect("made");
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
