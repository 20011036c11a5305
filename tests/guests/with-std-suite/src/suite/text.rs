//! `str`: looking for, taking apart, changing.

tests! {
    find_by_each_pattern find_overlapping split_by_each_pattern splitn split_inclusive split_terminator
    rsplit split_once split_whitespace split_ascii_whitespace lines strip_and_trim trim_matches replace replacen
    matches match_indices starts_and_ends case_mapping case_of_sigma ascii_case escapes parse_integers
    bytes_and_get split_at char_count_by_hand find_in_long_texts two_way_search_as_naive
    encode_utf16_of_each split_of_empty trim_of_unicode rfind as_pointers_into is_ascii to_uppercase_that_grows
}

use super::Random;

fn find_by_each_pattern() {
    let text = "größer als größe";
    assert_eq!(text.find('ö'), Some(2));
    assert_eq!(text.find("größe"), Some(0));
    assert_eq!(text.find("als"), Some(9));
    assert_eq!(text.find(char::is_whitespace), Some(8));
    assert_eq!(text.find(['ß', 'ö']), Some(2));
    assert_eq!(text.find(&['l', 'x'][..]), Some(10));
    assert_eq!(text.find(&String::from("ße")), Some(4));
    assert_eq!((text.find("xyz"), text.find("")), (None, Some(0)));
}

fn rfind() {
    let text = "a-b-c";
    assert_eq!(
        (
            text.rfind('-'),
            text.rfind("b-"),
            text.rfind(""),
            text.rfind('x')
        ),
        (Some(3), Some(2), Some(5), None)
    );
}

fn find_overlapping() {
    assert_eq!("aaaa".matches("aa").count(), 2);
    assert_eq!(
        "ababab"
            .match_indices("aba")
            .map(|(at, _)| at)
            .collect::<Vec<_>>(),
        [0]
    );
    assert_eq!(
        "ababab"
            .rmatch_indices("aba")
            .map(|(at, _)| at)
            .collect::<Vec<_>>(),
        [2]
    );
}

fn split_by_each_pattern() {
    let all = |parts: &mut dyn Iterator<Item = &str>| {
        parts.map(str::to_owned).collect::<Vec<_>>().join("|")
    };
    assert_eq!(all(&mut "a,b,,c".split(',')), "a|b||c");
    assert_eq!(all(&mut "a--b---c".split("--")), "a|b|-c");
    assert_eq!(
        all(&mut "a1b22c".split(|letter: char| letter.is_ascii_digit())),
        "a|b||c"
    );
    assert_eq!(all(&mut "a b-c".split([' ', '-'])), "a|b|c");
    assert_eq!(all(&mut "aéb".split('é')), "a|b");
    assert_eq!(all(&mut "ab".split("")), "|a|b|");
}

fn split_of_empty() {
    assert_eq!("".split(',').collect::<Vec<_>>(), [""]);
    assert_eq!("".split_terminator(',').count(), 0);
    assert_eq!("".split_whitespace().count(), 0);
    assert_eq!("".lines().count(), 0);
    assert_eq!("".split("").collect::<Vec<_>>(), ["", ""]);
}

fn splitn() {
    assert_eq!("a b c d".splitn(2, ' ').collect::<Vec<_>>(), ["a", "b c d"]);
    assert_eq!(
        "a b c d".rsplitn(2, ' ').collect::<Vec<_>>(),
        ["d", "a b c"]
    );
    assert_eq!("a b".splitn(0, ' ').count(), 0);
    assert_eq!("a b".splitn(1, ' ').collect::<Vec<_>>(), ["a b"]);
}

fn split_inclusive() {
    assert_eq!(
        "a\nb\n\nc".split_inclusive('\n').collect::<Vec<_>>(),
        ["a\n", "b\n", "\n", "c"]
    );
    assert_eq!(
        "a\n".split_inclusive('\n').rev().collect::<Vec<_>>(),
        ["a\n"]
    );
}

fn split_terminator() {
    assert_eq!("a;b;".split_terminator(';').collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(
        "a;b;".rsplit_terminator(';').collect::<Vec<_>>(),
        ["b", "a"]
    );
    assert_eq!(";;".split_terminator(';').collect::<Vec<_>>(), ["", ""]);
}

fn rsplit() {
    assert_eq!("a.b.c".rsplit('.').collect::<Vec<_>>(), ["c", "b", "a"]);
    let mut parts = "a.b.c.d".split('.');
    assert_eq!(
        (
            parts.next(),
            parts.next_back(),
            parts.next(),
            parts.next_back(),
            parts.next()
        ),
        (Some("a"), Some("d"), Some("b"), Some("c"), None)
    );
}

fn split_once() {
    assert_eq!("a=b=c".split_once('='), Some(("a", "b=c")));
    assert_eq!("a=b=c".rsplit_once('='), Some(("a=b", "c")));
    assert_eq!("abc".split_once('='), None);
    assert_eq!("=".split_once('='), Some(("", "")));
}

fn split_whitespace() {
    let text = " \ta\u{a0}b\u{2003}c\u{3000}\n";
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(
        text.split_whitespace().rev().collect::<Vec<_>>(),
        ["c", "b", "a"]
    );
}

fn split_ascii_whitespace() {
    assert_eq!(
        " a\tb\u{a0}c\x0cd "
            .split_ascii_whitespace()
            .collect::<Vec<_>>(),
        ["a", "b\u{a0}c", "d"]
    );
}

fn lines() {
    assert_eq!(
        "a\nb\r\nc\n\nd\r".lines().collect::<Vec<_>>(),
        ["a", "b", "c", "", "d\r"]
    );
    assert_eq!("\n".lines().collect::<Vec<_>>(), [""]);
    assert_eq!("a\n".lines().collect::<Vec<_>>(), ["a"]);
}

fn strip_and_trim() {
    assert_eq!(
        (
            "--x".strip_prefix("--"),
            "x".strip_prefix('-'),
            "x.rs".strip_suffix(".rs")
        ),
        (Some("x"), None, Some("x"))
    );
    assert_eq!(
        (" a ".trim(), " a ".trim_start(), " a ".trim_end()),
        ("a", "a ", " a")
    );
    assert_eq!("  ".trim(), "");
}

fn trim_of_unicode() {
    assert_eq!("\u{feff}a\u{2028}".trim(), "\u{feff}a");
    assert_eq!("\u{85}\u{1680}a\u{200b}".trim(), "a\u{200b}");
}

fn trim_matches() {
    assert_eq!("xxaxx".trim_matches('x'), "a");
    assert_eq!("123a1".trim_start_matches(char::is_numeric), "a1");
    assert_eq!("ababc".trim_start_matches("ab"), "c");
    assert_eq!("cabab".trim_end_matches("ab"), "c");
}

fn replace() {
    assert_eq!("a.b.c".replace('.', "::"), "a::b::c");
    assert_eq!("aaa".replace("aa", "b"), "ba");
    assert_eq!("ab".replace("", "-"), "-a-b-");
    assert_eq!("größe".replace("ö", "oe").replace('ß', "ss"), "groesse");
    assert_eq!("abc".replace("x", "y"), "abc");
}

fn replacen() {
    assert_eq!("a.b.c".replacen('.', "-", 1), "a-b.c");
    assert_eq!("a.b.c".replacen('.', "-", 0), "a.b.c");
}

fn matches() {
    assert_eq!(
        "a1b2c3".matches(char::is_numeric).collect::<String>(),
        "123"
    );
    assert_eq!("a1b2".rmatches(char::is_numeric).collect::<String>(), "21");
}

fn match_indices() {
    assert_eq!(
        "éaéa".match_indices('a').collect::<Vec<_>>(),
        [(2, "a"), (5, "a")]
    );
    assert_eq!(
        "aXbX".rmatch_indices('X').collect::<Vec<_>>(),
        [(3, "X"), (1, "X")]
    );
}

fn starts_and_ends() {
    assert!("größe".starts_with("grö") && "größe".ends_with('e') && !"a".starts_with("ab"));
    assert!("".starts_with("") && "x".ends_with(""));
    assert!("7x".starts_with(char::is_numeric) && "x7".ends_with(char::is_numeric));
}

fn case_mapping() {
    for (text, lower, upper) in [
        ("Hello", "hello", "HELLO"),
        ("straße", "straße", "STRASSE"),
        ("ΑΒΓ", "αβγ", "ΑΒΓ"),
        ("ǅ", "ǆ", "Ǆ"),
        ("ﬀ", "ﬀ", "FF"),
        ("İ", "i\u{307}", "İ"),
        ("ı", "ı", "I"),
        ("Ünïcödé 42", "ünïcödé 42", "ÜNÏCÖDÉ 42"),
        ("жЖ", "жж", "ЖЖ"),
        ("𐐀", "𐐨", "𐐀"),
    ] {
        assert_eq!(
            (text.to_lowercase(), text.to_uppercase()),
            (lower.to_owned(), upper.to_owned()),
            "{text}"
        );
    }
}

fn case_of_sigma() {
    // At the end of a word it has a form of its own.
    assert_eq!("ΟΔΥΣΣΕΥΣ".to_lowercase(), "οδυσσευς");
    assert_eq!("Σ".to_lowercase(), "σ");
    assert_eq!("ΑΣ ΑΣΑ".to_lowercase(), "ας ασα");
    assert_eq!("ΑΣ'Α".to_lowercase(), "ασ'α");
}

fn to_uppercase_that_grows() {
    assert_eq!("ŉ".to_uppercase(), "ʼN");
    assert_eq!("ΐ".to_uppercase().chars().count(), 3);
    assert_eq!("ß".repeat(100).to_uppercase().len(), 200);
}

fn ascii_case() {
    assert_eq!("aÉz".to_ascii_uppercase(), "AÉZ");
    assert_eq!("AÉZ".to_ascii_lowercase(), "aÉz");
    let mut text = String::from("mixED é");
    text.make_ascii_uppercase();
    assert_eq!(text, "MIXED é");
}

fn escapes() {
    let text = "a\t\n\"'\\é\u{200b}\0\u{1}";
    assert_eq!(
        text.escape_default().to_string(),
        r#"a\t\n\"\'\\\u{e9}\u{200b}\u{0}\u{1}"#
    );
    assert_eq!(
        text.escape_debug().to_string(),
        r#"a\t\n\"\'\\é\u{200b}\0\u{1}"#
    );
    assert_eq!("aé".escape_unicode().to_string(), r"\u{61}\u{e9}");
    assert_eq!(b"a\xff\n".escape_ascii().to_string(), r"a\xff\n");
}

fn parse_integers() {
    assert_eq!(
        (
            "+7".parse::<u8>(),
            "-7".parse::<i8>().ok(),
            "007".parse::<u8>().ok()
        ),
        (Ok(7), Some(-7), Some(7))
    );
    for bad in ["", "+", "-", " 1", "1 ", "1_0", "0x1", "--1", "１"] {
        assert!(bad.parse::<i32>().is_err(), "{bad:?}");
    }
}

fn bytes_and_get() {
    let text = "aé";
    assert_eq!(text.bytes().rev().collect::<Vec<_>>(), [0xa9, 0xc3, b'a']);
    assert_eq!(
        (
            text.get(0..1),
            text.get(0..2),
            text.get(1..3),
            text.get(4..)
        ),
        (Some("a"), None, Some("é"), None)
    );
    assert_eq!(text.as_bytes()[1..], "é".as_bytes()[..]);
}

fn split_at() {
    assert_eq!("aéb".split_at(3), ("aé", "b"));
    assert_eq!("aéb".split_at_checked(2), None);
    let mut text = String::from("ab");
    let (one, other) = text.split_at_mut(1);
    one.make_ascii_uppercase();
    other.make_ascii_uppercase();
    assert_eq!(text, "AB");
}

/// Counting is done by words of many bytes.
fn char_count_by_hand() {
    let mut random = Random::new();
    for len in 0..200 {
        let text: String = (0..len)
            .map(|_| ['a', 'é', '€', '𝄞'][random.below(4)])
            .collect();
        assert_eq!(text.chars().count(), len);
    }
}

fn find_in_long_texts() {
    let text = format!("{}needle{}", "nee".repeat(500), "dle".repeat(500));
    assert_eq!(text.find("needle"), Some(1500));
    assert_eq!(text.find("needles"), None);
    let long = "ab".repeat(2000) + "aab";
    assert_eq!(
        (
            long.find("aab"),
            long.find(&"ab".repeat(2000)),
            long.rfind("baa")
        ),
        (Some(4000), Some(0), Some(3999))
    );
    assert!(long.contains(&("b".to_owned() + &"ab".repeat(300))));
}

fn two_way_search_as_naive() {
    let mut random = Random::new();
    for _ in 0..2000 {
        let letters = |random: &mut Random, len: usize| -> String {
            (0..len).map(|_| ['a', 'b'][random.below(2)]).collect()
        };
        let (text, needle) = (letters(&mut random, 40), letters(&mut random, 6));
        let naive = (0..=text.len() - needle.len()).find(|at| text[*at..].starts_with(&needle));
        assert_eq!(text.find(&needle), naive, "{needle} in {text}");
        let naive = (0..=text.len() - needle.len())
            .rev()
            .find(|at| text[*at..].starts_with(&needle));
        assert_eq!(text.rfind(&needle), naive, "{needle} in {text}");
    }
}

fn encode_utf16_of_each() {
    assert_eq!(
        "a\u{ffff}\u{10000}\u{10ffff}"
            .encode_utf16()
            .collect::<Vec<_>>(),
        [0x61, 0xffff, 0xd800, 0xdc00, 0xdbff, 0xdfff]
    );
}

fn as_pointers_into() {
    let text = String::from("abc def");
    let word = text.split(' ').nth(1).expect("two");
    assert_eq!(word.as_ptr() as usize - text.as_ptr() as usize, 4);
}

fn is_ascii() {
    for len in 0..70 {
        let text = "a".repeat(len);
        assert!(text.is_ascii());
        assert!(!(text + "é").is_ascii());
    }
}
