//! README.md is true: its commands run as they stand there, on the function that stands there.
//!
//! The blocks of `sh` are one script, those of `rust` the function that it is about. Only the port of the agent is another,
//! which it finds by itself, because somebody's own may have that of README.md.

mod agent_common;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use agent_common::can_run;
use jiffy_tests::{CrateFolder, bench_path, programs_dir, share_build_dir, workspace_root};

const AGENT: &str = "127.0.0.1:7070";
const ANSWER: &str = r#"{"greeting":"Hello, Ada!"}"#;

/// The blocks of README.md in this language, in order.
fn blocks(readme: &str, language: &str) -> Vec<String> {
    let mut found = vec![];
    let mut block: Option<(bool, String)> = None;
    for line in readme.lines() {
        match (line.strip_prefix("```"), &mut block) {
            (Some(begins), None) => block = Some((begins == language, String::new())),
            (Some(_), Some(_)) => {
                if let Some((true, text)) = block.take() {
                    found.push(text);
                }
            }
            (None, Some((_, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(block.is_none(), "a block without an end");
    found
}

/// A folder of the user's own that cargo or rustup uses.
fn home_of(variable: &str, default: &str) -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into()));
    env::var_os(variable).map_or_else(|| home().join(default), PathBuf::from)
}

/// The script, with what a person does between two lines: writes the function, and waits until the agent says in `said` where it listens.
fn script(readme: &str, function: &Path, said: &Path) -> String {
    let mut script = String::new();
    for line in blocks(readme, "sh").iter().flat_map(|block| block.lines()) {
        script += &line.replace(AGENT, "$address");
        script.push('\n');
        let command = line.split(" #").next().unwrap_or_default().trim_end();
        if command.starts_with("jiffy new ") {
            script += &format!("cp {} src/lib.rs\n", function.display());
        }
        if command.ends_with('&') {
            script += &format!(
                "agent=$!\ntrap 'kill $agent; wait $agent' EXIT\n\
                 until address=$(sed -n 's/.*listening address=//p' {}); test \"$address\"; do kill -0 $agent; sleep 0.05; done\n\
                 export JIFFY_AGENT=http://$address\n",
                said.display()
            );
        }
    }
    script
}

#[test]
fn every_command_of_the_readme_works_on_the_function_of_the_readme() {
    if !can_run() {
        return;
    }
    let readme = fs::read_to_string(workspace_root().join("README.md")).expect("README.md");
    let functions = blocks(&readme, "rust");
    assert_eq!(functions.len(), 1, "which one is the function?");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let function = folder.path().join("function.rs");
    fs::write(&function, &functions[0]).expect("written");
    let said = folder.path().join("said");
    let script = script(&readme, &function, &said);
    for verb in ["new", "build", "run", "deploy", "invoke", "snapshot"] {
        assert!(script.contains(&format!("jiffy {verb}")), "{script}");
    }
    let _ = bench_path(); // All programs are there.
    let path = env::var("PATH").unwrap_or_default();
    // `jiffy new` makes it again.
    let function = CrateFolder::new("hello");
    fs::remove_dir(function.path()).expect("it is empty");
    let mut bash = Command::new("bash");
    share_build_dir(&mut bash);
    let output = bash
        .args(["-euc", &script])
        .current_dir(function.path().parent().expect("a folder"))
        .env("PATH", format!("{}:{path}", programs_dir().display()))
        .env("CARGO_HOME", home_of("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", home_of("RUSTUP_HOME", ".rustup"))
        .env("HOME", folder.path())
        .env("JIFFYD_LISTEN", "127.0.0.1:0")
        .env("JIFFYD_JAIL__ALLOW_MISSING_CGROUPS", "true")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("XDG_CONFIG_HOME")
        .stdin(Stdio::null())
        .stderr(fs::File::create(&said).expect("a file"))
        .output()
        .expect("bash");
    let out = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&fs::read(&said).expect("a file")).into_owned();
    assert!(
        output.status.success(),
        "{}\n{script}\n{out}\n{said}",
        output.status
    );
    // By `run`, `invoke`, `curl` and from the snapshot.
    assert_eq!(out.matches(ANSWER).count(), 4, "{out}\n{said}");
}

/// Two ways to have the programs at hand: both lead to each of them.
#[test]
fn the_lines_about_path_and_install_lead_to_every_program() {
    let readme = fs::read_to_string(workspace_root().join("README.md")).expect("README.md");
    let found = blocks(&readme, "text").into_iter().flat_map(|block| {
        let lines = block.lines().map(str::to_owned);
        lines.collect::<Vec<_>>()
    });
    let lines: Vec<_> = found.collect();
    let line = |begin: &str| {
        let mut found = lines.iter().filter(|line| line.starts_with(begin));
        let line = found.next().expect(begin);
        assert!(found.next().is_none(), "two lines begin with {begin:?}");
        line.clone()
    };
    let root = workspace_root();
    let metadata = cargo_metadata::MetadataCommand::new()
        .no_deps()
        .manifest_path(root.join("Cargo.toml"))
        .exec()
        .expect("the workspace");
    let programs_of = |folder: &str| -> Vec<String> {
        let manifest = root.join(folder).join("Cargo.toml");
        let is_it = |package: &&cargo_metadata::Package| package.manifest_path == manifest;
        let package = metadata.packages.iter().find(is_it);
        let package = package.unwrap_or_else(|| panic!("{folder} is no package"));
        let programs = package.targets.iter().filter(|target| target.is_bin());
        programs.map(|target| target.name.clone()).collect()
    };
    let install = line("for crate in ");
    let (crates, rest) = install["for crate in ".len()..]
        .split_once("; do ")
        .expect("a loop");
    assert!(
        rest.starts_with("cargo install --locked --path $crate; done"),
        "{rest}"
    );
    let mut installed: Vec<_> = crates.split(' ').flat_map(programs_of).collect();
    installed.sort();
    assert_eq!(installed, ["jiffy", "jiffy-bench", "jiffy-vmm", "jiffyd"]);

    let export = line("export PATH=");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let built = folder.path().join("target/release");
    fs::create_dir_all(&built).expect("a folder");
    for program in &installed {
        fs::write(built.join(program), "#!/bin/sh\n").expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(built.join(program), mode).expect("a program");
        let which = Command::new("bash")
            .args(["-euc", &format!("{export}\ncommand -v {program}")])
            .current_dir(folder.path())
            .output()
            .expect("bash");
        let which = String::from_utf8_lossy(&which.stdout).into_owned();
        assert_eq!(Path::new(which.trim_end()), built.join(program));
    }
}

#[test]
fn blocks_are_found_by_their_language() {
    let text = "a\n```sh\none\ntwo\n```\n```text\nno\n```\n```sh\nthree\n```\n";
    assert_eq!(blocks(text, "sh"), ["one\ntwo\n", "three\n"]);
    assert!(blocks(text, "rust").is_empty());
}
