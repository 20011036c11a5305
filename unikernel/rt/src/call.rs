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

use crate::{
    last_words::{give_up, out_of_memory},
    one::{Handle, One},
    replies::{Replies, Reply, ReplyError},
    vsock::Stream,
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
    /// Of the request in hand; there is none in `init`.
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
}

/// The one server, once there is one.
pub(crate) static SERVER: One<Server> = One::new();

/// Starts a call, which goes out at the next wait: its number. Waits if as many as may be are in flight.
pub fn start_call(call: Call<'_>) -> Result<u32, NoCall> {
    let server = SERVER.get().ok_or(NoCall::NoRequest)?;
    let started = server.with(|server| server.start(call));
    wake(server);
    started
}

/// Waits for the reply to the call of this number, which is not taken yet.
pub fn wait_reply(id: u32) -> Reply {
    match SERVER.get() {
        Some(server) => {
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
    let reply = server.with(|server| server.calls.replies.take(id));
    if reply.is_none() && !server.with(|server| server.calls.is_awaited_by(waker)) {
        let waker = waker.clone();
        server.with(|server| {
            server.calls.end = Some(end_calls);
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
    let has_come = server.with(Server::wait_any);
    wake(server);
    has_come
}

/// Wakes those for whom replies have come.
fn wake(server: Handle<Server>) {
    for waker in server.with(|server| mem::take(&mut server.calls.woken)) {
        waker.wake();
    }
}

impl Server {
    pub(crate) fn new(stream: Stream) -> Self {
        let calls = Calls::default();
        Self { stream, calls }
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
        Ok(id)
    }

    fn wait(&mut self, id: u32) -> Reply {
        loop {
            if let Some(reply) = self.calls.replies.take(id) {
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
        calls.made = 0;
        calls.made_bytes = 0;
        calls.replies.clear();
        [&mut calls.wakers, &mut calls.woken].map(mem::take)
    });
    drop(waiting);
}

impl Calls {
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
