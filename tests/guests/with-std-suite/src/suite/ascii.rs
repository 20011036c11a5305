//! Bytes as ASCII.

tests! { classes cases escapes of_each_byte }

fn of_each_byte() {
    for byte in 0..=255u8 {
        let kinds = [
            byte.is_ascii_control(),
            byte.is_ascii_graphic(),
            byte == b' ',
        ];
        assert_eq!(
            kinds.iter().filter(|is| **is).count(),
            usize::from(byte < 128),
            "{byte}"
        );
        assert_eq!(
            byte.is_ascii_alphanumeric(),
            byte.is_ascii_alphabetic() || byte.is_ascii_digit()
        );
        assert_eq!(
            byte.is_ascii_graphic(),
            byte.is_ascii_alphanumeric() || byte.is_ascii_punctuation()
        );
    }
}

fn classes() {
    assert!(
        b'f'.is_ascii_hexdigit()
            && !b'g'.is_ascii_hexdigit()
            && b'\t'.is_ascii_whitespace()
            && !b'\x0b'.is_ascii_whitespace()
    );
    assert!(b'@'.is_ascii_punctuation() && b'7'.is_ascii_digit() && !0xe9u8.is_ascii_alphabetic());
}

fn cases() {
    assert_eq!(
        (
            b'a'.to_ascii_uppercase(),
            b'Z'.to_ascii_lowercase(),
            b'['.to_ascii_lowercase(),
            0xe9u8.to_ascii_uppercase()
        ),
        (b'A', b'z', b'[', 0xe9)
    );
    assert!(b"HeLLo"[..].eq_ignore_ascii_case(b"hEllO"));
}

fn escapes() {
    let escaped = |byte: u8| std::ascii::escape_default(byte).to_string();
    assert_eq!(
        [
            escaped(b'\n'),
            escaped(b'a'),
            escaped(0x9d),
            escaped(b'\''),
            escaped(0)
        ],
        ["\\n", "a", "\\x9d", "\\'", "\\x00"]
    );
}
