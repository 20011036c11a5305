//! From values to places on a drawing, and where to write which value.

/// A logarithmic axis shows at least this many times its low end.
const SPAN_MIN_LOG10: f64 = 0.6;
/// Kept free at each end, as a share of the axis.
const MARGIN: f64 = 0.04;
/// Values that are written beside an axis.
const TICKS_MAX: usize = 7;

/// A logarithmic axis. It takes any value: what cannot be on it is put at its ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogAxis {
    low_log10: f64,
    high_log10: f64,
    /// Where low and high are drawn.
    ends: (f64, f64),
}

impl LogAxis {
    /// An axis for those of `values` that have a logarithm, drawn between `ends`; `None` if none has.
    pub(super) fn over(values: impl IntoIterator<Item = f64>, ends: (f64, f64)) -> Option<Self> {
        let logs = values.into_iter().filter(|value| has_log(*value));
        let (low, high) = logs
            .map(f64::log10)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| {
                (low.min(log), high.max(log))
            });
        if low > high {
            return None;
        }
        let widen = ((SPAN_MIN_LOG10 - (high - low)) / 2.0).max((high - low) * MARGIN);
        Some(Self {
            low_log10: low - widen,
            high_log10: high + widen,
            ends,
        })
    }

    /// Where `value` is drawn.
    pub(super) fn place(&self, value: f64) -> f64 {
        let log = if has_log(value) {
            value.log10()
        } else {
            self.low_log10
        };
        let share = (log - self.low_log10) / (self.high_log10 - self.low_log10);
        self.ends.0 + share.clamp(0.0, 1.0) * (self.ends.1 - self.ends.0)
    }

    /// Round values to write beside it, rising: as many of each decade as fit, or not even every decade.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let (first, last) = (self.low_log10.floor(), self.high_log10.ceil());
        let decades = || {
            std::iter::successors(Some(first), |decade| Some(decade + 1.0))
                .take_while(move |decade| *decade <= last)
        };
        let within = |ticks: Vec<f64>| -> Vec<f64> {
            let mut ticks = ticks;
            ticks.retain(|tick| has_log(*tick) && self.contains(tick.log10()));
            ticks
        };
        for steps in [
            &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0][..],
            &[1.0, 2.0, 5.0],
            &[1.0, 3.0],
            &[1.0],
        ] {
            let ticks = decades()
                .flat_map(|decade| steps.iter().map(move |step| step * 10f64.powf(decade)));
            let ticks = within(ticks.collect());
            if ticks.len() <= TICKS_MAX {
                return ticks;
            }
        }
        let ticks = within(decades().map(|decade| 10f64.powf(decade)).collect());
        let every = ticks.len().div_ceil(TICKS_MAX);
        ticks.into_iter().step_by(every).collect()
    }

    fn contains(&self, log: f64) -> bool {
        self.low_log10 <= log && log <= self.high_log10
    }
}

/// Whether `value` can be on a logarithmic axis.
pub(super) fn has_log(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

/// Round values from 0 to not beyond `high`, which is positive and finite: four to six of them.
pub(super) fn linear_ticks(high: f64) -> Vec<f64> {
    let rough = high / 5.0;
    let decade = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * decade);
    let step = steps.into_iter().find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(rough);
    std::iter::successors(Some(0.0), |tick| Some(tick + step))
        .take_while(|tick| *tick / high <= 1.001)
        .take(TICKS_MAX)
        .collect()
}
