//! Why a value that a client gave is refused, each with the value and the rule.

use jiffy_abi::layout::{RAM_BYTES_MAX, RAM_BYTES_MIN, RAM_BYTES_STEP};

use crate::{
    ALIAS_CHARS_MAX, ALIAS_TARGETS_MAX, CONCURRENCY_MAX, DESCRIPTION_CHARS_MAX, EndsRequest,
    EnvironmentError, InvalidGrant, NAME_CHARS_MAX, Outcome, TIMEOUT_MS_MAX, function::LIVE,
};

/// Tags of a function at most, as in Lambda's API.
pub const TAGS_MAX: usize = 50;

/// Why a value of a client is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum InvalidValue {
    #[error(
        "invalid name {0:?}: must be 1 to {NAME_CHARS_MAX} letters, digits, hyphens and underscores"
    )]
    Name(String),
    #[error(
        "invalid alias {0:?}: must be 1 to {ALIAS_CHARS_MAX} letters, digits, hyphens and underscores, not only digits"
    )]
    Alias(String),
    #[error("an alias cannot be called {LIVE}: the live version is")]
    AliasLive,
    #[error("invalid version {0:?}: must be a number from 1")]
    Version(String),
    #[error("invalid qualifier \"\": must be a version, an alias or live")]
    Qualifier,
    #[error(
        "invalid memory {0} bytes: must be {RAM_BYTES_MIN} to {RAM_BYTES_MAX}, in steps of {RAM_BYTES_STEP}"
    )]
    Ram(u64),
    #[error("invalid timeout {0} ms: must be 1 to {TIMEOUT_MS_MAX}")]
    Timeout(u64),
    #[error("invalid concurrency {0}: must be 1 to {CONCURRENCY_MAX}")]
    Concurrency(u32),
    #[error(
        "{ready} instances cannot be kept ready of at most {concurrency}: use a smaller number"
    )]
    MinReady { ready: u32, concurrency: u32 },
    #[error("the value of {0} is what stands for one that is not shown: give its real value")]
    HiddenValue(String),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    Grant(#[from] InvalidGrant),
    #[error("the description has {0} characters: use at most {DESCRIPTION_CHARS_MAX}")]
    Description(usize),
    #[error("an alias spreads its requests over at most {ALIAS_TARGETS_MAX} versions")]
    AliasTargets,
    #[error("invalid weight {0} per mille: must be 0 to 1000")]
    Weight(u16),
    #[error("an alias of the live version leads to nothing else: publish the version first")]
    LiveShared,
    #[error("the tag {0:?} is too long: must be 1 to 128 characters with a value of at most 256")]
    Tag(String),
    #[error("a function would have {0} tags: must be at most {TAGS_MAX}")]
    Tags(usize),
    #[error("VMs are kept ready for a published version, or for an alias of one")]
    ReadyLive,
}

impl EndsRequest for InvalidValue {
    fn outcome(&self) -> Outcome {
        Outcome::InvalidRequest
    }
}
