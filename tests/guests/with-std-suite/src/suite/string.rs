//! `String`.

use std::{borrow::Cow, char};

use super::Random;

tests! {
    push_and_pop insert_and_remove truncate_at_characters drain_and_replace_range retain split_off
    from_utf8_tells_where from_utf8_lossy_replaces from_utf8_lossy_of_truncated from_utf16_of_good_and_bad
    room from_characters extend into_boxed_and_bytes add_and_format cow try_reserve_of_too_much
    random_steps_as_characters repeat from_utf8_of_every_boundary leak to_string_of_everything parses_as_itself
    comparisons collects_of_options as_mut_vec chars_from_both_ends
}

fn push_and_pop() {
    let mut text = String::new();
    for letter in ['a', 'é', '€', '𝄞', '\0'] {
        text.push(letter);
    }
    text.push_str("zz");
    assert_eq!(text.len(), 1 + 2 + 3 + 4 + 1 + 2);
    let all: Vec<char> = std::iter::from_fn(|| text.pop()).collect();
    assert_eq!(all, ['z', 'z', '\0', '𝄞', '€', 'é', 'a']);
}

fn insert_and_remove() {
    let mut text = String::from("aé𝄞");
    text.insert(1, '€');
    text.insert_str(0, "->");
    assert_eq!(text, "->a€é𝄞");
    assert_eq!((text.remove(2), text.remove(2)), ('a', '€'));
    assert_eq!(text, "->é𝄞");
}

fn truncate_at_characters() {
    let mut text = String::from("aé€");
    text.truncate(100);
    assert_eq!(text, "aé€");
    text.truncate(3);
    assert_eq!(text, "aé");
    text.clear();
    assert!(text.is_empty());
    assert!(!"é".is_char_boundary(1) && "é".is_char_boundary(2) && !"é".is_char_boundary(3));
}

fn drain_and_replace_range() {
    let mut text = String::from("α is alpha");
    assert_eq!(text.drain(..2).collect::<String>(), "α");
    assert_eq!(text, " is alpha");
    text.replace_range(1..3, "was");
    text.replace_range(..0, "β");
    text.replace_range(text.len().., "!");
    assert_eq!(text, "β was alpha!");
}

fn retain() {
    let mut text = String::from("a1é2€3");
    text.retain(|letter| !letter.is_ascii_digit());
    assert_eq!(text, "aé€");
}

fn split_off() {
    let mut text = String::from("hallo wörld");
    assert_eq!(text.split_off(6), "wörld");
    assert_eq!(text, "hallo ");
}

fn from_utf8_tells_where() {
    for (bytes, valid, error_len) in [
        (&b"ab\xffcd"[..], 2, Some(1)),
        (b"\xc3", 0, None),
        (b"a\xe2\x82", 1, None),
        (b"a\xe2\x28\xa1", 1, Some(1)),
        (b"\xf0\x9d\x84", 0, None),
        (b"\xf0\x9d\x28\xbc", 0, Some(2)),
        (b"\xed\xa0\x80", 0, Some(1)),
        (b"\xc0\x80", 0, Some(1)),
        (b"\xe0\x80\x80", 0, Some(1)),
        (b"\xf4\x90\x80\x80", 0, Some(1)),
        (b"abc\x80", 3, Some(1)),
    ] {
        let error = std::str::from_utf8(bytes).expect_err("it is none");
        assert_eq!(
            (error.valid_up_to(), error.error_len()),
            (valid, error_len),
            "{bytes:x?}"
        );
        let error = String::from_utf8(bytes.to_vec()).expect_err("it is none");
        assert_eq!(error.into_bytes(), bytes);
    }
}

fn from_utf8_lossy_replaces() {
    for (bytes, text) in [
        (&b"good \xc3\xa9"[..], "good é"),
        (b"a\xffb", "a\u{fffd}b"),
        (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        (b"\xe2\x82\xe2\x82\xac", "\u{fffd}€"),
        (b"\xf0\x9d\x84x", "\u{fffd}x"),
        (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
        (b"\xf5\x80", "\u{fffd}\u{fffd}"),
    ] {
        assert_eq!(String::from_utf8_lossy(bytes), text, "{bytes:x?}");
        let by_chunks = bytes.utf8_chunks().fold(String::new(), |text, chunk| {
            let end = if chunk.invalid().is_empty() {
                ""
            } else {
                "\u{fffd}"
            };
            text + chunk.valid() + end
        });
        assert_eq!(by_chunks, text);
    }
    assert!(matches!(
        String::from_utf8_lossy(b"plain"),
        Cow::Borrowed("plain")
    ));
    let chunks: Vec<_> = b"a\xffb\xc3"
        .utf8_chunks()
        .map(|chunk| (chunk.valid(), chunk.invalid().to_vec()))
        .collect();
    assert_eq!(chunks, [("a", vec![0xff]), ("b", vec![0xc3])]);
}

fn from_utf8_lossy_of_truncated() {
    let text = "aé€𝄞z";
    for end in 0..=text.len() {
        let lossy = String::from_utf8_lossy(&text.as_bytes()[..end]);
        if text.is_char_boundary(end) {
            assert_eq!(lossy, text[..end]);
        } else {
            assert_eq!(
                lossy.chars().filter(|letter| *letter == '\u{fffd}').count(),
                1
            );
        }
    }
}

fn from_utf16_of_good_and_bad() {
    let units: Vec<u16> = "a€𝄞".encode_utf16().collect();
    assert_eq!(units, [0x61, 0x20ac, 0xd834, 0xdd1e]);
    assert_eq!(String::from_utf16(&units).expect("good"), "a€𝄞");
    assert!(String::from_utf16(&[0xd834]).is_err());
    assert!(String::from_utf16(&[0xdd1e, 0x61]).is_err());
    assert_eq!(
        String::from_utf16_lossy(&[0xd834, 0x61, 0xdd1e]),
        "\u{fffd}a\u{fffd}"
    );
    let decoded: Vec<_> = char::decode_utf16([0xd834, 0xdd1e, 0xd800])
        .map(|found| found.map_err(|error| error.unpaired_surrogate()))
        .collect();
    assert_eq!(decoded, [Ok('𝄞'), Err(0xd800)]);
}

fn room() {
    let mut text = String::with_capacity(10);
    let at = text.as_ptr();
    text.push_str("0123456789");
    assert_eq!(text.as_ptr(), at);
    text.reserve(100);
    assert!(text.capacity() >= 110);
    text.shrink_to_fit();
    assert!(text.capacity() < 110);
    assert_eq!(text, "0123456789");
}

fn from_characters() {
    assert_eq!(['a', 'é'].iter().collect::<String>(), "aé");
    assert_eq!(["a", "bc"].into_iter().collect::<String>(), "abc");
    assert_eq!(String::from('€'), "€");
    assert_eq!(["a".to_owned(), "b".to_owned()].concat(), "ab");
    assert_eq!(["a", "b", "c"].join(", "), "a, b, c");
    assert_eq!(<[&str; 0]>::default().join(","), "");
}

fn extend() {
    let mut text = String::from("a");
    text.extend(['b', 'c']);
    text.extend(["de", "f"]);
    text.extend([String::from("g")]);
    text.extend(&['h']);
    text.extend([Cow::Borrowed("i")]);
    assert_eq!(text, "abcdefghi");
    text.extend_from_within(7..);
    assert_eq!(text, "abcdefghihi");
}

fn into_boxed_and_bytes() {
    let boxed = String::from("té").into_boxed_str();
    assert_eq!((boxed.len(), &*boxed), (3, "té"));
    assert_eq!(boxed.into_string().into_bytes(), [b't', 0xc3, 0xa9]);
}

fn add_and_format() {
    let one = String::from("a");
    let both = one + "b" + &String::from("c");
    assert_eq!(both, "abc");
    let mut more = both.clone();
    more += "d";
    assert_eq!(format!("{both}-{more}"), "abc-abcd");
}

fn cow() {
    let clean = |text: &str| -> bool {
        let cow = if text.contains(' ') {
            Cow::Owned(text.replace(' ', ""))
        } else {
            Cow::Borrowed(text)
        };
        matches!(cow, Cow::Borrowed(_))
    };
    assert!(clean("ab") && !clean("a b"));
    let mut cow = Cow::Borrowed("a");
    cow += "";
    assert!(matches!(cow, Cow::Borrowed("a")));
    cow.to_mut().push('b');
    assert_eq!(cow + "c", "abc");
}

fn try_reserve_of_too_much() {
    let mut text = String::from("kept");
    assert!(text.try_reserve(usize::MAX).is_err());
    assert!(text.try_reserve_exact(1 << 60).is_err());
    assert_eq!(text, "kept");
}

fn random_steps_as_characters() {
    let mut random = Random::new();
    let (mut text, mut model) = (String::new(), Vec::<char>::new());
    let alphabet = [
        'a',
        'ß',
        '€',
        '𝄞',
        '\u{7ff}',
        '\u{800}',
        '\u{ffff}',
        '\u{10ffff}',
    ];
    for _ in 0..2000 {
        let letter = alphabet[random.below(alphabet.len())];
        match random.below(5) {
            0 | 1 => {
                text.push(letter);
                model.push(letter);
            }
            2 => assert_eq!(text.pop(), model.pop()),
            3 => {
                let at = random.below(model.len() + 1);
                let byte = text
                    .char_indices()
                    .nth(at)
                    .map_or(text.len(), |(byte, _)| byte);
                text.insert(byte, letter);
                model.insert(at, letter);
            }
            _ if model.len() > 30 => {
                text.retain(|other| other != letter);
                model.retain(|other| *other != letter);
            }
            _ => {}
        }
    }
    assert!(text.chars().eq(model.iter().copied()));
    assert!(text.chars().rev().eq(model.iter().rev().copied()));
}

fn repeat() {
    assert_eq!("ab".repeat(3), "ababab");
    assert_eq!("ab".repeat(0), "");
    assert_eq!("".repeat(1000), "");
    assert_eq!("é".repeat(1025).chars().count(), 1025);
}

fn from_utf8_of_every_boundary() {
    // The first and the last of each length, and what is just beside them.
    for number in [
        0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x1_0000, 0x10_ffff,
    ] {
        let letter = char::from_u32(number).expect("a character");
        let mut room = [0; 4];
        let bytes = letter.encode_utf8(&mut room).as_bytes();
        assert_eq!(
            std::str::from_utf8(bytes).expect("good").chars().next(),
            Some(letter)
        );
        if bytes.len() > 1 {
            assert!(std::str::from_utf8(&bytes[1..]).is_err());
            assert!(std::str::from_utf8(&bytes[..bytes.len() - 1]).is_err());
        }
    }
    for number in [0xd800, 0xdfff, 0x11_0000, u32::MAX] {
        assert_eq!(char::from_u32(number), None);
    }
}

fn leak() {
    let text: &'static mut str = String::from("leaked").leak();
    text.make_ascii_uppercase();
    assert_eq!(text, "LEAKED");
}

fn to_string_of_everything() {
    assert_eq!(
        true.to_string() + &1u8.to_string() + &'x'.to_string() + &(-1.5).to_string(),
        "true1x-1.5"
    );
    assert_eq!(format_args!("{}{}", 1, "a").to_string(), "1a");
}

fn parses_as_itself() {
    assert_eq!("text".parse::<String>().as_deref(), Ok("text"));
    assert_eq!(
        (
            "x".parse::<char>().ok(),
            "xy".parse::<char>().ok(),
            "".parse::<char>().ok()
        ),
        (Some('x'), None, None)
    );
    assert_eq!(
        ("true".parse::<bool>().ok(), "True".parse::<bool>().ok()),
        (Some(true), None)
    );
}

fn comparisons() {
    assert!(String::from("Z") < String::from("a"));
    assert!("z" < "é" && "\u{ffff}" < "\u{10000}");
    assert_eq!(String::from("a"), *"a");
    assert_eq!("a", Cow::Borrowed("a"));
    assert!("Straße".eq_ignore_ascii_case("sTRAßE") && !"ß".eq_ignore_ascii_case("SS"));
}

fn collects_of_options() {
    assert_eq!(
        [Some("a"), Some("b")]
            .into_iter()
            .collect::<Option<String>>()
            .as_deref(),
        Some("ab")
    );
    assert_eq!(
        [Some("a"), None].into_iter().collect::<Option<String>>(),
        None
    );
}

fn as_mut_vec() {
    let mut text = String::from("abc");
    // SAFETY: what is written is ASCII.
    let bytes = unsafe { text.as_mut_vec() };
    bytes[1] = b'x';
    assert_eq!(text, "axc");
}

fn chars_from_both_ends() {
    let mut letters = "aé€𝄞".chars();
    assert_eq!(
        (letters.next(), letters.next_back()),
        (Some('a'), Some('𝄞'))
    );
    assert_eq!(letters.as_str(), "é€");
    let places: Vec<_> = "aé€".char_indices().rev().collect();
    assert_eq!(places, [(3, '€'), (1, 'é'), (0, 'a')]);
}
