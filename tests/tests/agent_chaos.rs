//! The agent under fire: mixed load whose every answer is checked, while VMs are killed at random, the agent itself is
//! killed and started again, its disk fills up and functions run out of memory. Afterwards no acknowledged deploy is
//! lost, and nothing is left that nobody needs: process, control group, mount, descriptor, file or memory.
//!
//! With `JIFFY_LONG=1` it goes on for half an hour, or for the seconds in `JIFFY_CHAOS_S`:
//!
//! ```text
//! JIFFY_LONG=1 cargo test --release -p jiffy-tests --test agent_chaos -- --nocapture
//! ```
#![expect(
    clippy::print_stdout,
    reason = "a test's harness catches what is printed so, and nothing else"
)]

mod agent_common;
mod agent_load;

use std::{
    env,
    sync::{Arc, atomic::Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use agent_common::{can_run, is_long, processes_of, retry};
use agent_load::{Counts, Load, Random};
use jiffy_tests::agent::{Agent, FileSystem, Setup, Traces, mounts, signal, tree};
use rustix::process::Signal;
use serde_json::Value;

const SHORT: (Duration, u32) = (Duration::from_secs(20), 3);
const LONG: (Duration, u32) = (Duration::from_secs(30 * 60), 10);
const WORKERS: u64 = 4;
/// Room for images, snapshots, logs and usage.
const DISK_BYTES: u64 = 192 << 20;
const KEEP_ALIVE_MS: &str = "1000";
const SHELLS_MAX: usize = 16;
/// Between two VMs that are killed.
const KILL_EVERY: Duration = Duration::from_millis(60);
/// Between two times that the disk is full, and how long it is.
const FULL_EVERY: Duration = Duration::from_secs(4);
const FULL_FOR: Duration = Duration::from_millis(800);
/// What is left of a killed agent is gone by then.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// After the load, all that is unused is gone by then, beside other load.
const QUIET_WITHIN: Duration = Duration::from_secs(20);
/// How long an agent serves before its memory is taken as what it needs.
const WARM_UP: Duration = Duration::from_secs(2);
/// What an agent's memory may grow while it serves on.
const GROWTH_KIB_MAX: u64 = 24 << 10;
/// Descriptors that an agent may have more, with no VM but its shells, than when it was young.
const DESCRIPTORS_GROWTH_MAX: usize = 16;

/// What a life of the agent was like.
#[derive(Debug)]
#[expect(dead_code, reason = "all of it is printed")]
struct Life {
    seconds: u64,
    young_kib: u64,
    old_kib: u64,
    gone_after: Duration,
}

#[test]
fn nothing_is_lost_and_nothing_is_left() {
    if !can_run() {
        return;
    }
    let (duration, kills) = if is_long() { LONG } else { SHORT };
    let seconds = env::var("JIFFY_CHAOS_S")
        .ok()
        .and_then(|text| text.parse().ok());
    let duration = seconds.map_or(duration, Duration::from_secs);
    let mounts_before = mounts();
    let settings = [
        ("POOL__KEEP_ALIVE_MS", KEEP_ALIVE_MS),
        ("POOL__SHELLS_MAX", "16"),
        ("LIMITS__VERSIONS_MAX", "4"),
        ("LIMITS__UNUSED_IMAGE_MS_MAX", "5000"),
        ("LOGS__FILE_BYTES_MAX", "262144"),
        ("LOGS__FUNCTION_BYTES_MAX", "1048576"),
        ("USAGE__FILE_BYTES_MAX", "1048576"),
        ("USAGE__TOTAL_BYTES_MAX", "8388608"),
    ];
    let setup = Setup::new(&settings).with_disk(DISK_BYTES);
    let agent = setup.start();
    let load = Arc::new(Load::deploy(&agent.client));
    let mut threads = vec![];
    for worker in 0..WORKERS {
        let load = Arc::clone(&load);
        threads.push(thread::spawn(move || load.ask_until_done(worker + 1)));
    }
    let deployer = Arc::clone(&load);
    threads.push(thread::spawn(move || deployer.deploy_until_done()));

    let began = Instant::now();
    let mut lives = vec![];
    let mut all_traces = vec![setup.traces()];
    let mut agent = Some(agent);
    let mut killed_vms = 0;
    for life in 0..=kills {
        let current = agent.take().expect("one lives");
        let until = duration * (life + 1) / (kills + 1);
        let (young_kib, killed) = torment(&setup, &current, &load, began, until);
        killed_vms += killed;
        let old_kib = current.resident_kib();
        let seconds = until.as_secs() - (duration * life / (kills + 1)).as_secs();
        if life == kills {
            lives.push(Life {
                seconds,
                young_kib,
                old_kib,
                gone_after: Duration::ZERO,
            });
            agent = Some(current);
            break;
        }
        let traces = setup.traces();
        load.agent_goes();
        current.kill();
        let killed_at = Instant::now();
        let gone = retry(GONE_WITHIN, || setup.traces().is_empty());
        lives.push(Life {
            seconds,
            young_kib,
            old_kib,
            gone_after: killed_at.elapsed(),
        });
        assert!(gone, "{:?} outlive their agent", setup.traces());
        all_traces.push(traces);
        let next = setup.start();
        load.agent_comes(&next.client);
        agent = Some(next);
    }
    load.is_done.store(true, SeqCst);
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("an answer was wrong"));
    let agent = agent.expect("one lives");
    println!("{}", load.counts.lock().expect("not poisoned"));
    println!("VMs killed: {killed_vms}, agents killed: {kills}");
    lives.iter().for_each(|life| println!("{life:?}"));
    load.check_acknowledged(&agent.client);

    rest(&setup, &agent);
    all_traces.push(setup.traces());
    let stopped = agent.stop();
    assert!(stopped.success(), "{}", setup.log());
    let gone = retry(GONE_WITHIN, || {
        setup.traces().is_empty() && all_traces.iter().all(|traces| traces.groups().is_empty())
    });
    let groups: Vec<_> = all_traces.iter().flat_map(Traces::groups).collect();
    assert!(gone, "{:?} {groups:?}", setup.traces());
    assert!(mounts().is_subset(&mounts_before), "{:?}", mounts());
    for life in lives
        .iter()
        .filter(|life| life.seconds >= 2 * WARM_UP.as_secs())
    {
        assert!(life.old_kib <= life.young_kib + GROWTH_KIB_MAX, "{life:?}");
    }
    load.counts.lock().expect("not poisoned").check();
}

/// Kills VMs and fills the disk until it is time. Returns the agent's memory when it was young, and how many VMs died.
fn torment(
    setup: &Setup,
    agent: &Agent,
    load: &Load,
    began: Instant,
    until: Duration,
) -> (u64, u32) {
    let mut random = Random(u64::from(began.elapsed().subsec_nanos()));
    let (mut young_kib, mut killed) = (0, 0);
    let life_began = Instant::now();
    let mut full_since: Option<Instant> = None;
    let mut freed_at = Instant::now();
    while began.elapsed() < until {
        thread::sleep(KILL_EVERY);
        if young_kib == 0 && life_began.elapsed() >= WARM_UP {
            young_kib = agent.resident_kib();
        }
        if let Some(process) = victim(setup, agent, &mut random) {
            killed += u32::from(signal(process, Signal::KILL).is_ok());
        }
        let Some(disk) = &setup.disk else {
            continue;
        };
        match full_since {
            None if freed_at.elapsed() > FULL_EVERY => {
                load.disk_changes();
                disk.fill().expect("a full disk");
                full_since = Some(Instant::now());
            }
            Some(since) if since.elapsed() > FULL_FOR => {
                full_since = None;
                freed_at = Instant::now();
                free(setup, load);
            }
            _ => {}
        }
    }
    // In the long run agents die with a full disk too; there has to be room for the next one to start.
    if full_since.is_some() {
        free(setup, load);
    }
    (young_kib, killed)
}

fn free(setup: &Setup, load: &Load) {
    setup
        .disk
        .as_ref()
        .expect("a disk")
        .free()
        .expect("it was full");
    load.disk_changes();
}

/// A VM that has a function and is there still.
fn victim(setup: &Setup, agent: &Agent, random: &mut Random) -> Option<u32> {
    let list = agent
        .send("GET", "/v1/instances", &[], b"")
        .expect("an answer");
    let list = list.json();
    let mut processes = processes_of(list["instances"].as_array()?);
    // One key each: a comparison must not draw anew.
    processes.sort_by_cached_key(|_| random.next());
    let chosen = *processes.first()?;
    // Its id may be another's by now.
    setup.traces().vms.contains(&chosen).then_some(chosen)
}

/// What is left when nobody asks any more.
fn rest(setup: &Setup, agent: &Agent) {
    let quiet = retry(QUIET_WITHIN, || {
        agent.instances().is_empty() && setup.traces().vms.len() <= SHELLS_MAX
    });
    assert!(
        quiet,
        "{} VMs, {:?}",
        setup.traces().vms.len(),
        agent.instances()
    );
    let data = setup.data();
    let versions: usize = {
        let list = agent.get("/v1/functions").expect(200).json();
        let functions = list["functions"].as_array().expect("a list").clone();
        let count = |function: &Value| {
            let name = function["name"].as_str().expect("a name");
            let versions = agent
                .get(&format!("/v1/functions/{name}/versions"))
                .expect(200)
                .json();
            versions["versions"].as_array().expect("a list").len()
        };
        functions.iter().map(count).sum()
    };
    let snapshots = || {
        tree(&data.join("snapshots"))
            .lines()
            .filter(|line| line.ends_with("/ram"))
            .count()
    };
    // Those of one image and environment are one.
    let tidy = retry(QUIET_WITHIN, || {
        snapshots() <= versions && tree(&data.join("snapshots/tmp")).is_empty()
    });
    println!("{versions} versions, {} snapshots", snapshots());
    assert!(tidy, "{}", tree(&data));
    let shells = setup.traces().vms.len();
    let descriptors = agent.descriptors();
    println!(
        "{descriptors} descriptors with {shells} shells, {} KiB",
        agent.resident_kib()
    );
    // Registry, logs, usage, sockets and the runtime; three for each shell and each open snapshot.
    let expected = 40 + 3 * (shells + versions) + DESCRIPTORS_GROWTH_MAX;
    assert!(
        descriptors <= expected,
        "{descriptors} descriptors, at most {expected} expected"
    );
}

/// Functions that get no memory end their own request, and the disk's end stops deploys only.
#[test]
fn a_full_disk_refuses_deploys_and_serves_requests() {
    fill_and_ask(FileSystem::Ext4, DISK_BYTES / 3);
}

/// mkfs.xfs makes none that is smaller.
#[test]
fn a_full_xfs_refuses_deploys_and_serves_requests() {
    fill_and_ask(FileSystem::Xfs, 320 << 20);
}

/// Nor mkfs.btrfs.
#[test]
fn a_full_btrfs_refuses_deploys_and_serves_requests() {
    fill_and_ask(FileSystem::Btrfs, 128 << 20);
}

/// There, reading a hole of a file takes room, and SIGBUS tells who reads that none is left.
#[test]
fn a_full_tmpfs_refuses_deploys_and_serves_requests() {
    fill_and_ask(FileSystem::Tmpfs, DISK_BYTES / 3);
}

#[test]
fn a_full_overlay_on_tmpfs_refuses_deploys_and_serves_requests() {
    fill_and_ask(FileSystem::OverlayOnTmpfs, DISK_BYTES / 3);
}

#[test]
fn a_full_overlay_on_ext4_refuses_deploys_and_serves_requests() {
    fill_and_ask(FileSystem::OverlayOnExt4, DISK_BYTES / 3);
}

fn fill_and_ask(kind: FileSystem, bytes: u64) {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]).with_file_system(kind, bytes);
    let agent = setup.start();
    let load = Load::deploy(&agent.client);
    let Some(disk) = &setup.disk else {
        return;
    };
    disk.fill().expect("a full disk");
    let refused = load.redeploy(&agent.client).expect("an answer");
    assert_eq!(refused.problem(), "platform", "{}", refused.text());
    let mut counts = Counts::default();
    let mut random = Random(7);
    (0..50).for_each(|_| load.ask(load.epoch(), &agent.client, &mut random, &mut counts));
    assert_eq!((counts.right, counts.platform), (50, 0), "{counts}");
    load.check_acknowledged(&agent.client);
    disk.free().expect("it was full");
    let answer = load.redeploy(&agent.client).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    load.check_acknowledged(&agent.client);
    assert!(agent.stop().success(), "{}", setup.log());
    let agent = setup.start();
    load.check_acknowledged(&agent.client);
}
