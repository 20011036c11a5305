//! `LinkedList`.

use std::{cell::Cell, collections::LinkedList};

use super::{Dropped, Random};

tests! {
    both_ends split_off_everywhere append iterates_from_both_ends front_and_back_mut compares
    drops_all contains_and_clears extends random_steps_as_a_vec extract_if
}

fn list(numbers: impl IntoIterator<Item = i32>) -> LinkedList<i32> {
    numbers.into_iter().collect()
}

fn both_ends() {
    let mut list = LinkedList::new();
    assert_eq!((list.pop_front(), list.pop_back()), (None, None));
    list.push_back(2);
    list.push_front(1);
    list.push_back(3);
    assert_eq!(list.len(), 3);
    assert_eq!(
        (
            list.pop_back(),
            list.pop_front(),
            list.pop_back(),
            list.pop_front()
        ),
        (Some(3), Some(1), Some(2), None)
    );
}

fn split_off_everywhere() {
    for at in 0..=5 {
        let mut one = list(0..5);
        let other = one.split_off(at);
        assert_eq!((one, other), (list(0..at as i32), list(at as i32..5)));
    }
}

fn append() {
    let (mut one, mut other) = (list(0..2), list(2..5));
    one.append(&mut other);
    assert_eq!((one, other.len()), (list(0..5), 0));
}

fn iterates_from_both_ends() {
    let mut list = list(0..5);
    list.iter_mut().for_each(|number| *number *= 2);
    let mut iter = list.iter();
    assert_eq!(
        (iter.next(), iter.next_back(), iter.len()),
        (Some(&0), Some(&8), 3)
    );
    assert!(list.iter().rev().eq(&[8, 6, 4, 2, 0]));
    assert!(list.into_iter().rev().eq([8, 6, 4, 2, 0]));
}

fn front_and_back_mut() {
    let mut list = list(1..4);
    *list.front_mut().expect("one") = 7;
    *list.back_mut().expect("one") = 9;
    assert_eq!((list.front(), list.back()), (Some(&7), Some(&9)));
}

fn compares() {
    assert!(list(0..3) < list(0..4));
    assert!(list([1, 2]) > list([1, 1, 9]));
    assert_eq!(format!("{:?}", list(0..3)), "[0, 1, 2]");
}

fn drops_all() {
    let count = Cell::new(0);
    let list: LinkedList<_> = (0..7).map(|_| Dropped(&count)).collect();
    let mut iter = list.into_iter();
    drop(iter.next());
    assert_eq!(count.get(), 1);
    drop(iter);
    assert_eq!(count.get(), 7);
}

fn contains_and_clears() {
    let mut list = list(0..3);
    assert!(list.contains(&2) && !list.contains(&3));
    list.clear();
    assert!(list.is_empty() && list.front().is_none());
}

fn extends() {
    let mut list = list(0..2);
    list.extend([2, 3]);
    list.extend(&[4]);
    assert!(list.iter().copied().eq(0..5));
}

fn random_steps_as_a_vec() {
    let mut random = Random::new();
    let (mut list, mut model) = (LinkedList::new(), Vec::new());
    for step in 0..1500 {
        match random.below(6) {
            0 | 1 => {
                list.push_back(step);
                model.push(step);
            }
            2 => {
                list.push_front(step);
                model.insert(0, step);
            }
            3 => assert_eq!(list.pop_back(), model.pop()),
            4 => {
                let front = (!model.is_empty()).then(|| model.remove(0));
                assert_eq!(list.pop_front(), front);
            }
            _ => {
                let at = random.below(model.len() + 1);
                let mut end = list.split_off(at);
                end.append(&mut list);
                list = end;
                model.rotate_left(at);
            }
        }
    }
    assert!(list.iter().eq(&model));
}

fn extract_if() {
    let mut list = list(0..6);
    let even: Vec<i32> = list.extract_if(|number| *number % 2 == 0).collect();
    assert_eq!(even, [0, 2, 4]);
    assert!(list.iter().eq(&[1, 3, 5]));
}
