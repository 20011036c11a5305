//! Frames from the other side: headers and heads; and a life of a request stream, in which the bytes
//! are what a guest sends, cut and interleaved as they say.
#![no_main]

use jiffy_abi::call::{CallHead, CallHeader, CallKind, ReplyHead, ReplyKind, SentKind};
use jiffy_abi::frame::{
    BODY_BYTES_MAX, FrameHeader, FrameKind, HEAD_BYTES_MAX, HEADER_BYTES, RequestHead,
    RequestHeader, RequestKind, ResponseHead, ResponseKind,
};
use jiffy_control::{Exchange, Reply, Request, Stats};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    header::<RequestKind>(bytes);
    header::<ResponseKind>(bytes);
    header::<SentKind>(bytes);
    header::<ReplyKind>(bytes);
    let _ = (CallHead::parse(bytes), ReplyHead::parse(bytes));
    if let Ok(head) = RequestHead::parse(bytes) {
        // What `parse` let pass has its names and values in pairs, four bytes before each.
        assert!(head.headers().count() <= bytes.len() / 8);
    }
    if let Ok(head) = ResponseHead::parse(bytes) {
        assert!(head.headers().count() <= bytes.len() / 8);
    }
    live(bytes);
});

fn header<K: FrameKind>(bytes: &[u8]) {
    if let Some(Ok(header)) = bytes.first_chunk().map(FrameHeader::<K>::from_bytes) {
        assert_eq!(header.to_bytes(), bytes[..HEADER_BYTES]);
        assert!(header.head_bytes <= HEAD_BYTES_MAX && header.body_bytes <= BODY_BYTES_MAX);
    }
}

/// What is left of the input, taken from its front.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte().unwrap_or_default()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }
}

/// One request after the other, until the guest does what ends it.
fn live(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut exchange = Exchange::from_seed([1; 32]);
    let (mut done, mut written) = (Stats::default(), 0);
    let mut kept = vec![];
    for number in 0_u64.. {
        if script.0.is_empty() {
            return;
        }
        let id = number.to_le_bytes();
        let request = Request {
            body: id.to_vec(),
            ..Request::default()
        };
        let frame = exchange.ask(&request).expect("it fits");
        let header = frame.first.first_chunk().map(RequestHeader::from_bytes);
        let nonce = header.expect("a header").expect("a header").nonce;
        let answer = |nonce: u64, body: &[u8]| {
            let header = FrameHeader::new(ResponseKind::Ok, nonce, 0, body.len());
            [&header.expect("small").to_bytes()[..], body].concat()
        };
        let call = |id: u32, body: &[u8]| {
            let head = CallHead {
                id,
                service: 1,
                operation: 1,
                binding: "",
                timeout_ms: None,
            };
            let mut fields = vec![];
            let written = head.write(|piece| fields.extend_from_slice(piece));
            written.expect("short");
            let header = CallHeader::new(CallKind, nonce, fields.len(), body.len());
            [&header.expect("small").to_bytes()[..], &fields, body].concat()
        };
        let mut calls = 0;
        let mut takes_replies = true;
        let mut stream = vec![];
        let mut unread = 0;
        // A frame of this request that the guest goes on with as it likes: what is in it is its own.
        let mut begun = false;
        for _ in 0..8 {
            match script.byte().unwrap_or_default() {
                0 => break,
                1..=63 => stream.extend(answer(nonce, &id)),
                64..=119 => {
                    stream.extend(call(calls, script.bytes()));
                    calls += 1;
                }
                120..=123 => stream.extend(call(calls.wrapping_add(1), b"")),
                124..=127 => takes_replies = false,
                128..=143 => stream.append(&mut kept),
                144..=159 => kept = answer(nonce, &id),
                160..=175 => stream.extend(answer(nonce.wrapping_add(1), b"forged")),
                176..=191 => {
                    let cut = usize::from(script.byte().unwrap_or_default()) % 32;
                    stream.extend(&answer(nonce, &id)[..cut]);
                    begun |= cut > 0;
                }
                192..=207 => unread = 1,
                208..=255 => stream.extend(script.bytes()),
            }
        }
        written += frame.first.len() as u64;
        done.bytes_in = written - unread;
        done.bytes_out += stream.len() as u64;
        done.requests_done += 1;
        let mut stream = &stream[..];
        let mut replies = vec![];
        let response = loop {
            if exchange.incomplete(&done).is_some() {
                return;
            }
            let buffer = exchange.buffer().expect("it was asked");
            let room = buffer.capacity() - buffer.len();
            let piece = 1 + usize::from(script.byte().unwrap_or(u8::MAX));
            let (piece, rest) = stream.split_at(piece.min(room).min(stream.len()));
            assert!(!piece.is_empty(), "it waits for what was all sent");
            buffer.extend_from_slice(piece);
            stream = rest;
            match exchange.take(piece.len()) {
                Ok(Some(response)) => break response,
                Ok(None) => {
                    while let Some(call) = exchange.next_call() {
                        exchange.reply(call.id, Reply::ok(call.body), &mut replies);
                    }
                }
                Err(_) => return,
            }
        };
        written += replies.len() as u64;
        match takes_replies {
            true => done.bytes_in += replies.len() as u64,
            false => unread += replies.len() as u64,
        }
        // Bytes with the right nonce can only be the guest's own of this very request.
        let is_own = begun
            || response.body == id
            || bytes.windows(8).any(|window| window == nonce.to_le_bytes());
        assert!(is_own, "an answer to another request");
        let settled = exchange.prove_empty(&done);
        assert_eq!(settled.is_ok(), stream.is_empty() && unread == 0);
        if settled.is_err() {
            return;
        }
    }
}
