//! `jiffy logs`: lines of a function's log, those that are there and those that come.

use std::{
    io::{self, BufRead, Read, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;
use jiffy_console::{is_output_lost, stderr, stdout};
use jiffy_model::FunctionName;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Agent, ClientError, Since,
    agent::Wait,
    view::{Line, Moment},
};
use crate::output::{Format, Untrusted};

/// Lines of a log that may be asked for: the agent's most.
const LOG_LINES_MAX: u64 = 10_000;
/// Bytes of a line of a log at most; what a function may log in one piece is far less.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Stands in a column of its own before what the platform says, and a space before what the function does: whatever a function
/// logs, it does not get there.
const OF_PLATFORM: char = '=';
/// Characters of a request's id that are shown: enough to tell neighbours apart.
const ID_CHARS_SHOWN: usize = 8;

/// Which lines are wanted.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogOptions {
    /// The function.
    pub(crate) name: FunctionName,
    /// Go on with the lines that come.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only lines from then on, such as 5m or 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Since>,
    /// Only lines before then.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Since>,
    /// Only lines of this request.
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,
    /// The newest so many.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=LOG_LINES_MAX))]
    pub(crate) limit: Option<u64>,
}

impl LogOptions {
    fn path(&self) -> String {
        let mut path = format!("/v1/functions/{}/logs?follow={}", self.name, self.follow);
        if let Some(Since(ms)) = self.since {
            path += &format!("&since={ms}");
        }
        if let Some(Since(ms)) = self.until {
            path += &format!("&until={ms}");
        }
        if let Some(limit) = self.limit {
            path += &format!("&limit={limit}");
        }
        if let Some(id) = &self.request_id {
            path += "&request_id=";
            path.extend(utf8_percent_encode(id, NON_ALPHANUMERIC));
        }
        path
    }
}

/// A line of a log, or the news that some were missed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LogLine {
    ts_ms: u64,
    request_id: String,
    level: String,
    source: String,
    text: String,
    missed: u64,
}

/// Prints the lines that are there.
pub(crate) fn logs(agent: &Agent, options: &LogOptions, format: Format) -> Result<(), ClientError> {
    follow(agent, options, format, &mut stdout())
}

/// Prints lines on `out` until there are no more: with `follow`, until the function is deleted or the agent
/// ends.
pub(crate) fn follow(
    agent: &Agent,
    options: &LogOptions,
    format: Format,
    out: &mut impl Write,
) -> Result<(), ClientError> {
    let wait = match options.follow {
        true => Wait::Stream,
        false => Wait::Answer,
    };
    let mut reader = agent.stream(options.path(), wait)?;
    let mut line = vec![];
    loop {
        line.clear();
        let limited = (&mut reader).take(LINE_BYTES_MAX as u64);
        let read = { limited }.read_until(b'\n', &mut line);
        if read.map_err(|error| agent.failed(error.into()))? == 0 {
            return Ok(());
        }
        print_line(out, &line, format)?;
        if is_output_lost() {
            return Ok(());
        }
    }
}

fn print_line(out: &mut impl Write, line: &[u8], format: Format) -> io::Result<()> {
    match format {
        Format::Json => match serde_json::from_slice::<Value>(line) {
            Ok(line) => writeln!(out, "{line}"),
            Err(_) => not_a_line(),
        },
        Format::Text => match serde_json::from_slice::<LogLine>(line) {
            Ok(LogLine { missed, .. }) if missed > 0 => writeln!(
                out,
                "({missed} lines came too fast to be shown: `jiffy logs` without -f has them)"
            ),
            Ok(line) => {
                let id: String = line.request_id.chars().take(ID_CHARS_SHOWN).collect();
                let (id, level) = (Line(&id), Line(&line.level));
                let text = Untrusted(&line.text);
                let moment = Moment(line.ts_ms);
                let mark = match &*line.source {
                    "platform" => OF_PLATFORM,
                    _ => ' ',
                };
                writeln!(
                    out,
                    "{moment} {id:<ID_CHARS_SHOWN$} {level:<5} {mark} {text}"
                )
            }
            Err(_) => not_a_line(),
        },
    }
}

fn not_a_line() -> io::Result<()> {
    writeln!(stderr(), "warning: a line of the log cannot be read")
}

/// Now, milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_record_on_the_terminal() {
        let check = |line: &str, expected: &str| {
            let mut out = vec![];
            print_line(&mut out, line.as_bytes(), Format::Text).expect("printed");
            assert_eq!(String::from_utf8(out).expect("text"), expected);
        };
        check(
            r#"{"ts_ms":1,"request_id":"0123456789","version":1,"level":"info","text":"a\nb\u001b[2J"}"#,
            "1970-01-01T00:00:00.001Z 01234567 info    a\n    b\\u{1b}[2J\n",
        );
        check(
            r#"{"ts_ms":2,"version":1,"level":"warn","text":"init"}"#,
            "1970-01-01T00:00:00.002Z          warn    init\n",
        );
        // Whose words it is stands where no text gets to.
        check(
            r#"{"ts_ms":2,"request_id":"0123456789","version":1,"level":"info","source":"platform","text":"REPORT"}"#,
            "1970-01-01T00:00:00.002Z 01234567 info  = REPORT\n",
        );
        for forged in ["REPORT", "= REPORT", "\\b\\b= REPORT"] {
            let line = format!(
                r#"{{"ts_ms":2,"request_id":"0123456789","version":1,"level":"info","source":"function","text":"{forged}"}}"#
            );
            let mut out = vec![];
            print_line(&mut out, line.as_bytes(), Format::Text).expect("printed");
            let begin = "1970-01-01T00:00:00.002Z 01234567 info    ";
            assert!(out.starts_with(begin.as_bytes()), "{forged}");
        }
        check(
            r#"{"missed":7}"#,
            "(7 lines came too fast to be shown: `jiffy logs` without -f has them)\n",
        );
        check("{", "");
    }

    #[test]
    fn what_is_wanted_is_in_the_query() {
        let options = LogOptions {
            name: "hello".parse().expect("a name"),
            since: Some(Since(5)),
            until: None,
            request_id: Some("a&b".into()),
            limit: Some(10),
            follow: true,
        };
        let expected = "/v1/functions/hello/logs?follow=true&since=5&limit=10&request_id=a%26b";
        assert_eq!(options.path(), expected);
    }
}
