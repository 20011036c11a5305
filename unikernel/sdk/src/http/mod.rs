//! HTTP requests and responses, in the shape of the crate `http`, which needs std.
//!
//! The agent speaks HTTP with the client; a function sees one request, complete, and returns one
//! response. Connections, transfer encodings and the like are the agent's, and so are the headers
//! that belong to them.
//!
//! ```
//! use jiffy::http::{Error, Method, Request, Response, StatusCode};
//!
//! #[jiffy::function]
//! pub fn greet(request: Request) -> Result<Response, Error> {
//!     if request.method() != Method::GET {
//!         return Response::builder().status(StatusCode::METHOD_NOT_ALLOWED).body("use GET");
//!     }
//!     let name = request.uri().query_value("name").unwrap_or("nobody".into());
//!     Response::builder().header("content-type", "text/plain").body(format!("Hello, {name}!"))
//! }
//!
//! # fn main() -> Result<(), Error> {
//! let request = Request::builder().uri("/greet?name=Ada%20L.").body([])?;
//! let response = jiffy::testing::call!().http(request).run().http();
//! assert_eq!(response.status(), StatusCode::OK);
//! assert_eq!(response.body(), b"Hello, Ada L.!");
//! # Ok(())
//! # }
//! ```
//!
//! A function makes requests itself with [`get`], [`post`] and the others, if its `jiffy.toml` allows them:
//!
//! ```
//! #[jiffy::function]
//! pub fn price(event: &[u8]) -> Result<Vec<u8>, jiffy::Error> {
//!     let base = "https://prices.example.com";
//!     let (net, tax) = jiffy::join((
//!         jiffy::http::get(&format!("{base}/net")).header("accept", "text/plain"),
//!         jiffy::http::post(&format!("{base}/tax")).body(event),
//!     ))?;
//!     Ok([net.body(), b"+", tax.body()].concat())
//! }
//!
//! # fn main() {
//! let call = jiffy::testing::call!()
//!     .http_call("GET", "https://prices.example.com/net", 200, "3")
//!     .http_call("POST", "https://prices.example.com/tax", 200, "1");
//! assert_eq!(call.run().text(), "3+1");
//! # }
//! ```
//!
//! A key goes into a request without ever being in the function: `jiffy.toml` says where, and [`secret`](crate::call::Call::secret) asks
//! for it.
//!
//! ```toml
//! [secrets]
//! stripe = { hosts = ["api.stripe.com"], header = "authorization", format = "Bearer {}" }
//! ```
//!
//! ```
//! #[jiffy::function]
//! pub fn balance(_: &[u8]) -> Result<Vec<u8>, jiffy::Error> {
//!     let balance = jiffy::http::get("https://api.stripe.com/v1/balance").secret("stripe").send()?;
//!     Ok(balance.into_body())
//! }
//!
//! # fn main() {
//! let url = "https://api.stripe.com/v1/balance";
//! let call = jiffy::testing::call!().http_call("GET", url, 200, "{}").with_secret("stripe");
//! assert_eq!(call.run().text(), "{}");
//! # }
//! ```

mod client;
mod header;
mod method;
mod request;
mod response;
mod status;
mod uri;

use alloc::string::String;
use core::fmt;

pub use self::{
    client::{delete, get, head, patch, post, put, request},
    header::{HeaderMap, HeaderValue, Headers},
    method::Method,
    request::{Request, RequestBuilder},
    response::{Response, ResponseBuilder},
    status::StatusCode,
    uri::{QueryPairs, Uri},
};

/// Why something is not what HTTP allows in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A method is empty or holds a byte that is no token character.
    Method(String),
    /// A request target is no path: it does not begin with `/` and is not `*`, or it holds a space
    /// or a control character.
    Target(String),
    /// A header's name is empty or holds a byte that is no token character.
    HeaderName(String),
    /// The value of this header holds a control character, such as a line feed.
    HeaderValue(String),
    /// The value of a header is no visible ASCII text.
    HeaderText,
    /// A status is not between 200 and 599: those below are not final, others are none.
    Status(u16),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(method) => write!(f, "invalid HTTP method {method:?}"),
            Self::Target(target) => write!(
                f,
                "invalid target {target:?}: must be `*`, or begin with `/` and have no space"
            ),
            Self::HeaderName(name) => write!(f, "invalid name {name:?} of an HTTP header"),
            Self::HeaderValue(name) => {
                write!(
                    f,
                    "the value of the HTTP header {name:?} holds a control character"
                )
            }
            Self::HeaderText => f.write_str("invalid value of an HTTP header: must be ASCII text"),
            Self::Status(status) => {
                write!(f, "invalid HTTP status {status}: must be 200 to 599")
            }
        }
    }
}

impl core::error::Error for Error {}

/// Whether `text` is a token as RFC 9110 says: what methods and header names are.
fn is_token(text: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// For builders: a constant converts without a mistake.
impl From<core::convert::Infallible> for Error {
    fn from(never: core::convert::Infallible) -> Self {
        match never {}
    }
}
