//! Guest addresses to functions, files and lines, from an image's symbols.
//!
//! The image is hostile and so is its debug information: whatever cannot be read is as if it were
//! not there, and an address stays an address. Memory safety is all that is promised, though: debug information can be
//! made to cost much time, memory and stack, so who reads a stranger's does so in a process that can be spared.
//! Not here: where the addresses come from (`jiffy-vmm` walks the guest's stack).
#![forbid(unsafe_code)]

use std::fmt;

use addr2line::{
    Context, demangle_auto,
    gimli::{Dwarf, EndianSlice, Error, LittleEndian, SectionId},
};
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};
use serde::{Deserialize, Serialize};

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// What programs call the folder of crates from the registry.
pub const REGISTRY: &str = "registry";
/// What programs call the folder of the library OS and the SDK.
pub const LIBRARY: &str = "jiffy";
/// Inlined functions that are shown at one address at most.
const INLINED_MAX: usize = 16;

/// Part of the names of what the SDK's macros make: what calls the handler is called by nothing of
/// the author's.
const GLUE: &str = "__jiffy_";
/// What rustc calls the folder of its own library, before a hash.
const RUST: &str = "rustc";

/// What an image's symbols know.
pub struct Symbols<'a> {
    dwarf: Option<Context<Reader<'a>>>,
    /// Functions by address: address, bytes, mangled name.
    functions: Vec<(u64, u64, &'a str)>,
    /// Name of the function's package.
    package: &'a str,
    /// What to do about it if there are none.
    hint: &'static str,
}

/// One function on the way to an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Where it stood: the instruction, or where the call in it returns to.
    pub address: u64,
    /// `None`: the image has no symbol there.
    pub function: Option<String>,
    /// As its author calls it.
    pub file: Option<String>,
    /// From 1.
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
        match &self.file {
            Some(file) => write!(f, " ({file}:{})", self.line.unwrap_or_default()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Symbols<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Symbols")
            .field("functions", &self.functions.len())
            .field("has_lines", &self.dwarf.is_some())
            .field("package", &self.package)
            .finish()
    }
}

impl<'a> Symbols<'a> {
    /// The symbols of an image whose bytes are `file`; empty if it has none.
    pub fn of(file: &'a [u8], package: &'a str) -> Self {
        let empty = Self {
            dwarf: None,
            functions: vec![],
            package,
            hint: "the image has no symbols: build it without --strip to see functions and lines",
        };
        let Ok(elf) = object::read::elf::ElfFile64::<Endianness>::parse(file) else {
            return empty;
        };
        let mut functions: Vec<_> = elf
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text)
            .filter_map(|symbol| Some((symbol.address(), symbol.size(), symbol.name().ok()?)))
            .collect();
        functions.sort_unstable();
        let load = |section: SectionId| {
            let data = elf
                .section_by_name(section.name())
                .and_then(|found| found.data().ok());
            Ok::<_, Error>(Reader::new(data.unwrap_or_default(), LittleEndian))
        };
        let has_lines = elf.section_by_name(".debug_line").is_some();
        let dwarf = has_lines.then(|| {
            Dwarf::load(load)
                .ok()
                .and_then(|dwarf| Context::from_dwarf(dwarf).ok())
        });
        Self {
            dwarf: dwarf.flatten(),
            functions,
            ..empty
        }
    }

    /// What a snapshot knows: nothing.
    pub fn of_snapshot(package: &'a str) -> Self {
        Self {
            hint: "a snapshot has no symbols: run its image to see functions and lines",
            ..Self::of(&[], package)
        }
    }

    /// What to do about it if there is nothing but addresses to show.
    pub fn hint(&self) -> Option<&'static str> {
        let is_empty = self.dwarf.is_none() && self.functions.is_empty();
        is_empty.then_some(self.hint)
    }

    /// The functions at `addresses`, innermost first: inlined ones each have a frame of their own.
    /// Before a return address stands the call.
    pub fn frames(&self, addresses: &[u64], innermost: Innermost) -> Vec<Frame> {
        let mut frames = vec![];
        for (depth, address) in addresses.iter().enumerate() {
            let is_return = depth > 0 || innermost == Innermost::Return;
            let call = address.saturating_sub(u64::from(is_return));
            self.push_frames(&mut frames, *address, call);
        }
        frames
    }

    /// A source file as its author calls it: what was named for the program's sake alone goes.
    pub fn readable(&self, file: &str) -> String {
        let Some((folder, rest)) = file.strip_prefix('/').and_then(|file| file.split_once('/'))
        else {
            return file.to_owned();
        };
        let without_first = || rest.split_once('/').map_or(rest, |(_, rest)| rest);
        match folder {
            _ if folder == self.package => rest.to_owned(),
            RUST => format!("rust/{}", without_first()),
            REGISTRY => without_first().to_owned(),
            LIBRARY => format!("{LIBRARY}/{rest}"),
            _ => file.to_owned(),
        }
    }

    fn is_foreign(&self, file: &str) -> bool {
        let folder = file
            .strip_prefix('/')
            .and_then(|file| file.split('/').next());
        folder.is_some_and(|folder| folder != self.package && [RUST, LIBRARY].contains(&folder))
    }

    fn push_frames(&self, frames: &mut Vec<Frame>, address: u64, call: u64) {
        let before = frames.len();
        if let Some(dwarf) = &self.dwarf
            && let Ok(mut found) = dwarf.find_frames(call).skip_all_loads()
        {
            while let Ok(Some(frame)) = found.next()
                && frames.len() - before < INLINED_MAX
            {
                let name = |name: &addr2line::FunctionName<Reader<'_>>| {
                    name.demangle().map(std::borrow::Cow::into_owned).ok()
                };
                let file = frame.location.as_ref().and_then(|at| at.file);
                frames.push(Frame {
                    address,
                    function: frame.function.as_ref().and_then(name),
                    file: file.map(|file| self.readable(file)),
                    line: frame.location.as_ref().and_then(|at| at.line),
                    foreign: file.is_none_or(|file| self.is_foreign(file)),
                });
            }
        }
        if frames.len() == before {
            frames.push(Frame::unknown(address));
        }
        // The outermost function at an address is the one that has a symbol, and a symbol says
        // more than line tables do: the whole path.
        if let (Some(frame), Some(symbol)) = (frames.last_mut(), self.function(call)) {
            frame.function = Some(symbol);
        }
    }

    fn function(&self, address: u64) -> Option<String> {
        let after = self
            .functions
            .partition_point(|(start, ..)| *start <= address);
        let (start, bytes, name) = self.functions.get(after.checked_sub(1)?)?;
        // Assembler often gives no size.
        let is_inside = *bytes == 0 || address - start < *bytes;
        is_inside.then(|| demangle_auto((*name).into(), None).into_owned())
    }
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
mod tests {
    use super::*;

    /// Functions of `f` are the author's.
    fn check(functions: &[&str], innermost: Innermost, short: &[&str]) {
        let frame = |function: &&str| Frame {
            address: 0,
            function: Some(function.to_string()),
            file: None,
            line: None,
            foreign: !function.starts_with("f::"),
        };
        let frames: Vec<_> = functions.iter().map(frame).collect();
        let short_frames = shorten(&frames, innermost).iter();
        let names: Vec<_> = short_frames
            .filter_map(|frame| frame.function.as_deref())
            .collect();
        assert_eq!(names, short);
    }

    #[test]
    fn a_backtrace_shows_what_is_the_authors() {
        let panic = [
            "jiffy_rt::panic",
            "core::panicking::panic_fmt",
            "f::a",
            "core::ops::call",
            "f::b",
            "jiffy::dispatch",
            "f::__jiffy_function",
            "__jiffy_main",
        ];
        check(&panic, Innermost::Return, &panic[2..5]);
        check(&panic, Innermost::Instruction, &panic[..5]);
        check(&panic[..2], Innermost::Return, &panic[..2]);
        check(&panic[6..], Innermost::Return, &panic[6..]);
        check(&[], Innermost::Return, &[]);
    }

    #[test]
    fn files_are_called_what_their_authors_call_them() {
        let symbols = Symbols::of(b"", "hello");
        let check = |file, readable| assert_eq!(symbols.readable(file), readable);
        check("/hello/src/lib.rs", "src/lib.rs");
        check(
            "/rustc/0123abc/library/core/src/num.rs",
            "rust/library/core/src/num.rs",
        );
        check(
            "/registry/index-1a/serde-1.0.0/src/lib.rs",
            "serde-1.0.0/src/lib.rs",
        );
        check("/jiffy/rt/src/lib.rs", "jiffy/rt/src/lib.rs");
        check("/workspace/other/src/lib.rs", "/workspace/other/src/lib.rs");
        check("src/lib.rs", "src/lib.rs");
        check("/", "/");
        check("", "");
    }

    #[test]
    fn without_symbols_addresses_stay() {
        for file in [&b""[..], b"\x7fELF\x02\x01\x01"] {
            let symbols = Symbols::of(file, "");
            assert!(symbols.hint().is_some());
            let frames = symbols.frames(&[0x20_0000, 0x20_1000], Innermost::Return);
            assert_eq!(frames.len(), 2);
            assert!(frames.iter().all(|frame| frame.function.is_none()));
        }
    }

    /// This test's own program has symbols and lines.
    #[test]
    fn a_function_of_this_program_is_found() {
        let file = std::fs::read(std::env::current_exe().expect("a program")).expect("read");
        let symbols = Symbols::of(&file, "");
        let name = "jiffy_symbols::vector_name";
        let found = symbols
            .functions
            .iter()
            .find(|(_, _, function)| demangle_auto((*function).into(), None) == name);
        let (address, ..) = found.expect("in the symbol table");
        let frames = symbols.frames(&[*address], Innermost::Instruction);
        let outermost = frames.last().expect("a frame");
        assert_eq!(outermost.function.as_deref(), Some(name));
        let file = outermost.file.as_deref().expect("a file");
        assert!(file.ends_with("lib.rs"), "{file}");
    }

    #[test]
    fn vectors_have_names() {
        assert_eq!(vector_name(14), "page fault");
        assert_eq!(vector_name(255), "reserved vector");
    }
}
