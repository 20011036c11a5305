//! Two programs, each run as often as the other and in turns: by how much one differs, and how sure that is.
//!
//! Each round gives one logarithm of a ratio per result; from them comes a mean with a 95 % confidence interval by
//! Student's t. Not here: running them (`scripts/bench-ab`).

use std::fmt;

use crate::{compare::is_same, report::Report, table};

/// Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom.
const T_95: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// Why there is nothing to tell.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum AbError {
    #[error("{a} reports of A and {b} of B: every round needs one of each")]
    Uneven { a: usize, b: usize },
    #[error("one round has no confidence interval: give reports of two or more")]
    TooFewRounds,
    #[error("the reports have no result in common: run the same suites on both")]
    NothingInCommon,
}

/// How a result of B compares with A's.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// With its place on a curve.
    pub title: String,
    /// p50 of B as a multiple of A's: the geometric mean of the rounds.
    pub ratio: f64,
    /// With a probability of 95 % it is not below this,
    pub low: f64,
    /// nor above this.
    pub high: f64,
    /// Rounds it is of.
    pub rounds: usize,
}

impl Difference {
    /// From logarithms of ratios, one for each round; `None` of fewer than two.
    pub fn of_logs(title: String, logs: &[f64]) -> Option<Self> {
        if logs.len() < 2 {
            return None;
        }
        let (mean, margin) = interval(logs);
        Some(Self {
            title,
            ratio: mean.exp(),
            low: (mean - margin).exp(),
            high: (mean + margin).exp(),
            rounds: logs.len(),
        })
    }

    /// Whether it can be told from noise.
    pub fn is_significant(&self) -> bool {
        self.low > 1.0 || self.high < 1.0
    }
}

/// Compares reports, the first of A with the first of B and so on, for every result that all of them have.
pub fn differences(a: &[Report], b: &[Report]) -> Result<Vec<Difference>, AbError> {
    let uneven = AbError::Uneven {
        a: a.len(),
        b: b.len(),
    };
    let first = match (a, b) {
        _ if a.len() != b.len() => return Err(uneven),
        ([first, _, ..], _) => first,
        _ => return Err(AbError::TooFewRounds),
    };
    let mut found = vec![];
    for result in &first.results {
        let p50 = |report: &Report| {
            let mut all = report.results.iter();
            let same = all.find(|other| is_same(other, result))?;
            (same.p50 > 0.0).then_some(same.p50)
        };
        let rounds = a.iter().zip(b);
        let logs: Option<Vec<f64>> = rounds
            .map(|(a, b)| Some((p50(b)? / p50(a)?).ln()))
            .collect();
        found.extend(logs.and_then(|logs| Difference::of_logs(table::title(result), &logs)));
    }
    if found.is_empty() {
        return Err(AbError::NothingInCommon);
    }
    Ok(found)
}

/// Mean of two or more samples, and what it is uncertain by.
#[expect(clippy::cast_precision_loss, reason = "a few rounds")]
fn interval(samples: &[f64]) -> (f64, f64) {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let squares = samples.iter().map(|sample| (sample - mean).powi(2));
    let deviation = (squares.sum::<f64>() / (n - 1.0)).sqrt();
    // Beyond the table the last quantile is a little too careful.
    let freedom = samples.len().saturating_sub(1).clamp(1, T_95.len());
    (mean, T_95[freedom - 1] * deviation / n.sqrt())
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.is_significant() {
            false => "no difference that can be told from noise",
            true if self.ratio < 1.0 => "less",
            true => "more",
        };
        let Self {
            title,
            ratio,
            low,
            high,
            ..
        } = self;
        write!(
            f,
            "{title:<40} × {ratio:.3}   95 %: {low:.3} to {high:.3}   {verdict}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host::Host,
        report::{Measured, SCHEMA},
    };

    fn reports(name: &str, p50s: &[f64]) -> Vec<Report> {
        let report = |p50: &f64| Report {
            schema: SCHEMA,
            host: Host::read(),
            results: vec![Measured::single(name, "µs", *p50)],
            ratios: vec![],
            breakdowns: vec![],
            absent: vec![],
            neighbours: vec![],
        };
        p50s.iter().map(report).collect()
    }

    /// 2, 4, 6 have a mean of 4 and a deviation of 2, so the margin is 4.303 · 2 / √3.
    #[test]
    fn the_interval_is_students() {
        let (mean, margin) = interval(&[2.0, 4.0, 6.0]);
        assert!(
            (mean - 4.0).abs() < 1e-9 && (margin - 4.9687).abs() < 1e-3,
            "{margin}"
        );
        assert!((interval(&[1.0; 100]).1).abs() < 1e-9);
    }

    #[test]
    fn a_difference_beyond_noise_is_told() {
        let a = reports("x", &[100.0, 110.0, 90.0, 105.0]);
        let halved = reports("x", &[50.0, 56.0, 44.0, 53.0]);
        let found = &differences(&a, &halved).expect("one result")[0];
        assert!(
            (found.ratio - 0.5).abs() < 0.01 && found.is_significant(),
            "{found}"
        );
        assert!(found.low < found.ratio && found.ratio < found.high && found.rounds == 4);
        let noisy = reports("x", &[90.0, 112.0, 95.0, 101.0]);
        assert!(!differences(&a, &noisy).expect("one result")[0].is_significant());
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let two = reports("x", &[1.0, 2.0]);
        let check =
            |a: &[Report], b: &[Report]| differences(a, b).expect_err("refused").to_string();
        assert!(check(&two, &two[..1]).contains("2 reports of A and 1 of B"));
        assert!(check(&two[..1], &two[..1]).contains("one round"));
        assert!(check(&[], &[]).contains("one round"));
        assert!(check(&two, &reports("y", &[1.0, 2.0])).contains("no result in common"));
        assert!(check(&two, &reports("x", &[0.0, 2.0])).contains("no result in common"));
    }
}
