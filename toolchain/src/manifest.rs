//! `jiffy.toml`: how a function wants to be built, deployed and run. Flags say the same, and win; features add up.
//!
//! Values are checked as far as they can be without an agent, which knows the limits.
//! Not here: what a VM gets when there is none (`vm_settings`).

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiffy_abi::{
    layout::{RAM_BYTES_MAX, RAM_BYTES_MIN, RAM_BYTES_STEP},
    note,
};
use jiffy_console::quantity::{milliseconds, parse_size, parse_time};
use jiffy_model::{
    BindingName, Environment, FunctionName, Grants, InvokeGrant, Isolation, NamedGrant,
    NetworkGrant, SecretGrant, SomeSettings, TIMEOUT_MS_MAX, UrlGrant,
};
use serde::{Deserialize, Deserializer, de::Error as _};

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

/// Size of a function's stack, bytes, written as `8MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StackSize(pub(crate) u64);

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

impl<'de> Deserialize<'de> for StackSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        quantity(from, "stack", parse_stack).map(Self)
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

/// What a function is written in, if that is not Rust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Lang {
    #[default]
    #[serde(rename = "c")]
    C,
    /// Without exceptions and run-time types.
    #[serde(rename = "c++")]
    Cxx,
}

impl Lang {
    /// As a person writes it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::C => "C",
            Self::Cxx => "C++",
        }
    }
}

/// `[function]`: how a function that is not Rust is built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Native {
    pub(crate) lang: Lang,
    /// Of the function; `0.1.0` if it says none.
    pub(crate) version: Option<String>,
    /// Patterns, in whose order the last that fits wins; with a `!`, it leaves out.
    #[serde(default)]
    pub(crate) sources: Vec<String>,
    /// Folders of headers.
    #[serde(default)]
    pub(crate) include: Vec<String>,
    /// More for the compiler.
    #[serde(default)]
    pub(crate) cflags: Vec<String>,
    /// Static libraries, by name or path.
    #[serde(default)]
    pub(crate) libs: Vec<String>,
    /// Size of the stack, as in `[package.metadata.jiffy]` of a Cargo.toml.
    pub(crate) stack: Option<String>,
    /// As there.
    #[serde(default)]
    pub(crate) precise_clock: bool,
    /// As there.
    #[serde(default)]
    pub(crate) random_init: bool,
}

impl Native {
    /// What sources are looked for by.
    pub(crate) fn source_patterns(&self) -> Vec<String> {
        let usual: &[&str] = match self.lang {
            Lang::C => &["*.c", "src/*.c"],
            Lang::Cxx => &[
                "*.c",
                "*.cc",
                "*.cpp",
                "*.cxx",
                "src/*.c",
                "src/*.cc",
                "src/*.cpp",
                "src/*.cxx",
            ],
        };
        match self.sources.is_empty() {
            true => usual.iter().map(ToString::to_string).collect(),
            false => self.sources.clone(),
        }
    }
}

/// What a panic does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Panic {
    /// It ends the VM.
    #[default]
    Abort,
    /// It can be caught: by `catch_unwind`, and by whoever joins the thread. One that nobody catches ends the VM.
    Unwind,
}

/// Which features of its crate an image is built with, beside those of its dependencies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) names: Vec<String>,
    /// The feature `default` is left out.
    pub(crate) no_default: bool,
}

impl Features {
    /// These and the others, as cargo adds up what asks for one crate.
    pub(crate) fn and(mut self, others: &Self) -> Self {
        self.names.extend(others.names.iter().cloned());
        self.no_default |= others.no_default;
        self
    }

    /// Whether they are what there is if nobody says anything.
    pub(crate) fn is_usual(&self) -> bool {
        self.names.is_empty() && !self.no_default
    }
}

/// What may be said of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) name: Option<FunctionName>,
    /// It is not Rust.
    pub(crate) native: Option<Native>,
    /// Size of its stack, bytes.
    pub(crate) stack_bytes: Option<u64>,
    pub(crate) features: Features,
    pub(crate) panic: Panic,
    pub(crate) settings: SomeSettings,
    /// Files that the image has: by path in the function, the path in the crate.
    pub(crate) files: BTreeMap<String, PathBuf>,
}

/// The same as it is written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    name: Option<FunctionName>,
    function: Option<Native>,
    stack: Option<WrittenStack>,
    features: Vec<String>,
    default_features: Option<bool>,
    panic: Panic,
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
    files: BTreeMap<String, PathBuf>,
}

/// `[stack]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStack {
    bytes: StackSize,
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
        Self {
            name: written.name,
            native: written.function,
            stack_bytes: written.stack.map(|stack| stack.bytes.0),
            features: Features {
                names: written.features,
                no_default: written.default_features == Some(false),
            },
            panic: written.panic,
            settings,
            files: written.files,
        }
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

    /// Whether the function in `folder` is said not to be Rust. What cannot be read says nothing: whoever reads it whole tells why.
    pub(crate) fn is_native(folder: &Path) -> bool {
        let text = jiffy_files::read_text(folder.join(FILE_NAME), FILE_BYTES_MAX);
        let table = text.ok().and_then(|text| text.parse::<toml::Table>().ok());
        table.is_some_and(|table| table.contains_key("function"))
    }

    /// What this says, and `other` where this says nothing.
    pub(crate) fn over(self, other: Self) -> Self {
        Self {
            name: self.name.or(other.name),
            native: other.native,
            stack_bytes: other.stack_bytes,
            features: other.features,
            panic: other.panic,
            settings: self.settings.over(other.settings),
            files: other.files,
        }
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

/// Size of a stack that an image can ask for.
pub(crate) fn parse_stack(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text).map_err(|rule| rule.to_string())?;
    match note::with_stack(0, bytes) {
        Some(_) => Ok(bytes),
        None => Err("must be from 768K to 1G, in steps of 64K".into()),
    }
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

    use jiffy_model::Settings;

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
    fn a_build_has_a_stack_and_features() {
        let manifest = check(
            "features = [\"a\", \"b\"]\ndefault-features = false\n[stack]\nbytes = \"8MiB\"\n",
        )
        .expect("good");
        let features = Features {
            names: vec!["a".into(), "b".into()],
            no_default: true,
        };
        assert_eq!(manifest.stack_bytes, Some(8 << 20));
        assert_eq!(manifest.features, features);
        // Flags of a deploy say nothing of a build.
        assert_eq!(Manifest::default().over(manifest.clone()), manifest);
        let usual = check("default-features = true\nfeatures = []\n").expect("good");
        assert!(usual.features.is_usual() && usual.stack_bytes.is_none());
        let more = Features {
            names: vec!["c".into()],
            no_default: false,
        };
        let both = features.clone().and(&more);
        assert_eq!(both.names, ["a", "b", "c"]);
        assert!(both.no_default, "a flag takes nothing back");
        assert!(!more.is_usual() && !features.is_usual());
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
            (
                "[stack]\nbytes = \"256KiB\"\n",
                "invalid stack 256KiB: must be from 768K to 1G, in steps of 64K",
            ),
            (
                "[stack]\nbytes = 1048576\n",
                "invalid stack 1048576: give a unit",
            ),
            ("[stack]\nsize = \"1M\"\n", "size"),
            ("name = \"hello\"\nfeatures = \"a\"\n", "a sequence"),
            (
                "name = \"hello\"\npanic = \"catch\"\n",
                "expected `abort` or `unwind`",
            ),
            ("[sql.a]\nurl_secret = \"b\"\n", "url_secret"),
        ] {
            let error = crate::output::chain(&check(text).expect_err(text));
            assert!(error.contains("line 2") && error.contains(word), "{error}");
        }
        let large = format!("#{}", "x".repeat(64 << 10));
        assert!(matches!(check(&large), Err(ManifestError::TooLarge(_))));
    }
}
