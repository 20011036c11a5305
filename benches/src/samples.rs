//! Samples of one measurement, and what is told of them.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::report::{At, Measured};

/// Kept of each sample: three digits, up to a minute.
const DIGITS: u8 = 3;
const NS_MAX: u64 = 60_000_000_000;
/// Points of a distribution that are kept, by the share of samples above them halving again and again.
const STEPS_PER_HALVING: u32 = 4;

/// Durations, kept in constant memory.
#[derive(Clone, Debug)]
pub struct Samples(Histogram<u64>);

impl Default for Samples {
    fn default() -> Self {
        Self::new()
    }
}

impl Samples {
    /// None yet.
    ///
    /// # Panics
    /// Never: the bounds are constants that the histogram takes.
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, NS_MAX, DIGITS).expect("constant bounds"))
    }

    /// One more; longer than a minute counts as a minute.
    pub fn push(&mut self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(ns.max(1));
    }

    /// One more, if it counts.
    pub fn push_if(&mut self, counts: bool, took: Duration) {
        if counts {
            self.push(took);
        }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of `other` too.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    /// What half of them are not above, µs.
    pub fn p50_us(&self) -> f64 {
        self.us(0.5)
    }

    fn us(&self, quantile: f64) -> f64 {
        to_us(self.0.value_at_quantile(quantile))
    }

    /// What they come to, in µs.
    pub fn measured(&self, name: impl Into<String>) -> Measured {
        let distribution = self.0.iter_quantiles(STEPS_PER_HALVING);
        Measured {
            name: name.into(),
            at: None,
            unit: "µs".into(),
            n: self.len(),
            min: to_us(self.0.min()),
            p50: self.us(0.5),
            p90: self.us(0.9),
            p99: self.us(0.99),
            p999: self.us(0.999),
            max: to_us(self.0.max()),
            mean: self.0.mean() / 1e3,
            distribution: distribution
                .map(|step| (step.quantile_iterated_to(), to_us(step.value_iterated_to())))
                .collect(),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a minute of nanoseconds has 36 bits"
)]
fn to_us(ns: u64) -> f64 {
    ns as f64 / 1e3
}

impl Extend<Duration> for Samples {
    fn extend<I: IntoIterator<Item = Duration>>(&mut self, all: I) {
        all.into_iter().for_each(|took| self.push(took));
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(all: I) -> Self {
        let mut samples = Self::new();
        samples.extend(all);
        samples
    }
}

impl Measured {
    /// A single figure.
    pub fn single(name: impl Into<String>, unit: impl Into<String>, value: f64) -> Self {
        Self {
            name: name.into(),
            at: None,
            unit: unit.into(),
            n: 1,
            min: value,
            p50: value,
            p90: value,
            p99: value,
            p999: value,
            max: value,
            mean: value,
            distribution: vec![],
        }
    }

    /// As a point of a curve.
    pub fn at(mut self, axis: &str, value: f64, unit: &str) -> Self {
        self.at = Some(At {
            axis: axis.into(),
            value,
            unit: unit.into(),
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_thousandth() {
        let samples: Samples = (1..=10_000).map(Duration::from_micros).collect();
        let measured = samples.measured("x");
        for (found, right) in [
            (measured.min, 1.0),
            (measured.p50, 5000.0),
            (measured.p90, 9000.0),
            (measured.p99, 9900.0),
            (measured.p999, 9990.0),
            (measured.max, 10_000.0),
            (measured.mean, 5000.5),
        ] {
            assert!((found / right - 1.0).abs() < 2e-3, "{found} for {right}");
        }
        assert_eq!(measured.n, 10_000);
        let shares: Vec<f64> = measured
            .distribution
            .iter()
            .map(|(share, _)| *share)
            .collect();
        assert!(
            shares.is_sorted() && shares.len() > 20 && shares.len() < 200,
            "{shares:?}"
        );
    }
}
