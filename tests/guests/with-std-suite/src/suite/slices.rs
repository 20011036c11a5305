//! Slices and arrays.

use std::{cell::Cell, cmp::Ordering};

use super::Random;

tests! {
    sorts_of_every_length sort_is_stable sort_unstable_by_key sort_with_a_comparator_that_is_none sort_of_patterns sort_by_cached_key
    sort_of_large_elements sort_floats sort_counts_its_comparisons select_nth binary_search binary_search_of_equals partition_point chunks
    chunks_exact rchunks windows chunk_by split_and_splitn split_inclusive rotate reverse_and_swap copy_within fill
    copy_and_clone_from concat_and_join first_last_and_chunks get_of_ranges get_disjoint starts_and_ends contains iter_from_both_ends
    array_map_and_each as_chunks align_to split_at swap_with is_sorted compares_lexically array_from_fn escape_and_ascii
    strip_and_trim repeat to_vec_and_boxes iter_mut_changes array_zip_by_hand flatten concat_of_arrays
}

fn numbers(random: &mut Random, len: usize, below: usize) -> Vec<u32> {
    (0..len).map(|_| random.below(below) as u32).collect()
}

/// By counting, which knows nothing of comparing.
fn is_permutation_in_order(sorted: &[u32], before: &[u32]) -> bool {
    let count = |all: &[u32]| {
        let mut counts = std::collections::BTreeMap::new();
        for number in all {
            *counts.entry(*number).or_insert(0) += 1;
        }
        counts
    };
    sorted.windows(2).all(|pair| pair[0] <= pair[1]) && count(sorted) == count(before)
}

fn sorts_of_every_length() {
    let mut random = Random::new();
    for len in (0..120).chain([500, 1000, 3000]) {
        for below in [2, 10, 1 << 30] {
            let before = numbers(&mut random, len, below);
            let (mut stable, mut unstable) = (before.clone(), before.clone());
            stable.sort();
            unstable.sort_unstable();
            assert!(is_permutation_in_order(&stable, &before) && stable == unstable);
        }
    }
}

fn sort_is_stable() {
    let mut random = Random::new();
    for len in [5, 20, 21, 50, 200, 2000] {
        let mut pairs: Vec<(u32, usize)> =
            numbers(&mut random, len, 8).into_iter().zip(0..).collect();
        pairs.sort_by_key(|(key, _)| *key);
        assert!(pairs.is_sorted());
        pairs.sort_by(|one, other| other.0.cmp(&one.0));
        assert!(
            pairs.is_sorted_by(|one, other| one.0 > other.0 || one.0 == other.0 && one.1 < other.1)
        );
    }
}

fn sort_unstable_by_key() {
    let mut words = ["ccc", "a", "bb", "dddd", ""];
    words.sort_unstable_by_key(|word| word.len());
    assert_eq!(words, ["", "a", "bb", "ccc", "dddd"]);
    words.sort_unstable_by(|one, other| other.cmp(one));
    assert_eq!(words, ["dddd", "ccc", "bb", "a", ""]);
}

/// Whatever it says, each element is there once afterwards. It may panic, which ends a VM: these do not.
fn sort_with_a_comparator_that_is_none() {
    let mut random = Random::new();
    for len in [3, 10, 19] {
        let before = numbers(&mut random, len, 100);
        let mut sorted = before.clone();
        sorted.sort_by(|_, _| Ordering::Less);
        let mut again = sorted.clone();
        again.sort_unstable_by(|_, _| Ordering::Greater);
        sorted.sort();
        again.sort();
        assert!(is_permutation_in_order(&sorted, &before) && again == sorted);
    }
    let mut equal = numbers(&mut random, 500, 100);
    let before = equal.clone();
    equal.sort_by(|_, _| Ordering::Equal);
    assert_eq!(equal, before);
}

fn sort_of_patterns() {
    for len in [10u32, 100, 1000] {
        for mut pattern in [
            (0..len).collect::<Vec<_>>(),
            (0..len).rev().collect(),
            (0..len).map(|at| at.min(len - at)).collect(),
            (0..len).map(|at| at % 7).collect(),
            (0..len)
                .map(|at| if at % 50 == 0 { 0 } else { at })
                .collect(),
            vec![7; len as usize],
        ] {
            let before = pattern.clone();
            pattern.sort_unstable();
            assert!(is_permutation_in_order(&pattern, &before));
            pattern.reverse();
            pattern.sort();
            assert!(is_permutation_in_order(&pattern, &before));
        }
    }
}

fn sort_by_cached_key() {
    let calls = Cell::new(0);
    let mut words: Vec<String> = (0..100)
        .map(|number| (number * 37 % 100).to_string())
        .collect();
    words.sort_by_cached_key(|word| {
        calls.set(calls.get() + 1);
        word.parse::<u32>().expect("a number")
    });
    assert_eq!(
        (calls.get(), words[2].as_str(), words[99].as_str()),
        (100, "2", "99")
    );
}

fn sort_of_large_elements() {
    let mut random = Random::new();
    let mut large: Vec<[u64; 40]> = (0..300).map(|_| [random.next(); 40]).collect();
    large.sort();
    assert!(
        large.is_sorted()
            && large
                .iter()
                .all(|element| element.iter().all(|part| *part == element[0]))
    );
    let mut texts: Vec<String> = (0..500).map(|_| format!("{:x}", random.next())).collect();
    texts.sort_unstable();
    assert!(texts.is_sorted());
}

fn sort_floats() {
    let mut floats = [2.0, f64::NEG_INFINITY, -0.0, 0.0, f64::NAN, 1.5];
    floats.sort_by(f64::total_cmp);
    assert_eq!(format!("{floats:?}"), "[-inf, -0.0, 0.0, 1.5, 2.0, NaN]");
}

fn sort_counts_its_comparisons() {
    let mut random = Random::new();
    let (mut all, count) = (numbers(&mut random, 4096, 1 << 30), Cell::new(0));
    all.sort_by(|one, other| {
        count.set(count.get() + 1);
        one.cmp(other)
    });
    assert!(count.get() < 4096 * 12 * 2, "{}", count.get());
    // What is sorted already takes one pass.
    count.set(0);
    all.sort_by(|one, other| {
        count.set(count.get() + 1);
        one.cmp(other)
    });
    assert!(count.get() < 2 * 4096, "{}", count.get());
}

fn select_nth() {
    let mut random = Random::new();
    for len in [1, 2, 10, 100, 1000] {
        let all = numbers(&mut random, len, 50);
        let mut sorted = all.clone();
        sorted.sort();
        for nth in [0, len / 3, len - 1] {
            let mut all = all.clone();
            let (before, found, after) = all.select_nth_unstable(nth);
            assert_eq!(*found, sorted[nth]);
            let found = *found;
            assert!(
                before.iter().all(|number| *number <= found)
                    && after.iter().all(|number| *number >= found)
            );
        }
    }
}

fn binary_search() {
    let even: Vec<u32> = (0..100).map(|number| number * 2).collect();
    for number in 0..100 {
        assert_eq!(even.binary_search(&(number * 2)), Ok(number as usize));
        assert_eq!(
            even.binary_search(&(number * 2 + 1)),
            Err(number as usize + 1)
        );
    }
    assert_eq!(
        (
            <[u8]>::binary_search(&[], &1),
            [1].binary_search(&0),
            [1].binary_search(&2)
        ),
        (Err(0), Err(0), Err(1))
    );
    assert_eq!(even.binary_search_by(|number| number.cmp(&10)), Ok(5));
    assert_eq!(even.binary_search_by_key(&7, |number| number / 2), Ok(7));
}

fn binary_search_of_equals() {
    let numbers = [1, 2, 2, 2, 3];
    assert!(matches!(numbers.binary_search(&2), Ok(1..=3)));
}

fn partition_point() {
    let numbers = [1, 2, 2, 3, 5];
    assert_eq!(
        (
            numbers.partition_point(|number| *number < 2),
            numbers.partition_point(|number| *number <= 2),
            numbers.partition_point(|_| false)
        ),
        (1, 3, 0)
    );
}

fn chunks() {
    let numbers = [1, 2, 3, 4, 5];
    assert_eq!(
        numbers.chunks(2).collect::<Vec<_>>(),
        [&[1, 2][..], &[3, 4], &[5]]
    );
    assert_eq!(
        numbers
            .chunks(2)
            .rev()
            .map(<[i32]>::len)
            .collect::<Vec<_>>(),
        [1, 2, 2]
    );
    let mut changed = numbers;
    changed.chunks_mut(2).for_each(|chunk| chunk.reverse());
    assert_eq!(changed, [2, 1, 4, 3, 5]);
    assert_eq!(
        (numbers.chunks(9).len(), numbers.chunks(2).nth(2)),
        (1, Some(&[5][..]))
    );
}

fn chunks_exact() {
    let numbers = [1, 2, 3, 4, 5];
    let chunks = numbers.chunks_exact(2);
    assert_eq!(
        (
            chunks.remainder(),
            chunks.len(),
            chunks.map(|chunk| chunk[1]).sum::<i32>()
        ),
        (&[5][..], 2, 6)
    );
}

fn rchunks() {
    assert_eq!(
        [1, 2, 3, 4, 5].rchunks(2).collect::<Vec<_>>(),
        [&[4, 5][..], &[2, 3], &[1]]
    );
    assert_eq!([1, 2, 3, 4, 5].rchunks_exact(2).remainder(), [1]);
}

fn windows() {
    let numbers = [1, 2, 3, 4];
    assert_eq!(
        (
            numbers
                .windows(2)
                .map(|pair| pair[0] * pair[1])
                .collect::<Vec<_>>(),
            numbers.windows(5).count(),
            numbers.windows(4).len()
        ),
        (vec![2, 6, 12], 0, 1)
    );
    assert_eq!(numbers.windows(3).next_back(), Some(&[2, 3, 4][..]));
}

fn chunk_by() {
    let numbers = [1, 1, 2, 3, 3, 3];
    assert_eq!(
        numbers
            .chunk_by(|one, other| one == other)
            .map(<[i32]>::len)
            .collect::<Vec<_>>(),
        [2, 1, 3]
    );
    assert_eq!(
        [1, 3, 2, 4, 1]
            .chunk_by(|one, other| one <= other)
            .collect::<Vec<_>>(),
        [&[1, 3][..], &[2, 4], &[1]]
    );
}

fn split_and_splitn() {
    let numbers = [1, 0, 2, 0, 0, 3];
    assert_eq!(
        numbers.split(|number| *number == 0).collect::<Vec<_>>(),
        [&[1][..], &[2], &[], &[3]]
    );
    assert_eq!(
        numbers.splitn(2, |number| *number == 0).nth(1),
        Some(&[2, 0, 0, 3][..])
    );
    assert_eq!(
        numbers
            .rsplitn(2, |number| *number == 0)
            .collect::<Vec<_>>(),
        [&[3][..], &[1, 0, 2, 0]]
    );
}

fn split_inclusive() {
    assert_eq!(
        [1, 0, 2, 0]
            .split_inclusive(|number| *number == 0)
            .collect::<Vec<_>>(),
        [[1, 0], [2, 0]]
    );
}

fn rotate() {
    let mut random = Random::new();
    for len in [0, 1, 2, 7, 64, 1000] {
        let all = numbers(&mut random, len, 1000);
        for by in [0, 1, len / 2, len.saturating_sub(1), len] {
            let by = by.min(len);
            let mut turned = all.clone();
            turned.rotate_left(by);
            assert_eq!(turned, [&all[by..], &all[..by]].concat());
            turned.rotate_right(by);
            assert_eq!(turned, all);
        }
    }
}

fn reverse_and_swap() {
    for len in 0..70u8 {
        let mut bytes: Vec<u8> = (0..len).collect();
        bytes.reverse();
        assert!(bytes.into_iter().eq((0..len).rev()));
    }
    let mut numbers = [1, 2, 3];
    numbers.swap(0, 2);
    numbers.swap(1, 1);
    assert_eq!(numbers, [3, 2, 1]);
}

fn copy_within() {
    let mut bytes = *b"0123456789";
    bytes.copy_within(0..4, 2);
    assert_eq!(&bytes, b"0101236789");
    bytes.copy_within(5.., 0);
    assert_eq!(&bytes, b"3678936789");
}

fn fill() {
    let mut numbers = [0; 5];
    numbers[1..3].fill(7);
    let mut next = 0;
    numbers[3..].fill_with(|| {
        next += 1;
        next
    });
    assert_eq!(numbers, [0, 7, 7, 1, 2]);
}

fn copy_and_clone_from() {
    let mut to = [0; 3];
    to.copy_from_slice(&[1, 2, 3]);
    assert_eq!(to, [1, 2, 3]);
    let mut texts = [String::new(), String::new()];
    texts.clone_from_slice(&["a".into(), "b".into()]);
    assert_eq!(texts, ["a", "b"]);
}

fn concat_and_join() {
    assert_eq!([[1, 2], [3, 4]].concat(), [1, 2, 3, 4]);
    assert_eq!([[1, 2], [3, 4]].join(&[0, 0][..]), [1, 2, 0, 0, 3, 4]);
    assert_eq!([&b"a"[..], b"b"].join(&b'-'), b"a-b");
}

fn concat_of_arrays() {
    assert!(<[Vec<u8>; 0]>::default().concat().is_empty());
}

fn first_last_and_chunks() {
    let numbers = [1, 2, 3];
    assert_eq!(
        (
            numbers.first_chunk::<2>(),
            numbers.last_chunk::<2>(),
            numbers.first_chunk::<4>()
        ),
        (Some(&[1, 2]), Some(&[2, 3]), None)
    );
    assert_eq!(numbers.split_first_chunk::<1>(), Some((&[1], &[2, 3][..])));
}

fn get_of_ranges() {
    let numbers = [1, 2, 3];
    assert_eq!(
        (
            numbers.get(1..),
            numbers.get(..=2),
            numbers.get(2..9),
            numbers.get(3..),
            numbers.get(4..)
        ),
        (
            Some(&[2, 3][..]),
            Some(&[1, 2, 3][..]),
            None,
            Some(&[][..]),
            None
        )
    );
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is asked")]
    let none = numbers.get(2..1);
    assert_eq!(none, None);
}

fn get_disjoint() {
    let mut numbers = [1, 2, 3, 4];
    let [one, other] = numbers.get_disjoint_mut([0, 3]).expect("they are two");
    std::mem::swap(one, other);
    assert_eq!(numbers, [4, 2, 3, 1]);
    assert!(numbers.get_disjoint_mut([1, 1]).is_err() && numbers.get_disjoint_mut([0, 4]).is_err());
}

fn starts_and_ends() {
    let numbers = [1, 2, 3];
    assert!(
        numbers.starts_with(&[1, 2])
            && numbers.ends_with(&[3])
            && numbers.starts_with(&[])
            && !numbers.starts_with(&[1, 2, 3, 4])
    );
}

fn contains() {
    assert!([1u8, 2].contains(&2) && !["a"].contains(&"b"));
    let mut bytes = vec![1u8; 1000];
    bytes[999] = 2;
    assert_eq!(
        (
            bytes.contains(&2),
            bytes.contains(&3),
            bytes.iter().position(|byte| *byte == 2)
        ),
        (true, false, Some(999))
    );
}

fn iter_from_both_ends() {
    let mut iter = [1, 2, 3, 4, 5].iter();
    assert_eq!(
        (iter.next(), iter.next_back(), iter.nth(1), iter.as_slice()),
        (Some(&1), Some(&5), Some(&3), &[4][..])
    );
    assert_eq!([3, 1, 2].iter().rposition(|number| *number == 1), Some(1));
}

fn iter_mut_changes() {
    let mut numbers = [1, 2, 3];
    numbers
        .iter_mut()
        .rev()
        .zip(10..)
        .for_each(|(number, by)| *number += by);
    assert_eq!(numbers, [13, 13, 13]);
}

fn array_map_and_each() {
    assert_eq!(
        (
            [1, 2].map(|number| number.to_string()),
            [1, 2].each_ref().map(|number| *number + 1)
        ),
        (["1".into(), "2".into()], [2, 3])
    );
    assert_eq!(<[i32; 2]>::try_from(&[1, 2][..]).ok(), Some([1, 2]));
    assert!(<&[i32; 3]>::try_from(&[1, 2][..]).is_err());
}

fn array_from_fn() {
    assert_eq!(std::array::from_fn::<_, 4, _>(|at| at * at), [0, 1, 4, 9]);
    assert!([1, 2].into_iter().rev().eq([2, 1]));
}

fn array_zip_by_hand() {
    let (one, other) = ([1, 2, 3], ['a', 'b', 'c']);
    let pairs: [(i32, char); 3] = std::array::from_fn(|at| (one[at], other[at]));
    assert_eq!(pairs[2], (3, 'c'));
}

fn as_chunks() {
    let (chunks, rest) = [1, 2, 3, 4, 5].as_chunks::<2>();
    assert_eq!((chunks, rest), (&[[1, 2], [3, 4]][..], &[5][..]));
    let (rest, chunks) = [1, 2, 3].as_rchunks::<2>();
    assert_eq!((rest, chunks), (&[1][..], &[[2, 3]][..]));
}

fn flatten() {
    assert_eq!(
        (
            [[1, 2], [3, 4]].as_flattened(),
            vec![[1, 2], [3, 4]].into_flattened()
        ),
        (&[1, 2, 3, 4][..], vec![1, 2, 3, 4])
    );
}

fn align_to() {
    let bytes = [0u8; 33];
    // SAFETY: any bytes are numbers.
    let (before, words, after) = unsafe { bytes.align_to::<u64>() };
    assert!(
        before.len() < 8 && after.len() < 8 && before.len() + words.len() * 8 + after.len() == 33
    );
}

fn split_at() {
    let mut numbers = [1, 2, 3, 4];
    let (one, other) = numbers.split_at_mut(1);
    one[0] += other[2];
    assert_eq!(
        (numbers[0], numbers.split_at(2), numbers.split_at_checked(5)),
        (5, (&[5, 2][..], &[3, 4][..]), None)
    );
}

fn swap_with() {
    let (mut one, mut other) = ([1, 2], [3, 4]);
    one.swap_with_slice(&mut other);
    assert_eq!((one, other), ([3, 4], [1, 2]));
}

fn is_sorted() {
    assert!(
        [1, 1, 2].is_sorted()
            && ![2, 1].is_sorted()
            && ["a", "bb"].is_sorted_by_key(|word| word.len())
            && <[u8]>::is_sorted(&[])
    );
    assert!(![0.0, f64::NAN].is_sorted());
}

fn compares_lexically() {
    assert!([1, 2] < [1, 3] && [1, 2][..] < [1, 2, 0][..] && b"a"[..] < b"b"[..]);
    assert_eq!([1.0, f64::NAN].partial_cmp(&[1.0, 2.0]), None);
    assert_eq!(b"abc".cmp(b"abd"), Ordering::Less);
}

fn escape_and_ascii() {
    assert_eq!(
        b"a\"\\\0\xff".escape_ascii().to_string(),
        r#"a\"\\\x00\xff"#
    );
    assert!(b"abc".is_ascii() && !b"\x80".is_ascii() && b"aBc".eq_ignore_ascii_case(b"AbC"));
    assert_eq!(b" x \n".trim_ascii(), b"x");
}

fn strip_and_trim() {
    assert_eq!(
        (
            b"abc".strip_prefix(b"a"),
            b"abc".strip_suffix(b"bc"),
            b"abc".strip_prefix(b"b")
        ),
        (Some(&b"bc"[..]), Some(&b"a"[..]), None)
    );
    assert_eq!(
        (b" a".trim_ascii_start(), b"a ".trim_ascii_end()),
        (&b"a"[..], &b"a"[..])
    );
}

fn repeat() {
    assert_eq!(
        ([1, 2].repeat(3), [1].repeat(0)),
        (vec![1, 2, 1, 2, 1, 2], vec![])
    );
}

fn to_vec_and_boxes() {
    let boxed: Box<[u8]> = Box::from(&[1, 2][..]);
    let collected: Box<[u8]> = (0..3).collect();
    assert_eq!(
        (
            boxed.to_vec(),
            collected.len(),
            boxed.into_iter().rev().collect::<Vec<_>>()
        ),
        (vec![1, 2], 3, vec![2, 1])
    );
}
