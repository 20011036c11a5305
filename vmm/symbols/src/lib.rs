//! Guest addresses to functions, files and lines, from an image's symbols.
//!
//! ```text
//! process   reads them in a process of its own, which has little memory and time (both sides of it)
//! tables    the symbol table and the debug information, within limits (in that process)
//! ```
//!
//! The image is hostile and so is its debug information: whatever cannot be read is as if it were
//! not there, and an address stays an address. No byte of it makes safe Rust write where it may not, but it can nest until
//! a stack overflows and expand until memory ends: what it may cost is bounded by the process, not by the reader.
//! Not here: where the addresses come from (`jiffy-vmm` walks the guest's stack).
#![forbid(unsafe_code)]

mod process;
mod tables;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use process::{COMMAND, Limits, Names, Reading, SymbolsError, Wanted, read, serve};

/// What programs call the folder of crates from the registry.
pub const REGISTRY: &str = "registry";
/// What programs call the folder of the library OS and the SDK.
pub const LIBRARY: &str = "jiffy";
/// Inlined functions that are shown at one address at most.
pub const INLINED_MAX: usize = 16;
/// Characters of a function's or a file's name that are shown.
pub const NAME_CHARS_MAX: usize = 256;

/// Part of the names of what the SDK's macros make: what calls the handler is called by nothing of
/// the author's.
const GLUE: &str = "__jiffy_";
/// What rustc calls the folder of its own library, before a hash.
const RUST: &str = "rustc";

/// One function on the way to where a guest was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Frame {
    /// Where it stood: the instruction, or where the call in it returns to.
    #[cfg_attr(feature = "schema", schemars(range(max = u64::MAX)))]
    pub address: u64,
    /// Its name; none if the image has no symbol there.
    pub function: Option<String>,
    /// Its file, as its author calls it; none if the image does not say.
    pub file: Option<String>,
    /// Its line, from 1; none also where the compiler made code that belongs to no line.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub line: Option<u32>,
    /// It is Rust's, the library OS's, or nobody's that is known.
    #[serde(skip)]
    foreign: bool,
}

/// What the first address of a backtrace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Innermost {
    /// The instruction that faulted, or the next one.
    Instruction,
    /// A return address like the others: the guest gave up in a function that it called.
    Return,
}

impl Frame {
    /// An address of which nothing is known.
    pub fn unknown(address: u64) -> Self {
        Self {
            address,
            function: None,
            file: None,
            line: None,
            foreign: true,
        }
    }
}

/// `function (file:line)`; what is not known is left out, and the address stands for the function.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(function) => f.write_str(function)?,
            None => write!(f, "{:#x}", self.address)?,
        }
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " ({file}:{line})"),
            (Some(file), None) => write!(f, " ({file})"),
            (None, _) => Ok(()),
        }
    }
}

/// A source file as its author calls it: what was named for the program's sake alone goes. `package` is the function's.
pub fn readable(file: &str, package: &str) -> String {
    let Some((folder, rest)) = file.strip_prefix('/').and_then(|file| file.split_once('/')) else {
        return printable(file);
    };
    let without_first = || rest.split_once('/').map_or(rest, |(_, rest)| rest);
    match folder {
        _ if folder == package => printable(rest),
        RUST => printable(&format!("rust/{}", without_first())),
        REGISTRY => printable(without_first()),
        LIBRARY => printable(&format!("{LIBRARY}/{rest}")),
        _ => printable(file),
    }
}

/// A name as it is shown: cut at [`NAME_CHARS_MAX`], and without characters that a terminal obeys, that begin a line, or that
/// change or hide what stands beside them.
pub fn printable(name: &str) -> String {
    let is_shown = |char: char| {
        !char.is_control()
            && !matches!(char,
                '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    let mut chars = name.chars();
    let shown = chars.by_ref().take(NAME_CHARS_MAX);
    let mut text: String = shown
        .map(|char| if is_shown(char) { char } else { '?' })
        .collect();
    if chars.next().is_some() {
        text.push('…');
    }
    text
}

fn is_foreign(file: &str, package: &str) -> bool {
    let folder = file
        .strip_prefix('/')
        .and_then(|file| file.split('/').next());
    folder.is_some_and(|folder| folder != package && [RUST, LIBRARY].contains(&folder))
}

/// The part of a backtrace that is the author's: without what calls the handler, and, where the
/// guest gave up, without what carried that from the author's function to its end. All of it if
/// nothing would be left.
pub fn shorten(frames: &[Frame], innermost: Innermost) -> &[Frame] {
    let is_glue = |frame: &Frame| {
        frame
            .function
            .as_ref()
            .is_some_and(|name| name.contains(GLUE))
    };
    let glue = frames.iter().position(is_glue).unwrap_or(frames.len());
    let inside = &frames[..glue];
    let first = inside.iter().position(|frame| !frame.foreign);
    let last = inside.iter().rposition(|frame| !frame.foreign);
    let (Some(first), Some(last)) = (first, last) else {
        return if inside.is_empty() { frames } else { inside };
    };
    match innermost {
        Innermost::Instruction => &inside[..=last],
        Innermost::Return => &inside[first..=last],
    }
}

/// Name of a CPU exception.
pub fn vector_name(vector: u8) -> &'static str {
    // Intel SDM volume 3, table 7-1.
    match vector {
        0 => "divide error",
        1 => "debug exception",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid opcode",
        7 => "device not available",
        8 => "double fault",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack fault",
        13 => "general protection",
        14 => "page fault",
        16 => "x87 floating-point error",
        17 => "alignment check",
        18 => "machine check",
        19 => "SIMD floating-point error",
        20 => "virtualization exception",
        21 => "control protection",
        _ => "reserved vector",
    }
}

#[cfg(test)]
mod tests;
