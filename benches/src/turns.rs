//! Two agents at once, asked in turns by one client: tells a per cent apart where whole runs, one after the other, tell five.
//!
//! What the host does meanwhile it does to both, and neither has the warmer CPU: a block of requests goes to one, the next to the other,
//! and which comes first alternates. Each pair of blocks gives one ratio of medians.
//! Not here: building what is compared (`scripts/bench-ab --turns`).

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    ab::{AbError, Difference},
    load::{
        client::{Client, Start, request},
        jiffyd::Jiffyd,
    },
    samples::Samples,
    suites::Fallible,
};

/// Requests of a block: short beside what a host's moods last, long beside what the first request of a block is slower by.
const BLOCK: usize = 300;
/// Requests before anything counts.
const WARM_UP: usize = 1000;
const FUNCTION: &str = "hello";

/// One of the two: its programs, and `hello` as they build it.
#[derive(Clone, Debug)]
pub struct Side {
    /// The folder of `jiffyd` and `jiffy-vmm`.
    pub programs: PathBuf,
    /// The image of `hello`.
    pub hello: PathBuf,
}

/// How fresh requests, one at a time, to an agent of `b` compare with those to one of `a`.
///
/// # Errors
/// No agent, an answer that is wrong, a time too short for two blocks of each.
pub fn fresh(a: &Side, b: &Side, lasting: Duration) -> Fallible<Difference> {
    let mut a = Asked::start(a)?;
    let mut b = Asked::start(b)?;
    let began = Instant::now();
    let mut logs = vec![];
    while began.elapsed() < lasting {
        let (of_a, of_b) = if logs.len() % 2 == 0 {
            let of_a = a.block()?;
            (of_a, b.block()?)
        } else {
            let of_b = b.block()?;
            (a.block()?, of_b)
        };
        logs.push((of_b / of_a).ln());
    }
    Ok(Difference::of_logs("agent.fresh".to_owned(), &logs).ok_or(AbError::TooFewRounds)?)
}

struct Asked {
    client: Client,
    request: Vec<u8>,
    _agent: Jiffyd,
}

impl Asked {
    fn start(side: &Side) -> Fallible<Self> {
        let agent = Jiffyd::start(&side.programs, &[])?;
        let digest = agent.upload(&side.hello)?;
        agent.deploy(&[FUNCTION.to_owned()], &digest, "fresh")?;
        let path = format!("/v1/functions/{FUNCTION}/invoke");
        let mut asked = Self {
            client: Client::new(agent.address())?,
            request: request("POST", &path, br#"{"name":"Ada"}"#),
            _agent: agent,
        };
        for _ in 0..WARM_UP {
            asked.ask()?;
        }
        Ok(asked)
    }

    /// A request; how long it took if a VM that was reset answered it.
    fn ask(&mut self) -> Fallible<Option<Duration>> {
        let answer = self.client.exchange(&self.request)?;
        if answer.status != 200 {
            let body = String::from_utf8_lossy(answer.body);
            return Err(format!("hello answered with {}: {body}", answer.status).into());
        }
        Ok((answer.start == Some(Start::Fresh)).then(|| answer.took()))
    }

    /// The median of a block of requests, µs.
    fn block(&mut self) -> Fallible<f64> {
        let mut samples = Samples::new();
        for _ in 0..BLOCK {
            if let Some(took) = self.ask()? {
                samples.push(took);
            }
        }
        match samples.p50_us() {
            p50_us if p50_us > 0.0 => Ok(p50_us),
            _ => Err("no request of a block was fresh: give the agents a quieter host".into()),
        }
    }
}
