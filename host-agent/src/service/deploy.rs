//! Deploys: from an image to a live version, published or not.
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
use tokio::task::spawn_blocking;

use super::{
    ChangeError, DeployError, DeployErrorKind, DeployOutcome, Service, failure, lock, now_ms,
    task_lost,
};
use crate::{
    images::ImageNote,
    model::{FunctionName, LambdaFacts, Settings, VersionNumber},
    registry::{NewVersion, RegistryError},
    vm::Vms,
};

/// What the log in the answer to a deploy is charged at most, bytes.
const DEPLOY_LOG_BYTES_MAX: usize = 64 << 10;

/// What a version is to be made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// SHA-256 of its image.
    pub image: Digest,
    /// What its author says.
    pub settings: Settings,
    /// What only Lambda's API knows; `None`: what that API said of the version before, but for its code.
    pub lambda: Option<LambdaFacts>,
    /// Whether it gets its number for good, or is only what is live from now on.
    pub publish: bool,
    /// How often what is live has changed by then; another count means that it was changed meanwhile.
    pub expected_changes: Option<u64>,
}

/// What a deploy may find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
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
    /// Makes a published version of `image` and makes it live. It goes on to its end even if nobody waits for it any
    /// more.
    pub async fn deploy(
        self: &Arc<Self>,
        name: &FunctionName,
        image: Digest,
        settings: Settings,
    ) -> Result<DeployOutcome, DeployError> {
        let plan = Plan {
            image,
            settings,
            lambda: None,
            publish: true,
            expected_changes: None,
        };
        self.deploy_as(Mode::Put, name, plan).await
    }

    /// As [`Service::deploy`], published or not, with settings that follow from those that are live. Of deploys at once one
    /// is refused, so nobody changes them in between.
    pub async fn deploy_over(
        self: &Arc<Self>,
        name: &FunctionName,
        image: Digest,
        publish: bool,
        settings: impl FnOnce(Option<&Settings>) -> Settings,
    ) -> Result<DeployOutcome, DeployError> {
        let plan = Plan {
            image,
            settings: Settings::default(),
            lambda: None,
            publish,
            expected_changes: None,
        };
        self.carry_out(Mode::Put, name, plan, settings).await
    }

    /// As [`Service::deploy`], for any plan. Of two that create a function at once, one is refused.
    pub async fn deploy_as(
        self: &Arc<Self>,
        mode: Mode,
        name: &FunctionName,
        plan: Plan,
    ) -> Result<DeployOutcome, DeployError> {
        let settings = plan.settings.clone();
        self.carry_out(mode, name, plan, |_| settings).await
    }

    async fn carry_out(
        self: &Arc<Self>,
        mode: Mode,
        name: &FunctionName,
        mut plan: Plan,
        settings: impl FnOnce(Option<&Settings>) -> Settings,
    ) -> Result<DeployOutcome, DeployError> {
        let deploying = self.begin_deploy(mode, name)?;
        let before = self.directory.get(name).and_then(|entry| {
            let live = entry.versions.get(&entry.function.live)?;
            Some(live.version.settings.clone())
        });
        plan.settings = settings(before.as_ref());
        plan.settings.check().map_err(DeployErrorKind::from)?;
        let (this, name) = (Arc::clone(self), name.clone());
        let deploy = tokio::spawn(async move {
            let _deploying = deploying;
            let mut logs = vec![];
            let deploy = this.deploy_once(mode, &name, plan, &mut logs);
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
        plan: Plan,
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
        let (expected_next, expected_changes) = match (mode, &before) {
            (Mode::Put, Some(entry)) => (entry.function.next, entry.function.changes),
            (Mode::Create, _) | (Mode::Put, None) => (VersionNumber::FIRST, 0),
        };
        let Plan {
            image, settings, ..
        } = plan;
        let lambda = plan.lambda.unwrap_or_else(|| {
            let live = before.as_ref().and_then(|entry| entry.live());
            let before = live.map(|live| live.version.lambda.clone());
            LambdaFacts {
                code: None,
                ..before.unwrap_or_default()
            }
        });
        let takes_http = self.takes_http(&image).await?;
        let (file, image_bytes) = self.image_whole(&image).await?;
        let building = self.vms.build(file, &settings, self.snapshots_dir());
        let (built, init_logs) = building.await;
        *logs = init_logs;
        let snapshot = built.map_err(|error| failure::of_build(&error))?;
        let opened = self.open_snapshot(snapshot, &settings).await;
        let opened = opened.map_err(|error| host(error_chain(&error)))?;
        let new = NewVersion {
            image,
            image_bytes,
            takes_http,
            settings,
            lambda,
            snapshot,
            snapshot_host: self.host.as_str().into(),
            publish: plan.publish,
            expected_changes: plan.expected_changes.or(Some(expected_changes)),
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
            && slot.version.snapshot == snapshot
        {
            self.directory.keep_open(name, slot, opened);
        }
        self.observer.logged(name.clone(), number, logs.clone());
        tracing::info!(function = %name, version = %number, image = %image, "deployed");
        Ok(DeployOutcome {
            created: before.is_none(),
            function: put.function,
            version: put.version,
            before: None,
            logs: vec![],
        })
    }
    /// What the image says of its handler. Whether it is an image at all is for the VMM to say.
    async fn takes_http(&self, image: &Digest) -> Result<bool, DeployErrorKind> {
        let (file, _) = self.image(image).await?;
        let note = spawn_blocking(move || ImageNote::read(&file)).await;
        Ok(note.is_ok_and(|note| note.is_ok_and(|note| note.takes_http)))
    }
}
