//! Where a request spends its time: a bar for each kind, all on one scale, and the figures beneath.

use maud::{Markup, html};

use super::{
    axis::linear_ticks,
    figures::{plain, with_unit},
};
use crate::report::Breakdown;

const WIDTH: f64 = 440.0;
const LEFT: f64 = 2.0;
const RIGHT: f64 = WIDTH - 26.0;
const TOP: f64 = 4.0;
/// Each bar with its name above it.
const ROW: f64 = 58.0;
const NAME: f64 = 20.0;
const BAR: f64 = 26.0;
/// A part this wide has its figure written into it.
const ROOM_FOR_TEXT: f64 = 34.0;
const COLOURS: usize = 8;
/// Eleven days: no part of a request takes longer.
const PART_US_MAX: f64 = 1e12;

/// All of `breakdowns` in one drawing; `None` if none of them takes time.
pub(super) fn bars(id: &str, breakdowns: &[Breakdown]) -> Option<Markup> {
    let breakdowns: Vec<_> = breakdowns
        .iter()
        .filter(|breakdown| total(breakdown) > 0.0)
        .collect();
    let longest = breakdowns
        .iter()
        .map(|breakdown| total(breakdown))
        .fold(0.0, f64::max);
    if longest <= 0.0 {
        return None;
    }
    let mut names: Vec<&str> = vec![];
    for (name, _) in breakdowns.iter().flat_map(|breakdown| &breakdown.parts) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let colour = |name: &str| {
        format!(
            "c{}",
            names.iter().position(|other| *other == name).unwrap_or(0) % COLOURS
        )
    };
    let width = |us: f64| us / longest * (RIGHT - LEFT);
    let rows: Vec<f64> = std::iter::successors(Some(TOP), |top| Some(top + ROW))
        .take(breakdowns.len())
        .collect();
    let bottom = rows.last().copied().unwrap_or(TOP) + ROW - 6.0;
    let told = breakdowns.iter().map(|breakdown| {
        let parts = breakdown
            .parts
            .iter()
            .map(|(name, us)| format!("{name} {}", with_unit(taken(*us), "µs")));
        let parts: Vec<_> = parts.collect();
        format!(
            "{}, {} in all: {}.",
            breakdown.name,
            with_unit(total(breakdown), "µs"),
            parts.join(", ")
        )
    });
    let told: Vec<_> = told.collect();
    let of = |breakdown: &Breakdown, name: &str| {
        let same = breakdown.parts.iter().filter(|(other, _)| other == name);
        let figures: Vec<f64> = same.map(|(_, us)| taken(*us)).collect();
        (!figures.is_empty()).then(|| figures.iter().sum::<f64>())
    };
    Some(html! {
        figure.wide {
            svg.chart viewBox=(format!("0 0 {WIDTH} {}", bottom + 26.0)) role="img" aria-labelledby=(format!("{id}-title {id}-told")) {
                title id=(format!("{id}-title")) { "Where a request spends its time" }
                desc id=(format!("{id}-told")) { (told.join(" ")) }
                g.grid {
                    @for tick in linear_ticks(longest) {
                        path d=(format!("M{:.1} {TOP}V{bottom}", LEFT + width(tick))) {}
                    }
                }
                g.ticks {
                    @for tick in linear_ticks(longest) {
                        text x=(format!("{:.1}", LEFT + width(tick))) y=(bottom + 19.0) text-anchor=(if tick > 0.0 { "middle" } else { "start" }) {
                            (with_unit(tick, "µs"))
                        }
                    }
                }
                @for (breakdown, top) in breakdowns.iter().zip(&rows) {
                    text.bar-name x=(LEFT) y=(top + NAME - 6.0) {
                        (breakdown.name) " " tspan.told { (with_unit(total(breakdown), "µs")) }
                    }
                    @for (name, us, before) in placed(breakdown) {
                        @let (x, wide) = (LEFT + width(before), width(us));
                        g class=(colour(name)) {
                            rect.part x=(format!("{x:.1}")) y=(top + NAME) width=(format!("{:.1}", (wide - 1.0).max(0.6))) height=(BAR) {
                                title { (name) ": " (with_unit(us, "µs")) }
                            }
                            @if wide >= ROOM_FOR_TEXT {
                                text.part-text x=(format!("{:.1}", x + wide / 2.0)) y=(top + NAME + BAR / 2.0 + 4.5) text-anchor="middle" { (plain(us)) }
                            }
                        }
                    }
                }
            }
            div.scroll tabindex="0" role="region" aria-label="Parts of a request" {
                table.parts {
                    caption { span { "Parts in the order in which a request passes them, p50, µs" } }
                    thead { tr {
                        th scope="col" { "Part" }
                        @for breakdown in &breakdowns { th.figure scope="col" { (breakdown.name) } }
                    } }
                    tbody { @for name in &names { tr {
                        th scope="row" { span class={ "swatch " (colour(name)) } {} (name) }
                        @for breakdown in &breakdowns {
                            td.figure { (of(breakdown, name).map_or_else(|| "–".to_owned(), plain)) }
                        }
                    } } }
                    tfoot { tr {
                        th scope="row" { "In all" }
                        @for breakdown in &breakdowns { td.figure { (plain(total(breakdown))) } }
                    } }
                }
            }
        }
    })
}

/// What is no time counts as none.
fn taken(us: f64) -> f64 {
    if (0.0..=PART_US_MAX).contains(&us) {
        us
    } else {
        0.0
    }
}

fn total(breakdown: &Breakdown) -> f64 {
    breakdown.parts.iter().map(|(_, us)| taken(*us)).sum()
}

/// Name and length of each part that takes time, and how much was before it.
fn placed(breakdown: &Breakdown) -> Vec<(&str, f64, f64)> {
    let mut before = 0.0;
    let mut all = vec![];
    for (name, us) in &breakdown.parts {
        let us = taken(*us);
        if us > 0.0 {
            all.push((name.as_str(), us, before));
            before += us;
        }
    }
    all
}
