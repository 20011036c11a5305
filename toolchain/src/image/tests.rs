use proptest::prelude::*;

use jiffy_abi::{
    layout::{IMAGE, PAGE_BYTES, RAM_BYTES_STEP},
    note::Note,
};

use super::*;

const RX: u32 = 5;
const RW: u32 = 6;

/// A small image, each part of which a test may spoil.
#[derive(Clone)]
struct Builder {
    machine: u16,
    kind: u16,
    entry: u64,
    note: Vec<u8>,
    /// Type, flags, address, bytes in the file, bytes in memory.
    segments: Vec<(u32, u32, u64, u64, u64)>,
    trailing: Vec<u8>,
}

impl Default for Builder {
    fn default() -> Self {
        let note = Note::new(note::FLAG_RANDOM_INIT, "0.1.0", "hello", "1.2.3");
        Self {
            machine: 62,
            kind: 2,
            entry: IMAGE,
            note: note.to_bytes().to_vec(),
            segments: vec![
                (1, RX, IMAGE, 16, 16),
                (1, RW, IMAGE + PAGE_BYTES, 8, 0x3000),
            ],
            trailing: vec![0xaa; 100],
        }
    }
}

impl Builder {
    fn build(&self) -> Vec<u8> {
        let program_headers = self.segments.len() + 1;
        let note_offset = 64 + 56 * program_headers as u64;
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend(self.kind.to_le_bytes());
        file.extend(self.machine.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        for number in [self.entry, 64, 0] {
            file.extend(number.to_le_bytes());
        }
        file.extend(0u32.to_le_bytes());
        for number in [
            64,
            56,
            u16::try_from(program_headers).expect("few"),
            64,
            0,
            0,
        ] {
            file.extend(number.to_le_bytes());
        }
        let mut header = |kind: u32, flags: u32, numbers: [u64; 6]| {
            file.extend(kind.to_le_bytes());
            file.extend(flags.to_le_bytes());
            numbers
                .iter()
                .for_each(|number| file.extend(number.to_le_bytes()));
        };
        let note_len = self.note.len() as u64;
        header(4, 4, [note_offset, 0, 0, note_len, note_len, 4]);
        let mut offset = note_offset + note_len;
        for (kind, flags, address, file_bytes, memory_bytes) in &self.segments {
            header(
                *kind,
                *flags,
                [offset, *address, *address, *file_bytes, *memory_bytes, 1],
            );
            offset += file_bytes;
        }
        file.extend(&self.note);
        let content: u64 = self.segments.iter().map(|segment| segment.3).sum();
        file.resize(file.len() + usize::try_from(content).expect("small"), 0x90);
        file.extend(&self.trailing);
        file
    }
}

#[test]
fn facts_of_a_good_image() {
    let file = Builder::default().build();
    let image = Image::parse(&file).expect("good");
    assert_eq!(image.title(), "hello 1.2.3");
    assert_eq!(
        (image.abi_version, image.abi_is_supported),
        (ABI_VERSION, true)
    );
    assert_eq!(image.flags, ["random-init"]);
    assert_eq!(image.sdk_version.as_deref(), Some("0.1.0"));
    let permissions: Vec<_> = image
        .segments
        .iter()
        .map(|s| s.permissions.as_str())
        .collect();
    assert_eq!(permissions, ["r-x", "rw-"]);
    assert_eq!((image.loaded_bytes, image.memory_bytes), (24, 16 + 0x3000));
    assert_eq!(
        (image.file_bytes, image.stripped_bytes),
        (file.len() as u64, file.len() as u64 - 100)
    );
    let ram_bytes_min = IMAGE + 4 * PAGE_BYTES + jiffy_image::HEAP_BYTES_MIN;
    let step = ram_bytes_min..ram_bytes_min + RAM_BYTES_STEP;
    assert!(step.contains(&image.ram_bytes_min));
    assert!(!image.has_symbols && image.sections.is_empty());
    assert_eq!(image.sha256.len(), 64);
}

#[test]
fn stripping_leaves_what_is_loaded() {
    let file = Builder::default().build();
    let stripped = stripped(&file[..]).expect("good");
    let (whole, rest) = (Image::parse(&file), Image::parse(&stripped));
    let (whole, rest) = (whole.expect("good"), rest.expect("still good"));
    assert_eq!(rest.file_bytes, whole.stripped_bytes);
    assert_eq!(rest.segments, whole.segments);
}

#[test]
fn an_image_of_another_abi_tells_its_abi() {
    let mut builder = Builder::default();
    builder.note[20] = 99;
    builder.segments[0].1 = 7; // What is wrong for us may be right there.
    let image = Image::parse(&builder.build()).expect("readable");
    assert_eq!((image.abi_version, image.abi_is_supported), (99, false));
    assert_eq!(image.function_name, None);
    assert_eq!(image.title(), "image of ABI 99");
}

/// What a VMM refuses is refused here in the same words; these were shown as if all were well.
#[test]
fn what_a_vmm_refuses_is_refused() {
    let check = |spoil: fn(&mut Builder), words: &str| {
        let mut builder = Builder::default();
        spoil(&mut builder);
        let file = builder.build();
        let refused = Image::parse(&file).expect_err("refused").to_string();
        assert_eq!(
            refused,
            jiffy_image::Image::parse(&file)
                .expect_err("refused")
                .to_string()
        );
        assert!(refused.contains(words), "{refused}");
    };
    check(|b| b.segments[0].1 = 1, "cannot be read");
    check(|b| b.segments[1].1 = 2, "cannot be read");
    check(|b| b.segments.push((7, 4, 0, 0, 0)), "thread-local");
    check(
        |b| b.segments.extend(vec![(0, 4, 0, 0, 0); 14]),
        "17 program headers",
    );
    check(
        |b| {
            b.segments[0].4 = 64;
            b.entry = IMAGE + 16;
        },
        "entry point",
    );
    check(|b| b.kind = 3, "position-independent");
    check(|b| b.note.clear(), "no jiffy note");
    let mut file = Builder::default().build();
    let physical = 64 + 56 + 24;
    file[physical..physical + 8].copy_from_slice(&0x40_0000_u64.to_le_bytes());
    let refused = Image::parse(&file).expect_err("refused").to_string();
    assert!(refused.contains("physical address"), "{refused}");
}

/// Whatever is named: a pipe, a device and a file of terabytes are refused at once.
#[test]
fn only_files_that_can_be_images_are_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let large = folder.path().join("large.elf");
    let file = std::fs::File::create(&large).expect("a file");
    file.set_len(5 << 30).expect("sparse");
    let too_large = read(&large).expect_err("too large").to_string();
    assert_eq!(too_large, Refused::FileTooLarge(5 << 30).to_string());
    for path in [Path::new("/dev/zero"), folder.path()] {
        assert!(
            matches!(read(path), Err(ImageError::Read { .. })),
            "{path:?}"
        );
    }
}

proptest! {
    #[test]
    fn spoilt_images_never_panic(
        spoils in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = Builder::default().build();
        for (index, byte) in spoils {
            let index = index.index(file.len());
            file[index] = byte;
        }
        file.truncate(cut.index(file.len() + 1));
        let _ = Image::parse(&file);
        let _ = stripped(&file[..]);
    }
}
