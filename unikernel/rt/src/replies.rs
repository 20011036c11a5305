//! Takes replies apart as they arrive: several in a packet, one over many.
//! Not here: requests, of which one comes at a time (`assembler`).

use alloc::vec::Vec;

use jiffy_abi::{
    call::{ReplyHead, ReplyHeader},
    frame::{FrameError, HEADER_BYTES},
};

/// A reply to a call.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// Bytes of the head, which `payload` begins with.
    pub head_bytes: usize,
    /// Head and body.
    pub payload: Vec<u8>,
}

/// Replies, of which the last may not have arrived whole.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    /// Bytes of a header that has not arrived whole, or, with `header`, of the payload.
    gathered: Vec<u8>,
    header: Option<ReplyHeader>,
    /// Those that nobody has taken, by the number of their call.
    arrived: Vec<(u32, Reply)>,
}

/// Why the bytes are not replies.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReplyError {
    Frame(FrameError),
    /// Of another request.
    Nonce,
    /// This many bytes do not fit into the heap.
    OutOfMemory(usize),
}

impl From<FrameError> for ReplyError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl Replies {
    /// Takes what a packet brought for the request with this nonce: how many replies became whole.
    pub(crate) fn push(&mut self, mut bytes: &[u8], nonce: u64) -> Result<u32, ReplyError> {
        let mut whole = 0;
        loop {
            let header = match self.header {
                Some(header) => header,
                None => {
                    take(&mut self.gathered, HEADER_BYTES, &mut bytes);
                    let Some(header) = self.gathered.first_chunk() else {
                        return Ok(whole);
                    };
                    let header = ReplyHeader::from_bytes(header)?;
                    if header.nonce != nonce {
                        return Err(ReplyError::Nonce);
                    }
                    let len = header.payload_len();
                    self.gathered = Vec::new();
                    let reserved = self.gathered.try_reserve_exact(len);
                    reserved.map_err(|_| ReplyError::OutOfMemory(len))?;
                    self.header = Some(header);
                    header
                }
            };
            take(&mut self.gathered, header.payload_len(), &mut bytes);
            if self.gathered.len() < header.payload_len() {
                return Ok(whole);
            }
            self.header = None;
            let payload = core::mem::take(&mut self.gathered);
            let head_bytes = header.head_bytes as usize;
            let id = ReplyHead::parse(&payload[..head_bytes])?.id;
            let reply = Reply {
                head_bytes,
                payload,
            };
            self.arrived.push((id, reply));
            whole += 1;
        }
    }

    /// The reply to the call of this number, if it has arrived.
    pub(crate) fn take(&mut self, id: u32) -> Option<Reply> {
        let at = self.arrived.iter().position(|(found, _)| *found == id)?;
        Some(self.arrived.swap_remove(at).1)
    }

    /// Whether the reply to the call of this number has arrived.
    #[cfg(feature = "std")]
    pub(crate) fn has(&self, id: u32) -> bool {
        self.arrived.iter().any(|(found, _)| *found == id)
    }

    /// Forgets those that nobody took.
    pub(crate) fn clear(&mut self) {
        self.arrived = Vec::new();
    }
}

/// Moves bytes into `to` until it has `len`.
fn take(to: &mut Vec<u8>, len: usize, bytes: &mut &[u8]) {
    let (first, rest) = bytes.split_at(bytes.len().min(len - to.len()));
    to.extend_from_slice(first);
    *bytes = rest;
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiffy_abi::{
        call::{ReplyKind, Sent},
        frame::{FrameHeader, RequestKind},
    };

    fn reply(id: u32, body: &[u8]) -> Vec<u8> {
        let mut head = Vec::new();
        ReplyHead::write(id, None, Sent::Yes, |piece| head.extend_from_slice(piece))
            .expect("short fields");
        let header = ReplyHeader::new(ReplyKind, 7, head.len(), body.len()).expect("small");
        [&header.to_bytes()[..], &head, body].concat()
    }

    /// However replies are cut into packets, each comes out once, by its number.
    #[test]
    fn any_cut_gives_the_same_replies() {
        let bodies = [&b""[..], b"x", b"a reply of some length"];
        let stream: Vec<u8> = (0..3)
            .flat_map(|id| reply(2 - id, bodies[id as usize]))
            .collect();
        for packet_bytes in 1..=stream.len() {
            let mut replies = Replies::default();
            let mut whole = 0;
            for packet in stream.chunks(packet_bytes) {
                whole += replies.push(packet, 7).expect("well-formed");
            }
            assert_eq!(whole, 3, "packets of {packet_bytes}");
            for (id, body) in [(2, bodies[0]), (0, bodies[2]), (1, bodies[1])] {
                let reply = replies.take(id).expect("it arrived");
                assert_eq!(&reply.payload[reply.head_bytes..], body);
                assert_eq!(replies.take(id), None);
            }
        }
    }

    #[test]
    fn what_is_no_reply_to_this_request_is_refused() {
        let check = |bytes: &[u8], nonce| Replies::default().push(bytes, nonce);
        assert_eq!(check(&reply(0, b""), 8), Err(ReplyError::Nonce));
        let request = FrameHeader::new(RequestKind::Event, 7, 0, 0).expect("empty");
        let kind = Err(ReplyError::Frame(FrameError::Kind(1)));
        assert_eq!(check(&request.to_bytes(), 7), kind);
        let magic = Err(ReplyError::Frame(FrameError::Magic([0; 4])));
        assert_eq!(check(&[0; HEADER_BYTES], 7), magic);
    }
}
