//! `struct stat` of x86-64.

use crate::files::{Kind, Stat};

pub(super) const WORDS: usize = 18;

const S_IFCHR: u64 = 0o020_000;
const S_IFDIR: u64 = 0o040_000;
const S_IFREG: u64 = 0o100_000;
/// Bytes that are read and written at once best, and of which `st_blocks` counts eighths.
const BLOCK_BYTES: u64 = 4096;

/// As C has it, a word each where nothing smaller is said.
pub(super) fn words(stat: Stat) -> [u64; WORDS] {
    let kind = match stat.kind {
        Kind::File => S_IFREG,
        Kind::Folder => S_IFDIR,
        Kind::Device => S_IFCHR,
    };
    let links = match (stat.is_named, stat.kind) {
        (false, _) => 0,
        (true, Kind::Folder) => 2,
        (true, _) => 1,
    };
    let mut words = [0; WORDS];
    words[1] = stat.number;
    words[2] = links;
    // `st_mode` and `st_uid`, half a word each.
    words[3] = kind | u64::from(stat.mode);
    words[6] = stat.bytes;
    words[7] = BLOCK_BYTES;
    words[8] = stat.bytes.div_ceil(BLOCK_BYTES) * (BLOCK_BYTES / 512);
    // The last change of what is said here is not kept: that of the bytes stands for it.
    let times = [stat.accessed_ns, stat.modified_ns, stat.modified_ns];
    for (place, ns) in (9..).step_by(2).zip(times) {
        words[place] = ns / 1_000_000_000;
        words[place + 1] = ns % 1_000_000_000;
    }
    words
}

/// What is said of 0, 1 and 2: character devices that may be read and written.
pub(super) const STANDARD: Stat = Stat {
    kind: Kind::Device,
    number: 0,
    is_named: true,
    mode: 0o600,
    bytes: 0,
    accessed_ns: 0,
    modified_ns: 0,
};
