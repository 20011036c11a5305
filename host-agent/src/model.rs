//! What the agent remembers of a function: versions, what is attached to them, and what only Lambda's API knows.
//!
//! Not here: names, settings and aliases, which others share (`jiffy_model`), and where all of it is stored (`registry`).

mod attached;
mod cors;
mod lambda_facts;

use std::collections::BTreeMap;

pub use jiffy_model::{
    ALIAS_TARGETS_MAX, Alias, AliasName, AliasTarget, CONCURRENCY_MAX, DESCRIPTION_CHARS_MAX,
    FunctionId, Grants, InvalidValue, Isolation, Qualifier, Settings, TAGS_MAX, TIMEOUT_MS_MAX,
    VersionNumber,
};
use jiffy_snapshots::Digest;
use serde::{Deserialize, Serialize};

pub(crate) use self::cors::ANY;
pub use self::{
    attached::{Attached, FunctionUrl, Ready, UrlAuth},
    cors::Cors,
    lambda_facts::{LambdaFacts, ZipFacts},
};

/// How often records were changed before one was, and with it: it only grows, and tells which of two is newer.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Generation(pub u64);

impl Generation {
    /// Before the first change: of what is not there, or not yet kept.
    pub const NONE: Self = Self(0);
}

/// A version of a function. Once it is published it is immutable; until then it is the live one, has the number that it will
/// get, and is replaced by every change. What a host has made of it, the host knows (`prepare`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Of its record.
    #[serde(default)]
    pub generation: Generation,
    /// Its number.
    pub number: VersionNumber,
    /// Whether it has its number for good. All versions of earlier releases have.
    #[serde(default = "yes")]
    pub published: bool,
    /// What was said of it when it was published, in place of the description in `settings`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// SHA-256 of the image.
    pub image: Digest,
    /// Size of the image, bytes.
    pub image_bytes: u64,
    /// Whether its handler takes HTTP requests. Images of before do not say so.
    #[serde(default)]
    pub takes_http: bool,
    /// What the author said.
    pub settings: Settings,
    /// What only Lambda's API knows of it.
    #[serde(default)]
    pub lambda: LambdaFacts,
    /// When it was deployed, milliseconds since 1970.
    pub created_ms: u64,
}

impl Version {
    /// What people are told of it.
    pub fn description(&self) -> &str {
        self.description
            .as_ref()
            .unwrap_or(&self.settings.description)
    }
}

const fn yes() -> bool {
    true
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Its name.
    pub name: FunctionId,
    /// Of its record: each change of the function or of a version raises it.
    #[serde(default)]
    pub generation: Generation,
    /// The version that requests without a qualifier go to: a published one, or `next`, which is not published yet.
    pub live: VersionNumber,
    /// The number that the next version to be published gets.
    pub next: VersionNumber,
    /// How often what is live has changed.
    #[serde(default)]
    pub changes: u64,
    /// Aliases.
    pub aliases: BTreeMap<AliasName, Alias>,
    /// What belongs to it apart from its versions.
    #[serde(default)]
    pub attached: Attached,
    /// A limit of VMs over all versions, set apart from deploys.
    pub reserved_concurrency: Option<u32>,
    /// When it was deployed first, milliseconds since 1970.
    pub created_ms: u64,
    /// When it was changed last, milliseconds since 1970.
    pub updated_ms: u64,
}
