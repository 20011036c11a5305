//! SHA-256 digests, as numbers and as 64 hexadecimal digits.

use std::{fmt, fs::File, io, os::unix::fs::FileExt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Bytes of a digest.
pub const DIGEST_BYTES: usize = 32;
/// What is read of a file at once, bytes.
const READ_BYTES: usize = 256 << 10;

/// A SHA-256 digest. That of a snapshot is over its `state` file, which holds the digest of its RAM.
/// In texts such as JSON it is its 64 digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(
        description = "A SHA-256 digest: 64 hexadecimal digits, in lower case.",
        extend("pattern" = format!("^[0-9a-f]{{{}}}$", 2 * DIGEST_BYTES))
    )
)]
pub struct Digest(pub [u8; DIGEST_BYTES]);

/// Why a text is no digest. Blames the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hexadecimal digits in lower case")]
pub struct DigestError;

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of a file, from its beginning to its end.
    pub fn of_file(file: &File) -> io::Result<Self> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; READ_BYTES];
        let mut offset = 0;
        loop {
            match file.read_at(&mut buffer, offset)? {
                0 => return Ok(Self(hash.finalize().into())),
                bytes => {
                    hash.update(&buffer[..bytes]);
                    offset += bytes as u64;
                }
            }
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    /// Takes exactly what `Display` writes, so that a file's name and a digest are one to one.
    fn from_str(text: &str) -> Result<Self, DigestError> {
        if text.len() != 2 * DIGEST_BYTES {
            return Err(DigestError);
        }
        let mut digest = [0; DIGEST_BYTES];
        for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = nibble(digits[0])? << 4 | nibble(digits[1])?;
        }
        Ok(Self(digest))
    }
}

fn nibble(digit: u8) -> Result<u8, DigestError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(DigestError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let digest = Digest::of(b"abc");
        let text = digest.to_string();
        // FIPS 180-2, appendix B.1.
        assert!(text.starts_with("ba7816bf") && text.ends_with("f20015ad"));
        assert_eq!(text.parse(), Ok(digest));
    }

    #[test]
    fn anything_else_is_refused() {
        let text = Digest::of(b"abc").to_string();
        for bad in [
            &text[1..],
            &text.to_uppercase(),
            &text.replace('b', "é"),
            "",
        ] {
            assert_eq!(bad.parse::<Digest>(), Err(DigestError));
        }
    }
}
