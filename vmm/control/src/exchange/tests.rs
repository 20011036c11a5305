#![allow(
    clippy::cast_possible_truncation,
    reason = "the numbers of these tests are small"
)]
use jiffy_abi::{
    call::{CallHead, CallKind, ReplyHead, ReplyHeader},
    frame::{BODY_BYTES_MAX, FrameHeader, FrameKind, HEAD_BYTES_MAX, RequestHead, ResponseKind},
};
use proptest::prelude::*;

use super::*;
use crate::HttpRequest;

fn exchange() -> Exchange {
    Exchange::from_seed([7; 32])
}

/// An exchange that has asked an empty request, and the request's nonce.
fn asked() -> (Exchange, u64) {
    let mut exchange = exchange();
    let nonce = ask(&mut exchange);
    (exchange, nonce)
}

/// Asks an empty request; returns its nonce.
fn ask(exchange: &mut Exchange) -> u64 {
    let request = Request::default();
    let frame = exchange.ask(&request).expect("it fits");
    let header = frame.first.first_chunk().expect("a header");
    RequestHeader::from_bytes(header).expect("a header").nonce
}

/// What the VMM of a good guest tells after these requests.
fn done(requests_done: u64, bytes_in: u64, bytes_out: u64) -> Stats {
    Stats {
        requests_done,
        bytes_in,
        bytes_out,
        ..Stats::default()
    }
}

fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    prop::collection::vec(any::<(String, Vec<u8>)>(), 0..5)
}

fn http() -> impl Strategy<Value = HttpRequest> {
    (any::<String>(), any::<String>(), headers()).prop_map(|(method, target, headers)| {
        HttpRequest {
            method,
            target,
            headers,
        }
    })
}

fn request() -> impl Strategy<Value = Request> {
    let texts = any::<[String; 3]>();
    (
        texts,
        any::<[Option<String>; 3]>(),
        prop::option::of(http()),
        any::<Vec<u8>>(),
    )
        .prop_map(
            |(
                [request_id, function_name, function_version],
                [traceparent, client_address, client_context],
                http,
                body,
            )| Request {
                request_id,
                function_name,
                function_version,
                traceparent,
                client_address,
                client_context,
                http,
                body,
            },
        )
}

/// What a guest makes of the frame.
fn parse(frame: &[u8]) -> Request {
    let (header, rest) = frame.split_first_chunk().expect("header");
    let header = RequestHeader::from_bytes(header).expect("header");
    let (head, body) = rest.split_at(header.head_bytes as usize);
    assert_eq!(body.len(), header.body_bytes as usize);
    let head = RequestHead::parse(head).expect("head");
    let http = (header.kind == RequestKind::Http).then(|| HttpRequest {
        method: head.method.into(),
        target: head.target.into(),
        headers: head
            .headers()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
    });
    Request {
        request_id: head.request_id.into(),
        function_name: head.function_name.into(),
        function_version: head.function_version.into(),
        traceparent: head.traceparent.map(Into::into),
        client_address: head.client_address.map(Into::into),
        client_context: head.client_context.map(Into::into),
        http,
        body: body.into(),
    }
}

fn frame(kind: impl FrameKind, nonce: u64, fields: &[(Tag, &[u8])], body: &[u8]) -> Vec<u8> {
    let mut head = vec![];
    for (tag, value) in fields {
        write_field(*tag, value, |piece| head.extend_from_slice(piece)).expect("short value");
    }
    let header = FrameHeader::new(kind, nonce, head.len(), body.len()).expect("within limits");
    [&header.to_bytes()[..], &head, body].concat()
}

proptest! {
    #[test]
    fn what_is_written_is_what_the_guest_reads(request in request()) {
        let mut written = vec![];
        exchange().write(&mut written, &request).expect("write");
        prop_assert_eq!(parse(&written), request);
    }

    #[test]
    fn responses_are_read_back(
        status: u16, error_type: String, headers in headers(), body: Vec<u8>,
    ) {
        let status_bytes = status.to_le_bytes();
        let mut fields =
            vec![(Tag::Status, &status_bytes[..]), (Tag::ErrorType, error_type.as_bytes())];
        for (name, value) in &headers {
            fields.extend([(Tag::HeaderName, name.as_bytes()), (Tag::HeaderValue, value)]);
        }
        let kind = ResponseKind::Http;
        let (mut exchange, nonce) = asked();
        let bytes = frame(kind, nonce, &fields, &body);
        let expected = Response { kind, status, error_type, headers, body };
        prop_assert_eq!(exchange.read(&mut &bytes[..]).expect("well-formed"), expected);
        // Cut anywhere, it is closed or truncated and nothing else.
        for end in 0..bytes.len() {
            let cut = asked().0.read(&mut &bytes[..end]);
            let named = match end {
                0 => matches!(cut, Err(ResponseError::Closed)),
                _ => matches!(cut, Err(ResponseError::Truncated)),
            };
            prop_assert!(named, "cut at {}", end);
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read(mut bytes: Vec<u8>, header: bool, head in 0u8..32) {
        let (mut exchange, nonce) = asked();
        if header {
            let mut start = FrameHeader::new(ResponseKind::Ok, nonce, 0, 0).expect("empty").to_bytes();
            start[8] = head;
            bytes.splice(..0, start);
        }
        let mut stream = &bytes[..];
        if exchange.read(&mut stream).is_ok() {
            prop_assert!(stream.len() < bytes.len());
        }
    }

    /// Whatever a guest sends, withholds and interleaves, and however its bytes are cut: the owner takes an answer for
    /// the request in hand only, and goes on only if nothing is left.
    #[test]
    fn no_request_gets_a_byte_that_is_not_its_own(
        lives in prop::collection::vec((prop::collection::vec(deed(), 0..24), 0usize..4, 1usize..64), 1..12),
    ) {
        let mut exchange = exchange();
        let mut guest = Guest::default();
        for (number, (deeds, skipped, piece_bytes)) in lives.into_iter().enumerate() {
            let body = number.to_string().into_bytes();
            let request = Request { body: body.clone(), ..Request::default() };
            let frame = exchange.ask(&request).expect("it fits");
            prop_assert!(frame.rest.is_empty());
            guest.is_asked(&frame.first, skipped);
            let mut response = None;
            for deed in deeds {
                guest.does(deed, &body);
                if guest.is_paused {
                    match guest.read_by(&mut exchange, piece_bytes, None) {
                        Ok(read) => response = response.or(read),
                        Err(_) => {
                            prop_assert!(!guest.is_good, "a good guest was ended");
                            return Ok(());
                        }
                    }
                }
            }
            let done = guest.done();
            if response.is_none() {
                match guest.read_by(&mut exchange, piece_bytes, Some(&done)) {
                    Ok(read) => response = read,
                    // The VM has ended, which is all a guest gets for that.
                    Err(_) => {
                        prop_assert!(!guest.is_good || !guest.has_answered, "a good guest was ended");
                        return Ok(());
                    }
                }
            }
            let response = response.expect("read to the response or a fault");
            // What it puts together under its own nonce is its own.
            prop_assert!(response.body == body || guest.has_begun, "an answer to another request");
            match exchange.prove_empty(&done) {
                Ok(()) => prop_assert!(guest.is_clean(), "something is left: {:?}", guest),
                Err(_) => {
                    prop_assert!(!guest.is_clean(), "a good guest was ended");
                    return Ok(());
                }
            }
        }
    }
}

/// What a guest may do between a request and its going idle.
#[derive(Clone, Debug)]
enum Deed {
    /// Answers.
    Answer,
    /// Sends an answer that it kept from the request before.
    StaleAnswer,
    /// Keeps an answer for later.
    KeepAnswer,
    /// Sends the beginning of an answer.
    Begin(usize),
    /// Sends a forged frame, with a nonce that it makes up.
    Forge(u64),
    /// Sends anything.
    Noise(Vec<u8>),
    /// Makes a call with a body of this length, numbered so far off the next one.
    Call(usize, u32),
    /// Rings: the owner reads what there is.
    Ring,
    /// Reads the replies that there are.
    TakeReplies,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => Just(Deed::Answer),
        1 => Just(Deed::StaleAnswer),
        1 => Just(Deed::KeepAnswer),
        1 => (0usize..30).prop_map(Deed::Begin),
        1 => any::<u64>().prop_map(Deed::Forge),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Deed::Noise),
        30 => (0usize..100).prop_map(|bytes| Deed::Call(bytes, 0)),
        1 => (0usize..100, 1u32..3).prop_map(|(bytes, off)| Deed::Call(bytes, off)),
        12 => Just(Deed::Ring),
        12 => Just(Deed::TakeReplies),
    ]
}

/// A guest, its VMM's counts, and what lies in the stream.
#[derive(Debug, Default)]
struct Guest {
    nonce: u64,
    kept: Vec<u8>,
    stream: Vec<u8>,
    replies: Vec<u8>,
    written: u64,
    done: Stats,
    calls: u32,
    in_flight: u32,
    is_paused: bool,
    has_answered: bool,
    /// It sent the beginning of an answer, and anything may be the rest.
    has_begun: bool,
    /// It did nothing but call, as often as it may, and answer once.
    is_good: bool,
}

impl Guest {
    /// It gets a request, and leaves the last `skipped` bytes of it in the stream.
    fn is_asked(&mut self, frame: &[u8], skipped: usize) {
        let header = frame.first_chunk().expect("a header");
        self.nonce = RequestHeader::from_bytes(header).expect("a header").nonce;
        // Most requests are read whole.
        let skipped = skipped.saturating_sub(2);
        self.done.bytes_in += (frame.len() - skipped) as u64;
        self.written += frame.len() as u64;
        (self.calls, self.in_flight) = (0, 0);
        (self.is_good, self.has_answered, self.has_begun) = (true, false, false);
    }

    fn does(&mut self, deed: Deed, body: &[u8]) {
        let answer = frame(ResponseKind::Ok, self.nonce, &[], body);
        let before = self.stream.len();
        self.is_paused = matches!(deed, Deed::Ring);
        self.has_begun |= matches!(deed, Deed::Begin(_));
        let is_own = matches!(deed, Deed::Answer | Deed::Call(_, 0));
        match deed {
            Deed::Answer => self.stream.extend(answer),
            Deed::KeepAnswer => self.kept = answer,
            Deed::StaleAnswer => self.stream.append(&mut self.kept),
            Deed::Begin(bytes) => self.stream.extend(&answer[..bytes.min(answer.len())]),
            Deed::Forge(nonce) => {
                self.stream
                    .extend(frame(ResponseKind::Ok, nonce, &[], b"forged"));
            }
            Deed::Noise(noise) => self.stream.extend(noise),
            Deed::Call(bytes, off) => {
                let id = self.calls.wrapping_add(off);
                self.stream
                    .extend(call(self.nonce, id, &vec![id as u8; bytes]));
                self.calls += 1;
                self.in_flight += 1;
            }
            Deed::Ring => {}
            Deed::TakeReplies => {
                self.done.bytes_in += self.replies.len() as u64;
                self.replies.clear();
            }
        }
        if self.stream.len() > before {
            self.is_good &= is_own && !self.has_answered && self.in_flight <= IN_FLIGHT_MAX;
            self.has_answered |= self.stream[before..] == answer_of(self.nonce, body);
        }
    }

    /// It goes idle: what the VMM then tells.
    fn done(&mut self) -> Stats {
        self.done.requests_done += 1;
        Stats {
            bytes_out: self.done.bytes_out + self.stream.len() as u64,
            ..self.done
        }
    }

    /// The owner reads, in pieces, as far as it wants to, and replies to each call with its body: to the response if the
    /// VM is `done`.
    fn read_by(
        &mut self,
        exchange: &mut Exchange,
        piece_bytes: usize,
        done: Option<&Stats>,
    ) -> Result<Option<Response>, StreamFault> {
        loop {
            if let Some(fault) = done.and_then(|done| exchange.incomplete(done)) {
                return Err(fault);
            }
            let Some(buffer) = exchange.buffer() else {
                return Ok(None);
            };
            let room = buffer.capacity() - buffer.len();
            let piece = self.stream.len().min(piece_bytes).min(room);
            if piece == 0 && done.is_none() {
                return Ok(None);
            }
            assert!(piece > 0, "nothing more to read, and no end");
            buffer.extend(self.stream.drain(..piece));
            self.done.bytes_out += piece as u64;
            let response = exchange.take(piece)?;
            let start = self.replies.len();
            while let Some(call) = exchange.next_call() {
                assert!(call.body.iter().all(|byte| *byte == call.id as u8));
                exchange.reply(call.id, Reply::ok(call.body), &mut self.replies);
                self.in_flight -= 1;
            }
            self.written += (self.replies.len() - start) as u64;
            if let Some(response) = response {
                assert_eq!(self.replies.len(), start, "a reply behind the response");
                return Ok(Some(response));
            }
        }
    }

    fn is_clean(&self) -> bool {
        self.stream.is_empty() && self.done.bytes_in == self.written
    }
}

fn answer_of(nonce: u64, body: &[u8]) -> Vec<u8> {
    frame(ResponseKind::Ok, nonce, &[], body)
}

/// The frame of a call.
fn call(nonce: u64, id: u32, body: &[u8]) -> Vec<u8> {
    let head = CallHead {
        id,
        service: 1,
        operation: 1,
        binding: "",
        timeout_ms: Some(7),
    };
    let mut bytes = vec![];
    head.write(|piece| bytes.extend_from_slice(piece))
        .expect("short fields");
    let header = FrameHeader::new(CallKind, nonce, bytes.len(), body.len()).expect("small");
    [&header.to_bytes()[..], &bytes, body].concat()
}

/// Feeds `bytes` in one piece after the other.
fn feed(exchange: &mut Exchange, mut bytes: &[u8]) -> Result<Option<Response>, StreamFault> {
    while !bytes.is_empty() {
        let buffer = exchange.buffer().expect("it was asked");
        let piece = bytes.len().min(buffer.capacity() - buffer.len());
        buffer.extend_from_slice(&bytes[..piece]);
        bytes = &bytes[piece..];
        if let Some(response) = exchange.take(piece)? {
            return Ok(Some(response));
        }
    }
    Ok(None)
}

#[test]
fn calls_are_taken_and_replied_to_in_any_order() {
    let (mut exchange, nonce) = asked();
    let sent = [call(nonce, 0, b"a"), call(nonce, 1, &[7; 9000])].concat();
    assert_eq!(feed(&mut exchange, &sent), Ok(None));
    let first = exchange.next_call().expect("a call");
    assert_eq!((first.id, &first.body[..]), (0, &b"a"[..]));
    assert_eq!(first.timeout, Some(std::time::Duration::from_millis(7)));
    let second = exchange.next_call().expect("another");
    assert_eq!(second.body, [7; 9000]);
    assert_eq!(exchange.next_call(), None);
    assert!(exchange.has_begun() && exchange.called().calls == 2);
    let mut replies = vec![];
    for call in [second, first] {
        exchange.reply(call.id, Reply::ok(call.body), &mut replies);
    }
    let header = ReplyHeader::from_bytes(replies.first_chunk().expect("a header"));
    let header = header.expect("a header");
    assert_eq!((header.nonce, header.body_bytes), (nonce, 9000));
    let head = ReplyHead::parse(&replies[HEADER_BYTES..][..header.head_bytes as usize]);
    assert_eq!(head.expect("a head").id, 1);
    let answer = answer_of(nonce, b"done");
    assert!(feed(&mut exchange, &answer).expect("good").is_some());
    let stats = |read: usize| done(1, 24 + read as u64, (sent.len() + answer.len()) as u64);
    assert_eq!(exchange.prove_empty(&stats(replies.len())), Ok(()));
    // A reply that the guest left in the stream is found as what it is.
    let (mut exchange, nonce) = asked();
    feed(&mut exchange, &call(nonce, 0, b"a")).expect("good");
    let mut replies = vec![];
    exchange.reply(0, Reply::ok(vec![]), &mut replies);
    feed(&mut exchange, &answer_of(nonce, b"")).expect("good");
    let left = exchange.prove_empty(&done(1, 24, exchange.read_bytes));
    assert_eq!(left, Err(StreamFault::Unread(replies.len() as u64)));
}

#[test]
fn a_response_ends_the_calls_of_its_request() {
    let (mut exchange, nonce) = asked();
    let sent = [call(nonce, 0, b""), answer_of(nonce, b"")].concat();
    assert!(feed(&mut exchange, &sent).expect("good").is_some());
    assert_eq!(exchange.next_call(), None);
    let mut replies = vec![];
    exchange.reply(0, Reply::ok(vec![]), &mut replies);
    assert!(replies.is_empty(), "nobody waits for it");
    assert_eq!(
        exchange.prove_empty(&done(1, 24, sent.len() as u64)),
        Ok(())
    );
    // A call behind a response is a byte too many, wherever it lies.
    let (mut exchange, nonce) = asked();
    let late = call(nonce, 0, b"");
    let surplus = Err(StreamFault::Surplus(late.len() as u64));
    let sent = [answer_of(nonce, b""), late].concat();
    assert_eq!(feed(&mut exchange, &sent), surplus);
}

#[test]
fn each_limit_of_calls_holds_on_both_sides() {
    let mut replies = vec![];
    // In flight.
    let (mut exchange, nonce) = asked();
    for id in 0..IN_FLIGHT_MAX {
        assert_eq!(feed(&mut exchange, &call(nonce, id, b"")), Ok(None));
    }
    exchange.reply(3, Reply::ok(vec![]), &mut replies);
    let more = |id| call(nonce, id, b"");
    assert_eq!(feed(&mut exchange, &more(IN_FLIGHT_MAX)), Ok(None));
    let refused = feed(&mut exchange, &more(IN_FLIGHT_MAX + 1));
    assert_eq!(refused, Err(StreamFault::CallsInFlight));
    // A request.
    let (mut exchange, nonce) = asked();
    for id in 0..CALLS_MAX {
        assert_eq!(feed(&mut exchange, &call(nonce, id, b"")), Ok(None));
        exchange.reply(id, Reply::ok(vec![]), &mut replies);
    }
    let refused = feed(&mut exchange, &call(nonce, CALLS_MAX, b""));
    assert_eq!(refused, Err(StreamFault::Calls));
    // Bytes of calls: refused at the header, before anything is kept.
    let (mut exchange, nonce) = asked();
    let large = call(nonce, 0, &vec![0; BODY_BYTES_MAX as usize]);
    for id in 0..3 {
        let frame = call(nonce, id, &vec![0; BODY_BYTES_MAX as usize]);
        assert_eq!(feed(&mut exchange, &frame), Ok(None));
        exchange.reply(id, Reply::ok(vec![]), &mut replies);
    }
    let bytes = 4 * large.len() as u64;
    let refused = feed(&mut exchange, &large[..HEADER_BYTES]);
    assert_eq!(refused, Err(StreamFault::CallBytes(bytes)));
}

#[test]
fn what_is_no_call_is_named() {
    let check = |change: fn(u64) -> Vec<u8>| {
        let (mut exchange, nonce) = asked();
        feed(&mut exchange, &change(nonce)).expect_err("a fault")
    };
    let wrong = check(|nonce| call(nonce + 1, 0, b""));
    assert_eq!(wrong, StreamFault::Nonce);
    let number = |found, expected| StreamFault::CallId { found, expected };
    assert_eq!(check(|nonce| call(nonce, 1, b"")), number(1, 0));
    let twice = check(|nonce| [call(nonce, 0, b""), call(nonce, 0, b"")].concat());
    assert_eq!(twice, number(0, 1));
    let missing = StreamFault::Call(FrameError::FieldMissing(Tag::CallId));
    assert_eq!(check(|nonce| frame(CallKind, nonce, &[], b"")), missing);
    let large = check(|nonce| {
        let mut call = call(nonce, 0, b"");
        call[12..16].copy_from_slice(&(BODY_BYTES_MAX + 1).to_le_bytes());
        call
    });
    let error = FrameError::BodyTooLarge(BODY_BYTES_MAX + 1);
    assert_eq!(large, StreamFault::Frame(error));
}

/// A result that does not fit becomes an error that does, and its call is over.
#[test]
fn a_result_that_is_too_large_is_told_as_an_error() {
    let error_of = |reply: &[u8]| {
        let header = ReplyHeader::from_bytes(reply.first_chunk().expect("a header"));
        let header = header.expect("a header");
        assert_eq!(reply.len(), HEADER_BYTES + header.payload_len());
        let head = ReplyHead::parse(&reply[HEADER_BYTES..][..header.head_bytes as usize]);
        head.expect("a head").error
    };
    let (mut exchange, nonce) = asked();
    let mut replied = 0;
    for id in 0..7 {
        feed(&mut exchange, &call(nonce, id, b"")).expect("good");
        let body_bytes = match id {
            0 => BODY_BYTES_MAX as usize + 1,
            1 => 1,
            _ => BODY_BYTES_MAX as usize,
        };
        let mut reply = vec![];
        exchange.reply(id, Reply::ok(vec![0; body_bytes]), &mut reply);
        // One does not fit a frame; three of 16 MiB are all that fit into 64 MiB.
        let expected = matches!(id, 0 | 5 | 6).then_some(CallErrorKind::Limit);
        assert_eq!(error_of(&reply), expected, "reply {id}");
        replied += reply.len() as u64;
    }
    assert_eq!(exchange.written_bytes, 24 + replied);
}

#[test]
fn a_response_in_pieces_is_read() {
    struct OneByteEach<'a>(&'a [u8]);
    impl Read for OneByteEach<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let room = buffer.len().min(1);
            self.0.read(&mut buffer[..room])
        }
    }
    let (mut exchange, nonce) = asked();
    let bytes = frame(ResponseKind::Ok, nonce, &[], b"body");
    let response = exchange.read(&mut OneByteEach(&bytes)).expect("read");
    assert_eq!(response.body, b"body");
    assert_eq!(
        exchange.prove_empty(&done(1, 24, bytes.len() as u64)),
        Ok(())
    );
}

#[test]
fn a_frame_behind_a_response_is_refused_wherever_it_rests() {
    // In the same piece.
    let (mut exchange, nonce) = asked();
    let one = frame(ResponseKind::Ok, nonce, &[], b"1");
    let two = [&one[..], &one].concat();
    let bytes = one.len() as u64;
    let error = exchange.read(&mut &two[..]).expect_err("a surplus");
    assert!(
        matches!(error, ResponseError::Guest(StreamFault::Surplus(surplus)) if surplus == bytes)
    );
    // Left in the stream: the VMM counted it.
    let (mut exchange, _) = asked();
    exchange.read(&mut &one[..]).expect("the first");
    let left = exchange.prove_empty(&done(1, 24, 2 * bytes));
    assert_eq!(left, Err(StreamFault::Surplus(bytes)));
    assert!(
        exchange.prove_empty(&done(1, 24, bytes)).is_err(),
        "it stays broken"
    );
}

#[test]
fn what_was_left_unread_or_done_twice_is_refused() {
    let answered = || {
        let (mut exchange, nonce) = asked();
        let bytes = frame(ResponseKind::Ok, nonce, &[], b"");
        exchange.read(&mut &bytes[..]).expect("a response");
        exchange
    };
    assert_eq!(answered().prove_empty(&done(1, 24, 24)), Ok(()));
    let unread = answered().prove_empty(&done(1, 20, 24));
    assert_eq!(unread, Err(StreamFault::Unread(4)));
    let twice = answered().prove_empty(&done(2, 24, 24));
    assert_eq!(twice, Err(StreamFault::Requests { done: 2, asked: 1 }));
    let early = asked().0.prove_empty(&done(1, 24, 24));
    assert_eq!(early, Err(StreamFault::Requests { done: 1, asked: 0 }));
}

#[test]
fn an_answer_to_another_request_is_refused() {
    let (mut exchange, first) = asked();
    let answer = frame(ResponseKind::Ok, first, &[], b"first");
    exchange.read(&mut &answer[..]).expect("the first");
    let bytes = answer.len() as u64;
    exchange
        .prove_empty(&done(1, 24, bytes))
        .expect("nothing is left");
    assert_ne!(ask(&mut exchange), first);
    let stale = exchange.read(&mut &answer[..]).expect_err("stale");
    assert!(matches!(stale, ResponseError::Guest(StreamFault::Nonce)));
}

#[test]
fn half_of_a_response_is_known_for_that_when_the_vm_is_done() {
    let (mut exchange, nonce) = asked();
    let answer = frame(ResponseKind::Ok, nonce, &[], &[7; 100]);
    let half = &answer[..29];
    let cut = exchange.read(&mut &half[..]);
    assert!(matches!(cut, Err(ResponseError::Truncated)));
    assert_eq!(
        exchange.incomplete(&done(1, 24, 30)),
        None,
        "one is to come"
    );
    let fault = StreamFault::Incomplete { sent_bytes: 29 };
    assert_eq!(exchange.incomplete(&done(1, 24, 29)), Some(fault));
}

#[test]
fn limits_and_direction_are_checked_before_the_payload() {
    let check = |bytes: &[u8]| match asked().0.read(&mut &bytes[..]) {
        Err(ResponseError::Guest(StreamFault::Frame(error))) => error,
        other => panic!("expected a frame error, got {other:?}"),
    };
    let mut header = FrameHeader::new(ResponseKind::Ok, 0, 0, 0)
        .expect("empty")
        .to_bytes();
    header[12..16].copy_from_slice(&(BODY_BYTES_MAX + 1).to_le_bytes());
    assert_eq!(check(&header), FrameError::BodyTooLarge(BODY_BYTES_MAX + 1));
    header[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(check(&header), FrameError::HeadTooLarge(u32::MAX));
    assert_eq!(
        check(&frame(RequestKind::Event, 0, &[], b"")),
        FrameError::Direction
    );
}

#[test]
fn a_request_beyond_a_limit_is_not_begun() {
    let check = |request: Request| {
        let mut written = vec![];
        let refused = exchange().write(&mut written, &request);
        assert!(matches!(refused, Err(RequestError::Frame(_))) && written.is_empty());
    };
    let http = |headers| {
        Some(HttpRequest {
            headers,
            ..HttpRequest::default()
        })
    };
    check(Request {
        body: vec![0; BODY_BYTES_MAX as usize + 1],
        ..Request::default()
    });
    check(Request {
        request_id: "x".repeat(1 << 16),
        ..Request::default()
    });
    let many = vec![("x".into(), vec![0; 1000]); HEAD_BYTES_MAX as usize / 1000];
    check(Request {
        http: http(many),
        ..Request::default()
    });
}

#[test]
fn a_large_request_is_written_whole() {
    let request = Request {
        body: vec![7; 1 << 20],
        ..Request::default()
    };
    let mut written = vec![];
    exchange().write(&mut written, &request).expect("write");
    assert_eq!(parse(&written), request);
}
