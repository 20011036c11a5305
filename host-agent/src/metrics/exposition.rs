//! The formats of a scrape.

use std::{collections::HashSet, fmt::Write as _};

/// A format to be scraped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own text format, for scrapers that do not ask for the other one.
    Prometheus,
}

impl Exposition {
    /// The one that a client's `Accept` asks for. Without a wish for OpenMetrics it is the older format, as with the
    /// client libraries of Prometheus: what reads only that one, such as `promtool check metrics`, does not ask.
    pub fn from_accept(accept: Option<&str>) -> Self {
        let mut ranges = accept.unwrap_or_default().split(',');
        if ranges.any(asks_for_open_metrics) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// Its `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Whether this range of an `Accept` names OpenMetrics, in a version that this is, and not to refuse it.
fn asks_for_open_metrics(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let is_named = parts
        .next()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
    is_named
        && parts.all(|parameter| match parameter.split_once('=') {
            Some(("version", version)) => version == "1.0.0",
            Some(("q", weight)) => weight.parse().is_ok_and(|weight: f32| weight > 0.0),
            _ => true,
        })
}

/// Turns our OpenMetrics into the older format: there, a counter's family is named with its `_total`,
/// and neither units nor an end are marked.
pub(super) fn to_prometheus(open_metrics: &str) -> String {
    let counters: HashSet<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        let words = [words.next(), words.next(), words.next(), words.next()];
        let _ = match words {
            [Some("#"), Some("UNIT"), ..] | [Some("#"), Some("EOF"), ..] => Ok(()),
            [Some("#"), Some(kind), Some(family), Some(rest)] if counters.contains(family) => {
                writeln!(text, "# {kind} {family}_total {rest}")
            }
            _ => writeln!(text, "{line}"),
        };
    }
    text
}
