//! What cargo says of the function's package.

use std::{
    collections::BTreeSet,
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use cargo_metadata::{
    Metadata, MetadataCommand, Package as CargoPackage, TargetKind,
    semver::{Version, VersionReq},
};
use jiffy_abi::note;
use jiffy_console::quantity::parse_size;
use serde::Deserialize;

use super::{
    cargo::{cargo_program, end_of, pass_on, progress},
    dependency::{self, Registered, registered},
    no_std::is_no_std,
};
use crate::{
    manifest::{Features, Manifest, ManifestError, Native, Panic},
    registry::{self, RegistryError},
    sdk::{self, SdkError},
};

/// Why a path is no function's package.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackageError {
    #[error(
        "invalid stack {stack:?} of {package}, under {place}: must be from 768K to 1G, in steps of 64K"
    )]
    Stack {
        package: String,
        stack: String,
        place: &'static str,
    },
    #[error(
        "package {package} has two stacks, {stack:?} under {other} and {bytes} bytes under [stack] of jiffy.toml: say it in one place"
    )]
    TwoStacks {
        package: String,
        stack: String,
        /// Which place the other one is.
        other: &'static str,
        bytes: u64,
    },
    #[error(
        "package {package} has no feature {feature:?}, which jiffy.toml or --features names: {}",
        Self::known(.known)
    )]
    NoFeature {
        package: String,
        feature: String,
        known: Vec<String>,
    },
    #[error(
        "{0} is not Rust, and has no features: leave out --features, and `features` and `default-features` of jiffy.toml"
    )]
    NativeFeatures(String),
    #[error(
        "{0} is not Rust, and its panics end the VM: leave `panic = \"unwind\"` out of jiffy.toml"
    )]
    NativeUnwind(String),
    #[error(
        "package {0} is `no_std`, where panics end the VM: leave `panic = \"unwind\"` out of jiffy.toml, or `no_std` out of src/lib.rs"
    )]
    NoStdUnwind(String),
    #[error("no {0}: must be a folder with a function crate; `jiffy new` makes one")]
    NoPath(PathBuf),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(
        "invalid name {0:?} of a function: must be ASCII letters, digits, `-` and `_`, a letter first; give it one with `name` in jiffy.toml"
    )]
    BadName(String),
    #[error("invalid version {0:?} under [function] of jiffy.toml: must be such as 1.2.3")]
    BadVersion(String),
    #[error(transparent)]
    NoParts(#[from] SdkError),
    #[error(
        "no Cargo.toml in {0} or above it: must be the folder of a function crate; `jiffy new` makes one"
    )]
    NoManifest(PathBuf),
    #[error("cargo cannot read {manifest}")]
    Metadata {
        manifest: PathBuf,
        source: cargo_metadata::Error,
    },
    #[error("{path} is a workspace: name the folder of one of its packages: {packages}")]
    Workspace { path: PathBuf, packages: String },
    #[error("package {0} has no library: put the handler into src/lib.rs")]
    NoLibrary(String),
    #[error(
        "package {0} does not depend on the SDK: add `jiffy` to its [dependencies] as `jiffy new` does"
    )]
    NoSdk(String),
    #[error(
        "package {package} takes `jiffy` from {from}, where it is not the SDK: write `jiffy = {{ version = \"{own}\", registry = \"jiffy\" }}` in its Cargo.toml",
        own = env!("CARGO_PKG_VERSION")
    )]
    SdkElsewhere { package: String, from: String },
    #[error(
        "package {package} asks for `jiffy` {asked}, and the SDK of this machine, {path}, is {installed}: install a jiffy that has the other, name its SDK with JIFFY_SDK, or write version = \"{installed}\" in Cargo.toml"
    )]
    SdkVersion {
        package: String,
        asked: VersionReq,
        installed: Version,
        path: PathBuf,
    },
    #[error(
        "{0} does not ask for `jiffy` of the registry `jiffy`, as `jiffy new` has it: there is nothing to tell cargo"
    )]
    NotAsked(PathBuf),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("[package.metadata.jiffy] of package {package} is malformed")]
    Settings {
        package: String,
        source: serde_json::Error,
    },
    #[error("package name {name} has more than {max} bytes: choose a shorter one", max = note::NAME_BYTES)]
    NameTooLong { name: String },
    #[error("cannot start cargo: install Rust from https://rustup.rs, or set CARGO")]
    Start(#[source] io::Error),
    #[error("cargo cannot make a lock file for {manifest} ({status})")]
    Lock {
        manifest: PathBuf,
        status: ExitStatus,
    },
}

impl PackageError {
    fn known(features: &[String]) -> String {
        match features {
            [] => "it has none".into(),
            features => format!("must be one of {}", features.join(", ")),
        }
    }
}

/// A function's package.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// What Rust calls its library.
    pub(crate) crate_name: String,
    /// Folder of its Cargo.toml.
    pub(crate) root: PathBuf,
    /// Folder of its workspace, which has the lock file; its own if it is in none.
    pub(crate) workspace_root: PathBuf,
    pub(crate) target_dir: PathBuf,
    pub(crate) sdk: PathBuf,
    /// What cargo is called with so that it finds the SDK; nothing if the package has it from a path.
    pub(crate) cargo_arguments: Vec<String>,
    /// `jiffy_abi::note::FLAG_*`, and the size of the stack.
    pub(crate) flags: u32,
    /// What of its crate is switched on.
    pub(crate) features: Features,
    /// It uses `std`, as it does not say otherwise.
    pub(crate) std: bool,
    /// Whether its panics unwind; only those of a function that uses `std` can.
    pub(crate) panic: Panic,
    /// It is not Rust.
    pub(crate) native: Option<Native>,
}

/// What a function asks for in its Cargo.toml.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// The function may read the time-stamp counter.
    precise_clock: bool,
    /// `init` may draw randomness, which all clones of its snapshot then share.
    random_init: bool,
    /// Size of its stack, such as 8M.
    stack: Option<String>,
}

impl Package {
    /// Where everything goes that `jiffy build` makes.
    pub(crate) fn jiffy_dir(&self) -> PathBuf {
        self.target_dir.join("jiffy")
    }

    /// The lock file that decides versions; of what is not Rust, that of the checkout which the SDK is from.
    pub(crate) fn lock_file(&self) -> PathBuf {
        match self.native {
            Some(_) => self.sdk.join("../../Cargo.lock"),
            None => self.workspace_root.join("Cargo.lock"),
        }
    }
}

/// The folder of what `path` is in that is not Rust: the nearest with a `jiffy.toml` which says so, and above it nothing is
/// nearer that is Rust.
pub(super) fn find_native(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    for folder in path.ancestors() {
        if Manifest::is_native(folder) {
            return Some(folder.to_owned());
        }
        if folder.join("Cargo.toml").is_file() {
            return None;
        }
    }
    None
}

/// Where builds of what is not Rust go, as cargo has it for what is.
pub(super) fn native_target_dir(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}

/// The function in the folder `root` that is not Rust.
fn native(root: PathBuf, features: &Features) -> Result<Package, PackageError> {
    let manifest = Manifest::of_crate(&root)?;
    let native = manifest.native.unwrap_or_default();
    let folder = root.file_name().unwrap_or_default().to_string_lossy();
    let name = manifest
        .name
        .map_or_else(|| folder.into_owned(), |name| name.to_string());
    if name.len() > note::NAME_BYTES {
        return Err(PackageError::NameTooLong { name });
    }
    let is_part = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) || !name.chars().all(is_part) {
        return Err(PackageError::BadName(name));
    }
    let version = native.version.clone().unwrap_or_else(|| "0.1.0".into());
    if cargo_metadata::semver::Version::parse(&version).is_err() {
        return Err(PackageError::BadVersion(version));
    }
    if !manifest.features.and(features).is_usual() {
        return Err(PackageError::NativeFeatures(name));
    }
    if manifest.panic == Panic::Unwind {
        return Err(PackageError::NativeUnwind(name));
    }
    let settings = Settings {
        precise_clock: native.precise_clock,
        random_init: native.random_init,
        stack: native.stack.clone(),
    };
    Ok(Package {
        flags: settings.flags(&name, manifest.stack_bytes, "[function] of jiffy.toml")?,
        version,
        crate_name: "jiffy_c".into(),
        workspace_root: root.clone(),
        target_dir: native_target_dir(&root),
        sdk: sdk::sdk(sdk::named().as_deref())?,
        cargo_arguments: vec![],
        features: Features::default(),
        std: true,
        panic: Panic::Abort,
        native: Some(native),
        name,
        root,
    })
}

/// The function's package at `path`, which may also lie in one of its folders, with `features` beside those that its `jiffy.toml`
/// names. Makes its lock file if there is none.
pub(crate) fn find(path: &Path, features: &Features) -> Result<Package, PackageError> {
    if let Some(root) = find_native(path) {
        return native(root, features);
    }
    let manifest = find_manifest(path)?;
    let metadata = read(&manifest)?;
    let registered = registered(&metadata)?;
    let said = Manifest::of_crate(manifest.parent().unwrap_or(&manifest))?;
    let package = Found {
        manifest: &manifest,
        metadata: &metadata,
        registered: registered.as_ref(),
        features: said.features.and(features),
        stack_bytes: said.stack_bytes,
        panic: said.panic,
    };
    let package = package.interpret()?;
    if let Some(Registered { sdk, .. }) = &registered {
        registry::keep_current(&package.workspace_root, sdk).advise();
    }
    if !package.lock_file().exists() {
        make_lock(&manifest, &package.cargo_arguments)?;
    }
    Ok(package)
}

/// What cargo says of the packages of `manifest`'s workspace, even if nobody told it where the SDK is.
pub(super) fn read(manifest: &Path) -> Result<Metadata, PackageError> {
    read_with(
        manifest,
        MetadataCommand::new().no_deps(),
        &registry::name_arguments(),
    )
}

/// The same by another command.
pub(super) fn read_with(
    manifest: &Path,
    command: &mut MetadataCommand,
    options: &[String],
) -> Result<Metadata, PackageError> {
    command
        .cargo_path(cargo_program())
        .manifest_path(manifest)
        .current_dir(manifest.parent().unwrap_or(Path::new("/")))
        .other_options(options)
        .exec()
        .map_err(|source| PackageError::Metadata {
            manifest: manifest.into(),
            source,
        })
}

/// The Cargo.toml in the folder `path` or above it.
pub(super) fn find_manifest(path: &Path) -> Result<PathBuf, PackageError> {
    let path = path
        .canonicalize()
        .map_err(|_| PackageError::NoPath(path.into()))?;
    path.ancestors()
        .map(|folder| folder.join("Cargo.toml"))
        .find(|manifest| manifest.is_file())
        .ok_or(PackageError::NoManifest(path))
}

/// What there is to be made a package of.
struct Found<'a> {
    /// Of the package, and not of its workspace.
    manifest: &'a Path,
    metadata: &'a Metadata,
    registered: Option<&'a Registered>,
    features: Features,
    stack_bytes: Option<u64>,
    panic: Panic,
}

impl Found<'_> {
    fn interpret(self) -> Result<Package, PackageError> {
        let Self {
            manifest,
            metadata,
            registered,
            features,
            stack_bytes,
            panic,
        } = self;
        let found = metadata
            .packages
            .iter()
            .find(|package| package.manifest_path == manifest);
        let Some(package) = found else {
            let names: Vec<&str> = metadata
                .packages
                .iter()
                .map(|package| &**package.name)
                .collect();
            let path = manifest.parent().unwrap_or(manifest).into();
            return Err(PackageError::Workspace {
                path,
                packages: names.join(", "),
            });
        };
        let name = package.name.to_string();
        if name.len() > note::NAME_BYTES {
            return Err(PackageError::NameTooLong { name });
        }
        let library = package
            .targets
            .iter()
            .find(|target| {
                target.kind.contains(&TargetKind::Lib) || target.kind.contains(&TargetKind::RLib)
            })
            .ok_or_else(|| PackageError::NoLibrary(name.clone()))?;
        // What cannot be read the compiler will complain about, and it needs no std for that.
        let source = fs::read_to_string(&library.src_path);
        let enabled = enabled(package, &features)?;
        let std = source.is_ok_and(|source| !is_no_std(&source, &enabled));
        if panic == Panic::Unwind && !std {
            return Err(PackageError::NoStdUnwind(name));
        }
        Ok(Package {
            std,
            panic,
            version: package.version.to_string(),
            crate_name: library.name.replace('-', "_"),
            root: manifest.parent().unwrap_or(manifest).into(),
            workspace_root: metadata.workspace_root.clone().into(),
            target_dir: metadata.target_directory.clone().into(),
            sdk: dependency::sdk(package, registered)?,
            cargo_arguments: registered.map_or(vec![], |registered| registered.arguments.clone()),
            flags: flags(package, stack_bytes)?,
            features,
            native: None,
            name,
        })
    }
}

/// The features that an image is built with, and what those switch on.
fn enabled(package: &CargoPackage, features: &Features) -> Result<BTreeSet<String>, PackageError> {
    let known = |name: &&String| package.features.contains_key(*name);
    if let Some(feature) = features.names.iter().find(|name| !known(name)) {
        return Err(PackageError::NoFeature {
            package: package.name.to_string(),
            feature: feature.clone(),
            known: package.features.keys().cloned().collect(),
        });
    }
    let default = (!features.no_default).then_some("default");
    let names = features.names.iter().map(|name| &**name);
    let mut left: Vec<&str> = names.chain(default).collect();
    let mut enabled = BTreeSet::new();
    while let Some(feature) = left.pop() {
        if enabled.insert(feature.to_owned()) {
            let more = package.features.get(feature).into_iter().flatten();
            left.extend(more.map(|feature| &**feature));
        }
    }
    Ok(enabled)
}

fn flags(package: &CargoPackage, stack_bytes: Option<u64>) -> Result<u32, PackageError> {
    let settings = package.metadata.get("jiffy").map(Settings::deserialize);
    let settings = settings
        .transpose()
        .map_err(|source| PackageError::Settings {
            package: package.name.to_string(),
            source,
        })?;
    let place = "[package.metadata.jiffy] of Cargo.toml";
    settings
        .unwrap_or_default()
        .flags(&package.name, stack_bytes, place)
}

impl Settings {
    /// As the note of an image has them: with a stack of `stack_bytes`, if `[stack]` says so, or of what this says in `place`.
    fn flags(
        self,
        package: &str,
        stack_bytes: Option<u64>,
        place: &'static str,
    ) -> Result<u32, PackageError> {
        let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
        let flags = flag(self.precise_clock, note::FLAG_PRECISE_CLOCK)
            | flag(self.random_init, note::FLAG_RANDOM_INIT);
        let own = self.stack.as_deref().map(|stack| parse_size(stack).ok());
        let (wanted, stack) = match (own, stack_bytes, self.stack) {
            (None, None, _) => return Ok(flags),
            (Some(Some(own)), Some(bytes), Some(stack)) if own != bytes => {
                return Err(PackageError::TwoStacks {
                    package: package.into(),
                    stack,
                    other: place,
                    bytes,
                });
            }
            (own, bytes, stack) => (own.unwrap_or(bytes), stack.unwrap_or_default()),
        };
        let with_stack = wanted.and_then(|bytes| note::with_stack(flags, bytes));
        with_stack.ok_or_else(|| PackageError::Stack {
            package: package.into(),
            stack,
            place,
        })
    }
}

/// The function's lock file decides versions in its tests and in its image, so it has to exist
/// before the image is built.
fn make_lock(manifest: &Path, arguments: &[String]) -> Result<(), PackageError> {
    let mut child = Command::new(cargo_program())
        .arg("generate-lockfile")
        .args(arguments)
        .arg("--manifest-path")
        .arg(manifest)
        .current_dir(manifest.parent().unwrap_or(Path::new("/")))
        .stderr(progress())
        .spawn()
        .map_err(PackageError::Start)?;
    let said = pass_on(&mut child);
    let status = child.wait().map_err(PackageError::Start)?;
    end_of(said);
    if status.success() {
        return Ok(());
    }
    Err(PackageError::Lock {
        manifest: manifest.into(),
        status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate with this Cargo.toml; a dependency named `jiffy` at `sdk`.
    fn check(manifest: &str) -> Result<Package, PackageError> {
        check_all(manifest, "", "", &Features::default())
    }

    fn check_all(
        manifest: &str,
        source: &str,
        jiffy_toml: &str,
        features: &Features,
    ) -> Result<Package, PackageError> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let write = |path: &str, content: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("in the folder")).expect("folder");
            fs::write(path, content).expect("write");
        };
        write(
            "sdk/Cargo.toml",
            "[package]\nname = \"jiffy\"\nedition = \"2024\"\n",
        );
        write("sdk/src/lib.rs", "");
        write("f/Cargo.toml", manifest);
        write("f/src/lib.rs", source);
        write("f/jiffy.toml", jiffy_toml);
        find(&folder.path().join("f/src"), features)
    }

    const GOOD: &str = "[package]\nname = \"hello-you\"\nversion = \"1.2.3\"\nedition = \"2024\"\n\
                        [workspace]\n[dependencies]\njiffy = { path = \"../sdk\" }\n";

    #[test]
    fn a_function_is_found_from_within() {
        let package = check(GOOD).expect("good");
        assert_eq!((&*package.name, &*package.version), ("hello-you", "1.2.3"));
        assert_eq!((&*package.crate_name, package.flags), ("hello_you", 0));
        assert!(package.root.ends_with("f") && package.sdk.ends_with("sdk"));
        assert_eq!(package.workspace_root, package.root);
        assert!(package.std);
    }

    #[test]
    fn panics_unwind_where_they_can() {
        let build = |source: &str, jiffy_toml: &str| {
            check_all(GOOD, source, jiffy_toml, &Features::default())
        };
        let usual = build("", "").expect("good");
        assert_eq!(usual.panic, Panic::Abort);
        let unwinds = build("", "panic = \"unwind\"").expect("good");
        assert_eq!(unwinds.panic, Panic::Unwind);
        let error = build("#![no_std]", "panic = \"unwind\"").expect_err("no std");
        assert!(matches!(error, PackageError::NoStdUnwind(_)), "{error}");
        build("#![no_std]", "panic = \"abort\"").expect("as ever");
        let native = "name = \"f\"\npanic = \"unwind\"\n[function]\nlang = \"c\"\n";
        let error = build("", native).expect_err("not Rust");
        assert!(matches!(error, PackageError::NativeUnwind(_)), "{error}");
    }

    #[test]
    fn the_sdk_is_asked_for_by_version_and_registry() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        fs::create_dir(root.join("src")).expect("folder");
        fs::write(root.join("src/lib.rs"), "").expect("written");
        fs::write(root.join("Cargo.lock"), "version = 4\n").expect("written");
        let with = |dependency: &str| {
            let manifest = GOOD.replace("{ path = \"../sdk\" }", dependency);
            fs::write(root.join("Cargo.toml"), manifest).expect("written");
            find(root, &Features::default())
        };
        let package = with("{ version = \"0.1\", registry = \"jiffy\" }").expect("good");
        let own = sdk::sdk(None).expect("this is a checkout");
        assert_eq!(package.sdk, own);
        let arguments = registry::arguments(&own).expect("UTF-8");
        assert_eq!(package.cargo_arguments, arguments);
        assert!(check(GOOD).expect("good").cargo_arguments.is_empty());
        let other = with("{ version = \"7.8\", registry = \"jiffy\" }").expect_err("another");
        let said = other.to_string();
        let parts = [
            "^7.8",
            "is 0.1.0",
            "JIFFY_SDK",
            own.to_str().expect("UTF-8"),
        ];
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
        // Somebody else's crate, and one of nobody.
        for (dependency, from) in [
            ("\"0.1\"", "from crates.io,"),
            (
                "{ git = \"https://jiffy.invalid/\" }",
                "from git+https://jiffy.invalid/,",
            ),
        ] {
            let said = with(dependency).expect_err("not the SDK").to_string();
            let is_told = said.contains(from) && said.contains("registry = \"jiffy\"");
            assert!(is_told, "{said}");
        }
    }

    #[test]
    fn cargo_is_told_only_where_somebody_asks() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path().canonicalize().expect("a path");
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("within")).expect("folder");
            fs::write(path, text).expect("written");
        };
        write(
            "Cargo.toml",
            "[workspace]\nmembers = [\"a\"]\nresolver = \"3\"\n",
        );
        write("a/src/lib.rs", "");
        let package =
            "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\n";
        write("a/Cargo.toml", package);
        let refused = dependency::link(&root, None).expect_err("nobody asks");
        assert!(matches!(refused, PackageError::NotAsked(_)), "{refused}");
        let asks = format!("{package}jiffy = {{ version = \"0.1\", registry = \"jiffy\" }}\n");
        write("a/Cargo.toml", &asks);
        // From the workspace and from within: what is written lies beside the lock file.
        for path in ["", "a/src"] {
            let linked = dependency::link(&root.join(path), None).expect("linked");
            assert_eq!((&linked.root, linked.link), (&root, registry::Link::Whole));
            fs::remove_dir_all(root.join(".cargo")).expect("written there");
        }
        write("a/Cargo.toml", &asks.replace("0.1\"", "7\""));
        let refused = dependency::link(&root, None).expect_err("another version");
        assert!(
            matches!(refused, PackageError::SdkVersion { .. }),
            "{refused}"
        );
        write("c/jiffy.toml", "[function]\nlang = \"c\"\n");
        let refused = dependency::link(&root.join("c"), None).expect_err("not Rust");
        assert!(matches!(refused, PackageError::NotAsked(_)), "{refused}");
    }

    #[test]
    fn features_are_those_by_default_and_those_that_are_named() {
        let features =
            format!("{GOOD}[features]\ndefault = [\"a\"]\na = [\"b\"]\nb = []\nc = []\n");
        let source = |feature| format!("#![cfg_attr(feature = {feature:?}, no_std)]");
        let names = |names: &[&str], no_default| Features {
            names: names.iter().map(ToString::to_string).collect(),
            no_default,
        };
        let build = |feature, jiffy_toml, flags: Features| {
            check_all(&features, &source(feature), jiffy_toml, &flags)
        };
        for (feature, jiffy_toml, flags, std) in [
            ("b", "", names(&[], false), false),
            ("c", "", names(&[], false), true),
            ("c", "", names(&["c"], false), false),
            ("c", "features = [\"c\"]", names(&[], false), false),
            ("c", "features = [\"c\"]", names(&["a"], true), false),
            ("b", "features = [\"a\"]", names(&[], true), false),
            ("b", "default-features = false", names(&["c"], false), true),
            ("b", "", names(&[], true), true),
        ] {
            let package = build(feature, jiffy_toml, flags.clone()).expect("good");
            assert_eq!(package.std, std, "{feature}, {jiffy_toml:?}, {flags:?}");
        }
        let both = build("c", "features = [\"c\"]", names(&["a"], true)).expect("good");
        assert_eq!(both.features, names(&["c", "a"], true));
        let error = build("c", "features = [\"d\"]", names(&[], false)).expect_err("unknown");
        let said = error.to_string();
        assert!(
            said.contains("\"d\"") && said.contains("must be one of a, b, c, default"),
            "{said}"
        );
        let none = check_all(GOOD, "", "", &names(&["d/std"], false)).expect_err("unknown");
        assert!(none.to_string().ends_with("it has none"), "{none}");
    }

    #[test]
    fn a_stack_is_said_in_one_place_or_the_same_in_both() {
        let usual = Features::default();
        let stack = |jiffy_toml: &str, metadata: &str| {
            let manifest = format!("{GOOD}[package.metadata.jiffy]\n{metadata}\n");
            let package = check_all(&manifest, "", jiffy_toml, &usual)?;
            Ok(note::stack_bytes(package.flags))
        };
        let mib_8 = "[stack]\nbytes = \"8MiB\"\n";
        let bytes = |stack: Result<_, PackageError>| stack.expect("good");
        assert_eq!(bytes(stack(mib_8, "")), Some(8 << 20));
        assert_eq!(bytes(stack(mib_8, "stack = \"8M\"")), Some(8 << 20));
        assert_eq!(bytes(stack("", "stack = \"4M\"")), Some(4 << 20));
        let said = stack(mib_8, "stack = \"4M\"").expect_err("two").to_string();
        for part in [
            "\"4M\"",
            "[package.metadata.jiffy] of Cargo.toml",
            "[stack] of jiffy.toml",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(stack(mib_8, "stack = \"1\"").is_err(), "both are checked");
    }

    #[test]
    fn settings_become_flags_and_unknown_ones_are_refused() {
        let with = |settings: &str| check(&format!("{GOOD}[package.metadata.jiffy]\n{settings}\n"));
        assert_eq!(
            with("precise-clock = true").expect("good").flags,
            note::FLAG_PRECISE_CLOCK
        );
        assert_eq!(
            with("precise-clock = true\nrandom-init = true")
                .expect("good")
                .flags,
            3
        );
        assert_eq!(with("random-init = false").expect("good").flags, 0);
        let stack = |size: &str| with(&format!("random-init = true\nstack = {size:?}"));
        let flags = stack("8M").expect("good").flags;
        assert_eq!((note::stack_bytes(flags), flags & 3), (Some(8 << 20), 2));
        assert_eq!(stack("768K").expect("the default").flags, 2);
        for bad in ["0", "767K", "100M1", "2G", "1000001", "", "many"] {
            let error = stack(bad).expect_err("refused").to_string();
            assert!(error.contains("768K to 1G"), "{bad}: {error}");
        }
        assert!(matches!(
            with("precise_clock = true"),
            Err(PackageError::Settings { .. })
        ));
        assert!(matches!(
            with("random-init = 1"),
            Err(PackageError::Settings { .. })
        ));
    }

    #[test]
    fn a_function_in_c_is_found_from_within() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path().join("sums");
        fs::create_dir_all(root.join("src")).expect("folder");
        let find_with = |manifest: &str| {
            fs::write(root.join("jiffy.toml"), manifest).expect("write");
            find(&root.join("src"), &Features::default())
        };
        let package = find_with("memory = \"32M\"\n[function]\nlang = \"c\"\nstack = \"8M\"\n")
            .expect("good");
        assert_eq!((&*package.name, &*package.version), ("sums", "0.1.0"));
        assert_eq!(note::stack_bytes(package.flags), Some(8 << 20));
        assert!(package.std && package.native.is_some() && package.root.ends_with("sums"));
        let named = "name = \"other\"\n[function]\nlang = \"c++\"\nversion = \"1.2.3\"\n";
        let package = find_with(named).expect("good");
        assert_eq!((&*package.name, &*package.version), ("other", "1.2.3"));
        let refused = |manifest: &str| find_with(manifest).expect_err(manifest).to_string();
        assert!(refused("[function]\nlang = \"c\"\nversion = \"one\"\n").contains("\"one\""));
        assert!(refused("name = \"1\"\n[function]\nlang = \"c\"\n").contains("a letter first"));
        assert!(refused("[function]\nlang = \"c\"\nstack = \"1\"\n").contains("768K to 1G"));
        let stacks = refused("[stack]\nbytes = \"1M\"\n[function]\nlang = \"c\"\nstack = \"8M\"\n");
        assert!(stacks.contains("[function] of jiffy.toml"), "{stacks}");
        let package =
            find_with("[stack]\nbytes = \"1M\"\n[function]\nlang = \"c\"\n").expect("good");
        assert_eq!(note::stack_bytes(package.flags), Some(1 << 20));
        let features = refused("features = [\"a\"]\n[function]\nlang = \"c\"\n");
        assert!(
            features.contains("is not Rust, and has no features"),
            "{features}"
        );
        for bad in ["lang = \"pascal\"", "", "lang = \"c\"\nsource = \"x\""] {
            let error = find_with(&format!("[function]\n{bad}\n")).expect_err(bad);
            assert!(matches!(error, PackageError::Manifest(_)), "{error}");
        }
        // A crate within is itself.
        fs::write(root.join("src/Cargo.toml"), "[package").expect("write");
        let error = find_with("[function]\nlang = \"c\"\n").expect_err("no crate");
        assert!(matches!(error, PackageError::Metadata { .. }));
    }

    #[test]
    fn what_is_missing_is_named() {
        let no_sdk = GOOD.replace("jiffy = { path = \"../sdk\" }", "");
        assert!(matches!(check(&no_sdk), Err(PackageError::NoSdk(name)) if name == "hello-you"));
        let no_library = GOOD.replace("[workspace]", "autolib = false\n[workspace]");
        let no_library = format!("{no_library}[[bin]]\nname = \"x\"\npath = \"src/lib.rs\"\n");
        assert!(matches!(
            check(&no_library),
            Err(PackageError::NoLibrary(_))
        ));
        assert!(matches!(
            check("[package"),
            Err(PackageError::Metadata { .. })
        ));
        let workspace = "[workspace]\nmembers = []\n";
        assert!(matches!(
            check(workspace),
            Err(PackageError::Workspace { .. })
        ));
        let long = GOOD.replace("hello-you", &"x".repeat(65));
        assert!(matches!(
            check(&long),
            Err(PackageError::NameTooLong { .. })
        ));
        let nowhere = find(Path::new("/nonexistent"), &Features::default());
        assert!(matches!(nowhere, Err(PackageError::NoPath(_))));
    }
}
