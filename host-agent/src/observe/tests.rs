use jiffy_control::LogSource;
use tempfile::TempDir;

use super::*;
use crate::{
    logs::LogQuery,
    metrics::{Exposition, Gauges},
    usage::testing::record,
};

fn open(directory: &TempDir) -> Observer {
    let limits = (LogLimits::default(), UsageLimits::default());
    Observer::open(directory.path(), limits.0, limits.1).expect("open")
}

fn name(text: &str) -> FunctionId {
    text.parse().expect("name")
}

fn log(level: u8, text: &str) -> LogRecord {
    LogRecord {
        level,
        ..LogRecord::new(Level::Info, text)
    }
}

fn texts(observer: &Observer, function: &str) -> Vec<(Level, String)> {
    let lines = observer.logs().read(&name(function), &LogQuery::default());
    let lines = lines.expect("read").into_iter();
    lines.map(|line| (line.level, line.text)).collect()
}

/// What a function logs looks in no way like what the platform says, whatever it is: its source is another.
#[test]
fn a_function_forges_no_line_of_the_platforms() {
    let directory = TempDir::new().expect("directory");
    let observer = open(&directory);
    let record = record("f", 1000);
    let call = "CALL kv.get cart\tDuration: 0.100 ms\tOutcome: ok";
    let forged = [record.report_line(), call.to_owned()];
    let mut logs: Vec<_> = forged.iter().map(|text| log(3, text)).collect();
    logs.push(LogRecord::of_platform(Level::Debug, call));
    observer.invoked(record.clone(), logs);
    observer.flush();
    let lines = observer.logs().read(&name("f"), &LogQuery::default());
    let lines = lines.expect("read");
    let found: Vec<_> = lines
        .iter()
        .map(|line| (&*line.text, line.source))
        .collect();
    let (report, [function, platform]) = (
        record.report_line(),
        [LogSource::Function, LogSource::Platform],
    );
    assert_eq!(
        found,
        [
            (&*report, function),
            (call, function),
            (call, platform),
            (&*report, platform),
        ]
    );
    let json = serde_json::to_value(&lines[3]).expect("JSON");
    assert_eq!(json["source"], "platform");
    // A line of a release that did not say it proves nothing.
    let mut old = json.as_object().expect("an object").clone();
    old.remove("source");
    let old: crate::logs::LogLine = serde_json::from_value(old.into()).expect("a line");
    assert_eq!(old.source, LogSource::Function);
}

#[test]
fn a_request_is_logged_summed_and_counted() {
    let directory = TempDir::new().expect("directory");
    let observer = open(&directory);
    let version = VersionNumber::FIRST;
    observer.logged(name("hello"), version, vec![log(4, "init")]);
    let record = record("hello", 1000);
    observer.invoked(record.clone(), vec![log(2, "odd"), log(9, "?")]);
    observer.flush();
    let expected = [
        (Level::Debug, "init".to_owned()),
        (Level::Warn, "odd".to_owned()),
        (Level::Info, "?".to_owned()),
        (Level::Info, record.report_line()),
    ];
    assert_eq!(texts(&observer, "hello"), expected);
    let query = LogQuery {
        request_id: Some(record.request_id),
        ..LogQuery::default()
    };
    let lines = observer.logs().read(&name("hello"), &query).expect("read");
    assert_eq!(lines.len(), 3);
    assert_eq!(observer.usage().summary(None, 0)[0].sums.requests, 1);
    let metrics = observer
        .metrics()
        .encode(&Gauges::default(), Exposition::OpenMetrics);
    assert!(metrics.contains("jiffy_requests_total{function=\"hello\",outcome=\"ok\"} 1\n"));
    // All but metrics is there after a restart.
    drop(observer);
    let observer = open(&directory);
    assert_eq!(texts(&observer, "hello"), expected);
    assert_eq!(observer.usage().summary(None, 0)[0].sums.requests, 1);
    // A deletion takes the logs and leaves the usage.
    observer.forget(name("hello"));
    observer.flush();
    assert_eq!(texts(&observer, "hello"), []);
    assert_eq!(observer.usage().summary(None, 0).len(), 1);
}

#[test]
fn dropping_writes_what_is_queued() {
    let directory = TempDir::new().expect("directory");
    let observer = open(&directory);
    for ts_ms in 0..3000 {
        observer.invoked(record("hello", ts_ms), vec![]);
    }
    drop(observer);
    let observer = open(&directory);
    assert_eq!(observer.usage().summary(None, 0)[0].sums.requests, 3000);
    assert_eq!(texts(&observer, "hello").len(), 3000);
}

/// Has the observer put its messages where the test looks, and its own thread be done.
fn replace_queue(observer: &mut Observer, sender: SyncSender<Message>) {
    observer.sender = Some(sender);
    let thread = observer.thread.take().expect("a thread");
    thread.join().expect("no panic");
}

/// With a thread that never takes anything, the queue fills, and nobody waits.
#[test]
fn what_does_not_fit_the_queue_is_dropped_and_counted() {
    let directory = TempDir::new().expect("directory");
    let mut observer = open(&directory);
    let (sender, receiver) = mpsc::sync_channel(2);
    replace_queue(&mut observer, sender);
    let long = "x".repeat(QUEUE_LOG_BYTES_MAX / 2 - 64);
    observer.invoked(record("f", 0), vec![log(3, &long)]);
    // Its text would be too much, the record itself fits.
    observer.invoked(record("f", 1), vec![log(3, &long), log(3, "y")]);
    // Neither fits: the text's charge is given back, and the record kept aside.
    observer.invoked(record("f", 2), vec![log(3, "z")]);
    observer.logged(name("f"), VersionNumber::FIRST, vec![log(3, "z")]);
    let queued = observer.shared.queued_log_bytes.load(Ordering::Relaxed);
    let notice = "2 log records (16.8 MB) were dropped: 32 MiB of log wait to be written already";
    assert_eq!(queued, QUEUE_LOG_BYTES_MAX / 2 + 64 + notice.len());
    let second = receiver.try_iter().nth(1).expect("two");
    assert_eq!(second.logs().expect("a notice")[0].text, notice);
    let metrics = observer
        .metrics()
        .encode(&Gauges::default(), Exposition::OpenMetrics);
    for line in [
        "jiffy_log_lines_dropped_total{reason=\"queue\"} 4\n",
        "jiffy_usage_records_dropped_total{reason=\"queue\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert!(observer.shared.take_aside(&mut Batch::default()));
    assert!(!observer.shared.take_aside(&mut Batch::default()));
    assert_eq!(observer.usage().summary(None, 0)[0].sums.requests, 1);
    let texts = texts(&observer, "f");
    let told = &texts[0].1;
    assert!(
        told.starts_with("1 log record ") && told.ends_with("too much waits to be written already"),
        "{told}"
    );
    assert!(texts[1].1.starts_with("REPORT "), "{texts:?}");
}

/// A disk that stalls: records are kept up to a bound, and then counted.
#[test]
fn every_request_of_a_full_queue_has_its_record_up_to_a_bound() {
    let directory = TempDir::new().expect("directory");
    let mut observer = open(&directory);
    let (sender, receiver) = mpsc::sync_channel(1);
    replace_queue(&mut observer, sender);
    let count = u64::try_from(ASIDE_MAX).expect("small") + 3;
    for ts_ms in 0..count {
        observer.invoked(record("f", ts_ms), vec![]);
    }
    let metrics = observer
        .metrics()
        .encode(&Gauges::default(), Exposition::OpenMetrics);
    let dropped = "jiffy_usage_records_dropped_total{reason=\"queue\"} 2\n";
    assert!(metrics.contains(dropped), "{metrics}");
    observer
        .shared
        .take(receiver.try_iter(), &mut Batch::default());
    observer.shared.take_aside(&mut Batch::default());
    assert_eq!(
        observer.usage().summary(None, 0)[0].sums.requests,
        count - 2
    );
}

/// What a request pays, and what the thread pays for it. For people: nothing is asserted.
#[test]
#[ignore = "a measurement: run it alone, in release"]
fn cost_of_a_request() {
    const REQUESTS: u32 = 200_000;
    let directory = TempDir::new().expect("directory");
    let observer = open(&directory);
    let mut sent = Duration::ZERO;
    let start = Instant::now();
    for index in 0..REQUESTS {
        let record = record("hello", u64::from(index));
        let before = Instant::now();
        observer.invoked(record, vec![]);
        sent += before.elapsed();
        if index % 4000 == 0 {
            observer.flush();
        }
    }
    observer.flush();
    let written = observer.usage().summary(None, 0)[0].sums.requests;
    println!(
        "send {:?}, all with writing {:?}, {written} of {REQUESTS}",
        sent / REQUESTS,
        start.elapsed()
    );
    let shared = &observer.shared;
    let messages = (0..REQUESTS)
        .map(|index| Message::Invoked(Box::new(record("hello", u64::from(index))), vec![]));
    let messages: Vec<_> = messages.collect();
    let start = Instant::now();
    shared.take(messages.into_iter(), &mut Batch::default());
    println!(
        "thread {:?} each",
        (start.elapsed() - BATCH_INTERVAL) / REQUESTS
    );
}
