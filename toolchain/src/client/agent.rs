//! The agent as a client sees it: where it is, who we are to it, and one request at a time.
//!
//! Whatever it answers is a stranger's: sizes and times are limited, documents are decoded into what is
//! expected, and texts are spelled out before they reach a terminal.

use std::{
    io::{BufReader, Read},
    path::PathBuf,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use ureq::{
    Body, BodyReader, Timeout,
    http::{HeaderMap, HeaderValue, Method, Response, Uri, header},
};

use super::{ClientError, Problem, token};

/// Where the agent is unless somebody says otherwise: jiffyd's own default.
pub(crate) const URL_DEFAULT: &str = "http://127.0.0.1:7070";
/// Bytes of a document of the agent at most. A page of a list has 1000 entries.
const DOCUMENT_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a problem at most; it may hold what `init` logged.
const PROBLEM_BYTES_MAX: u64 = 8 << 20;
/// Bytes of a response's line and headers at most; a function's own are among them.
const HEADERS_BYTES_MAX: usize = 256 << 10;
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// What the agent may take for anything that runs no function, and for each piece of a body.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// What it may take when a function has to run: its 15 minutes at most, and waiting for a VM.
const FUNCTION_TIME_MAX: Duration = Duration::from_secs(20 * 60);

/// Where the agent is, and where the token is, as the command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) token_file: Option<PathBuf>,
}

/// How long the agent may take to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wait {
    #[default]
    Answer,
    /// A function runs.
    Function,
    /// The body goes on until somebody ends it.
    Stream,
}

/// A request to the agent.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// With its query.
    pub(super) path: String,
    pub(super) headers: &'a [(String, Vec<u8>)],
    pub(super) content_type: Option<&'static str>,
    pub(super) body: &'a [u8],
    pub(super) wait: Wait,
}

impl Call<'_> {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: &[],
            content_type: None,
            body: &[],
            wait: Wait::Answer,
        }
    }
}

/// A connection to an agent, or to be.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    /// Without a slash at its end.
    url: String,
    token: Option<HeaderValue>,
    http: ureq::Agent,
}

impl Agent {
    /// The agent at `endpoint`; nothing is sent yet.
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self, ClientError> {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // Neither another machine nor a proxy gets the token.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("jiffy/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(HEADERS_BYTES_MAX)
            .timeout_connect(Some(CONNECT_TIME_MAX))
            .timeout_resolve(Some(CONNECT_TIME_MAX))
            .timeout_per_write(Some(ANSWER_TIME_MAX))
            .build();
        Ok(Self {
            url: base_url(&endpoint.url)?,
            token: token::find(endpoint.token_file.as_deref())?,
            http: config.into(),
        })
    }

    /// Where it is, without a slash at its end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request; the response may be of any status.
    pub(super) fn send(&self, call: &Call<'_>) -> Result<Response<Body>, ClientError> {
        let url = format!("{}{}", self.url, call.path);
        let http = &self.http;
        let builder = match call.method {
            Method::POST => http.post(&url),
            Method::PUT => http.put(&url),
            Method::PATCH => http.patch(&url),
            // These have a body only if one is given.
            Method::GET => http.get(&url).force_send_body(),
            Method::HEAD => http.head(&url).force_send_body(),
            Method::DELETE => http.delete(&url).force_send_body(),
            Method::OPTIONS => http.options(&url).force_send_body(),
            ref other => return Err(ClientError::Method(other.to_string())),
        };
        let (response_time_max, read_time_max) = match call.wait {
            Wait::Answer => (ANSWER_TIME_MAX, Some(ANSWER_TIME_MAX)),
            Wait::Function => (FUNCTION_TIME_MAX, Some(FUNCTION_TIME_MAX)),
            Wait::Stream => (ANSWER_TIME_MAX, None),
        };
        let mut builder = builder
            .config()
            .timeout_recv_response(Some(response_time_max))
            .timeout_per_read(read_time_max)
            .build();
        for (name, value) in call.headers {
            // The token wins over a header of the same name: the agent would take it off anyway.
            if self.token.is_none() || !name.eq_ignore_ascii_case("authorization") {
                builder = builder.header(name, &value[..]);
            }
        }
        if let Some(content_type) = call.content_type {
            builder = builder.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(token) = &self.token {
            builder = builder.header(header::AUTHORIZATION, token.clone());
        }
        let sent = match call.body {
            [] => builder.send_empty(),
            body => builder.send(body),
        };
        sent.map_err(|error| self.failed(error))
    }

    /// The document that the agent answers with; a status that is none of success is a problem.
    pub(super) fn document<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T, ClientError> {
        let mut response = self.success(call)?;
        let body = self.body(&mut response, DOCUMENT_BYTES_MAX)?;
        serde_json::from_slice(&body).map_err(|source| ClientError::Document {
            agent: self.url.clone(),
            source,
        })
    }

    /// The response, if it is one of success.
    pub(super) fn success(&self, call: &Call<'_>) -> Result<Response<Body>, ClientError> {
        let mut response = self.send(call)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let body = self.body(&mut response, PROBLEM_BYTES_MAX)?;
        let (status, headers) = (response.status().as_u16(), response.headers());
        match Problem::of_response(headers, &body) {
            Some(problem) => Err(ClientError::Problem(Box::new(problem))),
            None => Err(self.not_an_agent(status)),
        }
    }

    /// Whatever answered with `status` does not speak as an agent does.
    pub(super) fn not_an_agent(&self, status: u16) -> ClientError {
        let agent = self.url.clone();
        ClientError::NotAnAgent { agent, status }
    }

    /// `GET`, and the JSON document that comes.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        path: impl Into<String>,
    ) -> Result<T, ClientError> {
        self.document(&Call::new(Method::GET, path))
    }

    /// `PUT` or `POST` of a document, and the one that comes back.
    pub(super) fn put(
        &self,
        method: Method,
        path: impl Into<String>,
        document: &impl Serialize,
        wait: Wait,
    ) -> Result<Value, ClientError> {
        let body = serde_json::to_vec(document).map_err(ClientError::Encode)?;
        self.document(&Call {
            content_type: Some("application/json"),
            body: &body,
            wait,
            ..Call::new(method, path)
        })
    }

    /// `DELETE`.
    pub(super) fn delete(&self, path: impl Into<String>) -> Result<(), ClientError> {
        self.success(&Call::new(Method::DELETE, path)).map(drop)
    }

    /// `GET` of a body that is read as it comes.
    pub(super) fn stream(
        &self,
        path: impl Into<String>,
        wait: Wait,
    ) -> Result<BufReader<BodyReader<'static>>, ClientError> {
        let call = Call {
            wait,
            ..Call::new(Method::GET, path)
        };
        let response = self.success(&call)?;
        Ok(BufReader::new(response.into_body().into_reader()))
    }

    /// The text at `path`.
    pub(super) fn text(&self, path: &str) -> Result<String, ClientError> {
        let mut response = self.success(&Call::new(Method::GET, path))?;
        let body = self.body(&mut response, DOCUMENT_BYTES_MAX)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// The body of a response, all of it.
    pub(super) fn body(
        &self,
        response: &mut Response<Body>,
        bytes_max: u64,
    ) -> Result<Vec<u8>, ClientError> {
        let mut body = vec![];
        let reader = response.body_mut().as_reader();
        // One byte more than is allowed, so that too much is noticed and never held.
        reader
            .take(bytes_max + 1)
            .read_to_end(&mut body)
            .map_err(|error| self.failed(error.into()))?;
        if body.len() as u64 > bytes_max {
            let agent = self.url.clone();
            return Err(ClientError::TooMuch { agent, bytes_max });
        }
        Ok(body)
    }

    /// What a failed transfer means.
    pub(super) fn failed(&self, error: ureq::Error) -> ClientError {
        use std::io::ErrorKind as Io;

        let agent = self.url.clone();
        let source = Box::new(error);
        match &*source {
            ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                ClientError::Unreachable { agent, source }
            }
            ureq::Error::Io(error)
                if matches!(
                    error.kind(),
                    Io::ConnectionRefused
                        | Io::AddrNotAvailable
                        | Io::HostUnreachable
                        | Io::NetworkUnreachable
                ) =>
            {
                ClientError::Unreachable { agent, source }
            }
            ureq::Error::Http(_) | ureq::Error::BadUri(_) => ClientError::Request { source },
            _ => ClientError::Transfer { agent, source },
        }
    }
}

/// The agent's address, as it begins each request's.
fn base_url(given: &str) -> Result<String, ClientError> {
    let bad = || ClientError::Url(given.into());
    let given_scheme = given.contains("://");
    let uri: Uri = match given_scheme {
        true => given.parse(),
        false => format!("http://{given}").parse(),
    }
    .map_err(|_| bad())?;
    if uri.scheme_str() == Some("https") {
        return Err(ClientError::Https(given.into()));
    }
    let authority = uri.authority().ok_or_else(bad)?.as_str();
    let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    if uri.scheme_str() != Some("http") || !is_bare || authority.contains('@') {
        return Err(bad());
    }
    Ok(format!("http://{authority}"))
}

impl Problem {
    /// The problem that a response tells of; `None` if it is not the agent's.
    ///
    /// A function that answers HTTP may send problems of its own, which look the same but for the header `jiffy-error`:
    /// the agent lets none pass that a function set.
    pub(super) fn of_response(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if header("content-type") != Some("application/problem+json") {
            return None;
        }
        let mut problem: Self = serde_json::from_slice(body).ok()?;
        problem.kind = problem.kind.strip_prefix("urn:jiffy:")?.to_owned();
        (header("jiffy-error") == Some(&problem.kind)).then_some(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_has_a_bare_http_address() {
        let url = |text: &str| base_url(text).ok();
        for text in [
            "http://10.0.0.1:7070",
            "10.0.0.1:7070",
            "http://10.0.0.1:7070/",
        ] {
            assert_eq!(url(text).as_deref(), Some("http://10.0.0.1:7070"), "{text}");
        }
        assert_eq!(url("http://[::1]:7").as_deref(), Some("http://[::1]:7"));
        for text in [
            "",
            "http://",
            "ftp://a",
            "http://a/b",
            "http://a?b",
            "http://u:p@a",
            "a b",
        ] {
            assert!(matches!(base_url(text), Err(ClientError::Url(_))), "{text}");
        }
        assert!(matches!(base_url("https://a"), Err(ClientError::Https(_))));
    }

    #[test]
    fn a_problem_is_the_agents_only_with_its_mark() {
        let of = |content_type: &'static str, mark: Option<&'static str>, body: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static(content_type));
            if let Some(mark) = mark {
                headers.insert("jiffy-error", HeaderValue::from_static(mark));
            }
            Problem::of_response(&headers, body.as_bytes())
        };
        let json = "application/problem+json";
        let body = r#"{"type":"urn:jiffy:panic","detail":"no","request_id":"r1","status":500}"#;
        let problem = of(json, Some("panic"), body).expect("a problem");
        assert_eq!((&*problem.kind, &*problem.detail), ("panic", "no"));
        assert!(of(json, None, body).is_none());
        assert!(of(json, Some("fault"), body).is_none());
        assert!(of("application/json", Some("panic"), body).is_none());
        assert!(of(json, Some("panic"), &body.replace("urn:jiffy:", "urn:")).is_none());
        assert!(of(json, Some("panic"), "{").is_none());
    }
}
