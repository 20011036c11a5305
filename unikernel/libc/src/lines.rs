//! What is written to a descriptor becomes lines of the log.

/// Longest line, bytes, as long as a record of the log; what is longer goes on in the next one.
pub(crate) const LINE_BYTES_MAX: usize = jiffy_abi::log_ring::TEXT_BYTES_MAX;

/// A line that is not whole yet.
#[derive(Debug)]
pub(crate) struct Line {
    text: [u8; LINE_BYTES_MAX],
    bytes: usize,
}

impl Line {
    pub(crate) const fn new() -> Self {
        Self {
            text: [0; LINE_BYTES_MAX],
            bytes: 0,
        }
    }

    /// Takes `written` and hands every line that is whole to `sink`, without its end.
    pub(crate) fn push(&mut self, mut written: &[u8], mut sink: impl FnMut(&[u8])) {
        while let Some(end) = written.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = written.split_at(end);
            written = &rest[1..];
            if self.bytes == 0 && line.len() <= LINE_BYTES_MAX {
                sink(line);
            } else {
                self.keep(line, &mut sink);
                sink(&self.text[..self.bytes]);
                self.bytes = 0;
            }
        }
        self.keep(written, &mut sink);
    }

    /// Hands over the line that has no end yet, if there is one.
    pub(crate) fn end(&mut self, mut sink: impl FnMut(&[u8])) {
        if self.bytes > 0 {
            sink(&self.text[..self.bytes]);
            self.bytes = 0;
        }
    }

    fn keep(&mut self, mut piece: &[u8], sink: &mut impl FnMut(&[u8])) {
        while !piece.is_empty() {
            if self.bytes == LINE_BYTES_MAX {
                self.flush_full(sink);
            }
            let room = LINE_BYTES_MAX - self.bytes;
            let (now, later) = piece.split_at(piece.len().min(room));
            self.text[self.bytes..][..now.len()].copy_from_slice(now);
            self.bytes += now.len();
            piece = later;
        }
    }

    /// Hands over a full line, but for a character that is not whole.
    fn flush_full(&mut self, sink: &mut impl FnMut(&[u8])) {
        let begins = |byte: &u8| byte & 0xc0 != 0x80;
        let last = self.text[..self.bytes].iter().rposition(begins);
        // A character has four bytes at most; what has more is none.
        let end = match last {
            Some(last) if self.text[last] >= 0x80 && self.bytes - last < 4 => last,
            _ => self.bytes,
        };
        let end = if end == 0 { self.bytes } else { end };
        sink(&self.text[..end]);
        self.text.copy_within(end..self.bytes, 0);
        self.bytes -= end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{string::String, vec, vec::Vec};

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut line = Line::new();
        let mut lines = vec![];
        let text = |bytes: &[u8]| String::from_utf8(bytes.into()).expect("characters are whole");
        for piece in pieces {
            line.push(piece, |bytes| lines.push(text(bytes)));
        }
        line.end(|bytes| lines.push(text(bytes)));
        line.end(|_| panic!("it has ended"));
        lines
    }

    #[test]
    fn pieces_become_lines() {
        assert_eq!(lines(&[]), [""; 0]);
        assert_eq!(lines(&[b"a\n"]), ["a"]);
        assert_eq!(lines(&[b"a", b"b\nc", b"\n\n", b"d"]), ["ab", "c", "", "d"]);
    }

    #[test]
    fn long_lines_go_on_and_characters_stay_whole() {
        let full = vec![b'x'; LINE_BYTES_MAX];
        assert_eq!(lines(&[&full, b"\n"]).len(), 1);
        assert_eq!(lines(&[&full, b"y\n"])[1], "y");
        for start in 0..4 {
            let mut text = vec![b'x'; start];
            for _ in 0..LINE_BYTES_MAX {
                text.extend("é€𐍈".as_bytes());
            }
            assert_eq!(lines(&[&text]).concat().as_bytes(), text);
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            assert_eq!(lines(&bytes).concat().as_bytes(), text);
        }
    }

    #[test]
    fn what_is_no_text_comes_out_too() {
        let mut out = 0;
        let mut line = Line::new();
        line.push(&[0x80; 3 * LINE_BYTES_MAX + 1], |bytes| out += bytes.len());
        line.end(|bytes| out += bytes.len());
        assert_eq!(out, 3 * LINE_BYTES_MAX + 1);
    }
}
