//! A connection that speaks as much HTTP/1.1 as an agent's answers need.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

/// Bytes of an answer at most, its head included.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Headers of an answer at most.
const HEADERS_MAX: usize = 32;
/// What an answer may take. Longer than the agent lets a request wait for a VM.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ClientError {
    #[error("cannot connect to {address}: does the server listen there?")]
    Connect {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("cannot set up the connection to the server")]
    Options(#[source] io::Error),
    #[error("cannot send a request: has the server ended?")]
    Send(#[source] io::Error),
    #[error("no answer came within {TIMEOUT:?}, or the server has ended")]
    Receive(#[source] io::Error),
    #[error("the server closed the connection instead of answering: its log says why")]
    Closed,
    #[error("the answer is not HTTP")]
    Http(#[source] httparse::Error),
    #[error("the answer has no Content-Length: let the server send one")]
    NoLength,
    #[error(
        "the answer has more than {ANSWER_BYTES_MAX} bytes: ask for less, or raise ANSWER_BYTES_MAX"
    )]
    TooLarge,
    #[error("{0} bytes follow the answer, which nobody asked for")]
    Trailing(usize),
    #[error("Server-Timing is {0:?}, and not name;dur=MILLISECONDS, …")]
    ServerTiming(String),
}

/// What the agent says that a request began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A restore.
    Cold,
    /// A VM that was reset.
    Fresh,
    /// A VM as the request before left it.
    Warm,
}

/// Where a request's time went, as `Server-Timing` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Waiting for a VM or a shell.
    pub queue: Duration,
    /// Handing a snapshot to a shell.
    pub restore: Duration,
    /// From the request's first byte to the VM to the response's last, a restore included.
    pub run: Duration,
}

/// What came back, and when.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// Of `jiffy-start`.
    pub start: Option<Start>,
    /// Of `Server-Timing`; zero where that has nothing.
    pub timing: Timing,
    /// The body.
    pub body: &'a [u8],
    /// Before the request was written.
    pub sent: Instant,
    /// After the answer was read.
    pub answered: Instant,
}

impl Answer<'_> {
    /// From the request written to the answer read.
    pub fn took(&self) -> Duration {
        self.answered - self.sent
    }
}

/// A request as its bytes, made once and sent often.
pub fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A connection that stays open.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// When the last request was written.
    sent: Instant,
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Client {
    /// Connects.
    pub fn new(address: SocketAddr) -> Result<Self, ClientError> {
        let stream = TcpStream::connect(address)
            .map_err(|source| ClientError::Connect { address, source })?;
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(TIMEOUT)))
            .and_then(|()| stream.set_write_timeout(Some(TIMEOUT)))
            .map_err(ClientError::Options)?;
        let buffer = vec![0; ANSWER_BYTES_MAX];
        Ok(Self {
            stream,
            buffer,
            sent: Instant::now(),
        })
    }

    /// Sends what [`request`] made and waits for the whole answer. After an error the connection is of no more use.
    pub fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>, ClientError> {
        self.send(request)?;
        self.receive()
    }

    /// Sends what [`request`] made; nothing more until [`Client::receive`] has the answer.
    pub fn send(&mut self, request: &[u8]) -> Result<(), ClientError> {
        self.sent = Instant::now();
        self.stream.write_all(request).map_err(ClientError::Send)
    }

    /// Waits for the whole answer to what was sent.
    pub fn receive(&mut self) -> Result<Answer<'_>, ClientError> {
        let sent = self.sent;
        let mut filled = 0;
        loop {
            let bytes = match self.stream.read(&mut self.buffer[filled..]) {
                Ok(0) if filled == self.buffer.len() => return Err(ClientError::TooLarge),
                Ok(0) => return Err(ClientError::Closed),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(ClientError::Receive(error)),
            };
            let answered = Instant::now();
            filled += bytes;
            let Some(head) = Head::parse(&self.buffer[..filled])? else {
                continue;
            };
            let end = head.body_at.saturating_add(head.body_bytes);
            if end > self.buffer.len() {
                return Err(ClientError::TooLarge);
            }
            if filled < end {
                continue;
            }
            if filled > end {
                return Err(ClientError::Trailing(filled - end));
            }
            return Ok(Answer {
                status: head.status,
                start: head.start,
                timing: head.timing,
                body: &self.buffer[head.body_at..end],
                sent,
                answered,
            });
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    start: Option<Start>,
    timing: Timing,
    body_at: usize,
    body_bytes: usize,
}

impl Head {
    /// `None`: it is not all there yet.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, ClientError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(bytes).map_err(ClientError::Http)?;
        let httparse::Status::Complete(body_at) = parsed else {
            return Ok(None);
        };
        let mut head = Self {
            status: response.code.unwrap_or_default(),
            start: None,
            timing: Timing::default(),
            body_at,
            body_bytes: 0,
        };
        let mut has_length = false;
        for header in response.headers {
            let name = header.name;
            // Anything but ASCII is none of the values that are looked for.
            let value = str::from_utf8(header.value).unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                head.body_bytes = value.trim().parse().map_err(|_| ClientError::NoLength)?;
                has_length = true;
            } else if name.eq_ignore_ascii_case("jiffy-start") {
                head.start = Start::parse(value);
            } else if name.eq_ignore_ascii_case("server-timing") {
                head.timing = Timing::parse(value)
                    .ok_or_else(|| ClientError::ServerTiming(value.to_owned()))?;
            }
        }
        if has_length {
            Ok(Some(head))
        } else {
            Err(ClientError::NoLength)
        }
    }
}

impl Start {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "cold" => Some(Self::Cold),
            "fresh" => Some(Self::Fresh),
            "warm" => Some(Self::Warm),
            _ => None,
        }
    }
}

impl Timing {
    /// `queue;dur=0.000, restore;dur=0.031, run;dur=0.411`: milliseconds. Other names are passed over.
    fn parse(text: &str) -> Option<Self> {
        let mut timing = Self::default();
        for metric in text.split(',') {
            let mut parts = metric.split(';').map(str::trim);
            let place = match parts.next()? {
                "queue" => &mut timing.queue,
                "restore" => &mut timing.restore,
                "run" => &mut timing.run,
                _ => continue,
            };
            let millis: f64 = parts
                .find_map(|part| part.strip_prefix("dur="))?
                .parse()
                .ok()?;
            *place = Duration::try_from_secs_f64(millis / 1e3).ok()?;
        }
        Some(timing)
    }
}

#[cfg(test)]
mod tests;
