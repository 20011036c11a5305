//! The owner's half of a VM's request stream, without I/O: frames each request under a nonce, takes
//! the response apart as it arrives, and proves that nothing is left when a request is done.
//!
//! ```text
//!                   ┌─ take: a call; reply ─┐
//!         ask       ▼    take: a response   │           prove_empty
//! Idle ─────────▶ Asked ────────────────────┴───▶ Answered ────────────▶ Idle
//!                   └─ what a guest may not do ──────┴─────▶ Broken: the VM is of no more use
//! ```
//!
//! A guest that is asked may call ([`jiffy_abi::call`]); its response ends the calls that have no reply, which is then
//! not written any more.
//!
//! Where a byte can rest between one request and the next, and what shows that none does:
//!
//! | place | shown empty by |
//! |---|---|
//! | the owner's buffer | [`Exchange::take`]: not a byte behind a response is accepted |
//! | Unix stream, guest to owner | [`Exchange::prove_empty`]: the VMM sent as many bytes as were read |
//! | Unix stream, owner to guest | [`Exchange::prove_empty`]: the VMM took as many bytes as were written |
//! | device, transmit queue | the VMM is done only when all of it is sent |
//! | device, packets of its own | they have no payload |
//! | guest's receive buffers | a reset puts RAM back; with *reuse* they are the guest's own memory |
//!
//! The VMM counts from the VM's start and tells with [`Event::Done`](crate::Event::Done); so does
//! this side. A guest that gets ahead of the counts, by answering twice or before it has read all,
//! ends its VM, and so does one that leaves a reply unread. And if something were overlooked, the nonce holds: a frame that was made for one
//! request does not answer another.
//! Not here: waiting and time limits, which are the caller's; what calls come to.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    mem,
    time::Instant,
};

use jiffy_abi::{
    call::{CALL_BYTES_MAX, CALLS_MAX, CallErrorKind, IN_FLIGHT_MAX, SentHeader, SentKind},
    frame::{
        FrameError, HEADER_BYTES, RequestHeader, RequestKind, ResponseHead, ResponseKind, Tag,
        write_field,
    },
};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::{Call, Reply, Request, Response, Stats};

/// Requests up to this size, bytes, are written in one piece: a VMM that reads half of a request
/// resumes its guest for it, and that costs an exit.
const ONE_PIECE_BYTES_MAX: usize = 64 << 10;
/// Room for what is read of a response first, bytes: most are smaller.
const FIRST_READ_BYTES: usize = 4 << 10;
/// What is read in one piece at most, bytes: what a Unix stream holds by default.
const READ_BYTES: usize = 208 << 10;

/// What a guest did to its request stream that no guest may. Ends its VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum StreamFault {
    #[error("its response is malformed: {0}")]
    Frame(#[from] FrameError),
    #[error("its response is not for the request that was sent: the nonce differs")]
    Nonce,
    #[error("it sent {0} bytes beyond its response")]
    Surplus(u64),
    #[error("it went idle after {sent_bytes} bytes of a response: send all of it first")]
    Incomplete { sent_bytes: u64 },
    #[error(
        "it went idle with {0} bytes of its request or of replies unread: read all of it first"
    )]
    Unread(u64),
    #[error("it went idle {done} times for {asked} requests: once for each is the rule")]
    Requests { done: u64, asked: u64 },
    #[error("a call that it made is malformed: {0}")]
    Call(FrameError),
    #[error("it numbered a call {found}: the next is {expected}")]
    CallId { found: u32, expected: u32 },
    #[error("it made a call while {IN_FLIGHT_MAX} had no reply: so many may be in flight")]
    CallsInFlight,
    #[error("it made more than {CALLS_MAX} calls for one request")]
    Calls,
    #[error("its calls for one request have {0} bytes: must be at most {CALL_BYTES_MAX}")]
    CallBytes(u64),
}

/// Why there is no response, for who reads it with [`Exchange::read`].
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ResponseError {
    #[error("the request stream was closed before a response")]
    Closed,
    #[error("the request stream was closed in the middle of a response")]
    Truncated,
    #[error("the guest broke the rules of its request stream: {0}")]
    Guest(#[from] StreamFault),
    #[error("cannot read from the request stream")]
    Read(#[from] io::Error),
}

/// Why a request was not written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum RequestError {
    #[error("the request does not fit a frame")]
    Frame(#[from] FrameError),
    #[error("cannot write to the request stream")]
    Write(#[from] io::Error),
}

/// A request as it goes into the stream: `first`, then `rest`.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Header and head, and a body that is small.
    pub first: Vec<u8>,
    /// A body that is not.
    pub rest: &'a [u8],
}

/// The owner's half of one VM's request stream.
#[derive(Debug)]
pub struct Exchange {
    nonces: ChaCha8Rng,
    state: State,
    asked: u64,
    written_bytes: u64,
    read_bytes: u64,
    /// Of the last request that is not in hand any more.
    called: Called,
}

/// What the calls of a request came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Called {
    /// Calls that were made.
    pub calls: u32,
    /// Bytes of their frames.
    pub call_bytes: u64,
    /// Bytes of the frames of replies.
    pub reply_bytes: u64,
    /// Time in which one call or more had no reply, microseconds.
    pub calls_us: u64,
}

#[derive(Debug)]
enum State {
    Idle,
    Asked(Incoming),
    Answered,
    Broken,
}

/// What has arrived for a request: whole calls, and some of the frame that comes behind them.
#[derive(Debug)]
struct Incoming {
    nonce: u64,
    header: Option<SentHeader>,
    /// Header and head; until the header is known also what came behind them.
    start: Vec<u8>,
    body: Vec<u8>,
    calls: Calls,
}

/// The calls of one request.
#[derive(Debug, Default)]
struct Calls {
    /// Those that nobody has taken yet.
    arrived: VecDeque<Call>,
    in_flight: u32,
    /// Since when it is not zero.
    since: Option<Instant>,
    counted: Called,
}

impl Exchange {
    /// The stream of a VM that has not been asked yet.
    pub fn new() -> io::Result<Self> {
        let mut seed = [0; 32];
        // So few bytes come whole once the kernel's generator is seeded (getrandom(2)).
        getrandom(&mut seed, GetRandomFlags::empty())?;
        Ok(Self::from_seed(seed))
    }

    /// As [`Exchange::new`], with nonces that follow from `seed`, for tests.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self {
            nonces: ChaCha8Rng::from_seed(seed),
            state: State::Idle,
            asked: 0,
            written_bytes: 0,
            read_bytes: 0,
            called: Called::default(),
        }
    }

    /// Has the next nonces follow from `seed`: for tests that compare all that VMs have after a request.
    #[cfg(feature = "testing")]
    pub fn reseed(&mut self, seed: [u8; 32]) {
        self.nonces = ChaCha8Rng::from_seed(seed);
    }

    /// Frames `request`, all of which the caller then writes. If it does not fit, nothing changed.
    ///
    /// # Panics
    /// If the request before was not shown to have left nothing.
    pub fn ask<'a>(&mut self, request: &'a Request) -> Result<Frame<'a>, FrameError> {
        assert!(
            matches!(self.state, State::Idle),
            "a VM was asked before the request before had left nothing"
        );
        let head = encode_head(request)?;
        let kind = match request.http {
            Some(_) => RequestKind::Http,
            None => RequestKind::Event,
        };
        let mut header = RequestHeader::new(kind, 0, head.len(), request.body.len())?;
        header.nonce = self.nonces.next_u64();
        let mut rest = &request.body[..];
        let small_bytes = match HEADER_BYTES + header.payload_len() {
            bytes @ ..=ONE_PIECE_BYTES_MAX => bytes,
            _ => HEADER_BYTES + head.len(),
        };
        let mut first = Vec::with_capacity(small_bytes);
        first.extend_from_slice(&header.to_bytes());
        first.extend_from_slice(&head);
        if first.len() < small_bytes {
            first.extend_from_slice(mem::take(&mut rest));
        }
        self.asked += 1;
        self.written_bytes += (HEADER_BYTES + header.payload_len()) as u64;
        self.state = State::Asked(Incoming {
            nonce: header.nonce,
            header: None,
            start: Vec::with_capacity(FIRST_READ_BYTES),
            body: vec![],
            calls: Calls::default(),
        });
        Ok(Frame { first, rest })
    }

    /// Where the next bytes of the guest are to be appended: it has room, for less than would go
    /// beyond the response once its length is known. `None`: none are due.
    pub fn buffer(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.state {
            State::Asked(incoming) => Some(incoming.buffer()),
            State::Idle | State::Answered | State::Broken => None,
        }
    }

    /// Takes in `bytes` that were appended to [`Exchange::buffer`]; returns the response when it is
    /// there. Until then there may be calls: [`Exchange::next_call`].
    pub fn take(&mut self, bytes: usize) -> Result<Option<Response>, StreamFault> {
        self.read_bytes += bytes as u64;
        let State::Asked(incoming) = &mut self.state else {
            self.state = State::Broken;
            return Err(StreamFault::Surplus(bytes as u64));
        };
        let response = incoming.take();
        let called = incoming.calls.counted();
        match &response {
            Ok(None) => return response,
            Ok(Some(_)) => self.state = State::Answered,
            Err(_) => self.state = State::Broken,
        }
        self.called = called;
        response
    }

    /// The next call that has arrived, oldest first. It has to be replied to, or dropped when the response is there.
    pub fn next_call(&mut self) -> Option<Call> {
        match &mut self.state {
            State::Asked(incoming) => incoming.calls.arrived.pop_front(),
            State::Idle | State::Answered | State::Broken => None,
        }
    }

    /// A random id for a call in its request's trace. Nonces do not follow from it: ChaCha is a generator for secrets.
    pub fn span_id(&mut self) -> u64 {
        self.nonces.next_u64()
    }

    /// Appends the frame of a reply to `frames`, all of which the caller then writes. A result that is too large becomes
    /// an error. If the request is answered already, nothing is appended: nobody waits for it.
    pub fn reply(&mut self, id: u32, reply: Reply, frames: &mut Vec<u8>) {
        let State::Asked(incoming) = &mut self.state else {
            return;
        };
        let (nonce, calls) = (incoming.nonce, &mut incoming.calls);
        let start = frames.len();
        let room = CALL_BYTES_MAX - calls.counted.reply_bytes.min(CALL_BYTES_MAX);
        let why = match reply.frame_bytes() <= room || reply.error.is_some() {
            true => reply.write(id, nonce, frames).err(),
            false => None,
        };
        if frames.len() == start {
            let message = match why {
                Some(error) => format!("the result is too large: {error}"),
                None => format!(
                    "the replies to one request have more than {CALL_BYTES_MAX} bytes together"
                ),
            };
            let limit = Reply::error(CallErrorKind::Limit, reply.sent, &message);
            // A short sentence fits.
            let _ = limit.write(id, nonce, frames);
        }
        let bytes = (frames.len() - start) as u64;
        calls.replied();
        calls.counted.reply_bytes += bytes;
        self.written_bytes += bytes;
    }

    /// What the calls of the request in hand have come to so far, or else those of the last one.
    pub fn called(&self) -> Called {
        match &self.state {
            State::Asked(incoming) => incoming.calls.counted(),
            State::Idle | State::Answered | State::Broken => self.called,
        }
    }

    /// Whether anything that a handler does has been seen: any byte of the response to the request in hand, or a call.
    pub fn has_begun(&self) -> bool {
        match &self.state {
            State::Asked(incoming) => {
                !incoming.start.is_empty() || incoming.calls.counted.calls > 0
            }
            State::Idle | State::Answered | State::Broken => true,
        }
    }

    /// What the guest did wrong if its VM was done, with `done`, when the response had not all
    /// arrived; `None` while some of it is still on its way.
    pub fn incomplete(&self, done: &Stats) -> Option<StreamFault> {
        match &self.state {
            State::Asked(incoming) if self.read_bytes >= done.bytes_out => {
                let sent_bytes = (incoming.start.len() + incoming.body.len()) as u64;
                Some(StreamFault::Incomplete { sent_bytes })
            }
            _ => None,
        }
    }

    /// Proves, of a VM that has answered and is done with `done`, that no byte is left on the way in
    /// either direction. After an error it may get no further request.
    pub fn prove_empty(&mut self, done: &Stats) -> Result<(), StreamFault> {
        let empty = match self.state {
            State::Answered => self.check(done),
            // Broken, or nothing was asked: what the VMM told is then of no request.
            State::Idle | State::Asked(_) | State::Broken => Err(StreamFault::Requests {
                done: done.requests_done,
                asked: self.asked.saturating_sub(1),
            }),
        };
        self.state = match empty {
            Ok(()) => State::Idle,
            Err(_) => State::Broken,
        };
        empty
    }

    fn check(&self, done: &Stats) -> Result<(), StreamFault> {
        if done.bytes_out != self.read_bytes {
            return Err(StreamFault::Surplus(
                done.bytes_out.saturating_sub(self.read_bytes),
            ));
        }
        if done.bytes_in != self.written_bytes {
            return Err(StreamFault::Unread(
                self.written_bytes.saturating_sub(done.bytes_in),
            ));
        }
        if done.requests_done != self.asked {
            return Err(StreamFault::Requests {
                done: done.requests_done,
                asked: self.asked,
            });
        }
        Ok(())
    }

    /// Frames `request` and writes it. On [`RequestError::Frame`] nothing was written.
    pub fn write(
        &mut self,
        stream: &mut impl Write,
        request: &Request,
    ) -> Result<(), RequestError> {
        let frame = self.ask(request)?;
        stream.write_all(&frame.first)?;
        stream.write_all(frame.rest)?;
        Ok(stream.flush()?)
    }

    /// Reads the response, from a stream that blocks.
    pub fn read(&mut self, stream: &mut impl Read) -> Result<Response, ResponseError> {
        loop {
            if let Some(response) = self.read_some(stream)? {
                return Ok(response);
            }
        }
    }

    /// Reads once; returns the response when it is there.
    pub fn read_some(&mut self, stream: &mut impl Read) -> Result<Option<Response>, ResponseError> {
        let has_begun = self.has_begun();
        let buffer = self.buffer().ok_or(ResponseError::Closed)?;
        match read_once(stream, buffer) {
            Ok(0) if has_begun => Err(ResponseError::Truncated),
            Ok(0) => Err(ResponseError::Closed),
            Ok(bytes) => Ok(self.take(bytes)?),
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads into the room that `buffer` has; zero at the stream's end.
fn read_once(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let start = buffer.len();
    buffer.resize(buffer.capacity().min(start + READ_BYTES), 0);
    loop {
        let read = stream.read(&mut buffer[start..]);
        if let Err(error) = &read
            && error.kind() == io::ErrorKind::Interrupted
        {
            continue;
        }
        buffer.truncate(start + *read.as_ref().unwrap_or(&0));
        return match read {
            // A Unix stream whose other end died with unread bytes is reset and not just at its end.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(0),
            read => read,
        };
    }
}

impl Incoming {
    fn buffer(&mut self) -> &mut Vec<u8> {
        let Some(header) = self.header else {
            // It is larger than a header, so there is room.
            return &mut self.start;
        };
        let start_bytes = HEADER_BYTES + header.head_bytes as usize;
        if self.start.len() < start_bytes {
            let missing = start_bytes - self.start.len();
            self.start.reserve_exact(missing);
            return &mut self.start;
        }
        let missing = header.body_bytes as usize - self.body.len();
        self.body.reserve_exact(missing);
        &mut self.body
    }

    fn take(&mut self) -> Result<Option<Response>, StreamFault> {
        while let Some(header) = self.header()? {
            if !self.is_whole(&header) {
                return Ok(None);
            }
            match header.kind {
                SentKind::Response(kind) => return self.response(kind, &header).map(Some),
                SentKind::Call => self.call(&header)?,
            }
        }
        Ok(None)
    }

    /// Whether all of the frame has arrived; what came behind its head is then in `body`.
    fn is_whole(&mut self, header: &SentHeader) -> bool {
        let start_bytes = HEADER_BYTES + header.head_bytes as usize;
        if self.start.len() > start_bytes {
            self.body.reserve_exact(header.body_bytes as usize);
            self.body.extend(self.start.drain(start_bytes..));
        }
        self.start.len() == start_bytes && self.body.len() >= header.body_bytes as usize
    }

    fn response(
        &mut self,
        kind: ResponseKind,
        header: &SentHeader,
    ) -> Result<Response, StreamFault> {
        let behind = self.body.len() - header.body_bytes as usize;
        if behind > 0 {
            return Err(StreamFault::Surplus(behind as u64));
        }
        let head = ResponseHead::parse(&self.start[HEADER_BYTES..])?;
        let headers = head.headers();
        Ok(Response {
            kind,
            status: head.status,
            error_type: head.error_type.into(),
            headers: headers
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            body: mem::take(&mut self.body),
        })
    }

    fn call(&mut self, header: &SentHeader) -> Result<(), StreamFault> {
        let behind = self.body.split_off(header.body_bytes as usize);
        // What comes next needs room for a header at least.
        let mut start = Vec::with_capacity(FIRST_READ_BYTES.max(behind.len() + HEADER_BYTES));
        start.extend(behind);
        let frame = mem::replace(&mut self.start, start);
        self.header = None;
        let body = mem::take(&mut self.body);
        let call = Call::new(frame[HEADER_BYTES..].to_vec(), body).map_err(StreamFault::Call)?;
        if call.id != self.calls.counted.calls {
            return Err(StreamFault::CallId {
                found: call.id,
                expected: self.calls.counted.calls,
            });
        }
        self.calls.counted.calls += 1;
        self.calls.in_flight += 1;
        self.calls.since.get_or_insert_with(Instant::now);
        self.calls.arrived.push_back(call);
        Ok(())
    }

    /// The header once it has arrived, checked against the request.
    fn header(&mut self) -> Result<Option<SentHeader>, StreamFault> {
        if self.header.is_none()
            && let Some(header) = self.start.first_chunk()
        {
            let header = SentHeader::from_bytes(header)?;
            if header.nonce != self.nonce {
                return Err(StreamFault::Nonce);
            }
            if header.kind == SentKind::Call {
                self.calls.admit(&header)?;
            }
            self.header = Some(header);
        }
        Ok(self.header)
    }
}

impl Calls {
    /// One of them has its reply.
    fn replied(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.in_flight == 0 {
            self.counted = self.counted();
            self.since = None;
        }
    }

    /// What they have come to so far.
    fn counted(&self) -> Called {
        let under_way = self.since.map(|since| since.elapsed().as_micros());
        let under_way = under_way.map_or(0, |us| u64::try_from(us).unwrap_or(u64::MAX));
        Called {
            calls_us: self.counted.calls_us.saturating_add(under_way),
            ..self.counted
        }
    }

    /// Whether one more may be made: nothing is kept of one that may not.
    fn admit(&mut self, header: &SentHeader) -> Result<(), StreamFault> {
        if self.in_flight >= IN_FLIGHT_MAX {
            return Err(StreamFault::CallsInFlight);
        }
        if self.counted.calls >= CALLS_MAX {
            return Err(StreamFault::Calls);
        }
        self.counted.call_bytes += (HEADER_BYTES + header.payload_len()) as u64;
        if self.counted.call_bytes > CALL_BYTES_MAX {
            return Err(StreamFault::CallBytes(self.counted.call_bytes));
        }
        Ok(())
    }
}

fn encode_head(request: &Request) -> Result<Vec<u8>, FrameError> {
    let mut head = vec![];
    let mut field =
        |tag, value: &[u8]| write_field(tag, value, |piece| head.extend_from_slice(piece));
    let texts = [
        (Tag::RequestId, &request.request_id),
        (Tag::FunctionName, &request.function_name),
        (Tag::FunctionVersion, &request.function_version),
    ];
    for (tag, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        field(tag, text.as_bytes())?;
    }
    if let Some(traceparent) = &request.traceparent {
        field(Tag::Traceparent, traceparent.as_bytes())?;
    }
    if let Some(address) = &request.client_address {
        field(Tag::ClientAddress, address.as_bytes())?;
    }
    if let Some(client_context) = &request.client_context {
        field(Tag::ClientContext, client_context.as_bytes())?;
    }
    if let Some(http) = &request.http {
        field(Tag::Method, http.method.as_bytes())?;
        field(Tag::Target, http.target.as_bytes())?;
        for (name, value) in &http.headers {
            field(Tag::HeaderName, name.as_bytes())?;
            field(Tag::HeaderValue, value)?;
        }
    }
    Ok(head)
}

#[cfg(test)]
mod tests;
