use std::{
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use jiffy_capabilities::Outbound;
use jiffy_model::EndsRequest as _;

use super::*;
use crate::{
    pool::{PoolStats, Refused},
    usage::testing::record,
    vm::VmError,
};

fn filled() -> Metrics {
    let metrics = Metrics::new();
    for (index, outcome) in Outcome::records().enumerate() {
        let start = [Start::Cold, Start::Fresh, Start::Warm][index % 3];
        let mut record = record("hello", index as u64);
        (record.outcome, record.start) = (outcome, start);
        metrics.invoked(&record);
    }
    for why in Outcome::unserved() {
        metrics.unserved(&"hello".parse().expect("name"), why);
    }
    metrics.deployed(true);
    metrics.log_lines_dropped_in_queue(3);
    metrics
}

fn gauges() -> Gauges {
    let outbound = |origin: &str, count| Outbound {
        origin: origin.into(),
        results: [
            "2xx", "3xx", "4xx", "5xx", "denied", "failed", "limit", "timeout", "aborted",
        ]
        .map(|name| (name, count)),
        sent_bytes: 20,
        received_bytes: 21,
        time: Duration::from_millis(2500),
    };
    Gauges {
        functions: 1,
        log_bytes: 2,
        body_bytes: 16,
        pool: PoolStats {
            shells_ready: 3,
            shells_making: 4,
            vms_starting: 5,
            vms_busy: 6,
            vms_settling: 7,
            vms_idle: 8,
            requests_waiting: 9,
            memory_charged_bytes: 10,
            memory_bytes_max: 1 << 34,
            vms_started: 12,
            vms_evicted: 13,
            vms_expired: 14,
            vms_squeezed: 17,
            shells_failed: 15,
        },
        outbound: vec![
            outbound("https://*.example.org", 18),
            outbound("(other)", 19),
        ],
    }
}

/// Runs a checker that reads `text`. A machine that lacks it is told so, and the test says nothing.
fn check_with(command: &mut Command, text: &str) {
    let program = command.get_program().to_string_lossy().into_owned();
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = pipes.stderr(Stdio::piped()).spawn() else {
        eprintln!("not checked: there is no {program} here; Debian has promtool in `prometheus`");
        return;
    };
    let mut input = child.stdin.take().expect("piped");
    input.write_all(text.as_bytes()).expect("write");
    drop(input);
    let output = child.wait_with_output().expect("wait");
    if output.status.code() == Some(77) {
        eprintln!(
            "not checked: python3 has no prometheus_client; Debian has it in `python3-prometheus-client`"
        );
        return;
    }
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(
        output.status.success() && said.is_empty(),
        "{program}: {said}\n{text}"
    );
}

#[test]
fn promtool_accepts_what_prometheus_gets() {
    for metrics in [Metrics::new(), filled()] {
        let text = metrics.encode(&gauges(), Exposition::Prometheus);
        check_with(Command::new("promtool").args(["check", "metrics"]), &text);
    }
}

#[test]
fn the_strict_parser_accepts_open_metrics() {
    let parse = "
import sys
try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
except ImportError:
    sys.exit(77)
families = {family.name: family for family in parse(sys.stdin.read())}
assert len(families['jiffy_request_duration_seconds'].samples) == 3 * 29, families.keys()
";
    for metrics in [Metrics::new(), filled()] {
        let text = metrics.encode(&gauges(), Exposition::OpenMetrics);
        check_with(Command::new("python3").args(["-c", parse]), &text);
    }
}

#[test]
fn numbers_are_where_they_belong() {
    let text = filled().encode(&gauges(), Exposition::OpenMetrics);
    for line in [
        "# TYPE jiffy_requests counter",
        r#"jiffy_requests_total{function="hello",outcome="out-of-memory"} 1"#,
        r#"jiffy_requests_refused_total{function="hello",reason="queue-full"} 1"#,
        r#"jiffy_deploys_total{outcome="ok"} 1"#,
        r#"jiffy_deploys_total{outcome="error"} 0"#,
        "# UNIT jiffy_request_duration_seconds seconds",
        r#"jiffy_request_duration_seconds_count{start="cold"} 4"#,
        r#"jiffy_request_duration_seconds_count{start="fresh"} 3"#,
        r#"jiffy_request_duration_seconds_count{start="warm"} 3"#,
        "jiffy_restore_seconds_count 4",
        "jiffy_reset_seconds_count 10",
        "jiffy_vm_exits_total 10",
        r#"jiffy_log_lines_dropped_total{reason="queue"} 3"#,
        "jiffy_shells_ready 3",
        "jiffy_vms_started_total 12",
        "jiffy_vms_squeezed_total 17",
        "jiffy_function_logs_bytes 2",
        "jiffy_memory_budget_bytes 17179869184",
        r#"jiffy_outbound_requests_total{origin="https://*.example.org",result="2xx"} 18"#,
        r#"jiffy_outbound_requests_total{origin="(other)",result="aborted"} 19"#,
        r#"jiffy_outbound_request_body_bytes_total{origin="(other)"} 20"#,
        r#"jiffy_outbound_response_body_bytes_total{origin="https://*.example.org"} 21"#,
        r#"jiffy_outbound_request_seconds_total{origin="(other)"} 2.5"#,
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "no {line:?} in\n{text}"
        );
    }
    assert!(text.ends_with("# EOF\n"));
    let text = filled().encode(&gauges(), Exposition::Prometheus);
    assert!(text.contains("# TYPE jiffy_requests_total counter\n"));
    assert!(!text.contains("# UNIT") && !text.contains("# EOF"));
}

#[test]
fn a_client_gets_the_format_it_asks_for() {
    let check = |accept, expected| assert_eq!(Exposition::from_accept(accept), expected);
    for accept in [
        None,
        Some("*/*"),
        Some("text/plain;version=0.0.4"),
        Some("text/html"),
        Some("application/openmetrics-text; q=0, text/plain"),
        Some("application/openmetrics-text;version=0.0.1"),
    ] {
        check(accept, Exposition::Prometheus);
    }
    for accept in [
        "application/openmetrics-text",
        "text/plain;q=0.1, Application/OpenMetrics-Text; version=1.0.0; charset=utf-8",
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
    ] {
        check(Some(accept), Exposition::OpenMetrics);
    }
}

#[test]
fn series_are_bounded_and_go_with_their_function() {
    let metrics = Metrics::new();
    for index in 0..FUNCTION_LABELS_MAX + 10 {
        metrics.invoked(&record(&format!("f{index}"), 0));
    }
    let count = |what: &str| {
        let text = metrics.encode(&gauges(), Exposition::OpenMetrics);
        text.lines().filter(|line| line.contains(what)).count()
    };
    assert_eq!(count("jiffy_requests_total{"), FUNCTION_LABELS_MAX + 1);
    let other = r#"function="(other)",outcome="ok"} 10"#;
    assert_eq!(count(other), 1);
    let gone = "f7".parse().expect("name");
    metrics.forget(&gone);
    metrics.forget(&gone);
    assert_eq!(count(r#"function="f7""#), 0);
    metrics.invoked(&record("late", 0));
    assert_eq!(count(r#"function="late""#), 1);
}

#[test]
fn a_vm_that_was_ended_for_want_of_memory_is_counted_as_that() {
    let squeezed = VmError::Undelivered(Box::new(VmError::Died(jiffy_control::Death::Squeezed)));
    for refused in [Refused::Memory, Refused::Vm(squeezed)] {
        assert_eq!(refused.outcome().name(), "memory");
    }
}
