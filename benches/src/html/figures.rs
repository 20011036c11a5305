//! Figures as a reader wants them: three or four digits, groups of thousands, the unit that fits.

/// Beyond these a figure has an exponent.
const PLAIN_MAX: f64 = 1e12;
const PLAIN_MIN: f64 = 0.005;
/// Between figure and unit: a space at which no line breaks.
pub(super) const SPACE: char = '\u{a0}';

/// For a column: `0.12`, `12.3`, `1,234`. What is no number is a dash.
pub(super) fn plain(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "–".into();
    }
    if size >= PLAIN_MAX || (size < PLAIN_MIN && size > 0.0) {
        return format!("{value:.2e}");
    }
    let digits = match size {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    grouped(&format!("{value:.digits$}"))
}

/// For a sentence or an axis: `250 µs`, `1.2 ms`, `64 KiB`. Zeros that say nothing are left out.
pub(super) fn with_unit(value: f64, unit: &str) -> String {
    let (scaled, unit) = match unit {
        "µs" => climb(value, 1e3, &["µs", "ms", "s"]),
        "bytes" => climb(value, 1024.0, &["bytes", "KiB", "MiB", "GiB"]),
        "KiB" => climb(value, 1024.0, &["KiB", "MiB", "GiB"]),
        "MiB" => climb(value, 1024.0, &["MiB", "GiB"]),
        _ => (value, unit),
    };
    let text = plain(scaled);
    let short = match text.split_once('.') {
        Some((whole, digits)) if !text.contains('e') => match digits.trim_end_matches('0') {
            "" => whole.to_owned(),
            digits => format!("{whole}.{digits}"),
        },
        _ => text,
    };
    match unit {
        "" => short,
        _ => format!("{short}{SPACE}{unit}"),
    }
}

/// `value` in the largest of `units` in which it is not below one; each is `step` times the one before.
fn climb<'a>(mut value: f64, step: f64, units: &[&'a str]) -> (f64, &'a str) {
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for larger in units {
        if value.abs() < step {
            break;
        }
        value /= step;
        unit = larger;
    }
    (value, unit)
}

/// `1234.5` as `1,234.5`.
fn grouped(number: &str) -> String {
    let whole = number.split('.').next().unwrap_or_default();
    let mut text = String::with_capacity(number.len() + 4);
    for (at, letter) in number.chars().enumerate() {
        let left = whole.len().saturating_sub(at);
        let is_between_digits = text.ends_with(|before: char| before.is_ascii_digit());
        if at < whole.len() && left.is_multiple_of(3) && is_between_digits {
            text.push(',');
        }
        text.push(letter);
    }
    text
}
