//! Runs beside an earlier one: what each result is as a multiple of what it was.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use crate::{
    report::{Measured, Report, SCHEMA},
    table,
};

/// Of a report, bytes: a hundred times one with all suites.
const REPORT_BYTES_MAX: u64 = 64 << 20;

/// Why a report cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ReadError {
    #[error("cannot read {}: name a file that `jiffy bench --json` wrote", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} has {bytes} bytes, more than a report's {REPORT_BYTES_MAX}", path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("cannot compare with {}: must be a file that `jiffy bench --json` wrote", path.display())]
    Json {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("{} is a report of schema {found}, this program's is {SCHEMA}: measure again with this jiffy", path.display())]
    Schema { path: PathBuf, found: u64 },
}

/// Reads what `--json` wrote.
pub fn read(path: &Path) -> Result<Report, ReadError> {
    let cannot_read = |source| ReadError::Read {
        path: path.into(),
        source,
    };
    let bytes = fs::metadata(path).map_err(cannot_read)?.len();
    if bytes > REPORT_BYTES_MAX {
        let path = path.into();
        return Err(ReadError::TooLarge { path, bytes });
    }
    let text = fs::read_to_string(path).map_err(cannot_read)?;
    let no_report = |source| ReadError::Json {
        path: path.into(),
        source,
    };
    // First the schema: one of another says more by its number than by the first field that is missing.
    let value: serde_json::Value = serde_json::from_str(&text).map_err(no_report)?;
    match value.get("schema").and_then(serde_json::Value::as_u64) {
        Some(found) if found != u64::from(SCHEMA) => Err(ReadError::Schema {
            path: path.into(),
            found,
        }),
        _ => serde_json::from_value(value).map_err(no_report),
    }
}

/// One result of both runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// With its place on a curve.
    pub title: String,
    /// What it was.
    pub before: f64,
    /// What it is.
    pub after: f64,
    /// p50 as a multiple of the earlier.
    pub p50: f64,
    /// p99 as a multiple of the earlier.
    pub p99: f64,
    /// Of the figures.
    pub unit: String,
}

/// What both runs measured, in the order of `after`.
pub fn changes(before: &Report, after: &Report) -> Vec<Change> {
    let change = |now: &Measured| {
        let mut all = before.results.iter();
        let was = all.find(|was| is_same(was, now) && was.p50 > 0.0)?;
        Some(Change {
            title: table::title(now),
            before: was.p50,
            after: now.p50,
            p50: now.p50 / was.p50,
            p99: if was.p99 > 0.0 {
                now.p99 / was.p99
            } else {
                1.0
            },
            unit: now.unit.clone(),
        })
    };
    after.results.iter().filter_map(change).collect()
}

/// Whether two results are of the same thing.
pub fn is_same(a: &Measured, b: &Measured) -> bool {
    a.name == b.name && a.at == b.at && a.unit == b.unit
}

/// What differs between two hosts and makes their figures no fair comparison, if something does.
pub fn difference_of_hosts(before: &Report, after: &Report) -> Option<String> {
    let (a, b) = (&before.host, &after.host);
    (a.cpu != b.cpu || a.cores != b.cores || a.backend != b.backend || a.kernel != b.kernel)
        .then(|| format!("the earlier run was on another host: {}", a.line()))
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, after] = [self.before, self.after].map(table::figure);
        let Self {
            title, p50, p99, ..
        } = self;
        let unit = &self.unit;
        write!(
            f,
            "{title:<40} {before:>10} → {after:>10} {unit:<5} p50 × {p50:.2}   p99 × {p99:.2}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;

    fn report(results: Vec<Measured>) -> Report {
        Report {
            schema: SCHEMA,
            host: Host::read(),
            results,
            ratios: vec![],
            breakdowns: vec![],
            absent: vec![],
            neighbours: vec![],
        }
    }

    #[test]
    fn results_are_matched_by_name_and_place() {
        let at = |vms, value| Measured::single("scale.vms", "µs", value).at("live VMs", vms, "");
        let before = report(vec![
            Measured::single("a", "µs", 10.0),
            at(1.0, 20.0),
            Measured::single("gone", "µs", 1.0),
            Measured::single("zero", "µs", 0.0),
        ]);
        let after = report(vec![
            at(1.0, 30.0),
            at(2.0, 1.0),
            Measured::single("a", "µs", 5.0),
            Measured::single("zero", "µs", 5.0),
        ]);
        let found = changes(&before, &after);
        let titles: Vec<_> = found.iter().map(|change| change.title.as_str()).collect();
        assert_eq!(titles, ["scale.vms at 1 (live VMs)", "a"]);
        assert!((found[0].p50 - 1.5).abs() < 1e-9 && (found[1].p99 - 0.5).abs() < 1e-9);
        assert!(found[1].to_string().contains("10 →"), "{}", found[1]);
        assert_eq!(difference_of_hosts(&before, &after), None);
        let mut elsewhere = before;
        elsewhere.host.cores += 1;
        assert!(difference_of_hosts(&elsewhere, &after).is_some());
    }

    #[test]
    fn what_is_no_report_is_refused_in_a_sentence() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let check = |text: &str| {
            fs::write(file.path(), text).expect("write");
            read(file.path()).map_err(|error| error.to_string())
        };
        let written = serde_json::to_string(&report(vec![])).expect("JSON");
        assert_eq!(check(&written).expect("a report").schema, SCHEMA);
        assert!(check("{").expect_err("cut").contains("must be a file"));
        assert!(check("{}").expect_err("empty").contains("must be a file"));
        let other = check(r#"{"schema":77}"#).expect_err("another schema");
        assert!(other.contains("schema 77") && other.contains("measure again"));
        let missing = read(Path::new("/nonexistent")).expect_err("no file");
        assert!(matches!(missing, ReadError::Read { .. }));
    }
}
