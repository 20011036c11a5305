//! `qsort` and `bsearch`.
#![allow(unsafe_code, reason = "elements are addresses")]

use alloc::vec;
use core::{
    ffi::{c_int, c_void},
    ptr, slice,
};

type Compare = unsafe extern "C" fn(*const c_void, *const c_void) -> c_int;
type CompareWith = unsafe extern "C" fn(*const c_void, *const c_void, *mut c_void) -> c_int;

/// Elements that are this long at most are sorted one by one into place first.
const RUN: usize = 8;

/// Sorts `bytes`, elements of `size` each, so that none `is_after` the next one; those that are equal stay as they were.
///
/// By merging, from runs up, with as much memory again: whatever order `is_after` says there is, even none, it ends after
/// n log n comparisons and loses nothing. Rust's own sort panics at an order that is none.
fn sort(bytes: &mut [u8], size: usize, is_after: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
    let count = bytes.len() / size;
    let mut held = vec![0; size];
    for run in bytes.chunks_mut(RUN * size) {
        for next in 1..run.len() / size {
            held.copy_from_slice(&run[next * size..][..size]);
            let mut place = next;
            while place > 0 && is_after(&run[(place - 1) * size..][..size], &held) {
                run.copy_within((place - 1) * size..place * size, place * size);
                place -= 1;
            }
            run[place * size..][..size].copy_from_slice(&held);
        }
    }
    if count <= RUN {
        return;
    }
    let mut other = vec![0; bytes.len()];
    let (mut from, mut to) = (bytes, &mut other[..]);
    let mut run = RUN * size;
    let mut is_in_other = false;
    while run < from.len() {
        for (from, to) in from.chunks(2 * run).zip(to.chunks_mut(2 * run)) {
            merge(from, to, run.min(from.len()), size, is_after);
        }
        (from, to) = (to, from);
        is_in_other = !is_in_other;
        run *= 2;
    }
    if is_in_other {
        to.copy_from_slice(from);
    }
}

/// Merges the two sorted parts of `from`, the second from `middle` on.
fn merge(
    from: &[u8],
    to: &mut [u8],
    middle: usize,
    size: usize,
    is_after: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) {
    let (mut left, mut right) = (0, middle);
    for place in to.chunks_exact_mut(size) {
        let takes_right = right < from.len()
            && (left == middle || is_after(&from[left..][..size], &from[right..][..size]));
        let next = if takes_right { &mut right } else { &mut left };
        place.copy_from_slice(&from[*next..][..size]);
        *next += size;
    }
}

/// Sorts `count` elements of `size` bytes each by `compare`; equal ones stay in their order.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn qsort(
    elements: *mut c_void,
    count: usize,
    size: usize,
    compare: Compare,
) {
    let Some(bytes @ 1..) = count.checked_mul(size) else {
        return;
    };
    // SAFETY: the caller has so many elements there, which nobody else changes meanwhile.
    let elements = unsafe { slice::from_raw_parts_mut(elements.cast::<u8>(), bytes) };
    sort(elements, size, &mut |one, other| {
        // SAFETY: both are elements, for which the caller gave it.
        unsafe { compare(one.as_ptr().cast(), other.as_ptr().cast()) > 0 }
    });
}

/// As `qsort`; `compare` gets `argument` too.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn qsort_r(
    elements: *mut c_void,
    count: usize,
    size: usize,
    compare: CompareWith,
    argument: *mut c_void,
) {
    let Some(bytes @ 1..) = count.checked_mul(size) else {
        return;
    };
    // SAFETY: as in `qsort`.
    let elements = unsafe { slice::from_raw_parts_mut(elements.cast::<u8>(), bytes) };
    sort(elements, size, &mut |one, other| {
        // SAFETY: as in `qsort`.
        unsafe { compare(one.as_ptr().cast(), other.as_ptr().cast(), argument) > 0 }
    });
}

/// An element that compares equal to `key` among `count` sorted ones, or null.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn bsearch(
    key: *const c_void,
    elements: *const c_void,
    count: usize,
    size: usize,
    compare: Compare,
) -> *const c_void {
    let (mut from, mut to) = (0, count);
    while from < to {
        let middle = from + (to - from) / 2;
        let element = elements.wrapping_byte_add(middle * size);
        // SAFETY: the key is the caller's, and so is this element.
        match unsafe { compare(key, element) } {
            0 => return element,
            ..0 => to = middle,
            1.. => from = middle + 1,
        }
    }
    ptr::null()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Pair = (u8, u16);

    unsafe extern "C" fn by_first(one: *const c_void, other: *const c_void) -> c_int {
        // SAFETY: they are elements.
        let one = unsafe { one.cast::<Pair>().read_unaligned() }.0;
        // SAFETY: as above.
        let other = unsafe { other.cast::<Pair>().read_unaligned() }.0;
        c_int::from(one) - c_int::from(other)
    }

    /// An order that is none.
    unsafe extern "C" fn after_all(_one: *const c_void, _other: *const c_void) -> c_int {
        1
    }

    proptest! {
        #[test]
        fn sorted_and_stable(firsts in proptest::collection::vec(0u8..20, 0..300), key in 0u8..20) {
            let mut pairs: std::vec::Vec<Pair> = firsts.iter().copied().zip(0..).collect();
            let mut expected = pairs.clone();
            expected.sort_by_key(|pair| pair.0);
            // SAFETY: these are so many elements.
            unsafe { qsort(pairs.as_mut_ptr().cast(), pairs.len(), size_of::<Pair>(), by_first) };
            assert_eq!(pairs, expected);
            let key: Pair = (key, 0);
            // SAFETY: as above.
            let found = unsafe {
                bsearch((&raw const key).cast(), pairs.as_ptr().cast(), pairs.len(), size_of::<Pair>(), by_first)
            };
            assert_eq!(found.is_null(), !firsts.contains(&key.0));
            if !found.is_null() {
                // SAFETY: it is one of the elements.
                assert_eq!(unsafe { found.cast::<Pair>().read() }.0, key.0);
            }
            // SAFETY: as above.
            unsafe { qsort(pairs.as_mut_ptr().cast(), pairs.len(), size_of::<Pair>(), after_all) };
            pairs.sort_by_key(|pair| (pair.0, pair.1));
            assert_eq!(pairs, expected, "nothing is lost");
        }
    }
}
