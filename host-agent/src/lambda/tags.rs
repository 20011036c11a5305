//! Tags of functions, and the account's settings.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::{
    Answer, Call,
    name::{Target, parameters},
    no_content, ok,
};
use crate::{model::CONCURRENCY_MAX, vm::Vms};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wanted {
    tags: BTreeMap<String, String>,
}

impl<V: Vms> Call<'_, V> {
    pub(super) async fn tag(self, resource: &str) -> Answer {
        let name = Target::unqualified(resource)?;
        let wanted: Wanted = self.document()?;
        self.catalog().tag(&name, wanted.tags, vec![]).await?;
        no_content()
    }

    pub(super) async fn untag(self, resource: &str) -> Answer {
        let name = Target::unqualified(resource)?;
        let keys = parameters(&self.parts.uri, "tagKeys").collect();
        self.catalog().tag(&name, BTreeMap::new(), keys).await?;
        no_content()
    }

    pub(super) fn list_tags(self, resource: &str) -> Answer {
        let name = Target::unqualified(resource)?;
        let function = self.catalog().function(&name)?;
        ok(json!({ "Tags": function.attached.tags }))
    }

    /// What the agent's limits allow, in Lambda's words.
    pub(super) fn account_settings(self) -> Answer {
        let service = self.service();
        let (functions, code_bytes) = service.catalog.code_size();
        let limits = &service.config().limits;
        let reserved = service.catalog.reserved_concurrency();
        let document = json!({
            "AccountLimit": {
                "TotalCodeSize": limits.image_bytes_max.saturating_mul(limits.functions_max),
                "CodeSizeUnzipped": limits.image_bytes_max,
                "CodeSizeZipped": limits.image_bytes_max,
                "ConcurrentExecutions": CONCURRENCY_MAX,
                "UnreservedConcurrentExecutions": u64::from(CONCURRENCY_MAX).saturating_sub(reserved),
            },
            "AccountUsage": { "TotalCodeSize": code_bytes, "FunctionCount": functions },
        });
        ok(document)
    }
}
