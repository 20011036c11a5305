//! Files in memory: those that were linked into the image, which nothing changes, and `/tmp`, which begins empty.
//!
//! ```text
//! paths        what a path names: whole, without `.` and `..`
//! embedded     what is there from the start: of `jiffy.toml`, devices, and what programs look for in /etc
//! temporary    /tmp: a map of whole paths, and a budget for what they hold
//! stat         what is known of something
//! open         what a descriptor stands for: a position in one of these
//! tree         the two as one tree, by path
//! descriptors  numbers of what is open
//! ```
//!
//! There are no symbolic and no hard links, so a path can be cut as a text. Everything belongs to the one user there is, who may
//! do everything but write to what was linked in. The tree is the VM's own: in `fresh` isolation a request finds `/tmp` as
//! `init` left it.
//! Not here: C's symbols and structures (`guest/files`).

mod descriptors;
mod embedded;
mod open;
mod paths;
mod stat;
mod temporary;
mod tree;

pub(crate) use descriptors::{Descriptors, OPEN_MAX, SharedOpen};
pub(crate) use embedded::Embedded;
pub(crate) use open::{From, Open, Options};
pub(crate) use paths::Path;
pub(crate) use stat::{Kind, Stat, Times};
pub(crate) use tree::{Entry, Tree};

/// What fails with an error number.
pub(crate) type Fallible<T> = Result<T, core::ffi::c_int>;

#[cfg(test)]
mod tests;
