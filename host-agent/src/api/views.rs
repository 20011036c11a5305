//! What clients see of functions. Part of the API: a field that is there stays.

use std::collections::BTreeMap;

use jiffy_snapshots::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    model::{
        Alias, AliasName, Function, FunctionName, InvalidValue, Isolation, Settings, Version,
        VersionNumber,
    },
    pool::{InstanceInfo, InstanceState},
};

/// A function.
#[derive(Debug, Serialize)]
pub(super) struct FunctionView {
    name: FunctionName,
    live: VersionNumber,
    aliases: BTreeMap<AliasName, AliasView>,
    reserved_concurrency: Option<u32>,
    created_ms: u64,
    updated_ms: u64,
}

impl From<Function> for FunctionView {
    fn from(function: Function) -> Self {
        let aliases = function.aliases.into_iter();
        Self {
            name: function.name,
            live: function.live,
            aliases: aliases.map(|(name, to)| (name, to.into())).collect(),
            reserved_concurrency: function.reserved_concurrency,
            created_ms: function.created_ms,
            updated_ms: function.updated_ms,
        }
    }
}

/// Where an alias leads; what a client sends and what it gets.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AliasView {
    version: VersionNumber,
    #[serde(default)]
    other: Option<OtherView>,
    #[serde(default)]
    description: String,
}

/// The version that gets a part of an alias's requests.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OtherView {
    version: VersionNumber,
    per_mille: u16,
}

impl From<Alias> for AliasView {
    fn from(alias: Alias) -> Self {
        let other = |(version, per_mille)| OtherView { version, per_mille };
        Self {
            version: alias.version,
            other: alias.other.map(other),
            description: alias.description,
        }
    }
}

impl From<AliasView> for Alias {
    fn from(view: AliasView) -> Self {
        Self {
            version: view.version,
            other: view.other.map(|other| (other.version, other.per_mille)),
            description: view.description,
        }
    }
}

/// A version.
#[derive(Debug, Serialize)]
pub(super) struct VersionView {
    function: FunctionName,
    version: VersionNumber,
    image: Digest,
    image_bytes: u64,
    snapshot: Digest,
    created_ms: u64,
    #[serde(flatten)]
    settings: Settings,
}

impl VersionView {
    pub(super) fn new(function: &FunctionName, version: Version) -> Self {
        Self {
            function: function.clone(),
            version: version.number,
            image: version.image,
            image_bytes: version.image_bytes,
            snapshot: version.snapshot,
            created_ms: version.created_ms,
            settings: version.settings,
        }
    }
}

/// What a client deploys. `Settings` with an image; what is left out gets its default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeployView {
    pub(super) image: Digest,
    memory_bytes: Option<u64>,
    timeout_ms: Option<u64>,
    isolation: Option<Isolation>,
    max_concurrency: Option<u32>,
    min_ready: Option<u32>,
    environment: Option<BTreeMap<String, String>>,
    description: Option<String>,
}

impl DeployView {
    /// The settings, checked.
    pub(super) fn settings(self) -> Result<Settings, InvalidValue> {
        let default = Settings::default();
        let settings = Settings {
            memory_bytes: self.memory_bytes.unwrap_or(default.memory_bytes),
            timeout_ms: self.timeout_ms.unwrap_or(default.timeout_ms),
            isolation: self.isolation.unwrap_or(default.isolation),
            max_concurrency: self.max_concurrency.unwrap_or(default.max_concurrency),
            min_ready: self.min_ready.unwrap_or(default.min_ready),
            environment: self.environment.unwrap_or(default.environment),
            description: self.description.unwrap_or(default.description),
        };
        settings.check()?;
        Ok(settings)
    }
}

/// A VM.
#[derive(Debug, Serialize)]
pub(super) struct InstanceView {
    function: FunctionName,
    version: VersionNumber,
    state: &'static str,
    in_state_ms: u64,
    process_id: u32,
    requests: u64,
    memory_charged_bytes: u64,
}

impl From<InstanceInfo> for InstanceView {
    fn from(info: InstanceInfo) -> Self {
        let state = match info.state {
            InstanceState::Starting => "starting",
            InstanceState::Busy => "busy",
            InstanceState::Settling => "settling",
            InstanceState::Idle => "idle",
        };
        Self {
            function: info.deployed.function.clone(),
            version: info.deployed.version,
            state,
            in_state_ms: u64::try_from(info.in_state.as_millis()).unwrap_or(u64::MAX),
            process_id: info.process_id,
            requests: info.requests,
            memory_charged_bytes: info.memory_charged_bytes,
        }
    }
}
