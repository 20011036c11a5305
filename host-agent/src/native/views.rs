//! How what the agent remembers becomes the documents of the API. Not here: the documents (`jiffy_model::documents`).

use jiffy_model::documents::{FunctionDocument, VersionDocument};
use jiffy_snapshots::Digest;
use serde::Serialize;

use crate::{
    model::{Function, FunctionId, Settings, Version, VersionNumber},
    pool::{InstanceInfo, InstanceState},
};

impl From<Function> for FunctionDocument {
    fn from(function: Function) -> Self {
        let aliases = function.aliases.into_iter();
        Self {
            name: function.name.name(),
            live: function.live,
            aliases: aliases.map(|(name, to)| (name, to.into())).collect(),
            reserved_concurrency: function.reserved_concurrency,
            created_ms: function.created_ms,
            updated_ms: function.updated_ms,
        }
    }
}

/// The document of a version of `function`.
pub(super) fn version_document(
    function: &FunctionId,
    version: Version,
    snapshot: Option<Digest>,
) -> VersionDocument {
    VersionDocument {
        function: function.name(),
        version: version.number,
        published: version.published,
        image: version.image,
        image_bytes: version.image_bytes,
        snapshot,
        created_ms: version.created_ms,
        settings: Settings {
            description: version.description().to_owned(),
            ..version.settings
        },
    }
}

/// A VM.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Instance"))]
pub(super) struct InstanceView {
    /// Its function.
    #[cfg_attr(test, schemars(with = "jiffy_model::FunctionName"))]
    function: FunctionId,
    /// Its version.
    version: VersionNumber,
    /// What it does.
    state: InstanceState,
    /// Since when, milliseconds.
    in_state_ms: u64,
    /// Id of its process; 0 if it has none yet.
    process_id: u32,
    /// Requests that it has had.
    requests: u64,
    /// Memory that is counted for it, bytes.
    memory_charged_bytes: u64,
}

impl From<InstanceInfo> for InstanceView {
    fn from(info: InstanceInfo) -> Self {
        Self {
            function: info.deployed.function.clone(),
            version: info.deployed.version,
            state: info.state,
            in_state_ms: u64::try_from(info.in_state.as_millis()).unwrap_or(u64::MAX),
            process_id: info.process_id,
            requests: info.requests,
            memory_charged_bytes: info.memory_charged_bytes,
        }
    }
}
