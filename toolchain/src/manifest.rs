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

use jiffy_abi::layout::{RAM_BYTES_MAX, RAM_BYTES_MIN, RAM_BYTES_STEP};
use jiffy_console::quantity::{milliseconds, parse_size, parse_time};
use jiffy_model::{
    BindingName, Environment, EnvironmentChanges, EnvironmentError, FunctionName, Grants,
    InvalidGrant, InvokeGrant, Isolation, NamedGrant, NetworkGrant, SecretGrant, Settings,
    SomeSettings, TIMEOUT_MS_MAX, UrlGrant, change_environment, environment_page,
};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{build, runnable::is_image};

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) name: Option<FunctionName>,
    pub(crate) settings: SomeSettings,
}

/// The same as it is written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    name: Option<FunctionName>,
    memory: Option<Memory>,
    timeout: Option<Timeout>,
    isolation: Option<Isolation>,
    max_concurrency: Option<u32>,
    min_ready: Option<u32>,
    /// All environment variables.
    env: Option<Environment>,
    description: Option<String>,
    network: NetworkGrant,
    secrets: BTreeMap<BindingName, SecretGrant>,
    sql: BTreeMap<BindingName, WrittenUrl>,
    redis: BTreeMap<BindingName, WrittenUrl>,
    kv: BTreeMap<BindingName, NamedGrant>,
    queue: BTreeMap<BindingName, NamedGrant>,
    invoke: InvokeGrant,
}

/// A [`UrlGrant`] as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenUrl {
    url_secret: BindingName,
}

impl From<WrittenUrl> for UrlGrant {
    fn from(WrittenUrl { url_secret }: WrittenUrl) -> Self {
        Self { url_secret }
    }
}

impl From<Written> for Manifest {
    fn from(written: Written) -> Self {
        let urls = |of: BTreeMap<BindingName, WrittenUrl>| {
            let urls = of.into_iter().map(|(name, url)| (name, url.into()));
            urls.collect()
        };
        let grants = Grants {
            network: written.network,
            secrets: written.secrets,
            sql: urls(written.sql),
            redis: urls(written.redis),
            kv: written.kv,
            queue: written.queue,
            invoke: written.invoke,
        };
        let settings = SomeSettings {
            memory_bytes: written.memory.map(|memory| memory.0),
            timeout_ms: written.timeout.map(|timeout| timeout.0),
            isolation: written.isolation,
            max_concurrency: written.max_concurrency,
            min_ready: written.min_ready,
            environment: written.env,
            description: written.description,
            // All of them: what is taken out of the file is granted no longer.
            grants: Some(grants),
        };
        let name = written.name;
        Self { name, settings }
    }
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
        match toml::from_str::<Written>(&text) {
            Ok(written) => Ok(written.into()),
            Err(source) => Err(ManifestError::Parse {
                path,
                source: Box::new(source),
            }),
        }
    }

    /// What this says, and `other` where this says nothing.
    pub(crate) fn over(self, other: Self) -> Self {
        Self {
            name: self.name.or(other.name),
            settings: self.settings.over(other.settings),
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
    pub(crate) grants: Grants,
}

/// Why a VM cannot be given what is asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    Grant(#[from] InvalidGrant),
}

impl VmSettings {
    /// What a first deploy of the image or crate at `path` would give: flags, then the crate's `jiffy.toml`, then the
    /// defaults.
    pub(crate) fn of(
        path: &Path,
        flags: &SomeSettings,
        variables: &EnvironmentChanges,
    ) -> Result<Self, SettingsError> {
        let manifest = match build::crate_folder(path) {
            Ok(folder) if !is_image(path) => Manifest::of_crate(&folder)?,
            // An image has none, and what else there is the build will say.
            _ => Manifest::default(),
        };
        Self::new(flags.clone().over(manifest.settings), variables)
    }

    /// The same, of a snapshot, which has no manifest.
    pub(crate) fn of_flags(flags: &SomeSettings) -> Result<Self, SettingsError> {
        Self::new(flags.clone(), &EnvironmentChanges::new())
    }

    fn new(said: SomeSettings, variables: &EnvironmentChanges) -> Result<Self, SettingsError> {
        let mut settings = said.or(Settings::default());
        change_environment(&mut settings.environment, variables.clone());
        settings.grants.check()?;
        Ok(Self {
            ram_bytes: settings.memory_bytes,
            timeout: Duration::from_millis(settings.timeout_ms),
            isolation: settings.isolation,
            environment: environment_page(&settings.environment)?,
            grants: settings.grants,
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

    use jiffy_abi::layout::RAM_BYTES_DEFAULT;
    use jiffy_model::TIMEOUT_MS_DEFAULT;

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
             max-concurrency = 5\nmin-ready = 1\ndescription = \"d\"\n[env]\nA = \"1\"\nB = \"2\"\n[kv.cart]\n",
        )
        .expect("good");
        assert_eq!(manifest.name, Some("hello".parse().expect("a name")));
        let settings = Settings {
            memory_bytes: 32 << 20,
            timeout_ms: 1500,
            isolation: Isolation::Reuse,
            max_concurrency: 5,
            min_ready: 1,
            environment: [("A", "1"), ("B", "2")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            description: "d".into(),
            grants: Grants {
                kv: [("cart".parse().expect("a name"), NamedGrant {})].into(),
                ..Grants::default()
            },
        };
        let said = manifest.settings.clone().or(Settings::default());
        assert_eq!(said, settings);
        let flags = Manifest {
            settings: SomeSettings {
                memory_bytes: Some(16 << 20),
                ..SomeSettings::default()
            },
            ..Manifest::default()
        };
        let both = flags.over(manifest.clone());
        assert_eq!(both.settings.memory_bytes, Some(16 << 20));
        assert_eq!(both.settings.timeout_ms, manifest.settings.timeout_ms);
        assert_eq!(both.settings.environment, manifest.settings.environment);
        // A manifest without grants takes those away that a version before it had; no manifest leaves them.
        let empty = check("").expect("empty");
        assert_eq!(empty.settings.grants, Some(Grants::default()));
        let nowhere = Manifest::of_crate(Path::new("/nonexistent")).expect("none");
        assert_eq!(nowhere, Manifest::default());
    }

    #[test]
    fn a_vm_gets_what_flags_and_manifest_say_and_else_the_defaults() {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::write(folder.path().join("Cargo.toml"), "").expect("written");
        let of = |flags: &SomeSettings, variables: &[(&str, Option<&str>)]| {
            let owned = |(name, value): &(&str, Option<&str>)| {
                (name.to_string(), value.map(str::to_string))
            };
            let variables = variables.iter().map(owned).collect();
            VmSettings::of(folder.path(), flags, &variables).expect("good")
        };
        let none = SomeSettings::default();
        let default = VmSettings {
            ram_bytes: RAM_BYTES_DEFAULT,
            timeout: Duration::from_millis(TIMEOUT_MS_DEFAULT),
            isolation: Isolation::Fresh,
            environment: vec![],
            grants: Grants::default(),
        };
        assert_eq!(of(&none, &[]), default);
        let text = "memory = \"64M\"\ntimeout = \"1s\"\nisolation = \"reuse\"\n[env]\nA = \"1\"\nB = \"2\"\n[kv.cart]\n";
        fs::write(folder.path().join(FILE_NAME), text).expect("written");
        let said = VmSettings {
            ram_bytes: 64 << 20,
            timeout: Duration::from_secs(1),
            isolation: Isolation::Reuse,
            environment: b"A=1\0B=2\0".to_vec(),
            grants: Grants {
                kv: [("cart".parse().expect("a name"), NamedGrant {})].into(),
                ..Grants::default()
            },
        };
        assert_eq!(of(&none, &[]), said);
        let flags = SomeSettings {
            memory_bytes: Some(32 << 20),
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
        let bad = EnvironmentChanges::from([("A-B".to_owned(), Some(String::new()))]);
        assert!(VmSettings::of(folder.path(), &flags, &bad).is_err());
    }

    /// As `docs/capabilities.md` has it.
    #[test]
    fn grants_are_written_in_sections() {
        let text = "[network]\nallow = [\"https://api.example.com\"]\nmethods = [\"GET\"]\n\
                    [secrets]\nstripe = { hosts = [\"api.stripe.com\"], header = \"authorization\", format = \"Bearer {}\" }\n\
                    signing = {}\n[sql.orders]\nurl-secret = \"orders_url\"\n[queue.emails]\n[invoke]\nallow = [\"other\"]\n";
        let grants = check(text).expect("good").settings.grants.expect("said");
        let expected = [
            "https://api.example.com (GET)",
            "secret signing, which it reads",
            "secret stripe, as authorization to api.stripe.com",
            "SQL orders, at the address in secret orders_url",
            "queue emails",
            "function other",
        ];
        assert_eq!(grants.lines(), expected);
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
            (
                "[network]\nallow = [\"api.example.com\"]\n",
                "invalid origin \"api.example.com\": must be https://HOST",
            ),
            ("[network]\ndeny = []\n", "deny"),
            ("[sql.a]\nurl_secret = \"b\"\n", "url_secret"),
        ] {
            let error = crate::output::chain(&check(text).expect_err(text));
            assert!(error.contains("line 2") && error.contains(word), "{error}");
        }
        let large = format!("#{}", "x".repeat(64 << 10));
        assert!(matches!(check(&large), Err(ManifestError::TooLarge(_))));
    }
}
