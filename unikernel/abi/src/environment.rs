//! The page with the function's environment, which the VMM writes before the image starts.
//!
//! ```text
//! environment = (name "=" value "\0")* "\0"
//! ```
//!
//! A snapshot has it as it was at boot: to change it, the function is deployed again.

use crate::layout::PAGE_BYTES;

/// Bytes of the page.
#[expect(clippy::cast_possible_truncation, reason = "a page is 4096 bytes")]
pub const ENVIRONMENT_PAGE_BYTES: usize = PAGE_BYTES as usize;
/// Bytes of all variables at most, each with its `=` and its final zero.
pub const ENVIRONMENT_BYTES_MAX: usize = ENVIRONMENT_PAGE_BYTES - 1;

/// The variables of a page, in order. What is no variable is skipped.
#[derive(Clone, Debug)]
pub struct Variables<'a>(&'a [u8]);

impl<'a> Variables<'a> {
    /// Those of `page`.
    pub const fn new(page: &'a [u8]) -> Self {
        Self(page)
    }
}

impl<'a> Iterator for Variables<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let end = self.0.iter().position(|byte| *byte == 0)?;
            if end == 0 {
                return None;
            }
            let (variable, rest) = self.0.split_at(end);
            self.0 = &rest[1..];
            let variable = core::str::from_utf8(variable).ok();
            if let Some(pair) = variable.and_then(|variable| variable.split_once('=')) {
                return Some(pair);
            }
        }
    }
}

/// Hands the bytes of a variable to `sink`. Whoever writes a page checks that neither part has a
/// zero byte, that the name has no `=`, and that all of them fit.
pub fn write_variable(name: &str, value: &str, mut sink: impl FnMut(&[u8])) {
    for piece in [name, "=", value, "\0"] {
        sink(piece.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut page = [0; ENVIRONMENT_PAGE_BYTES];
        let mut end = 0;
        for (name, value) in [("A", "1"), ("EMPTY", ""), ("B", "x=y")] {
            write_variable(name, value, |piece| {
                page[end..end + piece.len()].copy_from_slice(piece);
                end += piece.len();
            });
        }
        let mut variables = Variables::new(&page);
        assert_eq!(variables.next(), Some(("A", "1")));
        assert_eq!(variables.next(), Some(("EMPTY", "")));
        assert_eq!(variables.next(), Some(("B", "x=y")));
        assert_eq!(variables.next(), None);
    }

    #[test]
    fn what_is_no_variable_is_skipped() {
        let mut variables = Variables::new(b"x\0\xff=1\0A=1\0\0B=2\0");
        assert_eq!(variables.next(), Some(("A", "1")));
        assert_eq!(variables.next(), None);
        assert_eq!(Variables::new(b"A=1").next(), None);
        assert_eq!(Variables::new(b"").next(), None);
    }
}
