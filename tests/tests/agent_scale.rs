//! Many functions and many VMs on one agent, and what is left of them when nobody asks any more.
//!
//! With `JIFFY_LONG=1` there are two thousand, and memory is measured all-in; nothing else should run meanwhile:
//!
//! ```text
//! JIFFY_LONG=1 cargo test --release -p jiffy-tests --test agent_scale -- --nocapture
//! ```

mod agent_common;

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use agent_common::{can_run, is_long, processes_of, retry};
use jiffy_tests::agent::{Client, Setup, kib};
use rustix::process::{Resource, getrlimit};
use serde_json::json;

const SHORT: usize = 100;
const LONG: usize = 2000;
const THREADS: usize = 4;
/// What a function's VM may cost, kernel and agent included.
const VM_KIB_MAX: u64 = 1536;
/// Beside other load `MemAvailable` says little; this is what a shared page or two too few would exceed by far.
const VM_KIB_BUSY_MAX: u64 = 3072;
/// Descriptors that the agent has for each: two sockets, a process, RAM and state of a snapshot.
const DESCRIPTORS_EACH: usize = 6;
/// Long enough for all VMs to live at once on a busy host.
const KEEP_ALIVE_MS: &str = "600000";
const KEEP_ALIVE_SHORT_MS: &str = "500";
const SHELLS_MAX: usize = 16;
const QUIET_WITHIN: Duration = Duration::from_secs(60);

fn name(number: usize) -> String {
    format!("f-{number}")
}

/// Calls `work` for every number, on a few threads.
fn for_all(client: &Client, all: usize, work: impl Fn(&Client, usize) + Sync) -> Duration {
    let began = Instant::now();
    thread::scope(|scope| {
        for first in 0..THREADS {
            let work = &work;
            scope.spawn(move || {
                (first..all)
                    .step_by(THREADS)
                    .for_each(|number| work(client, number))
            });
        }
    });
    began.elapsed()
}

fn settings(keep_alive_ms: &'static str) -> [(&'static str, &'static str); 2] {
    [
        ("POOL__KEEP_ALIVE_MS", keep_alive_ms),
        ("POOL__SHELLS_MAX", "16"),
    ]
}

#[test]
fn thousands_of_functions_have_a_vm_each_and_then_none() {
    if !can_run() {
        return;
    }
    let all = if is_long() { LONG } else { SHORT };
    let limit = getrlimit(Resource::Nofile).maximum;
    let wanted = (all * DESCRIPTORS_EACH + 256) as u64;
    assert!(
        limit.is_none_or(|limit| limit >= wanted),
        "raise the hard limit of open files to {wanted}"
    );
    let mut setup = Setup::new(&settings(KEEP_ALIVE_MS));
    let agent = setup.start();
    let image = agent.upload("teller");
    // Each has a snapshot of its own, because its environment is in it.
    let deployed = for_all(&agent.client, all, |client, number| {
        let environment = json!({ "environment": { "NUMBER": number.to_string() } });
        client
            .deploy(&name(number), &image, environment)
            .expect(201);
    });
    println!(
        "{all} functions deployed in {deployed:?}: {:?} each",
        deployed.div_f64(all as f64)
    );
    let ask = |client: &Client, number: usize| {
        let answer = client.invoke(&name(number), "env NUMBER").expect(200);
        assert_eq!(answer.text(), number.to_string());
    };
    let shells = || setup.traces().vms.len() - agent.instances().len();
    let ready = retry(QUIET_WITHIN, || shells() >= 8);
    assert!(ready, "{} shells", shells());
    let (before_kib, before_agent_kib) =
        (kib("/proc/meminfo", "MemAvailable"), agent.resident_kib());
    let started = for_all(&agent.client, all, ask);
    let settled = retry(QUIET_WITHIN, || {
        agent.instances().iter().all(|vm| vm["state"] == "idle") && shells() <= SHELLS_MAX
    });
    assert!(settled, "{} shells", shells());
    let after_kib = kib("/proc/meminfo", "MemAvailable");
    let each_kib = before_kib.saturating_sub(after_kib) / all as u64;
    let processes: BTreeSet<_> = processes_of(&agent.instances()).into_iter().collect();
    assert_eq!(processes.len(), all);
    let alive: BTreeSet<_> = setup.traces().vms.into_iter().collect();
    assert!(processes.is_subset(&alive));
    println!(
        "{all} VMs alive after {started:?}: {each_kib} KiB each, all-in; agent {} KiB, was {before_agent_kib}, \
         {} descriptors",
        agent.resident_kib(),
        agent.descriptors()
    );
    // All of them still answer, and in the same VMs.
    let again = for_all(&agent.client, all, ask);
    println!("asked again in {again:?}");
    let now: BTreeSet<_> = processes_of(&agent.instances()).into_iter().collect();
    assert_eq!(now, processes);
    let kib_max = if is_long() {
        VM_KIB_MAX
    } else {
        VM_KIB_BUSY_MAX
    };
    assert!(each_kib <= kib_max, "{each_kib} KiB for each VM");
    let began = Instant::now();
    let status = agent.stop();
    println!("stopped after {:?}", began.elapsed());
    assert!(status.success(), "{}", setup.log());
    assert!(setup.traces().is_empty());

    setup.settings[0].1 = KEEP_ALIVE_SHORT_MS.into();
    let began = Instant::now();
    let agent = setup.start();
    println!("listens again after {:?}", began.elapsed());
    for_all(&agent.client, all, ask);
    let idle = retry(QUIET_WITHIN, || {
        agent.instances().is_empty() && setup.traces().vms.len() <= SHELLS_MAX
    });
    assert!(idle, "{} VMs", setup.traces().vms.len());
    println!(
        "idle: {} shells, agent {} KiB, {} descriptors",
        setup.traces().vms.len(),
        agent.resident_kib(),
        agent.descriptors()
    );
}
