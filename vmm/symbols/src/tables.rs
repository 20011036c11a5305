//! What an image's symbol table and debug information say of an address. To be used where it does not matter if it takes
//! all of a process's stack, memory and time.

use std::{collections::BTreeMap, fs::File};

use addr2line::{
    Context, FunctionName, demangle_auto,
    gimli::{Dwarf, EndianSlice, Error, LittleEndian, SectionId},
};
use jiffy_image::{Elf, Section, sections};
use object::{
    LittleEndian as LE,
    elf::{STT_FUNC, Sym64},
    pod::slice_from_all_bytes,
    read::elf::Sym as _,
};

use crate::{Frame, INLINED_MAX, is_foreign, printable, readable};

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// Longest name, bytes, mangled as it is in the image; the rest of it is left out.
const NAME_BYTES_MAX: usize = 4 << 10;
/// Most units of debug information: there is one for each part that a crate is compiled in, hundreds in a large image.
/// That there are more is seen before any of them is read.
pub(crate) const UNITS_MAX: usize = 16 << 10;
const SYMBOL_BYTES: usize = size_of::<Sym64<LE>>();

/// The parts of an image that have symbols.
#[derive(Debug, Default)]
pub(crate) struct Data {
    /// Debug information, by the name of its section.
    debug: BTreeMap<String, Vec<u8>>,
    symbols: Vec<u8>,
    names: Vec<u8>,
}

impl Data {
    /// These sections of debug information alone.
    #[cfg(test)]
    pub(crate) fn of_debug(sections: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> Self {
        let sections = sections.into_iter();
        Self {
            debug: sections.map(|(name, bytes)| (name.into(), bytes)).collect(),
            ..Self::default()
        }
    }

    /// Those of `image`, as long as all of them together have at most `bytes_max` bytes.
    pub(crate) fn read(image: &File, mut bytes_max: u64) -> Self {
        let found = Elf::read(image).and_then(|elf| sections(&elf, image));
        let found = found.unwrap_or_default();
        let mut data = Self::default();
        let mut take = |section: &Section| {
            let bytes = section.data(image, bytes_max)?;
            bytes_max -= bytes.len() as u64;
            Some(bytes)
        };
        let symbols = found.iter().find(|section| section.name == ".symtab");
        if let Some((symbols, names)) = symbols.and_then(|at| Some((at, found.get(at.link)?))) {
            data.symbols = take(symbols).unwrap_or_default();
            data.names = take(names).unwrap_or_default();
        }
        for section in found
            .iter()
            .filter(|section| section.name.starts_with(".debug_"))
        {
            if let Some(bytes) = take(section) {
                data.debug.entry(section.name.clone()).or_insert(bytes);
            }
        }
        data
    }
}

/// What an image's symbols know.
pub(crate) struct Tables<'a> {
    dwarf: Option<Context<Reader<'a>>>,
    /// Functions by address: address, bytes, mangled name.
    functions: Vec<(u64, u64, &'a [u8])>,
    /// Name of the function's package.
    package: &'a str,
}

impl<'a> Tables<'a> {
    /// What the symbol table alone says: which function.
    pub(crate) fn of_symbols(data: &'a Data, package: &'a str) -> Self {
        let whole = data.symbols.len() / SYMBOL_BYTES * SYMBOL_BYTES;
        let symbols = slice_from_all_bytes::<Sym64<LE>>(&data.symbols[..whole]);
        let functions = symbols
            .unwrap_or_default()
            .iter()
            .filter(|symbol| symbol.st_type() == STT_FUNC);
        let functions = functions.map(|symbol| {
            let name = name_at(&data.names, symbol.st_name(LE) as usize);
            (symbol.st_value(LE), symbol.st_size(LE), name)
        });
        let mut functions: Vec<_> = functions.filter(|(.., name)| !name.is_empty()).collect();
        functions.sort_unstable();
        Self {
            dwarf: None,
            functions,
            package,
        }
    }

    /// The same with what the debug information says: inlined functions, files, lines.
    pub(crate) fn with_debug(mut self, data: &'a Data) -> Self {
        let load = |section: SectionId| {
            let bytes = data.debug.get(section.name());
            Ok::<_, Error>(Reader::new(bytes.map_or(&[], Vec::as_slice), LittleEndian))
        };
        let has_units = data
            .debug
            .get(".debug_info")
            .is_some_and(|units| !units.is_empty());
        let dwarf = has_units.then(|| Dwarf::load(load).ok()).flatten();
        let dwarf = dwarf.filter(has_few_units);
        self.dwarf = dwarf.and_then(|dwarf| Context::from_dwarf(dwarf).ok());
        self
    }

    /// Whether there is anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.dwarf.is_none() && self.functions.is_empty()
    }

    /// The functions at `address`, innermost first: inlined ones each have a frame of their own. `call` is the instruction
    /// that is looked up.
    pub(crate) fn frames(&self, address: u64, call: u64) -> Vec<Frame> {
        let mut frames = vec![];
        if let Some(dwarf) = &self.dwarf
            && let Ok(mut found) = dwarf.find_frames(call).skip_all_loads()
        {
            while let Ok(Some(frame)) = found.next()
                && frames.len() < INLINED_MAX
            {
                let file = frame.location.as_ref().and_then(|at| at.file);
                let line = frame.location.as_ref().and_then(|at| at.line);
                frames.push(Frame {
                    address,
                    function: frame.function.as_ref().map(function_name),
                    file: file.map(|file| readable(cut(file), self.package)),
                    // None, too, where the debug information says 0, as it does of code that belongs to no line.
                    line,
                    foreign: file.is_none_or(|file| is_foreign(file, self.package)),
                });
            }
        }
        if frames.is_empty() {
            frames.push(Frame::unknown(address));
        }
        // The outermost function at an address is the one that has a symbol, and a symbol says
        // more than line tables do: the whole path.
        if let (Some(frame), Some(symbol)) = (frames.last_mut(), self.function(call)) {
            frame.function = Some(symbol);
        }
        frames
    }

    fn function(&self, address: u64) -> Option<String> {
        let after = self
            .functions
            .partition_point(|(start, ..)| *start <= address);
        let (start, bytes, name) = self.functions.get(after.checked_sub(1)?)?;
        // Assembler often gives no size.
        let is_inside = *bytes == 0 || address - start < *bytes;
        is_inside.then(|| demangled(name))
    }

    #[cfg(test)]
    pub(crate) fn functions(&self) -> impl Iterator<Item = (u64, String)> {
        self.functions
            .iter()
            .map(|(address, _, name)| (*address, demangled(name)))
    }
}

/// Looks at the units' headers only.
fn has_few_units(dwarf: &Dwarf<Reader<'_>>) -> bool {
    let mut units = dwarf.units();
    (0..=UNITS_MAX).any(|_| matches!(units.next(), Ok(None)))
}

fn function_name(name: &FunctionName<Reader<'_>>) -> String {
    demangled(&name.name.slice()[..name.name.len().min(NAME_BYTES_MAX)])
}

/// One that was cut stays as it is.
fn demangled(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    if name.len() < NAME_BYTES_MAX {
        printable(&demangle_auto(text, None))
    } else {
        printable(&text)
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(NAME_BYTES_MAX)]
}

fn name_at(names: &[u8], at: usize) -> &[u8] {
    let rest = names.get(at..).unwrap_or_default();
    let rest = &rest[..rest.len().min(NAME_BYTES_MAX)];
    let end = rest.iter().position(|byte| *byte == 0);
    &rest[..end.unwrap_or(rest.len())]
}
