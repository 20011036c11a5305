//! How the agent waits for a VM's two sockets.
//!
//! A socket wakes who waits for it when there is something to read, and also when the other side has read and made room:
//! so each request would wake the agent once for nothing, while the VM works on it. The stream is registered for reading
//! only, and for writing while a request does not fit.

use std::{
    future::{Future, pending, poll_fn},
    io,
    os::{fd::AsRawFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use jiffy_client::{CallsInHand, LogSink, News, Sockets, Step, VmError, write_some};
use jiffy_socket::ControlSocket;
use rustix::buffer::spare_capacity;
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{sleep_until, timeout},
};

/// A VM's two sockets, which wake a task when there is something to read.
#[derive(Debug)]
pub(super) struct Watched {
    control: AsyncFd<ControlSocket>,
    stream: AsyncFd<UnixStream>,
}

impl Watched {
    /// Reads what there is into the room that `buffer` has, once there is something.
    async fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let room = buffer.capacity() - buffer.len();
        loop {
            let mut ready = self.stream.readable().await?;
            let read = ready.try_io(|stream| Ok(rustix::io::read(stream, spare_capacity(buffer))?));
            let Ok(read) = read else { continue };
            // Less than there was room for is all there was. What comes from now on wakes anew.
            if read.as_ref().is_ok_and(|read| (1..room).contains(read)) {
                ready.clear_ready();
            }
            return read;
        }
    }

    async fn send(&self, bytes: &[u8], taken: &mut usize) -> io::Result<()> {
        let writer = watched(self.stream().try_clone()?, Interest::WRITABLE)?;
        loop {
            let mut ready = writer.writable().await?;
            let written = ready.try_io(|writer| write_some(writer.get_ref(), bytes, taken));
            if let Ok(written) = written {
                return written;
            }
        }
    }

    async fn hear<L: LogSink>(&self, news: Option<&mut News<L>>) -> Result<(), VmError> {
        let Some(news) = news else {
            return pending().await;
        };
        let mut ready = self.control.readable().await.map_err(VmError::host)?;
        if news.hear(self.control())? {
            ready.clear_ready();
        }
        Ok(())
    }
}

impl Sockets for Watched {
    fn new(control: ControlSocket, stream: UnixStream) -> io::Result<Self> {
        control.set_nonblocking()?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            control: watched(control, Interest::READABLE)?,
            stream: watched(stream, Interest::READABLE)?,
        })
    }

    fn control(&self) -> &ControlSocket {
        self.control.get_ref()
    }

    fn stream(&self) -> &UnixStream {
        self.stream.get_ref()
    }

    async fn read<L: LogSink>(
        &self,
        buffer: Option<&mut Vec<u8>>,
        news: Option<&mut News<L>>,
    ) -> Step<usize> {
        let Some(buffer) = buffer else {
            return Step::Heard(self.hear(news).await);
        };
        tokio::select! {
            biased;
            read = self.receive(buffer) => Step::Stream(read),
            heard = self.hear(news) => Step::Heard(heard),
        }
    }

    async fn read_calling<L: LogSink>(
        &self,
        buffer: &mut Vec<u8>,
        news: Option<&mut News<L>>,
        calls: &mut CallsInHand,
    ) -> Step<usize> {
        let CallsInHand {
            waiting, outgoing, ..
        } = calls;
        let until = waiting.until();
        tokio::select! {
            biased;
            read = self.receive(buffer) => Step::Stream(read),
            // If it is gone, reading says so.
            _ = self.send(&outgoing.frames, &mut outgoing.taken), if !outgoing.frames.is_empty() => {
                outgoing.clear();
                Step::Called
            }
            () = poll_fn(|context| waiting.poll(context)) => Step::Called,
            () = sleep_until(until.unwrap_or_else(Instant::now).into()), if until.is_some() => Step::Called,
            heard = self.hear(news) => Step::Heard(heard),
        }
    }

    async fn write<L: LogSink>(
        &self,
        bytes: &[u8],
        taken: &mut usize,
        news: Option<&mut News<L>>,
    ) -> Step<()> {
        tokio::select! {
            biased;
            written = self.send(bytes, taken) => Step::Stream(written),
            heard = self.hear(news) => Step::Heard(heard),
        }
    }

    async fn within<T: Send>(
        limit: Option<Duration>,
        work: impl Future<Output = T> + Send,
    ) -> Option<T> {
        match limit {
            Some(limit) => timeout(limit, work).await.ok(),
            None => Some(work.await),
        }
    }
}

fn watched<T: AsRawFd>(socket: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "a socket owns its descriptor for life; the successor asks for unsafe"
    )]
    AsyncFd::try_with_interest(socket, interest).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::vm::held_logs::HeldLogs;

    /// The agent's end, and the VM's.
    struct Agent(Watched);

    impl Agent {
        async fn write(&self, bytes: &[u8]) -> Result<(), usize> {
            let mut taken = 0;
            let written = self
                .0
                .write(bytes, &mut taken, None::<&mut News<HeldLogs>>)
                .await;
            match written {
                Step::Stream(Ok(())) => Ok(()),
                Step::Stream(Err(_)) => Err(taken),
                Step::Heard(_) | Step::Called => panic!("nobody listens or calls"),
            }
        }

        async fn read(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
            match self.0.read(Some(buffer), None::<&mut News<HeldLogs>>).await {
                Step::Stream(read) => read,
                Step::Heard(_) | Step::Called => panic!("nobody listens or calls"),
            }
        }
    }

    fn ends() -> (Agent, UnixStream) {
        let (agent, vm) = UnixStream::pair().expect("a pair");
        let (control, _) = ControlSocket::pair().expect("a pair");
        (Agent(Watched::new(control, agent).expect("a runtime")), vm)
    }

    /// More than a socket has room for, in both directions, and then the end.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_does_not_fit_is_written_and_read_piece_by_piece() {
        const BYTES: usize = 4 << 20;
        let (agent, mut vm) = ends();
        let echo = std::thread::spawn(move || {
            let mut bytes = vec![0; BYTES];
            vm.read_exact(&mut bytes).expect("a request");
            vm.write_all(&bytes).expect("a response");
        });
        let sent: Vec<u8> = (0..BYTES)
            .map(|index| u8::try_from(index % 251).expect("small"))
            .collect();
        assert_eq!(agent.write(&sent).await, Ok(()));
        let mut received = Vec::with_capacity(BYTES + 1);
        while agent.read(&mut received).await.expect("bytes or the end") > 0 {}
        assert!(received == sent);
        echo.join().expect("no panic");
    }

    #[tokio::test]
    async fn each_of_many_small_ones_is_read_when_it_comes() {
        let (agent, mut vm) = ends();
        for number in 0..100_u8 {
            let mut buffer = Vec::with_capacity(16);
            let nothing = timeout(Duration::from_millis(1), agent.read(&mut buffer));
            assert!(nothing.await.is_err());
            vm.write_all(&[number; 3]).expect("room");
            assert_eq!(agent.read(&mut buffer).await.expect("bytes"), 3);
            assert_eq!(buffer, [number; 3]);
        }
    }

    #[tokio::test]
    async fn how_much_a_stream_took_before_it_failed_is_told() {
        let (agent, mut vm) = ends();
        let sent = vec![7; 4 << 20];
        let reader = std::thread::spawn(move || vm.read_exact(&mut vec![0; 1 << 20]));
        let write = agent.write(&sent).await;
        reader.join().expect("no panic").expect("some of it");
        let taken = write.expect_err("nobody is there");
        assert!((1 << 20..4 << 20).contains(&taken), "{taken}");
        let (agent, vm) = ends();
        drop(vm);
        assert_eq!(agent.write(&sent).await, Err(0));
    }
}
