//! `Vec`.

use std::{cell::Cell, iter, ops::Bound, rc::Rc};

use super::{Dropped, Random};

tests! {
    push_and_pop insert_and_remove swap_remove truncate_drops_the_rest clear_keeps_the_room
    room_is_as_asked shrinking of_nothing_has_no_end retain retain_mut dedup dedup_by_key dedup_by
    drain_of_each_range drain_that_is_dropped drain_keep_rest splice split_off append extend
    extend_from_slice extend_from_within resize resize_with into_iter_from_both_ends into_iter_drops_the_rest
    into_boxed_slice comparisons from_arrays_and_texts try_into_array extract_if leak from_raw_parts
    clone_from pop_if first_and_last spare_room random_steps_as_a_model
    collected_in_place of_vecs insert_at_the_end_and_beginning try_reserve_of_too_much
}

fn push_and_pop() {
    let mut vec = Vec::new();
    for number in 0..1000 {
        vec.push(number);
        assert_eq!(vec.len(), number + 1);
    }
    for number in (0..1000).rev() {
        assert_eq!(vec.pop(), Some(number));
    }
    assert_eq!(vec.pop(), None);
    assert!(vec.is_empty());
}

fn insert_and_remove() {
    let mut vec = vec![1, 2, 3];
    vec.insert(1, 9);
    assert_eq!(vec, [1, 9, 2, 3]);
    assert_eq!(vec.remove(2), 2);
    assert_eq!(vec.remove(0), 1);
    assert_eq!(vec, [9, 3]);
}

fn insert_at_the_end_and_beginning() {
    let mut vec: Vec<String> = Vec::new();
    vec.insert(0, "b".into());
    vec.insert(1, "c".into());
    vec.insert(0, "a".into());
    assert_eq!(vec.concat(), "abc");
}

fn swap_remove() {
    let mut vec = vec!['a', 'b', 'c', 'd'];
    assert_eq!(vec.swap_remove(1), 'b');
    assert_eq!(vec, ['a', 'd', 'c']);
    assert_eq!(vec.swap_remove(2), 'c');
    assert_eq!(vec, ['a', 'd']);
}

fn truncate_drops_the_rest() {
    let count = Cell::new(0);
    let mut vec: Vec<_> = (0..5).map(|_| Dropped(&count)).collect();
    vec.truncate(7);
    assert_eq!((vec.len(), count.get()), (5, 0));
    vec.truncate(2);
    assert_eq!((vec.len(), count.get()), (2, 3));
    drop(vec);
    assert_eq!(count.get(), 5);
}

fn clear_keeps_the_room() {
    let mut vec = vec![1; 100];
    let room = vec.capacity();
    vec.clear();
    assert_eq!((vec.len(), vec.capacity()), (0, room));
}

fn room_is_as_asked() {
    let vec: Vec<u8> = Vec::new();
    assert_eq!(vec.capacity(), 0);
    let mut vec: Vec<u64> = Vec::with_capacity(10);
    assert!(vec.capacity() >= 10);
    vec.extend(0..10);
    vec.reserve(90);
    assert!(vec.capacity() >= 100);
    vec.reserve_exact(1000);
    assert!(vec.capacity() >= 1010);
    assert_eq!(vec, Vec::from_iter(0..10));
}

fn shrinking() {
    let mut vec = Vec::with_capacity(100);
    vec.extend([1, 2, 3]);
    vec.shrink_to(50);
    assert!(vec.capacity() >= 50);
    vec.shrink_to_fit();
    assert!((3..100).contains(&vec.capacity()));
    assert_eq!(vec, [1, 2, 3]);
}

fn of_nothing_has_no_end() {
    let mut vec = vec![(); usize::MAX];
    assert_eq!(vec.len(), usize::MAX);
    assert_eq!(vec.pop(), Some(()));
    vec.truncate(3);
    assert_eq!(vec.iter().count(), 3);
    assert_eq!(Vec::<()>::new().capacity(), usize::MAX);
}

fn retain() {
    let mut vec: Vec<u32> = (0..10).collect();
    vec.retain(|number| number % 3 == 0);
    assert_eq!(vec, [0, 3, 6, 9]);
    vec.retain(|_| false);
    assert!(vec.is_empty());
    let count = Cell::new(0);
    let mut vec: Vec<_> = (0..6).map(|number| (number, Dropped(&count))).collect();
    vec.retain(|(number, _)| *number > 3);
    assert_eq!((vec.len(), count.get()), (2, 4));
}

fn retain_mut() {
    let mut vec = vec![1, 2, 3, 4];
    vec.retain_mut(|number| {
        *number *= 10;
        *number != 20
    });
    assert_eq!(vec, [10, 30, 40]);
}

fn dedup() {
    let mut vec = vec![1, 1, 2, 3, 3, 3, 1];
    vec.dedup();
    assert_eq!(vec, [1, 2, 3, 1]);
    let mut vec: Vec<u8> = vec![];
    vec.dedup();
    assert!(vec.is_empty());
}

fn dedup_by_key() {
    let mut vec = vec![10, 11, 20, 21, 30];
    vec.dedup_by_key(|number| *number / 10);
    assert_eq!(vec, [10, 20, 30]);
}

fn dedup_by() {
    let mut vec = vec!["a", "A", "b", "B", "a"];
    // The second argument is what stays.
    vec.dedup_by(|next, kept| next.eq_ignore_ascii_case(kept));
    assert_eq!(vec, ["a", "b", "a"]);
}

fn drain_of_each_range() {
    let all = || vec![0, 1, 2, 3, 4];
    let drained = |range: (Bound<usize>, Bound<usize>)| {
        let mut vec = all();
        let drained: Vec<_> = vec.drain(range).collect();
        (drained, vec)
    };
    assert_eq!(
        drained((Bound::Included(1), Bound::Excluded(3))),
        (vec![1, 2], vec![0, 3, 4])
    );
    assert_eq!(
        drained((Bound::Excluded(1), Bound::Included(3))),
        (vec![2, 3], vec![0, 1, 4])
    );
    assert_eq!(
        drained((Bound::Unbounded, Bound::Unbounded)),
        (all(), vec![])
    );
    assert_eq!(
        drained((Bound::Included(5), Bound::Unbounded)),
        (vec![], all())
    );
    assert_eq!(
        drained((Bound::Included(2), Bound::Excluded(2))),
        (vec![], all())
    );
}

fn drain_that_is_dropped() {
    let count = Cell::new(0);
    let mut vec: Vec<_> = (0..6).map(|_| Dropped(&count)).collect();
    drop(vec.drain(1..4));
    assert_eq!((vec.len(), count.get()), (3, 3));
    let mut drained = vec.drain(..);
    drop(drained.next());
    drop(drained.next_back());
    assert_eq!(drained.len(), 1);
    drop(drained);
    assert_eq!((vec.len(), count.get()), (0, 6));
}

fn drain_keep_rest() {
    let mut vec = vec![1, 2, 3, 4];
    let mut drained = vec.drain(1..);
    assert_eq!(drained.next(), Some(2));
    assert_eq!(drained.as_slice(), [3, 4]);
    assert_eq!(drained.next_back(), Some(4));
    drop(drained);
    assert_eq!(vec, [1]);
}

fn splice() {
    let mut vec = vec![1, 2, 3, 4, 5];
    let taken: Vec<_> = vec.splice(1..3, [20, 21, 22, 23]).collect();
    assert_eq!(taken, [2, 3]);
    assert_eq!(vec, [1, 20, 21, 22, 23, 4, 5]);
    vec.splice(1..5, iter::empty());
    assert_eq!(vec, [1, 4, 5]);
    vec.splice(3.., [6, 7]);
    assert_eq!(vec, [1, 4, 5, 6, 7]);
    // One that does not know how many come.
    vec.splice(..1, (0..10).filter(|number| number % 4 == 0));
    assert_eq!(vec, [0, 4, 8, 4, 5, 6, 7]);
}

fn split_off() {
    let mut vec = vec![1, 2, 3, 4];
    assert!(vec.split_off(4).is_empty());
    assert_eq!(vec.split_off(3), [4]);
    assert_eq!(vec.split_off(0), [1, 2, 3]);
    assert!(vec.is_empty());
}

fn append() {
    let (mut one, mut other) = (vec![1, 2], vec![3]);
    one.append(&mut other);
    assert_eq!((one, other), (vec![1, 2, 3], vec![]));
}

fn extend() {
    let mut vec = vec![1];
    vec.extend([2, 3]);
    vec.extend(&[4, 5]);
    vec.extend((0..100).filter(|number| *number > 97));
    assert_eq!(vec, [1, 2, 3, 4, 5, 98, 99]);
}

fn extend_from_slice() {
    let mut vec: Vec<String> = Vec::new();
    vec.extend_from_slice(&["a".into(), "b".into()]);
    vec.extend_from_slice(&[]);
    assert_eq!(vec, ["a", "b"]);
}

fn extend_from_within() {
    let mut vec = vec![0, 1, 2, 3];
    vec.extend_from_within(2..);
    vec.extend_from_within(..=0);
    assert_eq!(vec, [0, 1, 2, 3, 2, 3, 0]);
}

fn resize() {
    let mut vec = vec![1];
    vec.resize(4, 7);
    assert_eq!(vec, [1, 7, 7, 7]);
    vec.resize(2, 9);
    assert_eq!(vec, [1, 7]);
}

fn resize_with() {
    let mut next = 1;
    let mut vec = vec![0];
    vec.resize_with(4, || {
        next *= 2;
        next
    });
    assert_eq!(vec, [0, 2, 4, 8]);
}

fn into_iter_from_both_ends() {
    let mut iter = vec![1, 2, 3, 4].into_iter();
    assert_eq!(
        (iter.next(), iter.next_back(), iter.len()),
        (Some(1), Some(4), 2)
    );
    assert_eq!(iter.as_slice(), [2, 3]);
    let copy = iter.clone();
    assert_eq!(iter.rev().collect::<Vec<_>>(), [3, 2]);
    assert_eq!(copy.collect::<Vec<_>>(), [2, 3]);
}

fn into_iter_drops_the_rest() {
    let count = Cell::new(0);
    let vec: Vec<_> = (0..5).map(|_| Dropped(&count)).collect();
    let mut iter = vec.into_iter();
    drop(iter.next());
    assert_eq!(count.get(), 1);
    drop(iter);
    assert_eq!(count.get(), 5);
}

fn into_boxed_slice() {
    let mut vec = Vec::with_capacity(50);
    vec.extend([1, 2, 3]);
    let boxed = vec.into_boxed_slice();
    assert_eq!(*boxed, [1, 2, 3]);
    let vec = boxed.into_vec();
    assert_eq!((vec.len(), vec.capacity()), (3, 3));
}

fn comparisons() {
    assert!(vec![1, 2] < vec![1, 2, 0]);
    assert!(vec![1, 3] > vec![1, 2, 9]);
    assert!(vec![f64::NAN] != vec![f64::NAN]);
    assert_eq!(vec![0.0].partial_cmp(&vec![f64::NAN]), None);
    assert!(Vec::<u8>::new() < vec![0]);
    assert_eq!(vec![1, 2][..], [1, 2]);
}

fn from_arrays_and_texts() {
    assert_eq!(Vec::from([1, 2]), [1, 2]);
    assert_eq!(Vec::from("ab"), b"ab");
    assert_eq!(Vec::from(String::from("ab")), b"ab");
    assert_eq!(Vec::from(&mut [1, 2][..]), [1, 2]);
    assert_eq!(Vec::from(std::collections::VecDeque::from([1, 2])), [1, 2]);
}

fn try_into_array() {
    let array: [u8; 3] = vec![1, 2, 3].try_into().expect("three");
    assert_eq!(array, [1, 2, 3]);
    let other: Result<[u8; 2], Vec<u8>> = vec![1, 2, 3].try_into();
    assert_eq!(other, Err(vec![1, 2, 3]));
}

fn extract_if() {
    let mut vec: Vec<u32> = (0..10).collect();
    let odd: Vec<u32> = vec.extract_if(.., |number| *number % 2 == 1).collect();
    assert_eq!(odd, [1, 3, 5, 7, 9]);
    assert_eq!(vec, [0, 2, 4, 6, 8]);
    // What is not asked for stays.
    assert_eq!(vec.extract_if(1.., |_| true).next(), Some(2));
    assert_eq!(vec, [0, 4, 6, 8]);
}

fn leak() {
    let leaked: &'static mut [u8] = vec![1, 2, 3].leak();
    leaked[0] = 9;
    assert_eq!(leaked, [9, 2, 3]);
}

fn from_raw_parts() {
    let mut vec = std::mem::ManuallyDrop::new(vec![String::from("a"), "b".into()]);
    let (at, len, room) = (vec.as_mut_ptr(), vec.len(), vec.capacity());
    // SAFETY: they are those of one that nobody drops.
    let again = unsafe { Vec::from_raw_parts(at, len, room) };
    assert_eq!(again, ["a", "b"]);
}

fn clone_from() {
    let mut to = vec![
        String::from("long enough to be anywhere"),
        "b".into(),
        "c".into(),
    ];
    to.clone_from(&vec![String::from("x")]);
    assert_eq!(to, ["x"]);
    to.clone_from(&vec![String::from("y"), "z".into()]);
    assert_eq!(to, ["y", "z"]);
}

fn pop_if() {
    let mut vec = vec![1, 2];
    assert_eq!(vec.pop_if(|last| *last == 1), None);
    assert_eq!(vec.pop_if(|last| *last == 2), Some(2));
    assert_eq!(vec, [1]);
}

fn first_and_last() {
    let mut vec = vec![1, 2, 3];
    *vec.first_mut().expect("one") = 7;
    *vec.last_mut().expect("one") = 9;
    assert_eq!((vec.first(), vec.last()), (Some(&7), Some(&9)));
    assert_eq!(vec.split_first(), Some((&7, &[2, 9][..])));
    assert_eq!(vec.split_last(), Some((&9, &[7, 2][..])));
    assert_eq!(Vec::<u8>::new().first(), None);
}

fn spare_room() {
    let mut vec: Vec<u8> = Vec::with_capacity(16);
    vec.push(1);
    let spare = vec.spare_capacity_mut();
    assert!(spare.len() >= 15);
    spare[0].write(2);
    // SAFETY: one more was written, and there is room.
    unsafe { vec.set_len(2) };
    assert_eq!(vec, [1, 2]);
}

/// As a list that is linked through its places.
fn random_steps_as_a_model() {
    let mut random = Random::new();
    let (mut vec, mut model) = (Vec::new(), std::collections::BTreeMap::new());
    for step in 0..3000u64 {
        let len = vec.len();
        match random.below(5) {
            0 | 1 => {
                vec.push(step);
                model.insert(len, step);
            }
            2 if len > 0 => {
                assert_eq!(vec.pop(), model.remove(&(len - 1)));
            }
            3 => {
                let place = random.below(len + 1);
                vec.insert(place, step);
                for at in (place..len).rev() {
                    let moved = model.remove(&at).expect("there");
                    model.insert(at + 1, moved);
                }
                model.insert(place, step);
            }
            4 if len > 40 => {
                let start = random.below(len);
                let end = start + random.below(len - start + 1);
                vec.drain(start..end);
                let kept = model
                    .into_iter()
                    .filter(|(at, _)| !(start..end).contains(at));
                model = kept.map(|(_, value)| value).enumerate().collect();
            }
            _ => {}
        }
    }
    assert!(vec.iter().eq(model.values()));
}

fn collected_in_place() {
    let vec: Vec<u64> = (0..100).collect();
    let half: Vec<u64> = vec
        .into_iter()
        .filter(|number| number % 2 == 0)
        .map(|number| number / 2)
        .collect();
    assert_eq!(half, Vec::from_iter(0..50));
    let texts: Vec<String> = half.into_iter().map(|number| number.to_string()).collect();
    let lens: Vec<u8> = texts.into_iter().map(|text| text.len() as u8).collect();
    assert_eq!(lens.iter().filter(|len| **len == 1).count(), 10);
}

fn of_vecs() {
    let shared = Rc::new(1);
    let vecs: Vec<Vec<Rc<u8>>> = (0..4)
        .map(|count| vec![Rc::clone(&shared); count])
        .collect();
    assert_eq!(Rc::strong_count(&shared), 7);
    assert_eq!(vecs.concat().len(), 6);
    assert_eq!([vec![1, 2], vec![3]].join(&0), [1, 2, 0, 3]);
    drop(vecs);
    assert_eq!(Rc::strong_count(&shared), 1);
}

fn try_reserve_of_too_much() {
    let mut vec: Vec<u64> = vec![1, 2];
    // More than there are addresses, and more than anybody has.
    assert!(vec.try_reserve(usize::MAX).is_err());
    assert!(vec.try_reserve(isize::MAX as usize / 8 + 1).is_err());
    assert!(vec.try_reserve_exact(1 << 58).is_err());
    assert_eq!(vec, [1, 2]);
    assert!(vec.try_reserve(100).is_ok());
    let error = Vec::<u8>::new()
        .try_reserve(usize::MAX)
        .expect_err("too much");
    assert!(
        error.to_string().contains("memory allocation failed"),
        "{error}"
    );
}
