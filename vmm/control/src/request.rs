//! Requests and responses as whole values. Not here: how they go over the stream (`exchange`).

use jiffy_abi::frame::ResponseKind;

/// A request to a function. Texts that are empty are not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its id.
    pub request_id: String,
    /// Name of the function as it was deployed.
    pub function_name: String,
    /// Version of the function as it was deployed.
    pub function_version: String,
    /// W3C trace context, if the caller sent one.
    pub traceparent: Option<String>,
    /// IP address of whoever sent it, if that is known.
    pub client_address: Option<String>,
    /// What the caller says of itself, JSON, if it does.
    pub client_context: Option<String>,
    /// What came over HTTP; `None`: the body is an event.
    pub http: Option<HttpRequest>,
    /// The event, or the HTTP body.
    pub body: Vec<u8>,
}

/// What only a request over HTTP has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names and values, in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A function's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// What it is.
    pub kind: ResponseKind,
    /// HTTP status; zero if the response is none of HTTP.
    pub status: u16,
    /// Name of the error's type; empty if the response is no error.
    pub error_type: String,
    /// HTTP headers: names and values, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What the handler returned, the HTTP body, or the text of the error.
    pub body: Vec<u8>,
}
