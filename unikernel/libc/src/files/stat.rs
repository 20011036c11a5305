//! What is known of a file or a folder.

use super::temporary::Node;

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    Device,
}

/// What is known of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    /// Unlike that of anything else.
    pub(crate) number: u64,
    /// Whether a path leads to it.
    pub(crate) is_named: bool,
    pub(crate) mode: u32,
    pub(crate) bytes: u64,
    /// When it was made, or what was set: reading changes nothing. Zero of what was linked in, as the next.
    pub(crate) accessed_ns: u64,
    pub(crate) modified_ns: u64,
}

/// Times to set; `None` stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) accessed_ns: Option<u64>,
    pub(crate) modified_ns: Option<u64>,
}

impl Stat {
    pub(super) fn of_node(node: &Node) -> Self {
        let kind = match node.is_folder() {
            true => Kind::Folder,
            false => Kind::File,
        };
        Self {
            kind,
            number: node.number,
            is_named: node.is_named,
            mode: node.mode,
            bytes: node.bytes().len() as u64,
            accessed_ns: node.accessed_ns,
            modified_ns: node.modified_ns,
        }
    }

    pub(super) const fn fixed(kind: Kind, number: u64, mode: u32, bytes: u64) -> Self {
        Self {
            kind,
            number,
            is_named: true,
            mode,
            bytes,
            accessed_ns: 0,
            modified_ns: 0,
        }
    }
}
