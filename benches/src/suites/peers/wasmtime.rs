//! wasmtime with a module that was compiled ahead of time: as a process for each request, and as a library that takes an
//! instance out of a pool. `benches/peers/wasmtime` is the program; `scripts/peers` builds it.

use std::{
    io::{BufRead, BufReader, Write},
    os::fd::AsFd,
    process::{ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    Candidate, Contender, Workshop, local,
    program::{Running, readable},
};
use crate::{
    report::Level,
    samples::Samples,
    setup::{HELLO_ANSWER, HELLO_EVENT},
    suites::Fallible,
};

/// Of one turn: they take microseconds, and a round has turns that take a thousand times longer.
const SAMPLES_PER_TURN: usize = 10;

pub(super) fn candidates(workshop: &Workshop) -> [Candidate; 2] {
    [
        Candidate::new(
            "wasmtime",
            Level::Process,
            false,
            "a WebAssembly sandbox in a shared process; its time is taken inside that process",
            library(workshop),
        ),
        Candidate::new(
            "wasmtime_process",
            Level::Process,
            false,
            "a WebAssembly sandbox in a process of its own, with nothing around the process",
            process(workshop),
        ),
    ]
}

/// The program and the module.
fn installed(workshop: &Workshop) -> Fallible<[String; 2]> {
    let files = ["wasmtime-peer", "hello.cwasm"].map(|name| workshop.installed.join(name));
    for file in &files {
        if !file.is_file() {
            return Err(format!(
                "no {}: must be there, as ./scripts/peers leaves it",
                file.display()
            )
            .into());
        }
    }
    let [program, module] = &files;
    Ok([
        local::text(program)?.to_owned(),
        local::text(module)?.to_owned(),
    ])
}

fn process(workshop: &Workshop) -> Fallible<Box<dyn Contender>> {
    let [program, module] = installed(workshop)?;
    Ok(Box::new(local::program([
        program.as_str(),
        "once",
        &module,
    ])?))
}

fn library(workshop: &Workshop) -> Fallible<Box<dyn Contender>> {
    let [program, module] = installed(workshop)?;
    let child = Command::new(&program)
        .args(["serve", &module, str::from_utf8(HELLO_EVENT)?])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut running =
        Running(child.map_err(|error| {
            format!("cannot start {program}: {error}; run ./scripts/peers again")
        })?);
    let ends = running.0.stdin.take().zip(running.0.stdout.take());
    let (ask, answers) = ends.ok_or("wasmtime-peer was started without pipes")?;
    Ok(Box::new(Library {
        ask,
        answers: BufReader::new(answers),
        _running: running,
    }))
}

/// The library, in a process that lives as long as this value.
struct Library {
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
    _running: Running,
}

impl Library {
    fn ask(&mut self, kind: &str, samples: &mut Samples) -> Fallible<()> {
        for _ in 0..SAMPLES_PER_TURN {
            writeln!(self.ask, "{kind}")?;
            self.ask.flush()?;
            if !readable(
                self.answers.get_ref().as_fd(),
                Instant::now() + local::TIMEOUT,
            )? {
                return Err("wasmtime-peer does not answer: run ./scripts/peers again".into());
            }
            let mut line = String::new();
            // It is ours: it writes whole lines, and no long ones.
            self.answers.read_line(&mut line)?;
            let took = parse(&line);
            samples.push(took.ok_or_else(|| {
                format!("wasmtime-peer answers {line:?}: run ./scripts/peers again")
            })?);
        }
        Ok(())
    }
}

/// `NANOSECONDS ANSWER`.
fn parse(line: &str) -> Option<Duration> {
    let (ns, answer) = line.trim_end().split_once(' ')?;
    if answer.as_bytes() != HELLO_ANSWER {
        return None;
    }
    Some(Duration::from_nanos(ns.parse().ok()?))
}

impl Contender for Library {
    fn cold(&mut self, samples: &mut Samples) -> Fallible<()> {
        self.ask("cold", samples)
    }

    fn warm(&mut self, samples: &mut Samples) -> Fallible<()> {
        self.ask("warm", samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_answer_counts() {
        let right = "1250 {\"greeting\":\"Hello, Ada!\"}\n";
        assert_eq!(parse(right), Some(Duration::from_nanos(1250)));
        for wrong in ["", "1250", "1250 {}", "x {\"greeting\":\"Hello, Ada!\"}"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
