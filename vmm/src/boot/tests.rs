use std::fs::File;

use jiffy_abi::{
    devices::DeviceId,
    layout::{IMAGE, LARGE_PAGE_BYTES, RAM_BYTES_MAX, STACK_GUARD, STACK_TOP},
    note::Note,
};
use proptest::prelude::*;

use super::*;

/// A sparse image with these segments: flags, address, bytes in memory, bytes in the file. The first holds the entry.
fn image(segments: &[(u32, u64, u64, u64)]) -> (File, Image) {
    use std::{io::Write as _, os::unix::fs::FileExt as _};

    let note = Note::new(0, "0.1.0", "test", "1.0.0").to_bytes();
    let count = u16::try_from(segments.len() + 1).expect("few");
    let note_at = 64 + 56 * u64::from(count);
    let mut head = b"\x7fELF\x02\x01\x01".to_vec();
    head.resize(16, 0);
    head.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for number in [segments[0].1, 64, 0] {
        head.extend(number.to_le_bytes());
    }
    head.extend([0; 4]);
    for number in [64, 56, count, 64, 0, 0] {
        head.extend(number.to_le_bytes());
    }
    let mut header = |kind: u32, flags: u32, numbers: [u64; 6]| {
        head.extend([kind, flags].map(u32::to_le_bytes).concat());
        head.extend(numbers.map(u64::to_le_bytes).concat());
    };
    let note_bytes = note.len() as u64;
    header(4, 4, [note_at, 0, 0, note_bytes, note_bytes, 4]);
    for (flags, address, bytes, file_bytes) in segments.iter().copied() {
        header(1, flags, [4096, address, address, file_bytes, bytes, 1]);
    }
    head.extend(note);
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&head).expect("written");
    let longest = segments.iter().map(|segment| segment.3).max();
    file.write_all_at(&[0xc3], 4095 + longest.expect("one"))
        .expect("sparse");
    let image = Image::read(&file).expect("an image");
    (file, image)
}

const RX: u32 = 5;
const RW: u32 = 6;
const MIB: u64 = 1 << 20;

/// What honest images have, and as much as any can have.
#[test]
fn large_images_are_loaded() {
    let data = IMAGE + 56 * MIB;
    for (segments, ram_bytes) in [
        (
            vec![(RX, IMAGE, 56 * MIB, 56 * MIB), (RW, data, 85 * MIB, 4096)],
            146 * MIB,
        ),
        (
            vec![
                (RX, IMAGE, 4096, 64),
                (RW, data, RAM_BYTES_MAX - data - 2 * MIB, 9),
            ],
            RAM_BYTES_MAX,
        ),
    ] {
        let (file, image) = image(&segments);
        let ram = Ram::new(ram_bytes).expect("RAM");
        let loaded = load(&ram, &image, &file, &[DeviceId::Vsock]).expect("it fits");
        assert_eq!(loaded.heap_start, image.end());
        let last = IMAGE + segments[0].3 - 1;
        let at = ram.read_array(last).map(|[byte]: [u8; 1]| byte);
        assert_eq!(at, Some(0xc3));
    }
}

#[test]
fn an_image_that_does_not_fit_its_ram_is_the_images_fault() {
    let (file, image) = image(&[(RX, IMAGE, 4096, 64), (RW, IMAGE + 4096, 85 * MIB, 8)]);
    let ram = Ram::new(86 * MIB).expect("RAM");
    let error = load(&ram, &image, &file, &[DeviceId::Vsock]).expect_err("too small");
    assert!(
        matches!(error, LoadError::TooSmall { ram_bytes, .. } if ram_bytes == 86 * MIB),
        "{error}"
    );
    assert_eq!(image.ram_bytes_min(), 88 * MIB);
    assert!(load(&Ram::new(88 * MIB).expect("RAM"), &image, &file, &[]).is_ok());
}

/// Somebody may write to the file once it was verified.
#[test]
fn what_is_loaded_is_what_was_verified() {
    use std::os::unix::fs::FileExt as _;

    let (file, image) = image(&[(RX, IMAGE, 4096, 64)]);
    let elsewhere = RESUME_PAGE.to_le_bytes();
    for field in [16, 24] {
        file.write_all_at(&elsewhere, 64 + 56 + field)
            .expect("written");
    }
    let ram = Ram::new(4 * MIB).expect("RAM");
    load(&ram, &image, &file, &[DeviceId::Vsock]).expect("it fits");
    assert_eq!(ram.read_array(RESUME_PAGE), Some([0; 4096]));
    let [first]: [u8; 1] = ram.read_array(IMAGE + 63).expect("in RAM");
    assert_eq!(first, 0xc3);
    file.set_len(100).expect("cut");
    assert!(matches!(
        load(&ram, &image, &file, &[DeviceId::Vsock]),
        Err(LoadError::Copy(_))
    ));
}

/// As many segments as there can be, each beginning and ending in a large page of its own.
#[test]
fn page_tables_of_the_worst_image_fit_their_room() {
    let block = 64 * LARGE_PAGE_BYTES;
    let segment = |number: u64| {
        let address = IMAGE + 4096 + number * block;
        (
            if number == 0 { RX } else { RW },
            address,
            block - LARGE_PAGE_BYTES,
            8,
        )
    };
    let segments: Vec<_> = (0..PROGRAM_HEADERS_MAX as u64 - 1).map(segment).collect();
    let (_, image) = image(&segments);
    let bytes = page_tables(&image, RAM_BYTES_MAX, &[DeviceId::Vsock]).bytes();
    assert!(
        bytes <= PAGE_TABLES_BYTES && bytes > PAGE_TABLES_BYTES / 2,
        "{bytes}"
    );
}

proptest! {
    /// Each page has exactly the rights of what lies there, whatever the sizes are: none can be written and executed,
    /// page 0, the guard page and the page tables are not there at all.
    #[test]
    fn rights_are_those_of_the_segments(pages in proptest::collection::vec((0..1200_u64, 1..1200_u64), 1..6)) {
        let mut end = IMAGE;
        let mut segments = vec![];
        for (number, (gap, pages)) in pages.into_iter().enumerate() {
            let address = end + gap * PAGE_BYTES;
            segments.push(([RX, RW, 4][number % 3], address, pages * PAGE_BYTES, 8));
            end = address + pages * PAGE_BYTES;
        }
        let (_, image) = image(&segments);
        let ram_bytes = image.ram_bytes_min();
        let tables = page_tables(&image, ram_bytes, &[DeviceId::Vsock]);
        prop_assert!(tables.bytes() <= PAGE_TABLES_BYTES);
        let rights = |address: u64| tables.walk(address).map(|(to, bits)| {
            assert_eq!(to, address);
            (bits & 2 != 0, bits >> 63 == 0, bits & 4 != 0) // Writable, executable, the guest's.
        });
        for page in (0..ram_bytes).step_by(4096) {
            let segment = segments.iter().find(|(_, address, bytes, _)| (*address..address + bytes).contains(&page));
            let expected = match segment {
                Some((RX, ..)) => Some((false, true, true)),
                Some((RW, ..)) => Some((true, false, true)),
                Some(_) => Some((false, false, true)),
                None if page >= end || (STACK..STACK_TOP).contains(&page) => Some((true, false, true)),
                None if page >= IMAGE => None,
                None => continue,
            };
            prop_assert_eq!(rights(page), expected, "{:#x}", page);
        }
        for page in [0, STACK_GUARD, PAGE_TABLES, PAGE_TABLES + PAGE_TABLES_BYTES - 1] {
            prop_assert_eq!(rights(page), None, "{:#x}", page);
        }
        prop_assert_eq!(rights(STUBS), Some((false, true, false)));
    }
}
