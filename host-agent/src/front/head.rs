//! Limits of what precedes a request's body.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, uri::Authority},
};
use jiffy_model::Outcome;

use super::refusal::{Refusal, too_large};

/// Bytes of path and query at most.
pub const TARGET_BYTES_MAX: usize = 8 << 10;

/// Refuses a request whose head is malformed or beyond a limit.
pub(super) fn check(request: &Request, header_bytes_max: u32) -> Result<(), Refusal> {
    if !has_host(request) {
        let detail = "send one Host header that is a host, and perhaps a port";
        return Err(Refusal::new(Outcome::InvalidRequest, detail));
    }
    let uri = request.uri();
    let query_bytes = uri.query().map_or(0, |query| query.len() + 1);
    if uri.path().len() + query_bytes > TARGET_BYTES_MAX {
        let detail = format!("send at most {TARGET_BYTES_MAX} bytes of path and query");
        return Err(Refusal::new(Outcome::TargetTooLong, detail));
    }
    let line_bytes = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + ": \r\n".len()
    };
    let header_bytes: usize = request.headers().iter().map(line_bytes).sum();
    if header_bytes > header_bytes_max as usize {
        let detail = too_large(header_bytes_max);
        return Err(Refusal::new(Outcome::HeadersTooLarge, detail));
    }
    check_coding(request.headers())?;
    if request.method() == Method::CONNECT {
        let detail = "CONNECT is not implemented: the agent does not act as a proxy";
        return Err(Refusal::new(Outcome::NotImplemented, detail));
    }
    Ok(())
}

/// Refuses a body that is coded otherwise than in chunks: nobody would decode it (RFC 9112, 6.1).
fn check_coding(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers
        .get_all(header::TRANSFER_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty());
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if is_chunked(only) => Ok(()),
        (Some(first), Some(second)) if is_chunked(first) && is_chunked(second) => {
            let detail = "the body is chunked twice: must be once";
            Err(Refusal::new(Outcome::InvalidRequest, detail))
        }
        (Some(first), _) => {
            let coding = String::from_utf8_lossy(first);
            let detail = format!("transfer coding {coding:?} is not known: must be chunked alone");
            Err(Refusal::new(Outcome::NotImplemented, detail))
        }
    }
}

/// Whether a request names its host once, as HTTP/1.1 demands (RFC 9112, 3.2): servers that choose different ones
/// of two can be played off against each other.
fn has_host(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => request.version() < Version::HTTP_11,
        (Some(host), None) => {
            let is_host = |host: Authority| !host.as_str().contains('@');
            host.is_empty() || Authority::try_from(host.as_bytes()).is_ok_and(is_host)
        }
        (Some(_), Some(_)) => false,
    }
}
