//! Requests to `hello` over HTTP, through the agent into jailed VMs: cold and fresh, one at a time and as many as go.
//!
//! Client, agent and VMs share the processors. The agent is one of its own on an empty folder, with the release builds of
//! `jiffyd` and `jiffy-vmm` that `cargo build --release` left; every figure is of requests that the agent itself called
//! cold or fresh.

mod client;

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use client::Client;
use serde_json::{Value, json};

/// So many that a VM has ended long before its function's turn comes again.
const FUNCTIONS: usize = 600;
const COLD_ALONE: usize = 1000;
/// Between two cold requests of a client that is alone: time to make another shell.
const COLD_PAUSE: Duration = Duration::from_millis(5);
const FRESH_ALONE: usize = 10_000;
const MANY_FOR: Duration = Duration::from_secs(5);
const FRESH_CONNECTIONS: usize = 16;
const COLD_CONNECTIONS: usize = 8;

struct Agent {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Agent {
    fn start(settings: &[(&str, &str)]) -> Self {
        let (_, vmm) = jiffy_benches::image_and_vmm("examples/hello");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut process = Command::new(vmm.with_file_name("jiffyd"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--allow-missing-cgroups",
                "--log",
                "jiffyd::serve=info",
            ])
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .arg("--vmm")
            .arg(&vmm)
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("jiffyd: run `cargo build --release` first");
        let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let address = loop {
            let line = lines.next().expect("jiffyd listens").expect("text");
            if let Some((_, address)) = line.split_once("listening address=") {
                break address.trim().parse().expect("an address");
            }
        };
        // What it says later is for nobody, but it has to be taken.
        thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            address,
            _folder: folder,
        }
    }

    fn deploy(&self, functions: usize) {
        let (image, _) = jiffy_benches::image_and_vmm("examples/hello");
        let mut client = Client::new(self.address);
        let answer = client.send("POST", "/v1/images", &fs::read(image).expect("an image"));
        let stored: Value = serde_json::from_str(&answer.body).expect("JSON");
        for number in 0..functions {
            let settings = json!({ "image": stored["digest"], "max_concurrency": 100 }).to_string();
            let path = format!("/v1/functions/hello-{number}");
            let answer = client.send("PUT", &path, settings.as_bytes());
            assert_eq!(answer.status, 201, "{}", answer.body);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn path(number: usize) -> String {
    format!("/v1/functions/hello-{number}/invoke")
}

fn micros(sorted: &[Duration], per_mille: usize) -> u128 {
    let at = sorted.len() * per_mille / 1000;
    sorted
        .get(at.min(sorted.len().saturating_sub(1)))
        .map_or(0, Duration::as_micros)
}

fn row(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let [p50, p90, p99, worst] = [500, 900, 990, 1000].map(|per_mille| micros(&times, per_mille));
    println!(
        "{what:<44} {:>7} {p50:>8} {p90:>8} {p99:>8} {worst:>8}",
        times.len()
    );
}

fn cold_alone(agent: &Agent) {
    let mut client = Client::new(agent.address);
    let (mut took, mut phases) = (vec![], [vec![], vec![], vec![]]);
    // The first round records working sets and opens snapshots.
    for round in 0..COLD_ALONE + FUNCTIONS {
        let answer = client.invoke(&path(round % FUNCTIONS));
        if round >= FUNCTIONS && answer.start == "cold" {
            took.push(answer.took);
            phases
                .iter_mut()
                .zip(answer.phases)
                .for_each(|(all, one)| all.push(one));
        }
        thread::sleep(COLD_PAUSE);
    }
    row("cold, one at a time, shell ready", took);
    let [queue, restore, run] = phases;
    row("  of that: waiting for a shell", queue);
    row("  of that: handing over the snapshot", restore);
    row("  of that: restore, request, response", run);
}

fn fresh_alone(agent: &Agent) {
    let mut client = Client::new(agent.address);
    (0..100).for_each(|_| drop(client.invoke(&path(0))));
    let answers = (0..FRESH_ALONE).map(|_| client.invoke(&path(0)));
    let (mut took, mut run) = (vec![], vec![]);
    for answer in answers.filter(|answer| answer.start == "fresh") {
        took.push(answer.took);
        run.push(answer.phases[2]);
    }
    row("fresh, one at a time", took);
    row("  of that: request into the VM, response", run);
}

/// As many as go for a while on so many connections; the paths are taken in turn.
fn many(agent: &Agent, what: &str, connections: usize, functions: usize, start: &str) {
    let threads: Vec<_> = (0..connections)
        .map(|first| {
            let address = agent.address;
            thread::spawn(move || {
                let mut client = Client::new(address);
                let began = Instant::now();
                let mut answers = vec![];
                for round in 0.. {
                    if began.elapsed() > MANY_FOR {
                        break;
                    }
                    let answer = client.invoke(&path((first + round * connections) % functions));
                    answers.push((answer.start, answer.took));
                }
                answers
            })
        })
        .collect();
    let answers: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join().expect("answers"))
        .collect();
    let all = answers.len();
    let took: Vec<_> = answers
        .into_iter()
        .filter(|(is, _)| is == start)
        .map(|(_, took)| took)
        .collect();
    let per_second = took.len() as f64 / MANY_FOR.as_secs_f64();
    let other = all - took.len();
    row(what, took);
    println!("  {per_second:.0} requests/s {start}, {other} of another start");
}

fn main() {
    // `cargo test --benches` only wants to know that it starts.
    if !env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!(
        "{:<44} {:>7} {:>8} {:>8} {:>8} {:>8}",
        "µs", "count", "p50", "p90", "p99", "max"
    );
    let cold = Agent::start(&[
        ("JIFFYD_POOL__KEEP_ALIVE_MS", "0"),
        ("JIFFYD_POOL__SHELLS_MIN", "32"),
        ("JIFFYD_POOL__SHELLS_MAX", "256"),
    ]);
    cold.deploy(FUNCTIONS);
    cold_alone(&cold);
    many(
        &cold,
        "cold, 8 connections",
        COLD_CONNECTIONS,
        FUNCTIONS,
        "cold",
    );
    drop(cold);
    let fresh = Agent::start(&[]);
    fresh.deploy(1);
    fresh_alone(&fresh);
    many(
        &fresh,
        "fresh, 16 connections",
        FRESH_CONNECTIONS,
        1,
        "fresh",
    );
}
