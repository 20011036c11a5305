//! `call.*`: what a call to its host adds to a request, what sixteen at once do, and what stores take.
//!
//! A guest's clock stands still between its waits, so the host's is read: a request that calls often against one that
//! calls once, by as many calls as they differ. The capabilities are those of the agent, in this process; what a request
//! to an agent has besides is `agent.fresh`'s. Calls that ask servers are made by an agent: `servers`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiffy_abi::frame::ResponseKind;
use jiffy_capabilities::{Capabilities, Config, Egress, Invoker, Version};
use jiffy_client::Instance;
use jiffy_control::{Isolation, Request};
use jiffy_kv::{Change, Condition, Kv, Limits, StoreId, Write, system_clock};
use jiffy_model::{FunctionName, Grants, NamedGrant, TenantName};
use jiffy_queue::FileQueues;
use jiffy_secrets::Secrets;

use super::{
    Fallible, Run,
    floor::{Small, TURN},
    servers,
};
use crate::{
    floor::Exits,
    samples::Samples,
    setup::{Function, LIMIT, RAM_BYTES},
    sides,
};

/// A vCPU that runs to its next exit.
const EXIT: &str = "floor.exit";

/// A change of a store that is durable, without a VM.
const COMMIT: &str = "floor.commit";

const TIMES: usize = 1000;
const WRITES: usize = 100;
/// Rounds of calls by which two requests differ.
pub(super) const ROUNDS: u32 = 8;
/// Calls of a batch: as many as may be in flight.
const BATCH: u32 = jiffy_abi::call::IN_FLIGHT_MAX;
const STORE: &str = "bench";

/// Measures `call.null`, one call after the other; `call.batch`, sixteen at once; `call.kv_get` and `call.kv_put`; and what asks servers.
pub fn run(run: &mut Run) -> Fallible<()> {
    // Its snapshot is recorded without anybody to call.
    let function = Function::new(run, &run.calls, RAM_BYTES, b"null 0 0")?;
    let folder = tempfile::tempdir()?;
    let limits = Limits::default();
    let kv = Arc::new(Kv::open(&folder.path().join("kv"), limits, system_clock())?);
    let near = sides::near();
    let mut vm = instance(&function, &kv)?;
    sides::far(vm.process_id());
    calls(run, &function, &mut vm)?;
    writes(run, &kv, &mut vm)?;
    drop((vm, near));
    servers::measure(run)
}

fn calls(run: &mut Run, function: &Function, vm: &mut Instance) -> Fallible<()> {
    let mut small = Small::start(function.ram_bytes(), function.pages)?;
    let mut vcpu = Exits::new(function.ram_bytes())?;
    let mut exits = Samples::new();
    let [mut one, mut batch, mut get] = [Samples::new(), Samples::new(), Samples::new()];
    round(vm, "put", 1)?;
    let times = run.times(TIMES);
    let turn = times.min(TURN);
    for counts in run.rounds("call.null", times.div_ceil(turn.max(1))) {
        for _ in 0..turn {
            one.push_if(counts, round(vm, "null", 1)?);
            batch.push_if(counts, round(vm, "null", BATCH)?);
            get.push_if(counts, round(vm, "get", 1)?);
        }
        small.measure(turn, counts)?;
        for _ in 0..turn {
            let began = Instant::now();
            vcpu.exit()?;
            exits.push_if(counts, began.elapsed());
        }
    }
    small.tell(run);
    run.found_floor(EXIT, &exits);
    run.found(one.measured("call.null"));
    run.found(batch.measured("call.batch"));
    run.found(get.measured("call.kv_get"));
    Ok(())
}

fn writes(run: &mut Run, kv: &Kv, vm: &mut Instance) -> Fallible<()> {
    let store = StoreId::new(&TenantName::default(), STORE);
    let (mut put, mut commits) = (Samples::new(), Samples::new());
    for counts in run.rounds("call.kv_put", run.times(WRITES)) {
        put.push_if(counts, round(vm, "put", 1)?);
        // As many in a row as a round's calls: a mean of several against one of them would count the disk's slow moments once.
        let began = Instant::now();
        for number in 0..ROUNDS {
            let write = Write {
                key: number.to_string(),
                condition: Condition::None,
                change: Change::Put {
                    value: b"a value of some bytes".to_vec(),
                    metadata: String::new(),
                    ttl: None,
                },
            };
            kv.write(store.clone(), vec![write]).wait()?;
        }
        commits.push_if(counts, began.elapsed() / ROUNDS);
    }
    run.found_floor(COMMIT, &commits);
    run.found(put.measured("call.kv_put"));
    Ok(())
}

/// A VM of the function whose calls are made as an agent makes them.
fn instance(function: &Function, kv: &Arc<Kv>) -> Fallible<Instance> {
    let (spawner, snapshot) = (&function.spawner, &function.snapshot);
    let fresh = Isolation::Fresh;
    let mut vm = Instance::restore(spawner, snapshot, fresh, Some(LIMIT), &[], |_| {})?;
    let mut grants = Grants::default();
    grants.kv.insert(STORE.parse()?, NamedGrant {});
    let queues = FileQueues::in_memory(jiffy_queue::Limits::default(), system_clock())?;
    let config = Config {
        secrets: Arc::new(Secrets::in_memory()?),
        egress: Egress::default(),
        invoker: Invoker::default(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        kv: Arc::clone(kv),
        queues: Arc::new(queues),
    };
    let version = Version {
        function: &"calls".parse::<FunctionName>()?.into(),
        function_name: "calls",
        grants: &grants,
    };
    vm.serve_calls(Capabilities::new(&config)?.prepare(&version) as Arc<_>);
    Ok(vm)
}

/// What one round of so many calls at once adds to a request.
fn round(vm: &mut Instance, what: &str, at_once: u32) -> Fallible<Duration> {
    let few = request(vm, what, 1, at_once)?;
    let many = request(vm, what, 1 + ROUNDS, at_once)?;
    Ok(many.saturating_sub(few) / ROUNDS)
}

/// From a request written to its response read; its VM is ready for the next one before.
fn request(vm: &mut Instance, what: &str, rounds: u32, at_once: u32) -> Fallible<Duration> {
    vm.settle()?;
    let request = Request {
        body: format!("{what} {rounds} {at_once}").into_bytes(),
        ..Request::default()
    };
    let began = Instant::now();
    let response = vm.invoke(&request)?;
    let took = began.elapsed();
    match response.kind {
        ResponseKind::Ok => Ok(took),
        _ => Err(String::from_utf8_lossy(&response.body).into()),
    }
}
