//! `jiffy top` and `jiffy usage`.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::{self, Write as _},
    io::Write,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use jiffy_console::{is_output_lost, quantity::parse_time, stdout};
use jiffy_model::FunctionName;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Agent, ClientError, Since,
    metrics::gauge,
    view::{Instance, Line, Usage, view},
};
use crate::output::{Bytes, Format, Nanoseconds, Table, print_json};

/// Rows of `top` where no terminal says how many it has.
const ROWS_DEFAULT: usize = 40;
/// Lines of `top` that are none of its table's rows.
const LINES_AROUND: usize = 4;
/// Puts the cursor at the top and clears all below it.
const CLEAR: &str = "\x1b[H\x1b[J";

/// How `top` shows what it shows.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct TopOptions {
    /// Time between two looks.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_interval)]
    pub(crate) interval: Duration,
    /// Look once.
    #[arg(long)]
    pub(crate) once: bool,
}

/// A time that neither keeps the agent busy nor lets the reader wait for ever.
fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_time(text).map_err(|rule| rule.to_string())?;
    match (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&interval) {
        true => Ok(interval),
        false => Err("must be 100ms to 1h".into()),
    }
}

/// What is true of the agent at one moment.
struct Moment {
    taken: Instant,
    document: Value,
    gauges: Gauges,
    instances: Vec<Instance>,
    usage: Vec<Usage>,
}

/// Numbers of a scrape; `None` if the agent has no such metric.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Gauges {
    shells_ready: Option<u64>,
    requests_waiting: Option<u64>,
    memory_charged_bytes: Option<u64>,
    memory_budget_bytes: Option<u64>,
}

impl Moment {
    fn take(agent: &Agent) -> Result<Self, ClientError> {
        let health: Value = agent.get("/v1/health")?;
        let scrape = agent.text("/metrics")?;
        let instances: Value = agent.get("/v1/instances")?;
        let usage: Value = agent.get("/v1/usage")?;
        let gauges = Gauges {
            shells_ready: gauge(&scrape, "jiffy_shells_ready"),
            requests_waiting: gauge(&scrape, "jiffy_requests_waiting"),
            memory_charged_bytes: gauge(&scrape, "jiffy_memory_charged_bytes"),
            memory_budget_bytes: gauge(&scrape, "jiffy_memory_budget_bytes"),
        };
        Ok(Self {
            taken: Instant::now(),
            instances: view(&instances["instances"])?,
            usage: view(&usage["usage"])?,
            gauges,
            document: json!({
                "health": health,
                "gauges": gauges,
                "instances": instances["instances"],
                "usage": usage["usage"],
            }),
        })
    }

    /// What happened from `before` to now, as a page for people.
    fn page(&self, before: Option<&Self>, rows_max: usize) -> String {
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        for instance in &self.instances {
            let row = rows.entry(&instance.function).or_default();
            row.vms += 1;
            row.busy += u64::from(instance.state == "busy");
            row.memory_bytes = row
                .memory_bytes
                .saturating_add(instance.memory_charged_bytes);
        }
        let earlier: HashMap<&str, &Usage> = before
            .iter()
            .flat_map(|before| &before.usage)
            .map(|usage| (&*usage.function, usage))
            .collect();
        let elapsed = before.map(|before| self.taken.duration_since(before.taken));
        for usage in &self.usage {
            let row = rows.entry(&usage.function).or_default();
            let earlier = earlier.get(&*usage.function);
            // Sums of long ago are dropped one day, so that a sum may shrink.
            let since = |now: u64, then: fn(&Usage) -> u64| {
                now.saturating_sub(earlier.map_or(0, |usage| then(usage)))
            };
            row.requests = usage.requests;
            row.failed = usage.failed();
            row.new_requests = since(usage.requests, |usage| usage.requests);
            row.new_wall_us = since(usage.wall_us, |usage| usage.wall_us);
        }
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by_key(|(_, row)| std::cmp::Reverse((row.new_requests, row.vms)));
        let mut table = Table::new(&[
            "function",
            "VMs",
            "busy",
            "memory",
            "requests",
            "failed",
            "req/s",
            "mean time",
        ]);
        for (name, row) in rows.iter().take(rows_max) {
            table.row(&[
                &Line(name),
                &row.vms,
                &row.busy,
                &Bytes(row.memory_bytes),
                &row.requests,
                &row.failed,
                &Rate(row.new_requests, elapsed),
                &Nanoseconds(mean_ns(row.new_wall_us, row.new_requests)),
            ]);
        }
        let mut page = self.heading();
        let _ = write!(page, "{table}"); // Writing to a string cannot fail.
        if rows.len() > rows_max {
            let _ = writeln!(page, "  … {} more", rows.len() - rows_max);
        }
        page
    }

    fn heading(&self) -> String {
        let health = &self.document["health"];
        let count = |value: Option<u64>| value.map_or("?".into(), |value| value.to_string());
        let bytes = |value: Option<u64>| value.map_or("?".into(), |value| Bytes(value).to_string());
        let gauges = &self.gauges;
        let state = match health["stopping"] == true {
            true => ", stopping",
            false => "",
        };
        format!(
            "jiffyd {}{state}: {} functions, {} VMs and {} shells, {} requests wait, memory {} of {}\n\n",
            Line(health["version"].as_str().unwrap_or("?")),
            count(health["functions"].as_u64()),
            self.instances.len(),
            count(gauges.shells_ready),
            count(gauges.requests_waiting),
            bytes(gauges.memory_charged_bytes),
            bytes(gauges.memory_budget_bytes),
        )
    }
}

/// A function in `top`.
#[derive(Default)]
struct Row {
    vms: u64,
    busy: u64,
    memory_bytes: u64,
    requests: u64,
    failed: u64,
    /// Since the moment before this one.
    new_requests: u64,
    new_wall_us: u64,
}

/// So many in this time, per second.
struct Rate(u64, Option<Duration>);

impl fmt::Display for Rate {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1.filter(|elapsed| !elapsed.is_zero()) {
            Some(elapsed) => write!(f, "{:.1}", self.0 as f64 / elapsed.as_secs_f64()),
            None => f.write_str("-"),
        }
    }
}

fn mean_ns(sum_us: u64, count: u64) -> u64 {
    sum_us.saturating_mul(1000).checked_div(count).unwrap_or(0)
}

/// Shows what runs, again and again on a terminal, once elsewhere.
pub(crate) fn top(agent: &Agent, options: TopOptions, format: Format) -> Result<(), ClientError> {
    let mut now = Moment::take(agent)?;
    if format == Format::Json {
        return Ok(print_json(&now.document)?);
    }
    let mut out = stdout();
    if options.once || !out.is_terminal() {
        return Ok(write!(out, "{}", now.page(None, ROWS_DEFAULT))?);
    }
    write!(out, "{CLEAR}{}", now.page(None, rows_of_terminal()))?;
    loop {
        out.flush()?;
        if is_output_lost() {
            return Ok(());
        }
        thread::sleep(options.interval);
        let before = std::mem::replace(&mut now, Moment::take(agent)?);
        write!(
            out,
            "{CLEAR}{}",
            now.page(Some(&before), rows_of_terminal())
        )?;
    }
}

fn rows_of_terminal() -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
    let lines = size.map_or(0, |size| usize::from(size.ws_row));
    match lines {
        0 => ROWS_DEFAULT,
        lines => lines.saturating_sub(LINES_AROUND + 1).max(1),
    }
}

/// Prints what functions used.
pub(crate) fn usage(
    agent: &Agent,
    name: Option<&FunctionName>,
    since: Option<Since>,
    format: Format,
) -> Result<(), ClientError> {
    let Since(since_ms) = since.unwrap_or(Since(0));
    let mut path = format!("/v1/usage?since={since_ms}");
    if let Some(name) = name {
        path += &format!("&function={name}");
    }
    let document: Value = agent.get(path)?;
    if format == Format::Json {
        return Ok(print_json(&document)?);
    }
    let usage: Vec<Usage> = view(&document["usage"])?;
    let mut table = Table::new(&[
        "function",
        "requests",
        "failed",
        "cold",
        "fresh",
        "warm",
        "mean time",
        "mean run",
        "CPU",
        "in",
        "out",
        "GiB s",
    ]);
    for usage in &usage {
        table.row(&[
            &Line(&usage.function),
            &usage.requests,
            &usage.failed(),
            &usage.started("cold"),
            &usage.started("fresh"),
            &usage.started("warm"),
            &Nanoseconds(mean_ns(usage.wall_us, usage.requests)),
            &Nanoseconds(mean_ns(usage.run_us, usage.requests)),
            &Nanoseconds(usage.cpu_us.saturating_mul(1000)),
            &Bytes(usage.bytes_in),
            &Bytes(usage.bytes_out),
            &GibSeconds(usage.memory_mib_us),
        ]);
    }
    Ok(write!(stdout(), "{table}")?)
}

/// MiB times microseconds, as GiB times seconds.
struct GibSeconds(u64);

impl fmt::Display for GibSeconds {
    #[expect(clippy::cast_precision_loss, reason = "three decimals are shown")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0 as f64 / 1024.0 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(taken: Instant, requests: u64) -> Moment {
        let usage = json!([{ "function": "hello", "requests": requests, "wall_us": requests * 500, "outcomes": { "ok": requests - 1 } }]);
        let instances = json!([
            { "function": "hello", "state": "busy", "memory_charged_bytes": 1024 },
            { "function": "hello", "state": "idle", "memory_charged_bytes": 1024 },
            { "function": "other", "state": "idle", "memory_charged_bytes": 7 },
        ]);
        Moment {
            taken,
            gauges: Gauges::default(),
            instances: view(&instances).expect("instances"),
            usage: view(&usage).expect("usage"),
            document: json!({ "health": { "functions": 2, "version": "0.1.0" } }),
        }
    }

    #[test]
    fn top_shows_what_is_and_what_happens() {
        let start = Instant::now();
        let before = moment(start, 10);
        let now = moment(start + Duration::from_secs(2), 30);
        let words = |page: &str| {
            let line = page.lines().find(|line| line.contains("hello"));
            let words = line.expect("a row").split_whitespace();
            words.map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        let once = now.page(None, 40);
        assert_eq!(words(&once), "hello 2 1 2.0 KiB 30 1 - 500.0 µs");
        assert!(once.starts_with("jiffyd 0.1.0: 2 functions, 3 VMs and ? shells"));
        let page = now.page(Some(&before), 40);
        assert_eq!(words(&page), "hello 2 1 2.0 KiB 30 1 10.0 500.0 µs");
        let short = now.page(Some(&before), 1);
        assert!(short.ends_with("  … 1 more\n") && !short.contains("other"));
    }
}
