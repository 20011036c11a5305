//! `jiffy.toml`: how a function wants to be deployed, and run. Flags say the same, and win.
//!
//! Values are checked as far as they can be without an agent, which knows the limits. [`VmSettings`] is what a VM gets
//! when there is none: what a deploy would give it.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiffy_abi::layout::{RAM_BYTES_DEFAULT, RAM_BYTES_MAX, RAM_BYTES_MIN, RAM_BYTES_STEP};
use jiffy_console::quantity::{milliseconds, parse_size, parse_time};
use jiffy_control::{EnvironmentError, TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX, environment_page};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{build, client::FunctionName, runnable::is_image};

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
    #[error("{path} has a key or a value that jiffy does not know")]
    Parse {
        path: PathBuf,
        source: Box<toml::de::Error>,
    },
}

/// Changes of an environment: a value sets a variable, `None` removes it.
pub(crate) type Variables = BTreeMap<String, Option<String>>;

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

impl From<Isolation> for jiffy_control::Isolation {
    fn from(isolation: Isolation) -> Self {
        match isolation {
            Isolation::Fresh => Self::Fresh,
            Isolation::Reuse => Self::Reuse,
        }
    }
}

/// RAM of a VM, bytes, written as `16MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory(pub(crate) u64);

/// Time for a request, milliseconds, written as `3s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) u64);

/// Reads what is written as a text. A number is none, and is told what it lacks.
fn quantity<'de, D: Deserializer<'de>, T>(
    from: D,
    what: &str,
    parse: fn(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Whole(i64),
        Fraction(f64),
    }

    let text = match Written::deserialize(from) {
        Ok(Written::Text(text)) => text,
        Ok(Written::Whole(number)) => number.to_string(),
        Ok(Written::Fraction(number)) => number.to_string(),
        Err(_) => return Err(D::Error::custom(format!("invalid {what}: must be a text"))),
    };
    parse(&text).map_err(|rule| D::Error::custom(format!("invalid {what} {text}: {rule}")))
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        quantity(from, "memory", parse_memory).map(Self)
    }
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        quantity(from, "timeout", parse_timeout).map(Self::from)
    }
}

impl From<Duration> for Timeout {
    fn from(time: Duration) -> Self {
        Self(milliseconds(time))
    }
}

/// What may be said of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Manifest {
    pub(crate) name: Option<FunctionName>,
    pub(crate) memory: Option<Memory>,
    pub(crate) timeout: Option<Timeout>,
    pub(crate) isolation: Option<Isolation>,
    pub(crate) max_concurrency: Option<u32>,
    pub(crate) min_ready: Option<u32>,
    /// All environment variables.
    pub(crate) env: Option<BTreeMap<String, String>>,
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

    /// What this says, and `other` where this says nothing.
    pub(crate) fn over(self, other: Self) -> Self {
        Self {
            name: self.name.or(other.name),
            memory: self.memory.or(other.memory),
            timeout: self.timeout.or(other.timeout),
            isolation: self.isolation.or(other.isolation),
            max_concurrency: self.max_concurrency.or(other.max_concurrency),
            min_ready: self.min_ready.or(other.min_ready),
            env: self.env.or(other.env),
            description: self.description.or(other.description),
        }
    }
}

/// What a VM gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VmSettings {
    pub(crate) ram_bytes: u64,
    pub(crate) timeout: Duration,
    pub(crate) isolation: Isolation,
    /// As a VM takes it.
    pub(crate) environment: Vec<u8>,
}

/// Why a VM cannot be given what is asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
}

impl VmSettings {
    /// What a first deploy of the image or crate at `path` would give: flags, then the crate's `jiffy.toml`, then the
    /// defaults.
    pub(crate) fn of(
        path: &Path,
        flags: &Manifest,
        variables: &Variables,
    ) -> Result<Self, SettingsError> {
        let manifest = match build::crate_folder(path) {
            Ok(folder) if !is_image(path) => Manifest::of_crate(&folder)?,
            // An image has none, and what else there is the build will say.
            _ => Manifest::default(),
        };
        Self::new(flags.clone().over(manifest), variables)
    }

    /// The same, of a snapshot, which has no manifest.
    pub(crate) fn of_flags(flags: &Manifest) -> Result<Self, SettingsError> {
        Self::new(flags.clone(), &Variables::new())
    }

    fn new(settings: Manifest, variables: &Variables) -> Result<Self, SettingsError> {
        let mut environment = settings.env.unwrap_or_default();
        for (name, value) in variables {
            match value {
                Some(value) => environment.insert(name.clone(), value.clone()),
                None => environment.remove(name),
            };
        }
        let timeout_ms = settings
            .timeout
            .map_or(TIMEOUT_MS_DEFAULT, |timeout| timeout.0);
        Ok(Self {
            ram_bytes: settings.memory.map_or(RAM_BYTES_DEFAULT, |memory| memory.0),
            timeout: Duration::from_millis(timeout_ms),
            isolation: settings.isolation.unwrap_or_default(),
            environment: environment_page(&environment)?,
        })
    }
}

/// RAM of a VM: a size, rounded up to what a VM can have.
pub(crate) fn parse_memory(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text).map_err(|rule| rule.to_string())?;
    bytes
        .checked_next_multiple_of(RAM_BYTES_STEP)
        .filter(|bytes| (RAM_BYTES_MIN..=RAM_BYTES_MAX).contains(bytes))
        .ok_or_else(|| {
            format!(
                "must be {} to {} MiB",
                RAM_BYTES_MIN >> 20,
                RAM_BYTES_MAX >> 20
            )
        })
}

/// Time for `init` or a request.
pub(crate) fn parse_timeout(text: &str) -> Result<Duration, String> {
    let time = parse_time(text).map_err(|rule| rule.to_string())?;
    match milliseconds(time) {
        1..=TIMEOUT_MS_MAX => Ok(time),
        _ => Err(format!("must be 1ms to {}m", TIMEOUT_MS_MAX / 60_000)),
    }
}

/// `NAME=VALUE` of an environment.
pub(crate) fn parse_variable(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("must be NAME=VALUE"),
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
        assert_eq!(parse_memory("16777217B"), Ok(18 << 20));
        assert_eq!(parse_memory("16MB"), Ok(16 << 20));
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
            "16",
            "-4M",
        ] {
            assert!(parse_memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn timeouts_are_not_zero() {
        assert_eq!(parse_timeout("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(Timeout::from(Duration::from_micros(1)), Timeout(1));
        assert_eq!(parse_timeout("15m"), Ok(Duration::from_secs(900)));
        for text in ["0s", "3", "soon", "15m 1ms"] {
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
            ..Manifest::default()
        };
        let both = flags.over(manifest.clone());
        assert_eq!(both.memory, Some(Memory(16 << 20)));
        assert_eq!(both.timeout, manifest.timeout);
        assert_eq!(both.env, manifest.env);
        assert_eq!(check("").expect("empty"), Manifest::default());
        let nowhere = Manifest::of_crate(Path::new("/nonexistent")).expect("none");
        assert_eq!(nowhere, Manifest::default());
    }

    #[test]
    fn a_vm_gets_what_flags_and_manifest_say_and_else_the_defaults() {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::write(folder.path().join("Cargo.toml"), "").expect("written");
        let of = |flags: &Manifest, variables: &[(&str, Option<&str>)]| {
            let owned = |(name, value): &(&str, Option<&str>)| {
                (name.to_string(), value.map(str::to_string))
            };
            let variables = variables.iter().map(owned).collect();
            VmSettings::of(folder.path(), flags, &variables).expect("good")
        };
        let none = Manifest::default();
        let default = VmSettings {
            ram_bytes: RAM_BYTES_DEFAULT,
            timeout: Duration::from_millis(TIMEOUT_MS_DEFAULT),
            isolation: Isolation::Fresh,
            environment: vec![],
        };
        assert_eq!(of(&none, &[]), default);
        let text = "memory = \"64M\"\ntimeout = \"1s\"\nisolation = \"reuse\"\n[env]\nA = \"1\"\nB = \"2\"\n";
        fs::write(folder.path().join(FILE_NAME), text).expect("written");
        let said = VmSettings {
            ram_bytes: 64 << 20,
            timeout: Duration::from_secs(1),
            isolation: Isolation::Reuse,
            environment: b"A=1\0B=2\0".to_vec(),
        };
        assert_eq!(of(&none, &[]), said);
        let flags = Manifest {
            memory: Some(Memory(32 << 20)),
            isolation: Some(Isolation::Fresh),
            ..none
        };
        let over = of(&flags, &[("A", None), ("B", Some("3")), ("C", Some(""))]);
        let expected = VmSettings {
            ram_bytes: 32 << 20,
            isolation: Isolation::Fresh,
            environment: b"B=3\0C=\0".to_vec(),
            ..said
        };
        assert_eq!(over, expected);
        let bad = BTreeMap::from([("A-B".to_owned(), Some(String::new()))]);
        assert!(VmSettings::of(folder.path(), &flags, &bad).is_err());
    }

    #[test]
    fn what_is_wrong_is_shown_with_its_line() {
        for (text, word) in [
            ("name = \"hello\"\nmemroy = \"1MiB\"\n", "memroy"),
            (
                "name = \"hello\"\nmemory = \"1XB\"\n",
                "invalid memory 1XB: the unit must be",
            ),
            (
                "name = \"hello\"\nmemory = 16\n",
                "invalid memory 16: give a unit, such as 16M or 16MiB",
            ),
            (
                "name = \"hello\"\nmemory = 1.5\n",
                "invalid memory 1.5: give a whole number",
            ),
            (
                "name = \"hello\"\ntimeout = 3\n",
                "invalid timeout 3: give a unit, such as 3s or 3ms",
            ),
            (
                "name = \"hello\"\ntimeout = []\n",
                "invalid timeout: must be",
            ),
            ("name = \"hello\"\ntimeout = \"0s\"\n", "must be 1ms to 15m"),
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
