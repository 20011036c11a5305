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
    pub(crate) mode: u32,
    pub(crate) bytes: u64,
    /// Zero of what was linked in.
    pub(crate) modified_ns: u64,
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
            mode: node.mode,
            bytes: node.bytes().len() as u64,
            modified_ns: node.modified_ns,
        }
    }

    pub(super) const fn fixed(kind: Kind, number: u64, mode: u32, bytes: u64) -> Self {
        Self {
            kind,
            number,
            mode,
            bytes,
            modified_ns: 0,
        }
    }
}
