//! The page of `--html`: one file that needs nothing else, readable on a phone, at night and on paper.
//!
//! ```text
//! mod.rs      the page and its sections      chart.rs    distributions and curves
//! style.css   what it looks like             bars.rs     where a request spends its time
//! figures.rs  numbers as text                axis.rs     numbers as places
//! ```
//! Every text goes through `maud`, which escapes it: names of neighbours come from files. Nothing on the page runs or loads, and its
//! policy tells the browser so.
//! Not here: measuring, and choosing what is promised (`report::Ratio` says).

mod axis;
mod bars;
mod chart;
mod figures;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::figures::{SPACE, plain, with_unit};
use crate::{
    host::{Backend, Host},
    report::{At, Level, Measured, Neighbour, Promise, Ratio, Report},
};

/// Nothing may run, and nothing be loaded.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
/// Beyond this, others used the host as well.
const LOAD_QUIET_MAX: f64 = 0.5;

/// Results that are drawn together: an id, a title, and which belong to it.
type Group = (&'static str, &'static str, fn(&str) -> bool);
const GROUPS: &[Group] = &[
    (
        "starts",
        "Starts without the agent, and their floor",
        |name| {
            name == "floor.pooled_restore"
                || name.starts_with("restore.")
                || name.starts_with("boot.")
        },
    ),
    (
        "requests",
        "Requests to a running VM, and their floor",
        |name| matches!(name, "floor.reset" | "floor.roundtrip") || name.starts_with("invoke."),
    ),
    ("agent", "Requests over HTTP, through the agent", |name| {
        name.starts_with("agent.")
    }),
    (
        "neighbours",
        "Cold starts beside the neighbours’",
        |name| {
            matches!(name, "restore.pooled" | "agent.cold")
                || (name.starts_with("peers.") && name.ends_with("cold"))
        },
    ),
];

/// The page about `report`, whatever is in it.
pub fn page(report: &Report) -> String {
    let title = format!("jiffy bench, {}, {}", report.host.cpu, report.host.date);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body { main {
                header {
                    h1 { "jiffy " span.verb { "bench" } }
                    p.lead { (summary(report)) }
                }
                (host(&report.host))
                (promises(&report.ratios))
                (breakdowns(report))
                (distributions(&report.results))
                (growth(&report.results))
                (neighbours(report))
                (results(&report.results))
                (ratios(&report.ratios))
                (absent(report))
                footer { "Schema " (report.schema) ". µs are microseconds; pNN is what NN % of the samples are not above." }
            } }
        }
    };
    page.into_string()
}

/// What a reader wants to know first.
fn summary(report: &Report) -> String {
    let promised: Vec<_> = kept(&report.ratios).collect();
    let kept = promised.iter().filter(|is_kept| **is_kept).count();
    let results = match report.results.len() {
        1 => "1 result".to_owned(),
        count => format!("{count} results"),
    };
    match promised.len() {
        0 => format!("{results}; no promise was put to the test."),
        all if all == kept => {
            format!("{results}; every promise that was put to the test is kept, {all} of them.")
        }
        all => format!("{results}; {kept} of {all} promises kept."),
    }
}

fn kept(ratios: &[Ratio]) -> impl Iterator<Item = bool> {
    ratios
        .iter()
        .filter_map(|ratio| Some(ratio.promise?.is_kept(ratio.value)))
}

fn host(host: &Host) -> Markup {
    let backend = match host.backend {
        Backend::Vmx => "VMX, Intel",
        Backend::Svm => "SVM, AMD",
        Backend::Pvm => "PVM, shadow paging",
        Backend::Unknown => "unknown",
    };
    let machine = if host.nested {
        "a virtual machine"
    } else {
        "bare metal"
    };
    let (idle, busy): (Vec<_>, Vec<_>) = host
        .mitigations
        .iter()
        .partition(|(_, what)| what.trim() == "Not affected");
    let idle: Vec<_> = idle.iter().map(|(name, _)| name.as_str()).collect();
    html! {
        section aria-labelledby="host" {
            h2 id="host" { "Host" }
            @if host.load > LOAD_QUIET_MAX {
                p.note role="note" { "The host was busy when the run began (load " (plain(host.load)) "): a quiet one shows better figures." }
            }
            dl.facts {
                div.long { dt { "CPU" } dd { (host.cpu) } }
                div { dt { "Cores" } dd { (host.cores) } }
                div { dt { "Memory" } dd { (with_unit(mib(host.memory_mib), "MiB")) } }
                div { dt { "KVM" } dd { (backend) } }
                div { dt { "Host is" } dd { (machine) } }
                div { dt { "Kernel" } dd { (host.kernel) } }
                div { dt { "Huge pages" } dd { (host.thp) } }
                div { dt { "Governor" } dd { (host.governor) } }
                div { dt { "Load" } dd { (plain(host.load)) } }
                div { dt { "Began" } dd { (host.date.replacen('T', " ", 1).replace('Z', " UTC")) } }
                @for (program, version) in &host.versions { div { dt { (program) } dd { (version) } } }
            }
            @if !host.mitigations.is_empty() {
                details {
                    summary { "Mitigations: " (busy.len()) " at work, " (idle.len()) " not needed" }
                    dl.plain { @for (name, what) in &busy { div { dt { (name) } dd { (what) } } } }
                    @if !idle.is_empty() { p { "Not affected by " (idle.join(", ")) "." } }
                }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 MiB")]
fn mib(mib: u64) -> f64 {
    mib as f64
}

fn promises(ratios: &[Ratio]) -> Markup {
    let promised = ratios
        .iter()
        .filter_map(|ratio| Some((ratio, ratio.promise?)));
    let promised: Vec<_> = promised.collect();
    html! {
        section aria-labelledby="promises" {
            h2 id="promises" { "Promises" }
            @if promised.is_empty() { p { "None was put to the test in this run." } }
            @else { (table("Promises", html! {
                caption { span { "Bounds that SPECIFICATION.md gives, and what this run found" } }
                thead { tr {
                    th scope="col" { "Promise" }
                    th scope="col" { "Kept?" }
                    th.figure scope="col" { "Found" }
                    th.figure scope="col" { "Bound" }
                } }
                tbody { @for (ratio, promise) in promised {
                    @let (sign, bound) = match promise {
                        Promise::AtMost(bound) => ("≤", bound),
                        Promise::AtLeast(bound) => ("≥", bound),
                    };
                    tr {
                        th scope="row" { (breakable(&ratio.name)) }
                        td.wraps { (verdict(promise, ratio.value)) }
                        td.figure { (found(ratio)) }
                        td.figure { (sign) (SPACE) (with_unit(bound, unit_of(ratio))) }
                    }
                } }
            })) }
        }
    }
}

/// In words and a sign, not in colour only: whether `value` keeps `promise`, and by how much.
fn verdict(promise: Promise, value: f64) -> Markup {
    let (Promise::AtMost(bound) | Promise::AtLeast(bound)) = promise;
    let away = ((value - bound) / bound * 100.0).abs();
    let (class, sign, word, side) = if promise.is_kept(value) {
        ("verdict kept", "✓", "kept", "to spare")
    } else {
        ("verdict missed", "✗", "missed", "off")
    };
    html! {
        span class=(class) { (sign) " " (word) }
        @if away.is_finite() { " " span.told { (with_unit(away.round(), "%")) " " (side) } }
    }
}

/// One result over another is a multiple; anything else is just a figure.
fn unit_of(ratio: &Ratio) -> &'static str {
    if ratio.name.contains(" / ") { "×" } else { "" }
}

fn found(ratio: &Ratio) -> String {
    match unit_of(ratio) {
        "" => plain(ratio.value),
        unit => format!("{}{SPACE}{unit}", plain(ratio.value)),
    }
}

fn breakdowns(report: &Report) -> Markup {
    let bars = bars::bars("parts", &report.breakdowns);
    html! {
        @if let Some(bars) = bars {
            section aria-labelledby="time" {
                h2 id="time" { "Where a request spends its time" }
                (bars)
            }
        }
    }
}

fn distributions(results: &[Measured]) -> Markup {
    let figures = GROUPS.iter().filter_map(|(id, title, belongs)| {
        let mine = results
            .iter()
            .filter(|result| result.at.is_none() && result.unit == "µs" && belongs(&result.name));
        let mine: Vec<_> = mine.collect();
        // The neighbours' drawing says nothing without neighbours.
        let is_alone =
            *id == "neighbours" && !mine.iter().any(|result| result.name.starts_with("peers."));
        (!is_alone)
            .then(|| chart::distributions(id, title, &mine))
            .flatten()
    });
    figures_section(
        "distributions",
        "Distributions",
        "Share of samples that took no longer than that, time on a logarithmic axis: the further left and the steeper, the better.",
        &figures.collect::<Vec<_>>(),
    )
}

fn growth(results: &[Measured]) -> Markup {
    let mut groups: Vec<(&At, &str, Vec<&Measured>)> = vec![];
    for result in results {
        let Some(at) = &result.at else { continue };
        let same = groups.iter_mut().find(|(other, unit, _)| {
            other.axis == at.axis && other.unit == at.unit && *unit == result.unit
        });
        match same {
            Some((_, _, group)) => group.push(result),
            None => groups.push((at, &result.unit, vec![result])),
        }
    }
    let figures = groups
        .iter()
        .enumerate()
        .filter_map(|(index, (at, _, group))| chart::growth(&format!("scale-{index}"), at, group));
    figures_section(
        "scale",
        "Scale",
        "The same request where there is more of something; both axes logarithmic. Flat is good.",
        &figures.collect::<Vec<_>>(),
    )
}

fn figures_section(id: &str, title: &str, told: &str, figures: &[Markup]) -> Markup {
    html! {
        @if !figures.is_empty() {
            section aria-labelledby=(id) {
                h2 id=(id) { (title) }
                p { (told) }
                div.figures { @for figure in figures { (figure) } }
            }
        }
    }
}

fn neighbours(report: &Report) -> Markup {
    let p50 = |neighbour: &Neighbour, kind: &str| {
        let protocol = match neighbour.level {
            Level::Process => "",
            Level::Http => "http_",
        };
        let result = report.result(&format!("peers.{}.{protocol}{kind}", neighbour.name));
        result.map_or_else(
            || "–".to_owned(),
            |result| with_unit(result.p50, &result.unit),
        )
    };
    html! {
        @if !report.neighbours.is_empty() {
            section aria-labelledby="isolation" {
                h2 id="isolation" { "Neighbours" }
                (table("Neighbours", html! {
                    caption { span { "What was measured beside jiffy, and what each keeps apart; p50" } }
                    thead { tr {
                        th scope="col" { "Name" }
                        th.figure scope="col" { "Cold" }
                        th.figure scope="col" { "Warm" }
                        th scope="col" { "Asked" }
                        th scope="col" { "Isolation" }
                    } }
                    tbody { @for neighbour in &report.neighbours { tr {
                        th scope="row" { (breakable(&neighbour.name)) }
                        td.figure { (p50(neighbour, "cold")) }
                        td.figure { (p50(neighbour, "warm")) }
                        td { @match neighbour.level { Level::Process => "as a process", Level::Http => "over HTTP" } }
                        td.wraps.prose { (neighbour.isolation) }
                    } } }
                }))
            }
        }
    }
}

fn results(results: &[Measured]) -> Markup {
    // A suite's results follow each other.
    let suite = |result: &Measured| result.name.split('.').next().unwrap_or_default().to_owned();
    let groups = results.chunk_by(|left, right| suite(left) == suite(right));
    html! {
        section aria-labelledby="results" {
            h2 id="results" { "Results" }
            @if results.is_empty() { p { "Nothing was measured." } }
            @else { (table("Results", html! {
                caption { span { "Every result; a time is from request written to response read unless its name says otherwise" } }
                thead { tr {
                    th scope="col" { "Name" }
                    th scope="col" { "Unit" }
                    @for column in ["n", "min", "p50", "p90", "p99", "p99.9", "max", "mean"] { th.figure scope="col" { (column) } }
                } }
                @for group in groups {
                    tbody { @for result in group { (row(result)) } }
                }
            })) }
        }
    }
}

fn row(result: &Measured) -> Markup {
    // A single figure is no distribution.
    let is_single = result.n <= 1 && result.distribution.is_empty();
    let others = |value: f64| {
        if is_single {
            String::new()
        } else {
            plain(value)
        }
    };
    let few = result.n.to_string();
    let n = if few.len() > 4 {
        plain(mib(result.n))
    } else {
        few
    };
    html! {
        tr {
            th scope="row" {
                (breakable(&result.name))
                @if let Some(at) = &result.at { " " span.told { (with_unit(at.value, &at.unit)) " " (at.axis) } }
            }
            td { (result.unit) }
            td.figure { (n) }
            td.figure { (others(result.min)) }
            td.figure.main { (plain(result.p50)) }
            @for value in [result.p90, result.p99, result.p999, result.max, result.mean] { td.figure { (others(value)) } }
        }
    }
}

fn ratios(ratios: &[Ratio]) -> Markup {
    let others: Vec<_> = ratios
        .iter()
        .filter(|ratio| ratio.promise.is_none())
        .collect();
    html! {
        @if !others.is_empty() {
            section aria-labelledby="ratios" {
                h2 id="ratios" { "Ratios" }
                (table("Ratios", html! {
                    caption { span { "p50 of one result over p50 of another; nothing is promised of these" } }
                    thead { tr { th scope="col" { "Ratio" } th.figure scope="col" { "Found" } } }
                    tbody { @for ratio in others {
                        tr { th scope="row" { (breakable(&ratio.name)) } td.figure { (found(ratio)) } }
                    } }
                }))
            }
        }
    }
}

fn absent(report: &Report) -> Markup {
    html! {
        @if !report.absent.is_empty() {
            section aria-labelledby="absent" {
                h2 id="absent" { "Not measured" }
                dl.plain { @for absent in &report.absent { div { dt { (absent.name) } dd { (absent.why) } } } }
            }
        }
    }
}

/// A name that may go on in the next line after its dots and underscores.
fn breakable(name: &str) -> Markup {
    html! { @for part in name.split_inclusive(['.', '_', '/']) { (part) wbr; } }
}

/// A table in a box of its own that scrolls where the page is narrow; the keyboard reaches it.
fn table(label: &str, rows: Markup) -> Markup {
    html! { div.scroll tabindex="0" role="region" aria-label=(label) { table { (rows) } } }
}

#[cfg(test)]
mod tests;
