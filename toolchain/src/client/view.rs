//! What the agent answers, as far as it is shown. Fields that are missing get their default: an agent of
//! another release may leave them out.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    io::Write,
    time::{Duration, UNIX_EPOCH},
};

use jiffy_console::stderr;
use jiffy_model::{
    Change, Isolation, SettingsChanges,
    documents::{InitLog, VersionDocument},
};
use jiffy_snapshots::Digest;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::ClientError;
pub(super) use crate::output::Line;
use crate::output::{Bytes, Format, Untrusted, print_json};

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

/// Prints what the agent answered: its own words, or as `text` says what is shown of them.
pub(super) fn show<T: DeserializeOwned>(
    document: &Value,
    format: Format,
    text: impl FnOnce(T) -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    match format {
        Format::Json => Ok(print_json(document)?),
        Format::Text => text(view(document)?),
    }
}

/// Prints what `init` logged on standard error, as `jiffy run` does.
pub(super) fn print_init_logs(logs: &[InitLog]) {
    let mut err = stderr();
    for InitLog { level, text } in logs {
        let _ = writeln!(err, "[{}] {}", Line(level), Untrusted(text));
    }
}

/// A line for each setting that changed: `memory 16.0 MiB -> 64.0 MiB`.
pub(super) fn change_lines(changes: &SettingsChanges) -> Vec<String> {
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
    // A setting more does not compile until it is shown.
    let SettingsChanges {
        memory_bytes,
        timeout_ms,
        isolation,
        max_concurrency,
        min_ready,
        environment,
        description,
        grants,
    } = changes;
    let lines = [
        line("memory", memory_bytes.as_ref(), |bytes| Bytes(*bytes)),
        line("timeout", timeout_ms.as_ref(), time),
        line("isolation", isolation.as_ref(), Isolation::clone),
        line("max-concurrency", max_concurrency.as_ref(), u32::clone),
        line("min-ready", min_ready.as_ref(), u32::clone),
        line("description", description.as_ref(), text),
    ];
    let mut lines: Vec<String> = lines.into_iter().flatten().collect();
    if let Some(environment) = environment {
        for (names, what) in [
            (&environment.added, "added"),
            (&environment.changed, "changed"),
            (&environment.removed, "removed"),
        ] {
            let names = names.iter();
            lines.extend(names.map(|name| format!("env {} {what}", Line(name))));
        }
    }
    if let Some(Change { from, to }) = grants {
        let (from, to) = (from.lines(), to.lines());
        let only = |of: &[String], other: &[String], what| {
            let only = of.iter().filter(|line| !other.contains(line));
            let only = only.map(|line| format!("reach {} {what}", Line(line)));
            only.collect::<Vec<_>>()
        };
        lines.extend(only(&to, &from, "granted"));
        lines.extend(only(&from, &to, "no longer granted"));
    }
    lines
}

/// A version's number, and whether that is only what it will get.
pub(super) fn label(version: &VersionDocument) -> String {
    match version.published {
        false => format!("{} (not published)", version.version),
        true => version.version.to_string(),
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
pub(super) struct ShortDigest(pub(super) Digest);

impl Display for ShortDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string()[..DIGEST_CHARS_SHOWN])
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
    use jiffy_model::documents::AliasDocument;

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
        let digest = "0123456789abcdef".repeat(4).parse().expect("a digest");
        assert_eq!(ShortDigest(digest).to_string(), "0123456789ab");
    }

    #[test]
    fn an_alias_shows_the_shares_of_its_versions() {
        let alias = |json: &str| {
            serde_json::from_str::<AliasDocument>(json)
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
        let check = |published: &str, expected: &str| {
            let digest = "ab".repeat(32);
            let json = format!(
                r#"{{"function":"f","version":3,{published}"image":"{digest}","image_bytes":1,"snapshot":"{digest}","created_ms":0}}"#
            );
            let version = serde_json::from_str(&json).expect("JSON");
            assert_eq!(label(&version), expected);
        };
        check(r#""published":false,"#, "3 (not published)");
        check(r#""published":true,"#, "3");
        // Of an agent that publishes always.
        check("", "3");
    }
}
