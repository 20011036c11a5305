//! The request: an event from the command line, a file or standard input, and what makes it HTTP.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use jiffy_abi::frame::BODY_BYTES_MAX;
use jiffy_control::{HttpRequest, Request};

/// Where the event is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum EventSource {
    /// None was given: it has no bytes.
    #[default]
    Empty,
    Text(String),
    File(PathBuf),
    StandardInput,
}

/// What makes a request one of HTTP.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpOptions {
    /// `METHOD TARGET`.
    pub(crate) line: Option<String>,
    /// `name: value`.
    pub(crate) headers: Vec<String>,
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventError {
    #[error("cannot read the event from {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the event has more than {BODY_BYTES_MAX} bytes: send a smaller one")]
    TooLarge,
    #[error("{0:?} is no HTTP request: write it as 'POST /path?query'")]
    HttpLine(String),
    #[error("{0:?} is no HTTP header: write it as 'name: value'")]
    HttpHeader(String),
}

/// The request, without function and id.
pub(crate) fn request(source: &EventSource, http: &HttpOptions) -> Result<Request, EventError> {
    Ok(Request {
        http: http_request(http)?,
        body: body(source)?,
        ..Request::default()
    })
}

fn body(source: &EventSource) -> Result<Vec<u8>, EventError> {
    let body = match source {
        EventSource::Empty => vec![],
        EventSource::Text(text) => text.clone().into_bytes(),
        EventSource::StandardInput => read(Path::new("standard input"), io::stdin().lock())?,
        EventSource::File(path) => {
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

fn http_request(options: &HttpOptions) -> Result<Option<HttpRequest>, EventError> {
    let Some(line) = &options.line else {
        return Ok(None);
    };
    let bad_line = || EventError::HttpLine(line.clone());
    let (method, target) = line.split_once(' ').ok_or_else(bad_line)?;
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    if !is_method || !target.starts_with('/') || target.contains(char::is_whitespace) {
        return Err(bad_line());
    }
    let headers = options
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_from_anywhere() {
        assert_eq!(body(&EventSource::Empty).expect("empty"), b"");
        assert_eq!(body(&EventSource::Text("{}".into())).expect("text"), b"{}");
        let missing = body(&EventSource::File("/nonexistent".into()));
        assert!(matches!(missing, Err(EventError::Read { .. })));
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let event = EventSource::File(file.path().into());
        file.as_file()
            .set_len(u64::from(BODY_BYTES_MAX))
            .expect("resize");
        assert_eq!(body(&event).expect("fits").len(), BODY_BYTES_MAX as usize);
        file.as_file()
            .set_len(u64::from(BODY_BYTES_MAX) + 1)
            .expect("resize");
        assert!(matches!(body(&event), Err(EventError::TooLarge)));
        // It would be read for ever, as a pipe would be waited for: `-` takes what comes from one.
        let device = body(&EventSource::File("/dev/zero".into()));
        assert!(matches!(device, Err(EventError::Read { .. })));
    }

    #[test]
    fn a_line_and_headers_make_a_request_one_of_http() {
        let request = |line: &str, header: &str| {
            http_request(&HttpOptions {
                line: Some(line.into()),
                headers: vec![header.into()],
            })
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
            http_request(&HttpOptions::default())
                .expect("an event")
                .is_none()
        );
    }
}
