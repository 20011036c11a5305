//! What was linked in and `/tmp` as one tree.

use alloc::{rc::Rc, vec, vec::Vec};
use core::ffi::c_int;

use super::{
    Fallible,
    embedded::{Device, Embedded, Fixed, Found},
    open::{Open, Options, What, set},
    paths::Path,
    stat::{Kind, Stat, Times},
    temporary::{self, Shared, Temporary},
};
use crate::errno::{EACCES, EBUSY, EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY, EROFS};

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) number: u64,
}

/// What a path leads to.
enum Place {
    Fixed(&'static [u8], u64),
    Device(Device, u64),
    /// One that was linked in, or `/tmp` itself.
    Folder,
    Temporary(Shared),
}

/// All files.
#[derive(Debug)]
pub(crate) struct Tree {
    fixed: Fixed,
    temporary: Temporary,
    /// The folder that paths without a slash begin in.
    current: Vec<u8>,
}

impl Tree {
    /// With what was linked in, and an empty `/tmp` that may hold so many bytes.
    pub(crate) fn new(embedded: Embedded, bytes_max: u64) -> Self {
        Self {
            fixed: Fixed(embedded),
            temporary: Temporary::new(bytes_max),
            current: b"/".to_vec(),
        }
    }

    /// The folder that paths without a slash begin in.
    pub(crate) fn current(&self) -> &[u8] {
        &self.current
    }

    /// Another such folder.
    pub(crate) fn set_current(&mut self, path: &Path) -> Fallible<()> {
        match self.stat(path)?.kind {
            Kind::Folder => self.current = path.text().to_vec(),
            Kind::File | Kind::Device => return Err(ENOTDIR),
        }
        Ok(())
    }

    fn find(&self, path: &Path) -> Fallible<Place> {
        let place = match self.temporary.find(path.text()) {
            Some(node) => Place::Temporary(Rc::clone(node)),
            None if path.text() == temporary::ROOT => Place::Folder,
            None => match self.fixed.find(path.text()) {
                Some(Found::File(bytes, number)) => Place::Fixed(bytes, number),
                Some(Found::Device(device, number)) => Place::Device(device, number),
                Some(Found::Folder) => Place::Folder,
                None => return Err(self.why_not(path)),
            },
        };
        let is_folder = match &place {
            Place::Folder => true,
            Place::Temporary(node) => node.borrow().is_folder(),
            Place::Fixed(..) | Place::Device(..) => false,
        };
        match path.is_folder && !is_folder {
            true => Err(ENOTDIR),
            false => Ok(place),
        }
    }

    /// Why nothing is there: a file is on the way, or nothing.
    fn why_not(&self, path: &Path) -> c_int {
        let is_file = |folder: &[u8]| match self.temporary.find(folder) {
            Some(node) => !node.borrow().is_folder(),
            None => {
                let found = self.fixed.find(folder);
                matches!(found, Some(Found::File(..) | Found::Device(..)))
            }
        };
        let text = path.text();
        let slashes = (1..text.len()).filter(|place| text[*place] == b'/');
        let mut folders = slashes.map(|end| &text[..end]);
        if folders.any(is_file) {
            ENOTDIR
        } else {
            ENOENT
        }
    }

    /// The folder that something is in; whether it can be changed.
    fn find_parent(&self, path: &Path) -> Fallible<bool> {
        let parent = path.parent().unwrap_or(b"/");
        match self.find(&Path::new(b"/", parent)?)? {
            Place::Temporary(node) if node.borrow().is_folder() => Ok(true),
            Place::Folder => Ok(parent == temporary::ROOT),
            _ => Err(ENOTDIR),
        }
    }

    /// Whether something can be made at a path: in a folder of `/tmp` that is there.
    fn may_make(&self, path: &Path) -> Fallible<()> {
        if self.find_parent(path)? {
            Ok(())
        } else {
            Err(EROFS)
        }
    }

    /// What is there.
    pub(crate) fn stat(&self, path: &Path) -> Fallible<Stat> {
        Ok(match self.find(path)? {
            Place::Fixed(bytes, number) => {
                Stat::fixed(Kind::File, number, 0o444, bytes.len() as u64)
            }
            Place::Device(_, number) => Stat::fixed(Kind::Device, number, 0o666, 0),
            Place::Folder if path.text() == temporary::ROOT => {
                Stat::fixed(Kind::Folder, folder_number(path.text()), 0o1777, 0)
            }
            Place::Folder => Stat::fixed(Kind::Folder, folder_number(path.text()), 0o555, 0),
            Place::Temporary(node) => Stat::of_node(&node.borrow()),
        })
    }

    /// Opens what is there, or makes it.
    pub(crate) fn open(
        &mut self,
        path: &Path,
        options: Options,
        mode: u32,
        now_ns: u64,
    ) -> Fallible<Open> {
        if options.creates && path.is_folder {
            // What is made would be no folder.
            self.find_parent(path)?;
            return Err(EISDIR);
        }
        let place = match self.find(path) {
            Ok(_) if options.creates && options.is_new => return Err(EEXIST),
            Ok(place) => place,
            Err(ENOENT) if options.creates => {
                self.may_make(path)?;
                Place::Temporary(self.temporary.make(path.text(), false, mode, now_ns)?)
            }
            Err(error) => return Err(error),
        };
        let what = match place {
            Place::Fixed(..) if options.writes => return Err(EROFS),
            Place::Fixed(bytes, _) => What::Fixed(bytes),
            Place::Device(device, _) => What::Device(device),
            Place::Folder => What::Folder(path.text().to_vec()),
            Place::Temporary(node) if node.borrow().is_folder() => {
                What::Folder(path.text().to_vec())
            }
            Place::Temporary(node) => {
                if options.truncates && options.writes {
                    node.borrow_mut().set_len(0, now_ns)?;
                }
                What::Temporary(node)
            }
        };
        match &what {
            What::Folder(_) if options.writes || options.creates => return Err(EISDIR),
            What::Folder(_) => {}
            _ if options.folder => return Err(ENOTDIR),
            _ => {}
        }
        let stat = self.stat(path)?;
        Ok(Open::new(what, options, stat))
    }

    /// What is in a folder, without `.` and `..`.
    pub(crate) fn list(&self, path: &Path) -> Fallible<Vec<Entry>> {
        if self.stat(path)?.kind != Kind::Folder {
            return Err(ENOTDIR);
        }
        let folder = path.text();
        let mut entries: Vec<Entry> = vec![];
        for (name, found) in self.fixed.list(folder) {
            let (kind, number) = match found {
                Found::File(_, number) => (Kind::File, number),
                Found::Device(_, number) => (Kind::Device, number),
                Found::Folder => (Kind::Folder, folder_number(name)),
            };
            let name = name.to_vec();
            entries.push(Entry { name, kind, number });
        }
        for (rest, node) in self.temporary.below(folder) {
            if !rest.contains(&b'/') && folder != b"/" {
                let stat = Stat::of_node(&node.borrow());
                entries.push(Entry {
                    name: rest.to_vec(),
                    kind: stat.kind,
                    number: stat.number,
                });
            }
        }
        if folder == b"/" && entries.iter().all(|entry| entry.name != b"tmp") {
            entries.push(Entry {
                name: b"tmp".to_vec(),
                kind: Kind::Folder,
                number: folder_number(temporary::ROOT),
            });
        }
        Ok(entries)
    }

    /// Makes a folder.
    pub(crate) fn make_folder(&mut self, path: &Path, mode: u32, now_ns: u64) -> Fallible<()> {
        // It is to be one, so a slash at its end says nothing.
        match self.find(&path.as_any()) {
            Ok(_) => Err(EEXIST),
            Err(ENOENT) => {
                self.may_make(path)?;
                self.temporary.make(path.text(), true, mode, now_ns)?;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// What is there and may be changed.
    fn find_temporary(&self, path: &Path) -> Fallible<Shared> {
        match self.find(path)? {
            Place::Temporary(node) => Ok(node),
            Place::Folder if path.text() == temporary::ROOT => Err(EBUSY),
            Place::Folder | Place::Fixed(..) | Place::Device(..) => Err(EROFS),
        }
    }

    /// Takes a file out of its folder. Who has it open keeps it.
    pub(crate) fn remove_file(&mut self, path: &Path) -> Fallible<()> {
        if path.text() == temporary::ROOT || self.find_temporary(path)?.borrow().is_folder() {
            return Err(EISDIR);
        }
        self.temporary.remove(path.text());
        Ok(())
    }

    /// Removes an empty folder.
    pub(crate) fn remove_folder(&mut self, path: &Path) -> Fallible<()> {
        if !self.find_temporary(path)?.borrow().is_folder() {
            return Err(ENOTDIR);
        }
        if self.temporary.below(path.text()).next().is_some() {
            return Err(ENOTEMPTY);
        }
        self.temporary.remove(path.text());
        Ok(())
    }

    /// Gives something another path; what was there before is gone, unless `keeps`: then it fails.
    pub(crate) fn rename(&mut self, from: &Path, to: &Path, keeps: bool) -> Fallible<()> {
        // In the order in which Linux looks, which says what is wrong first.
        self.find_parent(from)?;
        self.find_parent(to)?;
        let is_folder = self.find_temporary(&from.as_any())?.borrow().is_folder();
        let there = match self.find(&to.as_any()) {
            Ok(_) if keeps => return Err(EEXIST),
            Ok(Place::Temporary(there)) => Some(there),
            Ok(_) => return Err(EBUSY),
            Err(ENOENT) => {
                self.may_make(to)?;
                None
            }
            Err(error) => return Err(error),
        };
        if !is_folder && (from.is_folder || to.is_folder) {
            return Err(ENOTDIR);
        }
        if from.text() == to.text() {
            return Ok(());
        }
        if is_below(to, from) {
            return Err(EINVAL);
        }
        if is_below(from, to) {
            return Err(ENOTEMPTY);
        }
        let there = there.map(|there| there.borrow().is_folder());
        match (is_folder, there) {
            (true, Some(false)) => return Err(ENOTDIR),
            (false, Some(true)) => return Err(EISDIR),
            (true, Some(true)) => self.remove_folder(to)?,
            (false, Some(false)) | (_, None) => {}
        }
        self.temporary.rename(from.text(), to.text());
        Ok(())
    }

    /// Changes rights or times.
    pub(crate) fn set(&self, path: &Path, mode: Option<u32>, times: Times) -> Fallible<()> {
        set(&self.find_temporary(path)?, mode, times);
        Ok(())
    }

    /// Makes the file at a path so long.
    pub(crate) fn set_len(&self, path: &Path, len: u64, now_ns: u64) -> Fallible<()> {
        let node = self.find_temporary(path)?;
        if node.borrow().is_folder() {
            return Err(EISDIR);
        }
        node.borrow_mut().set_len(len, now_ns)
    }

    /// Whether something is there and may be read, and written or not.
    pub(crate) fn access(&self, path: &Path, writes: bool, executes: bool) -> Fallible<()> {
        let stat = self.stat(path)?;
        if writes && matches!(self.find(path)?, Place::Fixed(..)) {
            return Err(EROFS);
        }
        let is_there = !executes || stat.kind == Kind::Folder || stat.mode & 0o111 != 0;
        if is_there { Ok(()) } else { Err(EACCES) }
    }
}

/// Whether a path is somewhere below another.
fn is_below(path: &Path, folder: &Path) -> bool {
    let rest = path.text().strip_prefix(folder.text());
    rest.is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// A number for a folder that was linked in, which has none: of its path, above all that are counted.
fn folder_number(path: &[u8]) -> u64 {
    let hash = path.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash | 1 << 63
}
