//! The plan under any order of events, driven by a model of the driver that checks every promise.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

const OVERHEAD_BYTES: u64 = 100;

fn config() -> PoolConfig {
    PoolConfig {
        shells_min: 1,
        shells_max: 3,
        shells_making_max: 2,
        keep_alive_ms: 100,
        queue_len_max: 4,
        memory_bytes_max: 3 * OVERHEAD_BYTES + 1000,
        vm_overhead_bytes: OVERHEAD_BYTES,
        ram_charged_per_mille: 100,
        shell_retry_ms: 10,
        ..PoolConfig::default()
    }
}

/// Two functions of two versions each, all different.
fn target(names: &[FunctionId; 2], which: usize, reserved: Option<u32>) -> Target<'_> {
    let version = [VersionNumber::FIRST, "2".parse().expect("a number")][which / 2 % 2];
    Target {
        function: &names[which % 2],
        version,
        snapshot: Digest::of(&[u8::try_from(which).expect("small")]),
        concurrency_max: [4, 2, 3, 4][which % 4],
        reserved: reserved.filter(|_| which.is_multiple_of(2)),
        working_set: &[],
        ram_bytes: [1000, 2000, 1000, 500][which % 4],
    }
}

fn names() -> [FunctionId; 2] {
    ["one", "two"].map(|name| name.parse().expect("a name"))
}

/// What happens. Numbers choose among what is there.
#[derive(Clone, Debug)]
enum Op {
    Acquire(usize),
    GiveUp(usize),
    Hurry(usize),
    Respond(usize),
    Settle(usize, Option<u64>),
    Die(usize),
    /// One that has written so much is ended for want of memory.
    Squeeze(usize, u64),
    ShellMade,
    ShellFailed,
    Tick(u64),
    Forget(usize, bool),
    KeepReady(usize, u32),
    Reserve(Option<u32>),
    NewSnapshot,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..4_usize).prop_map(Op::Acquire),
        1 => any::<usize>().prop_map(Op::GiveUp),
        2 => any::<usize>().prop_map(Op::Hurry),
        5 => any::<usize>().prop_map(Op::Respond),
        5 => (any::<usize>(), prop::option::of(0..150_u64)).prop_map(|(at, bytes)| Op::Settle(at, bytes)),
        1 => any::<usize>().prop_map(Op::Die),
        1 => (any::<usize>(), 0..150_u64).prop_map(|(at, bytes)| Op::Squeeze(at, bytes)),
        6 => Just(Op::ShellMade),
        1 => Just(Op::ShellFailed),
        2 => (0..200_u64).prop_map(Op::Tick),
        1 => (0..4_usize, any::<bool>()).prop_map(|(which, all)| Op::Forget(which, all)),
        1 => (0..4_usize, 0..3_u32).prop_map(|(which, vms)| Op::KeepReady(which, vms)),
        1 => prop::option::of(1..4_u32).prop_map(Op::Reserve),
        1 => Just(Op::NewSnapshot),
    ]
}

/// What the driver holds.
struct Model {
    plan: Plan<usize>,
    names: [FunctionId; 2],
    now: Moment,
    reserved: Option<u32>,
    snapshot: u8,
    /// Waiting requests and what they are for, in the order of their arrival.
    waiting: Vec<(WaiterId, usize)>,
    busy: Vec<VmId>,
    settling: Vec<VmId>,
    idle: HashSet<VmId>,
    /// What a VM was started for: its version and its snapshot.
    versions: HashMap<VmId, (usize, u8)>,
    making: usize,
    ready: usize,
    has_grown: bool,
}

impl Model {
    fn new(config: PoolConfig) -> Self {
        Self {
            plan: Plan::new(config),
            names: names(),
            now: Moment::ZERO,
            reserved: None,
            snapshot: 0,
            waiting: vec![],
            busy: vec![],
            settling: vec![],
            idle: HashSet::new(),
            versions: HashMap::new(),
            making: 0,
            ready: 0,
            has_grown: false,
        }
    }

    fn target<'a>(
        names: &'a [FunctionId; 2],
        which: usize,
        reserved: Option<u32>,
        snapshot: u8,
    ) -> Target<'a> {
        let mut target = target(names, which, reserved);
        if which == 0 {
            target.snapshot.0[0] = snapshot;
        }
        target
    }

    fn snapshot_of(&self, which: usize) -> u8 {
        if which == 0 { self.snapshot } else { 0 }
    }

    fn acquire(&mut self, which: usize) {
        let target = Self::target(&self.names, which, self.reserved, self.snapshot);
        let answer = self.plan.acquire(self.now, target, &which);
        // The same event may answer those that came before.
        let actions = self.plan.take_actions();
        self.carry_out(actions);
        let queued = self.waiting.iter().any(|(_, other)| *other == which);
        match answer {
            Answer::Idle(vm) => {
                assert!(!queued, "an idle VM beside a queue");
                assert!(self.idle.remove(&vm), "not idle");
                assert_eq!(self.versions[&vm], (which, self.snapshot_of(which)));
                self.busy.push(vm);
            }
            Answer::Restore(vm) => {
                assert!(!queued, "served before its time");
                self.restore(vm, which);
                self.busy.push(vm);
            }
            Answer::Wait(waiter) | Answer::WaitSettling(waiter) => {
                self.waiting.push((waiter, which));
            }
            Answer::Refused(_) => {}
        }
    }

    fn restore(&mut self, vm: VmId, which: usize) {
        assert!(self.ready > 0, "no shell");
        self.ready -= 1;
        assert_eq!(self.plan.data(vm), Some(&which));
        let is_new = self
            .versions
            .insert(vm, (which, self.snapshot_of(which)))
            .is_none();
        assert!(is_new, "restored twice");
        self.plan.restored(vm, 1);
    }

    /// The request is the first that waits for its version.
    fn answered(&mut self, waiter: WaiterId) -> usize {
        let at = self.waiting.iter().position(|(other, _)| *other == waiter);
        let (_, which) = self.waiting.remove(at.expect("answered once"));
        let is_first = self
            .waiting
            .iter()
            .all(|(other, version)| *version != which || *other > waiter);
        assert!(is_first, "not in order");
        which
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Restore {
                    vm,
                    waiter: Some(waiter),
                } => {
                    let which = self.answered(waiter);
                    self.restore(vm, which);
                    self.busy.push(vm);
                }
                Action::Restore { vm, waiter: None } => {
                    let which = *self.plan.data(vm).expect("its version");
                    self.restore(vm, which);
                    self.settling.push(vm);
                }
                Action::Give { vm, waiter } => {
                    let which = self.answered(waiter);
                    assert!(self.idle.remove(&vm), "given, but not idle");
                    assert_eq!(self.versions[&vm].0, which);
                    self.busy.push(vm);
                }
                Action::Refuse { waiter, .. } => {
                    self.answered(waiter);
                }
                Action::End(vm) => assert!(self.idle.remove(&vm), "ended, but not idle"),
                Action::MakeShell { .. } => self.making += 1,
                Action::EndShell => self.ready -= 1,
            }
        }
    }

    fn step(&mut self, op: Op) {
        let now = self.now;
        match op {
            Op::Acquire(which) => return self.acquire(which),
            Op::GiveUp(at) if !self.waiting.is_empty() => {
                let (waiter, _) = self.waiting.remove(at % self.waiting.len());
                assert!(self.plan.give_up(now, waiter).is_some());
                assert!(self.plan.give_up(now, waiter).is_none());
            }
            Op::Hurry(at) if !self.waiting.is_empty() => {
                let (waiter, _) = self.waiting[at % self.waiting.len()];
                self.plan.hurry(now, waiter);
            }
            Op::Respond(at) if !self.busy.is_empty() => {
                let vm = self.busy.remove(at % self.busy.len());
                self.plan.settling(now, vm);
                self.settling.push(vm);
            }
            Op::Settle(at, resident_bytes) if !self.settling.is_empty() => {
                let vm = self.settling.remove(at % self.settling.len());
                self.has_grown |= resident_bytes.is_some();
                self.idle.insert(vm);
                self.plan.settled(now, vm, resident_bytes);
            }
            Op::Squeeze(at, bytes) if !self.busy.is_empty() || !self.settling.is_empty() => {
                let vm = self.take(at);
                // Others of its snapshot are charged as much from now on.
                self.has_grown = true;
                let before_bytes = self.plan.bytes_max();
                self.plan.squeezed(now, vm, bytes);
                assert!(
                    self.plan.bytes_max() <= before_bytes,
                    "more memory after it ran out"
                );
                assert!(!self.plan.squeezed(now, vm, bytes), "ended twice");
            }
            Op::Die(at) if !self.busy.is_empty() || !self.settling.is_empty() => {
                let vm = self.take(at);
                self.plan.gone(now, vm);
                self.plan.gone(now, vm);
            }
            Op::ShellMade if self.making > 0 => {
                self.making -= 1;
                self.ready += 1;
                self.plan.shell_made(now);
            }
            Op::ShellFailed if self.making > 0 => {
                self.making -= 1;
                if let Some(waiter) = self.plan.shell_failed(now) {
                    self.answered(waiter);
                }
            }
            Op::Tick(ms) => {
                self.now += Duration::from_millis(ms);
                self.plan.tick(self.now);
            }
            Op::Forget(which, all) => {
                let target = target(&self.names, which, None);
                let version = (!all).then_some(target.version);
                self.plan.forget(now, target.function, version);
            }
            Op::KeepReady(which, vms) => {
                let target = Self::target(&self.names, which, self.reserved, self.snapshot);
                self.plan.keep_ready(now, target, &which, vms);
            }
            Op::Reserve(reserved) => self.reserved = reserved,
            Op::NewSnapshot => self.snapshot = self.snapshot.wrapping_add(1),
            _ => {}
        }
        let actions = self.plan.take_actions();
        self.carry_out(actions);
    }

    /// A VM that is busy or settles.
    fn take(&mut self, at: usize) -> VmId {
        let at = at % (self.busy.len() + self.settling.len());
        match at.checked_sub(self.busy.len()) {
            None => self.busy.remove(at),
            Some(at) => self.settling.remove(at),
        }
    }

    fn check(&self, reserved_max: Option<u32>) {
        let (plan, stats) = (&self.plan, self.plan.stats());
        assert_eq!(stats.vms_busy, self.busy.len());
        assert_eq!(stats.vms_settling, self.settling.len());
        assert_eq!(stats.vms_idle, self.idle.len());
        assert_eq!(stats.requests_waiting, self.waiting.len());
        assert_eq!(
            (stats.shells_ready, stats.shells_making),
            (self.ready, self.making)
        );
        assert_eq!(plan.vms().count(), plan.vms.len(), "a VM without a version");
        let charged_bytes: u64 = plan.vms.values().map(|vm| vm.charge_bytes).sum();
        assert_eq!(charged_bytes, stats.memory_charged_bytes);
        let is_within = charged_bytes <= stats.memory_bytes_max;
        assert!(
            is_within || (self.has_grown && self.idle.is_empty()),
            "too much memory"
        );
        assert!(self.making <= plan.config.shells_making_max as usize);
        assert!(self.ready <= plan.config.shells_max as usize);
        assert!(
            self.ready == 0 || plan.shells.line.is_empty(),
            "a shell beside who waits for one"
        );
        let starting = plan
            .vms
            .values()
            .filter(|vm| vm.state == VmState::Starting)
            .count();
        assert_eq!(starting, plan.shells.line.len());
        for (id, group) in &plan.groups {
            assert!(group.vms <= group.concurrency_max);
            let settling = plan
                .vms
                .values()
                .filter(|vm| vm.group == *id && vm.state == VmState::Settling);
            assert_eq!(group.settling as usize, settling.count());
            assert!(
                group.patient.len() <= group.settling as usize,
                "more count on VMs that settle than there are"
            );
            assert!(
                group
                    .patient
                    .iter()
                    .all(|waiter| group.queue.contains(waiter)),
                "patient, and not in the queue"
            );
            assert!(
                group.idle.is_empty() || group.queue.is_empty(),
                "idle beside a queue"
            );
            assert!(
                group.queue.is_empty()
                    || group.vms > 0
                    || group.in_line
                    || plan.functions[&group.function].vms > 0,
                "nobody will serve the queue"
            );
            assert!(
                group.vms > 0 || !group.queue.is_empty() || group.min_ready > 0,
                "an empty group"
            );
        }
        for function in plan.functions.values() {
            assert!(function.waiting <= plan.config.queue_len_max);
            let vms: u32 = function.groups.values().map(|id| plan.groups[id].vms).sum();
            assert_eq!(vms, function.vms);
            if let Some(max) = reserved_max {
                let name =
                    &plan.groups[function.groups.first_key_value().expect("a group").1].function;
                assert!(name != &self.names[0] || vms <= max, "more than reserved");
            }
        }
    }

    /// Everything that is under way comes to its end: nobody is left waiting, nothing is left over.
    fn finish(&mut self) {
        self.reserved = None;
        for _ in 0..200 {
            self.step(Op::ShellMade);
            self.step(Op::Respond(0));
            self.step(Op::Settle(0, None));
        }
        // A lowered limit on its own serves nobody: those give up when their time is over.
        while !self.waiting.is_empty() {
            self.step(Op::GiveUp(0));
        }
        for _ in 0..50 {
            self.step(Op::ShellMade);
            self.step(Op::Settle(0, None));
        }
        assert!(self.busy.is_empty() && self.settling.is_empty());
        self.plan.close(self.now, true);
        let actions = self.plan.take_actions();
        self.carry_out(actions);
        for _ in 0..50 {
            self.step(Op::ShellMade);
        }
        assert!(self.plan.is_quiet());
        assert!(
            self.plan.groups.is_empty()
                && self.plan.functions.is_empty()
                && self.plan.vms.is_empty()
        );
        assert_eq!(
            (self.plan.charged_bytes, self.plan.idle_bytes, self.ready),
            (0, 0, 0)
        );
        assert!(self.plan.waiters.is_empty() && self.plan.line.is_empty());
    }
}

proptest! {
    #[test]
    fn any_order_of_events_keeps_every_promise(ops in prop::collection::vec(op(), 1..150)) {
        let mut model = Model::new(config());
        for op in ops {
            model.step(op);
            model.check(None);
        }
        model.finish();
    }

    #[test]
    fn a_reserved_limit_holds_over_all_versions(ops in prop::collection::vec(op(), 1..150), max in 1..4_u32) {
        let mut model = Model::new(config());
        model.reserved = Some(max);
        for op in ops.into_iter().filter(|op| !matches!(op, Op::Reserve(_))) {
            model.step(op);
            model.check(Some(max));
        }
        model.finish();
    }

    /// With no limit in the way but time, everyone who waits is served.
    #[test]
    fn who_waits_is_served(order in prop::collection::vec((0..4_usize, 0..3_usize), 1..60)) {
        let mut model = Model::new(PoolConfig { queue_len_max: 100, ..config() });
        for (which, steps) in order {
            model.acquire(which);
            for _ in 0..steps {
                model.step(Op::ShellMade);
                model.step(Op::Respond(0));
                model.step(Op::Settle(0, None));
            }
            model.check(None);
        }
        for _ in 0..200 {
            model.step(Op::ShellMade);
            model.step(Op::Respond(0));
            model.step(Op::Settle(0, None));
        }
        prop_assert!(model.waiting.is_empty());
    }
}

fn serve_all(model: &mut Model) {
    for _ in 0..10 {
        model.step(Op::ShellMade);
    }
    for _ in 0..20 {
        model.step(Op::ShellMade);
        model.step(Op::Respond(0));
        model.step(Op::Settle(0, None));
    }
}

#[test]
fn the_warmest_is_used_and_the_others_expire() {
    let mut model = Model::new(config());
    model.acquire(0);
    model.acquire(0);
    serve_all(&mut model);
    assert_eq!(model.idle.len(), 2);
    for _ in 0..3 {
        model.step(Op::Tick(50));
        model.acquire(0);
        serve_all(&mut model);
    }
    assert_eq!(model.idle.len(), 1);
    model.step(Op::Tick(100));
    assert_eq!((model.idle.len(), model.plan.groups.len()), (0, 0));
}

#[test]
fn without_keep_alive_a_vm_serves_who_waits_and_ends() {
    let mut model = Model::new(PoolConfig {
        keep_alive_ms: 0,
        ..config()
    });
    model.acquire(0);
    serve_all(&mut model);
    assert_eq!((model.idle.len(), model.plan.groups.len()), (0, 0));
    model.step(Op::KeepReady(0, 1));
    model.acquire(0);
    model.acquire(0);
    serve_all(&mut model);
    assert_eq!(model.idle.len(), 1);
}

#[test]
fn what_is_kept_ready_neither_expires_nor_is_missing_for_long() {
    let mut model = Model::new(config());
    model.step(Op::KeepReady(0, 2));
    serve_all(&mut model);
    assert_eq!(model.idle.len(), 2);
    model.step(Op::Tick(500));
    assert_eq!(model.idle.len(), 2);
    model.acquire(0);
    model.step(Op::Die(0));
    model.step(Op::Tick(500));
    serve_all(&mut model);
    assert_eq!(model.idle.len(), 2);
    model.step(Op::Forget(0, false));
    assert_eq!(model.idle.len(), 0);
}

#[test]
fn memory_is_made_by_ending_what_was_unused_for_longest() {
    // Five VMs of 200 bytes fit.
    let mut model = Model::new(config());
    for which in [0, 0, 0, 0] {
        model.acquire(which);
    }
    serve_all(&mut model);
    model.acquire(2);
    serve_all(&mut model);
    let oldest = *model.idle.iter().min().expect("idle VMs");
    assert_eq!(model.idle.len(), 5);
    model.acquire(2);
    model.acquire(2);
    serve_all(&mut model);
    assert_eq!(model.idle.len(), 5);
    assert!(!model.idle.contains(&oldest), "the oldest is still there");
    assert_eq!(model.plan.stats().vms_evicted, 1);
}

#[test]
fn a_busy_function_does_not_keep_another_from_memory() {
    let mut model = Model::new(PoolConfig {
        memory_bytes_max: 3 * OVERHEAD_BYTES + 800,
        queue_len_max: 100,
        ..config()
    });
    for _ in 0..10 {
        model.acquire(0);
    }
    for _ in 0..4 {
        model.step(Op::ShellMade);
    }
    assert_eq!(model.busy.len(), 4);
    model.acquire(3);
    for _ in 0..2 {
        model.step(Op::Respond(0));
        model.step(Op::Settle(0, None));
        model.step(Op::ShellMade);
    }
    let is_served = model.waiting.iter().all(|(_, which)| *which != 3);
    assert!(is_served, "waits behind the queue of another function");
}

#[test]
fn shells_follow_the_rate_of_cold_starts() {
    let mut model = Model::new(config());
    model.step(Op::Tick(0));
    while model.making > 0 {
        model.step(Op::ShellMade);
    }
    assert_eq!(model.ready, 1);
    for which in [0, 1, 2] {
        model.acquire(which);
        model.step(Op::ShellMade);
        model.step(Op::ShellMade);
    }
    serve_all(&mut model);
    assert_eq!(model.ready, 3);
    for _ in 0..40 {
        model.step(Op::Tick(1000));
    }
    assert_eq!(model.ready, 1);
}

#[test]
fn a_shell_that_fails_refuses_one_request_and_no_hot_loop_follows() {
    let mut model = Model::new(config());
    model.acquire(0);
    model.acquire(0);
    assert_eq!(model.making, 2);
    model.step(Op::ShellFailed);
    assert_eq!((model.waiting.len(), model.making), (1, 1));
    model.step(Op::ShellFailed);
    assert_eq!((model.waiting.len(), model.making), (0, 0));
    model.step(Op::Tick(5));
    assert_eq!(model.making, 0);
    model.step(Op::Tick(5));
    assert_eq!(model.making, 1);
}

#[test]
fn what_can_never_be_is_refused_at_once() {
    let names = names();
    let mut plan = Plan::new(config());
    let huge = Target {
        ram_bytes: 1 << 30,
        ..target(&names, 1, None)
    };
    assert_eq!(
        plan.acquire(Moment::ZERO, huge, &()),
        Answer::Refused(Reason::Memory)
    );
    let none = target(&names, 0, Some(0));
    assert_eq!(
        plan.acquire(Moment::ZERO, none, &()),
        Answer::Refused(Reason::Busy)
    );
    plan.close(Moment::ZERO, false);
    assert_eq!(
        plan.acquire(Moment::ZERO, none, &()),
        Answer::Refused(Reason::ShuttingDown)
    );
    assert!(plan.groups.is_empty() && plan.functions.is_empty());
}

/// A response, and at once the next request: the VM that settles is there sooner than another one.
#[test]
fn who_comes_while_a_vm_settles_waits_for_it_a_moment() {
    let mut model = Model::new(config());
    model.acquire(0);
    for _ in 0..3 {
        model.step(Op::ShellMade);
    }
    model.step(Op::Respond(0));
    model.acquire(0);
    assert_eq!((model.waiting.len(), model.busy.len()), (1, 0));
    // A second one has nothing to count on.
    model.acquire(0);
    assert_eq!((model.waiting.len(), model.busy.len()), (1, 1));
    model.step(Op::Settle(0, None));
    assert_eq!((model.waiting.len(), model.busy.len()), (0, 2));
    assert_eq!(model.plan.stats().vms_started, 2);
    // One that dies instead, and one that takes too long: another is started.
    model.step(Op::Respond(0));
    model.acquire(0);
    model.step(Op::Die(1));
    serve_shells(&mut model);
    assert_eq!(
        (model.waiting.len(), model.plan.stats().vms_started),
        (0, 3)
    );
    model.step(Op::Respond(0));
    model.acquire(0);
    model.step(Op::Hurry(0));
    serve_shells(&mut model);
    assert_eq!(
        (model.waiting.len(), model.plan.stats().vms_started),
        (0, 4)
    );
}

/// Waiting is worth it only if it is short.
#[test]
fn a_vm_that_settles_slowly_is_not_waited_for() {
    let mut model = Model::new(config());
    model.acquire(0);
    serve_shells(&mut model);
    model.step(Op::Respond(0));
    model.step(Op::Tick(2));
    model.step(Op::Settle(0, None));
    model.acquire(0);
    model.step(Op::Respond(0));
    model.acquire(0);
    serve_shells(&mut model);
    assert_eq!(
        (model.waiting.len(), model.plan.stats().vms_started),
        (0, 2)
    );
}

fn serve_shells(model: &mut Model) {
    for _ in 0..5 {
        model.step(Op::ShellMade);
    }
}

/// One wrote ten times what it was charged, and so may those beside it: what comes then waits, and is served by and by.
#[test]
fn a_vm_that_is_ended_for_want_of_memory_teaches_what_the_others_take() {
    let mut model = Model::new(PoolConfig {
        queue_len_max: 100,
        ram_charged_per_mille: 10,
        ..config()
    });
    for _ in 0..3 {
        model.acquire(0);
    }
    serve_shells(&mut model);
    assert_eq!((model.busy.len(), model.plan.charged_bytes), (3, 330));
    model.step(Op::Squeeze(0, 500));
    // Two are left, and charged as the third was: more than there is.
    let stats = model.plan.stats();
    assert_eq!(
        (stats.vms_squeezed, stats.memory_charged_bytes),
        (1, 2 * 600)
    );
    assert_eq!(stats.memory_bytes_max, 1000);
    model.acquire(0);
    serve_shells(&mut model);
    assert_eq!((model.busy.len(), model.waiting.len()), (2, 1));
    serve_all(&mut model);
    assert_eq!((model.busy.len(), model.waiting.len()), (0, 0));
}

/// If all of what they write is known and charged, there is less memory than was believed: idle VMs give theirs back, fewer run,
/// and after a while more is tried again.
#[test]
fn where_memory_runs_out_less_is_believed_in_for_a_while() {
    let mut model = Model::new(config());
    for which in [0, 1, 3] {
        model.acquire(which);
    }
    serve_shells(&mut model);
    model.step(Op::Respond(2));
    model.step(Op::Settle(0, None));
    let budget = |model: &Model| model.plan.stats().memory_bytes_max;
    assert_eq!((model.idle.len(), budget(&model)), (1, 1000));
    model.step(Op::Squeeze(0, 0));
    assert_eq!((model.idle.len(), model.busy.len()), (0, 1));
    let lowered = budget(&model);
    assert!(lowered < model.plan.charged_bytes, "{lowered}");
    // Another waits until the first is done, and then runs, by itself.
    model.acquire(0);
    serve_shells(&mut model);
    assert_eq!((model.busy.len(), model.waiting.len()), (1, 1));
    model.step(Op::Respond(0));
    model.step(Op::Settle(0, None));
    serve_shells(&mut model);
    assert_eq!((model.busy.len(), model.waiting.len()), (1, 0));
    model.step(Op::Tick(9_000));
    assert_eq!(budget(&model), lowered);
    model.step(Op::Tick(31_000));
    assert!((500..1000).contains(&budget(&model)), "{}", budget(&model));
    model.step(Op::Tick(60_000));
    assert_eq!(budget(&model), 1000);
    // Whoever gives it more need not wait for that.
    model.step(Op::Squeeze(0, 0));
    assert_eq!(budget(&model), 0);
    let more_bytes = model.plan.config.memory_bytes_max + 1;
    model.plan.set_memory(model.now, more_bytes);
    assert_eq!(budget(&model), 1001);
}

/// What the first request wrote is kept beside the snapshot, so it is known after a restart too.
#[test]
fn a_working_set_says_what_a_vm_is_charged() {
    const PAGE_BYTES: u64 = 4096;
    let names = names();
    let memory_bytes_max = 3 * OVERHEAD_BYTES + 100 * PAGE_BYTES;
    let mut plan = Plan::new(PoolConfig {
        memory_bytes_max,
        ram_charged_per_mille: 1000,
        ..config()
    });
    let runs = [(0, 3), (10, 4)].map(|(first_page, pages)| PageRun { first_page, pages });
    let known = Target {
        working_set: &runs,
        ram_bytes: 50 * PAGE_BYTES,
        ..target(&names, 0, None)
    };
    plan.acquire(Moment::ZERO, known, &());
    assert_eq!(plan.charged_bytes, OVERHEAD_BYTES + 7 * PAGE_BYTES);
    let mut unknown = known;
    unknown.working_set = &[];
    unknown.snapshot = Digest::of(b"another");
    plan.acquire(Moment::ZERO, unknown, &());
    let second = OVERHEAD_BYTES + 50 * PAGE_BYTES / 1000 * 1000;
    assert_eq!(plan.charged_bytes, OVERHEAD_BYTES + 7 * PAGE_BYTES + second);
}
