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
    /// The one that a client's `Accept` asks for; a client without a wish gets OpenMetrics.
    pub fn from_accept(accept: Option<&str>) -> Self {
        match accept {
            None => Self::OpenMetrics,
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            Some(accept) if accept.contains("text/plain") => Self::Prometheus,
            Some(_) => Self::OpenMetrics,
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
