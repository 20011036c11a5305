//! Errors as the SDKs of Lambda know them.

use std::{fmt::Write as _, time::Duration};

use axum::http::{StatusCode, header};
use axum::{
    Extension, Json,
    response::{IntoResponse, Response},
};
use jiffy_control::Untrusted;
use jiffy_model::{EndsRequest, Lambda, Outcome};
use serde_json::json;

use crate::{
    http::problem::{About, DETAIL_BYTES_MAX, bounded},
    pool::RETRY_AFTER,
    service::{DeployError, NoAnswer},
};

/// Log lines of a failed `init` that a message has at most.
const LOG_LINES_MAX: usize = 20;

/// An error for an SDK.
#[derive(Debug)]
pub(super) struct LambdaError {
    outcome: Outcome,
    message: String,
    retry_after: Option<Duration>,
}

impl LambdaError {
    pub(super) fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self {
            outcome,
            message: message.into(),
            // This may be over soon.
            retry_after: (outcome == Outcome::Overloaded).then_some(RETRY_AFTER),
        }
    }

    /// The client asked for what cannot be.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Outcome::InvalidRequest, message)
    }

    #[cfg(test)]
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    #[cfg(test)]
    pub(super) fn outcome(&self) -> Outcome {
        self.outcome
    }
}

impl IntoResponse for LambdaError {
    fn into_response(self) -> Response {
        let (status, name) = match self.outcome.lambda() {
            Lambda::Exception(status, name) => (status, name),
            // No results are made here, and what is refused before an API is chosen is not refused here.
            Lambda::Answer | Lambda::Handled(_) | Lambda::Unhandled(_) | Lambda::Problem => {
                (500, "ServiceException")
            }
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let blames = if status.is_server_error() {
            "Service"
        } else {
            "User"
        };
        let message = bounded(self.message, DETAIL_BYTES_MAX);
        // Some shapes have the one spelling, some the other; each SDK reads its own.
        let mut document = json!({ "Type": blames, "Message": message, "message": message });
        match self.outcome {
            Outcome::Busy | Outcome::QueueFull | Outcome::NoMemory => {
                document["Reason"] = "ConcurrentInvocationLimitExceeded".into();
            }
            Outcome::Stopped => {
                document["Reason"] = "ReservedFunctionConcurrentInvocationLimitExceeded".into();
            }
            _ => {}
        }
        let kind = [("x-amzn-errortype", name)];
        let about = Extension(About(self.outcome));
        let mut response = (status, kind, about, Json(document)).into_response();
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs().max(1);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl<E: EndsRequest> From<E> for LambdaError {
    fn from(error: E) -> Self {
        Self::new(error.outcome(), error.to_string())
    }
}

impl From<DeployError> for LambdaError {
    fn from(error: DeployError) -> Self {
        let mut refused = Self::from(error.kind);
        // There is no other place where a client of this API could read them.
        let first = error.logs.len().saturating_sub(LOG_LINES_MAX);
        for record in &error.logs[first..] {
            let _ = write!(refused.message, "\n  {}", Untrusted(&record.text));
        }
        refused
    }
}

/// Only those of which the function is not the cause; the others are a result. See `invoke`.
impl From<NoAnswer> for LambdaError {
    fn from(why: NoAnswer) -> Self {
        Self {
            outcome: why.outcome,
            message: why.to_string(),
            retry_after: why.retry_after,
        }
    }
}
