//! Changes at random, against a map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What the engine has to be equal to.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    entries: BTreeMap<String, (Entry, u64)>,
}

/// A condition before the version that it would be of is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    None,
    Absent,
    Present,
    Current,
    Wrong,
}

/// Number of a key, what is wanted of it, and what is put: a length and its byte; `None` removes.
pub(super) type Planned = (u8, Wanted, Option<(u16, u8)>);

#[derive(Clone, Debug)]
pub(super) enum Step {
    Write(Vec<Planned>),
    Forward(u64),
    Reopen,
}

fn key(number: u8) -> String {
    // Some are the beginning of others.
    "k".repeat(usize::from(number) + 1)
}

impl Model {
    pub(super) fn writes(&self, changes: &[Planned], now_ms: u64) -> Vec<Write> {
        let change = |change: &Planned| {
            let (number, wanted, put_with) = *change;
            let key = key(number);
            let version = self.get(&key, now_ms).map_or(0, |entry| entry.version);
            let condition = match wanted {
                Wanted::None => Condition::None,
                Wanted::Absent => Condition::Absent,
                Wanted::Present => Condition::Present,
                Wanted::Current => Condition::Version(version),
                Wanted::Wrong => Condition::Version(version + 1),
            };
            match put_with {
                None => delete(&key),
                Some((bytes, 0)) => put(&key, &vec![number; usize::from(bytes)]),
                Some((bytes, ttl)) => {
                    put(&key, &vec![number; usize::from(bytes)]).expires(ttl.into())
                }
            }
            .when(condition)
        };
        let mut writes: Vec<_> = changes.iter().map(change).collect();
        writes.sort_by(|one, other| one.key.cmp(&other.key));
        writes.dedup_by(|one, other| one.key == other.key);
        writes
    }

    pub(super) fn get(&self, key: &str, now_ms: u64) -> Option<&Entry> {
        let (entry, expires_ms) = self.entries.get(key)?;
        (now_ms < *expires_ms).then_some(entry)
    }

    /// Whether all conditions hold.
    pub(super) fn holds(&self, writes: &[Write], now_ms: u64) -> bool {
        writes.iter().all(|write| {
            let found = self.get(&write.key, now_ms).map(|entry| entry.version);
            match write.condition {
                Condition::None => true,
                Condition::Absent => found.is_none(),
                Condition::Present => found.is_some(),
                Condition::Version(version) => found == Some(version),
            }
        })
    }

    pub(super) fn apply(&mut self, writes: &[Write], written: &[Written], now_ms: u64) {
        for (write, written) in writes.iter().zip(written) {
            let existed = self.get(&write.key, now_ms).is_some();
            assert_eq!(written.existed, existed, "{}", write.key);
            self.entries.remove(&write.key);
            if let Change::Put {
                value,
                metadata,
                ttl,
            } = &write.change
            {
                let ttl_ms = ttl.map(|ttl| u64::try_from(ttl.as_millis()).expect("short"));
                let expires_ms = ttl_ms.map(|ttl_ms| now_ms + ttl_ms);
                let entry = Entry {
                    version: written.version,
                    value: value.clone(),
                    metadata: metadata.clone(),
                    expires_ms,
                };
                let until_ms = expires_ms.unwrap_or(u64::MAX);
                self.entries.insert(write.key.clone(), (entry, until_ms));
            }
        }
    }

    /// All that is there.
    pub(super) fn live(&self, now_ms: u64) -> Vec<(String, Entry)> {
        let live = self
            .entries
            .iter()
            .filter(|(_, (_, until_ms))| now_ms < *until_ms);
        live.map(|(key, (entry, _))| (key.clone(), entry.clone()))
            .collect()
    }
}

/// All that is there, by the engine.
pub(super) fn live(kv: &Kv, store: &str) -> Vec<(String, Entry)> {
    let entry = |key: String| {
        let entry = kv.get(&id(store), &key).expect("reads").expect("listed");
        (key, entry)
    };
    keys(kv, store, "").into_iter().map(entry).collect()
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let wanted = prop_oneof![
        4 => Just(Wanted::None),
        1 => Just(Wanted::Absent),
        1 => Just(Wanted::Present),
        2 => Just(Wanted::Current),
        1 => Just(Wanted::Wrong),
    ];
    let put_with = prop::option::weighted(
        0.8,
        (
            prop_oneof![0..50_u16, 1000..1050_u16, 3000..9000_u16],
            0..40_u8,
        ),
    );
    let changes = prop::collection::vec((0..12_u8, wanted, put_with), 1..6);
    prop_oneof![
        8 => changes.prop_map(Step::Write),
        2 => (1..40_u64).prop_map(Step::Forward),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_engine_is_a_map_with_versions(steps in prop::collection::vec(step(), 1..60)) {
        let (disk, hands) = (Disk::default(), Hands::new());
        let open = || Kv::with_open(disk.open(), Limits::default(), hands.clock());
        let (mut kv, mut model) = (open().expect("opens"), Model::default());
        let mut last = 0;
        for step in steps {
            let now_ms = hands.0.load(SeqCst);
            match step {
                Step::Forward(ms) => hands.forward(ms),
                Step::Reopen => {
                    drop(kv);
                    kv = open().expect("opens");
                }
                Step::Write(changes) => {
                    let writes = model.writes(&changes, now_ms);
                    let outcome = kv.write(id("s"), writes.clone()).wait();
                    prop_assert_eq!(outcome.is_ok(), model.holds(&writes, now_ms));
                    if let Ok(written) = outcome {
                        for written in &written {
                            prop_assert!(written.version > last, "given twice");
                            last = written.version;
                        }
                        model.apply(&writes, &written, now_ms);
                    }
                }
            }
            prop_assert_eq!(live(&kv, "s"), model.live(hands.0.load(SeqCst)));
        }
    }
}
