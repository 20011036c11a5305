//! Requests that a function makes.

use alloc::{format, vec::Vec};

use jiffy_abi::{
    call::{OPERATION_HTTP_REQUEST, ReplyHead, SERVICE_HTTP},
    frame::{Fields, Tag},
};
use serde::Serialize;

use super::{HeaderMap, Method, Response};
use crate::call::Call;

/// A request with this method to `url`, which is absolute. The host makes it, on a connection that it keeps, if the function's
/// `jiffy.toml` allows it; a redirect is a response like any other.
pub fn request(method: &Method, url: &str) -> Call<Response> {
    Call::new(SERVICE_HTTP, OPERATION_HTTP_REQUEST, decode)
        .field(Tag::Method, method.as_str().as_bytes())
        .field(Tag::Target, url.as_bytes())
}

macro_rules! methods {
    ($($name:ident $method:ident;)+) => {$(
        #[doc = concat!("A `", stringify!($method), "` of `url`; see [`request`].")]
        pub fn $name(url: &str) -> Call<Response> {
            request(&Method::$method, url)
        }
    )+};
}

methods! {
    get GET;
    head HEAD;
    post POST;
    put PUT;
    patch PATCH;
    delete DELETE;
}

/// HTTP requests.
impl Call<Response> {
    /// Adds a header. Those that belong to the connection, `Host` and `Content-Length` are the host's.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let mut checked = HeaderMap::new();
        match checked.append(name, &value) {
            Ok(()) => self
                .field(Tag::HeaderName, name.as_bytes())
                .field(Tag::HeaderValue, value.as_ref()),
            Err(error) => self.refused(&format!("{error}")),
        }
    }

    /// What it carries.
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        self.carrying(body.into())
    }

    /// Carries `value` as JSON, and says so.
    pub fn json(self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self
                .header("content-type", "application/json")
                .carrying(body),
            Err(error) => self.refused(&format!("{error}")),
        }
    }

    /// Has the host put the secret of this name into it, in the header that `jiffy.toml` says and in place of what the function has
    /// there: the function never has it. [`Denied`](crate::call::CallErrorKind::Denied) if the request goes to none of its hosts
    /// by https; [`Failed`](crate::call::CallErrorKind::Failed), not sent, if nobody has set it.
    pub fn secret(self, name: &str) -> Self {
        self.bound(name)
    }
}

fn decode(reply: &ReplyHead<'_>, head: &[u8], body: &[u8]) -> Option<Response> {
    let status = Fields::new(head).find_map(|field| match field {
        Ok((Tag::Status, status)) => Some(u16::from_le_bytes(status.try_into().ok()?)),
        _ => None,
    });
    Response::from_parts(status?, reply.headers(), body.into()).ok()
}

#[cfg(all(test, not(jiffy_guest)))]
mod tests;
