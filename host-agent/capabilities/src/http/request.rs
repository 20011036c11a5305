//! A request as a function asks for it, taken apart and checked. What is checked here needs no policy: whether it is one, and
//! whether it is written in the one way that leaves nothing to be read in two.

use std::fmt;

use http_body_util::Full;
use hyper::{
    Method, Request, Uri, Version,
    body::Bytes,
    header::{HOST, HeaderMap, HeaderName, HeaderValue},
    http::uri::PathAndQuery,
};
use jiffy_abi::{
    call::{CallErrorKind, Sent},
    frame::{Fields, Tag},
};
use jiffy_control::Call;
use jiffy_model::{Origin, Scheme};

use crate::Failure;

/// Bytes of a URL at most: what the agent takes of its own clients.
pub(super) const URL_BYTES_MAX: usize = 8 << 10;

/// Of a method, in a log: it may be as long as a guest likes.
const METHOD_CHARS_SHOWN: usize = 32;

/// Headers that are of a connection, or that the host writes.
const HEADERS_NOT: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) method: Method,
    pub(super) origin: Origin,
    /// Path and query.
    target: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

fn invalid(message: String) -> Failure {
    Failure::new(CallErrorKind::Invalid, Sent::No, message)
}

impl Wanted {
    /// Takes a call apart.
    pub(super) fn new(call: Call) -> Result<Self, Failure> {
        let (mut method, mut url) = ("", "");
        let mut headers = HeaderMap::new();
        let mut name = None;
        for field in Fields::new(&call.head) {
            let (tag, value) = field.map_err(|error| invalid(error.to_string()))?;
            let text = || str::from_utf8(value).map_err(|_| invalid(format!("{tag:?} is no text")));
            match tag {
                Tag::Method => method = text()?,
                Tag::Target => url = text()?,
                Tag::HeaderName => name = Some(header_name(text()?)?),
                Tag::HeaderValue => {
                    let Some(name) = name.take() else {
                        return Err(invalid("a header's value has no name".into()));
                    };
                    let value = HeaderValue::from_bytes(value).map_err(|_| {
                        invalid(format!("the header {name} has a control character"))
                    })?;
                    headers.append(name, value);
                }
                _ => {}
            }
        }
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| invalid(format!("invalid method {method:?}: must be one of HTTP's")))?;
        let (origin, target) = parse_url(url)?;
        Ok(Self {
            method,
            origin,
            target,
            headers,
            body: call.body.into(),
        })
    }

    /// The request as a connection takes it: HTTP/2 has the origin in its target, HTTP/1.1 in a header.
    pub(super) fn to_request(&self, version: Version) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        let origin = &self.origin;
        let authority = match origin.scheme.port() == Some(origin.port) {
            true => origin.host.to_string(),
            false => format!("{}:{}", origin.host, origin.port),
        };
        let wrong = |error: &dyn fmt::Display| invalid(format!("invalid origin {origin}: {error}"));
        if version == Version::HTTP_2 {
            let uri = Uri::builder().scheme(origin.scheme.name());
            let uri = uri.authority(authority).path_and_query(self.target.clone());
            *request.uri_mut() = uri.build().map_err(|error| wrong(&error))?;
        } else {
            *request.uri_mut() = Uri::from(self.target.clone());
            let host = HeaderValue::try_from(authority).map_err(|error| wrong(&error))?;
            request.headers_mut().insert(HOST, host);
        }
        Ok(request)
    }
}

/// Method and origin of a request, without what may be a secret in its path.
pub(super) fn about(call: &Call) -> String {
    let (mut method, mut url) = ("", "");
    for (tag, value) in Fields::new(&call.head).flatten() {
        let text = str::from_utf8(value).unwrap_or_default();
        match tag {
            Tag::Method => method = text,
            Tag::Target => url = text,
            _ => {}
        }
    }
    match parse_url(url) {
        Ok((origin, _)) => format!("{method:.METHOD_CHARS_SHOWN$} {origin}"),
        Err(_) => format!("{method:.METHOD_CHARS_SHOWN$}"),
    }
}

fn header_name(text: &str) -> Result<HeaderName, Failure> {
    let name = HeaderName::try_from(text);
    let name = name.map_err(|_| invalid(format!("invalid name {text:?} of a header")))?;
    match HEADERS_NOT.contains(&name.as_str()) {
        true => Err(invalid(format!("the header {name} is the host's to write"))),
        false => Ok(name),
    }
}

/// Takes a URL apart: its origin, and path and query.
fn parse_url(url: &str) -> Result<(Origin, PathAndQuery), Failure> {
    let shown: String = url.chars().take(256).collect();
    let wrong = |rule: &str| Err(invalid(format!("invalid URL {shown:?}: {rule}")));
    if url.len() > URL_BYTES_MAX {
        return wrong("must have at most 8192 bytes");
    }
    if !url.bytes().all(|byte| matches!(byte, b'!'..=b'~')) || url.contains('\\') {
        return wrong(
            "must be ASCII without spaces and backslashes; write a name in another script as xn--…",
        );
    }
    if url.contains('#') {
        return wrong("must have no fragment");
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return wrong("must begin with https:// or http://");
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if authority.contains('@') {
        return wrong("must have no user and password: use a secret");
    }
    let origin = format!("{scheme}://{authority}").to_ascii_lowercase();
    let origin = match origin.parse::<Origin>() {
        Ok(origin) if origin.scheme != Scheme::Tcp => origin,
        Ok(_) => return wrong("must begin with https:// or http://"),
        Err(error) => return wrong(&error.to_string()),
    };
    let target = match target {
        target if target.starts_with('/') => target.to_owned(),
        query => format!("/{query}"),
    };
    match PathAndQuery::try_from(target) {
        Ok(target) => Ok((origin, target)),
        Err(error) => wrong(&error.to_string()),
    }
}
