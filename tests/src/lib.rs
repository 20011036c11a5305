//! What the end-to-end tests share: is there KVM, where are the programs, which image is under test.
//!
//! The test runner gives every test a process of its own, so what is made once for all of them, the
//! programs and the images, is made under a file lock, and a stamp says for which run it was made.
//! Not here: tests. They are in `tests/tests`, one file for each part of the specification.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stderr,
    reason = "a test's harness catches what is printed so, and nothing else"
)]

pub mod agent;
pub mod hostile;
pub mod owner;
pub mod processes;
pub mod script;
pub mod vm;

use std::{
    env, fs,
    fs::{File, OpenOptions},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{self, Command},
};

/// Set to `1` where a missing `/dev/kvm` is a failure and no reason to skip: in CI.
pub const REQUIRE_KVM: &str = "JIFFY_REQUIRE_KVM";

/// Whether this process can make virtual machines. If not, it says why, and the test returns:
///
/// ```no_run
/// if !jiffy_tests::require_kvm() {
///     return;
/// }
/// ```
///
/// # Panics
/// If KVM is missing and [`REQUIRE_KVM`] is set.
#[must_use]
pub fn require_kvm() -> bool {
    let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/kvm") else {
        return true;
    };
    skip(&format!("/dev/kvm cannot be opened ({error})"));
    false
}

/// Whether this process is root, who alone gets the whole jail, other users and mounts. If not, it says why the test
/// is not run, which is `what`.
///
/// # Panics
/// If it is not and [`REQUIRE_KVM`] is set: what is demanded of a host is demanded of who runs the tests, too.
#[must_use]
pub fn require_root(what: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skip(&format!("{what}, and this is not root"));
    }
    is_root
}

/// Says why a test, or a part of it, is not run: the one way to leave one out for want of something.
///
/// # Panics
/// If [`REQUIRE_KVM`] is set, as where all of it has to be run.
pub fn skip(why: &str) {
    let is_required = env::var(REQUIRE_KVM).is_ok_and(|value| value == "1");
    assert!(!is_required, "{why}, and {REQUIRE_KVM}=1 demands it");
    eprintln!("skipped: {why}");
}

/// Set to `1` on a host that is tens of times slower than others, as one in software emulation is: what
/// is random or only repeated is done a tenth as often.
pub const SLOW_HOST: &str = "JIFFY_SLOW_HOST";

/// Whether [`SLOW_HOST`] says that this is one.
pub fn is_slow_host() -> bool {
    env::var(SLOW_HOST).is_ok_and(|value| value == "1")
}

/// The top of the repository.
pub fn workspace_root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the tests are one directory below the top")
        .to_owned()
}

/// Where cargo builds to.
pub fn target_dir() -> PathBuf {
    let default = || workspace_root().join("target");
    env::var_os("CARGO_TARGET_DIR").map_or_else(default, PathBuf::from)
}

/// Where cargo builds the programs to that are tested.
pub fn programs_dir() -> PathBuf {
    target_dir().join("debug")
}

/// A directory for what the tests make; kept from run to run.
pub fn cache_dir() -> PathBuf {
    let cache = target_dir().join("jiffy-tests");
    fs::create_dir_all(&cache).expect("a directory for the tests' files");
    cache
}

/// `jiffy-vmm`, up to date.
pub fn vmm_path() -> PathBuf {
    binary("jiffy-vmm")
}

/// `hostile-vmm`, up to date.
pub fn hostile_vmm_path() -> PathBuf {
    binary("hostile-vmm")
}

/// `jiffy`, up to date.
pub fn jiffy_path() -> PathBuf {
    binary("jiffy")
}

/// `jiffyd`, up to date.
pub fn jiffyd_path() -> PathBuf {
    binary("jiffyd")
}

/// `jiffy-bench`, up to date, as is what it measures.
pub fn bench_path() -> PathBuf {
    binary("jiffy-bench")
}

/// A `jiffy` command that finds the `jiffy-vmm` of this run.
pub fn jiffy() -> Command {
    let mut command = Command::new(jiffy_path());
    command.env("JIFFY_VMM", programs_dir().join("jiffy-vmm"));
    share_build_dir(&mut command);
    command
}

/// What a command has cargo build on the way to its artifacts is built once for all of them: each author's crate would build
/// `syn` and its kind anew.
pub fn share_build_dir(command: &mut Command) {
    command.env("CARGO_BUILD_BUILD_DIR", cache_dir().join("build"));
}

/// An empty folder for a crate of this name, outside of the repository, as an author's is; removed when it goes. Those of all
/// tests lie side by side, so that they are built with the same flags ([`share_build_dir`]): each has a name of its own.
#[derive(Debug)]
pub struct CrateFolder(PathBuf);

impl CrateFolder {
    /// # Panics
    /// If it cannot be made.
    pub fn new(name: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        cache_dir().hash(&mut hasher);
        // Two checkouts that are tested at once do not share it.
        let side = format!("jiffy-tests-{:x}", hasher.finish());
        let folder = env::temp_dir().join(side).join(name);
        let _ = fs::remove_dir_all(&folder); // What a test that was killed left.
        fs::create_dir_all(&folder).expect("a folder for a crate");
        Self(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for CrateFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Cargo, without what it tells tests of their own crate: build scripts look at that, and what they made outside of tests would
/// be made again, with all that depends on it.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

fn binary(name: &str) -> PathBuf {
    once_in_a_run("binaries", || {
        // As `build_tested` of scripts/lib.sh has it: with less, features differ and all is built again.
        check(cargo().current_dir(workspace_root()).args([
            "build",
            "--workspace",
            "--bins",
            "--tests",
        ]));
    });
    programs_dir().join(name)
}

/// The image of `examples/NAME` or, for functions that no author would write, `tests/guests/NAME`;
/// built by `jiffy build` and up to date.
pub fn image(name: &str) -> PathBuf {
    image_of(name, name, &[])
}

/// The same by `jiffy build --debug`, which takes less time where there is much to be compiled.
pub fn debug_image(name: &str) -> PathBuf {
    image_of(name, &format!("{name}-debug"), &["--debug"])
}

fn image_of(name: &str, file: &str, options: &[&str]) -> PathBuf {
    let root = workspace_root();
    let crates = [
        root.join("examples").join(name),
        root.join("tests/guests").join(name),
    ];
    let is_function = |path: &&PathBuf| {
        let files = ["Cargo.toml", "jiffy.toml"];
        files.iter().any(|file| path.join(file).exists())
    };
    let found = crates.iter().find(is_function);
    let function = found.unwrap_or_else(|| panic!("no function {name} in {crates:?}"));
    let elf = cache_dir().join(format!("{file}.elf"));
    once_in_a_run(&format!("image-{file}"), || {
        let mut build = jiffy();
        build.arg("build").args(options).arg(function);
        check(build.arg("-o").arg(&elf));
    });
    elf
}

/// Runs `make` unless another test of this run has done so; waits while another one does.
fn once_in_a_run(what: &str, make: impl FnOnce()) {
    let cache = cache_dir();
    let (lock, stamp) = (
        cache.join(format!("{what}.lock")),
        cache.join(format!("{what}.run")),
    );
    let lock = File::create(lock).expect("a lock file");
    lock.lock().expect("a lock, which ends with this process");
    // A runner that shares one process among its tests gives no name, and then the process is the run.
    let run = env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| process::id().to_string());
    let made_for = match fs::read_to_string(&stamp) {
        Ok(run) => run,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => panic!("{} cannot be read: {error}", stamp.display()),
    };
    if made_for != run {
        make();
        fs::write(&stamp, run).expect("a stamp");
    }
}

/// Runs `command` to its end.
///
/// # Panics
/// With what it printed, if it fails.
pub fn check(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Tells this test that it is the one that leaves something out.
    const SKIPS: &str = "JIFFY_TESTS_SKIPS";

    /// Where all of it has to be run, what is left out fails; in a process of its own, whose variables are its own.
    #[test]
    fn what_is_demanded_is_not_left_out() {
        if env::var_os(SKIPS).is_some() {
            return skip("no such thing is here");
        }
        let run = |required: Option<&str>| {
            let mut command = Command::new(env::current_exe().expect("this program"));
            command
                .args(["--exact", "tests::what_is_demanded_is_not_left_out"])
                .arg("--nocapture")
                .env(SKIPS, "1")
                .env_remove(REQUIRE_KVM);
            if let Some(value) = required {
                command.env(REQUIRE_KVM, value);
            }
            let output = command.output().expect("it starts");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.success(), said)
        };
        for required in [None, Some("0"), Some("")] {
            let (is_ok, said) = run(required);
            assert!(
                is_ok && said.contains("skipped: no such thing is here"),
                "{said}"
            );
        }
        let (is_ok, said) = run(Some("1"));
        assert!(!is_ok, "{said}");
        assert!(
            said.contains("no such thing is here, and JIFFY_REQUIRE_KVM=1 demands it"),
            "{said}"
        );
    }

    #[test]
    fn a_thing_is_made_once_in_a_run() {
        let made = Cell::new(0);
        let what = format!("test-{}", process::id());
        for _ in 0..3 {
            once_in_a_run(&what, || made.set(made.get() + 1));
        }
        assert_eq!(made.get(), 1);
        for extension in ["lock", "run"] {
            fs::remove_file(cache_dir().join(format!("{what}.{extension}"))).expect("made above");
        }
    }

    #[test]
    #[should_panic(expected = "to stderr")]
    fn a_failing_command_shows_what_it_said() {
        check(Command::new("sh").args(["-c", "echo to stderr >&2; exit 3"]));
    }
}
