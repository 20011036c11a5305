//! Errors as the SDKs of Lambda know them.

use std::{fmt::Write as _, time::Duration};

use axum::http::{HeaderValue, StatusCode, header};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use jiffy_control::Untrusted;
use serde_json::json;

use super::{code::CodeError, sigv4::SignatureError};
use crate::{
    api::{
        input::BodyError,
        problem::{DETAIL_BYTES_MAX, bounded},
        stranger::Stranger,
    },
    images::ImageError,
    model::InvalidValue,
    service::{ChangeError, ChangeErrorKind, DeployError, DeployErrorKind, InvokeFailureKind},
};

/// Log lines of a failed `init` that a message has at most.
const LOG_LINES_MAX: usize = 20;

/// The exceptions of Lambda's API that this one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exception {
    InvalidParameterValue,
    InvalidRequestContent,
    ResourceNotFound,
    ResourceConflict,
    PreconditionFailed,
    CodeStorageExceeded,
    TooManyRequests,
    /// The same, because the function is given none.
    Stopped,
    RequestTooLarge,
    RequestTimeout,
    OtherHost,
    OtherOrigin,
    MethodNotAllowed,
    UnknownOperation,
    NotImplemented,
    NotProvisioned,
    /// Of a function's URL: what went wrong is for its author to know.
    BadGateway,
    Service,
    MissingAuthenticationToken,
    IncompleteSignature,
    UnrecognizedClient,
    InvalidSignature,
}

impl Exception {
    /// Status and name.
    const fn parts(self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidParameterValue => (S::BAD_REQUEST, "InvalidParameterValueException"),
            Self::InvalidRequestContent => (S::BAD_REQUEST, "InvalidRequestContentException"),
            Self::ResourceNotFound => (S::NOT_FOUND, "ResourceNotFoundException"),
            Self::ResourceConflict => (S::CONFLICT, "ResourceConflictException"),
            Self::PreconditionFailed => (S::PRECONDITION_FAILED, "PreconditionFailedException"),
            Self::CodeStorageExceeded => (S::BAD_REQUEST, "CodeStorageExceededException"),
            Self::TooManyRequests | Self::Stopped => {
                (S::TOO_MANY_REQUESTS, "TooManyRequestsException")
            }
            Self::RequestTooLarge => (S::PAYLOAD_TOO_LARGE, "RequestTooLargeException"),
            Self::RequestTimeout => (S::REQUEST_TIMEOUT, "RequestTimeoutException"),
            Self::OtherHost => (S::MISDIRECTED_REQUEST, "MisdirectedRequestException"),
            Self::OtherOrigin => (S::FORBIDDEN, "AccessDeniedException"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "MethodNotAllowedException"),
            Self::UnknownOperation => (S::NOT_FOUND, "UnknownOperationException"),
            // Of those of the server, the one that no SDK tries again.
            Self::NotImplemented => (S::NOT_IMPLEMENTED, "NotImplementedException"),
            Self::NotProvisioned => (
                S::NOT_FOUND,
                "ProvisionedConcurrencyConfigNotFoundException",
            ),
            Self::BadGateway => (S::BAD_GATEWAY, "BadGatewayException"),
            Self::Service => (S::INTERNAL_SERVER_ERROR, "ServiceException"),
            Self::MissingAuthenticationToken => {
                (S::FORBIDDEN, "MissingAuthenticationTokenException")
            }
            Self::IncompleteSignature => (S::FORBIDDEN, "IncompleteSignatureException"),
            Self::UnrecognizedClient => (S::FORBIDDEN, "UnrecognizedClientException"),
            Self::InvalidSignature => (S::FORBIDDEN, "InvalidSignatureException"),
        }
    }
}

/// An error for an SDK.
#[derive(Debug)]
pub(super) struct LambdaError {
    exception: Exception,
    message: String,
    retry_after: Option<Duration>,
}

impl LambdaError {
    pub(super) fn new(exception: Exception, message: impl Into<String>) -> Self {
        Self {
            exception,
            message: message.into(),
            retry_after: None,
        }
    }

    #[cfg(test)]
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    #[cfg(test)]
    pub(super) fn exception(&self) -> Exception {
        self.exception
    }
}

impl IntoResponse for LambdaError {
    fn into_response(self) -> Response {
        let (status, name) = self.exception.parts();
        let blames = if status.is_server_error() {
            "Service"
        } else {
            "User"
        };
        let message = bounded(self.message, DETAIL_BYTES_MAX);
        // Some shapes have the one spelling, some the other; each SDK reads its own.
        let mut document = json!({ "Type": blames, "Message": message, "message": message });
        match self.exception {
            Exception::TooManyRequests => {
                document["Reason"] = "ConcurrentInvocationLimitExceeded".into();
            }
            Exception::Stopped => {
                document["Reason"] = "ReservedFunctionConcurrentInvocationLimitExceeded".into();
            }
            _ => {}
        }
        let mut response = Response::new(Body::from(document.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert("x-amzn-errortype", HeaderValue::from_static(name));
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, after.as_secs().max(1).into());
        }
        response
    }
}

impl From<Stranger> for LambdaError {
    fn from(stranger: Stranger) -> Self {
        let exception = match stranger {
            Stranger::Host(_) => Exception::OtherHost,
            Stranger::Origin(_) | Stranger::Page => Exception::OtherOrigin,
        };
        Self::new(exception, stranger.to_string())
    }
}

impl From<InvalidValue> for LambdaError {
    fn from(error: InvalidValue) -> Self {
        Self::new(Exception::InvalidParameterValue, error.to_string())
    }
}

impl From<CodeError> for LambdaError {
    fn from(error: CodeError) -> Self {
        let exception = match error {
            CodeError::TooLarge(_) => Exception::RequestTooLarge,
            _ => Exception::InvalidParameterValue,
        };
        Self::new(exception, error.to_string())
    }
}

impl From<ImageError> for LambdaError {
    fn from(error: ImageError) -> Self {
        let exception = match error {
            ImageError::NotFound(_) => Exception::ResourceNotFound,
            ImageError::TooLarge(_) => Exception::RequestTooLarge,
            ImageError::NotAnImage(_) => Exception::InvalidParameterValue,
            ImageError::Directory { .. } | ImageError::Private(_) | ImageError::Stranger(_) => {
                Exception::Service
            }
        };
        Self::new(exception, error.to_string())
    }
}

impl From<BodyError> for LambdaError {
    fn from(error: BodyError) -> Self {
        let exception = match error {
            BodyError::TooLarge { .. } => Exception::RequestTooLarge,
            BodyError::Slow(_) => Exception::RequestTimeout,
            BodyError::Broken => Exception::InvalidRequestContent,
            BodyError::Overloaded { .. } | BodyError::NoMemory => Exception::Service,
        };
        Self::new(exception, error.to_string())
    }
}

impl From<SignatureError> for LambdaError {
    fn from(error: SignatureError) -> Self {
        let exception = match error {
            SignatureError::Missing => Exception::MissingAuthenticationToken,
            SignatureError::Malformed(_) => Exception::IncompleteSignature,
            SignatureError::UnknownKey => Exception::UnrecognizedClient,
            SignatureError::Expired | SignatureError::Mismatch | SignatureError::Scope { .. } => {
                Exception::InvalidSignature
            }
        };
        Self::new(exception, error.to_string())
    }
}

impl From<ChangeError> for LambdaError {
    fn from(error: ChangeError) -> Self {
        let exception = match error.kind() {
            ChangeErrorKind::NotFound => Exception::ResourceNotFound,
            ChangeErrorKind::Invalid => Exception::InvalidParameterValue,
            ChangeErrorKind::Conflict => Exception::ResourceConflict,
            ChangeErrorKind::Full => Exception::CodeStorageExceeded,
            ChangeErrorKind::Platform => Exception::Service,
        };
        Self::new(exception, error.to_string())
    }
}

impl From<DeployError> for LambdaError {
    fn from(error: DeployError) -> Self {
        let message = error.kind.to_string();
        let mut refused = match error.kind {
            DeployErrorKind::NoImage(_) => Self::new(Exception::ResourceNotFound, message),
            DeployErrorKind::Invalid(_)
            | DeployErrorKind::Image(_)
            | DeployErrorKind::Init { .. } => Self::new(Exception::InvalidParameterValue, message),
            DeployErrorKind::UnderWay(_) => Self::new(Exception::ResourceConflict, message),
            DeployErrorKind::Change(error) => error.into(),
            DeployErrorKind::Host(_) => Self::new(Exception::Service, message),
        };
        // There is no other place where a client of this API could read them.
        let first = error.logs.len().saturating_sub(LOG_LINES_MAX);
        for record in &error.logs[first..] {
            let _ = write!(refused.message, "\n  {}", Untrusted(&record.text));
        }
        refused
    }
}

/// Only those of which the function is not the cause; the others are a result. See `invoke`.
impl From<InvokeFailureKind> for LambdaError {
    fn from(failure: InvokeFailureKind) -> Self {
        let exception = match &failure {
            InvokeFailureKind::NoFunction(_)
            | InvokeFailureKind::NoVersion(..)
            | InvokeFailureKind::NoAlias(..) => Exception::ResourceNotFound,
            InvokeFailureKind::TooLarge(_) => Exception::RequestTooLarge,
            InvokeFailureKind::Stopped(_) => Exception::Stopped,
            InvokeFailureKind::Busy { .. } => Exception::TooManyRequests,
            InvokeFailureKind::Panic { .. }
            | InvokeFailureKind::Fault(_)
            | InvokeFailureKind::Timeout { .. }
            | InvokeFailureKind::OutOfMemory { .. }
            | InvokeFailureKind::Platform(_) => Exception::Service,
        };
        let mut error = Self::new(exception, failure.to_string());
        if let InvokeFailureKind::Busy { retry_after, .. } = failure {
            error.retry_after = Some(retry_after);
        }
        error
    }
}
