//! Memory that runs out for all VMs of an agent together: none of its requests is answered as if anybody had failed.

mod agent_common;

use std::{fs, thread, time::Duration};

use agent_common::{can_run, metric};
use jiffy_tests::agent::{Agent, Answer, MemoryGroup, Setup, invoke_path, within};
use serde_json::json;

const MIB: u64 = 1 << 20;
const CLIENTS: usize = 10;
/// Each client's.
const REQUESTS: usize = 6;
/// How long idle VMs live, and what they may take to go.
const KEEP_ALIVE_MS: &str = "1000";
const GONE_TIME_MAX: Duration = Duration::from_secs(20);
/// What the agent may take to follow a limit; it looks every five seconds.
const FOLLOWED_TIME_MAX: Duration = Duration::from_secs(20);

/// An agent in a group with so much memory; `None` where groups cannot be made.
fn start(setup: &Setup, limit_bytes: u64) -> Option<(MemoryGroup, Agent)> {
    if !can_run() {
        return None;
    }
    match MemoryGroup::new(limit_bytes) {
        Ok(group) => {
            let agent = setup.start_in_group(&group);
            let image = agent.upload("hoarder");
            let settings = json!({
                "memory_bytes": 128 << 20,
                "max_concurrency": CLIENTS,
                // The kernel looks for memory again and again before it ends a VM, and the host has other work.
                "timeout_ms": 30_000,
            });
            agent.deploy("hoarder", &image, settings).expect(201);
            Some((group, agent))
        }
        Err(error) => {
            jiffy_tests::skip(&format!(
                "no control group with a limit can be made ({error})"
            ));
            None
        }
    }
}

/// Answers to as many requests at a time as there are clients, each of which fills `mib`.
fn storm(agent: &Agent, mib: u32) -> Vec<Answer> {
    thread::scope(|scope| {
        let client = || {
            let event = format!("{mib} 3");
            let answers = (0..REQUESTS).map(|_| agent.invoke("hoarder", &event));
            answers.collect::<Vec<_>>()
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let answers = clients
            .into_iter()
            .map(|client| client.join().expect("a client"));
        answers.flatten().collect()
    })
}

/// All are the function's own.
#[track_caller]
fn check_answers(answers: &[Answer], mib: u32) {
    assert_eq!(answers.len(), CLIENTS * REQUESTS);
    let wrong = answers
        .iter()
        .filter(|answer| answer.status != 200 || answer.text() != mib.to_string());
    let wrong: Vec<_> = wrong.map(|answer| (answer.status, answer.text())).collect();
    assert!(
        wrong.is_empty(),
        "{} of {}: {wrong:?}",
        wrong.len(),
        answers.len()
    );
}

/// No request was recorded as one that the platform failed, the agent serves on, and memory comes back.
#[track_caller]
fn check_after(agent: &Agent, group: &MemoryGroup, before_bytes: u64) {
    let metrics = agent.get("/metrics").expect(200).text();
    let failed = metrics
        .lines()
        .find(|line| line.contains("outcome=\"platform\""));
    assert!(failed.is_none_or(|line| line.ends_with(" 0")), "{failed:?}");
    agent.invoke("hoarder", "1 1").expect(200);
    let gone = within(GONE_TIME_MAX, || agent.instances().is_empty().then_some(()));
    gone.expect("idle VMs end");
    let is_back = || (group.used_bytes() < before_bytes + 32 * MIB).then_some(());
    let used = || {
        format!(
            "{} MiB, {} before",
            group.used_bytes() / MIB,
            before_bytes / MIB
        )
    };
    within(GONE_TIME_MAX, is_back).unwrap_or_else(|| panic!("{}", used()));
}

/// Ten VMs at a time that were small until now, and would have 500 MiB of 300.
#[test]
fn requests_that_write_more_than_the_group_has_are_all_answered() {
    let setup = Setup::new(&[("POOL__KEEP_ALIVE_MS", KEEP_ALIVE_MS)]);
    let Some((group, agent)) = start(&setup, 300 * MIB) else {
        return;
    };
    // What is known of the function from now on.
    agent.invoke("hoarder", "1 1").expect(200);
    let before_bytes = group.used_bytes();
    let answers = storm(&agent, 50);
    check_answers(&answers, 50);
    // Otherwise this test shows nothing.
    assert!(metric(&agent, "jiffy_vms_squeezed_total") > 0);
    check_after(&agent, &group, before_bytes);
    assert!(setup.log().contains("memory ran out"), "{}", setup.log());
}

/// An operator who says that there is more than the group has, and VMs of which all is known.
#[test]
fn a_budget_above_the_groups_limit_costs_no_answer() {
    let settings = [
        ("POOL__KEEP_ALIVE_MS", KEEP_ALIVE_MS),
        ("POOL__MEMORY_BYTES_MAX", "1G"),
    ];
    let setup = Setup::new(&settings);
    let Some((group, agent)) = start(&setup, 300 * MIB) else {
        return;
    };
    let before_bytes = group.used_bytes();
    agent.invoke("hoarder", "50 1").expect(200);
    let budget = metric(&agent, "jiffy_memory_budget_bytes");
    let answers = storm(&agent, 50);
    check_answers(&answers, 50);
    assert!(metric(&agent, "jiffy_vms_squeezed_total") > 0);
    let lowered = metric(&agent, "jiffy_memory_budget_bytes");
    assert!(
        lowered < budget && lowered < 500 * MIB,
        "{lowered} of {budget}"
    );
    check_after(&agent, &group, before_bytes);
}

/// One VM by itself that the group has no room for: the request can be tried again, and neither the function nor the
/// platform has failed.
#[test]
fn a_vm_that_the_group_has_no_room_for_is_told_as_want_of_memory() {
    let setup = Setup::new(&[("POOL__KEEP_ALIVE_MS", KEEP_ALIVE_MS)]);
    let Some((group, agent)) = start(&setup, 110 * MIB) else {
        return;
    };
    let before_bytes = group.used_bytes();
    let answer = agent.invoke("hoarder", "110 1").expect(429);
    assert_eq!(answer.problem(), "busy");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    let text = answer.text();
    assert!(
        text.contains("ran out of memory") && text.contains("110.0 MiB"),
        "{text}"
    );
    // What its VMs computed is on a record, and on that of no failure.
    let recorded = || {
        let name = "jiffy_requests_total{function=\"hoarder\",outcome=\"busy\"}";
        (metric(&agent, name) == 1).then_some(())
    };
    within(GONE_TIME_MAX, recorded).expect("a record");
    check_after(&agent, &group, before_bytes);
}

/// The limit of the group is the operator's to change while the agent runs, in both directions.
#[test]
fn a_changed_limit_of_the_group_is_followed() {
    let setup = Setup::new(&[]);
    let Some((group, agent)) = start(&setup, 300 * MIB) else {
        return;
    };
    let budget = || metric(&agent, "jiffy_memory_budget_bytes");
    let before = budget();
    assert!((100 * MIB..=300 * MIB).contains(&before), "{before}");
    for limit_bytes in [200 * MIB, 400 * MIB] {
        group.set_limit(limit_bytes).expect("another limit");
        let is_followed = || {
            // Three quarters of what it is more or less.
            let wanted = before + limit_bytes * 3 / 4 - 300 * MIB * 3 / 4;
            (budget().abs_diff(wanted) < MIB).then_some(())
        };
        let told = || panic!("{} of {limit_bytes}, {before} before", budget());
        within(FOLLOWED_TIME_MAX, is_followed).unwrap_or_else(told);
    }
    let log = setup.log();
    let lines = log.matches("the memory for VMs is another now").count();
    assert_eq!(lines, 2, "{log}");
    agent.invoke("hoarder", "1 1").expect(200);
}

/// Who is ended when memory runs out: VMs, and nobody on whom others depend.
#[test]
fn the_kernel_ends_vms_before_the_agent_and_the_spawner() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    let image = agent.upload("hoarder");
    agent.deploy("hoarder", &image, json!({})).expect(201);
    agent
        .call("POST", &invoke_path("hoarder"), b"1 1")
        .expect(200);
    let order = |process: u32| -> i32 {
        let text = fs::read_to_string(format!("/proc/{process}/oom_score_adj"));
        text.expect("a process").trim().parse().expect("a number")
    };
    let own = order(std::process::id());
    assert!(own < 1000, "nobody can be told apart here");
    let traces = setup.traces();
    assert!(!traces.vms.is_empty() && !traces.spawners.is_empty());
    assert_eq!(order(agent.process_id()), own);
    for spawner in &traces.spawners {
        assert_eq!(order(*spawner), own);
    }
    // One that is being made may not have come to it yet.
    let instances = agent.instances();
    let vms = instances
        .iter()
        .map(|vm| vm["process_id"].as_u64().expect("a number"));
    for vm in vms {
        assert_eq!(order(u32::try_from(vm).expect("a process")), 1000);
    }
    assert!(!instances.is_empty());
}
