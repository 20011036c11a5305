//! `fmt`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Debug, Display, Formatter, Write as _},
};

tests! {
    width_and_alignment fill_of_any_character precision_cuts_texts arguments_by_place_and_name width_from_arguments
    debug_of_texts debug_pretty_structs debug_pretty_lists_and_maps debug_of_nested debug_helpers debug_non_exhaustive
    derive_on_each_shape alternate_in_elements pad_integral pad_of_unicode errors_stop pointers escapes_of_braces
    formatter_flags arguments_are_lazy write_to_string from_fn_by_hand debug_of_tuples_and_arrays debug_of_references
    display_of_wrappers formatting_options_by_hand sign_aware_zeros debug_padding_goes_inward lists_of_lines write_char_and_str
}

#[derive(Debug, Clone, Default)]
#[allow(dead_code, reason = "what is printed")]
struct Point {
    x: i32,
    y: Option<&'static str>,
}

#[derive(Debug)]
#[allow(dead_code, reason = "what is printed")]
enum Shape {
    Unit,
    Tuple(u8, char),
    Named { inner: Point },
}

#[derive(Debug)]
struct Empty;
#[derive(Debug)]
#[allow(dead_code, reason = "what is printed")]
struct Wraps(Vec<u8>);

fn width_and_alignment() {
    assert_eq!(
        format!("[{:5}] [{:<5}] [{:^5}] [{:>5}]", "ab", "ab", "ab", "ab"),
        "[ab   ] [ab   ] [ ab  ] [   ab]"
    );
    assert_eq!(
        format!("[{:5}] [{:<5}] [{:^5}] [{:1}]", 42, 42, 42, 12345),
        "[   42] [42   ] [ 42  ] [12345]"
    );
    assert_eq!(
        format!("[{:6}] [{:<6}] [{:6?}]", true, 'x', 7),
        "[true  ] [x     ] [     7]"
    );
}

fn fill_of_any_character() {
    assert_eq!(
        format!("{:*^9}|{:é>4}|{:}<3}|{:🦀<3}", "mid", "x", "y", 1),
        "***mid***|éééx|y}}|1🦀🦀"
    );
    assert_eq!(
        format!("{:#>+6}|{:0<4}|{:_<+6.1}", 42, 7, 1.25),
        "###+42|7000|+1.2__"
    );
}

fn precision_cuts_texts() {
    assert_eq!(
        format!(
            "{:.2}|{:.0}|{:.9}|{:5.1}|{:>5.2}",
            "äbc", "abc", "ab", "xyz", "xyz"
        ),
        "äb||ab|x    |   xy"
    );
}

fn arguments_by_place_and_name() {
    let name = "captured";
    assert_eq!(
        format!("{1} {0} {1} {} {x} {name}", "a", "b", x = 7),
        "b a b a 7 captured"
    );
    assert_eq!(format!("{0:?} {0} {0:>3}", 'q'), "'q' q   q");
}

fn width_from_arguments() {
    let (width, precision) = (7, 2);
    assert_eq!(
        format!("{:1$}|{:.*}|{:width$.precision$}", 1, 4, 2.0, 3.14159),
        "   1|2.0000|   3.14"
    );
    assert_eq!(
        format!("{:.*}|{:>2$}|{x:y$}", 3, 2.0, 6, x = "x", y = 3),
        "2.000|     6|x  "
    );
}

fn debug_of_texts() {
    assert_eq!(
        format!("{:?}", "a\"b\\\n\t\r\0'é\u{7f}\u{200b}"),
        r#""a\"b\\\n\t\r\0'é\u{7f}\u{200b}""#
    );
    assert_eq!(
        format!("{:?} {:?} {:?}", '\'', '"', '\n'),
        r#"'\'' '"' '\n'"#
    );
    assert_eq!(format!("{:?}", "\u{301}"), r#""\u{301}""#);
}

fn debug_pretty_structs() {
    let point = Point {
        x: -1,
        y: Some("up"),
    };
    assert_eq!(format!("{point:?}"), r#"Point { x: -1, y: Some("up") }"#);
    assert_eq!(
        format!("{point:#?}"),
        "Point {\n    x: -1,\n    y: Some(\n        \"up\",\n    ),\n}"
    );
    assert_eq!(
        format!("{:?} {:#?} {:?}", Empty, Empty, Wraps(vec![1])),
        "Empty Empty Wraps([1])"
    );
}

fn debug_pretty_lists_and_maps() {
    let map = BTreeMap::from([("k", vec![1, 2]), ("none", vec![])]);
    assert_eq!(format!("{map:?}"), r#"{"k": [1, 2], "none": []}"#);
    assert_eq!(
        format!("{map:#?}"),
        "{\n    \"k\": [\n        1,\n        2,\n    ],\n    \"none\": [],\n}"
    );
    assert_eq!(
        format!("{:?} {:#?}", BTreeSet::from(['b', 'a']), ()),
        "{'a', 'b'} ()"
    );
}

fn debug_of_nested() {
    let shape = Shape::Named {
        inner: Point::default(),
    };
    assert_eq!(
        format!("{shape:?}"),
        "Named { inner: Point { x: 0, y: None } }"
    );
    assert_eq!(
        format!("{shape:#?}"),
        "Named {\n    inner: Point {\n        x: 0,\n        y: None,\n    },\n}"
    );
}

fn derive_on_each_shape() {
    assert_eq!(
        format!("{:?} {:?}", Shape::Unit, Shape::Tuple(7, 'c')),
        "Unit Tuple(7, 'c')"
    );
    assert_eq!(
        format!("{:#?}", Shape::Tuple(7, 'c')),
        "Tuple(\n    7,\n    'c',\n)"
    );
}

fn debug_helpers() {
    struct By(u8);
    impl Debug for By {
        fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
            match self.0 {
                0 => to
                    .debug_struct("S")
                    .field("a", &1)
                    .field("b", &"x")
                    .finish(),
                1 => to.debug_tuple("T").field(&1).finish(),
                2 => to.debug_list().entries([1, 2]).entry(&"z").finish(),
                3 => to.debug_map().entry(&'k', &1).key(&'l').value(&2).finish(),
                4 => to.debug_set().entries([1]).finish(),
                _ => to.debug_struct("N").finish(),
            }
        }
    }
    let all: Vec<String> = (0..6).map(|shape| format!("{:?}", By(shape))).collect();
    assert_eq!(
        all,
        [
            "S { a: 1, b: \"x\" }",
            "T(1)",
            "[1, 2, \"z\"]",
            "{'k': 1, 'l': 2}",
            "{1}",
            "N"
        ]
    );
}

fn debug_non_exhaustive() {
    struct More;
    impl Debug for More {
        fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
            to.debug_struct("More")
                .field("a", &1)
                .finish_non_exhaustive()
        }
    }
    assert_eq!(
        format!("{More:?} {More:#?}"),
        "More { a: 1, .. } More {\n    a: 1,\n    ..\n}"
    );
}

fn alternate_in_elements() {
    assert_eq!(format!("{:#04x?}", [1, 17]), "[\n    0x01,\n    0x11,\n]");
    assert_eq!(format!("{:05.1?}", [1.25, -2.0]), "[001.2, -02.0]");
}

fn debug_padding_goes_inward() {
    assert_eq!(format!("{:4?}", Some(7)), "Some(   7)");
    assert_eq!(format!("{:>3?}", (1, 'a')), "(  1, 'a')");
}

fn pad_integral() {
    struct Signed(bool);
    impl Display for Signed {
        fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
            to.pad_integral(self.0, "0z", "42")
        }
    }
    assert_eq!(
        format!(
            "{}|{:+}|{:#}|{:#07}|{:6}",
            Signed(false),
            Signed(true),
            Signed(true),
            Signed(false),
            Signed(true)
        ),
        "-42|+42|0z42|-0z0042|    42"
    );
}

fn pad_of_unicode() {
    // Characters count, not what they look like.
    assert_eq!(
        format!("[{:4}] [{:>4}] [{:^5}]", "é€", "𝄞", "日本"),
        "[é€  ] [   𝄞] [ 日本  ]"
    );
}

fn errors_stop() {
    struct Fails;
    impl Display for Fails {
        fn fmt(&self, _to: &mut Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }
    let mut text = String::new();
    assert_eq!(write!(text, "before {Fails} after"), Err(fmt::Error));
    assert_eq!(text, "before ");
}

fn pointers() {
    let at = std::ptr::without_provenance::<u8>(0x1f);
    assert_eq!(
        format!("{at:p} {at:#p} {at:?} {:p}", std::ptr::null::<u8>()),
        "0x1f 0x000000000000001f 0x1f 0x0"
    );
    assert_eq!(format!("{at:8p}|"), "    0x1f|");
}

fn escapes_of_braces() {
    assert_eq!(format!("{{}} {{{}}} }}{{", 1), "{} {1} }{");
}

fn formatter_flags() {
    struct Shows;
    impl Display for Shows {
        fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
            let align = to.align().map(|align| match align {
                fmt::Alignment::Left => '<',
                fmt::Alignment::Right => '>',
                fmt::Alignment::Center => '^',
            });
            write!(
                to,
                "{:?} {:?} {:?} {} {} {} {}",
                align,
                to.width(),
                to.precision(),
                to.fill(),
                to.alternate(),
                to.sign_plus(),
                to.sign_aware_zero_pad()
            )
        }
    }
    assert_eq!(format!("{Shows}"), "None None None   false false false");
    assert_eq!(
        format!("{Shows:x^+#09.3}"),
        "Some('^') Some(9) Some(3) x true true true"
    );
}

fn arguments_are_lazy() {
    let arguments = format_args!("constant");
    assert_eq!(arguments.as_str(), Some("constant"));
    assert_eq!(fmt::format(format_args!("{}-{}", 1, 2)), "1-2");
}

fn write_to_string() {
    let mut text = String::new();
    writeln!(text, "a{}", 1).expect("room");
    write!(text, "b").expect("room");
    writeln!(text).expect("room");
    assert_eq!(text, "a1\nb\n");
}

fn write_char_and_str() {
    struct Counts(usize);
    impl fmt::Write for Counts {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 += text.len();
            Ok(())
        }
    }
    let mut counts = Counts(0);
    counts.write_char('€').expect("counted");
    write!(counts, "{:>10}{:?}", "x", "y").expect("counted");
    assert_eq!(counts.0, 16);
}

fn from_fn_by_hand() {
    let list = |numbers: &[u8]| -> String {
        numbers.iter().fold(String::new(), |mut text, number| {
            let _ = write!(text, "<{number}>");
            text
        })
    };
    assert_eq!(list(&[1, 2]), "<1><2>");
    assert_eq!(fmt::from_fn(|to| to.write_str("made")).to_string(), "made");
}

fn debug_of_tuples_and_arrays() {
    assert_eq!(
        format!(
            "{:?} {:?} {:?} {:?}",
            (1,),
            (1, "a", 'b'),
            [0u8; 3],
            [(); 2]
        ),
        "(1,) (1, \"a\", 'b') [0, 0, 0] [(), ()]"
    );
    assert_eq!(
        format!("{:?} {:?} {:?} {:?} {:?}", 1..2, ..=3, .., 4.., ..5),
        "1..2 ..=3 .. 4.. ..5"
    );
}

fn debug_of_references() {
    let text = String::from("t");
    assert_eq!(
        format!(
            "{:?} {:?} {:?} {:?}",
            &&text,
            Box::new(1),
            std::rc::Rc::new('c'),
            std::cell::RefCell::new(5)
        ),
        "\"t\" 1 'c' RefCell { value: 5 }"
    );
}

fn display_of_wrappers() {
    let boxed: Box<dyn std::error::Error> = "why".into();
    assert_eq!(
        format!("{boxed} {boxed:?} {}", std::borrow::Cow::Borrowed("c")),
        "why \"why\" c"
    );
}

fn formatting_options_by_hand() {
    struct Both;
    impl Display for Both {
        fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
            if to.alternate() {
                to.write_str("long")
            } else {
                to.pad("short")
            }
        }
    }
    assert_eq!(
        format!("{Both}|{Both:#}|{Both:8}|{Both:.2}"),
        "short|long|short   |sh"
    );
}

fn sign_aware_zeros() {
    assert_eq!(
        format!("{:05}|{:+05}|{:#06x}|{:<05}|{:^+07}", -7, 7, 255, 7, 7),
        "-0007|+0007|0x00ff|00007|+000007"
    );
}

fn lists_of_lines() {
    let nested = vec![vec!["a\nb"], vec![]];
    assert_eq!(
        format!("{nested:#?}"),
        "[\n    [\n        \"a\\nb\",\n    ],\n    [],\n]"
    );
}
