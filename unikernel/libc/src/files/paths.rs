//! What a path names.

use alloc::vec::Vec;

use super::Fallible;
use crate::errno::{ENAMETOOLONG, ENOENT};

/// Bytes of a path at most, as Linux has it, less its zero.
const PATH_BYTES_MAX: usize = 4095;
/// Bytes of a name at most, as Linux has it.
const NAME_BYTES_MAX: usize = 255;

/// A whole path: `/`, or `/a/b`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path {
    text: Vec<u8>,
    /// It was written with a slash at its end, so that it can only be a folder.
    pub(super) is_folder: bool,
}

impl Path {
    /// What `text` names, seen from `folder`.
    pub(crate) fn new(folder: &[u8], text: &[u8]) -> Fallible<Self> {
        if text.is_empty() {
            return Err(ENOENT);
        }
        if text.len() > PATH_BYTES_MAX {
            return Err(ENAMETOOLONG);
        }
        let mut path = Self {
            text: Vec::with_capacity(folder.len() + text.len() + 1),
            is_folder: matches!(
                text.rsplit(|byte| *byte == b'/').next(),
                Some(b"" | b"." | b"..")
            ),
        };
        if text[0] != b'/' {
            path.push_all(folder)?;
        }
        path.push_all(text)?;
        match path.text.len() {
            0 => path.text.push(b'/'),
            bytes if bytes > PATH_BYTES_MAX => return Err(ENAMETOOLONG),
            _ => {}
        }
        Ok(path)
    }

    fn push_all(&mut self, text: &[u8]) -> Fallible<()> {
        for name in text.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                // The root is its own parent.
                b".." => {
                    let end = self.text.iter().rposition(|byte| *byte == b'/');
                    self.text.truncate(end.unwrap_or(0));
                }
                name if name.len() > NAME_BYTES_MAX => return Err(ENAMETOOLONG),
                name => {
                    self.text.push(b'/');
                    self.text.extend_from_slice(name);
                }
            }
        }
        Ok(())
    }

    /// The same, whatever it leads to.
    pub(super) fn as_any(&self) -> Self {
        Self {
            text: self.text.clone(),
            is_folder: false,
        }
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The folder that it is in; none of the root.
    pub(super) fn parent(&self) -> Option<&[u8]> {
        let end = self.text.iter().rposition(|byte| *byte == b'/')?;
        match (end, self.text.len()) {
            (_, 1) => None,
            (0, _) => Some(b"/"),
            _ => Some(&self.text[..end]),
        }
    }
}

/// What whatever is below a folder begins with.
pub(super) fn prefix(folder: &[u8]) -> Vec<u8> {
    match folder {
        b"/" => b"/".to_vec(),
        _ => [folder, b"/"].concat(),
    }
}
