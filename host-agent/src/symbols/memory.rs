//! What was read once: a function mostly breaks where it broke before, and on similar ways.

use std::collections::{HashMap, VecDeque};

use jiffy_snapshots::Digest;

use super::Frame;

/// Bytes of what is remembered at most, by its texts and a little for each frame.
const REMEMBERED_BYTES_MAX: usize = 4 << 20;
const FRAME_BYTES: usize = 128;

/// An instruction of an image.
type Key = (Digest, u64);

/// Frames by instruction; the oldest go first.
#[derive(Debug, Default)]
pub(super) struct Memory {
    frames: HashMap<Key, Vec<Frame>>,
    order: VecDeque<Key>,
    bytes: usize,
}

impl Memory {
    /// The frames at the instruction `call`, as those of `address`.
    pub(super) fn get(&self, image: Digest, address: u64, call: u64) -> Option<Vec<Frame>> {
        let mut frames = self.frames.get(&(image, call))?.clone();
        frames.iter_mut().for_each(|frame| frame.address = address);
        Some(frames)
    }

    /// Remembers what was read of an image.
    pub(super) fn keep<'a>(
        &mut self,
        image: Digest,
        read: impl Iterator<Item = (u64, &'a Vec<Frame>)>,
    ) {
        for (call, frames) in read {
            let key = (image, call);
            if let Some(old) = self.frames.insert(key, frames.clone()) {
                self.bytes -= cost(&old);
            } else {
                self.order.push_back(key);
            }
            self.bytes += cost(frames);
        }
        while self.bytes > REMEMBERED_BYTES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            let frames = self.frames.remove(&oldest);
            self.bytes -= frames.as_deref().map_or(0, cost);
        }
    }
}

fn cost(frames: &[Frame]) -> usize {
    let texts = frames
        .iter()
        .flat_map(|frame| [&frame.function, &frame.file]);
    let texts: usize = texts.flatten().map(String::len).sum();
    FRAME_BYTES * (1 + frames.len()) + texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_once_is_remembered_up_to_a_limit() {
        let (image, other) = (Digest::of(b"image"), Digest::of(b"other"));
        let mut memory = Memory::default();
        let frames = |address: u64| {
            let mut frame = Frame::unknown(address);
            frame.function = Some("x".repeat(1000));
            vec![frame]
        };
        let count = 2 * REMEMBERED_BYTES_MAX as u64 / 1000;
        for address in 0..count {
            memory.keep(image, [(address, &frames(address))].into_iter());
        }
        assert!(memory.bytes <= REMEMBERED_BYTES_MAX && memory.order.len() == memory.frames.len());
        assert!(memory.get(image, 0, 0).is_none() && memory.get(other, 1, count - 1).is_none());
        let last = memory.get(image, count, count - 1).expect("remembered");
        assert_eq!(last[0].address, count);
        // The same again takes no more.
        let bytes = memory.bytes;
        memory.keep(image, [(count - 1, &frames(0))].into_iter());
        assert_eq!(memory.bytes, bytes);
    }
}
