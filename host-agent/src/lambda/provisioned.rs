//! Provisioned concurrency: VMs of a published version, or of what an alias leads to, that are kept ready.

use axum::{Json, http::StatusCode, response::IntoResponse};
use jiffy_model::Outcome;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Call,
    error::LambdaError,
    name::{Target, arn},
    no_content, ok, page_of,
    shapes::timestamp,
};
use crate::{model::Qualifier, service::Readiness, vm::Vms};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wanted {
    provisioned_concurrent_executions: u32,
}

fn provisioned(readiness: Readiness) -> Value {
    let Readiness {
        ready,
        allocated,
        available,
        failure,
    } = readiness;
    let is_ready = allocated >= ready.vms;
    let mut document = json!({
        "RequestedProvisionedConcurrentExecutions": ready.vms,
        "AvailableProvisionedConcurrentExecutions": available,
        "AllocatedProvisionedConcurrentExecutions": allocated,
        "Status": match &failure {
            _ if is_ready => "READY",
            Some(_) => "FAILED",
            None => "IN_PROGRESS",
        },
        "LastModified": timestamp(ready.updated_ms),
    });
    if let Some(why) = failure.filter(|_| !is_ready) {
        document["StatusReason"] = why.into();
    }
    document
}

impl<V: Vms> Call<'_, V> {
    fn readiness(&self, target: &Target) -> Result<Value, LambdaError> {
        let (name, prepare) = (&target.name, &self.service().prepare);
        let readiness = prepare.readiness(name, &target.qualifier)?;
        readiness.map(provisioned).ok_or_else(|| {
            let message =
                format!("No Provisioned Concurrency Config found for this function: {name}");
            LambdaError::new(Outcome::NotProvisioned, message)
        })
    }

    pub(super) async fn put_provisioned(self, name: &str) -> Answer {
        let target = Target::new(name, &self.parts.uri)?;
        let wanted: Wanted = self.document()?;
        let vms = wanted.provisioned_concurrent_executions;
        if vms == 0 {
            return Err(LambdaError::invalid(
                "ProvisionedConcurrentExecutions is 0: must be at least 1",
            ));
        }
        let set = self
            .catalog()
            .set_ready(&target.name, &target.qualifier, Some(vms));
        set.await?;
        Ok((StatusCode::ACCEPTED, Json(self.readiness(&target)?)).into_response())
    }

    pub(super) fn get_provisioned(self, name: &str) -> Answer {
        let target = Target::new(name, &self.parts.uri)?;
        ok(self.readiness(&target)?)
    }

    pub(super) async fn delete_provisioned(self, name: &str) -> Answer {
        let target = Target::new(name, &self.parts.uri)?;
        let unset = self
            .catalog()
            .set_ready(&target.name, &target.qualifier, None);
        unset.await?;
        no_content()
    }

    pub(super) fn list_provisioned(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let service = self.service();
        let function = service.catalog.function(&name)?;
        let page = self.page()?;
        let is_behind = |key: &String| page.marker.as_ref().is_none_or(|marker| key > marker);
        let keys = function.attached.ready.keys().filter(|key| is_behind(key));
        let mut keys: Vec<_> = keys.take(page.len_max + 1).collect();
        let next_marker = page.cut(&mut keys, |key| (*key).clone());
        let arn = arn(&service.config().lambda, &name);
        let mut configs = vec![];
        for key in keys {
            let qualifier = match key.parse() {
                Ok(number) => Qualifier::Version(number),
                Err(_) => Qualifier::Alias(key.parse()?),
            };
            // One that is gone meanwhile is left out.
            if let Ok(Some(readiness)) = service.prepare.readiness(&name, &qualifier) {
                let mut config = provisioned(readiness);
                config["FunctionArn"] = format!("{arn}:{key}").into();
                configs.push(config);
            }
        }
        page_of("ProvisionedConcurrencyConfigs", configs, next_marker)
    }
}
