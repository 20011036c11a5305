//! Counts what functions ask of others, for the agent's metrics.
//!
//! A series is named by the grant that allowed the request, `https://api.example.com` or `https://*.example.org`, never by what a
//! function wrote: one that may reach every name would otherwise have as many series as it thinks of names.
//! Not here: formats of metrics, which are the agent's.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiffy_abi::call::{CallErrorKind, Sent};
use jiffy_model::OriginPattern;
use parking_lot::Mutex;

use crate::Failure;

/// Origins with counters of their own, in the order in which they are asked first.
pub const ORIGINS_MAX: usize = 256;
/// What the others are counted under; no origin is written so.
const OTHER: &str = "(other)";

/// How a request ended, in the order of [`RESULTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Status2,
    Status3,
    Status4,
    Status5,
    Denied,
    Failed,
    Limit,
    Timeout,
    /// Nobody waited for it any more: its time was over, or its request.
    Aborted,
}

/// Names of all results.
const RESULTS: [&str; 9] = [
    "2xx", "3xx", "4xx", "5xx", "denied", "failed", "limit", "timeout", "aborted",
];
const _: () = assert!(Ended::Aborted as usize == RESULTS.len() - 1);

/// Counters of an origin, since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    ended: [u64; RESULTS.len()],
    sent_bytes: u64,
    received_bytes: u64,
    time: Duration,
}

/// What was asked of an origin, since the process began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// As it was granted, or `(other)`.
    pub origin: String,
    /// How many requests ended in which way, for each way that there is.
    pub results: [(&'static str, u64); RESULTS.len()],
    /// Bodies of requests that were sent or may have been, bytes.
    pub sent_bytes: u64,
    /// Bodies of responses, bytes.
    pub received_bytes: u64,
    /// From calls to their results, all together.
    pub time: Duration,
}

/// Counters of all functions.
#[derive(Debug, Default)]
pub(crate) struct Traffic(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    origins: HashMap<OriginPattern, Counts>,
    other: Counts,
}

impl Traffic {
    /// A request that was granted by `origin` begins.
    pub(crate) fn begin(self: &Arc<Self>, origin: &OriginPattern, body_bytes: usize) -> Request {
        Request {
            traffic: Arc::clone(self),
            origin: origin.clone(),
            begun: Instant::now(),
            ended: Ended::Aborted,
            sent_bytes: body_bytes,
            received_bytes: 0,
        }
    }

    fn count(&self, request: &Request) {
        let mut all = self.0.lock();
        let All { origins, other } = &mut *all;
        let has_room = origins.len() < ORIGINS_MAX;
        let counts = match origins.get_mut(&request.origin) {
            Some(counts) => counts,
            None if has_room => origins.entry(request.origin.clone()).or_default(),
            None => other,
        };
        counts.ended[request.ended as usize] += 1;
        counts.sent_bytes += request.sent_bytes as u64;
        counts.received_bytes += request.received_bytes as u64;
        counts.time += request.begun.elapsed();
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> Vec<Outbound> {
        let all = self.0.lock();
        let named = all.origins.iter();
        let named = named.map(|(origin, counts)| counts.shown(origin.to_string()));
        let other = (all.other != Counts::default()).then(|| all.other.shown(OTHER.into()));
        let mut shown: Vec<_> = named.chain(other).collect();
        drop(all);
        shown.sort_unstable_by(|a, b| a.origin.cmp(&b.origin));
        shown
    }
}

impl Counts {
    fn shown(&self, origin: String) -> Outbound {
        let mut results = RESULTS.map(|name| (name, 0));
        for ((_, count), ended) in results.iter_mut().zip(self.ended) {
            *count = ended;
        }
        Outbound {
            origin,
            results,
            sent_bytes: self.sent_bytes,
            received_bytes: self.received_bytes,
            time: self.time,
        }
    }
}

/// A request that is under way. It is counted when it is dropped, as aborted if it has not ended.
#[derive(Debug)]
pub(crate) struct Request {
    traffic: Arc<Traffic>,
    origin: OriginPattern,
    begun: Instant,
    ended: Ended,
    sent_bytes: usize,
    received_bytes: usize,
}

impl Request {
    /// It has a response.
    pub(crate) fn answered(mut self, status: u16, body_bytes: usize) {
        self.ended = match status {
            200..300 => Ended::Status2,
            300..400 => Ended::Status3,
            400..500 => Ended::Status4,
            500..600 => Ended::Status5,
            // No function is given another.
            _ => Ended::Failed,
        };
        self.received_bytes = body_bytes;
    }

    /// It has none.
    pub(crate) fn failed(mut self, failure: &Failure) {
        self.ended = match failure.kind {
            CallErrorKind::Denied => Ended::Denied,
            CallErrorKind::Limit => Ended::Limit,
            CallErrorKind::Timeout => Ended::Timeout,
            _ => Ended::Failed,
        };
        if failure.sent == Sent::No {
            self.sent_bytes = 0;
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.traffic.count(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> OriginPattern {
        text.parse().expect("an origin")
    }

    fn failure(kind: CallErrorKind, sent: Sent) -> Failure {
        Failure::new(kind, sent, String::new())
    }

    #[test]
    fn each_end_is_counted_as_what_it_is() {
        let traffic = Arc::new(Traffic::default());
        let begin = || traffic.begin(&origin("https://*.example.org"), 10);
        for status in [200, 204, 302, 404, 599, 600] {
            begin().answered(status, 3);
        }
        for (kind, sent) in [
            (CallErrorKind::Denied, Sent::No),
            (CallErrorKind::Failed, Sent::Maybe),
            (CallErrorKind::Invalid, Sent::No),
            (CallErrorKind::Limit, Sent::Yes),
            (CallErrorKind::Timeout, Sent::No),
        ] {
            begin().failed(&failure(kind, sent));
        }
        drop(begin());
        let [shown] = &traffic.all()[..] else {
            panic!("one origin")
        };
        assert_eq!(shown.origin, "https://*.example.org");
        let expected = [2, 1, 1, 1, 1, 3, 1, 1, 1];
        assert_eq!(shown.results.map(|(_, count)| count), expected);
        assert_eq!(shown.results.map(|(name, _)| name), RESULTS);
        assert_eq!((shown.sent_bytes, shown.received_bytes), (90, 18));
        assert!(shown.time > Duration::ZERO);
    }

    #[test]
    fn so_many_origins_have_counters_of_their_own() {
        let traffic = Arc::new(Traffic::default());
        for round in 1..3 {
            for number in 0..ORIGINS_MAX + 10 {
                let origin = origin(&format!("https://{number}.example"));
                traffic.begin(&origin, 0).answered(200, 1);
            }
            let shown = traffic.all();
            assert_eq!(shown.len(), ORIGINS_MAX + 1);
            let other = shown.iter().find(|it| it.origin == OTHER).expect("others");
            assert_eq!(other.received_bytes, 10 * round);
        }
    }
}
