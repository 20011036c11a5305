use std::{fs::OpenOptions, io::Write, time::Duration};

use tempfile::TempDir;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use jiffy_abi::log_ring::TEXT_BYTES_MAX;
use jiffy_control::CUT_MARK;

use super::*;

const LIMITS: LogLimits = LogLimits {
    file_bytes_max: 1000,
    function_bytes_max: 5000,
    host_bytes_max: 20_000,
    function_bytes_per_s_max: 1 << 20,
};

fn name(text: &str) -> FunctionId {
    text.parse().expect("name")
}

fn line(ts_ms: u64, text: &str) -> LogLine {
    LogLine {
        ts_ms,
        request_id: Some(format!("r{}", ts_ms % 3)),
        version: VersionNumber::FIRST,
        level: Level::Info,
        source: LogSource::Function,
        text: text.to_owned(),
    }
}

fn lines(function: &str, range: std::ops::Range<u64>) -> Vec<(FunctionId, LogLine)> {
    let line = |ts_ms| (name(function), line(ts_ms, &format!("line {ts_ms}")));
    range.map(line).collect()
}

/// The moments of what a query finds.
fn find(logs: &Logs, function: &str, query: &LogQuery) -> Vec<u64> {
    let found = logs.read(&name(function), query).expect("read");
    found.iter().map(|line| line.ts_ms).collect()
}

fn all(logs: &Logs, function: &str) -> Vec<u64> {
    find(logs, function, &LogQuery::default())
}

#[test]
fn a_line_reads_as_documented() {
    let directory = TempDir::new().expect("directory");
    let logs = Logs::open(directory.path(), LIMITS).expect("open");
    let mut deploy = line(8, "a \"b\"\nc\0 ü");
    (deploy.request_id, deploy.level) = (None, Level::Error);
    let lines = vec![line(7, "x"), deploy];
    let named = lines.iter().map(|line| (name("hello"), line.clone()));
    assert_eq!(logs.write(named, Instant::now()), Dropped::default());
    let path = directory.path().join("hello/0000000000000001.jsonl");
    let text = fs::read_to_string(path).expect("read");
    let golden = r#"{"ts_ms":7,"request_id":"r1","version":1,"level":"info","source":"function","text":"x"}
{"ts_ms":8,"version":1,"level":"error","source":"function","text":"a \"b\"\nc\u0000 ü"}
"#;
    assert_eq!(text, golden);
    let read = logs.read(&name("hello"), &LogQuery::default());
    assert_eq!(read.expect("read"), lines);
}

#[test]
fn queries_find_the_newest_lines_that_are_wanted() {
    let directory = TempDir::new().expect("directory");
    let logs = Logs::open(directory.path(), LIMITS).expect("open");
    for start in [0, 10, 20, 30] {
        logs.write(lines("f", start..start + 10), Instant::now());
    }
    assert_eq!(all(&logs, "f"), Vec::from_iter(0..40));
    assert_eq!(all(&logs, "g"), [0u64; 0]);
    let query = |since_ms, until_ms, request_id: Option<&str>, limit| LogQuery {
        since_ms,
        until_ms,
        request_id: request_id.map(str::to_owned),
        limit,
    };
    let check = |query: LogQuery, expected: &[u64]| assert_eq!(find(&logs, "f", &query), expected);
    check(query(None, None, None, 0), &[]);
    check(query(None, None, None, 3), &[37, 38, 39]);
    check(query(Some(38), None, None, 9), &[38, 39]);
    check(query(Some(12), Some(15), None, 9), &[12, 13, 14]);
    check(query(None, Some(15), None, 2), &[13, 14]);
    check(query(Some(40), None, None, 9), &[]);
    check(query(None, Some(8), Some("r0"), usize::MAX), &[0, 3, 6]);
    check(query(None, None, Some("none"), 9), &[]);
}

#[test]
fn size_is_bounded_per_function_and_for_the_host() {
    let directory = TempDir::new().expect("directory");
    let logs = Logs::open(directory.path(), LIMITS).expect("open");
    for start in 0..200 {
        logs.write(lines("f", start..start + 1), Instant::now());
    }
    assert!((4000..=5000).contains(&logs.total_bytes()));
    let kept = all(&logs, "f");
    assert_eq!(kept.last(), Some(&199));
    assert!(kept.windows(2).all(|pair| pair[1] == pair[0] + 1));
    // Ten functions want more than the host has; each keeps its newest lines.
    for function in 0..10 {
        for start in 0..100 {
            logs.write(
                lines(&format!("g{function}"), start..start + 1),
                Instant::now(),
            );
        }
    }
    let total_bytes = logs.total_bytes();
    assert!((17_000..=20_000).contains(&total_bytes), "{total_bytes}");
    for function in 0..10 {
        assert_eq!(all(&logs, &format!("g{function}")).last(), Some(&99));
    }
    // The count is what the files say, before a restart and after it.
    let logs = Logs::open(directory.path(), LIMITS).expect("open");
    assert_eq!(logs.total_bytes(), total_bytes);
    logs.remove(&name("g3")).expect("remove");
    assert_eq!(all(&logs, "g3"), [0u64; 0]);
    assert!(logs.total_bytes() < total_bytes);
    assert!(!directory.path().join("g3").exists());
    logs.remove(&name("g3")).expect("remove what is not there");
}

#[test]
fn a_restart_keeps_lines_and_a_torn_one_is_dropped() {
    let directory = TempDir::new().expect("directory");
    let logs = Logs::open(directory.path(), LIMITS).expect("open");
    logs.write(lines("f", 0..5), Instant::now());
    let path = directory.path().join("f/0000000000000001.jsonl");
    let mut file = OpenOptions::new().append(true).open(path).expect("open");
    // What a power cut may leave, and what a crash may.
    file.write_all(b"\0\0\0\0\n{\"ts_ms\":9,\"te")
        .expect("write");
    let logs = Logs::open(directory.path(), LIMITS).expect("open");
    logs.write(lines("f", 6..8), Instant::now());
    assert_eq!(all(&logs, "f"), [0, 1, 2, 3, 4, 6, 7]);
}

#[test]
fn rate_is_bounded_and_what_is_dropped_is_told() {
    let directory = TempDir::new().expect("directory");
    let limits = LogLimits {
        function_bytes_per_s_max: 1000,
        file_bytes_max: 1 << 20,
        function_bytes_max: 1 << 20,
        host_bytes_max: 1 << 20,
    };
    let logs = Logs::open(directory.path(), limits).expect("open");
    let start = Instant::now();
    // 103 bytes each: the tenth is the last that finds something in the bucket.
    let dropped = logs.write(lines("f", 0..40), start);
    assert_eq!((dropped.rate_lines, dropped.disk_lines), (30, 0));
    // Another function has its own rate.
    assert_eq!(logs.write(lines("g", 0..5), start), Dropped::default());
    // Half a second fills half of it.
    let later = start + Duration::from_millis(500);
    let dropped = logs.write(lines("f", 40..60), later);
    assert_eq!(dropped.rate_lines, 15);
    let kept = logs.read(&name("f"), &LogQuery::default()).expect("read");
    assert_eq!(kept.len(), 10 + 1 + 5);
    let told =
        "30 log records (210 B) were dropped: the function logs more than 1000 bytes a second";
    assert_eq!(
        (kept[10].level, kept[10].text.as_str()),
        (Level::Warn, told)
    );
    assert_eq!(kept[11].ts_ms, 40);
}

#[test]
fn a_line_longer_than_allowed_is_cut_at_a_character() {
    let directory = TempDir::new().expect("directory");
    let logs = Logs::open(directory.path(), LogLimits::default()).expect("open");
    let long = format!("x{}", "ü".repeat(TEXT_BYTES_MAX));
    logs.write([(name("f"), line(0, &long))], Instant::now());
    let read = logs.read(&name("f"), &LogQuery::default()).expect("read");
    let (text, mark) = read[0].text.split_at(TEXT_BYTES_MAX - 1);
    assert_eq!((mark, text), (CUT_MARK, &long[..text.len()]));
}

/// A line for each request is the platform's: it is kept beside a flood, and says what the flood lost.
#[test]
fn the_platforms_lines_are_kept_above_the_rate() {
    let directory = TempDir::new().expect("directory");
    let limits = LogLimits {
        function_bytes_per_s_max: 1000,
        ..LogLimits::default()
    };
    let logs = Logs::open(directory.path(), limits).expect("open");
    let flood = lines("f", 0..40).into_iter();
    let flood = flood.map(|(function, line)| (function, line, Keep::IfRoom));
    let report = [(name("f"), line(40, "REPORT"), Keep::Always)];
    let dropped = logs.write_all(flood.chain(report), Instant::now());
    assert_eq!(dropped.rate_lines, 30);
    let kept = logs.read(&name("f"), &LogQuery::default()).expect("read");
    let texts: Vec<_> = kept.iter().map(|line| line.text.as_str()).collect();
    let told =
        "30 log records (210 B) were dropped: the function logs more than 1000 bytes a second";
    assert_eq!(texts[10..], [told, "REPORT"]);
}

/// A batch of empty lines is written in pieces: encoded, each has more than a hundred bytes.
#[test]
fn a_flood_of_empty_lines_takes_no_memory_to_speak_of() {
    let directory = TempDir::new().expect("directory");
    let limits = LogLimits {
        function_bytes_per_s_max: 1 << 30,
        ..LogLimits::default()
    };
    let logs = Logs::open(directory.path(), limits).expect("open");
    let (folder, line_bytes) = (
        directory.path().join("f"),
        serde_json::to_vec(&line(10_000, "")).expect("JSON").len() as u64,
    );
    let empty = (0..50_000).map(|ts_ms| {
        if ts_ms % 1000 == 999 {
            let files = fs::read_dir(&folder).into_iter().flatten().flatten();
            let written: u64 = files
                .map(|file| file.metadata().map_or(0, |data| data.len()))
                .sum();
            let buffered = (ts_ms * line_bytes).saturating_sub(written);
            assert!(
                buffered <= BUFFER_BYTES_MAX as u64 + line_bytes,
                "{buffered}"
            );
        }
        (name("f"), line(ts_ms, ""), Keep::IfRoom)
    });
    assert_eq!(logs.write_all(empty, Instant::now()), Dropped::default());
    assert_eq!(all(&logs, "f").len(), READ_LINES_MAX);
}

#[test]
fn a_disk_that_takes_nothing_costs_only_the_lines() {
    let directory = TempDir::new().expect("directory");
    let logs = Logs::open(directory.path(), LIMITS).expect("open");
    // A file stands where the directory should.
    fs::write(directory.path().join("f"), "").expect("write");
    let dropped = logs.write(lines("f", 0..3), Instant::now());
    assert_eq!(dropped.disk_lines, 3);
    fs::remove_file(directory.path().join("f")).expect("remove");
    assert_eq!(
        logs.write(lines("f", 3..5), Instant::now()),
        Dropped::default()
    );
    assert_eq!(all(&logs, "f"), [3, 4]);
}

#[test]
fn followers_get_every_line_once() {
    let directory = TempDir::new().expect("directory");
    let logs = Logs::open(directory.path(), LIMITS).expect("open");
    logs.write(lines("f", 0..5), Instant::now());
    let mut follower = logs.follow(&name("f")).expect("follow");
    logs.write(lines("f", 5..7), Instant::now());
    logs.write(lines("g", 0..9), Instant::now());
    let query = LogQuery {
        limit: 3,
        ..LogQuery::default()
    };
    let (old, mut late) = logs.read_and_follow(&name("f"), &query).expect("follow");
    assert_eq!(
        old.iter().map(|line| line.ts_ms).collect::<Vec<_>>(),
        [4, 5, 6]
    );
    logs.write(lines("f", 7..8), Instant::now());
    for ts_ms in 5..8 {
        assert_eq!(follower.try_recv().expect("line").ts_ms, ts_ms);
    }
    assert_eq!(late.try_recv().expect("line").ts_ms, 7);
    assert_eq!(late.try_recv(), Err(TryRecvError::Empty));
    // One that is too slow is told how much it missed.
    logs.write(
        lines("f", 8..8 + FOLLOWER_LINES_MAX as u64 + 2),
        Instant::now(),
    );
    assert_eq!(late.blocking_recv(), Err(RecvError::Lagged(2)));
    // The end of a function is the end of its followers.
    logs.remove(&name("f")).expect("remove");
    let drained = std::iter::from_fn(|| late.blocking_recv().ok()).count();
    assert_eq!(drained, FOLLOWER_LINES_MAX);
}

#[test]
fn followed_functions_are_bounded() {
    let directory = TempDir::new().expect("directory");
    let logs = Logs::open(directory.path(), LIMITS).expect("open");
    let follow = |index: usize| logs.follow(&name(&format!("f{index}")));
    let mut all: Vec<_> = (0..FOLLOWED_FUNCTIONS_MAX)
        .map(|index| follow(index).expect("follow"))
        .collect();
    follow(0).expect("a second follower of the same function");
    let error = follow(FOLLOWED_FUNCTIONS_MAX).expect_err("too many");
    assert!(matches!(error, LogsError::TooManyFollowed));
    all.pop();
    follow(FOLLOWED_FUNCTIONS_MAX).expect("one has gone");
}

#[test]
fn more_functions_than_open_files() {
    let directory = TempDir::new().expect("directory");
    let logs = Logs::open(directory.path(), LogLimits::default()).expect("open");
    let functions = 0..OPEN_FILES_MAX * 2;
    for _ in 0..3 {
        for function in functions.clone() {
            logs.write(lines(&format!("f{function}"), 0..1), Instant::now());
            let state = logs.state.lock();
            let open = state
                .functions
                .values()
                .filter(|log| log.journal.is_file_open());
            assert!(open.count() <= OPEN_FILES_MAX);
        }
    }
    assert_eq!(all(&logs, "f17"), [0, 0, 0]);
}

/// Text that JSON spells out is counted as it is sent.
#[test]
fn what_is_read_at_once_is_bounded_as_it_is_sent() {
    let directory = TempDir::new().expect("directory");
    let limits = LogLimits {
        function_bytes_per_s_max: 1 << 30,
        ..LogLimits::default()
    };
    let logs = Logs::open(directory.path(), limits).expect("open");
    let text = "\u{1}".repeat(TEXT_BYTES_MAX);
    let evil = (0..600).map(|ts_ms| (name("f"), line(ts_ms, &text)));
    assert_eq!(logs.write(evil, Instant::now()), Dropped::default());
    let read = logs.read(&name("f"), &LogQuery::default()).expect("read");
    let sent: usize = read
        .iter()
        .map(|line| serde_json::to_vec(line).expect("JSON").len())
        .sum();
    let most = READ_BYTES_MAX + 6 * TEXT_BYTES_MAX + 1024;
    assert!((READ_BYTES_MAX..most).contains(&sent), "{sent}");
    assert_eq!(read.last().expect("lines").ts_ms, 599);
}
