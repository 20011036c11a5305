//! What `jiffy.toml` says of a build: features of the crate, and the stack of its image.

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
