//! Why a change, or a read, was refused.

use jiffy_model::{EndsRequest, Outcome};

use super::RegistryError;
use crate::model::{AliasName, FunctionId, InvalidValue, VersionNumber};

/// Why a change, or a read, was refused.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ChangeError {
    #[error("no function {0}: must be one that was deployed")]
    NoFunction(FunctionId),
    #[error("no version {1} of {0}: must be one that `versions` lists")]
    NoVersion(FunctionId, VersionNumber),
    #[error("no alias {1} of {0}: must be one that was set")]
    NoAlias(FunctionId, AliasName),
    #[error("no such URL of {0}: must be one that was created")]
    NoUrl(FunctionId),
    #[error("function {0} exists already: update it, or choose another name")]
    Exists(FunctionId),
    #[error("{0} has an alias {1} already: update it, or choose another name")]
    AliasExists(FunctionId, AliasName),
    #[error("{0} has such a URL already: update it")]
    UrlExists(FunctionId),
    /// The function was deployed or deleted meanwhile.
    #[error("{0} was changed meanwhile: look at it and try again")]
    Changed(FunctionId),
    #[error("version {version} of {function} is live: make another live first")]
    Live {
        function: FunctionId,
        version: VersionNumber,
    },
    #[error("alias {alias} leads to version {version} of {function}: move it first")]
    Aliased {
        function: FunctionId,
        version: VersionNumber,
        alias: AliasName,
    },
    #[error("{0} has no version before the live one: deploy another first")]
    NoEarlierVersion(FunctionId),
    #[error("there are {0} functions, as many as may be: delete one or raise functions_max")]
    FunctionsFull(u64),
    #[error(
        "{function} has {versions_max} published versions, as many as limits.versions_max allows: delete {}, or raise the limit",
        oldest_unused.map_or("one after removing the alias that leads to it".into(), |version| format!("one that nothing leads to, such as {version}"))
    )]
    VersionsFull {
        function: FunctionId,
        versions_max: u64,
        oldest_unused: Option<VersionNumber>,
    },
    #[error("{0} has {1} aliases, as many as may be: remove one")]
    AliasesFull(FunctionId, usize),
    #[error(transparent)]
    Invalid(#[from] InvalidValue),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the agent cannot do this now: {0}")]
    Platform(String),
}

impl EndsRequest for ChangeError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::NoFunction(_) | Self::NoVersion(..) | Self::NoAlias(..) | Self::NoUrl(_) => {
                Outcome::NotFound
            }
            Self::Invalid(_) => Outcome::InvalidRequest,
            Self::Exists(_)
            | Self::AliasExists(..)
            | Self::UrlExists(_)
            | Self::Changed(_)
            | Self::Live { .. }
            | Self::Aliased { .. }
            | Self::NoEarlierVersion(_)
            | Self::Registry(RegistryError::Changed(_)) => Outcome::Conflict,
            Self::FunctionsFull(_) | Self::VersionsFull { .. } | Self::AliasesFull(..) => {
                Outcome::Full
            }
            Self::Registry(_) | Self::Platform(_) => Outcome::Platform,
        }
    }
}

impl From<tokio::task::JoinError> for ChangeError {
    fn from(lost: tokio::task::JoinError) -> Self {
        Self::Platform(format!(
            "a task of the agent was lost: {}",
            jiffy_control::error_chain(&lost)
        ))
    }
}
