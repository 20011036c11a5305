use proptest::prelude::*;

use super::*;
use crate::testing::RAM_BYTES;

const GOLDEN: &[u8] = include_bytes!("../../tests/golden/v3/working-set");
const RAM_PAGES: u32 = 1024;

fn run(first_page: u32, pages: u32) -> PageRun {
    PageRun { first_page, pages }
}

pub(crate) fn golden_runs() -> Vec<PageRun> {
    vec![run(0, 1), run(9, 2), run(11, 1), run(0x1ff, 0x200)]
}

fn encode(runs: &[PageRun]) -> Result<Vec<u8>, WorkingSetError> {
    encode_working_set(runs, RAM_BYTES)
}

fn decode(file: &[u8]) -> Result<Vec<PageRun>, WorkingSetError> {
    decode_working_set(file, RAM_BYTES)
}

/// A file of these runs as an encoder would write it that checks nothing.
fn unchecked(runs: &[PageRun]) -> Vec<u8> {
    let mut file = GOLDEN[..HEADER_BYTES].to_vec();
    let count = u32::try_from(runs.len()).expect("few runs");
    file[COUNT..CHECKSUM].copy_from_slice(&count.to_le_bytes());
    for run in runs {
        file.extend([run.first_page.to_le_bytes(), run.pages.to_le_bytes()].as_flattened());
    }
    seal_working_set(&mut file);
    file
}

/// Every version keeps its golden file; this one may never change.
#[test]
fn version_1_is_what_it_always_was() {
    assert_eq!(encode(&golden_runs()).expect("encodes"), GOLDEN);
    assert_eq!(decode(GOLDEN).expect("decodes"), golden_runs());
    assert_eq!(&GOLDEN[..16], b"jiffyWKS\x01\0\0\0\x04\0\0\0");
    assert_eq!(&GOLDEN[72..], [0xff, 1, 0, 0, 0, 2, 0, 0]);
}

#[test]
fn every_truncation_and_every_flipped_byte_is_an_error() {
    for len in 0..GOLDEN.len() {
        let error = decode(&GOLDEN[..len]).expect_err("truncated");
        assert!(matches!(error, WorkingSetError::Length { .. }), "{error}");
    }
    let mut file = GOLDEN.to_vec();
    for offset in 0..file.len() {
        for bits in [0x01, 0x80, 0xff] {
            file[offset] ^= bits;
            assert!(decode(&file).is_err(), "byte {offset}");
            file[offset] ^= bits;
        }
    }
    file.push(0);
    assert!(matches!(decode(&file), Err(WorkingSetError::Length { .. })));
}

#[test]
fn runs_ascend_and_stay_within_ram() {
    let check = |runs: &[PageRun]| {
        let file = unchecked(runs);
        let decoded = decode(&file);
        assert_eq!(encode(runs).ok(), decoded.is_ok().then_some(file));
        decoded.err()
    };
    assert!(check(&[]).is_none());
    assert!(check(&[run(0, RAM_PAGES)]).is_none());
    assert!(check(&[run(0, 1), run(1, RAM_PAGES - 1)]).is_none());
    for (runs, wrong) in [
        (&[run(3, 0)][..], 0),
        (&[run(3, 2), run(4, 1)], 1),
        (&[run(3, 1), run(2, 1)], 1),
        (&[run(1, u32::MAX), run(0, 1)], 1),
    ] {
        let error = check(runs);
        let is_order = matches!(error, Some(WorkingSetError::Order(index)) if index == wrong);
        assert!(is_order, "{error:?}");
    }
    for runs in [
        &[run(0, RAM_PAGES + 1)][..],
        &[run(RAM_PAGES, 1)],
        &[run(u32::MAX, u32::MAX)],
    ] {
        let error = check(runs);
        let is_outside = matches!(error, Some(WorkingSetError::OutsideRam { .. }));
        assert!(is_outside, "{error:?}");
    }
}

#[test]
fn the_number_of_runs_is_limited_on_both_sides() {
    let runs = |count: u32| -> Vec<_> { (0..count).map(|page| run(2 * page, 1)).collect() };
    let (most, too_many) = (runs(WORKING_SET_RUNS_MAX), runs(WORKING_SET_RUNS_MAX + 1));
    let file = encode_working_set(&most, RAM_BYTES_MAX).expect("as many as there can be");
    assert_eq!(file.len() as u64, WORKING_SET_FILE_BYTES_MAX);
    assert_eq!(decode_working_set(&file, RAM_BYTES_MAX).ok(), Some(most));
    let is_refused = |error| matches!(error, Err(WorkingSetError::TooManyRuns(_)));
    assert!(is_refused(
        encode_working_set(&too_many, RAM_BYTES_MAX).map(|_| ())
    ));
    let file = unchecked(&too_many);
    assert!(is_refused(
        decode_working_set(&file, RAM_BYTES_MAX).map(|_| ())
    ));
}

proptest! {
    #[test]
    fn what_is_written_is_read(gaps in prop::collection::vec((0..9_u32, 1..9_u32), 0..60)) {
        let mut end = 0;
        let runs = gaps.iter().map(|(gap, pages)| {
            let next = run(end + gap, *pages);
            end += gap + pages;
            next
        });
        let runs: Vec<_> = runs.collect();
        let file = encode(&runs).expect("at most 960 pages");
        prop_assert_eq!(decode(&file).expect("decodes"), runs);
    }
}
