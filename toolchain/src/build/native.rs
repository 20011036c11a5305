//! C and C++: the compiler of the machine makes objects of a function's sources, which are linked into its image.
//!
//! An object is kept with a key: compiler, flags, and the content of every file it was made of, as the compiler lists them. What
//! has the same key is not made again.
//! Not here: what `jiffy.toml` says of it (`manifest`); the C library (`unikernel/libc`) and `jiffy.h` (`unikernel/c`).

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use jiffy_console::stderr;

use super::{Profile, package::Package, wrapper::SYSTEM_LIBRARIES};
use crate::manifest::{Lang, Native};

/// Most sources of a function.
const SOURCES_MAX: usize = 4096;
/// Folders below the function's that sources are looked for in.
const DEPTH_MAX: usize = 16;
/// What a file of C++ ends with.
const CXX: [&str; 4] = ["cc", "cpp", "cxx", "C"];
/// What a source ends with that the C compiler takes.
const C: [&str; 3] = ["c", "S", "s"];
/// Libraries of C++ that need its exceptions.
const CXX_LIBRARIES: [&str; 3] = ["c++", "stdc++", "supc++"];

/// Why there are no objects.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NativeError {
    #[error(
        "no {language} compiler on PATH: must be gcc or clang, such as from Debian's package {package}, or be named by {variable}"
    )]
    NoCompiler {
        language: &'static str,
        package: &'static str,
        variable: &'static str,
    },
    #[error("cannot start the compiler {0}")]
    Start(String, #[source] io::Error),
    #[error("{0} has no sources: `sources` under [function] of jiffy.toml is {1:?}")]
    NoSources(PathBuf, Vec<String>),
    #[error("{0} has more than {SOURCES_MAX} sources: name fewer in jiffy.toml")]
    TooMany(PathBuf),
    #[error(
        "{0} is C++, and lang in jiffy.toml is \"c\": write \"c++\", if it needs neither exceptions nor run-time types"
    )]
    IsCxx(PathBuf),
    #[error("{0} is neither C nor C++: leave it out of `sources` in jiffy.toml")]
    Unknown(PathBuf),
    #[error(
        "the library {0} needs C++ exceptions, which no image has: leave it out of `libs` in jiffy.toml"
    )]
    CxxLibrary(String),
    #[error(
        "no static library lib{0}.a where {1} looks: must be there, such as from a Debian package whose name ends with -dev, or be a path in `libs` of jiffy.toml"
    )]
    NoLibrary(String, String),
    #[error("{file} does not compile ({status}): the messages above say why")]
    Failed { file: PathBuf, status: ExitStatus },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
}

/// What is linked into an image.
#[derive(Debug, Default)]
pub(super) struct Objects {
    /// Objects, and then libraries.
    pub(super) files: Vec<PathBuf>,
    /// Another number if any of them has changed.
    pub(super) fingerprint: u64,
}

/// A compiler: program, and words that go before all flags.
#[derive(Clone, Debug)]
struct Compiler {
    program: String,
    words: Vec<String>,
    /// What it says of itself.
    version: Vec<u8>,
}

impl Compiler {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.words).stdin(Stdio::null());
        command
    }

    /// What `variable` names, or the first of `names` on `PATH`.
    fn find(variable: &'static str, names: &[&str], is_cxx: bool) -> Result<Self, NativeError> {
        let none = || NativeError::NoCompiler {
            language: if is_cxx { "C++" } else { "C" },
            package: if is_cxx { "g++" } else { "gcc" },
            variable,
        };
        let named = env::var(variable)
            .ok()
            .filter(|named| !named.trim().is_empty());
        let candidates: Vec<String> = match named {
            Some(named) => vec![named],
            None => names.iter().map(ToString::to_string).collect(),
        };
        for candidate in candidates {
            let mut words = candidate.split_whitespace().map(String::from);
            let mut compiler = Self {
                program: words.next().ok_or_else(none)?,
                words: words.collect(),
                version: vec![],
            };
            match compiler.command().arg("--version").output() {
                Ok(said) => {
                    compiler.version = said.stdout;
                    return Ok(compiler);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(NativeError::Start(compiler.program, error)),
            }
        }
        Err(none())
    }

    fn of_c() -> Result<Self, NativeError> {
        Self::find("CC", &["cc", "gcc", "clang"], false)
    }

    fn of_cxx() -> Result<Self, NativeError> {
        Self::find("CXX", &["c++", "g++", "clang++"], true)
    }
}

/// What the C compiler of this machine says of itself, if there is one.
pub(crate) fn compiler_version() -> Result<String, NativeError> {
    let compiler = Compiler::of_c()?;
    let version = String::from_utf8_lossy(&compiler.version);
    let version = version.lines().next().unwrap_or_default();
    Ok(format!("{}: {version}", compiler.program))
}

/// One source and what is made of it.
struct Unit {
    source: PathBuf,
    object: PathBuf,
    compiler: Compiler,
    flags: Vec<String>,
}

/// Compiles what has changed. The compiler's messages go to standard error as they are.
pub(super) fn compile(
    package: &Package,
    native: &Native,
    profile: Profile,
) -> Result<Objects, NativeError> {
    let sources = sources(&package.root, &package.target_dir, native)?;
    let is_cxx = |path: &Path| has_extension(path, &CXX);
    if let Some(cxx) = sources.iter().find(|path| is_cxx(path))
        && native.lang == Lang::C
    {
        return Err(NativeError::IsCxx(cxx.clone()));
    }
    let of_c = Compiler::of_c()?;
    let of_cxx = match sources.iter().any(|path| is_cxx(path)) {
        true => Some(Compiler::of_cxx()?),
        false => None,
    };
    let folder = package.jiffy_dir().join(&package.name).join("objects");
    fs::create_dir_all(&folder).map_err(|source| NativeError::Write {
        path: folder.clone(),
        source,
    })?;
    // Two builds of one function do not write one object at once. The lock ends with the file.
    let lock = folder.join("lock");
    let lock = fs::File::create(&lock).and_then(|file| file.lock().map(|()| file));
    let _lock = lock.map_err(|source| NativeError::Write {
        path: folder.join("lock"),
        source,
    })?;
    let units: Vec<Unit> = sources
        .into_iter()
        .map(|source| {
            let is_cxx = is_cxx(&source);
            Unit {
                object: folder.join(object_name(&source)),
                flags: flags(package, native, profile, is_cxx),
                compiler: match &of_cxx {
                    Some(compiler) if is_cxx => compiler.clone(),
                    _ => of_c.clone(),
                },
                source,
            }
        })
        .collect();
    let mut fingerprint = DefaultHasher::new();
    for key in make(&package.root, &units)? {
        key.hash(&mut fingerprint);
    }
    let mut files: Vec<PathBuf> = units.into_iter().map(|unit| unit.object).collect();
    for library in &native.libs {
        let Some(path) = find_library(library, &package.root, &of_c)? else {
            continue;
        };
        let content = fs::read(&path).map_err(|source| NativeError::Read {
            path: path.clone(),
            source,
        })?;
        content.hash(&mut fingerprint);
        files.push(path);
    }
    Ok(Objects {
        files,
        fingerprint: fingerprint.finish(),
    })
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| extensions.contains(&extension))
}

/// Names an object after its source, without folders: two that differ in them only have another number.
fn object_name(source: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    format!("{name}-{:016x}.o", hasher.finish())
}

/// The sources, relative to the function's folder, in order.
fn sources(root: &Path, target_dir: &Path, native: &Native) -> Result<Vec<PathBuf>, NativeError> {
    let patterns = native.source_patterns();
    let mut found = vec![];
    let mut left = vec![(PathBuf::new(), 0)];
    while let Some((folder, depth)) = left.pop() {
        let path = root.join(&folder);
        let read = |source| NativeError::Read {
            path: path.clone(),
            source,
        };
        for entry in fs::read_dir(&path).map_err(read)? {
            let entry = entry.map_err(read)?;
            let name = entry.file_name();
            // What is hidden, and what builds make, is nobody's source.
            let is_hidden = name.to_string_lossy().starts_with('.');
            if is_hidden || entry.path() == target_dir || (depth == 0 && name == "target") {
                continue;
            }
            let relative = folder.join(&name);
            if entry.path().is_dir() {
                // A link to a folder may be a ring.
                if depth < DEPTH_MAX && !entry.path().is_symlink() {
                    left.push((relative, depth + 1));
                }
                continue;
            }
            let mut is_source = false;
            for pattern in &patterns {
                match pattern.strip_prefix('!') {
                    Some(pattern) if matches(pattern, &relative) => is_source = false,
                    None if matches(pattern, &relative) => is_source = true,
                    _ => {}
                }
            }
            if is_source {
                if !has_extension(&relative, &C) && !has_extension(&relative, &CXX) {
                    return Err(NativeError::Unknown(relative));
                }
                found.push(relative);
            }
            if found.len() > SOURCES_MAX {
                return Err(NativeError::TooMany(root.into()));
            }
        }
    }
    if found.is_empty() {
        return Err(NativeError::NoSources(root.into(), patterns));
    }
    found.sort();
    Ok(found)
}

/// Whether a path fits a pattern: part by part, `*` for any bytes of one, `**` for any parts.
fn matches(pattern: &str, path: &Path) -> bool {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let pattern = pattern.strip_prefix("./").unwrap_or(pattern);
    let pattern: Vec<&str> = pattern.split('/').collect();
    fn parts_match(pattern: &[&str], parts: &[std::borrow::Cow<'_, str>]) -> bool {
        match (pattern.split_first(), parts.split_first()) {
            (None, None) => true,
            (Some((&"**", rest)), _) => {
                (0..=parts.len()).any(|skipped| parts_match(rest, &parts[skipped..]))
            }
            (Some((first, pattern)), Some((part, parts))) => {
                part_matches(first, part) && parts_match(pattern, parts)
            }
            _ => false,
        }
    }
    parts_match(&pattern, &parts)
}

fn part_matches(pattern: &str, part: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = part.strip_prefix(first) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in middle {
        match rest.split_once(piece) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Touches each page of a large frame, so that a full stack ends at the page below it and is told as that.
pub(super) const STACK_CHECKED: &str = "-fstack-clash-protection";

/// Flags of the compiler: code for a static image, frames that a backtrace can follow, and no path of this machine.
fn flags(package: &Package, native: &Native, profile: Profile, is_cxx: bool) -> Vec<String> {
    let mut flags: Vec<String> = [
        "-c",
        "-g",
        "-fno-pic",
        "-fno-pie",
        "-fno-omit-frame-pointer",
        STACK_CHECKED,
        "-fno-asynchronous-unwind-tables",
        "-ffunction-sections",
        "-fdata-sections",
        "-Wall",
        match profile {
            Profile::Release => "-O2",
            Profile::Debug => "-Og",
        },
    ]
    .map(String::from)
    .into();
    if is_cxx {
        flags.extend(["-fno-exceptions", "-fno-rtti"].map(String::from));
    }
    let library = package.sdk.parent().unwrap_or(&package.sdk);
    flags.push(format!("-I{}", library.join("c/include").display()));
    flags.extend(native.include.iter().map(|folder| format!("-I{folder}")));
    flags.push(format!(
        "-ffile-prefix-map={}=/{}",
        package.root.display(),
        package.name
    ));
    flags.push(format!("-ffile-prefix-map={}=/jiffy", library.display()));
    flags.extend(native.cflags.iter().cloned());
    flags
}

/// Compiles the units whose keys are others than they were, on as many processors as there are; the keys of all.
fn make(root: &Path, units: &[Unit]) -> Result<Vec<u64>, NativeError> {
    let keys: Vec<_> = units.iter().map(|unit| unit.kept_key(root)).collect();
    let next = AtomicUsize::new(0);
    let has_failed = AtomicBool::new(false);
    let made = Mutex::new(vec![]);
    let work = || {
        while !has_failed.load(Relaxed) {
            let number = next.fetch_add(1, Relaxed);
            let Some(unit) = units.get(number) else {
                return;
            };
            let key = match keys[number] {
                Some(key) => Ok(key),
                None => unit.compile(root),
            };
            has_failed.fetch_or(key.is_err(), Relaxed);
            if let Ok(mut made) = made.lock() {
                made.push((number, key));
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads.min(units.len()) {
            scope.spawn(work);
        }
    });
    let mut made = made
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    made.sort_by_key(|(number, _)| *number);
    made.into_iter().map(|(_, key)| key).collect()
}

impl Unit {
    fn with_extension(&self, extension: &str) -> PathBuf {
        self.object.with_extension(extension)
    }

    /// The key that the object has if it is still as it would be made now.
    fn kept_key(&self, root: &Path) -> Option<u64> {
        let key = self.key(root)?;
        let kept = fs::read_to_string(self.with_extension("key")).ok()?;
        (self.object.is_file() && kept == key.to_string()).then_some(key)
    }

    /// Compiler, flags, and all files that the compiler read.
    fn key(&self, root: &Path) -> Option<u64> {
        let listed = fs::read_to_string(self.with_extension("d")).ok()?;
        let mut hasher = DefaultHasher::new();
        (
            &self.compiler.program,
            &self.compiler.words,
            &self.compiler.version,
        )
            .hash(&mut hasher);
        (&self.source, &self.flags).hash(&mut hasher);
        for file in files_of_rule(&listed) {
            file.hash(&mut hasher);
            fs::read(root.join(file)).ok()?.hash(&mut hasher);
        }
        Some(hasher.finish())
    }

    fn compile(&self, root: &Path) -> Result<u64, NativeError> {
        let mut command = self.compiler.command();
        command
            .args(&self.flags)
            .args(
                stderr()
                    .is_terminal()
                    .then_some("-fdiagnostics-color=always"),
            )
            .arg("-MMD")
            .arg("-MF")
            .arg(self.with_extension("d"))
            .arg("-o")
            .arg(&self.object)
            .arg(&self.source)
            // Where messages name files from, as the author does.
            .current_dir(root);
        let said = command
            .output()
            .map_err(|error| NativeError::Start(self.compiler.program.clone(), error))?;
        // At once, so that those of two compilers do not mix.
        let _ = stderr().write_all(&[said.stdout, said.stderr].concat());
        if !said.status.success() {
            return Err(NativeError::Failed {
                file: self.source.clone(),
                status: said.status,
            });
        }
        let path = self.with_extension("d");
        let key = self.key(root).ok_or_else(|| NativeError::Read {
            path,
            source: io::Error::other("what was compiled has changed meanwhile"),
        })?;
        let path = self.with_extension("key");
        fs::write(&path, key.to_string()).map_err(|source| NativeError::Write { path, source })?;
        Ok(key)
    }
}

/// The files behind the colon of a rule for `make`, as compilers write it.
fn files_of_rule(rule: &str) -> Vec<String> {
    let rule = rule.replace("\\\n", " ");
    let rule = rule.split_once(": ").map_or("", |(_, files)| files);
    let mut files = vec![];
    let mut file = String::new();
    let mut characters = rule.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek().is_some_and(|next| " #\\".contains(*next)) => {
                file.extend(characters.next());
            }
            '$' if characters.peek() == Some(&'$') => file.extend(characters.next()),
            ' ' | '\n' => {
                if !file.is_empty() {
                    files.push(std::mem::take(&mut file));
                }
                if character == '\n' {
                    break; // Rules of other targets follow.
                }
            }
            other => file.push(other),
        }
    }
    if !file.is_empty() {
        files.push(file);
    }
    files
}

/// Where a library is; `None` if it is one whose symbols every image has.
fn find_library(
    library: &str,
    root: &Path,
    compiler: &Compiler,
) -> Result<Option<PathBuf>, NativeError> {
    if library.contains('/') || Path::new(library).extension().is_some_and(|end| end == "a") {
        return Ok(Some(root.join(library)));
    }
    if SYSTEM_LIBRARIES.contains(&library) {
        return Ok(None);
    }
    if CXX_LIBRARIES.contains(&library) {
        return Err(NativeError::CxxLibrary(library.into()));
    }
    let file = format!("lib{library}.a");
    let said = compiler
        .command()
        .arg(format!("-print-file-name={file}"))
        .output()
        .map_err(|error| NativeError::Start(compiler.program.clone(), error))?;
    // It says the name alone if there is none.
    let path = PathBuf::from(String::from_utf8_lossy(&said.stdout).trim());
    if path.is_absolute() && path.is_file() {
        return Ok(Some(path));
    }
    Err(NativeError::NoLibrary(
        library.into(),
        compiler.program.clone(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_matched_part_by_part() {
        for (pattern, path, expected) in [
            ("*.c", "main.c", true),
            ("*.c", "src/main.c", false),
            ("./*.c", "main.c", true),
            ("src/*.c", "src/main.c", true),
            ("**/*.c", "main.c", true),
            ("**/*.c", "a/b/main.c", true),
            ("a/**/z.c", "a/z.c", true),
            ("a/**/z.c", "b/z.c", false),
            ("l*a*.c", "lua.c", true),
            ("l*a*.c", "lub.c", false),
            ("*", "anything", true),
            ("main.c", "main.cc", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(
                matches(pattern, Path::new(path)),
                expected,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn rules_list_files() {
        let rule = "x.o: main.c /usr/include/a\\ b.h \\\n  \\\n sub/c$$d.h\nmain.c:\n";
        assert_eq!(
            files_of_rule(rule),
            ["main.c", "/usr/include/a b.h", "sub/c$d.h"]
        );
        assert!(files_of_rule("").is_empty());
    }

    fn native(sources: &[&str]) -> Native {
        Native {
            sources: sources.iter().map(ToString::to_string).collect(),
            ..Native::default()
        }
    }

    #[test]
    fn sources_are_found_by_pattern_and_left_out_by_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for file in [
            "main.c",
            "lib/a.c",
            "lib/shell.c",
            "lib/a.h",
            "target/x.c",
            ".git/y.c",
            "b.cc",
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().expect("in the folder")).expect("a folder");
            fs::write(path, "").expect("written");
        }
        let found = |patterns: &[&str]| sources(root, &root.join("target"), &native(patterns));
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(found(&[]).expect("found"), paths(&["main.c"]));
        let all = found(&["**/*.c", "!lib/shell.c"]).expect("found");
        assert_eq!(all, paths(&["lib/a.c", "main.c"]));
        assert!(matches!(found(&["*.x"]), Err(NativeError::NoSources(..))));
        assert!(matches!(found(&["lib/*"]), Err(NativeError::Unknown(_))));
    }

    #[test]
    fn libraries_are_found_or_named() {
        let compiler = Compiler::of_c().expect("a C compiler");
        let find = |name| find_library(name, Path::new("/root"), &compiler);
        assert_eq!(find("m").expect("known"), None);
        assert_eq!(
            find("libs/libx.a").expect("a path"),
            Some("/root/libs/libx.a".into())
        );
        assert!(matches!(find("stdc++"), Err(NativeError::CxxLibrary(_))));
        let error = find("no-such-library").expect_err("none").to_string();
        assert!(error.contains("libno-such-library.a"), "{error}");
        let none = Compiler::find("JIFFY_TESTS_HAVE_NO_CC", &["no-such-compiler"], false);
        let error = none.expect_err("none").to_string();
        assert!(error.contains("must be gcc or clang"), "{error}");
    }
}
