//! Frames from the other side: headers, heads, and a response as the host reads it from a guest.
#![no_main]

use jiffy_abi::frame::{BODY_BYTES_MAX, FrameHeader, HEAD_BYTES_MAX, RequestHead, ResponseHead};
use jiffy_control::read_response;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(Ok(header)) = bytes.first_chunk().map(FrameHeader::from_bytes) {
        assert_eq!(header.to_bytes(), bytes[..16]);
        assert!(header.head_bytes <= HEAD_BYTES_MAX && header.body_bytes <= BODY_BYTES_MAX);
    }
    if let Ok(head) = RequestHead::parse(bytes) {
        // What `parse` let pass has its names and values in pairs, four bytes before each.
        assert!(head.headers().count() <= bytes.len() / 8);
    }
    if let Ok(head) = ResponseHead::parse(bytes) {
        assert!(head.headers().count() <= bytes.len() / 8);
    }
    let mut stream = bytes;
    while let Ok(response) = read_response(&mut stream) {
        assert!(!response.kind.is_request());
        assert!(response.body.len() <= bytes.len());
    }
});
