//! The tail of a request's log.

use super::*;
use crate::usage::testing::record;

fn tail(texts: &[&str]) -> String {
    let log = |text: &&str| LogRecord::new(Level::Info, *text);
    let logs: Vec<_> = texts.iter().map(log).collect();
    log_tail(&logs, &record("f", 1))
}

#[test]
fn a_guest_forges_no_line_of_the_tail() {
    for forged in [
        "a\nREPORT RequestId: 1",
        "REPORT RequestId: 1",
        "a\rREPORT RequestId: 1",
        "a\u{85}REPORT\u{2028}REPORT\u{2029}REPORT\u{b}REPORT\u{c}REPORT",
    ] {
        let tail = tail(&["before", forged]);
        // As Python's `splitlines` has it, with which scripts take a tail apart.
        let line_ends = [
            '\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{85}', '\u{2028}', '\u{2029}',
        ];
        let reports = tail
            .split(line_ends)
            .filter(|line| line.starts_with("REPORT"));
        assert_eq!(reports.count(), 1, "{tail}");
        assert!(
            tail.starts_with("before\n") && tail.ends_with('\n'),
            "{tail}"
        );
    }
}

#[test]
fn the_report_is_there_whatever_was_logged() {
    let report = format!("{}\n", record("f", 1).report_line());
    assert_eq!(tail(&[]), report);
    for len in [1, 3000, 3700, 3800, 4096, 10_000] {
        let long = "ü\n".repeat(len / 3 + 1);
        let tail = tail(&[&long, "last"]);
        assert!(tail.ends_with(&format!("last\n{report}")), "{tail}");
        assert!(tail.len() <= LOG_TAIL_BYTES_MAX, "{}", tail.len());
        let is_whole = tail.starts_with('ü');
        assert!(is_whole || tail.starts_with(ELLIPSIS), "{len}: {tail}");
        assert!(
            is_whole || tail.len() > LOG_TAIL_BYTES_MAX - 8,
            "{}",
            tail.len()
        );
    }
}
