//! Functions, their code and configuration, and reserved concurrency.

use std::time::SystemTime;

use jiffy_snapshots::Digest;
use serde_json::json;
use tokio::task::spawn_blocking;

use super::{
    Answer, Call,
    code::unpack,
    created,
    error::LambdaError,
    name::{LATEST, Target},
    no_content, ok,
    shapes::{
        Concurrency, Configuration, CreateFunction, FunctionConfiguration, UpdateCode,
        check_revision, latest_revision,
    },
};
use crate::{
    catalog::Publication,
    model::{
        Attached, CONCURRENCY_MAX, Function, LambdaFacts, Qualifier, Settings, Version, ZipFacts,
    },
    service::{ChangeError, Mode, Plan},
    vm::Vms,
};

impl<V: Vms> Call<'_, V> {
    pub(super) fn configuration(
        &self,
        function: &Function,
        mut version: Version,
        is_latest: bool,
    ) -> FunctionConfiguration {
        let config = self.service().config();
        // Without a token and without keys whoever asks may be anybody on this machine.
        if !config.shows_environment_to_lambda() {
            version.settings = version.settings.without_values();
        }
        FunctionConfiguration::new(&config.lambda, function, version, is_latest)
    }

    /// A function with the version that the client means.
    fn find(&self, name: &str) -> Result<(Function, Version, FunctionConfiguration), LambdaError> {
        let target = Target::new(name, &self.parts.uri)?;
        let function = self.catalog().function(&target.name)?;
        let version = self.service().resolve(&target.name, &target.qualifier)?;
        let is_latest = target.is_latest(&function);
        let configuration = self.configuration(&function, version.clone(), is_latest);
        let configuration = match &target.qualifier {
            Qualifier::Live if !target.is_qualified => configuration,
            Qualifier::Live => configuration.asked_for_as(LATEST),
            Qualifier::Version(_) => configuration,
            Qualifier::Alias(alias) => configuration.asked_for_as(alias.as_ref()),
        };
        Ok((function, version, configuration))
    }

    /// A function with its live version, if the client has seen how it is.
    pub(super) fn find_live(
        &self,
        name: &str,
        revision: Option<&str>,
    ) -> Result<(Function, Version), LambdaError> {
        let name = Target::unqualified(name)?;
        let function = self.catalog().function(&name)?;
        check_revision(revision, &latest_revision(&function))?;
        let version = self.catalog().version(&name, function.live)?;
        Ok((function, version))
    }

    /// Stores the image that is in a zip file.
    async fn store(&self, zip_file: Option<&str>) -> Result<(Digest, ZipFacts), LambdaError> {
        let zip_file = zip_file.ok_or_else(|| {
            LambdaError::invalid("ZipFile is missing: this agent takes code in no other way")
        })?;
        let bytes_max = self.service().config().limits.image_bytes_max;
        let zip_file = zip_file.to_owned();
        let unpacked = spawn_blocking(move || unpack(&zip_file, bytes_max)).await;
        let (image, code) = unpacked
            .map_err(|_| LambdaError::invalid("ZipFile cannot be read: make it again"))??;
        let mut upload = self.service().upload().await?;
        upload.write(&image).await?;
        Ok((upload.finish().await?.digest, code))
    }

    /// Makes what is live of what is wanted, if that is another. Changes nothing if it is the same.
    async fn update(
        &self,
        before: (Function, Version),
        revision: Option<&str>,
        wanted: (Digest, Settings, LambdaFacts),
        publish: bool,
    ) -> Result<FunctionConfiguration, LambdaError> {
        let (function, live) = before;
        let (image, settings, lambda) = wanted;
        let name = &function.name;
        // The registry looks again, so that of two who have seen the same one is refused.
        let expected_changes = revision.map(|_| function.changes);
        let service = self.service();
        if (image, &settings, &lambda) == (live.image, &live.settings, &live.lambda) {
            if !publish {
                return Ok(self.configuration(&function, live, true));
            }
            let publication = Publication {
                description: None,
                expected_changes: Some(function.changes),
            };
            let published = service.catalog.publish(name, publication).await?;
            return Ok(self.configuration(&published.function, published.version, false));
        }
        let plan = Plan {
            image,
            settings,
            lambda: Some(lambda),
            publish,
            expected_changes,
        };
        let updated = service.deploy_as(Mode::Put, name, plan).await?;
        Ok(self.configuration(&updated.function, updated.version, !publish))
    }

    pub(super) async fn create_function(self) -> Answer {
        let wanted: CreateFunction<'_> = self.document()?;
        let name = Target::unqualified(&wanted.function_name)?;
        if self.catalog().function(&name).is_ok() {
            // Before the image is unpacked; the registry looks again.
            return Err(ChangeError::Exists(name).into());
        }
        let (settings, lambda) = wanted.configuration.new_function()?;
        if lambda.role.is_none() {
            return Err(LambdaError::invalid(
                "Role is missing: must be the ARN of a role, such as arn:aws:iam::000000000000:role/any",
            ));
        }
        let (image, code) = self.store(wanted.code.zip_file.as_deref()).await?;
        let plan = Plan {
            image,
            settings,
            lambda: Some(LambdaFacts {
                code: Some(code),
                ..lambda
            }),
            publish: wanted.publish,
            expected_changes: None,
        };
        let tags = wanted.tags.unwrap_or_default();
        Attached::default().tag(&tags)?;
        let service = self.service();
        let made = service.deploy_as(Mode::Create, &name, plan).await?;
        if !tags.is_empty() {
            service.catalog.tag(&name, tags, vec![]).await?;
        }
        let made = self.configuration(&made.function, made.version, !wanted.publish);
        created(made.unqualified())
    }

    pub(super) async fn update_code(self, name: &str) -> Answer {
        let wanted: UpdateCode<'_> = self.document()?;
        let revision = wanted.revision_id.as_deref();
        let (function, live) = self.find_live(name, revision)?;
        let (image, code) = self.store(wanted.zip_file.as_deref()).await?;
        if wanted.dry_run {
            return ok(self.configuration(&function, live, true));
        }
        let lambda = LambdaFacts {
            code: Some(code),
            ..live.lambda.clone()
        };
        let wanted_code = (image, live.settings.clone(), lambda);
        let updated = self.update((function, live), revision, wanted_code, wanted.publish);
        ok(updated.await?)
    }

    pub(super) async fn update_configuration(self, name: &str) -> Answer {
        let wanted: Configuration = self.document()?;
        let revision = wanted.revision_id.clone();
        let (function, live) = self.find_live(name, revision.as_deref())?;
        let (settings, lambda) = wanted.over(live.settings.clone(), live.lambda.clone())?;
        let wanted = (live.image, settings, lambda);
        let updated = self.update((function, live), revision.as_deref(), wanted, false);
        ok(updated.await?)
    }

    pub(super) fn get_function(self, name: &str) -> Answer {
        let (function, version, configuration) = self.find(name)?;
        let downloads = &self.lambda.downloads;
        let path = downloads.path(&version.image, SystemTime::now());
        let mut document = json!({
            "Configuration": configuration,
            "Code": { "RepositoryType": "S3", "Location": format!("http://{}{path}", self.host()) },
        });
        if !function.attached.tags.is_empty() {
            document["Tags"] = json!(function.attached.tags);
        }
        if let Some(reserved) = function.reserved_concurrency {
            document["Concurrency"] = json!({ "ReservedConcurrentExecutions": reserved });
        }
        ok(document)
    }

    pub(super) fn get_configuration(self, name: &str) -> Answer {
        let (_, _, configuration) = self.find(name)?;
        ok(configuration)
    }

    pub(super) async fn delete_function(self, name: &str) -> Answer {
        let target = Target::new(name, &self.parts.uri)?;
        match target.qualifier {
            Qualifier::Live if target.is_qualified => {
                return Err(LambdaError::invalid(
                    "$LATEST cannot be deleted alone: leave the qualifier out to delete the function",
                ));
            }
            Qualifier::Live => self.catalog().delete_function(&target.name).await?,
            Qualifier::Version(version) => {
                // What is live is `$LATEST`, which has no number to lose.
                let deleted = self.catalog().delete_version(&target.name, version, true);
                deleted.await?;
            }
            Qualifier::Alias(alias) => {
                let message = format!("{alias} is an alias: delete it with DeleteAlias");
                return Err(LambdaError::invalid(message));
            }
        }
        no_content()
    }

    pub(super) async fn put_concurrency(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let wanted: Concurrency = self.document()?;
        let reserved = u32::try_from(wanted.reserved_concurrent_executions)
            .ok()
            .filter(|reserved| *reserved <= CONCURRENCY_MAX);
        let reserved = reserved.ok_or_else(|| {
            let reserved = wanted.reserved_concurrent_executions;
            LambdaError::invalid(format!(
                "ReservedConcurrentExecutions is {reserved}: must be 0 to {CONCURRENCY_MAX}"
            ))
        })?;
        let catalog = self.catalog();
        let set = catalog.set_reserved_concurrency(&name, Some(reserved));
        set.await?;
        ok(wanted)
    }

    pub(super) async fn delete_concurrency(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let lifted = self.catalog().set_reserved_concurrency(&name, None);
        lifted.await?;
        no_content()
    }

    pub(super) fn get_concurrency(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let function = self.catalog().function(&name)?;
        let document = match function.reserved_concurrency {
            Some(reserved) => json!({ "ReservedConcurrentExecutions": reserved }),
            None => json!({}),
        };
        ok(document)
    }
}
