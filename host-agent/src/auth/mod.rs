//! Who sends a request: a [`Principal`], which is all that the inside knows of it.
//!
//! | principal | shows | may |
//! |---|---|---|
//! | operator | the agent's token | everything |
//! | anonymous | nothing, and the agent has no token: whoever reaches its loopback address | everything |
//! | key holder | a signature by one of the agent's access keys | everything, through Lambda's API |
//! | visitor | nothing that is known | what is [`Scope::Public`], and functions' URLs that are |
//!
//! Not here: what an endpoint asks for (`native::endpoints`, `lambda`), and what a refusal looks like.

pub(crate) mod sigv4;

use std::{net::IpAddr, time::SystemTime};

use axum::{
    extract::Request,
    http::{HeaderMap, header, request::Parts},
};
use subtle::ConstantTimeEq;

use self::sigv4::{SignatureError, precheck, verify};
use crate::config::Config;

/// The service's name in a signature.
const SIGNED_SERVICE: &str = "lambda";

/// Who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    Operator,
    Anonymous,
    KeyHolder,
    Visitor,
}

/// What an endpoint asks of a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Nothing.
    Public,
    /// To see what there is and what happened.
    Read,
    /// To ask functions.
    Invoke,
    /// To see and to change what functions keep and send.
    Data,
    /// To set secrets, which nobody is told again.
    Secrets,
    /// To change what there is.
    Deploy,
}

impl Principal {
    /// Who shows `headers`. What is signed is known later: see [`signer`].
    fn of(headers: &HeaderMap, config: &Config) -> Self {
        match &config.token {
            None => Self::Anonymous,
            Some(token) if has_token(headers, token.expose()) => Self::Operator,
            Some(_) => Self::Visitor,
        }
    }

    pub(crate) fn may(self, scope: Scope) -> bool {
        match self {
            Self::Operator | Self::Anonymous | Self::KeyHolder => true,
            Self::Visitor => scope == Scope::Public,
        }
    }
}

/// Who sent a request and through which connection; an extension of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// The other end of the connection.
    pub(crate) peer: IpAddr,
    /// The connection is one of the reserve.
    pub(crate) is_reserved: bool,
    pub(crate) principal: Principal,
}

impl Caller {
    /// One of whom nothing is known yet.
    pub(crate) fn new(peer: IpAddr, is_reserved: bool) -> Self {
        Self {
            peer: peer.to_canonical(),
            is_reserved,
            principal: Principal::Visitor,
        }
    }
}

/// The request with what its headers say of its sender.
pub(crate) fn authenticate(mut request: Request, config: &Config) -> Request {
    let principal = Principal::of(request.headers(), config);
    if let Some(caller) = request.extensions_mut().get_mut::<Caller>() {
        caller.principal = principal;
    }
    request
}

/// Who sent a request to Lambda's API: `principal`, if that is one with the token, or if there are no keys, and else the holder
/// of the key that has signed it. Without the body, which a signature covers, it is only known who certainly may not: `None`.
pub(crate) fn signer(
    principal: Principal,
    parts: &Parts,
    body: Option<&[u8]>,
    config: &Config,
) -> Result<Option<Principal>, SignatureError> {
    let keys = &config.lambda_keys;
    match principal {
        Principal::Operator | Principal::KeyHolder => return Ok(Some(principal)),
        Principal::Anonymous if keys.is_empty() => return Ok(Some(principal)),
        _ if keys.is_empty() => return Err(SignatureError::Missing),
        Principal::Anonymous | Principal::Visitor => {}
    }
    let now = SystemTime::now();
    let scope = sigv4::Scope {
        region: &config.lambda.region,
        service: SIGNED_SERVICE,
    };
    match body {
        None => precheck(parts, keys, scope, now).map(|()| None),
        Some(body) => verify(parts, body, keys, scope, now).map(|()| Some(Principal::KeyHolder)),
    }
}

/// Whether `headers` show `token`, once.
fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(sent), None) = (sent.next(), sent.next()) else {
        return false;
    };
    let sent = sent.as_bytes();
    let Some((scheme, sent)) = sent.split_at_checked(b"Bearer".len()) else {
        return false;
    };
    // The scheme in any case, one space or more (RFC 9110, 11.4).
    let credentials = sent.trim_ascii_start();
    scheme.eq_ignore_ascii_case(b"Bearer")
        && sent.first() == Some(&b' ')
        && credentials.ct_eq(token.as_bytes()).into()
}

#[cfg(test)]
mod tests;
