//! The agent's end of a VM's request stream.
//!
//! A socket wakes who waits for it when there is something to read, and also when the other side has read and made room:
//! so each request would wake the agent once for nothing, while the VM works on it. This one is registered for reading
//! only, and for writing while a request does not fit.

use std::{
    io::{self, ErrorKind, Write},
    os::unix::net::UnixStream,
};

use rustix::buffer::spare_capacity;
use tokio::io::{Interest, unix::AsyncFd};

/// A stream socket that is woken by what there is to read.
#[derive(Debug)]
pub(super) struct Stream(AsyncFd<UnixStream>);

impl Stream {
    /// Takes a connected socket.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        watched(stream, Interest::READABLE).map(Self)
    }

    /// Writes all of `pieces`, and says how many bytes of them were taken if the stream fails first.
    pub(super) async fn write_all(&self, pieces: [&[u8]; 2]) -> Result<(), usize> {
        let [first, rest] = pieces;
        self.write_piece(first).await?;
        let written = self.write_piece(rest).await;
        written.map_err(|taken| first.len() + taken)
    }

    async fn write_piece(&self, bytes: &[u8]) -> Result<(), usize> {
        let mut taken = 0;
        match write_some(self.0.get_ref(), bytes, &mut taken) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Err(taken),
        }
        let rest = async {
            let writer = watched(self.0.get_ref().try_clone()?, Interest::WRITABLE)?;
            loop {
                let mut ready = writer.writable().await?;
                let written =
                    ready.try_io(|writer| write_some(writer.get_ref(), bytes, &mut taken));
                if let Ok(written) = written {
                    return written;
                }
            }
        };
        let rest: io::Result<()> = rest.await;
        rest.map_err(|_| taken)
    }

    /// Reads what there is into the room that `buffer` has, once there is something; zero: the stream ended.
    pub(super) async fn read(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let room = buffer.capacity() - buffer.len();
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|stream| Ok(rustix::io::read(stream, spare_capacity(buffer))?));
            let Ok(read) = read else { continue };
            // Less than there was room for is all there was. What comes from now on wakes anew.
            if read.as_ref().is_ok_and(|read| (1..room).contains(read)) {
                ready.clear_ready();
            }
            return read;
        }
    }
}

fn watched(stream: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    #[expect(
        deprecated,
        reason = "a stream owns its descriptor for life; the successor asks for unsafe"
    )]
    AsyncFd::try_with_interest(stream, interest).map_err(io::Error::from)
}

/// Writes what of `bytes` was not taken yet, until all is or there is no room.
fn write_some(mut stream: &UnixStream, bytes: &[u8], taken: &mut usize) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use std::{io::Read, time::Duration};

    use tokio::time::timeout;

    use super::*;

    fn ends() -> (Stream, UnixStream) {
        let (agent, vm) = UnixStream::pair().expect("a pair");
        (Stream::new(agent).expect("a runtime"), vm)
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
        assert_eq!(
            agent.write_all(sent.split_at(BYTES / 3).into()).await,
            Ok(())
        );
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
        let write = agent.write_all(sent.split_at(1 << 10).into()).await;
        reader.join().expect("no panic").expect("some of it");
        let taken = write.expect_err("nobody is there");
        assert!((1 << 20..4 << 20).contains(&taken), "{taken}");
        let (agent, vm) = ends();
        drop(vm);
        assert_eq!(agent.write_all([&sent, &[]]).await, Err(0));
    }
}
