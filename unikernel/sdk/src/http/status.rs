//! Status codes.

use core::fmt;

use jiffy_abi::frame::STATUSES;

use super::Error;

/// A response's status, 200 to 599; the usual ones are constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusCode(u16);

impl StatusCode {
    /// 200
    pub const OK: Self = Self(200);
    /// 201
    pub const CREATED: Self = Self(201);
    /// 202
    pub const ACCEPTED: Self = Self(202);
    /// 204
    pub const NO_CONTENT: Self = Self(204);
    /// 301
    pub const MOVED_PERMANENTLY: Self = Self(301);
    /// 302
    pub const FOUND: Self = Self(302);
    /// 303
    pub const SEE_OTHER: Self = Self(303);
    /// 304
    pub const NOT_MODIFIED: Self = Self(304);
    /// 400
    pub const BAD_REQUEST: Self = Self(400);
    /// 401
    pub const UNAUTHORIZED: Self = Self(401);
    /// 403
    pub const FORBIDDEN: Self = Self(403);
    /// 404
    pub const NOT_FOUND: Self = Self(404);
    /// 405
    pub const METHOD_NOT_ALLOWED: Self = Self(405);
    /// 409
    pub const CONFLICT: Self = Self(409);
    /// 413
    pub const PAYLOAD_TOO_LARGE: Self = Self(413);
    /// 415
    pub const UNSUPPORTED_MEDIA_TYPE: Self = Self(415);
    /// 422
    pub const UNPROCESSABLE_ENTITY: Self = Self(422);
    /// 429
    pub const TOO_MANY_REQUESTS: Self = Self(429);
    /// 500
    pub const INTERNAL_SERVER_ERROR: Self = Self(500);
    /// 501
    pub const NOT_IMPLEMENTED: Self = Self(501);
    /// 502
    pub const BAD_GATEWAY: Self = Self(502);
    /// 503
    pub const SERVICE_UNAVAILABLE: Self = Self(503);

    /// The number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether it is between 200 and 299.
    pub const fn is_success(self) -> bool {
        matches!(self.0, 200..=299)
    }
}

impl Default for StatusCode {
    fn default() -> Self {
        Self::OK
    }
}

impl TryFrom<u16> for StatusCode {
    type Error = Error;

    fn try_from(number: u16) -> Result<Self, Error> {
        if STATUSES.contains(&number) {
            Ok(Self(number))
        } else {
            Err(Error::Status(number))
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_on_both_sides() {
        assert!(StatusCode::try_from(200).is_ok() && StatusCode::try_from(599).is_ok());
        // What the agent would refuse is told to the author, not to the client.
        for wrong in [0, 99, 100, 199, 600, 999, u16::MAX] {
            assert_eq!(StatusCode::try_from(wrong), Err(Error::Status(wrong)));
        }
    }
}
