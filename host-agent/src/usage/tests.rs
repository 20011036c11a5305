use std::fs::OpenOptions;

use tempfile::TempDir;

use super::{testing::record, *};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

const LIMITS: UsageLimits = UsageLimits {
    file_bytes_max: 2000,
    total_bytes_max: 10_000,
    sums_max: 1000,
};

fn open(directory: &TempDir) -> Usage {
    Usage::open(directory.path(), LIMITS).expect("open")
}

fn write(usage: &Usage, function: &str, ts_ms: u64) {
    usage.write(&[record(function, ts_ms)]).expect("write");
}

/// Functions and how many requests they had.
fn requests(usage: &Usage, since_ms: u64) -> Vec<(String, u64)> {
    let summary = usage.summary(None, since_ms).into_iter();
    let row = |usage: FunctionUsage| (usage.function.to_string(), usage.sums.requests);
    summary.map(row).collect()
}

fn row(function: &str, requests: u64) -> (String, u64) {
    (function.to_owned(), requests)
}

#[test]
fn a_record_reads_as_documented() {
    let directory = TempDir::new().expect("directory");
    write(&open(&directory), "hello", 7);
    let text = fs::read_to_string(directory.path().join("0000000000000001.jsonl"));
    let golden = r#"{"ts_ms":7,"request_id":"request-7","function":"hello","version":1,"start":"fresh","outcome":"ok","queue_us":5,"restore_us":0,"run_us":1234,"wall_us":1300,"cpu_us":40,"reset_us":12,"pages_written":24,"exits":1,"bytes_in":100,"bytes_out":200,"memory_bytes":16777216,"memory_touched_bytes":98304}
"#;
    assert_eq!(text.expect("read"), golden);
}

#[test]
fn a_report_reads_as_documented() {
    let golden = "REPORT RequestId: request-7\tDuration: 1.234 ms\tBilled Duration: 2 ms\tMemory Size: 16 MB\tMax Memory Used: 1 MB\t\
                  Start: fresh\tOutcome: ok\tQueue: 0.005 ms\tRestore: 0.000 ms\tReset: 0.012 ms\tPages: 24\tExits: 1";
    assert_eq!(record("hello", 7).report_line(), golden);
}

#[test]
fn a_vms_counters_go_into_the_record() {
    let mut stats = Stats {
        last_request_ns: 5_000_000,
        last_request_cpu_ns: 41_999,
        last_reset_ns: 5000,
        last_reset_pages: 3,
        pages_touched: 9,
        ..Stats::default()
    };
    (stats.last_request_exits.wait, stats.last_request_exits.mmio) = (2, 1);
    let unmeasured = UsageRecord {
        cpu_us: 0,
        ..record("hello", 7)
    };
    let record = unmeasured.clone().measured(&stats);
    assert_eq!(
        (record.cpu_us, record.reset_us, record.pages_written),
        (41, 5, 3)
    );
    assert_eq!((record.exits, record.memory_touched_bytes), (3, 9 * 4096));
    let called = Called {
        calls: 2,
        call_bytes: 300,
        reply_bytes: 4000,
        calls_us: 1500,
    };
    let record = record.with_calls(&called);
    assert_eq!(
        (
            record.calls,
            record.call_bytes,
            record.reply_bytes,
            record.calls_us
        ),
        (2, 300, 4000, 1500)
    );
    let report = record.report_line();
    assert!(
        report
            .ends_with("\tCalls: 2\tCalls Duration: 1.500 ms\tCall Bytes: 300\tReply Bytes: 4000"),
        "{report}"
    );
    let ended = unmeasured.measured_at_end(&stats);
    assert_eq!(
        (ended.cpu_us, ended.reset_us, ended.pages_written),
        (41, 0, 9)
    );
}

#[test]
fn sums_are_by_function_and_time() {
    let directory = TempDir::new().expect("directory");
    let usage = open(&directory);
    for (function, minute) in [("a", 0), ("b", 0), ("a", 1), ("a", 5), ("a", 0)] {
        write(&usage, function, minute * MINUTE_MS + 17);
    }
    assert_eq!(requests(&usage, 0), [row("a", 4), row("b", 1)]);
    assert_eq!(requests(&usage, MINUTE_MS), [row("a", 2)]);
    assert_eq!(requests(&usage, MINUTE_MS * 6 - 1), [row("a", 1)]);
    assert_eq!(requests(&usage, MINUTE_MS * 6), []);
    let name = "b".parse().expect("name");
    let summary = usage.summary(Some(&name), 0);
    let json = serde_json::to_value(&summary).expect("JSON");
    let golden = serde_json::json!([{
        "function": "b", "requests": 1, "outcomes": {"ok": 1}, "starts": {"fresh": 1},
        "queue_us": 5, "restore_us": 0, "run_us": 1234, "wall_us": 1300, "cpu_us": 40, "reset_us": 12,
        "pages_written": 24, "exits": 1, "bytes_in": 100, "bytes_out": 200,
        "calls": 0, "call_bytes": 0, "reply_bytes": 0, "calls_us": 0, "memory_mib_us": 1234 * 16,
    }]);
    assert_eq!(json, golden);
    let mut failed = record("b", 20);
    (failed.outcome, failed.start, failed.run_us) = (Outcome::Timeout, Start::Cold, u64::MAX);
    usage.write(&[failed]).expect("write");
    let summary = usage.summary(Some(&name), 0);
    let sums = &summary[0].sums;
    assert_eq!(
        sums.outcomes,
        [(Outcome::Ok, 1), (Outcome::Timeout, 1)].into()
    );
    assert_eq!((sums.run_us, sums.memory_mib_us), (u64::MAX, u64::MAX));
}

#[test]
fn minutes_become_hours_and_the_oldest_go() {
    let directory = TempDir::new().expect("directory");
    let usage = open(&directory);
    for minute in 0..60 * 5 {
        write(&usage, "a", minute * MINUTE_MS);
    }
    assert_eq!(requests(&usage, 0), [row("a", 300)]);
    // Behind two hours, an answer begins at the hour.
    assert_eq!(requests(&usage, HOUR_MS + MINUTE_MS), [row("a", 240)]);
    assert_eq!(requests(&usage, HOUR_MS * 4 + MINUTE_MS), [row("a", 59)]);
    // 2 h 59 min are three hours of sums, the last of them begun, and the rest 121 minutes.
    assert_eq!(usage.state.lock().timeline.len(), 3 + 121);
    let few = UsageLimits {
        sums_max: 122,
        ..LIMITS
    };
    drop(usage);
    let usage = Usage::open(directory.path(), few).expect("open");
    write(&usage, "a", HOUR_MS * 5);
    assert!(usage.state.lock().timeline.len() <= 122);
}

/// After any crash, each request whose line is on disk is in the sums once.
#[test]
fn a_restart_sums_each_request_once() {
    let directory = TempDir::new().expect("directory");
    let mut expected = 0;
    for round in 0..20 {
        let usage = open(&directory); // The one before is dropped without a word, as in a crash.
        assert_eq!(requests(&usage, 0).first().map_or(0, |row| row.1), expected);
        // 20 rounds of 9 lines of 300 bytes are five times what the files hold.
        for index in 0..9 {
            write(&usage, "a", index);
            expected += 1;
            if round % 4 == 1 && index == 4 {
                usage.checkpoint().expect("checkpoint");
            }
        }
    }
    let usage = open(&directory);
    assert_eq!(requests(&usage, 0), [row("a", 180)]);
    let bytes = usage.state.lock().journal.total_bytes();
    assert!(bytes <= LIMITS.total_bytes_max, "{bytes}");
}

#[test]
fn a_torn_line_is_no_request_and_a_lost_one_stays_summed() {
    let directory = TempDir::new().expect("directory");
    let usage = open(&directory);
    for ts_ms in 0..4 {
        write(&usage, "a", ts_ms);
    }
    drop(usage);
    let path = directory.path().join("0000000000000001.jsonl");
    let file_bytes = fs::metadata(&path).expect("metadata").len();
    let file = OpenOptions::new().write(true).open(&path).expect("open");
    file.set_len(file_bytes - 1).expect("tear");
    let usage = open(&directory);
    assert_eq!(requests(&usage, 0), [row("a", 3)]);
    usage.checkpoint().expect("checkpoint");
    drop(usage);
    // A power cut took two lines that the checkpoint has.
    file.set_len(file_bytes / 4).expect("tear");
    let usage = open(&directory);
    assert_eq!(requests(&usage, 0), [row("a", 3)]);
    write(&usage, "a", 9);
    assert_eq!(requests(&open(&directory), 0), [row("a", 4)]);
}

#[test]
fn a_checkpoint_that_does_not_decode_is_made_again() {
    let directory = TempDir::new().expect("directory");
    let usage = open(&directory);
    write(&usage, "a", 1);
    write(&usage, "b", 1);
    usage.checkpoint().expect("checkpoint");
    let path = directory.path().join(CHECKPOINT_NAME);
    let whole = fs::read_to_string(&path).expect("read");
    assert_eq!(whole.lines().count(), 3);
    let expected = [row("a", 1), row("b", 1)];
    for end in 0..whole.len() {
        fs::write(&path, &whole[..end]).expect("write");
        assert_eq!(requests(&open(&directory), 0), expected, "cut at {end}");
    }
    fs::write(&path, whole.replace("\"format\":1", "\"format\":2")).expect("write");
    assert_eq!(requests(&open(&directory), 0), expected);
}

#[test]
fn a_disk_that_takes_nothing_loses_no_sum() {
    let directory = TempDir::new().expect("directory");
    let usage = open(&directory);
    fs::create_dir(directory.path().join("0000000000000001.jsonl")).expect("in the way");
    let error = usage.write(&[record("a", 1)]).expect_err("no file");
    assert!(matches!(error, UsageError::Journal(_)), "{error}");
    fs::remove_dir(directory.path().join("0000000000000001.jsonl")).expect("remove");
    write(&usage, "a", 2);
    usage.checkpoint().expect("checkpoint");
    assert_eq!(requests(&open(&directory), 0), [row("a", 2)]);
}
