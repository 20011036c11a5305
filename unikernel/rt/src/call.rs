//! Host calls: a request in hand asks the host for something, and waits for the reply.
//!
//! Calls are gathered and go out together at the next wait, so that several cost one exit. What was started is made: the
//! response waits for the replies that nobody waited for, because one that is left in the stream ends the VM.
//! Not here: what can be called for (`jiffy`, the SDK).

use alloc::vec::Vec;
use core::{mem, task::Waker};

use jiffy_abi::{
    call::{CALL_BYTES_MAX, CALLS_MAX, CallHead, CallHeader, CallKind, IN_FLIGHT_MAX},
    fault::kind,
    frame::{FrameError, HEADER_BYTES},
};
#[cfg(feature = "std")]
use jiffy_abi::{
    call::{CallErrorKind, ReplyHead, Sent},
    doorbell::Wait,
};

#[cfg(feature = "std")]
use crate::{
    doorbell,
    others::{Others, others},
    tls,
};
use crate::{
    last_words::{give_up, out_of_memory},
    one::{Handle, One},
    replies::{Replies, Reply, ReplyError},
    vsock::{Packet, Stream},
};

/// Calls up to this size, bytes, are gathered; a larger one goes into the stream from where it lies.
const GATHERED_BYTES_MAX: usize = 16 << 10;

/// Why a call is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCall {
    /// No request is in hand: this is `init`.
    NoRequest,
    /// The request has made [`CALLS_MAX`] calls.
    TooMany,
    /// The calls of the request would have more than [`CALL_BYTES_MAX`] bytes.
    TooLarge,
    /// It does not fit a frame.
    Frame(FrameError),
}

/// A call as it is to be made.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Which service; see [`jiffy_abi::call`].
    pub service: u16,
    /// Which of its operations.
    pub operation: u16,
    /// Under which name the function was given what it asks for.
    pub binding: &'a str,
    /// What it may take, milliseconds.
    pub timeout_ms: Option<u32>,
    /// Fields of the operation, encoded.
    pub fields: &'a [u8],
    /// The body.
    pub body: Vec<u8>,
}

/// What a guest serves requests with.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) stream: Stream,
    calls: Calls,
}

#[derive(Debug, Default)]
struct Calls {
    /// Of the request in hand, or of the last one; there is none in `init`.
    nonce: Option<u64>,
    /// Ends what calls began; there is something to end once one was made or waited for. A pointer, so that an image that
    /// calls nothing has none of the code for it.
    end: Option<fn(Handle<Server>)>,
    made: u32,
    made_bytes: u64,
    in_flight: u32,
    /// Frames that go out at the next wait.
    gathered: Vec<u8>,
    replies: Replies,
    /// Of those who wait for replies, whichever comes.
    wakers: Vec<Waker>,
    /// Of those for whom one has come: to be woken where nothing of this is borrowed, as that runs a function's code.
    woken: Vec<Waker>,
    /// The number of the request's first call as a function has it; its host counts from zero. A thread, or what it keeps, may
    /// outlive a request, and takes no reply of another one.
    #[cfg(feature = "std")]
    first: u32,
    /// Replies that have come since the VM began.
    #[cfg(feature = "std")]
    came: u64,
    /// How to wait for replies for whoever is to be woken by one; a pointer for the same reason.
    #[cfg(feature = "std")]
    wait_for_host: Option<fn(Option<u64>)>,
    /// Some have come that threads that wait for the host were not told of.
    #[cfg(feature = "std")]
    is_news: bool,
}

/// The one server, once there is one.
pub(crate) static SERVER: One<Server> = One::new();

/// Starts a call, which goes out at the next wait: its number. Waits if as many as may be are in flight.
pub fn start_call(call: Call<'_>) -> Result<u32, NoCall> {
    let server = SERVER.get().ok_or(NoCall::NoRequest)?;
    #[cfg(feature = "std")]
    if let Some(others) = others() {
        (others.check_stack)();
    }
    let started = server.with(|server| server.start(call));
    wake(server);
    started
}

/// Waits for the reply to the call of this number, which is not taken yet.
pub fn wait_reply(id: u32) -> Reply {
    match SERVER.get() {
        Some(server) => {
            #[cfg(feature = "std")]
            if !server.with(|server| server.calls.is_of_this_request(id))
                || !wait_among_others(server, id)
            {
                return of_another_request(id);
            }
            let reply = server.with(|server| server.wait(id));
            wake(server);
            reply
        }
        None => not_called(),
    }
}

/// The reply to the call of this number, which is not taken yet, if it has come. Otherwise `waker` is woken when some reply
/// has, which [`wait_any`] waits for.
pub fn take_reply(id: u32, waker: &Waker) -> Option<Reply> {
    let server = SERVER.get()?;
    #[cfg(feature = "std")]
    if !server.with(|server| server.calls.is_of_this_request(id)) {
        return Some(of_another_request(id));
    }
    let reply = server.with(|server| server.calls.take(id));
    if reply.is_none() && !server.with(|server| server.calls.is_awaited_by(waker)) {
        let waker = waker.clone();
        server.with(|server| {
            server.calls.end = Some(end_calls);
            #[cfg(feature = "std")]
            {
                // Unknown to the compiler, which would have it in images that call nothing.
                let wait: fn(Option<u64>) = core::hint::black_box(wait_for_host);
                server.calls.wait_for_host = Some(wait);
            }
            server.calls.wakers.push(waker);
        });
    }
    reply
}

/// Sends what was started and waits until a reply has come; false if none will.
pub fn wait_any() -> bool {
    let Some(server) = SERVER.get() else {
        return false;
    };
    #[cfg(feature = "std")]
    if let Some(others) = others() {
        return wait_any_among(server, others);
    }
    let has_come = server.with(Server::wait_any);
    wake(server);
    has_come
}

/// Has other threads go on, if there are some, until the reply is there or comes no more; false if the request is over in which
/// the call was made.
#[cfg(feature = "std")]
fn wait_among_others(server: Handle<Server>, id: u32) -> bool {
    let Some(others) = others() else {
        return true;
    };
    loop {
        let (is_of_this_request, is_to_come) = server.with(|server| {
            let calls = &server.calls;
            let is_to_come = calls.in_flight > 0 && !calls.has(id);
            (calls.is_of_this_request(id), is_to_come)
        });
        if !is_of_this_request || !is_to_come {
            return is_of_this_request;
        }
        (others.wait_for_host)();
    }
}

/// As [`wait_any`]; what other threads do may be what is waited for, too.
#[cfg(feature = "std")]
fn wait_any_among(server: Handle<Server>, others: &Others) -> bool {
    let state = || server.with(|server| (server.calls.came, server.calls.in_flight));
    let (came, in_flight) = state();
    if in_flight == 0 {
        return (others.let_others_go_on)();
    }
    while state() == (came, in_flight) {
        (others.wait_for_host)();
    }
    true
}

/// Sends what was started, and waits until bytes of the host have come, or until `until_ns` on the monotonic clock. For
/// whoever has the threads, when none can go on.
#[cfg(feature = "std")]
pub fn wait_for_host(until_ns: Option<u64>) {
    let Some(server) = SERVER.get() else {
        return;
    };
    server.with(|server| server.receive_until(until_ns));
    tls::as_init(wake, server);
}

/// As [`wait_for_host`], if somebody is to be woken by a reply that is under way; false if not. An executor of the function's own
/// waits for its waker, and knows nothing of the host.
#[cfg(feature = "std")]
pub fn wait_for_awaited_host(until_ns: Option<u64>) -> bool {
    let awaited = SERVER.get().and_then(|server| {
        server.with(|server| {
            let calls = &server.calls;
            let is_awaited = calls.in_flight > 0 && !calls.wakers.is_empty();
            calls.wait_for_host.filter(|_| is_awaited)
        })
    });
    awaited.map(|wait| wait(until_ns)).is_some()
}

/// Sends what was started: the host works on it while other threads go on.
#[cfg(feature = "std")]
pub fn send_calls() {
    if let Some(server) = SERVER.get() {
        server.with(Server::send);
        doorbell::wait(Wait::Poll);
    }
}

/// What is instead of the reply to a call that nobody waited for while its request was in hand.
#[cfg(feature = "std")]
fn of_another_request(id: u32) -> Reply {
    let mut payload = Vec::new();
    let kind = Some(CallErrorKind::Invalid);
    // Fields so short are always written.
    let _ = ReplyHead::write(id, kind, Sent::Maybe, |piece| {
        payload.extend_from_slice(piece)
    });
    let head_bytes = payload.len();
    payload.extend_from_slice(
        b"the request in which this call was made has its answer: wait for its result before",
    );
    Reply {
        head_bytes,
        payload,
    }
}

/// Wakes those for whom replies have come.
fn wake(server: Handle<Server>) {
    #[cfg(feature = "std")]
    if server.with(|server| mem::take(&mut server.calls.is_news))
        && let Some(others) = others()
    {
        (others.host_has_answered)();
    }
    for waker in server.with(|server| mem::take(&mut server.calls.woken)) {
        waker.wake();
    }
}

impl Server {
    pub(crate) fn new(stream: Stream) -> Self {
        let calls = Calls::default();
        Self { stream, calls }
    }

    /// Whether there has been a request.
    pub(crate) fn has_begun(&self) -> bool {
        self.calls.nonce.is_some()
    }

    /// A request with this nonce is in hand.
    pub(crate) fn begin(&mut self, nonce: u64) {
        self.calls.nonce = Some(nonce);
    }

    /// What is left to do with this server when the request is as good as answered.
    pub(crate) fn end(&mut self) -> Option<fn(Handle<Self>)> {
        self.calls.end.take()
    }

    fn start(&mut self, call: Call<'_>) -> Result<u32, NoCall> {
        let nonce = self.calls.nonce.ok_or(NoCall::NoRequest)?;
        if self.calls.made >= CALLS_MAX {
            return Err(NoCall::TooMany);
        }
        let mut head = Vec::with_capacity(48 + call.fields.len());
        let id = self.calls.made;
        let common = CallHead {
            id,
            service: call.service,
            operation: call.operation,
            binding: call.binding,
            timeout_ms: call.timeout_ms,
        };
        let written = common.write(|piece| head.extend_from_slice(piece));
        written.map_err(NoCall::Frame)?;
        head.extend_from_slice(call.fields);
        let header = CallHeader::new(CallKind, nonce, head.len(), call.body.len());
        let header = header.map_err(NoCall::Frame)?;
        let frame_bytes = HEADER_BYTES + header.payload_len();
        if self.calls.made_bytes + frame_bytes as u64 > CALL_BYTES_MAX {
            return Err(NoCall::TooLarge);
        }
        while self.calls.in_flight >= IN_FLIGHT_MAX {
            self.receive();
        }
        if frame_bytes <= GATHERED_BYTES_MAX {
            for piece in [&header.to_bytes()[..], &head, &call.body] {
                self.calls.gathered.extend_from_slice(piece);
            }
        } else {
            self.send();
            self.stream.send(&[&header.to_bytes(), &head], call.body);
        }
        self.calls.end = Some(end_calls);
        self.calls.made += 1;
        self.calls.made_bytes += frame_bytes as u64;
        self.calls.in_flight += 1;
        #[cfg(feature = "std")]
        let id = id.wrapping_add(self.calls.first);
        Ok(id)
    }

    fn wait(&mut self, id: u32) -> Reply {
        loop {
            if let Some(reply) = self.calls.take(id) {
                return reply;
            }
            if self.calls.in_flight == 0 {
                not_called();
            }
            self.receive();
        }
    }

    fn wait_any(&mut self) -> bool {
        let in_flight = self.calls.in_flight;
        while self.calls.in_flight == in_flight {
            if in_flight == 0 {
                return false;
            }
            self.receive();
        }
        true
    }

    /// Sends what was gathered.
    fn send(&mut self) {
        let frames = mem::take(&mut self.calls.gathered);
        if !frames.is_empty() {
            self.stream.send(&[], frames);
        }
    }

    /// Waits until some bytes of replies have come.
    fn receive(&mut self) {
        self.send();
        let packet = self.stream.receive_reply();
        self.take_in(packet);
    }

    /// Waits until some bytes have come or it is `until_ns`, and takes in what is there.
    #[cfg(feature = "std")]
    fn receive_until(&mut self, until_ns: Option<u64>) {
        self.send();
        match until_ns {
            Some(until_ns) => doorbell::wait_until(until_ns),
            None => doorbell::wait(Wait::Received),
        }
        while self.calls.in_flight > 0
            && let Some(packet) = self.stream.poll()
        {
            self.take_in(packet);
        }
    }

    /// Takes in what a packet brought.
    #[inline(always)]
    fn take_in(&mut self, packet: Packet) {
        let nonce = self.calls.nonce.unwrap_or_default(); // A call is in flight, so there is one.
        let whole = match self.calls.replies.push(packet.payload(), nonce) {
            Ok(whole) => whole,
            Err(ReplyError::OutOfMemory(bytes)) => out_of_memory(bytes as u64),
            Err(ReplyError::Frame(_) | ReplyError::Nonce) => not_called(),
        };
        self.stream.release(packet);
        match self.calls.in_flight.checked_sub(whole) {
            Some(in_flight) => self.calls.in_flight = in_flight,
            None => not_called(),
        }
        if whole > 0 {
            self.calls.woken.append(&mut self.calls.wakers);
            #[cfg(feature = "std")]
            {
                self.calls.came += u64::from(whole);
                self.calls.is_news = true;
            }
        }
    }
}

/// What the request started is made, and all replies are taken. Those who waited for some are dropped where nothing of this is
/// borrowed.
fn end_calls(server: Handle<Server>) {
    let waiting = server.with(|server| {
        while server.calls.in_flight > 0 {
            server.receive();
        }
        let calls = &mut server.calls;
        #[cfg(feature = "std")]
        {
            calls.first = calls.first.wrapping_add(calls.made);
        }
        calls.made = 0;
        calls.made_bytes = 0;
        calls.replies.clear();
        [&mut calls.wakers, &mut calls.woken].map(mem::take)
    });
    #[cfg(feature = "std")]
    if let Some(others) = others() {
        // Threads outlive the request: whoever waits there looks, and finds that its call is over.
        (others.host_has_answered)();
        return tls::as_init(wake_all, waiting);
    }
    drop(waiting);
}

#[cfg(feature = "std")]
fn wake_all(waiting: [Vec<Waker>; 2]) {
    for waker in waiting.into_iter().flatten() {
        waker.wake();
    }
}

impl Calls {
    /// Whether the call of this number was made in the request in hand.
    #[cfg(feature = "std")]
    const fn is_of_this_request(&self, id: u32) -> bool {
        id.wrapping_sub(self.first) < self.made
    }

    /// The reply to a call of the request in hand.
    #[inline(always)]
    fn take(&mut self, id: u32) -> Option<Reply> {
        #[cfg(feature = "std")]
        let id = id.wrapping_sub(self.first);
        self.replies.take(id)
    }

    #[cfg(feature = "std")]
    fn has(&self, id: u32) -> bool {
        self.replies.has(id.wrapping_sub(self.first))
    }

    fn is_awaited_by(&self, waker: &Waker) -> bool {
        self.wakers.iter().any(|other| other.will_wake(waker))
    }
}

fn not_called() -> ! {
    give_up(
        kind::RUNTIME,
        "the host sent something other than a reply to a call of this request",
    )
}
