//! `iter`.

use std::{
    collections::{BTreeMap, HashSet},
    iter,
    ops::ControlFlow,
};

tests! {
    adapters_in_order zips_end_with_the_shorter chains_and_cycles take_and_skip step_by scan_and_map_while peekable flat_map
    flatten_of_options fold_and_reduce try_fold_stops min_and_max_of_equals positions partition_and_unzip sums compares
    collects_into_each sources fuse inspect_is_lazy rev_of_adapters size_hints last_and_nth cycle_of_nothing
    double_ended_meets exact_sizes successors_and_from_fn repeat_n array_chunks_by_hand is_sorted any_and_all cmp_by_hand
    max_by_floats by_ref_goes_on dedup_by_hand sum_of_results rposition product_of_nothing copied_and_cloned
}

fn adapters_in_order() {
    let all: Vec<_> = (1..10)
        .filter(|number| number % 2 == 1)
        .map(|number| number * number)
        .enumerate()
        .collect();
    assert_eq!(all, [(0, 1), (1, 9), (2, 25), (3, 49), (4, 81)]);
    assert!(
        ["1", "x", "3"]
            .iter()
            .filter_map(|text| text.parse::<i32>().ok())
            .eq([1, 3])
    );
}

fn zips_end_with_the_shorter() {
    assert_eq!(
        (1..).zip("abc".chars()).collect::<Vec<_>>(),
        [(1, 'a'), (2, 'b'), (3, 'c')]
    );
    assert_eq!([1, 2].iter().zip([3]).len(), 1);
    assert!(iter::zip([1, 2], [3, 4]).rev().eq([(2, 4), (1, 3)]));
}

fn chains_and_cycles() {
    assert!((0..2).chain(5..7).rev().eq([6, 5, 1, 0]));
    assert!([1, 2, 3].iter().cycle().take(7).eq(&[1, 2, 3, 1, 2, 3, 1]));
    assert_eq!((0..3).chain(3..5).nth(4), Some(4));
}

fn cycle_of_nothing() {
    assert_eq!(iter::empty::<u8>().cycle().next(), None);
}

fn take_and_skip() {
    assert!((0..10).skip(3).take(4).eq(3..7));
    assert!(
        (0..10).skip_while(|number| *number < 7).eq(7..10)
            && (0..10).take_while(|number| *number < 3).eq(0..3)
    );
    assert_eq!((0..5).skip(9).next(), None);
    assert!((0..10).skip(2).rev().take(3).eq([9, 8, 7]));
}

fn step_by() {
    assert!((0..10).step_by(4).eq([0, 4, 8]) && (0..9).step_by(4).rev().eq([8, 4, 0]));
    assert_eq!(
        (
            (0..10).step_by(3).len(),
            (0..u64::MAX).step_by(1 << 63).count()
        ),
        (4, 2)
    );
    assert_eq!((0..=u8::MAX).step_by(255).collect::<Vec<_>>(), [0, 255]);
}

fn scan_and_map_while() {
    let sums = [1, 2, 3, 4].iter().scan(0, |sum, number| {
        *sum += number;
        (*sum < 10).then_some(*sum)
    });
    assert!(sums.eq([1, 3, 6]));
    assert!(
        ["1", "2", "x", "3"]
            .iter()
            .map_while(|text| text.parse::<i32>().ok())
            .eq([1, 2])
    );
}

fn peekable() {
    let mut iter = [1, 2, 3].into_iter().peekable();
    assert_eq!(iter.peek(), Some(&1));
    assert_eq!(
        (
            iter.next_if(|number| *number > 1),
            iter.next_if_eq(&1),
            iter.next()
        ),
        (None, Some(1), Some(2))
    );
    *iter.peek_mut().expect("one") = 9;
    assert_eq!(
        (iter.next(), iter.peek().is_none(), iter.next()),
        (Some(9), true, None)
    );
}

fn flat_map() {
    assert!((1..4).flat_map(|number| 0..number).eq([0, 0, 1, 0, 1, 2]));
    assert!(
        [vec![1], vec![], vec![2, 3]]
            .into_iter()
            .flatten()
            .rev()
            .eq([3, 2, 1])
    );
}

fn flatten_of_options() {
    assert!([Some(1), None, Some(3)].into_iter().flatten().eq([1, 3]));
    assert_eq!([Ok(1), Err("x")].into_iter().flatten().count(), 1);
}

fn fold_and_reduce() {
    assert_eq!(
        (1..5).fold(String::new(), |text, number| format!("({text}{number})")),
        "((((1)2)3)4)"
    );
    assert_eq!(
        (1..5).rfold(String::new(), |text, number| text + &number.to_string()),
        "4321"
    );
    assert_eq!(
        (
            (1..5).reduce(|one, other| one * other),
            (0..0).reduce(|one, _| one)
        ),
        (Some(24), None)
    );
}

fn try_fold_stops() {
    let mut iter = 1..;
    assert_eq!(
        iter.try_fold(0u8, |sum, number| sum.checked_add(number * 20)),
        None
    );
    let found = (1..100).try_for_each(|number| {
        if number * number > 50 {
            ControlFlow::Break(number)
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!(found, ControlFlow::Break(8));
    assert_eq!(
        ["1", "x"]
            .iter()
            .try_fold(0, |sum, text| text
                .parse::<i32>()
                .map(|number| sum + number))
            .is_err(),
        true
    );
}

fn min_and_max_of_equals() {
    let words = ["bb", "a", "cc", "d"];
    assert_eq!(
        (
            words.iter().max_by_key(|word| word.len()),
            words.iter().min_by_key(|word| word.len())
        ),
        (Some(&"cc"), Some(&"a"))
    );
    assert_eq!(
        (iter::empty::<u8>().max(), [3, 1, 2].iter().min()),
        (None, Some(&1))
    );
}

fn max_by_floats() {
    assert_eq!(
        [1.5, -2.0, 7.25].into_iter().max_by(f64::total_cmp),
        Some(7.25)
    );
    assert_eq!([1.5, -2.0].into_iter().fold(f64::INFINITY, f64::min), -2.0);
}

fn positions() {
    assert_eq!(
        (
            "abca".chars().position(|letter| letter == 'c'),
            [1, 2, 1].iter().position(|number| *number == 9)
        ),
        (Some(2), None)
    );
    assert_eq!((1..9).find(|number| number % 5 == 0), Some(5));
    assert_eq!(
        ["a", "7"].iter().find_map(|text| text.parse::<u8>().ok()),
        Some(7)
    );
}

fn rposition() {
    assert_eq!(
        [1, 2, 1, 3].iter().rposition(|number| *number == 1),
        Some(2)
    );
    assert_eq!((0..10).rfind(|number| number % 4 == 0), Some(8));
}

fn partition_and_unzip() {
    let (even, odd): (Vec<i32>, Vec<i32>) = (0..6).partition(|number| number % 2 == 0);
    assert_eq!((even, odd), (vec![0, 2, 4], vec![1, 3, 5]));
    let (numbers, letters): (Vec<_>, String) = [(1, 'a'), (2, 'b')].into_iter().unzip();
    assert_eq!((numbers, letters.as_str()), (vec![1, 2], "ab"));
}

fn sums() {
    assert_eq!(
        (
            (1..=10).sum::<i32>(),
            [1.5, 2.5].iter().sum::<f64>(),
            (1..=5).product::<u64>()
        ),
        (55, 4.0, 120)
    );
}

fn product_of_nothing() {
    assert_eq!(
        (
            iter::empty::<u8>().sum::<u8>(),
            iter::empty::<u8>().product::<u8>()
        ),
        (0, 1)
    );
    assert_eq!(iter::empty::<f64>().product::<f64>(), 1.0);
}

fn sum_of_results() {
    let parse = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| text.parse::<i32>())
            .sum::<Result<i32, _>>()
            .ok()
    };
    assert_eq!((parse(&["1", "2"]), parse(&["1", "x"])), (Some(3), None));
}

fn compares() {
    assert!(
        [1, 2].iter().lt(&[1, 3])
            && (0..3).eq([0, 1, 2])
            && (0..2).ne(0..3)
            && [1.0].iter().partial_cmp(&[f64::NAN]).is_none()
    );
    assert_eq!([1, 2].iter().cmp(&[1]), std::cmp::Ordering::Greater);
}

fn cmp_by_hand() {
    assert!(
        "abc"
            .bytes()
            .map(|byte| byte.to_ascii_uppercase())
            .eq("ABC".bytes())
    );
}

fn collects_into_each() {
    let pairs = [(1, 'a'), (2, 'b')];
    assert_eq!(pairs.into_iter().collect::<BTreeMap<_, _>>().len(), 2);
    assert_eq!("hello".chars().collect::<HashSet<_>>().len(), 4);
    assert_eq!(
        ["1", "2"]
            .iter()
            .map(|text| text.parse())
            .collect::<Result<Vec<u8>, _>>(),
        Ok(vec![1, 2])
    );
    assert_eq!(
        [Some(1), None].into_iter().collect::<Option<Vec<i32>>>(),
        None
    );
    assert_eq!((0..4).map(|_| ()).collect::<()>(), ());
    let boxed: Box<[i32]> = (0..3).collect();
    assert_eq!(*boxed, [0, 1, 2]);
}

fn sources() {
    assert_eq!(
        (
            iter::once(1).chain(iter::empty()).collect::<Vec<_>>(),
            iter::repeat(7).take(2).collect::<Vec<_>>()
        ),
        (vec![1], vec![7, 7])
    );
    let mut calls = 0;
    let mut once = iter::once_with(|| {
        calls += 1;
        5
    });
    assert_eq!((once.next(), once.next()), (Some(5), None));
    assert_eq!(calls, 1);
    assert!(iter::repeat_with(|| 3).take(3).eq([3; 3]));
}

fn successors_and_from_fn() {
    assert!(
        iter::successors(Some(1u16), |number| number.checked_mul(10))
            .eq([1, 10, 100, 1000, 10_000])
    );
    let mut left = 3;
    let count = iter::from_fn(|| {
        left -= 1;
        (left >= 0).then_some(left)
    });
    assert!(count.eq([2, 1, 0]));
}

fn repeat_n() {
    let mut iter = iter::repeat_n(String::from("x"), 3);
    assert_eq!(
        (iter.len(), iter.next().as_deref(), iter.by_ref().count()),
        (3, Some("x"), 2)
    );
}

fn fuse() {
    let mut calls = 0;
    let mut flips = iter::from_fn(move || {
        calls += 1;
        (calls % 2 == 1).then_some(calls)
    });
    assert_eq!(
        (flips.next(), flips.next(), flips.next()),
        (Some(1), None, Some(3))
    );
    let mut fused = flips.fuse();
    assert_eq!(
        (fused.next(), fused.next(), fused.next()),
        (None, None, None)
    );
}

fn inspect_is_lazy() {
    let mut seen = Vec::new();
    let mut iter = (0..5).inspect(|number| seen.push(*number));
    assert_eq!(iter.nth(1), Some(1));
    assert_eq!(seen, [0, 1]);
}

fn rev_of_adapters() {
    let even = (0..6).map(|number| number * 2);
    let backwards = even.filter(|number| *number != 4).rev();
    assert!(
        (0..)
            .zip(backwards)
            .eq([(0, 10), (1, 8), (2, 6), (3, 2), (4, 0)])
    );
}

fn size_hints() {
    assert_eq!(
        (0..10).filter(|number| number % 2 == 0).size_hint(),
        (0, Some(10))
    );
    assert_eq!((0..3).chain(0..4).size_hint(), (7, Some(7)));
    assert_eq!(
        (
            (0u64..).size_hint(),
            iter::repeat(1).size_hint(),
            (0..5).take_while(|_| true).size_hint()
        ),
        ((usize::MAX, None), (usize::MAX, None), (0, Some(5)))
    );
    assert_eq!((0..3).flat_map(|_| 0..2).size_hint(), (0, None));
}

fn last_and_nth() {
    assert_eq!(
        (
            (0..5).last(),
            iter::empty::<u8>().last(),
            (0..5).nth(4),
            (0..5).nth(5)
        ),
        (Some(4), None, Some(4), None)
    );
    assert_eq!((0..10).nth_back(2), Some(7));
}

fn double_ended_meets() {
    let mut iter = (0..4).map(|number| number * 10);
    assert_eq!(
        (
            iter.next(),
            iter.next_back(),
            iter.next_back(),
            iter.next(),
            iter.next(),
            iter.next_back()
        ),
        (Some(0), Some(30), Some(20), Some(10), None, None)
    );
}

fn exact_sizes() {
    assert_eq!(
        (
            [1, 2, 3]
                .iter()
                .map(|number| number + 1)
                .rev()
                .enumerate()
                .skip(1)
                .len(),
            "abc".bytes().len()
        ),
        (2, 3)
    );
}

fn array_chunks_by_hand() {
    let numbers: Vec<u8> = (0..7).collect();
    assert!(
        numbers
            .chunks_exact(3)
            .map(|chunk| chunk.iter().sum::<u8>())
            .eq([3, 12])
    );
}

fn is_sorted() {
    assert!(
        (0..5).is_sorted()
            && [3, 2].iter().is_sorted_by(|one, other| one > other)
            && ["a", "bb"].iter().is_sorted_by_key(|word| word.len())
    );
}

fn any_and_all() {
    assert!(
        (0..5).any(|number| number == 3)
            && !(0..5).all(|number| number < 4)
            && iter::empty::<u8>().all(|_| false)
    );
}

fn by_ref_goes_on() {
    let mut iter = 0..10;
    let first: Vec<_> = iter.by_ref().take(3).collect();
    assert_eq!((first, iter.next()), (vec![0, 1, 2], Some(3)));
    // What ends the one has gone from the other.
    let few: Vec<_> = iter.by_ref().take_while(|number| *number < 6).collect();
    assert_eq!((few, iter.next()), (vec![4, 5], Some(7)));
}

fn dedup_by_hand() {
    let mut last = None;
    let changes: Vec<_> = [1, 1, 2, 2, 1]
        .into_iter()
        .filter(|number| last.replace(*number) != Some(*number))
        .collect();
    assert_eq!(changes, [1, 2, 1]);
}

fn copied_and_cloned() {
    let texts = [String::from("a")];
    assert!([1, 2].iter().copied().eq([1, 2]) && texts.iter().cloned().eq(texts.clone()));
}
