//! Answers with what it was asked over HTTP: method, target and headers in headers, and the body.
#![cfg_attr(not(test), no_std)]

use jiffy::http::{Error, Request, Response, StatusCode};

/// Answers.
#[jiffy::function]
pub fn answer(request: Request) -> Result<Response, Error> {
    let mut response = Response::builder()
        .status(StatusCode::CREATED)
        .header("x-method", request.method().as_str())
        .header("x-target", request.uri().as_str());
    for (name, value) in request.headers() {
        response = response.header(name, value.as_bytes());
    }
    response.body(request.body())
}
