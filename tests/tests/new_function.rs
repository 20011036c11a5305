//! What `jiffy new` makes: each template is tested, built and answers as its last line says, and a folder that is there keeps
//! what is in it.

use std::{
    env,
    ffi::OsString,
    fs,
    path::Path,
    process::{Command, Output},
};

use jiffy_tests::{CrateFolder, jiffy, programs_dir, require_kvm, share_build_dir};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `jiffy new` in a folder.
fn new_in(folder: &Path, arguments: &[&str]) -> Output {
    let mut jiffy = jiffy();
    jiffy.env_remove("CARGO_TARGET_DIR").current_dir(folder);
    let output = jiffy.arg("new").args(arguments).output();
    output.expect("a program")
}

/// The same, which has to succeed, and what it says is next.
#[track_caller]
fn made_in(folder: &Path, arguments: &[&str]) -> String {
    let output = new_in(folder, arguments);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    text(&output.stdout)
}

/// Does in `folder` what was said to be next; what that prints.
#[track_caller]
fn follow(said: &str, folder: &Path) -> String {
    let (_, next) = said.split_once("Next:\n").expect("what is next");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = [programs_dir().into_os_string(), path].join(&OsString::from(":"));
    let mut shell = Command::new("sh");
    share_build_dir(&mut shell);
    shell
        .args(["-euc", next])
        .current_dir(folder)
        .env("PATH", path)
        .env_remove("CARGO_TARGET_DIR");
    let output = shell.output().expect("a shell");
    let errors = text(&output.stderr);
    assert!(output.status.success(), "{next}: {errors}");
    assert!(!errors.contains("warning"), "{next}: {errors}");
    text(&output.stdout)
}

#[test]
fn each_template_is_tested_builds_and_answers() {
    if !require_kvm() {
        return;
    }
    let folder = CrateFolder::new("templates");
    let folder = folder.path();
    for (name, flags, answer) in [
        ("greeter", &["--http"][..], "Hello, Ada!\n"),
        ("greeter-std", &["--http", "--std"], "Hello, Ada!\n"),
        ("orders", &["--events"], r#"{"order":7,"status":"settled"}"#),
        (
            "orders-std",
            &["--events", "--std"],
            r#"{"order":7,"status":"settled"}"#,
        ),
    ] {
        let said = made_in(folder, &[&[name], flags].concat());
        let printed = follow(&said, folder);
        assert!(printed.contains("test result: ok."), "{name}: {printed}");
        assert!(printed.ends_with(answer), "{name}: {printed}");
        let source = fs::read_to_string(folder.join(name).join("src/lib.rs"));
        let is_std = !source.expect("a source").contains("no_std");
        assert_eq!(is_std, flags.contains(&"--std"), "{name}");
    }
    for wrong in [
        &["x", "--http", "--events"][..],
        &["x", "--http", "--lang", "c"],
        &["x", "--events", "--lang", "c"],
    ] {
        assert_eq!(new_in(folder, wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert!(!folder.join("x").exists());
}

#[test]
fn a_function_is_made_where_one_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path().join("here");
    let write = |path: &str, text: &str| {
        let path = here.join(path);
        fs::create_dir_all(path.parent().expect("within")).expect("a folder");
        fs::write(path, text).expect("written");
    };
    let read = |path: &str| fs::read_to_string(here.join(path)).expect(path);
    let files = || {
        let mut list = Command::new("find");
        let list = list.current_dir(&here).args([".", "-type", "f"]);
        let mut files: Vec<_> = text(&list.output().expect("find").stdout)
            .lines()
            .map(str::to_owned)
            .collect();
        files.sort();
        files
    };
    let refused = |path: &str, arguments: &[&str], word: &str| {
        let before = files();
        let output = new_in(&here.join(path), arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
        assert_eq!(files(), before, "{arguments:?}");
    };
    write("README.md", "mine\n");
    write(".gitignore", "*.log\n");
    write(".git/HEAD", "ref: refs/heads/main\n");
    write("src/main.rs.txt", "mine\n");
    write(".cargo/config.toml", "net.retry = 1\n");

    refused("..", &["here"], "`jiffy new .`");
    write("src/lib.rs", "mine\n");
    refused("", &["."], "src/lib.rs is in the way");
    fs::remove_file(here.join("src/lib.rs")).expect("removed");
    write("jiffy.toml", "memory = \"32MiB\"\n");
    refused("", &[".", "--lang", "c"], "jiffy.toml is in the way");

    let output = new_in(&here, &["."]);
    let (said, note) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{note}");
    assert!(
        said.starts_with("Made the function here in this folder. Next:\n  cargo test\n"),
        "{said}"
    );
    assert!(
        note.contains("note: add /target to its .gitignore"),
        "{note}"
    );
    assert!(
        note.contains("write include = [") && note.contains("config.toml"),
        "{note}"
    );
    assert!(read("Cargo.toml").contains("name = \"here\""));
    assert!(read("src/lib.rs").contains("#[jiffy::function]"));
    for (path, text) in [
        ("README.md", "mine\n"),
        (".gitignore", "*.log\n"),
        ("jiffy.toml", "memory = \"32MiB\"\n"),
        ("src/main.rs.txt", "mine\n"),
        (".cargo/config.toml", "net.retry = 1\n"),
    ] {
        assert_eq!(read(path), text, "{path}");
    }
    refused("", &["."], "has a crate already: write `jiffy = {");

    // One in C is in the way of another, and of one in Rust.
    let sums = here.join("sums");
    fs::create_dir(&sums).expect("a folder");
    let said = made_in(&sums, &[".", "--lang", "c"]);
    assert!(said.contains("the function sums in this folder."), "{said}");
    refused("sums", &["."], "jiffy.toml is in the way");
    refused("sums", &[".", "--lang", "c"], "is in the way");
}
