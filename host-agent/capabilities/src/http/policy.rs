//! Whether a version was granted a request: origin, method, secret. Not here: what the operator says (`egress`), addresses.

use jiffy_abi::call::{CallErrorKind, Sent};
use jiffy_model::{GrantedMethod, Grants, OriginPattern, Scheme, SecretGrant};

use super::request::Wanted;
use crate::Failure;

/// What a version was granted, as far as it concerns HTTP.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    allow: Vec<OriginPattern>,
    methods: Vec<GrantedMethod>,
    secrets: Vec<(String, SecretGrant)>,
}

fn denied(message: String) -> Failure {
    Failure::new(CallErrorKind::Denied, Sent::No, message)
}

impl Policy {
    pub(super) fn new(grants: &Grants) -> Self {
        let secrets = grants.secrets.iter();
        let secrets = secrets.map(|(name, secret)| (name.to_string(), secret.clone()));
        Self {
            allow: grants.network.allow.clone(),
            methods: grants.network.methods.clone(),
            secrets: secrets.collect(),
        }
    }

    /// Whether this may be asked, with the secret of this name in it unless that is empty: what was granted of the secret.
    pub(super) fn check(
        &self,
        wanted: &Wanted,
        secret: &str,
    ) -> Result<Option<&SecretGrant>, Failure> {
        let Wanted { method, origin, .. } = wanted;
        if !self.allow.iter().any(|allowed| allowed.matches(origin)) {
            return Err(denied(format!(
                "{origin} is not granted: name it in `allow` of [network] in jiffy.toml"
            )));
        }
        if !self.methods.iter().any(|it| it.name() == method.as_str()) {
            return Err(denied(format!(
                "the method {method} is not granted: name it in `methods` of [network] in jiffy.toml"
            )));
        }
        match secret {
            "" => Ok(None),
            name => self.check_secret(wanted, name).map(Some),
        }
    }

    fn check_secret(&self, wanted: &Wanted, name: &str) -> Result<&SecretGrant, Failure> {
        let origin = &wanted.origin;
        let granted = self.secrets.iter().find(|(it, _)| it == name);
        let Some((_, secret)) = granted else {
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
        Ok(secret)
    }
}
