//! Requests and responses as whole values, and how they go over the request stream.
//!
//! The framing itself is [`jiffy_abi::frame`]'s. A response comes from a guest and is hostile: its
//! lengths are checked before anything is allocated for them.

use std::io::{self, Read, Write};

use jiffy_abi::frame::{
    FrameError, FrameHeader, FrameKind, HEADER_BYTES, ResponseHead, Tag, write_field,
};

/// Requests up to this size, bytes, are written in one piece: a VMM that reads half of a request
/// resumes its guest for it, and that costs an exit.
const ONE_PIECE_BYTES_MAX: usize = 64 << 10;

/// A request to a function. Texts that are empty are not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its id.
    pub request_id: String,
    /// Name of the function as it was deployed.
    pub function_name: String,
    /// Version of the function as it was deployed.
    pub function_version: String,
    /// W3C trace context, if the caller sent one.
    pub traceparent: Option<String>,
    /// IP address of whoever sent it, if that is known.
    pub client_address: Option<String>,
    /// What came over HTTP; `None`: the body is an event.
    pub http: Option<HttpRequest>,
    /// The event, or the HTTP body.
    pub body: Vec<u8>,
}

/// What only a request over HTTP has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names and values, in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A function's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// What it is; never a request.
    pub kind: FrameKind,
    /// HTTP status; zero if the response is none of HTTP.
    pub status: u16,
    /// Name of the error's type; empty if the response is no error.
    pub error_type: String,
    /// HTTP headers: names and values, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What the handler returned, the HTTP body, or the text of the error.
    pub body: Vec<u8>,
}

/// Why a request was not written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum RequestError {
    #[error("the request does not fit a frame")]
    Frame(#[from] FrameError),
    #[error("cannot write to the request stream")]
    Write(#[from] io::Error),
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ResponseError {
    #[error("the request stream was closed before a response")]
    Closed,
    #[error("the request stream was closed in the middle of a response")]
    Truncated,
    #[error("the guest's response is malformed")]
    Frame(#[from] FrameError),
    #[error("cannot read from the request stream")]
    Read(#[from] io::Error),
}

/// Writes `request` as one frame. On [`RequestError::Frame`] nothing was written.
pub fn write_request(stream: &mut impl Write, request: &Request) -> Result<(), RequestError> {
    let head = encode_head(request)?;
    let kind = if request.http.is_some() {
        FrameKind::HttpRequest
    } else {
        FrameKind::Event
    };
    let header = FrameHeader::new(kind, head.len(), request.body.len())?;
    let mut piece = [&header.to_bytes()[..], &head].concat();
    if piece.len() + request.body.len() <= ONE_PIECE_BYTES_MAX {
        piece.extend_from_slice(&request.body);
        stream.write_all(&piece)?;
    } else {
        stream.write_all(&piece)?;
        stream.write_all(&request.body)?;
    }
    Ok(stream.flush()?)
}

fn encode_head(request: &Request) -> Result<Vec<u8>, FrameError> {
    let mut head = vec![];
    let mut field =
        |tag, value: &[u8]| write_field(tag, value, |piece| head.extend_from_slice(piece));
    let texts = [
        (Tag::RequestId, &request.request_id),
        (Tag::FunctionName, &request.function_name),
        (Tag::FunctionVersion, &request.function_version),
    ];
    for (tag, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        field(tag, text.as_bytes())?;
    }
    if let Some(traceparent) = &request.traceparent {
        field(Tag::Traceparent, traceparent.as_bytes())?;
    }
    if let Some(address) = &request.client_address {
        field(Tag::ClientAddress, address.as_bytes())?;
    }
    if let Some(http) = &request.http {
        field(Tag::Method, http.method.as_bytes())?;
        field(Tag::Target, http.target.as_bytes())?;
        for (name, value) in &http.headers {
            field(Tag::HeaderName, name.as_bytes())?;
            field(Tag::HeaderValue, value)?;
        }
    }
    Ok(head)
}

/// Reads one response. Allocates no more than the limits of [`jiffy_abi::frame`] allow.
/// After an error the stream is between no two frames: it is of no more use.
pub fn read_response(stream: &mut impl Read) -> Result<Response, ResponseError> {
    let header = read_up_to(stream, HEADER_BYTES)?;
    if header.is_empty() {
        return Err(ResponseError::Closed);
    }
    let header = header.first_chunk().ok_or(ResponseError::Truncated)?;
    let header = FrameHeader::from_bytes(header)?;
    if header.kind.is_request() {
        return Err(FrameError::Direction.into());
    }
    let head = read_exactly(stream, header.head_bytes as usize)?;
    let body = read_exactly(stream, header.body_bytes as usize)?;
    let parsed = ResponseHead::parse(&head)?;
    Ok(Response {
        kind: header.kind,
        status: parsed.status,
        error_type: parsed.error_type.into(),
        headers: parsed
            .headers()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        body,
    })
}

fn read_exactly(stream: &mut impl Read, bytes: usize) -> Result<Vec<u8>, ResponseError> {
    let read = read_up_to(stream, bytes)?;
    if read.len() == bytes {
        Ok(read)
    } else {
        Err(ResponseError::Truncated)
    }
}

/// Reads `bytes`, or less if the stream ends before.
fn read_up_to(stream: &mut impl Read, bytes: usize) -> Result<Vec<u8>, ResponseError> {
    let mut read = Vec::with_capacity(bytes);
    match stream.take(bytes as u64).read_to_end(&mut read) {
        Ok(_) => Ok(read),
        // A Unix stream whose other end died with unread bytes is reset and not just at its end.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(read),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use jiffy_abi::frame::{BODY_BYTES_MAX, HEAD_BYTES_MAX, RequestHead};
    use proptest::prelude::*;

    use super::*;

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
            any::<[Option<String>; 2]>(),
            prop::option::of(http()),
            any::<Vec<u8>>(),
        )
            .prop_map(
                |(
                    [request_id, function_name, function_version],
                    [traceparent, client_address],
                    http,
                    body,
                )| {
                    Request {
                        request_id,
                        function_name,
                        function_version,
                        traceparent,
                        client_address,
                        http,
                        body,
                    }
                },
            )
    }

    /// What a guest makes of the frame.
    fn parse(frame: &[u8]) -> Request {
        let (header, rest) = frame.split_first_chunk().expect("header");
        let header = FrameHeader::from_bytes(header).expect("header");
        let (head, body) = rest.split_at(header.head_bytes as usize);
        assert_eq!(body.len(), header.body_bytes as usize);
        let head = RequestHead::parse(head).expect("head");
        let http = (header.kind == FrameKind::HttpRequest).then(|| HttpRequest {
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
            http,
            body: body.into(),
        }
    }

    fn frame(kind: FrameKind, fields: &[(Tag, &[u8])], body: &[u8]) -> Vec<u8> {
        let mut head = vec![];
        for (tag, value) in fields {
            write_field(*tag, value, |piece| head.extend_from_slice(piece)).expect("short value");
        }
        let header = FrameHeader::new(kind, head.len(), body.len()).expect("within limits");
        [&header.to_bytes()[..], &head, body].concat()
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_the_guest_reads(request in request()) {
            let mut written = vec![];
            write_request(&mut written, &request).expect("write");
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
            let kind = FrameKind::HttpResponse;
            let bytes = frame(kind, &fields, &body);
            let expected = Response { kind, status, error_type, headers, body };
            prop_assert_eq!(read_response(&mut &bytes[..]).expect("well-formed"), expected);
            // Cut anywhere, it is closed or truncated and nothing else.
            for end in 0..bytes.len() {
                let cut = read_response(&mut &bytes[..end]);
                let named = match end {
                    0 => matches!(cut, Err(ResponseError::Closed)),
                    _ => matches!(cut, Err(ResponseError::Truncated)),
                };
                prop_assert!(named, "cut at {}", end);
            }
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_read(mut bytes: Vec<u8>, header: bool, head in 0u8..32) {
            if header {
                let mut start = *b"jfRS\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00";
                start[8] = head;
                bytes.splice(..0, start);
            }
            let mut stream = &bytes[..];
            if read_response(&mut stream).is_ok() {
                prop_assert!(stream.len() < bytes.len());
            }
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
        let bytes = frame(FrameKind::Ok, &[], b"body");
        assert_eq!(
            read_response(&mut OneByteEach(&bytes)).expect("read").body,
            b"body"
        );
    }

    #[test]
    fn a_response_leaves_the_next_one_in_the_stream() {
        let bytes = [
            frame(FrameKind::Ok, &[], b"1"),
            frame(FrameKind::Ok, &[], b"2"),
        ]
        .concat();
        let mut stream = &bytes[..];
        assert_eq!(read_response(&mut stream).expect("first").body, b"1");
        assert_eq!(read_response(&mut stream).expect("second").body, b"2");
        assert!(matches!(
            read_response(&mut stream),
            Err(ResponseError::Closed)
        ));
    }

    #[test]
    fn limits_and_direction_are_checked_before_the_payload() {
        let check = |bytes: &[u8]| match read_response(&mut &bytes[..]) {
            Err(ResponseError::Frame(error)) => error,
            other => panic!("expected a frame error, got {other:?}"),
        };
        let mut header = FrameHeader::new(FrameKind::Ok, 0, 0)
            .expect("empty")
            .to_bytes();
        header[12..].copy_from_slice(&(BODY_BYTES_MAX + 1).to_le_bytes());
        assert_eq!(check(&header), FrameError::BodyTooLarge(BODY_BYTES_MAX + 1));
        header[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(check(&header), FrameError::HeadTooLarge(u32::MAX));
        assert_eq!(
            check(&frame(FrameKind::Event, &[], b"")),
            FrameError::Direction
        );
    }

    #[test]
    fn a_request_beyond_a_limit_is_not_begun() {
        let check = |request: Request| {
            let mut written = vec![];
            let refused = write_request(&mut written, &request);
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
        write_request(&mut written, &request).expect("write");
        assert_eq!(parse(&written), request);
    }
}
