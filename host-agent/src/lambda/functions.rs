//! Functions, their code, configuration, versions and reserved concurrency.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use jiffy_snapshots::Digest;
use serde::Serialize;
use serde_json::json;
use tokio::task::spawn_blocking;

use super::{
    Answer, Call,
    code::image_of,
    error::{Exception, LambdaError},
    json,
    name::{Target, number, parameter},
    shapes::{
        Concurrency, Configuration, CreateFunction, FunctionConfiguration, PublishVersion,
        UpdateCode, check_revision, code_sha256, version_revision,
    },
};
use crate::{
    model::{CONCURRENCY_MAX, Function, FunctionName, Qualifier, Version},
    service::{ChangeError, DeployOutcome},
    vm::Vms,
};

/// Entries of a list at most, and unless the client says otherwise: as in Lambda.
pub(super) const LIST_LEN_MAX: usize = 50;

impl<V: Vms> Call<'_, V> {
    fn configuration(
        &self,
        function: &Function,
        mut version: Version,
        is_latest: bool,
    ) -> FunctionConfiguration {
        let config = self.api.service.config();
        // Without a token and without keys whoever asks may be anybody on this machine.
        if !config.shows_environment_to_lambda() {
            version.settings = version.settings.without_values();
        }
        FunctionConfiguration::new(&config.lambda, function, version, is_latest)
    }

    /// A function with the version that the client means.
    fn find(&self, name: &str) -> Result<(Function, Version, bool), LambdaError> {
        let target = Target::new(name, &self.parts.uri)?;
        let function = self.api.service.function(&target.name)?;
        let version = self.api.service.resolve(&target.name, &target.qualifier)?;
        Ok((function, version, target.qualifier == Qualifier::Live))
    }

    /// A function with its live version.
    fn find_live(&self, name: &str) -> Result<(Function, Version), LambdaError> {
        let name = Target::unqualified(name)?;
        let function = self.api.service.function(&name)?;
        let version = self.api.service.version(&name, function.live)?;
        Ok((function, version))
    }

    /// Stores the image that is in a zip file.
    async fn store(&self, zip_file: Option<&str>) -> Result<Digest, LambdaError> {
        let zip_file = zip_file.ok_or_else(|| {
            LambdaError::new(
                Exception::InvalidParameterValue,
                "ZipFile is missing: this agent takes code in no other way",
            )
        })?;
        let bytes_max = self.api.service.config().limits.image_bytes_max;
        let zip_file = zip_file.to_owned();
        let image = spawn_blocking(move || image_of(&zip_file, bytes_max)).await;
        let image = image.map_err(|_| {
            LambdaError::new(
                Exception::InvalidParameterValue,
                "ZipFile cannot be read: make it again",
            )
        })??;
        let mut upload = self.api.service.upload().await?;
        upload.write(&image).await?;
        Ok(upload.finish().await?.digest)
    }

    fn deployed(&self, outcome: DeployOutcome, publish: bool) -> FunctionConfiguration {
        self.configuration(&outcome.function, outcome.version, !publish)
    }

    pub(super) async fn create_function(self) -> Answer {
        let wanted: CreateFunction<'_> = self.document()?;
        let name = Target::unqualified(&wanted.function_name)?;
        if self.api.service.function(&name).is_ok() {
            // Before the image is unpacked; `create` looks again.
            return Err(ChangeError::Exists(name).into());
        }
        let settings = wanted.configuration.settings()?;
        let image = self.store(wanted.code.zip_file.as_deref()).await?;
        let created = self.api.service.create(&name, image, settings).await?;
        let created = self.deployed(created, wanted.publish);
        Ok(json(StatusCode::CREATED, &created))
    }

    pub(super) async fn update_code(self, name: &str) -> Answer {
        let wanted: UpdateCode<'_> = self.document()?;
        let (function, live) = self.find_live(name)?;
        let revision = version_revision(&function, &live);
        check_revision(wanted.revision_id.as_deref(), &revision)?;
        let image = self.store(wanted.zip_file.as_deref()).await?;
        if wanted.dry_run {
            let unchanged = self.configuration(&function, live, true);
            return Ok(json(StatusCode::OK, &unchanged));
        }
        let settings = live.settings;
        let service = &self.api.service;
        let updated = service.deploy(&function.name, image, settings).await?;
        let updated = self.deployed(updated, wanted.publish);
        Ok(json(StatusCode::OK, &updated))
    }

    pub(super) async fn update_configuration(self, name: &str) -> Answer {
        let wanted: Configuration = self.document()?;
        let (function, live) = self.find_live(name)?;
        let revision = version_revision(&function, &live);
        check_revision(wanted.revision_id.as_deref(), &revision)?;
        let settings = wanted.over(live.settings)?;
        let service = &self.api.service;
        let updated = service.deploy(&function.name, live.image, settings).await?;
        let updated = self.deployed(updated, false);
        Ok(json(StatusCode::OK, &updated))
    }

    pub(super) fn get_function(self, name: &str) -> Answer {
        let (function, version, is_latest) = self.find(name)?;
        let mut document = json!({
            "Configuration": self.configuration(&function, version, is_latest),
            "Code": { "RepositoryType": "S3", "Location": "" },
            "Tags": {},
        });
        if let Some(reserved) = function.reserved_concurrency {
            document["Concurrency"] = json!({ "ReservedConcurrentExecutions": reserved });
        }
        Ok(json(StatusCode::OK, &document))
    }

    pub(super) fn get_configuration(self, name: &str) -> Answer {
        let (function, version, is_latest) = self.find(name)?;
        let configuration = self.configuration(&function, version, is_latest);
        Ok(json(StatusCode::OK, &configuration))
    }

    pub(super) async fn delete_function(self, name: &str) -> Answer {
        let target = Target::new(name, &self.parts.uri)?;
        match target.qualifier {
            Qualifier::Live if target.is_qualified => {
                return Err(LambdaError::new(
                    Exception::InvalidParameterValue,
                    "$LATEST cannot be deleted alone: leave the qualifier out to delete the function",
                ));
            }
            Qualifier::Live => self.api.service.delete_function(&target.name).await?,
            Qualifier::Version(version) => {
                let delete = self.api.service.delete_version(&target.name, version);
                delete.await?;
            }
            Qualifier::Alias(alias) => {
                let message = format!("{alias} is an alias: delete it with DeleteAlias");
                return Err(LambdaError::new(Exception::InvalidParameterValue, message));
            }
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    pub(super) fn list_functions(self) -> Answer {
        let (marker, limit) = self.page()?;
        let after = marker
            .map(|marker| marker.parse::<FunctionName>())
            .transpose()?;
        let functions = self.api.service.functions(after.as_ref(), limit);
        let next = functions.last().filter(|_| functions.len() == limit);
        let mut document = json!({ "NextMarker": next.map(|function| &function.name) });
        let mut configurations = vec![];
        for function in &functions {
            // One that is deleted meanwhile is left out.
            if let Ok(live) = self.api.service.version(&function.name, function.live) {
                configurations.push(self.configuration(function, live, true));
            }
        }
        document["Functions"] = json!(configurations);
        Ok(json(StatusCode::OK, &document))
    }

    /// Marker and length of the page of a list.
    pub(super) fn page(&self) -> Result<(Option<String>, usize), LambdaError> {
        let marker = parameter(&self.parts.uri, "Marker")?.filter(|marker| !marker.is_empty());
        let limit = number(&self.parts.uri, "MaxItems")?.unwrap_or(LIST_LEN_MAX);
        if limit == 0 {
            let message = "MaxItems is 0 and has to be at least 1";
            return Err(LambdaError::new(Exception::InvalidParameterValue, message));
        }
        Ok((marker, limit.min(LIST_LEN_MAX)))
    }

    pub(super) fn publish_version(self, name: &str) -> Answer {
        let wanted: PublishVersion = self.document()?;
        let (function, live) = self.find_live(name)?;
        let revision = version_revision(&function, &live);
        check_revision(wanted.revision_id.as_deref(), &revision)?;
        let code = code_sha256(&live);
        if wanted.code_sha256.is_some_and(|wanted| wanted != code) {
            let message = format!("CodeSha256 is {code} by now: read it again and try again");
            return Err(LambdaError::new(Exception::InvalidParameterValue, message));
        }
        let published = self.configuration(&function, live, false);
        Ok(json(StatusCode::CREATED, &published))
    }

    pub(super) fn list_versions(self, name: &str) -> Answer {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Versions {
            versions: Vec<FunctionConfiguration>,
            next_marker: Option<String>,
        }
        let (function, live) = self.find_live(name)?;
        let (marker, limit) = self.page()?;
        let after = marker.map(|marker| marker.parse()).transpose()?;
        let mut versions = vec![];
        if after.is_none() {
            versions.push(self.configuration(&function, live, true));
        }
        let found = self.api.service.versions(&function.name, after, limit)?;
        let next = found.last().filter(|_| found.len() == limit);
        let next_marker = next.map(|version| version.number.to_string());
        let found = found
            .into_iter()
            .map(|version| self.configuration(&function, version, false));
        versions.extend(found);
        let document = Versions {
            versions,
            next_marker,
        };
        Ok(json(StatusCode::OK, &document))
    }

    pub(super) async fn put_concurrency(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let wanted: Concurrency = self.document()?;
        let reserved = wanted.reserved_concurrent_executions;
        if reserved > CONCURRENCY_MAX {
            let message = format!("{reserved} cannot be reserved: use 0 to {CONCURRENCY_MAX}");
            return Err(LambdaError::new(Exception::InvalidParameterValue, message));
        }
        let service = &self.api.service;
        service
            .set_reserved_concurrency(&name, Some(reserved))
            .await?;
        Ok(json(StatusCode::OK, &wanted))
    }

    pub(super) async fn delete_concurrency(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let service = &self.api.service;
        service.set_reserved_concurrency(&name, None).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    pub(super) fn get_concurrency(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let function = self.api.service.function(&name)?;
        let document = match function.reserved_concurrency {
            Some(reserved) => json!({ "ReservedConcurrentExecutions": reserved }),
            None => json!({}),
        };
        Ok(json(StatusCode::OK, &document))
    }
}
