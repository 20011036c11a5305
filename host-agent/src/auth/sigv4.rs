//! Checks AWS Signature Version 4 of a request's headers.
//!
//! The signature covers method, path, query, the headers it names and the whole body, so what is left to
//! trust is the secret key, which never travels. Not here: presigned URLs and chunked signatures, which no
//! client of Lambda's API sends.

use std::{
    borrow::Cow,
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use axum::http::{HeaderMap, header, request::Parts};
use hmac::{Hmac, KeyInit, Mac};
use jiffy_model::{EndsRequest, Outcome};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::Secret;

/// A request's date may differ from the agent's clock by this much: as in AWS.
pub(crate) const CLOCK_SKEW_MAX: Duration = Duration::from_secs(15 * 60);
/// Headers that a signature names at most.
pub(crate) const SIGNED_HEADERS_MAX: usize = 64;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
const DATE: &str = "x-amz-date";

/// What RFC 3986 calls unreserved stays as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// Why a signature is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    #[error("the request is not signed: sign it with the access key of this agent")]
    Missing,
    #[error("the Authorization header is none of Signature Version 4: {0}")]
    Malformed(&'static str),
    #[error("the access key is not known to this agent")]
    UnknownKey,
    #[error("the signature's date is more than 15 minutes from the agent's clock: set the clock")]
    Expired,
    #[error("the signature does not match: check the secret key")]
    Mismatch,
    /// In AWS's words, which clients look for.
    #[error("Credential should be scoped to a valid {what}: this agent's is {wanted}, not {found}")]
    Scope {
        what: &'static str,
        wanted: String,
        found: String,
    },
}

impl EndsRequest for SignatureError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Missing => Outcome::NoSignature,
            Self::Malformed(_) => Outcome::MalformedSignature,
            Self::UnknownKey => Outcome::UnknownKey,
            Self::Expired | Self::Mismatch | Self::Scope { .. } => Outcome::InvalidSignature,
        }
    }
}

/// What a signature has to be for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// The parts of an `Authorization` header.
struct Authorization<'a> {
    key_id: &'a str,
    /// `date/region/service/aws4_request`.
    scope: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signed_headers_text: &'a str,
    signature: &'a str,
}

/// What of a signature can be checked before there is a body.
struct Claim<'a> {
    authorization: Authorization<'a>,
    timestamp: &'a str,
    secret: &'a Secret,
}

/// Checks that a request claims to be signed by one of `keys`, for `scope` and at about `now`: who does not even
/// claim it sends no body that anybody waits for.
pub(crate) fn precheck(
    parts: &Parts,
    keys: &[(String, Secret)],
    scope: Scope<'_>,
    now: SystemTime,
) -> Result<(), SignatureError> {
    claim(parts, keys, scope, now).map(drop)
}

fn claim<'a>(
    parts: &'a Parts,
    keys: &'a [(String, Secret)],
    scope: Scope<'_>,
    now: SystemTime,
) -> Result<Claim<'a>, SignatureError> {
    let authorization = parts
        .headers
        .get(header::AUTHORIZATION)
        .ok_or(SignatureError::Missing)?
        .to_str()
        .map_err(|_| SignatureError::Malformed("it is not ASCII"))?;
    let authorization = parse(authorization)?;
    let timestamp = check_date(&parts.headers, &authorization, now)?;
    for (what, wanted, found) in [
        ("region", scope.region, authorization.region),
        ("service", scope.service, authorization.service),
    ] {
        if wanted != found {
            return Err(SignatureError::Scope {
                what,
                wanted: wanted.to_owned(),
                found: found.to_owned(),
            });
        }
    }
    let (_, secret) = keys
        .iter()
        .find(|(id, _)| id == authorization.key_id)
        .ok_or(SignatureError::UnknownKey)?;
    Ok(Claim {
        authorization,
        timestamp,
        secret,
    })
}

/// Checks that one of `keys`, each an id and a secret, signed this request for `scope`, at about `now`.
pub(crate) fn verify(
    parts: &Parts,
    body: &[u8],
    keys: &[(String, Secret)],
    scope: Scope<'_>,
    now: SystemTime,
) -> Result<(), SignatureError> {
    let Claim {
        authorization,
        timestamp,
        secret,
    } = claim(parts, keys, scope, now)?;
    let canonical = canonical_request(parts, body, &authorization)?;
    let to_sign = format!(
        "{ALGORITHM}\n{timestamp}\n{}\n{}",
        authorization.scope,
        hex(&Sha256::digest(canonical.as_bytes()))
    );
    let mut signing_key = hmac(
        format!("AWS4{}", secret.expose()).as_bytes(),
        authorization.date.as_bytes(),
    );
    for step in [
        authorization.region,
        authorization.service,
        TERMINATOR,
        &to_sign,
    ] {
        signing_key = hmac(&signing_key, step.as_bytes());
    }
    let expected = hex(&signing_key);
    if expected
        .as_bytes()
        .ct_eq(authorization.signature.as_bytes())
        .into()
    {
        Ok(())
    } else {
        Err(SignatureError::Mismatch)
    }
}

fn parse(text: &str) -> Result<Authorization<'_>, SignatureError> {
    let malformed = SignatureError::Malformed;
    let fields = text
        .strip_prefix(ALGORITHM)
        .ok_or(malformed("it begins with another algorithm"))?;
    let (mut credential, mut headers, mut signature) = (None, None, None);
    for field in fields.split(',') {
        let (name, value) = field
            .trim()
            .split_once('=')
            .ok_or(malformed("a field has no value"))?;
        let slot = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut headers,
            "Signature" => &mut signature,
            _ => return Err(malformed("a field is unknown")),
        };
        if slot.replace(value).is_some() {
            return Err(malformed("a field comes twice"));
        }
    }
    let credential = credential.ok_or(malformed("Credential is missing"))?;
    let signed_headers_text = headers.ok_or(malformed("SignedHeaders is missing"))?;
    let signature = signature.ok_or(malformed("Signature is missing"))?;
    let (key_id, scope) = credential
        .split_once('/')
        .ok_or(malformed("Credential has no scope"))?;
    let scope_parts: Vec<_> = scope.splitn(5, '/').collect();
    let [date, region, service, TERMINATOR] = scope_parts[..] else {
        return Err(malformed(
            "Credential is not KEY/DATE/REGION/SERVICE/aws4_request",
        ));
    };
    let signed_headers: Vec<_> = signed_headers_text.split(';').collect();
    if signed_headers.len() > SIGNED_HEADERS_MAX {
        return Err(malformed("it signs too many headers"));
    }
    if !signed_headers.contains(&"host") {
        return Err(malformed("it does not sign the Host header"));
    }
    Ok(Authorization {
        key_id,
        scope,
        date,
        region,
        service,
        signed_headers,
        signed_headers_text,
        signature,
    })
}

/// The time stamp of the request, which must be signed, of the scope's day, and about now.
fn check_date<'a>(
    headers: &'a HeaderMap,
    authorization: &Authorization<'_>,
    now: SystemTime,
) -> Result<&'a str, SignatureError> {
    let text = headers
        .get(DATE)
        .and_then(|value| value.to_str().ok())
        .ok_or(SignatureError::Malformed(
            "the X-Amz-Date header is missing",
        ))?;
    if !authorization.signed_headers.contains(&DATE) {
        return Err(SignatureError::Malformed("it does not sign X-Amz-Date"));
    }
    let time = parse_date(text).ok_or(SignatureError::Malformed(
        "invalid X-Amz-Date: must be like 20260131T235959Z",
    ))?;
    if !text.starts_with(authorization.date) || authorization.date.len() != "yyyymmdd".len() {
        return Err(SignatureError::Malformed(
            "X-Amz-Date is of another day than Credential",
        ));
    }
    let skew = now
        .duration_since(time)
        .unwrap_or_else(|ahead| ahead.duration());
    if skew > CLOCK_SKEW_MAX {
        return Err(SignatureError::Expired);
    }
    Ok(text)
}

/// Reads `20150830T123600Z`.
fn parse_date(text: &str) -> Option<SystemTime> {
    let digits = |from: usize, to: usize| {
        text.get(from..to)
            .filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if text.len() != 16 || text.get(8..9) != Some("T") || text.get(15..) != Some("Z") {
        return None;
    }
    let rfc3339 = format!(
        "{}-{}-{}T{}:{}:{}Z",
        digits(0, 4)?,
        digits(4, 6)?,
        digits(6, 8)?,
        digits(9, 11)?,
        digits(11, 13)?,
        digits(13, 15)?
    );
    humantime::parse_rfc3339(&rfc3339).ok()
}

fn canonical_request(
    parts: &Parts,
    body: &[u8],
    authorization: &Authorization<'_>,
) -> Result<String, SignatureError> {
    let mut canonical = format!(
        "{}\n{}\n{}\n",
        parts.method,
        percent_encode(parts.uri.path().as_bytes(), PATH),
        canonical_query(parts.uri.query().unwrap_or_default())
    );
    for name in &authorization.signed_headers {
        canonical.push_str(name);
        canonical.push(':');
        canonical.push_str(&canonical_header(&parts.headers, name)?);
        canonical.push('\n');
    }
    canonical.push('\n');
    canonical.push_str(authorization.signed_headers_text);
    canonical.push('\n');
    canonical.push_str(&hex(&Sha256::digest(body)));
    Ok(canonical)
}

/// Names and values encoded anew, so that all spellings of a query sign alike, then sorted.
fn canonical_query(query: &str) -> String {
    let encode = |text: &str| {
        let decoded: Cow<'_, [u8]> = percent_decode(text.as_bytes()).into();
        percent_encode(&decoded, UNRESERVED).to_string()
    };
    let mut pairs: Vec<_> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    pairs.sort();
    let pairs: Vec<_> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// All values of a header, each trimmed and with single spaces.
fn canonical_header(headers: &HeaderMap, name: &str) -> Result<String, SignatureError> {
    let mut values = vec![];
    for value in headers.get_all(name) {
        let value = std::str::from_utf8(value.as_bytes())
            .map_err(|_| SignatureError::Malformed("a signed header is not UTF-8"))?;
        let words: Vec<_> = value.split(' ').filter(|word| !word.is_empty()).collect();
        values.push(words.join(" "));
    }
    if values.is_empty() {
        return Err(SignatureError::Malformed("a signed header is missing"));
    }
    Ok(values.join(","))
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // Writing to a String cannot fail.
        text
    })
}

#[cfg(test)]
mod tests;
