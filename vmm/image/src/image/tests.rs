#![allow(
    clippy::cast_possible_truncation,
    reason = "the numbers of these tests are small"
)]
use object::elf::{
    EM_X86_64, ET_DYN, ET_EXEC, PF_R, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD, PT_NOTE, PT_TLS,
};

use crate::NOTES_BYTES_MAX;
use proptest::prelude::*;

use super::*;

const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;

/// A smallest image: a code segment, a data segment, a note. Fields are patched by offset.
fn image() -> Vec<u8> {
    let note = Note::new(0, "0.1.0", "test", "1.0.0").to_bytes();
    let note_offset = HEADER_BYTES + 3 * PROGRAM_HEADER_BYTES;
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\x00");
    file.extend([0; 8]);
    file.extend(ET_EXEC.0.to_le_bytes());
    file.extend(EM_X86_64.0.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    file.extend(IMAGE.to_le_bytes()); // entry
    file.extend((HEADER_BYTES as u64).to_le_bytes());
    file.extend(0u64.to_le_bytes());
    file.extend(0u32.to_le_bytes());
    for half in [HEADER_BYTES, PROGRAM_HEADER_BYTES, 3, 64, 0, 0] {
        file.extend((half as u16).to_le_bytes());
    }
    let mut header =
        |kind: u32, flags: u32, offset: u64, address: u64, in_file: u64, bytes: u64| {
            file.extend(kind.to_le_bytes());
            file.extend(flags.to_le_bytes());
            for field in [offset, address, address, in_file, bytes, 4] {
                file.extend(field.to_le_bytes());
            }
        };
    header(PT_LOAD.0, (PF_R | PF_X).0, 0, IMAGE, 64, 64);
    header(PT_LOAD.0, (PF_R | PF_W).0, 0, IMAGE + 0x1000, 16, 0x1800);
    header(
        PT_NOTE.0,
        PF_R.0,
        note_offset as u64,
        IMAGE,
        note.len() as u64,
        note.len() as u64,
    );
    file.extend(note);
    file
}

/// The image with `bytes` written at `offset`.
fn patched(offset: usize, bytes: &[u8]) -> Result<Image, ImageError> {
    let mut file = image();
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
    Image::parse(&file)
}

/// An image whose last program header is one of thread-locals, with these numbers, and a fourth one.
fn with_tls(numbers: [u64; 4], fourth: u32) -> Result<Image, ImageError> {
    let mut file = image();
    // The two headers stand behind all else, so that the note keeps its place.
    let table = file.len();
    let headers = file[HEADER_BYTES..HEADER_BYTES + 3 * PROGRAM_HEADER_BYTES].to_vec();
    file.extend(headers);
    let [address, file_bytes, bytes, align] = numbers;
    for kind in [PT_TLS.0, fourth] {
        file.extend(kind.to_le_bytes());
        file.extend(PF_R.0.to_le_bytes());
        for field in [0, address, address, file_bytes, bytes, align] {
            file.extend(field.to_le_bytes());
        }
    }
    file[32..40].copy_from_slice(&(table as u64).to_le_bytes());
    file[56..58].copy_from_slice(&5u16.to_le_bytes());
    Image::parse(&file)
}

#[test]
fn thread_locals_lie_inside_a_segment() {
    let data = IMAGE + 0x1000;
    let other = PT_NOTE.0 + 0x1000;
    for numbers in [
        [data, 16, 16, 8],
        [data, 0, 0, 1],
        [data + 0x17c0, 64, 4096, 64],
        [IMAGE, 64, TLS_BYTES_MAX, 4096],
    ] {
        let image =
            with_tls(numbers, other).unwrap_or_else(|error| panic!("{numbers:x?}: {error}"));
        assert_eq!(image.segments().len(), 2);
    }
    for numbers in [
        [0, 0, 0, 8],
        [data - 8, 16, 16, 8],
        [data + 0x17c0, 65, 4096, 64],
        [data + 0x1800, 1, 1, 1],
        [data, 17, 16, 8],
        [data, 16, TLS_BYTES_MAX + 1, 8],
        [data, 16, u64::MAX, 8],
        [data, u64::MAX, u64::MAX, 8],
        [u64::MAX, 1, 1, 1],
        [u64::MAX - 7, 16, 16, 8],
        [data, 16, 16, 0],
        [data, 16, 16, 3],
        [data, 16, 16, 8192],
        [data + 4, 8, 8, 8],
    ] {
        let [address, _, bytes, _] = numbers;
        let error = with_tls(numbers, other).expect_err("refused");
        assert_eq!(
            error,
            ImageError::ThreadLocal { address, bytes },
            "{numbers:x?}"
        );
    }
    let twice = with_tls([data, 16, 16, 8], PT_TLS.0);
    assert!(matches!(twice, Err(ImageError::ThreadLocal { .. })));
}

/// Offset of a field of program header `number`.
fn field(number: usize, offset: usize) -> usize {
    HEADER_BYTES + number * PROGRAM_HEADER_BYTES + offset
}

const FLAGS: usize = 4;
const OFFSET: usize = 8;
const ADDRESS: usize = 16;
const IN_FILE: usize = 32;
const BYTES: usize = 40;

#[test]
fn a_good_image_is_read() {
    let image = Image::parse(&image()).expect("well-formed");
    assert_eq!((image.entry(), image.end()), (IMAGE, IMAGE + 0x3000));
    assert_eq!(image.note().function_name(), "test");
    let permissions: Vec<_> = image.segments().iter().map(|s| s.permissions).collect();
    assert_eq!(
        permissions,
        [Permissions::ReadExecute, Permissions::ReadWrite]
    );
}

#[test]
fn every_truncation_is_an_error() {
    let file = image();
    for len in 0..file.len() {
        Image::parse(&file[..len]).expect_err("truncated");
    }
}

#[test]
fn each_mistake_has_its_error() {
    assert_eq!(Image::parse(b"#!/bin/sh\n"), Err(ImageError::NotElf));
    assert_eq!(
        patched(16, &ET_DYN.0.to_le_bytes()),
        Err(ImageError::Dynamic)
    );
    assert_eq!(
        patched(16, &1u16.to_le_bytes()),
        Err(ImageError::NotExecutable(1))
    );
    assert_eq!(
        patched(18, &183u16.to_le_bytes()),
        Err(ImageError::Machine(183))
    );
    assert_eq!(
        patched(56, &17u16.to_le_bytes()),
        Err(ImageError::TooManyHeaders(17))
    );
    // That says, the number is elsewhere: nobody has so many.
    assert_eq!(
        patched(56, &u16::MAX.to_le_bytes()),
        Err(ImageError::TooManyHeaders(0xffff))
    );
    assert_eq!(
        patched(24, &(IMAGE + 64).to_le_bytes()),
        Err(ImageError::Entry(IMAGE + 64))
    );
    assert_eq!(
        patched(24, &u64::MAX.to_le_bytes()),
        Err(ImageError::Entry(u64::MAX))
    );
    assert_eq!(
        patched(field(2, 0), &PT_INTERP.0.to_le_bytes()),
        Err(ImageError::Dynamic)
    );
    assert_eq!(
        patched(field(2, 0), &PT_DYNAMIC.0.to_le_bytes()),
        Err(ImageError::Dynamic)
    );
    assert_eq!(
        patched(field(2, 0), &6u32.to_le_bytes()),
        Err(ImageError::NoNote)
    );
}

#[test]
fn each_bad_segment_has_its_error() {
    let address = IMAGE + 0x1000;
    let flags = (PF_R | PF_W | PF_X).0.to_le_bytes();
    assert_eq!(
        patched(field(1, FLAGS), &flags),
        Err(ImageError::WritableExecutable { address })
    );
    let flags = PF_W.0.to_le_bytes();
    assert_eq!(
        patched(field(1, FLAGS), &flags),
        Err(ImageError::Unreadable { address })
    );
    let overlap = ImageError::Overlap {
        first: IMAGE,
        second: address,
    };
    assert_eq!(
        patched(field(0, BYTES), &0x1001u64.to_le_bytes()),
        Err(overlap)
    );
    for bytes in [RAM_BYTES_MAX, u64::MAX, u64::MAX - address] {
        let first = IMAGE;
        let placement = ImageError::Placement {
            address,
            bytes,
            first,
        };
        assert_eq!(
            patched(field(1, BYTES), &bytes.to_le_bytes()),
            Err(placement)
        );
    }
    for wrong in [0u64, IMAGE - 0x1000, address + 1, u64::MAX - 0xfff] {
        let error = patched(field(1, ADDRESS), &wrong.to_le_bytes()).expect_err("misplaced");
        assert!(
            matches!(error, ImageError::Placement { .. }),
            "{wrong:#x}: {error}"
        );
    }
    for (offset, value) in [(OFFSET, u64::MAX), (IN_FILE, 0x1801), (IN_FILE, u64::MAX)] {
        let error = patched(field(1, offset), &value.to_le_bytes());
        assert_eq!(error, Err(ImageError::Truncated));
    }
}

#[test]
fn another_abi_is_named() {
    let abi = HEADER_BYTES + 3 * PROGRAM_HEADER_BYTES + 20;
    assert_eq!(
        patched(abi, &9u32.to_le_bytes()),
        Err(ImageError::AbiVersion(9))
    );
    let sdk_version = abi + 8;
    assert_eq!(patched(sdk_version, &[0xff]), Err(ImageError::NoteDamaged));
}

/// The largest that has room for a heap in the largest VM, and the next larger one.
#[test]
fn memory_has_a_limit_on_both_sides() {
    let address = IMAGE + 0x1000;
    let bytes = |end: u64| end - address;
    let largest = RAM_BYTES_MAX - HEAP_BYTES_MIN;
    let image = patched(field(1, BYTES), &bytes(largest).to_le_bytes()).expect("it fits");
    assert_eq!(
        (image.end(), image.ram_bytes_min()),
        (largest, RAM_BYTES_MAX)
    );
    let too_large = patched(field(1, BYTES), &bytes(largest + 1).to_le_bytes());
    let needed_bytes = RAM_BYTES_MAX + PAGE_BYTES;
    assert_eq!(too_large, Err(ImageError::TooLarge { needed_bytes }));
}

/// Only headers and notes are read: of a file with 200 MiB of text as much as of any other.
#[test]
fn a_file_is_read_as_memory_is() {
    use std::io::Write as _;

    let bytes = image();
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&bytes).expect("written");
    assert_eq!(
        Image::read(&file).expect("an image"),
        Image::parse(&bytes).expect("an image")
    );
    for len in 0..bytes.len() as u64 {
        file.set_len(len).expect("cut");
        let error = Image::read(&file).expect_err("truncated").to_string();
        let expected = Image::parse(&bytes[..len as usize]).expect_err("truncated");
        assert_eq!(error, expected.to_string());
        file.set_len(0)
            .and_then(|()| std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0))
            .expect("whole again");
    }
    file.set_len(IMAGE_BYTES_MAX + 1).expect("a sparse file");
    let error = Image::read(&file).expect_err("too large").to_string();
    assert_eq!(
        error,
        ImageError::FileTooLarge(IMAGE_BYTES_MAX + 1).to_string()
    );
}

#[test]
fn notes_have_a_limit() {
    for in_file in [NOTES_BYTES_MAX + 1, u64::MAX] {
        let error = patched(field(2, IN_FILE), &in_file.to_le_bytes());
        assert_eq!(error, Err(ImageError::NoteDamaged));
    }
}

proptest! {
    /// Whatever the bytes are, an image that is accepted keeps its promises.
    #[test]
    fn what_is_accepted_is_as_it_should_be(changes in proptest::collection::vec((0..0x160_usize, any::<u8>()), 0..6)) {
        let mut file = image();
        for (at, byte) in changes {
            file[at] = byte;
        }
        if let Ok(image) = Image::parse(&file) {
            let mut end = IMAGE;
            for segment in image.segments() {
                prop_assert!(segment.address >= end && segment.file_bytes <= segment.bytes);
                prop_assert!(segment.offset + segment.file_bytes <= file.len() as u64);
                end = segment.address + segment.mapped_bytes();
            }
            prop_assert!(end == image.end() && image.ram_bytes_min() <= RAM_BYTES_MAX);
            prop_assert!(image.needed_bytes() <= file.len() as u64);
        }
    }
}

/// A larger stack ends where the image begins, and an image of another place has none.
#[test]
fn a_larger_stack_moves_the_image() {
    let flags_at = HEADER_BYTES + 3 * PROGRAM_HEADER_BYTES + 20 + 4;
    let bytes = IMAGE - STACK + (64 << 10);
    let flags = note::with_stack(0, bytes).expect("allowed").to_le_bytes();
    let placement = patched(flags_at, &flags).expect_err("where its stack is");
    assert!(matches!(placement, ImageError::Placement { first, .. } if first == STACK + bytes));
    let mut file = image();
    file[flags_at..flags_at + 4].copy_from_slice(&flags);
    for (number, address) in [(0, STACK + bytes), (1, STACK + bytes + 0x1000)] {
        for at in [ADDRESS, ADDRESS + 8] {
            file[field(number, at)..][..8].copy_from_slice(&address.to_le_bytes());
        }
    }
    file[24..32].copy_from_slice(&(STACK + bytes).to_le_bytes());
    let image = Image::parse(&file).expect("moved");
    assert_eq!(
        (image.stack_bytes(), image.stack_top()),
        (bytes, image.entry())
    );
    assert_eq!(
        patched(flags_at, &u32::MAX.to_le_bytes()),
        Err(ImageError::NoteDamaged)
    );
}
