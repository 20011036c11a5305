//! `BinaryHeap`.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::Random;

tests! {
    gives_the_largest_first peek_mut_sifts peek_mut_pops from_vec_and_back into_sorted append
    reversed_gives_the_smallest retain drain_leaves_nothing sorts_as_sort extend_and_len texts
}

fn gives_the_largest_first() {
    let mut heap = BinaryHeap::new();
    for number in [3, 1, 4, 1, 5, 9, 2, 6] {
        heap.push(number);
    }
    assert_eq!(heap.peek(), Some(&9));
    let all: Vec<_> = std::iter::from_fn(|| heap.pop()).collect();
    assert_eq!(all, [9, 6, 5, 4, 3, 2, 1, 1]);
    assert_eq!(heap.peek(), None);
}

fn peek_mut_sifts() {
    let mut heap = BinaryHeap::from([5, 3, 8]);
    *heap.peek_mut().expect("one") = 1;
    assert_eq!(heap.into_sorted_vec(), [1, 3, 5]);
}

fn peek_mut_pops() {
    let mut heap = BinaryHeap::from([5, 3, 8]);
    let top = heap.peek_mut().expect("one");
    assert_eq!(std::collections::binary_heap::PeekMut::pop(top), 8);
    assert_eq!(heap.len(), 2);
}

fn from_vec_and_back() {
    let mut vec = BinaryHeap::from(vec![2, 7, 1]).into_vec();
    vec.sort();
    assert_eq!(vec, [1, 2, 7]);
}

fn into_sorted() {
    let heap: BinaryHeap<u32> = (0..100).map(|number| number * 37 % 101).collect();
    assert!(heap.into_sorted_vec().is_sorted());
}

fn append() {
    let (mut one, mut other) = (BinaryHeap::from([1, 9]), BinaryHeap::from([5, 7, 3]));
    one.append(&mut other);
    assert!(other.is_empty());
    assert_eq!(one.into_sorted_vec(), [1, 3, 5, 7, 9]);
}

fn reversed_gives_the_smallest() {
    let mut heap = BinaryHeap::from([3, 1, 2].map(Reverse));
    assert_eq!(heap.pop(), Some(Reverse(1)));
    assert_eq!(heap.pop(), Some(Reverse(2)));
}

fn retain() {
    let mut heap = BinaryHeap::from_iter(0..20);
    heap.retain(|number| number % 5 == 0);
    assert_eq!(heap.into_sorted_vec(), [0, 5, 10, 15]);
}

fn drain_leaves_nothing() {
    let mut heap = BinaryHeap::from([1, 2]);
    assert_eq!(heap.drain().count(), 2);
    assert!(heap.is_empty());
}

fn sorts_as_sort() {
    let mut random = Random::new();
    for len in 0..60 {
        let mut numbers: Vec<u64> = (0..len).map(|_| random.next() % 16).collect();
        let heap = BinaryHeap::from(numbers.clone());
        numbers.sort();
        assert_eq!(heap.into_sorted_vec(), numbers);
    }
}

fn extend_and_len() {
    let mut heap = BinaryHeap::with_capacity(4);
    heap.extend([1, 2]);
    heap.extend(&[9]);
    assert_eq!((heap.len(), heap.peek()), (3, Some(&9)));
}

fn texts() {
    let mut heap: BinaryHeap<String> = ["b", "a", "ab"].map(String::from).into();
    assert_eq!(heap.pop().as_deref(), Some("b"));
    assert_eq!(heap.pop().as_deref(), Some("ab"));
}
