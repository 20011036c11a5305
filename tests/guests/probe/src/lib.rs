//! Tells what reaches a function: its context, what its init left, and how its log lines arrive.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use jiffy::{Context, log};
use serde::{Deserialize, Serialize};

/// What to tell.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// The context.
    Context,
    /// Which request this is, counted from one: what is kept between requests.
    Request,
    /// Logs so many lines, numbered from zero, and one of each level.
    Log(u32),
    /// These numbers.
    Doubles(Vec<f64>),
}

/// What there is to tell.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer<'a> {
    /// The context.
    Context {
        /// Its request id.
        id: &'a str,
        /// Its function name.
        name: &'a str,
        /// Its function version.
        version: &'a str,
        /// Its trace context.
        traceparent: Option<&'a str>,
        /// Milliseconds that remain.
        remaining_ms: Option<u128>,
    },
    /// The number of the request, and of inits before it.
    Request(u32, u32),
    /// So many lines were logged.
    Logged(u32),
    /// The same numbers.
    Doubles(Vec<f64>),
}

/// What init leaves.
#[derive(Default)]
pub struct Counter {
    requests: AtomicU32,
    inits: AtomicU32,
}

/// Counts itself and logs.
#[jiffy::init]
fn setup() -> Counter {
    jiffy::log!("init");
    let counter = Counter::default();
    counter.inits.fetch_add(1, Relaxed);
    counter
}

/// Tells.
#[jiffy::function]
pub fn tell<'a>(question: Question, context: &'a Context<'a>, counter: &Counter) -> Answer<'a> {
    let requests = counter.requests.fetch_add(1, Relaxed) + 1;
    match question {
        Question::Context => Answer::Context {
            id: context.request_id(),
            name: context.function_name(),
            version: context.function_version(),
            traceparent: context.traceparent(),
            remaining_ms: context.remaining().map(|remaining| remaining.as_millis()),
        },
        Question::Request => Answer::Request(requests, counter.inits.load(Relaxed)),
        Question::Doubles(numbers) => Answer::Doubles(numbers),
        Question::Log(lines) => {
            for line in 0..lines {
                jiffy::log!("line {line}");
            }
            log::error!("an error");
            log::warn!("größer");
            log::info!("{:>40}", "wide");
            log::debug!("not told");
            Answer::Logged(lines)
        }
    }
}
