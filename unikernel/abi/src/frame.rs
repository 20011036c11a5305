//! Framing of requests and responses on the vsock stream.
//!
//! ```text
//! frame  = header head body
//! header = magic: [u8; 4], version: u16, kind: u16, head_bytes: u32, body_bytes: u32, nonce: u64
//! head   = field*
//! field  = tag: u16, value_bytes: u16, value
//! ```
//!
//! All numbers are little-endian. The host sends one request and reads one response before it sends
//! the next; in between, calls of the guest and replies to them ([`crate::call`]) may pass. Each request has a
//! nonce that cannot be guessed, and all frames of the request have it: whatever
//! else a guest leaves in the stream can never be taken for the answer to a later request.
//! Unknown tags are skipped, so that a field can be added without a new version.
//! The VMM parses none of this: the agent and the SDK do, each distrusting the other.

use crate::bytes::{get, put};
use crate::numbered::numbered;

/// Version of the framing.
pub const FRAME_VERSION: u16 = 2;
/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = NONCE + 8;

const NONCE: usize = 16;
const _: () = assert!(HEADER_BYTES == 24);

/// Largest head, bytes.
pub const HEAD_BYTES_MAX: u32 = 64 << 10;
/// Largest body of a request or of a response, bytes.
pub const BODY_BYTES_MAX: u32 = 16 << 20;
/// HTTP statuses that a function may answer with: a response is final (RFC 9110, 15), and it is the only one.
pub const STATUSES: core::ops::RangeInclusive<u16> = 200..=599;
/// Bytes before a field's value.
pub const FIELD_HEADER_BYTES: usize = 4;

/// What the frames of one direction may be.
pub trait FrameKind: Copy {
    /// What frames of this direction begin with.
    const MAGIC: [u8; 4];

    /// The kind as it travels.
    fn number(self) -> u16;

    /// The kind that travels as `number`.
    fn from_number(number: u16) -> Option<Self>;
}

const REQUEST_MAGIC: [u8; 4] = *b"jfRQ";
const RESPONSE_MAGIC: [u8; 4] = *b"jfRS";

numbered! {
    /// What a request is.
    pub enum RequestKind {
        /// The body is an event: JSON or raw bytes, as the handler takes it.
        Event = 1,
        /// It came over HTTP: method, target and headers are in the head.
        Http = 2,
    }
}

numbered! {
    /// What a response is.
    pub enum ResponseKind {
        /// The body is what the handler returned.
        Ok = 1,
        /// The handler returned an error. The body is its text, the head names its type.
        FunctionError = 2,
        /// The event is not what the handler takes. The body says why.
        BadEvent = 3,
        /// Of a handler for HTTP: status and headers are in the head.
        Http = 4,
    }
}

impl FrameKind for RequestKind {
    const MAGIC: [u8; 4] = REQUEST_MAGIC;

    fn number(self) -> u16 {
        self as u16
    }

    fn from_number(number: u16) -> Option<Self> {
        Self::known(number)
    }
}

impl FrameKind for ResponseKind {
    const MAGIC: [u8; 4] = RESPONSE_MAGIC;

    fn number(self) -> u16 {
        self as u16
    }

    fn from_number(number: u16) -> Option<Self> {
        Self::known(number)
    }
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The frame begins with these bytes.
    Magic([u8; 4]),
    /// The frame is of this version.
    Version(u16),
    /// The frame is of this kind, which this side does not know.
    Kind(u16),
    /// A request came where a response must be, or the other way round.
    Direction,
    /// The head has this many bytes, more than [`HEAD_BYTES_MAX`].
    HeadTooLarge(u32),
    /// The body has this many bytes, more than [`BODY_BYTES_MAX`].
    BodyTooLarge(u32),
    /// The head ends inside a field.
    FieldTruncated,
    /// This field's value has more bytes than a field can have.
    FieldTooLarge(Tag),
    /// This field's value is not what the field holds.
    FieldValue(Tag),
    /// This field is missing.
    FieldMissing(Tag),
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Magic(magic) => write!(f, "frame begins with {magic:02x?}, not a jiffy frame"),
            Self::Version(version) => {
                write!(
                    f,
                    "frame version is {version}, but only {FRAME_VERSION} is known"
                )
            }
            Self::Kind(number) => write!(f, "frame kind {number} is unknown"),
            Self::Direction => f.write_str("frame travels in the wrong direction"),
            Self::HeadTooLarge(bytes) => {
                write!(
                    f,
                    "frame head has {bytes} bytes, more than {HEAD_BYTES_MAX}"
                )
            }
            Self::BodyTooLarge(bytes) => {
                write!(f, "body has {bytes} bytes, more than {BODY_BYTES_MAX}")
            }
            Self::FieldTruncated => f.write_str("frame head ends inside a field"),
            Self::FieldTooLarge(tag) => write!(f, "frame field {tag:?} has more than 65535 bytes"),
            Self::FieldValue(tag) => write!(f, "frame field {tag:?} has an invalid value"),
            Self::FieldMissing(tag) => write!(f, "frame field {tag:?} is missing"),
        }
    }
}

impl core::error::Error for FrameError {}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader<K> {
    /// What the frame is.
    pub kind: K,
    /// Bytes of the head.
    pub head_bytes: u32,
    /// Bytes of the body.
    pub body_bytes: u32,
    /// Of a request: drawn at random for it alone. Of all others: that of the request that they belong to.
    pub nonce: u64,
}

/// The header of a request.
pub type RequestHeader = FrameHeader<RequestKind>;
/// The header of a response.
pub type ResponseHeader = FrameHeader<ResponseKind>;

impl<K: FrameKind> FrameHeader<K> {
    /// A header for a head and a body of these lengths, both checked against their limits.
    pub fn new(kind: K, nonce: u64, head_len: usize, body_len: usize) -> Result<Self, FrameError> {
        let head_bytes = u32::try_from(head_len).unwrap_or(u32::MAX);
        let body_bytes = u32::try_from(body_len).unwrap_or(u32::MAX);
        Self {
            kind,
            head_bytes,
            body_bytes,
            nonce,
        }
        .checked()
    }

    fn checked(self) -> Result<Self, FrameError> {
        if self.head_bytes > HEAD_BYTES_MAX {
            return Err(FrameError::HeadTooLarge(self.head_bytes));
        }
        if self.body_bytes > BODY_BYTES_MAX {
            return Err(FrameError::BodyTooLarge(self.body_bytes));
        }
        Ok(self)
    }

    /// The header as it travels.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        put(&mut header, 0, K::MAGIC);
        put(&mut header, 4, FRAME_VERSION.to_le_bytes());
        put(&mut header, 6, self.kind.number().to_le_bytes());
        put(&mut header, 8, self.head_bytes.to_le_bytes());
        put(&mut header, 12, self.body_bytes.to_le_bytes());
        put(&mut header, NONCE, self.nonce.to_le_bytes());
        header
    }

    /// Decodes a header of this direction and checks its lengths against their limits.
    pub fn from_bytes(header: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let magic = get(header, 0);
        if magic != REQUEST_MAGIC && magic != RESPONSE_MAGIC {
            return Err(FrameError::Magic(magic));
        }
        let version = u16::from_le_bytes(get(header, 4));
        if version != FRAME_VERSION {
            return Err(FrameError::Version(version));
        }
        if magic != K::MAGIC {
            return Err(FrameError::Direction);
        }
        let number = u16::from_le_bytes(get(header, 6));
        Self {
            kind: K::from_number(number).ok_or(FrameError::Kind(number))?,
            head_bytes: u32::from_le_bytes(get(header, 8)),
            body_bytes: u32::from_le_bytes(get(header, 12)),
            nonce: u64::from_le_bytes(get(header, NONCE)),
        }
        .checked()
    }

    /// Bytes of head and body.
    pub const fn payload_len(&self) -> usize {
        self.head_bytes as usize + self.body_bytes as usize // Both are below 2^25.
    }
}

numbered! {
    /// What a field holds.
    #[derive(PartialOrd, Ord)]
    pub enum Tag {
        /// Request: its id, UTF-8.
        RequestId = 1,
        /// Request: the function's name, UTF-8.
        FunctionName = 2,
        /// Request: the function's version, UTF-8.
        FunctionVersion = 3,
        /// Request: W3C trace context, UTF-8.
        Traceparent = 4,
        /// HTTP request: the method, UTF-8.
        Method = 5,
        /// HTTP request: path and query, UTF-8.
        Target = 6,
        /// HTTP: a header's name, UTF-8; its value is the next field.
        HeaderName = 7,
        /// HTTP: a header's value, bytes.
        HeaderValue = 8,
        /// HTTP response: the status, u16.
        Status = 9,
        /// Function error: the name of its type, UTF-8.
        ErrorType = 10,
        /// Request: the IP address of whoever sent it, UTF-8.
        ClientAddress = 11,
        /// What the caller says of itself, a JSON document.
        ClientContext = 16,
        /// Call and reply: the call's number in its request, u32.
        CallId = 32,
        /// Call: which service, u16.
        Service = 33,
        /// Call: which operation, u16.
        Operation = 34,
        /// Call: under which name the function was given what it asks for, UTF-8.
        Binding = 35,
        /// Call: what it may take, u32, milliseconds.
        TimeoutMs = 36,
        /// Reply: the kind of error, u16; not there if there is none.
        CallError = 37,
        /// Reply: whether what was called for has left the host, u8.
        Sent = 38,
        /// Reply: the release of jiffy that runs the function, UTF-8.
        Release = 39,
        /// KV: a key, UTF-8.
        Key = 80,
        /// KV: the version of an entry, u64.
        EntryVersion = 81,
        /// KV: what is said of an entry, printable ASCII.
        Metadata = 82,
        /// KV call: after what time an entry expires, u64, milliseconds.
        TtlMs = 83,
        /// KV reply: when an entry expires, u64, milliseconds since 1970.
        ExpiresMs = 84,
        /// KV call: only if there is an entry of this version, u64.
        IfVersion = 85,
        /// KV call: only if there is an entry, 1, or none, 0; u8.
        IfPresent = 86,
        /// KV call: what keys have to begin with, UTF-8.
        Prefix = 87,
        /// KV: the key behind which a list goes on, UTF-8.
        Cursor = 88,
        /// KV call: how many entries at most, u32.
        Count = 89,
        /// KV reply: bytes of a value, u32.
        ValueBytes = 90,
        /// SQL call: a statement, UTF-8.
        Statement = 96,
        /// SQL: the number of a transaction in its request, u32.
        Transaction = 97,
        /// SQL reply: how many rows were changed, u64.
        Changed = 98,
        /// SQL call: how a transaction is isolated, u8: 1 read committed, 2 repeatable read, 3 serializable.
        Isolation = 99,
        /// SQL call: whether a transaction only reads, u8.
        ReadOnly = 100,
        /// Queue call: of what type a message is, printable ASCII.
        ContentType = 112,
    }
}

/// Writes one field of a head, in two pieces, to `sink`.
pub fn write_field(tag: Tag, value: &[u8], mut sink: impl FnMut(&[u8])) -> Result<(), FrameError> {
    let value_bytes = u16::try_from(value.len()).map_err(|_| FrameError::FieldTooLarge(tag))?;
    let mut header = [0; FIELD_HEADER_BYTES];
    put(&mut header, 0, (tag as u16).to_le_bytes());
    put(&mut header, 2, value_bytes.to_le_bytes());
    sink(&header);
    sink(value);
    Ok(())
}

/// The fields of a head, in the order they were written; fields with unknown tags are skipped.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `head`.
    pub const fn new(head: &'a [u8]) -> Self {
        Self { rest: head }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(Tag, &'a [u8]), FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let truncated = Some(Err(FrameError::FieldTruncated));
            let Some((header, rest)) = self.rest.split_first_chunk::<FIELD_HEADER_BYTES>() else {
                self.rest = &[];
                return truncated;
            };
            let number = u16::from_le_bytes([header[0], header[1]]);
            let value_bytes = usize::from(u16::from_le_bytes([header[2], header[3]]));
            let Some((value, rest)) = rest.split_at_checked(value_bytes) else {
                self.rest = &[];
                return truncated;
            };
            self.rest = rest;
            if let Some(tag) = Tag::known(number) {
                return Some(Ok((tag, value)));
            }
        }
        None
    }
}

/// Names and values of the headers in a head, in order.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    fields: Fields<'a>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // The head was walked once when it was decoded, so nothing malformed is met here.
        let name = self.fields.by_ref().find_map(|field| match field {
            Ok((Tag::HeaderName, name)) => core::str::from_utf8(name).ok(),
            _ => None,
        })?;
        match self.fields.next() {
            Some(Ok((Tag::HeaderValue, value))) => Some((name, value)),
            _ => None,
        }
    }
}

/// The headers of `head`, which was decoded.
pub(crate) const fn headers(head: &[u8]) -> Headers<'_> {
    Headers {
        fields: Fields::new(head),
    }
}

/// A request's head, decoded. Texts that were not sent are empty.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    /// Id of the request.
    pub request_id: &'a str,
    /// Name of the function as it was deployed.
    pub function_name: &'a str,
    /// Version of the function as it was deployed.
    pub function_version: &'a str,
    /// W3C trace context, if the caller sent one.
    pub traceparent: Option<&'a str>,
    /// IP address of whoever sent the request, if that is known.
    pub client_address: Option<&'a str>,
    /// What the caller says of itself, if it does.
    pub client_context: Option<&'a str>,
    /// HTTP method; empty for an event.
    pub method: &'a str,
    /// HTTP path and query; empty for an event.
    pub target: &'a str,
    head: &'a [u8],
}

impl<'a> RequestHead<'a> {
    /// Decodes the head of a request.
    pub fn parse(head: &'a [u8]) -> Result<Self, FrameError> {
        let mut parsed = Self {
            request_id: "",
            function_name: "",
            function_version: "",
            traceparent: None,
            client_address: None,
            client_context: None,
            method: "",
            target: "",
            head,
        };
        walk(head, |tag, value| {
            match tag {
                Tag::RequestId => parsed.request_id = text(tag, value)?,
                Tag::FunctionName => parsed.function_name = text(tag, value)?,
                Tag::FunctionVersion => parsed.function_version = text(tag, value)?,
                Tag::Traceparent => parsed.traceparent = Some(text(tag, value)?),
                Tag::ClientAddress => parsed.client_address = Some(text(tag, value)?),
                Tag::ClientContext => parsed.client_context = Some(text(tag, value)?),
                Tag::Method => parsed.method = text(tag, value)?,
                Tag::Target => parsed.target = text(tag, value)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(parsed)
    }

    /// The HTTP headers.
    pub fn headers(&self) -> Headers<'a> {
        headers(self.head)
    }
}

/// A response's head, decoded.
#[derive(Clone, Debug)]
pub struct ResponseHead<'a> {
    /// HTTP status; zero if the response is none of HTTP.
    pub status: u16,
    /// Name of the error's type; empty if the response is no error.
    pub error_type: &'a str,
    head: &'a [u8],
}

impl<'a> ResponseHead<'a> {
    /// Decodes the head of a response.
    pub fn parse(head: &'a [u8]) -> Result<Self, FrameError> {
        let mut parsed = Self {
            status: 0,
            error_type: "",
            head,
        };
        walk(head, |tag, value| {
            match tag {
                Tag::Status => {
                    let status = value.try_into().map_err(|_| FrameError::FieldValue(tag))?;
                    parsed.status = u16::from_le_bytes(status);
                }
                Tag::ErrorType => parsed.error_type = text(tag, value)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(parsed)
    }

    /// The HTTP headers.
    pub fn headers(&self) -> Headers<'a> {
        headers(self.head)
    }
}

/// Calls `field` for each field and checks that header names and values come in pairs.
pub(crate) fn walk<'a>(
    head: &'a [u8],
    mut field: impl FnMut(Tag, &'a [u8]) -> Result<(), FrameError>,
) -> Result<(), FrameError> {
    let mut name_before = false;
    for entry in Fields::new(head) {
        let (tag, value) = entry?;
        if name_before != (tag == Tag::HeaderValue) {
            return Err(FrameError::FieldMissing(Tag::HeaderValue));
        }
        name_before = tag == Tag::HeaderName;
        if name_before {
            text(tag, value)?;
        }
        field(tag, value)?;
    }
    if name_before {
        return Err(FrameError::FieldMissing(Tag::HeaderValue));
    }
    Ok(())
}

pub(crate) fn text(tag: Tag, value: &[u8]) -> Result<&str, FrameError> {
    core::str::from_utf8(value).map_err(|_| FrameError::FieldValue(tag))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{vec, vec::Vec};

    fn head(fields: &[(Tag, &[u8])]) -> Vec<u8> {
        let mut head = vec![];
        for (tag, value) in fields {
            write_field(*tag, value, |piece| head.extend_from_slice(piece)).expect("short value");
        }
        head
    }

    #[test]
    fn golden_header() {
        let nonce = 0x0706_0504_0302_01ff;
        let header = FrameHeader::new(RequestKind::Event, nonce, 3, 0x0102).expect("within limits");
        let golden =
            *b"jfRQ\x02\x00\x01\x00\x03\x00\x00\x00\x02\x01\x00\x00\xff\x01\x02\x03\x04\x05\x06\x07";
        assert_eq!(header.to_bytes(), golden);
        assert_eq!(RequestHeader::from_bytes(&golden), Ok(header));
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let (head, body) = (HEAD_BYTES_MAX as usize, BODY_BYTES_MAX as usize);
        assert!(FrameHeader::new(ResponseKind::Ok, 0, head, body).is_ok());
        assert!(FrameHeader::new(ResponseKind::Ok, 0, head + 1, body).is_err());
        assert!(FrameHeader::new(ResponseKind::Ok, 0, head, body + 1).is_err());
        assert!(write_field(Tag::Target, &[b'/'; 65535], |_| {}).is_ok());
        assert!(write_field(Tag::Target, &[b'/'; 65536], |_| {}).is_err());
    }

    #[test]
    fn a_bad_header_is_named() {
        let good = FrameHeader::new(ResponseKind::Http, 0, 0, 0)
            .expect("empty")
            .to_bytes();
        let with = |offset: usize, value: u8| {
            let mut bad = good;
            bad[offset] = value;
            ResponseHeader::from_bytes(&bad)
        };
        assert_eq!(with(0, b'X'), Err(FrameError::Magic(*b"XfRS")));
        assert_eq!(with(4, 9), Err(FrameError::Version(9)));
        assert_eq!(with(6, 99), Err(FrameError::Kind(99)));
        assert_eq!(RequestHeader::from_bytes(&good), Err(FrameError::Direction));
        assert_eq!(with(11, 1), Err(FrameError::HeadTooLarge(1 << 24)));
        assert_eq!(with(15, 2), Err(FrameError::BodyTooLarge(2 << 24)));
    }

    #[test]
    fn every_tag_is_found_by_its_number_and_no_other_is() {
        let known: Vec<_> = (0..=u16::MAX).filter_map(Tag::known).collect();
        assert_eq!(known, Tag::ALL);
        for tag in Tag::ALL {
            assert_eq!(Tag::known(*tag as u16), Some(*tag));
        }
    }

    #[test]
    fn a_request_head_is_read_back() {
        let head = head(&[
            (Tag::RequestId, b"r-1"),
            (Tag::Traceparent, b"00-0-0-00"),
            (Tag::ClientAddress, b"2001:db8::1"),
            (Tag::ClientContext, b"{}"),
            (Tag::Method, b"GET"),
            (Tag::Target, b"/a?b"),
            (Tag::HeaderName, b"x"),
            (Tag::HeaderValue, b"\xff"),
            (Tag::HeaderName, b"y"),
            (Tag::HeaderValue, b""),
        ]);
        let parsed = RequestHead::parse(&head).expect("well-formed");
        assert_eq!(
            (parsed.request_id, parsed.method, parsed.target),
            ("r-1", "GET", "/a?b")
        );
        assert_eq!(parsed.traceparent, Some("00-0-0-00"));
        assert_eq!(parsed.client_address, Some("2001:db8::1"));
        assert_eq!(parsed.client_context, Some("{}"));
        let headers: Vec<_> = parsed.headers().collect();
        assert_eq!(headers, [("x", &b"\xff"[..]), ("y", b"")]);
    }

    #[test]
    fn unknown_fields_are_skipped_and_broken_ones_are_not() {
        let mut unknown = vec![0xff, 0xff, 1, 0, 7];
        unknown.extend(head(&[(Tag::Status, &200u16.to_le_bytes())]));
        assert_eq!(
            ResponseHead::parse(&unknown).expect("well-formed").status,
            200
        );
        let check = |head: &[u8]| ResponseHead::parse(head).expect_err("malformed");
        assert_eq!(check(&[9, 0, 2]), FrameError::FieldTruncated);
        assert_eq!(check(&[9, 0, 2, 0, 1]), FrameError::FieldTruncated);
        assert_eq!(check(&[9, 0, 1, 0, 1]), FrameError::FieldValue(Tag::Status));
        assert_eq!(
            check(&head(&[(Tag::ErrorType, b"\xff")])),
            FrameError::FieldValue(Tag::ErrorType)
        );
        let missing = FrameError::FieldMissing(Tag::HeaderValue);
        assert_eq!(check(&head(&[(Tag::HeaderName, b"x")])), missing);
        assert_eq!(check(&head(&[(Tag::HeaderValue, b"x")])), missing);
        let twice = head(&[(Tag::HeaderName, b"x"), (Tag::HeaderName, b"y")]);
        assert_eq!(check(&twice), missing);
    }
}
