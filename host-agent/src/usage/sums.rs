//! Sums per function over time: by the minute for two hours, by the hour before. Pure.

use std::collections::{BTreeMap, HashMap};

use jiffy_model::Outcome;
use serde::{Deserialize, Serialize};

use super::{MIB, UsageRecord};
use crate::{model::FunctionId, pool::Start};

const MINUTE_MS: u64 = 60 * 1000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// How long sums are kept by the minute.
const MINUTES_KEPT_MS: u64 = 2 * HOUR_MS;

macro_rules! sums {
    ($($(#[$doc:meta])* $of_record:ident),*) => {
        /// What a number of requests took together. All sums saturate.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        pub struct Sums {
            /// Requests.
            pub requests: u64,
            /// Requests by how they ended.
            #[cfg_attr(test, schemars(with = "BTreeMap<String, u64>"))]
            pub outcomes: BTreeMap<Outcome, u64>,
            /// Requests by how they came to their VM.
            #[cfg_attr(test, schemars(with = "BTreeMap<String, u64>"))]
            pub starts: BTreeMap<Start, u64>,
            $(
                $(#[$doc])*
                #[serde(default)]
                #[cfg_attr(test, schemars(!default))]
                pub $of_record: u64,
            )*
            /// RAM of the VMs times `run_us`: MiB microseconds.
            pub memory_mib_us: u64,
        }

        impl From<&UsageRecord> for Sums {
            fn from(record: &UsageRecord) -> Self {
                let mib = record.memory_bytes.div_ceil(MIB);
                Self {
                    requests: 1,
                    outcomes: BTreeMap::from([(record.outcome, 1)]),
                    starts: BTreeMap::from([(record.start, 1)]),
                    $($of_record: record.$of_record,)*
                    memory_mib_us: record.run_us.saturating_mul(mib),
                }
            }
        }

        impl Sums {
            /// Adds `other`.
            pub fn add(&mut self, other: &Self) {
                add(&mut self.requests, other.requests);
                add_each(&mut self.outcomes, &other.outcomes);
                add_each(&mut self.starts, &other.starts);
                $(add(&mut self.$of_record, other.$of_record);)*
                add(&mut self.memory_mib_us, other.memory_mib_us);
            }
        }
    };
}

// Each is what it is of one request in `UsageRecord`.
sums! {
    /// Time they waited for a VM, microseconds.
    queue_us,
    /// Time that restoring snapshots took, a part of `run_us`, microseconds.
    restore_us,
    /// Time from their hand-over to a VM to the end of the response, microseconds.
    run_us,
    /// Time from their arrival to the end of the response, microseconds.
    wall_us,
    /// CPU time of their VMs, microseconds, with restoring and resetting.
    cpu_us,
    /// Time that resetting VMs after them took, microseconds.
    reset_us,
    /// Pages that they wrote.
    pages_written,
    /// Exits of their VMs.
    exits,
    /// Bytes of the requests.
    bytes_in,
    /// Bytes of the responses.
    bytes_out,
    /// Calls that they made to the host.
    calls,
    /// Bytes of their calls.
    call_bytes,
    /// Bytes of the replies to them.
    reply_bytes,
    /// Time in which one call or more had no reply, microseconds.
    calls_us
}

fn add(sum: &mut u64, added: u64) {
    *sum = sum.saturating_add(added);
}

fn add_each<K: Copy + Ord>(sums: &mut BTreeMap<K, u64>, added: &BTreeMap<K, u64>) {
    for (key, added) in added {
        add(sums.entry(*key).or_default(), *added);
    }
}

/// What one function used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Usage"))]
pub struct FunctionUsage {
    /// The function.
    #[cfg_attr(test, schemars(with = "jiffy_model::FunctionName"))]
    pub function: FunctionId,
    /// Its requests.
    #[serde(flatten)]
    pub sums: Sums,
}

/// Sums of one function over one minute or hour, as in a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Bucket {
    start_ms: u64,
    width_ms: u64,
    function: FunctionId,
    sums: Sums,
}

type Slots = BTreeMap<u64, HashMap<FunctionId, Sums>>;

/// Sums by function and time.
#[derive(Debug)]
pub(super) struct Timeline {
    /// By their start.
    minutes: Slots,
    /// By their start.
    hours: Slots,
    /// Sums in both.
    len: usize,
    len_max: usize,
}

impl Timeline {
    pub(super) fn new(len_max: usize) -> Self {
        Self {
            minutes: Slots::new(),
            hours: Slots::new(),
            len: 0,
            len_max,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn add(&mut self, record: &UsageRecord) {
        let minute_ms = record.ts_ms - record.ts_ms % MINUTE_MS;
        let is_new = !self.minutes.contains_key(&minute_ms);
        self.len += put(
            &mut self.minutes,
            minute_ms,
            &record.function,
            &record.into(),
        );
        if is_new {
            self.fold();
        }
        self.shrink();
    }

    pub(super) fn restore(&mut self, bucket: Bucket) {
        let slots = if bucket.width_ms == MINUTE_MS {
            &mut self.minutes
        } else {
            &mut self.hours
        };
        self.len += put(slots, bucket.start_ms, &bucket.function, &bucket.sums);
        self.shrink();
    }

    pub(super) fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let slots = [(MINUTE_MS, &self.minutes), (HOUR_MS, &self.hours)];
        slots.into_iter().flat_map(|(width_ms, slots)| {
            slots.iter().flat_map(move |(start_ms, functions)| {
                functions.iter().map(move |(function, sums)| Bucket {
                    start_ms: *start_ms,
                    width_ms,
                    function: function.clone(),
                    sums: sums.clone(),
                })
            })
        })
    }

    pub(super) fn summary(
        &self,
        function: Option<&FunctionId>,
        since_ms: u64,
    ) -> Vec<FunctionUsage> {
        let hours = self.hours.range(since_ms - since_ms % HOUR_MS..);
        let minutes = self.minutes.range(since_ms - since_ms % MINUTE_MS..);
        let mut all = BTreeMap::<&FunctionId, Sums>::new();
        for (_, functions) in hours.chain(minutes) {
            match function {
                Some(function) => {
                    if let Some((function, sums)) = functions.get_key_value(function) {
                        all.entry(function).or_default().add(sums);
                    }
                }
                None => {
                    for (function, sums) in functions {
                        all.entry(function).or_default().add(sums);
                    }
                }
            }
        }
        let usage = |(function, sums): (&FunctionId, Sums)| FunctionUsage {
            function: function.clone(),
            sums,
        };
        all.into_iter().map(usage).collect()
    }

    /// Turns minutes that are old into hours. Old is measured from the newest minute, so that no
    /// clock is needed.
    fn fold(&mut self) {
        let newest_ms = self.minutes.keys().next_back().copied().unwrap_or_default();
        let kept_ms = newest_ms.saturating_sub(MINUTES_KEPT_MS);
        while let Some(entry) = self.minutes.first_entry() {
            if *entry.key() >= kept_ms {
                return;
            }
            let (minute_ms, functions) = entry.remove_entry();
            for (function, sums) in functions {
                self.len -= 1;
                let hour_ms = minute_ms - minute_ms % HOUR_MS;
                self.len += put(&mut self.hours, hour_ms, &function, &sums);
            }
        }
    }

    /// Drops the oldest hours, and then minutes, while there are too many.
    fn shrink(&mut self) {
        while self.len > self.len_max {
            let oldest = self.hours.pop_first().or_else(|| self.minutes.pop_first());
            let Some((_, functions)) = oldest else {
                return;
            };
            self.len -= functions.len();
        }
    }
}

/// Adds to one sum. Returns how many are new: 0 or 1.
fn put(slots: &mut Slots, start_ms: u64, function: &FunctionId, sums: &Sums) -> usize {
    let functions = slots.entry(start_ms).or_default();
    if let Some(sum) = functions.get_mut(function) {
        sum.add(sums);
        return 0;
    }
    functions.insert(function.clone(), sums.clone());
    1
}
