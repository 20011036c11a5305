//! Requests.

use alloc::{borrow::Cow, vec::Vec};

use jiffy_abi::frame::{RequestHead, RequestKind};

use super::{Error, HeaderMap, Method, Uri};

/// A request. The body is lent to the handler, so a large one is not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Cow<'a, [u8]>,
}

impl<'a> Request<'a> {
    /// Begins a `GET /` without headers.
    pub const fn builder() -> RequestBuilder {
        RequestBuilder {
            parts: Ok((Method::GET, None, HeaderMap::new())),
        }
    }

    /// The request of a frame. An event that did not come over HTTP is a `POST /`.
    pub(crate) fn from_frame(
        kind: RequestKind,
        head: &RequestHead<'_>,
        body: &'a [u8],
    ) -> Result<Self, Error> {
        let body = Cow::Borrowed(body);
        if kind != RequestKind::Http {
            let (method, uri, headers) = (Method::POST, Uri::default(), HeaderMap::new());
            return Ok(Self {
                method,
                uri,
                headers,
                body,
            });
        }
        let mut headers = HeaderMap::new();
        for (name, value) in head.headers() {
            headers.append(name, value)?;
        }
        let (method, uri) = (Method::try_from(head.method)?, Uri::try_from(head.target)?);
        Ok(Self {
            method,
            uri,
            headers,
            body,
        })
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Path and query.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body for keeps; copies it if it is only lent.
    pub fn into_body(self) -> Vec<u8> {
        self.body.into_owned()
    }
}

/// Builds a request, for tests; the first mistake is told at the end.
#[derive(Clone, Debug)]
#[must_use = "a builder makes a request when it is given a body"]
pub struct RequestBuilder {
    parts: Result<(Method, Option<Uri>, HeaderMap), Error>,
}

impl RequestBuilder {
    /// Sets the method: a name or one of the constants of [`Method`].
    pub fn method<M: TryInto<Method>>(self, method: M) -> Self
    where
        Error: From<M::Error>,
    {
        self.change(|parts| {
            parts.0 = method.try_into()?;
            Ok(())
        })
    }

    /// Sets path and query.
    pub fn uri(self, target: &str) -> Self {
        self.change(|parts| {
            parts.1 = Some(target.try_into()?);
            Ok(())
        })
    }

    /// Adds a header beside those with its name.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.change(|parts| parts.2.append(name, value))
    }

    /// The request.
    pub fn body(self, body: impl Into<Vec<u8>>) -> Result<Request<'static>, Error> {
        let (method, uri, headers) = self.parts?;
        let body = Cow::Owned(body.into());
        Ok(Request {
            method,
            uri: uri.unwrap_or_default(),
            headers,
            body,
        })
    }

    fn change(
        mut self,
        change: impl FnOnce(&mut (Method, Option<Uri>, HeaderMap)) -> Result<(), Error>,
    ) -> Self {
        self.parts = self
            .parts
            .and_then(|mut parts| change(&mut parts).map(|()| parts));
        self
    }
}
