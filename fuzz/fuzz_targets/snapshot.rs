//! Snapshots: state files and working sets that someone hands in. Each input is tried as it is, with
//! its checksum mended, and as the state behind a header that fits it, because no fuzzer guesses
//! those.
#![no_main]

use jiffy_abi::layout::{PAGE_BYTES, RAM_BYTES_MIN};
use jiffy_snapshots::{
    HEADER_BYTES, StateFile, WORKING_SET_RUNS_MAX, decode_working_set, encode_working_set, seal,
    seal_working_set,
};
use libfuzzer_sys::fuzz_target;

const GOLDEN: &[u8] = include_bytes!("../../snapshots/tests/golden/v3/state");
const STATE_BYTES: usize = 16;
const IMAGE_DIGEST: usize = 40;
const IMAGE_DIGEST_BYTES: usize = 32;

/// A state file with the lengths and the image that `state` needs, if it is one.
fn with_header(state: &[u8]) -> Vec<u8> {
    let mut file = GOLDEN[..HEADER_BYTES].to_vec();
    file[STATE_BYTES..STATE_BYTES + 8].copy_from_slice(&(state.len() as u64).to_le_bytes());
    // A state begins with the digest of its image, which the header repeats.
    let digest = &state[..IMAGE_DIGEST_BYTES.min(state.len())];
    file[IMAGE_DIGEST..IMAGE_DIGEST + digest.len()].copy_from_slice(digest);
    file.extend(state);
    file
}

fn check_state(file: &[u8]) {
    if let Ok(contents) = StateFile::from_bytes(file) {
        let (ram, state) = (contents.ram, &contents.state);
        assert!(ram.pages_stored <= ram.bytes / PAGE_BYTES);
        assert!(state.run.heap_start <= state.run.heap_end && state.run.heap_end <= ram.bytes);
        assert_eq!(contents.to_bytes().expect("it was read"), file);
    }
}

fn check_working_set(file: &[u8]) {
    if let Ok(runs) = decode_working_set(file, RAM_BYTES_MIN) {
        assert!(runs.len() <= WORKING_SET_RUNS_MAX as usize);
        let pages: u64 = runs.iter().map(|run| u64::from(run.pages)).sum();
        assert!(pages <= RAM_BYTES_MIN / PAGE_BYTES);
        let again = encode_working_set(&runs, RAM_BYTES_MIN).expect("it was read");
        assert_eq!(again, file);
    }
}

fuzz_target!(|bytes: &[u8]| {
    check_state(bytes);
    check_working_set(bytes);
    let mut mended = bytes.to_vec();
    seal(&mut mended);
    check_state(&mended);
    let mut mended = bytes.to_vec();
    seal_working_set(&mut mended);
    check_working_set(&mended);
    let mut file = with_header(bytes);
    seal(&mut file);
    check_state(&file);
});
