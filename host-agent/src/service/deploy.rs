//! Deploys: from an image to a live version.
//!
//! ```text
//! checked ─▶ built: snapshot durable ─▶ opened ─▶ in the registry ─▶ in the directory
//! ```
//!
//! Only the last two change what anybody sees, and a crash between them ends with both. A snapshot that no version
//! got is removed later (`collect`).

use std::sync::{Arc, atomic::Ordering::Relaxed};

use jiffy_control::{LogRecord, error_chain, newest};
use jiffy_snapshots::Digest;

use super::{
    ChangeError, DeployError, DeployErrorKind, DeployOutcome, Service, failure, lock, now_ms,
    task_lost,
};
use crate::{
    model::{FunctionName, Settings, VersionNumber},
    registry::{NewVersion, RegistryError},
    vm::Vms,
};

/// What the log in the answer to a deploy is charged at most, bytes.
const DEPLOY_LOG_BYTES_MAX: usize = 64 << 10;

/// What a deploy may find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The function may be there or not.
    Put,
    /// The function may not be there.
    Create,
}

/// Takes a function off the list of those that are being deployed.
struct Deploying<V: Vms>(Arc<Service<V>>, FunctionName);

impl<V: Vms> Drop for Deploying<V> {
    fn drop(&mut self) {
        lock(&self.0.deploying).remove(&self.1);
    }
}

impl<V: Vms> Service<V> {
    /// Makes a version of `image` and makes it live. It goes on to its end even if nobody waits for it any more.
    pub async fn deploy(
        self: &Arc<Self>,
        name: &FunctionName,
        image: Digest,
        settings: Settings,
    ) -> Result<DeployOutcome, DeployError> {
        self.deploy_as(Mode::Put, name, image, |_| settings).await
    }

    /// As [`Service::deploy`], with settings that follow from those that are live. Of deploys at once one is refused, so
    /// nobody changes them in between.
    pub async fn deploy_over(
        self: &Arc<Self>,
        name: &FunctionName,
        image: Digest,
        settings: impl FnOnce(Option<&Settings>) -> Settings,
    ) -> Result<DeployOutcome, DeployError> {
        self.deploy_as(Mode::Put, name, image, settings).await
    }

    /// As [`Service::deploy`], if there is no such function: of two at once, one is refused.
    pub async fn create(
        self: &Arc<Self>,
        name: &FunctionName,
        image: Digest,
        settings: Settings,
    ) -> Result<DeployOutcome, DeployError> {
        self.deploy_as(Mode::Create, name, image, |_| settings)
            .await
    }

    async fn deploy_as(
        self: &Arc<Self>,
        mode: Mode,
        name: &FunctionName,
        image: Digest,
        settings: impl FnOnce(Option<&Settings>) -> Settings,
    ) -> Result<DeployOutcome, DeployError> {
        let deploying = self.begin_deploy(mode, name)?;
        let before = self.directory.get(name).and_then(|entry| {
            let live = entry.versions.get(&entry.function.live)?;
            Some(live.version.settings.clone())
        });
        let settings = settings(before.as_ref());
        settings.check().map_err(DeployErrorKind::from)?;
        let (this, name) = (Arc::clone(self), name.clone());
        let deploy = tokio::spawn(async move {
            let _deploying = deploying;
            let mut logs = vec![];
            let deploy = this.deploy_once(mode, &name, image, settings, &mut logs);
            let deployed = deploy.await;
            this.metrics().deployed(deployed.is_ok());
            let logs = newest(logs, DEPLOY_LOG_BYTES_MAX);
            match deployed {
                Ok(outcome) => Ok(DeployOutcome {
                    logs,
                    before,
                    ..outcome
                }),
                Err(kind) => Err(DeployError { kind, logs }),
            }
        });
        let deployed = deploy.await;
        deployed.unwrap_or_else(|lost| Err(DeployErrorKind::Host(task_lost(&lost)).into()))
    }

    fn begin_deploy(
        self: &Arc<Self>,
        mode: Mode,
        name: &FunctionName,
    ) -> Result<Deploying<V>, DeployErrorKind> {
        if self.is_stopping.load(Relaxed) {
            return Err(DeployErrorKind::Host(
                "the agent is stopping: try again when it runs".into(),
            ));
        }
        // Looked at before anything is built; the registry looks again.
        let functions_max = self.config().limits.functions_max;
        let is_new = self.directory.get(name).is_none();
        if mode == Mode::Create && !is_new {
            return Err(ChangeError::Exists(name.clone()).into());
        }
        if is_new && self.directory.len() as u64 >= functions_max {
            let full = RegistryError::FunctionsFull(functions_max);
            return Err(ChangeError::from(full).into());
        }
        if !lock(&self.deploying).insert(name.clone()) {
            return Err(DeployErrorKind::UnderWay(name.clone()));
        }
        Ok(Deploying(Arc::clone(self), name.clone()))
    }

    async fn deploy_once(
        self: &Arc<Self>,
        mode: Mode,
        name: &FunctionName,
        image: Digest,
        settings: Settings,
        logs: &mut Vec<LogRecord>,
    ) -> Result<DeployOutcome, DeployErrorKind> {
        let host = |text: String| DeployErrorKind::Host(text);
        let permit = self.builds.acquire().await;
        let _permit = permit.map_err(|error| host(error.to_string()))?;
        // Until the registry knows the snapshot, nobody may take it for garbage.
        let _stored = self.stored.read().await;
        self.has_garbage.store(true, Relaxed);
        let before = self.directory.get(name);
        // What the registry is to find: for a function that is to be created, none.
        let expected_next = match (mode, &before) {
            (Mode::Put, Some(entry)) => entry.function.next,
            (Mode::Create, _) | (Mode::Put, None) => VersionNumber::FIRST,
        };
        let (file, image_bytes) = self.image(&image).await?;
        let building = self.vms.build(file, &settings, self.snapshots_dir());
        let (built, init_logs) = building.await;
        *logs = init_logs;
        let snapshot = built.map_err(|error| failure::of_build(&error))?;
        let opened = self.open_snapshot(snapshot, &settings).await;
        let opened = opened.map_err(|error| host(error_chain(&error)))?;
        let new = NewVersion {
            image,
            image_bytes,
            settings,
            snapshot,
            snapshot_host: self.host.as_str().into(),
        };
        let function = name.clone();
        let put = self
            .change(name, move |registry| {
                registry.put_version(&function, &new, expected_next, now_ms())
            })
            .await;
        let put = put.map_err(|error| match (mode, error) {
            (Mode::Create, ChangeError::Registry(RegistryError::Changed(name))) => {
                ChangeError::Exists(name)
            }
            (_, error) => error,
        })?;
        let number = put.version.number;
        if let Some(entry) = self.directory.get(name)
            && let Some(slot) = entry.versions.get(&number)
        {
            self.directory.keep_open(name, slot, opened);
        }
        self.observer.logged(name.clone(), number, logs.clone());
        tracing::info!(function = %name, version = %number, image = %image, "deployed");
        Ok(DeployOutcome {
            function: put.function,
            version: put.version,
            created: number == VersionNumber::FIRST,
            before: None,
            logs: vec![],
        })
    }
}
