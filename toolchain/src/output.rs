//! How facts are printed: units, tables, JSON, and progress on a terminal.

use std::{
    fmt::{self, Display, Write as _},
    io::{self, Write as _},
    sync::mpsc::{Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub(crate) use jiffy_console::quantity::Bytes;
use jiffy_console::{stderr, stdout};
use jiffy_control::LogRecord;
pub(crate) use jiffy_control::{Line, Untrusted, error_chain as chain};

/// How facts are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

impl Format {
    pub(crate) fn json_if(is_json: bool) -> Self {
        match is_json {
            true => Self::Json,
            false => Self::Text,
        }
    }
}

/// Prints `value` as one indented JSON object on standard output.
pub(crate) fn print_json(value: &impl serde::Serialize) -> io::Result<()> {
    let mut out = stdout();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)
}

/// A duration for people, three digits of it: `1.23 ms`.
pub(crate) struct Nanoseconds(pub(crate) u64);

impl Display for Nanoseconds {
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            ns @ 0..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
            ns @ 1_000_000..1_000_000_000 => format!("{:.2} ms", ns as f64 / 1e6),
            ns => format!("{:.2} s", ns as f64 / 1e9),
        };
        f.pad(&text)
    }
}

/// Nanoseconds of a duration; one of 584 years or more is cut.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Text in columns, each as wide as its widest cell; numbers are right-aligned.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose first row is `titles`.
    pub(crate) fn new(titles: &[&str]) -> Self {
        Self {
            rows: vec![titles.iter().map(ToString::to_string).collect()],
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: &[&dyn Display]) {
        self.rows
            .push(cells.iter().map(ToString::to_string).collect());
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let width = |column| {
            cells(column)
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        // A column of numbers is one in which no cell but the title begins with another character.
        let is_number = |cell: &String| cell.starts_with(|first: char| first.is_ascii_digit());
        let layout: Vec<_> = (0..columns)
            .map(|column| (width(column), cells(column).skip(1).all(is_number)))
            .collect();
        for row in &self.rows {
            let mut line = String::from(" ");
            for (cell, (width, right)) in row.iter().zip(&layout) {
                match right {
                    true => write!(line, " {cell:>width$}")?,
                    false => write!(line, " {cell:<width$}")?,
                }
                line.push(' ');
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Prints a guest's log record on standard error.
pub(crate) fn print_log(record: LogRecord) {
    let (level, text) = (record.level_name(), Untrusted(&record.text));
    let _ = writeln!(stderr(), "[{level}] {text}");
}

/// When progress begins to show.
const QUIET: Duration = Duration::from_secs(1);

/// Shows on a terminal what is being waited for, once that takes longer than a second. Dropping it
/// takes the line away.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Shows nothing if standard error is no terminal.
    pub(crate) fn new(what: String) -> Self {
        if !stderr().is_terminal() {
            return Self { shown: None };
        }
        let (done, is_done) = channel::<()>();
        let start = Instant::now();
        let thread = thread::spawn(move || {
            let mut shown = false;
            // A disconnected channel is the sign to end; a timeout the sign to show.
            while is_done.recv_timeout(QUIET) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let _ = write!(stderr(), "\r{what} … {} s", start.elapsed().as_secs());
                shown = true;
            }
            if shown {
                let _ = write!(stderr(), "\r\x1b[K");
            }
        });
        Self {
            shown: Some((done, thread)),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((done, thread)) = self.shown.take() {
            drop(done);
            let _ = thread.join(); // It only prints.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_readable() {
        let check = |ns, text: &str| assert_eq!(Nanoseconds(ns).to_string(), text);
        check(1500, "1.5 µs");
        check(1_234_567, "1.23 ms");
        check(2_500_000_000, "2.50 s");
    }

    #[test]
    fn numbers_stand_right_and_texts_left() {
        let mut table = Table::new(&["what", "bytes"]);
        table.row(&[&"text", &Bytes(7)]);
        table.row(&[&"rodata", &Bytes(1000)]);
        assert_eq!(
            table.to_string(),
            "  what     bytes\n  text       7 B\n  rodata  1000 B\n"
        );
    }
}
