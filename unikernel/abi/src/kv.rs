//! What the bodies of calls for keys and values hold.
//!
//! ```text
//! items    = item*
//! item     = head_bytes: u32, body_bytes: u32, head, body          a head is fields, as a frame's is
//! written  = (version: u64, existed: u8)*
//! ```

use crate::frame::FrameError;

/// Bytes before the head of an item.
pub const ITEM_HEADER_BYTES: usize = 8;
/// Bytes of one thing that was written.
pub const WRITTEN_BYTES: usize = 9;

/// Writes an item to `sink`; an error if it is larger than a body.
pub fn write_item(head: &[u8], body: &[u8], mut sink: impl FnMut(&[u8])) -> Result<(), FrameError> {
    let bytes = |len: usize| u32::try_from(len).map_err(|_| FrameError::BodyTooLarge(u32::MAX));
    let (head_bytes, body_bytes) = (bytes(head.len())?, bytes(body.len())?);
    sink(&head_bytes.to_le_bytes());
    sink(&body_bytes.to_le_bytes());
    sink(head);
    sink(body);
    Ok(())
}

/// The items of a body, head and body of each. After one that is cut off, nothing comes.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    /// The items in `body`.
    pub const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    fn take(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let (head_bytes, rest) = self.rest.split_first_chunk()?;
        let (body_bytes, rest) = rest.split_first_chunk()?;
        let (head, rest) = rest.split_at_checked(u32::from_le_bytes(*head_bytes) as usize)?;
        let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*body_bytes) as usize)?;
        self.rest = rest;
        Some((head, body))
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = self.take();
        if item.is_none() {
            self.rest = &[];
        }
        Some(item.ok_or(FrameError::FieldTruncated))
    }
}

/// What a change came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The version that the entry got, or that its deletion got.
    pub version: u64,
    /// Whether there was an entry before.
    pub existed: bool,
}

impl Written {
    /// As it travels.
    pub fn to_bytes(self) -> [u8; WRITTEN_BYTES] {
        let mut bytes = [0; WRITTEN_BYTES];
        bytes[..8].copy_from_slice(&self.version.to_le_bytes());
        bytes[8] = self.existed.into();
        bytes
    }

    /// What travels so.
    pub fn from_bytes(bytes: &[u8; WRITTEN_BYTES]) -> Self {
        let [version @ .., existed] = bytes;
        Self {
            version: u64::from_le_bytes(*version),
            existed: *existed != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{vec, vec::Vec};

    #[test]
    fn items_are_read_back_and_one_that_is_cut_off_is_an_error() {
        let items: [(&[u8], &[u8]); 3] = [(b"head", b"body"), (b"", b""), (b"h", b"")];
        let mut body = vec![];
        for (head, value) in items {
            write_item(head, value, |piece| body.extend_from_slice(piece)).expect("small");
        }
        let read: Vec<_> = Items::new(&body).map(|item| item.expect("whole")).collect();
        assert_eq!(read, items);
        let ends = [16, 24];
        for end in 1..body.len() {
            let whole = Items::new(&body[..end]).all(|item| item.is_ok());
            assert_eq!(whole, ends.contains(&end), "cut at {end}");
        }
        let huge = [0xff; 16];
        assert_eq!(
            Items::new(&huge).next(),
            Some(Err(FrameError::FieldTruncated))
        );
    }

    #[test]
    fn what_was_written_is_read_back() {
        for existed in [false, true] {
            let written = Written {
                version: 0x0102_0304_0506_0708,
                existed,
            };
            let bytes = written.to_bytes();
            assert_eq!(bytes, [8, 7, 6, 5, 4, 3, 2, 1, existed.into()]);
            assert_eq!(Written::from_bytes(&bytes), written);
        }
    }
}
