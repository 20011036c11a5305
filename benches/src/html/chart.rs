//! The drawings: cumulative distributions and curves over something that grows.
//!
//! `plotters` was tried. It writes fixed colours and sizes, whole pixels, and neither titles nor classes, so what it draws knows no dark
//! mode and no phone, tells nothing to those who do not see, and has steps where a curve is smooth. Drawing is less than bending that.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::{
    axis::{LogAxis, has_log},
    figures::{SPACE, with_unit},
};
use crate::report::{At, Measured};

/// Size of a drawing in its own units; the page scales it.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 270.0;
/// The plotted area.
const LEFT: f64 = 58.0;
const RIGHT: f64 = WIDTH - 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = HEIGHT - 32.0;
/// How wide a letter beside an axis is, more or less.
const LETTER: f64 = 8.0;
/// Colours that differ, `--c0` to `--c7` in the style sheet; and strokes, for those who see no colours.
const COLOURS: usize = 8;
const STROKES: usize = 4;

/// Classes that give the series at `index` its colour and its stroke; the same pair comes back after 32.
pub(super) fn series_class(index: usize) -> String {
    format!(
        "c{} k{}",
        index % COLOURS,
        (index + index / COLOURS) % STROKES
    )
}

/// Share of requests over time taken, a line for each of `results`; `None` if none of them has a distribution. `id` is unique in
/// the page.
pub(super) fn distributions(id: &str, title: &str, results: &[&Measured]) -> Option<Markup> {
    let curves: Vec<_> = results
        .iter()
        .filter(|result| !points(result).is_empty())
        .collect();
    let unit = &curves.first()?.unit;
    let values = curves
        .iter()
        .flat_map(|result| points(result))
        .map(|(_, value)| value);
    let x = LogAxis::over(values, (LEFT, RIGHT))?;
    let y = |share: f64| BOTTOM + share.clamp(0.0, 1.0) * (TOP - BOTTOM);
    let x_ticks = x
        .ticks()
        .into_iter()
        .map(|tick| (x.place(tick), with_unit(tick, unit)));
    let y_ticks =
        [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| (y(share), format!("{} %", share * 100.0)));
    let told = |result: &Measured| {
        let (half, most) = (with_unit(result.p50, unit), with_unit(result.p99, unit));
        format!("p50{SPACE}{half}, p99{SPACE}{most}")
    };
    let lines = html! {
        @for (index, result) in curves.iter().enumerate() {
            @let points = points(result);
            @let start = points.first().map(|(_, value)| (x.place(*value), BOTTOM));
            @let path = line(start.into_iter().chain(points.iter().map(|(share, value)| (x.place(*value), y(*share)))));
            path class={ "line " (series_class(index)) } d=(path) { title { (result.name) ": " (told(result)) } }
        }
    };
    let described = curves
        .iter()
        .map(|result| format!("{}: {}", result.name, told(result)));
    let described = described.collect::<Vec<_>>().join("; ");
    Some(html! {
        figure {
            figcaption { (title) }
            (frame(id, title, &format!("Share of samples that took no longer. {described}."), &fitting(x_ticks), &y_ticks, &lines))
            ul.legend {
                @for (index, result) in curves.iter().enumerate() {
                    li { (key(index)) span.name { (result.name) } " " span.told { (told(result)) } }
                }
            }
        }
    })
}

/// The points of its distribution that can be drawn: share and value.
fn points(result: &Measured) -> Vec<(f64, f64)> {
    let points = result.distribution.iter().copied();
    points
        .filter(|(share, value)| share.is_finite() && has_log(*value))
        .collect()
}

/// p50 and p99 of `results` over what they vary by, a pair of lines for each name; `None` if there is nothing to draw. All of
/// them have an `at` with the same axis and unit, and the same unit themselves.
pub(super) fn growth(id: &str, at: &At, results: &[&Measured]) -> Option<Markup> {
    let unit = &results.first()?.unit;
    let mut names: Vec<&str> = vec![];
    for result in results {
        if !names.contains(&result.name.as_str()) {
            names.push(&result.name);
        }
    }
    let series = |name: &str| {
        let mine = results.iter().filter(|result| result.name == name);
        let mut mine: Vec<_> = mine
            .filter_map(|result| Some((result.at.as_ref()?.value, *result)))
            .filter(|(value, _)| value.is_finite() && *value >= 0.0)
            .collect();
        mine.sort_by(|(left, _), (right, _)| left.total_cmp(right));
        mine
    };
    let mut stops: Vec<f64> = names
        .iter()
        .flat_map(|name| series(name))
        .map(|(value, _)| value)
        .collect();
    stops.sort_by(f64::total_cmp);
    stops.dedup();
    // Nothing has no logarithm: it gets a place of its own, left of the smallest that has one.
    let smallest = stops
        .iter()
        .copied()
        .find(|value| has_log(*value))
        .unwrap_or(1.0);
    let shown = |value: f64| {
        if has_log(value) {
            value
        } else {
            smallest / 8.0
        }
    };
    let x = LogAxis::over(
        stops.iter().map(|stop| shown(*stop)),
        (LEFT + 8.0, RIGHT - 8.0),
    )?;
    let figures = results.iter().flat_map(|result| [result.p50, result.p99]);
    let y = LogAxis::over(figures, (BOTTOM, TOP))?;
    let x_ticks = stops
        .iter()
        .map(|stop| (x.place(shown(*stop)), with_unit(*stop, &at.unit)));
    let y_ticks: Vec<_> = y
        .ticks()
        .into_iter()
        .map(|tick| (y.place(tick), with_unit(tick, unit)))
        .collect();
    let line_of = |name: &str, figure: fn(&Measured) -> f64| {
        let mine = series(name)
            .into_iter()
            .filter(|(_, result)| has_log(figure(result)));
        line(mine.map(|(value, result)| (x.place(shown(value)), y.place(figure(result)))))
    };
    let lines = html! {
        @for (index, name) in names.iter().enumerate() {
            g class=(format!("c{}", index % COLOURS)) {
                path class="line k1 thin" d=(line_of(name, |result| result.p99)) { title { (name) ", p99" } }
                path class="line" d=(line_of(name, |result| result.p50)) { title { (name) ", p50" } }
                @for (value, result) in series(name).into_iter().filter(|(_, result)| has_log(result.p50)) {
                    path class="mark" d=(mark(index, x.place(shown(value)), y.place(result.p50))) {
                        title { (name) " at " (with_unit(value, &at.unit)) ": p50 " (with_unit(result.p50, unit)) ", p99 " (with_unit(result.p99, unit)) }
                    }
                }
            }
        }
    };
    let range = |name: &str| {
        let mine = series(name);
        let ends = mine.first().zip(mine.last());
        ends.map_or(String::new(), |((_, first), (_, last))| {
            format!(
                "p50 {} to {}",
                with_unit(first.p50, unit),
                with_unit(last.p50, unit)
            )
        })
    };
    let described: Vec<_> = names
        .iter()
        .map(|name| format!("{name}: {}", range(name)))
        .collect();
    let title = format!("By {}", at.axis);
    Some(html! {
        figure {
            figcaption { (title) }
            (frame(id, &title, &format!("From the left end to the right end, {}.", described.join("; ")), &fitting(x_ticks), &y_ticks, &lines))
            ul.legend {
                @for (index, name) in names.iter().enumerate() {
                    li {
                        svg.key viewBox="0 0 30 10" aria-hidden="true" {
                            g class=(format!("c{}", index % COLOURS)) {
                                path class="line" d="M0 5H30" {}
                                path class="mark" d=(mark(index, 15.0, 5.0)) {}
                            }
                        }
                        span.name { (name) } " " span.told { (range(name)) }
                    }
                }
                li { svg.key viewBox="0 0 30 10" aria-hidden="true" { path class="line k1 thin" d="M0 5H30" {} } span.told { "p99 of the same" } }
            }
        }
    })
}

/// A drawing with its axes; `lines` lie between them.
fn frame(
    id: &str,
    title: &str,
    told: &str,
    x_ticks: &[(f64, String)],
    y_ticks: &[(f64, String)],
    lines: &Markup,
) -> Markup {
    html! {
        svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-labelledby=(format!("{id}-title {id}-told")) {
            title id=(format!("{id}-title")) { (title) }
            desc id=(format!("{id}-told")) { (told) }
            g.grid {
                @for (x, _) in x_ticks { path d=(format!("M{x:.1} {TOP}V{BOTTOM}")) {} }
                @for (y, _) in y_ticks { path d=(format!("M{LEFT} {y:.1}H{RIGHT}")) {} }
                path.axis d=(format!("M{LEFT} {BOTTOM}H{RIGHT}")) {}
            }
            g.ticks {
                @for (x, text) in x_ticks { text x=(format!("{x:.1}")) y=(BOTTOM + 20.0) text-anchor="middle" { (text) } }
                @for (y, text) in y_ticks { text x=(LEFT - 8.0) y=(format!("{:.1}", y + 4.0)) text-anchor="end" { (text) } }
            }
            g fill="none" { (lines) }
        }
    }
}

/// Those of `ticks`, rising, whose text does not run into the one before or out of the drawing; the last one wins over its neighbour.
fn fitting(ticks: impl Iterator<Item = (f64, String)>) -> Vec<(f64, String)> {
    #[expect(clippy::cast_precision_loss, reason = "a label has few letters")]
    let half = |text: &str| text.chars().count() as f64 * LETTER / 2.0;
    let mut kept: Vec<(f64, String)> = vec![];
    let all: Vec<_> = ticks.collect();
    let last = all.len().saturating_sub(1);
    for (index, (x, text)) in all.into_iter().enumerate() {
        let x_in = x.min(WIDTH - half(&text) - 1.0);
        let is_clear =
            |before: &(f64, String)| before.0 + half(&before.1) + LETTER <= x_in - half(&text);
        if kept.last().is_some_and(|before| !is_clear(before)) {
            if index != last || kept.len() < 2 {
                continue;
            }
            kept.pop();
        }
        kept.push((x, text));
    }
    kept
}

/// The path through `points`.
fn line(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        let step = if path.is_empty() { 'M' } else { 'L' };
        // Writing to a string does not fail.
        let _ = write!(path, "{step}{x:.1} {y:.1}");
    }
    path
}

/// A mark around a point: its shape says the series to those who see no colours.
fn mark(index: usize, x: f64, y: f64) -> String {
    match index % 4 {
        0 => format!(
            "M{:.1} {y:.1}a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0 -7.2 0z",
            x - 3.6
        ),
        1 => format!("M{:.1} {:.1}h6.6v6.6h-6.6z", x - 3.3, y - 3.3),
        2 => format!("M{x:.1} {:.1}l4.2 7.2h-8.4z", y - 4.4),
        _ => format!("M{x:.1} {:.1}l4.6 4.6l-4.6 4.6l-4.6 -4.6z", y - 4.6),
    }
}

/// The line of the series at `index`, for a legend.
fn key(index: usize) -> Markup {
    html! {
        svg.key viewBox="0 0 30 10" aria-hidden="true" { path class={ "line " (series_class(index)) } d="M0 5H30" {} }
    }
}
