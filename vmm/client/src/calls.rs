//! Calls of a request that is under way: each a future, and what is still to be written of the replies.
//! Not here: what a call does (`jiffy-capabilities`), how one waits (`wait`), what a guest may do (`jiffy-control`).

use std::{
    fmt,
    future::Future,
    io::ErrorKind,
    os::unix::net::UnixStream,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use jiffy_abi::call::{CallErrorKind, Sent};
use jiffy_control::{Call, Exchange, Reply, Request};

use crate::{
    CallSpan, Scope,
    spans::{Spans, child},
    wait::write_some,
};

/// Bytes of replies that are not written yet after which no further call is begun: a guest that reads none of them has
/// its owner keep no more than these, and what the calls that were begun together come to.
pub(crate) const REPLY_BYTES_HELD_MAX: usize = 2 << 20;

/// What a call comes to. It is dropped when its request ends or its time is over, and everything of it with that.
pub type CallFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// What a call is made for.
#[derive(Clone, Copy, Debug)]
pub struct CallContext<'a> {
    /// The request in hand.
    pub request: &'a Request,
    /// W3C trace context of the call, a child of the request's, for what it is made of others; `None` if that has none.
    pub traceparent: Option<&'a str>,
    /// What the calls of this request keep for one another.
    pub scope: &'a Scope,
    /// When nobody waits for the reply any more.
    pub deadline: Option<Instant>,
}

/// Makes the calls of a VM's requests.
pub trait Calls: fmt::Debug + Send + Sync {
    /// What the call is named in the log of its request, as `kv.get cart`. It may hold the guest's words as they are.
    fn name(&self, call: &Call) -> String;

    /// Makes a call.
    fn call(&self, call: Call, context: &CallContext<'_>) -> CallFuture;
}

/// The calls of a request that have no reply yet, and the replies that are not written yet.
#[derive(Debug, Default)]
pub struct CallsInHand {
    /// Those that are waited for.
    pub waiting: Waiting,
    /// Frames that are on their way.
    pub outgoing: Outgoing,
    /// What they are, for the log.
    pub(crate) spans: Spans,
    /// What calls keep for later ones; behind those that are waited for, so that they end first.
    pub(crate) scope: Scope,
}

/// Calls that are waited for: at most [`jiffy_abi::call::IN_FLIGHT_MAX`].
#[derive(Default)]
pub struct Waiting {
    calls: Vec<InHand>,
    done: Vec<(u32, Reply)>,
}

struct InHand {
    id: u32,
    /// When it gets no more time; `None`: when its request gets none.
    until: Option<Instant>,
    future: CallFuture,
}

/// Frames of replies, some of which may be written.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// The frames.
    pub frames: Vec<u8>,
    /// Bytes of them that are written.
    pub taken: usize,
}

impl CallsInHand {
    /// Whether there is nothing to wait for and nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.calls.is_empty() && self.outgoing.is_empty()
    }

    /// Whether another call may be begun.
    pub(crate) fn has_room(&self) -> bool {
        self.outgoing.frames.len() - self.outgoing.taken <= REPLY_BYTES_HELD_MAX
    }

    /// Begins a call. `span_id` is its own in its request's trace.
    pub(crate) fn begin(
        &mut self,
        calls: Option<&dyn Calls>,
        call: Call,
        request: &Request,
        deadline: Option<Instant>,
        span_id: u64,
    ) {
        let Some(calls) = calls else {
            return self.waiting.done.push((call.id, Reply::nobody()));
        };
        let until = call
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        let until = until.filter(|until| deadline.is_none_or(|deadline| *until < deadline));
        let id = call.id;
        let of_request = request.traceparent.as_deref();
        let traceparent = of_request.and_then(|of_request| child(of_request, span_id));
        self.spans.begin(id, || {
            CallSpan::new(&calls.name(&call), traceparent.clone())
        });
        let context = CallContext {
            request,
            traceparent: traceparent.as_deref(),
            scope: &self.scope,
            deadline: until.or(deadline),
        };
        let future = calls.call(call, &context);
        self.waiting.calls.push(InHand { id, until, future });
    }

    /// Frames the replies that are there and writes what there is room for: all of them together, because each piece that
    /// a VMM reads wakes its guest. If the VM is gone, reading says so.
    pub(crate) fn reply(&mut self, exchange: &mut Exchange, stream: &UnixStream) {
        let mut context = Context::from_waker(Waker::noop());
        // A future that is polled with a waker that wakes nobody is polled again before it is waited for.
        let _ = self.waiting.poll(&mut context);
        let Outgoing { frames, taken } = &mut self.outgoing;
        // A guest that reads steadily and slowly would have all of them kept.
        if *taken > REPLY_BYTES_HELD_MAX {
            frames.drain(..*taken);
            *taken = 0;
        }
        for (id, reply) in self.waiting.done.drain(..) {
            self.spans.end(id, reply.error);
            exchange.reply(id, reply, frames);
        }
        if let Err(error) = write_some(stream, frames, taken)
            && error.kind() == ErrorKind::WouldBlock
        {
            return;
        }
        self.outgoing.clear();
    }
}

impl Waiting {
    /// Ready when some call is done, or has had its time.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut now = None;
        let done = &mut self.done;
        self.calls.retain_mut(|call| {
            let is_late = |until| *now.get_or_insert_with(Instant::now) >= until;
            let reply = match call.future.as_mut().poll(context) {
                Poll::Ready(reply) => reply,
                Poll::Pending if call.until.is_some_and(is_late) => Reply::error(
                    CallErrorKind::Timeout,
                    Sent::Maybe,
                    "the call took longer than it may",
                ),
                Poll::Pending => return true,
            };
            done.push((call.id, reply));
            false
        });
        match self.done.is_empty() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }

    /// When the first of them gets no more time.
    pub fn until(&self) -> Option<Instant> {
        self.calls.iter().filter_map(|call| call.until).min()
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.calls.iter().map(|call| call.id);
        f.debug_list().entries(ids).finish()
    }
}

impl Outgoing {
    /// Whether all of them are written.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// All of them are written.
    pub fn clear(&mut self) {
        // Large ones are not kept for the rest of the request.
        self.frames = vec![];
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_begun_while_much_is_unread() {
        let mut in_hand = CallsInHand::default();
        assert!(in_hand.has_room());
        in_hand.outgoing.frames = vec![0; 3 * REPLY_BYTES_HELD_MAX];
        assert!(!in_hand.has_room());
        in_hand.outgoing.taken = 2 * REPLY_BYTES_HELD_MAX;
        assert!(in_hand.has_room());
    }
}
