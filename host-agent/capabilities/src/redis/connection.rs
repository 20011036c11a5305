//! One connection: what is said when it is made, and commands with their replies. A connection has one call at a time: who drops
//! the call in the middle drops it too, so that no reply is ever left for another.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use jiffy_abi::{
    call::{CallErrorKind, Sent},
    redis::{REPLY_BYTES_MAX, RespError, Scan, Token, token},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf},
    task::unconstrained,
};

use super::url::Url;
use crate::{
    Failure,
    net::{Room, Stream, Taken},
};

/// Bytes that are read at once.
const READ_BYTES: usize = 16 << 10;
/// Bytes of the replies to what is sent around commands, and of those that only say that a command is in line.
pub(super) const SMALL_REPLIES_BYTES_MAX: usize = 64 << 10;

/// A connection, ready for commands.
pub(super) struct Connection {
    stream: Stream,
    /// Whether it has answered all that it was asked, and said no more.
    is_settled: bool,
}

/// Replies, one behind the other.
#[derive(Debug)]
pub(super) struct Replies {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Replies {
    /// The reply of this number.
    pub(super) fn get(&self, index: usize) -> &[u8] {
        let end = self.ends.get(index).copied().unwrap_or_default();
        let start = index
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        let bytes = self.bytes.get(start.copied().unwrap_or_default()..end);
        bytes.unwrap_or_default()
    }

    /// The last reply, without the others.
    pub(super) fn into_last(mut self) -> Vec<u8> {
        let count = self.ends.len();
        let start = count
            .checked_sub(2)
            .and_then(|before| self.ends.get(before));
        let start = start.copied().unwrap_or_default();
        self.bytes
            .truncate(self.ends.last().copied().unwrap_or_default());
        self.bytes.drain(..start);
        self.bytes
    }
}

/// Why commands have no replies.
#[derive(Debug)]
pub(super) enum NoReplies {
    /// Nothing of them was sent: another connection can have them.
    NotSent,
    Failed(Failure),
}

/// Why a connection cannot be used, for the operator: never with what the server was told.
pub(super) type Refused = String;

impl Connection {
    /// Says who it is and which database it wants.
    pub(super) async fn new(stream: Stream, url: &Url) -> Result<Self, Refused> {
        let mut connection = Self {
            stream,
            is_settled: true,
        };
        let database = url.database.to_string();
        let mut wanted: Vec<Vec<&[u8]>> = vec![];
        match (&url.user, &url.password) {
            (Some(user), Some(password)) => wanted.push(vec![b"AUTH", user, password]),
            (None, Some(password)) => wanted.push(vec![b"AUTH", password]),
            (_, None) => {}
        }
        if url.database > 0 {
            wanted.push(vec![b"SELECT", database.as_bytes()]);
        }
        if wanted.is_empty() {
            // A server that has no place, or wants a password, says so now and not in place of a reply.
            wanted.push(vec![b"PING"]);
        }
        let mut bytes = vec![];
        for command in &wanted {
            write_command(command, &mut bytes);
        }
        let replies = connection.ask(&bytes, wanted.len(), SMALL_REPLIES_BYTES_MAX, None);
        let replies = replies.await.map_err(|why| match why {
            NoReplies::NotSent => "the server closed the connection at once".to_owned(),
            NoReplies::Failed(failure) => failure.message,
        })?;
        for (index, command) in wanted.iter().enumerate() {
            let name = String::from_utf8_lossy(command[0]);
            match token(replies.get(index)) {
                Ok(Some((Token::Status(_), _))) => {}
                // Who may not ping may still do other things.
                Ok(Some((Token::Error(error), _))) if name == "PING" && code(error) == "NOPERM" => {
                }
                Ok(Some((Token::Error(error), _))) => {
                    return Err(format!("the server answers {name} with {}", code(error)));
                }
                _ => return Err(format!("the server answers {name} with what is no status")),
            }
        }
        match connection.is_settled {
            true => Ok(connection),
            false => Err("the server says more than it was asked".into()),
        }
    }

    /// Sends `commands` and reads so many replies, which take their bytes of `room`.
    pub(super) async fn ask(
        &mut self,
        commands: &[u8],
        count: usize,
        bytes_max: usize,
        room: Option<&Room>,
    ) -> Result<Replies, NoReplies> {
        self.is_settled = false;
        self.send(commands).await?;
        let mut taken = Taken::default();
        let (mut bytes, mut ends, mut start) = (vec![], Vec::with_capacity(count), 0);
        while ends.len() < count {
            let mut scan = Scan::new();
            let len = loop {
                let found = scan.advance(&bytes[start..]);
                if let Some(len) = found.map_err(too_much)? {
                    break len;
                }
                if bytes.len() >= bytes_max {
                    return Err(too_much(RespError::Bytes));
                }
                self.read(&mut bytes, room, &mut taken).await?;
            };
            start += len;
            ends.push(start);
        }
        self.is_settled = bytes.len() == start;
        Ok(Replies { bytes, ends })
    }

    async fn send(&mut self, commands: &[u8]) -> Result<(), NoReplies> {
        let mut written = 0;
        while written < commands.len() {
            match self.stream.write(&commands[written..]).await {
                Ok(more @ 1..) => written += more,
                Ok(_) => return Err(lost(written, &io::ErrorKind::WriteZero.into())),
                Err(error) => return Err(lost(written, &error)),
            }
        }
        let flushed = self.stream.flush().await;
        flushed.map_err(|error| lost(written, &error))
    }

    async fn read<'a>(
        &mut self,
        bytes: &mut Vec<u8>,
        room: Option<&'a Room>,
        taken: &mut Taken<'a>,
    ) -> Result<(), NoReplies> {
        bytes.reserve(READ_BYTES);
        let before = bytes.len();
        let read = self.stream.read_buf(bytes).await;
        let sent = match before {
            0 => Sent::Maybe,
            _ => Sent::Yes,
        };
        let failed = |kind, sent, message| NoReplies::Failed(Failure::new(kind, sent, message));
        match read {
            Ok(1..) => {}
            Ok(_) => {
                let message = "the server closed the connection before its reply was whole";
                return Err(failed(CallErrorKind::Failed, sent, message.into()));
            }
            Err(error) => {
                let message = format!(
                    "the connection broke before the reply was whole: {}",
                    error.kind()
                );
                return Err(failed(CallErrorKind::Failed, sent, message));
            }
        }
        let Some(room) = room else {
            return Ok(());
        };
        let more = room.take(taken, bytes.len() - before);
        more.map_err(|message| failed(CallErrorKind::Limit, Sent::Yes, message))
    }

    /// Whether it can have another call: it has nothing to say, and has not ended.
    pub(super) fn is_ready(&mut self) -> bool {
        let mut byte = [0];
        // Nobody is woken: what happens from now on is seen when it is used again.
        let mut context = Context::from_waker(Waker::noop());
        let look = poll_fn(|context| {
            let read = Pin::new(&mut self.stream).poll_read(context, &mut ReadBuf::new(&mut byte));
            Poll::Ready(read.is_pending())
        });
        // Whatever the task has done in this turn: with tokio's budget spent, nothing would be there to read.
        let is_silent = pin!(unconstrained(look)).poll(&mut context);
        self.is_settled && is_silent == Poll::Ready(true)
    }

    /// Whether it has answered all that it was asked, and said no more.
    pub(super) const fn is_settled(&self) -> bool {
        self.is_settled
    }
}

/// Bytes of the replies to one call.
pub(super) const fn replies_bytes_max(is_atomic: bool) -> usize {
    match is_atomic {
        true => REPLY_BYTES_MAX + SMALL_REPLIES_BYTES_MAX,
        false => REPLY_BYTES_MAX,
    }
}

fn lost(written: usize, error: &io::Error) -> NoReplies {
    if written == 0 {
        return NoReplies::NotSent;
    }
    let message = format!(
        "the connection broke while a command was sent: {}",
        error.kind()
    );
    NoReplies::Failed(Failure::new(CallErrorKind::Failed, Sent::Maybe, message))
}

fn too_much(error: RespError) -> NoReplies {
    let kind = match error.is_limit() {
        true => CallErrorKind::Limit,
        false => CallErrorKind::Failed,
    };
    let message = match kind {
        CallErrorKind::Limit => error.to_string(),
        _ => format!("the server's reply is malformed: {error}"),
    };
    NoReplies::Failed(Failure::new(kind, Sent::Yes, message))
}

fn write_command(arguments: &[&[u8]], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
}

/// The word that an error begins with, such as `WRONGTYPE`: what comes behind it may name anything.
pub(super) fn code(error: &[u8]) -> &str {
    let word = error.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_code = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'_';
    match str::from_utf8(word) {
        Ok(word) if word.len() <= 32 && !word.is_empty() && word.as_bytes().iter().all(is_code) => {
            word
        }
        _ => "an error",
    }
}
