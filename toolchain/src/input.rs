//! What a command sends: bytes of its command line, of a file or of standard input, and not more than may be sent.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use jiffy_files::Refused;

/// Where bytes come from that are to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// What they are, for messages: `event`.
    pub(crate) what: &'static str,
    /// They themselves.
    pub(crate) text: Option<String>,
    /// Where they are, if there is no text; `-` is standard input. Without either there are none.
    pub(crate) file: Option<PathBuf>,
    /// How many there may be.
    pub(crate) bytes_max: usize,
}

/// Why there is nothing to send.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("cannot read the {what} from {path}")]
    Read {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the {what} has more than {bytes_max} bytes: send a smaller one")]
    TooLarge {
        what: &'static str,
        bytes_max: usize,
    },
}

impl Input {
    /// The bytes.
    pub(crate) fn read(self) -> Result<Vec<u8>, InputError> {
        let Self {
            what, bytes_max, ..
        } = self;
        let too_large = InputError::TooLarge { what, bytes_max };
        let unreadable = |path: &Path, source| InputError::Read {
            what,
            path: path.into(),
            source,
        };
        let bytes = match (self.text, self.file) {
            (Some(text), _) => text.into_bytes(),
            (None, None) => vec![],
            (None, Some(path)) if path.as_os_str() == "-" => {
                // One byte more than is allowed, so that too much is noticed and never held.
                let mut bytes = vec![];
                let mut limited = io::stdin().lock().take(bytes_max as u64 + 1);
                let read = limited.read_to_end(&mut bytes);
                read.map_err(|error| unreadable(Path::new("standard input"), error))?;
                bytes
            }
            (None, Some(path)) => match jiffy_files::read(&path, bytes_max as u64) {
                Ok(bytes) => bytes,
                Err(error) if matches!(Refused::of(&error), Some(Refused::TooLarge { .. })) => {
                    return Err(too_large);
                }
                Err(error) => return Err(unreadable(&path, error)),
            },
        };
        match bytes.len() <= bytes_max {
            true => Ok(bytes),
            false => Err(too_large),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(text: Option<&str>, file: Option<&Path>) -> Input {
        Input {
            what: "value",
            text: text.map(str::to_owned),
            file: file.map(Path::to_owned),
            bytes_max: 1 << 20,
        }
    }

    #[test]
    fn inputs_come_from_anywhere() {
        assert_eq!(input(None, None).read().expect("empty"), b"");
        assert_eq!(input(Some("{}"), None).read().expect("text"), b"{}");
        let missing = input(None, Some(Path::new("/nonexistent"))).read();
        let missing = missing.expect_err("missing");
        let expected = "cannot read the value from /nonexistent";
        assert_eq!(missing.to_string(), expected);
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let large = "x".repeat(1 << 20);
        assert!(input(Some(&large), None).read().is_ok());
        let refused = input(Some(&format!("{large}x")), None).read();
        let expected = "the value has more than 1048576 bytes: send a smaller one";
        assert_eq!(refused.expect_err("too large").to_string(), expected);
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let path = file.path();
        file.as_file().set_len(1 << 20).expect("resize");
        assert_eq!(input(None, Some(path)).read().expect("fits").len(), 1 << 20);
        file.as_file().set_len((1 << 20) + 1).expect("resize");
        let refused = input(None, Some(path)).read();
        assert!(matches!(refused, Err(InputError::TooLarge { .. })));
        // It would be read for ever, as a pipe would be waited for: `-` takes what comes from one.
        let device = input(None, Some(Path::new("/dev/zero"))).read();
        assert!(matches!(device, Err(InputError::Read { .. })));
    }
}
