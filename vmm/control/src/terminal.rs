//! Text of strangers, fit to be shown: what a guest logs or says at its end, names in an image, answers of an agent.
//!
//! ```text
//! Untrusted   many lines: those after the first are indented, so that none looks like a record of its own
//! Line        one line, for a cell of a table or a name
//! write_body  what a handler returned, which stands alone: spelled out on a terminal, and data everywhere else
//! ```
//!
//! Everything that reaches a terminal, or a text that people read on one, goes through here. JSON does not: it is data,
//! and stays as it is.

use std::{
    fmt::{self, Display, Write},
    io,
};

/// What stands before each line but the first of one text.
pub const INDENT: &str = "    ";

/// Whether a terminal obeys this character, or shows something else than what is there: controls of ISO 6429, with
/// which a text moves the cursor, sets the title or fills the clipboard; line ends of Unicode; and what is invisible
/// or turns the order of reading (Default_Ignorable_Code_Point of Unicode 16, without the variation selectors
/// U+FE00 to U+FE0F, which emoji need and which change no more than a glyph).
pub fn is_deceptive(character: char) -> bool {
    match character {
        ' '..='~' => false,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        '\u{2028}' | '\u{2029}' => true,
        // Soft hyphen, grapheme joiner, Arabic letter mark, fillers of Hangul and Khmer, selectors of Mongolian.
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' => {
            true
        }
        '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{ffa0}' => true,
        // Zero-width characters and marks of direction; embeddings and overrides; joiners and isolates.
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        // Byte order mark, specials; shorthand and music controls; tags and more variation selectors.
        '\u{feff}' | '\u{fff0}'..='\u{fffb}' => true,
        '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}

/// Text of a stranger. Deceptive characters are spelled out, but for tabs; each line after the first is indented, and
/// a line end at the end is left out.
#[derive(Clone, Copy, Debug)]
pub struct Untrusted<'a>(pub &'a str);

impl Display for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.strip_suffix('\n').unwrap_or(self.0);
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                f.write_char('\n')?;
                f.write_str(INDENT)?;
            }
            spell(f, line, |tab| tab == '\t')?;
        }
        Ok(())
    }
}

/// Text of a stranger in one line: line ends and tabs become blanks, other deceptive characters are spelled out.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a>(pub &'a str);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |character: char| !is_deceptive(character);
        if self.0.chars().all(is_plain) {
            return f.pad(self.0);
        }
        let mut text = String::with_capacity(self.0.len() + 16);
        spell(&mut text, &self.0.replace(['\n', '\t'], " "), |_| false)?;
        f.pad(&text)
    }
}

/// Writes what a handler returned: byte for byte, so that it can be redirected. On a terminal deceptive characters are
/// spelled out, but for line ends and tabs, what is no text is replaced, and the last line is ended.
pub fn write_body(out: &mut impl io::Write, body: &[u8], is_terminal: bool) -> io::Result<()> {
    if !is_terminal {
        return out.write_all(body);
    }
    let body = String::from_utf8_lossy(body);
    let mut text = String::with_capacity(body.len() + 1);
    // Writing to a string cannot fail.
    let _ = spell(&mut text, &body, |allowed| matches!(allowed, '\n' | '\t'));
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    out.write_all(text.as_bytes())
}

/// Writes `text` with deceptive characters spelled out as in Rust, unless they are `allowed`.
fn spell(to: &mut impl Write, text: &str, allowed: fn(char) -> bool) -> fmt::Result {
    let mut rest = text;
    let is_spelled = |character| is_deceptive(character) && !allowed(character);
    while let Some(at) = rest.find(is_spelled) {
        let (plain, from) = rest.split_at(at);
        to.write_str(plain)?;
        let mut characters = from.chars();
        if let Some(character) = characters.next() {
            write!(to, "{}", character.escape_default())?;
        }
        rest = characters.as_str();
    }
    to.write_str(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_deceives_comes_through() {
        let controls = ('\0'..='\u{1f}').chain('\u{7f}'..='\u{9f}');
        let directions = ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
        let zero_width = ('\u{200b}'..='\u{200f}').chain(['\u{feff}', '\u{ad}', '\u{2060}']);
        let lines = ['\u{2028}', '\u{2029}', '\u{85}'];
        let tags = '\u{e0001}'..='\u{e007f}';
        for character in controls
            .chain(directions)
            .chain(zero_width)
            .chain(lines)
            .chain(tags)
        {
            let text = format!("a{character}b");
            let line = Line(&text).to_string();
            let shown = Untrusted(&text).to_string();
            let expected = format!("a{}b", character.escape_default());
            match character {
                '\n' => assert_eq!((&*line, &*shown), ("a b", "a\n    b")),
                '\t' => assert_eq!((&*line, &*shown), ("a b", "a\tb")),
                _ => assert_eq!((line, shown), (expected.clone(), expected), "{character:?}"),
            }
        }
    }

    /// All of Unicode's controls, formats and separators of lines (Cc, Cf, Zl, Zp of version 16) but visible signs around
    /// numbers and hieroglyphs.
    #[test]
    fn the_table_knows_each_format_character() {
        let formats: [std::ops::RangeInclusive<u32>; 15] = [
            0xad..=0xad,
            0x61c..=0x61c,
            0x180e..=0x180e,
            0x200b..=0x200f,
            0x2028..=0x2029,
            0x202a..=0x202e,
            0x2060..=0x2064,
            0x2066..=0x206f,
            0xfeff..=0xfeff,
            0xfff9..=0xfffb,
            0x1bca0..=0x1bca3,
            0x1d173..=0x1d17a,
            0xe0001..=0xe0001,
            0xe0020..=0xe007f,
            0x7f..=0x9f,
        ];
        for number in formats.into_iter().flatten() {
            let character = char::from_u32(number).expect("a character");
            assert!(is_deceptive(character), "{number:#x}");
        }
    }

    #[test]
    fn text_of_people_stays_as_it_is() {
        for text in [
            "größer",
            "日本語　全角",
            "עברית",
            "naïve e\u{301}",
            "❤\u{fe0f}",
            "a\u{a0}b",
            "\\u{1b}",
            "\u{fffd}",
        ] {
            assert_eq!(Untrusted(text).to_string(), text);
            assert_eq!(Line(text).to_string(), text);
        }
    }

    #[test]
    fn a_body_is_data_but_on_a_terminal() {
        let check = |body: &[u8], on_terminal: &str| {
            let mut out = vec![];
            write_body(&mut out, body, false).expect("a vector takes all");
            assert_eq!(out, body);
            out.clear();
            write_body(&mut out, body, true).expect("a vector takes all");
            assert_eq!(out, on_terminal.as_bytes());
        };
        check(b"", "");
        check(
            "{\n\t\"größer\": 1\n}\n".as_bytes(),
            "{\n\t\"größer\": 1\n}\n",
        );
        check(
            b"a\x1b]52;c;cHduZWQ=\x07\r\nb",
            "a\\u{1b}]52;c;cHduZWQ=\\u{7}\\r\nb\n",
        );
        check(b"\xff\xc2\x9b2J", "\u{fffd}\\u{9b}2J\n");
    }

    #[test]
    fn no_line_but_the_first_begins_at_the_margin() {
        let check = |text: &str, expected: &str| assert_eq!(Untrusted(text).to_string(), expected);
        check("one\n", "one");
        check("one\r\nREPORT\n\n2", "one\\r\n    REPORT\n    \n    2");
        check("\nfirst", "\n    first");
        check("", "");
        assert_eq!(format!("{:<6}|", Line("a\tb")), "a b   |");
        assert_eq!(format!("{:<9}|", Line("\u{1b}")), "\\u{1b}   |");
    }
}
