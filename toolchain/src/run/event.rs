//! The request: an event, and what makes it HTTP.

use std::path::PathBuf;

use clap::Args;
use jiffy_abi::frame::BODY_BYTES_MAX;
use jiffy_control::{HttpRequest, Request};

use crate::input::{Input, InputError};

/// What is sent to a function.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RequestOptions {
    /// The event: JSON, or whatever text the function takes.
    #[arg(long, value_name = "TEXT", conflicts_with = "event_file")]
    pub(crate) event: Option<String>,
    /// A file with the event; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) event_file: Option<PathBuf>,
    /// Send the event as the body of this HTTP request.
    #[arg(long, value_name = "METHOD TARGET")]
    pub(crate) http: Option<String>,
    /// A header of the HTTP request; may be given more than once.
    #[arg(long = "header", value_name = "NAME: VALUE", requires = "http")]
    pub(crate) headers: Vec<String>,
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("invalid HTTP request {0:?}: must be like 'POST /path?query'")]
    HttpLine(String),
    #[error("invalid HTTP header {0:?}: must be like 'name: value'")]
    HttpHeader(String),
}

impl RequestOptions {
    /// The request, without function and id.
    pub(crate) fn request(&self) -> Result<Request, EventError> {
        Ok(Request {
            http: self.http_request()?,
            body: self.body()?,
            ..Request::default()
        })
    }

    fn body(&self) -> Result<Vec<u8>, InputError> {
        let event = Input {
            what: "event",
            text: self.event.clone(),
            file: self.event_file.clone(),
            bytes_max: BODY_BYTES_MAX as usize,
        };
        event.read()
    }

    fn http_request(&self) -> Result<Option<HttpRequest>, EventError> {
        let Some(line) = &self.http else {
            return Ok(None);
        };
        let bad_line = || EventError::HttpLine(line.clone());
        let (method, target) = line.split_once(' ').ok_or_else(bad_line)?;
        let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        if !is_method || !target.starts_with('/') || target.contains(char::is_whitespace) {
            return Err(bad_line());
        }
        let headers = self
            .headers
            .iter()
            .map(|header| match header.split_once(':') {
                Some((name, value)) if !name.trim().is_empty() => Ok((
                    name.trim().to_ascii_lowercase(),
                    value.trim().as_bytes().to_vec(),
                )),
                _ => Err(EventError::HttpHeader(header.clone())),
            });
        Ok(Some(HttpRequest {
            method: method.into(),
            target: target.into(),
            headers: headers.collect::<Result<_, _>>()?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_and_headers_make_a_request_one_of_http() {
        let request = |line: &str, header: &str| {
            let options = RequestOptions {
                http: Some(line.into()),
                headers: vec![header.into()],
                ..RequestOptions::default()
            };
            options.http_request()
        };
        let http = request("POST /a?b", "X-Sum:  1:2 ")
            .expect("good")
            .expect("HTTP");
        assert_eq!((&*http.method, &*http.target), ("POST", "/a?b"));
        assert_eq!(http.headers, [("x-sum".to_owned(), b"1:2".to_vec())]);
        for line in ["", "GET", "/a", "get /a", "GET a", "GET /a b"] {
            assert!(
                matches!(request(line, "a: b"), Err(EventError::HttpLine(_))),
                "{line}"
            );
        }
        assert!(matches!(
            request("GET /", "nothing"),
            Err(EventError::HttpHeader(_))
        ));
        assert!(
            RequestOptions::default()
                .http_request()
                .expect("an event")
                .is_none()
        );
    }
}
