//! The table as it is printed, row by row, and what follows it.
//!
//! Not here: the page (`html`), the figures themselves (`report`).

use crate::report::{Measured, Promise, Ratio};

/// Names up to here stand in a column.
const NAME_COLUMNS: usize = 40;

/// What stands above the rows.
pub fn header() -> String {
    line("", "n", ["p50", "p90", "p99", "max"].map(str::to_owned), "")
}

/// One result as a line.
pub fn row(result: &Measured) -> String {
    let figures = [result.p50, result.p90, result.p99, result.max].map(figure);
    // A single figure has no distribution.
    let figures = match (result.n, figures) {
        (1, [only, ..]) => [only, String::new(), String::new(), String::new()],
        (_, figures) => figures,
    };
    line(&title(result), &result.n.to_string(), figures, &result.unit)
}

/// Name of a result, and where on its curve it lies.
pub fn title(result: &Measured) -> String {
    match &result.at {
        None => result.name.clone(),
        Some(at) => {
            let unit = match at.unit.as_str() {
                "" => String::new(),
                unit => format!(" {unit}"),
            };
            format!(
                "{} at {}{unit} ({})",
                result.name,
                figure(at.value),
                at.axis
            )
        }
    }
}

/// One ratio as a line, with what was promised.
pub fn ratio(ratio: &Ratio) -> String {
    let value = format!("{:<56} {:>8}", ratio.name, figure(ratio.value));
    let Some(promise) = ratio.promise else {
        return value;
    };
    let is_kept = promise.is_kept(ratio.value);
    let (bound, figure_of_bound) = match promise {
        Promise::AtMost(bound) => ("at most", figure(bound)),
        Promise::AtLeast(bound) => ("at least", figure(bound)),
    };
    let word = if is_kept { "kept" } else { "missed" };
    format!("{value}  {word}: promised {bound} {figure_of_bound}")
}

fn line(name: &str, n: &str, figures: [String; 4], unit: &str) -> String {
    let [p50, p90, p99, max] = figures;
    let line =
        format!("{name:<NAME_COLUMNS$} {n:>7} {p50:>10} {p90:>10} {p99:>10} {max:>10}  {unit}");
    line.trim_end().to_owned()
}

/// With as many digits as say something.
pub fn figure(value: f64) -> String {
    let magnitude = value.abs();
    if value.fract() == 0.0 && magnitude < 1e15 || magnitude >= 1000.0 {
        format!("{value:.0}")
    } else if magnitude >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::samples::Samples;

    #[test]
    fn figures_have_three_digits_or_all() {
        for (value, text) in [
            (0.123, "0.12"),
            (1.0, "1"),
            (9.994, "9.99"),
            (12.345, "12.3"),
            (1234.5, "1234"),
            (-3.25, "-3.25"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        let samples: Samples = [10, 20, 30]
            .map(Duration::from_micros)
            .into_iter()
            .collect();
        let row = row(&samples.measured("restore.pooled"));
        let header = header();
        let end_of = |line: &str, word: &str| line.find(word).map(|at| at + word.len());
        assert_eq!(end_of(&header, "p50"), end_of(&row, "20.0"));
        assert!(
            row.starts_with("restore.pooled ") && row.ends_with("  µs"),
            "{row}"
        );
    }

    #[test]
    fn points_and_single_figures_are_told() {
        let single = Measured::single("density.kib_per_vm", "KiB", 812.4);
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            words(&row(&single)),
            ["density.kib_per_vm", "1", "812.4", "KiB"]
        );
        let point = Measured::single("scale.p99", "µs", 1.0).at("RAM", 64.0, "MiB");
        assert_eq!(title(&point), "scale.p99 at 64 MiB (RAM)");
        let point = Measured::single("scale.p99", "µs", 1.0).at("live VMs", 10.0, "");
        assert_eq!(title(&point), "scale.p99 at 10 (live VMs)");
    }

    #[test]
    fn promises_are_told_in_words() {
        let check = |value, promise| {
            ratio(&Ratio {
                name: "a / b".into(),
                value,
                promise,
            })
        };
        assert!(check(1.4, Some(Promise::AtMost(1.4))).ends_with("kept: promised at most 1.40"));
        assert!(check(1.41, Some(Promise::AtMost(1.4))).ends_with("missed: promised at most 1.40"));
        assert!(check(3.0, Some(Promise::AtLeast(3.0))).ends_with("kept: promised at least 3"));
        assert!(check(3.0, None).ends_with(" 3"));
    }
}
