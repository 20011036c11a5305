//! What a database sends, within limits: its messages are looked at as they pass, because who reads them allots what each says that it
//! has, gigabytes of it.
//!
//! ```text
//! message = type: u8, bytes: u32 (big-endian, itself and what follows), …
//! ```

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::{
    binding,
    room::{Held, Room},
    statements::KEPT_STATEMENTS_MAX,
};
use crate::net::Stream;

/// Bytes of one message at most: a row, in most cases.
pub(super) const MESSAGE_BYTES_MAX: u32 = 8 << 20;
/// Messages up to this size are not counted in what all may have together.
const SMALL_BYTES: u32 = 64 << 10;
/// Answers that a database may give to one thing that it is asked. Describing a statement takes two for each type that is not one of
/// Postgres' own, and whoever asks takes up to 10 KiB of its stack, of 2 MiB, for each type that is made of another. A statement that is no longer kept is
/// answered too.
pub(super) const ANSWERS_MAX: u32 = 128;
const _: () = assert!(KEPT_STATEMENTS_MAX + 16 < ANSWERS_MAX as usize);
/// Bytes of settings that a database may tell during a connection, all of which are kept as long as it is.
const SETTINGS_BYTES_MAX: u32 = 1 << 20;
/// The same of a connection that another request may have.
const SETTINGS_BYTES_KEPT_MAX: u32 = 64 << 10;
/// What a setting takes beside its own bytes.
const SETTING_BYTES: u32 = 128;
const HEADER_BYTES: usize = 5;
const AUTHENTICATION: u8 = b'R';
/// `ReadyForQuery`: the end of an answer. It says whether the session is in a transaction.
const READY: u8 = b'Z';
/// In none.
const IDLE: u8 = b'I';
/// `ParameterStatus`.
const SETTING: u8 = b'S';
/// Of an authentication: the server wants the password as it is.
const CLEARTEXT: [u8; 4] = [0, 0, 0, 3];

/// What who reads and who asks know of a connection.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Bytes that may still be read for what was asked.
    left: AtomicU64,
    /// Answers that may still come to it.
    answers: AtomicU32,
    /// Where the last answer left the session.
    ready: AtomicU8,
    /// What came during the connection is too much to be kept for another request.
    is_worn: AtomicBool,
    /// More came than may.
    is_exceeded: AtomicBool,
    /// The server wants a password in clear on a connection that is.
    is_betrayed: AtomicBool,
}

impl Meter {
    /// From now on so much may be read, in [`ANSWERS_MAX`] answers.
    pub(super) fn allow(&self, bytes: u64) {
        self.left.store(bytes, Relaxed);
        self.answers.store(ANSWERS_MAX, Relaxed);
    }

    /// Bytes that may still be read.
    pub(super) fn left(&self) -> u64 {
        self.left.load(Relaxed)
    }

    /// The last answer that came whole left the session in no transaction.
    pub(super) fn is_idle(&self) -> bool {
        self.ready.load(Relaxed) == IDLE
    }

    /// No other request is to have the connection.
    pub(super) fn wear(&self) {
        self.is_worn.store(true, Relaxed);
    }

    pub(super) fn is_worn(&self) -> bool {
        self.is_worn.load(Relaxed)
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.is_exceeded.load(Relaxed)
    }

    pub(super) fn is_betrayed(&self) -> bool {
        self.is_betrayed.load(Relaxed)
    }

    fn take_bytes(&self, bytes: u64) -> io::Result<()> {
        let taken = self
            .left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        taken.map(drop).map_err(|_| self.exceed())
    }

    fn take_answer(&self) -> io::Result<()> {
        let taken = self
            .answers
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        taken.map(drop).map_err(|_| self.exceed())
    }

    fn exceed(&self) -> io::Error {
        self.is_exceeded.store(true, Relaxed);
        io::Error::other("the database sends more than may be read")
    }
}

/// A stream whose messages are looked at.
pub(super) struct Metered {
    stream: Stream,
    messages: Messages,
    /// Whom TLS is spoken with.
    end_point: Option<Vec<u8>>,
}

/// Where one is in them.
struct Messages {
    meter: Arc<Meter>,
    is_clear: bool,
    header: [u8; HEADER_BYTES + CLEARTEXT.len()],
    header_bytes: usize,
    /// Bytes of the message that are still to come.
    left: u32,
    /// Bytes of all settings so far, and what each takes beside them.
    settings: u32,
    room: Room,
    held: Held,
}

impl Metered {
    pub(super) fn new(stream: Stream, is_clear: bool, meter: Arc<Meter>, room: Room) -> Self {
        Self {
            end_point: stream.certificate().and_then(binding::end_point),
            stream,
            messages: Messages::new(is_clear, meter, room),
        }
    }
}

impl Messages {
    fn new(is_clear: bool, meter: Arc<Meter>, room: Room) -> Self {
        Self {
            meter,
            is_clear,
            header: [0; _],
            header_bytes: 0,
            left: 0,
            settings: 0,
            room,
            held: Held::default(),
        }
    }

    /// Looks at what came.
    fn pass(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.meter.take_bytes(bytes.len() as u64)?;
        while !bytes.is_empty() {
            let wanted = match self.header_bytes < HEADER_BYTES {
                true => HEADER_BYTES,
                false => self.looked_at().min(self.header_bytes + self.left as usize),
            };
            if self.header_bytes < wanted {
                let taken = bytes.len().min(wanted - self.header_bytes);
                let (first, rest) = bytes.split_at(taken);
                self.header[self.header_bytes..][..taken].copy_from_slice(first);
                if self.header_bytes >= HEADER_BYTES {
                    // At most four.
                    self.left -= u32::try_from(taken).unwrap_or_default();
                }
                self.header_bytes += taken;
                bytes = rest;
                self.see()?;
            } else {
                let taken = bytes.len().min(self.left as usize);
                self.left -= u32::try_from(taken).unwrap_or_default();
                bytes = &bytes[taken..];
            }
            if self.header_bytes >= HEADER_BYTES && self.left == 0 {
                self.header_bytes = 0;
                self.held = Held::default();
            }
        }
        Ok(())
    }

    /// Bytes of the message that are looked at: some say in the first ones after their header what they are.
    fn looked_at(&self) -> usize {
        match self.header[0] {
            AUTHENTICATION if self.is_clear => self.header.len(),
            READY => HEADER_BYTES + 1,
            _ => HEADER_BYTES,
        }
    }

    /// Looks at a header, if it is whole.
    fn see(&mut self) -> io::Result<()> {
        let [kind, length @ .., first, _, _, _] = self.header;
        if self.header_bytes == HEADER_BYTES {
            let malformed = || io::Error::other("a message of the database is malformed");
            self.left = u32::from_be_bytes(length)
                .checked_sub(4)
                .ok_or_else(malformed)?;
            if self.left > MESSAGE_BYTES_MAX {
                return Err(self.meter.exceed());
            }
            if self.left > SMALL_BYTES && self.held.take(&self.room, self.left as usize).is_err() {
                return Err(self.meter.exceed());
            }
            match kind {
                READY => self.meter.take_answer()?,
                SETTING => self.see_setting()?,
                _ => {}
            }
        }
        if kind == READY && self.header_bytes > HEADER_BYTES {
            self.meter.ready.store(first, Relaxed);
        }
        let is_whole = self.header_bytes == self.header.len();
        if is_whole && kind == AUTHENTICATION && self.header[HEADER_BYTES..] == CLEARTEXT {
            self.meter.is_betrayed.store(true, Relaxed);
            return Err(io::Error::other("the database wants the password in clear"));
        }
        Ok(())
    }

    /// A setting comes, of as many bytes as are left of its message.
    fn see_setting(&mut self) -> io::Result<()> {
        self.settings += SETTING_BYTES + self.left; // At most 1 MiB and a message.
        if self.settings > SETTINGS_BYTES_MAX {
            return Err(self.meter.exceed());
        }
        if self.settings > SETTINGS_BYTES_KEPT_MAX {
            self.meter.wear();
        }
        Ok(())
    }
}

impl TlsStream for Metered {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.end_point {
            Some(end_point) => ChannelBinding::tls_server_end_point(end_point.clone()),
            None => ChannelBinding::none(),
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        Poll::Ready(this.messages.pass(&buffer.filled()[before..]))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let bytes = u32::try_from(body.len() + 4).expect("short");
        [&[kind][..], &bytes.to_be_bytes(), body].concat()
    }

    /// Passes `bytes` on in pieces of each size.
    fn check(bytes: &[u8], is_clear: bool, allowed: u64) -> Vec<Result<(), (bool, bool)>> {
        let pass = |size: usize| {
            let meter = Arc::new(Meter::default());
            meter.allow(allowed);
            let mut messages = Messages::new(is_clear, Arc::clone(&meter), Room::default());
            let mut pieces = bytes.chunks(size);
            pieces
                .try_for_each(|piece| messages.pass(piece))
                .map_err(|_| (meter.is_exceeded(), meter.is_betrayed()))
        };
        (1..=bytes.len()).map(pass).collect()
    }

    #[test]
    fn messages_pass_in_whatever_pieces_they_come() {
        let all = [
            message(b'R', &[0, 0, 0, 0]),
            message(b'R', b""),
            message(b'R', &[0, 0, 0, 10, 1, 2]),
            message(b'D', &[7; 30]),
            message(b'Z', b"I"),
        ]
        .concat();
        let fine = |is_clear, allowed| check(&all, is_clear, allowed).iter().all(Result::is_ok);
        assert!(fine(true, 1000) && fine(false, 1000));
        assert!(fine(true, all.len() as u64));
        let less = check(&all, true, all.len() as u64 - 1);
        assert!(less.iter().all(|it| *it == Err((true, false))));
    }

    #[test]
    fn a_password_goes_out_in_clear_only_within_tls() {
        let wants = message(AUTHENTICATION, &CLEARTEXT);
        assert!(check(&wants, false, 100).iter().all(Result::is_ok));
        let refused = check(&wants, true, 100);
        assert!(refused.iter().all(|it| *it == Err((false, true))));
        // A row may have the same bytes.
        let row = message(b'D', &CLEARTEXT);
        assert!(check(&row, true, 100).iter().all(Result::is_ok));
    }

    #[test]
    fn what_is_too_large_is_not_waited_for() {
        let header = |length: u32| [&b"D"[..], &length.to_be_bytes()].concat();
        for (length, is_fine) in [
            (MESSAGE_BYTES_MAX + 4, true),
            (MESSAGE_BYTES_MAX + 5, false),
            (u32::MAX, false),
            (4, true),
            (3, false),
        ] {
            let passed = check(&header(length), false, 100);
            assert!(passed.iter().all(|it| it.is_ok() == is_fine), "{length}");
        }
    }

    #[test]
    fn an_answer_says_whether_a_transaction_is_open() {
        let status = |bytes: &[u8], size| {
            let meter = Arc::new(Meter::default());
            meter.allow(100);
            let mut messages = Messages::new(true, Arc::clone(&meter), Room::default());
            let mut pieces = bytes.chunks(size);
            pieces
                .try_for_each(|piece| messages.pass(piece))
                .expect("few");
            meter.is_idle()
        };
        let [idle, open, failed] = [b"I", b"T", b"E"].map(|status| message(READY, status));
        let row = message(b'D', b"I");
        for (answers, is_idle) in [
            (vec![], false),
            (vec![&idle], true),
            (vec![&row, &idle, &row], true),
            (vec![&idle, &open], false),
            (vec![&idle, &failed, &row], false),
            (vec![&open, &idle], true),
        ] {
            let bytes: Vec<u8> = answers.into_iter().flatten().copied().collect();
            for size in 1..=bytes.len().max(1) {
                assert_eq!(status(&bytes, size), is_idle, "{bytes:?} by {size}");
            }
        }
    }

    #[test]
    fn answers_are_counted_for_each_thing_that_is_asked() {
        let meter = Arc::new(Meter::default());
        let mut messages = Messages::new(false, Arc::clone(&meter), Room::default());
        let answer = message(READY, b"I");
        for _ in 0..2 {
            meter.allow(1 << 20);
            for _ in 0..ANSWERS_MAX {
                messages.pass(&answer).expect("allowed");
            }
            assert!(!meter.is_exceeded());
        }
        assert!(messages.pass(&answer).is_err() && meter.is_exceeded());
    }

    #[test]
    fn settings_are_counted_for_the_whole_connection() {
        for (body, kept, allowed) in [(&[7; 896][..], 64, 1024), (&[], 512, 8192)] {
            let meter = Arc::new(Meter::default());
            let mut messages = Messages::new(false, Arc::clone(&meter), Room::default());
            let setting = message(SETTING, body);
            for count in 1..=allowed {
                meter.allow(1 << 20);
                messages.pass(&setting).expect("allowed");
                assert_eq!(meter.is_worn(), count > kept, "{count}");
            }
            assert!(messages.pass(&setting).is_err() && meter.is_exceeded());
        }
    }
}
