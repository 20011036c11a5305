//! `/tmp`: a map of whole paths. What a file holds is charged to a budget until its last descriptor is closed.

use alloc::{collections::BTreeMap, rc::Rc, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    ops::Bound::{Excluded, Unbounded},
};

use super::{Fallible, paths::prefix};
use crate::errno::{EFBIG, ENOSPC};

/// The folder below which all can be changed.
pub(super) const ROOT: &[u8] = b"/tmp";
/// What an entry costs beside what it holds: its path, its place in the map.
const ENTRY_BYTES: u64 = 256;

/// Bytes that all of `/tmp` has, and may have.
#[derive(Debug)]
pub(super) struct Budget {
    used_bytes: Cell<u64>,
    bytes_max: u64,
}

impl Budget {
    fn change(&self, from_bytes: u64, to_bytes: u64) -> Fallible<()> {
        let used_bytes = self.used_bytes.get().saturating_sub(from_bytes);
        let used_bytes = used_bytes.saturating_add(to_bytes);
        if used_bytes > self.bytes_max && to_bytes > from_bytes {
            return Err(ENOSPC);
        }
        self.used_bytes.set(used_bytes);
        Ok(())
    }
}

/// What a file or a folder is, whatever path leads to it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(super) number: u64,
    /// Whether a path leads to it: what is removed stays for who has it open.
    pub(super) is_named: bool,
    /// Rights, as `chmod` sets them.
    pub(super) mode: u32,
    pub(super) accessed_ns: u64,
    pub(super) modified_ns: u64,
    /// `None` of a folder.
    bytes: Option<Vec<u8>>,
    budget: Rc<Budget>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.budget.change(self.cost_bytes(), 0); // Less is always possible.
    }
}

impl Node {
    pub(super) const fn is_folder(&self) -> bool {
        self.bytes.is_none()
    }

    fn cost_bytes(&self) -> u64 {
        ENTRY_BYTES + self.bytes.as_ref().map_or(0, Vec::len) as u64
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }

    /// Makes it so long; what is new is zero.
    pub(super) fn set_len(&mut self, len: u64, now_ns: u64) -> Fallible<()> {
        let Some(bytes) = &mut self.bytes else {
            return Err(EFBIG);
        };
        let had = bytes.len() as u64;
        self.budget.change(had, len)?;
        let new_len = usize::try_from(len).map_err(|_| EFBIG)?;
        let more = new_len.saturating_sub(bytes.len());
        if bytes.try_reserve(more).is_err() {
            let _ = self.budget.change(len, had); // As it was.
            return Err(ENOSPC);
        }
        bytes.resize(new_len, 0);
        if more == 0 && bytes.capacity() / 4 > new_len {
            bytes.shrink_to_fit();
        }
        self.modified_ns = now_ns;
        Ok(())
    }

    /// Writes all of `text` at a position, after zeros if that is behind the end.
    pub(super) fn write(&mut self, at: u64, text: &[u8], now_ns: u64) -> Fallible<()> {
        let end = at.checked_add(text.len() as u64).ok_or(EFBIG)?;
        if end > self.bytes().len() as u64 {
            self.set_len(end, now_ns)?;
        }
        // Below the end, which is in memory.
        if let Some(bytes) = &mut self.bytes {
            bytes[at as usize..end as usize].copy_from_slice(text);
        }
        self.modified_ns = now_ns;
        Ok(())
    }
}

/// A node that paths and descriptors share.
pub(crate) type Shared = Rc<RefCell<Node>>;

/// `/tmp`.
#[derive(Debug)]
pub(super) struct Temporary {
    nodes: BTreeMap<Vec<u8>, Shared>,
    budget: Rc<Budget>,
    next_number: u64,
}

impl Temporary {
    /// An empty one that may hold so many bytes.
    pub(super) fn new(bytes_max: u64) -> Self {
        let budget = Budget {
            used_bytes: Cell::new(0),
            bytes_max,
        };
        Self {
            nodes: BTreeMap::new(),
            budget: Rc::new(budget),
            next_number: 1 << 33, // Behind those of what was linked in.
        }
    }

    pub(super) fn find(&self, path: &[u8]) -> Option<&Shared> {
        self.nodes.get(path)
    }

    pub(super) fn make(
        &mut self,
        path: &[u8],
        is_folder: bool,
        mode: u32,
        now_ns: u64,
    ) -> Fallible<Shared> {
        self.budget.change(0, ENTRY_BYTES)?;
        let node = Rc::new(RefCell::new(Node {
            number: self.next_number,
            is_named: true,
            mode: mode & 0o7777,
            accessed_ns: now_ns,
            modified_ns: now_ns,
            bytes: (!is_folder).then(Vec::new),
            budget: Rc::clone(&self.budget),
        }));
        self.next_number += 1;
        self.nodes.insert(path.to_vec(), Rc::clone(&node));
        Ok(node)
    }

    pub(super) fn remove(&mut self, path: &[u8]) {
        unname(self.nodes.remove(path));
    }

    /// Everything below a folder, with the rest of each path.
    pub(super) fn below<'a>(
        &'a self,
        folder: &[u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a Shared)> {
        let below = prefix(folder);
        let start = below.len();
        let after = (Excluded(below.clone()), Unbounded);
        let all = self.nodes.range::<Vec<u8>, _>(after);
        all.take_while(move |(path, _)| path.starts_with(&below))
            .map(move |(path, node)| (&path[start..], node))
    }

    /// Gives a node and all below it another path.
    pub(super) fn rename(&mut self, from: &[u8], to: &[u8]) {
        let below: Vec<Vec<u8>> = self.below(from).map(|(rest, _)| rest.to_vec()).collect();
        for rest in below {
            self.rename_one(
                &[&prefix(from)[..], &rest].concat(),
                [&prefix(to)[..], &rest].concat(),
            );
        }
        self.rename_one(from, to.to_vec());
    }

    fn rename_one(&mut self, from: &[u8], to: Vec<u8>) {
        if let Some(node) = self.nodes.remove(from) {
            unname(self.nodes.insert(to, node));
        }
    }
}

/// No path leads to it any more.
fn unname(node: Option<Shared>) {
    if let Some(node) = node {
        node.borrow_mut().is_named = false;
    }
}
