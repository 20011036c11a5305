//! Puts a secret into a request: the last that happens to it. By then its author's grants, its operator's and each address have been
//! checked, and a connection stands to a server whose certificate names a host of the secret.
//!
//! The value goes from the store to the header and nowhere else: it is in no reply, message or log, and what is made of it here is
//! wiped. What a server answers is not looked through: one that is sent a secret can send it back.

use std::sync::Arc;

use hyper::{
    body::Bytes,
    header::{HeaderName, HeaderValue},
};
use jiffy_abi::call::{CallErrorKind, Sent};
use jiffy_model::TenantName;
use jiffy_secrets::{Clear, Secrets};

use super::{policy::GrantedSecret, request::Wanted};
use crate::{Failure, reads::Reads, secrets};

/// Knows the secrets of a version's tenant.
#[derive(Debug)]
pub(super) struct Injector {
    pub(super) secrets: Arc<Secrets>,
    pub(super) reads: Reads,
    pub(super) tenant: TenantName,
}

impl Injector {
    /// Puts a secret that was granted into its header, in place of whatever the function has there.
    pub(super) async fn inject(
        &self,
        wanted: &mut Wanted,
        (name, grant): GrantedSecret<'_>,
    ) -> Result<(), Failure> {
        let failed = |message| Failure::new(CallErrorKind::Failed, Sent::No, message);
        let Some((header, format)) = grant.injected() else {
            let message = format!("the secret {name} has no header in jiffy.toml");
            return Err(Failure::new(CallErrorKind::Denied, Sent::No, message));
        };
        let header = HeaderName::try_from(header.as_ref())
            .map_err(|_| failed(format!("the header {header} cannot have a secret")))?;
        let (secrets, tenant, of) = (Arc::clone(&self.secrets), self.tenant.clone(), name.clone());
        let resolve = move || secrets::resolve(&secrets, &tenant, &of);
        let value = self.reads.result_of(resolve).await;
        let value = value.unwrap_or_else(|| Err(Failure::ended()))?;
        let unfit = || {
            failed(format!(
                "the secret {name} cannot be in a header: must be printable ASCII, with no space or newline at its ends; set it anew, \
                 `jiffy secret set {name}`"
            ))
        };
        // A header may have other bytes. Servers read them in several ways, so that none of those is a key that they gave.
        let is_fit = value.iter().all(|byte| matches!(byte, b' '..=b'~'))
            && value.trim_ascii().len() == value.len();
        if !is_fit {
            return Err(unfit());
        }
        // Wiped with its last copy, of which each request has one that shares its bytes.
        let value = Bytes::from_owner(Clear::from(format.with(&value)));
        let mut value = HeaderValue::from_maybe_shared(value).map_err(|_| unfit())?;
        // Not printed; over HTTP/2 in no table that a later request is compressed by.
        value.set_sensitive(true);
        wanted.headers.insert(header, value);
        Ok(())
    }
}
