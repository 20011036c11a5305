//! The value of a secret as people give it: a file, standard input, or a terminal, which does not show it.
//!
//! One newline at the end is what an editor or `echo` adds, and no part of it.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Read, Write as _},
    path::{Path, PathBuf},
};

use jiffy_console::stderr;
use jiffy_secrets::{Clear, SECRET_BYTES_MAX, keep_out_of_core_files};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

/// Bytes of a line that a terminal passes on; what is typed behind them is lost without a word.
const TERMINAL_LINE_BYTES_MAX: usize = 4095;
/// What Ctrl-C types.
const INTERRUPT: u8 = 3;

/// Why there is no value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretValueError {
    #[error("cannot keep the secret out of core files")]
    CoreFiles(#[source] io::Error),
    #[error("cannot read the secret from {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("invalid secret of no bytes: must be 1 to {SECRET_BYTES_MAX}")]
    Empty,
    #[error(
        "invalid secret of more than {SECRET_BYTES_MAX} bytes: must be 1 to {SECRET_BYTES_MAX}"
    )]
    TooLarge,
    #[error(
        "invalid secret: a terminal passes on fewer than {TERMINAL_LINE_BYTES_MAX} bytes, so use --file or a pipe"
    )]
    TooLong,
    #[error("nothing is set")]
    Interrupted,
}

/// A value.
#[derive(Debug)]
pub(crate) struct SecretValue {
    pub(crate) value: Clear,
    /// A newline stood behind it.
    pub(crate) had_newline: bool,
}

impl SecretValue {
    /// What is in a file; `-` is standard input.
    pub(crate) fn of_file(path: &Path) -> Result<Self, SecretValueError> {
        if path.as_os_str() == "-" {
            return Self::of_input(&mut io::stdin().lock());
        }
        let unreadable = |source| SecretValueError::Read {
            path: path.into(),
            source,
        };
        let mut file = jiffy_files::open(path).map_err(unreadable)?;
        keep_out_of_core_files().map_err(SecretValueError::CoreFiles)?;
        Self::new(read(&mut file).map_err(unreadable)?)
    }

    /// What comes from standard input; if that is a terminal, the line that is typed and not shown there.
    pub(crate) fn of_input_or_terminal(name: &str) -> Result<Self, SecretValueError> {
        let mut input = io::stdin().lock();
        if !input.is_terminal() {
            return Self::of_input(&mut input);
        }
        keep_out_of_core_files().map_err(SecretValueError::CoreFiles)?;
        let unreadable = |source| SecretValueError::Read {
            path: "the terminal".into(),
            source,
        };
        let line = type_hidden(&mut input, name).map_err(unreadable)?;
        if line.last() == Some(&INTERRUPT) {
            return Err(SecretValueError::Interrupted);
        }
        if line.len() >= TERMINAL_LINE_BYTES_MAX {
            return Err(SecretValueError::TooLong);
        }
        let value = Self::new(line)?;
        // It was Enter, which nobody takes for a part of it.
        Ok(Self {
            had_newline: false,
            ..value
        })
    }

    fn of_input(input: &mut impl Read) -> Result<Self, SecretValueError> {
        keep_out_of_core_files().map_err(SecretValueError::CoreFiles)?;
        let unreadable = |source| SecretValueError::Read {
            path: "standard input".into(),
            source,
        };
        Self::new(read(input).map_err(unreadable)?)
    }

    fn new(mut bytes: Vec<u8>) -> Result<Self, SecretValueError> {
        let had_newline = bytes.last() == Some(&b'\n');
        if had_newline {
            bytes.pop();
        }
        let value = Clear::from(bytes);
        match value.len() {
            0 => Err(SecretValueError::Empty),
            1..=SECRET_BYTES_MAX => Ok(Self { value, had_newline }),
            _ => Err(SecretValueError::TooLarge),
        }
    }
}

/// Reads one byte more than a secret and a newline have, so that too much is noticed; with room for it from the beginning, so that
/// no part is left where it was moved from.
fn read(from: &mut impl Read) -> io::Result<Vec<u8>> {
    const READ_BYTES_MAX: usize = SECRET_BYTES_MAX + 2;
    let mut bytes = Vec::with_capacity(2 * READ_BYTES_MAX);
    from.take(READ_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a line from a terminal that does not show it. Ctrl-C ends it and is its last byte: as a signal it would leave the
/// terminal as it is then.
fn type_hidden(terminal: &mut io::StdinLock<'_>, name: &str) -> io::Result<Vec<u8>> {
    /// Puts the terminal back.
    struct Before(Termios);
    impl Drop for Before {
        fn drop(&mut self) {
            // It may be gone.
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.0);
        }
    }
    let before = Before(tcgetattr(&*terminal)?);
    let mut hidden = before.0.clone();
    hidden
        .local_modes
        .remove(LocalModes::ECHO | LocalModes::ISIG);
    hidden
        .local_modes
        .insert(LocalModes::ICANON | LocalModes::ECHONL);
    hidden.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
    // What was typed before, and shown, is no part of it.
    tcsetattr(&*terminal, OptionalActions::Flush, &hidden)?;
    write!(stderr(), "Value of {name}, which is not shown: ")?;
    let mut line = Vec::with_capacity(2 * TERMINAL_LINE_BYTES_MAX);
    loop {
        let typed = terminal.fill_buf()?;
        let bytes = typed.len();
        line.extend_from_slice(&typed[..bytes.min(TERMINAL_LINE_BYTES_MAX)]);
        terminal.consume(bytes);
        let is_whole = bytes == 0 || matches!(line.last(), Some(&(b'\n' | INTERRUPT)));
        if is_whole || line.len() >= TERMINAL_LINE_BYTES_MAX {
            return Ok(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8]) -> Result<(Vec<u8>, bool), SecretValueError> {
        let value = SecretValue::of_input(&mut &*text)?;
        Ok((value.value.to_vec(), value.had_newline))
    }

    #[test]
    fn one_newline_is_left_out_and_no_more() {
        for (text, value, had_newline) in [
            ("a", "a", false),
            ("a\n", "a", true),
            ("a\n\n", "a\n", true),
            ("a\r\n", "a\r", true),
            ("\na", "\na", false),
        ] {
            let found = check(text.as_bytes()).expect(text);
            assert_eq!(found, (value.as_bytes().to_vec(), had_newline), "{text:?}");
        }
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let of = |bytes: usize| vec![b'x'; bytes];
        check(&of(SECRET_BYTES_MAX)).expect("fits");
        check(&[of(SECRET_BYTES_MAX), b"\n".to_vec()].concat()).expect("fits");
        for bytes in [
            SECRET_BYTES_MAX + 1,
            SECRET_BYTES_MAX + 2,
            SECRET_BYTES_MAX + 3,
        ] {
            assert!(matches!(check(&of(bytes)), Err(SecretValueError::TooLarge)));
        }
        for text in ["", "\n"] {
            let refused = check(text.as_bytes());
            assert!(matches!(refused, Err(SecretValueError::Empty)), "{text:?}");
        }
    }

    #[test]
    fn a_file_has_to_be_one() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), "value\n").expect("written");
        let value = SecretValue::of_file(file.path()).expect("a value");
        assert_eq!((&*value.value, value.had_newline), (&b"value"[..], true));
        for path in ["/nonexistent", "/dev/zero"] {
            let refused = SecretValue::of_file(Path::new(path));
            assert!(
                matches!(refused, Err(SecretValueError::Read { .. })),
                "{path}"
            );
        }
    }
}
