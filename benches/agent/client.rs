//! A client that costs little beside what it measures: one connection, one request at a time.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// Bytes of an answer at most; those of `hello` and of the API's short lists.
const ANSWER_BYTES_MAX: usize = 64 << 10;
const TIMEOUT: Duration = Duration::from_secs(30);

/// What came back, and when.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// `cold` or `fresh`.
    pub(crate) start: String,
    /// Of `Server-Timing`: queue, restore, run.
    pub(crate) phases: [Duration; 3],
    pub(crate) took: Duration,
}

/// A connection to the agent.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the agent listens");
        stream.set_nodelay(true).expect("an open socket");
        stream
            .set_read_timeout(Some(TIMEOUT))
            .expect("an open socket");
        Self {
            stream,
            buffer: vec![0; ANSWER_BYTES_MAX],
        }
    }

    pub(crate) fn send(&mut self, method: &str, path: &str, body: &[u8]) -> Answer {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: agent\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        let began = Instant::now();
        self.stream.write_all(&request).expect("the agent reads");
        let mut filled = 0;
        loop {
            let bytes = self
                .stream
                .read(&mut self.buffer[filled..])
                .expect("an answer");
            assert!(bytes > 0, "the agent closed the connection");
            filled += bytes;
            let head_bytes = self.buffer[..filled]
                .windows(4)
                .position(|four| four == b"\r\n\r\n");
            let Some(head_bytes) = head_bytes.map(|at| at + 4) else {
                continue;
            };
            let head = String::from_utf8_lossy(&self.buffer[..head_bytes]);
            let body_bytes = header(&head, "content-length").parse().unwrap_or(0);
            if filled < head_bytes + body_bytes {
                continue;
            }
            return Answer {
                took: began.elapsed(),
                status: head
                    .split(' ')
                    .nth(1)
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(0),
                start: header(&head, "jiffy-start").to_owned(),
                phases: phases(header(&head, "server-timing")),
                body: String::from_utf8_lossy(&self.buffer[head_bytes..filled]).into_owned(),
            };
        }
    }

    pub(crate) fn invoke(&mut self, path: &str) -> Answer {
        let answer = self.send("POST", path, br#"{"name":"Ada"}"#);
        assert_eq!(answer.body, r#"{"greeting":"Hello, Ada!"}"#, "{answer:?}");
        answer
    }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map_or("", |(_, value)| value)
}

/// `queue;dur=0.000, restore;dur=0.031, run;dur=0.411`, milliseconds.
fn phases(text: &str) -> [Duration; 3] {
    let mut phases = text.split(", ").map(|part| {
        let millis = part
            .split_once("dur=")
            .and_then(|(_, number)| number.parse().ok());
        Duration::from_secs_f64(millis.unwrap_or(0.0) / 1e3)
    });
    [(); 3].map(|()| phases.next().unwrap_or_default())
}
