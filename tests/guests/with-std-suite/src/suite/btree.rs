//! `BTreeMap` and `BTreeSet`.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    ops::Bound::{Excluded, Included, Unbounded},
};

use super::{Dropped, Random};

tests! {
    insert_get_remove in_order range_bounds range_mut entries first_and_last pop_from_both_ends
    split_off append retain extract_if iterates_from_both_ends into_keys_and_values random_steps_as_a_sorted_vec
    drops_all compares large_and_small get_by_borrowed set_operations set_of_subsets set_range set_replace_and_take
    from_unsorted extends keys_that_are_equal entry_and_modify first_entry of_nothing
}

fn insert_get_remove() {
    let mut map = BTreeMap::new();
    assert_eq!(map.insert(1, "a"), None);
    assert_eq!(map.insert(1, "b"), Some("a"));
    assert_eq!((map.get(&1), map.get(&2)), (Some(&"b"), None));
    *map.get_mut(&1).expect("there") = "c";
    assert_eq!((map[&1], map.contains_key(&2)), ("c", false));
    assert_eq!((map.remove(&1), map.remove(&1)), (Some("c"), None));
    assert_eq!(map.remove_entry(&1), None);
}

fn in_order() {
    let map: BTreeMap<u32, u32> = (0..1000)
        .map(|number| (number * 7919 % 1009, number))
        .collect();
    assert_eq!(map.len(), 1000);
    assert!(map.keys().is_sorted());
    assert!(
        map.iter()
            .rev()
            .map(|(key, _)| key)
            .is_sorted_by(|one, other| one > other)
    );
}

fn range_bounds() {
    let map: BTreeMap<i32, ()> = (0..100).step_by(10).map(|number| (number, ())).collect();
    let keys = |range| {
        map.range::<i32, _>(range)
            .map(|(key, ())| *key)
            .collect::<Vec<_>>()
    };
    assert_eq!(keys((Included(10), Excluded(40))), [10, 20, 30]);
    assert_eq!(keys((Excluded(10), Included(40))), [20, 30, 40]);
    assert_eq!(keys((Included(11), Included(29))), [20]);
    assert_eq!(keys((Unbounded, Excluded(11))), [0, 10]);
    assert_eq!(keys((Included(85), Unbounded)), [90]);
    assert!(keys((Included(91), Unbounded)).is_empty());
    assert_eq!(map.range(30..).next_back(), Some((&90, &())));
}

fn range_mut() {
    let mut map: BTreeMap<u32, u32> = (0..50).map(|number| (number, number)).collect();
    for (_, value) in map.range_mut(10..20) {
        *value = 0;
    }
    assert_eq!(
        map.values().sum::<u32>(),
        (0..50).sum::<u32>() - (10..20).sum::<u32>()
    );
}

fn entries() {
    let mut map = BTreeMap::new();
    for letter in "hello".chars() {
        *map.entry(letter).or_insert(0) += 1;
    }
    assert_eq!(format!("{map:?}"), "{'e': 1, 'h': 1, 'l': 2, 'o': 1}");
    match map.entry('l') {
        Entry::Occupied(mut entry) => {
            assert_eq!(entry.insert(9), 2);
            assert_eq!(entry.remove_entry(), ('l', 9));
        }
        Entry::Vacant(_) => panic!("it is there"),
    }
    assert!(matches!(map.entry('l'), Entry::Vacant(_)));
    assert_eq!(*map.entry('z').or_insert_with_key(|key| *key as i32), 122);
    assert_eq!(*map.entry('y').or_default(), 0);
}

fn entry_and_modify() {
    let mut map = BTreeMap::from([(1, 10)]);
    map.entry(1).and_modify(|value| *value += 1).or_insert(0);
    map.entry(2).and_modify(|value| *value += 1).or_insert(5);
    assert_eq!(map, BTreeMap::from([(1, 11), (2, 5)]));
}

fn first_entry() {
    let mut map = BTreeMap::from([(1, 'a'), (2, 'b'), (3, 'c')]);
    *map.first_entry().expect("one").get_mut() = 'x';
    assert_eq!(map.last_entry().expect("one").remove(), 'c');
    assert_eq!(map, BTreeMap::from([(1, 'x'), (2, 'b')]));
}

fn first_and_last() {
    let map: BTreeMap<u32, u32> = (3..200).map(|number| (number, 0)).collect();
    assert_eq!(
        (map.first_key_value(), map.last_key_value()),
        (Some((&3, &0)), Some((&199, &0)))
    );
    assert_eq!(BTreeMap::<u8, u8>::new().first_key_value(), None);
}

fn pop_from_both_ends() {
    let mut map: BTreeMap<u32, u32> = (0..500).map(|number| (number, number)).collect();
    for number in 0..250 {
        assert_eq!(map.pop_first(), Some((number, number)));
        assert_eq!(map.pop_last(), Some((499 - number, 499 - number)));
    }
    assert_eq!(map.pop_first(), None);
}

fn split_off() {
    for at in [0, 1, 50, 99, 100] {
        let mut map: BTreeMap<u32, ()> = (0..100).map(|number| (number, ())).collect();
        let rest = map.split_off(&at);
        assert!(map.into_keys().eq(0..at));
        assert!(rest.into_keys().eq(at..100));
    }
}

fn append() {
    let mut one: BTreeMap<u32, char> = (0..30).map(|number| (number, 'a')).collect();
    let mut other: BTreeMap<u32, char> = (20..50).map(|number| (number, 'b')).collect();
    one.append(&mut other);
    assert!(other.is_empty());
    assert_eq!((one.len(), one[&19], one[&20]), (50, 'a', 'b'));
}

fn retain() {
    let mut map: BTreeMap<u32, u32> = (0..200).map(|number| (number, number * number)).collect();
    map.retain(|key, value| {
        *value += 1;
        key % 7 == 0
    });
    assert_eq!(map.len(), 29);
    assert_eq!(map[&14], 197);
}

fn extract_if() {
    let mut map: BTreeMap<u32, u32> = (0..100).map(|number| (number, number)).collect();
    let taken: Vec<u32> = map
        .extract_if(10..20, |key, _| key % 2 == 0)
        .map(|(key, _)| key)
        .collect();
    assert_eq!(taken, [10, 12, 14, 16, 18]);
    assert_eq!(map.len(), 95);
}

fn iterates_from_both_ends() {
    let map: BTreeMap<u32, u32> = (0..300).map(|number| (number, number)).collect();
    let mut iter = map.iter();
    for number in 0..150 {
        assert_eq!(iter.next(), Some((&number, &number)));
        assert_eq!(iter.next_back().map(|(key, _)| *key), Some(299 - number));
    }
    assert_eq!((iter.next(), iter.next_back(), iter.len()), (None, None, 0));
    assert_eq!(map.iter().max(), Some((&299, &299)));
    assert_eq!(map.keys().nth(7), Some(&7));
}

fn into_keys_and_values() {
    let map = BTreeMap::from([(2, "b"), (1, "a")]);
    assert!(map.clone().into_keys().eq([1, 2]));
    assert!(map.into_values().eq(["a", "b"]));
}

fn random_steps_as_a_sorted_vec() {
    let mut random = Random::new();
    let (mut map, mut model) = (BTreeMap::new(), Vec::<(u64, u64)>::new());
    for step in 0..6000 {
        let key = random.next() % 400;
        let place = model.binary_search_by_key(&key, |(key, _)| *key);
        if random.below(5) < 3 {
            let old = map.insert(key, step);
            match place {
                Ok(at) => assert_eq!(old, Some(std::mem::replace(&mut model[at].1, step))),
                Err(at) => {
                    assert_eq!(old, None);
                    model.insert(at, (key, step));
                }
            }
        } else {
            let expected = place.ok().map(|at| model.remove(at).1);
            assert_eq!(map.remove(&key), expected);
        }
        if step % 500 == 0 {
            assert!(
                map.iter()
                    .map(|(key, value)| (*key, *value))
                    .eq(model.iter().copied())
            );
            let (low, high) = (key / 2, key / 2 + 100);
            let between = model
                .iter()
                .filter(|(key, _)| (low..high).contains(key))
                .count();
            assert_eq!(map.range(low..high).count(), between);
        }
    }
    assert!(map.into_iter().eq(model));
}

fn drops_all() {
    let count = Cell::new(0);
    let mut map: BTreeMap<u32, Dropped<'_>> =
        (0..100).map(|number| (number, Dropped(&count))).collect();
    map.insert(5, Dropped(&count));
    assert_eq!(count.get(), 1);
    map.remove(&6);
    assert_eq!(count.get(), 2);
    let mut iter = map.into_iter();
    drop((iter.next(), iter.next_back()));
    assert_eq!(count.get(), 4);
    drop(iter);
    assert_eq!(count.get(), 101);
}

fn compares() {
    let one = BTreeMap::from([(1, 'a'), (2, 'b')]);
    assert!(one < BTreeMap::from([(1, 'a'), (3, 'a')]));
    assert!(one > BTreeMap::from([(1, 'a')]));
    assert_eq!(one, BTreeMap::from([(2, 'b'), (1, 'a')]));
}

/// Each size of a tree, as nodes split and merge.
fn large_and_small() {
    for len in 0..150u32 {
        let mut map: BTreeMap<u32, u32> = (0..len).map(|number| (number, number)).collect();
        for number in (0..len).step_by(3) {
            assert_eq!(map.remove(&number), Some(number));
        }
        assert!(
            map.keys()
                .copied()
                .eq((0..len).filter(|number| number % 3 != 0))
        );
    }
}

fn get_by_borrowed() {
    let mut map: BTreeMap<String, u32> = BTreeMap::new();
    map.insert("one".into(), 1);
    assert_eq!(
        (map.get("one"), map.get_key_value("one")),
        (Some(&1), Some((&"one".to_owned(), &1)))
    );
    assert_eq!(
        map.range::<str, _>((Included("a"), Excluded("z"))).count(),
        1
    );
    assert_eq!(map.remove("one"), Some(1));
}

fn set_operations() {
    let one: BTreeSet<u32> = (0..60).step_by(2).collect();
    let other: BTreeSet<u32> = (0..60).step_by(3).collect();
    let is = |found: Vec<u32>, belongs: fn(u32) -> bool| {
        assert_eq!(
            found,
            (0..60)
                .filter(|number| belongs(*number))
                .collect::<Vec<_>>()
        );
    };
    is(one.union(&other).copied().collect(), |number| {
        number % 2 == 0 || number % 3 == 0
    });
    is(one.intersection(&other).copied().collect(), |number| {
        number % 6 == 0
    });
    is(one.difference(&other).copied().collect(), |number| {
        number % 2 == 0 && number % 3 != 0
    });
    is(
        one.symmetric_difference(&other).copied().collect(),
        |number| (number % 2 == 0) != (number % 3 == 0),
    );
    assert_eq!(&(&one | &other) - &other, &one - &other);
    assert_eq!((&one & &other).len(), 10);
    // One that is small is looked up in one that is large.
    let few = BTreeSet::from([4, 5]);
    assert!(few.intersection(&one).eq(&[4]));
    assert!(few.difference(&one).eq(&[5]));
}

fn set_of_subsets() {
    let (few, many) = (BTreeSet::from([1, 3]), BTreeSet::from([1, 2, 3]));
    assert!(few.is_subset(&many) && many.is_superset(&few) && !many.is_subset(&few));
    assert!(few.is_disjoint(&BTreeSet::from([0, 2])) && !few.is_disjoint(&many));
    assert!(BTreeSet::<u8>::new().is_subset(&BTreeSet::new()));
}

fn set_range() {
    let set: BTreeSet<char> = ('a'..='z').collect();
    assert_eq!(set.range('x'..).collect::<String>(), "xyz");
    assert_eq!(set.range(..='c').rev().collect::<String>(), "cba");
    assert_eq!((set.first(), set.last()), (Some(&'a'), Some(&'z')));
}

fn set_replace_and_take() {
    let mut set = BTreeSet::from([1, 2]);
    assert_eq!((set.insert(2), set.insert(3)), (false, true));
    assert_eq!(
        (set.replace(3), set.take(&1), set.take(&1)),
        (Some(3), Some(1), None)
    );
    assert_eq!(set.get(&2), Some(&2));
    assert!(set.remove(&2) && !set.remove(&2));
    assert_eq!(set.split_off(&2), BTreeSet::from([3]));
}

fn from_unsorted() {
    // The last of equal keys counts.
    let map = BTreeMap::from([(2, 'a'), (1, 'b'), (2, 'c')]);
    assert_eq!(map.into_iter().collect::<Vec<_>>(), [(1, 'b'), (2, 'c')]);
}

fn extends() {
    let mut map = BTreeMap::from([(1, 1)]);
    map.extend([(2, 2), (1, 9)]);
    map.extend(&BTreeMap::from([(3, 3)]));
    assert_eq!(map, BTreeMap::from([(1, 9), (2, 2), (3, 3)]));
}

/// A key that is there stays, whatever of it the order does not look at.
fn keys_that_are_equal() {
    #[derive(Debug)]
    struct Loose(u32, &'static str);
    impl PartialEq for Loose {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }
    impl Eq for Loose {}
    impl PartialOrd for Loose {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }
    impl Ord for Loose {
        fn cmp(&self, other: &Self) -> std::cmp::Ordering {
            self.0.cmp(&other.0)
        }
    }
    let mut map = BTreeMap::new();
    map.insert(Loose(1, "first"), 1);
    map.insert(Loose(1, "second"), 2);
    let (key, value) = map.pop_first().expect("one");
    assert_eq!((key.1, value), ("first", 2));
    let mut set = BTreeSet::from([Loose(1, "first")]);
    assert_eq!(
        set.replace(Loose(1, "second")).map(|old| old.1),
        Some("first")
    );
    assert_eq!(set.first().map(|new| new.1), Some("second"));
}

fn of_nothing() {
    let mut map: BTreeMap<(), ()> = BTreeMap::new();
    assert_eq!((map.insert((), ()), map.insert((), ())), (None, Some(())));
    assert_eq!(map.len(), 1);
}
