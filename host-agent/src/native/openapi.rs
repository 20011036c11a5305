//! The API's description, OpenAPI 3.1, as it is served and as the table of endpoints says it.
//!
//! ```text
//! endpoints             ─▶ operations ─┐
//! types of documents    ─▶ schemas    ─┼─▶ openapi.json, checked in and part of the program
//! openapi_frame.json: all else        ─┘
//! ```
//! `document` and `schemas` put it together, in the test that holds that it is current, and nowhere else. Not here: which
//! endpoints there are (`endpoints`).

#[cfg(test)]
pub(super) mod document;
#[cfg(test)]
mod schemas;

use axum::response::Response;

use super::json;

/// What an operation is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Nothing,
    /// Bytes, and whether there have to be some.
    Bytes(bool),
    /// A document of this schema, and whether it has to be there.
    Json(&'static str, bool),
    /// Whatever the function takes.
    Anything,
}

/// How an operation answers if all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// With a status and what that means, and a document of this schema.
    Json(u16, &'static str, &'static str),
    /// 204.
    Done,
    /// 200 and a response of the frame.
    Named(&'static str),
    /// Whatever the function says.
    Site,
}

/// `GET /openapi.json`
pub(super) async fn openapi() -> Response {
    json(include_str!("openapi.json"))
}
