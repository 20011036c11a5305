//! What the calls of a request were, each a span of its request's trace: for its log.
//!
//! Not here: their sums (`jiffy_control::Called`); where a log goes.

use std::{
    fmt::Write as _,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiffy_abi::{call::CallErrorKind, log_ring::Level};
use jiffy_control::LogRecord;

/// Calls of one request that are kept. Of those beyond them there are the sums.
pub const SPANS_MAX: usize = 32;
/// Bytes of what a call is named.
pub const NAME_BYTES_MAX: usize = 256;

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSpan {
    /// What it was, as `kv.get cart`: printable ASCII.
    pub name: String,
    /// Its W3C trace context, which is what it is for gets, too; `None` if its request has none.
    pub traceparent: Option<String>,
    /// When it was begun.
    pub began: Instant,
    /// How long it took, and why it has no result if it has none. `None`: its request ended first.
    pub ended: Option<(Duration, Option<CallErrorKind>)>,
}

impl CallSpan {
    /// A call that begins now. Its name may be the guest's word.
    pub(crate) fn new(name: &str, traceparent: Option<String>) -> Self {
        // What is escaped is many times as long as it was.
        let name = name.chars().flat_map(char::escape_default);
        Self {
            name: name.take(NAME_BYTES_MAX).collect(),
            traceparent,
            began: Instant::now(),
            ended: None,
        }
    }

    /// Its line in the log of its request.
    pub fn log_record(&self) -> LogRecord {
        let mut text = format!("CALL {}\t", self.name);
        // Writing to a string cannot fail.
        let _ = match self.ended {
            Some((took, error)) => {
                let (ms, us) = (took.as_millis(), took.subsec_micros() % 1000);
                let outcome = error.map_or("ok", CallErrorKind::name);
                write!(text, "Duration: {ms}.{us:03} ms\tOutcome: {outcome}")
            }
            None => write!(text, "Outcome: unanswered"),
        };
        if let Some(traceparent) = &self.traceparent {
            let _ = write!(text, "\tTraceparent: {traceparent}");
        }
        LogRecord::of_platform(Level::Debug, text)
    }
}

/// The trace context of a span within that of its request; `None` if that is none. Of a later version than 00 what this one knows
/// is carried on.
pub(crate) fn child(traceparent: &str, span_id: u64) -> Option<String> {
    let trace_id = traceparent.get(3..35)?;
    let flags = traceparent.get(53..55)?;
    // Zero is no id.
    Some(format!("00-{trace_id}-{:016x}-{flags}", span_id.max(1)))
}

/// The calls of a VM's request, until they are asked for. A clone is the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spans(Arc<Mutex<Vec<CallSpan>>>);

impl Spans {
    fn all(&self) -> MutexGuard<'_, Vec<CallSpan>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the call with this number in its request, if there is room.
    pub(crate) fn begin(&self, id: u32, span: impl FnOnce() -> CallSpan) {
        let mut all = self.all();
        if all.len() == id as usize && all.len() < SPANS_MAX {
            all.push(span());
        }
    }

    /// The call has its reply.
    pub(crate) fn end(&self, id: u32, error: Option<CallErrorKind>) {
        if let Some(span) = self.all().get_mut(id as usize) {
            span.ended = Some((span.began.elapsed(), error));
        }
    }

    /// Gives them away.
    pub(crate) fn take(&self) -> Vec<CallSpan> {
        mem::take(&mut self.all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_REQUEST: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_call_is_a_child_of_its_request() {
        let expected = "00-4bf92f3577b34da6a3ce929d0e0e4736-000000000000000a-01";
        assert_eq!(child(OF_REQUEST, 10).as_deref(), Some(expected));
        let later = format!("cc{}-more", &OF_REQUEST[2..]);
        assert_eq!(child(&later, 10).as_deref(), Some(expected));
        let zero = child(OF_REQUEST, 0).expect("a child");
        assert_eq!(&zero[36..52], "0000000000000001");
        assert_eq!(
            (child("", 1), child("ü".repeat(40).as_str(), 1)),
            (None, None)
        );
    }

    #[test]
    fn each_call_is_a_line_whatever_it_is_named() {
        let mut span = CallSpan::new("kv.get a\n\tOutcome: ok\u{202e}", Some(OF_REQUEST.into()));
        let name = r"CALL kv.get a\n\tOutcome: ok\u{202e}";
        let unanswered = format!("{name}\tOutcome: unanswered\tTraceparent: {OF_REQUEST}");
        assert_eq!(span.log_record().text, unanswered);
        span.ended = Some((
            Duration::from_micros(1_002_003),
            Some(CallErrorKind::Denied),
        ));
        span.traceparent = None;
        let denied = format!("{name}\tDuration: 1002.003 ms\tOutcome: denied");
        assert_eq!(span.log_record().text, denied);
        let long = CallSpan::new(&"\x7f".repeat(65_000), None);
        assert_eq!(long.name.len(), NAME_BYTES_MAX);
        assert!(long.name.capacity() <= 2 * NAME_BYTES_MAX);
    }

    #[test]
    fn so_many_are_kept_and_no_more() {
        let spans = Spans::default();
        for id in 0..200 {
            spans.begin(id, || CallSpan::new("", None));
            spans.end(id, None);
        }
        let kept = spans.take();
        assert_eq!(kept.len(), SPANS_MAX);
        assert!(kept.iter().all(|span| span.ended.is_some()));
        assert_eq!(spans.take(), []);
    }
}
