//! Images: ELF files that someone hands in. Each input is tried as a whole file, and as the program
//! headers and the rest of one that has an ELF header and a note, because no fuzzer guesses those.
#![no_main]

use jiffy_abi::{
    devices::DeviceId,
    layout::{IMAGE, PAGE_BYTES, PAGE_TABLES, RAM_BYTES_MAX, RAM_BYTES_MIN, RESUME_PAGE},
    note::Note,
};
use jiffy_image::{Elf, IMAGE_BYTES_MAX, Image, SECTIONS_MAX, sections};
use jiffy_vmm::{boot, mem::Ram};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary, Unstructured},
    fuzz_target,
};

const ELF_HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: u64 = 56;

/// A program header, its numbers near those that make sense.
#[derive(Arbitrary)]
struct Header {
    kind: u8,
    flags: u8,
    page: u16,
    is_moved: bool,
    offset: u16,
    file_bytes: u16,
    bytes: u32,
}

impl Header {
    fn to_bytes(&self) -> Vec<u8> {
        const PT_LOAD: u32 = 1;
        // PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_TLS, PT_GNU_STACK; most are PT_LOAD.
        let kinds = [2, 3, 4, 7, 0x6474_e551];
        let kind = kinds
            .get(usize::from(self.kind / 8))
            .copied()
            .unwrap_or(PT_LOAD);
        let address = IMAGE + u64::from(self.page) * PAGE_BYTES;
        let physical = if self.is_moved {
            u64::from(self.page)
        } else {
            address
        };
        program_header(
            kind,
            self.flags.into(),
            [self.offset.into(), address, physical],
            [self.file_bytes.into(), self.bytes.into()],
        )
    }
}

fn program_header(kind: u32, flags: u32, places: [u64; 3], sizes: [u64; 2]) -> Vec<u8> {
    let mut header = [kind.to_le_bytes(), flags.to_le_bytes()].concat();
    for number in places.into_iter().chain(sizes).chain([4]) {
        header.extend(number.to_le_bytes());
    }
    header
}

/// An ELF file with a jiffy note and these program headers.
fn built(bytes: &[u8]) -> arbitrary::Result<Vec<u8>> {
    let mut source = Unstructured::new(bytes);
    let entry = IMAGE + u64::from(source.arbitrary::<u16>()?);
    let abi_version = if source.ratio(1, 50)? {
        9
    } else {
        jiffy_abi::ABI_VERSION
    };
    let headers: Vec<Header> = source.arbitrary()?;
    let headers = &headers[..headers.len().min(20)];

    let count = u8::try_from(headers.len() + 1).unwrap_or(u8::MAX);
    let table = ELF_HEADER_BYTES as u64;
    let note_offset = table + PROGRAM_HEADER_BYTES * u64::from(count);
    let mut note = Note::new(0, "0.1.0", "fuzz", "0.1.0").to_bytes();
    note[20..24].copy_from_slice(&abi_version.to_le_bytes());

    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]); // ET_EXEC, EM_X86_64, version.
    file.extend(entry.to_le_bytes());
    file.extend(table.to_le_bytes());
    let sections: [u8; 2] = source.arbitrary()?;
    file.extend([sections[0], 0, 0, 0, 0, 0, 0, 0]); // Somewhere in the headers, or nowhere.
    file.extend([0; 4]); // No flags.
    file.extend([64, 0, 56, 0, count, 0, 64, 0, sections[1] % 8, 0, 0, 0]);
    assert_eq!(file.len(), ELF_HEADER_BYTES);
    let note_bytes = note.len() as u64;
    file.extend(program_header(
        4,
        4,
        [note_offset, 0, 0],
        [note_bytes, note_bytes],
    ));
    file.extend(headers.iter().flat_map(Header::to_bytes));
    file.extend(note);
    file.extend(source.take_rest());
    Ok(file)
}

fn check(file: &[u8]) {
    if let Ok(elf) = Elf::read(file) {
        assert!(elf.needed_bytes() <= file.len() as u64);
        let sections = sections(&elf, file).unwrap_or_default();
        assert!(sections.len() <= SECTIONS_MAX);
        for section in sections {
            section.data(file, IMAGE_BYTES_MAX);
        }
    }
    let Ok(image) = Image::parse(file) else {
        return;
    };
    let mut end = IMAGE;
    for segment in image.segments() {
        assert!(segment.address >= end && segment.address.is_multiple_of(PAGE_BYTES));
        assert!(segment.file_bytes <= segment.bytes);
        end = segment.address + segment.mapped_bytes();
    }
    assert!(image.end() == end && image.ram_bytes_min() <= RAM_BYTES_MAX);
    let is_entry = |at: u64, bytes: u64| (at..at + bytes).contains(&image.entry());
    assert!(
        image
            .segments()
            .iter()
            .any(|segment| is_entry(segment.address, segment.file_bytes))
    );

    let ram = Ram::new(RAM_BYTES_MIN).expect("4 MiB");
    if let Ok(loaded) = boot::load(&ram, &image, file, &[DeviceId::Vsock]) {
        assert!(loaded.heap_start >= end && loaded.heap_start < loaded.heap_end);
        // Nothing was copied to where no segment is: the pages that the guest and the VMM share.
        let shared_bytes = (PAGE_TABLES - RESUME_PAGE) as usize;
        let shared = ram.read_vec(RESUME_PAGE, shared_bytes).expect("in RAM");
        assert!(
            shared.iter().all(|byte| *byte == 0),
            "bytes outside every segment"
        );
    }
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    if let Ok(file) = built(bytes) {
        check(&file);
    }
});
