use jiffy_abi::{
    devices::DeviceId,
    layout::{PAGE_BYTES, STACK},
};
use proptest::prelude::*;

use super::*;
use crate::{
    CPU_WORDS_MAX,
    devices::{CONSOLE_FIFO_BYTES_MAX, ConsoleState, DeviceState, TransportState, VsockState},
    state::{AddressRange, WRITABLE_RANGES_MAX},
    testing::{RAM_BYTES, any_state, golden_state, golden_state_with_nic},
};

const GOLDEN: &[u8] = include_bytes!("../../tests/golden/v3/state");
/// Of a VM with a NIC.
const GOLDEN_NIC: &[u8] = include_bytes!("../../tests/golden/v3/state-nic");
const GOLDEN_2: &[u8] = include_bytes!("../../tests/golden/v2/state");
const GOLDEN_1: &[u8] = include_bytes!("../../tests/golden/v1/state");

fn file_of(state: State) -> StateFile {
    let ram = RamSummary {
        bytes: RAM_BYTES,
        pages_stored: 3,
        digest: Digest::of(b"some RAM"),
    };
    StateFile { ram, state }
}

fn bytes_of(state: State) -> Vec<u8> {
    file_of(state)
        .to_bytes()
        .expect("a state that can be saved")
}

/// What a change to the golden file's bytes at `offset` gives, checksum mended.
fn changed(offset: usize, bytes: &[u8]) -> Result<StateFile, FormatError> {
    let mut file = GOLDEN.to_vec();
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
    seal(&mut file);
    StateFile::from_bytes(&file)
}

/// Format 1 did not say what a device may write, format 2 had one device and no list: such a snapshot is made again.
#[test]
fn formats_before_this_one_are_told_by_their_numbers() {
    for (version, golden) in [(1, GOLDEN_1), (2, GOLDEN_2)] {
        let error = StateFile::from_bytes(golden).expect_err("no longer read");
        assert!(
            matches!(error, FormatError::UnknownFormat(found) if found == version),
            "{error}"
        );
        assert!(error.to_string().ends_with("create it again"), "{error}");
    }
}

/// Every version of the format keeps its golden file; this one may never change but for the version of the ABI in it,
/// which is the image's.
#[test]
fn format_3_is_what_it_always_was() {
    let golden = file_of(golden_state());
    assert_eq!(golden.to_bytes().expect("encodes"), GOLDEN);
    assert_eq!(StateFile::from_bytes(GOLDEN).expect("decodes"), golden);
    let golden = file_of(golden_state_with_nic());
    assert_eq!(golden.to_bytes().expect("encodes"), GOLDEN_NIC);
    assert_eq!(StateFile::from_bytes(GOLDEN_NIC).expect("decodes"), golden);
}

#[test]
fn the_header_is_spelled_out() {
    let file = GOLDEN;
    let number = |range: std::ops::Range<usize>| {
        let bytes = file[range].iter().rev();
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    assert_eq!(&file[..8], b"jiffySNP");
    assert_eq!((number(8..12), number(12..16)), (3, u64::from(ABI_VERSION)));
    assert_eq!(number(16..24), file.len() as u64 - 136);
    assert_eq!((number(24..32), number(32..40)), (4 << 20, 3));
    assert_eq!(file[40..72], golden_state().image.digest);
    assert_eq!(file[72..104], Digest::of(b"some RAM").0);
    let mut zeroed = file.to_vec();
    zeroed[104..136].fill(0);
    assert_eq!(file[104..136], Digest::of(&zeroed).0);
}

#[test]
fn every_truncation_is_an_error() {
    for len in 0..GOLDEN.len() {
        let error = StateFile::from_bytes(&GOLDEN[..len]).expect_err("truncated");
        let is_truncated = matches!(
            error,
            FormatError::Truncated { found_bytes, .. } if found_bytes == len as u64
        );
        assert!(is_truncated, "{len}: {error}");
    }
}

#[test]
fn every_flipped_byte_is_an_error() {
    let mut file = GOLDEN.to_vec();
    for offset in 0..file.len() {
        for bits in [0x01, 0x80, 0xff] {
            file[offset] ^= bits;
            assert!(StateFile::from_bytes(&file).is_err(), "byte {offset}");
            file[offset] ^= bits;
        }
    }
    assert!(StateFile::from_bytes(&file).is_ok());
}

/// The state is not decoded, and nothing of it is believed, before the checksum was compared.
#[test]
fn stages_come_in_order() {
    // Every field is wrong; mending one after the other shows the next.
    let mut file = vec![0xff; GOLDEN.len() + 1];
    let mut check = |offset: usize, mended: &[u8], is_expected: fn(&FormatError) -> bool| {
        let error = StateFile::from_bytes(&file).expect_err("wrong");
        assert!(is_expected(&error), "{offset}: {error}");
        file[offset..offset + mended.len()].copy_from_slice(mended);
        if offset == HEADER_BYTES {
            file.pop();
        }
    };
    check(0, &STATE_MAGIC, |error| {
        matches!(error, FormatError::Magic(_))
    });
    check(FORMAT, &0_u32.to_le_bytes(), |error| {
        matches!(error, FormatError::NewerFormat(u32::MAX))
    });
    check(FORMAT, &FORMAT_VERSION.to_le_bytes(), |error| {
        matches!(error, FormatError::UnknownFormat(0))
    });
    check(ABI, &ABI_VERSION.to_le_bytes(), |error| {
        matches!(error, FormatError::Abi(u32::MAX))
    });
    check(
        STATE_BYTES,
        &GOLDEN[STATE_BYTES..RAM_BYTES_FIELD],
        |error| matches!(error, FormatError::TooLarge(u64::MAX)),
    );
    check(HEADER_BYTES, &[], |error| {
        matches!(error, FormatError::Trailing(1))
    });
    check(RAM_BYTES_FIELD, &RAM_BYTES.to_le_bytes(), |error| {
        matches!(error, FormatError::RamBytes(u64::MAX))
    });
    check(RAM_PAGES_STORED, &3_u64.to_le_bytes(), |error| {
        matches!(
            error,
            FormatError::PagesStored {
                stored: u64::MAX,
                pages: 1024
            }
        )
    });
    check(CHECKSUM, &[], |error| {
        matches!(error, FormatError::Checksum { .. })
    });
    seal(&mut file);
    let error = StateFile::from_bytes(&file).expect_err("no state");
    assert!(matches!(error, FormatError::Decode(_)), "{error}");
}

const RAM_BYTES_FIELD: usize = super::RAM_BYTES;

#[test]
fn other_versions_are_named_however_little_there_is_of_them() {
    let newer = [&STATE_MAGIC[..], &4_u32.to_le_bytes()].concat();
    let error = StateFile::from_bytes(&newer).expect_err("newer");
    assert_eq!(
        error.to_string(),
        "the snapshot was made by a newer jiffy (format 4, this one knows 3): \
         update jiffy or create it again"
    );
    let other_abi = [
        &newer[..8],
        &FORMAT_VERSION.to_le_bytes(),
        &9_u32.to_le_bytes(),
    ]
    .concat();
    let error = StateFile::from_bytes(&other_abi).expect_err("another ABI");
    assert!(matches!(error, FormatError::Abi(9)), "{error}");
}

#[test]
fn limits_hold_on_both_sides() {
    let ram_bytes = |bytes: u64| changed(RAM_BYTES_FIELD, &bytes.to_le_bytes());
    assert!(ram_bytes(RAM_BYTES_MIN).is_ok());
    assert!(ram_bytes(RAM_BYTES_MAX).is_ok());
    for bytes in [
        0,
        RAM_BYTES_MIN - RAM_BYTES_STEP,
        RAM_BYTES_MAX + RAM_BYTES_STEP,
        RAM_BYTES_MIN + PAGE_BYTES,
        u64::MAX,
    ] {
        assert!(matches!(ram_bytes(bytes), Err(FormatError::RamBytes(wrong)) if wrong == bytes));
    }

    let pages_stored = |pages: u64| changed(RAM_PAGES_STORED, &pages.to_le_bytes());
    assert!(pages_stored(RAM_BYTES / PAGE_BYTES).is_ok());
    assert!(pages_stored(RAM_BYTES / PAGE_BYTES + 1).is_err());

    let state_bytes = |bytes: u64| changed(STATE_BYTES, &bytes.to_le_bytes());
    assert!(matches!(
        state_bytes(STATE_BYTES_MAX),
        Err(FormatError::Truncated { .. })
    ));
    assert!(matches!(
        state_bytes(STATE_BYTES_MAX + 1),
        Err(FormatError::TooLarge(_))
    ));
}

/// So many ranges that a device may write, from the first that it could on.
fn ranges(count: usize) -> Vec<AddressRange> {
    let starts = (STACK..).step_by(2 * crate::PAGE_LEN).take(count);
    let range = |start| AddressRange {
        start,
        end: start + PAGE_BYTES,
    };
    starts.map(range).collect()
}

fn vsock(state: &mut State) -> &mut VsockState {
    let mut devices = state.devices.iter_mut();
    let found = devices.find_map(|device| match device {
        DeviceState::Vsock(state) => Some(state),
        _ => None,
    });
    found.expect("a vsock device")
}

fn console(state: &mut State) -> &mut ConsoleState {
    let mut devices = state.devices.iter_mut();
    let found = devices.find_map(|device| match device {
        DeviceState::Console(state) => Some(state),
        _ => None,
    });
    found.expect("a console")
}

fn nic(state: &mut State) -> &mut TransportState {
    let mut devices = state.devices.iter_mut();
    let found = devices.find_map(|device| match device {
        DeviceState::Nic(state) => Some(state),
        _ => None,
    });
    found.expect("a NIC")
}

fn unknown(number: u32) -> DeviceState {
    let state = vec![1, 2, 3];
    DeviceState::Unknown { number, state }
}

/// A device of tomorrow is named, however its state is encoded; what is behind a known device's state is not overlooked.
#[test]
fn a_device_that_nobody_knows_is_told_by_its_number() {
    let state = State {
        devices: vec![unknown(77)],
        ..golden_state()
    };
    let error = state.check(RAM_BYTES).expect_err("unknown");
    assert_eq!(
        error.to_string(),
        "it has a device of number 77, which this jiffy does not know"
    );
    let bytes = encode(&state).expect("encodes");
    let decoded: State = postcard::from_bytes(&bytes).expect("decodes");
    assert_eq!(decoded, state);

    // As number 1, the same bytes are a console's that break off; with three more they go on too long.
    let disguised = |mut bytes: Vec<u8>| {
        let at = bytes.windows(5).position(|four| four == [77, 3, 1, 2, 3]);
        bytes[at.expect("it is there")] = 1; // The number.
        postcard::from_bytes::<State>(&bytes)
    };
    assert!(disguised(bytes).is_err());
    let mut state = postcard::to_stdvec(&ConsoleState::default()).expect("encodes");
    let number = DeviceId::Console.number();
    let decoded = |state: Vec<u8>| {
        let bytes = postcard::to_stdvec(&DeviceState::Unknown { number, state });
        postcard::from_bytes::<DeviceState>(&bytes.expect("encodes"))
    };
    let known = decoded(state.clone()).expect("a console");
    assert_eq!(known, DeviceState::Console(ConsoleState::default()));
    state.push(0);
    assert!(decoded(state).is_err());
}

/// A state at all its limits can be written and read; one step past any of them it can be neither.
#[test]
fn a_state_holds_its_limits() {
    let word = golden_state().cpu.words[0];
    let largest = || {
        let mut state = golden_state_with_nic();
        state.image.function_name = "é".repeat(32);
        state.image.function_version = "1".repeat(32);
        state.cpu.words = vec![word; CPU_WORDS_MAX];
        state.run.heap_end = RAM_BYTES;
        state.run.writable = ranges(WRITABLE_RANGES_MAX);
        let queue = &mut vsock(&mut state).transport.queues[1];
        (queue.ready, queue.size) = (true, 64);
        console(&mut state).fifo = vec![7; CONSOLE_FIFO_BYTES_MAX];
        let queue = &mut nic(&mut state).queues[1];
        (queue.ready, queue.size) = (true, 256);
        state
    };
    let bytes = bytes_of(largest());
    assert!(bytes.len() as u64 <= STATE_FILE_BYTES_MAX);
    assert_eq!(
        StateFile::from_bytes(&bytes).expect("decodes").state,
        largest()
    );

    let breaks: [fn(&mut State); 26] = [
        |state| state.image.function_name.push('a'),
        |state| state.image.function_version.push('1'),
        |state| state.cpu.words.push(state.cpu.words[0]),
        |state| state.run.heap_end += 1,
        |state| state.run.heap_start = state.run.heap_end + 1,
        |state| vsock(state).transport.queues[1].size = 128,
        |state| vsock(state).transport.queues[1].size = 0,
        |state| vsock(state).transport.queue_sel = 3,
        |state| vsock(state).transport.queues.truncate(2),
        |state| {
            let queues = &mut vsock(state).transport.queues;
            queues.push(queues[0]);
        },
        |state| console(state).fifo.push(7),
        |state| nic(state).queues[1].size = 512,
        |state| nic(state).queues[1].size = 0,
        |state| nic(state).queue_sel = 2,
        |state| nic(state).queues.truncate(1),
        |state| {
            let queues = &mut nic(state).queues;
            queues.push(queues[0]);
        },
        |state| state.devices.swap(1, 2),
        |state| state.devices.swap(0, 1),
        |state| state.devices.insert(0, state.devices[0].clone()),
        |state| state.devices.push(unknown(3)),
        |state| state.run.writable = ranges(WRITABLE_RANGES_MAX + 1),
        |state| state.run.writable[0].start -= PAGE_BYTES,
        |state| state.run.writable[0].start += 1,
        |state| state.run.writable[1].end = state.run.writable[1].start,
        |state| state.run.writable[1].start = state.run.writable[0].end,
        |state| state.run.writable[17].end = RAM_BYTES + PAGE_BYTES,
    ];
    for (number, break_it) in breaks.into_iter().enumerate() {
        let mut state = largest();
        break_it(&mut state);
        let error = file_of(state.clone())
            .to_bytes()
            .expect_err("beyond a limit");
        assert!(matches!(error, FormatError::State(_)), "{number}: {error}");

        // What the encoder refuses, the decoder refuses too.
        let mut file = bytes[..HEADER_BYTES].to_vec();
        file.extend(encode(&state).expect("encodes"));
        let state_bytes = (file.len() - HEADER_BYTES) as u64;
        file[STATE_BYTES..RAM_BYTES_FIELD].copy_from_slice(&state_bytes.to_le_bytes());
        seal(&mut file);
        let error = StateFile::from_bytes(&file).expect_err("beyond a limit");
        assert!(matches!(error, FormatError::State(_)), "{number}: {error}");
    }
}

#[test]
fn one_state_has_one_file() {
    // `flags` behind the two texts: 1 as one byte, then as two.
    let state = State::default();
    let file = bytes_of(State {
        image: crate::state::ImageInfo {
            flags: 1,
            ..state.image
        },
        ..state
    });
    let flags = HEADER_BYTES + 32 + 1 + 1;
    assert_eq!(file[flags], 1);
    let resize = |mut file: Vec<u8>| {
        let state_bytes = (file.len() - HEADER_BYTES) as u64;
        file[STATE_BYTES..RAM_BYTES_FIELD].copy_from_slice(&state_bytes.to_le_bytes());
        seal(&mut file);
        StateFile::from_bytes(&file)
    };
    let mut longer = file.clone();
    longer.splice(flags..=flags, [0x81, 0]);
    assert!(matches!(resize(longer), Err(FormatError::NotCanonical)));
    let mut trailing = file.clone();
    trailing.push(0);
    assert!(matches!(resize(trailing), Err(FormatError::NotCanonical)));
    assert!(resize(file).is_ok());
}

#[test]
fn header_and_state_are_of_one_image() {
    let error = changed(IMAGE_DIGEST, &[0xff; 32]).expect_err("two images");
    assert!(matches!(error, FormatError::ImageDigest), "{error}");
}

proptest! {
    #[test]
    fn what_is_written_is_read(state in any_state()) {
        let file = file_of(state);
        let bytes = file.to_bytes().expect("a state that can be saved");
        prop_assert_eq!(StateFile::from_bytes(&bytes).expect("decodes"), file);
    }

    #[test]
    fn hostile_bytes_are_an_error_or_canonical(
        offset in HEADER_BYTES..GOLDEN.len(),
        bytes in prop::collection::vec(any::<u8>(), 1..8),
    ) {
        let end = GOLDEN.len().min(offset + bytes.len());
        if let Ok(file) = changed(offset, &bytes[..end - offset]) {
            let again = file.to_bytes().expect("what was read can be written");
            prop_assert_eq!(&again[offset..end], &bytes[..end - offset]);
        }
    }
}

/// Run by hand when the format gets a new version, with a new directory: `cargo test -- --ignored`.
#[test]
#[ignore = "writes golden files"]
fn write_golden_files() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("tests/golden/v{FORMAT_VERSION}"));
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join("state"), bytes_of(golden_state())).expect("state");
    let with_nic = bytes_of(golden_state_with_nic());
    std::fs::write(dir.join("state-nic"), with_nic).expect("state");
    let runs = crate::working_set::tests::golden_runs();
    let bytes = crate::encode_working_set(&runs, RAM_BYTES).expect("runs within RAM");
    std::fs::write(dir.join("working-set"), bytes).expect("working set");
}
