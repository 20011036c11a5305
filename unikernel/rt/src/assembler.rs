//! Puts a request together from the packets it arrives in.
//!
//! A small request arrives whole in one packet and is handed on where it lies; only a longer one
//! is gathered in the heap, in one allocation of its exact size.

use alloc::{borrow::Cow, vec::Vec};

use jiffy_abi::frame::{FrameError, HEADER_BYTES, RequestHeader};

/// What has arrived of a request.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// Bytes of a header that has not arrived whole, or, with `header`, of the payload.
    gathered: Vec<u8>,
    header: Option<RequestHeader>,
}

/// What one more packet makes of a request.
#[derive(Debug)]
pub(crate) enum Progress<'a> {
    /// More has to come.
    Partial,
    /// The request is whole; its payload is in the packet, or was gathered.
    Whole(RequestHeader, Cow<'a, [u8]>),
}

/// Why the bytes are not a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AssemblyError {
    Frame(FrameError),
    /// This many bytes do not fit into the heap.
    OutOfMemory(usize),
    /// This many bytes follow a request before its response was sent.
    Surplus(usize),
}

impl From<FrameError> for AssemblyError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl Assembler {
    /// Takes what a packet brought.
    pub(crate) fn push<'a>(&mut self, packet: &'a [u8]) -> Result<Progress<'a>, AssemblyError> {
        let (header, payload) = match self.header {
            Some(header) => (header, packet),
            None if self.gathered.is_empty() && packet.len() >= HEADER_BYTES => {
                let (header, payload) = split_header(packet)?;
                if payload.len() == header.payload_len() {
                    return Ok(Progress::Whole(header, payload.into()));
                }
                (self.begin(header)?, payload)
            }
            None => {
                let missing = (HEADER_BYTES - self.gathered.len()).min(packet.len());
                let (rest_of_header, payload) = packet.split_at(missing);
                self.gathered.extend_from_slice(rest_of_header);
                let Some(whole) = self.gathered.first_chunk() else {
                    return Ok(Progress::Partial);
                };
                (self.begin(RequestHeader::from_bytes(whole)?)?, payload)
            }
        };
        let missing = header.payload_len() - self.gathered.len();
        if payload.len() > missing {
            return Err(AssemblyError::Surplus(payload.len() - missing));
        }
        self.gathered.extend_from_slice(payload);
        if payload.len() < missing {
            return Ok(Progress::Partial);
        }
        self.header = None;
        let payload = core::mem::take(&mut self.gathered);
        Ok(Progress::Whole(header, payload.into()))
    }

    fn begin(&mut self, header: RequestHeader) -> Result<RequestHeader, AssemblyError> {
        let len = header.payload_len();
        self.gathered = Vec::new();
        self.gathered
            .try_reserve_exact(len)
            .map_err(|_| AssemblyError::OutOfMemory(len))?;
        self.header = Some(header);
        Ok(header)
    }
}

fn split_header(packet: &[u8]) -> Result<(RequestHeader, &[u8]), FrameError> {
    match packet.split_first_chunk() {
        Some((header, payload)) => Ok((RequestHeader::from_bytes(header)?, payload)),
        None => unreachable!("the caller looked at the length"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiffy_abi::frame::{FrameHeader, RequestKind, ResponseKind};

    fn frame(payload: &[u8]) -> Vec<u8> {
        let header =
            FrameHeader::new(RequestKind::Event, 7, 0, payload.len()).expect("within limits");
        [&header.to_bytes()[..], payload].concat()
    }

    /// However a request is cut into packets, the same payload comes out.
    #[test]
    fn any_cut_gives_the_same_request() {
        for payload in [&b""[..], b"x", b"a request of some length"] {
            let frame = frame(payload);
            for packet_bytes in 1..=frame.len() {
                let mut assembler = Assembler::default();
                let mut out = None;
                for packet in frame.chunks(packet_bytes) {
                    assert!(out.is_none());
                    out = match assembler.push(packet).expect("well-formed") {
                        Progress::Partial => None,
                        Progress::Whole(header, payload) => {
                            assert_eq!(header.kind, RequestKind::Event);
                            Some(payload.into_owned())
                        }
                    };
                }
                assert_eq!(out.as_deref(), Some(payload), "packets of {packet_bytes}");
            }
        }
    }

    #[test]
    fn a_request_in_one_packet_is_not_copied() {
        let frame = frame(b"whole");
        let progress = Assembler::default().push(&frame).expect("well-formed");
        let Progress::Whole(_, Cow::Borrowed(payload)) = progress else {
            panic!("{progress:?}")
        };
        assert_eq!(payload.as_ptr(), frame[HEADER_BYTES..].as_ptr());
    }

    #[test]
    fn surplus_and_responses_are_refused() {
        let mut surplus = frame(b"one");
        surplus.push(0);
        let check = |packet: &[u8]| Assembler::default().push(packet).expect_err("malformed");
        assert_eq!(check(&surplus), AssemblyError::Surplus(1));
        let response = FrameHeader::new(ResponseKind::Ok, 0, 0, 0)
            .expect("empty")
            .to_bytes();
        assert_eq!(
            check(&response),
            AssemblyError::Frame(FrameError::Direction)
        );
        assert_eq!(
            check(&[0; HEADER_BYTES]),
            AssemblyError::Frame(FrameError::Magic([0; 4]))
        );
    }
}
