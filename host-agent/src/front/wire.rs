//! The bytes of a connection, between the socket and hyper, and what they say of where the connection is.
//!
//! ```text
//!            first byte            head complete             response made
//! New ──────────────────▶ Head ─────────────────▶ Busy ─────────────────────▶ Idle
//!                           ▲                                                  │
//!                           └────────────────── next byte ─────────────────────┘
//! ```
//!
//! hyper answers by itself what it cannot parse: an empty 400, 414 or 431. Such an answer is taken back here, and the connection's
//! driver writes the agent's own in its place. Not here: what is too slow and what is refused (`connection`).

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Bytes;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::TcpStream,
};

use super::admission::Entry;

/// Bytes of an answer that hyper makes by itself at most: a line, a length, perhaps `connection`, a date.
const OWN_ANSWER_BYTES_MAX: usize = 256;

/// What carries a connection.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Ready when there is something to read: `Ok(true)` if that is the end, an error if the connection is gone.
    fn poll_end(&self, context: &mut Context<'_>) -> Poll<io::Result<bool>>;
    /// Whether the connection has broken in both directions.
    fn is_gone(&self) -> bool;
    /// Whether something has come that was not read.
    fn has_unread(&self) -> bool;
}

impl Socket for TcpStream {
    fn poll_end(&self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        self.poll_peek(context, &mut byte)
            .map_ok(|bytes| bytes == 0)
    }

    fn is_gone(&self) -> bool {
        !matches!(self.take_error(), Ok(None))
    }

    fn has_unread(&self) -> bool {
        rustix::io::ioctl_fionread(self).is_ok_and(|bytes| bytes > 0)
    }
}

/// A connection in memory, for fuzzers: nobody is ever gone from it.
impl Socket for DuplexStream {
    fn poll_end(&self, _: &mut Context<'_>) -> Poll<io::Result<bool>> {
        Poll::Pending
    }

    fn is_gone(&self) -> bool {
        false
    }

    fn has_unread(&self) -> bool {
        false
    }
}

/// A socket that is shared by hyper, which reads and writes, and the driver, which looks whether the client is there. Both are
/// polled by one task, so nobody ever waits for the lock.
pub(super) type Shared<S> = Mutex<S>;

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has come on it yet.
    New,
    /// A request's head is coming.
    Head,
    /// A request is answered.
    Busy,
    /// It waits for the next request.
    Idle,
}

impl Phase {
    const ALL: [Self; 4] = [Self::New, Self::Head, Self::Busy, Self::Idle];

    /// Whether it may end without a word, and nobody loses anything.
    pub(super) fn is_quiet(self) -> bool {
        matches!(self, Self::New | Self::Idle)
    }
}

/// What is known of a connection; shared by its bytes, its requests and who counts connections.
#[derive(Debug)]
pub(super) struct State {
    /// Phase in the lowest two bits, above them since when, milliseconds of the server's clock.
    phase: AtomicU64,
    /// A response was made whose head is not written yet: the next one that is written is not hyper's own.
    has_answer: AtomicBool,
    /// A write was not taken whole.
    is_blocked: AtomicBool,
    /// The request under way can be sent an interim response: it is of HTTP/1.1, and its response is not made.
    takes_interim: AtomicBool,
    clock: Clock,
}

/// Milliseconds since the server began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(tokio::time::Instant);

impl Clock {
    pub(super) fn new() -> Self {
        Self(tokio::time::Instant::now())
    }

    pub(super) fn now_ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When it will be `ms`.
    pub(super) fn at(self, ms: u64) -> tokio::time::Instant {
        self.0 + Duration::from_millis(ms)
    }
}

impl State {
    pub(super) fn new(clock: Clock) -> Self {
        let state = Self {
            phase: AtomicU64::new(0),
            has_answer: AtomicBool::new(false),
            is_blocked: AtomicBool::new(false),
            takes_interim: AtomicBool::new(false),
            clock,
        };
        state.enter(Phase::New);
        state
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase
            .store(self.clock.now_ms() << 2 | phase as u64, Relaxed);
    }

    /// The phase, and since when, milliseconds of the server's clock.
    pub(super) fn phase(&self) -> (Phase, u64) {
        let word = self.phase.load(Relaxed);
        let index = usize::try_from(word & 3).unwrap_or_default();
        let phase = match Phase::ALL[index] {
            // The response is made, and the client has not taken all of it.
            Phase::Idle if self.is_blocked.load(Relaxed) => Phase::Busy,
            phase => phase,
        };
        (phase, word >> 2)
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// A request's head is complete.
    pub(super) fn began(&self, takes_interim: bool) {
        self.takes_interim.store(takes_interim, Relaxed);
        self.enter(Phase::Busy);
    }

    /// A request's response is made, and goes to hyper.
    pub(super) fn answers(&self) {
        self.takes_interim.store(false, Relaxed);
        self.has_answer.store(true, Relaxed);
    }

    /// Whether an interim response can be sent now, between whole messages.
    pub(super) fn takes_interim(&self) -> bool {
        self.takes_interim.load(Relaxed) && !self.is_blocked.load(Relaxed)
    }
}

/// hyper's side of a connection.
#[derive(Debug)]
pub(super) struct Wire<S> {
    socket: Arc<Shared<S>>,
    entry: Arc<Entry>,
    /// What was read before, and is read first.
    before: Bytes,
    /// hyper has answered by itself, and nobody has seen it.
    took_back: bool,
}

impl<S: Socket> Wire<S> {
    /// `before` is read before anything that comes.
    pub(super) fn new(socket: Arc<Shared<S>>, entry: Arc<Entry>, before: Bytes) -> Self {
        Self {
            socket,
            entry,
            before,
            took_back: false,
        }
    }

    /// Whether an answer that hyper made by itself was taken back.
    pub(super) fn took_back(&self) -> bool {
        self.took_back
    }

    /// Whether these are the bytes of an answer that hyper makes by itself: it is short, it is a refusal, and no response
    /// of ours is due.
    fn is_own_answer(&self, piece: &[u8]) -> bool {
        let state = &self.entry.state;
        if state.is_blocked.load(Relaxed) || state.has_answer.load(Relaxed) {
            return false;
        }
        let is_refusal = |rest: &[u8]| {
            let statuses = [&b"400 "[..], b"414 ", b"431 "];
            statuses.iter().any(|status| rest.starts_with(status))
        };
        piece.len() <= OWN_ANSWER_BYTES_MAX
            && piece
                .split_at_checked(b"HTTP/1.1 ".len())
                .is_some_and(|(version, rest)| version.starts_with(b"HTTP/1.") && is_refusal(rest))
            && piece.ends_with(b"\r\n\r\n")
    }
}

impl<S: Socket> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let bytes = self.before.len().min(buffer.remaining());
            buffer.put_slice(&self.before.split_to(bytes));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *self.socket.lock()).poll_read(context, buffer))?;
        if buffer.filled().len() > before && self.entry.state.phase().0.is_quiet() {
            self.entry.state.enter(Phase::Head);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Socket> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(piece)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        let first = pieces.iter().find(|piece| !piece.is_empty());
        if first.is_some_and(|piece| self.is_own_answer(piece)) {
            self.took_back = true;
            return Poll::Ready(Ok(bytes));
        }
        let written = Pin::new(&mut *self.socket.lock()).poll_write_vectored(context, pieces);
        let is_whole = matches!(written, Poll::Ready(Ok(written)) if written == bytes);
        let was_blocked = self.entry.state.is_blocked.swap(!is_whole, Relaxed);
        if was_blocked && self.entry.state.phase().0 == Phase::Idle {
            self.entry.state.enter(Phase::Idle);
        }
        if is_whole {
            self.entry.state.has_answer.store(false, Relaxed);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.took_back {
            // There is something to say yet.
            true => Poll::Ready(Ok(())),
            false => Pin::new(&mut *self.socket.lock()).poll_shutdown(context),
        }
    }
}
