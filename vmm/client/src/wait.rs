//! How one waits for a VM: the one thing in which an agent, with a runtime for thousands, and a command differ.
//!
//! [`Vm`](crate::Vm) says what is waited for, as futures. [`Sockets`] waits: [`Blocking`] with poll(2) in the calling
//! thread, so that a command needs neither a runtime nor a second thread, and no wake-up of either; the agent has one of
//! its own, with its runtime.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io::{self, ErrorKind, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    pin::pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use jiffy_socket::ControlSocket;
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::Errno,
};

use crate::{
    CallsInHand, VmError,
    news::{LogSink, News},
};

/// Most that one read takes, bytes: what a Unix stream holds by default.
const READ_BYTES: usize = 208 << 10;

/// What came first.
#[derive(Debug)]
pub enum Step<T> {
    /// Something of the request stream; zero bytes read: its end.
    Stream(io::Result<T>),
    /// A call is done, or there is room for a reply.
    Called,
    /// Something of the control socket, which is in the news. An error: nothing more will come of it.
    Heard(Result<(), VmError>),
}

/// The two sockets of a VM, non-blocking, and how they are waited for.
pub trait Sockets: Sized + Send + Sync {
    /// Takes the owner's ends.
    fn new(control: ControlSocket, stream: UnixStream) -> io::Result<Self>;

    /// The control socket.
    fn control(&self) -> &ControlSocket;

    /// The request stream.
    fn stream(&self) -> &UnixStream;

    /// Reads into the room that `buffer` has, or takes what is told into `news`; with only one of them, only that.
    fn read<L: LogSink>(
        &self,
        buffer: Option<&mut Vec<u8>>,
        news: Option<&mut News<L>>,
    ) -> impl Future<Output = Step<usize>> + Send;

    /// As [`Sockets::read`], while calls are in hand: it also writes replies, as far as there is room, and waits for
    /// calls.
    fn read_calling<L: LogSink>(
        &self,
        buffer: &mut Vec<u8>,
        news: Option<&mut News<L>>,
        calls: &mut CallsInHand,
    ) -> impl Future<Output = Step<usize>> + Send;

    /// Writes what of `bytes` is not `taken` yet, while there is no room for all of it; or as in [`Sockets::read`].
    fn write<L: LogSink>(
        &self,
        bytes: &[u8],
        taken: &mut usize,
        news: Option<&mut News<L>>,
    ) -> impl Future<Output = Step<()>> + Send;

    /// Does `work`; `None` if that takes longer than `limit`.
    fn within<T: Send>(
        limit: Option<Duration>,
        work: impl Future<Output = T> + Send,
    ) -> impl Future<Output = Option<T>> + Send;
}

/// Writes what of `bytes` was not taken yet, until all is or there is no room.
pub fn write_some(mut stream: &UnixStream, bytes: &[u8], taken: &mut usize) -> io::Result<()> {
    while *taken < bytes.len() {
        match stream.write(&bytes[*taken..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => *taken += written,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

thread_local! {
    /// When the work of this thread has to be done.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Waits in the calling thread: its futures are never pending, except when their time has run out.
#[derive(Debug)]
pub(crate) struct Blocking {
    control: ControlSocket,
    stream: UnixStream,
    /// Rung by a call that can go on; made for the first that has to be waited for.
    bell: OnceLock<Arc<Bell>>,
}

/// Ends a wait from another thread.
#[derive(Debug)]
struct Bell(OwnedFd);

impl Bell {
    fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(eventfd(0, flags)?))
    }

    /// Has it wait to be rung again.
    fn clear(&self) {
        // There is nothing to be read if it was not rung.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Full, it has been rung already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl Blocking {
    /// Waits for `stream`, in this direction, and for `control`, if wanted: what is ready. Pending: there is no time left.
    fn wait(&self, stream: Option<PollFlags>, control: bool) -> Poll<io::Result<[bool; 2]>> {
        let mut fds = [
            PollFd::new(&self.stream, stream.unwrap_or(PollFlags::empty())),
            PollFd::new(&self.control, PollFlags::IN),
        ];
        // A descriptor that nothing is wanted of would still tell of its end.
        let watched = usize::from(stream.is_none())..1 + usize::from(control);
        match poll_until(&mut fds[watched], DEADLINE.get()) {
            Ok(0) => Poll::Pending,
            Ok(_) => Poll::Ready(Ok(fds.each_ref().map(|fd| !fd.revents().is_empty()))),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Does `work` with the stream when that is ready, or hears what there is to hear.
    fn step<T, L: LogSink>(
        &self,
        stream: Option<PollFlags>,
        mut news: Option<&mut News<L>>,
        mut work: impl FnMut(&UnixStream) -> io::Result<T>,
    ) -> Poll<Step<T>> {
        loop {
            let [has_stream, has_control] = match self.wait(stream, news.is_some()) {
                Poll::Ready(Ok(ready)) => ready,
                Poll::Ready(Err(error)) => return Poll::Ready(Step::Stream(Err(error))),
                Poll::Pending => return Poll::Pending,
            };
            if has_stream {
                match work(&self.stream) {
                    Err(error) if would_wait(&error) => {}
                    result => return Poll::Ready(Step::Stream(result)),
                }
            }
            if let (true, Some(news)) = (has_control, news.as_mut()) {
                return Poll::Ready(Step::Heard(news.hear(&self.control).map(drop)));
            }
        }
    }
}

impl Sockets for Blocking {
    fn new(control: ControlSocket, stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        control.set_nonblocking()?;
        let bell = OnceLock::new();
        Ok(Self {
            control,
            stream,
            bell,
        })
    }

    fn control(&self) -> &ControlSocket {
        &self.control
    }

    fn stream(&self) -> &UnixStream {
        &self.stream
    }

    async fn read<L: LogSink>(
        &self,
        mut buffer: Option<&mut Vec<u8>>,
        mut news: Option<&mut News<L>>,
    ) -> Step<usize> {
        let wanted = buffer.is_some().then_some(PollFlags::IN);
        let mut read = |stream: &UnixStream| match buffer.as_mut() {
            Some(buffer) => read_some(stream, buffer),
            None => Err(ErrorKind::WouldBlock.into()),
        };
        poll_fn(|_| self.step(wanted, news.as_deref_mut(), &mut read)).await
    }

    async fn read_calling<L: LogSink>(
        &self,
        buffer: &mut Vec<u8>,
        mut news: Option<&mut News<L>>,
        calls: &mut CallsInHand,
    ) -> Step<usize> {
        let bell = match self.bell.get() {
            Some(bell) => bell,
            None => match Bell::new() {
                Ok(bell) => self.bell.get_or_init(|| Arc::new(bell)),
                Err(error) => return Step::Stream(Err(error)),
            },
        };
        let waker = Waker::from(Arc::clone(bell));
        poll_fn(|_| {
            let mut context = Context::from_waker(&waker);
            loop {
                bell.clear();
                if calls.waiting.poll(&mut context).is_ready() {
                    return Poll::Ready(Step::Called);
                }
                let mut wanted = PollFlags::IN;
                wanted.set(PollFlags::OUT, !calls.outgoing.is_empty());
                let mut fds = [
                    PollFd::new(&self.stream, wanted),
                    PollFd::new(&bell.0, PollFlags::IN),
                    PollFd::new(&self.control, PollFlags::IN),
                ];
                let until = [DEADLINE.get(), calls.waiting.until()];
                let until = until.into_iter().flatten().min();
                let watched = 2 + usize::from(news.is_some());
                match poll_until(&mut fds[..watched], until) {
                    Ok(0) if DEADLINE.get().is_some_and(|until| until <= Instant::now()) => {
                        return Poll::Pending;
                    }
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Step::Stream(Err(error))),
                }
                let [stream, _, control] = fds.each_ref().map(PollFd::revents);
                if stream.intersects(!PollFlags::OUT) {
                    match read_some(&self.stream, buffer) {
                        Err(error) if would_wait(&error) => {}
                        result => return Poll::Ready(Step::Stream(result)),
                    }
                }
                if stream.contains(PollFlags::OUT) {
                    return Poll::Ready(Step::Called); // What is done is written then.
                }
                if let (false, Some(news)) = (control.is_empty(), news.as_mut()) {
                    return Poll::Ready(Step::Heard(news.hear(&self.control).map(drop)));
                }
            }
        })
        .await
    }

    async fn write<L: LogSink>(
        &self,
        bytes: &[u8],
        taken: &mut usize,
        mut news: Option<&mut News<L>>,
    ) -> Step<()> {
        let mut write = |stream: &UnixStream| write_some(stream, bytes, taken);
        poll_fn(|_| self.step(Some(PollFlags::OUT), news.as_deref_mut(), &mut write)).await
    }

    async fn within<T: Send>(
        limit: Option<Duration>,
        work: impl Future<Output = T> + Send,
    ) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| {
            let until = limit.and_then(|limit| Instant::now().checked_add(limit));
            let before = DEADLINE.replace(until);
            let result = work.as_mut().poll(context);
            DEADLINE.set(before);
            match result {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => Poll::Ready(None),
            }
        })
        .await
    }
}

fn would_wait(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Reads once into the room that `buffer` has.
fn read_some(mut stream: &UnixStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let start = buffer.len();
    buffer.resize(buffer.capacity().min(start + READ_BYTES), 0);
    let read = stream.read(&mut buffer[start..]);
    buffer.truncate(start + *read.as_ref().unwrap_or(&0));
    read
}

/// The result of work that waits with [`Blocking`], in this thread.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        // Without a limit there is always time left.
        if let Poll::Ready(result) = work.as_mut().poll(&mut context) {
            return result;
        }
    }
}

/// Whether there is something to read, or the end, within `timeout`.
pub(crate) fn wait_readable(fd: impl AsFd, timeout: Duration) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    // After an error reading says what is wrong.
    !matches!(
        poll_until(&mut fds, Instant::now().checked_add(timeout)),
        Ok(0)
    )
}

/// How many of `fds` are ready; zero when it is later than `until`.
fn poll_until(fds: &mut [PollFd<'_>], until: Option<Instant>) -> io::Result<usize> {
    loop {
        let rest = until.map(|until| until.saturating_duration_since(Instant::now()));
        // A time that the kernel has no number for is as good as none.
        let rest = rest.and_then(|rest| Timespec::try_from(rest).ok());
        match poll(fds, rest.as_ref()) {
            Err(Errno::INTR) => {}
            ready => return Ok(ready?),
        }
    }
}
