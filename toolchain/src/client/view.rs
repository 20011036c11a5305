//! What the agent answers, as far as it is shown. Fields that are missing get their default: an agent of
//! another release may leave them out.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    io::Write,
    time::{Duration, UNIX_EPOCH},
};

use jiffy_console::stderr;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::ClientError;
pub(super) use crate::output::Line;
use crate::output::{Bytes, Untrusted};

/// The last millisecond that has a date of four digits.
const MS_MAX: u64 = 253_402_300_799_999;
/// Characters of a digest that are shown where there is little room.
const DIGEST_CHARS_SHOWN: usize = 12;

/// `document` as far as it is shown.
pub(super) fn view<T: DeserializeOwned>(document: &Value) -> Result<T, ClientError> {
    T::deserialize(document).map_err(|source| ClientError::Document {
        agent: "this address".into(),
        source,
    })
}

/// A line that `init` logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct InitLog {
    level: String,
    text: String,
}

/// Prints what `init` logged on standard error, as `jiffy run` does.
pub(super) fn print_init_logs(logs: &[InitLog]) {
    let mut err = stderr();
    for InitLog { level, text } in logs {
        let _ = writeln!(err, "[{}] {}", Line(level), Untrusted(text));
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) live: u64,
    pub(super) aliases: BTreeMap<String, Alias>,
    pub(super) reserved_concurrency: Option<u32>,
    pub(super) created_ms: u64,
    pub(super) updated_ms: u64,
    /// Of a description only.
    pub(super) live_version: Option<Version>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Alias {
    pub(super) version: Target,
    pub(super) other: Option<Other>,
    pub(super) description: String,
}

/// The number of a version, or `live`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Target {
    Number(u64),
    Text(String),
}

impl Default for Target {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => Line(text).fmt(f),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Other {
    pub(super) version: u64,
    pub(super) per_mille: u16,
}

impl Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.other {
            None => write!(f, "{}", self.version),
            Some(Other { version, per_mille }) => {
                let rest = 1000_u16.saturating_sub(*per_mille);
                write!(f, "{}={rest} {version}={per_mille}", self.version)
            }
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Version {
    pub(super) version: u64,
    /// An agent that does not say so has only such.
    published: Option<bool>,
    pub(super) image: String,
    pub(super) image_bytes: u64,
    pub(super) snapshot: String,
    pub(super) created_ms: u64,
    pub(super) memory_bytes: u64,
    pub(super) timeout_ms: u64,
    pub(super) isolation: String,
    pub(super) max_concurrency: u32,
    pub(super) min_ready: u32,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) description: String,
    /// Of a deploy only.
    pub(super) changes: Changes,
    /// Of a deploy only.
    pub(super) logs: Vec<InitLog>,
}

/// How a deploy changed a function's settings.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Changes {
    memory_bytes: Option<Change<u64>>,
    timeout_ms: Option<Change<u64>>,
    isolation: Option<Change<String>>,
    max_concurrency: Option<Change<u32>>,
    min_ready: Option<Change<u32>>,
    environment: Option<EnvironmentChange>,
    description: Option<Change<String>>,
}

#[derive(Debug, Deserialize)]
struct Change<T> {
    from: T,
    to: T,
}

/// Names of variables.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EnvironmentChange {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
}

impl Changes {
    /// A line for each setting: `memory 16.0 MiB -> 64.0 MiB`.
    pub(super) fn lines(&self) -> Vec<String> {
        fn line<T, S: Display>(
            what: &str,
            change: Option<&Change<T>>,
            show: impl Fn(&T) -> S,
        ) -> Option<String> {
            let Change { from, to } = change?;
            Some(format!("{what} {} -> {}", show(from), show(to)))
        }
        let text = |text: &String| match &**text {
            "" => "none".to_owned(),
            text => Line(text).to_string(),
        };
        let time = |ms: &u64| humantime::format_duration(Duration::from_millis(*ms));
        let lines = [
            line("memory", self.memory_bytes.as_ref(), |bytes| Bytes(*bytes)),
            line("timeout", self.timeout_ms.as_ref(), time),
            line("isolation", self.isolation.as_ref(), text),
            line("max-concurrency", self.max_concurrency.as_ref(), u32::clone),
            line("min-ready", self.min_ready.as_ref(), u32::clone),
            line("description", self.description.as_ref(), text),
        ];
        let mut lines: Vec<String> = lines.into_iter().flatten().collect();
        if let Some(environment) = &self.environment {
            for (names, what) in [
                (&environment.added, "added"),
                (&environment.changed, "changed"),
                (&environment.removed, "removed"),
            ] {
                let names = names.iter();
                lines.extend(names.map(|name| format!("env {} {what}", Line(name))));
            }
        }
        lines
    }
}

impl Version {
    /// Its number, and whether that is only what it will get.
    pub(super) fn label(&self) -> String {
        match self.published {
            Some(false) => format!("{} (not published)", self.version),
            _ => self.version.to_string(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Instance {
    pub(super) function: String,
    pub(super) state: String,
    pub(super) memory_charged_bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    pub(super) function: String,
    pub(super) requests: u64,
    pub(super) outcomes: BTreeMap<String, u64>,
    pub(super) starts: BTreeMap<String, u64>,
    pub(super) run_us: u64,
    pub(super) wall_us: u64,
    pub(super) cpu_us: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) memory_mib_us: u64,
}

impl Usage {
    /// Requests that ended with anything but the handler's output.
    pub(super) fn failed(&self) -> u64 {
        let ok = self.outcomes.get("ok").copied().unwrap_or_default();
        self.requests.saturating_sub(ok)
    }

    pub(super) fn started(&self, how: &str) -> u64 {
        self.starts.get(how).copied().unwrap_or_default()
    }
}

/// The beginning of a digest.
pub(super) struct ShortDigest<'a>(pub(super) &'a str);

impl Display for ShortDigest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.rsplit(':').next().unwrap_or_default();
        let shown: String = digits.chars().take(DIGEST_CHARS_SHOWN).collect();
        Line(&shown).fmt(f)
    }
}

/// A moment, milliseconds since 1970, as its date and time.
pub(super) struct Moment(pub(super) u64);

impl Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = UNIX_EPOCH + Duration::from_millis(self.0.min(MS_MAX));
        humantime::format_rfc3339_millis(moment).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_never_end() {
        assert_eq!(Moment(0).to_string(), "1970-01-01T00:00:00.000Z");
        let last = "9999-12-31T23:59:59.999Z";
        assert_eq!(Moment(MS_MAX).to_string(), last);
        assert_eq!(Moment(u64::MAX).to_string(), last);
    }

    #[test]
    fn a_digest_is_short() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        assert_eq!(ShortDigest(&digest).to_string(), "0123456789ab");
        assert_eq!(ShortDigest("").to_string(), "");
    }

    #[test]
    fn an_alias_shows_the_shares_of_its_versions() {
        let alias = |json: &str| {
            serde_json::from_str::<Alias>(json)
                .expect("JSON")
                .to_string()
        };
        assert_eq!(alias(r#"{"version":3,"other":null}"#), "3");
        let split = r#"{"version":3,"other":{"version":4,"per_mille":100}}"#;
        assert_eq!(alias(split), "3=900 4=100");
        assert_eq!(alias(r#"{"version":"live","other":null}"#), "live");
    }

    #[test]
    fn a_version_that_is_not_published_says_so() {
        let label = |json: &str| serde_json::from_str::<Version>(json).expect("JSON").label();
        assert_eq!(
            label(r#"{"version":3,"published":false}"#),
            "3 (not published)"
        );
        assert_eq!(label(r#"{"version":3,"published":true}"#), "3");
        assert_eq!(label(r#"{"version":3}"#), "3");
    }
}
