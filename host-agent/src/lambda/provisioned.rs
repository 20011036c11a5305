//! Provisioned concurrency: VMs of a published version, or of what an alias leads to, that are kept ready.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use jiffy_model::Outcome;
use serde::{Deserialize, Serialize};

use super::{
    Answer, Call,
    error::LambdaError,
    json,
    name::{Target, arn},
    shapes::timestamp,
};
use crate::{model::Qualifier, service::Readiness, vm::Vms};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wanted {
    provisioned_concurrent_executions: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Provisioned {
    #[serde(skip_serializing_if = "Option::is_none")]
    function_arn: Option<String>,
    requested_provisioned_concurrent_executions: u32,
    available_provisioned_concurrent_executions: u32,
    allocated_provisioned_concurrent_executions: u32,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    last_modified: String,
}

impl Provisioned {
    fn new(readiness: Readiness) -> Self {
        let Readiness {
            ready,
            allocated,
            available,
            failure,
        } = readiness;
        Self {
            function_arn: None,
            requested_provisioned_concurrent_executions: ready.vms,
            available_provisioned_concurrent_executions: available,
            allocated_provisioned_concurrent_executions: allocated,
            status: match &failure {
                _ if allocated >= ready.vms => "READY",
                Some(_) => "FAILED",
                None => "IN_PROGRESS",
            },
            status_reason: failure.filter(|_| allocated < ready.vms),
            last_modified: timestamp(ready.updated_ms),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    provisioned_concurrency_configs: Vec<Provisioned>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

impl<V: Vms> Call<'_, V> {
    fn readiness(&self, target: &Target) -> Result<Provisioned, LambdaError> {
        let readiness = self
            .lambda
            .backend
            .service
            .prepare
            .readiness(&target.name, &target.qualifier)?;
        readiness.map(Provisioned::new).ok_or_else(|| {
            let message = format!(
                "No Provisioned Concurrency Config found for this function: {}",
                target.name
            );
            LambdaError::new(Outcome::NotProvisioned, message)
        })
    }

    pub(super) async fn put_provisioned(self, name: &str) -> Answer {
        let target = Target::new(name, &self.parts.uri)?;
        let wanted: Wanted = self.document()?;
        let vms = wanted.provisioned_concurrent_executions;
        if vms == 0 {
            let message = "ProvisionedConcurrentExecutions is 0: must be at least 1";
            return Err(LambdaError::new(Outcome::InvalidRequest, message));
        }
        let service = &self.lambda.backend.service;
        service
            .catalog
            .set_ready(&target.name, &target.qualifier, Some(vms))
            .await?;
        Ok(json(StatusCode::ACCEPTED, &self.readiness(&target)?))
    }

    pub(super) fn get_provisioned(self, name: &str) -> Answer {
        let target = Target::new(name, &self.parts.uri)?;
        Ok(json(StatusCode::OK, &self.readiness(&target)?))
    }

    pub(super) async fn delete_provisioned(self, name: &str) -> Answer {
        let target = Target::new(name, &self.parts.uri)?;
        let service = &self.lambda.backend.service;
        service
            .catalog
            .set_ready(&target.name, &target.qualifier, None)
            .await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    pub(super) fn list_provisioned(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let service = &self.lambda.backend.service;
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
                configs.push(Provisioned {
                    function_arn: Some(format!("{arn}:{key}")),
                    ..Provisioned::new(readiness)
                });
            }
        }
        let document = List {
            provisioned_concurrency_configs: configs,
            next_marker,
        };
        Ok(json(StatusCode::OK, &document))
    }
}
