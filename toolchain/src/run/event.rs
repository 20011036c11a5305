//! The request: an event from the command line, a file or standard input, and what makes it HTTP.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use jiffy_abi::frame::BODY_BYTES_MAX;
use jiffy_control::{HttpRequest, Request};

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
    #[error("cannot read the event from {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the event has more than {BODY_BYTES_MAX} bytes: send a smaller one")]
    TooLarge,
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

    /// The bytes of the event.
    pub(crate) fn body(&self) -> Result<Vec<u8>, EventError> {
        let body = match (&self.event, &self.event_file) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, None) => vec![],
            (None, Some(path)) if path.as_os_str() == "-" => {
                read(Path::new("standard input"), io::stdin().lock())?
            }
            (None, Some(path)) => {
                let read = jiffy_files::read(path, u64::from(BODY_BYTES_MAX));
                read.map_err(|source| match jiffy_files::Refused::of(&source) {
                    Some(jiffy_files::Refused::TooLarge { .. }) => EventError::TooLarge,
                    _ => EventError::Read {
                        path: path.clone(),
                        source,
                    },
                })?
            }
        };
        if body.len() > BODY_BYTES_MAX as usize {
            Err(EventError::TooLarge)
        } else {
            Ok(body)
        }
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

/// Reads up to one byte more than is allowed, so that too much is noticed and never held.
fn read(path: &Path, from: impl Read) -> Result<Vec<u8>, EventError> {
    let mut body = vec![];
    match from
        .take(u64::from(BODY_BYTES_MAX) + 1)
        .read_to_end(&mut body)
    {
        Ok(_) => Ok(body),
        Err(source) => Err(EventError::Read {
            path: path.into(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file(path: &Path) -> RequestOptions {
        RequestOptions {
            event_file: Some(path.into()),
            ..RequestOptions::default()
        }
    }

    #[test]
    fn events_come_from_anywhere() {
        assert_eq!(RequestOptions::default().body().expect("empty"), b"");
        let text = RequestOptions {
            event: Some("{}".into()),
            ..RequestOptions::default()
        };
        assert_eq!(text.body().expect("text"), b"{}");
        let missing = of_file(Path::new("/nonexistent")).body();
        assert!(matches!(missing, Err(EventError::Read { .. })));
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let event = of_file(file.path());
        file.as_file()
            .set_len(u64::from(BODY_BYTES_MAX))
            .expect("resize");
        assert_eq!(event.body().expect("fits").len(), BODY_BYTES_MAX as usize);
        file.as_file()
            .set_len(u64::from(BODY_BYTES_MAX) + 1)
            .expect("resize");
        assert!(matches!(event.body(), Err(EventError::TooLarge)));
        // It would be read for ever, as a pipe would be waited for: `-` takes what comes from one.
        let device = of_file(Path::new("/dev/zero")).body();
        assert!(matches!(device, Err(EventError::Read { .. })));
    }

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
