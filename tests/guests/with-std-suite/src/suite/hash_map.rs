//! `HashMap`, `HashSet`, and hashes.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher, RandomState},
};

use super::{Dropped, Random};

tests! {
    insert_get_remove entries entry_keeps_its_key or_insert_and_modify retain drain drain_that_is_dropped extract_if
    room_grows_and_shrinks try_reserve_of_too_much with_one_hash_for_all get_disjoint get_by_borrowed extends compares
    keys_values_and_mut into_keys_and_values drops_all random_steps_as_a_tree grows_and_shrinks_many_times
    set_operations set_of_subsets set_entries set_retain_and_drain set_replace_and_take
    random_states_differ hash_one_is_one default_hasher_is_always_the_same texts_and_bytes_hash_apart
    hashes_of_parts_do_not_run_together of_nothing iterates_each_once floats_by_their_bits
}

fn insert_get_remove() {
    let mut map = HashMap::new();
    assert_eq!((map.insert("a", 1), map.insert("a", 2)), (None, Some(1)));
    assert_eq!((map.get("a"), map.get("b"), map["a"]), (Some(&2), None, 2));
    assert_eq!(
        (map.remove_entry("a"), map.remove("a")),
        (Some(("a", 2)), None)
    );
    assert!(map.is_empty());
}

fn entries() {
    let mut map = HashMap::from([(1, 10), (2, 20)]);
    match map.entry(1) {
        Entry::Occupied(mut entry) => {
            assert_eq!((*entry.key(), *entry.get()), (1, 10));
            *entry.get_mut() += 1;
            assert_eq!(entry.insert(30), 11);
        }
        Entry::Vacant(_) => panic!("it is there"),
    }
    match map.entry(3) {
        Entry::Occupied(_) => panic!("it is not there"),
        Entry::Vacant(entry) => {
            assert_eq!(*entry.key(), 3);
            *entry.insert(1) = 7;
        }
    }
    let Entry::Occupied(entry) = map.entry(2) else {
        panic!("it is there")
    };
    assert_eq!(entry.remove_entry(), (2, 20));
    assert_eq!(map, HashMap::from([(1, 30), (3, 7)]));
}

fn entry_keeps_its_key() {
    let mut map: HashMap<String, u32> = HashMap::new();
    let Entry::Vacant(entry) = map.entry("word".into()) else {
        panic!("it is not there")
    };
    assert_eq!(entry.into_key(), "word");
    assert!(map.is_empty());
    let entry = map.entry("word".into()).insert_entry(4);
    assert_eq!((entry.key().as_str(), *entry.get()), ("word", 4));
}

fn or_insert_and_modify() {
    let mut counts: HashMap<char, u32> = HashMap::new();
    for letter in "mississippi".chars() {
        counts
            .entry(letter)
            .and_modify(|count| *count += 1)
            .or_insert(1);
    }
    assert_eq!(
        counts,
        HashMap::from([('m', 1), ('i', 4), ('s', 4), ('p', 2)])
    );
    assert_eq!(*counts.entry('x').or_insert_with(|| 9), 9);
    assert_eq!(
        *counts.entry('y').or_insert_with_key(|key| u32::from(*key)),
        121
    );
    assert_eq!(*counts.entry('z').or_default(), 0);
}

fn retain() {
    let mut map: HashMap<u32, u32> = (0..1000).map(|number| (number, number)).collect();
    map.retain(|key, value| {
        *value *= 2;
        key % 10 == 0
    });
    assert_eq!(
        (map.len(), map.values().sum::<u32>()),
        (100, 2 * (0..1000).step_by(10).sum::<u32>())
    );
}

fn drain() {
    let mut map: HashMap<u32, u32> = (0..100).map(|number| (number, number)).collect();
    let room = map.capacity();
    let mut all: Vec<u32> = map.drain().map(|(key, _)| key).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..100));
    assert_eq!((map.len(), map.capacity()), (0, room));
    map.insert(1, 1);
    assert_eq!(map.len(), 1);
}

fn drain_that_is_dropped() {
    let count = Cell::new(0);
    let mut map: HashMap<u32, Dropped<'_>> =
        (0..20).map(|number| (number, Dropped(&count))).collect();
    let mut drained = map.drain();
    drop(drained.next());
    assert_eq!(drained.len(), 19);
    drop(drained);
    assert_eq!((map.len(), count.get()), (0, 20));
}

fn extract_if() {
    let mut map: HashMap<u32, u32> = (0..100).map(|number| (number, number)).collect();
    let odd = map.extract_if(|key, _| key % 2 == 1).count();
    assert_eq!((odd, map.len()), (50, 50));
    assert!(map.keys().all(|key| key % 2 == 0));
}

fn room_grows_and_shrinks() {
    assert_eq!(HashMap::<u8, u8>::new().capacity(), 0);
    let mut map: HashMap<u32, u32> = HashMap::with_capacity(100);
    let room = map.capacity();
    assert!(room >= 100);
    map.extend((0..100).map(|number| (number, number)));
    assert_eq!(map.capacity(), room);
    map.reserve(1000);
    assert!(map.capacity() >= 1100);
    map.retain(|key, _| *key < 10);
    map.shrink_to(50);
    assert!(map.capacity() >= 50);
    map.shrink_to_fit();
    assert!((10..50).contains(&map.capacity()));
    assert!((0..10).all(|number| map[&number] == number));
    map.clear();
    map.shrink_to_fit();
    assert_eq!(map.capacity(), 0);
}

fn try_reserve_of_too_much() {
    let mut map: HashMap<u64, u64> = HashMap::from([(1, 1)]);
    assert!(map.try_reserve(usize::MAX).is_err());
    assert!(map.try_reserve(1 << 56).is_err());
    assert_eq!(map[&1], 1);
    assert!(map.try_reserve(10).is_ok());
}

/// The worst that a hash can be: all keys have the same.
#[derive(Default)]
struct Constant;

impl Hasher for Constant {
    fn write(&mut self, _bytes: &[u8]) {}
    fn finish(&self) -> u64 {
        7
    }
}

fn with_one_hash_for_all() {
    let mut map: HashMap<u32, u32, BuildHasherDefault<Constant>> = HashMap::default();
    for number in 0..200 {
        map.insert(number, number);
    }
    for number in (0..200).step_by(2) {
        assert_eq!(map.remove(&number), Some(number));
    }
    assert_eq!(map.len(), 100);
    assert!((0..200).all(|number| map.contains_key(&number) == (number % 2 == 1)));
}

fn get_disjoint() {
    let mut map = HashMap::from([("a", 1), ("b", 2)]);
    let [Some(a), Some(b), None] = map.get_disjoint_mut(["a", "b", "c"]) else {
        panic!("two of three")
    };
    std::mem::swap(a, b);
    assert_eq!((map["a"], map["b"]), (2, 1));
}

fn get_by_borrowed() {
    let map: HashMap<String, Vec<u8>> = HashMap::from([("key".into(), vec![1])]);
    assert_eq!(map.get("key").map(Vec::as_slice), Some(&[1][..]));
    assert_eq!(
        map.get_key_value("key").map(|(key, _)| key.as_str()),
        Some("key")
    );
    let set: HashSet<Vec<u8>> = HashSet::from([vec![1, 2]]);
    assert!(set.contains(&[1, 2][..]));
}

fn extends() {
    let mut map = HashMap::from([(1, 1)]);
    map.extend([(1, 2), (2, 3)]);
    map.extend(&HashMap::from([(3, 4)]));
    assert_eq!(map, HashMap::from([(1, 2), (2, 3), (3, 4)]));
}

fn compares() {
    let one: HashMap<u32, u32> = (0..50).map(|number| (number, number)).collect();
    let other: HashMap<u32, u32> = (0..50).rev().map(|number| (number, number)).collect();
    assert_eq!(one, other);
    let mut other = other;
    other.insert(7, 0);
    assert_ne!(one, other);
    other.remove(&7);
    assert_ne!(one, other);
}

fn keys_values_and_mut() {
    let mut map: HashMap<u32, u32> = (0..10).map(|number| (number, 1)).collect();
    map.values_mut().for_each(|value| *value += 1);
    map.iter_mut().for_each(|(key, value)| *value += key);
    assert_eq!(map.keys().sum::<u32>(), 45);
    assert_eq!(map.values().sum::<u32>(), 65);
}

fn into_keys_and_values() {
    let map = HashMap::from([(1, 'a'), (2, 'b')]);
    let mut keys: Vec<_> = map.clone().into_keys().collect();
    let mut values: Vec<_> = map.into_values().collect();
    keys.sort();
    values.sort();
    assert_eq!((keys, values), (vec![1, 2], vec!['a', 'b']));
}

fn drops_all() {
    let count = Cell::new(0);
    let mut map: HashMap<u32, Dropped<'_>> =
        (0..50).map(|number| (number, Dropped(&count))).collect();
    map.insert(3, Dropped(&count));
    map.remove(&4);
    assert_eq!(count.get(), 2);
    let mut iter = map.into_iter();
    drop(iter.next());
    assert_eq!(count.get(), 3);
    drop(iter);
    assert_eq!(count.get(), 51);
}

fn random_steps_as_a_tree() {
    let mut random = Random::new();
    let (mut map, mut model) = (HashMap::new(), BTreeMap::new());
    for step in 0..10_000u64 {
        let key = random.next() % 300;
        match random.below(4) {
            0 | 1 => assert_eq!(map.insert(key, step), model.insert(key, step)),
            2 => assert_eq!(map.remove(&key), model.remove(&key)),
            _ => assert_eq!(map.get(&key), model.get(&key)),
        }
        assert_eq!(map.len(), model.len());
    }
    let sorted: BTreeMap<u64, u64> = map.into_iter().collect();
    assert_eq!(sorted, model);
}

fn grows_and_shrinks_many_times() {
    let mut map = HashMap::new();
    for round in 0..20u32 {
        for number in 0..100 {
            map.insert(round * 100 + number, number);
        }
        for number in 0..100 {
            assert_eq!(map.remove(&(round * 100 + number)), Some(number));
        }
        assert!(map.is_empty());
    }
    assert!(map.capacity() < 1000);
}

fn set_operations() {
    let one: HashSet<u32> = (0..40).collect();
    let other: HashSet<u32> = (20..60).collect();
    assert_eq!(one.union(&other).count(), 60);
    assert_eq!(&one & &other, (20..40).collect());
    assert_eq!(&one - &other, (0..20).collect());
    assert_eq!(&one ^ &other, (0..20).chain(40..60).collect());
    assert_eq!((&one | &other).len(), 60);
    assert!(
        one.intersection(&other)
            .all(|number| (20..40).contains(number))
    );
}

fn set_of_subsets() {
    let (few, many) = (HashSet::from([1, 3]), HashSet::from([1, 2, 3]));
    assert!(few.is_subset(&many) && many.is_superset(&few) && !many.is_subset(&few));
    assert!(few.is_disjoint(&HashSet::from([0])) && !few.is_disjoint(&many));
}

fn set_entries() {
    let mut set = HashSet::new();
    assert_eq!((set.insert('a'), set.insert('a')), (true, false));
    assert_eq!((set.get(&'a'), set.len()), (Some(&'a'), 1));
    assert!(set.remove(&'a') && !set.remove(&'a'));
}

fn set_retain_and_drain() {
    let mut set: HashSet<u32> = (0..100).collect();
    set.retain(|number| number % 25 == 0);
    assert_eq!(set, HashSet::from([0, 25, 50, 75]));
    assert_eq!(set.drain().sum::<u32>(), 150);
    assert!(set.is_empty());
}

fn set_replace_and_take() {
    let mut set = HashSet::from([1]);
    assert_eq!((set.replace(1), set.replace(2)), (Some(1), None));
    assert_eq!((set.take(&1), set.take(&1)), (Some(1), None));
    assert_eq!(set, HashSet::from([2]));
}

fn random_states_differ() {
    let hashes: HashSet<u64> = (0..50).map(|_| RandomState::new().hash_one(1)).collect();
    assert_eq!(hashes.len(), 50);
}

fn hash_one_is_one() {
    let state = RandomState::new();
    assert_eq!(state.hash_one("text"), state.hash_one("text"));
    assert_eq!(
        state.hash_one("text"),
        state.clone().hash_one(String::from("text"))
    );
    let mut hasher = state.build_hasher();
    "text".hash(&mut hasher);
    assert_eq!(state.hash_one("text"), hasher.finish());
}

fn default_hasher_is_always_the_same() {
    // SipHash-1-3 with keys of zero.
    let hash = |value: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        value(&mut hasher);
        hasher.finish()
    };
    assert_eq!(hash(&|_| {}), 0xd1fb_a762_150c_532c);
    assert_eq!(
        hash(&|hasher| hasher.write(&[1, 2, 3])),
        hash(&|hasher| {
            hasher.write(&[1]);
            hasher.write(&[2, 3]);
        })
    );
    assert_eq!(
        hash(&|hasher| 7u32.hash(hasher)),
        hash(&|hasher| hasher.write(&7u32.to_ne_bytes()))
    );
}

fn texts_and_bytes_hash_apart() {
    let state = RandomState::new();
    // A text ends with a byte that none has; a slice begins with its length.
    assert_ne!(state.hash_one("ab"), state.hash_one(b"ab".as_slice()));
    assert_eq!(
        state.hash_one(b"ab".as_slice()),
        state.hash_one(b"ab".to_vec())
    );
}

fn hashes_of_parts_do_not_run_together() {
    let state = RandomState::new();
    assert_ne!(state.hash_one(("ab", "c")), state.hash_one(("a", "bc")));
    assert_ne!(
        state.hash_one((vec![1u8], vec![2u8, 3])),
        state.hash_one((vec![1u8, 2], vec![3u8]))
    );
    assert_ne!(state.hash_one(Some(0u8)), state.hash_one(None::<u8>));
    assert_eq!(state.hash_one((1, 2)), state.hash_one((1, 2)));
}

fn of_nothing() {
    let mut set = HashSet::new();
    assert_eq!(
        (set.insert(()), set.insert(()), set.len()),
        (true, false, 1)
    );
}

fn iterates_each_once() {
    let map: HashMap<u32, ()> = (0..777).map(|number| (number, ())).collect();
    let mut seen = [false; 777];
    let mut iter = map.iter();
    assert_eq!(iter.len(), 777);
    for (key, ()) in iter.by_ref() {
        assert!(!std::mem::replace(&mut seen[*key as usize], true));
    }
    assert_eq!((iter.next(), seen.contains(&false)), (None, false));
}

fn floats_by_their_bits() {
    let set: HashSet<u64> = [0.0, -0.0, f64::NAN, 1.0].map(f64::to_bits).into();
    assert_eq!(set.len(), 4);
}
