//! What clients see of functions. Part of the API: a field that is there stays.

use std::collections::BTreeMap;

use jiffy_snapshots::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    model::{
        Alias, AliasName, AliasTarget, Function, FunctionName, Isolation, Settings, Version,
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
    version: AliasTarget,
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
    published: bool,
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
            published: version.published,
            image: version.image,
            image_bytes: version.image_bytes,
            snapshot: version.snapshot,
            created_ms: version.created_ms,
            settings: Settings {
                description: version.description().to_owned(),
                ..version.settings
            },
        }
    }
}

/// What a client deploys: an image, and what is to change in the settings. What is left out stays as the live version has
/// it; a new function, or `reset`, begins with the defaults.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeployView {
    pub(super) image: Digest,
    #[serde(default)]
    reset: bool,
    /// Whether the version gets its number for good. It does unless the client says otherwise.
    pub(super) publish: Option<bool>,
    memory_bytes: Option<u64>,
    timeout_ms: Option<u64>,
    isolation: Option<Isolation>,
    max_concurrency: Option<u32>,
    min_ready: Option<u32>,
    /// All variables.
    environment: Option<BTreeMap<String, String>>,
    /// Some of them: a text sets one, `null` removes it.
    environment_changes: Option<BTreeMap<String, Option<String>>>,
    description: Option<String>,
}

impl DeployView {
    /// The settings that come of it, not checked.
    pub(super) fn over(self, live: Option<&Settings>) -> Settings {
        let base = live.filter(|_| !self.reset).cloned().unwrap_or_default();
        let mut environment = self.environment.unwrap_or(base.environment);
        for (name, value) in self.environment_changes.unwrap_or_default() {
            match value {
                Some(value) => environment.insert(name, value),
                None => environment.remove(&name),
            };
        }
        Settings {
            memory_bytes: self.memory_bytes.unwrap_or(base.memory_bytes),
            timeout_ms: self.timeout_ms.unwrap_or(base.timeout_ms),
            isolation: self.isolation.unwrap_or(base.isolation),
            max_concurrency: self.max_concurrency.unwrap_or(base.max_concurrency),
            min_ready: self.min_ready.unwrap_or(base.min_ready),
            environment,
            description: self.description.unwrap_or(base.description),
        }
    }
}

/// How a deploy changed a function's settings; what it did not change is left out.
#[derive(Debug, Serialize)]
pub(super) struct ChangesView {
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<Change<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<Change<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    isolation: Option<Change<Isolation>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_concurrency: Option<Change<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_ready: Option<Change<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<EnvironmentChange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Change<String>>,
}

#[derive(Debug, Serialize)]
struct Change<T> {
    from: T,
    to: T,
}

/// Names of variables: values may be secrets.
#[derive(Debug, Serialize)]
struct EnvironmentChange {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
}

impl<T: Clone + PartialEq> Change<T> {
    fn of(from: &T, to: &T) -> Option<Self> {
        (from != to).then(|| Self {
            from: from.clone(),
            to: to.clone(),
        })
    }
}

impl EnvironmentChange {
    fn of(from: &BTreeMap<String, String>, to: &BTreeMap<String, String>) -> Option<Self> {
        let names = |of: &BTreeMap<String, String>, which: &dyn Fn(&str, &str) -> bool| {
            let found = of.iter().filter(|(name, value)| which(name, value));
            found.map(|(name, _)| name.clone()).collect()
        };
        (from != to).then(|| Self {
            added: names(to, &|name, _| !from.contains_key(name)),
            changed: names(to, &|name, value| {
                from.get(name).is_some_and(|from| from != value)
            }),
            removed: names(from, &|name, _| !to.contains_key(name)),
        })
    }
}

impl ChangesView {
    pub(super) fn new(from: &Settings, to: &Settings) -> Self {
        // A setting more does not compile until it is told, too.
        let Settings {
            memory_bytes,
            timeout_ms,
            isolation,
            max_concurrency,
            min_ready,
            environment,
            description,
        } = to;
        Self {
            memory_bytes: Change::of(&from.memory_bytes, memory_bytes),
            timeout_ms: Change::of(&from.timeout_ms, timeout_ms),
            isolation: Change::of(&from.isolation, isolation),
            max_concurrency: Change::of(&from.max_concurrency, max_concurrency),
            min_ready: Change::of(&from.min_ready, min_ready),
            environment: EnvironmentChange::of(&from.environment, environment),
            description: Change::of(&from.description, description),
        }
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
