//! `jiffy invoke`: an event, or an HTTP request -> response, outcome, exit code.

use std::{
    collections::BTreeMap,
    fmt,
    io::Write,
    time::{Duration, Instant},
};

use clap::Args;
use jiffy_abi::frame::{BODY_BYTES_MAX, ResponseKind};
use jiffy_console::{Exit, stderr};
use jiffy_symbols::Frame;
use serde::Serialize;
use ureq::http::{HeaderMap, Method, response::Parts};

use super::{
    Agent, ClientError, FunctionRef, Problem,
    agent::{Call, Wait},
    view::Line,
};
use crate::{
    output::{Format, Nanoseconds, Progress, Table, nanoseconds, print_json},
    run::{REQUESTS_MAX, RequestOptions, ResponseView, RoundTrips, print_response},
};

/// A phase that only this side can see.
const ROUND_TRIP: &str = "round trip from here";

/// What is to be sent.
#[derive(Args, Clone, Debug)]
pub(crate) struct InvokeOptions {
    /// The function; behind a colon a version or an alias. Default: its live version.
    #[arg(value_name = "NAME[:QUALIFIER]")]
    pub(crate) function: FunctionRef,
    #[command(flatten)]
    pub(crate) request: RequestOptions,
    /// Send it this often, one after the other; only the last response is printed.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(REQUESTS_MAX)))]
    pub(crate) requests: u32,
    /// Print where time went, how the VM started, and ids, on standard error; JSON has them in any case.
    #[arg(long)]
    pub(crate) stats: bool,
}

/// What the agent says of a request beside its response.
#[derive(Debug, PartialEq, Serialize)]
struct Facts {
    request_id: String,
    version: String,
    /// `cold`, `fresh` or `warm`; empty if it got no VM.
    start: String,
    /// As in `Server-Timing`.
    timings_ms: BTreeMap<String, f64>,
    /// From here to the agent and back.
    round_trip_ns: u64,
    /// Of more than one request: how their VMs were started, and where their time went.
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<AllView>,
}

/// What is kept of all requests of one command.
#[derive(Debug, Default)]
struct All {
    starts: BTreeMap<String, u32>,
    times_ns: BTreeMap<String, Vec<u64>>,
}

#[derive(Debug, PartialEq, Serialize)]
struct AllView {
    starts: BTreeMap<String, u32>,
    times: BTreeMap<String, RoundTrips>,
}

impl All {
    fn add(&mut self, facts: &Facts) {
        *self.starts.entry(facts.start.clone()).or_default() += 1;
        let mut add = |name: &str, ns| self.times_ns.entry(name.into()).or_default().push(ns);
        for (name, ms) in &facts.timings_ms {
            let time = Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default();
            add(name, nanoseconds(time));
        }
        add(ROUND_TRIP, facts.round_trip_ns);
    }

    fn view(mut self) -> AllView {
        let times = self.times_ns.iter_mut();
        let times = times.filter_map(|(name, times_ns)| {
            RoundTrips::of(times_ns).map(|times| (name.clone(), times))
        });
        AllView {
            times: times.collect(),
            starts: self.starts,
        }
    }
}

impl fmt::Display for AllView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut starts = Table::new(&["start", "requests"]);
        for (start, requests) in &self.starts {
            starts.row(&[&Line(start), requests]);
        }
        let mut times = Table::new(&["phase", "p50", "p90", "p99", "max"]);
        for (name, all) in &self.times {
            let [p50, p90, p99, max] = all.figures_ns().map(Nanoseconds);
            times.row(&[&Line(name), &p50, &p90, &p99, &max]);
        }
        write!(f, "{starts}{times}")
    }
}

impl Facts {
    fn new(headers: &HeaderMap, round_trip_ns: u64) -> Self {
        let text = |name| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        // `queue;dur=0.004, restore;dur=0.310, run;dur=0.211`
        let timing = |entry: &str| {
            let (name, rest) = entry.trim().split_once(";dur=")?;
            let ms: f64 = rest.split(';').next()?.parse().ok()?;
            ms.is_finite().then(|| (name.to_owned(), ms))
        };
        Self {
            request_id: text("jiffy-request-id"),
            version: text("jiffy-version"),
            start: text("jiffy-start"),
            timings_ms: text("server-timing")
                .split(',')
                .filter_map(timing)
                .collect(),
            round_trip_ns,
            all: None,
        }
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Table::new(&["request", ""]);
        facts.row(&[&"id", &Line(&self.request_id)]);
        facts.row(&[&"version", &Line(&self.version)]);
        facts.row(&[&"start", &Line(&self.start)]);
        let mut times = Table::new(&["phase", "time"]);
        for (name, ms) in &self.timings_ms {
            times.row(&[&Line(name), &format_args!("{ms:.3} ms")]);
        }
        times.row(&[&ROUND_TRIP, &Nanoseconds(self.round_trip_ns)]);
        match &self.all {
            Some(all) => write!(f, "{facts}{all}"),
            None => write!(f, "{facts}{times}"),
        }
    }
}

/// What `jiffy invoke -o json` prints.
#[derive(Serialize)]
struct View<'a> {
    outcome: Exit,
    exit_code: u8,
    response: Option<ResponseView<'a>>,
    error: Option<ErrorView<'a>>,
    stats: &'a Facts,
}

#[derive(Serialize)]
struct ErrorView<'a> {
    /// In snake case, as that of `jiffy run`.
    kind: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    error_type: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    backtrace: &'a [Frame],
    #[serde(skip_serializing_if = "Option::is_none")]
    backtrace_note: Option<&'a str>,
}

/// Sends a request, once or more, and prints the last response.
pub(crate) fn invoke(
    agent: &Agent,
    options: &InvokeOptions,
    format: Format,
) -> Result<Exit, ClientError> {
    let request = options.request.request()?;
    let FunctionRef { name, qualifier } = &options.function;
    let is_http = request.http.is_some();
    let (method, path, headers) = match (request.http, qualifier) {
        (Some(_), Some(qualifier)) => return Err(ClientError::QualifiedHttp(qualifier.clone())),
        (Some(http), None) => {
            let path = format!("/fn/{name}{}", http.target);
            let method = http.method;
            let known = Method::from_bytes(method.as_bytes());
            (
                known.map_err(|_| ClientError::Method(method))?,
                path,
                http.headers,
            )
        }
        (None, qualifier) => {
            let mut path = format!("/v1/functions/{name}/invoke");
            if let Some(qualifier) = qualifier {
                path += "?qualifier=";
                path += &qualifier.to_string();
            }
            (Method::POST, path, vec![])
        }
    };
    let progress = Progress::new(format!("invoking {name}"));
    let mut all = All::default();
    let mut number = 1;
    let (parts, body, problem, facts) = loop {
        let begin = Instant::now();
        let mut response = agent.send(&Call {
            headers: &headers,
            body: &request.body,
            wait: Wait::Function,
            ..Call::new(method.clone(), path.clone())
        })?;
        let body = agent.body(&mut response, u64::from(BODY_BYTES_MAX))?;
        let round_trip_ns = nanoseconds(begin.elapsed());
        let (parts, _) = response.into_parts();
        let problem = Problem::of_response(&parts.headers, &body);
        if problem.is_none() && !is_http && !parts.status.is_success() {
            return Err(agent.not_an_agent(parts.status.as_u16()));
        }
        let facts = Facts::new(&parts.headers, round_trip_ns);
        all.add(&facts);
        if number == options.requests || problem.is_some() {
            break (parts, body, problem, facts);
        }
        number += 1;
    };
    drop(progress);
    let facts = Facts {
        all: (options.requests > 1).then(|| all.view()),
        ..facts
    };
    print(
        parts,
        body,
        problem.as_ref(),
        is_http,
        &facts,
        options.stats,
        format,
    )
}

fn print(
    parts: Parts,
    body: Vec<u8>,
    problem: Option<&Problem>,
    is_http: bool,
    facts: &Facts,
    stats: bool,
    format: Format,
) -> Result<Exit, ClientError> {
    let exit = problem.map_or(Exit::Ok, Problem::exit);
    let response = problem.is_none().then(|| response(parts, body, is_http));
    match format {
        Format::Json => print_json(&View {
            outcome: exit,
            exit_code: exit as u8,
            response: response.as_ref().map(ResponseView::new),
            error: problem.map(|problem| ErrorView {
                kind: problem.kind.replace('-', "_"),
                error_type: &problem.error_type,
                message: &problem.detail,
                backtrace: &problem.backtrace,
                backtrace_note: problem.backtrace_note.as_deref(),
            }),
            stats: facts,
        })?,
        Format::Text => {
            if let Some(response) = &response {
                print_response(response)?;
            }
            if let Some(problem) = problem {
                writeln!(stderr(), "{problem}")?;
                problem.print_backtrace()?;
            }
            if stats {
                write!(stderr(), "{facts}")?;
            }
        }
    }
    Ok(exit)
}

/// The response as `jiffy run` has it.
fn response(parts: Parts, body: Vec<u8>, is_http: bool) -> jiffy_control::Response {
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_owned()));
    jiffy_control::Response {
        kind: if is_http {
            ResponseKind::Http
        } else {
            ResponseKind::Ok
        },
        status: if is_http { parts.status.as_u16() } else { 0 },
        error_type: String::new(),
        // An event's response has none of its own.
        headers: headers.filter(|_| is_http).collect(),
        body,
    }
}

#[cfg(test)]
mod tests {
    use ureq::http::HeaderValue;

    use super::*;

    #[test]
    fn what_the_headers_say_is_read_as_far_as_it_is_well_formed() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("jiffy-request-id", "r1"),
            ("jiffy-start", "cold"),
            ("jiffy-version", "3"),
            (
                "server-timing",
                "queue;dur=0.004, run;dur=1.5;desc=x,bad,x;dur=NaN,y;dur=z",
            ),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let facts = Facts::new(&headers, 2_000_000);
        let timings_ms = BTreeMap::from([("queue".to_owned(), 0.004), ("run".to_owned(), 1.5)]);
        assert_eq!(facts.timings_ms, timings_ms);
        let text = facts.to_string();
        for expected in ["r1", "cold", "1.500 ms", "2.00 ms"] {
            assert!(text.contains(expected), "{text}");
        }
        let nothing = Facts::new(&HeaderMap::new(), 0);
        assert!(nothing.timings_ms.is_empty() && nothing.start.is_empty());
    }
}
