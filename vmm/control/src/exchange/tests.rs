use jiffy_abi::frame::{
    BODY_BYTES_MAX, FrameHeader, FrameKind, HEAD_BYTES_MAX, RequestHead, ResponseKind,
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
        lives in prop::collection::vec((prop::collection::vec(deed(), 0..6), 0usize..4, 1usize..64), 1..12),
    ) {
        let mut exchange = exchange();
        let mut guest = Guest::default();
        for (number, (deeds, skipped, piece_bytes)) in lives.into_iter().enumerate() {
            let body = number.to_string().into_bytes();
            let request = Request { body: body.clone(), ..Request::default() };
            let frame = exchange.ask(&request).expect("it fits");
            prop_assert!(frame.rest.is_empty());
            guest.is_asked(&frame.first, skipped);
            for deed in deeds {
                guest.does(deed, &body);
            }
            let done = guest.done();
            let response = match guest.read_by(&mut exchange, piece_bytes, &done) {
                Ok(response) => response,
                // The VM has ended, which is all a guest gets for that.
                Err(_) => return Ok(()),
            };
            prop_assert_eq!(&response.body, &body, "an answer to another request");
            match exchange.settle(&done) {
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
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => Just(Deed::Answer),
        1 => Just(Deed::StaleAnswer),
        1 => Just(Deed::KeepAnswer),
        1 => (0usize..30).prop_map(Deed::Begin),
        1 => any::<u64>().prop_map(Deed::Forge),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Deed::Noise),
    ]
}

/// A guest, its VMM's counts, and what lies in the stream.
#[derive(Debug, Default)]
struct Guest {
    nonce: u64,
    kept: Vec<u8>,
    stream: Vec<u8>,
    written: u64,
    done: Stats,
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
    }

    fn does(&mut self, deed: Deed, body: &[u8]) {
        let answer = frame(ResponseKind::Ok, self.nonce, &[], body);
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
        }
    }

    /// It goes idle: what the VMM then tells.
    fn done(&mut self) -> Stats {
        self.done.requests_done += 1;
        self.done.bytes_out += self.stream.len() as u64;
        self.done
    }

    /// The owner reads, in pieces, as far as it wants to.
    fn read_by(
        &mut self,
        exchange: &mut Exchange,
        piece_bytes: usize,
        done: &Stats,
    ) -> Result<Response, StreamFault> {
        loop {
            if let Some(fault) = exchange.incomplete(done) {
                return Err(fault);
            }
            let buffer = exchange.buffer().expect("it was asked");
            let room = buffer.capacity() - buffer.len();
            let piece = self.stream.len().min(piece_bytes).min(room);
            assert!(piece > 0, "nothing more to read, and no end");
            buffer.extend(self.stream.drain(..piece));
            if let Some(response) = exchange.take(piece)? {
                return Ok(response);
            }
        }
    }

    fn is_clean(&self) -> bool {
        self.stream.is_empty() && self.done.bytes_in == self.written
    }
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
    assert_eq!(exchange.settle(&done(1, 24, bytes.len() as u64)), Ok(()));
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
    let left = exchange.settle(&done(1, 24, 2 * bytes));
    assert_eq!(left, Err(StreamFault::Surplus(bytes)));
    assert!(
        exchange.settle(&done(1, 24, bytes)).is_err(),
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
    assert_eq!(answered().settle(&done(1, 24, 24)), Ok(()));
    let unread = answered().settle(&done(1, 20, 24));
    assert_eq!(unread, Err(StreamFault::Unread(4)));
    let twice = answered().settle(&done(2, 24, 24));
    assert_eq!(twice, Err(StreamFault::Requests { done: 2, asked: 1 }));
    let early = asked().0.settle(&done(1, 24, 24));
    assert_eq!(early, Err(StreamFault::Requests { done: 1, asked: 0 }));
}

#[test]
fn an_answer_to_another_request_is_refused() {
    let (mut exchange, first) = asked();
    let answer = frame(ResponseKind::Ok, first, &[], b"first");
    exchange.read(&mut &answer[..]).expect("the first");
    let bytes = answer.len() as u64;
    exchange
        .settle(&done(1, 24, bytes))
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
