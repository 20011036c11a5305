//! `jiffy bench`: every result has its name, and the report is JSON that programs can read. Not here: how fast anything is.

use std::{collections::BTreeSet, fs, process::Command};

use jiffy_tests::{bench_path, require_kvm, share_build_dir};
use serde_json::Value;

const RESULTS: &[&str] = &[
    "floor.pooled_restore",
    "floor.reset",
    "floor.roundtrip",
    "boot.image",
    "boot.process",
    "restore.pooled",
    "restore.unpooled",
    "restore.in_process",
    "invoke.fresh",
    "invoke.warm",
    "floor.exit",
    "call.null",
    "call.batch",
    "floor.http",
    "call.http",
    "call.http_per_s",
    "call.kv_get",
    "floor.commit",
    "call.kv_put",
    "no_std.image_kib",
    "std.image_kib",
    "no_std.fresh",
    "std.fresh",
    "no_std.cold",
    "std.cold",
];
const QUANTILES: [&str; 6] = ["min", "p50", "p90", "p99", "p999", "max"];

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(bench_path().with_file_name("jiffy"));
    command.arg("bench").args(arguments);
    share_build_dir(&mut command);
    command
}

#[test]
fn a_run_has_every_result_and_compares_with_itself() {
    if !require_kvm() {
        return;
    }
    let suites = [
        "--suite",
        "floor,boot,restore,fresh,warm,calls,std",
        "--iterations",
        "20",
    ];
    let output = bench(&suites)
        .args(["--json", "-"])
        .output()
        .expect("jiffy bench");
    let table = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{table}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    let results = report["results"].as_array().expect("results");
    let names: BTreeSet<_> = results
        .iter()
        .filter_map(|result| result["name"].as_str())
        .collect();
    assert_eq!(names, RESULTS.iter().copied().collect(), "{table}");
    assert_eq!(results.len(), RESULTS.len(), "each once: {report:#}");
    for result in results {
        let quantiles = QUANTILES.map(|name| result[name].as_f64().expect("a figure"));
        assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{result:#}");
        let name = result["name"].as_str().expect("a name");
        let (count, unit) = match name {
            _ if name.ends_with("_per_s") => (1, "1/s"),
            _ if name.ends_with("_kib") => (1, "KiB"),
            _ => (20, "µs"),
        };
        assert!(result["n"].as_u64().expect("a count") >= count && result["unit"] == unit);
        assert!(table.contains(name), "{name} in {table}");
    }
    let host = &report["host"];
    for name in [
        "cpu",
        "cores",
        "memory_mib",
        "kernel",
        "backend",
        "nested",
        "thp",
        "governor",
        "mitigations",
        "versions",
        "date",
    ] {
        assert!(!host[name].is_null(), "{name} in {host:#}");
    }
    let promised = |name: &str| {
        let mut ratios = report["ratios"].as_array().expect("ratios").iter();
        let ratio = ratios.find(|ratio| ratio["name"] == name).expect("a ratio");
        assert!(ratio["value"].as_f64().expect("a figure") > 0.0);
        ratio["promise"]["at_most"].as_f64()
    };
    assert_eq!(promised("restore.pooled / floor.pooled_restore"), Some(1.4));
    assert_eq!(
        promised("invoke.fresh / (floor.reset + floor.roundtrip)"),
        Some(1.5)
    );

    // It can be read back, by the program that wrote it.
    let folder = tempfile::tempdir().expect("a folder");
    let base = folder.path().join("base.json");
    fs::write(&base, &output.stdout).expect("write");
    let page = folder.path().join("page.html");
    let mut again = bench(&["--suite", "floor", "--iterations", "5", "--compare"]);
    let again = again
        .arg(&base)
        .arg("--html")
        .arg(&page)
        .output()
        .expect("jiffy bench");
    let table = String::from_utf8_lossy(&again.stdout);
    assert!(
        again.status.success() && table.contains("beside the run of"),
        "{table}"
    );
    assert!(
        fs::read_to_string(&page)
            .expect("a page")
            .contains("floor.reset")
    );
}

#[test]
fn what_cannot_be_read_is_said_before_anything_is_measured() {
    let check = |arguments: &[&str], code: i32, text: &str| {
        let output = bench(arguments).output().expect("jiffy bench");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(text), "{said}");
    };
    check(
        &["--compare", "/nonexistent.json"],
        1,
        "name a file that `jiffy bench --json` wrote",
    );
    check(
        &["--json", "/nonexistent/out.json"],
        1,
        "name a file in a folder that is there",
    );
    check(
        &["--images", "/nonexistent"],
        1,
        "jiffy build examples/hello",
    );
    check(&["--suite", "speed"], 2, "possible values");
    check(
        &["ab", "/nonexistent.json", "--", "/nonexistent.json"],
        1,
        "cannot read",
    );
}
