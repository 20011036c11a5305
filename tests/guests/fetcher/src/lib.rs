//! Makes the HTTP requests that it is told to, all at once, and answers what came of each.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use jiffy::{
    call::{CallError, Pending},
    http::{self, Method, Response},
};

/// A request.
#[derive(serde::Deserialize)]
pub struct Wanted {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    secret: String,
    timeout_ms: Option<u64>,
}

/// What came of it.
#[derive(serde::Serialize)]
pub struct Got {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    /// Kind and whether it was sent; empty if there is a response.
    error: String,
    message: String,
}

/// Makes the requests.
#[jiffy::function]
pub fn fetcher(wanted: Vec<Wanted>) -> Result<Vec<Got>, http::Error> {
    let started: Result<Vec<_>, _> = wanted.iter().map(start).collect();
    Ok(started?.into_iter().map(|call| got(call.wait())).collect())
}

fn start(wanted: &Wanted) -> Result<Pending<Response>, http::Error> {
    let method = Method::try_from(wanted.method.as_str())?;
    let mut call = http::request(&method, &wanted.url).body(wanted.body.as_bytes());
    for (name, value) in &wanted.headers {
        call = call.header(name, value);
    }
    if let Some(timeout_ms) = wanted.timeout_ms {
        call = call.timeout(Duration::from_millis(timeout_ms));
    }
    Ok(call.secret(&wanted.secret).start())
}

fn got(result: Result<Response, CallError>) -> Got {
    match result {
        Ok(response) => Got {
            status: response.status().as_u16(),
            headers: response
                .headers()
                .iter()
                .map(|(name, value)| (name.into(), value.to_str().unwrap_or("?").into()))
                .collect(),
            body: String::from_utf8_lossy(response.body()).into_owned(),
            error: String::new(),
            message: String::new(),
        },
        Err(error) => Got {
            status: 0,
            headers: Vec::new(),
            body: String::new(),
            error: format!("{:?} {:?}", error.kind(), error.sent()),
            message: error.to_string(),
        },
    }
}
