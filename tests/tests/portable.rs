//! A function's crate is committed on one machine and built on another, where the SDK is somewhere else: nothing in it names a
//! folder of either. What tells cargo where the SDK is lies beside the lock file, and is nobody's but that machine's.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use jiffy_tests::{CrateFolder, check, jiffy, require_kvm, share_build_dir, skip, workspace_root};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Cargo, as its author calls it in a folder.
fn cargo(folder: &Path, arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    share_build_dir(&mut cargo);
    cargo.args(arguments).current_dir(folder);
    cargo.env_remove("CARGO_TARGET_DIR");
    cargo
}

/// `jiffy`, as its author calls it in a folder.
fn jiffy_in(folder: &Path, arguments: &[&str]) -> Command {
    let mut jiffy = jiffy();
    jiffy.env_remove("CARGO_TARGET_DIR").current_dir(folder);
    jiffy.args(arguments);
    jiffy
}

/// Runs a command that has to fail, and what it says.
#[track_caller]
fn refused(command: &mut Command) -> String {
    let output = command.output().expect("a program");
    assert!(!output.status.success(), "{command:?}");
    text(&output.stderr)
}

/// Runs a command that has to succeed.
#[track_caller]
fn done(command: &mut Command) -> Output {
    let output = command.output().expect("a program");
    let said = text(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output
}

/// Git in a folder; empty if there is none on this machine.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.current_dir(folder)
        .args(["-c", "user.name=A", "-c", "user.email=a@jiffy.invalid"])
        .args(["-c", "commit.gpgsign=false"])
        .args(arguments);
    text(&done(&mut git).stdout)
}

fn has_git() -> bool {
    let has_git = Command::new("git").arg("--version").output().is_ok();
    if !has_git {
        skip("git is missing, by which a crate is taken elsewhere");
    }
    has_git
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("copied")),
        }
    }
}

/// As much of a checkout as functions are built with, in another place; its SDK.
fn sdk_elsewhere(folder: &Path) -> PathBuf {
    let root = workspace_root();
    for file in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(root.join(file), folder.join(file)).expect("copied");
    }
    copy_folder(&root.join("unikernel"), &folder.join("unikernel"));
    folder.join("unikernel/sdk")
}

#[test]
fn a_crate_that_was_committed_builds_where_the_sdk_is_elsewhere() {
    if !require_kvm() || !has_git() {
        return;
    }
    let folder = CrateFolder::new("carried");
    let here = folder.path().join("carried");
    done(&mut jiffy_in(folder.path(), &["new", "carried"]));
    check(&mut cargo(&here, &["generate-lockfile"]));
    git(&here, &["init", "--quiet"]);
    git(&here, &["add", "--all"]);
    git(&here, &["commit", "--quiet", "--message", "A function"]);
    let committed = git(&here, &["ls-files"]);
    assert!(committed.contains("Cargo.lock\n"), "{committed}");
    let root = workspace_root().display().to_string();
    for file in committed.lines() {
        let content = fs::read_to_string(here.join(file)).expect("a text");
        assert!(!content.contains(&root), "{file}: {content}");
    }
    let lock = fs::read(here.join("Cargo.lock")).expect("a lock file");

    let temporary = tempfile::tempdir().expect("a temporary folder");
    let sdk = sdk_elsewhere(&temporary.path().canonicalize().expect("a path"));
    let sdk = sdk.to_str().expect("UTF-8");
    let there = folder.path().join("elsewhere");
    let there = there.as_path();
    git(folder.path(), &["clone", "--quiet", "carried", "elsewhere"]);

    // Nobody has told cargo, which then builds nothing of anybody else's.
    let said = refused(&mut cargo(there, &["test"]));
    let rule = "registry index was not found in any configuration: `jiffy`";
    assert!(said.contains(rule), "{said}");
    let told = done(jiffy_in(there, &["sdk"]).env("JIFFY_SDK", sdk));
    assert!(text(&told.stdout).contains(sdk), "{told:?}");
    let tested = done(&mut cargo(there, &["test", "--locked"]));
    assert!(text(&tested.stdout).contains("test result: ok. 2 passed"));
    let tree = text(&done(&mut cargo(there, &["tree", "--locked", "--offline"])).stdout);
    assert!(
        tree.contains(&format!("jiffy v{} ({sdk})", env!("CARGO_PKG_VERSION"))),
        "{tree}"
    );
    let event = ["run", "--event", r#"{"name":"Ada"}"#];
    let answer = done(jiffy_in(there, &event).env("JIFFY_SDK", sdk));
    assert_eq!(text(&answer.stdout), r#"{"greeting":"Hello, Ada!"}"#);
    let said = text(&answer.stderr);
    assert!(
        said.contains(&format!("({sdk})")),
        "it is built with that SDK: {said}"
    );
    assert!(
        !said.contains("note:") && !said.contains("warning"),
        "{said}"
    );
    assert_eq!(
        fs::read(there.join("Cargo.lock")).expect("a lock file"),
        lock
    );
    assert_eq!(git(there, &["status", "--porcelain"]), "");

    // Where it was, nothing has changed, and an SDK that asks for another version is told.
    done(&mut cargo(&here, &["tree", "--locked", "--offline"]));
    let manifest = Path::new(sdk).join("../../Cargo.toml");
    let of_sdk = fs::read_to_string(&manifest).expect("a text");
    let later = of_sdk.replacen(env!("CARGO_PKG_VERSION"), "7.8.9", 1);
    fs::write(&manifest, later).expect("written");
    let said = refused(jiffy_in(there, &["build"]).env("JIFFY_SDK", sdk));
    let first = said.lines().next().unwrap_or_default();
    assert!(first.contains("is 7.8.9: install a jiffy"), "{said}");
}

/// In a workspace of somebody's, with a configuration of theirs, and another crate that knows nothing of jiffy.
#[test]
fn an_authors_workspace_and_configuration_stay_theirs() {
    let folder = CrateFolder::new("workspace");
    let root = folder.path().canonicalize().expect("a path");
    let root = root.as_path();
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("within")).expect("a folder");
        fs::write(path, text).expect("written");
    };
    let package = |name: &str| {
        format!(
            "[package]\nname = {name:?}\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\n"
        )
    };
    let version = env!("CARGO_PKG_VERSION");
    write(
        "Cargo.toml",
        &format!(
            "[workspace]\nresolver = \"3\"\nmembers = [\"f\", \"g\"]\n[workspace.dependencies]\n\
             jiffy = {{ version = {version:?}, registry = \"jiffy\" }}\n"
        ),
    );
    write("f/Cargo.toml", &(package("f") + "jiffy.workspace = true\n"));
    write("f/src/lib.rs", "");
    write("g/Cargo.toml", &package("g"));
    write("g/src/lib.rs", "");
    let config = "# Mine.\nnet.retry = 1\n";
    write(".cargo/config.toml", config);

    // What builds tells cargo itself, and says what plain cargo lacks.
    let said = refused(&mut jiffy_in(&root.join("f"), &["build"]));
    assert!(said.contains("no handler"), "{said}");
    let include = "include = [{ path = \"jiffy-sdk.toml\", optional = true }]";
    let note = format!(
        "write {include} at the top of {}",
        root.join(".cargo/config.toml").display()
    );
    assert!(said.contains(&note), "{said}");
    assert!(
        !root.join(".cargo/jiffy-sdk.toml").exists(),
        "nobody would read it"
    );
    let told = done(&mut jiffy_in(root, &["sdk"]));
    assert!(text(&told.stderr).contains(&note), "{told:?}");
    let mine = fs::read_to_string(root.join(".cargo/config.toml")).expect("a text");
    assert_eq!(mine, config);

    write(".cargo/config.toml", &format!("{include}\n{config}"));
    for member in ["", "f", "g"] {
        let tree = done(&mut cargo(
            &root.join(member),
            &["tree", "--locked", "--offline"],
        ));
        assert!(!text(&tree.stderr).contains("warning"), "{tree:?}");
    }
    let sdk = workspace_root().join("unikernel/sdk");
    let sdk = sdk.canonicalize().expect("a path");
    let told = done(&mut jiffy_in(&root.join("f"), &["sdk"]));
    assert!(told.stderr.is_empty(), "{told:?}");
    let lines = format!(
        "jiffy {version}: {}, for {}\n",
        sdk.display(),
        root.display()
    );
    assert_eq!(text(&told.stdout), lines);
    assert!(
        !root.join("f/.cargo").exists(),
        "it lies beside the lock file"
    );
}
