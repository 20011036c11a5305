//! What comes in, checked: path, query, headers, body. Everything here is a stranger's.

use std::time::Duration;

use axum::http::{HeaderMap, header, request::Parts};
use axum::{
    body::Body,
    extract::{FromRequestParts, Path, Query, Request},
};
use jiffy_model::{EndsRequest, Outcome};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    bodies::{Intake, collect},
    problem::Problem,
};

/// Bytes of a JSON document that describes a change, at most.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// Characters of a parameter that are shown to who should not have sent it.
const QUERY_NAME_SHOWN_CHARS_MAX: usize = 64;

/// Parts of the path; a problem if one is not what it has to be.
#[derive(Debug)]
pub(crate) struct Segments<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(segments)| Self(segments))
            .map_err(|error| Problem::new(Outcome::InvalidRequest, error.body_text()))
    }
}

/// The query; a problem if it has a parameter that is unknown or not what it has to be.
#[derive(Debug)]
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::<T>::try_from_uri(&parts.uri)
            .map(|Query(parameters)| Self(parameters))
            .map_err(|error| Problem::new(Outcome::InvalidRequest, error.body_text()))
    }
}

/// Refuses a query, for paths that have no parameters.
pub(crate) fn check_no_query(request: &Request) -> Result<(), Problem> {
    match request.uri().query() {
        None | Some("") => Ok(()),
        Some(query) => {
            let name = query.split(['=', '&']).next().unwrap_or_default();
            let name: String = name.chars().take(QUERY_NAME_SHOWN_CHARS_MAX).collect();
            let detail = format!("this path has no query parameters: leave out {name:?}");
            Err(Problem::new(Outcome::InvalidRequest, detail))
        }
    }
}

/// Why a body did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body has more than {bytes_max} bytes: send a smaller one")]
    TooLarge { bytes_max: u64 },
    #[error("the body did not come within {0:?}: send it faster")]
    Slow(Duration),
    #[error("the body broke off or is malformed: send it again")]
    Broken,
    #[error(
        "all bodies that the agent holds have {bytes_max} bytes together, as many as limits.bodies_bytes_max allows: try again later"
    )]
    Overloaded { bytes_max: u64 },
    #[error("the host has no memory for the body: try again later")]
    NoMemory,
}

impl EndsRequest for BodyError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::TooLarge { .. } => Outcome::TooLarge,
            Self::Slow(_) => Outcome::RequestTimeout,
            Self::Broken => Outcome::MalformedBody,
            Self::Overloaded { .. } | Self::NoMemory => Outcome::Overloaded,
        }
    }
}

/// A JSON document of at most [`DOCUMENT_BYTES_MAX`].
pub(crate) async fn document<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    mut intake: Intake,
) -> Result<T, Problem> {
    if !is_json(headers) {
        return Err(Problem::new(
            Outcome::UnsupportedMediaType,
            "the body has to be JSON: send it with Content-Type: application/json",
        ));
    }
    let body = collect(body, DOCUMENT_BYTES_MAX, &mut intake).await?;
    let mut document = serde_json::from_slice(&body).map_err(no_document)?;
    make_integers(&mut document);
    serde_json::from_value(document).map_err(no_document)
}

fn no_document(error: serde_json::Error) -> Problem {
    let detail = format!("the body is not the document that is expected: {error}");
    Problem::new(Outcome::InvalidRequest, detail)
}

/// Makes `9.0` a `9`: JSON Schema calls both an integer, and some languages write the one for the other.
/// Goes as deep as `serde_json` lets a document be, 128 levels.
fn make_integers(value: &mut Value) {
    /// 2^53: up to here a float is one integer and no other.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Array(values) => values.iter_mut().for_each(make_integers),
        Value::Object(fields) => fields.values_mut().for_each(make_integers),
        Value::Number(number) if number.is_f64() => {
            let exact = number.as_f64().filter(|float| float.fract() == 0.0);
            if let Some(float) = exact.filter(|float| (0.0..=EXACT_MAX).contains(float)) {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "an integer from 0 to 2^53"
                )]
                let integer = float as u64;
                *value = integer.into();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    media_type.is_some_and(|text| text.trim().eq_ignore_ascii_case("application/json"))
}

/// Text in a path or a query, with its percent escapes decoded.
pub(crate) fn decode(text: &str) -> Option<String> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_floats_are_integers_and_others_are_not() {
        let mut document =
            json!({ "a": [1.0, 1.5, -1.0, 1e300, 0.0], "b": { "c": 1e3 }, "d": "1.0" });
        make_integers(&mut document);
        let made = json!({ "a": [1, 1.5, -1.0, 1e300, 0], "b": { "c": 1000 }, "d": "1.0" });
        assert_eq!(document, made);
    }
}
