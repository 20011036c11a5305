//! What a function answers over HTTP, for a client. Not here: its headers and its length (`headers`).

use axum::{
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use jiffy_abi::frame::STATUSES;
use jiffy_model::Outcome;

use super::{
    bodies::Held,
    headers::{of_function, settle_length},
    problem::Problem,
};

/// A function's HTTP response. It comes from a guest: status and headers are checked.
pub(crate) fn http_response(
    response: jiffy_control::Response,
    method: &Method,
    held: Held,
) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(response.status)
        .ok()
        .filter(|status| STATUSES.contains(&status.as_u16()))
        .ok_or_else(|| {
            let detail = format!(
                "the function answered with HTTP status {}: must be {} to {}",
                response.status,
                STATUSES.start(),
                STATUSES.end()
            );
            Problem::new(Outcome::FunctionError, detail)
        })?;
    let mut headers = of_function(response.headers).map_err(|name| {
        let detail = format!("the function answered with a malformed header {name:?}");
        Problem::new(Outcome::FunctionError, detail)
    })?;
    let body = settle_length(method, status, &mut headers, response.body, held)?;
    let mut answer = (status, body).into_response();
    *answer.headers_mut() = headers;
    Ok(answer)
}
