//! Deploys: from an image to a live version, published or not.
//!
//! ```text
//! checked ─▶ built: snapshot durable ─▶ opened ─▶ in the registry ─▶ in the directory
//! ```
//!
//! Only the last two change what anybody sees, and a crash between them ends with both. A snapshot that no version
//! got is removed later (`collect`).

use std::sync::{Arc, atomic::Ordering::Relaxed};

use jiffy_control::{LogRecord, newest};
use jiffy_model::{EndsRequest, Outcome};
use jiffy_snapshots::Digest;
use tokio::task::spawn_blocking;

use super::Service;
use crate::{
    catalog::{ChangeError, NewVersion},
    images::{ImageError, ImageNote},
    model::{Function, FunctionId, InvalidValue, LambdaFacts, Settings, Version, VersionNumber},
    prepare::BuildError,
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

/// What a deploy made.
#[derive(Clone, Debug)]
pub struct DeployOutcome {
    /// The function as it is now.
    pub function: Function,
    /// The version that was made, or is there already; it is live.
    pub version: Version,
    /// Whether the function is new.
    pub created: bool,
    /// The settings that were live before, if it is not.
    pub before: Option<Settings>,
    /// What `init` logged.
    pub logs: Vec<LogRecord>,
}

/// Why a deploy changed nothing.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct DeployError {
    /// What went wrong.
    pub kind: DeployErrorKind,
    /// What `init` logged before.
    pub logs: Vec<LogRecord>,
}

/// What went wrong with a deploy.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum DeployErrorKind {
    #[error(transparent)]
    Invalid(#[from] InvalidValue),
    #[error("another deploy of {0} is under way: try again when it is done")]
    UnderWay(FunctionId),
    /// The image has no snapshot.
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl EndsRequest for DeployErrorKind {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Invalid(_) => Outcome::InvalidRequest,
            Self::UnderWay(_) => Outcome::Conflict,
            Self::Build(error) => error.outcome(),
            Self::Change(error) => error.outcome(),
        }
    }
}

impl From<DeployErrorKind> for DeployError {
    fn from(kind: DeployErrorKind) -> Self {
        let logs = vec![];
        Self { kind, logs }
    }
}

impl From<ImageError> for DeployErrorKind {
    fn from(error: ImageError) -> Self {
        BuildError::from(error).into()
    }
}

/// Takes a function off the list of those that are being deployed.
struct Deploying<V: Vms>(Arc<Service<V>>, FunctionId);

impl<V: Vms> Drop for Deploying<V> {
    fn drop(&mut self) {
        self.0.deploying.lock().remove(&self.1);
    }
}

impl<V: Vms> Service<V> {
    /// Makes a published version of `image` and makes it live. It goes on to its end even if nobody waits for it any
    /// more.
    pub async fn deploy(
        self: &Arc<Self>,
        name: &FunctionId,
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
        name: &FunctionId,
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
        name: &FunctionId,
        plan: Plan,
    ) -> Result<DeployOutcome, DeployError> {
        let settings = plan.settings.clone();
        self.carry_out(mode, name, plan, |_| settings).await
    }

    async fn carry_out(
        self: &Arc<Self>,
        mode: Mode,
        name: &FunctionId,
        mut plan: Plan,
        settings: impl FnOnce(Option<&Settings>) -> Settings,
    ) -> Result<DeployOutcome, DeployError> {
        let deploying = self.begin_deploy(mode, name)?;
        let entry = self.catalog.get(name);
        let before = entry.and_then(|entry| Some(entry.live()?.settings.clone()));
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
        deployed.unwrap_or_else(|lost| Err(DeployErrorKind::from(ChangeError::from(lost)).into()))
    }

    fn begin_deploy(
        self: &Arc<Self>,
        mode: Mode,
        name: &FunctionId,
    ) -> Result<Deploying<V>, DeployErrorKind> {
        if self.is_stopping.load(Relaxed) {
            let text = "the agent is stopping: try again when it runs";
            return Err(BuildError::Host(text.into()).into());
        }
        // Looked at before anything is built; the catalog looks again.
        let functions_max = self.config().limits.functions_max;
        let is_new = self.catalog.get(name).is_none();
        if mode == Mode::Create && !is_new {
            return Err(ChangeError::Exists(name.clone()).into());
        }
        if is_new && self.catalog.len() as u64 >= functions_max {
            return Err(ChangeError::FunctionsFull(functions_max).into());
        }
        if !self.deploying.lock().insert(name.clone()) {
            return Err(DeployErrorKind::UnderWay(name.clone()));
        }
        Ok(Deploying(Arc::clone(self), name.clone()))
    }

    async fn deploy_once(
        self: &Arc<Self>,
        mode: Mode,
        name: &FunctionId,
        plan: Plan,
        logs: &mut Vec<LogRecord>,
    ) -> Result<DeployOutcome, DeployErrorKind> {
        // Until the catalog has the version, nobody may take its snapshot for garbage.
        let building = self.prepare.begin_build().await;
        let building = building.map_err(|error| BuildError::Host(error.to_string()))?;
        let before = self.catalog.get(name);
        // What the catalog is to have: of a function that is to be created, nothing.
        let (expected_next, expected_changes) = match (mode, &before) {
            (Mode::Put, Some(entry)) => (entry.function.next, entry.function.changes),
            (Mode::Create, _) | (Mode::Put, None) => (VersionNumber::FIRST, 0),
        };
        let Plan {
            image, settings, ..
        } = plan;
        let lambda = plan.lambda.unwrap_or_else(|| {
            let live = before.as_ref().and_then(|entry| entry.live());
            LambdaFacts {
                code: None,
                ..live.map(|live| live.lambda.clone()).unwrap_or_default()
            }
        });
        let (takes_http, image_bytes) = self.look_at(&image).await?;
        let building = self.prepare.build(name, &image, &settings, &building);
        let (built, init_logs) = building.await;
        *logs = init_logs;
        let snapshot = built?;
        let new = NewVersion {
            image,
            image_bytes,
            takes_http,
            settings,
            lambda,
            publish: plan.publish,
            expected_next,
            expected_changes: plan.expected_changes.or(Some(expected_changes)),
        };
        let put = self.catalog.put_version(name, new).await;
        let put = put.map_err(|error| match (mode, error) {
            (Mode::Create, ChangeError::Changed(name)) => ChangeError::Exists(name),
            (_, error) => error,
        })?;
        let number = put.version.number;
        if let Some(entry) = self.catalog.get(name)
            && let Some(live) = entry.live()
            && live.generation == put.version.generation
        {
            self.prepare.adopt(&entry, snapshot);
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

    /// Whether the image says that its handler takes HTTP, and its size in bytes. Whether it is an image at all is for the VMM to
    /// say.
    async fn look_at(&self, image: &Digest) -> Result<(bool, u64), ImageError> {
        let (file, image_bytes) = self.prepare.image(image).await?;
        let note = spawn_blocking(move || ImageNote::read(&file)).await;
        let takes_http = note.is_ok_and(|note| note.is_ok_and(|note| note.takes_http));
        Ok((takes_http, image_bytes))
    }
}
