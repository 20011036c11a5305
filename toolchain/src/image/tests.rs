use proptest::prelude::*;

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

    fn refused(&self) -> ImageError {
        Image::parse(&self.build()).expect_err("refused")
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
    let ram_bytes_min = IMAGE + 4 * PAGE_BYTES + LARGE_PAGE_BYTES;
    let step = ram_bytes_min..ram_bytes_min + RAM_BYTES_STEP;
    assert!(step.contains(&image.ram_bytes_min));
    assert!(!image.has_symbols && image.sections.is_empty());
    assert_eq!(image.sha256.len(), 64);
}

#[test]
fn stripping_leaves_what_is_loaded() {
    let file = Builder::default().build();
    let stripped = stripped(&file).expect("good");
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

#[test]
fn each_fault_of_a_file_is_named() {
    let good = Builder::default;
    let check = |spoil: fn(&mut Builder)| {
        let mut builder = good();
        spoil(&mut builder);
        builder.refused()
    };
    assert!(matches!(
        Image::parse(b"#!/bin/sh"),
        Err(ImageError::NotElf(_))
    ));
    assert!(matches!(Image::parse(b""), Err(ImageError::NotElf(_))));
    assert!(matches!(
        check(|b| b.machine = 183),
        ImageError::Machine(183)
    ));
    assert!(matches!(check(|b| b.kind = 3), ImageError::NotStatic(3)));
    assert!(matches!(
        check(|b| b.segments[1].0 = 2),
        ImageError::Dynamic
    ));
    assert!(matches!(
        check(|b| b.segments[1].0 = 3),
        ImageError::Dynamic
    ));
    assert!(matches!(check(|b| b.note.clear()), ImageError::NoNote));
    assert!(matches!(check(|b| b.note[12] = b'J'), ImageError::NoNote));
    assert!(matches!(
        check(|b| b.note.truncate(30)),
        ImageError::Damaged(_)
    ));
    assert!(matches!(check(|b| b.note[28] = 0xff), ImageError::NoteText));
    assert!(matches!(
        check(|b| b.segments.clear()),
        ImageError::NoSegments
    ));
    assert!(matches!(
        check(|b| b.segments[1].4 = 7),
        ImageError::SegmentSize(_)
    ));
    assert!(matches!(
        check(|b| b.segments[1].2 += 8),
        ImageError::SegmentAlignment(_)
    ));
    assert!(matches!(
        check(|b| b.segments[0].1 = 7),
        ImageError::WritableText(IMAGE)
    ));
    assert!(matches!(
        check(|b| b.segments[1].2 = IMAGE),
        ImageError::Overlap(IMAGE)
    ));
    assert!(matches!(
        check(|b| b.segments[0].2 = 0),
        ImageError::SegmentRange { address: 0 }
    ));
    assert!(matches!(
        check(|b| b.segments[1].4 = 1 << 40),
        ImageError::SegmentRange { .. }
    ));
    assert!(matches!(
        check(|b| b.segments[1].4 = u64::MAX),
        ImageError::SegmentRange { .. }
    ));
    assert!(matches!(
        check(|b| b.entry = IMAGE + 16),
        ImageError::Entry(_)
    ));
    assert!(matches!(
        check(|b| b.entry = IMAGE + PAGE_BYTES),
        ImageError::Entry(_)
    ));
    assert!(matches!(
        check(|b| b.segments[1].3 = 8 << 20),
        ImageError::SegmentSize(_)
    ));
    let file = good().build();
    let cut = Image::parse(&file[..file.len() - 101]);
    assert!(matches!(cut, Err(ImageError::Truncated(_))));
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
        let _ = stripped(&file);
    }
}
