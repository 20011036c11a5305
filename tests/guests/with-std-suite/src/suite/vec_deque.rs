//! `VecDeque`.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

use super::Random;

tests! {
    both_ends wraps_around make_contiguous rotate insert_and_remove_anywhere swap_remove_from_both_sides
    split_off append drain_across_the_end range retain truncate resize comparisons extend
    to_and_from_vec_without_moving binary_search get_and_swap random_steps_as_a_model iterators of_nothing
    partition_point shrinking
}

/// `0..6` that begins in the middle of its room.
fn wrapped() -> VecDeque<i32> {
    let mut deque: VecDeque<i32> = VecDeque::with_capacity(8);
    deque.extend([3, 4, 5]);
    for number in [2, 1, 0] {
        deque.push_front(number);
    }
    deque
}

fn both_ends() {
    let mut deque = VecDeque::new();
    deque.push_back(2);
    deque.push_front(1);
    deque.push_back(3);
    assert_eq!((deque.front(), deque.back()), (Some(&1), Some(&3)));
    *deque.front_mut().expect("one") = 7;
    assert_eq!(
        (deque.pop_back(), deque.pop_front(), deque.pop_front()),
        (Some(3), Some(7), Some(2))
    );
    assert_eq!((deque.pop_back(), deque.pop_front()), (None, None));
}

fn wraps_around() {
    let deque = wrapped();
    let (first, second) = deque.as_slices();
    assert_eq!([first, second].concat(), [0, 1, 2, 3, 4, 5]);
    assert!(!second.is_empty());
    assert_eq!(deque, [0, 1, 2, 3, 4, 5]);
    assert_eq!((deque[0], deque[5], deque.get(6)), (0, 5, None));
}

fn make_contiguous() {
    let mut deque = wrapped();
    deque.make_contiguous().reverse();
    assert_eq!(deque.as_slices(), (&[5, 4, 3, 2, 1, 0][..], &[][..]));
}

fn rotate() {
    for by in 0..=6 {
        let mut deque = wrapped();
        deque.rotate_left(by);
        let expected: Vec<i32> = (0..6).map(|at| (at + by as i32) % 6).collect();
        assert_eq!(deque, expected);
        deque.rotate_right(by);
        assert_eq!(deque, wrapped());
    }
}

fn insert_and_remove_anywhere() {
    for place in 0..=6 {
        let mut deque = wrapped();
        deque.insert(place, 99);
        let mut expected: Vec<i32> = (0..6).collect();
        expected.insert(place, 99);
        assert_eq!(deque, expected);
        assert_eq!(deque.remove(place), Some(99));
        assert_eq!(deque, wrapped());
        assert_eq!(deque.remove(6), None);
    }
}

fn swap_remove_from_both_sides() {
    let mut deque = wrapped();
    assert_eq!(deque.swap_remove_front(2), Some(2));
    assert_eq!(deque, [1, 0, 3, 4, 5]);
    assert_eq!(deque.swap_remove_back(1), Some(0));
    assert_eq!(deque, [1, 5, 3, 4]);
    assert_eq!(deque.swap_remove_back(9), None);
}

fn split_off() {
    for at in 0..=6 {
        let mut deque = wrapped();
        let rest = deque.split_off(at);
        assert_eq!(deque, (0..at as i32).collect::<Vec<_>>());
        assert_eq!(rest, (at as i32..6).collect::<Vec<_>>());
    }
}

fn append() {
    let (mut one, mut other) = (wrapped(), wrapped());
    one.append(&mut other);
    assert_eq!(one, [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]);
    assert!(other.is_empty());
}

fn drain_across_the_end() {
    for start in 0..=6 {
        for end in start..=6 {
            let mut deque = wrapped();
            let drained: Vec<i32> = deque.drain(start..end).collect();
            assert_eq!(drained, (start as i32..end as i32).collect::<Vec<_>>());
            let left: Vec<i32> = (0..6).filter(|number| !drained.contains(number)).collect();
            assert_eq!(deque, left);
        }
    }
}

fn range() {
    let mut deque = wrapped();
    assert!(deque.range(2..5).eq(&[2, 3, 4]));
    assert!(
        deque
            .range((Bound::Excluded(1), Bound::Unbounded))
            .eq(&[2, 3, 4, 5])
    );
    deque.range_mut(..=1).for_each(|number| *number += 10);
    assert_eq!(deque, [10, 11, 2, 3, 4, 5]);
}

fn retain() {
    let mut deque = wrapped();
    deque.retain(|number| number % 2 == 1);
    assert_eq!(deque, [1, 3, 5]);
}

fn truncate() {
    let mut deque = wrapped();
    deque.truncate(4);
    assert_eq!(deque, [0, 1, 2, 3]);
    deque.truncate(1);
    assert_eq!(deque, [0]);
    deque.clear();
    assert!(deque.is_empty());
}

fn resize() {
    let mut deque = wrapped();
    deque.resize(8, 7);
    assert_eq!(deque, [0, 1, 2, 3, 4, 5, 7, 7]);
    deque.resize(1, 7);
    assert_eq!(deque, [0]);
}

fn comparisons() {
    let plain: VecDeque<i32> = (0..6).collect();
    assert_eq!(plain, wrapped());
    assert!(wrapped() < VecDeque::from([0, 1, 3]));
    assert!(wrapped() > VecDeque::from([0, 1, 2, 3, 4]));
}

fn extend() {
    let mut deque = wrapped();
    deque.extend([6, 7]);
    deque.extend(&[8]);
    deque.extend((0..20).filter(|number| *number > 18));
    assert!(deque.iter().eq(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 19]));
}

fn to_and_from_vec_without_moving() {
    let vec = vec![1, 2, 3];
    let at = vec.as_ptr();
    let deque = VecDeque::from(vec);
    let vec = Vec::from(deque);
    assert_eq!(vec.as_ptr(), at);
    assert_eq!(Vec::from(wrapped()), [0, 1, 2, 3, 4, 5]);
}

fn binary_search() {
    let deque = wrapped();
    for number in 0..6 {
        assert_eq!(deque.binary_search(&number), Ok(number as usize));
    }
    assert_eq!(deque.binary_search(&9), Err(6));
    assert_eq!(deque.binary_search_by_key(&20, |number| number * 10), Ok(2));
}

fn partition_point() {
    assert_eq!(wrapped().partition_point(|number| *number < 4), 4);
    assert_eq!(wrapped().partition_point(|_| true), 6);
}

fn get_and_swap() {
    let mut deque = wrapped();
    deque.swap(0, 5);
    *deque.get_mut(2).expect("there") = 8;
    deque[3] = 9;
    assert_eq!(deque, [5, 1, 8, 9, 4, 0]);
    assert!(deque.contains(&9) && !deque.contains(&2));
}

fn random_steps_as_a_model() {
    let mut random = Random::new();
    let mut deque = VecDeque::new();
    let (mut model, mut first, mut end) = (BTreeMap::new(), 0i64, 0i64);
    for step in 0..5000 {
        match random.below(7) {
            0 | 1 => {
                deque.push_back(step);
                model.insert(end, step);
                end += 1;
            }
            2 | 3 => {
                deque.push_front(step);
                first -= 1;
                model.insert(first, step);
            }
            4 if first < end => {
                assert_eq!(deque.pop_front(), model.remove(&first));
                first += 1;
            }
            5 if first < end => {
                end -= 1;
                assert_eq!(deque.pop_back(), model.remove(&end));
            }
            6 if first < end => {
                let at = random.below(deque.len());
                assert_eq!(deque.get(at), model.get(&(first + at as i64)));
            }
            _ => {}
        }
        assert_eq!(deque.len(), model.len());
    }
    assert!(deque.iter().eq(model.values()));
}

fn iterators() {
    let deque = wrapped();
    assert!(deque.iter().rev().eq(&[5, 4, 3, 2, 1, 0]));
    let mut iter = deque.iter();
    assert_eq!(
        (iter.nth(2), iter.nth_back(1), iter.len()),
        (Some(&2), Some(&4), 1)
    );
    assert_eq!(
        deque
            .iter()
            .fold(String::new(), |text, number| text + &number.to_string()),
        "012345"
    );
    assert!(deque.into_iter().rev().skip(4).eq([1, 0]));
}

fn of_nothing() {
    let mut deque: VecDeque<()> = VecDeque::new();
    for _ in 0..10 {
        deque.push_front(());
    }
    deque.rotate_left(3);
    assert_eq!((deque.len(), deque.iter().count()), (10, 10));
}

fn shrinking() {
    let mut deque: VecDeque<u32> = VecDeque::with_capacity(100);
    deque.extend(0..50);
    deque.drain(..40);
    deque.extend(0..5);
    deque.shrink_to_fit();
    assert!(deque.capacity() < 100);
    assert!(deque.iter().copied().eq((40..50).chain(0..5)));
}
