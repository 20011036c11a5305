//! `char`.

tests! {
    classes_of_ascii classes_of_unicode digits_of_each_base lengths encodes cases_of_each_length
    from_and_to_numbers ranges_leave_out_surrogates escapes steps compares try_from ascii_conversions
    to_lowercase_twice_is_once numeric_and_control
}

fn classes_of_ascii() {
    for number in 0u8..128 {
        let letter = char::from(number);
        assert_eq!(letter.is_alphabetic(), letter.is_ascii_alphabetic());
        assert_eq!(letter.is_ascii_digit(), letter.is_digit(10));
        assert_eq!(letter.is_ascii_hexdigit(), letter.is_digit(16));
        assert_eq!(letter.is_control(), letter.is_ascii_control());
        assert_eq!(letter.is_uppercase(), letter.is_ascii_uppercase());
        // The vertical tab is white space, but not in what ASCII means here.
        assert_eq!(
            letter.is_whitespace(),
            letter.is_ascii_whitespace() || letter == '\x0b'
        );
    }
}

fn classes_of_unicode() {
    assert!(
        'é'.is_alphabetic() && '京'.is_alphabetic() && 'ª'.is_alphabetic() && !'٣'.is_alphabetic()
    );
    assert!(
        'Δ'.is_uppercase() && 'δ'.is_lowercase() && !'京'.is_lowercase() && !'京'.is_uppercase()
    );
    assert!('\u{3000}'.is_whitespace() && '\u{a0}'.is_whitespace() && !'\u{200b}'.is_whitespace());
    assert!('京'.is_alphanumeric() && '٣'.is_alphanumeric() && !'€'.is_alphanumeric());
}

fn numeric_and_control() {
    assert!('٣'.is_numeric() && '½'.is_numeric() && '①'.is_numeric() && !'a'.is_numeric());
    assert!('\u{85}'.is_control() && '\u{7f}'.is_control() && !'\u{ad}'.is_control());
}

fn digits_of_each_base() {
    for base in 2..=36 {
        for digit in 0..base {
            let letter = char::from_digit(digit, base).expect("a digit");
            assert_eq!(letter.to_digit(base), Some(digit));
            assert_eq!(letter.to_ascii_uppercase().to_digit(base), Some(digit));
            assert_eq!(letter.is_digit(base), true);
        }
        assert_eq!(char::from_digit(base, base), None);
    }
    assert_eq!(
        ('z'.to_digit(35), '٣'.to_digit(10), '-'.to_digit(36)),
        (None, None, None)
    );
}

fn lengths() {
    for (letter, utf8, utf16) in [
        ('\0', 1, 1),
        ('\u{7f}', 1, 1),
        ('\u{80}', 2, 1),
        ('\u{7ff}', 2, 1),
        ('\u{800}', 3, 1),
        ('\u{ffff}', 3, 1),
        ('\u{10000}', 4, 2),
        (char::MAX, 4, 2),
    ] {
        assert_eq!((letter.len_utf8(), letter.len_utf16()), (utf8, utf16));
    }
}

fn encodes() {
    let mut bytes = [0; 4];
    assert_eq!('é'.encode_utf8(&mut bytes), "é");
    assert_eq!(bytes, [0xc3, 0xa9, 0, 0]);
    let mut units = [0; 2];
    assert_eq!('𝄞'.encode_utf16(&mut units), [0xd834, 0xdd1e]);
}

fn cases_of_each_length() {
    let upper = |letter: char| letter.to_uppercase().collect::<String>();
    assert_eq!(
        (upper('a'), upper('ß'), upper('ΐ'), upper('1')),
        (
            "A".into(),
            "SS".into(),
            "Ι\u{308}\u{301}".into(),
            "1".into()
        )
    );
    assert_eq!('İ'.to_lowercase().len(), 2);
    assert_eq!('ß'.to_uppercase().to_string(), "SS");
    assert_eq!('ſ'.to_uppercase().next(), Some('S'));
}

fn to_lowercase_twice_is_once() {
    for letter in '\0'..='\u{2fff}' {
        let lower: String = letter.to_lowercase().collect();
        assert_eq!(lower.to_lowercase(), lower);
    }
}

fn from_and_to_numbers() {
    assert_eq!(
        (char::from_u32(0x20ac), u32::from('€'), '€' as u32),
        (Some('€'), 0x20ac, 0x20ac)
    );
    assert_eq!(
        (
            u8::try_from('é').ok(),
            u8::try_from('€').ok(),
            u16::try_from('𝄞').ok()
        ),
        (Some(0xe9), None, None)
    );
    assert_eq!(char::from(0xe9), 'é');
}

fn try_from() {
    assert!(char::try_from(0xd800u32).is_err() && char::try_from(0x11_0000u32).is_err());
    assert_eq!(char::try_from(0x61u32).ok(), Some('a'));
}

fn ranges_leave_out_surrogates() {
    assert_eq!(('\u{d7fe}'..='\u{e001}').count(), 4);
    assert_eq!(('\u{d7ff}'..'\u{e000}').count(), 1);
    assert_eq!(('\0'..=char::MAX).count(), 0x11_0000 - 0x800);
    assert_eq!(('a'..='e').rev().step_by(2).collect::<String>(), "eca");
}

fn escapes() {
    assert_eq!(
        (
            '\n'.escape_default().to_string(),
            '\u{e9}'.escape_default().to_string()
        ),
        (r"\n".into(), r"\u{e9}".into())
    );
    assert_eq!(
        (
            'é'.escape_debug().to_string(),
            '\u{301}'.escape_debug().to_string()
        ),
        ("é".into(), r"\u{301}".into())
    );
    assert_eq!('a'.escape_unicode().len(), 6);
}

fn steps() {
    assert_eq!(('a'..'d').nth(2), Some('c'));
    assert_eq!(('a'..='c').next_back(), Some('c'));
    assert!(('a'..='z').contains(&'q'));
}

fn compares() {
    assert!('Z' < 'a' && 'z' < 'é' && '\u{ffff}' < '\u{10000}');
    assert!('a'.eq_ignore_ascii_case(&'A') && !'é'.eq_ignore_ascii_case(&'É'));
}

fn ascii_conversions() {
    assert_eq!(
        (
            'é'.to_ascii_uppercase(),
            'z'.to_ascii_uppercase(),
            'Z'.to_ascii_lowercase()
        ),
        ('é', 'Z', 'z')
    );
}
