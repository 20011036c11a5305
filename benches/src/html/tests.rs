use roxmltree::{Document, Node};

use super::{
    axis::{LogAxis, linear_ticks},
    *,
};
use crate::report::{Absent, Breakdown, Neighbour, SCHEMA};

/// Figures that were made up, with something in every part of the page. The browser's test shows the same.
fn example() -> Report {
    serde_json::from_str(include_str!("../../../tests/data/bench-report.json")).expect("a report")
}

fn empty() -> Report {
    Report {
        schema: SCHEMA,
        results: vec![],
        ratios: vec![],
        breakdowns: vec![],
        absent: vec![],
        neighbours: vec![],
        ..example()
    }
}

fn measured(name: &str, value: f64) -> Measured {
    Measured {
        distribution: vec![(1.0, value)],
        ..Measured::single(name, "µs", value)
    }
}

/// What is between `<svg …>` and `</svg>`, each by itself well-formed XML.
fn drawings(page: &str) -> Vec<String> {
    let ends = page.split("<svg").skip(1);
    let all: Vec<_> = ends
        .map(|rest| {
            format!(
                "<svg{}</svg>",
                rest.split("</svg>").next().unwrap_or_default()
            )
        })
        .collect();
    for drawing in &all {
        if let Err(error) = Document::parse(drawing) {
            panic!("{error}: {drawing}");
        }
    }
    all
}

fn charts(page: &str) -> Vec<String> {
    let mut all = drawings(page);
    all.retain(|drawing| drawing.contains("role=\"img\""));
    all
}

fn with_class<'a>(document: &'a Document<'_>, class: &str) -> Vec<Node<'a, 'a>> {
    let has = |node: &Node| {
        node.attribute("class")
            .is_some_and(|all| all.split(' ').any(|one| one == class))
    };
    document.descendants().filter(has).collect()
}

#[test]
fn every_part_of_a_report_is_on_the_page() {
    let report = example();
    let page = page(&report).replace("<wbr>", "").replace('\u{a0}', " ");
    for result in &report.results {
        assert!(page.contains(&result.name), "{}", result.name);
    }
    for ratio in &report.ratios {
        assert!(page.contains(&ratio.name), "{}", ratio.name);
    }
    for text in [
        "Example CPU 9000",
        "PVM",
        "8 of 9 promises kept",
        "✗ missed",
        "✓ kept",
        "1.28 ×",
        "≤ 1.4 ×",
        "≥ 3 ×",
        "Not measured",
        "firecracker is not in PATH",
        "a container of its own",
        "spectre_v2",
        "Not affected by meltdown, retbleed.",
        "10,840",
        "781",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("was busy"));
    let ids: Vec<_> = page
        .split(" id=\"")
        .skip(1)
        .map(|rest| rest.split('"').next())
        .collect();
    let mut once = ids.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), ids.len(), "{ids:?}");
}

#[test]
fn nothing_runs_and_nothing_is_loaded() {
    let page = page(&example());
    for text in [
        "<script", "http://", "https://", "url(", "@import", " src=", " href=", "onload",
    ] {
        assert!(!page.contains(text), "{text}");
    }
    assert!(page.contains("default-src &#39;none&#39;") || page.contains("default-src 'none'"));
}

#[test]
fn drawings_have_words_and_lines() {
    let page = page(&example());
    let charts = charts(&page);
    // A bar for where the time goes, four groups of distributions, four axes.
    assert_eq!(charts.len(), 9);
    for chart in &charts {
        let document = Document::parse(chart).expect("parsed before");
        let child = |name: &str| {
            document
                .root_element()
                .children()
                .find(|node| node.has_tag_name(name))
        };
        for name in ["title", "desc"] {
            let words = child(name).and_then(|node| node.text()).unwrap_or_default();
            assert!(words.len() > 5, "{name} of {chart}");
        }
        let drawn = with_class(&document, "line").len() + with_class(&document, "part").len();
        assert!(drawn >= 2, "{chart}");
        // Nothing is drawn beside the drawing.
        for text in document
            .descendants()
            .filter(|node| node.has_tag_name("text"))
        {
            let x: f64 = text
                .attribute("x")
                .and_then(|x| x.parse().ok())
                .expect("a place");
            assert!((0.0..=440.0).contains(&x), "{x} in {chart}");
        }
    }
    let titles = [
        "Starts without",
        "Requests to",
        "Requests over HTTP",
        "By live VMs",
        "By RAM",
        "By dirty pages",
        "By payload",
    ];
    for title in titles {
        assert!(charts.iter().any(|chart| chart.contains(title)), "{title}");
    }
}

#[test]
fn names_are_escaped() {
    let evil = "peers.<script>alert(1)</script>&\"'.cold";
    let mut report = empty();
    report.host.cpu = evil.into();
    report.results = vec![
        measured(evil, 5.0),
        measured(evil, 7.0).at(evil, 3.0, evil),
        measured(evil, 9.0).at(evil, 4.0, evil),
    ];
    report.ratios = [None, Some(Promise::AtMost(1.0))]
        .map(|promise| Ratio {
            name: evil.into(),
            value: 2.0,
            promise,
        })
        .into();
    report.breakdowns = vec![Breakdown {
        name: evil.into(),
        parts: vec![(evil.into(), 4.0)],
    }];
    report.absent = vec![Absent {
        name: evil.into(),
        why: evil.into(),
    }];
    report.neighbours = vec![Neighbour {
        name: evil.into(),
        isolation: evil.into(),
        is_vm_or_container: false,
        level: Level::Http,
    }];
    let page = page(&report);
    assert!(!page.contains("<script") && !page.contains("\"'"), "{page}");
    assert!(page.contains("&lt;script&gt;"));
    assert_eq!(charts(&page).len(), 3);
}

#[test]
fn an_empty_report_is_a_page() {
    let page = page(&empty());
    assert!(page.contains("Nothing was measured.") && page.contains("None was put to the test"));
    assert!(page.contains("0 results; no promise"));
    assert_eq!(drawings(&page).len(), 0);
}

#[test]
fn one_sample_is_a_line_upwards() {
    let mut report = empty();
    report.results = vec![
        measured("restore.pooled", 250.0),
        measured("scale.ram.restore", 7.0).at("RAM", 16.0, "MiB"),
    ];
    let page = page(&report);
    let charts = charts(&page);
    assert_eq!(charts.len(), 2);
    let document = Document::parse(&charts[0]).expect("parsed before");
    let line = with_class(&document, "line");
    let path = line[0].attribute("d").expect("a path");
    let x = |part: &str| part.split(' ').next().map(str::to_owned);
    let (from, to) = path[1..].split_once('L').expect("two points");
    assert_eq!(x(from), x(to), "{path}");
    assert!(page.contains("250\u{a0}µs"));
}

#[test]
fn figures_that_are_none_do_no_harm() {
    let odd = [
        f64::NAN,
        f64::INFINITY,
        -1.0,
        0.0,
        f64::MIN_POSITIVE,
        f64::MAX,
    ];
    let mut report = empty();
    for value in odd {
        report.results.push(Measured {
            distribution: vec![(value, value), (0.5, value)],
            n: u64::MAX,
            ..measured("boot.image", value)
        });
        report
            .results
            .push(measured("scale.x", value).at("x", value, "bytes"));
        report.ratios.push(Ratio {
            name: "a / b".into(),
            value,
            promise: Some(Promise::AtLeast(value)),
        });
        report.breakdowns.push(Breakdown {
            name: "agent.cold".into(),
            parts: vec![("run".into(), value)],
        });
    }
    report.host.load = f64::NAN;
    report.host.memory_mib = u64::MAX;
    let page = page(&report);
    for drawing in drawings(&page) {
        assert!(
            !drawing.contains("NaN") && !drawing.contains("inf"),
            "{drawing}"
        );
    }
    assert_eq!(charts(&page).len(), 3);
}

#[test]
fn figures_are_short() {
    for (value, text) in [
        (0.0, "0.00"),
        (0.126, "0.13"),
        (2.1, "2.10"),
        (12.34, "12.3"),
        (123.4, "123"),
        (1234.5, "1,234"),
        (1_234_567.0, "1,234,567"),
        (-1234.0, "-1,234"),
        (-123.0, "-123"),
        (0.0001, "1.00e-4"),
        (1e15, "1.00e15"),
        (f64::NAN, "–"),
    ] {
        assert_eq!(plain(value), text);
    }
    for (value, unit, text) in [
        (250.0, "µs", "250 µs"),
        (1250.0, "µs", "1.25 ms"),
        (61e6, "µs", "61 s"),
        (0.5, "µs", "0.5 µs"),
        (0.0, "bytes", "0 bytes"),
        (1024.0, "bytes", "1 KiB"),
        (1_048_576.0, "bytes", "1 MiB"),
        (1024.0, "MiB", "1 GiB"),
        (5000.0, "", "5,000"),
        (1312.0, "1/s", "1,312 1/s"),
    ] {
        assert_eq!(with_unit(value, unit).replace('\u{a0}', " "), text);
    }
}

#[test]
fn axes_have_a_few_round_ticks() {
    for (low, high) in [
        (1.0, 1.0),
        (3.0, 5.0),
        (20.0, 2e3),
        (0.1, 9e6),
        (1e-300, 1e300),
        (f64::MIN_POSITIVE, f64::MAX),
    ] {
        let axis = LogAxis::over([low, high, f64::NAN, 0.0], (0.0, 100.0)).expect("an axis");
        let ticks = axis.ticks();
        assert!(
            (1..=7).contains(&ticks.len()) && ticks.is_sorted(),
            "{low} to {high}: {ticks:?}"
        );
        let places = [low, high].map(|value| axis.place(value));
        assert!(
            places[0] > 0.0 && places[1] < 100.0 && places[0] <= places[1],
            "{places:?}"
        );
    }
    assert!(LogAxis::over([0.0, -1.0, f64::INFINITY], (0.0, 1.0)).is_none());
    for high in [f64::MIN_POSITIVE, 0.3, 1.0, 545.0, 1e9, f64::MAX] {
        let ticks = linear_ticks(high);
        assert!(
            (2..=7).contains(&ticks.len()) && ticks.is_sorted(),
            "{high}: {ticks:?}"
        );
    }
    assert_eq!(linear_ticks(545.0), [0.0, 200.0, 400.0]);
}
