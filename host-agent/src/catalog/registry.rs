//! What is deployed, durable: functions, their versions and aliases.
//!
//! Each operation is one transaction: when it returns, it is on disk whole; when it fails or the process is
//! killed in it, it is on disk whole or not at all. Calls block; callers in async code spawn them.
//! A trait, because a store that a cluster shares will follow [`RedbRegistry`].
//! Not here: images and snapshots, which a version only names (`images`, `jiffy_snapshots`).

mod file;
mod records;
mod tables;

use std::{fmt, path::PathBuf};

use jiffy_snapshots::{Digest, why_of};

use crate::model::{
    Alias, AliasName, Function, FunctionName, InvalidValue, LambdaFacts, Settings, Version,
    VersionNumber,
};
pub use file::RedbRegistry;

/// How much a registry may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistryLimits {
    /// Functions.
    pub functions_max: u64,
    /// Published versions of one function. They stay until they are deleted: a deploy beyond it is refused.
    pub versions_max: u64,
    /// Aliases of one function.
    pub aliases_max: usize,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self {
            functions_max: 10_000,
            versions_max: 64,
            aliases_max: 64,
        }
    }
}

/// A version that is to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVersion {
    /// SHA-256 of the image.
    pub image: Digest,
    /// Size of the image, bytes.
    pub image_bytes: u64,
    /// Whether its handler takes HTTP requests.
    pub takes_http: bool,
    /// What the author said, checked.
    pub settings: Settings,
    /// What only Lambda's API knows of it.
    pub lambda: LambdaFacts,
    /// SHA-256 of the snapshot's state.
    pub snapshot: Digest,
    /// What the snapshot was made with.
    pub snapshot_host: String,
    /// Whether it gets its number for good, or is only what is live from now on.
    pub publish: bool,
    /// How often what is live has changed by then; another count means that it was changed meanwhile.
    pub expected_changes: Option<u64>,
}

/// A live version that is to be published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// Said of this version, in place of what its settings say.
    pub description: Option<String>,
    /// How often what is live has changed by then.
    pub expected_changes: Option<u64>,
}

/// What an alias has to be before it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AliasBefore {
    /// Anything.
    Any,
    /// Nothing: it is to be made.
    Absent,
    /// This.
    Is(Alias),
}

/// What [`Registry::put_version`] and [`Registry::publish`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The function as it is now.
    pub function: Function,
    /// The version that is live now.
    pub version: Version,
}

/// Why the registry did not do it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum RegistryError {
    #[error("there is no function {0}: deploy it first")]
    NoFunction(FunctionName),
    #[error("{0} has no version {1}: choose one that `versions` lists")]
    NoVersion(FunctionName, VersionNumber),
    #[error("{0} has no alias {1}: set it first")]
    NoAlias(FunctionName, AliasName),
    #[error("{0} has an alias {1} already: update it, or choose another name")]
    AliasExists(FunctionName, AliasName),
    /// The function was deployed or deleted meanwhile.
    #[error("{0} was changed meanwhile: look at it and try again")]
    Changed(FunctionName),
    #[error("{0} has no such URL: create it first")]
    NoUrl(FunctionName),
    #[error("{0} has such a URL already: update it")]
    UrlExists(FunctionName),
    #[error(transparent)]
    Invalid(#[from] InvalidValue),
    #[error("version {version} of {function} is live: make another live first")]
    Live {
        function: FunctionName,
        version: VersionNumber,
    },
    #[error("alias {alias} leads to version {version} of {function}: move it first")]
    Aliased {
        function: FunctionName,
        version: VersionNumber,
        alias: AliasName,
    },
    #[error("there are {0} functions, as many as may be: delete one or raise functions_max")]
    FunctionsFull(u64),
    #[error(
        "{function} has {versions_max} published versions, as many as limits.versions_max allows: delete {}, or raise the limit",
        oldest_unused.map_or("one after removing the alias that leads to it".into(), |version| format!("one that nothing leads to, such as {version}"))
    )]
    VersionsFull {
        function: FunctionName,
        versions_max: u64,
        oldest_unused: Option<VersionNumber>,
    },
    #[error("{0} has {1} aliases, as many as may be: remove one")]
    AliasesFull(FunctionName, usize),
    #[error("another jiffyd uses this data directory: stop it, or choose another data_dir")]
    InUse,
    /// Whether the change is durable is not known until the registry is read again.
    #[error("cannot read or write the registry {path}: {}", why_of(&**source))]
    Storage {
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the registry's record of {0} is damaged: restore the registry from a copy")]
    Damaged(String),
    #[error(
        "the registry has format {found}, and this jiffyd knows {known}: use the release that wrote it"
    )]
    Format { found: u64, known: u64 },
}

/// A store of functions. `now_ms` is the time of the change, milliseconds since 1970.
pub trait Registry: fmt::Debug + Send + Sync + 'static {
    /// Adds a version and makes it live, in place of a live one that is not published; makes the function if there is
    /// none. `expected_next` is the number the caller expects it to get; another means that the function was changed
    /// meanwhile.
    fn put_version(
        &self,
        name: &FunctionName,
        new: &NewVersion,
        expected_next: VersionNumber,
        now_ms: u64,
    ) -> Result<Put, RegistryError>;

    /// Gives the live version its number for good, if it has not got it. Returns what is live.
    fn publish(
        &self,
        name: &FunctionName,
        publication: &Publication,
        now_ms: u64,
    ) -> Result<Put, RegistryError>;

    /// Makes a published version live. A live one that is not published goes.
    fn set_live(
        &self,
        name: &FunctionName,
        version: VersionNumber,
        now_ms: u64,
    ) -> Result<Function, RegistryError>;

    /// Sets an alias, whose versions have to be published, if it is what it is to be `before`.
    fn put_alias(
        &self,
        name: &FunctionName,
        alias: &AliasName,
        to: &Alias,
        before: &AliasBefore,
        now_ms: u64,
    ) -> Result<Function, RegistryError>;

    /// Removes an alias.
    fn remove_alias(
        &self,
        name: &FunctionName,
        alias: &AliasName,
        now_ms: u64,
    ) -> Result<Function, RegistryError>;

    /// Sets or lifts the limit of VMs over all versions.
    fn set_reserved_concurrency(
        &self,
        name: &FunctionName,
        limit: Option<u32>,
        now_ms: u64,
    ) -> Result<Function, RegistryError>;

    /// Changes what belongs to a function apart from its versions.
    fn edit(
        &self,
        name: &FunctionName,
        edit: &dyn Fn(&mut Function) -> Result<(), RegistryError>,
        now_ms: u64,
    ) -> Result<Function, RegistryError>;

    /// Says which snapshot a version has now, in place of the snapshot `before`.
    fn set_snapshot(
        &self,
        name: &FunctionName,
        version: VersionNumber,
        before: Digest,
        snapshot: Digest,
        host: &str,
    ) -> Result<Version, RegistryError>;

    /// Deletes a function with all its versions. A function deployed under this name later begins at version 1.
    fn delete_function(&self, name: &FunctionName) -> Result<(), RegistryError>;

    /// Deletes a published version that is no alias's. One that is live is refused, or with `keeps_live` goes on as a
    /// live version that is not published.
    fn delete_version(
        &self,
        name: &FunctionName,
        version: VersionNumber,
        keeps_live: bool,
        now_ms: u64,
    ) -> Result<Function, RegistryError>;

    /// A function.
    fn function(&self, name: &FunctionName) -> Result<Function, RegistryError>;

    /// Up to `limit` functions behind `after`, by name.
    fn functions(
        &self,
        after: Option<&FunctionName>,
        limit: usize,
    ) -> Result<Vec<Function>, RegistryError>;

    /// A version.
    fn version(
        &self,
        name: &FunctionName,
        version: VersionNumber,
    ) -> Result<Version, RegistryError>;

    /// Up to `limit` versions behind `after`, ascending; none if there is no such function.
    fn versions(
        &self,
        name: &FunctionName,
        after: Option<VersionNumber>,
        limit: usize,
    ) -> Result<Vec<Version>, RegistryError>;
}

#[cfg(test)]
mod tests;
