//! Secrets that a function reads: `jiffy::secret`. Those that its `jiffy.toml` names without hosts, of its own tenant.
//!
//! Which others there are, nobody learns: a secret that is not granted is refused as one that is not there.
//! Not here: secrets that the host puts into requests (`http::injected`), which come from the same place.

use std::{collections::BTreeMap, error::Error, sync::Arc};

use jiffy_abi::call::{CallErrorKind, OPERATION_SECRET_READ, SERVICE_SECRET, Sent};
use jiffy_client::{CallContext, CallFuture};
use jiffy_control::{Call, Reply};
use jiffy_model::{BindingName, SecretGrant, TenantName};
use jiffy_secrets::{Clear, Secrets, SecretsError};

use crate::{
    Capability, Config, Failure, Operations, Prepared, Version, net::Net, reads::Reads, reply,
    unknown_operation,
};

#[derive(Debug)]
pub(crate) struct AllSecrets {
    secrets: Arc<Secrets>,
    reads: Reads,
}

/// For one version.
#[derive(Debug)]
pub(crate) struct SecretsOf {
    secrets: Arc<Secrets>,
    reads: Reads,
    tenant: TenantName,
    granted: BTreeMap<BindingName, SecretGrant>,
}

impl Capability for AllSecrets {
    const SERVICE: u16 = SERVICE_SECRET;
    const NAME: &'static str = "secret";
    const OPERATIONS: Operations = &[(OPERATION_SECRET_READ, "read")];
    type Prepared = SecretsOf;

    fn configure(config: &Config, _: &Net) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let secrets = Arc::clone(&config.secrets);
        let reads = Reads::default();
        Ok(Self { secrets, reads })
    }

    fn prepare(&self, version: &Version<'_>) -> SecretsOf {
        SecretsOf {
            secrets: Arc::clone(&self.secrets),
            reads: self.reads.clone(),
            tenant: version.function.tenant(),
            granted: version.grants.secrets.clone(),
        }
    }
}

impl Prepared for SecretsOf {
    fn call(&self, call: Call, _: &CallContext<'_>) -> CallFuture {
        let denied = |why: &str| reply(Reply::error(CallErrorKind::Denied, Sent::No, why));
        let Some((name, grant)) = self.granted.get_key_value(&*call.binding) else {
            return denied(&format!(
                "invalid secret {:?}: must be one that jiffy.toml names, as NAME = {{}} in [secrets]",
                call.binding
            ));
        };
        if let Some(header) = &grant.header {
            let hosts: Vec<_> = grant.hosts.iter().map(ToString::to_string).collect();
            let hosts = hosts.join(", ");
            return denied(&format!(
                "the secret {name} cannot be read: the host puts it into the header {header} of requests to {hosts}, as jiffy.toml says"
            ));
        }
        if call.operation != OPERATION_SECRET_READ {
            return reply(unknown_operation(AllSecrets::NAME, &call));
        }
        let (secrets, tenant, name) =
            (Arc::clone(&self.secrets), self.tenant.clone(), name.clone());
        self.reads
            .read(move || match resolve(&secrets, &tenant, &name) {
                Ok(value) => Reply::ok(value.to_vec()),
                Err(failure) => failure.into_reply(),
            })
    }
}

/// A secret that was granted. It may wait for the disk.
pub(crate) fn resolve(
    secrets: &Secrets,
    tenant: &TenantName,
    name: &BindingName,
) -> Result<Clear, Failure> {
    let failed = |why: String| Err(Failure::new(CallErrorKind::Failed, Sent::No, why));
    match secrets.resolve(tenant, name) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => failed(format!(
            "the secret {name} is granted and not set: `jiffy secret set {name}`, or `jiffy run --secret {name}=FILE`"
        )),
        Err(error @ (SecretsError::Damaged(_) | SecretsError::DamagedKey(_))) => {
            failed(error.to_string())
        }
        Err(error) => {
            // It names files of the host.
            tracing::warn!(%error, "a secret cannot be read");
            failed("the host cannot read its secrets: its log says why".into())
        }
    }
}

#[cfg(test)]
mod tests;
