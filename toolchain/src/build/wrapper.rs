//! The wrapper crate: a program made of the function, the SDK and, through it, the library OS.
//!
//! It lives in `target/jiffy/<package>/`. Files are written only if their content changes, so that
//! cargo finds an unchanged crate unchanged.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{
    files::{Files, FilesError, table as files_table},
    native::Objects,
    package::Package,
};
use crate::manifest::{Features, Panic};

/// Optimisation of release images. Beside `s`, it makes `primes` 1.15 and `markdown` 1.3 times as
/// fast and `hello` 90 KiB instead of 60; `3` makes images larger and none of them faster.
const OPT_LEVEL: i64 = 2;
/// The libraries of a Linux system that `std` and the crate `libc` name. Their symbols are in `jiffy-libc`.
pub(super) const SYSTEM_LIBRARIES: [&str; 9] = [
    "c", "dl", "gcc", "gcc_eh", "gcc_s", "m", "pthread", "rt", "util",
];
/// An archive with nothing in it.
const EMPTY_ARCHIVE: &[u8] = b"!<arch>\n";
/// The crate with which the SDK's serde_json prints floats.
const FLOAT_PRINTER: &str = "zmij";

/// The function crate of every function in C.
const NATIVE: &str = "jiffy-c";

/// Why there is no wrapper crate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WrapperError {
    #[error(
        "invalid path {0} of `jiffy` in Cargo.toml: must be the jiffy SDK, with its library OS beside it"
    )]
    NoLibraryOs(PathBuf),
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the path {0} is not UTF-8, which Cargo.toml needs: move the crate")]
    NotUtf8(PathBuf),
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// A generated wrapper crate.
#[derive(Debug)]
pub(crate) struct Wrapper {
    /// Its Cargo.toml.
    pub(crate) manifest: PathBuf,
    /// Its package's name, and its program's.
    pub(crate) name: String,
    /// The linker script; before it what names sections first, and so has them.
    pub(crate) linker_scripts: Vec<PathBuf>,
    /// Where the linker looks for system libraries, if `std` asks for some.
    pub(crate) libraries: Option<PathBuf>,
    /// What is linked beside crates: objects and libraries of a function in C.
    pub(crate) objects: Vec<PathBuf>,
}

/// Writes the wrapper crate of `package`.
pub(super) fn generate(
    package: &Package,
    objects: Objects,
    files: &Files,
) -> Result<Wrapper, WrapperError> {
    let mut linker_scripts = vec![];
    let script = match package.std {
        true => "image-std.ld",
        false => "image.ld",
    };
    let unwinds = package.panic == Panic::Unwind;
    for script in unwinds.then_some("unwind.ld").into_iter().chain([script]) {
        let script = package.sdk.join("../rt").join(script).canonicalize();
        linker_scripts.push(script.map_err(|_| WrapperError::NoLibraryOs(package.sdk.clone()))?);
    }
    let folder = package.jiffy_dir().join(&package.name);
    let name = format!("{}-image", package.name);
    let manifest = folder.join("Cargo.toml");
    write_if_changed(&manifest, manifest_text(package, &name)?.as_bytes())?;
    let main = main_text(package, &linker_scripts, objects.fingerprint, files)?;
    write_if_changed(&folder.join("src/main.rs"), main.as_bytes())?;
    copy_lock(&package.lock_file(), &folder)?;
    let libraries = package.std.then(|| folder.join("libraries"));
    if let Some(libraries) = &libraries {
        for name in SYSTEM_LIBRARIES {
            write_if_changed(&libraries.join(format!("lib{name}.a")), EMPTY_ARCHIVE)?;
        }
    }
    Ok(Wrapper {
        manifest,
        name,
        linker_scripts,
        libraries,
        objects: objects.files,
    })
}

fn manifest_text(package: &Package, name: &str) -> Result<String, WrapperError> {
    let dependency =
        |path: &Path| -> Result<Value, WrapperError> { Ok(table([("path", utf8(path)?.into())])) };
    let profile = |optimisation: i64, lto: Value, units: i64| {
        entries([
            ("opt-level", optimisation.into()),
            ("lto", lto),
            ("codegen-units", units.into()),
            (
                "panic",
                match package.panic {
                    Panic::Abort => "abort".into(),
                    Panic::Unwind => "unwind".into(),
                },
            ),
            // Lines, and functions with their paths, for backtraces; none of it is loaded.
            ("debug", "limited".into()),
        ])
    };
    let dev = profile(1, false.into(), 16);
    let mut release = profile(OPT_LEVEL, "fat".into(), 1);
    // What prints floats for serde_json has tables of 18 KiB in every image, and small ones if size is what counts.
    let small = table([(FLOAT_PRINTER, table([("opt-level", "s".into())]))]);
    release.insert("package".into(), small);
    let beside = |name: &str| {
        let path = package.sdk.join("..").join(name);
        let path = path.canonicalize();
        path.map_err(|_| WrapperError::NoLibraryOs(package.sdk.clone()))
    };
    let function = match package.native {
        // What calls a handler in C.
        Some(_) => (NATIVE, dependency(&beside("c")?)?),
        None => (&*package.name, function(package)?),
    };
    let mut dependencies = entries([function, ("jiffy", dependency(&package.sdk)?)]);
    if package.std {
        let mut libc = entries([("path", utf8(&beside("libc")?)?.into())]);
        if package.panic == Panic::Unwind {
            libc.insert("features".into(), vec!["unwind"].into());
        }
        dependencies.insert("jiffy-libc".into(), libc.into());
    }
    let manifest = entries([
        (
            "package",
            table([
                ("name", name.into()),
                ("version", "0.0.0".into()),
                ("edition", "2024".into()),
                ("publish", false.into()),
            ]),
        ),
        ("dependencies", Value::Table(dependencies)),
        (
            "profile",
            table([
                ("release", release.into()),
                // Unoptimised Rust needs several times the stack, and a guest has 1 MiB of it.
                ("dev", dev.into()),
            ]),
        ),
        ("workspace", table([])),
    ]);
    Ok(format!(
        "# Written by `jiffy build`; changes are lost.\n{manifest}"
    ))
}

/// The function's crate, as a dependency with its features.
fn function(package: &Package) -> Result<Value, WrapperError> {
    let mut function = entries([("path", utf8(&package.root)?.into())]);
    let Features { names, no_default } = &package.features;
    if !names.is_empty() {
        function.insert("features".into(), names.clone().into());
    }
    if *no_default {
        function.insert("default-features".into(), false.into());
    }
    Ok(function.into())
}

fn entries<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn table<const N: usize>(of: [(&str, Value); N]) -> Value {
    Value::Table(entries(of))
}

fn main_text(
    package: &Package,
    linker_scripts: &[PathBuf],
    objects: u64,
    files: &Files,
) -> Result<String, WrapperError> {
    let Package {
        name,
        version,
        crate_name,
        flags,
        ..
    } = package;
    let (no_std, std) = match package.std {
        true => ("", ", std: jiffy_libc"),
        false => ("#![no_std]\n", ""),
    };
    // Nor does it look at objects.
    let objects = match package.native {
        Some(_) => format!("const _: u64 = {objects:#x}; // Of what is linked beside crates.\n"),
        None => String::new(),
    };
    let mut scripts = String::new();
    for script in linker_scripts {
        scripts += &format!("const _: &[u8] = include_bytes!({:?});\n", utf8(script)?);
    }
    let (files, of_files) = match files.is_empty() {
        true => (String::new(), ""),
        false => (files_table(files)?, ", files: FILES"),
    };
    Ok(format!(
        "//! Written by `jiffy build`; changes are lost.\n\
         {no_std}\
         #![no_main]\n\
         \n\
         // Cargo does not look at linker scripts: this makes it link again when the script changes.\n\
         {scripts}\
         {objects}\
         {files}\
         \n\
         jiffy::image! {{ function: {crate_name}, name: {name:?}, version: {version:?}, flags: {flags}{std}{of_files} }}\n"
    ))
}

/// Gives the wrapper the function's versions. Cargo then adds the wrapper itself to its copy, so
/// what was copied is kept beside it, and a copy is made only when the function's file changed.
fn copy_lock(lock: &Path, folder: &Path) -> Result<(), WrapperError> {
    let read = |source| WrapperError::Read {
        path: lock.into(),
        source,
    };
    let content = fs::read(lock).map_err(read)?;
    let (copy, seen) = (folder.join("Cargo.lock"), folder.join("function.lock"));
    if copy.exists() && fs::read(&seen).is_ok_and(|seen| seen == content) {
        return Ok(());
    }
    write_if_changed(&copy, &content)?;
    write_if_changed(&seen, &content)
}

fn write_if_changed(path: &Path, content: &[u8]) -> Result<(), WrapperError> {
    let error = |source| WrapperError::Write {
        path: path.into(),
        source,
    };
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(error)?;
    }
    fs::write(path, content).map_err(error)
}

fn utf8(path: &Path) -> Result<&str, WrapperError> {
    path.to_str()
        .ok_or_else(|| WrapperError::NotUtf8(path.into()))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn package(folder: &Path) -> Package {
        for made in ["sdk", "rt", "libc", "c", "f \"quoted\""] {
            fs::create_dir_all(folder.join(made)).expect("folder");
        }
        for script in ["image.ld", "image-std.ld", "unwind.ld"] {
            fs::write(folder.join("rt").join(script), "").expect("write");
        }
        let root = folder.join("f \"quoted\"");
        fs::write(root.join("Cargo.lock"), "version = 4\n").expect("write");
        Package {
            name: "hello-you".into(),
            version: "1.2.3".into(),
            crate_name: "hello_you".into(),
            workspace_root: root.clone(),
            target_dir: root.join("target"),
            root,
            sdk: folder.join("sdk"),
            flags: 2,
            ..Package::default()
        }
    }

    #[test]
    fn std_is_what_a_function_has_that_wants_it() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut package = package(folder.path());
        let wrapper = generate(&package, Objects::default(), &Files::new()).expect("generated");
        let main = wrapper.manifest.with_file_name("src/main.rs");
        let text = |path: &Path| fs::read_to_string(path).expect("read");
        assert!(text(&main).contains("#![no_std]"));
        assert!(!text(&wrapper.manifest).contains("libc") && wrapper.libraries.is_none());
        package.std = true;
        let wrapper = generate(&package, Objects::default(), &Files::new()).expect("generated");
        assert!(!text(&main).contains("no_std"));
        assert!(text(&main).contains("flags: 2, std: jiffy_libc }"));
        assert!(text(&wrapper.manifest).contains("[dependencies.jiffy-libc]"));
        assert_eq!(wrapper.linker_scripts.len(), 1);
        assert!(wrapper.linker_scripts[0].ends_with("rt/image-std.ld"));
        let files = Files::from([("/a".to_owned(), PathBuf::from("/b"))]);
        generate(&package, Objects::default(), &files).expect("generated");
        assert!(text(&main).contains("(\"/a\", include_bytes!(\"/b\")),"));
        assert!(text(&main).contains("std: jiffy_libc, files: FILES }"));
        let library = wrapper.libraries.expect("libraries").join("libc.a");
        assert_eq!(fs::read(library).expect("read"), EMPTY_ARCHIVE);
    }

    /// What only an image that unwinds has is in no other.
    #[test]
    fn unwinding_is_what_a_function_has_that_wants_it() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut package = package(folder.path());
        package.std = true;
        for (panic, said) in [(Panic::Abort, "abort"), (Panic::Unwind, "unwind")] {
            package.panic = panic;
            let wrapper = generate(&package, Objects::default(), &Files::new()).expect("generated");
            let text = |path: &Path| fs::read_to_string(path).expect("read");
            let manifest: Table = text(&wrapper.manifest).parse().expect("TOML");
            for profile in ["release", "dev"] {
                assert_eq!(manifest["profile"][profile]["panic"].as_str(), Some(said));
            }
            let unwinds = panic == Panic::Unwind;
            let features = manifest["dependencies"]["jiffy-libc"].get("features");
            assert_eq!(features.is_some(), unwinds);
            let main = text(&wrapper.manifest.with_file_name("src/main.rs"));
            assert_eq!(main.contains("rt/unwind.ld"), unwinds);
            let scripts = wrapper.linker_scripts;
            assert_eq!(scripts.len(), 1 + usize::from(unwinds));
            let last = scripts.last().expect("one or two");
            assert!(
                last.ends_with("rt/image-std.ld"),
                "the first that names a section has it"
            );
        }
    }

    #[test]
    fn objects_stand_in_for_a_crate() {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::write(folder.path().join("Cargo.lock"), "version = 4\n").expect("write");
        let mut package = package(folder.path());
        // Two below the lock file, as in a checkout.
        package.sdk = folder.path().join("unikernel/sdk");
        for made in ["sdk", "rt", "libc", "c"] {
            fs::create_dir_all(folder.path().join("unikernel").join(made)).expect("folder");
        }
        fs::write(folder.path().join("unikernel/rt/image-std.ld"), "").expect("write");
        package.std = true;
        package.crate_name = "jiffy_c".into();
        package.native = Some(crate::manifest::Native::default());
        let with = |fingerprint| {
            let objects = Objects {
                files: vec!["main.o".into()],
                fingerprint,
            };
            let wrapper = generate(&package, objects, &Files::new()).expect("generated");
            assert_eq!(wrapper.objects, [PathBuf::from("main.o")]);
            let text = |path: &Path| fs::read_to_string(path).expect("read");
            assert!(text(&wrapper.manifest).contains("[dependencies.jiffy-c]"));
            text(&wrapper.manifest.with_file_name("src/main.rs"))
        };
        let main = with(1);
        assert!(
            main.contains("function: jiffy_c, name: \"hello-you\""),
            "{main}"
        );
        assert_ne!(main, with(2), "it is linked again when an object changes");
    }

    #[test]
    fn the_wrapper_is_a_crate_of_its_own() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let package = package(folder.path());
        let wrapper = generate(&package, Objects::default(), &Files::new()).expect("generated");
        let manifest = fs::read_to_string(&wrapper.manifest).expect("manifest");
        let manifest: Table = manifest.parse().expect("TOML");
        assert_eq!(manifest["workspace"], Value::Table(Table::new()));
        assert_eq!(
            manifest["package"]["name"].as_str(),
            Some("hello-you-image")
        );
        let path = manifest["dependencies"]["hello-you"]["path"]
            .as_str()
            .map(PathBuf::from);
        assert_eq!(path.as_deref(), Some(&*package.root));
        assert!(
            manifest["dependencies"]["hello-you"]
                .get("features")
                .is_none()
        );
        let main = wrapper.manifest.with_file_name("src/main.rs");
        let main = fs::read_to_string(main).expect("main");
        let image = r#"jiffy::image! { function: hello_you, name: "hello-you", version: "1.2.3", flags: 2 }"#;
        assert!(main.contains(image), "{main}");
    }

    #[test]
    fn features_are_those_of_the_function() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut package = package(folder.path());
        package.features = Features {
            names: vec!["a".into(), "b".into()],
            no_default: true,
        };
        let wrapper = generate(&package, Objects::default(), &Files::new()).expect("generated");
        let manifest = fs::read_to_string(&wrapper.manifest).expect("manifest");
        let manifest: Table = manifest.parse().expect("TOML");
        let function = &manifest["dependencies"]["hello-you"];
        assert_eq!(function["features"], Value::from(vec!["a", "b"]));
        assert_eq!(function["default-features"].as_bool(), Some(false));
    }

    #[test]
    fn unchanged_files_are_left_alone() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let package = package(folder.path());
        let wrapper = generate(&package, Objects::default(), &Files::new())
            .expect("generated")
            .manifest;
        let lock = wrapper.with_file_name("Cargo.lock");
        // What cargo makes of it.
        fs::write(&lock, "version = 4\n# and the wrapper\n").expect("write");
        for path in [&wrapper, &lock] {
            let file = fs::File::options().append(true).open(path).expect("open");
            file.set_modified(SystemTime::UNIX_EPOCH).expect("touch");
        }
        generate(&package, Objects::default(), &Files::new()).expect("generated");
        for path in [&wrapper, &lock] {
            let modified = fs::metadata(path)
                .expect("metadata")
                .modified()
                .expect("time");
            assert_eq!(modified, SystemTime::UNIX_EPOCH);
        }
        fs::write(package.lock_file(), "version = 4\n# newer\n").expect("write");
        generate(&package, Objects::default(), &Files::new()).expect("generated");
        assert_eq!(
            fs::read_to_string(&lock).expect("lock"),
            "version = 4\n# newer\n"
        );
    }

    #[test]
    fn an_sdk_without_library_os_is_named() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let package = package(folder.path());
        fs::remove_file(folder.path().join("rt/image.ld")).expect("remove");
        let error =
            generate(&package, Objects::default(), &Files::new()).expect_err("no linker script");
        assert!(matches!(error, WrapperError::NoLibraryOs(_)));
    }
}
