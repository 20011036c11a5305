//! What the tests of the agent share.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::{env, time::Duration};

use jiffy_tests::agent::{Client, within};
use serde_json::Value;

/// Whether an agent can run here with all that belongs to it.
pub(crate) fn can_run() -> bool {
    jiffy_tests::require_root("only root gets the whole jail") && jiffy_tests::require_kvm()
}

/// Whether the long runs are wanted.
pub(crate) fn is_long() -> bool {
    env::var("JIFFY_LONG").is_ok_and(|value| value == "1")
}

/// Whether `is_so` comes true in time.
pub(crate) fn retry(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    within(limit, || is_so().then_some(())).is_some()
}

/// Ids of the processes of these instances.
pub(crate) fn processes_of(instances: &[Value]) -> Vec<u32> {
    let numbers = instances.iter().filter_map(|vm| vm["process_id"].as_u64());
    let numbers = numbers.filter_map(|number| u32::try_from(number).ok());
    numbers.filter(|number| *number > 0).collect()
}

/// The value of a series of the agent's metrics, whose name has its labels.
#[track_caller]
pub(crate) fn metric(agent: &Client, name: &str) -> u64 {
    let text = agent.get("/metrics").expect(200).text();
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("no {name} in {text}"));
    value.parse().expect("a number")
}
