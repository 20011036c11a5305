//! Drives cargo: flags that make an image, and an environment without anybody else's.

use std::{
    env,
    ffi::{OsStr, OsString},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
};

use cargo_metadata::MetadataCommand;
use jiffy_abi::{
    layout::{STACK, STACK_BYTES_DEFAULT},
    note::stack_bytes,
};
use jiffy_console::stderr;
use jiffy_symbols::{LIBRARY, REGISTRY};

use super::{
    Profile,
    native::STACK_CHECKED,
    package::{Package, read_with},
    said::{Said, listen},
    uses_std::{self, UsesStd},
    wrapper::Wrapper,
};
use crate::manifest::Panic;

/// The host's own target. Naming it keeps the flags away from build scripts and proc macros.
pub(super) const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What a function in C defines.
const NATIVE_HANDLER: &str = "jiffy_handle";

/// What build scripts compile C with for this target, beside flags of their own.
const C_FLAGS: [&str; 2] = [
    "CFLAGS_x86_64_unknown_linux_gnu",
    "CXXFLAGS_x86_64_unknown_linux_gnu",
];

/// Names a folder for what cargo makes on the way, which several builds may share.
const BUILD_DIR: &str = "CARGO_BUILD_BUILD_DIR";

/// Why cargo built nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CargoError {
    #[error("cannot start cargo: install Rust from https://rustup.rs, or set CARGO")]
    Start(#[source] io::Error),
    #[error(
        "package {0} has no handler: put `#[jiffy::function]` on a public function in its src/lib.rs"
    )]
    NoHandler(String),
    #[error(
        "package {0} has no handler: define `int jiffy_handle(const jiffy_request *, jiffy_response *)`, as jiffy.h declares it"
    )]
    NoNativeHandler(String),
    #[error("package {package} does not build ({status}): the messages above say why")]
    Failed { package: String, status: ExitStatus },
    #[error(
        "package {package} calls what no image has: {}; jiffy-libc has the C symbols that std needs for what docs/std.md lists",
        .symbols.join(", ")
    )]
    Missing {
        package: String,
        symbols: Vec<String>,
    },
    #[error(
        "package {package} asks for libraries that are not there to be linked: {}; an image has no C++ library and loads none, and the crate that asks may have a feature for a static one, such as `vendored`, `bundled` or `static`",
        .libraries.join(", ")
    )]
    NoLibrary {
        package: String,
        libraries: Vec<String>,
    },
    #[error(
        "a dependency of package {package} uses std, but its src/lib.rs says `no_std`: leave that out, or switch the dependency's feature `std` off{}",
        .which.as_ref().map(|which| format!("; {which}")).unwrap_or_default()
    )]
    StdInNoStd {
        package: String,
        which: Option<Box<UsesStd>>,
    },
    #[error(
        "package {package} has `#[jiffy::{attribute}]` twice, again at {place}: leave one; another function is another package"
    )]
    Twice {
        package: String,
        attribute: &'static str,
        place: String,
    },
    #[error(
        "package {package} does not build ({status}): it is `no_std`, where `String`, `Vec`, `vec!` and `format!` have to be asked for; write `use jiffy::prelude::*;`, or `extern crate alloc;` and `use alloc::{{string::String, vec::Vec}};`"
    )]
    NoAlloc { package: String, status: ExitStatus },
    #[error("cargo named no program for package {0}: this is a bug of jiffy's")]
    NoProgram(String),
}

/// The cargo that called us, or the one on the path.
pub(crate) fn cargo_program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Builds the wrapper crate and returns the path of its program. Progress and messages go to
/// standard error as cargo shows them.
pub(crate) fn build(
    package: &Package,
    wrapper: &Wrapper,
    profile: Profile,
) -> Result<PathBuf, CargoError> {
    let colour = if stderr().is_terminal() {
        ",json-diagnostic-rendered-ansi"
    } else {
        ""
    };
    let mut command = Command::new(cargo_program());
    command
        .arg("rustc")
        .args(&package.cargo_arguments)
        .arg("--manifest-path")
        .arg(&wrapper.manifest)
        .arg("--target-dir")
        // Shared by the packages of a workspace; no package's name begins with a dot.
        .arg(package.jiffy_dir().join(match package.panic {
            Panic::Abort => ".cargo",
            // Of other flags.
            Panic::Unwind => ".cargo-unwind",
        }))
        .args(["--target", TARGET])
        .arg(format!("--message-format=json{colour}"))
        // Where the function's own configuration and toolchain file are found.
        .current_dir(&package.root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(progress());
    if profile == Profile::Release {
        command.arg("--release");
    }
    command.arg("--").args(program_flags(package, wrapper));
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_build_setting))
    {
        command.env_remove(name);
    }
    let flags = encoded_flags(package);
    let c_flags = c_flags(&remapped(package));
    if let Some(shared) = env::var_os(BUILD_DIR) {
        let mut all = flags.clone();
        all.push(&c_flags);
        command.env(BUILD_DIR, build_dir(Path::new(&shared), &all));
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", flags);
    for variable in C_FLAGS {
        let mut flags = c_flags.clone();
        // The caller's come last, and win.
        flags.extend(
            env::var_os(variable)
                .iter()
                .flat_map(|theirs| [" ".as_ref(), &**theirs]),
        );
        command.env(variable, flags);
    }
    let mut child = command.spawn().map_err(CargoError::Start)?;
    let progress = pass_on(&mut child);
    let said = child
        .stdout
        .take()
        .map(|said| listen(BufReader::new(said), &wrapper.name, &package.crate_name));
    let status = child.wait().map_err(CargoError::Start)?;
    end_of(progress);
    let said = said.unwrap_or_default();
    if said.handler_is_missing {
        return Err(CargoError::NoHandler(package.name.clone()));
    }
    match (status.success(), said.program.clone()) {
        (true, Some(program)) => Ok(program),
        (true, None) => Err(CargoError::NoProgram(package.name.clone())),
        (false, _) => Err(failure(package, wrapper, said, status)),
    }
}

/// Why cargo failed, in the words of the author's crate.
fn failure(package: &Package, wrapper: &Wrapper, said: Said, status: ExitStatus) -> CargoError {
    let name = package.name.clone();
    if let Some((attribute, place)) = said.twice {
        let within = Path::new(&place).strip_prefix(&package.root);
        return CargoError::Twice {
            package: name,
            attribute,
            place: within.map_or(place.clone(), |within| within.display().to_string()),
        };
    }
    if said.std_is_twice && !package.std {
        let library = said.brings_std.as_deref();
        return CargoError::StdInNoStd {
            which: library
                .and_then(|library| brings_std(package, wrapper, library))
                .map(Box::new),
            package: name,
        };
    }
    if said.alloc_is_missing && !package.std {
        return CargoError::NoAlloc {
            package: name,
            status,
        };
    }
    if package.native.is_some() && said.missing.contains(NATIVE_HANDLER) {
        return CargoError::NoNativeHandler(name);
    }
    if !said.missing_libraries.is_empty() {
        return CargoError::NoLibrary {
            package: name,
            libraries: said.missing_libraries.into_iter().collect(),
        };
    }
    if !said.missing.is_empty() {
        return CargoError::Missing {
            package: name,
            symbols: said.missing.into_iter().collect(),
        };
    }
    CargoError::Failed {
        package: name,
        status,
    }
}

/// What cargo knows of the dependency that brings `std`, with the features that the image has.
fn brings_std(package: &Package, wrapper: &Wrapper, library: &str) -> Option<UsesStd> {
    let mut options = package.cargo_arguments.clone();
    options.extend(["--filter-platform", TARGET, "--offline"].map(String::from));
    let metadata = read_with(&wrapper.manifest, &mut MetadataCommand::new(), &options);
    uses_std::find(&metadata.ok()?, &package.root, library)
}

/// Where cargo's own words go. On a terminal they are its own, with colours and a bar; elsewhere they pass through
/// this process, because cargo fails when it cannot write.
pub(super) fn progress() -> Stdio {
    match stderr().is_terminal() {
        true => Stdio::inherit(),
        false => Stdio::piped(),
    }
}

/// Begins to pass on what a child with [`progress`] says.
pub(super) fn pass_on(child: &mut Child) -> Option<JoinHandle<()>> {
    let mut said = child.stderr.take()?;
    Some(thread::spawn(move || {
        // Ends with the child, or with whoever else holds the pipe.
        let _ = io::copy(&mut said, &mut stderr());
    }))
}

/// Waits until all of it was passed on.
pub(super) fn end_of(progress: Option<JoinHandle<()>>) {
    let _ = progress.map(JoinHandle::join); // It only prints.
}

/// Whether an environment variable would change what is built. How it is built (`CARGO_BUILD_JOBS`,
/// `CARGO_HOME`, `RUSTC_WRAPPER`, proxies) is the caller's business.
fn is_build_setting(name: &str) -> bool {
    const NAMES: [&str; 4] = [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_INCREMENTAL",
        "RUSTC_WORKSPACE_WRAPPER",
    ];
    const PREFIXES: [&str; 3] = ["CARGO_BUILD_", "CARGO_TARGET_", "CARGO_PROFILE_"];
    let is_setting = NAMES.contains(&name) || PREFIXES.iter().any(|start| name.starts_with(start));
    // These two change what it takes, and not what comes out.
    is_setting && !["CARGO_BUILD_JOBS", BUILD_DIR].contains(&name)
}

/// Flags of all crates, the same for all functions that lie side by side: with others, cargo builds anew what they depend on.
fn encoded_flags(package: &Package) -> OsString {
    let mut flags: Vec<OsString> = [
        match package.panic {
            Panic::Abort => "-Cpanic=abort",
            Panic::Unwind => "-Cpanic=unwind",
        },
        "-Clinker=rust-lld",
        "-Clinker-flavor=ld.lld",
        "-Crelocation-model=static",
        "-Ctarget-feature=+crt-static",
        "-Cforce-frame-pointers=yes",
        "--cfg=jiffy_guest",
        "--check-cfg=cfg(jiffy_guest)",
        // The library OS has it: `unikernel/rt/src/entropy.rs`.
        "--cfg=getrandom_backend=\"custom\"",
        // The crate `rustix` then calls C functions, which are there, instead of a kernel, which is not.
        "--cfg=rustix_use_libc",
        "-Clink-arg=-znostart-stop-gc",
        // A VMM copies segments and maps none, so they need no alignment in the file.
        "-Clink-arg=-zmax-page-size=64",
        "-Clink-arg=-zcommon-page-size=64",
    ]
    .map(OsString::from)
    .into();
    // Programs hold no paths of this machine. Symbols have a number in which cargo counts the folders of function and SDK, so
    // that images of two places are alike and not the same. Messages of the compiler keep the paths, for editors to follow. The
    // last prefix that fits wins.
    flags.push("--remap-path-scope=object".into());
    for (path, name) in remapped(package) {
        flags.push(with_path(
            "--remap-path-prefix=",
            &path,
            &format!("=/{name}"),
        ));
    }
    flags.join("\u{1f}".as_ref())
}

/// Flags of C in crates, whose build scripts compile it: frames that a backtrace can follow, a stack whose end is found, and no
/// path of this machine.
/// A path with a space is left as it is, because these flags are words.
fn c_flags(remapped: &[(PathBuf, &str)]) -> OsString {
    let mut flags = OsString::from("-fno-omit-frame-pointer ");
    flags.push(STACK_CHECKED);
    let has_space = |path: &Path| path.as_os_str().as_encoded_bytes().contains(&b' ');
    for (path, name) in remapped.iter().filter(|(path, _)| !has_space(path)) {
        flags.push(with_path(" -ffile-prefix-map=", path, &format!("=/{name}")));
    }
    flags
}

/// Flags of the program alone.
fn program_flags(package: &Package, wrapper: &Wrapper) -> Vec<OsString> {
    let mut flags = Vec::new();
    // A larger stack ends where the image begins. Before the script, which asks for it.
    if let Some(bytes) = stack_bytes(package.flags)
        && bytes != STACK_BYTES_DEFAULT
    {
        let address = STACK + bytes;
        flags.push(format!("-Clink-arg=--defsym=__jiffy_image={address:#x}").into());
    }
    for script in &wrapper.linker_scripts {
        flags.push(with_path("-Clink-arg=-T", script, ""));
    }
    if let Some(libraries) = &wrapper.libraries {
        flags.push(with_path("-Lnative=", libraries, ""));
    }
    let objects = wrapper.objects.iter();
    flags.extend(objects.map(|object| with_path("-Clink-arg=", object, "")));
    flags
}

fn with_path(start: &str, path: &Path, end: &str) -> OsString {
    let mut flag = OsString::from(start);
    flag.push(path);
    flag.push(end);
    flag
}

/// The part of a shared folder that is for builds with these flags: cargo finds what it built by name and version, and builds it
/// anew if it was with other flags.
fn build_dir(shared: &Path, flags: &OsStr) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    flags.hash(&mut hasher);
    shared.join(format!("jiffy-{:016x}", hasher.finish()))
}

/// Folders and what programs call them. `jiffy-symbols` makes them readable again. All names are
/// absolute, because a relative one would be taken as relative to whatever crate it is inlined in.
fn remapped(package: &Package) -> Vec<(PathBuf, &str)> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let library = package.sdk.parent().unwrap_or(&package.sdk);
    let mut remapped = vec![(package.workspace_root.clone(), "workspace")];
    let own = match shared_folder(package) {
        Some(folder) => (folder.to_owned(), ""),
        None => (package.root.clone(), &*package.name),
    };
    if package.workspace_root.starts_with(&own.0) {
        remapped.clear();
    }
    remapped.push(own);
    remapped.extend(home.map(|home| (home.join("registry/src"), REGISTRY)));
    remapped.push((library.to_owned(), LIBRARY));
    remapped
}

/// The folder that a package shares with its neighbours, of its workspace or each alone, if its own there has its name.
/// Leaving out that one then names the package as it should be, and with the same flags for all of them cargo builds
/// once what they depend on, if they build in one place, instead of anew whenever another one is built.
fn shared_folder(package: &Package) -> Option<&Path> {
    let parent = package.root.parent()?;
    let is_alone = package.root == package.workspace_root;
    let is_shared = (is_alone || parent.starts_with(&package.workspace_root))
        && package.root.file_name()? == package.name.as_str();
    is_shared.then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_others_are_kept_out() {
        for name in [
            "RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_DIR",
        ] {
            assert!(is_build_setting(name), "{name}");
        }
        for name in [
            "PATH",
            "CARGO_HOME",
            "CARGO_BUILD_JOBS",
            "CARGO_BUILD_BUILD_DIR",
            "RUSTUP_TOOLCHAIN",
            "CARGO_NET_OFFLINE",
        ] {
            assert!(!is_build_setting(name), "{name}");
        }
    }

    #[test]
    fn c_in_crates_is_compiled_without_paths_of_this_machine() {
        let remapped = [("/home/a/w".into(), "a"), ("/home/b c".into(), "b")];
        let flags = c_flags(&remapped);
        let flags: Vec<&str> = flags.to_str().expect("text").split(' ').collect();
        assert_eq!(
            flags,
            [
                "-fno-omit-frame-pointer",
                STACK_CHECKED,
                "-ffile-prefix-map=/home/a/w=/a"
            ]
        );
    }

    #[test]
    fn builds_with_other_flags_do_not_meet() {
        let of = |flags: &str| build_dir(Path::new("/shared"), flags.as_ref());
        assert_eq!(of("-a"), of("-a"));
        assert_ne!(of("-a"), of("-b"));
        assert!(of("-a").starts_with("/shared"));
    }

    /// What `remapped` does to a file of a package.
    fn named(package: &Package, file: &str) -> String {
        let remapped = remapped(package);
        let found = remapped.iter().rev().find_map(|(path, name)| {
            let rest = Path::new(file).strip_prefix(path).ok()?;
            Some(Path::new("/").join(name).join(rest))
        });
        found.expect("a name").display().to_string()
    }

    #[test]
    fn a_file_is_named_after_its_package_with_the_same_flags_for_neighbours() {
        let package = |name: &str, root: &str, workspace_root: &str| Package {
            name: name.into(),
            version: "1.2.3".into(),
            crate_name: name.into(),
            root: root.into(),
            workspace_root: workspace_root.into(),
            target_dir: "/w/target".into(),
            sdk: "/w/unikernel/sdk".into(),
            ..Package::default()
        };
        let neighbours = [
            package("a", "/w/functions/a", "/w"),
            package("b", "/w/functions/b", "/w"),
        ];
        assert_eq!(remapped(&neighbours[0]), remapped(&neighbours[1]));
        assert_eq!(
            named(&neighbours[0], "/w/functions/a/src/lib.rs"),
            "/a/src/lib.rs"
        );
        assert_eq!(
            named(&neighbours[0], "/w/shared/src/lib.rs"),
            "/workspace/shared/src/lib.rs"
        );
        assert_eq!(
            named(&neighbours[0], "/w/unikernel/rt/src/lib.rs"),
            "/jiffy/rt/src/lib.rs"
        );
        let alone = [
            package("a", "/alone/a", "/alone/a"),
            package("b", "/alone/b", "/alone/b"),
        ];
        assert_eq!(remapped(&alone[0]), remapped(&alone[1]));
        let elsewhere = [
            package("a", "/w/functions/another-name", "/w"),
            package("a", "/alone/a", "/alone/a"),
            package("a", "/alone/another-name", "/alone/another-name"),
        ];
        for package in elsewhere {
            let file = package.root.join("src/lib.rs");
            assert_eq!(
                named(&package, file.to_str().expect("UTF-8")),
                "/a/src/lib.rs"
            );
        }
    }
}
