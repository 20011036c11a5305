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
    versions::Page,
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

/// The configurations of a page, and the marker of the next. A key of which there is none any more is passed over before the
/// page is cut: none but the last is shorter than was asked for.
fn cut_page<'a, T>(
    page: &Page,
    keys: impl Iterator<Item = &'a String>,
    config_of: impl Fn(&'a String) -> Option<T>,
) -> (Vec<T>, Option<String>) {
    let is_behind = |key: &&String| page.marker.as_ref().is_none_or(|marker| *key > marker);
    let configs = keys
        .filter(is_behind)
        .filter_map(|key| Some((key, config_of(key)?)));
    let mut configs: Vec<_> = configs.take(page.len_max + 1).collect();
    let next_marker = page.cut(&mut configs, |(key, _)| (*key).clone());
    let configs = configs.into_iter().map(|(_, config)| config);
    (configs.collect(), next_marker)
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
        let arn = arn(&service.config().lambda, &name);
        let config_of = |key: &String| {
            let qualifier = match key.parse() {
                Ok(number) => Qualifier::Version(number),
                Err(_) => Qualifier::Alias(key.parse().ok()?),
            };
            let readiness = service.prepare.readiness(&name, &qualifier).ok()??;
            let mut config = provisioned(readiness);
            config["FunctionArn"] = format!("{arn}:{key}").into();
            Some(config)
        };
        let (configs, next_marker) = cut_page(&page, function.attached.ready.keys(), config_of);
        page_of("ProvisionedConcurrencyConfigs", configs, next_marker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is gone since the keys were read takes no place on a page.
    #[test]
    fn a_page_is_full_whatever_is_gone() {
        let keys = ["1", "2", "3", "4", "5"].map(str::to_owned);
        let page = |marker: Option<&str>, gone: &[&str]| {
            let page = Page {
                marker: marker.map(str::to_owned),
                len_max: 2,
            };
            let is_there = |key: &String| !gone.contains(&key.as_str());
            let config_of = |key| is_there(key).then_some(key.as_str());
            cut_page(&page, keys.iter(), config_of)
        };
        let next = |marker: &str| Some(marker.to_owned());
        assert_eq!(page(None, &[]), (vec!["1", "2"], next("2")));
        assert_eq!(page(None, &["1", "2"]), (vec!["3", "4"], next("4")));
        assert_eq!(page(Some("2"), &["4"]), (vec!["3", "5"], None));
        assert_eq!(page(Some("3"), &["5"]), (vec!["4"], None));
        assert_eq!(page(None, &["3", "4", "5"]), (vec!["1", "2"], None));
        assert_eq!(page(Some("4"), &["5"]), (vec![], None));
    }
}
