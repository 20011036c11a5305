//! What `jiffy.toml` says of a build: features of the crate, and the stack of its image. And what a crate without `std` is told that
//! does not build.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use jiffy_tests::{CrateFolder, jiffy, require_kvm, workspace_root};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `jiffy`, as its author calls it in a folder.
fn jiffy_in(folder: &Path, arguments: &[&str]) -> Command {
    let mut jiffy = jiffy();
    jiffy.env_remove("CARGO_TARGET_DIR").current_dir(folder);
    jiffy.args(arguments);
    jiffy
}

#[track_caller]
fn done(folder: &Path, arguments: &[&str]) -> Output {
    let output = jiffy_in(folder, arguments).output().expect("a program");
    let said = text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    output
}

/// Answers with what it was built with.
const SOURCE: &str = r#"
#[jiffy::function]
pub fn built_with(_event: &[u8]) -> Vec<u8> {
    let is_on = [cfg!(feature = "usual"), cfg!(feature = "a"), cfg!(feature = "b")];
    is_on.map(|is_on| if is_on { b'1' } else { b'0' }).into()
}
"#;

#[test]
fn an_image_has_the_features_and_the_stack_of_its_jiffy_toml() {
    if !require_kvm() {
        return;
    }
    let folder = CrateFolder::new("built-with");
    let function = folder.path();
    let write = |path: &str, text: &str| {
        let path = function.join(path);
        fs::create_dir_all(path.parent().expect("within")).expect("a folder");
        fs::write(path, text).expect("written");
    };
    let sdk = workspace_root().join("unikernel/sdk");
    let manifest = format!(
        "[package]\nname = \"built-with\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [dependencies]\njiffy = {{ path = {sdk:?} }}\n\
         [features]\ndefault = [\"usual\"]\nusual = []\na = []\nb = []\n"
    );
    write("Cargo.toml", &manifest);
    write("src/lib.rs", SOURCE);
    let image = function.join("target/jiffy/built-with.elf");
    let image = image.to_str().expect("UTF-8");
    let built_with = |flags: &[&str]| {
        done(function, &[&["build"], flags].concat());
        text(&done(function, &["run", image, "--event", ""]).stdout)
    };
    let inspected = || text(&done(function, &["inspect", image]).stdout);

    assert_eq!(built_with(&[]), "100");
    assert!(inspected().contains("stack 768.0 KiB"), "{}", inspected());
    write(
        "jiffy.toml",
        "features = [\"a\"]\ndefault-features = false\n[stack]\nbytes = \"2MiB\"\n",
    );
    assert_eq!(built_with(&[]), "010");
    assert!(inspected().contains("stack 2.0 MiB"), "{}", inspected());
    // Flags add to them; `jiffy run` builds what jiffy.toml says.
    assert_eq!(built_with(&["--features", "b,usual"]), "111");
    assert_eq!(text(&done(function, &["run", "--event", ""]).stdout), "010");
    write("jiffy.toml", "features = [\"b\"]\n");
    assert_eq!(built_with(&["--no-default-features", "-F", "a"]), "011");
    assert!(inspected().contains("stack 768.0 KiB"), "{}", inspected());

    // What is wrong is told before anything is built.
    for (jiffy_toml, flags, word) in [
        ("features = [\"c\"]\n", "--debug", "has no feature \"c\""),
        ("", "--features=c", "must be one of a, b, default, usual"),
        (
            "[stack]\nbytes = \"256KiB\"\n",
            "--debug",
            "must be from 768K to 1G",
        ),
    ] {
        write("jiffy.toml", jiffy_toml);
        let output = jiffy_in(function, &["build", flags]).output();
        let output = output.expect("a program");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(10), "{said}");
        assert!(said.contains(word) && !said.contains("Compiling"), "{said}");
    }
}

#[test]
fn what_a_crate_without_std_lacks_is_told_in_one_sentence() {
    if !require_kvm() {
        return;
    }
    let folder = CrateFolder::new("lacks");
    let function = folder.path();
    let write = |path: &str, text: &str| {
        let path = function.join(path);
        fs::create_dir_all(path.parent().expect("within")).expect("a folder");
        fs::write(path, text).expect("written");
    };
    let sdk = workspace_root().join("unikernel/sdk");
    let package = |name: &str, rest: &str| {
        format!("[package]\nname = {name:?}\nversion = \"0.1.0\"\nedition = \"2024\"\n{rest}")
    };
    let dependencies = format!(
        "[dependencies]\njiffy = {{ path = {sdk:?} }}\nmiddle = {{ path = \"middle\", default-features = false }}\n\
         [features]\nuses = [\"middle/uses\"]\n[workspace]\n"
    );
    write("Cargo.toml", &package("lacks", &dependencies));
    let middle = "[dependencies]\nbelow = { path = \"../below\", default-features = false }\n\
                  [features]\ndefault = [\"uses\"]\nuses = [\"below/std\"]\n";
    write("middle/Cargo.toml", &package("middle", middle));
    write("middle/src/lib.rs", "#![no_std]\npub use below::three;\n");
    let below = "[features]\ndefault = [\"std\"]\nstd = []\n";
    write("below/Cargo.toml", &package("below", below));
    write(
        "below/src/lib.rs",
        "#![cfg_attr(not(feature = \"std\"), no_std)]\npub fn three() -> u8 { 3 }\n",
    );
    let refused = |source: &str, flags: &[&str]| {
        write("src/lib.rs", &format!("#![no_std]\n{source}"));
        let output = jiffy_in(function, &[&["build"], flags].concat()).output();
        let output = output.expect("a program");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(10), "{said}");
        let last = said.lines().last().unwrap_or_default();
        (last.to_owned(), said.clone())
    };
    let handler = "#[jiffy::function]\npub fn one(_event: &[u8])";

    let twice = format!("{handler} {{}}\n{}", handler.replace("one", "two") + " {}");
    let (last, all) = refused(&twice, &[]);
    let place = "has `#[jiffy::function]` twice, again at src/lib.rs:4: leave one";
    assert!(last.contains(place) && !all.contains("__jiffy"), "{all}");
    let init = |name: &str| format!("#[jiffy::init]\nfn {name}() -> u8 {{ 1 }}\n");
    let (last, all) = refused(&format!("{}{}{handler} {{}}\n", init("a"), init("b")), &[]);
    let place = "has `#[jiffy::init]` twice, again at src/lib.rs:4: leave one";
    assert!(last.contains(place) && !all.contains("__"), "{all}");

    let (last, _) = refused(&format!("{handler} -> Vec<u8> {{ vec![1] }}\n"), &[]);
    assert!(
        last.contains("write `use jiffy::prelude::*;`, or `extern crate alloc;`"),
        "{last}"
    );

    let uses =
        format!("use jiffy::prelude::*;\n{handler} -> Vec<u8> {{ vec![middle::three()] }}\n");
    let (last, _) = refused(&uses, &["--features", "uses"]);
    let which = "it is below 0.1.0, by lacks -> middle -> below, with the features std: feature `uses` of middle asks for that";
    assert!(last.ends_with(which), "{last}");
    // As it is by default it builds; and what waits needs no `std` either.
    assert_eq!(done(function, &["run", "--event", ""]).stdout, [3]);
    let waits = uses
        .replace("pub fn", "pub async fn")
        .replace("middle::three()", "four().await");
    write(
        "src/lib.rs",
        &format!("#![no_std]\n{waits}async fn four() -> u8 {{ 4 }}\n"),
    );
    assert_eq!(done(function, &["run", "--event", ""]).stdout, [4]);
}
