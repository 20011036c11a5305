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

/// The same for a caller that may send AWS's `X-Amzn-Trace-Id` in its place: `Root=1-TIME-REST;Parent=ID;Sampled=1`.
pub(crate) fn traceparent_or_amzn(headers: &HeaderMap) -> String {
    let amzn = headers
        .get("x-amzn-trace-id")
        .filter(|_| !headers.contains_key("traceparent"));
    let amzn = amzn.and_then(|value| of_amzn(value.to_str().ok()?));
    amzn.unwrap_or_else(|| traceparent(headers))
}

fn of_amzn(text: &str) -> Option<String> {
    let field = |name: &str| {
        let mut fields = text
            .split(';')
            .filter_map(|field| field.trim().split_once('='));
        fields
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    };
    let (time, rest) = field("Root")?.strip_prefix("1-")?.split_once('-')?;
    let flags = match field("Sampled") {
        Some("1") => "01",
        _ => "00",
    };
    let parent = field("Parent").map(Into::into);
    // A root that has no parent yet begins here.
    let parent = parent.unwrap_or_else(|| format!("{:016x}", Uuid::new_v4().as_u64_pair().0));
    let text = format!("00-{time}{rest}-{parent}-{flags}");
    is_traceparent(text.as_bytes()).then_some(text)
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
    fn a_context_of_aws_becomes_one_of_the_w3c() {
        let amzn = |text: &str| {
            let value = HeaderValue::from_str(text).expect("value");
            traceparent_or_amzn(&HeaderMap::from_iter([(
                "x-amzn-trace-id".parse().expect("name"),
                value,
            )]))
        };
        let root = "Root=1-5759e988-bd862e3fe1be46a994272793";
        let trace = "00-5759e988bd862e3fe1be46a994272793-";
        let whole = amzn(&format!("{root};Parent=53995c3f42cd8ad8;Sampled=1"));
        assert_eq!(whole, format!("{trace}53995c3f42cd8ad8-01"));
        let alone = amzn(root);
        assert!(
            alone.starts_with(trace) && alone.ends_with("-00"),
            "{alone}"
        );
        for wrong in [
            "",
            "Root=2-5759e988-bd862e3fe1be46a994272793",
            "Root=1-x-y",
            "Self=1",
        ] {
            assert!(is_traceparent(amzn(wrong).as_bytes()), "{wrong}");
        }
        let mut both = with(&[VALID]);
        both.insert(
            "x-amzn-trace-id",
            HeaderValue::from_static("Root=1-5759e988-bd862e3fe1be46a994272793"),
        );
        assert_eq!(traceparent_or_amzn(&both), VALID);
    }

    #[test]
    fn ids_are_uuids_and_differ() {
        let id = RequestId::random();
        assert_ne!(id, RequestId::random());
        let uuid: Uuid = id.as_str().parse().expect("uuid");
        assert_eq!(uuid.get_version_num(), 4);
    }
}
