//! `jiffy.toml`: how a function wants to be deployed. The flags of `jiffy deploy` say the same, and win.
//!
//! Values are checked as far as they can be without an agent, which knows the limits.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiffy_abi::layout::{RAM_BYTES_MAX, RAM_BYTES_MIN, RAM_BYTES_STEP};
use serde::{Deserialize, Serialize};

use crate::client::FunctionName;

/// Its name, in the folder of the function's Cargo.toml.
pub(crate) const FILE_NAME: &str = "jiffy.toml";
/// Bytes of it at most.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{0} has more than {FILE_BYTES_MAX} bytes: is it the right file?")]
    TooLarge(PathBuf),
    #[error("{path} has a key or a value that is not known: mend it")]
    Parse {
        path: PathBuf,
        source: Box<toml::de::Error>,
    },
}

/// What a request finds of those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Isolation {
    /// Nothing: the VM goes back to its snapshot after every request.
    #[default]
    Fresh,
    /// All they left.
    Reuse,
}

/// RAM of a VM, bytes, written as `16MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Memory(pub(crate) u64);

impl TryFrom<String> for Memory {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_memory(&text).map(Self)
    }
}

/// Time for a request, milliseconds, written as `3s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Timeout(pub(crate) u64);

impl TryFrom<String> for Timeout {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_timeout(&text).map(Self::from)
    }
}

impl From<Duration> for Timeout {
    /// A part of a millisecond is a whole one: no time at all is no timeout.
    fn from(time: Duration) -> Self {
        let ms = time.as_nanos().div_ceil(1_000_000);
        Self(u64::try_from(ms).unwrap_or(u64::MAX))
    }
}

/// What may be said of a function; what is left out is the agent's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Manifest {
    pub(crate) name: Option<FunctionName>,
    pub(crate) memory: Option<Memory>,
    pub(crate) timeout: Option<Timeout>,
    pub(crate) isolation: Option<Isolation>,
    pub(crate) max_concurrency: Option<u32>,
    pub(crate) min_ready: Option<u32>,
    /// Environment variables.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) description: Option<String>,
}

impl Manifest {
    /// The manifest of the crate in `folder`; an empty one if it has none.
    pub(crate) fn of_crate(folder: &Path) -> Result<Self, ManifestError> {
        let path = folder.join(FILE_NAME);
        let text = match jiffy_files::read_text(&path, FILE_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(ManifestError::TooLarge(path));
            }
            Err(source) => return Err(ManifestError::Read { path, source }),
        };
        toml::from_str(&text).map_err(|source| ManifestError::Parse {
            path,
            source: Box::new(source),
        })
    }

    /// What this says, and `other` where this says nothing; environments are joined.
    pub(crate) fn over(self, other: Self) -> Self {
        let mut env = other.env;
        env.extend(self.env);
        Self {
            name: self.name.or(other.name),
            memory: self.memory.or(other.memory),
            timeout: self.timeout.or(other.timeout),
            isolation: self.isolation.or(other.isolation),
            max_concurrency: self.max_concurrency.or(other.max_concurrency),
            min_ready: self.min_ready.or(other.min_ready),
            env,
            description: self.description.or(other.description),
        }
    }
}

/// Bytes with a binary unit, rounded up to what a VM can have.
pub(crate) fn parse_memory(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    let shift = match text[digits.len()..].trim() {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return Err("use KiB, MiB or GiB, as in 64MiB".into()),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "use a whole number, as in 64MiB")?;
    number
        .checked_mul(1 << shift)
        .and_then(|bytes| bytes.checked_next_multiple_of(RAM_BYTES_STEP))
        .filter(|bytes| (RAM_BYTES_MIN..=RAM_BYTES_MAX).contains(bytes))
        .ok_or_else(|| {
            format!(
                "a VM has {} MiB to {} MiB",
                RAM_BYTES_MIN >> 20,
                RAM_BYTES_MAX >> 20
            )
        })
}

/// A time that is not zero.
pub(crate) fn parse_timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(timeout) if timeout.is_zero() => Err("give it some time, as in 3s".into()),
        Ok(timeout) => Ok(timeout),
        Err(error) => Err(format!("{error}; write it as 500ms or 3s")),
    }
}

/// `NAME=VALUE` of an environment.
pub(crate) fn parse_variable(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("write it as NAME=VALUE"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn check(text: &str) -> Result<Manifest, ManifestError> {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::write(folder.path().join(FILE_NAME), text).expect("written");
        Manifest::of_crate(folder.path())
    }

    #[test]
    fn memory_has_units_and_limits() {
        assert_eq!(parse_memory("16MiB"), Ok(16 << 20));
        assert_eq!(parse_memory("16777217"), Ok(18 << 20));
        assert_eq!(parse_memory("1 GiB"), Ok(1 << 30));
        assert_eq!(parse_memory("3G"), Ok(3 << 30));
        for text in [
            "",
            "MiB",
            "1",
            "2M",
            "4G",
            "99999999999999999999",
            "1.5G",
            "16MB",
            "-4M",
        ] {
            assert!(parse_memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn timeouts_are_not_zero() {
        assert_eq!(parse_timeout("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(Timeout::from(Duration::from_micros(1)), Timeout(1));
        for text in ["0s", "3", "soon"] {
            assert!(parse_timeout(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_manifest_says_all_that_flags_can() {
        let manifest = check(
            "name = \"hello\"\nmemory = \"32MiB\"\ntimeout = \"1500ms\"\nisolation = \"reuse\"\n\
             max-concurrency = 5\nmin-ready = 1\ndescription = \"d\"\n[env]\nA = \"1\"\nB = \"2\"\n",
        )
        .expect("good");
        assert_eq!(manifest.name, Some("hello".parse().expect("a name")));
        assert_eq!(manifest.memory, Some(Memory(32 << 20)));
        assert_eq!(manifest.timeout, Some(Timeout(1500)));
        assert_eq!(manifest.isolation, Some(Isolation::Reuse));
        assert_eq!(
            (manifest.max_concurrency, manifest.min_ready),
            (Some(5), Some(1))
        );
        let flags = Manifest {
            memory: Some(Memory(16 << 20)),
            env: BTreeMap::from([("B".into(), "3".into())]),
            ..Manifest::default()
        };
        let both = flags.over(manifest.clone());
        assert_eq!(both.memory, Some(Memory(16 << 20)));
        assert_eq!(both.timeout, manifest.timeout);
        assert_eq!((&*both.env["A"], &*both.env["B"]), ("1", "3"));
        assert_eq!(check("").expect("empty"), Manifest::default());
        let nowhere = Manifest::of_crate(Path::new("/nonexistent")).expect("none");
        assert_eq!(nowhere, Manifest::default());
    }

    #[test]
    fn what_is_wrong_is_shown_with_its_line() {
        for (text, word) in [
            ("name = \"hello\"\nmemroy = \"1MiB\"\n", "memroy"),
            ("name = \"hello\"\nmemory = \"1XB\"\n", "KiB, MiB or GiB"),
            ("name = \"hello\"\ntimeout = \"0s\"\n", "some time"),
            ("name = \"hello\"\nisolation = \"none\"\n", "none"),
            ("name = \"hello\"\nmin-ready = -1\n", "-1"),
            ("min-ready = 1\nname = \"a b\"\n", "letters, digits"),
        ] {
            let error = crate::output::chain(&check(text).expect_err(text));
            assert!(error.contains("line 2") && error.contains(word), "{error}");
        }
        let large = format!("#{}", "x".repeat(64 << 10));
        assert!(matches!(check(&large), Err(ManifestError::TooLarge(_))));
    }
}
