//! What is there from the start, and stays as it is.

use alloc::{vec, vec::Vec};

use super::paths::prefix;

/// Files by their whole paths, sorted.
pub(crate) type Embedded = &'static [(&'static str, &'static [u8])];

/// What programs look for to learn of their host, as it is in a function.
const OF_EVERY_FUNCTION: Embedded = &[
    ("/etc/hostname", b"function\n"),
    ("/etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n"),
    (
        "/etc/resolv.conf",
        b"# A function has no name server: its host looks names up.\n",
    ),
];

/// What is no file and no folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// Takes all, gives nothing.
    Null,
    /// Gives zeros.
    Zero,
    /// Gives randomness.
    Random,
    /// Standard input, output or error.
    Standard(u8),
}

const DEVICES: [(&str, Device); 7] = [
    ("/dev/null", Device::Null),
    ("/dev/random", Device::Random),
    ("/dev/stderr", Device::Standard(2)),
    ("/dev/stdin", Device::Standard(0)),
    ("/dev/stdout", Device::Standard(1)),
    ("/dev/urandom", Device::Random),
    ("/dev/zero", Device::Zero),
];

/// What a path names here, and its number among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    File(&'static [u8], u64),
    Device(Device, u64),
    Folder,
}

/// The author's files, then those of every function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed(pub(super) Embedded);

impl Fixed {
    fn all(self) -> impl Iterator<Item = (&'static str, Found)> {
        let files = self.0.iter().chain(OF_EVERY_FUNCTION);
        let files = (1..).zip(files);
        let files = files.map(|(number, (path, bytes))| (*path, Found::File(bytes, number)));
        // An author's files may be as many as they are.
        let devices = (1 << 32..).zip(DEVICES);
        files.chain(devices.map(|(number, (path, device))| (path, Found::Device(device, number))))
    }

    pub(super) fn find(self, path: &[u8]) -> Option<Found> {
        if path == b"/" {
            return Some(Found::Folder);
        }
        let found = self.all().find(|(other, _)| other.as_bytes() == path);
        found.map(|(_, found)| found).or_else(|| {
            let below = prefix(path);
            let has_more = |(other, _): (&str, Found)| other.as_bytes().starts_with(&below);
            self.all().any(has_more).then_some(Found::Folder)
        })
    }

    /// The names in a folder, each once, with what each is.
    pub(super) fn list(self, folder: &[u8]) -> Vec<(&'static [u8], Found)> {
        let below = prefix(folder);
        let mut names: Vec<(&[u8], Found)> = vec![];
        for (path, found) in self.all() {
            let Some(rest) = path.as_bytes().strip_prefix(&below[..]) else {
                continue;
            };
            let name = rest.split(|byte| *byte == b'/').next().unwrap_or(rest);
            let found = match name.len() == rest.len() {
                true => found,
                false => Found::Folder,
            };
            if names.iter().all(|(other, _)| *other != name) {
                names.push((name, found));
            }
        }
        names
    }
}
