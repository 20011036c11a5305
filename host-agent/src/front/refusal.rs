//! Why a request is not looked at. What hyper does not take for a request gets the same kind of answer as everybody else's.
//! Not here: when to send it (`connection`).

use jiffy_model::{EndsRequest, Outcome};

use crate::http::problem::Problem;

/// What the first bytes of a TLS connection are: a handshake record of version 3.
const TLS_BYTES: &[u8] = b"\x16\x03";
/// What an HTTP/2 connection begins with (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// Why a request does not reach a router.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Refusal {
    outcome: Outcome,
    detail: String,
}

impl Refusal {
    /// `detail` is a sentence with the fix in it.
    pub(super) fn new(outcome: Outcome, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { outcome, detail }
    }
}

impl EndsRequest for Refusal {
    fn outcome(&self) -> Outcome {
        self.outcome
    }
}

/// What is said of bytes that are no request, and what was wrong with them.
pub(super) fn of_parse(error: &hyper::Error, read: &[u8], header_bytes_max: u32) -> Problem {
    if read.starts_with(TLS_BYTES) {
        let detail =
            "this is TLS, and the agent speaks plain HTTP: use http://, or a proxy that ends TLS";
        return Problem::new(Outcome::InvalidRequest, detail);
    }
    if error.is_parse_version_h2() || read.starts_with(HTTP2_PREFACE) || has_other_version(read) {
        let detail = "the request's version is not HTTP/1.1 or HTTP/1.0: send one of these";
        return Problem::new(Outcome::VersionNotSupported, detail);
    }
    if error.is_parse_too_large() {
        return match is_line_too_long(read, header_bytes_max) {
            true => Problem::new(
                Outcome::TargetTooLong,
                format!(
                    "path and query are too long: must be at most {} bytes",
                    super::TARGET_BYTES_MAX
                ),
            ),
            false => Problem::new(Outcome::HeadersTooLarge, too_large(header_bytes_max)),
        };
    }
    let detail = format!("the request is malformed ({error}): must be HTTP/1.1 as in RFC 9112");
    Problem::new(Outcome::InvalidRequest, detail)
}

/// What is said of headers beyond the limit, by whoever notices.
pub(super) fn too_large(header_bytes_max: u32) -> String {
    format!(
        "the request's line and headers are too large: must be at most {header_bytes_max} bytes (limits.header_bytes_max)"
    )
}

/// Whether the first line ends with the name of another version of HTTP.
fn has_other_version(read: &[u8]) -> bool {
    let line = read.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let version = line.trim_ascii_end().rsplit(|byte| *byte == b' ').next();
    let number = version.and_then(|version| version.strip_prefix(b"HTTP/"));
    number.is_some_and(|number| {
        let is_version = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
        !number.is_empty() && number.iter().all(is_version) && !matches!(number, b"1.1" | b"1.0")
    })
}

fn is_line_too_long(read: &[u8], header_bytes_max: u32) -> bool {
    let line = read.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.len() > header_bytes_max as usize
}
