//! The traces: small functions as authors write them, and the two hard cases of the issue, a buffer
//! that grows and 100 MiB in pieces.

use std::{alloc::Layout, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use crate::trace::{Step, Trace, record};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What an `#[jiffy::init]` leaves behind: a table of 500 entries, a template, a buffer.
pub(crate) fn init() -> Trace {
    record(|| {
        let table: BTreeMap<String, String> = (0..500)
            .map(|n| (format!("key-{n}"), format!("the value of entry {n}")))
            .collect();
        (table, "<p>{{ name }}</p>".repeat(200), vec![0u8; 64 * KIB])
    })
}

/// Typed JSON, the smallest request there is.
pub(crate) fn hello() -> Trace {
    #[derive(Deserialize)]
    struct Event {
        name: String,
    }
    #[derive(Serialize)]
    struct Greeting {
        greeting: String,
    }
    record(|| {
        let body = br#"{"name":"Ada"}"#.to_vec();
        let event: Event = serde_json::from_slice(&body).expect("a good event");
        let greeting = Greeting {
            greeting: format!("Hello, {}!", event.name),
        };
        drop(serde_json::to_vec(&greeting).expect("no map with odd keys"));
    })
}

/// An order of 40 lines, 4 KiB of JSON without a type, summed up and answered in full.
pub(crate) fn order() -> Trace {
    let lines = (0..40).map(|n| {
        serde_json::json!({ "sku": format!("sku-{n:06}"), "count": n % 7, "price": 1.25, "tags": ["a", "bc"] })
    });
    let event = serde_json::json!({ "customer": "Ada", "lines": lines.collect::<Vec<_>>() });
    let event = event.to_string().into_bytes();
    record(|| {
        let body = event.clone();
        let mut order: serde_json::Value = serde_json::from_slice(&body).expect("a good event");
        let lines = order["lines"].as_array().into_iter().flatten();
        let sum: f64 = lines.filter_map(|line| line["price"].as_f64()).sum();
        order["sum"] = sum.into();
        drop(serde_json::to_vec(&order).expect("no map with odd keys"));
    })
}

/// An image of 200 KiB decoded to 1.5 MiB, scaled to 100 KiB, and encoded into a growing buffer.
pub(crate) fn thumbnail() -> Trace {
    record(|| {
        let body = vec![1u8; 200 * KIB];
        let tables: Vec<Vec<u16>> = (0..8).map(|_| vec![0; 512]).collect();
        let pixels = vec![0u8; 1536 * KIB];
        let rows: Vec<Vec<u8>> = (0..4).map(|_| vec![0; 4 * KIB]).collect();
        let small = vec![0u8; 100 * KIB];
        drop((body, tables, pixels, rows));
        let mut encoded = Vec::new();
        small
            .chunks(1000)
            .for_each(|chunk| encoded.extend_from_slice(chunk));
        encoded
    })
}

/// A buffer that grows to 4 MiB in pieces of 1 KiB, with small blocks allocated on the way.
pub(crate) fn grow() -> Trace {
    record(|| {
        let (mut buffer, mut small) = (Vec::new(), Vec::new());
        while buffer.len() < 4 * MIB {
            if buffer.len() == buffer.capacity() {
                small.push(Box::new(0u64));
            }
            buffer.extend_from_slice(&[0u8; KIB]);
        }
        drop((buffer, small));
    })
}

/// A generator whose numbers are the same in every run (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap_or_default()
    }
}

/// 1000 live blocks of 1 to 512 bytes; in each of 10,000 steps a random one is replaced.
pub(crate) fn churn() -> Trace {
    let mut numbers = Numbers(42);
    let mut layout = || Layout::from_size_align(1 + numbers.below(512), 8).expect("a small layout");
    let live = 1000;
    let mut steps: Vec<_> = (0..live)
        .map(|slot| Step::Allocate {
            slot,
            layout: layout(),
        })
        .collect();
    let mut numbers = Numbers(43);
    for _ in 0..10_000 {
        let slot = numbers.below(live);
        steps.extend([
            Step::Free { slot },
            Step::Allocate {
                slot,
                layout: layout(),
            },
        ]);
    }
    steps.extend((0..live).map(|slot| Step::Free { slot }));
    Trace { steps, slots: live }
}

/// 100 MiB allocated in pieces of 64 KiB to 1 MiB and freed in random order, `rounds` times. In each
/// round 20 small blocks come in between the pieces and stay for two more rounds.
pub(crate) fn pieces(rounds: usize) -> Trace {
    let mut numbers = Numbers(44);
    let mut trace = Trace::default();
    let mut small: Vec<Vec<usize>> = vec![];
    for round in 0..rounds {
        let mut sizes = vec![];
        let mut rest = 100 * MIB;
        while rest > 0 {
            let bytes = (64 * KIB + numbers.below(960 * KIB + 1)).min(rest);
            sizes.push(bytes);
            rest -= bytes;
        }
        let (mut large, mut pins) = (vec![], vec![]);
        for (index, bytes) in sizes.iter().enumerate() {
            large.push(trace.allocate(*bytes));
            if index % (sizes.len() / 20) == 0 {
                pins.push(trace.allocate(40));
            }
        }
        while !large.is_empty() {
            let slot = large.swap_remove(numbers.below(large.len()));
            trace.steps.push(Step::Free { slot });
        }
        small.push(pins);
        if round >= 2 {
            let freed = std::mem::take(&mut small[round - 2]);
            trace
                .steps
                .extend(freed.into_iter().map(|slot| Step::Free { slot }));
        }
    }
    let rest = small.into_iter().flatten();
    trace.steps.extend(rest.map(|slot| Step::Free { slot }));
    trace
}

impl Trace {
    fn allocate(&mut self, bytes: usize) -> usize {
        let layout = Layout::from_size_align(bytes, 8).expect("a small layout");
        self.steps.push(Step::Allocate {
            slot: self.slots,
            layout,
        });
        self.slots += 1;
        self.slots - 1
    }
}
