//! Requests over HTTP, through an agent of one's own into jailed VMs: one at a time, as many as go, and half of that.
//!
//! One at a time over one connection: `agent.cold` (a VM is restored for the request; a shell waits), `agent.fresh` (a VM that
//! was reset), `agent.warm` (isolation `reuse`: a VM as it was left). As many as go, in a closed loop: `agent.fresh_rps`,
//! `agent.cold_rps`, and over many connections `agent.fresh_rps_64`, `agent.fresh_rps_256`. At half of that rate, in an open loop: `agent.fresh_loaded`, `agent.cold_loaded`.
//! Client, agent and VMs share the processors.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use super::{Fallible, Run};
use crate::{
    load::{
        client::{Answer, Client, Start, Timing, request},
        crowd,
        jiffyd::Jiffyd,
        pace::open_loop,
    },
    report::{Breakdown, Measured},
    samples::Samples,
};

const QUESTION: &[u8] = br#"{"name":"Ada"}"#;
const ANSWER: &[u8] = br#"{"greeting":"Hello, Ada!"}"#;

/// So many that a VM has settled and ended long before its function's turn comes again.
const FUNCTIONS: usize = 64;
const COLD_TIMES: usize = 500;
/// Between two cold requests of a client that is alone: time to make another shell.
const COLD_PAUSE: Duration = Duration::from_millis(5);
const FRESH_TIMES: usize = 5000;
/// Before anything counts.
const WARM_UP_TIMES: usize = 200;
const WARM_UP: Duration = Duration::from_millis(500);
/// How long load lasts.
const LOAD: Duration = Duration::from_secs(3);
const LOAD_FULL: Duration = Duration::from_secs(15);
/// Connections of the closed loops.
const FRESH_CONNECTIONS: usize = 16;
const COLD_CONNECTIONS: usize = 8;
/// Connections of the closed loops that show whether more of them are served as well.
const MANY_CONNECTIONS: [usize; 2] = [64, 256];
/// Connections of the open loops: enough for what comes while a request takes a few milliseconds.
const OPEN_CONNECTIONS: usize = 32;
/// Part of what goes that the open loops send.
const LOADED_PART: f64 = 0.5;
/// Part of the requests that may begin with another start than the one that is measured: when load begins, or where a VM was
/// slow, the agent makes another.
const OTHER_START_PART_MAX: f64 = 0.02;

/// Measures.
pub fn run(run: &mut Run) -> Fallible<()> {
    cold(run)?;
    fresh_and_warm(run)
}

fn cold(run: &mut Run) -> Fallible<()> {
    run.progress("agent: deploying functions for cold starts");
    let agent = Jiffyd::start(
        &run.programs,
        &[
            ("POOL__KEEP_ALIVE_MS", "0"),
            ("POOL__SHELLS_MIN", "32"),
            ("POOL__SHELLS_MAX", "256"),
        ],
    )?;
    let names: Vec<_> = (0..FUNCTIONS)
        .map(|number| format!("hello-{number}"))
        .collect();
    agent.deploy(&names, &agent.upload(&run.hello)?, "fresh")?;
    let asked = Asked::new(agent, &names, Start::Cold);
    // The first round records working sets and opens snapshots.
    let times = run.times(COLD_TIMES);
    alone(run, "agent.cold", &asked, [FUNCTIONS, times], COLD_PAUSE)?;
    loaded(run, "agent.cold", &asked, COLD_CONNECTIONS)
}

fn fresh_and_warm(run: &mut Run) -> Fallible<()> {
    run.progress("agent: deploying functions for fresh and warm requests");
    let agent = Jiffyd::start(&run.programs, &[])?;
    let digest = agent.upload(&run.hello)?;
    let names = ["fresh", "reuse"].map(str::to_owned);
    for name in &names {
        agent.deploy(std::slice::from_ref(name), &digest, name)?;
    }
    let [fresh, reuse] = names;
    let times = [WARM_UP_TIMES, run.times(FRESH_TIMES)];
    let mut asked = Asked::new(agent, &[reuse], Start::Warm);
    alone(run, "agent.warm", &asked, times, Duration::ZERO)?;
    asked = Asked::new(asked.agent, &[fresh], Start::Fresh);
    alone(run, "agent.fresh", &asked, times, Duration::ZERO)?;
    loaded(run, "agent.fresh", &asked, FRESH_CONNECTIONS)?;
    for connections in MANY_CONNECTIONS {
        let name = format!("agent.fresh_rps_{connections}");
        rate(run, &name, &asked, connections)?;
    }
    Ok(())
}

/// Functions that are asked in turn.
struct Asked {
    agent: Jiffyd,
    requests: Vec<Vec<u8>>,
    start: Start,
    /// Answers that began otherwise.
    others: AtomicU64,
}

impl Asked {
    fn new(agent: Jiffyd, names: &[String], start: Start) -> Self {
        let request = |name: &String| {
            let path = format!("/v1/functions/{name}/invoke");
            request("POST", &path, QUESTION)
        };
        Self {
            agent,
            requests: names.iter().map(request).collect(),
            start,
            others: AtomicU64::new(0),
        }
    }

    fn connect(&self) -> Fallible<Client> {
        Ok(Client::new(self.agent.address())?)
    }

    /// The request of that number.
    fn request(&self, number: u64) -> &[u8] {
        let turn = number % self.requests.len() as u64;
        &self.requests[usize::try_from(turn).unwrap_or_default()] // Less than a `usize`.
    }

    /// One request, its answer checked.
    fn ask<'a>(&self, client: &'a mut Client, number: u64) -> Fallible<Answer<'a>> {
        let answer = client.exchange(self.request(number))?;
        self.look(&answer)?;
        Ok(answer)
    }

    /// Whether an answer is right, and counts it if it began otherwise.
    fn look(&self, answer: &Answer<'_>) -> Fallible<()> {
        if answer.status != 200 || answer.body != ANSWER {
            let body = String::from_utf8_lossy(answer.body);
            return Err(format!("hello answered with {}: {body}", answer.status).into());
        }
        if answer.start != Some(self.start) {
            self.others.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// As many requests a second as go over so many connections.
    fn rate(&self, connections: usize, lasting: Duration) -> Fallible<f64> {
        let clients: Fallible<Vec<_>> = (0..connections).map(|_| self.connect()).collect();
        let request = |number| self.request(number);
        crowd::closed_loop(clients?, lasting, request, |answer| self.look(answer))
    }

    /// Clients for [`open_loop`].
    fn clients(&self, count: usize) -> Fallible<Vec<impl FnMut(u64) -> Fallible<()> + Send>> {
        let client = |_| {
            let mut client = self.connect()?;
            Ok(move |number| self.ask(&mut client, number).map(drop))
        };
        (0..count).map(client).collect()
    }

    /// Counts anew.
    fn forget(&self) {
        self.others.store(0, Relaxed);
    }

    /// That almost all of so many answers began as they should.
    fn check(&self, name: &str, all: u64) -> Fallible<()> {
        let others = self.others.load(Relaxed);
        if count(others) <= count(all) * OTHER_START_PART_MAX {
            return Ok(());
        }
        let start = self.start;
        Err(format!(
            "{name}: {others} of {all} requests did not begin {start:?}: give the agent a quieter host with more memory"
        )
        .into())
    }
}

/// One request at a time; of `times` the first are not counted. An answer that began otherwise is not counted either.
fn alone(
    run: &mut Run,
    name: &str,
    asked: &Asked,
    times: [usize; 2],
    pause: Duration,
) -> Fallible<()> {
    run.progress(&format!("{name}: one at a time"));
    let mut client = asked.connect()?;
    let mut number = 0;
    let mut next = || {
        thread::sleep(pause);
        number += 1;
        let answer = asked.ask(&mut client, number)?;
        let is_right = answer.start == Some(asked.start);
        Fallible::Ok(is_right.then(|| (answer.took(), answer.timing)))
    };
    let [warm_up, times] = times;
    for _ in 0..warm_up {
        next()?;
    }
    asked.forget();
    let mut parts = Parts::default();
    for _ in 0..times {
        if let Some((took, timing)) = next()? {
            parts.push(took, timing);
        }
    }
    asked.check(name, times.try_into()?)?;
    run.found(parts.took.measured(name));
    if asked.start != Start::Warm {
        run.breakdowns.push(parts.breakdown(name));
    }
    Ok(())
}

/// As many as go: how many a second.
fn rate(run: &mut Run, name: &str, asked: &Asked, connections: usize) -> Fallible<f64> {
    let seconds = lasting(run).as_secs_f64();
    run.progress(&format!(
        "{name}: {connections} connections for {seconds} s"
    ));
    asked.rate(connections, WARM_UP)?;
    asked.forget();
    let per_s = asked.rate(connections, lasting(run))?;
    asked.check(name, whole(per_s * seconds))?;
    run.found(Measured::single(name, "1/s", per_s));
    Ok(per_s)
}

fn lasting(run: &Run) -> Duration {
    if run.full { LOAD_FULL } else { LOAD }
}

/// As many as go, then half of that on a schedule.
fn loaded(run: &mut Run, name: &str, asked: &Asked, connections: usize) -> Fallible<()> {
    let per_s = LOADED_PART * rate(run, &format!("{name}_rps"), asked, connections)?;
    let seconds = lasting(run).as_secs_f64();
    let loaded_name = format!("{name}_loaded");
    run.progress(&format!(
        "{loaded_name}: {per_s:.0} requests a second for {seconds} s"
    ));
    // As many VMs as there are connections, if they are to be kept.
    asked.rate(OPEN_CONNECTIONS, WARM_UP)?;
    asked.forget();
    let samples = open_loop(
        asked.clients(OPEN_CONNECTIONS)?,
        per_s,
        whole(per_s * seconds),
    )?;
    asked.check(&loaded_name, samples.len())?;
    run.found(samples.measured(loaded_name));
    Ok(())
}

/// Where requests spent their time.
#[derive(Default)]
struct Parts {
    took: Samples,
    queue: Samples,
    restore: Samples,
    run: Samples,
    rest: Samples,
}

impl Parts {
    fn push(&mut self, took: Duration, timing: Timing) {
        let Timing {
            queue,
            restore,
            run,
        } = timing;
        self.took.push(took);
        self.queue.push(queue);
        self.restore.push(restore);
        self.run.push(run);
        self.rest.push(took.saturating_sub(queue + restore + run));
    }

    fn breakdown(&self, name: &str) -> Breakdown {
        let parts = [
            ("queue", &self.queue),
            ("restore", &self.restore),
            ("run", &self.run),
            ("HTTP and agent", &self.rest),
        ];
        let parts = parts.map(|(part, samples)| (part.to_owned(), samples.p50_us()));
        Breakdown {
            name: name.into(),
            // What the agent tells as zero the histogram has as a nanosecond.
            parts: parts.into_iter().filter(|(_, us)| *us >= 0.01).collect(),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a run has far fewer than 2^52 requests"
)]
fn count(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and no rate times seconds is negative"
)]
fn whole(number: f64) -> u64 {
    number.ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_part_is_the_remainder() {
        let us = Duration::from_micros;
        let mut parts = Parts::default();
        let timing = Timing {
            queue: us(0),
            restore: us(20),
            run: us(300),
        };
        parts.push(us(420), timing);
        let breakdown = parts.breakdown("agent.cold");
        let rounded = breakdown
            .parts
            .iter()
            .map(|(name, us)| (&name[..], us.round()));
        let right = [("restore", 20.0), ("run", 300.0), ("HTTP and agent", 100.0)];
        assert_eq!(rounded.collect::<Vec<_>>(), right);
    }
}
