//! Connections.

use core::{net::SocketAddr, time::Duration};

use crate::{Address, Error, system};

/// How long a connection is tried, unless said otherwise.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection: reads and writes wait, until there is something to read or room to write.
///
/// What is written goes out when the function next waits, at the latest with its answer. When this is dropped the connection is
/// closed in order, as far as that needs no waiting: [`TcpStream::flush`] waits until the other side has everything.
#[derive(Debug)]
pub struct TcpStream {
    stream: system::Stream,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl TcpStream {
    /// Connects, within ten seconds.
    pub fn connect(to: impl Address) -> Result<Self, Error> {
        Self::connect_timeout(to, CONNECT)
    }

    /// Connects, within `limit` for each address that a name has.
    pub fn connect_timeout(to: impl Address, limit: Duration) -> Result<Self, Error> {
        let mut failed = Error::Unreachable;
        for address in to.addresses()? {
            match system::Stream::connect(address, limit) {
                Ok(stream) => return Ok(Self::new(stream)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn new(stream: system::Stream) -> Self {
        Self {
            stream,
            read_timeout: None,
            write_timeout: None,
        }
    }

    /// How long a read waits; `None`, as at first: as long as the request may take.
    pub fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.read_timeout = limit;
    }

    /// How long a write or [`TcpStream::flush`] waits; `None`, as at first: as long as the request may take.
    pub fn set_write_timeout(&mut self, limit: Option<Duration>) {
        self.write_timeout = limit;
    }

    /// Reads what is there, at least a byte unless the other side has closed: then none. Waits for it.
    pub fn read(&mut self, to: &mut [u8]) -> Result<usize, Error> {
        match to {
            [] => Ok(0),
            to => self.stream.read(to, self.read_timeout),
        }
    }

    /// Writes as much as there is room for, at least a byte. Waits for it.
    pub fn write(&mut self, from: &[u8]) -> Result<usize, Error> {
        match from {
            [] => Ok(0),
            from => self.stream.write(from, self.write_timeout),
        }
    }

    /// Writes all of it.
    pub fn write_all(&mut self, mut from: &[u8]) -> Result<(), Error> {
        while !from.is_empty() {
            let written = self.write(from)?;
            from = &from[written..];
        }
        Ok(())
    }

    /// Waits until the other side has all that was written.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.stream.flush(self.write_timeout)
    }

    /// Says that nothing more is written; what the other side still sends can be read.
    pub fn shutdown(&mut self) -> Result<(), Error> {
        self.stream.shutdown()
    }

    /// Whether what is written goes out at once, small as it is. At first it does not wait for more.
    pub fn set_nodelay(&mut self, no_delay: bool) -> Result<(), Error> {
        self.stream.set_nodelay(no_delay)
    }

    /// The other side.
    pub fn peer_addr(&self) -> Result<SocketAddr, Error> {
        self.stream.peer()
    }

    /// This side.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.stream.local()
    }
}

impl embedded_io::ErrorType for TcpStream {
    type Error = Error;
}

impl embedded_io::Read for TcpStream {
    fn read(&mut self, to: &mut [u8]) -> Result<usize, Error> {
        Self::read(self, to)
    }
}

impl embedded_io::Write for TcpStream {
    fn write(&mut self, from: &[u8]) -> Result<usize, Error> {
        Self::write(self, from)
    }

    fn flush(&mut self) -> Result<(), Error> {
        Self::flush(self)
    }
}

/// Waits for connections to a port.
#[derive(Debug)]
pub struct TcpListener(system::Listener);

impl TcpListener {
    /// Listens at `port` of all the function's addresses; 0: at one that is free.
    pub fn bind(port: u16) -> Result<Self, Error> {
        system::Listener::bind(port).map(Self)
    }

    /// The next connection, and whose it is. Waits for one.
    pub fn accept(&mut self) -> Result<(TcpStream, SocketAddr), Error> {
        self.accept_within(None)
    }

    /// As [`TcpListener::accept`], for as long as `limit`.
    pub fn accept_timeout(&mut self, limit: Duration) -> Result<(TcpStream, SocketAddr), Error> {
        self.accept_within(Some(limit))
    }

    fn accept_within(&mut self, limit: Option<Duration>) -> Result<(TcpStream, SocketAddr), Error> {
        let (stream, peer) = self.0.accept(limit)?;
        Ok((TcpStream::new(stream), peer))
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.0.port()
    }
}
