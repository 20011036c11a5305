//! `ops`, `cmp`, `convert`, `option`, `result`.

use std::{
    cmp::{Ordering, Reverse},
    ops::{Add, AddAssign, Bound, Deref, Index, IndexMut, Neg, Not, RangeBounds},
};

tests! {
    options_as_monads options_taken_and_replaced options_zip_and_xor results_as_monads results_copied_and_flattened
    question_mark_converts ranges_contain bounds overloaded_operators orderings reversed_and_then clamp_and_min_max
    drop_in_order deref_coerces closures_of_each_kind dyn_dispatch try_from_and_into index_of_ranges let_else_and_chains
    ordering_of_derived option_ordering as_deref transposes is_some_and loops_with_values patterns_of_slices
    shadowed_drops generic_consts
}

fn options_as_monads() {
    let half = |number: i32| (number % 2 == 0).then_some(number / 2);
    assert_eq!(
        (
            Some(8).and_then(half).and_then(half),
            Some(6).and_then(half).and_then(half)
        ),
        (Some(2), None)
    );
    assert_eq!(
        (
            Some(1).or(Some(2)),
            None.or_else(|| Some(3)),
            Some(4).filter(|number| *number > 9),
            Some(2).map_or(0, |number| number * 3)
        ),
        (Some(1), Some(3), None, 6)
    );
    assert_eq!(
        (
            Some(1).ok_or("none"),
            None::<u8>.ok_or("none"),
            None.unwrap_or(7),
            None.unwrap_or_default()
        ),
        (Ok(1), Err("none"), 7, 0u8)
    );
}

fn options_taken_and_replaced() {
    let mut some = Some(3);
    assert_eq!(
        (some.take(), some, *some.get_or_insert(5), some.replace(6)),
        (Some(3), None, 5, Some(5))
    );
    assert_eq!(*some.insert(7), 7);
    assert_eq!(
        (
            some.take_if(|number| *number == 1),
            some.take_if(|number| *number == 7),
            some
        ),
        (None, Some(7), None)
    );
}

fn options_zip_and_xor() {
    assert_eq!(
        (
            Some(1).zip(Some('a')),
            Some(1).zip(None::<u8>),
            Some(1).xor(None),
            Some(1).xor(Some(2))
        ),
        (Some((1, 'a')), None, Some(1), None)
    );
    assert_eq!(
        (
            Some((1, 'a')).unzip(),
            Some(Some(1)).flatten(),
            Some(1).iter().count()
        ),
        ((Some(1), Some('a')), Some(1), 1)
    );
}

fn results_as_monads() {
    let parse = |text: &str| text.parse::<u8>().map_err(|error| error.to_string());
    assert_eq!(
        (
            parse("7").map(|number| number + 1),
            parse("x").or_else(|_| parse("9")),
            parse("300").is_err()
        ),
        (Ok(8), Ok(9), true)
    );
    assert_eq!(
        (
            Ok::<_, u8>(1).and(Ok::<_, u8>('b')),
            Err::<u8, _>(1).or(Ok::<_, u8>(3)),
            Err::<u8, _>("e").unwrap_or(4)
        ),
        (Ok('b'), Ok(3), 4)
    );
    assert_eq!(
        (
            Ok::<u8, &str>(1).err(),
            Err::<u8, _>("e").err(),
            Ok::<u8, u8>(1).is_ok_and(|number| number == 1)
        ),
        (None, Some("e"), true)
    );
}

fn results_copied_and_flattened() {
    assert_eq!(
        (
            Ok::<_, u8>(&1).copied(),
            Ok::<_, u8>(&1).cloned(),
            Ok::<_, u8>(2).as_ref()
        ),
        (Ok(1), Ok(1), Ok(&2))
    );
    assert_eq!(
        Ok::<Result<u8, &str>, &str>(Ok(1)).and_then(|inner| inner),
        Ok(1)
    );
}

fn question_mark_converts() {
    fn sum(texts: &[&str]) -> Result<i32, Box<dyn std::error::Error>> {
        let mut sum = 0;
        for text in texts {
            sum += text.parse::<i32>()?;
        }
        if sum > 100 {
            Err("too much")?
        }
        Ok(sum)
    }
    assert_eq!(sum(&["1", "2"]).ok(), Some(3));
    assert_eq!(
        sum(&["x"]).map_err(|error| error.to_string()),
        Err("invalid digit found in string".into())
    );
    assert_eq!(
        sum(&["101"]).map_err(|error| error.to_string()),
        Err("too much".into())
    );
}

fn ranges_contain() {
    assert!(
        (1..5).contains(&4)
            && !(1..5).contains(&5)
            && (1..=5).contains(&5)
            && (..3).contains(&-9)
            && (1.0..2.0).contains(&1.5)
    );
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is asked")]
    let backwards = 5..1;
    assert!(backwards.is_empty() && !(5..=5).is_empty() && (5..5).is_empty());
}

fn bounds() {
    assert_eq!(
        (
            (1..3).start_bound(),
            (..=3).end_bound(),
            (..).start_bound() as Bound<&u8>
        ),
        (Bound::Included(&1), Bound::Included(&3), Bound::Unbounded)
    );
    assert_eq!(
        Bound::Excluded(3).map(|number| number + 1),
        Bound::Excluded(4)
    );
    assert!((Bound::Excluded(1), Bound::Included(3)).contains(&3));
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Vector(f64, f64);
impl Add for Vector {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0, self.1 + other.1)
    }
}
impl AddAssign<f64> for Vector {
    fn add_assign(&mut self, by: f64) {
        *self = *self + Self(by, by);
    }
}
impl Neg for Vector {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0, -self.1)
    }
}
impl Not for Vector {
    type Output = bool;
    fn not(self) -> bool {
        self == Self(0.0, 0.0)
    }
}
impl Index<char> for Vector {
    type Output = f64;
    fn index(&self, axis: char) -> &f64 {
        if axis == 'x' { &self.0 } else { &self.1 }
    }
}
impl IndexMut<char> for Vector {
    fn index_mut(&mut self, axis: char) -> &mut f64 {
        if axis == 'x' {
            &mut self.0
        } else {
            &mut self.1
        }
    }
}

fn overloaded_operators() {
    let mut vector = Vector(1.0, 2.0) + -Vector(0.5, 0.5);
    vector += 1.0;
    vector['y'] *= 2.0;
    assert_eq!(
        (vector, vector['x'], !vector, !Vector(0.0, 0.0)),
        (Vector(1.5, 5.0), 1.5, false, true)
    );
}

fn orderings() {
    assert_eq!(
        (
            1.cmp(&2),
            Ordering::Less.reverse(),
            Ordering::Equal.then(Ordering::Greater),
            Ordering::Less.then_with(|| Ordering::Greater)
        ),
        (
            Ordering::Less,
            Ordering::Greater,
            Ordering::Greater,
            Ordering::Less
        )
    );
    assert!(Ordering::Less.is_lt() && Ordering::Equal.is_le() && Ordering::Greater.is_ne());
    assert_eq!(
        ((1, "b").cmp(&(1, "a")), 1.0.partial_cmp(&f64::NAN)),
        (Ordering::Greater, None)
    );
}

fn reversed_and_then() {
    let mut words = ["bb", "a", "cc"];
    words.sort_by(|one, other| {
        one.len()
            .cmp(&other.len())
            .reverse()
            .then_with(|| one.cmp(other))
    });
    assert_eq!(words, ["bb", "cc", "a"]);
    words.sort_by_key(|word| Reverse(*word));
    assert_eq!(words, ["cc", "bb", "a"]);
}

fn clamp_and_min_max() {
    assert_eq!(
        (
            7.clamp(1, 5),
            "b".max("a"),
            std::cmp::max_by_key(-3, 2, |number: &i32| number.abs()),
            3.min(2)
        ),
        (5, "b", -3, 2)
    );
}

fn ordering_of_derived() {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Grade {
        Low,
        Mid(u8),
        High { of: u8 },
    }
    assert!(
        Grade::Low < Grade::Mid(0)
            && Grade::Mid(9) < Grade::High { of: 0 }
            && Grade::Mid(1) < Grade::Mid(2)
    );
}

fn option_ordering() {
    assert!(None < Some(0) && Some(1) < Some(2) && Ok::<_, u8>(9) < Err(0));
}

fn drop_in_order() {
    let order = std::cell::RefCell::new(Vec::new());
    struct Tells<'a>(&'a std::cell::RefCell<Vec<u8>>, u8);
    impl Drop for Tells<'_> {
        fn drop(&mut self) {
            self.0.borrow_mut().push(self.1);
        }
    }
    {
        let _one = Tells(&order, 1);
        let _ = Tells(&order, 2);
        let _pair = (Tells(&order, 3), Tells(&order, 4));
        drop(Tells(&order, 5));
    }
    assert_eq!(order.take(), [2, 5, 3, 4, 1]);
}

fn shadowed_drops() {
    let count = std::cell::Cell::new(0);
    let value = super::Dropped(&count);
    let value = (value, count.get());
    assert_eq!((value.1, count.get()), (0, 0));
    let mut value = Some(value.0);
    value = value.take().filter(|_| false);
    assert!(value.is_none() && count.get() == 1);
}

fn deref_coerces() {
    struct Wraps(String);
    impl Deref for Wraps {
        type Target = String;
        fn deref(&self) -> &String {
            &self.0
        }
    }
    fn len(text: &str) -> usize {
        text.len()
    }
    assert_eq!(
        (len(&Wraps("abc".into())), Wraps("x".into()).to_uppercase()),
        (3, "X".into())
    );
}

fn closures_of_each_kind() {
    let mut count = 0;
    let mut adds = |by: i32| {
        count += by;
        count
    };
    assert_eq!((adds(1), adds(2)), (1, 3));
    let text = String::from("moved");
    let once = move || text;
    assert_eq!(once(), "moved");
    let boxed: Vec<Box<dyn Fn(i32) -> i32>> = (1..4)
        .map(|by| Box::new(move |number| number * by) as Box<dyn Fn(i32) -> i32>)
        .collect();
    assert_eq!(boxed.iter().fold(1, |number, times| times(number)), 6);
    let plain: fn(i32) -> i32 = |number| number + 1;
    assert_eq!([1, 2].map(plain), [2, 3]);
}

fn dyn_dispatch() {
    trait Speaks {
        fn speak(&self) -> String;
        fn twice(&self) -> String {
            self.speak().repeat(2)
        }
    }
    struct Dog;
    impl Speaks for Dog {
        fn speak(&self) -> String {
            "wau".into()
        }
    }
    impl Speaks for u8 {
        fn speak(&self) -> String {
            self.to_string()
        }
    }
    let all: [Box<dyn Speaks>; 2] = [Box::new(Dog), Box::new(7u8)];
    assert_eq!(
        all.iter()
            .map(|speaker| speaker.twice())
            .collect::<String>(),
        "wauwau77"
    );
}

fn try_from_and_into() {
    struct Even(u32);
    impl TryFrom<u32> for Even {
        type Error = String;
        fn try_from(number: u32) -> Result<Self, String> {
            if number.is_multiple_of(2) {
                Ok(Self(number))
            } else {
                Err(format!("{number} is odd"))
            }
        }
    }
    let four: Result<Even, _> = 4.try_into();
    assert_eq!(
        (four.map(|even| even.0), Even::try_from(5).err()),
        (Ok(4), Some("5 is odd".into()))
    );
    assert_eq!(
        (
            String::from("a"),
            Box::<str>::from("b"),
            <u64 as From<u32>>::from(3)
        ),
        ("a".into(), "b".into(), 3)
    );
}

fn index_of_ranges() {
    let text = "abcdef";
    assert_eq!(
        (&text[1..3], &text[..=1], &text[4..], &[1, 2, 3][1..]),
        ("bc", "ab", "ef", &[2, 3][..])
    );
}

fn let_else_and_chains() {
    let parse = |text: &str| -> i32 {
        let Some((name, value)) = text.split_once('=') else {
            return -1;
        };
        if let Ok(number) = value.parse::<i32>()
            && name == "x"
            && number > 0
        {
            number
        } else {
            0
        }
    };
    assert_eq!((parse("x=5"), parse("y=5"), parse("none")), (5, 0, -1));
}

fn as_deref() {
    assert_eq!(
        (
            Some(String::from("a")).as_deref(),
            Ok::<_, u8>(vec![1]).as_deref(),
            Some(Box::new(1)).as_deref()
        ),
        (Some("a"), Ok(&[1][..]), Some(&1))
    );
}

fn transposes() {
    assert_eq!(
        (
            Some(Ok::<_, u8>(1)).transpose(),
            Some(Err::<u8, _>(2)).transpose(),
            Ok::<_, u8>(None::<u8>).transpose()
        ),
        (Ok(Some(1)), Err(2), None)
    );
}

fn is_some_and() {
    assert!(
        Some(2).is_some_and(|number| number > 1)
            && None::<u8>.is_none_or(|_| false)
            && Err::<u8, _>(3).is_err_and(|error| error == 3)
    );
}

fn loops_with_values() {
    let mut number = 1;
    let found = loop {
        number *= 3;
        if number > 50 {
            break number;
        }
    };
    let pair = 'outer: {
        for one in 1..10 {
            for other in 1..10 {
                if one * other == 42 {
                    break 'outer Some((one, other));
                }
            }
        }
        None
    };
    assert_eq!((found, pair), (81, Some((6, 7))));
}

fn patterns_of_slices() {
    let describe = |numbers: &[i32]| match numbers {
        [] => "none".into(),
        [one] => format!("{one}"),
        [first, .., last] if first == last => format!("{first}..{first}"),
        [first, middle @ .., 9] => format!("{first} {} 9", middle.len()),
        [0 | 1, ..] => "low".into(),
        _ => String::from("other"),
    };
    assert_eq!(
        [
            describe(&[]),
            describe(&[5]),
            describe(&[5, 6, 5]),
            describe(&[1, 2, 3, 9]),
            describe(&[0, 2]),
            describe(&[7, 8])
        ],
        ["none", "5", "5..5", "1 2 9", "low", "other"]
    );
}

fn generic_consts() {
    fn sum<const N: usize>(numbers: [u32; N]) -> u32 {
        numbers.iter().sum::<u32>() * N as u32
    }
    const TABLE: [u32; 5] = {
        let mut table = [0; 5];
        let mut at = 0;
        while at < 5 {
            table[at] = (at * at) as u32;
            at += 1;
        }
        table
    };
    assert_eq!((sum([1, 2, 3]), sum(TABLE)), (18, 150));
}
