//! Neighbours that a file describes, so that operators can put the VMM they use today beside us. `benches/peers/specs` has examples.
//!
//! ```toml
//! name = "qemu"                          # a-z, 0-9 and _; the result is peers.qemu.cold
//! isolation = "a virtual machine"        # what it keeps apart, for people
//! vm_or_container = true                 # whether we promise to be faster
//! command = ["qemu-system-x86_64", "…"]  # not through a shell; relative paths are relative to where `jiffy bench` is started
//! stdin = '{"name":"Ada"}'               # optional: written to its standard input, which is then closed
//! first_output = "Hello, Ada!"           # the clock stops when its standard output has had this text
//! timeout_ms = 5000                      # optional: when it is ended, and told as absent
//! after_answer = "kill"                  # optional: "wait" until it ends by itself, or "kill" it; neither is measured
//! ```

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{
    KNOWN,
    program::{AfterAnswer, Program},
};
use crate::suites::Fallible;

/// Files that may be given, and what one may hold.
pub const SPECS_MAX: usize = 32;
const FILE_BYTES_MAX: u64 = 64 << 10;
const NAME_BYTES_MAX: usize = 32;
const ISOLATION_CHARS_MAX: usize = 200;
const ARGUMENTS_MAX: usize = 256;
const ARGUMENT_BYTES_MAX: usize = 4096;
/// A pipe takes as much without a reader, whatever its size.
const STDIN_BYTES_MAX: usize = 4096;
const FIRST_OUTPUT_BYTES_MAX: usize = 1024;
const TIMEOUT_MS_MAX: u64 = 60_000;
const TIMEOUT_MS: u64 = 5000;

/// Why a description cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum SpecError {
    #[error("{0} descriptions of neighbours, more than {SPECS_MAX}: leave some out")]
    TooMany(usize),
    #[error("cannot read {0}: name a description of a neighbour")]
    Read(PathBuf, #[source] io::Error),
    #[error("{0} has more than {FILE_BYTES_MAX} bytes: no description of a neighbour has")]
    TooLarge(PathBuf),
    #[error("{0} does not describe a neighbour: see benches/peers/specs for examples")]
    Parse(PathBuf, #[source] toml::de::Error),
    #[error("{path}: {reason}")]
    Invalid { path: PathBuf, reason: String },
    #[error("{path}: there is another neighbour called {name:?}, choose another name")]
    Taken { path: PathBuf, name: String },
}

/// A neighbour as its file describes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The result is `peers.NAME.cold`.
    pub name: String,
    /// What it keeps apart, for people.
    pub isolation: String,
    /// Whether that is a VM or a container: then we promise to be faster.
    pub vm_or_container: bool,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// What it reads.
    #[serde(default)]
    pub stdin: String,
    /// What marks its answer.
    pub first_output: String,
    /// When it is given up.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// What becomes of it then.
    #[serde(default)]
    pub after_answer: AfterAnswer,
}

fn timeout_ms() -> u64 {
    TIMEOUT_MS
}

impl Spec {
    /// Checks what a type does not say. In words that follow the name of the file.
    fn check(&self) -> Result<(), String> {
        let is_in_name =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let limit = |what: &str, len: usize, max: usize| {
            if len == 0 {
                return Err(format!("{what} is empty"));
            }
            if len > max {
                return Err(format!(
                    "{what} has a length of {len}, and {max} is the limit"
                ));
            }
            Ok(())
        };
        limit("name", self.name.len(), NAME_BYTES_MAX)?;
        if !self.name.bytes().all(is_in_name) {
            return Err(format!("name is {:?}: use a to z, 0 to 9 and _", self.name));
        }
        limit(
            "isolation",
            self.isolation.chars().count(),
            ISOLATION_CHARS_MAX,
        )?;
        if self.isolation.contains(char::is_control) {
            return Err("isolation has control characters: write one line of text".into());
        }
        limit("command", self.command.len(), ARGUMENTS_MAX)?;
        limit("command[0]", self.command[0].len(), ARGUMENT_BYTES_MAX)?;
        for (at, argument) in self.command.iter().enumerate() {
            // An argument may be empty, a program may not.
            limit(
                &format!("command[{at}]"),
                argument.len().max(1),
                ARGUMENT_BYTES_MAX,
            )?;
            if argument.contains('\0') {
                return Err(format!(
                    "command[{at}] has a NUL in it, which no argument can"
                ));
            }
        }
        limit("stdin", self.stdin.len().max(1), STDIN_BYTES_MAX)?;
        limit(
            "first_output",
            self.first_output.len(),
            FIRST_OUTPUT_BYTES_MAX,
        )?;
        if !(1..=TIMEOUT_MS_MAX).contains(&self.timeout_ms) {
            let timeout_ms = self.timeout_ms;
            return Err(format!(
                "timeout_ms is {timeout_ms}: give 1 to {TIMEOUT_MS_MAX}"
            ));
        }
        Ok(())
    }

    /// What is measured.
    pub(super) fn into_program(self) -> Fallible<Program> {
        let timeout = Duration::from_millis(self.timeout_ms);
        let mut program = Program::new(
            self.command,
            self.stdin.as_bytes(),
            &self.first_output,
            timeout,
        )?;
        program.after_answer = self.after_answer;
        Ok(program)
    }
}

/// Reads and checks all of `paths`.
///
/// # Errors
/// What is wrong with the first that cannot be used.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Spec>, SpecError> {
    if paths.len() > SPECS_MAX {
        return Err(SpecError::TooMany(paths.len()));
    }
    let mut specs: Vec<Spec> = vec![];
    for path in paths {
        let spec = read(path)?;
        let is_taken = specs.iter().any(|other| other.name == spec.name);
        if is_taken || KNOWN.contains(&spec.name.as_str()) {
            let (path, name) = (path.clone(), spec.name);
            return Err(SpecError::Taken { path, name });
        }
        specs.push(spec);
    }
    Ok(specs)
}

fn read(path: &Path) -> Result<Spec, SpecError> {
    let cannot_read = |error| SpecError::Read(path.to_owned(), error);
    let mut text = String::new();
    let file = File::open(path).map_err(cannot_read)?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(cannot_read)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(SpecError::TooLarge(path.to_owned()));
    }
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Spec, SpecError> {
    let path = || path.to_owned();
    let spec: Spec = toml::from_str(text).map_err(|error| SpecError::Parse(path(), error))?;
    let checked = spec.check();
    checked.map_err(|reason| SpecError::Invalid {
        path: path(),
        reason,
    })?;
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use jiffy_control::error_chain;

    use super::*;

    const GOOD: &str = r#"
        name = "shell"
        isolation = "none"
        vm_or_container = false
        command = ["/bin/sh", "-c", "cat", ""]
        first_output = "Ada"
    "#;

    fn why(text: &str) -> String {
        let refused = parse(Path::new("x.toml"), text).expect_err(text);
        error_chain(&refused)
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let spec = parse(Path::new("x.toml"), GOOD).expect("good");
        assert_eq!(spec.timeout_ms, TIMEOUT_MS);
        assert_eq!(
            (spec.stdin.as_str(), spec.after_answer),
            ("", AfterAnswer::Wait)
        );
        let killed = format!("{GOOD}\nafter_answer = \"kill\"");
        let killed = parse(Path::new("x.toml"), &killed).expect("good");
        assert_eq!(killed.after_answer, AfterAnswer::Kill);
    }

    #[test]
    fn refusals_say_what_to_change() {
        let check = |from: &str, to: &str, expected: &str| {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            let why = why(&text);
            assert!(why.starts_with("x.toml") && why.contains(expected), "{why}");
        };
        check("\"shell\"", "\"\"", "name is empty");
        check("\"shell\"", "\"../x\"", "use a to z, 0 to 9 and _");
        check(
            "\"shell\"",
            &format!("\"{}\"", "x".repeat(33)),
            "32 is the limit",
        );
        check("\"none\"", "\"a\\u001b[2J\"", "control characters");
        check(
            "\"none\"",
            &format!("\"{}\"", "x".repeat(201)),
            "200 is the limit",
        );
        check(
            "[\"/bin/sh\", \"-c\", \"cat\", \"\"]",
            "[]",
            "command is empty",
        );
        check("\"/bin/sh\"", "\"\"", "command[0] is empty");
        check("\"cat\"", "\"c\\u0000t\"", "command[2] has a NUL");
        check(
            "\"cat\"",
            &format!("\"{}\"", "x".repeat(4097)),
            "4096 is the limit",
        );
        check("\"Ada\"", "\"\"", "first_output is empty");
        check("\"Ada\"", "\"Ada\"\ntimeout_ms = 0", "give 1 to 60000");
        check("\"Ada\"", "\"Ada\"\ntimeout_ms = 60001", "give 1 to 60000");
        check("\"Ada\"", "\"Ada\"\ntimeout_ms = -1", "invalid value");
        check(
            "\"Ada\"",
            "\"Ada\"\nafter_answer = \"wiat\"",
            "unknown variant",
        );
        check("\"Ada\"", "\"Ada\"\nshell = true", "unknown field `shell`");
        check(
            "vm_or_container = false",
            "",
            "missing field `vm_or_container`",
        );
        let long = format!("\"Ada\"\nstdin = \"{}\"", "x".repeat(4097));
        check("\"Ada\"", &long, "4096 is the limit");
        assert!(why("\u{0}").contains("does not describe a neighbour"));
    }

    #[test]
    fn files_have_limits_and_names_of_their_own() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("file");
            path
        };
        let good = write("good.toml", GOOD);
        let refused = |paths: &[PathBuf]| error_chain(&read_all(paths).expect_err("refused"));
        assert_eq!(
            read_all(std::slice::from_ref(&good)).expect("good").len(),
            1
        );
        let twice = refused(&[good.clone(), good.clone()]);
        assert!(
            twice.contains("another neighbour called \"shell\""),
            "{twice}"
        );
        let known = write("known.toml", &GOOD.replace("shell", "crun"));
        assert!(refused(&[known]).contains("another neighbour called \"crun\""));
        let large = write("large.toml", &"#".repeat(65_537));
        assert!(refused(&[large]).contains("more than 65536 bytes"));
        let missing = folder.path().join("missing.toml");
        assert!(refused(&[missing]).contains("name a description of a neighbour"));
        assert!(refused(&vec![good; SPECS_MAX + 1]).contains("leave some out"));
    }

    #[test]
    fn examples_can_be_used() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/specs");
        let files = std::fs::read_dir(folder).expect("examples");
        let files: Vec<_> = files.map(|file| file.expect("example").path()).collect();
        assert!(read_all(&files).expect("examples").len() >= 2);
    }
}
