//! What the native API is sent and answers: the agent writes these documents and the toolchain reads them, or the other way
//! round. A field that is there stays; one that came later has a default for an agent that does not know it.
//!
//! What stands above a type and its fields is what `openapi.json` says of them.
//! Not here: [`Deploy`](crate::Deploy) and what settings are in it (`settings`), problems (`api::problem` in the agent).

use std::{collections::BTreeMap, fmt};

use jiffy_snapshots::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    Alias, AliasName, AliasTarget, FunctionName, Settings, SettingsChanges, VersionNumber,
    function::LIVE,
};
#[cfg(feature = "schema")]
use crate::{
    BindingName, CONCURRENCY_MAX, DESCRIPTION_CHARS_MAX,
    schema::{Level, MessageId},
};

/// Shares of an alias's versions together.
pub const WHOLE_PER_MILLE: u16 = 1000;

/// A function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "Function")
)]
pub struct FunctionDocument {
    /// Its name.
    pub name: FunctionName,
    /// The version that requests without a qualifier go to.
    pub live: VersionNumber,
    /// Where its aliases lead.
    pub aliases: BTreeMap<AliasName, AliasDocument>,
    /// VMs over all versions at most; `null`: as many as the live version's settings allow.
    #[cfg_attr(feature = "schema", schemars(range(max = CONCURRENCY_MAX)))]
    pub reserved_concurrency: Option<u32>,
    /// When it was deployed first, milliseconds since 1970.
    pub created_ms: u64,
    /// When it was changed last, milliseconds since 1970.
    pub updated_ms: u64,
}

/// A function with its live version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "FunctionDescription")
)]
pub struct Description {
    /// The function.
    #[serde(flatten)]
    pub function: FunctionDocument,
    /// Its live version.
    pub live_version: VersionDocument,
}

/// Where an alias leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(
        rename = "Alias",
        extend("not" = {
            "properties": { "version": { "const": LIVE }, "other": { "type": "object" } },
            "required": ["version", "other"],
        })
    )
)]
pub struct AliasDocument {
    /// A published version, which gets what `other` does not, or `live`: whichever is live, and then no `other`.
    pub version: AliasTarget,
    /// A second version that gets a part of the requests.
    #[serde(default)]
    pub other: Option<OtherVersion>,
    /// For people.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(max = DESCRIPTION_CHARS_MAX)))]
    pub description: String,
}

/// The version that gets a part of an alias's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "AliasOther")
)]
pub struct OtherVersion {
    /// Its number.
    pub version: VersionNumber,
    /// Its share of the requests.
    #[cfg_attr(feature = "schema", schemars(range(max = WHOLE_PER_MILLE)))]
    pub per_mille: u16,
}

impl From<Alias> for AliasDocument {
    fn from(alias: Alias) -> Self {
        let other = |(version, per_mille)| OtherVersion { version, per_mille };
        Self {
            version: alias.version,
            other: alias.other.map(other),
            description: alias.description,
        }
    }
}

impl From<AliasDocument> for Alias {
    fn from(document: AliasDocument) -> Self {
        let other = document.other.map(|other| (other.version, other.per_mille));
        Self {
            version: document.version,
            other,
            description: document.description,
        }
    }
}

/// `3`, or `3=900 4=100`.
impl fmt::Display for AliasDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to: &dyn fmt::Display = match &self.version {
            AliasTarget::Live => &LIVE,
            AliasTarget::Version(number) => number,
        };
        match &self.other {
            None => to.fmt(f),
            Some(OtherVersion { version, per_mille }) => {
                let rest = WHOLE_PER_MILLE.saturating_sub(*per_mille);
                write!(f, "{to}={rest} {version}={per_mille}")
            }
        }
    }
}

/// A version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "Version")
)]
pub struct VersionDocument {
    /// The function.
    pub function: FunctionName,
    /// Its number, or the one that it will get.
    pub version: VersionNumber,
    /// Whether it has its number for good. If not, it is live until the next change replaces it.
    #[serde(default = "yes")]
    #[cfg_attr(feature = "schema", schemars(!default))]
    pub published: bool,
    /// SHA-256 of the image.
    pub image: Digest,
    /// Size of the image.
    pub image_bytes: u64,
    /// SHA-256 of the state of the snapshot that the agent's host has; none while it is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Digest>,
    /// When it was deployed, milliseconds since 1970.
    pub created_ms: u64,
    /// What its author said.
    #[serde(flatten)]
    pub settings: Settings,
}

const fn yes() -> bool {
    true
}

/// What a deploy made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Deployed {
    /// The version, which is live.
    #[serde(flatten)]
    pub version: VersionDocument,
    /// How its settings differ from those before, of a function that was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<SettingsChanges>,
    /// What `init` logged.
    #[serde(default)]
    pub logs: Vec<InitLog>,
}

/// A line that `init` logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "LogRecord")
)]
pub struct InitLog {
    /// How much it matters: `error`, `warn`, `info`, `debug` or `trace`.
    #[cfg_attr(feature = "schema", schemars(with = "Level"))]
    pub level: String,
    /// The text.
    pub text: String,
}

/// Functions, a page of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FunctionList {
    /// By name.
    pub functions: Vec<FunctionDocument>,
    /// `after` of the next page, if there is one.
    pub next: Option<FunctionName>,
}

/// Versions of a function, a page of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VersionList {
    /// By number.
    pub versions: Vec<VersionDocument>,
    /// `after` of the next page, if there is one.
    pub next: Option<VersionNumber>,
}

/// Aliases of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AliasList {
    /// By name.
    pub aliases: BTreeMap<AliasName, AliasDocument>,
}

/// What is to be live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "Rollback")
)]
pub struct RollBack {
    /// Its number; left out: the version before the live one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionNumber>,
}

/// A limit of a function's VMs over all versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Concurrency {
    /// VMs over all versions at most; 0 stops the function.
    #[cfg_attr(feature = "schema", schemars(range(max = CONCURRENCY_MAX)))]
    pub reserved: u32,
}

/// An entry of a store of keys and values, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KvEntry {
    /// Its key.
    pub key: String,
    /// Its version, which only grows and is never given again; the ETag is it in quotes.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub version: u64,
    /// Size of its value.
    pub bytes: u64,
    /// What was said of it.
    #[serde(default)]
    pub metadata: String,
    /// When it expires, milliseconds since 1970; `null`: never.
    pub expires_ms: Option<u64>,
}

/// Entries of a store, a part of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KvList {
    /// By key.
    pub entries: Vec<KvEntry>,
    /// `cursor` of the next part, if there may be one: a part may be short, or empty, and not the last.
    pub next: Option<String>,
}

/// A store of keys and values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KvStore {
    /// Its name.
    #[cfg_attr(feature = "schema", schemars(with = "BindingName"))]
    pub name: String,
    /// Its entries, with those that have expired and are not collected yet.
    pub entries: u64,
    /// What they count, bytes: key, value, metadata and 64 for each.
    pub bytes: u64,
}

/// Stores, a page of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KvStoreList {
    /// By name.
    pub stores: Vec<KvStore>,
    /// `after` of the next page, if there is one.
    #[cfg_attr(feature = "schema", schemars(with = "Option<BindingName>"))]
    pub next: Option<String>,
}

/// What a value was put as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KvWritten {
    /// Its version, which only grows and is never given again; the ETag is it in quotes.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub version: u64,
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "Queue")
)]
pub struct QueueDocument {
    /// Its name.
    #[cfg_attr(feature = "schema", schemars(with = "BindingName"))]
    pub name: String,
    /// Its messages.
    pub messages: u64,
    /// What they count, bytes: body, content type and 88 for each.
    pub bytes: u64,
}

/// Queues, a page of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct QueueList {
    /// By name.
    pub queues: Vec<QueueDocument>,
    /// `after` of the next page, if there is one.
    #[cfg_attr(feature = "schema", schemars(with = "Option<BindingName>"))]
    pub next: Option<String>,
}

/// A message of a queue, without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "Message")
)]
pub struct MessageDocument {
    /// Its id.
    #[cfg_attr(feature = "schema", schemars(with = "MessageId"))]
    pub id: String,
    /// When it was sent, milliseconds since 1970.
    pub sent_ms: u64,
    /// Size of its body.
    pub bytes: u64,
    /// Of what type its sender said that it is.
    pub content_type: String,
}

/// Messages of a queue, a part of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MessageList {
    /// As they were sent, oldest first.
    pub messages: Vec<MessageDocument>,
    /// `cursor` of the next part, if there may be one.
    #[cfg_attr(feature = "schema", schemars(with = "Option<MessageId>"))]
    pub next: Option<String>,
}

/// What a message was sent as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MessageSent {
    /// Its id.
    #[cfg_attr(feature = "schema", schemars(with = "MessageId"))]
    pub id: String,
}

/// A secret, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "Secret")
)]
pub struct SecretDocument {
    /// Its name.
    #[cfg_attr(feature = "schema", schemars(with = "BindingName"))]
    pub name: String,
    /// Its version, which only grows and is never given again.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub version: u64,
    /// When it was set, milliseconds since 1970.
    pub set_ms: u64,
}

/// All secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SecretList {
    /// By name.
    #[cfg_attr(feature = "schema", schemars(length(max = 1000)))]
    pub secrets: Vec<SecretDocument>,
}

/// An image that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "Image")
)]
pub struct ImageDocument {
    /// SHA-256 of it: what a deploy names it by.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// Name of the package that it was built of.
    #[serde(default)]
    pub function_name: String,
    /// Version of that package.
    #[serde(default)]
    pub function_version: String,
    /// Version of the SDK.
    #[serde(default)]
    pub sdk_version: String,
}
