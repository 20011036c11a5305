//! Responses.

use alloc::vec::Vec;

#[cfg(not(jiffy_guest))]
use jiffy_abi::frame::ResponseHead;
use jiffy_abi::frame::{self, FrameError, ResponseKind, Tag};

use super::{Error, HeaderMap, StatusCode};
use crate::dispatch::{Reply, put_field, too_large};

/// A response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Response {
    /// A response with status 200 and no headers.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// Begins a response with status 200 and no headers.
    pub const fn builder() -> ResponseBuilder {
        ResponseBuilder {
            parts: Ok((StatusCode::OK, HeaderMap::new())),
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The status, to change it.
    pub fn status_mut(&mut self) -> &mut StatusCode {
        &mut self.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The headers, to change them.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body for keeps.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    pub(crate) fn into_reply(self) -> Reply {
        match self.encode_head() {
            Ok(head) => Reply {
                kind: ResponseKind::Http,
                head,
                body: self.body,
            },
            Err(error) => too_large(error),
        }
    }

    fn encode_head(&self) -> Result<Vec<u8>, FrameError> {
        let mut head = Vec::new();
        put_field(&mut head, Tag::Status, &self.status.as_u16().to_le_bytes())?;
        for (name, value) in &self.headers {
            put_field(&mut head, Tag::HeaderName, name.as_bytes())?;
            put_field(&mut head, Tag::HeaderValue, value.as_bytes())?;
        }
        Ok(head)
    }

    /// The response of a decoded head; what [`Response::into_reply`] made is always one.
    #[cfg(not(jiffy_guest))]
    pub(crate) fn from_head(head: &ResponseHead<'_>, body: Vec<u8>) -> Result<Self, Error> {
        Self::from_parts(head.status, head.headers(), body)
    }

    pub(crate) fn from_parts(
        status: u16,
        fields: frame::Headers<'_>,
        body: Vec<u8>,
    ) -> Result<Self, Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value)?;
        }
        Ok(Self {
            status: status.try_into()?,
            headers,
            body,
        })
    }

    /// What it carries as JSON; it may borrow from it.
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// Head and body as they travel, for stand-ins.
    #[cfg(not(jiffy_guest))]
    pub(crate) fn fields(&self) -> Result<Vec<u8>, FrameError> {
        self.encode_head()
    }
}

/// Builds a response; the first mistake is told at the end.
#[derive(Clone, Debug)]
#[must_use = "a builder makes a response when it is given a body"]
pub struct ResponseBuilder {
    parts: Result<(StatusCode, HeaderMap), Error>,
}

impl ResponseBuilder {
    /// Sets the status: a number or one of the constants of [`StatusCode`].
    pub fn status<S: TryInto<StatusCode>>(self, status: S) -> Self
    where
        Error: From<S::Error>,
    {
        self.change(|parts| {
            parts.0 = status.try_into()?;
            Ok(())
        })
    }

    /// Adds a header beside those with its name.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.change(|parts| parts.1.append(name, value))
    }

    /// The response.
    pub fn body(self, body: impl Into<Vec<u8>>) -> Result<Response, Error> {
        let (status, headers) = self.parts?;
        Ok(Response {
            status,
            headers,
            body: body.into(),
        })
    }

    fn change(
        mut self,
        change: impl FnOnce(&mut (StatusCode, HeaderMap)) -> Result<(), Error>,
    ) -> Self {
        self.parts = self
            .parts
            .and_then(|mut parts| change(&mut parts).map(|()| parts));
        self
    }
}
