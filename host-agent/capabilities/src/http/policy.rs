//! Whether a version was granted a request: origin, method, secret. Not here: what the operator says (`egress`), addresses.

use std::collections::BTreeMap;

use jiffy_abi::call::{CallErrorKind, Sent};
use jiffy_model::{BindingName, GrantedMethod, Grants, OriginPattern, Scheme, SecretGrant};

use super::request::Wanted;
use crate::Failure;

/// What a version was granted, as far as it concerns HTTP.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    allow: Vec<OriginPattern>,
    methods: Vec<GrantedMethod>,
    secrets: BTreeMap<BindingName, SecretGrant>,
}

/// What was granted of a request.
pub(super) struct Granted<'a> {
    /// By what.
    pub(super) by: &'a OriginPattern,
    pub(super) secret: Option<GrantedSecret<'a>>,
}

/// A secret that a request may have, and how.
pub(super) type GrantedSecret<'a> = (&'a BindingName, &'a SecretGrant);

fn denied(message: String) -> Failure {
    Failure::new(CallErrorKind::Denied, Sent::No, message)
}

impl Policy {
    pub(super) fn new(grants: &Grants) -> Self {
        Self {
            allow: grants.network.allow.clone(),
            methods: grants.network.methods.clone(),
            secrets: grants.secrets.clone(),
        }
    }

    /// Whether this may be asked, with the secret of this name in it unless that is empty.
    pub(super) fn check(&self, wanted: &Wanted, secret: &str) -> Result<Granted<'_>, Failure> {
        let Wanted { method, origin, .. } = wanted;
        let Some(by) = self.allow.iter().find(|allowed| allowed.matches(origin)) else {
            return Err(denied(format!(
                "{origin} is not granted: name it in `allow` of [network] in jiffy.toml"
            )));
        };
        if !self.methods.iter().any(|it| it.name() == method.as_str()) {
            return Err(denied(format!(
                "the method {method} is not granted: name it in `methods` of [network] in jiffy.toml"
            )));
        }
        let secret = match secret {
            "" => None,
            name => Some(self.check_secret(wanted, name)?),
        };
        Ok(Granted { by, secret })
    }

    fn check_secret(&self, wanted: &Wanted, name: &str) -> Result<GrantedSecret<'_>, Failure> {
        let origin = &wanted.origin;
        let Some((known, secret)) = self.secrets.get_key_value(name) else {
            return Err(denied(format!(
                "the secret {name:?} is not granted: name it in [secrets] of jiffy.toml"
            )));
        };
        let is_its = secret.hosts.iter().any(|host| host.matches(&origin.host));
        if !is_its || origin.scheme != Scheme::Https {
            return Err(denied(format!(
                "the secret {name:?} is not for {origin}: it is sent by https to its `hosts` in jiffy.toml alone"
            )));
        }
        Ok((known, secret))
    }
}
