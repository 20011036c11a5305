//! What results say of each other, and what SPECIFICATION.md promises of that.
//!
//! Not here: figures, and whether a promise is kept (`report::Promise`).

use crate::{
    report::{Measured, Neighbour, Promise, Ratio},
    suites::peers,
};

/// Promised of `restore.pooled` beside its floor.
const POOLED_AT_MOST: f64 = 1.4;
/// Promised of `invoke.fresh` beside a bare reset and a bare round trip.
const FRESH_AT_MOST: f64 = 1.5;
/// Promised of a call that does nothing beside a bare round trip and a bare exit.
const CALL_AT_MOST: f64 = 2.0;
/// Promised of sixteen calls at once beside one.
const BATCH_AT_MOST: f64 = 2.0;
/// Promised of a read of a store beside a call that does nothing, and of a change beside the same change without a VM.
const KV_AT_MOST: f64 = 1.3;
/// Promised of a request, and of a statement, on a connection that is kept, beside a bare round trip, a bare exit and the same without
/// a VM.
const SERVER_AT_MOST: f64 = 1.5;
/// Promised of HTTP requests of several VMs together, 1/s.
const REQUESTS_AT_LEAST: f64 = 10_000.0;
/// Of `hello` with `std`, KiB that are loaded.
const STD_IMAGE_KIB_MAX: f64 = 450.0;
/// Promised of a fresh and of a cold request to it beside one to the same without.
const STD_FRESH_AT_MOST: f64 = 1.15;
const STD_COLD_AT_MOST: f64 = 1.2;
const AGENT_FRESH_US_MAX: f64 = 150.0;
const AGENT_COLD_US_MAX: f64 = 600.0;
/// Of a waiting `hello`, with kernel memory.
const KIB_PER_VM_MAX: f64 = 900.0;
/// p99 beside 5,000 VMs, as a multiple of p99 beside ten.
const CROWD_AT_MOST: f64 = 2.0;
/// Live VMs at which a crowd is one, and those it is compared with.
const CROWD: f64 = 5000.0;
const FEW: f64 = 10.0;

/// All that can be said of `results`; a large run is also held to what is promised of large numbers.
pub fn of(results: &[Measured], neighbours: &[Neighbour], is_full: bool) -> Vec<Ratio> {
    let p50 = |name: &str| {
        let mut all = results.iter();
        let found = all.find(|result| result.name == name && result.at.is_none());
        found.map(|result| result.p50).filter(|value| *value > 0.0)
    };
    let mut ratios = vec![];
    let mut tell = |name: &str, value: Option<f64>, promise: Option<Promise>| {
        ratios.extend(value.map(|value| Ratio {
            name: name.to_owned(),
            value,
            promise,
        }));
    };
    let over = |above: Option<f64>, below: Option<f64>| Some(above? / below?);

    let restore = p50("floor.pooled_restore");
    let request = p50("floor.reset")
        .zip(p50("floor.roundtrip"))
        .map(|(reset, round_trip)| reset + round_trip);
    let pooled = p50("restore.pooled");
    let fresh = p50("invoke.fresh");
    tell(
        "restore.pooled / floor.pooled_restore",
        over(pooled, restore),
        Some(Promise::AtMost(POOLED_AT_MOST)),
    );
    for name in ["restore.unpooled", "restore.in_process"] {
        let ratio = over(p50(name), restore);
        tell(&format!("{name} / floor.pooled_restore"), ratio, None);
    }
    tell(
        "invoke.fresh / (floor.reset + floor.roundtrip)",
        over(fresh, request),
        Some(Promise::AtMost(FRESH_AT_MOST)),
    );
    tell(
        "invoke.warm / floor.roundtrip",
        over(p50("invoke.warm"), p50("floor.roundtrip")),
        None,
    );
    let exit = p50("floor.roundtrip")
        .zip(p50("floor.exit"))
        .map(|(round_trip, exit)| round_trip + exit);
    tell(
        "call.null / (floor.roundtrip + floor.exit)",
        over(p50("call.null"), exit),
        Some(Promise::AtMost(CALL_AT_MOST)),
    );
    tell(
        "call.batch / call.null",
        over(p50("call.batch"), p50("call.null")),
        Some(Promise::AtMost(BATCH_AT_MOST)),
    );
    tell(
        "call.kv_get / call.null",
        over(p50("call.kv_get"), p50("call.null")),
        Some(Promise::AtMost(KV_AT_MOST)),
    );
    tell(
        "call.kv_put / floor.commit",
        over(p50("call.kv_put"), p50("floor.commit")),
        Some(Promise::AtMost(KV_AT_MOST)),
    );
    for (name, floor) in [("call.http", "floor.http"), ("call.sql", "floor.sql")] {
        let least = exit.zip(p50(floor)).map(|(exit, same)| exit + same);
        tell(
            &format!("{name} / (floor.roundtrip + floor.exit + {floor})"),
            over(p50(name), least),
            Some(Promise::AtMost(SERVER_AT_MOST)),
        );
    }
    tell(
        "call.http_per_s, 1/s",
        p50("call.http_per_s"),
        Some(Promise::AtLeast(REQUESTS_AT_LEAST)),
    );
    tell(
        "std.image_kib, KiB",
        p50("std.image_kib"),
        Some(Promise::AtMost(STD_IMAGE_KIB_MAX)),
    );
    for (what, bound) in [("fresh", STD_FRESH_AT_MOST), ("cold", STD_COLD_AT_MOST)] {
        tell(
            &format!("std.{what} / no_std.{what}"),
            over(p50(&format!("std.{what}")), p50(&format!("no_std.{what}"))),
            Some(Promise::AtMost(bound)),
        );
    }
    for (name, floor, over_floor, bound) in [
        (
            "agent.fresh",
            request,
            "(floor.reset + floor.roundtrip)",
            AGENT_FRESH_US_MAX,
        ),
        (
            "agent.cold",
            restore,
            "floor.pooled_restore",
            AGENT_COLD_US_MAX,
        ),
    ] {
        let promise = Some(Promise::AtMost(bound));
        tell(&format!("{name} p50, µs"), p50(name), promise);
        tell(
            &format!("{name} / {over_floor}"),
            over(p50(name), floor),
            None,
        );
    }
    let if_full = |promise| is_full.then_some(promise);
    tell(
        "density.kib_per_vm, KiB",
        p50("density.kib_per_vm"),
        if_full(Promise::AtMost(KIB_PER_VM_MAX)),
    );
    for name in ["scale.vms.fresh", "scale.vms.cold"] {
        if let Some((most, ratio)) = crowd(results, name) {
            let promise = (most >= CROWD).then_some(Promise::AtMost(CROWD_AT_MOST));
            let name = format!("{name} p99 at {most} live VMs / at {FEW}");
            tell(&name, Some(ratio), promise);
        }
    }
    ratios.extend(peers::ratios(results, neighbours));
    ratios
}

/// Most live VMs of a curve, and its p99 there as a multiple of that at few.
fn crowd(results: &[Measured], name: &str) -> Option<(f64, f64)> {
    let points = results.iter().filter(|result| result.name == name);
    let points = points.filter_map(|result| Some((result.at.as_ref()?.value, result.p99)));
    let points: Vec<_> = points.collect();
    let (_, few) = points
        .iter()
        .find(|(vms, p99)| *vms <= FEW && *vms + 1.0 > FEW && *p99 > 0.0)?;
    let (most, p99) = points.iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    (*most > FEW).then_some((*most, p99 / few))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(name: &str, p50: f64) -> Measured {
        Measured::single(name, "µs", p50)
    }

    fn find(results: &[Measured], is_full: bool, name: &str) -> Option<(f64, Option<bool>)> {
        let ratios = of(results, &[], is_full);
        let ratio = ratios.iter().find(|ratio| ratio.name == name)?;
        let is_kept = ratio.promise.map(|promise| promise.is_kept(ratio.value));
        Some((ratio.value, is_kept))
    }

    #[test]
    fn what_is_missing_is_no_ratio() {
        assert!(of(&[], &[], true).is_empty());
        assert!(of(&[result("restore.pooled", 9.0)], &[], true).is_empty());
        let zero = [
            result("restore.pooled", 9.0),
            result("floor.pooled_restore", 0.0),
        ];
        assert!(of(&zero, &[], true).is_empty());
    }

    #[test]
    fn claims_are_held_to_the_floor() {
        let results = [
            result("floor.pooled_restore", 100.0),
            result("floor.reset", 20.0),
            result("floor.roundtrip", 20.0),
            result("restore.pooled", 150.0),
            result("invoke.fresh", 60.0),
            result("agent.fresh", 149.0),
        ];
        let check = |name: &str, value, is_kept| {
            assert_eq!(
                find(&results, false, name),
                Some((value, is_kept)),
                "{name}"
            );
        };
        check("restore.pooled / floor.pooled_restore", 1.5, Some(false));
        check(
            "invoke.fresh / (floor.reset + floor.roundtrip)",
            1.5,
            Some(true),
        );
        check("agent.fresh p50, µs", 149.0, Some(true));
    }

    #[test]
    fn large_promises_are_for_large_runs() {
        let at = |vms, p99| result("scale.vms.fresh", p99).at("live VMs", vms, "");
        let few = [at(1.0, 5.0), at(10.0, 10.0), at(500.0, 30.0)];
        let name = "scale.vms.fresh p99 at 500 live VMs / at 10";
        assert_eq!(find(&few, false, name), Some((3.0, None)));
        let many = [
            at(10.0, 10.0),
            at(5000.0, 30.0),
            result("density.kib_per_vm", 901.0),
        ];
        let name = "scale.vms.fresh p99 at 5000 live VMs / at 10";
        assert_eq!(find(&many, true, name), Some((3.0, Some(false))));
        let name = "density.kib_per_vm, KiB";
        assert_eq!(find(&many, true, name), Some((901.0, Some(false))));
        assert_eq!(find(&many, false, name), Some((901.0, None)));
    }
}
