//! Ids of requests and of traces.

use std::{fmt::Write as _, str};

use axum::http::{HeaderMap, HeaderValue};
use uuid::{Uuid, fmt::Hyphenated};

/// Id of a request: a random UUID. Made here and taken from nobody, so that no caller can forge or reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestId([u8; Hyphenated::LENGTH]);

impl RequestId {
    /// A new one.
    pub(crate) fn random() -> Self {
        let mut text = [0; Hyphenated::LENGTH];
        Uuid::new_v4().hyphenated().encode_lower(&mut text);
        Self(text)
    }

    /// Its text.
    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default() // Digits and hyphens always are.
    }

    /// Its text, for a header.
    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).expect("digits and hyphens are a header's value")
    }
}

/// The caller's W3C trace context, or a new one if it sent none that is valid.
pub(crate) fn traceparent(headers: &HeaderMap) -> String {
    let mut sent = headers.get_all("traceparent").iter();
    match (sent.next(), sent.next()) {
        (Some(value), None) if is_traceparent(value.as_bytes()) => value
            .to_str()
            .map(Into::into)
            .unwrap_or_else(|_| new_traceparent()),
        _ => new_traceparent(),
    }
}

/// Whether this is `version-trace_id-parent_id-flags` as the recommendation has it: lower-case digits, ids that
/// are not zero; a later version may have more fields.
fn is_traceparent(text: &[u8]) -> bool {
    let hex = |from: usize, to: usize| {
        let digits = &text[from..to];
        let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        digits.iter().all(lower)
    };
    let not_zero = |from: usize, to: usize| text[from..to].iter().any(|byte| *byte != b'0');
    const BYTES: usize = 55;
    const BYTES_MAX: usize = 512;
    (BYTES..=BYTES_MAX).contains(&text.len())
        && hex(0, 2)
        && &text[..2] != b"ff"
        && text[2] == b'-'
        && hex(3, 35)
        && not_zero(3, 35)
        && text[35] == b'-'
        && hex(36, 52)
        && not_zero(36, 52)
        && text[52] == b'-'
        && hex(53, 55)
        && (text.len() == BYTES || (&text[..2] != b"00" && text[55] == b'-'))
}

fn new_traceparent() -> String {
    let (trace, parent) = (Uuid::new_v4(), Uuid::new_v4());
    let mut text = String::with_capacity(55);
    // The high half of a version 4 UUID has its version in it and so is never zero.
    let _ = write!(
        text,
        "00-{}-{:016x}-00",
        trace.simple(),
        parent.as_u64_pair().0
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn with(values: &[&str]) -> HeaderMap {
        let pair = |value: &&str| {
            let value = HeaderValue::from_str(value).expect("value");
            ("traceparent".parse().expect("name"), value)
        };
        HeaderMap::from_iter(values.iter().map(pair))
    }

    #[test]
    fn a_valid_context_is_passed_on() {
        assert_eq!(traceparent(&with(&[VALID])), VALID);
        let later = format!("cc{}-what-the-future-will-be-like", &VALID[2..]);
        assert_eq!(traceparent(&with(&[&later])), later);
    }

    #[test]
    fn anything_else_is_made_anew() {
        let zero = "0".repeat(32);
        for text in [
            "",
            "00",
            &VALID[..54],
            &format!("{VALID}-01"),
            &format!("ff{}", &VALID[2..]),
            &VALID.to_uppercase(),
            &VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zero),
            &VALID.replace("00f067aa0ba902b7", &zero[..16]),
            &VALID.replace('-', "_"),
            &format!("cc{}x", &VALID[2..]),
        ] {
            let made = traceparent(&with(&[text]));
            assert!(made != text && is_traceparent(made.as_bytes()), "{text:?}");
        }
        let made = traceparent(&with(&[VALID, VALID]));
        assert!(made != VALID && is_traceparent(made.as_bytes()));
        assert_ne!(traceparent(&with(&[])), traceparent(&with(&[])));
    }

    #[test]
    fn ids_are_uuids_and_differ() {
        let id = RequestId::random();
        assert_ne!(id, RequestId::random());
        let uuid: Uuid = id.as_str().parse().expect("uuid");
        assert_eq!(uuid.get_version_num(), 4);
    }
}
