//! What a descriptor stands for, and what it does.

use alloc::vec::Vec;

use super::{
    Fallible,
    embedded::Device,
    stat::{Stat, Times},
    temporary::Shared,
};
use crate::errno::{EBADF, EINVAL, EISDIR, ESPIPE};

/// How something is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) reads: bool,
    pub(crate) writes: bool,
    /// Each write is at the end.
    pub(crate) appends: bool,
    /// Makes a file if there is none,
    pub(crate) creates: bool,
    /// and fails if there is one.
    pub(crate) is_new: bool,
    pub(crate) truncates: bool,
    /// Fails if it is no folder.
    pub(crate) folder: bool,
}

/// What is open.
#[derive(Clone, Debug)]
pub(super) enum What {
    Fixed(&'static [u8]),
    Temporary(Shared),
    Device(Device),
    /// Its path.
    Folder(Vec<u8>),
}

/// Something open, at a position.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(super) what: What,
    pub(super) options: Options,
    pub(super) stat: Stat,
    position: u64,
}

/// From where a position counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    Start,
    Here,
    End,
}

impl Open {
    pub(super) const fn new(what: What, options: Options, stat: Stat) -> Self {
        Self {
            what,
            options,
            stat,
            position: 0,
        }
    }

    pub(crate) const fn options(&self) -> Options {
        self.options
    }

    /// Sets whether each write is at the end.
    pub(crate) const fn set_appends(&mut self, appends: bool) {
        self.options.appends = appends;
    }

    /// The path of a folder; `ENOTDIR` of anything else.
    pub(crate) fn folder(&self) -> Fallible<&[u8]> {
        match &self.what {
            What::Folder(path) => Ok(path),
            _ => Err(crate::errno::ENOTDIR),
        }
    }

    /// The descriptor of 0, 1 and 2 that this is another name of.
    pub(crate) const fn standard(&self) -> Option<u8> {
        match self.what {
            What::Device(Device::Standard(number)) => Some(number),
            _ => None,
        }
    }

    /// What it is now.
    pub(crate) fn stat(&self) -> Stat {
        match &self.what {
            What::Temporary(node) => Stat::of_node(&node.borrow()),
            _ => self.stat,
        }
    }

    /// Reads where it stands, and stands behind that then. `randomly` fills with randomness.
    pub(crate) fn read(&mut self, to: &mut [u8], randomly: fn(&mut [u8])) -> Fallible<usize> {
        let bytes = self.read_at(self.position, to, randomly)?;
        self.position += bytes as u64;
        Ok(bytes)
    }

    pub(crate) fn read_at(
        &self,
        at: u64,
        to: &mut [u8],
        randomly: fn(&mut [u8]),
    ) -> Fallible<usize> {
        if !self.options.reads {
            return Err(EBADF);
        }
        match &self.what {
            What::Fixed(bytes) => Ok(copy(bytes, at, to)),
            What::Temporary(node) => Ok(copy(node.borrow().bytes(), at, to)),
            What::Folder(_) => Err(EISDIR),
            What::Device(Device::Null | Device::Standard(_)) => Ok(0),
            What::Device(Device::Zero) => {
                to.fill(0);
                Ok(to.len())
            }
            What::Device(Device::Random) => {
                randomly(to);
                Ok(to.len())
            }
        }
    }

    /// Writes where it stands, or at the end if it appends, and stands behind that then. Always all, or nothing.
    pub(crate) fn write(&mut self, text: &[u8], now_ns: u64) -> Fallible<usize> {
        if self.options.appends {
            self.position = self.stat().bytes;
        }
        let bytes = self.write_at(self.position, text, now_ns)?;
        self.position += bytes as u64;
        Ok(bytes)
    }

    pub(crate) fn write_at(&self, at: u64, text: &[u8], now_ns: u64) -> Fallible<usize> {
        if !self.options.writes {
            return Err(EBADF);
        }
        match &self.what {
            What::Temporary(node) => node.borrow_mut().write(at, text, now_ns)?,
            What::Device(_) => {}
            What::Fixed(_) | What::Folder(_) => return Err(EBADF),
        }
        Ok(text.len())
    }

    /// Stands at another position, which may be behind the end.
    pub(crate) fn seek(&mut self, offset: i64, from: From) -> Fallible<u64> {
        if matches!(self.what, What::Device(Device::Standard(_))) {
            return Err(ESPIPE);
        }
        let base = match from {
            From::Start => 0,
            From::Here => self.position,
            From::End => self.stat().bytes,
        };
        let position = base.checked_add_signed(offset);
        // A position is a signed number to C.
        let position = position.filter(|position| i64::try_from(*position).is_ok());
        self.position = position.ok_or(EINVAL)?;
        Ok(self.position)
    }

    /// Makes a file so long.
    pub(crate) fn set_len(&self, len: u64, now_ns: u64) -> Fallible<()> {
        match &self.what {
            What::Temporary(node) if self.options.writes => node.borrow_mut().set_len(len, now_ns),
            _ => Err(EINVAL),
        }
    }

    /// Changes rights or times.
    pub(crate) fn set(&self, mode: Option<u32>, times: Times) -> Fallible<()> {
        match &self.what {
            What::Temporary(node) => {
                set(node, mode, times);
                Ok(())
            }
            _ => Err(crate::errno::EROFS),
        }
    }
}

/// Changes rights or times.
pub(super) fn set(node: &Shared, mode: Option<u32>, times: Times) {
    let mut node = node.borrow_mut();
    node.mode = mode.map_or(node.mode, |mode| mode & 0o7777);
    node.accessed_ns = times.accessed_ns.unwrap_or(node.accessed_ns);
    node.modified_ns = times.modified_ns.unwrap_or(node.modified_ns);
}

/// As much of `bytes` from `at` as there is and fits.
fn copy(bytes: &[u8], at: u64, to: &mut [u8]) -> usize {
    let at = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    let rest = &bytes[at..];
    let count = rest.len().min(to.len());
    to[..count].copy_from_slice(&rest[..count]);
    count
}
